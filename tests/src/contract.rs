//! The two dialects, statement by statement (docs/contract.md).

mod guessing;
mod oifde_history;
mod oifde_lock;
mod oifde_pages;
mod oifde_query;
mod oifde_record;
mod oifde_tokens;
mod parloa_access;
mod parloa_formats;
mod parloa_get;
mod parloa_hostile;
mod parloa_numbers;
mod parloa_odd_requests;
mod parloa_post;
mod parloa_replay;
mod parloa_requests;
mod parloa_wait;

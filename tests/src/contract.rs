//! The two dialects, statement by statement (docs/contract.md).

mod parloa_get;

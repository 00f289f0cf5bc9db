//! The one domain model of calldata-gateway: what a voice bot learned during a call, whose it is, who may read it, for how long.
//!
//! Nothing here knows a wire format or a database. Dialect crates translate their words into [`NewSession`] and back out of
//! [`Session`]; the store implements the ports in [`port`]. Arrows: every other crate may use this one, this one uses none of them.
//!
//! To add a fact about a session: give [`Details`] a field, and the compiler walks you through every conversion, because they
//! all take it apart without `..`.

pub mod access;
pub mod arrivals;
pub mod audit;
pub mod caller;
pub mod catalog;
pub mod clock;
pub mod country;
pub mod directory;
pub mod epoch;
pub mod erasure;
pub mod event;
pub mod fields;
pub mod grant;
pub mod id;
pub mod json_text;
pub mod key;
pub mod latest_call;
pub mod masking;
pub mod port;
pub mod pseudonym;
pub mod purge;
pub mod replay;
pub mod service;
pub mod session;
pub mod tenant;
mod timekeeper;
pub mod timestamp;
pub mod turn;
mod uncancelled;
pub mod webhook;
pub mod webhooks;
pub mod zone;

pub use access::{Access, RequiredScope, Scope, Scopes};
pub use audit::Audit;
pub use caller::{Caller, CallerKey};
pub use clock::{Clock, ManualClock, SystemClock};
pub use country::Country;
pub use directory::{AuthError, Credential, Directory, TenantName};
pub use epoch::{Epoch, EventId};
pub use erasure::{Eraser, Erasure, Receipt};
pub use event::{Event, EventKind, Position};
pub use fields::Fields;
pub use grant::{Grant, GrantError};
pub use id::{CallId, KeyId, SessionId, TenantId, WebhookId};
pub use json_text::{JsonKind, JsonText, JsonTextError};
pub use latest_call::LatestCall;
pub use masking::Masking;
pub use port::{DirectoryStore, SessionStore, StoreError, WebhookStore};
pub use pseudonym::Pseudonyms;
pub use purge::Purge;
pub use service::{AwaitError, FollowError, Follower, Latest, Sessions, Told};
pub use session::{Details, DialogType, NewSession, Recording, Session, Source};
pub use tenant::Tenant;
pub use timekeeper::Timekeeper;
pub use timestamp::Timestamp;
pub use turn::{Answer, InvolveMode, Turn, TurnSource};
pub use webhook::Webhook;
pub use webhooks::Webhooks;
pub use zone::Zone;

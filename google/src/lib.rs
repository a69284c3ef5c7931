//! Typed client of the Google HTTP APIs that Intail uses: sign-in and grants, Gmail's metadata, calendars, the
//! directory, Pub/Sub.
//!
//! It reads people's data and never writes it; the only things it creates are Intail's own topic and subscription.
//! It knows no database and none of the product's words. What a reader must not break:
//!
//! - nothing leaves except through [`request::Client`], and only the calls listed in [`calls::CALLS`];
//! - no type can hold a message body, a snippet, an attachment or an event's description;
//! - every call has a deadline and a size limit, none is repeated here: callers schedule, and must not hold a write
//!   transaction open meanwhile;
//! - an error says what its caller has to do, and shows no token, code, address or page token.
//!
//! The modules are in reading order.

pub mod calendar;
pub mod calls;
mod classify;
pub mod day;
pub mod directory;
pub mod endpoints;
pub mod error;
pub mod gmail;
pub mod id_token;
pub mod oauth;
pub mod price;
pub mod pubsub;
pub mod request;
pub mod transport;
mod wire;

pub use calls::{CALLS, Call};
pub use endpoints::{EndpointError, Endpoints};
pub use error::{BlockReason, DeadReason, Error, ErrorKind, OperatorFault, Refusal, SlowScope};
pub use request::{CallHook, CallRecord, Caller, Client, ClientOptions, Now};

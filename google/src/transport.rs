//! How a request travels to Google: over the network, or by a way that is handed in. The second is for simulations,
//! which decide themselves when a request arrives, whether its answer comes back, and in which order.
//!
//! A reader must not break: whatever the way, a request has passed the list of calls before, and its answer is read and
//! bounded the same.

use std::pin::Pin;

use reqwest::{Request, Response};

/// A way to Google other than the network.
pub trait Transport: Send + Sync {
    /// Carries a request and answers what came back.
    fn carry(&self, request: Request) -> Carrying<'_>;
}

/// A request under way.
pub type Carrying<'a> = Pin<Box<dyn Future<Output = Result<Response, NotCarried>> + Send + 'a>>;

/// There was no answer.
#[derive(Debug, thiserror::Error)]
#[error("there was no answer")]
pub struct NotCarried {
    /// Whether the deadline passed while the answer was awaited: a long poll takes that for an empty answer.
    pub timed_out: bool,
    /// What the network said; it holds no address.
    #[source]
    pub source: Option<reqwest::Error>,
}

impl From<reqwest::Error> for NotCarried {
    fn from(error: reqwest::Error) -> Self {
        Self { timed_out: error.is_timeout() && !error.is_connect(), source: Some(error.without_url()) }
    }
}

//! The parts that make up a running Intail, put together once and handed to everything that works: settings, store,
//! clock, randomness, keys, the client of Google's API, and the two bells (work is due; the feed grew).

use std::sync::Arc;

use crate::access::Turns;
use crate::clock::Clock;
use crate::config::Config;
use crate::feed::Hub;
use crate::org::receipts::Receipts;
use crate::random::Random;
use crate::seal::Keyring;
use crate::store::Store;
use crate::sync::Bell;

/// A running Intail's parts. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What [`App`] gives access to.
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// What seals secrets.
    pub keyring: Keyring,
    /// The one client of Google's API.
    pub google: intail_google::Client,
    /// Calls to Google, counted for the people on whose behalf they were made.
    pub receipts: Receipts,
    /// Whose turn it is to refresh a token.
    pub turns: Turns,
    /// Rung when a mailbox has become due.
    pub due: Bell,
    /// Tells live readers that the feed grew.
    pub feed: Hub,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

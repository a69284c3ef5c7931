//! The feed's live side: tells readers that an organization's feed may have grown. It carries no changes: readers read
//! those from the store, each from its own place, so nothing is lost when a reader is slow or another instance wrote.

use std::time::Duration;

use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::id::OrganizationId;

/// Tellings that a slow reader may be behind before it simply reads again.
const BEHIND_MAX: usize = 256;
/// How long a reader waits without being told: other instances on the same PostgreSQL can't tell it.
const UNTOLD_MAX: Duration = Duration::from_secs(2);

/// Tells live readers that a feed grew. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    grown: broadcast::Sender<OrganizationId>,
    clock: Clock,
}

/// One live reader of an organization's feed.
pub struct Listener {
    organization: OrganizationId,
    grown: broadcast::Receiver<OrganizationId>,
    clock: Clock,
}

impl Hub {
    /// A hub without readers.
    pub fn new(clock: Clock) -> Self {
        Self { grown: broadcast::channel(BEHIND_MAX).0, clock }
    }

    /// Says that an organization's feed grew: call it after the commit.
    pub fn tell(&self, organization: &OrganizationId) {
        // No reader is no error.
        let _ = self.grown.send(organization.clone());
    }

    /// Begins to listen. Listen first, then read: what is written in between is told.
    pub fn subscribe(&self, organization: &OrganizationId) -> Listener {
        Listener { organization: organization.clone(), grown: self.grown.subscribe(), clock: self.clock.clone() }
    }
}

impl Listener {
    /// Returns when the feed may have grown: it was told, it was too slow to be told, or it waited long enough to look.
    pub async fn grew(&mut self) {
        let untold = self.clock.sleep(UNTOLD_MAX);
        let told = async {
            loop {
                match self.grown.recv().await {
                    Ok(organization) if organization != self.organization => {}
                    _ => return,
                }
            }
        };
        tokio::select! {
            () = told => {}
            () = untold => {}
        }
    }
}

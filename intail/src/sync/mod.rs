//! Keeping the copy equal to Google's state. The promise: nothing is lost. The cursor, the rows and the changes that it
//! covers are committed together; an item that fails becomes a debt; a notice only says "look again".
//!
//! `plan` decides, from a mailbox's row and the time alone, what to do next; `mail` and `watch` do one bounded step of
//! it; `privacy` decides what of it may be kept; `worker` claims mailboxes that are due and does steps until they may
//! rest. No step holds a transaction open while it asks Google, and every commit proves first that the lease still
//! holds.

mod budget;
mod calendar;
pub mod calendar_plan;
mod calendar_turn;
mod channels;
mod coverage;
mod directory;
mod directory_turn;
mod events;
mod failures;
mod headers;
mod lifecycle;
mod mail;
mod mail_turn;
mod outlook;
pub mod plan;
mod privacy;
mod profiles;
mod shares;
mod watch;
mod worker;

use std::sync::Arc;

use tokio::sync::Notify;

pub use outlook::{
    Bulk, COPYING_STOPS_PERCENT_MAX, DayUse, Outlook, Pass, Waits, calendar_waits, day_uses, directory_waits,
    limits_of, outlook,
};
pub use shares::HEARD_WITHIN;
pub use worker::{Worker, run};

/// Rung when a mailbox has become due, after the commit that made it so. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Wakes the engine. A ring that nobody waits for yet is kept.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits for a ring.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

//! Time, given in from outside: production hands in the machine's clock, tests hand in one that only they move.
//! Nothing else in the product may ask what time it is.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

/// Where time comes from. Cheap to clone; all clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine,
    Owned(Arc<Owned>),
}

#[derive(Debug)]
struct Owned {
    now_us: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// The machine's own clock.
    pub fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands at `start` until somebody calls [`Clock::advance`].
    pub fn owned(start: Timestamp) -> Self {
        let now_us = AtomicI64::new(start.as_microsecond());
        Self(Source::Owned(Arc::new(Owned { now_us, moved: Notify::new() })))
    }

    /// The present instant, in whole microseconds: what the store keeps.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
            Source::Machine => truncate(Timestamp::now()),
            Source::Owned(owned) => from_us(owned.now_us.load(Ordering::SeqCst)),
        }
    }

    /// Moves an owned clock forward and wakes everyone who waits on it, in the order in which they came. The machine's
    /// clock can't be moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Owned(owned) = &self.0 {
            let us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            owned.now_us.fetch_add(us, Ordering::SeqCst);
            owned.moved.notify_waiters();
        }
    }

    /// Waits until this clock shows `until` or later.
    pub async fn sleep_until(&self, until: Timestamp) {
        match &self.0 {
            Source::Machine => {
                let wait = Duration::try_from(self.now().duration_until(until)).unwrap_or(Duration::ZERO);
                #[expect(clippy::disallowed_methods, reason = "the one place that waits on the machine's clock")]
                tokio::time::sleep(wait).await;
            }
            Source::Owned(owned) => {
                let mut moved = pin!(owned.moved.notified());
                loop {
                    // Listen first, then look: a move in between is heard.
                    moved.as_mut().enable();
                    if self.now() >= until {
                        return;
                    }
                    moved.as_mut().await;
                    moved.set(owned.moved.notified());
                }
            }
        }
    }

    /// Waits for `wait` on this clock.
    pub async fn sleep(&self, wait: Duration) {
        self.sleep_until(self.now().saturating_add(wait).unwrap_or(Timestamp::MAX)).await;
    }
}

/// The instant that the store's column holds: microseconds since 1970.
pub fn from_us(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or(if us < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn truncate(at: Timestamp) -> Timestamp {
    from_us(at.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_owned_clock_moves_only_when_told() {
        let clock = Clock::owned(from_us(1_000_000));
        let mut waiting = std::pin::pin!(clock.sleep(Duration::from_secs(5)));
        assert!(futures::poll!(&mut waiting).is_pending());
        clock.advance(Duration::from_secs(4));
        assert!(futures::poll!(&mut waiting).is_pending());
        clock.advance(Duration::from_secs(1));
        waiting.await;
        assert_eq!(clock.now(), from_us(6_000_000));
    }
}

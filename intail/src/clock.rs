//! Time, given in from outside: production hands in the machine's clock, tests hand in one that only they move.
//! Nothing else in the product may ask what time it is.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;

/// Where time comes from. Cheap to clone; all clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine,
    Owned(Arc<Mutex<Owned>>),
}

#[derive(Debug)]
struct Owned {
    now_us: i64,
    /// Who waits, by the instant and then in the order in which they came.
    waiting: BTreeMap<(i64, u64), Waker>,
    came: u64,
}

fn lock(owned: &Mutex<Owned>) -> MutexGuard<'_, Owned> {
    owned.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clock {
    /// The machine's own clock.
    pub fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands at `start` until somebody calls [`Clock::advance`].
    pub fn owned(start: Timestamp) -> Self {
        let owned = Owned { now_us: start.as_microsecond(), waiting: BTreeMap::new(), came: 0 };
        Self(Source::Owned(Arc::new(Mutex::new(owned))))
    }

    /// The present instant, in whole microseconds: what the store keeps.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
            Source::Machine => truncate(Timestamp::now()),
            Source::Owned(owned) => from_us(lock(owned).now_us),
        }
    }

    /// Moves an owned clock forward and wakes everyone whose time has come, earliest first. The machine's clock can't
    /// be moved.
    pub fn advance(&self, by: Duration) {
        let Source::Owned(owned) = &self.0 else { return };
        let due = {
            let mut owned = lock(owned);
            owned.now_us = owned.now_us.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
            let next_us = owned.now_us.saturating_add(1);
            let later = owned.waiting.split_off(&(next_us, 0));
            std::mem::replace(&mut owned.waiting, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// The earliest instant that somebody waits for on an owned clock: where to move it when nothing else is to do.
    pub fn next_wait(&self) -> Option<Timestamp> {
        let Source::Owned(owned) = &self.0 else { return None };
        lock(owned).waiting.first_key_value().map(|((at_us, _), _)| from_us(*at_us))
    }

    /// Waits until this clock shows `until` or later.
    pub async fn sleep_until(&self, until: Timestamp) {
        match &self.0 {
            Source::Machine => {
                let wait = Duration::try_from(self.now().duration_until(until)).unwrap_or(Duration::ZERO);
                #[expect(clippy::disallowed_methods, reason = "the one place that waits on the machine's clock")]
                tokio::time::sleep(wait).await;
            }
            Source::Owned(owned) => Waiting { owned, until_us: until.as_microsecond(), place: None }.await,
        }
    }

    /// Waits for `wait` on this clock.
    pub async fn sleep(&self, wait: Duration) {
        self.sleep_until(self.now().saturating_add(wait).unwrap_or(Timestamp::MAX)).await;
    }
}

/// Somebody who waits on an owned clock.
struct Waiting<'a> {
    owned: &'a Mutex<Owned>,
    until_us: i64,
    place: Option<u64>,
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut owned = lock(self.owned);
        if owned.now_us >= self.until_us {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| {
            owned.came += 1;
            owned.came
        });
        owned.waiting.insert((self.until_us, place), context.waker().clone());
        drop(owned);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            lock(self.owned).waiting.remove(&(self.until_us, place));
        }
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
        assert_eq!(clock.next_wait(), Some(from_us(6_000_000)));
        clock.advance(Duration::from_secs(1));
        waiting.await;
        assert_eq!((clock.now(), clock.next_wait()), (from_us(6_000_000), None));
    }

    #[tokio::test]
    async fn who_stops_waiting_is_forgotten() {
        let clock = Clock::owned(from_us(0));
        {
            let mut waiting = std::pin::pin!(clock.sleep(Duration::from_secs(5)));
            assert!(futures::poll!(&mut waiting).is_pending());
        }
        assert_eq!(clock.next_wait(), None);
    }
}

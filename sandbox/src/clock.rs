//! The time of the false Workspace: either the machine's clock, which can be shifted forward, or a clock that stands
//! still until somebody moves it. Every rule of the sandbox reads time here and nowhere else; don't read the machine's
//! clock in another file, or a test that moves time sees two times at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// A clock that several owners share; clones show and move the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    time: Arc<Mutex<Time>>,
    moved: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Time {
    /// The machine's clock plus a shift.
    System { shift: SignedDuration },
    /// Stands still.
    Manual { now: Timestamp },
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

impl Clock {
    /// The machine's clock. [`Clock::advance`] shifts it forward, and it keeps running from there.
    pub fn system() -> Clock {
        Clock::of(Time::System { shift: SignedDuration::ZERO })
    }

    /// A clock that shows `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Clock {
        Clock::of(Time::Manual { now: start })
    }

    fn of(time: Time) -> Clock {
        Clock { time: Arc::new(Mutex::new(time)), moved: watch::Sender::new(0) }
    }

    /// The sandbox's present instant.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the sandbox reads the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match *self.time.lock().unwrap_or_else(PoisonError::into_inner) {
            Time::System { shift } => Timestamp::now().saturating_add(shift).unwrap_or(Timestamp::MAX),
            Time::Manual { now } => now,
        }
    }

    /// Moves time forward and wakes everything that waits for a later instant. Time beyond jiff's range stays at its
    /// end.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        match &mut *self.time.lock().unwrap_or_else(PoisonError::into_inner) {
            Time::System { shift } => *shift = shift.saturating_add(by),
            Time::Manual { now } => *now = now.saturating_add(by).unwrap_or(Timestamp::MAX),
        }
        self.moved.send_modify(|count| *count += 1);
    }

    /// Whether time stands still between two calls of [`Clock::advance`].
    pub fn is_manual(&self) -> bool {
        matches!(*self.time.lock().unwrap_or_else(PoisonError::into_inner), Time::Manual { .. })
    }

    /// How far the sandbox's time is ahead of the machine's; zero for a manual clock. A restart restores it.
    pub fn shift(&self) -> Duration {
        match *self.time.lock().unwrap_or_else(PoisonError::into_inner) {
            Time::System { shift } => shift.unsigned_abs(),
            Time::Manual { .. } => Duration::ZERO,
        }
    }

    /// Waits until the sandbox's time has reached `at`.
    pub(crate) async fn reached(&self, at: Timestamp) {
        let mut moved = self.moved.subscribe();
        while self.now() < at {
            let left = if self.is_manual() { None } else { Duration::try_from(at.duration_since(self.now())).ok() };
            tokio::select! {
                // The channel lives as long as this clock, so a closed channel can't be seen here.
                _ = moved.changed() => {}
                () = Clock::real_wait(left) => {}
            }
        }
    }

    /// Waits in the machine's time, whatever the sandbox's time does: for bounds on HTTP itself (how long an answer may
    /// be held back), which belong to the caller's socket and not to the false world.
    #[expect(clippy::disallowed_methods, reason = "this is the clock through which the sandbox sleeps")]
    pub(crate) async fn held_back(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock through which the sandbox sleeps")]
    async fn real_wait(left: Option<Duration>) {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual("2026-11-02T08:00:00Z".parse().unwrap());
        let copy = clock.clone();
        assert_eq!(clock.now(), copy.now());
        clock.advance(Duration::from_secs(90));
        assert_eq!(copy.now(), "2026-11-02T08:01:30Z".parse::<Timestamp>().unwrap());
    }

    #[test]
    fn a_system_clock_keeps_its_shift() {
        let clock = Clock::system();
        let before = clock.now();
        clock.advance(Duration::from_secs(3_600));
        assert!(clock.now().duration_since(before) >= SignedDuration::from_secs(3_600));
        assert_eq!(clock.shift(), Duration::from_secs(3_600));
    }

    #[test]
    fn an_absurd_advance_stops_at_the_end_of_time() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_the_clock_is_moved() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let waiter = clock.clone();
        let moving = async { clock.advance(Duration::from_secs(5)) };
        futures::future::join(waiter.reached("1970-01-01T00:00:05Z".parse().unwrap()), moving).await;
    }
}

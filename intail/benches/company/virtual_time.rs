//! Time that runs as fast as the work in it: when nothing is left to do but wait, both clocks jump to the next instant
//! that somebody waits for. What a benchmark measures in it is hours of Google's minutes, not the machine's speed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use intail::clock::Clock;
use intail::store::StoreError;
use intail::store::gate::{Act, Gate, Underway};
use tokio::runtime::{Builder, Runtime};

/// Who moves time. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct VirtualTime(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    google: OnceLock<intail_sandbox::Clock>,
    /// Questions to the database that aren't answered: nobody may jump meanwhile.
    asked: AtomicUsize,
    is_running: AtomicBool,
}

impl VirtualTime {
    /// Moves this clock once it is started.
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared {
            clock,
            google: OnceLock::new(),
            asked: AtomicUsize::new(0),
            is_running: AtomicBool::new(false),
        }))
    }

    /// The clock that it moves.
    pub(crate) fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// A runtime in whose idle moments time jumps.
    pub(crate) fn runtime(&self) -> std::io::Result<Runtime> {
        let time = self.clone();
        Builder::new_current_thread().enable_all().on_thread_park(move || time.jump()).build()
    }

    /// From now on time jumps, and the false Google's with it.
    pub(crate) fn start(&self, google: intail_sandbox::Clock) {
        let _ = self.0.google.set(google);
        self.0.is_running.store(true, Ordering::SeqCst);
    }

    fn jump(&self) {
        let shared = &self.0;
        if !shared.is_running.load(Ordering::SeqCst) || shared.asked.load(Ordering::SeqCst) > 0 {
            return;
        }
        let Some(next) = shared.clock.next_wait() else { return };
        let by = Duration::try_from(next.duration_since(shared.clock.now())).unwrap_or_default();
        if let Some(google) = shared.google.get() {
            google.advance(by);
        }
        shared.clock.advance(by);
    }
}

struct Asked(VirtualTime);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.0.asked.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate for VirtualTime {
    fn before(&self, _: Act) -> BoxFuture<'static, Result<Underway, StoreError>> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let asked: Underway = Box::new(Asked(self.clone()));
        async move { Ok(asked) }.boxed()
    }

    fn after(&self, _: Act) -> BoxFuture<'static, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }

    fn ended(&self, _: bool) {}
}

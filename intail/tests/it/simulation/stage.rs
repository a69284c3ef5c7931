//! The stage of a simulation: what runs stops wherever chance may matter — before a request to Google, before its
//! answer comes back, before a transaction, around a commit — and goes on when the director says so.
//! Between two stops only one actor runs, so a seed gives the same order every time, although the database works in a
//! thread of its own.
//!
//! A reader must not break: nothing else may decide an order. An actor that waits for the database is waited for.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::{BoxFuture, FutureExt as _};
use intail::store::StoreError;
use intail::store::gate::{Act, Gate, Underway};
use jiff::Timestamp;
use tokio::sync::Notify;

/// Where an actor stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A request is about to reach Google.
    Ask(String),
    /// A long poll is about to reach Pub/Sub: nothing happens until there is something to fetch.
    Poll,
    /// Google has carried a request out, and the answer is about to come back.
    Answer(String),
    /// A request that nobody answers waits for its deadline: time alone ends it.
    Silence(Timestamp),
    /// A transaction is about to begin.
    Begin,
    /// A transaction is about to be committed.
    Commit,
    /// A transaction was committed, and nobody knows yet.
    Committed,
}

/// What the director says to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Go,
    /// It fails: the connection broke, the database is busy or away.
    Fail,
    /// Nothing comes of it until the request's deadline. Only requests to Google hang.
    Hang,
}

/// The stage. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Who runs now; nobody while something outside the simulation's play is done.
    current: Option<usize>,
    stops: BTreeMap<u64, Waiting>,
    next_stop: u64,
    /// Whether the database was asked something that it has not answered: one thing at a time, or its threads would
    /// decide an order.
    asked: bool,
    /// Who waits to ask it, in order.
    queue: VecDeque<(u64, Waker)>,
    next_place: u64,
    /// Transactions that write and are open.
    writing: usize,
}

#[derive(Debug)]
struct Waiting {
    actor: usize,
    stop: Stop,
    verdict: Option<Verdict>,
    waker: Option<Waker>,
}

impl Stage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the present actor until the director decides. Outside the play nothing stops.
    pub(super) fn stop(&self, stop: Stop) -> Stopped {
        Stopped { stage: self.clone(), stop: Some(stop), id: None }
    }

    /// Who stopped where, oldest first.
    pub(super) fn stops(&self) -> Vec<(u64, usize, Stop)> {
        let state = self.state();
        let undecided = state.stops.iter().filter(|(_, it)| it.verdict.is_none());
        undecided.map(|(id, it)| (*id, it.actor, it.stop.clone())).collect()
    }

    /// Lets a stop go on, or fail.
    pub(super) fn decide(&self, id: u64, verdict: Verdict) {
        let mut state = self.state();
        let Some(waiting) = state.stops.get_mut(&id) else { return };
        waiting.verdict = Some(verdict);
        if let Some(waker) = waiting.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Whether a transaction that writes is open: nobody else may run then.
    pub(super) fn is_writing(&self) -> bool {
        self.state().writing > 0
    }

    /// Waits for the turn to ask the database.
    fn turn(&self) -> Turn {
        Turn { stage: self.clone(), place: None }
    }

    fn is_asking(&self) -> bool {
        self.state().asked
    }
}

/// A stop that waits for the director.
pub(super) struct Stopped {
    stage: Stage,
    stop: Option<Stop>,
    id: Option<u64>,
}

impl Future for Stopped {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
        let this = &mut *self;
        let mut state = this.stage.state();
        let Some(id) = this.id else {
            let (Some(actor), Some(stop)) = (state.current, this.stop.take()) else {
                return Poll::Ready(Verdict::Go);
            };
            let id = state.next_stop;
            state.next_stop += 1;
            state.stops.insert(id, Waiting { actor, stop, verdict: None, waker: Some(context.waker().clone()) });
            this.id = Some(id);
            return Poll::Pending;
        };
        let Some(waiting) = state.stops.get_mut(&id) else { return Poll::Ready(Verdict::Go) };
        match waiting.verdict {
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(verdict) => {
                state.stops.remove(&id);
                this.id = None;
                Poll::Ready(verdict)
            }
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.stage.state().stops.remove(&id);
        }
    }
}

/// Waits to ask the database, first come, first served.
struct Turn {
    stage: Stage,
    place: Option<u64>,
}

impl Future for Turn {
    type Output = Asking;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Asking> {
        let this = &mut *self;
        let mut state = this.stage.state();
        let place = *this.place.get_or_insert_with(|| {
            state.next_place += 1;
            state.next_place
        });
        let first = state.queue.front().is_none_or(|(first, _)| *first == place);
        if !state.asked && first {
            if !state.queue.is_empty() {
                state.queue.pop_front();
            }
            state.asked = true;
            return Poll::Ready(Asking(this.stage.clone()));
        }
        match state.queue.iter_mut().find(|(there, _)| *there == place) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => state.queue.push_back((place, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.stage.state();
        state.queue.retain(|(place, _)| Some(*place) != self.place);
        let next = state.queue.front().filter(|_| !state.asked).map(|(_, waker)| waker.clone());
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }
}

/// The database is being asked.
struct Asking(Stage);

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.asked = false;
        let next = state.queue.front().map(|(_, waker)| waker.clone());
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }
}

/// The gate of the store on this stage.
impl Gate for Stage {
    fn before(&self, act: Act) -> BoxFuture<'static, Result<Underway, StoreError>> {
        let stage = self.clone();
        async move {
            let stop = match act {
                Act::Statement => None,
                // Also one that only reads: whether the database answers before it is waited for is chance, so nobody
                // else may be on their way then.
                Act::BeginRead | Act::BeginWrite => Some(Stop::Begin),
                Act::Commit => Some(Stop::Commit),
            };
            if let Some(stop) = stop
                && stage.stop(stop).await == Verdict::Fail
            {
                return Err(StoreError::Database(sqlx::Error::PoolTimedOut));
            }
            let asking: Underway = Box::new(stage.turn().await);
            Ok(asking)
        }
        .boxed()
    }

    fn after(&self, act: Act) -> BoxFuture<'static, Result<(), StoreError>> {
        let stage = self.clone();
        async move {
            if act == Act::BeginWrite {
                stage.state().writing += 1;
            }
            if act == Act::Commit && stage.stop(Stop::Committed).await == Verdict::Fail {
                return Err(StoreError::Database(sqlx::Error::PoolTimedOut));
            }
            Ok(())
        }
        .boxed()
    }

    fn ended(&self, writes: bool) {
        if writes {
            self.state().writing -= 1;
        }
    }
}

/// The gate for who only watches the play: it takes turns with the others, and nothing stops or fails it.
#[derive(Debug)]
pub(super) struct Audience(pub(super) Stage);

impl Gate for Audience {
    fn before(&self, _: Act) -> BoxFuture<'static, Result<Underway, StoreError>> {
        let turn = self.0.turn();
        async move {
            let asking: Underway = Box::new(turn.await);
            Ok(asking)
        }
        .boxed()
    }

    fn after(&self, _: Act) -> BoxFuture<'static, Result<(), StoreError>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn ended(&self, _: bool) {}
}

/// Something that runs on the stage: an engine, a puller.
pub(super) struct Actor {
    number: usize,
    work: Option<BoxFuture<'static, ()>>,
    flag: Arc<Flag>,
}

struct Flag {
    woken: AtomicBool,
    stage: Stage,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.stage.0.woken.notify_one();
    }
}

impl Actor {
    /// An actor with a number of its own. It begins when it is driven first.
    pub(super) fn new(stage: &Stage, number: usize, work: BoxFuture<'static, ()>) -> Self {
        let flag = Arc::new(Flag { woken: AtomicBool::new(true), stage: stage.clone() });
        // Tokio's budget of a task would make an actor yield to nobody.
        Self { number, work: Some(tokio::task::unconstrained(work).boxed()), flag }
    }

    /// Whether something happened that it waits for.
    pub(super) fn is_woken(&self) -> bool {
        self.work.is_some() && self.flag.woken.load(Ordering::SeqCst)
    }

    /// Runs it until it stops everywhere, waits for time, or is done.
    pub(super) async fn drive(&mut self) {
        let waker = Waker::from(self.flag.clone());
        let stage = self.flag.stage.clone();
        while let Some(work) = &mut self.work {
            self.flag.woken.store(false, Ordering::SeqCst);
            stage.state().current = Some(self.number);
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            stage.state().current = None;
            if polled.is_ready() {
                self.work = None;
            } else if !self.flag.woken.load(Ordering::SeqCst) {
                if !stage.is_asking() {
                    return;
                }
                stage.0.woken.notified().await;
            }
        }
    }
}

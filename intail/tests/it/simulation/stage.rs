//! The stage of a simulation: what runs stops wherever chance may matter — before a request to Google, before its
//! answer comes back, before a transaction that writes, around a commit — and goes on when the director says so.
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
    /// A transaction that writes is about to begin.
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
    /// Who asks the database and has no answer: one at a time, or its threads would decide an order.
    asking: Line,
    /// Transactions that only read and are open: no more than there are connections for. Whoever had the turn to ask
    /// and waited for a connection would wait for those who need the turn.
    reading: Line,
    next_place: u64,
    /// Transactions that write and are open.
    writing: usize,
}

/// A line in which some wait for what others have.
#[derive(Debug, Default)]
struct Line {
    /// How many have it.
    taken: usize,
    /// Who waits, in order.
    waiting: VecDeque<(u64, Waker)>,
}

/// For what somebody waits in line.
#[derive(Clone, Copy)]
enum Wish {
    Ask,
    Read,
}

impl Wish {
    /// How many may have it at once.
    fn most(self) -> usize {
        match self {
            Self::Ask => 1,
            // As many connections as the store has for readers on SQLite.
            Self::Read => 4,
        }
    }
}

impl State {
    fn line(&mut self, wish: Wish) -> &mut Line {
        match wish {
            Wish::Ask => &mut self.asking,
            Wish::Read => &mut self.reading,
        }
    }

    /// Who is next in line, if it is their turn.
    fn next(&mut self, wish: Wish) -> Option<Waker> {
        let line = self.line(wish);
        if line.taken >= wish.most() {
            return None;
        }
        line.waiting.front().map(|(_, waker)| waker.clone())
    }
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

    /// Waits in line.
    fn turn(&self, wish: Wish) -> Turn {
        Turn { stage: self.clone(), wish, place: None }
    }

    fn is_asking(&self) -> bool {
        self.state().asking.taken > 0
    }

    /// Somebody has it no more.
    fn give_back(&self, wish: Wish) {
        let mut state = self.state();
        state.line(wish).taken -= 1;
        let next = state.next(wish);
        drop(state);
        next.into_iter().for_each(Waker::wake);
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

/// Waits in line, first come, first served.
struct Turn {
    stage: Stage,
    wish: Wish,
    place: Option<u64>,
}

impl Future for Turn {
    type Output = Taken;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Taken> {
        let this = &mut *self;
        let mut state = this.stage.state();
        let place = *this.place.get_or_insert_with(|| {
            state.next_place += 1;
            state.next_place
        });
        let line = state.line(this.wish);
        let first = line.waiting.front().is_none_or(|(first, _)| *first == place);
        if line.taken < this.wish.most() && first {
            line.waiting.pop_front();
            line.taken += 1;
            return Poll::Ready(Taken(this.stage.clone(), this.wish));
        }
        match line.waiting.iter_mut().find(|(there, _)| *there == place) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => line.waiting.push_back((place, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.stage.state();
        state.line(self.wish).waiting.retain(|(place, _)| Some(*place) != self.place);
        let next = state.next(self.wish);
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }
}

/// What was waited for in line; given back when this goes.
struct Taken(Stage, Wish);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.give_back(self.1);
    }
}

/// The gate of the store on this stage.
impl Gate for Stage {
    fn before(&self, act: Act) -> BoxFuture<'static, Result<Underway, StoreError>> {
        let stage = self.clone();
        async move {
            let stop = match act {
                Act::BeginRead | Act::Statement => None,
                Act::BeginWrite => Some(Stop::Begin),
                Act::Commit => Some(Stop::Commit),
            };
            if let Some(stop) = stop
                && stage.stop(stop).await == Verdict::Fail
            {
                return Err(StoreError::Database(sqlx::Error::PoolTimedOut));
            }
            let reading = match act {
                Act::BeginRead => Some(stage.turn(Wish::Read).await),
                _ => None,
            };
            let underway: Underway = Box::new((stage.turn(Wish::Ask).await, reading));
            Ok(underway)
        }
        .boxed()
    }

    fn after(&self, act: Act) -> BoxFuture<'static, Result<(), StoreError>> {
        let stage = self.clone();
        async move {
            match act {
                Act::BeginRead => stage.state().reading.taken += 1,
                Act::BeginWrite => stage.state().writing += 1,
                Act::Statement | Act::Commit => {}
            }
            if act == Act::Commit && stage.stop(Stop::Committed).await == Verdict::Fail {
                return Err(StoreError::Database(sqlx::Error::PoolTimedOut));
            }
            Ok(())
        }
        .boxed()
    }

    fn ended(&self, writes: bool) {
        match writes {
            true => self.state().writing -= 1,
            false => self.give_back(Wish::Read),
        }
    }
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

//! Nothing is lost: seeds of a bad day, played in one process with the false Google, until the faults stop; then what
//! Intail holds must equal the world. `cargo xtask simulate --seeds N [--seed S]` plays as many as wanted; a failing
//! seed prints its steps and replays exactly.

mod directory;
mod network;
mod play;
mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use play::{Outcome, play};

/// Seeds that every run of the tests plays.
const SEEDS: u64 = 200;
/// Faults that this many seeds can't lack: each is expected dozens of times.
const FAULTS: [&str; 24] = [
    "401",
    "403",
    "404",
    "429",
    "500",
    "503",
    "connection cut after the request",
    "connection cut before the request",
    "crash",
    "crash after a commit",
    "crash before a commit",
    "database away at a commit",
    "database busy",
    "entries that can't be read",
    "grant ended at Google",
    "grant of who reads the directory ended at Google",
    "history forgotten",
    "long poll without an answer",
    "process paused past its lease",
    "request that hangs until its deadline",
    "subscription deleted",
    "sync tokens expired",
    "three days away",
    "watch lapsed",
];
/// Threads that play: what the smallest machine that runs the tests has.
const THREADS: u64 = 2;

/// A number that `cargo xtask simulate` hands in.
fn given(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "tests are told by their environment what to play")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn play_alone(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(play(seed))
}

/// When a play fails, no other begins: whoever waits for the answer has it.
struct Ends<'a>(&'a AtomicU64);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(u64::MAX / 2, Ordering::SeqCst);
        }
    }
}

/// Keeps a play and its database's thread on one processor: they take turns, thousands of times a second, and waking
/// each other on another one costs as much as all their work. Where that isn't possible, it only takes longer.
fn stay_on_one_processor(number: u64) {
    let Ok(all) = rustix::thread::sched_getaffinity(None) else { return };
    let allowed: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|it| all.is_set(*it)).collect();
    let Some(which) = usize::try_from(number).ok().and_then(|number| number.checked_rem(allowed.len())) else { return };
    let mut one = rustix::thread::CpuSet::new();
    one.set(allowed[which]);
    let _ = rustix::thread::sched_setaffinity(None, &one);
}

#[test]
fn promises_1_to_5_hold_on_every_seed_of_the_simulation() {
    let first = given("INTAIL_SIMULATE_SEED").unwrap_or(1);
    let count = given("INTAIL_SIMULATE_SEEDS").unwrap_or(SEEDS);
    if count == 1 {
        // Whoever replays one seed wants to know why: the product's own log belongs to its steps.
        tracing_subscriber::fmt()
            .with_env_filter("intail=debug,it=debug")
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    let next = AtomicU64::new(first);
    let outcomes: Vec<Vec<Outcome>> = thread::scope(|scope| {
        let played = |number| {
            stay_on_one_processor(number);
            let _ends = Ends(&next);
            let mut outcomes = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed >= first + count {
                    return outcomes;
                }
                outcomes.push(Outcome { trace: Vec::new(), ..play_alone(seed) });
            }
        };
        let threads: Vec<_> = (0..THREADS.min(count)).map(|number| scope.spawn(move || played(number))).collect();
        threads.into_iter().map(|it| it.join().expect("every seed holds")).collect()
    });
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut calls, mut units) = (0, 0);
    for outcome in outcomes.into_iter().flatten() {
        calls += outcome.calls;
        units += outcome.units;
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_default() += count;
        }
    }
    eprintln!("{count} seeds from {first}: {calls} calls to Google, {units} quota units; faults: {faults:#?}");
    let missing: Vec<&str> = FAULTS.into_iter().filter(|it| !faults.contains_key(it)).collect();
    assert!(count < SEEDS || missing.is_empty(), "these faults never happened: {missing:?}");
}

#[test]
fn a_seed_of_the_simulation_replays_exactly() {
    for seed in [3, 4] {
        let (first, again) = (play_alone(seed).trace, play_alone(seed).trace);
        let parted = first.iter().zip(&again).position(|(one, other)| one != other);
        let near = parted.map(|at| (&first[at.saturating_sub(12)..=at], &again[at]));
        assert!(near.is_none() && first.len() == again.len(), "seed {seed} parts here: {near:#?}");
    }
}

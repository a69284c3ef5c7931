//! What writing down each call costs: two Intails, one with the log of calls and one without, do the same work by turns
//! — a backfill, twenty seconds of Google's time at once, and then live changes — in one process, each against its own
//! false Google of the same seed. `cargo xtask bench receipts` prints the ratios: of live changes as Google answers, a
//! twelfth of a second for each call, and of the engine alone, against a false Google without latency. The false
//! Google's own work is in both.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::sync::Arc;
use std::time::{Duration, Instant};

use company::{Failure, approve, arrive, company_of, email, follow};
use intail::app::{App, Parts};
use intail::cli::demo;
use intail::clock::Clock;
use intail::id::PersonId;
use intail::org::receipts;
use intail::random::Random;
use intail::store::mailboxes::{self, MailboxState};
use intail::store::{grants, organizations};
use intail::sync::Worker;
use intail_google::{Client, ClientOptions};
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use tempfile::TempDir;

/// People of each company, messages of each, and live changes after the backfill.
const PEOPLE: usize = 6;
const MESSAGES: usize = 3_000;
const CHANGES: usize = 1_500;
/// Live changes while Google takes its time, and how long it takes for each call, in milliseconds.
const SLOW_CHANGES: usize = 200;
const LATENCY_MS: u64 = 80;
/// Turns of a backfill before a bench that hangs ends.
const TURNS_MAX: usize = 10_000;
/// Where the product says it is; nobody listens there.
const PRODUCT: &str = "http://127.0.0.1:8080";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (with, without) = (Scene::start(true).await?, Scene::start(false).await?);
    let mut backfill = Vec::new();
    while !with.is_live().await? || !without.is_live().await? {
        if backfill.len() == TURNS_MAX {
            return Err("the backfill didn't end".into());
        }
        backfill.push(by_turns(backfill.len(), || with.tick(), || without.tick()).await?);
        with.pass(Duration::from_secs(20));
        without.pass(Duration::from_secs(20));
    }
    let mut live = Vec::new();
    for change in 0..CHANGES {
        live.push(by_turns(change, || with.change(change), || without.change(change)).await?);
    }
    with.take_time(LATENCY_MS);
    without.take_time(LATENCY_MS);
    let mut slow = Vec::new();
    for change in 0..SLOW_CHANGES {
        slow.push(by_turns(change, || with.change(change), || without.change(change)).await?);
    }
    println!(
        "{PEOPLE} people with {MESSAGES} messages each, then {CHANGES} letters, by turns; then {SLOW_CHANGES} more"
    );
    println!("with {LATENCY_MS} ms for each of Google's answers\n");
    println!("{:<12}{:>8}{:>16}{:>18}{:>10}{:>10}", "", "turns", "with, p50 ms", "without, p50 ms", "p50", "mean");
    report("backfill", &backfill);
    report("live", &live);
    report("live, slow", &slow);
    with.check().await?;
    without.check().await
}

/// Both, one right after the other, and each as often first: what else the machine does hits both.
async fn by_turns(
    turn: usize,
    with: impl AsyncFnOnce() -> Result<Duration, Failure>,
    without: impl AsyncFnOnce() -> Result<Duration, Failure>,
) -> Result<(Duration, Duration), Failure> {
    if turn.is_multiple_of(2) {
        let first = with().await?;
        Ok((first, without().await?))
    } else {
        let first = without().await?;
        Ok((with().await?, first))
    }
}

/// The middle of each, and the mean without the slowest twentieth, in which the machine did something else.
fn report(name: &str, pairs: &[(Duration, Duration)]) {
    let sorted = |of: fn(&(Duration, Duration)) -> Duration| {
        let mut all: Vec<f64> = pairs.iter().map(|it| of(it).as_secs_f64() * 1_000.0).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (with, without) = (sorted(|it| it.0), sorted(|it| it.1));
    let middle = |all: &[f64]| all[all.len() / 2];
    let mean = |all: &[f64]| all[..all.len() * 19 / 20].iter().sum::<f64>();
    let (p50, bare) = (middle(&with), middle(&without));
    let turns = pairs.len();
    println!("{name:<12}{turns:>8}{p50:>16.2}{bare:>18.2}{:>10.3}{:>10.3}", p50 / bare, mean(&with) / mean(&without));
}

/// One Intail and its false Google.
struct Scene {
    sandbox: Sandbox,
    clock: Clock,
    app: App,
    worker: Worker,
    people: Vec<PersonId>,
    has_log: bool,
    _directory: TempDir,
}

impl Scene {
    async fn start(has_log: bool) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let world = company_of(PEOPLE).replace("mail_per_person = 2", &format!("mail_per_person = {MESSAGES}"));
        let start = "2026-11-22T09:00:00Z".parse()?;
        let sandbox = Sandbox::start(Options {
            clock: intail_sandbox::Clock::manual(start),
            product_url: Some(PRODUCT.to_owned()),
            world: WorldSource::File(Box::new(WorldFile::parse(&world)?)),
            ..Options::new(listener)
        })
        .await?;
        let clock = Clock::owned(start);
        let config = demo::configuration(&sandbox, directory.path(), PRODUCT)?;
        let app = demo::product(&sandbox, config, clock.clone(), Random::seeded(1)).await?;
        let app = if has_log { app } else { without_a_log(&app)? };
        approve(&sandbox, &app);
        let mut people = Vec::with_capacity(PEOPLE);
        for number in 0..PEOPLE {
            people.push(follow(&sandbox, &app, &email(number)).await?);
        }
        Ok(Self { worker: Worker::new(&app), sandbox, clock, app, people, has_log, _directory: directory })
    }

    /// Lets the engine work until nothing is due; answers how long that took.
    async fn tick(&self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        self.worker.tick().await?;
        Ok(begun.elapsed())
    }

    /// A letter arrives, and is looked for once more ten seconds later.
    async fn change(&self, number: usize) -> Result<Duration, Failure> {
        let address = email(number % PEOPLE);
        arrive(&self.sandbox, &address)?;
        let mut tx = self.app.store.write().await?;
        mailboxes::notice(&mut tx, &[(&address, None)], self.app.clock.now()).await?;
        tx.commit().await?;
        let took = self.tick().await?;
        self.pass(Duration::from_secs(10));
        Ok(took + self.tick().await?)
    }

    /// From now on the false Google takes so long for each answer.
    fn take_time(&self, latency_ms: u64) {
        self.sandbox.world(|world| world.faults.latency_ms = latency_ms);
    }

    fn pass(&self, by: Duration) {
        self.sandbox.clock().advance(by);
        self.clock.advance(by);
    }

    async fn is_live(&self) -> Result<bool, Failure> {
        let mut tx = self.app.store.read().await?;
        let organization = organizations::list(&mut tx, 1).await?.remove(0).id;
        let all = mailboxes::list(&mut tx, &organization, i64::MAX).await?;
        Ok(all.iter().all(|it| it.state == MailboxState::Live))
    }

    /// The log holds every call, or none.
    async fn check(&self) -> Result<(), Failure> {
        let mut tx = self.app.store.read().await?;
        for person in &self.people {
            let grant = grants::by_person(&mut tx, person).await?.ok_or("no grant")?;
            let chain = receipts::verify(&mut tx, &grant.id).await?;
            let is_right = match &chain {
                Some(chain) => self.has_log && chain.broken_at.is_none() && chain.calls > 100,
                None => !self.has_log,
            };
            if !is_right {
                return Err(format!("the log isn't as it should be: {chain:?}").into());
            }
        }
        Ok(())
    }
}

/// The same product, whose client tells nobody of its calls.
fn without_a_log(app: &App) -> Result<App, Failure> {
    let now = app.clock.clone();
    let google = Client::new(ClientOptions {
        endpoints: app.config.google.endpoints.clone(),
        prices: app.config.quota.table.into(),
        now: Arc::new(move || now.now()),
        hook: None,
        user_agent: "intail-bench".to_owned(),
        transport: None,
    })?;
    Ok(App::new(Parts {
        config: app.config.clone(),
        store: app.store.clone(),
        clock: app.clock.clone(),
        random: app.random.clone(),
        keyring: app.keyring.clone(),
        google,
        receipts: app.receipts.clone(),
        turns: app.turns.clone(),
        due: app.due.clone(),
        feed: app.feed.clone(),
    }))
}

//! What writing down each call costs: the same work — a backfill, and live changes after it — by turns with and without
//! the log of calls, in one process, against the same false Google without latency. `cargo xtask bench receipts` prints
//! the ratio. With the real Google, its answers take a hundred times as long, and the ratio comes closer to one.

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
use intail::org::receipts;
use intail::random::Random;
use intail::store::mailboxes::{self, MailboxState};
use intail::store::{grants, organizations};
use intail::sync::Worker;
use intail_google::{Client, ClientOptions};
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};

/// People of each company, messages of each, and live changes after the backfill.
const PEOPLE: usize = 6;
const MESSAGES: usize = 400;
const CHANGES: usize = 120;
/// How often each way is measured, by turns; the best time of each counts, because other programs only add to it.
const TURNS: usize = 5;
/// Rounds of the engine before a bench that hangs ends.
const ROUNDS_MAX: usize = 10_000;
/// Where the product says it is; nobody listens there.
const PRODUCT: &str = "http://127.0.0.1:8080";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut best = [Best::default(); 2];
    for turn in 0..TURNS {
        for with in if turn % 2 == 0 { [false, true] } else { [true, false] } {
            let measured = measure(with).await?;
            best[usize::from(with)].take(measured);
        }
    }
    let [without, with] = best;
    println!("{PEOPLE} people with {MESSAGES} messages each, then {CHANGES} letters, best of {TURNS}\n");
    println!("{:<10}{:>16}{:>16}{:>10}", "", "with, ms", "without, ms", "ratio");
    for (name, with, without) in [("backfill", with.backfill, without.backfill), ("live", with.live, without.live)] {
        let ms = |it: Duration| it.as_secs_f64() * 1_000.0;
        println!("{name:<10}{:>16.1}{:>16.1}{:>10.3}", ms(with), ms(without), ms(with) / ms(without));
    }
    Ok(())
}

/// The best times.
#[derive(Clone, Copy)]
struct Best {
    backfill: Duration,
    live: Duration,
}

impl Default for Best {
    fn default() -> Self {
        Self { backfill: Duration::MAX, live: Duration::MAX }
    }
}

impl Best {
    fn take(&mut self, other: Self) {
        self.backfill = self.backfill.min(other.backfill);
        self.live = self.live.min(other.live);
    }
}

async fn measure(with: bool) -> Result<Best, Failure> {
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
    let app = if with { app } else { without_a_log(&app)? };
    approve(&sandbox, &app);
    let mut people = Vec::with_capacity(PEOPLE);
    for number in 0..PEOPLE {
        people.push(follow(&sandbox, &app, &email(number)).await?);
    }
    let worker = Worker::new(&app);

    // Only the engine's own time counts: what passes on both clocks between its turns takes none.
    let mut backfill = Duration::ZERO;
    for round in 0..ROUNDS_MAX {
        let begun = Instant::now();
        worker.tick().await?;
        backfill += begun.elapsed();
        if all_are_live(&app).await? {
            break;
        }
        if round + 1 == ROUNDS_MAX {
            return Err("the backfill didn't end".into());
        }
        pass(&sandbox, &clock, Duration::from_secs(20));
    }
    let mut live = Duration::ZERO;
    for change in 0..CHANGES {
        let address = email(change % PEOPLE);
        arrive(&sandbox, &address)?;
        let mut tx = app.store.write().await?;
        mailboxes::notice(&mut tx, &address, app.clock.now()).await?;
        tx.commit().await?;
        let begun = Instant::now();
        worker.tick().await?;
        live += begun.elapsed();
        pass(&sandbox, &clock, Duration::from_secs(10));
        let begun = Instant::now();
        worker.tick().await?;
        live += begun.elapsed();
    }
    check(&app, &people, with).await?;
    app.store.close().await;
    Ok(Best { backfill, live })
}

fn pass(sandbox: &Sandbox, clock: &Clock, by: Duration) {
    sandbox.clock().advance(by);
    clock.advance(by);
}

/// The same product, whose client tells nobody of its calls.
fn without_a_log(app: &App) -> Result<App, Failure> {
    let now = app.clock.clone();
    let google = Client::new(ClientOptions {
        endpoints: app.config.google.endpoints.clone(),
        prices: app.config.quota.table,
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

async fn all_are_live(app: &App) -> Result<bool, Failure> {
    let mut tx = app.store.read().await?;
    let organization = organizations::list(&mut tx, 1).await?.remove(0).id;
    let all = mailboxes::list(&mut tx, &organization, i64::MAX).await?;
    Ok(all.iter().all(|it| it.state == MailboxState::Live))
}

/// The log holds every call, or none.
async fn check(app: &App, people: &[intail::id::PersonId], with: bool) -> Result<(), Failure> {
    let mut tx = app.store.read().await?;
    for person in people {
        let grant = grants::by_person(&mut tx, person).await?.ok_or("no grant")?;
        let chain = receipts::verify(&mut tx, &grant.id).await?;
        let is_right = match &chain {
            Some(chain) => with && chain.broken_at.is_none() && chain.calls > 100,
            None => !with,
        };
        if !is_right {
            return Err(format!("the log isn't as it should be: {chain:?}").into());
        }
    }
    Ok(())
}

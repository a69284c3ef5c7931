//! `cargo xtask bench restart [MAILBOXES]`: how soon after a restart every mailbox caught up with what changed while
//! Intail was down, beside a bare client that reads the same history and messages, as many at once, and stores nothing.
//! Both run in this process over real HTTP against the same false Google.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::time::{Duration, Instant};

use company::{Failure, WAIT_MAX, access_key, approve, arrive, company_of, copied, email, follow, grant_at_google};
use futures::stream::{self, TryStreamExt as _};
use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::config::Config;
use intail::id::PersonId;
use intail::random::Random;
use intail::store::{gauges, mailboxes, messages};
use intail::{notices, sync, web};
use intail_google::Caller;
use intail_google::pubsub::Credentials;
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Mailboxes unless the command says otherwise.
const MAILBOXES: usize = 1_000;
/// Mailboxes at once on the bare side: as many as Intail's engine works on.
const AT_ONCE: usize = 32;
const KEY: &str = "intail_bench-key";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let count = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(MAILBOXES);
    let directory = tempfile::tempdir()?;
    let google = TcpListener::bind("127.0.0.1:0").await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let world = WorldFile::parse(&company_of(count))?;
    let options = Options {
        product_url: Some(address.clone()),
        world: WorldSource::File(Box::new(world)),
        ..Options::new(google)
    };
    let sandbox = Sandbox::start(options).await?;
    sandbox.world(|world| world.settings.notices.gap_ms = 0);
    let config = demo::configuration(&sandbox, directory.path(), &address)?;

    let mut running = Running::start(&sandbox, config.clone(), listener).await?;
    approve(&sandbox, &running.app);
    let mut people = Vec::new();
    for number in 0..count {
        people.push(follow(&sandbox, &running.app, &email(number)).await?);
    }
    access_key(&running.app, &people[0], KEY).await?;
    running.app.due.ring();
    copied(&running.app).await?;
    running.stop().await;

    let cursors = cursors(&sandbox, count);
    for number in 0..count {
        arrive(&sandbox, &email(number))?;
    }
    let begun = Instant::now();
    let listener = TcpListener::bind(address.trim_start_matches("http://")).await?;
    running = Running::start(&sandbox, config, listener).await?;
    let ready = answers(&address, begun).await?;
    let caught_up = caught_up(&running.app, &people, begun).await?;
    let app = running.app.clone();
    running.stop().await;
    let bare = bare(&sandbox, &app, &cursors).await?;
    println!("{count} mailboxes, each with one new message\n");
    println!("{:<44}{:>10.2} s", "until Intail answers", ready.as_secs_f64());
    println!("{:<44}{:>10.2} s", "until every mailbox has caught up", caught_up.as_secs_f64());
    println!("{:<44}{:>10.2} s", "a bare client that reads the same", bare.as_secs_f64());
    println!("{:<44}{:>10.2}", "ratio", caught_up.as_secs_f64() / bare.as_secs_f64());
    sandbox.stop().await;
    Ok(())
}

/// A running Intail.
struct Running {
    app: App,
    parts: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Running {
    async fn start(sandbox: &Sandbox, config: Config, listener: TcpListener) -> Result<Self, Failure> {
        let app = demo::product(sandbox, config, Clock::machine(), Random::from_os()).await?;
        let shutdown = CancellationToken::new();
        let mut parts = JoinSet::new();
        let (web_app, sync_app, pull_app) = (app.clone(), app.clone(), app.clone());
        let (web_end, sync_end, pull_end) = (shutdown.clone(), shutdown.clone(), shutdown.clone());
        parts.spawn(async move { drop(web::serve(web_app, listener, web_end).await) });
        parts.spawn(async move { drop(sync::run(&sync_app, sync_end).await) });
        parts.spawn(async move { notices::pull::run(&pull_app, &Credentials::anonymous(), pull_end).await });
        Ok(Self { app, parts, shutdown })
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while self.parts.join_next().await.is_some() {}
        self.app.store.close().await;
    }
}

async fn answers(address: &str, begun: Instant) -> Result<Duration, Failure> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    http.get(format!("{address}/readyz")).send().await?.error_for_status()?;
    Ok(begun.elapsed())
}

/// Waits until each mailbox holds its new message and owes nothing.
async fn caught_up(app: &App, people: &[PersonId], begun: Instant) -> Result<Duration, Failure> {
    for person in people {
        loop {
            let mut tx = app.store.read().await?;
            let mailbox = mailboxes::by_person(&mut tx, person).await?.ok_or("a mailbox is gone")?;
            let held = messages::count(&mut tx, &mailbox.id).await?;
            drop(tx);
            if held >= 3 {
                break;
            }
            if begun.elapsed() > WAIT_MAX {
                let mut tx = app.store.read().await?;
                return Err(
                    format!("not everybody caught up: {:?}", gauges::read(&mut tx, app.clock.now()).await?).into()
                );
            }
            app.clock.sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(begun.elapsed())
}

fn cursors(sandbox: &Sandbox, count: usize) -> Vec<u64> {
    let current = |number| sandbox.world(|world| world.mailbox(&email(number)).map(|it| it.history().current()));
    (0..count).map(|number| current(number).unwrap_or(0)).collect()
}

/// Reads what is new in every mailbox, and keeps nothing.
async fn bare(sandbox: &Sandbox, app: &App, cursors: &[u64]) -> Result<Duration, Failure> {
    let callers: Result<Vec<Caller>, Failure> = (0..cursors.len())
        .map(|number| {
            let (_, access, _) = grant_at_google(sandbox, app, &email(number))?;
            Ok(Caller { access_token: SecretString::from(access), on_behalf: "bare".to_owned(), purpose: "bench" })
        })
        .collect();
    let callers = callers?;
    let begun = Instant::now();
    stream::iter(callers.iter().zip(cursors).map(Ok::<_, Failure>))
        .try_for_each_concurrent(AT_ONCE, |(caller, cursor)| async move {
            let gmail = app.google.gmail(caller);
            let page = gmail.history(*cursor, None).await?;
            for added in page.records.iter().flat_map(|it| &it.added) {
                gmail.message(&added.id).await?;
            }
            Ok(())
        })
        .await?;
    Ok(begun.elapsed())
}

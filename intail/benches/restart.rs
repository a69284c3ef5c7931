//! `cargo xtask bench restart [MAILBOXES]`: how soon after a crash every mailbox caught up with what changed while
//! Intail was down, on SQLite and on PostgreSQL, beside a bare client that reads the same history and messages, as many
//! at once, and stores nothing. Both run in this process over real HTTP against the same false Google. It ends with an
//! error when a bound is missed.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::time::{Duration, Instant};

use company::{
    Failure, WAIT_MAX, access_key, approve, arrive, company_of, copied, database, email, follow, grant_at_google,
};
use futures::stream::{self, TryStreamExt as _};
use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::config::{Config, Database};
use intail::random::Random;
use intail::store::leases::{self, Stream};
use intail::store::{gauges, mailboxes};
use intail::{notices, sync, web};
use intail_google::Caller;
use intail_google::pubsub::Credentials;
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use jiff::SignedDuration;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Mailboxes unless the command says otherwise.
const MAILBOXES: usize = 1_000;
/// Mailboxes at once on the bare side: as many as Intail's engine works on.
const AT_ONCE: usize = 32;
const KEY: &str = "intail_bench-key";
/// The bounds: until Intail answers, and until every mailbox has caught up.
const ANSWERS_MAX: Duration = Duration::from_secs(2);
const CAUGHT_UP_MAX: Duration = Duration::from_secs(5);
/// It crashes once one in so many mailboxes was asked for.
const CRASHES_AFTER_PART: usize = 10;
/// Mailboxes rest when none is due for so long.
const RESTS_FOR: SignedDuration = SignedDuration::from_secs(60);
/// How long it is down. The false Google sees meanwhile that nobody pulls any more, and hands nothing out to the dead.
const DOWN_FOR: Duration = Duration::from_secs(1);

/// What one database had to show.
struct Took {
    /// Mailboxes that were being worked on when it crashed.
    under_way: i64,
    answers: Duration,
    caught_up: Duration,
    bare: Duration,
}

impl Took {
    fn print(&self, database: &str) {
        println!("{database}; {} mailboxes were being worked on when it crashed", self.under_way);
        let line = |what: &str, took: Duration| println!("  {what:<42}{:>10.2} s", took.as_secs_f64());
        line("until Intail answers", self.answers);
        line("until every mailbox has caught up", self.caught_up);
        line("a bare client that reads the same", self.bare);
        println!("  {:<42}{:>10.2}\n", "ratio", self.caught_up.as_secs_f64() / self.bare.as_secs_f64());
    }

    /// A sentence for each bound that it missed.
    fn missed(&self, database: &str) -> impl Iterator<Item = String> {
        let bounds = [
            ("Intail answered", self.answers, ANSWERS_MAX),
            ("every mailbox had caught up", self.caught_up, CAUGHT_UP_MAX),
        ];
        bounds.into_iter().filter(|(_, took, most)| took > most).map(move |(what, took, most)| {
            let (took, most) = (took.as_secs_f64(), most.as_secs());
            format!("On {database} it took {took:.2} s until {what}, more than {most} s.")
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let count = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(MAILBOXES);
    println!("{count} mailboxes, each with one new message that came after a crash\n");
    let sqlite = measure(count, None).await?;
    sqlite.print("SQLite");
    let mut missed: Vec<String> = sqlite.missed("SQLite").collect();
    match std::env::var("INTAIL_TEST_POSTGRES_URL") {
        Ok(url) => {
            let postgres = measure(count, Some(database(&url)?)).await?;
            postgres.print("PostgreSQL");
            missed.extend(postgres.missed("PostgreSQL"));
        }
        Err(_) => println!("PostgreSQL isn't measured: `cargo xtask with-services cargo xtask bench restart` does."),
    }
    if missed.is_empty() { Ok(()) } else { Err(missed.join(" ").into()) }
}

async fn measure(count: usize, postgres: Option<String>) -> Result<Took, Failure> {
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
    let mut config = demo::configuration(&sandbox, directory.path(), &address)?;
    if let Some(url) = postgres {
        config.database = Database::Postgres(SecretString::from(url));
    }

    let running = Running::start(&sandbox, config.clone(), listener).await?;
    approve(&sandbox, &running.app);
    let mut people = Vec::new();
    for number in 0..count {
        people.push(follow(&sandbox, &running.app, &email(number)).await?);
    }
    access_key(&running.app, &people[0], KEY).await?;
    running.app.due.ring();
    copied(&running.app).await?;
    rested(&running.app).await?;
    work_begins(&sandbox, &running.app, count).await?;
    let dead = running.crash().await;
    let under_way = under_way(&dead).await?;
    dead.clock.sleep(DOWN_FOR).await;

    let cursors = cursors(&sandbox, count);
    for number in 0..count {
        arrive(&sandbox, &email(number))?;
    }
    let begun = Instant::now();
    let listener = TcpListener::bind(address.trim_start_matches("http://")).await?;
    let running = Running::start(&sandbox, config, listener).await?;
    let answers = answers(&address, begun).await?;
    let caught_up = caught_up(&running.app, count, begun).await?;
    let app = running.app.clone();
    running.stop().await;
    let bare = bare(&sandbox, &app, &cursors).await?;
    dead.store.close().await;
    sandbox.stop().await;
    Ok(Took { under_way, answers, caught_up, bare })
}

/// Waits until what follows the copying is over, too: lists are looked at once more after it, and counts compared.
async fn rested(app: &App) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let now = app.clock.now();
        let mut tx = app.store.read().await?;
        let next = leases::next_due(&mut tx, &[Stream::Mail], now).await?;
        drop(tx);
        if next.is_none_or(|next| next.duration_since(now) > RESTS_FOR) {
            return Ok(());
        }
        if begun.elapsed() > WAIT_MAX {
            return Err("the mailboxes don't come to rest".into());
        }
        app.clock.sleep(Duration::from_millis(200)).await;
    }
}

/// Everybody's mailbox is looked at once more; returns in the middle of that.
async fn work_begins(sandbox: &Sandbox, app: &App, count: usize) -> Result<(), Failure> {
    let calls = || sandbox.world(|world| world.calls.iter().next_back().map_or(0, |it| it.number));
    let mut tx = app.store.write().await?;
    mailboxes::wake_all(&mut tx, app.clock.now()).await?;
    tx.commit().await?;
    let enough = calls() + u64::try_from(count / CRASHES_AFTER_PART)?.max(1);
    let begun = Instant::now();
    app.due.ring();
    while calls() < enough {
        if begun.elapsed() > WAIT_MAX {
            return Err("nobody's mailbox is looked at".into());
        }
        app.clock.sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// How many mailboxes somebody works on, or did when they died.
async fn under_way(app: &App) -> Result<i64, Failure> {
    let mut tx = app.store.read().await?;
    let sql = "SELECT COUNT(*) AS n FROM mailboxes WHERE lease_owner IS NOT NULL";
    Ok(tx.one(sql, Vec::new(), |row| row.int("n")).await?.unwrap_or(0))
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

    /// As when the power fails: whatever is under way breaks off, nothing is given back, and nobody says that it ends.
    /// Answers its parts, whose connections stay open: SQLite tidies up when its last one is closed.
    async fn crash(mut self) -> App {
        self.parts.shutdown().await;
        self.app
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
async fn caught_up(app: &App, count: usize, begun: Instant) -> Result<Duration, Failure> {
    // Asked rarely and all at once, so that it takes nothing from what is measured.
    let sql =
        "SELECT COUNT(*) AS n FROM (SELECT mailbox_id FROM messages GROUP BY mailbox_id HAVING COUNT(*) >= 3) AS m";
    loop {
        let mut tx = app.store.read().await?;
        let all = tx.one(sql, Vec::new(), |row| row.int("n")).await?.unwrap_or(0);
        drop(tx);
        if usize::try_from(all)? == count {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > WAIT_MAX {
            let mut tx = app.store.read().await?;
            return Err(format!("not everybody caught up: {:?}", gauges::read(&mut tx, app.clock.now()).await?).into());
        }
        app.clock.sleep(Duration::from_millis(20)).await;
    }
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

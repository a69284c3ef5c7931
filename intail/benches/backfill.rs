//! `cargo xtask bench backfill [MESSAGES]`: how fast a mailbox is copied when nothing but the work itself takes time
//! (unlimited quota, no latency), and what that costs the processor: Intail on SQLite and on PostgreSQL, beside a bare
//! Rust loop with the same calls that stores nothing, and beside Google's own Python client with batches of 50. The
//! false Google runs in threads of its own, whose time isn't counted; nor is that of the PostgreSQL server.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use company::{Failure, WAIT_MAX, approve, company_of, database, email, follow, grant_at_google};
use futures::stream::{self, StreamExt as _};
use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::config::Database;
use intail::random::Random;
use intail::store::mailboxes::{self, MailboxState};
use intail::store::{Store, messages};
use intail::sync;
use intail_google::price::Limits;
use intail_google::{Caller, gmail};
use intail_sandbox::quota::Table;
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// The mailbox, unless the command says otherwise.
const MESSAGES: usize = 20_000;
/// Python reads so many times fewer: its rate is the same, and the bench ends today.
const PYTHON_PART: usize = 5;
/// Calls at once, on both sides.
const AT_ONCE: usize = 5;
/// Ticks of the processor's clock in a second, as Linux counts them for programs.
const TICKS: f64 = 100.0;
/// The false Google's threads.
const GOOGLE: &str = "google";
const PRODUCT: &str = "http://127.0.0.1:8080";
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/backfill.py");

/// What copying so many messages took.
struct Took {
    messages: f64,
    seconds: f64,
    cpu: f64,
}

impl Took {
    fn rate(&self) -> f64 {
        self.messages / self.seconds
    }

    fn cpu_of_10_000(&self) -> f64 {
        self.cpu / self.messages * 10_000.0
    }
}

fn main() -> Result<(), Failure> {
    let count = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(MESSAGES);
    let at_google = runtime(GOOGLE)?;
    let ours = runtime("intail")?;
    let sandbox = at_google.block_on(google(count))?;
    let bare = ours.block_on(bare(&sandbox))?;
    let sqlite = ours.block_on(intail(&sandbox, None))?;
    let url = std::env::var("INTAIL_TEST_POSTGRES_URL").map_err(|_| "run it by `cargo xtask bench backfill`")?;
    let postgres = ours.block_on(intail(&sandbox, Some(database(&url)?)))?;
    let python = python(&ours, &sandbox, count / PYTHON_PART)?;
    println!("{count} messages, unlimited quota, no latency\n");
    let heads = ["messages/s", "CPU s per 10,000", "÷ bare loop (rate)", "÷ Python (rate)"];
    println!("{:<28}{:>12}{:>18}{:>22}{:>16}", "", heads[0], heads[1], heads[2], heads[3]);
    let rows = [("bare loop, stores nothing", &bare), ("Intail on SQLite", &sqlite)];
    let more = [("Intail on PostgreSQL", &postgres), ("Google's Python client", &python)];
    for (name, took) in rows.into_iter().chain(more) {
        println!(
            "{name:<28}{:>12.0}{:>18.2}{:>22.2}{:>16.1}",
            took.rate(),
            took.cpu_of_10_000(),
            took.rate() / bare.rate(),
            took.rate() / python.rate()
        );
    }
    println!("\nPython reads only one message in {PYTHON_PART}: {:.0}.", python.messages);
    println!("The PostgreSQL server's own processor time isn't counted.");
    at_google.block_on(sandbox.stop());
    Ok(())
}

fn runtime(name: &str) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build()
}

async fn google(count: usize) -> Result<Sandbox, Failure> {
    let text = company_of(1).replace("mail_per_person = 2", &format!("mail_per_person = {count}"));
    let options = Options {
        product_url: Some(PRODUCT.to_owned()),
        world: WorldSource::File(Box::new(WorldFile::parse(&text)?)),
        ..Options::new(TcpListener::bind("127.0.0.1:0").await?)
    };
    let sandbox = Sandbox::start(options).await?;
    sandbox.world(|world| world.quota.table = Table::Unlimited);
    Ok(sandbox)
}

async fn product(sandbox: &Sandbox, directory: &tempfile::TempDir, postgres: Option<String>) -> Result<App, Failure> {
    let mut config = demo::configuration(sandbox, directory.path(), PRODUCT)?;
    if let Some(url) = postgres {
        config.database = Database::Postgres(SecretString::from(url));
    }
    let enough = 1_000_000_000_000;
    config.quota.limits =
        Limits { person_minute: enough, project_minute: enough, project_day: enough, ..config.quota.limits };
    let app = demo::product(sandbox, config, Clock::machine(), Random::from_os()).await?;
    approve(sandbox, &app);
    Ok(app)
}

async fn intail(sandbox: &Sandbox, postgres: Option<String>) -> Result<Took, Failure> {
    let directory = tempfile::tempdir()?;
    let app = product(sandbox, &directory, postgres).await?;
    let person = follow(sandbox, &app, &email(0)).await?;
    let shutdown = CancellationToken::new();
    let (begun, before) = (Instant::now(), cpu()?);
    let (engine, end) = (app.clone(), shutdown.clone());
    let engine = tokio::spawn(async move { drop(sync::run(&engine, end).await) });
    let held = loop {
        app.clock.sleep(Duration::from_millis(20)).await;
        let mut tx = app.store.read().await?;
        let mailbox = mailboxes::by_person(&mut tx, &person).await?.ok_or("the mailbox is gone")?;
        if mailbox.state == MailboxState::Live {
            break messages::count(&mut tx, &mailbox.id).await?;
        }
        if begun.elapsed() > WAIT_MAX {
            return Err("the backfill didn't end".into());
        }
    };
    let took = Took { messages: held as f64, seconds: begun.elapsed().as_secs_f64(), cpu: cpu()? - before };
    shutdown.cancel();
    engine.await?;
    Store::close(&app.store).await;
    Ok(took)
}

/// The same calls by the same client, and nothing is kept.
async fn bare(sandbox: &Sandbox) -> Result<Took, Failure> {
    let directory = tempfile::tempdir()?;
    let app = product(sandbox, &directory, None).await?;
    let (_, access, _) = grant_at_google(sandbox, &app, &email(0))?;
    let caller = Caller { access_token: SecretString::from(access), on_behalf: "bare".to_owned(), purpose: "bench" };
    let (begun, before) = (Instant::now(), cpu()?);
    let (mut threads, mut page_token): (BTreeMap<String, Vec<String>>, Option<String>) = (BTreeMap::new(), None);
    loop {
        let page = app.google.gmail(&caller).messages(page_token.as_deref(), &[], true).await?;
        // As Intail asks: which are drafts, beside each page.
        app.google.gmail(&caller).messages(None, &["DRAFT"], true).await?;
        for found in page.refs {
            threads.entry(found.thread_id).or_default().push(found.id);
        }
        page_token = page.next_page_token;
        if page_token.is_none() {
            break;
        }
    }
    // As Intail asks: a thread whole where that is cheaper.
    let asks = threads.into_iter().flat_map(|(thread, ids)| match ids.len() {
        ..=2 => ids.into_iter().map(|id| (false, id)).collect::<Vec<_>>(),
        _ => vec![(true, thread)],
    });
    let read = stream::iter(asks)
        .map(|(is_thread, id)| read(&app, &caller, is_thread, id))
        .buffer_unordered(AT_ONCE)
        .fold(Ok(0), |sum: Result<usize, intail_google::Error>, read| async move { Ok(sum? + read?.len()) })
        .await?;
    Ok(Took { messages: read as f64, seconds: begun.elapsed().as_secs_f64(), cpu: cpu()? - before })
}

async fn read(
    app: &App,
    caller: &Caller,
    is_thread: bool,
    id: String,
) -> Result<Vec<gmail::Message>, intail_google::Error> {
    let gmail = app.google.gmail(caller);
    if is_thread { gmail.thread(&id).await.map(|it| it.messages) } else { gmail.message(&id).await.map(|it| vec![it]) }
}

fn python(ours: &Runtime, sandbox: &Sandbox, count: usize) -> Result<Took, Failure> {
    let program = std::env::var("INTAIL_BENCH_PYTHON").map_err(|_| "run it by `cargo xtask bench backfill`")?;
    let directory = tempfile::tempdir()?;
    let app = ours.block_on(product(sandbox, &directory, None))?;
    let (_, access, _) = grant_at_google(sandbox, &app, &email(0))?;
    let output = Command::new(program).args([PYTHON, sandbox.url(), &access, &count.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| told[name].as_f64().ok_or("Python told no number");
    Ok(Took { messages: number("messages")?, seconds: number("seconds")?, cpu: number("cpu")? })
}

/// The processor's time of this process so far, without that of the false Google's threads, in seconds.
fn cpu() -> Result<f64, Failure> {
    let mut ticks = ticks("/proc/self/stat")?.1;
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = task?.path().join("stat");
        // A thread that ended meanwhile has no file any more.
        if let Ok((name, spent)) = self::ticks(&stat.to_string_lossy())
            && name == GOOGLE
        {
            ticks -= spent;
        }
    }
    Ok(ticks / TICKS)
}

/// The name and the time of a process or a thread.
fn ticks(file: &str) -> Result<(String, f64), Failure> {
    let text = std::fs::read_to_string(file)?;
    let (name, rest) = text.rsplit_once(") ").ok_or("an odd stat file")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).ok_or("an odd stat file");
    let name = name.split_once('(').map_or("", |(_, name)| name);
    // Fields 14 and 15 of the line: user and system time.
    Ok((name.to_owned(), number(11)? + number(12)?))
}

//! `cargo xtask bench memory [idle|backfill] [COUNT]`: how much memory `intail serve` takes, as a program of its own
//! beside a false Google: with twenty thousand connected mailboxes that rest, and at the peak of a backfill of fifty
//! thousand messages.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::process::Command;
use std::time::{Duration, Instant};

use company::program::Program;
use company::written::written;
use company::{Failure, approve, company_of, email, follow};
use intail::cli::demo;
use intail::clock::Clock;
use intail::random::Random;
use intail::store::{Store, leases};
use intail_sandbox::quota::Table;
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use tokio::net::TcpListener;

/// Mailboxes that rest, and messages of the one that is copied, unless the command says otherwise.
const MAILBOXES: usize = 20_000;
const MESSAGES: usize = 50_000;
/// A mailbox rests when nothing is due for so long.
const RESTS_FOR: Duration = Duration::from_secs(300);
/// A bench that hangs ends.
const WAIT_MAX: Duration = Duration::from_secs(1_800);
const PRODUCT: &str = "http://127.0.0.1:8080";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given = words.iter().find_map(|it| it.parse().ok());
    let asked = |name: &str| {
        let names = || words.iter().filter(|it| ["idle", "backfill"].contains(&it.as_str()));
        names().next().is_none() || names().any(|it| it == name)
    };
    if asked("idle") {
        let count = given.unwrap_or(MAILBOXES);
        let (now, peak) = measure(count, 2).await?;
        println!("{count} connected mailboxes at rest{:>10} MB, {peak} MB at the most before", now);
    }
    if asked("backfill") {
        let count = given.unwrap_or(MESSAGES);
        let (_, peak) = measure(1, count).await?;
        println!("a backfill of {count} messages, peak{peak:>8} MB");
    }
    Ok(())
}

/// Resident memory of `intail serve` once everybody's mailbox rests, and the most that it was, in megabytes.
async fn measure(people: usize, messages: usize) -> Result<(u64, u64), Failure> {
    let directory = tempfile::tempdir()?;
    let text = company_of(people).replace("mail_per_person = 2", &format!("mail_per_person = {messages}"));
    let sandbox = Sandbox::start(Options {
        product_url: Some(PRODUCT.to_owned()),
        world: WorldSource::File(Box::new(WorldFile::parse(&text)?)),
        ..Options::new(TcpListener::bind("127.0.0.1:0").await?)
    })
    .await?;
    sandbox.world(|world| world.quota.table = Table::Unlimited);
    let config = demo::configuration(&sandbox, directory.path(), PRODUCT)?;
    let url = format!("sqlite:{}", directory.path().join("intail.db").display());
    let app = demo::product(&sandbox, config.clone(), Clock::machine(), Random::from_os()).await?;
    approve(&sandbox, &app);
    for number in 0..people {
        follow(&sandbox, &app, &email(number)).await?;
    }
    app.store.close().await;
    let file = directory.path().join("bench.toml");
    let plenty = "person_minute = 100000000\nproject_minute = 100000000\nproject_day = 10000000000\n";
    std::fs::write(&file, written(&sandbox, &config, &url, plenty))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_intail"));
    command.arg("serve").arg("--config").arg(&file);
    let (serve, ()) = Program::start(&mut command, |line| line.contains("Intail runs").then_some(()));
    let store = Store::open(&url).await?;
    let begun = Instant::now();
    loop {
        app.clock.sleep(Duration::from_secs(2)).await;
        let mut tx = store.read().await?;
        let due = leases::next_due(&mut tx).await?;
        drop(tx);
        if due.is_none_or(|due| due > app.clock.now() + RESTS_FOR) {
            break;
        }
        if begun.elapsed() > WAIT_MAX {
            return Err("the mailboxes never rest".into());
        }
    }
    let measured = (megabytes(serve.0.id(), "VmRSS")?, megabytes(serve.0.id(), "VmHWM")?);
    drop(serve);
    store.close().await;
    sandbox.stop().await;
    Ok(measured)
}

fn megabytes(process: u32, what: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(what)).ok_or("no such line")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes / 1024)
}

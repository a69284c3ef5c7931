//! `cargo xtask bench memory [idle|backfill|agenda|directory] [COUNT]`: how much memory `intail serve` takes, as a
//! program of its own beside a false Google: with twenty thousand connected mailboxes that rest, and at the peak of
//! copying fifty thousand messages, a calendar of two hundred thousand events, or a directory of fifty thousand people.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::process::Command;
use std::time::{Duration, Instant};

use company::program::Program;
use company::written::written;
use company::{Failure, approve, company_of, email, follow, follow_the_rest};
use intail::cli::demo;
use intail::clock::Clock;
use intail::random::Random;
use intail::store::calendars::{Calendar, CalendarState};
use intail::store::leases::Stream;
use intail::store::{Store, agendas, calendars, directories, directory_people, events, leases, organizations, people};
use intail_sandbox::quota::Table;
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use jiff::Timestamp;
use tokio::net::TcpListener;

/// Mailboxes that rest, and messages of the one that is copied, unless the command says otherwise.
const MAILBOXES: usize = 20_000;
const MESSAGES: usize = 50_000;
/// Events that the false Google makes up for each person: what they are invited to and what belongs to everybody comes
/// on top, so that somebody's calendars hold more than two hundred thousand. And people of the directory.
const EVENTS: usize = 65_000;
const PEOPLE: usize = 50_000;
/// Where calendars are copied, few people are connected.
const PEOPLE_READ_MAX: i64 = 10;
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
        let names = || words.iter().filter(|it| ["idle", "backfill", "agenda", "directory"].contains(&it.as_str()));
        names().next().is_none() || names().any(|it| it == name)
    };
    let small = Company { people: 1, connected: 1, messages: 2, events: 0, has_all_streams: false };
    if asked("idle") {
        let people = given.unwrap_or(MAILBOXES);
        let (now, peak, _) = measure(Company { people, connected: people, ..small }).await?;
        println!("{people} connected mailboxes at rest{now:>10} MB, {peak} MB at the most before");
    }
    if asked("backfill") {
        let messages = given.unwrap_or(MESSAGES);
        let (_, peak, _) = measure(Company { messages, ..small }).await?;
        println!("a backfill of {messages} messages, peak{peak:>8} MB");
    }
    if asked("agenda") {
        let events = given.unwrap_or(EVENTS);
        let (_, peak, copied) = measure(Company { events, has_all_streams: true, ..small }).await?;
        println!("calendars of {} events, peak{peak:>8} MB, {} s", copied.events, copied.after.as_secs());
    }
    if asked("directory") {
        let people = given.unwrap_or(PEOPLE);
        let (_, peak, copied) = measure(Company { people, has_all_streams: true, ..small }).await?;
        println!("a directory of {} people, peak{peak:>8} MB, {} s", copied.colleagues, copied.after.as_secs());
    }
    Ok(())
}

/// Whose memory is measured.
#[derive(Clone, Copy)]
struct Company {
    people: usize,
    /// The first so many of them are connected.
    connected: usize,
    /// Whether calendars and the directory are copied, too.
    has_all_streams: bool,
    /// Messages and events of each.
    messages: usize,
    events: usize,
}

/// What Intail holds in the end, so that nobody measures how little nothing takes.
#[derive(Default)]
struct Copied {
    events: usize,
    colleagues: usize,
    /// How long after the program's start.
    after: Duration,
}

/// Resident memory of `intail serve` once everything rests, and the most that it was, in megabytes.
async fn measure(company: Company) -> Result<(u64, u64, Copied), Failure> {
    let directory = tempfile::tempdir()?;
    let generated = format!("mail_per_person = {}\nevents_per_person = {}", company.messages, company.events);
    let text = company_of(company.people).replace("mail_per_person = 2", &generated);
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
    for number in 0..company.connected {
        let person = follow(&sandbox, &app, &email(number)).await?;
        if company.has_all_streams {
            follow_the_rest(&app, &person).await?;
        }
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
        if rests(&store, app.clock.now()).await? {
            break;
        }
        if begun.elapsed() > WAIT_MAX {
            return Err("it never rests".into());
        }
    }
    let after = begun.elapsed();
    let (now, peak) = (megabytes(serve.0.id(), "VmRSS")?, megabytes(serve.0.id(), "VmHWM")?);
    drop(serve);
    let copied = Copied { after, ..copied(&store, company.connected).await? };
    store.close().await;
    sandbox.stop().await;
    Ok((now, peak, copied))
}

/// Whether nothing is left to copy. Calendars are looked at now and then for ever, and the directory every hour: they
/// rest once they were read to their end.
async fn rests(store: &Store, now: Timestamp) -> Result<bool, Failure> {
    let mut tx = store.read().await?;
    let due = leases::next_due(&mut tx, &[Stream::Mail], now).await?;
    let mut rests = due.is_none_or(|due| due > now + RESTS_FOR);
    let organization = organizations::list(&mut tx, 1).await?.remove(0).id;
    if let Some(directory) = directories::of_organization(&mut tx, &organization).await? {
        rests &= directory.passed_at.is_some();
    }
    for person in people::list(&mut tx, &organization, None, PEOPLE_READ_MAX).await? {
        if let Some(agenda) = agendas::by_person(&mut tx, &person.id).await? {
            let all = calendars::of_agenda(&mut tx, &agenda.id, i64::MAX).await?;
            let is_read = |it: &Calendar| !it.is_followed() || it.state == CalendarState::Live;
            rests &= agenda.listed_at.is_some() && all.iter().all(is_read);
        }
    }
    Ok(rests)
}

/// Counts what a single person's streams hold.
async fn copied(store: &Store, connected: usize) -> Result<Copied, Failure> {
    if connected != 1 {
        return Ok(Copied::default());
    }
    let mut tx = store.read().await?;
    let organization = organizations::list(&mut tx, 1).await?.remove(0).id;
    let colleagues = directory_people::search(&mut tx, &organization, "", None, i64::MAX).await?.len();
    let mut events = 0;
    for person in people::list(&mut tx, &organization, None, PEOPLE_READ_MAX).await? {
        if let Some(agenda) = agendas::by_person(&mut tx, &person.id).await? {
            let counts = events::counts_by_calendar(&mut tx, &agenda.id).await?;
            events += counts.values().map(|(all, _)| usize::try_from(*all).unwrap_or(0)).sum::<usize>();
        }
    }
    Ok(Copied { events, colleagues, ..Copied::default() })
}

fn megabytes(process: u32, what: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(what)).ok_or("no such line")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes / 1024)
}

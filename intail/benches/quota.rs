//! `cargo xtask bench quota [one|many] [MESSAGES]`: how much of Google's quota of May 2026 a backfill uses, how fairly,
//! how well its end is foretold, and how long live changes wait meanwhile. The false Google enforces its limits and
//! answers after 80 ms. All of it runs in virtual time (`company/virtual_time.rs`): hours of Google's minutes take few.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use company::inward::inward;
use company::virtual_time::VirtualTime;
use company::{Failure, approve, arrive, company_of, email, follow};
use intail::access::Turns;
use intail::app::{App, Parts};
use intail::cli::demo;
use intail::clock::Clock;
use intail::feed::Hub;
use intail::id::PersonId;
use intail::notices;
use intail::org::receipts::Receipts;
use intail::random::Random;
use intail::store::mailboxes::{self, Mailbox, MailboxState};
use intail::store::messages;
use intail::sync::{self, Bell};
use intail_google::transport::{Carrying, Transport};
use intail_google::{Client, ClientOptions};
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const START: &str = "2026-11-23T09:00:00Z";
/// What an answer takes, there and back.
const LATENCY: Duration = Duration::from_millis(80);
/// What a notice takes from Google to its mark.
const NOTICE: Duration = Duration::from_millis(100);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The mailbox of the first part.
const MESSAGES: usize = 50_000;
/// The mailboxes of the second part, and what each holds.
const MAILBOXES: usize = 200;
const MESSAGES_EACH: usize = 2_400;
/// The part of the backfill after which its end is foretold, in percent.
const FORETOLD_AFTER: u64 = 5;
/// Live changes while nothing else happens, and during the backfill: one every so often.
const CHANGES: usize = 150;
const CHANGE_EVERY: Duration = Duration::from_millis(700);
/// One in so many of them is a letter to the same person, of whom so many get them by turns.
const BUSY_EVERY: usize = 5;
const BUSY: usize = 3;
/// Minutes that are measured.
const MINUTES_MEASURED: i64 = 3;
/// How often a change is looked for: what latencies are rounded to.
const LOOK_EVERY: Duration = Duration::from_millis(10);

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given = words.iter().find_map(|it| it.parse().ok());
    let names: Vec<&String> = words.iter().filter(|it| ["one", "many"].contains(&it.as_str())).collect();
    let asked = |name: &str| names.is_empty() || names.iter().any(|it| *it == name);
    for (name, count, mail) in [("one", 1, MESSAGES), ("many", MAILBOXES, MESSAGES_EACH)] {
        if asked(name) {
            let mail = given.unwrap_or(mail);
            let time = VirtualTime::new(Clock::owned(START.parse()?));
            let begun = Instant::now();
            println!("{name}: {count} × {mail} messages");
            time.runtime()?.block_on(async {
                let scene = Arc::new(Scene::new(&time, count, mail).await?);
                if count == 1 { one(&scene, mail).await } else { many(&scene).await }
            })?;
            println!("{:<56}{:>12.0} s", "the machine's time", begun.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// What went over the wire.
#[derive(Default)]
struct Tally {
    /// By the time of its arrival at Google: second, person's token, units.
    spent: Vec<(i64, u64)>,
    by_person: BTreeMap<String, u64>,
    underway: BTreeMap<String, u32>,
    underway_max: u32,
    refused: u64,
}

/// The wire: 80 ms, and a count of everything.
struct Wire {
    sandbox: Arc<Sandbox>,
    clock: Clock,
    prices: intail::config::Quota,
    tally: Arc<Mutex<Tally>>,
}

impl Wire {
    fn units(&self, path: &str) -> u64 {
        let parts: Vec<&str> = path.trim_start_matches("/gmail/v1/users/me/").split('/').collect();
        let call = match parts[..] {
            ["profile"] => "gmail.getProfile",
            ["history"] => "gmail.history.list",
            ["messages"] => "gmail.messages.list",
            ["messages", _] => "gmail.messages.get",
            ["threads", _] => "gmail.threads.get",
            ["labels"] => "gmail.labels.list",
            ["labels", _] => "gmail.labels.get",
            ["watch"] => "gmail.watch",
            ["stop"] => "gmail.stop",
            _ => return 0,
        };
        u64::from(self.prices.units(call))
    }

    fn tally<R>(&self, with: impl FnOnce(&mut Tally) -> R) -> R {
        with(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transport for Wire {
    fn carry(&self, request: Request) -> Carrying<'_> {
        Box::pin(async move {
            let units = self.units(request.url().path());
            let token = request.headers().get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
            let token = token.to_owned();
            self.clock.sleep(LATENCY / 2).await;
            self.tally(|it| {
                let underway = it.underway.entry(token.clone()).or_default();
                *underway += 1;
                it.underway_max = it.underway_max.max(*underway);
                it.spent.push((self.clock.now().as_second(), units));
            });
            let answer = self.sandbox.answer(inward(request)).await;
            let (parts, body) = answer.into_parts();
            let body = to_bytes(body, ANSWER_BYTES_MAX).await.expect("the false Google's answer is whole");
            self.clock.sleep(LATENCY / 2).await;
            self.tally(|it| {
                it.underway.entry(token.clone()).and_modify(|it| *it -= 1);
                it.refused += u64::from(matches!(parts.status.as_u16(), 403 | 429));
                *it.by_person.entry(token).or_default() += units;
            });
            Ok(Response::from(http::Response::from_parts(parts, reqwest::Body::from(body))))
        })
    }
}

struct Scene {
    app: App,
    sandbox: Arc<Sandbox>,
    clock: Clock,
    time: VirtualTime,
    people: Vec<PersonId>,
    tally: Arc<Mutex<Tally>>,
    shutdown: CancellationToken,
    /// Goes with the scene.
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new(time: &VirtualTime, count: usize, mail: usize) -> Result<Self, Failure> {
        let start: Timestamp = START.parse()?;
        let clock = time.clock();
        let directory = tempfile::tempdir()?;
        let text = company_of(count).replace("mail_per_person = 2", &format!("mail_per_person = {mail}"));
        let options = Options {
            clock: intail_sandbox::Clock::manual(start),
            product_url: Some("http://127.0.0.1:8080".to_owned()),
            world: WorldSource::File(Box::new(WorldFile::parse(&text)?)),
            ..Options::new(TcpListener::bind("127.0.0.1:0").await?)
        };
        let sandbox = Arc::new(Sandbox::start(options).await?);
        let config = demo::configuration(&sandbox, directory.path(), "http://127.0.0.1:8080")?;
        let setup = demo::product(&sandbox, config.clone(), clock.clone(), Random::seeded(1)).await?;
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let wire =
            Wire { sandbox: sandbox.clone(), clock: clock.clone(), prices: config.quota.clone(), tally: tally.clone() };
        let now = clock.clone();
        let google = Client::new(ClientOptions {
            endpoints: config.google.endpoints.clone(),
            prices: config.quota.table.into(),
            now: Arc::new(move || now.now()),
            hook: None,
            user_agent: "intail (gzip)".to_owned(),
            transport: Some(Arc::new(wire)),
        })?;
        let app = App::new(Parts {
            config,
            store: setup.store.behind(Arc::new(time.clone())),
            clock: clock.clone(),
            random: Random::seeded(2),
            keyring: setup.keyring.clone(),
            google,
            receipts: Receipts::default(),
            turns: Turns::default(),
            due: Bell::default(),
            feed: Hub::new(clock.clone()),
        });
        approve(&sandbox, &app);
        let mut people = Vec::new();
        for number in 0..count {
            people.push(follow(&sandbox, &app, &email(number)).await?);
        }
        let shutdown = CancellationToken::new();
        Ok(Self { app, sandbox, clock, time: time.clone(), people, tally, shutdown, _directory: directory })
    }

    /// Lets the engine run, and time with it.
    fn start(&self) -> tokio::task::JoinHandle<()> {
        let (app, shutdown) = (self.app.clone(), self.shutdown.clone());
        let engine = tokio::spawn(async move { drop(sync::run(&app, shutdown).await) });
        self.time.start(self.sandbox.clock().clone());
        engine
    }

    fn tally<R>(&self, with: impl FnOnce(&mut Tally) -> R) -> R {
        with(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn mailbox(&self, person: &PersonId) -> Result<(Mailbox, i64), Failure> {
        let mut tx = self.app.store.read().await?;
        let mailbox = mailboxes::by_person(&mut tx, person).await?.ok_or("a mailbox is gone")?;
        let held = messages::count(&mut tx, &mailbox.id).await?;
        Ok((mailbox, held))
    }

    async fn filling(&self) -> Result<i64, Failure> {
        let mut tx = self.app.store.read().await?;
        Ok(mailboxes::filling(&mut tx, 0, 0, self.clock.now()).await?.mailboxes)
    }

    /// What copying everything costs at least: the listing, and each thread the cheaper way.
    fn floor(&self, number: usize) -> u64 {
        self.sandbox.world(|world| {
            let Some(mailbox) = world.mailbox(&email(number)) else { return 0 };
            let mut threads: BTreeMap<&str, u64> = BTreeMap::new();
            let mut count = 0;
            for message in mailbox.newest_first().filter(|it| !it.has("DRAFT")) {
                *threads.entry(&message.thread_id).or_default() += 1;
                count += 1;
            }
            threads.values().map(|n| (20 * n).min(40)).sum::<u64>() + 5 * u64::div_ceil(count, 500)
        })
    }

    /// A message arrives; answers how long it took until it was stored.
    async fn change(&self, number: usize) -> Result<Duration, Failure> {
        let id = arrive(&self.sandbox, &email(number))?;
        let begun = self.clock.now();
        self.clock.sleep(NOTICE).await;
        let current = self.sandbox.world(|world| world.mailbox(&email(number)).map(|it| it.history().current()));
        let notice = serde_json::json!({ "emailAddress": email(number), "historyId": current }).to_string();
        notices::take(&self.app, [notice.as_bytes()]).await?;
        let (mailbox, _) = self.mailbox(&self.people[number]).await?;
        loop {
            let mut tx = self.app.store.read().await?;
            let found = messages::by_id(&mut tx, &mailbox.id, &id).await?;
            drop(tx);
            if found.is_some() {
                return Ok(Duration::try_from(self.clock.now().duration_since(begun))?);
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Changes all over the company, one after the other, without waiting for each other.
    async fn changes(self: &Arc<Self>) -> Result<Vec<Duration>, Failure> {
        let mut running = Vec::new();
        for turn in 0..CHANGES {
            let scene = self.clone();
            let number = match turn % BUSY_EVERY {
                0 => turn / BUSY_EVERY % BUSY,
                _ => turn * 37 % scene.people.len(),
            };
            running.push(tokio::spawn(async move { scene.change(number).await.map_err(|error| error.to_string()) }));
            self.clock.sleep(CHANGE_EVERY).await;
        }
        let mut took = Vec::new();
        for change in running {
            took.push(change.await??);
        }
        took.sort();
        Ok(took)
    }
}

fn line(what: &str, value: impl std::fmt::Display) {
    println!("{what:<56}{value:>14}");
}

fn minutes(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() / 60.0
}

async fn one(scene: &Scene, mail: usize) -> Result<(), Failure> {
    let (begun, floor) = (scene.clock.now(), scene.floor(0));
    let engine = scene.start();
    let mut foretold = None;
    loop {
        scene.clock.sleep(Duration::from_secs(5)).await;
        let (mailbox, held) = scene.mailbox(&scene.people[0]).await?;
        if mailbox.state == MailboxState::Live {
            break;
        }
        if foretold.is_none() && u64::try_from(held)? * 100 / u64::try_from(mail)? >= FORETOLD_AFTER {
            let mut tx = scene.app.store.read().await?;
            let now = scene.clock.now();
            let outlook = sync::outlook(&mut tx, &mailbox, held, &scene.app.config.quota, now).await?;
            foretold = outlook.pass.and_then(|it| it.done_at).map(|it| (now, it));
        }
    }
    let ended = scene.clock.now();
    let (units, refused, at_once) =
        scene.tally(|it| (it.spent.iter().map(|(_, units)| units).sum::<u64>(), it.refused, it.underway_max));
    let (_, held) = scene.mailbox(&scene.people[0]).await?;
    println!("\nOne mailbox of {held} messages, {:.0} minutes of Google's\n", minutes(begun, ended));
    line("units spent ÷ floor", format!("{:.3}", units as f64 / floor as f64));
    line("share of the person's minute used", format!("{:.3}", units as f64 / minutes(begun, ended) / 6_000.0));
    line("answers 403 and 429", refused);
    line("calls at once, most", at_once);
    if let Some((at, done_at)) = foretold {
        let error = (minutes(at, done_at) / minutes(at, ended) - 1.0).abs();
        line("error of the foretold end after 5 %", format!("{error:.3}"));
    }
    scene.shutdown.cancel();
    engine.await?;
    Ok(())
}

async fn many(scene: &Arc<Scene>) -> Result<(), Failure> {
    let begun = scene.clock.now();
    let engine = scene.start();
    // The first minute fills Google's minute; those after it are measured.
    scene.clock.sleep(Duration::from_secs(65)).await;
    let busy = scene.changes().await?;
    let from = begun + SignedDuration::from_secs(60);
    // Whole minutes: in Google's sliding minute, units come in bursts a minute apart.
    let measured_to = from + SignedDuration::from_mins(MINUTES_MEASURED);
    scene.clock.sleep_until(measured_to).await;
    let fairness = scene.tally(|it| {
        let units = || it.by_person.values();
        *units().min().unwrap_or(&0) as f64 / *units().max().unwrap_or(&1) as f64
    });
    let used = scene.tally(|it| {
        let within = |at: &i64| (from.as_second()..measured_to.as_second()).contains(at);
        it.spent.iter().filter(|(at, _)| within(at)).map(|(_, units)| units).sum::<u64>()
    });
    let share = used as f64 / minutes(from, measured_to) / 1_200_000.0;
    while scene.filling().await? > 0 {
        scene.clock.sleep(Duration::from_secs(5)).await;
    }
    let ended = scene.clock.now();
    scene.clock.sleep(Duration::from_secs(120)).await;
    let quiet = scene.changes().await?;
    let refused = scene.tally(|it| it.refused);
    let at = |all: &[Duration], percent: usize| all[(all.len() * percent / 100).min(all.len() - 1)].as_millis();
    println!("\n{} mailboxes, {:.1} minutes of Google's\n", scene.people.len(), minutes(begun, ended));
    line("share of the project's minute used, minutes 2 to 4", format!("{share:.3}"));
    line("fairness: least ÷ most units by then", format!("{fairness:.3}"));
    line("answers 403 and 429", refused);
    for percent in [50, 99] {
        let (busy, quiet) = (at(&busy, percent), at(&quiet, percent));
        line(&format!("live change p{percent}, backfill ÷ quiet"), format!("{busy} ÷ {quiet} ms"));
    }
    scene.shutdown.cancel();
    engine.await?;
    Ok(())
}

//! Real processes, killed at random moments under load: `intail serve` with SIGKILL, on SQLite and on PostgreSQL, again
//! and again, while mail, calendars and the directory change; and then compared with the false Google's world.
//! `cargo xtask kill --times N` does it as often as wanted.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::config::Database;
use intail::connect::{self, Options};
use intail::random::Random;
use intail::signin;
use intail::store::mailboxes::{self, MailboxState};
use intail::store::people::Person;
use intail::store::{agendas, calendars, changes, directory_people, messages};
use intail_sandbox::access::AccessLevel;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::agenda::CalendarAction;
use intail_sandbox::profile::DirectoryAction;
use intail_sandbox::quota::Table;
use intail_sandbox::{Sandbox, WorldFile, WorldSource};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::harness::program::Program;
use crate::harness::running::read;
use crate::harness::visit::{self, PRODUCT, Ticks};
use crate::harness::written::written;
use crate::harness::{calendars as appointments, postgres, truth};

/// How often a process is killed in every run of the tests, for each database.
const KILLS: u64 = 6;
/// The moment of a kill: after so many calls to Google since the start, by chance, and at the latest after this time.
const CALLS_MAX: u64 = 80;
const ALIVE_MAX: Duration = Duration::from_secs(4);
/// How long the last process may take to have everything. It takes seconds; this only ends a test that hangs.
const CATCH_UP_MAX: Duration = Duration::from_secs(150);
/// Longer than Pub/Sub waits for an acknowledgement.
const REDELIVERED_AFTER: Duration = Duration::from_secs(61);
/// Between two changes, and between two looks.
const MOMENT: Duration = Duration::from_millis(20);
/// How often the last process is told to look at calendars and directory once more: a pass that went on where a dead
/// process left it has not seen what changed on the pages before.
const TOLD_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// Colleagues who can be hired at most: more only make the directory longer.
const HIRED_MAX: usize = 12;
const BROWSER: &str = "a-browser";
const ADMINISTRATOR: &str = "ada.admin@example.com";

/// What an administrator and two others have at Google, and a database that outlives every process.
pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    /// Never runs anything: it connects people, and reads what the processes wrote.
    pub(crate) app: App,
    pub(crate) people: Vec<Person>,
    pub(crate) configuration: PathBuf,
    random: Random,
    _directory: TempDir,
}

impl Scene {
    pub(crate) async fn start(postgres: Option<String>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let text = include_str!("simulation/company.toml").replace("mail_per_person = 1", "mail_per_person = 250");
        let options = intail_sandbox::Options {
            product_url: Some(PRODUCT.to_owned()),
            world: WorldSource::File(Box::new(WorldFile::parse(&text).expect("a world"))),
            ..intail_sandbox::Options::new(listener)
        };
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        sandbox.world(|world| {
            // A process that is killed forgets what it spent.
            world.quota.table = Table::Unlimited;
            world.settings.page_max = 10;
            for client in world.identity.clients.keys() {
                world.identity.policy.configured.insert(client.clone(), AccessLevel::Trusted);
            }
        });
        let directory = tempfile::tempdir().expect("a folder");
        let mut config = demo::configuration(&sandbox, directory.path(), PRODUCT).expect("a configuration");
        // Nobody listens at the product's address here.
        config.google.calendar_notices = false;
        if let Some(url) = &postgres {
            config.database = Database::Postgres(SecretString::from(url.as_str()));
        }
        let url = postgres.unwrap_or_else(|| format!("sqlite:{}", directory.path().join("intail.db").display()));
        let configuration = directory.path().join("intail.toml");
        std::fs::write(&configuration, written(&sandbox, &config, &url, "person_minute = 1000000\n")).expect("written");
        let random = Random::seeded(7);
        let app = demo::product(&sandbox, config, Clock::machine(), Random::from_os()).await;
        let app = app.expect("the product starts");
        let mut scene = Self { sandbox, app, people: Vec::new(), configuration, random, _directory: directory };
        for email in ["ines@example.com", "kofi@example.com", ADMINISTRATOR] {
            let person = scene.connected(email).await;
            scene.people.push(person);
        }
        scene
    }

    async fn connected(&self, email: &str) -> Person {
        let app = &self.app;
        let url = signin::begin(app, BROWSER, "/", Some(email)).await.expect("it begins");
        let person = signin::finish(app, BROWSER, read(&self.visit(email, url).await)).await.expect("signed in").person;
        let url = connect::begin(app, &person, BROWSER, Options::default()).await.expect("it begins");
        let back = self.visit(email, url).await;
        connect::finish(app, Some(&person), BROWSER, read(&back)).await.expect("connected");
        person
    }

    async fn visit(&self, email: &str, url: Url) -> Url {
        visit::walk(&self.sandbox, email, url, Ticks::All).await.expect("Google sends the person back")
    }

    /// A process of Intail, running.
    pub(crate) fn process(&self) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_intail"));
        command.arg("serve").arg("--config").arg(&self.configuration).args(["--roles", "sync,notices"]);
        Program::start(&mut command, |line| line.contains("Intail runs").then_some(())).0
    }

    fn calls(&self) -> u64 {
        self.sandbox.world(|world| world.calls.iter().next_back().map_or(0, |it| it.number))
    }

    /// Somebody does something, by chance.
    pub(crate) fn act(&self) {
        let email = &self.people[self.below(self.people.len())].email;
        match self.below(12) {
            0..6 => self.act_in_mail(email),
            6..10 => self.act_in_calendar(email),
            _ => self.act_in_directory(),
        }
    }

    fn act_in_mail(&self, email: &str) {
        let ids: Vec<String> = self.sandbox.world(|world| {
            let mailbox = world.mailbox(email).expect("a mailbox");
            mailbox.newest_first().map(|it| it.id.clone()).collect()
        });
        let one = One { id: ids[self.below(ids.len())].clone() };
        let action = match self.below(6) {
            0 | 1 => MailAction::sample(),
            2 => MailAction::Star(one),
            3 => MailAction::Read(one),
            4 => MailAction::Trash(one),
            _ => MailAction::Delete(one),
        };
        // What isn't possible, isn't done.
        let _ = self.sandbox.world(|world| world.act(email, &action));
    }

    /// Single events and series, what differs from them, invitations, and now and then a token that ends.
    fn act_in_calendar(&self, email: &str) {
        let far = self.app.clock.now() + SignedDuration::from_hours(24 * 90);
        let own = |world: &mut intail_sandbox::World| world.occurrences(email, Timestamp::UNIX_EPOCH, far);
        let shown = self.sandbox.world(own);
        let word = format!("Title {}", self.below(1_000));
        let day = 1 + self.below(28);
        let start = format!("2026-12-{day:02}T{:02}:00", 8 + self.below(9));
        let other = &self.people[self.below(self.people.len())].email;
        let create = |rule: &str| json!({"action": "create", "event": {"title": word, "start": start, "rule": rule}});
        let action = match (self.below(12), shown.get(self.below(shown.len().max(1)))) {
            (0 | 1, _) | (_, None) => create(""),
            (2, _) => create("FREQ=DAILY;COUNT=6"),
            (3..6, Some(one)) => json!({"action": "edit", "id": one.id, "title": word}),
            (6, Some(one)) => json!({"action": "move", "id": one.id, "start": start}),
            (7, Some(one)) => json!({"action": "delete", "id": one.id}),
            (8, Some(one)) => json!({"action": "delete", "id": whole(&one.id)}),
            (9, Some(one)) => json!({"action": "invite", "id": whole(&one.id), "email": other}),
            (10, Some(one)) => json!({"action": "answer", "id": one.id, "answer": "tentative"}),
            _ => json!({"action": "expire_tokens", "calendar": email}),
        };
        let action: CalendarAction = serde_json::from_value(action).expect("an action");
        // What isn't possible, isn't done.
        let _ = self.sandbox.world(|world| world.plan(email, &action));
    }

    /// Colleagues come, change, hide and go.
    fn act_in_directory(&self) {
        let colleague = format!("colleague{}@example.com", self.below(HIRED_MAX));
        let action = match self.below(4) {
            0 => json!({"action": "hire", "email": colleague, "given_name": "Col", "family_name": "League"}),
            1 => json!({"action": "edit", "hidden": self.below(2) == 0}),
            _ => json!({"action": "edit", "title": format!("Post {}", self.below(1_000))}),
        };
        let hires = action["action"] == "hire";
        let action: DirectoryAction = serde_json::from_value(action).expect("an action");
        self.sandbox.world(|world| {
            let _ = world.edit_directory(if hires { ADMINISTRATOR } else { &colleague }, &action);
        });
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).expect("small")
    }

    /// Lets the leases of a dead process run out, as time would.
    async fn leases_run_out(&self) {
        let mut tx = self.app.store.write().await.expect("a transaction");
        for table in ["mailboxes", "agendas", "directories"] {
            let sql = format!("UPDATE {table} SET lease_until = 1 WHERE lease_until IS NOT NULL");
            tx.run_built(sql, Vec::new()).await.expect("ran");
        }
        tx.commit().await.expect("committed");
    }

    /// Says that the calendars changed, as a notice of Google's channels does (they lead to https addresses only, and
    /// here is none), and that the next pass over the directory is due, as time would.
    async fn tell(&self) {
        let now = self.app.clock.now();
        for person in &self.people {
            let mut tx = self.app.store.write().await.expect("a transaction");
            let agenda = agendas::by_person(&mut tx, &person.id).await.expect("read").expect("an agenda");
            // In the order in which the engine locks them.
            agendas::wake(&mut tx, &agenda.id, now).await.expect("woken");
            for calendar in calendars::of_agenda(&mut tx, &agenda.id, i64::MAX).await.expect("read") {
                calendars::notice(&mut tx, &agenda.id, &calendar.id).await.expect("noticed");
            }
            tx.commit().await.expect("committed");
        }
        let mut tx = self.app.store.write().await.expect("a transaction");
        tx.run("UPDATE directories SET next_pass_at = NULL, dirty = TRUE, due_at = 1", Vec::new()).await.expect("ran");
        tx.commit().await.expect("committed");
    }

    /// How what a person's rows and folded feed hold differs from Google's state, and whether all of it is at rest.
    async fn difference(&self, person: &Person) -> (Vec<String>, bool) {
        let (mut differing, is_live) = self.difference_of_mail(person).await;
        if !differing.is_empty() || !is_live {
            return (differing, is_live);
        }
        let shown = appointments::of(&self.sandbox, &person.email).await;
        let mut tx = self.app.store.read().await.expect("a transaction");
        let agenda = agendas::by_person(&mut tx, &person.id).await.expect("read").expect("an agenda");
        let held = appointments::rows(&mut tx, &agenda.id).await;
        let unsettled = appointments::unsettled(&mut tx, &agenda.id).await;
        let feed = changes::of_person(&mut tx, &person.id, 0, i64::MAX).await.expect("read");
        let people =
            directory_people::search(&mut tx, &person.organization_id, "", None, i64::MAX).await.expect("read");
        drop(tx);
        differing.extend(appointments::difference(&held, &shown));
        differing.extend(appointments::difference(
            &appointments::folded(&feed).expect("a feed that can be followed"),
            &shown,
        ));
        let listed = truth::directory(&self.sandbox, &person.email);
        let held: truth::Directory = people.iter().map(|it| (it.google_id.clone(), truth::face(it))).collect();
        for (what, held) in [("rows", held), ("folded feed", truth::folded_directory(&feed))] {
            differing.extend((held != listed).then(|| format!("{what}: held {held:?}, Google has {listed:?}")));
        }
        let is_live = unsettled.is_empty();
        differing.extend(unsettled);
        (differing, is_live)
    }

    async fn difference_of_mail(&self, person: &Person) -> (Vec<String>, bool) {
        let truth = truth::of(&self.sandbox, &person.email);
        let mut tx = self.app.store.read().await.expect("a transaction");
        let mailbox = mailboxes::by_person(&mut tx, &person.id).await.expect("read").expect("a mailbox");
        let all = messages::page(&mut tx, &mailbox.id, None, None, i64::MAX).await.expect("read");
        let feed = changes::of_person(&mut tx, &person.id, 0, i64::MAX).await.expect("read");
        drop(tx);
        let rows: truth::Mail = all.into_iter().map(|it| (it.id, it.labels)).collect();
        let mut differing = truth::difference(&rows, &truth);
        differing.extend(truth::difference(&truth::folded(&feed), &truth));
        (differing, mailbox.state == MailboxState::Live)
    }

    /// The processes are outside, on the machine's clock: between two looks at them, time passes.
    pub(crate) async fn a_moment(&self) {
        self.app.clock.sleep_until(self.app.clock.now() + MOMENT).await;
    }

    /// One process, killed under load at a random moment.
    async fn kill_one(&self) {
        let process = self.process();
        let (last, until) = (self.app.clock.now() + ALIVE_MAX, self.calls() + self.random.below(CALLS_MAX));
        while self.calls() < until && self.app.clock.now() < last {
            self.a_moment().await;
            self.act();
            if self.below(20) == 0 {
                self.tell().await;
            }
        }
        drop(process);
        self.leases_run_out().await;
    }

    pub(crate) async fn catch_up(&self) {
        self.sandbox.clock().advance(REDELIVERED_AFTER);
        for person in &self.people {
            let done = self.sandbox.world(|world| world.act(&person.email, &MailAction::sample()));
            done.expect("a letter arrives");
        }
        let _process = self.process();
        let last = self.app.clock.now() + CATCH_UP_MAX;
        let mut told_at = Timestamp::MIN;
        for person in &self.people {
            loop {
                self.a_moment().await;
                let now = self.app.clock.now();
                if told_at == Timestamp::MIN || now.duration_since(told_at) > TOLD_EVERY {
                    told_at = now;
                    self.tell().await;
                }
                let (differing, is_live) = self.difference(person).await;
                if differing.is_empty() && is_live {
                    break;
                }
                assert!(self.app.clock.now() < last, "{}: {is_live}, {differing:#?}", person.email);
            }
        }
    }
}

/// The id of the series that an occurrence belongs to; of a single event its own.
fn whole(id: &str) -> &str {
    id.split_once('_').map_or(id, |(series, _)| series)
}

/// How often `cargo xtask kill` wants it.
fn kills() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "tests are told by their environment how often")]
    let given = std::env::var("INTAIL_KILLS").ok();
    given.map_or(KILLS, |text| text.parse().expect("INTAIL_KILLS is a number"))
}

#[expect(clippy::print_stderr, reason = "the numbers are for whoever asked for many kills")]
async fn processes_die_and_nothing_is_lost(postgres: Option<String>) {
    let scene = Scene::start(postgres).await;
    for _ in 0..kills() {
        scene.kill_one().await;
    }
    scene.catch_up().await;
    let of = |beginning: &str| {
        scene.sandbox.world(|world| world.calls.iter().filter(|it| it.call.starts_with(beginning)).count())
    };
    let (calendars, directory) = (of("calendar."), of("directory."));
    eprintln!("{} kills, {} calls to the false Google", kills(), scene.calls());
    eprintln!("of these {calendars} about calendars and {directory} about the directory");
}

#[tokio::test]
async fn promise_1_processes_that_are_killed_lose_nothing_on_sqlite() {
    processes_die_and_nothing_is_lost(None).await;
}

#[tokio::test]
async fn promise_1_processes_that_are_killed_lose_nothing_on_postgresql() {
    processes_die_and_nothing_is_lost(Some(postgres::database().await)).await;
}

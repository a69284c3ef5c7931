//! Real processes, killed at random moments under load: `intail serve` with SIGKILL, on SQLite and on PostgreSQL, again
//! and again, while mail, calendars and the directory change; and then compared with the false Google's world, before
//! anything new is told: whatever comes later would make good for a notice that was lost. `cargo xtask kill --times N`
//! does it as often as wanted.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::config::Database;
use intail::connect::{self, Options};
use intail::notices::channels::{self, Notice};
use intail::random::Random;
use intail::signin;
use intail::store::mailboxes::{self, MailboxState};
use intail::store::people::Person;
use intail::store::{agendas, changes, directory_people, messages};
use intail_sandbox::access::AccessLevel;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::agenda::CalendarAction;
use intail_sandbox::profile::DirectoryAction;
use intail_sandbox::quota::Table;
use intail_sandbox::{Sandbox, World, WorldFile, WorldSource};
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
/// How long a process that isn't killed may take to have everything. What a dead one was copying is copied on a minute
/// later, since nobody knows what it spent; the rest takes seconds, or a minute where other work has the machine. It
/// must stay far below ten minutes: so long after activity a mailbox is compared with Google untold, and what a lost
/// notice told of is found.
const CATCH_UP_MAX: Duration = Duration::from_secs(240);
/// The same for one letter each.
const LETTERS_MAX: Duration = Duration::from_secs(70);
/// Between two changes, and between two looks.
const MOMENT: Duration = Duration::from_millis(20);
/// How often the next pass over the directory is made due, of whose changes Google tells nobody: one that went on where
/// a dead process left it has not seen what changed on the pages before.
const PASS_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// Colleagues who can be hired at most: more only make the directory longer.
const HIRED_MAX: usize = 12;
const BROWSER: &str = "a-browser";
const ADMINISTRATOR: &str = "ada.admin@example.com";

/// What an administrator and two others have at Google, and a database that outlives every process.
pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    /// Never runs anything: it connects people, takes what Google's channels say, and reads what the processes wrote.
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
            // Nobody listens at the product's address here: see [`Scene::hear`].
            world.settings.channels.held = true;
            for client in world.identity.clients.keys() {
                world.identity.policy.configured.insert(client.clone(), AccessLevel::Trusted);
            }
        });
        let directory = tempfile::tempdir().expect("a folder");
        let mut config = demo::configuration(&sandbox, directory.path(), PRODUCT).expect("a configuration");
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
        let own = |world: &mut World| world.occurrences(email, Timestamp::UNIX_EPOCH, far);
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

    /// Lets the leases of a dead process run out, as time would. That would be 90 s of real time after each kill: the
    /// processes are on the machine's clock, which a test can't move.
    async fn leases_run_out(&self) {
        let mut tx = self.app.store.write().await.expect("a transaction");
        for table in ["mailboxes", "agendas", "directories"] {
            let sql = format!("UPDATE {table} SET lease_until = 1 WHERE lease_until IS NOT NULL");
            tx.run_built(sql, Vec::new()).await.expect("ran");
        }
        tx.commit().await.expect("committed");
    }

    /// Lets the time pass after which the false Google hands out once more what a dead process took and didn't
    /// acknowledge. Its clock is moved, not the machine's.
    async fn comes_again(&self) {
        // It sees first that the dead one's pulls are gone, or it would hand out to them.
        self.a_moment().await;
        let name = &self.app.config.pubsub.subscription;
        let deadline_s = self.sandbox.world(|world| {
            let subscription = world.pubsub.subscriptions.get(name).expect("the product's subscription");
            subscription.settings.ack_deadline_s
        });
        self.sandbox.clock().advance(Duration::from_secs(u64::from(deadline_s)));
    }

    /// Takes what Google says of calendars over the channels that the processes opened, each message once, as their web
    /// part would: it is marked here, and what becomes of the marks is theirs.
    async fn hear(&self) {
        for (channel, token, state) in self.sandbox.world(World::take_channel_messages) {
            let notice = Notice { channel: &channel, token: &token, state };
            // A channel that was replaced meanwhile leads to nothing.
            channels::take(&self.app, notice).await.expect("marked");
        }
    }

    /// The next pass over the directory is due, as time would make it.
    async fn pass_is_due(&self) {
        let mut tx = self.app.store.write().await.expect("a transaction");
        tx.run("UPDATE directories SET next_pass_at = NULL, dirty = TRUE, due_at = 1", Vec::new()).await.expect("ran");
        tx.commit().await.expect("committed");
    }

    /// How what a person's rows and folded feed hold differs from Google's state, and whether all of it is at rest.
    async fn difference(&self, person: &Person) -> (Vec<String>, bool) {
        let (mut differing, rests) = self.difference_of_mail(person).await;
        if !differing.is_empty() || !rests {
            return (differing, rests);
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
        let rests = unsettled.is_empty();
        differing.extend(unsettled);
        (differing, rests)
    }

    /// The same of mail. It rests when nothing makes it look by itself soon, as it does after activity: a letter that
    /// comes then is found by its notice or not at all.
    async fn difference_of_mail(&self, person: &Person) -> (Vec<String>, bool) {
        let truth = truth::of(&self.sandbox, &person.email);
        let mut tx = self.app.store.read().await.expect("a transaction");
        let mailbox = mailboxes::by_person(&mut tx, &person.id).await.expect("read").expect("a mailbox");
        let all = messages::page(&mut tx, &mailbox.id, None, None, i64::MAX).await.expect("read");
        let feed = changes::of_person(&mut tx, &person.id, 0, i64::MAX).await.expect("read");
        drop(tx);
        let mut differing = truth::difference_in_content(&all, &self.sandbox, &person.email);
        let rows: truth::Mail = all.into_iter().map(|it| (it.id, it.labels)).collect();
        differing.extend(truth::difference(&rows, &truth));
        differing.extend(truth::difference(&truth::folded(&feed), &truth));
        let looks_soon = mailbox.look_at.is_some() || mailbox.relist_at.is_some();
        (differing, mailbox.state == MailboxState::Live && !looks_soon)
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
            self.hear().await;
            if self.below(20) == 0 {
                self.pass_is_due().await;
            }
        }
        drop(process);
        self.leases_run_out().await;
    }

    /// A process that isn't killed has everything in the end, although nobody tells anything new. Then everybody gets a
    /// letter, whose notice reaches a process that dies while it acknowledges: the next one has the letters, too.
    pub(crate) async fn catch_up(&self) {
        self.leases_run_out().await;
        self.hear().await;
        let process = self.process();
        self.comes_again().await;
        self.until_all_is_there(CATCH_UP_MAX, "after the last kill, without a new letter").await;
        self.die_acknowledging(process).await;
        let _process = self.process();
        self.comes_again().await;
        self.until_all_is_there(LETTERS_MAX, "after a kill amid an acknowledgement").await;
    }

    /// Looks again and again, a moment apart, until everybody's copy is what Google has, and rests.
    async fn until_all_is_there(&self, wait_max: Duration, when: &str) {
        let last = self.app.clock.now() + wait_max;
        let mut passed_at: Option<Timestamp> = None;
        for person in &self.people {
            loop {
                self.a_moment().await;
                self.hear().await;
                let now = self.app.clock.now();
                if passed_at.is_none_or(|at| now.duration_since(at) > PASS_EVERY) {
                    passed_at = Some(now);
                    self.pass_is_due().await;
                }
                let (differing, rests) = self.difference(person).await;
                if differing.is_empty() && rests {
                    break;
                }
                assert!(now < last, "{} {when}: it rests: {rests}, {differing:#?}", person.email);
            }
        }
    }

    /// Everybody gets a letter, and the process that takes the notices is killed when its first acknowledgement is
    /// there. What was acknowledged and not marked by then would be lost, and nothing else tells of the letters.
    async fn die_acknowledging(&self, process: Program) {
        let before = self.calls();
        for person in &self.people {
            let done = self.sandbox.world(|world| world.act(&person.email, &MailAction::sample()));
            done.expect("a letter arrives");
        }
        let acknowledges = || {
            self.sandbox.world(|world| {
                let mut newest = world.calls.iter().rev().take_while(|it| it.number > before);
                newest.any(|it| it.call == "pubsub.acknowledge")
            })
        };
        let last = self.app.clock.now() + LETTERS_MAX;
        while !acknowledges() {
            assert!(self.app.clock.now() < last, "nobody acknowledges the letters' notices");
            // Not a moment: the process dies before the answer reaches it, and has no time for a mark that comes later.
            tokio::task::yield_now().await;
        }
        drop(process);
        self.leases_run_out().await;
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

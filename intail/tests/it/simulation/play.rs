//! One seed's play: a small company, two processes of Intail on one database, and a director who moves time, changes
//! the world and lets things go wrong. Then the faults stop, a sweep passes, and what Intail holds must equal the
//! world.
//!
//! A reader must not break: every choice comes from the seed's dice, and from nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use intail::access::Turns;
use intail::app::{App, Parts};
use intail::cli::demo;
use intail::clock::Clock;
use intail::config::Config;
use intail::connect::{self, Options};
use intail::feed::Hub;
use intail::notices::{self, pull};
use intail::org::audit::Origin;
use intail::org::receipts::Receipts;
use intail::random::Random;
use intail::store::directory_people;
use intail::store::leases::Stream;
use intail::store::mailboxes::MailboxState;
use intail::store::people::Person;
use intail::store::{
    StoreError, Tx, agendas, changes, coverage, debts, fills, grants, labels, leases, mailboxes, messages,
    organizations,
};
use intail::sync::{Bell, Worker};
use intail::{seal, signin, store};
use intail_google::oauth::scope;
use intail_google::price;
use intail_google::pubsub::Credentials;
use intail_google::{Client, ClientOptions};
use intail_sandbox::access::AccessLevel;
use intail_sandbox::accounts::PersonSwitch;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::agenda::{CalendarAction, EventEntry, Role};
use intail_sandbox::compose::{CANARY, Compose};
use intail_sandbox::faults::Rule;
use intail_sandbox::quota::{Counted, Limits};
use intail_sandbox::signing::LentKeys;
use intail_sandbox::{Sandbox, WorldFile, WorldSource};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::directory;
use super::network::{Marks, Network};
use super::stage::{Actor, Audience, Stage, Stop, Verdict};
use crate::harness::running::read;
use crate::harness::visit::{self, REACHABLE, Ticks};
use crate::harness::{calendars, truth};

/// Which seeds play calendars and the directory beside mail: every fourth.
const ALL_STREAMS_EVERY: u64 = 4;
/// Which seeds play with so little quota that backfills and comparisons wait for it: every third. The others have
/// Google's own limits. The number of calls at once binds in none: each is answered within one poll here, so the false
/// Google never counts more than one.
const TIGHT_EVERY: u64 = 3;
/// What Google gives in those: one person's minute is less than a mailbox of the play costs, the project's is less than
/// the three people's together. A step asks for 1,000 units at most.
const TIGHT: Limits = Limits { person_minute: 1_100, project_minute: 2_500, project_day: 100_000 };
/// The fewest messages of each person in those: to fetch them takes most of the person's minute.
const TIGHT_MAIL: u64 = 40;
/// The calendar's requests in those.
const TIGHT_REQUESTS: Limits = Limits { person_minute: 40, project_minute: 90, project_day: 100_000 };
/// Longer than any calendar waits between two looks while Google tells nothing: 30 minutes and a quarter.
const LOOKED_AT: SignedDuration = SignedDuration::from_mins(45);
/// Twice as long as from one pass over a directory to the next, where an administrator's grant reads it.
const PASSED: SignedDuration = SignedDuration::from_hours(2);
/// Entries on a page at least, once somebody sees only busy times.
const BUSY_PAGE_MIN: usize = 100;
/// Longer than a calendar of which only busy times are seen waits until it is compared whole.
const WEEK: Duration = Duration::from_secs((7 * 24 + 1) * 3_600);
/// When every play begins.
const START: &str = "2026-11-22T09:00:00Z";
/// The cookie that stands for everybody's browser.
const BROWSER: &str = "a-browser-of-the-simulation";
/// Processes of Intail.
const PROCESSES: usize = 2;
/// How often an engine looks for what is due when nobody rings.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// Steps of the director while things go wrong: at least, and by chance more.
const STEPS: u64 = 150;
const STEPS_MORE: u64 = 450;
/// How often people look whether they are still connected once the faults have stopped: a grant that ended shows itself
/// at the next call only, and an erasure that is under way is finished first.
const RETURNS_MAX: usize = 4;
/// Pages of the directory that come without their people: one less than the passes that count as proof.
const PAGES_WITHOUT_PEOPLE_MAX: u32 = 2;
/// Steps of an ordinary day after the faults.
const CALM_STEPS: u64 = 60;
/// Where history ids may begin: before they get a digit more, and beyond what a signed number holds.
const HISTORY_BEGINNINGS: [u64; 4] = [0, 9_999_900, 999_999_999_900, 9_223_372_036_854_775_700];
/// Rounds until everything rests: three mailboxes may be compared page by page, a message a page, and whoever sees of a
/// calendar only when it is busy reads two years of every endless series, an occurrence a page.
const ROUNDS_MAX: usize = 90_000;
/// Longer than the longest time between two renewals of a watch: within it, every mailbox is swept.
const SWEEP: SignedDuration = SignedDuration::from_hours(29);

/// The most time that passes at once while anything is due soon.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Whatever isn't due for this long rests.
const REST: SignedDuration = SignedDuration::from_hours(1);

/// How near the next pass over a directory is no rest: less than the least time between two of them.
const PASS_NEAR: SignedDuration = SignedDuration::from_mins(45);

/// Answers whose entries can't be read now and then, and the lists they stand in.
const UNREADABLE: [(&str, &str); 2] =
    [("gmail.users.history.list", "history"), ("gmail.users.messages.list", "messages")];

/// The false Google's keys, made once: nothing depends on which they are.
static KEYS: OnceLock<LentKeys> = OnceLock::new();

/// A database with the schema and nothing else, made once: its migrations would take as long as all else before a play.
static EMPTY: OnceCell<Vec<u8>> = OnceCell::const_new();

async fn empty_database() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("intail.db");
    let store = store::Store::open(&format!("sqlite:{}", file.display())).await.expect("the schema");
    store.close().await;
    std::fs::read(&file).expect("a database")
}

/// What came of a play.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What happened, in order.
    pub(super) trace: Vec<String>,
    /// How often each kind of fault was injected.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// Requests to Google, and their price.
    pub(super) calls: u64,
    /// Quota units of them.
    pub(super) units: u64,
}

/// One process of Intail.
struct Process {
    app: App,
    actors: Vec<Actor>,
    frozen: bool,
}

struct Play {
    seed: u64,
    random: Random,
    stage: Stage,
    sandbox: Arc<Sandbox>,
    clock: Clock,
    config: Config,
    store: store::Store,
    keyring: seal::Keyring,
    google: Client,
    processes: Vec<Process>,
    people: Vec<Person>,
    /// Whether calendars and the directory are played, too: three times as much happens then, so it isn't every seed.
    all_streams: bool,
    /// Whose grant reads the directory, and nothing else.
    administrator: Option<Person>,
    outcome: Outcome,
    /// The faults are over.
    calm: bool,
    /// Google denies messages that exist for longer than it may: only an audit can find them.
    google_lies: bool,
    /// Who ended their grant at Google and has not connected since. Of an idle mailbox Intail sees that by its renewal.
    ended: BTreeSet<String>,
    /// The same of the administrator whose grant reads the directory.
    is_readers_grant_over: bool,
    /// Who reads the directory's feed all the time.
    consumer: truth::DirectoryReader,
    /// How many pages of the directory came without those who stand on them.
    pages_without_people: u32,
    directory: TempDir,
}

/// What is known of calendars of which only busy times can be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BusyTimes {
    /// They haven't been compared whole since something changed.
    MayLackSome,
    /// They have.
    AreWhole,
}

fn is_tight(seed: u64) -> bool {
    seed.is_multiple_of(TIGHT_EVERY)
}

/// Google's limits as the configuration tells them.
fn believed(Limits { person_minute, project_minute, project_day }: Limits) -> price::Limits {
    price::Limits { person_minute, project_minute, project_day, concurrent_per_mailbox: 5 }
}

/// Plays a seed; panics with the trace when a promise is broken.
pub(super) async fn play(seed: u64) -> Outcome {
    let mut play = Play::begin(seed).await;
    let steps = STEPS + play.random.below(STEPS_MORE);
    for _ in 0..steps {
        play.step().await;
    }
    play.end_of_faults().await;
    play.pass_slowly(SWEEP).await;
    play.whoever_ended_returns().await;
    play.compare("after a sweep").await;
    play.compare_labels("after a sweep").await;
    play.compare_calendars("after a sweep", BusyTimes::MayLackSome).await;
    play.compare_directory("after a sweep").await;
    // Google tells of one change a second, and a renewal of the watch may just have been told of.
    play.advance(Duration::from_secs(2));
    for _ in 0..CALM_STEPS {
        play.calm_step().await;
    }
    play.rest().await;
    play.compare("right after changes that Google told of").await;
    // Of a calendar whose channel couldn't be opened Google tells nothing: it is looked at.
    play.pass_slowly(LOOKED_AT).await;
    play.compare_calendars("after another look", BusyTimes::MayLackSome).await;
    play.another_pass().await;
    let told = play.told().await;
    play.pass_slowly(SWEEP).await;
    play.compare("after another sweep").await;
    play.compare_labels("after another sweep").await;
    play.compare_calendars("after another sweep", BusyTimes::MayLackSome).await;
    play.compare_directory("after another sweep").await;
    let found: Vec<String> = play.told().await.into_iter().filter(|it| !told.contains(it)).collect();
    assert!(found.is_empty(), "the next sweep finds nothing: {found:#?}");
    play.a_week_passes().await;
    play.compare_calendars("after a week", BusyTimes::AreWhole).await;
    play.look_for_leaks().await;
    std::mem::take(&mut play.outcome)
}

impl Play {
    async fn begin(seed: u64) -> Self {
        let start: Timestamp = START.parse().expect("a time");
        let random = Random::seeded(seed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mail = random.below(40) + if is_tight(seed) { TIGHT_MAIL } else { 2 };
        let text = include_str!("company.toml").replace("mail_per_person = 1", &format!("mail_per_person = {mail}"));
        let options = intail_sandbox::Options {
            clock: intail_sandbox::Clock::manual(start),
            seed,
            product_url: Some(REACHABLE.to_owned()),
            world: WorldSource::File(Box::new(WorldFile::parse(&text).expect("a world"))),
            ..intail_sandbox::Options::new(listener)
        };
        let sandbox = Arc::new(Sandbox::start(options).await.expect("the sandbox starts"));
        let (lag, empty, page) = (random.below(8_000), random.below(40), random.below(12));
        let leads = random.below(2) == 0;
        let empty_calendar = random.below(30);
        let history = HISTORY_BEGINNINGS[usize::try_from(random.below(4)).expect("small")];
        sandbox.world(|world| {
            let keys = KEYS.get_or_init(|| world.identity.lend_keys().expect("keys"));
            world.identity.borrow_keys(keys);
            world.settings.pull_wait_ms = 0;
            world.settings.visibility_lag_ms = i64::try_from(lag).expect("small");
            world.settings.history_id_leads = leads;
            world.settings.empty_history_page_percent = u8::try_from(empty).expect("small");
            world.settings.page_max = usize::try_from(page).expect("small");
            world.settings.calendar.empty_page_percent = u8::try_from(empty_calendar).expect("small");
            world.settings.channels.held = true;
            world.settings.channels.lost_percent = 10;
            world.settings.channels.duplicated_percent = 10;
            world.settings.channels.delayed_percent = 10;
            world.settings.notices.lost_percent = 10;
            world.settings.notices.duplicated_percent = 10;
            world.settings.notices.reordered_percent = 10;
            world.settings.notices.delayed_percent = 10;
            world.settings.notices.delay_ms_max = 20_000;
            world.mail.values_mut().for_each(|it| it.skip_history_to(history));
            if is_tight(seed) {
                world.quota.limits = Some(TIGHT);
                world.quota.request_limits = [(Counted::Calendar, TIGHT_REQUESTS)].into();
            }
            for client in world.identity.clients.keys() {
                // With boxes to tick, other than for what is trusted with everything.
                let scopes = scope::REQUESTED.iter().map(|it| (*it).to_owned()).collect();
                let level = AccessLevel::Specific { scopes };
                world.identity.policy.configured.insert(client.clone(), level);
            }
        });
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let clock = Clock::owned(start);
        let mut config = demo::configuration(&sandbox, directory.path(), REACHABLE).expect("a configuration");
        if is_tight(seed) {
            config.quota.limits = believed(TIGHT);
            config.quota.calendar = believed(TIGHT_REQUESTS);
        }
        let empty = EMPTY.get_or_init(empty_database).await;
        std::fs::write(directory.path().join("intail.db"), empty).expect("a database is written");
        let setup = demo::product(&sandbox, config.clone(), clock.clone(), Random::seeded(seed ^ 1)).await;
        let setup = setup.expect("the product starts");
        let stage = Stage::default();
        let mut tx = setup.store.read().await.expect("a transaction");
        let organization = organizations::list(&mut tx, 1).await.expect("read").remove(0).id;
        drop(tx);
        let watched = setup.store.behind(Arc::new(Audience(stage.clone())));
        let marks = Marks { store: watched, organization, handed_out: Mutex::default() };
        let now = clock.clone();
        let google = Client::new(ClientOptions {
            endpoints: config.google.endpoints.clone(),
            prices: config.quota.table.into(),
            now: Arc::new(move || now.now()),
            hook: None,
            user_agent: "intail (gzip)".to_owned(),
            transport: Some(Arc::new(Network {
                stage: stage.clone(),
                sandbox: sandbox.clone(),
                clock: clock.clone(),
                marks,
            })),
        })
        .expect("a client");
        let mut play = Self {
            seed,
            random,
            stage,
            sandbox,
            clock,
            config,
            store: setup.store.clone(),
            keyring: setup.keyring.clone(),
            google,
            processes: Vec::new(),
            people: Vec::new(),
            all_streams: seed.is_multiple_of(ALL_STREAMS_EVERY),
            administrator: None,
            outcome: Outcome::default(),
            calm: false,
            google_lies: false,
            ended: BTreeSet::new(),
            is_readers_grant_over: false,
            consumer: truth::DirectoryReader::default(),
            pages_without_people: 0,
            directory,
        };
        for number in 0..PROCESSES {
            let process = play.process(number);
            play.processes.push(process);
        }
        for email in ["ines@example.com", "kofi@example.com", "yuki@example.com"] {
            let person = play.sign_in(email).await;
            play.people.push(person);
        }
        if play.all_streams {
            play.administrator = Some(play.sign_in("ada.admin@example.com").await);
            play.connect_administrator().await;
        }
        play
    }

    fn process(&self, number: usize) -> Process {
        let gated = self.store.behind(Arc::new(self.stage.clone()));
        let app = self.app(gated, self.random.below(u64::MAX));
        let engine = app.clone();
        let work = async move {
            let worker = Worker::in_place(&engine, &number.to_string());
            loop {
                // What failed is tried again at the next look, as in the engine's own loop.
                let _ = worker.tick().await;
                tokio::select! {
                    biased;
                    () = engine.due.rung() => {}
                    () = engine.clock.sleep_until(engine.clock.now() + LOOK_EVERY) => {}
                }
            }
        };
        let puller = app.clone();
        let pull = async move { pull::run(&puller, &Credentials::anonymous(), CancellationToken::new()).await };
        let leaver = app.clone();
        let leave = async move { connect::resume_leaving(&leaver, CancellationToken::new()).await };
        let actors = [work.boxed(), pull.boxed(), leave.boxed()];
        let numbered = actors.into_iter().enumerate();
        let actors = numbered.map(|(n, work)| Actor::new(&self.stage, number * 10 + n, work)).collect();
        Process { app, actors, frozen: false }
    }

    fn app(&self, store: store::Store, seed: u64) -> App {
        App::new(Parts {
            config: self.config.clone(),
            store,
            clock: self.clock.clone(),
            random: Random::seeded(seed),
            keyring: self.keyring.clone(),
            google: self.google.clone(),
            receipts: Receipts::default(),
            turns: Turns::default(),
            due: Bell::default(),
            feed: Hub::new(self.clock.clone()),
        })
    }

    // ---- people ----

    async fn sign_in(&self, email: &str) -> Person {
        let app = &self.processes[0].app;
        let url = signin::begin(app, BROWSER, "/", Some(email)).await.expect("it begins");
        let back = visit::walk(&self.sandbox, email, url, Ticks::All).await.expect("Google sends the person back");
        signin::finish(app, BROWSER, read(&back)).await.expect("signed in").person
    }

    async fn visit(&self, email: &str, url: Url) -> Option<Url> {
        let ticks = if self.all_streams { Ticks::All } else { Ticks::Only(&[scope::GMAIL_METADATA]) };
        visit::walk(&self.sandbox, email, url, ticks).await
    }

    /// The administrator permits the directory, unless that permission works.
    async fn connect_administrator(&mut self) {
        let Some(person) = self.administrator.clone() else { return };
        let mut tx = self.store.read().await.expect("a transaction");
        let grant = grants::by_person(&mut tx, &person.id).await.expect("read");
        drop(tx);
        if grant.is_some_and(|it| it.state.works()) && !self.is_readers_grant_over {
            return;
        }
        let Some(app) = self.reception().await else { return };
        let only = [scope::DIRECTORY_USER_READONLY];
        // Intail may not have seen yet that the permission is over: without asking again, Google would give no new one.
        let options = Options { ask_again: self.is_readers_grant_over, ..Options::default() };
        let connected = async {
            let url = connect::begin(&app, &person, BROWSER, options).await.ok()?;
            let back = visit::walk(&self.sandbox, &person.email, url, Ticks::Only(&only)).await?;
            connect::finish(&app, Some(&person), BROWSER, read(&back)).await.ok()
        };
        let connected = connected.await.is_some();
        self.is_readers_grant_over &= !connected;
        self.note(format!("the administrator permits the directory: {connected}"));
    }

    /// A person connects, with whatever trouble there is; answers whether it succeeded.
    async fn connect(&mut self, person: usize) -> bool {
        let Some(app) = self.reception().await else { return false };
        let person = self.people[person].clone();
        let connected = async {
            let url = connect::begin(&app, &person, BROWSER, Options::default()).await.ok()?;
            let back = self.visit(&person.email, url).await?;
            connect::finish(&app, Some(&person), BROWSER, read(&back)).await.ok()
        };
        let connected = connected.await.is_some();
        self.note(format!("{} connects: {connected}", person.email));
        if connected {
            self.ended.remove(&person.email);
        }
        connected
    }

    /// A process that can see to a person, who is seen to outside the play: nothing of that process may be under way,
    /// because it might hold what the person waits for.
    async fn reception(&mut self) -> Option<App> {
        let number = self.processes.iter().position(|it| !it.frozen)?;
        for _ in 0..ROUNDS_MAX {
            self.settle().await;
            let mut stops = self.stage.stops().into_iter();
            match stops.find(|(_, actor, stop)| actor / 10 == number && *stop != Stop::Poll) {
                Some((.., Stop::Silence(until))) => {
                    let wait = until.duration_since(self.clock.now());
                    self.advance(Duration::try_from(wait).unwrap_or_default());
                }
                Some((id, ..)) => self.stage.decide(id, Verdict::Go),
                None => return Some(self.processes[number].app.clone()),
            }
        }
        panic!("process {number} is never done");
    }

    async fn is_connected(&self, person: usize) -> bool {
        let mut tx = self.store.read().await.expect("a transaction");
        let grant = grants::by_person(&mut tx, &self.people[person].id).await.expect("read");
        grant.is_some_and(|it| it.state.works())
    }

    // ---- the director ----

    /// Lets everything run that waits for nothing, and finishes transactions that are open.
    async fn settle(&mut self) {
        loop {
            let running = self.processes.iter_mut().filter(|it| !it.frozen);
            if let Some(actor) = running.flat_map(|it| &mut it.actors).find(|it| it.is_woken()) {
                actor.drive().await;
                continue;
            }
            let stops = self.stage.stops();
            let now = self.clock.now();
            let is_over = |stop: &Stop| matches!(stop, Stop::Silence(until) if *until <= now);
            if let Some((id, ..)) = stops.iter().find(|(.., stop)| is_over(stop)) {
                self.stage.decide(*id, Verdict::Fail);
                continue;
            }
            let commit = stops.into_iter().find(|(.., stop)| matches!(stop, Stop::Commit | Stop::Committed));
            match commit {
                Some((id, actor, stop)) => self.commit(id, actor, &stop),
                None => break,
            }
        }
        assert!(!self.stage.is_writing(), "promise 5: a transaction stays open while its owner waits");
    }

    /// Promise 3: whatever somebody told of is due, or in somebody's hands. Looks and renewals find what was told and
    /// forgotten, so that nothing is missing in the end; it would only be late.
    async fn look_at_marks(&self) {
        let mut tx = self.store.read().await.expect("a transaction");
        let now = self.clock.now().as_microsecond();
        for table in ["mailboxes", "agendas", "directories"] {
            let sql =
                format!("SELECT id FROM {table} WHERE dirty AND lease_owner IS NULL AND due_at > {now} ORDER BY id");
            let forgotten = tx.all_built(sql, Vec::new(), |row| row.text("id")).await.expect("read");
            assert!(forgotten.is_empty(), "promise 3: marked, and due later: {forgotten:?}");
        }
    }

    fn commit(&mut self, id: u64, actor: usize, stop: &Stop) {
        let verdict = match (self.calm, self.random.below(400)) {
            (true, _) | (false, 4..) => Verdict::Go,
            (false, 0) => {
                self.count("database away at a commit");
                Verdict::Fail
            }
            (false, _) => {
                self.count(if *stop == Stop::Commit { "crash before a commit" } else { "crash after a commit" });
                self.crash(actor / 10);
                return;
            }
        };
        tracing::debug!("{actor} {stop:?}: {verdict:?}");
        self.stage.decide(id, verdict);
    }

    fn crash(&mut self, number: usize) {
        self.note(format!("process {number} dies"));
        self.processes[number] = self.process(number);
    }

    async fn step(&mut self) {
        self.settle().await;
        self.look_at_marks().await;
        self.tell_of_calendars().await;
        match self.random.below(100) {
            0..70 => self.let_one_go(),
            79..83 if self.all_streams => self.change_a_calendar(),
            83..85 if self.all_streams => self.change_the_directory().await,
            70..85 => self.change_the_world(),
            85..93 => self.pass_ms(200, 6_000),
            93..96 => self.pass_long_ms(10_000, 120_000).await,
            _ => self.something_rare().await,
        }
    }

    /// An ordinary step: nothing fails, but the order is still anybody's.
    async fn calm_step(&mut self) {
        self.settle().await;
        self.look_at_marks().await;
        self.tell_of_calendars().await;
        match self.random.below(100) {
            0..70 => self.let_one_go(),
            70..80 => self.change_the_world(),
            80..88 if self.all_streams => self.change_an_event(),
            88..91 if self.all_streams => self.change_the_directory().await,
            80..91 => self.change_the_world(),
            _ => self.pass_ms(200, 6_000),
        }
    }

    /// Hands over the notices of calendars that Google sends now. What is lost or late on the way, the false Google
    /// decides.
    async fn tell_of_calendars(&mut self) {
        let told = self.sandbox.world(intail_sandbox::World::take_channel_messages);
        for (channel, token, state) in told {
            let app = self.app(self.store.clone(), 0);
            let notice = notices::channels::Notice { channel: &channel, token: &token, state };
            let known = notices::channels::take(&app, notice).await.expect("marked");
            self.note(format!("a calendar's notice, {state}: {known}"));
        }
    }

    /// Lets one stop go on, or fail, or wait in vain.
    fn let_one_go(&mut self) {
        let stops = self.open_stops();
        let Some((id, actor, stop)) = self.pick(&stops).cloned() else {
            return self.pass_ms(200, 6_000);
        };
        let is_poll = match &stop {
            Stop::Poll => true,
            Stop::Answer(name) => name.ends_with(":pull"),
            _ => false,
        };
        // Where the quota is counted, nobody waits that long between asking the budget and asking Google.
        let may_hang = !is_poll && matches!(stop, Stop::Ask(_) | Stop::Answer(_)) && !is_tight(self.seed);
        let rolled = if self.calm { u64::MAX } else { self.random.below(100) };
        let (verdict, words) = match rolled {
            0 | 1 => (Verdict::Fail, " fails"),
            2 if may_hang => (Verdict::Hang, " hangs"),
            _ => (Verdict::Go, ""),
        };
        match (verdict, &stop) {
            (Verdict::Go, _) => {}
            (Verdict::Hang, _) => self.count("request that hangs until its deadline"),
            (Verdict::Fail, _) if is_poll => self.count("long poll without an answer"),
            (Verdict::Fail, Stop::Begin) => self.count("database busy"),
            (Verdict::Fail, Stop::Answer(_)) => self.count("connection cut after the request"),
            (Verdict::Fail, _) => self.count("connection cut before the request"),
        }
        self.note(format!("{actor} {stop:?}{words}"));
        self.stage.decide(id, verdict);
    }

    /// Stops of processes that aren't frozen; long polls only when there is something to fetch, and never a silence,
    /// which only time ends.
    fn open_stops(&self) -> Vec<(u64, usize, Stop)> {
        let waiting = self.notices_wait();
        let is_open = |stop: &Stop| match stop {
            Stop::Poll => waiting,
            Stop::Silence(_) => false,
            _ => true,
        };
        let all = self.stage.stops().into_iter();
        all.filter(|(_, actor, stop)| !self.processes[actor / 10].frozen && is_open(stop)).collect()
    }

    fn notices_wait(&self) -> bool {
        let name = &self.config.pubsub.subscription;
        self.sandbox.world(|world| {
            let now = world.clock.now();
            // A subscription that has gone answers at once.
            !world.pubsub.subscriptions.contains_key(name)
                || world.pubsub.available_at(name).is_some_and(|it| it <= now)
        })
    }

    async fn something_rare(&mut self) {
        let person = usize::try_from(self.random.below(3)).expect("small");
        let email = self.people[person].email.clone();
        match self.random.below(19) {
            18 if self.all_streams && self.is_readers_grant_over => self.connect_administrator().await,
            18 if self.all_streams => self.end_the_readers_grant(),
            17 => {
                // Beside what there is, or of the history in its place: then only a comparison finds what it told.
                let (call, list) = *self.pick(&UNREADABLE).expect("some");
                let entries = json!({ list: [{}, {"id": "7 days ago"}] });
                let instead = call.contains("history") && self.random.below(2) == 0;
                self.note(format!("{call} will name something unreadable{}", if instead { " only" } else { "" }));
                let (with, more) = if instead { (entries, json!({})) } else { (json!({}), entries) };
                self.sandbox.world(|world| world.faults.add(Rule::twist(call, with, more).times(1)));
            }
            16 if self.all_streams && self.pages_without_people < PAGES_WITHOUT_PEOPLE_MAX => {
                self.pages_without_people += 1;
                let lacks = Rule::twist("directory.users.list", json!({ "users": null }), json!({}));
                // On the first page stands who reads: without them no pass counts.
                let skip = 1 + u32::try_from(self.random.below(3)).expect("small");
                self.sandbox.world(|world| world.faults.add(Rule { skip, ..lacks.times(1) }));
            }
            15 => self.change_lists(&email),
            0 => self.pass_long_ms(11 * 60_000, 70 * 60_000).await,
            1 => self.pass_long_ms(3_600_000, 30 * 3_600_000).await,
            2 => {
                self.count("three days away");
                self.pass_long_ms(3 * 86_400_000, 9 * 86_400_000).await;
            }
            3 | 4 => {
                self.count("crash");
                let number = usize::try_from(self.random.below(2)).expect("small");
                self.crash(number);
            }
            // Whoever is stopped between asking the budget and asking Google, for longer than a lease holds, may exceed
            // a quota by what is under way: no counting helps. So nobody is where the quota is counted.
            5 | 6 if !is_tight(self.seed) => {
                let number = usize::try_from(self.random.below(2)).expect("small");
                let frozen = !self.processes[number].frozen;
                self.processes[number].frozen = frozen;
                self.note(format!("process {number} frozen: {frozen}"));
                if frozen {
                    self.count("process paused past its lease");
                    self.pass_ms(100_000, 200_000);
                }
            }
            7 => {
                self.count("history forgotten");
                self.act(&email, &MailAction::ForgetHistory);
            }
            8 | 9 => self.add_a_fault(),
            10 => self.end_a_grant(&email),
            11 => self.break_the_push(&email),
            // The watch of who leaves is stopped outside the engine, which doesn't count that.
            12 if !is_tight(self.seed) && self.is_connected(person).await && self.random.below(3) == 0 => {
                let Some(app) = self.reception().await else { return };
                self.count("a person leaves");
                let leaver = self.people[person].clone();
                let left = connect::leave(&app, &leaver, Origin::Unknown).await;
                self.note(format!("{email} leaves: {}", left.is_ok()));
            }
            _ => {
                if !self.is_connected(person).await {
                    self.connect(person).await;
                }
            }
        }
    }

    fn add_a_fault(&mut self) {
        const CALLS: [&str; 15] = [
            "calendar.calendarList.list",
            "calendar.events.list",
            "calendar.events.watch",
            "calendar.*",
            "gmail.users.history.list",
            "gmail.users.messages.get",
            "gmail.users.threads.get",
            "gmail.users.messages.list",
            "gmail.users.getProfile",
            "gmail.users.watch",
            "gmail.*",
            "pubsub.*",
            "oauth.token",
            "directory.users.list",
            "directory.users.get",
        ];
        const STATUSES: [u16; 6] = [401, 403, 404, 429, 500, 503];
        let call = *self.pick(&CALLS).expect("some");
        let status = *self.pick(&STATUSES).expect("some");
        // A 404 has a meaning for the history and for messages. It may last until a message counts as gone: the audit
        // finds that it isn't.
        let has_meaning = ["gmail.users.history.list", "calendar.events.list"].contains(&call);
        let call = if status == 404 && !has_meaning { "gmail.users.messages.get" } else { call };
        let times = 1 + u32::try_from(self.random.below(if status == 404 { 12 } else { 4 })).expect("small");
        self.google_lies |= status == 404 && call == "gmail.users.messages.get" && times > 2;
        // What else it refuses with ends a grant.
        if call == "oauth.token" && status < 500 && status != 429 {
            return;
        }
        self.note(format!("{call} will answer {status} {times} times"));
        self.sandbox.world(|world| world.faults.add(Rule::status(call, status).times(times)));
    }

    fn end_a_grant(&mut self, email: &str) {
        self.count("grant ended at Google");
        self.note(format!("{email} changes the password"));
        self.ended.insert(email.to_owned());
        self.sandbox.world(|world| {
            let now = world.clock.now();
            let sub = world.identity.person_by_email(email).expect("a person").sub.clone();
            world.identity.switch_person(now, &sub, PersonSwitch::ChangePassword);
        });
    }

    /// Ends the grant that reads the directory. A change of the password would leave it alone: it has nothing of mail.
    fn end_the_readers_grant(&mut self) {
        let Some(reader) = self.administrator.clone() else { return };
        self.count("grant of who reads the directory ended at Google");
        self.note(format!("{} is suspended and restored: every token is over", reader.email));
        self.is_readers_grant_over = true;
        self.sandbox.world(|world| {
            let now = world.clock.now();
            for switch in [PersonSwitch::Suspend, PersonSwitch::Restore] {
                world.identity.switch_person(now, &reader.subject, switch);
            }
        });
    }

    fn break_the_push(&mut self, email: &str) {
        let (topic, subscription) = (self.config.pubsub.topic.clone(), self.config.pubsub.subscription.clone());
        let which = self.random.below(2);
        self.count(if which == 0 { "watch lapsed" } else { "subscription deleted" });
        self.note(format!("push broken: {which} {email} {topic}"));
        self.sandbox.world(|world| {
            if which == 0 {
                world.lapse_watches(email);
            } else {
                world.pubsub.subscriptions.remove(&subscription);
            }
        });
    }

    // ---- the world ----

    fn change_the_world(&mut self) {
        let email = self.pick(&self.people).expect("people").email.clone();
        let ids: Vec<String> = self.sandbox.world(|world| {
            world.mailbox(&email).into_iter().flat_map(|it| it.newest_first()).map(|it| it.id.clone()).collect()
        });
        let one = self.pick(&ids).map(|id| One { id: id.clone() });
        let answered = self.pick(&ids);
        let several = 1 + u32::try_from(self.random.below(3)).expect("small");
        let (own, name) = (self.own_label(&email), format!("Label {}", self.random.below(50)));
        let action = match (self.random.below(20), one) {
            (16, _) => MailAction::CreateLabel { name },
            (17, Some(one)) if own.is_some() => {
                MailAction::Label { id: one.id, add: own.into_iter().collect(), remove: Vec::new() }
            }
            (18, _) if let Some(id) = own => MailAction::RenameLabel { id, name },
            (19, _) if let Some(id) = own => MailAction::DeleteLabel(One { id }),
            (0..4, _) | (_, None) => match MailAction::sample() {
                MailAction::Receive { from, compose, headers, label_ids, internal_date_ms, .. } => {
                    // A third of them answers something, so that threads grow.
                    let thread_id =
                        answered.filter(|_| self.random.below(3) == 0).and_then(|id| self.thread_of(&email, id));
                    MailAction::Receive {
                        from,
                        compose,
                        headers,
                        label_ids,
                        thread_id,
                        internal_date_ms,
                        count: several,
                    }
                }
                other => other,
            },
            (4, Some(_)) => MailAction::Send(Compose { to: "kofi@example.com".into(), ..Compose::default() }),
            (5, Some(_)) => MailAction::Draft { earlier: None, compose: Compose::default() },
            (6, Some(one)) => MailAction::Star(one),
            (7, Some(one)) => MailAction::Unstar(one),
            (8, Some(one)) => MailAction::Read(one),
            (9, Some(one)) => MailAction::Archive(one),
            (10, Some(one)) => MailAction::Trash(one),
            (11, Some(one)) => MailAction::Untrash(one),
            (12, Some(one)) => MailAction::Spam(one),
            (13, Some(one)) => MailAction::Unread(one),
            (_, Some(one)) => MailAction::Delete(one),
        };
        self.act(&email, &action);
        let is_about_names = matches!(action, MailAction::CreateLabel { .. } | MailAction::RenameLabel { .. });
        if is_about_names || matches!(action, MailAction::DeleteLabel(_)) {
            // Google doesn't tell of names. They are asked for daily where anything else happens.
            self.act(&email, &MailAction::sample());
        }
    }

    fn thread_of(&self, email: &str, message_id: &str) -> Option<String> {
        self.sandbox.world(|world| {
            let mailbox = world.mailbox(email)?;
            mailbox.newest_first().find(|it| it.id == message_id).map(|it| it.thread_id.clone())
        })
    }

    /// One of the labels that a person made.
    fn own_label(&self, email: &str) -> Option<String> {
        let labels: Vec<String> = self.sandbox.world(|world| {
            let all = world.mailbox(email).into_iter().flat_map(|it| it.labels());
            all.filter(|it| it.name != it.id).map(|it| it.id.clone()).collect()
        });
        self.pick(&labels).cloned()
    }

    // ---- the world's directory ----

    /// Somebody reads on in its feed, and then something happens to a colleague.
    async fn change_the_directory(&mut self) {
        self.read_on().await;
        let what = directory::change(&self.random, &self.sandbox);
        self.note(what);
    }

    // ---- the world's calendars ----

    /// Somebody changes an event, or how a calendar is shared and listed.
    fn change_a_calendar(&mut self) {
        let email = self.pick(&self.people).expect("people").email.clone();
        if self.random.below(6) == 0 { self.change_lists(&email) } else { self.change_an_event() }
    }

    /// Somebody shares a calendar or no longer, lists it or no longer, or Google forgets what sync tokens mean.
    fn change_lists(&mut self, email: &str) {
        let other = self.pick(&self.people).expect("people").email.clone();
        let action = match self.random.below(9) {
            0 => CalendarAction::Share { calendar: None, email: other, role: Some(Role::Reader) },
            1 => CalendarAction::Share { calendar: None, email: other, role: Some(Role::Writer) },
            2 => CalendarAction::Share { calendar: None, email: other, role: Some(Role::FreeBusyReader) },
            3 => CalendarAction::Share { calendar: None, email: other, role: None },
            4 => CalendarAction::List { calendar: other, selected: true, hidden: false, name: None },
            5 => {
                let (selected, hidden) = (self.random.below(2) == 0, self.random.below(2) == 0);
                CalendarAction::List { calendar: email.to_owned(), selected, hidden, name: Some("Mine".to_owned()) }
            }
            6 => CalendarAction::Unlist { calendar: other },
            7 => CalendarAction::ExpireTokens { calendar: None },
            _ => CalendarAction::ExpireTokens { calendar: Some(email.to_owned()) },
        };
        if matches!(action, CalendarAction::ExpireTokens { .. })
            && let Some(id) = self.pick(&self.events_of(email)).cloned()
        {
            // Something goes of which only a comparison can tell.
            self.plan(email, &CalendarAction::Delete { id });
        }
        let is_done = self.plan(email, &action);
        if matches!(action, CalendarAction::Share { role: Some(Role::FreeBusyReader), .. }) {
            // A year of busy times comes occurrence by occurrence: a few of them a page would make most of a play.
            self.sandbox.world(|world| match &mut world.settings.page_max {
                0 => {}
                page_max => *page_max = (*page_max).max(BUSY_PAGE_MIN),
            });
        }
        // Where nobody copies calendars, nobody has a token.
        if is_done && self.all_streams && matches!(action, CalendarAction::ExpireTokens { .. }) {
            self.count("sync tokens expired");
        }
    }

    /// The events of a person's own calendar, and the first occurrences of its series, by their ids.
    fn events_of(&self, email: &str) -> Vec<String> {
        let until = self.clock.now() + SignedDuration::from_hours(40 * 24);
        self.sandbox.world(|world| {
            let own = world.agenda.calendars.get(email);
            let there = own.into_iter().flat_map(|it| it.copies.iter()).filter(|(_, copy)| !copy.gone);
            let events = there.filter_map(|(id, _)| world.agenda.events.get(id));
            let with_slots = events.flat_map(|event| {
                let slots = event.slots(until).into_iter().take(6).map(|slot| event.at(&slot).id);
                let is_series = event.rule.is_some();
                std::iter::once(event.id.clone()).chain(slots.filter(move |_| is_series))
            });
            with_slots.collect()
        })
    }

    /// Somebody makes, moves, changes or deletes an event, a series, or one occurrence of it.
    fn change_an_event(&mut self) {
        let email = self.pick(&self.people).expect("people").email.clone();
        let other = self.pick(&self.people).expect("people").email.clone();
        let ids = self.events_of(&email);
        let day = self.clock.now() + SignedDuration::from_hours(i64::try_from(self.random.below(400)).expect("small"));
        let start = day.strftime(if self.random.below(3) == 0 { "%Y-%m-%d" } else { "%Y-%m-%dT%H:%M" }).to_string();
        let rule = *self.pick(&["", "", "FREQ=DAILY;COUNT=9", "FREQ=WEEKLY", "FREQ=MONTHLY;COUNT=3"]).expect("some");
        let entry = EventEntry {
            title: format!("An event {}", self.random.below(1_000)),
            start: start.clone(),
            rule: rule.to_owned(),
            guests: if self.random.below(2) == 0 { vec![other.clone()] } else { Vec::new() },
            ..EventEntry::default()
        };
        let id = self.pick(&ids).cloned();
        let action = match (self.random.below(13), id) {
            (0..3, _) | (_, None) => CalendarAction::Create { calendar: None, event: Box::new(entry) },
            (3 | 4, Some(id)) => CalendarAction::Delete { id },
            (5, Some(id)) => CalendarAction::Move { id, start, length: None },
            (6, Some(id)) => CalendarAction::Invite { id, email: other },
            (7, Some(id)) => CalendarAction::Uninvite { id, email: other },
            (8, Some(id)) => CalendarAction::Answer { id, answer: "accepted".to_owned() },
            (9, Some(id)) => {
                let word = *self.pick(&["private", "confidential", "default"]).expect("some");
                let visibility = Some(word.to_owned());
                CalendarAction::Edit { id, title: None, location: None, visibility, free: None, rule: None }
            }
            (10, Some(id)) => {
                // "This and what follows": the series ends early, and another one goes on in its place.
                let (series, _) = id.split_once('_').unwrap_or((&id, ""));
                let (id, rule) = (series.to_owned(), Some("FREQ=DAILY;COUNT=2".to_owned()));
                let ends = CalendarAction::Edit { id, title: None, location: None, visibility: None, free: None, rule };
                self.plan(&email, &ends);
                CalendarAction::Create { calendar: None, event: Box::new(entry) }
            }
            (_, Some(id)) => {
                let title = Some(format!("Another {}", self.random.below(1_000)));
                CalendarAction::Edit { id, title, location: None, visibility: None, free: None, rule: None }
            }
        };
        self.plan(&email, &action);
    }

    /// Somebody does something in a calendar; what isn't possible isn't done. Answers whether it was.
    fn plan(&mut self, email: &str, action: &CalendarAction) -> bool {
        let done = self.sandbox.world(|world| world.plan(email, action));
        let words = format!("{action:?}");
        self.note(format!("{email}: {} {done:?}", words.get(..60).unwrap_or(&words)));
        done.is_ok()
    }

    /// Somebody does something; what isn't possible (a draft can't be archived) isn't done.
    fn act(&mut self, email: &str, action: &MailAction) {
        let done = self.sandbox.world(|world| world.act(email, action));
        let words = format!("{action:?}");
        self.note(format!("{email}: {} {:?}", words.get(..40).unwrap_or(&words), done.map(|it| it.ids)));
    }

    fn pass_ms(&mut self, least: u64, most: u64) {
        let by = Duration::from_millis(least + self.random.below(most - least));
        self.note(format!("{by:?} pass"));
        self.advance(by);
    }

    /// The same for longer than answers take. Where the quota is counted, what is under way ends before.
    async fn pass_long_ms(&mut self, least: u64, most: u64) {
        for _ in 0..ROUNDS_MAX {
            let under_way = self.stage.stops().into_iter().find(|(.., stop)| *stop != Stop::Poll);
            match under_way.filter(|_| is_tight(self.seed)) {
                Some((id, ..)) => self.stage.decide(id, Verdict::Go),
                None => return self.pass_ms(least, most),
            }
            self.settle().await;
        }
        panic!("what is under way never ends");
    }

    fn advance(&self, by: Duration) {
        self.sandbox.clock().advance(by);
        self.clock.advance(by);
    }

    // ---- the end ----

    /// Faults stop, whoever lost the connection connects again, whoever was paused goes on.
    async fn end_of_faults(&mut self) {
        self.note("the faults stop".to_owned());
        self.count_what_struck();
        self.calm = true;
        for process in &mut self.processes {
            process.frozen = false;
        }
        self.sandbox.world(|world| {
            world.faults.clear();
            world.settings.notices.lost_percent = 0;
            world.settings.channels.lost_percent = 0;
        });
        for _ in 0..RETURNS_MAX {
            self.rest().await;
            for person in 0..self.people.len() {
                if !self.is_connected(person).await {
                    self.connect(person).await;
                }
            }
            self.connect_administrator().await;
        }
        self.rest().await;
        for person in 0..self.people.len() {
            assert!(self.is_connected(person).await, "a person can always connect");
        }
        assert!(!self.is_readers_grant_over, "an administrator can always connect");
    }

    /// Counts the rules' faults by what the false Google's log says of them: a rule that no call met is no fault.
    fn count_what_struck(&mut self) {
        let struck: Vec<&'static str> = self.sandbox.world(|world| {
            let struck = world.calls.iter().filter_map(|call| match (call.fault?, call.status) {
                ("status", 401) => Some("401"),
                ("status", 403) => Some("403"),
                ("status", 404) => Some("404"),
                ("status", 429) => Some("429"),
                ("status", 500) => Some("500"),
                ("status", 503) => Some("503"),
                // What Google refuses anyway isn't changed.
                ("twist", 200) if call.call == "directory.users.list" => {
                    Some("a page of the directory lacks its people")
                }
                ("twist", 200) => Some("entries that can't be read"),
                _ => None,
            });
            struck.collect()
        });
        for fault in struck {
            self.count(fault);
        }
    }

    /// Whoever is found to have ended their grant connects again; nobody else is found without one.
    async fn whoever_ended_returns(&mut self) {
        for person in 0..self.people.len() {
            if self.is_connected(person).await {
                continue;
            }
            let email = &self.people[person].email;
            assert!(self.ended.contains(email), "{email} has lost the connection for nothing");
            assert!(self.connect(person).await, "a person can always connect");
        }
        self.rest().await;
    }

    /// Lets everything happen, in order, until nothing is due for an hour.
    async fn rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.settle().await;
            self.tell_of_calendars().await;
            if let Some((id, ..)) = self.open_stops().first() {
                self.stage.decide(*id, Verdict::Go);
                continue;
            }
            let now = self.clock.now();
            let is_near = |due: &Timestamp| due.duration_since(now) < REST;
            let mut tx = self.store.read().await.expect("a transaction");
            let mut next = self.next_due(&mut tx, &[Stream::Mail, Stream::Directory]).await.filter(is_near);
            // Calendars are looked at now and then for ever: they rest once all of them are read to their end.
            if next.is_none() && self.all_streams && !self.unsettled_calendars(&mut tx).await.is_empty() {
                next = self.next_due(&mut tx, &[Stream::Calendar]).await.filter(is_near);
            }
            drop(tx);
            let silences = self.stage.stops().into_iter().filter_map(|(.., stop)| match stop {
                Stop::Silence(until) => Some(until),
                _ => None,
            });
            next = silences.chain(next).min();
            let notices = self.sandbox.world(|world| {
                let subscription = world.pubsub.subscriptions.get(&self.config.pubsub.subscription);
                subscription.map_or(1, |it| it.waiting_count()) + world.waiting_channel_messages()
            });
            match next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default()) {
                Some(wait) => self.advance(wait.clamp(Duration::from_millis(1), WAIT_MAX)),
                None if notices > 0 => self.advance(Duration::from_secs(5)),
                None => return,
            }
        }
        let mut tx = self.store.read().await.expect("a transaction");
        let calendars = self.unsettled_calendars(&mut tx).await;
        drop(tx);
        let mailboxes = self.mailboxes().await;
        let stops = self.stage.stops();
        panic!("nothing ever rests: {mailboxes:#?} {calendars:#?} {stops:#?}");
    }

    async fn mailboxes(&self) -> Vec<Option<mailboxes::Mailbox>> {
        let mut all = Vec::new();
        for person in &self.people {
            let mut tx = self.store.read().await.expect("a transaction");
            all.push(mailboxes::by_person(&mut tx, &person.id).await.expect("read"));
        }
        all
    }

    /// When something of these streams is due next; of the directory only what is near, because its passes never end.
    async fn next_due(&self, tx: &mut Tx, streams: &[Stream]) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut next = None;
        for stream in streams {
            let due = leases::next_due(tx, &[*stream], now).await.expect("read");
            let counts = |due: &Timestamp| *stream != Stream::Directory || due.duration_since(now) < PASS_NEAR;
            next = [next, due.filter(counts)].into_iter().flatten().min();
        }
        next
    }

    async fn unsettled_calendars(&self, tx: &mut Tx) -> Vec<String> {
        let mut unsettled = Vec::new();
        for person in &self.people {
            if let Some(agenda) = agendas::by_person(tx, &person.id).await.expect("read") {
                unsettled.extend(calendars::unsettled(tx, &agenda.id).await);
            }
        }
        unsettled
    }

    /// Time passes in small steps, and what becomes due is done.
    async fn pass_slowly(&mut self, whole: SignedDuration) {
        let until = self.clock.now() + whole;
        while self.clock.now() < until {
            let now = self.clock.now();
            let mut tx = self.store.read().await.expect("a transaction");
            let next = leases::next_due(&mut tx, &Stream::ALL, now).await.expect("read").unwrap_or(until).min(until);
            drop(tx);
            let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
            self.advance(wait.max(Duration::from_millis(1)));
            self.rest().await;
        }
    }

    /// Time passes until the directory was read once more since anything changed: nobody tells of it.
    async fn another_pass(&mut self) {
        if self.all_streams {
            self.pass_slowly(PASSED).await;
            self.compare_directory("after another pass").await;
        }
    }

    /// A week passes at once, and whatever was due meanwhile is done. Each calendar of which only busy times are seen
    /// is compared whole then.
    async fn a_week_passes(&mut self) {
        if self.all_streams {
            // An occurrence a page was read often enough until here.
            self.sandbox.world(|world| world.settings.page_max = 0);
            self.note(format!("{WEEK:?} pass"));
            self.advance(WEEK);
            self.pass_slowly(LOOKED_AT).await;
        }
    }

    /// The changes that were told of what somebody did. Google's history doesn't tell what labels are called: that is
    /// found once a day, by a sweep. Each calendar is compared whole now and then, and says so. And one of which only
    /// free and busy times can be seen comes as occurrences up to a horizon that moves: a pass each week adds what came
    /// over it since.
    async fn told(&self) -> BTreeSet<String> {
        let mut told = BTreeSet::new();
        for person in &self.people {
            let with_horizon = self.calendars_with_horizon(person).await;
            let feed = self.feed(person).await.expect("read");
            let comes_by_itself = |it: &&changes::Change| match it.kind.as_str() {
                "event.added" => it.data["calendar_id"].as_str().is_some_and(|id| with_horizon.contains(id)),
                kind => kind == "calendar.changed" || kind.starts_with("label."),
            };
            let all = feed.iter().filter(|it| !comes_by_itself(it));
            let line = |it: &changes::Change| {
                format!("{} {} {} {} {} {}", person.email, it.seq, it.at, it.kind, it.subject_id, it.data)
            };
            told.extend(all.map(line));
        }
        told
    }

    async fn calendars_with_horizon(&self, person: &Person) -> BTreeSet<String> {
        let mut tx = self.store.read().await.expect("a transaction");
        let Some(agenda) = agendas::by_person(&mut tx, &person.id).await.expect("read") else {
            return BTreeSet::new();
        };
        let all = store::calendars::of_agenda(&mut tx, &agenda.id, i64::MAX).await.expect("read");
        all.into_iter().filter(|it| it.entry.access_role == "freeBusyReader").map(|it| it.id).collect()
    }

    async fn feed(&self, person: &Person) -> Result<Vec<changes::Change>, StoreError> {
        let mut tx = self.store.read().await?;
        changes::of_person(&mut tx, &person.id, 0, i64::MAX).await
    }

    /// Promise 1: the rows, and the feed folded from its beginning, equal the world.
    async fn compare(&mut self, when: &str) {
        for person in &self.people {
            let truth = truth::of(&self.sandbox, &person.email);
            let mut tx = self.store.read().await.expect("a transaction");
            let mailbox = mailboxes::by_person(&mut tx, &person.id).await.expect("read").expect("a mailbox");
            let all = messages::page(&mut tx, &mailbox.id, None, None, i64::MAX).await.expect("read");
            let (debts, _) = debts::outlook(&mut tx, &mailbox.id).await.expect("read");
            let fills = fills::count(&mut tx, &mailbox.id).await.expect("counted");
            let coverage = coverage::of_mailbox(&mut tx, &mailbox.id).await.expect("read");
            let known = labels::list(&mut tx, &mailbox.id).await.expect("read");
            let carried = all.iter().flat_map(|it| it.labels.iter().cloned());
            let names: BTreeSet<String> = known.into_iter().map(|it| it.id).chain(carried).collect();
            for label in &names {
                let page = messages::page(&mut tx, &mailbox.id, Some(label.as_str()), None, i64::MAX);
                let page: Vec<String> = page.await.expect("read").into_iter().map(|it| it.id).collect();
                let carriers = all.iter().filter(|it| it.labels.contains(label)).map(|it| it.id.clone());
                let carriers: Vec<String> = carriers.collect();
                assert_eq!(page, carriers, "promise 1, the page of {label} of {} {when}", person.email);
            }
            drop(tx);
            let wrong = truth::difference_in_content(&all, &self.sandbox, &person.email);
            assert!(wrong.is_empty(), "promise 1, mail of {} {when}: {wrong:#?}", person.email);
            let rows: truth::Mail = all.into_iter().map(|it| (it.id, it.labels)).collect();
            let wrong = truth::difference(&rows, &truth);
            assert!(wrong.is_empty(), "promise 1, rows of {} {when}: {wrong:#?}", person.email);
            let folded = truth::folded(&self.feed(person).await.expect("read"));
            let wrong = truth::difference(&folded, &truth);
            assert!(wrong.is_empty(), "promise 1, feed of {} {when}: {wrong:#?}", person.email);
            let repaired = coverage.repaired_at.max(coverage.labels_repaired_at).is_some() && !self.google_lies;
            assert!(!repaired, "{} {when}: an audit had to repair what the engine lost", person.email);
            let rests = mailbox.state == MailboxState::Live && debts == 0 && fills == 0;
            let state = mailbox.state;
            assert!(rests, "{} {when}: {state:?}, {debts} debts, {fills} fills", person.email);
        }
    }

    /// What the labels are called, which Google's history doesn't tell.
    async fn compare_labels(&mut self, when: &str) {
        for person in &self.people {
            let truth = truth::labels(&self.sandbox, &person.email);
            let mut tx = self.store.read().await.expect("a transaction");
            let mailbox = mailboxes::by_person(&mut tx, &person.id).await.expect("read").expect("a mailbox");
            let rows = labels::list(&mut tx, &mailbox.id).await.expect("read");
            drop(tx);
            let rows: BTreeMap<String, String> = rows.into_iter().map(|it| (it.id, it.name)).collect();
            assert_eq!(rows, truth, "promise 1, labels of {} {when}", person.email);
            let folded = truth::folded_labels(&self.feed(person).await.expect("read"));
            assert_eq!(folded, truth, "promise 1, told labels of {} {when}", person.email);
        }
    }

    /// The same for calendars: rows and folded feed equal what Google shows.
    async fn compare_calendars(&mut self, when: &str, busy_times: BusyTimes) {
        if !self.all_streams {
            return;
        }
        let people = self.people.clone();
        for person in &people {
            let truth = calendars::of(&self.sandbox, &person.email).await;
            let truth = if busy_times == BusyTimes::AreWhole { truth } else { truth.before_the_weekly_pass() };
            let mut tx = self.store.read().await.expect("a transaction");
            let agenda = agendas::by_person(&mut tx, &person.id).await.expect("read").expect("an agenda");
            let rows = calendars::rows(&mut tx, &agenda.id).await;
            let details = calendars::details(&mut tx, &agenda.id).await;
            let unsettled = calendars::unsettled(&mut tx, &agenda.id).await;
            drop(tx);
            let wrong = calendars::difference(&rows, &truth);
            assert!(wrong.is_empty(), "promise 1, events of {} {when}: {wrong:#?}", person.email);
            let wrong = calendars::difference_in_detail(&details, &truth);
            assert!(wrong.is_empty(), "promise 1, what {}’s say {when}: {wrong:#?}", person.email);
            let folded = calendars::folded(&self.feed(person).await.expect("read"));
            let folded = folded.unwrap_or_else(|wrong| panic!("promise 1, {when}: {wrong}"));
            let wrong = calendars::difference(&folded, &truth);
            assert!(wrong.is_empty(), "promise 1, told events of {} {when}: {wrong:#?}", person.email);
            assert!(unsettled.is_empty(), "{} {when}: {unsettled:#?}", person.email);
        }
    }

    /// The same for the directory, once a pass was made since anything changed.
    async fn compare_directory(&mut self, when: &str) {
        let Some(reader) = self.administrator.clone() else { return };
        let truth = truth::directory(&self.sandbox, &reader.email);
        let mut tx = self.store.read().await.expect("a transaction");
        let organization = &reader.organization_id;
        let all = directory_people::search(&mut tx, organization, "", None, i64::MAX).await.expect("read");
        drop(tx);
        let rows: truth::Directory = all.iter().map(|it| (it.google_id.clone(), truth::face(it))).collect();
        assert_eq!(rows, truth, "promise 1, the directory's rows {when}");
        let folded = truth::folded_directory(&self.feed(&reader).await.expect("read"));
        assert_eq!(folded, truth, "promise 1, the directory's feed {when}");
        self.read_on().await;
        assert_eq!(self.consumer.directory(), truth, "promise 1, who read the feed all the time {when}");
        let feed = self.feed(&reader).await.expect("read");
        for person in self.people.iter().chain([&reader]) {
            let is_gone = |it: &&changes::Change| it.kind == "person.gone" && it.subject_id == person.subject;
            let gone = feed.iter().find(is_gone);
            assert!(gone.is_none(), "{} was there all the time, {when}: {gone:?}", person.email);
        }
    }

    /// Somebody reads on in the directory's feed.
    async fn read_on(&mut self) {
        let Some(reader) = self.administrator.clone() else { return };
        let mut tx = self.store.read().await.expect("a transaction");
        let feed = changes::of_person(&mut tx, &reader.id, self.consumer.read_to, i64::MAX).await.expect("read");
        drop(tx);
        self.consumer.read(&feed);
    }

    /// Promise 6 and promise 8: no canary left the false Google, and Google never refused for quota on its own.
    async fn look_for_leaks(&mut self) {
        let (calls, units, refused) = self.sandbox.world(|world| {
            let units = world.calls.iter().map(|it| u64::from(it.units)).sum();
            (world.calls.iter().count(), units, world.quota.refused.clone())
        });
        self.outcome.calls = u64::try_from(calls).unwrap_or(u64::MAX);
        self.outcome.units = units;
        assert!(refused.is_empty(), "promise 8: Google refused for quota: {refused:#?}");
        self.store.close().await;
        for entry in self.directory.path().read_dir().expect("the files") {
            let bytes = std::fs::read(entry.expect("a file").path()).expect("readable");
            let leak = bytes.windows(CANARY.len()).any(|it| it == CANARY.as_bytes());
            assert!(!leak, "promise 6: a canary is in the database");
        }
    }

    // ---- the book ----

    fn pick<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(usize::try_from(self.random.below(all.len() as u64)).expect("small"))
    }

    fn count(&mut self, fault: &'static str) {
        *self.outcome.faults.entry(fault).or_default() += 1;
    }

    fn note(&mut self, what: String) {
        let at = self.clock.now().strftime("%d %H:%M:%S%.3f");
        tracing::debug!("{at} {what}");
        self.outcome.trace.push(format!("{at} {what}"));
    }

    /// The seed and its steps, for whoever has to find out why.
    fn story(&self) -> String {
        format!("\n\nseed {}, step by step:\n{}\n", self.seed, self.outcome.trace.join("\n"))
    }
}

/// Whatever fails, be it a promise, a reader of the feed or the product itself, the seed and its steps are told.
impl Drop for Play {
    #[expect(clippy::print_stderr, reason = "a seed that fails tells how it failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
    }
}

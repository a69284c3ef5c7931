//! A whole running Intail on its own false Google, with a database of its own and a time that only the test moves.
//! Notices come through the real Pub/Sub calls, but when the test says so; the engine runs when the test says so.

use std::collections::BTreeMap;
use std::time::Duration;

use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::config::{Database, PubSubMode};
use intail::connect::{self, Callback, ConnectError, Connected, Options};
use intail::notices;
use intail::random::Random;
use intail::signin;
use intail::store::agendas::{self, Agenda};
use intail::store::calendars::Calendar;
use intail::store::changes::{self, Change};
use intail::store::leases::{self, Stream};
use intail::store::mailboxes::{self, Mailbox, MailboxState};
use intail::store::messages::{self, Message};
use intail::store::organizations;
use intail::store::people::Person;
use intail::sync::Worker;
use intail_google::oauth::scope;
use intail_google::pubsub::{Credentials, PubSub};
use intail_sandbox::access::AccessLevel;
use intail_sandbox::accounts::{IdentitySwitches, Person as Account};
use intail_sandbox::action::{Done, MailAction};
use intail_sandbox::agenda::CalendarAction;
use intail_sandbox::{Sandbox, World, WorldFile, WorldSource};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value as Json;
use tempfile::TempDir;
use url::Url;

pub(crate) use super::visit::Ticks;
use super::visit::{PRODUCT, REACHABLE};
use super::{calendars, truth, visit};

/// When every test begins: a Sunday in November.
const START: &str = "2026-11-22T09:00:00Z";
/// The cookie that stands for the test's browser at Intail.
pub(crate) const BROWSER: &str = "the-tests-browser";
/// Rounds of notices and engine before the test gives up on rest.
const ROUNDS_MAX: usize = 200;

/// How near the next pass over a directory is no rest: less than the least time between two of them.
const PASS_NEAR: jiff::SignedDuration = jiff::SignedDuration::from_mins(45);

/// The administrator and two employees of the default world.
pub(crate) const ADMIN: &str = "ada.admin@example.com";

/// A running Intail.
pub(crate) struct Running {
    pub(crate) sandbox: Sandbox,
    pub(crate) app: App,
    pub(crate) worker: Worker,
    pub(crate) pubsub: PubSub,
    clock: Clock,
    directory: TempDir,
}

/// What a running Intail stands on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// A PostgreSQL database instead of SQLite.
    pub(crate) postgres: Option<String>,
    /// How notices arrive, if they aren't pulled.
    pub(crate) mode: Option<PubSubMode>,
    /// `host:port` of another Pub/Sub for notices.
    pub(crate) outside_pubsub: Option<String>,
    /// An address that Google can reach with notices of calendars.
    pub(crate) reachable: bool,
    /// What Gmail gives the project on a day, if that isn't Google's own.
    pub(crate) gmail_day: Option<u64>,
    /// What the directory gives it on a day, as Intail's operator says.
    pub(crate) directory_day: Option<u64>,
    /// What Gmail gives the project in a minute, as Intail believes.
    pub(crate) gmail_minute: Option<u64>,
    /// What single calls to Gmail cost, as Intail's operator says, in the place of the table's prices.
    pub(crate) gmail_units: BTreeMap<String, u32>,
    /// Google tells of calendars although the address leads to this machine only, as in the demo.
    pub(crate) tells: bool,
}

impl Running {
    /// On SQLite, with everything at the false Google.
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// As the test wants it.
    pub(crate) async fn start_with(setup: Setup) -> Self {
        let start: Timestamp = START.parse().expect("a time");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let product = if setup.reachable { REACHABLE } else { PRODUCT };
        let options = intail_sandbox::Options {
            clock: intail_sandbox::Clock::manual(start),
            product_url: Some(product.to_owned()),
            world: WorldSource::File(Box::new(small_world())),
            outside_pubsub: setup.outside_pubsub.clone(),
            ..intail_sandbox::Options::new(listener)
        };
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        sandbox.world(|world| {
            world.settings.pull_wait_ms = 0;
            world.settings.channels.held = true;
        });
        let directory = tempfile::tempdir().expect("a directory");
        let (clock, random) = (Clock::owned(start), Random::seeded(1));
        let mut config = demo::configuration(&sandbox, directory.path(), product).expect("a configuration");
        // Nobody listens at the product's address here.
        config.google.calendar_notices = setup.reachable || setup.tells;
        if let Some(url) = &setup.postgres {
            config.database = Database::Postgres(SecretString::from(url.as_str()));
        }
        if let Some(units) = setup.gmail_day {
            config.quota.limits.project_day = units;
        }
        if let Some(requests) = setup.directory_day {
            config.quota.directory.project_day = requests;
        }
        if let Some(units) = setup.gmail_minute {
            config.quota.limits.project_minute = units;
        }
        config.quota.units = setup.gmail_units;
        if let Some(mode) = setup.mode {
            config.pubsub.mode = mode;
        }
        if let Some(host) = &setup.outside_pubsub {
            config.pubsub.endpoint = Url::parse(&format!("http://{host}")).expect("an address");
        }
        let app = demo::product(&sandbox, config, clock.clone(), random).await.expect("the product starts");
        let pubsub = app.google.pubsub(app.config.pubsub.endpoint.as_str(), &Credentials::anonymous());
        Self { worker: Worker::new(&app), pubsub, sandbox, app, clock, directory }
    }

    /// An employee of the default world with a mailbox.
    pub(crate) fn employee(&self) -> String {
        self.employees().0
    }

    /// Two employees of the default world with mailboxes.
    pub(crate) fn employees(&self) -> (String, String) {
        self.world(|world| {
            let fits =
                |it: &&Account| it.email.ends_with("@example.com") && it.has_mailbox && !it.is_admin && it.is_active();
            let mut found = world.identity.people.values().filter(fits);
            let mut next = || found.next().expect("the default world has employees").email.clone();
            (next(), next())
        })
    }

    /// Lets the engine copy what there is, minute by minute, without looking at notices.
    pub(crate) async fn copy_everything(&self) {
        for _ in 0..ROUNDS_MAX {
            self.worker.tick().await.expect("the engine runs");
            let mut tx = self.app.store.read().await.expect("a transaction");
            let boxes = organizations::list(&mut tx, 1).await.expect("read");
            let all = mailboxes::list(&mut tx, &boxes[0].id, i64::MAX).await.expect("read");
            drop(tx);
            if all.iter().all(|it| it.state == MailboxState::Live) {
                return;
            }
            self.pass(Duration::from_secs(20));
        }
        panic!("the backfill never ends");
    }

    /// A second product process on the same data, as after a crash or beside the first.
    pub(crate) fn another_worker(&self) -> Worker {
        Worker::new(&self.app)
    }

    /// The same, started anew by an operator who believes that Gmail gives the project so much on a day.
    pub(crate) async fn another_with_day(&self, units: u64) -> Worker {
        let mut config = self.app.config.clone();
        config.quota.limits.project_day = units;
        let app = demo::product(&self.sandbox, config, self.clock.clone(), Random::seeded(2)).await;
        Worker::new(&app.expect("the product starts"))
    }

    /// The files that the product keeps.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The administrator lets Intail in, with exactly the scopes that it asks for: people then see a box for each.
    pub(crate) fn approve(&self) {
        let scopes = scope::REQUESTED.iter().map(|it| (*it).to_owned()).collect();
        self.set_access(AccessLevel::Specific { scopes });
    }

    /// Sets Intail's access level in the Admin console.
    pub(crate) fn set_access(&self, level: AccessLevel) {
        let client = self.app.config.google.client.client_id.clone();
        self.sandbox.world(|world| world.identity.policy.configured.insert(client, level));
    }

    /// Changes the false Google.
    pub(crate) fn world<R>(&self, with: impl FnOnce(&mut World) -> R) -> R {
        self.sandbox.world(with)
    }

    /// Somebody does something in their mailbox.
    pub(crate) fn act(&self, email: &str, action: MailAction) -> Done {
        self.sandbox.world(|world| world.act(email, &action)).expect("the action is possible")
    }

    /// Time passes, on both sides at once.
    pub(crate) fn pass(&self, by: Duration) {
        self.sandbox.clock().advance(by);
        self.clock.advance(by);
    }

    /// Signs in at Intail by the real flow.
    pub(crate) async fn sign_in(&self, email: &str) -> Person {
        let url = signin::begin(&self.app, BROWSER, "/", Some(email)).await.expect("it begins");
        let answer = self.visit(email, url, Ticks::All).await.expect("Google sends the person back");
        let callback: signin::Callback = read(&answer);
        signin::finish(&self.app, BROWSER, callback).await.expect("signed in").person
    }

    /// Connects by the real flow: Intail's link, Google's pages, the callback.
    pub(crate) async fn connect(&self, person: &Person, ticks: Ticks<'_>) -> Result<Connected, ConnectError> {
        self.connect_as(person, &person.email, ticks, Options::default()).await
    }

    /// Connects with a Google account of the test's choice.
    pub(crate) async fn connect_as(
        &self,
        person: &Person,
        account: &str,
        ticks: Ticks<'_>,
        options: Options,
    ) -> Result<Connected, ConnectError> {
        let url = connect::begin(&self.app, person, BROWSER, options).await?;
        let answer = self.visit(account, url, ticks).await.expect("Google sends the person back");
        connect::finish(&self.app, Some(person), BROWSER, read::<Callback>(&answer)).await
    }

    /// Signs in, connects with every permission and waits until everything is copied.
    pub(crate) async fn connected(&self, email: &str) -> Person {
        let person = self.sign_in(email).await;
        self.connect(&person, Ticks::All).await.expect("connected");
        self.settle().await;
        person
    }

    /// Walks Google's pages as a person does; answers the callback's address, or nothing if Google kept the person.
    pub(crate) async fn visit(&self, email: &str, url: Url, ticks: Ticks<'_>) -> Option<Url> {
        visit::walk(&self.sandbox, email, url, ticks).await
    }

    /// Hands over the notices that wait, through real pulls and acknowledgements.
    pub(crate) async fn take_notices(&self) -> usize {
        let subscription = &self.app.config.pubsub.subscription;
        let batch = self.pubsub.pull(subscription, 100).await.expect("pulled");
        notices::take(&self.app, batch.iter().map(|it| it.data.as_slice())).await.expect("taken");
        let ids: Vec<String> = batch.iter().map(|it| it.ack_id.clone()).collect();
        if !ids.is_empty() {
            self.pubsub.acknowledge(subscription, &ids).await.expect("acknowledged");
        }
        batch.len()
    }

    /// Hands over notices and lets the engine work until nothing is due now. No time passes.
    pub(crate) async fn work(&self) {
        for _ in 0..ROUNDS_MAX {
            let notices = self.take_notices().await;
            let next = self.worker.tick().await.expect("the engine runs");
            if notices == 0 && next.is_none_or(|next| next > self.clock.now()) {
                return;
            }
        }
        panic!("the engine never rests");
    }

    /// Lets work be done and time pass until every mailbox is live and rests for at least an hour: budgets, trailing
    /// looks, probes and retries have all run out. A directory that an administrator's grant reads never rests for an
    /// hour: that its next pass is far away is enough. Nor do calendars of which Google tells nothing: see
    /// [`Running::settle_calendars`].
    pub(crate) async fn settle(&self) {
        for _ in 0..ROUNDS_MAX {
            self.work().await;
            let mut tx = self.app.store.read().await.expect("a transaction");
            let now = self.clock.now();
            let mut next = None;
            for stream in [Stream::Mail, Stream::Directory] {
                let due = leases::next_due(&mut tx, &[stream], now).await.expect("read");
                let counts = |due: &Timestamp| stream != Stream::Directory || due.duration_since(now) < PASS_NEAR;
                next = [next, due.filter(counts)].into_iter().flatten().min();
            }
            drop(tx);
            match next {
                Some(next) if next.duration_since(now) < jiff::SignedDuration::from_hours(1) => {
                    let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                    self.pass(wait.max(Duration::from_millis(1)));
                }
                _ => return,
            }
        }
        panic!("the mailboxes never rest");
    }

    /// Lets work be done and time pass until every calendar of a person is read to its end.
    pub(crate) async fn settle_calendars(&self, person: &Person) {
        for _ in 0..ROUNDS_MAX {
            self.work().await;
            let agenda = self.agenda(person).await;
            let mut tx = self.app.store.read().await.expect("a transaction");
            if agenda.listed_at.is_some() && calendars::unsettled(&mut tx, &agenda.id).await.is_empty() {
                return;
            }
            drop(tx);
            self.pass(Duration::from_secs(20));
        }
        panic!("the calendars never rest");
    }

    /// Hands over the notices of calendars that Google sends now; answers how many there were.
    pub(crate) async fn take_calendar_notices(&self) -> usize {
        let told = self.world(World::take_channel_messages);
        for (channel, token, state) in &told {
            let notice = notices::channels::Notice { channel, token, state };
            assert!(notices::channels::take(&self.app, notice).await.expect("marked"), "a channel of ours");
        }
        told.len()
    }

    /// A person's agenda.
    pub(crate) async fn agenda(&self, person: &Person) -> Agenda {
        let mut tx = self.app.store.read().await.expect("a transaction");
        agendas::by_person(&mut tx, &person.id).await.expect("read").expect("there is one")
    }

    /// A person's calendars.
    pub(crate) async fn calendars(&self, person: &Person) -> Vec<Calendar> {
        let agenda = self.agenda(person).await;
        let mut tx = self.app.store.read().await.expect("a transaction");
        intail::store::calendars::of_agenda(&mut tx, &agenda.id, i64::MAX).await.expect("read")
    }

    /// Somebody does something in their calendars; answers the id of what it was about.
    pub(crate) fn plan(&self, email: &str, action: Json) -> String {
        let action: CalendarAction = serde_json::from_value(action).expect("an action");
        self.world(|world| world.plan(email, &action)).expect("the action is possible")
    }

    /// Promise 1 for calendars: the rows equal what Google shows, and so does the feed folded from its beginning.
    pub(crate) async fn assert_no_appointment_is_lost(&self, person: &Person) {
        let truth = calendars::of(&self.sandbox, &person.email).await;
        let agenda = self.agenda(person).await;
        let mut tx = self.app.store.read().await.expect("a transaction");
        let rows = calendars::rows(&mut tx, &agenda.id).await;
        drop(tx);
        assert_eq!(calendars::difference(&rows, &truth), Vec::<String>::new(), "rows against Google's state");
        let folded = calendars::folded(&self.feed(person).await).expect("a feed that can be followed");
        assert_eq!(calendars::difference(&folded, &truth), Vec::<String>::new(), "the folded feed");
    }

    /// A person's mailbox.
    pub(crate) async fn mailbox(&self, person: &Person) -> Mailbox {
        let mut tx = self.app.store.read().await.expect("a transaction");
        mailboxes::by_person(&mut tx, &person.id).await.expect("read").expect("there is one")
    }

    /// What is stored of a person's mail, by id.
    pub(crate) async fn stored(&self, person: &Person) -> BTreeMap<String, Message> {
        let mailbox = self.mailbox(person).await;
        let mut tx = self.app.store.read().await.expect("a transaction");
        let all = messages::page(&mut tx, &mailbox.id, None, None, i64::MAX).await.expect("read");
        all.into_iter().map(|it| (it.id.clone(), it)).collect()
    }

    /// A person's feed from its beginning.
    pub(crate) async fn feed(&self, person: &Person) -> Vec<Change> {
        let mut tx = self.app.store.read().await.expect("a transaction");
        changes::of_person(&mut tx, &person.id, 0, i64::MAX).await.expect("read")
    }

    /// Promise 1: the rows equal Google's state, and so does the feed folded from its beginning.
    pub(crate) async fn assert_nothing_is_lost(&self, person: &Person) {
        let truth = self.truth(&person.email);
        let rows: BTreeMap<String, Vec<String>> =
            self.stored(person).await.into_iter().map(|(id, it)| (id, it.labels)).collect();
        assert_eq!(truth::difference(&rows, &truth), Vec::<String>::new(), "rows against Google's state");
        let folded = truth::folded(&self.feed(person).await);
        assert_eq!(truth::difference(&folded, &truth), Vec::<String>::new(), "the folded feed against Google's state");
    }

    /// What Google has of a person's mail.
    pub(crate) fn truth(&self, email: &str) -> truth::Mail {
        truth::of(&self.sandbox, email)
    }

    /// How often the false Google was asked something.
    pub(crate) fn calls(&self, call: &str) -> usize {
        self.world(|world| world.calls.count(call))
    }

    /// Switches of the false Google's sign-in.
    pub(crate) fn switch(&self, with: impl FnOnce(&mut IdentitySwitches)) {
        self.world(|world| with(&mut world.identity.switches));
    }
}

/// So many invented letters arrive.
pub(crate) fn receive(count: u32) -> MailAction {
    MailAction::Receive {
        from: None,
        compose: None,
        headers: None,
        label_ids: None,
        thread_id: None,
        internal_date_ms: None,
        count,
    }
}

/// The default world with less mail, so that a test's backfill is short.
fn small_world() -> WorldFile {
    let text = include_str!("../../../../sandbox/worlds/default.toml");
    WorldFile::parse(&text.replace("mail_per_person = 320", "mail_per_person = 90")).expect("the default world")
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(callback: &Url) -> T {
    let pairs: BTreeMap<String, String> = callback.query_pairs().into_owned().collect();
    serde_json::from_value(serde_json::to_value(pairs).expect("text")).expect("a callback")
}

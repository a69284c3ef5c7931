//! The command line as people use it, in this process: what is printed, which files are made, and what an error says.

use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use futures::StreamExt as _;
use futures::future::join;
use futures::stream;
use intail::cli::{self, Arguments, CliError, Outcome, Surroundings};
use intail::clock::Clock;
use intail::id::PersonId;
use intail::random::Random;
use intail::store::people::{self, Person, Role};
use intail::store::quota::{self, DayLimit, Hold};
use intail::store::{Store, organizations};
use intail_sandbox::faults::Rule;
use intail_sandbox::{Options, Sandbox};
use jiff::SignedDuration;
use tokio::sync::{mpsc, oneshot};

/// Output that a test can read while the command runs.
#[derive(Clone, Default)]
pub(crate) struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    flushed: Option<mpsc::UnboundedSender<()>>,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.text.lock().expect("unpoisoned").clone()).expect("text")
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.lock().expect("unpoisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(flushed) = &self.flushed {
            let _ = flushed.send(());
        }
        Ok(())
    }
}

/// Each command has its own randomness: what one makes differs from what the next makes.
static SEED: AtomicU64 = AtomicU64::new(1);

pub(crate) fn surroundings(directory: &Path, output: &Output) -> Surroundings {
    Surroundings {
        environment: Vec::new(),
        working_directory: directory.to_owned(),
        clock: Clock::machine(),
        random: Random::seeded(SEED.fetch_add(1, Ordering::Relaxed)),
        output: Box::new(output.clone()),
        stop: stream::pending().boxed(),
    }
}

/// Runs a command to its end; `line` is split at spaces.
pub(crate) async fn run(directory: &Path, line: &str) -> Result<(Outcome, String), CliError> {
    let output = Output::default();
    let arguments = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    let outcome = cli::run(arguments, surroundings(directory, &output)).await?;
    Ok((outcome, output.text()))
}

/// An error as people see it, without the folder of the test.
pub(crate) fn shown(error: &CliError, directory: &Path) -> String {
    let hints = error.hints().iter().map(|hint| format!("\nhint: {hint}"));
    let text = format!("error: {error}{}", hints.collect::<String>());
    text.replace(&directory.display().to_string(), "DIR")
}

/// Runs a command that serves: hands what it printed to `visit` once it is ready, and stops it when `visit` has ended.
async fn serving<R>(directory: &Path, line: &str, visit: impl AsyncFnOnce(&str) -> R) -> R {
    let (flushed, mut ready) = mpsc::unbounded_channel();
    let output = Output { flushed: Some(flushed), ..Output::default() };
    let (stop, stopped) = oneshot::channel::<()>();
    let arguments = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    let surroundings = Surroundings {
        stop: stream::once(async { _ = stopped.await }).chain(stream::pending()).boxed(),
        ..surroundings(directory, &output)
    };
    let mut running = pin!(cli::run(arguments, surroundings));
    tokio::select! {
        ended = &mut running => panic!("{line} ended: {ended:?}"),
        _ = ready.recv() => {}
    }
    let visited = async {
        let seen = visit(&output.text()).await;
        let _ = stop.send(());
        seen
    };
    let (ended, seen) = join(running, visited).await;
    assert_eq!(ended.unwrap_or_else(|error| panic!("{error}")), Outcome::Done);
    seen
}

/// The first address in a text that stands after `word`.
fn address(text: &str, word: &str) -> String {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}"));
    rest.split_whitespace().next().expect("an address").to_owned()
}

async fn get(address: &str) -> (u16, String) {
    #[expect(clippy::disallowed_methods, reason = "a plain look from outside")]
    let answer = reqwest::get(address).await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn the_list_of_calls() {
    let directory = tempfile::tempdir().expect("a folder");
    let (_, text) = run(directory.path(), "intail calls").await.expect("printed");
    insta::assert_snapshot!(text);
    let (_, json) = run(directory.path(), "intail calls --json").await.expect("printed");
    let calls: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    assert_eq!(calls.len(), intail_google::CALLS.len());
}

#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_told_at_once() {
    let directory = tempfile::tempdir().expect("a folder");
    let wrong = "[server]\npublic_ulr = \"x\"\n[google]\nclient_id = 7\n[pubsub]\nmode = \"poll\"\n";
    std::fs::write(directory.path().join("intail.toml"), wrong).expect("written");
    let error = run(directory.path(), "intail config check --config intail.toml").await.expect_err("it is wrong");
    assert_eq!(error.code(), 2);
    insta::assert_snapshot!(shown(&error, directory.path()));
    let same = run(directory.path(), "intail serve --config intail.toml").await.expect_err("it is wrong");
    assert_eq!(shown(&same, directory.path()), shown(&error, directory.path()));
    let missing = run(directory.path(), "intail config check --config other.toml").await.expect_err("it isn't there");
    assert!(shown(&missing, directory.path()).contains("DIR/other.toml"), "{missing}");
}

/// A configuration on a false Google.
fn configure(directory: &Path, sandbox: &Sandbox) {
    let url = sandbox.url();
    let endpoint = |(name, path): (&str, &str)| format!("{name} = \"{url}{path}\"\n");
    let endpoints: String = [
        ("issuer", ""),
        ("authorize", "/o/oauth2/v2/auth"),
        ("token", "/token"),
        ("revoke", "/revoke"),
        ("userinfo", "/v1/userinfo"),
        ("jwks", "/oauth2/v3/certs"),
        ("gmail", ""),
        ("calendar", ""),
        ("directory", ""),
        ("pubsub", ""),
        ("discovery", "/.well-known/openid-configuration"),
    ]
    .map(endpoint)
    .concat();
    let client = sandbox.world(|world| {
        let mut clients = world.identity.clients.values();
        clients.find(|it| it.redirect_uris.iter().any(|uri| uri.ends_with("/connect/google/callback"))).cloned()
    });
    let client = client.expect("the default world has it");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://127.0.0.1:8080\"\n[google]\nclient_id = \"{}\"\n\
         client_secret = \"{}\"\nproject = \"{}\"\n[pubsub]\ntopic = \"mail\"\nsubscription = \"mail\"\n\
         [google.endpoints]\n{endpoints}",
        client.client_id, client.client_secret, client.project
    );
    std::fs::write(directory.join("intail.toml"), text).expect("written");
}

async fn sandbox() -> Sandbox {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Sandbox::start(Options::new(listener)).await.expect("it starts")
}

#[tokio::test]
async fn the_doctor_finds_and_mends() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a folder"), sandbox().await);
    configure(directory.path(), &sandbox);
    let plain = |text: &str| {
        let text = text.replace(&directory.path().display().to_string(), "DIR");
        text.replace(sandbox.url(), "SANDBOX")
    };
    let (outcome, text) = run(directory.path(), "intail doctor --config intail.toml").await.expect("it looked");
    assert_eq!(outcome, Outcome::Problems);
    insta::assert_snapshot!("doctor_before", plain(&text));
    assert!(!directory.path().join("intail.db").exists(), "the doctor makes nothing by itself");
    let (outcome, text) = run(directory.path(), "intail doctor --config intail.toml --fix").await.expect("it mended");
    insta::assert_snapshot!("doctor_fixing", plain(&text));
    assert_eq!(outcome, Outcome::Done);
    run(directory.path(), "intail migrate --config intail.toml").await.expect("a database");
    let (outcome, json) = run(directory.path(), "intail doctor --config intail.toml --json").await.expect("it looked");
    assert_eq!(outcome, Outcome::Done, "{json}");
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    assert!(findings.iter().all(|it| it["state"] == "ok" && it["remedy"].is_null()), "{json}");
}

#[tokio::test]
async fn the_doctor_says_when_nothing_proves_the_way_of_notices() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a folder"), sandbox().await);
    configure(directory.path(), &sandbox);
    run(directory.path(), "intail doctor --config intail.toml --fix").await.expect("it mended");
    sandbox.world(|world| world.faults.add(Rule::status("pubsub.publish", 403)));
    let (outcome, text) = run(directory.path(), "intail doctor --config intail.toml").await.expect("it looked");
    assert_eq!(outcome, Outcome::Problems);
    let problems: Vec<&str> = text.lines().filter(|it| it.starts_with("problem")).collect();
    assert!(matches!(&problems[..], [only] if only.contains("heartbeat")), "{text}");
    let remedy = "Give Intail's service account roles/pubsub.publisher on projects/intail-demo/topics/mail.";
    assert!(text.contains(remedy), "{text}");
}

#[tokio::test]
async fn the_doctor_names_a_wrong_secret_and_a_lost_key() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a folder"), sandbox().await);
    configure(directory.path(), &sandbox);
    let file = directory.path().join("intail.toml");
    serving_app(directory.path()).await;
    std::fs::remove_file(directory.path().join("intail.key")).expect("the key was made");
    let text = std::fs::read_to_string(&file).expect("text");
    std::fs::write(&file, text.replace("GOCSPX-", "GOCSPX-not-")).expect("written");
    let (_, json) = run(directory.path(), "intail doctor --config intail.toml --json").await.expect("it looked");
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    let state = |check: &str| findings.iter().find(|it| it["check"] == check).map(|it| it["state"].clone());
    assert_eq!(state("database"), Some("ok".into()), "{json}");
    assert_eq!(state("key file"), Some("problem".into()), "{json}");
    assert_eq!(state("Google client"), Some("problem".into()), "{json}");
    assert!(!json.contains("GOCSPX"), "no secret is printed");
}

/// Starts and ends the product once, so that its files are there.
async fn serving_app(directory: &Path) {
    let environment = Vec::<(String, String)>::new();
    let config = intail::config::Config::load(Some(Path::new("intail.toml")), environment, directory).expect("right");
    let app = cli::assemble(config, Clock::machine(), Random::seeded(2)).await.expect("it starts");
    app.store.close().await;
}

#[tokio::test]
async fn organizations_and_people() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a folder"), sandbox().await);
    configure(directory.path(), &sandbox);
    let run = async |line: &str| run(directory.path(), line).await;
    let (_, text) = run("intail org list --config intail.toml").await.expect("listed");
    assert_eq!(text, "There is no organization yet. `intail org add` adds one.\n");
    let add = "intail org add --config intail.toml --name Example --domain Example.com --domain example.org";
    let (_, text) = run(add).await.expect("added");
    assert!(text.ends_with("with example.com, example.org.\n"), "{text}");
    let error = run("intail org add --config intail.toml --name Other --domain example.org").await.expect_err("taken");
    assert_eq!(error.to_string(), "The domain example.org belongs to Example already.");
    let (_, text) = run("intail org list --config intail.toml").await.expect("listed");
    assert!(text.contains("Example  example.com, example.org  unknown"), "{text}");
    assert!(!text.contains("Other"), "what failed left nothing: {text}");
    let (_, text) = run("intail people list --config intail.toml").await.expect("listed");
    assert_eq!(text, "Nobody has signed in yet.\n");
    let error = run("intail people set-role --config intail.toml x@y.z auditor").await.expect_err("nobody");
    assert_eq!(error.to_string(), "Nobody here is called x@y.z.");
    let wrong = Arguments::try_parse_from(["intail", "people", "set-role", "x@y.z", "boss"]).expect_err("no role");
    assert!(wrong.to_string().contains("member, administrator or auditor"), "{wrong}");
}

#[tokio::test]
async fn a_role_is_changed_by_address() {
    let directory = tempfile::tempdir().expect("a folder");
    let line = "intail demo --listen 127.0.0.1:0 --sandbox-listen 127.0.0.1:0 --data .";
    serving(directory.path(), line, async |_| ()).await;
    let config = "[google]\nclient_id = \"a\"\nclient_secret = \"b\"\nproject = \"intail-demo\"\n";
    std::fs::write(directory.path().join("intail.toml"), config).expect("written");
    let run = async |line: &str| run(directory.path(), line).await;
    let set = "intail people set-role --config intail.toml";
    let last = run(&format!("{set} ada.admin@example.com auditor")).await.expect_err("the last administrator");
    assert_eq!(last.to_string(), "ada.admin@example.com is the only administrator of their organization.");
    add_person(directory.path(), "bo@example.com").await;
    let (_, text) = run(&format!("{set} bo@example.com administrator")).await.expect("changed");
    assert_eq!(text, "bo@example.com is administrator now (before: member).\n");
    let (_, text) = run(&format!("{set} ADA.admin@example.com auditor")).await.expect("changed");
    assert_eq!(text, "ada.admin@example.com is auditor now (before: administrator).\n");
    let (_, text) = run("intail people list --config intail.toml").await.expect("listed");
    assert!(text.contains("auditor"), "{text}");
}

/// Adds a member to the one organization of a demo.
async fn add_person(directory: &Path, email: &str) {
    let url = format!("sqlite:{}", directory.join("intail.db").display());
    let store = Store::open(&url).await.expect("the store opens");
    let mut tx = store.write().await.expect("a transaction");
    let organization = organizations::list(&mut tx, 1).await.expect("read").remove(0);
    let person = Person {
        id: PersonId::new(&Random::seeded(99)),
        organization_id: organization.id,
        issuer: "https://issuer.example".to_owned(),
        subject: email.to_owned(),
        email: email.to_owned(),
        name: email.to_owned(),
        role: Role::Member,
    };
    people::create(&mut tx, &person, "2026-11-22T09:00:00Z".parse().expect("a time")).await.expect("created");
    tx.commit().await.expect("committed");
    store.close().await;
}

#[tokio::test]
async fn domains_and_names_of_an_organization_change_by_command() {
    let directory = tempfile::tempdir().expect("a folder");
    let config = "[google]\nclient_id = \"a\"\nclient_secret = \"b\"\nproject = \"intail-demo\"\n";
    std::fs::write(directory.path().join("intail.toml"), config).expect("written");
    let run = async |line: &str| run(directory.path(), line).await;
    let org = |command: &str, rest: &str| format!("intail org {command} --config intail.toml {rest}");
    run(&org("add", "--name Example --domain example.com")).await.expect("added");
    run(&org("add", "--name Other --domain other.example")).await.expect("added");
    let (_, text) = run(&org("add-domain", "Example example.org")).await.expect("added");
    assert_eq!(text, "example.org belongs to Example now.\n");
    let taken = run(&org("add-domain", "other.example example.org")).await.expect_err("taken");
    assert_eq!(taken.to_string(), "The domain example.org belongs to Example already.");
    let (_, text) = run(&org("remove-domain", "example.com example.org")).await.expect("removed");
    assert!(text.starts_with("example.org is no domain of Example any more."), "{text}");
    let last = run(&org("remove-domain", "Example example.com")).await.expect_err("the last");
    assert_eq!(last.to_string(), "example.com is the only domain of Example.");
    let none = run(&org("remove-domain", "Example other.example")).await.expect_err("another's");
    assert_eq!(none.to_string(), "other.example is no domain of Example.");
    let (_, text) = run(&org("rename", "example.com Renamed")).await.expect("renamed");
    assert_eq!(text, "Example is called Renamed now.\n");
    let unknown = run(&org("rename", "Example Again")).await.expect_err("nobody is called so");
    assert_eq!(unknown.to_string(), "No organization here is called Example.");
    let look_alike = Arguments::try_parse_from(["intail", "org", "add-domain", "x", "ex\u{430}mple.com"]);
    assert!(look_alike.expect_err("another script").to_string().contains("write it as xn--"), "its DNS form is told");
    let (_, text) = run("intail org list --config intail.toml").await.expect("listed");
    assert!(text.contains("Renamed  example.com") && !text.contains("example.org"), "{text}");
}

#[tokio::test]
async fn the_operator_invites_and_makes_links() {
    let directory = tempfile::tempdir().expect("a folder");
    let config = "[google]\nclient_id = \"a\"\nclient_secret = \"b\"\nproject = \"intail-demo\"\n";
    std::fs::write(directory.path().join("intail.toml"), config).expect("written");
    let run = async |line: &str| run(directory.path(), line).await;
    let people = |command: &str, rest: &str| format!("intail people {command} --config intail.toml {rest}");
    run("intail org add --config intail.toml --name Example --domain example.com").await.expect("added");
    let (_, text) = run(&people("link", "First@example.com")).await.expect("made");
    assert!(text.starts_with("This link signs in First@example.com, the first administrator of Example."), "{text}");
    assert!(text.contains("/signin/link?token="), "{text}");
    let nobody = run(&people("link", "first@other.example")).await.expect_err("no organization");
    assert_eq!(nobody.to_string(), "No organization here owns other.example.");
    let (_, text) =
        run(&people("invite", "audit@firm.example --role auditor --organization Example")).await.expect("ok");
    assert!(text.starts_with("audit@firm.example may join Example as auditor until "), "{text}");
    let wrong = run(&people("invite", "nonsense --organization Example")).await.expect_err("no address");
    assert_eq!(wrong.to_string(), "nonsense is no e-mail address.");
    add_person(directory.path(), "bo@example.com").await;
    let (_, text) = run(&people("link", "bo@example.com")).await.expect("made");
    assert!(text.starts_with("This link signs in bo@example.com. It works once, for 15 minutes"), "{text}");
    let (_, text) = run(&people("link", "first@example.com")).await.expect("nobody administers yet");
    assert!(text.starts_with("This link signs in first@example.com, the first administrator of Example."), "{text}");
    run(&people("set-role", "bo@example.com administrator")).await.expect("changed");
    let late = run(&people("link", "first@example.com")).await.expect_err("somebody administers");
    assert_eq!(late.to_string(), "Nobody in Example is called first@example.com.");
    let here = run(&people("invite", "BO@example.com")).await.expect_err("they are here");
    assert_eq!(here.to_string(), "BO@example.com is in Example already.");
}

#[tokio::test]
async fn the_demo_starts_goes_on_and_starts_over() {
    let directory = tempfile::tempdir().expect("a folder");
    let line = "intail demo --listen 127.0.0.1:0 --sandbox-listen 127.0.0.1:0";
    let tour = serving(directory.path(), line, async |tour| {
        let (status, _) = get(&address(tour, "Intail         ")).await;
        assert_eq!(status, 200);
        let (status, page) = get(&format!("{}/accounts", address(tour, "False Google   "))).await;
        assert_eq!(status, 200, "{page}");
        tour.to_owned()
    })
    .await;
    let plain = tour.replace(&address(&tour, "Intail         "), "INTAIL");
    insta::assert_snapshot!(plain.replace(&address(&tour, "False Google   "), "GOOGLE"));
    let data = directory.path().join("intail-data");
    std::fs::write(data.join("notes.txt"), "mine").expect("written");
    let key = std::fs::read(data.join("intail.key")).expect("it was made");
    serving(directory.path(), line, async |_| ()).await;
    assert_eq!(std::fs::read(data.join("intail.key")).expect("it stays"), key);
    serving(directory.path(), &format!("{line} --fresh"), async |_| ()).await;
    assert_ne!(std::fs::read(data.join("intail.key")).expect("a new one"), key);
    assert!(data.join("notes.txt").exists(), "only the demo's own files go");
}

#[tokio::test]
async fn a_taken_port_and_an_open_address_are_refused_in_words() {
    let directory = tempfile::tempdir().expect("a folder");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address");
    for (line, hint) in [
        (format!("intail demo --listen {address} --sandbox-listen 127.0.0.1:0"), "--listen"),
        (format!("intail demo --listen 127.0.0.1:0 --sandbox-listen {address}"), "--sandbox-listen"),
        (format!("intail simulate --listen {address}"), "--listen"),
    ] {
        let error = run(directory.path(), &line).await.expect_err("the port is taken");
        assert_eq!(error.to_string(), format!("Another program already listens on {address}."));
        assert_eq!(error.hints(), [format!("Choose another address with {hint}.")]);
    }
    let error = run(directory.path(), "intail demo --listen 0.0.0.0:0").await.expect_err("open to all");
    assert!(error.to_string().starts_with("The demo asks nobody for a password"), "{error}");
    assert!(!directory.path().join("intail-data").exists(), "nothing was made");
}

#[tokio::test]
async fn the_false_google_alone() {
    let directory = tempfile::tempdir().expect("a folder");
    serving(directory.path(), "intail simulate --listen 127.0.0.1:0 --script day", async |text| {
        let (status, document) = get(&format!("{}/.well-known/openid-configuration", address(text, "runs at "))).await;
        assert_eq!(status, 200, "{document}");
    })
    .await;
    std::fs::write(directory.path().join("world.toml"), "people = 7").expect("written");
    let error = run(directory.path(), "intail simulate --listen 127.0.0.1:0 --world world.toml").await;
    let error = shown(&error.expect_err("not a world"), directory.path());
    assert!(error.starts_with("error: The world file DIR/world.toml"), "{error}");
}

#[tokio::test]
async fn an_organization_is_removed_by_its_name_and_the_receipt_is_printed_again() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a folder"), sandbox().await);
    configure(directory.path(), &sandbox);
    let run = async |line: &str| run(directory.path(), line).await;
    let (_, added) =
        run("intail org add --config intail.toml --name Example --domain example.com").await.expect("added");
    let id = added.split(['(', ')']).nth(1).expect("an id").to_owned();
    let remove =
        |id: &str, name: &str| format!("intail org remove --config intail.toml --organization {id} --confirm {name}");
    let error = run(&remove(&id, "Exampel")).await.expect_err("another name");
    assert_eq!(error.to_string(), format!("{id} is called Example, not Exampel. Nothing was done."));
    for unknown in ["org_0000000000000000", "nonsense"] {
        let error = run(&remove(unknown, "Example")).await.expect_err("unknown");
        assert_eq!(error.to_string(), format!("There is no organization {unknown}."));
    }
    let (outcome, receipt) = run(&remove(&id, "Example")).await.expect("removed");
    assert_eq!(outcome, Outcome::Done);
    let document: serde_json::Value = serde_json::from_str(&receipt).expect("JSON");
    let text = |key: &str| document[key].as_str().expect("text").to_owned();
    assert!(intail::signing::is_signed(&text("public_key"), &text("statement"), &text("signature")), "{receipt}");
    assert!(text("statement").contains("\"organization.removed\"") && !receipt.contains("example.com"), "{receipt}");
    let (_, list) = run("intail org list --config intail.toml").await.expect("listed");
    assert!(list.starts_with("There is no organization"), "{list}");
    let (_, again) = run(&remove(&id, "Example")).await.expect("printed again");
    assert_eq!(again, receipt);
}

#[tokio::test]
async fn the_doctor_tells_of_a_day_that_google_refused_and_lifts_it() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a folder"), sandbox().await);
    configure(directory.path(), &sandbox);
    run(directory.path(), "intail doctor --config intail.toml --fix").await.expect("it mended");
    serving_app(directory.path()).await;
    let url = format!("sqlite:{}", directory.path().join("intail.db").display());
    let (store, now) = (Store::open(&url).await.expect("the store opens"), Clock::machine().now());
    let hours = |hours| now + SignedDuration::from_hours(hours);
    let day = Some(DayLimit { units: 7_000_000, until: hours(24) });
    let mut tx = store.write().await.expect("a transaction");
    quota::hold(&mut tx, "gmail", Hold { until: hours(-1), correction: None, day }).await.expect("held");
    tx.commit().await.expect("committed");
    let (outcome, text) = run(directory.path(), "intail doctor --config intail.toml").await.expect("it looked");
    assert_eq!(outcome, Outcome::Problems, "{text}");
    assert!(text.contains("Google refused the day at 7000000 of gmail"), "{text}");
    let (_, text) = run(directory.path(), "intail doctor --config intail.toml --fix").await.expect("it mended");
    assert!(text.contains("The configured limit of a day counts again (gmail)."), "{text}");
    let (outcome, text) = run(directory.path(), "intail doctor --config intail.toml").await.expect("it looked");
    assert_eq!(outcome, Outcome::Done, "{text}");
}

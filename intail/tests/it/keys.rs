//! Promise 9: secrets are sealed, and the key is rotated while Intail runs. Nothing is lost by it: not when a token is
//! refreshed at the same moment, not by a crash, not by two who rotate at once, not where a machine lacks the new key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use intail::cli::{self, Arguments, CliError, Outcome, Surroundings};
use intail::clock::Clock;
use intail::id::{GrantId, ReceiptId};
use intail::org::privacy as policy;
use intail::random::Random;
use intail::seal::{Keyring, SealError, rotation};
use intail::signing::Signer;
use intail::store::audit::{self, Filter};
use intail::store::leavings::{self, CallSums, Cause, Leaving, LeavingStep, Revocation};
use intail::store::messages::SubjectForm;
use intail::store::privacy::Policy;
use intail::store::processes::{self, Process};
use intail::store::sealed::{self, PLACES};
use intail::store::{Store, grants, key_proofs};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use crate::cli::{Output, run, shown, surroundings};
use crate::harness::program::Program;
use crate::harness::running::{Running, Setup};
use crate::harness::written::written;
use crate::kills;

macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $test() { super::$test(None).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $test() {
                super::$test(Some(crate::harness::postgres::database().await)).await;
            })*
        }
    };
}

on_both_databases!(
    every_secret_is_sealed_under_the_new_key_and_nothing_else_changes,
    a_rotation_goes_on_where_it_broke_off,
    a_key_is_used_once_every_process_holds_it,
    a_token_that_was_refreshed_meanwhile_stays,
    promise_9_keys_are_rotated_while_processes_work_and_die,
);

/// A running Intail with a person connected, and its configuration in a file.
struct Scene {
    running: Running,
}

impl Scene {
    async fn start(postgres: Option<String>) -> Self {
        let running = Running::start_with(Setup { postgres: postgres.clone(), ..Setup::default() }).await;
        running.approve();
        let directory = running.directory();
        let url = postgres.unwrap_or_else(|| format!("sqlite:{}", directory.join("intail.db").display()));
        let text = written(&running.sandbox, &running.app.config, &url, "");
        std::fs::write(directory.join("intail.toml"), text).expect("written");
        Self { running }
    }

    /// Seals a text in every place where there can be one.
    async fn seal_everywhere(&self) {
        let app = &self.running.app;
        let person = self.running.connected(&self.running.employee()).await;
        // An attempt that nobody comes back from.
        intail::connect::begin(app, &person, "a-browser", intail::connect::Options::default()).await.expect("begun");
        Signer::open(&app.store, &app.keyring, &app.random, app.clock.now()).await.expect("a signer");
        let mut tx = app.store.write().await.expect("a transaction");
        let hashed = Policy { subject: SubjectForm::Hashed, ..Policy::default() };
        policy::choose(&mut tx, &person, &hashed, &app.keyring, &app.random, app.clock.now()).await.expect("chosen");
        let grant = GrantId::new(&app.random);
        let seal =
            |secret: &str, row: String| app.keyring.seal_text(&SecretString::from(secret), &row).expect("sealed");
        let leaving = Leaving {
            id: ReceiptId::new(&app.random),
            organization_id: person.organization_id.clone(),
            person_id: None,
            refresh_sealed: Some(seal("1//left", format!("grants/{grant}/refresh"))),
            subject_sealed: Some(seal("118", format!("leavings/{grant}/subject"))),
            grant_id: Some(grant),
            cause: Cause::Person,
            removes_person: false,
            step: LeavingStep::RevokeLater,
            is_stopped: true,
            revocation: Revocation::Open,
            erased: std::collections::BTreeMap::new(),
            calls: CallSums::default(),
            begun_at: app.clock.now(),
            erased_at: None,
            tries: 0,
            due_at: Timestamp::MAX,
            claim: 0,
        };
        leavings::create(&mut tx, &leaving).await.expect("created");
        tx.commit().await.expect("committed");
    }

    fn directory(&self) -> &Path {
        self.running.directory()
    }

    fn key_file(&self) -> PathBuf {
        self.running.app.config.keys.file.clone()
    }

    async fn run(&self, line: &str) -> Result<(Outcome, String), CliError> {
        run(self.directory(), &format!("{line} --config intail.toml")).await
    }

    /// The same, `days` after the machine's present.
    async fn run_after(&self, days: i64, line: &str) -> Result<(Outcome, String), CliError> {
        let output = Output::default();
        let arguments = <Arguments as clap::Parser>::try_parse_from(line.split(' ')).expect("a command");
        let now = Clock::machine().now() + SignedDuration::from_hours(24 * days);
        let around = Surroundings { clock: Clock::owned(now), ..surroundings(self.directory(), &output) };
        Ok((cli::run(arguments, around).await?, output.text()))
    }

    /// The keys as a process finds them that starts now.
    async fn keyring(&self) -> Keyring {
        let app = &self.running.app;
        Keyring::open(&self.key_file(), &app.store, &app.random, app.clock.now()).await.expect("the keys open")
    }
}

/// Every sealed text, opened: place, row and secret. Fails if one can't be.
async fn secrets(store: &Store, keyring: &Keyring) -> Vec<(String, String, String)> {
    let (mut secrets, mut tx) = (Vec::new(), store.read().await.expect("a transaction"));
    for place in PLACES {
        for it in sealed::not_under(&mut tx, place, "none", "", 10_000).await.expect("read") {
            let opened = keyring.open_text(&it.text, &it.row).unwrap_or_else(|error| panic!("{}: {error}", it.row));
            secrets.push((format!("{}.{}", place.table, place.column), it.row, opened.expose_secret().to_owned()));
        }
    }
    secrets
}

/// How many texts are sealed under each key.
async fn counts(store: &Store, keys: &[String]) -> Vec<i64> {
    let (mut counts, mut tx) = (Vec::new(), store.read().await.expect("a transaction"));
    for key in keys {
        counts.push(sealed::count(&mut tx, key).await.expect("counted"));
    }
    counts
}

async fn every_secret_is_sealed_under_the_new_key_and_nothing_else_changes(postgres: Option<String>) {
    let scene = Scene::start(postgres).await;
    scene.seal_everywhere().await;
    let app = &scene.running.app;
    let before = secrets(&app.store, &app.keyring).await;
    let places: BTreeSet<_> = before.iter().map(|(place, ..)| place.as_str()).collect();
    assert_eq!(places.len(), PLACES.len(), "the test seals in every place: {places:?}");
    let link = app.keyring.sign("a link", "org_1.5").expect("signed");

    let (outcome, text) = scene.run("intail keys rotate").await.expect("rotated");
    assert_eq!(outcome, Outcome::Done, "{text}");
    assert!(text.starts_with("Every secret is sealed under key k2-"), "{text}");
    let keyring = scene.keyring().await;
    let keys = keyring.ids();
    assert_eq!((keys.len(), keys[0].as_str(), &keyring.sealing_id()), (2, "k1", &keys[1]));
    assert_eq!(counts(&app.store, &keys).await, [0, i64::try_from(before.len()).expect("few")]);
    assert_eq!(secrets(&app.store, &keyring).await, before);
    assert!(keyring.is_signed("a link", "org_1.5", &link), "links that were given out stay good");

    // The process that runs finds the new key by itself, and goes on.
    assert_eq!(app.keyring.ids(), ["k1"]);
    assert_eq!(secrets(&app.store, &app.keyring).await, before);
    app.keyring.look(&app.store).await.expect("looked");
    assert_eq!(app.keyring.sealing_id(), keys[1]);

    let (_, list) = scene.run("intail keys list").await.expect("listed");
    let lines: Vec<&str> = list.lines().collect();
    assert!(
        lines[0].starts_with("KEY") && lines[1].starts_with("k1 ") && lines[1].ends_with("  0        opens"),
        "{list}"
    );
    assert!(lines[2].starts_with(&keys[1]) && lines[2].ends_with("  seals"), "{list}");
    let mut tx = app.store.read().await.expect("a transaction");
    let organization = intail::store::organizations::list(&mut tx, 9).await.expect("read").remove(0).id;
    let filter = Filter { action: "key.".into(), who: String::new() };
    let entries = audit::list(&mut tx, &organization, &filter, i64::MAX, 9).await.expect("read");
    let told: Vec<_> = entries.iter().map(|it| (it.action.as_str(), it.actor.as_str(), &it.about)).collect();
    assert_eq!(told, [("key.rotated", "operator", &keys[1]), ("key.put_in_use", "operator", &keys[1])]);
    drop(tx);

    // A link may still be in use: the old key stays, and goes later.
    let error = scene.run("intail keys retire k1").await.expect_err("too soon");
    assert!(
        error.to_string().starts_with("Key k1 stays: links that were signed with it may be in use until"),
        "{error}"
    );
    let error = scene.run(&format!("intail keys retire {}", keys[1])).await.expect_err("it seals");
    assert!(error.to_string().contains("it is the one that seals"), "{error}");
    let error = scene.run("intail keys retire k9").await.expect_err("unknown");
    assert_eq!(error.to_string(), "There is no key k9 that could be retired.");
    let retire = "intail keys retire --config intail.toml k1";
    let (_, text) = scene.run_after(31, retire).await.expect("retired");
    assert!(text.starts_with("Key k1 is out of the key file."), "{text}");
    assert_eq!(scene.keyring().await.ids(), [keys[1].clone()]);
    assert_eq!(secrets(&app.store, &scene.keyring().await).await, before);
}

async fn a_rotation_goes_on_where_it_broke_off(postgres: Option<String>) {
    let scene = Scene::start(postgres).await;
    scene.seal_everywhere().await;
    let app = &scene.running.app;
    let before = secrets(&app.store, &app.keyring).await;
    // It broke off when the key was in the file only.
    let (_, text) = scene.run("intail keys rotate --prepare").await.expect("prepared");
    let waiting = scene.keyring().await.ids().pop().expect("a key");
    assert!(text.starts_with(&format!("Key {waiting} is in the key file and isn't used yet.")), "{text}");
    assert_eq!(scene.keyring().await.sealing_id(), "k1", "a key that waits doesn't seal, whoever starts");
    scene.run("intail keys rotate --prepare").await.expect("the same again");
    let (_, list) = scene.run("intail keys list").await.expect("listed");
    assert!(list.contains("waits for a rotation"), "{list}");
    // It broke off when the database had been told, and half of the texts were sealed again.
    let keyring = scene.keyring().await;
    let mut tx = app.store.write().await.expect("a transaction");
    assert!(!keyring.put_in_use(&mut tx, &waiting, "k9", app.clock.now()).await.expect("told"), "not after that one");
    assert!(keyring.put_in_use(&mut tx, &waiting, "k1", app.clock.now()).await.expect("told"));
    tx.commit().await.expect("committed");
    assert_eq!(rotation::pass(&keyring, &app.store).await.expect("passed").resealed, 0, "it hasn't looked yet");
    keyring.look(&app.store).await.expect("looked");
    let mut tx = app.store.write().await.expect("a transaction");
    let one = sealed::not_under(&mut tx, PLACES[0], &waiting, "", 1).await.expect("read").remove(0);
    let opened = keyring.open_text(&one.text, &one.row).expect("opened");
    let new = keyring.seal_text(&opened, &one.row).expect("sealed");
    assert!(sealed::swap(&mut tx, PLACES[0], &one, &new).await.expect("swapped"));
    tx.commit().await.expect("committed");
    let error = scene.run("intail keys rotate --prepare").await.expect_err("unfinished");
    assert_eq!(error.to_string(), format!("The rotation to key {waiting} isn't finished."));
    let (_, text) = scene.run("intail keys rotate").await.expect("finished");
    assert!(
        text.starts_with(&format!("Going on with the rotation to key {waiting}.\nEvery secret is sealed")),
        "{text}"
    );
    assert_eq!(scene.keyring().await.ids(), ["k1", waiting.as_str()], "no other key was made");
    assert_eq!(counts(&app.store, &["k1".to_owned()]).await, [0]);
    assert_eq!(secrets(&app.store, &scene.keyring().await).await, before);

    // Two at once end with one key or two, and with everything sealed under the newest.
    let (one, other) = (scene.run("intail keys rotate"), scene.run("intail keys rotate"));
    let (one, other) = tokio::join!(one, other);
    one.expect("rotated");
    other.expect("rotated");
    let keyring = scene.keyring().await;
    let sealed = counts(&app.store, &keyring.ids()).await;
    assert_eq!(sealed.iter().filter(|it| **it > 0).count(), 1, "{sealed:?}");
    assert_eq!(secrets(&app.store, &keyring).await, before);

    // What nobody can open is told, and stops nobody.
    let mut tx = app.store.write().await.expect("a transaction");
    tx.run("UPDATE privacy_keys SET key_sealed = 'k1.AAAA'", Vec::new()).await.expect("ran");
    tx.commit().await.expect("committed");
    let (outcome, text) = scene.run("intail keys rotate").await.expect("rotated");
    assert_eq!(outcome, Outcome::Problems);
    assert!(text.contains("1 secrets can't be opened with any key in the file"), "{text}");
    let error = scene.run_after(40, "intail keys retire --config intail.toml k1").await.expect_err("it is needed");
    assert_eq!(error.to_string(), "Key k1 stays: 1 secrets are sealed under it.");
}

/// Puts another file in a file's place.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, file).expect("renamed");
}

/// A process on another machine, with a copy of the key file of its own.
async fn a_key_is_used_once_every_process_holds_it(postgres: Option<String>) {
    let scene = Scene::start(postgres).await;
    scene.seal_everywhere().await;
    let app = &scene.running.app;
    let copy = scene.directory().join("elsewhere.key");
    std::fs::copy(scene.key_file(), &copy).expect("copied");
    let elsewhere = Keyring::open(&copy, &app.store, &app.random, app.clock.now()).await.expect("opened");
    let say = async |keyring: &Keyring, at: Timestamp| {
        let process = Process {
            id: "pro_elsewhere".into(),
            name: "sync elsewhere".into(),
            holds: keyring.marks(),
            seals_under: keyring.sealing_id(),
        };
        let mut tx = app.store.write().await.expect("a transaction");
        processes::say(&mut tx, &process, at).await.expect("said");
        tx.commit().await.expect("committed");
    };
    // Heard of for as long as the command may wait.
    let now = Clock::machine().now() + SignedDuration::from_secs(200);
    say(&elsewhere, now).await;
    let waited = scene.run_with_time("intail keys rotate --config intail.toml").await;
    let error = waited.expect_err("one lacks it");
    let waiting = scene.keyring().await.ids().pop().expect("a key");
    assert_eq!(
        shown(&error, scene.directory()),
        format!(
            "error: Key {waiting} isn't used yet: running processes don't hold it (sync elsewhere).\nhint: Copy the \
             key file to their machines; they read it within seconds. Then run `intail keys rotate --config \
             intail.toml` again."
        )
    );
    assert_eq!(counts(&app.store, std::slice::from_ref(&waiting)).await, [0], "nothing was sealed under it");
    elsewhere.look(&app.store).await.expect("nothing is wrong there");
    secrets(&app.store, &elsewhere).await;

    // Somebody seals under it nevertheless: whoever lacks it says so, breaks nothing, and mends itself.
    let keyring = scene.keyring().await;
    let mut tx = app.store.write().await.expect("a transaction");
    keyring.put_in_use(&mut tx, &waiting, "k1", app.clock.now()).await.expect("told");
    tx.commit().await.expect("committed");
    let error = elsewhere.look(&app.store).await.expect_err("it is missing there");
    assert!(matches!(&error, SealError::KeyMissing { key, .. } if *key == waiting), "{error}");
    assert_eq!(elsewhere.sealing_id(), "k1", "it goes on under the key that it has, which everybody opens");
    let error = scene.run_with_time("intail keys rotate --config intail.toml").await.expect_err("one seals under k1");
    assert!(
        error.to_string().starts_with("Running processes still seal under an older key (sync elsewhere)"),
        "{error}"
    );
    std::fs::copy(scene.key_file(), &copy).expect("copied");
    secrets(&app.store, &elsewhere).await;
    elsewhere.look(&app.store).await.expect("looked");
    say(&elsewhere, now).await;
    scene.run("intail keys rotate").await.expect("finished");
    assert_eq!(counts(&app.store, &["k1".to_owned()]).await, [0]);

    // Nor does a file with another key of the same name; and put right, it is followed.
    let right = std::fs::read_to_string(&copy).expect("text");
    let wrong = right.lines().map(|line| match line.split_once(' ') {
        Some((id, _)) if id == waiting => format!("{id} {}\n", "A".repeat(43)),
        _ => format!("{line}\n"),
    });
    replace(&copy, &wrong.collect::<String>());
    let stranger = Keyring::of_file(&copy, &[]).expect("keys");
    assert_ne!(stranger.mark_of(&waiting), elsewhere.mark_of(&waiting));
    elsewhere.look(&app.store).await.expect("what it holds is right");
    secrets(&app.store, &elsewhere).await;
    assert!(matches!(stranger.look(&app.store).await, Err(SealError::KeyMissing { .. })));
    replace(&copy, &right);
    stranger.look(&app.store).await.expect("put right");
    secrets(&app.store, &stranger).await;

    // A file that somebody is just writing takes nothing away.
    std::fs::write(&copy, "k1 AAA").expect("written");
    assert!(elsewhere.look(&app.store).await.is_err());
    secrets(&app.store, &elsewhere).await;
    let refused = Keyring::open(&copy, &app.store, &app.random, app.clock.now()).await;
    assert!(matches!(refused, Err(SealError::NotAKey { line: 1, .. })), "{refused:?}");
}

impl Scene {
    /// Runs a command whose time passes by itself, so that nothing is waited for.
    async fn run_with_time(&self, line: &str) -> Result<(Outcome, String), CliError> {
        let output = Output::default();
        let arguments = <Arguments as clap::Parser>::try_parse_from(line.split(' ')).expect("a command");
        let clock = Clock::owned(Clock::machine().now());
        let around = Surroundings { clock: clock.clone(), ..surroundings(self.directory(), &output) };
        let mut running = std::pin::pin!(cli::run(arguments, around));
        loop {
            tokio::select! {
                biased;
                ended = &mut running => return Ok((ended?, output.text())),
                () = tokio::task::yield_now() => {}
            }
            if let Some(next) = clock.next_wait() {
                clock.advance(Duration::try_from(next.duration_since(clock.now())).unwrap_or_default());
            }
        }
    }
}

async fn a_token_that_was_refreshed_meanwhile_stays(postgres: Option<String>) {
    let scene = Scene::start(postgres).await;
    let running = &scene.running;
    let person = running.connected(&running.employee()).await;
    let app = &running.app;
    let mut tx = app.store.read().await.expect("a transaction");
    let grant = grants::by_person(&mut tx, &person.id).await.expect("read").expect("a grant");
    let read = sealed::not_under(&mut tx, PLACES[1], "none", "", 9).await.expect("read").remove(0);
    drop(tx);
    // A rotation has read the access token; before it writes, the engine refreshes.
    running.pass(Duration::from_secs(3600));
    let fresh = intail::access::caller(app, &grant.id).await.expect("refreshed");
    let late = app.keyring.seal_text(&app.keyring.open_text(&read.text, &read.row).expect("opened"), &read.row);
    let mut tx = app.store.write().await.expect("a transaction");
    assert!(!sealed::swap(&mut tx, PLACES[1], &read, &late.expect("sealed")).await.expect("ran"));
    tx.commit().await.expect("committed");
    let kept = intail::access::caller(app, &grant.id).await.expect("kept");
    assert_eq!(kept.access_token.expose_secret(), fresh.access_token.expose_secret());
    // Engine and rotation at once, again and again.
    for _ in 0..4 {
        running.pass(Duration::from_secs(3600));
        let (rotated, refreshed) =
            tokio::join!(scene.run("intail keys rotate"), intail::access::caller(app, &grant.id));
        rotated.expect("rotated");
        let refreshed = refreshed.expect("refreshed");
        let kept = intail::access::caller(app, &grant.id).await.expect("kept");
        assert_eq!(kept.access_token.expose_secret(), refreshed.access_token.expose_secret());
    }
    running.work().await;
    running.assert_nothing_is_lost(&person).await;
}

/// How often a rotation is killed before one may end.
const ROTATIONS_KILLED: u64 = 3;
/// The latest moment of such a kill.
const KILLED_WITHIN_MS: u64 = 900;

/// Real processes: one works and refreshes its tokens all the time; rotations are killed, and then two run at once.
async fn promise_9_keys_are_rotated_while_processes_work_and_die(postgres: Option<String>) {
    let scene = kills::Scene::start(postgres).await;
    let app = &scene.app;
    let rotation = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_intail"));
        command.args(["keys", "rotate", "--config"]).arg(&scene.configuration);
        command
    };
    let mut tx = app.store.read().await.expect("a transaction");
    let grants = sealed::not_under(&mut tx, PLACES[1], "none", "", 9).await.expect("read");
    drop(tx);
    assert!(grants.len() > 1, "rows that could be taken in two orders");
    let work = async |ends: &mut dyn FnMut() -> bool| {
        while !ends() {
            scene.a_moment().await;
            scene.act();
            // One row a transaction: several at once would be taken in the table's order, and a rotation goes by ids.
            for grant in &grants {
                let mut tx = app.store.write().await.expect("a transaction");
                let sql = "UPDATE grants SET access_expires_at = 1 WHERE id = $1";
                tx.run(sql, vec![grant.key.clone().into()]).await.expect("ran");
                tx.commit().await.expect("committed");
            }
        }
    };
    let process = scene.process();
    for _ in 0..ROTATIONS_KILLED {
        let mut child = rotation().spawn().expect("it starts");
        let until = app.clock.now() + Duration::from_millis(app.random.below(KILLED_WITHIN_MS));
        work(&mut || app.clock.now() >= until).await;
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let (mut one, mut other) = (rotation().spawn().expect("it starts"), rotation().spawn().expect("it starts"));
    work(&mut || {
        let ended = [&mut one, &mut other].map(|it| it.try_wait().expect("asked").is_some());
        ended == [true, true]
    })
    .await;
    assert!(one.wait().expect("ended").success() && other.wait().expect("ended").success());
    drop::<Program>(process);
    let mut tx = app.store.read().await.expect("a transaction");
    let proofs = key_proofs::list(&mut tx).await.expect("read");
    drop(tx);
    let newest = proofs.last().expect("a key");
    assert!(proofs.len() > 1 && newest.resealed_at.is_some(), "{proofs:?}");
    let keyring = Keyring::open(&app.config.keys.file, &app.store, &Random::from_os(), app.clock.now()).await;
    let keyring = keyring.expect("the keys open");
    let sealed = counts(&app.store, std::slice::from_ref(&newest.key_id)).await;
    let opened = i64::try_from(secrets(&app.store, &keyring).await.len()).expect("few");
    assert_eq!(sealed, [opened], "everything opens, and is sealed under the newest");
    scene.catch_up().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_told() {
    let directory = tempfile::tempdir().expect("a folder");
    let run = async |line: &str| run(directory.path(), line).await;
    let config = "[google]\nclient_id = \"a\"\nclient_secret = \"b\"\nproject = \"intail-test\"\n";
    std::fs::write(directory.path().join("intail.toml"), config).expect("written");
    let error = run("intail keys rotate --config intail.toml").await.expect_err("no database");
    insta::assert_snapshot!(shown(&error, directory.path()));
    assert!(!directory.path().join("intail.db").exists(), "none was made");
    run("intail migrate --config intail.toml").await.expect("a database");
    let error = run("intail keys rotate --config intail.toml").await.expect_err("no key");
    insta::assert_snapshot!(shown(&error, directory.path()));
    assert!(!directory.path().join("intail.key").exists(), "none was made");
    // A first start makes both.
    let loaded =
        intail::config::Config::load(Some(Path::new("intail.toml")), Vec::<(String, String)>::new(), directory.path());
    let app = cli::assemble(loaded.expect("right"), Clock::machine(), Random::seeded(2)).await.expect("it starts");
    app.store.close().await;
    let key = std::fs::read(directory.path().join("intail.key")).expect("made");
    std::fs::remove_file(directory.path().join("intail.key")).expect("removed");
    let error = run("intail keys rotate --config intail.toml").await.expect_err("the key file has gone");
    insta::assert_snapshot!(shown(&error, directory.path()));
    std::fs::create_dir(directory.path().join("intail.key")).expect("a folder");
    let error = run("intail keys list --config intail.toml").await.expect_err("it is a folder");
    insta::assert_snapshot!(shown(&error, directory.path()));
    std::fs::remove_dir(directory.path().join("intail.key")).expect("removed");
    std::fs::write(directory.path().join("intail.key"), key).expect("written");
    run("intail keys rotate --config intail.toml").await.expect("it works again");
}

//! Backup, restore and move, as an operator does them: what was kept is there again, on either database, and Intail
//! goes on from there; what isn't whole is refused; and a kill at any moment leaves the one or the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use axum::http::StatusCode;
use clap::Parser as _;
use intail::cli::{self, Arguments, Surroundings, demo};
use intail::clock::Clock;
use intail::config::Database;
use intail::id::OrganizationId;
use intail::random::Random;
use intail::store::audit::{self, Filter};
use intail::store::processes::{self, Process};
use intail::store::{Store, changes, feed_gaps, whole};
use intail::sync::Worker;
use intail_sandbox::action::{MailAction, One};
use secrecy::SecretString;

use crate::access::{access_key, ask};
use crate::cli::{Output, shown, surroundings};
use crate::harness::postgres::database;
use crate::harness::running::{Running, Setup};
use crate::harness::written::written;

/// A running Intail, and configurations of it in files.
struct Scene {
    running: Running,
}

impl Scene {
    async fn start(postgres: Option<String>) -> Self {
        let running = Running::start_with(Setup { postgres: postgres.clone(), ..Setup::default() }).await;
        running.approve();
        let scene = Self { running };
        let url = postgres.unwrap_or_else(|| scene.sqlite("intail.db"));
        scene.configure("intail.toml", &url);
        scene
    }

    fn directory(&self) -> &Path {
        self.running.directory()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn sqlite(&self, name: &str) -> String {
        format!("sqlite:{}", self.at(name).display())
    }

    /// Writes a configuration with another database.
    fn configure(&self, name: &str, url: &str) {
        let text = written(&self.running.sandbox, &self.running.app.config, url, "");
        std::fs::write(self.at(name), text).expect("written");
    }

    /// Runs a command at the product's time.
    async fn command(&self, line: &str) -> Result<String, String> {
        let output = Output::default();
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        let clock = self.running.app.clock.clone();
        let around = Surroundings { clock, ..surroundings(self.directory(), &output) };
        match cli::run(arguments, around).await {
            Ok(_) => Ok(output.text()),
            Err(error) => Err(shown(&error, self.directory())),
        }
    }

    /// Runs one that succeeds; answers what it printed.
    async fn run(&self, line: &str) -> String {
        self.command(line).await.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Runs one that is refused; answers what was told.
    async fn refused(&self, line: &str) -> String {
        self.command(line).await.expect_err(line)
    }

    /// From here on, the product runs on another database.
    async fn go_on_with(&mut self, database: Database) {
        self.running.app.store.close().await;
        let mut config = self.running.app.config.clone();
        config.database = database;
        let (clock, random) = (self.running.app.clock.clone(), Random::seeded(77));
        let app = demo::product(&self.running.sandbox, config, clock, random).await.expect("it starts");
        self.running.worker = Worker::new(&app);
        self.running.app = app;
    }

    /// Somebody's mailbox changes: a letter comes, and the oldest one is deleted.
    fn change(&self, email: &str) {
        self.running.act(email, MailAction::sample());
        let oldest = self.running.world(|world| {
            let mailbox = world.mailbox(email).expect("a mailbox");
            mailbox.newest_first().last().map(|it| it.id.clone()).expect("mail")
        });
        self.running.act(email, MailAction::Delete(One { id: oldest }));
    }
}

/// The SHA-256 of every table, by its name.
async fn sums(store: &Store) -> Vec<whole::Part> {
    let directory = tempfile::tempdir().expect("a folder");
    let empty = Store::open(&format!("sqlite:{}", directory.path().join("schema").display())).await.expect("a schema");
    let tables = whole::tables(&mut empty.read().await.expect("read")).await.expect("tables");
    empty.close().await;
    let (mut sums, mut tx) = (Vec::new(), store.read().await.expect("a transaction"));
    for table in &tables {
        sums.push(whole::part(&mut tx, table).await.expect("read"));
    }
    sums
}

/// What restoring changes on purpose.
const CHANGED: &[&str] = &[
    "mailboxes",
    "agendas",
    "directories",
    "calendars",
    "leavings",
    "organizations",
    "feed_gaps",
    "sessions",
    "attempts",
    "sign_in_links",
    "heartbeat",
    "engines",
    "processes",
    "audit_entries",
    "audit_chains",
];

async fn last_seq(scene: &Scene, organization: &OrganizationId) -> i64 {
    let mut tx = scene.running.app.store.read().await.expect("a transaction");
    changes::last_seq(&mut tx, organization).await.expect("read")
}

/// Backed up on one database, restored into the other, and gone on with.
async fn what_was_backed_up_goes_on(from: Option<String>, to: Option<String>) {
    let mut scene = Scene::start(from).await;
    let person = scene.running.connected(&scene.running.employee()).await;
    let before = sums(&scene.running.app.store).await;
    let told = scene.run("intail backup --config intail.toml --to backup.intail").await;
    assert!(
        told.starts_with(
            "DIR/backup.intail is a backup of ".replace("DIR", &scene.directory().display().to_string()).as_str()
        ),
        "{told}"
    );
    assert!(told.contains("The key file isn't in it"), "{told}");
    let organization = person.organization_id.clone();
    let backed_up = last_seq(&scene, &organization).await;
    // Life goes on; then the machine is lost.
    scene.change(&person.email);
    scene.running.settle().await;
    let seen = last_seq(&scene, &organization).await;
    assert!(seen > backed_up, "a reader saw changes that the backup doesn't know");
    scene.change(&person.email);
    let url = to.clone().unwrap_or_else(|| scene.sqlite("new.db"));
    scene.configure("new.toml", &url);
    let told = scene.run("intail restore --config new.toml --from backup.intail").await;
    assert!(told.starts_with("What the backup of 20") && told.contains("Everybody signs in again."), "{told}");
    let fresh = Store::open(&url).await.expect("it opens");
    let after = sums(&fresh).await;
    for (before, after) in before.iter().zip(&after).filter(|(it, _)| !CHANGED.contains(&it.name.as_str())) {
        if to.is_none() && scene_is_sqlite(&scene) {
            assert_eq!(before, after, "{}", before.name);
        }
        assert_eq!((&before.name, before.rows), (&after.name, after.rows));
    }
    fresh.close().await;
    let again = scene.refused("intail restore --config new.toml --from backup.intail").await;
    assert!(again.contains("There is something in the database already"), "{again}");

    let database = match to {
        Some(url) => Database::Postgres(SecretString::from(url)),
        None => Database::Sqlite(scene.at("new.db")),
    };
    scene.go_on_with(database).await;
    let watches = scene.running.calls("gmail.users.watch");
    scene.running.settle().await;
    assert!(scene.running.calls("gmail.users.watch") > watches, "the watch is renewed");
    scene.running.assert_nothing_is_lost(&person).await;
    let now = last_seq(&scene, &organization).await;
    assert!(now > seen, "numbers go on: {now} after {seen}");
    let mut tx = scene.running.app.store.read().await.expect("a transaction");
    for (seq, is_lost) in [(backed_up, false), (seen, true), (now, false)] {
        assert_eq!(feed_gaps::holds(&mut tx, &organization, seq).await.expect("asked"), is_lost, "{seq}");
    }
    drop(tx);
    // A program that had read further begins anew; one that hadn't goes on.
    let (app, proof) = (&scene.running.app, access_key(&scene.running.app, &person).await);
    for (path, after, status) in [
        ("/api/v1/changes", seen, StatusCode::GONE),
        ("/api/v1/changes/stream", seen, StatusCode::GONE),
        ("/api/v1/changes", backed_up, StatusCode::OK),
        ("/api/v1/changes/stream", backed_up, StatusCode::OK),
        ("/api/v1/changes", now, StatusCode::OK),
    ] {
        let answer = ask(app, "GET", &format!("{path}?after={after}"), &proof, None).await;
        assert_eq!(answer.status(), status, "{path} after {after}");
    }
    let mut tx = scene.running.app.store.read().await.expect("a transaction");
    let filter = Filter { action: "database.".into(), who: String::new() };
    let entries = audit::list(&mut tx, &organization, &filter, i64::MAX, 9).await.expect("read");
    assert_eq!(entries.len(), 1, "{entries:?}");
}

fn scene_is_sqlite(scene: &Scene) -> bool {
    matches!(scene.running.app.config.database, Database::Sqlite(_))
}

#[tokio::test]
async fn a_backup_of_sqlite_goes_on_on_sqlite() {
    what_was_backed_up_goes_on(None, None).await;
}

#[tokio::test]
async fn a_backup_of_sqlite_goes_on_on_postgresql() {
    what_was_backed_up_goes_on(None, Some(database().await)).await;
}

#[tokio::test]
async fn a_backup_of_postgresql_goes_on_on_sqlite() {
    what_was_backed_up_goes_on(Some(database().await), None).await;
}

#[tokio::test]
async fn a_backup_of_postgresql_goes_on_on_postgresql() {
    what_was_backed_up_goes_on(Some(database().await), Some(database().await)).await;
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused() {
    let scene = Scene::start(None).await;
    let person = scene.running.connected(&scene.running.employee()).await;
    scene.run("intail backup --config intail.toml --to backup.intail").await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(scene.at("backup.intail")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "mail headers are for nobody else");
    }
    scene.configure("new.toml", &scene.sqlite("new.db"));
    let whole = std::fs::read(scene.at("backup.intail")).expect("read");
    let key = std::fs::read(scene.at("intail.key")).expect("read");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let secret = text(&key).lines().last().and_then(|it| it.split(' ').nth(1).map(str::to_owned)).expect("a key");
    assert!(!text(&whole).contains(&secret), "the key isn't in it");
    assert!(text(&whole).contains(&person.email), "the test looks at what it means to");

    let restore = "intail restore --config new.toml --from";
    let mut refused = Vec::new();
    refused.push(scene.refused(&format!("{restore} none.intail")).await);
    std::fs::write(scene.at("text.intail"), "no database at all").expect("written");
    refused.push(scene.refused(&format!("{restore} text.intail")).await);
    refused.push(scene.refused(&format!("{restore} intail.db")).await);
    std::fs::write(scene.at("cut.intail"), &whole[..whole.len() / 2]).expect("written");
    refused.push(scene.refused(&format!("{restore} cut.intail")).await);
    // One letter of one row.
    let place = whole.windows(person.email.len()).position(|it| it == person.email.as_bytes()).expect("it is there");
    let mut changed = whole.clone();
    changed[place] = b'X';
    std::fs::write(scene.at("changed.intail"), changed).expect("written");
    refused.push(scene.refused(&format!("{restore} changed.intail")).await);
    refused.push(scene.refused(&format!("{restore} .")).await);
    std::fs::rename(scene.at("intail.key"), scene.at("kept.key")).expect("moved");
    refused.push(scene.refused(&format!("{restore} backup.intail")).await);
    std::fs::write(scene.at("intail.key"), format!("k1 {}\n", "A".repeat(43))).expect("written");
    refused.push(scene.refused(&format!("{restore} backup.intail")).await);
    std::fs::rename(scene.at("kept.key"), scene.at("intail.key")).expect("moved");
    assert!(!scene.at("new.db").exists(), "nothing was made");
    refused.push(scene.refused("intail restore --config intail.toml --from backup.intail").await);
    refused.push(scene.refused("intail backup --config intail.toml --to backup.intail").await);
    refused.push(scene.refused("intail backup --config intail.toml --to nowhere/backup.intail").await);
    refused.push(scene.refused("intail backup --config new.toml --to other.intail").await);
    std::fs::write(scene.at("other.intail.partial"), "").expect("written");
    refused.push(scene.refused("intail backup --config intail.toml --to other.intail").await);
    insta::assert_snapshot!(refused.join("\n\n").replace(&person.email, "SOMEBODY"));
    scene.run(&format!("{restore} backup.intail")).await;
}

#[tokio::test]
async fn a_backup_whose_disk_is_full_leaves_nothing() {
    let scene = Scene::start(None).await;
    scene.running.connected(&scene.running.employee()).await;
    // A way that leads through something that is no folder.
    let error = scene.refused("intail backup --config intail.toml --to /dev/full/backup.intail").await;
    assert!(error.contains("can't be made"), "{error}");
    // A limit on the size of files, as a full disk would be.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" backup --config intail.toml --to full.intail"])
        .arg(env!("CARGO_BIN_EXE_intail"))
        .current_dir(scene.directory())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&limited.stderr).into_owned();
    assert!(said.contains("The backup couldn't be written to its end; nothing is left of it."), "{said}");
    let left = scene.directory().read_dir().expect("a folder").flatten();
    let left: Vec<_> = left.map(|it| it.file_name()).filter(|it| it.to_string_lossy().contains("full")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// How often a command is killed, each time a little later.
const KILLS: u32 = 6;
/// Between two of these moments.
const LATER: Duration = Duration::from_millis(35);

/// Runs a command of the real binary and kills it after `after`; answers whether it had ended by itself.
async fn killed(scene: &Scene, line: &str, after: Duration) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_intail"));
    command.args(line.split(' ')).current_dir(scene.directory()).stdout(std::process::Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let clock = Clock::machine();
    clock.sleep_until(clock.now() + after).await;
    let ended = child.try_wait().expect("asked").is_some();
    child.kill().ok();
    child.wait().expect("ended");
    ended
}

#[tokio::test]
async fn a_kill_leaves_a_whole_backup_or_none_and_a_whole_database_or_an_empty_one() {
    let scene = Scene::start(None).await;
    let person = scene.running.connected(&scene.running.employee()).await;
    scene.run("intail backup --config intail.toml --to good.intail").await;
    let postgres = database().await;
    scene.configure("sqlite.toml", &scene.sqlite("new.db"));
    scene.configure("postgres.toml", &postgres);
    for times in 1..=KILLS {
        let name = format!("killed{times}.intail");
        killed(&scene, &format!("backup --config intail.toml --to {name}"), LATER * times).await;
        if scene.at(&name).exists() {
            scene.configure("check.toml", &scene.sqlite(&format!("check{times}.db")));
            scene.run(&format!("intail restore --config check.toml --from {name}")).await;
        }
    }
    for config in ["sqlite.toml", "postgres.toml"] {
        let line = format!("restore --config {config} --from good.intail");
        let mut is_done = false;
        for times in 1..=KILLS {
            is_done = is_done || killed(&scene, &line, LATER * times).await;
        }
        match scene.command(&format!("intail {line}")).await {
            Ok(told) => assert!(told.contains("each counted"), "{told}"),
            // The last kill came after the commit.
            Err(error) => assert!(error.contains("already"), "{error}"),
        }
        let url = if config == "sqlite.toml" { scene.sqlite("new.db") } else { postgres.clone() };
        let store = Store::open(&url).await.expect("it opens");
        let rows = sums(&store).await;
        let of = |name: &str| rows.iter().find(|it| it.name == name).map(|it| it.rows);
        assert_eq!(of("messages"), Some(i64::try_from(scene.running.stored(&person).await.len()).expect("few")));
        assert_eq!(of("feed_gaps"), Some(1), "restored once");
        store.close().await;
    }
}

#[tokio::test]
async fn sqlite_moves_to_postgresql() {
    let mut scene = Scene::start(None).await;
    let person = scene.running.connected(&scene.running.employee()).await;
    let url = database().await;
    let line = format!("intail move --config intail.toml --to {url}");
    // While somebody runs, nothing is moved.
    let process = Process { id: "p".into(), name: "sync".into(), holds: vec!["k1".into()], seals_under: "k1".into() };
    let mut tx = scene.running.app.store.write().await.expect("a transaction");
    processes::say(&mut tx, &process, scene.running.app.clock.now()).await.expect("said");
    tx.commit().await.expect("committed");
    let error = scene.refused(&line).await;
    assert!(error.starts_with("error: Intail runs on this database (sync). Nothing was moved."), "{error}");
    let mut tx = scene.running.app.store.write().await.expect("a transaction");
    processes::leave(&mut tx, "p").await.expect("left");
    let until = scene.running.app.clock.now() + Duration::from_secs(90);
    let leased = format!("UPDATE mailboxes SET lease_owner = 'w', lease_until = {}", until.as_microsecond());
    tx.run_built(leased, Vec::new()).await.expect("ran");
    tx.commit().await.expect("committed");
    let error = scene.refused(&line).await;
    assert!(error.starts_with("error: Somebody works on this database: 1 streams are leased."), "{error}");
    let mut tx = scene.running.app.store.write().await.expect("a transaction");
    tx.run("UPDATE mailboxes SET lease_owner = NULL, lease_until = NULL", Vec::new()).await.expect("ran");
    tx.commit().await.expect("committed");
    let before = sums(&scene.running.app.store).await;
    let told = scene.run(&line).await;
    assert!(told.contains("\nEverything is in PostgreSQL: ") && told.contains("messages: "), "{told}");
    let password = url.split(['/', '@']).nth(2).unwrap_or_default();
    assert!(!told.contains("postgres://p") || password.is_empty(), "{told}");
    let again = scene.refused(&line).await;
    assert!(again.starts_with("error: There is something in the database already (PostgreSQL, "), "{again}");
    let store = Store::open(&url).await.expect("it opens");
    for (before, after) in before.iter().zip(&sums(&store).await) {
        let expected = match before.name.as_str() {
            // That it was moved is told.
            "audit_entries" => before.rows + 1,
            // Nobody runs on the new one yet.
            "engines" | "processes" => 0,
            _ => before.rows,
        };
        assert_eq!((&before.name, expected), (&after.name, after.rows));
    }
    store.close().await;
    scene.configure("moved.toml", &url);
    let error = scene.refused(&format!("intail move --config moved.toml --to {url}")).await;
    assert!(error.contains("is PostgreSQL already"), "{error}");
    scene.go_on_with(Database::Postgres(SecretString::from(url))).await;
    scene.change(&person.email);
    scene.running.settle().await;
    scene.running.assert_nothing_is_lost(&person).await;
}

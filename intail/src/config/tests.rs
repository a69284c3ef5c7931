//! What the configuration accepts, refuses and says, word by word where people read it.

use std::collections::BTreeSet;

use secrecy::ExposeSecret as _;

use super::settings::nearest;
use super::*;

const GOOD: &str = r#"
[server]
listen = "127.0.0.1:9000"
public_url = "https://intail.example.com/"
[google]
client_id = "id"
client_secret = "canary-secret"
project = "my-project"
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &[])
}

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_text(Some((Path::new("intail.toml"), text)), environment, Path::new("/srv/intail"))
}

/// The problems' lines of a configuration that must be refused.
fn problems(text: &str) -> Vec<String> {
    problems_with(text, &[])
}

fn problems_with(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let error = load_with(text, environment).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("canary"), "a secret is in: {text}");
    error.problems.iter().map(ToString::to_string).collect()
}

fn assert_problem(found: &[String], parts: &[&str]) {
    let hit = found.iter().any(|problem| parts.iter().all(|part| problem.contains(part)));
    assert!(hit, "no problem with {parts:?} in {found:#?}");
}

#[test]
fn defaults_hold_where_nothing_is_given() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.server.public_url.as_str(), "https://intail.example.com");
    assert_eq!(config.server.public_url.page(CONNECT_CALLBACK), "https://intail.example.com/connect/google/callback");
    assert!(matches!(&config.database, Database::Sqlite(path) if path == Path::new("/srv/intail/intail.db")));
    assert_eq!(config.keys.file, Path::new("/srv/intail/intail.key"));
    assert_eq!(config.signin.issuer, "https://accounts.google.com");
    assert_eq!(config.signin.client.client_id, "id");
    assert_eq!(config.signin.client.client_secret.expose_secret(), "canary-secret");
    assert_eq!(config.google.endpoints, Endpoints::default());
    assert_eq!(config.pubsub.mode, PubSubMode::Pull);
    assert_eq!(config.pubsub.topic, "projects/my-project/topics/intail");
    assert_eq!(config.pubsub.subscription, "projects/my-project/subscriptions/intail");
    assert!(matches!(config.pubsub.credentials, PubSubCredentials::Ambient));
    assert_eq!(config.quota.table, Table::May2026);
}

#[test]
fn loopback_needs_no_public_url() {
    let config = load(&GOOD.replace("public_url = \"https://intail.example.com/\"", "")).unwrap();
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:9000");
    let found =
        problems(&GOOD.replace("public_url = \"https://intail.example.com/\"", "").replace("127.0.0.1", "0.0.0.0"));
    assert_problem(&found, &["server.public_url", "required"]);
}

#[test]
fn every_key_can_be_a_variable_and_goes_before_the_file() {
    let config = load_with(
        GOOD,
        &[
            ("INTAIL__SERVER__PUBLIC_URL", "http://localhost:8080"),
            ("INTAIL__GOOGLE__ENDPOINTS__GMAIL", "http://127.0.0.1:8090"),
            ("INTAIL__QUOTA__OVERRIDES__PERSON_MINUTE", "15000"),
            ("INTAIL__QUOTA__OVERRIDES__GMAIL__MESSAGES__GET", "7"),
            ("INTAIL__DATABASE__URL", "postgres://user:canary@db.example/intail"),
            ("INTAIL_OTHER", "not ours"),
            ("HOME", "/anywhere"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.public_url.as_str(), "http://localhost:8080");
    assert_eq!(config.google.endpoints.gmail.as_str(), "http://127.0.0.1:8090/");
    assert_eq!(config.quota.limits.person_minute, 15_000);
    assert_eq!(config.quota.units("gmail.messages.get"), 7);
    assert_eq!(config.quota.units("gmail.labels.get"), 1);
    assert_eq!(config.database.to_string(), "PostgreSQL, db.example/intail");
}

#[test]
fn a_configuration_can_come_from_variables_alone() {
    let environment = keys::names()
        .into_iter()
        .filter(|name| ["google.client_id", "google.client_secret", "google.project"].contains(&name.key.as_str()))
        .map(|name| (keys::variable(&name.key), "some-text".to_owned()));
    let config = Config::load(None, environment, Path::new("/srv")).unwrap();
    assert_eq!(config.google.project.as_deref(), Some("some-text"));
    assert_eq!(config.keys.file, Path::new("/srv/intail.key"));
}

#[test]
fn unknown_keys_are_fatal_and_name_their_place_and_the_nearest_key() {
    let found = problems(&format!("{GOOD}\nclient_secert = \"canary\"\n[servr]\nlisten = 1\n[empty]\n"));
    assert_problem(&found, &["google.client_secert (intail.toml, line 10)", "Did you mean google.client_secret?"]);
    assert_problem(&found, &["servr.listen (intail.toml, line 12)", "Did you mean server.listen?"]);
    assert_problem(&found, &["empty (intail.toml, line 13)", "there is no such key"]);
    let found = problems_with(GOOD, &[("INTAIL__GOOGLE__CLIENT_IDD", "x"), ("INTAIL__", "x")]);
    assert_problem(&found, &["(variable INTAIL__GOOGLE__CLIENT_IDD)", "Did you mean INTAIL__GOOGLE__CLIENT_ID?"]);
    assert_problem(&found, &["variable INTAIL__"]);
    assert_problem(&problems("topic = \"x\""), &["topic (intail.toml, line 1)", "pubsub.topic"]);
    assert_problem(
        &problems("[quota.overrides.gmail.messages]\ngte = 1"),
        &["gmail.messages.gte", "gmail.messages.get"],
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let found = problems(
        "[server]\nlisten = \"here\"\n[database]\nurl = \"mysql://canary\"\n[pubsub]\nmode = \"poll\"\ntopic = 5\n\
         [quota]\ntable = \"2027\"\n",
    );
    for key in [
        "server.listen",
        "database.url",
        "pubsub.mode",
        "pubsub.topic",
        "quota.table",
        "google.client_id",
        "google.client_secret",
    ] {
        assert_problem(&found, &[key]);
    }
}

#[test]
fn what_is_not_toml_is_located_without_being_quoted() {
    let found = problems("[google]\nclient_secret = canary-secret\n");
    assert_problem(&found, &["intail.toml, line 2", "isn't valid TOML"]);
    assert_eq!(found.len(), 1, "what is missing can't be known before the file is understood: {found:#?}");
    assert_problem(&problems("server = 5\n"), &["server (intail.toml, line 1)", "section"]);
    assert_problem(&problems("[server]\nlisten = true\n"), &["server.listen", "not true or false"]);
    assert_problem(&problems("[server]\nlisten = \"\"\n"), &["server.listen", "empty"]);
    let deep = format!("a{} = 1", ".a".repeat(500));
    assert!(!problems(&deep).is_empty());
}

#[test]
fn public_url_is_https_without_a_path_or_http_on_loopback() {
    for good in
        ["https://a.example", "https://a.example:8443/", "http://127.0.0.1:1", "http://[::1]:1/", "http://localhost:1"]
    {
        let parsed = PublicUrl::parse(good).unwrap();
        assert_eq!(parsed.as_str(), good.trim_end_matches('/'));
    }
    for bad in [
        "http://a.example",
        "https://a.example/path",
        "https://a.example/?q",
        "https://a.example/#f",
        "https://user@a.example",
        "ftp://a.example",
        "a.example",
        "https://",
        "",
    ] {
        assert!(PublicUrl::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn database_addresses() {
    let parse = |text| Database::parse(text, Path::new("/data"));
    assert!(matches!(parse("sqlite:a.db"), Ok(Database::Sqlite(path)) if path == Path::new("/data/a.db")));
    assert!(matches!(parse("sqlite:///abs/a.db"), Ok(Database::Sqlite(path)) if path == Path::new("/abs/a.db")));
    assert!(matches!(parse("postgres://h/db"), Ok(Database::Postgres(_))));
    assert!(matches!(parse("postgresql://h/db"), Ok(Database::Postgres(_))));
    for bad in ["sqlite:", "sqlite::memory:", "sqlite:a?mode=ro", "mysql://h", "intail.db"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn endpoints_are_https_or_loopback() {
    let found = problems(&format!(
        "{GOOD}\n[google.endpoints]\ngmail = \"http://gmail.example\"\ntoken = \"nonsense\"\n\
         issuer = \"http://10.0.0.1\"\n"
    ));
    assert_problem(&found, &["google.endpoints.gmail", "loopback"]);
    assert_problem(&found, &["google.endpoints.token", "address"]);
    assert_problem(&found, &["google.endpoints.issuer", "loopback"]);
}

#[test]
fn signin_follows_google_or_brings_its_own_client() {
    let config = load(&format!("{GOOD}\n[google.endpoints]\nissuer = \"http://127.0.0.1:8090\"\n")).unwrap();
    assert_eq!(config.signin.issuer, "http://127.0.0.1:8090");
    let own = "[signin]\nissuer = \"https://id.example\"\nclient_id = \"x\"\nclient_secret = \"y\"\n";
    let config = load(&format!("{GOOD}\n{own}")).unwrap();
    assert_eq!((config.signin.issuer.as_str(), config.signin.client.client_id.as_str()), ("https://id.example", "x"));
    let found = problems(&format!("{GOOD}\n[signin]\nissuer = \"https://id.example\"\n"));
    assert_problem(&found, &["signin.client_id", "isn't Google"]);
    let found = problems(&format!("{GOOD}\n[signin]\nclient_id = \"x\"\n"));
    assert_problem(&found, &["signin.client_secret", "required"]);
}

#[test]
fn secrets_can_stand_in_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret.txt"), "canary-file\n").unwrap();
    std::fs::write(folder.path().join("empty.txt"), "\n").unwrap();
    let load = |text: &str| Config::from_text(Some((Path::new("intail.toml"), text)), [], folder.path());
    let text =
        |name: &str| GOOD.replace("client_secret = \"canary-secret\"", &format!("client_secret_file = \"{name}\""));
    let config = load(&text("secret.txt")).unwrap();
    assert_eq!(config.google.client.client_secret.expose_secret(), "canary-file");
    for (name, reason) in [("missing.txt", "doesn't exist"), ("empty.txt", "is empty"), (".", "is a folder")] {
        let error = load(&text(name)).unwrap_err().to_string();
        assert!(error.contains("google.client_secret_file") && error.contains(reason), "{error}");
        assert!(error.contains(&folder.path().display().to_string()), "the path is missing in: {error}");
    }
    let both = format!("{GOOD}\nclient_secret_file = \"secret.txt\"\n");
    let error = load(&both).unwrap_err().to_string();
    assert!(error.contains("Give only one of the two"), "{error}");
}

#[test]
fn the_file_is_read_bounded_and_paths_start_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("intail.toml");
    let load = || Config::load(Some(&path), [], Path::new("/elsewhere"));
    assert!(load().unwrap_err().to_string().contains("doesn't exist"));
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(load().unwrap().keys.file, folder.path().join("intail.key"));
    std::fs::write(&path, "#".repeat(300 * 1024)).unwrap();
    assert!(load().unwrap_err().to_string().contains("larger than 256 KiB"));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(load().unwrap_err().to_string().contains("isn't UTF-8 text"));
}

#[test]
fn pubsub_names_modes_and_credentials() {
    let config = load(&format!("{GOOD}\n[pubsub]\ntopic = \"projects/other-one/topics/t-1\"\n")).unwrap();
    assert_eq!(config.pubsub.topic, "projects/other-one/topics/t-1");
    for bad in ["projects/my-project/subscriptions/abc", "goog-abc", "ab", "a/b", "x y z", "projects//topics/abc"] {
        assert_problem(&problems(&format!("{GOOD}\n[pubsub]\ntopic = \"{bad}\"\n")), &["pubsub.topic"]);
    }
    let found = problems(&GOOD.replace("project = \"my-project\"", ""));
    assert_problem(&found, &["pubsub.topic", "google.project"]);
    assert_problem(&problems(&format!("{GOOD}\n[pubsub]\nmode = \"push\"\n")), &["pubsub.push_service_account"]);
    let push = "[pubsub]\nmode = \"push\"\npush_service_account = \"Push@my-project.iam.gserviceaccount.com\"\n";
    let PubSubMode::Push { audience, service_account } = load(&format!("{GOOD}\n{push}")).unwrap().pubsub.mode else {
        panic!("push was asked for");
    };
    assert_eq!(audience, "https://intail.example.com/notices/pubsub");
    assert_eq!(service_account, "push@my-project.iam.gserviceaccount.com");
    let plain = load(&format!("{GOOD}\n[google.endpoints]\npubsub = \"http://127.0.0.1:8090\"\n")).unwrap();
    assert!(matches!(plain.pubsub.credentials, PubSubCredentials::Anonymous));
    assert_problem(
        &problems(&format!("{GOOD}\n[pubsub]\ncredentials_file = \"missing.json\"\n")),
        &["pubsub.credentials_file", "/srv/intail/missing.json", "doesn't exist"],
    );
}

#[test]
fn the_emulator_variable_goes_before_the_endpoint() {
    let config = load_with(GOOD, &[("PUBSUB_EMULATOR_HOST", "localhost:8085")]).unwrap();
    assert_eq!(config.pubsub.endpoint.as_str(), "http://localhost:8085/");
    assert!(matches!(config.pubsub.credentials, PubSubCredentials::Anonymous));
    let config = load_with(GOOD, &[("PUBSUB_EMULATOR_HOST", "")]).unwrap();
    assert_eq!(config.pubsub.endpoint.as_str(), "https://pubsub.googleapis.com/");
    for bad in ["http://localhost:8085", "a b", "host:port", "host/path"] {
        assert_problem(&problems_with(GOOD, &[("PUBSUB_EMULATOR_HOST", bad)]), &["PUBSUB_EMULATOR_HOST", "host:port"]);
    }
}

#[test]
fn quota_numbers_are_bounded() {
    let config =
        load(&format!("{GOOD}\n[quota]\ntable = \"before-2026-05\"\noverrides.\"gmail.threads.get\" = 11\n")).unwrap();
    assert_eq!(config.quota.limits.person_minute, 15_000);
    assert_eq!(config.quota.units("gmail.threads.get"), 11);
    for service in ["calendar", "directory"] {
        let all = ["person_minute", "project_minute", "project_day"].map(|it| format!("\"{service}.{it}\" = 7\n"));
        let config = load(&format!("{GOOD}\n[quota.overrides]\n{}", all.concat())).unwrap();
        let limits = if service == "calendar" { config.quota.calendar } else { config.quota.directory };
        assert_eq!((limits.person_minute, limits.project_minute, limits.project_day), (7, 7, 7), "{service}");
    }
    for bad in ["0", "-1", "1.5", "\"6000\"", "99999999999999999999"] {
        let found = problems(&format!("{GOOD}\n[quota.overrides]\nperson_minute = {bad}\n"));
        assert!(!found.is_empty(), "{bad}");
    }
}

#[test]
fn neither_debug_nor_summary_shows_a_secret() {
    let config = load_with(GOOD, &[("INTAIL__DATABASE__URL", "postgres://user:canary@h/db")]).unwrap();
    let shown = format!("{config:?}{}", config.summary());
    assert!(!shown.contains("canary"), "{shown}");
    assert!(config.summary().contains("https://intail.example.com/signin/callback"));
}

/// The key line that is commented out; explanations have a space after the `#`.
fn written_key(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|line| !line.starts_with(' '))
}

#[test]
fn the_default_file_holds_every_key_once_and_says_the_real_defaults() {
    let file = default_file();
    assert!(load_with(&file, &[]).unwrap_err().problems.iter().all(|problem| problem.place == Place::Absent));
    let mut given = BTreeSet::new();
    for line in file.lines().filter_map(written_key) {
        given.insert(line.split_once(" = ").unwrap().0.to_owned());
    }
    for name in keys::names().into_iter().filter(|name| !name.key.contains("gmail.")) {
        let last = name.key.rsplit('.').next().unwrap();
        assert!(given.contains(last), "{} is missing", name.key);
    }
    // Uncommented, without the secrets' files and without what names real files, it loads and equals the defaults.
    let uncommented: String = file
        .lines()
        .map(|line| written_key(line).unwrap_or(line))
        .filter(|line| !line.contains("_file = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let full = load(&uncommented).unwrap();
    let bare = load(GOOD).unwrap();
    assert_eq!(full.google.endpoints, bare.google.endpoints);
    assert_eq!(full.keys.file, bare.keys.file);
    assert_eq!(full.signin.issuer, bare.signin.issuer);
    assert_eq!((full.pubsub.topic, full.pubsub.mode), (bare.pubsub.topic, bare.pubsub.mode));
    assert_eq!(full.quota.limits, bare.quota.limits);
    assert_eq!(full.database.to_string(), bare.database.to_string());
}

#[test]
fn minimal_is_a_whole_configuration() {
    let client = || OAuthClient { client_id: "id".to_owned(), client_secret: SecretString::from("canary") };
    let config = Config::minimal("http://127.0.0.1:8080", Path::new("/data"), client()).unwrap();
    assert_eq!(config.server.public_url.page("/mail"), "http://127.0.0.1:8080/mail");
    assert!(Config::minimal("http://intail.example", Path::new("/data"), client()).is_err());
}

#[test]
fn the_nearest_name_is_only_given_when_it_is_near() {
    let valid = ["server.listen", "pubsub.topic"];
    assert_eq!(nearest("server.lisen", valid.into_iter()), Some("server.listen"));
    assert_eq!(nearest("google.topic", valid.into_iter()), Some("pubsub.topic"));
    assert_eq!(nearest("weather.tomorrow", valid.into_iter()), None);
}

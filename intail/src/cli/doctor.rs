//! `intail doctor`: looks at everything that Intail needs outside itself, and for each problem names one thing to do.
//! It changes nothing at Google unless `--fix` is given, and then only makes what is missing of topic, right and
//! subscription; here it lifts a wait that Google asked for. A heartbeat that nobody waits for goes through the topic,
//! to see whether it may. Each check is one function that answers with a [`Finding`]; a check that can't be made,
//! because an earlier one failed, says so instead of failing too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use intail_google::oauth::{OAuthClient, Provider};
use intail_google::pubsub::{Created, PubSub};
use intail_google::{Client, Error, ErrorKind, Refusal};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use url::Url;

use super::{CliError, ConfigFile, Outcome, Surroundings, assemble, open_store};
use crate::clock::Clock;
use crate::config::{self, CONNECT_CALLBACK, Config, Database, PubSubMode, SIGNIN_CALLBACK};
use crate::notices;
use crate::notices::provision::{self, GMAIL_PUBLISHER, ProvisionError, Publisher};
use crate::org::receipts::Receipts;
use crate::seal::Keyring;
use crate::store::quota::DayLimit;
use crate::store::{Store, StoreError, calendars, quota};
use crate::sync;

/// How long connecting to an address may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Reasons of Google's for telling nothing of calendars that are named: there are a handful.
const REASONS_MAX: i64 = 20;

/// `intail doctor …`
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Makes what is missing of topic, Gmail's right to publish, and subscription
    #[arg(long)]
    fix: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    state: State,
    /// What was found, a sentence.
    detail: String,
    /// One thing to do.
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Fixed,
    Problem,
    Skipped,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Fixed => "fixed",
            Self::Problem => "problem",
            Self::Skipped => "skipped",
        }
    }
}

impl Finding {
    fn new(check: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { check, state, detail: detail.into(), remedy: None }
    }

    fn good(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, State::Good, detail)
    }

    fn problem(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, State::Problem, detail) }
    }

    fn skipped(check: &'static str, because: &str) -> Self {
        Self::new(check, State::Skipped, format!("Not looked at, because of the problem with {because}."))
    }
}

/// Runs it.
pub(super) async fn run(arguments: DoctorArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    let findings = match arguments.config.load(&surroundings) {
        Ok(config) => examine(&config, &arguments, &surroundings).await?,
        Err(error) => {
            vec![Finding::problem(
                "configuration",
                error.to_string(),
                "Mend it; `intail config default` prints every key.",
            )]
        }
    };
    let text = if arguments.json { as_json(&findings) } else { as_text(&findings) };
    write!(surroundings.output, "{text}")?;
    let problems = findings.iter().any(|finding| finding.state == State::Problem);
    Ok(if problems { Outcome::Problems } else { Outcome::Done })
}

async fn examine(
    config: &Config,
    arguments: &DoctorArguments,
    surroundings: &Surroundings,
) -> Result<Vec<Finding>, CliError> {
    let again = format!("intail doctor{} --fix", arguments.config.option());
    let mut findings = vec![Finding::good("configuration", "It is complete.")];
    findings.extend(database_and_key(config, surroundings, arguments.fix, &again).await);
    findings.push(reachable(config, &surroundings.clock).await);
    let google = assemble::google(config, &surroundings.clock, Receipts::default())?;
    findings.push(discovery(config, &google).await);
    findings.extend(clients(config, &google).await);
    findings.extend(pubsub(config, &google, arguments.fix, &again).await);
    Ok(findings)
}

async fn database_and_key(config: &Config, surroundings: &Surroundings, fix: bool, again: &str) -> Vec<Finding> {
    if let Database::Sqlite(path) = &config.database
        && !path.exists()
    {
        return vec![new_database(path), new_key(&config.keys.file)];
    }
    match open_store(config).await {
        Ok(store) => {
            let key = key(config, &store, surroundings).await;
            let held = held(config, &store, surroundings.clock.now(), fix, again).await;
            let untold = if config.google.calendar_notices { untold(&store).await } else { Vec::new() };
            store.close().await;
            let database = Finding::good("database", format!("It is there and up to date ({}).", config.database));
            [database, key].into_iter().chain(held).chain(untold).collect()
        }
        Err(error) => {
            let remedy = error.hints().first().cloned().unwrap_or_else(|| "Correct database.url.".to_owned());
            vec![Finding::problem("database", error.to_string(), remedy), Finding::skipped("key file", "the database")]
        }
    }
}

/// Services that nobody asks now, or that are asked less than is configured, because Google said so. It is said
/// only where that is so.
async fn held(config: &Config, store: &Store, now: Timestamp, fix: bool, again: &str) -> Vec<Finding> {
    let look = async {
        let mut tx = store.write().await?;
        let mut findings = Vec::new();
        for service in quota::SERVICES {
            let Some(hold) = quota::held(&mut tx, service.0).await? else { continue };
            let configured = sync::limits_of(&config.quota, service.0).project_day;
            let day = hold.day.filter(|it| it.until > now && it.units < configured);
            if hold.until <= now && day.is_none() {
                continue;
            }
            if fix {
                let heard_by = now.saturating_add(sync::HEARD_WITHIN).unwrap_or(now);
                quota::lift(&mut tx, service, heard_by).await?;
            }
            findings.push((service.0, hold.until, day));
        }
        tx.commit().await?;
        Ok::<_, StoreError>(findings)
    };
    let finding = |(service, until, day): (&str, Timestamp, Option<DayLimit>)| match (fix, day) {
        (true, Some(_)) if until <= now => {
            Finding::new("quota", State::Fixed, format!("The configured limit of a day counts again ({service})."))
        }
        (true, _) => Finding::new("quota", State::Fixed, format!("Google may be asked again ({service}).")),
        (false, Some(day)) if until <= now => Finding::problem(
            "quota",
            format!(
                "Google refused the day at {} of {service}: until {} copying and comparing keep to that.",
                day.units, day.until
            ),
            format!("Look at the project's quotas at Google, and set quota.overrides to what it gives; or {again}"),
        ),
        (false, _) => Finding::problem(
            "quota",
            format!("Google refused the whole project: nothing is asked until {until} ({service})."),
            format!("Look at the project's quotas at Google; then {again}"),
        ),
    };
    match look.await {
        Ok(findings) => findings.into_iter().map(finding).collect(),
        Err(error) => vec![Finding::problem("quota", super::sentence(&error), "See what the database says.")],
    }
}

/// Why Google doesn't tell of changes in calendars. It is said only where there are such calendars.
async fn untold(store: &Store) -> Vec<Finding> {
    let problems = async {
        let mut tx = store.read().await?;
        calendars::channel_problems(&mut tx, REASONS_MAX).await
    };
    match problems.await {
        Ok(problems) => problems.iter().map(|(reason, count)| channel_problem(reason, *count)).collect(),
        Err(error) => vec![Finding::problem(CALENDARS, super::sentence(&error), "See what the database says.")],
    }
}

const CALENDARS: &str = "calendar notices";

/// What is to be done about a reason for which Google doesn't tell of changes in calendars.
fn channel_problem(reason: &str, count: i64) -> Finding {
    let calendars = if count == 1 { "1 calendar".to_owned() } else { format!("{count} calendars") };
    let detail = format!("Google doesn't tell of changes in {calendars} ({reason}); Intail looks at them by itself.");
    let remedy = match reason {
        // Nobody can do anything about these, and nobody has to.
        "pushNotSupportedForRequestedResource" => {
            return Finding::good(
                CALENDARS,
                format!("Of {calendars}, such as those of holidays, Google tells nobody."),
            );
        }
        "transient" | "not_understood" => {
            return Finding::good(CALENDARS, format!("Google is asked again soon to tell of {calendars}."));
        }
        "push.webhookUrlUnauthorized" => {
            "Verify the domain of server.public_url in Google's Search Console, as the project's owner. It is tried \
             again twice a day."
        }
        "push.webhookUrlNotHttps" => "Give server.public_url an https address that Google can reach.",
        _ => "Look the reason up in Google's guide to push notifications of calendars. It is tried again twice a day.",
    };
    Finding::problem(CALENDARS, detail, remedy)
}

fn new_database(path: &Path) -> Finding {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Finding::good("database", format!("It will be made at the first start ({}).", path.display()));
    }
    let detail = format!("The folder {} for the database doesn't exist.", folder.display());
    Finding::problem("database", detail, format!("mkdir -p {}", folder.display()))
}

fn new_key(path: &Path) -> Finding {
    let word = if path.exists() { "It is there" } else { "It will be made at the first start" };
    Finding::good("key file", format!("{word} ({}).", path.display()))
}

async fn key(config: &Config, store: &Store, surroundings: &Surroundings) -> Finding {
    let path = &config.keys.file;
    if !path.exists() && is_unsealed(store).await {
        return new_key(path);
    }
    match Keyring::open(path, store, &surroundings.random, surroundings.clock.now()).await {
        Ok(_) => Finding::good("key file", format!("It opens this database's secrets ({}).", path.display())),
        Err(error) => {
            let remedy = "Put the key file back that this database was sealed with, or name it in keys.file.";
            Finding::problem("key file", super::sentence(&error), remedy)
        }
    }
}

/// Whether nothing in the database is sealed yet, so that a key file may still be made.
async fn is_unsealed(store: &Store) -> bool {
    let proofs = async {
        let mut tx = store.read().await?;
        crate::store::key_proofs::list(&mut tx).await
    };
    proofs.await.is_ok_and(|proofs| proofs.is_empty())
}

/// Whether a connection to each of the configured addresses can be made at all.
async fn reachable(config: &Config, clock: &Clock) -> Finding {
    let all = &config.google.endpoints;
    let addresses = [
        &all.token,
        &all.revoke,
        &all.jwks,
        &all.discovery,
        &all.gmail,
        &all.calendar,
        &all.directory,
        &config.pubsub.endpoint,
    ];
    let places: BTreeSet<(String, u16)> = addresses.into_iter().filter_map(place).collect();
    let tries = places.iter().map(async |(host, port)| {
        let connected = tokio::select! {
            connected = TcpStream::connect((host.as_str(), *port)) => connected.is_ok(),
            () = clock.sleep(CONNECT_TIME_MAX) => false,
        };
        (!connected).then(|| format!("{host}:{port}"))
    });
    let away: Vec<String> = join_all(tries).await.into_iter().flatten().collect();
    if away.is_empty() {
        let detail = if places.len() == 1 { "It answers.".to_owned() } else { format!("All {} answer.", places.len()) };
        return Finding::good("endpoints", detail);
    }
    let detail = format!("No connection to {}.", away.join(", "));
    Finding::problem("endpoints", detail, "Let this machine connect there, or correct [google.endpoints].")
}

fn place(url: &Url) -> Option<(String, u16)> {
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), url.port_or_known_default()?))
}

async fn discovery(config: &Config, google: &Client) -> Finding {
    let issuer = &config.signin.issuer;
    match google.discover(issuer).await {
        Ok(_) => Finding::good("sign-in issuer", format!("{issuer} tells where people sign in.")),
        Err(error) => {
            let remedy = remedy(&error, "Correct signin.issuer, letter by letter.");
            Finding::problem("sign-in issuer", spoken(&error), remedy)
        }
    }
}

/// Asks the token endpoint with a refresh token that can't exist: who is refused for the token is known as a client.
async fn clients(config: &Config, google: &Client) -> Vec<Finding> {
    let endpoints = &config.google.endpoints;
    let grants = client("Google client", &config.google.client, config.server.public_url.page(CONNECT_CALLBACK));
    let mut findings = vec![known(&grants, &Provider::google(endpoints), google, "google").await];
    if config.signin.client.client_id != config.google.client.client_id {
        let signin = client("sign-in client", &config.signin.client, config.server.public_url.page(SIGNIN_CALLBACK));
        let provider = if config.signin.issuer == endpoints.issuer {
            Ok(Provider::google(endpoints))
        } else {
            google.discover(&config.signin.issuer).await
        };
        findings.push(match provider {
            Ok(provider) => known(&signin, &provider, google, "signin").await,
            Err(_) => Finding::skipped(signin.0, "the sign-in issuer"),
        });
    }
    findings
}

fn client(check: &'static str, client: &config::OAuthClient, redirect_uri: String) -> (&'static str, OAuthClient) {
    let (client_id, client_secret) = (client.client_id.clone(), client.client_secret.clone());
    (check, OAuthClient { client_id, client_secret, redirect_uri })
}

async fn known(
    (check, client): &(&'static str, OAuthClient),
    provider: &Provider,
    google: &Client,
    section: &str,
) -> Finding {
    let nobody = SecretString::from("1//intail-doctor");
    match google.refresh(provider, client, &nobody, "doctor", "doctor").await {
        Err(error) if !matches!(error.kind, ErrorKind::GrantDead(_)) => {
            let remedy = remedy(&error, &format!("Correct {section}.client_id and {section}.client_secret."));
            Finding::problem(check, spoken(&error), remedy)
        }
        Ok(_) | Err(_) => {
            Finding::good(check, format!("It is known. Its redirect address has to be {}.", client.redirect_uri))
        }
    }
}

async fn pubsub(config: &Config, google: &Client, fix: bool, again: &str) -> Vec<Finding> {
    let credentials = match notices::credentials(&config.pubsub.credentials) {
        Ok(credentials) => credentials,
        Err(error) => {
            let remedy = "Name a service account's key file in pubsub.credentials_file.";
            return vec![Finding::problem("Pub/Sub", super::sentence(&error), remedy)];
        }
    };
    let pubsub = google.pubsub(config.pubsub.endpoint.as_str(), &credentials);
    let topic = topic(config, &pubsub, fix, again).await;
    if topic.state == State::Problem {
        return vec![topic, Finding::skipped("publisher", "the topic"), Finding::skipped("subscription", "the topic")];
    }
    let publisher = publisher(config, &pubsub, fix, again).await;
    let subscription = subscription(config, &pubsub, fix, again).await;
    let heartbeat = heartbeat(config, &pubsub).await;
    [topic, publisher, subscription].into_iter().chain(heartbeat).collect()
}

async fn topic(config: &Config, pubsub: &PubSub, fix: bool, again: &str) -> Finding {
    let name = &config.pubsub.topic;
    match pubsub.topic_exists(name).await {
        Ok(true) => Finding::good("topic", format!("{name} is there.")),
        Ok(false) if fix => match provision::topic(pubsub, &config.pubsub).await {
            Ok(_) => Finding::new("topic", State::Fixed, format!("{name} was made.")),
            Err(error) => unfixed("topic", &error, &format!("gcloud pubsub topics create {name}")),
        },
        Ok(false) => Finding::problem("topic", format!("{name} doesn't exist."), again),
        Err(error) => unseen("topic", name, &error, "roles/pubsub.viewer"),
    }
}

async fn publisher(config: &Config, pubsub: &PubSub, fix: bool, again: &str) -> Finding {
    let name = &config.pubsub.topic;
    let command = format!(
        "gcloud pubsub topics add-iam-policy-binding {name} --role=roles/pubsub.publisher --member={GMAIL_PUBLISHER}"
    );
    if fix {
        return match provision::publisher(pubsub, &config.pubsub).await {
            Ok(Publisher::Granted) => Finding::new("publisher", State::Fixed, "Gmail may publish to the topic now."),
            Ok(Publisher::Already) => Finding::good("publisher", "Gmail may publish to the topic."),
            Ok(Publisher::Unsupported) => Finding::good("publisher", "This Pub/Sub knows no rights, as an emulator."),
            Err(error) => unfixed("publisher", &error, &command),
        };
    }
    match pubsub.may_publish(name, GMAIL_PUBLISHER).await.map_err(|error| (error.kind.clone(), error)) {
        Ok(true) => Finding::good("publisher", "Gmail may publish to the topic."),
        Ok(false) => {
            Finding::problem("publisher", "Gmail may not publish to the topic, so no new mail is noticed.", again)
        }
        Err((ErrorKind::Refused(Refusal::NotImplemented), _)) => {
            Finding::good("publisher", "This Pub/Sub knows no rights, as an emulator.")
        }
        Err((_, error)) => unseen("publisher", &format!("the rights of {name}"), &error, "roles/pubsub.admin"),
    }
}

async fn subscription(config: &Config, pubsub: &PubSub, fix: bool, again: &str) -> Finding {
    let (name, public_url) = (&config.pubsub.subscription, &config.server.public_url);
    match pubsub.subscription(name).await {
        Ok(Some(state)) => match provision::misfit(&state, &config.pubsub, public_url) {
            None => Finding::good("subscription", format!("{name} is there{}.", how(config))),
            Some(misfit) => {
                let remedy = format!("gcloud pubsub subscriptions delete {name}, then: {again}");
                Finding::problem("subscription", format!("{name} is there, but doesn't fit. {misfit}"), remedy)
            }
        },
        Ok(None) if fix => match provision::subscription(pubsub, &config.pubsub, public_url).await {
            Ok(Created::New | Created::Existed) => {
                Finding::new("subscription", State::Fixed, format!("{name} was made{}.", how(config)))
            }
            Err(error) => {
                let topic = &config.pubsub.topic;
                let command =
                    format!("gcloud pubsub subscriptions create {name} --topic={topic} --expiration-period=never");
                unfixed("subscription", &error, &command)
            }
        },
        Ok(None) => Finding::problem("subscription", format!("{name} doesn't exist."), again),
        Err(error) => unseen("subscription", name, &error, "roles/pubsub.viewer"),
    }
}

/// Whether Intail may publish its heartbeat. It is said only where it can't.
async fn heartbeat(config: &Config, pubsub: &PubSub) -> Option<Finding> {
    let name = &config.pubsub.topic;
    let beat = notices::heartbeat::message("doctor");
    let error = pubsub.publish(name, &beat, &BTreeMap::new()).await.err()?;
    let detail = format!(
        "Intail can't publish its heartbeat to {name}, so nothing proves that notices arrive. {}",
        spoken(&error)
    );
    let refused = format!("Give Intail's service account roles/pubsub.publisher on {name}.");
    Some(Finding::problem("heartbeat", detail, remedy(&error, &refused)))
}

fn how(config: &Config) -> &'static str {
    match config.pubsub.mode {
        PubSubMode::Pull => ", to be pulled",
        PubSubMode::Push { .. } => " and pushes",
    }
}

fn unfixed(check: &'static str, error: &ProvisionError, command: &str) -> Finding {
    Finding::problem(check, error.to_string(), command)
}

fn unseen(check: &'static str, what: &str, error: &Error, role: &str) -> Finding {
    let refused = match &error.kind {
        ErrorKind::Refused(Refusal::Forbidden | Refusal::ScopeMissing) => format!("Give the service account {role}."),
        _ => "Correct [pubsub] and its credentials.".to_owned(),
    };
    Finding::problem(check, format!("{what} can't be looked at. {}", spoken(error)), remedy(error, &refused))
}

/// What to do about an error: `refused` if it would come again.
fn remedy(error: &Error, refused: &str) -> String {
    match &error.kind {
        ErrorKind::Transient | ErrorKind::SlowDown { .. } => {
            "See that this machine gets there, then try again in a minute.".to_owned()
        }
        _ => refused.to_owned(),
    }
}

/// An error of Google's client as a sentence, with Google's own words: whoever runs the doctor is the operator.
fn spoken(error: &Error) -> String {
    let sentence = super::capital(&error.kind.to_string());
    error.detail().map_or(sentence.clone(), |detail| format!("{sentence} Google says: {detail}"))
}

fn as_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let detail = finding.detail.replace('\n', "\n    ");
        text.push_str(&format!("{:<8} {:<width$}  {detail}\n", finding.state.word(), finding.check));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("{:<8} {:<width$}  to do: {remedy}\n", "", ""));
        }
    }
    let problems = findings.iter().filter(|finding| finding.state == State::Problem).count();
    text.push_str(&match problems {
        0 => "\nEverything is as it should be.\n".to_owned(),
        1 => "\nThere is 1 problem.\n".to_owned(),
        many => format!("\nThere are {many} problems.\n"),
    });
    text
}

fn as_json(findings: &[Finding]) -> String {
    let all: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "state": finding.state.word(),
                "detail": finding.detail,
                "remedy": finding.remedy,
            })
        })
        .collect();
    format!("{:#}\n", Value::from(all))
}

#[cfg(test)]
mod tests {
    // Each reason is told with one thing to do, unless nobody has to do anything.
    #[test]
    fn why_google_does_not_tell_of_calendars_says_what_to_do() {
        let of = |reason| super::channel_problem(reason, 3);
        for reason in ["pushNotSupportedForRequestedResource", "transient", "not_understood"] {
            let finding = of(reason);
            assert_eq!((finding.state, finding.remedy), (super::State::Good, None), "{reason}");
        }
        for (reason, remedy) in [
            ("push.webhookUrlUnauthorized", "Search Console"),
            ("push.webhookUrlNotHttps", "https"),
            ("tomorrow'sReason", "guide to push notifications"),
        ] {
            let finding = of(reason);
            assert_eq!(finding.state, super::State::Problem);
            assert!(finding.detail.contains("3 calendars") && finding.detail.contains(reason), "{finding:?}");
            assert!(finding.remedy.is_some_and(|it| it.contains(remedy)), "{reason}");
        }
    }

    use super::*;

    #[test]
    fn findings_read_well() {
        let findings = [
            Finding::good("configuration", "It is complete."),
            Finding::problem("topic", "projects/p/topics/t doesn't exist.", "intail doctor --fix"),
            Finding::skipped("subscription", "the topic"),
        ];
        insta::assert_snapshot!(as_text(&findings), @r"
        ok       configuration  It is complete.
        problem  topic          projects/p/topics/t doesn't exist.
                                to do: intail doctor --fix
        skipped  subscription   Not looked at, because of the problem with the topic.

        There is 1 problem.
        ");
    }

    #[test]
    fn a_place_is_a_host_and_a_port() {
        let of = |text: &str| place(&Url::parse(text).expect("an address"));
        assert_eq!(of("https://gmail.googleapis.com"), Some(("gmail.googleapis.com".to_owned(), 443)));
        assert_eq!(of("http://[::1]:8090/x"), Some(("::1".to_owned(), 8090)));
    }
}

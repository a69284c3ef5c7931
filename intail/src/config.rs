//! The configuration: one typed tree, read once at the start from a TOML file and the environment.
//!
//! Two stages: `settings.rs` turns text into named values with their places, this file turns those into checked parts.
//! Whoever holds a [`Config`] needs to check nothing again. What a reader must not break: an unknown key is an error,
//! all problems are reported together, no sentence contains a secret, and the library never asks the environment.

mod keys;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use intail_google::calls::Api;
use intail_google::price::{Limits, Table};
use intail_google::{EndpointError, Endpoints};
use secrecy::SecretString;
use url::{Host, Url};

pub use keys::{default_file, reference};
pub use settings::{Place, Problem};

use settings::{EMULATOR, Settings, Value, read_bounded};

/// Everything an operator can choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Intail listens and how people reach it.
    pub server: Server,
    /// Which database.
    pub database: Database,
    /// The sealing key.
    pub keys: Keys,
    /// How people sign in.
    pub signin: Signin,
    /// The OAuth client for grants, and where Google is.
    pub google: Google,
    /// Where notices come from.
    pub pubsub: PubSub,
    /// What Google allows.
    pub quota: Quota,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// The address to listen on; port 0 means any free one.
    pub listen: SocketAddr,
    /// The address in people's browsers.
    pub public_url: PublicUrl,
}

/// Scheme, host and port under which browsers reach Intail: https, or http on loopback; no path, no trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

/// `[database]`
#[derive(Clone, Debug)]
pub enum Database {
    /// The file, absolute if the working directory was.
    Sqlite(PathBuf),
    /// The whole URL, password included.
    Postgres(SecretString),
}

/// `[keys]`
#[derive(Clone, Debug)]
pub struct Keys {
    /// The key file.
    pub file: PathBuf,
}

/// An OAuth client.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// Its public name.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
}

/// `[signin]`
#[derive(Clone, Debug)]
pub struct Signin {
    /// The OpenID Connect issuer, letter by letter. If it equals `google.endpoints.issuer`, those endpoints count and
    /// nothing has to be discovered.
    pub issuer: String,
    /// The client for signing in; by default the one of `[google]`.
    pub client: OAuthClient,
}

/// `[google]`
#[derive(Clone, Debug)]
pub struct Google {
    /// The client that people permit to read.
    pub client: OAuthClient,
    /// The Cloud project's ID, if given.
    pub project: Option<String>,
    /// Where Google's services are. For Pub/Sub use [`PubSub::endpoint`], which also knows the emulator.
    pub endpoints: Endpoints,
    /// Whether Google is asked to tell of changed calendars, see [`takes_calendar_notices`].
    pub calendar_notices: bool,
}

/// `[pubsub]`
#[derive(Clone, Debug)]
pub struct PubSub {
    /// Pull or push.
    pub mode: PubSubMode,
    /// `projects/P/topics/T`
    pub topic: String,
    /// `projects/P/subscriptions/S`
    pub subscription: String,
    /// The base address that counts: the emulator's, or `google.endpoints.pubsub`.
    pub endpoint: Url,
    /// How to prove who we are there.
    pub credentials: PubSubCredentials,
}

/// How notices arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PubSubMode {
    /// Intail asks.
    Pull,
    /// Pub/Sub calls `/notices/pubsub`, with a token that must carry both of these.
    Push {
        /// The token's `aud`.
        audience: String,
        /// The token's e-mail address.
        service_account: String,
    },
}

/// How to prove who we are to Pub/Sub.
#[derive(Clone, Debug)]
pub enum PubSubCredentials {
    /// Not at all: an emulator, or any plain http endpoint.
    Anonymous,
    /// The content of `pubsub.credentials_file`.
    File(SecretString),
    /// The machine's own: metadata server, workload identity, `gcloud auth application-default login`.
    Ambient,
}

/// `[quota]`
#[derive(Clone, Debug)]
pub struct Quota {
    /// Google's price table.
    pub table: Table,
    /// Prices that differ from the table, in units by the name of the call.
    pub units: BTreeMap<String, u32>,
    /// What may be spent at Gmail, in units: the table's limits with the overrides in place.
    pub limits: Limits,
    /// How many requests may go to the calendar, with the overrides in place.
    pub calendar: Limits,
    /// How many requests may go to the directory, with the overrides in place.
    pub directory: Limits,
}

/// Everything that is wrong with a configuration; its text has one line per problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => formatter.write_str("The configuration has a problem:")?,
            count => write!(formatter, "The configuration has {count} problems:")?,
        }
        self.problems.iter().take(PROBLEMS_SHOWN_MAX).try_for_each(|problem| write!(formatter, "\n- {problem}"))?;
        match self.problems.len().saturating_sub(PROBLEMS_SHOWN_MAX) {
            0 => Ok(()),
            more => write!(formatter, "\n- and {more} more"),
        }
    }
}

/// How many problems are printed at once; more don't help, such as when the file is something else entirely.
const PROBLEMS_SHOWN_MAX: usize = 30;

/// The longest client ID, issuer or project ID, in bytes. Google's have about 75.
const NAME_BYTES_MAX: usize = 512;

/// The path below the public address to which Google sends people back after consent.
pub const CONNECT_CALLBACK: &str = "/connect/google/callback";

/// The path below the public address to which Google sends notices of changed calendars.
pub const CALENDAR_NOTICES: &str = "/notices/calendar";

/// The path below the public address to which the sign-in provider sends people back.
pub const SIGNIN_CALLBACK: &str = "/signin/callback";
/// Where a one-time sign-in link leads.
pub const SIGN_IN_LINK: &str = "/signin/link";

/// The path below the public address that receives Pub/Sub's pushes.
pub const PUBSUB_PUSH: &str = "/notices/pubsub";

impl Config {
    /// Reads `file` (if any) and the environment. Relative paths inside start at the file's folder, or at
    /// `working_directory` if there is no file.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        working_directory: &Path,
    ) -> Result<Self, ConfigError> {
        let Some(file) = file else {
            return Self::from_text(None, environment, working_directory);
        };
        let path = working_directory.join(file);
        let text = read_bounded(&path).map_err(|reason| {
            let sentence = format!("the configuration file {} can't be read: {reason}.", path.display());
            ConfigError { problems: vec![Problem { key: "--config".to_owned(), place: Place::Absent, sentence }] }
        })?;
        let directory = path.parent().unwrap_or(working_directory);
        Self::from_text(Some((file, &text)), environment, directory)
    }

    /// As [`Config::load`], with the file's text at hand: its name (for messages) and its content.
    pub fn from_text(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
        directory: &Path,
    ) -> Result<Self, ConfigError> {
        let mut settings = Settings::default();
        if let Some((name, text)) = file {
            settings.add_file(name, text).map_err(|problem| ConfigError { problems: vec![problem] })?;
        }
        settings.add_environment(environment);
        let mut check = Check { settings, directory };
        let config = check.config();
        let problems = check.settings.problems;
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems }),
        }
    }

    /// A configuration made by hand: SQLite and the key in `directory`, sign-in with the same client, Google itself
    /// everywhere. Callers overwrite what they need.
    pub fn minimal(public_url: &str, directory: &Path, client: OAuthClient) -> Result<Self, ConfigError> {
        let mut check = Check { settings: Settings::default(), directory };
        let endpoints = Endpoints::default();
        let public_url = check.public_url_text("server.public_url", Place::Absent, public_url);
        let Some(public_url) = public_url else {
            return Err(ConfigError { problems: check.settings.problems });
        };
        Ok(Self {
            server: Server { listen: SocketAddr::from(([127, 0, 0, 1], 0)), public_url },
            database: Database::Sqlite(directory.join("intail.db")),
            keys: Keys { file: directory.join("intail.key") },
            signin: Signin { issuer: endpoints.issuer.clone(), client: client.clone() },
            pubsub: PubSub {
                mode: PubSubMode::Pull,
                topic: "projects/intail/topics/intail".to_owned(),
                subscription: "projects/intail/subscriptions/intail".to_owned(),
                endpoint: endpoints.pubsub.clone(),
                credentials: PubSubCredentials::Anonymous,
            },
            google: Google { client, project: Some("intail".to_owned()), endpoints, calendar_notices: false },
            quota: Quota::of(Table::default()),
        })
    }

    /// What the configuration means, one line per part, without any secret.
    pub fn summary(&self) -> String {
        let file = |path: &Path| path.display().to_string();
        let mode = match &self.pubsub.mode {
            PubSubMode::Pull => "pull".to_owned(),
            PubSubMode::Push { audience, service_account } => format!("push by {service_account} for {audience}"),
        };
        let limits = &self.quota.limits;
        let rows = [
            ("listens on", self.server.listen.to_string()),
            ("public address", self.server.public_url.to_string()),
            ("database", self.database.to_string()),
            ("sealing key", file(&self.keys.file)),
            ("sign-in issuer", self.signin.issuer.clone()),
            ("sign-in client", self.signin.client.client_id.clone()),
            ("sign-in redirect", self.server.public_url.page(SIGNIN_CALLBACK)),
            ("Google client", self.google.client.client_id.clone()),
            ("Google redirect", self.server.public_url.page(CONNECT_CALLBACK)),
            (
                "Google's endpoints",
                if self.google.endpoints == Endpoints::default() { "Google" } else { "changed" }.to_owned(),
            ),
            ("Pub/Sub", format!("{} ({})", self.pubsub.endpoint, self.pubsub.credentials.in_words())),
            ("notices", mode),
            ("topic", self.pubsub.topic.clone()),
            ("subscription", self.pubsub.subscription.clone()),
            (
                "quota",
                format!(
                    "table {}: {} units a minute per person, {} a minute and {} a day per project",
                    self.quota.table, limits.person_minute, limits.project_minute, limits.project_day
                ),
            ),
        ];
        rows.iter().map(|(name, value)| format!("{name:<20}{value}\n")).collect()
    }
}

impl PublicUrl {
    /// Without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of a page; `path` starts with a slash.
    pub fn page(&self, path: &str) -> String {
        debug_assert!(path.starts_with('/'), "{path}");
        format!("{}{path}", self.0)
    }

    /// Whether it leads to this machine only.
    fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| url.host().is_some_and(|host| is_loopback(&host)))
    }

    /// Whether cookies can be `Secure`.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Checks and normalizes an address. The error is a sentence about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "it has to be an address like https://intail.example.com.";
        let url = Url::parse(text.trim()).map_err(|_| SHAPE)?;
        let host = url.host().ok_or(SHAPE)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => return Err("plain http is only accepted on loopback (127.0.0.0/8, ::1, localhost). Use https."),
            _ => return Err(SHAPE),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or password. Remove it.");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "it has a path, query or fragment. Intail owns the whole host: give only scheme, host and port.",
            );
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether Google can be asked to tell of changed calendars here: it calls https addresses only (the Calendar API's
/// guide on push). What stands in for it on this very machine reaches this machine without.
pub fn takes_calendar_notices(public_url: &PublicUrl, endpoints: &Endpoints) -> bool {
    let stands_in_here = endpoints.calendar.host().is_some_and(|host| is_loopback(&host));
    public_url.is_https() || (public_url.is_loopback() && stands_in_here)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

impl Database {
    /// Reads `sqlite:FILE` or `postgres://…`; a relative file starts at `directory`. The error is a sentence about it,
    /// without its text.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, &'static str> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err("`sqlite:` needs a file, such as sqlite:intail.db."),
                ":memory:" => Err("a database in memory loses everything. Give a file, such as sqlite:intail.db."),
                path if path.contains('?') => Err("a SQLite address takes no parameters. Give only the file."),
                path => Ok(Self::Sqlite(directory.join(path))),
            };
        }
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err("it has to begin with sqlite: or postgres://.");
        }
        Url::parse(text).map_err(|_| "this isn't a valid address. Write postgres://user:password@host/name.")?;
        Ok(Self::Postgres(SecretString::from(text)))
    }
}

impl fmt::Display for Database {
    /// For people: never the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use secrecy::ExposeSecret as _;
        match self {
            Self::Sqlite(path) => write!(formatter, "SQLite, {}", path.display()),
            Self::Postgres(url) => match Url::parse(url.expose_secret()) {
                Ok(url) => write!(formatter, "PostgreSQL, {}{}", url.host_str().unwrap_or("local socket"), url.path()),
                Err(_) => formatter.write_str("PostgreSQL"),
            },
        }
    }
}

impl PubSubCredentials {
    fn in_words(&self) -> &'static str {
        match self {
            Self::Anonymous => "without credentials",
            Self::File(_) => "with the credentials file",
            Self::Ambient => "with this machine's Google credentials",
        }
    }
}

impl Quota {
    /// A table without overrides.
    pub fn of(table: Table) -> Self {
        let limits = table.limits();
        let counted = |api| Limits::of_requests(api).unwrap_or(limits);
        let (calendar, directory) = (counted(Api::Calendar), counted(Api::Directory));
        Self { table, units: BTreeMap::new(), limits, calendar, directory }
    }

    /// What a call costs here, in units.
    pub fn units(&self, call: &str) -> u32 {
        self.units.get(call).copied().unwrap_or_else(|| self.table.units(call))
    }
}

/// The second stage: from settings to checked parts. A method returns `None` after it has reported why.
struct Check<'a> {
    settings: Settings,
    directory: &'a Path,
}

impl Check<'_> {
    fn config(&mut self) -> Option<Config> {
        // Every part is checked before the first `?`, so that all problems are found.
        let server = self.server();
        let database = self.database();
        let file = self.text_or("keys.file", "intail.key").map(|path| self.directory.join(path));
        let endpoints = self.endpoints();
        let client = self.client("google");
        let signin = self.signin(endpoints.as_ref(), client.as_ref());
        let project = self.project();
        let audience = server.as_ref().map(|server| server.public_url.page(PUBSUB_PUSH));
        let pubsub = self.pubsub(project.as_deref(), endpoints.as_ref(), audience);
        let quota = self.quota();
        let (server, endpoints) = (server?, endpoints?);
        let calendar_notices = takes_calendar_notices(&server.public_url, &endpoints);
        Some(Config {
            server,
            database: database?,
            keys: Keys { file: file? },
            signin: signin?,
            google: Google { client: client?, project, endpoints, calendar_notices },
            pubsub: pubsub?,
            quota: quota?,
        })
    }

    fn report(&mut self, key: &str, sentence: impl Into<String>) {
        let place = self.settings.place(key);
        self.settings.report(key, place, sentence);
    }

    fn is_given(&self, key: &str) -> bool {
        self.settings.place(key) != Place::Absent
    }

    /// The given text; `None` if it is absent or wrong.
    fn text(&mut self, key: &str) -> Option<String> {
        self.settings.text(key).map(|text| text.trim().to_owned())
    }

    fn text_or(&mut self, key: &str, default: &str) -> Option<String> {
        if self.is_given(key) { self.text(key) } else { Some(default.to_owned()) }
    }

    fn server(&mut self) -> Option<Server> {
        let listen = self.text_or("server.listen", "127.0.0.1:8080")?;
        let Ok(listen) = listen.parse::<SocketAddr>() else {
            self.report("server.listen", "it has to be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080.");
            return None;
        };
        let key = "server.public_url";
        if self.is_given(key) {
            let text = self.text(key)?;
            let public_url = self.public_url_text(key, self.settings.place(key), &text)?;
            return Some(Server { listen, public_url });
        }
        if listen.ip().is_loopback() && listen.port() != 0 {
            return Some(Server { listen, public_url: PublicUrl(format!("http://{listen}")) });
        }
        self.report(key, "it is required, because server.listen alone doesn't say how browsers reach Intail.");
        None
    }

    fn public_url_text(&mut self, key: &str, place: Place, text: &str) -> Option<PublicUrl> {
        PublicUrl::parse(text).map_err(|sentence| self.settings.report(key, place, sentence)).ok()
    }

    fn database(&mut self) -> Option<Database> {
        let key = "database.url";
        if !self.is_given(key) && !self.is_given("database.url_file") {
            return Some(Database::Sqlite(self.directory.join("intail.db")));
        }
        let text = self.settings.secret(key, self.directory)?;
        Database::parse(&text, self.directory).map_err(|sentence| self.report(key, sentence)).ok()
    }

    fn endpoints(&mut self) -> Option<Endpoints> {
        let mut endpoints = Endpoints::default();
        let mut good = true;
        if self.is_given("google.endpoints.issuer") {
            match self.issuer("google.endpoints.issuer") {
                Some(issuer) => endpoints.issuer = issuer,
                None => good = false,
            }
        }
        let targets = [
            ("google.endpoints.authorize", &mut endpoints.authorize),
            ("google.endpoints.token", &mut endpoints.token),
            ("google.endpoints.revoke", &mut endpoints.revoke),
            ("google.endpoints.userinfo", &mut endpoints.userinfo),
            ("google.endpoints.jwks", &mut endpoints.jwks),
            ("google.endpoints.gmail", &mut endpoints.gmail),
            ("google.endpoints.calendar", &mut endpoints.calendar),
            ("google.endpoints.directory", &mut endpoints.directory),
            ("google.endpoints.pubsub", &mut endpoints.pubsub),
            ("google.endpoints.discovery", &mut endpoints.discovery),
        ];
        for (key, target) in targets {
            if self.is_given(key) {
                match self.endpoint(key) {
                    Some(url) => *target = url,
                    None => good = false,
                }
            }
        }
        good.then_some(endpoints)
    }

    /// An address that is fit for tokens.
    fn endpoint(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key)?;
        let url = Url::parse(&text).ok();
        // One address at a time through the client's own rule, so that each problem names its key.
        let checked = url.map(|url| Endpoints { gmail: url, ..Endpoints::default() });
        let sentence = match checked.as_ref().map(Endpoints::check) {
            Some(Ok(())) => return checked.map(|endpoints| endpoints.gmail),
            None | Some(Err(EndpointError::NotAnAddress { .. })) => "it has to be an address like https://host/path.",
            Some(Err(EndpointError::PlainHttp { .. })) => {
                "plain http is only accepted on loopback (127.0.0.0/8, ::1, localhost). Use https."
            }
            Some(Err(EndpointError::ExtraParts { .. })) => {
                "it has a user name, password, query or fragment. Remove it."
            }
        };
        self.report(key, sentence);
        None
    }

    /// An issuer: an address that stays text, because issuers are compared letter by letter.
    fn issuer(&mut self, key: &str) -> Option<String> {
        self.endpoint(key)?;
        self.text(key)
    }

    fn client(&mut self, section: &str) -> Option<OAuthClient> {
        let (id_key, secret_key) = (format!("{section}.client_id"), format!("{section}.client_secret"));
        let client_id = self.required(&id_key).and_then(|id| self.short_name(&id_key, id));
        let given = self.is_given(&secret_key) || self.is_given(&format!("{secret_key}_file"));
        let client_secret = if given {
            self.settings.secret(&secret_key, self.directory)
        } else {
            self.report(&secret_key, format!("it is required. Give it, or {secret_key}_file."));
            None
        };
        let client_secret = SecretString::from(client_secret?.trim().to_owned());
        Some(OAuthClient { client_id: client_id?, client_secret })
    }

    fn required(&mut self, key: &str) -> Option<String> {
        if !self.is_given(key) {
            self.report(key, "it is required.");
        }
        self.text(key)
    }

    fn short_name(&mut self, key: &str, text: String) -> Option<String> {
        if text.len() <= NAME_BYTES_MAX && text.chars().all(|letter| letter.is_ascii_graphic()) {
            return Some(text);
        }
        let sentence = format!("it has to be at most {NAME_BYTES_MAX} letters, digits and signs, without spaces.");
        self.report(key, sentence);
        None
    }

    fn signin(&mut self, endpoints: Option<&Endpoints>, google: Option<&OAuthClient>) -> Option<Signin> {
        let own_issuer = self.is_given("signin.issuer");
        let issuer = if own_issuer { self.issuer("signin.issuer") } else { endpoints.map(|all| all.issuer.clone()) };
        let own_client = ["signin.client_id", "signin.client_secret", "signin.client_secret_file"];
        let client = if own_client.iter().any(|key| self.is_given(key)) {
            self.client("signin")
        } else if let (Some(issuer), Some(all)) = (&issuer, endpoints)
            && *issuer != all.issuer
        {
            let sentence =
                "it is required, because signin.issuer isn't Google: the client in [google] is unknown there.";
            self.report("signin.client_id", sentence);
            None
        } else {
            google.cloned()
        };
        Some(Signin { issuer: issuer?, client: client? })
    }

    fn project(&mut self) -> Option<String> {
        let project = self.text("google.project")?;
        if is_project(&project) {
            return Some(project);
        }
        self.report(
            "google.project",
            "it has to be a project ID: small letters, digits and hyphens, not the number or name.",
        );
        None
    }

    fn pubsub(
        &mut self,
        project: Option<&str>,
        endpoints: Option<&Endpoints>,
        audience: Option<String>,
    ) -> Option<PubSub> {
        let mode = self.pubsub_mode(audience);
        let topic = self.resource("pubsub.topic", project, "topics");
        let subscription = self.resource("pubsub.subscription", project, "subscriptions");
        let emulator = self.emulator();
        let file = self.credentials_file();
        let (endpoint, credentials) = match emulator {
            Some(emulator) => (emulator?, PubSubCredentials::Anonymous),
            None => {
                let endpoint = endpoints?.pubsub.clone();
                let credentials = match file {
                    Some(file) => PubSubCredentials::File(file?),
                    // The machine's own credentials are Google's business: they never travel over plain http.
                    None if endpoint.scheme() == "http" => PubSubCredentials::Anonymous,
                    None => PubSubCredentials::Ambient,
                };
                (endpoint, credentials)
            }
        };
        Some(PubSub { mode: mode?, topic: topic?, subscription: subscription?, endpoint, credentials })
    }

    fn pubsub_mode(&mut self, audience: Option<String>) -> Option<PubSubMode> {
        let own_audience = self.is_given("pubsub.push_audience");
        let audience = if own_audience { self.text("pubsub.push_audience") } else { audience };
        let account = self.text("pubsub.push_service_account");
        if account.as_ref().is_some_and(|account| !account.contains('@')) {
            self.report("pubsub.push_service_account", "it has to be a service account's e-mail address.");
            return None;
        }
        match self.text_or("pubsub.mode", "pull")?.as_str() {
            "pull" => Some(PubSubMode::Pull),
            "push" if account.is_none() && !self.is_given("pubsub.push_service_account") => {
                self.report(
                    "pubsub.push_service_account",
                    "it is required with mode = \"push\": without it anybody could send notices.",
                );
                None
            }
            "push" => Some(PubSubMode::Push { audience: audience?, service_account: account?.to_ascii_lowercase() }),
            _ => {
                self.report("pubsub.mode", "it has to be \"pull\" or \"push\".");
                None
            }
        }
    }

    /// A topic's or subscription's full name from a full or short one.
    fn resource(&mut self, key: &str, project: Option<&str>, collection: &str) -> Option<String> {
        let text = self.text_or(key, "intail")?;
        let parts: Vec<&str> = text.split('/').collect();
        match (parts.as_slice(), project) {
            (["projects", owner, kind, name], _) if *kind == collection && is_project(owner) && is_resource(name) => {
                Some(text)
            }
            ([name], Some(project)) if is_resource(name) => Some(format!("projects/{project}/{collection}/{name}")),
            ([name], None) if is_resource(name) => {
                if !self.is_given("google.project") {
                    let sentence = format!(
                        "the short name {name} needs google.project. Give that, or the full name \
                         projects/PROJECT/{collection}/{name}."
                    );
                    self.report(key, sentence);
                }
                None
            }
            _ => {
                let sentence = format!(
                    "it has to be projects/PROJECT/{collection}/NAME or a short name: a letter, then letters, digits \
                     and -_.~+%, 3 to 255 in all, not beginning with goog."
                );
                self.report(key, sentence);
                None
            }
        }
    }

    /// The emulator's address: `Some(None)` if the variable is there but wrong.
    fn emulator(&mut self) -> Option<Option<Url>> {
        let setting = self.settings.emulator.clone()?;
        let Value::Text(text) = &setting.value else {
            return Some(None);
        };
        let text = text.trim();
        let url = Url::parse(&format!("http://{text}")).ok().filter(|url| {
            url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty()
        });
        if url.is_none() || text.contains('/') {
            self.settings.report(EMULATOR, setting.place, "it has to be host:port, such as 127.0.0.1:8085.");
            return Some(None);
        }
        Some(url)
    }

    /// The credentials file's content: `Some(None)` if it is named but can't be used.
    fn credentials_file(&mut self) -> Option<Option<SecretString>> {
        let key = "pubsub.credentials_file";
        if !self.is_given(key) {
            return None;
        }
        let path = self.text(key).map(|path| self.directory.join(path));
        let Some(text) = path.and_then(|path| self.settings.secret_file(key, &path)) else {
            return Some(None);
        };
        let is_object = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|json| json.is_object());
        if !is_object {
            self.report(key, "the file isn't JSON. Download a service account's key as JSON.");
            return Some(None);
        }
        Some(Some(SecretString::from(text)))
    }

    fn quota(&mut self) -> Option<Quota> {
        let table = self.text_or("quota.table", Table::default().name())?;
        let Ok(table) = table.parse::<Table>() else {
            self.report("quota.table", "it has to be \"2026-05\" or \"before-2026-05\".");
            return None;
        };
        let mut quota = Quota::of(table);
        let limits = &mut quota.limits;
        for (name, limit) in [
            ("person_minute", &mut limits.person_minute),
            ("project_minute", &mut limits.project_minute),
            ("project_day", &mut limits.project_day),
            ("calendar.person_minute", &mut quota.calendar.person_minute),
            ("calendar.project_minute", &mut quota.calendar.project_minute),
            ("calendar.project_day", &mut quota.calendar.project_day),
            ("directory.person_minute", &mut quota.directory.person_minute),
            ("directory.project_minute", &mut quota.directory.project_minute),
            ("directory.project_day", &mut quota.directory.project_day),
        ] {
            if let Some(number) = self.settings.number(&format!("{}.{name}", keys::OVERRIDES), UNITS_MAX) {
                *limit = number;
            }
        }
        let key = format!("{}.concurrent_per_mailbox", keys::OVERRIDES);
        if let Some(number) = self.settings.number(&key, CONCURRENT_MAX) {
            limits.concurrent_per_mailbox = u32::try_from(number).unwrap_or(u32::MAX);
        }
        for call in keys::priced_calls() {
            if let Some(number) = self.settings.number(&format!("{}.{call}", keys::OVERRIDES), PRICE_MAX) {
                quota.units.insert(call.to_owned(), u32::try_from(number).unwrap_or(u32::MAX));
            }
        }
        Some(quota)
    }
}

/// The largest limit in units: far above Google's, far below what could overflow when added up.
const UNITS_MAX: u64 = 1_000_000_000_000;
/// The largest price of one call in units.
const PRICE_MAX: u64 = 1_000_000;
/// The most calls at the same time for one mailbox. Google refuses long before.
const CONCURRENT_MAX: u64 = 100;

/// Whether a project ID has Google's form; older ones carry a domain and a colon.
fn is_project(text: &str) -> bool {
    let letters = text.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '.' | ':'));
    letters && (3..=NAME_BYTES_MAX).contains(&text.len()) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Whether a short name follows Pub/Sub's "resource names" rules.
fn is_resource(text: &str) -> bool {
    let letters = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.~+%".contains(letter));
    let start = text.starts_with(|first: char| first.is_ascii_alphabetic()) && !text.starts_with("goog");
    letters && start && (3..=255).contains(&text.len())
}

#[cfg(test)]
mod tests;

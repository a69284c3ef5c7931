//! Worlds that people write: a TOML file with a company, its people, their labels and mail, applications and what the
//! administrators allow. Everything unknown is an error, and every error says where it is and what to do: a world that
//! is not what its author meant proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::access::AccessPolicy;
use crate::accounts::{ClientState, Customer, Identity, IdentitySwitches, OAuthClient, Person, UserType};
use crate::agenda::{CalendarAction, EventEntry};
use crate::appointments::EVENTS_PER_PERSON_MAX;
use crate::clock::Clock;
use crate::compose::{self, Compose};
use crate::generator::{Generate, MAIL_PER_PERSON_MAX};
use crate::mail::{Header, LABEL_NAME_BYTES_MAX};
use crate::profile::Profile;
use crate::quota::{Limits, Refusal, Table};
use crate::topics::SubscriptionSettings;
use crate::world::{Settings, World};

/// The world of the demo.
const DEFAULT: &str = include_str!("../worlds/default.toml");
/// Most people in a world.
const PEOPLE_MAX: usize = 100_000;
/// Domains whose accounts are nobody's but the person's.
const CONSUMER_DOMAINS: [&str; 2] = ["gmail.com", "googlemail.com"];

/// Why a world file makes no world.
#[derive(Debug, thiserror::Error)]
pub enum WorldFileError {
    /// It can't be read.
    #[error("the world file {0} can't be read; check the path and its permissions")]
    Access(String, #[source] std::io::Error),
    /// It is not TOML, or has a key that means nothing. The text shows line and column.
    #[error("the world file can't be understood: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value makes no sense.
    #[error("the world file, {place}: {problem}")]
    Value {
        /// The key.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

fn wrong(place: impl Into<String>, problem: impl Into<String>) -> WorldFileError {
    WorldFileError::Value { place: place.into(), problem: problem.into() }
}

/// A world as somebody wrote it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldFile {
    /// The Workspace customer.
    pub company: CompanyEntry,
    /// Accounts.
    pub people: Vec<PersonEntry>,
    /// Applications.
    #[serde(default)]
    pub clients: Vec<ClientEntry>,
    /// What the administrators allow; nothing when absent.
    #[serde(default)]
    pub access: Option<AccessPolicy>,
    /// Chosen behaviour of sign-in and consent.
    #[serde(default)]
    pub identity: IdentitySwitches,
    /// Chosen behaviour of mail and Pub/Sub.
    #[serde(default)]
    pub settings: Settings,
    /// Gmail's limits.
    #[serde(default)]
    pub quota: QuotaEntry,
    /// Topics and subscriptions that are there from the start.
    #[serde(default)]
    pub pubsub: PubSubEntry,
    /// Invented mail.
    #[serde(default)]
    pub generate: Generate,
}

/// The company.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompanyEntry {
    /// Customer id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Primary domain first.
    pub domains: Vec<String>,
}

/// An account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonEntry {
    /// Address; its domain says whether the account belongs to the company.
    pub email: String,
    /// Given name.
    pub given_name: String,
    /// Family name.
    #[serde(default)]
    pub family_name: String,
    /// Google's id; follows from the address when absent.
    pub sub: Option<String>,
    /// May use the Admin console.
    #[serde(default)]
    pub administrator: bool,
    /// Whether Gmail is on.
    #[serde(default = "yes")]
    pub mailbox: bool,
    /// Enrolled in Advanced Protection.
    #[serde(default)]
    pub advanced_protection: bool,
    /// Labels of the person's own.
    #[serde(default)]
    pub labels: Vec<String>,
    /// How much mail is invented for this person; `generate.mail_per_person` when absent.
    pub mail: Option<usize>,
    /// Mail that is not invented.
    #[serde(default)]
    pub messages: Vec<MessageEntry>,
    /// What the directory says.
    #[serde(default)]
    pub profile: Profile,
    /// Suspended by an administrator.
    #[serde(default)]
    pub suspended: bool,
    /// Events that are not invented.
    #[serde(default)]
    pub events: Vec<EventEntry>,
}

fn yes() -> bool {
    true
}

/// A message that lies in a mailbox from the start.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessageEntry {
    /// Who wrote it.
    pub from: String,
    /// To whom; the person when empty.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub body: String,
    /// When it arrived, for example `2026-11-02T08:00:00Z`; now when absent.
    pub at: Option<String>,
    /// Labels by id or name; `INBOX` and `UNREAD` when absent.
    pub labels: Option<Vec<String>>,
    /// All headers as they are, instead of the words above.
    pub headers: Option<Vec<Header>>,
}

/// An application.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: String,
    /// Name on the consent page.
    pub name: String,
    /// Cloud project id.
    pub project: String,
    /// Cloud project number.
    pub project_number: u64,
    /// Who may use it.
    pub user_type: UserType,
    /// Redirect URIs; `{product}` stands for the product's address.
    pub redirect_uris: Vec<String>,
    /// Addresses that may use an application in testing.
    #[serde(default)]
    pub test_users: Vec<String>,
}

/// Gmail's limits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaEntry {
    /// Price list: `2026-05`, `before-2026-05` or `unlimited`.
    pub table: Table,
    /// Limits instead of the list's own.
    pub limits: Option<Limits>,
    /// How a used-up minute is answered.
    pub refusal: Refusal,
}

/// What Pub/Sub holds from the start.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PubSubEntry {
    /// Topics to which Gmail may publish, `projects/P/topics/T`.
    pub topics: Vec<String>,
    /// Subscriptions by name, with their topic.
    pub subscriptions: BTreeMap<String, String>,
    /// Whether the organization forbids outside members in policies.
    pub domain_restricted: bool,
}

impl WorldFile {
    /// Reads a world from text.
    pub fn parse(text: &str) -> Result<WorldFile, WorldFileError> {
        let file: WorldFile = toml::from_str(text)?;
        file.check()?;
        Ok(file)
    }

    /// Reads a world from a file.
    pub fn read(path: &Path) -> Result<WorldFile, WorldFileError> {
        let text = std::fs::read_to_string(path);
        WorldFile::parse(&text.map_err(|error| WorldFileError::Access(path.display().to_string(), error))?)
    }

    /// The world of the demo.
    pub fn default_world() -> Result<WorldFile, WorldFileError> {
        WorldFile::parse(DEFAULT)
    }

    fn check(&self) -> Result<(), WorldFileError> {
        if self.company.domains.is_empty() {
            return Err(wrong("company.domains", "name at least the primary domain"));
        }
        if self.people.is_empty() || self.people.len() > PEOPLE_MAX {
            return Err(wrong("people", format!("list between one and {PEOPLE_MAX} people")));
        }
        if self.generate.mail_per_person > MAIL_PER_PERSON_MAX {
            return Err(wrong("generate.mail_per_person", format!("at most {MAIL_PER_PERSON_MAX} messages")));
        }
        if self.generate.events_per_person > EVENTS_PER_PERSON_MAX {
            return Err(wrong("generate.events_per_person", format!("at most {EVENTS_PER_PERSON_MAX} events")));
        }
        let mut emails = BTreeSet::new();
        let mut subs = BTreeSet::new();
        for (index, person) in self.people.iter().enumerate() {
            let place = format!("people[{index}] (`{}`)", person.email);
            person.check(&place)?;
            let aliases = person.profile.aliases.iter().map(|alias| alias.to_ascii_lowercase());
            if ![person.email.to_ascii_lowercase()].into_iter().chain(aliases).all(|email| emails.insert(email)) {
                return Err(wrong(
                    place,
                    "`email` or an alias is given twice; give each person addresses of their own",
                ));
            }
            if !subs.insert(person.sub()) {
                return Err(wrong(place, "`sub` is given twice; leave it out to have one made from the address"));
            }
        }
        let mut ids = BTreeSet::new();
        for (index, client) in self.clients.iter().enumerate() {
            let place = format!("clients[{index}] (`{}`)", client.client_id);
            if client.client_id.is_empty() || !ids.insert(&client.client_id) {
                return Err(wrong(place, "`client_id` is empty or given twice; give each application its own"));
            }
            if client.redirect_uris.is_empty() {
                return Err(wrong(place, "`redirect_uris` is empty; name where the browser comes back to"));
            }
        }
        Ok(())
    }

    /// Makes the world.
    pub fn build(&self, clock: Clock, seed: u64) -> Result<World, WorldFileError> {
        let company = &self.company;
        let customer =
            Customer { id: company.id.clone(), name: company.name.clone(), domains: company.domains.clone() };
        let people = self.people.iter().map(|person| person.person(&company.domains)).collect();
        let clients = self.clients.iter().map(ClientEntry::client).collect();
        let mut identity = Identity::new(customer, people, clients, self.access.clone().unwrap_or_default(), seed);
        identity.switches = self.identity.clone();
        let mut world = World::new(identity, clock, seed);
        world.settings = self.settings.clone();
        world.quota.table = self.quota.table;
        world.quota.limits = self.quota.limits;
        world.quota.refusal = self.quota.refusal;
        world.redirect_templates =
            self.clients.iter().map(|client| (client.client_id.clone(), client.redirect_uris.clone())).collect();
        self.fill_pubsub(&mut world)?;
        self.fill_mail(&mut world)?;
        self.fill_calendars(&mut world)?;
        Ok(world)
    }

    fn fill_pubsub(&self, world: &mut World) -> Result<(), WorldFileError> {
        let now = world.clock.now();
        let pubsub = &mut world.pubsub;
        pubsub.domain_restricted = self.pubsub.domain_restricted;
        for topic in &self.pubsub.topics {
            let made = pubsub.create_topic(topic).and_then(|()| pubsub.grant_publisher(topic));
            made.map_err(|error| wrong(format!("pubsub.topics (`{topic}`)"), error.to_string()))?;
        }
        for (name, topic) in &self.pubsub.subscriptions {
            let made = pubsub.create_subscription(name, SubscriptionSettings::on(topic), now);
            made.map_err(|error| wrong(format!("pubsub.subscriptions (`{name}`)"), error.to_string()))?;
        }
        Ok(())
    }

    fn fill_calendars(&self, world: &mut World) -> Result<(), WorldFileError> {
        if self.generate.profiles {
            world.generate_profiles();
        }
        for (index, person) in self.people.iter().enumerate() {
            for (number, event) in person.events.iter().enumerate() {
                let place = format!("people[{index}] (`{}`).events[{number}]", person.email);
                let made = CalendarAction::Create { calendar: None, event: Box::new(event.clone()) };
                world.plan(&person.email, &made).map_err(|error| wrong(place, error.to_string()))?;
            }
        }
        world.generate_calendars(self.generate.events_per_person);
        Ok(())
    }

    fn fill_mail(&self, world: &mut World) -> Result<(), WorldFileError> {
        let mut wanted = Vec::new();
        for (index, person) in self.people.iter().enumerate().filter(|(_, person)| person.mailbox) {
            let sub = person.sub();
            let place = format!("people[{index}] (`{}`)", person.email);
            for name in &person.labels {
                let made = world.create_label(&sub, name);
                made.map_err(|error| wrong(format!("{place}.labels"), error.to_string()))?;
            }
            for (number, message) in person.messages.iter().enumerate() {
                message.seed(world, &sub, &format!("{place}.messages[{number}]"))?;
            }
            wanted.push((sub, person.mail.unwrap_or(self.generate.mail_per_person)));
        }
        world.generate(&wanted, &self.generate);
        Ok(())
    }
}

impl PersonEntry {
    fn sub(&self) -> String {
        self.sub.clone().unwrap_or_else(|| crate::accounts::sub_for(&self.email))
    }

    fn check(&self, place: &str) -> Result<(), WorldFileError> {
        let domain = self.email.split_once('@').map(|(_, domain)| domain).unwrap_or_default();
        if !domain.contains('.') || self.email.contains(char::is_whitespace) {
            return Err(wrong(place, "`email` is not an address; write it as name@example.com"));
        }
        if self.mail.is_some_and(|mail| mail > MAIL_PER_PERSON_MAX) {
            return Err(wrong(place, format!("`mail` may be at most {MAIL_PER_PERSON_MAX}")));
        }
        if let Some(label) = self.labels.iter().find(|label| label.len() > LABEL_NAME_BYTES_MAX) {
            return Err(wrong(place, format!("the label `{label}` is longer than {LABEL_NAME_BYTES_MAX} bytes")));
        }
        if !self.mailbox && (!self.messages.is_empty() || self.mail.is_some_and(|mail| mail > 0)) {
            return Err(wrong(place, "there is mail and no mailbox; remove the mail or `mailbox = false`"));
        }
        Ok(())
    }

    /// An account whose domain is not the company's belongs to another company, or, at a consumer domain, to nobody.
    fn person(&self, domains: &[String]) -> Person {
        let domain = self.email.split_once('@').map(|(_, domain)| domain).unwrap_or_default();
        let of_company = domains.iter().find(|known| known.eq_ignore_ascii_case(domain)).map(String::as_str);
        let hd = of_company.or((!CONSUMER_DOMAINS.contains(&domain)).then_some(domain));
        let person = Person::new(&self.email, &self.given_name, &self.family_name, hd);
        Person {
            sub: self.sub(),
            is_admin: self.administrator,
            has_mailbox: self.mailbox,
            advanced_protection: self.advanced_protection,
            profile: self.profile.clone(),
            suspended: self.suspended,
            ..person
        }
    }
}

impl ClientEntry {
    fn client(&self) -> OAuthClient {
        OAuthClient {
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            name: self.name.clone(),
            redirect_uris: self.redirect_uris.clone(),
            project: self.project.clone(),
            project_number: self.project_number,
            user_type: self.user_type,
            state: ClientState::Active,
            test_users: self.test_users.clone(),
        }
    }
}

impl MessageEntry {
    fn seed(&self, world: &mut World, sub: &str, place: &str) -> Result<(), WorldFileError> {
        let now = world.clock.now();
        let at: Timestamp = match &self.at {
            None => now,
            Some(text) => text
                .parse()
                .map_err(|_| wrong(format!("{place}.at"), "not an instant; write it as 2026-11-02T08:00:00Z"))?,
        };
        let compose = Compose {
            to: self.to.clone(),
            subject: self.subject.clone(),
            body: self.body.clone(),
            ..Compose::default()
        };
        let mut letter = world.written_outside(sub, &self.from, &compose);
        for header in letter.headers.iter_mut().filter(|header| header.name == "Date") {
            header.value = compose::date(at);
        }
        if let Some(headers) = &self.headers {
            letter.headers.clone_from(headers);
        }
        if let Some(labels) = &self.labels {
            let mailbox = world.mail.get(sub);
            let id = |name: &String| mailbox.and_then(|mailbox| mailbox.label(name)).map(|label| label.id.clone());
            let known = labels.iter().map(|name| {
                let missing = || wrong(place, format!("there is no label `{name}`; add it to the person's `labels`"));
                id(name).ok_or_else(missing)
            });
            letter.label_ids = known.collect::<Result<_, _>>()?;
        }
        letter.internal_date_ms = Some(at.as_millisecond());
        world.seed_as_it_is(sub, letter, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        [company]
        id = "C1"
        name = "Example"
        domains = ["example.com"]
        [[people]]
        email = "ines@example.com"
        given_name = "Inês"
        labels = ["Travel"]
        [[people.messages]]
        from = "Bo <bo@example.net>"
        subject = "Hello"
        at = "2026-10-01T08:00:00Z"
        labels = ["INBOX", "travel"]
    "#;

    fn built(text: &str) -> World {
        WorldFile::parse(text).unwrap().build(Clock::manual(Timestamp::constant(1_794_000_000, 0)), 1).unwrap()
    }

    fn error(text: &str) -> String {
        WorldFile::parse(text)
            .and_then(|file| file.build(Clock::manual(Timestamp::UNIX_EPOCH), 1))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_default_world_is_a_company_of_ten() {
        let world = WorldFile::default_world().unwrap();
        let world = world.build(Clock::manual(Timestamp::constant(1_794_000_000, 0)), 1).unwrap();
        assert_eq!(world.identity.people.len(), 10);
        assert_eq!(world.identity.clients.len(), 2);
        assert!(world.mailbox("ines@example.com").unwrap().message_count() >= 300);
        assert!(world.mailbox("nomi@example.com").is_none());
        let consumer = world.identity.person_by_email("sam.sandbox.private@gmail.com").unwrap();
        assert_eq!(consumer.hd, None);
        assert_eq!(world.identity.person_by_email("mei@example.org").unwrap().hd.as_deref(), Some("example.org"));
    }

    #[test]
    fn explicit_mail_lies_where_it_was_put() {
        let world = built(SMALL);
        let mailbox = world.mailbox("ines@example.com").unwrap();
        let message = mailbox.newest_first().next().unwrap();
        assert_eq!(message.internal_date_ms, 1_790_841_600_000);
        assert_eq!(message.header("Date"), Some("Thu, 01 Oct 2026 08:00:00 +0000"));
        assert!(message.has("Label_1") && message.has("INBOX") && !message.has("UNREAD"));
    }

    #[test]
    fn errors_name_the_place_and_the_way_out() {
        let unknown = error(&SMALL.replace("subject =", "subjekt ="));
        assert!(unknown.contains("line 12") && unknown.contains("subjekt"), "{unknown}");
        let twice = error(&format!("{SMALL}\n[[people]]\nemail = \"INES@example.com\"\ngiven_name = \"x\""));
        assert!(twice.contains("people[1]") && twice.contains("given twice"), "{twice}");
        let label = error(&SMALL.replace("\"travel\"", "\"Trips\""));
        assert!(label.contains("people[0]") && label.contains("messages[0]") && label.contains("Trips"), "{label}");
        let at = error(&SMALL.replace("2026-10-01T08:00:00Z", "yesterday"));
        assert!(at.contains(".at") && at.contains("not an instant"), "{at}");
        let email = error(&SMALL.replace("ines@example.com", "ines"));
        assert!(email.contains("not an address"), "{email}");
        let mail = error(&SMALL.replace("labels = [\"Travel\"]", "mailbox = false"));
        assert!(mail.contains("no mailbox"), "{mail}");
    }

    #[test]
    fn events_are_in_the_calendar_and_a_rule_that_is_not_understood_stays_at_the_door() {
        let series = "[[people.events]]\ntitle = \"Tea\"\nstart = \"2026-11-09T16:00\"\nrule = \"FREQ=WEEKLY\"";
        let text = format!("{SMALL}\n{series}");
        assert_eq!(built(&text).agenda.events.len(), 1);
        let refused = error(&text.replace("FREQ=WEEKLY", "FREQ=WEEKLY;BYSETPOS=1"));
        assert!(
            refused.contains("people[0]") && refused.contains("events[0]") && refused.contains("BYSETPOS"),
            "{refused}"
        );
    }

    #[test]
    fn redirect_uris_follow_the_product() {
        let mut world = WorldFile::default_world().unwrap().build(Clock::manual(Timestamp::UNIX_EPOCH), 1).unwrap();
        world.set_product_url(Some("http://127.0.0.1:9000/"));
        let client = &world.identity.clients["1234567890-intail.apps.googleusercontent.com"];
        assert_eq!(client.redirect_uris, ["http://127.0.0.1:9000/connect/google/callback"]);
    }
}

//! The whole truth of the false Workspace, and what people do to it. Everything that a product can see over HTTP
//! follows from one `World`; everything that happens in it goes through a method here, so that its history record and
//! its notice come with it. The world is plain data: it can be saved and read back at any moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::accounts::Identity;
use crate::agenda::Agenda;
use crate::calendar::CalendarSettings;
use crate::calls::CallLog;
use crate::channels::{Channel, ChannelSettings, Message};
use crate::clock::Clock;
use crate::compose::{self, Compose, Earlier};
use crate::dice::Dice;
use crate::directory::DirectorySettings;
use crate::faults::Faults;
use crate::grants::Code;
use crate::mail::{Label, Letter, MailError, Mailbox};
use crate::quota::Quota;
use crate::script::Performance;
use crate::topics::PubSub;
use crate::watch::{NoticeSettings, Outgoing};

/// Where the product is unless somebody says otherwise: the demo's usual address.
const PRODUCT_URL: &str = "http://127.0.0.1:8080";
/// How many messages are looked through for the one that a letter answers.
const ANSWERED_SEARCH_MAX: usize = 5_000;
/// Longest chain of `References` that is carried on, in bytes.
const REFERENCES_BYTES_MAX: usize = 8_000;

/// Everything there is.
#[derive(Debug, Serialize, Deserialize)]
pub struct World {
    /// The time; not saved, because it belongs to whoever runs the world.
    #[serde(skip)]
    pub clock: Clock,
    /// People, applications, grants.
    pub identity: Identity,
    /// Mailboxes by `sub`.
    pub mail: BTreeMap<String, Mailbox>,
    /// Calendars and events.
    #[serde(default)]
    pub agenda: Agenda,
    /// Push channels of calendars, by id.
    #[serde(default)]
    pub channels: BTreeMap<String, Channel>,
    /// Topics and subscriptions.
    pub pubsub: PubSub,
    /// Gmail's limits and what was spent.
    pub quota: Quota,
    /// Injected mischief.
    pub faults: Faults,
    /// Chosen behaviour.
    pub settings: Settings,
    /// The script that is being played.
    pub performance: Option<Performance>,
    /// Redirect URIs by client id, with `{product}` where the product's address belongs.
    pub redirect_templates: BTreeMap<String, Vec<String>>,
    /// The only source of chance.
    pub(crate) dice: Dice,
    /// What was called, newest last; not saved.
    #[serde(skip)]
    pub calls: CallLog,
    /// Notices on their way to a Pub/Sub outside; not saved.
    #[serde(skip)]
    pub(crate) outgoing: VecDeque<Outgoing>,
    /// Messages on their way to channels; not saved.
    #[serde(skip)]
    pub(crate) messages: VecDeque<Message>,
    /// Whether notices leave the sandbox.
    #[serde(skip)]
    pub(crate) publishes_outside: bool,
}

/// Behaviour that Google doesn't promise one way or the other, or that tests want to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a change stays invisible to `history` and a new message to `get`, after its notice has left.
    pub visibility_lag_ms: i64,
    /// Whether the present history id counts what can't be read yet: Google doesn't say.
    pub history_id_leads: bool,
    /// How long history records are kept.
    pub history_retention_s: i64,
    /// Per cent of history pages that carry a page token and nothing else, as Gmail's sometimes do.
    pub empty_history_page_percent: u8,
    /// Most items on a page of a list, whatever was asked for: Google promises an upper bound and no fullness. Zero is
    /// no limit of its own.
    pub page_max: usize,
    /// How notices are written and delivered.
    pub notices: NoticeSettings,
    /// What happens to the messages of push channels.
    pub channels: ChannelSettings,
    /// What the calendars do where Google's documents are silent.
    pub calendar: CalendarSettings,
    /// What the directory answers where Google's documents are silent.
    pub directory: DirectorySettings,
    /// Pub/Sub may be called without an `Authorization` header, as with Google's emulator.
    pub pubsub_anonymous: bool,
    /// How long a pull that finds nothing is held, in milliseconds of the machine's time.
    pub pull_wait_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            visibility_lag_ms: 0,
            history_id_leads: false,
            history_retention_s: 7 * 24 * 3_600,
            empty_history_page_percent: 0,
            page_max: 0,
            notices: NoticeSettings::default(),
            channels: ChannelSettings::default(),
            calendar: CalendarSettings::default(),
            directory: DirectorySettings::default(),
            pubsub_anonymous: true,
            pull_wait_ms: 20_000,
        }
    }
}

impl World {
    /// A world with these people, a mailbox for each who has one, and nothing in it.
    pub fn new(identity: Identity, clock: Clock, seed: u64) -> World {
        let mut world = World {
            clock,
            identity,
            mail: BTreeMap::new(),
            agenda: Agenda::default(),
            channels: BTreeMap::new(),
            pubsub: PubSub::default(),
            quota: Quota::default(),
            faults: Faults::default(),
            settings: Settings::default(),
            performance: None,
            redirect_templates: BTreeMap::new(),
            dice: Dice::new(seed),
            calls: CallLog::default(),
            outgoing: VecDeque::new(),
            messages: VecDeque::new(),
            publishes_outside: false,
        };
        world.open_mailboxes();
        world
    }

    /// Gives everybody who should have a mailbox and has none an empty one.
    pub(crate) fn open_mailboxes(&mut self) {
        for person in self.identity.people.values().filter(|person| person.has_mailbox) {
            let mailbox = || Mailbox::new(100_000 + self.dice.below(9_000_000));
            self.mail.entry(person.sub.clone()).or_insert_with(mailbox);
        }
    }

    /// The mailbox of an address, unless Gmail is off for the person.
    pub fn mailbox(&self, email: &str) -> Option<&Mailbox> {
        let person = self.identity.person_by_email(email)?;
        self.mail.get(&person.sub).filter(|_| person.has_mailbox)
    }

    /// Every canary word in every body: none of them may ever leave the sandbox.
    pub fn canaries(&self) -> impl Iterator<Item = &str> {
        let messages = self.mail.values().flat_map(Mailbox::newest_first);
        messages.flat_map(|message| compose::canaries_of(&message.body))
    }

    /// Says where the product is, for the redirect URIs that depend on it.
    pub fn set_product_url(&mut self, product_url: Option<&str>) {
        let product_url = product_url.unwrap_or(PRODUCT_URL).trim_end_matches('/');
        for (client_id, templates) in &self.redirect_templates {
            if let Some(client) = self.identity.clients.get_mut(client_id) {
                client.redirect_uris = templates.iter().map(|uri| uri.replace("{product}", product_url)).collect();
            }
        }
    }

    /// Consents in a person's name and answers what the token endpoint would: `access_token`, `refresh_token` and so
    /// on. A short cut for tests that are not about signing in; the administrators' policy still has its say.
    pub fn grant(&mut self, email: &str, client_id: &str, scopes: &[&str]) -> Result<Value, GrantError> {
        let now = self.clock.now();
        let person = self.identity.person_by_email(email).ok_or(GrantError::NoPerson)?;
        let client = self.identity.clients.get(client_id).ok_or(GrantError::NoClient)?.clone();
        let (sub, scopes) = (person.sub.clone(), scopes.iter().map(|&scope| scope.to_owned()).collect::<BTreeSet<_>>());
        let redirect_uri = client.redirect_uris.first().cloned().unwrap_or_default();
        self.identity.remember_consent(now, &client, &sub, scopes.clone(), true);
        let code = Code {
            client_id: client_id.to_owned(),
            sub,
            redirect_uri: redirect_uri.clone(),
            scopes,
            nonce: None,
            challenge: None,
            refresh: true,
            issued_at: now,
            used: false,
        };
        let code = self.identity.issue_code(now, code);
        let answer = self.identity.exchange_code(now, &client, &code, &redirect_uri, None);
        answer.map_err(|error| GrantError::Refused(error.code))
    }

    /// The instant up to which changes can be read now, in milliseconds since 1970.
    pub(crate) fn visible_ms(&self) -> i64 {
        self.clock.now().as_millisecond().saturating_sub(self.settings.visibility_lag_ms.max(0))
    }

    // What people do --------------------------------------------------------------------------------------------------

    /// A letter from outside arrives, with the labels that it carries. The answer is the message's id.
    pub fn receive(&mut self, sub: &str, mut letter: Letter) -> Result<String, MailError> {
        self.change(sub, |mailbox, now, dice| {
            if letter.thread_id.is_none() {
                letter.thread_id = thread_of(mailbox, &letter);
            }
            Ok(mailbox.add(letter, now, dice))
        })
    }

    /// A letter arrives that somebody outside wrote with these words. The answer is the message's id.
    pub fn receive_written(&mut self, sub: &str, from: &str, compose: &Compose) -> Result<String, MailError> {
        let letter = self.written_outside(sub, from, compose);
        self.receive(sub, letter)
    }

    /// A letter that somebody outside wrote, as it reaches the person.
    pub(crate) fn written_outside(&mut self, sub: &str, from: &str, compose: &Compose) -> Letter {
        let now = self.clock.now();
        let to = self.identity.people.get(sub).map(|person| person.email.clone()).unwrap_or_default();
        let addressed =
            Compose { to: if compose.to.is_empty() { to.clone() } else { compose.to.clone() }, ..compose.clone() };
        let earlier = compose.answers.as_deref().and_then(|id| self.earlier(sub, id));
        let letter = compose::letter(from, &addressed, earlier.as_ref(), now, &mut self.dice);
        compose::delivered(letter, &to, now)
    }

    /// A person sends a letter: a copy lies among the sent mail, and colleagues in this world get theirs. The answer is
    /// the id of the sender's copy.
    pub fn send(&mut self, sub: &str, compose: &Compose) -> Result<String, MailError> {
        let mut letter = self.written(sub, compose);
        letter.thread_id = compose.answers.as_deref().and_then(|id| self.thread_of_message(sub, id));
        let copy = letter.clone().labelled(&["SENT"]);
        let id = self.change(sub, |mailbox, now, dice| Ok(mailbox.add(copy, now, dice)))?;
        self.deliver(&letter)?;
        Ok(id)
    }

    /// A person saves a draft, perhaps over an earlier one. The answer is the new message's id.
    pub fn save_draft(&mut self, sub: &str, earlier: Option<&str>, compose: &Compose) -> Result<String, MailError> {
        let mut letter = self.written(sub, compose);
        letter.thread_id = compose.answers.as_deref().and_then(|id| self.thread_of_message(sub, id));
        self.change(sub, |mailbox, now, dice| mailbox.save_draft(earlier, letter, now, dice))
    }

    /// A person sends a draft. The answer is the id of the sent message, which is another one.
    pub fn send_draft(&mut self, sub: &str, id: &str) -> Result<String, MailError> {
        let (sent, letter) = self.change(sub, |mailbox, now, dice| mailbox.send_draft(id, now, dice))?;
        self.deliver(&letter)?;
        Ok(sent)
    }

    /// Changes labels by id; `false` when they already were so.
    pub fn label(&mut self, sub: &str, id: &str, add: &[&str], remove: &[&str]) -> Result<bool, MailError> {
        self.change(sub, |mailbox, now, dice| mailbox.relabel(id, add, remove, now, dice))
    }

    /// Deletes a message for ever.
    pub fn delete(&mut self, sub: &str, id: &str) -> Result<(), MailError> {
        self.change(sub, |mailbox, now, dice| mailbox.delete(id, now, dice))
    }

    /// Makes a label.
    pub fn create_label(&mut self, sub: &str, name: &str) -> Result<Label, MailError> {
        self.change(sub, |mailbox, _, _| mailbox.create_label(name))
    }

    /// Renames a label.
    pub fn rename_label(&mut self, sub: &str, id: &str, name: &str) -> Result<(), MailError> {
        self.change(sub, |mailbox, _, _| mailbox.rename_label(id, name))
    }

    /// Deletes a label from the mailbox and from every message.
    pub fn delete_label(&mut self, sub: &str, id: &str) -> Result<(), MailError> {
        self.change(sub, |mailbox, now, dice| mailbox.delete_label(id, now, dice))
    }

    /// A short letter from an invented sender arrives. The answer is its id, empty when the person has no mailbox.
    pub fn receive_sample(&mut self, sub: &str) -> String {
        let letter = crate::generator::sample(sub, &self.identity, self.clock.now(), &mut self.dice);
        self.receive(sub, letter).unwrap_or_default()
    }

    /// Runs a change of one mailbox and sends the notices that follow from it.
    fn change<R>(
        &mut self,
        sub: &str,
        change: impl FnOnce(&mut Mailbox, Timestamp, &mut Dice) -> Result<R, MailError>,
    ) -> Result<R, MailError> {
        let now = self.clock.now();
        let oldest_ms = now.as_millisecond().saturating_sub(self.settings.history_retention_s.saturating_mul(1_000));
        let mailbox = self.mail.get_mut(sub).ok_or(MailError::NoMailbox)?;
        let before = mailbox.history().current();
        let done = change(mailbox, now, &mut self.dice);
        mailbox.history.forget_before(oldest_ms);
        if mailbox.history().current() != before {
            self.notice_changes(sub, before);
        }
        done
    }

    fn written(&mut self, sub: &str, compose: &Compose) -> Letter {
        let person = self.identity.people.get(sub);
        let from = person.map(|person| format!("{} <{}>", person.name, person.email)).unwrap_or_default();
        let earlier = compose.answers.as_deref().and_then(|id| self.earlier(sub, id));
        compose::letter(&from, compose, earlier.as_ref(), self.clock.now(), &mut self.dice)
    }

    fn deliver(&mut self, letter: &Letter) -> Result<(), MailError> {
        let now = self.clock.now();
        let lists = ["To", "Cc", "Bcc"].into_iter().filter_map(|name| letter.header(name));
        let addresses: BTreeSet<String> = lists.flat_map(compose::addresses).collect();
        for address in addresses {
            let Some(person) = self.identity.person_by_email(&address) else {
                continue;
            };
            let (sub, open) = (person.sub.clone(), person.has_mailbox && person.is_active());
            if open && self.mail.contains_key(&sub) {
                self.receive(&sub, compose::delivered(letter.clone(), &address, now))?;
            }
        }
        Ok(())
    }

    fn thread_of_message(&self, sub: &str, id: &str) -> Option<String> {
        Some(self.mail.get(sub)?.message(id)?.thread_id.clone())
    }

    fn earlier(&self, sub: &str, id: &str) -> Option<Earlier> {
        let message = self.mail.get(sub)?.message(id)?;
        let references = message.header("References").filter(|value| value.len() <= REFERENCES_BYTES_MAX);
        Some(Earlier {
            message_id: message.header("Message-ID")?.to_owned(),
            references: references.unwrap_or_default().to_owned(),
        })
    }
}

/// Why nothing was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Nobody has the address.
    #[error("nobody in this world has this address")]
    NoPerson,
    /// There is no such application.
    #[error("there is no OAuth client with this id in this world")]
    NoClient,
    /// The token endpoint would refuse, with this word.
    #[error("the token endpoint refuses with `{0}`")]
    Refused(&'static str),
}

/// The thread of the newest message that the letter's `References` or `In-Reply-To` name.
fn thread_of(mailbox: &Mailbox, letter: &Letter) -> Option<String> {
    let named = [letter.header("In-Reply-To"), letter.header("References")];
    let ids: Vec<&str> = named.into_iter().flatten().flat_map(str::split_whitespace).collect();
    if ids.is_empty() {
        return None;
    }
    let mut newest = mailbox.newest_first().take(ANSWERED_SEARCH_MAX);
    let answered = newest.find(|message| message.header("Message-ID").is_some_and(|id| ids.contains(&id)))?;
    Some(answered.thread_id.clone())
}

/// An instant some milliseconds later, at most the end of time.
pub(crate) fn later_ms(now: Timestamp, ms: i64) -> Timestamp {
    now.saturating_add(SignedDuration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::access::AccessPolicy;
    use crate::accounts::{Caller, ClientState, Customer, OAuthClient, Person, UserType};
    use crate::history::What;

    pub(crate) const METADATA: &str = "https://www.googleapis.com/auth/gmail.metadata";

    /// A world of three people without mail, on a clock that stands still.
    pub(crate) fn empty_world() -> World {
        let customer =
            Customer { id: "C01234567".into(), name: "Example Company".into(), domains: vec!["example.com".into()] };
        let mut none = Person::new("no-mail@example.com", "Nomi", "Letterless", Some("example.com"));
        none.has_mailbox = false;
        let people = vec![
            Person::new("ines@example.com", "Inês", "Prado", Some("example.com")),
            Person::new("bo@example.com", "Bo", "Lindqvist", Some("example.com")),
            none,
        ];
        let client = OAuthClient {
            client_id: "1234567890-intail.apps.googleusercontent.com".into(),
            client_secret: "GOCSPX-sandbox".into(),
            name: "Intail".into(),
            redirect_uris: vec![],
            project: "intail-demo".into(),
            project_number: 1_234_567_890,
            user_type: UserType::Internal,
            state: ClientState::Active,
            test_users: vec![],
        };
        let identity = Identity::new(customer, people, vec![client], AccessPolicy::default(), 1);
        World::new(identity, Clock::manual(Timestamp::constant(1_794_000_000, 0)), 7)
    }

    pub(crate) fn sub() -> String {
        crate::accounts::sub_for("ines@example.com")
    }

    pub(crate) fn caller() -> Caller {
        Caller {
            sub: sub(),
            client_id: "1234567890-intail.apps.googleusercontent.com".into(),
            project: "intail-demo".into(),
            project_number: 1_234_567_890,
            scopes: [METADATA.to_owned()].into(),
        }
    }

    #[test]
    fn a_letter_to_a_colleague_lies_in_both_mailboxes_and_an_answer_finds_its_thread() {
        let mut world = empty_world();
        let bo = crate::accounts::sub_for("bo@example.com");
        let to_bo =
            Compose { to: "Bo <bo@example.com>, x@example.net".into(), subject: "Plan".into(), ..Compose::default() };
        let sent = world.send(&sub(), &to_bo).unwrap();
        let arrived = world.mail[&bo].newest_first().next().unwrap().clone();
        assert!(arrived.has("INBOX") && arrived.has("UNREAD"));
        let answer = Compose { to: "ines@example.com".into(), answers: Some(arrived.id.clone()), ..Compose::default() };
        world.send(&bo, &answer).unwrap();
        let thread: Vec<&str> = world.mail[&sub()].thread(&sent).map(|message| message.id.as_str()).collect();
        assert_eq!(thread.len(), 2);
        assert_eq!(world.mail[&bo].thread(&arrived.thread_id).count(), 2);
        assert_eq!(world.canaries().count(), 8);
    }

    #[test]
    fn a_sent_draft_reaches_the_colleague_too() {
        let mut world = empty_world();
        let bo = crate::accounts::sub_for("bo@example.com");
        let to_bo = Compose { to: "bo@example.com".into(), ..Compose::default() };
        let draft = world.save_draft(&sub(), None, &to_bo).unwrap();
        assert_eq!(world.mail[&bo].message_count(), 0);
        world.send_draft(&sub(), &draft).unwrap();
        assert_eq!(world.mail[&bo].message_count(), 1);
    }

    #[test]
    fn nobody_without_a_mailbox_gets_mail() {
        let mut world = empty_world();
        let none = crate::accounts::sub_for("no-mail@example.com");
        assert_eq!(world.receive_sample(&none), "");
        assert!(world.mailbox("no-mail@example.com").is_none());
    }

    #[test]
    fn old_history_is_forgotten() {
        let mut world = empty_world();
        let start = world.mail[&sub()].history().current();
        world.receive_sample(&sub());
        world.clock.advance(std::time::Duration::from_secs(8 * 24 * 3_600));
        let id = world.receive_sample(&sub());
        world.label(&sub(), &id, &["STARRED"], &[]).unwrap();
        let history = world.mail[&sub()].history();
        assert!(history.floor() > start);
        assert!(history.after(start, i64::MAX).is_err());
        assert!(matches!(history.records().next_back().unwrap().what, What::Labels { .. }));
    }

    #[test]
    fn a_world_survives_saving() {
        let mut world = empty_world();
        world.receive_sample(&sub());
        let text = serde_json::to_string(&world).unwrap();
        let mut back: World = serde_json::from_str(&text).unwrap();
        back.clock = world.clock.clone();
        assert_eq!(world.receive_sample(&sub()), back.receive_sample(&sub()));
        assert_eq!(serde_json::to_value(&world).unwrap(), serde_json::to_value(&back).unwrap());
    }
}

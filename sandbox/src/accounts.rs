//! People, OAuth clients and the browsers they are signed in with: the state behind every sign-in page of the sandbox.
//!
//! `Identity` is a pure state machine: no HTTP, no clock (the caller passes `now`), no ambient randomness (everything
//! that must look random is drawn from the seed, so that a saved world continues the same way). What must not break:
//! every way in which a grant dies goes through `grants.rs`, and every decision about what an application may read
//! goes through `access.rs`; this file only holds the nouns.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::AccessPolicy;
use crate::consent::Transaction;
use crate::grants::Grants;
use crate::profile::Profile;
use crate::signing::SigningKeys;

/// Browsers remembered at most; the one unused for longest is forgotten first.
const BROWSERS_MAX: usize = 1_000;
/// Accounts signed in in one browser at most (Google's own limit is ten).
const ACCOUNTS_PER_BROWSER_MAX: usize = 10;

/// The Workspace customer: one company with its domains.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Customer {
    /// Customer id as Google writes it, for example `C01234567`.
    pub id: String,
    /// Name of the company, shown in the Admin console.
    pub name: String,
    /// Primary domain first, then secondary domains.
    pub domains: Vec<String>,
}

/// One account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    /// Google's stable id of the account: decimal digits.
    pub sub: String,
    /// Primary address.
    pub email: String,
    /// Full name.
    pub name: String,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Hosted domain; absent for a consumer account.
    pub hd: Option<String>,
    /// May use the Admin console.
    #[serde(default)]
    pub is_admin: bool,
    /// Whether Gmail is on for the account.
    #[serde(default = "yes")]
    pub has_mailbox: bool,
    /// Suspended by an administrator: no sign-in, no token.
    #[serde(default)]
    pub suspended: bool,
    /// Deleted by an administrator.
    #[serde(default)]
    pub deleted: bool,
    /// Enrolled in the Advanced Protection Program.
    #[serde(default)]
    pub advanced_protection: bool,
    /// Marked as under 18 (Google Workspace for Education): unconfigured applications answer `access_not_configured`.
    #[serde(default)]
    pub under_18: bool,
    /// When the password was last changed.
    #[serde(default)]
    pub password_changed_at: Option<Timestamp>,
    /// What the directory says beside the name.
    #[serde(default)]
    pub profile: Profile,
}

fn yes() -> bool {
    true
}

impl Person {
    /// An ordinary account with a mailbox. The `sub` follows from the address, so that a world file need not give one.
    pub fn new(email: &str, given_name: &str, family_name: &str, hd: Option<&str>) -> Person {
        Person {
            sub: sub_for(email),
            email: email.to_owned(),
            name: format!("{given_name} {family_name}").trim().to_owned(),
            given_name: given_name.to_owned(),
            family_name: family_name.to_owned(),
            hd: hd.map(str::to_owned),
            is_admin: false,
            has_mailbox: true,
            suspended: false,
            deleted: false,
            advanced_protection: false,
            under_18: false,
            password_changed_at: None,
            profile: Profile::default(),
        }
    }

    /// Whether an address leads to the account: its own or one of its aliases, without regard to case.
    pub fn has_address(&self, address: &str) -> bool {
        let aliases = self.profile.aliases.iter();
        aliases.chain([&self.email]).any(|own| own.eq_ignore_ascii_case(address))
    }

    /// Whether the account can sign in and hold tokens.
    pub fn is_active(&self) -> bool {
        !self.suspended && !self.deleted
    }
}

/// The 21 decimal digits that the sandbox gives to an address.
pub fn sub_for(email: &str) -> String {
    let digest = Sha256::digest(email.to_ascii_lowercase().as_bytes());
    let digits: String = digest.iter().take(20).map(|byte| char::from(b'0' + byte % 10)).collect();
    format!("1{digits}")
}

/// Who may use an OAuth client (Google's "user type" and "publishing status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserType {
    /// Only people of the customer; no verification, no seven-day expiry.
    Internal,
    /// Only listed test users; refresh tokens live seven days.
    ExternalTesting,
    /// Everybody.
    ExternalProduction,
}

/// Whether an OAuth client still exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// Usable.
    Active,
    /// Switched off by its owner.
    Disabled,
    /// Removed by its owner.
    Deleted,
}

/// One OAuth client of a Cloud project.
#[derive(Clone, Serialize, Deserialize)]
pub struct OAuthClient {
    /// Client id, ending in `.apps.googleusercontent.com`.
    pub client_id: String,
    /// Client secret, starting with `GOCSPX-`.
    pub client_secret: String,
    /// Name of the application on the consent page.
    pub name: String,
    /// Allowed redirect URIs, compared character by character.
    pub redirect_uris: Vec<String>,
    /// Cloud project id; consent and revocation are per project.
    pub project: String,
    /// Cloud project number.
    pub project_number: u64,
    /// Who may use it.
    pub user_type: UserType,
    /// Whether it still exists.
    #[serde(default = "active")]
    pub state: ClientState,
    /// Addresses that may use a client with `UserType::ExternalTesting`.
    #[serde(default)]
    pub test_users: Vec<String>,
}

fn active() -> ClientState {
    ClientState::Active
}

impl fmt::Debug for OAuthClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OAuthClient").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Who stands behind an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The person.
    pub sub: String,
    /// The client that holds the token.
    pub client_id: String,
    /// The client's Cloud project id.
    pub project: String,
    /// The client's Cloud project number.
    pub project_number: u64,
    /// The scopes of the token, in their long form.
    pub scopes: BTreeSet<String>,
}

impl Caller {
    /// Whether the token carries the scope (long form).
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }
}

/// Why an API call is not authenticated; always answered with 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// No `Authorization: Bearer` header.
    #[error("the request carries no access token")]
    Missing,
    /// The token is unknown, revoked, or its owner can no longer use it.
    #[error("the access token is not valid")]
    Invalid,
    /// The token was valid and its hour is over.
    #[error("the access token has expired")]
    Expired,
}

/// What tests and the Admin console do to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonSwitch {
    /// Suspend; every token dies.
    Suspend,
    /// End the suspension; dead tokens stay dead.
    Restore,
    /// Delete; every token dies and refreshing says that the account is gone.
    Delete,
    /// Bring a deleted account back.
    Undelete,
    /// Change the password; tokens with Gmail scopes die and every browser is signed out.
    ChangePassword,
    /// Enrol in Advanced Protection.
    AdvancedProtectionOn,
    /// Leave Advanced Protection.
    AdvancedProtectionOff,
    /// Turn Gmail off for the account.
    MailboxOff,
    /// Turn Gmail on.
    MailboxOn,
    /// Mark as under 18.
    Under18On,
    /// Remove the mark.
    Under18Off,
    /// Make an administrator.
    AdministratorOn,
    /// Take the administrator role away.
    AdministratorOff,
}

/// Behaviour about which the evidence is contradictory, or which tests want to choose.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySwitches {
    /// Administrator and account policy errors come back to the application as `error=…` instead of ending on a page.
    /// Google ends on a page; both have been reported.
    pub policy_errors_redirect: bool,
    /// Consent given without `include_granted_scopes=true` replaces what was granted to the project before, and kills
    /// tokens that reach further (seen once in production; the guide is silent).
    pub consent_replaces_grant: bool,
    /// Seconds until a revocation takes effect.
    pub revocation_delay_s: i64,
}

impl Default for IdentitySwitches {
    fn default() -> Self {
        IdentitySwitches { policy_errors_redirect: false, consent_replaces_grant: true, revocation_delay_s: 0 }
    }
}

/// One browser, known by its cookie.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Browser {
    /// Signed-in accounts (`sub`), first signed in first.
    pub signed_in: Vec<String>,
    /// The administrator who uses the Admin console in this browser.
    pub console: Option<String>,
    /// Order of last use.
    pub(crate) used: u64,
}

/// Everything that the sandbox knows about accounts, applications and grants.
#[derive(Serialize, Deserialize)]
pub struct Identity {
    /// The company.
    pub customer: Customer,
    /// Accounts by `sub`.
    pub people: BTreeMap<String, Person>,
    /// OAuth clients by client id.
    pub clients: BTreeMap<String, OAuthClient>,
    /// What the company's administrators allow.
    pub policy: AccessPolicy,
    /// Chosen behaviour.
    pub switches: IdentitySwitches,
    /// Where the sandbox can be reached, without a trailing slash.
    pub public_url: String,
    /// `iss` of the ID tokens and of the callback when it is not the public URL.
    pub issuer: Option<String>,
    /// Browsers by cookie value.
    pub(crate) browsers: BTreeMap<String, Browser>,
    /// Consent, codes and tokens.
    pub(crate) grants: Grants,
    /// Authorizations under way, by transaction id.
    pub(crate) transactions: BTreeMap<String, Transaction>,
    /// Scopes that each client has ever asked for: "Accessed apps" in the Admin console.
    pub(crate) asked: BTreeMap<String, BTreeSet<String>>,
    /// Keys of the ID tokens.
    pub(crate) keys: SigningKeys,
    seed: u64,
    drawn: u64,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("customer", &self.customer.name).finish_non_exhaustive()
    }
}

impl Identity {
    /// A world of accounts in which nobody has consented to anything yet.
    pub fn new(
        customer: Customer,
        people: Vec<Person>,
        clients: Vec<OAuthClient>,
        policy: AccessPolicy,
        seed: u64,
    ) -> Identity {
        Identity {
            customer,
            people: people.into_iter().map(|person| (person.sub.clone(), person)).collect(),
            clients: clients.into_iter().map(|client| (client.client_id.clone(), client)).collect(),
            policy,
            switches: IdentitySwitches::default(),
            public_url: String::new(),
            issuer: None,
            browsers: BTreeMap::new(),
            grants: Grants::default(),
            transactions: BTreeMap::new(),
            asked: BTreeMap::new(),
            keys: SigningKeys::default(),
            seed,
            drawn: 0,
        }
    }

    /// Issuer of the ID tokens: the public URL, unless the world says otherwise.
    pub fn issuer(&self) -> &str {
        self.issuer.as_deref().unwrap_or(&self.public_url)
    }

    /// The account with this address or alias, deleted ones included. Addresses are compared without regard to case.
    pub fn person_by_email(&self, email: &str) -> Option<&Person> {
        let own = self.people.values().find(|person| person.email.eq_ignore_ascii_case(email));
        own.or_else(|| self.people.values().find(|person| person.has_address(email)))
    }

    /// Whether the account belongs to the company, so that its administrators' policy applies.
    pub fn is_of_customer(&self, person: &Person) -> bool {
        person.hd.as_ref().is_some_and(|hd| self.customer.domains.contains(hd))
    }

    /// Who calls, from the `Authorization` header of an API request.
    pub fn authenticate(&mut self, now: Timestamp, authorization_header: Option<&str>) -> Result<Caller, AuthFailure> {
        let header = authorization_header.ok_or(AuthFailure::Missing)?;
        let (scheme, token) = header.split_once(' ').ok_or(AuthFailure::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(AuthFailure::Missing);
        }
        self.caller_of(now, token.trim())
    }

    /// Who holds this access token.
    pub(crate) fn caller_of(&self, now: Timestamp, token: &str) -> Result<Caller, AuthFailure> {
        let access = &self.grants.access_token(now, token)?.holding;
        let client = self.clients.get(&access.client_id).ok_or(AuthFailure::Invalid)?;
        let person = self.people.get(&access.sub).ok_or(AuthFailure::Invalid)?;
        if !person.is_active() || client.state != ClientState::Active {
            return Err(AuthFailure::Invalid);
        }
        Ok(Caller {
            sub: access.sub.clone(),
            client_id: client.client_id.clone(),
            project: client.project.clone(),
            project_number: client.project_number,
            scopes: access.scopes.clone(),
        })
    }

    /// Changes an account, with everything that follows for its tokens and sign-ins. `false` when it doesn't exist.
    pub fn switch_person(&mut self, now: Timestamp, sub: &str, switch: PersonSwitch) -> bool {
        let Some(person) = self.people.get_mut(sub) else {
            return false;
        };
        match switch {
            PersonSwitch::Suspend => person.suspended = true,
            PersonSwitch::Restore => person.suspended = false,
            PersonSwitch::Delete => {
                person.deleted = true;
                person.profile.deleted_at = Some(now);
            }
            PersonSwitch::Undelete => person.deleted = false,
            PersonSwitch::ChangePassword => person.password_changed_at = Some(now),
            PersonSwitch::AdvancedProtectionOn => person.advanced_protection = true,
            PersonSwitch::AdvancedProtectionOff => person.advanced_protection = false,
            PersonSwitch::MailboxOff => person.has_mailbox = false,
            PersonSwitch::MailboxOn => person.has_mailbox = true,
            PersonSwitch::Under18On => person.under_18 = true,
            PersonSwitch::Under18Off => person.under_18 = false,
            PersonSwitch::AdministratorOn => person.is_admin = true,
            PersonSwitch::AdministratorOff => person.is_admin = false,
        }
        match switch {
            PersonSwitch::Suspend | PersonSwitch::Delete => {
                self.grants.end_all_of_person(now, sub);
                self.sign_out_everywhere(sub);
            }
            PersonSwitch::ChangePassword => {
                self.grants.end_after_password_change(now, sub);
                self.sign_out_everywhere(sub);
            }
            PersonSwitch::AdvancedProtectionOn | PersonSwitch::Under18On => self.enforce_policy(now),
            _ => {}
        }
        true
    }

    /// The browser behind a cookie value, if the sandbox knows it.
    pub fn browser(&self, cookie: &str) -> Option<&Browser> {
        self.browsers.get(cookie)
    }

    /// Makes a browser and returns its cookie value.
    pub fn new_browser(&mut self) -> String {
        while self.browsers.len() >= BROWSERS_MAX {
            let oldest = self.browsers.iter().min_by_key(|(_, browser)| browser.used).map(|(cookie, _)| cookie.clone());
            let Some(oldest) = oldest else { break };
            self.browsers.remove(&oldest);
        }
        let cookie = self.draw("browser", 32);
        self.browsers.insert(cookie.clone(), Browser { used: self.drawn, ..Browser::default() });
        cookie
    }

    /// Signs a person in in a browser. `false` when the browser is unknown or the account can't sign in.
    pub fn sign_in(&mut self, cookie: &str, sub: &str) -> bool {
        if !self.people.get(sub).is_some_and(Person::is_active) {
            return false;
        }
        self.drawn += 1;
        let used = self.drawn;
        let Some(browser) = self.browsers.get_mut(cookie) else {
            return false;
        };
        browser.used = used;
        if !browser.signed_in.iter().any(|known| known == sub) {
            if browser.signed_in.len() >= ACCOUNTS_PER_BROWSER_MAX {
                browser.signed_in.remove(0);
            }
            browser.signed_in.push(sub.to_owned());
        }
        true
    }

    /// Signs one person, or everybody, out of a browser.
    pub fn sign_out(&mut self, cookie: &str, sub: Option<&str>) {
        let Some(browser) = self.browsers.get_mut(cookie) else {
            return;
        };
        browser.signed_in.retain(|known| sub.is_some_and(|sub| sub != known));
        if browser.console.as_ref().is_some_and(|admin| !browser.signed_in.contains(admin)) {
            browser.console = None;
        }
    }

    fn sign_out_everywhere(&mut self, sub: &str) {
        let cookies: Vec<String> = self.browsers.keys().cloned().collect();
        for cookie in cookies {
            self.sign_out(&cookie, Some(sub));
        }
    }

    /// The people who are signed in in a browser, first signed in first.
    pub fn signed_in(&self, cookie: Option<&str>) -> Vec<&Person> {
        let subs = cookie.and_then(|cookie| self.browsers.get(cookie)).map(|browser| browser.signed_in.as_slice());
        subs.unwrap_or_default()
            .iter()
            .filter_map(|sub| self.people.get(sub))
            .filter(|person| person.is_active())
            .collect()
    }

    /// An unguessable-looking string of `length` letters and digits, the next one that the seed gives.
    pub(crate) fn draw(&mut self, purpose: &str, length: usize) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            self.drawn += 1;
            let mut hash = Sha256::new();
            hash.update(self.seed.to_be_bytes());
            hash.update(self.drawn.to_be_bytes());
            hash.update(purpose.as_bytes());
            let block = hash.finalize();
            text.extend(block.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])));
        }
        text.truncate(length);
        text
    }
}

#[cfg(test)]
pub(crate) mod sample {
    //! A small company for the tests of this crate, and the shortest way through its consent page.

    use std::collections::BTreeSet;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::access::UnconfiguredApps;
    use crate::consent::{AuthorizeRequest, Step};

    pub(crate) const INTAIL: &str = "1-intail.apps.googleusercontent.com";
    pub(crate) const SIBLING: &str = "2-sibling.apps.googleusercontent.com";
    pub(crate) const TESTING: &str = "3-testing.apps.googleusercontent.com";
    pub(crate) const SECRET: &str = "GOCSPX-secret";
    pub(crate) const BACK: &str = "https://intail.example.com/back";
    pub(crate) const MAIL: &str = "https://www.googleapis.com/auth/gmail.metadata";
    pub(crate) const CALENDAR: &str = "https://www.googleapis.com/auth/calendar.readonly";

    fn client(client_id: &str, project: &str, user_type: UserType) -> OAuthClient {
        OAuthClient {
            client_id: client_id.to_owned(),
            client_secret: SECRET.to_owned(),
            name: "Intail".to_owned(),
            redirect_uris: vec![BACK.to_owned()],
            project: project.to_owned(),
            project_number: 1,
            user_type,
            state: ClientState::Active,
            test_users: vec!["ines@example.com".to_owned()],
        }
    }

    /// Everything is allowed, nobody has consented, nobody is signed in.
    pub(crate) fn identity() -> Identity {
        let domains = vec!["example.com".to_owned(), "example.org".to_owned()];
        let customer = Customer { id: "C01".to_owned(), name: "Example Company".to_owned(), domains };
        let mut ada = Person::new("ada@example.com", "Ada", "Admin", Some("example.com"));
        ada.is_admin = true;
        let people = vec![
            ada,
            Person::new("ines@example.com", "Inês", "Prado", Some("example.com")),
            Person::new("bo@example.org", "Bo", "Lindqvist", Some("example.org")),
            Person::new("pat@gmail.com", "Pat", "Outside", None),
        ];
        let clients = vec![
            client(INTAIL, "intail-demo", UserType::Internal),
            client(SIBLING, "intail-demo", UserType::Internal),
            client(TESTING, "testing", UserType::ExternalTesting),
        ];
        let policy = AccessPolicy { unconfigured: UnconfiguredApps::AllowAny, ..AccessPolicy::default() };
        let mut identity = Identity::new(customer, people, clients, policy, 1);
        identity.public_url = "https://sandbox.example.com".to_owned();
        identity
    }

    pub(crate) fn start() -> Timestamp {
        Timestamp::constant(1_795_000_000, 0)
    }

    pub(crate) fn after_hours(hours: i64) -> Timestamp {
        start().checked_add(SignedDuration::from_hours(hours)).unwrap()
    }

    pub(crate) fn sub(email: &str) -> String {
        sub_for(email)
    }

    /// A good request for mail and calendar, with `changes` laid over it (an empty value removes).
    pub(crate) fn query(changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let scope = format!("{MAIL} {CALENDAR}");
        let mut pairs: BTreeMap<&str, &str> = BTreeMap::from([
            ("client_id", INTAIL),
            ("redirect_uri", BACK),
            ("response_type", "code"),
            ("scope", scope.as_str()),
            ("access_type", "offline"),
            ("state", "a b&c"),
        ]);
        pairs.extend(changes.iter().copied());
        pairs.retain(|_, value| !value.is_empty());
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Begins in a new browser in which the person is signed in.
    pub(crate) fn begin(
        identity: &mut Identity,
        now: Timestamp,
        email: &str,
        changes: &[(&str, &str)],
    ) -> (String, Step) {
        let browser = identity.new_browser();
        assert!(identity.sign_in(&browser, &sub(email)));
        let hinted = [changes, &[("login_hint", email)]].concat();
        let request = AuthorizeRequest::parse(identity, &query(&hinted)).unwrap();
        let step = identity.begin_authorization(now, &browser, request);
        (browser, step)
    }

    /// Goes through the consent page, if there is one, with every box ticked, and returns the callback's parameters.
    pub(crate) fn connect(
        identity: &mut Identity,
        now: Timestamp,
        email: &str,
        changes: &[(&str, &str)],
    ) -> BTreeMap<String, String> {
        connect_with(identity, now, email, changes, &[MAIL, CALENDAR])
    }

    /// The same with chosen boxes ticked.
    pub(crate) fn connect_with(
        identity: &mut Identity,
        now: Timestamp,
        email: &str,
        changes: &[(&str, &str)],
        ticked: &[&str],
    ) -> BTreeMap<String, String> {
        let (browser, step) = begin(identity, now, email, changes);
        let ticked: BTreeSet<String> = ticked.iter().map(|scope| (*scope).to_owned()).collect();
        let step = match step {
            Step::Consent(id) => identity.answer_consent(now, &browser, &id, Some(&ticked)).unwrap(),
            other => other,
        };
        returned(&step)
    }

    /// The parameters with which a step returns to the application.
    pub(crate) fn returned(step: &Step) -> BTreeMap<String, String> {
        let Step::Return(address) = step else { panic!("the flow did not return: {step:?}") };
        let query = address.strip_prefix(BACK).and_then(|rest| rest.strip_prefix('?')).unwrap();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{identity, start, sub};
    use super::*;

    #[test]
    fn a_browser_knows_its_accounts_until_they_sign_out_or_stop_existing() {
        let mut identity = identity();
        let browser = identity.new_browser();
        assert!(identity.sign_in(&browser, &sub("ines@example.com")));
        assert!(identity.sign_in(&browser, &sub("bo@example.org")));
        assert!(!identity.sign_in(&browser, "nobody"));
        assert_eq!(identity.signed_in(Some(&browser)).len(), 2);
        assert!(identity.signed_in(Some("another")).is_empty());
        identity.sign_out(&browser, Some(&sub("bo@example.org")));
        identity.switch_person(start(), &sub("ines@example.com"), PersonSwitch::Suspend);
        assert!(identity.signed_in(Some(&browser)).is_empty());
        assert!(!identity.sign_in(&browser, &sub("ines@example.com")));
    }

    #[test]
    fn the_browser_unused_for_longest_is_forgotten_first() {
        let mut identity = identity();
        let first = identity.new_browser();
        let second = identity.new_browser();
        identity.sign_in(&first, &sub("ines@example.com"));
        for _ in 0..BROWSERS_MAX - 1 {
            identity.new_browser();
        }
        assert!(identity.browser(&first).is_some());
        assert!(identity.browser(&second).is_none());
    }

    #[test]
    fn only_a_bearer_header_authenticates() {
        let mut identity = identity();
        for header in [None, Some("Bearer"), Some("Basic abc")] {
            assert_eq!(identity.authenticate(start(), header), Err(AuthFailure::Missing));
        }
        assert_eq!(identity.authenticate(start(), Some("Bearer ya29.x")), Err(AuthFailure::Invalid));
    }

    #[test]
    fn a_saved_identity_goes_on_where_it_stopped() {
        let mut identity = identity();
        let _ = identity.new_browser();
        let text = serde_json::to_string(&identity).unwrap();
        let mut again: Identity = serde_json::from_str(&text).unwrap();
        assert_eq!(identity.new_browser(), again.new_browser());
    }
}

//! What an application may read: the catalogue of scopes, the administrators' policy ("API controls" in the Admin
//! console), and the one function that decides whether a person may give certain scopes to a client.
//!
//! Sources: Google's help page about controlling which apps access Workspace data, and its list of authorization
//! errors. Consent, code exchange, refresh and every change of policy ask the same `Identity::refusal`; nothing else
//! may decide.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounts::{Identity, OAuthClient, Person, UserType};

/// A Google service, as listed under "Manage Google Services".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Name, address and picture; never restricted.
    SignIn,
    /// Mail.
    Gmail,
    /// Calendars.
    Calendar,
    /// The Admin SDK, of which the directory is a part.
    Directory,
    /// Files.
    Drive,
    /// Address books.
    Contacts,
    /// Google Cloud.
    Cloud,
}

impl Service {
    /// The services that an administrator can restrict.
    pub const RESTRICTABLE: [Service; 6] =
        [Service::Gmail, Service::Calendar, Service::Directory, Service::Drive, Service::Contacts, Service::Cloud];

    /// Name shown to people.
    pub fn title(self) -> &'static str {
        match self {
            Service::SignIn => "Sign-in",
            Service::Gmail => "Gmail",
            Service::Calendar => "Calendar",
            Service::Directory => "Admin SDK and directory",
            Service::Drive => "Drive and Docs",
            Service::Contacts => "Contacts",
            Service::Cloud => "Google Cloud",
        }
    }

    /// Name in forms and in the saved world.
    pub fn key(self) -> &'static str {
        match self {
            Service::SignIn => "sign_in",
            Service::Gmail => "gmail",
            Service::Calendar => "calendar",
            Service::Directory => "directory",
            Service::Drive => "drive",
            Service::Contacts => "contacts",
            Service::Cloud => "cloud",
        }
    }

    /// Whether the console offers "restricted, but scopes without high risk stay allowed".
    pub fn has_high_risk_box(self) -> bool {
        matches!(self, Service::Gmail | Service::Drive)
    }
}

/// One scope that the sandbox knows.
#[derive(Debug)]
pub struct Scope {
    /// Long form, as it appears in token answers.
    pub name: &'static str,
    /// The service behind it.
    pub service: Service,
    /// What the person reads on the consent page.
    pub sentence: &'static str,
    /// Whether it is on the service's high-risk list (Gmail's is believed to include the metadata scope).
    pub high_risk: bool,
}

const fn scope(name: &'static str, service: Service, high_risk: bool, sentence: &'static str) -> Scope {
    Scope { name, service, sentence, high_risk }
}

/// Long form of the scope `email`.
pub const EMAIL: &str = "https://www.googleapis.com/auth/userinfo.email";
/// Long form of the scope `profile`.
pub const PROFILE: &str = "https://www.googleapis.com/auth/userinfo.profile";
/// The scope `openid`, which has no long form.
pub const OPENID: &str = "openid";

/// Scopes that can be asked for; every other one is answered with `invalid_scope`.
pub static SCOPES: &[Scope] = &[
    scope(OPENID, Service::SignIn, false, "Know which account you are"),
    scope(EMAIL, Service::SignIn, false, "See your e-mail address"),
    scope(PROFILE, Service::SignIn, false, "See your name and picture"),
    scope(
        "https://www.googleapis.com/auth/gmail.metadata",
        Service::Gmail,
        true,
        "See labels and message headers of your mail, but not what the messages say",
    ),
    scope("https://www.googleapis.com/auth/gmail.readonly", Service::Gmail, true, "Read all of your mail and settings"),
    scope("https://www.googleapis.com/auth/gmail.modify", Service::Gmail, true, "Read, write and send mail for you"),
    scope("https://www.googleapis.com/auth/gmail.labels", Service::Gmail, false, "See and change your mail labels"),
    scope("https://www.googleapis.com/auth/gmail.send", Service::Gmail, false, "Send mail for you"),
    scope(
        "https://mail.google.com/",
        Service::Gmail,
        true,
        "Read, write, send and permanently delete all of your mail",
    ),
    scope(
        "https://www.googleapis.com/auth/calendar.readonly",
        Service::Calendar,
        false,
        "See every calendar that you can open, and its events",
    ),
    scope("https://www.googleapis.com/auth/calendar", Service::Calendar, false, "See, change and share your calendars"),
    scope(
        "https://www.googleapis.com/auth/calendar.events.readonly",
        Service::Calendar,
        false,
        "See the events on your calendars",
    ),
    scope(
        "https://www.googleapis.com/auth/admin.directory.user.readonly",
        Service::Directory,
        false,
        "See the people in your organization's directory",
    ),
    scope(
        "https://www.googleapis.com/auth/admin.directory.user",
        Service::Directory,
        false,
        "See and manage the people of your organization",
    ),
    scope("https://www.googleapis.com/auth/drive.readonly", Service::Drive, true, "See and download all of your files"),
    scope("https://www.googleapis.com/auth/drive.file", Service::Drive, false, "Work with files that you open with it"),
    scope("https://www.googleapis.com/auth/contacts.readonly", Service::Contacts, false, "See your contacts"),
    scope("https://www.googleapis.com/auth/pubsub", Service::Cloud, false, "See and manage Pub/Sub topics"),
    scope("https://www.googleapis.com/auth/cloud-platform", Service::Cloud, false, "See and manage Google Cloud data"),
];

/// The scope with this name; `email` and `profile` are understood as their long forms. Names are case-sensitive.
pub fn find_scope(name: &str) -> Option<&'static Scope> {
    let name = match name {
        "email" => EMAIL,
        "profile" => PROFILE,
        other => other,
    };
    SCOPES.iter().find(|scope| scope.name == name)
}

/// Whether a long-form scope only identifies the person.
pub fn is_sign_in(name: &str) -> bool {
    find_scope(name).is_some_and(|scope| scope.service == Service::SignIn)
}

/// Whether a long-form scope reaches mail, so that a password change kills its tokens (the metadata scope is assumed
/// to count; no page of Google's names it).
pub fn is_gmail(name: &str) -> bool {
    find_scope(name).is_some_and(|scope| scope.service == Service::Gmail)
}

/// "Access to Google data" of a configured application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "level", rename_all = "snake_case")]
pub enum AccessLevel {
    /// Everything, restricted services included; people see no boxes.
    Trusted,
    /// Only these scopes (long forms).
    Specific {
        /// The allowed scopes.
        scopes: BTreeSet<String>,
    },
    /// Only services that are not restricted.
    Limited,
    /// Nothing, not even sign-in.
    Blocked,
}

impl AccessLevel {
    /// Name shown to administrators.
    pub fn title(&self) -> &'static str {
        match self {
            AccessLevel::Trusted => "Trusted",
            AccessLevel::Specific { .. } => "Specific Google data",
            AccessLevel::Limited => "Limited",
            AccessLevel::Blocked => "Blocked",
        }
    }

    /// Name in forms.
    pub fn key(&self) -> &'static str {
        match self {
            AccessLevel::Trusted => "trusted",
            AccessLevel::Specific { .. } => "specific",
            AccessLevel::Limited => "limited",
            AccessLevel::Blocked => "blocked",
        }
    }
}

/// "Unconfigured third-party apps".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnconfiguredApps {
    /// People may use any application (restricted services excepted).
    AllowAny,
    /// People may sign in with any application, and nothing more.
    SignInOnly,
    /// People may not use any application.
    Block,
}

/// What "Manage Google Services" says about one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceAccess {
    /// Any allowed application.
    Unrestricted,
    /// Only trusted applications, and those that list the scopes.
    Restricted,
    /// Restricted for high-risk scopes only.
    RestrictedHighRisk,
}

/// What the company's administrators allow.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessPolicy {
    /// Configured applications, by client id.
    #[serde(default)]
    pub configured: BTreeMap<String, AccessLevel>,
    /// What holds for all others.
    pub unconfigured: UnconfiguredApps,
    /// Unconfigured applications of the company's own Cloud organization may use everything.
    #[serde(default)]
    pub trust_internal_apps: bool,
    /// Restricted services; a service that is absent is unrestricted.
    #[serde(default)]
    pub services: BTreeMap<Service, ServiceAccess>,
    /// Message of the company on the "access blocked" page.
    #[serde(default)]
    pub block_message: Option<String>,
}

impl Default for AccessPolicy {
    fn default() -> Self {
        AccessPolicy {
            configured: BTreeMap::new(),
            unconfigured: UnconfiguredApps::Block,
            trust_internal_apps: false,
            services: BTreeMap::new(),
            block_message: None,
        }
    }
}

impl AccessPolicy {
    /// The setting of one service.
    pub fn service(&self, service: Service) -> ServiceAccess {
        self.services.get(&service).copied().unwrap_or(ServiceAccess::Unrestricted)
    }

    fn reaches_restricted(&self, scopes: &BTreeSet<String>) -> bool {
        scopes.iter().filter_map(|name| find_scope(name)).any(|scope| match self.service(scope.service) {
            ServiceAccess::Unrestricted => false,
            ServiceAccess::Restricted => true,
            ServiceAccess::RestrictedHighRisk => scope.high_risk,
        })
    }

    fn allows(&self, client: &OAuthClient, scopes: &BTreeSet<String>) -> bool {
        match self.configured.get(&client.client_id) {
            Some(AccessLevel::Trusted) => true,
            Some(AccessLevel::Specific { scopes: allowed }) => scopes.is_subset(allowed),
            Some(AccessLevel::Limited) => !self.reaches_restricted(scopes),
            Some(AccessLevel::Blocked) => false,
            None if self.trust_internal_apps && client.user_type == UserType::Internal => true,
            None => match self.unconfigured {
                UnconfiguredApps::AllowAny => !self.reaches_restricted(scopes),
                UnconfiguredApps::SignInOnly => scopes.iter().all(|scope| is_sign_in(scope)),
                UnconfiguredApps::Block => false,
            },
        }
    }
}

/// Why a person can't give scopes to a client. All of them end on a page of Google's, with this code in the title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An Internal application and somebody from outside.
    OrgInternal,
    /// An application in testing and somebody who is not on its list.
    NotTestUser,
    /// The company's policy.
    AdminPolicyEnforced,
    /// A person under 18 and an application that no administrator has looked at.
    AccessNotConfigured,
    /// Advanced Protection.
    PolicyEnforced,
}

impl Refusal {
    /// Error code, as on Google's pages and in token answers.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::OrgInternal => "org_internal",
            Refusal::NotTestUser => "access_denied",
            Refusal::AdminPolicyEnforced => "admin_policy_enforced",
            Refusal::AccessNotConfigured => "access_not_configured",
            Refusal::PolicyEnforced => "policy_enforced",
        }
    }

    /// HTTP status that belongs to the code.
    pub fn status(self) -> u16 {
        match self {
            Refusal::OrgInternal | Refusal::NotTestUser => 403,
            Refusal::AdminPolicyEnforced | Refusal::AccessNotConfigured | Refusal::PolicyEnforced => 400,
        }
    }
}

impl Identity {
    /// Whether something forbids this person to give these scopes (long forms) to this client.
    pub fn refusal(&self, person: &Person, client: &OAuthClient, scopes: &BTreeSet<String>) -> Option<Refusal> {
        let of_customer = self.is_of_customer(person);
        if client.user_type == UserType::Internal && !of_customer {
            return Some(Refusal::OrgInternal);
        }
        let listed = client.test_users.iter().any(|email| email.eq_ignore_ascii_case(&person.email));
        if client.user_type == UserType::ExternalTesting && !listed {
            return Some(Refusal::NotTestUser);
        }
        let configured = self.policy.configured.contains_key(&client.client_id);
        if of_customer && person.under_18 && !configured {
            return Some(Refusal::AccessNotConfigured);
        }
        if of_customer && !self.policy.allows(client, scopes) {
            return Some(Refusal::AdminPolicyEnforced);
        }
        let high_risk = scopes.iter().filter_map(|name| find_scope(name)).any(|scope| scope.high_risk);
        if person.advanced_protection && high_risk && !self.is_trusted(person, client) {
            return Some(Refusal::PolicyEnforced);
        }
        None
    }

    /// Whether an administrator marked the client as Trusted for this person: then consent is all or nothing.
    pub fn is_trusted(&self, person: &Person, client: &OAuthClient) -> bool {
        let level = self.policy.configured.get(&client.client_id);
        self.is_of_customer(person) && level == Some(&AccessLevel::Trusted)
    }

    /// Configures an application, or forgets its configuration. Tokens that the new policy forbids die.
    pub fn set_access(&mut self, now: Timestamp, client_id: &str, level: Option<AccessLevel>) {
        match level {
            Some(level) => self.policy.configured.insert(client_id.to_owned(), level),
            None => self.policy.configured.remove(client_id),
        };
        self.enforce_policy(now);
    }

    /// Sets what holds for unconfigured applications. Tokens that the new policy forbids die.
    pub fn set_unconfigured(&mut self, now: Timestamp, unconfigured: UnconfiguredApps, trust_internal_apps: bool) {
        self.policy.unconfigured = unconfigured;
        self.policy.trust_internal_apps = trust_internal_apps;
        self.enforce_policy(now);
    }

    /// Restricts or opens a service. Tokens that the new policy forbids die.
    pub fn set_service(&mut self, now: Timestamp, service: Service, access: ServiceAccess) {
        self.policy.services.insert(service, access);
        self.enforce_policy(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::sample::{CALENDAR, INTAIL, MAIL, identity, start, sub};

    fn scopes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn decide(identity: &Identity, email: &str, names: &[&str]) -> Option<Refusal> {
        identity.refusal(&identity.people[&sub(email)], &identity.clients[INTAIL], &scopes(names))
    }

    const INES: &str = "ines@example.com";
    const BLOCKED: Option<Refusal> = Some(Refusal::AdminPolicyEnforced);

    #[test]
    fn each_level_allows_what_the_console_says() {
        let mut identity = identity();
        identity.set_service(start(), Service::Gmail, ServiceAccess::Restricted);
        identity.set_access(start(), INTAIL, Some(AccessLevel::Trusted));
        assert_eq!(decide(&identity, INES, &[MAIL, CALENDAR]), None);
        identity.set_access(start(), INTAIL, Some(AccessLevel::Specific { scopes: scopes(&[MAIL, OPENID]) }));
        assert_eq!(decide(&identity, INES, &[MAIL]), None);
        assert_eq!(decide(&identity, INES, &[MAIL, CALENDAR]), BLOCKED);
        identity.set_access(start(), INTAIL, Some(AccessLevel::Limited));
        assert_eq!(decide(&identity, INES, &[CALENDAR]), None);
        assert_eq!(decide(&identity, INES, &[MAIL]), BLOCKED);
        identity.set_access(start(), INTAIL, Some(AccessLevel::Blocked));
        assert_eq!(decide(&identity, INES, &[OPENID]), BLOCKED);
    }

    #[test]
    fn unconfigured_applications_follow_the_general_setting() {
        let mut identity = identity();
        let table = [
            (UnconfiguredApps::AllowAny, false, None, None),
            (UnconfiguredApps::SignInOnly, false, None, BLOCKED),
            (UnconfiguredApps::Block, false, BLOCKED, BLOCKED),
            (UnconfiguredApps::Block, true, None, None),
        ];
        for (setting, trust, sign_in, mail) in table {
            identity.set_unconfigured(start(), setting, trust);
            assert_eq!(decide(&identity, INES, &[OPENID, EMAIL]), sign_in, "{setting:?}");
            assert_eq!(decide(&identity, INES, &[OPENID, MAIL]), mail, "{setting:?}");
        }
    }

    #[test]
    fn the_high_risk_box_leaves_other_scopes_open() {
        let mut identity = identity();
        let labels = "https://www.googleapis.com/auth/gmail.labels";
        identity.set_service(start(), Service::Gmail, ServiceAccess::RestrictedHighRisk);
        assert_eq!(decide(&identity, INES, &[labels]), None);
        assert_eq!(decide(&identity, INES, &[MAIL]), BLOCKED);
        identity.set_service(start(), Service::Gmail, ServiceAccess::Restricted);
        assert_eq!(decide(&identity, INES, &[labels]), BLOCKED);
    }

    #[test]
    fn people_under_18_wait_for_an_administrator() {
        let mut identity = identity();
        identity.switch_person(start(), &sub(INES), crate::accounts::PersonSwitch::Under18On);
        assert_eq!(decide(&identity, INES, &[OPENID]), Some(Refusal::AccessNotConfigured));
        identity.set_access(start(), INTAIL, Some(AccessLevel::Limited));
        assert_eq!(decide(&identity, INES, &[OPENID]), None);
    }

    #[test]
    fn advanced_protection_yields_to_trust_and_spares_harmless_scopes() {
        let mut identity = identity();
        identity.switch_person(start(), &sub(INES), crate::accounts::PersonSwitch::AdvancedProtectionOn);
        assert_eq!(decide(&identity, INES, &[MAIL]), Some(Refusal::PolicyEnforced));
        assert_eq!(decide(&identity, INES, &[CALENDAR]), None);
        identity.set_access(start(), INTAIL, Some(AccessLevel::Trusted));
        assert_eq!(decide(&identity, INES, &[MAIL]), None);
    }

    #[test]
    fn short_names_mean_their_long_forms_and_case_matters() {
        assert_eq!(find_scope("email").map(|scope| scope.name), Some(EMAIL));
        assert!(find_scope("Email").is_none());
    }
}

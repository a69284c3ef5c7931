//! One authorization from the first request to the answer: which parameters are good, which page comes next, and what
//! the application gets back. Pure: `oauth.rs` turns it into HTTP.
//!
//! Sources: Google's guides for web server applications, incremental authorization and granular permissions, and its
//! OpenID Connect page. A transaction belongs to one browser, is answered once, and keeps the checked request, so that
//! nothing that the pages send back can change what was asked for.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::access::{EMAIL, OPENID, PROFILE, Refusal, SCOPES, Scope, find_scope, is_sign_in};
use crate::accounts::{ClientState, Identity, OAuthClient, Person};
use crate::grants::{Challenge, Code};

/// Authorizations under way at once; the oldest is forgotten first.
const TRANSACTIONS_MAX: usize = 1_000;
/// A page left open for longer than this can't be answered any more.
const TRANSACTION_LIFE: SignedDuration = SignedDuration::from_mins(60);
/// Longest parameter value that is looked at.
const VALUE_BYTES_MAX: usize = 8_192;

/// A page that ends the flow at the provider: the browser does not return to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) headline: String,
    pub(crate) explanation: String,
    /// Request details, as (name, value).
    pub(crate) details: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Prompt {
    none: bool,
    consent: bool,
    select_account: bool,
}

/// A checked authorization request.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AuthorizeRequest {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    scopes: BTreeSet<String>,
    state: Option<String>,
    nonce: Option<String>,
    challenge: Option<Challenge>,
    offline: bool,
    prompt: Prompt,
    include_granted: bool,
    pub(crate) login_hint: Option<String>,
    hd: Option<String>,
    details: Vec<(String, String)>,
}

/// An authorization under way.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Transaction {
    browser: String,
    pub(crate) request: AuthorizeRequest,
    sub: Option<String>,
    begun_at: Timestamp,
}

/// What the browser sees next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The account chooser of this transaction.
    Chooser(String),
    /// The consent page of this transaction.
    Consent(String),
    /// Back to the application.
    Return(String),
    /// A page that ends the flow.
    Stop(Problem),
}

/// What the consent page shows.
pub(crate) struct ConsentView<'a> {
    pub(crate) client: &'a OAuthClient,
    pub(crate) person: &'a Person,
    /// Scopes that only identify the person: listed, never boxes.
    pub(crate) identity: Vec<&'static Scope>,
    pub(crate) asked: Vec<&'static Scope>,
    /// Whether each asked scope has a box; otherwise it is all or nothing.
    pub(crate) boxes: bool,
    pub(crate) trusted: bool,
}

/// Why a page can't be answered: the transaction is unknown, over, or another browser's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale;

fn invalid(explanation: impl Into<String>, details: &[(String, String)]) -> Problem {
    Problem {
        status: 400,
        code: "invalid_request",
        headline: "Access blocked: the request of this application is not valid".to_owned(),
        explanation: explanation.into(),
        details: details.to_vec(),
    }
}

struct Parameters<'a> {
    all: &'a [(String, String)],
    /// What "request details" shows: everything but values that belong to one attempt.
    details: Vec<(String, String)>,
}

impl<'a> Parameters<'a> {
    fn new(all: &'a [(String, String)]) -> Result<Parameters<'a>, Problem> {
        let secret = |name: &str| matches!(name, "state" | "nonce" | "code_challenge");
        let details: Vec<_> = all.iter().filter(|(name, _)| !secret(name)).cloned().collect();
        let mut seen = BTreeSet::new();
        for (name, value) in all {
            if !seen.insert(name) {
                let sentence = format!("OAuth 2 parameters can only have a single value: {name}");
                return Err(invalid(sentence, &details));
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(invalid(format!("The value of {name} is too long."), &[]));
            }
        }
        Ok(Parameters { all, details })
    }

    fn optional(&self, name: &str) -> Option<&'a str> {
        let found = self.all.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<&'a str, Problem> {
        self.optional(name).ok_or_else(|| self.invalid(format!("Required parameter is missing: {name}")))
    }

    fn one_of(&self, name: &str, values: [&'static str; 2], default: &'static str) -> Result<&'static str, Problem> {
        let Some(given) = self.optional(name) else {
            return Ok(default);
        };
        let known = values.into_iter().find(|value| *value == given);
        known.ok_or_else(|| self.invalid(format!("Invalid parameter value for {name}: '{given}' is not supported.")))
    }

    fn invalid(&self, explanation: impl Into<String>) -> Problem {
        invalid(explanation, &self.details)
    }

    fn problem(&self, status: u16, code: &'static str, headline: &str, explanation: &str) -> Problem {
        Problem {
            status,
            code,
            headline: headline.to_owned(),
            explanation: explanation.to_owned(),
            details: self.details.clone(),
        }
    }
}

fn check_client(identity: &Identity, parameters: &Parameters<'_>) -> Result<(String, String), Problem> {
    let client_id = parameters.required("client_id")?;
    let unusable =
        |code, explanation| parameters.problem(401, code, "Access blocked: Authorization Error", explanation);
    let client = identity.clients.get(client_id);
    let client = client.ok_or_else(|| unusable("invalid_client", "The OAuth client was not found."))?;
    match client.state {
        ClientState::Active => {}
        ClientState::Disabled => return Err(unusable("disabled_client", "The OAuth client was disabled.")),
        ClientState::Deleted => return Err(unusable("deleted_client", "The OAuth client was deleted.")),
    }
    let redirect_uri = parameters.required("redirect_uri")?;
    if !client.redirect_uris.iter().any(|known| known == redirect_uri) {
        let sentence = "The redirect URI in the request is not one of those that are registered for this OAuth client. \
             The developer of the application has to register exactly the one below.";
        let headline = format!("Access blocked: the request of {} is not valid", client.name);
        return Err(parameters.problem(400, "redirect_uri_mismatch", &headline, sentence));
    }
    Ok((client_id.to_owned(), redirect_uri.to_owned()))
}

fn check_scopes(parameters: &Parameters<'_>) -> Result<BTreeSet<String>, Problem> {
    let names = parameters.required("scope")?.split(' ').filter(|name| !name.is_empty());
    let mut scopes = BTreeSet::new();
    let mut unknown = Vec::new();
    for name in names {
        match find_scope(name) {
            Some(scope) => _ = scopes.insert(scope.name.to_owned()),
            None => unknown.push(name),
        }
    }
    if !unknown.is_empty() || scopes.is_empty() {
        let sentence = format!("Some requested scopes were invalid: {}", unknown.join(", "));
        let headline = "Access blocked: the request of this application is not valid";
        return Err(parameters.problem(400, "invalid_scope", headline, &sentence));
    }
    Ok(scopes)
}

fn check_prompt(parameters: &Parameters<'_>) -> Result<Prompt, Problem> {
    let mut prompt = Prompt::default();
    for word in parameters.optional("prompt").unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            other => {
                return Err(parameters.invalid(format!("Invalid parameter value for prompt: Invalid prompt: {other}")));
            }
        }
    }
    if prompt.none && (prompt.consent || prompt.select_account) {
        return Err(
            parameters.invalid("Invalid parameter value for prompt: 'none' can't be combined with other values.")
        );
    }
    Ok(prompt)
}

fn check_challenge(parameters: &Parameters<'_>) -> Result<Option<Challenge>, Problem> {
    let method = parameters.one_of("code_challenge_method", ["S256", "plain"], "plain")?;
    let Some(challenge) = parameters.optional("code_challenge") else {
        if parameters.optional("code_challenge_method").is_some() {
            return Err(parameters.invalid("code_challenge_method is given without code_challenge."));
        }
        return Ok(None);
    };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&challenge.len()) || !challenge.bytes().all(unreserved) {
        return Err(parameters.invalid("Invalid parameter value for code_challenge: 43 to 128 unreserved characters."));
    }
    let challenge = challenge.to_owned();
    Ok(Some(if method == "S256" { Challenge::S256(challenge) } else { Challenge::Plain(challenge) }))
}

impl AuthorizeRequest {
    /// Checks the query of an authorization request, in Google's order: client, redirect URI, then the rest.
    pub(crate) fn parse(identity: &Identity, query: &[(String, String)]) -> Result<AuthorizeRequest, Problem> {
        let parameters = Parameters::new(query)?;
        let (client_id, redirect_uri) = check_client(identity, &parameters)?;
        let response_type = parameters.required("response_type")?;
        if response_type != "code" {
            return Err(parameters.invalid(format!("Invalid response_type: {response_type}")));
        }
        let owned = |name: &str| parameters.optional(name).map(str::to_owned);
        Ok(AuthorizeRequest {
            client_id,
            redirect_uri,
            scopes: check_scopes(&parameters)?,
            state: owned("state"),
            nonce: owned("nonce"),
            challenge: check_challenge(&parameters)?,
            offline: parameters.one_of("access_type", ["online", "offline"], "online")? == "offline",
            prompt: check_prompt(&parameters)?,
            include_granted: parameters.one_of("include_granted_scopes", ["true", "false"], "false")? == "true",
            login_hint: owned("login_hint"),
            hd: owned("hd"),
            details: parameters.details,
        })
    }

    /// Whether the hints of the request fit this person (hints only steer the chooser, they forbid nothing).
    pub(crate) fn hd_fits(&self, person: &Person) -> bool {
        match self.hd.as_deref() {
            None => true,
            Some("*") => person.hd.is_some(),
            Some(wanted) => person.hd.as_deref() == Some(wanted),
        }
    }

    /// Whether the login hint names this person.
    pub(crate) fn hints_at(&self, person: &Person) -> bool {
        let hint = self.login_hint.as_deref();
        hint.is_some_and(|hint| hint == person.sub || hint.eq_ignore_ascii_case(&person.email))
    }

    fn return_with(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        query.extend_pairs(parameters);
        let joint = if self.redirect_uri.contains('?') { '&' } else { '?' };
        format!("{}{joint}{}", self.redirect_uri, query.finish().replace('+', "%20"))
    }

    fn return_error(&self, code: &str) -> Step {
        Step::Return(self.return_with(&[("error", code)]))
    }
}

impl Identity {
    /// Begins an authorization in a browser.
    pub(crate) fn begin_authorization(&mut self, now: Timestamp, browser: &str, request: AuthorizeRequest) -> Step {
        self.asked.entry(request.client_id.clone()).or_default().extend(request.scopes.iter().cloned());
        let sessions = self.signed_in(Some(browser));
        let hinted = sessions.iter().find(|person| request.hints_at(person)).map(|person| person.sub.clone());
        let only = match (sessions.as_slice(), &request.login_hint) {
            ([person], None) if request.hd_fits(person) => Some(person.sub.clone()),
            _ => None,
        };
        let signed_in = !sessions.is_empty();
        if request.prompt.none {
            return match hinted.or(only) {
                Some(sub) => self.answer_silently(now, browser, &request, &sub),
                None if signed_in => request.return_error("interaction_required"),
                None => request.return_error("login_required"),
            };
        }
        let known = only.filter(|sub| !self.needs_consent(&request, sub));
        let picked = hinted.or(known).filter(|_| !request.prompt.select_account);
        let id = self.keep_transaction(now, browser, request);
        match picked {
            Some(sub) => self.choose_account(now, browser, &id, &sub).unwrap_or(Step::Chooser(id)),
            None => Step::Chooser(id),
        }
    }

    fn answer_silently(&mut self, now: Timestamp, browser: &str, request: &AuthorizeRequest, sub: &str) -> Step {
        if self.refusal_of(request, sub).is_some() {
            return request.return_error("interaction_required");
        }
        if self.needs_consent(request, sub) {
            return request.return_error("consent_required");
        }
        self.finish(now, browser, request, sub, false)
    }

    fn keep_transaction(&mut self, now: Timestamp, browser: &str, request: AuthorizeRequest) -> String {
        while self.transactions.len() >= TRANSACTIONS_MAX {
            let oldest = self.transactions.iter().min_by_key(|(_, kept)| kept.begun_at).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            self.transactions.remove(&oldest);
        }
        let id = self.draw("transaction", 32);
        let kept = Transaction { browser: browser.to_owned(), request, sub: None, begun_at: now };
        self.transactions.insert(id.clone(), kept);
        id
    }

    /// The transaction, when it belongs to this browser and is still open.
    pub(crate) fn transaction(&self, now: Timestamp, browser: &str, id: &str) -> Result<&Transaction, Stale> {
        let kept = self.transactions.get(id).filter(|kept| kept.browser == browser);
        kept.filter(|kept| now.duration_since(kept.begun_at) < TRANSACTION_LIFE).ok_or(Stale)
    }

    /// Takes the account that was chosen or signed in to.
    pub(crate) fn choose_account(&mut self, now: Timestamp, browser: &str, id: &str, sub: &str) -> Result<Step, Stale> {
        let request = self.transaction(now, browser, id)?.request.clone();
        if !self.sign_in(browser, sub) {
            return Ok(Step::Chooser(id.to_owned()));
        }
        if let Some(refusal) = self.refusal_of(&request, sub) {
            self.transactions.remove(id);
            return Ok(self.refuse(&request, sub, refusal));
        }
        if !self.needs_consent(&request, sub) {
            self.transactions.remove(id);
            return Ok(self.finish(now, browser, &request, sub, false));
        }
        if let Some(kept) = self.transactions.get_mut(id) {
            kept.sub = Some(sub.to_owned());
        }
        Ok(Step::Consent(id.to_owned()))
    }

    /// What the consent page of a transaction shows.
    pub(crate) fn consent_view(&self, now: Timestamp, browser: &str, id: &str) -> Result<ConsentView<'_>, Stale> {
        let kept = self.transaction(now, browser, id)?;
        let person = kept.sub.as_ref().and_then(|sub| self.people.get(sub)).ok_or(Stale)?;
        let client = self.clients.get(&kept.request.client_id).ok_or(Stale)?;
        let granted = self.granted(&client.project, &person.sub);
        let again = kept.request.prompt.consent || !kept.request.include_granted;
        let asked =
            |scope: &&Scope| kept.request.scopes.contains(scope.name) && (again || !granted.contains(scope.name));
        let scopes = SCOPES.iter().filter(asked);
        let (identity, asked): (Vec<_>, Vec<_>) = scopes.partition(|scope| is_sign_in(scope.name));
        let trusted = self.is_trusted(person, client);
        let boxes = !trusted && asked.len() > 1;
        Ok(ConsentView { client, person, identity, asked, boxes, trusted })
    }

    /// Takes the answer of the consent page: the ticked scopes, or `None` for Cancel.
    pub(crate) fn answer_consent(
        &mut self,
        now: Timestamp,
        browser: &str,
        id: &str,
        ticked: Option<&BTreeSet<String>>,
    ) -> Result<Step, Stale> {
        let view = self.consent_view(now, browser, id)?;
        let (client, sub) = (view.client.clone(), view.person.sub.clone());
        let names = |scopes: &[&Scope]| scopes.iter().map(|scope| scope.name.to_owned()).collect::<Vec<_>>();
        let mut given: BTreeSet<String> = names(&view.identity).into_iter().collect();
        let asked = names(&view.asked);
        let boxes = view.boxes;
        let Some(kept) = self.transactions.remove(id) else {
            return Err(Stale);
        };
        let request = kept.request;
        let Some(ticked) = ticked else {
            return Ok(request.return_error("access_denied"));
        };
        given.extend(asked.into_iter().filter(|scope| !boxes || ticked.contains(scope)));
        if given.is_empty() {
            return Ok(request.return_error("access_denied"));
        }
        if let Some(refusal) = self.refusal_of(&request, &sub) {
            return Ok(self.refuse(&request, &sub, refusal));
        }
        self.remember_consent(now, &client, &sub, given.clone(), request.include_granted);
        let request = AuthorizeRequest { scopes: given, ..request };
        Ok(self.finish(now, browser, &request, &sub, true))
    }

    fn needs_consent(&self, request: &AuthorizeRequest, sub: &str) -> bool {
        let Some(client) = self.clients.get(&request.client_id) else {
            return true;
        };
        request.prompt.consent || !request.scopes.is_subset(&self.granted(&client.project, sub))
    }

    fn refusal_of(&self, request: &AuthorizeRequest, sub: &str) -> Option<Refusal> {
        let client = self.clients.get(&request.client_id)?;
        let person = self.people.get(sub)?;
        self.refusal(person, client, &request.scopes)
    }

    fn finish(&mut self, now: Timestamp, browser: &str, request: &AuthorizeRequest, sub: &str, shown: bool) -> Step {
        let project = self.clients.get(&request.client_id).map(|client| client.project.clone()).unwrap_or_default();
        let mut scopes = request.scopes.clone();
        if request.include_granted {
            scopes.extend(self.granted(&project, sub));
        }
        let code = self.issue_code(
            now,
            Code {
                client_id: request.client_id.clone(),
                sub: sub.to_owned(),
                redirect_uri: request.redirect_uri.clone(),
                scopes: scopes.clone(),
                nonce: request.nonce.clone(),
                challenge: request.challenge.clone(),
                refresh: request.offline && shown,
                issued_at: now,
                used: false,
            },
        );
        let position = self.signed_in(Some(browser)).iter().position(|person| person.sub == sub);
        let authuser = position.unwrap_or_default().to_string();
        let scope = callback_scope(&scopes);
        let hd = self.people.get(sub).and_then(|person| person.hd.clone());
        let mut parameters = vec![("iss", self.issuer()), ("code", &code), ("scope", &scope), ("authuser", &authuser)];
        if let Some(hd) = &hd {
            parameters.push(("hd", hd));
        }
        parameters.push(("prompt", if shown { "consent" } else { "none" }));
        Step::Return(request.return_with(&parameters))
    }

    fn refuse(&self, request: &AuthorizeRequest, sub: &str, refusal: Refusal) -> Step {
        let by_policy = !matches!(refusal, Refusal::OrgInternal | Refusal::NotTestUser);
        if by_policy && self.switches.policy_errors_redirect {
            return request.return_error(refusal.code());
        }
        let name = self.clients.get(&request.client_id).map_or("This application", |client| client.name.as_str());
        let email = self.people.get(sub).map_or("", |person| person.email.as_str());
        let (headline, explanation) = self.explain(refusal, name);
        let mut details = vec![("account".to_owned(), email.to_owned())];
        details.extend(request.details.iter().cloned());
        Step::Stop(Problem { status: refusal.status(), code: refusal.code(), headline, explanation, details })
    }

    fn explain(&self, refusal: Refusal, name: &str) -> (String, String) {
        let company = &self.customer.name;
        match refusal {
            Refusal::AdminPolicyEnforced => {
                let standard = format!(
                    "Your account is restricted by policies within your organization ({company}): it can't be used \
                     with {name}, or not with everything that {name} asks for. Ask your administrator to allow it."
                );
                let sentence = self.policy.block_message.clone().unwrap_or(standard);
                ("Access blocked: Authorization Error".to_owned(), sentence)
            }
            Refusal::AccessNotConfigured => (
                format!("Access blocked: your institution's admin needs to review {name}"),
                format!("An administrator of {company} has to configure {name} before people under 18 can use it."),
            ),
            Refusal::PolicyEnforced => (
                "Access blocked: Authorization Error".to_owned(),
                format!("Your account is enrolled in Advanced Protection, which keeps {name} from reading its data."),
            ),
            Refusal::OrgInternal => (
                format!("Access blocked: {name} can only be used within its organization"),
                format!("{name} is internal to {company}. Choose an account of that organization."),
            ),
            Refusal::NotTestUser => (
                format!("Access blocked: {name} has not completed verification"),
                format!("{name} is being tested, and your account is not on its list of test users."),
            ),
        }
    }
}

/// The `scope` of the callback: short and long names of the identity scopes, as Google sends them.
fn callback_scope(scopes: &BTreeSet<String>) -> String {
    let aliases = [(EMAIL, "email"), (PROFILE, "profile"), (OPENID, OPENID)];
    let short = aliases.iter().filter(|(long, _)| scopes.contains(*long)).map(|(_, short)| *short);
    let long = scopes.iter().map(String::as_str).filter(|scope| *scope != OPENID);
    short.chain(long).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::PersonSwitch;
    use crate::accounts::sample::{
        BACK, CALENDAR, INTAIL, MAIL, TESTING, begin, connect, connect_with, identity, query, returned, start, sub,
    };

    const INES: &str = "ines@example.com";

    fn refused(changes: &[(&str, &str)]) -> (u16, &'static str) {
        let Err(problem) = AuthorizeRequest::parse(&identity(), &query(changes)) else {
            panic!("accepted {changes:?}")
        };
        (problem.status, problem.code)
    }

    #[test]
    fn a_bad_request_ends_on_a_page_with_googles_code() {
        let invalid = (400, "invalid_request");
        assert_eq!(refused(&[("client_id", "")]), invalid);
        assert_eq!(refused(&[("client_id", "nobody")]), (401, "invalid_client"));
        assert_eq!(refused(&[("redirect_uri", "")]), invalid);
        for other in [format!("{BACK}/"), BACK.to_uppercase(), format!("{BACK}?x=1")] {
            assert_eq!(refused(&[("redirect_uri", &other)]), (400, "redirect_uri_mismatch"));
        }
        assert_eq!(refused(&[("response_type", "")]), invalid);
        assert_eq!(refused(&[("response_type", "token")]), invalid);
        assert_eq!(refused(&[("scope", "")]), invalid);
        assert_eq!(refused(&[("scope", "openid EMAIL")]), (400, "invalid_scope"));
        assert_eq!(refused(&[("access_type", "forever")]), invalid);
        assert_eq!(refused(&[("prompt", "none consent")]), invalid);
        assert_eq!(refused(&[("prompt", "later")]), invalid);
        assert_eq!(refused(&[("include_granted_scopes", "yes")]), invalid);
        assert_eq!(refused(&[("code_challenge_method", "S256")]), invalid);
        assert_eq!(refused(&[("code_challenge", "short")]), invalid);
        assert_eq!(refused(&[("code_challenge", &"a".repeat(43)), ("code_challenge_method", "S512")]), invalid);
    }

    #[test]
    fn a_parameter_given_twice_or_too_long_is_refused() {
        let mut twice = query(&[]);
        twice.push(("scope".to_owned(), "openid".to_owned()));
        assert!(AuthorizeRequest::parse(&identity(), &twice).is_err());
        assert_eq!(refused(&[("state", &"x".repeat(VALUE_BYTES_MAX + 1))]), (400, "invalid_request"));
    }

    #[test]
    fn a_disabled_or_deleted_client_has_its_own_code() {
        for (state, code) in [(ClientState::Deleted, "deleted_client"), (ClientState::Disabled, "disabled_client")] {
            let mut identity = identity();
            identity.clients.get_mut(INTAIL).unwrap().state = state;
            let Err(problem) = AuthorizeRequest::parse(&identity, &query(&[])) else { panic!("accepted") };
            assert_eq!((problem.status, problem.code), (401, code));
        }
    }

    #[test]
    fn the_callback_carries_code_scope_state_issuer_and_account() {
        let mut identity = identity();
        let back = connect(&mut identity, start(), INES, &[("scope", &format!("openid email {MAIL}"))]);
        assert!(back["code"].starts_with("4/"));
        assert_eq!(back["state"], "a b&c");
        assert_eq!(back["iss"], "https://sandbox.example.com");
        assert_eq!(back["scope"], format!("email openid {MAIL} {EMAIL}"));
        assert_eq!(back["authuser"], "0");
        assert_eq!(back["hd"], "example.com");
        assert_eq!(back["prompt"], "consent");
    }

    #[test]
    fn consent_is_asked_once_per_project_and_again_on_demand() {
        let mut identity = identity();
        assert_eq!(connect(&mut identity, start(), INES, &[])["prompt"], "consent");
        assert_eq!(connect(&mut identity, start(), INES, &[])["prompt"], "none");
        let (_, step) = begin(&mut identity, start(), INES, &[("prompt", "consent")]);
        assert!(matches!(step, Step::Consent(_)));
        let (_, step) = begin(&mut identity, start(), "bo@example.org", &[]);
        assert!(matches!(step, Step::Consent(_)));
    }

    #[test]
    fn cancel_returns_access_denied_and_the_state() {
        let mut identity = identity();
        let (browser, step) = begin(&mut identity, start(), INES, &[]);
        let Step::Consent(id) = step else { panic!("{step:?}") };
        let back = returned(&identity.answer_consent(start(), &browser, &id, None).unwrap());
        assert_eq!((back["error"].as_str(), back["state"].as_str()), ("access_denied", "a b&c"));
        assert!(!back.contains_key("code"));
        assert!(identity.granted("intail-demo", &sub(INES)).is_empty());
    }

    #[test]
    fn a_transaction_is_answered_once_in_its_own_browser_and_in_time() {
        let mut identity = identity();
        let (browser, step) = begin(&mut identity, start(), INES, &[]);
        let Step::Consent(id) = step else { panic!("{step:?}") };
        let other = identity.new_browser();
        let all = BTreeSet::from([MAIL.to_owned()]);
        assert_eq!(identity.answer_consent(start(), &other, &id, Some(&all)), Err(Stale));
        let late = start().checked_add(TRANSACTION_LIFE).unwrap();
        assert_eq!(identity.answer_consent(late, &browser, &id, Some(&all)), Err(Stale));
        assert!(identity.answer_consent(start(), &browser, &id, Some(&all)).is_ok());
        assert_eq!(identity.answer_consent(start(), &browser, &id, Some(&all)), Err(Stale));
    }

    #[test]
    fn an_unticked_box_is_left_out_and_nothing_that_was_not_asked_gets_in() {
        let mut identity = identity();
        let wide = "https://www.googleapis.com/auth/drive.readonly";
        let back = connect_with(&mut identity, start(), INES, &[], &[CALENDAR, wide]);
        assert_eq!(back["scope"], CALENDAR);
    }

    #[test]
    fn no_box_ticked_at_all_counts_as_denied() {
        let mut identity = identity();
        assert_eq!(connect_with(&mut identity, start(), INES, &[], &[])["error"], "access_denied");
    }

    #[test]
    fn boxes_appear_for_more_than_one_permission_and_never_for_trusted_applications() {
        let boxes = |identity: &mut Identity, changes: &[(&str, &str)]| {
            let (browser, step) = begin(identity, start(), INES, changes);
            let Step::Consent(id) = step else { panic!("{step:?}") };
            let view = identity.consent_view(start(), &browser, &id).unwrap();
            (view.boxes, view.identity.len(), view.asked.len())
        };
        let mut identity = identity();
        assert_eq!(boxes(&mut identity, &[]), (true, 0, 2));
        assert_eq!(boxes(&mut identity, &[("scope", &format!("openid {MAIL}"))]), (false, 1, 1));
        identity.set_access(start(), INTAIL, Some(crate::access::AccessLevel::Trusted));
        assert_eq!(boxes(&mut identity, &[]), (false, 0, 2));
        assert_eq!(connect_with(&mut identity, start(), INES, &[], &[])["scope"], format!("{CALENDAR} {MAIL}"));
    }

    #[test]
    fn with_granted_scopes_included_only_new_ones_are_asked_and_all_are_given() {
        let mut identity = identity();
        connect(&mut identity, start(), INES, &[("scope", CALENDAR)]);
        let (browser, step) = begin(&mut identity, start(), INES, &[("include_granted_scopes", "true")]);
        let Step::Consent(id) = step else { panic!("{step:?}") };
        let view = identity.consent_view(start(), &browser, &id).unwrap();
        assert_eq!(view.asked.iter().map(|scope| scope.name).collect::<Vec<_>>(), [MAIL]);
        let step = identity.answer_consent(start(), &browser, &id, Some(&BTreeSet::new())).unwrap();
        assert_eq!(returned(&step)["scope"], format!("{CALENDAR} {MAIL}"));
    }

    #[test]
    fn without_them_new_consent_replaces_the_old_unless_the_world_says_otherwise() {
        for (replaces, left) in [(true, 1), (false, 2)] {
            let mut identity = identity();
            identity.switches.consent_replaces_grant = replaces;
            connect(&mut identity, start(), INES, &[]);
            connect(&mut identity, start(), INES, &[("scope", CALENDAR), ("prompt", "consent")]);
            assert_eq!(identity.granted("intail-demo", &sub(INES)).len(), left);
        }
    }

    #[test]
    fn a_silent_request_never_shows_a_page() {
        let mut identity = identity();
        let silent = |identity: &mut Identity, browser: &str| {
            let request = AuthorizeRequest::parse(identity, &query(&[("prompt", "none")])).unwrap();
            returned(&identity.begin_authorization(start(), browser, request))
        };
        let browser = identity.new_browser();
        assert_eq!(silent(&mut identity, &browser)["error"], "login_required");
        identity.sign_in(&browser, &sub(INES));
        assert_eq!(silent(&mut identity, &browser)["error"], "consent_required");
        connect(&mut identity, start(), INES, &[]);
        assert!(silent(&mut identity, &browser)["code"].starts_with("4/"));
        identity.sign_in(&browser, &sub("bo@example.org"));
        assert_eq!(silent(&mut identity, &browser)["error"], "interaction_required");
    }

    #[test]
    fn the_chooser_comes_unless_the_account_is_clear() {
        let mut identity = identity();
        connect(&mut identity, start(), INES, &[]);
        let mut step = |sessions: &[&str], changes: &[(&str, &str)]| {
            let browser = identity.new_browser();
            for email in sessions {
                identity.sign_in(&browser, &sub(email));
            }
            let request = AuthorizeRequest::parse(&identity, &query(changes)).unwrap();
            identity.begin_authorization(start(), &browser, request)
        };
        assert!(matches!(step(&[], &[]), Step::Chooser(_)));
        assert!(matches!(step(&[], &[("login_hint", INES)]), Step::Chooser(_)));
        assert!(matches!(step(&[INES], &[]), Step::Return(_)));
        assert!(matches!(step(&[INES], &[("prompt", "select_account")]), Step::Chooser(_)));
        assert!(matches!(step(&[INES], &[("hd", "example.org")]), Step::Chooser(_)));
        assert!(matches!(step(&[INES, "bo@example.org"], &[]), Step::Chooser(_)));
        assert!(matches!(step(&[INES, "bo@example.org"], &[("login_hint", &sub(INES))]), Step::Return(_)));
        assert!(matches!(step(&["bo@example.org"], &[("login_hint", INES)]), Step::Chooser(_)));
    }

    #[test]
    fn policy_ends_on_a_page_or_comes_back_if_the_world_says_so() {
        let mut identity = identity();
        identity.set_unconfigured(start(), crate::access::UnconfiguredApps::Block, false);
        let (_, step) = begin(&mut identity, start(), INES, &[]);
        let Step::Stop(problem) = step else { panic!("{step:?}") };
        assert_eq!((problem.status, problem.code), (400, "admin_policy_enforced"));
        assert!(problem.details.iter().all(|(name, _)| name != "state"));
        identity.switches.policy_errors_redirect = true;
        let (_, step) = begin(&mut identity, start(), INES, &[]);
        assert_eq!(returned(&step)["error"], "admin_policy_enforced");
    }

    #[test]
    fn outsiders_testers_and_protected_accounts_get_their_own_pages() {
        let mut identity = identity();
        let mut code = |email: &str, changes: &[(&str, &str)]| match begin(&mut identity, start(), email, changes).1 {
            Step::Stop(problem) => (problem.status, problem.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(code("pat@gmail.com", &[]), (403, "org_internal"));
        assert_eq!(code("bo@example.org", &[("client_id", TESTING)]), (403, "access_denied"));
        identity.switch_person(start(), &sub(INES), PersonSwitch::AdvancedProtectionOn);
        let (_, step) = begin(&mut identity, start(), INES, &[]);
        assert!(matches!(step, Step::Stop(problem) if problem.code == "policy_enforced"));
    }

    #[test]
    fn the_oldest_transaction_gives_way() {
        let mut identity = identity();
        let (browser, first) = begin(&mut identity, start(), INES, &[]);
        let Step::Consent(first) = first else { panic!("{first:?}") };
        let later = start().checked_add(SignedDuration::from_secs(1)).unwrap();
        for _ in 0..TRANSACTIONS_MAX {
            begin(&mut identity, later, INES, &[]);
        }
        assert!(identity.transaction(later, &browser, &first).is_err());
        assert_eq!(identity.transactions.len(), TRANSACTIONS_MAX);
    }
}

//! What people and programs are told when something doesn't work: what happened, and one thing to do. The cause is
//! for the log only; both carry the same reference, so that who reads the one finds the other.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, LazyLock};

use askama::Template;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{self, Caller};
use super::page::{Shell, html};
use super::{Web, session};
use crate::connect::ConnectError;
use crate::signin::SignInError;
use crate::store::StoreError;

/// Something that didn't work. Becomes a page, or for programs a problem document.
pub(super) struct Trouble(Box<Facts>);

struct Facts {
    status: StatusCode,
    word: &'static str,
    title: String,
    detail: String,
    to_do: String,
    button: Button,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The one thing to press.
#[derive(Clone, Copy)]
enum Button {
    /// Goes to a page.
    Link { label: &'static str, href: &'static str },
    /// Connects; shows the account chooser, or the permissions again.
    Connect { label: &'static str, choose_account: bool, ask_again: bool },
}

const INTEGRATIONS: Button = Button::Link { label: "Open Integrations", href: "/settings/integrations" };
const SIGN_IN: Button = Button::Link { label: "Sign in", href: "/signin" };
const PEOPLE: Button = Button::Link { label: "Open People", href: "/admin/people" };
const POLICY: Button = Button::Link { label: "Open Policy", href: "/admin/policy" };
const HOME: Button = Button::Link { label: "Go to the start page", href: "/" };
const CONNECT: Button = Button::Connect { label: "Connect again", choose_account: false, ask_again: false };
const CHOOSE: Button = Button::Connect { label: "Choose another account", choose_account: true, ask_again: false };
const ASK_AGAIN: Button =
    Button::Connect { label: "Show the permissions again", choose_account: false, ask_again: true };

/// What people are told, one block for each trouble.
static STORIES: LazyLock<BTreeMap<&'static str, [&'static str; 3]>> =
    LazyLock::new(|| include_str!("../../templates/troubles.txt").split("\n\n").filter_map(story).collect());

fn story(block: &'static str) -> Option<(&'static str, [&'static str; 3])> {
    let mut lines = block.lines().filter(|line| !line.starts_with('#'));
    let mut next = || lines.next();
    Some((next()?, [next()?, next()?, next()?]))
}

impl Trouble {
    /// The trouble with this name; `fill` says what stands for which word in braces.
    fn told(status: StatusCode, part: &str, word: &'static str, fill: &[(&str, &str)]) -> Self {
        let name = format!("{part}/{word}");
        let story = STORIES.get(name.as_str()).or_else(|| STORIES.get("page/internal")).copied().unwrap_or_default();
        let [title, detail, to_do] = story.map(|text| {
            let mut text = text.to_owned();
            for (word, value) in fill {
                text = text.replace(&format!("{{{word}}}"), value);
            }
            text
        });
        Self(Box::new(Facts { status, word, title, detail, to_do, button: HOME, cause: None }))
    }

    fn button(mut self, button: Button) -> Self {
        self.0.button = button;
        self
    }

    /// The same, with the way back to the administration's page People.
    pub(super) fn back_to_people(self) -> Self {
        self.button(PEOPLE)
    }

    /// The same, with the way back to the administration's page Policy.
    pub(super) fn back_to_policy(self) -> Self {
        self.button(POLICY)
    }

    fn cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(Arc::new(*self.0));
        response
    }
}

fn page(status: StatusCode, word: &'static str) -> Trouble {
    Trouble::told(status, "page", word, &[])
}

/// An address that isn't Intail's.
pub(super) fn no_such_page() -> Trouble {
    page(StatusCode::NOT_FOUND, "not_found")
}

/// An address that exists and can't be asked in this way.
pub(super) fn no_such_method() -> Trouble {
    page(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
}

/// A handler broke down.
pub(super) fn panicked() -> Trouble {
    page(StatusCode::INTERNAL_SERVER_ERROR, "panic")
}

/// Something failed inside Intail.
pub(super) fn unexpected(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Trouble {
    page(StatusCode::INTERNAL_SERVER_ERROR, "internal").cause(cause)
}

/// A link for the administrator that Intail didn't sign.
pub(super) fn unknown_approval_link() -> Trouble {
    page(StatusCode::NOT_FOUND, "unknown_approval_link")
}

/// A link for the administrator that has run out.
pub(super) fn expired_approval_link() -> Trouble {
    page(StatusCode::GONE, "expired_approval_link")
}

/// Only callers may do this.
pub(super) fn not_signed_in() -> Trouble {
    page(StatusCode::UNAUTHORIZED, "not_signed_in").button(SIGN_IN)
}

/// The access key isn't one.
pub(super) fn unknown_key() -> Trouble {
    page(StatusCode::UNAUTHORIZED, "unknown_key")
}

/// Only administrators may see this.
pub(super) fn administrators_only() -> Trouble {
    page(StatusCode::FORBIDDEN, "administrators_only")
}

/// The account that the caller signs in with is suspended or deleted at Google.
pub(super) fn shut_out() -> Trouble {
    page(StatusCode::FORBIDDEN, "shut_out").button(INTEGRATIONS)
}

/// A form that no page of Intail's sent.
pub(super) fn foreign_form() -> Trouble {
    page(StatusCode::FORBIDDEN, "foreign_form")
}

/// A form of another session.
pub(super) fn stale_form() -> Trouble {
    page(StatusCode::FORBIDDEN, "stale_form").button(INTEGRATIONS)
}

/// A form that no page of Intail's can be.
pub(super) fn form_too_large() -> Trouble {
    page(StatusCode::PAYLOAD_TOO_LARGE, "form_too_large")
}

/// Something in the address or the form can't be understood.
pub(super) fn not_understood(what: &str) -> Trouble {
    Trouble::told(StatusCode::BAD_REQUEST, "page", "not_understood", &[("what", what)])
}

/// What was asked for isn't there, or isn't the caller's: nobody is told which.
pub(super) fn not_there(what: &str) -> Trouble {
    Trouble::told(StatusCode::NOT_FOUND, "page", "not_there", &[("what", what)])
}

/// A field of a form says what it can't.
pub(super) fn wrong_field(what: &str) -> Trouble {
    Trouble::told(StatusCode::BAD_REQUEST, "page", "wrong_field", &[("what", what)])
}

/// The organization would have no administrator.
pub(super) fn last_administrator() -> Trouble {
    page(StatusCode::CONFLICT, "last_administrator").button(PEOPLE)
}

/// An administrator disconnects somebody who isn't connected.
pub(super) fn nothing_to_disconnect() -> Trouble {
    page(StatusCode::NOT_FOUND, "nothing_to_disconnect").button(PEOPLE)
}

/// What a form was filled in over has changed since.
pub(super) fn changed_meanwhile() -> Trouble {
    page(StatusCode::CONFLICT, "changed_meanwhile")
}

/// Many sign-ins were begun within a minute.
pub(super) fn sign_in_flood() -> Trouble {
    Trouble::told(StatusCode::TOO_MANY_REQUESTS, "sign_in", "flood", &[]).button(SIGN_IN)
}

/// The sign-in link was used, is too old, or was never made: nobody is told which.
pub(super) fn link_over() -> Trouble {
    Trouble::told(StatusCode::GONE, "sign_in", "link_over", &[]).button(SIGN_IN)
}

/// A place in the feed that was given out after the backup that everything was restored from.
pub(super) fn feed_restored() -> Trouble {
    page(StatusCode::GONE, "feed_restored")
}

/// Too much of something at once.
pub(super) fn too_many(what: &str) -> Trouble {
    Trouble::told(StatusCode::TOO_MANY_REQUESTS, "page", "too_many", &[("what", what)])
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        unexpected(error)
    }
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        let (status, button) = connect_shape(&error);
        let nobody = "The account that was chosen";
        let (expected, came) = match &error {
            ConnectError::WrongAccount { expected, came } => (expected.as_str(), came.as_str()),
            ConnectError::WrongOrganization { came }
            | ConnectError::AccountTaken { came }
            | ConnectError::AccountOfAnother { came } => ("", came.as_str()),
            _ => ("", ""),
        };
        let came = if came.is_empty() { nobody } else { came };
        let fill = [("expected", expected), ("came", came)];
        Self::told(status, "connect", error.word(), &fill).button(button).cause(error)
    }
}

fn connect_shape(error: &ConnectError) -> (StatusCode, Button) {
    use {ConnectError as E, StatusCode as S};
    match error {
        E::Incomplete { .. } | E::ForeignIssuer => (S::BAD_REQUEST, CONNECT),
        E::UnknownState => (S::BAD_REQUEST, INTEGRATIONS),
        E::ForeignState | E::BlockedByAdministrator | E::AdvancedProtection | E::WiderScope { .. } => {
            (S::FORBIDDEN, INTEGRATIONS)
        }
        E::Expired => (S::GONE, CONNECT),
        E::Replayed => (S::CONFLICT, INTEGRATIONS),
        E::Denied => (S::FORBIDDEN, CONNECT),
        E::WrongAccount { .. } | E::AccountTaken { .. } | E::AccountOfAnother { .. } => (S::CONFLICT, CHOOSE),
        E::AnswerRefused => (S::CONFLICT, CONNECT),
        E::WrongOrganization { .. } => (S::FORBIDDEN, CHOOSE),
        E::NothingGranted => (S::FORBIDDEN, ASK_AGAIN),
        E::NoRefreshToken => (S::CONFLICT, ASK_AGAIN),
        E::StillLeaving => (S::CONFLICT, INTEGRATIONS),
        E::Removed => (S::GONE, SIGN_IN),
        E::TooMany | E::OrganizationBusy => (S::TOO_MANY_REQUESTS, INTEGRATIONS),
        E::LastAdministrator => (S::CONFLICT, PEOPLE),
        E::NotConnected => (S::NOT_FOUND, INTEGRATIONS),
        E::Operator { .. } => (S::SERVICE_UNAVAILABLE, INTEGRATIONS),
        E::GoogleTrouble { .. } | E::Unexpected { .. } => (S::BAD_GATEWAY, CONNECT),
        E::Store { .. } | E::Sealed { .. } => (S::INTERNAL_SERVER_ERROR, INTEGRATIONS),
    }
}

impl From<SignInError> for Trouble {
    fn from(error: SignInError) -> Self {
        let domain = match &error {
            SignInError::UnknownOrganization { domain } | SignInError::NotInvited { domain } => domain.as_str(),
            _ => "",
        };
        let told = Self::told(sign_in_status(&error), "sign_in", error.word(), &[("domain", domain)]);
        told.button(SIGN_IN).cause(error)
    }
}

fn sign_in_status(error: &SignInError) -> StatusCode {
    use {SignInError as E, StatusCode as S};
    match error {
        E::Incomplete { .. } | E::UnknownState | E::ForeignIssuer => S::BAD_REQUEST,
        E::ForeignState | E::Denied | E::NotVerified => S::FORBIDDEN,
        E::UnknownOrganization { .. } | E::NotInvited { .. } => S::FORBIDDEN,
        E::Expired => S::GONE,
        E::Replayed => S::CONFLICT,
        E::IssuerTrouble { .. } | E::Unexpected { .. } => S::BAD_GATEWAY,
        E::Operator { .. } => S::SERVICE_UNAVAILABLE,
        E::Store { .. } | E::Sealed { .. } => S::INTERNAL_SERVER_ERROR,
    }
}

/// What a program is told (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// What happened, in one word that doesn't change.
    code: &'static str,
    /// What happened, in a few words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened, in sentences.
    detail: String,
    /// What to do about it.
    to_do: String,
    /// Stands in Intail's log too.
    reference: String,
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    shell: Shell,
    facts: &'a Facts,
    reference: &'a str,
}

/// What was answered, for the log.
#[derive(Clone)]
struct Explained {
    reference: String,
    facts: Arc<Facts>,
}

/// The layer that turns [`Trouble`] into what the asker can read.
pub(super) async fn explain(State(web): State<Web>, request: Request, next: Next) -> Response {
    let for_programs = request.uri().path().starts_with("/api/");
    let session = session::token(&web, request.headers());
    let mut response = next.run(request).await;
    let Some(facts) = response.extensions_mut().remove::<Arc<Facts>>() else {
        return response;
    };
    let reference = reference(&web);
    let mut told = if for_programs {
        problem(&facts, &reference)
    } else {
        let caller = match response.extensions().get::<Caller>() {
            Some(caller) => Some(caller.clone()),
            // No route let them in, and still they are signed in. Where something is broken, nobody is looked for.
            None if !facts.status.is_server_error() => signed_in(&web, session.as_deref()).await,
            None => None,
        };
        let shell = Shell::new(&web, caller.as_ref(), "", facts.title.clone());
        let page = TroublePage { shell, facts: &facts, reference: &reference };
        html(&page).unwrap_or_else(|_| reference.clone().into_response())
    };
    *told.status_mut() = facts.status;
    let cookies = response.headers().get_all(header::SET_COOKIE);
    told.headers_mut().extend(cookies.iter().map(|cookie| (header::SET_COOKIE, cookie.clone())));
    if let Some(allow) = response.headers().get(header::ALLOW) {
        told.headers_mut().insert(header::ALLOW, allow.clone());
    }
    told.extensions_mut().insert(Explained { reference, facts });
    told
}

async fn signed_in(web: &Web, session: Option<&str>) -> Option<Caller> {
    access::of_session(web, session?).await.ok().flatten()
}

fn problem(facts: &Facts, reference: &str) -> Response {
    let problem = Problem {
        code: facts.word,
        title: facts.title.clone(),
        status: facts.status.as_u16(),
        detail: facts.detail.clone(),
        to_do: facts.to_do.clone(),
        reference: reference.to_owned(),
    };
    let mut response = Json(problem).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if facts.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Characters of a reference: enough to find one line in a month of logs, few enough to read aloud.
const REFERENCE_LENGTH: usize = 10;

fn reference(web: &Web) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0u8; REFERENCE_LENGTH];
    web.app.random.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// What stands in the log for an address that is itself a proof.
const APPROVAL_PATH: &str = "/approve/";

/// The one place that logs requests: method and path, never the query, which may carry codes and states.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let path = if path.starts_with(APPROVAL_PATH) { APPROVAL_PATH } else { path }.to_owned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    match response.extensions().get::<Explained>() {
        Some(told) => log_trouble(told, &method, &path),
        None => tracing::debug!(%method, path, status, "answered"),
    }
    response
}

fn log_trouble(told: &Explained, method: &Method, path: &str) {
    let (reference, word, status) = (&told.reference, told.facts.word, told.facts.status.as_u16());
    let cause = told.facts.cause.as_deref().map_or_else(String::new, |cause| chain(cause));
    if told.facts.status.is_server_error() {
        tracing::error!(reference, word, status, %method, path, cause, "a request failed");
    } else {
        tracing::info!(reference, word, status, %method, path, cause, "a request was refused");
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(it) = cause else { break };
        text = format!("{text}: {it}");
        cause = it.source();
    }
    text
}

/// Causes of causes that are logged; more are a loop.
const CAUSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn connect_errors() -> Vec<ConnectError> {
        use ConnectError as E;
        let (a, b) = ("<b>one</b>@example.com".to_owned(), "two@example.org".to_owned());
        vec![
            E::Incomplete("state"),
            E::UnknownState,
            E::ForeignState,
            E::Expired,
            E::Replayed,
            E::ForeignIssuer,
            E::Denied,
            E::BlockedByAdministrator,
            E::AdvancedProtection,
            E::WrongAccount { expected: a, came: b.clone() },
            E::WrongOrganization { came: String::new() },
            E::AccountTaken { came: b.clone() },
            E::AccountOfAnother { came: b },
            E::AnswerRefused,
            E::WiderScope("secret".to_owned()),
            E::NothingGranted,
            E::NoRefreshToken,
            E::TooMany,
            E::StillLeaving,
            E::Removed,
            E::OrganizationBusy,
            E::LastAdministrator,
            E::NotConnected,
            E::Operator("secret".to_owned()),
            E::GoogleTrouble("secret".into()),
            E::Unexpected("secret".into()),
        ]
    }

    fn sign_in_errors() -> Vec<SignInError> {
        use SignInError as E;
        vec![
            E::Incomplete("state"),
            E::UnknownState,
            E::ForeignState,
            E::Expired,
            E::Replayed,
            E::ForeignIssuer,
            E::Denied,
            E::NotVerified,
            E::UnknownOrganization { domain: "example.net".to_owned() },
            E::NotInvited { domain: "example.net".to_owned() },
            E::Operator("secret".to_owned()),
            E::IssuerTrouble("secret".into()),
            E::Unexpected("secret".into()),
        ]
    }

    #[test]
    fn every_wrong_turn_has_a_story_of_its_own_without_its_cause() {
        let mut told: Vec<Trouble> = connect_errors().into_iter().map(Trouble::from).collect();
        told.extend(sign_in_errors().into_iter().map(Trouble::from));
        told.extend([no_such_page(), no_such_method(), panicked(), not_signed_in(), unknown_key(), foreign_form()]);
        told.extend([nothing_to_disconnect(), changed_meanwhile()]);
        told.extend([wrong_field("Wrong."), last_administrator(), sign_in_flood(), link_over()]);
        told.extend([unknown_approval_link(), expired_approval_link()]);
        told.extend([
            shut_out(),
            stale_form(),
            form_too_large(),
            administrators_only(),
            not_there("label"),
            too_many("Many."),
        ]);
        let internal = STORIES.get("page/internal").copied().unwrap_or_default()[0];
        for Trouble(facts) in told {
            let text = format!("{} {} {}", facts.title, facts.detail, facts.to_do);
            assert!(facts.word == "panic" || facts.title != internal, "{} has no story", facts.word);
            assert!(!text.contains("secret") && !text.contains('{'), "{}: {text}", facts.word);
            assert!(!facts.to_do.is_empty());
        }
    }

    #[test]
    fn a_cause_is_logged_with_its_causes() {
        let cause = Trouble::from(ConnectError::GoogleTrouble("status 500".into())).0.cause.expect("a cause");
        assert_eq!(chain(cause.as_ref()), "Google couldn't answer: status 500");
    }
}

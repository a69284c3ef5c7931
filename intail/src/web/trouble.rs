//! What people and programs are told when something doesn't work: what happened, and one thing to do. The cause is for the
//! log only; both carry the same reference, so that who reads the one finds the other.

use std::error::Error;
use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Web;
use super::access::Caller;
use super::page::{Shell, html};
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
pub(super) enum Button {
    /// Goes to a page.
    Link {
        /// What stands on it.
        label: &'static str,
        /// Where it goes.
        href: &'static str,
    },
    /// Connects.
    Connect {
        /// What stands on it.
        label: &'static str,
        /// Show the account chooser.
        choose_account: bool,
        /// Show the permissions again.
        ask_again: bool,
    },
}

const INTEGRATIONS: Button = Button::Link {
    label: "Open Integrations",
    href: "/settings/integrations",
};
const SIGN_IN: Button = Button::Link {
    label: "Sign in",
    href: "/signin",
};
const HOME: Button = Button::Link {
    label: "Go to the start page",
    href: "/",
};
const CONNECT: Button = Button::Connect {
    label: "Connect again",
    choose_account: false,
    ask_again: false,
};
const CHOOSE: Button = Button::Connect {
    label: "Choose another account",
    choose_account: true,
    ask_again: false,
};
const ASK_AGAIN: Button = Button::Connect {
    label: "Show the permissions again",
    choose_account: false,
    ask_again: true,
};

impl Trouble {
    fn new(status: StatusCode, word: &'static str, title: &str, detail: impl Into<String>, to_do: &str) -> Self {
        Self(Box::new(Facts {
            status,
            word,
            title: title.to_owned(),
            detail: detail.into(),
            to_do: to_do.to_owned(),
            button: HOME,
            cause: None,
        }))
    }

    fn button(mut self, button: Button) -> Self {
        self.0.button = button;
        self
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

/// An address that isn't Intail's.
pub(super) fn no_such_page() -> Trouble {
    let detail = "Nothing is at this address. Perhaps it was mistyped, or what was here has gone.";
    Trouble::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "There is no such page",
        detail,
        "Start from the front page.",
    )
}

/// An address that exists and can't be asked in this way.
pub(super) fn no_such_method() -> Trouble {
    let detail = "This address exists, but not for this kind of request.";
    let to_do = "Use the buttons and links of Intail's own pages; programs find the methods in /api/v1/openapi.json.";
    Trouble::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "That can't be done here",
        detail,
        to_do,
    )
}

/// A handler broke down.
pub(super) fn panicked() -> Trouble {
    internal("panic")
}

/// Something failed inside Intail.
pub(super) fn unexpected(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Trouble {
    internal("internal").cause(cause)
}

fn internal(word: &'static str) -> Trouble {
    let detail = "This is Intail's own fault, not yours. Nothing that you did is lost.";
    let to_do = "Try again in a moment. If it stays, give the reference below to whoever runs Intail.";
    Trouble::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        word,
        "Something went wrong inside Intail",
        detail,
        to_do,
    )
}

/// Only callers may do this.
pub(super) fn not_signed_in() -> Trouble {
    let to_do = "Send `Authorization: Bearer` and an access key from Settings → Access keys, or sign in.";
    Trouble::new(
        StatusCode::UNAUTHORIZED,
        "not_signed_in",
        "Nobody is signed in",
        "This needs to know who asks.",
        to_do,
    )
    .button(SIGN_IN)
}

/// The access key isn't one.
pub(super) fn unknown_key() -> Trouble {
    let detail = "The access key in the Authorization header is none of Intail's, or it was deleted.";
    let to_do = "Make a new key under Settings → Access keys.";
    Trouble::new(
        StatusCode::UNAUTHORIZED,
        "unknown_key",
        "The access key isn't known",
        detail,
        to_do,
    )
}

/// Only administrators may see this.
pub(super) fn administrators_only() -> Trouble {
    let detail = "This page is for administrators of your organization in Intail.";
    let to_do = "If you should be one, ask whoever runs Intail to make you one.";
    Trouble::new(
        StatusCode::FORBIDDEN,
        "administrators_only",
        "This page is for administrators",
        detail,
        to_do,
    )
}

/// A form that no page of Intail's sent.
pub(super) fn foreign_form() -> Trouble {
    let detail = "The request didn't come from one of Intail's own pages, so nothing was done.";
    let to_do = "Go to Intail and press the button there.";
    Trouble::new(
        StatusCode::FORBIDDEN,
        "foreign_form",
        "The request came from somewhere else",
        detail,
        to_do,
    )
}

/// A form of another session.
pub(super) fn stale_form() -> Trouble {
    let detail = "You signed in again since the page was opened, so its buttons no longer work. Nothing was done.";
    let to_do = "Open the page again and press the button there.";
    Trouble::new(
        StatusCode::FORBIDDEN,
        "stale_form",
        "The page was too old",
        detail,
        to_do,
    )
    .button(INTEGRATIONS)
}

/// A form that no page of Intail's can be.
pub(super) fn form_too_large() -> Trouble {
    let detail = "What was sent is larger than any form of Intail's, or it stopped half-way.";
    Trouble::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "form_too_large",
        "That was too much",
        detail,
        "Send less.",
    )
}

/// Something in the address or the form can't be understood.
pub(super) fn not_understood(what: &str) -> Trouble {
    let to_do = "Follow Intail's own links; programs find the forms in /api/v1/openapi.json.";
    Trouble::new(
        StatusCode::BAD_REQUEST,
        "not_understood",
        "The request can't be understood",
        what,
        to_do,
    )
}

/// What was asked for isn't there, or isn't the caller's: nobody is told which.
pub(super) fn not_there(what: &str) -> Trouble {
    let detail = format!("There is no such {what}. It may have been deleted meanwhile.");
    Trouble::new(
        StatusCode::NOT_FOUND,
        "not_there",
        "It isn't there",
        detail,
        "Go back to the list.",
    )
}

/// Too much of something at once.
pub(super) fn too_many(what: &str, to_do: &str) -> Trouble {
    Trouble::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many",
        "Too many at once",
        what,
        to_do,
    )
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        unexpected(error)
    }
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        use ConnectError as E;
        use StatusCode as S;
        let word = error.word();
        let told = |status, title, detail: &str, to_do| Trouble::new(status, word, title, detail, to_do);
        let trouble = match &error {
            E::Incomplete { .. } => told(
                S::BAD_REQUEST,
                "Google's answer was incomplete",
                "The address that brought you back lacks something that Google always sends. Nothing was connected.",
                "Connect again.",
            )
            .button(CONNECT),
            E::UnknownState => told(
                S::BAD_REQUEST,
                "This didn't begin at Intail",
                "The address that brought you here belongs to no attempt that Intail knows. If you followed a link from \
                 somebody else, don't: nothing was connected.",
                "Begin at Settings → Integrations.",
            )
            .button(INTEGRATIONS),
            E::ForeignState => told(
                S::FORBIDDEN,
                "This was begun by somebody else, or elsewhere",
                "The attempt was begun in another browser, or you have signed out or changed persons since. Nothing was \
                 connected.",
                "Connect again in this browser.",
            )
            .button(INTEGRATIONS),
            E::Expired => told(
                S::GONE,
                "That took too long",
                "Half an hour passed between Connect and your answer, so the answer is no longer accepted.",
                "Connect again; it takes a minute.",
            )
            .button(CONNECT),
            E::Replayed => told(
                S::CONFLICT,
                "This answer was used already",
                "Google's answer works once. You probably pressed Back, or reloaded the page. Nothing has changed by it.",
                "See how your connection stands.",
            )
            .button(INTEGRATIONS),
            E::ForeignIssuer => told(
                S::BAD_REQUEST,
                "The answer didn't come from Google",
                "It names another sender than the one you were sent to, so it was thrown away.",
                "Connect again.",
            )
            .button(CONNECT),
            E::Denied => told(
                S::FORBIDDEN,
                "You said no at Google",
                "You pressed Cancel, so Google told Intail nothing and nothing was connected. That is fine: you can \
                 connect at any time.",
                "If it was a slip, connect again and press Allow.",
            )
            .button(CONNECT),
            E::BlockedByAdministrator => told(
                S::FORBIDDEN,
                "Your administrator has to approve Intail first",
                "Google answered that your organization's settings don't let Intail in yet.",
                "Send your administrator the message on the Integrations page.",
            )
            .button(INTEGRATIONS),
            E::AdvancedProtection => told(
                S::FORBIDDEN,
                "Google's Advanced Protection keeps Intail out",
                "Your account is enrolled in Google's Advanced Protection Program, which lets only few apps read mail \
                 data. Neither you nor Intail can change that for this account.",
                "Use Intail without this account.",
            )
            .button(INTEGRATIONS),
            E::WrongAccount { expected, came } => told(
                S::CONFLICT,
                "That was another account",
                &format!("You are to connect {expected}, but at Google {came} was chosen. Nothing was connected."),
                "Choose the right account at Google.",
            )
            .button(CHOOSE),
            E::WrongOrganization { came } => told(
                S::FORBIDDEN,
                "That account isn't of your organization",
                &wrong_organization(came),
                "Choose your work account at Google.",
            )
            .button(CHOOSE),
            E::AccountTaken { came } => told(
                S::CONFLICT,
                "Somebody else has connected this account",
                &format!("{came} is connected by another person in Intail. It stays as it is."),
                "Choose your own account at Google.",
            )
            .button(CHOOSE),
            E::WiderScope { .. } => told(
                S::FORBIDDEN,
                "Google gave more than Intail may have",
                "The answer would let Intail read more of your mail than headers and labels. Intail refuses that, and has \
                 given it back.",
                "Give the reference below to whoever runs Intail: the Google project asks for too much elsewhere.",
            )
            .button(INTEGRATIONS),
            E::NothingGranted => told(
                S::FORBIDDEN,
                "No box was ticked",
                "Google's page lists each permission with a box. All of them stayed empty, so there is nothing that Intail \
                 could read.",
                "Connect again and tick the boxes that you agree with.",
            )
            .button(ASK_AGAIN),
            E::NoRefreshToken => told(
                S::CONFLICT,
                "Google has to ask you once more",
                "Google let Intail in for an hour only, because it remembered an earlier answer of yours.",
                "Press the button and allow it once more; then it lasts.",
            )
            .button(ASK_AGAIN),
            E::TooMany => told(
                S::TOO_MANY_REQUESTS,
                "That was often",
                "You began to connect many times within a few minutes. Each attempt at Google ends the ones before.",
                "Wait ten minutes, then try once more.",
            )
            .button(INTEGRATIONS),
            E::NotConnected => told(
                S::NOT_FOUND,
                "Nothing is connected",
                "There is nothing to disconnect: it was done before, perhaps in another window.",
                "See how your connection stands.",
            )
            .button(INTEGRATIONS),
            E::Operator { .. } => told(
                S::SERVICE_UNAVAILABLE,
                "Intail's own registration at Google is broken",
                "Google refuses Intail itself, so nobody can connect now. You did nothing wrong.",
                "Give the reference below to whoever runs Intail.",
            )
            .button(INTEGRATIONS),
            E::GoogleTrouble { .. } => told(
                S::BAD_GATEWAY,
                "Google couldn't answer",
                "You allowed it, but Google failed while Intail fetched the result. Nothing was connected.",
                "Connect again in a minute.",
            )
            .button(CONNECT),
            E::Unexpected { .. } => told(
                S::BAD_GATEWAY,
                "Google said something unexpected",
                "Intail doesn't understand Google's answer and connected nothing.",
                "Connect again. If it stays, give the reference below to whoever runs Intail.",
            )
            .button(CONNECT),
            E::Store { .. } | E::Sealed { .. } => internal(word).button(INTEGRATIONS),
        };
        trouble.cause(error)
    }
}

fn wrong_organization(came: &str) -> String {
    let account = if came.is_empty() {
        "The account that was chosen"
    } else {
        came
    };
    format!("{account} belongs to no organization, or to another one than yours. Nothing was connected.")
}

impl From<SignInError> for Trouble {
    fn from(error: SignInError) -> Self {
        use SignInError as E;
        use StatusCode as S;
        let word = error.word();
        let told =
            |status, title, detail: &str, to_do| Trouble::new(status, word, title, detail, to_do).button(SIGN_IN);
        let trouble = match &error {
            E::Incomplete { .. } | E::UnknownState { .. } => told(
                S::BAD_REQUEST,
                "This sign-in didn't begin at Intail",
                "The address that brought you here belongs to no sign-in that Intail knows. Nobody was signed in.",
                "Sign in from Intail's own page.",
            ),
            E::ForeignState { .. } => told(
                S::FORBIDDEN,
                "This sign-in was begun in another browser",
                "It can only be finished where it was begun. Nobody was signed in.",
                "Sign in again in this browser.",
            ),
            E::Expired { .. } => told(
                S::GONE,
                "That took too long",
                "The sign-in was begun so long ago that its answer is no longer accepted.",
                "Sign in again.",
            ),
            E::Replayed { .. } => told(
                S::CONFLICT,
                "This sign-in was used already",
                "An answer works once. You probably pressed Back, or reloaded the page.",
                "Go on to Intail, or sign in again.",
            ),
            E::ForeignIssuer { .. } => told(
                S::BAD_REQUEST,
                "The answer came from somewhere else",
                "It names another sender than the one you were sent to, so it was thrown away.",
                "Sign in again.",
            ),
            E::Denied { .. } => told(
                S::FORBIDDEN,
                "You weren't signed in",
                "The sign-in page was left with Cancel, or it refused.",
                "Sign in again when you like.",
            ),
            E::UnknownOrganization { domain, .. } => told(
                S::FORBIDDEN,
                "Your organization doesn't use this Intail",
                &format!("Accounts of {domain} can't sign in here."),
                "Sign in with your work account, or ask whoever runs Intail to add your organization.",
            ),
            E::NotVerified { .. } => told(
                S::FORBIDDEN,
                "Your address isn't verified",
                "The sign-in provider doesn't vouch for your e-mail address or your organization.",
                "Sign in with your work account.",
            ),
            E::IssuerTrouble { .. } => told(
                S::BAD_GATEWAY,
                "The sign-in provider couldn't answer",
                "It failed while Intail asked it who you are. Nobody was signed in.",
                "Sign in again in a minute.",
            ),
            E::Unexpected { .. } => told(
                S::BAD_GATEWAY,
                "The sign-in provider said something unexpected",
                "Intail doesn't understand its answer. Nobody was signed in.",
                "Sign in again. If it stays, give the reference below to whoever runs Intail.",
            ),
            E::Operator { .. } => told(
                S::SERVICE_UNAVAILABLE,
                "Signing in isn't set up rightly",
                "The sign-in provider refuses Intail itself. You did nothing wrong.",
                "Give the reference below to whoever runs Intail.",
            ),
            E::Store { .. } | E::Sealed { .. } => internal(word).button(SIGN_IN),
        };
        trouble.cause(error)
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
    let mut response = next.run(request).await;
    let Some(facts) = response.extensions_mut().remove::<Arc<Facts>>() else {
        return response;
    };
    let reference = reference(&web);
    let mut told = if for_programs {
        problem(&facts, &reference)
    } else {
        let caller = response.extensions().get::<Caller>();
        let shell = Shell::new(&web, caller, "", facts.title.clone());
        let page = TroublePage {
            shell,
            facts: &facts,
            reference: &reference,
        };
        html(&page).unwrap_or_else(|_| reference.clone().into_response())
    };
    *told.status_mut() = facts.status;
    let cookies = response.headers().get_all(header::SET_COOKIE);
    told.headers_mut()
        .extend(cookies.iter().map(|cookie| (header::SET_COOKIE, cookie.clone())));
    if let Some(allow) = response.headers().get(header::ALLOW) {
        told.headers_mut().insert(header::ALLOW, allow.clone());
    }
    told.extensions_mut().insert(Explained { reference, facts });
    told
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
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if facts.status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Characters of a reference: enough to find one line in a month of logs, few enough to read aloud.
const REFERENCE_LENGTH: usize = 10;

fn reference(web: &Web) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0u8; REFERENCE_LENGTH];
    web.app.random.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

/// The one place that logs requests: method and path, never the query, which may carry codes and states.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
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
    let cause = told
        .facts
        .cause
        .as_deref()
        .map_or_else(String::new, |cause| chain(cause));
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

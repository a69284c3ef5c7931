//! What every page of the sandbox shares: the frame around it, the headers it is sent with, the browser cookie, the
//! same-origin check of its forms, and the files under `/static/`. Also the pages that belong to nobody else: the
//! start page, `/accounts` and a person's connected applications.
//!
//! Pages must stay free of inline script and style and of anything from outside (the content policy forbids both), and
//! must say that they are a sandbox: nobody may take them for the real provider.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Form, FromRequestParts, Path, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::Shared;
use crate::access::find_scope;
use crate::accounts::{Identity, Person};

/// Name of the cookie that tells browsers apart. Cookies don't know ports, so the name must not be the product's.
const BROWSER_COOKIE: &str = "sandbox_browser";

/// What the frame of a page needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Title of the page.
    pub(crate) title: String,
    /// Which entry of the top navigation is the present one: `start`, `accounts`, `console`, `mailbox`,
    /// `calendar` or empty.
    pub(crate) area: &'static str,
    /// Address of the person whose page this is.
    pub(crate) person: Option<String>,
    /// One sentence about what has just been done.
    pub(crate) notice: Option<String>,
}

impl Frame {
    /// A frame without a person and without a notice.
    pub(crate) fn new(title: impl Into<String>, area: &'static str) -> Frame {
        Frame { title: title.into(), area, person: None, notice: None }
    }

    /// The same frame with the person whose page it is.
    pub(crate) fn of(self, person: &str) -> Frame {
        Frame { person: Some(person.to_owned()), ..self }
    }

    /// The same frame with a sentence about what has just been done.
    pub(crate) fn noticing(self, notice: Option<String>) -> Frame {
        Frame { notice, ..self }
    }
}

/// One account in a list.
#[derive(Clone, Debug)]
pub(crate) struct AccountRow {
    pub(crate) sub: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) initials: String,
    /// Shade of the round picture, 0 to 5.
    pub(crate) shade: usize,
    pub(crate) remark: &'static str,
    pub(crate) active: bool,
}

impl AccountRow {
    /// A row for a person.
    pub(crate) fn of(person: &Person) -> AccountRow {
        let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
        let remark = match person {
            person if person.deleted => "Deleted",
            person if person.suspended => "Suspended",
            person if person.is_admin => "Administrator",
            person if person.hd.is_none() => "Consumer account",
            person if !person.has_mailbox => "No mailbox",
            _ => "",
        };
        AccountRow {
            sub: person.sub.clone(),
            name: person.name.clone(),
            email: person.email.clone(),
            initials: format!("{}{}", first(&person.given_name), first(&person.family_name)),
            shade: person.sub.bytes().map(usize::from).sum::<usize>() % 6,
            remark,
            active: person.is_active(),
        }
    }
}

/// A page with status 200.
pub(crate) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, None, template)
}

/// A page with a status, and with the origin to which answering its form may lead (browsers apply the content policy
/// to redirects that follow a form).
pub(crate) fn page_with(status: StatusCode, form_origin: Option<&str>, template: &impl Template) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page of the sandbox can't be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         frame-ancestors 'none'; form-action 'self' {}",
        form_origin.unwrap_or_default()
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(CONTENT_TYPE, "text/html; charset=utf-8");
    set(CONTENT_SECURITY_POLICY, policy.trim_end());
    set(CACHE_CONTROL, "no-store");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "same-origin");
    response
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    sentence: String,
}

/// A page that only says one thing.
pub(crate) fn message(status: StatusCode, title: &str, sentence: &str) -> Response {
    page_with(status, None, &MessagePage { frame: Frame::new(title, ""), sentence: sentence.to_owned() })
}

/// A redirect that makes the browser `GET` the address (303).
pub(crate) fn see_other(address: &str) -> Response {
    redirect(StatusCode::SEE_OTHER, address)
}

/// A redirect with a chosen status. An address that can't be a header value becomes a 500.
pub(crate) fn redirect(status: StatusCode, address: &str) -> Response {
    match HeaderValue::from_str(address) {
        Ok(address) => {
            (status, [(LOCATION, address), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Proof that a form was not sent by another site. Programs that are not browsers send neither header and pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SameOrigin;

impl<S: Sync> FromRequestParts<S> for SameOrigin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<SameOrigin, Response> {
        let text = |name: HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let same = match (text(HeaderName::from_static("sec-fetch-site")), text(ORIGIN)) {
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text(HOST),
            (None, None) => true,
        };
        let sentence = "This form was sent from another site. Open the sandbox's own page and try again.";
        if same { Ok(SameOrigin) } else { Err(message(StatusCode::FORBIDDEN, "Form refused", sentence)) }
    }
}

/// The browser cookie of a request.
pub(crate) fn browser_cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == BROWSER_COOKIE).map(|(_, value)| value.to_owned()).next()
}

/// The browser of a request and, when it is new, the cookie to set.
pub(crate) fn browser_of(identity: &mut Identity, headers: &HeaderMap) -> (String, Option<HeaderValue>) {
    if let Some(cookie) = browser_cookie(headers).filter(|cookie| identity.browser(cookie).is_some()) {
        return (cookie, None);
    }
    let cookie = identity.new_browser();
    let line = format!("{BROWSER_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax");
    (cookie, HeaderValue::from_str(&line).ok())
}

/// Adds the cookie of a new browser to an answer.
pub(crate) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The routes of this file.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(start))
        .route("/static/{file}", get(static_file))
        .route("/accounts", get(accounts))
        .route("/accounts/sign-in", post(sign_in))
        .route("/accounts/sign-out", post(sign_out))
        .route("/accounts/{sub}/connections", get(connections))
        .route("/accounts/{sub}/connections/remove", post(remove_connection))
}

async fn static_file(Path(file): Path<String>) -> Response {
    let (kind, bytes) = match file.as_str() {
        "sandbox.css" => ("text/css; charset=utf-8", include_str!("../static/sandbox.css")),
        "sandbox.js" => ("text/javascript; charset=utf-8", include_str!("../static/sandbox.js")),
        "person.svg" => ("image/svg+xml", include_str!("../static/person.svg")),
        "mark.svg" => ("image/svg+xml", include_str!("../static/mark.svg")),
        _ => {
            return message(StatusCode::NOT_FOUND, "Nothing here", "The sandbox has no file with this name.");
        }
    };
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, bytes).into_response()
}

#[derive(Template)]
#[template(path = "start.html")]
struct StartPage {
    frame: Frame,
    company: String,
    administrator: String,
    employee: String,
    people: usize,
}

async fn start(State(shared): State<Arc<Shared>>) -> Response {
    let found = shared.with_world(|world| {
        let identity = &world.identity;
        let home = |person: &&Person| person.is_active() && person.hd.as_ref() == identity.customer.domains.first();
        let mut people: Vec<&Person> = identity.people.values().filter(home).collect();
        people.sort_by(|left, right| left.name.cmp(&right.name));
        let find = |wanted: &dyn Fn(&Person) -> bool| {
            people.iter().find(|person| wanted(person)).map(|person| person.email.clone()).unwrap_or_default()
        };
        StartPage {
            frame: Frame::new("A workspace to try things in", "start"),
            company: identity.customer.name.clone(),
            administrator: find(&|person| person.is_admin),
            employee: find(&|person| !person.is_admin && person.has_mailbox),
            people: identity.people.len(),
        }
    });
    page(&found)
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    frame: Frame,
    signed_in: Vec<AccountRow>,
    others: Vec<AccountRow>,
}

/// A sentence that the previous request wants the page to show, chosen by key so that an address can't make up text.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    pub(crate) done: String,
}

async fn accounts(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(done): Query<Done>) -> Response {
    let cookie = browser_cookie(&headers);
    let notice = match done.done.as_str() {
        "in" => Some("Signed in in this browser.".to_owned()),
        "out" => Some("Signed out.".to_owned()),
        "refused" => Some("This account can't sign in: it is suspended or deleted.".to_owned()),
        _ => None,
    };
    let shown = shared.with_world(|world| {
        let here = world.identity.signed_in(cookie.as_deref());
        let signed_in: Vec<AccountRow> = here.into_iter().map(AccountRow::of).collect();
        AccountsPage {
            frame: Frame::new("Accounts", "accounts").noticing(notice),
            others: rows_without(&world.identity, &signed_in),
            signed_in,
        }
    });
    page(&shown)
}

/// Everybody who is not in `shown`, by name.
pub(crate) fn rows_without(identity: &Identity, shown: &[AccountRow]) -> Vec<AccountRow> {
    let others = identity.people.values().filter(|person| shown.iter().all(|row| row.sub != person.sub));
    let mut rows: Vec<AccountRow> = others.map(AccountRow::of).collect();
    rows.sort_by(|left, right| left.name.cmp(&right.name));
    rows
}

#[derive(Debug, Deserialize)]
struct AccountForm {
    #[serde(default)]
    account: String,
}

async fn sign_in(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<AccountForm>,
) -> Response {
    let (cookie, good) = shared.with_world(|world| {
        let (browser, cookie) = browser_of(&mut world.identity, &headers);
        (cookie, world.identity.sign_in(&browser, &form.account))
    });
    with_cookie(see_other(if good { "/accounts?done=in" } else { "/accounts?done=refused" }), cookie)
}

async fn sign_out(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<AccountForm>,
) -> Response {
    if let Some(cookie) = browser_cookie(&headers) {
        let one = (!form.account.is_empty()).then_some(form.account.as_str());
        shared.with_world(|world| world.identity.sign_out(&cookie, one));
    }
    see_other("/accounts?done=out")
}

struct ConnectionRow {
    project: String,
    name: String,
    since: String,
    permissions: Vec<&'static str>,
}

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    frame: Frame,
    sub: String,
    rows: Vec<ConnectionRow>,
}

fn connection_rows(identity: &Identity, sub: &str) -> Vec<ConnectionRow> {
    let of_person = identity.grants.consents().filter(|(_, owner, _)| *owner == sub);
    let rows = of_person.map(|(project, _, consent)| {
        let clients = consent.clients.iter().filter_map(|client_id| identity.clients.get(client_id));
        ConnectionRow {
            project: project.to_owned(),
            name: clients.map(|client| client.name.as_str()).collect::<Vec<_>>().join(", "),
            since: consent.since.strftime("%-d %B %Y, %H:%M UTC").to_string(),
            permissions: consent
                .scopes
                .iter()
                .filter_map(|name| find_scope(name))
                .map(|scope| scope.sentence)
                .collect(),
        }
    });
    rows.collect()
}

fn not_signed_in() -> Response {
    let sentence = "This account is not signed in in this browser. Sign in on the accounts page first.";
    message(StatusCode::FORBIDDEN, "Sign in first", sentence)
}

async fn connections(
    State(shared): State<Arc<Shared>>,
    Path(sub): Path<String>,
    headers: HeaderMap,
    Query(done): Query<Done>,
) -> Response {
    let cookie = browser_cookie(&headers);
    let notice =
        (done.done == "removed").then(|| "Access removed. Every token of the application is revoked.".to_owned());
    let shown = shared.with_world(|world| {
        let identity = &world.identity;
        let person = identity.signed_in(cookie.as_deref()).into_iter().find(|person| person.sub == sub)?;
        Some(ConnectionsPage {
            frame: Frame::new("Connected applications", "accounts").of(&person.email).noticing(notice),
            rows: connection_rows(identity, &sub),
            sub: sub.clone(),
        })
    });
    shown.map_or_else(not_signed_in, |shown| page(&shown))
}

#[derive(Debug, Deserialize)]
struct RemoveForm {
    project: String,
}

async fn remove_connection(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    Path(sub): Path<String>,
    headers: HeaderMap,
    Form(form): Form<RemoveForm>,
) -> Response {
    let cookie = browser_cookie(&headers);
    let removed = shared.with_world(|world| {
        let now = world.clock.now();
        let here = world.identity.signed_in(cookie.as_deref()).iter().any(|person| person.sub == sub);
        if here {
            world.identity.revoke_project(now, &form.project, &sub);
        }
        here
    });
    if removed { see_other(&format!("/accounts/{sub}/connections?done=removed")) } else { not_signed_in() }
}

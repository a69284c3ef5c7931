//! The pages that a browser sees between "Connect" and the application: authorization endpoint, account chooser,
//! consent page and error pages. What comes next is decided in `consent.rs`; this file speaks HTTP and HTML.
//!
//! Every form carries the transaction of one authorization and works only in the browser that began it. Nothing here
//! writes a code, a state or a token to the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum_extra::extract::{Form, Query as RepeatedQuery};
use serde::Deserialize;
use url::Url;

use crate::Shared;
use crate::access::Scope;
use crate::accounts::{Identity, Person};
use crate::consent::{AuthorizeRequest, ConsentView, Problem, Stale, Step, Transaction};
use crate::pages::{
    AccountRow, Frame, SameOrigin, browser_cookie, browser_of, message, page_with, redirect, see_other, with_cookie,
};

/// Where the account chooser lives.
const CHOOSER: &str = "/signin/oauth/chooser";
/// Where the consent page lives.
const CONSENT: &str = "/signin/oauth/consent";

/// The routes of this file.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/o/oauth2/v2/auth", get(authorize))
        .route(CHOOSER, get(chooser).post(choose))
        .route(CONSENT, get(consent).post(answer))
}

async fn authorize(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    RepeatedQuery(query): RepeatedQuery<Vec<(String, String)>>,
) -> Response {
    let (step, cookie) = shared.with_world(|world| {
        let now = world.clock.now();
        let identity = &mut world.identity;
        match AuthorizeRequest::parse(identity, &query) {
            Ok(request) => {
                let (browser, cookie) = browser_of(identity, &headers);
                (identity.begin_authorization(now, &browser, request), cookie)
            }
            Err(problem) => (Step::Stop(problem), None),
        }
    });
    with_cookie(show(step, StatusCode::FOUND), cookie)
}

fn show(step: Step, status: StatusCode) -> Response {
    match step {
        Step::Chooser(id) => redirect(status, &format!("{CHOOSER}?transaction={id}")),
        Step::Consent(id) => redirect(status, &format!("{CONSENT}?transaction={id}")),
        Step::Return(address) => redirect(status, &address),
        Step::Stop(problem) => problem_page(problem),
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    problem: Problem,
}

fn problem_page(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    let frame = Frame::new(format!("Error {}: {}", problem.status, problem.code), "");
    page_with(status, None, &ProblemPage { frame, problem })
}

fn stale_page() -> Response {
    let sentence = "This page has been answered already, has been open for too long, or belongs to another browser. \
         Go back to the application and start again.";
    message(StatusCode::BAD_REQUEST, "This sign-in is over", sentence)
}

/// The origin to which the answer leads, for the content policy of the page.
fn return_origin(transaction: &Transaction) -> String {
    Url::parse(&transaction.request.redirect_uri).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

#[derive(Debug, Deserialize)]
struct TransactionQuery {
    #[serde(default)]
    transaction: String,
    /// On the chooser: another account is wanted.
    #[serde(default)]
    another: bool,
    /// On the chooser: the last choice was refused.
    #[serde(default)]
    refused: bool,
    /// On the consent page: show every box ticked.
    #[serde(default)]
    all: bool,
}

#[derive(Template)]
#[template(path = "chooser.html")]
struct ChooserPage {
    frame: Frame,
    transaction: String,
    client: String,
    signed_in: Vec<AccountRow>,
    others: Vec<AccountRow>,
    hint: String,
    another: bool,
}

fn chooser_page(
    identity: &Identity,
    browser: &str,
    transaction: &Transaction,
    query: &TransactionQuery,
) -> ChooserPage {
    let request = &transaction.request;
    let fitting = |people: Vec<&Person>| {
        people.into_iter().filter(|person| request.hd_fits(person)).map(AccountRow::of).collect::<Vec<_>>()
    };
    let signed_in = fitting(identity.signed_in(Some(browser)));
    let mut rest: Vec<&Person> = identity.people.values().collect();
    rest.retain(|person| person.is_active() && signed_in.iter().all(|row| row.sub != person.sub));
    rest.sort_by_key(|person| (!request.hints_at(person), person.name.clone()));
    let client = identity.clients.get(&request.client_id).map(|client| client.name.clone()).unwrap_or_default();
    let refused = "Couldn't sign in: there is no usable account with this address.".to_owned();
    ChooserPage {
        frame: Frame::new("Choose an account", "").noticing(query.refused.then_some(refused)),
        transaction: query.transaction.clone(),
        client,
        another: query.another || signed_in.is_empty(),
        signed_in,
        others: fitting(rest),
        hint: request.login_hint.clone().filter(|hint| hint.contains('@')).unwrap_or_default(),
    }
}

async fn chooser(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(query): Query<TransactionQuery>,
) -> Response {
    let browser = browser_cookie(&headers).unwrap_or_default();
    let shown = shared.with_world(|world| {
        let transaction = world.identity.transaction(world.clock.now(), &browser, &query.transaction)?;
        let origin = return_origin(transaction);
        Ok::<_, Stale>((chooser_page(&world.identity, &browser, transaction, &query), origin))
    });
    match shown {
        Ok((shown, origin)) => page_with(StatusCode::OK, Some(&origin), &shown),
        Err(Stale) => stale_page(),
    }
}

#[derive(Debug, Deserialize)]
struct ChooserForm {
    transaction: String,
    /// `sub` of a listed account.
    #[serde(default)]
    account: String,
    /// Or an address that was typed in.
    #[serde(default)]
    email: String,
}

async fn choose(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<ChooserForm>,
) -> Response {
    let browser = browser_cookie(&headers).unwrap_or_default();
    let step = shared.with_world(|world| {
        let now = world.clock.now();
        let typed = world.identity.person_by_email(form.email.trim()).map(|person| person.sub.clone());
        let sub = if form.account.is_empty() { typed.unwrap_or_default() } else { form.account };
        world.identity.choose_account(now, &browser, &form.transaction, &sub)
    });
    match step {
        Ok(Step::Chooser(id)) => see_other(&format!("{CHOOSER}?transaction={id}&another=true&refused=true")),
        Ok(step) => show(step, StatusCode::SEE_OTHER),
        Err(Stale) => stale_page(),
    }
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage {
    frame: Frame,
    transaction: String,
    client: String,
    account: AccountRow,
    identity: Vec<&'static Scope>,
    asked: Vec<&'static Scope>,
    boxes: bool,
    trusted: bool,
    ticked: bool,
}

fn consent_page(view: ConsentView<'_>, query: TransactionQuery) -> ConsentPage {
    ConsentPage {
        frame: Frame::new(format!("{} wants access to your account", view.client.name), "").of(&view.person.email),
        transaction: query.transaction,
        client: view.client.name.clone(),
        account: AccountRow::of(view.person),
        identity: view.identity,
        asked: view.asked,
        boxes: view.boxes,
        trusted: view.trusted,
        ticked: query.all,
    }
}

async fn consent(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(query): Query<TransactionQuery>,
) -> Response {
    let browser = browser_cookie(&headers).unwrap_or_default();
    let shown = shared.with_world(|world| {
        let now = world.clock.now();
        let origin = return_origin(world.identity.transaction(now, &browser, &query.transaction)?);
        let view = world.identity.consent_view(now, &browser, &query.transaction)?;
        Ok::<_, Stale>((consent_page(view, query), origin))
    });
    match shown {
        Ok((shown, origin)) => page_with(StatusCode::OK, Some(&origin), &shown),
        Err(Stale) => stale_page(),
    }
}

#[derive(Debug, Deserialize)]
struct ConsentForm {
    transaction: String,
    /// `allow`; anything else cancels.
    #[serde(default)]
    answer: String,
    /// Ticked boxes, in their long form.
    #[serde(default)]
    scope: BTreeSet<String>,
}

async fn answer(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<ConsentForm>,
) -> Response {
    let browser = browser_cookie(&headers).unwrap_or_default();
    let ticked = (form.answer == "allow").then_some(&form.scope);
    let step = shared.with_world(|world| {
        let now = world.clock.now();
        world.identity.answer_consent(now, &browser, &form.transaction, ticked)
    });
    match step {
        Ok(step) => show(step, StatusCode::SEE_OTHER),
        Err(Stale) => stale_page(),
    }
}

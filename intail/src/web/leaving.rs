//! Receipts of leaving, for the person who left and for the administrator, and the administrator's page on which a
//! person is disconnected. The administrator sees counts and ids, never content.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::access::Caller;
use super::asked::{At, Sent};
use super::integrations::project;
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{When, counted};
use super::{Web, administration};
use crate::connect::{self, ConnectError, Wish};
use crate::id::{PersonId, ReceiptId};
use crate::org::audit::{Actor, Origin};
use crate::signing;
use crate::store::Tx;
use crate::store::leaving_receipts::{self, LeavingReceipt};
use crate::store::leavings::Revocation;
use crate::store::people::{self, Person};

/// Receipts on a page.
const PAGE_RECEIPTS: i64 = 200;

#[derive(Template)]
#[template(path = "receipts_of_leaving.html")]
struct ReceiptsPage {
    shell: Shell,
    is_administrator: bool,
    base: &'static str,
    back: &'static str,
    lines: Vec<Line>,
}

struct Line {
    id: String,
    issued_at: When,
    person: String,
    what: &'static str,
    rows: String,
    google: &'static str,
}

fn line(receipt: &LeavingReceipt) -> Line {
    let told: Value = serde_json::from_str(&receipt.statement).unwrap_or_default();
    Line {
        id: receipt.id.to_string(),
        issued_at: When::full(receipt.issued_at),
        person: receipt.person_id.as_ref().map_or_else(String::new, ToString::to_string),
        what: if told["kind"] == "person.removed" { "Person removed" } else { "Disconnected" },
        rows: rows(&told),
        google: at_google(revocation(&told)),
    }
}

fn at_google(word: Option<Revocation>) -> &'static str {
    match word {
        Some(Revocation::Confirmed) => "Google confirmed that the permission is given back",
        Some(Revocation::Open) => "Not confirmed yet; Intail keeps trying",
        Some(Revocation::Overtaken) => "Connected again before Google answered",
        Some(Revocation::Unneeded) => "No permission was held",
        Some(Revocation::Refused | Revocation::GivenUp) | None => "Google never confirmed",
    }
}

/// `GET /receipt/left`
pub(super) async fn own(State(web): State<Web>, caller: Caller) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let receipts = leaving_receipts::of_person(&mut tx, &caller.person.id, PAGE_RECEIPTS).await?;
    drop(tx);
    html(&ReceiptsPage {
        shell: Shell::new(&web, Some(&caller), "receipt", "What was erased"),
        is_administrator: false,
        base: "/receipt/left",
        back: "/receipt",
        lines: receipts.iter().map(line).collect(),
    })
}

/// `GET /receipt/left/{id}`
pub(super) async fn download_own(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let receipt = found(&mut tx, &id).await?.filter(|it| it.person_id.as_ref() == Some(&caller.person.id));
    document(&mut tx, receipt).await
}

/// `GET /admin/receipts`
pub(super) async fn of_organization(State(web): State<Web>, caller: Caller) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let organization = &caller.person.organization_id;
    let receipts = leaving_receipts::of_organization(&mut tx, organization, PAGE_RECEIPTS).await?;
    drop(tx);
    html(&ReceiptsPage {
        shell: Shell::new(&web, Some(&caller), "administration", "Receipts of leaving"),
        is_administrator: true,
        base: "/admin/receipts",
        back: "/admin",
        lines: receipts.iter().map(line).collect(),
    })
}

/// `GET /admin/receipts/{id}`
pub(super) async fn download_of_organization(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let receipt = of_own_organization(&mut tx, &caller, &id).await?;
    document(&mut tx, receipt).await
}

/// The receipt with this id, if it is of the caller's organization. Others aren't there.
async fn of_own_organization(tx: &mut Tx, caller: &Caller, id: &str) -> Result<Option<LeavingReceipt>, Trouble> {
    Ok(found(tx, id).await?.filter(|it| it.organization_id == caller.person.organization_id))
}

/// The receipt with this id, whoever's it is: whoever calls this sees to whose it may be.
pub(super) async fn found(tx: &mut Tx, id: &str) -> Result<Option<LeavingReceipt>, Trouble> {
    match id.parse::<ReceiptId>() {
        Ok(id) => Ok(leaving_receipts::by_id(tx, &id).await?),
        Err(_) => Ok(None),
    }
}

async fn document(tx: &mut Tx, receipt: Option<LeavingReceipt>) -> Result<Response, Trouble> {
    let receipt = receipt.ok_or_else(|| trouble::not_there("receipt"))?;
    let keys = signing::public_keys(tx).await?;
    let key = keys.into_iter().find(|it| it.id == receipt.key_id).map_or_else(String::new, |it| it.public_key);
    let name: (HeaderName, String) =
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.json\"", receipt.id));
    Ok(([name], Json(connect::document(&receipt, &key))).into_response())
}

#[derive(Template)]
#[template(path = "disconnect_person.html")]
struct DisconnectPage {
    shell: Shell,
    id: String,
    name: String,
    email: String,
    state: &'static str,
    /// Whether there is anything to disconnect; without, a person can only be removed.
    connected: bool,
    project: String,
    may_remove: bool,
}

#[derive(Template)]
#[template(path = "disconnected_person.html")]
struct DisconnectedPage {
    shell: Shell,
    left: Told,
}

/// What a receipt says was done.
pub(super) struct Told {
    /// The receipt's id.
    pub(super) receipt: String,
    /// How many rows were erased, in words.
    pub(super) rows: String,
    /// What was known of the revocation when the receipt was issued.
    pub(super) revocation: Revocation,
    /// Whether Google confirmed that it pushes no more.
    pub(super) stopped: bool,
}

impl Told {
    /// What this receipt says.
    pub(super) fn of(receipt: &LeavingReceipt) -> Self {
        let told: Value = serde_json::from_str(&receipt.statement).unwrap_or_default();
        Self {
            receipt: receipt.id.to_string(),
            rows: rows(&told),
            revocation: revocation(&told).unwrap_or(Revocation::GivenUp),
            stopped: told["google"]["pushes_stopped"] == true,
        }
    }
}

fn rows(told: &Value) -> String {
    let rows = told["erased"].as_object().into_iter().flatten().filter_map(|(_, it)| it.as_i64());
    counted(rows.fold(0, i64::saturating_add), "row", "rows")
}

fn revocation(told: &Value) -> Option<Revocation> {
    told["google"]["permission_given_back"].as_str().and_then(|it| it.parse().ok())
}

/// `GET /admin/people/{id}/disconnect`: says what would happen.
pub(super) async fn disconnect_page(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Response, Trouble> {
    let person = colleague(&web, &caller, &id).await?;
    let mut tx = web.app.store.read().await?;
    let listed = people::one(&mut tx, &person.organization_id, &person.id, web.app.clock.now()).await?;
    drop(tx);
    let standing = listed.as_ref().map_or("", |it| it.standing.as_str());
    html(&DisconnectPage {
        state: administration::standing(standing).text,
        connected: standing != administration::NOT_CONNECTED,
        ..disconnect_of(&web, &caller, &person)
    })
}

fn disconnect_of(web: &Web, caller: &Caller, person: &Person) -> DisconnectPage {
    DisconnectPage {
        shell: Shell::new(web, Some(caller), "administration", "Disconnect a person"),
        id: person.id.to_string(),
        name: if person.name.is_empty() { person.email.clone() } else { person.name.clone() },
        email: person.email.clone(),
        state: "",
        connected: true,
        project: project(web),
        may_remove: person.id != caller.person.id,
    }
}

/// What the administrator wants.
#[derive(Deserialize)]
pub(super) struct Wanted {
    remove: Option<String>,
}

/// `POST /admin/people/{id}/disconnect`: does it. Nobody removes themselves here; that an administrator stays is seen
/// to where leaving begins.
pub(super) async fn disconnect(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    At(id): At<String>,
    Sent(wanted): Sent<Wanted>,
) -> Result<Response, Trouble> {
    let person = colleague(&web, &caller, &id).await?;
    let removes_person = wanted.remove.is_some() && person.id != caller.person.id;
    let wish = Wish { actor: Actor::Person(caller.person.id.clone()), origin, removes_person };
    let left = connect::let_go(&web.app, &person, &wish).await.map_err(|error| match error {
        ConnectError::NotConnected => trouble::nothing_to_disconnect(),
        error => Trouble::from(error).back_to_people(),
    })?;
    // A reload must not send it again: the person may have connected anew, or be gone.
    Ok(Redirect::to(&format!("/admin/receipts/{}/done", left.receipt)).into_response())
}

/// `GET /admin/receipts/{id}/done`: says what was done, as the receipt has it.
pub(super) async fn disconnected(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let receipt = of_own_organization(&mut tx, &caller, &id).await?;
    drop(tx);
    let left = Told::of(&receipt.ok_or_else(|| trouble::not_there("receipt").back_to_people())?);
    html(&DisconnectedPage { shell: Shell::new(&web, Some(&caller), "administration", "Disconnected"), left })
}

/// Somebody of the caller's own organization. Others aren't there, as people who don't exist.
async fn colleague(web: &Web, caller: &Caller, id: &str) -> Result<Person, Trouble> {
    let id: PersonId = id.parse().map_err(|_| trouble::not_there("person").back_to_people())?;
    let mut tx = web.app.store.read().await?;
    let person = people::by_id(&mut tx, &id).await?;
    let person = person.filter(|it| it.organization_id == caller.person.organization_id);
    person.ok_or_else(|| trouble::not_there("person").back_to_people())
}

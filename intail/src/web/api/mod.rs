//! The REST API, version 1: what a person may read of their own, for their programs. It only reads. Lists are paged
//! by a cursor; errors are problem documents (RFC 9457). `docs/openapi.json` is generated from here; a test keeps it
//! true.

pub(super) mod agenda;
mod calendars;
mod shapes;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::Web;
use super::access::Caller;
use super::asked::{Asked, At};
use super::colleagues::{self, Colleagues};
use super::copying::{Progress, directory_waits, outlook};
use super::directory::{may_read, search_words, shown};
use super::mail::{after_page, read_place};
use super::privacy::Standing;
use super::trouble::{self, Problem, Trouble};
use crate::connect::{self, Connection};
use crate::store::{changes, directory_people, feed_gaps, labels, messages};

pub(super) use calendars::{calendars, coverage as calendar_coverage};
pub(super) use shapes::{
    CallShape, ChainShape, ChangeShape, CheckedReceiptShape, PublicKeyShape, PublicKeysShape, ReceiptShape, TotalShape,
};
use shapes::{
    ChangesShape, ConnectionShape, CoverageShape, DirectoryPersonShape, DirectoryShape, LabelShape, LabelsShape,
    MailboxShape, MailboxesShape, MeShape, MessageShape, MessagesShape, PrivacyShape,
};

/// Rows on a page when the caller doesn't say, and at most.
const PAGE_DEFAULT: i64 = 100;
const PAGE_MAX: i64 = 500;
/// The longest id of Google's that is looked up.
const ID_LENGTH_MAX: usize = 128;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Intail",
        version = "1",
        description = "What Intail holds of a person's Google Workspace account: mail headers and labels, calendars \
                       and events, kept live. Never a body. Make an access key under Settings → Access keys.",
        license(name = "AGPL-3.0-only", identifier = "AGPL-3.0-only"),
    ),
    paths(
        me,
        connection,
        privacy,
        mailboxes,
        mailbox,
        coverage,
        labels,
        messages,
        message,
        calendars::calendars,
        calendars::coverage,
        agenda::agenda,
        directory,
        directory_person,
        changes,
        super::streams::stream,
        super::receipt::receipt,
        super::receipt::verify,
        super::receipt::keys,
    ),
    modifiers(&AccessKeys),
    security(("access_key" = [])),
)]
struct Description;

struct AccessKeys;

impl Modify for AccessKeys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("intail_…").build();
        openapi.components.get_or_insert_default().add_security_scheme("access_key", SecurityScheme::Http(scheme));
    }
}

/// The API's description (OpenAPI 3.1) as text: `docs/openapi.json` is exactly this.
pub fn description() -> String {
    let mut text = Description::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// `GET /api/v1/openapi.json`
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

/// Who asks.
#[utoipa::path(get, path = "/api/v1/me", tag = "person", responses(
    (status = 200, body = MeShape),
    (status = 401, content_type = "application/problem+json", body = Problem),
))]
pub(super) async fn me(caller: Caller) -> Json<MeShape> {
    Json(MeShape::of(&caller.person))
}

/// How the person's connection stands.
#[utoipa::path(get, path = "/api/v1/connection", tag = "person", responses(
    (status = 200, body = ConnectionShape),
    (status = 401, content_type = "application/problem+json", body = Problem),
))]
pub(super) async fn connection(State(web): State<Web>, caller: Caller) -> Result<Json<ConnectionShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = connect::connection(&mut tx, &caller.person.id, web.app.clock.now()).await?;
    let progress = Progress::of(&web, &mut tx, &caller.person.organization_id, connection.as_ref()).await?;
    Ok(Json(ConnectionShape::of(connection.as_ref(), &progress)))
}

/// What may be kept of the person's mail: their own choice, the organization's floor, and what counts of both.
#[utoipa::path(get, path = "/api/v1/privacy", tag = "person", responses(
    (status = 200, body = PrivacyShape),
    (status = 401, content_type = "application/problem+json", body = Problem),
))]
pub(super) async fn privacy(State(web): State<Web>, caller: Caller) -> Result<Json<PrivacyShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let standing = Standing::of(&mut tx, &caller.person).await?;
    Ok(Json(PrivacyShape::of(&standing)))
}

/// The caller's mailboxes.
#[utoipa::path(get, path = "/api/v1/mailboxes", tag = "mail", responses(
    (status = 200, body = MailboxesShape),
    (status = 401, content_type = "application/problem+json", body = Problem),
))]
pub(super) async fn mailboxes(State(web): State<Web>, caller: Caller) -> Result<Json<MailboxesShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = connect::connection(&mut tx, &caller.person.id, web.app.clock.now()).await?;
    let mut mailboxes = Vec::new();
    if let Some(connection) = &connection {
        let outlook = outlook(&web, &mut tx, connection).await?;
        mailboxes.extend(MailboxShape::of(connection, outlook.as_ref()));
    }
    Ok(Json(MailboxesShape { mailboxes }))
}

/// One mailbox.
#[utoipa::path(get, path = "/api/v1/mailboxes/{id}", tag = "mail",
    params(("id" = String, Path, description = "The mailbox's id.")),
    responses(
        (status = 200, body = MailboxShape),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn mailbox(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Json<MailboxShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = owned(&web, &mut tx, &caller, &id).await?;
    let outlook = outlook(&web, &mut tx, &connection).await?;
    MailboxShape::of(&connection, outlook.as_ref()).map(Json).ok_or_else(|| trouble::not_there("mailbox"))
}

/// What is provably complete of a mailbox's copy: from when, as of when, and what Google's own count said.
#[utoipa::path(get, path = "/api/v1/mailboxes/{id}/coverage", tag = "mail",
    params(("id" = String, Path, description = "The mailbox's id.")),
    responses(
        (status = 200, body = CoverageShape),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn coverage(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Json<CoverageShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = owned(&web, &mut tx, &caller, &id).await?;
    CoverageShape::of(&connection).map(Json).ok_or_else(|| trouble::not_there("mailbox"))
}

/// A mailbox's labels.
#[utoipa::path(get, path = "/api/v1/mailboxes/{id}/labels", tag = "mail",
    params(("id" = String, Path, description = "The mailbox's id.")),
    responses(
        (status = 200, body = LabelsShape),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn labels(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Json<LabelsShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = owned(&web, &mut tx, &caller, &id).await?;
    let mailbox = connection.mailbox.ok_or_else(|| trouble::not_there("mailbox"))?;
    let labels = labels::list(&mut tx, &mailbox.id).await?;
    Ok(Json(LabelsShape { labels: labels.iter().map(LabelShape::of).collect() }))
}

/// Which messages.
#[derive(Deserialize)]
pub(super) struct Wanted {
    label: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

/// A mailbox's messages, newest first.
#[utoipa::path(get, path = "/api/v1/mailboxes/{id}/messages", tag = "mail",
    params(
        ("id" = String, Path, description = "The mailbox's id."),
        ("label" = Option<String>, Query, description = "Only messages with this label's id."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<i64>, Query, description = "Messages on the page, at most 500; 100 if it isn't given."),
    ),
    responses(
        (status = 200, body = MessagesShape),
        (status = 400, content_type = "application/problem+json", body = Problem),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn messages(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<MessagesShape>, Trouble> {
    let limit = page(wanted.limit);
    let after = wanted.after.as_deref().map(read_place).transpose()?;
    let label = wanted.label.filter(|it| it.len() <= ID_LENGTH_MAX);
    let mut tx = web.app.store.read().await?;
    let connection = owned(&web, &mut tx, &caller, &id).await?;
    let mailbox = connection.mailbox.ok_or_else(|| trouble::not_there("mailbox"))?;
    let listed = messages::page(&mut tx, &mailbox.id, label.as_deref(), after.as_ref(), limit + 1).await?;
    let next = after_page(&listed, limit);
    let shown = &listed[..listed.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
    let colleagues = Colleagues::of(&mut tx, &caller, colleagues::parties(shown.iter())).await?;
    Ok(Json(MessagesShape { messages: shown.iter().map(|it| MessageShape::of(it, &colleagues)).collect(), next }))
}

/// One message: headers and labels.
#[utoipa::path(get, path = "/api/v1/mailboxes/{id}/messages/{message_id}", tag = "mail",
    params(
        ("id" = String, Path, description = "The mailbox's id."),
        ("message_id" = String, Path, description = "Gmail's id of the message."),
    ),
    responses(
        (status = 200, body = MessageShape),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn message(
    State(web): State<Web>,
    caller: Caller,
    At((id, message_id)): At<(String, String)>,
) -> Result<Json<MessageShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = owned(&web, &mut tx, &caller, &id).await?;
    let mailbox = connection.mailbox.ok_or_else(|| trouble::not_there("mailbox"))?;
    if message_id.len() > ID_LENGTH_MAX {
        return Err(trouble::not_there("message"));
    }
    let message = messages::by_id(&mut tx, &mailbox.id, &message_id).await?;
    let message = message.ok_or_else(|| trouble::not_there("message"))?;
    let colleagues = Colleagues::of(&mut tx, &caller, colleagues::parties([&message].into_iter())).await?;
    Ok(Json(MessageShape::of(&message, &colleagues)))
}

/// Whom of the directory.
#[derive(Deserialize)]
pub(super) struct Sought {
    q: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

/// The organization's people, in order of name: whom everybody in it may see. Only for persons who permitted the
/// directory.
#[utoipa::path(get, path = "/api/v1/directory", tag = "directory",
    params(
        ("q" = Option<String>, Query, description = "Only whom these words fit: name, address, title, department."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<i64>, Query, description = "People on the page, at most 500; 100 if it isn't given."),
    ),
    responses(
        (status = 200, body = DirectoryShape),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn directory(
    State(web): State<Web>,
    caller: Caller,
    Asked(sought): Asked<Sought>,
) -> Result<Json<DirectoryShape>, Trouble> {
    let limit = page(sought.limit);
    let words = search_words(sought.q.as_deref());
    let after = sought.after.filter(|it| it.len() <= ID_LENGTH_MAX);
    let organization = &caller.person.organization_id;
    let mut tx = web.app.store.read().await?;
    if !may_read(&mut tx, &caller).await? {
        return Err(trouble::not_there("directory"));
    }
    let copy = connect::directory_copy(&mut tx, organization, web.app.clock.now()).await?;
    let waits = directory_waits(&web, &mut tx, organization, copy.as_ref()).await?;
    let mut found = directory_people::search(&mut tx, organization, &words, after.as_deref(), limit + 1).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > shown;
    found.truncate(shown);
    let next = found.last().filter(|_| more).map(|it| it.google_id.clone());
    Ok(Json(DirectoryShape::of(copy.as_ref(), waits, &found, next)))
}

/// One person of the directory.
#[utoipa::path(get, path = "/api/v1/directory/{id}", tag = "directory",
    params(("id" = String, Path, description = "Google's id of the account.")),
    responses(
        (status = 200, body = DirectoryPersonShape),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn directory_person(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Json<DirectoryPersonShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let person = shown(&mut tx, &caller, &id).await?;
    person.map(|it| Json(DirectoryPersonShape::of(&it))).ok_or_else(|| trouble::not_there("person"))
}

/// Which changes.
#[derive(Deserialize)]
pub(super) struct Since {
    after: Option<i64>,
    limit: Option<i64>,
}

/// The person's changes, oldest first. Folding them from the beginning gives the same messages as the lists.
#[utoipa::path(get, path = "/api/v1/changes", tag = "changes",
    params(
        ("after" = Option<i64>, Query, description = "Only changes after this number; without it, all."),
        ("limit" = Option<i64>, Query, description = "Changes on the page, at most 500; 100 if it isn't given."),
    ),
    responses(
        (status = 200, body = ChangesShape),
        (status = 400, content_type = "application/problem+json", body = Problem),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 410, content_type = "application/problem+json", body = Problem,
            description = "Intail was restored from a backup from before `after`: begin anew, without `after`."),
    ))]
pub(super) async fn changes(
    State(web): State<Web>,
    caller: Caller,
    Asked(since): Asked<Since>,
) -> Result<Json<ChangesShape>, Trouble> {
    let (after, limit) = (since.after.unwrap_or(0), page(since.limit));
    let mut tx = web.app.store.read().await?;
    if feed_gaps::holds(&mut tx, &caller.person.organization_id, after).await? {
        return Err(trouble::feed_restored());
    }
    let mut listed = changes::of_person(&mut tx, &caller.person.id, after, limit + 1).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = listed.len() > shown;
    listed.truncate(shown);
    let next = listed.last().map_or(after, |it| it.seq);
    let parties = colleagues::parties(listed.iter().filter_map(|it| it.message.as_ref()));
    let colleagues = Colleagues::of(&mut tx, &caller, parties).await?;
    Ok(Json(ChangesShape { changes: listed.iter().map(|it| ChangeShape::of(it, &colleagues)).collect(), next, more }))
}

fn page(limit: Option<i64>) -> i64 {
    limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
}

/// The caller's connection if the mailbox is theirs. Somebody else's isn't there, as one that doesn't exist.
async fn owned(web: &Web, tx: &mut crate::store::Tx, caller: &Caller, id: &str) -> Result<Connection, Trouble> {
    let connection = connect::connection(tx, &caller.person.id, web.app.clock.now()).await?;
    let theirs = connection.filter(|it| it.mailbox.as_ref().is_some_and(|mailbox| mailbox.id.as_str() == id));
    theirs.ok_or_else(|| trouble::not_there("mailbox"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{Method, ROUTES};

    #[test]
    fn every_api_route_is_described_and_nothing_else() {
        let mut described: Vec<String> = Description::openapi().paths.paths.into_keys().collect();
        let mut routed: Vec<String> = ROUTES
            .iter()
            .filter(|it| it.method == Method::Get && it.path.starts_with("/api/v1/"))
            .map(|it| it.path.to_owned())
            .filter(|it| it != "/api/v1/openapi.json")
            .collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!([None, Some(-5), Some(0), Some(7), Some(i64::MAX)].map(page), [100, 1, 1, 7, 500]);
    }
}

//! Gmail's ten methods, exactly as far as a token with the scope `gmail.metadata` reaches: no `q`, no format but
//! `minimal` and `metadata`, no snippet, no part but headers. Sources: the Gmail discovery document, its guides, and
//! answers seen from Google itself under this scope alone. No value built here may come from a message's body.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Map, Value, json};

use crate::Shared;
use crate::accounts::Caller;
use crate::api_error::ApiError;
use crate::calls;
use crate::gate::Units;
use crate::history::{Kind, Record, What};
use crate::mail::{Label, Mailbox, Message, is_id};
use crate::query::{PageToken, Query, authorization, decode, unknown_value};
use crate::selector::{Field, Selector, leaf, nest};
use crate::watch::WatchRequest;
use crate::world::World;

const METADATA: &str = "https://www.googleapis.com/auth/gmail.metadata";
/// Entries on a page when the caller doesn't say.
const PAGE_DEFAULT: usize = 100;
/// Entries on a page at most; asking for more gives this many.
const PAGE_MAX: usize = 500;
/// `resultSizeEstimate` stops counting here, as Gmail's does: it is an estimate.
const ESTIMATE_MAX: usize = 201;
/// Longest body of `watch`.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Parameters that may differ from page to page.
const TOKEN_FREE: [&str; 2] = ["pageToken", "maxResults"];
/// One in so many history records names its message twice in `messages`, as Gmail's sometimes do.
const DOUBLED_EVERY: u64 = 5;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/gmail/v1/users/{*rest}", any(answer))
}

async fn answer(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(_) => return ApiError::invalid_body("Request payload is too large.").into_response(),
    };
    let path = parts.uri.path().to_owned();
    let authorization = authorization(&parts.headers);
    if let Err(error) = try_outside(&shared, &parts.method, &path, authorization, &body).await {
        return error.into_response();
    }
    let answered = shared.with_world(|world| {
        let mut units = 0;
        let answered = call(world, &parts.method, &path, query.as_deref(), authorization, &body, &mut units);
        (answered, units)
    });
    let mut response = match answered.0 {
        Ok(Some(value)) => {
            let json = HeaderValue::from_static("application/json; charset=UTF-8");
            ([(header::CONTENT_TYPE, json)], value.to_string()).into_response()
        }
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    };
    response.extensions_mut().insert(Units(answered.1));
    response
}

/// Before a watch on an outside topic is set, the topic is tried there.
async fn try_outside(
    shared: &Shared,
    method: &Method,
    path: &str,
    authorization: Option<&str>,
    body: &Bytes,
) -> Result<(), ApiError> {
    let is_watch = calls::name_of(method, path).is_some_and(|name| name.call == "gmail.users.watch");
    if shared.outside_pubsub.is_none() || !is_watch {
        return Ok(());
    }
    let caller = shared.look(|world| world.identity.authenticate(world.clock.now(), authorization));
    let (Ok(caller), Ok(request)) = (caller, serde_json::from_slice::<WatchRequest>(body)) else {
        return Ok(());
    };
    World::check_topic_name(&caller, &request.topic_name)?;
    crate::push::try_outside_topic(shared, &request.topic_name).await
}

/// One call against the world. `units` is what it was charged.
fn call(
    world: &mut World,
    method: &Method,
    path: &str,
    query: Option<&str>,
    authorization: Option<&str>,
    body: &[u8],
    units: &mut u32,
) -> Result<Option<Value>, ApiError> {
    let now = world.clock.now();
    let name = calls::name_of(method, path).ok_or_else(ApiError::not_found)?;
    let caller = world.identity.authenticate(now, authorization).map_err(ApiError::unauthenticated)?;
    if name.call == "gmail.other" || !caller.has_scope(METADATA) {
        return Err(ApiError::scope_missing("gmail.googleapis.com", name.call));
    }
    let mut parts = path.trim_start_matches("/gmail/v1/users/").split('/');
    check_user(world, &caller, parts.next().unwrap_or_default())?;
    let has_mailbox = world.identity.people.get(&caller.sub).is_some_and(|person| person.has_mailbox);
    if !has_mailbox || !world.mail.contains_key(&caller.sub) {
        return Err(ApiError::no_mailbox());
    }
    *units = world.quota.charge(&caller, name.call, now)?;
    let id = parts.nth(1).map(decode).unwrap_or_default();
    let query = Query::parse(query);
    let value = match name.call {
        "gmail.users.getProfile" => {
            query.allow(&[])?;
            profile(world, &caller)
        }
        "gmail.users.watch" => {
            query.allow(&[])?;
            let request: WatchRequest = serde_json::from_slice(body)
                .map_err(|error| ApiError::invalid_body(format!("Invalid JSON payload received. {error}")))?;
            world.watch(&caller, &request)
        }
        "gmail.users.stop" => {
            query.allow(&[])?;
            return world.stop_watch(&caller).map(|()| None);
        }
        "gmail.users.history.list" => history(world, &caller, &query),
        "gmail.users.labels.list" => labels(world, &caller, &query),
        "gmail.users.labels.get" => label(world, &caller, &query, &id),
        "gmail.users.messages.list" => messages(world, &caller, &query),
        "gmail.users.messages.get" => message(world, &caller, &query, &id),
        "gmail.users.threads.list" => threads(world, &caller, &query),
        "gmail.users.threads.get" => thread(world, &caller, &query, &id),
        _ => Err(ApiError::not_found()),
    }?;
    query.select(name.call, value).map(Some)
}

fn check_user(world: &World, caller: &Caller, user: &str) -> Result<(), ApiError> {
    let own = world.identity.people.get(&caller.sub).map(|person| person.email.as_str()).unwrap_or_default();
    let user = decode(user);
    if user == "me" || user.eq_ignore_ascii_case(own) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("Delegation denied for {own}")))
}

fn mailbox<'a>(world: &'a World, caller: &Caller) -> Result<&'a Mailbox, ApiError> {
    world.mail.get(&caller.sub).ok_or_else(ApiError::no_mailbox)
}

// The methods ---------------------------------------------------------------------------------------------------------

/// The history id that a reader is told.
fn present_id(world: &World, mailbox: &Mailbox) -> u64 {
    let history = mailbox.history();
    if world.settings.history_id_leads { history.current() } else { history.visible_id(world.visible_ms()) }
}

fn profile(world: &World, caller: &Caller) -> Result<Value, ApiError> {
    let mailbox = mailbox(world, caller)?;
    let email = world.identity.people.get(&caller.sub).map(|person| person.email.as_str());
    Ok(json!({
        "emailAddress": email,
        "messagesTotal": mailbox.message_count(),
        "threadsTotal": mailbox.thread_count(),
        "historyId": present_id(world, mailbox).to_string(),
    }))
}

fn history(world: &mut World, caller: &Caller, query: &Query) -> Result<Value, ApiError> {
    query.allow(&["startHistoryId", "maxResults", "pageToken", "labelId", "historyTypes"])?;
    let start = query.number("startHistoryId", "start_history_id", "TYPE_UINT64")?;
    let start = start.ok_or_else(|| ApiError::invalid_argument("Missing required field: start_history_id"))?;
    let label_id = query.one("labelId");
    let types =
        query.all("historyTypes").map(|word| Kind::parse(word).ok_or_else(|| unknown_value("history_types", word)));
    let types: Vec<Kind> = types.collect::<Result<_, _>>()?;
    let size = query.page_size(world)?;
    let purpose = query.purpose("history", &TOKEN_FREE);
    let (after, was_empty) = match query.one("pageToken") {
        Some(token) => {
            let place = PageToken::read(token, &purpose)?;
            (u64::try_from(place.number).unwrap_or(0), place.word == "empty")
        }
        None => (start, false),
    };
    let visible_ms = world.visible_ms();
    let empty_page = world.dice.percent(world.settings.empty_history_page_percent);
    let mailbox = mailbox(world, caller)?;
    let records = mailbox.history().after(after, visible_ms).map_err(|_| ApiError::not_found())?;
    let wanted = records.filter(|record| {
        label_id.is_none_or(|label_id| record.touches(label_id))
            && (types.is_empty() || types.iter().any(|kind| record.has(*kind)))
    });
    let mut page: Vec<&Record> = wanted.take(size + 1).collect();
    let mut answer = Map::new();
    if !page.is_empty() && empty_page && !was_empty {
        let token = PageToken { number: i64::try_from(after).unwrap_or(0), word: "empty".into() };
        answer.insert("nextPageToken".into(), token.write(&purpose).into());
        page.clear();
    }
    if page.len() > size {
        page.truncate(size);
        let last = page.last().map_or(after, |record| record.id);
        let token = PageToken { number: i64::try_from(last).unwrap_or(0), word: String::new() };
        answer.insert("nextPageToken".into(), token.write(&purpose).into());
    }
    if !page.is_empty() {
        let records: Vec<Value> = page.iter().map(|record| record_value(record, &types)).collect();
        answer.insert("history".into(), records.into());
    }
    answer.insert("historyId".into(), present_id(world, mailbox).to_string().into());
    Ok(answer.into())
}

fn record_value(record: &Record, types: &[Kind]) -> Value {
    let reference = json!({"id": record.message_id, "threadId": record.thread_id});
    let mut detailed = reference.clone();
    if !record.label_ids.is_empty() {
        detailed["labelIds"] = json!(record.label_ids);
    }
    let times = if record.id.is_multiple_of(DOUBLED_EVERY) { 2 } else { 1 };
    let mut value = json!({"id": record.id.to_string(), "messages": vec![reference; times]});
    let wanted = |kind| types.is_empty() || types.contains(&kind);
    match &record.what {
        What::Added => value["messagesAdded"] = json!([{"message": detailed}]),
        What::Deleted => value["messagesDeleted"] = json!([{"message": detailed}]),
        What::Labels { added, removed } => {
            for (name, kind, label_ids) in
                [("labelsAdded", Kind::LabelAdded, added), ("labelsRemoved", Kind::LabelRemoved, removed)]
            {
                if !label_ids.is_empty() && wanted(kind) {
                    value[name] = json!([{"message": detailed, "labelIds": label_ids}]);
                }
            }
        }
    }
    value
}

fn labels(world: &World, caller: &Caller, query: &Query) -> Result<Value, ApiError> {
    query.allow(&[])?;
    let labels: Vec<Value> = mailbox(world, caller)?.labels().map(label_value).collect();
    Ok(json!({"labels": labels}))
}

fn label(world: &World, caller: &Caller, query: &Query, id: &str) -> Result<Value, ApiError> {
    query.allow(&[])?;
    let mailbox = mailbox(world, caller)?;
    let label = mailbox.label(id).filter(|label| label.id == id).ok_or_else(ApiError::not_found)?;
    let carriers: Vec<&Message> = mailbox.carrying(&[id], None).collect();
    let unread: Vec<&Message> = carriers.iter().copied().filter(|message| message.has("UNREAD")).collect();
    let threads = |messages: &[&Message]| {
        messages.iter().map(|message| message.thread_id.as_str()).collect::<std::collections::BTreeSet<_>>().len()
    };
    let mut value = label_value(label);
    value["messagesTotal"] = json!(carriers.len());
    value["messagesUnread"] = json!(unread.len());
    value["threadsTotal"] = json!(threads(&carriers));
    value["threadsUnread"] = json!(threads(&unread));
    Ok(value)
}

fn label_value(label: &Label) -> Value {
    let kind = if label.is_system() { "system" } else { "user" };
    json!({
        "id": label.id,
        "name": label.name,
        "messageListVisibility": "show",
        "labelListVisibility": "labelShow",
        "type": kind,
    })
}

fn messages(world: &World, caller: &Caller, query: &Query) -> Result<Value, ApiError> {
    let listing = Listing::parse(world, caller, query, "messages")?;
    let mut found = listing.found();
    let page: Vec<&Message> = found.by_ref().take(listing.size).collect();
    let refs: Vec<Value> =
        page.iter().map(|message| json!({"id": message.id, "threadId": message.thread_id})).collect();
    Ok(listing.answer("messages", refs, page.last().copied(), found.next().is_some()))
}

fn threads(world: &World, caller: &Caller, query: &Query) -> Result<Value, ApiError> {
    let listing = Listing::parse(world, caller, query, "threads")?;
    let newest_of_thread = |message: &&Message| {
        let mut fitting = listing.mailbox.thread(&message.thread_id).rev().filter(|other| listing.fits(other));
        fitting.next().is_some_and(|newest| newest.id == message.id)
    };
    let mut found = listing.found().filter(newest_of_thread);
    let page: Vec<&Message> = found.by_ref().take(listing.size).collect();
    let refs = page.iter().map(|message| {
        let history_id = listing.mailbox.thread(&message.thread_id).map(|message| message.history_id).max();
        json!({"id": message.thread_id, "historyId": history_id.unwrap_or(0).to_string()})
    });
    Ok(listing.answer("threads", refs.collect(), page.last().copied(), found.next().is_some()))
}

/// What `messages.list` and `threads.list` have in common.
struct Listing<'a> {
    mailbox: &'a Mailbox,
    label_ids: Vec<&'a str>,
    with_spam_and_trash: bool,
    size: usize,
    after: Option<PageToken>,
    purpose: String,
    visible_ms: i64,
}

impl<'a> Listing<'a> {
    fn parse(world: &'a World, caller: &Caller, query: &'a Query, kind: &str) -> Result<Listing<'a>, ApiError> {
        query.allow(&["maxResults", "pageToken", "q", "labelIds", "includeSpamTrash"])?;
        if query.one("q").is_some_and(|q| !q.is_empty()) {
            return Err(ApiError::forbidden("Metadata scope does not support 'q' parameter"));
        }
        let mailbox = mailbox(world, caller)?;
        let label_ids: Vec<&str> = query.all("labelIds").collect();
        if let Some(unknown) = label_ids.iter().find(|id| mailbox.label(id).is_none_or(|label| label.id != **id)) {
            return Err(ApiError::invalid_argument(format!("Invalid label: {unknown}")));
        }
        let purpose = query.purpose(kind, &TOKEN_FREE);
        let named = label_ids.iter().any(|id| ["SPAM", "TRASH"].contains(id));
        Ok(Listing {
            mailbox,
            with_spam_and_trash: named || query.flag("includeSpamTrash")?,
            label_ids,
            size: query.page_size(world)?,
            after: query.one("pageToken").map(|token| PageToken::read(token, &purpose)).transpose()?,
            purpose,
            visible_ms: world.visible_ms(),
        })
    }

    fn fits(&self, message: &Message) -> bool {
        message.stored_ms <= self.visible_ms
            && self.label_ids.iter().all(|id| message.has(id))
            && (self.with_spam_and_trash || !(message.has("SPAM") || message.has("TRASH")))
    }

    fn found(&self) -> impl Iterator<Item = &'a Message> {
        let after = self.after.as_ref().map(|place| (place.number, place.word.as_str()));
        self.mailbox.carrying(&self.label_ids, after).filter(|message| self.fits(message))
    }

    fn answer(&self, key: &str, refs: Vec<Value>, last: Option<&Message>, more: bool) -> Value {
        let mut answer = Map::new();
        if !refs.is_empty() {
            answer.insert(key.into(), refs.into());
        }
        if let Some(last) = last.filter(|_| more) {
            let token = PageToken { number: last.internal_date_ms, word: last.id.clone() };
            answer.insert("nextPageToken".into(), token.write(&self.purpose).into());
        }
        let all = self.mailbox.carrying(&self.label_ids, None).filter(|message| self.fits(message));
        let estimate = all.take(ESTIMATE_MAX).count();
        answer.insert("resultSizeEstimate".into(), estimate.into());
        answer.into()
    }
}

fn message(world: &World, caller: &Caller, query: &Query, id: &str) -> Result<Value, ApiError> {
    query.allow(&["format", "metadataHeaders"])?;
    let shape = Shape::parse(query)?;
    if !is_id(id) {
        return Err(ApiError::invalid_argument("Invalid id value"));
    }
    let message = mailbox(world, caller)?.message(id).filter(|message| message.stored_ms <= world.visible_ms());
    message.map(|message| shape.value(message)).ok_or_else(ApiError::not_found)
}

fn thread(world: &World, caller: &Caller, query: &Query, id: &str) -> Result<Value, ApiError> {
    query.allow(&["format", "metadataHeaders"])?;
    let shape = Shape::parse(query)?;
    if !is_id(id) {
        return Err(ApiError::invalid_argument("Invalid id value"));
    }
    let visible = |message: &&Message| message.stored_ms <= world.visible_ms();
    let messages: Vec<&Message> = mailbox(world, caller)?.thread(id).filter(visible).collect();
    let history_id = messages.iter().map(|message| message.history_id).max().ok_or_else(ApiError::not_found)?;
    let messages: Vec<Value> = messages.into_iter().map(|message| shape.value(message)).collect();
    Ok(json!({"id": id, "historyId": history_id.to_string(), "messages": messages}))
}

/// In which of the allowed formats a message is wanted.
enum Shape<'a> {
    Minimal,
    Metadata(Vec<&'a str>),
}

impl<'a> Shape<'a> {
    fn parse(query: &'a Query) -> Result<Shape<'a>, ApiError> {
        let format = query.one("format").unwrap_or("full").to_ascii_lowercase();
        match format.as_str() {
            "minimal" => Ok(Shape::Minimal),
            "metadata" => Ok(Shape::Metadata(query.all("metadataHeaders").collect())),
            "full" | "raw" => {
                let format = format.to_ascii_uppercase();
                Err(ApiError::forbidden(format!("Metadata scope doesn't allow format {format}")))
            }
            other => Err(unknown_value("format", other)),
        }
    }

    /// The message as this scope sees it. Neither the body nor a snippet is read here.
    fn value(&self, message: &Message) -> Value {
        let mut value = json!({"id": message.id, "threadId": message.thread_id});
        if !message.label_ids.is_empty() {
            value["labelIds"] = json!(message.label_ids);
        }
        if let Shape::Metadata(names) = self {
            let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
            let headers = message.headers.iter().filter(|header| wanted(&header.name));
            let headers: Vec<Value> =
                headers.map(|header| json!({"name": header.name, "value": header.value})).collect();
            value["payload"] = json!({"partId": ""});
            if !headers.is_empty() {
                value["payload"]["headers"] = headers.into();
            }
        }
        value["sizeEstimate"] = json!(message.size_estimate());
        value["historyId"] = json!(message.history_id.to_string());
        value["internalDate"] = json!(message.internal_date_ms.to_string());
        value
    }
}

// Parameters ----------------------------------------------------------------------------------------------------------

impl Query {
    fn page_size(&self, world: &World) -> Result<usize, ApiError> {
        let wanted = self.number("maxResults", "max_results", "TYPE_UINT32")?.unwrap_or(0);
        if wanted > u64::from(u32::MAX) {
            return Err(ApiError::invalid_argument(format!(
                "Invalid value at 'max_results' (TYPE_UINT32), \"{wanted}\""
            )));
        }
        let size = match usize::try_from(wanted).unwrap_or(PAGE_MAX) {
            0 => PAGE_DEFAULT,
            size => size.min(PAGE_MAX),
        };
        Ok(match world.settings.page_max {
            0 => size,
            most => size.min(most),
        })
    }

    fn select(&self, call: &str, value: Value) -> Result<Value, ApiError> {
        match self.one("fields") {
            None => Ok(value),
            Some(text) => Ok(Selector::parse(text, schema(call))?.apply(value)),
        }
    }
}

// Schemas: the names that `fields` may use, from the Gmail discovery document

static HEADER: &[Field] = &[leaf("name"), leaf("value")];
static BODY: &[Field] = &[leaf("attachmentId"), leaf("data"), leaf("size")];
static PART: &[Field] =
    &[leaf("partId"), leaf("mimeType"), leaf("filename"), nest("headers", HEADER), nest("body", BODY)];
static PAYLOAD: &[Field] = &[
    leaf("partId"),
    leaf("mimeType"),
    leaf("filename"),
    nest("headers", HEADER),
    nest("body", BODY),
    nest("parts", PART),
];
static CLASSIFICATION_FIELD: &[Field] = &[leaf("fieldId"), leaf("selection")];
static CLASSIFICATION: &[Field] = &[leaf("labelId"), nest("fields", CLASSIFICATION_FIELD)];
static MESSAGE: &[Field] = &[
    leaf("id"),
    leaf("threadId"),
    leaf("labelIds"),
    leaf("snippet"),
    leaf("historyId"),
    leaf("internalDate"),
    nest("payload", PAYLOAD),
    leaf("sizeEstimate"),
    leaf("raw"),
    nest("classificationLabelValues", CLASSIFICATION),
];
static THREAD: &[Field] = &[leaf("id"), leaf("snippet"), leaf("historyId"), nest("messages", MESSAGE)];
static LABEL: &[Field] = &[
    leaf("id"),
    leaf("name"),
    leaf("type"),
    leaf("messageListVisibility"),
    leaf("labelListVisibility"),
    leaf("messagesTotal"),
    leaf("messagesUnread"),
    leaf("threadsTotal"),
    leaf("threadsUnread"),
    nest("color", &[leaf("textColor"), leaf("backgroundColor")]),
];
static CHANGED: &[Field] = &[nest("message", MESSAGE)];
static RELABELLED: &[Field] = &[nest("message", MESSAGE), leaf("labelIds")];
static RECORD: &[Field] = &[
    leaf("id"),
    nest("messages", MESSAGE),
    nest("messagesAdded", CHANGED),
    nest("messagesDeleted", CHANGED),
    nest("labelsAdded", RELABELLED),
    nest("labelsRemoved", RELABELLED),
];
static PROFILE: &[Field] = &[leaf("emailAddress"), leaf("messagesTotal"), leaf("threadsTotal"), leaf("historyId")];
static WATCH: &[Field] = &[leaf("historyId"), leaf("expiration")];
static HISTORY_LIST: &[Field] = &[nest("history", RECORD), leaf("nextPageToken"), leaf("historyId")];
static LABEL_LIST: &[Field] = &[nest("labels", LABEL)];
static MESSAGE_LIST: &[Field] = &[nest("messages", MESSAGE), leaf("nextPageToken"), leaf("resultSizeEstimate")];
static THREAD_LIST: &[Field] = &[nest("threads", THREAD), leaf("nextPageToken"), leaf("resultSizeEstimate")];

fn schema(call: &str) -> &'static [Field] {
    match call {
        "gmail.users.getProfile" => PROFILE,
        "gmail.users.watch" => WATCH,
        "gmail.users.history.list" => HISTORY_LIST,
        "gmail.users.labels.list" => LABEL_LIST,
        "gmail.users.labels.get" => LABEL,
        "gmail.users.messages.list" => MESSAGE_LIST,
        "gmail.users.messages.get" => MESSAGE,
        "gmail.users.threads.list" => THREAD_LIST,
        "gmail.users.threads.get" => THREAD,
        _ => &[],
    }
}

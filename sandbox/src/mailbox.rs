//! `/mailbox`: a small mail client for whoever is signed in in this browser, so that a person can make mail happen and
//! watch what the product makes of it. Plain forms; every button becomes a [`MailAction`]. This is the person's own
//! mail, so unlike the interfaces for applications it shows texts.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::Shared;
use crate::accounts::Person;
use crate::action::{MailAction, One};
use crate::compose::{CANARY, Compose, addresses, decoded};
use crate::mail::{Header, Label, Mailbox, Message};
use crate::pages::{self, Frame, SameOrigin, browser_cookie, page, see_other};
use crate::script::{INTERVAL_MS, Script};
use crate::world::World;

/// Messages on one page.
const ROWS: usize = 25;
/// Furthest page; more than anybody turns.
const PAGE_MAX: usize = 10_000;
/// Longest header that is shown.
const SHOWN_CHARS_MAX: usize = 300;
/// Headers shown above a letter.
const SHOWN_HEADERS: [&str; 6] = ["From", "To", "Cc", "Bcc", "Date", "List-Id"];
/// What is listed on the left, with the names that people know.
const PLACES: [(&str, &str); 7] = [
    ("INBOX", "Inbox"),
    ("STARRED", "Starred"),
    ("SENT", "Sent"),
    ("DRAFT", "Drafts"),
    ("ALL", "All mail"),
    ("SPAM", "Spam"),
    ("TRASH", "Bin"),
];

/// Places whose unread letters are not counted in the list.
const UNCOUNTED: [&str; 4] = ["ALL", "STARRED", "SPAM", "TRASH"];

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/mailbox", get(list))
        .route("/mailbox/messages/{id}", get(read))
        .route("/mailbox/compose", get(compose))
        .route("/mailbox/send", post(send))
        .route("/mailbox/act", post(act))
        .route("/mailbox/labels", post(create_label))
        .route("/mailbox/labels/delete", post(delete_label))
}

/// The person whose mailbox is shown: the one asked for, when signed in in this browser, or else the first.
fn person_of(world: &World, headers: &HeaderMap, wanted: &str) -> Result<Person, Box<Response>> {
    let cookie = browser_cookie(headers);
    let signed_in = world.identity.signed_in(cookie.as_deref());
    let person = signed_in.iter().find(|person| person.sub == wanted);
    let first_with_mail = || signed_in.iter().find(|person| person.has_mailbox);
    match person.or_else(first_with_mail).or_else(|| signed_in.first()) {
        None => Err(Box::new(see_other("/accounts"))),
        Some(person) if person.has_mailbox && world.mail.contains_key(&person.sub) => Ok((*person).clone()),
        Some(person) => {
            let sentence = format!("{} has no mailbox. Sign in as somebody else on the Accounts page.", person.email);
            Err(refused(StatusCode::NOT_FOUND, "No mailbox", &sentence))
        }
    }
}

/// A page instead of what was asked for.
fn refused(status: StatusCode, title: &str, sentence: &str) -> Box<Response> {
    Box::new(pages::message(status, title, sentence))
}

struct LabelRow {
    id: String,
    name: String,
    unread: usize,
}

struct Row {
    id: String,
    subject: String,
    other: String,
    other_full: String,
    date: String,
    instant: String,
    tags: Vec<String>,
    unread: bool,
    starred: bool,
    inbox: bool,
    trash: bool,
    spam: bool,
    draft: bool,
}

impl Row {
    fn of(message: &Message, mailbox: &Mailbox) -> Row {
        let at = Timestamp::from_millisecond(message.internal_date_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let own = message.has("SENT") || message.has("DRAFT");
        let other = if own { message.header("To") } else { message.header("From") };
        let subject = message.header("Subject").map(shown).filter(|subject| !subject.is_empty());
        let own_labels = message.label_ids.iter().filter_map(|id| mailbox.label(id)).filter(|label| !label.is_system());
        Row {
            id: message.id.clone(),
            subject: subject.unwrap_or_else(|| "(no subject)".to_owned()),
            other_full: other.map(shown).unwrap_or_default(),
            other: other.map(name_of).filter(|other| !other.is_empty()).unwrap_or_else(|| "(nobody)".to_owned()),
            date: at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M").to_string(),
            instant: at.to_string(),
            tags: own_labels.map(|label| label.name.clone()).collect(),
            unread: message.has("UNREAD"),
            starred: message.has("STARRED"),
            inbox: message.has("INBOX"),
            trash: message.has("TRASH"),
            spam: message.has("SPAM"),
            draft: message.has("DRAFT"),
        }
    }
}

fn shown(value: &str) -> String {
    let start: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    decoded(&start)
}

/// The name in an address, or the address when there is none.
fn name_of(value: &str) -> String {
    let value = shown(value);
    let name = value.split_once('<').map_or(value.as_str(), |(name, _)| name).trim().trim_matches('"');
    if name.is_empty() { value } else { name.to_owned() }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListQuery {
    r#as: String,
    label: String,
    page: usize,
    done: String,
}

#[derive(Template)]
#[template(path = "mailbox.html")]
struct ListPage {
    frame: Frame,
    sub: String,
    labels: Vec<LabelRow>,
    own_labels: Vec<Label>,
    own_label: Option<Label>,
    others: Vec<Person>,
    open_id: String,
    open_name: String,
    rows: Vec<Row>,
    page: usize,
    more: bool,
    playing: usize,
    playing_of: usize,
}

async fn list(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(query): Query<ListQuery>) -> Response {
    let shown = shared.look(|world| {
        let person = person_of(world, &headers, &query.r#as)?;
        list_page(world, &headers, &person, &query)
            .ok_or_else(|| refused(StatusCode::NOT_FOUND, "No such label", "This label is gone."))
    });
    match shown {
        Ok(shown) => page(&shown),
        Err(response) => *response,
    }
}

fn list_page(world: &World, headers: &HeaderMap, person: &Person, query: &ListQuery) -> Option<ListPage> {
    let mailbox = world.mail.get(&person.sub)?;
    let open_id = if query.label.is_empty() { "INBOX" } else { query.label.as_str() };
    let place = PLACES.iter().find(|(id, _)| *id == open_id).map(|(_, name)| (*name).to_owned());
    let own_label = mailbox.label(open_id).filter(|label| !label.is_system()).cloned();
    let open_name = place.or_else(|| own_label.as_ref().map(|label| label.name.clone()))?;
    let page = query.page.clamp(1, PAGE_MAX);
    let mut found = mailbox.newest_first().filter(|message| lies_in(message, open_id)).skip((page - 1) * ROWS);
    let rows = found.by_ref().take(ROWS).map(|message| Row::of(message, mailbox)).collect();
    let own_labels: Vec<Label> = mailbox.labels().filter(|label| !label.is_system()).cloned().collect();
    let places = PLACES.iter().map(|(id, name)| (*id, *name));
    let own = own_labels.iter().map(|label| (label.id.as_str(), label.name.as_str()));
    let labels = places.chain(own).map(|(id, name)| LabelRow {
        id: id.to_owned(),
        name: name.to_owned(),
        unread: if UNCOUNTED.contains(&id) { 0 } else { unread_in(mailbox, id) },
    });
    let cookie = browser_cookie(headers);
    Some(ListPage {
        frame: Frame::new("Mailbox", "mailbox").of(&person.email).noticing(notice(&query.done)),
        sub: person.sub.clone(),
        labels: labels.collect(),
        own_labels: own_labels.clone(),
        own_label,
        others: world.identity.signed_in(cookie.as_deref()).into_iter().cloned().collect(),
        open_id: open_id.to_owned(),
        open_name,
        rows,
        page,
        more: found.next().is_some(),
        playing: world.performance.as_ref().map_or(0, |performance| performance.step),
        playing_of: Script::Day.len(),
    })
}

fn unread_in(mailbox: &Mailbox, place: &str) -> usize {
    let unread = mailbox.newest_first().filter(|message| message.has("UNREAD"));
    unread.filter(|message| lies_in(message, place)).count()
}

fn lies_in(message: &Message, place: &str) -> bool {
    let away = message.has("TRASH") || message.has("SPAM");
    match place {
        "ALL" => !away,
        "TRASH" | "SPAM" => message.has(place),
        place => message.has(place) && !away,
    }
}

/// What has just been done, in words.
fn notice(done: &str) -> Option<String> {
    let sentence = match done {
        "archive" => "Archived.",
        "star" => "Starred.",
        "unstar" => "The star is gone.",
        "read" => "Marked as read.",
        "unread" => "Marked as unread.",
        "trash" => "Moved to the bin.",
        "untrash" | "not_spam" => "Back in the inbox.",
        "spam" => "Moved to spam.",
        "delete" => "Deleted for ever.",
        "label" => "Label added.",
        "unlabel" => "Label removed.",
        "receive" => "A letter has arrived.",
        "play" => "A day in the company begins: something happens every few seconds.",
        "send" | "send_draft" => "Sent.",
        "draft" => "Draft saved.",
        "created" => "Label created.",
        "removed" => "Label deleted.",
        _ => return None,
    };
    Some(sentence.to_owned())
}

#[derive(Template)]
#[template(path = "mailbox_message.html")]
struct MessagePage {
    frame: Frame,
    sub: String,
    row: Row,
    headers: Vec<Header>,
    text: String,
}

async fn read(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Response {
    let found: Result<MessagePage, Box<Response>> = shared.look(|world| {
        let person = person_of(world, &headers, &query.r#as)?;
        let mailbox = world.mail.get(&person.sub);
        let gone = || refused(StatusCode::NOT_FOUND, "No such message", "This message has been deleted.");
        let (mailbox, message) =
            mailbox.and_then(|mailbox| mailbox.message(&id).map(|message| (mailbox, message))).ok_or_else(gone)?;
        let wanted = |header: &&Header| SHOWN_HEADERS.iter().any(|name| header.name.eq_ignore_ascii_case(name));
        let short = |header: &Header| Header { name: header.name.clone(), value: shown(&header.value) };
        Ok(MessagePage {
            frame: Frame::new("Message", "mailbox").of(&person.email),
            sub: person.sub.clone(),
            row: Row::of(message, mailbox),
            headers: message.headers.iter().filter(wanted).map(short).collect(),
            text: without_canaries(&message.body),
        })
    });
    match found {
        Ok(found) => page(&found),
        Err(response) => *response,
    }
}

/// The text as it was written.
fn without_canaries(body: &str) -> String {
    let first = body.split_once(' ').filter(|(word, _)| word.starts_with(CANARY)).map_or(body, |(_, text)| text);
    first.rsplit_once(' ').filter(|(_, word)| word.starts_with(CANARY)).map_or(first, |(text, _)| text).to_owned()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ComposeQuery {
    r#as: String,
    answers: String,
    draft: String,
}

#[derive(Template)]
#[template(path = "mailbox_compose.html")]
struct ComposePage {
    frame: Frame,
    sub: String,
    answers: String,
    draft: String,
    to: String,
    cc: String,
    subject: String,
    body: String,
    colleagues: Vec<String>,
}

async fn compose(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(query): Query<ComposeQuery>) -> Response {
    let form: Result<ComposePage, Box<Response>> = shared.look(|world| {
        let person = person_of(world, &headers, &query.r#as)?;
        let message = |id: &str| world.mail.get(&person.sub).and_then(|mailbox| mailbox.message(id));
        let (answered, draft) = (message(&query.answers), message(&query.draft).filter(|draft| draft.has("DRAFT")));
        let header = |message: Option<&Message>, name| message.and_then(|message| message.header(name)).map(shown);
        let answer = header(answered, "Subject").map(|subject| match subject.starts_with("Re: ") {
            true => subject,
            false => format!("Re: {subject}"),
        });
        let colleagues = world.identity.people.values().filter(|other| other.has_mailbox && other.sub != person.sub);
        Ok(ComposePage {
            frame: Frame::new(if draft.is_some() { "Draft" } else { "New letter" }, "mailbox").of(&person.email),
            sub: person.sub.clone(),
            answers: answered.map(|message| message.id.clone()).unwrap_or_default(),
            to: header(draft, "To").or_else(|| header(answered, "From")).unwrap_or_default(),
            cc: header(draft, "Cc").unwrap_or_default(),
            subject: header(draft, "Subject").or(answer).unwrap_or_default(),
            body: draft.map(|draft| without_canaries(&draft.body)).unwrap_or_default(),
            draft: draft.map(|draft| draft.id.clone()).unwrap_or_default(),
            colleagues: colleagues.map(|other| other.email.clone()).collect(),
        })
    });
    match form {
        Ok(form) => page(&form),
        Err(response) => *response,
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SendForm {
    r#as: String,
    action: String,
    answers: String,
    draft: String,
    to: String,
    cc: String,
    subject: String,
    body: String,
}

async fn send(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<SendForm>,
) -> Response {
    let written = Compose {
        to: form.to,
        cc: form.cc,
        bcc: String::new(),
        subject: form.subject,
        body: form.body,
        answers: Some(form.answers).filter(|id| !id.is_empty()),
    };
    let is_draft = form.action == "draft";
    if !is_draft && addresses(&written.to).is_empty() {
        let sentence = "Go back and give at least one address in To, for example a colleague's.";
        return pages::message(StatusCode::UNPROCESSABLE_ENTITY, "Nobody to send to", sentence);
    }
    let earlier = Some(form.draft).filter(|id| !id.is_empty());
    let saves = MailAction::Draft { earlier: earlier.clone(), compose: written.clone() };
    let mut actions = Vec::new();
    if is_draft || earlier.is_some() {
        actions.push(saves);
    } else {
        actions.push(MailAction::Send(written));
    }
    let done = if is_draft { "draft" } else { "send" };
    carry_out(&shared, &headers, &form.r#as, done, |world, person| {
        for action in &actions {
            let saved = world.act(&person.email, action)?;
            if !is_draft && earlier.is_some() {
                let sends = saved.ids.into_iter().map(|id| MailAction::SendDraft(One { id }));
                sends.map(|send| world.act(&person.email, &send)).collect::<Result<Vec<_>, _>>()?;
            }
        }
        Ok(if is_draft { "DRAFT" } else { "SENT" }.to_owned())
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ActForm {
    r#as: String,
    action: String,
    id: String,
    label: String,
    back: String,
}

async fn act(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<ActForm>,
) -> Response {
    let one = One { id: form.id.clone() };
    let label = vec![form.label.clone()];
    let action = match form.action.as_str() {
        "archive" => MailAction::Archive(one),
        "star" => MailAction::Star(one),
        "unstar" => MailAction::Unstar(one),
        "read" => MailAction::Read(one),
        "unread" => MailAction::Unread(one),
        "trash" => MailAction::Trash(one),
        "untrash" => MailAction::Untrash(one),
        "spam" => MailAction::Spam(one),
        "not_spam" => MailAction::NotSpam(one),
        "delete" => MailAction::Delete(one),
        "send_draft" => MailAction::SendDraft(one),
        "label" => MailAction::Label { id: form.id, add: label, remove: Vec::new() },
        "unlabel" => MailAction::Label { id: form.id, add: Vec::new(), remove: label },
        "receive" => MailAction::sample(),
        "play" => return play(&shared, &headers, &form.r#as, form.back),
        _ => {
            let sentence = "This button means nothing to the sandbox. Reload the mailbox and try again.";
            return pages::message(StatusCode::BAD_REQUEST, "Unknown action", sentence);
        }
    };
    carry_out(&shared, &headers, &form.r#as, &form.action, |world, person| {
        world.act(&person.email, &action).map(|_| form.back)
    })
}

fn play(shared: &Shared, headers: &HeaderMap, wanted: &str, back: String) -> Response {
    carry_out(shared, headers, wanted, "play", |world, person| {
        world.start_script_for(Script::Day, Some(&person.email), INTERVAL_MS);
        Ok(back)
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LabelForm {
    r#as: String,
    name: String,
    id: String,
}

async fn create_label(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<LabelForm>,
) -> Response {
    carry_out(&shared, &headers, &form.r#as, "created", |world, person| {
        Ok(world.create_label(&person.sub, form.name.trim())?.id)
    })
}

async fn delete_label(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<LabelForm>,
) -> Response {
    carry_out(&shared, &headers, &form.r#as, "removed", |world, person| {
        world.delete_label(&person.sub, &form.id)?;
        Ok("INBOX".to_owned())
    })
}

/// Does something and goes back to the list that `action` names.
fn carry_out(
    shared: &Shared,
    headers: &HeaderMap,
    wanted: &str,
    done: &str,
    action: impl FnOnce(&mut World, &Person) -> Result<String, crate::action::ActionError>,
) -> Response {
    let carried = shared.with_world(|world| {
        let person = person_of(world, headers, wanted)?;
        let done = action(world, &person).map(|back| (person.sub, back));
        done.map_err(|error| refused(StatusCode::UNPROCESSABLE_ENTITY, "That did not work", &format!("{error}.")))
    });
    match carried {
        Ok((sub, back)) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("as", &sub)
                .append_pair("label", &back)
                .append_pair("done", done)
                .finish();
            see_other(&format!("/mailbox?{query}"))
        }
        Err(response) => *response,
    }
}

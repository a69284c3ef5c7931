//! The mail page: what Intail holds of the person's mailbox, newest first, and a thread's headers. All text in it was
//! written by strangers: it is clipped here and escaped by the templates.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::Web;
use super::access::Caller;
use super::asked::{Asked, At};
use super::colleagues::{self, Colleagues, Party, written};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{
    LabelNames, SHOWN_MAX, When, clip, from_ms, grouped, header_name, label_rank, sender, size, subject,
};
use crate::connect::{self, Connection, Push};
use crate::org::privacy::PARTIES;
use crate::store::changes;
use crate::store::labels::{self, LabelKind};
use crate::store::mailboxes::MailboxState;
use crate::store::messages::{self, After, Message};
use crate::store::quota;

/// Messages on a page.
const PAGE_MESSAGES: i64 = 50;
/// Messages of a thread that are shown; Gmail's own limit is about a hundred.
const THREAD_MESSAGES_MAX: i64 = 200;
/// The longest id of Google's that is looked up.
const ID_LENGTH_MAX: usize = 128;
/// Labels that say how a message is shown rather than where it is.
const SHOWN_OTHERWISE: [&str; 3] = ["UNREAD", "STARRED", "CATEGORY_PERSONAL"];

/// Which part of the list.
#[derive(Deserialize)]
pub(super) struct Part {
    label: Option<String>,
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct MailPage {
    shell: Shell,
    title: String,
    labels: Vec<LabelLink>,
    rows: Vec<Row>,
    older: Option<String>,
    newest: Option<String>,
    state: Option<StateLine>,
    /// Whether mail is read at all.
    goes_on: bool,
}

struct LabelLink {
    name: String,
    href: String,
    current: bool,
    own: bool,
}

/// A message in the list.
struct Row {
    id: String,
    href: String,
    sender: String,
    subject: String,
    unread: bool,
    starred: bool,
    labels: Vec<String>,
    at: When,
}

/// What the list is as of, and what keeps it so.
struct StateLine {
    tone: &'static str,
    as_of: Option<When>,
    text: String,
}

/// `GET /mail`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(part): Asked<Part>,
) -> Result<Response, Trouble> {
    let now = web.app.clock.now();
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, &caller.person.organization_id).await?;
    let connection = connect::connection(&mut tx, &caller.person.id, now).await?;
    let label = part.label.filter(|it| it.len() <= ID_LENGTH_MAX);
    let after = part.after.as_deref().map(read_place).transpose()?;
    let (mut listed, mut known) = (Vec::new(), Vec::new());
    if let Some(mailbox) = connection.as_ref().and_then(|it| it.mailbox.as_ref()) {
        listed = messages::page(&mut tx, &mailbox.id, label.as_deref(), after.as_ref(), PAGE_MESSAGES + 1).await?;
        known = labels::list(&mut tx, &mailbox.id).await?;
    }
    let colleagues = Colleagues::of(&mut tx, &caller, colleagues::senders(listed.iter())).await?;
    let held_until = quota::held_until(&mut tx, quota::GMAIL).await?;
    drop(tx);
    known.sort_by_key(label_rank);
    let names = LabelNames::of(&known);
    let older = after_page(&listed, PAGE_MESSAGES).map(|place| address(label.as_deref(), Some(&place)));
    listed.truncate(usize::try_from(PAGE_MESSAGES).unwrap_or(usize::MAX));
    let title = label.as_deref().map_or_else(|| "All messages".to_owned(), |id| names.name(id));
    html(&MailPage {
        shell: Shell::new(&web, Some(&caller), "mail", title.clone()).following(last_seq, connection.is_some()),
        title,
        labels: label_links(&known, label.as_deref(), &names),
        rows: listed.iter().map(|it| row(it, label.as_deref(), &names, &colleagues)).collect(),
        older,
        newest: after.is_some().then(|| address(label.as_deref(), None)),
        state: connection.as_ref().map(|it| state_line(it, held_until, now)),
        goes_on: connection.as_ref().is_some_and(Connection::reads_mail),
    })
}

fn label_links(known: &[labels::Label], current: Option<&str>, names: &LabelNames) -> Vec<LabelLink> {
    let all = LabelLink {
        name: "All messages".to_owned(),
        href: address(None, None),
        current: current.is_none(),
        own: false,
    };
    let shown = known.iter().filter(|it| !matches!(it.id.as_str(), "CHAT" | "CATEGORY_PERSONAL"));
    let links = shown.map(|label| LabelLink {
        name: names.name(&label.id),
        href: address(Some(&label.id), None),
        current: current == Some(label.id.as_str()),
        own: label.kind == LabelKind::User,
    });
    std::iter::once(all).chain(links).collect()
}

fn row(message: &Message, current: Option<&str>, names: &LabelNames, colleagues: &Colleagues) -> Row {
    let has = |id: &str| message.labels.iter().any(|it| it == id);
    let shown = |id: &&String| Some(id.as_str()) != current && !SHOWN_OTHERWISE.contains(&id.as_str());
    Row {
        id: message.id.clone(),
        href: format!("/mail/thread/{}", escaped(&message.thread_id)),
        sender: from(message, colleagues).name,
        subject: subject(message),
        unread: has("UNREAD"),
        starred: has("STARRED"),
        labels: message.labels.iter().filter(shown).map(|id| names.name(id)).collect(),
        at: When::brief(from_ms(message.received_ms)),
    }
}

/// How the copy stands, where Google wants no questions about anybody's mail until `held_until`.
fn state_line(connection: &Connection, held_until: Option<Timestamp>, now: Timestamp) -> StateLine {
    let mailbox = connection.mailbox.as_ref();
    let as_of = mailbox.and_then(|it| it.cursor_at).map(When::full);
    let pushes = matches!(connection.push, Push::Live { .. });
    let paused_until = mailbox.and_then(|it| it.paused_until).max(held_until);
    let paused = paused_until.is_some_and(|until| until > now);
    let (tone, text) = match mailbox.map(|it| it.state) {
        _ if !connection.works() => ("act", "Stopped; see Integrations".to_owned()),
        _ if !connection.reads_mail() => ("act", "Mail isn’t permitted; see Integrations".to_owned()),
        None => ("act", "Mail isn’t permitted; see Integrations".to_owned()),
        _ if paused => ("busy", "Paused because Google asked for it".to_owned()),
        Some(MailboxState::Backfilling) => ("busy", copied(connection)),
        Some(MailboxState::Reconciling) => ("busy", "Comparing everything with Google".to_owned()),
        Some(MailboxState::Live) if !pushes => ("busy", "Google doesn’t push yet".to_owned()),
        Some(MailboxState::Live) => ("good", "Live".to_owned()),
    };
    StateLine { tone, as_of, text }
}

fn copied(connection: &Connection) -> String {
    match connection.mailbox.as_ref().and_then(|it| it.total_messages) {
        Some(total) => format!("Copying: {} of {}", grouped(connection.stored), grouped(total.max(connection.stored))),
        None => format!("Copying: {} so far", grouped(connection.stored)),
    }
}

/// The place after a page that asked for one message more than it shows; none when that was all.
pub(super) fn after_page(listed: &[Message], page: i64) -> Option<String> {
    let page = usize::try_from(page).ok()?;
    let last = listed.get(page.checked_sub(1)?).filter(|_| listed.len() > page)?;
    Some(format!("{}.{}", last.received_ms, last.id))
}

/// A place in a list, as [`after_page`] wrote it.
pub(super) fn read_place(text: &str) -> Result<After, Trouble> {
    let place = text.split_once('.').and_then(|(ms, id)| Some((ms.parse::<i64>().ok()?, id)));
    match place {
        Some((received_ms, id)) if id.len() <= ID_LENGTH_MAX => Ok(After { received_ms, id: id.to_owned() }),
        _ => Err(trouble::not_understood("The place in the list is none that Intail gave out.")),
    }
}

fn address(label: Option<&str>, after: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in [("label", label), ("after", after)] {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { "/mail".to_owned() } else { format!("/mail?{query}") }
}

fn escaped(segment: &str) -> String {
    url::form_urlencoded::byte_serialize(segment.as_bytes()).collect()
}

#[derive(Template)]
#[template(path = "thread.html")]
struct ThreadPage {
    shell: Shell,
    title: String,
    messages: Vec<Shown>,
}

/// A message with its headers.
struct Shown {
    id: String,
    sender: Party,
    unread: bool,
    starred: bool,
    labels: Vec<String>,
    at: When,
    size: String,
    headers: Vec<(String, Value)>,
}

/// What stands behind a header's name.
enum Value {
    Text(String),
    /// Senders or recipients, and how many more there are.
    Parties(Vec<Party>, usize),
}

/// Headers shown first, in this order; the others follow by name.
const FIRST: [&str; 6] = ["to", "cc", "bcc", "reply-to", "date", "message-id"];
/// Headers of one message that are shown.
const HEADERS_SHOWN_MAX: usize = 40;
/// Recipients of one header that are shown: of a letter to a whole company, the first.
const PARTIES_SHOWN_MAX: usize = 30;

/// `GET /mail/thread/{id}`
pub(super) async fn thread(State(web): State<Web>, caller: Caller, At(id): At<String>) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, &caller.person.organization_id).await?;
    let connection = connect::connection(&mut tx, &caller.person.id, web.app.clock.now()).await?;
    let mailbox = connection.and_then(|it| it.mailbox).filter(|_| id.len() <= ID_LENGTH_MAX);
    let mailbox = mailbox.ok_or_else(|| trouble::not_there("conversation"))?;
    let found = messages::of_thread(&mut tx, &mailbox.id, &id, THREAD_MESSAGES_MAX).await?;
    let names = LabelNames::of(&labels::list(&mut tx, &mailbox.id).await?);
    let colleagues = Colleagues::of(&mut tx, &caller, colleagues::parties(found.iter())).await?;
    drop(tx);
    let first = found.first().ok_or_else(|| trouble::not_there("conversation"))?;
    let title = subject(first);
    html(&ThreadPage {
        shell: Shell::new(&web, Some(&caller), "mail", title.clone()).following(last_seq, true),
        title,
        messages: found.iter().map(|it| shown(it, &names, &colleagues)).collect(),
    })
}

/// Who wrote a message: the directory's name of a colleague, otherwise as it was written.
fn from(message: &Message, colleagues: &Colleagues) -> Party {
    let party = colleagues.party(&message.sender_name, &message.sender_address);
    if party.name.is_empty() { Party { name: sender(message), ..party } } else { party }
}

/// What a header says; of senders and recipients, who they are.
fn value(name: &str, text: &str, colleagues: &Colleagues) -> Value {
    if !PARTIES.contains(&name) {
        return Value::Text(clip(text, SHOWN_MAX));
    }
    let all = written(text);
    let shown = all.iter().take(PARTIES_SHOWN_MAX).map(|(name, address)| colleagues.party(name, address));
    Value::Parties(shown.collect(), all.len().saturating_sub(PARTIES_SHOWN_MAX))
}

fn shown(message: &Message, names: &LabelNames, colleagues: &Colleagues) -> Shown {
    let has = |id: &str| message.labels.iter().any(|it| it == id);
    let mut headers: Vec<(usize, &str, &str)> = message
        .headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
        .map(|(name, value)| {
            let place = FIRST.iter().position(|it| it == name).unwrap_or(FIRST.len());
            (place, name.as_str(), value.as_str())
        })
        .filter(|(_, name, _)| *name != "from" && *name != "subject")
        .take(HEADERS_SHOWN_MAX)
        .collect();
    headers.sort();
    Shown {
        id: message.id.clone(),
        sender: from(message, colleagues),
        unread: has("UNREAD"),
        starred: has("STARRED"),
        labels: message
            .labels
            .iter()
            .filter(|id| *id != "UNREAD" && *id != "STARRED")
            .map(|id| names.name(id))
            .collect(),
        at: When::full(from_ms(message.received_ms)),
        size: size(message.size_bytes),
        headers: headers
            .into_iter()
            .map(|(_, name, text)| (header_name(name), value(name, text, colleagues)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::HistoryId;
    use crate::store::messages::SubjectForm;

    fn message(id: &str, subject: &str) -> Message {
        Message {
            id: id.to_owned(),
            thread_id: "t/1?".to_owned(),
            received_ms: 1_700_000_000_000,
            size_bytes: 10,
            history_id: HistoryId(1),
            labels: vec!["INBOX".to_owned(), "UNREAD".to_owned()],
            subject: subject.to_owned(),
            subject_form: SubjectForm::Plain,
            sender_name: "\"><script>alert(1)</script>".to_owned(),
            sender_address: String::new(),
            headers: BTreeMap::new(),
        }
    }

    #[test]
    fn a_page_is_followed_by_another_only_if_there_is_more() {
        let listed: Vec<Message> = ["a", "b", "c"].into_iter().map(|id| message(id, "")).collect();
        assert_eq!(after_page(&listed, 3), None);
        let place = after_page(&listed, 2).expect("one more");
        let after = read_place(&place).ok().expect("our own place");
        assert_eq!((after.received_ms, after.id.as_str()), (1_700_000_000_000, "b"));
    }

    #[test]
    fn foreign_places_are_refused() {
        for place in ["", "x.y", "12", "9999999999999999999999.a"] {
            assert!(read_place(place).is_err(), "{place}");
        }
        assert!(read_place(&format!("1.{}", "a".repeat(ID_LENGTH_MAX + 1))).is_err());
    }

    #[test]
    fn what_strangers_wrote_stays_text() {
        let names = LabelNames::of(&[]);
        let hostile = message("\" onclick=x", "<img src=x onerror=alert(1)>&amp;");
        let page = MailPage {
            shell: test_shell(),
            title: "</title><script>".to_owned(),
            labels: Vec::new(),
            rows: vec![row(&hostile, None, &names, &Colleagues::default())],
            older: None,
            newest: None,
            goes_on: true,
            state: None,
        };
        let text = page.render().expect("a page");
        for raw in ["<img src=x", "<script>alert", "</title><script>", "\" onclick"] {
            assert!(!text.contains(raw), "{raw} stands unescaped in the page");
        }
        assert!(text.contains("/mail/thread/t%2F1%3F"));
    }

    fn test_shell() -> Shell {
        Shell {
            title: "</title><script>".to_owned(),
            area: "mail",
            person: None,
            form_token: String::new(),
            stream: None,
            standing: None,
            may_connect_now: false,
            blocked: None,
            wanted: None,
            style: "",
            script: "",
            mark: "",
        }
    }
}

//! Gmail, as far as `gmail.metadata` reaches: headers, labels and history. Never a body, never a snippet.
//!
//! Source: Gmail's discovery document and its guides on synchronization and push. A reader must not break: every
//! message is asked for with `format=metadata` (leaving it out means FULL, which the scope forbids), no search query is
//! ever sent, and no type here has room for what was written.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    calls::{self, Call},
    error::Error,
    request::{Caller, Client, Request, is_gmail_id, is_resource_name},
    wire,
};

/// The headers that are asked for; Gmail matches them in any case.
pub const HEADERS: &[&str] = &[
    "From",
    "Sender",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "List-Id",
    "Content-Type",
];

/// How many entries a page may have: the most that Gmail gives.
const PAGE_SIZE: &str = "500";

/// The longest page token that is sent back. Gmail's have about 20 characters, but it does not promise that.
const PAGE_TOKEN_LENGTH_MAX: usize = 2048;

/// The longest id of a label. Gmail's have about a dozen characters, but it does not promise that.
const LABEL_ID_LENGTH_MAX: usize = 256;

/// Gmail for one person.
#[derive(Clone, Copy, Debug)]
pub struct Gmail<'a> {
    client: &'a Client,
    caller: &'a Caller,
}

/// A mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The person's primary address, as Google writes it.
    pub email_address: String,
    /// How many messages it has.
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    pub messages_total: u64,
    /// How many threads it has.
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    pub threads_total: u64,
    /// Where its history is now.
    #[serde(deserialize_with = "wire::whole")]
    pub history_id: u64,
}

/// A push registration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchAnswer {
    /// Where the mailbox's history is now. Never a cursor: what is between is not read yet.
    #[serde(deserialize_with = "wire::whole")]
    pub history_id: u64,
    /// When the registration ends, seven days ahead.
    #[serde(rename = "expiration", deserialize_with = "wire::instant_ms")]
    pub expires_at: Timestamp,
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Label {
    /// Its id, such as `INBOX` or `Label_12`.
    pub id: String,
    /// Its name as the person sees it.
    #[serde(default)]
    pub name: String,
    /// Whose it is.
    #[serde(rename = "type", default)]
    pub kind: LabelKind,
}

/// Whose a label is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelKind {
    /// Gmail's own.
    System,
    /// The person's; also what Gmail may invent later.
    #[default]
    #[serde(other)]
    User,
}

/// How much carries a label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelCounts {
    /// The label.
    pub id: String,
    /// Messages.
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    pub messages_total: u64,
    /// Unread messages.
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    pub messages_unread: u64,
    /// Threads.
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    pub threads_total: u64,
    /// Unread threads.
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    pub threads_unread: u64,
}

/// A page of what changed. A page may be empty and still have a next one. Each of its entries is read by itself: one
/// that can't be read doesn't take the page, and with it the cursor, along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "HistoryWire")]
pub struct HistoryPage {
    /// In order; ids rise, with gaps.
    pub records: Vec<HistoryRecord>,
    /// Messages of which something is told that can't be read: what became of them is to be asked.
    pub unclear: Vec<MessageId2>,
    /// Entries of which not even the message can be read.
    pub unreadable: u64,
    /// How to ask for the next page.
    pub next_page_token: Option<String>,
    /// Where the mailbox is now. A cursor only after the last page was applied.
    pub history_id: Option<u64>,
}

/// One change of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRecord {
    /// Its place in the history.
    pub id: u64,
    /// New messages; they may be gone again already.
    pub added: Vec<MessageRef>,
    /// Messages that are gone for good; the trash is a label instead.
    pub deleted: Vec<MessageRef>,
    /// Labels that were put on. What filters put on at delivery is in `added` instead.
    pub labels_added: Vec<LabelDelta>,
    /// Labels that were taken off.
    pub labels_removed: Vec<LabelDelta>,
}

/// A message in the history.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageRef {
    /// The message.
    pub id: String,
    /// Its thread; empty if Google left it out.
    #[serde(default)]
    pub thread_id: String,
    /// Its labels after the change, if Google said.
    #[serde(default)]
    pub label_ids: Option<Vec<String>>,
}

/// Labels put on or taken off a message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelDelta {
    /// The message, with its labels after the change.
    pub message: MessageRef,
    /// The labels in question.
    pub label_ids: Vec<String>,
}

/// A page of messages, newest first. Each is read by itself, as in [`HistoryPage`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "MessageWire")]
pub struct MessagePage {
    /// The messages.
    pub refs: Vec<MessageId2>,
    /// Entries whose message can't be read.
    pub unreadable: u64,
    /// How to ask for the next page.
    pub next_page_token: Option<String>,
    /// Google's guess at the total; good for a progress bar at most.
    pub estimate: u64,
}

/// A message and its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageId2 {
    /// The message.
    pub id: String,
    /// Its thread; empty if it can't be read.
    pub thread_id: String,
}

/// What the scope lets us know about a message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Immutable.
    pub id: String,
    /// Immutable.
    pub thread_id: String,
    /// May be empty: archived, read, no label.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub label_ids: Vec<String>,
    /// When Google accepted it, in milliseconds since 1970. Order by this: `Date` is whatever the sender wrote.
    #[serde(rename = "internalDate", deserialize_with = "wire::whole")]
    pub internal_date_ms: i64,
    /// The whole message in bytes, about.
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    pub size_estimate: u64,
    /// The last change that touched it.
    #[serde(deserialize_with = "wire::whole")]
    pub history_id: u64,
    /// The headers asked for, in order; some missing, some twice. Hostile text.
    #[serde(rename = "payload", default, deserialize_with = "headers")]
    pub headers: Vec<Header>,
}

/// One header line, unfolded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// As the sender wrote it; compare in any case.
    #[serde(default)]
    pub name: String,
    /// May hold encoded words.
    #[serde(default)]
    pub value: String,
}

/// A thread with its messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// Immutable.
    pub id: String,
    /// The last change that touched it.
    #[serde(deserialize_with = "wire::whole")]
    pub history_id: u64,
    /// Its messages, oldest first.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub messages: Vec<Message>,
}

/// All labels of a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "LabelWire")]
pub struct LabelList {
    /// Those that could be read.
    pub labels: Vec<Label>,
    /// How many couldn't: a label that is missed may be one of these.
    pub unreadable: u64,
}

/// A history page as Google writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryWire {
    #[serde(default, deserialize_with = "wire::or_default")]
    history: Vec<Value>,
    #[serde(default, deserialize_with = "wire::maybe_text")]
    next_page_token: Option<String>,
    #[serde(default, deserialize_with = "wire::maybe_whole")]
    history_id: Option<u64>,
}

impl From<HistoryWire> for HistoryPage {
    fn from(wire: HistoryWire) -> Self {
        let (next_page_token, history_id) = (wire.next_page_token, wire.history_id);
        let mut page = Self { next_page_token, history_id, ..Self::default() };
        for record in &wire.history {
            page.take(record);
        }
        page
    }
}

impl HistoryPage {
    /// Adds a record, or what can be read of it.
    fn take(&mut self, record: &Value) {
        let before = (self.unclear.len(), self.unreadable);
        let read = HistoryRecord {
            id: 0,
            added: self.refs(&record["messagesAdded"]),
            deleted: self.refs(&record["messagesDeleted"]),
            labels_added: self.deltas(&record["labelsAdded"]),
            labels_removed: self.deltas(&record["labelsRemoved"]),
        };
        if let Ok(id) = wire::whole(&record["id"]) {
            self.records.push(HistoryRecord { id, ..read });
            return;
        }
        // Nobody knows when it was, so nobody knows what is still so.
        let named = record["messages"].as_array().into_iter().flatten().filter_map(named);
        let deltas = read.labels_added.into_iter().chain(read.labels_removed).map(|it| it.message);
        let refs = read.added.into_iter().chain(read.deleted).chain(deltas);
        self.unclear.extend(refs.map(|it| MessageId2 { id: it.id, thread_id: it.thread_id }).chain(named));
        if (self.unclear.len(), self.unreadable) == before {
            self.unreadable += 1;
        }
    }

    /// The messages of `[{"message":{…}}]`.
    fn refs(&mut self, list: &Value) -> Vec<MessageRef> {
        let entries = self.entries(list);
        entries.iter().filter_map(|it| self.message(&it["message"])).collect()
    }

    /// The labels of `[{"message":{…},"labelIds":[…]}]`.
    fn deltas(&mut self, list: &Value) -> Vec<LabelDelta> {
        let entries = self.entries(list);
        let mut deltas = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(message) = self.message(&entry["message"]) else { continue };
            match Vec::<String>::deserialize(&entry["labelIds"]) {
                Ok(label_ids) if label_ids.iter().all(|it| is_label_id(it)) => {
                    deltas.push(LabelDelta { message, label_ids });
                }
                _ => self.unclear.push(MessageId2 { id: message.id, thread_id: message.thread_id }),
            }
        }
        deltas
    }

    fn entries<'a>(&mut self, list: &'a Value) -> &'a [Value] {
        match list {
            Value::Null => &[],
            Value::Array(entries) => entries,
            _ => {
                self.unreadable += 1;
                &[]
            }
        }
    }

    fn message(&mut self, message: &Value) -> Option<MessageRef> {
        let is_whole = |it: &MessageRef| is_gmail_id(&it.id) && (it.thread_id.is_empty() || is_gmail_id(&it.thread_id));
        let read = MessageRef::deserialize(message).ok().filter(is_whole);
        if read.is_none() {
            match named(message) {
                Some(it) => self.unclear.push(it),
                None => self.unreadable += 1,
            }
        }
        read
    }
}

/// Which message an entry is about, if that can be read.
fn named(message: &Value) -> Option<MessageId2> {
    let id = |key: &str| message[key].as_str().filter(|it| is_gmail_id(it)).map(str::to_owned);
    Some(MessageId2 { id: id("id")?, thread_id: id("threadId").unwrap_or_default() })
}

/// Whether this can be a label's id. No database keeps control characters.
fn is_label_id(id: &str) -> bool {
    (1..=LABEL_ID_LENGTH_MAX).contains(&id.len()) && !id.chars().any(char::is_control)
}

/// A page of messages as Google writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageWire {
    #[serde(default, deserialize_with = "wire::or_default")]
    messages: Vec<Value>,
    #[serde(default, deserialize_with = "wire::maybe_text")]
    next_page_token: Option<String>,
    #[serde(rename = "resultSizeEstimate", default, deserialize_with = "wire::whole_or_zero")]
    estimate: u64,
}

impl From<MessageWire> for MessagePage {
    fn from(wire: MessageWire) -> Self {
        let refs: Vec<MessageId2> = wire.messages.iter().filter_map(named).collect();
        let unreadable = u64::try_from(wire.messages.len() - refs.len()).unwrap_or(u64::MAX);
        Self { refs, unreadable, next_page_token: wire.next_page_token, estimate: wire.estimate }
    }
}

#[derive(Deserialize)]
struct LabelWire {
    #[serde(default, deserialize_with = "wire::or_default")]
    labels: Vec<Value>,
}

impl From<LabelWire> for LabelList {
    fn from(wire: LabelWire) -> Self {
        let read = |it: &Value| Label::deserialize(it).ok().filter(|label| is_label_id(&label.id));
        let labels: Vec<Label> = wire.labels.iter().filter_map(read).collect();
        let unreadable = u64::try_from(wire.labels.len() - labels.len()).unwrap_or(u64::MAX);
        Self { labels, unreadable }
    }
}

/// Takes the headers out of `{"headers":[…]}`.
fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Header>, D::Error> {
    #[derive(Deserialize, Default)]
    struct Payload {
        #[serde(default, deserialize_with = "wire::or_default")]
        headers: Vec<Header>,
    }
    Ok(Option::<Payload>::deserialize(from)?.unwrap_or_default().headers)
}

impl Client {
    /// Gmail for one person.
    pub fn gmail<'a>(&'a self, caller: &'a Caller) -> Gmail<'a> {
        Gmail { client: self, caller }
    }
}

impl<'a> Gmail<'a> {
    fn request(self, call: &'static Call) -> Request<'a> {
        let request = Request::new(call, &self.client.inner.endpoints.gmail);
        request.bearer(&self.caller.access_token).on_behalf(&self.caller.on_behalf, self.caller.purpose)
    }

    /// The mailbox: whose it is, how much it has, where its history is.
    pub async fn profile(self) -> Result<Profile, Error> {
        self.client.read(self.request(&calls::GMAIL_PROFILE)).await
    }

    /// Registers push for the whole mailbox, or renews it. Google sends one notice at once. Asking twice at the same
    /// time for one mailbox fails: callers take turns.
    pub async fn watch(self, topic: &str) -> Result<WatchAnswer, Error> {
        if !is_resource_name(topic) {
            return Err(Error::unsent(calls::GMAIL_WATCH.name, "the topic is not projects/PROJECT/topics/NAME"));
        }
        let body = serde_json::json!({ "topicName": topic });
        self.client.read(self.request(&calls::GMAIL_WATCH).json(body)).await
    }

    /// Ends push. Late notices may still come.
    pub async fn stop(self) -> Result<(), Error> {
        self.client.send(self.request(&calls::GMAIL_STOP)).await
    }

    /// All labels, without counts.
    pub async fn labels(self) -> Result<LabelList, Error> {
        self.client.read(self.request(&calls::GMAIL_LABELS)).await
    }

    /// The counts of one label.
    pub async fn label(self, id: &str) -> Result<LabelCounts, Error> {
        self.client.read(self.request(&calls::GMAIL_LABEL).argument(id)).await
    }

    /// What changed after `start`. Too old a start is [`crate::ErrorKind::CursorGone`].
    pub async fn history(self, start: u64, page_token: Option<&str>) -> Result<HistoryPage, Error> {
        let request = self.request(&calls::GMAIL_HISTORY).query("startHistoryId", start.to_string());
        self.client.read(paged(request.query("maxResults", PAGE_SIZE), page_token)?).await
    }

    /// All messages that carry every one of `label_ids`.
    pub async fn messages(
        self,
        page_token: Option<&str>,
        label_ids: &[&str],
        include_spam_trash: bool,
    ) -> Result<MessagePage, Error> {
        if !label_ids.iter().all(|id| is_gmail_id(id)) {
            return Err(Error::unsent(
                calls::GMAIL_MESSAGES.name,
                "a label id has characters that do not belong there",
            ));
        }
        let mut request = self.request(&calls::GMAIL_MESSAGES).query("maxResults", PAGE_SIZE);
        for id in label_ids {
            request = request.query("labelIds", (*id).to_owned());
        }
        if include_spam_trash {
            request = request.query("includeSpamTrash", "true");
        }
        self.client.read(paged(request, page_token)?).await
    }

    /// One message. [`crate::Refusal::NotFound`] if it is gone, which is ordinary for what history named.
    pub async fn message(self, id: &str) -> Result<Message, Error> {
        self.client.read(metadata(self.request(&calls::GMAIL_MESSAGE).argument(id))).await
    }

    /// One thread with all its messages.
    pub async fn thread(self, id: &str) -> Result<Thread, Error> {
        self.client.read(metadata(self.request(&calls::GMAIL_THREAD).argument(id))).await
    }
}

fn metadata(request: Request<'_>) -> Request<'_> {
    let request = request.query("format", "metadata");
    HEADERS.iter().fold(request, |request, name| request.query("metadataHeaders", *name))
}

fn paged<'a>(request: Request<'a>, page_token: Option<&'a str>) -> Result<Request<'a>, Error> {
    match page_token {
        Some(token) if token.len() > PAGE_TOKEN_LENGTH_MAX => Err(request.refused("the page token is too long")),
        Some(token) => Ok(request.query("pageToken", token)),
        None => Ok(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
        wire::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_history_page_may_lack_everything() {
        let page: HistoryPage = read(r#"{"historyId":"5"}"#);
        assert_eq!(page, HistoryPage { history_id: Some(5), ..HistoryPage::default() });
        let page: HistoryPage = read(r#"{"nextPageToken":"t"}"#);
        assert_eq!((page.next_page_token.as_deref(), page.history_id), (Some("t"), None));
        let page: HistoryPage = read(r#"{"history":[{"id":18446744073709551615}],"nextPageToken":"","historyId":7}"#);
        assert_eq!((page.records[0].id, page.next_page_token, page.history_id), (u64::MAX, None, Some(7)));
    }

    #[test]
    fn a_history_record_of_each_kind() {
        let page: HistoryPage = read(
            r#"{"history":[{"id":"12","messages":[{"id":"a"}],
            "messagesAdded":[{"message":{"id":"a","threadId":"t","labelIds":["INBOX"]}}],
            "messagesDeleted":[{"message":{"id":"b"}}],
            "labelsAdded":[{"message":{"id":"c","threadId":"t","labelIds":["STARRED"]},"labelIds":["STARRED"]}],
            "labelsRemoved":[{"message":{"id":"d","threadId":"t"},"labelIds":["UNREAD"]}]}]}"#,
        );
        assert_eq!((page.records.len(), page.unclear.len(), page.unreadable), (1, 0, 0));
        let record = &page.records[0];
        let labels = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(record.added[0].label_ids, Some(labels(&["INBOX"])));
        assert_eq!((record.deleted[0].id.as_str(), record.deleted[0].label_ids.as_ref()), ("b", None));
        assert_eq!(record.labels_added[0].label_ids, labels(&["STARRED"]));
        assert_eq!((record.labels_removed[0].message.id.as_str(), record.labels_removed.len()), ("d", 1));
    }

    #[test]
    fn what_can_not_be_read_of_a_page_takes_nothing_else_along() {
        let page: HistoryPage = read(
            r#"{"history":[7,null,[],{},{"id":"x","messages":[{"id":"a"}]},{"messagesAdded":[{"message":{"id":"b"}}]},
            {"messagesAdded":[{"message":{"id":"g","threadId":7}}]},
            {"id":"3","messagesAdded":[{},{"message":{"id":"c","threadId":"t"}},{"message":{"id":"a/b"}}]},
            {"id":"4","labelsAdded":[{"message":{"id":"d","threadId":"t"}},{"message":{"id":"e"},"labelIds":[7]}]},
            {"id":"5","messagesDeleted":"all","labelsRemoved":[{"message":{"id":"f","threadId":7},"labelIds":[]}]}],
            "historyId":"9"}"#,
        );
        let unclear: Vec<&str> = page.unclear.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(unclear, ["a", "b", "g", "d", "e", "f"]);
        assert_eq!((page.unclear[3].thread_id.as_str(), page.unclear[5].thread_id.as_str()), ("t", ""));
        assert_eq!((page.unreadable, page.records.len(), page.history_id), (7, 3, Some(9)));
        assert_eq!((page.records[0].added.len(), page.records[0].added[0].id.as_str()), (1, "c"));

        let page: MessagePage = read(
            r#"{"messages":[{"id":"a","threadId":"t"},{"id":"b"},{"id":"c","threadId":{}},{"id":7},null,"x",
            {"id":"a\u0000"}],"nextPageToken":"n"}"#,
        );
        let refs: Vec<_> = page.refs.iter().map(|it| (it.id.as_str(), it.thread_id.as_str())).collect();
        assert_eq!((refs, page.unreadable), (vec![("a", "t"), ("b", ""), ("c", "")], 4));
        let list: LabelList = read(r#"{"labels":[{"id":"INBOX"},{"name":"x"},{"id":"a\u0000"},3]}"#);
        assert_eq!((list.labels.len(), list.unreadable), (1, 3));
    }

    #[test]
    fn a_message_may_lack_labels_and_headers() {
        let bare = r#"{"id":"a","threadId":"t","internalDate":"1700000000123","historyId":"9""#;
        let message: Message = read(&format!("{bare}}}"));
        assert_eq!((message.internal_date_ms, message.history_id, message.size_estimate), (1_700_000_000_123, 9, 0));
        assert!(message.label_ids.is_empty() && message.headers.is_empty());
        let payload = r#""payload":{"headers":[{"name":"to","value":"x"},{"name":"To","value":"y"},{"name":"X"}]}"#;
        let message: Message = read(&format!(r#"{bare},"sizeEstimate":77,{payload}}}"#));
        let values: Vec<_> = message.headers.iter().map(|header| header.value.as_str()).collect();
        assert_eq!((values, message.size_estimate), (vec!["x", "y", ""], 77));
        assert_eq!(read::<Message>(&format!(r#"{bare},"payload":{{"partId":""}}}}"#)).headers, []);
        assert!(wire::parse::<Message>(br#"{"id":"a","threadId":"t"}"#).is_err());
    }

    #[test]
    fn the_other_answers() {
        let page: MessagePage = read(r#"{"resultSizeEstimate":0}"#);
        assert_eq!((page.refs.len(), page.next_page_token, page.estimate), (0, None, 0));
        let thread: Thread = read(r#"{"id":"t","historyId":"3"}"#);
        assert!(thread.messages.is_empty());
        let watch: WatchAnswer = read(r#"{"historyId":"1","expiration":"1431990098200"}"#);
        assert_eq!(watch.expires_at.as_millisecond(), 1_431_990_098_200);
        let profile: Profile = read(r#"{"emailAddress":"A@x.example","messagesTotal":3,"historyId":1234567}"#);
        assert_eq!((profile.messages_total, profile.threads_total, profile.history_id), (3, 0, 1_234_567));
        let list: LabelList =
            read(r#"{"labels":[{"id":"INBOX","name":"INBOX","type":"system"},{"id":"x","type":"new"}]}"#);
        assert_eq!((list.labels[0].kind, list.labels[1].kind), (LabelKind::System, LabelKind::User));
        assert!(read::<LabelList>("{}").labels.is_empty());
        assert_eq!(read::<LabelCounts>(r#"{"id":"INBOX","messagesUnread":4}"#).messages_unread, 4);
    }
}

//! Gmail, as far as `gmail.metadata` reaches: headers, labels and history. Never a body, never a snippet.
//!
//! Source: Gmail's discovery document and its guides on synchronization and push. A reader must not break: every
//! message is asked for with `format=metadata` (leaving it out means FULL, which the scope forbids), no search query is
//! ever sent, and no type here has room for what was written.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

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

/// A page of what changed. A page may be empty and still have a next one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// In order; ids rise, with gaps.
    #[serde(rename = "history", default, deserialize_with = "wire::or_default")]
    pub records: Vec<HistoryRecord>,
    /// How to ask for the next page.
    #[serde(default, deserialize_with = "wire::maybe_text")]
    pub next_page_token: Option<String>,
    /// Where the mailbox is now. A cursor only after the last page was applied.
    #[serde(default, deserialize_with = "wire::maybe_whole")]
    pub history_id: Option<u64>,
}

/// One change of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRecord {
    /// Its place in the history.
    #[serde(deserialize_with = "wire::whole")]
    pub id: u64,
    /// New messages; they may be gone again already.
    #[serde(rename = "messagesAdded", default, deserialize_with = "unwrapped")]
    pub added: Vec<MessageRef>,
    /// Messages that are gone for good; the trash is a label instead.
    #[serde(rename = "messagesDeleted", default, deserialize_with = "unwrapped")]
    pub deleted: Vec<MessageRef>,
    /// Labels that were put on. What filters put on at delivery is in `added` instead.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub labels_added: Vec<LabelDelta>,
    /// Labels that were taken off.
    #[serde(default, deserialize_with = "wire::or_default")]
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
    #[serde(default, deserialize_with = "wire::or_default")]
    pub label_ids: Vec<String>,
}

/// A page of messages, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessagePage {
    /// The messages.
    #[serde(rename = "messages", default, deserialize_with = "wire::or_default")]
    pub refs: Vec<MessageId2>,
    /// How to ask for the next page.
    #[serde(default, deserialize_with = "wire::maybe_text")]
    pub next_page_token: Option<String>,
    /// Google's guess at the total; good for a progress bar at most.
    #[serde(rename = "resultSizeEstimate", default, deserialize_with = "wire::whole_or_zero")]
    pub estimate: u64,
}

/// A message and its thread.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageId2 {
    /// The message.
    pub id: String,
    /// Its thread.
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

#[derive(Deserialize)]
struct LabelList {
    #[serde(default, deserialize_with = "wire::or_default")]
    labels: Vec<Label>,
}

/// Takes the messages out of `[{"message":{…}}]`.
fn unwrapped<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<MessageRef>, D::Error> {
    #[derive(Deserialize)]
    struct Wrapped {
        message: MessageRef,
    }
    let wrapped = Option::<Vec<Wrapped>>::deserialize(from)?.unwrap_or_default();
    Ok(wrapped.into_iter().map(|wrapped| wrapped.message).collect())
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
    pub async fn labels(self) -> Result<Vec<Label>, Error> {
        let list: LabelList = self.client.read(self.request(&calls::GMAIL_LABELS)).await?;
        Ok(list.labels)
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
        assert_eq!(page, HistoryPage { records: vec![], next_page_token: None, history_id: Some(5) });
        let page: HistoryPage = read(r#"{"nextPageToken":"t"}"#);
        assert_eq!((page.next_page_token.as_deref(), page.history_id), (Some("t"), None));
        let page: HistoryPage = read(r#"{"history":[{"id":18446744073709551615}],"nextPageToken":"","historyId":7}"#);
        assert_eq!((page.records[0].id, page.next_page_token, page.history_id), (u64::MAX, None, Some(7)));
    }

    #[test]
    fn a_history_record_of_each_kind() {
        let record: HistoryRecord = read(
            r#"{"id":"12","messages":[{"id":"a"}],
            "messagesAdded":[{"message":{"id":"a","threadId":"t","labelIds":["INBOX"]}}],
            "messagesDeleted":[{"message":{"id":"b"}}],
            "labelsAdded":[{"message":{"id":"c","threadId":"t","labelIds":["STARRED"]},"labelIds":["STARRED"]}],
            "labelsRemoved":[{"message":{"id":"d","threadId":"t"},"labelIds":["UNREAD"]}]}"#,
        );
        let labels = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(record.added[0].label_ids, Some(labels(&["INBOX"])));
        assert_eq!((record.deleted[0].id.as_str(), record.deleted[0].label_ids.as_ref()), ("b", None));
        assert_eq!(record.labels_added[0].label_ids, labels(&["STARRED"]));
        assert_eq!((record.labels_removed[0].message.id.as_str(), record.labels_removed.len()), ("d", 1));
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

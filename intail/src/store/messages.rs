//! Messages as Google shows them under the metadata scope: headers, labels, dates, sizes. There is no place for a body.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::directory_people::like;
use super::sql::{Columns, Tx, Value, args, listed};
use crate::id::{HistoryId, MailboxId, OrganizationId};

/// Values of a message's row and of a label's.
const ROW_VALUES: usize = 14;
const LABEL_VALUES: usize = 5;
/// Addresses of one person that are looked for: Google gives nobody more than a few dozen.
const ADDRESSES_MAX: usize = 500;

/// A message's stored state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Gmail's id, unique within the mailbox.
    pub id: String,
    /// Gmail's thread.
    pub thread_id: String,
    /// When Google took it in, in milliseconds since 1970 (`internalDate`). The Date header proves nothing.
    pub received_ms: i64,
    /// Google's estimate of the whole message's size.
    pub size_bytes: i64,
    /// The last history record that this state includes.
    pub history_id: HistoryId,
    /// Its labels' ids, in order.
    pub labels: Vec<String>,
    /// The subject, decoded; empty when there is none. See [`Message::subject_form`].
    pub subject: String,
    /// What `subject` holds: the subject itself, a tag in its place, or nothing.
    pub subject_form: SubjectForm,
    /// The sender's name, decoded; empty when there is none.
    pub sender_name: String,
    /// The sender's address; empty when there is none.
    pub sender_address: String,
    /// The other headers that Intail asks for, decoded and bounded: name in lower case → values in order.
    pub headers: BTreeMap<String, Vec<String>>,
}

/// How a subject is kept, the strictest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectForm {
    /// As it is.
    #[default]
    Plain,
    /// As a tag: equal subjects have equal tags, and nobody reads the subject from it.
    Hashed,
    /// Not at all.
    Dropped,
}

impl SubjectForm {
    /// All of them, the strictest last.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Hashed, Self::Dropped];

    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hashed => "hashed",
            Self::Dropped => "dropped",
        }
    }
}

impl FromStr for SubjectForm {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.word() == word).ok_or(())
    }
}

pub(super) fn message(row: &dyn Columns) -> Result<Message, StoreError> {
    Ok(Message {
        id: row.text("message_id")?,
        thread_id: row.text("thread_id")?,
        received_ms: row.int("received_ms")?,
        size_bytes: row.int("size_bytes")?,
        history_id: row.parsed("history_id")?,
        labels: json(row, "labels")?,
        subject: row.text("subject")?,
        subject_form: row.parsed("subject_form")?,
        sender_name: row.text("sender_name")?,
        sender_address: row.text("sender_address")?,
        headers: json(row, "headers")?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &dyn Columns, column: &'static str) -> Result<T, StoreError> {
    let text = row.text(column)?;
    serde_json::from_str(&text).map_err(|_| StoreError::Inconsistent { column, value: text })
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// One message.
pub async fn by_id(tx: &mut Tx, mailbox: &MailboxId, id: &str) -> Result<Option<Message>, StoreError> {
    tx.one("SELECT * FROM messages WHERE mailbox_id = $1 AND message_id = $2", args![mailbox, id], message).await
}

/// Those of these messages that are stored, by id.
pub async fn by_ids(tx: &mut Tx, mailbox: &MailboxId, ids: &[String]) -> Result<BTreeMap<String, Message>, StoreError> {
    let sql = "SELECT * FROM messages WHERE mailbox_id = $1 AND message_id IN ({among})";
    let found = tx.all_among(sql, args![mailbox], ids, message).await?;
    Ok(found.into_iter().map(|it| (it.id.clone(), it)).collect())
}

/// Writes messages that aren't stored yet, each told once; `pass` is the listing pass that saw them last.
pub async fn add(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    messages: &[Message],
    pass: i64,
) -> Result<(), StoreError> {
    let mut values: Vec<Value> = Vec::with_capacity(messages.len() * ROW_VALUES);
    for message in messages {
        values.extend(args![organization, mailbox, &message.id]);
        values.extend(state(message, pass));
    }
    let into =
        "messages (organization_id, mailbox_id, message_id, thread_id, received_ms, size_bytes, history_id, labels,
        subject, sender_name, sender_address, headers, listing_pass, subject_form)";
    tx.insert(into, ROW_VALUES, values, "").await?;
    let labels: Vec<(&Message, &String)> =
        messages.iter().flat_map(|it| it.labels.iter().map(move |label| (it, label))).collect();
    label(tx, organization, mailbox, &labels).await
}

/// Puts a message's state in the place of what was stored before; `pass` is the listing pass that saw it last.
pub async fn put(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    message: &Message,
    before: &Message,
    pass: i64,
) -> Result<(), StoreError> {
    let mut values = args![mailbox, &message.id];
    values.extend(state(message, pass));
    tx.run(
        "UPDATE messages SET thread_id = $3, received_ms = $4, size_bytes = $5, history_id = $6, labels = $7,
             subject = $8, sender_name = $9, sender_address = $10, headers = $11, listing_pass = $12,
             subject_form = $13
         WHERE mailbox_id = $1 AND message_id = $2",
        values,
    )
    .await?;
    let has_moved = before.received_ms != message.received_ms;
    for label in before.labels.iter().filter(|label| has_moved || !message.labels.contains(label)) {
        unlabel(tx, mailbox, before, label).await?;
    }
    let added = message.labels.iter().filter(|label| has_moved || !before.labels.contains(label));
    let added: Vec<(&Message, &String)> = added.map(|label| (message, label)).collect();
    label(tx, organization, mailbox, &added).await
}

/// The columns of a message behind its id.
fn state(message: &Message, pass: i64) -> Vec<Value> {
    args![
        &message.thread_id,
        message.received_ms,
        message.size_bytes,
        message.history_id,
        to_json(&message.labels),
        &message.subject,
        &message.sender_name,
        &message.sender_address,
        to_json(&message.headers),
        pass,
        message.subject_form.word()
    ]
}

/// Lets messages be found by these labels.
async fn label(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    labels: &[(&Message, &String)],
) -> Result<(), StoreError> {
    let mut values: Vec<Value> = Vec::with_capacity(labels.len() * LABEL_VALUES);
    for (message, label) in labels {
        values.extend(args![organization, mailbox, *label, message.received_ms, &message.id]);
    }
    let into = "message_labels (organization_id, mailbox_id, label_id, received_ms, message_id)";
    tx.insert(into, LABEL_VALUES, values, "ON CONFLICT DO NOTHING").await
}

async fn unlabel(tx: &mut Tx, mailbox: &MailboxId, message: &Message, label: &str) -> Result<(), StoreError> {
    tx.run(
        "DELETE FROM message_labels
         WHERE mailbox_id = $1 AND label_id = $2 AND received_ms = $3 AND message_id = $4",
        args![mailbox, label, message.received_ms, &message.id],
    )
    .await?;
    Ok(())
}

/// Puts a tag, or nothing, in the place of a stored subject.
pub async fn set_subject(
    tx: &mut Tx,
    mailbox: &MailboxId,
    id: &str,
    subject: &str,
    form: SubjectForm,
) -> Result<(), StoreError> {
    tx.run(
        "UPDATE messages SET subject = $3, subject_form = $4 WHERE mailbox_id = $1 AND message_id = $2",
        args![mailbox, id, subject, form.word()],
    )
    .await?;
    Ok(())
}

/// Deletes a message; answers whether it was there.
pub async fn delete(tx: &mut Tx, mailbox: &MailboxId, message: &Message) -> Result<bool, StoreError> {
    for label in &message.labels {
        unlabel(tx, mailbox, message, label).await?;
    }
    let gone =
        tx.run("DELETE FROM messages WHERE mailbox_id = $1 AND message_id = $2", args![mailbox, &message.id]).await?;
    Ok(gone == 1)
}

/// Marks the messages that a listing pass has seen.
pub async fn seen(tx: &mut Tx, mailbox: &MailboxId, ids: &[String], pass: i64) -> Result<(), StoreError> {
    let sql = "UPDATE messages SET listing_pass = $1 WHERE mailbox_id = $2 AND message_id IN ({among})";
    tx.run_among(sql, args![pass, mailbox], ids).await?;
    Ok(())
}

/// Messages that a complete pass hasn't seen: gone at Google. `limit` bounds it.
pub async fn unseen(tx: &mut Tx, mailbox: &MailboxId, pass: i64, limit: i64) -> Result<Vec<Message>, StoreError> {
    tx.all(
        "SELECT * FROM messages WHERE mailbox_id = $1 AND listing_pass < $2 ORDER BY message_id LIMIT $3",
        args![mailbox, pass, limit],
        message,
    )
    .await
}

/// How many a complete pass hasn't seen.
pub async fn count_unseen(tx: &mut Tx, mailbox: &MailboxId, pass: i64) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) AS n FROM messages WHERE mailbox_id = $1 AND listing_pass < $2";
    let count = tx.one(sql, args![mailbox, pass], |row| row.int("n")).await?;
    Ok(count.unwrap_or(0))
}

/// Messages in order of their ids, from behind this one. `limit` bounds it.
pub async fn after_id(tx: &mut Tx, mailbox: &MailboxId, id: &str, limit: i64) -> Result<Vec<Message>, StoreError> {
    tx.all(
        "SELECT * FROM messages WHERE mailbox_id = $1 AND message_id > $2 ORDER BY message_id LIMIT $3",
        args![mailbox, id, limit],
        message,
    )
    .await
}

/// How many messages don't hold their subject, by what they hold in its place.
pub async fn count_hidden(tx: &mut Tx, mailbox: &MailboxId) -> Result<(i64, i64), StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(CASE WHEN subject_form = 'hashed' THEN 1 END) AS hashed,
                 COUNT(CASE WHEN subject_form = 'dropped' THEN 1 END) AS dropped
             FROM messages WHERE mailbox_id = $1",
            args![mailbox],
            |row| Ok((row.int("hashed")?, row.int("dropped")?)),
        )
        .await?;
    Ok(count.unwrap_or((0, 0)))
}

/// How many messages are stored.
pub async fn count(tx: &mut Tx, mailbox: &MailboxId) -> Result<i64, StoreError> {
    let count =
        tx.one("SELECT COUNT(*) AS n FROM messages WHERE mailbox_id = $1", args![mailbox], |row| row.int("n")).await?;
    Ok(count.unwrap_or(0))
}

/// How many messages of a mailbox carry one of these labels.
pub async fn count_labelled(tx: &mut Tx, mailbox: &MailboxId, labels: &[&str]) -> Result<i64, StoreError> {
    let sql = format!(
        "SELECT COUNT(DISTINCT message_id) AS n FROM message_labels WHERE mailbox_id = $1 AND label_id IN ({})",
        listed(labels.len(), 2)
    );
    let mut values = args![mailbox];
    values.extend(labels.iter().map(|it| Value::from(*it)));
    Ok(tx.all_built(sql, values, |row| row.int("n")).await?.into_iter().next().unwrap_or(0))
}

/// How many messages of a mailbox carry this label and one of these besides.
pub async fn count_labelled_both(
    tx: &mut Tx,
    mailbox: &MailboxId,
    label: &str,
    besides: &[&str],
) -> Result<i64, StoreError> {
    let sql = format!(
        "SELECT COUNT(DISTINCT message_id) AS n FROM message_labels WHERE mailbox_id = $1 AND label_id = $2
             AND message_id IN (SELECT message_id FROM message_labels WHERE mailbox_id = $1 AND label_id IN ({}))",
        listed(besides.len(), 3)
    );
    let mut values = args![mailbox, label];
    values.extend(besides.iter().map(|it| Value::from(*it)));
    Ok(tx.all_built(sql, values, |row| row.int("n")).await?.into_iter().next().unwrap_or(0))
}

/// Where a page of a list begins: after this message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Its instant, in milliseconds since 1970.
    pub received_ms: i64,
    /// Its id, for messages of the same instant.
    pub id: String,
}

/// A page of a mailbox, newest first: all messages, or those with one label. `limit` bounds it.
pub async fn page(
    tx: &mut Tx,
    mailbox: &MailboxId,
    label: Option<&str>,
    after: Option<&After>,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let (ms, id) = after.map_or((i64::MAX, ""), |it| (it.received_ms, it.id.as_str()));
    match label {
        None => {
            tx.all(
                "SELECT * FROM messages WHERE mailbox_id = $1 AND (received_ms, message_id) < ($2, $3)
                 ORDER BY received_ms DESC, message_id DESC LIMIT $4",
                args![mailbox, ms, id, limit],
                message,
            )
            .await
        }
        Some(label) => {
            tx.all(
                "SELECT m.* FROM message_labels l
                 JOIN messages m ON m.mailbox_id = l.mailbox_id AND m.message_id = l.message_id
                 WHERE l.mailbox_id = $1 AND l.label_id = $2 AND (l.received_ms, l.message_id) < ($3, $4)
                 ORDER BY l.received_ms DESC, l.message_id DESC LIMIT $5",
                args![mailbox, label, ms, id, limit],
                message,
            )
            .await
        }
    }
}

/// The newest messages from or to one of these addresses (lower-case), newest first. Only the newest `searched` of the
/// mailbox are looked through, because headers have no index; `limit` bounds what is answered.
pub async fn with_addresses(
    tx: &mut Tx,
    mailbox: &MailboxId,
    addresses: &[&str],
    searched: i64,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let some = &addresses[..addresses.len().min(ADDRESSES_MAX)];
    if some.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = args![mailbox, searched, limit];
    let fits = some.iter().map(|address| {
        let from = values.len() + 1;
        values.extend(args![*address, like(address)]);
        format!("n.sender_address = ${from} OR LOWER(n.headers) LIKE ${} ESCAPE '!'", from + 1)
    });
    let fits = fits.collect::<Vec<String>>().join(" OR ");
    let sql = format!(
        "SELECT n.* FROM (SELECT * FROM messages WHERE mailbox_id = $1
             ORDER BY received_ms DESC, message_id DESC LIMIT $2) AS n
         WHERE {fits} ORDER BY n.received_ms DESC, n.message_id DESC LIMIT $3"
    );
    let found = tx.all_built(sql, values, message).await?;
    // As a part of a longer address it is somebody else's.
    let is_with = |it: &Message, address: &str| {
        it.sender_address == address
            || it.headers.values().flatten().any(|value| mentions(&value.to_lowercase(), address))
    };
    Ok(found.into_iter().filter(|it| some.iter().any(|address| is_with(it, address))).collect())
}

/// Whether a text names this address and not only a longer one that it is a part of.
fn mentions(text: &str, address: &str) -> bool {
    let goes_on = |letter: char| letter.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.@".contains(letter);
    text.match_indices(address).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + address.len()..].chars().next());
        !before.is_some_and(goes_on) && !after.is_some_and(goes_on)
    })
}

/// The messages of a thread, oldest first. `limit` bounds it.
pub async fn of_thread(
    tx: &mut Tx,
    mailbox: &MailboxId,
    thread_id: &str,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    tx.all(
        "SELECT * FROM messages WHERE mailbox_id = $1 AND thread_id = $2 ORDER BY received_ms, message_id LIMIT $3",
        args![mailbox, thread_id, limit],
        message,
    )
    .await
}

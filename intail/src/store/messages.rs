//! Messages as Google shows them under the metadata scope: headers, labels, dates, sizes. There is no place for a body.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::directory_people::like;
use super::sql::{Columns, Tx, Value, args};
use crate::id::{HistoryId, MailboxId, OrganizationId};

/// The most ids in one statement; SQLite allows 32,766 bound values and the plans stay good far below that.
const IDS_MAX: usize = 500;

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
    let mut found = BTreeMap::new();
    for chunk in ids.chunks(IDS_MAX) {
        let places: Vec<String> = (0..chunk.len()).map(|at| format!("${}", at + 2)).collect();
        let sql = format!("SELECT * FROM messages WHERE mailbox_id = $1 AND message_id IN ({})", places.join(","));
        let mut values = args![mailbox];
        values.extend(chunk.iter().map(Value::from));
        found.extend(tx.all_built(sql, values, message).await?.into_iter().map(|it| (it.id.clone(), it)));
    }
    Ok(found)
}

/// Writes a message's state whole, replacing what was stored; `pass` is the listing pass that saw it last.
pub async fn put(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    message: &Message,
    before: Option<&Message>,
    pass: i64,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO messages (organization_id, mailbox_id, message_id, thread_id, received_ms, size_bytes, history_id,
             labels, subject, sender_name, sender_address, headers, listing_pass, subject_form)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (mailbox_id, message_id) DO UPDATE SET thread_id = excluded.thread_id,
             received_ms = excluded.received_ms, size_bytes = excluded.size_bytes, history_id = excluded.history_id,
             labels = excluded.labels, subject = excluded.subject, sender_name = excluded.sender_name,
             sender_address = excluded.sender_address, headers = excluded.headers,
             listing_pass = excluded.listing_pass, subject_form = excluded.subject_form",
        args![
            organization,
            mailbox,
            &message.id,
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
        ],
    )
    .await?;
    let none = Vec::new();
    let (old, old_ms) = before.map_or((&none, message.received_ms), |it| (&it.labels, it.received_ms));
    for label in old.iter().filter(|label| old_ms != message.received_ms || !message.labels.contains(label)) {
        tx.run(
            "DELETE FROM message_labels
             WHERE mailbox_id = $1 AND label_id = $2 AND received_ms = $3 AND message_id = $4",
            args![mailbox, label, old_ms, &message.id],
        )
        .await?;
    }
    for label in message.labels.iter().filter(|label| old_ms != message.received_ms || !old.contains(label)) {
        tx.run(
            "INSERT INTO message_labels (organization_id, mailbox_id, label_id, received_ms, message_id)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            args![organization, mailbox, label, message.received_ms, &message.id],
        )
        .await?;
    }
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
        tx.run(
            "DELETE FROM message_labels
             WHERE mailbox_id = $1 AND label_id = $2 AND received_ms = $3 AND message_id = $4",
            args![mailbox, label, message.received_ms, &message.id],
        )
        .await?;
    }
    let gone =
        tx.run("DELETE FROM messages WHERE mailbox_id = $1 AND message_id = $2", args![mailbox, &message.id]).await?;
    Ok(gone == 1)
}

/// Marks the messages that a listing pass has seen.
pub async fn seen(tx: &mut Tx, mailbox: &MailboxId, ids: &[String], pass: i64) -> Result<(), StoreError> {
    for chunk in ids.chunks(IDS_MAX) {
        let places: Vec<String> = (0..chunk.len()).map(|at| format!("${}", at + 3)).collect();
        let sql = format!(
            "UPDATE messages SET listing_pass = $2 WHERE mailbox_id = $1 AND message_id IN ({})",
            places.join(",")
        );
        let mut values = args![mailbox, pass];
        values.extend(chunk.iter().map(Value::from));
        tx.run_built(sql, values).await?;
    }
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
    let places: Vec<String> = (2..labels.len() + 2).map(|n| format!("${n}")).collect();
    let sql = format!(
        "SELECT COUNT(DISTINCT message_id) AS n FROM message_labels WHERE mailbox_id = $1 AND label_id IN ({})",
        places.join(", ")
    );
    let mut values = args![mailbox];
    values.extend(labels.iter().map(|it| Value::from(*it)));
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
    let some = &addresses[..addresses.len().min(IDS_MAX)];
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
    tx.all_built(sql, values, message).await
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

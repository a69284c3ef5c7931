//! The feed: every change of an organization's data, in one order, numbered without gaps. Numbers are given under the
//! organization's row lock inside the transaction that they describe, so a reader never sees number n + 1 before n.
//!
//! A change names what moved; the state itself is joined from the rows when the change is read. So a reader that folds
//! the feed ends with the rows, and erasing a person leaves nothing in the feed.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::StoreError;
use super::messages::{Message, message};
use super::sql::{Columns, ROWS_MAX, Tx, Value, args, places};
use crate::id::{MailboxId, OrganizationId, PersonId};

/// A change that is about to be written.
#[derive(Clone, Debug)]
pub struct NewChange {
    /// What happened, in one dotted word: `message.added`.
    pub kind: &'static str,
    /// What it happened to: a message's or a label's id; empty for the mailbox itself.
    pub subject_id: String,
    /// What moved, beside the state that is joined at reading: labels added and removed.
    pub data: Json,
}

/// A change as it is read.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number within the organization.
    pub seq: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// Whose mailbox it is.
    pub person_id: PersonId,
    /// The mailbox.
    pub mailbox_id: MailboxId,
    /// What happened.
    pub kind: String,
    /// What it happened to.
    pub subject_id: String,
    /// What moved.
    pub data: Json,
    /// The message as it is now; none when it has gone since, or when the change isn't about a message.
    pub message: Option<Message>,
}

fn change(row: &dyn Columns) -> Result<Change, StoreError> {
    let data = row.text("data")?;
    let joined = row.text_or_null("message_id")?;
    Ok(Change {
        seq: row.int("seq")?,
        at: row.at("at")?,
        person_id: row.parsed("person_id")?,
        mailbox_id: row.parsed("of_mailbox_id")?,
        kind: row.text("kind")?,
        subject_id: row.text("subject_id")?,
        data: serde_json::from_str(&data).map_err(|_| StoreError::Inconsistent { column: "data", value: data })?,
        message: joined.map(|_| message(row)).transpose()?,
    })
}

const READ: &str = "SELECT c.seq, c.at, c.person_id, c.mailbox_id AS of_mailbox_id, c.kind, c.subject_id, c.data, m.*
     FROM changes c LEFT JOIN messages m ON m.mailbox_id = c.mailbox_id AND m.message_id = c.subject_id";

/// Values of one row.
const ROW_VALUES: usize = 8;

/// Whose feed a change goes to.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The organization.
    pub organization: &'a OrganizationId,
    /// The person.
    pub person: &'a PersonId,
    /// The mailbox.
    pub mailbox: &'a MailboxId,
}

/// Appends changes; answers the last number given, or none when there was nothing to append. Call it last before the
/// commit: from here on, other writers of the organization's feed wait.
pub async fn append(tx: &mut Tx, of: Of<'_>, changes: &[NewChange], now: Timestamp) -> Result<Option<i64>, StoreError> {
    if changes.is_empty() {
        return Ok(None);
    }
    let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let last = tx
        .one(
            "UPDATE organizations SET feed_seq = feed_seq + $2 WHERE id = $1 RETURNING feed_seq",
            args![of.organization, count],
            |row| row.int("feed_seq"),
        )
        .await?
        .ok_or(StoreError::LeaseLost)?;
    let mut seq = last - count;
    for chunk in changes.chunks(ROWS_MAX) {
        let mut values: Vec<Value> = Vec::with_capacity(chunk.len() * ROW_VALUES);
        for change in chunk {
            seq += 1;
            values.extend(args![
                of.organization,
                seq,
                now,
                of.person,
                of.mailbox,
                change.kind,
                &change.subject_id,
                change.data.to_string()
            ]);
        }
        let sql = format!(
            "INSERT INTO changes (organization_id, seq, at, person_id, mailbox_id, kind, subject_id, data) VALUES {}",
            places(chunk.len(), ROW_VALUES)
        );
        tx.run_built(sql, values).await?;
    }
    Ok(Some(last))
}

/// A person's changes after number `after`, in order. `limit` bounds it.
pub async fn of_person(tx: &mut Tx, person: &PersonId, after: i64, limit: i64) -> Result<Vec<Change>, StoreError> {
    let sql = format!("{READ} WHERE c.person_id = $1 AND c.seq > $2 ORDER BY c.seq LIMIT $3");
    tx.all_built(sql, args![person, after, limit], change).await
}

/// A person's newest changes, newest first, before number `before`. `limit` bounds it.
pub async fn newest_of_person(
    tx: &mut Tx,
    person: &PersonId,
    before: i64,
    limit: i64,
) -> Result<Vec<Change>, StoreError> {
    let sql = format!("{READ} WHERE c.person_id = $1 AND c.seq < $2 ORDER BY c.seq DESC LIMIT $3");
    tx.all_built(sql, args![person, before, limit], change).await
}

/// Takes the labels out of what the feed told of messages that may not be kept; that there was something, and that it
/// has gone, stays. A reader who folds the feed ends with the same.
pub async fn hush(tx: &mut Tx, of: Of<'_>, message_ids: &[String]) -> Result<(), StoreError> {
    for chunk in message_ids.chunks(ROWS_MAX) {
        let places: Vec<String> = (3..chunk.len() + 3).map(|n| format!("${n}")).collect();
        let sql = format!(
            "UPDATE changes SET data = '{{}}'
             WHERE person_id = $1 AND mailbox_id = $2 AND kind IN ('message.added', 'message.changed')
                 AND subject_id IN ({})",
            places.join(",")
        );
        let mut values = args![of.person, of.mailbox];
        values.extend(chunk.iter().map(Value::from));
        tx.run_built(sql, values).await?;
    }
    Ok(())
}

/// The last number that an organization's feed has given.
pub async fn last_seq(tx: &mut Tx, organization: &OrganizationId) -> Result<i64, StoreError> {
    let last = tx
        .one("SELECT feed_seq FROM organizations WHERE id = $1", args![organization], |row| row.int("feed_seq"))
        .await?;
    Ok(last.unwrap_or(0))
}

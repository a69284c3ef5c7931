//! The feed: every change of an organization's data, in one order, numbered without gaps. Most changes are one
//! person's; those of the directory are everybody's. Numbers are given under the
//! organization's row lock inside the transaction that they describe, so a reader never sees number n + 1 before n.
//!
//! A change names what moved; the state itself is joined from the rows when the change is read. So a reader that folds
//! the feed ends with the rows, and erasing a person leaves nothing in the feed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::directory_people::{self, DirectoryPerson};
use super::events::{self, Event};
use super::messages::{Message, message};
use super::sql::{Columns, Tx, Value, args};
use super::{StoreError, people};
use crate::id::{AgendaId, OrganizationId, PersonId, StreamId};

/// A change that is about to be written.
#[derive(Clone, Debug)]
pub struct NewChange {
    /// What happened, in one dotted word: `message.added`.
    pub kind: &'static str,
    /// What it happened to: a message's, a label's, a calendar's or an event's id; empty for the stream itself.
    pub subject_id: String,
    /// What moved, beside the state that is joined at reading: labels added and removed. A change of an event names its
    /// calendar in `calendar_id`.
    pub data: Json,
}

/// A change as it is read.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number within the organization.
    pub seq: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// Whose it is; everybody's of the organization when it is nobody's.
    pub person_id: Option<PersonId>,
    /// What it happened in.
    pub stream: StreamId,
    /// What happened.
    pub kind: String,
    /// What it happened to.
    pub subject_id: String,
    /// What moved.
    pub data: Json,
    /// The message as it is now; none when it has gone since, or when the change isn't about a message.
    pub message: Option<Message>,
    /// The event as it is now; none when it has gone since, or when the change isn't about an event.
    pub event: Option<Event>,
    /// The person of the directory as everybody sees them now; none when they have gone since or aren't shown any more,
    /// or when the change isn't about one.
    pub directory_person: Option<DirectoryPerson>,
}

impl Change {
    /// The calendar of the event that the change is about.
    fn calendar_id(&self) -> Option<&str> {
        self.kind.starts_with("event.").then(|| self.data.get("calendar_id")?.as_str()).flatten()
    }
}

fn change(row: &dyn Columns) -> Result<Change, StoreError> {
    let data = row.text("data")?;
    let joined = row.text_or_null("message_id")?;
    Ok(Change {
        seq: row.int("seq")?,
        at: row.at("at")?,
        person_id: Some(row.text("person_id")?)
            .filter(|it| !it.is_empty())
            .map(|_| row.parsed("person_id"))
            .transpose()?,
        stream: row.parsed("stream_id")?,
        kind: row.text("kind")?,
        subject_id: row.text("subject_id")?,
        data: serde_json::from_str(&data).map_err(|_| StoreError::Inconsistent { column: "data", value: data })?,
        message: joined.map(|_| message(row)).transpose()?,
        event: None,
        directory_person: None,
    })
}

/// The changes that a person may read: their own and everybody's, `$2` being a number of the feed and `$3` a bound.
fn read(compared: &str, order: &str) -> String {
    let some = |whose: &str, name: &str| {
        format!(
            "SELECT * FROM (SELECT seq, at, person_id, stream_id, kind, subject_id, data FROM changes
                 WHERE {whose} AND seq {compared} $2 ORDER BY seq {order} LIMIT $3) AS {name}"
        )
    };
    let own = some("person_id = $1", "own");
    // The empty text stands for everybody; an index holds only those. Everybody's changes are the directory's: they are
    // told to those who let Intail read it.
    let shared = "person_id = '' AND organization_id = (SELECT organization_id FROM grants
                 WHERE person_id = $1 AND scopes LIKE '%/auth/admin.directory.user.readonly%')";
    let shared = some(shared, "everybodys");
    format!(
        "SELECT c.seq, c.at, c.person_id, c.stream_id, c.kind, c.subject_id, c.data, m.*
         FROM ({own} UNION ALL {shared}) AS c
         LEFT JOIN messages m ON m.mailbox_id = c.stream_id AND m.message_id = c.subject_id
         ORDER BY c.seq {order} LIMIT $3"
    )
}

/// Values of one row.
const ROW_VALUES: usize = 8;

/// Whose feed a change goes to.
#[derive(Clone, Debug)]
pub struct Of<'a> {
    /// The organization.
    pub organization: &'a OrganizationId,
    /// The person; none when everybody of the organization may read it.
    pub person: Option<&'a PersonId>,
    /// What it happens in.
    pub stream: StreamId,
}

impl Of<'_> {
    fn person(&self) -> &str {
        self.person.map_or("", PersonId::as_str)
    }
}

/// Appends changes; answers the last number given, or none when there was nothing to append. Call it last before the
/// commit: from here on, other writers of the organization's feed wait.
pub async fn append(tx: &mut Tx, of: Of<'_>, changes: &[NewChange], now: Timestamp) -> Result<Option<i64>, StoreError> {
    if changes.is_empty() {
        return Ok(None);
    }
    // A number that a consumer has read is never given to another change.
    tx.reach_disk();
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
    let mut values: Vec<Value> = Vec::with_capacity(changes.len() * ROW_VALUES);
    for change in changes {
        seq += 1;
        values.extend(args![
            of.organization,
            seq,
            now,
            of.person(),
            &of.stream,
            change.kind,
            &change.subject_id,
            change.data.to_string()
        ]);
    }
    let into = "changes (organization_id, seq, at, person_id, stream_id, kind, subject_id, data)";
    tx.insert(into, ROW_VALUES, values, "").await?;
    Ok(Some(last))
}

/// A person's changes after number `after`, and everybody's of their organization, in order. `limit` bounds it.
pub async fn of_person(tx: &mut Tx, person: &PersonId, after: i64, limit: i64) -> Result<Vec<Change>, StoreError> {
    let listed = tx.all_built(read(">", "ASC"), args![person, after, limit], change).await?;
    let listed = with_events(tx, listed).await?;
    with_people(tx, person, listed).await
}

/// Joins the people of the directory as everybody sees them now.
async fn with_people(tx: &mut Tx, reader: &PersonId, mut listed: Vec<Change>) -> Result<Vec<Change>, StoreError> {
    let is_ours = |it: &&mut Change| matches!(it.stream, StreamId::Directory(_));
    let ids: Vec<String> = listed.iter_mut().filter(is_ours).map(|it| it.subject_id.clone()).collect();
    if ids.is_empty() {
        return Ok(listed);
    }
    let Some(reader) = people::by_id(tx, reader).await? else { return Ok(listed) };
    let found = directory_people::by_ids(tx, &reader.organization_id, &ids).await?;
    for change in listed.iter_mut().filter(is_ours) {
        change.directory_person = found.get(&change.subject_id).filter(|it| it.is_shown()).cloned();
    }
    Ok(listed)
}

/// Joins the events as they are now.
async fn with_events(tx: &mut Tx, mut listed: Vec<Change>) -> Result<Vec<Change>, StoreError> {
    let mut wanted: BTreeMap<(AgendaId, String), Vec<String>> = BTreeMap::new();
    for change in &listed {
        if let (StreamId::Calendar(agenda), Some(calendar)) = (&change.stream, change.calendar_id()) {
            wanted.entry((agenda.clone(), calendar.to_owned())).or_default().push(change.subject_id.clone());
        }
    }
    let mut found = BTreeMap::new();
    for ((agenda, calendar), ids) in wanted {
        let events = events::by_ids(tx, &agenda, &calendar, &ids).await?;
        found.insert((agenda, calendar), events);
    }
    for change in &mut listed {
        if let (StreamId::Calendar(agenda), Some(calendar)) = (&change.stream, change.calendar_id()) {
            let of_calendar = found.get(&(agenda.clone(), calendar.to_owned()));
            change.event = of_calendar.and_then(|it| it.get(&change.subject_id)).cloned();
        }
    }
    Ok(listed)
}

/// A person's newest changes, and everybody's of their organization, newest first, before number `before`. `limit`
/// bounds it.
pub async fn newest_of_person(
    tx: &mut Tx,
    person: &PersonId,
    before: i64,
    limit: i64,
) -> Result<Vec<Change>, StoreError> {
    let listed = tx.all_built(read("<", "DESC"), args![person, before, limit], change).await?;
    let listed = with_events(tx, listed).await?;
    with_people(tx, person, listed).await
}

/// Takes the labels out of what the feed told of messages that may not be kept; that there was something, and that it
/// has gone, stays. A reader who folds the feed ends with the same.
pub async fn hush(tx: &mut Tx, of: Of<'_>, message_ids: &[String]) -> Result<(), StoreError> {
    let sql = "UPDATE changes SET data = '{}'
         WHERE person_id = $1 AND stream_id = $2 AND kind IN ('message.added', 'message.changed')
             AND subject_id IN ({among})";
    tx.run_among(sql, args![of.person(), &of.stream], message_ids).await?;
    Ok(())
}

/// The last number that an organization's feed has given.
pub async fn last_seq(tx: &mut Tx, organization: &OrganizationId) -> Result<i64, StoreError> {
    let last = tx
        .one("SELECT feed_seq FROM organizations WHERE id = $1", args![organization], |row| row.int("feed_seq"))
        .await?;
    Ok(last.unwrap_or(0))
}

//! Fills: messages that a listing named and that are still to be fetched, newest first. They are what makes a backfill
//! resume after any crash exactly where it was.

use std::collections::BTreeMap;

use super::StoreError;
use super::sql::{Columns, Tx, Value, args};
use crate::id::{MailboxId, OrganizationId};

/// A message that is still to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Gmail's id.
    pub message_id: String,
    /// Gmail's thread.
    pub thread_id: String,
}

fn fill(row: &dyn Columns) -> Result<Fill, StoreError> {
    Ok(Fill { message_id: row.text("message_id")?, thread_id: row.text("thread_id")? })
}

/// Values of one row.
const ROW_VALUES: usize = 5;

/// Adds what a page of the listing named, behind everything that is already there.
pub async fn add(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    fills: &[Fill],
) -> Result<(), StoreError> {
    let last = tx
        .one("SELECT MAX(place) AS place FROM fills WHERE mailbox_id = $1", args![mailbox], |row| {
            row.int_or_null("place")
        })
        .await?
        .flatten()
        .unwrap_or(0);
    let mut place = last;
    let mut values: Vec<Value> = Vec::with_capacity(fills.len() * ROW_VALUES);
    for fill in fills {
        place += 1;
        values.extend(args![organization, mailbox, &fill.message_id, &fill.thread_id, place]);
    }
    let into = "fills (organization_id, mailbox_id, message_id, thread_id, place)";
    tx.insert(into, ROW_VALUES, values, "ON CONFLICT (mailbox_id, message_id) DO NOTHING").await
}

/// The next messages to fetch, each with everything else that is to be fetched of its thread. `limit` bounds the
/// messages that lead; a thread may bring as many more as it has.
pub async fn next_threads(tx: &mut Tx, mailbox: &MailboxId, limit: i64) -> Result<Vec<Vec<Fill>>, StoreError> {
    let all = tx
        .all(
            "SELECT f.message_id, f.thread_id, f.place FROM fills f
             WHERE f.mailbox_id = $1 AND f.thread_id IN (
                 SELECT l.thread_id FROM (
                     SELECT thread_id FROM fills WHERE mailbox_id = $1 ORDER BY place LIMIT $2) l)
             ORDER BY f.place",
            args![mailbox, limit],
            fill,
        )
        .await?;
    let mut threads: Vec<Vec<Fill>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for fill in all {
        match places.get(&fill.thread_id) {
            Some(place) => threads[*place].push(fill),
            None => {
                places.insert(fill.thread_id.clone(), threads.len());
                threads.push(vec![fill]);
            }
        }
    }
    Ok(threads)
}

/// What is still to be fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Messages.
    pub messages: u64,
    /// What they cost, each thread the cheaper way.
    pub units: u64,
}

/// What is still to be fetched, at these prices of a message and of a thread.
pub async fn left(tx: &mut Tx, mailbox: &MailboxId, one: u64, whole: u64) -> Result<Left, StoreError> {
    let price = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
    let left = tx
        .one(
            "SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) AS messages,
                 CAST(COALESCE(SUM(CASE WHEN n * $2 > $3 THEN $3 ELSE n * $2 END), 0) AS BIGINT) AS units
             FROM (SELECT COUNT(*) AS n FROM fills WHERE mailbox_id = $1 GROUP BY thread_id) threads",
            args![mailbox, price(one), price(whole)],
            |row| {
                let whole = |units: i64| u64::try_from(units).unwrap_or(0);
                Ok(Left { messages: whole(row.int("messages")?), units: whole(row.int("units")?) })
            },
        )
        .await?;
    Ok(left.unwrap_or_default())
}

/// Takes messages off the list: they are stored, gone, or debts.
pub async fn done(tx: &mut Tx, mailbox: &MailboxId, ids: &[String]) -> Result<(), StoreError> {
    let sql = "DELETE FROM fills WHERE mailbox_id = $1 AND message_id IN ({among})";
    tx.run_among(sql, args![mailbox], ids).await?;
    Ok(())
}

/// How many are still to be fetched.
pub async fn count(tx: &mut Tx, mailbox: &MailboxId) -> Result<i64, StoreError> {
    let count =
        tx.one("SELECT COUNT(*) AS n FROM fills WHERE mailbox_id = $1", args![mailbox], |row| row.int("n")).await?;
    Ok(count.unwrap_or(0))
}

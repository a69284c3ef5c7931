//! Every call made to Google on a person's behalf, counted by day with its price: the source of the person's receipt.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{GrantId, OrganizationId};

/// What was asked of Google for one grant on one day by one kind of call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// The day in UTC, `2026-11-22`.
    pub day: String,
    /// The call: `gmail.messages.get`.
    pub call: String,
    /// How it went, in one word.
    pub outcome: String,
    /// How often.
    pub calls: i64,
    /// Its price in Google's quota units.
    pub units: i64,
    /// Bytes received.
    pub bytes: i64,
    /// When last.
    pub last_at: Timestamp,
}

fn call_count(row: &dyn Columns) -> Result<CallCount, StoreError> {
    Ok(CallCount {
        day: row.text("day")?,
        call: row.text("call")?,
        outcome: row.text("outcome")?,
        calls: row.int("calls")?,
        units: row.int("units")?,
        bytes: row.int("bytes")?,
        last_at: row.at("last_at")?,
    })
}

/// Adds to a count.
pub async fn add(
    tx: &mut Tx,
    organization: &OrganizationId,
    grant: &GrantId,
    count: &CallCount,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO call_counts (organization_id, grant_id, day, call, outcome, calls, units, bytes, last_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (grant_id, day, call, outcome) DO UPDATE SET calls = call_counts.calls + excluded.calls,
             units = call_counts.units + excluded.units, bytes = call_counts.bytes + excluded.bytes,
             last_at = excluded.last_at",
        args![
            organization,
            grant,
            &count.day,
            &count.call,
            &count.outcome,
            count.calls,
            count.units,
            count.bytes,
            count.last_at
        ],
    )
    .await?;
    Ok(())
}

/// The counts of a grant, newest day first. `limit` bounds it.
pub async fn of_grant(tx: &mut Tx, grant: &GrantId, limit: i64) -> Result<Vec<CallCount>, StoreError> {
    tx.all(
        "SELECT * FROM call_counts WHERE grant_id = $1 ORDER BY day DESC, call, outcome LIMIT $2",
        args![grant, limit],
        call_count,
    )
    .await
}

/// Deletes the counts of a grant whose person left.
pub async fn erase(tx: &mut Tx, grant: &GrantId) -> Result<u64, StoreError> {
    tx.run("DELETE FROM call_counts WHERE grant_id = $1", args![grant]).await
}

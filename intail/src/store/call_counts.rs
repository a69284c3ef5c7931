//! Every call made to Google on a person's behalf, counted by day with its price: the source of the person's receipt.

use jiff::Timestamp;

use super::StoreError;
use super::leavings::CallSums;
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

/// Values of one row.
const ROW_VALUES: usize = 9;

/// Adds to a grant's counts. No two of them may be of the same day, call and outcome.
pub async fn add(
    tx: &mut Tx,
    organization: &OrganizationId,
    grant: &GrantId,
    counts: &[CallCount],
) -> Result<(), StoreError> {
    let mut values = Vec::with_capacity(counts.len() * ROW_VALUES);
    for count in counts {
        values.extend(args![
            organization,
            grant,
            &count.day,
            &count.call,
            &count.outcome,
            count.calls,
            count.units,
            count.bytes,
            count.last_at
        ]);
    }
    let into = "call_counts (organization_id, grant_id, day, call, outcome, calls, units, bytes, last_at)";
    let adding = "ON CONFLICT (grant_id, day, call, outcome) DO UPDATE SET calls = call_counts.calls + excluded.calls,
        units = call_counts.units + excluded.units, bytes = call_counts.bytes + excluded.bytes,
        last_at = excluded.last_at";
    tx.insert(into, ROW_VALUES, values, adding).await
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

/// The sums of a grant: calls, units, bytes, and the first and the last day.
pub async fn sums(tx: &mut Tx, grant: &GrantId) -> Result<CallSums, StoreError> {
    let sums = tx
        .one(
            "SELECT CAST(COALESCE(SUM(calls), 0) AS BIGINT) AS calls, CAST(COALESCE(SUM(units), 0) AS BIGINT) AS units,
                 CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes, MIN(day) AS first_day, MAX(day) AS last_day
             FROM call_counts WHERE grant_id = $1",
            args![grant],
            |row| {
                Ok(CallSums {
                    calls: row.int("calls")?,
                    units: row.int("units")?,
                    bytes: row.int("bytes")?,
                    first_day: row.text_or_null("first_day")?,
                    last_day: row.text_or_null("last_day")?,
                    ..CallSums::default()
                })
            },
        )
        .await?;
    Ok(sums.unwrap_or_default())
}

/// How many of a grant's calls were counted with an outcome of their own. `uncounted` is the outcome of those of which
/// only the number is known.
pub async fn calls_but(tx: &mut Tx, grant: &GrantId, uncounted: &str) -> Result<i64, StoreError> {
    let sql = "SELECT CAST(COALESCE(SUM(calls), 0) AS BIGINT) AS calls FROM call_counts
               WHERE grant_id = $1 AND outcome <> $2";
    Ok(tx.one(sql, args![grant, uncounted], |row| row.int("calls")).await?.unwrap_or(0))
}

/// Deletes counts of the days before `day`, whosever they are, `limit` at most. Answers how many.
pub async fn sweep(tx: &mut Tx, day: &str, limit: i64) -> Result<u64, StoreError> {
    tx.run(
        "DELETE FROM call_counts WHERE (grant_id, day, call, outcome) IN
             (SELECT grant_id, day, call, outcome FROM call_counts WHERE day < $1 LIMIT $2)",
        args![day, limit],
    )
    .await
}

//! Sums over everything, for the operator's monitoring. No person, address or subject is in them.

use jiff::Timestamp;

use super::leases::Stream;
use super::sql::{Tx, args};
use super::{StoreError, failing};

/// Kinds of calls that are told apart; there are about thirty.
const CALLS_MAX: i64 = 500;

/// How the whole of Intail is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Mailboxes by state.
    pub mailboxes: Vec<(String, i64)>,
    /// Grants by state.
    pub grants: Vec<(String, i64)>,
    /// When the mailbox that has waited longest became due.
    pub due_first_at: Option<Timestamp>,
    /// When the first watch ends.
    pub watch_first_expiry_at: Option<Timestamp>,
    /// Streams of each kind that can't be read although their grant works.
    pub failing: Vec<(Stream, i64)>,
    /// Items that failed and are retried.
    pub debts: i64,
    /// Messages that are known of and not fetched yet.
    pub fills: i64,
    /// Call, outcome, how often, quota units.
    pub calls: Vec<(String, String, i64, i64)>,
}

/// Reads them.
pub async fn read(tx: &mut Tx, now: Timestamp) -> Result<Gauges, StoreError> {
    let by_state = |row: &dyn super::sql::Columns| Ok((row.text("state")?, row.int("n")?));
    let mailboxes =
        tx.all("SELECT state, COUNT(*) AS n FROM mailboxes GROUP BY state ORDER BY state", args![], by_state).await?;
    let grants =
        tx.all("SELECT state, COUNT(*) AS n FROM grants GROUP BY state ORDER BY state", args![], by_state).await?;
    let firsts = tx
        .one("SELECT MIN(due_at) AS due_at, MIN(watch_expires_at) AS expires_at FROM mailboxes", args![], |row| {
            Ok((row.at_or_null("due_at")?, row.at_or_null("expires_at")?))
        })
        .await?;
    let (due_first_at, watch_first_expiry_at) = firsts.unwrap_or((None, None));
    let failing = failing::count(tx, now).await?;
    let debts = tx.one("SELECT COUNT(*) AS n FROM debts", args![], |row| row.int("n")).await?.unwrap_or(0);
    let fills = tx.one("SELECT COUNT(*) AS n FROM fills", args![], |row| row.int("n")).await?.unwrap_or(0);
    let calls = tx
        .all(
            "SELECT call, outcome, CAST(SUM(calls) AS BIGINT) AS n, CAST(SUM(units) AS BIGINT) AS units
             FROM call_counts GROUP BY call, outcome ORDER BY call, outcome LIMIT $1",
            args![CALLS_MAX],
            |row| Ok((row.text("call")?, row.text("outcome")?, row.int("n")?, row.int("units")?)),
        )
        .await?;
    Ok(Gauges { mailboxes, grants, due_first_at, watch_first_expiry_at, failing, debts, fills, calls })
}

//! The project's quota as all processes share it: who takes part, what was spent on each day, until when Google wants
//! no more questions, and how much of it all an organization leaves to backfill.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Tx, args};
use crate::id::OrganizationId;

/// Who else spends the project's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Others {
    /// Processes that run, as far as is known.
    pub running: i64,
    /// What processes that ended in good order had spent in their last minute, in thousandths of the project's minute.
    pub left_thousandths: i64,
}

/// Says that a process takes part, and answers since when it does without a gap. One that wasn't seen since `gone`
/// begins anew.
pub async fn attend(tx: &mut Tx, id: &str, now: Timestamp, gone: Timestamp) -> Result<Timestamp, StoreError> {
    let since = tx
        .one(
            "INSERT INTO engines (id, since, seen_at, left_thousandths) VALUES ($1, $2, $2, NULL)
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, left_thousandths = NULL,
                 since = CASE WHEN engines.seen_at <= $3 THEN excluded.since ELSE engines.since END
             RETURNING since",
            args![id, now, gone],
            |row| row.at("since"),
        )
        .await?;
    Ok(since.unwrap_or(now))
}

/// Says that a process ends, and what it spent in its last minute, in thousandths of the project's minute.
pub async fn leave(tx: &mut Tx, id: &str, spent: i64, now: Timestamp) -> Result<(), StoreError> {
    tx.run("UPDATE engines SET left_thousandths = $2, seen_at = $3 WHERE id = $1", args![id, spent, now]).await?;
    Ok(())
}

/// The others, after those who weren't seen since `gone` are forgotten.
pub async fn others(tx: &mut Tx, id: &str, gone: Timestamp) -> Result<Others, StoreError> {
    tx.run("DELETE FROM engines WHERE seen_at <= $1 AND id <> $2", args![gone, id]).await?;
    let others = tx
        .one(
            "SELECT COUNT(*) - COUNT(left_thousandths) AS running,
                 CAST(COALESCE(SUM(left_thousandths), 0) AS BIGINT) AS left_thousandths
             FROM engines WHERE id <> $1",
            args![id],
            |row| Ok(Others { running: row.int("running")?, left_thousandths: row.int("left_thousandths")? }),
        )
        .await?;
    Ok(others.unwrap_or(Others { running: 0, left_thousandths: 0 }))
}

/// Adds to what was spent at a service on a day; answers the day's sum.
pub async fn spend(tx: &mut Tx, service: &str, day: i64, units: i64) -> Result<i64, StoreError> {
    let sum = tx
        .one(
            "INSERT INTO quota_uses (service, day, units) VALUES ($1, $2, $3)
             ON CONFLICT (service, day) DO UPDATE SET units = quota_uses.units + excluded.units RETURNING units",
            args![service, day, units],
            |row| row.int("units"),
        )
        .await?;
    Ok(sum.unwrap_or(units))
}

/// What was spent at a service on a day.
pub async fn spent(tx: &mut Tx, service: &str, day: i64) -> Result<i64, StoreError> {
    let sql = "SELECT units FROM quota_uses WHERE service = $1 AND day = $2";
    let units = tx.one(sql, args![service, day], |row| row.int("units")).await?;
    Ok(units.unwrap_or(0))
}

/// Nobody asks a service before then; an earlier end doesn't shorten a later one.
pub async fn hold(tx: &mut Tx, service: &str, until: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO quota_holds (service, until_at) VALUES ($1, $2)
         ON CONFLICT (service) DO UPDATE SET until_at = CASE WHEN quota_holds.until_at > excluded.until_at
             THEN quota_holds.until_at ELSE excluded.until_at END",
        args![service, until],
    )
    .await?;
    Ok(())
}

/// Until when nobody asks a service, if that was said.
pub async fn held_until(tx: &mut Tx, service: &str) -> Result<Option<Timestamp>, StoreError> {
    tx.one("SELECT until_at FROM quota_holds WHERE service = $1", args![service], |row| row.at("until_at")).await
}

/// How much of the project's day an organization leaves to backfill, in percent.
pub async fn backfill_day_percent(tx: &mut Tx, organization: &OrganizationId) -> Result<i64, StoreError> {
    let percent = tx
        .one("SELECT backfill_day_percent FROM organizations WHERE id = $1", args![organization], |row| {
            row.int("backfill_day_percent")
        })
        .await?;
    Ok(percent.unwrap_or(100))
}

/// Sets it.
pub async fn set_backfill_day_percent(
    tx: &mut Tx,
    organization: &OrganizationId,
    percent: i64,
) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET backfill_day_percent = $2 WHERE id = $1", args![organization, percent]).await?;
    Ok(())
}

/// How many days before a person connects their mail is copied from; none copies everything.
pub async fn backfill_days(tx: &mut Tx, organization: &OrganizationId) -> Result<Option<i64>, StoreError> {
    let days = tx
        .one("SELECT backfill_days FROM organizations WHERE id = $1", args![organization], |row| {
            row.int_or_null("backfill_days")
        })
        .await?;
    Ok(days.flatten())
}

/// Sets it, for those who connect from now on.
pub async fn set_backfill_days(
    tx: &mut Tx,
    organization: &OrganizationId,
    days: Option<i64>,
) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET backfill_days = $2 WHERE id = $1", args![organization, days]).await?;
    Ok(())
}

//! The project's quota as all processes share it: who takes part, what was spent on each day, until when Google wants
//! no more questions, and how much of it all an organization leaves to backfill.

use jiff::Timestamp;

use super::StoreError;
use super::leases::{self, Stream};
use super::spending::{Correction, Spending};
use super::sql::{Columns, Tx, args};
use crate::id::OrganizationId;

/// What a mailbox, a calendar or a directory may have cost that a dead process worked on: nobody knows, so all of it.
pub const UNKNOWN_SPENT: u64 = 1_000_000_000_000;

/// A process that spends the project's quota, or has ended or died lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its id.
    pub id: String,
    /// When it was heard of last.
    pub seen_at: Timestamp,
    /// The most that it has spent, and may still spend, within a minute: millionths of the project's minute.
    pub most: i64,
    /// What it would like to spend.
    pub wish: i64,
    /// Whether it ended in good order, or its successor ended it.
    pub has_ended: bool,
}

fn engine(row: &dyn Columns) -> Result<Engine, StoreError> {
    Ok(Engine {
        id: row.text("id")?,
        seen_at: row.at("seen_at")?,
        most: row.int("most")?,
        wish: row.int("wish")?,
        has_ended: row.boolean("has_ended")?,
    })
}

/// All others, after those who weren't seen since `gone` are forgotten, and those who ended before `ended`.
pub async fn others(tx: &mut Tx, id: &str, gone: Timestamp, ended: Timestamp) -> Result<Vec<Engine>, StoreError> {
    tx.run(
        "DELETE FROM engines WHERE id <> $1 AND (seen_at <= $2 OR (has_ended AND seen_at <= $3))",
        args![id, gone, ended],
    )
    .await?;
    tx.all("SELECT * FROM engines WHERE id <> $1 ORDER BY id", args![id], engine).await
}

/// Says that a process takes part, what it may spend at most and what it would like to. `place` is what its successor
/// will be called, too.
pub async fn attend(
    tx: &mut Tx,
    id: &str,
    place: Option<&str>,
    (most, wish): (i64, i64),
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO engines (id, seen_at, most, wish, has_ended, place) VALUES ($1, $2, $3, $4, FALSE, $5)
         ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, most = excluded.most, wish = excluded.wish,
             has_ended = FALSE",
        args![id, now, most, wish, place],
    )
    .await?;
    Ok(())
}

/// Says that a process ends, and what it spent in its last minute.
pub async fn leave(tx: &mut Tx, id: &str, spent: i64, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "UPDATE engines SET has_ended = TRUE, wish = 0, most = $2, seen_at = $3 WHERE id = $1",
        args![id, spent, now],
    )
    .await?;
    Ok(())
}

/// Ends whoever had this process's place before it and didn't leave: what that worked on is free at once, and counts
/// as if it had cost all that was allowed, because nobody knows. Answers how many streams that were.
pub async fn succeed(tx: &mut Tx, id: &str, place: &str, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "UPDATE engines SET has_ended = TRUE, wish = 0, seen_at = $3
               WHERE place = $1 AND id <> $2 AND NOT has_ended RETURNING id";
    let before: Vec<String> = tx.all(sql, args![place, id, now], |row| row.text("id")).await?;
    let mut freed = 0;
    for dead in &before {
        freed += leases::end_all(tx, dead, &Spending::once(now, UNKNOWN_SPENT)).await?;
    }
    Ok(freed)
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

/// What Google's refusals of the whole project mean for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Nobody asks before then.
    pub until: Timestamp,
    /// How much less is spent for a while.
    pub correction: Option<Correction>,
    /// How much is spent on a day for a while.
    pub day: Option<DayLimit>,
}

/// Less is spent on a day than Google gives by its tables, because Google refused at so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayLimit {
    /// Units.
    pub units: u64,
    /// Until when.
    pub until: Timestamp,
}

/// Nobody asks a service before then, and less is spent for a while; what ends earlier shortens nothing. Of the day it
/// is the latest word that counts.
pub async fn hold(tx: &mut Tx, service: &str, hold: Hold) -> Result<(), StoreError> {
    let less = hold.correction.map_or(0, |it| i64::try_from(it.less).unwrap_or(i64::MAX));
    tx.run(
        "INSERT INTO quota_holds (service, until_at, less, less_until, day_units, day_units_until)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (service) DO UPDATE SET
             until_at = CASE WHEN quota_holds.until_at > excluded.until_at
                 THEN quota_holds.until_at ELSE excluded.until_at END,
             less = CASE WHEN quota_holds.less_until > COALESCE(excluded.less_until, 0)
                 THEN quota_holds.less ELSE excluded.less END,
             less_until = CASE WHEN quota_holds.less_until > COALESCE(excluded.less_until, 0)
                 THEN quota_holds.less_until ELSE excluded.less_until END,
             day_units = COALESCE(excluded.day_units, quota_holds.day_units),
             day_units_until = COALESCE(excluded.day_units_until, quota_holds.day_units_until)",
        args![
            service,
            hold.until,
            less,
            hold.correction.map(|it| it.until),
            hold.day.map(|it| i64::try_from(it.units).unwrap_or(i64::MAX)),
            hold.day.map(|it| it.until)
        ],
    )
    .await?;
    Ok(())
}

/// What was said of a service, if anything was.
pub async fn held(tx: &mut Tx, service: &str) -> Result<Option<Hold>, StoreError> {
    tx.one("SELECT * FROM quota_holds WHERE service = $1", args![service], |row| {
        let count = |units: i64| u64::try_from(units).unwrap_or(0);
        let less = count(row.int("less")?);
        let correction = row.at_or_null("less_until")?.map(|until| Correction { less, until });
        let day = row.int_or_null("day_units")?.map(count).zip(row.at_or_null("day_units_until")?);
        Ok(Hold { until: row.at("until_at")?, correction, day: day.map(|(units, until)| DayLimit { units, until }) })
    })
    .await
}

/// Until when nobody asks a service, if that was said.
pub async fn held_until(tx: &mut Tx, service: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(held(tx, service).await?.map(|it| it.until))
}

/// The words for the services whose use is counted.
pub const GMAIL: &str = "gmail";
/// See [`GMAIL`].
pub const CALENDAR: &str = "calendar";
/// See [`GMAIL`].
pub const DIRECTORY: &str = "directory";
/// All of them, and what is read from each.
pub const SERVICES: [(&str, Stream); 3] =
    [(GMAIL, Stream::Mail), (CALENDAR, Stream::Calendar), (DIRECTORY, Stream::Directory)];

/// Forgets how much Google was believed to give on a day.
pub async fn forget_day(tx: &mut Tx, service: &str) -> Result<(), StoreError> {
    tx.run("UPDATE quota_holds SET day_units = NULL, day_units_until = NULL WHERE service = $1", args![service])
        .await?;
    Ok(())
}

/// Everybody may ask a service again, and as much as its tables say: the operator says that what held it is mended.
/// Whoever waits for the hold's end is due at `due_at`, by which every process has to have heard of it.
pub async fn lift(tx: &mut Tx, (service, stream): (&str, Stream), due_at: Timestamp) -> Result<(), StoreError> {
    let Some(until) = held_until(tx, service).await? else { return Ok(()) };
    tx.run("DELETE FROM quota_holds WHERE service = $1", args![service]).await?;
    if until > due_at {
        leases::hasten(tx, stream, until, due_at).await?;
    }
    Ok(())
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

//! When a backfill will be done, and what it waits for: from Google's prices, from what the listing named, and from how
//! fast it has gone so far. Computed when it is shown, never stored.

use jiff::{SignedDuration, Timestamp};

use super::budget::{BACKFILL_MAX, day};
use crate::config::Quota;
use crate::id::OrganizationId;
use crate::store::mailboxes::{self, Mailbox, MailboxState};
use crate::store::{StoreError, Tx, fills, quota};

/// How long a pass must have run before its own speed is believed more than the model's.
const MEASURED_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// What is longer than this between two steps of a pass is no slowness: it was paused, held, out of quota, or nobody
/// worked. Waiting for Google's minute, and for others who copy, too, takes less.
const STANDS_STILL_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// Messages that the listing gives at once, for its price.
const LISTED_AT_ONCE: u64 = 500;
/// Whose day and whose wishes count for mail.
const GMAIL: &str = "gmail";
/// Minutes of a day.
const DAY_MIN: u64 = 24 * 60;

/// How a pass over a mailbox goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Quota units that it will still cost, as far as is known.
    pub units_left: u64,
    /// Units a minute that it will get.
    pub units_minute: u64,
    /// When it will be done.
    pub done_at: Timestamp,
    /// What it waits for now; none while it goes on.
    pub waits: Option<Waits>,
}

/// What a backfill waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Google asked this mailbox to slow down.
    Paused(Timestamp),
    /// Google asked the whole project to wait.
    Project(Timestamp),
    /// The organization's part of the project's day is used up.
    Day(Timestamp),
    /// Google's list of the mailbox led nowhere: it is listed anew then.
    Listing(Timestamp),
}

/// What was spent of the project's day, for the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUse {
    /// Units spent.
    pub units: u64,
    /// Units that Google gives.
    pub limit: u64,
    /// How much of it the organization leaves to backfill, in percent.
    pub backfill_percent: u64,
    /// When the next day begins.
    pub turns_at: Timestamp,
}

/// The present day's use.
pub async fn day_use(
    tx: &mut Tx,
    organization: &OrganizationId,
    prices: &Quota,
    now: Timestamp,
) -> Result<DayUse, StoreError> {
    let (number, turns_at) = day(now);
    Ok(DayUse {
        units: u64::try_from(quota::spent(tx, GMAIL, number).await?).unwrap_or(0),
        limit: prices.limits.project_day,
        backfill_percent: u64::try_from(quota::backfill_day_percent(tx, organization).await?).unwrap_or(0),
        turns_at,
    })
}

/// How the pass over a mailbox goes on; none when it is live. `held` messages are stored.
pub async fn outlook(
    tx: &mut Tx,
    mailbox: &Mailbox,
    held: i64,
    prices: &Quota,
    now: Timestamp,
) -> Result<Option<Outlook>, StoreError> {
    if mailbox.state == MailboxState::Live {
        return Ok(None);
    }
    let (one, whole) = (u64::from(prices.units("gmail.messages.get")), u64::from(prices.units("gmail.threads.get")));
    let listed = fills::left(tx, &mailbox.id, one, whole).await?;
    let unlisted = match mailbox.total_messages {
        Some(total) if !mailbox.listing_done && mailbox.state == MailboxState::Backfilling => {
            u64::try_from(total - held).unwrap_or(0).saturating_sub(listed.messages)
        }
        _ => 0,
    };
    let usual = listed.units.checked_div(listed.messages).unwrap_or(one);
    let pages = unlisted.div_ceil(LISTED_AT_ONCE) * 2 * u64::from(prices.units("gmail.messages.list"));
    let units_left = listed.units + unlisted * usual + pages;
    let active = u64::try_from(mailboxes::filling(tx).await?).unwrap_or(1).max(1);
    let day_use = day_use(tx, &mailbox.organization_id, prices, now).await?;
    let held_until = quota::held_until(tx, GMAIL).await?.filter(|until| *until > now);
    let model = (prices.limits.person_minute).min(prices.limits.project_minute / active) * BACKFILL_MAX / 1_000;
    let units_minute = measured(mailbox, now).map_or(model, |it| it.min(model)).max(1);
    let day = Day {
        left: (day_use.limit / 100 * day_use.backfill_percent.min(100)).saturating_sub(day_use.units) / active,
        whole: day_use.limit / 100 * day_use.backfill_percent.min(100) / active,
        turns_at: day_use.turns_at,
    };
    let waits = mailbox
        .paused_until
        .filter(|until| *until > now)
        .map(Waits::Paused)
        .or(held_until.map(Waits::Project))
        .or((day.left == 0 && mailbox.state == MailboxState::Backfilling).then_some(Waits::Day(day.turns_at)))
        .or(mailbox.listing_at.filter(|at| *at > now && !mailbox.listing_done).map(Waits::Listing));
    let begins_at = match waits {
        Some(Waits::Paused(until) | Waits::Project(until) | Waits::Listing(until)) => until,
        _ => now,
    };
    Ok(Some(Outlook { units_left, units_minute, done_at: done_at(units_left, units_minute, day, begins_at), waits }))
}

/// How fast the present pass has gone, in units a minute, once it has run for a while.
fn measured(mailbox: &Mailbox, now: Timestamp) -> Option<u64> {
    let since = mailbox.filling_since?;
    let stood_s = mailbox.filling_stood_s.saturating_add(stood_still_s(mailbox, now));
    let ran = now.duration_since(since) - SignedDuration::from_secs(stood_s);
    if ran < MEASURED_AFTER {
        return None;
    }
    let units = u64::try_from(mailbox.filled_units).ok()?;
    Some(units.saturating_mul(60) / u64::try_from(ran.as_secs()).ok()?.max(1))
}

/// For how many seconds a pass has stood still until now, since it did something last.
pub(super) fn stood_still_s(mailbox: &Mailbox, now: Timestamp) -> i64 {
    let since = mailbox.filled_at.map(|at| now.duration_since(at));
    since.filter(|it| *it > STANDS_STILL_AFTER).map_or(0, |it| it.as_secs())
}

/// What a mailbox may still cost on the project's day, what on a whole one, and when the next begins.
#[derive(Clone, Copy)]
struct Day {
    left: u64,
    whole: u64,
    turns_at: Timestamp,
}

fn done_at(units: u64, units_minute: u64, day: Day, begins_at: Timestamp) -> Timestamp {
    let after = |at: Timestamp, minutes_60: u64| {
        let seconds = i64::try_from(minutes_60).unwrap_or(i64::MAX);
        at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    };
    let lasts_s = |units: u64| units.saturating_mul(60) / units_minute;
    let this_day_s = u64::try_from(day.turns_at.duration_since(begins_at).as_secs()).unwrap_or(0);
    let today = day.left.min(units_minute.saturating_mul(this_day_s) / 60);
    if units <= today {
        return after(begins_at, lasts_s(units));
    }
    let a_day = day.whole.min(units_minute.saturating_mul(DAY_MIN)).max(1);
    let rest = units - today;
    after(day.turns_at, (rest / a_day).saturating_mul(DAY_MIN * 60).saturating_add(lasts_s(rest % a_day)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;
    use crate::id::{GrantId, MailboxId, PersonId};
    use crate::random::Random;
    use crate::store::grants::{Grant, GrantState};

    fn at(second: i64) -> Timestamp {
        from_us(second * 1_000_000)
    }

    fn filling(since: Timestamp) -> Mailbox {
        let random = Random::seeded(1);
        let grant = Grant {
            id: GrantId::new(&random),
            organization_id: OrganizationId::new(&random),
            person_id: PersonId::new(&random),
            google_subject: "1".into(),
            email: "someone@example.com".into(),
            hosted_domain: None,
            client_id: "client".into(),
            scopes: Vec::new(),
            state: GrantState::Active,
            reason: String::new(),
            state_since: since,
            refresh_sealed: None,
            access_sealed: None,
            access_expires_at: None,
            connected_at: since,
            suspended_at: None,
        };
        Mailbox { filling_since: Some(since), ..Mailbox::new(MailboxId::new(&random), &grant, since) }
    }

    fn days(units: u64, left: u64, whole: u64) -> i64 {
        let day = Day { left, whole, turns_at: at(3_600) };
        done_at(units, 6_000, day, at(0)).as_second()
    }

    #[test]
    fn a_backfill_is_done_when_its_units_are_spent() {
        assert_eq!(days(60_000, 1_000_000, 1_000_000), 600);
        assert_eq!(days(0, 1_000_000, 1_000_000), 0);
    }

    #[test]
    fn what_stood_still_is_not_taken_for_slow() {
        let (mailbox, hour) = (filling(at(0)), 3_600);
        let ran = |filled_at: i64, filling_stood_s: i64| Mailbox {
            filled_units: 360_000,
            filled_at: Some(at(filled_at)),
            filling_stood_s,
            ..mailbox.clone()
        };
        assert_eq!(measured(&ran(hour, 0), at(hour)), Some(6_000));
        assert_eq!(measured(&ran(hour, 0), at(24 * hour)), Some(6_000), "it stands still for 23 hours");
        assert_eq!(measured(&ran(24 * hour, 23 * hour), at(24 * hour)), Some(6_000), "and goes on");
        assert_eq!(measured(&ran(hour, 0), at(hour + 60)), Some(5_901), "waiting for the minute to pass is slowness");
    }

    #[test]
    fn what_the_day_does_not_hold_goes_on_when_it_turns() {
        assert_eq!(days(60_000, 0, 1_000_000), 3_600 + 600, "today's part is used up");
        assert_eq!(days(60_000, 30_000, 1_000_000), 3_600 + 300, "half today, half tomorrow");
        assert_eq!(days(250_000, 0, 100_000), 3_600 + 2 * 86_400 + 500, "two whole days and a part of the third");
        assert_eq!(days(720_000, 1_000_000_000, 1_000_000_000), 7_200, "a day that holds enough changes nothing");
    }
}

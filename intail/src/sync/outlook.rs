//! When a backfill will be done, what a mailbox or calendars wait for, and what of Google's day is used: from Google's
//! prices, from what the listing named, and from how fast it has gone so far. Computed when it is shown, never stored.
//!
//! A reader must not break: where this says that something waits for the next day is where the engine stops it, see
//! [`Bulk`].

use intail_google::day::day;
use intail_google::price::Limits;
use jiff::{SignedDuration, Timestamp};

use super::budget::{BACKFILL_MAX, DAY_MAX_PERCENT, day_limit, percent_of};
use crate::config::Quota;
use crate::id::OrganizationId;
use crate::store::agendas::Agenda;
use crate::store::mailboxes::{self, Filling, Mailbox, MailboxState};
use crate::store::quota::{CALENDAR, DIRECTORY, GMAIL};
use crate::store::{StoreError, Tx, debts, fills, quota};

/// How long a pass must have run before its own speed is believed more than the model's.
const MEASURED_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// What is longer than this between two steps of a pass is no slowness: it was paused, held, out of quota, or nobody
/// worked. Waiting for Google's minute, and for others who copy, too, takes less.
const STANDS_STILL_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// Messages that the listing gives at once, for its price.
pub(super) const LISTED_AT_ONCE: u64 = 500;
/// Minutes of a day.
const DAY_MIN: u64 = 24 * 60;

/// At how much of the project's day copying what was there before stops at the latest, whatever an organization's
/// policy says, in percent: what is left is for new changes.
pub const COPYING_STOPS_PERCENT_MAX: u64 = DAY_MAX_PERCENT;

/// How the reading of a mailbox goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Its backfill or comparison; none while it is live and nothing of it is to be read again.
    pub pass: Option<Pass>,
    /// What it waits for now; none while it goes on.
    pub waits: Option<Waits>,
}

/// How a pass over a mailbox goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Quota units that it will still cost, as far as is known.
    pub units_left: u64,
    /// Units a minute that it will get.
    pub units_minute: u64,
    /// When it will be done; none where nobody knows yet how much it is, and while the mailbox can't be read.
    pub done_at: Option<Timestamp>,
}

/// What a mailbox, calendars or a directory wait for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Google asked to slow down with what is this person's, or this organization's.
    Paused(Timestamp),
    /// Google asked the whole project to wait.
    Project(Timestamp),
    /// So much of the project's day is used up that this goes on with the next one.
    Day {
        /// What goes on then.
        bulk: Bulk,
        /// How much of the day that is, in percent.
        percent: u64,
        /// When the next one begins.
        until: Timestamp,
    },
    /// Google's list of the mailbox led nowhere: it is listed anew then.
    Listing(Timestamp),
}

impl Waits {
    /// Until when.
    pub fn until(self) -> Timestamp {
        match self {
            Self::Paused(until) | Self::Project(until) | Self::Day { until, .. } | Self::Listing(until) => until,
        }
    }
}

/// What waits for the next day before new changes would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    /// Copying what was there before: it stops where the organization's policy says, or where comparing does.
    Copying,
    /// Comparing, and looking at what Google doesn't tell of: it stops where only new changes go on.
    Comparing,
}

/// What a pass over a mailbox is, as the engine asks for it: it compares what was copied whole once; the rest of a
/// first copy stays one although the cursor was lost. What is read again of a live one is copied, too; none where
/// nothing is.
fn bulk(mailbox: &Mailbox, has_fills: bool) -> Option<Bulk> {
    match mailbox.state {
        MailboxState::Live => has_fills.then_some(Bulk::Copying),
        MailboxState::Reconciling if mailbox.copied_at.is_some() => Some(Bulk::Comparing),
        MailboxState::Reconciling | MailboxState::Backfilling => Some(Bulk::Copying),
    }
}

/// What was spent of the project's day at one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUse {
    /// The word for the service.
    pub service: &'static str,
    /// Units spent, or requests where these are counted, by everybody who uses this installation.
    pub units: u64,
    /// How many of them Google gives: fewer than is configured where it refused earlier, within a week.
    pub limit: u64,
    /// How many it gives as configured.
    pub configured: u64,
    /// When the next day begins.
    pub turns_at: Timestamp,
    /// At how much of it the organization lets copying stop, in percent.
    policy_percent: u64,
}

impl DayUse {
    /// At how much of the day this stops, in percent.
    pub fn percent(&self, bulk: Bulk) -> u64 {
        match bulk {
            // No policy is about the directory.
            Bulk::Copying if self.service == DIRECTORY => DAY_MAX_PERCENT,
            Bulk::Copying => self.policy_percent.min(DAY_MAX_PERCENT),
            Bulk::Comparing => DAY_MAX_PERCENT,
        }
    }

    /// Whether so much is used that this waits for the next day.
    pub fn is_used_up(&self, bulk: Bulk) -> bool {
        self.units >= self.share(bulk)
    }

    fn share(&self, bulk: Bulk) -> u64 {
        percent_of(self.limit, self.percent(bulk))
    }
}

/// What was spent today at each service that has a limit of the day.
pub async fn day_uses(
    tx: &mut Tx,
    organization: &OrganizationId,
    prices: &Quota,
    now: Timestamp,
) -> Result<Vec<DayUse>, StoreError> {
    let mut uses = Vec::new();
    for (service, _) in quota::SERVICES {
        uses.extend(day_use(tx, service, organization, prices, now).await?);
    }
    Ok(uses)
}

/// The limits of one service.
pub fn limits_of<'a>(prices: &'a Quota, service: &str) -> &'a Limits {
    match service {
        CALENDAR => &prices.calendar,
        DIRECTORY => &prices.directory,
        _ => &prices.limits,
    }
}

async fn day_use(
    tx: &mut Tx,
    service: &'static str,
    organization: &OrganizationId,
    prices: &Quota,
    now: Timestamp,
) -> Result<Option<DayUse>, StoreError> {
    let Some(limit) = limits_of(prices, service).day() else { return Ok(None) };
    let corrected = quota::held(tx, service).await?.and_then(|it| it.day);
    let (number, turns_at) = day(now);
    Ok(Some(DayUse {
        service,
        units: u64::try_from(quota::spent(tx, service, number).await?).unwrap_or(0),
        limit: day_limit(limit, corrected, now),
        configured: limit,
        turns_at,
        policy_percent: u64::try_from(quota::backfill_day_percent(tx, organization).await?).unwrap_or(0),
    }))
}

/// How the reading of a mailbox goes on. `held` messages are stored.
pub async fn outlook(
    tx: &mut Tx,
    mailbox: &Mailbox,
    held: i64,
    prices: &Quota,
    now: Timestamp,
) -> Result<Outlook, StoreError> {
    let day_use = day_use(tx, GMAIL, &mailbox.organization_id, prices, now).await?;
    let held_until = quota::held_until(tx, GMAIL).await?;
    let (one, whole) = (u64::from(prices.units("gmail.messages.get")), u64::from(prices.units("gmail.threads.get")));
    let listed = fills::left(tx, &mailbox.id, one, whole).await?;
    let bulk = bulk(mailbox, listed.messages > 0);
    let lists_at = mailbox.listing_at.filter(|at| *at > now && !mailbox.listing_done);
    // What a copy couldn't fetch waits as a comparison does, also where nothing else is to be read.
    let held_up = match bulk {
        None => debts::is_due_in_bulk(tx, &mailbox.id, now).await?.then_some(Bulk::Comparing),
        bulk => bulk,
    };
    let waits =
        waits(mailbox.paused_until, held_until, day_use.as_ref().zip(held_up), now).or(lists_at.map(Waits::Listing));
    let Some(bulk) = bulk else { return Ok(Outlook { pass: None, waits }) };
    let unlisted = match mailbox.total_messages {
        Some(total) if !mailbox.listing_done && bulk == Bulk::Copying => {
            u64::try_from(total - held).unwrap_or(0).saturating_sub(listed.messages)
        }
        _ => 0,
    };
    let usual = listed.units.checked_div(listed.messages).unwrap_or(one);
    let pages = unlisted.div_ceil(LISTED_AT_ONCE) * 2 * u64::from(prices.units("gmail.messages.list"));
    // What a comparison didn't see is asked for, each by itself.
    let unseen = match mailbox.state {
        MailboxState::Reconciling if mailbox.listing_done => mailbox.unseen,
        _ => 0,
    };
    let unseen = u64::try_from(unseen).unwrap_or(0) * one;
    let units_left = listed.units + unlisted * usual + pages + unseen;
    let column = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
    let all = mailboxes::filling(tx, column(units_left), column(usual), now).await?;
    let part = Part::of(units_left, all);
    let minute = Minute { person: prices.limits.person_minute, project: prices.limits.project_minute };
    let units_minute = part.units_minute(minute, measured(mailbox, now));
    let (most, used) = day_use.as_ref().map_or((u64::MAX, 0), |it| (it.share(bulk), it.units));
    let begins_at = match waits {
        Some(Waits::Paused(until) | Waits::Project(until) | Waits::Listing(until)) => until,
        Some(Waits::Day { .. }) | None => now,
    };
    let day = Day::of(part, most, used, begins_at, now);
    let is_known = match bulk {
        Bulk::Copying => mailbox.total_messages.is_some() || listed.messages > 0,
        // What a comparison will have to fetch is known once it has listed everything.
        Bulk::Comparing => mailbox.listing_done,
    };
    let is_read = mailbox.failed.as_ref().is_none_or(|it| it.shown_since(Timestamp::MIN, now).is_none());
    let done_at = (is_known && is_read).then(|| done_at(units_left, units_minute, day, begins_at));
    Ok(Outlook { pass: Some(Pass { units_left, units_minute, done_at }), waits })
}

/// What a person's minute gives, and the project's, in units.
#[derive(Clone, Copy)]
struct Minute {
    person: u64,
    project: u64,
}

/// What one mailbox takes of what all take together until it is done. Everybody who copies gets as much as everybody
/// else, until they have all: who needs little is soon done, and leaves its part to the others.
#[derive(Clone, Copy)]
struct Part {
    mailboxes: u64,
    own: u64,
    all: u64,
}

impl Part {
    fn of(own: u64, all: Filling) -> Self {
        let known = |it: i64| u64::try_from(it).unwrap_or(0);
        Self { mailboxes: known(all.mailboxes).max(1), own, all: known(all.units).max(own) }
    }

    /// What it gets of what is there for all, until it is done.
    fn of_all(self, units: u64) -> u64 {
        if self.all == 0 {
            return units;
        }
        let part = u128::from(units) * u128::from(self.own) / u128::from(self.all);
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// Units a minute that it gets until it is done: as Google's limits have it, or as much less as was measured beside
    /// what it should have got with all who copy now.
    fn units_minute(self, minute: Minute, measured: Option<u64>) -> u64 {
        let usable = |units: u64| units.saturating_mul(BACKFILL_MAX) / 1_000;
        let model = usable(minute.person.min(self.of_all(minute.project)));
        let present = usable(minute.person.min(minute.project / self.mailboxes)).max(1);
        let got = measured.map_or(present, |it| it.min(present));
        (model.saturating_mul(got) / present).max(1)
    }
}

/// What a person's calendars wait for, of which `bulk` is read without a notice, if anything is.
pub async fn calendar_waits(
    tx: &mut Tx,
    agenda: &Agenda,
    bulk: Option<Bulk>,
    prices: &Quota,
    now: Timestamp,
) -> Result<Option<Waits>, StoreError> {
    let day_use = day_use(tx, CALENDAR, &agenda.organization_id, prices, now).await?;
    let held_until = quota::held_until(tx, CALENDAR).await?;
    Ok(waits(agenda.paused_until, held_until, day_use.as_ref().zip(bulk), now))
}

/// What an organization's directory waits for, where Google asked to slow down with it until `paused_until`. By
/// Google's tables it has no allowance for a day; an operator may have set one.
pub async fn directory_waits(
    tx: &mut Tx,
    organization: &OrganizationId,
    paused_until: Option<Timestamp>,
    prices: &Quota,
    now: Timestamp,
) -> Result<Option<Waits>, StoreError> {
    let day_use = day_use(tx, DIRECTORY, organization, prices, now).await?;
    let held_until = quota::held_until(tx, DIRECTORY).await?;
    Ok(waits(paused_until, held_until, day_use.as_ref().map(|it| (it, Bulk::Comparing)), now))
}

/// What holds somebody's mail or calendars up: what Google asked for, whichever of it lasts longer, or else the day.
fn waits(
    paused_until: Option<Timestamp>,
    held_until: Option<Timestamp>,
    day: Option<(&DayUse, Bulk)>,
    now: Timestamp,
) -> Option<Waits> {
    let ahead = |at: Option<Timestamp>| at.filter(|at| *at > now);
    match (ahead(paused_until), ahead(held_until)) {
        (paused, Some(held)) if paused.is_none_or(|paused| paused <= held) => Some(Waits::Project(held)),
        (Some(paused), _) => Some(Waits::Paused(paused)),
        (None, _) => day.filter(|(day, bulk)| day.is_used_up(*bulk)).map(|(day, bulk)| Waits::Day {
            bulk,
            percent: day.percent(bulk),
            until: day.turns_at,
        }),
    }
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

impl Day {
    /// Of the day in which it begins: `used` of `most` is gone of today's.
    fn of(part: Part, most: u64, used: u64, begins_at: Timestamp, now: Timestamp) -> Self {
        let (number, turns_at) = day(begins_at);
        let left = if number == day(now).0 { most.saturating_sub(used) } else { most };
        Self { left: part.of_all(left), whole: part.of_all(most), turns_at }
    }
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

    fn day_used() -> DayUse {
        DayUse {
            service: GMAIL,
            units: 10_000,
            limit: 10_000,
            configured: 10_000,
            turns_at: at(60),
            policy_percent: 80,
        }
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
    fn what_begins_tomorrow_has_tomorrow_s_day() {
        let part = Part::of(60_000, Filling { mailboxes: 1, units: 60_000 });
        let now: Timestamp = "2026-11-27T02:00:00Z".parse().expect("18:00 in California");
        let begins_at: Timestamp = "2026-11-27T12:00:00Z".parse().expect("four in the morning there");
        let done = |begins_at| done_at(60_000, 6_000, Day::of(part, 100_000, 100_000, begins_at, now), begins_at);
        assert_eq!(done(begins_at).to_string(), "2026-11-27T12:10:00Z");
        assert_eq!(done(now).to_string(), "2026-11-27T08:10:00Z", "today's part is used up");
    }

    #[test]
    fn who_needs_little_leaves_the_rest_to_the_others() {
        let minute = Minute { person: 6_000, project: 1_200_000 };
        let part = |own, mailboxes, units| Part::of(own, Filling { mailboxes, units });
        // Alone; among as many as the project has room for; and among twice as many that need as much.
        assert_eq!(part(565_000, 1, 565_000).units_minute(minute, None), 5_898);
        assert_eq!(part(565_000, 200, 200 * 565_000).units_minute(minute, None), 5_898);
        assert_eq!(part(565_000, 400, 400 * 565_000).units_minute(minute, None), 2_949);
        // Among 399 who need a hundredth of it, it is nearly alone, today and in the minute.
        let large = part(565_000, 400, 565_000 + 399 * 5_650);
        assert_eq!(large.units_minute(minute, None), 5_898);
        assert!(large.of_all(64_000_000) > 12_000_000, "{}", large.of_all(64_000_000));
        // Half of what it should have got was measured: that stays so.
        assert_eq!(part(565_000, 400, 400 * 565_000).units_minute(minute, Some(1_474)), 1_474);
        assert_eq!(large.units_minute(minute, Some(2_949)), 5_898, "it got its part of what there was for so many");
        assert_eq!(part(0, 0, 0).units_minute(minute, None), 5_898);
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
    fn a_pass_waits_for_the_day_exactly_where_the_engine_stops_it() {
        let live = Mailbox { state: MailboxState::Live, ..filling(at(0)) };
        let compared = Mailbox { state: MailboxState::Reconciling, copied_at: Some(at(0)), ..filling(at(0)) };
        let begun = Mailbox { copied_at: None, ..compared.clone() };
        let waits_for = |mailbox: &Mailbox, has_fills, units, policy_percent| {
            let day_use = DayUse { units, policy_percent, ..day_used() };
            waits(None, None, Some(&day_use).zip(bulk(mailbox, has_fills)), at(0))
        };
        let day = |bulk, percent| Some(Waits::Day { bulk, percent, until: at(60) });
        for (mailbox, units, policy_percent, expected) in [
            (&filling(at(0)), 7_999, 80, None),
            (&filling(at(0)), 8_000, 80, day(Bulk::Copying, 80)),
            (&begun, 8_000, 80, day(Bulk::Copying, 80)),
            (&filling(at(0)), 9_499, 100, None),
            (&filling(at(0)), 9_500, 100, day(Bulk::Copying, 95)),
            (&compared, 9_499, 80, None),
            (&compared, 9_500, 80, day(Bulk::Comparing, 95)),
            (&live, 10_000, 80, None),
        ] {
            assert_eq!(waits_for(mailbox, false, units, policy_percent), expected, "{units} {policy_percent}");
        }
        assert_eq!(waits_for(&live, true, 8_000, 80), day(Bulk::Copying, 80), "what is read again");
    }

    #[test]
    fn no_policy_is_about_the_directory() {
        let directory = DayUse { service: DIRECTORY, ..day_used() };
        assert_eq!([day_used(), directory].map(|it| it.percent(Bulk::Copying)), [80, 95]);
    }

    #[test]
    fn of_what_google_asked_for_the_longer_is_told() {
        let day_use = day_used();
        let waits =
            |paused: i64, held: i64| waits(Some(at(paused)), Some(at(held)), Some((&day_use, Bulk::Copying)), at(10));
        assert_eq!(waits(20, 30), Some(Waits::Project(at(30))));
        assert_eq!(waits(30, 20), Some(Waits::Paused(at(30))));
        assert_eq!(waits(5, 20), Some(Waits::Project(at(20))));
        assert_eq!(waits(20, 5), Some(Waits::Paused(at(20))));
        assert_eq!(waits(10, 10).map(Waits::until), Some(at(60)), "both are over: the day is what is left");
    }

    #[test]
    fn what_the_day_does_not_hold_goes_on_when_it_turns() {
        assert_eq!(days(60_000, 0, 1_000_000), 3_600 + 600, "today's part is used up");
        assert_eq!(days(60_000, 30_000, 1_000_000), 3_600 + 300, "half today, half tomorrow");
        assert_eq!(days(250_000, 0, 100_000), 3_600 + 2 * 86_400 + 500, "two whole days and a part of the third");
        assert_eq!(days(720_000, 1_000_000_000, 1_000_000_000), 7_200, "a day that holds enough changes nothing");
    }
}

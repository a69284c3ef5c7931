//! What may be spent at Google: per person and minute, per project and minute, per project and day. Live changes come
//! before repair, repair before backfill, and backfill is shared fairly between people.
//!
//! Units are reserved before a step and counted from its end: Google counted them earlier, so they leave Google's
//! minute before they leave ours, however long an answer took. A reader must not break that: stamping units when they
//! are reserved would let a slow answer count twice in one of Google's minutes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use intail_google::SlowScope;
use intail_google::calls::Api;
use intail_google::price::Limits;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::config::Quota;

/// Google's minute.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Thousandths of Google's limit that each class may use. What lies between them is kept free for the one above.
const LIVE_MAX: u64 = 995;
const REPAIR_MAX: u64 = 990;
pub(super) const BACKFILL_MAX: u64 = 985;
/// How much less is spent, in thousandths, each time Google refuses earlier than we counted, at most how much less, and
/// for how long: other programs may use the same project.
const TRIM_STEP: u64 = 100;
const TRIM_MAX: u64 = 500;
const TRIM_FOR: SignedDuration = SignedDuration::from_mins(10);
/// After how long one more call at the same time is tried again, once Google found them too many.
const ONE_MORE_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How long nobody asks after Google refused the whole project and named no time.
const PROJECT_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// How often those who spent nothing lately are forgotten.
const FORGET_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// How long a live change that found no room keeps backfill of the same mailbox away.
const LIVE_FIRST_FOR: SignedDuration = SignedDuration::from_secs(2);
/// The day of a project's limit begins at midnight, Pacific standard time (the day of Google's other daily quotas).
const DAY_OFFSET: SignedDuration = SignedDuration::from_hours(-8);

/// Who is asking, by who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// What was there before.
    Backfill,
    /// What was missed.
    Repair,
    /// Changes that just happened, and what keeps them coming.
    Live,
}

/// The budgets of the three services that count, each by its own table. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budgets([(Api, Budget); 3]);

impl Budgets {
    /// Budgets within what the configuration says.
    pub(super) fn new(quota: &Quota, clock: &Clock) -> Self {
        let services = [(Api::Gmail, quota.limits), (Api::Calendar, quota.calendar), (Api::Directory, quota.directory)];
        Self(services.map(|(api, limits)| (api, Budget::new(limits, clock.clone()))))
    }

    /// Gmail's: what has no budget of its own counts as Gmail.
    pub(super) fn of(&self, api: Api) -> &Budget {
        let [gmail, others @ ..] = &self.0;
        others.iter().find(|(of, _)| *of == api).map_or(&gmail.1, |(_, budget)| budget)
    }

    /// All of them, each with the word for its service.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'static str, &Budget)> {
        self.0.iter().map(|(api, budget)| (service(*api), budget))
    }
}

/// The word for a service whose use is counted.
pub(super) fn service(api: Api) -> &'static str {
    match api {
        Api::Calendar => "calendar",
        Api::Directory => "directory",
        _ => "gmail",
    }
}

/// The budget of one service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budget {
    spent: Arc<Mutex<Spent>>,
    clock: Clock,
}

struct Spent {
    limits: Limits,
    /// What this process may use of the project's minute, in thousandths.
    share: u64,
    /// By the Google account's unchanging id: to Google, a person who left and came back is the same person.
    people: BTreeMap<String, Person>,
    /// How many of them are backfilled.
    backfilling: u64,
    forgotten_at: Option<Timestamp>,
    project: Account,
    /// Google wants nothing from anybody until then.
    held_until: Option<Timestamp>,
    day: Day,
}

#[derive(Default)]
struct Person {
    account: Account,
    /// Calls at once; none while Google hasn't complained.
    calls: Option<Calls>,
    backfills_at: Option<Timestamp>,
    /// A live change found no room, and comes first until then.
    live_until: Option<Timestamp>,
}

struct Calls {
    at_once: u32,
    since: Timestamp,
}

/// A minute that slides, of one person or of the project.
#[derive(Default)]
struct Account {
    done: VecDeque<(Timestamp, u64)>,
    sum: u64,
    underway: u64,
    trim: Option<(u64, Timestamp)>,
}

/// What was spent on a project's day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    /// Its number: days since 1970 in the project's time.
    pub(super) number: i64,
    /// By everybody, as far as it is known here.
    pub(super) units: u64,
    /// Of these, by this process and not written down yet.
    pub(super) unwritten: u64,
}

/// The number of the project's day at an instant, and when the next one begins.
pub(super) fn day(now: Timestamp) -> (i64, Timestamp) {
    const DAY_S: i64 = 24 * 3600;
    let offset_s = DAY_OFFSET.as_secs();
    let number = (now.as_second() + offset_s).div_euclid(DAY_S);
    (number, Timestamp::from_second((number + 1) * DAY_S - offset_s).unwrap_or(Timestamp::MAX))
}

/// Units that were reserved. When this goes, what was used of them is counted from that moment.
pub(super) struct Permit {
    budget: Budget,
    subject: String,
    reserved: u64,
    used: u64,
}

impl Permit {
    /// How many units are reserved.
    pub(super) fn units(&self) -> u64 {
        self.reserved
    }

    /// Gives back what isn't needed of them.
    pub(super) fn only(&mut self, units: u64) {
        let back = self.reserved.saturating_sub(units);
        let mut spent = self.budget.lock();
        spent.project.underway = spent.project.underway.saturating_sub(back);
        if let Some(person) = spent.people.get_mut(&self.subject) {
            person.account.underway = person.account.underway.saturating_sub(back);
        }
        drop(spent);
        self.reserved -= back;
        self.used = self.reserved;
    }

    /// Says how many of them were used.
    pub(super) fn used(&mut self, units: u64) {
        self.used = units;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.budget.clock.now();
        let mut spent = self.budget.lock();
        spent.day.turn(now);
        spent.day.units += self.used;
        spent.day.unwritten += self.used;
        spent.project.settle(self.reserved, self.used, now);
        let person = spent.people.entry(std::mem::take(&mut self.subject)).or_default();
        person.account.settle(self.reserved, self.used, now);
    }
}

impl Budget {
    /// Budgets within `limits`, of which this process may use everything until it hears otherwise.
    pub(super) fn new(limits: Limits, clock: Clock) -> Self {
        let spent = Spent {
            limits,
            share: 1_000,
            people: BTreeMap::new(),
            backfilling: 0,
            forgotten_at: None,
            project: Account::default(),
            held_until: None,
            day: Day::default(),
        };
        Self { spent: Arc::new(Mutex::new(spent)), clock }
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `units` for a Google account, or says when to ask again.
    pub(super) fn reserve(&self, subject: &str, units: u64, class: Class) -> Result<Permit, Timestamp> {
        self.reserve_up_to(subject, units, units, class)
    }

    /// Reserves as much of `wanted` as there is room for, and `least` at least; or says when to ask again.
    pub(super) fn reserve_up_to(
        &self,
        subject: &str,
        wanted: u64,
        least: u64,
        class: Class,
    ) -> Result<Permit, Timestamp> {
        let now = self.clock.now();
        let mut spent = self.lock();
        let units = spent.reserve(subject, wanted, least, class, now)?;
        Ok(Permit { budget: self.clone(), subject: subject.to_owned(), reserved: units, used: units })
    }

    /// Google refused although there was room by our count: less is spent for a while, or fewer calls are made at once.
    /// `until` is what Google said.
    pub(super) fn refused(&self, subject: &str, scope: SlowScope, until: Option<Timestamp>) {
        let now = self.clock.now();
        let mut spent = self.lock();
        let at_once = spent.at_once(subject, now);
        match scope {
            SlowScope::Concurrency => {
                let calls = Calls { at_once: (at_once / 2).max(1), since: now };
                spent.people.entry(subject.to_owned()).or_default().calls = Some(calls);
            }
            SlowScope::Person => spent.people.entry(subject.to_owned()).or_default().account.trim(now),
            SlowScope::Project => {
                spent.project.trim(now);
                spent.hold(until.unwrap_or_else(|| now.checked_add(PROJECT_PAUSE).unwrap_or(now)));
            }
            SlowScope::Day => spent.hold(until.unwrap_or(now).max(day(now).1)),
        }
    }

    /// Until when nobody asks Google anything, if that lies ahead.
    pub(super) fn held_until(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        self.lock().held_until.filter(|until| *until > now)
    }

    /// Another process was told to hold off.
    pub(super) fn hold(&self, until: Timestamp) {
        self.lock().hold(until);
    }

    /// How many calls may be made at once for a person's mailbox.
    pub(super) fn calls_at_once(&self, subject: &str) -> usize {
        let now = self.clock.now();
        usize::try_from(self.lock().at_once(subject, now)).unwrap_or(1)
    }

    /// What a person's mailbox cost within the last minute, for whoever works on it next.
    pub(super) fn spent_on(&self, subject: &str) -> u64 {
        let now = self.clock.now();
        self.lock().people.get_mut(subject).map_or(0, |it| it.account.held(now))
    }

    /// What another process spent on a person's mailbox, at `at` at the latest. What is known here already counts.
    pub(super) fn remember(&self, subject: &str, units: u64, at: Timestamp) {
        let now = self.clock.now();
        let mut spent = self.lock();
        let account = &mut spent.people.entry(subject.to_owned()).or_default().account;
        let unknown = units.saturating_sub(account.held(now));
        if unknown > 0 && now.duration_since(at) < WINDOW {
            account.done.push_front((at.min(now), unknown));
            account.sum += unknown;
        }
    }

    /// What was spent in the last minute by this process, in thousandths of the project's minute, rounded up.
    pub(super) fn spent_in_minute(&self) -> u64 {
        let now = self.clock.now();
        let mut spent = self.lock();
        let limit = spent.limits.project_minute.max(1);
        (spent.project.held(now) * 1_000).div_ceil(limit)
    }

    /// What was spent today that isn't written down yet.
    pub(super) fn unwritten(&self) -> Day {
        let now = self.clock.now();
        let mut spent = self.lock();
        spent.day.turn(now);
        spent.day
    }

    /// `written` of the day were written down, and everybody together spent `total`; this process may use `share`
    /// thousandths of the project's minute from now on.
    pub(super) fn share(&self, share: u64, written: Day, total: u64) {
        let now = self.clock.now();
        let mut spent = self.lock();
        spent.share = share.min(1_000);
        spent.day.turn(now);
        if spent.day.number == written.number {
            spent.day.unwritten = spent.day.unwritten.saturating_sub(written.unwritten);
            spent.day.units = total + spent.day.unwritten;
        }
    }

    /// When backfill may go on, if `percent` of the project's day are used up.
    pub(super) fn day_is_used(&self, percent: u64) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut spent = self.lock();
        spent.day.turn(now);
        let most = spent.limits.project_day / 100 * percent.min(100);
        (spent.day.units >= most).then(|| day(now).1)
    }
}

impl Day {
    fn turn(&mut self, now: Timestamp) {
        let (number, _) = day(now);
        if self.number != number {
            *self = Self { number, ..Self::default() };
        }
    }
}

impl Spent {
    fn reserve(
        &mut self,
        subject: &str,
        wanted: u64,
        least: u64,
        class: Class,
        now: Timestamp,
    ) -> Result<u64, Timestamp> {
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            return Err(until);
        }
        let most = match class {
            Class::Live => LIVE_MAX,
            Class::Repair => REPAIR_MAX,
            Class::Backfill => BACKFILL_MAX,
        };
        self.forget(now);
        let project_most = self.limits.project_minute * self.share / 1_000 * most / 1_000;
        let mut person_most = self.limits.person_minute * most / 1_000;
        if class == Class::Backfill {
            let before = self.people.entry(subject.to_owned()).or_default().backfills_at.replace(now);
            self.backfilling += u64::from(before.is_none());
            // Everybody the same part, when all of them together want more than there is.
            person_most = person_most.min(project_most / self.backfilling.max(1));
        }
        let person = self.people.entry(subject.to_owned()).or_default();
        if class == Class::Backfill
            && let Some(until) = person.live_until.filter(|until| *until > now)
        {
            return Err(until);
        }
        let least = least.min(wanted);
        let room = person
            .account
            .room(least, person_most, now)
            .and_then(|mine| self.project.room(least, project_most, now).map(|all| mine.min(all)));
        match room {
            Ok(room) => {
                if class == Class::Live {
                    person.live_until = None;
                }
                let units = wanted.min(room).max(least);
                person.account.underway += units;
                self.project.underway += units;
                Ok(units)
            }
            Err(until) => {
                if class == Class::Live {
                    person.live_until = until.checked_add(LIVE_FIRST_FOR).ok();
                }
                Err(until)
            }
        }
    }

    fn forget(&mut self, now: Timestamp) {
        if self.forgotten_at.is_some_and(|at| now.duration_since(at) < FORGET_EVERY) {
            return;
        }
        self.forgotten_at = Some(now);
        self.people.retain(|_, person| {
            person.backfills_at = person.backfills_at.filter(|at| now.duration_since(*at) < WINDOW);
            person.account.held(now) > 0
                || person.backfills_at.is_some()
                || person.calls.is_some()
                || person.account.trim.is_some_and(|(_, until)| until > now)
        });
        let backfilling = self.people.values().filter(|it| it.backfills_at.is_some()).count();
        self.backfilling = u64::try_from(backfilling).unwrap_or(u64::MAX);
    }

    fn hold(&mut self, until: Timestamp) {
        self.held_until = self.held_until.max(Some(until));
    }

    fn at_once(&mut self, subject: &str, now: Timestamp) -> u32 {
        let most = self.limits.concurrent_per_mailbox.max(1);
        let Some(person) = self.people.get_mut(subject) else { return most };
        let Some(calls) = &person.calls else { return most };
        let steps = now.duration_since(calls.since).as_secs() / ONE_MORE_AFTER.as_secs();
        let at_once = calls.at_once.saturating_add(u32::try_from(steps.max(0)).unwrap_or(u32::MAX));
        if at_once >= most {
            person.calls = None;
        }
        at_once.min(most)
    }
}

impl Account {
    /// What counts within the minute up to now, with what is under way.
    fn held(&mut self, now: Timestamp) -> u64 {
        while let Some((at, units)) = self.done.front().copied()
            && now.duration_since(at) >= WINDOW
        {
            self.done.pop_front();
            self.sum -= units;
        }
        self.sum + self.underway
    }

    /// How much room there is under `limit`, if it is `least` at least; if not, when enough will have left the minute.
    fn room(&mut self, least: u64, limit: u64, now: Timestamp) -> Result<u64, Timestamp> {
        let trimmed = self.trim.filter(|(_, until)| *until > now).map_or(0, |(less, _)| less);
        let limit = limit / 1_000 * (1_000 - trimmed) + limit % 1_000 * (1_000 - trimmed) / 1_000;
        let held = self.held(now);
        // What is dearer than the whole limit may go once nothing counts: refusing it for ever helps nobody.
        if held + least <= limit || held == 0 {
            return Ok(limit.saturating_sub(held).max(least));
        }
        let mut over = (held + least).saturating_sub(limit);
        for (at, units) in &self.done {
            over = over.saturating_sub(*units);
            if over == 0 || at == self.done.back().map_or(at, |(last, _)| last) {
                return Err(at.checked_add(WINDOW).unwrap_or(Timestamp::MAX));
            }
        }
        // Only what is under way stands in the way; it ends soon.
        Err(now.checked_add(SignedDuration::from_secs(1)).unwrap_or(now))
    }

    fn settle(&mut self, reserved: u64, used: u64, now: Timestamp) {
        self.underway = self.underway.saturating_sub(reserved);
        if used > 0 {
            match self.done.back_mut() {
                Some((at, units)) if *at == now => *units += used,
                _ => self.done.push_back((now, used)),
            }
            self.sum += used;
        }
    }

    fn trim(&mut self, now: Timestamp) {
        let before = self.trim.filter(|(_, until)| *until > now).map_or(0, |(less, _)| less);
        let until = now.checked_add(TRIM_FOR).unwrap_or(now);
        self.trim = Some(((before + TRIM_STEP).min(TRIM_MAX), until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::from_us;

    const LIMITS: Limits =
        Limits { person_minute: 1_000, project_minute: 10_000, project_day: 50_000, concurrent_per_mailbox: 5 };

    fn at(second: i64) -> Timestamp {
        from_us(second * 1_000_000)
    }

    fn budget(limits: Limits) -> (Budget, Clock) {
        let clock = Clock::owned(at(0));
        (Budget::new(limits, clock.clone()), clock)
    }

    fn until(refused: Result<Permit, Timestamp>) -> Timestamp {
        refused.err().expect("refused")
    }

    fn pass(clock: &Clock, seconds: u64) {
        clock.advance(Duration::from_secs(seconds));
    }

    #[test]
    fn promise_8_each_service_has_a_budget_of_its_own() {
        let clock = Clock::owned(at(0));
        let budgets = Budgets::new(&Quota::of(intail_google::price::Table::May2026), &clock);
        for (api, minute) in [(Api::Gmail, 6_000), (Api::Calendar, 600), (Api::Directory, 2_400)] {
            let most = minute * LIVE_MAX / 1_000;
            drop(budgets.of(api).reserve("1", most, Class::Live).expect("room"));
            assert_eq!(until(budgets.of(api).reserve("1", 1, Class::Live)), at(60), "{}", service(api));
            drop(budgets.of(api).reserve("2", 1, Class::Live).expect("another person has their own minute"));
        }
        // Ten thousand requests a minute is what the calendar gives everybody together.
        for person in 3..=18 {
            drop(budgets.of(Api::Calendar).reserve(&person.to_string(), 580, Class::Live).expect("room"));
        }
        until(budgets.of(Api::Calendar).reserve("19", 580, Class::Live));
        drop(budgets.of(Api::Directory).reserve("19", 580, Class::Live).expect("the directory has its own"));
        let words: Vec<_> = budgets.each().map(|(word, budget)| (word, budget.unwritten().units > 0)).collect();
        assert_eq!(words, [("gmail", true), ("calendar", true), ("directory", true)]);
    }

    #[test]
    fn promise_8_the_minute_is_never_exceeded_and_opens_again_as_it_slides() {
        let (budget, clock) = budget(LIMITS);
        drop(budget.reserve("1", 500, Class::Backfill).expect("room"));
        pass(&clock, 10);
        drop(budget.reserve("1", 480, Class::Backfill).expect("room"));
        assert_eq!(until(budget.reserve("1", 10, Class::Backfill)), at(60));
        drop(budget.reserve("1", 10, Class::Live).expect("live still has room"));
        assert_eq!(until(budget.reserve("1", 10, Class::Live)), at(60));
        pass(&clock, 52);
        assert_eq!(budget.reserve("1", 400, Class::Live).expect("room").units(), 400);
    }

    #[test]
    fn units_count_from_the_end_of_a_step_so_a_slow_answer_never_counts_twice_in_a_minute_of_googles() {
        let (budget, clock) = budget(LIMITS);
        let slow = budget.reserve("1", 900, Class::Live).expect("room");
        pass(&clock, 100);
        assert!(budget.reserve("1", 200, Class::Live).is_err(), "it is still under way");
        drop(slow);
        pass(&clock, 59);
        assert_eq!(until(budget.reserve("1", 200, Class::Live)), at(160));
        pass(&clock, 1);
        assert!(budget.reserve("1", 900, Class::Live).is_ok());
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let (budget, _) = budget(LIMITS);
        let mut permit = budget.reserve("1", 900, Class::Live).expect("room");
        permit.used(100);
        drop(permit);
        assert_eq!(budget.spent_on("1"), 100);
        assert_eq!(budget.reserve_up_to("1", 5_000, 20, Class::Backfill).expect("room").units(), 885);
    }

    #[test]
    fn the_project_s_minute_holds_for_everyone_together_and_by_this_process_s_share() {
        let (budget, _) = budget(Limits { project_minute: 1_000, ..LIMITS });
        drop(budget.reserve("1", 900, Class::Live).expect("room"));
        assert_eq!(until(budget.reserve("2", 900, Class::Live)), at(60));
        let (budget, _) = self::budget(LIMITS);
        budget.share(50, Day::default(), 0);
        assert_eq!(budget.reserve_up_to("1", 5_000, 20, Class::Live).expect("room").units(), 497);
    }

    #[test]
    fn backfill_is_shared_fairly_when_all_want_more_than_there_is() {
        let (budget, _) = budget(Limits { project_minute: 1_000, ..LIMITS });
        let mut spent = [0; 4];
        for _ in 0..60 {
            for (person, spent) in spent.iter_mut().enumerate() {
                if let Ok(permit) = budget.reserve_up_to(&person.to_string(), 20, 20, Class::Backfill) {
                    *spent += permit.units();
                }
            }
        }
        let (least, most) = (spent.iter().min(), spent.iter().max());
        assert_eq!((least, most), (Some(&240), Some(&240)));
    }

    #[test]
    fn a_live_change_that_found_no_room_comes_before_backfill() {
        let (budget, clock) = budget(LIMITS);
        drop(budget.reserve("1", 500, Class::Live).expect("room"));
        pass(&clock, 1);
        drop(budget.reserve("1", 480, Class::Live).expect("room"));
        assert_eq!(until(budget.reserve("1", 600, Class::Live)), at(61));
        pass(&clock, 59);
        assert_eq!(until(budget.reserve("1", 20, Class::Backfill)), at(63), "what opened at 60 is the live change's");
        pass(&clock, 1);
        drop(budget.reserve("1", 600, Class::Live).expect("room"));
        assert!(budget.reserve("1", 20, Class::Backfill).is_ok());
    }

    #[test]
    fn less_is_spent_for_a_while_when_google_refuses_earlier_than_counted() {
        let (budget, clock) = budget(LIMITS);
        budget.refused("1", SlowScope::Person, None);
        assert_eq!(budget.reserve_up_to("1", 5_000, 20, Class::Live).expect("room").units(), 895);
        for _ in 0..20 {
            budget.refused("2", SlowScope::Person, None);
        }
        assert_eq!(budget.reserve_up_to("2", 5_000, 20, Class::Live).expect("room").units(), 497);
        pass(&clock, 601);
        assert_eq!(budget.reserve_up_to("2", 5_000, 20, Class::Live).expect("room").units(), 995);
    }

    #[test]
    fn a_project_that_is_told_to_wait_waits_for_everybody() {
        let (budget, clock) = budget(LIMITS);
        budget.refused("1", SlowScope::Project, Some(at(30)));
        assert_eq!(until(budget.reserve("2", 1, Class::Live)), at(30));
        pass(&clock, 30);
        assert!(budget.reserve("2", 1, Class::Live).is_ok());
        budget.refused("1", SlowScope::Day, None);
        assert_eq!(until(budget.reserve("2", 1, Class::Live)), day(at(30)).1);
    }

    #[test]
    fn fewer_calls_at_once_when_google_finds_them_too_many_and_more_again_later() {
        let (budget, clock) = budget(LIMITS);
        let mut seen = vec![budget.calls_at_once("1")];
        for _ in 0..3 {
            budget.refused("1", SlowScope::Concurrency, None);
            seen.push(budget.calls_at_once("1"));
        }
        pass(&clock, 600);
        seen.push(budget.calls_at_once("1"));
        pass(&clock, 6_000);
        seen.push(budget.calls_at_once("1"));
        assert_eq!(seen, [5, 2, 1, 1, 3, 5]);
        assert_eq!(budget.calls_at_once("2"), 5);
    }

    #[test]
    fn the_day_is_used_up_for_backfill_first_and_turns_at_midnight_in_california() {
        let (budget, clock) = budget(Limits { person_minute: 50_000, project_minute: 50_000, ..LIMITS });
        let turns = day(at(0)).1;
        assert_eq!(turns, at(8 * 3600));
        assert_eq!(budget.day_is_used(80), None);
        drop(budget.reserve("1", 30_000, Class::Live).expect("room"));
        let unwritten = budget.unwritten();
        assert_eq!(unwritten.unwritten, 30_000);
        budget.share(1_000, unwritten, 40_000);
        assert_eq!(budget.day_is_used(80), Some(turns), "others spent 10,000");
        assert_eq!(budget.day_is_used(100), None);
        pass(&clock, 8 * 3600);
        assert_eq!(budget.day_is_used(80), None);
    }

    #[test]
    fn what_another_process_spent_on_a_mailbox_is_remembered() {
        let (budget, clock) = budget(LIMITS);
        pass(&clock, 30);
        budget.remember("1", 900, at(10));
        budget.remember("1", 900, at(20));
        assert_eq!(budget.spent_on("1"), 900);
        assert_eq!(until(budget.reserve("1", 200, Class::Live)), at(70));
        budget.remember("2", 900, at(-60));
        assert_eq!(budget.spent_on("2"), 0);
    }
}

//! What may be spent at Google: per person and minute, per project and minute, per project and day. Live changes come
//! before repair, repair before backfill, and backfill is shared fairly between people. Copying in bulk keeps to a
//! pace, so that something of a minute is free at any time: docs/decisions/0026-copying-keeps-to-a-pace.md.
//!
//! Units are reserved before a step and counted from its end: Google counted them earlier, so they leave Google's
//! minute before they leave ours, however long an answer took. A reader must not break that: stamping units when they
//! are reserved would let a slow answer count twice in one of Google's minutes.
//!
//! What this process may use of the project's minute it hears from `shares`, for a few seconds at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use intail_google::SlowScope;
use intail_google::calls::Api;
use intail_google::day::day;
use intail_google::price::Limits;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::config::Quota;
use crate::store::quota::{self, DayLimit, Hold};
use crate::store::spending::{AtOnce, Correction, Spending, grain};

/// Google's minute.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Thousandths of a person's limit that each class may use. What lies between them is kept free for the one above.
const LIVE_MAX: u64 = 995;
const REPAIR_MAX: u64 = 990;
pub(super) const BACKFILL_MAX: u64 = 983;
/// What is copied in bulk is spread over the minute: who used it up at once would leave live changes no room until it
/// is over. So much faster than the minute allows, in thousandths, that nothing of it stays unused.
const PACE: u64 = 1_050;
/// How much of what the pace allows may be used ahead of it, so that the newest messages are there at once; and how
/// much is waited for, so that a step is worth its writing.
const AHEAD: SignedDuration = SignedDuration::from_secs(20);
const BEAT: SignedDuration = SignedDuration::from_secs(2);
/// Millionths of the project's minute: all of it.
pub(super) const WHOLE: u64 = 1_000_000;
/// A part that doesn't grow any more, or by next to nothing: what is free is left for those who come new, and each idle
/// process keeps a little.
const NEARLY_WHOLE: u64 = 930_000;
/// How much less than a process may use of the project's minute repair and backfill leave, in thousandths of that.
const REPAIR_OF_PART: u64 = 998;
const BACKFILL_OF_PART: u64 = 995;
/// How much of the project's day all but live changes may use, in percent: what is left is for them.
pub(super) const DAY_MAX_PERCENT: u64 = 95;
/// How much less is spent, in thousandths, each time Google refuses earlier than we counted, at most how much less, and
/// for how long: other programs may use the same project.
const TRIM_STEP: u64 = 100;
const TRIM_MAX: u64 = 500;
const TRIM_FOR: SignedDuration = SignedDuration::from_mins(10);
/// Where Google refuses a day earlier than we counted, our sum is the day's limit for so long; unless we had spent less
/// than this of it, in percent: then it was others who used it up, and our own sum says nothing.
const DAY_TRIM_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
const DAY_TRIM_FROM_PERCENT: u64 = 5;
/// Whoever waits for the day to turn looks again after so long at the latest: the day may have become larger.
const DAY_LOOK_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// After how long one more call at the same time is tried again, once Google found them too many.
const ONE_MORE_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How long nobody asks after Google refused the whole project and named no time.
const PROJECT_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// How often those who spent nothing lately are forgotten.
const FORGET_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// How long a live change that found no room keeps backfill of the same mailbox away.
const LIVE_FIRST_FOR: SignedDuration = SignedDuration::from_secs(2);
/// Nobody comes back later than this after everybody may: all at once, they would find the minute used up again.
const SPREAD_MAX: SignedDuration = SignedDuration::from_mins(5);
/// How much of a wait that is, at most: one part of so many.
const SPREAD_PART: i32 = 10;
/// A hold that lasts longer is the operator's business.
pub(super) const HELD_LONG: SignedDuration = SignedDuration::from_mins(10);

/// Who is asking; who comes first stands last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// What was there before, within so much of the project's day, in percent.
    Backfill(u64),
    /// What was missed.
    Repair,
    /// Changes that just happened, and what keeps them coming.
    Live,
}

impl Class {
    /// What was there before, where no policy says how much of the day is for it.
    pub(super) const BACKFILL: Self = Self::Backfill(DAY_MAX_PERCENT);

    /// Of how much of the project's day it leaves the rest to those that come before it; none that leaves nothing.
    fn day_percent(self) -> Option<u64> {
        match self {
            Self::Backfill(percent) => Some(percent.min(DAY_MAX_PERCENT)),
            Self::Repair => Some(DAY_MAX_PERCENT),
            Self::Live => None,
        }
    }
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
fn service(api: Api) -> &'static str {
    match api {
        Api::Calendar => quota::CALENDAR,
        Api::Directory => quota::DIRECTORY,
        _ => quota::GMAIL,
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
    /// What this process may use of the project's minute.
    part: Part,
    /// The most that one step wanted of it and didn't get since it was last asked, in units.
    lacked: u64,
    /// By the Google account's unchanging id: to Google, a person who left and came back is the same person.
    people: BTreeMap<String, Person>,
    /// How many of them are backfilled.
    backfilling: u64,
    forgotten_at: Option<Timestamp>,
    project: Account,
    /// Google wants nothing from anybody until then, as all processes know.
    held_until: Option<Timestamp>,
    /// The same, as this one heard since it told the others last.
    refused_until: Option<Timestamp>,
    day: Day,
    /// What Google gives on a day, where it refused earlier than we counted, as all processes know.
    day_limit: Option<DayLimit>,
    /// The same, as this one learned since it told the others last.
    day_refused: Option<DayLimit>,
}

/// A process's part of the project's minute.
#[derive(Clone, Copy)]
struct Part {
    /// In millionths.
    most: u64,
    /// How long that holds: who heard nothing since may spend nothing. None while nobody shares it out.
    until: Option<Timestamp>,
    /// When it may become more.
    next_at: Option<Timestamp>,
}

#[derive(Default)]
struct Person {
    /// What everybody spent on them, as far as it is known here: Google's limit of a person is about that.
    account: Account,
    /// Of that, what this process spent: the fair part of this process's part of the project's minute is about that.
    here: Account,
    /// Calls at once; none while Google hasn't complained.
    at_once: Option<AtOnce>,
    backfills_at: Option<Timestamp>,
    /// A live change found no room, and comes first until then.
    live_until: Option<Timestamp>,
    /// When the pace will have allowed for what was copied in bulk.
    paced_until: Option<Timestamp>,
    /// What live changes took within the last two minutes.
    live: VecDeque<(Timestamp, u64)>,
}

/// A minute that slides, of one person or of the project.
#[derive(Default)]
struct Account {
    done: VecDeque<(Timestamp, u64)>,
    sum: u64,
    /// What has left the minute while its grain hasn't: another process may know it as of a later instant of the grain,
    /// and would take it for what it wasn't told.
    left: VecDeque<(Timestamp, u64)>,
    underway: u64,
    correction: Option<Correction>,
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

/// Units that were reserved. When this goes, what was used of them is counted from that moment.
pub(super) struct Permit {
    budget: Budget,
    subject: String,
    reserved: u64,
    used: u64,
    class: Class,
    /// The pace that it is taken at, if it is.
    pace: Option<Pace>,
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
            person.here.underway = person.here.underway.saturating_sub(back);
            person.give_back(self.pace, back);
        }
        drop(spent);
        self.reserved -= back;
        self.used = self.reserved;
    }

    /// Says how many of them were used.
    pub(super) fn used(&mut self, units: u64) {
        self.used = units;
    }

    /// How many of them that is.
    pub(super) fn units_used(&self) -> u64 {
        self.used
    }

    /// Uses so many more of them; answers whether there are as many.
    pub(super) fn use_more(&mut self, units: u64) -> bool {
        let used = self.used.saturating_add(units);
        let is_there = used <= self.reserved;
        if is_there {
            self.used = used;
        }
        is_there
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut spent = self.budget.lock();
        let now = self.budget.clock.now();
        spent.day.turn(now);
        spent.day.units += self.used;
        spent.day.unwritten += self.used;
        spent.project.settle(self.reserved, self.used, now);
        let person = spent.people.entry(std::mem::take(&mut self.subject)).or_default();
        person.give_back(self.pace, self.reserved.saturating_sub(self.used));
        if self.class == Class::Live && self.used > 0 {
            person.forget_live(now);
            person.live.push_back((now, self.used));
        }
        person.account.settle(self.reserved, self.used, now);
        // Backfill alone asks for it: what is over is forgotten with this.
        person.here.settle(self.reserved, self.used, now);
    }
}

impl Budget {
    /// Budgets within `limits`, of which this process may use everything until it hears otherwise.
    pub(super) fn new(limits: Limits, clock: Clock) -> Self {
        let spent = Spent {
            limits,
            part: Part { most: WHOLE, until: None, next_at: None },
            lacked: 0,
            people: BTreeMap::new(),
            backfilling: 0,
            forgotten_at: None,
            project: Account::default(),
            held_until: None,
            refused_until: None,
            day: Day::default(),
            day_limit: None,
            day_refused: None,
        };
        Self { spent: Arc::new(Mutex::new(spent)), clock }
    }

    /// Whoever asks the clock does so once this is locked: an earlier time would look as if the clock were set back.
    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `units` for a Google account, or says when to ask again.
    pub(super) fn reserve(&self, subject: &str, units: u64, class: Class) -> Result<Permit, Timestamp> {
        let mut spent = self.lock();
        let now = self.clock.now();
        let units = spent.reserve(subject, units, units, class, now)?;
        Ok(self.permit(subject, units, class, None))
    }

    /// Reserves as much of `wanted` as there is room for, and `least` at least; or says when to ask again. All but live
    /// changes keep to a pace.
    pub(super) fn reserve_up_to(
        &self,
        subject: &str,
        wanted: u64,
        least: u64,
        class: Class,
    ) -> Result<Permit, Timestamp> {
        let mut spent = self.lock();
        let now = self.clock.now();
        let pace = (class != Class::Live).then(|| spent.pace(class));
        let allowed = match pace {
            Some(pace) => spent.keep_pace(subject, pace, least, now)?,
            None => u64::MAX,
        };
        let reserved = spent.reserve(subject, wanted.min(allowed), least, class, now);
        if let Some(pace) = pace {
            let person = spent.people.entry(subject.to_owned()).or_default();
            match reserved {
                Ok(units) => person.go_on(pace, units, now),
                // Whoever waits for the minute saves nothing up meanwhile.
                Err(until) if until.duration_since(now) <= WINDOW => person.wait(until),
                Err(_) => {}
            }
        }
        Ok(self.permit(subject, reserved?, class, pace))
    }

    fn permit(&self, subject: &str, units: u64, class: Class, pace: Option<Pace>) -> Permit {
        Permit { budget: self.clone(), subject: subject.to_owned(), reserved: units, used: units, class, pace }
    }

    /// Google refused although there was room by our count: less is spent for a while, or fewer calls are made at once.
    /// `until` is what Google said.
    pub(super) fn refused(&self, subject: &str, scope: SlowScope, until: Option<Timestamp>) {
        let mut spent = self.lock();
        let now = self.clock.now();
        let at_once = spent.at_once(subject, now);
        match scope {
            SlowScope::Concurrency => {
                let fewer = AtOnce { calls: (at_once / 2).max(1), since: now };
                spent.people.entry(subject.to_owned()).or_default().at_once = Some(fewer);
            }
            SlowScope::Person => spent.people.entry(subject.to_owned()).or_default().account.correct(now),
            SlowScope::Project => {
                spent.project.correct(now);
                let until = until.unwrap_or_else(|| now.checked_add(PROJECT_PAUSE).unwrap_or(now));
                spent.refused_until = spent.refused_until.max(Some(until));
            }
            SlowScope::Day => {
                let until = until.unwrap_or(now).max(day(now).1);
                spent.refused_until = spent.refused_until.max(Some(until));
                spent.correct_day(now);
            }
        }
    }

    /// Until when Google wants nothing from anybody, and how much less is spent then, if the other processes don't know
    /// that yet.
    pub(super) fn hold_untold(&self) -> Option<Hold> {
        self.lock().hold_untold()
    }

    /// The others know of `told` now, and together they know what is `held`, or that somebody lifted that.
    pub(super) fn hold(&self, told: Option<Hold>, held: Option<Hold>) {
        let mut spent = self.lock();
        let (now, before) = (self.clock.now(), spent.hold_untold());
        spent.held_until = held.map(|it| it.until);
        if let Some(correction) = held.and_then(|it| it.correction) {
            spent.project.hear(correction, now);
        }
        // Google may have refused once more since that was told.
        if told == before {
            (spent.refused_until, spent.day_refused) = (None, None);
        }
        spent.day_limit = spent.day_refused.or(held.and_then(|it| it.day));
    }

    /// How many calls may be made at once for a person's mailbox.
    pub(super) fn calls_at_once(&self, subject: &str) -> usize {
        let now = self.clock.now();
        usize::try_from(self.lock().at_once(subject, now)).unwrap_or(1)
    }

    /// What a person's mailbox cost within the last minute, for whoever works on it next.
    pub(super) fn spent_on(&self, subject: &str) -> Spending {
        let mut spent = self.lock();
        let now = self.clock.now();
        let mut spending = Spending::default();
        if let Some(Person { account, at_once, .. }) = spent.people.get_mut(subject) {
            account.held(now);
            account.left.iter().chain(&account.done).for_each(|(at, units)| spending.add(*at, *units));
            spending.add(now, account.underway);
            spending = spending.corrected(account.correction.filter(|it| it.until > now), *at_once);
        }
        spending
    }

    /// What others spent on a person's mailbox, this process included. What is known here already counts. The same
    /// unit may be known as of another instant of its grain, so it is what was spent since the beginning of each grain
    /// that is compared: as much as was told counts here, too, from then on. If nobody knows it (more than there is,
    /// [`UNKNOWN_SPENT`](crate::store::quota::UNKNOWN_SPENT)), only what repair leaves to live changes is free:
    /// together with the most that the other may have spent, that is no more than the whole.
    pub(super) fn remember(&self, subject: &str, spending: &Spending) {
        let mut spent = self.lock();
        let now = self.clock.now();
        let most = spent.limits.person_minute;
        let Person { account, at_once, .. } = spent.people.entry(subject.to_owned()).or_default();
        // The latest word of how many calls at the same time are too many.
        *at_once = [*at_once, spending.at_once()].into_iter().flatten().max_by_key(|it| it.since);
        account.held(now);
        if let Some(correction) = spending.correction() {
            account.hear(correction, now);
        }
        let mut told = 0u64;
        for (at, units) in spending.each().rev().filter(|(at, _)| now.duration_since(*at) < WINDOW) {
            let at = at.min(now);
            if units > most {
                // Whatever is known here besides may be told of as of later than it was.
                account.insert(at, most * REPAIR_MAX / 1_000);
                return;
            }
            told = told.saturating_add(units);
            account.insert(at, told.saturating_sub(account.since(grain(at))));
        }
    }

    /// What was spent in the last minute by this process, in millionths of the project's minute, rounded up.
    pub(super) fn spent_in_minute(&self) -> u64 {
        let mut spent = self.lock();
        let now = self.clock.now();
        let held = spent.project.held(now);
        spent.millionths(held)
    }

    /// The most that a step wanted of the project's minute and didn't get since this was last asked, in millionths.
    pub(super) fn lacked(&self) -> u64 {
        let mut spent = self.lock();
        let lacked = std::mem::take(&mut spent.lacked);
        spent.millionths(lacked)
    }

    /// What was spent today that isn't written down yet.
    pub(super) fn unwritten(&self) -> Day {
        let mut spent = self.lock();
        let now = self.clock.now();
        spent.day.turn(now);
        spent.day
    }

    /// No more than this many millionths of the project's minute are used from now on, whatever was said before.
    pub(super) fn use_at_most(&self, most: u64) {
        let mut spent = self.lock();
        spent.part.most = spent.part.most.min(most);
    }

    /// This process may use so many millionths of the project's minute until then; it may be more at `next_at`.
    pub(super) fn take_part(&self, most: u64, until: Timestamp, next_at: Timestamp) {
        self.lock().part = Part { most: most.min(WHOLE), until: Some(until), next_at: Some(next_at) };
    }

    /// `written` of the day were written down, and everybody together spent `total`.
    pub(super) fn book(&self, written: Day, total: u64) {
        let mut spent = self.lock();
        let now = self.clock.now();
        spent.day.turn(now);
        if spent.day.number == written.number {
            spent.day.unwritten = spent.day.unwritten.saturating_sub(written.unwritten);
            spent.day.units = total + spent.day.unwritten;
        }
    }

    /// When somebody looks again, if so much of the project's day is used up that this class waits for the next.
    pub(super) fn day_wait(&self, subject: &str, class: Class) -> Option<Timestamp> {
        let mut spent = self.lock();
        let now = self.clock.now();
        spent.day_wait(subject, class, now)
    }

    /// Whether so much of the project's day is used up that only live changes go on.
    pub(super) fn day_is_nearly_used(&self) -> bool {
        let now = self.clock.now();
        let mut spent = self.lock();
        spent.day.turn(now);
        spent.day.units >= spent.share_of_day(DAY_MAX_PERCENT, now)
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
    fn hold_untold(&self) -> Option<Hold> {
        self.refused_until.map(|until| Hold { until, correction: self.project.correction, day: self.day_refused })
    }

    fn reserve(
        &mut self,
        subject: &str,
        wanted: u64,
        least: u64,
        class: Class,
        now: Timestamp,
    ) -> Result<u64, Timestamp> {
        if let Some(until) = self.held_until.max(self.refused_until).filter(|until| *until > now) {
            return Err(spread(subject, now, until));
        }
        let soon = now.saturating_add(FORGET_EVERY).unwrap_or(now);
        if let Some(until) = self.day_wait(subject, class, now) {
            return Err(until);
        }
        let day_most = self.day_most(class, now);
        let day_left = day_most.saturating_sub(self.day.units + self.project.underway);
        if day_left == 0 {
            // What is under way takes the rest, or gives something back.
            return Err(soon);
        }
        if self.part.until.is_some_and(|until| until <= now) {
            return Err(soon);
        }
        let (most, of_part) = match class {
            Class::Live => (LIVE_MAX, 1_000),
            Class::Repair => (REPAIR_MAX, REPAIR_OF_PART),
            Class::Backfill(_) => (BACKFILL_MAX, BACKFILL_OF_PART),
        };
        self.forget(now);
        let project_most = self.units(self.part.most) * of_part / 1_000;
        let person_most = self.limits.person_minute * most / 1_000;
        let mut fair = u64::MAX;
        let is_backfill = matches!(class, Class::Backfill(_));
        if is_backfill {
            let before = self.people.entry(subject.to_owned()).or_default().backfills_at.replace(now);
            self.backfilling += u64::from(before.is_none());
            // Everybody the same part, when all of them together want more than there is.
            fair = self.project.limit(project_most, now) / self.backfilling.max(1);
        }
        let person = self.people.entry(subject.to_owned()).or_default();
        if is_backfill && let Some(until) = person.live_until.filter(|until| *until > now) {
            return Err(until);
        }
        let least = least.min(wanted);
        // Others use the rest of the project's minute: what is dearer than this part of it waits until that grows.
        let is_too_dear = least > project_most && least <= self.limits.project_minute && self.part.most < NEARLY_WHOLE;
        let all = match self.project.room(least, project_most, now) {
            Ok(_) if is_too_dear => Err(soon),
            all => all,
        };
        // A part that is told anew soon may be larger then, unless it is nearly everything.
        let next_at = self.part.next_at.filter(|_| self.part.most < NEARLY_WHOLE).map(|at| at.max(soon));
        let sooner = |until: Timestamp| next_at.map_or(until, |at| at.min(until));
        let kept_free = if class == Class::Live { 0 } else { person.kept_free(now) };
        let mine = person.account.room(least, person_most.saturating_sub(kept_free), now);
        let fairly = if is_backfill { person.here.room(least, fair, now).map_err(sooner) } else { Ok(u64::MAX) };
        if mine.is_ok() {
            // The part has to become so large that what the class leaves of it is enough, for each who is copied.
            let shared = if fairly.is_err() && least > fair { least.saturating_mul(self.backfilling) } else { least };
            let lacked = shared.saturating_mul(1_000).div_ceil(of_part);
            if all.is_err() || shared > least {
                self.lacked = self.lacked.max(lacked.min(self.limits.project_minute));
            }
        }
        let mine = mine.and_then(|mine| fairly.map(|fair| fair.min(mine)));
        let room = mine.and_then(|mine| all.map(|all| mine.min(all)).map_err(sooner));
        match room {
            Ok(room) => {
                if class == Class::Live {
                    person.live_until = None;
                }
                let units = wanted.min(room).min(day_left).max(least);
                person.account.underway += units;
                person.here.underway += units;
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

    /// What a class may use of the day.
    fn day_most(&self, class: Class, now: Timestamp) -> u64 {
        class.day_percent().map_or(u64::MAX, |percent| self.share_of_day(percent, now))
    }

    fn day_wait(&mut self, subject: &str, class: Class, now: Timestamp) -> Option<Timestamp> {
        self.day.turn(now);
        let looks_at = day(now).1.min(now.saturating_add(DAY_LOOK_EVERY).unwrap_or(now));
        (self.day.units >= self.day_most(class, now)).then(|| spread(subject, now, looks_at))
    }

    /// How long the pace of a class allows for a unit.
    fn pace(&self, class: Class) -> Pace {
        let most = if class == Class::Repair { REPAIR_MAX } else { BACKFILL_MAX };
        Pace { units: (self.limits.person_minute * most / 1_000 * PACE / 1_000).max(1) }
    }

    /// How many units the pace allows now, if these are `least` at least; or when it will.
    fn keep_pace(&self, subject: &str, pace: Pace, least: u64, now: Timestamp) -> Result<u64, Timestamp> {
        let paced_until = self.people.get(subject).and_then(|it| it.paced_until).unwrap_or(now);
        let ahead = paced_until.duration_since(now).max(SignedDuration::ZERO);
        // Further ahead than this is nobody but whose clock was set back.
        let ahead = if ahead > WINDOW + AHEAD { SignedDuration::ZERO } else { ahead };
        let time = (AHEAD - ahead).max(SignedDuration::ZERO);
        let wanted = pace.time_of(least).min(AHEAD);
        if time >= wanted {
            return Ok(pace.units_in(time).max(least));
        }
        // Times are kept without their last digits: a little later, so that it isn't too early.
        let wait = ahead - (AHEAD - wanted.max(BEAT)) + SignedDuration::from_millis(1);
        Err(now.checked_add(wait).unwrap_or(now))
    }

    /// So many percent of the project's day.
    fn share_of_day(&self, percent: u64, now: Timestamp) -> u64 {
        percent_of(day_limit(self.limits.project_day, self.day_limit, now), percent)
    }

    /// Google refused the day earlier than we counted.
    fn correct_day(&mut self, now: Timestamp) {
        self.day.turn(now);
        let Some(whole) = self.limits.day() else { return };
        if (percent_of(whole, DAY_TRIM_FROM_PERCENT).max(1)..whole).contains(&self.day.units) {
            let until = now.checked_add(DAY_TRIM_FOR).unwrap_or(now);
            self.day_refused = Some(DayLimit { units: self.day.units, until });
            self.day_limit = self.day_refused;
        }
    }

    /// Millionths of the project's minute, rounded up.
    fn millionths(&self, units: u64) -> u64 {
        let limit = u128::from(self.limits.project_minute.max(1));
        u64::try_from((u128::from(units) * u128::from(WHOLE)).div_ceil(limit)).unwrap_or(u64::MAX)
    }

    /// Units of the project's minute, rounded down.
    fn units(&self, millionths: u64) -> u64 {
        let units = u128::from(self.limits.project_minute) * u128::from(millionths) / u128::from(WHOLE);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    fn forget(&mut self, now: Timestamp) {
        // A clock that was set back doesn't stop it.
        if self.forgotten_at.is_some_and(|at| at <= now && now.duration_since(at) < FORGET_EVERY) {
            return;
        }
        self.forgotten_at = Some(now);
        self.people.retain(|_, person| {
            person.backfills_at =
                person.backfills_at.map(|at| at.min(now)).filter(|at| now.duration_since(*at) < WINDOW);
            person.account.held(now) > 0
                || person.backfills_at.is_some()
                || person.at_once.is_some()
                || person.account.correction.is_some_and(|it| it.until > now)
        });
        let backfilling = self.people.values().filter(|it| it.backfills_at.is_some()).count();
        self.backfilling = u64::try_from(backfilling).unwrap_or(u64::MAX);
    }

    fn at_once(&mut self, subject: &str, now: Timestamp) -> u32 {
        let most = self.limits.concurrent_per_mailbox.max(1);
        let Some(person) = self.people.get_mut(subject) else { return most };
        let Some(fewer) = person.at_once else { return most };
        let steps = now.duration_since(fewer.since).as_secs() / ONE_MORE_AFTER.as_secs();
        let at_once = fewer.calls.saturating_add(u32::try_from(steps.max(0)).unwrap_or(u32::MAX));
        if at_once >= most {
            person.at_once = None;
        }
        at_once.min(most)
    }
}

/// How fast somebody's messages are copied in bulk.
#[derive(Clone, Copy)]
struct Pace {
    /// In a minute.
    units: u64,
}

impl Pace {
    fn time_of(self, units: u64) -> SignedDuration {
        let nanos = (u128::from(units) * WINDOW.as_nanos().unsigned_abs()).div_ceil(u128::from(self.units));
        // More than a minute's is nowhere asked for.
        SignedDuration::from_nanos(i64::try_from(nanos.min(WINDOW.as_nanos().unsigned_abs())).unwrap_or(i64::MAX))
    }

    fn units_in(self, time: SignedDuration) -> u64 {
        let units = u128::from(self.units) * time.as_nanos().unsigned_abs() / WINDOW.as_nanos().unsigned_abs();
        u64::try_from(units).unwrap_or(u64::MAX)
    }
}

impl Person {
    /// What is kept free for live changes, beside what they took in this minute: as much as they took in each of the
    /// last two. Without that, backfill would take what leaves the minute of a mailbox where much happens.
    fn kept_free(&mut self, now: Timestamp) -> u64 {
        self.forget_live(now);
        let (mut both, mut this) = (0u64, 0u64);
        for (at, units) in &self.live {
            both = both.saturating_add(*units);
            this = this.saturating_add(if now.duration_since(*at) < WINDOW { *units } else { 0 });
        }
        (both / 2).saturating_sub(this)
    }

    fn forget_live(&mut self, now: Timestamp) {
        // The clock was set back: what lies ahead would stay until it has caught up.
        if self.live.back().is_some_and(|(at, _)| *at > now) {
            self.live.clear();
        }
        while self.live.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW * 2) {
            self.live.pop_front();
        }
    }

    /// So many units were taken.
    fn go_on(&mut self, pace: Pace, units: u64, now: Timestamp) {
        let from = self.paced_until.filter(|at| at.duration_since(now) <= WINDOW + AHEAD).max(Some(now));
        self.paced_until = from.map(|at| at.saturating_add(pace.time_of(units)).unwrap_or(at));
    }

    /// Of what was taken, so many units weren't used.
    fn give_back(&mut self, pace: Option<Pace>, units: u64) {
        if let (Some(pace), Some(at)) = (pace, self.paced_until) {
            self.paced_until = at.saturating_sub(pace.time_of(units)).ok();
        }
    }

    /// At `until` the pace allows no more than for a beat.
    fn wait(&mut self, until: Timestamp) {
        self.paced_until = self.paced_until.max(until.saturating_add(AHEAD - BEAT).ok());
    }
}

/// What Google gives on a day: as configured, or less where it refused earlier.
pub(super) fn day_limit(configured: u64, corrected: Option<DayLimit>, now: Timestamp) -> u64 {
    corrected.filter(|it| it.until > now).map_or(configured, |it| it.units.min(configured))
}

/// So many percent of a day.
pub(super) fn percent_of(limit: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(limit) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// When somebody comes back of all who wait until then: each person at another time, and always at the same.
fn spread(subject: &str, now: Timestamp, until: Timestamp) -> Timestamp {
    let most = (until.duration_since(now) / SPREAD_PART).min(SPREAD_MAX);
    let sum = subject.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let ms = i64::from(sum).rem_euclid(i64::try_from(most.as_millis()).unwrap_or(0).max(1));
    until.saturating_add(SignedDuration::from_millis(ms)).unwrap_or(until)
}

impl Account {
    /// What counts within the minute up to now, with what is under way.
    fn held(&mut self, now: Timestamp) -> u64 {
        // The clock was set back: what was spent counts for a minute from now, and not until the clock has caught up.
        if self.done.back().is_some_and(|(at, _)| *at > now) {
            self.done.iter_mut().for_each(|(at, _)| *at = (*at).min(now));
            self.left.clear();
        }
        while let Some((at, units)) = self.done.front().copied()
            && now.duration_since(at) >= WINDOW
        {
            self.done.pop_front();
            self.sum -= units;
            self.left.push_back((at, units));
        }
        let oldest = grain(now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN));
        while self.left.front().is_some_and(|(at, _)| grain(*at) < oldest) {
            self.left.pop_front();
        }
        self.sum + self.underway
    }

    /// So much, less what Google's refusals taught.
    fn limit(&self, limit: u64, now: Timestamp) -> u64 {
        let kept = 1_000 - self.correction.filter(|it| it.until > now).map_or(0, |it| it.less.min(TRIM_MAX));
        limit / 1_000 * kept + limit % 1_000 * kept / 1_000
    }

    /// How much room there is under `limit`, if it is `least` at least; if not, when enough will have left the minute.
    fn room(&mut self, least: u64, limit: u64, now: Timestamp) -> Result<u64, Timestamp> {
        let limit = self.limit(limit, now);
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

    /// What counts since the beginning of a grain, with what is under way.
    fn since(&self, begin: i64) -> u64 {
        let since = self.left.iter().chain(&self.done).rev().take_while(|(at, _)| grain(*at) >= begin);
        since.map(|(_, units)| units).sum::<u64>() + self.underway
    }

    /// Adds what was spent before now where it belongs: what stands first leaves the minute first.
    fn insert(&mut self, at: Timestamp, units: u64) {
        if units > 0 {
            let place = self.done.partition_point(|(before, _)| *before <= at);
            self.done.insert(place, (at, units));
            self.sum += units;
        }
    }

    fn settle(&mut self, reserved: u64, used: u64, now: Timestamp) {
        // What lies ahead of a clock that was set back must not come to stand before this.
        self.held(now);
        self.underway = self.underway.saturating_sub(reserved);
        if used > 0 {
            match self.done.back_mut() {
                Some((at, units)) if *at == now => *units += used,
                _ => self.done.push_back((now, used)),
            }
            self.sum += used;
        }
    }

    /// Google refused earlier than we counted.
    fn correct(&mut self, now: Timestamp) {
        let before = self.correction.filter(|it| it.until > now).map_or(0, |it| it.less);
        let until = now.checked_add(TRIM_FOR).unwrap_or(now);
        self.correction = Some(Correction { less: (before + TRIM_STEP).min(TRIM_MAX), until });
    }

    /// Another process was refused: the most that anybody learned counts, until the last of it is over.
    fn hear(&mut self, heard: Correction, now: Timestamp) {
        let known = self.correction.filter(|it| it.until > now);
        let most =
            |known: Correction| Correction { less: known.less.max(heard.less), until: known.until.max(heard.until) };
        self.correction = Some(known.map_or(heard, most));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::from_us;
    use crate::store::quota::UNKNOWN_SPENT;

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

    /// What counts of the one person's minute.
    fn held(budget: &Budget, clock: &Clock) -> u64 {
        budget.lock().people.get_mut("1").map_or(0, |person| person.account.held(clock.now()))
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
        drop(budget.reserve("1", 500, Class::BACKFILL).expect("room"));
        pass(&clock, 10);
        drop(budget.reserve("1", 480, Class::BACKFILL).expect("room"));
        assert_eq!(until(budget.reserve("1", 10, Class::BACKFILL)), at(60));
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
        assert_eq!(budget.spent_on("1"), Spending::once(at(0), 100));
        assert_eq!(budget.reserve_up_to("1", 5_000, 20, Class::Live).expect("room").units(), 895);
    }

    #[test]
    fn the_project_s_minute_holds_for_everyone_together_and_by_this_process_s_share() {
        let (budget, _) = budget(Limits { project_minute: 1_000, ..LIMITS });
        drop(budget.reserve("1", 900, Class::Live).expect("room"));
        assert_eq!(until(budget.reserve("2", 900, Class::Live)), at(60));
        let (budget, clock) = self::budget(LIMITS);
        budget.take_part(50_000, at(12), at(5));
        assert_eq!(budget.reserve_up_to("1", 5_000, 20, Class::Live).expect("room").units(), 500);
        assert_eq!((budget.spent_in_minute(), budget.lacked()), (50_000, 0));
        assert_eq!(until(budget.reserve("2", 600, Class::Live)), at(5), "dearer than the part: it may grow");
        assert_eq!((budget.lacked(), budget.lacked()), (60_000, 0), "asked once");
        budget.use_at_most(90_000);
        budget.take_part(90_000, at(12), at(5));
        budget.use_at_most(20_000);
        assert_eq!(until(budget.reserve("2", 20, Class::Live)), at(5));
        budget.take_part(WHOLE, at(12), at(5));
        pass(&clock, 12);
        assert_eq!(until(budget.reserve("2", 20, Class::Live)), at(13), "nobody said for how long it goes on");
    }

    #[test]
    fn a_process_that_waits_for_its_part_never_exceeds_it() {
        let (budget, _) = budget(LIMITS);
        budget.take_part(2_000, at(12), at(5));
        assert!(budget.reserve("1", 250, Class::Live).is_err(), "although nothing was spent yet");
        drop(budget.reserve("1", 20, Class::Live).expect("room"));
    }

    #[test]
    fn what_two_processes_know_at_different_times_of_the_same_units_hides_nothing_that_only_one_knows() {
        let clock = Clock::owned(at(0));
        let [one, other] = [(); 2].map(|()| Budget::new(LIMITS, clock.clone()));
        let spend = |budget: &Budget, units| drop(budget.reserve("1", units, Class::Live).expect("room"));
        pass(&clock, 25);
        spend(&one, 101);
        pass(&clock, 2);
        spend(&one, 5);
        other.remember("1", &one.spent_on("1"));
        assert_eq!(other.spent_on("1"), Spending::once(at(27), 106));
        pass(&clock, 13);
        spend(&one, 50);
        // The one has forgotten what it spent at 25; the other heard of it as of 27.
        pass(&clock, 46);
        other.remember("1", &one.spent_on("1"));
        pass(&clock, 2);
        assert_eq!(held(&other, &clock), 50);
        spend(&other, 30);
        one.remember("1", &other.spent_on("1"));
        one.remember("1", &other.spent_on("1"));
        assert_eq!(held(&one, &clock), 80, "what is known counts once");
    }

    #[test]
    fn what_has_left_the_minute_of_one_process_hides_nothing_new_from_another() {
        let clock = Clock::owned(at(0));
        let [one, other] = [(); 2].map(|()| Budget::new(LIMITS, clock.clone()));
        let spend = |budget: &Budget, units| drop(budget.reserve("1", units, Class::Live).expect("room"));
        pass(&clock, 25);
        spend(&one, 500);
        pass(&clock, 2);
        spend(&one, 1);
        other.remember("1", &one.spent_on("1"));
        pass(&clock, 2);
        spend(&one, 400);
        // At 86 the first 500 are over; of the same grain are 400 that the other hasn't heard of.
        pass(&clock, 57);
        other.remember("1", &one.spent_on("1"));
        pass(&clock, 2);
        assert!(other.reserve("1", 600, Class::Live).is_err(), "Google counts 400 until 89");
        pass(&clock, 1);
        assert!(other.reserve("1", 900, Class::Live).is_ok());
        assert!(one.reserve("1", 900, Class::Live).is_ok());
    }

    #[test]
    fn a_clock_that_was_set_back_while_something_was_under_way_stops_nobody() {
        let mut account = Account { underway: 900, ..Account::default() };
        account.settle(500, 500, at(10_000));
        account.settle(400, 400, at(0));
        assert_eq!((account.held(at(59)), account.held(at(60))), (900, 0));
    }

    #[test]
    fn of_what_a_dead_process_may_have_spent_on_a_mailbox_only_the_least_is_left() {
        let (budget, clock) = budget(LIMITS);
        budget.remember("1", &Spending::once(at(0), UNKNOWN_SPENT));
        drop(budget.reserve("1", 5, Class::Live).expect("a live change has room"));
        assert_eq!(until(budget.reserve("1", 1, Class::Live)), at(60));
        pass(&clock, 60);
        drop(budget.reserve("1", 900, Class::BACKFILL).expect("room"));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nobody_for_longer_than_a_minute() {
        let clock = Clock::owned(at(10_000));
        let budget = Budget::new(LIMITS, clock.clone());
        drop(budget.reserve("1", 990, Class::Live).expect("room"));
        let back = Budget { clock: Clock::owned(at(0)), ..budget };
        assert_eq!(until(back.reserve("1", 900, Class::BACKFILL)), at(60));
        back.clock.advance(Duration::from_secs(61));
        drop(back.reserve("1", 900, Class::BACKFILL).expect("room"));
    }

    #[test]
    fn repair_and_backfill_leave_the_end_of_the_day_to_live_changes() {
        let (budget, _) = budget(Limits { person_minute: 60_000, project_minute: 60_000, ..LIMITS });
        drop(budget.reserve("1", 47_000, Class::Live).expect("room"));
        assert!(!budget.day_is_nearly_used());
        drop(budget.reserve("1", 500, Class::Repair).expect("room"));
        assert!(budget.day_is_nearly_used());
        for class in [Class::Repair, Class::BACKFILL] {
            let until = until(budget.reserve("1", 1, class));
            assert!(until >= at(3_600) && until <= at(3_600) + SPREAD_MAX, "an hour later it looks again: {until}");
        }
        drop(budget.reserve("1", 2_000, Class::Live).expect("room"));
    }

    #[test]
    fn what_takes_as_much_as_there_is_takes_no_more_than_the_day_has_left() {
        let (budget, _) = budget(Limits { person_minute: 60_000, project_minute: 60_000, ..LIMITS });
        drop(budget.reserve("1", 45_000, Class::Live).expect("room"));
        let under_way = budget.reserve_up_to("1", 2_000, 20, Class::BACKFILL).expect("room");
        assert_eq!(under_way.units(), 2_000);
        assert_eq!(budget.reserve_up_to("2", 2_000, 20, Class::BACKFILL).expect("room").units(), 500);
        assert_eq!(budget.reserve_up_to("2", 2_000, 20, Class::Live).expect("room").units(), 2_000);
    }

    #[test]
    fn after_a_wait_for_everybody_each_comes_back_at_a_time_of_their_own() {
        let (budget, _) = budget(LIMITS);
        budget.refused("1", SlowScope::Day, None);
        let people = 0..100u32;
        let back: std::collections::BTreeSet<Timestamp> =
            people.map(|it| until(budget.reserve(&format!("1152{it}"), 1, Class::Live))).collect();
        let turns = day(at(0)).1;
        assert!(back.len() > 90 && back.iter().all(|it| *it >= turns && *it <= turns + SPREAD_MAX), "{back:?}");
    }

    #[test]
    fn the_newest_messages_are_there_at_once_and_the_rest_follows_at_a_pace() {
        let (budget, clock) = budget(Limits { person_minute: 6_000, ..LIMITS });
        let ahead = budget.reserve_up_to("1", 20_000, 20, Class::BACKFILL).expect("room").units();
        assert_eq!(ahead, 2_064, "a third of a minute");
        let later = at(2) + Duration::from_millis(1);
        assert_eq!(until(budget.reserve_up_to("1", 20_000, 20, Class::BACKFILL)), later);
        assert!(budget.reserve("1", 10, Class::BACKFILL).is_ok(), "a page isn't bulk");
        pass(&clock, 2);
        let mut permit = budget.reserve_up_to("1", 20_000, 20, Class::BACKFILL).expect("room");
        assert_eq!(permit.units(), 206, "as much as two seconds allow");
        permit.used(0);
        drop(permit);
        let again = budget.reserve_up_to("1", 20_000, 20, Class::Repair).expect("nothing of it was used");
        assert!((200..=210).contains(&again.units()), "{}", again.units());
        assert!(budget.reserve_up_to("2", 20_000, 20, Class::BACKFILL).is_ok(), "each at a pace of their own");
    }

    #[test]
    fn whoever_is_told_when_the_pace_allows_something_gets_it_then() {
        let (budget, clock) = budget(Limits { person_minute: 1_100, ..LIMITS });
        let (mut taken, mut waits) = (0, 0);
        while taken < 2_000 {
            match budget.reserve_up_to("1", 1_000, 40, Class::BACKFILL) {
                Ok(mut permit) => {
                    permit.only(40);
                    taken += 40;
                }
                Err(until) => {
                    // As it is kept: without what is less than a microsecond.
                    let kept = from_us(until.as_microsecond());
                    assert!(kept > clock.now(), "{until} isn't later than now");
                    clock.advance(Duration::try_from(kept.duration_since(clock.now())).expect("later"));
                    waits += 1;
                }
            }
        }
        assert!(waits < 60, "{waits}");
    }

    #[test]
    fn what_live_changes_took_is_forgotten_although_nothing_else_asks() {
        let (budget, clock) = budget(LIMITS);
        for _ in 0..600 {
            drop(budget.reserve("1", 1, Class::Live).expect("room"));
            pass(&clock, 1);
        }
        let kept = budget.lock().people.get("1").map_or(0, |it| it.live.len());
        assert_eq!(kept, 120, "two minutes of them");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_from_their_pace() {
        let clock = Clock::owned(at(10_000));
        let budget = Budget::new(LIMITS, clock.clone());
        drop(budget.reserve_up_to("1", 900, 20, Class::BACKFILL).expect("room"));
        let back = Budget { clock: Clock::owned(at(0)), ..budget };
        let until = until(back.reserve_up_to("1", 900, 900, Class::BACKFILL));
        assert!(until <= at(60), "{until}");
        back.clock.advance(Duration::from_secs(61));
        assert!(back.reserve_up_to("1", 900, 20, Class::BACKFILL).is_ok());
    }

    /// How long letters waited at most, in tenths of a second, from the second minute on, and how many units a minute
    /// were copied beside them.
    fn beside_a_backfill(letters: impl Fn(u64) -> u64) -> (u64, u64) {
        const MINUTES: u64 = 6;
        let (budget, clock) = budget(Limits { person_minute: 6_000, project_minute: 1_000_000, ..LIMITS });
        let (mut copied, mut copy_at, mut waiting, mut longest) = (0, at(0), VecDeque::new(), 0);
        for tenth in 0..MINUTES * 600 {
            let counts = tenth >= 600;
            if copy_at <= clock.now() {
                match budget.reserve_up_to("1", 20_000, 20, Class::BACKFILL) {
                    Ok(mut permit) => {
                        permit.only(permit.units() / 20 * 20);
                        copied += if counts { permit.units() } else { 0 };
                    }
                    Err(until) => copy_at = until,
                }
            }
            (0..letters(tenth)).for_each(|_| waiting.push_back(tenth));
            while let Some(since) = waiting.front().copied() {
                if budget.reserve("1", 22, Class::Live).is_err() {
                    longest = if counts { longest.max(tenth + 1 - since) } else { longest };
                    break;
                }
                waiting.pop_front();
            }
            clock.advance(Duration::from_millis(100));
        }
        (longest, copied / (MINUTES - 1))
    }

    #[test]
    fn letters_that_come_while_a_mailbox_is_copied_wait_for_nothing() {
        let (longest, copied) = beside_a_backfill(|tenth| u64::from(tenth % 40 == 7));
        assert!(longest <= 20, "fifteen a minute: {longest} tenths of a second");
        assert!(copied >= 5_400, "{copied}");
        let (longest, copied) = beside_a_backfill(|tenth| if tenth % 600 == 300 { 3 } else { 0 });
        assert_eq!(longest, 0, "three at once");
        assert!(copied >= 5_700, "{copied}");
        let (longest, _) = beside_a_backfill(|tenth| if tenth % 600 == 300 { 12 } else { 0 });
        assert!(longest <= 50, "twelve at once: {longest} tenths of a second");
    }

    #[test]
    fn a_step_that_is_dearer_than_this_process_s_part_makes_that_large_enough() {
        let (budget, clock) = budget(Limits { person_minute: 6_000, project_minute: 600, ..LIMITS });
        let mut part = 250_000;
        budget.take_part(part, at(5), at(5));
        drop(budget.reserve("1", 100, Class::Live).expect("room"));
        let mut waited = 0;
        while budget.reserve("1", 210, Class::BACKFILL).is_err() {
            waited += 5;
            assert!(waited < 300, "its part stays {part}");
            pass(&clock, 5);
            // As `shares` has it, for one that runs alone.
            part = budget.spent_in_minute() + budget.lacked().max(250_000);
            budget.take_part(part, clock.now() + Duration::from_secs(5), clock.now() + Duration::from_secs(5));
        }
    }

    #[test]
    fn whoever_gives_next_to_nothing_waits_but_not_for_ever() {
        let tiny = Limits { person_minute: 10, project_minute: 100, project_day: 50, concurrent_per_mailbox: 1 };
        let (budget, clock) = budget(tiny);
        budget.take_part(990_000, at(300), at(300));
        drop(budget.reserve("1", 100, Class::Live).expect("dearer than nine tenths of the minute, and than the day"));
        pass(&clock, 60);
        assert!(until(budget.reserve("1", 1, Class::BACKFILL)) >= at(60) + DAY_LOOK_EVERY);
        pass(&clock, 24 * 3_600);
        budget.take_part(990_000, clock.now() + WINDOW, clock.now() + WINDOW);
        drop(budget.reserve("1", 20, Class::BACKFILL).expect("there is something of the day"));
    }

    #[test]
    fn what_google_refused_of_the_project_is_missing_to_everybody_alike() {
        let (budget, clock) = budget(Limits { person_minute: 5_000, project_minute: 5_000, ..LIMITS });
        budget.refused("1", SlowScope::Project, Some(at(1)));
        pass(&clock, 1);
        for person in ["1", "2"] {
            drop(budget.reserve(person, 1, Class::BACKFILL).expect("room"));
        }
        for person in ["1", "2"] {
            let most = (1..=50).rev().find_map(|hundreds| budget.reserve(person, hundreds * 100, Class::BACKFILL).ok());
            assert_eq!(most.expect("room").units(), 2_200, "half of nine tenths");
        }
    }

    #[test]
    fn backfill_is_shared_fairly_when_all_want_more_than_there_is() {
        let (budget, _) = budget(Limits { project_minute: 1_000, ..LIMITS });
        let mut spent = [0; 4];
        for _ in 0..60 {
            for (person, spent) in spent.iter_mut().enumerate() {
                if let Ok(permit) = budget.reserve_up_to(&person.to_string(), 20, 20, Class::BACKFILL) {
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
        assert_eq!(until(budget.reserve("1", 20, Class::BACKFILL)), at(63), "what opened at 60 is the live change's");
        pass(&clock, 1);
        drop(budget.reserve("1", 600, Class::Live).expect("room"));
        assert!(budget.reserve("1", 20, Class::BACKFILL).is_ok());
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
        let back = until(budget.reserve("2", 1, Class::Live));
        assert!(back >= at(30) && back < at(33), "{back}");
        pass(&clock, 30);
        assert!(budget.reserve("2", 1, Class::Live).is_ok());
        budget.refused("1", SlowScope::Day, None);
        let turns = day(at(30)).1;
        assert!(until(budget.reserve("2", 1, Class::Live)) >= turns);
        budget.hold(budget.hold_untold(), Some(Hold { until: turns, correction: None, day: None }));
        assert_eq!(budget.hold_untold(), None, "the others know");
        assert!(until(budget.reserve("2", 1, Class::Live)) >= turns);
        budget.hold(None, None);
        assert!(budget.reserve("2", 1, Class::Live).is_ok(), "somebody lifted it");
    }

    #[test]
    fn a_day_that_google_refused_earlier_than_was_counted_is_the_measure_for_a_week() {
        let limits = Limits { person_minute: 50_000, project_minute: 50_000, ..LIMITS };
        let (budget, clock) = budget(limits);
        let spend = |units| drop(budget.reserve("1", units, Class::Live).expect("room"));
        let day_limit = || budget.hold_untold().expect("untold").day.map(|it| it.units);
        spend(2_499);
        budget.refused("1", SlowScope::Day, None);
        assert_eq!(day_limit(), None, "less than a twentieth is ours: others used it up");
        budget.hold(budget.hold_untold(), None);
        spend(7_501);
        budget.refused("1", SlowScope::Day, None);
        assert_eq!(day_limit(), Some(10_000));
        let told = budget.hold_untold();
        budget.hold(told, told);
        // Two days later.
        pass(&clock, 2 * 24 * 3_600);
        assert_eq!(budget.reserve_up_to("2", 50_000, 20, Class::Repair).expect("room").units(), 9_500);
        assert!(budget.day_is_nearly_used(), "these were used");
        assert!(until(budget.reserve("1", 1, Class::Repair)) >= clock.now() + DAY_LOOK_EVERY);
        assert!(budget.reserve("1", 20_000, Class::Live).is_ok(), "live changes try");
        // A refusal of another kind tells nothing of the day, and what this process learned meanwhile stays.
        budget.refused("1", SlowScope::Project, Some(clock.now()));
        assert_eq!(day_limit(), None);
        let told_before = budget.hold_untold();
        budget.refused("1", SlowScope::Day, None);
        budget.hold(told_before, None);
        assert_eq!(day_limit(), Some(29_500), "the latest word counts: Google gave more");
        let told = budget.hold_untold();
        budget.hold(told, told);
        pass(&clock, 8 * 24 * 3_600);
        spend(30_000);
        assert!(budget.reserve("2", 20, Class::Repair).is_ok(), "it is forgotten after a week");
        budget.hold(None, None);
        let elsewhere = DayLimit { units: 90_000, until: clock.now() + DAY_TRIM_FOR };
        assert_eq!(super::day_limit(50_000, Some(elsewhere), clock.now()), 50_000, "never more than is configured");
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
        // Whoever works on it next knows, and whoever had it before.
        budget.refused("1", SlowScope::Concurrency, None);
        let other = Budget::new(LIMITS, clock.clone());
        other.remember("1", &budget.spent_on("1"));
        assert_eq!(other.calls_at_once("1"), 2);
        pass(&clock, 1);
        other.refused("1", SlowScope::Concurrency, None);
        budget.remember("1", &other.spent_on("1"));
        assert_eq!(budget.calls_at_once("1"), 1);
        other.remember("1", &Spending::default());
        assert_eq!(other.calls_at_once("1"), 1);
    }

    #[test]
    fn the_day_is_used_up_for_backfill_first_and_turns_at_midnight_in_california() {
        let (budget, clock) = budget(Limits { person_minute: 50_000, project_minute: 50_000, ..LIMITS });
        let turns = day(at(0)).1;
        assert_eq!(turns, at(8 * 3600));
        let within = Class::Backfill(80);
        drop(budget.reserve("1", 1, within).expect("the day begins"));
        drop(budget.reserve("1", 29_999, Class::Live).expect("room"));
        let unwritten = budget.unwritten();
        assert_eq!(unwritten.unwritten, 30_000);
        budget.book(unwritten, 40_000);
        let back = until(budget.reserve("2", 1, within));
        assert!(back >= at(3_600) && back <= at(3_600) + SPREAD_MAX, "others spent 10,000: {back}");
        drop(budget.reserve("2", 1, Class::BACKFILL).expect("whom no policy binds goes on"));
        pass(&clock, 8 * 3600);
        drop(budget.reserve("2", 1, within).expect("another day"));
    }

    #[test]
    fn copying_takes_as_much_of_the_day_as_the_policy_leaves_it_and_no_step_more() {
        let (budget, _) = budget(Limits { person_minute: 60_000, project_minute: 60_000, ..LIMITS });
        let within = Class::Backfill(20);
        let one = budget.reserve_up_to("1", 50_000, 20, within).expect("room");
        assert_eq!(one.units(), 10_000, "however much there is to copy");
        assert_eq!(until(budget.reserve_up_to("2", 50_000, 20, within)), at(1), "the other may give some of it back");
        drop(one);
        let back = until(budget.reserve_up_to("2", 50_000, 20, within));
        assert!(back >= at(3_600), "{back}");
        drop(budget.reserve("2", 100, Class::Repair).expect("comparing goes on"));
    }

    #[test]
    fn what_one_process_learns_of_google_s_limits_holds_for_the_others() {
        let clock = Clock::owned(at(0));
        let [one, other] = [(); 2].map(|()| Budget::new(LIMITS, clock.clone()));
        // Of a person's minute whoever works on their mailbox next hears; of the project's everybody.
        one.refused("1", SlowScope::Person, None);
        other.remember("1", &one.spent_on("1"));
        let most = |budget: &Budget, subject: &str| {
            budget.reserve_up_to(subject, 50_000, 20, Class::Live).map_or(0, |it| it.units())
        };
        assert_eq!((most(&other, "1"), most(&other, "2")), (895, 995));
        one.refused("1", SlowScope::Project, Some(at(1)));
        let told = one.hold_untold();
        one.hold(told, told);
        other.hold(None, told);
        pass(&clock, 300);
        other.use_at_most(50_000);
        assert_eq!(most(&other, "3"), 450, "a tenth less than half of a person's thousand");
        // What is older, or was lifted, changes nothing that was learned since.
        other.refused("1", SlowScope::Project, Some(at(301)));
        other.hold(other.hold_untold(), told);
        pass(&clock, 301);
        assert_eq!(most(&other, "4"), 400);
        pass(&clock, 300);
        assert_eq!(most(&other, "5"), 500);
    }

    #[test]
    fn what_another_process_spent_on_a_mailbox_is_remembered() {
        let (budget, clock) = budget(LIMITS);
        pass(&clock, 30);
        budget.remember("1", &Spending::once(at(10), 900));
        budget.remember("1", &Spending::once(at(14), 900));
        assert_eq!(budget.spent_on("1"), Spending::once(at(10), 900), "of one grain");
        assert_eq!(until(budget.reserve("1", 200, Class::Live)), at(70));
        budget.remember("2", &Spending::once(at(-30), 900));
        assert_eq!(budget.spent_on("2"), Spending::default());
    }

    #[test]
    fn a_fair_part_is_about_what_this_process_spent_and_not_about_what_others_did() {
        let (budget, _) = budget(Limits { project_minute: 1_000, ..LIMITS });
        budget.take_part(400_000, at(12), at(5));
        budget.remember("1", &Spending::once(at(0), 398));
        assert!(budget.reserve("1", 399, Class::BACKFILL).is_err());
        assert!(budget.reserve("1", 398, Class::BACKFILL).is_ok());
    }

    #[test]
    fn what_is_handed_to_and_fro_leaves_the_minute_as_if_one_had_spent_it_all() {
        let clock = Clock::owned(at(0));
        let two = [Budget::new(LIMITS, clock.clone()), Budget::new(LIMITS, clock.clone())];
        drop(two[0].reserve("1", 900, Class::Live).expect("room"));
        for turn in 1..=60 {
            two[turn % 2].remember("1", &two[(turn + 1) % 2].spent_on("1"));
            pass(&clock, 1);
            let all = if turn < 60 { 900 + turn } else { 60 };
            drop(two[turn % 2].reserve("1", 1, Class::Live).expect("room"));
            assert_eq!(held(&two[turn % 2], &clock), u64::try_from(all).expect("small"), "after {turn} s");
        }
    }

    #[test]
    fn whoever_is_told_to_wait_is_told_a_time_that_lies_ahead() {
        let (budget, clock) = budget(LIMITS);
        drop(budget.reserve("1", 500, Class::Live).expect("room"));
        pass(&clock, 40);
        let mut told = Spending::once(at(0), 500);
        told.add(at(30), 490);
        budget.remember("1", &told);
        assert_eq!(until(budget.reserve("1", 400, Class::Live)), at(60));
        pass(&clock, 20);
        drop(budget.reserve("1", 400, Class::Live).expect("what was spent first left first"));
    }
}

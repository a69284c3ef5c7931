//! Gmail's price list and limits: units by method, a sliding minute for each person and for each project, a project's
//! day, and the number of requests that may run at once for one mailbox. A refused call costs nothing.

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::accounts::Caller;
use crate::api_error::ApiError;

/// Requests that may run at once for one mailbox. Google's number is not published; reports put it near ten.
pub(crate) const CONCURRENT_MAX: u32 = 10;
const MINUTE_MS: i64 = 60_000;

/// Which of Gmail's price lists holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Table {
    /// Projects made since 1 May 2026.
    #[default]
    #[serde(rename = "2026-05")]
    May2026,
    /// Older projects that used the interface in the half year before.
    #[serde(rename = "before-2026-05")]
    BeforeMay2026,
    /// Units are counted, nothing is refused.
    #[serde(rename = "unlimited")]
    Unlimited,
}

/// How a used-up minute of a person is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// 403 `rateLimitExceeded`.
    #[default]
    Forbidden,
    /// 429 `userRateLimitExceeded` with the instant in the sentence.
    RetryAfterSentence,
}

impl Table {
    /// Units of a call, by its name in the discovery document.
    pub fn units(self, call: &str) -> u32 {
        let new = self != Table::BeforeMay2026;
        match call {
            "gmail.users.getProfile" | "gmail.users.labels.list" | "gmail.users.labels.get" => 1,
            "gmail.users.history.list" => 2,
            "gmail.users.messages.list" => 5,
            "gmail.users.messages.get" => {
                if new {
                    20
                } else {
                    5
                }
            }
            "gmail.users.threads.list" => 10,
            "gmail.users.threads.get" => {
                if new {
                    40
                } else {
                    10
                }
            }
            "gmail.users.watch" => 100,
            "gmail.users.stop" => 50,
            _ => 0,
        }
    }

    /// Units for one person in a minute, for the project in a minute, for the project in a day.
    pub fn limits(self) -> Option<Limits> {
        let person_minute = match self {
            Table::May2026 => 6_000,
            Table::BeforeMay2026 => 15_000,
            Table::Unlimited => return None,
        };
        Some(Limits { person_minute, project_minute: 1_200_000, project_day: 80_000_000 })
    }
}

/// The number of a project's day: each begins at midnight in California (source: the quota page of the Google Play
/// Developer API, the only one that says it).
fn day_of(now: Timestamp) -> i64 {
    (now.as_second().div_euclid(3_600) - hours_behind(now)).div_euclid(24)
}

/// How many hours California's clock is behind UTC: seven from the Sunday on or after 8 March to the one on or after
/// 1 November, from two in the morning by the clock that ends then; else eight.
fn hours_behind(now: Timestamp) -> i64 {
    let year = now.to_zoned(TimeZone::UTC).year();
    let change = |month: i8, day: i8, hour: i8| {
        let first = jiff::civil::date(year, month, day);
        let days = (7 - i64::from(first.weekday().to_sunday_zero_offset())) % 7;
        let sunday = first.saturating_add(jiff::Span::new().days(days));
        sunday.at(hour, 0, 0, 0).to_zoned(TimeZone::UTC).map(|it| it.timestamp())
    };
    match (change(3, 8, 10), change(11, 1, 9)) {
        (Ok(from), Ok(to)) if from <= now && now < to => 7,
        _ => 8,
    }
}

/// Units that may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// By one person in one project within a minute.
    pub person_minute: u64,
    /// By all people of a project within a minute.
    pub project_minute: u64,
    /// By all people of a project on one day.
    pub project_day: u64,
}

/// What was spent in the last minute.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Minute {
    spent: VecDeque<(i64, u64)>,
    sum: u64,
}

impl Minute {
    fn slide(&mut self, now_ms: i64) {
        while let Some(&(at_ms, units)) = self.spent.front().filter(|(at_ms, _)| *at_ms <= now_ms - MINUTE_MS) {
            debug_assert!(at_ms <= now_ms);
            self.sum -= units;
            self.spent.pop_front();
        }
    }

    /// Adds to the last entry when it is of the same millisecond, so that the list stays short.
    fn spend(&mut self, now_ms: i64, units: u64) {
        self.sum += units;
        match self.spent.back_mut() {
            Some((at_ms, sum)) if *at_ms == now_ms => *sum += units,
            _ => self.spent.push_back((now_ms, units)),
        }
    }
}

/// A service that counts requests instead of pricing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Google Calendar: 600 a minute for a person, 10,000 for a project, a million a day (since May 2026).
    Calendar,
    /// The Directory API: 2,400 a minute for a person in a project.
    Directory,
}

impl Counted {
    fn limits(self) -> Limits {
        match self {
            Counted::Calendar => Limits { person_minute: 600, project_minute: 10_000, project_day: 1_000_000 },
            Counted::Directory => Limits { person_minute: 2_400, project_minute: u64::MAX, project_day: u64::MAX },
        }
    }

    fn service(self) -> &'static str {
        match self {
            Counted::Calendar => "calendar-json.googleapis.com",
            Counted::Directory => "admin.googleapis.com",
        }
    }
}

/// What was spent by whom, and what may be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Quota {
    /// The price list in force.
    pub table: Table,
    /// Limits that replace the table's own.
    pub limits: Option<Limits>,
    /// How a used-up minute is answered.
    pub refusal: Refusal,
    /// Limits of requests that replace a service's own.
    #[serde(default)]
    pub request_limits: BTreeMap<Counted, Limits>,
    /// How often a call was refused, by the reason in the answer. Injected faults aren't among them: whoever never
    /// exceeds a quota finds this empty, however many calls were made.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    people: BTreeMap<String, Minute>,
    projects: BTreeMap<String, Minute>,
    days: BTreeMap<String, (i64, u64)>,
}

impl Quota {
    /// Charges a call to its caller, or refuses it.
    pub(crate) fn charge(&mut self, caller: &Caller, call: &str, now: Timestamp) -> Result<u32, ApiError> {
        let charged = self.try_to_charge(caller, call, now);
        charged.map_err(|refusal| self.refuse(refusal))
    }

    /// Counts a request to a service that prices nothing, or refuses it.
    pub(crate) fn count(&mut self, caller: &Caller, service: Counted, now: Timestamp) -> Result<(), ApiError> {
        let counted = self.try_to_count(caller, service, now);
        counted.map_err(|refusal| self.refuse(refusal))
    }

    /// Counts a refusal.
    pub(crate) fn refuse(&mut self, refusal: ApiError) -> ApiError {
        // Without the instant in it, which is another one each time.
        let sentence = refusal.message.split("  Retry after").next().unwrap_or_default();
        *self.refused.entry(format!("{} {}: {sentence}", refusal.code, refusal.reason)).or_default() += 1;
        refusal
    }

    fn try_to_charge(&mut self, caller: &Caller, call: &str, now: Timestamp) -> Result<u32, ApiError> {
        let units = self.table.units(call);
        let price = u64::from(units);
        let now_ms = now.as_millisecond();
        let day = day_of(now);
        let person = self.people.entry(format!("{}/{}", caller.project, caller.sub)).or_default();
        let project = self.projects.entry(caller.project.clone()).or_default();
        let today = self.days.entry(caller.project.clone()).or_default();
        person.slide(now_ms);
        project.slide(now_ms);
        if today.0 != day {
            *today = (day, 0);
        }
        if let Some(limits) = self.limits.or_else(|| self.table.limits()) {
            if person.sum + price > limits.person_minute {
                return Err(self.refusal.of(person, price, limits.person_minute, caller.project_number));
            }
            if project.sum + price > limits.project_minute {
                return Err(ApiError::quota_minute("Queries per minute", caller.project_number));
            }
            if today.1 + price > limits.project_day {
                return Err(ApiError::quota_day());
            }
        }
        person.spend(now_ms, price);
        project.spend(now_ms, price);
        today.1 += price;
        Ok(units)
    }

    fn try_to_count(&mut self, caller: &Caller, service: Counted, now: Timestamp) -> Result<(), ApiError> {
        let Limits { person_minute, project_minute, project_day } =
            self.request_limits.get(&service).copied().unwrap_or_else(|| service.limits());
        let now_ms = now.as_millisecond();
        let day = day_of(now);
        let name = service.service();
        let person = self.people.entry(format!("{name}/{}/{}", caller.project, caller.sub)).or_default();
        let project = self.projects.entry(format!("{name}/{}", caller.project)).or_default();
        let today = self.days.entry(format!("{name}/{}", caller.project)).or_default();
        person.slide(now_ms);
        project.slide(now_ms);
        if today.0 != day {
            *today = (day, 0);
        }
        if self.table != Table::Unlimited {
            if person.sum >= person_minute {
                return Err(ApiError::requests_of_person());
            }
            if project.sum >= project_minute {
                return Err(ApiError::requests_of_project(name, caller.project_number));
            }
            if today.1 >= project_day {
                return Err(ApiError::quota_day());
            }
        }
        person.spend(now_ms, 1);
        project.spend(now_ms, 1);
        today.1 += 1;
        Ok(())
    }

    /// Units that a person spent through a project within the last minute.
    pub fn spent_by(&mut self, project: &str, sub: &str, now: Timestamp) -> u64 {
        self.people.get_mut(&format!("{project}/{sub}")).map_or(0, |minute| {
            minute.slide(now.as_millisecond());
            minute.sum
        })
    }
}

impl Refusal {
    fn of(self, minute: &Minute, price: u64, limit: u64, project_number: u64) -> ApiError {
        match self {
            Refusal::Forbidden => ApiError::quota_minute("Queries per minute per user", project_number),
            Refusal::RetryAfterSentence => ApiError::quota_until(free_at(minute, price, limit)),
        }
    }
}

/// The instant at which enough of the minute has passed for the price.
fn free_at(minute: &Minute, price: u64, limit: u64) -> Timestamp {
    let mut left = minute.sum;
    let mut at_ms = minute.spent.back().map_or(0, |&(at_ms, _)| at_ms);
    for &(spent_ms, units) in &minute.spent {
        left -= units;
        at_ms = spent_ms;
        if left + price <= limit {
            break;
        }
    }
    let epoch = Timestamp::UNIX_EPOCH;
    epoch.saturating_add(SignedDuration::from_millis(at_ms.saturating_add(MINUTE_MS))).unwrap_or(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::caller;

    const GET: &str = "gmail.users.messages.get";

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_794_000_000_000 + ms).unwrap()
    }

    #[test]
    fn both_price_lists() {
        assert_eq!((Table::May2026.units(GET), Table::BeforeMay2026.units(GET)), (20, 5));
        assert_eq!(Table::May2026.units("gmail.users.threads.get"), 40);
        assert_eq!(Table::BeforeMay2026.units("gmail.users.threads.get"), 10);
        assert_eq!(Table::May2026.limits().unwrap().person_minute, 6_000);
        assert_eq!(Table::BeforeMay2026.limits().unwrap().person_minute, 15_000);
    }

    #[test]
    fn the_minute_of_a_person_slides() {
        let mut quota = Quota::default();
        for index in 0..300 {
            quota.charge(&caller(), GET, at(index)).unwrap();
        }
        let refused = quota.charge(&caller(), GET, at(1_000)).unwrap_err();
        assert_eq!((refused.code, refused.reason), (403, "rateLimitExceeded"));
        assert!(refused.message.contains("'Queries per minute per user'"));
        assert!(refused.message.contains("project_number:1234567890"));
        let counted: Vec<_> =
            quota.refused.iter().map(|(reason, count)| (reason.contains("per user"), *count)).collect();
        assert_eq!(counted, [(true, 1)]);
        quota.charge(&caller(), GET, at(60_000)).unwrap();
        assert!(quota.charge(&caller(), GET, at(60_000)).is_err());
        let other = Caller { sub: "other".into(), ..caller() };
        quota.charge(&other, GET, at(60_000)).unwrap();
    }

    #[test]
    fn the_sentence_can_name_the_instant() {
        let limits = Limits { person_minute: 40, project_minute: 1_000, project_day: 1_000 };
        let mut quota = Quota { limits: Some(limits), refusal: Refusal::RetryAfterSentence, ..Quota::default() };
        quota.charge(&caller(), GET, at(0)).unwrap();
        quota.charge(&caller(), GET, at(5_000)).unwrap();
        let refused = quota.charge(&caller(), GET, at(6_000)).unwrap_err();
        assert_eq!(refused, ApiError::quota_until(at(60_000)));
        quota.charge(&caller(), GET, at(60_000)).unwrap();
    }

    #[test]
    fn project_minute_and_day() {
        let limits = Limits { person_minute: 1_000, project_minute: 20, project_day: 40 };
        let mut quota = Quota { limits: Some(limits), ..Quota::default() };
        quota.charge(&caller(), GET, at(0)).unwrap();
        assert!(quota.charge(&caller(), GET, at(1)).unwrap_err().message.contains("'Queries per minute'"));
        quota.charge(&caller(), GET, at(60_000)).unwrap();
        assert_eq!(quota.charge(&caller(), GET, at(120_000)).unwrap_err().reason, "dailyLimitExceeded");
        quota.charge(&caller(), GET, at(86_400_000)).unwrap();
        assert_eq!(quota.spent_by("intail-demo", &caller().sub, at(86_400_000)), 20);
    }

    #[test]
    fn the_day_begins_at_midnight_in_california() {
        let is_turn = |text: &str| {
            let at: Timestamp = text.parse().unwrap();
            day_of(at - SignedDuration::from_millis(1)) + 1 == day_of(at)
        };
        for turn in ["2026-01-15T08:00:00Z", "2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z", "2026-07-15T07:00:00Z"] {
            assert!(is_turn(turn), "{turn}");
        }
        assert!(is_turn("2026-11-01T07:00:00Z") && is_turn("2026-11-02T08:00:00Z"));
        assert!(!is_turn("2026-07-15T08:00:00Z") && !is_turn("2026-11-02T07:00:00Z"));
    }

    #[test]
    fn unlimited_still_counts() {
        let mut quota = Quota { table: Table::Unlimited, ..Quota::default() };
        for _ in 0..1_000 {
            assert_eq!(quota.charge(&caller(), GET, at(0)).unwrap(), 20);
        }
    }
}

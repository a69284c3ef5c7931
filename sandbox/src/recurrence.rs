//! How events repeat: the rules that this sandbox makes and reads, and the days that follow from them. It is written
//! apart from the product's own, so that a misreading of RFC 5545 can't hide in both. A rule that is not understood
//! completely is refused where it comes in: a series that is nearly right would be a wrong truth.

use std::fmt;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

/// Longest interval, count and text that are read.
const NUMBER_MAX: u32 = 10_000;
const TEXT_BYTES_MAX: usize = 500;
/// Days of the week as rules write them, Monday first.
const DAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Monday),
    ("TU", Weekday::Tuesday),
    ("WE", Weekday::Wednesday),
    ("TH", Weekday::Thursday),
    ("FR", Weekday::Friday),
    ("SA", Weekday::Saturday),
    ("SU", Weekday::Sunday),
];

/// When something begins: a whole day, or a time of day somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A whole day, wherever one is.
    Day(Date),
    /// What clocks show, and the IANA name of the zone in which they hang.
    Clock(DateTime, String),
}

impl Moment {
    /// Reads `2026-11-02` or `2026-11-02T09:00`; the second needs a zone.
    pub fn parse(text: &str, zone: &str) -> Result<Moment, String> {
        if let Some(day) = text.parse::<Date>().ok().filter(|_| !text.contains('T')) {
            return Ok(Moment::Day(day));
        }
        let clock: DateTime = text
            .parse()
            .map_err(|_| format!("`{text}` is no day and no time; write 2026-11-02 or 2026-11-02T09:00"))?;
        TimeZone::get(zone).map_err(|_| format!("`{zone}` is no time zone; write it like Europe/Berlin"))?;
        Ok(Moment::Clock(clock, zone.to_owned()))
    }

    /// The day on which it begins, as its own clock shows it.
    pub fn day(&self) -> Date {
        match self {
            Moment::Day(day) => *day,
            Moment::Clock(clock, _) => clock.date(),
        }
    }

    /// The same time on another day.
    pub fn on(&self, day: Date) -> Moment {
        match self {
            Moment::Day(_) => Moment::Day(day),
            Moment::Clock(clock, zone) => Moment::Clock(day.to_datetime(clock.time()), zone.clone()),
        }
    }

    /// The instant. A time that a clock skips is the same distance later, one that it shows twice is the first; a whole
    /// day begins where `zone` is.
    pub fn instant(&self, zone: &TimeZone) -> Timestamp {
        let at = |clock: DateTime, zone: TimeZone| zone.to_ambiguous_zoned(clock).compatible();
        let zoned = match self {
            Moment::Day(day) => at(day.to_datetime(jiff::civil::Time::midnight()), zone.clone()),
            Moment::Clock(clock, own) => at(*clock, zone_of(own)),
        };
        zoned.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    /// As it stands in the id of an occurrence: `20261102` or `20261102T080000Z`.
    pub fn stamp(&self) -> String {
        match self {
            Moment::Day(day) => day.strftime("%Y%m%d").to_string(),
            Moment::Clock(..) => self.instant(&TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string(),
        }
    }
}

/// The zone of this name; UTC when there is none, which the door has refused.
pub(crate) fn zone_of(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Every {
    Day,
    Week,
    Month,
    Year,
}

/// Until when, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Day(Date),
    Instant(Timestamp),
}

/// A rule: `RRULE` with `FREQ`, `INTERVAL`, `COUNT`, `UNTIL` and, for days, weeks and months, `BYDAY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    every: Every,
    interval: u32,
    /// Which days; a number other than zero counts within the month, from its end when negative.
    by_day: Vec<(i8, Weekday)>,
    count: Option<u32>,
    until: Option<Until>,
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(text: String) -> Result<Rule, String> {
        Rule::parse(&text)
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}

impl Rule {
    /// Reads `FREQ=WEEKLY;BYDAY=MO,WE`, with or without `RRULE:` before it. The error is a sentence.
    pub fn parse(text: &str) -> Result<Rule, String> {
        let shown: String = text.chars().take(TEXT_BYTES_MAX).collect();
        let wrong = |why: &str| format!("the rule `{shown}` can't be used here: {why}");
        if text.len() > TEXT_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let mut rule = Rule { every: Every::Day, interval: 1, by_day: Vec::new(), count: None, until: None };
        let mut seen = Vec::new();
        for part in text.strip_prefix("RRULE:").unwrap_or(text).split(';') {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("write it like FREQ=WEEKLY;BYDAY=MO"))?;
            if seen.contains(&name) {
                return Err(wrong(&format!("`{name}` is given twice")));
            }
            seen.push(name);
            match name {
                "FREQ" => {
                    let words = ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"];
                    let place = words.iter().position(|word| *word == value);
                    let every = [Every::Day, Every::Week, Every::Month, Every::Year];
                    let place = place.ok_or_else(|| wrong("FREQ may be DAILY, WEEKLY, MONTHLY or YEARLY"))?;
                    rule.every = every[place];
                }
                "INTERVAL" => rule.interval = number(value).ok_or_else(|| wrong("INTERVAL must be 1 to 10000"))?,
                "COUNT" => rule.count = Some(number(value).ok_or_else(|| wrong("COUNT must be 1 to 10000"))?),
                "UNTIL" => {
                    rule.until = Some(until(value).ok_or_else(|| wrong("UNTIL is 20261231 or 20261231T235959Z"))?)
                }
                "BYDAY" => {
                    let days = value.split(',').map(by_day).collect::<Option<_>>();
                    rule.by_day = days.ok_or_else(|| wrong("BYDAY lists days such as MO, 2TU or -1FR"))?;
                }
                "WKST" if value == "MO" => {}
                _ => return Err(wrong(&format!("this sandbox doesn't know `{part}`"))),
            }
        }
        let numbered = rule.by_day.iter().any(|(nth, _)| *nth != 0);
        if !seen.contains(&"FREQ") {
            return Err(wrong("FREQ is missing"));
        }
        if rule.count.is_some() && rule.until.is_some() {
            return Err(wrong("COUNT and UNTIL exclude each other"));
        }
        if (rule.every == Every::Year && !rule.by_day.is_empty()) || (rule.every != Every::Month && numbered) {
            return Err(wrong("BYDAY goes with DAILY, WEEKLY and MONTHLY, and numbers in it with MONTHLY"));
        }
        Ok(rule)
    }

    /// The beginnings of all occurrences, first to last; without end when the rule has none.
    pub fn occurrences(&self, start: &Moment) -> impl Iterator<Item = Moment> {
        let (rule, first) = (self.clone(), start.clone());
        let days = (0..).map_while({
            let (rule, start) = (self.clone(), start.day());
            move |period| rule.days_of(start, period)
        });
        let begin = start.day();
        let slots = days.flatten().filter(move |day| *day >= begin).map(move |day| first.on(day));
        let count = rule.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        slots.take(count).take_while(move |slot| match rule.until {
            None => true,
            Some(Until::Day(day)) => slot.day() <= day,
            Some(Until::Instant(at)) => slot.instant(&TimeZone::UTC) <= at,
        })
    }

    /// The days of the rule's n-th day, week, month or year, in order; `None` at the end of time.
    fn days_of(&self, start: Date, period: u32) -> Option<Vec<Date>> {
        let steps = i64::from(period) * i64::from(self.interval);
        let plus = |date: Date, span: Span| date.checked_add(span).ok();
        let wanted = |day: Date| self.by_day.is_empty() || self.by_day.iter().any(|(_, own)| *own == day.weekday());
        Some(match self.every {
            Every::Day => {
                vec![plus(start, Span::new().try_days(steps).ok()?)?].into_iter().filter(|day| wanted(*day)).collect()
            }
            Every::Week => {
                let monday = plus(start, (-i64::from(start.weekday().to_monday_zero_offset())).days())?;
                let monday = plus(monday, Span::new().try_weeks(steps).ok()?)?;
                let own = |day: &Date| match self.by_day.is_empty() {
                    true => day.weekday() == start.weekday(),
                    false => wanted(*day),
                };
                (0..7).filter_map(|offset| plus(monday, offset.days())).filter(own).collect()
            }
            Every::Month => {
                let month = plus(start.first_of_month(), Span::new().try_months(steps).ok()?)?;
                self.days_of_month(month, start.day())
            }
            Every::Year => {
                let year = i16::try_from(i64::from(start.year()) + steps).ok()?;
                if year > 9_999 {
                    return None;
                }
                Date::new(year, start.month(), start.day()).into_iter().collect()
            }
        })
    }

    fn days_of_month(&self, first: Date, day: i8) -> Vec<Date> {
        if self.by_day.is_empty() {
            return Date::new(first.year(), first.month(), day).into_iter().collect();
        }
        let all: Vec<Date> =
            (1..=first.days_in_month()).filter_map(|day| Date::new(first.year(), first.month(), day).ok()).collect();
        let mut days = Vec::new();
        for (nth, weekday) in &self.by_day {
            let of_week: Vec<Date> = all.iter().copied().filter(|day| day.weekday() == *weekday).collect();
            let count = usize::from(nth.unsigned_abs());
            match nth {
                0 => days.extend(of_week),
                1.. => days.extend(of_week.get(count - 1)),
                _ => days.extend(of_week.len().checked_sub(count).and_then(|place| of_week.get(place))),
            }
        }
        days.sort_unstable();
        days.dedup();
        days
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = match self.every {
            Every::Day => "DAILY",
            Every::Week => "WEEKLY",
            Every::Month => "MONTHLY",
            Every::Year => "YEARLY",
        };
        write!(formatter, "RRULE:FREQ={every}")?;
        if self.interval > 1 {
            write!(formatter, ";INTERVAL={}", self.interval)?;
        }
        match self.until {
            Some(Until::Day(day)) => write!(formatter, ";UNTIL={}", day.strftime("%Y%m%d"))?,
            Some(Until::Instant(at)) => write!(formatter, ";UNTIL={}", at.strftime("%Y%m%dT%H%M%SZ"))?,
            None => {}
        }
        if let Some(count) = self.count {
            write!(formatter, ";COUNT={count}")?;
        }
        for (place, (nth, weekday)) in self.by_day.iter().enumerate() {
            formatter.write_str(if place == 0 { ";BYDAY=" } else { "," })?;
            if *nth != 0 {
                write!(formatter, "{nth}")?;
            }
            let word = DAYS.iter().find(|(_, own)| own == weekday).map_or("", |(word, _)| word);
            formatter.write_str(word)?;
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number))
}

fn until(text: &str) -> Option<Until> {
    if text.len() == 8 {
        return Date::strptime("%Y%m%d", text).ok().map(Until::Day);
    }
    let clock = DateTime::strptime("%Y%m%dT%H%M%S", text.strip_suffix('Z')?).ok()?;
    clock.to_zoned(TimeZone::UTC).ok().map(|zoned| Until::Instant(zoned.timestamp()))
}

fn by_day(text: &str) -> Option<(i8, Weekday)> {
    let (nth, word) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let weekday = DAYS.iter().find(|(own, _)| *own == word)?.1;
    let nth = if nth.is_empty() { 0 } else { nth.parse().ok().filter(|nth: &i8| *nth != 0 && nth.abs() <= 5)? };
    Some((nth, weekday))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(rule: &str, start: &str, most: usize) -> Vec<String> {
        let start = Moment::parse(start, "Europe/Berlin").unwrap();
        let rule = Rule::parse(rule).unwrap();
        rule.occurrences(&start).take(most).map(|slot| slot.stamp()).collect()
    }

    #[test]
    fn days_weeks_months_and_years() {
        assert_eq!(days("FREQ=DAILY;INTERVAL=2;COUNT=3", "2026-12-30", 9), ["20261230", "20270101", "20270103"]);
        assert_eq!(days("FREQ=DAILY;BYDAY=SA,SU", "2026-11-21", 3), ["20261121", "20261122", "20261128"]);
        let weekly = days("RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=FR,MO", "2026-11-27", 4);
        assert_eq!(weekly, ["20261127", "20261207", "20261211", "20261221"]);
        assert_eq!(days("FREQ=WEEKLY;UNTIL=20261215", "2026-12-01", 9), ["20261201", "20261208", "20261215"]);
        assert_eq!(days("FREQ=MONTHLY", "2026-10-31", 3), ["20261031", "20261231", "20270131"]);
        assert_eq!(days("FREQ=MONTHLY;BYDAY=-1FR", "2026-11-27", 3), ["20261127", "20261225", "20270129"]);
        assert_eq!(days("FREQ=MONTHLY;BYDAY=5MO", "2026-11-30", 2), ["20261130", "20270329"]);
        assert_eq!(days("FREQ=MONTHLY;BYDAY=2TU,1MO", "2026-12-07", 3), ["20261207", "20261208", "20270104"]);
        assert_eq!(days("FREQ=YEARLY", "2024-02-29", 2), ["20240229", "20280229"]);
        assert_eq!(days("FREQ=YEARLY;INTERVAL=5000", "2026-01-01", 9).len(), 2, "time ends in the year 9999");
    }

    #[test]
    fn clocks_that_jump_keep_the_time_of_day() {
        let over_march = days("FREQ=DAILY", "2026-03-28T09:00", 3);
        assert_eq!(over_march, ["20260328T080000Z", "20260329T070000Z", "20260330T070000Z"]);
        let skipped = days("FREQ=DAILY", "2026-03-28T02:30", 3);
        assert_eq!(skipped, ["20260328T013000Z", "20260329T013000Z", "20260330T003000Z"]);
        let twice = days("FREQ=DAILY", "2026-10-24T02:30", 3);
        assert_eq!(twice, ["20261024T003000Z", "20261025T003000Z", "20261026T013000Z"]);
        let end = "FREQ=DAILY;UNTIL=20260329T070000Z";
        assert_eq!(days(end, "2026-03-28T09:00", 9).len(), 2, "the end is inclusive and an instant");
    }

    #[test]
    fn rules_come_back_as_they_were_and_others_are_refused_with_a_sentence() {
        for rule in ["RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=5;BYDAY=MO,-1FR", "FREQ=WEEKLY"] {
            let read = Rule::parse(rule);
            if let Ok(read) = read {
                assert_eq!(Rule::parse(&read.to_string()), Ok(read));
            } else {
                assert!(rule.contains("-1FR"), "a number goes with months only");
            }
        }
        let whole = "RRULE:FREQ=MONTHLY;INTERVAL=2;UNTIL=20271231T225959Z;BYDAY=MO,-1FR";
        assert_eq!(Rule::parse(whole).unwrap().to_string(), whole);
        for (bad, why) in [
            ("FREQ=HOURLY", "DAILY, WEEKLY"),
            ("BYDAY=MO", "FREQ is missing"),
            ("FREQ=DAILY;BYSETPOS=1", "doesn't know `BYSETPOS=1`"),
            ("FREQ=DAILY;COUNT=0", "COUNT must be"),
            ("FREQ=DAILY;COUNT=2;UNTIL=20261231", "exclude each other"),
            ("FREQ=WEEKLY;WKST=SU", "doesn't know `WKST=SU`"),
            ("FREQ=WEEKLY;BYDAY=XX", "BYDAY lists"),
            ("FREQ=DAILY;FREQ=DAILY", "given twice"),
            ("weekly", "write it like"),
        ] {
            let error = Rule::parse(bad).unwrap_err();
            assert!(error.contains(why) && error.contains(bad), "{error}");
        }
        assert!(Moment::parse("2026-11-02T09:00", "Berlin").unwrap_err().contains("Europe/Berlin"));
        assert!(Moment::parse("soon", "UTC").is_err());
    }
}

//! Recurrence against a second implementation: thousands of random series around the changes of clocks, expanded by
//! Intail and by python-dateutil with Python's own time zones. Whatever differs is printed with its rule.
//!
//! Where dateutil is known to say something else and the same can be said in words that it reads rightly, it is asked
//! in these. The other differences have names below, each with a test of `agenda::recurrence` that says what is right,
//! and with how many series may differ by it. A reader must not widen a name to make a difference go away.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use intail::agenda::recurrence::{Effort, Series, Start};
use intail::random::Random;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::harness;

/// Series that are compared, and the seed that they are made from.
const SERIES: usize = 10_000;
const SEED: u64 = 2_026;
/// Differences that are printed before the test gives up.
const PRINTED_MAX: usize = 12;
/// The other implementation.
const SECOND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/recurrence.py");

/// Zones whose clocks do everything that clocks do: jump by an hour, by half an hour, at midnight, backwards in summer,
/// over a whole day, or never.
const ZONES: &[&str] = &[
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Africa/Cairo",
    "Europe/Dublin",
    "Pacific/Apia",
    "Asia/Beirut",
    "America/Havana",
    "Asia/Kathmandu",
    "UTC",
];

const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// Where dateutil 2.9 is known to differ, and can't be asked otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deviation {
    /// `BYDAY=MO,2TU`, where what both name together is counted or has positions: dateutil wants a day to be both, RFC
    /// 5545 either.
    WeekdaysAndNthWeekdays,
    /// Weekly `BYSETPOS`: dateutil counts the first week from the beginning of the series, not from its own.
    PositionsInTheFirstWeek,
    /// `EXDATE` or `RDATE` in UTC at a time that a clock skips or repeats: Python says that no two times of two zones
    /// are equal there (PEP 495), so dateutil neither excludes it nor sees that it is there already.
    AcrossZonesInAJump,
}

impl Deviation {
    /// How many of the series may differ by it: hardly more than the dice make of which that could be said.
    fn most(self) -> usize {
        match self {
            Self::WeekdaysAndNthWeekdays => SERIES * 3 / 100,
            Self::PositionsInTheFirstWeek => SERIES * 2 / 100,
            Self::AcrossZonesInAJump => SERIES / 200,
        }
    }
}

/// A series and a window, as both are asked.
struct Case {
    zone: Option<&'static str>,
    start: DateTime,
    lines: Vec<String>,
    from: DateTime,
    until: DateTime,
}

/// Numbers by chance.
struct Dice(Random);

impl Dice {
    fn below(&self, bound: i64) -> i64 {
        i64::try_from(self.0.below(u64::try_from(bound).expect("positive"))).expect("small")
    }

    fn between(&self, least: i64, most: i64) -> i64 {
        least + self.below(most - least + 1)
    }

    fn one_in(&self, chances: i64) -> bool {
        self.below(chances) == 0
    }

    fn one_of<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(i64::try_from(all.len()).expect("short"))).expect("an index")]
    }

    /// One to three numbers, without zero; counted from the end now and then.
    fn numbers(&self, most: i64, from_the_end: bool) -> String {
        let number = |_| {
            let number = self.between(1, most);
            if from_the_end && self.one_in(3) { -number } else { number }
        };
        let numbers: Vec<String> = (0..self.between(1, 3)).map(number).map(|it| it.to_string()).collect();
        numbers.join(",")
    }

    fn weekdays(&self, nth_max: Option<i64>) -> String {
        let weekday = |_| match nth_max {
            Some(most) if self.one_in(2) => {
                format!("{}{}", self.numbers(most, true).split(',').next().unwrap_or("1"), self.one_of(&WEEKDAYS))
            }
            _ => (*self.one_of(&WEEKDAYS)).to_owned(),
        };
        (0..self.between(1, 3)).map(weekday).collect::<Vec<_>>().join(",")
    }
}

/// A moment near a change of this zone's clocks; somewhere, where they never change.
fn near_a_change(dice: &Dice, zone: &TimeZone) -> Timestamp {
    let after: Timestamp = format!("{}-01-01T00:00:00Z", dice.between(2009, 2032)).parse().expect("a time");
    let changes: Vec<Timestamp> = zone.following(after).take(2).map(|it| it.timestamp()).collect();
    if changes.is_empty() { after } else { *dice.one_of(&changes) }
}

fn a_case(dice: &Dice) -> Case {
    let zone = (!dice.one_in(6)).then(|| *dice.one_of(ZONES));
    let hung = zone.map_or(TimeZone::UTC, |name| TimeZone::get(name).expect("a zone"));
    let change = near_a_change(dice, &hung);
    // As the clock showed it just before: the hour that jumps.
    let shown = hung.to_datetime(change.saturating_sub(1.hour()).expect("a time"));
    let minute = *dice.one_of(&[0, 15, 30, 59]);
    let time = match (zone, dice.between(0, 3)) {
        (None, _) => jiff::civil::time(0, 0, 0, 0),
        (_, 0) => jiff::civil::time(9, minute, 0, 0),
        (_, hours) => {
            let later = shown.saturating_add((hours - 2).hours());
            jiff::civil::time(later.hour(), minute, 0, 0)
        }
    };
    let frequency = *dice.one_of(&[
        "DAILY", "WEEKLY", "MONTHLY", "YEARLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY", "HOURLY", "MINUTELY",
        "SECONDLY",
    ]);
    let frequency = if zone.is_none() && is_fast(frequency) { "DAILY" } else { frequency };
    let days_before = match frequency {
        "YEARLY" => dice.between(0, 8_000),
        "MONTHLY" => dice.between(0, 1_500),
        "WEEKLY" if dice.one_in(3) => dice.between(0, 6),
        "DAILY" | "WEEKLY" => dice.between(0, 400),
        "HOURLY" => dice.between(0, 20),
        _ => dice.between(0, 1),
    };
    let date = shown.date().saturating_sub(days_before.days());
    let start = date.to_datetime(time);
    let mut lines = vec![format!("RRULE:{}", a_rule(dice, frequency, start, &hung, zone.is_some()))];
    more_lines(dice, &mut lines, shown.date(), start, &hung, zone.is_some());
    let (before, after) = if is_fast(frequency) { (1, 2) } else { (dice.between(1, 40), dice.between(1, 60)) };
    Case {
        zone,
        start,
        lines,
        from: shown.date().saturating_sub(before.days()).to_datetime(jiff::civil::time(0, 0, 0, 0)),
        until: shown.date().saturating_add(after.days()).to_datetime(jiff::civil::time(0, 0, 0, 0)),
    }
}

fn is_fast(frequency: &str) -> bool {
    matches!(frequency, "HOURLY" | "MINUTELY" | "SECONDLY")
}

fn a_rule(dice: &Dice, frequency: &str, start: DateTime, zone: &TimeZone, timed: bool) -> String {
    let mut parts = vec![format!("FREQ={frequency}")];
    let intervals = match frequency {
        "SECONDLY" => (600, 90_000),
        "MINUTELY" => (7, 3_000),
        "HOURLY" => (1, 60),
        _ => (1, 5),
    };
    if is_fast(frequency) || dice.one_in(2) {
        parts.push(format!("INTERVAL={}", dice.between(intervals.0, intervals.1)));
    }
    match dice.below(4) {
        0 => parts.push(format!("COUNT={}", dice.between(1, 120))),
        1 => parts.push(format!("UNTIL={}", an_end(dice, start, zone, timed))),
        _ => {}
    }
    if dice.one_in(3) {
        parts.push(format!("WKST={}", dice.one_of(&WEEKDAYS)));
    }
    if dice.one_in(4) {
        parts.push(format!("BYMONTH={}", dice.numbers(12, false)));
    }
    let by_day = dice.one_in(2);
    match frequency {
        "YEARLY" => {
            let by_week = dice.one_in(5);
            if by_week {
                parts.push(format!("BYWEEKNO={}", dice.numbers(53, true)));
            }
            if by_day {
                parts.push(format!("BYDAY={}", dice.weekdays((!by_week).then_some(5))));
            }
            if dice.one_in(6) {
                parts.push(format!("BYYEARDAY={}", dice.numbers(366, true)));
            }
        }
        "MONTHLY" if by_day => parts.push(format!("BYDAY={}", dice.weekdays(Some(5)))),
        "WEEKLY" | "DAILY" if by_day => parts.push(format!("BYDAY={}", dice.weekdays(None))),
        _ => {}
    }
    if frequency != "WEEKLY" && dice.one_in(5) {
        parts.push(format!("BYMONTHDAY={}", dice.numbers(31, true)));
    }
    if timed && dice.one_in(5) {
        let hours = [start.hour(), (start.hour() + 1) % 24, 9].map(|hour| hour.to_string());
        parts.push(format!("BYHOUR={}", hours[..usize::try_from(dice.between(1, 3)).expect("small")].join(",")));
    }
    if timed && dice.one_in(6) {
        parts.push(format!("BYMINUTE={}", dice.one_of(&["0", "0,30", "15,45,59"])));
    }
    if timed && dice.one_in(12) {
        parts.push(format!("BYSECOND={}", dice.one_of(&["0", "0,30"])));
    }
    if parts.iter().any(|part| part.starts_with("BY")) && dice.one_in(5) {
        parts.push(format!("BYSETPOS={}", dice.numbers(4, true)));
    }
    parts.join(";")
}

/// An end within some years, in each of the ways in which ends are written.
fn an_end(dice: &Dice, start: DateTime, zone: &TimeZone, timed: bool) -> String {
    let end = start.saturating_add(dice.between(0, 700).days());
    if !timed || dice.one_in(4) {
        return end.strftime("%Y%m%d").to_string();
    }
    let end = end.saturating_add(dice.between(-1, 1).hours());
    let instant = zone.to_ambiguous_timestamp(end).compatible().expect("a time");
    instant.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A day is taken out in UTC at a time that clocks skip, which the dice rarely make of a series that has it.
fn a_skipped_time_taken_out_in_utc() -> Case {
    let midnight = |month, day| jiff::civil::date(2026, month, day).to_datetime(jiff::civil::time(0, 0, 0, 0));
    Case {
        zone: Some("Europe/Berlin"),
        start: jiff::civil::date(2026, 3, 27).to_datetime(jiff::civil::time(2, 30, 0, 0)),
        lines: vec!["RRULE:FREQ=DAILY".to_owned(), "EXDATE:20260329T013000Z".to_owned()],
        from: midnight(3, 20),
        until: midnight(4, 10),
    }
}

/// Days taken out and put in near the change.
fn more_lines(dice: &Dice, lines: &mut Vec<String>, near: Date, start: DateTime, zone: &TimeZone, timed: bool) {
    let day = |dice: &Dice| near.saturating_add(dice.between(-3, 3).days());
    let written = |dice: &Dice| match (timed, dice.one_in(2)) {
        (false, _) => day(dice).strftime("%Y%m%d").to_string(),
        (true, true) => day(dice).to_datetime(start.time()).strftime("%Y%m%dT%H%M%S").to_string(),
        (true, false) => {
            let clock = zone.to_ambiguous_timestamp(day(dice).to_datetime(start.time())).compatible();
            clock.expect("a time").strftime("%Y%m%dT%H%M%SZ").to_string()
        }
    };
    if dice.one_in(3) {
        lines.push(format!("EXDATE:{}", written(dice)));
    }
    if dice.one_in(6) {
        lines.push(format!("RDATE:{},{}", written(dice), written(dice)));
    }
    if dice.one_in(12) {
        lines.push(format!("EXRULE:FREQ=WEEKLY;BYDAY={}", dice.weekdays(None)));
    }
}

impl Case {
    fn hung(&self) -> TimeZone {
        self.zone.map_or(TimeZone::UTC, |name| TimeZone::get(name).expect("a zone"))
    }

    fn instants(&self) -> (Timestamp, Timestamp) {
        let at = |clock: DateTime| self.hung().to_ambiguous_timestamp(clock).compatible().expect("a time");
        (at(self.from), at(self.until))
    }

    fn asked(&self) -> Value {
        let (from, until) = self.instants();
        let (from, until) = match self.zone {
            Some(_) => (json!(from.as_second()), json!(until.as_second())),
            None => (json!(self.from.date().to_string()), json!(self.until.date().to_string())),
        };
        let start = self.start.strftime("%Y%m%dT%H%M%S").to_string();
        let lines = self.lines.iter().flat_map(|line| match line.strip_prefix("RRULE:") {
            Some(rule) => self.said_plainly(rule).iter().map(|rule| format!("RRULE:{rule}")).collect::<Vec<_>>(),
            None => vec![line.clone()],
        });
        let lines: Vec<String> = lines.collect();
        json!({ "start": start, "zone": self.zone, "lines": lines, "from": from, "until": until })
    }

    /// What a rule means, in words that dateutil reads rightly: one rule, or two that name it together.
    fn said_plainly(&self, rule: &str) -> Vec<String> {
        let mut parts: Vec<String> = rule.split(';').map(str::to_owned).collect();
        if is_a_week_without_a_day(rule) {
            // Dateutil takes each day of the week, RFC 5545 the beginning's weekday.
            let weekday = WEEKDAYS[usize::from(self.start.weekday().to_monday_zero_offset().unsigned_abs())];
            parts.push(format!("BYDAY={weekday}"));
        }
        for until in parts.iter_mut().filter(|it| self.zone.is_some() && is_until_a_day(it)) {
            // Dateutil ends at that day's midnight; a day ends with itself.
            until.push_str("T235959");
        }
        let (plain, nth) = both_kinds_of_days(rule).unwrap_or_default();
        if plain.is_empty() || is_told_of_the_whole(rule) {
            return vec![parts.join(";")];
        }
        // Dateutil wants a day to be both, RFC 5545 either: what either names.
        let with = |days: &str| {
            let parts =
                parts.iter().map(|it| if it.starts_with("BYDAY=") { format!("BYDAY={days}") } else { it.clone() });
            parts.collect::<Vec<_>>().join(";")
        };
        vec![with(&plain), with(&nth)]
    }

    fn ours(&self) -> Value {
        let start = match self.zone {
            Some(_) => Start::Clock(self.start, self.hung()),
            None => Start::Day(self.start.date()),
        };
        let series = Series::read(start, self.lines.iter().map(String::as_str));
        let series = series.unwrap_or_else(|error| panic!("{error}: {:?}", self.lines));
        let (from, until) = self.instants();
        let mut effort = Effort::default();
        if self.zone.is_none() {
            let named = series.days(self.from.date(), self.until.date(), &mut effort);
            assert!(named.is_complete, "{:?}", self.lines);
            return named.starts.iter().map(Date::to_string).collect();
        }
        let named = series.instants(from, until, &mut effort);
        assert!(named.is_complete, "{:?}", self.lines);
        named.starts.iter().map(|at| at.as_second()).collect()
    }

    /// The names of what dateutil is known to do otherwise with such a series.
    fn deviations(&self) -> Vec<Deviation> {
        let rules = || self.lines.iter().filter_map(|line| line.strip_prefix("RRULE:"));
        let mut found = Vec::new();
        if rules().any(|rule| both_kinds_of_days(rule).is_some() && is_told_of_the_whole(rule)) {
            found.push(Deviation::WeekdaysAndNthWeekdays);
        }
        let in_first_week = self.from < self.start.saturating_add(7.days());
        let has_positions_in_weeks = |rule: &str| {
            let is_weekly = part(rule, "FREQ") == Some("WEEKLY") && part(rule, "BYSETPOS").is_some();
            is_weekly && (part(rule, "COUNT").is_some() || in_first_week)
        };
        if rules().any(has_positions_in_weeks) {
            found.push(Deviation::PositionsInTheFirstWeek);
        }
        let dates = self.lines.iter().filter(|line| line.starts_with("EXDATE") || line.starts_with("RDATE"));
        if dates.flat_map(|line| line.split([':', ','])).any(|text| text.ends_with('Z') && self.is_in_a_jump(text)) {
            found.push(Deviation::AcrossZonesInAJump);
        }
        found
    }

    /// Whether clocks of the series' zone skip or repeat this time of UTC.
    fn is_in_a_jump(&self, text: &str) -> bool {
        let at = DateTime::strptime("%Y%m%dT%H%M%S", text.trim_end_matches('Z')).expect("a time");
        let at = at.to_zoned(TimeZone::UTC).expect("a time").timestamp();
        // It was written for the time of day of the beginning.
        let zone = self.hung();
        let clock = zone.to_datetime(at).date().to_datetime(self.start.time());
        zone.to_ambiguous_timestamp(clock).is_ambiguous()
    }
}

/// What a rule says under a name.
fn part<'a>(rule: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = rule.split(';').filter_map(|part| part.split_once('='));
    parts.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The days of the week that a rule of months or years names as such, and those that it counts, if it does both.
fn both_kinds_of_days(rule: &str) -> Option<(String, String)> {
    let days = part(rule, "BYDAY").filter(|_| matches!(part(rule, "FREQ"), Some("MONTHLY" | "YEARLY")))?;
    let (plain, nth): (Vec<&str>, Vec<&str>) = days.split(',').partition(|day| day.len() == 2);
    (!plain.is_empty() && !nth.is_empty()).then(|| (plain.join(","), nth.join(",")))
}

/// Whether what a rule names depends on all of it together: two rules can't say the same.
fn is_told_of_the_whole(rule: &str) -> bool {
    part(rule, "COUNT").is_some() || part(rule, "BYSETPOS").is_some()
}

fn is_a_week_without_a_day(rule: &str) -> bool {
    part(rule, "BYWEEKNO").is_some() && ["BYDAY", "BYMONTHDAY", "BYYEARDAY"].iter().all(|it| part(rule, it).is_none())
}

fn is_until_a_day(part: &str) -> bool {
    part.strip_prefix("UNTIL=").is_some_and(|until| until.len() == 8)
}

#[test]
fn thousands_of_random_series_around_jumping_clocks_are_what_dateutil_says() {
    let dice = Dice(Random::seeded(SEED));
    let cases: Vec<Case> = (0..SERIES).map(|_| a_case(&dice)).chain([a_skipped_time_taken_out_in_utc()]).collect();
    let theirs = second_opinion(&cases);
    let (mut differences, mut deviations, mut occurrences) = (Vec::new(), BTreeMap::new(), 0);
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = case.ours();
        occurrences += ours.as_array().map_or(0, Vec::len);
        if &ours == theirs {
            continue;
        }
        let named = case.deviations();
        if named.is_empty() {
            let (lines, asked) = (&case.lines, case.asked());
            differences.push(format!("{lines:?}, asked as {asked}\n  ours   {ours}\n  theirs {theirs}"));
        }
        for name in named {
            *deviations.entry(name).or_insert(0_usize) += 1;
        }
    }
    println!("{SERIES} series, {occurrences} occurrences; known deviations: {deviations:?}");
    let printed = differences.iter().take(PRINTED_MAX).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} series differ, seed {SEED}:\n{printed}", differences.len());
    assert!(occurrences > 4 * SERIES, "the windows are nearly empty: {occurrences}");
    assert_eq!(deviations.len(), 3, "each known deviation is seen, or it isn't one any more: {deviations:?}");
    let wide: Vec<_> = deviations.iter().filter(|(name, count)| **count > name.most()).collect();
    assert!(wide.is_empty(), "more differs than these names can be the reason of: {wide:?}");
}

fn second_opinion(cases: &[Case]) -> Vec<Value> {
    let mut python = Command::new(harness::variable("INTAIL_TEST_PYTHON"));
    let python = python.arg(SECOND).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = python.expect("Python starts");
    let mut asked = python.stdin.take().expect("a pipe");
    let lines: String = cases.iter().map(|case| format!("{}\n", case.asked())).collect();
    // On a thread of its own: both pipes are small.
    let writing = std::thread::spawn(move || asked.write_all(lines.as_bytes()));
    let output = python.wait_with_output().expect("Python ends");
    writing.join().expect("written").expect("Python reads all of it");
    assert!(output.status.success(), "dateutil failed; its own words are above");
    let text = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), cases.len(), "one answer for each series");
    answers
}

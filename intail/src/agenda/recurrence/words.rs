//! A series' repetition in a short sentence, for people: "Every 2 months on the last Friday, 10 times". Pure.
//!
//! What a reader must not break: the sentence names exactly the occurrences that the expansion finds. What has no short
//! words is told as such ([`NO_SHORT_WORDS`]); nothing is left out of a sentence to make it shorter. Days are those of
//! the series' own zone.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;

use super::{Effort, Every, Point, Rule, Series, Start, begin, day_bit, instant, set_bits};

/// What is said of a rule that would take more than a line.
const NO_SHORT_WORDS: &str = "Repeats by a rule that has no short words";
/// The longest list that is read out: a day of each week. More isn't short.
const LISTED_MAX: usize = 7;
/// Days that each month has, and times that each weekday is in each of them; the same for years.
const DAYS_OF_EACH_MONTH: u32 = 28;
const WEEKDAYS_OF_EACH_MONTH: u32 = 4;
const WEEKDAYS_OF_EACH_YEAR: u32 = 52;
const DAYS_OF_EACH_YEAR: u32 = 365;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// Monday to Friday, Saturday and Sunday, and all of them, as bits.
const WORKING_DAYS: u8 = 0b001_1111;
const WEEKEND: u8 = 0b110_0000;
const EACH_DAY: u8 = 0b111_1111;

impl Series {
    /// How it repeats, as a sentence without its full stop.
    pub fn in_words(&self) -> String {
        let Some(single) = self.single_dates() else { return NO_SHORT_WORDS.to_owned() };
        let rule = match (self.rules.as_slice(), self.rules_out.as_slice()) {
            ([rule], []) => rule.in_words(&self.start),
            ([], []) => Some("On dates that were chosen one by one".to_owned()),
            _ => None,
        };
        let is_told = rule.is_some();
        let mut words = rule.unwrap_or_else(|| NO_SHORT_WORDS.to_owned());
        if is_told && single.is_begun_apart {
            let first = said(begin(&self.start).date());
            words.push_str(&format!(", and on {first}, its first day"));
        }
        match single.more {
            0 => {}
            1 => words.push_str(", with one more date"),
            more => words.push_str(&format!(", with {more} more dates")),
        }
        match single.out {
            0 => {}
            1 => words.push_str(", without one date"),
            out => words.push_str(&format!(", without {out} dates")),
        }
        words
    }

    /// What the dates that are named one by one change; none when that can't be looked at whole.
    fn single_dates(&self) -> Option<SingleDates> {
        let own = self.of_clock(begin(&self.start))?;
        let keys = |points: &[Point]| points.iter().filter_map(|it| self.of_point(it)).collect::<BTreeSet<Timestamp>>();
        let (mut more, out) = (keys(&self.days), keys(&self.days_out));
        more.extend(self.periods.keys());
        let all = || more.iter().chain(&out).chain([&own]);
        let zone = match &self.start {
            Start::Day(_) => &TimeZone::UTC,
            Start::Clock(_, zone) => zone,
        };
        // What a clock shows differs by less than a day from what it shows after a jump.
        let (first, last) = (zone.to_datetime(*all().min()?).date(), zone.to_datetime(*all().max()?).date());
        let (first, last) = (first.yesterday().unwrap_or(first), last.tomorrow().unwrap_or(last));
        let (named, named_out, is_complete) = self.walk(first, last, &mut Effort::default());
        let mut named: BTreeSet<Timestamp> = named.into_iter().filter_map(|clock| self.of_clock(clock)).collect();
        if !is_complete {
            return None;
        }
        for clock in named_out {
            named.remove(&self.of_clock(clock)?);
        }
        let is_begun_apart = !named.contains(&own) && !self.rules.is_empty() && !out.contains(&own);
        named.insert(own);
        let is_out = |it: &&Timestamp| named.contains(*it) || more.contains(*it);
        let out = out.iter().filter(is_out).count();
        Some(SingleDates { is_begun_apart, more: more.difference(&named).count(), out })
    }

    /// The instant of an occurrence, as a key: that of a day is where it is UTC.
    fn of_clock(&self, clock: DateTime) -> Option<Timestamp> {
        match &self.start {
            Start::Day(_) => instant(clock, &TimeZone::UTC),
            Start::Clock(_, zone) => instant(clock, zone),
        }
    }

    /// The same of a date that is named by itself.
    fn of_point(&self, point: &Point) -> Option<Timestamp> {
        match &self.start {
            Start::Day(_) => instant(point.day().to_datetime(jiff::civil::Time::midnight()), &TimeZone::UTC),
            Start::Clock(_, zone) => point.instant(zone),
        }
    }
}

/// What dates that are named one by one change of what a series' rule names.
struct SingleDates {
    /// Whether the beginning isn't named by the rule, and takes place all the same.
    is_begun_apart: bool,
    /// Dates that the rule doesn't name.
    more: usize,
    /// Dates that don't take place.
    out: usize,
}

impl Rule {
    /// The rule; none when it has no short words.
    fn in_words(&self, start: &Start) -> Option<String> {
        let begin = begin(start);
        let (unit, when) = match self.every {
            Every::Second | Every::Minute | Every::Hour => self.within_days(begin)?,
            _ if !self.has_own_time(start) => return None,
            Every::Day => self.of_days(begin)?,
            Every::Week => ("week", self.of_weeks(begin)?),
            Every::Month => ("month", self.of_months()?),
            Every::Year => ("year", self.of_years()?),
        };
        let rhythm = match self.interval {
            1 => format!("Every {unit}"),
            many => format!("Every {many} {unit}s"),
        };
        let words = match when.strip_prefix(" on every day") {
            // Every week on each of its days.
            Some(rest) if rhythm == "Every week" => format!("Every day{rest}"),
            _ => rhythm + &when,
        };
        Some(words + &self.end(begin))
    }

    /// Whether each occurrence is at the time of day of the first.
    fn has_own_time(&self, start: &Start) -> bool {
        let Start::Clock(begin, _) = start else { return true };
        let only = |number: i8| 1_u64 << number.unsigned_abs();
        let own = (only(begin.hour()), only(begin.minute()), only(begin.second()));
        (u64::from(self.hours), self.minutes, self.seconds) == own
    }

    /// Whether no rule for days, weeks or months stands beside the rhythm.
    fn has_no_days(&self) -> bool {
        let no_lists = self.year_days.is_empty() && self.weeks.is_empty() && self.positions.is_empty();
        let no_weekdays = self.weekdays == 0 && self.nth_weekdays.is_empty();
        no_lists && no_weekdays && self.months == 0 && !self.has_month_days()
    }

    fn has_month_days(&self) -> bool {
        self.month_days != 0 || self.month_days_back != 0
    }

    fn within_days(&self, begin: DateTime) -> Option<(&'static str, String)> {
        let all = (1_u64 << 60) - 1;
        let (minute, second) = (1_u64 << begin.minute().unsigned_abs(), 1_u64 << begin.second().unsigned_abs());
        let (unit, minutes, seconds) = match self.every {
            Every::Hour => ("hour", minute, second),
            Every::Minute => ("minute", all, second),
            _ => ("second", all, all),
        };
        let each = (u64::from(self.hours), self.minutes, self.seconds) == ((1 << 24) - 1, minutes, seconds);
        (each && self.has_no_days()).then(|| (unit, String::new()))
    }

    fn of_days(&self, begin: DateTime) -> Option<(&'static str, String)> {
        if self.weekdays != 0 && self.interval == 1 {
            // Each day that is a Monday or a Tuesday: that is what people call every week on these.
            return Some(("week", self.of_weeks(begin)?));
        }
        let fits =
            self.weekdays == 0 && self.year_days.is_empty() && self.weeks.is_empty() && self.positions.is_empty();
        (fits && !self.has_month_days()).then(|| ("day", self.in_months()))
    }

    fn of_weeks(&self, begin: DateTime) -> Option<String> {
        let fits = self.year_days.is_empty() && self.weeks.is_empty() && self.positions.is_empty();
        if !fits || self.has_month_days() {
            return None;
        }
        let days = match self.weekdays {
            EACH_DAY => "on every day".to_owned(),
            WORKING_DAYS => "from Monday to Friday".to_owned(),
            days => format!("on {}", listed(weekdays(days), "and")),
        };
        let weeks = if self.is_told_by_first_day(begin) {
            format!(", with weeks that begin on {}", weekday(self.week_begins))
        } else {
            String::new()
        };
        Some(format!(" {days}{}{weeks}", self.in_months()))
    }

    /// Whether it matters on which day weeks begin: days that some would count to one week and some to the next.
    fn is_told_by_first_day(&self, begin: DateTime) -> bool {
        let first = match self.week_begins {
            // Where weeks begin on Sunday, readers would think of theirs.
            Weekday::Monday => Weekday::Sunday,
            other => other,
        };
        let days = self.weekdays | day_bit(begin.weekday());
        let before = day_bit(first) - 1;
        self.interval > 1 && days & before != 0 && days & !before != 0
    }

    fn of_months(&self) -> Option<String> {
        if !self.year_days.is_empty() || !self.weeks.is_empty() {
            return None;
        }
        let (days, is_in_each) = match (self.has_month_days(), self.nth_weekdays.is_empty()) {
            (true, true) if self.positions.is_empty() => self.days_of_month()?,
            (false, _) => self.weekdays_of(WEEKDAYS_OF_EACH_MONTH)?,
            _ => return None,
        };
        let lacking = if is_in_each { "" } else { ", in months that have it" };
        Some(format!(" on {days}{}{lacking}", self.in_months()))
    }

    /// "the 1st and the last day", and whether each month has these.
    fn days_of_month(&self) -> Option<(String, bool)> {
        let forward = set_bits(u64::from(self.month_days)).map(|day| (format!("the {}", ordinal(day.into())), day));
        let back =
            set_bits(u64::from(self.month_days_back)).map(|day| (format!("the {} day", from_end(day.into())), day));
        let days: Vec<(String, i8)> = forward.chain(back).collect();
        let is_in_each = days.iter().all(|(_, day)| u32::from(day.unsigned_abs()) <= DAYS_OF_EACH_MONTH);
        let days = short(days.into_iter().map(|(said, _)| said).collect())?;
        Some((listed(days, "and") + &self.if_weekday(), is_in_each))
    }

    /// ", if that is a Friday", where only such days count.
    fn if_weekday(&self) -> String {
        match self.weekdays {
            0 | EACH_DAY => String::new(),
            days => format!(", if that is a {}", listed(weekdays(days), "or")),
        }
    }

    /// "the last Friday", "each Monday", "the first weekday", and whether each round has it, in which a weekday is at
    /// least `each` times.
    fn weekdays_of(&self, each: u32) -> Option<(String, bool)> {
        if !self.nth_weekdays.is_empty() {
            if self.weekdays != 0 || !self.positions.is_empty() {
                return None;
            }
            let is_in_each = self.nth_weekdays.iter().all(|(nth, _)| u32::from(nth.unsigned_abs()) <= each);
            let is_in_some = self.nth_weekdays.iter().all(|(nth, _)| u32::from(nth.unsigned_abs()) <= each + 1);
            let (_, one) = *self.nth_weekdays.first()?;
            let nth = |(nth, _): &(i16, Weekday)| place(*nth);
            let days = match self.nth_weekdays.iter().all(|(_, day)| *day == one) {
                true => {
                    let places = short(self.nth_weekdays.iter().map(nth).collect())?;
                    format!("the {} {}", listed(places, "and"), weekday(one))
                }
                false => {
                    let days = self.nth_weekdays.iter().map(|it| format!("the {} {}", nth(it), weekday(it.1)));
                    listed(short(days.collect())?, "and")
                }
            };
            return is_in_some.then_some((days, is_in_each));
        }
        if self.positions.is_empty() {
            let days = match self.weekdays {
                EACH_DAY => "every day".to_owned(),
                WORKING_DAYS => "every weekday".to_owned(),
                days => format!("each {}", listed(weekdays(days), "and")),
            };
            return (self.weekdays != 0).then_some((days, true));
        }
        let noun = match self.weekdays {
            0 => return None,
            EACH_DAY => "day".to_owned(),
            WORKING_DAYS => "weekday".to_owned(),
            WEEKEND => "weekend day".to_owned(),
            days => listed(weekdays(days), "or"),
        };
        let at_least = each * self.weekdays.count_ones();
        let is_in_each = self.positions.iter().all(|nth| u32::from(nth.unsigned_abs()) <= at_least);
        let places = short(self.positions.iter().map(|nth| place(*nth)).collect())?;
        Some((format!("the {} {noun}", listed(places, "and")), is_in_each))
    }

    fn of_years(&self) -> Option<String> {
        if !self.weeks.is_empty() {
            return None;
        }
        let no_weekdays = self.weekdays == 0 && self.nth_weekdays.is_empty();
        let (days, is_in_each) = match (self.year_days.is_empty(), self.months) {
            (false, 0) if no_weekdays && !self.has_month_days() && self.positions.is_empty() => {
                let is_in_each = self.year_days.iter().all(|nth| u32::from(nth.unsigned_abs()) <= DAYS_OF_EACH_YEAR);
                let places = short(self.year_days.iter().map(|nth| place(*nth)).collect())?;
                (format!("the {} day of the year", listed(places, "and")), is_in_each)
            }
            (false, _) => return None,
            (true, 0) if self.has_month_days() => return None,
            (true, 0) => {
                let (days, is_in_each) = self.weekdays_of(WEEKDAYS_OF_EACH_YEAR)?;
                (days + " of the year", is_in_each)
            }
            (true, _) if self.has_month_days() => self.days_of_months()?,
            // A position is one in the year: that of its month only where that is the only one.
            (true, months) if self.positions.is_empty() || months.count_ones() == 1 => {
                let (days, is_in_each) = self.weekdays_of(WEEKDAYS_OF_EACH_MONTH)?;
                (format!("{days} of {}", listed(self.months_named(), "and")), is_in_each)
            }
            _ => return None,
        };
        let lacking = if is_in_each { "" } else { ", in years that have it" };
        Some(format!(" on {days}{lacking}"))
    }

    /// "25 November", and whether each year has it.
    fn days_of_months(&self) -> Option<(String, bool)> {
        if !self.nth_weekdays.is_empty() || !self.positions.is_empty() {
            return None;
        }
        let (mut days, mut is_in_each) = (Vec::new(), true);
        for month in set_bits(u64::from(self.months)) {
            let name = MONTHS.get(usize::from((month - 1).unsigned_abs()))?;
            // A year with and one without a leap day.
            let length = |year: i16| Date::new(year, month, 1).map_or(0, Date::days_in_month);
            let (longest, shortest) = (length(2024), length(2023));
            for day in set_bits(u64::from(self.month_days)).filter(|day| *day <= longest) {
                days.push(format!("{day} {name}"));
                is_in_each &= day <= shortest;
            }
            for day in set_bits(u64::from(self.month_days_back)).filter(|day| *day <= longest) {
                days.push(format!("the {} day of {name}", from_end(day.into())));
                is_in_each &= day <= shortest;
            }
        }
        Some((listed(short(days)?, "and") + &self.if_weekday(), is_in_each))
    }

    fn months_named(&self) -> Vec<String> {
        let name = |month: i8| MONTHS.get(usize::from((month - 1).unsigned_abs())).copied().unwrap_or_default();
        set_bits(u64::from(self.months)).map(|month| name(month).to_owned()).collect()
    }

    /// " in June and July", where only these months count.
    fn in_months(&self) -> String {
        match self.months {
            0 => String::new(),
            _ => format!(" in {}", listed(self.months_named(), "and")),
        }
    }

    /// ", 10 times", ", until 3 March 2027".
    fn end(&self, begin: DateTime) -> String {
        let times = match self.count {
            None => String::new(),
            Some(1) => ", once".to_owned(),
            Some(count) => format!(", {count} times"),
        };
        let Some(until) = self.until else { return times };
        let day = until.clock.date();
        // The last day has no occurrence where it ends before the time of day at which they begin.
        let is_too_early =
            self.every >= Every::Day && !matches!(until.point, Point::Day(_)) && until.clock.time() < begin.time();
        let last = if is_too_early { day.yesterday().unwrap_or(day) } else { day };
        format!("{times}, until {}", said(last))
    }
}

fn said(day: Date) -> String {
    day.strftime("%-d %B %Y").to_string()
}

fn weekday(day: Weekday) -> &'static str {
    WEEKDAYS.get(usize::from(day.to_monday_zero_offset().unsigned_abs())).copied().unwrap_or_default()
}

fn weekdays(days: u8) -> Vec<String> {
    let name = |day: i8| WEEKDAYS.get(usize::from(day.unsigned_abs())).copied().unwrap_or_default();
    set_bits(u64::from(days)).map(|day| name(day).to_owned()).collect()
}

/// A list with each item once, if that is short and isn't empty.
fn short(mut list: Vec<String>) -> Option<Vec<String>> {
    let mut there = BTreeSet::new();
    list.retain(|it| there.insert(it.clone()));
    (1..=LISTED_MAX).contains(&list.len()).then_some(list)
}

/// "a, b and c".
fn listed(mut list: Vec<String>, joint: &str) -> String {
    let last = list.pop().unwrap_or_default();
    if list.is_empty() { last } else { format!("{} {joint} {last}", list.join(", ")) }
}

/// Which of several, from the beginning or, below zero, from the end.
fn place(nth: i16) -> String {
    if nth < 0 { from_end(nth.unsigned_abs().into()) } else { early(nth.unsigned_abs().into()) }
}

/// "second-to-last".
fn from_end(nth: i32) -> String {
    if nth == 1 { "last".to_owned() } else { format!("{}-to-last", early(nth)) }
}

/// "first"; beyond the fifth as a number.
fn early(nth: i32) -> String {
    let words = ["first", "second", "third", "fourth", "fifth"];
    let word = usize::try_from(nth - 1).ok().and_then(|at| words.get(at));
    word.map_or_else(|| ordinal(nth), |word| (*word).to_owned())
}

/// "22nd".
fn ordinal(nth: i32) -> String {
    let ending = match (nth % 100, nth % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{nth}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(start: &str, lines: &[&str]) -> String {
        let start = match start.parse::<DateTime>() {
            Ok(clock) if start.contains('T') => Start::Clock(clock, TimeZone::get("Europe/Berlin").expect("a zone")),
            _ => Start::Day(start.parse().expect("a day")),
        };
        Series::read(start, lines.iter().copied()).expect("a series").in_words()
    }

    /// Of one rule.
    fn said_of(start: &str, rule: &str) -> String {
        words(start, &[&format!("RRULE:{rule}")])
    }

    #[test]
    fn what_people_enter_is_said_as_they_say_it() {
        // 2 March 2026 is a Monday.
        for (start, rule, said) in [
            ("2026-03-02", "FREQ=DAILY", "Every day"),
            ("2026-03-02", "FREQ=DAILY;INTERVAL=3;COUNT=5", "Every 3 days, 5 times"),
            ("2026-03-02", "FREQ=DAILY;COUNT=1", "Every day, once"),
            ("2026-03-02", "FREQ=DAILY;BYMONTH=3,4", "Every day in March and April"),
            ("2026-03-02", "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "Every week from Monday to Friday"),
            ("2026-03-02", "FREQ=WEEKLY", "Every week on Monday"),
            (
                "2026-03-02",
                "FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20270303",
                "Every week on Monday and Wednesday, until 3 March 2027",
            ),
            ("2026-03-02", "FREQ=WEEKLY;BYDAY=SU,MO,TU,WE,TH,FR,SA", "Every day"),
            ("2026-03-02", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "Every 2 weeks on Monday and Thursday"),
            ("2026-06-01", "FREQ=WEEKLY;BYDAY=MO;BYMONTH=6,7,8", "Every week on Monday in June, July and August"),
            ("2026-03-02", "FREQ=MONTHLY", "Every month on the 2nd"),
            ("2026-03-01", "FREQ=MONTHLY;BYMONTHDAY=1,15", "Every month on the 1st and the 15th"),
            ("2026-03-31", "FREQ=MONTHLY;BYMONTHDAY=-1", "Every month on the last day"),
            (
                "2026-03-30",
                "FREQ=MONTHLY;BYMONTHDAY=-2,-10,22",
                "Every month on the 22nd, the second-to-last day and the 10th-to-last day",
            ),
            ("2026-03-31", "FREQ=MONTHLY", "Every month on the 31st, in months that have it"),
            (
                "2026-02-27",
                "FREQ=MONTHLY;INTERVAL=2;BYDAY=-1FR;COUNT=10",
                "Every 2 months on the last Friday, 10 times",
            ),
            ("2026-03-02", "FREQ=MONTHLY;BYDAY=1MO,3MO", "Every month on the first and third Monday"),
            ("2026-03-02", "FREQ=MONTHLY;BYDAY=1MO,-1FR", "Every month on the first Monday and the last Friday"),
            ("2026-03-30", "FREQ=MONTHLY;BYDAY=5MO", "Every month on the fifth Monday, in months that have it"),
            ("2026-03-13", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "Every month on the 13th, if that is a Friday"),
            ("2026-03-02", "FREQ=MONTHLY;BYDAY=MO", "Every month on each Monday"),
            ("2026-11-25", "FREQ=YEARLY", "Every year on 25 November"),
            ("2024-02-29", "FREQ=YEARLY", "Every year on 29 February, in years that have it"),
            (
                "2026-03-01",
                "FREQ=YEARLY;INTERVAL=2;BYMONTH=3,9;BYMONTHDAY=1",
                "Every 2 years on 1 March and 1 September",
            ),
            ("2026-02-28", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1", "Every year on the last day of February"),
            ("2026-10-25", "FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU", "Every year on the last Sunday of October"),
            ("2026-05-18", "FREQ=YEARLY;BYDAY=20MO", "Every year on the 20th Monday of the year"),
            ("2026-04-10", "FREQ=YEARLY;BYYEARDAY=100,-1", "Every year on the 100th and last day of the year"),
        ] {
            assert_eq!(said_of(start, rule), said, "{start} {rule}");
        }
    }

    #[test]
    fn positions_are_those_of_the_days_that_are_named_with_them() {
        for (start, rule, said) in [
            ("2026-01-30", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "Every month on the last weekday"),
            ("2026-03-02", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1,3", "Every month on the first and third Monday"),
            ("2026-03-01", "FREQ=MONTHLY;BYDAY=SA,SU;BYSETPOS=1", "Every month on the first weekend day"),
            ("2026-03-02", "FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=1", "Every month on the first Monday or Tuesday"),
            ("2026-03-31", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=-1", "Every month on the last day"),
            (
                "2026-03-30",
                "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=5",
                "Every month on the fifth Monday, in months that have it",
            ),
            (
                "2026-11-02",
                "FREQ=YEARLY;BYMONTH=11;BYDAY=MO,TU;BYSETPOS=1",
                "Every year on the first Monday or Tuesday of November",
            ),
            (
                "2026-01-01",
                "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1",
                "Every year on the first weekday of the year",
            ),
            // Positions in the week, of numbered days, and across months.
            ("2026-03-02", "FREQ=WEEKLY;BYDAY=MO,TH;BYSETPOS=1", NO_SHORT_WORDS),
            ("2026-03-31", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1", NO_SHORT_WORDS),
            ("2026-03-02", "FREQ=MONTHLY;BYDAY=1MO,2MO;BYSETPOS=1", NO_SHORT_WORDS),
            ("2026-03-02", "FREQ=YEARLY;BYMONTH=3,4;BYDAY=MO;BYSETPOS=1", NO_SHORT_WORDS),
        ] {
            assert_eq!(said_of(start, rule), said, "{start} {rule}");
        }
    }

    #[test]
    fn what_has_no_short_words_says_so() {
        for rule in [
            "FREQ=DAILY;INTERVAL=2;BYDAY=MO",
            "FREQ=DAILY;BYMONTHDAY=2,3",
            "FREQ=DAILY;BYHOUR=9,12",
            "FREQ=WEEKLY;BYMINUTE=0,30",
            "FREQ=MONTHLY;BYDAY=MO,1TU",
            "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=1,2,3",
            "FREQ=MONTHLY;BYDAY=6MO",
            "FREQ=MONTHLY;BYMONTHDAY=1,2,3,4,5,6,7,8",
            "FREQ=YEARLY;BYWEEKNO=20",
            "FREQ=YEARLY;BYMONTHDAY=1",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=YEARLY;BYYEARDAY=100;BYDAY=MO",
            "FREQ=HOURLY;BYDAY=MO",
            "FREQ=HOURLY;BYHOUR=9,10",
            "FREQ=MINUTELY;BYMONTH=3",
        ] {
            assert_eq!(said_of("2026-03-02T09:00", rule), NO_SHORT_WORDS, "{rule}");
        }
        let two = ["RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY"];
        assert_eq!(words("2026-03-02", &two), NO_SHORT_WORDS);
        assert_eq!(words("2026-03-02", &["RRULE:FREQ=DAILY", "EXRULE:FREQ=WEEKLY"]), NO_SHORT_WORDS);
        // What can't be looked at whole isn't counted either.
        let endless = ["RRULE:FREQ=DAILY", "EXDATE;VALUE=DATE:99981231"];
        assert_eq!(words("2026-03-02", &endless), NO_SHORT_WORDS);
    }

    #[test]
    fn within_days_only_the_rhythm_is_said() {
        for (rule, said) in [
            ("FREQ=HOURLY", "Every hour"),
            ("FREQ=HOURLY;INTERVAL=5;COUNT=4", "Every 5 hours, 4 times"),
            ("FREQ=MINUTELY;INTERVAL=90", "Every 90 minutes"),
            ("FREQ=SECONDLY;INTERVAL=5400", "Every 5400 seconds"),
        ] {
            assert_eq!(said_of("2026-01-05T09:30", rule), said, "{rule}");
        }
        assert_eq!(said_of("2026-01-05T09:30", "FREQ=DAILY;BYHOUR=9;BYMINUTE=30"), "Every day", "its own time");
    }

    #[test]
    fn weeks_say_their_first_day_where_it_matters() {
        let rule = |days: &str, first: &str| format!("FREQ=WEEKLY;INTERVAL=2;BYDAY={days};WKST={first}");
        for (start, days, first, said) in [
            ("2026-03-02", "MO,WE", "SU", ""),
            ("2026-03-01", "SU", "SU", ""),
            ("2026-03-03", "TU,SU", "MO", ", with weeks that begin on Monday"),
            ("2026-03-03", "TU,SU", "SU", ", with weeks that begin on Sunday"),
            ("2026-03-02", "MO,WE", "WE", ", with weeks that begin on Wednesday"),
        ] {
            let words = said_of(start, &rule(days, first));
            let note = words.split_once(", with").map_or(String::new(), |(_, rest)| format!(", with{rest}"));
            assert_eq!(note, said, "{words}");
        }
        assert_eq!(said_of("2026-03-03", "FREQ=WEEKLY;BYDAY=TU,SU;WKST=SU"), "Every week on Tuesday and Sunday");
    }

    #[test]
    fn the_last_day_is_the_last_on_which_something_can_begin() {
        for (start, until, said) in [
            ("2026-03-02", "20260310", "10 March 2026"),
            ("2026-03-02", "20260310T000000Z", "10 March 2026"),
            ("2026-03-02T09:00", "20260310", "10 March 2026"),
            ("2026-03-02T09:00", "20260310T080000Z", "10 March 2026"),
            ("2026-03-02T09:00", "20260310T075959Z", "9 March 2026"),
            // As Google writes the end of a day in Berlin.
            ("2026-03-02T09:00", "20260310T225959Z", "10 March 2026"),
            ("2026-03-02T23:30", "20260310T230000Z", "10 March 2026"),
        ] {
            let words = said_of(start, &format!("FREQ=DAILY;UNTIL={until}"));
            assert_eq!(words, format!("Every day, until {said}"), "{start} {until}");
        }
    }

    #[test]
    fn single_dates_are_counted_where_they_change_something() {
        let daily = |lines: &[&str]| {
            let lines: Vec<&str> = ["RRULE:FREQ=DAILY;COUNT=9"].into_iter().chain(lines.iter().copied()).collect();
            let words = words("2026-03-02T09:00", &lines);
            words.strip_prefix("Every day, 9 times").map(str::to_owned).unwrap_or(words)
        };
        assert_eq!(daily(&["EXDATE:20260303T080000Z,20260304T080000Z"]), ", without 2 dates");
        assert_eq!(
            daily(&["EXDATE;TZID=Europe/Berlin:20260303T090000", "EXDATE:20260303T080000Z"]),
            ", without one date"
        );
        assert_eq!(daily(&["EXDATE:20260401T070000Z"]), "", "after its end");
        assert_eq!(daily(&["EXDATE:20260303T090000Z", "EXDATE;VALUE=DATE:20260303"]), "", "at another time");
        assert_eq!(daily(&["RDATE:20260401T070000Z"]), ", with one more date");
        assert_eq!(daily(&["RDATE:20260303T080000Z"]), "", "which it has already");
        let both = ["RDATE:20260401T070000Z,20260402T070000Z", "EXDATE:20260402T070000Z,20260302T080000Z"];
        assert_eq!(daily(&both), ", with 2 more dates, without 2 dates");
        assert_eq!(
            words("2026-03-02", &["RRULE:FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "EXDATE;VALUE=DATE:20260511"]),
            format!("{NO_SHORT_WORDS}, without one date")
        );
        let one_by_one = words("2026-03-02", &["RDATE;VALUE=DATE:20260305,20260309"]);
        assert_eq!(one_by_one, "On dates that were chosen one by one, with 2 more dates");
    }

    #[test]
    fn a_beginning_that_its_rule_does_not_name_is_said_beside_it() {
        let rule = "RRULE:FREQ=WEEKLY;COUNT=3;BYDAY=WE";
        let said = "Every week on Wednesday, 3 times, and on 30 May 2024, its first day";
        assert_eq!(words("2024-05-30T20:00", &[rule]), said);
        let without = words("2024-05-30T20:00", &[rule, "EXDATE:20240530T180000Z"]);
        assert_eq!(without, "Every week on Wednesday, 3 times, without one date");
    }

    /// Each of these with each of the others: what a sentence leaves out would make two different rules sound alike.
    const PARTS: [&[&str]; 7] = [
        &["FREQ=DAILY", "FREQ=WEEKLY", "FREQ=MONTHLY", "FREQ=YEARLY"],
        &["", ";INTERVAL=2"],
        &[
            "",
            ";BYDAY=MO",
            ";BYDAY=TU,SU",
            ";BYDAY=MO,TU,WE,TH,FR",
            ";BYDAY=MO,TU,WE,TH,FR,SA,SU",
            ";BYDAY=1MO",
            ";BYDAY=1MO,-1FR",
            ";BYDAY=5MO,MO",
        ],
        &["", ";BYMONTHDAY=2", ";BYMONTHDAY=31,1", ";BYMONTHDAY=-1"],
        &["", ";BYMONTH=2", ";BYMONTH=3,9"],
        &["", ";BYSETPOS=1", ";BYSETPOS=-1", ";BYSETPOS=5"],
        &["", ";WKST=SU", ";BYYEARDAY=100", ";BYWEEKNO=20", ";COUNT=3", ";UNTIL=20270901"],
    ];

    #[test]
    fn rules_that_sound_alike_are_alike() {
        let mut rules = vec![String::new()];
        for part in PARTS {
            rules = rules.iter().flat_map(|rule| part.iter().map(move |more| format!("{rule}{more}"))).collect();
        }
        let (first, until) = (jiff::civil::date(2026, 3, 1), jiff::civil::date(2030, 4, 1));
        let mut known: std::collections::BTreeMap<String, (String, Vec<Date>)> = std::collections::BTreeMap::new();
        let (mut told, mut alike) = (0, 0);
        for rule in rules {
            let line = format!("RRULE:{rule}");
            let series = Series::read(Start::Day(jiff::civil::date(2026, 3, 2)), [line.as_str()]).expect("a series");
            let words = series.in_words();
            if words.starts_with(NO_SHORT_WORDS) {
                continue;
            }
            told += 1;
            let days = series.days(first, until, &mut Effort::default()).starts;
            match known.get(&words) {
                Some((other, others)) => {
                    assert_eq!(&days, others, "“{words}” is said of {rule} and of {other}");
                    alike += 1;
                }
                None => {
                    known.insert(words, (rule, days));
                }
            }
        }
        assert!(told > 500 && alike > 100, "{told} have words, {alike} the same as another");
    }

    #[test]
    fn ordinals_end_as_people_write_them() {
        let all = [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 101, 111, 366].map(ordinal).join(" ");
        assert_eq!(all, "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 23rd 101st 111th 366th");
        assert_eq!([1, -1, -2, 5, 6, -6].map(place).join(" "), "first last second-to-last fifth 6th 6th-to-last");
    }
}

//! Which moments a series names: RFC 5545's rules, as Google writes and reads them. Pure.
//!
//! Nothing walks from a series' beginning: whether a day belongs to a rule is asked of the day itself, so a series from
//! 2005 costs in 2035 what one from yesterday costs. Only `COUNT` has to be counted, and that is bounded
//! ([`STEPS_OF_SERIES_MAX`]), as everything here: rules are written by strangers. What can't be read is told
//! ([`Unreadable`]), never guessed: a series that is nearly right would be a wrong truth.
//!
//! Where RFC 5545 leaves a choice, or others choose otherwise:
//! - A time that a clock skips is as much later as it was skipped (02:30 becomes 03:30), and a time that it shows twice
//!   is the first of the two: section 3.3.10 by way of 3.3.5. Both are what Google Calendar shows.
//! - The beginning is an occurrence even if its rule doesn't name it, and then `COUNT` doesn't count it. That is what
//!   Google shows (reported in fmeringdal/rust-rrule#119 and kewisch/ical.js#294).
//! - `BYWEEKNO` without a weekday means the weekday of the beginning (3.3.10: what isn't said comes from there).
//! - An `UNTIL` that is a day ends with that day, also when the series has times of day.
//! - Hours, minutes and seconds are counted as the clock on the wall shows them.

mod words;

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};

/// Occurrences of one series that one reading gives: an hour's rhythm over a month and more.
pub const OCCURRENCES_MAX: usize = 1_000;
/// Days, hours and occurrences that are looked at for one series: a daily one is counted for ninety years.
const STEPS_OF_SERIES_MAX: u32 = 100_000;
/// The same for all series of one reading, so that many hostile ones together can't hold it up: four million took more
/// than a second of a whole core in a debug build. A series that people make costs a few hundred.
const STEPS_MAX: u32 = 1_000_000;
/// Lines of one series that are read. Google's own limit isn't told; calendars show a handful.
const LINES_MAX: usize = 200;
/// Days that are named one by one in `RDATE` and `EXDATE`.
const DATES_MAX: usize = 5_000;
/// Numbers in one list of a rule: the longest that makes sense names each day of a leap year, from both ends.
const NUMBERS_MAX: usize = 732;
/// The longest interval. Ten thousand years are more than the calendar has.
const INTERVAL_MAX: u32 = 100_000;
/// Seconds of a day, of an hour, of a minute.
const DAY_S: i64 = 86_400;
const HOUR_S: i64 = 3_600;
const MINUTE_S: i64 = 60;

/// When a series begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// On a day, wherever the reader is.
    Day(Date),
    /// At a time of day, as clocks in this zone show it. The series repeats in that zone.
    Clock(DateTime, TimeZone),
}

/// Why a repetition can't be shown, as the end of a sentence that begins with "Its repetition can't be shown".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It isn't written as RFC 5545 writes rules.
    #[error("its rule can't be read")]
    Malformed,
    /// It uses what Intail doesn't know.
    #[error("its rule uses words that Intail doesn't know")]
    Unknown,
    /// It repeats by the hour or faster and has no times of day.
    #[error("it repeats within days and begins on a whole day")]
    WithinDays,
    /// It repeats in a time zone that Intail doesn't know.
    #[error("its time zone isn't known here")]
    Zone,
    /// It counts months and years as another calendar does (`RSCALE`, RFC 7529).
    #[error("it repeats by another calendar than the Gregorian one")]
    OtherCalendar,
    /// It is longer than anything that is read.
    #[error("its rule is too long")]
    TooLong,
}

/// What a reading may still look at.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    left: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self { left: STEPS_MAX }
    }
}

/// There was more to look at than one reading may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exhausted;

impl Effort {
    fn spend(&mut self) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }

    /// A part of it for one series.
    fn share(&mut self) -> Self {
        let share = self.left.min(STEPS_OF_SERIES_MAX);
        self.left -= share;
        Self { left: share }
    }
}

/// The occurrences that a series has in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// When they begin, in order, each once.
    pub starts: Vec<T>,
    /// Whether these are all. Otherwise there were more than can be shown or looked at.
    pub is_complete: bool,
}

/// A series: a beginning, and what it says of its repetition.
#[derive(Clone, Debug)]
pub struct Series {
    start: Start,
    rules: Vec<Rule>,
    rules_out: Vec<Rule>,
    days: Vec<Point>,
    days_out: Vec<Point>,
    /// When occurrences begin and end that are named with a length of their own.
    periods: BTreeMap<Timestamp, Timestamp>,
}

/// A moment as a line writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Day(Date),
    /// In the series' own zone.
    Local(DateTime),
    At(Timestamp),
}

impl Point {
    /// The day, for a series that begins on one.
    fn day(&self) -> Date {
        match self {
            Self::Day(day) => *day,
            Self::Local(clock) => clock.date(),
            Self::At(at) => TimeZone::UTC.to_datetime(*at).date(),
        }
    }

    /// The instant, for a series that begins at a time of day in this zone.
    fn instant(&self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Day(day) => instant(day.to_datetime(Time::midnight()), zone),
            Self::Local(clock) => instant(*clock, zone),
            Self::At(at) => Some(*at),
        }
    }
}

impl Series {
    /// Reads a series' lines: `RRULE`, `EXRULE`, `RDATE` and `EXDATE`, as they stand in `recurrence` of Google's event.
    pub fn read<'a>(start: Start, lines: impl IntoIterator<Item = &'a str>) -> Result<Self, Unreadable> {
        let mut series = Self {
            start,
            rules: Vec::new(),
            rules_out: Vec::new(),
            days: Vec::new(),
            days_out: Vec::new(),
            periods: BTreeMap::new(),
        };
        for (place, line) in lines.into_iter().enumerate() {
            if place >= LINES_MAX {
                return Err(Unreadable::TooLong);
            }
            series.read_line(line.trim())?;
        }
        Ok(series)
    }

    fn read_line(&mut self, line: &str) -> Result<(), Unreadable> {
        let (head, value) = line.split_once(':').ok_or(Unreadable::Malformed)?;
        let mut parameters = head.split(';');
        let name = parameters.next().unwrap_or_default().to_ascii_uppercase();
        match name.as_str() {
            "RRULE" => self.rules.push(Rule::read(value, &self.start)?),
            "EXRULE" => self.rules_out.push(Rule::read(value, &self.start)?),
            "RDATE" | "EXDATE" => match (Written::read(parameters)?, name == "RDATE") {
                (Written { zone, is_periods: true }, true) => self.read_periods(value, zone)?,
                (Written { is_periods: true, .. }, false) => return Err(Unreadable::Unknown),
                (Written { zone, is_periods: false }, is_in) => {
                    let points = items(value).into_iter().map(|item| point(item, zone.as_ref()));
                    let points: Vec<Point> = points.collect::<Result<_, _>>()?;
                    let dates = if is_in { &mut self.days } else { &mut self.days_out };
                    dates.extend(points);
                    if dates.len() > DATES_MAX {
                        return Err(Unreadable::TooLong);
                    }
                }
            },
            _ => return Err(Unreadable::Unknown),
        }
        Ok(())
    }

    /// Reads occurrences with a length of their own: `20260101T090000/20260101T103000` or `20260101T090000/PT1H30M`.
    fn read_periods(&mut self, value: &str, zone: Option<TimeZone>) -> Result<(), Unreadable> {
        // A period has times of day.
        let Start::Clock(_, own) = &self.start else { return Err(Unreadable::WithinDays) };
        for item in items(value) {
            let (starts, ends) = item.split_once('/').ok_or(Unreadable::Malformed)?;
            let starts = point(starts, zone.as_ref())?.instant(own).ok_or(Unreadable::Malformed)?;
            let ends = match ends.starts_with(['P', 'p', '+']) {
                true => {
                    let lasts: Span = ends.parse().map_err(|_| Unreadable::Malformed)?;
                    // Days are days of the clock, hours are hours (RFC 5545, 3.3.6).
                    let begins = starts.to_zoned(zone.as_ref().unwrap_or(own).clone());
                    begins.checked_add(lasts).map_err(|_| Unreadable::Malformed)?.timestamp()
                }
                false => point(ends, zone.as_ref())?.instant(own).ok_or(Unreadable::Malformed)?,
            };
            if ends < starts {
                return Err(Unreadable::Malformed);
            }
            self.periods.insert(starts, ends);
        }
        if self.periods.len() > DATES_MAX { Err(Unreadable::TooLong) } else { Ok(()) }
    }

    /// When the occurrence ends that begins then, if it has a length of its own.
    pub fn own_end(&self, starts: Timestamp) -> Option<Timestamp> {
        self.periods.get(&starts).copied()
    }

    /// The days on which it begins, from `from` to the day before `until`; for a series that begins on a day.
    pub fn days(&self, from: Date, until: Date, effort: &mut Effort) -> Named<Date> {
        let (Start::Day(begin), Ok(last)) = (&self.start, until.yesterday()) else { return Named::default() };
        let (clocks, clocks_out, is_complete) = self.walk(from, last, effort);
        let mut starts: Vec<Date> = clocks.into_iter().map(DateTime::date).collect();
        starts.push(*begin);
        starts.extend(self.days.iter().map(Point::day));
        let out = clocks_out.into_iter().map(DateTime::date).chain(self.days_out.iter().map(Point::day));
        Named::of(starts, out.collect(), |it| *it >= from && *it < until, is_complete)
    }

    /// The instants at which it begins, from `from` and before `until`; for a series that begins at a time of day. What
    /// has a length of its own is named too if it begins earlier and ends after `from`.
    pub fn instants(&self, from: Timestamp, until: Timestamp, effort: &mut Effort) -> Named<Timestamp> {
        let Start::Clock(begin, zone) = &self.start else { return Named::default() };
        // What a clock shows differs by less than a day from what it shows after a jump.
        let (first, last) = (zone.to_datetime(from).date(), zone.to_datetime(until).date());
        let (first, last) = (first.yesterday().unwrap_or(first), last.tomorrow().unwrap_or(last));
        let (clocks, clocks_out, is_complete) = self.walk(first, last, effort);
        // Compared as instants: a skipped time is written as what it became.
        let at = |point: &Point| point.instant(zone);
        let mut starts: Vec<Timestamp> = clocks.into_iter().filter_map(|clock| instant(clock, zone)).collect();
        starts.extend(instant(*begin, zone));
        starts.extend(self.days.iter().filter_map(at));
        starts.extend(self.periods.keys());
        let out = clocks_out.into_iter().filter_map(|clock| instant(clock, zone));
        let reaches = |it: &Timestamp| *it >= from || self.own_end(*it).is_some_and(|ends| ends > from);
        let is_in = |it: &Timestamp| *it < until && reaches(it);
        Named::of(starts, out.chain(self.days_out.iter().filter_map(at)).collect(), is_in, is_complete)
    }

    /// What the rules name on the days from `first` to `last`, what the others take out, as the series' own clock shows
    /// them; and whether that is all.
    fn walk(&self, first: Date, last: Date, effort: &mut Effort) -> (Vec<DateTime>, Vec<DateTime>, bool) {
        let mut share = effort.share();
        let (mut found, mut out) = (Vec::new(), Vec::new());
        let mut collect = |rules: &[Rule], into: &mut Vec<DateTime>| {
            rules.iter().try_for_each(|rule| rule.walk(&self.start, first, last, &mut share, into))
        };
        let walked = collect(&self.rules, &mut found).and_then(|()| collect(&self.rules_out, &mut out));
        // What wasn't used goes back.
        effort.left = effort.left.saturating_add(share.left);
        (found, out, walked.is_ok())
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { starts: Vec::new(), is_complete: true }
    }
}

impl<T: Ord> Named<T> {
    fn of(mut starts: Vec<T>, mut out: Vec<T>, is_in: impl Fn(&T) -> bool, is_complete: bool) -> Self {
        out.sort_unstable();
        starts.retain(|it| is_in(it) && out.binary_search(it).is_err());
        starts.sort_unstable();
        starts.dedup();
        let fits = starts.len() <= OCCURRENCES_MAX;
        starts.truncate(OCCURRENCES_MAX);
        Self { starts, is_complete: is_complete && fits }
    }
}

fn begin(start: &Start) -> DateTime {
    match start {
        Start::Day(day) => day.to_datetime(Time::midnight()),
        Start::Clock(clock, _) => *clock,
    }
}

/// The instant at which clocks of a zone show this: later by what was skipped, or the first of two.
pub fn instant(clock: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(clock).compatible().ok()
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Every {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// Until when, inclusive.
#[derive(Clone, Copy, Debug)]
struct Until {
    point: Point,
    /// The same on the series' own clock: what is a day or more away from it needs no closer look.
    clock: DateTime,
}

/// One rule, with what it leaves to the series' beginning filled in.
#[derive(Clone, Debug)]
struct Rule {
    every: Every,
    interval: i64,
    count: Option<u32>,
    until: Option<Until>,
    week_begins: Weekday,
    /// A bit for each month; none means any. The same for days of the month, counted from its end in the second.
    months: u16,
    month_days: u32,
    month_days_back: u32,
    year_days: Vec<i16>,
    weeks: Vec<i16>,
    /// A bit for each day of the week from Monday on.
    weekdays: u8,
    /// The n-th such day of the month, or of the year; negative ones count from its end.
    nth_weekdays: Vec<(i16, Weekday)>,
    /// A bit for each hour, minute and second; all bits where the rule itself counts them.
    hours: u32,
    minutes: u64,
    seconds: u64,
    positions: Vec<i16>,
}

/// Days that belong together for a rule: one round of it.
#[derive(Clone, Copy, Debug)]
struct Round {
    first: Date,
    last: Date,
}

impl Rule {
    fn read(text: &str, start: &Start) -> Result<Self, Unreadable> {
        let mut rule = Self {
            every: Every::Day,
            interval: 1,
            count: None,
            until: None,
            week_begins: Weekday::Monday,
            months: 0,
            month_days: 0,
            month_days_back: 0,
            year_days: Vec::new(),
            weeks: Vec::new(),
            weekdays: 0,
            nth_weekdays: Vec::new(),
            hours: 0,
            minutes: 0,
            seconds: 0,
            positions: Vec::new(),
        };
        let mut every = None;
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(Unreadable::Malformed)?;
            match name.to_ascii_uppercase().as_str() {
                "FREQ" => every = Some(frequency(value)?),
                name => rule.read_part(name, value, start)?,
            }
        }
        rule.every = every.ok_or(Unreadable::Malformed)?;
        rule.complete(start)?;
        Ok(rule)
    }

    fn read_part(&mut self, name: &str, value: &str, start: &Start) -> Result<(), Unreadable> {
        match name {
            "INTERVAL" => self.interval = i64::from(whole(value, 1, INTERVAL_MAX)?),
            "COUNT" => self.count = Some(whole(value, 1, u32::MAX)?),
            "UNTIL" => self.until = Some(until(value, start)?),
            "WKST" => self.week_begins = weekday(value)?,
            "BYMONTH" => self.months = bits(value, 1, 12)? as u16,
            "BYMONTHDAY" => {
                for day in numbers(value, 31)? {
                    let bit = 1_u32 << day.unsigned_abs();
                    if day > 0 { self.month_days |= bit } else { self.month_days_back |= bit }
                }
            }
            "BYYEARDAY" => self.year_days = numbers(value, 366)?,
            "BYWEEKNO" => self.weeks = numbers(value, 53)?,
            "BYSETPOS" => self.positions = numbers(value, 366)?,
            "BYDAY" => self.read_weekdays(value)?,
            "BYHOUR" => self.hours = bits(value, 0, 23)? as u32,
            "BYMINUTE" => self.minutes = bits(value, 0, 59)?,
            "BYSECOND" => self.seconds = bits(value, 0, 59)?,
            "RSCALE" if value.trim().eq_ignore_ascii_case("GREGORIAN") => {}
            "RSCALE" => return Err(Unreadable::OtherCalendar),
            // Days that a month doesn't have are left out, as without the word.
            "SKIP" if value.trim().eq_ignore_ascii_case("OMIT") => {}
            // Who doesn't know an experimental word is to go on without it (RFC 5545, 3.2).
            name if name.starts_with("X-") => {}
            _ => return Err(Unreadable::Unknown),
        }
        Ok(())
    }

    fn read_weekdays(&mut self, value: &str) -> Result<(), Unreadable> {
        for (place, item) in value.split(',').enumerate() {
            if place >= NUMBERS_MAX {
                return Err(Unreadable::TooLong);
            }
            let item = item.trim();
            let (nth, day) =
                item.len().checked_sub(2).and_then(|at| item.split_at_checked(at)).ok_or(Unreadable::Malformed)?;
            let day = weekday(day)?;
            if nth.is_empty() {
                self.weekdays |= day_bit(day);
            } else {
                self.nth_weekdays.push((number(nth, 53)?, day));
            }
        }
        Ok(())
    }

    /// What the rule doesn't say comes from the beginning.
    fn complete(&mut self, start: &Start) -> Result<(), Unreadable> {
        let begin = begin(start);
        if self.every < Every::Month {
            // Numbers before weekdays mean something in months and years only; elsewhere the weekday is what is left.
            for (_, day) in std::mem::take(&mut self.nth_weekdays) {
                self.weekdays |= day_bit(day);
            }
        }
        let no_weekday = self.weekdays == 0 && self.nth_weekdays.is_empty();
        let no_day = no_weekday && self.month_days == 0 && self.month_days_back == 0 && self.year_days.is_empty();
        let bit_of_day = 1_u32 << begin.day().unsigned_abs();
        match self.every {
            Every::Year | Every::Month if no_day && !self.weeks.is_empty() => {
                self.weekdays = day_bit(begin.weekday());
            }
            Every::Year if no_day => {
                if self.months == 0 {
                    self.months = 1 << begin.month().unsigned_abs();
                }
                self.month_days = bit_of_day;
            }
            Every::Month if no_day => self.month_days = bit_of_day,
            Every::Week if no_day => self.weekdays = day_bit(begin.weekday()),
            _ => {}
        }
        if matches!(start, Start::Day(_)) {
            if self.every < Every::Day {
                return Err(Unreadable::WithinDays);
            }
            // Times of day are to be ignored then (RFC 5545, 3.3.10).
            (self.hours, self.minutes, self.seconds) = (1, 1, 1);
            return Ok(());
        }
        let fill = |set: u64, counted: bool, own: i8, all: u64| match set {
            0 if counted => all,
            0 => 1 << own.unsigned_abs(),
            set => set,
        };
        let all = (1_u64 << 60) - 1;
        self.hours = fill(u64::from(self.hours), self.every <= Every::Hour, begin.hour(), (1 << 24) - 1) as u32;
        self.minutes = fill(self.minutes, self.every <= Every::Minute, begin.minute(), all);
        self.seconds = fill(self.seconds, self.every <= Every::Second, begin.second(), all);
        Ok(())
    }

    /// Adds what the rule names on the days from `first` to `last`.
    fn walk(
        &self,
        start: &Start,
        first: Date,
        last: Date,
        effort: &mut Effort,
        found: &mut Vec<DateTime>,
    ) -> Result<(), Exhausted> {
        let begin = begin(start);
        let mut left = self.count;
        // What is counted is counted from the beginning; everything else is asked of the days themselves.
        let from = if left.is_some() { begin.date() } else { first.max(begin.date()) };
        let last = self.until.map_or(last, |until| last.min(until.clock.date().tomorrow().unwrap_or(last)));
        let mut place = Some(from);
        let mut slots = Vec::new();
        while let Some(round) = place.and_then(|day| self.round(day, begin)) {
            if round.first > last {
                break;
            }
            slots.clear();
            self.slots_of(round, from.max(round.first), last.min(round.last), begin, effort, &mut slots)?;
            for slot in slots.iter().copied().filter(|slot| *slot >= begin && self.is_before_end(*slot, start)) {
                if let Some(left) = &mut left {
                    let Some(fewer) = left.checked_sub(1) else { return Ok(()) };
                    *left = fewer;
                }
                if slot.date() >= first && slot.date() <= last {
                    found.push(slot);
                }
            }
            place = round.last.tomorrow().ok();
        }
        Ok(())
    }

    fn is_before_end(&self, slot: DateTime, start: &Start) -> bool {
        let Some(until) = self.until else { return true };
        match (until.point, start) {
            (Point::At(at), Start::Clock(_, zone)) => instant(slot, zone).is_some_and(|own| own <= at),
            (Point::Day(day), _) => slot.date() <= day,
            _ => slot <= until.clock,
        }
    }

    /// The round in which `day` is, or the next one: only each `interval`-th counts. None at the end of time.
    fn round(&self, day: Date, begin: DateTime) -> Option<Round> {
        let ahead = |steps: i64| (self.interval - steps.rem_euclid(self.interval)) % self.interval;
        match self.every {
            Every::Year => {
                let year = i64::from(day.year()) + ahead(i64::from(day.year()) - i64::from(begin.year()));
                let year = i16::try_from(year).ok()?;
                Some(Round { first: Date::new(year, 1, 1).ok()?, last: Date::new(year, 12, 31).ok()? })
            }
            Every::Month => {
                let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
                let month = months(day) + ahead(months(day) - months(begin.date()));
                let year = i16::try_from(month.div_euclid(12)).ok()?;
                let first = Date::new(year, i8::try_from(month.rem_euclid(12)).ok()? + 1, 1).ok()?;
                Some(Round { first, last: first.last_of_month() })
            }
            Every::Week => {
                let monday = week_of(day, self.week_begins)?;
                let weeks = days_between(week_of(begin.date(), self.week_begins)?, monday) / 7;
                let first = monday.checked_add(ahead(weeks).checked_mul(7)?.days()).ok()?;
                Some(Round { first, last: first.checked_add(6.days()).unwrap_or(Date::MAX) })
            }
            Every::Day => {
                let first = day.checked_add(ahead(days_between(begin.date(), day)).days()).ok()?;
                Some(Round { first, last: first })
            }
            Every::Hour | Every::Minute | Every::Second => Some(Round { first: day, last: day }),
        }
    }

    /// What a round has on the days from `first` to `last`, in order. Which position something has in its round can
    /// only be told of the whole round.
    fn slots_of(
        &self,
        round: Round,
        first: Date,
        last: Date,
        begin: DateTime,
        effort: &mut Effort,
        slots: &mut Vec<DateTime>,
    ) -> Result<(), Exhausted> {
        let whole = !self.positions.is_empty();
        let (mut day, end) = if whole { (round.first, round.last) } else { (first, last) };
        loop {
            effort.spend()?;
            if self.names_day(day) {
                self.times_of(day, begin, effort, slots)?;
            }
            match day.tomorrow() {
                Ok(next) if next <= end => day = next,
                _ => break,
            }
        }
        if whole && self.every >= Every::Day {
            self.keep_positions(slots, 0);
        }
        Ok(())
    }

    /// Keeps, of what stands from `from` on, the positions that the rule asks for.
    fn keep_positions(&self, slots: &mut Vec<DateTime>, from: usize) {
        let set = slots.split_off(from);
        let length = i64::try_from(set.len()).unwrap_or(i64::MAX);
        let mut places: Vec<i64> = self
            .positions
            .iter()
            .map(|position| i64::from(*position))
            .map(|position| if position > 0 { position - 1 } else { length + position })
            .collect();
        places.sort_unstable();
        places.dedup();
        slots.extend(places.into_iter().filter_map(|place| set.get(usize::try_from(place).ok()?)));
    }

    /// The times of a day that the rule names.
    fn times_of(
        &self,
        day: Date,
        begin: DateTime,
        effort: &mut Effort,
        slots: &mut Vec<DateTime>,
    ) -> Result<(), Exhausted> {
        // Hours, minutes or seconds since the beginning, for rules that count them.
        let unit_s = match self.every {
            Every::Hour => HOUR_S,
            Every::Minute => MINUTE_S,
            _ => 1,
        };
        let begin_s = i64::from(begin.hour()) * HOUR_S + i64::from(begin.minute()) * MINUTE_S;
        let begin_units = (begin_s + i64::from(begin.second())) / unit_s;
        let units =
            |second_of_day: i64| (days_between(begin.date(), day) * DAY_S + second_of_day) / unit_s - begin_units;
        let counts = |second_of_day: i64| units(second_of_day).rem_euclid(self.interval) == 0;
        // Whether any of the `size_s` seconds from here on can count.
        let reaches = |second_of_day: i64, size_s: i64| {
            let ahead = (-units(second_of_day)).rem_euclid(self.interval);
            ahead * unit_s < size_s
        };
        let (by_hour, by_minute, by_second) =
            (self.every == Every::Hour, self.every == Every::Minute, self.every == Every::Second);
        if (by_hour || by_minute || by_second) && !reaches(0, DAY_S) {
            return Ok(());
        }
        for hour in set_bits(u64::from(self.hours)) {
            let hour_s = i64::from(hour) * HOUR_S;
            if (by_hour && !counts(hour_s)) || ((by_minute || by_second) && !reaches(hour_s, HOUR_S)) {
                continue;
            }
            effort.spend()?;
            let of_hour = slots.len();
            for minute in set_bits(self.minutes) {
                let minute_s = hour_s + i64::from(minute) * MINUTE_S;
                if (by_minute && !counts(minute_s)) || (by_second && !reaches(minute_s, MINUTE_S)) {
                    continue;
                }
                let of_minute = slots.len();
                for second in set_bits(self.seconds) {
                    if by_second && !counts(minute_s + i64::from(second)) {
                        continue;
                    }
                    effort.spend()?;
                    slots.push(day.at(hour, minute, second, 0));
                    if by_second && !self.positions.is_empty() {
                        self.keep_positions(slots, slots.len() - 1);
                    }
                }
                if by_minute && !self.positions.is_empty() {
                    self.keep_positions(slots, of_minute);
                }
            }
            if by_hour && !self.positions.is_empty() {
                self.keep_positions(slots, of_hour);
            }
        }
        Ok(())
    }

    /// Whether the rule names this day, whatever its rounds are.
    fn names_day(&self, day: Date) -> bool {
        let fits = |position: i16, length: i16, list: &[i16]| {
            list.contains(&position) || list.contains(&(position - length - 1))
        };
        if self.months != 0 && self.months & (1 << day.month().unsigned_abs()) == 0 {
            return false;
        }
        if !self.weeks.is_empty() {
            let Some((week, weeks)) = week_number(day, self.week_begins) else { return false };
            if !fits(week, weeks, &self.weeks) {
                return false;
            }
        }
        if !self.year_days.is_empty() && !fits(day.day_of_year(), day.days_in_year(), &self.year_days) {
            return false;
        }
        if self.month_days != 0 || self.month_days_back != 0 {
            let back = day.days_in_month() - day.day() + 1;
            let named = self.month_days & (1 << day.day().unsigned_abs()) != 0;
            if !named && self.month_days_back & (1 << back.unsigned_abs()) == 0 {
                return false;
            }
        }
        if self.weekdays == 0 && self.nth_weekdays.is_empty() {
            return true;
        }
        self.weekdays & day_bit(day.weekday()) != 0 || self.is_nth_weekday(day)
    }

    fn is_nth_weekday(&self, day: Date) -> bool {
        let of_year = self.every == Every::Year && self.months == 0;
        let (place, length) = match of_year {
            true => (day.day_of_year(), day.days_in_year()),
            false => (i16::from(day.day()), i16::from(day.days_in_month())),
        };
        let (nth, nth_back) = ((place - 1) / 7 + 1, -((length - place) / 7 + 1));
        self.nth_weekdays
            .iter()
            .any(|(wanted, weekday)| *weekday == day.weekday() && (*wanted == nth || *wanted == nth_back))
    }
}

/// The bits that are set, as numbers.
fn set_bits(mut bits: u64) -> impl Iterator<Item = i8> {
    std::iter::from_fn(move || {
        let bit = i8::try_from(bits.trailing_zeros()).ok().filter(|_| bits != 0)?;
        bits &= bits - 1;
        Some(bit)
    })
}

fn day_bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset().unsigned_abs()
}

fn days_between(from: Date, until: Date) -> i64 {
    until.duration_since(from).as_secs() / DAY_S
}

/// The first day of the week that a day is in.
fn week_of(day: Date, begins: Weekday) -> Option<Date> {
    let into = i64::from(day.weekday().since(begins));
    day.checked_sub(into.days()).ok()
}

/// A day's week and how many its year has. A week belongs to the year that has four of its days (ISO 8601, with any
/// first day of the week).
fn week_number(day: Date, begins: Weekday) -> Option<(i16, i16)> {
    let middle = |day: Date| week_of(day, begins)?.checked_add(3.days()).ok();
    let number = |middle: Date| (middle.day_of_year() - 1) / 7 + 1;
    let own = middle(day)?;
    let last = middle(Date::new(own.year(), 12, 28).ok()?)?;
    Some((number(own), number(last)))
}

fn frequency(word: &str) -> Result<Every, Unreadable> {
    Ok(match word.to_ascii_uppercase().as_str() {
        "SECONDLY" => Every::Second,
        "MINUTELY" => Every::Minute,
        "HOURLY" => Every::Hour,
        "DAILY" => Every::Day,
        "WEEKLY" => Every::Week,
        "MONTHLY" => Every::Month,
        "YEARLY" => Every::Year,
        _ => return Err(Unreadable::Unknown),
    })
}

fn weekday(word: &str) -> Result<Weekday, Unreadable> {
    Ok(match word.trim().to_ascii_uppercase().as_str() {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return Err(Unreadable::Malformed),
    })
}

fn whole(text: &str, least: u32, most: u32) -> Result<u32, Unreadable> {
    let number: u32 = text.trim().parse().map_err(|_| Unreadable::Malformed)?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(Unreadable::Malformed) }
}

/// A number from one to `most`, or the same counted from the end.
fn number(text: &str, most: i16) -> Result<i16, Unreadable> {
    let number: i16 = text.trim().parse().map_err(|_| Unreadable::Malformed)?;
    let fits = number != 0 && (-most..=most).contains(&number);
    if fits { Ok(number) } else { Err(Unreadable::Malformed) }
}

fn numbers(text: &str, most: i16) -> Result<Vec<i16>, Unreadable> {
    let items = text.split(',');
    if items.clone().count() > NUMBERS_MAX {
        return Err(Unreadable::TooLong);
    }
    items.map(|item| number(item, most)).collect()
}

/// A list of small numbers as bits.
fn bits(text: &str, least: u32, most: u32) -> Result<u64, Unreadable> {
    text.split(',').take(NUMBERS_MAX).try_fold(0, |bits, item| Ok(bits | 1 << whole(item, least, most)?))
}

fn until(text: &str, start: &Start) -> Result<Until, Unreadable> {
    let point = point(text.trim(), None)?;
    let clock = match (point, start) {
        (Point::Day(day), _) => day.to_datetime(Time::midnight()),
        (Point::Local(clock), _) => clock,
        (Point::At(at), Start::Day(_)) => TimeZone::UTC.to_datetime(at),
        (Point::At(at), Start::Clock(_, zone)) => zone.to_datetime(at),
    };
    Ok(Until { point, clock })
}

/// How an `RDATE` or `EXDATE` line writes its moments.
struct Written {
    /// Whose clock shows them.
    zone: Option<TimeZone>,
    /// Whether each has a length.
    is_periods: bool,
}

impl Written {
    fn read<'a>(parameters: impl Iterator<Item = &'a str>) -> Result<Self, Unreadable> {
        let mut written = Self { zone: None, is_periods: false };
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').ok_or(Unreadable::Malformed)?;
            match (name.to_ascii_uppercase().as_str(), value.trim_matches('"')) {
                ("TZID", name) => written.zone = Some(TimeZone::get(name).map_err(|_| Unreadable::Zone)?),
                ("VALUE", kind) if ["DATE", "DATE-TIME"].iter().any(|known| known.eq_ignore_ascii_case(kind)) => {}
                ("VALUE", kind) if kind.eq_ignore_ascii_case("PERIOD") => written.is_periods = true,
                (name, _) if name.starts_with("X-") => {}
                _ => return Err(Unreadable::Unknown),
            }
        }
        Ok(written)
    }
}

/// What stands between commas; one more than is read says that there are too many.
fn items(value: &str) -> Vec<&str> {
    value.split(',').take(DATES_MAX + 1).map(str::trim).collect()
}

/// `20261231`, `20261231T090000` or `20261231T080000Z`.
fn point(text: &str, zone: Option<&TimeZone>) -> Result<Point, Unreadable> {
    let part = |from: usize, to: usize| text.get(from..to).filter(|part| part.bytes().all(|it| it.is_ascii_digit()));
    let small = |from: usize| part(from, from + 2).and_then(|part| part.parse::<i8>().ok());
    let day = || Date::new(part(0, 4)?.parse().ok()?, small(4)?, small(6)?).ok();
    let day = day().ok_or(Unreadable::Malformed)?;
    let Some(rest) = text.get(8..).filter(|rest| !rest.is_empty()) else { return Ok(Point::Day(day)) };
    let clock = || {
        let letter = rest.get(..1)?;
        let time = Time::new(small(9)?, small(11)?, small(13)?, 0).ok()?;
        letter.eq_ignore_ascii_case("T").then(|| day.to_datetime(time))
    };
    let clock = clock().ok_or(Unreadable::Malformed)?;
    match text.get(15..) {
        Some("Z" | "z") => instant(clock, &TimeZone::UTC).map(Point::At).ok_or(Unreadable::Malformed),
        Some("") | None => match zone {
            Some(zone) => instant(clock, zone).map(Point::At).ok_or(Unreadable::Malformed),
            None => Ok(Point::Local(clock)),
        },
        Some(_) => Err(Unreadable::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const BERLIN: &str = "Europe/Berlin";
    const NEW_YORK: &str = "America/New_York";

    fn series(start: &str, zone: &str, lines: &[&str]) -> Result<Series, Unreadable> {
        let start = match start.parse::<DateTime>() {
            Ok(clock) if start.contains('T') => Start::Clock(clock, TimeZone::get(zone).expect("a zone")),
            _ => Start::Day(start.parse().expect("a day")),
        };
        Series::read(start, lines.iter().copied())
    }

    /// The occurrences as the series' own clock shows them, those of a year from the beginning.
    fn clocks(start: &str, zone: &str, lines: &[&str]) -> Vec<String> {
        let series = series(start, zone, lines).expect("a series");
        let Start::Clock(begin, hung) = &series.start else { panic!("{start} is a day") };
        let from = instant(*begin, hung).expect("a time");
        let until = instant(begin.saturating_add(1.years()), hung).expect("a time");
        let named = series.instants(from, until, &mut Effort::default());
        assert!(named.is_complete, "{lines:?}");
        named.starts.into_iter().map(|at| hung.to_datetime(at).strftime("%Y-%m-%d %H:%M").to_string()).collect()
    }

    fn days(start: &str, lines: &[&str], from: Date, until: Date) -> Vec<String> {
        let named = series(start, "", lines).expect("a series").days(from, until, &mut Effort::default());
        assert!(named.is_complete, "{lines:?}");
        named.starts.iter().map(Date::to_string).collect()
    }

    fn days_of_years(start: &str, rule: &str, years: i16) -> Vec<String> {
        let first: Date = start.parse().expect("a day");
        days(start, &[&format!("RRULE:{rule}")], first, date(first.year() + years, 1, 1))
    }

    #[test]
    fn time_zones_are_the_binary_s_own_whatever_the_machine_has() {
        assert_eq!(format!("{:?}", jiff::tz::db()), "TimeZoneDatabase(Bundled(available))");
        assert!(TimeZone::get("Asia/Calcutta").is_ok(), "also by names that were given up");
    }

    #[test]
    fn daylight_saving_keeps_the_time_of_day_in_both_directions() {
        let forward = ["RRULE:FREQ=DAILY;COUNT=3"];
        assert_eq!(
            clocks("2026-03-28T09:00", BERLIN, &forward),
            ["2026-03-28 09:00", "2026-03-29 09:00", "2026-03-30 09:00"]
        );
        // 02:30 is skipped on the 29th: half past two is what half past three is called then.
        assert_eq!(
            clocks("2026-03-28T02:30", BERLIN, &forward),
            ["2026-03-28 02:30", "2026-03-29 03:30", "2026-03-30 02:30"]
        );
        let back = series("2026-10-24T02:30", BERLIN, &forward).expect("a series");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let named = back.instants(at("2026-10-24T00:00:00Z"), at("2026-10-27T00:00:00Z"), &mut Effort::default());
        // Shown twice on the 25th, by 00:30 and by 01:30 UTC: the first counts.
        let starts = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        assert_eq!(named.starts, starts.map(at));
    }

    #[test]
    fn a_midnight_that_is_skipped_is_one_o_clock() {
        let shown = clocks("2024-04-25T00:00", "Africa/Cairo", &["RRULE:FREQ=DAILY;COUNT=3"]);
        assert_eq!(shown, ["2024-04-25 00:00", "2024-04-26 01:00", "2024-04-27 00:00"]);
    }

    #[test]
    fn an_end_in_utc_is_an_instant_and_inclusive() {
        let until = |end: &str| clocks("2026-03-28T09:00", BERLIN, &[&format!("RRULE:FREQ=DAILY;UNTIL={end}")]).len();
        assert_eq!(until("20260330T070000Z"), 3);
        assert_eq!(until("20260330T065959Z"), 2);
        assert_eq!(until("20260330T090000"), 3, "without Z it is a time of the series' own zone");
        assert_eq!(until("20260330"), 3, "a day ends with itself");
        assert_eq!(until("20260101"), 1, "the beginning stays");
    }

    #[test]
    fn a_beginning_that_its_rule_does_not_name_is_one_more() {
        // A Thursday; the rule has three Wednesdays.
        let shown = clocks("2024-05-30T20:00", BERLIN, &["RRULE:FREQ=WEEKLY;COUNT=3;BYDAY=WE"]);
        assert_eq!(shown, ["2024-05-30 20:00", "2024-06-05 20:00", "2024-06-12 20:00", "2024-06-19 20:00"]);
        let without =
            clocks("2024-05-30T20:00", BERLIN, &["RRULE:FREQ=WEEKLY;COUNT=1;BYDAY=WE", "EXDATE:20240530T180000Z"]);
        assert_eq!(without, ["2024-06-05 20:00"], "and can be taken out as any other");
    }

    #[test]
    fn weeks_follow_their_first_day() {
        let rule = |first: &str| format!("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST={first}");
        assert_eq!(
            days_of_years("1997-08-05", &rule("MO"), 1),
            ["1997-08-05", "1997-08-10", "1997-08-19", "1997-08-24"]
        );
        assert_eq!(
            days_of_years("1997-08-05", &rule("SU"), 1),
            ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]
        );
    }

    #[test]
    fn months_count_from_both_ends() {
        assert_eq!(
            days_of_years("2026-01-31", "FREQ=MONTHLY;COUNT=4", 1),
            ["2026-01-31", "2026-03-31", "2026-05-31", "2026-07-31"]
        );
        assert_eq!(
            days_of_years("2026-01-31", "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3", 1),
            ["2026-01-31", "2026-02-28", "2026-03-31"]
        );
        assert_eq!(
            days_of_years("2026-01-02", "FREQ=MONTHLY;BYDAY=1FR,-1MO;COUNT=4", 1),
            ["2026-01-02", "2026-01-26", "2026-02-06", "2026-02-23"]
        );
        // Fridays the 13th.
        let fridays = days_of_years("2026-02-13", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=4", 2);
        assert_eq!(fridays, ["2026-02-13", "2026-03-13", "2026-11-13", "2027-08-13"]);
        // The last working day.
        let working = "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3";
        assert_eq!(days_of_years("2026-01-30", working, 1), ["2026-01-30", "2026-02-27", "2026-03-31"]);
        // A weekday and a numbered one are either, not both.
        let either = "FREQ=MONTHLY;BYDAY=MO,1TU;BYMONTHDAY=1,2,3,4,5,6,7;COUNT=3";
        assert_eq!(days_of_years("2026-06-01", either, 1), ["2026-06-01", "2026-06-02", "2026-07-06"]);
    }

    #[test]
    fn years_have_days_weeks_and_leap_days() {
        assert_eq!(days_of_years("2024-02-29", "FREQ=YEARLY;COUNT=3", 20), ["2024-02-29", "2028-02-29", "2032-02-29"]);
        let hundredth = "FREQ=YEARLY;INTERVAL=3;COUNT=4;BYYEARDAY=1,100,-1";
        assert_eq!(days_of_years("1997-01-01", hundredth, 5), ["1997-01-01", "1997-04-10", "1997-12-31", "2000-01-01"]);
        assert_eq!(
            days_of_years("1997-05-12", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;COUNT=3", 4),
            ["1997-05-12", "1998-05-11", "1999-05-17"]
        );
        // Without a weekday it is the beginning's: a Tuesday.
        assert_eq!(days_of_years("1997-05-13", "FREQ=YEARLY;BYWEEKNO=20;COUNT=2", 4), ["1997-05-13", "1998-05-12"]);
        // The first week of 2026 begins in 2025.
        assert_eq!(
            days_of_years("2024-01-01", "FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO;UNTIL=20261231", 5),
            ["2024-01-01", "2024-12-30", "2025-12-29"]
        );
        assert_eq!(days_of_years("2026-05-18", "FREQ=YEARLY;BYDAY=20MO;COUNT=2", 4), ["2026-05-18", "2027-05-17"]);
    }

    #[test]
    fn the_first_week_s_positions_are_those_of_the_whole_week() {
        // Begins on a Thursday: the second of Monday, Thursday and Friday is that Thursday.
        let shown = days_of_years("2026-01-08", "FREQ=WEEKLY;BYDAY=MO,TH,FR;BYSETPOS=2;COUNT=2", 1);
        assert_eq!(shown, ["2026-01-08", "2026-01-15"]);
    }

    #[test]
    fn hours_minutes_and_seconds_are_counted_on_the_clock() {
        let hourly = clocks("2026-01-05T09:30", BERLIN, &["RRULE:FREQ=HOURLY;INTERVAL=5;COUNT=4"]);
        assert_eq!(hourly, ["2026-01-05 09:30", "2026-01-05 14:30", "2026-01-05 19:30", "2026-01-06 00:30"]);
        let minutely = clocks("2026-01-05T09:00", BERLIN, &["RRULE:FREQ=MINUTELY;INTERVAL=90;COUNT=3"]);
        assert_eq!(minutely, ["2026-01-05 09:00", "2026-01-05 10:30", "2026-01-05 12:00"]);
        let twenty = "RRULE:FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10;COUNT=7";
        assert_eq!(clocks("2026-01-05T09:00", BERLIN, &[twenty])[5..], ["2026-01-05 10:40", "2026-01-06 09:00"]);
        let seconds = clocks("2026-01-05T09:00", BERLIN, &["RRULE:FREQ=SECONDLY;INTERVAL=5400;COUNT=3"]);
        assert_eq!(seconds, ["2026-01-05 09:00", "2026-01-05 10:30", "2026-01-05 12:00"]);
    }

    #[test]
    fn days_are_put_in_and_taken_out_in_each_way_of_writing() {
        let lines = [
            "RRULE:FREQ=DAILY;COUNT=5",
            "EXDATE;TZID=America/New_York:20260302T090000",
            "EXDATE:20260303T140000Z",
            "EXDATE;VALUE=DATE-TIME:20260304T090000",
            "RDATE;TZID=Europe/Berlin:20260310T150000,20260311T150000",
            "EXRULE:FREQ=WEEKLY;COUNT=9;BYDAY=WE",
        ];
        let shown = clocks("2026-03-01T09:00", NEW_YORK, &lines);
        // The 10th and 11th at 10:00: New York has changed its clocks, Berlin hasn't. The 11th is a Wednesday, but the
        // rule takes nine o'clock out.
        assert_eq!(shown, ["2026-03-01 09:00", "2026-03-05 09:00", "2026-03-10 10:00", "2026-03-11 10:00"]);
        // At the repeated hour, the second one isn't the first.
        let kept = clocks("2026-10-24T02:30", BERLIN, &["RRULE:FREQ=DAILY;COUNT=2", "EXDATE:20261025T013000Z"]);
        assert_eq!(kept.len(), 2);
        let gone = clocks("2026-10-24T02:30", BERLIN, &["RRULE:FREQ=DAILY;COUNT=2", "EXDATE:20261025T003000Z"]);
        assert_eq!(gone.len(), 1);
    }

    #[test]
    fn dates_may_have_a_length_of_their_own() {
        let lines = [
            "RRULE:FREQ=DAILY;COUNT=2",
            "RDATE;VALUE=PERIOD;TZID=Europe/Berlin:20260328T120000/P1D,20260328T150000/PT24H",
            "RDATE;VALUE=PERIOD:20260301T083000Z/20260301T100000Z,20260310T080000Z/+P1W",
            "EXDATE:20260328T140000Z",
        ];
        let series = series("2026-03-01T09:00", BERLIN, &lines).expect("a series");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let spans = |from: &str, until: &str| {
            let named = series.instants(at(from), at(until), &mut Effort::default());
            let span =
                |it: &Timestamp| format!("{it} {}", series.own_end(*it).map_or_else(String::new, |it| it.to_string()));
            named.starts.iter().map(span).collect::<Vec<String>>()
        };
        // Half past nine isn't nine: both are there. A day ends at noon, although clocks jumped.
        let all = [
            "2026-03-01T08:00:00Z ",
            "2026-03-01T08:30:00Z 2026-03-01T10:00:00Z",
            "2026-03-02T08:00:00Z ",
            "2026-03-10T08:00:00Z 2026-03-17T08:00:00Z",
            "2026-03-28T11:00:00Z 2026-03-29T10:00:00Z",
        ];
        assert_eq!(spans("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), all);
        let reaching = spans("2026-03-16T00:00:00Z", "2026-03-18T00:00:00Z");
        assert_eq!(reaching, [all[3]], "what began a week ago still goes on");
        assert_eq!(series.in_words(), "Every day, 2 times, with 4 more dates, without one date");
    }

    #[test]
    fn a_long_series_costs_what_a_young_one_costs() {
        let cost = |start: &str, rule: &str| {
            let series = series(start, BERLIN, &[&format!("RRULE:{rule}")]).expect("a series");
            let mut effort = Effort::default();
            let at = |text: &str| text.parse::<Timestamp>().expect("a time");
            let named = series.instants(at("2035-06-04T00:00:00Z"), at("2035-06-11T00:00:00Z"), &mut effort);
            assert!(named.is_complete);
            (named.starts.len(), STEPS_MAX - effort.left)
        };
        for rule in ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TU", "FREQ=MONTHLY;BYDAY=1MO", "FREQ=HOURLY;INTERVAL=6"] {
            let (old, young) = (cost("2005-01-03T09:00", rule), cost("2035-01-01T09:00", rule));
            assert_eq!(old, young, "{rule}");
            assert!(old.1 < 400, "{rule}: {} steps", old.1);
        }
        let counted = cost("2005-01-03T09:00", "FREQ=DAILY;COUNT=20000");
        assert!(counted.0 == 7 && counted.1 < STEPS_OF_SERIES_MAX, "{counted:?}");
    }

    #[test]
    fn hostile_rules_end_soon_and_say_so() {
        let read = |lines: &[&str]| series("2026-01-05T09:00", BERLIN, lines).err();
        for (lines, why) in [
            (&["RRULE:FREQ=FORTNIGHTLY"] as &[&str], Unreadable::Unknown),
            (&["RRULE:FREQ=DAILY;BYEASTER=0"], Unreadable::Unknown),
            (&["RRULE:RSCALE=HEBREW;FREQ=DAILY"], Unreadable::OtherCalendar),
            (&["RRULE:RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD"], Unreadable::Unknown),
            (&["RDATE;VALUE=PERIOD:20260101T000000Z"], Unreadable::Malformed),
            (&["RDATE;VALUE=PERIOD:20260101T000000Z/"], Unreadable::Malformed),
            (&["RDATE;VALUE=PERIOD:20260101T000000Z/P"], Unreadable::Malformed),
            (&["RDATE;VALUE=PERIOD:20260101T000000Z/-PT1H"], Unreadable::Malformed),
            (&["RDATE;VALUE=PERIOD:20260101T000000Z/P99999Y"], Unreadable::Malformed),
            (&["RDATE;VALUE=PERIOD:20260101T000000Z/20251231T000000Z"], Unreadable::Malformed),
            (&["EXDATE;VALUE=PERIOD:20260101T000000Z/PT1H"], Unreadable::Unknown),
            (&["EXDATE;TZID=Customized Time Zone:20260101T000000"], Unreadable::Zone),
            (&["VEVENT:x"], Unreadable::Unknown),
            (&["RRULE"], Unreadable::Malformed),
            (&["RRULE:"], Unreadable::Malformed),
            (&["RRULE:DAILY"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;INTERVAL=0"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;INTERVAL=-1"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;COUNT=99999999999"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;UNTIL=20261332"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;UNTIL=日本語日本語"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;UNTIL=20260101T0"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;BYHOUR=24"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;BYMONTHDAY=0"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;BYDAY=ÄÖ"], Unreadable::Malformed),
            (&["RRULE:FREQ=DAILY;BYSETPOS=367"], Unreadable::Malformed),
        ] {
            assert_eq!(read(lines), Some(why), "{lines:?}");
        }
        assert_eq!(read(&["RRULE:FREQ=DAILY"; LINES_MAX + 1]), Some(Unreadable::TooLong));
        let many = format!("EXDATE:{}", ["20260101"; DATES_MAX + 1].join(","));
        assert_eq!(read(&[&many]), Some(Unreadable::TooLong));
        let of_minute = |it: usize| format!("202601{:02}T{:02}{:02}00Z/PT1M", 1 + it / 1440, it / 60 % 24, it % 60);
        let many: Vec<String> = (0..=DATES_MAX).map(of_minute).collect();
        assert_eq!(read(&[&format!("RDATE;VALUE=PERIOD:{}", many.join(","))]), Some(Unreadable::TooLong));
        let of_days = series("2026-01-05", "", &["RDATE;VALUE=PERIOD:20260101T000000Z/PT1H"]);
        assert_eq!(of_days.err(), Some(Unreadable::WithinDays));
        let day = series("2026-01-05", "", &["RRULE:FREQ=HOURLY"]);
        assert_eq!(day.err(), Some(Unreadable::WithinDays));
        // What an exporter added for itself doesn't keep the rule from being read.
        assert!(series("2026-01-05", "", &["RRULE;X-EVOLUTION-ENDDATE=20260301:FREQ=DAILY;X-NOTE=1"]).is_ok());
    }

    #[test]
    fn what_never_ends_is_cut_and_told() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let (from, until) = (at("2030-01-01T00:00:00Z"), at("2030-03-01T00:00:00Z"));
        for rule in [
            "FREQ=SECONDLY",
            "FREQ=MINUTELY;COUNT=4000000000",
            "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1",
            "FREQ=YEARLY;BYHOUR=0,1,2,3,4,5,6,7,8;BYMINUTE=1,2,3,4,5,6,7;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=366;COUNT=99",
        ] {
            let series = series("2005-01-03T09:00", BERLIN, &[&format!("RRULE:{rule}")]).expect("a series");
            let named = series.instants(from, until, &mut Effort::default());
            assert!(named.starts.len() <= OCCURRENCES_MAX);
            let never = rule.contains("BYMONTHDAY=30");
            assert_eq!(named.is_complete, never && named.starts.is_empty(), "{rule}");
        }
        // Together, too: what the first took the last doesn't have.
        let endless = series("2005-01-03T09:00", BERLIN, &["RRULE:FREQ=SECONDLY"]).expect("a series");
        let mut effort = Effort::default();
        let rounds =
            (0..1_000).take_while(|_| effort.left > 0 && !endless.instants(from, until, &mut effort).is_complete);
        assert_eq!(rounds.count(), usize::try_from(STEPS_MAX / STEPS_OF_SERIES_MAX).expect("small"));
    }

    #[test]
    fn the_end_of_time_is_an_end() {
        let rules =
            ["FREQ=DAILY", "FREQ=WEEKLY;INTERVAL=9", "FREQ=MONTHLY", "FREQ=YEARLY;INTERVAL=100000", "FREQ=HOURLY"];
        for rule in rules {
            let series = series("9999-12-20T09:00", BERLIN, &[&format!("RRULE:{rule}")]).expect("a series");
            let from = "9999-12-20T00:00:00Z".parse().expect("a time");
            let named = series.instants(from, Timestamp::MAX, &mut Effort::default());
            assert!(!named.starts.is_empty(), "{rule}");
        }
        let oldest = series("-009999-01-02", "", &["RRULE:FREQ=WEEKLY"]).expect("a series");
        assert!(oldest.days(Date::MIN, date(-9999, 2, 1), &mut Effort::default()).starts.len() > 3);
        assert!(oldest.days(Date::MIN, Date::MIN, &mut Effort::default()).starts.is_empty());
    }
}

//! Occurrences laid out by day, for the calendar's pages: which day each belongs to, in which words its times are said,
//! and where it stands among the hours. Pure.
//!
//! The policy that guards the pages lets no element carry a style of its own, so a place is made of classes that the
//! style sheet has: `from-36` begins at the 36th quarter of an hour of what is shown, `long-4` is an hour long,
//! `lane-2-of-3` is the second of three that take place at once, and `wide-8` takes eight twelfths of its day. Above
//! the hours `line-2` is the second row and `days-3` reaches over three days, on which `carried-on` stands for the
//! same. The order of the list is the order of time, so that it reads well without any of this.

use std::collections::BTreeMap;
use std::fmt;

use askama::filters::HtmlSafe;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::words::{SHOWN_MAX, clip};
use crate::agenda::{Occurrence, day_begins};
use crate::store::events::{Event, Moment, Party};

/// Quarters of an hour: the rows of the grid.
const QUARTERS_OF_HOUR: i64 = 4;
const QUARTERS_OF_DAY: i64 = 24 * QUARTERS_OF_HOUR;
const QUARTER_S: i64 = 15 * 60;
/// What is shown takes at least half an hour, so that its title can be read.
const QUARTERS_MIN: i64 = 2;
/// The hours that are shown even if nothing takes place: most people's working day.
const HOURS_SHOWN: (i64, i64) = (8, 18);
/// Hours of the present that are shown even if nothing takes place; at night the page doesn't grow for them.
const NOW_SHOWN: std::ops::Range<i8> = 6..22;
/// How many stand side by side: in a quarter of a day's column no word can be read. Those beyond are counted, and
/// listed in the agenda.
const LANES_MAX: usize = 3;
/// Columns of a day, which one, two or three lanes share evenly.
const COLUMNS: usize = 12;
/// A title takes half an hour's height. What begins later than that may lie over its event and leaves it readable.
const TITLE_QUARTERS: i64 = 2;
/// How many stand above the hours of one day, so that the hours stay in sight. Those beyond are counted, too.
const LINES_MAX: usize = 6;
/// Days of a week: a bar above the hours reaches no further.
const BAR_DAYS_MAX: usize = 7;
/// What lasts a day or longer stands above the hours.
const WHOLE_FROM: SignedDuration = SignedDuration::from_hours(24);
/// Colours for calendars; with more than these they repeat. The calendar's name stands beside them.
const HUES: usize = 6;

/// One day with what takes place on it.
pub(super) struct Day {
    /// The day itself: `2026-11-25`.
    pub(super) date: Date,
    /// "Wednesday 25 November".
    pub(super) title: String,
    /// "Wed", as a week's column is headed.
    pub(super) short: String,
    pub(super) is_today: bool,
    /// What stands above the hours.
    pub(super) whole: Vec<Item>,
    /// What stands among them.
    pub(super) timed: Vec<Item>,
    /// How many more there are, above the hours or at some hour, than have room there.
    pub(super) hidden: usize,
    /// Where the present is, on the day that it is.
    pub(super) now: Option<Now>,
}

/// The line that says what time it is.
pub(super) struct Now {
    /// Its place among the hours as classes; `outside` where they don't reach it.
    pub(super) classes: String,
    /// How many of the day's timed items begin before it.
    begun: usize,
    /// The time itself.
    pub(super) time: Times,
}

impl Day {
    /// Whether nothing takes place.
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.timed.is_empty()
    }

    /// The present, if it stands before the timed item at this place.
    pub(super) fn now_before(&self, place: usize) -> Option<&Now> {
        self.now.as_ref().filter(|now| now.begun == place)
    }

    /// The present, if it stands behind all timed items.
    pub(super) fn now_last(&self) -> Option<&Now> {
        self.now_before(self.timed.len())
    }
}

/// One line of a day.
pub(super) struct Item {
    /// What it is known by when the page is merged.
    pub(super) key: String,
    /// Its page.
    pub(super) href: String,
    pub(super) title: String,
    /// When, in words.
    pub(super) times: Times,
    /// When it begins and ends, for what stands above the hours and is no whole day.
    pub(super) across: Option<Times>,
    /// Everything that the line says, for whoever points at it.
    pub(super) hover: String,
    /// Its place, kind and answer as classes.
    pub(super) classes: String,
    /// What kind of event it is, unless it is just an event or the title says so.
    pub(super) kind: Option<&'static str>,
    /// How the person stands to it, unless they take part or it is their own.
    pub(super) answer: Option<&'static str>,
    pub(super) place: String,
    /// The name of its calendar; empty where that is the person's first one.
    pub(super) calendar: String,
    /// Whether there is a video call.
    pub(super) has_call: bool,
    /// Whether it began on an earlier day, and whether it goes on behind the last day that its bar reaches over.
    pub(super) is_continued: bool,
    pub(super) goes_on: bool,
    /// The last day of the bar that begins here, where that is another one: "Friday 27 November".
    pub(super) last_day: Option<String>,
    /// Which of the occurrences it is.
    place_in_list: usize,
}

impl Item {
    /// The whole line as text.
    fn in_words(&self) -> String {
        let parts = [
            self.across.as_ref().unwrap_or(&self.times).plain(),
            self.title.clone(),
            self.kind.unwrap_or_default().to_owned(),
            self.answer.unwrap_or_default().to_owned(),
            self.place.clone(),
            if self.has_call { "Video call".to_owned() } else { String::new() },
            self.calendar.clone(),
        ];
        parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<String>>().join(" · ")
    }
}

/// When something begins and ends on a day, said in the reader's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// All of the day.
    Whole,
    /// From one time to another; either is missing where it lies on another day.
    Between(Option<Timestamp>, Option<Timestamp>, TimeZone),
    /// From one time to another, each with its day of the week.
    Across(Timestamp, Timestamp, TimeZone),
}

impl Times {
    /// Writes it, each time as `said` writes it. What is between the second and the end can be left out where there is
    /// little room, so it comes to `until`.
    fn write(&self, said: impl Fn(Timestamp, &TimeZone) -> String, until: impl Fn(&str) -> String) -> String {
        match self {
            Self::Whole | Self::Between(None, None, _) => "all day".to_owned(),
            Self::Between(Some(from), Some(to), zone) if from == to => said(*from, zone),
            Self::Between(Some(from), Some(to), zone) => {
                let [from, to] = with_clock(*from, *to, zone).map(|(at, clock)| said(at, zone) + &clock);
                from + &until(&format!("–{to}"))
            }
            Self::Between(Some(from), None, zone) => format!("from {}", said(*from, zone)),
            Self::Between(None, Some(to), zone) => format!("until {}", said(*to, zone)),
            Self::Across(from, to, zone) => {
                let day = |at: Timestamp| zone.to_datetime(at).strftime("%a").to_string();
                format!("{} {} – {} {}", day(*from), said(*from, zone), day(*to), said(*to, zone))
            }
        }
    }

    /// As text without tags.
    fn plain(&self) -> String {
        self.write(|at, zone| zone.to_datetime(at).strftime("%H:%M").to_string(), str::to_owned)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write(clock, |text| format!("<span class=\"till\">{text}</span>")))
    }
}

/// Digits and our own tags only.
impl HtmlSafe for Times {}

/// Two instants, each with the name of the clock that holds then where clocks change in between: the same hour comes
/// twice in that night, and an end may stand before its beginning.
fn with_clock(from: Timestamp, to: Timestamp, zone: &TimeZone) -> [(Timestamp, String); 2] {
    let differ = zone.to_offset(from) != zone.to_offset(to);
    [from, to].map(|at| {
        let name = zone.to_offset_info(at);
        (at, if differ { format!(" {}", name.abbreviation()) } else { String::new() })
    })
}

/// A time of day in this zone. Without a style, the page's script leaves it as it is.
fn clock(at: Timestamp, zone: &TimeZone) -> String {
    format!(
        "<time datetime=\"{}\">{}</time>",
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        zone.to_datetime(at).strftime("%H:%M")
    )
}

/// What the layout needs to know of a calendar.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) name: String,
    /// Its place among the calendars, which gives its colour.
    pub(super) place: usize,
    /// Whether only busy times are seen of it.
    pub(super) is_busy_only: bool,
    /// Whether it is the person's first one, of which no line needs to say that it is.
    pub(super) is_first: bool,
}

impl Shown {
    /// The class of its colour.
    pub(super) fn hue(&self) -> String {
        format!("hue-{}", self.place % HUES)
    }
}

/// The hours that are shown, from the first until before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    first: i64,
    until: i64,
}

impl Hours {
    /// Each with its class and how it is written. `opens` is the one that the page begins with where the present isn't.
    pub(super) fn labels(self) -> Vec<(String, String)> {
        let label = |hour: i64| {
            let opens = if hour == HOURS_SHOWN.0 { " opens" } else { "" };
            (format!("from-{}{opens}", (hour - self.first) * QUARTERS_OF_HOUR), format!("{hour:02}:00"))
        };
        (self.first..self.until).map(label).collect()
    }

    /// The class that says how many there are.
    pub(super) fn class(self) -> String {
        format!("hours-{}", self.until - self.first)
    }
}

/// How a page asks for its days.
pub(super) struct Layout<'a> {
    pub(super) zone: &'a TimeZone,
    pub(super) now: Timestamp,
    /// The calendars that are shown.
    pub(super) calendars: &'a BTreeMap<String, Shown>,
    /// What links to events carry on, such as `zone=Europe%2FBerlin`; empty when they carry nothing.
    pub(super) carried: &'a str,
}

impl Layout<'_> {
    /// The days from `first` until before `until`, each with what takes place on it, and the hours that hold it.
    pub(super) fn days(&self, occurrences: &[Occurrence], first: Date, until: Date) -> (Vec<Day>, Hours) {
        let today = self.zone.to_datetime(self.now).date();
        let (mut days, mut places) = (Vec::new(), Vec::new());
        let mut date = first;
        while date < until {
            let (day, quarters) = self.day(occurrences, date, date == today);
            days.push(day);
            places.push(quarters);
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        let clock = self.zone.to_datetime(self.now);
        let is_shown = today >= first && today < until && NOW_SHOWN.contains(&clock.hour());
        let now = is_shown.then(|| taken(clock, clock, today));
        let hours = hours(places.iter().flatten().chain(&now));
        for (day, quarters) in days.iter_mut().zip(places) {
            self.place(day, &quarters, hours);
        }
        bars(&mut days);
        (days, hours)
    }

    /// A day's items, and the quarters of an hour that the timed ones take.
    fn day(&self, occurrences: &[Occurrence], date: Date, is_today: bool) -> (Day, Vec<(i64, i64)>) {
        let mut day = Day {
            date,
            title: date.strftime("%A %-d %B").to_string(),
            short: date.strftime("%a").to_string(),
            is_today,
            whole: Vec::new(),
            timed: Vec::new(),
            hidden: 0,
            now: None,
        };
        let (begins, ends) = (day_begins(date, self.zone), day_begins(date.tomorrow().unwrap_or(date), self.zone));
        let (mut quarters, mut begun) = (Vec::new(), 0);
        for (place, it) in occurrences.iter().enumerate() {
            let (from, until) = it.instants(self.zone);
            let is_here = from < ends && (until > begins || (from == until && from >= begins));
            if !is_here {
                continue;
            }
            let (is_continued, goes_on) = (from < begins, until > ends);
            let is_whole = it.is_all_day() || until.duration_since(from) >= WHOLE_FROM;
            let times = match it.is_all_day() {
                true => Times::Whole,
                false => {
                    let shown = |at: Timestamp, here: bool| Some(at).filter(|_| here);
                    Times::Between(shown(from, !is_continued), shown(until, !goes_on), self.zone.clone())
                }
            };
            let across = Some(Times::Across(from, until, self.zone.clone())).filter(|_| is_whole && !it.is_all_day());
            let mut item = Item { across, place_in_list: place, ..self.item(it, times, is_continued, goes_on) };
            item.hover = item.in_words();
            if is_today && until <= self.now {
                item.classes.push_str(" past");
            }
            if is_whole {
                day.whole.push(item);
            } else {
                day.timed.push(item);
                begun += usize::from(from <= self.now);
                quarters.push(taken(self.zone.to_datetime(from), self.zone.to_datetime(until), date));
            }
        }
        day.now = is_today.then(|| Now {
            classes: "outside".to_owned(),
            begun,
            time: Times::Between(Some(self.now), Some(self.now), self.zone.clone()),
        });
        (day, quarters)
    }

    fn item(&self, it: &Occurrence, times: Times, is_continued: bool, goes_on: bool) -> Item {
        let unknown = Shown::default();
        let calendar = self.calendars.get(&it.event.calendar_id).unwrap_or(&unknown);
        let mut classes = calendar.hue();
        let mut add = |wanted: bool, class: &str| {
            if wanted {
                classes.push(' ');
                classes.push_str(class);
            }
        };
        add(it.is_declined(), "declined");
        add(matches!(it.own_answer(), Some("needsAction" | "tentative")) || it.event.status == "tentative", "maybe");
        add(it.event.transparency == "transparent", "free");
        let mark = match it.event.kind.as_str() {
            "workingLocation" => "at-a-place",
            "outOfOffice" => "away",
            "focusTime" => "focused",
            "birthday" => "birthday",
            _ => "",
        };
        add(!mark.is_empty(), mark);
        let href = href(it, self.carried);
        let title = title(&it.event, calendar.is_busy_only);
        Item {
            key: format!("{href} {is_continued}"),
            href,
            kind: kind(&it.event).filter(|kind| *kind != title),
            title,
            times,
            classes,
            answer: it.own_answer().and_then(answer),
            place: clip(it.event.location.trim(), SHOWN_MAX),
            calendar: if calendar.is_first { String::new() } else { calendar.name.clone() },
            has_call: it.event.links.iter().any(|link| link.kind == "video"),
            is_continued,
            goes_on,
            across: None,
            hover: String::new(),
            last_day: None,
            place_in_list: 0,
        }
    }

    /// Gives a day's items their places among the hours.
    fn place(&self, day: &mut Day, quarters: &[(i64, i64)], hours: Hours) {
        let origin = hours.first * QUARTERS_OF_HOUR;
        let lanes = lanes(quarters);
        let wide = widths(quarters, &lanes);
        for (place, item) in day.timed.iter_mut().enumerate() {
            let (Some((from, until)), Some((lane, beside)), Some(wide)) =
                (quarters.get(place), lanes.get(place), wide.get(place))
            else {
                continue;
            };
            item.classes.push_str(&format!(" from-{} long-{}", from - origin, until - from));
            if *lane < LANES_MAX {
                let beside = *beside.min(&LANES_MAX);
                item.classes.push_str(&format!(" lane-{}-of-{beside} wide-{}", lane + 1, wide * COLUMNS / beside));
            } else {
                item.classes.push_str(" hidden-here");
                day.hidden += 1;
            }
        }
        if let Some(now) = &mut day.now {
            let clock = self.zone.to_datetime(self.now);
            let second = i64::from(clock.hour()) * 3_600 + i64::from(clock.minute()) * 60;
            let quarter = second / QUARTER_S;
            let within = quarter >= origin && quarter < hours.until * QUARTERS_OF_HOUR;
            let third = second % QUARTER_S / (QUARTER_S / 3);
            if within {
                now.classes = format!("from-{} third-{third}", quarter - origin);
            }
        }
    }
}

/// The quarters of an hour of `date` that something takes, as clocks on the wall show them.
fn taken(from: DateTime, until: DateTime, date: Date) -> (i64, i64) {
    let quarter = |clock: DateTime, up: bool| {
        let second = i64::from(clock.hour()) * 3_600 + i64::from(clock.minute()) * 60 + i64::from(clock.second());
        if up { (second + QUARTER_S - 1) / QUARTER_S } else { second / QUARTER_S }
    };
    let first = if from.date() < date { 0 } else { quarter(from, false) };
    let last = if until.date() > date { QUARTERS_OF_DAY } else { quarter(until, true) };
    // At the day's end there is room only before.
    let first = first.min(QUARTERS_OF_DAY - QUARTERS_MIN);
    (first, last.max(first + QUARTERS_MIN))
}

fn hours<'a>(quarters: impl Iterator<Item = &'a (i64, i64)>) -> Hours {
    let (first, until) = quarters.fold(HOURS_SHOWN, |(first, until), (from, to)| {
        let last = (to + QUARTERS_OF_HOUR - 1) / QUARTERS_OF_HOUR;
        (first.min(from / QUARTERS_OF_HOUR), until.max(last))
    });
    Hours { first, until: until.min(24) }
}

/// For each of a day's items, in order of their beginning, its lane and how many lanes stand beside each other there.
fn lanes(quarters: &[(i64, i64)]) -> Vec<(usize, usize)> {
    let mut placed = vec![(0, 0); quarters.len()];
    let (mut together, mut ends_of_lanes, mut end): (Vec<usize>, Vec<i64>, i64) = (Vec::new(), Vec::new(), 0);
    let close = |together: &mut Vec<usize>, lanes: usize, placed: &mut Vec<(usize, usize)>| {
        for place in together.drain(..) {
            if let Some(it) = placed.get_mut(place) {
                it.1 = lanes;
            }
        }
    };
    for (place, (from, until)) in quarters.iter().enumerate() {
        if *from >= end {
            close(&mut together, ends_of_lanes.len(), &mut placed);
            ends_of_lanes.clear();
        }
        let free = ends_of_lanes.iter().position(|ends| ends <= from);
        let lane = free.unwrap_or(ends_of_lanes.len());
        match ends_of_lanes.get_mut(lane) {
            Some(ends) => *ends = *until,
            None => ends_of_lanes.push(*until),
        }
        if let Some(it) = placed.get_mut(place) {
            it.0 = lane;
        }
        together.push(place);
        end = end.max(*until);
    }
    close(&mut together, ends_of_lanes.len(), &mut placed);
    placed
}

/// How many lanes wide each of a day's items is, of those that stand beside each other there: as far as nothing else
/// is in its way. What begins below its title isn't in the way; that one lies over it.
fn widths(quarters: &[(i64, i64)], lanes: &[(usize, usize)]) -> Vec<usize> {
    let all = || quarters.iter().zip(lanes);
    let is_free = |(from, until): (i64, i64), lane: usize| {
        all().all(|((other_from, other_until), (other, _))| {
            let is_apart = *other_until <= from || *other_from >= until;
            *other != lane || is_apart || *other_from >= from + TITLE_QUARTERS
        })
    };
    let wide = |(place, (lane, beside)): (&(i64, i64), &(usize, usize))| {
        let last = (*beside).min(LANES_MAX);
        1 + (lane + 1..last).take_while(|next| is_free(*place, *next)).count()
    };
    all().map(wide).collect()
}

/// Makes one bar of what stands above the hours of several days. Its first day has it, as wide as all of them; the
/// others keep its line free, and keep it for pages that list each day by itself.
fn bars(days: &mut [Day]) {
    let titles: Vec<String> = days.iter().map(|day| day.title.clone()).collect();
    let mut ends: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
    for (at, day) in days.iter().enumerate() {
        ends.extend(day.whole.iter().map(|item| (item.place_in_list, (at, item.goes_on))));
    }
    // For each line the day from which on it is free, and for each occurrence the line that it got.
    let (mut free_from, mut lines): (Vec<usize>, BTreeMap<usize, usize>) = (Vec::new(), BTreeMap::new());
    for (at, day) in days.iter_mut().enumerate() {
        for item in &mut day.whole {
            let begins = !lines.contains_key(&item.place_in_list);
            let (last, goes_on) = ends.get(&item.place_in_list).copied().unwrap_or((at, item.goes_on));
            let line = *lines.entry(item.place_in_list).or_insert_with(|| {
                let line = free_from.iter().position(|free| *free <= at).unwrap_or(free_from.len());
                free_from.resize(free_from.len().max(line + 1), 0);
                free_from[line] = last + 1;
                line
            });
            if line >= LINES_MAX {
                item.classes.push_str(" hidden-here");
                day.hidden += 1;
            } else if begins {
                let reaches = (last + 1 - at).min(BAR_DAYS_MAX);
                item.classes.push_str(&format!(" line-{} days-{reaches}", line + 1));
                item.last_day = titles.get(last).filter(|_| last > at).cloned();
                item.goes_on = goes_on;
            } else {
                item.classes.push_str(" carried-on");
            }
        }
    }
}

/// What an event is called: its title, or why there is none.
pub(super) fn title(event: &Event, is_busy_only: bool) -> String {
    let written = clip(event.summary.trim(), SHOWN_MAX);
    if !written.is_empty() {
        return written;
    }
    let work_place = clip(event.details.work_place.trim(), SHOWN_MAX);
    match event.kind.as_str() {
        "workingLocation" if !work_place.is_empty() => work_place,
        "workingLocation" if event.details.work_kind == "homeOffice" => "Home".to_owned(),
        "workingLocation" if event.details.work_kind == "officeLocation" => "Office".to_owned(),
        "workingLocation" => "Somewhere else".to_owned(),
        "outOfOffice" => "Out of office".to_owned(),
        "focusTime" => "Focus time".to_owned(),
        "birthday" => "Birthday".to_owned(),
        _ if is_busy_only || only_time_is_known(event) => "Busy".to_owned(),
        _ => "(no title)".to_owned(),
    }
}

/// Whether nothing but its time is known of an event, in whichever calendar it stands: the privacy settings keep no
/// more, or Google shows the person no more of what somebody else calls private. Then it says neither a title nor
/// anybody's name. Where it shows an event whole, it says at least whose it is, the person's own included.
pub(super) fn only_time_is_known(event: &Event) -> bool {
    let is_private = matches!(event.visibility.as_str(), "private" | "confidential");
    let is_bare = event.summary.trim().is_empty() && event.organizer == Party::default() && event.attendees.is_empty();
    event.is_busy_only || (is_private && is_bare)
}

/// What kind of event it is, unless it is just an event. Kinds that are new are events.
pub(super) fn kind(event: &Event) -> Option<&'static str> {
    match event.kind.as_str() {
        "workingLocation" => Some("Working location"),
        "outOfOffice" => Some("Out of office"),
        "focusTime" => Some("Focus time"),
        "birthday" => Some("Birthday"),
        _ => None,
    }
}

/// How somebody stands to an invitation, unless they accepted.
pub(super) fn answer(word: &str) -> Option<&'static str> {
    match word {
        "declined" => Some("Declined"),
        "tentative" => Some("Maybe"),
        "needsAction" => Some("Not answered"),
        _ => None,
    }
}

/// The page of an occurrence.
pub(super) fn href(it: &Occurrence, carried: &str) -> String {
    let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let path = format!("/calendar/events/{}/{}", escaped(&it.event.calendar_id), escaped(&it.event.id));
    let slot = it.slot.filter(|_| it.event.is_series()).map(|slot| format!("slot={}", slot_word(slot)));
    let query: Vec<String> = slot.into_iter().chain(Some(carried.to_owned()).filter(|it| !it.is_empty())).collect();
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// Which occurrence of a series, in a word: `20261125` or `20261125T080000Z`, as Google's own ids of occurrences end.
pub(super) fn slot_word(slot: Moment) -> String {
    match slot {
        Moment::Day(day) => day.strftime("%Y%m%d").to_string(),
        Moment::At(at) => at.strftime("%Y%m%dT%H%M%SZ").to_string(),
    }
}

/// The slot behind such a word.
pub(super) fn read_slot(word: &str) -> Option<Moment> {
    if word.len() == 8 {
        return Date::strptime("%Y%m%d", word).ok().map(Moment::Day);
    }
    let clock = DateTime::strptime("%Y%m%dT%H%M%S", word.strip_suffix('Z')?).ok()?;
    clock.to_zoned(TimeZone::UTC).ok().map(|zoned| Moment::At(zoned.timestamp()))
}

/// When an occurrence is, in one line: "Wednesday 25 November 2026, 09:00–10:00".
pub(super) fn said_whole(it: &Occurrence, zone: &TimeZone) -> Said {
    Said { starts: it.starts, ends: it.ends, zone: zone.clone(), is_brief: false }
}

/// The same for what is soon: "Wed 25 Nov 09:15", or the day alone.
pub(super) fn said_briefly(it: &Occurrence, zone: &TimeZone) -> Said {
    Said { is_brief: true, ..said_whole(it, zone) }
}

/// When something is, with its day.
pub(super) struct Said {
    starts: Moment,
    ends: Moment,
    zone: TimeZone,
    /// Whether only the beginning is said, without its year.
    is_brief: bool,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = if self.is_brief { "%a %-d %b" } else { "%A %-d %B %Y" };
        let day = |day: Date| format!("<time datetime=\"{}\">{}</time>", day.strftime("%Y-%m-%d"), day.strftime(style));
        match self.starts {
            Moment::Day(starts) if self.is_brief => return f.write_str(&day(starts)),
            Moment::At(starts) if self.is_brief => {
                let clocks = self.zone.to_datetime(starts);
                return write!(f, "{} {}", day(clocks.date()), clock(starts, &self.zone));
            }
            _ => {}
        }
        match (self.starts, self.ends) {
            (Moment::Day(starts), Moment::Day(ends)) => {
                let last = ends.checked_sub(1.days()).unwrap_or(ends);
                if last <= starts {
                    return f.write_str(&day(starts));
                }
                write!(f, "{} – {}", day(starts), day(last))
            }
            (Moment::At(starts), Moment::At(ends)) => {
                let date = |at: Timestamp| self.zone.to_datetime(at).date();
                let named = with_clock(starts, ends, &self.zone);
                let clock = |at: Timestamp| {
                    let name = named.iter().find(|it| it.0 == at).map_or("", |it| it.1.as_str());
                    clock(at, &self.zone) + name
                };
                match (date(starts) == date(ends), starts == ends) {
                    (true, true) => write!(f, "{}, {}", day(date(starts)), clock(starts)),
                    (true, false) => write!(f, "{}, {}–{}", day(date(starts)), clock(starts), clock(ends)),
                    _ => write!(f, "{}, {} – {}, {}", day(date(starts)), clock(starts), day(date(ends)), clock(ends)),
                }
            }
            (Moment::Day(starts), _) => f.write_str(&day(starts)),
            (Moment::At(starts), _) => write!(f, "{}", clock(starts, &self.zone)),
        }
    }
}

/// Digits, names of days and months, and our own tags only.
impl HtmlSafe for Said {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::civil::date;

    use super::*;
    use crate::store::events::Attendee;

    fn at(text: &str) -> Moment {
        Moment::At(text.parse().expect("a time"))
    }

    fn occurrence(id: &str, starts: Moment, ends: Moment) -> Occurrence {
        let event =
            Event { id: id.to_owned(), calendar_id: "c".to_owned(), summary: id.to_owned(), ..Event::default() };
        Occurrence { event: Arc::new(event), starts, ends, slot: None, unreadable: None }
    }

    fn laid_out(occurrences: &[Occurrence], zone: &str, days: i64) -> (Vec<Day>, Hours) {
        let zone = TimeZone::get(zone).expect("a zone");
        let now = "2026-11-25T10:37:00Z".parse().expect("a time");
        let calendars = BTreeMap::new();
        let layout = Layout { zone: &zone, now, calendars: &calendars, carried: "" };
        let first = date(2026, 11, 25);
        layout.days(occurrences, first, first.saturating_add(days.days()))
    }

    #[test]
    fn items_stand_at_their_quarters_beside_each_other() {
        let one = occurrence("one", at("2026-11-25T08:00:00Z"), at("2026-11-25T09:30:00Z"));
        let two = occurrence("two", at("2026-11-25T09:00:00Z"), at("2026-11-25T09:10:00Z"));
        let three = occurrence("three", at("2026-11-25T12:00:00Z"), at("2026-11-25T12:00:00Z"));
        let (days, hours) = laid_out(&[one, two, three], "Europe/Berlin", 1);
        assert_eq!(hours, Hours { first: 8, until: 18 });
        let classes: Vec<&str> = days[0].timed.iter().map(|it| it.classes.as_str()).collect();
        assert_eq!(
            classes,
            [
                "hue-0 past from-4 long-6 lane-1-of-2 wide-12",
                "hue-0 past from-8 long-2 lane-2-of-2 wide-6",
                "hue-0 from-20 long-2 lane-1-of-1 wide-12"
            ]
        );
        let now = days[0].now_before(2).expect("behind the two that began");
        assert_eq!(now.classes, "from-14 third-1", "11:37");
        assert!(now.time.to_string().contains(">11:37<") && days[0].now_before(3).is_none());
        assert_eq!(days[0].title, "Wednesday 25 November");
        let times: Vec<String> = days[0].timed.iter().map(|it| it.times.to_string()).collect();
        assert!(
            times[0].contains(">09:00</time><span class=\"till\">–<time") && times[2].ends_with(">13:00</time>"),
            "{times:?}"
        );
    }

    #[test]
    fn the_present_has_its_place_in_a_list_where_the_hours_do_not_reach_it() {
        let over = occurrence("over", at("2026-11-25T10:00:00Z"), at("2026-11-25T10:30:00Z"));
        let on = occurrence("on", at("2026-11-25T10:30:00Z"), at("2026-11-25T11:00:00Z"));
        let later = occurrence("later", at("2026-11-25T16:00:00Z"), at("2026-11-25T17:00:00Z"));
        let (days, _) = laid_out(&[over, on, later.clone()], "UTC", 2);
        assert_eq!(days[0].now_before(2).map(|it| it.classes.as_str()), Some("from-10 third-1"), "10:37");
        let is_past = |place: usize| days[0].timed[place].classes.contains("past");
        assert_eq!([0, 1, 2].map(is_past), [true, false, false], "what goes on isn't past");
        assert!(days[1].now.is_none());
        // 02:37 there.
        let (days, hours) = laid_out(&[later], "America/Los_Angeles", 1);
        assert_eq!(hours, Hours { first: 8, until: 18 });
        assert_eq!(days[0].now_before(0).map(|it| it.classes.as_str()), Some("outside"));
        assert_eq!(hours.labels()[0].0, "from-0 opens");
    }

    #[test]
    fn hours_grow_with_what_they_hold_and_end_with_the_day() {
        let early = occurrence("early", at("2026-11-25T04:40:00Z"), at("2026-11-25T05:00:00Z"));
        let late = occurrence("late", at("2026-11-25T22:50:00Z"), at("2026-11-25T22:55:00Z"));
        let (days, hours) = laid_out(&[early, late], "Europe/Berlin", 1);
        assert_eq!(hours, Hours { first: 5, until: 24 });
        assert!(days[0].timed[1].classes.contains("from-74 long-2"), "{}", days[0].timed[1].classes);
        assert_eq!(hours.labels().first().map(|it| it.1.as_str()), Some("05:00"));
        assert_eq!(hours.class(), "hours-19");
    }

    #[test]
    fn what_lasts_stands_above_and_what_passes_midnight_on_both_days() {
        let night = occurrence("night", at("2026-11-25T21:00:00Z"), at("2026-11-26T01:00:00Z"));
        let long = occurrence("long", at("2026-11-25T12:00:00Z"), at("2026-11-26T12:00:00Z"));
        let day = occurrence("day", Moment::Day(date(2026, 11, 26)), Moment::Day(date(2026, 11, 27)));
        let (days, hours) = laid_out(&[night, long, day], "Europe/Berlin", 2);
        let names = |items: &[Item]| items.iter().map(|it| it.title.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&days[0].whole), names(&days[1].whole)),
            (vec!["long".into()], vec!["long".into(), "day".into()])
        );
        assert_eq!((names(&days[0].timed), names(&days[1].timed)), (vec!["night".into()], vec!["night".into()]));
        assert_eq!(hours, Hours { first: 0, until: 24 });
        let said: Vec<String> = days.iter().map(|it| it.timed[0].times.to_string()).collect();
        assert!(said[0].starts_with("from <time") && said[1].starts_with("until <time"), "{said:?}");
        assert!(days[0].timed[0].classes.contains("from-88 long-8"));
        assert!(days[1].timed[0].classes.contains("from-0 long-8"));
    }

    #[test]
    fn more_than_fit_side_by_side_are_counted() {
        let many: Vec<Occurrence> = (0..7)
            .map(|n| occurrence(&format!("n{n}"), at("2026-11-25T09:00:00Z"), at("2026-11-25T10:00:00Z")))
            .collect();
        let (days, _) = laid_out(&many, "UTC", 1);
        assert_eq!(days[0].hidden, 4);
        assert_eq!(days[0].timed.iter().filter(|it| it.classes.contains("hidden-here")).count(), 4);
        assert!(days[0].timed[2].classes.contains("lane-3-of-3 wide-4"));
        let days_off: Vec<Occurrence> = (0..8)
            .map(|n| occurrence(&format!("n{n}"), Moment::Day(date(2026, 11, 25)), Moment::Day(date(2026, 11, 26))))
            .collect();
        let (days, _) = laid_out(&days_off, "UTC", 1);
        assert_eq!(days[0].hidden, 2);
        assert!(days[0].whole[5].classes.contains("line-6") && days[0].whole[6].classes.contains("hidden-here"));
    }

    #[test]
    fn items_are_as_wide_as_what_is_in_their_way_lets_them() {
        // Three at once share; the fourth begins below the title of the first, which reaches below it.
        let quarters = [(0, 8), (0, 2), (0, 2), (4, 6)];
        let lanes = lanes(&quarters);
        assert_eq!(lanes, [(0, 3), (1, 3), (2, 3), (1, 3)]);
        assert_eq!(widths(&quarters, &lanes), [1, 1, 1, 2]);
        let steps = [(0, 8), (2, 8), (4, 8)];
        assert_eq!(widths(&steps, &super::lanes(&steps)), [3, 2, 1], "each lies over the one before");
        let close = [(0, 8), (1, 8)];
        assert_eq!(widths(&close, &super::lanes(&close)), [1, 1], "it would lie over the title");
        // More than fit: those beyond have no width that matters, and nobody's way is barred by them.
        assert_eq!(widths(&[(0, 4); 5], &super::lanes(&[(0, 4); 5])), [1; 5]);
    }

    #[test]
    fn what_lasts_for_days_is_one_bar_with_a_line_of_its_own() {
        let day = |n: i64| Moment::Day(date(2026, 11, 25).saturating_add(n.days()));
        let trip = occurrence("trip", day(-2), day(2));
        let fair = occurrence("fair", day(0), day(5));
        let duty = occurrence("duty", at("2026-11-26T12:00:00Z"), at("2026-11-27T13:00:00Z"));
        let off = occurrence("off", day(2), day(3));
        let (days, _) = laid_out(&[trip, fair, duty, off], "Europe/Berlin", 4);
        let of = |at: usize| days[at].whole.iter().map(|it| it.classes.as_str()).collect::<Vec<&str>>();
        assert_eq!(of(0), ["hue-0 line-1 days-2", "hue-0 line-2 days-4"]);
        assert_eq!(of(1), ["hue-0 carried-on", "hue-0 carried-on", "hue-0 line-3 days-2"]);
        assert_eq!(of(2), ["hue-0 carried-on", "hue-0 carried-on", "hue-0 line-1 days-1"], "the line is free again");
        let (trip, fair, duty) = (&days[0].whole[0], &days[0].whole[1], &days[1].whole[2]);
        assert!(trip.is_continued && !trip.goes_on && !fair.is_continued && fair.goes_on);
        assert_eq!(trip.last_day.as_deref(), Some("Thursday 26 November"));
        assert_eq!((duty.hover.as_str(), trip.hover.as_str()), ("Thu 13:00 – Fri 14:00 · duty", "all day · trip"));
        assert!(duty.across.as_ref().is_some_and(|it| it.to_string().starts_with("Thu <time")));
        assert_eq!(days[2].whole.iter().filter(|it| it.last_day.is_some()).count(), 0);
    }

    #[test]
    fn on_the_day_that_clocks_change_places_are_those_of_the_clock() {
        let over = occurrence("over", at("2026-03-29T00:30:00Z"), at("2026-03-29T01:30:00Z"));
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let (from, until) = over.instants(&zone);
        // From 01:30 to 03:30, which is an hour.
        assert_eq!(taken(zone.to_datetime(from), zone.to_datetime(until), date(2026, 3, 29)), (6, 14));
        let back = (at("2026-10-25T00:45:00Z"), at("2026-10-25T01:15:00Z"));
        let (Moment::At(from), Moment::At(until)) = back else { panic!("instants") };
        // From 02:45 to 02:15 by the clock: half an hour all the same.
        assert_eq!(taken(zone.to_datetime(from), zone.to_datetime(until), date(2026, 10, 25)), (11, 13));
    }

    #[test]
    fn in_a_night_with_the_same_hour_twice_times_name_their_clock() {
        let early = occurrence("early", at("2026-10-25T00:30:00Z"), at("2026-10-25T01:00:00Z"));
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let (from, until) = early.instants(&zone);
        let times = Times::Between(Some(from), Some(until), zone.clone());
        assert_eq!(times.plain(), "02:30 CEST–02:00 CET");
        let said = said_whole(&early, &zone).to_string();
        assert!(said.contains("02:30</time> CEST–") && said.ends_with("02:00</time> CET"), "{said}");
        let usual = occurrence("usual", at("2026-10-26T00:30:00Z"), at("2026-10-26T01:00:00Z"));
        assert!(said_whole(&usual, &zone).to_string().ends_with("02:00</time>"));
    }

    #[test]
    fn slots_come_back_as_they_were_written() {
        for slot in [Moment::Day(date(2026, 11, 25)), at("2026-11-25T08:00:00Z")] {
            assert_eq!(read_slot(&slot_word(slot)), Some(slot));
        }
        for word in ["", "soon", "20261340", "20261125T080000", "日本"] {
            assert_eq!(read_slot(word), None, "{word}");
        }
    }

    #[test]
    fn a_title_is_never_empty_and_kinds_have_names() {
        let event = |kind: &str| Event { kind: kind.to_owned(), ..Event::default() };
        assert_eq!(title(&event("default"), false), "(no title)");
        assert_eq!(title(&event("default"), true), "Busy");
        assert_eq!(title(&event("outOfOffice"), false), "Out of office");
        assert_eq!((kind(&event("siesta")), kind(&event("focusTime"))), (None, Some("Focus time")));
        let mut home = event("workingLocation");
        home.details.work_kind = "homeOffice".to_owned();
        assert_eq!(title(&home, false), "Home");
        let mut office = event("workingLocation");
        assert_eq!(title(&office, false), "Somewhere else");
        office.details.work_kind = "officeLocation".to_owned();
        assert_eq!(title(&office, false), "Office");
        office.details.work_place = "Desk 4".to_owned();
        assert_eq!(title(&office, false), "Desk 4");
    }

    #[test]
    fn what_somebody_else_calls_private_is_busy_and_an_own_one_without_a_title_is_not() {
        let event = |visibility: &str| Event { visibility: visibility.to_owned(), ..Event::default() };
        for visibility in ["private", "confidential"] {
            assert_eq!(title(&event(visibility), false), "Busy", "{visibility}");
            let own = Party { own: true, ..Party::default() };
            let guest = Attendee { address: "kofi@example.com".to_owned(), ..Attendee::default() };
            for whole in [
                Event { organizer: own, ..event(visibility) },
                Event { attendees: vec![guest], ..event(visibility) },
                Event { summary: "Tea".to_owned(), ..event(visibility) },
            ] {
                assert!(!only_time_is_known(&whole), "{whole:?}");
            }
        }
        for visibility in ["", "default", "public", "whispered"] {
            assert!(!only_time_is_known(&event(visibility)), "{visibility}");
        }
        assert!(only_time_is_known(&Event { is_busy_only: true, ..Event::default() }));
    }
}

//! A person's agenda over a window of time: single events, what series have in it, and the occurrences that differ from
//! their series, in the order of their beginning. Pure, but for the rows that are read.
//!
//! What a reader must not break: an occurrence that was moved or cancelled isn't shown where its series would have it,
//! whether or not it lies in the window now; and what can't be read or doesn't fit is told ([`Agenda::is_complete`],
//! [`Agenda::unreadable`]), never left out in silence.

pub mod recurrence;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::id::AgendaId;
use crate::store::events::{self, Attendee, Event, Moment};
use crate::store::{StoreError, Tx};
use recurrence::{Effort, Series, Start, Unreadable};

/// The longest window: two months, as a page of a paper calendar and its neighbours.
pub const WINDOW_DAYS_MAX: i64 = 62;
/// Events of one kind that are read for a window. A person who has more in two months sees the first, and is told.
const EVENTS_MAX: i64 = 5_000;
/// Occurrences that a window shows.
const OCCURRENCES_MAX: usize = 5_000;

/// From when until before when, and where the reader is: a whole day is one there.
#[derive(Clone, Debug)]
pub struct Window {
    /// Nothing that ended before this is shown.
    pub from: Timestamp,
    /// Nothing that begins then or later is shown.
    pub until: Timestamp,
    /// The reader's zone.
    pub zone: TimeZone,
}

impl Window {
    /// The days from `first` until before `until`, as the reader has them.
    pub fn of_days(first: Date, until: Date, zone: TimeZone) -> Self {
        Self { from: day_begins(first, &zone), until: day_begins(until, &zone), zone }
    }

    /// The days that lie in it, whole or in part: the first, and the one after the last.
    fn days(&self) -> (Date, Date) {
        let first = self.zone.to_datetime(self.from).date();
        let last = self.until.checked_sub(1.nanosecond()).unwrap_or(self.until);
        let last = self.zone.to_datetime(last).date();
        (first, last.tomorrow().unwrap_or(last))
    }
}

/// When a day begins: at its first instant, where a clock skips midnight.
pub fn day_begins(day: Date, zone: &TimeZone) -> Timestamp {
    let midnight = zone.to_ambiguous_zoned(day.to_datetime(jiff::civil::Time::midnight()));
    midnight.compatible().map_or(Timestamp::MAX, |begin| begin.timestamp())
}

/// What a window shows.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    /// In the order of their beginning; of those that begin together, whole days come first.
    pub occurrences: Vec<Occurrence>,
    /// Series that may have something in the window and can't be expanded. Of these only the beginning stands above.
    pub unreadable: Vec<(Arc<Event>, Unreadable)>,
    /// Whether that is all. Otherwise there was more than can be shown or looked at.
    pub is_complete: bool,
}

/// Something that takes place, or is shown as if it did.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// The event: a single one, the series, or the occurrence as it was changed. Its own times aren't the occurrence's.
    pub event: Arc<Event>,
    /// When it begins.
    pub starts: Moment,
    /// When it ends; a whole day ends before this one.
    pub ends: Moment,
    /// Which occurrence of its series it is: when it would begin if nobody had moved it.
    pub slot: Option<Moment>,
    /// Why its series couldn't be expanded: then this is the only occurrence that is shown, the beginning.
    pub unreadable: Option<Unreadable>,
}

impl Occurrence {
    /// The instants at which it begins and ends, where the reader is.
    pub fn instants(&self, zone: &TimeZone) -> (Timestamp, Timestamp) {
        let at = |moment: Moment| match moment {
            Moment::At(at) => at,
            Moment::Day(day) => day_begins(day, zone),
        };
        (at(self.starts), at(self.ends))
    }

    /// Whether it is made of whole days.
    pub fn is_all_day(&self) -> bool {
        matches!(self.starts, Moment::Day(_))
    }

    /// What the person answered to the invitation.
    pub fn own_answer(&self) -> Option<&str> {
        own(&self.event).map(|it| it.answer.as_str())
    }

    /// Whether the person declined.
    pub fn is_declined(&self) -> bool {
        self.own_answer() == Some("declined")
    }

    /// Whether it was moved away from where its series has it.
    pub fn is_moved(&self) -> bool {
        self.event.series_id.is_some() && self.slot.is_some_and(|slot| slot != self.starts)
    }

    fn overlaps(&self, window: &Window) -> bool {
        match (self.starts, self.ends) {
            (Moment::Day(starts), Moment::Day(ends)) => {
                let (first, until) = window.days();
                starts < until && ends > first
            }
            _ => {
                let (starts, ends) = self.instants(&window.zone);
                starts < window.until && (ends > window.from || (starts == ends && starts >= window.from))
            }
        }
    }
}

/// The person's own line among those who are invited.
fn own(event: &Event) -> Option<&Attendee> {
    event.attendees.iter().find(|it| it.own)
}

/// What a person's calendars show in a window.
pub async fn over(
    tx: &mut Tx,
    agenda: &AgendaId,
    shown: &BTreeMap<String, String>,
    window: &Window,
) -> Result<Agenda, StoreError> {
    // A whole day begins and ends elsewhere at another time: those that touch the window's edge are read too.
    let from = window.from.checked_sub(events::DAY_MARGIN).unwrap_or(window.from);
    let until = window.until.checked_add(events::DAY_MARGIN).unwrap_or(window.until);
    let found = events::in_window(tx, agenda, from, until, EVENTS_MAX).await?;
    let mut agenda = of_events(found.events, shown, window);
    agenda.is_complete &= found.is_whole;
    Ok(agenda)
}

/// The same of events that are at hand: each that may show something, and each occurrence that differs from its series.
/// `shown` names the calendars that are shown, each with its zone.
pub fn of_events(found: Vec<Event>, shown: &BTreeMap<String, String>, window: &Window) -> Agenda {
    let mut agenda = Agenda { is_complete: true, ..Agenda::default() };
    let found: Vec<Event> = found.into_iter().filter(|it| shown.contains_key(&it.calendar_id)).collect();
    let differ = differing(&found);
    let mut effort = Effort::default();
    let mut expanded: BTreeSet<(String, String)> = BTreeSet::new();
    for event in found {
        if event.is_cancelled() || !expanded.insert((event.calendar_id.clone(), event.id.clone())) {
            continue;
        }
        let Some((starts, ends)) = times(&event) else { continue };
        let event = Arc::new(event);
        if event.is_series() {
            let zone = shown.get(&event.calendar_id).map_or("", String::as_str);
            let series = OneSeries { event: &event, starts, ends, calendar_zone: zone, window };
            series.expand(&differ, &mut effort, &mut agenda);
        } else {
            let slot = event.original;
            let single = Occurrence { event, starts, ends, slot, unreadable: None };
            agenda.occurrences.extend(Some(single).filter(|it| it.overlaps(window)));
        }
    }
    let place = |it: &Occurrence| (it.instants(&window.zone).0, !it.is_all_day());
    agenda.occurrences.sort_by(|one, two| {
        let names = |it: &Occurrence| (it.event.calendar_id.clone(), it.event.id.clone());
        place(one).cmp(&place(two)).then_with(|| names(one).cmp(&names(two)))
    });
    agenda.is_complete &= agenda.occurrences.len() <= OCCURRENCES_MAX;
    agenda.occurrences.truncate(OCCURRENCES_MAX);
    agenda
}

/// The slots that series don't fill by themselves, because an occurrence stands for them that was changed or cancelled.
type Differing = HashSet<(String, String, Moment)>;

fn differing(found: &[Event]) -> Differing {
    let slot = |it: &Event| Some((it.calendar_id.clone(), it.series_id.clone()?, it.original?));
    found.iter().filter_map(slot).collect()
}

/// When an event begins and ends; none when it has no beginning. Google promises an end; where it is missing or lies
/// before the beginning, an event takes no time, and a whole day is one.
pub fn times(event: &Event) -> Option<(Moment, Moment)> {
    let starts = event.starts?;
    let ends = match (starts, event.ends) {
        (Moment::Day(day), Some(Moment::Day(end))) if end > day => Moment::Day(end),
        (Moment::Day(day), _) => Moment::Day(day.tomorrow().ok()?),
        (Moment::At(at), Some(Moment::At(end))) if end > at => Moment::At(end),
        (Moment::At(at), _) => Moment::At(at),
    };
    Some((starts, ends))
}

/// The repetition of a series that begins at `starts`. It repeats in the zone in which it was entered, or else in its
/// calendar's.
fn repetition(event: &Event, starts: Moment, calendar_zone: &str) -> Result<Series, Unreadable> {
    let start = match starts {
        Moment::Day(day) => Start::Day(day),
        Moment::At(at) => {
            let zone = TimeZone::get(zone_of(event, calendar_zone)).map_err(|_| Unreadable::Zone)?;
            Start::Clock(zone.to_datetime(at), zone)
        }
    };
    Series::read(start, event.recurrence.iter().map(String::as_str))
}

/// The name of the zone in which a series repeats.
pub fn zone_of<'a>(event: &'a Event, calendar_zone: &'a str) -> &'a str {
    if event.zone.is_empty() { calendar_zone } else { &event.zone }
}

/// How a series repeats, in words; none of what isn't a series, or never begins.
pub fn in_words(event: &Event, calendar_zone: &str) -> Option<Result<String, Unreadable>> {
    let starts = event.starts.filter(|_| event.is_series())?;
    Some(repetition(event, starts, calendar_zone).map(|series| series.in_words()))
}

/// A series that is about to be expanded.
struct OneSeries<'a> {
    event: &'a Arc<Event>,
    starts: Moment,
    ends: Moment,
    calendar_zone: &'a str,
    window: &'a Window,
}

impl OneSeries<'_> {
    /// Adds what it has in the window.
    fn expand(&self, differ: &Differing, effort: &mut Effort, agenda: &mut Agenda) {
        let series = match repetition(self.event, self.starts, self.calendar_zone) {
            Ok(series) => series,
            Err(why) => {
                let first = Occurrence { slot: None, unreadable: Some(why), ..self.at(self.starts) };
                agenda.occurrences.extend(Some(first).filter(|it| it.overlaps(self.window)));
                agenda.unreadable.push((self.event.clone(), why));
                return;
            }
        };
        let (slots, is_complete) = self.slots(&series, effort);
        let key = |slot: Moment| (self.event.calendar_id.clone(), self.event.id.clone(), slot);
        let occurrences = slots.into_iter().filter(|slot| !differ.contains(&key(*slot)));
        let occurrences = occurrences.map(|slot| match slot {
            Moment::At(at) => match series.own_end(at) {
                Some(ends) => Occurrence { ends: Moment::At(ends), ..self.at(slot) },
                None => self.at(slot),
            },
            Moment::Day(_) => self.at(slot),
        });
        agenda.occurrences.extend(occurrences.filter(|it| it.overlaps(self.window)));
        agenda.is_complete &= is_complete;
    }

    /// When its occurrences would begin that may reach into the window.
    fn slots(&self, series: &Series, effort: &mut Effort) -> (Vec<Moment>, bool) {
        match (self.starts, self.ends) {
            (Moment::Day(starts), Moment::Day(ends)) => {
                let (first, until) = self.window.days();
                let before = starts.until(ends).map_or(1, |span| span.get_days()) - 1;
                let first = first.checked_sub(before.days()).unwrap_or(Date::MIN);
                let named = series.days(first, until, effort);
                (named.starts.into_iter().map(Moment::Day).collect(), named.is_complete)
            }
            _ => {
                let from = self.window.from.checked_sub(self.lasts()).unwrap_or(Timestamp::MIN);
                let named = series.instants(from, self.window.until, effort);
                (named.starts.into_iter().map(Moment::At).collect(), named.is_complete)
            }
        }
    }

    /// How long an occurrence with a time of day lasts: exactly as long as the first (RFC 5545, 3.8.5.3).
    fn lasts(&self) -> SignedDuration {
        match (self.starts, self.ends) {
            (Moment::At(starts), Moment::At(ends)) => ends.duration_since(starts),
            _ => SignedDuration::ZERO,
        }
    }

    fn at(&self, slot: Moment) -> Occurrence {
        let ends = match (slot, self.starts, self.ends) {
            (Moment::Day(day), Moment::Day(starts), Moment::Day(ends)) => {
                let days = starts.until(ends).map_or(1, |span| span.get_days());
                Moment::Day(day.checked_add(days.days()).unwrap_or(Date::MAX))
            }
            (Moment::At(at), ..) => Moment::At(at.checked_add(self.lasts()).unwrap_or(Timestamp::MAX)),
            (day, ..) => day,
        };
        Occurrence { event: self.event.clone(), starts: slot, ends, slot: Some(slot), unreadable: None }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const CALENDAR: &str = "ines@example.com";

    fn at(text: &str) -> Moment {
        Moment::At(text.parse().expect("a time"))
    }

    fn shown() -> BTreeMap<String, String> {
        BTreeMap::from([(CALENDAR.to_owned(), "Europe/Berlin".to_owned())])
    }

    fn window(zone: &str, first: Date, until: Date) -> Window {
        Window::of_days(first, until, TimeZone::get(zone).expect("a zone"))
    }

    fn event(id: &str, starts: Moment, ends: Moment) -> Event {
        Event {
            id: id.to_owned(),
            calendar_id: CALENDAR.to_owned(),
            status: "confirmed".to_owned(),
            kind: "default".to_owned(),
            summary: id.to_owned(),
            starts: Some(starts),
            ends: Some(ends),
            zone: "Europe/Berlin".to_owned(),
            ..Event::default()
        }
    }

    fn series(id: &str, starts: Moment, ends: Moment, rule: &str) -> Event {
        Event { recurrence: vec![format!("RRULE:{rule}")], ..event(id, starts, ends) }
    }

    /// Monday to Friday at nine, from the Monday of the week before.
    fn daily() -> Event {
        series("daily", at("2026-11-16T08:00:00Z"), at("2026-11-16T08:30:00Z"), "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR")
    }

    fn differing(original: Moment, starts: Moment, ends: Moment) -> Event {
        let id = "daily_moved";
        Event { series_id: Some("daily".to_owned()), original: Some(original), ..event(id, starts, ends) }
    }

    fn lines(events: Vec<Event>, window: &Window) -> Vec<String> {
        let agenda = of_events(events, &shown(), window);
        assert!(agenda.is_complete);
        let line = |it: &Occurrence| match it.starts {
            Moment::Day(day) => format!("{day} {}", it.event.id),
            Moment::At(at) => format!("{} {}", window.zone.to_datetime(at).strftime("%a %H:%M"), it.event.id),
        };
        agenda.occurrences.iter().map(line).collect()
    }

    fn week() -> Window {
        window("Europe/Berlin", date(2026, 11, 23), date(2026, 11, 30))
    }

    #[test]
    fn a_moved_occurrence_is_shown_where_it_went_and_nowhere_else() {
        let moved = differing(at("2026-11-25T08:00:00Z"), at("2026-11-25T14:00:00Z"), at("2026-11-25T14:30:00Z"));
        let shown = lines(vec![daily(), moved], &week());
        assert_eq!(
            shown,
            ["Mon 09:00 daily", "Tue 09:00 daily", "Wed 15:00 daily_moved", "Thu 09:00 daily", "Fri 09:00 daily"]
        );
    }

    #[test]
    fn an_occurrence_moved_out_of_the_window_leaves_no_shadow() {
        let out = differing(at("2026-11-25T08:00:00Z"), at("2026-12-02T08:00:00Z"), at("2026-12-02T08:30:00Z"));
        let shown = lines(vec![daily(), out.clone()], &week());
        assert_eq!(shown, ["Mon 09:00 daily", "Tue 09:00 daily", "Thu 09:00 daily", "Fri 09:00 daily"]);
        let next = window("Europe/Berlin", date(2026, 12, 2), date(2026, 12, 3));
        assert_eq!(lines(vec![daily(), out], &next), ["Wed 09:00 daily", "Wed 09:00 daily_moved"], "both, there");
    }

    #[test]
    fn an_occurrence_moved_into_the_window_is_shown() {
        let sunday = differing(at("2026-11-20T08:00:00Z"), at("2026-11-29T22:45:00Z"), at("2026-11-29T23:15:00Z"));
        let shown = lines(vec![daily(), sunday], &week());
        assert_eq!(shown.last().map(String::as_str), Some("Sun 23:45 daily_moved"), "over the window's edge");
        assert_eq!(shown.len(), 6);
    }

    #[test]
    fn a_cancelled_occurrence_is_not_shown_and_the_series_does_not_bring_it_back() {
        let gone = Event {
            status: "cancelled".to_owned(),
            starts: None,
            ends: None,
            ..differing(at("2026-11-25T08:00:00Z"), at("2026-11-25T08:00:00Z"), at("2026-11-25T08:00:00Z"))
        };
        let shown = lines(vec![daily(), gone], &week());
        assert_eq!(shown, ["Mon 09:00 daily", "Tue 09:00 daily", "Thu 09:00 daily", "Fri 09:00 daily"]);
        let alone = Event {
            status: "cancelled".to_owned(),
            ..event("x", at("2026-11-25T08:00:00Z"), at("2026-11-25T09:00:00Z"))
        };
        assert!(lines(vec![alone], &week()).is_empty());
    }

    #[test]
    fn whole_days_are_days_where_the_reader_is() {
        let day = || event("day", Moment::Day(date(2026, 11, 25)), Moment::Day(date(2026, 11, 26)));
        let birthday = || {
            let (starts, ends) = (Moment::Day(date(1990, 11, 25)), Moment::Day(date(1990, 11, 26)));
            series("birthday", starts, ends, "FREQ=YEARLY")
        };
        for zone in ["Pacific/Kiritimati", "Europe/Berlin", "Pacific/Pago_Pago", "Asia/Kathmandu"] {
            let on = |first: Date, until: Date| lines(vec![day(), birthday()], &window(zone, first, until));
            assert_eq!(on(date(2026, 11, 25), date(2026, 11, 26)), ["2026-11-25 birthday", "2026-11-25 day"], "{zone}");
            assert!(on(date(2026, 11, 24), date(2026, 11, 25)).is_empty(), "{zone}");
            assert!(on(date(2026, 11, 26), date(2026, 11, 27)).is_empty(), "{zone}");
        }
    }

    #[test]
    fn what_is_long_reaches_into_the_window() {
        let retreat = event("retreat", Moment::Day(date(2026, 11, 20)), Moment::Day(date(2026, 11, 24)));
        let sprint =
            series("sprint", Moment::Day(date(2026, 1, 5)), Moment::Day(date(2026, 1, 17)), "FREQ=WEEKLY;INTERVAL=2");
        let night = series("night", at("2026-11-16T21:00:00Z"), at("2026-11-17T05:00:00Z"), "FREQ=WEEKLY;BYDAY=SU,MO");
        let shown = lines(vec![retreat, sprint, night], &week());
        assert_eq!(
            shown,
            ["2026-11-20 retreat", "Sun 22:00 night", "2026-11-23 sprint", "Mon 22:00 night", "Sun 22:00 night"]
        );
    }

    #[test]
    fn daylight_saving_keeps_a_meeting_at_its_hour_and_its_length() {
        let early = series("early", at("2026-03-23T00:30:00Z"), at("2026-03-23T02:30:00Z"), "FREQ=DAILY");
        let window = window("Europe/Berlin", date(2026, 3, 28), date(2026, 3, 31));
        let agenda = of_events(vec![early], &shown(), &window);
        let spans: Vec<String> = agenda
            .occurrences
            .iter()
            .map(|it| it.instants(&window.zone))
            .map(|(from, until)| format!("{} {}", window.zone.to_datetime(from), window.zone.to_datetime(until)))
            .collect();
        // 01:30 to 03:30; on the 29th two hours are over at 04:30.
        assert_eq!(
            spans,
            [
                "2026-03-28T01:30:00 2026-03-28T03:30:00",
                "2026-03-29T01:30:00 2026-03-29T04:30:00",
                "2026-03-30T01:30:00 2026-03-30T03:30:00"
            ]
        );
    }

    #[test]
    fn a_date_with_a_length_of_its_own_has_that_length() {
        let mut shifts =
            series("shifts", at("2026-11-02T08:00:00Z"), at("2026-11-02T09:00:00Z"), "FREQ=WEEKLY;COUNT=2");
        let periods = "RDATE;VALUE=PERIOD:20261115T200000Z/P9D,20261125T080000Z/PT8H,20261126T080000Z/PT15M";
        shifts.recurrence.push(periods.to_owned());
        let moved = Event {
            series_id: Some("shifts".to_owned()),
            original: Some(at("2026-11-26T08:00:00Z")),
            ..event("shifts_moved", at("2026-11-27T08:00:00Z"), at("2026-11-27T09:00:00Z"))
        };
        let window = week();
        let agenda = of_events(vec![shifts, moved], &shown(), &window);
        let clock = |it: Timestamp| window.zone.to_datetime(it).strftime("%a %d %H:%M").to_string();
        let spans = agenda.occurrences.iter().map(|it| it.instants(&window.zone));
        let spans: Vec<_> = spans.map(|(from, until)| format!("{} to {}", clock(from), clock(until))).collect();
        let told = ["Sun 15 21:00 to Tue 24 21:00", "Wed 25 09:00 to Wed 25 17:00", "Fri 27 09:00 to Fri 27 10:00"];
        assert_eq!(spans, told);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_shown_once() {
        let lunar =
            series("lunar", at("2026-11-24T08:00:00Z"), at("2026-11-24T09:00:00Z"), "RSCALE=CHINESE;FREQ=YEARLY");
        let nowhere = Event { zone: "Middle/Earth".to_owned(), ..daily() };
        let agenda = of_events(vec![lunar, nowhere], &shown(), &week());
        let shown: Vec<&str> = agenda.occurrences.iter().map(|it| it.event.id.as_str()).collect();
        assert_eq!(shown, ["lunar"], "the other began before the window");
        let told: Vec<_> = agenda.unreadable.iter().map(|(event, why)| (event.id.as_str(), *why)).collect();
        assert_eq!(told, [("lunar", Unreadable::OtherCalendar), ("daily", Unreadable::Zone)]);
    }

    #[test]
    fn a_series_without_a_zone_repeats_in_its_calendar_s() {
        let bare = Event { zone: String::new(), ..daily() };
        let summer = window("Europe/Berlin", date(2027, 6, 7), date(2027, 6, 8));
        assert_eq!(lines(vec![bare], &summer), ["Mon 09:00 daily"]);
    }

    #[test]
    fn calendars_that_are_not_shown_show_nothing() {
        let other = Event { calendar_id: "other@example.com".to_owned(), ..daily() };
        assert!(lines(vec![other], &week()).is_empty());
    }

    #[test]
    fn strange_times_take_no_time_and_nothing_panics() {
        let backwards = event("backwards", at("2026-11-25T09:00:00Z"), at("2026-11-25T08:00:00Z"));
        let mixed = event("mixed", Moment::Day(date(2026, 11, 25)), at("2026-11-25T08:00:00Z"));
        let timeless =
            Event { starts: None, ..event("timeless", at("2026-11-25T09:00:00Z"), at("2026-11-25T08:00:00Z")) };
        let endless = series("endless", at("1900-01-01T00:00:00Z"), at("9999-12-30T00:00:00Z"), "FREQ=DAILY");
        let agenda = of_events(vec![backwards, mixed, timeless, endless], &shown(), &week());
        assert!(!agenda.is_complete, "an endless day in each of the days before");
        let own = |id: &str| agenda.occurrences.iter().filter(|it| it.event.id == id).count();
        assert_eq!((own("backwards"), own("mixed"), own("timeless")), (1, 1, 0));
        assert!(own("endless") <= recurrence::OCCURRENCES_MAX);
    }

    #[test]
    fn answers_and_moves_are_the_person_s_own() {
        let guest = |answer: &str, own: bool| Attendee { answer: answer.to_owned(), own, ..Attendee::default() };
        let mut invited = event("invited", at("2026-11-25T09:00:00Z"), at("2026-11-25T10:00:00Z"));
        invited.attendees = vec![guest("accepted", false), guest("declined", true)];
        let agenda = of_events(vec![invited], &shown(), &week());
        assert!(agenda.occurrences[0].is_declined() && !agenda.occurrences[0].is_moved());
        let moved = differing(at("2026-11-25T08:00:00Z"), at("2026-11-25T14:00:00Z"), at("2026-11-25T14:30:00Z"));
        assert!(of_events(vec![moved], &shown(), &week()).occurrences[0].is_moved());
    }
}

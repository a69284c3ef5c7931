//! The meetings that a reader has together with one person, for that person's page.
//!
//! What a reader must not break: only the reader's own calendars are looked at. Those of others in which they read
//! along hold meetings that aren't theirs, and what stands in the person's own calendar is nobody's business here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan as _};

use super::access::Caller;
use super::calendar::{Held, zone_of};
use super::week::{self, Said};
use super::words::clip;
use crate::agenda::{self, Occurrence, Window};
use crate::connect::Permission;
use crate::store::calendars::Calendar;
use crate::store::events::{Attendee, Event};
use crate::store::grants::{Grant, GrantState};
use crate::store::{StoreError, Tx, directory_people};

/// Days that are looked ahead: as many as the calendar's list shows.
const DAYS_AHEAD: i64 = 28;
/// Meetings of one time that are shown, and series: a daily one is one line, so that it doesn't hide the others.
const SHOWN: usize = 8;
const SERIES_SHOWN: usize = 8;
/// The longest place beside a title, in characters.
const PLACE_MAX: usize = 80;

/// The next meetings with somebody.
pub(super) struct Meetings {
    /// Those that repeat, each once, in the order of their next time.
    pub(super) series: Vec<Meeting>,
    /// Those of one time, in the order of their beginning.
    pub(super) single: Vec<Meeting>,
    /// How many more there are; a series counts once.
    pub(super) more: usize,
    /// Whether everything was looked through.
    pub(super) is_whole: bool,
    /// How many days were.
    pub(super) days: i64,
    /// The zone in which times are said.
    pub(super) zone: String,
}

/// One of them.
pub(super) struct Meeting {
    /// Its page.
    pub(super) href: String,
    pub(super) title: String,
    pub(super) said: Said,
    /// How it repeats: "Every weekday". None for a single one, and where that can't be read.
    pub(super) rule: Option<String>,
    /// How many more times it takes place in these days.
    pub(super) again: usize,
    pub(super) place: String,
    /// How the reader stands to it, and whether the other one declined.
    pub(super) notes: Vec<&'static str>,
}

impl Meetings {
    /// With whoever has these addresses, in the time zone that the browser remembers; none where the reader's calendars
    /// aren't permitted, or not copied yet.
    pub(super) async fn of(
        tx: &mut Tx,
        caller: &Caller,
        grant: &Grant,
        theirs: &[&str],
        remembered: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        if grant.state == GrantState::Left || !Permission::Calendar.is_in(&grant.scopes) {
            return Ok(None);
        }
        let Some(held) = Held::of(tx, caller).await? else { return Ok(None) };
        let entry = directory_people::by_id(tx, &caller.person.organization_id, &grant.google_subject).await?;
        let mut mine = vec![caller.person.email.as_str(), grant.email.as_str()];
        mine.extend(entry.iter().flat_map(|it| it.addresses()));
        let parties = Parties { mine: Addresses::of(&mine), theirs: Addresses::of(theirs) };
        let own: Vec<&Calendar> = held.own(|address| parties.mine.have(address)).collect();
        let copied = own.iter().filter(|it| it.synced_at.is_some());
        let shown: BTreeMap<String, String> = copied.map(|it| (it.id.clone(), it.entry.zone.clone())).collect();
        if shown.is_empty() {
            return Ok(None);
        }
        let (name, zone) = zone_of(remembered, held.own_zone());
        let until =
            now.to_zoned(zone.clone()).checked_add(DAYS_AHEAD.days()).map_or(Timestamp::MAX, |it| it.timestamp());
        let window = Window { from: now, until, zone: zone.clone() };
        let found = agenda::over(tx, &held.agenda.id, &shown, &window).await?;
        let are_whole = shown.len() == own.len() && own.iter().all(|it| it.unreadable == 0);
        let (series, single) = by_series(parties.meet_in(&found.occurrences));
        let meeting = |it: &Occurrence| Meeting {
            href: week::href(it, ""),
            title: week::title(&it.event, false),
            said: week::said_briefly(it, &zone),
            rule: None,
            again: 0,
            place: clip(it.event.location.trim(), PLACE_MAX),
            notes: parties.notes(it),
        };
        let repeated = |times: &Vec<&Occurrence>| {
            let rule = times.iter().find_map(|it| {
                let zone = shown.get(&it.event.calendar_id)?;
                agenda::in_words(&it.event, zone)?.ok()
            });
            let next = times.first().map(|it| meeting(it))?;
            Some(Meeting { rule, again: times.len() - 1, ..next })
        };
        let more = series.len().saturating_sub(SERIES_SHOWN) + single.len().saturating_sub(SHOWN);
        Ok(Some(Self {
            series: series.iter().take(SERIES_SHOWN).filter_map(repeated).collect(),
            single: single.iter().take(SHOWN).map(|it| meeting(it)).collect(),
            more,
            is_whole: are_whole && found.is_complete && found.unreadable.is_empty(),
            days: DAYS_AHEAD,
            zone: name,
        }))
    }
}

/// The addresses of one person, as they are compared.
struct Addresses(BTreeSet<String>);

impl Addresses {
    fn of(addresses: &[&str]) -> Self {
        let compared = addresses.iter().map(|it| it.trim().to_lowercase());
        Self(compared.filter(|it| !it.is_empty()).collect())
    }

    fn have(&self, address: &str) -> bool {
        self.0.contains(&address.trim().to_lowercase())
    }
}

/// Whose meetings, and with whom.
struct Parties {
    mine: Addresses,
    theirs: Addresses,
}

impl Parties {
    /// What both take part in, each once: a meeting that stands in two of the reader's calendars is one, and declined
    /// in one of them it is declined.
    fn meet_in<'a>(&self, occurrences: &'a [Occurrence]) -> Vec<&'a Occurrence> {
        let declined: BTreeSet<_> = occurrences.iter().filter(|it| self.is_declined(it)).map(key).collect();
        let mut seen = declined;
        let with_them = occurrences.iter().filter(|it| !it.event.is_cancelled() && self.have_them(&it.event));
        with_them.filter(|it| seen.insert(key(it))).collect()
    }

    /// Whether the other one organizes it or is invited. A room that bears somebody's address isn't that person.
    fn have_them(&self, event: &Event) -> bool {
        self.theirs.have(&event.organizer.address) || self.them(event).is_some()
    }

    fn them<'a>(&self, event: &'a Event) -> Option<&'a Attendee> {
        event.attendees.iter().find(|it| !it.resource && self.theirs.have(&it.address))
    }

    /// The reader's own line among those who are invited.
    fn me<'a>(&self, event: &'a Event) -> Option<&'a Attendee> {
        event.attendees.iter().find(|it| it.own || self.mine.have(&it.address))
    }

    fn is_declined(&self, it: &Occurrence) -> bool {
        self.me(&it.event).is_some_and(|it| it.answer == "declined")
    }

    fn notes(&self, it: &Occurrence) -> Vec<&'static str> {
        let own = self.me(&it.event).and_then(|it| week::answer(&it.answer));
        let theirs = self.them(&it.event).filter(|it| it.answer == "declined").map(|_| "Declined by them");
        own.into_iter().chain(theirs).collect()
    }
}

/// The series among these occurrences, each with its times in order, and those that belong to none. An occurrence that
/// differs from its series belongs to it, too.
fn by_series(occurrences: Vec<&Occurrence>) -> (Vec<Vec<&Occurrence>>, Vec<&Occurrence>) {
    let (mut series, mut single): (Vec<Vec<&Occurrence>>, Vec<&Occurrence>) = (Vec::new(), Vec::new());
    let mut places = BTreeMap::new();
    for it in occurrences {
        let event = &it.event;
        let whose = event.series_id.as_ref().or(Some(&event.id).filter(|_| event.is_series()));
        let Some(whose) = whose else {
            single.push(it);
            continue;
        };
        let place = *places.entry((&event.calendar_id, whose)).or_insert_with(|| {
            series.push(Vec::new());
            series.len() - 1
        });
        series[place].push(it);
    }
    (series, single)
}

/// What is the same for a meeting in each calendar: its id everywhere, and when it is. What has no such id is known by
/// its place alone.
fn key(it: &Occurrence) -> (String, String, String) {
    let event = &it.event;
    let (calendar, id) = match event.ical_uid.is_empty() {
        true => (event.calendar_id.clone(), event.id.clone()),
        false => (String::new(), event.ical_uid.clone()),
    };
    (calendar, id, week::slot_word(it.starts))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::events::{Moment, Party};

    const ME: &str = "ines@example.com";
    const THEM: &str = "kofi@example.com";

    fn parties() -> Parties {
        Parties {
            mine: Addresses::of(&[ME, "i@example.com"]),
            theirs: Addresses::of(&[THEM, "Kofi.A@Example.com", ""]),
        }
    }

    fn guest(address: &str, answer: &str) -> Attendee {
        Attendee { address: address.into(), answer: answer.into(), own: address == ME, ..Attendee::default() }
    }

    fn meeting(id: &str, attendees: Vec<Attendee>) -> Occurrence {
        at("2026-11-25T09:00:00Z", Event { id: id.into(), calendar_id: ME.into(), attendees, ..Event::default() })
    }

    fn at(starts: &str, event: Event) -> Occurrence {
        let starts = Moment::At(starts.parse().expect("a time"));
        Occurrence { event: Arc::new(event), starts, ends: starts, slot: None, unreadable: None }
    }

    fn ids(occurrences: &[Occurrence]) -> Vec<String> {
        parties().meet_in(occurrences).into_iter().map(|it| it.event.id.clone()).collect()
    }

    #[test]
    fn each_of_their_addresses_counts_as_a_guest_or_as_the_organizer() {
        let organized = |address: &str| {
            let organizer = Party { address: address.into(), ..Party::default() };
            let event = Event { organizer, ..meeting("organized", vec![guest(ME, "accepted")]).event.as_ref().clone() };
            at("2026-11-25T09:00:00Z", event)
        };
        let all = [
            meeting("invited", vec![guest(ME, "accepted"), guest(THEM, "accepted")]),
            meeting("by alias", vec![guest("KOFI.a@example.com ", "needsAction")]),
            meeting("without", vec![guest(ME, "accepted"), guest("zhanna@example.com", "accepted")]),
            meeting("alone", Vec::new()),
            meeting("nameless", vec![guest("", "accepted")]),
            organized(THEM),
        ];
        assert_eq!(ids(&all), ["invited", "by alias", "organized"]);
        assert!(ids(&[organized("")]).is_empty());
    }

    #[test]
    fn rooms_are_nobody_and_what_was_declined_or_cancelled_is_no_meeting() {
        let room = Attendee { resource: true, ..guest(THEM, "accepted") };
        let cancelled = {
            let event = meeting("cancelled", vec![guest(THEM, "accepted")]).event.as_ref().clone();
            at("2026-11-25T09:00:00Z", Event { status: "cancelled".into(), ..event })
        };
        let all = [
            meeting("room", vec![guest(ME, "accepted"), room]),
            meeting("declined", vec![guest(ME, "declined"), guest(THEM, "accepted")]),
            meeting("declined by alias", vec![guest("I@example.com", "declined"), guest(THEM, "accepted")]),
            cancelled,
            meeting("theirs", vec![guest(ME, "tentative"), guest(THEM, "declined")]),
        ];
        assert_eq!(ids(&all), ["theirs"]);
        let theirs = meeting("theirs", vec![guest(ME, "tentative"), guest(THEM, "declined")]);
        assert_eq!(parties().notes(&theirs), ["Maybe", "Declined by them"]);
    }

    #[test]
    fn a_series_is_one_with_the_occurrences_that_differ_from_it() {
        let of = |id: &str, series: Option<&str>, rule: bool, starts: &str| {
            let recurrence = if rule { vec!["RRULE:FREQ=DAILY".to_owned()] } else { Vec::new() };
            let (id, series_id) = (id.to_owned(), series.map(str::to_owned));
            at(starts, Event { id, series_id, recurrence, calendar_id: ME.into(), ..Event::default() })
        };
        let all = [
            of("s_1", Some("s"), false, "2026-11-25T08:00:00Z"),
            of("one", None, false, "2026-11-25T09:00:00Z"),
            of("t", None, true, "2026-11-25T09:30:00Z"),
            of("s", None, true, "2026-11-26T09:00:00Z"),
            of("s", None, true, "2026-11-27T09:00:00Z"),
        ];
        let (series, single) = by_series(all.iter().collect());
        let ids = |them: &[&Occurrence]| them.iter().map(|it| it.event.id.clone()).collect::<Vec<String>>();
        assert_eq!(series.iter().map(|it| ids(it)).collect::<Vec<_>>(), [vec!["s_1", "s", "s"], vec!["t"]]);
        assert_eq!(ids(&single), ["one"]);
    }

    #[test]
    fn a_meeting_in_two_calendars_is_one() {
        let copy = |calendar: &str, id: &str, uid: &str, starts: &str, answer: &str| {
            let attendees = vec![guest(ME, answer), guest(THEM, "accepted")];
            let (calendar_id, id) = (calendar.to_owned(), id.to_owned());
            at(starts, Event { id, calendar_id, ical_uid: uid.into(), attendees, ..Event::default() })
        };
        let (nine, ten) = ("2026-11-25T09:00:00Z", "2026-11-25T10:00:00Z");
        let all = [
            copy(ME, "a", "one", nine, "accepted"),
            copy("project", "b", "one", nine, "accepted"),
            copy(ME, "c", "one", ten, "accepted"),
            copy(ME, "d", "", nine, "accepted"),
            copy("project", "d", "", nine, "accepted"),
            copy(ME, "e", "two", ten, "needsAction"),
            copy("project", "f", "two", ten, "declined"),
        ];
        assert_eq!(ids(&all), ["a", "c", "d", "d"]);
    }
}

//! Invented calendars of realistic shape, from a seed: stand-ups, one-on-ones, rounds with guests from outside, private
//! appointments, meetings that somebody declined, moved and cancelled occurrences, working locations, holidays and
//! birthdays; and what the directory says about the same people. Everything lies there as if it had always been there.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::accounts::Person;
use crate::agenda::{CalendarAction, EventEntry, Role};
use crate::dice::Dice;
use crate::phrases::{MEETINGS, OUTSIDERS, SENTENCES};
use crate::profile::Profile;
use crate::world::World;

/// Most events that are invented for one person.
pub(crate) const EVENTS_PER_PERSON_MAX: usize = 200_000;
/// The calendar of holidays, by Google's pattern.
const HOLIDAYS: &str = "en.sandbox#holiday@group.v.calendar.google.com";
/// Days of the year on which nobody works.
const FREE_DAYS: [(&str, i8, i8); 5] = [
    ("New Year's Day", 1, 1),
    ("Day of the Sandcastle", 5, 1),
    ("Harbour Day", 10, 3),
    ("First day of winter holidays", 12, 25),
    ("Second day of winter holidays", 12, 26),
];
/// Zones in which the company's people live.
const ZONES: [&str; 4] = ["Europe/Berlin", "Europe/Lisbon", "America/New_York", "Asia/Tokyo"];
/// Posts and departments.
const POSTS: [(&str, &str); 6] = [
    ("Harbour master", "Operations"),
    ("Bookkeeper", "Finance"),
    ("Designer", "Product"),
    ("Engineer", "Product"),
    ("Writer", "Communication"),
    ("Buyer", "Purchasing"),
];
/// What one doesn't tell everybody.
const PRIVATE: [&str; 4] = ["Dentist", "School concert", "Viewing of a flat", "Haircut"];

impl World {
    /// Fills in what a person's entry of the directory doesn't say, from the seed. Profiles that say something stay.
    pub(crate) fn generate_profiles(&mut self) {
        let mut dice = self.dice.apart("profiles");
        let head = self.identity.people.values().find(|person| person.is_admin).map(|person| person.email.clone());
        let company: Vec<String> = self
            .identity
            .people
            .values()
            .filter(|person| self.identity.is_of_customer(person) && person.profile == Profile::default())
            .map(|person| person.sub.clone())
            .collect();
        for (index, sub) in company.iter().enumerate() {
            let Some(person) = self.identity.people.get_mut(sub) else { continue };
            let (title, department) = *dice.pick(&POSTS);
            let profile = &mut person.profile;
            title.clone_into(&mut profile.title);
            department.clone_into(&mut profile.department);
            profile.phones = vec![format!("+49 30 0000{index:03}")];
            profile.unit = format!("/{department}");
            profile.photo = dice.percent(60);
            ZONES[if dice.percent(70) { 0 } else { dice.index(ZONES.len()) }].clone_into(&mut profile.zone);
            if let Some(head) = head.as_ref().filter(|head| **head != person.email) {
                profile.manager.clone_from(head);
            }
        }
    }

    /// Invents calendars for everybody who can sign in, each with about so many events.
    pub(crate) fn generate_calendars(&mut self, per_person: usize) {
        if per_person == 0 {
            return;
        }
        let mut dice = self.dice.apart("calendars");
        let today = self.clock.now().to_zoned(TimeZone::UTC).date();
        self.add_holidays(today);
        let people: Vec<Person> = self.identity.people.values().filter(|person| person.is_active()).cloned().collect();
        for person in &people {
            self.open_calendar(&person.sub);
            self.list_calendar(&person.sub, HOLIDAYS, |_| ());
        }
        let company: Vec<&Person> = people.iter().filter(|person| self.identity.is_of_customer(person)).collect();
        for (index, person) in people.iter().enumerate() {
            let colleagues = company.iter().filter(|other| other.sub != person.sub && other.hd.is_some());
            let colleagues: Vec<&Person> = if person.hd.is_some() { colleagues.copied().collect() } else { Vec::new() };
            self.generate_calendar(
                person,
                &colleagues,
                index == 0,
                per_person.min(EVENTS_PER_PERSON_MAX),
                today,
                &mut dice,
            );
        }
    }

    fn add_holidays(&mut self, today: Date) {
        self.add_calendar(HOLIDAYS, "Holidays in the sandbox", "UTC", None, false);
        for year in [today.year() - 1, today.year(), today.year() + 1] {
            for (title, month, day) in FREE_DAYS {
                let Ok(day) = Date::new(year, month, day) else { continue };
                let entry = EventEntry {
                    title: title.to_owned(),
                    start: day.to_string(),
                    visibility: "public".to_owned(),
                    free: true,
                    ..EventEntry::default()
                };
                self.put_holiday(HOLIDAYS, &entry);
            }
        }
    }

    fn generate_calendar(
        &mut self,
        person: &Person,
        colleagues: &[&Person],
        leads: bool,
        count: usize,
        today: Date,
        dice: &mut Dice,
    ) {
        let email = person.email.as_str();
        let monday = today.saturating_sub(i64::from(today.weekday().to_monday_zero_offset()).days());
        let mut entries = vec![
            EventEntry {
                kind: "workingLocation".to_owned(),
                start: monday.to_string(),
                rule: "FREQ=WEEKLY;BYDAY=MO,FR".to_owned(),
                office: "home".to_owned(),
                free: true,
                title: "Home".to_owned(),
                visibility: "public".to_owned(),
                ..EventEntry::default()
            },
            EventEntry {
                kind: "birthday".to_owned(),
                start: past(today, 300, dice).to_string(),
                rule: "FREQ=YEARLY".to_owned(),
                title: "Birthday".to_owned(),
                visibility: "private".to_owned(),
                free: true,
                ..EventEntry::default()
            },
        ];
        if leads && !colleagues.is_empty() {
            entries.push(EventEntry {
                title: "Stand-up".to_owned(),
                start: format!("{}T09:15", monday.saturating_sub(8.weeks())),
                length: Some(15),
                rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH".to_owned(),
                guests: colleagues.iter().map(|other| other.email.clone()).collect(),
                call: true,
                ..EventEntry::default()
            });
        }
        if let Some(other) = colleagues.first().filter(|_| dice.percent(80)) {
            entries.push(EventEntry {
                title: "1:1".to_owned(),
                start: format!("{}T{:02}:00", monday.saturating_sub(6.weeks()), 13 + dice.index(4)),
                rule: "FREQ=WEEKLY;INTERVAL=2".to_owned(),
                guests: vec![other.email.clone()],
                call: true,
                ..EventEntry::default()
            });
        }
        while entries.len() < count {
            entries.push(single(today, colleagues, dice));
        }
        for entry in entries.into_iter().take(count) {
            let made = CalendarAction::Create { calendar: None, event: Box::new(entry.clone()) };
            if let Ok(id) = self.plan(email, &made) {
                self.live_through(email, &id, &entry, dice);
            }
        }
        if let Some(other) = colleagues.last() {
            let role = if dice.percent(50) { Role::Reader } else { Role::FreeBusyReader };
            if let Some(calendar) = self.open_calendar(&person.sub) {
                self.share(&calendar, &other.sub, Some(role));
            }
        }
    }

    /// What usually happens to an invitation and to a series.
    fn live_through(&mut self, email: &str, id: &str, entry: &EventEntry, dice: &mut Dice) {
        for guest in &entry.guests {
            let answer = match dice.below(10) {
                0..=5 => "accepted",
                6 => "tentative",
                7 => "declined",
                _ => continue,
            };
            // Guests from outside have no account here that could answer.
            let _ = self.plan(guest, &CalendarAction::Answer { id: id.to_owned(), answer: answer.to_owned() });
        }
        let horizon =
            self.clock.now().saturating_add(jiff::SignedDuration::from_hours(24 * 21)).unwrap_or(Timestamp::MAX);
        let slots = self.agenda.events.get(id).filter(|event| event.rule.is_some() && entry.kind.is_empty());
        let slots: Vec<_> = slots.map(|event| event.slots(horizon)).unwrap_or_default();
        let [.., moved, _, cancelled, _] = slots.as_slice() else { return };
        let day = moved.day().saturating_add(1.days());
        let later =
            CalendarAction::Move { id: format!("{id}_{}", moved.stamp()), start: format!("{day}T16:30"), length: None };
        let gone = CalendarAction::Delete { id: format!("{id}_{}", cancelled.stamp()) };
        for action in [later, gone] {
            if let Err(error) = self.plan(email, &action) {
                tracing::warn!(%error, "an invented occurrence stays as it was");
            }
        }
    }
}

/// One appointment within half a year around today.
fn single(today: Date, colleagues: &[&Person], dice: &mut Dice) -> EventEntry {
    let offset = i64::try_from(dice.below(180)).unwrap_or(0) - 120;
    let mut day = today.saturating_add(offset.days());
    while matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
        day = day.saturating_add(1.days());
    }
    let start = format!("{day}T{:02}:{:02}", 8 + dice.index(9), 15 * dice.index(4));
    let length = Some([15, 30, 45, 60, 90][dice.index(5)]);
    match dice.below(100) {
        0..=9 => EventEntry {
            title: (*dice.pick(&PRIVATE)).to_owned(),
            visibility: "private".to_owned(),
            start,
            length,
            ..EventEntry::default()
        },
        10..=14 => EventEntry {
            title: "Out of office".to_owned(),
            kind: "outOfOffice".to_owned(),
            start,
            length: Some(240),
            ..EventEntry::default()
        },
        15..=19 => EventEntry {
            title: "Focus".to_owned(),
            kind: "focusTime".to_owned(),
            start,
            length: Some(120),
            ..EventEntry::default()
        },
        20..=24 => EventEntry {
            title: "Trade fair".to_owned(),
            start: day.to_string(),
            length: Some(2),
            location: "Hall 3".to_owned(),
            ..EventEntry::default()
        },
        kind => {
            let mut guests: Vec<String> = Vec::new();
            for _ in 0..dice.index(4) {
                if let Some(other) = colleagues.get(dice.index(colleagues.len().max(1))) {
                    guests.push(other.email.clone());
                }
            }
            if dice.percent(25) {
                guests.push(dice.pick(&OUTSIDERS).1.to_owned());
            }
            guests.sort();
            guests.dedup();
            EventEntry {
                title: (*dice.pick(&MEETINGS)).to_owned(),
                description: (*dice.pick(&SENTENCES)).to_owned(),
                start,
                length,
                guests,
                call: kind % 2 == 0,
                guests_hidden: kind == 99,
                ..EventEntry::default()
            }
        }
    }
}

fn past(today: Date, days: u64, dice: &mut Dice) -> Date {
    today.saturating_sub(i64::try_from(dice.below(days)).unwrap_or(0).days())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::empty_world;

    fn generated(count: usize) -> World {
        let mut world = empty_world();
        world.generate_profiles();
        world.generate_calendars(count);
        world
    }

    #[test]
    fn the_same_seed_makes_the_same_calendars() {
        let (world, again) = (generated(30), generated(30));
        let text = |world: &World| serde_json::to_string(&world.agenda).unwrap();
        assert_eq!(text(&world), text(&again));
        assert!(world.agenda.events.len() >= 90);
    }

    #[test]
    fn every_kind_of_thing_is_there() {
        let world = generated(80);
        let any = |fits: &dyn Fn(&crate::agenda::Event) -> bool| world.agenda.events.values().any(fits);
        for kind in ["workingLocation", "birthday", "outOfOffice", "focusTime", "default"] {
            assert!(any(&|event| event.kind == kind), "{kind}");
        }
        assert!(any(&|event| event.slot.is_some() && event.cancelled), "a cancelled occurrence");
        assert!(any(&|event| event.slot.as_ref().is_some_and(|slot| slot.original != event.start)), "a moved one");
        assert!(any(&|event| event.visibility == "private"));
        assert!(any(&|event| event.guests.iter().any(|guest| guest.answer == "declined")));
        assert!(any(&|event| event.guests.iter().any(|guest| !guest.email.ends_with("example.com"))), "from outside");
        assert!(world.agenda.calendars[HOLIDAYS].copies.len() == 15);
        assert!(world.identity.people.values().all(|person| !person.profile.title.is_empty()));
    }
}

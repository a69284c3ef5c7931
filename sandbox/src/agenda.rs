//! Calendars and what is in them: the truth behind the Calendar API, and what people do to it. An event is kept once;
//! each calendar that shows it holds a copy, which is only a number in the calendar's order of changes. Every change
//! goes through [`World::plan`], so that the copies of everybody who is invited change with it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::accounts::Person;
use crate::dice::Dice;
use crate::recurrence::{Moment, Rule, zone_of};
use crate::world::World;

/// How far ahead a series without an end is expanded. Google goes further; whoever asks for more gets no more here.
const AHEAD_DAYS: i32 = 2 * 365;
/// Occurrences of one series that are looked at.
const OCCURRENCES_MAX: usize = 20_000;
/// Guests of one event (Google's usual limit is 200, with a group 200,000).
const GUESTS_MAX: usize = 1_000;
/// Longest title, place or description, in bytes.
const TEXT_BYTES_MAX: usize = 8_192;
/// Longest event, in minutes or days.
const SPAN_MAX: u32 = 100_000;
/// Former occurrences of a changed series that are remembered, so that readers of occurrences learn that they are gone.
const FORMER_MAX: usize = 2_000;
/// The zone of people who don't say otherwise.
const ZONE: &str = "Europe/Berlin";
/// The kinds of events that can be made.
const KINDS: [&str; 6] = ["default", "birthday", "focusTime", "fromGmail", "outOfOffice", "workingLocation"];
/// What a guest can answer.
const ANSWERS: [&str; 4] = ["needsAction", "declined", "tentative", "accepted"];
/// How open an event can be.
const VISIBILITIES: [&str; 4] = ["default", "public", "private", "confidential"];

/// What somebody may do in a calendar, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sees when it is busy and nothing else.
    FreeBusyReader,
    /// Sees everything but private events.
    Reader,
    /// Changes everything but private events.
    WriterWithoutPrivateAccess,
    /// Sees and changes everything.
    Writer,
    /// Decides who may what.
    Owner,
}

/// All calendars.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Agenda {
    /// Calendars by id.
    pub calendars: BTreeMap<String, Calendar>,
    /// Events by id, exceptions of series included.
    pub events: BTreeMap<String, Event>,
    /// What each person lists, by `sub`.
    pub lists: BTreeMap<String, List>,
    /// Ids of calendars that their owners deleted.
    pub deleted: BTreeSet<String>,
}

/// A calendar.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Calendar {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The IANA name of its time zone.
    pub zone: String,
    /// Whose it is; nobody's for holidays.
    pub owner: Option<String>,
    /// Whether it is the owner's first.
    pub primary: bool,
    /// What others may, by `sub`.
    pub readers: BTreeMap<String, Role>,
    /// Rises whenever older sync tokens stop being good.
    pub epoch: u64,
    /// The number of the latest change.
    pub current: u64,
    /// The events that it shows or showed.
    pub copies: BTreeMap<String, Copy>,
}

/// An event in one calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// The change that touched it last.
    pub change: u64,
    /// When that was, in milliseconds since 1970.
    pub at_ms: i64,
    /// It was there once.
    pub gone: bool,
    /// The calendar's owner took it out and could put it back, so that it still shows its details.
    pub removed_by_owner: bool,
}

/// What a person lists.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct List {
    /// The number of the latest change.
    pub current: u64,
    /// Rises whenever older sync tokens stop being good.
    pub epoch: u64,
    /// Entries by calendar id.
    pub entries: BTreeMap<String, Entry>,
}

/// A calendar in a person's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The change that touched it last.
    pub change: u64,
    /// Shown in the person's calendar.
    pub selected: bool,
    /// Left out of the list.
    pub hidden: bool,
    /// It was there once.
    pub gone: bool,
    /// A name of the person's own.
    pub name: Option<String>,
}

/// An event: a single one, a series, or an occurrence that differs from its series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Google's word for what it is.
    pub kind: String,
    /// Title.
    pub title: String,
    /// Text.
    pub description: String,
    /// Place.
    pub location: String,
    /// When it begins.
    pub start: Moment,
    /// How long it is: days when it begins on a day, else minutes.
    pub span: u32,
    /// How it repeats.
    pub rule: Option<Rule>,
    /// Occurrences that the rule gives and that are taken out of it.
    pub except: Vec<Moment>,
    /// Which occurrence of which series it is.
    pub slot: Option<Slot>,
    /// It doesn't take place.
    pub cancelled: bool,
    /// Google's word for who sees it.
    pub visibility: String,
    /// It blocks no time.
    pub free: bool,
    /// Address of the person whose event it is; empty for holidays.
    pub organizer: String,
    /// The calendar in which it was made.
    pub home: String,
    /// Who is invited.
    pub guests: Vec<Guest>,
    /// Guests don't see each other.
    pub guests_hidden: bool,
    /// There is a video call.
    pub call: bool,
    /// Where somebody works, of events of the kind `workingLocation`: `home`, or the name of an office.
    pub office: String,
    /// When it was made and changed last.
    pub created_at: Timestamp,
    /// The same.
    pub updated_at: Timestamp,
    /// How often it was changed in a way that guests are told of.
    pub sequence: u32,
    /// Occurrences that it had before its times were changed.
    pub former: Vec<Moment>,
    /// Whether it took place once before it became a series: who reads occurrences knew it by its own id.
    #[serde(default)]
    pub was_single: bool,
}

/// Which occurrence of which series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The series.
    pub series: String,
    /// When the occurrence would begin if nobody had moved it.
    pub original: Moment,
}

/// Somebody who is invited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Address.
    pub email: String,
    /// Google's word for what they answered.
    pub answer: String,
    /// It works without them.
    pub optional: bool,
}

impl Event {
    /// When it begins and ends; a whole day is one where `zone` is.
    pub fn bounds(&self, zone: &TimeZone) -> (Timestamp, Timestamp) {
        let start = self.start.instant(zone);
        let end = match self.end_day() {
            Some(day) => Moment::Day(day).instant(zone),
            None => start.saturating_add(SignedDuration::from_mins(i64::from(self.span))).unwrap_or(start),
        };
        (start, end)
    }

    /// The day before which a whole-day event ends.
    pub fn end_day(&self) -> Option<Date> {
        match &self.start {
            Moment::Day(day) => Some(day.saturating_add(i64::from(self.span).days())),
            Moment::Clock(..) => None,
        }
    }

    /// The event as one occurrence of it.
    pub fn at(&self, slot: &Moment) -> Event {
        let which = Slot { series: self.id.clone(), original: slot.clone() };
        Event {
            id: format!("{}_{}", self.id, slot.stamp()),
            start: slot.clone(),
            rule: None,
            except: Vec::new(),
            former: Vec::new(),
            was_single: false,
            slot: Some(which),
            ..self.clone()
        }
    }

    /// The beginnings of its occurrences until `until`; of a single event its own.
    pub fn slots(&self, until: Timestamp) -> Vec<Moment> {
        let Some(rule) = &self.rule else {
            return vec![self.start.clone()];
        };
        let all = rule.occurrences(&self.start).take(OCCURRENCES_MAX);
        let near = all.take_while(|slot| slot.instant(&TimeZone::UTC) < until);
        near.filter(|slot| !self.except.contains(slot)).collect()
    }

    fn is_of(&self, person: &Person) -> bool {
        person.has_address(&self.organizer) || self.guests.iter().any(|guest| person.has_address(&guest.email))
    }
}

/// An event as somebody writes it: in a world file, in a form, or over the steering interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventEntry {
    /// Title.
    pub title: String,
    /// `2026-11-02` for whole days, `2026-11-02T09:00` otherwise.
    pub start: String,
    /// IANA name of the zone in which `start` is meant; the calendar's when empty.
    pub zone: String,
    /// How long it is: days when it begins on a day, else minutes; one day or half an hour when absent.
    pub length: Option<u32>,
    /// How it repeats, such as `FREQ=WEEKLY;BYDAY=MO,WE`.
    pub rule: String,
    /// Addresses of those who are invited.
    pub guests: Vec<String>,
    /// Google's word for what it is; `default` when empty.
    pub kind: String,
    /// Google's word for who sees it; `default` when empty.
    pub visibility: String,
    /// It blocks no time.
    pub free: bool,
    /// Place.
    pub location: String,
    /// Text.
    pub description: String,
    /// Guests don't see each other.
    pub guests_hidden: bool,
    /// There is a video call.
    pub call: bool,
    /// Of the kind `workingLocation`: `home`, or the name of an office.
    pub office: String,
}

/// Something that a person does in a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum CalendarAction {
    /// Makes an event.
    Create {
        /// The calendar; the person's own first one when absent.
        #[serde(default)]
        calendar: Option<String>,
        /// The event.
        event: Box<EventEntry>,
    },
    /// Moves an event, a whole series, or one occurrence by its id.
    Move {
        /// The event.
        id: String,
        /// The new beginning.
        start: String,
        /// The new length.
        #[serde(default)]
        length: Option<u32>,
    },
    /// Changes what is given and leaves the rest; of an occurrence only that one.
    Edit {
        /// The event.
        id: String,
        /// Title.
        #[serde(default)]
        title: Option<String>,
        /// Place.
        #[serde(default)]
        location: Option<String>,
        /// Who sees it.
        #[serde(default)]
        visibility: Option<String>,
        /// It blocks no time.
        #[serde(default)]
        free: Option<bool>,
        /// How it repeats.
        #[serde(default)]
        rule: Option<String>,
    },
    /// Invites somebody.
    Invite {
        /// The event.
        id: String,
        /// Their address.
        email: String,
    },
    /// Takes an invitation back.
    Uninvite {
        /// The event.
        id: String,
        /// Their address.
        email: String,
    },
    /// The person answers an invitation.
    Answer {
        /// The event.
        id: String,
        /// `declined`, `tentative` or `accepted`.
        answer: String,
    },
    /// The organizer deletes the event or the series for everybody, or cancels one occurrence; a guest removes it from
    /// their own calendar.
    Delete {
        /// The event.
        id: String,
    },
    /// Makes a calendar.
    CreateCalendar {
        /// Its name.
        name: String,
        /// Its zone.
        #[serde(default)]
        zone: String,
    },
    /// Lets somebody see a calendar, or no longer. Their sync tokens for it stop being good.
    Share {
        /// The calendar; the person's own first one when absent.
        #[serde(default)]
        calendar: Option<String>,
        /// With whom.
        email: String,
        /// What they may; nothing when absent.
        #[serde(default)]
        role: Option<Role>,
    },
    /// Puts a calendar into the person's list, or changes how it stands there.
    List {
        /// The calendar.
        calendar: String,
        /// Shown.
        #[serde(default = "yes")]
        selected: bool,
        /// Left out of the list.
        #[serde(default)]
        hidden: bool,
        /// A name of the person's own.
        #[serde(default)]
        name: Option<String>,
    },
    /// The owner deletes a calendar with everything in it, for everybody. Nobody's first calendar can be deleted.
    DeleteCalendar {
        /// The calendar.
        calendar: String,
    },
    /// Takes a calendar out of the person's list.
    Unlist {
        /// The calendar.
        calendar: String,
    },
    /// All sync tokens of a calendar, or of the person's list, stop being good, as Google's do without a reason.
    ExpireTokens {
        /// The calendar; the list of calendars when absent.
        #[serde(default)]
        calendar: Option<String>,
    },
}

fn yes() -> bool {
    true
}

/// Why an action was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgendaError {
    /// Nobody has this address.
    #[error("nobody in this world has the address `{0}`")]
    NoPerson(String),
    /// There is no such calendar, or the person may not change it.
    #[error("there is no calendar `{0}` in which this person may do that")]
    NoCalendar(String),
    /// There is no such event.
    #[error("there is no event `{0}` in this person's calendars")]
    NoEvent(String),
    /// Somebody else's event.
    #[error("the event `{0}` belongs to somebody else; only its organizer can change it")]
    NotOrganizer(String),
    /// The person is not invited.
    #[error("the event `{0}` has no invitation for this person")]
    NotInvited(String),
    /// A value makes no sense.
    #[error("{0}")]
    Wrong(String),
}

fn wrong(sentence: impl Into<String>) -> AgendaError {
    AgendaError::Wrong(sentence.into())
}

impl Agenda {
    /// A calendar by id; `primary` is the first one of this person, and so is each of their addresses.
    pub(crate) fn find<'a>(&'a self, id: &str, person: &Person) -> Option<&'a Calendar> {
        let primary = || self.calendars.values().find(|calendar| calendar.is_primary_of(&person.sub));
        match id {
            "primary" => primary(),
            id => self.calendars.get(id).or_else(|| primary().filter(|_| person.has_address(id))),
        }
    }

    /// The calendars that show an event.
    fn holders<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Calendar> {
        self.calendars.values().filter(move |calendar| calendar.copies.get(id).is_some_and(|copy| !copy.gone))
    }

    /// The exceptions of a series, cancelled ones included.
    pub(crate) fn exceptions<'a>(&'a self, series: &'a str) -> impl Iterator<Item = &'a Event> {
        let begin = format!("{series}_");
        let end = format!("{series}`");
        self.events.range(begin..end).map(|(_, event)| event).filter(|event| event.slot.is_some())
    }
}

impl Calendar {
    /// Whether it is this person's first.
    pub fn is_primary_of(&self, sub: &str) -> bool {
        self.primary && self.owner.as_deref() == Some(sub)
    }

    /// What somebody may do in it.
    pub fn role_of(&self, sub: &str) -> Option<Role> {
        if self.owner.as_deref() == Some(sub) {
            return Some(Role::Owner);
        }
        self.readers.get(sub).copied().or_else(|| self.owner.is_none().then_some(Role::Reader))
    }

    fn touch(&mut self, id: &str, now: Timestamp, change: impl FnOnce(&mut Copy)) {
        self.current += 1;
        let fresh = Copy { change: 0, at_ms: 0, gone: false, removed_by_owner: false };
        let copy = self.copies.entry(id.to_owned()).or_insert(fresh);
        copy.change = self.current;
        copy.at_ms = now.as_millisecond();
        change(copy);
    }
}

impl World {
    /// How far a series without an end goes, seen from now.
    pub(crate) fn horizon(&self) -> Timestamp {
        self.clock
            .now()
            .saturating_add(SignedDuration::from_hours(24 * i64::from(AHEAD_DAYS)))
            .unwrap_or(Timestamp::MAX)
    }

    /// Gives a person a first calendar and a list, unless they have them. The answer is the calendar's id.
    pub(crate) fn open_calendar(&mut self, sub: &str) -> Option<String> {
        if let Some(known) = self.agenda.calendars.values().find(|calendar| calendar.is_primary_of(sub)) {
            return Some(known.id.clone());
        }
        let person = self.identity.people.get(sub)?;
        let id = person.email.clone();
        let zone = if person.profile.zone.is_empty() { ZONE.to_owned() } else { person.profile.zone.clone() };
        self.add_calendar(&id, &id.clone(), &zone, Some(sub), true);
        self.list_calendar(sub, &id, |_| ());
        Some(id)
    }

    /// Adds an empty calendar.
    pub(crate) fn add_calendar(&mut self, id: &str, name: &str, zone: &str, owner: Option<&str>, primary: bool) {
        let calendar = Calendar {
            id: id.to_owned(),
            name: name.to_owned(),
            zone: zone.to_owned(),
            owner: owner.map(str::to_owned),
            primary,
            readers: BTreeMap::new(),
            epoch: 0,
            current: 0,
            copies: BTreeMap::new(),
        };
        self.agenda.calendars.insert(id.to_owned(), calendar);
    }

    pub(crate) fn list_calendar(&mut self, sub: &str, calendar: &str, change: impl FnOnce(&mut Entry)) {
        let list = self.agenda.lists.entry(sub.to_owned()).or_default();
        list.current += 1;
        let fresh = Entry { change: 0, selected: true, hidden: false, gone: false, name: None };
        let entry = list.entries.entry(calendar.to_owned()).or_insert(fresh);
        entry.gone = false;
        change(entry);
        entry.change = list.current;
    }

    /// Does something in a person's calendars. The answer is the id of the event or calendar that it was about.
    pub fn plan(&mut self, email: &str, action: &CalendarAction) -> Result<String, AgendaError> {
        let nobody = || AgendaError::NoPerson(email.to_owned());
        let person = self.identity.person_by_email(email).ok_or_else(nobody)?.clone();
        let own = self.open_calendar(&person.sub).ok_or_else(nobody)?;
        match action {
            CalendarAction::Create { calendar, event } => {
                let calendar = self.changeable(&person, calendar.as_deref().unwrap_or(&own))?;
                self.create_event(&person, &calendar, event)
            }
            CalendarAction::Move { id, start, length } => self.move_event(&person, id, start, *length),
            CalendarAction::Edit { id, title, location, visibility, free, rule } => {
                let texts = [title, location].into_iter().flatten();
                if texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
                    return Err(wrong(format!("a title or place may have {TEXT_BYTES_MAX} bytes")));
                }
                if let Some(word) = visibility {
                    one_of("visibility", word, &VISIBILITIES)?;
                }
                let rule = rule.as_deref().map(Rule::parse).transpose().map_err(wrong)?;
                let id = self.organized(&person, id)?;
                self.retime(&id, |event| {
                    event.title = title.clone().unwrap_or_else(|| event.title.clone());
                    event.location = location.clone().unwrap_or_else(|| event.location.clone());
                    event.visibility = visibility.clone().unwrap_or_else(|| event.visibility.clone());
                    event.free = free.unwrap_or(event.free);
                    if let (Some(rule), None) = (&rule, &event.slot) {
                        event.rule = Some(rule.clone());
                    }
                })?;
                Ok(id)
            }
            CalendarAction::Invite { id, email } | CalendarAction::Uninvite { id, email } => {
                let invites = matches!(action, CalendarAction::Invite { .. });
                self.invite(&person, id, email, invites)
            }
            CalendarAction::Answer { id, answer } => self.answer(&person, id, answer),
            CalendarAction::Delete { id } => self.delete_event(&person, id),
            other => self.plan_calendars(&person, &own, other),
        }
    }

    fn plan_calendars(&mut self, person: &Person, own: &str, action: &CalendarAction) -> Result<String, AgendaError> {
        match action {
            CalendarAction::CreateCalendar { name, zone } => {
                let zone = if zone.is_empty() { ZONE } else { zone.as_str() };
                TimeZone::get(zone)
                    .map_err(|_| wrong(format!("`{zone}` is no time zone; write it like Europe/Berlin")))?;
                let id = format!("c_{:016x}@group.calendar.google.com", self.dice.number());
                self.add_calendar(&id, name, zone, Some(&person.sub), false);
                self.list_calendar(&person.sub, &id, |_| ());
                Ok(id)
            }
            CalendarAction::Share { calendar, email, role } => {
                let id = self.changeable(person, calendar.as_deref().unwrap_or(own))?;
                let nobody = || AgendaError::NoPerson(email.clone());
                let sub = self.identity.person_by_email(email).ok_or_else(nobody)?.sub.clone();
                self.open_calendar(&sub);
                self.share(&id, &sub, *role);
                Ok(id)
            }
            CalendarAction::List { calendar, selected, hidden, name } => {
                let known = self.agenda.find(calendar, person).filter(|known| known.role_of(&person.sub).is_some());
                let id = known.ok_or_else(|| AgendaError::NoCalendar(calendar.clone()))?.id.clone();
                self.list_calendar(&person.sub, &id, |entry| {
                    entry.selected = *selected;
                    entry.hidden = *hidden;
                    entry.name.clone_from(name);
                });
                Ok(id)
            }
            CalendarAction::DeleteCalendar { calendar } => self.delete_calendar(person, calendar),
            CalendarAction::Unlist { calendar } => {
                self.list_calendar(&person.sub, calendar, |entry| entry.gone = true);
                Ok(calendar.clone())
            }
            CalendarAction::ExpireTokens { calendar: Some(calendar) } => {
                let id = self.agenda.find(calendar, person).map(|known| known.id.clone());
                let id = id.ok_or_else(|| AgendaError::NoCalendar(calendar.clone()))?;
                if let Some(calendar) = self.agenda.calendars.get_mut(&id) {
                    calendar.epoch += 1;
                }
                Ok(id)
            }
            _ => {
                self.agenda.lists.entry(person.sub.clone()).or_default().epoch += 1;
                Ok(person.sub.clone())
            }
        }
    }

    /// What was made in it goes from its guests' calendars, too; then it leaves everybody's list.
    fn delete_calendar(&mut self, person: &Person, id: &str) -> Result<String, AgendaError> {
        let missing = || AgendaError::NoCalendar(id.to_owned());
        let known = self.agenda.calendars.get(id).ok_or_else(missing)?;
        if known.primary || known.role_of(&person.sub) != Some(Role::Owner) {
            return Err(missing());
        }
        let made_here = |event: &&Event| event.home == id && event.slot.is_none() && !event.cancelled;
        let events: Vec<String> = self.agenda.events.values().filter(made_here).map(|event| event.id.clone()).collect();
        for event in events {
            self.delete_event(person, &event)?;
        }
        self.agenda.calendars.remove(id);
        self.agenda.deleted.insert(id.to_owned());
        let listing = self.agenda.lists.iter().filter(|(_, list)| list.entries.contains_key(id));
        let listing: Vec<String> = listing.map(|(sub, _)| sub.clone()).collect();
        for sub in listing {
            self.list_calendar(&sub, id, |entry| entry.gone = true);
        }
        Ok(id.to_owned())
    }

    /// Lets somebody see a calendar, or no longer.
    pub(crate) fn share(&mut self, id: &str, sub: &str, role: Option<Role>) {
        let Some(calendar) = self.agenda.calendars.get_mut(id) else { return };
        let (id, listed) = (calendar.id.clone(), role.is_some());
        match role {
            Some(role) => calendar.readers.insert(sub.to_owned(), role),
            None => calendar.readers.remove(sub),
        };
        self.list_calendar(sub, &id, |entry| entry.gone = !listed);
    }

    /// The id of a calendar in which the person may write.
    fn changeable(&self, person: &Person, id: &str) -> Result<String, AgendaError> {
        let calendar = self.agenda.find(id, person);
        let may = calendar.filter(|calendar| calendar.role_of(&person.sub) >= Some(Role::WriterWithoutPrivateAccess));
        may.map(|calendar| calendar.id.clone()).ok_or_else(|| AgendaError::NoCalendar(id.to_owned()))
    }

    fn create_event(&mut self, person: &Person, calendar: &str, entry: &EventEntry) -> Result<String, AgendaError> {
        let zone = self.agenda.calendars.get(calendar).map(|calendar| calendar.zone.clone()).unwrap_or_default();
        let event = written(entry, person, calendar, &zone, self.clock.now(), &mut self.dice)?;
        Ok(self.put_event(event))
    }

    /// Puts an event where it belongs: the calendar in which it was made, and the first ones of those who are invited.
    pub(crate) fn put_event(&mut self, event: Event) -> String {
        let id = event.id.clone();
        let guests: Vec<String> = event.guests.iter().map(|guest| guest.email.clone()).collect();
        let home = event.home.clone();
        self.agenda.events.insert(id.clone(), event);
        self.show_in(&home, &id);
        for email in guests {
            self.show_to(&email, &id);
        }
        id
    }

    /// Puts something that nobody organizes into a calendar that is nobody's.
    pub(crate) fn put_holiday(&mut self, calendar: &str, entry: &EventEntry) {
        let nobody = Person::new("", "", "", None);
        let zone = self.agenda.calendars.get(calendar).map(|calendar| calendar.zone.clone()).unwrap_or_default();
        if let Ok(event) = written(entry, &nobody, calendar, &zone, self.clock.now(), &mut self.dice) {
            self.put_event(event);
        }
    }

    fn show_to(&mut self, email: &str, id: &str) {
        let sub = self.identity.person_by_email(email).map(|person| person.sub.clone());
        if let Some(calendar) = sub.and_then(|sub| self.open_calendar(&sub)) {
            self.show_in(&calendar, id);
        }
    }

    fn show_in(&mut self, calendar: &str, id: &str) {
        let now = self.clock.now();
        if let Some(calendar) = self.agenda.calendars.get_mut(calendar) {
            calendar.touch(id, now, |copy| (copy.gone, copy.removed_by_owner) = (false, false));
        }
        self.calendar_changed(calendar);
    }

    /// Notes a change of an event in every calendar that shows it.
    fn changed(&mut self, id: &str) {
        let now = self.clock.now();
        let shown = |calendar: &&mut Calendar| calendar.copies.get(id).is_some_and(|copy| !copy.gone);
        let mut touched = Vec::new();
        for calendar in self.agenda.calendars.values_mut().filter(shown) {
            calendar.touch(id, now, |_| ());
            touched.push(calendar.id.clone());
        }
        for calendar in touched {
            self.calendar_changed(&calendar);
        }
    }

    /// The id of an event, made an exception when it is an occurrence that was like its series so far.
    fn settled(&mut self, person: &Person, id: &str) -> Result<String, AgendaError> {
        let missing = || AgendaError::NoEvent(id.to_owned());
        let sees = |world: &World, event: &Event| {
            let home = world.agenda.calendars.get(&event.home);
            event.is_of(person) || home.and_then(|home| home.role_of(&person.sub)) >= Some(Role::Writer)
        };
        if let Some(event) = self.agenda.events.get(id) {
            return if sees(self, event) { Ok(event.id.clone()) } else { Err(missing()) };
        }
        let (series, stamp) = id.rsplit_once('_').ok_or_else(missing)?;
        let series = self.agenda.events.get(series).filter(|series| series.rule.is_some() && !series.cancelled);
        let series = series.filter(|series| sees(self, series)).ok_or_else(missing)?;
        let slot = series.slots(self.horizon()).into_iter().find(|slot| slot.stamp() == stamp).ok_or_else(missing)?;
        let exception = series.at(&slot);
        let shown = self
            .agenda
            .calendars
            .values()
            .filter(|calendar| calendar.copies.get(&series.id).is_some_and(|copy| !copy.gone));
        let shown: Vec<String> = shown.map(|calendar| calendar.id.clone()).collect();
        let id = exception.id.clone();
        self.agenda.events.insert(id.clone(), exception);
        let now = self.clock.now();
        for calendar in shown {
            if let Some(calendar) = self.agenda.calendars.get_mut(&calendar) {
                calendar.touch(&id, now, |_| ());
            }
            self.calendar_changed(&calendar);
        }
        Ok(id)
    }

    fn organized(&mut self, person: &Person, id: &str) -> Result<String, AgendaError> {
        let id = self.settled(person, id)?;
        let event = self.agenda.events.get(&id).ok_or_else(|| AgendaError::NoEvent(id.clone()))?;
        let home = self.agenda.calendars.get(&event.home).and_then(|home| home.role_of(&person.sub));
        if person.has_address(&event.organizer) || home >= Some(Role::WriterWithoutPrivateAccess) {
            return Ok(id);
        }
        Err(AgendaError::NotOrganizer(id))
    }

    fn move_event(
        &mut self,
        person: &Person,
        id: &str,
        start: &str,
        length: Option<u32>,
    ) -> Result<String, AgendaError> {
        let id = self.organized(person, id)?;
        let event = self.agenda.events.get(&id).ok_or_else(|| AgendaError::NoEvent(id.clone()))?;
        let zone = match &event.start {
            Moment::Clock(_, zone) => zone.clone(),
            Moment::Day(_) => self.agenda.calendars.get(&event.home).map(|home| home.zone.clone()).unwrap_or_default(),
        };
        let start = Moment::parse(start, &zone).map_err(wrong)?;
        check_length(length)?;
        self.retime(&id, |event| {
            let same_kind = matches!(start, Moment::Day(_)) == matches!(event.start, Moment::Day(_));
            let usual = if same_kind { event.span } else { usual_length(&start) };
            event.span = length.unwrap_or(usual);
            event.start = start.clone();
        })?;
        Ok(id)
    }

    /// Changes an event. When a series' times change, exceptions of occurrences that it no longer has go, and the
    /// occurrences that it had are remembered as gone.
    fn retime(&mut self, id: &str, change: impl FnOnce(&mut Event)) -> Result<(), AgendaError> {
        let (now, horizon) = (self.clock.now(), self.horizon());
        let event = self.agenda.events.get(id).ok_or_else(|| AgendaError::NoEvent(id.to_owned()))?;
        let mut new = event.clone();
        change(&mut new);
        check_rule(&new)?;
        new.updated_at = now;
        new.sequence += 1;
        new.was_single |= event.rule.is_none() && new.rule.is_some();
        let mut orphans = Vec::new();
        if event.rule.is_some() && (event.rule != new.rule || event.start != new.start) {
            let slots = new.slots(horizon);
            let gone = event.slots(horizon).into_iter().filter(|slot| !slots.contains(slot));
            new.former.extend(gone.take(FORMER_MAX));
            new.former.retain(|slot| !slots.contains(slot));
            let lost = |event: &&Event| event.slot.as_ref().is_some_and(|slot| !slots.contains(&slot.original));
            orphans = self.agenda.exceptions(id).filter(lost).map(|event| event.id.clone()).collect();
        }
        self.agenda.events.insert(id.to_owned(), new);
        for orphan in orphans {
            if let Some(event) = self.agenda.events.get_mut(&orphan) {
                event.cancelled = true;
            }
            self.changed(&orphan);
        }
        self.changed(id);
        Ok(())
    }

    fn invite(&mut self, person: &Person, id: &str, email: &str, invites: bool) -> Result<String, AgendaError> {
        let id = self.organized(person, id)?;
        let event = self.agenda.events.get_mut(&id).ok_or_else(|| AgendaError::NoEvent(id.clone()))?;
        event.guests.retain(|guest| !guest.email.eq_ignore_ascii_case(email));
        if invites {
            if event.guests.len() >= GUESTS_MAX {
                return Err(wrong(format!("an event may have {GUESTS_MAX} guests")));
            }
            event.guests.push(Guest { email: email.to_owned(), answer: "needsAction".into(), optional: false });
        }
        let (organizer, now) = (event.organizer.clone(), self.clock.now());
        let guests = event.guests.clone();
        self.changed(&id);
        if invites {
            self.show_to(email, &id);
            // The occurrences that differ already are part of the series that the new guest sees.
            let parts: Vec<String> = self.agenda.exceptions(&id).map(|part| part.id.clone()).collect();
            for part in parts {
                if let Some(event) = self.agenda.events.get_mut(&part) {
                    event.guests.clone_from(&guests);
                }
                self.changed(&part);
                self.show_to(email, &part);
            }
        } else {
            let sub = self.identity.person_by_email(email).map(|person| person.sub.clone());
            let own = sub.and_then(|sub| self.open_calendar(&sub)).filter(|_| !organizer.eq_ignore_ascii_case(email));
            if let Some(calendar) = own {
                self.remove_from(&calendar, &id, now, false);
            }
        }
        Ok(id)
    }

    fn answer(&mut self, person: &Person, id: &str, answer: &str) -> Result<String, AgendaError> {
        one_of("answer", answer, &ANSWERS)?;
        let id = self.settled(person, id)?;
        let now = self.clock.now();
        let event = self.agenda.events.get_mut(&id).ok_or_else(|| AgendaError::NoEvent(id.clone()))?;
        let own = event.guests.iter_mut().find(|guest| person.has_address(&guest.email));
        own.ok_or_else(|| AgendaError::NotInvited(id.clone()))?.answer = answer.to_owned();
        event.updated_at = now;
        self.changed(&id);
        Ok(id)
    }

    fn delete_event(&mut self, person: &Person, id: &str) -> Result<String, AgendaError> {
        let (now, id) = (self.clock.now(), self.settled(person, id)?);
        let missing = || AgendaError::NoEvent(id.clone());
        let event = self.agenda.events.get(&id).ok_or_else(missing)?.clone();
        let home = self.agenda.calendars.get(&event.home).and_then(|home| home.role_of(&person.sub));
        if !person.has_address(&event.organizer) && home < Some(Role::WriterWithoutPrivateAccess) {
            let own = self.open_calendar(&person.sub).ok_or_else(missing)?;
            let _ = self.answer(person, &id, "declined");
            for part in self.agenda.exceptions(&id).map(|event| event.id.clone()).collect::<Vec<_>>() {
                self.remove_silently(&own, &part);
            }
            self.remove_from(&own, &id, now, true);
            return Ok(id);
        }
        if let Some(event) = self.agenda.events.get_mut(&id) {
            event.cancelled = true;
            event.updated_at = now;
        }
        if event.slot.is_some() {
            self.changed(&id);
            return Ok(id);
        }
        // Whoever holds a series holds its exceptions through it: they go without a word of their own.
        let parts: Vec<String> = self.agenda.exceptions(&id).map(|event| event.id.clone()).collect();
        let of_series = self.agenda.holders(&id).map(|calendar| (calendar.id.clone(), calendar.id == event.home));
        let calendars: Vec<(String, bool)> = of_series.collect();
        for (calendar, is_home) in calendars {
            for part in &parts {
                self.remove_silently(&calendar, part);
            }
            self.remove_from(&calendar, &id, now, is_home);
        }
        // Whoever was invited to one of them alone has nothing that it could go along with, and is told of it.
        for part in parts {
            let alone: Vec<String> = self.agenda.holders(&part).map(|calendar| calendar.id.clone()).collect();
            match self.agenda.events.get_mut(&part) {
                Some(event) if !alone.is_empty() => (event.cancelled, event.updated_at) = (true, now),
                _ => drop(self.agenda.events.remove(&part)),
            }
            for calendar in alone {
                self.remove_from(&calendar, &part, now, false);
            }
        }
        Ok(id)
    }

    fn remove_silently(&mut self, calendar: &str, id: &str) {
        if let Some(calendar) = self.agenda.calendars.get_mut(calendar) {
            calendar.copies.remove(id);
        }
    }

    fn remove_from(&mut self, calendar: &str, id: &str, now: Timestamp, by_owner: bool) {
        if let Some(calendar) = self.agenda.calendars.get_mut(calendar).filter(|known| known.copies.contains_key(id)) {
            calendar.touch(id, now, |copy| (copy.gone, copy.removed_by_owner) = (true, by_owner));
        }
        self.calendar_changed(calendar);
    }

    /// The events of a calendar that a person sees as the calendar's page shows them: occurrences, first ones first.
    pub fn occurrences(&self, calendar: &str, from: Timestamp, until: Timestamp) -> Vec<Event> {
        let Some(calendar) = self.agenda.calendars.get(calendar) else { return Vec::new() };
        let zone = zone_of(&calendar.zone);
        let copies = calendar.copies.iter().filter(|(_, copy)| !copy.gone);
        let events = copies.filter_map(|(id, _)| self.agenda.events.get(id)).filter(|event| !event.cancelled);
        let within = |event: &Event| {
            let (start, end) = event.bounds(&zone);
            start < until && end > from
        };
        let mut found: Vec<Event> = events
            .flat_map(|event| match event.rule {
                None => vec![event.clone()],
                Some(_) => {
                    let excepted: Vec<&Moment> = self
                        .agenda
                        .exceptions(&event.id)
                        .filter_map(|other| Some(&other.slot.as_ref()?.original))
                        .collect();
                    let slots = event.slots(until).into_iter().filter(|slot| !excepted.contains(&slot));
                    slots.map(|slot| event.at(&slot)).collect()
                }
            })
            .filter(within)
            .collect();
        found.sort_by_key(|event| (event.bounds(&zone).0, event.id.clone()));
        found
    }
}

fn one_of(name: &str, word: &str, known: &[&str]) -> Result<(), AgendaError> {
    if known.contains(&word) {
        return Ok(());
    }
    Err(wrong(format!("`{name}` is `{word}`; it may be {}", known.join(", "))))
}

fn check_length(length: Option<u32>) -> Result<(), AgendaError> {
    match length {
        Some(0 | SPAN_MAX..) => Err(wrong(format!("`length` must be 1 to {SPAN_MAX} days or minutes"))),
        _ => Ok(()),
    }
}

fn usual_length(start: &Moment) -> u32 {
    if matches!(start, Moment::Day(_)) { 1 } else { 30 }
}

/// A series begins with its first occurrence: RFC 5545 leaves open what else would be meant.
fn check_rule(event: &Event) -> Result<(), AgendaError> {
    let Some(rule) = &event.rule else { return Ok(()) };
    if rule.occurrences(&event.start).next().as_ref() == Some(&event.start) {
        return Ok(());
    }
    Err(wrong(format!("a series begins with its first occurrence; move `start` to a day of the rule `{rule}`")))
}

/// The event that somebody wrote.
pub(crate) fn written(
    entry: &EventEntry,
    person: &Person,
    home: &str,
    zone: &str,
    now: Timestamp,
    dice: &mut Dice,
) -> Result<Event, AgendaError> {
    let zone = if entry.zone.is_empty() { zone } else { entry.zone.as_str() };
    let start = Moment::parse(&entry.start, zone).map_err(wrong)?;
    let kind = if entry.kind.is_empty() { "default" } else { entry.kind.as_str() };
    let visibility = if entry.visibility.is_empty() { "default" } else { entry.visibility.as_str() };
    one_of("kind", kind, &KINDS)?;
    one_of("visibility", visibility, &VISIBILITIES)?;
    check_length(entry.length)?;
    if [&entry.title, &entry.location, &entry.description, &entry.office].iter().any(|text| text.len() > TEXT_BYTES_MAX)
    {
        return Err(wrong(format!("a title, place or text may have {TEXT_BYTES_MAX} bytes")));
    }
    if entry.guests.len() >= GUESTS_MAX {
        return Err(wrong(format!("an event may have {GUESTS_MAX} guests")));
    }
    let rule = Some(entry.rule.as_str()).filter(|rule| !rule.is_empty());
    let mut guests: Vec<Guest> = Vec::new();
    for email in entry.guests.iter().map(|email| email.trim()).filter(|email| !email.is_empty()) {
        if !email.contains('@') {
            return Err(wrong(format!("`{email}` is no address; write it as name@example.com")));
        }
        let answer = if person.has_address(email) { "accepted" } else { "needsAction" };
        guests.push(Guest { email: email.to_owned(), answer: answer.to_owned(), optional: false });
    }
    if !guests.is_empty() && !guests.iter().any(|guest| person.has_address(&guest.email)) {
        guests.insert(0, Guest { email: person.email.clone(), answer: "accepted".into(), optional: false });
    }
    let event = Event {
        id: event_id(dice),
        kind: kind.to_owned(),
        title: entry.title.clone(),
        description: entry.description.clone(),
        location: entry.location.clone(),
        span: entry.length.unwrap_or_else(|| usual_length(&start)),
        start,
        rule: rule.map(Rule::parse).transpose().map_err(wrong)?,
        except: Vec::new(),
        slot: None,
        cancelled: false,
        visibility: visibility.to_owned(),
        free: entry.free,
        organizer: person.email.clone(),
        home: home.to_owned(),
        guests,
        guests_hidden: entry.guests_hidden,
        call: entry.call,
        office: entry.office.clone(),
        created_at: now,
        updated_at: now,
        sequence: 0,
        former: Vec::new(),
        was_single: false,
    };
    check_rule(&event)?;
    Ok(event)
}

/// Google's event ids have 26 letters of base 32.
fn event_id(dice: &mut Dice) -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    (0..26).map(|_| char::from(LETTERS[dice.index(LETTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::empty_world;

    fn plan(world: &mut World, email: &str, json: &str) -> Result<String, AgendaError> {
        world.plan(email, &serde_json::from_str(json).unwrap())
    }

    const SERIES: &str = r#"{"action":"create","event":{"title":"Stand-up","start":"2026-11-09T09:00",
        "rule":"FREQ=WEEKLY;COUNT=4","guests":["bo@example.com"]}}"#;

    fn titles(world: &World, calendar: &str) -> Vec<(String, String)> {
        let far = world.horizon();
        let found = world.occurrences(calendar, Timestamp::UNIX_EPOCH, far);
        found.into_iter().map(|event| (event.start.stamp(), event.title)).collect()
    }

    #[test]
    fn a_moved_and_a_cancelled_occurrence_are_the_same_for_all_guests() {
        let mut world = empty_world();
        let id = plan(&mut world, "ines@example.com", SERIES).unwrap();
        let second = format!(r#"{{"action":"move","id":"{id}_20261116T080000Z","start":"2026-11-17T10:00"}}"#);
        plan(&mut world, "ines@example.com", &second).unwrap();
        let third = format!(r#"{{"action":"delete","id":"{id}_20261123T080000Z"}}"#);
        plan(&mut world, "ines@example.com", &third).unwrap();
        let expected = ["20261109T080000Z", "20261117T090000Z", "20261130T080000Z"];
        for calendar in ["ines@example.com", "bo@example.com"] {
            let stamps: Vec<String> = titles(&world, calendar).into_iter().map(|(stamp, _)| stamp).collect();
            assert_eq!(stamps, expected, "{calendar}");
        }
        plan(&mut world, "ines@example.com", &format!(r#"{{"action":"delete","id":"{id}"}}"#)).unwrap();
        assert!(titles(&world, "bo@example.com").is_empty());
        assert_eq!(world.agenda.calendars["bo@example.com"].copies.len(), 1, "exceptions go with their series");
    }

    #[test]
    fn a_guest_answers_and_removes_only_for_themselves() {
        let mut world = empty_world();
        let id = plan(&mut world, "ines@example.com", SERIES).unwrap();
        let decline = format!(r#"{{"action":"answer","id":"{id}_20261109T080000Z","answer":"declined"}}"#);
        plan(&mut world, "bo@example.com", &decline).unwrap();
        let exception = &world.agenda.events[&format!("{id}_20261109T080000Z")];
        assert_eq!(exception.guests[1].answer, "declined");
        assert_eq!(world.agenda.events[&id].guests[1].answer, "needsAction");
        plan(&mut world, "bo@example.com", &format!(r#"{{"action":"delete","id":"{id}"}}"#)).unwrap();
        assert_eq!(titles(&world, "ines@example.com").len(), 4);
        assert!(titles(&world, "bo@example.com").is_empty());
        let foreign = plan(&mut world, "bo@example.com", &format!(r#"{{"action":"edit","id":"{id}","title":"x"}}"#));
        assert_eq!(foreign, Err(AgendaError::NotOrganizer(id)));
    }

    #[test]
    fn a_series_that_moves_takes_along_what_still_fits() {
        let mut world = empty_world();
        let id = plan(&mut world, "ines@example.com", SERIES).unwrap();
        plan(&mut world, "ines@example.com", &format!(r#"{{"action":"delete","id":"{id}_20261116T080000Z"}}"#))
            .unwrap();
        let shorter = format!(r#"{{"action":"edit","id":"{id}","rule":"FREQ=WEEKLY;COUNT=3"}}"#);
        plan(&mut world, "ines@example.com", &shorter).unwrap();
        assert_eq!(titles(&world, "ines@example.com").len(), 2, "the cancelled occurrence stays cancelled");
        assert_eq!(world.agenda.events[&id].former.len(), 1);
        let moved = format!(r#"{{"action":"move","id":"{id}","start":"2026-11-09T11:00"}}"#);
        plan(&mut world, "ines@example.com", &moved).unwrap();
        assert_eq!(
            titles(&world, "ines@example.com").len(),
            3,
            "the exception of an occurrence that is no more is no more"
        );
    }

    #[test]
    fn what_cannot_be_says_why() {
        let mut world = empty_world();
        let mut error = |json: &str| plan(&mut world, "ines@example.com", json).unwrap_err().to_string();
        let create = |rest: &str| format!(r#"{{"action":"create","event":{{"title":"x",{rest}}}}}"#);
        assert!(error(&create(r#""start":"2026-11-10","rule":"FREQ=WEEKLY;BYDAY=MO""#)).contains("first occurrence"));
        assert!(error(&create(r#""start":"2026-11-10","rule":"FREQ=SECONDLY""#)).contains("DAILY, WEEKLY"));
        assert!(error(&create(r#""start":"tomorrow""#)).contains("2026-11-02T09:00"));
        assert!(error(&create(r#""start":"2026-11-10","kind":"party""#)).contains("workingLocation"));
        assert!(error(&create(r#""start":"2026-11-10","guests":["bo"]"#)).contains("name@example.com"));
        assert!(error(&create(r#""start":"2026-11-10","length":0"#)).contains("1 to"));
        assert!(error(r#"{"action":"delete","id":"none_20261109"}"#).contains("no event"));
        assert!(
            error(r#"{"action":"create","calendar":"bo@example.com","event":{"start":"2026-11-10"}}"#).contains("may")
        );
    }
}

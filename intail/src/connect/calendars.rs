//! How a person's calendars stand, computed from their rows every time it is shown.

use jiff::Timestamp;

use crate::id::PersonId;
use crate::store::agendas::{self, Agenda};
use crate::store::calendars::{self, CALENDARS_MAX, Calendar, CalendarState};
use crate::store::{StoreError, Tx, channels, events};

/// How Intail learns of changes in a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Google tells, over a channel through which a notice has come and that hasn't ended.
    Told,
    /// Intail looks, at the calendar's own pace.
    Looking,
}

impl Mode {
    /// The API's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Looking => "looking",
        }
    }
}

/// How one calendar stands.
#[derive(Clone, Debug)]
pub struct CalendarStanding {
    /// Its row.
    pub calendar: Calendar,
    /// Events that are stored of it; a series counts once.
    pub events: i64,
    /// How Intail learns of its changes.
    pub mode: Mode,
}

impl CalendarStanding {
    /// Whether everything that Google shows of it is here: it was read to its end, and nothing stands in the way.
    pub fn is_complete(&self) -> bool {
        let calendar = &self.calendar;
        let is_read = calendar.state == CalendarState::Live && calendar.synced_at.is_some();
        is_read && calendar.problem.is_none() && calendar.unreadable == 0
    }
}

/// How all of a person's calendars stand.
#[derive(Clone, Debug)]
pub struct AgendaStanding {
    /// The agenda's row.
    pub agenda: Agenda,
    /// Its calendars, the person's own first.
    pub calendars: Vec<CalendarStanding>,
    /// Events that are stored.
    pub events: i64,
    /// Of these, private ones of which only the time is stored.
    pub busy_only: i64,
}

impl AgendaStanding {
    /// The calendars that are copied.
    pub fn followed(&self) -> impl Iterator<Item = &CalendarStanding> {
        self.calendars.iter().filter(|it| it.calendar.is_followed())
    }

    /// Whether the list and each followed calendar was read to its end at least once.
    pub fn has_advanced(&self) -> bool {
        self.agenda.listed_at.is_some() && self.followed().all(|it| it.calendar.synced_at.is_some())
    }

    /// As of when the copy is: the calendar that was read longest ago.
    pub fn as_of(&self) -> Option<Timestamp> {
        // The list has a time of its own: it says which calendars there are, and is read every two hours.
        self.agenda.listed_at?;
        let mut read = self.followed().map(|it| it.calendar.synced_at);
        let first = read.next().unwrap_or(self.agenda.listed_at)?;
        read.try_fold(first, |oldest, at| Some(oldest.min(at?)))
    }

    /// How Intail learns of changes: told only if that goes for each calendar that is copied.
    pub fn mode(&self) -> Mode {
        let mut followed = self.followed().peekable();
        let all = followed.peek().is_some() && followed.all(|it| it.mode == Mode::Told);
        if all { Mode::Told } else { Mode::Looking }
    }
}

/// A person's calendars; none when they were never permitted.
pub(super) async fn of_person(
    tx: &mut Tx,
    person: &PersonId,
    connected_at: Timestamp,
    now: Timestamp,
) -> Result<Option<AgendaStanding>, StoreError> {
    let Some(agenda) = agendas::by_person(tx, person).await? else { return Ok(None) };
    let open = channels::of_agenda(tx, &agenda.id, 2 * CALENDARS_MAX).await?;
    let counts = events::counts_by_calendar(tx, &agenda.id).await?;
    let mut standing = AgendaStanding { agenda, calendars: Vec::new(), events: 0, busy_only: 0 };
    for calendar in calendars::of_agenda(tx, &standing.agenda.id, CALENDARS_MAX).await? {
        let is_told = open.iter().any(|it| it.calendar_id == calendar.id && it.tells(connected_at, now));
        let mode = if is_told { Mode::Told } else { Mode::Looking };
        let (events, _) = counts.get(&calendar.id).copied().unwrap_or_default();
        standing.calendars.push(CalendarStanding { calendar, events, mode });
    }
    standing.events = counts.values().map(|(events, _)| events).sum();
    standing.busy_only = counts.values().map(|(_, busy)| busy).sum();
    Ok(Some(standing))
}

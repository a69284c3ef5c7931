//! The API's part about calendars: which there are, and what is provably complete of each. Events in a window are the
//! agenda's.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Web;
use super::super::access::Caller;
use super::super::asked::At;
use super::super::trouble::{self, Problem, Trouble};
use super::super::week::only_time_is_known;
use super::shapes::{FailingShape, waits_for};
use crate::connect::{self, AgendaStanding, CalendarStanding, Standstill};
use crate::store::events::{Event, Moment};
use crate::sync::Waits;
use crate::sync::calendar_plan::tried_again_at;

/// All calendars in the caller's list.
#[derive(Serialize, ToSchema)]
#[schema(as = Calendars)]
pub(in crate::web) struct CalendarsShape {
    /// The calendars, the person's own first.
    calendars: Vec<CalendarShape>,
}

/// How a person's calendars stand together.
#[derive(Serialize, ToSchema)]
#[schema(as = AgendaStanding)]
pub(in crate::web) struct AgendaShape {
    /// Its id in the feed: stays the same when the person reconnects.
    id: String,
    /// Calendars that are copied.
    calendars_followed: i64,
    /// Calendars of Google's list of which nothing could be read, when the whole list was read last and since; it is
    /// read whole every two hours until there are none.
    calendars_unreadable: i64,
    /// Events that are stored; a series counts once.
    events_stored: i64,
    /// Of these, private ones of which only the time is stored, by the privacy settings.
    events_busy_only: i64,
    /// As of when the copy is: the calendar that was read longest ago; null while one was never read whole.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
    /// `told` when Google tells of changes in every calendar, `looking` when Intail looks by itself.
    mode: &'static str,
    /// What stands in the way of all calendars, in one word; null when nothing does.
    problem: Option<String>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    problem_since: Option<Timestamp>,
    /// What they wait for now: `calendars` when Google asked to slow down with this person's, `project` when Google
    /// wants no questions about anybody's, `day` when so much of today's allowance is used up that calendars that are
    /// new here, or what Google doesn't tell of, are read with the next day; null while nothing waits.
    waits_for: Option<&'static str>,
    /// Until when they wait.
    #[schema(value_type = Option<String>, format = DateTime)]
    waits_until: Option<Timestamp>,
    /// Since when calendars can't be read although the connection works; null while they can be.
    failing: Option<FailingShape>,
}

/// A calendar in the person's list.
#[derive(Serialize, ToSchema)]
#[schema(as = Calendar)]
pub(in crate::web) struct CalendarShape {
    /// Google's id.
    id: String,
    /// What the person calls it, or else its name.
    title: String,
    /// Its name.
    name: String,
    /// The IANA name of its time zone.
    zone: String,
    /// `freeBusyReader`, `reader`, `writerWithoutPrivateAccess`, `writer`, `owner`, or a word that is new.
    access_role: String,
    /// Whether it is the person's own first calendar.
    primary: bool,
    /// Whether it is copied: what Google shows, unless the person chose otherwise.
    followed: bool,
    /// `follow` or `leave` when the person chose; null when Google's list decides.
    choice: Option<&'static str>,
    /// `idle`, `backfilling`, `live`, `reconciling` or `dropping`.
    state: &'static str,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    state_since: Timestamp,
    /// How far the copy is.
    coverage: CalendarCoverageShape,
}

/// What is provably complete of a calendar's copy.
#[derive(Serialize, ToSchema)]
#[schema(as = CalendarCoverage)]
pub(in crate::web) struct CalendarCoverageShape {
    /// Whether everything that Google shows of it is here.
    complete: bool,
    /// Up to when: it was last read to its end then.
    #[schema(value_type = Option<String>, format = DateTime)]
    complete_to: Option<Timestamp>,
    /// Events that are stored; a series counts once.
    events_stored: i64,
    /// Events that Google showed since everything was read last, and that couldn't be read; one that changed meanwhile
    /// counts again.
    events_unreadable: i64,
    /// When everything is read again because of these; null while nothing is unreadable, or while that is going on.
    #[schema(value_type = Option<String>, format = DateTime)]
    unreadable_retry_at: Option<Timestamp>,
    /// When it is looked at next.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_look_at: Option<Timestamp>,
    /// `told` when Google tells of its changes, `looking` when Intail looks by itself.
    mode: &'static str,
    /// Why it can't be read, in one word; null when it can.
    problem: Option<String>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    problem_since: Option<Timestamp>,
}

/// An event as it is stored: a single one, a series, or an occurrence that differs from its series.
#[derive(Serialize, ToSchema)]
#[schema(as = StoredEvent)]
pub(in crate::web) struct EventShape {
    /// Google's id of the calendar.
    calendar_id: String,
    /// Google's id of the event.
    id: String,
    /// Changes with the event.
    etag: String,
    /// `confirmed`, `tentative`, `cancelled` (an occurrence that doesn't take place), or a word that is new.
    status: String,
    /// `default`, `birthday`, `focusTime`, `fromGmail`, `outOfOffice`, `workingLocation`, or a word that is new.
    kind: String,
    /// The title; empty when it may not be seen or kept.
    summary: String,
    /// The place.
    location: String,
    /// When it begins: a day, or an instant.
    starts: Option<String>,
    /// When it ends; an all-day event ends before this day.
    ends: Option<String>,
    /// The IANA name of the zone in which a series repeats.
    zone: String,
    /// The lines of a series' rule.
    recurrence: Vec<String>,
    /// The series that this is an occurrence of.
    series_id: Option<String>,
    /// Which occurrence it is: when it would begin if nobody had moved it.
    original: Option<String>,
    /// Whether only its time is known of a private event: Google shows the person no more of it, or the privacy
    /// settings keep no more. Of a calendar whose `access_role` is `freeBusyReader`, no event is known any better.
    busy_only: bool,
}

impl EventShape {
    pub(in crate::web) fn of(event: &Event) -> Self {
        let moment = |it: Option<Moment>| match it {
            Some(Moment::Day(day)) => Some(day.to_string()),
            Some(Moment::At(at)) => Some(at.to_string()),
            None => None,
        };
        Self {
            calendar_id: event.calendar_id.clone(),
            id: event.id.clone(),
            etag: event.etag.clone(),
            status: event.status.clone(),
            kind: event.kind.clone(),
            summary: event.summary.clone(),
            location: event.location.clone(),
            starts: moment(event.starts),
            ends: moment(event.ends),
            zone: event.zone.clone(),
            recurrence: event.recurrence.clone(),
            series_id: event.series_id.clone(),
            original: moment(event.original),
            busy_only: only_time_is_known(event),
        }
    }
}

impl AgendaShape {
    pub(super) fn of(standing: &AgendaStanding, standstill: Option<&Standstill>, waits: Option<Waits>) -> Self {
        Self {
            id: standing.agenda.id.to_string(),
            calendars_followed: i64::try_from(standing.followed().count()).unwrap_or(i64::MAX),
            calendars_unreadable: standing.agenda.list_unreadable,
            events_stored: standing.events,
            events_busy_only: standing.busy_only,
            as_of: standing.as_of(),
            mode: standing.mode().word(),
            problem: standing.agenda.problem.clone(),
            problem_since: standing.agenda.problem_since,
            waits_for: waits.map(|it| waits_for(it, "calendars")),
            waits_until: waits.map(Waits::until),
            failing: standstill.map(FailingShape::of),
        }
    }
}

impl CalendarShape {
    fn of(standing: &CalendarStanding) -> Self {
        let calendar = &standing.calendar;
        Self {
            id: calendar.id.clone(),
            title: calendar.title().to_owned(),
            name: calendar.entry.name.clone(),
            zone: calendar.entry.zone.clone(),
            access_role: calendar.entry.access_role.clone(),
            primary: calendar.entry.is_primary,
            followed: calendar.is_followed(),
            choice: calendar.choice.map(crate::store::calendars::Choice::word),
            state: calendar.state.word(),
            state_since: calendar.state_since,
            coverage: CalendarCoverageShape::of(standing),
        }
    }
}

impl CalendarCoverageShape {
    fn of(standing: &CalendarStanding) -> Self {
        let calendar = &standing.calendar;
        Self {
            complete: standing.is_complete(),
            complete_to: calendar.synced_at,
            events_stored: standing.events,
            events_unreadable: calendar.unreadable,
            unreadable_retry_at: Some(calendar).filter(|it| it.is_followed()).and_then(tried_again_at),
            next_look_at: calendar.look_at,
            mode: standing.mode.word(),
            problem: calendar.problem.clone(),
            problem_since: calendar.problem_since,
        }
    }
}

/// The caller's calendars.
#[utoipa::path(get, path = "/api/v1/calendars", tag = "calendar", responses(
    (status = 200, body = CalendarsShape),
    (status = 401, content_type = "application/problem+json", body = Problem),
))]
pub(in crate::web) async fn calendars(State(web): State<Web>, caller: Caller) -> Result<Json<CalendarsShape>, Trouble> {
    let all = standing(&web, &caller).await?.map(|it| it.calendars).unwrap_or_default();
    Ok(Json(CalendarsShape { calendars: all.iter().map(CalendarShape::of).collect() }))
}

/// What is provably complete of a calendar's copy.
#[utoipa::path(get, path = "/api/v1/calendars/{id}/coverage", tag = "calendar",
    params(("id" = String, Path, description = "Google's id of the calendar.")),
    responses(
        (status = 200, body = CalendarCoverageShape),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(in crate::web) async fn coverage(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Json<CalendarCoverageShape>, Trouble> {
    let all = standing(&web, &caller).await?.map(|it| it.calendars).unwrap_or_default();
    let found = all.iter().find(|it| it.calendar.id == id);
    found.map(|it| Json(CalendarCoverageShape::of(it))).ok_or_else(|| trouble::not_there("calendar"))
}

async fn standing(web: &Web, caller: &Caller) -> Result<Option<AgendaStanding>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = connect::connection(&mut tx, &caller.person.id, web.app.clock.now()).await?;
    Ok(connection.and_then(|it| it.agenda))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_hidden_by_google_or_by_the_settings_the_feed_says_that_only_the_time_is_known() {
        let event = |visibility: &str, summary: &str| Event {
            visibility: visibility.to_owned(),
            summary: summary.to_owned(),
            ..Event::default()
        };
        for (event, busy_only) in [
            (event("private", ""), true),
            (Event { is_busy_only: true, ..event("default", "") }, true),
            (event("private", "Tea"), false),
            (event("default", ""), false),
        ] {
            let shape = EventShape::of(&event);
            assert_eq!((shape.busy_only, shape.summary), (busy_only, event.summary.clone()), "{event:?}");
        }
    }
}

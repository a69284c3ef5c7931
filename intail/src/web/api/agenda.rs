//! `GET /api/v1/agenda`: what the person's calendars show in a window, series expanded. A reader must not remove or
//! rename a field within v1.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agenda::{self, Occurrence, WINDOW_DAYS_MAX, Window, day_begins};
use crate::store::events::{Attendee, Event, Link, Moment};
use crate::web::Web;
use crate::web::access::Caller;
use crate::web::asked::Asked;
use crate::web::calendar::{Held, zone};
use crate::web::colleagues::{self, Colleagues};
use crate::web::trouble::{self, Problem, Trouble};
use crate::web::week::only_time_is_known;

/// From when until before when, and where the asker is.
#[derive(Deserialize)]
pub(in crate::web) struct Between {
    from: Option<String>,
    until: Option<String>,
    zone: Option<String>,
}

/// An agenda.
#[derive(Serialize, ToSchema)]
#[schema(as = Agenda)]
pub(in crate::web) struct AgendaShape {
    /// The IANA name of the zone in which days were taken.
    zone: String,
    /// Nothing that ended before this is in it.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Nothing that begins then or later is in it.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// What takes place, in the order of its beginning.
    occurrences: Vec<OccurrenceShape>,
    /// Series of which only the beginning is shown, because their repetition can't be.
    unreadable: Vec<UnreadableShape>,
    /// Whether that is all. Otherwise there was more than one answer may have: ask for less time.
    complete: bool,
}

/// Something that takes place.
#[derive(Serialize, ToSchema)]
#[schema(as = Occurrence)]
struct OccurrenceShape {
    /// When it begins: an instant, or a day such as `2026-11-25`.
    starts: String,
    /// When it ends; an all-day event ends before this day.
    ends: String,
    /// Whether it is made of whole days, wherever the reader is.
    all_day: bool,
    /// Which occurrence of its series it is: when it would begin if nobody had moved it.
    slot: Option<String>,
    /// What the person answered: `needsAction`, `declined`, `tentative`, `accepted`, or a word that is new.
    own_answer: Option<String>,
    /// The event: a single one, the series, or the occurrence as it was changed.
    event: EventShape,
}

/// An event.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct EventShape {
    /// The calendar's id.
    calendar_id: String,
    /// The event's id, unique within its calendar.
    id: String,
    /// The series that this is a changed occurrence of.
    series_id: Option<String>,
    /// `confirmed`, `tentative`, or a word that is new.
    status: String,
    /// `default`, `birthday`, `focusTime`, `fromGmail`, `outOfOffice`, `workingLocation`, or a word that is new.
    kind: String,
    /// The title; empty when there is none, or when it may not be seen or kept.
    summary: String,
    /// Where it is.
    location: String,
    /// `RRULE`, `EXRULE`, `RDATE` and `EXDATE` lines; only a series has them.
    recurrence: Vec<String>,
    /// `opaque` blocks time, `transparent` doesn't.
    transparency: String,
    /// `default`, `public`, `private`, `confidential`, or a word that is new.
    visibility: String,
    /// Whether only its time is known: Google shows the person no more of it, as of what others call private, or the
    /// privacy settings keep no more.
    busy_only: bool,
    /// Whose event it is.
    organizer: PartyShape,
    /// Who is invited.
    attendees: Vec<AttendeeShape>,
    /// Whether not everybody who is invited stands there.
    attendees_omitted: bool,
    /// How to take part from afar, and the event's page at Google.
    links: Vec<LinkShape>,
    /// What the call is held with, such as `Google Meet`; empty when unknown.
    conference: String,
    /// The IANA name of the zone in which it was entered, in which a series repeats; empty when unknown.
    zone: String,
    /// Where somebody works, of a `workingLocation`: `homeOffice`, `officeLocation`, `customLocation`, or a word that
    /// is new; else empty.
    work_kind: String,
    /// What that place is called.
    work_place: String,
    /// Which invitations are declined meanwhile, of `outOfOffice` and `focusTime`: `declineNone`,
    /// `declineAllConflictingInvitations`, `declineOnlyNewConflictingInvitations`, or a word that is new; else empty.
    declines: String,
    /// What is celebrated, of a `birthday`: `birthday`, `anniversary`, `self`, `other`, `custom`, or a word that is
    /// new; else empty.
    birthday_kind: String,
    /// Whether guests don't see each other.
    guests_hidden: bool,
    /// Whether the end is only Google's guess.
    end_unspecified: bool,
}

/// Somebody.
#[derive(Serialize, ToSchema)]
#[schema(as = Party)]
struct PartyShape {
    /// The address; it may be generated and lead nowhere.
    address: String,
    /// The colleague's id in the directory, whichever of their addresses this is. Null for everybody else, for whom the
    /// directory hides, and for whoever didn't permit the directory.
    person_id: Option<String>,
    /// The name.
    name: String,
}

/// Somebody who is invited, or a room.
#[derive(Serialize, ToSchema)]
#[schema(as = Attendee)]
struct AttendeeShape {
    /// The address.
    address: String,
    /// The colleague's id in the directory, as an organizer's; null for a room or a thing, too.
    person_id: Option<String>,
    /// The name.
    name: String,
    /// `needsAction`, `declined`, `tentative`, `accepted`, or a word that is new.
    answer: String,
    /// Whether it is the person whose calendar this is.
    own: bool,
    /// Whether it is a room or a thing.
    resource: bool,
    /// Whether it works without them.
    optional: bool,
}

/// A way to take part.
#[derive(Serialize, ToSchema)]
#[schema(as = EventLink)]
struct LinkShape {
    /// `video`, `phone`, `sip`, `more`, or a word that is new; `page` is the event's own page at Google.
    kind: String,
    /// The address. Written by others: don't follow it blindly.
    uri: String,
    /// What people read.
    label: String,
}

/// A series that is shown at its beginning only.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadableSeries)]
struct UnreadableShape {
    /// The calendar's id.
    calendar_id: String,
    /// The series' id.
    event_id: String,
    /// Why, as the end of a sentence.
    why: String,
}

fn written(moment: Moment) -> String {
    match moment {
        Moment::Day(day) => day.to_string(),
        Moment::At(at) => at.to_string(),
    }
}

impl OccurrenceShape {
    fn of(it: &Occurrence, busy_only: &BTreeSet<&str>, colleagues: &Colleagues) -> Self {
        Self {
            starts: written(it.starts),
            ends: written(it.ends),
            all_day: it.is_all_day(),
            slot: it.slot.map(written),
            own_answer: it.own_answer().map(str::to_owned),
            event: EventShape::of(&it.event, busy_only, colleagues),
        }
    }
}

impl EventShape {
    /// `busy_only` are the calendars of which only busy times are seen.
    fn of(it: &Event, busy_only: &BTreeSet<&str>, colleagues: &Colleagues) -> Self {
        let party = PartyShape {
            address: it.organizer.address.clone(),
            person_id: colleagues.person_id(&it.organizer.address),
            name: it.organizer.name.clone(),
        };
        Self {
            calendar_id: it.calendar_id.clone(),
            id: it.id.clone(),
            series_id: it.series_id.clone(),
            status: it.status.clone(),
            kind: it.kind.clone(),
            summary: it.summary.clone(),
            location: it.location.clone(),
            recurrence: it.recurrence.clone(),
            transparency: it.transparency.clone(),
            visibility: it.visibility.clone(),
            busy_only: busy_only.contains(it.calendar_id.as_str()) || only_time_is_known(it),
            organizer: party,
            attendees: it.attendees.iter().map(|it| AttendeeShape::of(it, colleagues)).collect(),
            attendees_omitted: it.attendees_omitted,
            links: it.links.iter().map(LinkShape::of).collect(),
            conference: it.details.conference.clone(),
            zone: it.zone.clone(),
            work_kind: it.details.work_kind.clone(),
            work_place: it.details.work_place.clone(),
            declines: it.details.declines.clone(),
            birthday_kind: it.details.birthday_kind.clone(),
            guests_hidden: it.details.guests_hidden,
            end_unspecified: it.details.end_unspecified,
        }
    }
}

impl AttendeeShape {
    fn of(it: &Attendee, colleagues: &Colleagues) -> Self {
        Self {
            address: it.address.clone(),
            person_id: colleagues.person_id(&it.address).filter(|_| !it.resource),
            name: it.name.clone(),
            answer: it.answer.clone(),
            own: it.own,
            resource: it.resource,
            optional: it.optional,
        }
    }
}

impl LinkShape {
    fn of(it: &Link) -> Self {
        Self { kind: it.kind.clone(), uri: it.uri.clone(), label: it.label.clone() }
    }
}

/// What the person's calendars show from one day or instant until before another, series expanded.
#[utoipa::path(get, path = "/api/v1/agenda", tag = "calendar",
    params(
        ("from" = String, Query, description = "A day such as `2026-11-23`, or an instant with its offset."),
        ("until" = String, Query, description = "The same; not itself part of it. At most 62 days after `from`."),
        ("zone" = Option<String>, Query, description = "The IANA name of the zone in which days are taken, and all-day
            events with them; without it, the one of the person's own calendar."),
    ),
    responses(
        (status = 200, body = AgendaShape),
        (status = 400, content_type = "application/problem+json", body = Problem),
        (status = 401, content_type = "application/problem+json", body = Problem),
        (status = 404, content_type = "application/problem+json", body = Problem),
    ))]
pub(in crate::web) async fn agenda(
    State(web): State<Web>,
    caller: Caller,
    Asked(between): Asked<Between>,
) -> Result<Json<AgendaShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let held = Held::of(&mut tx, &caller).await?.ok_or_else(|| trouble::not_there("calendar"))?;
    let (zone_name, zone) = zone(between.zone.as_deref(), held.own_zone())?;
    let window = window(between.from.as_deref(), between.until.as_deref(), zone)?;
    let found = agenda::over(&mut tx, &held.agenda.id, &held.shown(), &window).await?;
    let guests = colleagues::guests(found.occurrences.iter().map(|it| &*it.event));
    let colleagues = Colleagues::of(&mut tx, &caller, guests).await?;
    let busy_only = held.busy_only();
    let unreadable = found.unreadable.iter().map(|(event, why)| UnreadableShape {
        calendar_id: event.calendar_id.clone(),
        event_id: event.id.clone(),
        why: why.to_string(),
    });
    Ok(Json(AgendaShape {
        zone: zone_name,
        from: window.from,
        until: window.until,
        occurrences: found.occurrences.iter().map(|it| OccurrenceShape::of(it, &busy_only, &colleagues)).collect(),
        unreadable: unreadable.collect(),
        complete: found.is_complete,
    }))
}

fn window(from: Option<&str>, until: Option<&str>, zone: TimeZone) -> Result<Window, Trouble> {
    let at = |name: &str, text: Option<&str>| {
        let text = text.unwrap_or_default();
        let day = || Date::strptime("%Y-%m-%d", text).ok().map(|day| day_begins(day, &zone));
        let found = text.parse::<Timestamp>().ok().or_else(day);
        found.ok_or_else(|| {
            let how = "a day such as 2026-11-25, or an instant such as 2026-11-25T09:00:00+01:00";
            trouble::not_understood(&format!("`{name}` is {how}."))
        })
    };
    let (from, until) = (at("from", from)?, at("until", until)?);
    let longest = SignedDuration::from_hours(24 * WINDOW_DAYS_MAX + 1);
    if until <= from || until.duration_since(from) > longest {
        let most = format!("`until` must come after `from`, at most {WINDOW_DAYS_MAX} days.");
        return Err(trouble::not_understood(&most));
    }
    Ok(Window { from, until, zone })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_made_of_days_or_instants_and_bounded() {
        let berlin = || TimeZone::get("Europe/Berlin").expect("a zone");
        let of = |from: &str, until: &str| window(Some(from), Some(until), berlin()).ok().map(|it| (it.from, it.until));
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let week = (at("2026-03-22T23:00:00Z"), at("2026-03-29T22:00:00Z"));
        assert_eq!(of("2026-03-23", "2026-03-30"), Some(week));
        assert_eq!(of("2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"), Some(week));
        assert!(of("2026-09-01", "2026-11-02").is_some(), "62 days, one of which has 25 hours");
        for (from, until) in [
            ("2026-01-01", "2026-03-05"),
            ("2026-01-02", "2026-01-01"),
            ("2026-01-01", "2026-01-01"),
            ("2026-01-01T09:00:00", "2026-01-02"),
            ("soon", "2026-01-02"),
            ("", ""),
        ] {
            assert_eq!(of(from, until), None, "{from} {until}");
        }
    }
}

//! Events: what is in people's calendars. A series, and each occurrence that differs from it, is a row of its own; rows
//! say within which time they can show anything, so that a window is read without expanding what lies elsewhere.
//!
//! What a reader must not break: an occurrence that was cancelled stays for the life of its series, or the series would
//! bring it back. No column can hold a description, an attachment or a conference's code.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::sql::{Columns, Tx, Value, args};
use crate::id::{AgendaId, OrganizationId};

/// Values of one row.
const ROW_VALUES: usize = 33;
/// How far a day begins before, or ends after, the same day in UTC somewhere on Earth.
pub const DAY_MARGIN: SignedDuration = SignedDuration::from_hours(14);

/// A day, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A whole day, wherever the reader is.
    Day(Date),
    /// An instant.
    At(Timestamp),
}

impl Moment {
    /// The instant; a day begins where it is UTC.
    pub fn instant(self) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Day(day) => day.to_zoned(jiff::tz::TimeZone::UTC).map_or(Timestamp::MIN, |it| it.timestamp()),
        }
    }
}

/// An event, as it is stored. Texts are bounded and hostile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The calendar's id.
    pub calendar_id: String,
    /// Its id, unique within the calendar.
    pub id: String,
    /// Changes with the event.
    pub etag: String,
    /// `confirmed`, `tentative`, `cancelled`, or a word that is new.
    pub status: String,
    /// `default`, `birthday`, `focusTime`, `fromGmail`, `outOfOffice`, `workingLocation`, or a word that is new.
    pub kind: String,
    /// The title; empty when there is none, or when it may not be seen or kept.
    pub summary: String,
    /// Where it is.
    pub location: String,
    /// When it begins; none of a cancelled occurrence.
    pub starts: Option<Moment>,
    /// When it ends; an all-day event ends before this day.
    pub ends: Option<Moment>,
    /// The IANA name of the zone in which it was entered, in which a series repeats; empty when unknown.
    pub zone: String,
    /// `RRULE`, `EXRULE`, `RDATE` and `EXDATE` lines; only a series has them.
    pub recurrence: Vec<String>,
    /// The series that this is an occurrence of.
    pub series_id: Option<String>,
    /// Which occurrence it is: when it would begin if nobody had moved it.
    pub original: Option<Moment>,
    /// Within which time it, or anything of its series, can be shown.
    pub span: Span,
    /// The same in everybody's calendar.
    pub ical_uid: String,
    /// How often it was changed in a way that guests are told of.
    pub sequence: i64,
    /// `default`, `public`, `private`, `confidential`, or a word that is new.
    pub visibility: String,
    /// `opaque` blocks time, `transparent` doesn't.
    pub transparency: String,
    /// Whose event it is.
    pub organizer: Party,
    /// Who is invited.
    pub attendees: Vec<Attendee>,
    /// Whether not everybody who is invited stands there.
    pub attendees_omitted: bool,
    /// How to take part from afar.
    pub links: Vec<Link>,
    /// What only some kinds of events have.
    pub details: Details,
    /// Whether it was private, and only its time is stored, by the privacy settings.
    pub is_busy_only: bool,
}

impl Event {
    /// Whether it is an occurrence that doesn't take place.
    pub fn is_cancelled(&self) -> bool {
        self.status == "cancelled"
    }

    /// Whether it is a series.
    pub fn is_series(&self) -> bool {
        !self.recurrence.is_empty()
    }
}

/// From when until when; for ever without an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Nothing is shown before this.
    pub from: Timestamp,
    /// Nothing is shown from this on.
    pub until: Option<Timestamp>,
}

/// What lasts longer, or for ever, is looked for apart: mostly series.
const SHORT_MAX: SignedDuration = SignedDuration::from_hours(31 * 24);

impl Span {
    fn is_long(self) -> bool {
        self.until.is_none_or(|until| until.duration_since(self.from) >= SHORT_MAX)
    }
}

/// Whose event it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Party {
    /// The address; it may be generated and lead nowhere.
    pub address: String,
    /// The name.
    pub name: String,
    /// Whether it is the calendar that is read.
    pub own: bool,
}

/// Somebody who is invited, or a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attendee {
    /// The address.
    pub address: String,
    /// The name.
    pub name: String,
    /// `needsAction`, `declined`, `tentative`, `accepted`, or a word that is new.
    pub answer: String,
    /// Whether it is the calendar that is read.
    pub own: bool,
    /// Whether it is the organizer.
    pub organizer: bool,
    /// Whether it is a room or a thing.
    pub resource: bool,
    /// Whether it works without them.
    pub optional: bool,
    /// How many they bring along.
    pub guests: u32,
}

/// A way to take part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// `video`, `phone`, `sip`, `more`, or a word that is new; `page` is the event's own page at Google.
    pub kind: String,
    /// The address; hostile.
    pub uri: String,
    /// What people read.
    pub label: String,
}

/// What only some kinds of events have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// What the conference is held with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub conference: String,
    /// Where somebody works: `homeOffice`, `officeLocation`, `customLocation`, or a word that is new.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub work_kind: String,
    /// What that place is called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub work_place: String,
    /// Which invitations are declined while somebody is away or in focus.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub declines: String,
    /// What is celebrated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub birthday_kind: String,
    /// Whether guests don't see each other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub guests_hidden: bool,
    /// Whether the end is only Google's guess.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub end_unspecified: bool,
}

fn moment(row: &dyn Columns, at: &'static str, on: &'static str) -> Result<Option<Moment>, StoreError> {
    match row.at_or_null(at)? {
        Some(at) => Ok(Some(Moment::At(at))),
        None => Ok(row.parsed_or_null(on)?.map(Moment::Day)),
    }
}

fn at_of(moment: Option<Moment>) -> Option<Timestamp> {
    match moment {
        Some(Moment::At(at)) => Some(at),
        _ => None,
    }
}

fn day_of(moment: Option<Moment>) -> Option<String> {
    match moment {
        Some(Moment::Day(day)) => Some(day.to_string()),
        _ => None,
    }
}

fn json<T: serde::de::DeserializeOwned>(row: &dyn Columns, column: &'static str) -> Result<T, StoreError> {
    // Not with what it holds: that would be people's appointments in the log.
    let unreadable = |_| StoreError::Inconsistent { column, value: "what can't be read".to_owned() };
    serde_json::from_str(&row.text(column)?).map_err(unreadable)
}

fn event(row: &dyn Columns) -> Result<Event, StoreError> {
    Ok(Event {
        calendar_id: row.text("calendar_id")?,
        id: row.text("event_id")?,
        etag: row.text("etag")?,
        status: row.text("status")?,
        kind: row.text("event_kind")?,
        summary: row.text("summary")?,
        location: row.text("location")?,
        starts: moment(row, "starts_us", "starts_on")?,
        ends: moment(row, "ends_us", "ends_on")?,
        zone: row.text("zone")?,
        recurrence: json(row, "recurrence")?,
        series_id: row.text_or_null("series_id")?,
        original: moment(row, "original_us", "original_on")?,
        span: Span { from: row.at("from_us")?, until: row.at_or_null("until_us")? },
        ical_uid: row.text("ical_uid")?,
        sequence: row.int("sequence")?,
        visibility: row.text("visibility")?,
        transparency: row.text("transparency")?,
        organizer: json(row, "organizer")?,
        attendees: json(row, "attendees")?,
        attendees_omitted: row.boolean("attendees_omitted")?,
        links: json(row, "links")?,
        details: json(row, "details")?,
        is_busy_only: row.boolean("is_busy_only")?,
    })
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Whose events: an agenda and one of its calendars.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The organization.
    pub organization: &'a OrganizationId,
    /// The agenda.
    pub agenda: &'a AgendaId,
    /// The calendar.
    pub calendar: &'a str,
}

/// Writes events of one calendar, as a pass saw them; those that are there already are replaced.
pub async fn put(tx: &mut Tx, of: Of<'_>, events: &[Event], pass: i64) -> Result<(), StoreError> {
    let mut values: Vec<Value> = Vec::with_capacity(events.len() * ROW_VALUES);
    for it in events {
        values.extend(args![
            of.organization,
            of.agenda,
            of.calendar,
            &it.id,
            &it.etag,
            &it.status,
            &it.kind,
            &it.summary,
            &it.location,
            at_of(it.starts),
            day_of(it.starts),
            at_of(it.ends),
            day_of(it.ends),
            &it.zone,
            to_json(&it.recurrence),
            it.series_id.as_deref(),
            at_of(it.original),
            day_of(it.original),
            it.original.map(Moment::instant),
            it.span.from,
            it.span.until,
            it.span.is_long(),
            &it.ical_uid,
            it.sequence,
            &it.visibility,
            &it.transparency,
            to_json(&it.organizer),
            to_json(&it.attendees),
            it.attendees_omitted,
            to_json(&it.links),
            to_json(&it.details),
            it.is_busy_only,
            pass
        ]);
    }
    let into = "events (organization_id, agenda_id, calendar_id, event_id, etag, status, event_kind, summary,
        location, starts_us, starts_on, ends_us, ends_on, zone, recurrence, series_id, original_us,
        original_on, slot_us, from_us, until_us, is_long, ical_uid, sequence, visibility, transparency,
        organizer, attendees, attendees_omitted, links, details, is_busy_only, pass)";
    let replace = "ON CONFLICT (agenda_id, calendar_id, event_id) DO UPDATE SET etag = excluded.etag,
        status = excluded.status, event_kind = excluded.event_kind, summary = excluded.summary,
        location = excluded.location, starts_us = excluded.starts_us, starts_on = excluded.starts_on,
        ends_us = excluded.ends_us, ends_on = excluded.ends_on, zone = excluded.zone,
        recurrence = excluded.recurrence, series_id = excluded.series_id,
        original_us = excluded.original_us, original_on = excluded.original_on,
        slot_us = excluded.slot_us, from_us = excluded.from_us, until_us = excluded.until_us,
        is_long = excluded.is_long, ical_uid = excluded.ical_uid, sequence = excluded.sequence,
        visibility = excluded.visibility, transparency = excluded.transparency, organizer = excluded.organizer,
        attendees = excluded.attendees, attendees_omitted = excluded.attendees_omitted,
        links = excluded.links, details = excluded.details, is_busy_only = excluded.is_busy_only,
        pass = excluded.pass";
    tx.insert(into, ROW_VALUES, values, replace).await
}

/// Marks events as seen by a pass.
pub async fn seen(tx: &mut Tx, agenda: &AgendaId, calendar: &str, ids: &[String], pass: i64) -> Result<(), StoreError> {
    let sql = "UPDATE events SET pass = $1 WHERE agenda_id = $2 AND calendar_id = $3 AND event_id IN ({among})";
    tx.run_among(sql, args![pass, agenda, calendar], ids).await?;
    Ok(())
}

/// Events by their ids, as many as there are.
pub async fn by_ids(
    tx: &mut Tx,
    agenda: &AgendaId,
    calendar: &str,
    ids: &[String],
) -> Result<BTreeMap<String, Event>, StoreError> {
    let sql = "SELECT * FROM events WHERE agenda_id = $1 AND calendar_id = $2 AND event_id IN ({among})";
    let found = tx.all_among(sql, args![agenda, calendar], ids, event).await?;
    Ok(found.into_iter().map(|it| (it.id.clone(), it)).collect())
}

/// The ids of a calendar's events that a pass didn't see. `limit` bounds it.
pub async fn unseen(
    tx: &mut Tx,
    agenda: &AgendaId,
    calendar: &str,
    pass: i64,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    tx.all(
        "SELECT event_id FROM events WHERE agenda_id = $1 AND calendar_id = $2 AND pass < $3
         ORDER BY pass, event_id LIMIT $4",
        args![agenda, calendar, pass, limit],
        |row| row.text("event_id"),
    )
    .await
}

/// The ids of the occurrences of a series that are kept because they differ from it. `limit` bounds it.
pub async fn exceptions(
    tx: &mut Tx,
    agenda: &AgendaId,
    calendar: &str,
    series: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    tx.all(
        "SELECT event_id FROM events WHERE agenda_id = $1 AND calendar_id = $2 AND series_id = $3
         ORDER BY event_id LIMIT $4",
        args![agenda, calendar, series, limit],
        |row| row.text("event_id"),
    )
    .await
}

/// The ids of cancelled occurrences that a pass saw and whose series isn't there: they hide nothing. `limit` bounds it.
pub async fn orphans(
    tx: &mut Tx,
    agenda: &AgendaId,
    calendar: &str,
    pass: i64,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    tx.all(
        "SELECT event_id FROM events e WHERE agenda_id = $1 AND calendar_id = $2 AND pass = $3
             AND status = 'cancelled' AND NOT EXISTS (SELECT 1 FROM events s WHERE s.agenda_id = e.agenda_id
                 AND s.calendar_id = e.calendar_id AND s.event_id = e.series_id)
         ORDER BY event_id LIMIT $4",
        args![agenda, calendar, pass, limit],
        |row| row.text("event_id"),
    )
    .await
}

/// Deletes events; answers which of them were there.
pub async fn delete(
    tx: &mut Tx,
    agenda: &AgendaId,
    calendar: &str,
    ids: &[String],
) -> Result<BTreeSet<String>, StoreError> {
    let sql =
        "DELETE FROM events WHERE agenda_id = $1 AND calendar_id = $2 AND event_id IN ({among}) RETURNING event_id";
    let deleted = tx.all_among(sql, args![agenda, calendar], ids, |row| row.text("event_id")).await?;
    Ok(deleted.into_iter().collect())
}

/// Events of an agenda in order of their calendars and ids, after a place. `limit` bounds it.
pub async fn after(tx: &mut Tx, agenda: &AgendaId, place: (&str, &str), limit: i64) -> Result<Vec<Event>, StoreError> {
    tx.all(
        "SELECT * FROM events WHERE agenda_id = $1 AND (calendar_id > $2 OR (calendar_id = $2 AND event_id > $3))
         ORDER BY calendar_id, event_id LIMIT $4",
        args![agenda, place.0, place.1, limit],
        event,
    )
    .await
}

/// Takes everything but their times from stored events that are private; answers which. `limit` bounds it.
pub async fn hide_private(tx: &mut Tx, agenda: &AgendaId, limit: i64) -> Result<Vec<Event>, StoreError> {
    tx.all(
        "UPDATE events SET event_kind = 'default', summary = '', location = '', ical_uid = '', organizer = $3,
             attendees = '[]', attendees_omitted = FALSE, links = '[]', details = '{}', is_busy_only = TRUE
         WHERE agenda_id = $1 AND (calendar_id, event_id) IN
             (SELECT calendar_id, event_id FROM events WHERE agenda_id = $1 AND NOT is_busy_only
                  AND visibility IN ('private', 'confidential') LIMIT $2)
         RETURNING *",
        args![agenda, limit, to_json(&Party::default())],
        event,
    )
    .await
}

/// How many events of an agenda are stored, and how many of them as busy times only, by calendar.
pub async fn counts_by_calendar(tx: &mut Tx, agenda: &AgendaId) -> Result<BTreeMap<String, (i64, i64)>, StoreError> {
    let counts = tx
        .all(
            "SELECT calendar_id, COUNT(*) AS n, COUNT(CASE WHEN is_busy_only THEN 1 END) AS busy
             FROM events WHERE agenda_id = $1 GROUP BY calendar_id",
            args![agenda],
            |row| Ok((row.text("calendar_id")?, (row.int("n")?, row.int("busy")?))),
        )
        .await?;
    Ok(counts.into_iter().collect())
}

/// What is needed to show a window of an agenda.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InWindow {
    /// The events.
    pub events: Vec<Event>,
    /// Whether these are all. Otherwise events are missing, or what hides the slots of those that were moved or
    /// cancelled.
    pub is_whole: bool,
}

/// What is needed to show an agenda from `from` until before `until`: single events and changed occurrences that lie in
/// it; series that may have an occurrence in it; and each occurrence that differs from one of these and whose own slot
/// would be shown, although it was moved elsewhere or cancelled. The first ones, and of the latter kind the last ones,
/// as far as `limit` goes with each of the two.
pub async fn in_window(
    tx: &mut Tx,
    agenda: &AgendaId,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<InWindow, StoreError> {
    let is_cut = |found: &[Event]| i64::try_from(found.len()).unwrap_or(i64::MAX) >= limit;
    let mut found = tx
        .all(
            // What is short is found by where it begins, and the few that aren't by themselves: nobody looks through
            // all that has been.
            "SELECT * FROM events WHERE agenda_id = $1 AND NOT is_long AND from_us > $5 AND from_us < $3
                 AND until_us > $2
             UNION ALL
             SELECT * FROM events WHERE agenda_id = $1 AND is_long AND from_us < $3
                 AND (until_us IS NULL OR until_us > $2)
             ORDER BY from_us, calendar_id, event_id LIMIT $4",
            args![agenda, from, until, limit, from.checked_sub(SHORT_MAX).unwrap_or(Timestamp::MIN)],
            event,
        )
        .await?;
    let are_cut = is_cut(&found);
    let series: BTreeSet<(&str, &str)> =
        found.iter().filter(|it| it.is_series()).map(|it| (it.calendar_id.as_str(), it.id.as_str())).collect();
    // An occurrence that began before the window may reach into it.
    let longest = found.iter().filter(|it| it.is_series()).map(length).max().unwrap_or_default();
    let slots_from = from.checked_sub(longest + DAY_MARGIN).unwrap_or(Timestamp::MIN);
    let slots_until = until.checked_add(DAY_MARGIN).unwrap_or(Timestamp::MAX);
    let moved = tx
        .all(
            // The longest series decides how far back this goes; those that lie near the window come first.
            "SELECT * FROM events WHERE agenda_id = $1 AND slot_us >= $2 AND slot_us < $3
             ORDER BY slot_us DESC, calendar_id, event_id LIMIT $4",
            args![agenda, slots_from, slots_until, limit],
            event,
        )
        .await?;
    let is_whole = !are_cut && !is_cut(&moved);
    let there: BTreeSet<(&str, &str)> = found.iter().map(|it| (it.calendar_id.as_str(), it.id.as_str())).collect();
    let moved: Vec<Event> = moved
        .into_iter()
        .filter(|it| it.series_id.as_deref().is_some_and(|id| series.contains(&(it.calendar_id.as_str(), id))))
        .filter(|it| !there.contains(&(it.calendar_id.as_str(), it.id.as_str())))
        .collect();
    found.extend(moved);
    Ok(InWindow { events: found, is_whole })
}

/// How long an event lasts.
fn length(event: &Event) -> SignedDuration {
    let ends = event.ends.or(event.starts).map(Moment::instant);
    let lasts = event.starts.zip(ends).map(|(starts, ends)| ends.duration_since(starts.instant()));
    lasts.unwrap_or_default().max(SignedDuration::ZERO)
}

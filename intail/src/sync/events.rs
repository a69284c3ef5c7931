//! From what Google says of an event to what is stored of it: hostile text is bounded, times are read, and the span
//! within which it can show anything is computed. Pure.
//!
//! What a reader must not break: the span never ends too early. Where it can't be known, it has no end: a reader then
//! looks at one row more; the other way round an appointment would be missing.

use intail_google::calendar as google;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::store::calendars::Entry;
use crate::store::events::{Attendee, DAY_MARGIN, Details, Event, Link, Moment, Party, Span};

/// The longest title and place, in bytes. Google's own limit isn't documented; pages show one line.
const TEXT_BYTES_MAX: usize = 1024;
/// The longest name, word and address.
const NAME_BYTES_MAX: usize = 320;
/// The longest link.
const LINK_BYTES_MAX: usize = 2048;
/// Ways into one conference.
const LINKS_MAX: usize = 16;
/// Guests of one event: as many as are asked for.
const GUESTS_MAX: usize = 200;
/// Lines of one recurrence, and bytes of all of them: a daily series with each day of ten years taken out has less.
const RECURRENCE_LINES_MAX: usize = 4096;
const RECURRENCE_BYTES_MAX: usize = 128 * 1024;
/// The longest id. Google's have at most 1024 characters.
const ID_BYTES_MAX: usize = 1100;

/// Whether something can be kept under this id: PostgreSQL has no room for a NUL, and Google's ids are plain.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.chars().any(char::is_control)
}

/// What is stored of an event; none when it can't be read: it has no time, its recurrence is too long, or its id or its
/// series' can't be kept.
pub(super) fn stored(calendar: &str, event: google::Event) -> Option<Event> {
    let is_placed = event.recurring_event_id.as_deref().is_none_or(is_id);
    if !is_id(&event.id) || !is_placed || !fits(&event.recurrence) {
        return None;
    }
    let is_cancelled = event.is_cancelled();
    let moment = |time: &Option<google::EventTime>| time.as_ref().and_then(google::EventTime::when).map(moment_of);
    let (starts, ends, original) = (moment(&event.start), moment(&event.end), moment(&event.original_start_time));
    if starts.is_none() && !is_cancelled {
        return None;
    }
    let zone = event.start.as_ref().or(event.original_start_time.as_ref()).and_then(|it| it.time_zone.clone());
    let details = details(&event);
    let mut links = links(&event);
    links.extend(event.html_link.as_deref().map(|it| link("page", it, "")));
    let guests = event.attendees.len();
    Some(Event {
        calendar_id: calendar.to_owned(),
        span: span(starts, ends, original, &event.recurrence),
        id: event.id,
        etag: name(event.etag),
        status: name_or(event.status, "confirmed"),
        kind: name_or(event.event_type, "default"),
        summary: text(event.summary),
        location: text(event.location),
        starts,
        ends,
        zone: name(zone),
        recurrence: event.recurrence,
        series_id: event.recurring_event_id,
        original,
        ical_uid: clip(plain(event.ical_uid.unwrap_or_default()), ID_BYTES_MAX),
        sequence: event.sequence.unwrap_or_default(),
        visibility: name_or(event.visibility, "default"),
        transparency: name_or(event.transparency, "opaque"),
        organizer: event.organizer.map(party).unwrap_or_default(),
        attendees: event.attendees.into_iter().take(GUESTS_MAX).map(attendee).collect(),
        attendees_omitted: event.attendees_omitted || guests > GUESTS_MAX,
        links,
        details,
        is_busy_only: false,
    })
}

/// What is kept of a private event whose details may not be: when it is, and that it is private.
pub(super) fn busy_only(event: Event) -> Event {
    Event {
        summary: String::new(),
        location: String::new(),
        ical_uid: String::new(),
        organizer: Party::default(),
        attendees: Vec::new(),
        attendees_omitted: false,
        links: Vec::new(),
        details: Details::default(),
        kind: "default".to_owned(),
        is_busy_only: true,
        ..event
    }
}

/// Whether an event is one that its owner marked as private.
pub(super) fn is_private(event: &Event) -> bool {
    matches!(event.visibility.as_str(), "private" | "confidential")
}

/// What is stored of an entry of the list of calendars.
pub(super) fn entry(entry: &google::CalendarEntry) -> Entry {
    Entry {
        etag: name(entry.etag.clone()),
        name: text(entry.summary.clone()),
        own_name: text(entry.summary_override.clone()),
        zone: name(entry.time_zone.clone()),
        access_role: name(entry.access_role.clone()),
        is_primary: entry.primary,
        is_selected: entry.selected,
        is_hidden: entry.hidden,
        data_owner: name(entry.data_owner.clone()),
    }
}

fn fits(lines: &[String]) -> bool {
    lines.len() <= RECURRENCE_LINES_MAX && lines.iter().map(String::len).sum::<usize>() <= RECURRENCE_BYTES_MAX
}

fn moment_of(when: google::When) -> Moment {
    match when {
        google::When::Day(day) => Moment::Day(day),
        google::When::At(at) => Moment::At(at),
    }
}

fn clip(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

/// Text without what would break a line or a log.
fn plain(text: String) -> String {
    if text.chars().any(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

fn text(text: Option<String>) -> String {
    clip(plain(text.unwrap_or_default()), TEXT_BYTES_MAX)
}

fn name(text: Option<String>) -> String {
    clip(plain(text.unwrap_or_default()), NAME_BYTES_MAX)
}

fn name_or(text: Option<String>, absent: &str) -> String {
    name(Some(text.unwrap_or_else(|| absent.to_owned())))
}

fn party(party: google::Party) -> Party {
    Party { address: name(party.email), name: name(party.display_name), own: party.own }
}

fn attendee(attendee: google::Attendee) -> Attendee {
    Attendee {
        address: name(attendee.email),
        name: name(attendee.display_name),
        answer: name_or(attendee.response_status, "needsAction"),
        own: attendee.own,
        organizer: attendee.organizer,
        resource: attendee.resource,
        optional: attendee.optional,
        guests: attendee.additional_guests,
    }
}

fn link(kind: &str, uri: &str, label: &str) -> Link {
    let plain = |text: &str, most| clip(plain(text.to_owned()), most);
    Link { kind: plain(kind, NAME_BYTES_MAX), uri: plain(uri, LINK_BYTES_MAX), label: plain(label, NAME_BYTES_MAX) }
}

fn links(event: &google::Event) -> Vec<Link> {
    let doors = event.conference_data.iter().flat_map(|it| &it.entry_points).take(LINKS_MAX);
    let mut links: Vec<Link> = doors
        .filter_map(|it| {
            let uri = it.uri.as_deref()?;
            Some(link(it.entry_point_type.as_deref().unwrap_or("more"), uri, it.label.as_deref().unwrap_or("")))
        })
        .collect();
    if let Some(uri) = event.hangout_link.as_deref().filter(|uri| links.iter().all(|it| it.uri != **uri)) {
        links.push(link("video", uri, ""));
    }
    links
}

fn details(event: &google::Event) -> Details {
    let work = event.working_location_properties.as_ref();
    let office = work.and_then(|it| it.office_location.as_ref()).and_then(|it| it.label.clone());
    let elsewhere = work.and_then(|it| it.custom_location.as_ref()).and_then(|it| it.label.clone());
    let away = event.out_of_office_properties.as_ref().and_then(|it| it.auto_decline_mode.clone());
    let focus = event.focus_time_properties.as_ref().and_then(|it| it.auto_decline_mode.clone());
    let solution = event.conference_data.as_ref().and_then(|it| it.conference_solution.as_ref());
    Details {
        conference: name(solution.and_then(|it| it.name.clone())),
        work_kind: name(work.and_then(|it| it.kind.clone())),
        work_place: name(office.or(elsewhere)),
        declines: name(away.or(focus)),
        birthday_kind: name(event.birthday_properties.as_ref().and_then(|it| it.kind.clone())),
        guests_hidden: event.guests_can_see_other_guests == Some(false),
        end_unspecified: event.end_time_unspecified,
    }
}

/// The shortest time that anything is shown: what has no length lies in a window all the same.
const LEAST: SignedDuration = SignedDuration::from_micros(1);

fn span(starts: Option<Moment>, ends: Option<Moment>, original: Option<Moment>, recurrence: &[String]) -> Span {
    let Some(begins) = starts.or(original) else {
        return Span { from: Timestamp::UNIX_EPOCH, until: Some(Timestamp::UNIX_EPOCH) };
    };
    let ends = ends.unwrap_or(begins);
    let lasts = ends.instant().duration_since(begins.instant()).max(SignedDuration::ZERO);
    let (from, until) = match begins {
        Moment::Day(_) => (earlier(begins.instant(), DAY_MARGIN), later(begins.instant(), lasts + DAY_MARGIN)),
        Moment::At(at) => (at, later(at, lasts.max(LEAST))),
    };
    if recurrence.is_empty() {
        return Span { from, until: Some(until) };
    }
    // In whichever zone the rule's last moment is meant.
    let last = last_of(recurrence).map(|it| later(it, lasts + DAY_MARGIN).max(until));
    Span { from, until: last }
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// After which moment no occurrence begins, as if its clock were in UTC; none when that isn't said or can't be read.
fn last_of(recurrence: &[String]) -> Option<Timestamp> {
    let mut last = Timestamp::MIN;
    for line in recurrence {
        let (head, value) = line.split_once(':')?;
        let kind = head.split(';').next().unwrap_or_default();
        if kind.eq_ignore_ascii_case("RRULE") {
            let until = value.split(';').find_map(|part| {
                let (key, value) = part.split_once('=')?;
                key.eq_ignore_ascii_case("UNTIL").then_some(value)
            })?;
            // A day is meant to its end.
            let more = if until.contains(['T', 't']) { SignedDuration::ZERO } else { SignedDuration::from_hours(24) };
            last = last.max(later(clock(until)?, more));
        } else if kind.eq_ignore_ascii_case("RDATE") {
            for value in value.split(',') {
                last = last.max(match value.split_once('/') {
                    Some((begins, ends)) => period_end(begins, ends)?,
                    None => clock(value)?,
                });
            }
        } else if !kind.eq_ignore_ascii_case("EXDATE") && !kind.eq_ignore_ascii_case("EXRULE") {
            return None;
        }
    }
    Some(last)
}

/// When a date with a length of its own ends: the end is written, or how long it takes. Clocks may jump meanwhile,
/// which the margin of a day makes up for.
fn period_end(begins: &str, ends: &str) -> Option<Timestamp> {
    if !ends.trim().starts_with(['P', 'p', '+']) {
        return clock(ends);
    }
    let lasts: jiff::Span = ends.trim().parse().ok()?;
    clock(begins)?.to_zoned(TimeZone::UTC).checked_add(lasts).ok().map(|it| it.timestamp())
}

/// `20261224`, `20261224T100000` or `20261224T100000Z`, as if it were in UTC.
fn clock(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_end_matches(['Z', 'z']);
    let read = match text.split_once(['T', 't']) {
        Some(_) => DateTime::strptime("%Y%m%dT%H%M%S", text.to_uppercase()).ok()?,
        None => Date::strptime("%Y%m%d", text).ok()?.to_datetime(jiff::civil::Time::midnight()),
    };
    read.to_zoned(TimeZone::UTC).ok().map(|it| it.timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn time(text: &str) -> google::EventTime {
        let is_day = text.len() == 10;
        google::EventTime {
            date: is_day.then(|| text.to_owned()),
            date_time: (!is_day).then(|| text.to_owned()),
            time_zone: Some("Europe/Berlin".to_owned()),
        }
    }

    fn event(start: &str, end: &str, recurrence: &[&str]) -> google::Event {
        google::Event {
            id: "e".to_owned(),
            start: Some(time(start)),
            end: Some(time(end)),
            recurrence: recurrence.iter().map(|it| (*it).to_owned()).collect(),
            ..google::Event::default()
        }
    }

    fn span_of(start: &str, end: &str, recurrence: &[&str]) -> (String, Option<String>) {
        let span = stored("c", event(start, end, recurrence)).expect("readable").span;
        (span.from.to_string(), span.until.map(|it| it.to_string()))
    }

    #[test]
    fn a_day_is_shown_wherever_the_reader_is() {
        let (from, until) = span_of("2026-12-24", "2026-12-25", &[]);
        assert_eq!((from.as_str(), until.as_deref()), ("2026-12-23T10:00:00Z", Some("2026-12-25T14:00:00Z")));
    }

    #[test]
    fn a_series_ends_when_its_rule_says_and_otherwise_never() {
        let (start, end) = ("2026-01-05T09:00:00+01:00", "2026-01-05T10:00:00+01:00");
        let until = |recurrence: &[&str]| span_of(start, end, recurrence).1;
        assert_eq!(until(&[]).as_deref(), Some("2026-01-05T09:00:00Z"));
        let ended = Some("2026-03-01T23:59:59Z".to_owned());
        assert_eq!(until(&["RRULE:FREQ=DAILY;UNTIL=20260301T085959Z"]), ended);
        let except = "EXDATE;TZID=Europe/Berlin:20260106T090000";
        assert_eq!(until(&[except, "RRULE:UNTIL=20260301T085959;FREQ=DAILY"]), ended);
        assert_eq!(until(&["RDATE;VALUE=DATE:20260107,20260301"]).as_deref(), Some("2026-03-01T15:00:00Z"));
        let long = until(&["RDATE;VALUE=PERIOD:20260107T080000Z/P60D,20260108T080000Z/20260109T080000Z"]);
        assert_eq!(long.as_deref(), Some("2026-03-08T23:00:00Z"), "a date's own length counts");
        let day = until(&["RRULE:FREQ=DAILY;UNTIL=20260301"]);
        assert_eq!(day.as_deref(), Some("2026-03-02T15:00:00Z"), "after that day's end, in the west too");
        let soon = "RRULE:FREQ=DAILY;UNTIL=soon";
        let odd = "RDATE;VALUE=PERIOD:20260107T080000Z/P";
        for endless in [odd, "RRULE:FREQ=DAILY", "RRULE:FREQ=DAILY;COUNT=3", soon, "nonsense", "X-A:b"] {
            assert_eq!(until(&[endless]), None, "{endless}");
        }
        let past = until(&["RRULE:FREQ=DAILY;UNTIL=20200101"]);
        assert_eq!(past.as_deref(), Some("2026-01-05T09:00:00Z"), "never too early");
    }

    #[test]
    fn what_has_no_time_can_not_be_read_unless_it_does_not_take_place() {
        let nowhen = google::Event { id: "e".into(), ..google::Event::default() };
        assert!(stored("c", nowhen.clone()).is_none());
        let stub = google::Event { status: Some("cancelled".into()), recurring_event_id: Some("s".into()), ..nowhen };
        let stub = stored("c", stub).expect("kept");
        assert!(stub.is_cancelled() && stub.series_id.as_deref() == Some("s"));
        let long = vec!["RRULE:FREQ=DAILY"; RECURRENCE_LINES_MAX + 1];
        assert!(stored("c", event("2026-12-24", "2026-12-25", &long)).is_none());
        for strange in ["", "a\0b", "\n", &"x".repeat(ID_BYTES_MAX + 1)] {
            let whole = || event("2026-12-24", "2026-12-25", &[]);
            assert!(stored("c", google::Event { id: strange.into(), ..whole() }).is_none());
            assert!(stored("c", google::Event { recurring_event_id: Some(strange.into()), ..whole() }).is_none());
        }
    }

    #[test]
    fn hostile_text_is_bounded_and_whole_characters_stay() {
        let long =
            google::Event { summary: Some("雪\u{0}\n".repeat(2_000)), ..event("2026-12-24", "2026-12-25", &[]) };
        let kept = stored("c", long).expect("readable");
        assert!(kept.summary.len() <= TEXT_BYTES_MAX && kept.summary.starts_with("雪  雪"), "{}", kept.summary.len());
    }

    /// What is stored of an event that Google writes with these members beside what every event has.
    fn written(members: Json) -> Event {
        let mut whole = json!({
            "kind": "calendar#event", "id": "e", "status": "confirmed",
            "start": {"dateTime": "2026-11-25T09:00:00+01:00", "timeZone": "Europe/Berlin"},
            "end": {"dateTime": "2026-11-25T10:00:00+01:00", "timeZone": "Europe/Berlin"},
        });
        for (name, value) in members.as_object().expect("members") {
            whole[name.as_str()] = value.clone();
        }
        stored("c", serde_json::from_value(whole).expect("an event of Google’s")).expect("readable")
    }

    #[test]
    fn what_only_some_events_have_comes_from_google_s_json_into_the_row() {
        let (all, new) = ("declineAllConflictingInvitations", "declineOnlyNewConflictingInvitations");
        let place = |kind: &str, more: Json| {
            let mut place = json!({ "type": kind });
            place[kind] = more;
            json!({ "eventType": "workingLocation", "workingLocationProperties": place })
        };
        let at = |work_kind: &str, work_place: &str| Details {
            work_kind: work_kind.to_owned(),
            work_place: work_place.to_owned(),
            ..Details::default()
        };
        let declines = |declines: &str| Details { declines: declines.to_owned(), ..Details::default() };
        let born = |kind: &str| Details { birthday_kind: kind.to_owned(), ..Details::default() };
        let held_with = |conference: &str| Details { conference: conference.to_owned(), ..Details::default() };
        let hidden = Details { guests_hidden: true, ..Details::default() };
        let open = Details { end_unspecified: true, ..Details::default() };
        let desk = json!({"label": "Tower 3", "buildingId": "B1", "floorId": "2", "deskId": "4"});
        let away = json!({"autoDeclineMode": all, "declineMessage": "Not here"});
        let focus = json!({"autoDeclineMode": new, "chatStatus": "doNotDisturb"});
        let call = json!({"conferenceId": "x", "conferenceSolution": {"key": {"type": "hangoutsMeet"},
            "name": "Google Meet", "iconUri": "https://icon.example"}});
        let twice = json!({"outOfOfficeProperties": {"autoDeclineMode": all},
            "focusTimeProperties": {"autoDeclineMode": new}});
        let nothing = json!({"workingLocationProperties": null, "outOfOfficeProperties": null,
            "focusTimeProperties": {}, "birthdayProperties": null, "guestsCanSeeOtherGuests": null,
            "conferenceData": null, "endTimeUnspecified": null});
        for (members, kind, details) in [
            (json!({}), "default", Details::default()),
            (nothing, "default", Details::default()),
            (place("homeOffice", json!({})), "workingLocation", at("homeOffice", "")),
            (place("officeLocation", desk), "workingLocation", at("officeLocation", "Tower 3")),
            (place("officeLocation", json!({"deskId": "4"})), "workingLocation", at("officeLocation", "")),
            (place("customLocation", json!({"label": "A barn"})), "workingLocation", at("customLocation", "A barn")),
            (place("treeHouse", json!({})), "workingLocation", at("treeHouse", "")),
            (json!({"eventType": "outOfOffice", "outOfOfficeProperties": away}), "outOfOffice", declines(all)),
            (json!({"eventType": "focusTime", "focusTimeProperties": focus}), "focusTime", declines(new)),
            (twice, "default", declines(all)),
            (json!({"eventType": "birthday", "birthdayProperties": {"type": "self"}}), "birthday", born("self")),
            (json!({"birthdayProperties": {"type": "custom", "customTypeName": "Day"}}), "default", born("custom")),
            (json!({"guestsCanSeeOtherGuests": false}), "default", hidden),
            (json!({"guestsCanSeeOtherGuests": true}), "default", Details::default()),
            (json!({ "conferenceData": call }), "default", held_with("Google Meet")),
            (json!({"endTimeUnspecified": true}), "default", open),
        ] {
            let row = written(members.clone());
            assert_eq!((row.kind.as_str(), &row.details), (kind, &details), "{members}");
        }
        // What somebody else wrote is bounded here, too.
        let name = "x".repeat(NAME_BYTES_MAX + 1);
        let long = written(json!({"conferenceData": {"conferenceSolution": {"name": name}}}));
        assert_eq!(long.details.conference.len(), NAME_BYTES_MAX);
    }

    #[test]
    fn of_a_private_event_only_its_time_is_kept() {
        let whole = google::Event {
            summary: Some("Secret".into()),
            visibility: Some("private".into()),
            attendees: vec![google::Attendee::default()],
            hangout_link: Some("https://meet.example/x".into()),
            event_type: Some("outOfOffice".into()),
            ..event("2026-12-24", "2026-12-25", &["RRULE:FREQ=YEARLY"])
        };
        let whole = stored("c", whole).expect("readable");
        assert!(is_private(&whole));
        let busy = busy_only(whole.clone());
        assert_eq!((busy.starts, &busy.recurrence, busy.span), (whole.starts, &whole.recurrence, whole.span));
        assert!(busy.is_busy_only && busy.summary.is_empty() && busy.attendees.is_empty() && busy.links.is_empty());
    }
}

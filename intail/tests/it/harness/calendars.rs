//! What Google has of a person's calendars, read as a stranger would: over HTTP, whole, without a token. And what
//! Intail holds of them: its rows, and the feed folded from its beginning by a consumer who knows nothing else.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::{Body, to_bytes};
use intail::id::AgendaId;
use intail::store::changes::Change;
use intail::store::events::{Details, Event, Link, Moment, Party};
use intail::store::{Tx, calendars, events};
use intail_google::oauth::scope;
use intail_sandbox::Sandbox;
use intail_sandbox::access::AccessLevel;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

/// Events' etags by calendar and event. Of what doesn't take place only that: Google may change what it says of it
/// without a word.
pub(crate) type Appointments = BTreeMap<(String, String), String>;

/// What Google shows of a person's calendars.
pub(crate) struct Shown {
    /// The events.
    events: Appointments,
    /// What it says of each that takes place, under the same keys: its times, its series, and what people read.
    details: Appointments,
    /// Calendars of which only free and busy times can be seen.
    busy_times: BTreeSet<String>,
    /// What of these may be missing: they come as occurrences up to a horizon that moves, so that whoever read them a
    /// week ago hasn't seen the last ones of today. What is held must be right, however late it begins.
    may_lack: BTreeSet<(String, String)>,
}

impl Shown {
    /// The same for somebody who hasn't compared calendars of busy times whole since something changed. When a series
    /// goes and a changed occurrence of it stays, the false Google's token tells of that one as gone, too, and it comes
    /// back with the next whole reading. So anything of these may be missing; but nothing may be held that Google
    /// doesn't show, or otherwise than it does.
    pub(crate) fn before_the_weekly_pass(mut self) -> Self {
        let of_busy_times = self.events.keys().filter(|(calendar, _)| self.busy_times.contains(calendar));
        self.may_lack.extend(of_busy_times.cloned());
        self
    }
}

/// The client that reads in the test's name; Intail's own consents stay as they are.
const CLIENT: &str = "2233445566-signin.apps.googleusercontent.com";
/// The largest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pages of one list, at most.
const PAGES_MAX: usize = 100_000;
/// What begins within this time lies inside of everybody's horizon: the false Google shows two years, and nobody read
/// last a year ago.
const IN_SIGHT: SignedDuration = SignedDuration::from_hours(365 * 24);

/// What Google shows of a person's calendars: of those that are shown in their list, everything that takes place or
/// hides something of a series.
pub(crate) async fn of(sandbox: &Sandbox, email: &str) -> Shown {
    let token = token(sandbox, email, scope::CALENDAR_READONLY);
    // However few requests the false Google grants Intail's project, the test's own has enough, and long pages.
    let (limits, page_max) = sandbox
        .world(|world| (std::mem::take(&mut world.quota.request_limits), std::mem::take(&mut world.settings.page_max)));
    let out_of_sight = (sandbox.clock().now() + IN_SIGHT).strftime("%Y-%m-%d").to_string();
    let list = pages(sandbox, &token, "/calendar/v3/users/me/calendarList?maxResults=250").await;
    let mut shown = Shown {
        events: Appointments::new(),
        details: Appointments::new(),
        busy_times: BTreeSet::new(),
        may_lack: BTreeSet::new(),
    };
    for calendar in list.iter().filter(|it| it["selected"] == true) {
        let id = calendar["id"].as_str().expect("an id");
        let has_busy_times = calendar["accessRole"] == "freeBusyReader";
        if has_busy_times {
            shown.busy_times.insert(id.to_owned());
        }
        let path: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let path = format!("/calendar/v3/calendars/{path}/events?maxResults=500&maxAttendees=200");
        let listed = pages(sandbox, &token, &path).await;
        let ids: BTreeSet<&str> = listed.iter().filter_map(|it| it["id"].as_str()).collect();
        for event in &listed {
            let series = event["recurringEventId"].as_str();
            let hides_nothing = event["status"] == "cancelled" && series.is_none_or(|it| !ids.contains(it));
            if !hides_nothing {
                let key = (id.to_owned(), event["id"].as_str().expect("an id").to_owned());
                let word = |key: &str| event[key].as_str().unwrap_or_default();
                if event["status"] != "cancelled" {
                    shown.details.insert(key.clone(), detail_shown(event));
                }
                if has_busy_times && moment_shown(event, "start") >= out_of_sight {
                    shown.may_lack.insert(key.clone());
                }
                shown.events.insert(key, version(word("etag"), word("status")));
            }
        }
    }
    sandbox.world(|world| {
        world.quota.request_limits = limits;
        world.settings.page_max = page_max;
    });
    shown
}

/// An access token of the test's own, with which it reads in somebody's name.
pub(crate) fn token(sandbox: &Sandbox, email: &str, scope: &str) -> String {
    sandbox.world(|world| {
        let trusted = world.identity.policy.configured.insert(CLIENT.to_owned(), AccessLevel::Trusted);
        let granted = world.grant(email, CLIENT, &[scope]).expect("a grant of the test's own");
        if let Some(before) = trusted {
            world.identity.policy.configured.insert(CLIENT.to_owned(), before);
        }
        granted["access_token"].as_str().expect("a token").to_owned()
    })
}

async fn pages(sandbox: &Sandbox, token: &str, path: &str) -> Vec<Json> {
    let (mut items, mut page) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let request = http::Request::get(format!("{path}{page}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .expect("a request");
        let (parts, body) = sandbox.answer(request).await.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.expect("a whole answer");
        let mut answer: Json = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!(parts.status, 200, "{path}: {answer}");
        items.append(answer["items"].as_array_mut().expect("items"));
        match answer["nextPageToken"].as_str() {
            Some(next) => page = format!("&pageToken={next}"),
            None => return items,
        }
    }
    panic!("{path} never ends");
}

/// What is stored.
pub(crate) async fn rows(tx: &mut Tx, agenda: &AgendaId) -> Appointments {
    let all = events::after(tx, agenda, ("", ""), i64::MAX).await.expect("read");
    all.into_iter()
        .map(|it| (version(&it.etag, &it.status), it))
        .map(|(version, it)| ((it.calendar_id, it.id), version))
        .collect()
}

/// What is stored of events that take place, as [`difference_in_detail`] compares it: whoever takes an etag for all
/// that an event says would keep what is wrong.
pub(crate) async fn details(tx: &mut Tx, agenda: &AgendaId) -> Appointments {
    let all = events::after(tx, agenda, ("", ""), i64::MAX).await.expect("read");
    let all = all.into_iter().filter(|it| it.status != "cancelled");
    all.map(|it| (detail_held(&it), it)).map(|(detail, it)| ((it.calendar_id, it.id), detail)).collect()
}

fn detail_held(event: &Event) -> String {
    let moment = |moment: Option<Moment>| match moment {
        Some(Moment::Day(day)) => day.to_string(),
        Some(Moment::At(at)) => at.to_string(),
        None => String::new(),
    };
    let guests: Vec<String> = event.attendees.iter().map(|it| format!("{} {}", it.address, it.answer)).collect();
    let beside = [format!("{:?}", event.organizer), format!("{:?}", event.links), format!("{:?}", event.details)];
    format!(
        "{} to {}, {:?} of {:?} by {:?}: {:?} at {:?}, {}, {guests:?}, {} {} {beside:?}",
        moment(event.starts),
        moment(event.ends),
        moment(event.original),
        event.series_id.as_deref().unwrap_or_default(),
        event.recurrence,
        event.summary,
        event.location,
        event.visibility,
        event.kind,
        event.transparency
    )
}

/// When something begins or ends: a day, or an instant; nothing where Google says nothing.
fn moment_shown(event: &Json, key: &str) -> String {
    let instant = event[key]["dateTime"].as_str().map(|it| it.parse::<Timestamp>().expect("an instant").to_string());
    instant.or_else(|| event[key]["date"].as_str().map(str::to_owned)).unwrap_or_default()
}

fn detail_shown(event: &Json) -> String {
    let word = |key: &str| event[key].as_str().unwrap_or_default();
    let list = |key: &str| event[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let guest = |it: &Json| {
        let word = |key: &str| it[key].as_str().unwrap_or_default();
        format!("{} {}", word("email"), word("responseStatus"))
    };
    let guests: Vec<String> = list("attendees").iter().map(guest).collect();
    let recurrence: Vec<&str> = list("recurrence").iter().filter_map(Json::as_str).collect();
    let beside = [
        format!("{:?}", organizer_shown(event)),
        format!("{:?}", links_shown(event)),
        format!("{:?}", only_some_have(event)),
    ];
    format!(
        "{} to {}, {:?} of {:?} by {recurrence:?}: {:?} at {:?}, {}, {guests:?}, {} {} {beside:?}",
        moment_shown(event, "start"),
        moment_shown(event, "end"),
        moment_shown(event, "originalStartTime"),
        word("recurringEventId"),
        word("summary"),
        word("location"),
        event["visibility"].as_str().unwrap_or("default"),
        event["eventType"].as_str().unwrap_or("default"),
        event["transparency"].as_str().unwrap_or("opaque")
    )
}

/// The word at a place in Google's JSON; empty where there is none.
fn word_at(event: &Json, pointer: &str) -> String {
    event.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn organizer_shown(event: &Json) -> Party {
    Party {
        address: word_at(event, "/organizer/email"),
        name: word_at(event, "/organizer/displayName"),
        own: event["organizer"]["self"] == true,
    }
}

/// The ways into its conference, the video call that isn't among them, and its own page.
fn links_shown(event: &Json) -> Vec<Link> {
    let link = |kind: &str, uri: &str, label: &str| Link { kind: kind.into(), uri: uri.into(), label: label.into() };
    let doors = event["conferenceData"]["entryPoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let door = |it: &Json| {
        let word = |key: &str| it[key].as_str().unwrap_or_default();
        link(word("entryPointType"), word("uri"), word("label"))
    };
    let mut links: Vec<Link> = doors.iter().map(door).collect();
    let video = word_at(event, "/hangoutLink");
    if !video.is_empty() && links.iter().all(|it| it.uri != video) {
        links.push(link("video", &video, ""));
    }
    let page = word_at(event, "/htmlLink");
    if !page.is_empty() {
        links.push(link("page", &page, ""));
    }
    links
}

fn only_some_have(event: &Json) -> Details {
    let first = |one: &str, other: &str| {
        let word = word_at(event, one);
        if word.is_empty() { word_at(event, other) } else { word }
    };
    let (office, elsewhere) =
        ("/workingLocationProperties/officeLocation/label", "/workingLocationProperties/customLocation/label");
    Details {
        conference: word_at(event, "/conferenceData/conferenceSolution/name"),
        work_kind: word_at(event, "/workingLocationProperties/type"),
        work_place: first(office, elsewhere),
        declines: first("/outOfOfficeProperties/autoDeclineMode", "/focusTimeProperties/autoDeclineMode"),
        birthday_kind: word_at(event, "/birthdayProperties/type"),
        guests_hidden: event["guestsCanSeeOtherGuests"] == false,
        end_unspecified: event["endTimeUnspecified"] == true,
    }
}

fn version(etag: &str, status: &str) -> String {
    if status == "cancelled" { status.to_owned() } else { etag.to_owned() }
}

/// Calendars that are still being read, compared or dropped, or that were noticed and not looked at. A late notice
/// about one that nobody follows any more leads to nothing.
pub(crate) async fn unsettled(tx: &mut Tx, agenda: &AgendaId) -> Vec<String> {
    let all = calendars::of_agenda(tx, agenda, i64::MAX).await.expect("read");
    let unsettled = all.into_iter().filter(|it| {
        let state = if it.is_followed() { calendars::CalendarState::Live } else { calendars::CalendarState::Idle };
        let is_waiting = it.is_followed() && it.is_noticed();
        it.is_gone || it.state != state || it.page_token.is_some() || is_waiting
    });
    unsettled.map(|it| format!("{it:?}")).collect()
}

/// A feed, folded from its beginning; or which change doesn't follow what was told before.
pub(crate) fn folded(feed: &[Change]) -> Result<Appointments, String> {
    let mut folded = Appointments::new();
    for change in feed {
        let word = |key: &str| change.data[key].as_str().unwrap_or_default().to_owned();
        let key = (word("calendar_id"), change.subject_id.clone());
        let now = || version(&word("etag"), &word("status"));
        let (before, was_there) = match change.kind.as_str() {
            "event.added" => (folded.insert(key, now()), false),
            "event.changed" => (folded.insert(key, now()), true),
            "event.deleted" => (folded.remove(&key), true),
            _ => continue,
        };
        if before.is_some() != was_there {
            return Err(format!("{change:?} is told of what was {before:?}"));
        }
    }
    Ok(folded)
}

/// One line for each event that differs: what is held, and what Google has.
pub(crate) fn difference(held: &Appointments, shown: &Shown) -> Vec<String> {
    compared(held, &shown.events, shown)
}

/// The same of what [`details`] holds.
pub(crate) fn difference_in_detail(held: &Appointments, shown: &Shown) -> Vec<String> {
    compared(held, &shown.details, shown)
}

fn compared(held: &Appointments, truth: &Appointments, shown: &Shown) -> Vec<String> {
    let keys: BTreeSet<_> = held.keys().chain(truth.keys()).collect();
    let differing = keys.into_iter().filter(|key| held.get(*key) != truth.get(*key));
    let differing = differing.filter(|key| held.contains_key(*key) || !shown.may_lack.contains(*key));
    differing.map(|key| format!("{key:?}: held {:?}, Google has {:?}", held.get(key), truth.get(key))).collect()
}

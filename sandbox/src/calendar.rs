//! The Calendar API as far as `calendar.readonly` reaches: calendars, events, occurrences. Sources: the discovery
//! document and Google's guides on synchronization, errors and push. What a reader must not break: a sync token is good
//! for one person, one calendar and one set of parameters; it comes on the last page only; and nobody sees more of an
//! event than their role and its visibility allow.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Shared;
use crate::accounts::{Caller, Person};
use crate::agenda::{Calendar, Copy, Entry, Event, Role};
use crate::api_error::ApiError;
use crate::calls;
use crate::directory::{etag_of, tagged};
use crate::query::{PageToken, Query, authorization, decode, unknown_value};
use crate::quota::Counted;
use crate::recurrence::Moment;
use crate::selector::{Field, Selector, leaf, nest};
use crate::world::World;

const SCOPE: &str = "https://www.googleapis.com/auth/calendar.readonly";
/// Parameters that may differ from request to request with one token. `timeMin` and `timeMax` travel in the token.
const TOKEN_FREE: [&str; 7] =
    ["pageToken", "syncToken", "maxResults", "timeMin", "timeMax", "showDeleted", "showHidden"];
/// The parameters of `events.list`; `events.watch` has the same.
const LIST_PARAMETERS: [&str; 18] = [
    "alwaysIncludeEmail",
    "eventTypes",
    "iCalUID",
    "maxAttendees",
    "maxResults",
    "orderBy",
    "pageToken",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "showDeleted",
    "showHiddenInvitations",
    "singleEvents",
    "syncToken",
    "timeMax",
    "timeMin",
    "timeZone",
    "updatedMin",
];
/// Longest body of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// What may not stand beside a sync token (the guide on synchronization).
const FORBIDDEN: [&str; 8] = [
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMin",
    "timeMax",
    "updatedMin",
];

/// What the Calendar API does where Google's documents are silent, or at times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalendarSettings {
    /// How long a sync token is good. Google promises nothing; about a month was seen.
    pub sync_token_life_s: i64,
    /// How far back `updatedMin` may lie.
    pub updated_min_life_s: i64,
    /// Per cent of pages that carry a page token and nothing else.
    pub empty_page_percent: u8,
    /// Events, by id, whose guests come in a form that nobody documented. Google says nothing when that begins or ends:
    /// it isn't a change of the event.
    pub garbled: BTreeSet<String>,
    /// What is answered about a calendar that its owner deleted: 404, as for every calendar that there isn't, or 410
    /// with the reason `deleted`. The guide on errors has both.
    pub deleted_calendar_status: u16,
}

impl Default for CalendarSettings {
    fn default() -> CalendarSettings {
        let month_s = 28 * 24 * 3_600;
        CalendarSettings {
            sync_token_life_s: month_s,
            updated_min_life_s: month_s,
            empty_page_percent: 0,
            garbled: BTreeSet::new(),
            deleted_calendar_status: 404,
        }
    }
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/calendar/{*rest}", any(answer))
}

async fn answer(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return ApiError::invalid_body("Request payload is too large.").into_response();
    };
    let path = parts.uri.path();
    let name = calls::name_of(&parts.method, path).map_or("calendar.other", |name| name.call);
    let authorization = authorization(&parts.headers);
    let answered = shared.with_world(|world| call(world, name, path, query.as_deref(), authorization, &body));
    match answered {
        Ok(Value::Null) => StatusCode::NO_CONTENT.into_response(),
        Ok(value) => tagged(&parts.headers, &value),
        Err(error) => error.into_response(),
    }
}

fn call(
    world: &mut World,
    name: &str,
    path: &str,
    query: Option<&str>,
    authorization: Option<&str>,
    body: &[u8],
) -> Result<Value, ApiError> {
    let now = world.clock.now();
    let caller = world.identity.authenticate(now, authorization).map_err(ApiError::unauthenticated)?;
    if name == "calendar.other" || !caller.has_scope(SCOPE) {
        return Err(ApiError::scope_missing("calendar-json.googleapis.com", name));
    }
    world.quota.count(&caller, Counted::Calendar, now)?;
    world.open_calendar(&caller.sub);
    let empty = world.dice.percent(world.settings.calendar.empty_page_percent);
    let query = Query::parse(query);
    let ids: Vec<String> = path.trim_start_matches("/calendar/v3/calendars/").split('/').map(decode).collect();
    let id = |place: usize| ids.get(place).map(String::as_str).unwrap_or_default();
    let (value, schema) = match name {
        "calendar.calendarList.list" => (calendars(world, &caller, &query, empty)?, CALENDAR_LIST),
        "calendar.events.list" => (events(world, &caller, &query, id(0), empty)?, EVENTS),
        "calendar.events.instances" => (instances(world, &caller, &query, id(0), id(2), empty)?, EVENTS),
        "calendar.events.get" => (event(world, &caller, &query, id(0), id(2))?, EVENT),
        "calendar.events.watch" => (watch(world, &caller, &query, id(0), body)?, CHANNEL),
        _ => {
            query.allow(&[])?;
            return world.stop_channel(&caller, body).map(|()| Value::Null);
        }
    };
    match query.one("fields") {
        None => Ok(value),
        Some(text) => Ok(Selector::parse(text, schema)?.apply(value)),
    }
}

fn not_found() -> ApiError {
    ApiError::not_found_because("Not Found")
}

fn no_calendar(world: &World, id: &str) -> ApiError {
    let is_gone = world.settings.calendar.deleted_calendar_status == 410 && world.agenda.deleted.contains(id);
    if is_gone { ApiError::gone("deleted") } else { not_found() }
}

// Tokens --------------------------------------------------------------------------------------------------------------

/// How far somebody has read. Opaque to callers.
struct SyncToken {
    purpose: String,
    change: u64,
    issued_ms: i64,
    epoch: u64,
    role: String,
    from: String,
    until: String,
}

impl SyncToken {
    fn write(&self) -> String {
        let SyncToken { purpose, change, issued_ms, epoch, role, from, until } = self;
        URL_SAFE_NO_PAD.encode(format!("{purpose}|{change}|{issued_ms}|{epoch}|{role}|{from}|{until}"))
    }

    fn read(token: &str) -> Option<SyncToken> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let parts: Vec<&str> = text.split('|').collect();
        let [purpose, change, issued_ms, epoch, role, from, until] = parts[..] else { return None };
        Some(SyncToken {
            purpose: purpose.to_owned(),
            change: change.parse().ok()?,
            issued_ms: issued_ms.parse().ok()?,
            epoch: epoch.parse().ok()?,
            role: role.to_owned(),
            from: from.to_owned(),
            until: until.to_owned(),
        })
    }
}

/// Reads the sync token of a request and refuses what may not stand beside it.
fn sync_token(
    world: &World,
    query: &Query,
    purpose: &str,
    epoch: u64,
    role: &str,
    forbidden: &[&str],
) -> Result<Option<SyncToken>, ApiError> {
    let Some(token) = query.one("syncToken").filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    if let Some(name) = forbidden.iter().find(|name| query.one(name).is_some()) {
        return Err(ApiError::bad_request(format!("Sync token cannot be used with {name}.")));
    }
    if ["showDeleted", "showHidden"].iter().any(|name| query.one(name) == Some("false")) {
        return Err(ApiError::bad_request("Sync token requires showDeleted and showHidden not to be false."));
    }
    let token = SyncToken::read(token).ok_or_else(|| ApiError::bad_request("Invalid sync token value."))?;
    let life_ms = world.settings.calendar.sync_token_life_s.saturating_mul(1_000);
    if world.clock.now().as_millisecond() - token.issued_ms >= life_ms || token.epoch != epoch || token.role != role {
        return Err(ApiError::gone("fullSyncRequired"));
    }
    if token.purpose != purpose {
        return Err(ApiError::bad_request("The request's parameters differ from those of the sync token."));
    }
    Ok(Some(token))
}

/// A list that is being paged: what is on this page and how it goes on.
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
    /// The calendar's latest change when the first page was read: what happens while paging belongs to the next sync.
    change: u64,
}

/// Which page of a list is wanted.
struct Place {
    purpose: String,
    size: usize,
    /// The key behind which it begins; empty for the first page.
    after: String,
    change: u64,
    /// It comes without items, as Google's sometimes do. Never twice in a row.
    may_be_empty: bool,
}

impl Place {
    fn read(
        world: &World,
        query: &Query,
        kind: &str,
        current: u64,
        sizes: (u64, u64),
        empty: bool,
    ) -> Result<Place, ApiError> {
        let wanted = query.number("maxResults", "max_results", "TYPE_INT32")?.unwrap_or(sizes.0);
        if wanted == 0 {
            return Err(ApiError::bad_request("Invalid value for maxResults: 0"));
        }
        let size = usize::try_from(wanted.min(sizes.1)).unwrap_or(1);
        let size = if world.settings.page_max == 0 { size } else { size.min(world.settings.page_max) };
        // A page belongs to its listing, with all that the listing was asked for with.
        let purpose = query.purpose(kind, &["pageToken", "maxResults"]);
        let Some(token) = query.one("pageToken") else {
            return Ok(Place { purpose, size, after: String::new(), change: current, may_be_empty: empty });
        };
        let token = PageToken::read(token, &purpose)?;
        let after = token.word.get(1..).unwrap_or_default().to_owned();
        let change = u64::try_from(token.number).unwrap_or(current);
        Ok(Place { purpose, size, after, change, may_be_empty: empty && !token.word.starts_with('e') })
    }
}

/// Cuts a page out of items in order of their keys.
fn page<T>(place: Place, mut items: Vec<(String, T)>) -> Page<T> {
    let Place { purpose, size, after, change, may_be_empty } = place;
    items.sort_by(|(left, _), (right, _)| left.cmp(right));
    let begin = items.partition_point(|(key, _)| *key <= after);
    let number = i64::try_from(change).unwrap_or(i64::MAX);
    let rest: Vec<(String, T)> = items.drain(begin..).collect();
    if !rest.is_empty() && may_be_empty {
        let token = PageToken { number, word: format!("e{after}") };
        return Page { items: Vec::new(), next: Some(token.write(&purpose)), change };
    }
    let more = rest.len() > size;
    let mut last = String::new();
    let mut items = Vec::new();
    for (key, item) in rest.into_iter().take(size) {
        last = key;
        items.push(item);
    }
    let next = more.then(|| PageToken { number, word: format!("p{last}") }.write(&purpose));
    Page { items, next, change }
}

// Calendars -----------------------------------------------------------------------------------------------------------

fn calendars(world: &World, caller: &Caller, query: &Query, empty: bool) -> Result<Value, ApiError> {
    query.allow(&[
        "maxResults",
        "minAccessRole",
        "pageToken",
        "showDeleted",
        "showHidden",
        "showOwnOrganizationOnly",
        "syncToken",
    ])?;
    let purpose = query.purpose(&format!("calendars/{}", caller.sub), &TOKEN_FREE);
    let list = world.agenda.lists.get(&caller.sub).cloned().unwrap_or_default();
    let forbidden = ["minAccessRole", "showOwnOrganizationOnly"];
    let token = sync_token(world, query, &purpose, list.epoch, "", &forbidden)?;
    let (deleted, hidden) = (query.flag("showDeleted")?, query.flag("showHidden")?);
    let least = match query.one("minAccessRole") {
        None => Role::FreeBusyReader,
        Some(word) => serde_json::from_value(json!(word)).map_err(|_| unknown_value("min_access_role", word))?,
    };
    let wanted = |entry: &Entry| match &token {
        Some(token) => entry.change > token.change,
        None => (deleted || !entry.gone) && (hidden || !entry.hidden),
    };
    let person = world.identity.people.get(&caller.sub).ok_or_else(not_found)?;
    let mut items = Vec::new();
    for (id, entry) in list.entries.iter().filter(|(_, entry)| wanted(entry)) {
        let calendar = world.agenda.calendars.get(id);
        let role = calendar.and_then(|calendar| calendar.role_of(&person.sub)).filter(|role| *role >= least);
        match calendar.zip(role).filter(|_| !entry.gone) {
            Some((calendar, role)) => items.push((id.clone(), entry_value(world, calendar, entry, person, role))),
            None if token.is_some() || deleted => {
                let mut value = json!({"kind": "calendar#calendarListEntry", "id": id, "deleted": true});
                value["etag"] = etag_of(&value).into();
                items.push((id.clone(), value));
            }
            None => {}
        }
    }
    let place = Place::read(world, query, &purpose, list.current, (100, 250), empty)?;
    let page = page(place, items);
    let mut answer = json!({"kind": "calendar#calendarList", "etag": etag_of(&json!(page.items)), "items": page.items});
    match page.next {
        Some(next) => answer["nextPageToken"] = next.into(),
        None if forbidden.iter().any(|name| query.one(name).is_some()) => {}
        None => {
            let (role, from, until) = (String::new(), String::new(), String::new());
            let issued_ms = world.clock.now().as_millisecond();
            let token = SyncToken { purpose, change: page.change, issued_ms, epoch: list.epoch, role, from, until };
            answer["nextSyncToken"] = token.write().into();
        }
    }
    Ok(answer)
}

fn entry_value(world: &World, calendar: &Calendar, entry: &Entry, person: &Person, role: Role) -> Value {
    // Another's first calendar isn't the reader's, whatever they may do in it.
    let is_own_first = calendar.primary && calendar.owner.as_deref() == Some(person.sub.as_str());
    let mut value = json!({
        "kind": "calendar#calendarListEntry",
        "id": calendar.id,
        "summary": calendar.name,
        "timeZone": calendar.zone,
        "colorId": "14",
        "backgroundColor": "#9fe1e7",
        "foregroundColor": "#000000",
        "accessRole": role,
        "defaultReminders": [],
    });
    for (name, flag) in [("selected", entry.selected), ("hidden", entry.hidden), ("primary", is_own_first)] {
        if flag {
            value[name] = json!(true);
        }
    }
    if let Some(name) = &entry.name {
        value["summaryOverride"] = json!(name);
    }
    let owner = calendar.owner.as_ref().filter(|_| !calendar.primary);
    if let Some(owner) = owner.and_then(|sub| world.identity.people.get(sub)) {
        value["dataOwner"] = json!(owner.email);
    }
    value["etag"] = etag_of(&value).into();
    value
}

// Events --------------------------------------------------------------------------------------------------------------

/// Who reads a calendar, and how it is shown to them.
struct Reader<'a> {
    world: &'a World,
    calendar: &'a Calendar,
    person: &'a Person,
    owner: Option<&'a Person>,
    role: Role,
    /// The zone of the answer.
    zone: TimeZone,
    zone_name: String,
    guests_max: usize,
}

impl<'a> Reader<'a> {
    fn new(world: &'a World, caller: &Caller, query: &Query, id: &str) -> Result<Reader<'a>, ApiError> {
        let person = world.identity.people.get(&caller.sub).ok_or_else(not_found)?;
        let calendar = world.agenda.find(id, person).ok_or_else(|| no_calendar(world, id))?;
        let role = calendar.role_of(&caller.sub).ok_or_else(not_found)?;
        let zone_name = query.one("timeZone").unwrap_or(&calendar.zone).to_owned();
        let zone = TimeZone::get(&zone_name).map_err(|_| ApiError::bad_request("Invalid time zone definition."))?;
        let guests_max = query.number("maxAttendees", "max_attendees", "TYPE_INT32")?.unwrap_or(u64::MAX);
        let guests_max = usize::try_from(guests_max).unwrap_or(usize::MAX);
        let owner = calendar.owner.as_ref().and_then(|sub| world.identity.people.get(sub));
        Ok(Reader { world, calendar, person, owner, role, zone, zone_name, guests_max })
    }

    fn role_word(&self) -> String {
        json!(self.role).as_str().unwrap_or_default().to_owned()
    }

    /// Whether the reader may see what is in the event.
    fn sees(&self, event: &Event) -> bool {
        let takes_part = self.person.has_address(&event.organizer)
            || event.guests.iter().any(|guest| self.person.has_address(&guest.email));
        let private = ["private", "confidential"].contains(&event.visibility.as_str());
        match self.role {
            Role::FreeBusyReader => false,
            Role::Reader | Role::WriterWithoutPrivateAccess => !private || takes_part,
            Role::Writer | Role::Owner => true,
        }
    }

    fn is_own(&self, email: &str) -> bool {
        self.owner.is_some_and(|owner| owner.has_address(email))
    }

    fn time(&self, moment: &Moment) -> Value {
        match moment {
            Moment::Day(day) => json!({"date": day.to_string()}),
            Moment::Clock(_, zone) => {
                json!({"dateTime": self.written(moment.instant(&TimeZone::UTC)), "timeZone": zone})
            }
        }
    }

    fn written(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.zone.clone());
        if zoned.offset().is_zero() {
            return zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        }
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// The event as this reader sees it.
    fn value(&self, event: &Event, copy: &Copy) -> Value {
        let cancelled = event.cancelled || copy.gone;
        let details = copy.removed_by_owner && self.role >= Role::Writer;
        let mut value = json!({"kind": "calendar#event", "id": event.id});
        value["status"] = json!(if cancelled { "cancelled" } else { "confirmed" });
        if let Some(slot) = &event.slot {
            value["recurringEventId"] = json!(slot.series);
            value["originalStartTime"] = self.time(&slot.original);
        }
        if !cancelled || details {
            self.add_times(&mut value, event);
            if self.sees(event) {
                self.add_details(&mut value, event);
            } else if self.role >= Role::Reader {
                value["visibility"] = json!(event.visibility);
                value["iCalUID"] = json!(uid(event));
            }
        }
        value["etag"] = etag_of(&value).into();
        if self.world.settings.calendar.garbled.contains(&event.id) {
            value["attendees"] = json!("everybody");
        }
        value
    }

    fn add_times(&self, value: &mut Value, event: &Event) {
        value["start"] = self.time(&event.start);
        value["end"] = match (event.end_day(), &event.start) {
            (Some(day), _) => json!({"date": day.to_string()}),
            (None, Moment::Clock(_, zone)) => {
                json!({"dateTime": self.written(event.bounds(&self.zone).1), "timeZone": zone})
            }
            (None, Moment::Day(_)) => Value::Null,
        };
        if let Some(rule) = &event.rule {
            let mut lines = vec![rule.to_string()];
            lines.extend(event.except.iter().map(|slot| match slot {
                Moment::Day(_) => format!("EXDATE;VALUE=DATE:{}", slot.stamp()),
                Moment::Clock(clock, zone) => format!("EXDATE;TZID={zone}:{}", clock.strftime("%Y%m%dT%H%M%S")),
            }));
            value["recurrence"] = json!(lines);
        }
    }

    fn add_details(&self, value: &mut Value, event: &Event) {
        let public_url = &self.world.identity.public_url;
        value["htmlLink"] = json!(format!("{public_url}/calendar?event={}", event.id));
        value["created"] = json!(event.created_at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string());
        value["updated"] = json!(event.updated_at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string());
        for (name, text) in
            [("summary", &event.title), ("description", &event.description), ("location", &event.location)]
        {
            if !text.is_empty() {
                value[name] = json!(text);
            }
        }
        let organizer = if event.organizer.is_empty() { &event.home } else { &event.organizer };
        value["creator"] = self.party(organizer);
        value["organizer"] = self.party(organizer);
        if event.visibility != "default" {
            value["visibility"] = json!(event.visibility);
        }
        if event.free {
            value["transparency"] = json!("transparent");
        }
        value["iCalUID"] = json!(uid(event));
        value["sequence"] = json!(event.sequence);
        value["reminders"] = json!({"useDefault": true});
        value["eventType"] = json!(event.kind);
        self.add_guests(value, event);
        self.add_kind(value, event);
        if event.call {
            let (key, code) = (event.id.get(..10).unwrap_or("call"), "0000");
            let link = format!("https://meet.example/{key}");
            value["hangoutLink"] = json!(link);
            value["conferenceData"] = json!({
                "conferenceId": key,
                "conferenceSolution": {"key": {"type": "hangoutsMeet"}, "name": "Sandbox Meet"},
                "entryPoints": [
                    {"entryPointType": "video", "uri": link, "label": link.trim_start_matches("https://")},
                    {"entryPointType": "phone", "uri": "tel:+49-30-000000", "label": "+49 30 000000", "pin": code},
                ],
            });
        }
    }

    fn party(&self, email: &str) -> Value {
        let mut party = json!({"email": email});
        if let Some(person) = self.world.identity.person_by_email(email).filter(|_| email.contains('@')) {
            party["displayName"] = json!(person.name);
        }
        if self.is_own(email) || email == self.calendar.id {
            party["self"] = json!(true);
        }
        party
    }

    fn add_guests(&self, value: &mut Value, event: &Event) {
        let organizes = self.is_own(&event.organizer);
        let all = event.guests.len() <= self.guests_max && (organizes || !event.guests_hidden);
        let shown = event.guests.iter().filter(|guest| all || self.is_own(&guest.email));
        let guests: Vec<Value> = shown
            .map(|guest| {
                let mut one = self.party(&guest.email);
                one["responseStatus"] = json!(guest.answer);
                for (name, flag) in
                    [("optional", guest.optional), ("organizer", guest.email.eq_ignore_ascii_case(&event.organizer))]
                {
                    if flag {
                        one[name] = json!(true);
                    }
                }
                one
            })
            .collect();
        if !guests.is_empty() {
            value["attendees"] = guests.into();
        }
        if event.guests.len() > self.guests_max {
            value["attendeesOmitted"] = json!(true);
        }
        if event.guests_hidden {
            value["guestsCanSeeOtherGuests"] = json!(false);
        }
    }

    fn add_kind(&self, value: &mut Value, event: &Event) {
        match event.kind.as_str() {
            "workingLocation" if event.office == "home" => {
                value["workingLocationProperties"] = json!({"type": "homeOffice", "homeOffice": {}});
            }
            "workingLocation" => {
                let office = json!({"label": event.office});
                value["workingLocationProperties"] = json!({"type": "officeLocation", "officeLocation": office});
            }
            "outOfOffice" => {
                let mode = "declineAllConflictingInvitations";
                value["outOfOfficeProperties"] = json!({"autoDeclineMode": mode, "declineMessage": "Away."});
            }
            "focusTime" => {
                let mode = "declineNone";
                value["focusTimeProperties"] = json!({"autoDeclineMode": mode, "chatStatus": "doNotDisturb"});
            }
            "birthday" => value["birthdayProperties"] = json!({"type": "birthday"}),
            _ => {}
        }
    }
}

fn uid(event: &Event) -> String {
    let id = event.slot.as_ref().map_or(&event.id, |slot| &slot.series);
    format!("{id}@google.com")
}

/// What of a calendar is wanted.
struct Wanted {
    /// Changes after this one only.
    since: Option<u64>,
    single: bool,
    deleted: bool,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    updated_min: Option<Timestamp>,
    kinds: BTreeSet<String>,
    text: Option<String>,
    uid: Option<String>,
    /// Nothing of ours has such properties.
    by_property: bool,
}

impl Wanted {
    fn parse(world: &World, reader: &Reader<'_>, query: &Query, token: Option<&SyncToken>) -> Result<Wanted, ApiError> {
        let instant = |name: &str, text: &str| -> Result<Timestamp, ApiError> {
            text.parse().map_err(|_| ApiError::bad_request(format!("Invalid value for: {name}: {text}")))
        };
        let given = |name: &str| query.one(name).map(|text| instant(name, text)).transpose();
        let kept = |text: &str| text.parse::<Timestamp>().ok();
        let (from, until) = match token {
            Some(token) => (kept(&token.from), kept(&token.until)),
            None => (given("timeMin")?, given("timeMax")?),
        };
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return Err(ApiError::bad_request("The specified time range is empty."));
        }
        let updated_min = given("updatedMin")?;
        let oldest = world.settings.calendar.updated_min_life_s;
        let oldest = world.clock.now().saturating_sub(SignedDuration::from_secs(oldest)).unwrap_or(Timestamp::MIN);
        if updated_min.is_some_and(|updated_min| updated_min < oldest) {
            return Err(ApiError::gone("updatedMinTooLongAgo"));
        }
        let known = ["birthday", "default", "focusTime", "fromGmail", "outOfOffice", "workingLocation"];
        let kinds: BTreeSet<String> = query.all("eventTypes").map(str::to_owned).collect();
        if let Some(kind) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
            return Err(unknown_value("event_types", kind));
        }
        Ok(Wanted {
            since: token.map(|token| token.change),
            single: query.flag("singleEvents")? || reader.role == Role::FreeBusyReader,
            deleted: query.flag("showDeleted")? || token.is_some() || updated_min.is_some(),
            from,
            until,
            updated_min,
            kinds,
            text: query.one("q").map(str::to_lowercase),
            uid: query.one("iCalUID").map(str::to_owned),
            by_property: query.one("privateExtendedProperty").or(query.one("sharedExtendedProperty")).is_some(),
        })
    }

    fn fits(&self, reader: &Reader<'_>, event: &Event, copy: &Copy) -> bool {
        let text = || format!("{} {} {}", event.title, event.location, event.description).to_lowercase();
        self.since.is_none_or(|since| copy.change > since)
            && self.updated_min.is_none_or(|least| copy.at_ms >= least.as_millisecond())
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.text.as_ref().is_none_or(|wanted| reader.sees(event) && text().contains(wanted))
            && self.uid.as_ref().is_none_or(|wanted| *wanted == uid(event))
            && !self.by_property
    }

    fn within(&self, reader: &Reader<'_>, event: &Event) -> bool {
        let overlaps = |event: &Event| {
            let (start, end) = event.bounds(&reader.zone);
            self.from.is_none_or(|from| end > from) && self.until.is_none_or(|until| start < until)
        };
        if (self.from.is_none() && self.until.is_none()) || event.rule.is_none() {
            return overlaps(event);
        }
        event.slots(self.end(reader)).iter().any(|slot| overlaps(&event.at(slot)))
    }

    fn end(&self, reader: &Reader<'_>) -> Timestamp {
        let horizon = reader.world.horizon();
        self.until.map_or(horizon, |until| until.min(horizon))
    }
}

/// An entry of a list before it is written.
struct Item<'a> {
    event: Cow<'a, Event>,
    copy: Cow<'a, Copy>,
}

impl Item<'_> {
    fn key(&self, reader: &Reader<'_>, order: Option<&str>, since: bool) -> String {
        let ms = |at: Timestamp| format!("{:020}", i128::from(at.as_millisecond()) + 1_000_000_000_000_000);
        let first = match order {
            Some("startTime") => ms(self.event.bounds(&reader.zone).0),
            Some(_) => format!("{:020}", self.copy.at_ms),
            None if since => format!("{:020}", self.copy.change),
            None => String::new(),
        };
        format!("{first}{}", self.event.id)
    }
}

fn events(world: &World, caller: &Caller, query: &Query, id: &str, empty: bool) -> Result<Value, ApiError> {
    query.allow(&LIST_PARAMETERS)?;
    let reader = Reader::new(world, caller, query, id)?;
    let purpose = query.purpose(&format!("events/{}/{}", caller.sub, reader.calendar.id), &TOKEN_FREE);
    let (role, epoch, current) = (reader.role_word(), reader.calendar.epoch, reader.calendar.current);
    let token = sync_token(world, query, &purpose, epoch, &role, &FORBIDDEN)?;
    let wanted = Wanted::parse(world, &reader, query, token.as_ref())?;
    let order = query.one("orderBy");
    match order {
        None | Some("updated") => {}
        Some("startTime") if wanted.single => {}
        Some("startTime") => {
            return Err(ApiError::bad_request("The requested ordering is not available for the particular query."));
        }
        Some(other) => return Err(unknown_value("order_by", other)),
    }
    let place = Place::read(world, query, &purpose, current, (250, 2_500), empty)?;
    // In the order of ids a page is found without looking at the others: some calendars are very long.
    let plain = order.is_none() && !wanted.single && wanted.since.is_none();
    let (after, most) = if plain { (place.after.as_str(), place.size + 1) } else { ("", usize::MAX) };
    let items = listed(&reader, &wanted, after, most);
    let items = items.into_iter().map(|item| (item.key(&reader, order, wanted.since.is_some()), item)).collect();
    let page = page(place, items);
    let values: Vec<Value> = page.items.iter().map(|item| reader.value(&item.event, &item.copy)).collect();
    let mut answer = answer_of(&reader);
    answer["etag"] = etag_of(&json!([current, values])).into();
    answer["items"] = values.into();
    // Without an order of its own the list can be continued; after a search or `updatedMin` nothing can be.
    let unbound = ["orderBy", "q", "iCalUID", "updatedMin", "privateExtendedProperty", "sharedExtendedProperty"];
    match page.next {
        Some(next) => answer["nextPageToken"] = next.into(),
        None if unbound.iter().any(|name| query.one(name).is_some()) => {}
        None => {
            let text = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
            let (from, until) = (text(wanted.from), text(wanted.until));
            let issued_ms = world.clock.now().as_millisecond();
            let token = SyncToken { purpose, change: page.change, issued_ms, epoch, role, from, until };
            answer["nextSyncToken"] = token.write().into();
        }
    }
    Ok(answer)
}

fn answer_of(reader: &Reader<'_>) -> Value {
    let latest = reader.calendar.copies.values().map(|copy| copy.at_ms).max().unwrap_or(0);
    let latest = Timestamp::from_millisecond(latest).unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "kind": "calendar#events",
        "summary": reader.calendar.name,
        "updated": latest.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        "timeZone": reader.zone_name,
        "accessRole": reader.role,
        "defaultReminders": [],
    })
}

/// What in a calendar is wanted, in the order of ids: behind `after`, and not more than `most`.
fn listed<'a>(reader: &Reader<'a>, wanted: &Wanted, after: &str, most: usize) -> Vec<Item<'a>> {
    let agenda = &reader.world.agenda;
    let mut items = Vec::new();
    let behind = (Bound::Excluded(after), Bound::Unbounded);
    for (id, copy) in reader.calendar.copies.range::<str, _>(behind) {
        if items.len() >= most {
            break;
        }
        let Some(event) = agenda.events.get(id).filter(|event| wanted.fits(reader, event, copy)) else {
            continue;
        };
        if wanted.single && event.rule.is_some() {
            add_occurrences(reader, wanted, event, copy, &mut items);
            continue;
        }
        let cancelled = event.cancelled || copy.gone;
        // A cancelled exception belongs to its series as long as there is that series and it isn't expanded.
        let series = event.slot.as_ref().and_then(|slot| agenda.events.get(&slot.series));
        let stub = series.is_some_and(|series| !series.cancelled) && !wanted.single;
        if cancelled && !wanted.deleted && !stub {
            continue;
        }
        let copy = if is_free_time(reader, event) { Cow::Owned(gone(copy)) } else { Cow::Borrowed(copy) };
        if (wanted.since.is_some() || !copy.gone || cancelled) && (cancelled || wanted.within(reader, event)) {
            items.push(Item { event: Cow::Borrowed(event), copy });
        }
    }
    if wanted.single {
        // An exception speaks for itself, also of a slot that its series no longer has. It comes after the series.
        let mut said = BTreeSet::new();
        items.reverse();
        items.retain(|item: &Item<'_>| said.insert(item.event.id.clone()));
        items.reverse();
    }
    items
}

/// Whether a reader of free and busy times has nothing to see.
fn is_free_time(reader: &Reader<'_>, event: &Event) -> bool {
    reader.role == Role::FreeBusyReader && event.free
}

fn gone(copy: &Copy) -> Copy {
    Copy { gone: true, removed_by_owner: false, ..copy.clone() }
}

/// The occurrences of a series that have no exception, and, for those who read changes, what is no occurrence any more.
fn add_occurrences<'a>(
    reader: &Reader<'_>,
    wanted: &Wanted,
    series: &Event,
    copy: &'a Copy,
    items: &mut Vec<Item<'a>>,
) {
    let cancelled = series.cancelled || copy.gone || is_free_time(reader, series);
    if cancelled && !wanted.deleted {
        return;
    }
    let exceptions: BTreeSet<&str> =
        reader.world.agenda.exceptions(&series.id).map(|exception| exception.id.as_str()).collect();
    let mut add = |slot: &Moment, cancelled: bool| {
        let event = series.at(slot);
        if (cancelled || !exceptions.contains(event.id.as_str())) && wanted.within(reader, &event) {
            let copy = if cancelled { Cow::Owned(gone(copy)) } else { Cow::Borrowed(copy) };
            items.push(Item { event: Cow::Owned(event), copy });
        }
    };
    for slot in series.slots(wanted.end(reader)) {
        add(&slot, cancelled);
    }
    if wanted.since.is_some() {
        for slot in &series.former {
            add(slot, true);
        }
        if series.was_single {
            let event = Event { rule: None, ..series.clone() };
            items.push(Item { event: Cow::Owned(event), copy: Cow::Owned(gone(copy)) });
        }
    }
}

fn instances(
    world: &World,
    caller: &Caller,
    query: &Query,
    id: &str,
    series: &str,
    empty: bool,
) -> Result<Value, ApiError> {
    query.allow(&[
        "alwaysIncludeEmail",
        "maxAttendees",
        "maxResults",
        "originalStart",
        "pageToken",
        "showDeleted",
        "timeMax",
        "timeMin",
        "timeZone",
    ])?;
    let reader = Reader::new(world, caller, query, id)?;
    let (event, copy) = stored(&reader, series)?;
    if event.cancelled || copy.gone {
        return Err(ApiError::gone("deleted"));
    }
    if event.rule.is_none() {
        return Err(ApiError::bad_request("The event is not a recurring event."));
    }
    let wanted = Wanted { single: true, ..Wanted::parse(world, &reader, query, None)? };
    let mut items = Vec::new();
    add_occurrences(&reader, &wanted, event, copy, &mut items);
    for exception in reader.world.agenda.exceptions(series) {
        let Some(copy) = reader.calendar.copies.get(&exception.id) else { continue };
        if (wanted.deleted || !(exception.cancelled || copy.gone)) && wanted.within(&reader, exception) {
            items.push(Item { event: Cow::Borrowed(exception), copy: Cow::Borrowed(copy) });
        }
    }
    if let Some(original) = query.one("originalStart") {
        let of = |item: &Item| item.event.slot.as_ref().map(|slot| reader.time(&slot.original));
        let meant = |value: &Value| ["date", "dateTime"].iter().any(|name| value[name].as_str() == Some(original));
        items.retain(|item| of(item).is_some_and(|value| meant(&value)));
    }
    let items: Vec<(String, Item)> =
        items.into_iter().map(|item| (item.key(&reader, Some("startTime"), false), item)).collect();
    let mut answer = answer_of(&reader);
    let purpose = format!("instances/{}/{id}/{series}", caller.sub);
    let page = page(Place::read(world, query, &purpose, 0, (250, 2_500), empty)?, items);
    let values: Vec<Value> = page.items.iter().map(|item| reader.value(&item.event, &item.copy)).collect();
    answer["etag"] = etag_of(&json!(values)).into();
    answer["items"] = values.into();
    if let Some(next) = page.next {
        answer["nextPageToken"] = next.into();
    }
    Ok(answer)
}

fn stored<'a>(reader: &Reader<'a>, id: &str) -> Result<(&'a Event, &'a Copy), ApiError> {
    let event = reader.world.agenda.events.get(id);
    event.zip(reader.calendar.copies.get(id)).ok_or_else(not_found)
}

fn event(world: &World, caller: &Caller, query: &Query, id: &str, event: &str) -> Result<Value, ApiError> {
    query.allow(&["alwaysIncludeEmail", "maxAttendees", "timeZone"])?;
    let reader = Reader::new(world, caller, query, id)?;
    if let Ok((event, copy)) = stored(&reader, event) {
        return Ok(reader.value(event, copy));
    }
    let (series, stamp) = event.rsplit_once('_').ok_or_else(not_found)?;
    let (series, copy) = stored(&reader, series)?;
    let slot = series.slots(world.horizon()).into_iter().find(|slot| slot.stamp() == stamp);
    let slot = slot.filter(|_| series.rule.is_some()).ok_or_else(not_found)?;
    Ok(reader.value(&series.at(&slot), copy))
}

/// A channel for the events of a calendar that the caller may read.
fn watch(world: &mut World, caller: &Caller, query: &Query, id: &str, body: &[u8]) -> Result<Value, ApiError> {
    query.allow(&LIST_PARAMETERS)?;
    let calendar = Reader::new(world, caller, query, id)?.calendar.id.clone();
    world.open_channel(caller, &calendar, body)
}

// Schemas: the names that `fields` may use, from the discovery document.

static EVENT_REMINDER: &[Field] = &[leaf("method"), leaf("minutes")];
static EVENT_ATTACHMENT: &[Field] =
    &[leaf("fileId"), leaf("fileUrl"), leaf("iconLink"), leaf("mimeType"), leaf("title")];
static EVENT_ATTENDEE: &[Field] = &[
    leaf("additionalGuests"),
    leaf("asyncOperation"),
    leaf("comment"),
    leaf("displayName"),
    leaf("email"),
    leaf("id"),
    leaf("optional"),
    leaf("organizer"),
    leaf("resource"),
    leaf("responseStatus"),
    leaf("self"),
];
static EVENT_BIRTHDAY_PROPERTIES: &[Field] = &[leaf("contact"), leaf("customTypeName"), leaf("type")];
static CONFERENCE_SOLUTION_KEY: &[Field] = &[leaf("type")];
static CONFERENCE_SOLUTION: &[Field] = &[leaf("iconUri"), nest("key", CONFERENCE_SOLUTION_KEY), leaf("name")];
static CONFERENCE_REQUEST_STATUS: &[Field] = &[leaf("statusCode")];
static CREATE_CONFERENCE_REQUEST: &[Field] = &[
    nest("conferenceSolutionKey", CONFERENCE_SOLUTION_KEY),
    leaf("requestId"),
    nest("status", CONFERENCE_REQUEST_STATUS),
];
static ENTRY_POINT: &[Field] = &[
    leaf("accessCode"),
    leaf("entryPointFeatures"),
    leaf("entryPointType"),
    leaf("label"),
    leaf("meetingCode"),
    leaf("passcode"),
    leaf("password"),
    leaf("pin"),
    leaf("regionCode"),
    leaf("uri"),
];
static CONFERENCE_PARAMETERS_ADD_ON_PARAMETERS: &[Field] = &[leaf("parameters")];
static CONFERENCE_PARAMETERS: &[Field] = &[nest("addOnParameters", CONFERENCE_PARAMETERS_ADD_ON_PARAMETERS)];
static CONFERENCE_DATA: &[Field] = &[
    leaf("conferenceId"),
    nest("conferenceSolution", CONFERENCE_SOLUTION),
    nest("createRequest", CREATE_CONFERENCE_REQUEST),
    nest("entryPoints", ENTRY_POINT),
    leaf("notes"),
    nest("parameters", CONFERENCE_PARAMETERS),
    leaf("signature"),
];
static EVENT_CREATOR: &[Field] = &[leaf("displayName"), leaf("email"), leaf("id"), leaf("self")];
static EVENT_DATE_TIME: &[Field] = &[leaf("date"), leaf("dateTime"), leaf("timeZone")];
static EVENT_EXTENDED_PROPERTIES: &[Field] = &[leaf("private"), leaf("shared")];
static EVENT_FOCUS_TIME_PROPERTIES: &[Field] = &[leaf("autoDeclineMode"), leaf("chatStatus"), leaf("declineMessage")];
static EVENT_GADGET: &[Field] = &[
    leaf("display"),
    leaf("height"),
    leaf("iconLink"),
    leaf("link"),
    leaf("preferences"),
    leaf("title"),
    leaf("type"),
    leaf("width"),
];
static EVENT_ORGANIZER: &[Field] = &[leaf("displayName"), leaf("email"), leaf("id"), leaf("self")];
static EVENT_OUT_OF_OFFICE_PROPERTIES: &[Field] = &[leaf("autoDeclineMode"), leaf("declineMessage")];
static EVENT_REMINDERS: &[Field] = &[nest("overrides", EVENT_REMINDER), leaf("useDefault")];
static EVENT_SOURCE: &[Field] = &[leaf("title"), leaf("url")];
static EVENT_WORKING_LOCATION_PROPERTIES_CUSTOM_LOCATION: &[Field] = &[leaf("label")];
static EVENT_WORKING_LOCATION_PROPERTIES_OFFICE_LOCATION: &[Field] =
    &[leaf("buildingId"), leaf("deskId"), leaf("floorId"), leaf("floorSectionId"), leaf("label")];
static EVENT_WORKING_LOCATION_PROPERTIES: &[Field] = &[
    nest("customLocation", EVENT_WORKING_LOCATION_PROPERTIES_CUSTOM_LOCATION),
    leaf("homeOffice"),
    nest("officeLocation", EVENT_WORKING_LOCATION_PROPERTIES_OFFICE_LOCATION),
    leaf("type"),
];
static EVENT: &[Field] = &[
    leaf("anyoneCanAddSelf"),
    nest("attachments", EVENT_ATTACHMENT),
    nest("attendees", EVENT_ATTENDEE),
    leaf("attendeesOmitted"),
    nest("birthdayProperties", EVENT_BIRTHDAY_PROPERTIES),
    leaf("colorId"),
    nest("conferenceData", CONFERENCE_DATA),
    leaf("created"),
    nest("creator", EVENT_CREATOR),
    leaf("description"),
    nest("end", EVENT_DATE_TIME),
    leaf("endTimeUnspecified"),
    leaf("etag"),
    leaf("eventLabelId"),
    leaf("eventType"),
    nest("extendedProperties", EVENT_EXTENDED_PROPERTIES),
    nest("focusTimeProperties", EVENT_FOCUS_TIME_PROPERTIES),
    nest("gadget", EVENT_GADGET),
    leaf("guestsCanInviteOthers"),
    leaf("guestsCanModify"),
    leaf("guestsCanSeeOtherGuests"),
    leaf("hangoutLink"),
    leaf("htmlLink"),
    leaf("iCalUID"),
    leaf("id"),
    leaf("kind"),
    leaf("location"),
    leaf("locked"),
    nest("organizer", EVENT_ORGANIZER),
    nest("originalStartTime", EVENT_DATE_TIME),
    nest("outOfOfficeProperties", EVENT_OUT_OF_OFFICE_PROPERTIES),
    leaf("privateCopy"),
    leaf("recurrence"),
    leaf("recurringEventId"),
    nest("reminders", EVENT_REMINDERS),
    leaf("sequence"),
    nest("source", EVENT_SOURCE),
    nest("start", EVENT_DATE_TIME),
    leaf("status"),
    leaf("summary"),
    leaf("transparency"),
    leaf("updated"),
    leaf("visibility"),
    nest("workingLocationProperties", EVENT_WORKING_LOCATION_PROPERTIES),
];
static EVENTS: &[Field] = &[
    leaf("accessRole"),
    nest("defaultReminders", EVENT_REMINDER),
    leaf("description"),
    leaf("etag"),
    nest("items", EVENT),
    leaf("kind"),
    leaf("nextPageToken"),
    leaf("nextSyncToken"),
    leaf("summary"),
    leaf("timeZone"),
    leaf("updated"),
];
static CONFERENCE_PROPERTIES: &[Field] = &[leaf("allowedConferenceSolutionTypes")];
static CALENDAR_NOTIFICATION: &[Field] = &[leaf("method"), leaf("type")];
static CALENDAR_LIST_ENTRY_NOTIFICATION_SETTINGS: &[Field] = &[nest("notifications", CALENDAR_NOTIFICATION)];
static CALENDAR_LIST_ENTRY: &[Field] = &[
    leaf("accessRole"),
    leaf("autoAcceptInvitations"),
    leaf("backgroundColor"),
    leaf("colorId"),
    nest("conferenceProperties", CONFERENCE_PROPERTIES),
    leaf("dataOwner"),
    nest("defaultReminders", EVENT_REMINDER),
    leaf("deleted"),
    leaf("description"),
    leaf("etag"),
    leaf("foregroundColor"),
    leaf("hidden"),
    leaf("id"),
    leaf("kind"),
    leaf("location"),
    nest("notificationSettings", CALENDAR_LIST_ENTRY_NOTIFICATION_SETTINGS),
    leaf("primary"),
    leaf("selected"),
    leaf("summary"),
    leaf("summaryOverride"),
    leaf("timeZone"),
];
static CALENDAR_LIST: &[Field] =
    &[leaf("etag"), nest("items", CALENDAR_LIST_ENTRY), leaf("kind"), leaf("nextPageToken"), leaf("nextSyncToken")];
static CHANNEL: &[Field] = &[
    leaf("address"),
    leaf("expiration"),
    leaf("id"),
    leaf("kind"),
    leaf("params"),
    leaf("payload"),
    leaf("resourceId"),
    leaf("resourceUri"),
    leaf("token"),
    leaf("type"),
];

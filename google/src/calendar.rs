//! Calendars and events of one person, as far as `calendar.readonly` reaches.
//!
//! Source: the Calendar API's discovery document and its guides on synchronization, errors and push. A sync token is
//! bound to the parameters of the listing that gave it, so there is exactly one set of them here: [`Calendar::events`]
//! sends it with and without a token. A reader must not break that, nor ask for what was written into an event: no type
//! here has room for a description, a comment, an attachment or a conference's passcode.

use jiff::{Timestamp, civil::Date};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::{
    calls::{self, Call},
    endpoints::check_address,
    error::{Error, ErrorKind, Refusal},
    request::{Caller, Client, Request},
    wire,
};

/// How many calendars a page may have: the most that Google gives.
const CALENDARS_PER_PAGE: &str = "250";
/// How many events a page has mostly. Google gives 2,500, but that many, each with [`GUESTS_MAX`] guests, would be
/// larger than any answer that is read.
pub const EVENTS_PER_PAGE: u16 = 500;
/// Events with more guests come without them ([`Event::attendees_omitted`]): beyond 200 Google stops telling who
/// accepted anyway.
const GUESTS_MAX: &str = "200";
/// The longest page or sync token that is sent back. Google's have fewer than 100 characters and promise nothing.
const TOKEN_LENGTH_MAX: usize = 2048;
/// The longest id of a channel that Google takes.
const CHANNEL_ID_LENGTH_MAX: usize = 64;
/// The longest token of a channel that Google takes.
const CHANNEL_TOKEN_LENGTH_MAX: usize = 256;
/// The longest id of a resource that is sent back; Google's have about 30 characters.
const RESOURCE_ID_LENGTH_MAX: usize = 256;

/// The calendars of one person.
#[derive(Clone, Copy, Debug)]
pub struct Calendar<'a> {
    client: &'a Client,
    caller: &'a Caller,
}

/// Where a list is continued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// What the last complete reading gave; `None` reads everything. The same on each page of one reading.
    pub sync_token: Option<&'a str>,
    /// What the previous page gave; `None` for the first page.
    pub page_token: Option<&'a str>,
}

/// A page of a person's calendars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CalendarPage {
    /// The calendars; with a sync token those that changed. A page may be empty and still have a next one.
    #[serde(rename = "items", default, deserialize_with = "readable")]
    pub calendars: Readable<CalendarEntry>,
    /// How to ask for the next page.
    #[serde(default, deserialize_with = "wire::maybe_text")]
    pub next_page_token: Option<String>,
    /// How to ask for what changes from now on. On the last page only.
    #[serde(default, deserialize_with = "wire::maybe_text")]
    pub next_sync_token: Option<String>,
}

/// A calendar in a person's list. Hostile text, as everything that other people can name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CalendarEntry {
    /// Its id, which looks like an address.
    pub id: String,
    /// Changes with the entry.
    pub etag: Option<String>,
    /// Its name.
    pub summary: Option<String>,
    /// The name that the person gave it.
    pub summary_override: Option<String>,
    /// The IANA name of its time zone.
    pub time_zone: Option<String>,
    /// `freeBusyReader`, `reader`, `writerWithoutPrivateAccess`, `writer`, `owner`, or a word that is new.
    pub access_role: Option<String>,
    /// Whether it is the person's own first calendar.
    #[serde(deserialize_with = "wire::or_default")]
    pub primary: bool,
    /// Whether its events are shown in the person's calendar.
    #[serde(deserialize_with = "wire::or_default")]
    pub selected: bool,
    /// Whether the person hides it from the list.
    #[serde(deserialize_with = "wire::or_default")]
    pub hidden: bool,
    /// Whether it left the list.
    #[serde(deserialize_with = "wire::or_default")]
    pub deleted: bool,
    /// The address of the person to whom a secondary calendar belongs.
    pub data_owner: Option<String>,
}

/// A page of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPage {
    /// The events; with a sync token those that changed, deletions included. A page may be short or empty and still
    /// have a next one.
    #[serde(rename = "items", default, deserialize_with = "readable")]
    pub events: Readable<Event>,
    /// How to ask for the next page.
    #[serde(default, deserialize_with = "wire::maybe_text")]
    pub next_page_token: Option<String>,
    /// How to ask for what changes from now on. On the last page only; kept before that, events would be lost.
    #[serde(default, deserialize_with = "wire::maybe_text")]
    pub next_sync_token: Option<String>,
    /// The IANA name of the calendar's time zone.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// As in [`CalendarEntry::access_role`]. A `freeBusyReader` gets occurrences without details instead of series.
    #[serde(default)]
    pub access_role: Option<String>,
}

/// Entries of a page. One that can't be read doesn't take the page, and with it the cursor, along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable<T> {
    /// Those that could be read.
    pub items: Vec<T>,
    /// The ids of those that could not; empty text where even that was missing.
    pub unreadable: Vec<String>,
}

impl<T> Default for Readable<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unreadable: Vec::new() }
    }
}

/// What has an id without which it is of no use.
pub(crate) trait Identified {
    /// The id; empty when it is missing.
    fn id(&self) -> &str;
}

impl Identified for Event {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for CalendarEntry {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Reads each entry by itself.
pub(crate) fn readable<'de, D, T>(from: D) -> Result<Readable<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Identified + serde::de::DeserializeOwned,
{
    let mut read = Readable::default();
    for value in Option::<Vec<serde_json::Value>>::deserialize(from)?.unwrap_or_default() {
        let id = value["id"].as_str().unwrap_or_default().to_owned();
        match serde_json::from_value::<T>(value) {
            Ok(item) if !item.id().is_empty() => read.items.push(item),
            _ => read.unreadable.push(id),
        }
    }
    Ok(read)
}

/// An event: a single one, a series, or one occurrence of a series that differs from it.
///
/// Only [`Event::id`] is always there. Of a deleted event Google may send nothing else, and of an occurrence that was
/// cancelled only what [`Event::is_cancelled_occurrence`] needs. Hostile text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// Unique within its calendar.
    pub id: String,
    /// Changes with the event.
    pub etag: Option<String>,
    /// `confirmed`, `tentative` or `cancelled`; confirmed when missing.
    pub status: Option<String>,
    /// `default`, `birthday`, `focusTime`, `fromGmail`, `outOfOffice`, `workingLocation`, or a word that is new.
    pub event_type: Option<String>,
    /// The title. Missing when there is none, or when the reader may not see it.
    pub summary: Option<String>,
    /// Where it is.
    pub location: Option<String>,
    /// When it begins.
    pub start: Option<EventTime>,
    /// When it ends; an all-day event ends before this day.
    pub end: Option<EventTime>,
    /// Whether the end is only Google's guess.
    #[serde(deserialize_with = "wire::or_default")]
    pub end_time_unspecified: bool,
    /// `RRULE`, `RDATE` and `EXDATE` lines; only a series has them.
    #[serde(deserialize_with = "wire::or_default")]
    pub recurrence: Vec<String>,
    /// The series that this is an occurrence of.
    pub recurring_event_id: Option<String>,
    /// Which occurrence it is: when it would begin if nobody had moved it.
    pub original_start_time: Option<EventTime>,
    /// The same in everybody's calendar, and for all occurrences.
    #[serde(rename = "iCalUID")]
    pub ical_uid: Option<String>,
    /// How often it was changed in a way that guests are told of.
    #[serde(deserialize_with = "wire::maybe_whole")]
    pub sequence: Option<i64>,
    /// When it was made, as Google writes it.
    pub created: Option<String>,
    /// When it was changed last, as Google writes it. Not a cursor: some changes don't move it.
    pub updated: Option<String>,
    /// `default`, `public`, `private` or `confidential`; default when missing.
    pub visibility: Option<String>,
    /// `opaque` blocks time, `transparent` doesn't; opaque when missing.
    pub transparency: Option<String>,
    /// Whose event it is. The address may be generated and lead nowhere.
    pub organizer: Option<Party>,
    /// Who made it.
    pub creator: Option<Party>,
    /// Who is invited.
    #[serde(deserialize_with = "wire::or_default")]
    pub attendees: Vec<Attendee>,
    /// Whether not everybody who is invited stands in [`Event::attendees`].
    #[serde(deserialize_with = "wire::or_default")]
    pub attendees_omitted: bool,
    /// Whether guests see each other; yes when missing.
    pub guests_can_see_other_guests: Option<bool>,
    /// The link of a video call.
    pub hangout_link: Option<String>,
    /// Its page in Google Calendar.
    pub html_link: Option<String>,
    /// How to take part from afar.
    pub conference_data: Option<Conference>,
    /// Where the person works; of events of the type `workingLocation`.
    pub working_location_properties: Option<WorkingLocation>,
    /// Of events of the type `outOfOffice`.
    pub out_of_office_properties: Option<OutOfOffice>,
    /// Of events of the type `focusTime`.
    pub focus_time_properties: Option<FocusTime>,
    /// Of events of the type `birthday`.
    pub birthday_properties: Option<Birthday>,
    /// The label that the person put on it.
    pub event_label_id: Option<String>,
    /// Whether this copy can't be changed.
    #[serde(deserialize_with = "wire::or_default")]
    pub locked: bool,
    /// Whether changes of the organizer don't reach this copy.
    #[serde(deserialize_with = "wire::or_default")]
    pub private_copy: bool,
}

impl Event {
    /// Whether it is gone, or an occurrence that doesn't take place.
    pub fn is_cancelled(&self) -> bool {
        self.status.as_deref() == Some("cancelled")
    }

    /// Whether it is the stub of an occurrence that doesn't take place. It has to be kept for the life of its series:
    /// without it the series would bring the occurrence back. Every other cancelled event is a deletion.
    pub fn is_cancelled_occurrence(&self) -> bool {
        self.is_cancelled() && self.recurring_event_id.is_some()
    }
}

/// When something begins or ends, as Google writes it. Google promises either a date or an instant; what doesn't keep
/// that promise still arrives here as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventTime {
    /// The day of an all-day event.
    pub date: Option<String>,
    /// The instant otherwise, with an offset.
    pub date_time: Option<String>,
    /// The IANA name of the zone in which it was entered; a series repeats in it.
    pub time_zone: Option<String>,
}

/// When something begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// A whole day, wherever the reader is.
    Day(Date),
    /// An instant.
    At(Timestamp),
}

impl EventTime {
    /// The day or the instant; `None` when neither can be read.
    pub fn when(&self) -> Option<When> {
        let day = || self.date.as_deref()?.parse().ok().map(When::Day);
        self.date_time.as_deref().and_then(|text| text.parse().ok()).map(When::At).or_else(day)
    }
}

/// Whose event it is, or who made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Party {
    /// The address.
    pub email: Option<String>,
    /// The name.
    pub display_name: Option<String>,
    /// Whether it is the calendar that is read.
    #[serde(rename = "self", deserialize_with = "wire::or_default")]
    pub own: bool,
}

/// Somebody who is invited, or a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attendee {
    /// The address.
    pub email: Option<String>,
    /// The name.
    pub display_name: Option<String>,
    /// `needsAction`, `declined`, `tentative` or `accepted`.
    pub response_status: Option<String>,
    /// Whether it is the calendar that is read.
    #[serde(rename = "self", deserialize_with = "wire::or_default")]
    pub own: bool,
    /// Whether it is the organizer.
    #[serde(deserialize_with = "wire::or_default")]
    pub organizer: bool,
    /// Whether it is a room or a thing.
    #[serde(deserialize_with = "wire::or_default")]
    pub resource: bool,
    /// Whether it works without them.
    #[serde(deserialize_with = "wire::or_default")]
    pub optional: bool,
    /// How many they bring along.
    #[serde(deserialize_with = "wire::whole_or_zero")]
    pub additional_guests: u32,
}

/// How to take part from afar; without codes and pins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conference {
    /// What is used.
    pub conference_solution: Option<ConferenceSolution>,
    /// The ways in.
    #[serde(deserialize_with = "wire::or_default")]
    pub entry_points: Vec<EntryPoint>,
}

/// What a conference is held with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ConferenceSolution {
    /// Its name.
    pub name: Option<String>,
}

/// A way into a conference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntryPoint {
    /// `video`, `phone`, `sip` or `more`.
    pub entry_point_type: Option<String>,
    /// The address; hostile.
    pub uri: Option<String>,
    /// What people read.
    pub label: Option<String>,
}

/// Where somebody works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkingLocation {
    /// `homeOffice`, `officeLocation` or `customLocation`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Somewhere else.
    pub custom_location: Option<CustomLocation>,
    /// In an office.
    pub office_location: Option<OfficeLocation>,
}

/// Somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CustomLocation {
    /// What people read.
    pub label: Option<String>,
}

/// A place in an office.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfficeLocation {
    /// What people read.
    pub label: Option<String>,
    /// The building's id in the organization's list.
    pub building_id: Option<String>,
    /// The floor.
    pub floor_id: Option<String>,
    /// The desk.
    pub desk_id: Option<String>,
}

/// How invitations are answered while somebody is away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutOfOffice {
    /// Which invitations are declined.
    pub auto_decline_mode: Option<String>,
}

/// How somebody is left in peace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FocusTime {
    /// Which invitations are declined.
    pub auto_decline_mode: Option<String>,
    /// What the chat shows.
    pub chat_status: Option<String>,
}

/// What is celebrated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Birthday {
    /// `birthday`, `anniversary`, `custom`, `other` or `self`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What it is when it is `custom`.
    pub custom_type_name: Option<String>,
}

/// A channel to be opened: where Google tells that a calendar changed.
#[derive(Clone, Copy, Debug)]
pub struct ChannelSpec<'a> {
    /// Its id, never used before; at most 64 letters, digits and `-_+/=`.
    pub id: &'a str,
    /// What proves that a notice is meant: at most 256 characters. Google repeats it in each one.
    pub token: &'a SecretString,
    /// Where notices go: https with a certificate that everybody trusts.
    pub address: &'a Url,
    /// How long it shall live, in seconds. Google may give less.
    pub ttl_s: u64,
}

/// An open channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Its id.
    pub id: String,
    /// What is watched, by Google's name. Needed for the stop.
    pub resource_id: String,
    /// When it ends. There is no renewal: open another one before that.
    #[serde(rename = "expiration", default, deserialize_with = "wire::maybe_instant_ms")]
    pub expires_at: Option<Timestamp>,
}

impl Client {
    /// The calendars of one person.
    pub fn calendar<'a>(&'a self, caller: &'a Caller) -> Calendar<'a> {
        Calendar { client: self, caller }
    }
}

impl<'a> Calendar<'a> {
    fn request(self, call: &'static Call) -> Request<'a> {
        let request = Request::new(call, &self.client.inner.endpoints.calendar);
        request.bearer(&self.caller.access_token).on_behalf(&self.caller.on_behalf, self.caller.purpose)
    }

    /// The person's calendars, hidden and removed ones included. A token that is no longer good is
    /// [`ErrorKind::CursorGone`]: read everything.
    pub async fn calendars(self, place: Place<'_>) -> Result<CalendarPage, Error> {
        let request = self.request(&calls::CALENDAR_LIST).query("maxResults", CALENDARS_PER_PAGE);
        let request = request.query("showDeleted", "true").query("showHidden", "true");
        self.client.read(placed(request, place)?).await
    }

    /// The events of a calendar: single ones, series, and the occurrences that differ from their series. Always asked
    /// for in the same way, because a sync token is good for nothing else; only how many come at once, at most
    /// [`EVENTS_PER_PAGE`], may differ, which changes nothing about what is listed ([`Error::is_too_large`]).
    ///
    /// A token that is no longer good is [`ErrorKind::CursorGone`]; [`Error::reason`] says which kind of 410 it was. A
    /// complete reading has no tombstones: what it doesn't name is gone.
    pub async fn events(self, calendar: &'a str, place: Place<'_>, at_once: u16) -> Result<EventPage, Error> {
        let at_once = at_once.clamp(1, EVENTS_PER_PAGE).to_string();
        let request = self.request(&calls::EVENTS).argument(calendar).query("maxResults", at_once);
        self.client.read(placed(request.query("maxAttendees", GUESTS_MAX), place)?).await
    }

    /// Opens a channel for the events of a calendar. Its first notice, `sync`, may come before this answers.
    pub async fn watch(self, calendar: &'a str, channel: ChannelSpec<'a>) -> Result<Channel, Error> {
        let refuse = |why: &str| Err(Error::unsent(calls::EVENTS_WATCH.name, why));
        if !is_channel_id(channel.id) {
            return refuse("the channel's id is too long or has characters that do not belong there");
        }
        if channel.token.expose_secret().is_empty() || channel.token.expose_secret().len() > CHANNEL_TOKEN_LENGTH_MAX {
            return refuse("the channel's token is empty or too long");
        }
        if let Err(error) = check_address("the channel's address", channel.address) {
            return refuse(&error.to_string());
        }
        let body = serde_json::json!({
            "id": channel.id,
            "type": "web_hook",
            "address": channel.address.as_str(),
            "token": channel.token.expose_secret(),
            "params": { "ttl": channel.ttl_s.to_string() },
        });
        self.client.read(self.request(&calls::EVENTS_WATCH).argument(calendar).hiding(channel.token).json(body)).await
    }

    /// Closes a channel. Late notices may still come. One that is closed already is fine.
    pub async fn stop(self, id: &str, resource_id: &str) -> Result<(), Error> {
        if !is_channel_id(id) || resource_id.is_empty() || resource_id.len() > RESOURCE_ID_LENGTH_MAX {
            return Err(Error::unsent(calls::CHANNELS_STOP.name, "the channel's id or its resource's is not valid"));
        }
        let body = serde_json::json!({ "id": id, "resourceId": resource_id });
        match self.client.send(self.request(&calls::CHANNELS_STOP).json(body)).await {
            Err(error) if error.kind == ErrorKind::Refused(Refusal::NotFound) => Ok(()),
            stopped => stopped,
        }
    }
}

fn is_channel_id(id: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
    (1..=CHANNEL_ID_LENGTH_MAX).contains(&id.len()) && id.bytes().all(good)
}

fn placed<'a>(request: Request<'a>, place: Place<'_>) -> Result<Request<'a>, Error> {
    let tokens = [("syncToken", place.sync_token), ("pageToken", place.page_token)];
    tokens.into_iter().try_fold(request, |request, (name, token)| match token {
        Some(token) if token.is_empty() || token.len() > TOKEN_LENGTH_MAX => {
            Err(request.refused("the page or sync token is empty or too long"))
        }
        Some(token) => Ok(request.query(name, token.to_owned())),
        None => Ok(request),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(json: &str) -> EventPage {
        wire::parse(json.as_bytes()).unwrap()
    }

    fn event(json: &str) -> Event {
        page(&format!(r#"{{"items":[{json}]}}"#)).events.items.remove(0)
    }

    #[test]
    fn a_page_may_be_empty_and_still_have_a_next_one() {
        for json in [r#"{"nextPageToken":"p"}"#, r#"{"items":null,"nextPageToken":"p"}"#, r#"{"items":[]}"#] {
            let page = page(json);
            assert!(page.events.items.is_empty() && page.next_sync_token.is_none(), "{json}");
        }
        assert_eq!(page(r#"{"nextPageToken":"","nextSyncToken":"s"}"#).next_page_token, None);
    }

    #[test]
    fn one_unreadable_event_does_not_take_the_page_along() {
        let page = page(r#"{"items":[{"id":"a"},{"id":"b","attendees":7},{"summary":"x"},3],"nextSyncToken":"s"}"#);
        assert_eq!(page.events.items.len(), 1);
        assert_eq!(page.events.unreadable, ["b", "", ""]);
        assert_eq!(page.next_sync_token.as_deref(), Some("s"));
    }

    #[test]
    fn a_stub_may_be_nothing_but_an_id() {
        let gone = event(r#"{"id":"a","status":"cancelled"}"#);
        assert!(gone.is_cancelled() && !gone.is_cancelled_occurrence());
        let original = r#""originalStartTime":{"dateTime":"2026-03-29T09:00:00+02:00","timeZone":"Europe/Paris"}"#;
        let stub = event(&format!(r#"{{"id":"a_1","status":"cancelled","recurringEventId":"a",{original}}}"#));
        assert!(stub.is_cancelled_occurrence());
        let original = stub.original_start_time.unwrap();
        assert_eq!(original.when(), Some(When::At("2026-03-29T07:00:00Z".parse().unwrap())));
        assert_eq!(original.time_zone.as_deref(), Some("Europe/Paris"));
    }

    #[test]
    fn days_and_instants_are_told_apart() {
        let when = |json: &str| serde_json::from_str::<EventTime>(json).unwrap().when();
        assert_eq!(when(r#"{"date":"2026-12-24","timeZone":"UTC"}"#), Some(When::Day("2026-12-24".parse().unwrap())));
        assert_eq!(when(r#"{"date":"soon"}"#), None);
        assert_eq!(when(r#"{"dateTime":"2026-12-24T10:00:00"}"#), None, "an instant needs an offset");
        assert_eq!(when("{}"), None);
    }

    #[test]
    fn what_is_new_is_kept_as_text() {
        let event = event(
            r#"{"id":"a","eventType":"siesta","visibility":"secret","transparency":"opaque","sequence":"3",
            "organizer":{"email":"a@x.example","self":true},"attendeesOmitted":true,
            "attendees":[{"email":"b@x.example","responseStatus":"maybe","additionalGuests":2,"resource":null}],
            "workingLocationProperties":{"type":"officeLocation","officeLocation":{"label":"HQ","deskId":"4"}},
            "conferenceData":{"entryPoints":[{"entryPointType":"video","uri":"https://meet.example/x","pin":"1"}]}}"#,
        );
        assert_eq!((event.event_type.as_deref(), event.sequence), (Some("siesta"), Some(3)));
        assert!(event.organizer.as_ref().unwrap().own && event.attendees_omitted);
        let guest = &event.attendees[0];
        assert_eq!((guest.response_status.as_deref(), guest.additional_guests), (Some("maybe"), 2));
        let place = event.working_location_properties.as_ref().unwrap();
        assert_eq!(place.office_location.as_ref().unwrap().desk_id.as_deref(), Some("4"));
        let doors = &event.conference_data.as_ref().unwrap().entry_points;
        assert_eq!(doors[0].uri.as_deref(), Some("https://meet.example/x"));
    }

    #[test]
    fn the_end_of_a_channel_is_a_number_or_text() {
        for end in ["1795604800000", "\"1795604800000\""] {
            let json = format!(r#"{{"id":"c","resourceId":"r","expiration":{end}}}"#);
            let channel: Channel = wire::parse(json.as_bytes()).unwrap();
            assert_eq!(channel.expires_at.unwrap().as_millisecond(), 1_795_604_800_000);
        }
        assert_eq!(wire::parse::<Channel>(br#"{"id":"c","resourceId":"r"}"#).unwrap().expires_at, None);
    }
}

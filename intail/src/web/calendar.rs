//! The calendar's pages: a week among its hours, the agenda as a list, one event with everybody who is invited, and
//! which calendars are copied. Everything that others wrote is clipped here and escaped by the templates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;

use super::access::Caller;
use super::asked::{Asked, At, Sent};
use super::colleagues::{self, Colleagues, Party};
use super::looks::{self, Looked};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::week::{self, Day, Hours, Layout, Said, Shown};
use super::words::{self, SHOWN_MAX, When, clip, counted, grouped};
use super::{Web, session};
use crate::agenda::{self, Occurrence, Window};
use crate::connect::{self, Connection, Permission};
use crate::store::calendars::{self, CALENDARS_MAX, Calendar, CalendarState, Choice};
use crate::store::channels::{self, Channel};
use crate::store::events::{self, Attendee, Event, Moment};
use crate::store::{StoreError, Tx, agendas, changes};
use crate::sync::calendar_plan::{LIST_ENDLESS, tried_again_at};

/// Channels that are looked through: each calendar has one, and one more while it is renewed.
const CHANNELS_MAX: i64 = 2 * CALENDARS_MAX;
/// Days of the list.
const AGENDA_DAYS: i64 = 28;
/// The longest id of Google's that is looked up: a calendar's may be an address, an event's has at most 1,024.
const ID_LENGTH_MAX: usize = 1_024;
/// The longest name of a time zone; IANA's have fewer than 40 characters.
const ZONE_LENGTH_MAX: usize = 64;
/// Events around one occurrence that are looked through for what stands in its place.
const SLOT_EVENTS_MAX: i64 = 5_000;
/// The years that the pages can be turned to. Beyond them, a slip of the finger is likelier than an appointment.
const YEARS: std::ops::RangeInclusive<i16> = 1_900..=2_200;
/// The line that says what time it is moves by itself; so often the page looks again, in seconds.
const NOW_EVERY_S: u8 = 60;
/// The same where Google doesn't tell of changes: each time is a reason to look, see `looks.rs`.
const LOOKING_EVERY_S: u8 = 20;
/// The same while calendars are being copied or compared.
const SETTLING_EVERY_S: u8 = 2;
/// The header of a page that refreshes itself (`static/live.js`).
const REFRESH: &str = "intail-refresh";
/// Names of zones that are offered beside those of the person's calendars.
const ZONES_OFFERED: [&str; 12] = [
    "UTC",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Johannesburg",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "America/Sao_Paulo",
    "America/New_York",
    "America/Los_Angeles",
];

/// What the page is to show.
#[derive(Deserialize)]
pub(super) struct Wanted {
    view: Option<String>,
    date: Option<String>,
    zone: Option<String>,
    looked: Option<String>,
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct CalendarPage {
    shell: Shell,
    title: String,
    is_week: bool,
    links: Links,
    zone: String,
    /// What was written in its place that is none.
    wrong_zone: Option<WrongZone>,
    zones: Vec<String>,
    date: String,
    days: Vec<Day>,
    hours: Hours,
    /// Whether nothing takes place on any of the days.
    is_empty: bool,
    is_complete: bool,
    unreadable: Vec<CannotRepeat>,
    calendars: Vec<Row>,
    /// Whether events needn't say of which calendar they are.
    has_one: bool,
    state: StateLine,
    /// What somebody is told who asked for a look.
    looked: Option<&'static str>,
    again_every_s: u8,
    /// Where the person comes back to after they chose.
    here: String,
}

/// Where the page can be turned to.
struct Links {
    previous: String,
    next: String,
    today: String,
    week: String,
    agenda: String,
    /// The list of one day, for what has no room among the hours; the day follows it.
    day: String,
}

/// A series that is shown at its beginning only.
struct CannotRepeat {
    title: String,
    href: String,
    why: String,
}

/// A calendar in the list.
struct Row {
    id: String,
    name: String,
    hue: String,
    is_followed: bool,
    is_busy_only: bool,
    state: String,
    untold: Option<Untold>,
}

/// What a calendar has that isn't shown.
struct Untold {
    /// How much.
    text: String,
    /// When it is tried again; none while that is going on.
    again: Option<When>,
}

/// How the copy of the calendars stands.
struct StateLine {
    tone: &'static str,
    text: String,
    as_of: Option<When>,
    mode: Option<Mode>,
    /// Whether Google is asked when somebody wants it.
    may_look: bool,
    /// Whether it will be otherwise in a moment, without anything that the stream would tell.
    settles: bool,
}

/// How changes are learned of, why so, and when that is next.
struct Mode {
    text: String,
    next: Option<When>,
}

/// What the store has of a person's calendars.
pub(super) struct Held {
    pub(super) agenda: agendas::Agenda,
    pub(super) calendars: Vec<Calendar>,
    channels: Vec<Channel>,
}

impl Held {
    /// Of this person; none while there is nothing.
    pub(super) async fn of(tx: &mut Tx, caller: &Caller) -> Result<Option<Self>, StoreError> {
        let Some(agenda) = agendas::by_person(tx, &caller.person.id).await? else { return Ok(None) };
        let calendars = calendars::of_agenda(tx, &agenda.id, CALENDARS_MAX).await?;
        let channels = channels::of_agenda(tx, &agenda.id, CHANNELS_MAX).await?;
        Ok(Some(Self { agenda, calendars, channels }))
    }

    /// The zone of the person's first calendar.
    pub(super) fn own_zone(&self) -> &str {
        let first = self.calendars.iter().find(|it| it.entry.is_primary).or(self.calendars.first());
        first.map_or("UTC", |it| it.entry.zone.as_str())
    }

    /// The calendars that are shown, each with its zone.
    pub(super) fn shown(&self) -> BTreeMap<String, String> {
        self.followed().map(|it| (it.id.clone(), it.entry.zone.clone())).collect()
    }

    /// Those of the calendars that are to be copied that belong to the person: the first one, and those whose owner has
    /// an address of theirs. Others are of people who let them read along, or whom they help: Google names the owner of
    /// each calendar that isn't somebody's first.
    pub(super) fn own<'a>(&'a self, has_address: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'a Calendar> {
        self.followed().filter(move |it| it.entry.is_primary || has_address(&it.entry.data_owner))
    }

    fn followed(&self) -> impl Iterator<Item = &Calendar> {
        self.calendars.iter().filter(|it| it.is_followed())
    }

    /// What the layout needs of them.
    fn looks(&self) -> BTreeMap<String, Shown> {
        let look = |(place, it): (usize, &Calendar)| {
            let name = clip(it.title(), SHOWN_MAX);
            (it.id.clone(), Shown { name, place, is_busy_only: is_busy_only(it), is_first: it.entry.is_primary })
        };
        self.calendars.iter().enumerate().map(look).collect()
    }

    /// The ids of those of which only busy times are seen.
    pub(super) fn busy_only(&self) -> BTreeSet<&str> {
        self.calendars.iter().filter(|it| is_busy_only(it)).map(|it| it.id.as_str()).collect()
    }

    /// Whether the list may have more calendars than are kept.
    fn is_full(&self) -> bool {
        i64::try_from(self.calendars.len()).unwrap_or(i64::MAX) >= CALENDARS_MAX
    }

    /// The calendars that are copied of which Google doesn't tell.
    pub(super) fn untold(&self, connected_at: Timestamp, now: Timestamp) -> impl Iterator<Item = &Calendar> {
        self.followed().filter(move |it| !self.is_told(it, connected_at, now))
    }

    /// Whether Google tells of changes in this calendar, by evidence: a channel that is open and has been heard of.
    fn is_told(&self, calendar: &Calendar, connected_at: Timestamp, now: Timestamp) -> bool {
        self.channels.iter().any(|it| it.calendar_id == calendar.id && it.tells(connected_at, now))
    }
}

/// Whether Google shows the person nothing of a calendar but when it is busy.
fn is_busy_only(calendar: &Calendar) -> bool {
    calendar.entry.access_role == "freeBusyReader"
}

/// The zone that a request wants, or the person's own, with its name.
pub(super) fn zone(wanted: Option<&str>, own: &str) -> Result<(String, TimeZone), Trouble> {
    named_zone(wanted, own).map_err(|wrong| trouble::not_understood(&wrong.sentence))
}

/// The zone in which pages are: the one that the browser remembers, if it is still known, or the person's own.
pub(super) fn zone_of(remembered: Option<&str>, own: &str) -> (String, TimeZone) {
    let chosen = remembered.and_then(|it| named_zone(Some(it), own).ok());
    chosen.or_else(|| named_zone(None, own).ok()).unwrap_or_else(|| ("UTC".to_owned(), TimeZone::UTC))
}

/// The name of a zone that isn't known, and a sentence about it.
struct WrongZone {
    written: String,
    sentence: String,
}

fn named_zone(wanted: Option<&str>, own: &str) -> Result<(String, TimeZone), WrongZone> {
    let name = wanted.map(str::trim).filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Ok(match TimeZone::get(own) {
            Ok(zone) => (own.to_owned(), zone),
            Err(_) => ("UTC".to_owned(), TimeZone::UTC),
        });
    };
    let unknown = || {
        let written = clip(name, ZONE_LENGTH_MAX);
        let sentence = format!("“{written}” is no time zone that is known here. Write it like Europe/Berlin.");
        WrongZone { written, sentence }
    };
    if name.len() > ZONE_LENGTH_MAX {
        return Err(unknown());
    }
    let zone = TimeZone::get(name).map_err(|_| unknown())?;
    // As the database of zones writes it.
    Ok((zone.iana_name().unwrap_or(name).to_owned(), zone))
}

fn day(wanted: Option<&str>, today: Date) -> Result<Date, Trouble> {
    let Some(text) = wanted.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(today) };
    let day = Date::strptime("%Y-%m-%d", text).ok().filter(|day| YEARS.contains(&day.year()));
    day.ok_or_else(|| {
        let (first, last) = (YEARS.start(), YEARS.end());
        trouble::not_understood(&format!("The day can’t be read. Write it like 2026-11-25, from {first} to {last}."))
    })
}

/// `GET /calendar`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    headers: HeaderMap,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Trouble> {
    let now = web.app.clock.now();
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, &caller.person.organization_id).await?;
    let connection = connect::connection(&mut tx, &caller.person.id, now).await?;
    let held = Held::of(&mut tx, &caller).await?;
    let (Some(connection), Some(held)) = (connection, held) else {
        drop(tx);
        return super::integrations::permission_page(&web, &caller, "calendar", Permission::Calendar).await;
    };
    // A slip in the name of a zone is told beside its field; the days are shown as without it.
    let chosen = wanted.zone.filter(|it| !it.trim().is_empty());
    let (chosen, wrong_zone) = match chosen.map(|it| named_zone(Some(&it), held.own_zone())) {
        Some(Ok(chosen)) => (Some(chosen), None),
        Some(Err(wrong)) => (None, Some(wrong)),
        None => (None, None),
    };
    // It is remembered; whoever writes their own is back where they began.
    let other = chosen.as_ref().map(|(name, _)| Some(name.as_str()).filter(|it| *it != held.own_zone()));
    // A page that refreshes itself chooses nothing: another tab may have chosen since.
    let cookie = other.filter(|_| !headers.contains_key(REFRESH)).map(|it| session::remember_zone(&web, it));
    let (is_chosen, remembered) = (chosen.is_some(), session::zone(&web, &headers));
    let (zone_name, zone) = chosen.unwrap_or_else(|| zone_of(remembered.as_deref(), held.own_zone()));
    let today = zone.to_datetime(now).date();
    let date = day(wanted.date.as_deref(), today)?;
    let is_week = wanted.view.as_deref() != Some("agenda");
    let (first, until) = span(date, is_week);
    let window = Window::of_days(first, until, zone.clone());
    let found = agenda::over(&mut tx, &held.agenda.id, &held.shown(), &window).await?;
    drop(tx);
    // Also a browser without cookies goes on in it.
    let carried = carried(is_chosen.then_some(zone_name.as_str()));
    let looks = held.looks();
    let layout = Layout { zone: &zone, now, calendars: &looks, carried: &carried };
    let (days, hours) = layout.days(&found.occurrences, first, until);
    let is_empty = days.iter().all(Day::is_empty);
    let days = days.into_iter().filter(|day| is_week || !day.is_empty() || (day.is_today && !is_empty)).collect();
    looks::at_calendars(&web.app, &connection, &held).await?;
    let state = state_line(&connection, &held, web.app.config.google.calendar_notices, now);
    let told = |it: &Calendar| held.is_told(it, connection.grant.connected_at, now);
    let title = title(first, until.yesterday().unwrap_or(until), is_week);
    let shell = Shell::new(&web, Some(&caller), "calendar", title.clone()).following(last_seq, true);
    let page = html(&CalendarPage {
        shell,
        title,
        is_week,
        links: links(date, is_week, &carried),
        zones: zones(&held, &zone_name),
        zone: zone_name,
        wrong_zone,
        date: date.to_string(),
        days,
        hours,
        is_empty,
        is_complete: found.is_complete,
        unreadable: found.unreadable.iter().map(|(event, why)| cannot_repeat(event, *why, &looks, &carried)).collect(),
        has_one: held.followed().count() == 1,
        calendars: held.calendars.iter().map(|it| row(it, &looks, told(it))).collect(),
        looked: Looked::of(wanted.looked.as_deref()).map(Looked::said),
        again_every_s: match (state.settles, state.may_look && state.mode.as_ref().is_some_and(|it| it.next.is_some()))
        {
            (true, _) => SETTLING_EVERY_S,
            (_, true) => LOOKING_EVERY_S,
            _ => NOW_EVERY_S,
        },
        state,
        here: address(date, is_week, &carried),
    })?;
    Ok(match cookie {
        Some(cookie) => (cookie, page).into_response(),
        None => page,
    })
}

/// The days that a view shows: a week from Monday on, or the list from the day itself on.
fn span(date: Date, is_week: bool) -> (Date, Date) {
    if !is_week {
        return (date, date.saturating_add(AGENDA_DAYS.days()));
    }
    let monday = date.saturating_sub(i64::from(date.weekday().to_monday_zero_offset()).days());
    (monday, monday.saturating_add(7.days()))
}

/// "23 – 29 November 2026".
fn title(first: Date, last: Date, is_week: bool) -> String {
    if !is_week {
        return format!("From {}", first.strftime("%-d %B %Y"));
    }
    let whole = last.strftime("%-d %B %Y");
    match (first.year() == last.year(), first.month() == last.month()) {
        (true, true) => format!("{} – {whole}", first.day()),
        (true, false) => format!("{} – {whole}", first.strftime("%-d %B")),
        _ => format!("{} – {whole}", first.strftime("%-d %B %Y")),
    }
}

/// What links carry on: the zone, if the reader chose one.
fn carried(zone: Option<&str>) -> String {
    let Some(zone) = zone else { return String::new() };
    url::form_urlencoded::Serializer::new(String::new()).append_pair("zone", zone).finish()
}

fn address(date: Date, is_week: bool, carried: &str) -> String {
    let view = if is_week { "" } else { "view=agenda&" };
    let more = if carried.is_empty() { String::new() } else { format!("&{carried}") };
    format!("/calendar?{view}date={date}{more}")
}

fn links(date: Date, is_week: bool, carried: &str) -> Links {
    let step = if is_week { 7 } else { AGENDA_DAYS };
    let turned = |days: i64| {
        let day = date.saturating_add(days.days());
        let day = if YEARS.contains(&day.year()) { day } else { date };
        address(day, is_week, carried)
    };
    // Where the week is a list, today has its heading, to which this leads. The agenda begins with today.
    let today = match (is_week, carried.is_empty()) {
        (true, true) => "/calendar#this-day".to_owned(),
        (true, false) => format!("/calendar?{carried}#this-day"),
        (false, true) => "/calendar?view=agenda".to_owned(),
        (false, false) => format!("/calendar?view=agenda&{carried}"),
    };
    let more = if carried.is_empty() { String::new() } else { format!("{carried}&") };
    Links {
        previous: turned(-step),
        next: turned(step),
        today,
        week: address(date, true, carried),
        agenda: address(date, false, carried),
        day: format!("/calendar?view=agenda&{more}date="),
    }
}

fn zones(held: &Held, current: &str) -> Vec<String> {
    let mut zones: Vec<String> = vec![current.to_owned(), held.own_zone().to_owned()];
    zones.extend(held.calendars.iter().map(|it| clip(&it.entry.zone, ZONE_LENGTH_MAX)));
    zones.extend(ZONES_OFFERED.map(str::to_owned));
    let mut offered: Vec<String> = Vec::new();
    for zone in zones {
        if !zone.is_empty() && !offered.contains(&zone) {
            offered.push(zone);
        }
    }
    offered
}

fn cannot_repeat(
    event: &Arc<Event>,
    why: agenda::recurrence::Unreadable,
    looks: &BTreeMap<String, Shown>,
    carried: &str,
) -> CannotRepeat {
    let is_busy_only = looks.get(&event.calendar_id).is_some_and(|it| it.is_busy_only);
    let starts = event.starts.unwrap_or(Moment::At(Timestamp::UNIX_EPOCH));
    let first = Occurrence { event: event.clone(), starts, ends: starts, slot: None, unreadable: Some(why) };
    CannotRepeat { title: week::title(event, is_busy_only), href: week::href(&first, carried), why: why.to_string() }
}

fn row(calendar: &Calendar, looks: &BTreeMap<String, Shown>, is_told: bool) -> Row {
    let look = looks.get(&calendar.id).cloned().unwrap_or_default();
    let looks_because = |problem: &str| format!("live; Intail looks, because {}", words::channel_hindrance(problem));
    let hindered = calendar.channel_problem.as_deref().filter(|_| !is_told).map(looks_because);
    let state = match calendar.state {
        _ if calendar.problem.is_some() && calendar.is_followed() => "can’t be read at the moment",
        CalendarState::Backfilling => "being copied",
        CalendarState::Reconciling => "being compared with Google",
        CalendarState::Dropping => "being deleted here",
        CalendarState::Idle if calendar.is_followed() => "about to be copied",
        CalendarState::Idle => "not copied",
        CalendarState::Live => hindered.as_deref().unwrap_or("live"),
    };
    Row {
        id: calendar.id.clone(),
        hue: look.hue(),
        name: if look.name.trim().is_empty() { "(no name)".to_owned() } else { look.name },
        is_followed: calendar.is_followed(),
        is_busy_only: look.is_busy_only,
        state: state.to_owned(),
        untold: Some(calendar).filter(|it| it.is_followed() && it.unreadable > 0).map(|it| Untold {
            text: format!("{} can’t be read", counted(it.unreadable, "event", "events")),
            again: tried_again_at(it).map(When::full),
        }),
    }
}

/// How the copy stands, computed from what is there.
fn state_line(connection: &Connection, held: &Held, has_notices: bool, now: Timestamp) -> StateLine {
    let told = |tone, text: &str| StateLine {
        tone,
        text: text.to_owned(),
        as_of: None,
        mode: None,
        may_look: false,
        settles: false,
    };
    let copying = |text: &str| StateLine { settles: true, ..told("busy", text) };
    let permitted = connection.granted.contains(&Permission::Calendar);
    if !connection.works() {
        return told("act", "Stopped; see Integrations");
    }
    if !permitted {
        return told("act", "The calendar isn’t permitted any more; see Integrations");
    }
    if held.agenda.paused_until.is_some_and(|until| until > now) {
        return told("busy", "Paused because Google asked for it");
    }
    let is_list_endless = held.agenda.problem.as_deref() == Some(LIST_ENDLESS);
    if held.agenda.problem.is_some() && !is_list_endless {
        let since = held.agenda.problem_since.map(When::full);
        return StateLine { as_of: since, ..told("act", "Google doesn’t let Intail read") };
    }
    let followed: Vec<&Calendar> = held.followed().collect();
    if held.calendars.is_empty() && held.agenda.listed_at.is_none() {
        return copying("Reading the list of your calendars");
    }
    if followed.is_empty() {
        return told("quiet", "No calendar is chosen");
    }
    let copied = followed.iter().filter(|it| it.synced_at.is_some()).count();
    if copied < followed.len() {
        return copying(&format!("Copying: {copied} of {} calendars", followed.len()));
    }
    let as_of = followed.iter().filter_map(|it| it.synced_at).min().map(When::full);
    if followed.iter().any(|it| it.state == CalendarState::Reconciling) {
        return StateLine { as_of, ..copying("Comparing everything with Google") };
    }
    let untold: Vec<&Calendar> = held.untold(connection.grant.connected_at, now).collect();
    let mode = mode(&untold, followed.len(), has_notices, now);
    let ailing = followed.iter().filter(|it| it.problem.is_some()).count();
    let unreadable: i64 = followed.iter().map(|it| it.unreadable).fold(0, i64::saturating_add);
    let entries = held.agenda.list_unreadable;
    let text = match (ailing, unreadable) {
        (0, 0) if entries > 0 => {
            let calendars = counted(entries, "calendar", "calendars");
            format!("Live, but {calendars} of your list at Google can’t be read")
        }
        (0, 0) => "Live".to_owned(),
        (0, some) => format!("Live, but {} can’t be read", counted(some, "event", "events")),
        (1, _) => "Live, but one calendar can’t be read".to_owned(),
        (many, _) => format!("Live, but {many} calendars can’t be read"),
    };
    let text = match (is_list_endless, held.is_full()) {
        (true, _) => format!("{text}. Google’s list of your calendars has no end: some may be missing"),
        (false, true) => {
            let most = grouped(CALENDARS_MAX);
            format!("{text}. Intail keeps {most} calendars of a list at most: if yours has more, some are missing")
        }
        (false, false) => text,
    };
    let is_whole = ailing == 0 && unreadable == 0 && entries == 0 && !is_list_endless && !held.is_full();
    StateLine {
        tone: if is_whole { "good" } else { "busy" },
        text,
        as_of,
        mode: Some(mode),
        may_look: true,
        settles: false,
    }
}

/// How changes are learned of in `all` calendars, of which these are the ones that Google doesn't tell of.
fn mode(untold: &[&Calendar], all: usize, has_notices: bool, now: Timestamp) -> Mode {
    if untold.is_empty() {
        return Mode { text: "Google tells of changes".to_owned(), next: None };
    }
    let why = match untold.iter().find_map(|it| it.channel_problem.as_deref()) {
        _ if !has_notices => "this Intail has no public https address, which Google needs to tell of changes",
        Some(problem) => words::channel_hindrance(problem),
        None => "no notice of Google’s has arrived yet",
    };
    let text = match all - untold.len().min(all) {
        0 => format!("Intail looks every few minutes, and while this page is open, because {why}"),
        some => {
            format!("Google tells of changes in {some} of {all} calendars. At the others Intail looks, because {why}")
        }
    };
    Mode { text, next: untold.iter().filter_map(|it| it.look_at).filter(|at| *at > now).min().map(When::brief) }
}

/// What the person chose.
#[derive(Deserialize)]
pub(super) struct Chosen {
    calendar: String,
    choice: String,
    back: Option<String>,
}

/// `POST /calendar/choose`: copies a calendar from now on, or deletes the copy of it.
pub(super) async fn choose(
    State(web): State<Web>,
    caller: Caller,
    Sent(chosen): Sent<Chosen>,
) -> Result<Response, Trouble> {
    let choice = chosen.choice.parse::<Choice>();
    let choice = choice.map_err(|()| trouble::not_understood("A calendar is followed or left."))?;
    let mut tx = web.app.store.write().await?;
    let agenda = agendas::by_person(&mut tx, &caller.person.id).await?;
    let agenda = agenda.filter(|_| chosen.calendar.len() <= ID_LENGTH_MAX);
    let agenda = agenda.ok_or_else(|| trouble::not_there("calendar"))?;
    // The agenda's row before the calendar's, as the engine and notices lock them.
    agendas::wake(&mut tx, &agenda.id, web.app.clock.now()).await?;
    if !calendars::choose(&mut tx, &agenda.id, &chosen.calendar, Some(choice)).await? {
        return Err(trouble::not_there("calendar"));
    }
    tx.commit().await?;
    web.app.due.ring();
    let back = chosen.back.as_deref().map(session::local).filter(|it| it.starts_with("/calendar"));
    Ok(Redirect::to(back.unwrap_or("/calendar")).into_response())
}

/// Which occurrence of a series, and where the reader is.
#[derive(Deserialize)]
pub(super) struct Which {
    slot: Option<String>,
    zone: Option<String>,
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    shell: Shell,
    title: String,
    back: String,
    said: Option<Said>,
    zone: String,
    kind: Option<&'static str>,
    calendar: String,
    hue: String,
    is_busy_only: bool,
    is_cancelled: bool,
    is_tentative: bool,
    blocks_time: bool,
    answer: Option<&'static str>,
    place: String,
    conference: String,
    ways: Vec<Way>,
    page: Option<String>,
    organizer: Option<Guest>,
    guests: Vec<Guest>,
    counts: String,
    is_omitted: bool,
    is_hidden: bool,
    series: Option<&'static str>,
    rule: Option<Rule>,
    moved_from: Option<Said>,
    unreadable: Option<String>,
}

/// How a series repeats.
struct Rule {
    /// The sentence, without its full stop.
    words: String,
    /// Whose days are meant, where they aren't those that the page shows.
    zone: Option<String>,
}

/// A way to take part.
struct Way {
    label: String,
    /// Only where it leads to a page.
    href: Option<String>,
}

/// Somebody who is invited.
struct Guest {
    party: Party,
    answer: &'static str,
    tone: &'static str,
    notes: Vec<&'static str>,
}

/// `GET /calendar/events/{id}/{event_id}`
pub(super) async fn event(
    State(web): State<Web>,
    caller: Caller,
    headers: HeaderMap,
    At((calendar_id, event_id)): At<(String, String)>,
    Asked(which): Asked<Which>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, &caller.person.organization_id).await?;
    let held = Held::of(&mut tx, &caller).await?;
    let fits = calendar_id.len() <= ID_LENGTH_MAX && event_id.len() <= ID_LENGTH_MAX;
    let held = held.filter(|_| fits).ok_or_else(|| trouble::not_there("event"))?;
    let (zone_name, zone) = match &which.zone {
        Some(chosen) => zone(Some(chosen), held.own_zone())?,
        None => zone_of(session::zone(&web, &headers).as_deref(), held.own_zone()),
    };
    let ids = [event_id.clone()];
    let found = events::by_ids(&mut tx, &held.agenda.id, &calendar_id, &ids).await?.remove(&event_id);
    let found = found.ok_or_else(|| trouble::not_there("event"))?;
    let slot = which.slot.as_deref().and_then(week::read_slot).filter(|_| found.is_series());
    let occurrence = occurrence(&mut tx, &held, found, slot, &zone).await?;
    let series = series_of(&mut tx, &held, &occurrence).await?;
    let colleagues = Colleagues::of(&mut tx, &caller, colleagues::guests([&*occurrence.event].into_iter())).await?;
    drop(tx);
    let (rule, unreadable) = match series.as_deref().and_then(|it| rule(it, &held, &zone_name)) {
        Some(Ok(rule)) => (Some(rule), occurrence.unreadable),
        Some(Err(why)) => (None, Some(why)),
        None => (None, occurrence.unreadable),
    };
    let carried = carried(which.zone.as_deref().map(|_| zone_name.as_str()));
    let looks = held.looks();
    let look = looks.get(&calendar_id).cloned().unwrap_or_default();
    let event = &*occurrence.event;
    let title = week::title(event, look.is_busy_only);
    let date = zone.to_datetime(occurrence.instants(&zone).0).date();
    let date = if YEARS.contains(&date.year()) { date } else { zone.to_datetime(web.app.clock.now()).date() };
    let shell = Shell::new(&web, Some(&caller), "calendar", title.clone()).following(last_seq, true);
    let moved_from = occurrence.slot.filter(|_| occurrence.is_moved());
    let moved_from = moved_from.map(|slot| Occurrence { starts: slot, ends: slot, ..occurrence.clone() });
    // Who comes stands together, before whoever doesn't: in a large meeting nobody reads the whole list.
    let mut attendees: Vec<&Attendee> = event.attendees.iter().collect();
    attendees.sort_by_key(|it| answer_place(&it.answer));
    html(&EventPage {
        shell,
        title,
        back: address(date, true, &carried),
        said: event.starts.is_some().then(|| week::said_whole(&occurrence, &zone)),
        zone: if occurrence.is_all_day() { String::new() } else { zone_name },
        kind: week::kind(event),
        calendar: look.name.clone(),
        hue: look.hue(),
        is_busy_only: look.is_busy_only || week::only_time_is_known(event),
        is_cancelled: event.is_cancelled(),
        is_tentative: event.status == "tentative",
        blocks_time: event.transparency != "transparent",
        answer: occurrence.own_answer().map(|word| answer_word(word).0),
        place: clip(event.location.trim(), SHOWN_MAX),
        conference: clip(event.details.conference.trim(), SHOWN_MAX),
        ways: event.links.iter().filter(|it| it.kind != "page").map(way).collect(),
        page: event.links.iter().find(|it| it.kind == "page").and_then(|it| leads_to_a_page(&it.uri)),
        organizer: organizer(event, &colleagues),
        guests: attendees.into_iter().map(|it| guest(it, &colleagues)).collect(),
        counts: counts(&event.attendees),
        is_omitted: event.attendees_omitted,
        is_hidden: event.details.guests_hidden,
        series: series_words(event, &occurrence),
        rule,
        moved_from: moved_from.map(|it| week::said_whole(&it, &zone)),
        unreadable: unreadable.map(|why| why.to_string()),
    })
}

/// The occurrence that is asked for: as its series has it, or as it was changed. One that its series no longer has, or
/// that was cancelled, is shown as what doesn't take place any more. Without a slot it is the event as it was entered.
async fn occurrence(
    tx: &mut Tx,
    held: &Held,
    event: Event,
    slot: Option<Moment>,
    zone: &TimeZone,
) -> Result<Occurrence, StoreError> {
    if let Some(slot) = slot {
        let at = slot.instant();
        let from = at.saturating_sub(events::DAY_MARGIN).unwrap_or(at);
        let until = at.saturating_add(events::DAY_MARGIN).unwrap_or(at);
        let window = Window { from, until, zone: zone.clone() };
        let zone_of = held.calendars.iter().find(|it| it.id == event.calendar_id).map(|it| it.entry.zone.clone());
        let shown = BTreeMap::from([(event.calendar_id.clone(), zone_of.unwrap_or_default())]);
        let found = agenda::over(tx, &held.agenda.id, &shown, &window).await?;
        let wanted = |it: &Occurrence| it.event.id == event.id && it.slot == Some(slot);
        if let Some(found) = found.occurrences.into_iter().find(|it| wanted(it)) {
            return Ok(found);
        }
        let unreadable = found.unreadable.into_iter().find(|(it, _)| it.id == event.id);
        if unreadable.is_none() {
            return instead(tx, held, event, slot, (from, until)).await;
        }
    }
    let slot = event.original;
    let nowhen = slot.unwrap_or(Moment::At(Timestamp::UNIX_EPOCH));
    let (starts, ends) = agenda::times(&event).unwrap_or((nowhen, nowhen));
    Ok(Occurrence { event: Arc::new(event), starts, ends, slot, unreadable: None })
}

/// What stands in a slot that a series doesn't fill by itself: the occurrence that was moved out of it, or nothing any
/// more.
async fn instead(
    tx: &mut Tx,
    held: &Held,
    series: Event,
    slot: Moment,
    (from, until): (Timestamp, Timestamp),
) -> Result<Occurrence, StoreError> {
    let near = events::in_window(tx, &held.agenda.id, from, until, SLOT_EVENTS_MAX).await?.events;
    let is_it = |it: &Event| {
        it.calendar_id == series.calendar_id
            && it.series_id.as_deref() == Some(series.id.as_str())
            && it.original == Some(slot)
    };
    let moved = near.into_iter().find(|it| is_it(it) && !it.is_cancelled());
    let moved = moved.and_then(|it| Some((agenda::times(&it)?, it)));
    if let Some(((starts, ends), event)) = moved {
        return Ok(Occurrence { event: Arc::new(event), starts, ends, slot: Some(slot), unreadable: None });
    }
    let event = Event { status: "cancelled".to_owned(), ..series };
    Ok(Occurrence { event: Arc::new(event), starts: slot, ends: slot, slot: Some(slot), unreadable: None })
}

/// The series that an occurrence is of, if it is there.
async fn series_of(tx: &mut Tx, held: &Held, occurrence: &Occurrence) -> Result<Option<Arc<Event>>, StoreError> {
    let event = &occurrence.event;
    let Some(id) = &event.series_id else { return Ok(Some(event.clone())) };
    let mut found = events::by_ids(tx, &held.agenda.id, &event.calendar_id, std::slice::from_ref(id)).await?;
    Ok(found.remove(id).map(Arc::new))
}

/// How a series repeats, or why that can't be read; none of what isn't one.
fn rule(series: &Event, held: &Held, shown_in: &str) -> Option<Result<Rule, agenda::recurrence::Unreadable>> {
    let calendar = held.calendars.iter().find(|it| it.id == series.calendar_id);
    let calendar_zone = calendar.map_or("", |it| it.entry.zone.as_str());
    let own = agenda::zone_of(series, calendar_zone);
    let is_day = matches!(series.starts, Some(Moment::Day(_)));
    let zone = Some(own).filter(|it| !is_day && *it != shown_in).map(|it| clip(it, ZONE_LENGTH_MAX));
    Some(agenda::in_words(series, calendar_zone)?.map(|words| Rule { words, zone }))
}

fn series_words(event: &Event, occurrence: &Occurrence) -> Option<&'static str> {
    match (event.series_id.is_some(), event.is_series(), occurrence.slot.is_some()) {
        (true, ..) => Some("One occurrence of a series, which differs from the others."),
        (_, false, _) => None,
        (_, true, true) => Some("One occurrence of a series."),
        (_, true, false) => Some("A series; this is its first occurrence."),
    }
}

fn way(link: &events::Link) -> Way {
    let written = clip(link.label.trim(), SHOWN_MAX);
    let label = match (written.is_empty(), link.kind.as_str()) {
        (false, _) => written,
        (true, "video") => "Video call".to_owned(),
        (true, "phone") => clip(link.uri.trim_start_matches("tel:"), SHOWN_MAX),
        (true, _) => clip(&link.uri, SHOWN_MAX),
    };
    Way { label, href: leads_to_a_page(&link.uri) }
}

/// The address, if it is one of the web: everything else that strangers wrote stays text.
fn leads_to_a_page(uri: &str) -> Option<String> {
    let url = url::Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())?;
    Some(url.to_string())
}

/// An answer in words, and its tone.
fn answer_word(word: &str) -> (&'static str, &'static str) {
    match word {
        "accepted" => ("Coming", "good"),
        "declined" => ("Declined", "act"),
        "tentative" => ("Maybe", "busy"),
        "needsAction" => ("Not answered", "quiet"),
        _ => ("Answered otherwise", "quiet"),
    }
}

/// Where those who gave this answer stand in the list.
fn answer_place(word: &str) -> usize {
    let places = ["accepted", "tentative", "needsAction", "declined"];
    places.iter().position(|it| *it == word).unwrap_or(places.len())
}

fn organizer(event: &Event, colleagues: &Colleagues) -> Option<Guest> {
    let party = &event.organizer;
    if party.address.is_empty() && party.name.is_empty() {
        return None;
    }
    let notes = if party.own { vec!["you"] } else { Vec::new() };
    let party = colleagues.party(&party.name, &party.address);
    Some(Guest { party, answer: "", tone: "quiet", notes })
}

fn guest(attendee: &Attendee, colleagues: &Colleagues) -> Guest {
    let (answer, tone) = answer_word(&attendee.answer);
    let mut notes = Vec::new();
    for (is_so, note) in [
        (attendee.own, "you"),
        (attendee.organizer, "organizer"),
        (attendee.optional, "optional"),
        (attendee.resource, "room or thing"),
        (attendee.guests > 0, "brings others along"),
    ] {
        if is_so {
            notes.push(note);
        }
    }
    let nobody = Colleagues::default();
    // A room that bears somebody's address isn't that person.
    let known = if attendee.resource { &nobody } else { colleagues };
    Guest { party: known.party(&attendee.name, &attendee.address), answer, tone, notes }
}

fn counts(attendees: &[Attendee]) -> String {
    let counted = |wanted: &str| attendees.iter().filter(|it| it.answer == wanted && !it.resource).count();
    let parts = [
        (counted("accepted"), "coming"),
        (counted("tentative"), "maybe"),
        (counted("declined"), "declined"),
        (counted("needsAction"), "not answered"),
    ];
    let said = parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    said.collect::<Vec<String>>().join(", ")
}

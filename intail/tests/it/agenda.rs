//! The calendar's pages and its API, as a browser without scripts and a program see them: what is shown of events of
//! every kind, in which zone, to whom, and what a person can choose. What scripts add is in the browser test.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use intail::app::App;
use intail::id::AgendaId;
use intail::store::agendas::{self, Agenda};
use intail::store::calendars::{self, Calendar, CalendarState, Entry};
use intail::store::events::{self, Attendee, Event, Link, Moment, Party, Span};
use intail::store::grants;
use intail::store::people::Person;
use jiff::Timestamp;
use jiff::civil::date;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::access::{Proof, access_key, ask, form_token, location, session, text};
use crate::harness::running::{Running, Ticks};

/// A calendar of others, in which the person reads along.
const TEAM: &str = "team@group.calendar.example.com";
/// Another's, of which only busy times are seen.
const BUSY: &str = "boss@example.com";

fn at(text: &str) -> Moment {
    Moment::At(text.parse().expect("a time"))
}

fn event(calendar: &str, id: &str, starts: Moment, ends: Moment) -> Event {
    Event {
        calendar_id: calendar.to_owned(),
        id: id.to_owned(),
        status: "confirmed".to_owned(),
        kind: "default".to_owned(),
        summary: format!("The {id}"),
        starts: Some(starts),
        ends: Some(ends),
        zone: "Europe/Berlin".to_owned(),
        transparency: "opaque".to_owned(),
        span: Span { from: starts.instant(), until: Some(ends.instant()) },
        ..Event::default()
    }
}

fn series(calendar: &str, id: &str, starts: Moment, ends: Moment, rule: &str) -> Event {
    let span = Span { from: starts.instant(), until: None };
    Event { recurrence: vec![format!("RRULE:{rule}")], span, ..event(calendar, id, starts, ends) }
}

fn guest(address: &str, answer: &str, own: bool) -> Attendee {
    Attendee { address: address.to_owned(), answer: answer.to_owned(), own, ..Attendee::default() }
}

/// What a person has in the week of Monday, 23 November 2026, and what repeats in it.
fn diary(own: &str) -> Vec<Event> {
    let mut standup = series(
        own,
        "standup",
        at("2005-01-03T08:00:00Z"),
        at("2005-01-03T08:15:00Z"),
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    );
    standup.links =
        vec![Link { kind: "video".to_owned(), uri: "https://meet.example/x".to_owned(), label: String::new() }];
    let moved = Event {
        series_id: Some("standup".to_owned()),
        original: Some(at("2026-11-25T08:00:00Z")),
        ..event(own, "standup_20261125T080000Z", at("2026-11-25T13:00:00Z"), at("2026-11-25T13:15:00Z"))
    };
    let cancelled = Event {
        status: "cancelled".to_owned(),
        starts: None,
        ends: None,
        series_id: Some("standup".to_owned()),
        original: Some(at("2026-11-26T08:00:00Z")),
        ..event(own, "standup_20261126T080000Z", at("2026-11-26T08:00:00Z"), at("2026-11-26T08:15:00Z"))
    };
    let mut review = event(own, "review", at("2026-11-24T13:00:00Z"), at("2026-11-24T14:30:00Z"));
    review.location = "Room 4.02, Unter den Linden".to_owned();
    review.organizer = Party { address: "kofi@example.com".to_owned(), name: "Kofi Mensah".to_owned(), own: false };
    review.attendees = vec![
        guest("kofi@example.com", "accepted", false),
        guest(own, "tentative", true),
        guest("bjorn@example.com", "declined", false),
    ];
    review.links = vec![
        Link { kind: "video".to_owned(), uri: "https://meet.example/abc".to_owned(), label: String::new() },
        Link { kind: "more".to_owned(), uri: "javascript:alert(1)".to_owned(), label: "<b>here</b>".to_owned() },
    ];
    let mut declined = event(own, "lunch", at("2026-11-24T11:00:00Z"), at("2026-11-24T12:00:00Z"));
    declined.attendees = vec![guest(own, "declined", true)];
    let kind = |kind: &str, it: Event| Event { kind: kind.to_owned(), ..it };
    let whole = |id: &str, first: i8, until: i8| {
        event(own, id, Moment::Day(date(2026, 11, first)), Moment::Day(date(2026, 11, until)))
    };
    let mut home = kind("workingLocation", whole("home", 27, 28));
    home.summary = String::new();
    home.details.work_kind = "homeOffice".to_owned();
    let mut hostile = event(TEAM, "hostile", at("2026-11-27T09:00:00Z"), at("2026-11-27T10:00:00Z"));
    hostile.summary = "<script>alert(1)</script>".to_owned();
    let mut busy = event(BUSY, "busy", at("2026-11-23T10:00:00Z"), at("2026-11-23T11:00:00Z"));
    busy.summary = String::new();
    // As Google shows what somebody in the team calls private: it names nobody. Of the person's own it says whose.
    let private = |it: Event| Event { summary: String::new(), visibility: "private".to_owned(), ..it };
    let secret = private(event(TEAM, "secret", at("2026-11-27T14:00:00Z"), at("2026-11-27T15:00:00Z")));
    let mut untitled = private(event(own, "untitled", at("2026-11-28T09:00:00Z"), at("2026-11-28T10:00:00Z")));
    untitled.organizer = Party { address: own.to_owned(), name: String::new(), own: true };
    let mut office = kind("workingLocation", whole("office", 26, 27));
    office.summary = String::new();
    office.details.work_kind = "officeLocation".to_owned();
    vec![
        standup,
        moved,
        cancelled,
        review,
        declined,
        whole("fair", 25, 28),
        kind("outOfOffice", event(own, "dentist", at("2026-11-26T14:00:00Z"), at("2026-11-26T16:00:00Z"))),
        kind("focusTime", event(own, "focus", at("2026-11-26T09:00:00Z"), at("2026-11-26T11:00:00Z"))),
        kind("siesta", event(own, "siesta", at("2026-11-25T12:00:00Z"), at("2026-11-25T12:45:00Z"))),
        home,
        series(own, "lunar", at("2026-11-23T15:00:00Z"), at("2026-11-23T16:00:00Z"), "RSCALE=CHINESE;FREQ=YEARLY"),
        event(own, "night", at("2026-11-28T21:00:00Z"), at("2026-11-29T01:00:00Z")),
        event(TEAM, "retro", at("2026-11-24T13:30:00Z"), at("2026-11-24T14:00:00Z")),
        hostile,
        busy,
        secret,
        untitled,
        office,
    ]
}

/// Somebody who is connected, and whose calendars are copied as the engine would have copied them.
async fn with_diary(running: &Running, email: &str) -> Person {
    let person = running.sign_in(email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    let app = &running.app;
    let now = app.clock.now();
    let mut tx = app.store.write().await.expect("a transaction");
    let agenda = match agendas::by_person(&mut tx, &person.id).await.expect("read") {
        Some(agenda) => agenda,
        None => {
            let grant = grants::by_person(&mut tx, &person.id).await.expect("read").expect("connected");
            let agenda = Agenda { listed_at: Some(now), ..Agenda::new(AgendaId::new(&app.random), &grant, now) };
            agendas::create(&mut tx, &agenda).await.expect("created");
            agenda
        }
    };
    for (id, name, access_role, is_primary) in
        [(email, email, "owner", true), (TEAM, "Team", "reader", false), (BUSY, "Boss", "freeBusyReader", false)]
    {
        let entry = Entry {
            name: name.to_owned(),
            zone: "Europe/Berlin".to_owned(),
            access_role: access_role.to_owned(),
            is_primary,
            is_selected: true,
            ..Entry::default()
        };
        let calendar = Calendar::new(id, entry, now);
        let calendar = Calendar { state: CalendarState::Live, synced_at: Some(now), ..calendar };
        calendars::create(&mut tx, &person.organization_id, &agenda.id, &calendar).await.expect("created");
    }
    for it in diary(email) {
        let of = events::Of { organization: &person.organization_id, agenda: &agenda.id, calendar: &it.calendar_id };
        events::put(&mut tx, of, std::slice::from_ref(&it), 1).await.expect("put");
    }
    tx.commit().await.expect("committed");
    person
}

async fn page(app: &App, path: &str, proof: &Proof) -> String {
    let answer = ask(app, "GET", path, proof, None).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    text(answer).await
}

/// A page's text without its tags, in one line.
fn plain(page: &str) -> String {
    let mut text = String::new();
    for part in page.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, after)| after));
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_week_shows_events_of_every_kind_where_they_take_place() {
    let running = Running::start().await;
    running.approve();
    let person = with_diary(&running, "ines@example.com").await;
    let proof = session(&running.app, &person).await;
    let week = page(&running.app, "/calendar?date=2026-11-25", &proof).await;
    let said = plain(&week);
    for part in [
        "23 – 29 November 2026",
        "Times in",
        "Wednesday 25 November",
        "09:00 – 09:15 The standup",
        "14:00 – 14:15 The standup_20261125T080000Z",
        "14:00 – 15:30 The review Maybe Room 4.02, Unter den Linden Video call",
        "The lunch Declined",
        "The dentist Out of office",
        "The focus Focus time",
        "The siesta",
        "all day Home Working location",
        "all day Office Working location",
        "11:00 – 12:00 Busy",
        "15:00 – 16:00 Busy",
        "10:00 – 11:00 (no title)",
        "from 22:00",
        "until 02:00",
        "1 series is shown at the beginning only.",
        "The lunar : it repeats by another calendar than the Gregorian one",
        "script",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert_eq!(
        week.matches("<span class=\"what\" dir=\"auto\">The standup</span>").count(),
        3,
        "moved and cancelled: {said}"
    );
    assert_eq!(week.matches("<span class=\"what\" dir=\"auto\">The fair</span>").count(), 3, "on each of its days");
    assert!(!week.contains(" style=") && !week.contains("<script>alert") && !week.contains(" onclick"));
    assert!(week.contains("lane-1-of-2") && week.contains("lane-2-of-2"), "the review and the retro are at once");
}

#[tokio::test]
async fn the_present_stands_between_what_began_and_what_comes() {
    let running = Running::start().await;
    running.approve();
    let person = with_diary(&running, "ines@example.com").await;
    // To Tuesday, 14:15 in Berlin: the review began at 14:00, the retro comes at 14:30.
    running.pass(Duration::from_secs((2 * 24 + 4) * 3_600 + 15 * 60));
    let proof = session(&running.app, &person).await;
    // The list of the week begins on Monday, the agenda with today.
    for (path, view, today) in
        [("/calendar", "week", "/calendar#this-day"), ("/calendar?view=agenda", "agenda", "/calendar?view=agenda")]
    {
        let shown = page(&running.app, path, &proof).await;
        let said = plain(&shown);
        assert!(said.contains("Video call Now, 14:15 14:30 – 15:00 The retro"), "{said}");
        assert_eq!(shown.matches("class=\"now ").count(), 1, "{view}");
        assert!(shown.contains(&format!("id=\"today\" href=\"{today}\"")), "Today leads to the day");
        assert_eq!(shown.matches("id=\"this-day\"").count(), 1, "{view}");
        let past: Vec<&str> = shown.split("<li ").filter(|it| it.contains(" past")).collect();
        assert!(past.len() == 2 && past[0].contains("The standup") && past[1].contains("The lunch"), "{past:?}");
    }
    for path in ["/calendar?date=2026-11-30", "/calendar?view=agenda&date=2026-11-25"] {
        let shown = page(&running.app, path, &proof).await;
        assert!(!shown.contains("class=\"now ") && !shown.contains("id=\"this-day\""), "{path} is without today");
    }
}

#[tokio::test]
async fn a_zone_that_was_chosen_once_is_remembered_by_the_browser_until_the_own_one_is() {
    let running = Running::start().await;
    running.approve();
    let person = with_diary(&running, "ines@example.com").await;
    let Proof::Session(token) = session(&running.app, &person).await else { panic!("a session") };
    let with = |zone: &str| Proof::Session(format!("{token}; intail-zone={zone}"));
    let cookie = async |path: &str| {
        let answer = ask(&running.app, "GET", path, &with(""), None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.headers().get(header::SET_COOKIE).map(|it| it.to_str().expect("text").to_owned())
    };
    let set = cookie("/calendar?zone=asia%2Fkathmandu").await.expect("a cookie");
    assert!(set.starts_with("intail-zone=Asia/Kathmandu;") && set.contains("Max-Age=34560000"), "{set}");
    let forgotten = cookie("/calendar?zone=Europe%2FBerlin").await.expect("a cookie");
    assert!(forgotten.starts_with("intail-zone=;") && forgotten.contains("Max-Age=0"), "{forgotten}");
    for path in ["/calendar", "/calendar?zone=", "/calendar?zone=Middle%2FEarth"] {
        assert_eq!(cookie(path).await, None, "{path}");
    }
    let request = Request::builder().uri("/calendar?zone=Asia%2FTokyo").header(header::HOST, "127.0.0.1:8080");
    let request = request.header(header::COOKIE, format!("intail-session={token}")).header("intail-refresh", "yes");
    let refreshed = intail::web::router(running.app.clone()).oneshot(request.body(Body::empty()).expect("a request"));
    let refreshed = refreshed.await.expect("an answer");
    assert_eq!(refreshed.status(), StatusCode::OK);
    assert!(!refreshed.headers().contains_key(header::SET_COOKIE), "a tab that refreshes itself chooses nothing");
    let here = with("Asia/Kathmandu");
    let week = plain(&page(&running.app, "/calendar?date=2026-11-24", &here).await);
    assert!(week.contains("18:45 – 20:15 The review"), "{week}");
    let event = plain(&page(&running.app, "/calendar/events/ines%40example.com/review", &here).await);
    assert!(event.contains("18:45"), "{event}");
    let week = plain(&page(&running.app, "/calendar?date=2026-11-24&zone=Asia%2FTokyo", &here).await);
    assert!(week.contains("22:00 – 23:30 The review"), "what is asked for goes first: {week}");
    for strange in ["Middle/Earth", "%3Cscript%3E", "\"x"] {
        let week = plain(&page(&running.app, "/calendar?date=2026-11-24", &with(strange)).await);
        assert!(week.contains("14:00 – 15:30 The review"), "{strange}: {week}");
    }
}

#[tokio::test]
async fn times_are_those_of_the_zone_that_the_reader_chose() {
    let running = Running::start().await;
    running.approve();
    let person = with_diary(&running, "ines@example.com").await;
    let proof = session(&running.app, &person).await;
    let kathmandu = page(&running.app, "/calendar?date=2026-11-24&zone=asia%2Fkathmandu", &proof).await;
    let said = plain(&kathmandu);
    assert!(said.contains("13:45 – 14:00 The standup") && said.contains("18:45 – 20:15 The review"), "{said}");
    assert!(
        kathmandu.contains("value=\"Asia/Kathmandu\"") && kathmandu.contains("zone=Asia%2FKathmandu"),
        "it stays chosen"
    );
    for (zone, written) in [("Middle%2FEarth", "Middle/Earth"), ("%3Cscript%3E", "script")] {
        // The field keeps what was written, and the days are there all the same.
        let page = page(&running.app, &format!("/calendar?date=2026-11-24&zone={zone}"), &proof).await;
        let said = plain(&page);
        assert!(said.contains("is no time zone that is known here. Write it like Europe/Berlin."), "{said}");
        assert!(said.contains("Times are shown in Europe/Berlin.") && said.contains("14:00 – 15:30 The review"));
        let field = page.split_once("id=\"zone\"").expect("a field").1.split_once('>').expect("its end").0;
        assert!(field.contains(written) && field.contains("aria-describedby=\"zone-note\""), "{field}");
        assert!(!page.contains("<script>") && !page.contains(&format!("zone={zone}")), "links don't carry it on");
    }
    for path in [
        "/calendar?date=soon",
        "/calendar?date=0001-01-01",
        "/calendar?date=2026-13-01",
        "/calendar/events/ines%40example.com/review?zone=Middle%2FEarth",
    ] {
        let answer = ask(&running.app, "GET", path, &proof, None).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        let page = text(answer).await;
        assert!(page.contains("Write it like") && !page.contains("<script>"), "{path}");
    }
    for path in ["/calendar?date=1900-01-01", "/calendar?date=2200-12-31&view=agenda"] {
        assert_eq!(ask(&running.app, "GET", path, &proof, None).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn the_agenda_lists_four_weeks_and_an_event_has_its_page() {
    let running = Running::start().await;
    running.approve();
    let person = with_diary(&running, "ines@example.com").await;
    let proof = session(&running.app, &person).await;
    let agenda = page(&running.app, "/calendar?view=agenda&date=2026-11-23", &proof).await;
    assert_eq!(agenda.matches("<span class=\"what\" dir=\"auto\">The standup</span>").count(), 18, "of four weeks");
    assert!(!agenda.contains("class=\"week"));
    let review = page(&running.app, "/calendar/events/ines%40example.com/review", &proof).await;
    let said = plain(&review);
    for part in [
        "Tuesday 24 November 2026 , 14:00 – 15:30 Europe/Berlin",
        "You: Maybe",
        "Kofi Mensah kofi@example.com",
        "1 coming, 1 maybe, 1 declined",
        "Room 4.02, Unter den Linden",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert!(
        review.contains("href=\"https://meet.example/abc\"") && !review.contains("javascript:"),
        "only pages are links"
    );
    let one = "/calendar/events/ines%40example.com/standup?slot=20261127T080000Z";
    let said = plain(&page(&running.app, one, &proof).await);
    assert!(
        said.contains("Friday 27 November 2026 , 09:00 – 09:15")
            && said.contains("Every week from Monday to Friday. One occurrence of a series."),
        "{said}"
    );
    let elsewhere = plain(&page(&running.app, &format!("{one}&zone=Asia/Kathmandu"), &proof).await);
    assert!(elsewhere.contains("Friday. Its days are those of Europe/Berlin ."), "{elsewhere}");
    let lunar = plain(&page(&running.app, "/calendar/events/ines%40example.com/lunar", &proof).await);
    assert!(lunar.contains("The repetition can’t be shown: it repeats by another calendar"), "{lunar}");
    // A slot that the series doesn't have isn't made up, and one that was moved away leads to where it went.
    for (slot, shown) in [
        ("20261128T080000Z", "Cancelled"),
        ("20261125T080000Z", "Moved from Wednesday 25 November 2026 , 09:00"),
        ("nonsense", "Monday 3 January 2005"),
    ] {
        let said = plain(
            &page(&running.app, &format!("/calendar/events/ines%40example.com/standup?slot={slot}"), &proof).await,
        );
        assert!(said.contains(shown), "{slot}: {said}");
    }
    let moved = page(&running.app, "/calendar/events/ines%40example.com/standup_20261125T080000Z", &proof).await;
    let said = plain(&moved);
    assert!(said.contains("Moved from Wednesday 25 November 2026 , 09:00"), "{said}");
    assert!(said.contains("Every week from Monday to Friday. One occurrence of a series, which differs"), "{said}");
    assert!(!plain(&review).contains("Series"), "a single event has no rule");
    let gone = page(&running.app, "/calendar/events/ines%40example.com/standup_20261126T080000Z", &proof).await;
    assert!(plain(&gone).contains("Cancelled"));
    for (path, is_busy) in [
        ("boss%40example.com/busy", true),
        ("team%40group.calendar.example.com/secret", true),
        ("ines%40example.com/untitled", false),
    ] {
        let page = page(&running.app, &format!("/calendar/events/{path}"), &proof).await;
        let title = if is_busy { ">Busy</h1>" } else { ">(no title)</h1>" };
        assert!(page.contains(title), "{path}: {page}");
        assert_eq!(plain(&page).contains("Only the time is known of this event"), is_busy, "{path}");
    }
}

#[tokio::test]
async fn what_a_colleague_calls_private_is_busy_from_google_s_answer_to_the_page_and_the_api() {
    let running = Running::start().await;
    running.approve();
    let (email, colleague) = running.employees();
    running.plan(&colleague, json!({"action": "share", "email": email, "role": "reader"}));
    running.plan(&email, json!({"action": "list", "calendar": colleague}));
    let plan = |whose: &str, title: &str, start: &str| {
        let event = json!({"title": title, "start": start, "zone": "Europe/Berlin", "visibility": "private"});
        running.plan(whose, json!({"action": "create", "event": event}))
    };
    let secret = plan(&colleague, "Quokkanarwhal", "2026-11-25T12:00");
    let own = plan(&email, "Numbatdugong", "2026-11-25T13:00");
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    let (app, proof) = (&running.app, session(&running.app, &person).await);
    let path = |calendar: &str, id: &str| format!("/calendar/events/{}/{id}", calendar.replace('@', "%40"));
    let shown = page(app, &path(&colleague, &secret), &proof).await;
    assert!(shown.contains(">Busy</h1>") && shown.contains("Only the time is known of this event"), "{shown}");
    assert!(!shown.contains("Quokkanarwhal"), "{shown}");
    let shown = page(app, &path(&email, &own), &proof).await;
    assert!(shown.contains(">Numbatdugong</h1>") && !shown.contains("Only the time is known"), "{shown}");
    let week = plain(&page(app, "/calendar?date=2026-11-25&zone=Europe/Berlin", &proof).await);
    assert!(week.contains("12:00 – 12:30 Busy") && week.contains("Numbatdugong"), "{week}");
    let key = access_key(app, &person).await;
    let json = page(app, "/api/v1/agenda?from=2026-11-25&until=2026-11-26", &key).await;
    let agenda: Value = serde_json::from_str(&json).expect("JSON");
    let busy_only = |calendar: &str, id: &str| {
        let mut events = agenda["occurrences"].as_array().expect("a list").iter().map(|it| &it["event"]);
        let found = events.find(|it| it["calendar_id"] == calendar && it["id"] == id).expect("it takes place");
        found["busy_only"].clone()
    };
    assert_eq!((busy_only(&colleague, &secret), busy_only(&email, &own)), (Value::from(true), Value::from(false)));
}

#[tokio::test]
async fn every_calendar_that_is_copied_is_shown_and_a_list_that_may_be_cut_says_so() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let person = with_diary(&running, "ines@example.com").await;
    let proof = session(app, &person).await;
    let before = plain(&page(app, "/calendar?date=2026-11-25", &proof).await);
    assert!(!before.contains("of a list at most"), "three are all: {before}");
    let now = app.clock.now();
    let mut tx = app.store.write().await.expect("a transaction");
    let agenda = agendas::by_person(&mut tx, &person.id).await.expect("read").expect("there");
    let id = |number: i64| format!("more-{number:04}@example.com");
    for number in 4..=calendars::CALENDARS_MAX {
        let entry = Entry { name: format!("More {number:04}"), ..shown() };
        let calendar = Calendar::new(&id(number), entry, now);
        let calendar = Calendar { state: CalendarState::Live, synced_at: Some(now), ..calendar };
        calendars::create(&mut tx, &person.organization_id, &agenda.id, &calendar).await.expect("created");
    }
    let last = id(calendars::CALENDARS_MAX);
    let event = event(&last, "farewell", at("2026-11-25T16:00:00Z"), at("2026-11-25T17:00:00Z"));
    let of = events::Of { organization: &person.organization_id, agenda: &agenda.id, calendar: &last };
    events::put(&mut tx, of, &[event], 1).await.expect("put");
    tx.commit().await.expect("committed");
    let week = plain(&page(app, "/calendar?date=2026-11-25", &proof).await);
    assert!(week.contains("The farewell") && week.contains("The retro"), "also of those that come last by name");
    assert!(week.contains("Intail keeps 1,000 calendars of a list at most: if yours has more, some are missing"));
    let key = access_key(app, &person).await;
    let listed: Value = serde_json::from_str(&page(app, "/api/v1/calendars", &key).await).expect("JSON");
    assert_eq!(listed["calendars"].as_array().map(Vec::len), Some(1_000), "the API lists as many");
}

#[tokio::test]
async fn promise_10_nobody_sees_another_s_agenda_or_chooses_for_them() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let owner = with_diary(&running, "ines@example.com").await;
    let other = with_diary(&running, "kofi@example.com").await;
    let (mine, theirs) = (session(app, &owner).await, session(app, &other).await);
    let event = "/calendar/events/ines%40example.com/review";
    assert_eq!(ask(app, "GET", event, &mine, None).await.status(), StatusCode::OK);
    assert_eq!(ask(app, "GET", event, &theirs, None).await.status(), StatusCode::NOT_FOUND);
    let between = "/api/v1/agenda?from=2026-11-23&until=2026-11-30";
    let json = text(ask(app, "GET", between, &access_key(app, &other).await, None).await).await;
    assert!(!json.contains("ines@example.com/") && !json.contains("\"calendar_id\":\"ines@example.com\""), "{json}");
    let token = form_token(app, &theirs).await;
    let form = format!("form_token={token}&calendar=ines%40example.com&choice=leave");
    assert_eq!(ask(app, "POST", "/calendar/choose", &theirs, Some(&form)).await.status(), StatusCode::NOT_FOUND);
    let form = format!("form_token={token}&calendar=kofi%40example.com&choice=everything");
    assert_eq!(ask(app, "POST", "/calendar/choose", &theirs, Some(&form)).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_calendar_that_is_left_out_is_no_longer_shown_and_can_come_back() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let person = with_diary(&running, "ines@example.com").await;
    let proof = session(app, &person).await;
    let token = form_token(app, &proof).await;
    let choose = async |choice: &str, back: &str| {
        let form = format!("form_token={token}&calendar={TEAM}&choice={choice}&back={back}");
        location(&ask(app, "POST", "/calendar/choose", &proof, Some(&form)).await).expect("back to the page")
    };
    assert_eq!(choose("leave", "/calendar?date=2026-11-24").await, "/calendar?date=2026-11-24");
    let week = page(app, "/calendar?date=2026-11-24", &proof).await;
    assert!(!week.contains("The retro") && week.contains("The review") && week.contains("Show<span"), "left out");
    for foreign in ["https://evil.example", "//evil.example", "/mail"] {
        assert_eq!(choose("follow", foreign).await, "/calendar", "{foreign}");
    }
    assert!(page(app, "/calendar?date=2026-11-24", &proof).await.contains("The retro"));
    let mut tx = app.store.read().await.expect("a transaction");
    let agenda = agendas::by_person(&mut tx, &person.id).await.expect("read").expect("there");
    assert!(agenda.due_at.is_some_and(|due| due <= app.clock.now()), "the engine is told");
}

#[tokio::test]
async fn the_api_answers_with_occurrences_and_bounds_what_is_asked() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let person = with_diary(&running, "ines@example.com").await;
    let key = access_key(app, &person).await;
    let path = "/api/v1/agenda?from=2026-11-23&until=2026-11-30";
    let agenda: Value = serde_json::from_str(&page(app, path, &key).await).expect("JSON");
    assert_eq!((&agenda["zone"], &agenda["complete"]), (&Value::from("Europe/Berlin"), &Value::from(true)));
    let of = |id: &str| -> Vec<&Value> {
        let all = agenda["occurrences"].as_array().expect("a list");
        all.iter().filter(|it| it["event"]["id"] == id).collect()
    };
    let starts: Vec<&str> = of("standup").iter().map(|it| it["starts"].as_str().expect("text")).collect();
    assert_eq!(starts, ["2026-11-23T08:00:00Z", "2026-11-24T08:00:00Z", "2026-11-27T08:00:00Z"]);
    assert_eq!(of("fair")[0]["starts"], "2026-11-25");
    assert_eq!((&of("fair")[0]["ends"], &of("fair")[0]["all_day"]), (&Value::from("2026-11-28"), &Value::from(true)));
    assert_eq!(of("lunch")[0]["own_answer"], "declined");
    assert_eq!(of("siesta")[0]["event"]["kind"], "siesta", "what is new is kept");
    assert_eq!(agenda["unreadable"][0]["event_id"], "lunar");
    let busy_only = ["busy", "secret", "untitled", "review"].map(|id| of(id)[0]["event"]["busy_only"] == true);
    assert_eq!(busy_only, [true, true, false, false], "as the event’s page says");
    let details = &of("review")[0]["event"];
    assert_eq!((&details["zone"], &details["guests_hidden"]), (&Value::from("Europe/Berlin"), &Value::from(false)));
    let text = ["conference", "work_kind", "work_place", "declines", "birthday_kind"];
    assert!(text.iter().all(|it| details[*it].is_string()) && details["end_unspecified"] == false, "{details}");
    for query in ["", "from=2026-11-23", "from=2026-01-01&until=2026-12-31", "from=2026-11-23&until=2026-11-30&zone=x"]
    {
        let answer = ask(app, "GET", &format!("/api/v1/agenda?{query}"), &key, None).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    let other = running.sign_in("kofi@example.com").await;
    let answer = ask(app, "GET", path, &access_key(app, &other).await, None).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "nothing is connected");
}

#[tokio::test]
async fn the_page_says_why_there_is_no_calendar() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let nobody = running.sign_in("bjorn@example.com").await;
    let empty = page(app, "/calendar", &session(app, &nobody).await).await;
    assert!(empty.contains("Nothing is connected"));
    let person = with_diary(&running, "ines@example.com").await;
    let proof = session(app, &person).await;
    let live = plain(&page(app, "/calendar", &proof).await);
    assert!(
        live.contains("Live as of")
            && live.contains(
                "Intail looks every few minutes, and while this page is open, because this Intail has no public"
            ),
        "{live}"
    );
    let mut tx = app.store.write().await.expect("a transaction");
    let agenda = agendas::by_person(&mut tx, &person.id).await.expect("read").expect("there");
    let copying = Calendar {
        state: CalendarState::Backfilling,
        ..Calendar::new("new@example.com", shown(), Timestamp::UNIX_EPOCH)
    };
    calendars::create(&mut tx, &person.organization_id, &agenda.id, &copying).await.expect("created");
    tx.commit().await.expect("committed");
    let said = plain(&page(app, "/calendar", &proof).await);
    assert!(said.contains("Copying: 3 of 4 calendars"), "{said}");
}

fn shown() -> Entry {
    Entry { name: "New".to_owned(), zone: "UTC".to_owned(), is_selected: true, ..Entry::default() }
}

#[tokio::test]
async fn what_happens_to_one_occurrence_is_said_of_that_one() {
    let running = Running::start().await;
    running.approve();
    let (email, _) = running.employees();
    let event = json!({"title": "Weekly tea", "start": "2026-11-26T09:00", "rule": "FREQ=WEEKLY;COUNT=4"});
    let weekly = running.plan(&email, json!({"action": "create", "event": event}));
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    running.plan(&email, json!({"action": "delete", "id": format!("{weekly}_20261203T080000Z")}));
    let moved = format!("{weekly}_20261210T080000Z");
    running.plan(&email, json!({"action": "move", "id": moved, "start": "2026-12-11T11:00"}));
    running.pass(std::time::Duration::from_secs(40 * 60));
    running.settle_calendars(&person).await;
    let proof = session(&running.app, &person).await;
    let said = plain(&page(&running.app, "/activity", &proof).await);
    for part in [
        "The occurrence of Thursday 3 December 2026, 09:00 Europe/Berlin doesn’t take place : Weekly tea",
        "The occurrence of Thursday 10 December 2026, 09:00 Europe/Berlin was moved to Friday 11 December 2026, 11:00 \
         Europe/Berlin : Weekly tea",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
}

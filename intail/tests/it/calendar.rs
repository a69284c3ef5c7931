//! Calendars, from connecting to the last change: what Google shows is what Intail holds, whatever happens between.

use std::time::Duration;

use intail::connect::{self, Mode, Options};
use intail::notices::{self, channels::Notice};
use intail::org::audit::Origin;
use intail::org::privacy as policy;
use intail::store::agendas;
use intail::store::calendars::{self, CalendarState, Choice};
use intail::store::changes::Change;
use intail::store::events::{self, Event, Moment};
use intail::store::people::Person;
use intail::store::privacy::Policy;
use intail_google::oauth::scope;
use intail_sandbox::quota::{Counted, Limits};
use serde_json::json;

use crate::access::{access_key, ask, session, text};
use crate::harness::calendars as appointments;
use crate::harness::running::{Running, Setup, Ticks};

/// Longer than the longest wait between two looks at a calendar that Google doesn't tell of.
const LOOK: Duration = Duration::from_secs(40 * 60);
/// As long as events that can't be read wait until they are tried again, and a little.
const DAY: Duration = Duration::from_secs(24 * 3600 + 60);

async fn connected() -> (Running, Person) {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    (running, person)
}

/// What is stored under an event's id, whichever the calendar.
async fn stored(running: &Running, person: &Person, id: &str) -> Vec<Event> {
    let agenda = running.agenda(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let all = events::after(&mut tx, &agenda.id, ("", ""), i64::MAX).await.expect("read");
    all.into_iter().filter(|it| it.id == id).collect()
}

/// The changes of an event, in one word each.
async fn told(running: &Running, person: &Person, id: &str) -> Vec<String> {
    let feed = running.feed(person).await;
    feed.into_iter().filter(|it: &Change| it.subject_id == id).map(|it| it.kind).collect()
}

/// Time passes, and what is due is done.
async fn look(running: &Running, person: &Person) {
    running.pass(LOOK);
    running.settle_calendars(person).await;
}

/// Rows, what they say, and the folded feed are as Google shows them, calendars of busy times included.
async fn assert_all_is_as_google_shows_it(running: &Running, person: &Person) {
    running.assert_no_appointment_is_lost(person).await;
    let shown = appointments::of(&running.sandbox, &person.email).await;
    let agenda = running.agenda(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let details = appointments::details(&mut tx, &agenda.id).await;
    assert_eq!(appointments::difference_in_detail(&details, &shown), Vec::<String>::new(), "what they say");
}

#[tokio::test]
async fn everything_that_google_shows_is_copied_and_followed() {
    let (running, person) = connected().await;
    running.assert_no_appointment_is_lost(&person).await;
    let calendars = running.calendars(&person).await;
    assert!(calendars[0].entry.is_primary && calendars[0].state == CalendarState::Live, "{calendars:?}");
    let event = json!({"title": "Lunch", "start": "2026-11-25T12:00", "guests": ["guest@example.net"], "call": true});
    let id = running.plan(&person.email, json!({"action": "create", "event": event}));
    look(&running, &person).await;
    let lunch = stored(&running, &person, &id).await.pop().expect("it is there");
    assert_eq!((lunch.summary.as_str(), lunch.attendees.len(), lunch.links.is_empty()), ("Lunch", 2, false));
    running.plan(&person.email, json!({"action": "edit", "id": id, "title": "Late lunch"}));
    look(&running, &person).await;
    assert_eq!(stored(&running, &person, &id).await[0].summary, "Late lunch");
    running.plan(&person.email, json!({"action": "delete", "id": id}));
    look(&running, &person).await;
    assert!(stored(&running, &person, &id).await.is_empty());
    assert_eq!(told(&running, &person, &id).await, ["event.added", "event.changed", "event.deleted"]);
    running.assert_no_appointment_is_lost(&person).await;
    let feed = running.feed(&person).await;
    look(&running, &person).await;
    assert_eq!(running.feed(&person).await.len(), feed.len(), "when nothing happens, nothing is told");
}

#[tokio::test]
async fn a_series_and_what_differs_from_it_are_kept_apart_and_go_together() {
    let (running, person) = connected().await;
    let event = json!({"title": "Stand-up", "start": "2026-11-24T09:00", "rule": "FREQ=DAILY;COUNT=9"});
    let series = running.plan(&person.email, json!({"action": "create", "event": event}));
    let (moved, cancelled) = (format!("{series}_20261125T080000Z"), format!("{series}_20261126T080000Z"));
    running.plan(&person.email, json!({"action": "move", "id": moved, "start": "2026-12-20T10:00"}));
    running.plan(&person.email, json!({"action": "delete", "id": cancelled}));
    look(&running, &person).await;
    let master = stored(&running, &person, &series).await.remove(0);
    assert!(master.is_series() && master.recurrence[0].contains("COUNT=9"), "{master:?}");
    let stub = stored(&running, &person, &cancelled).await.remove(0);
    assert!(stub.is_cancelled() && stub.series_id.as_deref() == Some(series.as_str()), "{stub:?}");
    running.assert_no_appointment_is_lost(&person).await;

    // The moved occurrence is read where it went, and its slot isn't shown twice.
    let agenda = running.agenda(&person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let (from, until) = ("2026-11-25T00:00:00Z".parse().expect("a time"), "2026-11-26T00:00:00Z".parse().expect("one"));
    let window = events::in_window(&mut tx, &agenda.id, from, until, 1_000).await.expect("read");
    let there = |id: &str| window.events.iter().any(|it| it.id == id);
    assert!(there(&series) && there(&moved), "the series, and what hides its slot");
    drop(tx);

    running.plan(&person.email, json!({"action": "delete", "id": series}));
    look(&running, &person).await;
    for id in [&series, &moved, &cancelled] {
        assert!(stored(&running, &person, id).await.is_empty(), "{id} went with its series");
        assert_eq!(told(&running, &person, id).await.last().map(String::as_str), Some("event.deleted"));
    }
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn a_lost_sync_token_leads_to_one_comparison_that_tells_the_difference() {
    let (running, person) = connected().await;
    let event = |title: &str| json!({"action": "create", "event": {"title": title, "start": "2026-11-25T12:00"}});
    let gone = running.plan(&person.email, event("Gone"));
    let kept = running.plan(&person.email, event("Kept"));
    look(&running, &person).await;
    running.plan(&person.email, json!({"action": "delete", "id": gone}));
    running.plan(&person.email, json!({"action": "edit", "id": kept, "title": "Changed"}));
    let new = running.plan(&person.email, event("New"));
    running.plan(&person.email, json!({"action": "expire_tokens", "calendar": person.email}));
    running.plan(&person.email, json!({"action": "expire_tokens"}));
    look(&running, &person).await;
    assert_eq!(told(&running, &person, &gone).await, ["event.added", "event.deleted"], "no tombstone was listed");
    assert_eq!(told(&running, &person, &kept).await, ["event.added", "event.changed"]);
    assert_eq!(told(&running, &person, &new).await, ["event.added"]);
    let states = running.feed(&person).await.into_iter().filter(|it| it.kind == "calendar.changed");
    assert!(states.into_iter().any(|it| it.data["state"] == "reconciling"), "it was compared");
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_told_and_comes_back_by_itself() {
    let (running, person) = connected().await;
    let event = |title: &str| json!({"action": "create", "event": {"title": title, "start": "2026-11-25T12:00"}});
    let known = running.plan(&person.email, event("Known"));
    look(&running, &person).await;
    let new = running.plan(&person.email, event("New"));
    running.plan(&person.email, json!({"action": "edit", "id": known, "title": "Changed"}));
    running.world(|world| world.settings.calendar.garbled.extend([known.clone(), new.clone()]));
    look(&running, &person).await;
    assert_eq!(stored(&running, &person, &known).await[0].summary, "Known", "what was known stays as it was");
    assert!(stored(&running, &person, &new).await.is_empty());
    let unreadable = async || running.calendars(&person).await[0].unreadable;
    assert_eq!(unreadable().await, 2);
    let coverage = async || {
        let path = format!("/api/v1/calendars/{}/coverage", person.email);
        let answer = ask(&running.app, "GET", &path, &access_key(&running.app, &person).await, None).await;
        serde_json::from_str::<serde_json::Value>(&text(answer).await).expect("JSON")
    };
    let told_of = coverage().await;
    assert_eq!((&told_of["complete"], &told_of["events_unreadable"]), (&json!(false), &json!(2)), "{told_of}");
    assert!(told_of["unreadable_retry_at"].is_string(), "{told_of}");
    let page = async || {
        let proof = session(&running.app, &person).await;
        text(ask(&running.app, "GET", "/calendar", &proof, None).await).await
    };
    let shown = page().await;
    assert!(shown.contains("Live, but 2 events can’t be read"), "{shown}");
    assert!(shown.contains("; 2 events can’t be read, tried again <time"), "{shown}");

    // Once a day everything is compared; what can't be read then is counted anew, and nothing is lost.
    let comparisons = async || {
        let feed = running.feed(&person).await;
        feed.into_iter().filter(|it| it.kind == "calendar.changed" && it.data["state"] == "reconciling").count()
    };
    assert_eq!(comparisons().await, 0, "not at once");
    running.pass(DAY);
    running.settle_calendars(&person).await;
    for _ in 0..3 {
        look(&running, &person).await;
    }
    assert_eq!((comparisons().await, unreadable().await), (1, 2), "once a day");
    assert_eq!(stored(&running, &person, &known).await[0].summary, "Known");

    // Google writes them well again and says nothing: a token doesn't tell, the next comparison does.
    running.world(|world| world.settings.calendar.garbled.clear());
    look(&running, &person).await;
    assert!(stored(&running, &person, &new).await.is_empty());
    running.pass(DAY);
    running.settle_calendars(&person).await;
    assert_eq!(stored(&running, &person, &known).await[0].summary, "Changed");
    assert_eq!(told(&running, &person, &known).await, ["event.added", "event.changed"]);
    assert_eq!(told(&running, &person, &new).await, ["event.added"]);
    let healed = coverage().await;
    assert_eq!((&healed["complete"], &healed["unreadable_retry_at"]), (&json!(true), &json!(null)), "{healed}");
    assert!(!page().await.contains("can’t be read"));
    running.assert_no_appointment_is_lost(&person).await;
    running.pass(DAY);
    running.settle_calendars(&person).await;
    assert_eq!(comparisons().await, 2, "and no more of it");
}

#[tokio::test]
async fn pages_may_be_short_or_empty_and_a_reading_goes_on_at_its_page() {
    let running = Running::start().await;
    running.approve();
    running.world(|world| {
        world.settings.page_max = 3;
        world.settings.calendar.empty_page_percent = 50;
    });
    let person = running.sign_in(&running.employee()).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    // A process does some steps and dies; another goes on at the page after.
    for _ in 0..3 {
        running.another_worker().tick().await.expect("the engine runs");
    }
    running.settle_calendars(&person).await;
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn what_a_person_may_not_see_any_more_is_erased() {
    let (running, person) = connected().await;
    let (_, other) = running.employees();
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "reader"}));
    running.plan(&person.email, json!({"action": "list", "calendar": other}));
    running.pass(Duration::from_secs(3 * 3600));
    running.settle_calendars(&person).await;
    let of_other = async || running.calendars(&person).await.into_iter().find(|it| it.id == other);
    assert_eq!(of_other().await.map(|it| it.state), Some(CalendarState::Live));
    running.assert_no_appointment_is_lost(&person).await;
    running.plan(&other, json!({"action": "share", "email": person.email}));
    running.pass(Duration::from_secs(3 * 3600));
    running.settle_calendars(&person).await;
    assert!(of_other().await.is_none_or(|it| it.state == CalendarState::Idle), "{:?}", of_other().await);
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn who_sees_more_in_the_middle_of_a_reading_is_shown_all_of_it() {
    let (running, person) = connected().await;
    let (_, other) = running.employees();
    // An occurrence a page, and a few requests a minute: the reading takes long.
    let few = Limits { person_minute: 20, project_minute: 10_000, project_day: 1_000_000 };
    running.world(|world| {
        world.settings.page_max = 1;
        world.quota.request_limits = [(Counted::Calendar, few)].into();
    });
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "freeBusyReader"}));
    running.plan(&person.email, json!({"action": "list", "calendar": other}));
    running.pass(Duration::from_secs(3 * 3600));
    running.work().await;
    let of_other = async || running.calendars(&person).await.into_iter().find(|it| it.id == other).expect("listed");
    assert!(of_other().await.page_token.is_some(), "{:?}", of_other().await);
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "reader"}));
    running.world(|world| {
        world.settings.page_max = 0;
        world.quota.request_limits.clear();
    });
    running.pass(Duration::from_secs(3 * 3600));
    running.settle_calendars(&person).await;
    assert_eq!(of_other().await.entry.access_role, "reader");
    running.assert_no_appointment_is_lost(&person).await;
}

/// Where only free and busy times are seen, everything comes as occurrences, and nothing is said of them.
#[tokio::test]
async fn when_somebody_is_busy_is_copied_and_followed_where_nothing_else_may_be_seen() {
    let (running, person) = connected().await;
    let (_, other) = running.employees();
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "freeBusyReader"}));
    let plan = |action: serde_json::Value| running.plan(&other, action);
    let create = |start: &str, rule: &str, free: bool| {
        let event = json!({"title": "Quokka", "start": start, "zone": "Europe/Berlin", "rule": rule, "free": free});
        plan(json!({"action": "create", "event": event}))
    };
    let single = create("2026-11-25T12:00", "", false);
    let series = create("2026-11-24T09:00", "FREQ=DAILY;COUNT=9", false);
    let free = create("2026-11-26", "", true);
    let slot = |day: u8, hour: u8| format!("{series}_202611{day}T{hour:02}0000Z");
    plan(json!({"action": "move", "id": slot(25, 8), "start": "2026-12-20T10:00"}));
    plan(json!({"action": "delete", "id": slot(26, 8)}));
    running.pass(Duration::from_secs(3 * 3600));
    running.settle_calendars(&person).await;
    let is_there = async |id: &str| !stored(&running, &person, id).await.is_empty();
    assert_all_is_as_google_shows_it(&running, &person).await;
    let known = stored(&running, &person, &single).await.remove(0);
    assert!(known.starts.is_some() && known.ends.is_some(), "{known:?}");
    assert!(known.summary.is_empty() && known.organizer.address.is_empty() && known.links.is_empty(), "{known:?}");
    let moved = stored(&running, &person, &slot(25, 8)).await.remove(0).starts;
    assert_eq!(moved, Some(Moment::At("2026-12-20T09:00:00Z".parse().expect("a time"))));
    assert!(is_there(&slot(24, 8)).await && is_there(&slot(27, 8)).await);
    assert!(!is_there(&slot(26, 8)).await, "an occurrence that doesn't take place");
    assert!(!is_there(&free).await && !is_there(&series).await, "what blocks no time, and a series as such");

    // The series moves, and takes along what differed from it; what was free isn't any more, and the other way round.
    plan(json!({"action": "move", "id": series, "start": "2026-11-24T10:00"}));
    plan(json!({"action": "edit", "id": free, "free": false}));
    plan(json!({"action": "edit", "id": single, "free": true}));
    look(&running, &person).await;
    assert_all_is_as_google_shows_it(&running, &person).await;
    assert!(is_there(&slot(24, 9)).await && is_there(&slot(26, 9)).await && is_there(&free).await);
    assert!(!is_there(&slot(24, 8)).await && !is_there(&slot(25, 8)).await && !is_there(&single).await);

    plan(json!({"action": "edit", "id": series, "rule": "FREQ=DAILY;COUNT=3"}));
    look(&running, &person).await;
    assert_all_is_as_google_shows_it(&running, &person).await;
    assert!(is_there(&slot(26, 9)).await && !is_there(&slot(27, 9)).await);

    plan(json!({"action": "delete", "id": series}));
    plan(json!({"action": "delete", "id": free}));
    look(&running, &person).await;
    assert_all_is_as_google_shows_it(&running, &person).await;
    for id in [&slot(24, 9), &free] {
        assert_eq!(told(&running, &person, id).await.last().map(String::as_str), Some("event.deleted"));
    }
}

/// How far occurrences are shown moves with time, and no token tells of what comes into sight.
#[tokio::test]
async fn a_busy_time_that_comes_into_sight_is_there_within_a_week() {
    let (running, person) = connected().await;
    let (_, other) = running.employees();
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "freeBusyReader"}));
    let event = json!({"title": "Stand-up", "start": "2026-11-24T09:00", "rule": "FREQ=WEEKLY"});
    let series = running.plan(&other, json!({"action": "create", "event": event}));
    let after = async |time: Duration| {
        running.pass(time);
        running.settle_calendars(&person).await;
        let agenda = running.agenda(&person).await;
        let mut tx = running.app.store.read().await.expect("a transaction");
        let all = events::after(&mut tx, &agenda.id, ("", ""), i64::MAX).await.expect("read");
        all.into_iter().filter(|it| it.series_id.as_ref() == Some(&series)).count()
    };
    let before = after(Duration::from_secs(3 * 3600)).await;
    assert!(before > 100, "two years of weeks: {before}");
    assert_eq!(after(LOOK).await, before, "another look brings nothing");
    let new = after(DAY * 8).await - before;
    assert!((1..=2).contains(&new), "{new} weeks came into sight in eight days");
    assert_all_is_as_google_shows_it(&running, &person).await;
}

/// Where only free and busy times are seen, a series comes as its occurrences, and goes as them: two years of days.
#[tokio::test]
async fn nothing_is_left_of_a_long_series_that_went_from_a_calendar_of_busy_times() {
    let (running, person) = connected().await;
    let (_, other) = running.employees();
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "freeBusyReader"}));
    running.plan(&person.email, json!({"action": "list", "calendar": other}));
    let look = async || {
        running.pass(Duration::from_secs(3 * 3600));
        running.settle_calendars(&person).await;
        let agenda = running.agenda(&person).await;
        let mut tx = running.app.store.read().await.expect("a transaction");
        let counts = events::counts_by_calendar(&mut tx, &agenda.id).await.expect("read");
        counts.get(&other).map_or(0, |(events, _)| *events)
    };
    let before = look().await;
    let event = json!({"title": "Stand-up", "start": "2026-11-24T09:00", "rule": "FREQ=DAILY"});
    let id = running.plan(&other, json!({"action": "create", "event": event}));
    assert!(look().await > before + 600);
    running.plan(&other, json!({"action": "delete", "id": id}));
    assert_eq!(look().await, before);
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn a_calendar_that_the_person_leaves_out_is_erased_and_comes_back_when_they_want_it() {
    let (running, person) = connected().await;
    let agenda = running.agenda(&person).await;
    let choose = async |choice| {
        let mut tx = running.app.store.write().await.expect("a transaction");
        let now = running.app.clock.now();
        assert!(calendars::choose(&mut tx, &agenda.id, &person.email, choice).await.expect("chosen"));
        agendas::wake(&mut tx, &agenda.id, now).await.expect("woken");
        tx.commit().await.expect("committed");
        running.settle_calendars(&person).await;
        let mut tx = running.app.store.read().await.expect("a transaction");
        let counts = events::counts_by_calendar(&mut tx, &agenda.id).await.expect("read");
        counts.get(&person.email).map_or(0, |(events, _)| *events)
    };
    assert_eq!(choose(Some(Choice::Leave)).await, 0);
    assert!(choose(None).await > 0);
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn only_the_times_of_private_events_are_kept_where_somebody_wants_it_so() {
    let (running, person) = connected().await;
    let event = json!({"title": "Quokkanarwhal", "start": "2026-11-25T12:00", "visibility": "private"});
    let id = running.plan(&person.email, json!({"action": "create", "event": event}));
    look(&running, &person).await;
    assert_eq!(stored(&running, &person, &id).await[0].summary, "Quokkanarwhal");
    let choose = async |busy_only| {
        let choice = Policy { busy_only, ..Policy::default() };
        let (app, now) = (&running.app, running.app.clock.now());
        let mut tx = app.store.write().await.expect("a transaction");
        policy::choose(&mut tx, &person, &choice, &app.keyring, &app.random, now).await.expect("chosen");
        tx.commit().await.expect("committed");
        running.settle_calendars(&person).await;
        stored(&running, &person, &id).await.remove(0)
    };
    let hidden = choose(true).await;
    assert!(hidden.is_busy_only && hidden.summary.is_empty() && hidden.starts.is_some(), "{hidden:?}");
    running.plan(&person.email, json!({"action": "edit", "id": id, "title": "Zephyrine"}));
    look(&running, &person).await;
    assert_eq!(stored(&running, &person, &id).await[0].summary, "", "what comes later isn't stored either");
    assert_eq!(choose(false).await.summary, "Zephyrine", "it is read again once it may be");
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn without_the_permission_no_calendar_is_asked_for_until_it_is_given() {
    let running = Running::start().await;
    running.approve();
    let person = running.sign_in(&running.employee()).await;
    running.connect(&person, Ticks::Only(&[scope::GMAIL_METADATA])).await.expect("connected");
    running.settle().await;
    assert_eq!(running.calls("calendar.calendarList.list"), 0);
    let options = Options { ask_again: true, ..Options::default() };
    running.connect_as(&person, &person.email, Ticks::All, options).await.expect("added");
    running.settle_calendars(&person).await;
    running.assert_no_appointment_is_lost(&person).await;

    running.world(|world| world.identity.take_back(&person.subject, scope::CALENDAR_READONLY));
    running.pass(Duration::from_secs(26 * 3600));
    running.work().await;
    running.world(|world| world.calls.clear());
    running.pass(Duration::from_secs(26 * 3600));
    running.work().await;
    let of_calendars = |call: &str| call.starts_with("calendar.");
    let asked = running.world(|world| world.calls.iter().filter(|it| of_calendars(it.call)).count());
    assert_eq!(asked, 0, "nothing is asked without the permission");
}

#[tokio::test]
async fn google_tells_of_changes_where_it_can_reach_intail() {
    let running = Running::start_with(Setup { reachable: true, ..Setup::default() }).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    assert!(running.take_calendar_notices().await > 0, "the first notice of each channel");
    running.settle_calendars(&person).await;
    let standing = async || {
        let mut tx = running.app.store.read().await.expect("a transaction");
        connect::connection(&mut tx, &person.id, running.app.clock.now()).await.expect("read").expect("connected")
    };
    let agenda = standing().await.agenda.expect("an agenda");
    assert_eq!((agenda.mode(), agenda.has_advanced()), (Mode::Told, true));
    assert!(standing().await.is_connected());

    // A change arrives without anybody looking.
    let event = json!({"title": "Lunch", "start": "2026-11-25T12:00"});
    let id = running.plan(&person.email, json!({"action": "create", "event": event}));
    running.take_calendar_notices().await;
    running.work().await;
    assert_eq!(told(&running, &person, &id).await, ["event.added"]);

    // Whoever doesn't know the token is turned away, and so is whoever makes a channel up.
    let channel = running.world(|world| world.channels.values().next().expect("one is open").id.clone());
    for (channel, token) in [(channel.as_str(), "guessed"), ("made-up", "x"), ("", "")] {
        let notice = Notice { channel, token, state: "exists" };
        assert!(!notices::channels::take(&running.app, notice).await.expect("read"), "{channel}");
    }

    // Channels are renewed before they end, and the old ones are stopped once the new ones were heard of.
    let followed = agenda.followed().count();
    let mut doubled = 0;
    for _ in 0..36 {
        running.pass(Duration::from_secs(6 * 3600));
        running.settle_calendars(&person).await;
        doubled += running.world(|world| world.channels.len()) - followed;
        running.take_calendar_notices().await;
        running.work().await;
        assert_eq!(running.world(|world| world.channels.len()), followed, "one open channel for each calendar");
    }
    assert_eq!(doubled, followed, "each was open until its successor was heard of, and no longer");
    assert_eq!(standing().await.agenda.expect("an agenda").mode(), Mode::Told);
    running.assert_no_appointment_is_lost(&person).await;

    // Nobody is told any more once the person left.
    connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    assert_eq!(running.world(|world| world.channels.len()), 0);
}

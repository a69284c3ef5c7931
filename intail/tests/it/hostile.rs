//! Answers about mailboxes, calendars and the directory that no document of Google's promises: entries without an id or
//! a time, unknown words, rubbish, giants, the same thing twice, pages without an end. Whatever comes is bounded, told
//! and got over; nothing that Google really has is lost through it.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use intail::store::calendars::{Calendar, CalendarState};
use intail::store::changes::Change;
use intail::store::directory_people;
use intail::store::events::{self, Event};
use intail::store::people::Person;
use intail::store::quota;
use intail_google::oauth::scope;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::faults::Rule;
use intail_sandbox::profile::DirectoryAction;
use serde_json::{Value as Json, json};

use crate::access::{access_key, ask, session, text};
use crate::directory::{assert_the_directory_is_right, breaks_after, passed, row, shown};
use crate::harness::calendars::token;
use crate::harness::postgres;
use crate::harness::running::{ADMIN, Running, Setup};
use crate::harness::visit::Ticks;

/// Longer than the longest wait between two looks at a calendar that Google doesn't tell of.
const LOOK: Duration = Duration::from_secs(40 * 60);
/// Longer than the longest wait between two looks at the list of calendars.
const LIST: Duration = Duration::from_secs(3 * 3600);
/// Longer than the longest wait before something that can't be read is tried again.
const AGAIN: Duration = Duration::from_secs(8 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const EVENTS: &str = "calendar.events.list";
const CALENDARS: &str = "calendar.calendarList.list";
const PEOPLE: &str = "directory.users.list";
const MESSAGES: &str = "gmail.users.messages.list";
const HISTORY: &str = "gmail.users.history.list";
/// The largest answer of the false Google that a test reads.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// On both databases: what one of them takes may break the other.
async fn setups() -> [Setup; 2] {
    [Setup::default(), Setup { postgres: Some(postgres::database().await), ..Setup::default() }]
}

/// Somebody whose calendars are copied.
async fn connected(setup: Setup) -> (Running, Person) {
    let running = Running::start_with(setup).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    (running, person)
}

/// An appointment as Google writes it.
fn appointment(id: &str, summary: &str) -> Json {
    let at = |hour: u8| json!({"dateTime": format!("2026-11-25T{hour}:00:00+01:00"), "timeZone": "Europe/Berlin"});
    json!({"kind": "calendar#event", "id": id, "etag": format!("\"{summary}\""), "status": "confirmed",
        "summary": summary, "start": at(10), "end": at(11)})
}

fn deletion(id: &str) -> Json {
    json!({"kind": "calendar#event", "id": id, "status": "cancelled"})
}

/// The next page of events, of the person's own calendar, has these besides.
async fn see_also(running: &Running, person: &Person, items: &[Json]) {
    let rule = Rule::twist(EVENTS, json!({}), json!({ "items": items })).of(&person.email).times(1);
    running.world(|world| world.faults.add(rule));
    look(running, person).await;
}

/// Time passes, and what is due is done.
async fn look(running: &Running, person: &Person) {
    running.pass(LOOK);
    running.settle_calendars(person).await;
}

async fn stored(running: &Running, person: &Person, id: &str) -> Option<Event> {
    let agenda = running.agenda(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let all = events::after(&mut tx, &agenda.id, ("", ""), i64::MAX).await.expect("read");
    let mut found = all.into_iter().filter(|it| it.id == id);
    let one = found.next();
    assert!(found.next().is_none(), "{id} is stored twice");
    one
}

async fn told(running: &Running, person: &Person, id: &str) -> Vec<String> {
    let feed = running.feed(person).await;
    feed.into_iter().filter(|it: &Change| it.subject_id == id).map(|it| it.kind).collect()
}

/// Google answers as it should again, and the person's own calendar is compared whole.
async fn assert_it_is_got_over(running: &Running, person: &Person) {
    running.world(|world| world.faults.clear());
    running.plan(&person.email, json!({"action": "expire_tokens", "calendar": person.email}));
    look(running, person).await;
    running.assert_no_appointment_is_lost(person).await;
}

#[tokio::test]
async fn an_event_that_stands_twice_in_one_page_is_told_once_and_the_later_one_counts() {
    for setup in setups().await {
        let (running, person) = connected(setup).await;
        let see_also = async |items: &[Json]| see_also(&running, &person, items).await;
        let told = async |id| told(&running, &person, id).await;
        let summary = async |id| stored(&running, &person, id).await.map(|it| it.summary);
        see_also(&[appointment("new", "First"), appointment("new", "Second"), appointment("new", "Third")]).await;
        assert_eq!(told("new").await, ["event.added"]);
        assert_eq!(summary("new").await.as_deref(), Some("Third"));
        see_also(&[appointment("new", "Fourth"), appointment("new", "Fifth")]).await;
        assert_eq!(told("new").await, ["event.added", "event.changed"]);
        see_also(&[appointment("new", "Sixth"), appointment("new", "Fifth")]).await;
        assert_eq!(told("new").await.len(), 2, "what is there already is no change, whatever was said before it");
        assert_eq!(summary("new").await.as_deref(), Some("Fifth"));
        see_also(&[deletion("new"), appointment("new", "Seventh"), deletion("short"), appointment("short", "x")]).await;
        assert_eq!(told("new").await[2..], ["event.changed"], "it was deleted and is there again");
        assert_eq!(told("short").await, ["event.added"]);
        see_also(&[appointment("new", "Eighth"), deletion("new"), appointment("never", "x"), deletion("never")]).await;
        assert_eq!(told("new").await[3..], ["event.deleted"]);
        assert_eq!((told("never").await.len(), summary("never").await), (0, None));
        assert_it_is_got_over(&running, &person).await;
    }
}

/// The person's own calendar.
async fn own(running: &Running, person: &Person) -> Calendar {
    running.calendars(person).await.into_iter().find(|it| it.id == person.email).expect("everybody has one")
}

/// Lets what is due be done for some minutes, whether or not it ever rests.
async fn some_minutes(running: &Running) {
    for _ in 0..9 {
        running.pass(Duration::from_secs(20));
        running.work().await;
    }
}

/// Entries that can't be read, each for a reason of its own.
fn unreadable_entries() -> Vec<Json> {
    let with = |id: &str, key: &str, value: Json| {
        let mut entry = appointment(id, "x");
        entry[key] = value;
        entry
    };
    vec![
        json!({}),
        json!(null),
        json!(7),
        json!("event"),
        json!([]),
        json!({"id": 7, "status": "confirmed"}),
        json!({"id": "nowhen", "status": "confirmed", "summary": "x"}),
        with("yesterday", "start", json!({"dateTime": "yesterday"})),
        with("a\0b", "summary", json!("x")),
        with(&"x".repeat(5_000), "summary", json!("x")),
        json!({"id": "gone\0", "status": "cancelled"}),
        with("child", "recurringEventId", json!("a\0b")),
        with("often", "sequence", json!("often")),
        with("guests", "attendees", json!({"email": "x"})),
        with("long", "recurrence", json!(vec!["RRULE:FREQ=DAILY"; 5_000])),
    ]
}

/// Entries that are strange and can be read all the same.
fn strange_entries() -> Vec<Json> {
    let with = |id: &str, members: Json| {
        let mut entry = appointment(id, id);
        for (key, value) in members.as_object().expect("members") {
            entry[key] = value.clone();
        }
        entry
    };
    let guests: Vec<Json> = (0..10_000).map(|n| json!({"email": format!("g{n}@x.example")})).collect();
    let words = json!({"status": "postponed", "eventType": "siesta", "visibility": "whispered",
        "transparency": "glassy", "kind": "calendar#surprise", "unheardOf": {"a": [1]}});
    let rubbish = ["RRULE:FREQ=NEVER;COUNT=-1;INTERVAL=0", "\0", "", "RDATE:99999999T999999Z", "RRULE"];
    vec![
        with("words", words),
        with("giant", json!({"summary": "雪".repeat(5 * 1024 * 1024 / 3), "iCalUID": "u\0\n"})),
        with("crowd", json!({ "attendees": guests })),
        with("rubbish", json!({ "recurrence": rubbish })),
        with("backwards", json!({"end": {"date": "0001-01-01"}})),
        with("nulls", json!({"summary": null, "attendees": null, "recurrence": null, "organizer": null})),
        json!({"id": "nowhere", "status": "cancelled"}),
    ]
}

#[tokio::test]
async fn whatever_an_event_is_made_of_it_is_kept_or_told_and_everything_else_goes_on() {
    for setup in setups().await {
        let (running, person) = connected(setup).await;
        let (unreadable, strange) = (unreadable_entries(), strange_entries());
        let event = json!({"title": "Real", "start": "2026-11-25T12:00"});
        let real = running.plan(&person.email, json!({"action": "create", "event": event}));
        let items: Vec<Json> = unreadable.iter().chain(&strange).cloned().collect();
        see_also(&running, &person, &items).await;
        let calendar = own(&running, &person).await;
        assert_eq!((calendar.state, calendar.problem), (CalendarState::Live, None));
        assert_eq!(usize::try_from(calendar.unreadable), Ok(unreadable.len()), "each is told");
        assert_eq!(told(&running, &person, &real).await, ["event.added"]);
        let there = async |id| stored(&running, &person, id).await.expect("it can be read");
        let words = there("words").await;
        assert_eq!((words.status.as_str(), words.kind.as_str()), ("postponed", "siesta"), "unknown words are kept");
        assert_eq!((words.visibility.as_str(), words.transparency.as_str()), ("whispered", "glassy"));
        assert!(there("giant").await.summary.len() <= 1_024);
        let crowd = there("crowd").await;
        assert!(crowd.attendees.len() <= 200 && crowd.attendees_omitted, "{}", crowd.attendees.len());
        for id in ["words", "giant", "crowd", "rubbish", "backwards", "nulls"] {
            assert_eq!(told(&running, &person, id).await, ["event.added"], "{id}");
        }
        for id in ["nowhen", "yesterday", "child", "often", "guests", "long", "nowhere"] {
            assert!(stored(&running, &person, id).await.is_none() && told(&running, &person, id).await.is_empty());
        }
        assert_it_is_shown(&running, &person, unreadable.len()).await;
        // Mail doesn't notice.
        running.act(&person.email, MailAction::sample());
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
        // What couldn't be read is looked at again by itself: no token would tell of it.
        running.world(|world| world.faults.clear());
        running.pass(DAY);
        look(&running, &person).await;
        assert_eq!(own(&running, &person).await.unreadable, 0);
        running.assert_no_appointment_is_lost(&person).await;
    }
}

/// Pages and API show what is there, and how much couldn't be read.
async fn assert_it_is_shown(running: &Running, person: &Person, unreadable: usize) {
    let (signed_in, key) = (session(&running.app, person).await, access_key(&running.app, person).await);
    let mut pages = vec!["/calendar?date=2026-11-25".to_owned(), "/calendar?date=2026-11-25&view=agenda".to_owned()];
    let one = |id| format!("/calendar/events/{}/{id}", person.email);
    pages.extend(["words", "giant", "crowd", "rubbish", "backwards", "nulls"].map(one));
    for path in pages {
        let answer = ask(&running.app, "GET", &path, &signed_in, None).await;
        assert_eq!(answer.status(), 200, "{path}");
        let page = text(answer).await;
        assert!(page.len() < 1024 * 1024, "{path} has {} bytes", page.len());
    }
    let path = format!("/calendar/events/{}/backwards", person.email);
    let backwards = text(ask(&running.app, "GET", &path, &signed_in, None).await).await;
    assert!(backwards.contains("10:00") && !backwards.contains("10:00–"), "what ends before it begins takes no time");
    let json = async |path: &str| -> Json {
        let answer = ask(&running.app, "GET", path, &key, None).await;
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_str(&text(answer).await).expect("JSON")
    };
    let coverage = json(&format!("/api/v1/calendars/{}/coverage", person.email)).await;
    assert_eq!((&coverage["complete"], &coverage["events_unreadable"]), (&json!(false), &json!(unreadable)));
    let agenda = json("/api/v1/agenda?from=2026-11-25&until=2026-11-26").await.to_string();
    assert!(agenda.contains("\"words\"") && agenda.contains("\"giant\""), "{agenda}");
}

#[tokio::test]
async fn a_reading_that_can_not_be_gone_on_with_is_left_and_begun_anew_later() {
    let (running, person) = connected(Setup::default()).await;
    let event = json!({"title": "Kept", "start": "2026-11-25T12:00"});
    running.plan(&person.email, json!({"action": "create", "event": event}));
    look(&running, &person).await;
    let kept = running.feed(&person).await.len();

    // Neither a next page nor a token.
    let silent = Rule::twist(EVENTS, json!({"nextSyncToken": null}), json!({})).of(&person.email).times(1);
    running.world(|world| world.faults.add(silent));
    running.pass(LOOK);
    some_minutes(&running).await;
    assert_eq!(own(&running, &person).await.problem.as_deref(), Some("no_token"));
    running.pass(AGAIN);
    running.settle_calendars(&person).await;
    running.assert_no_appointment_is_lost(&person).await;

    // The same page again and again, and pages in a circle that is longer than any calendar.
    for circle in [false, true] {
        running.world(|world| world.settings.page_max = 2);
        running.plan(&person.email, json!({"action": "expire_tokens", "calendar": person.email}));
        let breaks = Rule { skip: 3, ..Rule::status(EVENTS, 503) };
        running.world(|world| world.faults.add(breaks.of(&person.email)));
        running.pass(LOOK);
        running.work().await;
        let page = own(&running, &person).await.page_token.expect("it broke off between two pages");
        running.world(|world| world.faults.clear());
        if circle {
            let mut tx = running.app.store.write().await.expect("a transaction");
            tx.run("UPDATE calendars SET pages = 4998", Vec::new()).await.expect("as after so many pages");
            tx.commit().await.expect("committed");
        } else {
            // The page is of the person's own calendar: of others Google takes it back each time.
            let again = Rule::twist(EVENTS, json!({"nextPageToken": page, "nextSyncToken": null}), json!({}));
            running.world(|world| world.faults.add(again.of(&person.email)));
        }
        running.world(|world| world.calls.clear());
        some_minutes(&running).await;
        let calendar = own(&running, &person).await;
        assert_eq!((calendar.problem.as_deref(), calendar.page_token), (Some("endless"), None), "circle: {circle}");
        let calendars = running.calendars(&person).await.len();
        assert!(running.calls(EVENTS) < 30 * calendars, "{} calls", running.calls(EVENTS));
        running.world(|world| {
            world.faults.clear();
            world.settings.page_max = 0;
        });
        running.pass(AGAIN);
        running.settle_calendars(&person).await;
        running.assert_no_appointment_is_lost(&person).await;
    }
    let feed = running.feed(&person).await;
    let about_events = feed[kept..].iter().filter(|it| it.kind.starts_with("event.")).count();
    assert_eq!(about_events, 0, "nothing had changed, so nothing was told");
}

#[tokio::test]
async fn a_list_of_calendars_may_say_anything_and_takes_nothing_away() {
    for setup in setups().await {
        let (running, person) = connected(setup).await;
        let team = running.plan(&person.email, json!({"action": "create_calendar", "name": "Team"}));
        let event = json!({"title": "Retreat", "start": "2026-11-25T12:00"});
        running.plan(&person.email, json!({"action": "create", "calendar": team, "event": event}));
        running.pass(LIST);
        running.settle_calendars(&person).await;
        let before = running.calendars(&person).await;
        let shown = |id: &str, name: &str| json!({"id": id, "summary": name, "accessRole": "emperor"});
        let items = json!([{}, null, 7, "calendar", {"id": 7}, shown("a\0b", "x"), shown(&"x".repeat(5_000), "x"),
            shown("twice", "First"), shown("twice", "Second"), shown("giant", &"x".repeat(5 * 1024 * 1024)),
            {"id": "nulls", "summary": null, "selected": null, "hidden": null}, {"id": "never", "deleted": true},
            {"id": team, "selected": "yes"}]);
        let rule = Rule::twist(CALENDARS, json!({"nextSyncToken": null}), json!({ "items": items }));
        running.world(|world| world.faults.add(rule.of(&person.email).times(1)));
        running.pass(LIST);
        running.settle_calendars(&person).await;
        let calendars = running.calendars(&person).await;
        let mut new: Vec<&str> = calendars.iter().map(|it| it.id.as_str()).collect();
        new.retain(|id| before.iter().all(|it| it.id != *id));
        new.sort_unstable();
        assert_eq!(new, ["giant", "nulls", "twice"]);
        let twice = calendars.iter().find(|it| it.id == "twice").expect("there");
        assert_eq!((twice.entry.name.as_str(), twice.entry.access_role.as_str()), ("Second", "emperor"));
        assert_eq!(told(&running, &person, "twice").await, ["calendar.added", "calendar.changed"]);
        assert_eq!(calendars.iter().filter(|it| it.state == CalendarState::Live).count(), before.len());
        running.assert_no_appointment_is_lost(&person).await;
        // Without a token the whole list is read the next time, and what Google never had leaves it.
        running.pass(LIST);
        running.settle_calendars(&person).await;
        assert_eq!(running.calendars(&person).await.len(), before.len());
        assert_eq!(told(&running, &person, "twice").await.last().map(String::as_str), Some("calendar.deleted"));
        running.assert_no_appointment_is_lost(&person).await;
    }
}

#[tokio::test]
async fn a_calendar_whose_entry_cannot_be_read_is_told_until_the_whole_list_can_be_read() {
    let (running, person) = connected(Setup::default()).await;
    let team = running.plan(&person.email, json!({"action": "create_calendar", "name": "Team"}));
    running.pass(LIST);
    running.settle_calendars(&person).await;
    let items = json!([{"id": "never read", "accessRole": 7}, {"id": "a\0b", "accessRole": "reader"}]);
    let garbled = Rule::twist(CALENDARS, json!({}), json!({ "items": items }));
    running.world(|world| world.faults.add(garbled.of(&person.email)));
    let signed_in = session(&running.app, &person).await;
    let page = async |path| text(ask(&running.app, "GET", path, &signed_in, None).await).await;
    for reading in ["what changed", "the whole list", "the whole list again"] {
        running.pass(LIST);
        running.settle_calendars(&person).await;
        let agenda = running.agenda(&person).await;
        assert_eq!((agenda.list_unreadable, agenda.list_sync_token), (2, None), "{reading}");
        let shown = page("/calendar").await;
        assert!(shown.contains("Live, but 2 calendars of your list at Google can’t be read"), "{shown}");
        assert!(page("/settings/integrations").await.contains("2 calendars of your list at Google can’t be read."));
    }
    let key = access_key(&running.app, &person).await;
    let connection = async || {
        let answer = text(ask(&running.app, "GET", "/api/v1/connection", &key, None).await).await;
        serde_json::from_str::<serde_json::Value>(&answer).expect("JSON")
    };
    assert_eq!(connection().await["agenda"]["calendars_unreadable"], 2);
    assert!(running.calendars(&person).await.iter().any(|it| it.id == team && it.is_followed()));

    running.world(|world| world.faults.clear());
    running.pass(LIST);
    running.settle_calendars(&person).await;
    let agenda = running.agenda(&person).await;
    assert!(agenda.list_unreadable == 0 && agenda.list_sync_token.is_some(), "{agenda:?}");
    assert!(!page("/calendar").await.contains("can’t be read"));
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn a_list_of_calendars_without_a_token_or_an_end_takes_nothing_away() {
    let (running, person) = connected(Setup::default()).await;
    let team = running.plan(&person.email, json!({"action": "create_calendar", "name": "Team"}));
    running.pass(LIST);
    running.settle_calendars(&person).await;
    let silent = Rule::twist(CALENDARS, json!({"nextSyncToken": null}), json!({}));
    running.world(|world| world.faults.add(silent.of(&person.email)));
    let lists = async || {
        let before = running.feed(&person).await.len();
        running.pass(LIST);
        running.settle_calendars(&person).await;
        running.feed(&person).await.len() - before
    };
    assert_eq!((lists().await, lists().await, lists().await), (0, 0, 0), "nothing changed");
    let other = running.plan(&person.email, json!({"action": "create_calendar", "name": "Other"}));
    lists().await;
    let has = async |id: &str| running.calendars(&person).await.iter().any(|it| it.id == *id && it.is_followed());
    assert!(has(&team).await && has(&other).await);

    // The first page leads to itself: what comes after it isn't gone.
    for circle in [false, true] {
        running.world(|world| world.faults.clear());
        running.world(|world| world.settings.page_max = 1);
        running.plan(&person.email, json!({"action": "expire_tokens"}));
        let breaks = Rule { skip: 2, ..Rule::status(CALENDARS, 503) };
        running.world(|world| world.faults.add(breaks.of(&person.email)));
        running.pass(LIST);
        running.work().await;
        let page = running.agenda(&person).await.list_page_token.expect("it broke off between two pages");
        running.world(|world| world.faults.clear());
        if circle {
            let mut tx = running.app.store.write().await.expect("a transaction");
            tx.run("UPDATE agendas SET list_pages = 199", Vec::new()).await.expect("as after so many pages");
            tx.commit().await.expect("committed");
        } else {
            let again = Rule::twist(CALENDARS, json!({"nextPageToken": page, "nextSyncToken": null}), json!({}));
            running.world(|world| world.faults.add(again.of(&person.email)));
        }
        running.world(|world| world.calls.clear());
        some_minutes(&running).await;
        assert!(running.calls(CALENDARS) < 5, "{} calls", running.calls(CALENDARS));
        assert!(has(&team).await && has(&other).await, "circle: {circle}");
        let problem = async || running.agenda(&person).await.problem;
        assert_eq!(problem().await.as_deref(), Some("list_endless"), "whatever else was read meanwhile");
        let signed_in = session(&running.app, &person).await;
        for path in ["/calendar", "/settings/integrations"] {
            let page = text(ask(&running.app, "GET", path, &signed_in, None).await).await;
            assert!(page.contains("list of your calendars has no end"), "{path}");
        }
        running.world(|world| world.faults.clear());
        running.pass(LIST);
        running.settle_calendars(&person).await;
        assert_eq!(problem().await, None, "a list with an end refutes it");
        running.assert_no_appointment_is_lost(&person).await;
    }
    running.world(|world| world.settings.page_max = 0);
    assert_eq!(lists().await, 0, "nothing had changed, so nothing was told");
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn a_page_that_is_too_large_is_read_in_parts() {
    let (running, person) = connected(Setup::default()).await;
    let event = json!({"title": "Kept", "start": "2026-11-25T12:00"});
    let kept = running.plan(&person.email, json!({"action": "create", "event": event}));
    let calendars = running.calendars(&person).await.len();
    let large = |times| {
        let large = Rule::twist(EVENTS, json!({ "padding": "x".repeat(17 * 1024 * 1024) }), json!({}));
        running.world(|world| world.faults.add(large.of(&person.email).times(times)));
        running.world(|world| world.calls.clear());
    };
    // 500, 250, 125.
    large(2);
    look(&running, &person).await;
    let calendar = own(&running, &person).await;
    assert_eq!((calendar.state, calendar.problem, calendar.unreadable), (CalendarState::Live, None, 0));
    assert!(running.calls(EVENTS) <= calendars + 2, "{} calls", running.calls(EVENTS));
    assert_eq!(told(&running, &person, &kept).await, ["event.added"], "it is read at once");
    // 500, 250, 125, 62, 31 and 15: less isn't asked for.
    large(6);
    running.pass(LOOK);
    some_minutes(&running).await;
    let ailing = async || running.calendars(&person).await.into_iter().filter(|it| it.problem.is_some()).count();
    assert_eq!(ailing().await, 1);
    assert!(running.calls(EVENTS) <= calendars + 5, "{} calls", running.calls(EVENTS));
    running.pass(AGAIN);
    running.settle_calendars(&person).await;
    assert_eq!(ailing().await, 0);
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn what_can_not_be_read_is_told_also_where_nothing_else_is() {
    let (running, person) = connected(Setup::default()).await;
    look(&running, &person).await;
    let about = async || {
        let feed = running.feed(&person).await;
        feed.into_iter().filter(|it| it.kind.starts_with("calendar.") && it.subject_id == person.email).count()
    };
    let before = about().await;
    see_also(&running, &person, &[json!({"id": "nowhen", "status": "confirmed"})]).await;
    assert_eq!((own(&running, &person).await.unreadable, about().await), (1, before + 1));
    look(&running, &person).await;
    assert_eq!(about().await, before + 1, "a look that finds nothing tells nothing");
    assert_it_is_got_over(&running, &person).await;
}

// ---- mail ----

#[tokio::test]
async fn a_mailbox_s_list_without_an_end_waits_and_nothing_else_waits_with_it() {
    for circle in [false, true] {
        let running = Running::start().await;
        running.approve();
        running.world(|world| world.settings.page_max = 2);
        let email = running.employee();
        let breaks = Rule { skip: 4, ..Rule::status(MESSAGES, 503) };
        running.world(|world| world.faults.add(breaks.of(&email)));
        let person = running.sign_in(&email).await;
        running.connect(&person, Ticks::All).await.expect("connected");
        running.work().await;
        let page = running.mailbox(&person).await.listing_page.expect("it broke off between two pages");
        running.world(|world| world.faults.clear());
        if circle {
            let mut tx = running.app.store.write().await.expect("a transaction");
            tx.run("UPDATE mailboxes SET listing_pages = 9998", Vec::new()).await.expect("as after so many pages");
            tx.commit().await.expect("committed");
        } else {
            let again = Rule::twist(MESSAGES, json!({ "nextPageToken": page }), json!({}));
            running.world(|world| world.faults.add(again.of(&email)));
        }
        running.world(|world| world.calls.clear());
        some_minutes(&running).await;
        assert!(running.calls(MESSAGES) <= 8, "circle: {circle}, {} calls", running.calls(MESSAGES));
        let waiting = running.mailbox(&person).await;
        assert!(waiting.listing_at.is_some() && !waiting.listing_done, "circle: {circle}, {waiting:?}");
        let page =
            text(ask(&running.app, "GET", "/settings/integrations", &session(&running.app, &person).await, None).await);
        assert!(page.await.contains("list of this mailbox leads nowhere"), "it is told");
        // What comes meanwhile is there at once, and what was listed is fetched.
        let before = running.stored(&person).await.len();
        running.act(&email, MailAction::sample());
        some_minutes(&running).await;
        assert!(running.stored(&person).await.len() > before);
        running.world(|world| {
            world.faults.clear();
            world.settings.page_max = 0;
        });
        running.pass(AGAIN);
        running.settle().await;
        let whole = running.mailbox(&person).await;
        assert_eq!((whole.listing_at, whole.listing_pages, whole.listing_done), (None, 0, true));
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn a_page_token_that_is_refused_again_and_again_is_asked_for_seldom() {
    let running = Running::start().await;
    running.approve();
    running.world(|world| world.settings.page_max = 2);
    let email = running.employee();
    let unknown = Rule::twist(MESSAGES, json!({ "nextPageToken": "unknown" }), json!({}));
    running.world(|world| world.faults.add(unknown.of(&email)));
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    some_minutes(&running).await;
    // Three minutes, three times two pages and the drafts.
    assert!(running.calls(MESSAGES) <= 16, "{} calls", running.calls(MESSAGES));
    running.world(|world| world.faults.clear());
    running.pass(Duration::from_secs(120));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_history_without_an_end_is_asked_for_later_and_later() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle().await;
    let cursor = running.mailbox(&person).await.cursor.expect("it is read");
    running.act(&person.email, MailAction::sample());
    running.act(&person.email, MailAction::sample());
    let token = token(&running.sandbox, &person.email, scope::GMAIL_METADATA);
    let path = format!("/gmail/v1/users/me/history?startHistoryId={}&maxResults=1", cursor.0);
    let request = http::Request::get(path).header("authorization", format!("Bearer {token}"));
    let answer = running.sandbox.answer(request.body(Body::empty()).expect("a request")).await;
    let body = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.expect("a whole answer");
    let first: Json = serde_json::from_slice(&body).expect("JSON");
    let page = first["nextPageToken"].as_str().expect("there is a second page");
    let empty = Rule::twist(HISTORY, json!({ "nextPageToken": page, "history": null }), json!({}));
    running.world(|world| {
        world.faults.add(empty.of(&person.email));
        world.calls.clear();
    });
    for _ in 0..60 {
        running.pass(Duration::from_secs(60));
        running.work().await;
    }
    // An hour: fifty pages at a time, at first after seconds and then after a quarter of an hour.
    assert!((50..=50 * 16).contains(&running.calls(HISTORY)), "{} calls", running.calls(HISTORY));
    assert_eq!(running.mailbox(&person).await.cursor, Some(cursor));
    running.world(|world| world.faults.clear());
    running.pass(Duration::from_secs(1_800));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

/// The next history that is told of a mailbox, in place of what really happened.
fn history_says(running: &Running, email: &str, records: &Json) {
    let rule = Rule::twist(HISTORY, json!({ "history": records }), json!({})).of(email).times(1);
    running.world(|world| world.faults.add(rule));
}

/// The card, as the person sees it.
async fn card(running: &Running, person: &Person) -> String {
    let signed_in = session(&running.app, person).await;
    text(ask(&running.app, "GET", "/settings/integrations", &signed_in, None).await).await
}

/// What the API says of how complete the mailbox is.
async fn coverage_of(running: &Running, person: &Person) -> Json {
    let key = access_key(&running.app, person).await;
    let path = format!("/api/v1/mailboxes/{}/coverage", running.mailbox(person).await.id);
    serde_json::from_str(&text(ask(&running.app, "GET", &path, &key, None).await).await).expect("JSON")
}

#[tokio::test]
async fn a_record_that_can_not_be_read_is_asked_for_by_its_message_and_holds_nothing_up() {
    for setup in setups().await {
        let running = Running::start_with(setup).await;
        running.approve();
        let person = running.connected(&running.employee()).await;
        let email = person.email.clone();
        let known: Vec<String> = running.stored(&person).await.into_keys().take(3).collect();
        running.act(&email, MailAction::Star(One { id: known[0].clone() }));
        running.act(&email, MailAction::Delete(One { id: known[1].clone() }));
        running.act(&email, MailAction::Trash(One { id: known[2].clone() }));
        let next = running.world(|world| world.mailbox(&email).expect("a mailbox").history().current());
        // A label without a name, an id that is none, a label that no database keeps.
        let records = json!([{"id": next.to_string(), "labelsAdded": [{"message": {"id": known[0]}}]},
            {"id": "yesterday", "messagesDeleted": [{"message": {"id": known[1], "threadId": 7}}]},
            {"id": next, "labelsAdded": [{"message": {"id": known[2], "threadId": "t"}, "labelIds": ["A\0"]}]}]);
        history_says(&running, &email, &records);
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
        let mailbox = running.mailbox(&person).await;
        assert_eq!((mailbox.listing_pass, mailbox.unreadable, mailbox.failures), (1, 0, 0), "nothing was compared");
    }
}

#[tokio::test]
async fn a_record_of_nobody_knows_what_is_told_and_everything_is_compared_once_an_hour_at_most() {
    for setup in setups().await {
        let running = Running::start_with(setup).await;
        running.approve();
        let person = running.connected(&running.employee()).await;
        let email = person.email.clone();
        let strange = |running: &Running| {
            running.act(&email, MailAction::sample());
            let next = running.world(|world| world.mailbox(&email).expect("a mailbox").history().current());
            history_says(running, &email, &json!([{"id": next.to_string(), "messagesAdded": [{}]}, 7]));
        };
        strange(&running);
        running.work().await;
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
        let mailbox = running.mailbox(&person).await;
        assert_eq!((mailbox.listing_pass, mailbox.unreadable, mailbox.failures), (2, 0, 0), "it was compared at once");

        strange(&running);
        running.work().await;
        let mailbox = running.mailbox(&person).await;
        assert_eq!((mailbox.listing_pass, mailbox.unreadable), (2, 2), "the next time waits");
        assert!(card(&running, &person).await.contains("2 entries of what Google lists and tells"), "it is told");
        let coverage = coverage_of(&running, &person).await;
        assert_eq!((&coverage["complete"], &coverage["entries_unreadable"]), (&json!(false), &json!(2)));
        running.pass(Duration::from_secs(3_600));
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
        assert_eq!(running.mailbox(&person).await.listing_pass, 3);
        let coverage = coverage_of(&running, &person).await;
        assert_eq!((&coverage["complete"], &coverage["entries_unreadable"]), (&json!(true), &json!(0)));
    }
}

#[tokio::test]
async fn whatever_a_mailbox_s_list_holds_everything_that_can_be_read_is_copied() {
    for setup in setups().await {
        let running = Running::start_with(setup).await;
        running.approve();
        let email = running.employee();
        let threadless = running.world(|world| {
            let mailbox = world.mailbox(&email).expect("a mailbox");
            mailbox.newest_first().find(|it| !it.has("DRAFT")).expect("a message").id.clone()
        });
        let more = json!({"messages": [7, null, {}, {"id": "a\0b"}, {"id": threadless}, {"threadId": "t"}]});
        let rule = Rule::twist(MESSAGES, json!({}), more).of(&email);
        running.world(|world| world.faults.add(rule));
        let person = running.sign_in(&email).await;
        running.connect(&person, Ticks::All).await.expect("connected");
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
        let mailbox = running.mailbox(&person).await;
        assert!(mailbox.unreadable > 0 && mailbox.failures == 0, "{mailbox:?}");
        let again = mailbox.compare_at.expect("everything is compared again");
        assert!(again.duration_since(running.app.clock.now()).as_hours() >= 23, "and not at once: {again}");
        running.world(|world| world.faults.clear());
        running.pass(DAY);
        running.settle().await;
        let mailbox = running.mailbox(&person).await;
        assert_eq!((mailbox.unreadable, mailbox.compare_at), (0, None));
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn under_a_depth_messages_that_can_not_be_read_do_not_keep_a_page_from_being_listed() {
    for broken in [1, 9] {
        let running = Running::start().await;
        running.approve();
        let email = running.employee();
        let person = running.sign_in(&email).await;
        let mut tx = running.app.store.write().await.expect("a transaction");
        quota::set_backfill_days(&mut tx, &person.organization_id, Some(3_650)).await.expect("set");
        tx.commit().await.expect("committed");
        let rule = Rule::twist("gmail.users.messages.get", json!({ "internalDate": "long ago" }), json!({}));
        running.world(|world| world.faults.add(rule.of(&email).times(broken)));
        running.connect(&person, Ticks::All).await.expect("connected");
        running.work().await;
        assert_eq!(running.mailbox(&person).await.failures, 0, "the first {broken} of them");
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
    }
}

// ---- the directory ----

/// What the false Google answers to an administrator who lists everybody.
async fn listed(running: &Running, email: &str) -> Vec<Json> {
    let token = token(&running.sandbox, email, scope::DIRECTORY_USER_READONLY);
    let path = "/admin/directory/v1/users?customer=my_customer&projection=full&viewType=admin_view&maxResults=500";
    let request = http::Request::get(path).header("authorization", format!("Bearer {token}"));
    let answer = running.sandbox.answer(request.body(Body::empty()).expect("a request")).await;
    let body = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.expect("a whole answer");
    let mut page: Json = serde_json::from_slice(&body).expect("JSON");
    page["users"].as_array_mut().expect("people").drain(..).collect()
}

fn titled(title: &str) -> DirectoryAction {
    serde_json::from_value(json!({"action": "edit", "title": title})).expect("an action")
}

#[tokio::test]
async fn whatever_a_directory_lists_it_is_kept_or_told_and_nobody_is_lost() {
    for setup in setups().await {
        let (running, person) = connected(setup).await;
        let before = shown(&running, &person).await;
        let kofi = running.world(|world| {
            world.edit_directory("kofi@example.com", &titled("Keeper of the Keys")).expect("it can be");
            world.identity.person_by_email("kofi@example.com").expect("there").sub.clone()
        });
        let unreadable = [
            json!({}),
            json!(null),
            json!(7),
            json!("user"),
            json!({"id": 7}),
            json!({"id": "a\0b"}),
            json!({"id": "x".repeat(5_000)}),
            json!({"id": "odd", "suspended": "maybe"}),
        ];
        let phones: Vec<Json> = (0..10_000).map(|n| json!({"value": format!("{n}"), "type": "work"})).collect();
        let strange = [
            json!({"id": "bare"}),
            json!({"id": "giant", "etag": "a\0b", "primaryEmail": "giant@example.com", "phones": phones,
                "name": {"fullName": "x".repeat(1024 * 1024)}, "thumbnailPhotoUrl": "javascript:alert(1)"}),
            json!({"id": "twice", "primaryEmail": "twice@example.com", "name": {"fullName": "First"}}),
            json!({"id": "twice", "primaryEmail": "twice@example.com", "name": {"fullName": "Second"}}),
            json!({"id": "nobody", "primaryEmail": "nobody", "aliases": "all", "emails": [7], "relations": {"a": 1},
                "name": {"fullName": null}}),
        ];
        let users: Vec<&Json> = unreadable.iter().chain(&strange).collect();
        running.world(|world| world.faults.add(Rule::twist(PEOPLE, json!({}), json!({ "users": users }))));
        passed(&running, &person).await;
        let directory = row(&running, &person).await;
        assert_eq!(usize::try_from(directory.unreadable), Ok(unreadable.len()), "each is told, and nobody twice");
        let held = shown(&running, &person).await;
        assert_eq!(held[&kofi].2, "Keeper of the Keys", "the real ones go on");
        assert!(before.keys().all(|id| held.contains_key(id)), "nobody is lost");
        let mut new: Vec<&str> = held.keys().filter(|id| !before.contains_key(*id)).map(String::as_str).collect();
        new.sort_unstable();
        assert_eq!(new, ["bare", "giant", "nobody", "twice"]);
        assert_eq!((held["twice"].1.as_str(), told(&running, &person, "twice").await.len()), ("Second", 1));
        let signed_in = session(&running.app, &person).await;
        for path in [
            "/directory",
            "/directory?view=organization",
            "/directory?q=giant",
            "/directory/giant",
            "/directory/bare",
            "/directory/nobody",
        ] {
            let answer = ask(&running.app, "GET", path, &signed_in, None).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert!(text(answer).await.len() < 1024 * 1024, "{path}");
        }
        passed(&running, &person).await;
        assert_eq!(told(&running, &person, "giant").await, ["person.added"], "the same again is no change");
        running.world(|world| world.faults.clear());
        for _ in 0..3 {
            passed(&running, &person).await;
        }
        assert_the_directory_is_right(&running, &person).await;
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn whoever_can_not_be_read_for_days_is_not_taken_for_deleted() {
    let running = Running::start().await;
    running.approve();
    let administrator = running.connected(ADMIN).await;
    let kofi = running.world(|world| world.identity.person_by_email("kofi@example.com").expect("there").sub.clone());
    let mut users = listed(&running, ADMIN).await;
    let entry = users.iter_mut().find(|it| it["id"] == json!(kofi)).expect("listed");
    *entry = json!({"id": kofi, "suspended": "maybe"});
    // Each pass lists everybody, and then those who were deleted lately: every other answer is meant.
    for pass in 0..9 {
        let of_everybody = Rule::twist(PEOPLE, json!({ "users": users }), json!({})).times(1);
        running.world(|world| world.faults.add(Rule { skip: u32::from(pass > 0), ..of_everybody }));
    }
    for _ in 0..5 {
        running.pass(Duration::from_secs(3600));
        running.work().await;
    }
    let mut tx = running.app.store.read().await.expect("a transaction");
    let held = directory_people::by_id(&mut tx, &administrator.organization_id, &kofi).await.expect("read");
    drop(tx);
    let held = held.expect("an entry");
    assert_eq!((held.gone_at, held.deleted_at, held.misses), (None, None, 0), "they are listed");
    assert!(row(&running, &administrator).await.unreadable > 0, "and it is told that they can't be read");
}

#[tokio::test]
async fn a_directory_without_an_end_is_begun_anew_later_and_later() {
    let (running, person) = connected(Setup::default()).await;
    running.world(|world| world.settings.page_max = 2);
    let seen = shown(&running, &person).await;
    for circle in [false, true] {
        let whole = row(&running, &person).await;
        breaks_after(&running, 2);
        running.pass(DAY);
        running.work().await;
        let page = row(&running, &person).await.page_token.expect("it broke off between two pages");
        running.world(|world| world.faults.clear());
        if circle {
            let mut tx = running.app.store.write().await.expect("a transaction");
            tx.run("UPDATE directories SET pages = 1999", Vec::new()).await.expect("as after so many pages");
            tx.commit().await.expect("committed");
        } else {
            running.world(|world| world.faults.add(Rule::twist(PEOPLE, json!({ "nextPageToken": page }), json!({}))));
        }
        running.world(|world| world.calls.clear());
        for _ in 0..6 {
            running.pass(Duration::from_secs(1_800));
            running.work().await;
        }
        assert!(running.calls(PEOPLE) < 40, "{} calls", running.calls(PEOPLE));
        let left = row(&running, &person).await;
        assert_eq!(left.passed_at == whole.passed_at, !circle, "a circle that is over isn't remembered");
        assert_eq!(shown(&running, &person).await, seen);
        running.world(|world| world.faults.clear());
        running.pass(Duration::from_secs(2 * 3600));
        running.work().await;
        assert_the_directory_is_right(&running, &person).await;
    }
}

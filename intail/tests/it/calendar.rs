//! Calendars, from connecting to the last change: what Google shows is what Intail holds, whatever happens between.

use std::time::Duration;

use intail::store::calendars::CalendarState;
use intail::store::changes::Change;
use intail::store::events;
use intail::store::events::Event;
use intail::store::people::Person;
use serde_json::json;

use crate::harness::running::Running;

/// Longer than the longest wait between two looks at a calendar that Google doesn't tell of.
const LOOK: Duration = Duration::from_secs(40 * 60);

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

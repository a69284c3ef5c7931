//! Answers about calendars and the directory that no document of Google's promises: entries without an id or a time,
//! unknown words, rubbish, giants, the same thing twice, pages without an end. Whatever comes is bounded, told and got
//! over; nothing that Google really has is lost through it.

use std::time::Duration;

use intail::store::changes::Change;
use intail::store::events::{self, Event};
use intail::store::people::Person;
use intail_sandbox::faults::Rule;
use serde_json::{Value as Json, json};

use crate::harness::postgres;
use crate::harness::running::{Running, Setup};

/// Longer than the longest wait between two looks at a calendar that Google doesn't tell of.
const LOOK: Duration = Duration::from_secs(40 * 60);
const EVENTS: &str = "calendar.events.list";

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

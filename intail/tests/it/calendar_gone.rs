//! What Google calls gone: the three kinds of 410, of events and of the list of calendars, at the beginning of a
//! reading and in the middle of it, and page tokens that Google takes back. Each leads to what it means and to nothing
//! more: one comparison that tells the difference, or a look at the list.

use std::time::Duration;

use intail::store::calendars::CalendarState;
use intail::store::changes::Change;
use intail::store::events;
use intail::store::people::Person;
use intail_sandbox::faults::{Mischief, Rule};
use serde_json::json;

use crate::harness::running::Running;

/// Longer than the longest wait between two looks at a calendar that Google doesn't tell of, and at the list.
const LOOK: Duration = Duration::from_secs(40 * 60);
const LIST: Duration = Duration::from_secs(3 * 3600);
const EVENTS: &str = "calendar.events.list";
const CALENDARS: &str = "calendar.calendarList.list";
/// The reasons that end a token.
const ENDS: [&str; 2] = ["fullSyncRequired", "updatedMinTooLongAgo"];

async fn connected() -> (Running, Person) {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    (running, person)
}

/// Google's answer 410, or another refusal, for this reason.
fn refusal(call: &str, status: u16, reason: &str) -> Rule {
    let reason = Some(reason.to_owned());
    Rule::new(call, Mischief::Status { status, reason, message: None, retry_after_s: None })
}

async fn look(running: &Running, person: &Person, time: Duration) {
    running.pass(time);
    running.settle_calendars(person).await;
}

fn create(running: &Running, person: &Person, title: &str) -> String {
    let event = json!({"title": title, "start": "2026-11-25T12:00"});
    running.plan(&person.email, json!({"action": "create", "event": event}))
}

fn retitle(running: &Running, person: &Person, id: &str) {
    running.plan(&person.email, json!({"action": "edit", "id": id, "title": "Changed"}));
}

fn delete(running: &Running, person: &Person, id: &str) {
    running.plan(&person.email, json!({"action": "delete", "id": id}));
}

/// What was told since there were so many changes: kinds and what they are about, in order of the latter.
async fn told_since(running: &Running, person: &Person, count: usize) -> Vec<(String, String)> {
    let feed = running.feed(person).await;
    let mut told: Vec<_> = feed[count..].iter().map(|it: &Change| (it.subject_id.clone(), it.kind.clone())).collect();
    told.retain(|(_, kind)| kind.starts_with("event.") || kind.starts_with("calendar."));
    told.sort_by(|left, right| left.0.cmp(&right.0));
    told
}

fn expected(told: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut told: Vec<_> = told.iter().map(|(id, kind)| ((*id).to_owned(), (*kind).to_owned())).collect();
    told.sort_by(|left, right| left.0.cmp(&right.0));
    told
}

/// How often somebody's own calendar was compared whole since there were so many changes.
async fn comparisons_since(running: &Running, person: &Person, count: usize) -> usize {
    let feed = running.feed(person).await;
    let own = feed[count..].iter().filter(|it| it.kind == "calendar.changed" && it.subject_id == person.email);
    own.filter(|it| it.data["state"] == "reconciling").count()
}

/// Whether something is stored under an event's id.
async fn is_stored(running: &Running, person: &Person, id: &str) -> bool {
    let agenda = running.agenda(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    events::after(&mut tx, &agenda.id, ("", ""), i64::MAX).await.expect("read").iter().any(|it| it.id == id)
}

#[tokio::test]
async fn each_reason_that_ends_a_token_leads_to_one_comparison_that_tells_the_difference() {
    let (running, person) = connected().await;
    for reason in ENDS {
        let (gone, kept) = (create(&running, &person, "Gone"), create(&running, &person, "Kept"));
        let event = json!({"title": "Stand-up", "start": "2026-11-24T09:00", "rule": "FREQ=DAILY;COUNT=9"});
        let series = running.plan(&person.email, json!({"action": "create", "event": event}));
        let (moved, cancelled) = (format!("{series}_20261125T080000Z"), format!("{series}_20261126T080000Z"));
        running.plan(&person.email, json!({"action": "move", "id": moved, "start": "2026-12-20T10:00"}));
        look(&running, &person, LOOK).await;
        let count = running.feed(&person).await.len();
        delete(&running, &person, &gone);
        retitle(&running, &person, &kept);
        delete(&running, &person, &cancelled);
        let new = create(&running, &person, "New");
        running.world(|world| world.calls.clear());
        running.world(|world| world.faults.add(refusal(EVENTS, 410, reason).of(&person.email).times(1)));
        look(&running, &person, LOOK).await;
        running.assert_no_appointment_is_lost(&person).await;
        let own = person.email.as_str();
        let difference = [
            (gone.as_str(), "event.deleted"),
            (&kept, "event.changed"),
            (&cancelled, "event.added"),
            (&new, "event.added"),
            (own, "calendar.changed"),
            (own, "calendar.changed"),
        ];
        assert_eq!(told_since(&running, &person, count).await, expected(&difference), "{reason}");
        assert_eq!(comparisons_since(&running, &person, count).await, 1, "{reason}");
        let count = running.feed(&person).await.len();
        look(&running, &person, LOOK).await;
        assert_eq!(running.feed(&person).await.len(), count, "once is enough");
    }
}

#[tokio::test]
async fn what_no_token_told_of_is_found_within_a_month() {
    let (running, person) = connected().await;
    let gone = create(&running, &person, "Gone");
    look(&running, &person, LOOK).await;
    delete(&running, &person, &gone);
    let tells_nothing = Rule::twist(EVENTS, json!({"items": []}), json!({})).of(&person.email).times(1);
    running.world(|world| world.faults.add(tells_nothing));
    look(&running, &person, LOOK).await;
    assert!(is_stored(&running, &person, &gone).await, "Google said nothing, and the token is good");
    let count = running.feed(&person).await.len();
    for _ in 0..30 {
        look(&running, &person, Duration::from_secs(24 * 3_600)).await;
    }
    assert!(!is_stored(&running, &person, &gone).await);
    assert!(told_since(&running, &person, count).await.contains(&(gone, "event.deleted".to_owned())));
    running.assert_no_appointment_is_lost(&person).await;
    running.world(|world| world.calls.clear());
    let count = running.feed(&person).await.len();
    look(&running, &person, LOOK).await;
    assert_eq!(running.feed(&person).await.len(), count, "once a month is enough");
}

#[tokio::test]
async fn a_token_that_grew_too_old_is_no_different() {
    let (running, person) = connected().await;
    let gone = create(&running, &person, "Gone");
    look(&running, &person, LOOK).await;
    let count = running.feed(&person).await.len();
    delete(&running, &person, &gone);
    running.world(|world| world.settings.calendar.sync_token_life_s = 60);
    look(&running, &person, LOOK).await;
    assert!(comparisons_since(&running, &person, count).await > 0, "the false Google's own 410");
    assert!(!is_stored(&running, &person, &gone).await);
    running.world(|world| world.settings.calendar.sync_token_life_s = 28 * 24 * 3_600);
    look(&running, &person, LOOK).await;
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn a_token_that_ends_between_two_pages_leads_to_one_comparison() {
    let (running, person) = connected().await;
    running.world(|world| world.settings.page_max = 2);
    for reason in ENDS {
        let all: Vec<String> = (0..6).map(|_| create(&running, &person, "One")).collect();
        look(&running, &person, LOOK).await;
        let count = running.feed(&person).await.len();
        for id in &all[..5] {
            delete(&running, &person, id);
        }
        retitle(&running, &person, &all[5]);
        let rule = Rule { skip: 1, ..refusal(EVENTS, 410, reason).of(&person.email).times(1) };
        running.world(|world| world.faults.add(rule));
        look(&running, &person, LOOK).await;
        running.assert_no_appointment_is_lost(&person).await;
        let own = person.email.as_str();
        let mut difference: Vec<(&str, &str)> = all[..5].iter().map(|id| (id.as_str(), "event.deleted")).collect();
        difference.extend([(all[5].as_str(), "event.changed"), (own, "calendar.changed"), (own, "calendar.changed")]);
        assert_eq!(told_since(&running, &person, count).await, expected(&difference), "{reason}");
    }
}

#[tokio::test]
async fn a_page_token_that_google_takes_back_begins_the_same_reading_anew() {
    let (running, person) = connected().await;
    running.world(|world| world.settings.page_max = 2);
    let all: Vec<String> = (0..6).map(|_| create(&running, &person, "One")).collect();
    look(&running, &person, LOOK).await;
    let count = running.feed(&person).await.len();
    for id in &all {
        retitle(&running, &person, id);
    }
    let rule = Rule { skip: 1, ..refusal(EVENTS, 400, "badRequest").of(&person.email).times(2) };
    running.world(|world| world.faults.add(rule));
    // The first one is about the page, the second about the sync token that goes on alone.
    look(&running, &person, LOOK).await;
    running.assert_no_appointment_is_lost(&person).await;
    assert_eq!(comparisons_since(&running, &person, count).await, 1);
    let count = running.feed(&person).await.len();
    for id in &all[1..] {
        delete(&running, &person, id);
    }
    let rule = Rule { skip: 1, ..refusal(EVENTS, 400, "badRequest").of(&person.email).times(1) };
    running.world(|world| world.faults.add(rule));
    look(&running, &person, LOOK).await;
    running.assert_no_appointment_is_lost(&person).await;
    let difference: Vec<(&str, &str)> = all[1..].iter().map(|id| (id.as_str(), "event.deleted")).collect();
    assert_eq!(told_since(&running, &person, count).await, expected(&difference), "nothing had to be compared");
}

#[tokio::test]
async fn what_goes_while_a_comparison_begins_anew_does_not_count_as_seen() {
    for (status, reason) in [(410, "fullSyncRequired"), (410, "updatedMinTooLongAgo"), (400, "badRequest")] {
        let (running, person) = connected().await;
        running.world(|world| world.settings.page_max = 2);
        let all: Vec<String> = (0..6).map(|_| create(&running, &person, "One")).collect();
        look(&running, &person, LOOK).await;
        let count = running.feed(&person).await.len();
        running.plan(&person.email, json!({"action": "expire_tokens", "calendar": person.email}));
        // Google breaks off after two pages, and they are stored.
        let breaks = Rule { skip: 3, ..Rule::status(EVENTS, 503) };
        running.world(|world| world.faults.add(breaks.of(&person.email)));
        running.pass(LOOK);
        running.work().await;
        let own = running.calendars(&person).await.into_iter().find(|it| it.id == person.email).expect("there");
        assert!(own.state == CalendarState::Reconciling && own.page_token.is_some(), "{own:?}");
        for id in &all {
            delete(&running, &person, id);
        }
        running.world(|world| {
            world.faults.clear();
            world.faults.add(refusal(EVENTS, status, reason).of(&person.email).times(1));
        });
        look(&running, &person, LOOK).await;
        running.assert_no_appointment_is_lost(&person).await;
        let own = (person.email.as_str(), "calendar.changed");
        let mut difference: Vec<(&str, &str)> = all.iter().map(|id| (id.as_str(), "event.deleted")).collect();
        difference.extend([own, own]);
        assert_eq!(told_since(&running, &person, count).await, expected(&difference), "{status} {reason}");
    }
}

#[tokio::test]
async fn a_calendar_that_is_deleted_leads_to_the_list_and_is_erased() {
    for status in [404, 410] {
        let (running, person) = connected().await;
        running.world(|world| world.settings.calendar.deleted_calendar_status = status);
        let (_, colleague) = running.employees();
        let team = running.plan(&colleague, json!({"action": "create_calendar", "name": "Team"}));
        running.plan(&colleague, json!({"action": "share", "calendar": team, "email": person.email, "role": "reader"}));
        let event = json!({"title": "Retreat", "start": "2026-11-25T12:00"});
        let id = running.plan(&colleague, json!({"action": "create", "calendar": team, "event": event}));
        look(&running, &person, LIST).await;
        assert!(is_stored(&running, &person, &id).await);
        let count = running.feed(&person).await.len();
        running.plan(&colleague, json!({"action": "delete_calendar", "calendar": team}));
        running.world(|world| world.calls.clear());
        look(&running, &person, LOOK).await;
        assert!(running.calls(CALENDARS) > 0, "{status}: the list says whether it is gone");
        assert!(running.calendars(&person).await.iter().all(|it| it.id != team), "{status}");
        let difference = [(id.as_str(), "event.deleted"), (team.as_str(), "calendar.deleted")];
        assert_eq!(told_since(&running, &person, count).await, expected(&difference), "{status}");
        running.assert_no_appointment_is_lost(&person).await;
    }
}

#[tokio::test]
async fn a_calendar_that_the_list_still_has_is_not_lost_by_one_word() {
    let (running, person) = connected().await;
    let team = running.plan(&person.email, json!({"action": "create_calendar", "name": "Team"}));
    let event = json!({"title": "Retreat", "start": "2026-11-25T12:00"});
    let id = running.plan(&person.email, json!({"action": "create", "calendar": team, "event": event}));
    look(&running, &person, LIST).await;
    let count = running.feed(&person).await.len();
    // Of every followed calendar at once.
    let followed = running.calendars(&person).await.iter().filter(|it| it.is_followed()).count();
    let times = u32::try_from(followed).expect("a few");
    running.world(|world| world.faults.add(refusal(EVENTS, 410, "deleted").of(&person.email).times(times)));
    running.pass(LOOK);
    running.work().await;
    look(&running, &person, LOOK).await;
    assert!(is_stored(&running, &person, &id).await);
    assert_eq!(told_since(&running, &person, count).await, [], "nothing was deleted, and nothing came back");
    running.assert_no_appointment_is_lost(&person).await;
    // If Google keeps saying so, what was copied goes, and comes back by itself once it can be read again.
    running.world(|world| world.faults.add(refusal(EVENTS, 410, "deleted").of(&person.email)));
    for _ in 0..8 {
        running.pass(LOOK);
        running.work().await;
    }
    assert!(!is_stored(&running, &person, &id).await);
    running.world(|world| world.faults.clear());
    look(&running, &person, Duration::from_secs(9 * 3600)).await;
    assert!(is_stored(&running, &person, &id).await);
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn the_list_of_calendars_is_compared_when_its_token_or_its_page_is_gone() {
    let refusals = [(410, "fullSyncRequired"), (410, "updatedMinTooLongAgo"), (400, "badRequest")];
    // At the beginning of a reading, and between two pages of it.
    for (skip, (status, reason)) in refusals.iter().map(|it| (0, *it)).chain(refusals.iter().map(|it| (1, *it))) {
        let (running, person) = connected().await;
        let make = |name: &str| running.plan(&person.email, json!({"action": "create_calendar", "name": name}));
        let (gone, kept) = (make("Gone"), make("Kept"));
        let event = json!({"title": "Retreat", "start": "2026-11-25T12:00"});
        let id = running.plan(&person.email, json!({"action": "create", "calendar": gone, "event": event}));
        look(&running, &person, LIST).await;
        assert!(is_stored(&running, &person, &id).await);
        let count = running.feed(&person).await.len();
        running.plan(&person.email, json!({"action": "unlist", "calendar": gone}));
        running.plan(&person.email, json!({"action": "list", "calendar": kept, "name": "Mine"}));
        let new = make("New");
        running.world(|world| {
            world.settings.page_max = 1;
            world.faults.add(Rule { skip, ..refusal(CALENDARS, status, reason).of(&person.email).times(1) });
        });
        look(&running, &person, LIST).await;
        let mut told = told_since(&running, &person, count).await;
        // A new calendar is told of when it is read, too.
        told.dedup();
        let difference = [
            (id.as_str(), "event.deleted"),
            (&gone, "calendar.deleted"),
            (&kept, "calendar.changed"),
            (&new, "calendar.added"),
            (&new, "calendar.changed"),
        ];
        assert_eq!(told, expected(&difference), "{status} {reason} after {skip}");
        running.assert_no_appointment_is_lost(&person).await;
    }
}

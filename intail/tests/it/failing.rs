//! Streams that can't be read although their grant works: it is told where people, administrators, programs and
//! machines look, with a reason, since when and the next try; a passing refusal is told to nobody, and ends no grant.

use std::time::Duration;

use intail::access;
use intail::store::grants::{self, Grant, GrantState};
use intail::store::mailboxes::MailboxState;
use intail::store::operator_faults;
use intail::store::people::{self, Person, Role};
use intail_sandbox::faults::{Mischief, Rule};
use serde_json::json;

use crate::access::{Proof, ask, session, text};
use crate::harness::running::{Running, Ticks, receive};
use crate::quota::what_is_told;

const MINUTE: Duration = Duration::from_secs(60);

async fn connected() -> (Running, Person) {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle().await;
    running.settle_calendars(&person).await;
    (running, person)
}

async fn get(running: &Running, person: &Person, path: &str) -> String {
    let proof = session(&running.app, person).await;
    text(ask(&running.app, "GET", path, &proof, None).await).await
}

async fn grant_of(running: &Running, person: &Person) -> Grant {
    let mut tx = running.app.store.read().await.expect("a transaction");
    grants::by_person(&mut tx, &person.id).await.expect("read").expect("a grant")
}

/// So many minutes pass, one by one, and the engine works in each.
async fn minutes(running: &Running, count: u32) {
    for _ in 0..count {
        running.pass(MINUTE);
        running.worker.tick().await.expect("the engine runs");
    }
}

const CARD: &str = "/settings/integrations";

#[tokio::test]
async fn promise_11_a_mailbox_that_cannot_be_read_is_not_called_complete() {
    let (running, person) = connected().await;
    assert!(get(&running, &person, CARD).await.contains("Connected and live"));
    running.world(|world| world.faults.add(Rule::status("gmail.users.history.list", 503)));
    running.act(&person.email, receive(1));
    running.take_notices().await;
    running.worker.tick().await.expect("the engine runs");
    minutes(&running, 2).await;
    let card = get(&running, &person, CARD).await;
    assert!(card.contains("Connected and live") && !card.contains("id=\"standstill\""), "it may pass: {card}");

    minutes(&running, 15).await;
    let card = get(&running, &person, CARD).await;
    assert!(card.contains("Can’t be read now") && card.contains("id=\"standstill\""), "{card}");
    assert!(card.contains("Google can’t be reached") && card.contains("Tried again"), "{card}");
    assert!(!card.contains("Connected and live") && !card.contains("Complete: "), "{card}");
    let api = get(&running, &person, "/api/v1/mailboxes").await;
    let api: serde_json::Value = serde_json::from_str(&api).expect("JSON");
    let mailbox = &api["mailboxes"][0];
    assert_eq!(mailbox["failing"]["reason"], "transient", "{mailbox}");
    assert!(mailbox["failing"]["since"].is_string() && mailbox["failing"]["next_try_at"].is_string(), "{mailbox}");
    let coverage = format!("/api/v1/mailboxes/{}/coverage", mailbox["id"].as_str().expect("an id"));
    assert!(get(&running, &person, &coverage).await.contains("\"complete\":false"));
    let metrics = text(ask(&running.app, "GET", "/metrics", &Proof::Nothing, None).await).await;
    assert!(metrics.contains("intail_streams_failing{stream=\"mail\"} 1"), "{metrics}");
    assert!(metrics.contains("intail_streams_failing{stream=\"calendar\"} 0"), "{metrics}");
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &person.id, Role::Administrator).await.expect("set");
    tx.commit().await.expect("committed");
    let list = get(&running, &person, "/admin/people?state=failing").await;
    assert!(list.contains(&person.email) && list.contains("Can’t be read now"), "{list}");

    running.world(|world| world.faults.clear());
    running.settle().await;
    running.settle_calendars(&person).await;
    let card = get(&running, &person, CARD).await;
    assert!(card.contains("Connected and live") && card.contains("Complete: "), "{card}");
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_11_what_google_told_of_and_nobody_reads_is_not_called_complete() {
    let (running, person) = connected().await;
    running.act(&person.email, receive(1));
    running.take_notices().await;
    // Nobody works.
    running.pass(MINUTE * 9);
    assert!(get(&running, &person, CARD).await.contains("Complete: "), "it takes a moment");
    running.pass(MINUTE);
    let card = get(&running, &person, CARD).await;
    assert!(card.contains("Behind") && card.contains("id=\"unread\""), "{card}");
    assert!(!card.contains("Connected and live") && !card.contains("Complete: "), "{card}");
    // More of them don't make it look better.
    running.act(&person.email, receive(1));
    running.take_notices().await;
    assert!(!get(&running, &person, CARD).await.contains("Complete: "));
    running.settle().await;
    running.settle_calendars(&person).await;
    assert!(get(&running, &person, CARD).await.contains("Connected and live"));
}

#[tokio::test]
async fn calendars_that_cannot_be_read_are_told_of_and_mail_is_not() {
    let (running, person) = connected().await;
    running.world(|world| world.faults.add(Rule::status("calendar.*", 503)));
    minutes(&running, 90).await;
    let card = get(&running, &person, CARD).await;
    assert!(card.contains("Can’t be read now: Google can’t be reached"), "{card}");
    assert!(!card.contains("id=\"standstill\"") && card.contains("Complete: "), "{card}");
    assert!(!card.contains("Connected and live"), "{card}");
    let told = get(&running, &person, "/api/v1/connection").await;
    assert!(told.contains("\"reason\":\"transient\""), "{told}");
}

#[tokio::test]
async fn tokens_that_google_does_not_take_for_a_while_disconnect_nobody() {
    let (running, person) = connected().await;
    running.world(|world| world.faults.add(Rule::status("gmail.*", 401)));
    running.act(&person.email, receive(1));
    running.take_notices().await;
    running.worker.tick().await.expect("the engine runs");
    let refreshes = running.calls("oauth.token");
    minutes(&running, 50).await;
    assert_eq!(grant_of(&running, &person).await.state, GrantState::Active, "a refresh that succeeds says it lives");
    let tries = running.calls("oauth.token") - refreshes;
    assert!((5..20).contains(&tries), "later and later, each with one refresh: {tries}");
    assert!(get(&running, &person, CARD).await.contains("doesn’t take the access"), "it is told meanwhile");
    running.world(|world| world.faults.clear());
    minutes(&running, 20).await;
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn tokens_that_google_never_takes_need_their_person() {
    let (running, person) = connected().await;
    running.world(|world| world.faults.add(Rule::status("gmail.*", 401)));
    running.act(&person.email, receive(1));
    running.take_notices().await;
    running.worker.tick().await.expect("the engine runs");
    minutes(&running, 100).await;
    let grant = grant_of(&running, &person).await;
    assert_eq!((grant.state, grant.reason.as_str()), (GrantState::NeedsPerson, "token_rejected"));
}

#[tokio::test]
async fn what_google_said_of_a_grant_says_nothing_of_the_one_that_the_person_made_since() {
    let (running, person) = connected().await;
    let before = grant_of(&running, &person).await;
    running.pass(MINUTE);
    running.connect(&person, Ticks::All).await.expect("connected again");
    let now = running.app.clock.now();
    let mut tx = running.app.store.write().await.expect("a transaction");
    let closed = access::set_closed(&mut tx, &before, GrantState::NeedsPerson, "revoked", now).await.expect("ran");
    tx.commit().await.expect("committed");
    assert!(!closed);
    assert_eq!(grant_of(&running, &person).await.state, GrantState::Active);
}

/// Google refuses a call in these words.
fn refused(call: &str, status: u16, reason: &str, message: &str) -> Rule {
    let (reason, message) = (Some(reason.to_owned()), Some(message.to_owned()));
    Rule::new(call, Mischief::Status { status, reason, message, retry_after_s: None })
}

#[tokio::test]
async fn what_stands_in_the_way_of_mail_stops_neither_calendars_nor_the_grant() {
    for (status, reason, message, why, words) in [
        (400, "failedPrecondition", "Mail service not enabled", "no_mailbox", "Gmail is switched off for your account"),
        (403, "domainPolicy", "", "gmail_off_for_apps", "switched Gmail off for applications"),
        (403, "accessNotConfigured", "", "api_disabled", "Gmail is switched off for this Intail"),
    ] {
        let (running, person) = connected().await;
        running.world(|world| world.faults.add(refused("gmail.*", status, reason, message)));
        running.act(&person.email, receive(1));
        running.take_notices().await;
        running.worker.tick().await.expect("the engine runs");
        assert_eq!(grant_of(&running, &person).await.state, GrantState::Active, "{why}");
        let card = get(&running, &person, CARD).await;
        assert!(card.contains("id=\"standstill\"") && card.contains(words), "{why}: {card}");
        assert!(!card.contains("Complete: "), "{why}");
        let profiles = running.calls("gmail.users.getProfile");
        running.plan(&person.email, json!({"action": "create", "event": {"title": "x", "start": "2026-11-25T12:00"}}));
        minutes(&running, 50).await;
        running.assert_no_appointment_is_lost(&person).await;
        assert_eq!(running.calls("gmail.users.getProfile"), profiles, "{why}: it isn't asked again and again");
        let told = async || {
            let mut tx = running.app.store.read().await.expect("a transaction");
            let faults = operator_faults::list(&mut tx).await.expect("read");
            faults.iter().any(|it| it.kind == "gmail.api_disabled")
        };
        assert_eq!(told().await, why == "api_disabled");
        running.world(|world| world.faults.clear());
        minutes(&running, 20).await;
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
        assert!(!told().await);
    }
}

#[tokio::test]
async fn of_a_mailbox_that_never_could_be_read_nobody_says_when_it_will_be_done() {
    let running = Running::start().await;
    running.approve();
    running.world(|world| world.faults.add(refused("gmail.*", 400, "failedPrecondition", "Mail service not enabled")));
    let person = running.sign_in(&running.employee()).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    let (card, api) = what_is_told(&running, &person).await;
    assert!(card.contains("id=\"standstill\"") && !card.contains("id=\"done-at\""), "{card}");
    assert!(!card.contains("new mail arrives meanwhile"), "{card}");
    assert!(api["mailbox"]["pass"].is_object() && api["mailbox"]["pass"]["done_at"].is_null(), "{api}");
}

#[tokio::test]
async fn new_mail_is_said_to_arrive_while_old_mail_is_copied_only_where_it_does() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(600));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Backfilling);
    let later = running.app.clock.now() + MINUTE * 60;
    let (number, _) = intail_google::day::day(running.app.clock.now());
    let (arrives, stands) = ("Newest first; new mail arrives meanwhile.", "Newest first. Google limits");
    let paused = format!("UPDATE mailboxes SET paused_until = {}, paused_why = 'person'", later.as_microsecond());
    let held = format!("INSERT INTO quota_holds (service, until_at) VALUES ('gmail', {})", later.as_microsecond());
    let used = format!(
        "INSERT INTO quota_uses (service, day, units) VALUES ('gmail', {number}, 70000000)
         ON CONFLICT (service, day) DO UPDATE SET units = excluded.units"
    );
    for (what, done, undone, told) in [
        ("it goes on", "", "", Some(arrives)),
        ("the day is used up", used.as_str(), "UPDATE quota_uses SET units = 0", Some(arrives)),
        ("Google paused it", &paused, "UPDATE mailboxes SET paused_until = NULL", Some(stands)),
        ("Google holds everybody", &held, "DELETE FROM quota_holds", Some(stands)),
        ("only its person can go on", "UPDATE grants SET state = 'needs_person'", ACTIVE, None),
        ("only the administrator can", "UPDATE grants SET state = 'needs_administrator'", ACTIVE, None),
        ("only the operator can", "UPDATE grants SET state = 'needs_operator'", ACTIVE, None),
        ("suspended", "UPDATE grants SET suspended_at = 1", "UPDATE grants SET suspended_at = NULL", None),
        ("mail isn't permitted", "UPDATE grants SET scopes = REPLACE(scopes, '/gmail', '/none')", "", None),
    ] {
        set(&running, done).await;
        let card = get(&running, &person, CARD).await;
        for words in [arrives, stands] {
            assert_eq!(card.contains(words), told == Some(words), "{what}: {words}: {card}");
        }
        assert_eq!(card.contains("Newest first"), told.is_some(), "{what}: {card}");
        assert!(!card.contains("new mail arrives meanwhile") || !card.contains("othing new arrives"), "{what}: {card}");
        set(&running, undone).await;
    }
}

/// A grant that works.
const ACTIVE: &str = "UPDATE grants SET state = 'active'";

/// Makes it so in the database, whatever the engine would say.
async fn set(running: &Running, sql: &str) {
    if sql.is_empty() {
        return;
    }
    let mut tx = running.app.store.write().await.expect("a transaction");
    tx.run_built(sql.to_owned(), Vec::new()).await.expect("set");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn one_call_that_google_refuses_for_want_of_a_mailbox_says_nothing_of_the_mailbox() {
    let (running, person) = connected().await;
    let message = "Precondition check failed.";
    let rule = refused("gmail.users.messages.get", 400, "failedPrecondition", message).times(1);
    running.world(|world| world.faults.add(rule));
    running.act(&person.email, receive(1));
    running.take_notices().await;
    running.worker.tick().await.expect("the engine runs");
    assert_eq!(grant_of(&running, &person).await.state, GrantState::Active);
    assert!(!get(&running, &person, CARD).await.contains("id=\"standstill\""));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

//! Google's push registration in bad times: what heals by itself, and who is told while it doesn't.

use std::time::Duration;

use intail::connect::{self, Push};
use intail::store::operator_faults;
use intail::store::people::Person;
use intail_sandbox::action::MailAction;
use intail_sandbox::faults::{Mischief, Rule};

use crate::access::{ask, session, text};
use crate::harness::running::Running;

const WATCH: &str = "gmail.users.watch";
const ENDING: &str = "watch.ending";

async fn connected() -> (Running, Person) {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    (running, person)
}

/// Hours pass, with the engine at work in each.
async fn hours(running: &Running, count: u32) {
    for _ in 0..count {
        running.pass(Duration::from_secs(3600));
        running.work().await;
    }
}

async fn faults(running: &Running) -> Vec<String> {
    let mut tx = running.app.store.read().await.expect("a transaction");
    operator_faults::list(&mut tx).await.expect("read").into_iter().map(|it| it.kind).collect()
}

async fn ends_soon(running: &Running, person: &Person) -> bool {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let connection = connect::connection(&mut tx, &person.id, running.app.clock.now()).await.expect("read");
    matches!(connection.expect("connected").push, Push::Live { ends_soon: true, .. })
}

async fn card(running: &Running, person: &Person) -> String {
    let proof = session(&running.app, person).await;
    text(ask(&running.app, "GET", "/settings/integrations", &proof, None).await).await
}

#[tokio::test]
async fn two_days_before_a_watch_ends_the_operator_and_the_person_are_told() {
    let (running, person) = connected().await;
    running.world(|world| world.faults.add(Rule::status(WATCH, 500)));
    hours(&running, 4 * 24).await;
    assert!(running.mailbox(&person).await.watch_problem.is_some(), "renewals have failed for days");
    assert!(faults(&running).await.is_empty() && !ends_soon(&running, &person).await, "there are three days left");

    hours(&running, 30).await;
    assert_eq!(faults(&running).await, [ENDING]);
    assert!(ends_soon(&running, &person).await);
    assert!(card(&running, &person).await.contains("Google is about to stop"));

    running.world(|world| world.faults.clear());
    hours(&running, 1).await;
    assert!(faults(&running).await.is_empty(), "it heals by itself, and the fault is over");
    assert!(!ends_soon(&running, &person).await);
    assert!(card(&running, &person).await.contains("Google tells Intail"));
}

#[tokio::test]
async fn after_a_watch_has_ended_mail_is_still_read_and_the_operator_still_told() {
    let (running, person) = connected().await;
    running.world(|world| world.faults.add(Rule::status(WATCH, 500)));
    hours(&running, 8 * 24).await;
    running.act(&person.email, MailAction::ForgetHistory);
    let newest = running.truth(&person.email).into_keys().next().expect("there is mail");
    running.act(&person.email, MailAction::Star(intail_sandbox::action::One { id: newest }));
    hours(&running, 2).await;
    running.copy_everything().await;
    running.assert_nothing_is_lost(&person).await;
    assert_eq!(faults(&running).await, [ENDING]);
}

#[tokio::test]
async fn one_mailbox_that_heals_does_not_hide_another_that_does_not() {
    let running = Running::start().await;
    running.approve();
    let (first, second) = running.employees();
    running.connected(&first).await;
    running.connected(&second).await;
    running.world(|world| world.faults.add(Rule { person: Some(second.clone()), ..Rule::status(WATCH, 500) }));
    hours(&running, 6 * 24).await;
    assert_eq!(faults(&running).await, [ENDING], "the other's watch was renewed every day");
}

#[tokio::test]
async fn a_push_client_that_is_in_the_way_is_stopped_and_the_watch_set() {
    let (running, person) = connected().await;
    let conflict = Mischief::Status {
        status: 400,
        reason: Some("failedPrecondition".into()),
        message: Some(
            "Only one user push notification client allowed per developer (call /stop then try again)".into(),
        ),
        retry_after_s: None,
    };
    running.world(|world| world.faults.add(Rule::new(WATCH, conflict).times(1)));
    running.world(|world| world.calls.clear());
    let before = running.mailbox(&person).await.watch_expires_at;
    hours(&running, 29).await;
    let asked: Vec<String> = running.world(|world| world.calls.iter().map(|it| it.call.to_owned()).collect());
    let asked: Vec<&str> =
        asked.iter().map(String::as_str).filter(|it| [WATCH, "gmail.users.stop"].contains(it)).collect();
    assert_eq!(asked, [WATCH, "gmail.users.stop", WATCH]);
    let mailbox = running.mailbox(&person).await;
    assert!(mailbox.watch_expires_at > before && mailbox.watch_problem.is_none(), "{mailbox:?}");
}

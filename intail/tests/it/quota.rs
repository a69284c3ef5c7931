//! Google's quota across deaths, days and refusals: what the simulation can't name.

use std::time::Duration;

use intail::store::mailboxes::MailboxState;
use intail::store::{operator_faults, quota};
use intail::sync::Worker;
use intail_sandbox::action::MailAction;
use intail_sandbox::quota::Limits;

use crate::harness::running::{Running, Setup, Ticks};

fn receive(count: u32) -> MailAction {
    match MailAction::sample() {
        MailAction::Receive { from, compose, headers, label_ids, thread_id, internal_date_ms, .. } => {
            MailAction::Receive { from, compose, headers, label_ids, thread_id, internal_date_ms, count }
        }
        other => other,
    }
}

/// Lets an engine work until it has asked for so many messages, and then it dies: nothing of it goes on.
async fn dies_after(running: &Running, engine: Worker, messages: usize) {
    let enough = async {
        while running.calls("gmail.users.messages.get") < messages {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = enough => {}
        ended = engine.tick() => panic!("it was to die in the middle: {ended:?}"),
    }
}

#[tokio::test]
async fn who_comes_in_a_dead_process_s_place_goes_on_at_once_and_exceeds_no_quota() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(600));
    running.connect(&person, Ticks::All).await.expect("connected");
    dies_after(&running, Worker::in_place(&running.app, "here"), 20).await;
    running.act(&email, receive(1));
    let newest =
        running.world(|world| world.mailbox(&email).expect("there").newest_first().next().expect("new").id.clone());
    running.pass(Duration::from_secs(2));
    running.take_notices().await;
    let elsewhere = running.another_worker();
    elsewhere.tick().await.expect("the engine runs");
    assert!(!running.stored(&person).await.contains_key(&newest), "a process elsewhere has to wait for the lease");
    let successor = Worker::in_place(&running.app, "here");
    successor.tick().await.expect("the engine runs");
    assert!(running.stored(&person).await.contains_key(&newest), "its successor doesn't");
    for _ in 0..40 {
        running.pass(Duration::from_secs(20));
        successor.tick().await.expect("the engine runs");
    }
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
    let refused = running.world(|world| world.quota.refused.clone());
    assert!(refused.is_empty(), "promise 8: {refused:#?}");
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_mailbox_that_two_engines_take_turns_at_is_copied_as_fast_as_by_one() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(1_000));
    running.connect(&person, Ticks::All).await.expect("connected");
    let engines = [running.another_worker(), running.another_worker()];
    // A notice every ten seconds: what was spent is handed over far more often than it leaves Google's minute.
    for turn in 0..48 {
        running.act(&email, receive(1));
        running.pass(Duration::from_secs(10));
        running.take_notices().await;
        engines[turn % 2].tick().await.expect("the engine runs");
    }
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live, "20,000 units at 6,000 a minute");
    let refused = running.world(|world| world.quota.refused.clone());
    assert!(refused.is_empty(), "promise 8: {refused:#?}");
}

#[tokio::test]
async fn the_rest_of_a_first_copy_waits_for_the_day_although_the_cursor_was_lost() {
    let running = Running::start_with(Setup { gmail_day: Some(5_000), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(500));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    let (state, stored) = (running.mailbox(&person).await.state, running.stored(&person).await.len());
    assert!(state == MailboxState::Backfilling && (100..400).contains(&stored), "{state:?} {stored}");
    running.act(&email, MailAction::ForgetHistory);
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Reconciling);
    let day = running.world(|world| world.calls.iter().map(|it| u64::from(it.units)).sum::<u64>());
    assert!(day < 6_500, "the rest waits: {day} units were spent");
    for _ in 0..8 {
        running.pass(Duration::from_secs(24 * 3600));
        running.settle().await;
    }
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn the_operator_hears_that_google_s_day_is_used_up() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    // Somebody set a lower limit in Google's console than Intail believes.
    let lower = Limits { person_minute: 6_000, project_minute: 1_200_000, project_day: 300 };
    running.world(|world| world.quota.limits = Some(lower));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    running.pass(Duration::from_secs(20));
    running.work().await;
    let faults = async || {
        let mut tx = running.app.store.read().await.expect("a transaction");
        let all = operator_faults::list(&mut tx).await.expect("read");
        (all, quota::held_until(&mut tx, "gmail").await.expect("read"))
    };
    let (told, until) = faults().await;
    let kinds: Vec<&str> = told.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["quota.day_used"], "{told:?}");
    let until = until.expect("everything is held");
    assert!(told[0].detail.contains(&until.to_string()) && told[0].detail.contains("gmail"), "{told:?}");
    running.world(|world| world.quota.limits = None);
    running.pass(Duration::from_secs(25 * 3600));
    running.settle().await;
    assert_eq!(faults().await.0, [], "it is over by itself");
    running.assert_nothing_is_lost(&person).await;
}

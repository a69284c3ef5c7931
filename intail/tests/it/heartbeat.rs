//! The heartbeat: the way from topic to worker is proved once a minute, and a beat that stays out names the hop that
//! broke.

use std::time::Duration;

use intail::config::PubSubMode;
use intail::notices::heartbeat::{Heart, Look};
use intail::notices::provision::{self, Publisher};
use intail::store::heartbeat::{self, Heartbeat};
use intail::store::operator_faults;
use intail::store::people::Person;
use intail_google::pubsub::Credentials;
use intail_sandbox::action::MailAction;
use intail_sandbox::faults::Rule;

use crate::access::{Proof, ask, text};
use crate::harness::running::{Running, Setup, receive};
use crate::mail::Written;

const MINUTE: Duration = Duration::from_secs(60);

async fn look(running: &Running) -> Look {
    Heart::new(&running.app, &Credentials::anonymous()).look().await.expect("looked at")
}

/// The operator takes Gmail's right to publish away.
fn shut_gmail_out(running: &Running) {
    let topic = &running.app.config.pubsub.topic;
    running.world(|world| world.pubsub.topics.get_mut(topic).expect("it was made").policy.bindings.clear());
}

async fn let_gmail_in(running: &Running) {
    let given = provision::publisher(&running.pubsub, &running.app.config.pubsub).await.expect("given");
    assert_eq!(given, Publisher::Granted);
}

/// An Intail whose topic Gmail may not publish to, and somebody whose mailbox changed three times since. The probes
/// after activity found it; no watch was renewed meanwhile.
async fn nobody_tells() -> (Running, Person) {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.act(&person.email, receive(1));
    running.work().await;
    shut_gmail_out(&running);
    for _ in 0..3 {
        running.pass(Duration::from_secs(6));
        running.work().await;
        running.act(&person.email, receive(1));
        running.pass(11 * MINUTE);
        running.work().await;
        running.assert_nothing_is_lost(&person).await;
    }
    assert!(faults(&running).await.is_empty());
    (running, person)
}

/// A minute passes, and somebody looks.
async fn next_look(running: &Running) -> Look {
    running.pass(MINUTE);
    look(running).await
}

async fn beat(running: &Running) -> Heartbeat {
    let mut tx = running.app.store.read().await.expect("a transaction");
    heartbeat::get(&mut tx).await.expect("read").expect("a beat was sent")
}

async fn faults(running: &Running) -> Vec<(String, String)> {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let all = operator_faults::list(&mut tx).await.expect("read");
    all.into_iter().map(|it| (it.kind, it.detail)).collect()
}

/// The one fault, whose sentence has to name `word`.
async fn only_fault(running: &Running, kind: &str, word: &str) {
    let all = faults(running).await;
    let [(found, detail)] = &all[..] else { panic!("one fault, not {all:?}") };
    assert!(found == kind && detail.contains(word), "{found}: {detail}");
}

#[tokio::test]
async fn a_beat_goes_the_way_of_notices_and_proves_it() {
    let running = Running::start().await;
    assert_eq!(look(&running).await, Look::Sent);
    assert!(beat(&running).await.is_pending);
    running.pass(Duration::from_millis(250));
    assert_eq!(running.take_notices().await, 1, "the beat came through the topic");
    let proved = beat(&running).await;
    assert!(!proved.is_pending && proved.arrived_at == Some(running.app.clock.now()), "{proved:?}");
    let metrics = text(ask(&running.app, "GET", "/metrics", &Proof::Nothing, None).await).await;
    assert!(metrics.contains("intail_heartbeat_lag_seconds 0.25"), "{metrics}");
    assert_eq!(next_look(&running).await, Look::Sent);
    assert!(faults(&running).await.is_empty());
}

#[tokio::test]
async fn of_several_processes_one_beats() {
    let running = Running::start().await;
    assert_eq!(look(&running).await, Look::Sent);
    assert_eq!(look(&running).await, Look::NotDue);
    running.take_notices().await;
    running.pass(MINUTE);
    assert_eq!(look(&running).await, Look::Sent);
}

#[tokio::test]
async fn a_beat_of_another_intail_on_the_topic_proves_nothing() {
    let running = Running::start().await;
    look(&running).await;
    let foreign: [&[u8]; 1] = [br#"{"intailHeartbeat":"somebody-else-s"}"#];
    let taken = intail::notices::take(&running.app, foreign).await.expect("taken");
    assert_eq!((taken.heartbeats, taken.unreadable), (1, 0));
    assert!(beat(&running).await.is_pending);
}

#[tokio::test]
async fn when_nobody_takes_notices_the_consumer_is_named() {
    let running = Running::start().await;
    look(&running).await;
    assert_eq!(next_look(&running).await, Look::Broken("pubsub.consumer_stuck"));
    only_fault(&running, "pubsub.consumer_stuck", "role notices").await;
    running.take_notices().await;
    assert!(faults(&running).await.is_empty(), "the first beat that arrives disproves it");
}

#[tokio::test]
async fn while_the_way_is_broken_everybody_s_mailbox_is_looked_at_every_ten_minutes() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    look(&running).await;
    for minutes in [1, 10, 10] {
        running.act(&email, MailAction::sample());
        for _ in 0..minutes {
            running.pass(MINUTE);
            look(&running).await;
        }
        running.worker.tick().await.expect("the engine runs");
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn a_subscription_that_was_deleted_is_made_again_in_push_mode_too() {
    let push = PubSubMode::Push { audience: "a".to_owned(), service_account: "push@p.example".to_owned() };
    let running = Running::start_with(Setup { mode: Some(push), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    let name = running.app.config.pubsub.subscription.clone();
    running.world(|world| world.pubsub.subscriptions.clear());
    look(&running).await;
    assert_eq!(next_look(&running).await, Look::Broken("pubsub.subscription_missing"));
    only_fault(&running, "pubsub.subscription_missing", "made it again").await;
    assert!(running.world(|world| world.pubsub.subscriptions.contains_key(&name)));
    let due = running.mailbox(&person).await.due_at;
    assert!(due.is_some_and(|due| due <= running.app.clock.now()), "what was published meanwhile is lost: look again");
}

#[tokio::test]
async fn a_subscription_of_another_topic_is_named() {
    let running = Running::start().await;
    let name = running.app.config.pubsub.subscription.clone();
    running.world(|world| {
        let subscription = world.pubsub.subscriptions.get_mut(&name).expect("it was made");
        "projects/intail-demo/topics/another".clone_into(&mut subscription.settings.topic);
    });
    look(&running).await;
    assert_eq!(next_look(&running).await, Look::Broken("pubsub.subscription_misfit"));
    only_fault(&running, "pubsub.subscription_misfit", "another").await;
}

#[tokio::test]
async fn a_topic_that_is_gone_is_named_at_once() {
    let running = Running::start().await;
    running.world(|world| world.pubsub.topics.clear());
    assert_eq!(look(&running).await, Look::Broken("pubsub.topic_missing"));
    only_fault(&running, "pubsub.topic_missing", "doesn't exist").await;
}

#[tokio::test]
async fn a_beat_that_may_not_be_sent_is_no_fault_of_the_way() {
    let running = Running::start().await;
    running.world(|world| world.faults.add(Rule::status("pubsub.publish", 403)));
    assert_eq!(look(&running).await, Look::Forbidden);
    assert_eq!(next_look(&running).await, Look::Forbidden);
    assert!(faults(&running).await.is_empty());
}

#[tokio::test]
async fn a_subscription_that_was_deleted_is_noticed_where_intail_may_not_publish() {
    let push = PubSubMode::Push { audience: "a".to_owned(), service_account: "push@p.example".to_owned() };
    let running = Running::start_with(Setup { mode: Some(push), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    let name = running.app.config.pubsub.subscription.clone();
    running.world(|world| world.faults.add(Rule::status("pubsub.publish", 403)));
    assert_eq!(look(&running).await, Look::Forbidden);
    running.world(|world| {
        world.pubsub.subscriptions.clear();
        world.faults.add(Rule::status("pubsub.subscriptions.create", 403));
    });
    for minutes in [1, 10, 10] {
        running.act(&email, MailAction::sample());
        for _ in 0..minutes {
            assert_eq!(next_look(&running).await, Look::Broken("pubsub.subscription_missing"));
        }
        running.worker.tick().await.expect("the engine runs");
        running.assert_nothing_is_lost(&person).await;
    }
    only_fault(&running, "pubsub.subscription_missing", "no new mail is noticed").await;
    running.world(|world| world.faults.clear());
    running.world(|world| world.faults.add(Rule::status("pubsub.publish", 403)));
    assert_eq!(next_look(&running).await, Look::Broken("pubsub.subscription_missing"));
    assert!(running.world(|world| world.pubsub.subscriptions.contains_key(&name)), "it was made again");
    assert_eq!(next_look(&running).await, Look::Forbidden);
    assert!(faults(&running).await.is_empty(), "no beat could have said that it is there");
    // Who may not look either is told nothing.
    running.world(|world| world.faults.add(Rule::status("pubsub.subscriptions.get", 403)));
    assert_eq!(next_look(&running).await, Look::Forbidden);
    assert!(faults(&running).await.is_empty());
}

#[tokio::test]
async fn a_beat_that_pubsub_lost_is_followed_by_another() {
    let running = Running::start().await;
    running.world(|world| world.faults.add(Rule::status("pubsub.publish", 503).times(1)));
    assert_eq!(look(&running).await, Look::Unclear);
    assert_eq!(next_look(&running).await, Look::Sent);
    let name = running.app.config.pubsub.subscription.clone();
    running.take_notices().await;
    assert_eq!(next_look(&running).await, Look::Sent);
    // Somebody else took it.
    let stolen = running.pubsub.pull(&name, 10).await.expect("pulled").remove(0);
    running.pubsub.acknowledge(&name, &[stolen.ack_id]).await.expect("acknowledged");
    for _ in 0..10 {
        assert_eq!(next_look(&running).await, Look::Broken("pubsub.consumer_stuck"));
    }
    running.take_notices().await;
    assert!(faults(&running).await.is_empty(), "after ten minutes another beat was sent, and arrived");
}

#[tokio::test]
async fn when_mailboxes_change_and_nobody_tells_google_is_named() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    running.world(|world| world.settings.notices.lost_percent = 100);
    for _ in 0..3 {
        assert!(faults(&running).await.is_empty(), "single notices are lost every day");
        running.act(&email, MailAction::sample());
        running.pass(Duration::from_secs(30 * 3600));
        running.work().await;
        running.take_notices().await;
        look(&running).await;
    }
    only_fault(&running, "google.silent", "roles/pubsub.publisher").await;
    running.assert_nothing_is_lost(&person).await;
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.pass(MINUTE);
    running.act(&email, MailAction::sample());
    running.pass(MINUTE);
    assert!(running.take_notices().await > 0, "Google tells again");
    next_look(&running).await;
    assert!(faults(&running).await.is_empty(), "it told again: {:?}", faults(&running).await);
}

#[tokio::test]
async fn when_nobody_tells_because_gmail_may_not_publish_that_is_named() {
    let (running, person) = nobody_tells().await;
    assert_eq!(look(&running).await, Look::Sent, "the way itself works");
    only_fault(&running, "pubsub.publisher_missing", "`intail doctor --fix` gives it back").await;
    let due = running.mailbox(&person).await.due_at;
    assert!(due.is_some_and(|due| due <= running.app.clock.now()), "everybody is looked at once");
    running.work().await;
    running.pass(Duration::from_secs(6));
    running.work().await;
    running.world(|world| world.faults.add(Rule::status("pubsub.getIamPolicy", 503).times(9)));
    next_look(&running).await;
    only_fault(&running, "pubsub.publisher_missing", "roles/pubsub.publisher").await;
    let due = running.mailbox(&person).await.due_at;
    assert!(due.is_none_or(|due| due > running.app.clock.now()), "that is no news");
    running.world(|world| world.faults.clear());
    running.take_notices().await;

    let_gmail_in(&running).await;
    next_look(&running).await;
    only_fault(&running, "google.silent", "if it got that back only now").await;
    running.take_notices().await;
    running.act(&person.email, receive(1));
    assert!(running.take_notices().await > 0, "Google tells again");
    next_look(&running).await;
    assert!(faults(&running).await.is_empty(), "it told again: {:?}", faults(&running).await);
}

#[tokio::test]
async fn that_gmail_may_not_publish_is_over_with_the_first_notice() {
    let (running, person) = nobody_tells().await;
    look(&running).await;
    only_fault(&running, "pubsub.publisher_missing", "because gmail-api-push@system.gserviceaccount.com").await;
    running.work().await;
    let_gmail_in(&running).await;
    running.pass(Duration::from_secs(2));
    running.act(&person.email, receive(1));
    assert!(running.take_notices().await > 0, "Google tells again");
    next_look(&running).await;
    assert!(faults(&running).await.is_empty(), "it told again: {:?}", faults(&running).await);
}

#[tokio::test]
async fn where_intail_may_not_see_who_publishes_google_is_called_silent() {
    let (running, _) = nobody_tells().await;
    running.world(|world| world.faults.add(Rule::status("pubsub.getIamPolicy", 403)));
    look(&running).await;
    only_fault(&running, "google.silent", "Most likely gmail-api-push@system.gserviceaccount.com lost the role").await;
}

#[tokio::test]
async fn what_a_watch_found_only_a_watch_takes_back() {
    let running = Running::start().await;
    running.approve();
    running.connected(&running.employee()).await;
    shut_gmail_out(&running);
    running.pass(Duration::from_secs(29 * 3600));
    running.work().await;
    let_gmail_in(&running).await;
    assert_eq!(look(&running).await, Look::Sent);
    only_fault(&running, "pubsub.publisher_missing", "the operator has to grant").await;
    running.pass(Duration::from_secs(3600));
    running.work().await;
    assert!(faults(&running).await.is_empty(), "a watch was set");
}

#[tokio::test]
async fn that_nothing_proves_the_way_is_logged_once() {
    let log = Written::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(log.clone()).finish();
    // With a single subscriber, tracing asks the thread that comes first whether a place in the code is worth a line.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _logging = tracing::subscriber::set_default(subscriber);
    let running = Running::start().await;
    let heart = Heart::new(&running.app, &Credentials::anonymous());
    let next = async || {
        running.pass(MINUTE);
        heart.look().await.expect("looked at")
    };
    let logged = || log.text().matches("nothing proves the way of notices").count();
    let forbid = || running.world(|world| world.faults.add(Rule::status("pubsub.publish", 403)));
    forbid();
    for _ in 0..3 {
        assert_eq!(next().await, Look::Forbidden);
    }
    assert_eq!(logged(), 1);
    running.world(|world| world.faults.clear());
    assert_eq!(next().await, Look::Sent);
    running.take_notices().await;
    forbid();
    assert_eq!(next().await, Look::Forbidden);
    assert_eq!(logged(), 2, "it was proved in between");
}

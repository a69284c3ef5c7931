//! Notices: what is pulled or pushed becomes a due mark before it is acknowledged, nothing about one person slows
//! others down, and Pub/Sub's and the watch's trouble is mended or told to the operator.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, StatusCode};
use futures::future::join;
use intail::config::PubSubMode;
use intail::connect::{self, Push};
use intail::notices::provision::{self, Provisioned, Publisher};
use intail::notices::{self, Taken, pull};
use intail::store::operator_faults::{self, OperatorFault};
use intail::store::people::Person;
use intail::web;
use intail_google::pubsub::{Created, Credentials};
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::faults::{Mischief, Rule};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::access::{ask, session, text};
use crate::harness::running::{Running, Setup, Ticks, receive};

/// An employee of the default world.
const EMPLOYEE: &str = "kofi@example.com";
/// As whom Pub/Sub pushes in these tests, and for whom.
const ACCOUNT: &str = "push@intail-demo.iam.gserviceaccount.com";
const AUDIENCE: &str = "https://intail.example.com/notices/pubsub";
/// Looks at a condition before a test gives up. A look is a turn of the runtime, so this is a minute or so.
const LOOKS_MAX: usize = 100_000;
/// What passes on both clocks from look to look: less than the shortest pause of the pull loop.
const STEP: Duration = Duration::from_millis(50);
/// The call that makes Google push, and the fault that says that it soon won't.
const WATCH: &str = "gmail.users.watch";
const ENDING: &str = "watch.ending";

/// Keeps the pull loop running until `done`, then ends it in good order.
async fn pulling(running: &Running, done: impl Future<Output = ()>) {
    let shutdown = CancellationToken::new();
    let ending = async {
        done.await;
        shutdown.cancel();
    };
    join(pull::run(&running.app, &Credentials::anonymous(), shutdown.clone()), ending).await;
}

/// Lets time pass and others work until `condition` holds.
async fn eventually(running: &Running, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if condition().await {
            return;
        }
        running.pass(STEP);
        tokio::task::yield_now().await;
    }
    panic!("never: {what}");
}

/// How many messages of Intail's subscription aren't acknowledged; none if there is no subscription.
fn waiting(running: &Running) -> Option<usize> {
    let name = &running.app.config.pubsub.subscription;
    running.world(|world| world.pubsub.subscriptions.get(name).map(|it| it.waiting_count()))
}

async fn publish(running: &Running, data: &[u8]) {
    let topic = &running.app.config.pubsub.topic;
    running.pubsub.publish(topic, data, &BTreeMap::new()).await.expect("published");
}

fn notice(email: &str) -> Vec<u8> {
    json!({ "emailAddress": email, "historyId": u64::MAX }).to_string().into_bytes()
}

async fn faults(running: &Running) -> Vec<OperatorFault> {
    let mut tx = running.app.store.read().await.expect("a transaction");
    operator_faults::list(&mut tx).await.expect("read")
}

#[tokio::test]
async fn what_is_pulled_is_marked_due_and_then_acknowledged() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(EMPLOYEE).await;
    running.pass(Duration::from_secs(1));
    let before = running.mailbox(&person).await.noticed_at;
    for data in
        [notice("KOFI@Example.com"), notice("stranger@elsewhere.example"), b"not a notice".to_vec(), notice(EMPLOYEE)]
    {
        publish(&running, &data).await;
    }
    // Strangers and rubbish are acknowledged, too.
    pulling(&running, eventually(&running, "everything is acknowledged", async || waiting(&running) == Some(0))).await;
    let mailbox = running.mailbox(&person).await;
    assert!(mailbox.noticed_at > before, "{before:?} {:?}", mailbox.noticed_at);
    assert!(mailbox.due_at.is_some_and(|due| due <= running.app.clock.now()));
}

#[tokio::test]
async fn a_batch_is_counted_by_what_it_was() {
    let running = Running::start().await;
    running.approve();
    running.connected(EMPLOYEE).await;
    let batch = [notice(EMPLOYEE), notice(EMPLOYEE), notice("stranger@elsewhere.example"), Vec::new(), b"[]".to_vec()];
    let taken = notices::take(&running.app, batch.iter().map(Vec::as_slice)).await.expect("taken");
    assert_eq!(taken, Taken { mailboxes: 1, unknown: 1, unreadable: 2, heartbeats: 0 });
    let known = json!({ "emailAddress": EMPLOYEE, "historyId": 1 }).to_string();
    let taken = notices::take(&running.app, [known.as_bytes()]).await.expect("taken");
    assert_eq!(taken, Taken::default(), "what is stored already makes nobody due");
}

#[tokio::test]
async fn a_deleted_subscription_and_topic_are_made_again() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(EMPLOYEE).await;
    assert!(running.mailbox(&person).await.due_at.is_some_and(|due| due > running.app.clock.now()));
    running.world(|world| {
        world.pubsub.subscriptions.clear();
        world.pubsub.topics.clear();
    });
    pulling(&running, eventually(&running, "the subscription is there", async || waiting(&running).is_some())).await;
    let due = running.mailbox(&person).await.due_at;
    let now = running.app.clock.now();
    assert!(due.is_some_and(|due| due <= now), "what was published meanwhile is lost: look again");
    let settings = &running.app.config.pubsub;
    let made = provision::provision(&running.pubsub, settings, &running.app.config.server.public_url).await;
    let existed =
        Provisioned { topic: Created::Existed, publisher: Publisher::Already, subscription: Created::Existed };
    assert_eq!(made.expect("provisioned"), existed, "everything was there again, and Gmail may publish");
    let state = running.pubsub.subscription(&settings.subscription).await.expect("read").expect("there");
    assert_eq!(provision::misfit(&state, settings, &running.app.config.server.public_url), None);
}

#[tokio::test]
async fn a_subscription_whose_making_was_not_answered_is_followed_by_a_look_all_the_same() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(EMPLOYEE).await;
    running.world(|world| {
        world.pubsub.subscriptions.clear();
        world.faults.add(Rule::new("pubsub.subscriptions.create", Mischief::CutAfter).times(1));
    });
    let is_due = async || running.mailbox(&person).await.due_at.is_some_and(|due| due <= running.app.clock.now());
    assert!(!is_due().await);
    pulling(&running, eventually(&running, "everybody is looked at", is_due)).await;
    assert!(waiting(&running).is_some());
}

#[tokio::test]
async fn a_refusal_is_told_to_the_operator_until_it_is_mended() {
    let running = Running::start().await;
    running.world(|world| world.faults.add(Rule::status("pubsub.pull", 403)));
    let mended = async {
        eventually(&running, "a fault is told", async || !faults(&running).await.is_empty()).await;
        let fault = faults(&running).await.remove(0);
        assert_eq!(fault.kind, "pubsub.forbidden");
        assert!(fault.detail.contains("roles/pubsub.subscriber"), "{}", fault.detail);
        running.world(|world| world.faults.clear());
        eventually(&running, "the fault is struck off", async || faults(&running).await.is_empty()).await;
    };
    pulling(&running, mended).await;
}

#[tokio::test]
async fn passing_trouble_is_waited_out() {
    let running = Running::start().await;
    running.approve();
    running.connected(EMPLOYEE).await;
    running.world(|world| world.faults.add(Rule::status("pubsub.pull", 503).times(8)));
    publish(&running, &notice(EMPLOYEE)).await;
    let taken = async {
        eventually(&running, "everything is acknowledged", async || waiting(&running) == Some(0)).await;
        eventually(&running, "no fault is left", async || faults(&running).await.is_empty()).await;
    };
    pulling(&running, taken).await;
}

#[tokio::test]
async fn a_missing_right_to_make_the_subscription_names_the_way_out() {
    let running = Running::start().await;
    running.world(|world| {
        world.pubsub.subscriptions.clear();
        world.faults.add(Rule::status("pubsub.subscriptions.create", 403));
    });
    pulling(&running, eventually(&running, "a fault is told", async || !faults(&running).await.is_empty())).await;
    let fault = faults(&running).await.remove(0);
    assert_eq!(fault.kind, "pubsub.missing");
    assert!(fault.detail.contains("roles/pubsub.editor"), "{}", fault.detail);
    assert!(fault.detail.contains("intail doctor --fix"), "{}", fault.detail);
}

/// An Intail to which Pub/Sub pushes.
async fn pushed() -> Running {
    let push = PubSubMode::Push { audience: AUDIENCE.to_owned(), service_account: ACCOUNT.to_owned() };
    let setup = Setup { mode: Some(push), ..Setup::default() };
    Running::start_with(setup).await
}

async fn post(running: &Running, token: Option<&str>, body: impl Into<Body>) -> StatusCode {
    let request = Request::post("http://127.0.0.1:8080/notices/pubsub").header("host", "127.0.0.1:8080");
    let request =
        token.into_iter().fold(request, |request, token| request.header(AUTHORIZATION, format!("Bearer {token}")));
    let request = request.body(body.into()).expect("a request");
    web::router(running.app.clone()).oneshot(request).await.expect("an answer").status()
}

/// A token as Pub/Sub signs it, changed by `change`.
fn token(running: &Running, change: impl FnOnce(&mut Value)) -> String {
    let now = running.app.clock.now().as_second();
    running.world(|world| {
        let mut claims = json!({
            "iss": world.identity.issuer(),
            "aud": AUDIENCE,
            "azp": "1",
            "sub": "1",
            "email": ACCOUNT,
            "email_verified": true,
            "iat": now,
            "exp": now + 3_600,
        });
        change(&mut claims);
        world.identity.sign_jwt(&claims).expect("signed")
    })
}

#[tokio::test]
async fn only_pubsub_s_own_account_may_push() {
    let running = pushed().await;
    let body = || json!({ "message": { "data": "e30=" } }).to_string();
    let good = token(&running, |_| {});
    assert_eq!(post(&running, Some(&good), body()).await, 204);
    assert_eq!(post(&running, None, body()).await, 401);
    assert_eq!(post(&running, Some("not.a.token"), body()).await, 401);
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    assert_eq!(post(&running, Some(&format!("{signed}.AAAA")), body()).await, 401);
    let changes: [(&str, Value, u16); 6] = [
        ("aud", json!("https://elsewhere.example"), 401),
        ("iss", json!("https://elsewhere.example"), 401),
        ("exp", json!(running.app.clock.now().as_second() - 3_600), 401),
        ("email", json!("somebody@example.com"), 403),
        ("email", Value::Null, 403),
        ("email_verified", json!(false), 403),
    ];
    for (claim, value, status) in changes {
        let changed = token(&running, |claims| claims[claim] = value.clone());
        assert_eq!(post(&running, Some(&changed), body()).await, status, "{claim} {value}");
    }
}

#[tokio::test]
async fn rubbish_with_a_good_token_is_never_asked_for_again() {
    let running = pushed().await;
    let token = token(&running, |_| {});
    for body in ["", "null", "{\"message\":7}", "{\"message\":{\"data\":\"%%%\"}}"] {
        assert_eq!(post(&running, Some(&token), body).await, 204, "{body}");
    }
    assert_eq!(post(&running, Some(&token), vec![b' '; 2 * 1024 * 1024]).await, 204);
}

#[tokio::test]
async fn without_push_mode_there_is_nothing_to_push_to() {
    let running = Running::start().await;
    let token = token(&running, |_| {});
    assert_eq!(post(&running, Some(&token), "{}").await, 404);
}

#[tokio::test]
async fn a_real_push_marks_the_mailbox_due() {
    let running = pushed().await;
    running.approve();
    let person = running.sign_in(EMPLOYEE).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let name = running.app.config.pubsub.subscription.clone();
    running.world(|world| {
        let subscription = world.pubsub.subscriptions.get_mut(&name).expect("it was made");
        let push = subscription.settings.push.as_mut().expect("it pushes");
        assert_eq!(push.endpoint, "http://127.0.0.1:8080/notices/pubsub");
        push.endpoint = format!("http://{address}/notices/pubsub");
    });
    let shutdown = CancellationToken::new();
    let connected = async {
        running.connect(&person, Ticks::All).await.expect("connected");
        running.worker.tick().await.expect("the watch is set");
        // The watch's own notice tells of nothing that isn't stored.
        running.pass(Duration::from_secs(1));
        running.act(&person.email, MailAction::sample());
        eventually(&running, "a push came", async || running.mailbox(&person).await.noticed_at.is_some()).await;
        shutdown.cancel();
    };
    let (served, ()) = join(web::serve(running.app.clone(), listener, shutdown.clone()), connected).await;
    served.expect("served");
}

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

async fn fault_kinds(running: &Running) -> Vec<String> {
    faults(running).await.into_iter().map(|it| it.kind).collect()
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
    let told = card(&running, &person).await;
    assert!(told.contains("Google may not tell Intail") && !told.contains("Google tells Intail"), "renewals fail");

    hours(&running, 30).await;
    assert_eq!(fault_kinds(&running).await, [ENDING]);
    assert!(ends_soon(&running, &person).await);
    assert!(card(&running, &person).await.contains("Google is about to stop"));

    running.world(|world| world.faults.clear());
    hours(&running, 1).await;
    assert!(faults(&running).await.is_empty(), "it heals by itself, and the fault is over");
    assert!(!ends_soon(&running, &person).await);
    assert!(card(&running, &person).await.contains("Google tells Intail"));
}

#[tokio::test]
async fn a_watch_that_google_puts_off_keeps_nobody_from_being_read() {
    let (running, person) = connected().await;
    running.world(|world| world.faults.add(Rule::status(WATCH, 429)));
    hours(&running, 29).await;
    running.act(&person.email, receive(1));
    let new = running.sign_in(&running.employees().1).await;
    running.connect(&new, Ticks::All).await.expect("connected");
    running.copy_everything().await;
    hours(&running, 1).await;
    for person in [&person, &new] {
        running.assert_nothing_is_lost(person).await;
    }
    hours(&running, 5 * 24).await;
    assert_eq!(fault_kinds(&running).await, [ENDING]);
    assert!(ends_soon(&running, &person).await, "the person is told as well");
}

#[tokio::test]
async fn a_watch_that_never_was_set_is_told_to_the_operator_too() {
    let running = Running::start().await;
    running.approve();
    running.world(|world| world.faults.add(Rule::status(WATCH, 500)));
    let person = running.sign_in(&running.employee()).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    assert!(running.mailbox(&person).await.watch_problem.is_some() && faults(&running).await.is_empty());
    hours(&running, 2).await;
    assert_eq!(fault_kinds(&running).await, [ENDING]);
    running.world(|world| world.faults.clear());
    hours(&running, 1).await;
    assert!(faults(&running).await.is_empty());
}

#[tokio::test]
async fn after_a_watch_has_ended_mail_is_still_read_and_the_operator_still_told() {
    let (running, person) = connected().await;
    running.world(|world| world.faults.add(Rule::status(WATCH, 500)));
    hours(&running, 8 * 24).await;
    running.act(&person.email, MailAction::ForgetHistory);
    let newest = running.truth(&person.email).into_keys().next().expect("there is mail");
    running.act(&person.email, MailAction::Star(One { id: newest }));
    hours(&running, 2).await;
    running.copy_everything().await;
    running.assert_nothing_is_lost(&person).await;
    assert_eq!(fault_kinds(&running).await, [ENDING]);
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
    assert_eq!(fault_kinds(&running).await, [ENDING], "the other's watch was renewed every day");
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

//! Connecting, by the real flow against the false Google: who may connect what, what each wrong turn is called, and
//! what is left behind when a person leaves.

use std::time::Duration;

use intail::connect::{self, Callback, ConnectError, Options, Permission};
use intail::org::audit::Origin;
use intail::signin::{self, SignInError};
use intail::store::grants::{self, GrantState};
use intail::store::leaving_receipts;
use intail::store::leavings::{self, Revocation};
use intail::store::organizations::{self, Approval};
use intail_google::oauth::scope;
use intail_sandbox::access::AccessLevel;
use intail_sandbox::accounts::PersonSwitch;
use intail_sandbox::faults::Rule;

use crate::harness::postgres;
use crate::harness::running::{ADMIN, BROWSER, Running, Setup, Ticks, receive};

async fn approval(running: &Running, person: &intail::store::people::Person) -> Approval {
    let mut tx = running.app.store.read().await.expect("a transaction");
    organizations::by_id(&mut tx, &person.organization_id).await.expect("read").expect("there").approval
}

async fn grant(running: &Running, person: &intail::store::people::Person) -> Option<grants::Grant> {
    let mut tx = running.app.store.read().await.expect("a transaction");
    grants::by_person(&mut tx, &person.id).await.expect("read")
}

#[tokio::test]
async fn before_approval_google_keeps_the_person_and_intail_notices_the_abandoned_attempt() {
    let running = Running::start().await;
    let (one, _) = running.employees();
    let person = running.sign_in(&one).await;
    let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
    assert!(running.visit(&one, url, Ticks::All).await.is_none(), "Google shows its own page");
    assert_eq!(approval(&running, &person).await, Approval::Asked);

    let mut tx = running.app.store.read().await.expect("a transaction");
    let at_once = connect::abandoned(&mut tx, &person.id, running.app.clock.now()).await.expect("read");
    assert_eq!(at_once, None, "perhaps they are still there");
    running.pass(Duration::from_secs(60));
    let later = connect::abandoned(&mut tx, &person.id, running.app.clock.now()).await.expect("read");
    assert!(later.is_some());
}

#[tokio::test]
async fn an_administrator_s_block_that_comes_back_is_told_apart() {
    let running = Running::start().await;
    running.switch(|it| it.policy_errors_redirect = true);
    let (one, _) = running.employees();
    let person = running.sign_in(&one).await;
    let refused = running.connect(&person, Ticks::All).await.expect_err("it is blocked");
    assert!(matches!(refused, ConnectError::BlockedByAdministrator), "{refused:?}");
    assert_eq!(approval(&running, &person).await, Approval::Blocked);
}

#[tokio::test]
async fn after_approval_everybody_connects_alone() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    for email in [&one, &two] {
        let person = running.sign_in(email).await;
        let connected = running.connect(&person, Ticks::All).await.expect("connected");
        assert_eq!((&connected.email, connected.missing.len(), connected.again), (email, 0, false));
        assert_eq!(approval(&running, &person).await, Approval::Approved);
        let held = grant(&running, &person).await.expect("a grant");
        assert_eq!(held.state, GrantState::Active);
        let sealed = held.refresh_sealed.expect("a refresh token");
        assert!(!sealed.contains("1//"), "it is sealed");
    }
}

#[tokio::test]
async fn promise_6_exactly_these_scopes_are_asked_for() {
    let running = Running::start().await;
    let (one, _) = running.employees();
    let person = running.sign_in(&one).await;
    let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
    let asked = url.query_pairs().find(|(key, _)| key == "scope").expect("scopes").1.into_owned();
    let mut asked: Vec<&str> = asked.split(' ').map(scope::expand_alias).collect();
    asked.sort_unstable();
    assert_eq!(
        asked,
        [
            "https://www.googleapis.com/auth/admin.directory.user.readonly",
            "https://www.googleapis.com/auth/calendar.readonly",
            "https://www.googleapis.com/auth/gmail.metadata",
            "https://www.googleapis.com/auth/userinfo.email",
            "https://www.googleapis.com/auth/userinfo.profile",
            "openid",
        ]
    );
}

#[tokio::test]
async fn a_box_left_unticked_is_named_and_added_later() {
    let running = Running::start().await;
    running.approve();
    let (one, _) = running.employees();
    let person = running.sign_in(&one).await;
    let only = Ticks::Only(&[scope::GMAIL_METADATA, scope::CALENDAR_READONLY]);
    let partly = running.connect(&person, only).await.expect("connected in part");
    assert_eq!(partly.missing, [Permission::Directory]);
    assert_eq!(grant(&running, &person).await.expect("a grant").state, GrantState::Partial);

    let again = Options { ask_again: true, ..Options::default() };
    let whole = running.connect_as(&person, &one, Ticks::All, again).await.expect("connected");
    assert_eq!((whole.missing.len(), whole.again), (0, true));
    assert_eq!(grant(&running, &person).await.expect("a grant").state, GrantState::Active);
}

#[tokio::test]
async fn cancel_is_no_error_of_anybody() {
    let running = Running::start().await;
    running.approve();
    let (one, _) = running.employees();
    let person = running.sign_in(&one).await;
    let refused = running.connect(&person, Ticks::Cancel).await.expect_err("the person said no");
    assert!(matches!(refused, ConnectError::Denied), "{refused:?}");
    assert!(grant(&running, &person).await.is_none());
    running.connect(&person, Ticks::All).await.expect("a second try works");
}

#[tokio::test]
async fn another_account_is_refused_and_its_token_revoked() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let person = running.sign_in(&one).await;
    let other = Options { choose_account: true, ..Options::default() };
    let refused = running.connect_as(&person, &two, Ticks::All, other).await.expect_err("not theirs");
    match refused {
        ConnectError::WrongAccount { expected, came } => assert_eq!((expected, came), (one, two)),
        other => panic!("{other:?}"),
    }
    assert!(grant(&running, &person).await.is_none());
    assert_eq!(running.calls("oauth.revoke"), 1, "the token that isn't kept is revoked");
}

#[tokio::test]
async fn a_callback_works_once_in_its_own_browser_for_its_own_person() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let (person, other) = (running.sign_in(&one).await, running.sign_in(&two).await);
    let app = &running.app;
    let callback = |state: &str, code: &str| Callback {
        code: Some(code.to_owned().into()),
        state: Some(state.to_owned().into()),
        ..Callback::default()
    };
    let begun = |url: &url::Url| url.query_pairs().find(|(key, _)| key == "state").expect("a state").1.into_owned();

    let forged = connect::finish(app, Some(&person), BROWSER, callback("forged", "4/x")).await;
    assert!(matches!(forged, Err(ConnectError::UnknownState)), "{forged:?}");
    let empty = connect::finish(app, Some(&person), BROWSER, Callback::default()).await;
    assert!(matches!(empty, Err(ConnectError::Incomplete("state"))), "{empty:?}");

    let state = begun(&connect::begin(app, &person, BROWSER, Options::default()).await.expect("it begins"));
    for (who, browser) in [(Some(&other), BROWSER), (None, BROWSER), (Some(&person), "another-browser")] {
        let foreign = connect::finish(app, who, browser, callback(&state, "4/x")).await;
        assert!(matches!(foreign, Err(ConnectError::ForeignState)), "{foreign:?}");
    }
    let wrong_issuer = Callback { iss: Some("https://evil.example".into()), ..callback(&state, "4/x") };
    let foreign = connect::finish(app, Some(&person), BROWSER, wrong_issuer).await;
    assert!(matches!(foreign, Err(ConnectError::ForeignIssuer)), "{foreign:?}");
    let replayed = connect::finish(app, Some(&person), BROWSER, callback(&state, "4/x")).await;
    assert!(matches!(replayed, Err(ConnectError::Replayed)), "{replayed:?}");

    let state = begun(&connect::begin(app, &person, BROWSER, Options::default()).await.expect("it begins"));
    running.pass(Duration::from_secs(31 * 60));
    let late = connect::finish(app, Some(&person), BROWSER, callback(&state, "4/x")).await;
    assert!(matches!(late, Err(ConnectError::Expired)), "{late:?}");
}

/// How often the audit log says that connecting was refused with this outcome, about whom or what.
async fn refusals(running: &Running, about: &str, outcome: &str) -> usize {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let organization = organizations::list(&mut tx, 1).await.expect("read").remove(0).id;
    let log = intail::store::audit::after(&mut tx, &organization, 0, 1_000).await.expect("read");
    let outcome = format!("\"outcome\":\"{outcome}\"");
    log.iter()
        .filter(|it| it.action == "connection.refused" && it.about == about && it.detail.contains(&outcome))
        .count()
}

#[tokio::test]
async fn what_is_refused_again_and_again_is_in_the_audit_log_once_an_hour() {
    for url in [None, Some(postgres::database().await)] {
        let running = Running::start_with(Setup { postgres: url, ..Setup::default() }).await;
        running.approve();
        let (one, two) = running.employees();
        let (person, other) = (running.sign_in(&one).await, running.sign_in(&two).await);
        let (app, id) = (&running.app, person.id.as_str());
        let callback = |state: &str| Callback { state: Some(state.to_owned().into()), ..Callback::default() };
        let begin = async || {
            let url = connect::begin(app, &person, BROWSER, Options::default()).await.expect("it begins");
            url.query_pairs().find(|(key, _)| key == "state").expect("a state").1.into_owned()
        };
        for (hour, told) in [1, 1, 2].into_iter().enumerate() {
            let (used, open) = (begin().await, begin().await);
            let denied = Callback { error: Some("access_denied".into()), ..callback(&used) };
            connect::finish(app, Some(&person), BROWSER, denied).await.expect_err("denied");
            for _ in 0..5 {
                connect::finish(app, Some(&person), BROWSER, callback(&used)).await.expect_err("replayed");
                connect::finish(app, Some(&person), BROWSER, callback("forged")).await.expect_err("forged");
                connect::finish(app, None, BROWSER, callback("forged")).await.expect_err("by nobody known");
                connect::finish(app, Some(&person), BROWSER, Callback::default()).await.expect_err("no state");
                connect::finish(app, Some(&other), BROWSER, callback(&open)).await.expect_err("another person");
                connect::finish(app, None, BROWSER, callback(&open)).await.expect_err("nobody is signed in");
                connect::finish(app, Some(&person), "another", callback(&open)).await.expect_err("another browser");
            }
            for outcome in ["replayed", "unknown_state", "incomplete"] {
                assert_eq!(refusals(&running, id, outcome).await, told, "{outcome} in part {hour}");
            }
            let foreign = refusals(&running, id, "foreign_state").await;
            assert_eq!(foreign, 2 * told, "once by somebody of the organization and once by nobody, in part {hour}");
            assert_eq!(refusals(&running, other.id.as_str(), "foreign_state").await, 0, "it concerns whose it is");
            running.pass(Duration::from_secs(if hour == 0 { 31 * 60 } else { 3_600 }));
            connect::finish(app, Some(&person), BROWSER, callback(&open)).await.expect_err("too late");
        }
        assert_eq!(refusals(&running, id, "denied").await, 3, "each answer of Google's is written");
        assert!(refusals(&running, id, "expired").await >= 1);
        let mut tx = app.store.read().await.expect("a transaction");
        let log = intail::store::audit::after(&mut tx, &person.organization_id, 0, 1_000).await.expect("read");
        assert!(log.iter().any(|it| it.detail.contains(other.id.as_str())), "who did it is known");
        assert!(log.iter().all(|it| !it.detail.contains('@')), "by id alone");
    }
}

#[tokio::test]
async fn a_flood_of_attempts_is_in_the_audit_log_and_doesn_t_flood_it() {
    for url in [None, Some(postgres::database().await)] {
        let running = Running::start_with(Setup { postgres: url, ..Setup::default() }).await;
        let person = running.sign_in(&running.employee()).await;
        let begin = || connect::begin(&running.app, &person, BROWSER, Options::default());
        for _ in 0..20 {
            begin().await.expect("it begins");
        }
        assert_eq!(refusals(&running, person.id.as_str(), "too_many").await, 0);
        let at_once = futures::future::join_all((0..10).map(|_| begin())).await;
        assert!(at_once.iter().all(|it| matches!(it, Err(ConnectError::TooMany))), "{at_once:?}");
        assert_eq!(refusals(&running, person.id.as_str(), "too_many").await, 1);
    }
}

#[tokio::test]
async fn google_s_trouble_is_not_the_person_s_fault() {
    let running = Running::start().await;
    running.approve();
    let (one, _) = running.employees();
    let person = running.sign_in(&one).await;
    running.world(|world| world.faults.add(Rule::status("oauth.token", 500).times(1)));
    let failed = running.connect(&person, Ticks::All).await.expect_err("Google fails");
    assert!(matches!(failed, ConnectError::GoogleTrouble(_)), "{failed:?}");
    running.connect(&person, Ticks::All).await.expect("a second try works");
}

#[tokio::test]
async fn a_flood_of_attempts_is_refused() {
    let running = Running::start().await;
    let (one, _) = running.employees();
    let person = running.sign_in(&one).await;
    let mut refused = None;
    for _ in 0..21 {
        refused = connect::begin(&running.app, &person, BROWSER, Options::default()).await.err();
    }
    assert!(matches!(refused, Some(ConnectError::TooMany)), "{refused:?}");
    running.pass(Duration::from_secs(11 * 60));
    connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it passes");
}

#[tokio::test]
async fn consent_is_forced_only_when_no_refresh_token_is_held() {
    let running = Running::start().await;
    running.approve();
    let (one, _) = running.employees();
    let person = running.connected(&one).await;
    let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
    assert!(url.query_pairs().all(|(key, _)| key != "prompt"), "{url}");
    let again = running.connect(&person, Ticks::All).await.expect("connected again");
    assert!(again.again && again.missing.is_empty());
    let held = grant(&running, &person).await.expect("a grant");
    assert!(held.refresh_sealed.is_some(), "the refresh token that was held is kept");
}

#[tokio::test]
async fn a_revoked_grant_stops_every_call_and_reconnecting_goes_on_where_it_was() {
    let running = Running::start().await;
    running.approve();
    let (one, _) = running.employees();
    let person = running.connected(&one).await;
    let before = running.mailbox(&person).await;
    let sub = person.subject.clone();
    running.world(|world| {
        let now = world.clock.now();
        world.identity.switch_person(now, &sub, PersonSwitch::ChangePassword)
    });
    running.act(&one, receive(1));
    running.work().await;
    let dead = grant(&running, &person).await.expect("a grant");
    assert_eq!((dead.state, dead.reason.as_str()), (GrantState::NeedsPerson, "revoked"));

    running.world(|world| world.calls.clear());
    running.pass(Duration::from_secs(3 * 24 * 3600));
    running.work().await;
    let asked = running.world(|world| world.calls.iter().filter(|it| it.person.is_some()).count());
    assert_eq!(asked, 0, "the circuit is open");

    running.connect(&person, Ticks::All).await.expect("connected again");
    running.settle().await;
    let after = running.mailbox(&person).await;
    assert_eq!((&after.id, after.created_at), (&before.id, before.created_at));
    assert!(after.cursor > before.cursor);
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_block_at_a_refresh_waits_for_the_administrator() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let person = running.connected(&one).await;
    running.set_access(AccessLevel::Blocked);
    running.pass(Duration::from_secs(2 * 3600));
    running.act(&one, intail_sandbox::action::MailAction::ForgetHistory);
    running.world(|world| {
        let sub = world.identity.person_by_email(&one).expect("there").sub.clone();
        world.receive_sample(&sub)
    });
    running.work().await;
    let held = grant(&running, &person).await.expect("a grant");
    assert_eq!((held.state, held.reason.as_str()), (GrantState::NeedsAdministrator, "blocked_by_administrator"));

    running.approve();
    let second = running.sign_in(&two).await;
    running.connect(&second, Ticks::All).await.expect("connected");
    let open = grant(&running, &person).await.expect("a grant");
    assert!(open.state.works(), "somebody's success is evidence for everybody");
}

#[tokio::test]
async fn leaving_stops_revokes_and_erases_and_reconnecting_works() {
    let running = Running::start().await;
    running.approve();
    let (one, _) = running.employees();
    let person = running.connected(&one).await;
    let left = connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    assert!(left.stopped && left.revocation == Revocation::Confirmed && left.rows > 0, "{left:?}");
    assert!(grant(&running, &person).await.is_none());
    assert!(running.feed(&person).await.iter().all(|it| it.kind.ends_with(".erased")));
    let again = connect::leave(&running.app, &person, Origin::Unknown).await;
    assert!(matches!(again, Err(ConnectError::NotConnected)), "{again:?}");

    running.connected(&one).await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn an_erasure_that_google_s_trouble_interrupted_is_finished_later() {
    let running = Running::start().await;
    running.approve();
    let (one, _) = running.employees();
    let person = running.connected(&one).await;
    running.world(|world| world.faults.add(Rule::status("oauth.revoke", 503).times(1)));
    let left = connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    assert!(left.revocation == Revocation::Open && left.rows > 0, "the data is gone at once");
    assert!(grant(&running, &person).await.is_none(), "only the sealed token waits");
    running.pass(Duration::from_secs(61));
    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    connect::resume_leaving(&running.app, shutdown).await;
    assert_eq!(running.calls("oauth.revoke"), 2);
    let mut tx = running.app.store.read().await.expect("a transaction");
    let receipt = leaving_receipts::by_id(&mut tx, &left.receipt).await.expect("read").expect("a receipt");
    assert!(receipt.statement.contains(r#""permission_given_back":"confirmed""#), "{}", receipt.statement);
    assert!(leavings::by_id(&mut tx, &left.receipt).await.expect("read").is_none(), "nothing waits any more");
}

#[tokio::test]
async fn a_stranger_s_domain_is_not_let_in() {
    let running = Running::start().await;
    let consumer = running.world(|world| {
        let people = world.identity.people.values();
        people.map(|it| it.email.clone()).find(|it| it.ends_with("@gmail.com")).expect("a consumer account")
    });
    let url = signin::begin(&running.app, BROWSER, "/mail", Some(&consumer)).await.expect("it begins");
    let Some(back) = running.visit(&consumer, url, Ticks::All).await else {
        return;
    };
    let pairs: std::collections::BTreeMap<String, String> = back.query_pairs().into_owned().collect();
    let callback = serde_json::from_value(serde_json::to_value(pairs).expect("text")).expect("a callback");
    let refused = signin::finish(&running.app, BROWSER, callback).await.expect_err("no organization");
    assert!(matches!(refused, SignInError::NotVerified | SignInError::UnknownOrganization { .. }), "{refused:?}");
}

#[tokio::test]
async fn the_administrator_of_the_demo_is_an_administrator() {
    let running = Running::start().await;
    let ada = running.sign_in(ADMIN).await;
    assert_eq!(ada.role, intail::store::people::Role::Administrator);
    let (one, _) = running.employees();
    assert_eq!(running.sign_in(&one).await.role, intail::store::people::Role::Member);
}

#[tokio::test]
async fn coming_back_without_a_box_keeps_the_grant_that_works() {
    let running = Running::start().await;
    running.approve();
    running.switch(|it| it.consent_replaces_grant = false);
    let person = running.connected(&running.employee()).await;
    let again = Options { ask_again: true, ..Options::default() };
    let email = person.email.clone();
    let whole = running.connect_as(&person, &email, Ticks::Only(&[]), again).await.expect("what was granted stays");
    assert!(whole.again && whole.missing.is_empty());
    assert_eq!(running.calls("oauth.revoke"), 0, "revoking would end the grant that works");
    assert_eq!(grant(&running, &person).await.expect("it is kept").state, GrantState::Active);
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_google_s_trouble_and_revoke_nothing() {
    let running = Running::start().await;
    running.approve();
    let person = running.sign_in(&running.employee()).await;
    running.world(|world| {
        world.identity.rotate_keys().expect("new keys");
        world.faults.add(Rule::status("oauth.certs", 503).times(1))
    });
    // The keys are cached until the cached ones don't fit.
    running.pass(Duration::from_secs(24 * 3600));
    let failed = running.connect(&person, Ticks::All).await.expect_err("the keys can't be had");
    assert!(matches!(failed, ConnectError::GoogleTrouble(_)), "{failed:?}");
    assert_eq!(running.calls("oauth.revoke"), 0);
    running.connect(&person, Ticks::All).await.expect("a second try works");
}

#[tokio::test]
async fn an_administrator_s_word_in_an_address_does_not_overrule_a_grant() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    running.connected(&one).await;
    let other = running.sign_in(&two).await;
    let url = connect::begin(&running.app, &other, BROWSER, Options::default()).await.expect("it begins");
    let state = url.query_pairs().find(|(key, _)| key == "state").expect("a state").1.into_owned();
    let forged =
        Callback { state: Some(state.into()), error: Some("admin_policy_enforced".into()), ..Callback::default() };
    let refused = connect::finish(&running.app, Some(&other), BROWSER, forged).await;
    assert!(matches!(refused, Err(ConnectError::BlockedByAdministrator)));
    assert_eq!(approval(&running, &other).await, Approval::Approved);
}

#[tokio::test]
async fn a_refused_oauth_client_is_the_operator_s_and_is_tried_again() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.world(|world| world.faults.add(Rule::new("oauth.token", client_refused()).times(1)));
    running.pass(Duration::from_secs(30 * 3600));
    running.worker.tick().await.expect("the engine runs");
    assert_eq!(grant(&running, &person).await.expect("there").state, GrantState::NeedsOperator);
    let mut tx = running.app.store.read().await.expect("a transaction");
    let faults = intail::store::operator_faults::list(&mut tx).await.expect("read");
    drop(tx);
    assert_eq!(faults.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>(), ["oauth.client_refused"]);

    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    intail::sync::run(&running.app, shutdown).await.expect("a start tries again");
    running.worker.tick().await.expect("the engine runs");
    assert_eq!(grant(&running, &person).await.expect("there").state, GrantState::Active);
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert!(intail::store::operator_faults::list(&mut tx).await.expect("read").is_empty());
}

fn client_refused() -> intail_sandbox::faults::Mischief {
    intail_sandbox::faults::Mischief::Status {
        status: 401,
        reason: Some("invalid_client".into()),
        message: None,
        retry_after_s: None,
    }
}

//! What Google answers, from its words to the person's card: whose turn it is, why, and that nothing more is asked
//! under a grant that is over; what it says in passing ends none. What hinders one stream alone stands in `failing.rs`.

use std::time::Duration;

use intail::store::grants::{self, Grant, GrantState};
use intail::store::people::Person;
use intail_google::oauth::scope;
use intail_sandbox::faults::{Mischief, Rule};
use jiff::Timestamp;
use serde_json::json;

use crate::access::{ask, session, text};
use crate::harness::running::{Running, Ticks, receive};

const HOUR: Duration = Duration::from_secs(3_600);
/// The call that renews an access.
const RENEWAL: &str = "oauth.token";

async fn connected() -> (Running, Person) {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    (running, person)
}

async fn grant_of(running: &Running, person: &Person) -> Grant {
    let mut tx = running.app.store.read().await.expect("a transaction");
    grants::by_person(&mut tx, &person.id).await.expect("read").expect("a grant")
}

async fn card(running: &Running, person: &Person) -> String {
    let proof = session(&running.app, person).await;
    text(ask(&running.app, "GET", "/settings/integrations", &proof, None).await).await
}

/// What Google was asked since that was last forgotten, but for notices.
fn asked(running: &Running) -> Vec<&'static str> {
    let is_notice = |call: &&str| call.starts_with("pubsub.");
    running.world(|world| world.calls.iter().map(|it| it.call).filter(|call| !is_notice(call)).collect())
}

/// The access that is held has ended, a message arrives, and Google answers every renewal like this.
async fn renew(running: &Running, person: &Person, answer: Rule) {
    running.pass(2 * HOUR);
    running.world(|world| {
        world.calls.clear();
        world.faults.add(answer)
    });
    running.act(&person.email, receive(1));
    running.work().await;
}

/// Google refuses a renewal in these words.
fn refused(status: u16, word: &str, description: &str) -> Rule {
    let (reason, message) = (Some(word.to_owned()), Some(description.to_owned()));
    Rule::new(RENEWAL, Mischief::Status { status, reason, message, retry_after_s: None })
}

/// Google renews an access, and lets Intail read the text of mail, too.
fn too_much() -> Rule {
    let scopes = format!("{} https://www.googleapis.com/auth/gmail.readonly", scope::REQUESTED.join(" "));
    Rule::twist(RENEWAL, json!({"scope": scopes}), json!({}))
}

#[tokio::test]
async fn what_google_says_at_a_renewal_stops_the_grant_and_is_told_to_whom_it_concerns() {
    use GrantState::{NeedsAdministrator, NeedsOperator, NeedsPerson};
    let kept_out = "Your organization’s settings at Google no longer let Intail in.";
    let blocked = "blocked_by_administrator";
    let rows = [
        (
            refused(400, "invalid_grant", "Token has been expired or revoked."),
            (NeedsPerson, "revoked"),
            "Google no longer accepts what you allowed.",
        ),
        (
            refused(400, "invalid_grant", "reauth related error (invalid_rapt)"),
            (NeedsPerson, "sign_in_again"),
            "Your organization asks you to confirm to Google that it is still you.",
        ),
        (
            refused(400, "invalid_grant", "Account has been deleted"),
            (NeedsPerson, "account_deleted"),
            "Google says that this account was deleted.",
        ),
        (
            refused(400, "policy_enforced", "Access is not allowed."),
            (NeedsPerson, "advanced_protection"),
            "Your account is in Google’s Advanced Protection Program, which keeps Intail out.",
        ),
        (
            too_much(),
            (NeedsPerson, "wider_scope"),
            "Google handed Intail more than it may hold, so Intail stopped. Connect again",
        ),
        (refused(400, "admin_policy_enforced", "Access is not allowed."), (NeedsAdministrator, blocked), kept_out),
        (refused(400, "access_not_configured", "Access is not allowed."), (NeedsAdministrator, blocked), kept_out),
        (refused(403, "org_internal", "Access is not allowed."), (NeedsAdministrator, blocked), kept_out),
        (
            refused(401, "deleted_client", "The OAuth client was deleted."),
            (NeedsOperator, "client_refused"),
            "Google refuses Intail itself, for everybody. Whoever runs Intail has been told",
        ),
    ];
    let (running, person) = connected().await;
    for (answer, (state, reason), words) in rows {
        let place = format!("{reason} by {answer:?}");
        renew(&running, &person, answer).await;
        let held = grant_of(&running, &person).await;
        assert_eq!((held.state, held.reason.as_str()), (state, reason), "{place}");
        assert_eq!(asked(&running), [RENEWAL], "{place}: one answer is enough, whatever is read under the grant");

        let card = card(&running, &person).await;
        let badge = match state {
            NeedsPerson => "Needs you<",
            NeedsAdministrator => "Needs your administrator<",
            _ => "Needs whoever runs Intail<",
        };
        let (_, problem) = card.split_once("id=\"problem\"").unwrap_or_else(|| panic!("{place}: {card}"));
        assert!(card.contains(badge) && problem.contains(words), "{place}: {card}");

        running.world(|world| world.calls.clear());
        running.pass(26 * HOUR);
        running.act(&person.email, receive(1));
        running.work().await;
        assert_eq!(asked(&running), Vec::<&str>::new(), "{place}: the circuit is open");

        running.world(|world| world.faults.clear());
        running.connect(&person, Ticks::All).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        running.settle().await;
        let held = grant_of(&running, &person).await;
        assert_eq!((held.state, held.reason.as_str()), (GrantState::Active, ""), "{place}: connected again");
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn what_google_says_in_passing_at_a_renewal_ends_no_grant() {
    let (running, person) = connected().await;
    for (status, word) in [
        (500, "invalid_grant"),
        (503, "temporarily_unavailable"),
        (400, "internal_failure"),
        (403, "rate_limit_exceeded"),
        (400, "invalid_request"),
        (400, "a_word_that_nobody_knows"),
    ] {
        renew(&running, &person, refused(status, word, "Try again later.")).await;
        let held = grant_of(&running, &person).await;
        assert_eq!((held.state, held.reason.as_str()), (GrantState::Active, ""), "{status} {word}");
        assert!(asked(&running).contains(&RENEWAL), "{status} {word}");
        assert!(!card(&running, &person).await.contains("id=\"problem\""), "{status} {word}");
        running.world(|world| world.faults.clear());
        running.pass(HOUR);
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn a_403_that_names_a_time_is_kept_as_a_429_is_and_survives_a_restart() {
    const WAIT_S: u32 = 50_000;
    for is_in_header in [false, true] {
        let (running, person) = connected().await;
        let until = Timestamp::from_second(running.app.clock.now().as_second() + i64::from(WAIT_S)).expect("a time");
        let (message, retry_after_s) = match is_in_header {
            true => (None, Some(WAIT_S)),
            false => (Some(format!("User-rate limit exceeded.  Retry after {until}")), None),
        };
        let reason = Some("userRateLimitExceeded".to_owned());
        let refusal = Mischief::Status { status: 403, reason, message, retry_after_s };
        running.world(|world| world.faults.add(Rule::new("gmail.users.history.list", refusal).times(1)));
        running.act(&person.email, receive(1));
        running.work().await;
        let paused_until = running.mailbox(&person).await.paused_until.expect("it is paused");
        assert_eq!(paused_until.as_second(), until.as_second(), "in a header: {is_in_header}");
        let card = card(&running, &person).await;
        assert!(
            card.contains("id=\"paused\">Waits until") && card.contains("Google asked Intail to slow down"),
            "{card}"
        );

        let is_of_mail = |call: &&&str| call.starts_with("gmail.");
        running.world(|world| world.calls.clear());
        running.pass(HOUR);
        running.act(&person.email, receive(1));
        running.take_notices().await;
        running.another_worker().tick().await.expect("the engine runs");
        assert_eq!(asked(&running).iter().filter(is_of_mail).count(), 0, "in a header: {is_in_header}");
        assert_eq!(grant_of(&running, &person).await.state, GrantState::Active);

        running.pass(Duration::from_secs(WAIT_S.into()));
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
    }
}

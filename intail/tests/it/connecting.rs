//! Connecting, cut at every commit: whatever broke off, the person clicks once more, and everything is there once. What
//! leaving does then stands in `leaving.rs`.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use intail::app::App;
use intail::connect::{self, ConnectError, Connected, Options};
use intail::org::audit::Origin;
use intail::org::receipts;
use intail::store::grants::{self, GrantState};
use intail::store::leavings::{self, Revocation};
use intail::store::mailboxes;
use intail::store::people::Person;
use intail::store::receipts as logs;
use intail_sandbox::accounts::PersonSwitch;
use tokio::sync::Notify;
use url::Url;

use crate::access::{ask, session, text};
use crate::harness::postgres;
use crate::harness::running::{BROWSER, Running, Setup, Ticks, read, receive};
use crate::leaving::{Cut, Cutting, behind};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_crash_before_any_commit_of_connecting_is_mended_by_one_more_click() {
    cut_at_each_commit(None, false, |_| false).await;
}

#[tokio::test]
async fn a_crash_after_any_commit_of_connecting_is_mended_by_one_more_click() {
    cut_at_each_commit(None, false, |_| true).await;
}

#[tokio::test]
async fn a_crash_before_any_commit_of_connecting_again_is_mended_by_one_more_click() {
    cut_at_each_commit(None, true, |_| false).await;
}

#[tokio::test]
async fn a_crash_after_any_commit_of_connecting_again_is_mended_by_one_more_click() {
    cut_at_each_commit(None, true, |_| true).await;
}

#[tokio::test]
async fn a_crash_at_any_commit_of_connecting_is_mended_on_postgresql() {
    cut_at_each_commit(Some(postgres::database().await), false, |at| at % 2 == 1).await;
}

/// Connects somebody, new or with a grant that is over, once for each commit that it takes, broken off before or after
/// that one.
async fn cut_at_each_commit(postgres: Option<String>, again: bool, is_after: fn(usize) -> bool) {
    let running = Running::start_with(Setup { postgres, ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = if again { running.connected(&email).await } else { running.sign_in(&email).await };
    for at in 0.. {
        let after = is_after(at);
        let place = format!("cut {at}, after: {after}");
        if again {
            lose_access(&running, &person).await;
        }
        let cut = Arc::new(Cut { at, after, seen: AtomicUsize::new(0), reached: Notify::new() });
        let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
        let back = OnceLock::new();
        let is_whole = tokio::select! {
            connected = click(&running, &app, &person, &back) => {
                connected.unwrap_or_else(|error| panic!("{place}: {error}"));
                true
            }
            () = cut.reached.notified() => false,
        };
        if !is_whole {
            click_again(&running, &person, back.get(), &place).await;
        }
        assert_whole(&running, &person, &place).await;
        if is_whole {
            let commits = if again { 4 } else { 5 };
            assert!(at >= commits, "attempt, its callback, the log of calls, grant and streams, outcome: {at}");
            break;
        }
        if !again {
            let left = connect::leave(&running.app, &person, Origin::Unknown).await;
            let left = left.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(left.revocation == Revocation::Confirmed && left.rows > 0, "{place}: {left:?}");
        }
        // Nobody may click as often as this test does.
        running.pass(11 * MINUTE);
    }
}

/// To Google and back, as one click on Connect leads; `back` is where the browser comes back to.
async fn click(running: &Running, app: &App, person: &Person, back: &OnceLock<Url>) -> Result<Connected, ConnectError> {
    let url = connect::begin(app, person, BROWSER, Options::default()).await?;
    let answer = running.visit(&person.email, url, Ticks::All).await.expect("Google sends the person back");
    let callback = read(back.get_or_init(|| answer));
    connect::finish(app, Some(person), BROWSER, callback).await
}

/// What a person does to whom a page never came: they load it once more, and then they begin anew.
async fn click_again(running: &Running, person: &Person, back: Option<&Url>, place: &str) {
    running.pass(MINUTE);
    if let Some(answer) = back {
        let reloaded = connect::finish(&running.app, Some(person), BROWSER, read(answer)).await;
        assert!(matches!(reloaded, Ok(_) | Err(ConnectError::Replayed)), "{place}: {reloaded:?}");
    }
    let mut tx = running.app.store.read().await.expect("a transaction");
    let is_there = grants::by_person(&mut tx, &person.id).await.expect("read").is_some();
    drop(tx);
    let connected = running.connect(person, Ticks::All).await;
    let connected = connected.unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!((connected.again, connected.missing.len()), (is_there, 0), "{place}");
}

/// The person changes their password at Google, which ends what they permitted, and Intail learns of it.
async fn lose_access(running: &Running, person: &Person) {
    running.world(|world| {
        let now = world.clock.now();
        world.identity.switch_person(now, &person.subject, PersonSwitch::ChangePassword)
    });
    running.act(&person.email, receive(1));
    running.work().await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let lost = grants::by_person(&mut tx, &person.id).await.expect("read").expect("a grant");
    assert_eq!((lost.state, lost.reason.as_str()), (GrantState::NeedsPerson, "revoked"));
}

/// One grant, one log, one mailbox, one agenda; what there was and what comes is copied, and the card says so.
async fn assert_whole(running: &Running, person: &Person, place: &str) {
    running.settle().await;
    running.pass(MINUTE);
    running.act(&person.email, receive(1));
    running.settle().await;
    running.settle_calendars(person).await;
    running.assert_nothing_is_lost(person).await;
    running.assert_no_appointment_is_lost(person).await;

    let agenda = running.agenda(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let held = grants::list(&mut tx, &person.organization_id, i64::MAX).await.expect("read");
    let [grant] = &held[..] else { panic!("{place}: one grant, and not {held:?}") };
    assert_eq!((grant.state, grant.reason.as_str(), &grant.person_id), (GrantState::Active, "", &person.id), "{place}");
    assert!(grant.refresh_sealed.is_some(), "{place}");
    let boxes = mailboxes::list(&mut tx, &person.organization_id, i64::MAX).await.expect("read");
    let read_under: Vec<_> = boxes.iter().map(|it| &it.grant_id).chain([&agenda.grant_id]).collect();
    assert_eq!(read_under, [&grant.id, &grant.id], "{place}");
    assert_eq!(logs::of_person(&mut tx, &person.id).await.expect("read").as_ref(), Some(&grant.id), "{place}");
    let chain = receipts::verify(&mut tx, &grant.id).await.expect("read").expect("calls were made");
    assert_eq!(chain.broken_at, None, "{place}: {chain:?}");
    assert_eq!(leavings::unfinished_of_person(&mut tx, &person.id).await.expect("read"), None, "{place}");
    drop(tx);

    let proof = session(&running.app, person).await;
    let card = text(ask(&running.app, "GET", "/settings/integrations", &proof, None).await).await;
    assert!(card.contains("Connected and live"), "{place}: {card}");
    for rest in ["id=\"problem\"", "id=\"abandoned\"", "id=\"leaving\"", "id=\"kept-out\"", "id=\"standstill\""] {
        assert!(!card.contains(rest), "{place}, {rest}: {card}");
    }
}

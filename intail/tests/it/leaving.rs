//! Leaving, whole: cut at every commit and taken up again, by the person, by an administrator, by the operator for a
//! whole organization; the receipt that proves it; and that nothing of the person is left, in any file or log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt as _};
use intail::app::{App, Parts};
use intail::connect::{self, ConnectError, Options, Permission};
use intail::id::OrganizationId;
use intail::org::audit::{Actor, Origin};
use intail::org::roles::{self, By, RoleChange};
use intail::signing::is_signed;
use intail::store::channels::{self, Channel};
use intail::store::gate::{Act, Gate, Underway};
use intail::store::leaving_receipts::{self, LeavingReceipt};
use intail::store::leavings::{self, Revocation};
use intail::store::people::{self, Person, Role};
use intail::store::{StoreError, grants, mailboxes, organizations};
use intail::sync::day_uses;
use intail_google::oauth::scope;
use intail_sandbox::action::MailAction;
use intail_sandbox::compose::Compose;
use intail_sandbox::faults::{Mischief, Rule};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use crate::access::{Proof, access_key, ask, location, session, text};
use crate::harness::postgres;
use crate::harness::running::{ADMIN, BROWSER, Running, Setup, Ticks, read};

/// Words that stand nowhere else: subject, sender's name and address, a label.
const WORDS: [&str; 4] = ["Quokkanarwhal", "Zephyrine Vextrup", "zephyrine@vextrup.example", "Tamarisklabel"];

/// Breaks work off at one commit of the database, right before it or right after it.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) at: usize,
    pub(crate) after: bool,
    pub(crate) seen: AtomicUsize,
    pub(crate) reached: Notify,
}

impl Cut {
    fn is_here(&self, act: Act, after: bool) -> bool {
        act == Act::Commit && self.after == after && self.seen.fetch_add(1, Ordering::SeqCst) == self.at
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Cutting(pub(crate) Arc<Cut>);

impl Gate for Cutting {
    fn before(&self, act: Act) -> BoxFuture<'static, Result<Underway, StoreError>> {
        let cut = self.0.clone();
        async move {
            if cut.is_here(act, false) {
                cut.reached.notify_one();
                std::future::pending::<()>().await;
            }
            let nothing: Underway = Box::new(());
            Ok(nothing)
        }
        .boxed()
    }

    fn after(&self, act: Act) -> BoxFuture<'static, Result<(), StoreError>> {
        let cut = self.0.clone();
        async move {
            if cut.is_here(act, true) {
                cut.reached.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(())
        }
        .boxed()
    }

    fn ended(&self, _: bool) {}
}

/// The same product behind a gate.
pub(crate) fn behind(app: &App, gate: Arc<dyn Gate>) -> App {
    App::new(Parts {
        config: app.config.clone(),
        store: app.store.behind(gate),
        clock: app.clock.clone(),
        random: app.random.clone(),
        keyring: app.keyring.clone(),
        google: app.google.clone(),
        receipts: app.receipts.clone(),
        turns: app.turns.clone(),
        due: app.due.clone(),
        feed: app.feed.clone(),
    })
}

async fn resume(running: &Running) {
    running.pass(Duration::from_secs(180));
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    connect::resume_leaving(&running.app, shutdown).await;
}

async fn receipts_of(running: &Running, person: &Person) -> Vec<LeavingReceipt> {
    let mut tx = running.app.store.read().await.expect("a transaction");
    leaving_receipts::of_person(&mut tx, &person.id, 100).await.expect("read")
}

async fn is_gone(running: &Running, person: &Person) -> bool {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let grant = grants::by_person(&mut tx, &person.id).await.expect("read");
    let mailbox = mailboxes::by_person(&mut tx, &person.id).await.expect("read");
    let waiting = leavings::unfinished_of_person(&mut tx, &person.id).await.expect("read");
    grant.is_none() && mailbox.is_none() && waiting.is_none()
}

/// On which side of a commit work breaks off.
#[derive(Clone, Copy, Debug)]
enum Side {
    Before,
    After,
    /// Before the first one, after the second one, and so on.
    InTurns,
}

#[tokio::test]
async fn a_crash_before_any_step_is_taken_up_again_and_ends_in_one_receipt() {
    cut_at_each_step(None, false, Side::Before).await;
}

#[tokio::test]
async fn a_crash_after_any_step_is_taken_up_again_and_ends_in_one_receipt() {
    cut_at_each_step(None, false, Side::After).await;
}

#[tokio::test]
async fn a_crash_at_any_step_is_taken_up_again_on_postgresql() {
    cut_at_each_step(Some(postgres::database().await), false, Side::InTurns).await;
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_removal_is_taken_up_again_and_ends_in_one_receipt() {
    cut_at_each_step(None, true, Side::InTurns).await;
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_removal_is_taken_up_again_on_postgresql() {
    cut_at_each_step(Some(postgres::database().await), true, Side::InTurns).await;
}

/// Lets somebody leave, or removes them, once for each commit that it takes, broken off before or after that one.
async fn cut_at_each_step(postgres: Option<String>, removes_person: bool, side: Side) {
    let running = Running::start_with(Setup { postgres, ..Setup::default() }).await;
    running.approve();
    let admin = as_administrator(&running, ADMIN).await;
    let email = running.employee();
    let let_go = async |app: &App, person: &Person| match removes_person {
        true => connect::let_go(app, person, &removed_by(&admin)).await,
        false => connect::leave(app, person, Origin::Unknown).await,
    };
    let mut receipts = 0;
    for at in 0.. {
        let after = match side {
            Side::Before => false,
            Side::After => true,
            Side::InTurns => at % 2 == 1,
        };
        let person = running.connected(&email).await;
        let cut = Arc::new(Cut { at, after, seen: AtomicUsize::new(0), reached: Notify::new() });
        let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
        let is_whole = tokio::select! {
            left = let_go(&app, &person) => left.expect("left").rows > 0,
            () = cut.reached.notified() => false,
        };
        if !is_whole {
            resume(&running).await;
            if !is_gone(&running, &person).await {
                // Before the first commit nothing had happened.
                assert_eq!((at, after), (0, false), "cut {at}, after: {after}");
                let_go(&running.app, &person).await.expect("left");
            }
        }
        assert!(is_gone(&running, &person).await, "cut {at}, after: {after}");
        let mut tx = running.app.store.read().await.expect("a transaction");
        let is_here = people::by_id(&mut tx, &person.id).await.expect("read").is_some();
        drop(tx);
        assert_eq!(is_here, !removes_person, "cut {at}, after: {after}");
        // Whoever was removed comes back as somebody new.
        receipts = if removes_person { 1 } else { receipts + 1 };
        let issued = receipts_of(&running, &person).await;
        assert_eq!(issued.len(), receipts, "cut {at}, after: {after}");
        let told: Json = serde_json::from_str(&issued[0].statement).expect("JSON");
        assert_eq!(told["google"]["permission_given_back"], "confirmed", "cut {at}, after: {after}: {told}");
        assert!(told["erased"]["messages"].as_u64() > Some(0), "cut {at}, after: {after}: {told}");
        let kind = if removes_person { "person.removed" } else { "connection.left" };
        assert_eq!(told["kind"], kind, "cut {at}, after: {after}");
        assert_eq!(told["erased"]["people"].as_u64(), removes_person.then_some(1), "{told}");
        if is_whole {
            assert!(at >= 7, "begin, stop, revoke, erase in turns, receipt: {at}");
            break;
        }
    }
    let person = running.connected(&email).await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn nobody_connects_while_the_old_rows_go_and_a_late_revocation_spares_what_came_since() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    let cut = Arc::new(Cut { at: 2, after: true, seen: AtomicUsize::new(0), reached: Notify::new() });
    running.world(|world| world.faults.add(Rule::status("oauth.revoke", 503).times(1)));
    let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
    tokio::select! {
        left = connect::leave(&app, &person, Origin::Unknown) => panic!("it is cut: {left:?}"),
        () = cut.reached.notified() => {}
    }
    let refused = connect::begin(&running.app, &person, BROWSER, Options::default()).await;
    assert!(matches!(refused, Err(ConnectError::StillLeaving)), "{refused:?}");
    let proof = session(&running.app, &person).await;
    let (_, page) = get(&running, &proof, "/settings/integrations").await;
    assert!(page.contains("id=\"leaving\"") && page.contains("Being disconnected"), "{page}");
    assert!(!page.contains("action=\"/connect/google\""), "what would be refused isn't offered: {page}");
    let admin = as_administrator(&running, ADMIN).await;
    let desk = session(&running.app, &admin).await;
    for path in ["/admin", "/admin/people?state=leaving", &format!("/admin/people/{}", person.id)] {
        let (_, page) = get(&running, &desk, path).await;
        let line = page.split("Leaving</span>").next().unwrap_or_default();
        assert!(line.contains(email.as_str()) && page.contains("Leaving"), "{path}: {page}");
    }
    let (_, waiting) = get(&running, &desk, "/admin/people?state=not_connected").await;
    assert!(!waiting.contains(email.as_str()), "nobody who leaves is asked to connect");
    resume(&running).await;
    assert!(is_gone(&running, &person).await);
    let (_, page) = get(&running, &proof, "/settings/integrations").await;
    assert!(!page.contains("id=\"leaving\"") && page.contains("action=\"/connect/google\""), "{page}");
    let (_, page) = get(&running, &desk, "/admin/people?state=not_connected").await;
    assert!(page.contains(email.as_str()) && !page.contains("Leaving"), "{page}");

    let again = running.connected(&email).await;
    resume(&running).await;
    assert_eq!(running.calls("oauth.revoke"), 1, "what was permitted since isn't revoked");
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert!(grants::by_person(&mut tx, &again.id).await.expect("read").expect("a grant").state.works());
    let issued = leaving_receipts::of_person(&mut tx, &person.id, 9).await.expect("read");
    assert!(issued[0].statement.contains(r#""permission_given_back":"overtaken""#), "{}", issued[0].statement);
}

#[tokio::test]
async fn an_administrator_who_removes_somebody_who_is_leaving_stands_in_the_audit_log_once() {
    let running = Running::start().await;
    running.approve();
    let admin = as_administrator(&running, ADMIN).await;
    let person = running.connected(&running.employee()).await;
    let cut = Arc::new(Cut { at: 1, after: true, seen: AtomicUsize::new(0), reached: Notify::new() });
    let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
    tokio::select! {
        left = connect::leave(&app, &person, Origin::Unknown) => panic!("it is cut: {left:?}"),
        () = cut.reached.notified() => {}
    }
    for _ in 0..2 {
        let busy = connect::let_go(&running.app, &person, &removed_by(&admin)).await;
        assert!(matches!(busy, Err(ConnectError::StillLeaving)), "{busy:?}");
    }
    resume(&running).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert!(people::by_id(&mut tx, &person.id).await.expect("read").is_none(), "they are removed, too");
    let log = intail::store::audit::after(&mut tx, &person.organization_id, 0, 100).await.expect("read");
    let said = |action: &str| log.iter().filter(|it| it.action == action && it.about == person.id.as_str()).count();
    assert_eq!((said("connection.left"), said("person.disconnected_by_administrator")), (1, 1));
    let entry = log.iter().find(|it| it.action == "person.disconnected_by_administrator").expect("it is there");
    assert_eq!(entry.actor, admin.id.as_str());
    assert!(entry.detail.contains("\"removes_person\":true"), "{}", entry.detail);
}

#[tokio::test]
async fn what_a_leaving_asks_of_google_counts_in_the_project_s_day() {
    let running = Running::start_with(Setup { reachable: true, ..Setup::default() }).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    running.pass(Duration::from_secs(60));
    running.work().await;
    let used = async |service: &str| {
        let (app, now) = (&running.app, running.app.clock.now());
        let mut tx = app.store.read().await.expect("a transaction");
        let all = day_uses(&mut tx, &person.organization_id, &app.config.quota, now).await.expect("read");
        all.iter().find(|it| it.service == service).map_or(0, |it| it.units)
    };
    let before = (used("gmail").await, used("calendar").await);
    connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    let channels = u64::try_from(running.calls("calendar.channels.stop")).expect("few");
    assert!(channels > 0);
    let after = (used("gmail").await, used("calendar").await);
    assert_eq!(
        (after.0 - before.0, after.1 - before.1),
        (u64::from(running.app.config.quota.units("gmail.stop")), channels)
    );
}

#[tokio::test]
async fn channels_that_google_cannot_stop_now_hold_nobody_up() {
    let running = Running::start_with(Setup { reachable: true, ..Setup::default() }).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    let open = running.world(|world| world.calls.count("calendar.events.watch"));
    assert!(open >= 2, "Google tells of more than one calendar: {open}");
    running.world(|world| world.faults.add(Rule::status("calendar.channels.stop", 503)));
    let left = connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    assert!(!left.stopped && left.revocation == Revocation::Confirmed, "{left:?}");
    assert_eq!(running.calls("calendar.channels.stop"), 1, "the first one shows it");
}

#[tokio::test]
async fn a_channel_of_which_google_s_answer_was_lost_is_not_called_stopped() {
    for is_lost in [false, true] {
        let running = Running::start_with(Setup { reachable: true, ..Setup::default() }).await;
        running.approve();
        let person = running.connected(&running.employee()).await;
        running.settle_calendars(&person).await;
        let agenda = running.agenda(&person).await;
        if is_lost {
            let mut tx = running.app.store.write().await.expect("a transaction");
            let known = channels::of_agenda(&mut tx, &agenda.id, 1).await.expect("read").pop().expect("one");
            let lost = Channel { id: "lost".to_owned(), resource_id: None, ..known };
            channels::create(&mut tx, &person.organization_id, &lost).await.expect("asked for");
            tx.commit().await.expect("committed");
        }
        let left = connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
        assert_eq!(left.stopped, !is_lost, "{left:?}");
    }
}

#[tokio::test]
async fn a_revocation_that_is_answered_by_nobody_one_understands_is_tried_again() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    let a_proxys_no = Mischief::Status {
        status: 403,
        reason: Some("blocked_by_our_proxy".to_owned()),
        message: None,
        retry_after_s: None,
    };
    running.world(|world| world.faults.add(Rule::new("oauth.revoke", a_proxys_no).times(1)));
    let left = connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    assert_eq!(left.revocation, Revocation::Open);
    resume(&running).await;
    let issued = receipts_of(&running, &person).await;
    assert!(issued[0].statement.contains(r#""permission_given_back":"confirmed""#), "{}", issued[0].statement);
}

#[tokio::test]
async fn what_is_permitted_while_the_old_rows_go_is_given_back() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    let again = Options { ask_again: true, ..Options::default() };
    let url = connect::begin(&running.app, &person, BROWSER, again).await.expect("it begins");
    // The old permission is revoked, its rows are still there, and then the person says yes at Google.
    let cut = Arc::new(Cut { at: 2, after: true, seen: AtomicUsize::new(0), reached: Notify::new() });
    let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
    tokio::select! {
        left = connect::leave(&app, &person, Origin::Unknown) => panic!("it is cut: {left:?}"),
        () = cut.reached.notified() => {}
    }
    assert_eq!(running.calls("oauth.revoke"), 1);
    let answer = running.visit(&email, url, Ticks::All).await.expect("Google sends the person back");
    let callback = read(&answer);
    let refused = connect::finish(&running.app, Some(&person), BROWSER, callback).await;
    assert!(matches!(refused, Err(ConnectError::StillLeaving)), "{refused:?}");
    assert_eq!(running.calls("oauth.revoke"), 2, "what isn't kept is given back");
    resume(&running).await;
    assert!(is_gone(&running, &person).await);
    let again = running.connected(&email).await;
    running.assert_nothing_is_lost(&again).await;
}

#[tokio::test]
async fn whoever_connects_and_leaves_in_the_same_moment_is_one_or_the_other() {
    for url in [None, Some(postgres::database().await)] {
        let running = Running::start_with(Setup { postgres: url, ..Setup::default() }).await;
        running.approve();
        let email = running.employee();
        let person = running.connected(&email).await;
        for round in 0..4 {
            let again = Options { ask_again: true, ..Options::default() };
            let url = connect::begin(&running.app, &person, BROWSER, again).await.expect("it begins");
            let answer = running.visit(&email, url, Ticks::All).await.expect("Google sends the person back");
            let (finish, leave) = futures::join!(
                connect::finish(&running.app, Some(&person), BROWSER, read(&answer)),
                connect::leave(&running.app, &person, Origin::Unknown),
            );
            assert!(matches!(finish, Ok(_) | Err(ConnectError::StillLeaving)), "round {round}: {finish:?}");
            leave.unwrap_or_else(|error| panic!("round {round}: {error}"));
            resume(&running).await;
            let mut tx = running.app.store.read().await.expect("a transaction");
            let grant = grants::by_person(&mut tx, &person.id).await.expect("read");
            drop(tx);
            match grant {
                None => assert!(is_gone(&running, &person).await, "round {round}: nothing is half there"),
                Some(grant) => {
                    assert!(finish.is_ok() && grant.state.works(), "round {round}: connected after all: {grant:?}");
                    running.settle().await;
                }
            }
            if !is_gone(&running, &person).await {
                running.assert_nothing_is_lost(&person).await;
            }
            running.connect(&person, Ticks::All).await.expect("connected again");
            running.settle().await;
            running.assert_nothing_is_lost(&person).await;
        }
    }
}

/// Holds up whoever begins a certain transaction that writes, until they may go on.
#[derive(Debug)]
struct Hold {
    at: usize,
    seen: AtomicUsize,
    reached: Notify,
    goes_on: Notify,
}

#[derive(Debug, Clone)]
struct Holding(Arc<Hold>);

impl Gate for Holding {
    fn before(&self, act: Act) -> BoxFuture<'static, Result<Underway, StoreError>> {
        let hold = self.0.clone();
        async move {
            if act == Act::BeginWrite && hold.seen.fetch_add(1, Ordering::SeqCst) == hold.at {
                hold.reached.notify_one();
                hold.goes_on.notified().await;
            }
            let nothing: Underway = Box::new(());
            Ok(nothing)
        }
        .boxed()
    }

    fn after(&self, _: Act) -> BoxFuture<'static, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }

    fn ended(&self, _: bool) {}
}

#[tokio::test]
async fn whoever_is_removed_while_they_come_back_from_google_leaves_no_permission_behind() {
    for url in [None, Some(postgres::database().await)] {
        let running = Running::start_with(Setup { postgres: url, ..Setup::default() }).await;
        running.approve();
        let admin = as_administrator(&running, ADMIN).await;
        let mut was_kept = 0;
        // The callback is taken by the first transaction; from the second on, the tokens are there.
        for at in 1..5 {
            let person = running.sign_in(&running.employee()).await;
            let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
            let answer = running.visit(&person.email, url, Ticks::All).await.expect("Google sends the person back");
            let revoked = running.calls("oauth.revoke");
            let (reached, goes_on) = (Notify::new(), Notify::new());
            let hold = Arc::new(Hold { at, seen: AtomicUsize::new(0), reached, goes_on });
            let app = behind(&running.app, Arc::new(Holding(hold.clone())));
            let remove = async {
                hold.reached.notified().await;
                connect::let_go(&running.app, &person, &removed_by(&admin)).await.expect("removed");
                hold.goes_on.notify_one();
            };
            let finish = connect::finish(&app, Some(&person), BROWSER, read(&answer));
            let finish = std::pin::pin!(finish);
            let finished = match futures::future::select(finish, std::pin::pin!(remove)).await {
                Either::Left((finished, _)) => {
                    assert!(at > 2 && finished.is_ok(), "{at}: {finished:?}");
                    connect::let_go(&running.app, &person, &removed_by(&admin)).await.expect("removed");
                    finished
                }
                Either::Right(((), finish)) => finish.await,
            };
            assert!(matches!(finished, Ok(_) | Err(ConnectError::Removed)), "{at}: {finished:?}");
            was_kept += usize::from(finished.is_ok());
            assert_eq!(running.calls("oauth.revoke"), revoked + 1, "{at}: what they permitted is given back");
            assert!(is_gone(&running, &person).await, "{at}");
            let mut tx = running.app.store.read().await.expect("a transaction");
            assert!(people::by_id(&mut tx, &person.id).await.expect("read").is_none(), "{at}");
            let log = intail::store::audit::after(&mut tx, &person.organization_id, 0, 1000).await.expect("read");
            let said = log.iter().filter(|it| it.about == person.id.as_str() && it.detail.contains("removed\"}"));
            assert_eq!(said.count(), usize::from(finished.is_err()), "{at}: {log:?}");
        }
        assert!((1..4).contains(&was_kept), "both are played: {was_kept}");
    }
}

#[tokio::test]
async fn whoever_is_removed_and_comes_back_in_the_same_moment_is_not_half_there() {
    let running = Running::start_with(Setup { postgres: Some(postgres::database().await), ..Setup::default() }).await;
    running.approve();
    let admin = as_administrator(&running, ADMIN).await;
    for round in 0..12 {
        let person = running.sign_in(&running.employee()).await;
        let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
        let answer = running.visit(&person.email, url, Ticks::All).await.expect("Google sends the person back");
        let revoked = running.calls("oauth.revoke");
        let exchanged = running.calls("oauth.token");
        let wish = removed_by(&admin);
        let (finish, left) = futures::join!(
            connect::finish(&running.app, Some(&person), BROWSER, read(&answer)),
            connect::let_go(&running.app, &person, &wish),
        );
        left.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let known =
            [ConnectError::Removed.word(), ConnectError::StillLeaving.word(), ConnectError::UnknownState.word()];
        let word = finish.as_ref().map_or_else(ConnectError::word, |_| known[0]);
        assert!(known.contains(&word), "round {round}: {finish:?}");
        // Whoever was removed before they were back is a stranger: their code is never exchanged.
        let gave = running.calls("oauth.token") - exchanged;
        assert_eq!(running.calls("oauth.revoke"), revoked + gave, "round {round}: {finish:?}");
        assert!(is_gone(&running, &person).await, "round {round}: {finish:?}");
    }
}

#[tokio::test]
async fn a_late_revocation_spares_an_account_that_is_connected_again_as_somebody_new() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    let admin = as_administrator(&running, ADMIN).await;
    running.world(|world| world.faults.add(Rule::status("oauth.revoke", 503).times(1)));
    let left = connect::let_go(&running.app, &person, &removed_by(&admin)).await.expect("removed");
    assert_eq!(left.revocation, Revocation::Open);

    let again = running.connected(&email).await;
    assert_ne!(again.id, person.id, "they are somebody new");
    resume(&running).await;
    assert_eq!(running.calls("oauth.revoke"), 1, "what the account permitted since isn't revoked");
    running.act(&email, MailAction::sample());
    running.settle().await;
    running.assert_nothing_is_lost(&again).await;
    let issued = receipts_of(&running, &person).await;
    assert!(issued[0].statement.contains(r#""permission_given_back":"overtaken""#), "{}", issued[0].statement);
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert_eq!(leavings::by_id(&mut tx, &left.receipt).await.expect("read"), None, "nothing of it is kept on");
}

async fn get(running: &Running, proof: &Proof, path: &str) -> (u16, String) {
    let answer = ask(&running.app, "GET", path, proof, None).await;
    (answer.status().as_u16(), text(answer).await)
}

#[tokio::test]
async fn a_receipt_of_leaving_is_signed_and_says_nothing_but_counts() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let (person, other) = (running.connected(&one).await, running.sign_in(&two).await);
    let left = connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    let (mine, theirs) = (session(&running.app, &person).await, session(&running.app, &other).await);
    let path = format!("/receipt/left/{}", left.receipt);
    let (status, document) = get(&running, &mine, &path).await;
    assert_eq!(status, 200);
    assert_eq!(get(&running, &theirs, &path).await.0, 404, "another's isn't there");
    let document: Json = serde_json::from_str(&document).expect("JSON");
    let (_, keys) = get(&running, &Proof::Nothing, "/api/v1/receipts/key").await;
    let keys: Json = serde_json::from_str(&keys).expect("JSON");
    assert_eq!(keys["keys"][0]["id"], document["key"]);
    let of = |key: &str| document[key].as_str().expect("text").to_owned();
    let key = keys["keys"][0]["public_key"].as_str().expect("a key");
    assert!(is_signed(key, &of("statement"), &of("signature")));
    assert!(!is_signed(key, &of("statement").replace("true", "false"), &of("signature")));

    let told: Json = serde_json::from_str(&of("statement")).expect("JSON");
    assert_eq!((&told["kind"], &told["by"]), (&Json::from("connection.left"), &Json::from("person")));
    assert_eq!(told["google"]["pushes_stopped"], true);
    assert!(told["erased"]["messages"].as_u64().expect("a count") > 50, "{told}");
    assert!(told["calls"]["calls"].as_i64().expect("a count") > 10, "{told}");
    assert_eq!(told["calls"]["last_hash"].as_str().map(str::len), Some(64));
    assert!(!of("statement").contains('@'), "no address: {told}");
    let (_, page) = get(&running, &mine, "/receipt/left").await;
    assert!(page.contains(left.receipt.as_str()) && page.contains("Google confirmed"), "{page}");
}

async fn as_administrator(running: &Running, email: &str) -> Person {
    let person = running.sign_in(email).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &person.id, Role::Administrator).await.expect("written");
    tx.commit().await.expect("committed");
    person
}

/// The form token of a page, as its forms carry it.
fn form_token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("a form");
    rest.split_once('"').expect("a value").0.to_owned()
}

#[tokio::test]
async fn an_administrator_disconnects_and_removes_people_of_their_own_organization_only() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let (first, second) = (running.connected(&one).await, running.connected(&two).await);
    let admin = as_administrator(&running, ADMIN).await;
    let proof = session(&running.app, &admin).await;
    let path = |person: &Person| format!("/admin/people/{}/disconnect", person.id);

    let (status, page) = get(&running, &proof, &path(&first)).await;
    assert!(status == 200 && page.contains(&one) && page.contains("What else this ends"), "{page}");
    let form = format!("form_token={}", form_token(&page));
    let answer = ask(&running.app, "POST", &path(&first), &proof, Some(&form)).await;
    assert_eq!(answer.status(), 303);
    let done = location(&answer).expect("to what was done");
    assert!(get(&running, &proof, &done).await.1.contains("Google confirmed that it is taken back"));
    assert!(is_gone(&running, &first).await && !is_gone(&running, &second).await);
    let issued = receipts_of(&running, &first).await;
    assert!(issued[0].statement.contains(r#""by":"administrator""#), "{}", issued[0].statement);
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert!(people::by_id(&mut tx, &first.id).await.expect("read").is_some(), "the person stays");
    drop(tx);
    // Who isn't connected can only be removed, and the page offers nothing else.
    let (_, page) = get(&running, &proof, &path(&first)).await;
    assert!(page.contains("id=\"nothing\"") && page.contains("Remove the person"), "{page}");
    let answer = ask(&running.app, "POST", &path(&first), &proof, Some(&form)).await;
    assert_eq!(answer.status(), 404);
    let told = text(answer).await;
    assert!(told.contains("This person isn’t connected") && told.contains("Open People"), "{told}");

    // The second goes altogether. Nobody removes themselves.
    let removing = format!("{form}&remove=yes");
    let answer = ask(&running.app, "POST", &path(&second), &proof, Some(&removing)).await;
    assert_eq!(answer.status(), 303);
    let removed = location(&answer).expect("to what was done");
    assert_eq!(get(&running, &proof, &removed).await.0, 200);
    let answer = ask(&running.app, "POST", &path(&second), &proof, Some(&removing)).await;
    assert_eq!(answer.status(), 404, "twice does nothing more");
    assert!(text(answer).await.contains("Open People"), "and leads back to people");
    let answer = ask(&running.app, "POST", &path(&admin), &proof, Some(&removing)).await;
    assert_eq!(answer.status(), 404, "nothing is connected, and nobody is removed");
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert!(people::by_id(&mut tx, &second.id).await.expect("read").is_none());
    assert!(people::by_id(&mut tx, &admin.id).await.expect("read").is_some());
    drop(tx);
    let (_, list) = get(&running, &proof, "/admin/receipts").await;
    let gone = receipts_of(&running, &second).await;
    assert!(list.contains(gone[0].id.as_str()) && list.contains("Person removed") && !list.contains(&two), "{list}");
    let download = format!("/admin/receipts/{}", gone[0].id);
    assert_eq!(get(&running, &proof, &download).await.0, 200);

    // An administrator of another organization finds nobody and nothing.
    let third = running.connected(&one).await;
    let stranger = {
        let mut tx = running.app.store.write().await.expect("a transaction");
        let id = OrganizationId::new(&running.app.random);
        organizations::create(&mut tx, &id, "Other", running.app.clock.now()).await.expect("created");
        let stranger = Person {
            id: intail::id::PersonId::new(&running.app.random),
            organization_id: id,
            subject: "stranger".to_owned(),
            email: "boss@other.example".to_owned(),
            role: Role::Administrator,
            ..admin.clone()
        };
        people::create(&mut tx, &stranger, running.app.clock.now()).await.expect("created");
        tx.commit().await.expect("committed");
        stranger
    };
    let foreign = session(&running.app, &stranger).await;
    assert_eq!(get(&running, &foreign, &path(&third)).await.0, 404);
    assert_eq!(get(&running, &foreign, &download).await.0, 404);
    assert_eq!(get(&running, &foreign, &removed).await.0, 404);
    let (_, page) = get(&running, &foreign, &path(&stranger)).await;
    let form = format!("form_token={}&remove=yes", form_token(&page));
    let answer = ask(&running.app, "POST", &path(&third), &foreign, Some(&form)).await;
    assert_eq!(answer.status(), 404);
    assert!(!is_gone(&running, &third).await);
    let (_, page) = get(&running, &foreign, "/admin/receipts").await;
    assert!(page.contains("No receipts"), "{page}");
}

fn removed_by(person: &Person) -> connect::Wish {
    connect::Wish { actor: Actor::Person(person.id.clone()), origin: Origin::Unknown, removes_person: true }
}

async fn administrators(running: &Running, organization: &OrganizationId) -> i64 {
    let mut tx = running.app.store.read().await.expect("a transaction");
    people::administrators(&mut tx, organization).await.expect("counted")
}

#[tokio::test]
async fn two_administrators_who_remove_each_other_at_once_leave_one() {
    for url in [None, Some(postgres::database().await)] {
        let running = Running::start_with(Setup { postgres: url, ..Setup::default() }).await;
        let one = as_administrator(&running, ADMIN).await;
        let two = as_administrator(&running, &running.employee()).await;
        let (first, second) = (removed_by(&two), removed_by(&one));
        let left =
            futures::join!(connect::let_go(&running.app, &one, &first), connect::let_go(&running.app, &two, &second),);
        let refused = |left: &Result<_, ConnectError>| matches!(left, Err(ConnectError::LastAdministrator));
        assert!(left.0.is_ok() && refused(&left.1) || left.1.is_ok() && refused(&left.0), "{left:?}");
        assert_eq!(administrators(&running, &one.organization_id).await, 1);
    }
}

#[tokio::test]
async fn whoever_is_being_removed_is_no_administrator_from_the_first_commit_on() {
    let running = Running::start().await;
    running.approve();
    let one = as_administrator(&running, ADMIN).await;
    let two = as_administrator(&running, &running.connected(&running.employee()).await.email).await;
    let (browser, program) = (session(&running.app, &two).await, access_key(&running.app, &two).await);
    assert_eq!(get(&running, &browser, "/admin/people").await.0, 200);
    let cut = Arc::new(Cut { at: 0, after: true, seen: AtomicUsize::new(0), reached: Notify::new() });
    let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
    let wish = removed_by(&one);
    tokio::select! {
        left = connect::let_go(&app, &two, &wish) => panic!("it is cut: {left:?}"),
        () = cut.reached.notified() => {}
    }
    let (status, _) = get(&running, &browser, "/admin/people").await;
    assert!((300..400).contains(&status), "their browser is signed out: {status}");
    assert_eq!(get(&running, &program, "/api/v1/receipt").await.0, 401, "their programs are, too");

    // Made an administrator again meanwhile, they still don't count as one who stays.
    let mut tx = running.app.store.write().await.expect("a transaction");
    let found = people::by_id(&mut tx, &two.id).await.expect("read").expect("until the end");
    assert_eq!(found.role, Role::Member);
    people::set_role(&mut tx, &two.id, Role::Administrator).await.expect("written");
    let organization = &one.organization_id;
    let demoted = roles::change(&mut tx, organization, &one.id, Role::Member, By::operator(), running.app.clock.now());
    assert_eq!(demoted.await.expect("it ran"), RoleChange::LastAdministrator);
    tx.commit().await.expect("committed");

    resume(&running).await;
    assert!(is_gone(&running, &two).await);
    assert_eq!(administrators(&running, organization).await, 1);
    let told: Json = serde_json::from_str(&receipts_of(&running, &two).await[0].statement).expect("JSON");
    let counted = |kind: &str| told["erased"][kind].as_u64();
    assert_eq!((counted("signed-in browsers"), counted("access keys")), (Some(1), Some(1)), "{told}");
    let again = connect::let_go(&running.app, &one, &wish).await;
    assert!(matches!(again, Err(ConnectError::LastAdministrator)), "{again:?}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Without what the false Google says: it is no part of the product.
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("nobody panicked");
        let text = String::from_utf8_lossy(&bytes);
        text.lines().filter(|line| !line.contains("intail_sandbox")).map(|line| format!("{line}\n")).collect()
    }
}

/// Words of an appointment that stand nowhere else: title, place, guest.
const APPOINTMENT: [&str; 3] = ["Quandongsummit", "Vextrup Pavilion", "zephyr@quandong.example"];

/// Somebody with mail and an appointment that have words of their own; answers what must be gone afterwards.
async fn with_words(running: &Running, email: &str) -> (Person, Vec<String>) {
    let person = running.connected(email).await;
    running.act(
        email,
        MailAction::Receive {
            from: Some(format!("{} <{}>", WORDS[1], WORDS[2])),
            compose: Some(Compose { to: email.to_owned(), subject: WORDS[0].to_owned(), ..Compose::default() }),
            headers: None,
            label_ids: None,
            thread_id: None,
            internal_date_ms: None,
            count: 1,
        },
    );
    running.act(email, MailAction::CreateLabel { name: WORDS[3].to_owned() });
    // The names of labels come with the watch's renewal, 28 hours after the last one at most.
    running.pass(Duration::from_secs(28 * 3600));
    running.settle().await;
    let stored = running.stored(&person).await;
    assert!(stored.values().any(|it| it.subject == WORDS[0]), "the letter is copied");
    let mut words: Vec<String> = WORDS.iter().map(|it| (*it).to_owned()).collect();
    words.extend(stored.into_keys());
    let [title, location, guest] = APPOINTMENT;
    let event = json!({"title": title, "start": "2026-12-02T10:00", "location": location, "guests": [guest]});
    let id = running.plan(email, json!({"action": "create", "event": event}));
    running.take_calendar_notices().await;
    running.pass(Duration::from_secs(3600));
    running.settle_calendars(&person).await;
    words.extend(APPOINTMENT.map(str::to_owned));
    words.push(id);
    words.push(running.mailbox(&person).await.id.to_string());
    (person, words)
}

/// The bytes of every file of the product, read while it runs.
fn files(running: &Running) -> String {
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(running.directory()).expect("the directory") {
        bytes.extend(std::fs::read(file.expect("an entry").path()).expect("a file"));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn found<'a>(words: &'a [String], text: &str) -> Vec<&'a String> {
    words.iter().filter(|word| text.contains(word.as_str())).collect()
}

#[tokio::test]
async fn nothing_of_a_person_who_left_is_in_a_file_or_in_the_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // With a single subscriber, tracing asks the thread that comes first whether a place in the code is worth a line.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _logging = tracing::subscriber::set_default(subscriber);
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    // With mail alone: what a colleague's own calendar says of somebody who left stays the colleague's, and what others
    // let Intail read of the organization's directory is theirs to keep.
    let stays = running.sign_in(&two).await;
    running.connect(&stays, Ticks::Only(&[scope::GMAIL_METADATA])).await.expect("connected");
    running.settle().await;
    let (person, mut words) = with_words(&running, &one).await;
    // The mailbox's id stays in the feed's last word about it, and in the log.
    let mailbox = words.pop().expect("the mailbox");
    let shared = running.stored(&stays).await;
    words.retain(|it| !shared.contains_key(it));
    assert!(words.len() > 50 && found(&words, &files(&running)).len() == words.len(), "they are there before");

    connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    assert_eq!(found(&words, &files(&running)), Vec::<&String>::new(), "in a file of the running product");
    assert!(files(&running).contains(&mailbox), "the feed says by id that the mailbox was erased");

    // The person goes too: with them the address, the name and Google's id for them.
    let admin = as_administrator(&running, ADMIN).await;
    let wish = connect::Wish { actor: Actor::Person(admin.id), origin: Origin::Unknown, removes_person: true };
    words.extend([person.email.clone(), person.subject.clone()]);
    words.extend(Some(person.name.clone()).filter(|it| !it.is_empty()));
    let left = connect::let_go(&running.app, &person, &wish).await.expect("removed");
    assert_eq!(left.revocation, Revocation::Unneeded);
    assert_eq!(found(&words, &files(&running)), Vec::<&String>::new(), "in a file, after the person was removed");
    running.assert_nothing_is_lost(&stays).await;

    let log = log.text();
    assert!(
        log.contains("gmail.messages.get") && log.contains("a person leaves"),
        "there is something to look through"
    );
    let told = words.iter().filter_map(|word| log.lines().find(|line| line.contains(word.as_str())));
    assert_eq!(told.map(|line| line.chars().take(400).collect()).collect::<Vec<String>>(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_of_a_person_who_left_is_in_any_column_of_postgresql() {
    let url = postgres::database().await;
    let running = Running::start_with(Setup { postgres: Some(url.clone()), ..Setup::default() }).await;
    running.approve();
    let (person, mut words) = with_words(&running, &running.employee()).await;
    let mailbox = words.pop().expect("the mailbox");
    let mut connection = PgConnection::connect(&url).await.expect("connected");
    let before = everything(&mut connection).await;
    let missing: Vec<&String> = words.iter().filter(|it| !before.contains(it.as_str())).collect();
    assert_eq!(missing, Vec::<&String>::new(), "they are there before");
    connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    assert_eq!(found(&words, &everything(&mut connection).await), Vec::<&String>::new());
    assert!(everything(&mut connection).await.contains(&mailbox), "by id only");
}

#[tokio::test]
async fn what_stays_of_a_person_who_disconnects_is_named_in_the_receipt() {
    // Where it stays, and by which words the receipt names it.
    let named = [
        ("people", "role"),
        ("sessions", "signed-in browsers"),
        ("access_keys", "access keys"),
        ("sign_in_links", "links to sign in"),
        ("privacy_choices", "privacy settings"),
        ("attempts", "attempts to connect"),
        ("approval_waits", "the wish to be told"),
        ("changes", "in the feed"),
        ("leaving_receipts", "this receipt"),
    ];
    let url = postgres::database().await;
    let running = Running::start_with(Setup { postgres: Some(url.clone()), ..Setup::default() }).await;
    running.approve();
    let (one, two) = running.employees();
    // Somebody else lets Intail read the directory, so that it stays.
    let stays = running.sign_in(&two).await;
    running.connect(&stays, Ticks::Only(&[Permission::Directory.scope()])).await.expect("connected");
    let person = running.connected(&one).await;
    session(&running.app, &person).await;
    access_key(&running.app, &person).await;
    let (organization, now) = (&person.organization_id, running.app.clock.now());
    let mut tx = running.app.store.write().await.expect("a transaction");
    let choice = intail::store::privacy::Policy::default();
    intail::store::privacy::put_choice(&mut tx, organization, &person.id, &choice, now).await.expect("put");
    intail::store::approval_waits::put(&mut tx, &person.id, organization, now).await.expect("put");
    let whom = intail::org::links::For::Person(&person);
    intail::org::links::make(&mut tx, &whom, "hash", By::operator(), now).await.expect("made");
    tx.commit().await.expect("committed");
    let left = connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    let told: Json = serde_json::from_str(&receipts_of(&running, &person).await[0].statement).expect("JSON");
    let kept = told["kept"].to_string();
    for elsewhere in ["organization's directory, if it has one", "colleagues' own mail and calendars", "backups"] {
        assert!(kept.contains(elsewhere), "{elsewhere}: {kept}");
    }

    let mut connection = PgConnection::connect(&url).await.expect("connected");
    let tables = "SELECT table_name::text FROM information_schema.columns
                  WHERE table_schema = 'public' AND (column_name = 'person_id' OR table_name = 'people' AND
                      column_name = 'id')";
    let mut stays = Vec::new();
    for table in sqlx::query(tables).fetch_all(&mut connection).await.expect("the tables") {
        let table: String = table.get(0);
        let column = if table == "people" { "id" } else { "person_id" };
        let count = format!("SELECT COUNT(*) FROM {table} WHERE {column} = $1");
        let count = sqlx::query(AssertSqlSafe(count)).bind(person.id.as_str()).fetch_one(&mut connection).await;
        if count.expect("counted").get::<i64, _>(0) > 0 {
            stays.push(table);
        }
    }
    stays.sort();
    let mut expected: Vec<&str> = named.iter().map(|(table, _)| *table).collect();
    expected.sort_unstable();
    assert_eq!(stays, expected, "{}", left.receipt);
    for (table, words) in named {
        assert!(kept.contains(words), "{table}: {words} in {kept}");
    }
}

/// Every text of every column of every table.
async fn everything(connection: &mut PgConnection) -> String {
    let columns = "SELECT table_name::text, column_name::text FROM information_schema.columns
                   WHERE table_schema = 'public' AND data_type = 'text' ORDER BY 1, 2";
    let columns = sqlx::query(columns).fetch_all(&mut *connection).await.expect("the columns");
    assert!(columns.len() > 60, "{}", columns.len());
    let mut text = String::new();
    for column in columns {
        let (table, name): (String, String) = (column.get(0), column.get(1));
        let values = format!("SELECT COALESCE(STRING_AGG({name}, ' '), '') FROM {table}");
        let values = sqlx::query(AssertSqlSafe(values)).fetch_one(&mut *connection).await.expect("the values");
        text.push_str(values.get(0));
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn a_whole_organization_goes_and_a_cut_is_taken_up() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let (first, second) = (running.connected(&one).await, running.connected(&two).await);
    let stranger = OrganizationId::new(&running.app.random);
    let mut tx = running.app.store.write().await.expect("a transaction");
    organizations::create(&mut tx, &stranger, "Other", running.app.clock.now()).await.expect("created");
    tx.commit().await.expect("committed");
    let words = [first.email.clone(), second.email.clone(), first.subject.clone(), first.organization_id.to_string()];
    let organization = first.organization_id.clone();
    for at in (0..).step_by(3) {
        let cut = Arc::new(Cut { at, after: true, seen: AtomicUsize::new(0), reached: Notify::new() });
        let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
        let is_cut = tokio::select! {
            removed = connect::remove_organization(&app, &organization) => {
                removed.expect("nothing fails");
                false
            }
            () = cut.reached.notified() => true,
        };
        running.pass(Duration::from_secs(180));
        if !is_cut {
            break;
        }
    }
    // Asked once more, it answers the receipt: whoever was cut off while it was printed gets it again.
    let receipt = connect::remove_organization(&running.app, &organization).await.expect("removed");
    let receipt = receipt.expect("it is done");
    let told: Json = serde_json::from_str(&receipt.statement).expect("JSON");
    assert_eq!((&told["kind"], &told["by"]), (&Json::from("organization.removed"), &Json::from("operator")));
    assert!(told["people"] == 3, "two employees and the administrator: {told}");
    assert_eq!(told["google"]["permissions"], 2);
    let kept: Vec<&str> = told["kept"].as_array().expect("a list").iter().filter_map(Json::as_str).collect();
    assert!(kept.len() == 2 && kept[0] == "this receipt" && kept[1].starts_with("backups"), "{kept:?}");
    assert_eq!(told["google"]["permissions_given_back"], json!({"confirmed": 2}), "{told}");
    assert!(told["erased"]["messages"].as_u64().expect("a count") > 100, "{told}");
    assert!(told["erased"]["organizations"] == 1 && told["erased"]["domains"].as_u64() >= Some(1), "{told}");
    let mut tx = running.app.store.read().await.expect("a transaction");
    let left = organizations::list(&mut tx, 9).await.expect("read");
    assert_eq!(left.iter().map(|it| &it.id).collect::<Vec<_>>(), [&stranger], "another organization stays");
    drop(tx);
    let found = found(&words, &files(&running)).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(found, [organization.to_string()], "only the receipt names it, by id");
    let unknown = connect::remove_organization(&running.app, &OrganizationId::new(&running.app.random)).await;
    assert!(matches!(unknown, Err(ConnectError::NotConnected)), "{unknown:?}");
    running.connect(&first, Ticks::All).await.expect_err("nobody connects for somebody who has gone");
}

#[tokio::test]
async fn an_organization_s_receipt_says_what_google_has_not_confirmed_and_nothing_comes_back_when_it_does() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let (first, second) = (running.connected(&one).await, running.connected(&two).await);
    let organization = first.organization_id.clone();
    // Google can't take the first one's permission back for now, and doesn't stop the second one's pushes.
    running.world(|world| {
        world.faults.add(Rule::status("oauth.revoke", 503).times(1));
        world.faults.add(Rule::status("gmail.users.stop", 503).times(1));
    });
    let receipt = connect::remove_organization(&running.app, &organization).await.expect("removed").expect("done");
    let told: Json = serde_json::from_str(&receipt.statement).expect("JSON");
    let google = json!({
        "permissions": 2,
        "pushes_stopped": 1,
        "permissions_given_back": {"confirmed": 1, "open": 1},
    });
    assert_eq!(told["google"], google, "{told}");
    assert!(
        told["kept"][1].as_str().is_some_and(|it| it.starts_with("sealed tokens of people who left (1)")),
        "{told}"
    );
    let asked = running.calls("oauth.revoke");
    resume(&running).await;
    assert_eq!(running.calls("oauth.revoke"), asked + 1, "it is tried until Google confirms");
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert_eq!(leavings::revocations_open(&mut tx, &organization).await.expect("counted"), 0);
    let left = leaving_receipts::of_organization(&mut tx, &organization, 9).await.expect("read");
    assert_eq!(left.iter().map(|it| &it.id).collect::<Vec<_>>(), [&receipt.id], "the one that stands for all");
    for person in [&first, &second] {
        assert_eq!(leaving_receipts::of_person(&mut tx, &person.id, 9).await.expect("read"), []);
    }
}

#[tokio::test]
async fn who_had_gone_before_an_organization_isn_t_counted_in_its_receipt_although_google_confirms_late() {
    let running = Running::start().await;
    running.approve();
    let admin = as_administrator(&running, ADMIN).await;
    let (one, two) = running.employees();
    let (first, _) = (running.connected(&one).await, running.connected(&two).await);
    running.world(|world| world.faults.add(Rule::status("oauth.revoke", 503).times(1)));
    connect::let_go(&running.app, &first, &removed_by(&admin)).await.expect("removed");
    let told: Json = serde_json::from_str(&receipts_of(&running, &first).await[0].statement).expect("JSON");
    assert_eq!(told["google"]["permission_given_back"], "open", "{told}");

    running.pass(Duration::from_secs(3_600));
    let organization = first.organization_id.clone();
    let cut = Arc::new(Cut { at: 0, after: true, seen: AtomicUsize::new(0), reached: Notify::new() });
    let app = behind(&running.app, Arc::new(Cutting(cut.clone())));
    tokio::select! {
        removed = connect::remove_organization(&app, &organization) => panic!("not cut: {removed:?}"),
        () = cut.reached.notified() => {}
    }
    resume(&running).await;
    let receipt = connect::remove_organization(&running.app, &organization).await.expect("removed").expect("done");
    let told: Json = serde_json::from_str(&receipt.statement).expect("JSON");
    assert_eq!((&told["people"], &told["google"]["permissions"]), (&json!(2), &json!(1)), "{told}");
}

// ---- the access receipt ----

#[tokio::test]
async fn a_person_sees_every_call_with_its_reason_and_can_verify_the_export() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let (person, other) = (running.connected(&one).await, running.connected(&two).await);
    running.act(&one, MailAction::sample());
    running.settle().await;
    let (mine, theirs) = (session(&running.app, &person).await, session(&running.app, &other).await);

    let (_, page) = get(&running, &mine, "/receipt?check=yes").await;
    for words in ["Something changed", "Copying what was there before", "Counting against Google", "Whole", "Export"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let key = access_key(&running.app, &person).await;
    let mut calls = Vec::new();
    let mut before = String::new();
    for _ in 0..100 {
        let (_, answer) = get(&running, &key, &format!("/api/v1/receipt{before}")).await;
        let answer: Json = serde_json::from_str(&answer).expect("JSON");
        calls.extend(answer["calls"].as_array().expect("calls").clone());
        match answer["next"].as_i64() {
            Some(next) => before = format!("?before={next}"),
            None => break,
        }
    }
    let asked = running.world(|world| world.calls.iter().filter(|it| it.call == "gmail.users.messages.get").count());
    let listed = |export: &[Json], call: &str| export.iter().filter(|it| it["call"] == call).count();
    assert!(
        listed(&calls, "gmail.messages.get") > 10 && listed(&calls, "gmail.messages.get") < asked,
        "their own only"
    );

    assert_eq!(listed(&calls, "oauth.exchange"), 1, "from the first one on");
    let (_, export) = get(&running, &mine, "/receipt/export.jsonl").await;
    let lines: Vec<Json> = export.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| lines.iter().filter(|it| it["kind"] == kind).cloned().collect::<Vec<_>>();
    assert_eq!(of("call").len(), calls.len());
    let total: i64 = of("total").iter().map(|it| it["calls"].as_i64().expect("a count")).sum();
    assert_eq!(usize::try_from(total).expect("a count"), calls.len(), "the sums are those of the calls");
    let first = &lines[0];
    let mut previous = first["chain"]["checkpoint_hash"].as_str().expect("a hash").to_owned();
    let grant = first["permission"].as_str().expect("an id").parse().expect("an id");
    for batch in of("batch") {
        assert_eq!(batch["previous"], previous.as_str());
        let (number, text) = (batch["batch"].as_i64().expect("a number"), batch["lines"].as_str().expect("lines"));
        previous = intail::org::receipts::hash(&previous, &grant, number, text);
        assert_eq!(batch["hash"], previous.as_str());
    }
    assert_eq!(first["chain"]["last_hash"], previous.as_str());
    let field = |name: &str| first[name].as_str().expect("text").to_owned();
    assert!(field("vouched").contains(&previous));
    assert!(is_signed(&field("public_key"), &field("vouched"), &field("signature")));
    let (_, other) = get(&running, &theirs, "/receipt/export.jsonl").await;
    assert!(!other.contains(&field("permission")), "nobody sees another's");

    let (_, checked) = get(&running, &key, "/api/v1/receipt/verify").await;
    let checked: Json = serde_json::from_str(&checked).expect("JSON");
    assert!(checked["whole"] == true && checked["signature"].is_string(), "{checked}");
}

#[tokio::test]
async fn what_was_asked_for_an_attempt_that_was_refused_stands_in_the_receipt_and_the_log_goes_on() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = running.employees();
    let person = running.sign_in(&one).await;
    let mine = session(&running.app, &person).await;
    let other = Options { choose_account: true, ..Options::default() };
    running.connect_as(&person, &two, Ticks::All, other).await.expect_err("not theirs");
    running.app.receipts.write(&running.app.store, running.app.clock.now()).await.expect("written");
    let (_, page) = get(&running, &mine, "/receipt?check=yes").await;
    assert!(page.contains("Whole") && page.contains("2 calls"), "the exchange and the revocation: {page}");
    let (_, export) = get(&running, &mine, "/receipt/export.jsonl").await;
    let lines =
        |export: &str| -> Vec<Json> { export.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect() };
    let asked = |lines: &[Json]| -> Vec<String> {
        let calls = lines.iter().filter(|it| it["kind"] == "call");
        calls.filter_map(|it| it["call"].as_str().map(str::to_owned)).collect()
    };
    let before = lines(&export);
    assert_eq!(asked(&before), ["oauth.exchange", "oauth.revoke"]);
    assert_eq!((&before[0]["account"], before[0]["permission"].is_string()), (&Json::Null, true), "{}", before[0]);

    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    let (_, export) = get(&running, &mine, "/receipt/export.jsonl").await;
    let after = lines(&export);
    assert_eq!(after[0]["permission"], before[0]["permission"], "one log");
    assert_eq!(asked(&after)[..3], ["oauth.exchange", "oauth.revoke", "oauth.exchange"]);
    let (_, page) = get(&running, &mine, "/receipt?check=yes").await;
    assert!(page.contains("Whole"), "{page}");
}

#[tokio::test]
async fn the_receipt_of_somebody_who_never_connected_counts_what_was_asked_for_a_refused_attempt() {
    let running = Running::start().await;
    running.approve();
    let admin = as_administrator(&running, ADMIN).await;
    let (one, two) = running.employees();
    let person = running.sign_in(&one).await;
    let other = Options { choose_account: true, ..Options::default() };
    running.connect_as(&person, &two, Ticks::All, other).await.expect_err("not theirs");
    connect::let_go(&running.app, &person, &removed_by(&admin)).await.expect("removed");
    let told: Json = serde_json::from_str(&receipts_of(&running, &person).await[0].statement).expect("JSON");
    assert_eq!((&told["calls"]["calls"], &told["calls"]["last_batch"]), (&json!(2), &json!(1)), "{told}");
    assert_eq!((&told["erased"]["call logs"], &told["erased"]["logs of calls"]), (&json!(1), &json!(1)), "{told}");
}

#[tokio::test]
async fn a_batch_that_was_changed_or_taken_out_shows() {
    let url = postgres::database().await;
    let running = Running::start_with(Setup { postgres: Some(url.clone()), ..Setup::default() }).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    let key = access_key(&running.app, &person).await;
    let mut connection = PgConnection::connect(&url).await.expect("connected");
    let broken_at = async |key: &Proof| {
        let (_, checked) = get(&running, key, "/api/v1/receipt/verify").await;
        let checked: Json = serde_json::from_str(&checked).expect("JSON");
        assert_eq!(checked["whole"] == true, checked["signature"].is_string(), "nobody vouches for a broken chain");
        checked["chain"]["broken_at"].as_i64()
    };
    assert_eq!(broken_at(&key).await, None);
    for (change, undo) in [
        (
            "UPDATE receipt_batches SET lines = lines || ' ' WHERE batch = 2",
            "UPDATE receipt_batches SET lines = RTRIM(lines) WHERE batch = 2",
        ),
        (
            "UPDATE receipt_batches SET batch = -2 WHERE batch = 2",
            "UPDATE receipt_batches SET batch = 2 WHERE batch = -2",
        ),
    ] {
        sqlx::query(change).execute(&mut connection).await.expect("changed");
        assert_eq!(broken_at(&key).await, Some(2), "{change}");
        sqlx::query(undo).execute(&mut connection).await.expect("undone");
        assert_eq!(broken_at(&key).await, None, "{undo}");
    }
    // The newest one away: the chain's end still tells.
    let last = "DELETE FROM receipt_batches WHERE batch = (SELECT MAX(batch) FROM receipt_batches)";
    sqlx::query(last).execute(&mut connection).await.expect("changed");
    assert!(broken_at(&key).await.is_some());
    let session = session(&running.app, &person).await;
    let (_, page) = get(&running, &session, "/receipt?check=yes").await;
    assert!(page.contains("Broken"), "{page}");
    let (_, export) = get(&running, &session, "/receipt/export.jsonl").await;
    let first: Json = serde_json::from_str(export.lines().next().expect("a line")).expect("JSON");
    assert!(first["chain"]["broken_at"].is_i64() && first["signature"].is_null(), "nobody vouches for it: {first}");
    // All of it away: the sums by day still tell, also once a chain was begun anew.
    for gone in ["DELETE FROM receipt_batches", "DELETE FROM receipt_heads"] {
        sqlx::query(gone).execute(&mut connection).await.expect("changed");
    }
    assert_eq!(broken_at(&key).await, Some(1));
    running.act(&person.email, MailAction::sample());
    running.settle().await;
    assert_eq!(broken_at(&key).await, Some(1));
}

#[tokio::test]
async fn a_run_that_broke_off_leaves_a_line_of_its_own() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.act(&person.email, MailAction::sample());
    running.take_notices().await;
    // Somebody takes the mailbox and never gives it back.
    let now = running.app.clock.now();
    let until = now.saturating_add(Duration::from_secs(90)).expect("a time");
    let mut tx = running.app.store.write().await.expect("a transaction");
    let wanted = intail::store::leases::Wanted::Due;
    let taken = intail::store::leases::claim(&mut tx, "dead", now, until, wanted, 9).await.expect("claimed");
    assert!(!taken.is_empty() && taken.iter().all(|lease| !lease.after_a_break), "the run before ended well");
    tx.commit().await.expect("committed");
    running.pass(Duration::from_secs(91));
    running.settle().await;
    let proof = session(&running.app, &person).await;
    let (_, page) = get(&running, &proof, "/receipt?check=yes").await;
    assert!(page.contains("A run broke off before this") && page.contains("1 gap"), "{page}");
    running.assert_nothing_is_lost(&person).await;
}

//! What Google refuses of calendars and the directory hinders that one thing alone, for as long as was promised: it is
//! told, it isn't asked again and again, and everything else of the same person goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join};
use intail::connect;
use intail::org::audit::Origin;
use intail::store::agendas::{self, Agenda};
use intail::store::calendars::{self, CalendarState};
use intail::store::changes::Change;
use intail::store::channels::{self, Channel};
use intail::store::directories;
use intail::store::directory_people;
use intail::store::gate::{Act, Gate, Underway};
use intail::store::grants::{self, Grant, GrantState};
use intail::store::leases::{self, Stream};
use intail::store::people::Person;
use intail::store::quota;
use intail::store::{StoreError, Tx};
use intail::sync::{self, Worker};
use intail_sandbox::World;
use intail_sandbox::faults::{Mischief, Rule};
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::access::{ask, session, text};
use crate::harness::running::{ADMIN, Running, Setup, Ticks, receive};
use crate::leaving::behind;

const MINUTE: Duration = Duration::from_secs(60);
/// Looks at a condition before a test gives up.
const LOOKS_MAX: usize = 10_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Google refuses a call in these words.
fn refused(call: &str, status: u16, reason: &str) -> Rule {
    let then = Mischief::Status { status, reason: Some(reason.to_owned()), message: None, retry_after_s: None };
    Rule::new(call, then)
}

/// Somebody whose calendars are followed by channels.
async fn told() -> (Running, Person) {
    let running = Running::start_with(Setup { reachable: true, ..Setup::default() }).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    running.take_calendar_notices().await;
    running.settle_calendars(&person).await;
    (running, person)
}

/// Channels about which Google has said nothing.
async fn unanswered(running: &Running, person: &Person) -> Vec<Channel> {
    let agenda = running.agenda(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let all = channels::of_agenda(&mut tx, &agenda.id, i64::MAX).await.expect("read");
    all.into_iter().filter(|it| it.resource_id.is_none()).collect()
}

async fn grant_of(running: &Running, person: &Person) -> Grant {
    let mut tx = running.app.store.read().await.expect("a transaction");
    grants::by_person(&mut tx, &person.id).await.expect("read").expect("a grant")
}

/// The ids of an agenda's calendars.
async fn ids_of(tx: &mut Tx, agenda: &Agenda) -> Vec<String> {
    let all = calendars::of_agenda(tx, &agenda.id, i64::MAX).await.expect("read");
    all.into_iter().map(|it| it.id).collect()
}

/// A new event is there after the longest wait, without any channel.
async fn assert_calendars_are_read(running: &Running, person: &Person) {
    let event = json!({"title": "Lunch", "start": "2026-11-25T12:00"});
    running.plan(&person.email, json!({"action": "create", "event": event}));
    running.pass(MINUTE * 40);
    running.work().await;
    running.assert_no_appointment_is_lost(person).await;
}

#[tokio::test]
async fn a_calendar_that_is_refused_a_channel_after_a_reconnect_is_read_all_the_same() {
    let (running, person) = told().await;
    running.pass(MINUTE);
    running.connect(&person, Ticks::All).await.expect("connected again");
    running
        .world(|world| world.faults.add(refused("calendar.events.watch", 400, "pushNotSupportedForRequestedResource")));
    let before = running.calls("calendar.events.watch");
    running.settle_calendars(&person).await;
    assert_calendars_are_read(&running, &person).await;
    let calendars = running.calendars(&person).await.iter().filter(|it| it.is_followed()).count();
    assert_eq!(running.calls("calendar.events.watch") - before, calendars, "each was tried once");
}

#[tokio::test]
async fn an_address_that_google_does_not_take_costs_nobody_their_grant() {
    let (running, person) = told().await;
    running.pass(MINUTE);
    running.connect(&person, Ticks::All).await.expect("connected again");
    running.world(|world| world.faults.add(refused("calendar.events.watch", 401, "push.webhookUrlUnauthorized")));
    running.settle_calendars(&person).await;
    let grant = grant_of(&running, &person).await;
    assert_eq!((grant.state, grant.reason.as_str()), (GrantState::Active, ""));
    assert_calendars_are_read(&running, &person).await;
    running.assert_nothing_is_lost(&person).await;
    assert!(unanswered(&running, &person).await.is_empty(), "nothing lies about of what Google refused");
}

#[tokio::test]
async fn what_stands_in_the_way_of_the_directory_stops_neither_mail_nor_calendars() {
    for (reason, problem, words) in [
        ("accessNotConfigured", "api_disabled", "switched off"),
        ("domainPolicy", "blocked_by_administrator", "The administrator at Google"),
    ] {
        let running = Running::start().await;
        running.approve();
        running.world(|world| world.faults.add(refused("directory.*", 403, reason)));
        let (one, other) = running.employees();
        let (one, other) = (running.connected(&one).await, running.connected(&other).await);
        let directory = async || {
            let mut tx = running.app.store.read().await.expect("a transaction");
            directories::of_organization(&mut tx, &one.organization_id).await.expect("read").expect("a directory")
        };
        assert_eq!(directory().await.problem.as_deref(), Some(problem));
        for person in [&one, &other] {
            assert_eq!(grant_of(&running, person).await.state, GrantState::Active, "{reason}");
            running.settle_calendars(person).await;
            running.assert_nothing_is_lost(person).await;
            running.assert_no_appointment_is_lost(person).await;
        }
        let page = ask(&running.app, "GET", "/directory", &session(&running.app, &one).await, None).await;
        let page = text(page).await;
        assert!(page.contains(words), "{page}");
        let asked = || running.calls("directory.users.get") + running.calls("directory.users.list");
        let before = asked();
        running.pass(MINUTE * 90);
        running.work().await;
        assert!(asked() - before <= 2, "one question an hour: {}", asked() - before);
        // Once it is mended, the directory is read by itself.
        running.world(|world| world.faults.clear());
        running.pass(MINUTE * 90);
        running.settle().await;
        assert_eq!((directory().await.problem, directory().await.passed_at.is_some()), (None, true));
    }
}

#[tokio::test]
async fn a_listing_that_lacks_most_people_takes_nobody_for_gone_before_a_week_is_over() {
    let running = Running::start().await;
    running.approve();
    let (_, ordinary) = running.employees();
    running.world(|world| {
        for one in 0..50 {
            let hired = json!({"action": "hire", "email": format!("more{one}@example.com"), "given_name": "More",
                "family_name": "People", "mailbox": false});
            world.edit_directory(ADMIN, &serde_json::from_value(hired).expect("an action")).expect("it can be");
        }
    });
    let person = running.connected(&ordinary).await;
    let shown = async || {
        let mut tx = running.app.store.read().await.expect("a transaction");
        directory_people::count(&mut tx, &person.organization_id).await.expect("read").shown
    };
    let directory = async || {
        let mut tx = running.app.store.read().await.expect("a transaction");
        directories::of_organization(&mut tx, &person.organization_id).await.expect("read").expect("a directory")
    };
    let hide = |hidden: bool| {
        running.world(|world| {
            for one in 0..50 {
                let action = json!({"action": "edit", "hidden": hidden});
                let action = serde_json::from_value(action).expect("an action");
                world.edit_directory(&format!("more{one}@example.com"), &action).expect("it can be");
            }
        });
    };
    let all = shown().await;
    assert!(all > 50 && all < 100, "most of {all} are about to be missed");
    // For some days Google doesn't show most of them, and then it does.
    hide(true);
    for _ in 0..5 {
        running.pass(DAY);
        running.work().await;
    }
    assert_eq!((shown().await, directory().await.problem.as_deref()), (all, Some("most_are_missing")));
    let page = text(ask(&running.app, "GET", "/directory", &session(&running.app, &person).await, None).await).await;
    assert!(page.contains("less than half"), "{page}");
    hide(false);
    running.pass(DAY);
    running.work().await;
    assert_eq!((shown().await, directory().await.problem), (all, None));
    // What lasts longer than a week is so.
    hide(true);
    for _ in 0..12 {
        running.pass(DAY);
        running.work().await;
    }
    assert_eq!((shown().await, directory().await.problem), (all - 50, None));
}

#[tokio::test]
async fn what_two_accounts_missed_is_not_counted_together() {
    let running = Running::start().await;
    running.approve();
    let (one, other) = running.employees();
    let (one, other) = (running.connected(&one).await, running.connected(&other).await);
    let hidden = json!({"action": "edit", "hidden": true});
    let hidden = serde_json::from_value(hidden).expect("an action");
    running.world(|world| world.edit_directory("kofi@example.com", &hidden)).expect("it can be");
    let kofi = running.world(|world| world.identity.person_by_email("kofi@example.com").expect("one").sub.clone());
    let entry = async || {
        let mut tx = running.app.store.read().await.expect("a transaction");
        directory_people::by_id(&mut tx, &one.organization_id, &kofi).await.expect("read").expect("an entry")
    };
    let reader = async || {
        let mut tx = running.app.store.read().await.expect("a transaction");
        let row = directories::of_organization(&mut tx, &one.organization_id).await.expect("read");
        row.expect("a directory").grant_id.expect("one reads")
    };
    for _ in 0..2 {
        running.pass(DAY);
        running.work().await;
    }
    let (misses, read_by) = (entry().await.misses, reader().await);
    assert_eq!(misses, 2);
    let leaves = if grant_of(&running, &one).await.id == read_by { &one } else { &other };
    connect::leave(&running.app, leaves, Origin::Unknown).await.expect("left");
    running.pass(DAY);
    running.work().await;
    assert_ne!(reader().await, read_by, "another reads");
    assert_eq!((entry().await.misses, entry().await.gone_at), (1, None), "the count began anew");
}

#[tokio::test]
async fn a_calendar_that_is_away_for_a_moment_keeps_its_events() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    let away = |status| running.world(|world| world.faults.add(Rule::status("calendar.events.list", status)));
    for status in [404, 403] {
        // The reading before broke off in the middle of its pages, and somebody says "look": neither is a reason to ask
        // twice within ten minutes.
        away(status);
        running.pass(MINUTE * 40);
        running.work().await;
        let asked = running.calls("calendar.events.list");
        let agenda = running.agenda(&person).await;
        let mut tx = running.app.store.write().await.expect("a transaction");
        for calendar in ids_of(&mut tx, &agenda).await {
            calendars::notice(&mut tx, &agenda.id, &calendar).await.expect("noticed");
        }
        agendas::wake(&mut tx, &agenda.id, running.app.clock.now()).await.expect("woken");
        tx.commit().await.expect("committed");
        running.pass(MINUTE);
        running.work().await;
        assert_eq!(running.calls("calendar.events.list"), asked, "{status}");
        running.world(|world| world.faults.clear());
        running.pass(MINUTE * 15);
        running.settle_calendars(&person).await;
    }
    let feed = running.feed(&person).await;
    assert!(feed.iter().all(|it| it.kind != "event.deleted"), "nothing was deleted and added again");
    running.assert_no_appointment_is_lost(&person).await;
    // Twice in a row, ten minutes apart, is no moment.
    away(404);
    running.pass(MINUTE * 40);
    running.work().await;
    running.pass(MINUTE * 15);
    running.work().await;
    let rows = running.calendars(&person).await;
    assert!(rows.iter().all(|it| it.state == CalendarState::Idle), "{rows:?}");
}

#[tokio::test]
async fn a_backfill_that_waits_for_tomorrow_keeps_nobody_from_what_changes_today() {
    let running = Running::start().await;
    running.approve();
    let (email, other) = running.employees();
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    let percent = async |percent| {
        let mut tx = running.app.store.write().await.expect("a transaction");
        quota::set_backfill_day_percent(&mut tx, &person.organization_id, percent).await.expect("set");
        tx.commit().await.expect("committed");
    };
    percent(0).await;
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "reader"}));
    running.plan(&person.email, json!({"action": "list", "calendar": other}));
    running.pass(MINUTE * 180);
    running.work().await;
    let of_other = async || running.calendars(&person).await.into_iter().find(|it| it.id == other).map(|it| it.state);
    assert_eq!(of_other().await, Some(CalendarState::Idle), "nothing new may be copied today");
    let event = json!({"title": "Lunch", "start": "2026-11-25T12:00"});
    let id = running.plan(&person.email, json!({"action": "create", "event": event}));
    running.pass(MINUTE * 40);
    running.work().await;
    let feed = running.feed(&person).await;
    assert!(feed.iter().any(|it| it.subject_id == id), "what is there is looked at all the same");
    percent(80).await;
    running.pass(DAY);
    running.settle_calendars(&person).await;
    assert_eq!(of_other().await, Some(CalendarState::Live));
    running.assert_no_appointment_is_lost(&person).await;
}

#[tokio::test]
async fn page_tokens_that_are_refused_again_and_again_are_asked_for_again_later() {
    for call in ["calendar.events.list", "calendar.calendarList.list"] {
        let running = Running::start().await;
        running.approve();
        running.world(|world| {
            world.settings.page_max = 1;
            for refusals in 1..60 {
                // One page is let through, and the next one refused, and so on.
                world.faults.add(Rule { skip: refusals, ..refused(call, 400, "invalidArgument").times(1) });
            }
        });
        let person = running.sign_in(&running.employee()).await;
        running.connect(&person, Ticks::All).await.expect("connected");
        running.work().await;
        let calendars = running.calendars(&person).await.len().max(1);
        assert!(running.calls(call) <= 4 * calendars, "{call}: {} for {calendars} calendars", running.calls(call));
        running.world(|world| {
            world.faults.clear();
            world.settings.page_max = 250;
        });
        running.pass(MINUTE * 15);
        running.settle_calendars(&person).await;
        running.assert_no_appointment_is_lost(&person).await;
        assert!(running.calendars(&person).await.iter().all(|it| it.problem.is_none()));
    }
}

#[tokio::test]
async fn a_channel_that_can_not_be_stopped_stops_nothing() {
    for status in [403, 404] {
        let (running, person) = told().await;
        running.world(|world| world.faults.add(Rule::status("calendar.channels.stop", status)));
        running.pass(MINUTE);
        running.connect(&person, Ticks::All).await.expect("connected again");
        running.settle_calendars(&person).await;
        running.take_calendar_notices().await;
        assert_calendars_are_read(&running, &person).await;
        let followed = running.calendars(&person).await.iter().filter(|it| it.is_followed()).count();
        assert_eq!(running.calls("calendar.channels.stop"), followed, "each was tried once");
    }
}

#[tokio::test]
async fn channels_about_which_google_says_nothing_do_not_pile_up() {
    let (running, person) = told().await;
    running.pass(MINUTE);
    running.connect(&person, Ticks::All).await.expect("connected again");
    running.world(|world| world.faults.add(Rule::status("calendar.events.watch", 503)));
    for _ in 0..20 {
        running.pass(MINUTE * 15);
        running.work().await;
    }
    let followed = running.calendars(&person).await.iter().filter(|it| it.is_followed()).count();
    assert!(running.calls("calendar.events.watch") > 10 * followed, "it was tried again and again");
    assert!(unanswered(&running, &person).await.len() <= 2 * followed);
    running.world(|world| world.faults.clear());
    running.pass(MINUTE * 15);
    running.settle_calendars(&person).await;
    running.take_calendar_notices().await;
    running.settle_calendars(&person).await;
    assert!(unanswered(&running, &person).await.is_empty(), "one that is open takes the place of all others");
}

#[tokio::test]
async fn what_a_notice_tells_of_is_looked_at_once_more_although_something_was_found() {
    let (running, person) = told().await;
    let event = |title: &str| json!({"action": "create", "event": {"title": title, "start": "2026-11-25T12:00"}});
    running.plan(&person.email, event("First"));
    running.take_calendar_notices().await;
    running.work().await;
    // What belongs to the same notice can be read a moment later; the false Google's own notice of it is lost.
    let second = running.plan(&person.email, event("Second"));
    running.world(World::take_channel_messages);
    running.pass(Duration::from_secs(15));
    running.work().await;
    assert!(running.feed(&person).await.iter().any(|it| it.subject_id == second));
}

/// A database that is away.
#[derive(Debug, Default)]
struct Away {
    is_away: AtomicBool,
    asked: AtomicUsize,
}

impl Gate for Away {
    fn before(&self, act: Act) -> BoxFuture<'static, Result<Underway, StoreError>> {
        let is_away = act == Act::BeginWrite && self.is_away.load(Ordering::SeqCst);
        self.asked.fetch_add(usize::from(is_away), Ordering::SeqCst);
        let nothing: Underway = Box::new(());
        let answer = if is_away { Err(StoreError::Database(sqlx::Error::PoolTimedOut)) } else { Ok(nothing) };
        async move { answer }.boxed()
    }

    fn after(&self, _: Act) -> BoxFuture<'static, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }

    fn ended(&self, _: bool) {}
}

#[tokio::test]
async fn a_database_that_is_away_for_a_moment_does_not_end_the_engine() {
    let running = Running::start().await;
    let away = Arc::new(Away::default());
    away.is_away.store(true, Ordering::SeqCst);
    let app = behind(&running.app, away.clone());
    let shutdown = CancellationToken::new();
    let back = async {
        // A look is a turn of the runtime.
        for _ in 0..LOOKS_MAX {
            if away.asked.load(Ordering::SeqCst) >= 3 {
                break;
            }
            running.pass(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        away.is_away.store(false, Ordering::SeqCst);
        shutdown.cancel();
    };
    let (ended, ()) = join(sync::run(&app, shutdown.clone()), back).await;
    ended.expect("it goes on, and ends in good order");
}

/// When somebody else may take the only mailbox.
async fn free_at(running: &Running) -> Timestamp {
    let mut tx = running.app.store.read().await.expect("a transaction");
    leases::next_due(&mut tx, &[Stream::Mail], running.app.clock.now()).await.expect("read").expect("a mailbox")
}

/// Looks until it is so. Each look asks the database, so that everybody else gets on meanwhile.
async fn until(running: &Running, what: &str, is_so: impl Fn(Timestamp) -> bool) {
    for _ in 0..LOOKS_MAX {
        if is_so(free_at(running).await) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it isn't so yet: {what}");
}

#[tokio::test]
async fn a_lease_that_could_not_be_prolonged_is_prolonged_a_second_later() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.work().await;
    let away = Arc::new(Away::default());
    let worker = Worker::new(&behind(&running.app, away.clone()));
    running.world(|world| world.faults.add(Rule::new("gmail.users.history.list", Mischief::Hang).times(1)));
    running.act(&person.email, receive(1));
    running.take_notices().await;
    let watched = async {
        let is_asked = |_| running.world(|world| world.faults.rules.iter().all(|it| it.count == Some(0)));
        until(&running, "Google is asked", is_asked).await;
        let first = free_at(&running).await;
        away.is_away.store(true, Ordering::SeqCst);
        running.pass(Duration::from_secs(20));
        until(&running, "the lease can't be prolonged", |_| away.asked.load(Ordering::SeqCst) > 0).await;
        away.is_away.store(false, Ordering::SeqCst);
        running.pass(Duration::from_secs(1));
        let later = first + Duration::from_secs(21);
        until(&running, "the lease is prolonged a second later", |free_at| free_at == later).await;
    };
    tokio::select! {
        biased;
        () = watched => {}
        _ = worker.tick() => panic!("Google doesn't answer"),
    }
}

#[tokio::test]
async fn the_calendar_page_says_who_is_suspended_and_looks_often_only_while_something_is_copied() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    let page = async || {
        let proof = session(&running.app, &person).await;
        text(ask(&running.app, "GET", "/calendar", &proof, None).await).await
    };
    assert!(page().await.contains("Live"));
    // One calendar can't be read: nothing that a page that looks every two seconds would see sooner.
    running.world(|world| world.faults.add(Rule::status("calendar.events.list", 404).times(1)));
    running.pass(MINUTE * 40);
    running.work().await;
    let standing = page().await;
    assert!(standing.contains("can’t be read") && standing.contains("data-again-every=\"20\""), "{standing}");
    let mut tx = running.app.store.write().await.expect("a transaction");
    let grant = grant_of(&running, &person).await;
    let now = running.app.clock.now();
    grants::set_suspended(&mut tx, &grant.id, Some(now), now).await.expect("set");
    tx.commit().await.expect("committed");
    let suspended = page().await;
    assert!(!suspended.contains("Live") && suspended.contains("Stopped"), "{suspended}");
}

#[tokio::test]
async fn a_link_to_an_occurrence_shows_where_it_went_or_that_it_no_longer_takes_place() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    let event = json!({"title": "Stand-up", "start": "2026-11-24T09:00", "rule": "FREQ=DAILY;COUNT=9"});
    let series = running.plan(&person.email, json!({"action": "create", "event": event}));
    let (moved, cancelled) = (format!("{series}_20261125T080000Z"), format!("{series}_20261126T080000Z"));
    running.plan(&person.email, json!({"action": "move", "id": moved, "start": "2026-12-20T10:00"}));
    running.plan(&person.email, json!({"action": "delete", "id": cancelled}));
    running.pass(MINUTE * 40);
    running.settle_calendars(&person).await;
    let page = async |slot: &str| {
        let path = format!("/calendar/events/{}/{series}?slot={slot}", person.email.replace('@', "%40"));
        let proof = session(&running.app, &person).await;
        text(ask(&running.app, "GET", &path, &proof, None).await).await
    };
    let there = page("20261127T080000Z").await;
    assert!(there.contains("One occurrence of a series.") && !there.contains("Cancelled"), "{there}");
    let elsewhere = page("20261125T080000Z").await;
    assert!(elsewhere.contains("20 December") && !elsewhere.contains("Cancelled"), "{elsewhere}");
    for gone in ["20261126T080000Z", "20261126T083000Z"] {
        let page = page(gone).await;
        assert!(page.contains("Cancelled") && page.contains("26 November"), "{gone}: {page}");
    }
}

#[tokio::test]
async fn a_token_that_died_before_its_time_hides_no_change() {
    let running = Running::start().await;
    running.approve();
    running.world(|world| world.faults.add(Rule::status("calendar.events.list", 401).times(1)));
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    let feed = running.feed(&person).await;
    for calendar in running.calendars(&person).await.iter().filter(|it| it.is_followed()) {
        let told = |it: &Change| it.kind == "calendar.changed" && it.subject_id == calendar.id;
        let states: Vec<&str> = feed.iter().filter(|it| told(it)).filter_map(|it| it.data["state"].as_str()).collect();
        assert_eq!(states, ["backfilling", "live"], "{}", calendar.id);
    }
    running.assert_no_appointment_is_lost(&person).await;
}

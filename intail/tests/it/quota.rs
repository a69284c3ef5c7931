//! Google's quota across deaths, days and refusals: what the simulation can't name.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use intail::store::calendars::CalendarState;
use intail::store::debts::{self, Debt};
use intail::store::mailboxes::MailboxState;
use intail::store::people::Person;
use intail::store::quota::Engine;
use intail::store::{mailboxes, messages, operator_faults, quota, turns};
use intail::sync::Worker;
use intail_google::oauth::scope;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::faults::Rule;
use intail_sandbox::quota::Limits;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection};

use crate::access::{Proof, access_key, ask, session, text};
use crate::harness::postgres::{database, until_so_many_wait};
use crate::harness::running::{ADMIN, Running, Setup, Ticks, receive};
use crate::pages::between;

/// The project's minute, as parts of it are counted.
const WHOLE: i64 = 1_000_000;
/// When the project's day turns that every test begins in: at midnight in California.
const TURNS_AT: &str = "2026-11-23T08:00:00Z";

/// What somebody is told of their own copy: by the card, and by the API.
pub(crate) async fn what_is_told(running: &Running, person: &Person) -> (String, Json) {
    let (browser, key) = (session(&running.app, person).await, access_key(&running.app, person).await);
    let card = text(ask(&running.app, "GET", "/settings/integrations", &browser, None).await).await;
    let told = text(ask(&running.app, "GET", "/api/v1/connection", &key, None).await).await;
    (card, serde_json::from_str(&told).expect("JSON"))
}

/// Asserts that a person's mail waits for the day to turn, on the card and in the API, and why.
pub(crate) fn assert_waits_for_the_day((card, api): &(String, Json), percent: u64, stops: &str) {
    let mailbox = &api["mailbox"];
    assert_eq!((&mailbox["waits_for"], &mailbox["waits_until"]), (&json!("day"), &json!(TURNS_AT)), "{mailbox}");
    let pass = &mailbox["pass"];
    assert_eq!((&pass["waits_for"], &pass["waits_until"]), (&json!("day"), &json!(TURNS_AT)), "{mailbox}");
    let told = between(card, "id=\"day-used\"", "</li>").expect("the card says that it waits");
    let used = format!("At least {percent} % of Google’s allowance for today are used");
    for words in [TURNS_AT, &used, stops, "New mail arrives all the same."] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

/// What was asked of Google so far, in units.
fn spent(running: &Running) -> u64 {
    running.world(|world| world.calls.iter().map(|it| u64::from(it.units)).sum())
}

/// The parts of the project's minute that were taken, each with the process that took it.
async fn parts(running: &Running) -> Vec<Engine> {
    let mut tx = running.app.store.write().await.expect("a transaction");
    // Not committed: whoever is forgotten here isn't forgotten.
    quota::others(&mut tx, "nobody", Timestamp::MIN, Timestamp::MIN).await.expect("read")
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
    // Google tells of one change a second at most, and the watch was one.
    running.pass(Duration::from_secs(1));
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
async fn how_many_calls_at_once_are_too_many_is_known_to_whoever_goes_on() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    let rule =
        r#"{"call":"gmail.users.messages.get","then":{"kind":"status","status":429,"reason":"concurrent"},"count":1}"#;
    let rule: Rule = serde_json::from_str(rule).expect("a rule");
    running.world(|world| world.faults.add(rule.clone()));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    let known = async || running.mailbox(&person).await.spent.at_once().map(|it| it.calls);
    assert_eq!(known().await, Some(2), "half of five");
    assert_eq!(what_is_told(&running, &person).await.1["mailbox"]["paused_why"], "concurrency");
    // Another process is refused, too: it goes on from two.
    running.world(|world| world.faults.add(rule.clone()));
    running.pass(Duration::from_secs(60));
    running.another_worker().tick().await.expect("the engine runs");
    assert_eq!(known().await, Some(1));
    // One more is tried every five minutes.
    running.pass(Duration::from_secs(30 * 60));
    running.settle().await;
    assert_eq!(known().await, None);
    running.assert_nothing_is_lost(&person).await;
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
    let (card, api) = what_is_told(&running, &person).await;
    assert!(api["mailbox"]["complete_back_to"].is_string() && card.contains("id=\"complete-to\""), "{api} {card}");
    running.act(&email, MailAction::ForgetHistory);
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Reconciling);
    let day = spent(&running);
    assert!(day < 6_500, "the rest waits: {day} units were spent");
    let told = what_is_told(&running, &person).await;
    assert_waits_for_the_day(&told, 80, "copying old mail stops there");
    let (card, api) = told;
    assert_eq!(api["mailbox"]["complete_back_to"], Json::Null, "what is missing may be anywhere");
    assert!(!card.contains("id=\"complete-to\""), "{card}");
    for _ in 0..8 {
        running.pass(Duration::from_secs(24 * 3600));
        running.settle().await;
    }
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_comparison_waits_for_the_day_only_at_its_end_and_says_so() {
    let running = Running::start_with(Setup { gmail_day: Some(30_000), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
    uses_up_the_day(&running, &email).await;
    running.act(&email, MailAction::ForgetHistory);
    running.pass(Duration::from_secs(10));
    running.act(&email, receive(1));
    running.settle().await;
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Reconciling);
    assert_waits_for_the_day(&what_is_told(&running, &person).await, 95, "comparing with Google stops there");
    running.pass(Duration::from_secs(2));
    let new = running.act(&email, receive(1)).ids.remove(0);
    running.settle().await;
    assert!(running.stored(&person).await.contains_key(&new), "new mail arrives all the same");
    running.pass(Duration::from_secs(24 * 3600));
    running.settle().await;
    let (card, api) = what_is_told(&running, &person).await;
    assert_eq!((&api["mailbox"]["state"], &api["mailbox"]["waits_for"]), (&json!("live"), &Json::Null), "{api}");
    assert!(!card.contains("id=\"day-used\""), "{card}");
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn what_a_copy_could_not_fetch_waits_for_the_day_and_a_change_that_could_not_be_fetched_does_not() {
    let running = Running::start_with(Setup { gmail_day: Some(30_000), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    uses_up_the_day(&running, &email).await;
    let mailbox = running.mailbox(&person).await;
    let owed: Vec<String> = running.stored(&person).await.into_keys().take(2).collect();
    let mut tx = running.app.store.write().await.expect("a transaction");
    for (id, in_bulk, wait_s) in [(&owed[0], true, 0), (&owed[1], false, 30)] {
        let message = messages::by_id(&mut tx, &mailbox.id, id).await.expect("read").expect("stored");
        messages::delete(&mut tx, &mailbox.id, &message).await.expect("deleted");
        let (since, thread_id) = (running.app.clock.now(), message.thread_id);
        let (message_id, reason) = (id.clone(), "transient".to_owned());
        let due_at = since + Duration::from_secs(wait_s);
        let debt = Debt { message_id, thread_id, reason, tries: 1, since, due_at, in_bulk };
        debts::owe(&mut tx, &mailbox.organization_id, &mailbox.id, &debt).await.expect("owed");
    }
    mailboxes::wake(&mut tx, &mailbox.id, running.app.clock.now()).await.expect("woken");
    tx.commit().await.expect("committed");
    for seconds in [6, 25] {
        running.work().await;
        running.pass(Duration::from_secs(seconds));
    }
    running.work().await;
    let stored = running.stored(&person).await;
    assert_eq!((stored.contains_key(&owed[0]), stored.contains_key(&owed[1])), (false, true));
    let (card, api) = what_is_told(&running, &person).await;
    let mailbox = &api["mailbox"];
    assert_eq!((&mailbox["waits_for"], &mailbox["waits_until"]), (&json!("day"), &json!(TURNS_AT)), "{mailbox}");
    assert!(card.contains("id=\"day-used\"") && mailbox["pass"].is_null(), "{mailbox}");
    running.pass(Duration::from_secs(24 * 3600));
    running.settle().await;
    assert!(running.stored(&person).await.contains_key(&owed[0]), "the day has turned");
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn what_a_comparison_asks_for_keeps_to_a_small_minute_and_counts_in_the_foretold_end() {
    let running = Running::start_with(Setup { gmail_minute: Some(600), ..Setup::default() }).await;
    running.approve();
    let few = Limits { person_minute: 6_000, project_minute: 600, project_day: 80_000_000 };
    running.world(|world| world.quota.limits = Some(few));
    let email = running.employee();
    let person = running.sign_in(&email).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    quota::set_backfill_days(&mut tx, &person.organization_id, Some(1)).await.expect("set");
    tx.commit().await.expect("committed");
    running.act(&email, receive(60));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.copy_everything().await;
    running.world(|world| world.settings.notices.lost_percent = 100);
    let held: Vec<String> = running.stored(&person).await.into_keys().collect();
    assert!(held.len() >= 60, "{}", held.len());
    for id in held.iter().take(60) {
        running.act(&email, MailAction::Delete(One { id: id.clone() }));
    }
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.pass(Duration::from_secs(60));
    running.act(&email, receive(1));
    let mut foretold = Vec::new();
    for _ in 0..120 {
        running.work().await;
        running.pass(Duration::from_secs(10));
        let mailbox = running.mailbox(&person).await;
        if mailbox.state == MailboxState::Reconciling && mailbox.listing_done {
            let pass = what_is_told(&running, &person).await.1["mailbox"]["pass"].clone();
            foretold.push(pass["units_left"].as_u64().expect("a number"));
        }
    }
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
    assert!(foretold.len() > 2 && foretold[0] >= 1_000 && foretold.is_sorted_by(|a, b| a >= b), "{foretold:?}");
    let refused = running.world(|world| world.quota.refused.clone());
    assert!(refused.is_empty(), "promise 8: {refused:#?}");
    let stored = running.stored(&person).await;
    assert!(held.iter().take(60).all(|id| !stored.contains_key(id)) && stored.len() == held.len() - 59, "{stored:?}");
}

/// New mail uses up nearly all of a day of 30,000 units.
async fn uses_up_the_day(running: &Running, email: &str) {
    for _ in 0..40 {
        if spent(running) > 29_100 {
            break;
        }
        running.pass(Duration::from_secs(60));
        running.act(email, receive(50));
        running.work().await;
    }
    assert!(spent(running) > 29_100, "{}", spent(running));
}

#[tokio::test]
async fn whose_mail_is_live_is_told_why_nothing_arrives_when_google_wants_no_more_questions_today() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    let (card, api) = what_is_told(&running, &person).await;
    assert_eq!((&api["mailbox"]["state"], &api["mailbox"]["waits_for"]), (&json!("live"), &Json::Null), "{api}");
    assert!(!card.contains("Waits until"), "{card}");
    // Somebody set a lower limit in Google's console than Intail believes: it is used up already.
    let lower = Limits { person_minute: 6_000, project_minute: 1_200_000, project_day: 300 };
    running.world(|world| world.quota.limits = Some(lower));
    running.pass(Duration::from_secs(2));
    let new = running.act(&email, receive(1)).ids.remove(0);
    running.work().await;
    running.pass(Duration::from_secs(20));
    running.work().await;
    assert!(!running.stored(&person).await.contains_key(&new), "it can't be read");
    let (card, api) = what_is_told(&running, &person).await;
    let mailbox = &api["mailbox"];
    assert_eq!((&mailbox["state"], &mailbox["pass"]), (&json!("live"), &Json::Null), "{mailbox}");
    assert_eq!((&mailbox["waits_for"], &mailbox["waits_until"]), (&json!("project"), &json!(TURNS_AT)), "{mailbox}");
    assert_eq!(mailbox["paused_why"], "day", "{mailbox}");
    let told = between(&card, "id=\"project-waits\"", "</li>").expect("the card says that it waits");
    assert!(told.contains(TURNS_AT) && told.contains("Nothing new arrives until then"), "{told}");
    let state = between(&card, "id=\"state\"", "</p>").expect("how it stands");
    assert!(state.contains("Paused"), "{state}");
    running.world(|world| world.quota.limits = None);
    running.pass(Duration::from_secs(25 * 3600));
    running.settle().await;
    let (card, api) = what_is_told(&running, &person).await;
    let mailbox = &api["mailbox"];
    assert_eq!((&mailbox["waits_for"], &mailbox["paused_why"]), (&Json::Null, &Json::Null), "{mailbox}");
    assert!(!card.contains("Waits until"), "{card}");
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_calendar_that_waits_for_tomorrow_s_requests_says_so() {
    let running = Running::start().await;
    running.approve();
    let (email, other) = running.employees();
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    assert_eq!(what_is_told(&running, &person).await.1["agenda"]["waits_for"], Json::Null);
    // Others have used up nine tenths of the day, which begins at midnight in California.
    let turns_at: Timestamp = TURNS_AT.parse().expect("a time");
    let today = turns_at.as_second().div_euclid(24 * 3600) - 1;
    let mut tx = running.app.store.write().await.expect("a transaction");
    quota::spend(&mut tx, "calendar", today, 900_000).await.expect("spent");
    tx.commit().await.expect("committed");
    running.plan(&other, json!({"action": "share", "email": person.email, "role": "reader"}));
    running.plan(&person.email, json!({"action": "list", "calendar": other}));
    running.pass(Duration::from_secs(3 * 3600));
    running.work().await;
    let of_other = async || running.calendars(&person).await.into_iter().find(|it| it.id == other).map(|it| it.state);
    assert_eq!(of_other().await, Some(CalendarState::Idle), "nothing new may be copied today");
    let (card, api) = what_is_told(&running, &person).await;
    let agenda = &api["agenda"];
    assert_eq!((&agenda["waits_for"], &agenda["waits_until"]), (&json!("day"), &json!(TURNS_AT)), "{agenda}");
    let told = between(&card, "id=\"calendars-day-used\"", "</p>").expect("the card says that they wait");
    let used = "At least 80 % of Google’s allowance for today are used";
    for words in [TURNS_AT, used, "copying calendars that are new here stops"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let of_day = api["allowances"].as_array().expect("a list").iter().find(|it| it["service"] == "calendar");
    let of_day = of_day.expect("the calendar has a day");
    assert!(of_day["used"].as_u64() >= Some(900_000) && of_day["limit"] == 1_000_000, "{of_day}");
    assert_eq!((&of_day["copying_stops_percent"], &of_day["turns_at"]), (&json!(80), &json!(TURNS_AT)));
    running.pass(Duration::from_secs(24 * 3600));
    running.settle_calendars(&person).await;
    assert_eq!(of_other().await, Some(CalendarState::Live));
    let (card, api) = what_is_told(&running, &person).await;
    assert_eq!(api["agenda"]["waits_for"], Json::Null);
    assert!(!card.contains("id=\"calendars-day-used\""), "{card}");
}

#[tokio::test]
async fn the_operator_s_own_prices_stand_in_receipts_and_sums() {
    let call = "gmail.messages.get";
    let gmail_units = BTreeMap::from([(call.to_owned(), 7)]);
    let running = Running::start_with(Setup { gmail_units, ..Setup::default() }).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.pass(Duration::from_secs(2));
    running.act(&person.email, receive(1));
    running.work().await;
    let receipt = ask(&running.app, "GET", "/api/v1/receipt", &access_key(&running.app, &person).await, None).await;
    let receipt: Json = serde_json::from_str(&text(receipt).await).expect("JSON");
    let number = |it: &Json, name: &str| it[name].as_i64().expect("a number");
    let calls: Vec<&Json> =
        receipt["calls"].as_array().expect("a list").iter().filter(|it| it["call"] == call).collect();
    assert!(!calls.is_empty() && calls.iter().all(|it| number(it, "units") == 7), "{calls:?}");
    let days: Vec<&Json> = receipt["days"].as_array().expect("a list").iter().filter(|it| it["call"] == call).collect();
    assert!(!days.is_empty() && days.iter().all(|it| number(it, "units") == 7 * number(it, "calls")), "{days:?}");
    let others = receipt["days"].as_array().expect("a list").iter().filter(|it| it["call"] == "gmail.watch");
    assert!(others.clone().count() > 0, "a price that isn't overridden");
    others.for_each(|it| assert_eq!(number(it, "units"), 100 * number(it, "calls"), "{it}"));
    let metrics = text(ask(&running.app, "GET", "/metrics", &Proof::Nothing, None).await).await;
    let sum = |name: &str| {
        let line = format!("{name}{{call=\"{call}\",outcome=\"ok\"}} ");
        between(&metrics, &line, "\n").expect("a sum").parse::<u64>().expect("a number")
    };
    let asked = sum("intail_google_calls");
    assert!(asked > 0 && sum("intail_google_units") == 7 * asked, "{metrics}");
}

#[tokio::test]
async fn promise_8_two_processes_that_start_in_the_same_instant_share_one_minute() {
    let url = database().await;
    let running = Running::start_with(Setup { postgres: Some(url.clone()), ..Setup::default() }).await;
    let mut watching = PgConnection::connect(&url).await.expect("the cluster of cargo xtask answers");
    let (one, other) = (Worker::in_place(&running.app, "one"), Worker::in_place(&running.app, "other"));
    let mut tx = running.app.store.write().await.expect("a transaction");
    turns::hold_parts(&mut tx).await.expect("held");
    let both_wait = async {
        until_so_many_wait(&mut watching, 2).await;
        tx.commit().await.expect("committed");
    };
    let (first, second, ()) = tokio::join!(one.tick(), other.tick(), both_wait);
    first.and(second).expect("the engines run");
    let parts = parts(&running).await;
    let (most, sum) = (parts.iter().map(|it| it.most).max(), parts.iter().map(|it| it.most).sum::<i64>());
    assert_eq!(parts.len(), 2);
    assert!(sum <= WHOLE && most > Some(WHOLE / 5), "each took its part without the other: {parts:?}");
    let least = parts.iter().map(|it| it.most).min();
    assert!(least > Some(0), "there is something for both: {parts:?}");
}

#[tokio::test]
async fn promise_8_engines_that_come_work_and_die_take_no_more_than_the_whole_minute() {
    for url in [None, Some(database().await)] {
        share_the_minute(Setup { postgres: url, gmail_minute: Some(9_000), ..Setup::default() }).await;
    }
}

/// After all engines have come: twenty minutes, several times what the rest takes.
const ROUNDS_MORE_MAX: usize = 240;

/// Two people's mail wants more than the project's minute has, and more and more engines copy it.
async fn share_the_minute(setup: Setup) {
    let running = Running::start_with(setup).await;
    running.approve();
    let limits = Limits { person_minute: 6_000, project_minute: 9_000, project_day: 80_000_000 };
    running.world(|world| world.quota.limits = Some(limits));
    let (one, other) = running.employees();
    let mut people = Vec::new();
    for email in [&one, &other] {
        let person = running.sign_in(email).await;
        running.act(email, receive(700));
        running.connect(&person, Ticks::All).await.expect("connected");
        people.push(person);
    }
    let mut engines = Vec::new();
    let mut most = BTreeMap::<String, i64>::new();
    let mut most_of_all = 0;
    for round in 0..84 {
        match round {
            0 | 1 | 8 | 30 => engines.push(running.another_worker()),
            // It says nothing any more.
            20 => drop(engines.remove(0)),
            _ => {}
        }
        for tick in join_all(engines.iter().map(Worker::tick)).await {
            tick.expect("the engine runs");
        }
        let parts = parts(&running).await;
        let sum: i64 = parts.iter().map(|it| it.most).sum();
        assert!(sum <= WHOLE, "the parts add up to {sum}: {parts:?}");
        most_of_all = most_of_all.max(sum);
        for it in parts {
            let before = most.entry(it.id).or_default();
            *before = it.most.max(*before);
        }
        running.pass(Duration::from_secs(5));
    }
    assert!(most_of_all > WHOLE / 2, "nearly all of it is used when all want more: {most_of_all}");
    assert_eq!(most.values().filter(|it| **it > WHOLE / 20).count(), 4, "everybody had a part: {most:?}");
    let refused = running.world(|world| world.quota.refused.clone());
    assert!(refused.is_empty(), "promise 8: {refused:#?}");
    // Which of the engines comes first is anybody's, and so is how long all of it takes.
    for _ in 0..ROUNDS_MORE_MAX {
        if running.mailbox(&people[0]).await.state == MailboxState::Live
            && running.mailbox(&people[1]).await.state == MailboxState::Live
        {
            break;
        }
        for tick in join_all(engines.iter().map(Worker::tick)).await {
            tick.expect("the engine runs");
        }
        running.pass(Duration::from_secs(5));
    }
    let refused = running.world(|world| world.quota.refused.clone());
    assert!(refused.is_empty(), "promise 8: {refused:#?}");
    for person in &people {
        assert_eq!(running.mailbox(person).await.state, MailboxState::Live);
        running.assert_nothing_is_lost(person).await;
    }
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

#[tokio::test]
async fn the_newest_pages_are_listed_again_to_their_end_although_a_minute_has_no_room_for_all_of_them() {
    // The letters fill twelve pages, and each costs a tenth of the person's minute.
    let gmail_units = BTreeMap::from([("gmail.messages.list".to_owned(), 600)]);
    let running = Running::start_with(Setup { gmail_units, ..Setup::default() }).await;
    running.approve();
    running.world(|world| world.settings.page_max = 2);
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(24));
    running.connect(&person, Ticks::All).await.expect("connected");
    for _ in 0..400 {
        running.pass(Duration::from_secs(30));
        running.work().await;
    }
    let mailbox = running.mailbox(&person).await;
    assert_eq!((mailbox.state, mailbox.relist_at, mailbox.listing_page), (MailboxState::Live, None, None));
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_day_that_google_refuses_earlier_than_its_tables_say_is_not_used_up_again_the_next() {
    let running = Running::start_with(Setup { gmail_day: Some(20_000), ..Setup::default() }).await;
    running.approve();
    let admin = running.sign_in(ADMIN).await;
    let overview = async || {
        let browser = session(&running.app, &admin).await;
        text(ask(&running.app, "GET", "/admin", &browser, None).await).await
    };
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(1_000));
    // Somebody set a lower limit in Google's console than Intail believes.
    let lower = Limits { person_minute: 6_000, project_minute: 1_200_000, project_day: 8_000 };
    running.world(|world| world.quota.limits = Some(lower));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    let refused = || running.world(|world| world.quota.refused.len());
    let (before, used) = (refused(), spent(&running));
    assert!(before > 0 && (7_500..=8_000).contains(&used), "{before} {used}");
    let page = overview().await;
    let told = between(&page, "id=\"held-gmail\">", "</strong>").expect("new mail doesn't go on");
    assert!(told.contains(TURNS_AT) && told.contains("no new mail is read before then"), "{told}");
    assert!(!page.contains("New mail always goes on"), "{told}");
    running.pass(Duration::from_secs(24 * 3600));
    running.settle().await;
    assert_eq!(refused(), before, "the next day stops in time");
    let today = spent(&running) - used;
    assert!((5_800..=6_800).contains(&today), "four fifths of what was counted at the refusal: {today}");
    running.pass(Duration::from_secs(2));
    let new = running.act(&email, receive(1)).ids.remove(0);
    running.settle().await;
    assert!(running.stored(&person).await.contains_key(&new), "so that new mail arrives");
    let (_, api) = what_is_told(&running, &person).await;
    let (mailbox, day) = (&api["mailbox"], &api["allowances"][0]);
    assert_eq!((&mailbox["state"], &mailbox["waits_for"]), (&json!("backfilling"), &json!("day")), "{api}");
    let limit = day["limit"].as_u64().expect("a number");
    assert!((7_500..=8_200).contains(&limit) && day["limit_configured"] == 20_000, "{day}");
    let overview = overview().await;
    let told = between(&overview, "id=\"corrected-gmail\">", "</p>").expect("why it is less");
    assert!(
        told.contains("By the configured limit it is 20,000,") && overview.contains("New mail always goes on"),
        "{told}"
    );
    for _ in 0..3 {
        running.pass(Duration::from_secs(24 * 3600));
        running.settle().await;
    }
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
    assert_eq!(refused(), before);
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn whoever_waits_for_tomorrow_goes_on_within_an_hour_when_intail_is_started_with_a_larger_day() {
    let running = Running::start_with(Setup { gmail_day: Some(5_000), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(300));
    running.connect(&person, Ticks::Only(&[scope::GMAIL_METADATA])).await.expect("connected");
    running.settle().await;
    assert_waits_for_the_day(&what_is_told(&running, &person).await, 80, "copying old mail stops there");
    // Looking whether there is more asks Google nothing, not even for a token.
    running.world(|world| world.calls.clear());
    for _ in 0..30 {
        running.pass(Duration::from_secs(600));
        running.work().await;
    }
    let asked = running.world(|world| world.calls.iter().map(|it| it.call).collect::<Vec<_>>());
    assert!(asked.iter().all(|it| it.starts_with("pubsub")), "{asked:?}");
    let larger = running.another_with_day(80_000).await;
    for _ in 0..210 {
        larger.tick().await.expect("the engine runs");
        running.pass(Duration::from_secs(20));
    }
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
}

//! Mail stays live, and nothing is lost: the engine against the false Google, with a time that the test owns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use intail::connect;
use intail::id::HistoryId;
use intail::notices::provision::{self, Publisher};
use intail::org::audit::Origin;
use intail::seal::hash_token;
use intail::store::coverage::{self, Coverage};
use intail::store::debts::{self, Debt};
use intail::store::mailboxes::MailboxState;
use intail::store::operator_faults::{self, OperatorFault};
use intail::store::people::Person;
use intail::store::{labels, mailboxes, messages, quota, sessions};
use intail::web;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::compose::{CANARY, Compose};
use intail_sandbox::faults::{Mischief, Rule};
use serde_json::json;
use tower::ServiceExt as _;
use tracing_subscriber::fmt::MakeWriter;

use crate::access::{ask, session, text};
use crate::harness::postgres;
use crate::harness::running::{ADMIN, Running, Setup, Ticks, receive};
use crate::quota::{assert_waits_for_the_day, what_is_told};

async fn connected() -> (Running, intail::store::people::Person) {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    (running, person)
}

fn one(id: &str) -> One {
    One { id: id.to_owned() }
}

/// A message that is in the inbox.
fn in_inbox(running: &Running, email: &str) -> String {
    running.world(|world| {
        let mailbox = world.mailbox(email).expect("a mailbox");
        mailbox
            .newest_first()
            .find(|it| it.has("INBOX") && !it.has("STARRED"))
            .expect("the inbox isn't empty")
            .id
            .clone()
    })
}

async fn faults(running: &Running) -> Vec<OperatorFault> {
    let mut tx = running.app.store.read().await.expect("a transaction");
    operator_faults::list(&mut tx).await.expect("read")
}

async fn owed(running: &Running, person: &Person) -> Vec<Debt> {
    let mailbox = running.mailbox(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    debts::list(&mut tx, &mailbox.id, 9).await.expect("read")
}

#[tokio::test]
async fn everything_that_was_there_is_copied() {
    let (running, person) = connected().await;
    let mailbox = running.mailbox(&person).await;
    assert_eq!(mailbox.state, MailboxState::Live);
    assert!(mailbox.watch_expires_at.is_some());
    running.assert_nothing_is_lost(&person).await;
    assert!(running.stored(&person).await.len() > 50, "the default world has mail");
    assert_eq!(running.calls("gmail.users.messages.attachments.get"), 0);
}

#[tokio::test]
async fn mail_is_live_on_postgresql_too() {
    let setup = Setup { postgres: Some(postgres::database().await), ..Setup::default() };
    let running = Running::start_with(setup).await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    let id = in_inbox(&running, &email);
    for action in [receive(3), MailAction::Star(one(&id)), MailAction::Trash(one(&id)), MailAction::Delete(one(&id))] {
        running.pass(Duration::from_secs(2));
        running.act(&email, action);
        running.work().await;
    }
    running.act(&email, MailAction::ForgetHistory);
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
}

#[tokio::test]
async fn a_notice_brings_each_kind_of_change() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let first = in_inbox(&running, &email);
    type Make = fn(&str) -> MailAction;
    let changes: [(&str, Make, &str); 8] = [
        ("arrives", |_| receive(1), "message.added"),
        ("starred", |id| MailAction::Star(one(id)), "message.changed"),
        ("read", |id| MailAction::Read(one(id)), "message.changed"),
        ("unread", |id| MailAction::Unread(one(id)), "message.changed"),
        ("archived", |id| MailAction::Archive(one(id)), "message.changed"),
        ("trashed", |id| MailAction::Trash(one(id)), "message.changed"),
        ("untrashed", |id| MailAction::Untrash(one(id)), "message.changed"),
        ("deleted", |id| MailAction::Delete(one(id)), "message.deleted"),
    ];
    // Read first, so that "read" changes something whatever the seed gave.
    running.act(&email, MailAction::Unread(one(&first)));
    running.pass(Duration::from_secs(2));
    running.work().await;
    for (what, make, kind) in changes {
        let before = running.feed(&person).await.len();
        running.pass(Duration::from_secs(2));
        running.act(&email, make(&first));
        running.work().await;
        let feed = running.feed(&person).await;
        let new: Vec<&str> = feed[before..].iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(new, [kind], "{what}");
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn promise_7_an_idle_mailbox_costs_one_watch_a_day() {
    let (running, person) = connected().await;
    running.world(|world| world.calls.clear());
    let asked = |running: &Running| {
        running.world(|world| {
            let calls = world.calls.iter().filter(|it| it.call.starts_with("gmail."));
            calls.map(|it| it.call.to_owned()).collect::<Vec<_>>()
        })
    };
    let due = running.mailbox(&person).await.watch_due_at;
    let until = Duration::try_from(due.duration_since(running.app.clock.now())).expect("it is ahead");
    running.pass(until - Duration::from_secs(1));
    running.work().await;
    assert_eq!(asked(&running), Vec::<String>::new(), "nothing until the watch is due");
    running.pass(Duration::from_secs(1));
    running.settle().await;
    // Google tells of the mailbox at once when its watch is renewed: nothing that isn't stored.
    running.work().await;
    assert!(asked(&running).iter().all(|it| it.ends_with(".watch") || it.ends_with(".labels.list")));
    for _ in 0..3 {
        running.world(|world| world.calls.clear());
        let due = running.mailbox(&person).await.watch_due_at;
        running.pass(Duration::try_from(due.duration_since(running.app.clock.now())).expect("it is ahead"));
        for _ in 0..20 {
            running.settle().await;
            running.pass(Duration::from_secs(3_600));
            running.work().await;
            if running.mailbox(&person).await.watch_due_at.duration_since(running.app.clock.now()).as_hours() < 2 {
                break;
            }
        }
        assert_eq!(asked(&running), ["gmail.users.watch"], "what a day costs, the renewal's own notice included");
    }
    // A label's name is told by nobody: it is asked for once a week.
    let label = running.act(&person.email, MailAction::CreateLabel { name: "Quiet".to_owned() }).ids.remove(0);
    running.world(|world| world.calls.clear());
    for _ in 0..8 {
        running.pass(Duration::from_secs(26 * 3600));
        running.settle().await;
        running.work().await;
    }
    assert_eq!(asked(&running).iter().filter(|it| it.ends_with(".labels.list")).count(), 1);
    assert!(asked(&running).iter().all(|it| it.ends_with(".watch") || it.ends_with(".labels.list")));
    let mut tx = running.app.store.read().await.expect("a transaction");
    let all = labels::list(&mut tx, &running.mailbox(&person).await.id).await.expect("read");
    assert!(all.iter().any(|it| it.id == label));
}

#[tokio::test]
async fn a_watch_is_renewed_for_ever_without_anybody() {
    let (running, person) = connected().await;
    for _ in 0..15 {
        running.pass(Duration::from_secs(26 * 3600));
        running.settle().await;
        let mailbox = running.mailbox(&person).await;
        assert!(mailbox.watch_expires_at.expect("it is set") > running.app.clock.now());
    }
    // Google tells of one change a second, and has just told of the registration itself.
    running.pass(Duration::from_secs(1));
    let email = person.email.clone();
    running.act(&email, receive(1));
    running.work().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_watch_that_lasts_less_than_a_day_is_renewed_long_before_it_ends() {
    let running = Running::start().await;
    running.approve();
    let lasts = Duration::from_secs(6 * 3600);
    let ends = running.app.clock.now().saturating_add(lasts).expect("in range").as_millisecond().to_string();
    running.world(|world| {
        world.faults.add(Rule::twist("gmail.users.watch", json!({ "expiration": ends }), json!({})).times(1))
    });
    let person = running.connected(&running.employee()).await;
    let watches = running.calls("gmail.users.watch");
    running.pass(lasts / 2);
    running.settle().await;
    assert_eq!(running.calls("gmail.users.watch"), watches + 1);
    assert!(running.mailbox(&person).await.watch_expires_at > running.app.clock.now().saturating_add(lasts).ok());
}

#[tokio::test]
async fn a_lost_notice_is_found_by_the_trailing_looks() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.act(&email, receive(1));
    running.work().await;
    // Google drops notices above one a second: this one never comes.
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, receive(1));
    running.work().await;
    assert_ne!(running.stored(&person).await.len(), running.truth(&email).len(), "nobody told Intail");
    running.pass(Duration::from_secs(5));
    running.work().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn what_comes_after_the_trailing_looks_and_nobody_tells_of_is_found_by_one_probe() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.act(&email, receive(1));
    running.work().await;
    for _ in 0..3 {
        running.pass(Duration::from_secs(6));
        running.work().await;
    }
    let mailbox = running.mailbox(&person).await;
    assert!(mailbox.look_at.is_none() && mailbox.probe_at.is_some(), "only the probe is left: {mailbox:?}");
    let held = running.stored(&person).await.len();

    running.world(|world| {
        world.settings.notices.lost_percent = 100;
        world.calls.clear();
    });
    running.act(&email, receive(1));
    running.pass(Duration::from_secs(9 * 60));
    running.work().await;
    let asked = running.world(|world| world.calls.iter().filter(|it| it.call.starts_with("gmail.")).count());
    assert_eq!((asked, running.stored(&person).await.len()), (0, held), "nobody looks before the ten minutes are over");
    running.pass(Duration::from_secs(60));
    running.work().await;
    assert_eq!(running.calls("gmail.users.getProfile"), 1);
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_notice_before_its_data_is_followed_by_another_look() {
    let (running, person) = connected().await;
    running.world(|world| world.settings.visibility_lag_ms = 4_000);
    let email = person.email.clone();
    running.act(&email, receive(1));
    running.work().await;
    running.pass(Duration::from_secs(6));
    running.work().await;
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_7_the_daily_renewal_finds_what_no_notice_told_of() {
    let (running, person) = connected().await;
    running.settle().await;
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&person.email, receive(1));
    running.pass(Duration::from_secs(29 * 3600));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_1_a_lost_cursor_leads_to_one_reconcile_that_emits_the_difference() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let (gone, starred) = running.world(|world| {
        let mailbox = world.mailbox(&email).expect("a mailbox");
        let mut all = mailbox.newest_first().filter(|it| it.has("INBOX") && !it.has("STARRED"));
        (all.next().expect("one").id.clone(), all.next().expect("another").id.clone())
    });
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, MailAction::Delete(one(&gone)));
    running.act(&email, MailAction::Star(one(&starred)));
    running.act(&email, receive(3));
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    let before = running.feed(&person).await.len();
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    let feed = running.feed(&person).await;
    let count = |kind: &str| feed[before..].iter().filter(|it| it.kind == kind).count();
    assert_eq!((count("message.deleted"), count("message.changed"), count("message.added")), (1, 1, 4));
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
}

#[tokio::test]
async fn a_reconcile_costs_listings_and_what_differs_and_no_more() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.settle().await;
    let held = running.stored(&person).await.len();
    let (starred, archived) = running.world(|world| {
        let mailbox = world.mailbox(&email).expect("a mailbox");
        let mut all = mailbox.newest_first().filter(|it| it.has("INBOX") && !it.has("STARRED"));
        (all.next().expect("one").id.clone(), all.next().expect("another").id.clone())
    });
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, MailAction::Star(one(&starred)));
    running.act(&email, MailAction::Archive(one(&archived)));
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.world(|world| world.calls.clear());
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    let fetched = running.calls("gmail.users.messages.get") + running.calls("gmail.users.threads.get");
    assert_eq!(fetched, 3, "the two that differ and the new one, of {held}");
}

#[tokio::test]
async fn an_organization_s_depth_bounds_the_copy_and_a_lost_cursor_keeps_it() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    quota::set_backfill_days(&mut tx, &person.organization_id, Some(20)).await.expect("set");
    tx.commit().await.expect("committed");
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    let from_ms = running.mailbox(&person).await.copied_from_ms.expect("a depth");
    let dates: BTreeMap<String, i64> = running.world(|world| {
        let all = world.mailbox(&email).expect("a mailbox").newest_first().filter(|it| !it.has("DRAFT"));
        all.map(|it| (it.id.clone(), it.internal_date_ms)).collect()
    });
    let recent: BTreeSet<&String> = dates.iter().filter(|(_, at)| **at >= from_ms).map(|(id, _)| id).collect();
    let held = running.stored(&person).await;
    assert!((5..dates.len() - 5).contains(&recent.len()), "some are older: {} of {}", recent.len(), dates.len());
    assert_eq!(held.keys().collect::<BTreeSet<_>>(), recent);
    assert_eq!(running.mailbox(&person).await.total_messages, i64::try_from(held.len()).ok());
    // Nothing is fetched twice, and what is too old only to find where to stop, on the second page: its last message
    // first, then the one in the middle of what is left.
    let floor = running.world(|world| {
        let mut threads: BTreeMap<&str, u64> = BTreeMap::new();
        let all = world.mailbox(&email).expect("a mailbox").newest_first();
        all.filter(|it| recent.contains(&it.id)).for_each(|it| *threads.entry(&it.thread_id).or_default() += 20);
        threads.into_values().map(|units| units.min(40)).sum::<u64>()
    });
    let (listed, within) = (dates.len() - 500, recent.len() - 500);
    let (mut newer, mut older, mut at, mut search) = (0, listed, listed - 1, 0);
    while newer < older {
        if at < within {
            newer = at + 1;
        } else {
            (older, search) = (at, search + 20);
        }
        at = usize::midpoint(newer, older);
    }
    let fetched = running.calls("gmail.users.messages.get") * 20 + running.calls("gmail.users.threads.get") * 40;
    assert_eq!(
        u64::try_from(fetched).expect("few"),
        floor + search,
        "{floor} are the least, and {search} for the search"
    );

    // An older message of which something is heard is copied from then on; what lies around it isn't.
    let old = dates.iter().find(|(_, at)| **at < from_ms).expect("an old one").0.clone();
    running.act(&email, MailAction::Star(one(&old)));
    running.settle().await;
    let with_old: BTreeSet<&String> = recent.iter().copied().chain([&old]).collect();
    assert_eq!(running.stored(&person).await.keys().collect::<BTreeSet<_>>(), with_old);

    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, MailAction::Unstar(one(&old)));
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.pass(Duration::from_secs(2));
    let new = running.act(&email, receive(1)).ids.remove(0);
    running.settle().await;
    let held = running.stored(&person).await;
    assert_eq!(held.keys().collect::<BTreeSet<_>>(), with_old.into_iter().chain([&new]).collect());
    assert!(!held[&old].labels.iter().any(|it| it == "STARRED"), "what differed was found");
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
}

#[tokio::test]
async fn a_label_that_was_deleted_while_the_cursor_was_lost_is_gone_from_its_messages() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let id = in_inbox(&running, &email);
    let label = running.act(&email, MailAction::CreateLabel { name: "Soon gone".into() }).ids.remove(0);
    running.act(&email, MailAction::Label { id: id.clone(), add: vec![label.clone()], remove: Vec::new() });
    running.settle().await;
    assert!(running.stored(&person).await[&id].labels.contains(&label));
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, MailAction::DeleteLabel(one(&label)));
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_1_a_label_made_while_the_cursor_was_lost_is_found_although_google_fails_right_then() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let id = in_inbox(&running, &email);
    running.world(|world| world.settings.notices.lost_percent = 100);
    let label = running.act(&email, MailAction::CreateLabel { name: "Unheard of".into() }).ids.remove(0);
    running.act(&email, MailAction::Label { id: id.clone(), add: vec![label.clone()], remove: Vec::new() });
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.pass(Duration::from_secs(2));
    running.world(|world| world.faults.add(Rule::status("gmail.users.labels.list", 503).times(1)));
    running.act(&email, receive(1));
    running.settle().await;
    assert!(running.stored(&person).await[&id].labels.contains(&label));
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_1_what_a_comparison_saw_that_was_cut_short_is_not_believed_by_the_next() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    // The first of all labels: the end of another one's listing would hide the mistake.
    let label = "CATEGORY_FORUMS".to_owned();
    let ids: Vec<String> = running.stored(&person).await.into_keys().take(2).collect();
    for id in &ids {
        running.act(&email, MailAction::Label { id: id.clone(), add: vec![label.clone()], remove: Vec::new() });
    }
    running.settle().await;
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, MailAction::ForgetHistory);
    let mut tx = running.app.store.write().await.expect("a transaction");
    mailboxes::wake_all(&mut tx, running.app.clock.now()).await.expect("woken");
    tx.commit().await.expect("committed");
    // A label at a time, until it is this one's turn; then one page of it.
    for _ in 0..100 {
        let mailbox = running.mailbox(&person).await;
        if mailbox.listing_label.as_deref() == Some(&label) {
            running.world(|world| world.settings.page_max = 1);
        }
        if mailbox.listing_label.as_deref() == Some(&label) && mailbox.listing_page.is_some() {
            break;
        }
        // A page of everything takes two questions.
        let skip = if mailbox.listing_label.is_some_and(|it| !it.is_empty()) { 1 } else { 2 };
        running.world(|world| world.faults.clear());
        running.world(|world| world.faults.add(Rule { skip, ..Rule::status("gmail.users.messages.list", 503) }));
        running.pass(Duration::from_secs(60));
        running.worker.tick().await.expect("the engine runs");
    }
    let mailbox = running.mailbox(&person).await;
    assert!(mailbox.listing_label.as_deref() == Some(&label) && mailbox.listing_page.is_some(), "{mailbox:?}");
    running.world(|world| world.faults.clear());
    // Between the label's two pages, it goes from both messages, and the history is lost once more.
    for id in &ids {
        running.act(&email, MailAction::Label { id: id.clone(), add: Vec::new(), remove: vec![label.clone()] });
    }
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| (world.settings.notices.lost_percent, world.settings.page_max) = (0, 0));
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_few_messages_that_cannot_be_read_do_not_keep_a_comparison_from_ending() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let ids: Vec<String> = running.stored(&person).await.into_keys().take(4).collect();
    running.world(|world| world.settings.notices.lost_percent = 100);
    for id in &ids {
        running.act(&email, MailAction::Delete(one(id)));
    }
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.world(|world| world.faults.add(Rule::status("gmail.users.messages.get", 503)));
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    for _ in 0..30 {
        running.pass(Duration::from_secs(60));
        running.work().await;
    }
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live, "the rest was compared");
    running.world(|world| world.faults.clear());
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn when_the_day_is_used_up_backfill_waits_until_it_turns_and_live_changes_go_on() {
    // Four fifths of this are for old mail.
    let running = Running::start_with(Setup { gmail_day: Some(5_000), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(400));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    let old = running.stored(&person).await.len();
    assert!((100..350).contains(&old), "old mail is read while there is something left of the day: {old}");
    let spent = running.world(|world| world.calls.iter().map(|it| it.units).sum::<u32>());
    assert!((3_960..4_050).contains(&spent), "what copying leaves is left, but for a look that is due: {spent} units");
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.settle().await;
    assert_eq!(running.stored(&person).await.len(), old + 1, "new mail is read all the same");
    let proof = session(&running.app, &person).await;
    let card = text(ask(&running.app, "GET", "/settings/integrations", &proof, None).await).await;
    assert!(card.contains("day-used") && card.contains("New mail arrives all the same"), "{card}");
    assert_waits_for_the_day(&what_is_told(&running, &person).await, 80, "copying old mail stops there");
    for _ in 0..8 {
        running.pass(Duration::from_secs(24 * 3600));
        running.settle().await;
    }
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_thread_of_three_is_fetched_whole_and_nothing_is_fetched_twice() {
    let (running, person) = connected().await;
    running.settle().await;
    let mut threads: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for message in running.stored(&person).await.into_values() {
        *threads.entry(message.thread_id).or_default() += 1;
    }
    let whole = threads.values().filter(|it| **it >= 3).count();
    let singly: usize = threads.values().filter(|it| **it < 3).sum();
    assert!(whole > 3, "the world has such threads: {whole}");
    let (asked_whole, asked_singly) =
        (running.calls("gmail.users.threads.get"), running.calls("gmail.users.messages.get"));
    assert_eq!((asked_whole, asked_singly), (whole, singly), "the whole list is read first");
}

#[tokio::test]
async fn how_many_messages_there_are_is_told_without_drafts_whatever_was_listed_twice() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let (all, drafts) = running.world(|world| {
        world.settings.page_max = 200;
        let all = world.mailbox(&email).expect("a mailbox").newest_first();
        let (drafts, all): (Vec<_>, Vec<_>) = all.partition(|it| it.has("DRAFT"));
        (all.len(), drafts.len())
    });
    assert!(drafts == 0 && all > 400, "{all} {drafts}");
    for _ in 0..9 {
        running.act(&email, MailAction::Draft { earlier: None, compose: Compose::default() });
    }
    // The token of the second page is refused: the first is listed again.
    let refused = Rule::status("gmail.users.messages.list", 400).times(1);
    running.world(|world| world.faults.add(Rule { skip: 2, ..refused }));
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    running.pass(Duration::from_secs(60));
    running.work().await;
    let total = async || what_is_told(&running, &person).await.1["mailbox"]["messages_total"].clone();
    let begun = running.mailbox(&person).await;
    assert!(begun.state == MailboxState::Backfilling && begun.listing_done, "{begun:?}");
    assert_eq!(total().await, all);
    running.settle().await;
    running.act(&email, receive(7));
    running.settle().await;
    assert_eq!(total().await, all + 7, "it goes on counting");
}

#[tokio::test]
async fn a_thread_that_could_not_be_read_is_asked_for_whole_once_more() {
    let mut asked = Vec::new();
    for failing in [0, 2] {
        let running = Running::start().await;
        running.approve();
        let email = running.employee();
        let person = running.sign_in(&email).await;
        running.world(|world| world.faults.add(Rule::status("gmail.users.threads.get", 503).times(failing)));
        running.connect(&person, Ticks::All).await.expect("connected");
        running.settle().await;
        running.assert_nothing_is_lost(&person).await;
        asked.push((running.calls("gmail.users.threads.get"), running.calls("gmail.users.messages.get")));
    }
    assert_eq!(asked[1], (asked[0].0 + 2, asked[0].1), "threads, and messages by themselves");
}

#[tokio::test]
async fn drafts_cost_nothing_and_are_not_copied() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.settle().await;
    running.world(|world| world.calls.clear());
    let compose = Compose { to: "somebody@example.net".into(), subject: "Draft".into(), ..Compose::default() };
    let mut draft = None;
    for _ in 0..5 {
        running.pass(Duration::from_secs(2));
        let done = running.act(&email, MailAction::Draft { earlier: draft.clone(), compose: compose.clone() });
        draft = done.ids.first().cloned();
        running.work().await;
    }
    assert_eq!(running.calls("gmail.users.messages.get"), 0, "autosaves cost no fetch");
    running.pass(Duration::from_secs(2));
    running.act(&email, MailAction::Star(one(draft.as_ref().expect("a draft"))));
    running.work().await;
    assert_eq!(running.calls("gmail.users.messages.get"), 0, "a draft that is given a label costs none either");
    running.pass(Duration::from_secs(2));
    running.act(&email, MailAction::SendDraft(one(&draft.expect("a draft"))));
    running.settle().await;
    assert!(running.calls("gmail.users.messages.get") >= 1, "the sent message is fetched");
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn an_answer_that_is_older_than_the_history_that_led_to_it_takes_nothing_back() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.settle().await;
    let id = running.act(&email, receive(1)).ids.remove(0);
    let earlier = running.truth(&email).remove(&id).expect("it is there");
    running.act(&email, MailAction::Star(one(&id)));
    let old = json!({ "historyId": "1", "labelIds": earlier });
    running.world(|world| world.faults.add(Rule::twist("gmail.users.messages.get", old, json!({})).times(1)));
    running.work().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn drafts_beyond_the_first_page_of_them_are_not_fetched_either() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let compose = Compose { to: "somebody@example.net".into(), subject: "Draft".into(), ..Compose::default() };
    for _ in 0..7 {
        running.act(&email, MailAction::Draft { earlier: None, compose: compose.clone() });
    }
    running.world(|world| world.settings.page_max = 2);
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    let fetched = running.calls("gmail.users.messages.get");
    assert!(fetched <= running.stored(&person).await.len(), "{fetched} were fetched");
}

#[tokio::test]
async fn an_item_that_fails_is_a_debt_and_the_cursor_goes_on() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.world(|world| world.faults.add(Rule::status("gmail.users.messages.get", 500).times(2)));
    running.act(&email, receive(1));
    running.work().await;
    let (mailbox, owed) = (running.mailbox(&person).await, owed(&running, &person).await);
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].reason, "transient");
    let current = running.world(|world| world.mailbox(&email).expect("there").history().current());
    assert_eq!(mailbox.cursor, Some(HistoryId(current)), "the mailbox goes on");
    let card = page(&running, &person, "/settings/integrations").await;
    assert!(card.contains("1 message couldn’t be read yet and will be tried again"), "{card}");
    assert!(card.contains(": Google didn’t answer as it should."), "{card}");
    let told = page(&running, &person, &format!("/api/v1/mailboxes/{}/coverage", mailbox.id)).await;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["debts"]["by_reason"], serde_json::json!({"transient": 1}), "{told}");
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn google_s_wish_to_slow_down_is_kept_and_survives_a_restart() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let refusal = Mischief::Status {
        status: 429,
        reason: Some("rateLimitExceeded".into()),
        message: Some("User-rate limit exceeded.  Retry after 2026-11-22T23:00:00.000Z".into()),
        retry_after_s: None,
    };
    running.world(|world| world.faults.add(Rule::new("gmail.users.history.list", refusal).times(1)));
    running.act(&email, receive(1));
    running.work().await;
    let mailbox = running.mailbox(&person).await;
    let until = mailbox.paused_until.expect("it is paused");
    assert_eq!(until.to_string(), "2026-11-22T23:00:00Z");
    let (card, api) = what_is_told(&running, &person).await;
    let told = ["waits_for", "paused_why", "paused_until", "waits_until"].map(|it| api["mailbox"][it].as_str());
    let until = Some("2026-11-22T23:00:00Z");
    assert_eq!(told, [Some("mailbox"), Some("person"), until, until], "{api}");
    let why = "</time>: Google asked Intail to slow down with this mailbox. Nothing new arrives until then";
    assert!(card.contains("id=\"paused\">Waits until ") && card.contains(why), "{card}");
    running.world(|world| world.calls.clear());
    running.pass(Duration::from_secs(3600));
    running.act(&email, receive(1));
    running.take_notices().await;
    running.another_worker().tick().await.expect("the engine runs");
    assert_eq!(running.world(|world| world.calls.iter().filter(|it| it.call.starts_with("gmail.")).count()), 0);
    running.pass(Duration::from_secs(14 * 3600));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn pages_without_content_and_repeated_notices_change_nothing() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.world(|world| {
        world.settings.empty_history_page_percent = 50;
        world.settings.notices.duplicated_percent = 100;
        world.settings.notices.history_id_as_text = true;
    });
    for _ in 0..6 {
        running.act(&email, receive(4));
        let id = in_inbox(&running, &email);
        running.act(&email, MailAction::Star(one(&id)));
        running.act(&email, MailAction::Unstar(one(&id)));
        running.act(&email, MailAction::Delete(one(&id)));
        running.pass(Duration::from_secs(2));
        running.work().await;
    }
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn live_changes_arrive_while_the_backfill_runs() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(600));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    let mailbox = running.mailbox(&person).await;
    assert_eq!(mailbox.state, MailboxState::Backfilling, "the minute's budget is used up first");
    let before = running.stored(&person).await.len();
    // Google tells of one change a second, and has just told of the registration itself.
    running.pass(Duration::from_secs(1));
    running.act(&email, receive(1));
    let newest = running
        .world(|world| world.mailbox(&email).expect("there").newest_first().next().expect("it arrived").id.clone());
    running.pass(Duration::from_secs(1));
    running.work().await;
    let stored = running.stored(&person).await;
    assert!(stored.contains_key(&newest), "live doesn't wait behind backfill ({before} stored)");
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    // Whether somebody sees what administrators see is found out by asking.
    let is_refused = |status, call: &str| (status == 403 || status == 429) && call != "directory.users.get";
    let refused = running.world(|world| world.calls.iter().filter(|it| is_refused(it.status, it.call)).count());
    assert_eq!(refused, 0, "promise 8: the quota is never exceeded");
}

#[tokio::test]
async fn a_missing_topic_is_the_operator_s_and_reading_goes_on() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let topic = running.app.config.pubsub.topic.clone();
    running.world(|world| world.pubsub.delete_topic(&topic)).expect("deleted");
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    for _ in 0..3 {
        running.pass(Duration::from_secs(70));
        running.worker.tick().await.expect("the engine runs");
    }
    let faults = faults(&running).await;
    assert_eq!(faults.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>(), ["pubsub.topic_missing"]);
    assert!(running.mailbox(&person).await.watch_problem.is_some());
    assert!(!running.stored(&person).await.is_empty(), "mail is read all the same");
}

#[tokio::test]
async fn a_missing_publisher_right_is_the_operator_s_and_over_once_the_right_is_back() {
    let (running, person) = connected().await;
    let (email, settings) = (person.email.clone(), &running.app.config.pubsub);
    running.world(|world| {
        let topic = world.pubsub.topics.get_mut(&settings.topic).expect("it was made");
        topic.policy.bindings.clear();
    });
    running.act(&email, receive(1));
    // Until the next renewal, Google says nothing of it.
    running.pass(Duration::from_secs(29 * 3600));
    running.work().await;
    let told = faults(&running).await;
    assert_eq!(told.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>(), ["pubsub.publisher_missing"]);
    assert!(running.mailbox(&person).await.watch_problem.is_some());
    running.assert_nothing_is_lost(&person).await;
    let administrator = session(&running.app, &running.sign_in(ADMIN).await).await;
    let overview = async || text(ask(&running.app, "GET", "/admin", &administrator, None).await).await;
    let page = overview().await;
    assert!(page.contains("pubsub.publisher_missing") && page.contains("grant roles/pubsub.publisher on it"), "{page}");
    let ready = text(ask(&running.app, "GET", "/readyz", &administrator, None).await).await;
    assert!(ready.contains("pubsub.publisher_missing"), "{ready}");

    running.act(&email, receive(1));
    assert_eq!(running.take_notices().await, 0, "Google can't tell");
    running.pass(Duration::from_secs(10 * 60 + 1));
    running.work().await;
    running.assert_nothing_is_lost(&person).await;

    let given = provision::publisher(&running.pubsub, settings).await.expect("the operator gives the right back");
    assert_eq!(given, Publisher::Granted);
    running.pass(Duration::from_secs(30 * 60));
    running.work().await;
    assert!(faults(&running).await.is_empty(), "the next watch is set, and heals it");
    assert_eq!(running.mailbox(&person).await.watch_problem, None);
    assert!(overview().await.contains("Nothing has to be mended"));
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    assert!(running.take_notices().await > 0, "Google tells again");
    running.work().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_6_no_word_of_a_body_reaches_the_database_the_log_or_a_page() {
    let log = Written::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // With a single subscriber, tracing asks the thread that comes first whether a place in the code is worth a line; a
    // test on another thread would answer no for everybody.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _logging = tracing::subscriber::set_default(subscriber);
    let (running, person) = connected().await;
    running.act(&person.email, receive(20));
    running.settle().await;
    let canaries: Vec<String> = running.world(|world| world.canaries().map(str::to_owned).collect());
    assert!(canaries.len() > 100, "the false Google plants them");

    let mut pages = Vec::new();
    let thread = running.stored(&person).await.into_values().next().expect("a message").thread_id;
    for path in
        ["/mail".to_owned(), format!("/mail/thread/{thread}"), "/activity".to_owned(), api_of(&running, &person).await]
    {
        pages.push(page(&running, &person, &path).await);
    }
    running.app.store.close().await;
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(running.directory()).expect("the directory") {
        bytes.extend(std::fs::read(file.expect("an entry").path()).expect("a file"));
    }
    let (database, log) = (String::from_utf8_lossy(&bytes).into_owned(), log.text());
    assert!(
        database.contains("example.com") && log.contains("gmail.messages.get"),
        "there is something to look through"
    );
    for text in pages.iter().chain([&database, &log]) {
        assert!(!text.contains(CANARY), "no canary");
    }
    for secret in ["ya29.", "1//0"] {
        let line =
            log.lines().find(|line| line.contains(secret)).map(|line| line.chars().take(300).collect::<String>());
        assert_eq!((line, database.contains(secret)), (None, false), "no token either");
    }
}

/// The address of the first page of a person's messages in the API.
async fn api_of(running: &Running, person: &Person) -> String {
    format!("/api/v1/mailboxes/{}/messages", running.mailbox(person).await.id)
}

/// A page as the person sees it who is signed in, or the API's answer.
async fn page(running: &Running, person: &Person, path: &str) -> String {
    let now = running.app.clock.now();
    let mut tx = running.app.store.write().await.expect("a transaction");
    let ends = now.saturating_add(Duration::from_secs(60)).expect("a time");
    sessions::open(&mut tx, &hash_token(path), &person.id, "form", now, ends).await.expect("a session");
    tx.commit().await.expect("committed");
    let request = Request::get(format!("http://127.0.0.1:8080{path}"))
        .header("host", "127.0.0.1:8080")
        .header("cookie", format!("intail-session={path}"));
    let answer = web::router(running.app.clone()).oneshot(request.body(Body::empty()).expect("a request")).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    let bytes = axum::body::to_bytes(answer.into_body(), 16 * 1024 * 1024).await.expect("a body");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panicked")).into_owned()
    }
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_change_during_a_reconcile_does_not_freeze_what_was_stale() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let id = in_inbox(&running, &email);
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, MailAction::Archive(one(&id)));
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.take_notices().await;
    // The reconcile begins and lists; before the message is read again, its labels move once more.
    running.world(|world| world.faults.add(Rule::status("gmail.users.messages.list", 503).times(1)));
    running.worker.tick().await.expect("the engine runs");
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Reconciling);
    running.act(&email, MailAction::Star(one(&id)));
    running.pass(Duration::from_secs(3));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_1_an_id_of_googles_that_counts_what_cannot_be_read_yet_is_not_believed() {
    for told in [true, false] {
        let (running, person) = connected().await;
        let email = person.email.clone();
        running.world(|world| {
            world.settings.history_id_leads = true;
            world.settings.visibility_lag_ms = 12_000;
            world.settings.notices.lost_percent = if told { 0 } else { 100 };
        });
        let id = in_inbox(&running, &email);
        running.act(&email, MailAction::Star(one(&id)));
        if told {
            running.settle().await;
        } else {
            // Found by a look that nobody asked for, a moment after it happened.
            let mut tx = running.app.store.write().await.expect("a transaction");
            tx.run("UPDATE mailboxes SET look_at = 1, due_at = 1", Vec::new()).await.expect("due");
            tx.commit().await.expect("committed");
            running.settle().await;
        }
        running.pass(Duration::from_secs(20));
        running.settle().await;
        assert!(running.stored(&person).await[&id].labels.iter().any(|it| it == "STARRED"), "told: {told}");
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn without_a_watch_changes_are_still_found() {
    let (running, person) = connected().await;
    let (email, topic) = (person.email.clone(), running.app.config.pubsub.topic.clone());
    running.world(|world| world.pubsub.delete_topic(&topic)).expect("deleted");
    running.pass(Duration::from_secs(8 * 24 * 3600));
    running.worker.tick().await.expect("the engine runs");
    assert!(running.mailbox(&person).await.watch_expires_at.expect("it was set") < running.app.clock.now());
    running.act(&email, receive(1));
    for _ in 0..4 {
        running.pass(Duration::from_secs(10 * 60 + 1));
        running.worker.tick().await.expect("the engine runs");
    }
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn promise_7_while_a_watch_cannot_be_renewed_changes_are_found_all_the_same() {
    let (running, person) = connected().await;
    let (email, topic) = (person.email.clone(), running.app.config.pubsub.topic.clone());
    running.world(|world| world.pubsub.delete_topic(&topic)).expect("deleted");
    running.pass(Duration::from_secs(29 * 3600));
    running.worker.tick().await.expect("the engine runs");
    let mailbox = running.mailbox(&person).await;
    assert!(mailbox.watch_problem.is_some() && mailbox.watch_expires_at > Some(running.app.clock.now()));
    for _ in 0..3 {
        running.act(&email, receive(1));
        for _ in 0..2 {
            running.pass(Duration::from_secs(10 * 60 + 1));
            running.work().await;
        }
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn what_the_operator_has_to_mend_is_tried_seldom_and_once_mended_by_everybody() {
    let running = Running::start().await;
    running.approve();
    let (first, second) = running.employees();
    let people = [running.connected(&first).await, running.connected(&second).await];
    let topic = running.app.config.pubsub.topic.clone();
    running.world(|world| world.pubsub.delete_topic(&topic)).expect("deleted");
    let watches = running.calls("gmail.users.watch");
    for _ in 0..3 * 24 {
        running.pass(Duration::from_secs(3600));
        running.worker.tick().await.expect("the engine runs");
    }
    let tried = running.calls("gmail.users.watch") - watches;
    assert!((8..=28).contains(&tried), "two mailboxes, in three days: {tried}");
    let made = running.world(|world| {
        let made = world.pubsub.create_topic(&topic);
        made.and_then(|()| world.pubsub.grant_publisher(&topic))
    });
    made.expect("the operator made the topic again");
    let mut hours = 0;
    for _ in 0..8 {
        running.pass(Duration::from_secs(3600));
        running.settle().await;
        hours += 1;
        if running.mailbox(&people[0]).await.watch_problem.is_none()
            || running.mailbox(&people[1]).await.watch_problem.is_none()
        {
            break;
        }
    }
    running.pass(Duration::from_secs(3600));
    running.settle().await;
    for person in &people {
        let mailbox = running.mailbox(person).await;
        assert_eq!(mailbox.watch_problem, None, "an hour after the first one, {hours} hours after the mending");
    }
}

#[tokio::test]
async fn trouble_at_google_stops_the_asking_and_the_waits_grow() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.world(|world| world.faults.add(Rule::status("gmail.users.messages.get", 503)));
    running.world(|world| world.faults.add(Rule::status("gmail.users.threads.get", 503)));
    let mut failures = Vec::new();
    for _ in 0..4 {
        running.worker.tick().await.expect("the engine runs");
        failures.push(running.mailbox(&person).await.failures);
        running.pass(Duration::from_secs(30));
    }
    assert!(failures.windows(2).all(|pair| pair[0] < pair[1]), "the waits grow: {failures:?}");
    let asked = running.calls("gmail.users.messages.get") + running.calls("gmail.users.threads.get");
    assert!(asked < 60, "Google isn't flooded while it has a bad time: {asked}");
    running.world(|world| world.faults.clear());
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_message_that_becomes_readable_late_is_not_forgotten() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    running.world(|world| world.faults.add(Rule::status("gmail.users.messages.get", 404).times(2)));
    running.act(&email, receive(1));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_message_that_is_gone_before_it_is_fetched_leaves_no_row_and_no_debt() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    // The history tells of everything half a minute late: it is asked for when it has gone and nobody says so yet.
    running.world(|world| world.settings.visibility_lag_ms = 30_000);
    let gone = running.act(&email, receive(1)).ids.remove(0);
    running.work().await;
    running.pass(Duration::from_secs(20));
    running.act(&email, MailAction::Delete(one(&gone)));
    running.work().await;
    let fetched = running.calls("gmail.users.messages.get");
    running.pass(Duration::from_secs(10));
    running.act(&email, receive(1));
    running.work().await;
    let owing = owed(&running, &person).await;
    let owing: Vec<(&str, &str)> = owing.iter().map(|it| (it.message_id.as_str(), it.reason.as_str())).collect();
    assert_eq!(owing, [(gone.as_str(), "not_readable_yet")]);
    let arrived = running.world(|world| {
        let history = world.mailbox(&email).expect("a mailbox").history();
        history.records().find(|it| it.message_id == gone).expect("it is told of").id
    });
    assert_eq!(running.mailbox(&person).await.cursor, Some(HistoryId(arrived)), "the mailbox goes on");

    // After 10 s, a minute and six minutes it counts as gone; nobody reads the history meanwhile.
    for _ in 0..44 {
        running.pass(Duration::from_secs(10));
        running.work().await;
    }
    assert_eq!(running.calls("gmail.users.messages.get") - fetched, 4, "the first time, and three tries");
    assert_eq!(owed(&running, &person).await, Vec::<Debt>::new());
    assert!(!running.stored(&person).await.contains_key(&gone));
    assert!(running.feed(&person).await.iter().all(|it| it.subject_id != gone), "the feed never heard of it");
    running.settle().await;
    assert_eq!(owed(&running, &person).await, Vec::<Debt>::new());
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_backfill_that_was_cut_between_two_pages_goes_on_at_the_page_that_it_had_reached() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    running.world(|world| world.settings.page_max = 10);
    let (pages, draft_pages) = running.world(|world| {
        let mailbox = world.mailbox(&email).expect("a mailbox");
        let drafts = mailbox.newest_first().filter(|it| it.has("DRAFT")).count();
        (mailbox.newest_first().count().div_ceil(10), drafts.div_ceil(10).max(1))
    });
    assert!(pages > 5, "the world has mail: {pages}");
    // Each page is listed beside the drafts. After three of them, Google fails.
    let skip = u32::try_from(3 * (1 + draft_pages)).expect("a few");
    running.world(|world| world.faults.add(Rule { skip, ..Rule::status("gmail.users.messages.list", 503) }));
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.worker.tick().await.expect("the engine runs");
    let cut = running.mailbox(&person).await;
    assert_eq!((cut.state, cut.listing_pages, cut.listing_page.is_some()), (MailboxState::Backfilling, 3, true));

    // Nothing is fetched now, so that the listing ends and nothing comes after it.
    running.world(|world| {
        world.faults.clear();
        world.faults.add(Rule::status("gmail.users.messages.get", 503));
        world.faults.add(Rule::status("gmail.users.threads.get", 503));
        world.calls.clear();
    });
    running.pass(Duration::from_secs(60));
    running.another_worker().tick().await.expect("the engine runs");
    assert!(running.mailbox(&person).await.listing_done);
    let listed = running.calls("gmail.users.messages.list");
    assert_eq!(listed, (pages - 3) * (1 + draft_pages), "of {pages} pages, those that were left");
    running.world(|world| world.faults.clear());
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn while_a_mailbox_is_compared_its_card_says_so_and_its_mail_can_be_read() {
    let (running, person) = connected().await;
    let email = person.email.clone();
    let newest = running.stored(&person).await.into_values().max_by_key(|it| it.received_ms).expect("there is mail");
    let proof = session(&running.app, &person).await;
    let shown = async |path: &str| {
        let answer = ask(&running.app, "GET", path, &proof, None).await;
        assert_eq!(answer.status(), 200, "{path}");
        text(answer).await
    };
    running.act(&email, MailAction::ForgetHistory);
    running.pass(Duration::from_secs(2));
    running.act(&email, receive(1));
    running.take_notices().await;
    running.worker.tick().await.expect("the engine runs");
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Reconciling);
    let card = shown("/settings/integrations").await;
    assert!(card.contains("Comparing with Google") && card.contains("What is here is being compared"), "{card}");
    let thread = format!("/mail/thread/{}", newest.thread_id);
    let mail = shown("/mail").await;
    assert!(mail.contains("Comparing everything with Google") && mail.contains(&thread), "{mail}");
    shown(&thread).await;
    running.settle().await;
    let card = shown("/settings/integrations").await;
    assert!(!card.contains("Comparing with Google") && card.contains("Connected and live"), "{card}");
    running.assert_nothing_is_lost(&person).await;
}

async fn proved(running: &Running, person: &Person) -> Coverage {
    let mailbox = running.mailbox(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    coverage::of_mailbox(&mut tx, &mailbox.id).await.expect("read")
}

#[tokio::test]
async fn promise_11_completeness_is_proved_by_googles_own_count() {
    let (running, person) = connected().await;
    let first = proved(&running, &person).await;
    assert_eq!(first.google_count, first.held_count, "drafts left out");
    assert!(first.audited_at.is_some() && first.misses == 0);

    running.act(&person.email, MailAction::Draft { earlier: None, compose: Compose::default() });
    running.pass(Duration::from_secs(25 * 3600));
    running.settle().await;
    let second = proved(&running, &person).await;
    assert!(second.audited_at > first.audited_at, "activity is followed by an audit, a day later at the earliest");

    running.pass(Duration::from_secs(29 * 3600));
    running.settle().await;
    running.work().await;
    running.world(|world| world.calls.clear());
    for _ in 0..40 {
        running.pass(Duration::from_secs(3600));
        running.settle().await;
        running.work().await;
    }
    let asked = running.world(|world| world.calls.iter().map(|it| it.call.to_owned()).collect::<Vec<_>>());
    let asked: Vec<&String> = asked.iter().filter(|it| it.starts_with("gmail.users.")).collect();
    assert!((1..=2).contains(&asked.len()), "{asked:?}");
    assert!(asked.iter().all(|it| it.ends_with(".watch")), "promise 7: nothing is counted when idle: {asked:?}");
    let path = format!("/api/v1/mailboxes/{}/coverage", running.mailbox(&person).await.id);
    let body = page(&running, &person, &path).await;
    let shown: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(shown["complete"], true, "{shown}");
    assert_eq!(shown["audit"]["held"], serde_json::json!(second.held_count));
}

#[tokio::test]
async fn a_label_that_differs_is_found_by_counting_and_only_that_label_is_compared() {
    let (running, person) = connected().await;
    let mailbox = running.mailbox(&person).await;
    let is_starred = |it: &messages::Message| it.labels.iter().any(|label| label == "STARRED");
    let stored = running.stored(&person).await;
    let lacks = stored.values().find(|it| !is_starred(it)).expect("a message").clone();
    // As if the history had told of a star and nobody had listened.
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&person.email, MailAction::Star(one(&lacks.id)));
    running.world(|world| world.settings.notices.lost_percent = 0);
    let current = running.world(|world| world.mailbox(&person.email).expect("a mailbox").history().current());
    let mut tx = running.app.store.write().await.expect("a transaction");
    let sql = format!("UPDATE mailboxes SET cursor = '{:020}'", current);
    tx.run_built(sql, Vec::new()).await.expect("as if it had been read");
    tx.commit().await.expect("committed");

    running.pass(Duration::from_secs(25 * 3600));
    running.act(&person.email, receive(1));
    let (fetched, listed) = (running.calls("gmail.users.messages.get"), running.calls("gmail.users.messages.list"));
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    assert_eq!(running.calls("gmail.users.messages.get") - fetched, 2, "the new one and the one that differed");
    // The drafts that carry the label, twice, then the label, and the newest page with its drafts.
    assert!(running.calls("gmail.users.messages.list") - listed <= 5, "one label, and the newest page once more");
    let proved = proved(&running, &person).await;
    assert!(proved.labels_repaired_at.is_some() && proved.repaired_at.is_none(), "{proved:?}");
    assert!(proved.agrees() && proved.audited_at >= proved.labels_repaired_at, "{proved:?}");
    let after = running.mailbox(&person).await;
    assert_eq!((after.state, after.listing_pass), (MailboxState::Live, mailbox.listing_pass));
}

#[tokio::test]
async fn a_copy_is_complete_back_to_where_nothing_is_missing_and_not_to_what_a_new_letter_answers() {
    // Far down the first page of the listing.
    const PLACE: usize = 300;
    let running = Running::start_with(Setup { gmail_day: Some(2_000), ..Setup::default() }).await;
    running.approve();
    let email = running.employee();
    let long_ago = running.world(|world| {
        let there = world.mailbox(&email).expect("a mailbox").newest_first().nth(PLACE);
        there.expect("so many messages").internal_date_ms
    });
    let letter = |thread_id: Option<String>, internal_date_ms: Option<i64>| MailAction::Receive {
        from: None,
        compose: None,
        headers: None,
        label_ids: None,
        thread_id,
        internal_date_ms,
        count: 1,
    };
    let old = running.act(&email, letter(None, Some(long_ago))).ids.remove(0);
    let thread = running.world(|world| world.mailbox(&email)?.message(&old).map(|it| it.thread_id.clone()));
    let answer = running.act(&email, letter(thread, None)).ids.remove(0);
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    let (mailbox, stored) = (running.mailbox(&person).await, running.stored(&person).await);
    assert_eq!(mailbox.state, MailboxState::Backfilling, "the day's part is used up");
    assert!(stored.contains_key(&answer) && stored.contains_key(&old), "both of the thread are there");
    let complete_to = mailbox.oldest_ms.expect("something is complete");
    let missing: Vec<String> = running.world(|world| {
        let all = world.mailbox(&email).expect("a mailbox").newest_first().filter(|it| !it.has("DRAFT"));
        let newer = all.filter(|it| it.internal_date_ms >= complete_to && !stored.contains_key(&it.id));
        newer.map(|it| it.id.clone()).collect()
    });
    assert!(missing.is_empty(), "{missing:?} are newer than {complete_to} and aren't here");
}

#[tokio::test]
async fn drafts_that_carry_a_label_are_counted_to_the_last_page_of_them() {
    let (running, person) = connected().await;
    running.world(|world| world.settings.page_max = 2);
    for _ in 0..7 {
        let draft = running.act(&person.email, MailAction::Draft { earlier: None, compose: Compose::default() });
        running.act(&person.email, MailAction::Star(one(&draft.ids[0])));
    }
    running.pass(Duration::from_secs(25 * 3600));
    running.act(&person.email, receive(1));
    let before = proved(&running, &person).await;
    running.settle().await;
    let after = proved(&running, &person).await;
    assert!(after.audited_at > before.audited_at && after.agrees(), "{after:?}");
    assert_eq!((after.labels_differ.as_deref(), after.labels_repaired_at), (None, None), "nothing differs");
}

#[tokio::test]
async fn a_hole_is_found_also_where_another_message_can_not_be_read_for_days() {
    let (running, person) = connected().await;
    let (mailbox, first) = (running.mailbox(&person).await, proved(&running, &person).await);
    let lost = running.stored(&person).await.into_values().next().expect("a message");
    running.world(|world| world.faults.add(Rule::status("gmail.users.messages.get", 500)));
    running.act(&person.email, receive(1));
    let hours = async |count| {
        for _ in 0..count {
            running.pass(Duration::from_secs(3600));
            running.work().await;
        }
    };
    hours(48).await;
    assert!(running.mailbox(&person).await.state == MailboxState::Live, "it isn't compared again and again");
    let known = proved(&running, &person).await;
    assert!(known.audited_at > first.audited_at, "{known:?}");
    let mut tx = running.app.store.write().await.expect("a transaction");
    messages::delete(&mut tx, &mailbox.id, &lost).await.expect("deleted");
    tx.commit().await.expect("committed");
    let another = running.stored(&person).await.into_keys().next().expect("a message");
    running.act(&person.email, MailAction::Star(one(&another)));
    hours(48).await;
    let found = proved(&running, &person).await;
    assert!(found.repaired_at > known.audited_at, "{found:?}");
    running.world(|world| world.faults.clear());
    hours(2).await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_hole_is_found_by_counting_and_mends_itself_without_reading_everything_again() {
    let (running, person) = connected().await;
    let mailbox = running.mailbox(&person).await;
    let lost = running.stored(&person).await.into_values().next().expect("a message");
    let mut tx = running.app.store.write().await.expect("a transaction");
    messages::delete(&mut tx, &mailbox.id, &lost).await.expect("deleted");
    tx.commit().await.expect("committed");

    running.pass(Duration::from_secs(25 * 3600));
    running.act(&person.email, receive(1));
    let fetched = running.calls("gmail.users.messages.get");
    running.settle().await;
    assert_eq!(running.calls("gmail.users.messages.get") - fetched, 2, "the new one and the lost one");
    running.assert_nothing_is_lost(&person).await;
    let proved = proved(&running, &person).await;
    assert!(proved.repaired_at.is_some() && proved.audited_at >= proved.repaired_at, "{proved:?}");
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Live);
}

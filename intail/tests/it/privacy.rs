//! What may be kept of people's mail: nothing else is ever stored, what is stored already follows, and nothing is lost
//! of what may be kept.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use intail::org::privacy as policy;
use intail::store::exclusions::{self, Count};
use intail::store::grants::{self, GrantState};
use intail::store::messages::SubjectForm;
use intail::store::people::{self, Person, Role};
use intail::store::privacy::{self, Policy};
use intail::store::{audit, changes, coverage, erasure, quota};
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::compose::{Compose, addresses};
use intail_sandbox::mail::Header;
use serde_json::Value as Json;

use crate::access::{Proof, ask, location, session, text};
use crate::harness::postgres;
use crate::harness::running::{ADMIN, Running, Setup, Ticks, receive};
use crate::harness::truth;
use crate::mail::Written;
use crate::pages::between;
use crate::quota::{assert_waits_for_the_day, what_is_told};

/// Characters of a list of recipients that Intail keeps.
const RECIPIENTS_KEPT: usize = 4 * 1024;

/// A policy that leaves out these labels, by id.
fn without_labels(labels: &[&str]) -> Policy {
    Policy { labels: labels.iter().map(|it| (*it).to_owned()).collect(), ..Policy::default() }
}

/// A policy that leaves out these addresses and domains.
fn without_parties(lines: &str) -> Policy {
    let mut policy = Policy::default();
    policy::read_parties(lines, &mut policy).expect("good lines");
    policy
}

fn subjects(subject: SubjectForm) -> Policy {
    Policy { subject, ..Policy::default() }
}

async fn choose(running: &Running, person: &Person, choice: &Policy) {
    let app = &running.app;
    let mut tx = app.store.write().await.expect("a transaction");
    policy::choose(&mut tx, person, choice, &app.keyring, &app.random, app.clock.now()).await.expect("chosen");
    tx.commit().await.expect("committed");
}

async fn set_floor(running: &Running, person: &Person, floor: &Policy) {
    let app = &running.app;
    let mut tx = app.store.write().await.expect("a transaction");
    let organization = &person.organization_id;
    policy::set_floor(&mut tx, organization, floor, &app.keyring, &app.random, app.clock.now()).await.expect("set");
    tx.commit().await.expect("committed");
}

/// Signs in, chooses, and only then connects.
async fn connected_under(running: &Running, choice: &Policy) -> Person {
    running.approve();
    let person = running.sign_in(&running.employee()).await;
    choose(running, &person, choice).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    person
}

async fn left_out(running: &Running, person: &Person) -> Count {
    let mailbox = running.mailbox(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    exclusions::count(&mut tx, &mailbox.id).await.expect("counted")
}

/// Promise 1 under a policy: the rows, and the feed folded from its beginning, equal Google's state without what is
/// left out, which is exactly what is counted.
async fn assert_follows(running: &Running, person: &Person, is_left_out: impl Fn(&str, &[String]) -> bool) {
    let mut truth = running.truth(&person.email);
    let whole = truth.len();
    truth.retain(|id, labels| !is_left_out(id, labels));
    let rows = running.stored(person).await.into_iter().map(|(id, it)| (id, it.labels)).collect();
    assert_eq!(truth::difference(&rows, &truth), Vec::<String>::new(), "rows against Google's state");
    let feed = running.feed(person).await;
    assert_eq!(truth::difference(&truth::folded(&feed), &truth), Vec::<String>::new(), "the feed against it");
    let counted = usize::try_from(left_out(running, person).await.all).expect("a count");
    assert_eq!(counted, whole - truth.len(), "what is left out is counted");
    // What the feed told of a message that has gone for privacy's sake says nothing about it any more.
    let gone: BTreeSet<&str> =
        feed.iter().filter(|it| it.data["reason"] == "privacy").map(|it| it.subject_id.as_str()).collect();
    for change in feed.iter().filter(|it| gone.contains(it.subject_id.as_str()) && !rows.contains_key(&it.subject_id)) {
        assert!(change.data.get("labels").is_none() && change.data.get("labels_added").is_none(), "{change:?}");
    }
}

/// Whether Google's own count and the copy's agree, once they were compared.
async fn assert_audited(running: &Running, person: &Person) {
    running.pass(Duration::from_secs(26 * 3600));
    running.act(&person.email, MailAction::sample());
    running.settle().await;
    running.pass(Duration::from_secs(3600));
    running.settle().await;
    let mailbox = running.mailbox(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let proved = coverage::of_mailbox(&mut tx, &mailbox.id).await.expect("read");
    assert!(proved.audited_at.is_some() && proved.misses == 0, "{proved:?}");
    assert_eq!((proved.explained, proved.repaired_at), (None, None), "nothing had to be repaired");
    assert_eq!(proved.google_count, proved.held_count);
}

/// Ids of a person's messages that are from or to a domain, at Google, or have more recipients than Intail keeps.
fn with_domain(running: &Running, email: &str, domain: &str) -> BTreeSet<String> {
    running.world(|world| {
        let mailbox = world.mailbox(email).expect("a mailbox");
        let is_of = |list: &str| addresses(list).iter().any(|it| it.rsplit('@').next() == Some(domain));
        let is_out = |list: &str| is_of(list) || list.len() > RECIPIENTS_KEPT;
        let parties = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"];
        let all = mailbox.newest_first().filter(|it| !it.has("DRAFT"));
        all.filter(|it| parties.iter().any(|name| it.header(name).is_some_and(is_out)))
            .map(|it| it.id.clone())
            .collect()
    })
}

/// The domain, other than their own, that most of a person's messages have to do with.
fn a_foreign_domain(running: &Running, email: &str) -> String {
    running.world(|world| {
        let mailbox = world.mailbox(email).expect("a mailbox");
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for message in mailbox.newest_first().filter(|it| !it.has("DRAFT")) {
            for address in addresses(message.header("From").unwrap_or_default()) {
                let domain = address.rsplit('@').next().unwrap_or_default().to_owned();
                *counts.entry(domain).or_default() += 1;
            }
        }
        counts.remove("example.com");
        counts.into_iter().max_by_key(|(_, count)| *count).expect("mail from outside").0
    })
}

fn one(id: &str) -> One {
    One { id: id.to_owned() }
}

fn label(id: &str, add: &[&str], remove: &[&str]) -> MailAction {
    let list = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
    MailAction::Label { id: id.to_owned(), add: list(add), remove: list(remove) }
}

fn letter(from: &str, subject: &str) -> MailAction {
    MailAction::Receive {
        from: Some(from.to_owned()),
        compose: Some(Compose { subject: subject.to_owned(), ..Compose::default() }),
        headers: None,
        label_ids: None,
        thread_id: None,
        internal_date_ms: None,
        count: 1,
    }
}

fn in_inbox(running: &Running, email: &str) -> String {
    running.world(|world| {
        let mailbox = world.mailbox(email).expect("a mailbox");
        mailbox.newest_first().find(|it| it.has("INBOX")).expect("the inbox isn't empty").id.clone()
    })
}

fn fetched(running: &Running) -> usize {
    running.calls("gmail.users.messages.get") + running.calls("gmail.users.threads.get")
}

#[tokio::test]
async fn hidden_subjects_are_nowhere_and_equal_ones_have_equal_tags() {
    let running = Running::start().await;
    let person = connected_under(&running, &subjects(SubjectForm::Hashed)).await;
    for _ in 0..2 {
        running.pass(Duration::from_secs(2));
        running.act(&person.email, letter("Zoe <zoe@outside.example>", "Salary of Xanthippe"));
        running.work().await;
    }
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    let stored = running.stored(&person).await;
    assert!(stored.values().all(|it| it.subject_form == SubjectForm::Hashed && it.subject.len() == 32));
    let of_zoe: Vec<&str> =
        stored.values().filter(|it| it.sender_address == "zoe@outside.example").map(|it| it.subject.as_str()).collect();
    assert!(of_zoe.len() == 2 && of_zoe[0] == of_zoe[1], "{of_zoe:?}");
    let proof = session(&running.app, &person).await;
    let page = text(ask(&running.app, "GET", "/mail", &proof, None).await).await;
    assert!(page.contains(&format!("hidden · {}", &of_zoe[0][..6])) && !page.contains("Xanthippe"), "{page}");
    let path = format!("/api/v1/mailboxes/{}/messages", running.mailbox(&person).await.id);
    let answer = text(ask(&running.app, "GET", &path, &proof, None).await).await;
    let answer: Json = serde_json::from_str(&answer).expect("JSON");
    assert!(answer["messages"][0]["subject_tag"] == of_zoe[0] && answer["messages"][0]["subject"] == "", "{answer}");
    assert!(!files(&running).await.contains("Xanthippe"), "a hidden subject is in the database's files");
}

/// Everything in the product's files, once the database is closed.
async fn files(running: &Running) -> String {
    running.app.store.close().await;
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(running.directory()).expect("the directory") {
        bytes.extend(std::fs::read(file.expect("an entry").path()).expect("a file"));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn what_is_stored_already_follows_a_stricter_choice_and_leaves_nothing_in_the_files() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.act(&person.email, letter("Zoe <zoe@outside.example>", "Salary of Xanthippe"));
    running.settle().await;
    let domain = a_foreign_domain(&running, &person.email);
    let gone = with_domain(&running, &person.email, &domain);
    assert!(gone.len() > 3, "{domain}");
    running.world(|world| world.calls.clear());
    let rules = Policy { subject: SubjectForm::Dropped, ..without_parties(&format!("{domain}\nzoe@outside.example")) };
    choose(&running, &person, &rules).await;
    running.work().await;
    assert_eq!(running.world(|world| world.calls.iter().filter(|it| it.call.starts_with("gmail.")).count()), 0);
    let zoes = with_domain(&running, &person.email, "outside.example");
    assert_follows(&running, &person, |id, _| gone.contains(id) || zoes.contains(id)).await;
    assert!(running.stored(&person).await.values().all(|it| it.subject.is_empty()));
    assert_audited(&running, &person).await;
    let files = files(&running).await;
    assert!(files.contains("example.com") && !files.contains("Xanthippe"), "a dropped subject is in the files");
    assert!(!files.contains("Zoe"), "the sender of a message that is left out is in the files");
}

#[tokio::test]
async fn a_message_that_gains_an_excluded_label_goes_and_comes_back_with_its_last_one() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    let email = person.email.clone();
    let secret = running.act(&email, MailAction::CreateLabel { name: "Secret".into() }).ids.remove(0);
    let rules = without_labels(&[&secret, "SPAM", "TRASH"]);
    choose(&running, &person, &rules).await;
    running.settle().await;
    let is_out = |labels: &[String]| labels.iter().any(|it| rules.labels.contains(it));
    assert_follows(&running, &person, |_, labels| is_out(labels)).await;

    let id = in_inbox(&running, &email);
    let step = async |action: MailAction| {
        running.pass(Duration::from_secs(2));
        running.act(&email, action);
        running.work().await;
        assert_follows(&running, &person, |_, labels| is_out(labels)).await;
    };
    step(label(&id, &[&secret], &[])).await;
    assert!(!running.stored(&person).await.contains_key(&id), "it went");
    running.world(|world| world.calls.clear());
    for action in [MailAction::Star(one(&id)), MailAction::Read(one(&id)), MailAction::Unread(one(&id))] {
        step(action).await;
    }
    running.settle().await;
    assert_eq!(fetched(&running), 0, "what is left out isn't fetched again and again");
    step(MailAction::Trash(one(&id))).await;
    step(label(&id, &[], &[&secret])).await;
    assert!(!running.stored(&person).await.contains_key(&id), "it is in the trash");
    step(MailAction::Untrash(one(&id))).await;
    assert!(running.stored(&person).await.contains_key(&id), "it came back");
    step(MailAction::Spam(one(&id))).await;
    step(MailAction::Delete(one(&id))).await;
    step(label(&in_inbox(&running, &email), &[&secret], &[])).await;
    step(MailAction::DeleteLabel(one(&secret))).await;
    running.settle().await;
    assert_follows(&running, &person, |_, labels| is_out(labels)).await;
    assert_audited(&running, &person).await;
}

#[tokio::test]
async fn what_is_excluded_from_the_first_message_on_is_never_stored_or_logged() {
    let log = Written::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // With a single subscriber, tracing asks the thread that comes first whether a place in the code is worth a line.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _logging = tracing::subscriber::set_default(subscriber);
    let running = Running::start().await;
    running.approve();
    let person = running.sign_in(&running.employee()).await;
    let domain = a_foreign_domain(&running, &person.email);
    let gone = with_domain(&running, &person.email, &domain);
    choose(&running, &person, &without_parties(&domain)).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    running.act(&person.email, letter(&format!("Zoe <zoe@mail.{domain}>"), "Salary of Xanthippe"));
    running.settle().await;
    let zoes = with_domain(&running, &person.email, &format!("mail.{domain}"));
    assert_follows(&running, &person, |id, _| gone.contains(id) || zoes.contains(id)).await;
    let told: BTreeSet<String> = running.feed(&person).await.into_iter().map(|it| it.subject_id).collect();
    assert!(gone.iter().all(|id| !told.contains(id)), "the feed never heard of them");
    assert_audited(&running, &person).await;
    let log = log.text();
    assert!(log.contains("gmail.messages.get"), "there is something to look through");
    for id in gone.iter().chain(&zoes) {
        assert!(!log.contains(id.as_str()), "{id} is in the log");
    }
    let files = files(&running).await;
    assert!(!files.contains("Xanthippe") && !files.contains("Zoe"), "it is in the files");
}

#[tokio::test]
async fn labels_that_changed_while_the_cursor_was_lost_are_found_on_both_sides() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    let email = person.email.clone();
    let secret = running.act(&email, MailAction::CreateLabel { name: "Secret".into() }).ids.remove(0);
    let ids: Vec<String> = running.world(|world| {
        let mailbox = world.mailbox(&email).expect("a mailbox");
        mailbox.newest_first().filter(|it| it.has("INBOX")).take(4).map(|it| it.id.clone()).collect()
    });
    for id in &ids[..3] {
        running.act(&email, label(id, &[&secret], &[]));
    }
    choose(&running, &person, &without_labels(&[&secret])).await;
    running.settle().await;
    assert_eq!(left_out(&running, &person).await.all, 3);
    running.world(|world| world.settings.notices.lost_percent = 100);
    running.act(&email, label(&ids[0], &[], &[&secret]));
    running.act(&email, MailAction::Delete(one(&ids[1])));
    running.act(&email, label(&ids[3], &[&secret], &[]));
    running.act(&email, MailAction::ForgetHistory);
    running.world(|world| world.settings.notices.lost_percent = 0);
    running.pass(Duration::from_secs(2));
    running.act(&email, MailAction::sample());
    running.settle().await;
    assert_follows(&running, &person, |_, labels| labels.contains(&secret)).await;
    assert_audited(&running, &person).await;
}

/// A person who is followed where nothing may be kept that carries a label of the name "private".
async fn nothing_private() -> (Running, Person) {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    let mut floor = Policy::default();
    policy::read_label_names("private", &mut floor).expect("a good line");
    set_floor(&running, &person, &floor).await;
    (running, person)
}

#[tokio::test]
async fn a_floor_by_name_counts_for_everybody_s_own_label_also_one_that_is_made_later() {
    let (running, person) = nothing_private().await;
    let email = person.email.clone();
    running.settle().await;
    let below = running.act(&email, MailAction::CreateLabel { name: "Private/Health".into() }).ids.remove(0);
    let id = in_inbox(&running, &email);
    running.pass(Duration::from_secs(2));
    running.act(&email, label(&id, &[&below], &[]));
    running.work().await;
    assert_follows(&running, &person, |_, labels| labels.contains(&below)).await;
    assert!(!running.stored(&person).await.contains_key(&id));
    let named: Vec<String> = running.feed(&person).await.into_iter().map(|it| it.data.to_string()).collect();
    assert!(!named.iter().any(|it| it.contains("labels_added") && it.contains(&below)), "it was known in time");
}

#[tokio::test]
async fn a_label_that_is_renamed_to_what_may_not_be_kept_takes_its_messages_along_at_once() {
    let (running, person) = nothing_private().await;
    let email = person.email.clone();
    let trips = running.act(&email, MailAction::CreateLabel { name: "Trips".into() }).ids.remove(0);
    running.pass(Duration::from_secs(2));
    running.act(&email, label(&in_inbox(&running, &email), &[&trips], &[]));
    running.settle().await;
    // No history tells of a name: the daily renewal lists them, and nothing else happens.
    running.act(&email, MailAction::RenameLabel { id: trips.clone(), name: "Private".into() });
    let renewal = running.mailbox(&person).await.watch_due_at;
    running.pass(Duration::try_from(renewal.duration_since(running.app.clock.now())).expect("later"));
    running.work().await;
    assert_follows(&running, &person, |_, labels| labels.contains(&trips)).await;
}

#[tokio::test]
async fn a_stricter_floor_is_applied_by_pages_by_whoever_takes_over_and_without_google() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    for _ in 0..4 {
        let many = receive(150);
        running.act(&person.email, many);
        running.settle().await;
    }
    let mut tx = running.app.store.write().await.expect("a transaction");
    let grant = grants::by_person(&mut tx, &person.id).await.expect("read").expect("there");
    let now = running.app.clock.now();
    grants::set_state(&mut tx, &grant.id, GrantState::NeedsPerson, "revoked", now).await.expect("set");
    tx.commit().await.expect("committed");
    running.world(|world| world.calls.clear());
    set_floor(&running, &person, &subjects(SubjectForm::Hashed)).await;
    // The first who works on it is killed between two pages.
    let page_by_page = running.another_worker();
    let mut working = Box::pin(page_by_page.tick());
    let mut is_begun = false;
    for _ in 0..100_000 {
        if futures::poll!(&mut working).is_ready() {
            break;
        }
        let hidden = running.stored(&person).await.values().filter(|it| it.subject_form != SubjectForm::Plain).count();
        is_begun |= hidden > 0;
        if is_begun {
            break;
        }
    }
    drop(working);
    assert!(is_begun, "it begins");
    running.pass(Duration::from_secs(120));
    running.worker.tick().await.expect("the engine runs");
    assert!(running.stored(&person).await.values().all(|it| it.subject_form == SubjectForm::Hashed));
    assert_eq!(running.world(|world| world.calls.iter().count()), 0, "nobody had to be asked");
    let changed = running.feed(&person).await.into_iter().filter(|it| it.data["subject_form"] == "hashed").count();
    assert_eq!(changed, running.stored(&person).await.len(), "each is told once");
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn a_looser_choice_counts_for_new_mail_and_the_rest_is_read_again_when_the_person_wants_it() {
    let setup = Setup { postgres: Some(postgres::database().await), ..Setup::default() };
    let running = Running::start_with(setup).await;
    running.approve();
    let person = running.sign_in(&running.employee()).await;
    let domain = a_foreign_domain(&running, &person.email);
    let gone = with_domain(&running, &person.email, &domain);
    let strict = Policy {
        subject: SubjectForm::Dropped,
        labels: BTreeSet::from(["SPAM".to_owned()]),
        ..without_parties(&domain)
    };
    choose(&running, &person, &strict).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    let is_spam = |labels: &[String]| labels.iter().any(|it| it == "SPAM");
    assert_follows(&running, &person, |id, labels| gone.contains(id) || is_spam(labels)).await;

    choose(&running, &person, &Policy::default()).await;
    running.settle().await;
    assert_follows(&running, &person, |id, labels| gone.contains(id) || is_spam(labels)).await;
    running.act(&person.email, letter(&format!("Zoe <zoe@{domain}>"), "Salary"));
    running.settle().await;
    assert!(running.stored(&person).await.values().any(|it| it.subject == "Salary"), "new mail is kept");

    let proof = session(&running.app, &person).await;
    let page = text(ask(&running.app, "GET", "/settings/privacy", &proof, None).await).await;
    assert!(page.contains("id=\"again\""), "it is offered, with its price: {page}");
    for _ in 0..2 {
        let answer = press(&running, &proof, "/settings/privacy", "/settings/privacy/again", "").await;
        assert_eq!(answer.0, StatusCode::SEE_OTHER);
    }
    let mut tx = running.app.store.read().await.expect("a transaction");
    let said = intail::store::audit::after(&mut tx, &person.organization_id, 0, 1_000).await.expect("read");
    drop(tx);
    let asked = said.iter().filter(|it| it.action == "privacy.read_again" && it.actor == person.id.as_str()).count();
    assert_eq!(asked, 1, "asked twice, done and written down once");
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
    assert_eq!(left_out(&running, &person).await.all, 0);
    assert!(running.stored(&person).await.values().all(|it| it.subject_form == SubjectForm::Plain));
    let page = text(ask(&running.app, "GET", "/settings/privacy", &proof, None).await).await;
    assert!(!page.contains("id=\"again\"") && page.contains("Everything that is stored follows"), "{page}");
    assert_audited(&running, &person).await;
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn what_is_read_again_says_that_it_waits_for_the_day() {
    let running = Running::start().await;
    running.approve();
    let person = connected_under(&running, &subjects(SubjectForm::Dropped)).await;
    choose(&running, &person, &Policy::default()).await;
    running.settle().await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    quota::set_backfill_day_percent(&mut tx, &person.organization_id, 0).await.expect("set");
    tx.commit().await.expect("committed");
    let proof = session(&running.app, &person).await;
    let answer = press(&running, &proof, "/settings/privacy", "/settings/privacy/again", "").await;
    assert_eq!(answer.0, StatusCode::SEE_OTHER);
    running.settle().await;
    assert_waits_for_the_day(&what_is_told(&running, &person).await, 0, "copying old mail stops there");
}

#[tokio::test]
async fn a_list_of_recipients_that_nobody_can_know_is_left_out_while_anybody_is() {
    let running = Running::start().await;
    let person = connected_under(&running, &without_parties("somebody@outside.example")).await;
    let before = left_out(&running, &person).await.all;
    let to: String = (0..400).map(|n| format!("Person Number {n} <p{n}@example.net>, ")).collect();
    let headers = |to: &str| {
        let headers = [("From", "a@example.net"), ("To", to), ("Subject", "To very many")];
        Some(headers.iter().map(|(name, value)| Header::new(name, *value)).collect())
    };
    for to in [to.as_str(), "few@example.net"] {
        running.pass(Duration::from_secs(2));
        running.act(
            &person.email,
            MailAction::Receive {
                from: None,
                compose: None,
                headers: headers(to),
                label_ids: None,
                thread_id: None,
                internal_date_ms: None,
                count: 1,
            },
        );
    }
    running.settle().await;
    assert_eq!(left_out(&running, &person).await.all, before + 1);
    assert_eq!(running.stored(&person).await.values().filter(|it| it.subject == "To very many").count(), 1);
}

#[tokio::test]
async fn a_person_previews_saves_and_is_told_of_bad_lines() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    let proof = session(&running.app, &person).await;
    let domain = a_foreign_domain(&running, &person.email);
    running.act(&person.email, letter(&format!("Zoe <zoe@{domain}>"), "Salary"));
    running.settle().await;
    let page = text(ask(&running.app, "GET", "/settings/privacy", &proof, None).await).await;
    assert!(page.contains("all would be kept as they are"), "{page}");
    let before = running.stored(&person).await;

    let form = format!("subject=hashed&label=SPAM&label=nonsense&parties={domain}%0D%0Aanna%40example.net");
    let (status, preview) = press(&running, &proof, "/settings/privacy", "/settings/privacy/preview", &form).await;
    assert_eq!(status, StatusCode::OK);
    assert!(preview.contains("kept without their subject") && preview.contains(&format!("Left out: {domain}")));
    running.settle().await;
    assert_eq!(running.stored(&person).await, before, "looking changes nothing");

    let (status, told) =
        press(&running, &proof, "/settings/privacy", "/settings/privacy", "parties=anna%40%0D%0A%3Cb%3E").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(told.contains("Line 1: “anna@”") && told.contains("Line 2: “&#60;b&#62;”"), "{told}");
    assert!(told.contains("Nothing is saved yet") && !told.contains("<b>"), "{told}");

    let (status, _) = press(&running, &proof, "/settings/privacy", "/settings/privacy", &form).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let mut tx = running.app.store.read().await.expect("a transaction");
    let own = privacy::choice(&mut tx, &person.id).await.expect("read");
    drop(tx);
    let expected = Policy {
        subject: SubjectForm::Hashed,
        labels: BTreeSet::from(["SPAM".to_owned()]),
        ..without_parties(&format!("{domain}\nanna@example.net"))
    };
    assert_eq!(own, expected, "a label that isn't theirs is no label");
    running.settle().await;
    let page = text(ask(&running.app, "GET", "/settings/privacy", &proof, None).await).await;
    assert!(page.contains("Everything that is stored follows the settings") && page.contains("id=\"left-out\""));
    for form in ["label=SPAM", "subject=&label=SPAM", "subject=nonsense&label=SPAM"] {
        let (status, told) = press(&running, &proof, "/settings/privacy", "/settings/privacy", form).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{form}");
        assert!(told.contains("Choose how subjects are kept."), "{told}");
    }
    let own_domain = "subject=plain&parties=example.com";
    let (_, warned) = press(&running, &proof, "/settings/privacy", "/settings/privacy/preview", own_domain).await;
    assert!(warned.contains("id=\"covers-own\""), "{warned}");
    let card = text(ask(&running.app, "GET", "/settings/integrations", &proof, None).await).await;
    assert!(card.contains("left out by your"), "{card}");
}

#[tokio::test]
async fn the_floor_is_the_administrator_s_counts_for_all_and_stands_in_the_audit_log_without_addresses() {
    let running = Running::start().await;
    running.approve();
    let administrator = running.sign_in(ADMIN).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &administrator.id, Role::Administrator).await.expect("set");
    tx.commit().await.expect("committed");
    let person = running.connected(&running.employee()).await;
    choose(&running, &person, &without_labels(&["TRASH"])).await;
    let (over, own) = (session(&running.app, &administrator).await, session(&running.app, &person).await);
    let form = "subject=dropped&label=SPAM&parties=union%40nowhere.example&label_names=Private";
    let (status, _) = press(&running, &over, "/admin/privacy", "/admin/privacy", form).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let following = async || {
        let page = text(ask(&running.app, "GET", "/admin/privacy", &over, None).await).await;
        between(&page, "id=\"following\">", "</p>").unwrap_or_default().to_owned()
    };
    let before = following().await;
    assert!(before.starts_with("<strong>1</strong> of 1 mailbox don’t follow it yet"), "{before}");
    running.settle().await;
    let after = following().await;
    assert!(after.starts_with("All that is stored of 1 mailbox follows it."), "{after}");
    let is_out = |labels: &[String]| labels.iter().any(|it| it == "SPAM" || it == "TRASH");
    let unions = with_domain(&running, &person.email, "nowhere.example");
    assert_follows(&running, &person, |id, labels| is_out(labels) || unions.contains(id)).await;

    let told: Json =
        serde_json::from_str(&text(ask(&running.app, "GET", "/api/v1/privacy", &own, None).await).await).expect("JSON");
    assert_eq!(told["effective"]["subject"], "dropped");
    assert_eq!(told["effective"]["label_ids"], serde_json::json!(["SPAM", "TRASH"]));
    assert_eq!((&told["applied"], &told["own"]["subject"]), (&Json::Bool(true), &Json::from("plain")));
    let page = text(ask(&running.app, "GET", "/settings/privacy", &own, None).await).await;
    assert!(page.contains("your organization asks for more") && page.contains("union@nowhere.example"), "{page}");
    let floor = text(ask(&running.app, "GET", "/admin/privacy", &over, None).await).await;
    for message in running
        .stored(&person)
        .await
        .values()
        .filter(|it| it.sender_name.len() > 8 && !it.sender_name.starts_with("Ada"))
    {
        assert!(!floor.contains(&message.sender_name), "the administrator sees {:?}", message.sender_name);
    }
    let mut tx = running.app.store.read().await.expect("a transaction");
    let log = audit::after(&mut tx, &person.organization_id, 0, 100).await.expect("read");
    let entry = log.iter().find(|it| it.action == "policy.changed").expect("it is in the log");
    assert!(entry.detail.contains("\"addresses\":1") && entry.detail.contains("dropped"), "{}", entry.detail);
    assert!(log.iter().all(|it| !it.detail.contains("union") && !it.detail.contains("Private")));

    // An auditor reads it, and has nothing to press.
    assert!(floor.contains("id=\"save-privacy\""), "{floor}");
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &person.id, Role::Auditor).await.expect("set");
    tx.commit().await.expect("committed");
    let read = text(ask(&running.app, "GET", "/admin/privacy", &own, None).await).await;
    assert!(read.contains("union@nowhere.example") && !read.contains("id=\"save-privacy\""), "{read}");
    let (status, _) = press(&running, &own, "/settings/privacy", "/admin/privacy", "subject=plain").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "reading is all");
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &person.id, Role::Member).await.expect("set");
    tx.commit().await.expect("committed");

    // One domain in the place of another is no small thing: it stands there.
    let one = "subject=dropped&label=SPAM&parties=one.example%0D%0Aanna%40nowhere.example&label_names=Private";
    press(&running, &over, "/admin/privacy", "/admin/privacy", one).await;
    let two = "subject=dropped&label=SPAM&parties=two.example%0D%0Aanna%40nowhere.example&label_names=Private";
    press(&running, &over, "/admin/privacy", "/admin/privacy", two).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let log = audit::after(&mut tx, &person.organization_id, 0, 100).await.expect("read");
    drop(tx);
    let entry = log.iter().rfind(|it| it.action == "policy.changed").expect("it is in the log");
    let told: Json = serde_json::from_str(&entry.detail).expect("JSON");
    let named = |way: &str| told[way]["domains"]["named"].clone();
    assert_eq!(
        (named("added"), named("removed")),
        (serde_json::json!(["two.example"]), serde_json::json!(["one.example"]))
    );
    assert!(log.iter().all(|it| !it.detail.contains("anna") && !it.detail.contains("Private")));

    // What was loosened is followed already; private events are counted by whose calendars they are in.
    running.settle().await;
    press(&running, &over, "/admin/privacy", "/admin/privacy", &format!("{two}&busy_only=on")).await;
    let before = following().await;
    assert!(before.contains("Of <strong>1 person</strong> more than the times is still kept"), "{before}");
    running.settle().await;
    running.settle_calendars(&person).await;
    assert!(!following().await.contains("still kept"), "{}", following().await);

    // A member can't, and a floor that is given up lets everybody's own choice stand.
    let (status, _) = press(&running, &own, "/settings/privacy", "/admin/privacy", "subject=plain").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nothing_of_the_privacy_settings_of_a_mailbox_outlives_it_but_the_person_s_own_choice() {
    let running = Running::start().await;
    let person = connected_under(&running, &without_labels(&["SPAM", "TRASH", "CATEGORY_PROMOTIONS"])).await;
    let mailbox = running.mailbox(&person).await;
    assert!(left_out(&running, &person).await.all > 0);
    let mut tx = running.app.store.write().await.expect("a transaction");
    erasure::mailbox(&mut tx, &mailbox.id).await.expect("erased");
    assert_eq!(exclusions::count(&mut tx, &mailbox.id).await.expect("counted"), Count::default());
    let feed = changes::of_person(&mut tx, &person.id, 0, i64::MAX).await.expect("read");
    assert!(feed.iter().all(|it| it.stream.as_str() != mailbox.id.as_str()));
    assert_ne!(privacy::choice(&mut tx, &person.id).await.expect("read"), Policy::default());
}

/// Presses a button of a page: its form token goes along. Answers the status and the page.
async fn press(running: &Running, proof: &Proof, page: &str, action: &str, form: &str) -> (StatusCode, String) {
    let shown = text(ask(&running.app, "GET", page, proof, None).await).await;
    let begin = "name=\"form_token\" value=\"";
    let token = shown.split_once(begin).and_then(|(_, rest)| rest.split_once('"')).expect("a form").0;
    let answer = ask(&running.app, "POST", action, proof, Some(&format!("form_token={token}&{form}"))).await;
    let status = answer.status();
    assert!(status != StatusCode::SEE_OTHER || location(&answer).is_some_and(|it| it.contains("done=")));
    (status, text(answer).await)
}

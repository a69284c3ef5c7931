//! One identity for one person: whoever stands in an invitation or a letter, by whichever of their addresses, leads to
//! the same page of the directory and has the same id in the API; and only for those who may read the directory.

use axum::http::StatusCode;
use intail::app::App;
use intail::connect::Permission;
use intail::store::people::Person;
use intail_sandbox::action::MailAction;
use intail_sandbox::profile::DirectoryAction;
use serde_json::{Value as Json, json};

use crate::access::{Proof, access_key, ask, session, text};
use crate::harness::running::{ADMIN, Running, Ticks};

/// Somebody who was hired today, with another address, and somebody whom the directory hides.
const NEW: &str = "newcomer@example.com";
const ALIAS: &str = "new.comer@example.com";
const HIDDEN: &str = "shadow@example.com";

fn hire(running: &Running, email: &str, family_name: &str) -> String {
    let hired = DirectoryAction::Hire {
        email: email.into(),
        given_name: "New".into(),
        family_name: family_name.into(),
        mailbox: false,
    };
    running.world(|world| {
        world.edit_directory(ADMIN, &hired).expect("hired");
        world.identity.person_by_email(email).expect("there").sub.clone()
    })
}

/// A meeting and a letter that name the newcomer by an alias, somebody hidden and a stranger. Answers the newcomer's
/// id, the meeting's and the letter's.
fn invite(running: &Running, reader: &str) -> (String, String, String) {
    let whom = hire(running, NEW, "Comer");
    let shadow = hire(running, HIDDEN, "Shadow");
    running.world(|world| {
        world.edit_directory(NEW, &DirectoryAction::AddAlias { email: ALIAS.into() }).expect("an alias");
        let hide = json!({"action": "edit", "hidden": true});
        let hide: DirectoryAction = serde_json::from_value(hide).expect("an action");
        world.edit_directory(HIDDEN, &hide).expect("hidden");
    });
    assert!(!shadow.is_empty());
    let guests = [ALIAS, HIDDEN, "stranger@elsewhere.example"];
    let event = json!({"title": "Tea", "start": "2026-11-23T09:00", "guests": guests});
    let meeting = running.plan(reader, json!({"action": "create", "event": event}));
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let headers = json!([
        header("From", "\"The Boss\" <New.Comer@example.com>"),
        header("To", &format!("{reader}, {HIDDEN}, Str Anger <stranger@elsewhere.example>")),
        header("Cc", &format!("\"Comer, Old\" <{NEW}>")),
        header("Subject", "About tea"),
    ]);
    let letter = json!({"action": "receive", "headers": headers});
    let action: MailAction = serde_json::from_value(letter).expect("an action");
    let letter = running.act(reader, action).ids.remove(0);
    (whom, meeting, letter)
}

async fn page(app: &App, path: &str, proof: &Proof) -> String {
    let answer = ask(app, "GET", path, proof, None).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    text(answer).await
}

async fn answer(app: &App, path: &str, key: &Proof) -> Json {
    serde_json::from_str(&page(app, path, key).await).expect("JSON")
}

/// The pages and answers that name them: the event's page, the thread's, the list of mail, the agenda and the messages.
struct Told {
    event: String,
    thread: String,
    mail: String,
    organizer: Json,
    attendees: Vec<Json>,
    message: Json,
    changed: Json,
}

async fn told(running: &Running, reader: &Person, meeting: &str, letter: &str) -> Told {
    let (app, proof, key) = (&running.app, session(&running.app, reader).await, access_key(&running.app, reader).await);
    let calendar: String = url::form_urlencoded::byte_serialize(reader.email.as_bytes()).collect();
    let mailbox = running.mailbox(reader).await.id;
    let message = answer(app, &format!("/api/v1/mailboxes/{mailbox}/messages/{letter}"), &key).await;
    let listed = answer(app, &format!("/api/v1/mailboxes/{mailbox}/messages?limit=1"), &key).await;
    assert_eq!(listed["messages"][0], message, "the same in both");
    let agenda = answer(app, "/api/v1/agenda?from=2026-11-23&until=2026-11-24", &key).await;
    let event = agenda["occurrences"].as_array().expect("some").iter().map(|it| &it["event"]);
    let event = event.clone().find(|it| it["id"] == meeting).expect("the meeting").clone();
    let changes = answer(app, "/api/v1/changes?limit=500", &key).await;
    let changed = changes["changes"].as_array().expect("some").iter().find(|it| it["message"]["id"] == letter).cloned();
    let thread = message["thread_id"].as_str().expect("an id").to_owned();
    Told {
        event: page(app, &format!("/calendar/events/{calendar}/{meeting}"), &proof).await,
        thread: page(app, &format!("/mail/thread/{thread}"), &proof).await,
        mail: page(app, "/mail", &proof).await,
        organizer: event["organizer"].clone(),
        attendees: event["attendees"].as_array().expect("some").clone(),
        message,
        changed: changed.map(|it| it["message"].clone()).unwrap_or_default(),
    }
}

/// Where a page leads in the directory, without the way to the directory itself.
fn led_to(page: &str) -> Vec<&str> {
    let links = page.split("href=\"/directory/").skip(1);
    links.map(|it| it.split_once('"').expect("the link ends").0).collect()
}

#[tokio::test]
async fn an_alias_in_an_invitation_and_in_a_letter_leads_to_one_colleague() {
    let running = Running::start().await;
    running.approve();
    let (email, _) = running.employees();
    let (whom, meeting, letter) = invite(&running, &email);
    let reader = running.connected(&email).await;
    running.settle_calendars(&reader).await;
    let it = told(&running, &reader, &meeting, &letter).await;
    let own = reader.subject.as_str();
    let counted = |page: &str, id: &str| led_to(page).iter().filter(|it| **it == id).count();
    assert_eq!(counted(&it.event, &whom), 1, "{}", it.event);
    assert!(counted(&it.event, own) >= 1, "the organizer: {}", it.event);
    assert!(it.event.contains(">New Comer</a> <span class=\"quiet-text\" dir=\"ltr\">new.comer@"), "{}", it.event);
    assert_eq!((counted(&it.thread, &whom), counted(&it.thread, own)), (2, 1), "{}", it.thread);
    assert!(it.thread.contains(">New Comer</a></strong>") && !it.thread.contains("The Boss"), "{}", it.thread);
    assert!(it.mail.contains("New Comer") && !it.mail.contains("The Boss"), "the list says who it is");
    for page in [&it.event, &it.thread] {
        assert!(page.contains(HIDDEN) && page.contains("stranger@elsewhere.example"), "{page}");
        assert!(led_to(page).iter().all(|it| [&whom, own].contains(it)), "whom it hides leads nowhere: {page}");
    }
    assert!(!it.thread.contains("New Shadow"), "whom the directory hides stays the address: {}", it.thread);
    // The links lead to the page of the one.
    let proof = session(&running.app, &reader).await;
    assert!(page(&running.app, &format!("/directory/{whom}"), &proof).await.contains(ALIAS));
    // The API says the same beside the addresses that were written.
    let person = |address: &str| {
        let found = it.attendees.iter().find(|it| it["address"] == address).expect("invited");
        found["person_id"].clone()
    };
    assert_eq!(person(ALIAS), json!(whom));
    assert_eq!((person(HIDDEN), person("stranger@elsewhere.example")), (Json::Null, Json::Null));
    assert_eq!((&it.organizer["address"], &it.organizer["person_id"]), (&json!(email), &json!(own)));
    assert_eq!(it.message["sender_person_id"], json!(whom));
    let parties = json!([
        {"header": "from", "name": "The Boss", "address": "New.Comer@example.com", "person_id": whom},
        {"header": "to", "name": "", "address": email, "person_id": own},
        {"header": "to", "name": "", "address": HIDDEN, "person_id": null},
        {"header": "to", "name": "Str Anger", "address": "stranger@elsewhere.example", "person_id": null},
        {"header": "cc", "name": "Comer, Old", "address": NEW, "person_id": whom},
    ]);
    assert_eq!(it.message["parties"], parties);
    assert_eq!(it.message["sender_address"], json!(ALIAS), "what was written stays");
    if !it.changed.is_null() {
        assert_eq!(it.changed, it.message, "the feed says the same");
    }
}

#[tokio::test]
async fn promise_10_whoever_may_not_read_the_directory_gets_addresses_only() {
    let running = Running::start().await;
    running.approve();
    let (email, other) = running.employees();
    let (whom, meeting, letter) = invite(&running, &email);
    // Somebody else permits it, so that the directory is there.
    running.connected(&other).await;
    let reader = running.sign_in(&email).await;
    let ticks = Ticks::Only(&[Permission::Mail.scope(), Permission::Calendar.scope()]);
    running.connect(&reader, ticks).await.expect("connected");
    running.settle().await;
    running.settle_calendars(&reader).await;
    let it = told(&running, &reader, &meeting, &letter).await;
    for page in [&it.event, &it.thread, &it.mail] {
        assert_eq!(led_to(page), Vec::<&str>::new());
        assert!(!page.contains(&whom), "{page}");
    }
    // The invitation itself says a name; the letter says another one.
    assert!(!it.thread.contains("New Comer") && !it.mail.contains("New Comer"), "{}", it.thread);
    assert!(it.thread.contains("The Boss") && it.mail.contains("The Boss"), "what was written is shown");
    let none = |it: &Json| it["person_id"].is_null();
    assert!(it.attendees.iter().chain([&it.organizer]).all(none), "{:?}", it.attendees);
    assert!(it.message["sender_person_id"].is_null(), "{}", it.message);
    assert!(it.message["parties"].as_array().expect("some").iter().all(none), "{}", it.message);
}

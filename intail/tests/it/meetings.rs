//! The meetings that two people have together, on the person's page and from the reader's calendars alone: whichever of
//! their addresses was invited, once each, and nothing of what stands in anybody else's calendar.

use std::time::Duration;

use axum::http::StatusCode;
use intail::connect::Permission;
use intail::store::people::Person;
use intail_sandbox::profile::DirectoryAction;
use serde_json::{Value as Json, json};

use crate::access::{ask, session, text};
use crate::harness::browser::Browser;
use crate::harness::live::Live;
use crate::harness::running::{ADMIN, Running, Ticks};
use crate::tour::{EMPLOYEE, connect, fits, sign_in};

/// Longer than the longest wait between two looks at a calendar that Google doesn't tell of.
const LOOK: Duration = Duration::from_secs(40 * 60);
/// Somebody who was hired today, whom nobody has met yet.
const NEW: &str = "newcomer@example.com";
const ALIAS: &str = "new.comer@example.com";

/// Hires somebody; answers Google's id of the account.
fn hire(running: &Running) -> String {
    let hired = DirectoryAction::Hire {
        email: NEW.into(),
        given_name: "New".into(),
        family_name: "Comer".into(),
        mailbox: false,
    };
    running.world(|world| {
        world.edit_directory(ADMIN, &hired).expect("hired");
        world.edit_directory(NEW, &DirectoryAction::AddAlias { email: ALIAS.into() }).expect("an alias");
        world.identity.person_by_email(NEW).expect("there").sub.clone()
    })
}

fn meet(title: &str, start: &str, guests: &[&str]) -> Json {
    json!({"action": "create", "event": {"title": title, "start": start, "guests": guests}})
}

async fn page(running: &Running, reader: &Person, whom: &str) -> String {
    let proof = session(&running.app, reader).await;
    let answer = ask(&running.app, "GET", &format!("/directory/{whom}"), &proof, None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    text(answer).await
}

/// What the page says of meetings; none where it says nothing.
async fn section(running: &Running, reader: &Person, whom: &str) -> Option<String> {
    let page = page(running, reader, whom).await;
    let (_, rest) = page.split_once("<h2 id=\"meetings-title\">")?;
    Some(rest.split_once("</section>").expect("the section ends").0.to_owned())
}

fn titles(section: &str) -> Vec<&str> {
    let parts = section.split("<span class=\"subject\"><bdi>").skip(1);
    parts.map(|it| it.split_once("</bdi>").expect("the title ends").0).collect()
}

async fn look(running: &Running, person: &Person) {
    running.pass(LOOK);
    running.settle_calendars(person).await;
}

/// A reader whose calendars are copied, a colleague whose aren't, and somebody new.
async fn start() -> (Running, Person, String, String) {
    let running = Running::start().await;
    running.approve();
    let whom = hire(&running);
    let (email, other) = running.employees();
    let reader = running.connected(&email).await;
    running.settle_calendars(&reader).await;
    (running, reader, other, whom)
}

#[tokio::test]
async fn a_person_s_page_shows_the_next_meetings_of_both() {
    let (running, reader, other, whom) = start().await;
    let none = section(&running, &reader, &whom).await.expect("calendars are copied");
    assert!(none.contains("None in the coming 28 days.") && titles(&none).is_empty(), "{none}");
    let plan = |action: Json| running.plan(&reader.email, action);
    plan(meet("<script>alert(1)</script> & \u{202e}more", "2026-11-23T09:00", &[NEW]));
    plan(meet("By alias", "2026-11-24T09:00", &[ALIAS]));
    plan(meet("Without them", "2026-11-24T10:00", &[&other]));
    plan(meet("Too late", "2026-12-21T09:00", &[NEW]));
    plan(meet("Over", "2026-11-20T09:00", &[NEW]));
    plan(meet("A whole day", "2026-11-25", &[NEW]));
    let event = json!({"title": "Weekly", "start": "2026-11-26T09:00", "rule": "FREQ=WEEKLY;COUNT=2", "guests": [NEW]});
    let weekly = plan(json!({"action": "create", "event": event}));
    plan(json!({"action": "move", "id": format!("{weekly}_20261203T080000Z"), "start": "2026-12-04T11:00"}));
    let cancelled = plan(meet("Cancelled", "2026-11-27T09:00", &[NEW]));
    plan(json!({"action": "delete", "id": cancelled}));
    let invited = running.plan(&other, meet("Invited", "2026-11-23T15:00", &[&reader.email, NEW]));
    let declined = running.plan(&other, meet("Declined", "2026-11-23T16:00", &[&reader.email, NEW]));
    plan(json!({"action": "answer", "id": invited, "answer": "tentative"}));
    plan(json!({"action": "answer", "id": declined, "answer": "declined"}));
    running.plan(NEW, json!({"action": "answer", "id": invited, "answer": "declined"}));
    look(&running, &reader).await;
    let shown = section(&running, &reader, &whom).await.expect("calendars are copied");
    assert_eq!(
        titles(&shown),
        ["Weekly", "&#60;script&#62;alert(1)&#60;/script&#62; &#38; more", "Invited", "By alias", "A whole day"]
    );
    assert!(shown.contains("<span class=\"tag\">Maybe</span> <span class=\"tag\">Declined by them</span>"), "{shown}");
    // 09:00 in Berlin, where the reader is.
    assert!(shown.contains("datetime=\"2026-11-23T08:00:00Z\">09:00</time>"), "{shown}");
    assert!(shown.contains("Europe/Berlin") && shown.contains("\"2026-11-25\">Wed 25 Nov</time>"), "{shown}");
    let next = "2 times · next <time datetime=\"2026-11-26\">Thu 26 Nov</time> <time";
    assert!(shown.contains(next) && shown.contains("1 more time in 28 days"), "{shown}");
    assert!(!shown.contains("Not everything"), "{shown}");
    // Each leads to its page.
    let proof = session(&running.app, &reader).await;
    for href in shown.split("href=\"").skip(1).map(|it| it.split_once('"').expect("it ends").0) {
        assert_eq!(ask(&running.app, "GET", href, &proof, None).await.status(), StatusCode::OK, "{href}");
    }
    // A day passes, and what is over isn't next any more.
    running.pass(Duration::from_secs(24 * 3_600));
    let later = section(&running, &reader, &whom).await.expect("calendars are copied");
    assert_eq!(titles(&later), ["Weekly", "Invited", "By alias", "A whole day", "Too late"], "later days come in");
    // What was moved is its series' next time, where it was moved to.
    running.pass(Duration::from_secs(9 * 24 * 3_600));
    let moved = section(&running, &reader, &whom).await.expect("calendars are copied");
    assert!(moved.contains("next <time datetime=\"2026-12-04\">Fri 4 Dec</time>"), "{moved}");
    assert!(!moved.contains("more time"), "{moved}");
}

#[tokio::test]
async fn promise_10_what_stands_in_another_s_calendar_is_no_meeting_of_the_reader_s() {
    let (running, reader, other, whom) = start().await;
    running.plan(&other, json!({"action": "share", "email": reader.email, "role": "reader"}));
    running.plan(&reader.email, json!({"action": "list", "calendar": other}));
    running.plan(&other, meet("Between the two of them", "2026-11-23T09:00", &[NEW]));
    running.plan(&other, meet("All three", "2026-11-24T09:00", &[&reader.email, NEW]));
    running.pass(Duration::from_secs(3 * 3_600));
    running.settle_calendars(&reader).await;
    let followed = running.calendars(&reader).await;
    assert!(followed.iter().any(|it| it.id == other && it.synced_at.is_some()), "it is read along: {followed:?}");
    let shown = section(&running, &reader, &whom).await.expect("calendars are copied");
    assert_eq!(titles(&shown), ["All three"], "once, and nothing else");
    // Whoever owns a calendar together with somebody still has none of its meetings.
    running.plan(&other, json!({"action": "share", "email": reader.email, "role": "owner"}));
    running.pass(Duration::from_secs(3 * 3_600));
    running.settle_calendars(&reader).await;
    assert_eq!(titles(&section(&running, &reader, &whom).await.expect("copied")), ["All three"]);
    // Nor does anybody see the reader's.
    running.plan(&reader.email, meet("The reader's alone", "2026-11-23T10:00", &[NEW]));
    let colleague = running.connected(&other).await;
    running.settle_calendars(&colleague).await;
    look(&running, &reader).await;
    let theirs = section(&running, &colleague, &whom).await.expect("calendars are copied");
    assert_eq!(titles(&theirs), ["Between the two of them", "All three"]);
}

#[tokio::test]
async fn only_the_next_few_are_listed_of_all_calendars_that_are_the_reader_s() {
    let (running, reader, _, whom) = start().await;
    let event = json!({"title": "Daily", "start": "2026-11-23T09:00", "rule": "FREQ=DAILY;COUNT=12", "guests": [NEW]});
    running.plan(&reader.email, json!({"action": "create", "event": event}));
    for number in 1..=9 {
        let start = format!("2026-11-24T{:02}:00", 9 + number);
        running.plan(&reader.email, meet(&format!("Number {number}"), &start, &[NEW]));
    }
    let project = running.plan(&reader.email, json!({"action": "create_calendar", "name": "Project"}));
    let event = json!({"title": "In the project", "start": "2026-11-23T08:00", "guests": [NEW]});
    running.plan(&reader.email, json!({"action": "create", "calendar": project, "event": event}));
    running.pass(Duration::from_secs(3 * 3_600));
    running.settle_calendars(&reader).await;
    let shown = section(&running, &reader, &whom).await.expect("calendars are copied");
    let titles = titles(&shown);
    assert_eq!((titles.len(), titles[0], titles[1], titles[2]), (9, "Daily", "In the project", "Number 1"), "{shown}");
    assert!(shown.contains("Every day, 12 times · next") && shown.contains("11 more times in 28 days"), "{shown}");
    assert!(shown.contains("And 2 more in the coming 28 days."), "{shown}");
}

#[tokio::test]
async fn without_the_reader_s_calendar_there_is_no_word_of_meetings() {
    let running = Running::start().await;
    running.approve();
    let whom = hire(&running);
    let (email, other) = running.employees();
    let without = running.sign_in(&email).await;
    let ticks = Ticks::Only(&[Permission::Mail.scope(), Permission::Directory.scope()]);
    running.connect(&without, ticks).await.expect("connected");
    running.settle().await;
    assert_eq!(section(&running, &without, &whom).await, None, "not permitted");
    let reader = running.connected(&other).await;
    running.settle_calendars(&reader).await;
    assert!(section(&running, &reader, &whom).await.is_some());
    assert_eq!(section(&running, &reader, &reader.subject).await, None, "with oneself");
    // What can't be read is told.
    let event = running.plan(&reader.email, meet("Garbled", "2026-11-23T09:00", &[NEW]));
    running.world(|world| world.settings.calendar.garbled.extend([event]));
    look(&running, &reader).await;
    let shown = section(&running, &reader, &whom).await.expect("calendars are copied");
    assert!(shown.contains("None in the coming 28 days, as far as could be seen."), "{shown}");
}

#[tokio::test]
async fn a_person_s_page_shows_meetings_in_a_browser() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    let kofi = live.sandbox.world(|world| {
        let now = world.clock.now();
        let soon = |days: i64| now.saturating_add(jiff::SignedDuration::from_hours(24 * days));
        for (days, title, guest) in [
            (
                1,
                "Rehearsal of the long presentation about the next year’s harvest of tea, with everybody who grows it",
                "kofi",
            ),
            (2, "اجتماع", "kofi"),
            (3, "Lunch", "kofi"),
        ] {
            let start = soon(days).expect("a time").strftime("%Y-%m-%dT10:00").to_string();
            let event = json!({"title": title, "start": start, "location": "Room 4.02, Unter den Linden",
                "guests": [format!("{guest}@example.com")]});
            let action = serde_json::from_value(json!({"action": "create", "event": event})).expect("an action");
            world.plan(EMPLOYEE, &action).expect("planned");
        }
        world.identity.person_by_email("kofi@example.com").expect("there").sub.clone()
    });
    browser.open(&live.intail("/directory")).await;
    browser.see("Kofi Anansetree").await;
    browser.open(&live.intail(&format!("/directory/{kofi}"))).await;
    browser.see("Your meetings with them").await;
    browser.see("Rehearsal of the long presentation").await;
    fits(&browser, "directory-7-meetings").await;
    browser.click_css(".plain-people li:nth-child(4) a[href^='/calendar/events/']").await;
    browser.wait_for_address("/calendar/events/").await;
    browser.stop().await;
    live.stop().await;
}

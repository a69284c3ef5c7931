//! The directory, from Google's answer to the page: both views, whom they hide, passes that break off, and what follows
//! for people who are suspended, renamed or deleted. The truth is what the false Google shows to everybody.

use std::time::Duration;

use axum::http::StatusCode;
use intail::connect::{self as connecting, Permission};
use intail::id::OrganizationId;
use intail::org::audit::{Actor, Origin};
use intail::store::changes::Change;
use intail::store::directories::{self, Directory};
use intail::store::directory_people::{self, DirectoryPerson, View};
use intail::store::grants::{self, Grant, GrantState};
use intail::store::people::{self, Person, Role};
use intail::store::{audit, leaving_receipts, leavings, organizations, quota};
use intail_sandbox::accounts::{Person as Account, PersonSwitch, UserType};
use intail_sandbox::calls::Call;
use intail_sandbox::faults::{Mischief, Rule};
use intail_sandbox::profile::DirectoryAction;
use serde_json::{Value as Json, json};

use crate::access::{Proof, access_key, ask, form_token, location, session, text};
use crate::harness::browser::{Browser, Viewport};
use crate::harness::live::Live;
use crate::harness::running::{ADMIN, Running, Setup, Ticks};
use crate::harness::{postgres, truth};
use crate::tour::{connect, fits, look_now, quiet, sign_in};

/// An employee of the demo's world.
const EMPLOYEE: &str = "ines@example.com";

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(crate) async fn row(running: &Running, person: &Person) -> Directory {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let found = directories::of_organization(&mut tx, &person.organization_id).await.expect("read");
    found.expect("a directory")
}

async fn entry(running: &Running, person: &Person) -> DirectoryPerson {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let found = directory_people::by_id(&mut tx, &person.organization_id, &person.subject).await.expect("read");
    found.expect("an entry")
}

pub(crate) async fn shown(running: &Running, person: &Person) -> truth::Directory {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let all = directory_people::search(&mut tx, &person.organization_id, "", None, i64::MAX).await.expect("read");
    all.into_iter().map(|it| (it.google_id.clone(), truth::face(&it))).collect()
}

/// The three ends: rows equal Google's state, so does the folded feed, and another pass finds nothing new.
pub(crate) async fn assert_the_directory_is_right(running: &Running, reader: &Person) {
    let truth = truth::directory(&running.sandbox, &reader.email);
    assert_eq!(shown(running, reader).await, truth, "rows against Google");
    let feed = running.feed(reader).await;
    assert_eq!(truth::folded_directory(&feed), truth, "the folded feed against Google");
    passed(running, reader).await;
    let again = running.feed(reader).await;
    let news = |feed: &[Change]| feed.iter().filter(|it| it.kind.starts_with("person.")).count();
    assert_eq!(news(&again), news(&feed), "another pass found something");
}

/// Lets time go until one more pass is complete.
pub(crate) async fn passed(running: &Running, person: &Person) {
    let before = row(running, person).await.passed_at;
    for _ in 0..26 {
        running.pass(HOUR);
        running.work().await;
        if row(running, person).await.passed_at != before {
            return;
        }
    }
    panic!("no pass within a day: {:?}", row(running, person).await);
}

/// Google stops listing after so many pages more.
pub(crate) fn breaks_after(running: &Running, pages: u32) {
    let rule = Rule { skip: pages, ..Rule::status("directory.users.list", 503) };
    running.world(|world| world.faults.add(rule));
}

fn edit(running: &Running, email: &str, action: DirectoryAction) {
    running.world(|world| world.edit_directory(email, &action)).expect("it can be");
}

fn switch(running: &Running, email: &str, switch: PersonSwitch) {
    running.world(|world| {
        let sub = world.identity.person_by_email(email).expect("somebody").sub.clone();
        assert!(world.identity.switch_person(world.clock.now(), &sub, switch));
    });
}

/// An edit that leaves everything.
fn nothing() -> DirectoryAction {
    serde_json::from_value(serde_json::json!({"action": "edit"})).expect("an action")
}

fn hidden(hidden: bool) -> DirectoryAction {
    serde_json::from_value(serde_json::json!({"action": "edit", "hidden": hidden})).expect("an action")
}

fn titled(title: &str) -> DirectoryAction {
    serde_json::from_value(serde_json::json!({"action": "edit", "title": title})).expect("an action")
}

fn hired(email: &str) -> DirectoryAction {
    DirectoryAction::Hire { email: email.into(), given_name: "New".into(), family_name: "Comer".into(), mailbox: false }
}

async fn grant_of(running: &Running, person: &Person) -> Grant {
    let mut tx = running.app.store.read().await.expect("a transaction");
    grants::by_person(&mut tx, &person.id).await.expect("read").expect("a grant")
}

async fn actions(running: &Running, organization: &OrganizationId) -> Vec<(String, String)> {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let all = audit::list(&mut tx, organization, &audit::Filter::default(), i64::MAX, 200).await.expect("read");
    all.into_iter().rev().map(|it| (it.action, it.actor)).collect()
}

async fn start() -> Running {
    let running = Running::start().await;
    running.approve();
    running
}

#[tokio::test]
async fn an_ordinary_person_reads_what_everybody_sees_page_by_page() {
    let running = start().await;
    let (email, _) = running.employees();
    edit(&running, "kofi@example.com", hidden(true));
    switch(&running, "yuki@example.com", PersonSwitch::Suspend);
    running.world(|world| world.settings.page_max = 3);
    let person = running.connected(&email).await;
    let directory = row(&running, &person).await;
    assert_eq!((directory.view, directory.problem.as_deref()), (Some(View::Public), None));
    assert!(directory.passed_at.is_some() && directory.part.is_none());
    assert_eq!(running.calls("directory.users.get"), 1, "one question shows who isn't an administrator");
    assert!(running.calls("directory.users.list") > 2, "there were pages");
    assert!(!shown(&running, &person).await.is_empty());
    assert_the_directory_is_right(&running, &person).await;
    // What changes is found by the next pass, and only that is told.
    edit(&running, "zhanna@example.com", titled("Head of Tea"));
    edit(&running, "kofi@example.com", hidden(false));
    edit(&running, &email, hired("new@example.com"));
    edit(&running, "layla@example.com", nothing());
    let before = running.feed(&person).await.len();
    passed(&running, &person).await;
    let feed = running.feed(&person).await;
    let mut kinds: Vec<&str> = feed[before..].iter().map(|it| it.kind.as_str()).collect();
    kinds.retain(|it| it.starts_with("person."));
    kinds.sort_unstable();
    assert_eq!(kinds, ["person.added", "person.added", "person.changed"]);
    assert_the_directory_is_right(&running, &person).await;
}

#[tokio::test]
async fn whoever_is_missed_counts_as_gone_after_three_passes_and_a_hidden_person_loses_nothing() {
    let running = start().await;
    let (email, colleague) = running.employees();
    let hidden_one = running.connected(&colleague).await;
    let person = running.connected(&email).await;
    let sees = async || shown(&running, &person).await.contains_key(&hidden_one.subject);
    assert!(sees().await);
    edit(&running, &colleague, hidden(true));
    for pass in 1..3 {
        passed(&running, &person).await;
        assert!(sees().await, "missed {pass} times is not gone");
    }
    passed(&running, &person).await;
    assert!(!sees().await);
    assert_the_directory_is_right(&running, &person).await;
    let entry = entry(&running, &hidden_one).await;
    assert_eq!(entry.deleted_at, None, "the public view can't tell hidden from deleted");
    running.pass(DAY * 40);
    assert_eq!(connecting::let_the_deleted_go(&running.app).await.expect("a round"), 0);
    assert!(grant_of(&running, &hidden_one).await.state.works());
}

/// Whom an administrator isn't shown need not be deleted: Google is asked of each before it counts as that.
#[tokio::test]
async fn whom_an_administrators_listing_lacks_is_asked_about_before_anybody_is_taken_for_deleted() {
    let running = start().await;
    let administrator = running.connected(ADMIN).await;
    let everybody = shown(&running, &administrator).await;
    let lacks_the_others = || {
        let only = json!({"users": [{"id": administrator.subject, "primaryEmail": ADMIN}]});
        running.world(|world| world.faults.add(Rule::twist("directory.users.list", only, json!({})).times(1)));
    };
    for _ in 0..3 {
        lacks_the_others();
        passed(&running, &administrator).await;
    }
    let asked = running.calls("directory.users.get");
    assert!(asked >= everybody.len() - 1, "each of the others: {asked}");
    assert_eq!(shown(&running, &administrator).await.len(), everybody.len(), "they are there, whatever the list says");
    passed(&running, &administrator).await;
    assert_the_directory_is_right(&running, &administrator).await;

    // Google doesn't say of anybody, in words that nobody knows, or that they aren't there although they are connected.
    let connected = running.connected(&running.employee()).await;
    let deleted = async || -> Vec<String> {
        let mut tx = running.app.store.read().await.expect("a transaction");
        let ids: Vec<String> = everybody.keys().cloned().collect();
        let all = directory_people::by_ids(&mut tx, &administrator.organization_id, &ids).await.expect("read");
        all.into_values().filter(|it| it.deleted_at.is_some()).map(|it| it.google_id).collect()
    };
    let gone = async || running.feed(&administrator).await.iter().filter(|it| it.kind == "person.gone").count();
    let unreadable = Rule::twist("directory.users.get", json!({"id": null}), json!({}));
    let missing = Rule::status("directory.users.get", 404);
    for (answer, says_deleted) in [
        (Rule::status("directory.users.get", 403), false),
        (unreadable, false),
        (Rule::status("directory.users.get", 503), false),
        (missing, true),
    ] {
        let before = gone().await;
        running.world(|world| world.faults.add(answer.clone()));
        for _ in 0..3 {
            lacks_the_others();
            passed(&running, &administrator).await;
        }
        assert_eq!(gone().await - before, everybody.len() - 1, "told as gone after {answer:?}");
        let deleted = deleted().await;
        assert_eq!(deleted.len(), if says_deleted { everybody.len() - 2 } else { 0 }, "{deleted:?}");
        assert!(!deleted.contains(&connected.subject), "whose permission works has an account");
        running.world(|world| world.faults.clear());
        passed(&running, &administrator).await;
        assert_the_directory_is_right(&running, &administrator).await;
    }
}

#[tokio::test]
async fn the_administrator_s_view_takes_over_and_the_next_best_goes_on_without_it() {
    let running = start().await;
    let (email, _) = running.employees();
    edit(&running, "kofi@example.com", hidden(true));
    let person = running.connected(&email).await;
    assert_eq!(row(&running, &person).await.view, Some(View::Public));
    let administrator = running.connected(ADMIN).await;
    let directory = row(&running, &person).await;
    assert_eq!(directory.view, Some(View::Administrator));
    assert_eq!(directory.grant_id, Some(grant_of(&running, &administrator).await.id));
    let mut tx = running.app.store.read().await.expect("a transaction");
    let count = directory_people::count(&mut tx, &person.organization_id).await.expect("read");
    drop(tx);
    assert_eq!(count.unlisted, 1, "known, and shown to nobody");
    assert_the_directory_is_right(&running, &person).await;
    // An hour is enough now.
    edit(&running, "zhanna@example.com", titled("Head of Tea"));
    running.pass(HOUR);
    running.work().await;
    assert_eq!(shown(&running, &person).await, truth::directory(&running.sandbox, &email));
    // The one who reads loses what they were: another's grant goes on, with what it sees.
    switch(&running, ADMIN, PersonSwitch::AdministratorOff);
    passed(&running, &person).await;
    assert_eq!(row(&running, &person).await.view, Some(View::Public));
    connecting::leave(&running.app, &administrator, Origin::Unknown).await.expect("left");
    passed(&running, &person).await;
    let directory = row(&running, &person).await;
    assert_eq!(directory.grant_id, Some(grant_of(&running, &person).await.id));
    assert_the_directory_is_right(&running, &person).await;
    // Nobody is left.
    connecting::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    running.pass(DAY);
    running.work().await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let organization = &person.organization_id;
    assert_eq!(directories::of_organization(&mut tx, organization).await.expect("read"), None, "it went with the last");
    assert_eq!(directory_people::count(&mut tx, organization).await.expect("read"), Default::default());
    drop(tx);
    // Somebody permits it again, and it is copied anew.
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    assert_the_directory_is_right(&running, &person).await;
}

#[tokio::test]
async fn a_permission_that_was_taken_back_leaves_the_copy_as_of_then_and_says_so() {
    let running = start().await;
    let person = running.connected(&running.employee()).await;
    let before = shown(&running, &person).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    let grant = grants::by_person(&mut tx, &person.id).await.expect("read").expect("a grant");
    let left: Vec<String> = grant.scopes.into_iter().filter(|it| it != Permission::Directory.scope()).collect();
    grants::set_scopes(&mut tx, &grant.id, &left).await.expect("set");
    let id = row(&running, &person).await.id;
    directories::wake(&mut tx, &id, &person.organization_id, running.app.clock.now()).await.expect("woken");
    tx.commit().await.expect("committed");
    running.work().await;
    assert_eq!(row(&running, &person).await.problem.as_deref(), Some("nobody_permits"));
    assert_eq!(shown(&running, &person).await, before);
}

#[tokio::test]
async fn whoever_is_suspended_pauses_within_an_hour_and_goes_on_by_itself() {
    let running = start().await;
    let email = running.employee();
    let administrator = running.connected(ADMIN).await;
    let person = running.connected(&email).await;
    // Suspended, and the tokens survive: the false Google's own switch ends them for good, as Google mostly does.
    let suspended = |suspended: bool| {
        running.world(|world| world.identity.people.get_mut(&person.subject).expect("there").suspended = suspended);
    };
    suspended(true);
    running.pass(HOUR);
    running.work().await;
    assert!(grant_of(&running, &person).await.suspended_at.is_some());
    let connection = async || {
        let mut tx = running.app.store.read().await.expect("a transaction");
        let now = running.app.clock.now();
        connecting::connection(&mut tx, &person.id, now).await.expect("read").expect("a connection")
    };
    assert!(!connection().await.works() && !connection().await.is_connected());
    // In the name of the suspended person alone: the administrator's mailbox goes on.
    let asked = || {
        let is_theirs = |it: &&Call| it.person.as_deref() == Some(&person.email) && it.call.starts_with("gmail.");
        running.world(|world| world.calls.iter().filter(is_theirs).count())
    };
    let before = asked();
    running.pass(DAY * 2);
    running.work().await;
    let page =
        text(ask(&running.app, "GET", "/settings/integrations", &session(&running.app, &person).await, None).await)
            .await;
    assert!(page.contains("Suspended at Google"), "{page}");
    set_administrator(&running, &administrator).await;
    let proof = session(&running.app, &administrator).await;
    let page = text(ask(&running.app, "GET", &format!("/admin/people/{}", person.id), &proof, None).await).await;
    assert!(page.contains("Suspended at Google") && page.contains("id=\"suspended\""), "{page}");
    let of_person = running.mailbox(&person).await;
    assert_eq!((of_person.due_at, asked()), (None, before), "nothing is asked meanwhile");
    suspended(false);
    running.pass(HOUR);
    running.settle().await;
    assert_eq!(grant_of(&running, &person).await.suspended_at, None);
    assert!(connection().await.is_connected());
    running.assert_nothing_is_lost(&person).await;
    assert_the_directory_is_right(&running, &person).await;
    let done = actions(&running, &person.organization_id).await;
    let by_directory: Vec<&str> = done.iter().filter(|it| it.1 == "directory").map(|it| it.0.as_str()).collect();
    assert_eq!(by_directory, ["person.suspended_at_google", "person.unsuspended_at_google"]);
    let told = running.feed(&person).await;
    let states = told.iter().filter(|it| it.kind == "mailbox.state").filter_map(|it| it.data["state"].as_str());
    assert!(states.collect::<Vec<&str>>().windows(2).any(|it| it == ["suspended", "live"]));
}

#[tokio::test]
async fn whoever_is_suspended_or_deleted_is_shown_nothing_and_decides_nothing() {
    for url in [None, Some(postgres::database().await)] {
        let running = Running::start_with(Setup { postgres: url, ..Setup::default() }).await;
        running.approve();
        let app = &running.app;
        let (email, colleague) = running.employees();
        let administrator = running.connected(ADMIN).await;
        let person = running.connected(&email).await;
        // Somebody who isn't connected, and an administrator here.
        let other = running.sign_in(&colleague).await;
        set_administrator(&running, &other).await;
        let (proof, key) = (session(app, &person).await, access_key(app, &person).await);
        let (desk, desk_key) = (session(app, &other).await, access_key(app, &other).await);
        let status = async |path: &str, proof: &Proof| ask(app, "GET", path, proof, None).await.status();
        let form = format!("form_token={}&role=administrator", form_token(app, &desk).await);
        let messages = format!("/api/v1/mailboxes/{}/messages", running.mailbox(&person).await.id);
        let set = |person: &Person, suspended: bool| {
            running.world(|world| world.identity.people.get_mut(&person.subject).expect("there").suspended = suspended);
        };
        for it in [&person, &other] {
            set(it, true);
        }
        running.pass(HOUR);
        running.work().await;
        for path in ["/mail", "/activity", "/calendar", "/directory", "/settings/keys", "/settings/privacy", "/receipt"]
        {
            assert_eq!(status(path, &proof).await, StatusCode::FORBIDDEN, "{path}");
        }
        let told = ask(app, "GET", &messages, &key, None).await;
        assert_eq!(told.status(), StatusCode::FORBIDDEN);
        let told: Json = serde_json::from_str(&text(told).await).expect("JSON");
        assert_eq!(told["code"], "shut_out");
        assert_eq!(status("/api/v1/me", &desk_key).await, StatusCode::FORBIDDEN);
        assert_eq!(status("/admin", &desk).await, StatusCode::FORBIDDEN);
        let refused = ask(app, "POST", &format!("/admin/people/{}/role", person.id), &desk, Some(&form)).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let page = text(ask(app, "GET", "/settings/integrations", &proof, None).await).await;
        assert!(page.contains("Suspended at Google"), "how their connection stands is shown: {page}");
        let done = actions(&running, &person.organization_id).await;
        let suspended = done.iter().filter(|it| it.0 == "person.suspended_at_google").count();
        assert_eq!(suspended, 2, "with and without a connection: {done:?}");

        // Once it is over everything is as before: by the directory, or at once by a sign-in with Google.
        for it in [&person, &other] {
            set(it, false);
        }
        running.sign_in(&other.email).await;
        assert_eq!(status("/admin", &desk).await, StatusCode::OK);
        assert_eq!(status("/mail", &proof).await, StatusCode::FORBIDDEN, "somebody else's sign-in says nothing");
        running.pass(HOUR);
        running.settle().await;
        assert_eq!((status("/mail", &proof).await, status(&messages, &key).await), (StatusCode::OK, StatusCode::OK));

        // Or by a consent.
        set(&person, true);
        passed(&running, &administrator).await;
        assert_eq!(status("/mail", &proof).await, StatusCode::FORBIDDEN);
        set(&person, false);
        running.connect(&person, Ticks::All).await.expect("connected again");
        running.settle().await;
        assert_eq!(status("/mail", &proof).await, StatusCode::OK);

        switch(&running, &email, PersonSwitch::Delete);
        passed(&running, &administrator).await;
        assert_eq!(status("/mail", &proof).await, StatusCode::FORBIDDEN);
        assert_eq!(status(&messages, &key).await, StatusCode::FORBIDDEN);
        // They can still leave, and get the receipt.
        let page = text(ask(app, "GET", "/settings/integrations/disconnect", &proof, None).await).await;
        let token = page.split("name=\"form_token\" value=\"").nth(1).and_then(|it| it.split('"').next());
        let form = format!("form_token={}", token.expect("a form"));
        let done = location(&ask(app, "POST", "/disconnect/google", &proof, Some(&form)).await).expect("a page");
        assert_eq!(status(&done, &proof).await, StatusCode::OK, "{done}");
        assert_eq!(status(done.trim_end_matches("/done"), &proof).await, StatusCode::OK, "the receipt");
    }
}

#[tokio::test]
async fn whoever_is_only_missed_is_not_shut_out() {
    let running = start().await;
    let (email, _) = running.employees();
    let administrator = running.connected(ADMIN).await;
    let person = running.sign_in(&email).await;
    passed(&running, &administrator).await;
    // Deleted so long ago that Google no longer lists them as such.
    switch(&running, &email, PersonSwitch::Delete);
    running.pass(DAY * 21);
    for _ in 0..3 {
        passed(&running, &administrator).await;
    }
    assert!(entry(&running, &person).await.deleted_at.is_some());
    let proof = session(&running.app, &person).await;
    let answer = ask(&running.app, "GET", "/settings/privacy", &proof, None).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn whoever_signs_in_with_google_isn_t_suspended_any_more_whatever_the_directory_said_last() {
    for url in [None, Some(postgres::database().await)] {
        let running = Running::start_with(Setup { postgres: url, ..Setup::default() }).await;
        running.approve();
        let email = running.employee();
        running.connected(ADMIN).await;
        let person = running.connected(&email).await;
        let suspended = |suspended: bool| {
            running.world(|world| world.identity.people.get_mut(&person.subject).expect("there").suspended = suspended);
        };
        suspended(true);
        running.pass(HOUR);
        running.work().await;
        assert!(grant_of(&running, &person).await.suspended_at.is_some());
        running.act(&email, intail_sandbox::action::MailAction::sample());
        let other = running.sign_in(ADMIN).await;
        assert!(grant_of(&running, &person).await.suspended_at.is_some(), "somebody else's sign-in says nothing");

        suspended(false);
        running.sign_in(&email).await;
        assert_eq!(grant_of(&running, &person).await.suspended_at, None, "at once");
        running.work().await;
        running.assert_nothing_is_lost(&person).await;
        running.sign_in(&email).await;
        let done = actions(&running, &other.organization_id).await;
        let restored = done.iter().filter(|it| it.0 == "person.unsuspended_at_google").map(|it| it.1.as_str());
        assert_eq!(restored.collect::<Vec<_>>(), ["google"], "once, and by whom");
        let told = running.feed(&person).await;
        let states = told.iter().filter(|it| it.kind == "mailbox.state").filter_map(|it| it.data["state"].as_str());
        assert!(states.collect::<Vec<&str>>().windows(2).any(|it| it == ["suspended", "live"]));
        running.pass(HOUR);
        running.settle().await;
        assert_eq!(grant_of(&running, &person).await.suspended_at, None, "the directory says the same");
    }
}

#[tokio::test]
async fn a_suspension_that_ended_the_tokens_asks_the_person_once_it_is_over() {
    let running = start().await;
    let email = running.employee();
    running.connected(ADMIN).await;
    let person = running.connected(&email).await;
    switch(&running, &email, PersonSwitch::Suspend);
    running.pass(DAY);
    running.work().await;
    assert!(grant_of(&running, &person).await.suspended_at.is_some());
    switch(&running, &email, PersonSwitch::Restore);
    running.pass(HOUR);
    running.work().await;
    let grant = grant_of(&running, &person).await;
    assert_eq!((grant.suspended_at, grant.state), (None, GrantState::NeedsPerson));
    running.connect(&person, Ticks::All).await.expect("connected again");
    running.settle().await;
    running.assert_nothing_is_lost(&person).await;
}

async fn set_administrator(running: &Running, person: &Person) {
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &person.id, Role::Administrator).await.expect("set");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn whoever_is_deleted_is_erased_when_the_days_are_over_and_a_receipt_says_so() {
    let running = start().await;
    let (email, other) = running.employees();
    let administrator = running.connected(ADMIN).await;
    set_administrator(&running, &administrator).await;
    let (person, colleague) = (running.connected(&email).await, running.connected(&other).await);
    // The administrator's policy: a week.
    let proof = session(&running.app, &administrator).await;
    let token = form_token(&running.app, &proof).await;
    let form = format!("form_token={token}&domain_joining=1&backfill_percent=80&audit_kept_days=400&retention_days=7");
    let answer = ask(&running.app, "POST", "/admin/policy", &proof, Some(&form)).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", text(answer).await);
    for it in [&email, &other] {
        switch(&running, it, PersonSwitch::Delete);
    }
    running.pass(HOUR);
    running.work().await;
    assert!(entry(&running, &person).await.deleted_at.is_some());
    assert_the_directory_is_right(&running, &administrator).await;
    let page = text(ask(&running.app, "GET", &format!("/admin/people/{}", person.id), &proof, None).await).await;
    assert!(page.contains("id=\"erased-at\""), "{page}");
    running.pass(DAY * 5);
    running.work().await;
    assert_eq!(connecting::let_the_deleted_go(&running.app).await.expect("a round"), 0, "not yet");
    // One of them comes back in time.
    switch(&running, &other, PersonSwitch::Undelete);
    running.pass(DAY);
    running.work().await;
    assert_eq!(entry(&running, &colleague).await.deleted_at, None);
    running.pass(DAY);
    running.work().await;
    assert_eq!(connecting::let_the_deleted_go(&running.app).await.expect("a round"), 1);
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert!(people::by_id(&mut tx, &person.id).await.expect("read").is_none());
    assert!(people::by_id(&mut tx, &colleague.id).await.expect("read").is_some());
    assert!(leavings::unfinished_of_person(&mut tx, &person.id).await.expect("read").is_none());
    let receipts = leaving_receipts::of_organization(&mut tx, &person.organization_id, 9).await.expect("read");
    drop(tx);
    assert_eq!(receipts.len(), 1);
    assert!(receipts[0].statement.contains("\"by\":\"directory\""), "{}", receipts[0].statement);
    let done = actions(&running, &person.organization_id).await;
    let of = |action: &str| done.iter().filter(|it| it.0 == action && it.1 == Actor::Directory.to_string()).count();
    assert_eq!(of("person.deleted_at_google"), 2);
    assert_eq!((of("person.back_at_google"), of("person.removed_by_directory")), (1, 1));
    assert_eq!(connecting::let_the_deleted_go(&running.app).await.expect("a round"), 0, "once is enough");
    assert_the_directory_is_right(&running, &administrator).await;
}

#[tokio::test]
async fn an_organization_keeps_its_last_administrator_although_their_account_was_deleted() {
    let running = start().await;
    let email = running.employee();
    let last = running.connected(&email).await;
    let reader = running.connected(ADMIN).await;
    set_administrator(&running, &last).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &reader.id, Role::Member).await.expect("set");
    tx.commit().await.expect("committed");
    switch(&running, &email, PersonSwitch::Delete);
    running.pass(HOUR);
    running.work().await;
    running.pass(DAY * 31);
    running.work().await;
    assert_eq!(connecting::let_the_deleted_go(&running.app).await.expect("a round"), 1);
    let mut tx = running.app.store.read().await.expect("a transaction");
    assert!(people::by_id(&mut tx, &last.id).await.expect("read").is_some(), "they stay");
    assert!(grants::by_person(&mut tx, &last.id).await.expect("read").is_none(), "what was copied goes");
    drop(tx);
    assert_eq!(connecting::let_the_deleted_go(&running.app).await.expect("a round"), 0);
}

#[tokio::test]
async fn an_administrator_who_may_read_the_directory_sees_who_never_came() {
    let running = start().await;
    let reader = running.connected(ADMIN).await;
    let (one, two) = running.employees();
    let (member, other) = (running.sign_in(&one).await, running.sign_in("yuki@example.com").await);
    for person in [&reader, &other] {
        set_administrator(&running, person).await;
    }
    let path = "/admin/people?state=not_connected";
    let page = async |person: &Person| {
        let proof = session(&running.app, person).await;
        text(ask(&running.app, "GET", path, &proof, None).await).await
    };
    let seen = page(&reader).await;
    let (_, absent) = seen.split_once("id=\"never-came\"").expect("who never came");
    assert!(absent.contains(&two) && absent.contains("id=\"never-text\""), "{absent}");
    assert!(!absent.contains(&member.email) && !absent.contains(&reader.email), "they came: {absent}");
    assert!(!page(&other).await.contains("never-came"), "who permitted nothing reads nothing of the directory");
}

#[tokio::test]
async fn a_renamed_person_keeps_everything_under_the_new_address() {
    let running = start().await;
    let email = running.employee();
    running.connected(ADMIN).await;
    let person = running.connected(&email).await;
    let mailbox = running.mailbox(&person).await;
    edit(&running, &email, DirectoryAction::Rename { email: "renamed@example.com".into() });
    edit(&running, &email, DirectoryAction::AddAlias { email: "another@example.com".into() });
    running.pass(HOUR);
    running.work().await;
    let after = running.mailbox(&person).await;
    assert_eq!((after.id, after.email.as_str()), (mailbox.id, "renamed@example.com"));
    assert_eq!(grant_of(&running, &person).await.email, "renamed@example.com");
    let mut tx = running.app.store.read().await.expect("a transaction");
    let renamed = people::by_id(&mut tx, &person.id).await.expect("read").expect("the same person");
    assert_eq!(renamed.email, "renamed@example.com");
    let wanted = [email.as_str(), "renamed@example.com", "another@example.com", "x@x.example"];
    let known = intail::org::identities::resolve(&mut tx, &person.organization_id, &wanted).await.expect("resolved");
    drop(tx);
    let keys: Vec<&str> = wanted.iter().map(|it| known[*it].key()).collect();
    assert_eq!(keys, [&person.subject, &person.subject, &person.subject, "x@x.example"]);
    assert_the_directory_is_right(&running, &renamed).await;
    running.assert_nothing_is_lost(&renamed).await;
}

#[tokio::test]
async fn whoever_is_deleted_while_suspended_stays_paused() {
    let running = start().await;
    let email = running.employee();
    running.connected(ADMIN).await;
    let person = running.connected(&email).await;
    switch(&running, &email, PersonSwitch::Suspend);
    running.pass(DAY);
    running.work().await;
    switch(&running, &email, PersonSwitch::Delete);
    running.pass(HOUR);
    running.work().await;
    assert!(entry(&running, &person).await.deleted_at.is_some());
    assert!(grant_of(&running, &person).await.suspended_at.is_some(), "nothing is asked with dead tokens");
    let done = actions(&running, &person.organization_id).await;
    let of_directory: Vec<&str> = done.iter().filter(|it| it.1 == "directory").map(|it| it.0.as_str()).collect();
    assert_eq!(of_directory, ["person.suspended_at_google", "person.deleted_at_google"]);
}

#[tokio::test]
async fn a_page_token_that_died_begins_the_pass_anew_and_a_crash_goes_on_at_its_page() {
    let running = start().await;
    running.world(|world| world.settings.page_max = 2);
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    // Google stops answering in the middle of the pass.
    let listed = running.calls("directory.users.list");
    breaks_after(&running, 3);
    running.work().await;
    let broken = row(&running, &person).await;
    assert!(broken.part.is_some() && broken.page_token.is_some(), "{broken:?}");
    let seen = broken.seen;
    assert!(seen > 0 && running.calls("directory.users.list") > listed);
    // Another process goes on where this one was.
    running.world(|world| world.faults.clear());
    running.pass(HOUR);
    running.another_worker().tick().await.expect("the engine runs");
    let whole = row(&running, &person).await;
    assert_eq!((whole.pass, whole.part), (broken.pass, None), "the same pass");
    assert!(whole.seen > seen);
    // A token dies after three days: the pass begins anew, and nobody is lost.
    edit(&running, &email, hired("new@example.com"));
    breaks_after(&running, 2);
    running.pass(DAY);
    running.work().await;
    assert!(row(&running, &person).await.page_token.is_some());
    running.pass(DAY * 4);
    running.world(|world| world.faults.clear());
    running.work().await;
    assert!(row(&running, &person).await.pass > whole.pass + 1);
    running.settle().await;
    assert_the_directory_is_right(&running, &person).await;
}

#[tokio::test]
async fn the_next_grant_reads_when_the_one_that_reads_dies_between_two_pages() {
    let running = start().await;
    let person = running.connected(&running.employee()).await;
    running.world(|world| world.settings.page_max = 2);
    let administrator = running.sign_in(ADMIN).await;
    running.connect(&administrator, Ticks::All).await.expect("connected");
    breaks_after(&running, 2);
    running.work().await;
    let broken = row(&running, &person).await;
    assert!(broken.page_token.is_some() && broken.view == Some(View::Administrator), "{broken:?}");
    switch(&running, ADMIN, PersonSwitch::ChangePassword);
    running.world(|world| world.faults.clear());
    running.pass(HOUR);
    running.settle().await;
    let next = row(&running, &person).await;
    assert_eq!((next.view, next.part), (Some(View::Public), None), "{next:?}");
    assert_eq!(next.grant_id, Some(grant_of(&running, &person).await.id));
    assert!(next.passed_at > broken.passed_at);
    assert_the_directory_is_right(&running, &person).await;
}

#[tokio::test]
async fn whoever_comes_or_goes_between_two_pages_shifts_nobody_and_is_found_by_the_next_pass() {
    let running = start().await;
    running.world(|world| world.settings.page_max = 2);
    let administrator = running.sign_in(ADMIN).await;
    running.connect(&administrator, Ticks::All).await.expect("connected");
    breaks_after(&running, 2);
    running.work().await;
    assert!(row(&running, &administrator).await.page_token.is_some(), "between two pages");
    // One whom the pass has seen goes, one whom it hasn't, and one comes where it has been.
    switch(&running, "bjorn@example.com", PersonSwitch::Delete);
    switch(&running, "zhanna@example.com", PersonSwitch::Delete);
    edit(&running, ADMIN, hired("aaa@example.com"));
    let pass = row(&running, &administrator).await.pass;
    running.world(|world| world.faults.clear());
    running.settle().await;
    let known = async |email: &str| {
        let sub = running
            .world(|world| world.identity.people.values().find(|it| it.email == email).expect("one").sub.clone());
        shown(&running, &administrator).await.contains_key(&sub)
    };
    assert!(!known("bjorn@example.com").await && !known("zhanna@example.com").await, "the deleted are listed last");
    if row(&running, &administrator).await.pass == pass {
        assert!(!known("aaa@example.com").await, "the pass was past that place");
        passed(&running, &administrator).await;
    }
    assert!(known("aaa@example.com").await);
    assert_the_directory_is_right(&running, &administrator).await;
}

#[tokio::test]
async fn an_account_without_an_organization_has_no_directory_and_says_so() {
    for status in [400, 403, 404] {
        let running = start().await;
        running.world(|world| world.settings.directory.no_directory_status = status);
        let email = running.employee();
        let person = running.sign_in(&email).await;
        running.connect(&person, Ticks::All).await.expect("connected");
        // Google's directory is closed to the whole company.
        running.world(|world| {
            for it in world.identity.people.values_mut() {
                it.hd = None;
            }
        });
        running.settle().await;
        let directory = row(&running, &person).await;
        assert_eq!(directory.problem.as_deref(), Some("no_directory"), "{status}");
        let proof = session(&running.app, &person).await;
        let page = text(ask(&running.app, "GET", "/directory", &proof, None).await).await;
        assert!(page.contains("There is no directory that Intail could read"), "{page}");
        let asked = running.calls("directory.users.get") + running.calls("directory.users.list");
        running.pass(HOUR * 20);
        running.work().await;
        let later = running.calls("directory.users.get") + running.calls("directory.users.list");
        assert_eq!(later, asked, "nobody is asked again within a day");
    }
}

#[tokio::test]
async fn two_organizations_never_see_each_other() {
    let running = start().await;
    let other = OrganizationId::new(&running.app.random);
    let mut tx = running.app.store.write().await.expect("a transaction");
    organizations::create(&mut tx, &other, "Other", running.app.clock.now()).await.expect("made");
    organizations::add_domain(&mut tx, &other, "other.example").await.expect("added");
    tx.commit().await.expect("committed");
    running.world(|world| {
        let else_one = Account::new("else@other.example", "Else", "Where", Some("other.example"));
        world.identity.people.insert(else_one.sub.clone(), else_one);
        // Intail's client is for the company alone in the demo's world.
        for client in world.identity.clients.values_mut() {
            client.user_type = UserType::ExternalProduction;
        }
    });
    let person = running.connected(&running.employee()).await;
    let stranger = running.sign_in("else@other.example").await;
    assert_eq!(stranger.organization_id, other);
    let mail_less = Ticks::Only(&[Permission::Directory.scope()]);
    running.connect(&stranger, mail_less).await.expect("connected");
    running.settle().await;
    assert_eq!(shown(&running, &stranger).await.len(), 1);
    assert!(!shown(&running, &person).await.contains_key(&stranger.subject));
    assert!(running.feed(&person).await.iter().all(|it| it.subject_id != stranger.subject));
    assert!(running.feed(&stranger).await.iter().all(|it| it.subject_id != person.subject));
    for (reader, whom, status) in
        [(&stranger, &person, 404), (&person, &stranger, 404), (&person, &person, 200), (&stranger, &stranger, 200)]
    {
        let key = access_key(&running.app, reader).await;
        for path in [format!("/directory/{}", whom.subject), format!("/api/v1/directory/{}", whom.subject)] {
            let proof = if path.starts_with("/api") { key.clone() } else { session(&running.app, reader).await };
            assert_eq!(ask(&running.app, "GET", &path, &proof, None).await.status(), status, "{path}");
        }
    }
}

#[tokio::test]
async fn only_those_who_permitted_it_are_shown_the_directory() {
    let running = start().await;
    let (email, other) = running.employees();
    edit(&running, "kofi@example.com", hidden(true));
    let person = running.connected(&email).await;
    let without = running.sign_in(&other).await;
    running.connect(&without, Ticks::Only(&[Permission::Mail.scope()])).await.expect("connected");
    running.settle().await;
    let get = async |whose: &Person, path: &str| {
        let proof = if path.starts_with("/api") {
            access_key(&running.app, whose).await
        } else {
            session(&running.app, whose).await
        };
        let answer = ask(&running.app, "GET", path, &proof, None).await;
        (answer.status().as_u16(), text(answer).await)
    };
    let (_, page) = get(&without, "/directory").await;
    assert!(page.contains("You left this out") && !page.contains(&email), "{page}");
    assert_eq!(get(&without, "/api/v1/directory").await.0, 404);
    assert_eq!(get(&without, &format!("/directory/{}", person.subject)).await.0, 404);
    let feed = running.feed(&without).await;
    assert!(feed.iter().all(|it| !it.kind.starts_with("person.")), "nor in the feed");
    let (status, json) = get(&person, "/api/v1/directory?q=example.org&limit=1").await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((status, json["view"].as_str()), (200, Some("public")));
    assert_eq!(json["people"].as_array().map(Vec::len), Some(1));
    let (_, page) = get(&person, "/directory?q=kofi").await;
    assert!(page.contains("Nobody fits"), "hidden people are found by nobody: {page}");
    let (_, page) = get(&person, "/directory?view=organization").await;
    assert!(page.contains("class=\"card tree\""), "{page}");
    assert!(marked(&page).contains("view=organization"), "{page}");
    assert!(page.contains("role=\"status\" data-part></p>"), "nothing was searched for: {page}");
    // A search among the tree is a list, whose tab is marked; the form leads back to the tree.
    let (_, page) = get(&person, "/directory?view=organization&q=kofi").await;
    assert!(!marked(&page).contains("view=organization"), "{page}");
    assert!(page.contains("name=\"view\" value=\"organization\""), "{page}");
    assert!(page.contains("role=\"status\" data-part>Nobody fits</p>"), "{page}");
    assert_eq!(get(&person, "/directory/nobody").await.0, 404);
    let nobody = ask(&running.app, "GET", "/api/v1/directory", &Proof::Nothing, None).await;
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
}

/// What stands between these marks, each time.
fn between<'a>(page: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    page.split(before).skip(1).map(|it| it.split_once(after).expect("it ends").0).collect()
}

/// The part of a person's page under the heading with this id; none where there is none.
fn part<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(format!("<h2 id=\"{heading}\">").as_str())?;
    Some(rest.split_once("</section>").expect("the part ends").0)
}

#[tokio::test]
async fn a_person_s_page_shows_their_place_and_each_reader_what_is_the_reader_s_own() {
    const WHOM: &str = "newa@example.com";
    let running = start().await;
    let (one, two) = running.employees();
    // A chief whose own manager stands in no directory, a head, the person, and two who report to them.
    let mut ids = std::collections::BTreeMap::new();
    for (email, name, manager) in [
        ("cleo@example.com", "Cleo Chief", "owner@elsewhere.example"),
        ("hedda@example.com", "Hedda Head", "cleo@example.com"),
        (WHOM, "Newa Comer", "hedda@example.com"),
        ("bela@example.com", "Bela Below", WHOM),
        ("zora@example.com", "Zora Below", WHOM),
    ] {
        let (given_name, family_name) = name.split_once(' ').expect("two names");
        let hired = json!({"action": "hire", "email": email, "given_name": given_name, "family_name": family_name});
        let placed = json!({"action": "edit", "manager": manager, "title": "Of tea", "photo": email == WHOM});
        for action in [hired, placed] {
            let about = if action["action"] == "hire" { ADMIN } else { email };
            edit(&running, about, serde_json::from_value(action).expect("an action"));
        }
        let id = running.world(|world| world.identity.person_by_email(email).expect("there").sub.clone());
        ids.insert(email, id);
    }
    // What each of two readers has with the person, and what they have without.
    let receive = |whose: &str, from: &str, cc: &str, subject: &str| {
        let headers = [("From", from), ("To", whose), ("Cc", cc), ("Subject", subject)];
        let headers: Vec<Json> = headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let action = json!({"action": "receive", "headers": headers});
        running.act(whose, serde_json::from_value(action).expect("an action"));
    };
    let (stranger, theirs) = ("Str Anger <stranger@elsewhere.example>", "Newa Comer <newa@example.com>");
    receive(&one, theirs, &one, "To the first");
    receive(&one, stranger, theirs, "About them");
    receive(&one, stranger, &one, "Without them");
    receive(&two, theirs, &two, "To the second");
    let meet = |whose: &str, title: &str, start: &str, guests: &[&str]| {
        let event = json!({"title": title, "start": start, "guests": guests});
        running.plan(whose, json!({"action": "create", "event": event}));
    };
    meet(&one, "Tea of the first", "2026-11-25T09:00", &[WHOM]);
    meet(&one, "Tea without them", "2026-11-25T10:00", &[two.as_str()]);
    meet(&two, "Tea of the second", "2026-11-25T11:00", &[WHOM]);
    meet(&two, "Tea of all three", "2026-11-25T12:00", &[WHOM, one.as_str()]);
    let (first, second) = (running.connected(&one).await, running.connected(&two).await);
    for reader in [&first, &second] {
        running.settle_calendars(reader).await;
    }
    let proofs = (session(&running.app, &first).await, session(&running.app, &second).await);
    let page = async |proof: &Proof, path: &str| {
        let answer = ask(&running.app, "GET", path, proof, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        text(answer).await
    };
    let of = |email: &str| format!("/directory/{}", ids[email]);
    let (seen, other) = (page(&proofs.0, &of(WHOM)).await, page(&proofs.1, &of(WHOM)).await);

    // Their place: the nearest manager first, whoever reports to them by name, each with the way to their page.
    let names = |part: &str| -> Vec<String> {
        between(part, "<span class=\"name\"><bdi>", "</bdi>").into_iter().map(str::to_owned).collect()
    };
    for page in [&seen, &other] {
        assert!(page.contains("id=\"post\">Of tea</p>"), "{page}");
        let above = part(page, "manager-title").expect("whom they report to");
        assert_eq!(names(above), ["Hedda Head", "Cleo Chief"], "{above}");
        let below = part(page, "reports-title").expect("who reports to them");
        assert_eq!(names(below), ["Bela Below", "Zora Below"], "{below}");
        let links = [between(above, "href=\"", "\""), between(below, "href=\"", "\"")].concat();
        let people = ["hedda@example.com", "cleo@example.com", "bela@example.com", "zora@example.com"];
        assert_eq!(links, people.map(of), "each leads to their page");
        let reach = part(page, "reach-title").expect("how to reach them");
        let picture = running.world(|world| format!("{}/static/person.svg?{}", world.identity.public_url, ids[WHOM]));
        assert!(reach.contains(&format!("href=\"{picture}\" rel=\"noopener noreferrer\"")), "{reach}");
    }
    let chief = page(&proofs.0, &of("cleo@example.com")).await;
    let above = part(&chief, "manager-title").expect("whom they report to");
    assert!(above.contains("owner@elsewhere.example, who isn’t in the directory."), "{above}");
    assert!(!above.contains("href="), "it leads nowhere: {above}");
    assert_eq!(names(part(&chief, "reports-title").expect("reports")), ["Hedda Head"]);
    assert!(!chief.contains("<dt>Picture</dt>"), "there is none");
    let last = page(&proofs.0, &of("zora@example.com")).await;
    assert!(part(&last, "reports-title").expect("reports").contains("Nobody, as far as the directory says."));

    // What a reader has with them: of the reader's own mailbox and calendars, and nothing of anybody else's.
    let subjects = |page: &str, heading: &str| -> Vec<String> {
        let part = part(page, heading).expect("the reader permitted it");
        let mut found = between(part, "<span class=\"subject\"><bdi>", "</bdi>");
        found.sort_unstable();
        found.into_iter().map(str::to_owned).collect()
    };
    assert_eq!(subjects(&seen, "mail-title"), ["About them", "To the first"]);
    assert_eq!(subjects(&other, "mail-title"), ["To the second"]);
    assert_eq!(subjects(&seen, "meetings-title"), ["Tea of all three", "Tea of the first"]);
    assert_eq!(subjects(&other, "meetings-title"), ["Tea of all three", "Tea of the second"]);
    let mail = part(&seen, "mail-title").expect("their mail");
    assert!(mail.contains("from them") && mail.contains("from <bdi>Str Anger</bdi>"), "{mail}");
    assert!(!seen.contains("To the second") && !seen.contains("Tea of the second"), "{seen}");
    assert!(!other.contains("To the first") && !other.contains("Tea of the first"), "{other}");
    for (proof, page_of_them) in [(&proofs.0, &seen), (&proofs.1, &other)] {
        for heading in ["mail-title", "meetings-title"] {
            for href in between(part(page_of_them, heading).expect("there"), "href=\"", "\"") {
                page(proof, href).await;
            }
        }
    }
    // With oneself, nobody has anything.
    let own = page(&proofs.0, &format!("/directory/{}", first.subject)).await;
    assert!(own.contains("This is you"), "{own}");
    assert_eq!((part(&own, "mail-title"), part(&own, "meetings-title")), (None, None));
}

#[tokio::test]
async fn what_the_directory_waits_for_stands_on_the_card_on_the_pages_and_in_the_api() {
    let running = start().await;
    let person = running.sign_in(EMPLOYEE).await;
    set_administrator(&running, &person).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    let (proof, key) = (session(&running.app, &person).await, access_key(&running.app, &person).await);
    let page = async |path: &str| text(ask(&running.app, "GET", path, &proof, None).await).await;
    let api = async || {
        let told = text(ask(&running.app, "GET", "/api/v1/directory", &key, None).await).await;
        serde_json::from_str::<Json>(&told).expect("JSON")
    };
    // On the card, on the directory's page and on the administrator's: why it waits, if it does.
    let told = async || {
        let mut told = Vec::new();
        for (path, before) in [("/settings/integrations", "directory-"), ("/directory", ""), ("/admin", "directory-")] {
            let page = page(path).await;
            let id = |word: &str| format!(" id=\"{before}{word}\">");
            let found = ["project-waits", "paused"].map(|it| between(&page, &id(it), "</p>").concat());
            told.push(Some(found.concat()).filter(|it| !it.is_empty()));
        }
        told
    };
    let until = running.app.clock.now() + HOUR;
    let mut tx = running.app.store.write().await.expect("a transaction");
    let hold = quota::Hold { until, correction: None, day: None };
    quota::hold(&mut tx, quota::DIRECTORY, hold).await.expect("held");
    tx.commit().await.expect("committed");
    running.work().await;
    assert!(page("/settings/integrations").await.contains("Being copied: 0 so far."));
    for it in told().await {
        let it = it.expect("it is told");
        assert!(it.contains(&until.to_string()[..19]) && it.contains("Google wants no questions"), "{it}");
    }
    let answer = api().await;
    assert_eq!((&answer["waits_for"], &answer["waits_until"]), (&json!("project"), &json!(until.to_string())));

    // Whoever waited comes back one by one. Then Google asks to slow down with this one.
    running.pass(HOUR + HOUR / 2);
    let (reason, message) = ("rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-11-22T23:00:00.000Z");
    let (reason, message) = (Some(reason.to_owned()), Some(message.to_owned()));
    let refusal = Mischief::Status { status: 429, reason, message, retry_after_s: None };
    running.world(|world| world.faults.add(Rule::new("directory.users.list", refusal).times(1)));
    running.work().await;
    for it in told().await {
        let it = it.expect("it is told");
        assert!(it.contains("2026-11-22T23:00:00Z") && it.contains("slow down with this directory"), "{it}");
    }
    let answer = api().await;
    let slow = (&json!("directory"), &json!("2026-11-22T23:00:00Z"));
    assert_eq!((&answer["waits_for"], &answer["waits_until"]), slow);
    running.pass(DAY);
    running.settle().await;
    assert_eq!(told().await, [None, None, None]);
    let answer = api().await;
    assert_eq!((&answer["waits_for"], &answer["waits_until"]), (&Json::Null, &Json::Null), "{answer}");
    assert!(answer["as_of"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_directory_that_used_up_the_day_that_the_operator_gives_it_says_so() {
    let running = Running::start_with(Setup { directory_day: Some(100), ..Setup::default() }).await;
    running.approve();
    let person = running.sign_in(EMPLOYEE).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    let (today, turns_at) = intail_google::day::day(running.app.clock.now());
    quota::spend(&mut tx, quota::DIRECTORY, today, 95).await.expect("spent");
    tx.commit().await.expect("committed");
    running.connect(&person, Ticks::All).await.expect("connected");
    running.pass(Duration::from_secs(10));
    running.settle().await;
    let (proof, key) = (session(&running.app, &person).await, access_key(&running.app, &person).await);
    let answer = text(ask(&running.app, "GET", "/api/v1/directory", &key, None).await).await;
    let answer: Json = serde_json::from_str(&answer).expect("JSON");
    let waits = (&json!("day"), &json!(turns_at.to_string()));
    assert_eq!((&answer["waits_for"], &answer["waits_until"]), waits, "{answer}");
    let page = text(ask(&running.app, "GET", "/directory", &proof, None).await).await;
    let why = "At least 95 % of Google’s allowance for today are used, by everybody on this Intail together, and \
               reading the directory stops there.";
    assert!(page.contains(why), "{page}");
    assert_eq!(running.calls("directory.users.list"), 0);
    running.pass(Duration::from_secs(24 * 3600));
    running.settle().await;
    let answer = text(ask(&running.app, "GET", "/api/v1/directory", &key, None).await).await;
    let answer: Json = serde_json::from_str(&answer).expect("JSON");
    assert!(answer["waits_for"].is_null() && answer["as_of"].is_string(), "{answer}");
}

#[tokio::test]
async fn how_many_entries_can_not_be_read_stands_on_the_page_and_in_the_api_until_they_can() {
    let running = start().await;
    let person = running.connected(&running.employee()).await;
    let told = async || {
        let (proof, key) = (session(&running.app, &person).await, access_key(&running.app, &person).await);
        let page = text(ask(&running.app, "GET", "/directory", &proof, None).await).await;
        let json = text(ask(&running.app, "GET", "/api/v1/directory", &key, None).await).await;
        let json: Json = serde_json::from_str(&json).expect("JSON");
        (page, json["entries_unreadable"].clone())
    };
    let (page, unreadable) = told().await;
    assert!(!page.contains("can’t be read") && unreadable == 0, "{unreadable}: {page}");
    let odd = json!({"users": [{"id": "odd", "suspended": "maybe"}, {"id": 7}]});
    running.world(|world| world.faults.add(Rule::twist("directory.users.list", json!({}), odd)));
    passed(&running, &person).await;
    let (page, unreadable) = told().await;
    assert!(page.contains(" people, and 2 entries that can’t be read") && unreadable == 2, "{unreadable}: {page}");
    assert!(page.contains("Whoever can’t be read stays as they were"), "{page}");
    assert!(page.contains("id=\"look\""), "a look can be asked for all the same: {page}");
    running.world(|world| world.faults.clear());
    passed(&running, &person).await;
    let (page, unreadable) = told().await;
    assert!(!page.contains("can’t be read") && unreadable == 0, "{unreadable}: {page}");
}

/// An organization that no page can draw: a chief, thirty heads, and below one of them more than a page of people.
#[tokio::test]
async fn a_large_organization_is_drawn_level_by_level() {
    let running = start().await;
    let (email, _) = running.employees();
    let reader = running.connected(&email).await;
    running.settle().await;
    passed(&running, &reader).await;
    let template = entry(&running, &reader).await;
    let put = async |tx: &mut intail::store::Tx, id: &str, manager: &str| {
        let manager_address = if manager.is_empty() { String::new() } else { format!("{manager}@large.example") };
        let (address, name) = (format!("{id}@large.example"), format!("Person {id}"));
        let (google_id, aliases) = (id.to_owned(), Vec::new());
        let person = DirectoryPerson { google_id, address, name, manager_address, aliases, ..template.clone() };
        directory_people::put(tx, &reader.organization_id, &person, None).await.expect("put");
    };
    let mut tx = running.app.store.write().await.expect("a transaction");
    put(&mut tx, "chief", "").await;
    for head in 0..30 {
        put(&mut tx, &format!("head{head:02}"), "chief").await;
        for below in 0..if head == 7 { 250 } else { 10 } {
            put(&mut tx, &format!("below{head:02}-{below:03}"), &format!("head{head:02}")).await;
        }
    }
    tx.commit().await.expect("committed");
    let proof = session(&running.app, &reader).await;
    let get = async |path: &str| {
        let answer = ask(&running.app, "GET", path, &proof, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        text(answer).await
    };
    let page = get("/directory?view=organization").await;
    assert!(page.contains("Person chief") && page.contains("Too many people for one drawing"), "{page}");
    assert!(!page.contains("Person head07") || page.contains("250 people report to them"), "{page}");
    assert!(!page.contains("Person below07"), "one level, not all: {page}");
    assert!(page.contains("href=\"/directory?view=organization&#38;of=chief\""), "{page}");
    let level = get("/directory?view=organization&of=chief").await;
    assert!(level.contains("Person head29") && level.contains("10 people report to them"), "{level}");
    assert!(!level.contains("id=\"more\""), "it has one page: {level}");
    // Each of the last level once, over three pages, each with the way back up.
    let mut seen = std::collections::BTreeSet::new();
    let mut next = Some("/directory?of=head07".to_owned());
    let mut pages = 0;
    while let Some(path) = next {
        let page = get(&path).await;
        assert!(page.contains("From the top") && page.contains("of=chief"), "{page}");
        for id in page.split("href=\"/directory/below07-").skip(1) {
            assert!(seen.insert(id[..3].to_owned()), "{path}: twice");
        }
        next = page
            .split_once("id=\"more\" href=\"")
            .map(|(_, rest)| rest.split_once('"').expect("its end").0.replace("&#38;", "&"));
        pages += 1;
    }
    assert_eq!((seen.len(), pages), (250, 3));
    // From the person's page, the reports beyond the first hundred are reached, too.
    let head = get("/directory/head07").await;
    let more = head.split_once("id=\"more-reports\" href=\"").expect("there are more").1;
    let more = more.split_once('"').expect("its end").0.replace("&#38;", "&");
    let rest = get(&more).await;
    assert!(rest.contains("Person below07-100") && !rest.contains("Person below07-099"), "{rest}");
    let nobody = ask(&running.app, "GET", "/directory?of=nobody", &proof, None).await;
    assert_eq!(nobody.status(), StatusCode::NOT_FOUND);
}

/// The tab of the directory that is marked as the one that is shown.
fn marked(page: &str) -> String {
    let tabs = page.split_once("id=\"views\"").expect("tabs").1.split_once("</nav>").expect("their end").0;
    let marked: Vec<&str> = tabs.split("<a ").filter(|it| it.contains("aria-current")).collect();
    assert_eq!(marked.len(), 1, "{tabs}");
    marked.concat()
}

#[tokio::test]
async fn the_directory_changes_in_a_browser_while_google_s_does() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    let other = Browser::start().await;
    for (one, email) in [(&other, EMPLOYEE), (&browser, ADMIN)] {
        sign_in(one, &live, email).await;
        connect(one).await;
    }
    browser.open(&live.intail("/directory")).await;
    browser.see("Inês Pradoazul").await;
    browser.screenshot("directory-1-people").await;
    browser.fill("#q", "kofi").await;
    let alone = "return document.querySelectorAll('.people li').length === 1 && location.search === '?q=kofi'";
    browser.wait_for_script(alone, serde_json::json!([]), || "the search never narrowed the list".to_owned()).await;
    browser.see("Kofi Anansetree").await;
    browser.screenshot("directory-2-search").await;
    browser.open(&live.intail("/directory?view=organization")).await;
    browser.see("Kofi Anansetree").await;
    browser.screenshot("directory-3-organization").await;
    // A search among the tree marks the list, says how many fit, and leads back when it is emptied.
    browser.fill("#q", "kofi").await;
    let list = "return document.querySelectorAll('.people li').length === 1
        && document.querySelector('.tabs [aria-current]').innerText === 'People'
        && document.getElementById('found').innerText === '1 person fits'";
    browser.wait_for_script(list, serde_json::json!([]), || "the search isn't shown as a list".to_owned()).await;
    browser.screenshot("directory-3-search").await;
    let emptied = "const q = document.getElementById('q'); q.value = '';
        q.dispatchEvent(new Event('input', {bubbles: true})); return true";
    browser.ask(emptied, serde_json::json!([])).await;
    let tree = "return document.querySelector('.tree') !== null && location.search === '?view=organization'
        && document.querySelector('.tabs [aria-current]').innerText === 'Who reports to whom'
        && document.getElementById('found').innerText === ''";
    browser.wait_for_script(tree, serde_json::json!([]), || "the tree never came back".to_owned()).await;
    browser.viewport(Viewport::Phone).await;
    browser.open(&live.intail("/directory")).await;
    browser.screenshot("directory-4-phone").await;
    browser.viewport(Viewport::Desktop).await;
    let kofi =
        live.sandbox.world(|world| world.identity.person_by_email("kofi@example.com").expect("there").sub.clone());
    browser.click_css(&format!(".people a[href='/directory/{kofi}']")).await;
    browser.see("Reports to").await;
    browser.screenshot("directory-5-person").await;
    // Somebody's account stops answering, which is a reason to look at the directory at once.
    live.sandbox.world(|world| {
        world.edit_directory("kofi@example.com", &titled("Keeper of the Keys")).expect("it can be");
        let (now, ines) = (world.clock.now(), world.identity.person_by_email(EMPLOYEE).expect("there").sub.clone());
        world.identity.switch_person(now, &ines, PersonSwitch::Suspend);
    });
    live.sandbox
        .world(|world| world.receive_sample(&world.identity.person_by_email(EMPLOYEE).expect("there").sub.clone()));
    browser.see("Keeper of the Keys").await;
    browser.screenshot("directory-6-changed").await;
    other.stop().await;
    browser.stop().await;
    live.stop().await;
}

#[tokio::test]
async fn people_come_move_and_go_in_a_browser_while_they_do_at_google() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, ADMIN).await;
    connect(&browser).await;
    let change = |email: &str, action: serde_json::Value| {
        let action: DirectoryAction = serde_json::from_value(action).expect("an action");
        live.sandbox.world(|world| world.edit_directory(email, &action)).expect("it can be");
    };
    browser.open(&live.intail("/directory")).await;
    browser.see("Kofi Anansetree").await;
    browser.ask("window.neverLoadedAgain = true; return true", serde_json::json!([])).await;
    let (people, tree) = browser.another_window().await;
    browser.open(&live.intail("/directory?view=organization")).await;
    browser.see("Kofi Anansetree").await;
    browser.ask("window.neverLoadedAgain = true; return true", serde_json::json!([])).await;
    // A third one, in which somebody asks for a look: Google tells nobody of the directory.
    let (_, asking) = browser.another_window().await;

    // Somebody is hired, and somebody else gets another name and another address.
    let hired = serde_json::json!({"action": "hire", "email": "nadia@example.com", "given_name": "Nadia",
        "family_name": "Newcomer"});
    change(ADMIN, hired);
    change("kofi@example.com", serde_json::json!({"action": "edit", "family_name": "Baobab"}));
    change("kofi@example.com", serde_json::json!({"action": "rename", "email": "kofi.baobab@example.com"}));
    look_now(&browser, &live, "/directory").await;
    browser.turn_to(&tree).await;
    browser.see("Nadia Newcomer").await;
    browser.see("Kofi Baobab").await;
    browser.turn_to(&people).await;
    browser.see("Nadia Newcomer").await;
    browser.see("kofi.baobab@example.com").await;
    browser.see_no("Kofi Anansetree").await;
    browser.screenshot("directory-7-hired").await;

    // She reports to him from now on: the tree says so.
    browser.turn_to(&tree).await;
    let reports = "return [...document.querySelectorAll('.tree li')].some((it) =>
        it.querySelector(':scope > a').innerText.includes('Kofi Baobab')
        && [...it.querySelectorAll(':scope > ul > li > a')].some((it) => it.innerText.includes('Nadia Newcomer')))";
    assert_eq!(browser.ask(reports, serde_json::json!([])).await, serde_json::json!(false));
    change("nadia@example.com", serde_json::json!({"action": "edit", "manager": "kofi.baobab@example.com"}));
    browser.turn_to(&asking).await;
    look_now(&browser, &live, "/directory").await;
    browser.turn_to(&tree).await;
    browser.wait_for_script(reports, serde_json::json!([]), || "she doesn't stand below him".to_owned()).await;
    browser.screenshot("directory-8-tree").await;
    // The level below him has an address of its own.
    let kofi = live
        .sandbox
        .world(|world| world.identity.person_by_email("kofi.baobab@example.com").expect("there").sub.clone());
    browser.turn_to(&asking).await;
    browser.open(&live.intail(&format!("/directory?of={kofi}"))).await;
    browser.see("From the top").await;
    browser.see("Nadia Newcomer").await;
    fits(&browser, "directory-8-level").await;

    // She is suspended, and nobody sees her.
    live.sandbox.world(|world| {
        let (now, nadia) = (world.clock.now(), world.identity.person_by_email("nadia@example.com").expect("there"));
        let nadia = nadia.sub.clone();
        world.identity.switch_person(now, &nadia, PersonSwitch::Suspend);
    });
    browser.turn_to(&asking).await;
    look_now(&browser, &live, "/directory").await;
    browser.screenshot("directory-9-look-now").await;
    for window in [&tree, &people] {
        browser.turn_to(window).await;
        browser.see_no("Nadia Newcomer").await;
        let remembered = browser.ask("return window.neverLoadedAgain === true", serde_json::json!([])).await;
        assert_eq!(remembered, serde_json::json!(true), "it was never loaded again");
    }
    quiet(&browser, 0).await;
    browser.stop().await;
    live.stop().await;
}

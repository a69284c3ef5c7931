//! The approval concierge: the guide behind its signed link, who waits and is told, which setting is most likely;
//! consent in parts and taken back; and whose account may be connected.

use std::time::Duration;

use axum::http::StatusCode;
use intail::connect::{self, ConnectError, Options, Permission};
use intail::store::approval_waits;
use intail::store::attempts::{self, Attempt, Purpose};
use intail::store::audit;
use intail::store::grants::{self, Grant, GrantState};
use intail::store::organizations::{self, Approval, Organization};
use intail::store::people::{self, Person, Role};
use intail_google::CALLS;
use intail_sandbox::access::AccessLevel;
use intail_sandbox::faults::{Mischief, Rule};

use crate::access::{Proof, ask, location, session, text};
use crate::harness::running::{ADMIN, BROWSER, Running, Ticks, read};
use crate::pages::{Browser, between, told};

const DAY: Duration = Duration::from_secs(86_400);
const INES: &str = "ines@example.com";
const KOFI: &str = "kofi@example.com";
/// Of the company's second domain.
const MEI: &str = "mei@example.org";

async fn organization(running: &Running, person: &Person) -> Organization {
    let mut tx = running.app.store.read().await.expect("a transaction");
    organizations::by_id(&mut tx, &person.organization_id).await.expect("read").expect("there")
}

async fn grant(running: &Running, person: &Person) -> Grant {
    let mut tx = running.app.store.read().await.expect("a transaction");
    grants::by_person(&mut tx, &person.id).await.expect("read").expect("there")
}

async fn waits(running: &Running, person: &Person) -> bool {
    let mut tx = running.app.store.read().await.expect("a transaction");
    let standing = approval_waits::standing_of(&mut tx, &person.id).await.expect("read").expect("there");
    standing.waits_since.is_some()
}

/// The page that a signed-in person sees.
async fn page(running: &Running, person: &Person, path: &str) -> String {
    text(ask(&running.app, "GET", path, &session(&running.app, person).await, None).await).await
}

/// The path of the link that a page gives a person for their administrator.
async fn link(running: &Running, person: &Person) -> String {
    let page = page(running, person, "/settings/integrations").await;
    let address = between(&page, "id=\"approval-link\"", ">").and_then(|it| between(it, "value=\"", "\""));
    address.expect("a link").strip_prefix("http://127.0.0.1:8080").expect("on this Intail").to_owned()
}

async fn guide(running: &Running, link: &str) -> String {
    text(ask(&running.app, "GET", link, &Proof::Nothing, None).await).await
}

#[tokio::test]
async fn the_guide_needs_no_account_and_says_what_to_set() {
    let running = Running::start().await;
    let (one, two) = (running.sign_in(INES).await, running.sign_in(KOFI).await);
    let address = link(&running, &one).await;
    assert_eq!(link(&running, &two).await, address, "everybody is given the same link");
    let guide = guide(&running, &address).await;
    let console = format!("{}/ac/owl", running.sandbox.url());
    let client_id = running.app.config.google.client.client_id.clone();
    for part in [
        "Manage App Access",
        "Manage Third-Party App Access",
        "Access and data control",
        "Specific Google data",
        "up to 24 hours",
        "Internal and external clients",
        "Domain Restricted Sharing",
        "Not seen yet",
        "/what-intail-can-do",
        client_id.as_str(),
        console.as_str(),
    ] {
        assert!(guide.contains(part), "the guide lacks {part}");
    }
    let scopes = between(&guide, "id=\"scopes\"", "</textarea>").and_then(|it| it.split_once('>')).expect("a list").1;
    let listed: Vec<&str> = scopes.lines().collect();
    assert_eq!(listed, intail_google::oauth::scope::REQUESTED);
    for person in [&one, &two] {
        assert!(!guide.contains(&person.email) && !guide.contains(&person.name), "nothing of a person is in it");
        assert!(!address.contains(person.id.as_str()), "nor in its link");
    }
    let message = page(&running, &one, "/settings/integrations").await;
    let message = between(&message, "<textarea id=\"message\"", "</textarea>").expect("a message");
    assert!(message.contains(&address) && message.contains(&client_id), "{message}");
    let there = ask(&running.app, "GET", "/", &Proof::Nothing, None).await;
    assert_eq!(there.headers()["referrer-policy"], "same-origin", "the link doesn't travel on to Google");
}

#[tokio::test]
async fn forged_and_expired_links_show_nothing_and_say_what_to_do() {
    let running = Running::start().await;
    let person = running.sign_in(INES).await;
    let good = link(&running, &person).await;
    let (text_of, proof) = good.rsplit_once('.').expect("a proof");
    let (organization, ends) = text_of.rsplit_once('.').expect("an end");
    let later: i64 = ends.parse::<i64>().expect("seconds") + 1;
    let other = organization.replace(person.organization_id.as_str(), "org_0000000000000000");
    for forged in [
        format!("{organization}.{later}.{proof}"),
        format!("{other}.{ends}.{proof}"),
        format!("{text_of}.{}", proof.to_uppercase()),
        format!("{text_of}."),
        text_of.to_owned(),
        format!("/approve/{}", "x".repeat(5_000)),
        "/approve/..".to_owned(),
    ] {
        let answer = ask(&running.app, "GET", &forged, &Proof::Nothing, None).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{forged}");
        let shown = text(answer).await;
        assert!(shown.contains("isn’t one of Intail’s") || shown.contains("no such page"), "{forged}");
        assert!(!shown.contains(&running.app.config.google.client.client_id), "{forged}");
    }
    running.pass(DAY * 13);
    assert_eq!(ask(&running.app, "GET", &good, &Proof::Nothing, None).await.status(), StatusCode::OK);
    running.pass(DAY * 16);
    let expired = ask(&running.app, "GET", &good, &Proof::Nothing, None).await;
    assert_eq!(expired.status(), StatusCode::GONE);
    assert!(text(expired).await.contains("This link has run out"));
}

#[tokio::test]
async fn who_waited_is_told_on_every_page_and_live_when_anybody_succeeds() {
    let running = Running::start().await;
    let mut waiting = Browser::new(&running.app);
    waiting.sign_in(&running, INES).await;
    let person = running.sign_in(INES).await;
    let before = waiting.page("/settings/integrations").await;
    assert!(!before.contains("data-stream"), "who doesn't wait follows nothing");
    let asked = waiting.press(&before, "/connect/google/wait", "").await;
    assert_eq!(asked.status(), StatusCode::SEE_OTHER);
    assert!(waits(&running, &person).await);
    assert_eq!(organization(&running, &person).await.approval, Approval::Asked);
    waiting.press(&before, "/connect/google/wait", "").await;
    let page = waiting.page("/activity").await;
    let stream = between(&page, "data-stream=\"", "\"").expect("it follows").to_owned();
    assert!(!page.contains("approved-notice"));
    let answer = waiting.send("GET", &stream, "").await;
    assert_eq!(answer.status(), StatusCode::OK, "{stream}");
    let mut stream = answer.into_body().into_data_stream();

    running.approve();
    let administrator = running.sign_in(ADMIN).await;
    let address = link(&running, &administrator).await;
    assert!(guide(&running, &address).await.contains("1 person waits"));
    running.connect(&administrator, Ticks::All).await.expect("the administrator verifies");
    let heard = told(&mut stream, "event: standing").await;
    assert!(heard.contains("\"approval\":\"approved\"") && heard.contains("\"connection\":\"none\""), "{heard}");
    for path in ["/activity", "/mail", "/receipt", "/settings/keys", "/what-intail-can-do"] {
        let page = waiting.page(path).await;
        assert!(page.contains("id=\"approved-notice\"") && page.contains("Connect now</button>"), "{path}");
    }
    assert!(waiting.page("/settings/integrations").await.contains("Your organization has approved Intail"));
    let shown = guide(&running, &address).await;
    assert!(shown.contains(">Approved<") && shown.contains("Nothing is left to do"), "{shown}");
    let late = waiting.press(&page, "/connect/google/wait", "").await;
    assert_eq!(late.status(), StatusCode::SEE_OTHER, "asking after the approval changes nothing");

    waiting.connect(&running, INES, Ticks::All).await;
    assert!(!waits(&running, &person).await);
    assert!(!waiting.page("/activity").await.contains("approved-notice"));
    told(&mut stream, "\"connection\":\"active\"").await;
}

#[tokio::test]
async fn whoever_tried_before_the_approval_waits() {
    let running = Running::start().await;
    let person = running.sign_in(INES).await;
    connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
    assert!(waits(&running, &person).await);
    running.approve();
    running.connected(KOFI).await;
    assert!(page(&running, &person, "/mail").await.contains("approved-notice"));
    let other = running.sign_in("yuki@example.com").await;
    assert!(!page(&running, &other, "/mail").await.contains("approved-notice"), "who never asked isn't bothered");
}

#[tokio::test]
async fn a_block_asks_the_administrator_and_names_the_likely_setting() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(INES).await;
    let administrator = running.sign_in(ADMIN).await;
    running.set_access(AccessLevel::Blocked);
    running.pass(Duration::from_secs(30 * 3600));
    running.work().await;
    let blocked = organization(&running, &person).await;
    assert_eq!((blocked.approval, blocked.approval_way.as_str()), (Approval::Blocked, "refresh"));

    let asked = page(&running, &administrator, "/receipt").await;
    assert!(asked.contains("id=\"blocked-notice\"") && asked.contains("/approve/org_"));
    let shown = page(&running, &administrator, "/admin").await;
    assert!(shown.contains("Most likely:") && shown.contains("Intail worked before"), "{shown}");
    let employee = page(&running, &person, "/settings/integrations").await;
    assert!(!employee.contains("blocked-notice"), "the employee isn't asked");
    assert!(employee.contains("There is nothing that you have to do") && employee.contains("id=\"approval-link\""));
    assert!(guide(&running, &link(&running, &person).await).await.contains("Most likely:"));

    running.approve();
    running.connect(&person, Ticks::All).await.expect("connected again");
    assert!(!page(&running, &administrator, "/receipt").await.contains("blocked-notice"));
    assert!(!waits(&running, &person).await);
}

#[tokio::test]
async fn a_block_that_is_over_is_noticed_although_nobody_connects() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(INES).await;
    running.set_access(AccessLevel::Blocked);
    running.pass(Duration::from_secs(30 * 3600));
    running.work().await;
    let before = grant(&running, &person).await;
    assert_eq!((before.state, before.reason.as_str()), (GrantState::NeedsAdministrator, grants::BLOCKED));

    running.pass(Duration::from_secs(3 * 3600));
    let asked = running.calls("oauth.token");
    assert_eq!(connect::look_again(&running.app).await.expect("a round"), 0);
    assert_eq!(running.calls("oauth.token"), asked + 1, "one refresh for the whole organization");
    let held = grant(&running, &person).await;
    assert_eq!((held.state, held.state_since), (before.state, before.state_since), "as it was");
    assert_eq!(organization(&running, &person).await.approval, Approval::Blocked);

    running.approve();
    running.act(INES, intail_sandbox::action::MailAction::sample());
    assert_eq!(connect::look_again(&running.app).await.expect("a round"), 1);
    let known = organization(&running, &person).await;
    assert_eq!((known.approval, known.approval_way.as_str()), (Approval::Approved, ""));
    assert_eq!(connect::look_again(&running.app).await.expect("a round"), 0, "nothing is blocked any more");
    running.settle().await;
    assert!(grant(&running, &person).await.state.works());
    running.assert_nothing_is_lost(&person).await;
}

#[tokio::test]
async fn an_access_that_is_renewed_contradicts_a_block_that_stood_an_hour() {
    let running = Running::start().await;
    running.approve();
    let (one, two) = (running.connected(INES).await, running.connected(KOFI).await);
    let refreshed = async |person: &Person| {
        let held = grant(&running, person).await;
        intail::access::caller(&running.app, &held.id).await
    };
    running.pass(Duration::from_secs(2 * 3600));
    running.set_access(AccessLevel::Blocked);
    refreshed(&one).await.expect_err("it is blocked");
    running.approve();
    refreshed(&two).await.expect("it is renewed");
    assert_eq!(organization(&running, &one).await.approval, Approval::Blocked, "that was the same minute");
    running.pass(Duration::from_secs(2 * 3600));
    refreshed(&two).await.expect("it is renewed");
    assert_eq!(organization(&running, &one).await.approval, Approval::Approved);
    assert!(grant(&running, &one).await.state.works(), "who was blocked goes on");
}

#[tokio::test]
async fn a_block_at_the_exchange_is_evidence_and_who_was_refused_waits() {
    let running = Running::start().await;
    running.approve();
    running.connected(KOFI).await;
    let person = running.sign_in(INES).await;
    let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
    let answer = running.visit(INES, url, Ticks::All).await.expect("Google sends the person back");
    let refusal = Mischief::Status {
        status: 400,
        reason: Some("admin_policy_enforced".to_owned()),
        message: None,
        retry_after_s: None,
    };
    running.world(|world| world.faults.add(Rule::new("oauth.token", refusal).times(1)));
    let refused = connect::finish(&running.app, Some(&person), BROWSER, read(&answer)).await;
    assert!(matches!(refused, Err(ConnectError::BlockedByAdministrator)), "{refused:?}");
    assert_eq!(organization(&running, &person).await.approval, Approval::Blocked);
    assert!(waits(&running, &person).await);
    assert!(page(&running, &person, "/settings/integrations").await.contains("id=\"approval-link\""));
    running.connect(&person, Ticks::All).await.expect("it works");
    assert!(!waits(&running, &person).await);
    assert_eq!(organization(&running, &person).await.approval, Approval::Approved);
}

#[tokio::test]
async fn gmail_that_is_switched_off_is_not_called_a_block_and_has_no_guide() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(INES).await;
    let held = grant(&running, &person).await;
    for (reason, title) in [
        ("no_mailbox", "Gmail is switched off for your account"),
        ("gmail_off_for_apps", "Gmail is switched off for applications"),
    ] {
        let (mut tx, now) = (running.app.store.write().await.expect("a transaction"), running.app.clock.now());
        grants::set_state(&mut tx, &held.id, GrantState::NeedsAdministrator, reason, now).await.expect("set");
        tx.commit().await.expect("committed");
        let shown = page(&running, &person, "/settings/integrations").await;
        let problem = between(&shown, "id=\"problem\"", "</div>").expect("a problem");
        assert!(problem.contains(title) && problem.contains("Reconnect"), "{problem}");
        assert!(!problem.contains("approval-link") && !problem.contains("as soon as Intail is let in"), "{problem}");
    }
}

#[tokio::test]
async fn whoever_is_kept_out_while_others_get_in_has_the_link_to_send() {
    let running = Running::start().await;
    running.approve();
    running.connected(KOFI).await;
    let person = running.sign_in(INES).await;
    let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
    let state = url.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    let callback = running.app.config.server.public_url.page("/connect/google/callback");
    let mut callback: url::Url = callback.parse().expect("an address");
    callback.query_pairs_mut().append_pair("state", &state).append_pair("error", "admin_policy_enforced");
    let refused = connect::finish(&running.app, Some(&person), BROWSER, read(&callback)).await;
    assert!(matches!(refused, Err(ConnectError::BlockedByAdministrator)), "{refused:?}");
    assert_eq!(organization(&running, &person).await.approval, Approval::Approved, "an address is no evidence");
    let shown = page(&running, &person, "/settings/integrations").await;
    assert!(shown.contains("id=\"kept-out\"") && shown.matches("id=\"approval-link\"").count() == 1, "{shown}");
    running.connect(&person, Ticks::All).await.expect("it works");
    assert!(!page(&running, &person, "/settings/integrations").await.contains("id=\"kept-out\""));
}

#[tokio::test]
async fn whoever_is_kept_at_google_after_their_tokens_died_is_told_of_a_block_and_so_is_the_administrator() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(KOFI).await;
    let administrator = running.sign_in(ADMIN).await;
    running.set_access(AccessLevel::Blocked);
    running.pass(Duration::from_secs(60));
    let held = grant(&running, &person).await;
    let (mut tx, now) = (running.app.store.write().await.expect("a transaction"), running.app.clock.now());
    grants::set_state(&mut tx, &held.id, GrantState::NeedsPerson, "revoked", now).await.expect("set");
    tx.commit().await.expect("committed");
    let shown = page(&running, &person, "/settings/integrations").await;
    assert!(shown.contains("Connect once more to go on") && !shown.contains("id=\"abandoned\""), "{shown}");
    assert!(!page(&running, &administrator, "/admin").await.contains("id=\"guess\""));
    assert!(shown.contains("id=\"push-stopped\"") && !shown.contains("from time to time"), "nothing is asked: {shown}");
    assert!(!shown.contains(">permitted<") && shown.contains("not in force now"), "{shown}");

    running.pass(Duration::from_secs(60));
    let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
    assert!(running.visit(KOFI, url, Ticks::All).await.is_none(), "Google keeps them");
    running.pass(Duration::from_secs(180));
    let shown = page(&running, &person, "/settings/integrations").await;
    assert!(shown.contains("id=\"abandoned\"") && shown.contains("id=\"approval-link\""), "{shown}");
    assert!(!shown.contains("you changed your password") && shown.contains(">Reconnect<"), "{shown}");
    let told = page(&running, &administrator, "/admin").await;
    assert!(told.contains("id=\"guess\"") && told.contains("perhaps no longer"), "{told}");
    assert!(told.contains("what 1 person had allowed") && told.contains("Intail worked before"), "{told}");

    running.approve();
    running.connect(&person, Ticks::All).await.expect("connected again");
    running.settle().await;
    let again = grant(&running, &person).await.connected_at;
    let shown = page(&running, &person, "/settings/integrations").await;
    assert!(!shown.contains("id=\"abandoned\"") && shown.contains(">permitted<"), "{shown}");
    let since = between(&shown, "class=\"since\"", "</span>").expect("a since");
    let since: jiff::Timestamp = between(since, "datetime=\"", "\"").expect("an instant").parse().expect("an instant");
    assert!(since.as_second() >= again.as_second(), "the time when it didn't work isn't part of it: {since}");
    assert!(!page(&running, &administrator, "/admin").await.contains("id=\"guess\""));
}

#[tokio::test]
async fn abandoned_attempts_in_a_row_are_a_guess_and_no_evidence() {
    let running = Running::start().await;
    running.approve();
    running.connected(KOFI).await;
    let administrator = running.sign_in(ADMIN).await;
    running.set_access(AccessLevel::Blocked);
    running.pass(Duration::from_secs(60));
    let mut last = None;
    for email in [INES, "yuki@example.com", "layla@example.com"] {
        let shown = page(&running, &administrator, "/admin").await;
        assert!(!shown.contains("id=\"guess\""), "fewer than three say nothing");
        let person = running.sign_in(email).await;
        let url = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it begins");
        assert!(running.visit(email, url, Ticks::All).await.is_none(), "Google keeps them");
        running.pass(Duration::from_secs(180));
        last = Some(person);
    }
    let shown = page(&running, &administrator, "/admin").await;
    let guess = between(&shown, "id=\"guess\">", "</p>").unwrap_or_default();
    assert!(guess.starts_with("A guess, not evidence: 3 attempts of 3 different people"), "{shown}");
    let person = last.expect("somebody");
    assert_eq!(organization(&running, &person).await.approval, Approval::Approved, "a guess moves nothing");
    running.approve();
    running.connect(&person, Ticks::All).await.expect("it works");
    assert!(!page(&running, &administrator, "/admin").await.contains("id=\"guess\""));
}

/// What a page asks of an administrator while Google has said nothing.
fn wanted(shown: &str) -> Option<&str> {
    between(shown, "id=\"wanted-notice\"", "</div>")
}

#[tokio::test]
async fn administrators_are_asked_on_every_page_for_whoever_waits() {
    let running = Running::start().await;
    let administrator = running.sign_in(ADMIN).await;
    let (one, two) = (running.sign_in(INES).await, running.sign_in(KOFI).await);
    connect::begin(&running.app, &administrator, BROWSER, Options::default()).await.expect("it begins");
    assert!(waits(&running, &administrator).await);
    assert_eq!(wanted(&page(&running, &administrator, "/admin").await), None, "they know that they wait themselves");
    connect::begin(&running.app, &one, BROWSER, Options::default()).await.expect("it begins");
    let shown = page(&running, &administrator, "/receipt").await;
    assert!(wanted(&shown).is_some_and(|it| it.contains("1 person waits for Intail to be approved")), "{shown}");
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, KOFI).await;
    let shown = browser.page("/settings/integrations").await;
    browser.press(&shown, "/connect/google/wait", "").await;
    for path in ["/admin", "/admin/people", "/admin/policy", "/admin/privacy", "/admin/audit", "/activity"] {
        let shown = page(&running, &administrator, path).await;
        let asked = wanted(&shown).unwrap_or_else(|| panic!("{path}: {shown}"));
        assert!(asked.contains("2 people wait") && asked.contains("href=\"/approve/org_"), "{path}: {asked}");
    }
    running.pass(Duration::from_secs(180));
    let employee = page(&running, &one, "/settings/integrations").await;
    let told = between(&employee, "id=\"abandoned\"", "</div>").expect("they didn't come back");
    assert!(told.contains("You needn’t do anything: Intail asks them"), "{told}");
    assert!(employee.contains("Your administrator sees that somebody waits"), "{employee}");
    for path in ["/settings/integrations", "/mail"] {
        assert_eq!(wanted(&page(&running, &one, path).await), None, "only administrators are asked: {path}");
    }
    let desk = page(&running, &administrator, "/settings/integrations").await;
    let told = between(&desk, "id=\"abandoned\"", "</div>").expect("they didn't come back");
    assert!(!told.contains("your administrator"), "who is one isn't sent to one: {told}");

    running.approve();
    running.connect(&two, Ticks::All).await.expect("connected");
    assert_eq!(wanted(&page(&running, &administrator, "/admin").await), None);
}

#[tokio::test]
async fn attempts_that_nobody_came_back_from_ask_administrators_and_one_person_s_say_nothing() {
    let running = Running::start().await;
    running.approve();
    running.connected(KOFI).await;
    let administrator = running.sign_in(ADMIN).await;
    let (one, two) = (running.sign_in(INES).await, running.sign_in("yuki@example.com").await);
    let abandons = async |person: &Person| {
        running.pass(Duration::from_secs(60));
        connect::begin(&running.app, person, BROWSER, Options::default()).await.expect("it begins");
        running.pass(Duration::from_secs(180));
    };
    for _ in 0..4 {
        abandons(&one).await;
    }
    assert_eq!(wanted(&page(&running, &administrator, "/admin/people").await), None, "they closed a window");
    assert!(!page(&running, &two, "/settings/integrations").await.contains("id=\"doubt\""));
    abandons(&two).await;
    for path in ["/admin/people", "/admin/audit", "/mail"] {
        let shown = page(&running, &administrator, path).await;
        let asked = wanted(&shown).unwrap_or_else(|| panic!("{path}: {shown}"));
        assert!(asked.contains("A guess: 5 attempts of 2 different people"), "{asked}");
        assert!(asked.contains("href=\"/approve/org_"), "{asked}");
    }
    let shown = page(&running, &one, "/settings/integrations").await;
    assert_eq!(wanted(&shown), None);
    assert!(shown.contains("id=\"doubt\"") && shown.contains("you needn’t do anything: Intail asks"), "{shown}");
    let known = organization(&running, &one).await;
    assert_eq!(known.approval, Approval::Approved, "a guess moves nothing");
    running.connect(&one, Ticks::All).await.expect("it works");
    assert_eq!(wanted(&page(&running, &administrator, "/admin/people").await), None);
}

#[tokio::test]
async fn every_combination_of_boxes_works_and_is_called_what_it_is() {
    let running = Running::start().await;
    running.approve();
    let names = ["ines", "kofi", "yuki", "zhanna", "layla", "bjorn"].map(|name| format!("{name}@example.com"));
    let emails = names.into_iter().chain([MEI.to_owned(), ADMIN.to_owned()]);
    for (number, email) in emails.enumerate() {
        let chosen: Vec<Permission> =
            Permission::ALL.into_iter().enumerate().filter(|(at, _)| number >> at & 1 == 1).map(|(_, it)| it).collect();
        let scopes: Vec<&str> = chosen.iter().map(|it| it.scope()).collect();
        let person = running.sign_in(&email).await;
        let connected = running.connect(&person, Ticks::Only(&scopes)).await;
        if chosen.is_empty() {
            let refused = connected.expect_err("nothing was permitted");
            assert!(matches!(refused, ConnectError::NothingGranted | ConnectError::Denied), "{refused:?}");
            continue;
        }
        let missing: Vec<Permission> = Permission::ALL.into_iter().filter(|it| !chosen.contains(it)).collect();
        assert_eq!(connected.expect("connected").missing, missing, "{chosen:?}");
        running.settle().await;
        let held = grant(&running, &person).await;
        let expected = if missing.is_empty() { GrantState::Active } else { GrantState::Partial };
        assert_eq!(held.state, expected, "{chosen:?}");
        let mut tx = running.app.store.read().await.expect("a transaction");
        let now = running.app.clock.now();
        let connection = connect::connection(&mut tx, &person.id, now).await.expect("read").expect("there");
        drop(tx);
        assert_eq!(connection.is_connected(), missing.is_empty(), "{chosen:?}");
        assert_eq!(connection.reads_mail(), chosen.contains(&Permission::Mail), "{chosen:?}");
        assert_eq!(connection.mailbox.is_some(), chosen.contains(&Permission::Mail), "{chosen:?}");
        let shown = page(&running, &person, "/settings/integrations").await;
        assert_eq!(shown.contains("Connected and live"), missing.is_empty(), "{chosen:?}");
        assert_eq!(shown.contains("Mail isn’t permitted"), missing.contains(&Permission::Mail), "{chosen:?}");
        assert_eq!(shown.matches("class=\"no\"").count(), missing.len(), "{chosen:?}");
        assert_eq!(shown.contains("Add what is missing"), !missing.is_empty(), "{chosen:?}");

        // One click adds the rest; what is held already isn't asked for again and can't be lost.
        let again = Options { ask_again: true, ..Options::default() };
        let added: Vec<&str> = missing.iter().map(|it| it.scope()).collect();
        let whole = running.connect_as(&person, &email, Ticks::Only(&added), again).await.expect("connected");
        assert!(whole.missing.is_empty() && whole.again, "{chosen:?}");
        running.settle().await;
        assert!(page(&running, &person, "/settings/integrations").await.contains("Connected and live"), "{chosen:?}");
        running.assert_nothing_is_lost(&person).await;
    }
}

#[tokio::test]
async fn adding_asks_for_everything_with_what_is_granted_included() {
    let running = Running::start().await;
    running.approve();
    let person = running.sign_in(INES).await;
    let begin = async |options| {
        let url = connect::begin(&running.app, &person, BROWSER, options).await.expect("it begins");
        url.query_pairs().into_owned().collect::<std::collections::BTreeMap<String, String>>()
    };
    let again = Options { ask_again: true, ..Options::default() };
    assert_eq!(begin(again).await.get("include_granted_scopes"), None, "nothing is granted yet");
    running.connect(&person, Ticks::Only(&[Permission::Mail.scope()])).await.expect("connected");
    let asked = begin(again).await;
    assert_eq!(asked["include_granted_scopes"], "true");
    assert!(asked["prompt"].contains("consent"), "the permissions are shown again");
    assert_eq!(asked["scope"].split(' ').count(), 6, "what is missing and what is held");
}

#[tokio::test]
async fn a_permission_taken_back_at_google_is_noticed_at_the_next_refresh() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(INES).await;
    let take = |permission: Permission| {
        running.world(|world| world.identity.take_back(&person.subject, permission.scope()));
    };
    let refresh = async || {
        running.pass(Duration::from_secs(26 * 3600));
        running.work().await;
        grant(&running, &person).await
    };
    take(Permission::Directory);
    let held = refresh().await;
    assert_eq!((held.state, held.reason.as_str()), (GrantState::Partial, "permission_missing"));
    let shown = page(&running, &person, "/settings/integrations").await;
    assert!(shown.contains("Live, with a permission missing") && !shown.contains("Connected and live"));

    take(Permission::Mail);
    let held = refresh().await;
    assert_eq!(held.state, GrantState::Partial, "the calendar is still permitted");
    let shown = page(&running, &person, "/settings/integrations").await;
    assert!(shown.contains("Mail isn’t permitted") && shown.contains("id=\"mail-stopped\""), "{shown}");
    running.world(|world| world.calls.clear());
    running.act(INES, intail_sandbox::action::MailAction::sample());
    running.pass(Duration::from_secs(2 * 86_400));
    running.work().await;
    let of_mail = |call: &str| call.starts_with("gmail.");
    let asked = running.world(|world| world.calls.iter().filter(|it| of_mail(it.call)).count());
    assert_eq!(asked, 0, "nothing is asked without the permission");

    running
        .connect_as(&person, INES, Ticks::All, Options { ask_again: true, ..Options::default() })
        .await
        .expect("added");
    running.settle().await;
    assert_eq!(grant(&running, &person).await.state, GrantState::Active);
    running.assert_nothing_is_lost(&person).await;

    for permission in Permission::ALL {
        take(permission);
    }
    let held = refresh().await;
    assert_eq!((held.state, held.reason.as_str()), (GrantState::NeedsPerson, "permission_missing"));
}

#[tokio::test]
async fn mail_taken_back_within_the_hour_stops_the_mailbox_and_nothing_else() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(INES).await;
    running.pass(Duration::from_secs(26 * 3600));
    running.work().await;
    running.world(|world| world.identity.take_back(&person.subject, Permission::Mail.scope()));
    // Google tells of one change a second at most, and the renewal was one.
    running.pass(Duration::from_secs(1));
    running.act(INES, intail_sandbox::action::MailAction::sample());
    running.pass(Duration::from_secs(5));
    running.work().await;
    let held = grant(&running, &person).await;
    assert_eq!((held.state, Permission::Mail.is_in(&held.scopes)), (GrantState::Partial, false));
}

#[tokio::test]
async fn an_account_is_never_revoked_under_somebody_who_rightly_holds_it() {
    let running = Running::start().await;
    running.approve();
    let owner = running.connected(KOFI).await;
    let person = running.sign_in(INES).await;
    let other = Options { choose_account: true, ..Options::default() };
    let refused = running.connect_as(&person, KOFI, Ticks::All, other).await.expect_err("it is somebody else's");
    assert!(matches!(refused, ConnectError::AccountTaken { .. }), "{refused:?}");
    assert_eq!(running.calls("oauth.revoke"), 0);
    assert!(grant(&running, &owner).await.state.works());

    // An earlier account is kept to: another one isn't taken in its place, and what it gave is handed back.
    running.connect(&person, Ticks::All).await.expect("connected");
    let refused = running.connect_as(&person, "yuki@example.com", Ticks::All, other).await.expect_err("another");
    assert!(matches!(refused, ConnectError::WrongAccount { .. }), "{refused:?}");
    assert_eq!(running.calls("oauth.revoke"), 1);
    let url = connect::begin(&running.app, &person, BROWSER, other).await.expect("it begins");
    let asked: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert!(asked.iter().any(|(name, value)| name == "prompt" && value.contains("select_account")), "{url}");
}

#[tokio::test]
async fn secondary_accounts_are_for_the_administrator_to_allow() {
    let running = Running::start().await;
    running.approve();
    let mut desk = Browser::new(&running.app);
    desk.sign_in(&running, ADMIN).await;
    let person = running.sign_in(INES).await;
    let other = Options { choose_account: true, ..Options::default() };
    let refused = running.connect_as(&person, "yuki@example.com", Ticks::All, other).await.expect_err("not allowed");
    assert!(matches!(refused, ConnectError::WrongAccount { .. }), "{refused:?}");

    let shown = desk.page("/admin").await;
    let unknown = desk.press(&shown, "/admin/policy/accounts", "accounts=all").await;
    assert_eq!(unknown.status(), StatusCode::BAD_REQUEST);
    let saved = desk.press(&shown, "/admin/policy/accounts", "accounts=secondary").await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    assert!(organization(&running, &person).await.secondary_accounts);

    // An account that somebody else signs in with isn't anybody's second one.
    running.sign_in(KOFI).await;
    let refused = running.connect_as(&person, KOFI, Ticks::All, other).await.expect_err("it is Kofi's");
    assert!(matches!(refused, ConnectError::AccountOfAnother { .. }), "{refused:?}");
    // That somebody of another organization uses an account isn't said.
    let yuki = "yuki@example.com";
    let subject = running.world(|world| {
        world.identity.people.values().find(|it| it.email == yuki).map(|it| it.sub.clone()).expect("an account")
    });
    let (mut tx, now) = (running.app.store.write().await.expect("a transaction"), running.app.clock.now());
    let organization_id = intail::id::OrganizationId::new(&running.app.random);
    organizations::create(&mut tx, &organization_id, "Other", now).await.expect("created");
    let stranger = Person { id: running_id(&running), subject, organization_id, ..person.clone() };
    people::create(&mut tx, &stranger, now).await.expect("created");
    tx.commit().await.expect("committed");
    let refused = running.connect_as(&person, yuki, Ticks::All, other).await.expect_err("not of the organization");
    assert!(matches!(refused, ConnectError::WrongOrganization { .. }), "{refused:?}");
    let url = connect::begin(&running.app, &person, BROWSER, other).await.expect("it begins");
    assert!(url.query_pairs().any(|(name, value)| name == "hd" && value == "*"), "{url}");

    // Nor one of somebody who doesn't sign in at Google: they are known by the address that Google vouches for.
    let hidden = "bjorn@example.com";
    let (mut tx, now) = (running.app.store.write().await.expect("a transaction"), running.app.clock.now());
    let (issuer, subject) = ("https://sign-in.example".to_owned(), "elsewhere".to_owned());
    let colleague = Person { id: running_id(&running), issuer, subject, email: hidden.to_owned(), ..person.clone() };
    people::create(&mut tx, &colleague, now).await.expect("created");
    tx.commit().await.expect("committed");
    let refused = running.connect_as(&person, hidden, Ticks::All, other).await.expect_err("it is a colleague's");
    assert!(matches!(refused, ConnectError::AccountOfAnother { .. }), "{refused:?}");

    // The page offers it.
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, INES).await;
    let shown = browser.page("/settings/integrations").await;
    assert!(shown.contains("Connect another account of yours"), "{shown}");
    let sent = browser.press(&shown, "/connect/google", "choose_account=1").await;
    let to = location(&sent).expect("to Google");
    assert!(to.contains("hd=*") && !to.contains("login_hint"), "{to}");

    let connected = running.connect_as(&person, MEI, Ticks::All, other).await.expect("allowed");
    assert_eq!(connected.email, MEI);
    let shown = browser.page("/settings/integrations").await;
    assert!(!shown.contains("Connect another account of yours"), "each person connects one: {shown}");
    running.settle().await;
    let taken = running.sign_in(MEI).await;
    let refused = running.connect(&taken, Ticks::All).await.expect_err("it is connected by Ines");
    assert!(matches!(refused, ConnectError::AccountTaken { .. }), "{refused:?}");

    let member = session(&running.app, &person).await;
    let refused = ask(&running.app, "POST", "/admin/policy/accounts", &member, Some("accounts=own")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_flood_from_one_organization_is_refused_and_another_s_isn_t() {
    let running = Running::start().await;
    let person = running.sign_in(INES).await;
    let now = running.app.clock.now();
    let mut tx = running.app.store.write().await.expect("a transaction");
    for number in 0..connect::ORGANIZATION_ATTEMPTS_MAX {
        let who = (number % 200).to_string();
        let colleague = Person { id: running_id(&running), subject: who, role: Role::Member, ..person.clone() };
        if number < 200 {
            people::create(&mut tx, &colleague, now).await.expect("created");
        }
        let found = people::by_subject(&mut tx, &person.issuer, &colleague.subject).await.expect("read");
        let attempt = Attempt {
            state_hash: number.to_string(),
            purpose: Purpose::Connect,
            browser_hash: String::new(),
            person_id: found.map(|it| it.id),
            nonce: String::new(),
            verifier_sealed: String::new(),
            return_to: String::new(),
            begun_at: now,
            expires_at: now,
            ended_at: None,
            outcome: None,
        };
        attempts::begin(&mut tx, &attempt).await.expect("begun");
    }
    tx.commit().await.expect("committed");
    let refused = connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect_err("a flood");
    assert!(matches!(refused, ConnectError::OrganizationBusy), "{refused:?}");
    connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect_err("still");
    let mut tx = running.app.store.read().await.expect("a transaction");
    let filter = audit::Filter { action: "connection.refused".into(), who: person.organization_id.to_string() };
    let told = audit::list(&mut tx, &person.organization_id, &filter, i64::MAX, 9).await.expect("read");
    assert_eq!(told.iter().map(|it| it.detail.as_str()).collect::<Vec<_>>(), ["{\"outcome\":\"organization_busy\"}"]);
    drop(tx);

    let mut tx = running.app.store.write().await.expect("a transaction");
    let other = intail::id::OrganizationId::new(&running.app.random);
    organizations::create(&mut tx, &other, "Other", now).await.expect("created");
    let stranger =
        Person { id: running_id(&running), subject: "other".into(), organization_id: other, ..person.clone() };
    people::create(&mut tx, &stranger, now).await.expect("created");
    tx.commit().await.expect("committed");
    connect::begin(&running.app, &stranger, BROWSER, Options::default()).await.expect("another organization goes on");
    running.pass(Duration::from_secs(11 * 60));
    connect::begin(&running.app, &person, BROWSER, Options::default()).await.expect("it passes");
}

fn running_id(running: &Running) -> intail::id::PersonId {
    intail::id::PersonId::new(&running.app.random)
}

#[tokio::test]
async fn what_intail_can_do_is_the_compiled_list() {
    let running = Running::start().await;
    let shown = guide(&running, "/what-intail-can-do").await;
    for call in CALLS {
        let line = shown.split("<tr>").find(|it| it.contains(&format!("<code>{}</code>", call.name)));
        let line = line.unwrap_or_else(|| panic!("{} isn't shown", call.name));
        assert!(line.contains(call.path) && line.contains(&format!("<b>{}</b>", call.method)), "{line}");
        for name in call.query.iter().chain(call.body) {
            assert!(line.contains(&format!("<code>{name}</code>")), "{}: {name}", call.name);
        }
        let units = running.app.config.quota.units(call.name);
        assert!(units == 0 || line.contains(&format!("{units} unit")), "{}: {units}", call.name);
        assert!(!line.contains(">Asks Google<"), "{} has no words of its own", call.name);
    }
    assert_eq!(shown.matches("<th scope=\"row\">").count(), CALLS.len());
    assert!(guide(&running, "/").await.contains("href=\"/what-intail-can-do\""));
}

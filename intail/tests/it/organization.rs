//! Organizations and their people: who joins by which way, what administrators and auditors see and change, the links
//! and invitations that let somebody in, and the audit log that says who did it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode, header};
use intail::app::App;
use intail::id::{OrganizationId, PersonId};
use intail::org::audit::{Origin, Verified, verify};
use intail::org::invitations::{Invited, invite};
use intail::org::joining::{Joined, Vouched, join};
use intail::org::links::{self, For};
use intail::org::roles::By;
use intail::seal::hash_token;
use intail::signin::{self, SignInError};
use intail::signing::is_signed;
use intail::store::calendars::CalendarState;
use intail::store::mailboxes::MailboxState;
use intail::store::people::{self, Person, Role};
use intail::store::{organizations, quota, sign_in_links};
use intail::web;
use intail_sandbox::faults::Rule;
use jiff::SignedDuration;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::access::{Proof, access_key, ask, form_token, location, session, text};
use crate::harness::running::{ADMIN, BROWSER, Running, Setup, Ticks, read, receive};
use crate::pages::between;
use crate::quota::{assert_waits_for_the_day, what_is_told};

/// The largest page that a test reads.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An administrator's browser.
struct Desk<'a> {
    app: &'a App,
    proof: Proof,
    token: String,
}

impl<'a> Desk<'a> {
    async fn of(app: &'a App, person: &Person) -> Self {
        let proof = session(app, person).await;
        let token = form_token(app, &proof).await;
        Self { app, proof, token }
    }

    async fn page(&self, path: &str) -> String {
        let answer = ask(self.app, "GET", path, &self.proof, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        text(answer).await
    }

    async fn send(&self, path: &str, form: &str) -> Response<Body> {
        ask(self.app, "POST", path, &self.proof, Some(&format!("form_token={}&{form}", self.token))).await
    }
}

fn vouched(email: &str, domain: Option<&str>) -> Vouched {
    Vouched {
        issuer: "https://issuer.example".to_owned(),
        subject: email.to_owned(),
        email: email.to_owned(),
        name: email.to_owned(),
        domain: domain.map(str::to_owned),
    }
}

async fn joins(app: &App, who: &Vouched) -> Joined {
    let mut tx = app.store.write().await.expect("a transaction");
    let joined = join(&mut tx, who, Origin::Unknown, &app.random, app.clock.now()).await.expect("it ran");
    tx.commit().await.expect("committed");
    joined
}

async fn person_who_joins(app: &App, who: &Vouched) -> Person {
    match joins(app, who).await {
        Joined::Person(person) => person,
        other => panic!("{} didn't join: {other:?}", who.email),
    }
}

/// An organization that the operator added.
async fn added(app: &App, domain: &str) -> OrganizationId {
    let id = OrganizationId::new(&app.random);
    let mut tx = app.store.write().await.expect("a transaction");
    organizations::create(&mut tx, &id, domain, app.clock.now()).await.expect("created");
    organizations::add_domain(&mut tx, &id, domain).await.expect("added");
    tx.commit().await.expect("committed");
    id
}

async fn invited(app: &App, organization: &OrganizationId, email: &str, role: Role) -> Invited {
    let mut tx = app.store.write().await.expect("a transaction");
    let (random, now) = (&app.random, app.clock.now());
    let invited = invite(&mut tx, organization, email, role, By::operator(), random, now).await.expect("it ran");
    tx.commit().await.expect("committed");
    invited
}

/// What the audit log says, oldest first: the actor and the action.
async fn log(app: &App, organization: &OrganizationId) -> Vec<(String, String)> {
    let mut tx = app.store.read().await.expect("a transaction");
    let all = intail::store::audit::after(&mut tx, organization, 0, 1_000).await.expect("read");
    all.into_iter().map(|it| (it.actor, it.action)).collect()
}

#[tokio::test]
async fn people_of_the_domains_join_by_themselves_until_the_policy_says_otherwise() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let (first, second) = running.employees();
    assert_eq!(running.sign_in(&first).await.role, Role::Member);

    let desk = Desk::of(app, &admin).await;
    let seen = desk.page("/admin/policy").await;
    let seen = between(&seen, "name=\"seen\" value=\"", "\"").expect("what it shows").to_owned();
    let changed = desk.send("/admin/policy", "backfill_percent=60&audit_kept_days=90").await;
    assert_eq!(location(&changed).as_deref(), Some("/admin/policy?done=saved"));
    let page = desk.page("/admin/policy?done=saved").await;
    assert!(page.contains("The policy is saved.") && page.contains("value=\"60\"") && page.contains("value=\"90\""));
    let late = desk.send("/admin/policy", &format!("backfill_percent=70&audit_kept_days=90&seen={seen}")).await;
    assert_eq!(late.status(), StatusCode::CONFLICT, "it was filled in over what no longer holds");
    let told = text(late).await;
    assert!(told.contains("Somebody else changed this meanwhile") && told.contains("Open Policy"), "{told}");
    let mut tx = app.store.read().await.expect("a transaction");
    assert_eq!(quota::backfill_day_percent(&mut tx, &admin.organization_id).await.expect("read"), 60);
    drop(tx);

    let url = signin::begin(app, BROWSER, "/", Some(&second)).await.expect("it begins");
    let back = running.visit(&second, url, Ticks::All).await.expect("Google sends them back");
    let refused = signin::finish(app, BROWSER, read(&back)).await.expect_err("not invited");
    assert!(matches!(&refused, SignInError::NotInvited { domain } if domain == "example.com"), "{refused:?}");
    assert_eq!(running.sign_in(&first).await.role, Role::Member, "whoever is here stays");

    let invited = desk.send("/admin/invitations", &format!("email={second}&role=auditor")).await;
    assert_eq!(location(&invited).as_deref(), Some("/admin/people?done=invited"));
    assert!(desk.page("/admin/people").await.contains(&second), "the invitation is listed");
    assert_eq!(running.sign_in(&second).await.role, Role::Auditor);
    let page = desk.page("/admin/people").await;
    assert!(page.contains("No invitation waits."), "it works once");
    let here = desk.send("/admin/invitations", &format!("email={second}&role=member")).await;
    assert_eq!(here.status(), StatusCode::BAD_REQUEST);
    for wrong in ["email=nonsense&role=member", "email=a@b.example&role=boss"] {
        assert_eq!(desk.send("/admin/invitations", wrong).await.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let empty = "backfill_percent=60&audit_kept_days=90&retention_days=";
    for wrong in ["backfill_percent=0&audit_kept_days=90", "backfill_percent=60&audit_kept_days=1", empty, ""] {
        let answer = desk.send("/admin/policy", wrong).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
        assert!(text(answer).await.contains("is a whole number from"), "{wrong}");
    }
}

#[tokio::test]
async fn an_invitation_ends_after_a_week_and_can_be_withdrawn() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let desk = Desk::of(app, &admin).await;
    let guest = vouched("guest@firm.example", Some("firm.example"));
    assert!(matches!(joins(app, &guest).await, Joined::UnknownOrganization));
    desk.send("/admin/invitations", "email=Guest%40firm.example&role=member").await;
    let page = desk.page("/admin/people").await;
    let (_, rest) = page.split_once("/admin/invitations/").expect("a button");
    let (id, _) = rest.split_once('/').expect("an id");
    let withdraw = format!("/admin/invitations/{id}/withdraw");
    assert_eq!(location(&desk.send(&withdraw, "").await).as_deref(), Some("/admin/people?done=withdrawn"));
    assert_eq!(desk.send(&withdraw, "").await.status(), StatusCode::NOT_FOUND, "twice");
    assert!(matches!(joins(app, &guest).await, Joined::UnknownOrganization));

    invited(app, &admin.organization_id, "guest@firm.example", Role::Member).await;
    running.pass(Duration::from_secs(7 * 86_400));
    assert!(matches!(joins(app, &guest).await, Joined::UnknownOrganization), "a week is over");
    invited(app, &admin.organization_id, "guest@firm.example", Role::Member).await;
    let person = person_who_joins(app, &guest).await;
    assert_eq!((person.organization_id, person.role), (admin.organization_id, Role::Member));
}

#[tokio::test]
async fn a_private_account_joins_by_invitation_alone() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let private = "sam.sandbox.private@gmail.com";
    let url = signin::begin(app, BROWSER, "/", Some(private)).await.expect("it begins");
    let back = running.visit(private, url, Ticks::All).await.expect("Google sends them back");
    let refused = signin::finish(app, BROWSER, read(&back)).await.expect_err("nobody's");
    assert!(matches!(&refused, SignInError::UnknownOrganization { domain } if domain == "gmail.com"), "{refused:?}");
    invited(app, &admin.organization_id, private, Role::Auditor).await;
    let person = running.sign_in(private).await;
    assert_eq!((person.organization_id, person.role), (admin.organization_id, Role::Auditor));
}

#[tokio::test]
async fn another_organization_s_invitation_draws_nobody_away() {
    let running = Running::start().await;
    let app = &running.app;
    let (one, two) = (added(app, "one.example").await, added(app, "two.example").await);
    invited(app, &two, "ceo@one.example", Role::Member).await;
    let person = person_who_joins(app, &vouched("ceo@one.example", Some("one.example"))).await;
    assert_eq!((person.organization_id, person.role), (one, Role::Administrator), "the first of their own");
}

#[tokio::test]
async fn the_first_one_administers_unless_the_operator_named_somebody() {
    let running = Running::start().await;
    let app = &running.app;
    let one = added(app, "one.example").await;
    invited(app, &one, "boss@one.example", Role::Administrator).await;
    let early = person_who_joins(app, &vouched("early@one.example", Some("one.example"))).await;
    assert_eq!(early.role, Role::Member);
    let boss = person_who_joins(app, &vouched("boss@one.example", Some("one.example"))).await;
    assert_eq!(boss.role, Role::Administrator);
    let again = person_who_joins(app, &vouched("boss@one.example", Some("one.example"))).await;
    assert_eq!(again, boss, "signing in again changes nothing");
}

#[tokio::test]
async fn whom_the_operator_named_stays_the_first_administrator_when_invitation_and_link_are_too_old() {
    let running = Running::start().await;
    let app = &running.app;
    let (one, two) = (added(app, "one.example").await, added(app, "two.example").await);
    let late = link(app, &For::First(&one, "Boss@one.example")).await;
    invited(app, &two, "boss@two.example", Role::Administrator).await;
    running.pass(Duration::from_secs(8 * 86_400));
    assert_eq!(press(app, &late).await.status(), StatusCode::GONE);
    // Addresses of people who never came don't stay: they are swept although nobody makes another.
    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    intail::connect::resume_leaving(app, shutdown).await;
    let mut tx = app.store.write().await.expect("a transaction");
    let now = app.clock.now();
    assert_eq!(intail::store::invitations::sweep(&mut tx, now).await.expect("swept"), 0);
    assert_eq!(intail::store::sign_in_links::sweep(&mut tx, now).await.expect("swept"), 0);
    drop(tx);
    for (organization, domain) in [(&one, "one.example"), (&two, "two.example")] {
        for name in ["early", "boss"] {
            let came = person_who_joins(app, &vouched(&format!("{name}@{domain}"), Some(domain))).await;
            assert_eq!((&came.organization_id, came.role), (organization, Role::Member), "{name}@{domain}");
        }
    }

    // A new link makes the one an administrator who was named, although they have signed in meanwhile.
    let fresh = link(app, &For::First(&one, "Boss@one.example")).await;
    assert_eq!(location(&press(app, &fresh).await).as_deref(), Some("/"));
    let mut tx = app.store.read().await.expect("a transaction");
    let found = people::list(&mut tx, &one, None, 9).await.expect("read");
    let roles: Vec<_> = found.iter().map(|it| (it.email.as_str(), it.role)).collect();
    assert_eq!(roles.len(), 2, "nobody is there twice: {roles:?}");
    assert!(roles.contains(&("boss@one.example", Role::Administrator)), "{roles:?}");
    drop(tx);
    let said = log(app, &one).await;
    assert!(said.iter().any(|(_, action)| action == "role.changed"), "{said:?}");
}

#[tokio::test]
async fn whoever_founds_is_in_the_log() {
    // An Intail without any organization: the store of a fresh one, and the clock of the other.
    let running = Running::start().await;
    let url = format!("sqlite:{}", running.directory().join("empty.db").display());
    let store = intail::store::Store::open(&url).await.expect("the store opens");
    let (app, who) = (&running.app, vouched("founder@new.example", Some("new.example")));
    let mut tx = store.write().await.expect("a transaction");
    let nobody = vouched("nobody@gmail.com", None);
    let refused = join(&mut tx, &nobody, Origin::Unknown, &app.random, app.clock.now()).await.expect("it ran");
    assert!(matches!(refused, Joined::UnknownOrganization), "a private account founds nothing");
    let joined = join(&mut tx, &who, Origin::Unknown, &app.random, app.clock.now()).await.expect("it ran");
    let Joined::Person(founder) = joined else { panic!("{joined:?}") };
    let late = vouched("late@later.example", Some("later.example"));
    let late = join(&mut tx, &late, Origin::Unknown, &app.random, app.clock.now()).await.expect("it ran");
    assert!(matches!(late, Joined::UnknownOrganization), "one organization is founded, no more");
    tx.commit().await.expect("committed");
    assert_eq!(founder.role, Role::Administrator);
    let mut tx = store.read().await.expect("a transaction");
    let entries = intail::store::audit::after(&mut tx, &founder.organization_id, 0, 9).await.expect("read");
    let said: Vec<_> = entries.iter().map(|it| (it.action.as_str(), it.about.as_str())).collect();
    assert_eq!(said, [("organization.founded", "new.example"), ("person.joined", founder.id.as_str())]);
}

async fn link(app: &App, whom: &For<'_>) -> String {
    let token = app.random.token();
    let mut tx = app.store.write().await.expect("a transaction");
    links::make(&mut tx, whom, &hash_token(&token), By::operator(), app.clock.now()).await.expect("made");
    tx.commit().await.expect("committed");
    token
}

async fn press(app: &App, token: &str) -> Response<Body> {
    ask(app, "POST", "/signin/link", &Proof::Nothing, Some(&format!("token={token}"))).await
}

#[tokio::test]
async fn a_sign_in_link_is_used_by_its_button_once() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let token = link(app, &For::Person(&admin)).await;
    let address = format!("/signin/link?token={token}");
    for _ in 0..3 {
        let page = text(ask(app, "GET", &address, &Proof::Nothing, None).await).await;
        assert!(page.contains(&format!("Sign in as {ADMIN}")), "opening uses nothing up");
    }
    let entered = press(app, &token).await;
    assert_eq!(location(&entered).as_deref(), Some("/"));
    let cookie = entered.headers().get(header::SET_COOKIE).expect("a session").to_str().expect("text").to_owned();
    let signed_in = cookie.split(['=', ';']).nth(1).expect("a token").to_owned();
    let me = ask(app, "GET", "/admin", &Proof::Session(signed_in), None).await;
    assert_eq!(me.status(), StatusCode::OK);
    assert_eq!(press(app, &token).await.status(), StatusCode::GONE, "twice");
    assert_eq!(ask(app, "GET", &address, &Proof::Nothing, None).await.status(), StatusCode::GONE);

    let late = link(app, &For::Person(&admin)).await;
    running.pass(Duration::from_secs(15 * 60));
    assert_eq!(press(app, &late).await.status(), StatusCode::GONE, "too late");
    for forged in ["forged", "", "%ff"] {
        assert!(press(app, forged).await.status().is_client_error(), "{forged:?}");
    }
    assert_eq!(ask(app, "GET", "/signin/link", &Proof::Nothing, None).await.status(), StatusCode::GONE);
    let said = log(app, &admin.organization_id).await;
    let ours: Vec<_> = said.iter().map(|(actor, action)| (actor.as_str(), action.as_str())).collect();
    let (operator, ada) = (("operator", "link.made"), (admin.id.as_str(), "person.signed_in"));
    let refused = ("intail", "link.refused");
    assert!(ours.ends_with(&[ada, operator, ada, refused, operator, refused]), "{ours:?}");
}

#[tokio::test]
async fn a_link_founds_the_first_administrator_and_the_issuer_takes_them_over() {
    let running = Running::start().await;
    let app = &running.app;
    let one = added(app, "one.example").await;
    let (token, second) = (
        link(app, &For::First(&one, "Boss@one.example")).await,
        link(app, &For::First(&one, "rival@one.example")).await,
    );
    assert_eq!(location(&press(app, &token).await).as_deref(), Some("/"));
    for _ in 0..2 {
        assert_eq!(press(app, &second).await.status(), StatusCode::GONE, "somebody is there by now");
    }
    let said = log(app, &one).await;
    let refused = said.iter().filter(|(_, action)| action == "link.refused").count();
    assert_eq!(refused, 2, "for each reason once: {said:?}");
    let mut tx = app.store.read().await.expect("a transaction");
    let boss = people::list(&mut tx, &one, None, 9).await.expect("read");
    drop(tx);
    assert_eq!((boss.len(), boss[0].role), (1, Role::Administrator));
    let same = person_who_joins(app, &vouched("boss@one.example", Some("one.example"))).await;
    assert_eq!((same.id, same.role), (boss[0].id.clone(), Role::Administrator));
}

#[tokio::test]
async fn the_administrator_searches_changes_roles_and_signs_people_out() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let (one, two) = running.employees();
    let (one, two) = (running.sign_in(&one).await, running.sign_in(&two).await);
    let desk = Desk::of(app, &admin).await;
    let page = desk.page(&format!("/admin/people?q={}", one.email.to_uppercase())).await;
    assert!(page.contains(&one.email) && !page.contains(&two.email));
    let page = desk.page("/admin/people?state=not_connected").await;
    assert!(page.contains("Remind them") && page.contains(&format!("{ADMIN}, ")), "addresses to copy");
    assert!(page.contains("/settings/integrations and sign in"), "a message to copy");
    assert!(desk.page("/admin/people?state=live").await.contains("Nobody fits."));

    let (his, theirs) = (format!("/admin/people/{}", one.id), session(app, &one).await);
    assert_eq!(ask(app, "GET", "/admin/people", &theirs, None).await.status(), StatusCode::FORBIDDEN);
    let changed = desk.send(&format!("{his}/role"), "role=auditor").await;
    assert_eq!(location(&changed), Some(format!("{his}?done=role")));
    assert_eq!(ask(app, "GET", "/admin/people", &theirs, None).await.status(), StatusCode::OK, "at once");
    let reads = text(ask(app, "GET", &his, &theirs, None).await).await;
    assert!(!reads.contains("set-role") && !reads.contains("sign-out-everywhere"), "an auditor has no buttons");
    assert_eq!(desk.send(&format!("{his}/role"), "role=boss").await.status(), StatusCode::BAD_REQUEST);
    let last = desk.send(&format!("/admin/people/{}/role", admin.id), "role=member").await;
    assert_eq!(last.status(), StatusCode::CONFLICT);
    assert!(text(last).await.contains("Somebody has to administer"));

    let out = desk.send(&format!("{his}/sign-out"), "").await;
    assert_eq!(location(&out), Some(format!("{his}?done=signed_out")));
    assert!(location(&ask(app, "GET", "/settings/keys", &theirs, None).await).expect("away").starts_with("/signin"));
    let page = desk.page(&his).await;
    assert!(page.contains("Role changed") && page.contains("from: member; to: auditor") && page.contains(ADMIN));
    let unknown = format!("/admin/people/{}", PersonId::new(&app.random));
    assert_eq!(ask(app, "GET", &unknown, &desk.proof, None).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(location(&desk.send("/signout", "").await).as_deref(), Some("/"));
    let said = log(app, &admin.organization_id).await;
    assert_eq!(said.last(), Some(&(admin.id.to_string(), "person.signed_out".to_owned())));
}

#[tokio::test]
async fn counts_are_right_for_more_people_than_a_page_shows() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let mut tx = app.store.write().await.expect("a transaction");
    for number in 0..149 {
        let person = Person {
            id: PersonId::new(&app.random),
            subject: format!("s{number}"),
            email: format!("p{number:03}@example.com"),
            name: format!("Person\u{202e} {number:03}"),
            role: Role::Member,
            ..admin.clone()
        };
        people::create(&mut tx, &person, app.clock.now()).await.expect("created");
    }
    tx.commit().await.expect("committed");
    let desk = Desk::of(app, &admin).await;
    let page = desk.page("/admin").await;
    assert!(page.contains("<strong>150</strong> Not connected"), "{page}");
    let (mut path, mut seen) = ("/admin/people?q=person".to_owned(), 0);
    for _ in 0..3 {
        let page = desk.page(&path).await;
        assert!(!page.contains('\u{202e}'), "what turns the direction is never shown");
        seen += page.matches("<td><a href=\"/admin/people/per_").count();
        let Some((before, _)) = page.split_once("\">More people</a>") else { break };
        path = before.rsplit_once("href=\"").expect("an address").1.replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!(seen, 149);
}

#[tokio::test]
async fn what_people_do_is_in_the_log_and_an_export_proves_it() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let person = running.sign_in(&running.employee()).await;
    running.approve();
    running.connect(&person, Ticks::Cancel).await.expect_err("they said no");
    running.connect(&person, Ticks::All).await.expect("connected");
    let theirs = Desk::of(app, &person).await;
    let keys = text(theirs.send("/settings/keys", "name=My+secret+plan").await).await;
    let (_, rest) = keys.split_once("name=\"key\" value=\"").expect("a key");
    theirs.send("/settings/keys/delete", &format!("key={}", rest.split_once('"').expect("its end").0)).await;
    intail::connect::leave(app, &person, Origin::Unknown).await.expect("left");

    let desk = Desk::of(app, &admin).await;
    let mut actions = log(app, &admin.organization_id).await;
    actions.retain(|(actor, _)| actor == person.id.as_str());
    let actions: Vec<_> = actions.iter().map(|(_, action)| action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "person.joined",
            "person.signed_in",
            "approval.asked",
            "connection.refused",
            "connection.made",
            "access_key.made",
            "access_key.deleted",
            "connection.left"
        ]
    );
    let page = desk.page(&format!("/admin/audit?action=connection.&who={}", person.email)).await;
    assert!(page.contains("Connection refused") && page.contains("Disconnected") && page.contains(&person.email));
    assert!(!page.contains("Access key made") && !page.contains("secret plan"));
    assert!(desk.page("/admin/audit?who=nobody@example.com").await.contains("Nothing fits."));
    let checked = desk.page("/admin/audit?check=1").await;
    assert!(checked.contains("there and unchanged"), "{checked}");

    let export = text(ask(app, "GET", "/admin/audit.jsonl", &desk.proof, None).await).await;
    for leak in ["secret plan", person.email.as_str(), person.name.as_str(), ADMIN] {
        assert!(!export.contains(leak), "{leak} is in the export");
    }
    let lines: Vec<Json> = export.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert_eq!(lines.last().expect("a line")["action"], "audit.exported");
    let mut before = lines[0]["after_hash"].as_str().expect("a hash").to_owned();
    for line in &lines[1..] {
        before = recomputed(&lines[0], line, &before);
        assert_eq!(line["hash"], before.as_str(), "{line}");
    }
    let of = |name: &str| lines[0][name].as_str().expect("text");
    let keys = text(ask(app, "GET", "/api/v1/receipts/key", &Proof::Nothing, None).await).await;
    let keys: Json = serde_json::from_str(&keys).expect("JSON");
    let key = keys["keys"][0]["public_key"].as_str().expect("a key");
    assert!(is_signed(key, of("vouched"), of("signature")) && key == of("public_key"));
    let vouched: Json = serde_json::from_str(of("vouched")).expect("JSON");
    for name in ["organization", "after_seq", "after_hash", "last_seq", "last_hash", "at"] {
        assert_eq!(vouched[name], lines[0][name], "{name}");
    }
    assert_eq!((of("last_hash"), &lines[0]["last_seq"]), (before.as_str(), &lines[lines.len() - 1]["seq"]));
    let forged = of("vouched").replace(&before, &"0".repeat(64));
    assert!(!is_signed(key, &forged, of("signature")), "a chain with another end isn't vouched for");
    let whole = verify(&app.store, &admin.organization_id).await.expect("walked");
    assert!(matches!(&whole, Verified::Whole { last_hash, .. } if *last_hash == before), "{whole:?}");
}

/// An entry's hash as the page for operators says that anybody computes it.
fn recomputed(first: &Json, line: &Json, before: &str) -> String {
    let names = ["seq", "at_us", "actor", "action", "about", "origin", "detail"];
    let mut parts = vec![Json::from(before), first["organization"].clone()];
    parts.extend(names.iter().map(|name| line[*name].clone()));
    let text = Json::Array(parts).to_string();
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_flood_of_sign_ins_is_held_back_for_a_minute_and_others_go_on() {
    let running = Running::start().await;
    let router = web::router(running.app.clone());
    let begin = async |client: &str| {
        let peer: SocketAddr = format!("{client}:4711").parse().expect("an address");
        let request = Request::post("/signin").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut request = request.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request).await.expect("an answer")
    };
    for _ in 0..240 {
        assert_eq!(begin("198.51.100.7").await.status(), StatusCode::SEE_OTHER);
    }
    let held_back = begin("198.51.100.7").await;
    assert_eq!(held_back.status(), StatusCode::TOO_MANY_REQUESTS);
    let page = to_bytes(held_back.into_body(), PAGE_BYTES_MAX).await.expect("a page");
    assert!(String::from_utf8_lossy(&page).contains("Wait a minute, then sign in."));
    assert_eq!(begin("198.51.100.8").await.status(), StatusCode::SEE_OTHER);
    running.pass(Duration::from_secs(60));
    assert_eq!(begin("198.51.100.7").await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn signing_somebody_out_ends_their_access_keys_where_that_is_ticked() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let person = running.sign_in(&running.employee()).await;
    let key = access_key(app, &person).await;
    let works = async || ask(app, "GET", "/api/v1/me", &key, None).await.status();
    let (desk, path) = (Desk::of(app, &admin).await, format!("/admin/people/{}/sign-out", person.id));
    desk.send(&path, "").await;
    assert_eq!(works().await, StatusCode::OK, "unticked, they stay");
    let answer = desk.send(&path, "keys=yes").await;
    assert!(location(&answer).is_some_and(|it| it.ends_with("done=keys_ended")));
    assert_eq!(works().await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_administrator_sees_how_many_mailboxes_are_being_copied_and_until_when() {
    let running = Running::start().await;
    running.approve();
    let admin = running.sign_in(ADMIN).await;
    let desk = Desk::of(&running.app, &admin).await;
    assert!(!desk.page("/admin").await.contains("id=\"copying\""), "nobody has connected");
    let (one, two) = running.employees();
    for email in [one, two] {
        let person = running.sign_in(&email).await;
        running.connect(&person, Ticks::All).await.expect("connected");
    }
    let told =
        async || between(&desk.page("/admin").await, "id=\"copying\">", "</p>").expect("how far it is").to_owned();
    let begun = told().await;
    assert!(begun.starts_with("2 mailboxes are still being copied"), "{begun}");
    assert!(!begun.contains("done about"), "nobody knows yet how much it is: {begun}");
    running.work().await;
    assert!(told().await.contains("will be done about <time"), "{}", told().await);
    running.settle().await;
    assert!(!desk.page("/admin").await.contains("id=\"copying\""), "everything is copied");
}

#[tokio::test]
async fn whoever_looks_while_google_holds_everybody_is_told_the_same() {
    let running = Running::start().await;
    running.approve();
    let desk = Desk::of(&running.app, &running.sign_in(ADMIN).await).await;
    let (one, two) = running.employees();
    let live = running.connected(&one).await;
    let copied = running.sign_in(&two).await;
    running.act(&two, receive(600));
    running.connect(&copied, Ticks::All).await.expect("connected");
    running.work().await;
    let overview = desk.page("/admin").await;
    assert!(overview.contains("1 mailbox is still being copied; new mail comes meanwhile."), "{overview}");
    assert!(overview.contains("New mail always goes on.") && !overview.contains("id=\"held-"), "{overview}");
    let until = running.app.clock.now() + SignedDuration::from_hours(1);
    let hold = async |service: &str| {
        let mut tx = running.app.store.write().await.expect("a transaction");
        let hold = quota::Hold { until, correction: None, day: None };
        quota::hold(&mut tx, service, hold).await.expect("held");
        tx.commit().await.expect("committed");
    };
    hold(quota::CALENDAR).await;
    hold(quota::DIRECTORY).await;
    let overview = desk.page("/admin").await;
    assert!(overview.contains("New mail always goes on.") && !overview.contains("id=\"held-gmail\""), "{overview}");
    for (service, about) in [("calendar", "about calendars until"), ("directory", "about the directory until")] {
        let told = between(&overview, &format!("id=\"held-{service}\">"), "</strong>").expect("it is told");
        assert!(told.contains(about) && told.contains(&until.to_string()[..19]), "{told}");
    }

    hold(quota::GMAIL).await;
    let overview = desk.page("/admin").await;
    let told = between(&overview, "id=\"held-gmail\">", "</strong>").expect("it is told");
    assert!(told.contains("about mail until") && told.contains("no new mail is read before then"), "{told}");
    assert!(!overview.contains("New mail always goes on") && !overview.contains("new mail comes"), "{overview}");
    assert!(overview.contains("state=paused\"><strong>2</strong> Paused"), "{overview}");
    let paused = desk.page("/admin/people?state=paused").await;
    for person in [&live, &copied] {
        let mail = ask(&running.app, "GET", "/mail", &session(&running.app, person).await, None).await;
        assert!(text(mail).await.contains("Paused because Google asked for it"), "their mail");
        let card = what_is_told(&running, person).await.0;
        let page = desk.page(&format!("/admin/people/{}", person.id)).await;
        let card = between(&card, "id=\"state\">", "</p>").expect("how it stands").to_owned();
        let page = between(&page, "id=\"person-state\">", "</p>").expect("how it stands").to_owned();
        assert!(card.contains("Paused") && page.contains("Paused"), "{card} {page}");
        assert!(paused.contains(&format!("/admin/people/{}", person.id)), "{paused}");
    }
    running.pass(Duration::from_secs(3_600));
    let overview = desk.page("/admin").await;
    assert!(!overview.contains("Paused") && overview.contains("New mail always goes on."), "{overview}");
}

#[tokio::test]
async fn who_waits_for_tomorrow_goes_on_at_once_when_the_policy_leaves_more_of_today() {
    let running = Running::start_with(Setup { gmail_day: Some(30_000), ..Setup::default() }).await;
    running.approve();
    let desk = Desk::of(&running.app, &running.sign_in(ADMIN).await).await;
    let decide = async |percent: u64| {
        let saved = desk
            .send("/admin/policy", &format!("domain_joining=1&backfill_percent={percent}&audit_kept_days=90"))
            .await;
        assert_eq!(location(&saved).as_deref(), Some("/admin/policy?done=saved"));
    };
    decide(10).await;
    // A seventh of the calendar's day is used, too.
    let mut tx = running.app.store.write().await.expect("a transaction");
    let (today, _) = intail_google::day::day(running.app.clock.now());
    quota::spend(&mut tx, "calendar", today, 150_000).await.expect("spent");
    tx.commit().await.expect("committed");
    let person = running.sign_in(&running.employee()).await;
    running.connect(&person, Ticks::All).await.expect("connected");
    running.settle().await;
    running.pass(Duration::from_secs(20));
    running.settle().await;
    let told = what_is_told(&running, &person).await;
    assert_waits_for_the_day(&told, 10, "copying old mail stops there");
    assert_eq!(told.1["agenda"]["waits_for"], "day", "{}", told.1["agenda"]);
    // More is used than the policy leaves.
    let calendars = between(&told.0, "id=\"calendars-day-used\"", "</p>").expect("the card says that they wait");
    assert!(calendars.contains(": At least 10 % of Google’s allowance for today are used"), "{calendars}");
    let overview = desk.page("/admin").await;
    let calendars = between(&overview, "id=\"allowance-calendar\">", "</p>").expect("of calendars");
    assert!(calendars.contains("waits: at least 10 % are used."), "{calendars}");
    let copied = async || {
        let calendars = running.calendars(&person).await;
        calendars.iter().filter(|it| it.state == CalendarState::Live).count()
    };
    assert_eq!(copied().await, 0);

    let waited_until = running.app.clock.now();
    decide(80).await;
    running.copy_everything().await;
    running.settle_calendars(&person).await;
    assert!(copied().await > 0);
    assert!(running.app.clock.now().duration_since(waited_until) < SignedDuration::from_hours(1), "not tomorrow");
    running.assert_nothing_is_lost(&person).await;
}

/// A number of less than a million with its thousands apart, as pages write it.
fn apart(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

#[tokio::test]
async fn card_api_and_administrator_say_the_same_of_a_copy_that_goes_on_and_of_one_that_waits() {
    let running = Running::start_with(Setup { gmail_day: Some(10_000), ..Setup::default() }).await;
    running.approve();
    let admin = running.sign_in(ADMIN).await;
    let desk = Desk::of(&running.app, &admin).await;
    let page = desk.page("/admin/policy").await;
    assert!(page.contains("At how much of the day’s allowance copying old mail stops, in percent"), "{page}");
    assert!(page.contains("new mail included") && page.contains("At 95 % it stops in any case."), "{page}");
    // The last 500 units are for new mail, whatever is decided.
    let saved = desk.send("/admin/policy", "domain_joining=1&backfill_percent=100&audit_kept_days=90").await;
    assert_eq!(location(&saved).as_deref(), Some("/admin/policy?done=saved"));
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.act(&email, receive(600));
    running.connect(&person, Ticks::All).await.expect("connected");
    running.work().await;
    let (card, api) = what_is_told(&running, &person).await;
    assert!(api["mailbox"]["messages_stored"].as_u64() > Some(0) && api["allowances"][0]["used"] == 0, "{api}");
    assert!(!card.contains("id=\"allowance\""), "what is used is counted every few seconds: {card}");
    running.pass(Duration::from_secs(20));
    running.work().await;
    running.pass(Duration::from_secs(20));
    running.work().await;

    let theirs = format!("/admin/people/{}", person.id);
    let (card, api) = what_is_told(&running, &person).await;
    let (page, overview) = (desk.page(&theirs).await, desk.page("/admin").await);
    let (mailbox, today) = (&api["mailbox"], &api["allowances"][0]);
    let number = |it: &Json, name: &str| it[name].as_u64().expect("a number");
    let (stored, total) = (number(mailbox, "messages_stored"), number(mailbox, "messages_total"));
    assert!(0 < stored && stored < total, "{mailbox}");
    let (stored, total) = (apart(stored), apart(total));
    assert!(card.contains(&format!("<strong id=\"stored\">{stored}</strong> of {total} messages")), "{card}");
    assert!(page.contains(&format!("id=\"copied\">{stored} of {total} messages<")), "{page}");
    let part = |page: &str, id: &str| {
        let end = if page == card { "</li>" } else { "</dd>" };
        between(page, &format!("id=\"{id}\""), end).unwrap_or_default().to_owned()
    };
    for (told, id) in [(&mailbox["complete_back_to"], "complete-to"), (&mailbox["pass"]["done_at"], "done-at")] {
        let instant = format!("datetime=\"{}Z\"", &told.as_str().expect("an instant")[..19]);
        for page in [&card, &page] {
            assert!(part(page, id).contains(&instant), "{id} {told}: {page}");
        }
    }
    assert!(mailbox["waits_for"].is_null() && mailbox["pass"]["waits_for"].is_null(), "{mailbox}");
    assert!(!card.contains("Waits until") && !page.contains("id=\"day-used\""), "{page}");
    let used = number(today, "used");
    assert!(used > 0 && used < 9_500 && today["service"] == "gmail" && today["limit"] == 10_000, "{today}");
    assert_eq!(today["copying_stops_percent"], 95, "{today}");
    for page in [&card, &page] {
        let told = part(page, "allowance");
        assert!(told.contains(&format!("{} of 10,000 units", apart(used))), "{told}");
        assert!(told.contains("Copying old mail stops at 95 %"), "{told}");
    }
    assert!(overview.contains(&format!("<strong id=\"used-gmail\">{}</strong> of 10,000 units", apart(used))));
    assert!(overview.contains("id=\"used-calendar\"") && !overview.contains("id=\"used-directory\""), "{overview}");
    let told = between(&overview, "id=\"allowance-gmail\">", "</p>").expect("of Gmail");
    assert!(told.starts_with("Copying old mail stops at 95 %."), "{told}");

    running.settle().await;
    running.pass(Duration::from_secs(10));
    running.act(&email, receive(1));
    running.settle().await;
    assert_eq!(running.mailbox(&person).await.state, MailboxState::Backfilling);
    let told = what_is_told(&running, &person).await;
    assert_waits_for_the_day(&told, 95, "copying old mail stops there");
    let waits = between(&told.0, "id=\"day-used\">Waits until ", "</li>").expect("the card says so");
    let (page, overview) = (desk.page(&theirs).await, desk.page("/admin").await);
    assert!(page.contains(&format!("<dd id=\"day-used\">until {waits}</dd>")), "{page}");
    let told = between(&overview, "id=\"allowance-gmail\">", "</p>").expect("of Gmail");
    assert!(told.starts_with("Copying old mail waits: at least 95 % are used."), "{told}");

    // Something of what is complete couldn't be read.
    let reserve = ", but for what couldn’t be read yet";
    let complete_to = |page: &str, end| between(page, "id=\"complete-to\">", end).expect("how far it is").to_owned();
    assert!(!complete_to(&card, "</li>").contains(reserve) && !complete_to(&page, "</dd>").contains(reserve), "{page}");
    running.world(|world| world.faults.add(Rule::status("gmail.users.messages.get", 500).of(&email).times(2)));
    running.pass(Duration::from_secs(10));
    running.act(&email, receive(1));
    running.work().await;
    let (card, _) = what_is_told(&running, &person).await;
    let page = desk.page(&theirs).await;
    for told in [complete_to(&card, "</li>"), complete_to(&page, "</dd>")] {
        assert!(told.contains(reserve), "{told}");
    }
}

#[tokio::test]
async fn how_far_back_mail_is_copied_is_decided_under_policy_and_told_to_the_person() {
    let running = Running::start().await;
    running.approve();
    let admin = running.sign_in(ADMIN).await;
    let desk = Desk::of(&running.app, &admin).await;
    let decide = async |days: &str| {
        let form = format!("domain_joining=1&backfill_percent=80&audit_kept_days=400&backfill_days={days}");
        desk.send("/admin/policy", &form).await
    };
    for wrong in ["0", "36501", "some"] {
        let answer = decide(wrong).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
        assert!(text(answer).await.contains("How far back old mail is copied is a whole number"), "{wrong}");
    }
    assert_eq!(location(&decide("20").await).as_deref(), Some("/admin/policy?done=saved"));
    let page = desk.page("/admin/policy").await;
    assert!(between(&page, "id=\"backfill-days\"", ">").is_some_and(|it| it.contains("value=\"20\"")), "{page}");

    let email = running.employee();
    let person = running.connected(&email).await;
    let from_ms = running.mailbox(&person).await.copied_from_ms.expect("a depth");
    let (recent, older): (BTreeSet<(bool, String)>, _) = running.world(|world| {
        let all = world.mailbox(&email).expect("a mailbox").newest_first().filter(|it| !it.has("DRAFT"));
        all.map(|it| (it.internal_date_ms >= from_ms, it.id.clone())).partition(|(is_recent, _)| *is_recent)
    });
    let recent: BTreeSet<String> = recent.into_iter().map(|(_, id)| id).collect();
    assert!(recent.len() > 3 && older.len() > 3, "some are older: {} of {}", older.len(), recent.len());
    assert_eq!(running.stored(&person).await.into_keys().collect::<BTreeSet<_>>(), recent);
    let (card, api) = what_is_told(&running, &person).await;
    assert_eq!(api["mailbox"]["messages_stored"], recent.len(), "{api}");
    assert_eq!(api["mailbox"]["messages_total"], recent.len(), "older mail isn't waited for: {api}");
    let depth = between(&card, "id=\"depth\"", "</li>").expect("the card says so");
    assert!(depth.contains("Your organization copies mail from <time"), "{depth}");
    let page = desk.page(&format!("/admin/people/{}", person.id)).await;
    assert!(page.contains(&format!("id=\"copied\">{} messages<", apart(recent.len() as u64))), "{page}");
    assert_eq!(location(&decide("").await).as_deref(), Some("/admin/policy?done=saved"), "empty copies everything");
    let page = desk.page("/admin/policy").await;
    assert!(between(&page, "id=\"backfill-days\"", ">").is_some_and(|it| it.contains("value=\"\"")), "{page}");
}

#[tokio::test]
async fn signing_somebody_out_ends_their_links_too() {
    let running = Running::start().await;
    let app = &running.app;
    let admin = running.sign_in(ADMIN).await;
    let person = running.sign_in(&running.employee()).await;
    let token = link(app, &For::Person(&person)).await;
    Desk::of(app, &admin).await.send(&format!("/admin/people/{}/sign-out", person.id), "").await;
    let mut tx = app.store.read().await.expect("a transaction");
    let left = sign_in_links::by_token(&mut tx, &hash_token(&token), app.clock.now()).await.expect("read");
    assert_eq!(left, None);
}

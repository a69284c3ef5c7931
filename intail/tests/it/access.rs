//! Promise 10, nobody sees another's data: every address of the table is asked by everyone, and each answers as the
//! table says. A new route is walked without anybody remembering to.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use intail::app::App;
use intail::connect;
use intail::id::{OrganizationId, PersonId};
use intail::org::audit::Origin;
use intail::org::invitations::{self as inviting, Invited};
use intail::org::roles::By;
use intail::seal::hash_token;
use intail::store::invitations::{self, Invitation};
use intail::store::people::{self, Person, Role};
use intail::store::{access_keys, events, leaving_receipts, organizations, privacy, quota, sessions};
use intail::web::{self, Method, ROUTES, Route, Who};
use tower::ServiceExt as _;

use crate::harness::running::{ADMIN, Running};

/// Where the product says it is.
const ORIGIN: &str = "http://127.0.0.1:8080";
/// The largest answer that a test reads.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What somebody proves who they are with.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    Nothing,
    Session(String),
    Key(String),
}

/// A session for a person, as signing in opens it.
pub(crate) async fn session(app: &App, person: &Person) -> Proof {
    let (token, now) = (app.random.token(), app.clock.now());
    let ends = now.saturating_add(std::time::Duration::from_secs(86_400)).expect("tomorrow");
    let mut tx = app.store.write().await.expect("a transaction");
    sessions::open(&mut tx, &hash_token(&token), &person.id, &app.random.token(), now, ends).await.expect("opened");
    tx.commit().await.expect("committed");
    Proof::Session(token)
}

/// An access key for a person, as Settings makes it.
pub(crate) async fn access_key(app: &App, person: &Person) -> Proof {
    let key = format!("intail_{}", app.random.token());
    let mut tx = app.store.write().await.expect("a transaction");
    access_keys::create(&mut tx, &hash_token(&key), &person.id, "test", None, app.clock.now()).await.expect("made");
    tx.commit().await.expect("committed");
    Proof::Key(key)
}

/// Asks an address.
pub(crate) async fn ask(app: &App, method: &str, path: &str, proof: &Proof, form: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8080");
    request = match proof {
        Proof::Nothing => request,
        Proof::Session(token) => request.header(header::COOKIE, format!("intail-session={token}")),
        Proof::Key(key) => request.header(header::AUTHORIZATION, format!("Bearer {key}")),
    };
    if method == "POST" {
        request =
            request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").header(header::ORIGIN, ORIGIN);
    }
    let request = request.body(Body::from(form.unwrap_or_default().to_owned())).expect("a request");
    web::router(app.clone()).oneshot(request).await.expect("an answer")
}

/// An answer's text.
pub(crate) async fn text(answer: Response<Body>) -> String {
    let bytes = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Where an answer sends the browser.
pub(crate) fn location(answer: &Response<Body>) -> Option<String> {
    Some(answer.headers().get(header::LOCATION)?.to_str().ok()?.to_owned())
}

fn path_of(route: &Route) -> String {
    ["{id}", "{message_id}", "{event_id}", "{name}", "{token}"]
        .iter()
        .fold(route.path.to_owned(), |path, it| path.replace(it, "nothing"))
}

/// Whether an answer says "you may not".
fn is_turned_away(answer: &Response<Body>) -> bool {
    matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || location(answer).is_some_and(|it| it.starts_with("/signin"))
}

#[tokio::test]
async fn every_route_answers_each_as_the_table_says() {
    let running = Running::start().await;
    let app = &running.app;
    let administrator = running.sign_in(ADMIN).await;
    let member = running.sign_in("bjorn@example.com").await;
    let auditor = running.sign_in("ines@example.com").await;
    set_role(app, &administrator, Role::Administrator).await;
    set_role(app, &member, Role::Member).await;
    set_role(app, &auditor, Role::Auditor).await;
    let proofs = [
        ("nobody", Proof::Nothing),
        ("a stranger", Proof::Session("forged".to_owned())),
        ("a forged key", Proof::Key("intail_forged".to_owned())),
        ("a member's key", access_key(app, &member).await),
        ("a member", session(app, &member).await),
        ("an auditor", session(app, &auditor).await),
        ("an administrator", session(app, &administrator).await),
    ];
    for route in ROUTES.iter().filter(|it| it.method == Method::Get) {
        for (name, proof) in &proofs {
            let answer = ask(app, "GET", &path_of(route), proof, None).await;
            let may = matches!(
                (route.who, *name),
                (Who::Anyone, _)
                    | (Who::Key, "a member's key" | "a member" | "an auditor" | "an administrator")
                    | (Who::EvenSuspended | Who::SignedIn, "a member" | "an auditor" | "an administrator")
                    | (Who::Overseer, "an auditor" | "an administrator")
                    | (Who::Administrator, "an administrator")
            );
            assert_eq!(!is_turned_away(&answer), may, "{name} at GET {}: {}", route.path, answer.status());
            assert!(!answer.status().is_server_error(), "{name} at GET {}: {}", route.path, answer.status());
        }
    }
}

#[tokio::test]
async fn only_administrators_change_what_is_everybody_s() {
    let running = Running::start().await;
    let app = &running.app;
    let member = running.sign_in("bjorn@example.com").await;
    let auditor = running.sign_in("ines@example.com").await;
    set_role(app, &auditor, Role::Auditor).await;
    let routes = || ROUTES.iter().filter(|it| it.method == Method::Post && it.who == Who::Administrator);
    assert!(routes().count() >= 5, "the table names them");
    for (name, person) in [("a member", &member), ("an auditor", &auditor)] {
        let proof = session(app, person).await;
        let token = form_token(app, &proof).await;
        for route in routes() {
            let form = format!("form_token={token}");
            let answer = ask(app, "POST", &path_of(route), &proof, Some(&form)).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name} at POST {}", route.path);
        }
    }
}

/// What whoever may is answered by a route that does something.
#[derive(Clone, Copy, Debug)]
enum Answered {
    /// Done: the browser goes on to an address that begins so.
    Goes(&'static str),
    /// Done, and shown on a page that says so.
    Shows(&'static str),
    /// Let in, and told what can't be done for them here.
    Says(StatusCode, &'static str),
}

use Answered::{Goes, Says, Shows};

/// Every route that does something: its path, what a right form of it sends, and what whoever may is answered. Nobody
/// here is connected, so that there is nothing to read anew, and nothing to disconnect.
const POSTS: &[(&str, &str, Answered)] = &[
    ("/signin", "return_to=%2Fmail", Goes("http://127.0.0.1:")),
    ("/signin/link", "token=nothing", Says(StatusCode::GONE, "link")),
    ("/signout", "", Goes("/")),
    ("/connect/google", "", Goes("http://127.0.0.1:")),
    ("/connect/google/wait", "", Goes("/settings/integrations")),
    ("/disconnect/google", "", Says(StatusCode::NOT_FOUND, "Nothing is connected")),
    ("/calendar/choose", "calendar=c&choice=leave", Says(StatusCode::NOT_FOUND, "There is no such calendar")),
    ("/calendar/look", "", Says(StatusCode::NOT_FOUND, "There is no such calendar")),
    ("/directory/look", "", Says(StatusCode::NOT_FOUND, "There is no such directory")),
    ("/settings/keys", "name=walked", Shows("intail_")),
    ("/settings/keys/delete", "key=nothing", Goes("/settings/keys")),
    ("/settings/privacy", "subject=plain", Goes("/settings/privacy?done=saved")),
    ("/settings/privacy/preview", "subject=dropped", Shows("Nothing of your mail is copied yet")),
    ("/settings/privacy/again", "", Goes("/settings/privacy?done=again")),
    ("/admin/people/{id}/role", "role=auditor", Goes("/admin/people/")),
    ("/admin/people/{id}/sign-out", "keys=yes", Goes("/admin/people/")),
    ("/admin/people/{id}/disconnect", "remove=yes", Goes("/admin/receipts/")),
    ("/admin/invitations", "email=walked%40firm.example&role=member", Goes("/admin/people?done=invited")),
    ("/admin/invitations/{id}/withdraw", "", Goes("/admin/people?done=withdrawn")),
    ("/admin/policy", "backfill_percent=40&audit_kept_days=90", Goes("/admin/policy?done=saved")),
    ("/admin/policy/accounts", "accounts=secondary", Goes("/admin/policy?done=saved")),
    ("/admin/privacy", "subject=hashed", Goes("/admin/privacy?done=saved")),
    ("/admin/privacy/preview", "subject=dropped", Shows("Nothing of your mail is copied yet")),
    // Their proofs are Google's, which nobody here has.
    ("/notices/pubsub", "", Says(StatusCode::NOT_FOUND, "")),
    ("/notices/calendar", "", Says(StatusCode::NOT_FOUND, "")),
];

/// Whom the walk asks as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walker {
    Nobody,
    Key,
    Member,
    Auditor,
    /// The administrator of another organization.
    Stranger,
    Administrator,
}

/// How a route refuses somebody with a right form; none if they may. What is another organization's isn't there.
fn refuses(route: &Route, walker: Walker) -> Option<StatusCode> {
    let is_named = route.path.contains('{');
    match (route.who, walker) {
        (Who::Anyone, _) => None,
        (Who::Key, Walker::Key) => None,
        (_, Walker::Nobody | Walker::Key) => Some(StatusCode::SEE_OTHER),
        (Who::Administrator, Walker::Member | Walker::Auditor) => Some(StatusCode::FORBIDDEN),
        (Who::Overseer, Walker::Member) => Some(StatusCode::FORBIDDEN),
        (Who::Administrator | Who::Overseer, Walker::Stranger) if is_named => Some(StatusCode::NOT_FOUND),
        _ => None,
    }
}

#[tokio::test]
async fn every_route_that_does_something_is_walked_as_everyone_with_a_right_form() {
    let running = Running::start().await;
    let app = &running.app;
    let administrator = running.sign_in(ADMIN).await;
    let member = running.sign_in("bjorn@example.com").await;
    let auditor = running.sign_in("ines@example.com").await;
    let bystander = running.sign_in("kofi@example.com").await;
    set_role(app, &administrator, Role::Administrator).await;
    set_role(app, &auditor, Role::Auditor).await;
    let (stranger, _) = another_organization(app).await;
    let mut tx = app.store.write().await.expect("a transaction");
    let (organization, by) = (&member.organization_id, By::person(&administrator, Origin::Unknown));
    let now = app.clock.now();
    let invited =
        inviting::invite(&mut tx, organization, "guest@there.example", Role::Member, by, &app.random, now).await;
    let Ok(Invited::Invitation(invitation)) = invited else { panic!("{invited:?}") };
    tx.commit().await.expect("committed");
    let key = access_key(app, &member).await;
    let theirs = session(app, &bystander).await;

    let routes: Vec<&Route> = ROUTES.iter().filter(|it| it.method == Method::Post).collect();
    let listed: BTreeSet<&str> = POSTS.iter().map(|(path, ..)| *path).collect();
    assert_eq!(listed, routes.iter().map(|it| it.path).collect(), "each route has its line, and each line its route");
    for route in routes {
        let (path, fields, answered) = POSTS.iter().find(|(path, ..)| *path == route.path).expect("its line");
        let id = if path.starts_with("/admin/people") { bystander.id.as_str() } else { invitation.id.as_str() };
        let address = path.replace("{id}", id);
        // Those who may not, first: what they ask for isn't done, as what stands before and after them shows.
        let walkers = [
            (Walker::Nobody, None),
            (Walker::Key, None),
            (Walker::Member, Some(&member)),
            (Walker::Auditor, Some(&auditor)),
            (Walker::Stranger, Some(&stranger)),
            (Walker::Administrator, Some(&administrator)),
        ];
        let (refused, admitted): (Vec<_>, Vec<_>) =
            walkers.into_iter().partition(|(walker, _)| refuses(route, *walker).is_some());
        let before = what_stands(app, &bystander, &theirs).await;
        for (walker, person) in &refused {
            let answer = walk(app, &address, fields, *person, &key, *walker).await;
            assert_eq!(Some(answer.status()), refuses(route, *walker), "{walker:?} at POST {path}");
            let to = location(&answer);
            assert!(to.is_none_or(|it| it.starts_with("/signin")), "{walker:?} at POST {path}");
        }
        assert_eq!(what_stands(app, &bystander, &theirs).await, before, "POST {path} did something for who may not");
        assert!(admitted.iter().any(|(walker, _)| *walker == Walker::Administrator), "POST {path} is somebody's");
        for (walker, person) in &admitted {
            let answer = walk(app, &address, fields, *person, &key, *walker).await;
            let (status, to) = (answer.status(), location(&answer).unwrap_or_default());
            let shown = text(answer).await;
            let is_right = match answered {
                Goes("/") => status == StatusCode::SEE_OTHER && to == "/",
                Goes(begins) => status == StatusCode::SEE_OTHER && to.starts_with(begins),
                Shows(words) => status == StatusCode::OK && shown.contains(words),
                Says(told, words) => status == *told && shown.contains(words),
            };
            assert!(is_right, "{walker:?} at POST {path}: {status} {to}, and not {answered:?}");
        }
    }
}

/// Sends a form as one of the walkers, with the token of a session of their own.
async fn walk(
    app: &App,
    address: &str,
    fields: &str,
    person: Option<&Person>,
    key: &Proof,
    walker: Walker,
) -> Response<Body> {
    let proof = match person {
        Some(person) => session(app, person).await,
        None if walker == Walker::Key => key.clone(),
        None => Proof::Nothing,
    };
    let token = match &proof {
        Proof::Session(_) => form_token(app, &proof).await,
        _ => String::new(),
    };
    ask(app, "POST", address, &proof, Some(&format!("form_token={token}&{fields}"))).await
}

/// What the routes of administrators change: a bystander, their session, who is invited, and what is decided for all.
async fn what_stands(app: &App, bystander: &Person, theirs: &Proof) -> String {
    let is_signed_in = ask(app, "GET", "/settings/keys", theirs, None).await.status() == StatusCode::OK;
    let mut tx = app.store.read().await.expect("a transaction");
    let id = &bystander.organization_id;
    let person = people::by_id(&mut tx, &bystander.id).await.expect("read");
    let invited = invitations::of_organization(&mut tx, id, app.clock.now(), 9).await.expect("read");
    let organization = organizations::by_id(&mut tx, id).await.expect("read");
    let percent = quota::backfill_day_percent(&mut tx, id).await.expect("read");
    let floor = privacy::floor(&mut tx, id).await.expect("read");
    format!("{is_signed_in} {person:?} {invited:?} {organization:?} {percent} {floor:?}")
}

/// What a session's forms carry, as its pages show it.
pub(crate) async fn form_token(app: &App, proof: &Proof) -> String {
    let page = text(ask(app, "GET", "/settings/keys", proof, None).await).await;
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("a form");
    rest.split_once('"').expect("a value").0.to_owned()
}

#[tokio::test]
async fn an_administrator_of_one_organization_can_do_nothing_to_another() {
    let running = Running::start().await;
    let app = &running.app;
    let ours = running.sign_in(ADMIN).await;
    let (theirs, invitation) = another_organization(app).await;
    let proof = session(app, &ours).await;
    let token = form_token(app, &proof).await;
    for (path, form) in [
        (format!("/admin/people/{}/role", theirs.id), "role=member"),
        (format!("/admin/people/{}/sign-out", theirs.id), ""),
        (format!("/admin/invitations/{}/withdraw", invitation.id), ""),
    ] {
        let form = format!("form_token={token}&{form}");
        let answer = ask(app, "POST", &path, &proof, Some(&form)).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let person = format!("/admin/people/{}", theirs.id);
    assert_eq!(ask(app, "GET", &person, &proof, None).await.status(), StatusCode::NOT_FOUND);
    let who = format!("/admin/audit?who={}", theirs.id);
    let queries = ["/admin", "/admin/people", "/admin/people?q=olga", "/admin/audit", "/admin/audit.jsonl", &who];
    for path in queries {
        let page = text(ask(app, "GET", path, &proof, None).await).await;
        for secret in ["olga@other.example", "guest@firm.example", "Other", invitation.id.as_str()] {
            assert!(!page.contains(secret), "{secret} of another organization is in {path}");
        }
    }
    let after = format!("/admin/people?after={}", theirs.id);
    assert!(text(ask(app, "GET", &after, &proof, None).await).await.contains("Nobody fits."));
    // Their session and invitation stand.
    let mut tx = app.store.read().await.expect("a transaction");
    let them = people::by_id(&mut tx, &theirs.id).await.expect("read").expect("there");
    assert_eq!(them.role, Role::Administrator);
    let waiting = invitations::of_organization(&mut tx, &theirs.organization_id, app.clock.now(), 9).await;
    assert_eq!(waiting.expect("read"), [invitation]);
}

#[tokio::test]
async fn an_administrator_of_one_organization_reaches_nothing_of_another_by_any_route() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let left = running.connected("kofi@example.com").await;
    connect::leave(app, &left, Origin::Unknown).await.expect("left");
    let owner = running.connected("ines@example.com").await;
    running.settle_calendars(&owner).await;
    set_role(app, &owner, Role::Administrator).await;
    let (stranger, _) = another_organization(app).await;
    let key = access_key(app, &owner).await;
    let message = running.stored(&owner).await.into_values().next().expect("mail");
    let mailbox = running.mailbox(&owner).await.id.to_string();
    let mut tx = app.store.write().await.expect("a transaction");
    let by = By::person(&owner, Origin::Unknown);
    let invited = inviting::invite(
        &mut tx,
        &owner.organization_id,
        "guest@firm.example",
        Role::Member,
        by,
        &app.random,
        app.clock.now(),
    )
    .await;
    let Ok(Invited::Invitation(invitation)) = invited else { panic!("{invited:?}") };
    tx.commit().await.expect("committed");
    let mut tx = app.store.read().await.expect("a transaction");
    let receipt = leaving_receipts::of_person(&mut tx, &left.id, 1).await.expect("read").remove(0).id.to_string();
    let agenda = running.agenda(&owner).await.id;
    let event = events::after(&mut tx, &agenda, ("", ""), 1).await.expect("read").remove(0);
    let (calendar, event) = (event.calendar_id, event.id);
    drop(tx);
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let ids = [
        owner.id.to_string(),
        left.id.to_string(),
        owner.subject.clone(),
        mailbox,
        message.thread_id.clone(),
        encoded(&calendar),
        receipt,
        invitation.id.to_string(),
    ];
    let mut walked: Vec<(&Route, String)> = Vec::new();
    for route in ROUTES.iter().filter(|it| it.path.contains('{') && it.who != Who::Anyone) {
        let path = route.path.replace("{message_id}", &message.id).replace("{event_id}", &encoded(&event));
        walked.extend(ids.iter().map(|id| (route, path.replace("{id}", id))));
    }
    let reading: Vec<&(&Route, String)> = walked.iter().filter(|(route, _)| route.method == Method::Get).collect();
    // Those whose it is open each of them: the ids are right.
    let theirs = [session(app, &owner).await, session(app, &left).await];
    let mut opened = BTreeSet::new();
    for (route, path) in &reading {
        for proof in &theirs {
            if ask(app, "GET", path, proof, None).await.status() == StatusCode::OK {
                opened.insert(route.path);
            }
        }
    }
    assert_eq!(opened, reading.iter().map(|(route, _)| route.path).collect::<BTreeSet<_>>(), "each is somebody's");

    let browser = session(app, &stranger).await;
    let token = form_token(app, &browser).await;
    let Proof::Key(secret) = &key else { panic!("a key") };
    let fields = format!(
        "form_token={token}&role=member&keys=yes&remove=yes&choice=leave&calendar={}&key={}",
        encoded(&calendar),
        hash_token(secret)
    );
    let program = access_key(app, &stranger).await;
    for (route, path) in &walked {
        let (method, form) = match route.method {
            Method::Get => ("GET", None),
            Method::Post => ("POST", Some(fields.as_str())),
        };
        for proof in [&browser, &program] {
            let answer = ask(app, method, path, proof, form).await;
            let status = answer.status();
            // A program's key opens the API alone, and sends no forms.
            let is_refused = status == StatusCode::NOT_FOUND
                || matches!(proof, Proof::Key(_)) && (is_turned_away(&answer) || status == StatusCode::FORBIDDEN);
            assert!(is_refused, "{method} {path}: {status}");
            let told = text(answer).await;
            assert!(!told.contains("ines@example.com") && !told.contains(&owner.name), "{method} {path}: {told}");
        }
    }
    let chosen = ask(app, "POST", "/calendar/choose", &browser, Some(&fields)).await;
    assert_eq!(chosen.status(), StatusCode::NOT_FOUND);
    ask(app, "POST", "/settings/keys/delete", &browser, Some(&fields)).await;
    assert_eq!(ask(app, "GET", "/api/v1/me", &key, None).await.status(), StatusCode::OK, "not theirs to delete");
    assert_eq!(ask(app, "GET", "/admin", &theirs[0], None).await.status(), StatusCode::OK, "signed in, and in office");
    running.assert_nothing_is_lost(&owner).await;
    running.assert_no_appointment_is_lost(&owner).await;
}

/// Another organization on the same Intail: its administrator, and an invitation that waits.
async fn another_organization(app: &App) -> (Person, Invitation) {
    let now = app.clock.now();
    let id = OrganizationId::new(&app.random);
    let theirs = Person {
        id: PersonId::new(&app.random),
        organization_id: id.clone(),
        issuer: app.config.signin.issuer.clone(),
        subject: "theirs".to_owned(),
        email: "olga@other.example".to_owned(),
        name: "Olga Other".to_owned(),
        role: Role::Administrator,
    };
    let mut tx = app.store.write().await.expect("a transaction");
    organizations::create(&mut tx, &id, "Other", now).await.expect("created");
    organizations::add_domain(&mut tx, &id, "other.example").await.expect("added");
    people::create(&mut tx, &theirs, now).await.expect("created");
    let by = By::person(&theirs, Origin::Unknown);
    let invited = inviting::invite(&mut tx, &id, "guest@firm.example", Role::Member, by, &app.random, now).await;
    let Ok(Invited::Invitation(invitation)) = invited else { panic!("{invited:?}") };
    tx.commit().await.expect("committed");
    (theirs, invitation)
}

#[tokio::test]
async fn nothing_is_done_without_the_sessions_own_form_token_or_from_elsewhere() {
    let running = Running::start().await;
    let app = &running.app;
    let member = running.sign_in("bjorn@example.com").await;
    let proof = session(app, &member).await;
    for route in ROUTES.iter().filter(|it| it.method == Method::Post && it.who != Who::Anyone) {
        let nobody = ask(app, "POST", route.path, &Proof::Nothing, None).await;
        assert_eq!(location(&nobody).as_deref(), Some("/signin"), "POST {}", route.path);
        for form in ["", "form_token=", "form_token=Zm9yZ2Vk", "form_token=%ff"] {
            let answer = ask(app, "POST", route.path, &proof, Some(form)).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "POST {} with {form:?}", route.path);
        }
    }
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let request = Request::post("/signin").header(name, value).body(Body::empty()).expect("a request");
        let answer = web::router(app.clone()).oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
}

#[tokio::test]
async fn people_see_their_own_and_nothing_of_others() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let (one, two) = (running.connected("ines@example.com").await, running.connected("kofi@example.com").await);
    let (of_one, thread) = {
        let mailbox = running.mailbox(&one).await;
        let message = running.stored(&one).await.into_values().next().expect("mail");
        (mailbox.id.to_string(), message)
    };
    let (mine, other) = (access_key(app, &one).await, access_key(app, &two).await);
    let pages = (session(app, &one).await, session(app, &two).await);
    for path in ["", "/labels", "/messages", &format!("/messages/{}", thread.id)] {
        let path = format!("/api/v1/mailboxes/{of_one}{path}");
        assert_eq!(ask(app, "GET", &path, &mine, None).await.status(), StatusCode::OK, "{path}");
        assert_eq!(ask(app, "GET", &path, &other, None).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let path = format!("/mail/thread/{}", thread.thread_id);
    assert_eq!(ask(app, "GET", &path, &pages.0, None).await.status(), StatusCode::OK);
    assert_eq!(ask(app, "GET", &path, &pages.1, None).await.status(), StatusCode::NOT_FOUND);
    let changes = text(ask(app, "GET", "/api/v1/changes?limit=500", &other, None).await).await;
    assert!(!changes.contains(&of_one), "another's changes are in the feed");
}

#[tokio::test]
async fn the_administrator_sees_states_and_counts_and_no_mail() {
    let running = Running::start().await;
    running.approve();
    let app = &running.app;
    let administrator = running.sign_in(ADMIN).await;
    set_role(app, &administrator, Role::Administrator).await;
    let person = running.connected("ines@example.com").await;
    let page = text(ask(app, "GET", "/admin", &session(app, &administrator).await, None).await).await;
    assert!(page.contains("ines@example.com") && page.contains("Approved"));
    for message in running.stored(&person).await.values().filter(|it| it.subject.len() > 12) {
        assert!(!page.contains(&message.subject), "the subject {:?} is in the administrator's page", message.subject);
    }
}

#[tokio::test]
async fn a_deleted_key_and_an_ended_session_open_nothing() {
    let running = Running::start().await;
    let app = &running.app;
    let member = running.sign_in("bjorn@example.com").await;
    let (key, signed_in) = (access_key(app, &member).await, session(app, &member).await);
    assert_eq!(ask(app, "GET", "/api/v1/me", &key, None).await.status(), StatusCode::OK);
    let Proof::Key(secret) = &key else { return };
    let mut tx = app.store.write().await.expect("a transaction");
    assert!(access_keys::delete(&mut tx, &member.id, &hash_token(secret)).await.expect("deleted"));
    tx.commit().await.expect("committed");
    assert_eq!(ask(app, "GET", "/api/v1/me", &key, None).await.status(), StatusCode::UNAUTHORIZED);
    running.pass(std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(ask(app, "GET", "/api/v1/me", &signed_in, None).await.status(), StatusCode::UNAUTHORIZED);
}

async fn set_role(app: &App, person: &Person, role: Role) {
    let mut tx = app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &person.id, role).await.expect("written");
    tx.commit().await.expect("committed");
}

//! Looking is a reason to look: whoever opens the calendar or the directory sees what Google has now, although Google
//! tells nobody; and however many pages are open, Google is asked no more often for it than once.

use std::time::Duration;

use axum::http::StatusCode;
use intail::app::App;
use intail::store::people::{self, Person, Role};
use intail_sandbox::faults::Rule;
use intail_sandbox::profile::DirectoryAction;
use serde_json::json;

use crate::access::{Proof, ask, form_token, location, session, text};
use crate::directory::row;
use crate::harness::running::{ADMIN, Running, Setup};

/// Longer than what makes a reading old for whoever looks, and shorter than the least time between two looks.
const A_LITTLE: Duration = Duration::from_secs(20);

async fn open(app: &App, path: &str, proof: &Proof) -> String {
    let answer = ask(app, "GET", path, proof, None).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    text(answer).await
}

/// Somebody whose calendars are copied and whose channels, where Google `tells` of changes, were all heard of.
async fn followed(tells: bool) -> (Running, Person) {
    let running = Running::start_with(Setup { tells, ..Setup::default() }).await;
    running.approve();
    let (email, _) = running.employees();
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    while running.take_calendar_notices().await > 0 {
        running.work().await;
    }
    running.settle_calendars(&person).await;
    (running, person)
}

/// Presses "Look now"; answers what one is told.
async fn press(app: &App, path: &str, back: &str, proof: &Proof) -> String {
    let token = form_token(app, proof).await;
    let back: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
    let form = format!("form_token={token}&back={back}");
    let answer = ask(app, "POST", path, proof, Some(&form)).await;
    location(&answer).unwrap_or_else(|| panic!("{}", answer.status()))
}

#[tokio::test]
async fn whoever_looks_at_the_calendar_sees_what_google_has_and_google_is_asked_once() {
    let running = Running::start().await;
    running.approve();
    let (email, _) = running.employees();
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    let proof = session(&running.app, &person).await;
    let event = json!({"title": "Boat trip", "start": "2026-11-23T09:00"});
    running.plan(&email, json!({"action": "create", "event": event}));
    let before = running.calls("calendar.events.list");
    running.work().await;
    assert_eq!(running.calls("calendar.events.list"), before, "nobody looks");
    running.pass(A_LITTLE);
    let followed = running.calendars(&person).await.iter().filter(|it| it.is_followed()).count();
    for _ in 0..5 {
        let page = open(&running.app, "/calendar?date=2026-11-23", &proof).await;
        assert!(page.contains("because this Intail has no public https address"), "{page}");
        assert!(page.contains("next at <time") && page.contains("data-again-every=\"20\""), "{page}");
    }
    running.work().await;
    assert_eq!(running.calls("calendar.events.list"), before + followed, "each calendar once");
    assert!(open(&running.app, "/calendar?date=2026-11-23", &proof).await.contains("Boat trip"));
    running.work().await;
    assert_eq!(running.calls("calendar.events.list"), before + followed, "a moment ago");
    // A button asks at once and for everything, and not again at once.
    running.pass(A_LITTLE);
    assert_eq!(
        press(&running.app, "/calendar/look", "/calendar?view=agenda", &proof).await,
        "/calendar?view=agenda&looked=now"
    );
    assert_eq!(press(&running.app, "/calendar/look", "https://evil.example/", &proof).await, "/calendar?looked=lately");
    running.work().await;
    assert_eq!(running.calls("calendar.events.list"), before + 2 * followed);
    let page = open(&running.app, "/calendar?looked=lately", &proof).await;
    assert!(page.contains("Intail looked a moment ago, or is looking."), "{page}");
}

#[tokio::test]
async fn a_calendar_that_was_added_to_the_list_is_there_for_whoever_looks() {
    for tells in [false, true] {
        let (running, person) = followed(tells).await;
        let email = &person.email;
        let proof = session(&running.app, &person).await;
        let has = async |calendar: &str| {
            running.work().await;
            running.calendars(&person).await.iter().any(|it| it.id == calendar && it.is_followed())
        };
        // By a button, at once.
        running.pass(A_LITTLE);
        let crew = running.plan(email, json!({"action": "create_calendar", "name": "Crew"}));
        assert!(!has(&crew).await, "nobody tells Intail of the list");
        assert_eq!(press(&running.app, "/calendar/look", "", &proof).await, "/calendar?looked=now");
        assert!(has(&crew).await, "tells: {tells}");
        while running.take_calendar_notices().await > 0 {
            running.work().await;
        }
        // By a page that is open, within minutes; then the list isn't read again for as long.
        let boats = running.plan(email, json!({"action": "create_calendar", "name": "Boats"}));
        running.pass(Duration::from_secs(6 * 60));
        open(&running.app, "/calendar", &proof).await;
        assert!(has(&boats).await, "tells: {tells}");
        if tells {
            while running.take_calendar_notices().await > 0 {
                running.work().await;
            }
            let before = running.calls("calendar.calendarList.list");
            running.pass(A_LITTLE);
            open(&running.app, "/calendar", &proof).await;
            running.work().await;
            assert_eq!(running.calls("calendar.calendarList.list"), before);
        }
    }
}

#[tokio::test]
async fn where_google_tells_of_changes_looking_asks_nothing_and_a_button_does() {
    let (running, person) = followed(true).await;
    running.pass(A_LITTLE);
    running.work().await;
    running.pass(A_LITTLE);
    let (proof, before) = (session(&running.app, &person).await, running.calls("calendar.events.list"));
    let page = open(&running.app, "/calendar", &proof).await;
    assert!(page.contains("Google tells of changes.") && page.contains("data-again-every=\"60\""), "{page}");
    running.work().await;
    assert_eq!(running.calls("calendar.events.list"), before);
    running.pass(A_LITTLE);
    assert_eq!(press(&running.app, "/calendar/look", "", &proof).await, "/calendar?looked=now");
    running.work().await;
    assert!(running.calls("calendar.events.list") > before);
}

#[tokio::test]
async fn what_stands_still_is_not_moved_by_looking() {
    let running = Running::start().await;
    running.approve();
    let (email, _) = running.employees();
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    let proof = session(&running.app, &person).await;
    running.world(|world| world.faults.add(Rule::status("calendar.events.list", 503)));
    running.pass(Duration::from_secs(40 * 60));
    running.work().await;
    assert!(running.agenda(&person).await.failures > 0);
    let due = running.agenda(&person).await.due_at;
    open(&running.app, "/calendar", &proof).await;
    assert_eq!(running.agenda(&person).await.due_at, due, "Google couldn't answer; it is tried again in its time");
    assert_eq!(press(&running.app, "/calendar/look", "", &proof).await, "/calendar?looked=not");
    let nobody = session(&running.app, &running.sign_in(ADMIN).await).await;
    for path in ["/calendar/look", "/directory/look"] {
        let form = format!("form_token={}", form_token(&running.app, &nobody).await);
        let answer = ask(&running.app, "POST", path, &nobody, Some(&form)).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}: they connected nothing");
    }
}

#[tokio::test]
async fn whoever_looks_at_the_directory_sees_what_google_has_and_nobody_goes_sooner_for_it() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected(ADMIN).await;
    let proof = session(&running.app, &person).await;
    let retitle = |title: &str| {
        let action = DirectoryAction::Edit {
            given_name: None,
            family_name: None,
            title: Some(title.to_owned()),
            department: None,
            manager: None,
            phone: None,
            unit: None,
            photo: None,
            hidden: None,
            archived: None,
            delegated_administrator: None,
        };
        running.world(|world| world.edit_directory("kofi@example.com", &action)).expect("it can be");
    };
    retitle("Head of Tea");
    running.pass(Duration::from_secs(120));
    let before = (row(&running, &person).await, running.calls("directory.users.list"));
    for _ in 0..5 {
        assert!(!open(&running.app, "/directory", &proof).await.contains("Head of Tea"));
    }
    running.work().await;
    assert!(open(&running.app, "/directory", &proof).await.contains("Head of Tea"));
    let after = row(&running, &person).await;
    assert_eq!(after.pass, before.0.pass + 1, "one pass");
    assert!(after.passed_at > before.0.passed_at);
    assert_eq!(after.counted_at, before.0.counted_at, "whom it didn't see doesn't count");
    let calls = running.calls("directory.users.list");
    assert!(calls > before.1);
    // A button asks sooner.
    retitle("Head of Coffee");
    assert_eq!(press(&running.app, "/directory/look", "/directory", &proof).await, "/directory?looked=lately");
    running.pass(A_LITTLE);
    open(&running.app, "/directory", &proof).await;
    running.work().await;
    assert_eq!(running.calls("directory.users.list"), calls, "looking alone isn't reason enough yet");
    assert_eq!(press(&running.app, "/directory/look", "/directory", &proof).await, "/directory?looked=now");
    running.work().await;
    assert!(open(&running.app, "/directory", &proof).await.contains("Head of Coffee"));
    // A pass at its time counts.
    crate::directory::passed(&running, &person).await;
    assert!(row(&running, &person).await.counted_at > after.counted_at);
}

#[tokio::test]
async fn administrators_see_how_calendars_and_the_directory_stand_and_never_what_is_in_them() {
    let running = Running::start().await;
    running.approve();
    let admin = running.connected(ADMIN).await;
    let (email, _) = running.employees();
    let person = running.connected(&email).await;
    running.settle_calendars(&person).await;
    let mut tx = running.app.store.write().await.expect("a transaction");
    people::set_role(&mut tx, &admin.id, Role::Administrator).await.expect("set");
    tx.commit().await.expect("committed");
    let proof = session(&running.app, &admin).await;
    let overview = open(&running.app, "/admin", &proof).await;
    assert!(overview.contains("id=\"directory-state\"") && overview.contains("Compared with Google every hour"));
    let theirs = format!("/admin/people/{}", person.id);
    let page = open(&running.app, &theirs, &proof).await;
    assert!(page.contains("id=\"calendars\"") && page.contains("calendars; Intail looks for changes<"), "{page}");
    assert!(!page.contains("Holidays"), "not which calendars: {page}");
    // What stands in the way is said there, too.
    running.world(|world| world.faults.add(Rule::status("calendar.events.list", 404)));
    running.pass(Duration::from_secs(40 * 60));
    running.work().await;
    let page = open(&running.app, &theirs, &proof).await;
    assert!(page.contains("; 2 calendars can’t be read"), "{page}");
}

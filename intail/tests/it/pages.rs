//! The pages as a browser without scripts sees them: signing in, connecting, reading, wrong turns, leaving. What
//! scripts add is in the browser test.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use futures::StreamExt as _;
use intail::app::App;
use intail::org::audit::Origin;
use intail::web;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::compose::Compose;
use tower::ServiceExt as _;
use url::Url;

use crate::access::{Proof, access_key, ask, location, session, text};
use crate::harness::generated;
use crate::harness::running::{Running, Ticks};

/// Pages that a test turns at most.
const PAGES_MAX: usize = 40;

#[test]
fn generated_api_description_is_true() {
    generated::check("docs/openapi.json", &web::api::description());
}

/// A browser: it keeps cookies and sends forms as pages made them.
pub(crate) struct Browser<'a> {
    app: &'a App,
    cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(app: &'a App) -> Self {
        Self { app, cookies: Vec::new() }
    }

    pub(crate) async fn send(&mut self, method: &str, address: &str, form: &str) -> Response<Body> {
        let path = address.strip_prefix("http://127.0.0.1:8080").unwrap_or(address);
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder().method(method).uri(path).header(header::COOKIE, cookies.join("; "));
        if method == "POST" {
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::ORIGIN, "http://127.0.0.1:8080");
        }
        let request = request.body(Body::from(form.to_owned())).expect("a request");
        let answer = web::router(self.app.clone()).oneshot(request).await.expect("an answer");
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().expect("text").split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    pub(crate) async fn page(&mut self, address: &str) -> String {
        text(self.send("GET", address, "").await).await
    }

    /// Sends a page's form, with what it carries and what the person adds.
    pub(crate) async fn press(&mut self, page: &str, action: &str, more: &str) -> Response<Body> {
        let token = between(page, "name=\"form_token\" value=\"", "\"").unwrap_or_default();
        self.send("POST", action, &format!("form_token={token}&{more}")).await
    }

    /// Signs in by Intail's button and Google's pages.
    pub(crate) async fn sign_in(&mut self, running: &Running, email: &str) {
        let answer = self.send("POST", "/signin", "return_to=%2Fsettings%2Fintegrations").await;
        let url = Url::parse(&location(&answer).expect("to the issuer")).expect("an address");
        let back = running.visit(email, url, Ticks::All).await.expect("back");
        let answer = self.send("GET", back.as_str(), "").await;
        assert_eq!(location(&answer).as_deref(), Some("/settings/integrations"));
    }

    /// Presses Connect, walks Google's pages, and comes back.
    pub(crate) async fn connect(&mut self, running: &Running, email: &str, ticks: Ticks<'_>) -> (Url, Response<Body>) {
        let page = self.page("/settings/integrations").await;
        let answer = self.press(&page, "/connect/google", "").await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let url = Url::parse(&location(&answer).expect("to Google")).expect("an address");
        let back = running.visit(email, url, ticks).await.expect("back");
        (back.clone(), self.send("GET", back.as_str(), "").await)
    }
}

pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

#[tokio::test]
async fn everybody_is_guarded_by_the_same_headers() {
    let running = Running::start().await;
    for path in ["/", "/signin", "/nothing", "/healthz", "/api/v1/me", "/mail"] {
        let answer = ask(&running.app, "GET", path, &Proof::Nothing, None).await;
        let says = |name: &str| answer.headers().get(name).map(|it| it.to_str().expect("text").to_owned());
        let policy = says("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains(&format!("form-action 'self' https: {}", running.sandbox.url())), "{path}: {policy}");
        assert_eq!(says("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(says("cache-control").as_deref(), Some("no-store"), "{path}");
    }
    let page = text(ask(&running.app, "GET", "/", &Proof::Nothing, None).await).await;
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick"));
    let style = between(&page, "rel=\"stylesheet\" href=\"", "\"").expect("a style sheet");
    let answer = ask(&running.app, "GET", style, &Proof::Nothing, None).await;
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
}

#[tokio::test]
async fn who_is_signed_in_stays_so_on_a_page_that_says_no() {
    let running = Running::start().await;
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "bjorn@example.com").await;
    for (path, status) in [
        ("/nothing", StatusCode::NOT_FOUND),
        ("/admin", StatusCode::FORBIDDEN),
        ("/approve/forged", StatusCode::NOT_FOUND),
        ("/connect/google/callback", StatusCode::BAD_REQUEST),
    ] {
        let answer = browser.send("GET", path, "").await;
        assert_eq!(answer.status(), status, "{path}");
        let page = text(answer).await;
        assert!(page.contains("Sign out") && !page.contains(">Sign in<"), "{path}: {page}");
        let strange = text(ask(&running.app, "GET", path, &Proof::Nothing, None).await).await;
        assert!(!strange.contains("Sign out"), "{path}");
    }
    let page = browser.page("/nothing").await;
    browser.press(&page, "/signout", "").await;
    assert!(browser.page("/nothing").await.contains(">Sign in<"), "signed out");
}

#[tokio::test]
async fn before_approval_the_card_gives_what_to_send_the_administrator() {
    let running = Running::start().await;
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "bjorn@example.com").await;
    let page = browser.page("/settings/integrations").await;
    let client_id = running.app.config.google.client.client_id.clone();
    for part in [
        "Google Workspace Individual",
        "Your administrator has to approve Intail first",
        &client_id,
        "Manage Third-Party App Access",
        "https://www.googleapis.com/auth/gmail.metadata",
        "https://www.googleapis.com/auth/calendar.readonly",
        "https://www.googleapis.com/auth/admin.directory.user.readonly",
        ">Connect</button>",
    ] {
        assert!(page.contains(part), "the card lacks {part}");
    }
    browser.press(&page, "/connect/google", "").await;
    running.pass(std::time::Duration::from_secs(60));
    let page = browser.page("/settings/integrations").await;
    assert!(page.contains("id=\"abandoned\""), "the abandoned attempt is explained");
}

#[tokio::test]
async fn connecting_ends_with_a_confirmation_that_names_the_account() {
    let running = Running::start().await;
    running.approve();
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "ines@example.com").await;
    let nobody = browser.page("/settings/integrations?done=connected").await;
    assert!(!nobody.contains("id=\"confirmation\""), "the address alone confirms nothing");

    let (back, answer) = browser.connect(&running, "ines@example.com", Ticks::All).await;
    assert_eq!(location(&answer).as_deref(), Some("/settings/integrations?done=connected"));
    let page = browser.page("/settings/integrations?done=connected").await;
    let told = between(&page, "id=\"confirmation\"", "</div>").expect("a confirmation");
    assert!(told.contains("Google said yes.") && told.contains("ines@example.com is connected as soon as"), "{told}");
    assert!(page.contains("data-again-every"), "the page looks by itself until then");
    // Promise 11: it is said of what every stream has proved.
    running.work().await;
    for _ in 0..100 {
        let page = browser.page("/settings/integrations?done=connected").await;
        let Some(told) = between(&page, "id=\"confirmation\"", "</div>") else { break };
        let is_connected = page.contains("Connected and live") || page.contains("Copying your mail");
        assert!(!told.contains("is connected.") || is_connected, "{told}");
        if told.contains("ines@example.com is connected.") {
            assert!(!page.contains("Being copied"), "every part is there: {page}");
            break;
        }
        running.pass(std::time::Duration::from_secs(2));
        running.work().await;
    }
    let page = browser.page("/settings/integrations?done=connected").await;
    assert!(page.contains("<strong>ines@example.com is connected.</strong>"), "{page}");
    running.settle().await;
    let page = browser.page("/settings/integrations").await;
    assert!(!page.contains("id=\"confirmation\""));
    assert!(page.contains("Connected and live") && page.contains("Without a gap since"));

    let again = browser.send("GET", back.as_str(), "").await;
    assert_eq!(again.status(), StatusCode::CONFLICT, "the back button is harmless");
    assert!(text(again).await.contains("This answer was used already"));
    assert!(browser.page("/settings/integrations").await.contains("Connected and live"));
}

#[tokio::test]
async fn a_missing_permission_is_named_with_a_button_to_add_it() {
    let running = Running::start().await;
    running.approve();
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "ines@example.com").await;
    let mail = ["https://www.googleapis.com/auth/gmail.metadata"];
    browser.connect(&running, "ines@example.com", Ticks::Only(&mail)).await;
    let page = browser.page("/settings/integrations").await;
    assert!(page.contains("Add what is missing") && page.contains("Without it Intail has no calendar for you"));
    let told = browser.page("/settings/integrations?done=connected").await;
    let told = between(&told, "id=\"confirmation\"", "</div>").expect("a confirmation").to_owned();
    assert!(told.contains("yes, in part") && told.contains("Left out: Calendar events, Directory"), "{told}");
    running.work().await;
    let told = browser.page("/settings/integrations?done=connected").await;
    assert!(told.contains("<strong>ines@example.com is connected in part.</strong>"), "{told}");
}

#[tokio::test]
async fn a_code_that_google_refuses_is_not_called_a_replay() {
    let running = Running::start().await;
    running.approve();
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "ines@example.com").await;
    let page = browser.page("/settings/integrations").await;
    let answer = browser.press(&page, "/connect/google", "").await;
    let url = Url::parse(&location(&answer).expect("to Google")).expect("an address");
    let state = url.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    let address = format!("/connect/google/callback?state={state}&code=never-given");
    let refused = browser.send("GET", &address, "").await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let told = text(refused).await;
    assert!(
        told.contains("Google no longer accepts its own answer") && told.contains("Connect again</button>"),
        "{told}"
    );
    assert!(text(browser.send("GET", &address, "").await).await.contains("This answer was used already"));
}

#[tokio::test]
async fn mail_that_is_not_read_is_not_awaited() {
    let running = Running::start().await;
    running.approve();
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "ines@example.com").await;
    let calendar = ["https://www.googleapis.com/auth/calendar.readonly"];
    browser.connect(&running, "ines@example.com", Ticks::Only(&calendar)).await;
    let page = browser.page("/mail").await;
    assert!(page.contains("Mail isn’t permitted") && !page.contains("appears by itself"), "{page}");
}

#[tokio::test]
async fn each_wrong_turn_has_its_page_with_one_thing_to_do_and_a_reference() {
    let running = Running::start().await;
    running.approve();
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "ines@example.com").await;
    let (_, denied) = browser.connect(&running, "ines@example.com", Ticks::Cancel).await;
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    let page = text(denied).await;
    assert!(page.contains("You said no at Google") && page.contains("Connect again</button>"));
    let reference = between(&page, "id=\"reference\">", "<").expect("a reference");
    assert_eq!(reference.len(), 10);
    for (address, status, words) in [
        ("/connect/google/callback?state=forged&code=x", StatusCode::BAD_REQUEST, "begin at Intail"),
        ("/connect/google/callback", StatusCode::BAD_REQUEST, "incomplete"),
        ("/connect/google/callback?state=a&state=b", StatusCode::BAD_REQUEST, "be understood"),
        ("/signin/callback?state=forged&code=x", StatusCode::BAD_REQUEST, "begin at Intail"),
        ("/mail?after=nonsense", StatusCode::BAD_REQUEST, "be understood"),
        ("/mail/thread/%ff", StatusCode::BAD_REQUEST, "be understood"),
        ("/mail/thread/none", StatusCode::NOT_FOUND, "there"),
        ("/activity?before=x", StatusCode::BAD_REQUEST, "be understood"),
        ("/nothing/here", StatusCode::NOT_FOUND, "no such page"),
    ] {
        let answer = browser.send("GET", address, "").await;
        assert_eq!(answer.status(), status, "{address}");
        let page = text(answer).await;
        assert!(page.contains(words) && page.contains("id=\"reference\""), "{address}: {page}");
    }
    assert_eq!(browser.send("POST", "/mail", "").await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_callback_in_another_browser_connects_nothing() {
    let running = Running::start().await;
    running.approve();
    let (mut one, mut other) = (Browser::new(&running.app), Browser::new(&running.app));
    one.sign_in(&running, "ines@example.com").await;
    other.sign_in(&running, "ines@example.com").await;
    let page = one.page("/settings/integrations").await;
    let answer = one.press(&page, "/connect/google", "").await;
    let url = Url::parse(&location(&answer).expect("to Google")).expect("an address");
    let back = running.visit("ines@example.com", url, Ticks::All).await.expect("back");
    assert_eq!(other.send("GET", back.as_str(), "").await.status(), StatusCode::FORBIDDEN);
    let finished = one.send("GET", back.as_str(), "").await;
    assert_eq!(finished.status(), StatusCode::SEE_OTHER, "the right browser can still finish");
}

#[tokio::test]
async fn mail_is_listed_newest_first_and_every_message_is_reached_once() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected("ines@example.com").await;
    let proof = session(&running.app, &person).await;
    let mut address = "/mail".to_owned();
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = text(ask(&running.app, "GET", &address, &proof, None).await).await;
        let list = between(&page, "<ol class=\"rows\">", "</ol>").expect("a list");
        seen.extend(list.split("data-key=\"").skip(1).filter_map(|it| Some(it.split_once('"')?.0.to_owned())));
        match between(&page, "id=\"older\" href=\"", "\"") {
            Some(older) => address = older.replace("&amp;", "&").replace("&#38;", "&"),
            None => break,
        }
    }
    let mut stored: Vec<_> = running.stored(&person).await.into_values().collect();
    stored.sort_by(|one, two| (two.received_ms, &two.id).cmp(&(one.received_ms, &one.id)));
    let expected: Vec<String> = stored.iter().map(|it| it.id.clone()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn hostile_headers_stay_text_on_every_page() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected("ines@example.com").await;
    let hostile = "</title><script>alert(1)</script><img src=x onerror=alert(2)>";
    let done = running.act(
        "ines@example.com",
        MailAction::Receive {
            from: Some(format!("\"{hostile}\" <eve@evil.example>")),
            compose: Some(Compose { subject: hostile.to_owned(), ..Compose::default() }),
            headers: None,
            label_ids: None,
            thread_id: None,
            internal_date_ms: None,
            count: 1,
        },
    );
    running.settle().await;
    let message = running.stored(&person).await.remove(&done.ids[0]).expect("it arrived");
    let proof = session(&running.app, &person).await;
    for path in ["/mail".to_owned(), "/activity".to_owned(), format!("/mail/thread/{}", message.thread_id)] {
        let page = text(ask(&running.app, "GET", &path, &proof, None).await).await;
        assert!(page.contains("alert(1)"), "{path} shows it");
        assert!(!page.contains("<script>") && !page.contains("<img src=x"), "{path} takes it for markup");
    }
}

#[tokio::test]
async fn the_stream_tells_of_a_change_and_ends_when_the_person_leaves() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected("ines@example.com").await;
    let proof = access_key(&running.app, &person).await;
    let answer = ask(&running.app, "GET", "/api/v1/changes/stream", &proof, None).await;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut stream = answer.into_body().into_data_stream();
    running.act("ines@example.com", MailAction::sample());
    running.work().await;
    let added = told(&mut stream, "event: message.added").await;
    let id = between(&added, "id: ", "\n").expect("a number").to_owned();

    intail::connect::leave(&running.app, &person, Origin::Unknown).await.expect("left");
    told(&mut stream, "event: end").await;
    let gone = ask(&running.app, "GET", &format!("/api/v1/changes/stream?after={id}"), &proof, None).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

/// Reads a stream until it has told something.
pub(crate) async fn told(stream: &mut axum::body::BodyDataStream, what: &str) -> String {
    let mut heard = String::new();
    while let Some(part) = stream.next().await {
        heard.push_str(&String::from_utf8_lossy(&part.expect("the stream goes on")));
        if heard.contains(what) {
            return heard;
        }
    }
    panic!("the stream ended without {what}: {heard}");
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected("ines@example.com").await;
    let proof = access_key(&running.app, &person).await;
    let feed = running.feed(&person).await;
    let from = feed[feed.len() - 4].seq;
    let answer = ask(&running.app, "GET", &format!("/api/v1/changes/stream?after={from}"), &proof, None).await;
    let mut stream = answer.into_body().into_data_stream();
    let heard = told(&mut stream, &format!("id: {}\n", feed[feed.len() - 1].seq)).await;
    assert_eq!(heard.matches("\nid: ").count() + usize::from(heard.starts_with("id: ")), 3, "{heard}");
}

#[tokio::test]
async fn what_the_person_does_is_told_in_words() {
    let running = Running::start().await;
    running.approve();
    let person = running.connected("ines@example.com").await;
    let id = running.act("ines@example.com", MailAction::sample()).ids.remove(0);
    running.settle().await;
    for action in [
        MailAction::Star(One { id: id.clone() }),
        MailAction::Read(One { id: id.clone() }),
        MailAction::Archive(One { id: id.clone() }),
        MailAction::Trash(One { id }),
    ] {
        running.act("ines@example.com", action);
        running.settle().await;
    }
    let page = text(ask(&running.app, "GET", "/activity", &session(&running.app, &person).await, None).await).await;
    for words in ["New message from ", ">Starred<", ">Marked as read<", ">Archived<", ">Moved to Trash<"] {
        assert!(page.contains(words), "the activity page lacks {words}");
    }
}

#[tokio::test]
async fn disconnecting_says_what_was_done_and_reconnecting_works() {
    let running = Running::start().await;
    running.approve();
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "ines@example.com").await;
    browser.connect(&running, "ines@example.com", Ticks::All).await;
    running.settle().await;
    let asked = browser.page("/settings/integrations/disconnect").await;
    assert!(asked.contains("Disconnect ines@example.com?"));
    let answer = browser.press(&asked, "/disconnect/google", "").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER, "a reload sends nothing again");
    let receipt = location(&answer).expect("to what was done");
    let done = browser.page(&receipt).await;
    assert!(done.contains("You are disconnected") && done.contains("Permission given back"), "{done}");
    let twice = browser.press(&asked, "/disconnect/google", "").await;
    assert_eq!(twice.status(), StatusCode::NOT_FOUND, "a second press changes nothing");
    assert!(browser.page("/mail").await.contains("Nothing is connected"));
    let (_, answer) = browser.connect(&running, "ines@example.com", Ticks::All).await;
    assert_eq!(location(&answer).as_deref(), Some("/settings/integrations?done=connected"));
    assert!(browser.page(&receipt).await.contains("You are disconnected"), "it says what was done then");
    let log = browser.page("/activity").await;
    assert!(log.contains("What was copied of your mail was erased"), "{log}");
    let mut other = Browser::new(&running.app);
    other.sign_in(&running, "kofi@example.com").await;
    assert_eq!(other.send("GET", &receipt, "").await.status(), StatusCode::NOT_FOUND, "another's isn't there");
}

#[tokio::test]
async fn an_access_key_is_shown_once_and_opens_the_api_until_it_is_deleted() {
    let running = Running::start().await;
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "bjorn@example.com").await;
    let page = browser.page("/settings/keys").await;
    let made = text(browser.press(&page, "/settings/keys", "name=%3Cb%3Edash").await).await;
    let key = between(&made, "id=\"key\">", "<").expect("the key").to_owned();
    assert!(key.starts_with("intail_") && !made.contains("<b>dash"));
    let again = browser.press(&page, "/settings/keys", "name=%3Cb%3Edash").await;
    assert_eq!(again.status(), StatusCode::OK);
    let again = text(again).await;
    assert!(again.contains("id=\"made-already\"") && !again.contains("intail_"), "a reload makes no second key");
    assert_eq!(again.matches("name=\"key\" value=\"").count(), 1);
    let page = browser.page("/settings/keys").await;
    assert!(!page.contains(&key), "it is shown once");
    let second = text(browser.press(&page, "/settings/keys", "name=%3Cb%3Edash").await).await;
    assert!(second.contains("id=\"key\">"), "another form makes another key, also of the same name");
    let newest = between(&second, "name=\"key\" value=\"", "\"").expect("a key").to_owned();
    let old = second.rsplit_once("name=\"key\" value=\"").expect("another").1.split('"').next().expect("a key");
    let extra = if page.contains(&newest) { old.to_owned() } else { newest };
    browser.press(&second, "/settings/keys/delete", &format!("key={extra}")).await;
    let proof = Proof::Key(key);
    assert_eq!(ask(&running.app, "GET", "/api/v1/me", &proof, None).await.status(), StatusCode::OK);
    let hash = between(&page, "name=\"key\" value=\"", "\"").expect("a key to delete").to_owned();
    browser.press(&page, "/settings/keys/delete", &format!("key={hash}")).await;
    let refused = ask(&running.app, "GET", "/api/v1/me", &proof, None).await;
    assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_signing_in_changes_it() {
    let running = Running::start().await;
    let mut browser = Browser::new(&running.app);
    browser.sign_in(&running, "bjorn@example.com").await;
    let before = browser.cookies.clone();
    let page = browser.page("/settings/integrations").await;
    browser.press(&page, "/signout", "").await;
    browser.cookies = before.clone();
    let answer = browser.send("GET", "/mail?label=INBOX", "").await;
    assert_eq!(location(&answer).as_deref(), Some("/signin?return_to=%2Fmail%3Flabel%3DINBOX"));
    browser.sign_in(&running, "bjorn@example.com").await;
    let token = |cookies: &[(String, String)]| cookies.iter().find(|it| it.0 == "intail-session").cloned();
    assert_ne!(token(&browser.cookies), token(&before), "a planted token never becomes a session");
}

#[tokio::test]
async fn machines_are_told_how_it_is_without_a_word_about_people() {
    let running = Running::start().await;
    running.approve();
    running.connected("ines@example.com").await;
    assert_eq!(text(ask(&running.app, "GET", "/healthz", &Proof::Nothing, None).await).await, "alive\n");
    let ready = text(ask(&running.app, "GET", "/readyz", &Proof::Nothing, None).await).await;
    assert!(ready.contains("\"ready\":true"), "{ready}");
    let metrics = text(ask(&running.app, "GET", "/metrics", &Proof::Nothing, None).await).await;
    assert!(metrics.contains("intail_mailboxes{state=\"live\"} 1"), "{metrics}");
    assert!(!metrics.contains("ines") && !metrics.contains('@'), "{metrics}");
}

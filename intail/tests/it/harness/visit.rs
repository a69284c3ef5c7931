//! A person's browser at the false Google: walks its pages from the application's link to the application's callback.

use axum::body::{Body, to_bytes};
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{Method, Request};
use intail_sandbox::Sandbox;
use url::Url;
use url::form_urlencoded::Serializer;

/// Where the product says it is. Nobody listens there: callbacks are handed over by the test.
pub(crate) const PRODUCT: &str = "http://127.0.0.1:8080";
/// The same where Google can reach it with notices of calendars. Nobody listens there either: whoever steers the false
/// Google takes the notices and hands them over.
pub(crate) const REACHABLE: &str = "https://127.0.0.1:9";
/// The largest page that is read.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Chooser, consent, and the way back: never more pages than this.
const PAGES_MAX: usize = 6;

/// What a person ticks at Google.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ticks<'a> {
    All,
    Only(&'a [&'a str]),
    Cancel,
}

/// Walks Google's pages; answers the callback's address, or nothing if Google kept the person.
pub(crate) async fn walk(sandbox: &Sandbox, email: &str, url: Url, ticks: Ticks<'_>) -> Option<Url> {
    let origin = Url::parse(sandbox.url()).expect("an address");
    let cookie = sandbox.world(|world| {
        let sub = world.identity.person_by_email(email).expect("a person of the world").sub.clone();
        let cookie = world.identity.new_browser();
        world.identity.sign_in(&cookie, &sub);
        cookie
    });
    let ask = async |method: Method, url: &str, form: Option<Vec<(String, String)>>| {
        let body = form.map(|form| Serializer::new(String::new()).extend_pairs(form).finish());
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(COOKIE, format!("sandbox_browser={cookie}"))
            .header(HOST, sandbox.address().to_string())
            .header(ORIGIN, sandbox.url())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.map_or_else(Body::empty, Body::from));
        let answer = sandbox.answer(request.expect("a request")).await;
        assert!(answer.headers().get(SET_COOKIE).is_none(), "the browser was known already");
        let location = answer.headers().get(LOCATION).map(|it| it.to_str().expect("an address").to_owned());
        let page = to_bytes(answer.into_body(), PAGE_BYTES_MAX).await.expect("a page");
        (location, String::from_utf8_lossy(&page).into_owned())
    };
    let mut seen = ask(Method::GET, url.as_str(), None).await;
    for _ in 0..PAGES_MAX {
        let (location, page) = seen;
        if let Some(location) = location {
            let next = origin.join(&location).expect("an address");
            if [PRODUCT, REACHABLE].iter().any(|it| next.as_str().starts_with(it)) {
                return Some(next);
            }
            seen = ask(Method::GET, next.as_str(), None).await;
            continue;
        }
        let transaction = value_after(&page, "name=\"transaction\" value=\"")?;
        let (path, form) = if page.contains("id=\"consent\"") {
            ("/signin/oauth/consent", consent_form(&page, &transaction, ticks))
        } else {
            let account = account_of(&page, email);
            ("/signin/oauth/chooser", vec![("transaction".to_owned(), transaction), ("account".to_owned(), account)])
        };
        seen = ask(Method::POST, origin.join(path).expect("an address").as_str(), Some(form)).await;
    }
    panic!("Google's pages never ended");
}

fn value_after(page: &str, mark: &str) -> Option<String> {
    let (_, rest) = page.split_once(mark)?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

fn account_of(page: &str, email: &str) -> String {
    let (before, _) = page.split_once(&format!("data-email=\"{email}\"")).expect("the account is offered");
    let (_, value) = before.rsplit_once("name=\"account\" value=\"").expect("a button");
    value.split_once('"').expect("a value").0.to_owned()
}

fn consent_form(page: &str, transaction: &str, ticks: Ticks<'_>) -> Vec<(String, String)> {
    let mut form = vec![("transaction".to_owned(), transaction.to_owned())];
    let answer = if matches!(ticks, Ticks::Cancel) { "cancel" } else { "allow" };
    for offered in page.split("type=\"checkbox\" name=\"scope\" value=\"").skip(1) {
        let scope = offered.split_once('"').expect("a value").0;
        let ticked = match ticks {
            Ticks::All => true,
            Ticks::Only(scopes) => scopes.contains(&scope),
            Ticks::Cancel => false,
        };
        if ticked {
            form.push(("scope".to_owned(), scope.to_owned()));
        }
    }
    form.push(("answer".to_owned(), answer.to_owned()));
    form
}

//! Cookies: the session's, and the browser's own that ties an authorization to the browser that began it.
//!
//! On https both carry the `__Host-` prefix: only this host can set them, only over https, for every path. On plain
//! http, which is possible on loopback only, browsers refuse that prefix, so the bare names are used.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header, uri};
use axum::middleware::Next;
use axum::response::{AppendHeaders, IntoResponse as _, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;

use super::Web;
use crate::config::PublicUrl;
use crate::random::Random;
use crate::seal::hash_token;
use crate::store::people::Person;
use crate::store::{StoreError, sessions};

/// How long a session lasts, whatever its person does: 14 days.
const SESSION_TIME_MAX: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long a browser is recognized between the beginning and the end of an authorization.
const BROWSER_TIME_MAX: SignedDuration = SignedDuration::from_hours(24);
/// How long a browser's time zone is remembered: as long as browsers keep anything.
const ZONE_TIME_MAX: SignedDuration = SignedDuration::from_hours(400 * 24);
/// The longest cookie value that is looked at; ours have 43 characters.
const TOKEN_LENGTH_MAX: usize = 128;
/// The longest local address that a person is sent back to.
const RETURN_LENGTH_MAX: usize = 512;

const SESSION: &str = "intail-session";
const BROWSER: &str = "intail-browser";
const ZONE: &str = "intail-zone";

/// A `Set-Cookie` header.
pub(super) type SetCookie = AppendHeaders<[(header::HeaderName, String); 1]>;

/// The session's token that a request carries.
pub(super) fn token(web: &Web, headers: &HeaderMap) -> Option<String> {
    value(&web.app.config.server.public_url, headers, SESSION)
}

/// Opens a session for a person who has just proved who they are. A session that the browser had before ends: a token
/// that somebody planted there earlier must not become this person's.
pub(super) async fn open(web: &Web, headers: &HeaderMap, person: &Person) -> Result<SetCookie, StoreError> {
    let (app, now) = (&web.app, web.app.clock.now());
    let (fresh, form_token) = (app.random.token(), app.random.token());
    let expires_at = now.saturating_add(SESSION_TIME_MAX).unwrap_or(now);
    let mut tx = app.store.write().await?;
    if let Some(old) = token(web, headers) {
        sessions::close(&mut tx, &hash_token(&old)).await?;
    }
    sessions::sweep(&mut tx, now).await?;
    sessions::open(&mut tx, &hash_token(&fresh), &person.id, &form_token, now, expires_at).await?;
    tx.commit().await?;
    Ok(set(&app.config.server.public_url, SESSION, fresh, SESSION_TIME_MAX))
}

/// The cookie that makes the browser forget its session.
pub(super) fn forget(web: &Web) -> SetCookie {
    set(&web.app.config.server.public_url, SESSION, String::new(), SignedDuration::ZERO)
}

/// The hash of the browser's own cookie; empty when it has none, which matches no attempt.
pub(super) fn browser_hash(web: &Web, headers: &HeaderMap) -> String {
    value(&web.app.config.server.public_url, headers, BROWSER).map_or_else(String::new, |it| hash_token(&it))
}

/// The same for a browser that begins an authorization: it gets a cookie if it has none, and keeps the one that it
/// has, so that two tabs don't spoil each other's attempts.
pub(super) fn recognize_browser(web: &Web, headers: &HeaderMap) -> (String, SetCookie) {
    let public_url = &web.app.config.server.public_url;
    let token = value(public_url, headers, BROWSER).unwrap_or_else(|| web.app.random.token());
    (hash_token(&token), set(public_url, BROWSER, token, BROWSER_TIME_MAX))
}

/// The time zone that this browser chose for its pages, as it was written then.
pub(super) fn zone(web: &Web, headers: &HeaderMap) -> Option<String> {
    value(&web.app.config.server.public_url, headers, ZONE)
}

/// The cookie that remembers a time zone; none forgets it.
pub(super) fn remember_zone(web: &Web, zone: Option<&str>) -> SetCookie {
    let lasts = if zone.is_some() { ZONE_TIME_MAX } else { SignedDuration::ZERO };
    set(&web.app.config.server.public_url, ZONE, zone.unwrap_or_default().to_owned(), lasts)
}

fn name(public_url: &PublicUrl, bare: &str) -> String {
    if public_url.is_https() { format!("__Host-{bare}") } else { bare.to_owned() }
}

fn value(public_url: &PublicUrl, headers: &HeaderMap, bare: &str) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    let value = jar.get(&name(public_url, bare))?.value();
    (!value.is_empty() && value.len() <= TOKEN_LENGTH_MAX).then(|| value.to_owned())
}

fn set(public_url: &PublicUrl, bare: &str, value: String, lasts: SignedDuration) -> SetCookie {
    let cookie = Cookie::build((name(public_url, bare), value))
        .path("/")
        .http_only(true)
        .secure(public_url.is_https())
        .same_site(SameSite::Lax)
        .build();
    AppendHeaders([(header::SET_COOKIE, format!("{cookie}; Max-Age={}", lasts.as_secs()))])
}

/// The form token as a page shows it: different every time, so that the size of a compressed page, in which strangers'
/// subjects stand too, tells nothing of it.
pub(super) fn mask(random: &Random, form_token: &str) -> String {
    let mut bytes = vec![0u8; form_token.len()];
    random.fill(&mut bytes);
    let masked: Vec<u8> = bytes.iter().zip(form_token.bytes()).map(|(pad, byte)| pad ^ byte).collect();
    bytes.extend(masked);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The form token behind what a page showed.
pub(super) fn unmask(shown: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(shown).ok().filter(|bytes| !bytes.is_empty() && bytes.len() % 2 == 0)?;
    let (pad, masked) = bytes.split_at(bytes.len() / 2);
    String::from_utf8(pad.iter().zip(masked).map(|(pad, byte)| pad ^ byte).collect()).ok()
}

/// Where somebody who must sign in first is sent.
pub(super) fn sign_in_address(return_to: &str) -> String {
    match local(return_to) {
        "/" => "/signin".to_owned(),
        path => {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", path).finish();
            format!("/signin?{query}")
        }
    }
}

/// An address of Intail's own, or the front page if it is any other.
pub(super) fn local(address: &str) -> &str {
    let ours = address.starts_with('/')
        && !address.starts_with("//")
        && address.len() <= RETURN_LENGTH_MAX
        && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours { address } else { "/" }
}

/// Sends browsers that came by another name of the same loopback address to the one that cookies and callbacks belong
/// to: `localhost` and `127.0.0.1` reach the same listener and share no cookies.
pub(super) async fn at_the_public_address(State(web): State<Web>, request: Request, next: Next) -> Response {
    match elsewhere(&web.app.config.server.public_url, &request) {
        Some(address) => Redirect::temporary(&address).into_response(),
        None => next.run(request).await,
    }
}

fn elsewhere(public_url: &PublicUrl, request: &Request) -> Option<String> {
    let text = |name| request.headers().get(name).and_then(|it: &HeaderValue| it.to_str().ok());
    let opens_a_page = request.method() == Method::GET && text(header::ACCEPT)?.contains("text/html");
    let public = other_name(public_url, text(header::HOST)?).filter(|_| opens_a_page)?;
    let path = request.uri().path_and_query().map_or("/", uri::PathAndQuery::as_str);
    Some(format!("{public}{path}"))
}

fn other_name<'a>(public_url: &'a PublicUrl, host: &str) -> Option<&'a str> {
    let ours: Uri = public_url.as_str().parse().ok()?;
    let (ours_host, ours_port) = (ours.host()?, ours.port_u16()?);
    let theirs: uri::Authority = host.parse().ok()?;
    let loopback = |name: &str| matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let same_listener = loopback(theirs.host()) && loopback(ours_host) && theirs.port_u16() == Some(ours_port);
    (same_listener && theirs.host() != ours_host).then(|| public_url.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(public_url: &str) -> String {
        let public_url = PublicUrl::parse(public_url).expect("a public address");
        let AppendHeaders([(_, cookie)]) = set(&public_url, SESSION, "abc".to_owned(), SESSION_TIME_MAX);
        cookie
    }

    #[test]
    fn cookies_carry_the_host_prefix_on_https_only() {
        assert_eq!(
            cookie("https://intail.example.com"),
            "__Host-intail-session=abc; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=1209600"
        );
        assert_eq!(
            cookie("http://127.0.0.1:8080"),
            "intail-session=abc; HttpOnly; SameSite=Lax; Path=/; Max-Age=1209600"
        );
    }

    #[test]
    fn a_cookie_of_the_wrong_name_or_length_is_no_cookie() {
        let public_url = PublicUrl::parse("https://intail.example.com").expect("a public address");
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("intail-session=bare; __Host-intail-session=ours"));
        assert_eq!(value(&public_url, &headers, SESSION).as_deref(), Some("ours"));
        let long = format!("__Host-intail-session={}", "x".repeat(TOKEN_LENGTH_MAX + 1));
        headers.insert(header::COOKIE, HeaderValue::from_str(&long).expect("a header"));
        assert_eq!(value(&public_url, &headers, SESSION), None);
    }

    #[test]
    fn a_form_token_looks_different_every_time_and_comes_back() {
        let random = Random::seeded(1);
        let token = random.token();
        let (one, two) = (mask(&random, &token), mask(&random, &token));
        assert_ne!(one, two);
        assert_eq!(unmask(&one).as_deref(), Some(token.as_str()));
        assert_eq!(unmask(&two).as_deref(), Some(token.as_str()));
        assert_eq!(unmask("not base64!"), None);
        assert_eq!(unmask(""), None);
    }

    #[test]
    fn people_are_sent_back_to_intails_own_addresses_only() {
        assert_eq!(local("/mail?label=INBOX"), "/mail?label=INBOX");
        for foreign in ["//evil.example", "/\\evil.example", "https://evil.example", "mail", "", "/a\r\nb", "/ä"] {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
        assert_eq!(sign_in_address("/mail?label=INBOX"), "/signin?return_to=%2Fmail%3Flabel%3DINBOX");
        assert_eq!(sign_in_address("//evil.example"), "/signin");
    }

    #[test]
    fn another_name_of_the_same_listener_is_sent_to_the_public_one() {
        let public_url = PublicUrl::parse("http://127.0.0.1:8080").expect("a public address");
        assert_eq!(other_name(&public_url, "localhost:8080"), Some("http://127.0.0.1:8080"));
        assert_eq!(other_name(&public_url, "127.0.0.1:8080"), None);
        assert_eq!(other_name(&public_url, "localhost:9090"), None);
        assert_eq!(other_name(&public_url, "intail.example.com:8080"), None);
    }
}

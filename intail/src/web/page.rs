//! What all pages share: the frame around their content, and the headers that keep them safe.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};
use url::Url;

use super::access::{Caller, Via};
use super::assets::ASSETS;
use super::trouble::{self, Trouble};
use super::words::{When, counted};
use super::{Web, approval, header as pair, session};
use crate::config::Config;
use crate::store::approval_waits::Standing;
use crate::store::organizations::Approval;
use crate::store::people::Role;

/// The frame around a page's content.
pub(super) struct Shell {
    /// What the page is about, for the window's title.
    pub(super) title: String,
    /// The entry of the navigation that the page belongs to.
    pub(super) area: &'static str,
    /// Who is signed in.
    pub(super) person: Option<Signed>,
    /// What the page's forms carry; empty when nobody is signed in.
    pub(super) form_token: String,
    /// The stream that the page follows, from where it stands.
    pub(super) stream: Option<String>,
    /// How the person stands: a stream tells when that has changed since.
    pub(super) standing: Option<Standing>,
    /// Whether the approval that the person waits for is there, and they haven't connected yet.
    pub(super) may_connect_now: bool,
    /// What an administrator is told while Google keeps Intail out.
    pub(super) blocked: Option<Blocked>,
    /// What an administrator is asked for while Google has said nothing.
    pub(super) wanted: Option<Wanted>,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    pub(super) mark: &'static str,
}

/// Who is signed in, as the frame shows it.
pub(super) struct Signed {
    pub(super) name: String,
    pub(super) email: String,
    /// Whether the pages of the administration are theirs to read.
    pub(super) oversees: bool,
}

/// Google keeps Intail out, and this person is an administrator: whoever can mend it is asked, on every page.
pub(super) struct Blocked {
    /// Since when.
    pub(super) since: When,
    /// Where it says what to do.
    pub(super) guide: String,
}

fn blocked(web: &Web, caller: &Caller) -> Option<Blocked> {
    let standing = caller.standing.filter(|it| it.approval == Approval::Blocked)?;
    let guide = Some(&caller.person).filter(|it| it.role == Role::Administrator)?;
    let guide = approval::address(web, &guide.organization_id)?;
    Some(Blocked { since: When::full(standing.approval_since), guide })
}

/// Something looks as if only an administrator could mend it, and this person is one: people whom Google seems to keep,
/// or who wait to be let in. Nobody comes back from Google's usual page of a block, so this is how it mostly shows.
pub(super) struct Wanted {
    /// What it is, in a few words.
    pub(super) title: String,
    /// What it rests on.
    pub(super) text: String,
    /// Where it says what to do.
    pub(super) guide: String,
}

fn wanted(web: &Web, caller: &Caller) -> Option<Wanted> {
    let (standing, signs) = (caller.standing?, caller.signs?);
    let guide = approval::address(web, &caller.person.organization_id)?;
    if let Some(guess) = &signs.guess {
        let title = "Google may be keeping Intail out of your organization.".to_owned();
        return Some(Wanted { title, text: format!("A guess: {}", approval::guessed(guess)), guide });
    }
    // Administrators know that they wait themselves.
    let others = signs.waiting - i64::from(standing.waits_since.is_some());
    (standing.approval != Approval::Approved && others > 0).then(|| Wanted {
        title: format!("{} for Intail to be approved.", counted(others, "person waits", "people wait")),
        text: "Google has let in nobody of your organization yet.".to_owned(),
        guide,
    })
}

/// The address of the live stream.
const STREAM: &str = "/api/v1/changes/stream";

impl Shell {
    /// The frame for whoever asks.
    pub(super) fn new(web: &Web, caller: Option<&Caller>, area: &'static str, title: impl Into<String>) -> Self {
        let form_token = match caller.map(|it| &it.via) {
            Some(Via::Session { form_token, .. }) => session::mask(&web.app.random, form_token),
            _ => String::new(),
        };
        Self {
            title: title.into(),
            area,
            person: caller.map(|it| Signed {
                name: if it.person.name.is_empty() { it.person.email.clone() } else { it.person.name.clone() },
                email: it.person.email.clone(),
                oversees: it.person.oversees(),
            }),
            form_token,
            stream: caller.and_then(stream_of_waiting),
            standing: caller.and_then(|it| it.standing),
            may_connect_now: caller.is_some_and(|it| waits(it).is_some_and(|it| it.approval == Approval::Approved)),
            blocked: caller.and_then(|it| blocked(web, it)),
            wanted: caller.and_then(|it| wanted(web, it)),
            style: &ASSETS.style.address,
            script: &ASSETS.live.address,
            mark: &ASSETS.mark.address,
        }
    }

    /// The same frame for a page that follows the person's feed: nothing that happens between its reading and its
    /// script's start is missed.
    pub(super) fn following(self, after: i64, there_is_a_feed: bool) -> Self {
        let standing = self.standing.map_or_else(String::new, |it| format!("&standing={}", it.word()));
        let stream = there_is_a_feed.then(|| format!("{STREAM}?after={after}{standing}"));
        Self { stream: stream.or(self.stream), ..self }
    }
}

/// How a person stands who wanted to connect before the approval and hasn't connected.
fn waits(caller: &Caller) -> Option<Standing> {
    caller.standing.filter(|it| it.waits_since.is_some() && !it.is_connected())
}

/// Who waits for the approval is told at once, whatever page is open.
fn stream_of_waiting(caller: &Caller) -> Option<String> {
    let standing = waits(caller)?;
    (standing.approval != Approval::Approved).then(|| format!("{STREAM}?standing={}", standing.word()))
}

/// A page, put together.
pub(super) fn html(page: &impl Template) -> Result<Response, Trouble> {
    page.render().map(|text| Html(text).into_response()).map_err(trouble::unexpected)
}

/// The headers that every answer carries.
pub(super) fn guards(config: &Config) -> HeaderMap {
    let mut guards: HeaderMap = [
        pair("x-content-type-options", "nosniff"),
        pair("x-frame-options", "DENY"),
        // With `no-referrer` browsers would send `Origin: null` with our own forms.
        pair("referrer-policy", "same-origin"),
        pair("cross-origin-opener-policy", "same-origin"),
        pair("cross-origin-resource-policy", "same-origin"),
        pair("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ]
    .into_iter()
    .collect();
    if let Ok(policy) = HeaderValue::from_str(&policy(config)) {
        guards.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if config.server.public_url.is_https() {
        guards.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    guards
}

/// What pages may load and where their forms may lead. Connect and Sign in are forms that are answered with a
/// redirect to the provider, and Chromium holds `form-action` against the redirect's target too. And against what comes
/// after it: Google sends people of many organizations on to their own sign-in, at an address that nobody here knows.
/// So forms may lead to any https address; what keeps them ours is their token and `script-src`.
fn policy(config: &Config) -> String {
    let issuer = Url::parse(&config.signin.issuer).ok();
    let mut forms: Vec<String> = [Some(&config.google.endpoints.authorize), issuer.as_ref()]
        .into_iter()
        .flatten()
        .map(|url| url.origin().ascii_serialization())
        .collect();
    forms.dedup();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self' https: {}; frame-ancestors 'none'; base-uri 'none'",
        forms.join(" ")
    )
}

/// The layer that adds them. What a handler doesn't say otherwise is kept nowhere: most answers are about a person.
pub(super) async fn guard(State(web): State<Web>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.extend(web.guards.clone());
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

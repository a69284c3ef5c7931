//! The one way to send: a listed call, with a deadline, a size limit, no redirects, no repeats, and a receipt.
//!
//! A reader must not break: a token goes out only over https or inside the machine; nothing secret reaches a log, an
//! error or a receipt; each request that was started gives exactly one receipt, even when its future is dropped.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::{
    calls::{Api, Call},
    classify,
    endpoints::{Endpoints, is_private},
    error::{Error, ErrorKind, OperatorFault, Refusal},
    id_token::KeyCache,
    price,
    transport::{NotCarried, Transport},
    wire,
};

/// The clock. Everything that depends on time asks it.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a [`Client`] needs.
pub struct ClientOptions {
    /// Where Google is.
    pub endpoints: Endpoints,
    /// What calls cost.
    pub prices: price::Prices,
    /// The clock.
    pub now: Now,
    /// Is told of each call after it ended.
    pub hook: Option<Arc<dyn CallHook>>,
    /// The `User-Agent`. The word gzip is added if it is missing: without it Gmail does not compress.
    pub user_agent: String,
    /// How requests travel; over the network when there is none.
    pub transport: Option<Arc<dyn Transport>>,
}

/// Is told of each call after it ended. Called on the task that made the call: it must be quick and must not block.
pub trait CallHook: Send + Sync {
    /// A call ended.
    fn called(&self, call: &CallRecord);
}

/// The receipt of one call. It holds no secret and no content.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The call's name, as in [`crate::CALLS`].
    pub call: &'static str,
    /// The opaque id of the grant, for calls that are made for a person.
    pub on_behalf: Option<String>,
    /// Why it was made, in the caller's word; empty for calls that are made for nobody.
    pub purpose: &'static str,
    /// When it started.
    pub at: Timestamp,
    /// How long it took.
    pub took_ms: u64,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The size of the answer, decompressed.
    pub bytes: u64,
    /// What it cost, also if it failed.
    pub units: u32,
    /// `ok`, the word of the [`ErrorKind`], or `cancelled` if nobody waited for the answer.
    pub outcome: &'static str,
}

/// For whom a call is made.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The access token.
    pub access_token: SecretString,
    /// The opaque id of the grant; it appears in receipts and traces.
    pub on_behalf: String,
    /// Why calls are made, in one word of the caller's; it appears in receipts.
    pub purpose: &'static str,
}

/// Sends calls to Google. Cheap to clone; clones share connections and cached keys.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) endpoints: Endpoints,
    pub(crate) now: Now,
    pub(crate) keys: KeyCache,
    prices: price::Prices,
    hook: Option<Arc<dyn CallHook>>,
    http: reqwest::Client,
    transport: Option<Arc<dyn Transport>>,
}

/// How long a connection may take to be made. Google's are made in well under a second.
const CONNECT_S: u64 = 10;
/// How often a busy HTTP/2 connection is asked whether it is alive, so that a long poll notices a dead one.
const KEEP_ALIVE_EVERY_S: u64 = 20;
/// How long that answer may take.
const KEEP_ALIVE_ANSWER_S: u64 = 10;

/// One request before it is sent.
pub(crate) struct Request<'a> {
    call: &'static Call,
    base: &'a Url,
    arguments: Vec<&'a str>,
    query: Vec<(&'static str, Cow<'a, str>)>,
    body: Body<'a>,
    bearer: Option<&'a SecretString>,
    secrets: Vec<&'a SecretString>,
    on_behalf: Option<&'a str>,
    sort: Option<Sort>,
    purpose: &'static str,
}

/// Sorts a refusal again by what only the maker of the request knows.
type Sort = fn(ErrorKind) -> ErrorKind;

enum Body<'a> {
    None,
    Json(Value),
    Form(Vec<(&'static str, &'a str)>),
}

/// A successful answer.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A request for `call`: below `base`, or to `base` itself for sign-in calls.
    pub(crate) fn new(call: &'static Call, base: &'a Url) -> Self {
        Self {
            call,
            base,
            arguments: Vec::new(),
            query: Vec::new(),
            body: Body::None,
            bearer: None,
            secrets: Vec::new(),
            on_behalf: None,
            sort: None,
            purpose: "",
        }
    }

    /// What stands for the next placeholder in the path.
    pub(crate) fn argument(mut self, argument: &'a str) -> Self {
        self.arguments.push(argument);
        self
    }

    /// One query parameter.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// A JSON object as the body.
    pub(crate) fn json(self, body: Value) -> Self {
        Self { body: Body::Json(body), ..self }
    }

    /// One field of a form body.
    pub(crate) fn field(mut self, name: &'static str, value: &'a str) -> Self {
        match &mut self.body {
            Body::Form(fields) => fields.push((name, value)),
            _ => self.body = Body::Form(vec![(name, value)]),
        }
        self
    }

    /// One field of a form body that must not be seen.
    pub(crate) fn secret_field(mut self, name: &'static str, value: &'a SecretString) -> Self {
        self.secrets.push(value);
        self.field(name, value.expose_secret())
    }

    /// Something in the body that must not be seen.
    pub(crate) fn hiding(mut self, secret: &'a SecretString) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Sorts a refusal again by what only the maker of the request knows.
    pub(crate) fn sorting(self, sort: Sort) -> Self {
        Self { sort: Some(sort), ..self }
    }

    /// The access token.
    pub(crate) fn bearer(mut self, token: &'a SecretString) -> Self {
        self.secrets.push(token);
        Self { bearer: Some(token), ..self }
    }

    /// The grant that the receipt names, and why the call is made.
    pub(crate) fn on_behalf(self, grant: &'a str, purpose: &'static str) -> Self {
        Self { on_behalf: Some(grant), purpose, ..self }
    }

    /// The error for a request that must not be sent.
    pub(crate) fn refused(&self, why: &str) -> Error {
        Error::unsent(self.call.name, why)
    }

    /// Refuses what the call does not list.
    fn check(&self) -> Result<(), Error> {
        let (call, refuse) = (self.call, |why: &str| Err(self.refused(why)));
        if self.query.iter().any(|(name, _)| !call.query.contains(name)) {
            return refuse("a query parameter is not in the list of calls");
        }
        let unlisted = match &self.body {
            Body::None => false,
            Body::Json(body) => {
                body.as_object().is_none_or(|map| map.keys().any(|key| !call.body.contains(&key.as_str())))
            }
            Body::Form(fields) => fields.iter().any(|(name, _)| !call.body.contains(name)),
        };
        if unlisted {
            return refuse("a property of the body is not in the list of calls");
        }
        if (call.api == Api::SignIn || !self.secrets.is_empty()) && !is_private(self.base) {
            return refuse("a secret or a key would travel over plain http to another machine: use https");
        }
        Ok(())
    }

    fn url(&self) -> Result<Url, Error> {
        let refuse = |why: &str| self.refused(why);
        let mut url = if self.call.api == Api::SignIn {
            self.base.clone()
        } else {
            below(self.base, &self.path()?).ok_or_else(|| refuse("the address is not valid"))?
        };
        if !self.query.is_empty() || self.call.fields.is_some() {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(&self.query);
            pairs.extend_pairs(self.call.fields.map(|mask| ("fields", mask)));
        }
        Ok(url)
    }

    /// The call's path with the arguments in it.
    fn path(&self) -> Result<String, Error> {
        let (mut path, mut rest) = (String::new(), self.call.path);
        for argument in &self.arguments {
            let Some((before, (_, after))) =
                rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
            else {
                return Err(self.refused("the path and its arguments do not fit"));
            };
            let segment = match self.call.api {
                Api::Gmail => is_gmail_id(argument).then(|| (*argument).to_owned()),
                Api::Calendar | Api::Directory => as_segment(argument),
                Api::PubSub | Api::SignIn => is_resource_name(argument).then(|| argument.replace('%', "%25")),
            };
            let refused = || self.refused("the id or name has characters that do not belong there");
            path += before;
            path += &segment.ok_or_else(refused)?;
            rest = after;
        }
        if rest.contains('{') {
            return Err(self.refused("the path and its arguments do not fit"));
        }
        Ok(path + rest)
    }
}

/// `base` and `path` put together, whether or not the base ends in a slash.
fn below(base: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).ok()
}

/// The longest id or name that is sent. Gmail's ids have 16 characters; Pub/Sub's names may have 255.
const ID_LENGTH_MAX: usize = 256;

/// Whether this can be the id of a message, thread or label.
pub(crate) fn is_gmail_id(id: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=ID_LENGTH_MAX).contains(&id.len()) && id.bytes().all(good)
}

/// The longest id of a calendar, an event or a person that is sent: Google's event ids may have 1,024 characters.
const SEGMENT_LENGTH_MAX: usize = 1024;

/// The id of a calendar, an event or a person as one part of a path. They are addresses or nearly anything else
/// (`en.uk#holiday@group.v.calendar.google.com`), so they are escaped instead of compared with a list.
fn as_segment(id: &str) -> Option<String> {
    let dots = id.bytes().all(|byte| byte == b'.');
    if dots || id.len() > SEGMENT_LENGTH_MAX || id.chars().any(char::is_control) {
        return None;
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~@".contains(&byte);
    Some(id.bytes().fold(String::new(), |text, byte| {
        if plain(byte) { text + char::from(byte).encode_utf8(&mut [0; 4]) } else { text + &format!("%{byte:02X}") }
    }))
}

/// Whether this can be the name of a topic or subscription: `projects/P/topics/T`, with Pub/Sub's letters.
pub(crate) fn is_resource_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+%:".contains(&byte);
    let word =
        |part: &str| (1..=ID_LENGTH_MAX).contains(&part.len()) && part.bytes().all(good) && !part.starts_with('.');
    let parts: Vec<_> = name.split('/').collect();
    matches!(parts[..], ["projects", project, "topics" | "subscriptions", id] if word(project) && word(id))
}

impl Client {
    /// A client with its own connections. Fails if an address is not acceptable or TLS cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "the one place where an HTTP client is built")]
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let fault = |what: String| ErrorKind::Refused(Refusal::Operator(OperatorFault::Other(what)));
        options.endpoints.check().map_err(|error| Error::new("client", fault(error.to_string())))?;
        let gzip = options.user_agent.to_ascii_lowercase().contains("gzip");
        let user_agent = if gzip { options.user_agent } else { format!("{} (gzip)", options.user_agent) };
        let http = reqwest::Client::builder()
            .user_agent(user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .gzip(true)
            .connect_timeout(Duration::from_secs(CONNECT_S))
            .http2_keep_alive_interval(Duration::from_secs(KEEP_ALIVE_EVERY_S))
            .http2_keep_alive_timeout(Duration::from_secs(KEEP_ALIVE_ANSWER_S))
            .build()
            .map_err(|error| {
                let what = "the HTTP client cannot be set up; are ca-certificates installed?";
                Error::new("client", fault(what.to_owned())).caused_by(error)
            })?;
        let ClientOptions { endpoints, prices, now, hook, transport, .. } = options;
        let keys = KeyCache::default();
        Ok(Self { inner: Arc::new(Inner { endpoints, now, keys, prices, hook, http, transport }) })
    }

    /// The addresses that this client uses.
    pub fn endpoints(&self) -> &Endpoints {
        &self.inner.endpoints
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.inner.now)()
    }

    /// Sends a request and reads its JSON answer; an empty answer is read as `{}`.
    pub(crate) async fn read<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        let call = request.call.name;
        self.send_with(request, |answer| {
            let body = if answer.body.is_empty() { b"{}" } else { answer.body.as_slice() };
            wire::parse(body).map_err(|fault| Error::new(call, ErrorKind::NotUnderstood).caused_by(fault))
        })
        .await
    }

    /// Sends a request whose answer says nothing but that it was done.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<(), Error> {
        self.send_with(request, |_| Ok(())).await
    }

    /// Sends a request and reads its answer with `read`, which counts as part of the call.
    pub(crate) async fn send_with<T>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let prepared = self.prepare(&request)?;
        let mut receipt = Receipt::open(&self.inner, &request);
        let result = self.exchange(prepared, &request, &mut receipt.record).await.and_then(read);
        receipt.record.outcome = result.as_ref().map_or_else(|error| error.kind.word(), |_| "ok");
        result
    }

    fn prepare(&self, request: &Request<'_>) -> Result<reqwest::Request, Error> {
        request.check()?;
        let call = request.call;
        let method =
            Method::from_bytes(call.method.as_bytes()).map_err(|_| Error::unsent(call.name, "unknown method"))?;
        let mut builder = self.inner.http.request(method.clone(), request.url()?);
        builder = builder.timeout(Duration::from_secs(call.deadline_s()));
        if let Some(token) = request.bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
                .map_err(|_| Error::unsent(call.name, "the access token has characters that do not belong there"))?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        builder = match &request.body {
            // Google's front ends want a length on every POST and PUT.
            Body::None if method == Method::GET => builder,
            Body::None => builder.header(http::header::CONTENT_LENGTH, 0),
            Body::Json(body) => builder.json(body),
            Body::Form(fields) => builder.form(fields),
        };
        let unsent =
            |error: reqwest::Error| Error::unsent(call.name, "it cannot be built").caused_by(error.without_url());
        builder.build().map_err(unsent)
    }

    async fn exchange(
        &self,
        prepared: reqwest::Request,
        request: &Request<'_>,
        record: &mut CallRecord,
    ) -> Result<Answer, Error> {
        let call = request.call;
        let transient = |error: NotCarried| Error::new(call.name, ErrorKind::Transient).caused_by(error);
        let carried = match &self.inner.transport {
            Some(transport) => transport.carry(prepared).await,
            None => self.inner.http.execute(prepared).await.map_err(NotCarried::from),
        };
        let mut response = match carried {
            Err(error) if call.long_poll && error.timed_out => {
                return Ok(Answer { headers: HeaderMap::new(), body: Vec::new() });
            }
            carried => carried.map_err(transient)?,
        };
        let status = response.status();
        record.status = Some(status.as_u16());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transient(error.into()))? {
            record.bytes += chunk.len() as u64;
            if record.bytes > call.answer_bytes_max() {
                if status.is_success() {
                    return Err(Error::too_large(call.name, status.as_u16()));
                }
                break; // An error is told by its status, however long its page.
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        if status.is_success() {
            return Ok(Answer { headers, body });
        }
        let refused =
            classify::Answered { call, status: status.as_u16(), headers: &headers, body: &body, now: self.now() };
        let mut error = refused.error(&request.secrets);
        if let Some(sort) = request.sort {
            error.kind = sort(error.kind);
        }
        Err(error)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("endpoints", &self.inner.endpoints).finish_non_exhaustive()
    }
}

/// Gives the receipt when it is dropped, however the call ended.
struct Receipt<'a> {
    inner: &'a Inner,
    record: CallRecord,
}

impl<'a> Receipt<'a> {
    fn open(inner: &'a Inner, request: &Request<'_>) -> Self {
        let call = request.call.name;
        let record = CallRecord {
            call,
            on_behalf: request.on_behalf.map(str::to_owned),
            purpose: request.purpose,
            at: (inner.now)(),
            took_ms: 0,
            status: None,
            bytes: 0,
            units: inner.prices.units(call),
            outcome: "cancelled",
        };
        Self { inner, record }
    }
}

impl Drop for Receipt<'_> {
    fn drop(&mut self) {
        let record = &mut self.record;
        let took = (self.inner.now)().duration_since(record.at).as_millis();
        record.took_ms = u64::try_from(took).unwrap_or_default();
        let CallRecord { call, took_ms, status, bytes, units, outcome, .. } = *record;
        let on_behalf = record.on_behalf.as_deref();
        tracing::debug!(call, on_behalf, took_ms, status, bytes, units, outcome, "call to Google");
        if let Some(hook) = &self.inner.hook {
            hook.called(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls;

    fn url(call: &'static Call, base: &str, argument: &str) -> Result<String, Error> {
        let base = Url::parse(base).unwrap();
        Request::new(call, &base).argument(argument).url().map(String::from)
    }

    #[test]
    fn a_base_may_have_a_prefix_and_a_slash() {
        for (base, start) in [
            ("https://a.example", "https://a.example/gmail"),
            ("https://a.example/", "https://a.example/gmail"),
            ("http://localhost:1/x/y/", "http://localhost:1/x/y/gmail"),
        ] {
            let url = url(&calls::GMAIL_LABEL, base, "Label_1").unwrap();
            assert!(url.starts_with(&format!("{start}/v1/users/me/labels/Label_1?fields=id%2C")), "{url}");
        }
    }

    #[test]
    fn only_ids_reach_a_path() {
        for bad in ["", "a/b", "..", "a?b", "a#b", "a b", "ä", "%2e", &"a".repeat(257)] {
            let error = url(&calls::GMAIL_MESSAGE, "https://a.example", bad).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused(Refusal::Invalid), "{bad}");
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn ids_of_calendars_are_one_part_of_a_path_whatever_they_are() {
        let base = Url::parse("https://a.example/x").unwrap();
        let url = |calendar| {
            let request = Request::new(&calls::EVENTS, &base).argument(calendar);
            request.url().map(|url| url.path().to_owned())
        };
        for (id, written) in [
            ("en.uk#holiday@group.v.calendar.example", "en.uk%23holiday@group.v.calendar.example"),
            ("a/../b?c%2f", "a%2F..%2Fb%3Fc%252f"),
        ] {
            assert_eq!(url(id).unwrap(), format!("/x/calendar/v3/calendars/{written}/events"));
        }
        for bad in ["", ".", "..", "a\nb", &"a".repeat(1025)] {
            assert!(url(bad).is_err(), "{bad}");
        }
        let none = Request::new(&calls::EVENTS, &base);
        assert!(none.url().is_err() && none.argument("a").argument("b").url().is_err());
    }

    #[test]
    fn only_resource_names_reach_a_path() {
        let get = |name| url(&calls::TOPIC_GET, "https://a.example", name);
        assert_eq!(get("projects/a.com:p/topics/t+~%").unwrap(), "https://a.example/v1/projects/a.com:p/topics/t+~%25");
        let bad =
            ["", "t", "projects/p/topics/", "projects/../topics/t", "projects/p/topics/t/x", "projects/p/snapshots/s"];
        for bad in bad.into_iter().chain(["projects/p/topics/t?x", "/projects/p/topics/t"]) {
            assert!(get(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_call_does_not_list_is_refused() {
        let base = Url::parse("https://a.example").unwrap();
        let listed = || Request::new(&calls::GMAIL_MESSAGES, &base);
        assert!(listed().query("pageToken", "1").check().is_ok());
        assert!(listed().query("q", "from:me").check().is_err());
        assert!(listed().json(serde_json::json!({ "a": 1 })).check().is_err());
        let watch = || Request::new(&calls::GMAIL_WATCH, &base);
        assert!(watch().json(serde_json::json!({ "topicName": 1 })).check().is_ok());
        assert!(watch().json(serde_json::json!({ "topicName": 1, "labelIds": [] })).check().is_err());
        assert!(watch().json(serde_json::json!([])).check().is_err());
        assert!(Request::new(&calls::OAUTH_REVOKE, &base).field("other", "x").check().is_err());
    }

    /// For every call of the table: what it lists passes, anything else is refused before it is sent.
    #[test]
    fn no_call_takes_more_than_it_lists() {
        let base = Url::parse("https://a.example").unwrap();
        for call in crate::CALLS.iter().copied() {
            let request = || Request::new(call, &base);
            let listed = call.query.iter().fold(request(), |request, name| request.query(name, "1"));
            assert!(listed.check().is_ok(), "{}", call.name);
            for name in ["q", "alt", "fields", "access_token", "key", "userId", "$.xgafv", "prettyPrint", ""] {
                assert!(request().query(name, "1").check().is_err(), "{} took {name}", call.name);
            }
            let body: serde_json::Map<_, _> = call.body.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
            assert!(request().json(Value::Object(body.clone())).check().is_ok(), "{}", call.name);
            for name in ["raw", "removeLabelIds", "addLabelIds", "message", "labelIds", "unlisted"] {
                let mut more = body.clone();
                more.insert(name.to_owned(), Value::Null);
                assert!(request().json(Value::Object(more)).check().is_err(), "{} took {name}", call.name);
                assert!(request().field(name, "x").check().is_err(), "{} took {name}", call.name);
            }
            assert!(request().json(Value::String("x".to_owned())).check().is_err(), "{}", call.name);
        }
    }

    #[test]
    fn secrets_stay_off_plain_http() {
        let (far, near) = (Url::parse("http://a.example").unwrap(), Url::parse("http://127.0.0.1:1").unwrap());
        let secret = SecretString::from("s");
        assert!(Request::new(&calls::GMAIL_LABELS, &far).bearer(&secret).check().is_err());
        assert!(Request::new(&calls::OPENID_KEYS, &far).check().is_err());
        assert!(Request::new(&calls::GMAIL_LABELS, &near).bearer(&secret).check().is_ok());
        assert!(Request::new(&calls::PULL, &far).check().is_ok(), "an emulator in another container");
    }
}

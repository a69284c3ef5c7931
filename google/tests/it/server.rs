//! A server on a free port of this machine that answers as a test says and remembers what it was asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::AtomicI64, atomic::Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, StatusCode, Uri},
};
use intail_google::{CallHook, CallRecord, Caller, Client, ClientOptions, Endpoints, price::Table};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tower_http::compression::CompressionLayer;
use url::Url;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    /// Method and path.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.uri.path())
    }

    /// The query, in order.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
    }

    /// The form in the body.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

type Answer = Arc<dyn Fn(&Seen) -> Response<Body> + Send + Sync>;

/// The server; it ends with the test.
pub(crate) struct Server {
    pub(crate) base: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: JoinSet<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let state: (Answer, Arc<Mutex<Vec<Seen>>>) = (Arc::new(answer), seen.clone());
        let router = Router::new().fallback(respond).with_state(state).layer(CompressionLayer::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await });
        Self { base: Url::parse(&format!("http://{address}")).expect("an address"), seen, _task: task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics while it holds it").clone()
    }

    /// A client for which this server is Google, and what it reports.
    pub(crate) fn client(&self) -> (Client, Report) {
        client(endpoints(&self.base))
    }
}

async fn respond(
    State((answer, seen)): State<(Answer, Arc<Mutex<Vec<Seen>>>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let one = Seen { method, uri, headers, body: String::from_utf8_lossy(&body).into_owned() };
    seen.lock().expect("no test panics while it holds it").push(one.clone());
    answer(&one)
}

pub(crate) fn json(status: u16, body: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    response
}

/// Everything at one address, with Google's paths.
pub(crate) fn endpoints(base: &Url) -> Endpoints {
    let at = |path: &str| base.join(path).expect("a path");
    Endpoints {
        issuer: base.as_str().trim_end_matches('/').to_owned(),
        authorize: at("/o/oauth2/v2/auth"),
        token: at("/token"),
        revoke: at("/revoke"),
        userinfo: at("/userinfo"),
        jwks: at("/oauth2/v3/certs"),
        gmail: base.clone(),
        calendar: base.clone(),
        directory: base.clone(),
        pubsub: base.clone(),
        discovery: at("/.well-known/openid-configuration"),
    }
}

/// The instant at which every test starts.
pub(crate) const START: i64 = 1_795_000_000;

/// What a client reports, and its clock.
#[derive(Clone, Default)]
pub(crate) struct Report {
    records: Arc<Mutex<Vec<CallRecord>>>,
    clock: Arc<AtomicI64>,
}

impl Report {
    pub(crate) fn records(&self) -> Vec<CallRecord> {
        self.records.lock().expect("no test panics while it holds it").clone()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl CallHook for Report {
    fn called(&self, call: &CallRecord) {
        self.records.lock().expect("no test panics while it holds it").push(call.clone());
    }
}

pub(crate) fn client(endpoints: Endpoints) -> (Client, Report) {
    let report = Report::default();
    report.advance(START);
    let clock = report.clock.clone();
    let options = ClientOptions {
        endpoints,
        prices: Table::May2026.into(),
        now: Arc::new(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).expect("in range")),
        hook: Some(Arc::new(report.clone())),
        user_agent: "intail-test".to_owned(),
        transport: None,
    };
    (Client::new(options).expect("acceptable endpoints"), report)
}

/// A token that must be seen nowhere.
pub(crate) const TOKEN: &str = "ya29.hush-access";

pub(crate) fn caller() -> Caller {
    Caller { access_token: TOKEN.into(), on_behalf: "grant_1".to_owned(), purpose: "live" }
}

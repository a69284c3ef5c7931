//! What goes over the wire, what is refused, and what is reported.

use std::{
    collections::BTreeMap,
    error::Error as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use axum::{body::Body, http::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use intail_google::{
    Client, ClientOptions, DeadReason, Endpoints, Error, ErrorKind, OperatorFault, Refusal,
    gmail::HEADERS,
    oauth::{OAuthClient, Provider},
    pubsub::{Created, Credentials, Granted, PushSpec, SubscriptionSpec},
    transport::{Carrying, NotCarried, Transport},
};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    task::JoinSet,
};

use crate::server::{Report, START, Seen, Server, TOKEN, caller, client, endpoints, json};

/// An answer that every call can read.
const ANYTHING: &str = r#"{"emailAddress":"ada@example.com","historyId":"7","expiration":"1795604800000","id":"a",
    "threadId":"t","internalDate":"1","messageIds":["m"],"access_token":"t"}"#;

/// An error and everything behind it, as a careless log would print it.
fn printed(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.detail());
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    text
}

fn oauth_client() -> OAuthClient {
    OAuthClient {
        client_id: "client".to_owned(),
        client_secret: "hush-client".into(),
        redirect_uri: "https://intail.example/connect/google/callback".to_owned(),
    }
}

/// Each of Gmail's calls once, with what became of it.
async fn every_gmail_call(client: &Client) -> Vec<Result<(), Error>> {
    let caller = caller();
    let gmail = client.gmail(&caller);
    vec![
        gmail.profile().await.map(drop),
        gmail.watch("projects/p/topics/t").await.map(drop),
        gmail.stop().await,
        gmail.labels().await.map(drop),
        gmail.label("INBOX").await.map(drop),
        gmail.history(5, Some("next")).await.map(drop),
        gmail.messages(Some("next"), &["INBOX", "UNREAD"], true).await.map(drop),
        gmail.message("abc").await.map(drop),
        gmail.thread("def").await.map(drop),
    ]
}

#[tokio::test]
async fn gmail_calls_go_where_they_should() {
    let server = Server::start(|_| json(200, ANYTHING)).await;
    let (client, report) = server.client();
    for result in every_gmail_call(&client).await {
        result.unwrap();
    }
    let lines: Vec<_> = server.seen().iter().map(Seen::line).collect();
    let paths = ["GET profile", "POST watch", "POST stop", "GET labels", "GET labels/INBOX", "GET history"];
    let more = ["GET messages", "GET messages/abc", "GET threads/def"];
    let expected: Vec<_> = paths.iter().chain(&more).map(|line| line.replace(' ', " /gmail/v1/users/me/")).collect();
    assert_eq!(lines, expected);
    let units: Vec<_> = report.records().iter().map(|record| record.units).collect();
    assert_eq!(units, [1, 100, 50, 1, 1, 2, 5, 20, 40]);

    for seen in server.seen() {
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert_eq!(seen.header("accept-encoding"), Some("gzip"));
        assert!(seen.header("user-agent").unwrap().contains("gzip"), "without the word Gmail does not compress");
        assert!(!seen.uri.to_string().contains("hush"));
    }
    let query = |index: usize| {
        let query = server.seen()[index].query();
        let kept = query.into_iter().filter(|(name, _)| name != "fields");
        kept.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(query(5), "startHistoryId=5 maxResults=500 pageToken=next");
    assert_eq!(query(6), "maxResults=500 labelIds=INBOX labelIds=UNREAD includeSpamTrash=true pageToken=next");
    let headers: Vec<_> = HEADERS.iter().map(|name| format!(" metadataHeaders={name}")).collect();
    assert_eq!(query(7), format!("format=metadata{}", headers.concat()));
    assert_eq!(query(8), query(7));
    assert_eq!(server.seen()[1].body, r#"{"topicName":"projects/p/topics/t"}"#);
    assert_eq!(server.seen()[2].header("content-length"), Some("0"));
}

#[tokio::test]
async fn bad_ids_are_not_sent() {
    let server = Server::start(|_| json(200, ANYTHING)).await;
    let (client, report) = server.client();
    let caller = caller();
    let gmail = client.gmail(&caller);
    let results = [
        gmail.message("../profile").await.map(drop),
        gmail.thread("a?b").await.map(drop),
        gmail.label("").await.map(drop),
        gmail.messages(None, &["IN BOX"], false).await.map(drop),
        gmail.history(1, Some(&"x".repeat(5000))).await.map(drop),
        gmail.watch("topic").await.map(drop),
    ];
    for result in results {
        assert_eq!(result.unwrap_err().kind, ErrorKind::Refused(Refusal::Invalid));
    }
    assert!(server.seen().is_empty() && report.records().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|seen| {
        let mut response = json(302, "");
        assert_ne!(seen.uri.path(), "/elsewhere");
        response.headers_mut().insert("location", "/elsewhere".parse().unwrap());
        response
    })
    .await;
    let (client, _) = server.client();
    let error = client.gmail(&caller()).labels().await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::NotUnderstood, Some(302)));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn nothing_is_repeated() {
    let server = Server::start(|_| json(503, "")).await;
    let (client, report) = server.client();
    for result in every_gmail_call(&client).await {
        assert_eq!(result.unwrap_err().kind, ErrorKind::Transient);
    }
    assert_eq!(server.seen().len(), 9);
    assert!(report.records().iter().all(|record| (record.outcome, record.status) == ("transient", Some(503))));
}

#[tokio::test]
async fn answers_are_compressed_and_measured_after_that() {
    let padded = |bytes: usize| format!(r#"{{"access_token":"t","padding":"{}"}}"#, " ".repeat(bytes));
    let size = Arc::new(AtomicU32::new(200 * 1024));
    let wanted = size.clone();
    let server = Server::start(move |_| json(200, padded(wanted.load(Ordering::Relaxed) as usize))).await;
    let (client, report) = server.client();
    let refresh = async || {
        let provider = Provider::google(client.endpoints());
        client.refresh(&provider, &oauth_client(), &"1//hush".into(), "grant_1", "why").await
    };
    refresh().await.unwrap();
    size.store(257 * 1024, Ordering::Relaxed);
    let error = refresh().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotUnderstood);
    assert_eq!(error.detail(), Some("the answer is larger than this client accepts"));
    let records = report.records();
    assert!(records[0].bytes > 200 * 1024, "the size is that of the text, which travelled as a few hundred bytes");
    assert!(records[1].bytes < 400 * 1024, "it stopped reading soon after the limit");
}

#[tokio::test]
async fn a_huge_page_of_trouble_is_still_trouble() {
    let server = Server::start(|_| json(500, " ".repeat(300 * 1024))).await;
    let error = server.client().0.revoke(&"t".into(), "grant_1", "why").await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Transient, Some(500)));
}

#[tokio::test]
async fn what_is_secret_is_never_shown() {
    let echo = |seen: &Seen| {
        let text = format!("{:?} {}", seen.headers, seen.body);
        let error = serde_json::json!({ "message": text, "errors": [{ "reason": "hush" }], "status": text });
        let body = if seen.uri.path().starts_with("/gmail") {
            serde_json::json!({ "error": error })
        } else {
            serde_json::json!({ "error": "invalid_grant", "error_description": text })
        };
        json(400, body.to_string())
    };
    let server = Server::start(echo).await;
    let unreachable = endpoints(&closed_port().await);
    let strange = Server::start(|_| json(200, r#"{"access_token":{"hush":1},"labels":"hush"}"#)).await;
    for (client, report) in [server.client(), client(unreachable), strange.client()] {
        let provider = Provider::google(client.endpoints());
        let oauth = oauth_client();
        let (code, verifier): (SecretString, SecretString) = ("4/hush-code".into(), "hush-verifier".into());
        let refresh: SecretString = "1//hush-refresh".into();
        let caller = caller();
        let errors = [
            client.exchange_code(&provider, &oauth, &code, &verifier, None).await.map(drop).unwrap_err(),
            client.refresh(&provider, &oauth, &refresh, "grant_1", "why").await.map(drop).unwrap_err(),
            client.gmail(&caller).labels().await.map(drop).unwrap_err(),
        ];
        for error in errors {
            let text = printed(&error);
            for secret in ["hush-", TOKEN, "4/", "1//"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        let shown = format!("{client:?} {oauth:?} {caller:?} {:?}", report.records());
        assert!(!shown.contains("hush"), "{shown}");
    }
}

/// An address at which nobody listens.
async fn closed_port() -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    url::Url::parse(&format!("http://{address}")).expect("an address")
}

#[tokio::test]
async fn each_call_gives_one_receipt() {
    let server = Server::start(|seen| match seen.uri.path() {
        "/gmail/v1/users/me/labels" => json(200, "{}"),
        "/gmail/v1/users/me/profile" => json(200, "[]"),
        _ => json(404, ""),
    })
    .await;
    let (client, report) = server.client();
    let caller = caller();
    let gmail = client.gmail(&caller);
    gmail.labels().await.unwrap();
    assert_eq!(gmail.profile().await.unwrap_err().kind, ErrorKind::NotUnderstood);
    assert_eq!(gmail.history(1, None).await.unwrap_err().kind, ErrorKind::CursorGone);
    assert_eq!(gmail.message("a").await.unwrap_err().kind, ErrorKind::Refused(Refusal::NotFound));
    let records = report.records();
    let told: Vec<_> = records.iter().map(|one| (one.call, one.status, one.bytes, one.units, one.outcome)).collect();
    let expected = [
        ("gmail.labels.list", Some(200), 2, 1, "ok"),
        ("gmail.getProfile", Some(200), 2, 1, "not_understood"),
        ("gmail.history.list", Some(404), 0, 2, "cursor_gone"),
        ("gmail.messages.get", Some(404), 0, 20, "refused"),
    ];
    assert_eq!(told, expected);
    assert!(records.iter().all(|one| one.on_behalf.as_deref() == Some("grant_1")
        && one.purpose == "live"
        && one.at.as_second() == START));
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_gives_a_receipt_too() {
    let arrived = Arc::new(Notify::new());
    let tell = arrived.clone();
    let server = Server::start(move |_| {
        tell.notify_one();
        Response::new(Body::from_stream(never()))
    })
    .await;
    let (client, report) = server.client();
    let caller = caller();
    tokio::select! {
        result = client.gmail(&caller).message("abc") => panic!("there is no answer: {result:?}"),
        () = async { arrived.notified().await; report.advance(3) } => {}
    }
    let records = report.records();
    assert_eq!((records[0].outcome, records[0].units, records[0].took_ms), ("cancelled", 20, 3000));
}

/// A body that never comes.
fn never() -> impl futures::Stream<Item = Result<String, std::convert::Infallible>> {
    futures::stream::pending()
}

/// A server that hears every request and says these bytes to it, whatever they promise. Then it hangs up or is silent.
async fn saying(said: String, hangs_up: bool) -> (url::Url, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut task = JoinSet::new();
    task.spawn(async move {
        // What is dropped is closed.
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard: Vec<u8> = Vec::new();
            while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
                let bytes = stream.read_buf(&mut heard).await.expect("a request");
                assert_ne!(bytes, 0, "nobody goes before there is an answer");
            }
            stream.write_all(said.as_bytes()).await.expect("written");
            if hangs_up {
                stream.shutdown().await.expect("closed");
            }
            open.push(stream);
        }
    });
    (url::Url::parse(&format!("http://{address}")).expect("an address"), task)
}

/// How long a test waits for an answer that never comes.
const PATIENCE: Duration = Duration::from_millis(100);

/// The network, but that it notes which deadline each request has and waits for a moment only.
struct Impatient {
    http: reqwest::Client,
    deadlines: Mutex<Vec<Option<Duration>>>,
}

impl Transport for Impatient {
    fn carry(&self, mut request: reqwest::Request) -> Carrying<'_> {
        let deadline = request.timeout_mut().replace(PATIENCE);
        self.deadlines.lock().expect("no test panics while it holds it").push(deadline);
        Box::pin(async move { self.http.execute(request).await.map_err(NotCarried::from) })
    }
}

/// A client without patience for the server at this address, what it reports, and how its requests travel.
fn impatient(base: &url::Url) -> (Client, Report, Arc<Impatient>) {
    #[expect(clippy::disallowed_methods, reason = "it sends what the client under test has made")]
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (network, report) = (Arc::new(Impatient { http, deadlines: Mutex::default() }), Report::default());
    let options = ClientOptions {
        endpoints: endpoints(base),
        prices: intail_google::price::Table::May2026.into(),
        now: Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
        hook: Some(Arc::new(report.clone())),
        user_agent: "intail-test".to_owned(),
        transport: Some(network.clone()),
    };
    (Client::new(options).expect("acceptable endpoints"), report, network)
}

/// Whether a call is over because its deadline has passed.
fn ran_out(error: &Error) -> bool {
    error.source().and_then(|cause| cause.downcast_ref::<NotCarried>()).is_some_and(|it| it.timed_out)
}

#[tokio::test]
async fn a_call_that_is_not_answered_to_its_end_is_over_at_its_deadline() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n{}";
    for (said, status) in [("", None), (begun, Some(200_u16))] {
        let (base, _server) = saying(said.to_owned(), false).await;
        let (client, report, network) = impatient(&base);
        let (caller, provider, oauth) = (caller(), Provider::google(client.endpoints()), oauth_client());
        let (refresh_token, pubsub) = ("1//hush".into(), client.pubsub(base.as_str(), &Credentials::anonymous()));
        let (read, refreshed, polled) = futures::join!(
            client.gmail(&caller).message("abc"),
            client.refresh(&provider, &oauth, &refresh_token, "grant_1", "why"),
            pubsub.pull("projects/p/subscriptions/mail", 1),
        );
        let mut failed = vec![read.map(drop), refreshed.map(drop)];
        // To a long poll silence says that there is nothing; an answer that was begun doesn't.
        let outcome = if said.is_empty() { "ok" } else { "transient" };
        match outcome {
            "ok" => assert!(polled.unwrap().is_empty()),
            _ => failed.push(polled.map(drop)),
        }
        for error in failed.into_iter().map(Result::unwrap_err) {
            assert_eq!((&error.kind, ran_out(&error)), (&ErrorKind::Transient, true), "{said}: {error}");
        }
        let mut told: Vec<_> = report.records().iter().map(|one| (one.call, one.status, one.outcome)).collect();
        told.sort_unstable();
        let expected = [
            ("gmail.messages.get", status, "transient"),
            ("oauth.refresh", status, "transient"),
            ("pubsub.subscriptions.pull", status, outcome),
        ];
        assert_eq!(told, expected, "{said}");
        let mut deadlines = network.deadlines.lock().expect("no test panics while it holds it").clone();
        deadlines.sort_unstable();
        assert_eq!(deadlines, [30, 30, 100].map(|seconds| Some(Duration::from_secs(seconds))));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_trouble_whatever_its_beginning_says() {
    let refresh = async |said: String| {
        let (base, _server) = saying(said, true).await;
        let (client, report) = client(endpoints(&base));
        let provider = Provider::google(client.endpoints());
        let result = client.refresh(&provider, &oauth_client(), &"1//hush".into(), "grant_1", "why").await;
        let records = report.records();
        assert_eq!(records.len(), 1);
        (result.map(drop).map_err(|error| error.kind), records[0].status, records[0].outcome)
    };
    let answer = |status: &str, length: usize, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let trouble = |status: Option<u16>| (Err::<(), _>(ErrorKind::Transient), status, "transient");
    let (tokens, dead) = (r#"{"access_token":"t"}"#, r#"{"error":"invalid_grant"}"#);
    // Whole, both are believed.
    assert_eq!(refresh(answer("200 OK", tokens.len(), tokens)).await, (Ok(()), Some(200), "ok"));
    let revoked = ErrorKind::GrantDead(DeadReason::Revoked);
    let refused = refresh(answer("400 Bad Request", dead.len(), dead)).await;
    assert_eq!(refused, (Err(revoked), Some(400), "grant_dead"));

    assert_eq!(refresh(answer("200 OK", 64, tokens)).await, trouble(Some(200)));
    assert_eq!(refresh(answer("400 Bad Request", 64, dead)).await, trouble(Some(400)));
    assert_eq!(refresh(answer("200 OK", 64, "")).await, trouble(Some(200)));
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{tokens}\r\n", tokens.len());
    assert_eq!(refresh(chunked).await, trouble(Some(200)));
    assert_eq!(refresh(String::new()).await, trouble(None), "the connection broke before an answer");
}

#[tokio::test]
async fn codes_and_tokens_travel_in_forms() {
    let tokens = r#"{"access_token":"a","expires_in":3599,"scope":"openid email","refresh_token":"r"}"#;
    let server = Server::start(move |_| json(200, tokens)).await;
    let (client, report) = server.client();
    let provider = Provider::google(client.endpoints());
    let oauth = oauth_client();
    let exchanged = client.exchange_code(&provider, &oauth, &"4/c".into(), &"v".into(), None).await.unwrap();
    assert_eq!(exchanged.scopes, ["https://www.googleapis.com/auth/userinfo.email", "openid"]);
    assert!(exchanged.refresh_token.is_some() && exchanged.id_token.is_none());
    client.refresh(&provider, &oauth, &"1//r".into(), "grant_1", "why").await.unwrap();
    client.revoke(&"1//r".into(), "grant_1", "why").await.unwrap();
    let expected = [
        ("/token", "client_id=client client_secret=hush-client code=4/c code_verifier=v grant_type=authorization_code"),
        ("/token", "client_id=client client_secret=hush-client grant_type=refresh_token refresh_token=1//r"),
        ("/revoke", "token=1//r"),
    ];
    for (seen, (path, form)) in server.seen().iter().zip(expected) {
        let mut fields = seen.form();
        if let Some(redirect) = fields.remove("redirect_uri") {
            assert_eq!(redirect, oauth.redirect_uri);
        }
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!((seen.uri.to_string().as_str(), fields.join(" ").as_str()), (path, form));
        assert_eq!(seen.header("authorization"), None);
    }
    let names: Vec<_> = report.records().iter().map(|record| record.call).collect();
    assert_eq!(names, ["oauth.exchange", "oauth.refresh", "oauth.revoke"]);
}

#[tokio::test]
async fn revoking_what_is_over_is_done() {
    let server = Server::start(|_| json(400, r#"{"error":"invalid_token"}"#)).await;
    server.client().0.revoke(&"old".into(), "grant_1", "why").await.unwrap();
    let server = Server::start(|_| json(500, r#"{"error":"invalid_token"}"#)).await;
    let error = server.client().0.revoke(&"old".into(), "grant_1", "why").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
}

#[tokio::test]
async fn discovery_trusts_only_the_issuer_itself() {
    let server = Server::start(|seen| {
        let host = format!("http://{}", seen.header("host").unwrap());
        let (issuer, keys) = match seen.uri.path() {
            "/.well-known/openid-configuration" => (host.clone(), format!("{host}/keys")),
            "/other/.well-known/openid-configuration" => (host.clone(), format!("{host}/keys")),
            _ => (format!("{host}/far"), "http://keys.example/".to_owned()),
        };
        let body = serde_json::json!({ "issuer": issuer, "authorization_endpoint": format!("{host}/auth?a=b"),
            "token_endpoint": format!("{host}/token"), "jwks_uri": keys, "more": [] });
        json(200, body.to_string())
    })
    .await;
    let (client, _) = server.client();
    let issuer = server.base.as_str().trim_end_matches('/').to_owned();
    let provider = client.discover(&issuer).await.unwrap();
    assert_eq!(provider.authorization_endpoint.as_str(), format!("{issuer}/auth?a=b"));
    let bad = [format!("{issuer}/other"), format!("{issuer}/far"), "http://issuer.example".to_owned(), "x".to_owned()];
    for bad in bad {
        let error = client.discover(&bad).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Refused(Refusal::Operator(OperatorFault::Other(_)))), "{bad}: {error}");
    }
}

#[tokio::test]
async fn pubsub_is_asked_as_the_emulator_wants_it() {
    let server = Server::start(|seen| match (seen.method.as_str(), seen.uri.path()) {
        ("PUT", path) if path.ends_with("/old") => json(409, r#"{"error":{"status":"ALREADY_EXISTS"}}"#),
        ("GET", path) if path.ends_with("/old") => json(200, r#"{"topic":"t","ackDeadlineSeconds":10}"#),
        ("GET", _) => json(404, r#"{"error":{"status":"NOT_FOUND"}}"#),
        (_, path) if path.ends_with(":publish") => json(200, r#"{"messageIds":["m"]}"#),
        (_, path) if path.ends_with(":pull") => {
            json(200, r#"{"receivedMessages":[{"ackId":"a","message":{"data":"aGk"}}]}"#)
        }
        _ => json(200, "{}"),
    })
    .await;
    let pubsub = server.client().0.pubsub(server.base.as_str(), &Credentials::anonymous());
    let (topic, subscription) = ("projects/p/topics/new", "projects/p/subscriptions/new");
    assert_eq!(pubsub.create_topic(topic).await.unwrap(), Created::New);
    assert_eq!(pubsub.create_topic("projects/p/topics/old").await.unwrap(), Created::Existed);
    assert!(!pubsub.topic_exists(topic).await.unwrap());
    assert!(pubsub.topic_exists("projects/p/topics/old").await.unwrap());
    assert_eq!(pubsub.subscription(subscription).await.unwrap(), None);
    assert_eq!(pubsub.subscription("projects/p/subscriptions/old").await.unwrap().unwrap().ack_deadline_s, 10);
    let push = PushSpec { endpoint: "https://x/".into(), service_account: "s".into(), audience: "a".into() };
    let (name, topic) = (subscription.to_owned(), topic.to_owned());
    let spec = SubscriptionSpec { name, topic: topic.clone(), ack_deadline_s: 60, push: Some(push) };
    assert_eq!(pubsub.create_subscription(&spec).await.unwrap(), Created::New);
    assert_eq!(pubsub.publish(&topic, b"hi", &BTreeMap::new()).await.unwrap(), "m");
    assert_eq!(pubsub.pull(subscription, 5).await.unwrap()[0].data, b"hi");
    pubsub.acknowledge(subscription, &["a".to_owned()]).await.unwrap();
    pubsub.acknowledge(subscription, &[]).await.unwrap();
    pubsub.modify_ack_deadline(subscription, &["a".to_owned()], 5000).await.unwrap();
    assert!(pubsub.acknowledge(subscription, &vec![String::new(); 1001]).await.is_err());

    let seen = server.seen();
    assert!(seen.iter().all(|one| one.header("authorization").is_none() && one.uri.query().is_none()));
    let bodies: Vec<_> = seen.iter().map(|one| one.body.as_str()).filter(|body| body.len() > 2).collect();
    let created = r#"{"topic":"projects/p/topics/new","ackDeadlineSeconds":60,"messageRetentionDuration":"604800s","#;
    assert!(bodies[0].starts_with(created), "{}", bodies[0]);
    assert!(bodies[0].contains(r#""expirationPolicy":{}"#), "or it would vanish after 31 idle days");
    let expected = [
        r#"{"messages":[{"data":"aGk=","attributes":{}}]}"#,
        r#"{"maxMessages":5}"#,
        r#"{"ackIds":["a"]}"#,
        r#"{"ackIds":["a"],"ackDeadlineSeconds":600}"#,
    ];
    assert_eq!(bodies[1..], expected);
}

#[tokio::test]
async fn a_service_account_signs_its_own_token() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    let file = serde_json::json!({ "type": "service_account", "client_email": "s@p.example", "private_key_id": "k",
        "private_key": pem, "project_id": "p", "universe_domain": "googleapis.com" });
    let credentials = Credentials::from_key_file(&file.to_string()).unwrap();
    let server = Server::start(|_| json(200, "{}")).await;
    let (client, _) = server.client();
    let subscription = "projects/p/subscriptions/mail";
    assert!(client.pubsub(server.base.as_str(), &credentials).pull(subscription, 1).await.unwrap().is_empty());
    assert!(server.seen()[0].header("authorization").unwrap().starts_with("Bearer ey"));
    let far = client.pubsub("http://pubsub.example", &credentials).pull(subscription, 1).await.unwrap_err();
    assert_eq!(far.kind, ErrorKind::Refused(Refusal::Invalid), "the token stays off plain http");
    assert!(!format!("{credentials:?} {far:?}").contains("PRIVATE"));
}

#[tokio::test]
async fn granting_gives_way_to_others_but_not_for_ever() {
    let left = Arc::new(AtomicU32::new(1));
    let conflicts = left.clone();
    let lose = move || conflicts.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let server = Server::start(move |seen| match seen.method.as_str() {
        "GET" if seen.uri.path().contains("granted") => {
            json(200, r#"{"bindings":[{"role":"roles/pubsub.publisher","members":["m"]}]}"#)
        }
        "GET" if seen.uri.path().contains("emulated") => json(501, ""),
        "GET" => json(200, r#"{"etag":"e"}"#),
        _ if lose() => json(409, r#"{"error":{"status":"ABORTED"}}"#),
        _ => json(200, "{}"),
    })
    .await;
    let pubsub = server.client().0.pubsub(server.base.as_str(), &Credentials::anonymous());
    let grant = async |topic: &str| pubsub.grant_publisher(&format!("projects/p/topics/{topic}"), "m").await;
    assert_eq!(grant("t").await.unwrap(), Granted::New);
    assert_eq!(server.seen().len(), 4);
    assert_eq!(server.seen()[0].query(), [("options.requestedPolicyVersion".to_owned(), "3".to_owned())]);
    let policy = r#"{"policy":{"etag":"e","bindings":[{"role":"roles/pubsub.publisher","members":["m"]}]}}"#;
    assert_eq!(server.seen()[3].body, policy);
    assert_eq!(grant("granted").await.unwrap(), Granted::Already);
    assert_eq!(grant("emulated").await.unwrap_err().kind, ErrorKind::Refused(Refusal::NotImplemented));
    left.store(u32::MAX, Ordering::Relaxed);
    let before = server.seen().len();
    assert_eq!(grant("t").await.unwrap_err().kind, ErrorKind::Refused(Refusal::Conflict));
    assert_eq!(server.seen().len() - before, 6);
}

#[tokio::test]
async fn a_client_refuses_unsafe_endpoints() {
    let far = Endpoints { token: "http://token.example".parse().unwrap(), ..Endpoints::default() };
    let options = ClientOptions {
        endpoints: far,
        prices: intail_google::price::Table::May2026.into(),
        now: Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
        hook: None,
        user_agent: String::new(),
        transport: None,
    };
    assert!(Client::new(options).unwrap_err().to_string().contains("google.endpoints.token"));
}

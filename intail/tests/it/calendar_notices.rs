//! Notices of calendars over real connections to a running product: what Google's channel says leads to a look and to
//! the live streams, and whoever isn't Google is answered, learns nothing and makes no work.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures::future::{join, join_all};
use intail::store::agendas::Agenda;
use intail::store::calendars::Calendar;
use intail::store::channels::{self, Channel};
use intail::store::people::Person;
use intail::web;
use intail_sandbox::World;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::access::{Proof, access_key, session};
use crate::harness::running::{Running, Setup};

/// Where Google's notices go.
const PATH: &str = "/notices/calendar";
/// Requests of one flood, and connections that carry them.
const FLOOD: usize = 600;
const CONNECTIONS: usize = 20;
/// The most that a test reads of an answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Runs a product that Google can reach, with its web part on a real port, until `scene` is over.
async fn reached(scene: impl AsyncFnOnce(&Running, &Person, SocketAddr)) {
    let running = Running::start_with(Setup { reachable: true, ..Setup::default() }).await;
    running.approve();
    let person = running.connected(&running.employee()).await;
    running.settle_calendars(&person).await;
    assert!(running.take_calendar_notices().await > 0, "the first notice of each channel");
    running.settle_calendars(&person).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let playing = async {
        scene(&running, &person, address).await;
        shutdown.cancel();
    };
    let (served, ()) = join(web::serve(running.app.clone(), listener, shutdown.clone()), playing).await;
    served.expect("served to the end");
}

/// A request as it travels, with these lines of headers.
fn request(method: &str, path: &str, lines: &[(&str, &str)], body: &str) -> String {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:9\r\n{lines}content-length: {length}\r\n\r\n{body}")
}

/// A notice, with Google's headers.
fn notice(channel: &str, token: &str, state: &str) -> String {
    let lines = [
        ("x-goog-channel-id", channel),
        ("x-goog-channel-token", token),
        ("x-goog-channel-expiration", "Tue, 01 Dec 2026 09:00:00 GMT"),
        ("x-goog-resource-state", state),
        ("x-goog-resource-id", "resource"),
        ("x-goog-message-number", "7"),
        ("connection", "close"),
    ];
    request("POST", PATH, &lines, "")
}

/// The whole answer to what is sent on a connection of its own; what arrived of it if the connection breaks.
async fn exchanged(address: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let (mut reading, mut writing) = stream.split();
    let write = async {
        // Whoever is refused early may not be read to the end.
        let _ = writing.write_all(sent.as_bytes()).await;
    };
    let mut answer = Vec::new();
    let read = async {
        let mut limited = (&mut reading).take(ANSWER_BYTES_MAX as u64);
        let _ = limited.read_to_end(&mut answer).await;
    };
    join(write, read).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// An answer without what differs from one to the next.
fn lasting(answer: &str) -> String {
    let differs = |line: &&str| !line.starts_with("date:") && !line.starts_with("x-request-id:");
    answer.lines().filter(differs).collect::<Vec<_>>().join("\n")
}

/// Everything that a notice could change.
async fn held(running: &Running, person: &Person) -> (Agenda, Vec<Calendar>, Vec<Channel>) {
    let agenda = running.agenda(person).await;
    let calendars = running.calendars(person).await;
    let mut tx = running.app.store.read().await.expect("a transaction");
    let channels = channels::of_agenda(&mut tx, &agenda.id, i64::MAX).await.expect("read");
    (agenda, calendars, channels)
}

/// How often Google was asked anything; that Pub/Sub's notices are pulled is no work that a notice makes.
fn asked(running: &Running) -> usize {
    running.world(|world| world.calls.iter().filter(|it| !it.call.starts_with("pubsub.")).count())
}

/// A channel of the person's own calendar: its id and its token, as Google knows them.
fn channel(running: &Running, person: &Person) -> (String, String) {
    running.world(|world| {
        let own = world.channels.values().find(|it| it.calendar == person.email).expect("one is open");
        (own.id.clone(), own.token.clone().expect("it has a token"))
    })
}

fn create(running: &Running, person: &Person, title: &str) -> String {
    let event = json!({"title": title, "start": "2026-11-25T12:00"});
    running.plan(&person.email, json!({"action": "create", "event": event}))
}

#[tokio::test]
async fn strangers_are_answered_alike_and_make_no_work() {
    reached(async |running, person, address| {
        let (id, token) = channel(running, person);
        let (before, calls) = (held(running, person).await, asked(running));
        let long = "x".repeat(65);
        let long_token = "x".repeat(257);
        let cut = &token[1..];
        let unsent = |lines: &[(&str, &str)]| {
            let lines: Vec<_> = lines.iter().copied().chain([("connection", "close")]).collect();
            request("POST", PATH, &lines, "")
        };
        let (of_id, of_token) = (("x-goog-channel-id", id.as_str()), ("x-goog-channel-token", token.as_str()));
        let exists = ("x-goog-resource-state", "exists");
        let strangers = [
            notice("made-up", &token, "exists"),
            notice(&id, "guessed", "exists"),
            notice(&id, cut, "exists"),
            notice(&id, &token.to_uppercase(), "exists"),
            notice(&id, "", "exists"),
            notice("", &token, "exists"),
            notice("", "", ""),
            notice(&long, &token, "exists"),
            notice(&id, &long_token, "exists"),
            notice("' OR 1=1 --", "' OR 1=1 --", "exists"),
            notice("grüße", "grüße", "exists"),
            notice(&id.to_uppercase(), &token, "sync"),
            unsent(&[]),
            unsent(&[of_id, exists]),
            unsent(&[of_token, exists]),
            unsent(&[("x-goog-channel-id", "made-up"), of_id, of_token, exists]),
        ];
        let mut answers = BTreeMap::new();
        for sent in &strangers {
            let answer = exchanged(address, sent).await;
            assert_eq!(status(&answer), 404, "{sent}\n{answer}");
            *answers.entry(lasting(&answer)).or_insert(0) += 1;
        }
        assert_eq!(answers.len(), 1, "nobody learns which channels there are: {answers:#?}");
        let (answer, _) = answers.pop_first().expect("one");
        for inside in ["sqlite", "sqlx", "intail/src", "panicked", &id, &token] {
            assert!(!answer.to_lowercase().contains(inside), "{inside} in {answer}");
        }
        running.work().await;
        assert_eq!((held(running, person).await, asked(running)), (before, calls), "nothing was done for them");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_notice_at_all_is_refused_and_the_next_one_is_taken() {
    reached(async |running, person, address| {
        let (id, token) = channel(running, person);
        let (before, calls) = (held(running, person).await, asked(running));
        let close = ("connection", "close");
        let lines = [("x-goog-channel-id", id.as_str()), ("x-goog-channel-token", token.as_str()), close];
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let answer = exchanged(address, &request(method, PATH, &lines, "")).await;
            assert_eq!(status(&answer), 405, "{method}: {answer}");
        }
        let huge = "x".repeat(1024 * 1024);
        let answer = exchanged(address, &request("POST", PATH, &[("x-goog-channel-id", &huge), close], "")).await;
        assert_eq!(status(&answer), 431, "{answer}");
        let many: Vec<(&str, &str)> = (0..500).map(|_| ("x-goog-channel-id", "x")).chain([close]).collect();
        let answer = exchanged(address, &request("POST", PATH, &many, "")).await;
        assert_eq!(status(&answer), 431, "{answer}");
        for rubbish in ["POST\r\n\r\n", "\0\0\0\0\r\n\r\n", "POST /notices/calendar HTTP/9.9\r\n\r\n"] {
            let answer = exchanged(address, rubbish).await;
            assert!(answer.is_empty() || status(&answer) == 400, "{rubbish:?}: {answer}");
        }
        running.work().await;
        assert_eq!((held(running, person).await, asked(running)), (before, calls), "nothing was done for them");
        // A body says nothing: Google sends none.
        let sent = request("POST", PATH, &lines, &"x".repeat(200_000));
        assert_eq!(status(&exchanged(address, &sent).await), 204);
        assert_eq!(status(&exchanged(address, &notice(&id, &token, "exists")).await), 204);
    })
    .await;
}

/// Sends the same again and again over some connections at once; answers how often which status came.
async fn flood(address: SocketAddr, sent: &str) -> BTreeMap<u16, usize> {
    let sent = sent.replace("connection: close\r\n", "");
    let one = async || {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let mut statuses = Vec::new();
        for _ in 0..FLOOD / CONNECTIONS {
            stream.write_all(sent.as_bytes()).await.expect("sent");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("an answer"));
            }
            statuses.push(status(&String::from_utf8_lossy(&head)));
        }
        statuses
    };
    let all = join_all((0..CONNECTIONS).map(|_| one())).await;
    let mut counts = BTreeMap::new();
    for status in all.into_iter().flatten() {
        *counts.entry(status).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn a_flood_of_strangers_costs_google_nothing_and_holds_nobody_up() {
    reached(async |running, person, address| {
        let (id, token) = channel(running, person);
        let (before, calls) = (held(running, person).await, asked(running));
        let counts = flood(address, &notice(&id, "guessed", "exists")).await;
        assert_eq!(counts, [(404, FLOOD)].into());
        running.work().await;
        assert_eq!((held(running, person).await, asked(running)), (before, calls));
        let new = create(running, person, "Lunch");
        let (strange, right) = (notice("made-up", "guessed", "exists"), notice(&id, &token, "exists"));
        let (_, answer) = join(flood(address, &strange), exchanged(address, &right)).await;
        assert_eq!(status(&answer), 204);
        running.work().await;
        assert!(running.feed(person).await.iter().any(|it| it.subject_id == new), "the right one is heard in it");
    })
    .await;
}

#[tokio::test]
async fn a_notice_that_comes_again_and_again_costs_one_look() {
    reached(async |running, person, address| {
        let (id, token) = channel(running, person);
        let new = create(running, person, "Lunch");
        let counts = flood(address, &notice(&id, &token, "exists")).await;
        assert_eq!(counts, [(204, FLOOD)].into());
        running.world(|world| world.calls.clear());
        running.work().await;
        assert!(running.feed(person).await.iter().any(|it| it.subject_id == new));
        let looks = running.calls("calendar.events.list");
        assert!(looks <= 2, "{FLOOD} notices led to {looks} looks");
        // The first notice of a channel proves that it works, and says nothing of a change.
        running.world(|world| world.calls.clear());
        assert_eq!(status(&exchanged(address, &notice(&id, &token, "sync")).await), 204);
        running.work().await;
        assert_eq!(asked(running), 0);
        // Whoever left hears nothing of it, and neither does Google.
        intail::connect::leave(&running.app, person, intail::org::audit::Origin::Unknown).await.expect("left");
        assert_eq!(status(&exchanged(address, &notice(&id, &token, "exists")).await), 404);
    })
    .await;
}

/// A live stream: what comes is read until it holds a word.
struct Listening {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Listening {
    async fn to(address: SocketAddr, path: &str, proof: &Proof) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let (cookie, bearer);
        let line = match proof {
            Proof::Session(token) => {
                cookie = format!("__Host-intail-session={token}");
                ("cookie", cookie.as_str())
            }
            Proof::Key(key) => {
                bearer = format!("Bearer {key}");
                ("authorization", bearer.as_str())
            }
            Proof::Nothing => ("accept", "*/*"),
        };
        let lines = [line, ("accept", "text/event-stream")];
        stream.write_all(request("GET", path, &lines, "").as_bytes()).await.expect("sent");
        let mut listening = Self { stream, heard: Vec::new() };
        listening.until("following").await;
        listening
    }

    /// All that was heard so far, once it holds this.
    async fn until(&mut self, word: &str) -> String {
        loop {
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            if heard.contains(word) {
                return heard;
            }
            let count = self.stream.read_buf(&mut self.heard).await.expect("the stream goes on");
            assert!(count > 0 && self.heard.len() < ANSWER_BYTES_MAX, "`{word}` never came: {heard}");
        }
    }
}

/// A page, as a browser asks for it.
async fn page(address: SocketAddr, path: &str, proof: &Proof) -> String {
    let Proof::Session(token) = proof else { panic!("a person looks at pages") };
    let cookie = format!("__Host-intail-session={token}");
    let lines = [("cookie", cookie.as_str()), ("accept", "text/html"), ("connection", "close")];
    let answer = exchanged(address, &request("GET", path, &lines, "")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    answer
}

#[tokio::test]
async fn a_right_notice_brings_the_change_to_the_page_and_to_programs_live() {
    reached(async |running, person, address| {
        let (signed_in, key) = (session(&running.app, person).await, access_key(&running.app, person).await);
        let calendar = "/calendar?date=2026-11-25";
        let shown = page(address, calendar, &signed_in).await;
        let (_, rest) = shown.split_once("data-stream=\"").expect("the page follows a stream");
        let stream = rest.split_once('"').expect("a value").0.replace("&amp;", "&").replace("&#38;", "&");
        let mut of_page = Listening::to(address, &stream, &signed_in).await;
        let mut of_program = Listening::to(address, "/api/v1/changes/stream", &key).await;
        let new = create(running, person, "Quokkanarwhal");
        running.world(|world| world.calls.clear());
        let told = running.world(World::take_channel_messages);
        assert!(!told.is_empty(), "Google tells of it");
        for (channel, token, state) in &told {
            assert_eq!(status(&exchanged(address, &notice(channel, token, state)).await), 204);
        }
        assert!(held(running, person).await.0.due_at.is_some_and(|due| due <= running.app.clock.now()));
        running.work().await;
        for listening in [&mut of_page, &mut of_program] {
            let heard = listening.until(&new).await;
            assert!(heard.contains("event: event.added"), "{heard}");
        }
        assert!(page(address, calendar, &signed_in).await.contains("Quokkanarwhal"));
        running.assert_no_appointment_is_lost(person).await;
    })
    .await;
}

//! How connections are served, through a real socket: whoever sends half a request is cut off in time, and nobody else.

use std::time::Duration;

use intail::web::{self, HEADER_TIME_MAX, IDLE_TIME_MAX};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::{Proof, session};
use crate::harness::running::Running;

const WHOLE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: intail\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);
/// Requests of somebody else until the served side must have come so far.
const ROUNDS_MAX: usize = 1_000;

/// An Intail that is served on a port.
struct Served {
    running: Running,
    address: std::net::SocketAddr,
    ending: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start() -> Self {
        let running = Running::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, ending) = (listener.local_addr().expect("an address"), CancellationToken::new());
        #[expect(clippy::disallowed_methods, reason = "the test waits for its end")]
        let serving = tokio::spawn(web::serve(running.app.clone(), listener, ending.clone()));
        Self { running, address, ending, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Until Intail waits for the rest of what is sent so far, on its clock. Connections are taken one after the other:
    /// once somebody who comes later is answered, whoever came before is waited for.
    async fn until_awaited(&self) {
        for _ in 0..ROUNDS_MAX {
            let mut other = self.connect().await;
            let request = b"GET /healthz HTTP/1.1\r\nHost: intail\r\nConnection: close\r\n\r\n";
            other.write_all(request).await.expect("sent");
            let mut answer = String::new();
            other.read_to_string(&mut answer).await.expect("answered");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            if self.running.app.clock.next_wait().is_some() {
                return;
            }
        }
        panic!("nobody waits for the head");
    }
}

/// Reads an answer of one piece.
async fn answer(stream: &mut TcpStream) -> String {
    let mut read = vec![0; 64 * 1024];
    let count = stream.read(&mut read).await.expect("an answer");
    String::from_utf8_lossy(&read[..count]).into_owned()
}

/// Whether the other side has closed.
async fn is_closed(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 1]).await, Ok(1..))
}

#[tokio::test]
async fn half_a_request_is_cut_off_in_time_and_a_slow_one_is_answered() {
    let served = Served::start().await;
    let mut slow = served.connect().await;
    slow.write_all(&WHOLE[..20]).await.expect("sent");
    served.until_awaited().await;
    served.running.pass(HEADER_TIME_MAX - SECOND);
    slow.write_all(&WHOLE[20..]).await.expect("still open");
    assert!(answer(&mut slow).await.starts_with("HTTP/1.1 200"), "slow isn't hostile");
    drop(slow);

    for sent in [&WHOLE[..0], &WHOLE[..1], &WHOLE[..20], &WHOLE[..WHOLE.len() - 2]] {
        let mut half = served.connect().await;
        half.write_all(sent).await.expect("sent");
        served.until_awaited().await;
        served.running.pass(HEADER_TIME_MAX);
        assert!(is_closed(&mut half).await, "{} bytes and then nothing", sent.len());
    }
    served.ending.cancel();
    served.serving.await.expect("no panic").expect("served");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_longer_and_not_for_ever() {
    let served = Served::start().await;
    let mut kept = served.connect().await;
    for _ in 0..3 {
        kept.write_all(WHOLE).await.expect("still open");
        assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"));
        served.until_awaited().await;
        served.running.pass(HEADER_TIME_MAX * 4);
    }
    kept.write_all(&WHOLE[..20]).await.expect("still open");
    served.running.pass(IDLE_TIME_MAX);
    assert!(is_closed(&mut kept).await, "the next head has its time, too");
    let mut large = served.connect().await;
    let mut head = b"GET /healthz HTTP/1.1\r\nHost: intail\r\nX-Much: ".to_vec();
    head.resize(80 * 1024, b'a');
    // What is too much may be refused before it is all sent.
    let _ = large.write_all(&head).await;
    let mut refused = Vec::new();
    let _ = large.read_to_end(&mut refused).await;
    let refused = String::from_utf8_lossy(&refused);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    served.ending.cancel();
    served.serving.await.expect("no panic").expect("served");
}

#[tokio::test]
async fn a_live_stream_outlives_every_limit_and_ends_with_intail() {
    let served = Served::start().await;
    let running = &served.running;
    running.approve();
    let person = running.connected(&running.employee()).await;
    let Proof::Session(token) = session(&running.app, &person).await else { panic!("a session") };
    let mut stream = served.connect().await;
    let head = format!(
        "GET /api/v1/changes/stream?after=0 HTTP/1.1\r\nHost: intail\r\nCookie: intail-session={token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    running.pass(IDLE_TIME_MAX * 10);
    running.act(&person.email, intail_sandbox::action::MailAction::sample());
    running.settle().await;
    let mut told = String::new();
    while !told.contains("message.added") || !told.ends_with("\r\n") {
        let more = answer(&mut stream).await;
        assert!(!more.is_empty(), "it ended: {told}");
        told.push_str(&more);
    }
    served.ending.cancel();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.expect("it ends in good order");
    served.serving.await.expect("no panic").expect("served");
}

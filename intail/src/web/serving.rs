//! Takes connections and hands their requests to the router, by hyper itself: `axum::serve` has no limit for how long a
//! request's head may take, so whoever sends one byte a minute would hold a connection for ever.
//!
//! What a reader must not break: every wait for somebody outside has its limit, on the given clock; and at the end what
//! is under way may finish, while nothing new is taken.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::clock::Clock;

/// How long the head of a connection's first request may take to arrive.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(15);
/// How long until the head of the next one is there, idle time included: longer than proxies keep an idle connection
/// (a minute or two), so that it is they who close it, and never while they send.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(150);
/// The largest head of a request, in bytes: cookies and a search, with room.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Connections at once: twice as many as live streams have seats. Whoever comes then waits in the system's own queue.
const CONNECTIONS_MAX: usize = 20_000;
/// How long nothing is accepted after accepting failed, for instance because no file could be opened any more.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Serves until `ending` is cancelled and what was under way then is finished. Dropped, it cuts off what still is.
pub(super) async fn serve(router: Router, listener: TcpListener, clock: Clock, ending: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = ending.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &room, &clock) => {
                let Some((stream, peer, held)) = accepted else { continue };
                let one = connection(router.clone(), stream, peer, clock.clone(), ending.clone());
                connections.spawn(async move {
                    one.await;
                    drop(held);
                });
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is room for it. None if there was one that broke off at once.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    clock: &Clock,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let held = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // An event is small and follows another at once: the system must not hold it back until the one before is
            // acknowledged, which takes up to 40 ms.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection delays small packets");
            }
            Some((stream, peer, held))
        }
        Err(error) => {
            if !is_of_connection(&error) {
                tracing::warn!(%error, "no connection can be accepted");
                clock.sleep(ACCEPT_AGAIN_AFTER).await;
            }
            None
        }
    }
}

/// Whether an error of accepting is one connection's, and says nothing of the next.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers a connection's requests, one after the other, until it ends or Intail does.
async fn connection(router: Router, stream: TcpStream, peer: SocketAddr, clock: Clock, ending: CancellationToken) {
    let service = service_fn(move |request| answer(router.clone(), request, peer));
    let mut builder = http1::Builder::new();
    builder.timer(Deadlines::new(clock)).header_read_timeout(HEADER_TIME_MAX).max_buf_size(HEADER_BYTES_MAX);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = ending.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn answer(router: Router, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
}

/// A connection's limits on the given clock. Hyper counts in instants of the machine, which are made of the clock's
/// time here; it knows one limit for a head, so the first one is that and later ones are longer by the idle time.
struct Deadlines {
    clock: Clock,
    began: Timestamp,
    began_at: Instant,
    is_first: AtomicBool,
}

impl Deadlines {
    fn new(clock: Clock) -> Self {
        #[expect(clippy::disallowed_methods, reason = "only what passes since then counts, by the given clock")]
        let began_at = Instant::now();
        Self { began: clock.now(), clock, began_at, is_first: AtomicBool::new(true) }
    }
}

impl Timer for Deadlines {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let clock = self.clock.clone();
        Box::pin(Waiting(Box::pin(async move { clock.sleep(duration).await })))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let more = match self.is_first.swap(false, Ordering::Relaxed) {
            true => Duration::ZERO,
            false => IDLE_TIME_MAX.saturating_sub(HEADER_TIME_MAX),
        };
        self.sleep(deadline.saturating_duration_since(self.now()) + more)
    }

    fn now(&self) -> Instant {
        // A clock that was set back stands still here.
        let passed = Duration::try_from(self.clock.now().duration_since(self.began)).unwrap_or_default();
        self.began_at.checked_add(passed).unwrap_or(self.began_at)
    }
}

/// Somebody who waits on the given clock.
struct Waiting(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Future for Waiting {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl Sleep for Waiting {}

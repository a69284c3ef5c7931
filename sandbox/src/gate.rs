//! What every call of an API passes on its way in and out: injected mischief, latency, the number of calls that may run
//! at once for a mailbox, and the log. Pages and the steering interface pass untouched, so that a world full of faults
//! can still be steered out of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use crate::Shared;
use crate::api_error::ApiError;
use crate::calls::{self, Call, Name};
use crate::faults::Mischief;

/// Longest that a call without an answer is held.
const HANG_MAX: Duration = Duration::from_secs(600);
/// Longest latency that can be injected.
const SLOW_MAX: Duration = Duration::from_secs(600);
/// Most bytes of an answer that is to be cut short or changed; all of ours are smaller.
const SPOILT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a Gmail call cost; travels with the answer to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Units(pub(crate) u32);

/// Who called, as far as the token says.
#[derive(Debug, Clone, Default)]
struct Known {
    sub: Option<String>,
    person: Option<String>,
    client: Option<String>,
}

/// Lets a request pass.
pub(crate) async fn pass(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let Some(name) = calls::name_of(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    // Google compresses only for callers whose User-Agent says "gzip" too (Gmail's performance guide).
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    if !agent.is_some_and(|agent| agent.contains("gzip")) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    let method = request.method().to_string();
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let began = shared.clock.now();
    let (known, mischief, latency_ms) = shared.look(|world| {
        let known = known(world, authorization);
        let mischief = world.faults.strike(name.call, known.person.as_deref(), &mut world.dice);
        (known, mischief, world.faults.latency_ms)
    });
    let fault = mischief.as_ref().map(Mischief::word);
    let counted = known.sub.as_deref().filter(|_| name.call.starts_with("gmail."));
    let response = match counted.map(|sub| AtOnce::begin(&shared, sub)).transpose() {
        Err(error) => shared.with_world(|world| world.quota.refuse(error)).into_response(),
        Ok(_running) => {
            wait(&shared, latency_ms).await;
            match mischief {
                None => next.run(request).await,
                Some(mischief) => suffer(&shared, name, mischief, request, next).await,
            }
        }
    };
    let units = response.extensions().get::<Units>().map_or(0, |units| units.0);
    let status = response.status().as_u16();
    shared.look(|world| {
        let took_ms = shared.clock.now().as_millisecond() - began.as_millisecond();
        let Known { person, client, .. } = known;
        let (call, path) = (name.call, name.template);
        world.calls.push(Call {
            number: 0,
            at: began,
            call,
            method,
            path,
            person,
            client,
            status,
            units,
            took_ms,
            fault,
        });
    });
    response
}

fn known(world: &mut crate::World, authorization: Option<&str>) -> Known {
    let now = world.clock.now();
    let caller = authorization.and_then(|value| world.identity.authenticate(now, Some(value)).ok());
    caller.map_or_else(Known::default, |caller| Known {
        sub: Some(caller.sub.clone()),
        person: world.identity.people.get(&caller.sub).map(|person| person.email.clone()),
        client: Some(caller.client_id),
    })
}

async fn wait(shared: &Shared, ms: u64) {
    if ms > 0 {
        pause(shared, Duration::from_millis(ms).min(SLOW_MAX)).await;
    }
}

async fn pause(shared: &Shared, wait: Duration) {
    tokio::select! {
        () = shared.clock.held_back(wait) => {}
        () = shared.stopping.cancelled() => {}
    }
}

async fn suffer(shared: &Shared, name: Name, mischief: Mischief, mut request: Request, next: Next) -> Response {
    match mischief {
        Mischief::Status { status, reason, message, retry_after_s } => {
            let mut response = refusal(shared, name, status, reason.as_deref(), message.as_deref());
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Mischief::Hang => {
            pause(shared, HANG_MAX).await;
            broken(Bytes::new(), StatusCode::OK)
        }
        Mischief::Cut => broken(Bytes::new(), StatusCode::OK),
        Mischief::CutAfter => {
            let status = next.run(request).await.status();
            broken(Bytes::new(), status)
        }
        Mischief::Slow { ms } => {
            wait(shared, ms).await;
            next.run(request).await
        }
        Mischief::Truncate => {
            let response = next.run(request).await;
            let status = response.status();
            let whole = axum::body::to_bytes(response.into_body(), SPOILT_BYTES_MAX).await.unwrap_or_default();
            broken(whole.slice(..whole.len() / 2), status)
        }
        Mischief::Twist { with, more } => {
            // What is compressed can't be changed.
            request.headers_mut().remove(header::ACCEPT_ENCODING);
            twisted(next.run(request).await, with, more).await
        }
    }
}

/// The answer with other members and longer lists.
async fn twisted(response: Response, with: Map<String, Value>, more: Map<String, Value>) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, SPOILT_BYTES_MAX).await.unwrap_or_default();
    let read = serde_json::from_slice::<Map<String, Value>>(&whole).ok().filter(|_| parts.status.is_success());
    let Some(mut answer) = read else { return Response::from_parts(parts, Body::from(whole)) };
    for (name, value) in with {
        answer.insert(name, value);
    }
    for (name, values) in more {
        let list = answer.entry(name).or_insert_with(|| json!([]));
        if let (Value::Array(list), Value::Array(values)) = (list, values) {
            list.extend(values);
        }
    }
    answer.retain(|_, value| !value.is_null());
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(Value::Object(answer).to_string()))
}

fn refusal(shared: &Shared, name: Name, status: u16, reason: Option<&str>, message: Option<&str>) -> Response {
    if name.call.starts_with("oauth.") {
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = reason.unwrap_or(if code.is_server_error() { "internal_failure" } else { "invalid_request" });
        let body = json!({"error": error, "error_description": message.unwrap_or("Bad Request")});
        return (code, axum::Json(body)).into_response();
    }
    let error = ApiError::injected(status, reason, message, shared.clock.now());
    if name.call.starts_with("pubsub.") { error.plain().into_response() } else { error.into_response() }
}

/// An answer that promises more than comes: the connection breaks after `part`.
fn broken(part: Bytes, status: StatusCode) -> Response {
    let promised = part.len() * 2 + 1_024;
    let gone = || std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut on purpose");
    let chunks = if part.is_empty() { Vec::new() } else { vec![Ok(part)] };
    let body = Body::from_stream(stream::iter(chunks).chain(stream::once(async move { Err::<Bytes, _>(gone()) })));
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(promised));
    response
}

/// How many calls run for each mailbox.
#[derive(Debug, Default)]
pub(crate) struct AtOnce {
    running: Mutex<BTreeMap<String, u32>>,
}

/// A running call; it stops counting when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    sub: String,
}

impl AtOnce {
    /// Counts a call for a mailbox, unless as many run as may.
    pub(crate) fn begin(shared: &Arc<Shared>, sub: &str) -> Result<Running, ApiError> {
        let mut running = shared.at_once.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(sub.to_owned()).or_insert(0);
        if *count >= crate::quota::CONCURRENT_MAX {
            return Err(ApiError::too_many_at_once());
        }
        *count += 1;
        Ok(Running { shared: shared.clone(), sub: sub.to_owned() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.shared.at_once.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.sub) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                running.remove(&self.sub);
            }
        }
    }
}

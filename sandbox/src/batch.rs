//! Gmail's batches: up to a hundred calls in one request, each answered as if it had come alone, with its own status,
//! its own price and its own line in the log. Intail sends none; what is compared with it does.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use tower::ServiceExt as _;

use crate::api_error::ApiError;

/// Calls in one batch (Gmail's guide on batching).
const CALLS_MAX: usize = 100;
/// The largest batch: a hundred calls without bodies are small.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// The largest answer to one of its calls.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What parts the answers: no answer of ours, which is JSON on one line, holds a line that begins like this.
const BOUNDARY: &str = "batch_sandbox";

/// The batch's address, before the router that answers its calls.
pub(crate) fn before(router: Router) -> Router {
    Router::new().route("/batch", post(answer)).with_state(router.clone()).merge(router)
}

/// One call of a batch.
struct Part {
    id: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

async fn answer(State(router): State<Router>, request: Request) -> Response {
    let (outer, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BATCH_BYTES_MAX).await else {
        return ApiError::invalid_body("The batch is too large.").into_response();
    };
    let parts = match parts(&outer.headers, &String::from_utf8_lossy(&body)) {
        Ok(parts) => parts,
        Err(error) => return error.into_response(),
    };
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(format!("--{BOUNDARY}\r\nContent-Type: application/http\r\n").as_bytes());
        text.extend_from_slice(format!("Content-ID: {}\r\n\r\n", part.answer_id()).as_bytes());
        text.extend_from_slice(&part.answered(&router, &outer.headers).await);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let kind = HeaderValue::from_static("multipart/mixed; boundary=batch_sandbox");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn parts(headers: &HeaderMap, body: &str) -> Result<Vec<Part>, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let boundary = kind.strip_prefix("multipart/mixed").and_then(|rest| rest.split_once("boundary="));
    let Some((_, boundary)) = boundary else {
        return Err(ApiError::bad_request("A batch is multipart/mixed with a boundary."));
    };
    let boundary = boundary.split(';').next().unwrap_or_default().trim().trim_matches('"');
    let between = format!("--{boundary}");
    let texts = body.split(&between).skip(1).take_while(|it| !it.starts_with("--"));
    let parts: Option<Vec<Part>> = texts.map(part).collect();
    let parts = parts.ok_or_else(|| ApiError::bad_request("A part of the batch isn't an HTTP request."))?;
    match parts.len() {
        0 => Err(ApiError::bad_request("The batch is empty.")),
        1..=CALLS_MAX => Ok(parts),
        _ => Err(ApiError::bad_request("The batch has more than 100 calls.")),
    }
}

/// A part: its own headers, an empty line, a request line, the request's headers.
fn part(text: &str) -> Option<Part> {
    let text = text.replace("\r\n", "\n");
    let (own, request) = text.trim_start_matches('\n').split_once("\n\n")?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_lowercase(), value.trim().to_owned()))
    };
    let id = own.lines().filter_map(field).find(|(name, _)| name == "content-id").map(|(_, id)| id);
    let mut lines = request.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(field).collect();
    Some(Part { id: id.unwrap_or_default(), method, target, headers })
}

impl Part {
    /// `<response-` and the call's own id: so that each answer finds its call.
    fn answer_id(&self) -> String {
        format!("<response-{}", self.id.trim_start_matches('<'))
    }

    /// The answer as it would have come alone, from its status line on.
    async fn answered(self, router: &Router, outer: &HeaderMap) -> Vec<u8> {
        let mut request = http::Request::builder().method(self.method.as_str()).uri(self.target.as_str());
        let has_own = self.headers.iter().any(|(name, _)| name == "authorization");
        if let Some(authorization) = outer.get(header::AUTHORIZATION).filter(|_| !has_own) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        // The batch is compressed as a whole, if at all.
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "host" && name != "accept-encoding") {
            request = request.header(name, value);
        }
        let response = match request.body(Body::empty()) {
            Ok(request) => router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
            Err(_) => ApiError::bad_request("The call can't be understood.").into_response(),
        };
        let (head, body) = response.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.unwrap_or_default();
        let reason = head.status.canonical_reason().unwrap_or("Unknown");
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16()).into_bytes();
        let kind = head.headers.get(header::CONTENT_TYPE).filter(|_| head.status != StatusCode::NO_CONTENT);
        if let Some(kind) = kind {
            text.extend_from_slice(b"Content-Type: ");
            text.extend_from_slice(kind.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        text.extend_from_slice(&body);
        text
    }
}

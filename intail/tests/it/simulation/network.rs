//! The network of a simulation: carries requests into the false Google without a socket, stops them before they arrive
//! and before their answers come back, and breaks connections when the director says so.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::header::CONTENT_TYPE;
use intail_google::transport::{Carrying, NotCarried, Transport};
use intail_sandbox::Sandbox;
use reqwest::{Request, Response};

use super::stage::{Stage, Stop, Verdict};

/// The largest answer that is carried.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The network.
pub(super) struct Network {
    pub(super) stage: Stage,
    pub(super) sandbox: Arc<Sandbox>,
}

impl Transport for Network {
    fn carry(&self, request: Request) -> Carrying<'_> {
        Box::pin(async move {
            let path = request.url().path().to_owned();
            let is_poll = path.ends_with(":pull");
            let name = format!("{} {path}", request.method());
            let ask = if is_poll { Stop::Poll } else { Stop::Ask(name.clone()) };
            if self.stage.stop(ask).await == Verdict::Fail {
                return Err(NotCarried { timed_out: is_poll, source: None });
            }
            let answer = self.sandbox.answer(inward(request)).await;
            if self.stage.stop(Stop::Answer(name)).await == Verdict::Fail {
                return Err(NotCarried { timed_out: is_poll, source: None });
            }
            let (parts, body) = answer.into_parts();
            let body = to_bytes(body, ANSWER_BYTES_MAX).await.expect("the false Google's answer is whole");
            Ok(Response::from(http::Response::from_parts(parts, reqwest::Body::from(body))))
        })
    }
}

fn inward(request: Request) -> http::Request<Body> {
    let mut inward = http::Request::builder().method(request.method()).uri(request.url().as_str());
    for (name, value) in request.headers() {
        inward = inward.header(name, value);
    }
    // The client's own stamp, which it puts on at the socket.
    let inward = inward.header(http::header::USER_AGENT, "intail (gzip)");
    debug_assert!(request.body().is_none() || request.headers().contains_key(CONTENT_TYPE), "a body has a type");
    let body = request.body().and_then(reqwest::Body::as_bytes).map_or_else(Body::empty, |it| Body::from(it.to_vec()));
    inward.body(body).expect("a request that the client made")
}

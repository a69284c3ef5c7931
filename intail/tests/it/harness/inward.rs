//! A request of the client's, as the false Google's router takes it: for those who carry requests without a socket.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use reqwest::Request;

/// The same request, on the inside.
pub(crate) fn inward(request: Request) -> http::Request<Body> {
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

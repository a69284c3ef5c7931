//! What people and programs see: pages, the REST API, and the addresses that machines ask.
//!
//! Every address stands once, in [`ROUTES`], with who may use it; the router wraps each handler in that check, so a
//! route can't forget it, and `tests/it/access.rs` walks them all as everyone. A handler that fails returns a
//! [`trouble::Trouble`]; one layer turns it into a page or a problem document with a reference that is also in the
//! log. Nothing here speaks SQL or to Google: pages read the store and begin what `connect` and `signin` finish.

mod access;
mod asked;
mod assets;
mod floods;
mod origin;
mod routes;
mod serving;
mod session;
mod trouble;
mod words;

mod page;

mod abilities;
mod access_keys;
mod accounts_policy;
mod activity;
mod administration;
mod approval;
mod audit;
mod calendar;
mod colleagues;
mod copying;
mod directory;
mod health;
mod home;
mod integrations;
mod leaving;
mod looks;
mod mail;
mod meetings;
mod people;
mod policy;
mod privacy;
mod receipt;
mod sign_in_link;
mod streams;
mod week;

pub mod api;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{from_fn, from_fn_with_state, map_response_with_state};
use axum::response::IntoResponse as _;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::app::App;

pub use routes::{Method, ROUTES, Route, Who};
pub use serving::{HEADER_TIME_MAX, IDLE_TIME_MAX};

/// The largest request body: forms have a few hundred bytes, a pushed notice a few thousand.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// How long a request's body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(15);
/// How long requests that are under way may go on after the shutdown began.
const ENDING_TIME_MAX: Duration = Duration::from_secs(10);

/// What every handler is given. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Web(Arc<Parts>);

/// The parts of [`Web`].
pub(crate) struct Parts {
    /// The product.
    app: App,
    /// The headers that every answer carries.
    guards: HeaderMap,
    /// Who reads the feed live, and how many at once.
    seats: streams::Seats,
    /// When the use of an access key was last written down.
    keys_used: Mutex<BTreeMap<String, Timestamp>>,
    /// Who begins to sign in, and how often.
    floods: floods::Floods,
    /// Ends when Intail stops.
    ending: CancellationToken,
}

impl std::ops::Deref for Web {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<Web> for App {
    fn from_ref(web: &Web) -> Self {
        web.app.clone()
    }
}

/// The whole web part as one router.
pub fn router(app: App) -> Router {
    router_until(app, CancellationToken::new())
}

/// The same; live streams end when `ending` is cancelled.
fn router_until(app: App, ending: CancellationToken) -> Router {
    let guards = page::guards(&app.config);
    let web = Web(Arc::new(Parts {
        app,
        guards,
        seats: streams::Seats::default(),
        keys_used: Mutex::default(),
        floods: floods::Floods::default(),
        ending,
    }));
    let routes = ROUTES.iter().fold(Router::new(), |router, route| {
        let check = from_fn_with_state((web.clone(), route.who), access::check);
        router.route(route.path, (route.handler)().route_layer(check))
    });
    routes
        .fallback(async || trouble::no_such_page())
        .method_not_allowed_fallback(async || trouble::no_such_method())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIME_MAX))
        .layer(CatchPanicLayer::custom(|_| trouble::panicked().into_response()))
        .layer(from_fn_with_state(web.clone(), trouble::explain))
        .layer(from_fn_with_state(web.clone(), session::at_the_public_address))
        .layer(CompressionLayer::new().gzip(true))
        .layer(map_response_with_state(web.clone(), page::guard))
        .layer(from_fn(trouble::log))
        .with_state(web)
}

/// Serves until `shutdown`: then no new connection is taken, live streams end, and what is under way may finish.
pub async fn serve(app: App, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    let clock = app.clock.clone();
    let serving = serving::serve(router_until(app, shutdown.clone()), listener, clock.clone(), shutdown.clone());
    let too_long = async {
        shutdown.cancelled().await;
        clock.sleep(ENDING_TIME_MAX).await;
    };
    tokio::select! {
        () = serving => {}
        () = too_long => tracing::warn!("requests that were under way took too long and were cut off"),
    }
    Ok(())
}

/// A header's name and value from text of this source code.
fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

//! A false Google Workspace over real HTTP: for tests, for the demo, and for everybody who integrates with Google and
//! wants to see their own bad days before Google shows them. It uses nothing of the product that it tests and writes
//! its own JSON, so that a misreading of Google's documents can't hide in both.
//!
//! One [`World`] behind one lock holds the whole truth; handlers take the lock, change the world, let go, and only then
//! speak to the network. Never hold the lock across an `await`.

pub mod clock;
pub mod dice;

pub mod calls;
pub mod compose;
pub mod faults;
pub mod history;
pub mod mail;
pub mod quota;
pub mod topics;
pub mod watch;
pub mod world;

pub mod access;
pub mod accounts;
pub mod agenda;
mod consent;
mod grants;
pub mod profile;
pub mod recurrence;
pub mod signing;

pub mod action;
mod appointments;
pub mod generator;
mod phrases;
pub mod script;
mod state_file;
pub mod world_file;

mod api_error;
mod batch;
pub mod calendar;
pub mod channels;
mod console;
pub mod directory;
mod gate;
mod gmail;
mod inspector;
mod mailbox;
mod oauth;
mod pages;
mod planner;
mod pubsub;
mod push;
mod query;
mod selector;
mod token;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http;
use tokio::net::TcpListener;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

pub use clock::Clock;
pub use script::Script;
pub use world::World;
pub use world_file::{WorldFile, WorldFileError};

/// How long [`Sandbox::stop`] waits for open answers before it drops them.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// Least time between two saves of the world.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Longest that the sandbox waits for somebody whom it calls itself (push endpoints, an outside Pub/Sub).
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a sandbox is started with. [`Options::new`] gives defaults for everything but the listener.
#[derive(Debug)]
pub struct Options {
    /// Where it listens; bind it to loopback unless the whole network may steer it.
    pub listener: TcpListener,
    /// Its time.
    pub clock: Clock,
    /// Where its chance comes from.
    pub seed: u64,
    /// What is in it at the first start.
    pub world: WorldSource,
    /// Where the world is kept between starts. An existing file wins over `world`.
    pub state_file: Option<PathBuf>,
    /// How others reach it; `http://` and the listener's address when absent.
    pub public_url: Option<String>,
    /// Where the product is, for the redirect URIs that say `{product}`; the demo's usual address when absent.
    pub product_url: Option<String>,
    /// `host:port` of a Pub/Sub that gets the notices instead of the sandbox's own.
    pub outside_pubsub: Option<String>,
    /// What is played from the start.
    pub script: Option<Script>,
}

impl Options {
    /// The default world on the machine's clock.
    pub fn new(listener: TcpListener) -> Options {
        Options {
            listener,
            clock: Clock::system(),
            seed: 1,
            world: WorldSource::Default,
            state_file: None,
            public_url: None,
            product_url: None,
            outside_pubsub: None,
            script: None,
        }
    }
}

/// What is in a sandbox at its first start.
#[derive(Debug)]
pub enum WorldSource {
    /// The world that the demo uses.
    Default,
    /// A world somebody wrote.
    File(Box<WorldFile>),
    /// A world somebody made.
    Ready(Box<World>),
}

/// Why a sandbox can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener is not usable.
    #[error("the sandbox can't tell its own address; check the listener that it was given")]
    Listener(#[source] std::io::Error),
    /// The world file doesn't make a world.
    #[error(transparent)]
    WorldFile(#[from] WorldFileError),
    /// The saved world can't be read.
    #[error(transparent)]
    StateFile(#[from] state_file::StateFileError),
    /// The HTTP client for pushes can't be made.
    #[error("the sandbox can't make its HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A running sandbox. Dropping it ends it without saving; [`Sandbox::stop`] saves.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    router: Router,
    tasks: JoinSet<()>,
}

impl Sandbox {
    /// Starts to listen and to play.
    pub async fn start(options: Options) -> Result<Sandbox, StartError> {
        let Options { listener, clock, seed, world, state_file, public_url, product_url, outside_pubsub, script } =
            options;
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let public_url = public_url.unwrap_or_else(|| format!("http://{address}")).trim_end_matches('/').to_owned();
        let mut world = first_world(world, state_file.as_deref(), &clock, seed)?;
        world.identity.public_url.clone_from(&public_url);
        world.publishes_outside = outside_pubsub.is_some();
        world.set_product_url(product_url.as_deref());
        if let Some(script) = script {
            world.start_script(script);
        }
        let shared = Arc::new(Shared {
            public_url,
            address,
            clock,
            http: push::client(CALL_TIMEOUT).map_err(StartError::Client)?,
            outside_pubsub,
            arrivals: signal::Sender::new(0),
            stopping: CancellationToken::new(),
            changed: AtomicBool::new(true),
            state_file,
            at_once: gate::AtOnce::default(),
            world: Mutex::new(world),
        });
        let mut tasks = JoinSet::new();
        let ending = shared.stopping.clone();
        let router = router(shared.clone());
        let server =
            axum::serve(listener, router.clone()).with_graceful_shutdown(async move { ending.cancelled().await });
        tasks.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the sandbox stopped listening");
            }
        });
        tasks.spawn(push::deliver(shared.clone()));
        tasks.spawn(script::play(shared.clone()));
        tasks.spawn(push::forward(shared.clone()));
        tasks.spawn(channels::speak(shared.clone()));
        tasks.spawn(save_now_and_then(shared.clone()));
        Ok(Sandbox { shared, router, tasks })
    }

    /// Where it is reached, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.shared.public_url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Its time.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Looks at the world or changes it, and wakes whoever waits for what was changed. Nothing is served meanwhile, so
    /// do not block in `with`.
    pub fn world<R>(&self, with: impl FnOnce(&mut World) -> R) -> R {
        self.shared.with_world(with)
    }

    /// Answers a request as if it had come over the network: for simulations, which own the network too.
    pub async fn answer(&self, request: http::Request<Body>) -> http::Response<Body> {
        self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    /// Ends it: open pulls are answered, the world is saved.
    pub async fn stop(mut self) {
        self.shared.stopping.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = ended => {}
            () = self.shared.clock.held_back(STOP_WAIT) => {}
        }
        save(&self.shared).await;
    }
}

/// Runs a sandbox until `until` is done, then saves and ends it. `ready` is told its address once it listens.
pub async fn serve(
    options: Options,
    ready: impl FnOnce(&str),
    until: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let sandbox = Sandbox::start(options).await?;
    ready(sandbox.url());
    until.await;
    sandbox.stop().await;
    Ok(())
}

/// What every handler shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) public_url: String,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) http: reqwest::Client,
    pub(crate) outside_pubsub: Option<String>,
    /// Rises when something can be pulled, pushed or played that could not be before.
    pub(crate) arrivals: signal::Sender<u64>,
    pub(crate) stopping: CancellationToken,
    pub(crate) at_once: gate::AtOnce,
    changed: AtomicBool,
    state_file: Option<PathBuf>,
    world: Mutex<World>,
}

impl Shared {
    /// Looks at the world or changes it. Don't wait for anything inside.
    pub(crate) fn with_world<R>(&self, with: impl FnOnce(&mut World) -> R) -> R {
        let done = self.look(with);
        self.changed.store(true, Ordering::Relaxed);
        done
    }

    /// The same for what need not be saved.
    pub(crate) fn look<R>(&self, with: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        let before = world.pubsub.arrivals;
        let done = with(&mut world);
        if world.pubsub.arrivals != before {
            self.arrivals.send_modify(|count| *count += 1);
        }
        done
    }

    /// A panic in a test's closure must not make every later call fail, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let calls = Router::new()
        .merge(gmail::routes())
        .merge(directory::routes())
        .merge(calendar::routes())
        .merge(pubsub::routes())
        .merge(inspector::routes())
        .merge(mailbox::routes())
        .merge(planner::routes())
        .merge(oauth::routes())
        .merge(token::routes())
        .merge(console::routes())
        .merge(pages::routes())
        // Nobody waits for this network: what counts is that an answer is compressed, and that it costs little.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), gate::pass))
        .with_state(shared);
    batch::before(calls)
}

fn first_world(source: WorldSource, state_file: Option<&Path>, clock: &Clock, seed: u64) -> Result<World, StartError> {
    let saved = state_file.map(|path| state_file::load(path, clock)).transpose()?.flatten();
    Ok(match (saved, source) {
        (Some(world), _) => world,
        (None, WorldSource::Default) => WorldFile::default_world()?.build(clock.clone(), seed)?,
        (None, WorldSource::File(file)) => file.build(clock.clone(), seed)?,
        (None, WorldSource::Ready(world)) => World { clock: clock.clone(), ..*world },
    })
}

async fn save_now_and_then(shared: Arc<Shared>) {
    while !shared.stopping.is_cancelled() {
        tokio::select! {
            () = shared.clock.held_back(SAVE_EVERY) => save(&shared).await,
            () = shared.stopping.cancelled() => {}
        }
    }
}

/// Saves the world if it has changed since it was saved last.
async fn save(shared: &Shared) {
    let Some(path) = &shared.state_file else { return };
    if !shared.changed.swap(false, Ordering::Relaxed) {
        return;
    }
    let saved = match shared.look(|world| state_file::text(world)) {
        Ok(text) => state_file::write(path.clone(), text).await,
        Err(error) => Err(error),
    };
    if let Err(error) = saved {
        shared.changed.store(true, Ordering::Relaxed);
        tracing::error!(error = %error, path = %path.display(), "the sandbox's world could not be saved");
    }
}

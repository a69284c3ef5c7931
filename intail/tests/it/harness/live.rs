//! A whole Intail that runs by itself, as in production: on the machine's clock, with its web part, engine and notices,
//! beside a false Google. For tests that look at it from outside, through a browser. Nothing here steers the product:
//! what a test wants, it does at the pages of Intail and of the false Google.

use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::random::Random;
use intail::{connect, notices, sync, web};
use intail_google::oauth::scope;
use intail_google::pubsub::Credentials;
use intail_sandbox::access::AccessLevel;
use intail_sandbox::{Options, Sandbox};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A running Intail and its false Google. Dropping it cuts both off; [`Live::stop`] ends them in good order.
pub(crate) struct Live {
    pub(crate) sandbox: Sandbox,
    app: App,
    shutdown: CancellationToken,
    parts: JoinSet<()>,
    _directory: TempDir,
}

impl Live {
    /// Starts both on free ports of this machine, with the demo's world.
    ///
    /// Intail is at 127.0.0.1 and the false Google at localhost: two sites for a browser, as in production, so that
    /// cookies and policies between sites are tried, too.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        let (web_listener, google_listener) = (bind().await, bind().await);
        let address = web_listener.local_addr().expect("an address");
        let google_port = google_listener.local_addr().expect("an address").port();
        let public_url = format!("http://{address}");
        let options = Options {
            public_url: Some(format!("http://localhost:{google_port}")),
            product_url: Some(public_url.clone()),
            ..Options::new(google_listener)
        };
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        let config = demo::configuration(&sandbox, directory.path(), &public_url).expect("a configuration");
        let app = demo::product(&sandbox, config, Clock::machine(), Random::from_os()).await;
        let app = app.expect("the product starts");
        let shutdown = CancellationToken::new();
        let parts = start_parts(&app, web_listener, &shutdown);
        Self { sandbox, app, shutdown, parts, _directory: directory }
    }

    /// The same, after the administrator has let Intail in with the scopes that it asks for.
    pub(crate) async fn approved() -> Self {
        let live = Self::start().await;
        let client = live.app.config.google.client.client_id.clone();
        let scopes = scope::REQUESTED.iter().map(|it| (*it).to_owned()).collect();
        let level = AccessLevel::Specific { scopes };
        live.sandbox.world(|world| world.identity.policy.configured.insert(client, level));
        live
    }

    /// The address of one of Intail's pages.
    pub(crate) fn intail(&self, path: &str) -> String {
        format!("{}{path}", self.app.config.server.public_url.as_str())
    }

    /// The address of one of the false Google's pages.
    pub(crate) fn google(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.url())
    }

    /// The client ID that the administrator has to approve.
    pub(crate) fn client_id(&self) -> &str {
        &self.app.config.google.client.client_id
    }

    /// Ends everything, as a process does that is asked to stop.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.parts.join_next().await {
            ended.expect("a part ends without a panic");
        }
        self.app.store.close().await;
        self.sandbox.stop().await;
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// What `intail serve` runs in its three roles.
fn start_parts(app: &App, listener: TcpListener, shutdown: &CancellationToken) -> JoinSet<()> {
    let mut parts = JoinSet::new();
    let given = || (app.clone(), shutdown.clone());
    let (web_app, ending) = given();
    parts.spawn(async move {
        web::serve(web_app, listener, ending).await.expect("the web part serves");
    });
    let (sync_app, ending) = given();
    parts.spawn(async move { sync::run(&sync_app, ending).await.expect("the engine runs") });
    let (notices_app, ending) = given();
    parts.spawn(async move { notices::pull::run(&notices_app, &Credentials::anonymous(), ending).await });
    let (leaving_app, ending) = given();
    parts.spawn(async move { connect::resume_leaving(&leaving_app, ending).await });
    parts
}

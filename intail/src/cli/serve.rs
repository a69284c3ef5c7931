//! `intail serve`: runs Intail, all of it or some of its roles. Roles share nothing but the database, so each may run
//! in as many processes as wanted.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::lifecycle::{self, Part};
use super::{CliError, ConfigFile, Outcome, Surroundings, assemble, presence};
use crate::app::App;
use crate::config::{Config, PubSubMode};
use crate::org::audit;
use crate::{connect, notices, sync, web};

/// `intail serve …`
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// What this process does; give several separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Web, Role::Sync, Role::Notices])]
    roles: Vec<Role>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Answers people and programs
    Web,
    /// Copies mailboxes and keeps them live
    Sync,
    /// Fetches Google's notices from Pub/Sub
    Notices,
}

/// Runs it.
pub(super) async fn run(arguments: ServeArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    let config = arguments.config.load(&surroundings)?;
    let listener = match arguments.roles.contains(&Role::Web) {
        true => Some(listen(config.server.listen, "server.listen").await?),
        false => None,
    };
    let roles = arguments.roles;
    if is_deaf(&roles, &config) {
        tracing::warn!(
            "pubsub.mode is \"push\", so notices come to the processes with the role web; this one gets none"
        );
    }
    let Surroundings { clock, random, stop, .. } = &mut surroundings;
    let app = assemble(config, clock.clone(), random.clone()).await?;
    tracing::info!(
        listen = listener.as_ref().and_then(|it| it.local_addr().ok()).map(tracing::field::display),
        public_url = %app.config.server.public_url,
        ?roles,
        "Intail runs"
    );
    let shutdown = CancellationToken::new();
    let parts = parts(&app, listener, &roles, &shutdown)?;
    let ended = lifecycle::run(parts, shutdown, stop, clock).await;
    app.store.close().await;
    ended.map(|()| Outcome::Done)
}

/// Whether a process is there for notices only and will never get one.
fn is_deaf(roles: &[Role], config: &Config) -> bool {
    roles.contains(&Role::Notices) && !roles.contains(&Role::Web) && config.pubsub.mode != PubSubMode::Pull
}

/// The parts of a process with these roles. `listener` belongs to the role web.
pub(super) fn parts(
    app: &App,
    listener: Option<TcpListener>,
    roles: &[Role],
    shutdown: &CancellationToken,
) -> Result<Vec<Part>, CliError> {
    let mut parts = Vec::new();
    if let Some(listener) = listener {
        let (app, shutdown) = (app.clone(), shutdown.clone());
        parts.push(Part::new("web", async move {
            let failed = |error| CliError::new("The web server failed.").caused_by(error);
            web::serve(app, listener, shutdown).await.map_err(failed)
        }));
    }
    let (present, ending, name) = (app.clone(), shutdown.clone(), name(app, roles));
    parts.push(Part::new("presence", async move {
        presence::run(&present, &name, ending).await;
        Ok(())
    }));
    let (tidying, ending) = (app.clone(), shutdown.clone());
    parts.push(Part::new("retention", async move {
        remove_old(&tidying, ending).await;
        Ok(())
    }));
    let (writing, ending) = (app.clone(), shutdown.clone());
    parts.push(Part::new("receipts", async move {
        write_receipts(&writing, ending).await;
        Ok(())
    }));
    if roles.contains(&Role::Sync) {
        let (leaving, ending) = (app.clone(), shutdown.clone());
        parts.push(Part::new("leaving", async move {
            connect::resume_leaving(&leaving, ending).await;
            Ok(())
        }));
        let (looking, ending) = (app.clone(), shutdown.clone());
        parts.push(Part::new("repair", async move {
            connect::repair(&looking, ending).await;
            Ok(())
        }));
        let (app, shutdown) = (app.clone(), shutdown.clone());
        parts.push(Part::new("sync", async move { Ok(sync::run(&app, shutdown).await?) }));
    }
    if roles.contains(&Role::Notices) {
        let (app, shutdown) = (app.clone(), shutdown.clone());
        let credentials = notices::credentials(&app.config.pubsub.credentials).map_err(|error| {
            CliError::misused(super::sentence(&error))
                .hint("Name a service account's key file in pubsub.credentials_file.")
                .caused_by(error)
        })?;
        let (beating, ending, ours) = (app.clone(), shutdown.clone(), credentials.clone());
        parts.push(Part::new("heartbeat", async move {
            notices::heartbeat::run(&beating, &ours, ending).await;
            Ok(())
        }));
        parts.push(Part::new("notices", async move {
            notices::pull::run(&app, &credentials, shutdown).await;
            Ok(())
        }));
    }
    Ok(parts)
}

/// By what the operator knows a process: what it does, and where it listens if it does.
fn name(app: &App, roles: &[Role]) -> String {
    let words = [(Role::Web, "web"), (Role::Sync, "sync"), (Role::Notices, "notices")];
    let words: Vec<&str> = words.iter().filter(|(role, _)| roles.contains(role)).map(|(_, word)| *word).collect();
    match roles.contains(&Role::Web) {
        true => format!("{} on {}", words.join(","), app.config.server.listen),
        false => words.join(","),
    }
}

/// How often is looked for what is kept no longer.
const REMOVE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Removes what is kept no longer, until `shutdown`. Every process does so: twice is as good as once.
async fn remove_old(app: &App, shutdown: CancellationToken) {
    loop {
        if let Err(error) = audit::remove_old(&app.store, app.clock.now()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "old audit entries can't be removed yet");
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = app.clock.sleep(REMOVE_EVERY) => {}
        }
    }
}

/// How often receipts that wait are written.
const RECEIPTS_EVERY: Duration = Duration::from_secs(2);

/// Writes receipts until `shutdown`, and once more then. Every process makes calls, whatever its roles.
async fn write_receipts(app: &App, shutdown: CancellationToken) {
    loop {
        let ending = tokio::select! {
            () = shutdown.cancelled() => true,
            () = app.clock.sleep(RECEIPTS_EVERY) => false,
        };
        if let Err(error) = app.receipts.write(&app.store, app.clock.now()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "receipts can't be written yet");
        }
        if ending {
            return;
        }
    }
}

/// Listens, or says in a sentence why that isn't possible. `setting` is what to change.
pub(super) async fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        let sentence = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!("Another program already listens on {address}."),
            std::io::ErrorKind::PermissionDenied => format!("This user may not listen on {address}."),
            std::io::ErrorKind::AddrNotAvailable => format!("This machine has no address {}.", address.ip()),
            _ => format!("Intail can't listen on {address}."),
        };
        CliError::misused(sentence).hint(format!("Choose another address with {setting}.")).caused_by(error)
    })
}

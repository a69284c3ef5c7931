//! Every `intail serve` says again and again that it runs and which keys it holds, and looks whether there are others:
//! so that keys can be rotated while it runs, and that nobody moves the database away under it.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::sentence;
use crate::app::App;
use crate::seal::SealError;
use crate::store::processes::{self, Process};
use crate::store::{Store, StoreError, Tx, operator_faults};

/// How often a process looks for new keys. A text is sealed and committed within less: a transaction waits for its turn
/// ten seconds at most, and the new key is told of one look after it came into use.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it says that it runs, if it has nothing new to say.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// Who wasn't heard of for so long doesn't run: several times what it takes to be heard.
const GONE_AFTER: Duration = Duration::from_secs(120);
/// How long after that its row goes.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);
/// The most processes that are looked at; a hundred are many.
const PROCESSES_MAX: i64 = 10_000;

/// The fault of a process that lacks a key.
const KEYS_MISSING: &str = "keys.missing";

/// Those that run, as far as is known.
pub(super) async fn running(tx: &mut Tx, now: Timestamp) -> Result<Vec<Process>, StoreError> {
    processes::running(tx, earlier(now, GONE_AFTER), PROCESSES_MAX).await
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// Says so and looks, until `shutdown`.
pub(super) async fn run(app: &App, name: &str, shutdown: CancellationToken) {
    let id = format!("pro_{}", app.random.token());
    let mut presence = Presence { app, id, name, said: None, sealed_under: app.keyring.sealing_id(), failing: None };
    loop {
        presence.look().await;
        if let Err(error) = presence.say().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "this process can't say yet that it runs");
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = app.clock.sleep(LOOK_EVERY) => {}
        }
    }
    if let Err(error) = presence.leave().await {
        tracing::debug!(error = &error as &dyn std::error::Error, "that this process ended shows in two minutes");
    }
}

struct Presence<'a> {
    app: &'a App,
    id: String,
    name: &'a str,
    /// What was said last, and when.
    said: Option<(Process, Timestamp)>,
    /// The key that everything is sealed under that isn't committed yet.
    sealed_under: String,
    /// What the last look failed with; nothing when it went well.
    failing: Option<String>,
}

impl Presence<'_> {
    async fn look(&mut self) {
        // What was sealed before the look before this one has been committed by now.
        self.sealed_under = self.app.keyring.sealing_id();
        let ended = self.app.keyring.look(&self.app.store).await;
        let is_first = self.said.is_none();
        let now = self.app.clock.now();
        match ended {
            Ok(()) if self.failing.is_some() || is_first => {
                self.failing = None;
                self.fault(None, now).await;
            }
            Ok(()) => {}
            Err(error) => {
                let text = sentence(&error);
                if self.failing.as_ref() != Some(&text) {
                    tracing::error!(error = &error as &dyn std::error::Error, "the keys can't be brought up to date");
                }
                if !matches!(error, SealError::Store(_)) {
                    self.fault(Some(&text), now).await;
                }
                self.failing = Some(text);
            }
        }
    }

    /// Tells the operator, or that the thing works again.
    async fn fault(&self, text: Option<&str>, now: Timestamp) {
        let told = async {
            let mut tx = self.app.store.write().await?;
            match text {
                Some(text) => {
                    let detail = format!("A running process ({}) can't use all keys: {text}", self.name);
                    operator_faults::raise(&mut tx, KEYS_MISSING, &detail, now).await?;
                }
                None => {
                    operator_faults::clear(&mut tx, KEYS_MISSING).await?;
                }
            }
            tx.commit().await
        };
        if let Err(error) = told.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "how the keys stand can't be told yet");
        }
    }

    async fn say(&mut self) -> Result<(), StoreError> {
        let (app, now) = (self.app, self.app.clock.now());
        let process = Process {
            id: self.id.clone(),
            name: self.name.to_owned(),
            holds: app.keyring.marks(),
            seals_under: self.sealed_under.clone(),
        };
        let is_said = |(said, at): &(Process, Timestamp)| *said == process && *at > earlier(now, SAY_EVERY);
        if self.said.as_ref().is_some_and(is_said) {
            return Ok(());
        }
        let mut tx = app.store.write().await?;
        processes::say(&mut tx, &process, now).await?;
        processes::forget(&mut tx, earlier(now, FORGOTTEN_AFTER)).await?;
        tx.commit().await?;
        self.said = Some((process, now));
        Ok(())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let mut tx = self.app.store.write().await?;
        processes::leave(&mut tx, &self.id).await?;
        tx.commit().await
    }
}

/// Waits until no running process is `behind` any more, for `wait_max` at most. Answers those that still are.
pub(super) async fn wait_for(
    store: &Store,
    clock: &crate::clock::Clock,
    wait_max: Duration,
    behind: impl Fn(&Process) -> bool,
) -> Result<Vec<String>, StoreError> {
    let end = clock.now().saturating_add(wait_max).unwrap_or(Timestamp::MAX);
    loop {
        let mut tx = store.read().await?;
        let running = running(&mut tx, clock.now()).await?;
        drop(tx);
        let names: Vec<String> = running.into_iter().filter(&behind).map(|it| it.name).collect();
        if names.is_empty() || clock.now() >= end {
            return Ok(names);
        }
        clock.sleep(WAIT_STEP).await;
    }
}

/// Between two looks whether all processes are so far.
const WAIT_STEP: Duration = Duration::from_millis(500);

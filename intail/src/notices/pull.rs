//! Notices that Intail fetches: a few pulls are always outstanding, each takes a batch, marks it, and acknowledges it.
//!
//! What a reader must not break: the acknowledgement comes after the commit, nothing is handed back, and a loop that
//! fails waits on the app's clock, longer each time. A shutdown interrupts waiting, never a batch that is being marked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use intail_google::pubsub::{Created, Credentials, PubSub, Received};
use intail_google::{Error, ErrorKind, Refusal};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{Taken, provision};
use crate::app::App;
use crate::config::PubSubMode;
use crate::random::Random;
use crate::store::{StoreError, mailboxes, operator_faults};

/// Pulls that wait at Pub/Sub at the same time: while one batch is being marked, the others still listen.
const PULLS_OUTSTANDING: usize = 3;
/// Messages that one pull takes: a full batch is one short transaction and one acknowledgement.
const MESSAGES_PER_PULL_MAX: u16 = 500;
/// How often marking a batch is tried before it is left to come again.
const MARK_TRIES_MAX: u32 = 3;
/// The first wait after a failure; each further one is twice as long.
const PAUSE_MS_MIN: u64 = 500;
/// The longest wait after failures: a mended Pub/Sub is noticed within a minute.
const PAUSE_MS_MAX: u64 = 60_000;
/// The longest wait that Pub/Sub may ask for. Beyond it something is wrong and asking again is right.
const SLOW_DOWN_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Empty answers in a row that may come at once. A server that doesn't hold pulls back would otherwise be asked without
/// pause.
const QUICK_EMPTIES_MAX: u32 = 20;
/// An empty answer that took no longer than this came at once.
const QUICK: SignedDuration = SignedDuration::from_secs(1);
/// Failures in a row after which an unreachable Pub/Sub is the operator's matter.
const UNREACHABLE_AFTER: u32 = 5;
/// How long a success counts as proof that nothing has to be struck off: another instance may have raised it meanwhile.
const CLEAN_FOR: SignedDuration = SignedDuration::from_mins(5);

const UNREACHABLE: &str = "pubsub.unreachable";
const FORBIDDEN: &str = "pubsub.forbidden";
const MISSING: &str = "pubsub.missing";
const REFUSED: &str = "pubsub.refused";
/// Every kind of fault that this file raises, and strikes off when a pull works.
const FAULTS: [&str; 4] = [UNREACHABLE, FORBIDDEN, MISSING, REFUSED];

/// Pulls until `shutdown`. With `pubsub.mode = "push"` there is nothing to pull, and it only waits.
pub async fn run(app: &App, credentials: &Credentials, shutdown: CancellationToken) {
    if app.config.pubsub.mode != PubSubMode::Pull {
        return shutdown.cancelled().await;
    }
    let pubsub = app.google.pubsub(app.config.pubsub.endpoint.as_str(), credentials);
    let puller = Puller { app, pubsub, shutdown, clean_since: Mutex::new(None), was_missing: AtomicBool::new(false) };
    join_all((0..PULLS_OUTSTANDING).map(|_| puller.keep_pulling())).await;
}

struct Puller<'a> {
    app: &'a App,
    pubsub: PubSub,
    shutdown: CancellationToken,
    /// Since when no fault of ours is known to stand in the store.
    clean_since: Mutex<Option<Timestamp>>,
    /// Whether the subscription was missing, couldn't be made again as far as is known, and nobody's mailbox was looked
    /// at since. When it is there again, somebody else made it, or our own asking was carried out and its answer lost.
    was_missing: AtomicBool,
}

/// What went wrong in one round.
enum Stumble {
    Google(Error),
    Store(StoreError),
}

impl Puller<'_> {
    async fn keep_pulling(&self) {
        let (mut failures, mut quick_empties) = (0, 0);
        while !self.shutdown.is_cancelled() {
            let began = self.app.clock.now();
            match self.round().await {
                Ok(received) => {
                    failures = 0;
                    let quick = received == 0 && self.app.clock.now().duration_since(began) <= QUICK;
                    quick_empties = if quick { quick_empties + 1 } else { 0 };
                    if quick_empties > QUICK_EMPTIES_MAX {
                        self.rest(self.app.clock.now() + QUICK).await;
                    }
                }
                Err(stumble) => {
                    failures += 1;
                    let until = self.after(&stumble, failures).await;
                    self.rest(until).await;
                }
            }
        }
    }

    /// One pull, taken and acknowledged. Answers how many messages came; a shutdown while waiting is none.
    async fn round(&self) -> Result<usize, Stumble> {
        let subscription = &self.app.config.pubsub.subscription;
        let batch = tokio::select! {
           biased;
            () = self.shutdown.cancelled() => return Ok(0),
            batch = self.pubsub.pull(subscription, MESSAGES_PER_PULL_MAX) => batch.map_err(Stumble::Google)?,
        };
        self.works().await;
        if self.was_missing.swap(false, Ordering::AcqRel) {
            self.look_everywhere().await;
        }
        if batch.is_empty() {
            return Ok(0);
        }
        self.mark(&batch).await.map_err(Stumble::Store)?;
        let ack_ids: Vec<String> = batch.iter().map(|message| message.ack_id.clone()).collect();
        if let Err(error) = self.pubsub.acknowledge(subscription, &ack_ids).await {
            // Their marks are committed; that they come again costs one more look.
            tracing::warn!(%error, messages = batch.len(), "notices couldn't be acknowledged and will come again");
        }
        Ok(batch.len())
    }

    async fn mark(&self, batch: &[Received]) -> Result<Taken, StoreError> {
        let mut tries = 1;
        loop {
            match super::take(self.app, batch.iter().map(|message| message.data.as_slice())).await {
                Err(error) if tries < MARK_TRIES_MAX && !self.shutdown.is_cancelled() => {
                    tracing::warn!(%error, tries, "a batch of notices couldn't be marked; trying again");
                    self.rest(self.app.clock.now() + pause(tries, &self.app.random)).await;
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// Deals with a failure, and says when to go on.
    async fn after(&self, stumble: &Stumble, failures: u32) -> Timestamp {
        let now = self.app.clock.now();
        let pause = now + pause(failures, &self.app.random);
        let error = match stumble {
            Stumble::Store(error) => {
                let error: &dyn std::error::Error = error;
                tracing::error!(error, failures, "a batch of notices couldn't be marked and will come again");
                return pause;
            }
            Stumble::Google(error) => error,
        };
        tracing::warn!(%error, failures, "notices couldn't be pulled");
        if error.kind == ErrorKind::Refused(Refusal::NotFound) {
            self.make_again().await;
        } else if let Some((kind, detail)) = fault(&error.kind, failures) {
            self.raise(kind, detail).await;
        }
        match error.kind {
            ErrorKind::SlowDown { until: Some(until), .. } => pause.max(until.min(now + SLOW_DOWN_MAX)),
            _ => pause,
        }
    }

    /// Makes a subscription that has gone, and its topic if that has gone too.
    async fn make_again(&self) {
        let (settings, public_url) = (&self.app.config.pubsub, &self.app.config.server.public_url);
        let made = match provision::subscription(&self.pubsub, settings, public_url).await {
            Err(error) if error.source.kind == ErrorKind::Refused(Refusal::NotFound) => {
                provision::provision(&self.pubsub, settings, public_url).await.map(|made| made.subscription)
            }
            made => made,
        };
        match made {
            Ok(Created::New) => {
                tracing::warn!(subscription = settings.subscription, "the subscription was missing and was made");
                self.was_missing.store(false, Ordering::Release);
                self.look_everywhere().await;
            }
            Ok(Created::Existed) if self.was_missing.swap(false, Ordering::AcqRel) => self.look_everywhere().await,
            // Whoever was faster has looked.
            Ok(Created::Existed) => {}
            Err(error) => {
                self.was_missing.store(true, Ordering::Release);
                let detail = format!(
                    "The Pub/Sub subscription {} doesn't exist, so no new mail is noticed. {error} Or run \
                     `intail doctor --fix` with credentials that may create it.",
                    settings.subscription
                );
                self.raise(MISSING, detail).await;
            }
        }
    }

    /// What was published while there was no subscription is lost: everybody's mailbox is looked at once.
    async fn look_everywhere(&self) {
        let woken = async {
            let mut tx = self.app.store.write().await?;
            let mailboxes = mailboxes::wake_all(&mut tx, self.app.clock.now()).await?;
            tx.commit().await.map(|()| mailboxes)
        };
        match woken.await {
            Ok(mailboxes) => tracing::info!(mailboxes, "every mailbox is looked at, as notices may have been lost"),
            Err(error) => {
                self.was_missing.store(true, Ordering::Release);
                tracing::error!(%error, "mailboxes couldn't be marked; the next pull that works tries again");
            }
        }
        self.app.due.ring();
    }

    /// Records a fault for the operator.
    async fn raise(&self, kind: &'static str, detail: String) {
        *self.clean_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let now = self.app.clock.now();
        let raised = async {
            let mut tx = self.app.store.write().await?;
            operator_faults::raise(&mut tx, kind, &detail, now).await?;
            tx.commit().await
        };
        if let Err(error) = raised.await {
            tracing::error!(%error, kind, "a fault couldn't be recorded");
        }
    }

    /// A pull worked: strikes off what was recorded before.
    async fn works(&self) {
        let now = self.app.clock.now();
        let since = *self.clean_since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| now.duration_since(since) < CLEAN_FOR) {
            return;
        }
        let cleared = async {
            let mut tx = self.app.store.write().await?;
            for kind in FAULTS {
                operator_faults::clear(&mut tx, kind).await?;
            }
            tx.commit().await
        };
        match cleared.await {
            Ok(()) => *self.clean_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(now),
            Err(error) => tracing::error!(%error, "faults that are mended couldn't be struck off"),
        }
    }

    async fn rest(&self, until: Timestamp) {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {}
            () = self.app.clock.sleep_until(until) => {}
        }
    }
}

/// How long to wait after so many failures in a row: doubling, bounded, and between half and the whole of it by chance,
/// so that instances that failed together don't come back together.
fn pause(failures: u32, random: &Random) -> Duration {
    let doublings = failures.saturating_sub(1).min(u32::BITS - 1);
    let whole = PAUSE_MS_MIN.saturating_mul(1 << doublings).min(PAUSE_MS_MAX);
    Duration::from_millis(whole / 2 + random.below(whole / 2 + 1))
}

/// The operator's part in a failure: the fault's kind, and what is wrong and what to do.
fn fault(kind: &ErrorKind, failures: u32) -> Option<(&'static str, String)> {
    match kind {
        ErrorKind::Refused(Refusal::Forbidden | Refusal::Unauthorized | Refusal::ScopeMissing) => Some((
            FORBIDDEN,
            "Pub/Sub refuses to hand out notices, so no new mail is noticed. Give the service account of \
             pubsub.credentials_file the role roles/pubsub.subscriber on the subscription; `intail doctor` shows which."
                .to_owned(),
        )),
        ErrorKind::Refused(refusal) => Some((
            REFUSED,
            format!("Pub/Sub refuses the request for notices: {refusal}. Run `intail doctor` to see what is wrong."),
        )),
        ErrorKind::Transient | ErrorKind::NotUnderstood if failures >= UNREACHABLE_AFTER => Some((
            UNREACHABLE,
            format!(
                "Pub/Sub hasn't answered {failures} times in a row, so no new mail is noticed. Intail keeps trying; \
                 check this machine's way to the address of Pub/Sub."
            ),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use intail_google::{OperatorFault, SlowScope};

    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_differ() {
        let random = Random::seeded(7);
        for (failures, whole) in [(1, 500), (2, 1_000), (4, 4_000), (8, 60_000), (100, 60_000), (u32::MAX, 60_000)] {
            let pauses: Vec<u128> = (0..50).map(|_| pause(failures, &random).as_millis()).collect();
            assert!(pauses.iter().all(|it| (whole / 2..=whole).contains(it)), "{failures}: {pauses:?}");
            assert!(pauses.iter().any(|it| *it != pauses[0]), "{failures}");
        }
    }

    #[test]
    fn what_the_operator_has_to_mend_is_told_and_passing_trouble_is_not() {
        let kind = |kind: &ErrorKind, failures| fault(kind, failures).map(|(kind, _)| kind);
        assert_eq!(kind(&ErrorKind::Refused(Refusal::Forbidden), 1), Some(FORBIDDEN));
        assert_eq!(kind(&ErrorKind::Refused(Refusal::Operator(OperatorFault::ApiDisabled)), 1), Some(REFUSED));
        assert_eq!(kind(&ErrorKind::Transient, UNREACHABLE_AFTER - 1), None);
        assert_eq!(kind(&ErrorKind::Transient, UNREACHABLE_AFTER), Some(UNREACHABLE));
        assert_eq!(kind(&ErrorKind::SlowDown { until: None, scope: SlowScope::Project }, 50), None);
        for raised in [FORBIDDEN, REFUSED, UNREACHABLE, MISSING] {
            assert!(FAULTS.contains(&raised));
        }
    }
}

//! The watch: Google's push registration, renewed once a day for ever. A failed renewal never stops reading, and the
//! watch's answer never moves the cursor: it only shows whether notices were missed.

use std::time::Duration;

use intail_google::gmail::WatchAnswer;
use intail_google::{Error, ErrorKind, OperatorFault, Refusal};
use jiff::Timestamp;
use serde_json::json;

use super::budget::Class;
use super::mail::Run;
use super::plan::{PROBE_AFTER, PROBE_WITHOUT_PUSH, TRAILING_LOOK, is_noticed};
use super::worker::{Done, StepError};
use crate::id::HistoryId;
use crate::store::changes::NewChange;
use crate::store::mailboxes::{self, WATCH_ALERT};
use crate::store::{StoreError, Tx, operator_faults};

/// Renewals come between these two after the last one: daily, spread over the day, far from the seven days after which
/// Google stops (Google's push guide).
const RENEW_AFTER: Duration = Duration::from_secs(20 * 3600);
const RENEW_SPREAD_S: u64 = 8 * 3600;
/// After a failed renewal: soon, then twice as long each time, since each try costs 100 units.
const RETRY: Duration = Duration::from_secs(10 * 60);
/// The longest wait between two tries: what stands in the way of one mailbox passes mostly.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// The longest wait for what the operator has to mend. It stands in everybody's way, and the first mailbox that gets
/// through lets all others try.
const RETRY_OPERATOR_MAX: Duration = Duration::from_secs(6 * 3600);
/// Within how many seconds those others try: of 20,000, some 330 a minute.
const RENEW_ALL_WITHIN_S: i64 = 3600;
/// How often the labels' names are asked for where nothing else happens: the history doesn't tell that one was renamed,
/// and privacy settings go by names.
const LABELS_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);

/// The kinds of operator faults that a watch can show.
const FAULTS: &[&str] =
    &["pubsub.topic_missing", "pubsub.topic_foreign", "pubsub.publisher_missing", "gmail.api_disabled"];

/// Faults because of which Google tells nobody anything, whatever a watch's expiry says.
const SILENCING: [&str; 4] =
    ["pubsub.topic_missing", "pubsub.topic_foreign", "pubsub.publisher_missing", "google.silent"];

/// What the operator reads two days before Google stops pushing.
const ENDING: &str = "watch.ending";
const ENDING_DETAIL: &str = "Google stops telling of changes in at least one mailbox within two days, or has stopped, \
     or never began: setting its watch fails again and again. Its mail is still read, every ten minutes instead of at \
     once. The card of its person, under Settings, says what Google answers.";

impl Run<'_> {
    pub(super) async fn watch(&mut self) -> Result<Done, StepError> {
        let units = self.price("gmail.watch");
        if let Err(until) = self.take(units, Class::Live) {
            return Ok(Done::Wait(until));
        }
        let mut answer = self.app.google.gmail(&self.caller).watch(&self.app.config.pubsub.topic).await;
        if answer.as_ref().is_err_and(|it| it.kind == ErrorKind::Refused(Refusal::PushClientConflict)) {
            if let Err(until) = self.take(self.price("gmail.stop") + units, Class::Live) {
                return Ok(Done::Wait(until));
            }
            answer = self.watch_anew().await;
        }
        match answer {
            Ok(answer) => self.watched(HistoryId(answer.history_id), answer.expires_at).await,
            Err(error) if passes(&error) => {
                self.not_watched(&error).await?;
                Ok(Done::Step)
            }
            Err(error) if matches!(error.kind, ErrorKind::SlowDown { .. }) => {
                // Nothing is asked until then; but what is asked next is what changed, and not the same once more.
                self.stopping = true;
                self.not_watched(&error).await?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Another topic is still registered, or two renewals met: stop, then watch once more.
    async fn watch_anew(&self) -> Result<WatchAnswer, Error> {
        let gmail = self.app.google.gmail(&self.caller);
        gmail.stop().await?;
        gmail.watch(&self.app.config.pubsub.topic).await
    }

    async fn watched(&mut self, current: HistoryId, expires_at: Timestamp) -> Result<Done, StepError> {
        let gapless = self.mailbox.watch_expires_at.is_some_and(|ends| ends > self.now);
        // A reconnect begins a new registration, whatever the old one's expiry says.
        let old = self.mailbox.watch_set_at.is_some_and(|set| set < self.grant.connected_at);
        let first = !gapless || old || self.mailbox.watch_since.is_none();
        if first {
            self.mailbox.watch_since = Some(self.now);
            // Google tells of one change a second, and its first notice is of the registration itself.
            let after = |wait| self.now.saturating_add(wait).ok();
            self.mailbox.look_at = [self.mailbox.look_at, after(TRAILING_LOOK)].into_iter().flatten().min();
            self.mailbox.probe_at = [self.mailbox.probe_at, after(PROBE_AFTER)].into_iter().flatten().min();
        }
        let daily = RENEW_AFTER + Duration::from_secs(self.app.random.below(RENEW_SPREAD_S));
        // Long before it ends, should Google ever give less than the week that its guide tells of.
        let half = Duration::try_from(expires_at.duration_since(self.now)).unwrap_or_default() / 2;
        self.mailbox.watch_set_at = Some(self.now);
        self.mailbox.watch_expires_at = Some(expires_at);
        self.mailbox.watch_due_at = self.now.saturating_add(daily.min(half).max(RETRY)).unwrap_or(self.now);
        self.mailbox.watch_problem = None;
        if self.mailbox.cursor.is_some_and(|cursor| current > cursor) {
            self.mailbox.look_at = Some(self.now);
        }
        let changes: Vec<NewChange> = first
            .then(|| NewChange { kind: "mailbox.watched", subject_id: String::new(), data: json!({}) })
            .into_iter()
            .collect();
        let mut tx = self.write().await?;
        let mut is_mended = false;
        for kind in FAULTS {
            is_mended |= operator_faults::clear(&mut tx, kind).await?;
        }
        self.clear_ending(&mut tx).await?;
        if !first {
            self.note_untold(&mut tx, current).await?;
        }
        self.commit(tx, &changes).await?;
        if is_mended {
            // Apart, so that nobody's row is locked together with this one's.
            let mut tx = self.app.store.write().await?;
            mailboxes::renew_failed(&mut tx, self.now, RENEW_ALL_WITHIN_S).await?;
            tx.commit().await?;
        }
        let since = self.mailbox.labels_at;
        let is_old = since.is_none_or(|at| at.saturating_add(LABELS_EVERY).is_ok_and(|it| it <= self.now));
        // Who does nothing else renames nothing, mostly. What nobody told of was done, too.
        if is_old || self.mailbox.cursor_at > since || self.mailbox.cursor.is_none_or(|it| it < current) {
            self.labels().await?;
        }
        Ok(Done::Step)
    }

    /// The fault about watches that end is over once no other mailbox has one.
    async fn clear_ending(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let soon = self.now.saturating_add(WATCH_ALERT).unwrap_or(self.now);
        if mailboxes::other_failing_watches(tx, &self.mailbox.id, soon).await? == 0 {
            operator_faults::clear(tx, ENDING).await?;
        }
        Ok(())
    }

    async fn not_watched(&mut self, error: &Error) -> Result<(), StepError> {
        tracing::warn!(%error, mailbox = %self.mailbox.id, "the watch couldn't be set");
        let fault = match &error.kind {
            ErrorKind::Refused(Refusal::Operator(fault)) => Some(fault),
            _ => None,
        };
        let tried = self.mailbox.watch_set_at.filter(|_| self.mailbox.watch_problem.is_some());
        let waited = tried.and_then(|tried| Duration::try_from(self.now.duration_since(tried)).ok());
        let most = if fault.is_some() { RETRY_OPERATOR_MAX } else { RETRY_MAX };
        let wait = waited.unwrap_or_default().saturating_mul(2).clamp(RETRY, most);
        self.mailbox.watch_problem = Some(error.kind.to_string());
        self.mailbox.watch_due_at = self.now.saturating_add(wait).unwrap_or(self.now);
        // A renewal after a reconnect counts as tried: the due time above decides from here.
        self.mailbox.watch_set_at = Some(self.now);
        // The daily answer was the check for missed notices, and there was none. A probe that is due stays due.
        let probe_at = if waited.is_none() { Some(self.now) } else { self.now.saturating_add(PROBE_WITHOUT_PUSH).ok() };
        self.mailbox.probe_at = [self.mailbox.probe_at, probe_at].into_iter().flatten().min();
        if let Some(kind) = fault.map(kind_of).filter(|kind| SILENCING.contains(kind)) {
            self.look_at_everybody(kind).await?;
        }
        let mut tx = self.write().await?;
        if let Some(fault) = fault {
            operator_faults::raise(&mut tx, kind_of(fault), &fault.to_string(), self.now).await?;
        }
        if self.mailbox.is_watch_failing(self.now) {
            operator_faults::raise(&mut tx, ENDING, ENDING_DETAIL, self.now).await?;
        }
        self.commit(tx, &[]).await?;
        Ok(())
    }

    /// What stands in the way of this watch keeps Google from telling anybody: the first who finds out lets everybody
    /// be looked at. In a transaction of its own and before the fault is written down: after a crash it is news again.
    async fn look_at_everybody(&self, kind: &str) -> Result<(), StoreError> {
        let mut tx = self.app.store.write().await?;
        if operator_faults::list(&mut tx).await?.iter().any(|it| it.kind == kind) {
            return Ok(());
        }
        mailboxes::wake_all(&mut tx, self.now).await?;
        tx.commit().await?;
        self.app.due.ring();
        Ok(())
    }

    /// Whether Google tells of changes now, as far as is known: the registration stands, its last renewal succeeded,
    /// and nothing is wrong with the way for everybody.
    pub(super) async fn is_told(&self, tx: &mut Tx) -> Result<bool, StoreError> {
        if !self.push_is_live() || self.mailbox.watch_problem.is_some() {
            return Ok(false);
        }
        let faults = operator_faults::list(tx).await?;
        Ok(faults.iter().all(|it| !SILENCING.contains(&it.kind.as_str())))
    }

    /// Google's present history id is past the cursor, and nobody told although somebody should have: the heartbeat
    /// adds these up.
    pub(super) async fn note_untold(&self, tx: &mut Tx, current: HistoryId) -> Result<(), StoreError> {
        // An id that is known already was told of, or is of nothing that anybody is told of.
        let is_behind = self.mailbox.cursor.max(self.mailbox.ahead).is_some_and(|known| current > known);
        if is_behind && self.push_is_live() && !is_noticed(&self.mailbox) {
            mailboxes::find_untold(tx, &self.mailbox.id, self.now).await?;
        }
        Ok(())
    }

    /// Whether Google pushes now, by the evidence of the expiry that it gave.
    pub(super) fn push_is_live(&self) -> bool {
        self.mailbox.watch_expires_at.is_some_and(|ends| ends > self.now)
    }
}

/// Whether reading goes on although the watch failed: everything that isn't about the person's grant.
fn passes(error: &Error) -> bool {
    match &error.kind {
        ErrorKind::Transient | ErrorKind::NotUnderstood => true,
        ErrorKind::Refused(refusal) => !matches!(refusal, Refusal::Unauthorized | Refusal::ScopeMissing),
        _ => false,
    }
}

fn kind_of(fault: &OperatorFault) -> &'static str {
    match fault {
        OperatorFault::TopicMissing => FAULTS[0],
        OperatorFault::TopicForeign => FAULTS[1],
        OperatorFault::PublisherMissing => FAULTS[2],
        _ => FAULTS[3],
    }
}

//! The engine: claims streams that are due, does steps until each may rest, and says when to look again. `tick` is
//! the engine; `run` is the loop around it. What a step is, each kind of stream knows: `mail_turn`, `calendar_turn`,
//! `directory_turn`. What a failure means stands in `failures`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use intail_google::calls::Api;
use intail_google::oauth::scope;
use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Budgets};
use super::failures::scope_of;
use super::shares;
use crate::access::AccessError;
use crate::app::App;
use crate::id::{OrganizationId, StreamId};
use crate::org::receipts::Taken;
use crate::store::grants::{self, Grant, GrantState};
use crate::store::leases::{self, Lease, Stream, Wanted};
use crate::store::{StoreError, organizations};

/// Streams that one process works on at once. Each holds a few answers in memory and waits mostly for Google.
const STREAMS_AT_ONCE_MAX: usize = 48;
/// How many of them may be worked on without a notice: the rest of the places is for changes that just happened, which
/// never wait behind anybody's backfill.
const UNNOTICED_AT_ONCE_MAX: usize = 32;
/// How many of them may be worked on because of a notice: however many come, what nobody gave notice of goes on.
const NOTICED_AT_ONCE_MAX: usize = 40;
/// Steps for one stream before others get their turn.
const STEPS_MAX: usize = 8;
/// How long a lease holds without being prolonged, and how often it is: a step with many slow calls may take minutes, a
/// process that died should be replaced soon.
const LEASE: Duration = Duration::from_secs(90);
const PROLONG_EVERY: Duration = Duration::from_secs(20);
/// When that is tried again after it failed: whoever comes next counts on it that Google's minute after the last call
/// is over when the lease ends.
const PROLONG_AGAIN: Duration = Duration::from_secs(1);
/// How often the store is asked for due streams when no bell rings: other instances can't ring this one's. Sooner where
/// one is known to be due sooner, but no sooner than this, lest one that stays due without anybody getting it be asked
/// for without end.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_LEAST: Duration = Duration::from_millis(20);
/// How often grants that wait for the operator are tried again: what was wrong with the OAuth client may be mended at
/// any time, by a restart or at Google. One refresh a grant and hour.
const OPERATOR_RETRY_EVERY: Duration = Duration::from_secs(3600);

/// Why a step didn't succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// Google refused or couldn't answer.
    #[error("Google refused or couldn't answer")]
    Google(#[from] intail_google::Error),
    /// There is no working access token.
    #[error("there is no working access token")]
    Access(#[from] AccessError),
    /// The store failed, or the lease was lost.
    #[error("the store failed, or the lease was lost")]
    Store(#[from] StoreError),
    /// Google hands out page after page without anything new.
    #[error("Google's pages lead nowhere")]
    LeadsNowhere,
}

/// What a step leaves.
pub(super) enum Done {
    /// Plan again.
    Step,
    /// The budget is used up until then.
    Wait(Timestamp),
}

/// What is to be worked on.
enum Claimed {
    /// These streams.
    Streams(Vec<(Lease, Place)>),
    /// None now. When the next one was due when it was asked.
    Nothing(Option<Timestamp>),
}

/// One of the places for streams that are worked on; free again when this goes.
struct Place(#[expect(dead_code, reason = "it is counted")] Arc<()>);

/// The places that are taken, by why: each is one more owner of these.
#[derive(Default)]
struct Places {
    noticed: Arc<()>,
    due: Arc<()>,
}

impl Places {
    fn of(&self, wanted: Wanted) -> &Arc<()> {
        match wanted {
            Wanted::Noticed => &self.noticed,
            Wanted::Due => &self.due,
        }
    }

    fn taken(&self, wanted: Wanted) -> usize {
        Arc::strong_count(self.of(wanted)).saturating_sub(1)
    }

    fn take(&self, wanted: Wanted) -> Place {
        Place(self.of(wanted).clone())
    }

    /// How many may be claimed that are wanted so.
    fn free(&self, wanted: Wanted) -> usize {
        let (noticed, due) = (self.taken(Wanted::Noticed), self.taken(Wanted::Due));
        let of_kind = match wanted {
            Wanted::Noticed => NOTICED_AT_ONCE_MAX.saturating_sub(noticed),
            Wanted::Due => UNNOTICED_AT_ONCE_MAX.saturating_sub(due),
        };
        of_kind.min(STREAMS_AT_ONCE_MAX.saturating_sub(noticed + due))
    }
}

/// One process's engine.
pub struct Worker {
    pub(super) app: App,
    owner: String,
    /// What its successor will be called, too, if that is known.
    place: Option<String>,
    places: Places,
    pub(super) budgets: Budgets,
    /// When this process last said that it takes part in the project's quota.
    attended_at: Mutex<Option<Timestamp>>,
    /// The lease under which this process worked on a stream last: if nobody had one since, the budget here knows all
    /// that was spent on it.
    worked: Mutex<BTreeMap<StreamId, i64>>,
}

/// Works until `shutdown`, and then finishes the steps that are under way.
///
/// Each stream is a task of its own: a stream that waits for the database while this loop waits for it too must not
/// depend on this loop to go on.
pub async fn run(app: &App, shutdown: CancellationToken) -> Result<(), StoreError> {
    let worker = Arc::new(Worker { place: shares::place(&app.config), ..Worker::new(app) });
    let mut running = JoinSet::new();
    let mut reopening_due = app.clock.now();
    loop {
        let now = app.clock.now();
        if now >= reopening_due {
            match worker.reopen(now).await {
                Ok(()) => reopening_due = now.saturating_add(OPERATOR_RETRY_EVERY).unwrap_or(now),
                // Tried again with the next look.
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "grants can't be tried again"),
            }
        }
        let mut rest = LOOK_EVERY;
        match worker.claim().await {
            Ok(Claimed::Streams(claimed)) => {
                // What is due next is known when nothing more is due now.
                rest = LOOK_LEAST;
                for (lease, place) in claimed {
                    let worker = Arc::clone(&worker);
                    running.spawn(async move {
                        worker.work(lease).await;
                        drop(place);
                    });
                }
            }
            Ok(Claimed::Nothing(next)) => rest = rest_until(next, app.clock.now()),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "due streams can't be claimed"),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = running.join_next() => report(ended),
            () = app.due.rung() => {}
            () = app.clock.sleep(rest) => {}
        }
    }
    while let Some(ended) = running.join_next().await {
        report(ended);
    }
    shares::leave(app, &worker.owner, &worker.budgets).await
}

/// How long nobody has to look: until a stream is due. One that is due already is somebody else's, or waits for a
/// place.
fn rest_until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(wait) = next.map(|due| due.duration_since(now)).filter(|it| it.is_positive()) else { return LOOK_EVERY };
    wait.unsigned_abs().clamp(LOOK_LEAST, LOOK_EVERY)
}

/// A stream whose work panicked is taken up again when its lease has run out; somebody should look all the same.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the work on a stream broke off");
    }
}

impl Worker {
    /// An engine with a name of its own.
    pub fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            owner: app.random.token(),
            place: None,
            places: Places::default(),
            budgets: Budgets::new(&app.config.quota, &app.clock),
            attended_at: Mutex::new(None),
            worked: Mutex::default(),
        }
    }

    /// An engine that comes in the place of an earlier one, which has died or ended: no other that lives has it.
    pub fn in_place(app: &App, place: &str) -> Self {
        Self { place: Some(place.to_owned()), ..Self::new(app) }
    }

    /// Works on everything that is due now, until nothing is; answers when the next stream is due.
    pub async fn tick(&self) -> Result<Option<Timestamp>, StoreError> {
        let next = loop {
            let claimed = match self.claim().await? {
                Claimed::Nothing(next) => break next,
                Claimed::Streams(claimed) => claimed,
            };
            let work = |(lease, place)| async move {
                self.work(lease).await;
                drop::<Place>(place);
            };
            let mut running: FuturesUnordered<_> = claimed.into_iter().map(work).collect();
            while running.next().await.is_some() {}
        };
        self.app.receipts.write(&self.app.store, self.app.clock.now()).await?;
        Ok(next)
    }

    /// Lets grants that wait for the operator try once more, and wakes what nobody else would.
    async fn reopen(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.app.store.read().await?;
        let organizations = organizations::list(&mut tx, i64::MAX).await?;
        drop(tx);
        for organization in organizations {
            // Each on its own: what is reopened is held until the commit.
            let mut tx = self.app.store.write().await?;
            grants::reopen(&mut tx, &organization.id, GrantState::NeedsOperator, scope::REQUESTED, now).await?;
            tx.commit().await?;
        }
        let mut tx = self.app.store.write().await?;
        let permissions = [Stream::Mail, Stream::Calendar].map(scope_of);
        let stranded = leases::wake_stranded(&mut tx, permissions, now).await?;
        tx.commit().await?;
        if stranded > 0 {
            tracing::warn!(stranded, "streams of working grants were due at no time; they are due now");
        }
        Ok(())
    }

    /// Claims what is due, beside what is worked on already.
    async fn claim(&self) -> Result<Claimed, StoreError> {
        let now = self.app.clock.now();
        let kinds = [Wanted::Noticed, Wanted::Due];
        let is_full = kinds.iter().all(|kind| self.places.free(*kind) == 0);
        // What the one before worked on is due only once that is ended; who still works goes on taking part; what
        // Google refused to everybody, the others have to hear, and what was spent today is shown to people.
        let is_at_work = kinds.iter().any(|kind| self.places.taken(*kind) > 0);
        let has_news = |it: &Budget| it.hold_untold().is_some() || it.unwritten().unwritten > 0;
        if self.is_new() || is_at_work || self.budgets.each().any(|(_, it)| has_news(it)) {
            self.attend(now).await?;
        }
        let mut tx = self.app.store.read().await?;
        let next = leases::next_due(&mut tx, &Stream::ALL, now).await?;
        if is_full || next.is_none_or(|due| due > now) {
            return Ok(Claimed::Nothing(next));
        }
        drop(tx);
        self.attend(now).await?;
        let mut tx = self.app.store.write().await?;
        let mut claimed = Vec::new();
        for wanted in kinds {
            let limit = i64::try_from(self.places.free(wanted)).unwrap_or(i64::MAX);
            if limit > 0 {
                let leases = leases::claim(&mut tx, &self.owner, now, lease_end(now), wanted, limit).await?;
                claimed.extend(leases.into_iter().map(|it| (it, self.places.take(wanted))));
            }
        }
        tx.commit().await?;
        let broken = claimed.iter().map(|(lease, _)| lease).filter(|it| it.after_a_break);
        for grant in broken.filter_map(|it| it.grant_id.as_ref()) {
            self.app.receipts.broke_off(grant, now);
        }
        // Another process may have been faster: nothing is left then that is due now.
        Ok(if claimed.is_empty() { Claimed::Nothing(next) } else { Claimed::Streams(claimed) })
    }

    /// Whether it comes in somebody's place and hasn't ended that one yet.
    fn is_new(&self) -> bool {
        self.place.is_some() && self.attended_at.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Takes part in the project's quota, before anything is spent.
    async fn attend(&self, now: Timestamp) -> Result<(), StoreError> {
        let last = *self.attended_at.lock().unwrap_or_else(PoisonError::into_inner);
        if shares::is_due(last, now) {
            let who = (self.owner.as_str(), self.place.as_deref());
            shares::attend(&self.app, who, last.is_none(), &self.budgets).await?;
            *self.attended_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        Ok(())
    }

    /// Works on one stream and prolongs its lease meanwhile. Who loses the lease stops at once.
    async fn work(&self, lease: Lease) {
        let next = tokio::select! {
            biased;
            next = self.steps(&lease) => next,
            () = self.prolong(&lease) => None,
        };
        let Some((next, grant)) = next else { return };
        if let Err(error) = self.release(&lease, next, grant.as_ref()).await
            && !matches!(error, StoreError::LeaseLost)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, stream = %lease.stream, "a lease can't be given back");
        }
    }

    /// Returns when the lease is lost.
    async fn prolong(&self, lease: &Lease) {
        let mut wait = PROLONG_EVERY;
        loop {
            self.app.clock.sleep(wait).await;
            let prolonged = async {
                let mut tx = self.app.store.write().await?;
                leases::hold(&mut tx, lease, lease_end(self.app.clock.now())).await?;
                tx.commit().await
            };
            match prolonged.await {
                Ok(()) => wait = PROLONG_EVERY,
                Err(StoreError::LeaseLost) => return,
                Err(error) => {
                    wait = PROLONG_AGAIN;
                    tracing::warn!(error = &error as &dyn std::error::Error, "a lease can't be prolonged yet");
                }
            }
        }
    }

    /// Does steps until the stream may rest, fails, or others want their turn; answers when it is due next and its
    /// grant, or nothing if the lease is lost.
    async fn steps(&self, lease: &Lease) -> Option<(Option<Timestamp>, Option<Grant>)> {
        let mut grant = None;
        let next = self.steps_until(lease, &mut grant).await?;
        Some((next, grant))
    }

    async fn steps_until(&self, lease: &Lease, grant: &mut Option<Grant>) -> Option<Option<Timestamp>> {
        for _ in 0..STEPS_MAX {
            match self.step(lease, grant).await {
                Ok(None) => {}
                Ok(Some(rest)) => return Some(rest),
                Err(StepError::Store(StoreError::LeaseLost)) => return None,
                Err(error) => match self.failed(lease, error, grant.as_ref()).await {
                    Ok(next) => return Some(next),
                    Err(StoreError::LeaseLost) => return None,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        let stream = &lease.stream;
                        tracing::error!(error, %stream, "the store failed; the lease runs out by itself");
                        return None;
                    }
                },
            }
        }
        Some(Some(self.app.clock.now()))
    }

    /// One step; answers when to rest until, or nothing when there is more to do at once. Keeps the grant under which
    /// it asks in `known`.
    async fn step(&self, lease: &Lease, known: &mut Option<Grant>) -> Result<Option<Option<Timestamp>>, StepError> {
        match &lease.stream {
            StreamId::Mail(_) => self.mail_turn(lease, known).await,
            StreamId::Calendar(_) => self.calendar_turn(lease, known).await,
            StreamId::Directory(_) => self.directory_turn(lease, known).await,
        }
    }

    /// Whether nobody else worked on this stream since this process did.
    pub(super) fn worked_last(&self, lease: &Lease) -> bool {
        let mut worked = self.worked.lock().unwrap_or_else(PoisonError::into_inner);
        worked.insert(lease.stream.clone(), lease.number) == Some(lease.number - 1)
    }

    /// Gives a stream back, and writes down in the same commit what was asked for it: a run that ended in good order
    /// has told everything, and one that broke off shows by its lease.
    async fn release(&self, lease: &Lease, next: Option<Timestamp>, grant: Option<&Grant>) -> Result<(), StoreError> {
        let now = self.app.clock.now();
        let api = api_of(Stream::of(&lease.stream));
        let spent = grant.map(|it| self.budgets.of(api).spent_on(&it.google_subject));
        let mut tx = self.app.store.write().await?;
        leases::release(&mut tx, lease, next, spent.as_ref(), now).await?;
        let taken = grant.map(|it| self.app.receipts.take(&it.id));
        if let Some((taken, grant)) = taken.as_ref().zip(grant) {
            taken.put(&mut tx, &grant.organization_id, now).await?;
        }
        tx.commit().await?;
        taken.into_iter().for_each(Taken::written);
        Ok(())
    }

    pub(super) fn tell(&self, organization: &OrganizationId) {
        self.app.feed.tell(organization);
    }
}

/// Until when a lease holds that is taken or prolonged now.
pub(super) fn lease_end(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(now)
}

/// The service that a kind of stream is read from, whose budget counts.
pub(super) fn api_of(stream: Stream) -> Api {
    match stream {
        Stream::Mail => Api::Gmail,
        Stream::Calendar => Api::Calendar,
        Stream::Directory => Api::Directory,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn however_many_notices_come_what_nobody_gave_notice_of_has_places() {
        let places = Places::default();
        let noticed: Vec<Place> = (0..places.free(Wanted::Noticed)).map(|_| places.take(Wanted::Noticed)).collect();
        assert_eq!((noticed.len(), places.free(Wanted::Noticed), places.free(Wanted::Due)), (40, 0, 8));
        let due: Vec<Place> = (0..8).map(|_| places.take(Wanted::Due)).collect();
        assert_eq!(places.free(Wanted::Due), 0);
        drop(noticed);
        assert_eq!((places.free(Wanted::Noticed), places.free(Wanted::Due)), (40, 24), "a backfill leaves sixteen");
        drop(due);
        assert_eq!(places.free(Wanted::Due), 32);
    }

    #[test]
    fn nobody_sleeps_longer_than_until_the_next_stream_is_due() {
        let now = Timestamp::UNIX_EPOCH;
        let in_ms = |ms| Some(now + SignedDuration::from_millis(ms));
        assert_eq!(rest_until(in_ms(170), now), Duration::from_millis(170), "a wait for the quota ends in time");
        assert_eq!(rest_until(in_ms(3), now), LOOK_LEAST, "however much is due one after the other");
        assert_eq!(rest_until(in_ms(5_000), now), LOOK_EVERY, "what another process made due is seen soon");
        for not_ours in [None, in_ms(0), in_ms(-200)] {
            assert_eq!(rest_until(not_ours, now), LOOK_EVERY, "{not_ours:?}");
        }
    }
}

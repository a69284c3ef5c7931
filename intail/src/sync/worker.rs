//! The engine: claims mailboxes that are due, does steps until each may rest, and says when to look again. `tick` is
//! the engine; `run` is the loop around it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use intail_google::calls::Api;
use intail_google::oauth::scope;
use intail_google::{ErrorKind, Refusal};
use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::budget::Budgets;
use super::mail::Run;
use super::plan::{Step, Surroundings, plan};
use super::privacy::{self, CaughtUp};
use super::shares;
use crate::access::{self, AccessError};
use crate::app::App;
use crate::id::{MailboxId, OrganizationId};
use crate::org::receipts::Taken;
use crate::store::grants::{self, Grant, GrantState};
use crate::store::leases::{self, Lease, Wanted};
use crate::store::mailboxes::{self, Mailbox};
use crate::store::{StoreError, Tx, coverage, debts, fills, organizations, quota};

/// Mailboxes that one process works on at once. Each holds a few answers in memory and waits mostly for Google.
const MAILBOXES_AT_ONCE_MAX: usize = 48;
/// How many of them may be worked on without a notice: the rest of the places is for changes that just happened, which
/// never wait behind anybody's backfill.
const UNNOTICED_AT_ONCE_MAX: usize = 32;
/// Steps for one mailbox before others get their turn.
const STEPS_MAX: usize = 8;
/// How long a lease holds without being prolonged, and how often it is: a step with many slow calls may take minutes, a
/// process that died should be replaced soon.
const LEASE: Duration = Duration::from_secs(90);
const PROLONG_EVERY: Duration = Duration::from_secs(30);
/// How often the store is asked for due mailboxes when no bell rings: other instances can't ring this one's.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often grants that wait for the operator are tried again: what was wrong with the OAuth client may be mended at
/// any time, by a restart or at Google. One refresh a grant and hour.
const OPERATOR_RETRY_EVERY: Duration = Duration::from_secs(3600);
/// The first wait after a failure, and the longest.
const RETRY_FIRST_S: u64 = 2;
const RETRY_MAX_S: u64 = 15 * 60;

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
}

/// What a step leaves.
pub(super) enum Done {
    /// Plan again.
    Step,
    /// The budget is used up until then.
    Wait(Timestamp),
}

/// One process's engine.
pub struct Worker {
    app: App,
    owner: String,
    budgets: Budgets,
    /// When this process last said that it takes part in the project's quota.
    attended_at: Mutex<Option<Timestamp>>,
    /// The lease under which this process worked on a mailbox last: if nobody had one since, the budget here knows all
    /// that was spent on it.
    worked: Mutex<BTreeMap<MailboxId, i64>>,
}

/// Works until `shutdown`, and then finishes the steps that are under way.
///
/// Each mailbox is a task of its own: a mailbox that waits for the database while this loop waits for it too must not
/// depend on this loop to go on.
pub async fn run(app: &App, shutdown: CancellationToken) -> Result<(), StoreError> {
    let worker = Arc::new(Worker::new(app));
    let mut running = JoinSet::new();
    let mut reopening_due = app.clock.now();
    loop {
        let now = app.clock.now();
        if now >= reopening_due {
            reopening_due = now.saturating_add(OPERATOR_RETRY_EVERY).unwrap_or(now);
            worker.reopen(now).await?;
        }
        match worker.claim(running.len()).await {
            Ok(claimed) => {
                for (mailbox, lease) in claimed {
                    let worker = Arc::clone(&worker);
                    running.spawn(async move { worker.work(mailbox, lease).await });
                }
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "due mailboxes can't be claimed"),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = running.join_next() => report(ended),
            () = app.due.rung() => {}
            () = app.clock.sleep(LOOK_EVERY) => {}
        }
    }
    while let Some(ended) = running.join_next().await {
        report(ended);
    }
    shares::leave(app, &worker.owner, &worker.budgets).await
}

/// A mailbox whose work panicked is taken up again when its lease has run out; somebody should look all the same.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the work on a mailbox broke off");
    }
}

impl Worker {
    /// An engine with a name of its own.
    pub fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            owner: app.random.token(),
            budgets: Budgets::new(&app.config.quota, &app.clock),
            attended_at: Mutex::new(None),
            worked: Mutex::default(),
        }
    }

    /// Works on everything that is due now, until nothing is; answers when the next mailbox is due.
    pub async fn tick(&self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let claimed = self.claim(0).await?;
            if claimed.is_empty() {
                break;
            }
            let mut running: FuturesUnordered<_> =
                claimed.into_iter().map(|(mailbox, lease)| self.work(mailbox, lease)).collect();
            while running.next().await.is_some() {}
        }
        self.app.receipts.write(&self.app.store, self.app.clock.now()).await?;
        let mut tx = self.app.store.read().await?;
        mailboxes::next_due(&mut tx).await
    }

    /// Lets grants that wait for the operator try once more.
    async fn reopen(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.app.store.write().await?;
        for organization in organizations::list(&mut tx, i64::MAX).await? {
            grants::reopen(&mut tx, &organization.id, GrantState::NeedsOperator, scope::REQUESTED, now).await?;
        }
        tx.commit().await
    }

    /// Claims what is due, beside so many that are worked on already.
    async fn claim(&self, running: usize) -> Result<Vec<(Mailbox, Lease)>, StoreError> {
        let places = MAILBOXES_AT_ONCE_MAX.saturating_sub(running);
        let now = self.app.clock.now();
        let mut tx = self.app.store.read().await?;
        if places == 0 || mailboxes::next_due(&mut tx).await?.is_none_or(|due| due > now) {
            return Ok(Vec::new());
        }
        drop(tx);
        self.attend(now).await?;
        let mut tx = self.app.store.write().await?;
        let mut claimed = Vec::new();
        for (wanted, most) in [(Wanted::Noticed, MAILBOXES_AT_ONCE_MAX), (Wanted::Due, UNNOTICED_AT_ONCE_MAX)] {
            let limit = i64::try_from(most.saturating_sub(running + claimed.len())).unwrap_or(i64::MAX);
            if limit > 0 {
                claimed.extend(leases::claim(&mut tx, &self.owner, now, lease_end(now), wanted, limit).await?);
            }
        }
        tx.commit().await?;
        for (mailbox, _) in claimed.iter().filter(|(_, lease)| lease.after_a_break) {
            self.app.receipts.broke_off(&mailbox.grant_id, now);
        }
        Ok(claimed)
    }

    /// Takes part in the project's quota, before anything is spent.
    async fn attend(&self, now: Timestamp) -> Result<(), StoreError> {
        let last = *self.attended_at.lock().unwrap_or_else(PoisonError::into_inner);
        if shares::is_due(last, now) {
            shares::attend(&self.app, &self.owner, &self.budgets).await?;
            *self.attended_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        Ok(())
    }

    /// Works on one mailbox and prolongs its lease meanwhile. Who loses the lease stops at once.
    async fn work(&self, mailbox: Mailbox, lease: Lease) {
        let next = tokio::select! {
            biased;
            next = self.steps(&mailbox, &lease) => next,
            () = self.prolong(&lease) => None,
        };
        let Some((next, grant)) = next else { return };
        if let Err(error) = self.release(&lease, next, grant.as_ref()).await
            && !matches!(error, StoreError::LeaseLost)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, mailbox = %mailbox.id, "a lease can't be given back");
        }
    }

    /// Returns when the lease is lost.
    async fn prolong(&self, lease: &Lease) {
        loop {
            self.app.clock.sleep(PROLONG_EVERY).await;
            let prolonged = async {
                let mut tx = self.app.store.write().await?;
                leases::hold(&mut tx, lease, lease_end(self.app.clock.now())).await?;
                tx.commit().await
            };
            match prolonged.await {
                Ok(()) => {}
                Err(StoreError::LeaseLost) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a lease can't be prolonged yet");
                }
            }
        }
    }

    /// Does steps until the mailbox may rest, fails, or others want their turn; answers when it is due next and its
    /// grant, or nothing if the lease is lost.
    async fn steps(&self, mailbox: &Mailbox, lease: &Lease) -> Option<(Option<Timestamp>, Option<Grant>)> {
        let mut grant = None;
        let next = self.steps_until(mailbox, lease, &mut grant).await?;
        Some((next, grant))
    }

    async fn steps_until(
        &self,
        mailbox: &Mailbox,
        lease: &Lease,
        grant: &mut Option<Grant>,
    ) -> Option<Option<Timestamp>> {
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
                        tracing::error!(error, mailbox = %mailbox.id, "the store failed; the lease runs out by itself");
                        return None;
                    }
                },
            }
        }
        Some(Some(self.app.clock.now()))
    }

    /// One step; answers when to rest until, or nothing when there is more to do at once.
    async fn step(&self, lease: &Lease, known: &mut Option<Grant>) -> Result<Option<Option<Timestamp>>, StepError> {
        let now = self.app.clock.now();
        let mut tx = self.app.store.write().await?;
        let mailbox = leases::hold(&mut tx, lease, lease_end(now)).await?;
        let grant = grants::by_id(&mut tx, &mailbox.grant_id).await?.ok_or(StoreError::LeaseLost)?;
        if let Some(at) = mailbox.spent_at.filter(|_| known.is_none() && !self.worked_last(lease)) {
            let units = u64::try_from(mailbox.spent_units).unwrap_or(0);
            self.budgets.of(Api::Gmail).remember(&grant.google_subject, units, at);
        }
        *known = Some(grant.clone());
        // What may not be kept goes before anything else, and needs nobody's permission.
        let rules = match privacy::catch_up(&self.app, &mut tx, &mailbox).await? {
            CaughtUp::Already(rules) => rules,
            CaughtUp::Page(grown) => {
                tx.commit().await?;
                if grown {
                    self.tell(&mailbox.organization_id);
                }
                return Ok(None);
            }
        };
        let (_, next_debt_at) = debts::outlook(&mut tx, &mailbox.id).await?;
        let around = Surroundings {
            fills: fills::next(&mut tx, &mailbox.id, 1).await?.len().try_into().unwrap_or(1),
            next_debt_at,
            connected_at: Some(grant.connected_at),
            audit_at: coverage::of_mailbox(&mut tx, &mailbox.id).await?.due_at,
        };
        let day_percent = quota::backfill_day_percent(&mut tx, &mailbox.organization_id).await?;
        tx.commit().await?;
        // Whoever permits mail again wakes it.
        if grant.state.works() && !access::permits(&grant, scope::GMAIL_METADATA) {
            return Ok(Some(None));
        }
        let step = match plan(&mailbox, around, now) {
            Step::Rest(until) => return Ok(Some(until)),
            step => step,
        };
        let caller = access::caller(&self.app, &grant.id).await?;
        let mut run = Run {
            app: &self.app,
            budget: self.budgets.of(Api::Gmail),
            permits: Mutex::default(),
            day_percent: u64::try_from(day_percent).unwrap_or(0),
            lease,
            mailbox,
            grant,
            caller,
            rules,
            now,
            stopping: false,
        };
        let done = match run.step(step).await {
            // An access token may die before its time: refresh it once, and try once more.
            Err(StepError::Google(error)) if error.kind == ErrorKind::Refused(Refusal::Unauthorized) => {
                run.caller = access::renewed(&self.app, &run.grant.id, &run.caller).await?;
                run.step(step).await
            }
            done => done,
        }?;
        Ok(match done {
            Done::Step => None,
            // The budget of the one may be used up while the other is due earlier.
            Done::Wait(until) => {
                let mailbox = &run.mailbox;
                let earlier = [Some(mailbox.watch_due_at), mailbox.look_at, mailbox.probe_at, around.next_debt_at];
                Some(earlier.into_iter().flatten().filter(|at| *at > now).chain([until]).min())
            }
        })
    }

    /// Whether nobody else worked on this mailbox since this process did.
    fn worked_last(&self, lease: &Lease) -> bool {
        let mut worked = self.worked.lock().unwrap_or_else(PoisonError::into_inner);
        worked.insert(lease.mailbox_id.clone(), lease.number) == Some(lease.number - 1)
    }

    /// What a failure means; answers when to try again, or never by itself.
    async fn failed(
        &self,
        lease: &Lease,
        error: StepError,
        known: Option<&Grant>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let now = self.app.clock.now();
        let mut tx = self.app.store.write().await?;
        let mut mailbox = leases::hold(&mut tx, lease, lease_end(now)).await?;
        let kind = match &error {
            StepError::Access(AccessError::Closed { .. }) => return Ok(None),
            StepError::Access(AccessError::Google(error)) | StepError::Google(error) => Some(error.kind.clone()),
            StepError::Access(_) | StepError::Store(_) => None,
        };
        if kind == Some(ErrorKind::Refused(Refusal::ScopeMissing)) {
            return self.without_mail(tx, &mailbox, known, now).await;
        }
        // A token that was refreshed a moment ago and is refused again is dead.
        let verdict = match &kind {
            Some(ErrorKind::Refused(Refusal::Unauthorized)) => {
                access::verdict(&ErrorKind::GrantDead(intail_google::DeadReason::AccessTokenRejected))
            }
            Some(kind) => access::verdict(kind),
            None => None,
        };
        if let Some((state, reason)) = verdict {
            match grants::by_id(&mut tx, &mailbox.grant_id).await? {
                // The person connected again meanwhile: what failed was the grant before.
                Some(grant) if known.is_some_and(|it| it.connected_at != grant.connected_at) => return Ok(Some(now)),
                Some(grant) => access::set_closed(&mut tx, &grant, state, reason, now).await?,
                None => {}
            }
            tx.commit().await?;
            tracing::warn!(mailbox = %mailbox.id, state = state.word(), reason, "a mailbox stopped");
            self.tell(&mailbox.organization_id);
            return Ok(None);
        }
        mailbox.failures += 1;
        let backoff = self.backoff(mailbox.failures, now);
        let until = match kind {
            Some(ErrorKind::SlowDown { until, scope }) => {
                if let Some(grant) = known {
                    self.budgets.of(Api::Gmail).refused(&grant.google_subject, scope, until);
                }
                // A time that is past already, by a clock that is ahead of Google's, is no permission to go on at once.
                let until = until.map_or(backoff, |it| it.max(backoff));
                mailbox.paused_until = Some(until);
                mailbox.paused_why = Some(format!("{scope:?}").to_lowercase());
                until
            }
            _ => backoff,
        };
        mailboxes::save(&mut tx, &mailbox, lease).await?;
        tx.commit().await?;
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            mailbox = %mailbox.id,
            failures = mailbox.failures,
            "a step failed and is tried again"
        );
        Ok(Some(until))
    }

    /// The person took the permission for mail back at Google: whatever else is permitted goes on.
    async fn without_mail(
        &self,
        mut tx: Tx,
        mailbox: &Mailbox,
        known: Option<&Grant>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(grant) = grants::by_id(&mut tx, &mailbox.grant_id).await? else { return Ok(None) };
        if known.is_some_and(|it| it.connected_at != grant.connected_at) {
            return Ok(Some(now));
        }
        let state = access::taken_back(&mut tx, &grant, scope::GMAIL_METADATA, now).await?;
        tx.commit().await?;
        tracing::warn!(mailbox = %mailbox.id, state = state.word(), "mail is no longer permitted; the mailbox stopped");
        self.tell(&mailbox.organization_id);
        Ok(None)
    }

    fn backoff(&self, failures: i64, now: Timestamp) -> Timestamp {
        let doublings = u32::try_from(failures.clamp(1, 16) - 1).unwrap_or(0);
        let wait_s = (RETRY_FIRST_S << doublings).min(RETRY_MAX_S);
        let jitter_ms = self.app.random.below(wait_s * 250);
        now.saturating_add(Duration::from_millis(wait_s * 1000 + jitter_ms)).unwrap_or(now)
    }

    /// Gives a mailbox back, and writes down in the same commit what was asked for it: a run that ended in good order
    /// has told everything, and one that broke off shows by its lease.
    async fn release(&self, lease: &Lease, next: Option<Timestamp>, grant: Option<&Grant>) -> Result<(), StoreError> {
        let now = self.app.clock.now();
        let spent = grant.map_or(0, |it| self.budgets.of(Api::Gmail).spent_on(&it.google_subject));
        let mut tx = self.app.store.write().await?;
        leases::release(&mut tx, lease, next, i64::try_from(spent).unwrap_or(i64::MAX), now).await?;
        let taken = grant.map(|it| self.app.receipts.take(&it.id));
        if let Some((taken, grant)) = taken.as_ref().zip(grant) {
            taken.put(&mut tx, &grant.organization_id, now).await?;
        }
        tx.commit().await?;
        taken.into_iter().for_each(Taken::written);
        Ok(())
    }

    fn tell(&self, organization: &OrganizationId) {
        self.app.feed.tell(organization);
    }
}

/// Until when a lease holds that is taken or prolonged now.
pub(super) fn lease_end(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(now)
}

//! What a failure of a step means: for the grant, whose circuit it may open; for the budget; and for the stream, which
//! is tried again later and later. One text for every kind of stream.

use std::time::Duration;

use intail_google::oauth::scope;
use intail_google::{DeadReason, ErrorKind, Refusal};
use jiff::{SignedDuration, Timestamp};

use super::mail_turn::hindrance;
use super::worker::{StepError, Worker, api_of, lease_end};
use crate::access::{self, AccessError};
use crate::store::failing::Failed;
use crate::store::grants::{self, Grant};
use crate::store::leases::{self, Lease, Stream};
use crate::store::{StoreError, Tx, organizations};

/// The first wait after a failure, and the longest.
const RETRY_FIRST_S: u64 = 2;
const RETRY_MAX_S: u64 = 15 * 60;

/// How long Google must refuse access tokens that it has just given, and how often, before the grant is called dead:
/// each try renews the token first, and a refresh that succeeds says that the grant lives. That Google's own check of
/// tokens is broken lasts minutes; whoever asks everybody to connect again for that loses people.
const REJECTED_FOR: SignedDuration = SignedDuration::from_hours(1);
const REJECTED_TRIES: i64 = 6;
/// The word of such a failure.
const TOKEN_REJECTED: &str = "token_rejected";

/// The permission that a kind of stream is read under.
pub(super) fn scope_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Mail => scope::GMAIL_METADATA,
        Stream::Calendar => scope::CALENDAR_READONLY,
        Stream::Directory => scope::DIRECTORY_USER_READONLY,
    }
}

/// When a stream whose grant doesn't work any more goes on: a directory at once, with another's; the others when
/// somebody acts, who wakes them.
fn without_its_grant(stream: Stream, now: Timestamp) -> Option<Timestamp> {
    (stream == Stream::Directory).then_some(now)
}

/// One word for why a step failed: Google's kind of refusal, or what failed here.
fn word(error: &StepError) -> &'static str {
    match error {
        StepError::Google(error) | StepError::Access(AccessError::Google(error)) => match &error.kind {
            ErrorKind::Refused(Refusal::Unauthorized) => TOKEN_REJECTED,
            // The mailbox's turn has asked once more and found that it isn't so.
            kind if hindrance(kind).is_some() => "refused",
            kind => kind.word(),
        },
        StepError::LeadsNowhere => ErrorKind::NotUnderstood.word(),
        StepError::Access(AccessError::Sealed(_)) => "sealed",
        StepError::Access(_) | StepError::Store(_) => "store",
    }
}

/// Whether Google has refused a grant's fresh access tokens for so long that it must be over.
fn is_rejected_for_good(failed: &Failed, grant: &Grant, now: Timestamp) -> bool {
    let since = failed.why_since.max(grant.connected_at);
    let is_long = failed.failures >= REJECTED_TRIES && now.duration_since(since) >= REJECTED_FOR;
    is_long && failed.why == TOKEN_REJECTED
}

impl Worker {
    /// What a failure means; answers when to try again, or never by itself.
    pub(super) async fn failed(
        &self,
        lease: &Lease,
        error: StepError,
        known: Option<&Grant>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let now = self.app.clock.now();
        let stream = Stream::of(&lease.stream);
        let kind = match &error {
            StepError::Access(AccessError::Closed { .. }) => return Ok(without_its_grant(stream, now)),
            StepError::Access(AccessError::Google(error)) | StepError::Google(error) => Some(error.kind.clone()),
            StepError::Access(_) | StepError::Store(_) | StepError::LeadsNowhere => None,
        };
        let is_single = |kind: &&ErrorKind| stream == Stream::Mail && hindrance(kind).is_some();
        let mut verdict = kind.as_ref().filter(|it| !is_single(it)).and_then(access::verdict);
        let mut tx = self.app.store.write().await?;
        // What changes an organization's approval takes the organization before anything of it.
        if verdict.is_some_and(|(_, reason)| reason == grants::BLOCKED) {
            organizations::hold(&mut tx, &lease.organization_id).await?;
        }
        leases::hold(&mut tx, lease, lease_end(now)).await?;
        if kind == Some(ErrorKind::Refused(Refusal::ScopeMissing)) {
            return self.without_permission(tx, lease, known, now).await;
        }
        let mut failed = None;
        if verdict.is_none() {
            let failure = leases::fail(&mut tx, lease, word(&error), now).await?;
            if known.is_some_and(|it| is_rejected_for_good(&failure, it, now)) {
                verdict = access::verdict(&ErrorKind::GrantDead(DeadReason::AccessTokenRejected));
            }
            failed = Some(failure);
        }
        if let Some(((state, reason), known)) = verdict.zip(known) {
            // The person connected again meanwhile, or left: what failed was the grant before.
            if !access::set_closed(&mut tx, known, state, reason, now).await? {
                return Ok(Some(now));
            }
            tx.commit().await?;
            tracing::warn!(stream = %lease.stream, state = state.word(), reason, "a stream stopped");
            self.tell(&lease.organization_id);
            return Ok(without_its_grant(stream, now));
        }
        // A verdict without a grant that it is about counts, too.
        let failures = match failed {
            Some(failed) => failed.failures,
            None => leases::fail(&mut tx, lease, word(&error), now).await?.failures,
        };
        let backoff = self.backoff(failures, now);
        let until = match kind {
            Some(ErrorKind::SlowDown { until, scope }) => {
                // The sign-in's own limit says nothing about what the service still gives.
                if let Some(grant) = known.filter(|_| matches!(error, StepError::Google(_))) {
                    self.budgets.of(api_of(stream)).refused(&grant.google_subject, scope, until);
                }
                // A time that is past already, by a clock that is ahead of Google's, is no permission to go on at once.
                let until = until.map_or(backoff, |it| it.max(backoff));
                leases::pause(&mut tx, lease, until, &format!("{scope:?}").to_lowercase()).await?;
                until
            }
            _ => backoff,
        };
        tx.commit().await?;
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            stream = %lease.stream,
            failures,
            "a step failed and is tried again"
        );
        Ok(Some(until))
    }

    /// The person took the permission for this kind of stream back at Google: whatever else is permitted goes on.
    async fn without_permission(
        &self,
        mut tx: Tx,
        lease: &Lease,
        known: Option<&Grant>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(known) = known else { return Ok(None) };
        // Connected again meanwhile: what was refused was the grant before.
        if !grants::hold(&mut tx, known).await? {
            return Ok(Some(now));
        }
        let Some(grant) = grants::by_id(&mut tx, &known.id).await? else { return Ok(None) };
        let stream = Stream::of(&lease.stream);
        let state = access::taken_back(&mut tx, &grant, scope_of(stream), now).await?;
        tx.commit().await?;
        let (kind, state) = (stream.word(), state.word());
        tracing::warn!(stream = %lease.stream, kind, state, "a permission was taken back; the stream stopped");
        self.tell(&lease.organization_id);
        Ok(without_its_grant(stream, now))
    }

    fn backoff(&self, failures: i64, now: Timestamp) -> Timestamp {
        let doublings = u32::try_from(failures.clamp(1, 16) - 1).unwrap_or(0);
        let wait_s = (RETRY_FIRST_S << doublings).min(RETRY_MAX_S);
        let jitter_ms = self.app.random.below(wait_s * 250);
        now.saturating_add(Duration::from_millis(wait_s * 1000 + jitter_ms)).unwrap_or(now)
    }
}

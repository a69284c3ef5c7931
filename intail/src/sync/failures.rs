//! What a failure of a step means: for the grant, whose circuit it may open; for the budget; and for the stream, which
//! is tried again later and later. One text for every kind of stream.

use std::time::Duration;

use intail_google::oauth::scope;
use intail_google::{DeadReason, ErrorKind, Refusal};
use jiff::Timestamp;

use super::worker::{StepError, Worker, api_of, lease_end};
use crate::access::{self, AccessError};
use crate::store::grants::{self, Grant};
use crate::store::leases::{self, Lease, Stream};
use crate::store::{StoreError, Tx};

/// The first wait after a failure, and the longest.
const RETRY_FIRST_S: u64 = 2;
const RETRY_MAX_S: u64 = 15 * 60;

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
        let mut tx = self.app.store.write().await?;
        leases::hold(&mut tx, lease, lease_end(now)).await?;
        let kind = match &error {
            StepError::Access(AccessError::Closed { .. }) => return Ok(without_its_grant(stream, now)),
            StepError::Access(AccessError::Google(error)) | StepError::Google(error) => Some(error.kind.clone()),
            StepError::Access(_) | StepError::Store(_) => None,
        };
        if kind == Some(ErrorKind::Refused(Refusal::ScopeMissing)) {
            return self.without_permission(tx, lease, known, now).await;
        }
        // A token that was refreshed a moment ago and is refused again is dead.
        let verdict = match &kind {
            Some(ErrorKind::Refused(Refusal::Unauthorized)) => {
                access::verdict(&ErrorKind::GrantDead(DeadReason::AccessTokenRejected))
            }
            Some(kind) => access::verdict(kind),
            None => None,
        };
        if let Some(((state, reason), known)) = verdict.zip(known) {
            match grants::by_id(&mut tx, &known.id).await? {
                // The person connected again meanwhile: what failed was the grant before.
                Some(grant) if known.connected_at != grant.connected_at => return Ok(Some(now)),
                Some(grant) => access::set_closed(&mut tx, &grant, state, reason, now).await?,
                None => {}
            }
            tx.commit().await?;
            tracing::warn!(stream = %lease.stream, state = state.word(), reason, "a stream stopped");
            self.tell(&lease.organization_id);
            return Ok(without_its_grant(stream, now));
        }
        let failures = leases::fail(&mut tx, lease).await?;
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
        let Some(grant) = grants::by_id(&mut tx, &known.id).await? else { return Ok(None) };
        if known.connected_at != grant.connected_at {
            return Ok(Some(now));
        }
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

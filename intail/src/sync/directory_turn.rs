//! A directory's turn: reads its row and the grants that could read it, lets `plan` decide, and does that one step.

use intail_google::calls::Api;
use intail_google::oauth::scope;
use intail_google::{ErrorKind, Refusal};
use jiff::Timestamp;

use super::directory::{self, ASK_AGAIN_AFTER, CANDIDATES_MAX, Run, Step, plan};
use super::worker::{Done, StepError, Worker, lease_end};
use crate::access;
use crate::id::GrantId;
use crate::store::StoreError;
use crate::store::directories::{self, Directory};
use crate::store::directory_readers;
use crate::store::grants::{self, Grant};
use crate::store::leases::Lease;

impl Worker {
    /// One step of a directory; answers when to rest until, or nothing when there is more to do at once.
    pub(super) async fn directory_turn(
        &self,
        lease: &Lease,
        known: &mut Option<Grant>,
    ) -> Result<Option<Option<Timestamp>>, StepError> {
        let now = self.app.clock.now();
        let asked_after = now.checked_sub(ASK_AGAIN_AFTER).unwrap_or(Timestamp::MIN);
        let mut tx = self.app.store.write().await?;
        let row = directories::hold(&mut tx, lease, lease_end(now)).await?;
        let organization = &row.organization_id;
        let permission = scope::DIRECTORY_USER_READONLY;
        let current = row.grant_id.as_ref();
        let candidates =
            directory_readers::candidates(&mut tx, organization, permission, current, asked_after, CANDIDATES_MAX)
                .await?;
        let asked = directory_readers::asked_since(&mut tx, organization, asked_after).await?;
        tx.commit().await?;
        match plan(&row, &candidates, asked, now) {
            Step::Rest(until) => return Ok(Some(until)),
            Step::GiveUp(problem) => directory::give_up(&self.app, lease, row, problem, now).await?,
            Step::Choose(grant, view) => directory::choose(&self.app, lease, row, grant, view, now).await?,
            Step::Ask(grant) => return self.directory_step(lease, row, &grant, Asked::Ability, known).await,
            Step::List => {
                let reader = row.grant_id.clone().ok_or(StoreError::LeaseLost)?;
                return self.directory_step(lease, row, &reader, Asked::Page, known).await;
            }
            Step::Settle => {
                let reader = row.grant_id.clone().ok_or(StoreError::LeaseLost)?;
                return self.directory_step(lease, row, &reader, Asked::Absences, known).await;
            }
        }
        Ok(None)
    }

    async fn directory_step(
        &self,
        lease: &Lease,
        row: Directory,
        grant: &GrantId,
        asked: Asked,
        known: &mut Option<Grant>,
    ) -> Result<Option<Option<Timestamp>>, StepError> {
        let mut tx = self.app.store.read().await?;
        // Whoever left meanwhile is no candidate any more.
        let Some(grant) = grants::by_id(&mut tx, grant).await? else { return Ok(None) };
        drop(tx);
        if known.is_none() && !self.worked_last(lease) {
            self.budgets.of(Api::Directory).remember(&grant.google_subject, &row.spent);
        }
        // Each grant's calls are written down as its own.
        if let Some(before) = known.replace(grant.clone()).filter(|it| it.id != grant.id) {
            self.write_calls(&before).await?;
        }
        let caller = access::caller_of(&self.app, &grant).await?;
        let budget = self.budgets.of(Api::Directory);
        let mut run = Run { app: &self.app, budget, lease, directory: row, grant, caller, now: self.app.clock.now() };
        let done = match run.asking(asked).await {
            // An access token may die before its time: refresh it once, and try once more.
            Err(StepError::Google(error)) if error.kind == ErrorKind::Refused(Refusal::Unauthorized) => {
                run.caller = access::renewed(&self.app, &run.grant.id, &run.caller).await?;
                run.asking(asked).await
            }
            done => done,
        };
        match done {
            Err(StepError::Google(error)) => match directory::blocked(&error.kind) {
                Some(problem) => {
                    directory::stand_still(&self.app, lease, problem, self.app.clock.now()).await.map(Some)
                }
                None => Err(error.into()),
            },
            Err(error) => Err(error),
            Ok(Done::Step) => Ok(None),
            Ok(Done::Wait(until)) => Ok(Some(Some(until))),
        }
    }

    /// Writes down what was asked for a grant that isn't asked for any more in this turn.
    async fn write_calls(&self, grant: &Grant) -> Result<(), StoreError> {
        let taken = self.app.receipts.take(&grant.id);
        let mut tx = self.app.store.write().await?;
        taken.put(&mut tx, &grant.organization_id, self.app.clock.now()).await?;
        tx.commit().await?;
        taken.written();
        Ok(())
    }
}

/// What Google is asked in one step.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// What the grant may see.
    Ability,
    /// The next page.
    Page,
    /// Whether those whom nobody saw are deleted.
    Absences,
}

impl Run<'_> {
    async fn asking(&mut self, asked: Asked) -> Result<Done, StepError> {
        match asked {
            Asked::Ability => self.ask().await,
            Asked::Page => self.list().await,
            Asked::Absences => self.settle().await,
        }
    }
}

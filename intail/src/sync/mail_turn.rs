//! A mailbox's turn: reads its row, lets `plan` decide, and does that one step under its grant.

use std::sync::Mutex;

use intail_google::calls::Api;
use intail_google::oauth::scope;
use intail_google::{ErrorKind, Refusal};
use jiff::Timestamp;

use super::mail::Run;
use super::plan::{Step, Surroundings, plan};
use super::privacy::{self, CaughtUp};
use super::worker::{Done, StepError, Worker, lease_end};
use crate::access;
use crate::store::grants::{self, Grant};
use crate::store::leases::Lease;
use crate::store::{StoreError, coverage, debts, fills, mailboxes, quota};

impl Worker {
    /// One step of a mailbox; answers when to rest until, or nothing when there is more to do at once.
    pub(super) async fn mail_turn(
        &self,
        lease: &Lease,
        known: &mut Option<Grant>,
    ) -> Result<Option<Option<Timestamp>>, StepError> {
        let now = self.app.clock.now();
        let mut tx = self.app.store.write().await?;
        let mailbox = mailboxes::hold(&mut tx, lease, lease_end(now)).await?;
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
}

//! A mailbox's turn: reads its row, lets `plan` decide, and does that one step under its grant.

use std::sync::Mutex;

use intail_google::calls::Api;
use intail_google::oauth::scope;
use intail_google::{BlockReason, Error, ErrorKind, OperatorFault, Refusal};
use jiff::{SignedDuration, Timestamp};

use super::budget::Class;
use super::mail::{Run, bulk};
use super::plan::{Step, Surroundings, plan};
use super::privacy;
use super::worker::{Done, StepError, Worker, lease_end};
use crate::access;
use crate::org::receipts::purpose;
use crate::store::grants::{self, Grant};
use crate::store::leases::{self, Lease, Wanted};
use crate::store::mailboxes::{self, Around, Mailbox};
use crate::store::{StoreError, failing, operator_faults};

/// The call that every mailbox answers, for the lowest price.
const PROFILE: &str = "gmail.getProfile";
/// How long mail isn't asked for after something stood in the way of all of it: as calendars and the directory have it.
const BLOCKED_FOR: SignedDuration = SignedDuration::from_hours(1);
/// The operator's fault while Gmail's API is switched off: the one that a watch shows, too.
const GMAIL_DISABLED: &str = "gmail.api_disabled";
const GMAIL_DISABLED_DETAIL: &str = "The Gmail API isn't switched on in Intail's Cloud project, so no mail is read; \
     calendars and the directory are. Switch it on under APIs & services; Intail tries again every hour.";

impl Worker {
    /// One step of a mailbox; answers when to rest until, or nothing when there is more to do at once.
    pub(super) async fn mail_turn(
        &self,
        lease: &Lease,
        known: &mut Option<Grant>,
    ) -> Result<Option<Option<Timestamp>>, StepError> {
        let now = self.app.clock.now();
        let mut tx = self.app.store.read().await?;
        let mailbox = mailboxes::leased(&mut tx, lease).await?;
        let grant = grants::by_id(&mut tx, &mailbox.grant_id).await?.ok_or(StoreError::LeaseLost)?;
        if known.is_none() && !self.worked_last(lease) {
            self.budgets.of(Api::Gmail).remember(&grant.google_subject, &mailbox.spent);
        }
        *known = Some(grant.clone());
        // What may not be kept goes before anything else, and needs nobody's permission.
        let Some(rules) = privacy::followed(&self.app, &mut tx, &mailbox).await? else {
            drop(tx);
            return self.catch_up(lease, now).await.map(|()| None);
        };
        let around = mailboxes::around(&mut tx, &mailbox).await?;
        drop(tx);
        // Whoever permits mail again wakes it.
        if grant.state.works() && !access::permits(&grant, scope::GMAIL_METADATA) {
            return Ok(Some(None));
        }
        let step = match plan(&mailbox, Surroundings::of(around, &grant), now) {
            Step::Rest(until) => return Ok(Some(until)),
            // Others' changes wait for this place. It comes among all that is due where it would have.
            step if step.is_bulk() && lease.wanted == Wanted::Noticed => {
                return Ok(Some(Some(mailbox.due_at.map_or(now, |due| due.min(now)))));
            }
            step => step,
        };
        let day_percent = u64::try_from(around.backfill_day_percent).unwrap_or(0);
        // Looked at before a token is asked for: who waits for tomorrow comes back each hour.
        let class = match step {
            Step::List | Step::Fill | Step::Settle => bulk(&mailbox, day_percent),
            Step::Relist | Step::Audit => Class::Repair,
            _ => Class::Live,
        };
        if let Some(until) = self.budgets.of(Api::Gmail).day_wait(&grant.google_subject, class) {
            return Ok(Some(rests_until(&mailbox, &around, until, now)));
        }
        let was_disabled = mailbox.failed.as_ref().is_some_and(|it| it.why == failing::API_DISABLED);
        let caller = access::caller_of(&self.app, &grant).await?;
        let mut run = Run {
            app: &self.app,
            budget: self.budgets.of(Api::Gmail),
            permits: Mutex::default(),
            day_percent,
            lease,
            mailbox,
            grant,
            caller,
            rules,
            now,
            stopping: false,
            around: None,
        };
        let done = match run.step(step).await {
            // An access token may die before its time: refresh it once, and try once more.
            Err(StepError::Google(error)) if error.kind == ErrorKind::Refused(Refusal::Unauthorized) => {
                run.caller = access::renewed(&self.app, &run.grant.id, &run.caller).await?;
                run.step(step).await
            }
            done => done,
        };
        let done = match done {
            Err(StepError::Google(error)) => match self.stands_still(&mut run, &error).await? {
                Some(until) => return Ok(Some(Some(until))),
                None => return Err(error.into()),
            },
            done => done?,
        };
        if was_disabled && matches!(done, Done::Step) {
            let mut tx = self.app.store.write().await?;
            operator_faults::clear(&mut tx, GMAIL_DISABLED).await?;
            tx.commit().await?;
        }
        Ok(match done {
            // What came meanwhile makes it due again when it is given back. Where names of labels decide what may be
            // kept, the step itself may have changed that.
            Done::Step => match run.around.filter(|_| !run.rules.by_name) {
                Some(around) => match plan(&run.mailbox, Surroundings::of(around, &run.grant), now) {
                    Step::Rest(until) => Some(until),
                    _ => None,
                },
                None => None,
            },
            Done::Wait(until) => Some(rests_until(&run.mailbox, &around, until, now)),
        })
    }

    /// Brings what is stored a page closer to what may be kept.
    async fn catch_up(&self, lease: &Lease, now: Timestamp) -> Result<(), StepError> {
        let mut tx = self.app.store.write().await?;
        let mailbox = mailboxes::hold(&mut tx, lease, lease_end(now)).await?;
        let grown = privacy::catch_up(&self.app, &mut tx, &mailbox).await?;
        tx.commit().await?;
        if grown {
            self.tell(&mailbox.organization_id);
        }
        Ok(())
    }

    /// Whether something stands in the way of all of the person's mail and of nothing else: then that is told, and
    /// calendars and the directory go on. Answers when it is tried again. Google says the same of single calls at
    /// times, so it is asked once more for what any mailbox has.
    async fn stands_still(&self, run: &mut Run<'_>, error: &Error) -> Result<Option<Timestamp>, StepError> {
        let Some(why) = hindrance(&error.kind) else { return Ok(None) };
        if error.call != PROFILE {
            if run.take(run.price(PROFILE), Class::Live).is_err() {
                return Ok(None);
            }
            run.caller.purpose = purpose::CHECK;
            let asked = self.app.google.gmail(&run.caller).profile().await;
            let is_so = matches!(asked, Err(it) if hindrance(&it.kind) == Some(why));
            if !is_so {
                return Ok(None);
            }
        }
        let now = self.app.clock.now();
        let mut tx = self.app.store.write().await?;
        let failed = leases::fail(&mut tx, run.lease, why, now).await?;
        if why == failing::API_DISABLED {
            operator_faults::raise(&mut tx, GMAIL_DISABLED, GMAIL_DISABLED_DETAIL, now).await?;
        }
        tx.commit().await?;
        if failed.why_since.as_microsecond() == now.as_microsecond() {
            tracing::warn!(mailbox = %run.mailbox.id, why, "a mailbox can't be read");
            self.tell(&run.mailbox.organization_id);
        }
        Ok(Some(now.saturating_add(BLOCKED_FOR).unwrap_or(now)))
    }
}

/// Until when a mailbox rests whose budget is used up until then: something else may be due earlier.
fn rests_until(mailbox: &Mailbox, around: &Around, until: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let debts = [around.next_debt_at, around.next_change_debt_at];
    let earlier = [Some(mailbox.watch_due_at), mailbox.look_at, mailbox.probe_at].into_iter().chain(debts);
    earlier.flatten().filter(|at| *at > now).chain([until]).min()
}

/// What stands in the way of mail alone, in one word.
pub(super) fn hindrance(kind: &ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NoMailbox => Some(failing::NO_MAILBOX),
        ErrorKind::AdminBlocked(BlockReason::DomainPolicy) => Some(failing::OFF_FOR_APPS),
        ErrorKind::Refused(Refusal::Operator(OperatorFault::ApiDisabled)) => Some(failing::API_DISABLED),
        _ => None,
    }
}

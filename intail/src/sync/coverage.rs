//! Audits: the copy is counted against Google's own count, once after a pass and then at most once a day while there is
//! activity. An idle mailbox is never audited. A difference that stays is a hole, and a hole is repaired by a pass over
//! the whole listing, which fetches what is missing and emits it as changes.

use std::time::Duration;

use intail_google::{Error, ErrorKind, Refusal};

use super::budget::Class;
use super::mail::{DRAFT, Run};
use super::worker::{Done, StepError};
use crate::id::HistoryId;
use crate::store::coverage::{self, Coverage};
use crate::store::mailboxes::MailboxState;
use crate::store::{messages, operator_faults};

/// How long after activity: later than the probe, so that what Google drops or delays is read first.
pub(super) const AUDIT_AFTER: Duration = Duration::from_secs(15 * 60);
/// When to count again after a difference, or when the mailbox moved while it was counted.
const AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);
/// Differences in a row that make a hole: one may be Google's lag.
const MISSES_MAX: i64 = 2;
/// The least time between two repairs of a mailbox: what a pass over everything doesn't mend, another one won't.
const REPAIR_EVERY: Duration = Duration::from_secs(24 * 3600);
const HOLE: &str = "coverage.hole";
const HOLE_DETAIL: &str = "A mailbox holds another number of messages than Google counts, and comparing everything \
     didn't mend it. Please report it, with the time of this message; the mailbox is compared again tomorrow.";
/// Gmail's labels whose messages its count may leave out: the reference doesn't say.
const ASIDE: [&str; 2] = ["SPAM", "TRASH"];

impl Run<'_> {
    /// Counts at Google and here, twice at Google, so that a change in between is noticed.
    pub(super) async fn audit(&mut self) -> Result<Done, StepError> {
        let units = 2 * self.price("gmail.getProfile") + self.price("gmail.labels.get");
        if let Err(until) = self.take(units, Class::Backfill) {
            return Ok(Done::Wait(until));
        }
        let gmail = self.app.google.gmail(&self.caller);
        let before = gmail.profile().await?;
        let drafts = match gmail.label(DRAFT).await {
            Ok(counts) => counts.messages_total,
            Err(Error { kind: ErrorKind::Refused(Refusal::NotFound), .. }) => 0,
            Err(error) => return Err(error.into()),
        };
        let after = gmail.profile().await?;
        let is_still = (before.history_id, before.messages_total) == (after.history_id, after.messages_total);
        let is_behind = self.mailbox.cursor.is_none_or(|cursor| HistoryId(after.history_id) > cursor);

        let mut tx = self.write().await?;
        let known = coverage::of_mailbox(&mut tx, &self.mailbox.id).await?;
        let held = messages::count(&mut tx, &self.mailbox.id).await?;
        let aside = messages::count_labelled(&mut tx, &self.mailbox.id, &ASIDE).await?;
        let again = self.now.saturating_add(AGAIN_AFTER).ok();
        let counted = i64::try_from(before.messages_total.saturating_sub(drafts)).unwrap_or(i64::MAX);
        let found = Coverage { google_count: Some(counted), held_count: Some(held), ..known.clone() };
        let mut changes = Vec::new();
        let now_known = if !is_still || is_behind {
            if is_behind {
                self.mailbox.look_at = Some(self.now);
            }
            Coverage { due_at: again, ..known }
        } else if counted == held || counted == held - aside {
            operator_faults::clear(&mut tx, HOLE).await?;
            let history_id = Some(HistoryId(after.history_id));
            Coverage { due_at: None, audited_at: Some(self.now), history_id, misses: 0, ..found }
        } else if found.misses + 1 < MISSES_MAX {
            Coverage { due_at: again, misses: found.misses + 1, ..found }
        } else if known.repaired_at.is_some_and(|at| at.saturating_add(REPAIR_EVERY).is_ok_and(|it| it > self.now)) {
            operator_faults::raise(&mut tx, HOLE, HOLE_DETAIL, self.now).await?;
            Coverage { due_at: self.now.saturating_add(REPAIR_EVERY).ok(), ..found }
        } else {
            tracing::warn!(mailbox = %self.mailbox.id, counted, held, "a hole was found; everything is compared");
            changes.push(self.compare_everything());
            Coverage { due_at: None, misses: 0, repaired_at: Some(self.now), ..found }
        };
        coverage::put(&mut tx, &self.mailbox.organization_id, &self.mailbox.id, &now_known).await?;
        self.commit(tx, &changes).await?;
        Ok(Done::Step)
    }

    /// Whether the pass that runs repairs a hole: the history was read all the time, so what is held is right, and only
    /// what is missing has to be fetched.
    pub(super) fn is_repair(&self, known: &Coverage) -> bool {
        self.mailbox.state == MailboxState::Reconciling && known.repaired_at == Some(self.mailbox.state_since)
    }
}

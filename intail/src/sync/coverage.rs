//! Audits: the copy is counted against Google's own count, once after a pass and then at most once a day while there is
//! activity. An idle mailbox is never audited. A difference that stays is a hole, and a hole is repaired by a pass over
//! the whole listing, which fetches what is missing and emits it as changes.

use std::time::Duration;

use intail_google::{Error, ErrorKind, Refusal};
use jiff::Timestamp;

use super::budget::Class;
use super::mail::{DRAFT, Run};
use super::privacy::ASIDE;
use super::worker::{Done, StepError};
use crate::id::HistoryId;
use crate::store::coverage::{self, Coverage};
use crate::store::mailboxes::MailboxState;
use crate::store::{exclusions, messages};

/// How long after activity: later than the probe, so that what Google drops or delays is read first.
pub(super) const AUDIT_AFTER: Duration = Duration::from_secs(15 * 60);
/// When to count again after a difference, or when the mailbox moved while it was counted.
const AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);
/// Differences in a row that make a hole: one may be Google's lag.
const MISSES_MAX: i64 = 2;
/// The least time between two repairs of a mailbox: what a pass over everything doesn't mend, another one won't.
const REPAIR_EVERY: Duration = Duration::from_secs(24 * 3600);
/// What was counted at the same time.
struct Counts {
    /// At Google, without drafts and without what the privacy settings leave out.
    counted: i64,
    /// Here.
    held: i64,
    /// Here or left out, in the spam or the trash.
    aside: i64,
}

/// What the counts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing is missing.
    Agrees,
    /// They differ for the first time.
    Suspicion,
    /// They differ again, by as much.
    Hole,
}

/// What the counts say, and what is known with them. A difference that comparing everything left as it is isn't ours:
/// Google counts otherwise than it lists, and comparing once more won't help.
fn judge(known: &Coverage, counts: &Counts, now: Timestamp) -> (Verdict, Coverage) {
    let offset = counts.counted - counts.held;
    let offset_before = known.google_count.zip(known.held_count).map(|(google, held)| google - held);
    let found = Coverage { google_count: Some(counts.counted), held_count: Some(counts.held), ..known.clone() };
    let agreed = Coverage { due_at: None, audited_at: Some(now), misses: 0, ..found.clone() };
    if offset == 0 || counts.counted == counts.held - counts.aside {
        return (Verdict::Agrees, Coverage { explained: None, ..agreed });
    }
    if known.explained == Some(offset) {
        return (Verdict::Agrees, agreed);
    }
    // A hole stays as it is; what changes is a message that is counted already and can't be read yet.
    if known.misses + 1 < MISSES_MAX || offset_before != Some(offset) {
        let due_at = now.saturating_add(AGAIN_AFTER).ok();
        return (Verdict::Suspicion, Coverage { due_at, misses: known.misses + 1, ..found });
    }
    if known.repaired_at.is_some_and(|at| at.saturating_add(REPAIR_EVERY).is_ok_and(|it| it > now)) {
        return (Verdict::Agrees, Coverage { explained: Some(offset), ..agreed });
    }
    (Verdict::Hole, Coverage { due_at: None, misses: 0, repaired_at: Some(now), ..found })
}

impl Run<'_> {
    /// Counts at Google and here, twice at Google, so that a change in between is noticed.
    pub(super) async fn audit(&mut self) -> Result<Done, StepError> {
        if self.mailbox.copied_from_ms.is_some() {
            // Google's counts say nothing about a part of a mailbox.
            let mut tx = self.write().await?;
            let known = coverage::of_mailbox(&mut tx, &self.mailbox.id).await?;
            let known = Coverage { due_at: None, ..known };
            coverage::put(&mut tx, &self.mailbox.organization_id, &self.mailbox.id, &known).await?;
            self.commit(tx, &[]).await?;
            return Ok(Done::Step);
        }
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
        let is_still = (before.history_id, before.messages_total) == (after.history_id, after.messages_total)
            // Something happened a moment ago, and may be counted before it can be read.
            && self.mailbox.look_at.is_none();
        let is_behind = self.mailbox.cursor.is_none_or(|cursor| HistoryId(after.history_id) > cursor);

        let mut tx = self.write().await?;
        let known = coverage::of_mailbox(&mut tx, &self.mailbox.id).await?;
        let held = messages::count(&mut tx, &self.mailbox.id).await?;
        let aside = messages::count_labelled(&mut tx, &self.mailbox.id, &ASIDE).await?;
        let left_out = exclusions::count(&mut tx, &self.mailbox.id).await?;
        let aside = aside + left_out.aside;
        let counted = i64::try_from(before.messages_total.saturating_sub(drafts)).unwrap_or(i64::MAX) - left_out.all;
        let mut changes = Vec::new();
        let now_known = if !is_still || is_behind {
            if is_behind {
                self.mailbox.look_at = Some(self.now);
            }
            Coverage { due_at: self.now.saturating_add(AGAIN_AFTER).ok(), ..known }
        } else {
            let (verdict, found) = judge(&known, &Counts { counted, held, aside }, self.now);
            if verdict == Verdict::Hole {
                tracing::warn!(mailbox = %self.mailbox.id, counted, held, "a hole: everything is compared");
                changes.push(self.list_everything());
            }
            let history_id =
                if verdict == Verdict::Agrees { Some(HistoryId(after.history_id)) } else { known.history_id };
            Coverage { history_id, ..found }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;

    fn at(minute: i64) -> Timestamp {
        from_us(minute * 60_000_000)
    }

    fn audit(known: &mut Coverage, counted: i64, minute: i64) -> Verdict {
        let (verdict, found) = judge(known, &Counts { counted, held: 10, aside: 1 }, at(minute));
        *known = found;
        verdict
    }

    #[test]
    fn promise_11_a_difference_counts_when_it_is_found_twice() {
        let mut known = Coverage::default();
        assert_eq!(audit(&mut known, 12, 0), Verdict::Suspicion);
        assert_eq!(known.due_at, Some(at(10)));
        let mut lag = known.clone();
        assert_eq!(audit(&mut lag, 10, 10), Verdict::Agrees);
        assert_eq!((lag.misses, lag.due_at, lag.explained), (0, None, None));
        assert_eq!(audit(&mut known, 12, 10), Verdict::Hole);
        assert_eq!(known.repaired_at, Some(at(10)));
    }

    #[test]
    fn a_count_that_leaves_out_spam_and_trash_agrees_too() {
        assert_eq!(audit(&mut Coverage::default(), 9, 0), Verdict::Agrees);
    }

    #[test]
    fn what_comparing_everything_leaves_as_it_is_is_explained_and_not_compared_again() {
        let mut known = Coverage::default();
        let verdicts: Vec<Verdict> = [0, 10, 20, 30].map(|minute| audit(&mut known, 12, minute)).to_vec();
        assert_eq!(verdicts, [Verdict::Suspicion, Verdict::Hole, Verdict::Suspicion, Verdict::Agrees]);
        assert_eq!(known.explained, Some(2));
        assert_eq!(audit(&mut known, 12, 1500), Verdict::Agrees);
        assert_eq!(audit(&mut known, 13, 3000), Verdict::Suspicion, "that is another difference");
    }

    #[test]
    fn a_difference_that_changes_is_no_hole_yet() {
        let mut known = Coverage::default();
        let verdicts: Vec<Verdict> =
            [(12, 0), (13, 10), (12, 20), (12, 30)].map(|(count, at)| audit(&mut known, count, at)).to_vec();
        assert_eq!(verdicts, [Verdict::Suspicion, Verdict::Suspicion, Verdict::Suspicion, Verdict::Hole]);
    }

    #[test]
    fn everything_is_compared_once_a_day_at_most() {
        let mut known = Coverage::default();
        let verdicts: Vec<Verdict> =
            [(12, 0), (12, 10), (13, 20), (13, 30), (15, 40), (15, 50), (16, 1470), (16, 1480)]
                .map(|(count, at)| audit(&mut known, count, at))
                .to_vec();
        let (suspicion, hole, agrees) = (Verdict::Suspicion, Verdict::Hole, Verdict::Agrees);
        assert_eq!(verdicts, [suspicion, hole, suspicion, agrees, suspicion, agrees, suspicion, hole]);
    }
}

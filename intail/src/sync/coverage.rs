//! Audits: the copy is counted against Google's own counts, of messages and of some labels, once after a pass and then
//! at most once a day while there is activity. An idle mailbox is never audited. A difference that stays is a hole: it
//! is repaired by a pass over the whole listing, which fetches what is missing and emits it as changes; or, where only
//! labels differ, by listing those.

use std::time::Duration;

use intail_google::{Error, ErrorKind, Refusal};
use jiff::Timestamp;

use super::budget::Class;
use super::mail::{DRAFT, DRAFT_PAGES_MAX, Run};
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
/// Differences in a row that make a hole where nothing happens between them: one may be Google's lag.
const MISSES_MAX: i64 = 2;
/// The same where something always happens between them: as many delays don't amount to as much each time.
const BUSY_MISSES_MAX: i64 = 6;
/// The least time between two repairs of a mailbox: what a pass over everything doesn't mend, another one won't.
const REPAIR_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long a difference that comparing left as it was counts as explained: what nobody can see may hide behind it.
const EXPLAINED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Labels that are counted by themselves: those that people go by, and that every mailbox has. Each costs a unit.
const COUNTED: [&str; 3] = ["INBOX", "STARRED", "UNREAD"];

/// What was counted at the same time.
struct Counts {
    /// At Google, without drafts and without what the privacy settings leave out.
    counted: i64,
    /// Here.
    held: i64,
    /// Here or left out, in the spam or the trash.
    aside: i64,
    /// Google's history id by then.
    id: HistoryId,
}

/// What the counts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing is missing.
    Agrees,
    /// They differ for the first time, or something happened since.
    Suspicion,
    /// They differ again, by as much, and nothing happened in between.
    Hole,
}

/// What the counts say, and what is known with them. Google may count what can't be read yet, so a difference counts
/// only if it is the same again, see [`is_proved`]. One that comparing everything left as it is isn't ours: Google
/// counts otherwise than it lists, and comparing once more won't help.
fn judge(known: &Coverage, counts: &Counts, now: Timestamp) -> (Verdict, Coverage) {
    let offset = counts.counted - counts.held;
    let offset_before = known.google_count.zip(known.held_count).map(|(google, held)| google - held);
    let found = Coverage { google_count: Some(counts.counted), held_count: Some(counts.held), ..known.clone() };
    let agreed = Coverage { due_at: None, audited_at: Some(now), misses: 0, differed_id: None, ..found.clone() };
    if offset == 0 || counts.counted == counts.held - counts.aside {
        return (Verdict::Agrees, Coverage { explained: None, ..agreed });
    }
    if known.explained == Some(offset) && is_within(known.explained_at, EXPLAINED_FOR, now) {
        return (Verdict::Agrees, agreed);
    }
    let misses = if offset_before == Some(offset) { known.misses + 1 } else { 1 };
    if !is_proved(misses, known.differed_id, counts.id) {
        let due_at = now.saturating_add(AGAIN_AFTER).ok();
        return (Verdict::Suspicion, Coverage { due_at, misses, differed_id: Some(counts.id), ..found });
    }
    if is_within(known.repaired_at, REPAIR_EVERY, now) {
        return (Verdict::Agrees, Coverage { explained: Some(offset), explained_at: Some(now), ..agreed });
    }
    (Verdict::Hole, Coverage { due_at: None, misses: 0, differed_id: None, repaired_at: Some(now), ..found })
}

/// Whether a difference that so many audits in a row found is one of the copy: nothing happened at Google between the
/// last two, or it stays whatever happens.
fn is_proved(misses: i64, before: Option<HistoryId>, id: HistoryId) -> bool {
    misses >= BUSY_MISSES_MAX || misses >= MISSES_MAX && before == Some(id)
}

/// The same for the labels that are counted, once the messages agree: `differ` says by how much, and `found` what is
/// known with that. A difference that is proved is compared, label by label.
fn judge_labels(
    known: &Coverage,
    found: Coverage,
    differ: Option<String>,
    id: HistoryId,
    now: Timestamp,
) -> (Verdict, Coverage) {
    let found = Coverage { labels_differ: differ.clone(), labels_misses: 0, labels_differed_id: None, ..found };
    if differ.is_none() {
        return (Verdict::Agrees, Coverage { labels_explained: None, labels_explained_at: None, ..found });
    }
    if known.labels_explained == differ && is_within(known.labels_explained_at, EXPLAINED_FOR, now) {
        return (Verdict::Agrees, found);
    }
    let misses = if known.labels_differ == differ { known.labels_misses + 1 } else { 1 };
    if !is_proved(misses, known.labels_differed_id, id) {
        let due_at = now.saturating_add(AGAIN_AFTER).ok();
        let audited_at = known.audited_at;
        let doubted = Coverage { labels_misses: misses, labels_differed_id: Some(id), ..found };
        return (Verdict::Suspicion, Coverage { due_at, audited_at, ..doubted });
    }
    if is_within(known.labels_repaired_at, REPAIR_EVERY, now) {
        return (Verdict::Agrees, Coverage { labels_explained: differ, labels_explained_at: Some(now), ..found });
    }
    let audited_at = known.audited_at;
    // The first audit after it is the second that finds what it leaves.
    let again = Coverage { labels_misses: 1, labels_differed_id: Some(id), ..found };
    (Verdict::Hole, Coverage { due_at: None, audited_at, labels_repaired_at: Some(now), ..again })
}

fn is_within(at: Option<Timestamp>, time: Duration, now: Timestamp) -> bool {
    at.is_some_and(|at| at.saturating_add(time).is_ok_and(|it| it > now))
}

/// The labels whose counts differ, in order.
pub(super) fn differing(known: &Coverage) -> Vec<String> {
    let differ = known.labels_differ.as_deref().unwrap_or_default();
    differ.split_whitespace().filter_map(|it| it.split(['+', '-']).next()).map(str::to_owned).collect()
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
        let labels = 1 + u64::try_from(COUNTED.len()).unwrap_or(0);
        let units = 2 * self.price("gmail.getProfile") + labels * self.price("gmail.labels.get");
        if let Err(until) = self.take(units, Class::BACKFILL) {
            return Ok(Done::Wait(until));
        }
        let gmail = self.app.google.gmail(&self.caller);
        let before = gmail.profile().await?;
        let carriers = async |label| match gmail.label(label).await {
            Ok(counts) => Ok(counts.messages_total),
            Err(Error { kind: ErrorKind::Refused(Refusal::NotFound), .. }) => Ok(0),
            Err(error) => Err(error),
        };
        let drafts = carriers(DRAFT).await?;
        let mut by_label = Vec::with_capacity(COUNTED.len());
        for label in COUNTED {
            by_label.push((label, carriers(label).await?));
        }
        let differ = match self.differences(&by_label).await? {
            Ok(differ) => differ,
            Err(until) => return Ok(Done::Wait(until)),
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
            let counts = Counts { counted, held, aside, id: HistoryId(after.history_id) };
            let (verdict, found) = judge(&known, &counts, self.now);
            if verdict == Verdict::Hole {
                tracing::warn!(mailbox = %self.mailbox.id, counted, held, "a hole: everything is compared");
                self.mailbox.total_messages = i64::try_from(before.messages_total).ok();
                changes.push(self.list_everything());
            }
            let (verdict, found) = match verdict {
                Verdict::Agrees => judge_labels(&known, found, differ, counts.id, self.now),
                other => (other, found),
            };
            if let Some(label) = differing(&found).first().filter(|_| found.labels_repaired_at == Some(self.now)) {
                tracing::warn!(mailbox = %self.mailbox.id, differ = found.labels_differ, "labels are compared");
                self.mailbox.total_messages = None;
                changes.push(self.list_from(label));
            }
            let history_id =
                if verdict == Verdict::Agrees { Some(HistoryId(after.history_id)) } else { known.history_id };
            Coverage { history_id, ..found }
        };
        coverage::put(&mut tx, &self.mailbox.organization_id, &self.mailbox.id, &now_known).await?;
        self.commit(tx, &changes).await?;
        Ok(Done::Step)
    }

    /// By how much the counts of labels differ from what is held, or when to ask again. It isn't known which labels
    /// left out messages carry, nor whether Google counts spam and trash. Drafts may carry labels and aren't copied:
    /// where there is a difference, those are listed.
    async fn differences(&self, by_label: &[(&str, u64)]) -> Result<Result<Option<String>, Timestamp>, StepError> {
        let mut differ = Vec::new();
        for (label, counted) in by_label {
            let mut tx = self.app.store.read().await?;
            let left_out = exclusions::count(&mut tx, &self.mailbox.id).await?.all;
            let held = messages::count_labelled(&mut tx, &self.mailbox.id, &[label]).await?;
            let aside = messages::count_labelled_both(&mut tx, &self.mailbox.id, label, &ASIDE).await?;
            drop(tx);
            let agrees = |offset: i64| [offset, offset + aside].iter().any(|it| (0..=left_out).contains(it));
            let offset = i64::try_from(*counted).unwrap_or(i64::MAX / 2) - held;
            if agrees(offset) {
                continue;
            }
            let (mut drafts, mut page_token) = (0, None);
            for _ in 0..DRAFT_PAGES_MAX {
                if let Err(until) = self.take(self.price("gmail.messages.list"), Class::BACKFILL) {
                    return Ok(Err(until));
                }
                let gmail = self.app.google.gmail(&self.caller);
                let page = gmail.messages(page_token.as_deref(), &[DRAFT, label], true).await?;
                drafts += i64::try_from(page.refs.len()).unwrap_or(0);
                page_token = page.next_page_token;
                if page_token.is_none() {
                    break;
                }
            }
            let offset = offset - drafts;
            if !agrees(offset) {
                differ.push(format!("{label}{offset:+}"));
            }
        }
        Ok(Ok((!differ.is_empty()).then(|| differ.join(" "))))
    }

    /// Whether the pass that runs compares only labels whose counts differ.
    pub(super) fn is_label_repair(&self, known: &Coverage) -> bool {
        self.mailbox.state == MailboxState::Reconciling && known.labels_repaired_at == Some(self.mailbox.state_since)
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
        audit_at(known, counted, minute, 7)
    }

    fn audit_at(known: &mut Coverage, counted: i64, minute: i64, id: u64) -> Verdict {
        let counts = Counts { counted, held: 10, aside: 1, id: HistoryId(id) };
        let (verdict, found) = judge(known, &counts, at(minute));
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
        let mut later = known.clone();
        let week = 7 * 24 * 60;
        assert_eq!(audit(&mut later, 12, 29 + week), Verdict::Agrees);
        assert_eq!(audit(&mut later, 12, 31 + week), Verdict::Suspicion, "what was explained for a week is doubted");
        assert_eq!(audit(&mut later, 12, 41 + week), Verdict::Hole);
        assert_eq!(audit(&mut known, 13, 3000), Verdict::Suspicion, "that is another difference");
    }

    fn audit_labels(known: &mut Coverage, differ: Option<&str>, minute: i64) -> Verdict {
        audit_labels_at(known, differ, minute, 7)
    }

    fn audit_labels_at(known: &mut Coverage, differ: Option<&str>, minute: i64, id: u64) -> Verdict {
        let agreed = Coverage { due_at: None, audited_at: Some(at(minute)), ..known.clone() };
        let (verdict, found) = judge_labels(known, agreed, differ.map(str::to_owned), HistoryId(id), at(minute));
        *known = found;
        verdict
    }

    #[test]
    fn labels_that_differ_twice_are_compared_and_then_explained_for_a_week() {
        let mut known = Coverage::default();
        assert_eq!(audit_labels(&mut known, Some("INBOX+1"), 0), Verdict::Suspicion);
        assert_eq!((known.due_at, known.audited_at, known.agrees()), (Some(at(10)), None, false));
        assert_eq!(audit_labels(&mut known, Some("INBOX+1 UNREAD-2"), 10), Verdict::Suspicion, "it moves");
        assert_eq!(audit_labels(&mut known, Some("INBOX+1 UNREAD-2"), 20), Verdict::Hole);
        assert_eq!(differing(&known), ["INBOX", "UNREAD"]);
        let mut mended = known.clone();
        assert_eq!(audit_labels(&mut mended, None, 30), Verdict::Agrees);
        assert!(mended.agrees() && differing(&mended).is_empty());
        assert_eq!(audit_labels(&mut known, Some("INBOX+1 UNREAD-2"), 30), Verdict::Agrees, "Google counts otherwise");
        assert!(known.agrees());
        let week = 7 * 24 * 60;
        assert_eq!(audit_labels(&mut known, Some("INBOX+1 UNREAD-2"), 29 + week), Verdict::Agrees);
        let doubted = [31, 41].map(|minute| audit_labels(&mut known, Some("INBOX+1 UNREAD-2"), minute + week));
        assert_eq!(doubted, [Verdict::Suspicion, Verdict::Hole], "what was explained for a week is doubted");
    }

    #[test]
    fn the_same_difference_twice_is_no_hole_if_something_happened_in_between() {
        let mut known = Coverage::default();
        let verdicts = [(0, 1), (10, 2), (20, 3), (30, 3)].map(|(minute, id)| audit_at(&mut known, 12, minute, id));
        assert_eq!(verdicts[..3], [Verdict::Suspicion; 3], "each may be a letter that is counted and not shown yet");
        assert_eq!(verdicts[3], Verdict::Hole);
        let mut known = Coverage::default();
        let verdicts =
            [(0, 1), (10, 2), (20, 2)].map(|(minute, id)| audit_labels_at(&mut known, Some("INBOX-1"), minute, id));
        assert_eq!(verdicts, [Verdict::Suspicion, Verdict::Suspicion, Verdict::Hole]);
    }

    #[test]
    fn a_difference_that_stays_however_much_happens_is_a_hole_within_an_hour() {
        let (mut known, mut labels) = (Coverage::default(), Coverage::default());
        for minute in [0_i64, 10, 20, 30, 40] {
            let id = 100 + minute.unsigned_abs();
            assert_eq!(audit_at(&mut known, 12, minute, id), Verdict::Suspicion);
            assert_eq!(audit_labels_at(&mut labels, Some("INBOX-1"), minute, id), Verdict::Suspicion);
        }
        assert_eq!(audit_at(&mut known, 12, 50, 150), Verdict::Hole);
        assert_eq!(audit_labels_at(&mut labels, Some("INBOX-1"), 50, 150), Verdict::Hole);
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

//! One bounded step of a mailbox: pin, history, probe, debts, list, fill, settle. Each asks Google first and then
//! commits rows, cursor and changes together, under the lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use intail_google::gmail::{self, HistoryRecord};
use intail_google::{Caller, Error, ErrorKind, Refusal, SlowScope};
use jiff::Timestamp;
use serde_json::json;

use super::budget::{Budget, Class, Permit};
use super::coverage::{AUDIT_AFTER, differing};
use super::headers::stored;
use super::outlook::{LISTED_AT_ONCE, stood_still_s};
use super::plan::{PROBE_AFTER, PROBE_WITHOUT_PUSH, Step, TRAILING_LOOK, VISIBLE_AFTER, is_noticed};
use super::privacy::{Admitted, Rules, is_resubjected, resubjected};
use super::worker::{Done, StepError, lease_end};
use crate::app::App;
use crate::id::HistoryId;
use crate::org::receipts::purpose;
use crate::store::changes::{self, NewChange, Of};
use crate::store::coverage;
use crate::store::debts::{self, Debt};
use crate::store::exclusions;
use crate::store::fills::{self, Fill};
use crate::store::grants::Grant;
use crate::store::labels::{self, Label, LabelKind};
use crate::store::leases::{self, Lease};
use crate::store::mailboxes::{self, Around, Mailbox, MailboxState};
use crate::store::messages::{self, Message};
use crate::store::quota;
use crate::store::sightings;
use crate::store::{StoreError, Tx};

/// Messages fetched in one step: small enough that a live change never waits long behind it.
const FETCH_MAX: usize = 50;
/// Messages that lead one step of a backfill. It mostly ends earlier, by its time; where Google answers at once, more
/// of them share what a step costs the database.
const FILL_MAX: i64 = 1_000;
/// How long a step of a backfill goes on asking. A live change of the same mailbox waits that long and one answer more.
const FILL_TIME: Duration = Duration::from_millis(250);
/// Pages of history read in one step. The cursor is kept after each page that held records.
const HISTORY_PAGES_MAX: usize = 50;
/// Pages of one listing. Full ones would hold five million messages; whoever has more goes in a circle.
const LISTING_PAGES_MAX: i64 = 10_000;
/// When a listing that led nowhere is begun anew: rarely enough that a circle costs little of anybody's day.
const LISTING_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// The same after Google took a page's token back, which it may do again.
const LISTING_REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// Messages that a complete pass didn't see, compared in one step.
const SETTLE_MAX: i64 = 50;
/// Pages that are listed once more after a pass, at most: what arrived since the pass began. Google's hold 500, so one
/// is nearly always enough; a few short ones must not end it early.
const RELIST_PAGES_MAX: i64 = 60;
/// How much older than the pass a message must be to end that: the date of a message and its arrival differ.
const RELIST_MARGIN_MS: i64 = 3_600_000;
/// Why a message is owed that history named and Google doesn't show: it may come (observed: seconds), or have gone.
const NOT_READABLE_YET: &str = "not_readable_yet";
/// Why a message is owed that its thread didn't show.
const NOT_IN_ITS_THREAD: &str = "not_in_its_thread";
/// How often what couldn't be fetched is asked for with the rest of its thread, before each is asked for by itself.
const TRIES_BY_THREAD: i64 = 2;
/// How often it is looked for before it counts as gone: after 10 s, a minute and six minutes.
const NOT_READABLE_TRIES_MAX: i64 = 3;
/// Failures of passing trouble in one step after which nothing more is asked: Google is having a bad time.
const TRANSIENTS_MAX: usize = 3;
/// The longest wait between two tries of a debt.
const DEBT_RETRY_MAX_S: u64 = 3600;
/// How often everything is compared because of what the history told and nobody can read.
const COMPARE_EVERY: Duration = Duration::from_secs(3600);
/// The same for what a listing named. A comparison lists it once more, so there it rarely helps.
const LISTED_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// In the place of a label: which labels there are is still to be asked. No label's id is empty.
const ALL_LABELS: &str = "";
/// Pages of drafts that are listed beside each page of the mailbox: nobody keeps ten thousand.
pub(super) const DRAFT_PAGES_MAX: usize = 20;
/// Gmail's label for drafts. Drafts aren't copied: each keystroke's autosave destroys one and makes another.
pub(super) const DRAFT: &str = "DRAFT";

/// One run of one mailbox under its lease.
pub(super) struct Run<'a> {
    pub(super) app: &'a App,
    pub(super) budget: &'a Budget,
    /// What this step may spend; it counts as spent from the step's end.
    pub(super) permits: Mutex<Vec<Permit>>,
    /// How much of the project's day the organization leaves to backfill.
    pub(super) day_percent: u64,
    pub(super) lease: &'a Lease,
    pub(super) mailbox: Mailbox,
    pub(super) grant: Grant,
    pub(super) caller: Caller,
    /// What may be kept of the mailbox, as of the transaction that is open or was open last.
    pub(super) rules: Rules,
    pub(super) now: Timestamp,
    /// Whether Google wants no more questions: what was done so far is kept, and the failures go on counting.
    pub(super) stopping: bool,
    /// What is around the mailbox as of the last commit, where it is likely to rest now.
    pub(super) around: Option<Around>,
}

/// What a reading of the history named that can't be read.
#[derive(Default)]
struct Strange {
    /// Messages of which nobody knows what happened to them.
    unclear: Vec<gmail::MessageId2>,
    /// Entries of which nobody knows which message they are about.
    unreadable: u64,
}

impl Strange {
    fn is_empty(&self) -> bool {
        self.unclear.is_empty() && self.unreadable == 0
    }
}

/// How a reading of the history ended.
struct End {
    /// Whether anything happened, or somebody said so.
    active: bool,
    /// When what Google's present id counts can be read.
    look_at: Option<Timestamp>,
}

/// What asking Google for some messages gave.
#[derive(Default)]
struct Fetched {
    /// There they are.
    messages: Vec<Message>,
    /// They don't exist, or not yet.
    gone: Vec<Fill>,
    /// They couldn't be read, and why.
    failed: Vec<(Fill, &'static str)>,
    /// They weren't asked for, because Google wants no more questions for now or the step took long enough.
    unasked: Vec<Fill>,
    /// What asking for those would have cost.
    unasked_units: u64,
    /// What Google said to that.
    stop: Option<Error>,
}

/// Why and how something is owed.
#[derive(Clone, Copy)]
struct Owed<'a> {
    reason: &'a str,
    tries: i64,
    /// When it is tried again.
    wait: Duration,
    /// Whether a copy or a comparison named it, not a change that just happened.
    in_bulk: bool,
}

impl Run<'_> {
    /// Does one step.
    pub(super) async fn step(&mut self, step: Step) -> Result<Done, StepError> {
        self.caller.purpose = purpose_of(step, self.mailbox.state);
        match step {
            Step::Pin => self.pin().await,
            Step::Watch => self.watch().await,
            Step::History => self.history().await,
            Step::Probe => self.probe().await,
            Step::Debts => self.debts().await,
            Step::List => self.list().await,
            Step::Fill => self.fill().await,
            Step::Settle => self.settle().await,
            Step::Relist => self.relist().await,
            Step::Compare => self.compare().await,
            Step::Audit => self.audit().await,
            Step::Rest(_) => Ok(Done::Step),
        }
    }

    pub(super) fn price(&self, call: &str) -> u64 {
        u64::from(self.app.config.quota.units(call))
    }

    pub(super) fn take(&self, units: u64, class: Class) -> Result<(), Timestamp> {
        let permit = self.budget.reserve(&self.grant.google_subject, units, class)?;
        self.permits.lock().unwrap_or_else(PoisonError::into_inner).push(permit);
        Ok(())
    }

    fn bulk(&self) -> Class {
        bulk(&self.mailbox, self.day_percent)
    }

    /// Writes the mailbox and the changes beside what `tx` holds already, and tells the readers. A step that got here
    /// has succeeded, so earlier failures are forgotten. Only who holds the lease may save the mailbox.
    pub(super) async fn commit(&mut self, mut tx: Tx, changes: &[NewChange]) -> Result<(), StoreError> {
        if !self.stopping {
            self.mailbox.failures = 0;
            self.mailbox.paused_until = None;
            self.mailbox.paused_why = None;
        }
        mailboxes::save(&mut tx, &self.mailbox, self.lease).await?;
        let of = Of {
            organization: &self.mailbox.organization_id,
            person: Some(&self.mailbox.person_id),
            stream: (&self.mailbox.id).into(),
        };
        // Before the feed, which others wait for from there on.
        if self.mailbox.state == MailboxState::Live {
            self.around = Some(mailboxes::around(&mut tx, &self.mailbox).await?);
        }
        let grown = changes::append(&mut tx, of, changes, self.now).await?;
        tx.commit().await?;
        if grown.is_some() {
            self.app.feed.tell(&self.mailbox.organization_id);
        }
        Ok(())
    }

    /// Opens the transaction of a step's results, proves the lease before anything is written in it, and reads what may
    /// be kept.
    pub(super) async fn write(&mut self) -> Result<Tx, StoreError> {
        let mut tx = self.app.store.write().await?;
        leases::hold(&mut tx, self.lease, lease_end(self.now)).await?;
        self.rules = Rules::read(self.app, &mut tx, &self.mailbox).await?;
        Ok(tx)
    }

    // ---- pin and probe ----

    /// The cursor is pinned before anything is listed: what changes while the listing runs is then in the history.
    async fn pin(&mut self) -> Result<Done, StepError> {
        if let Err(until) = self.take(self.price("gmail.getProfile"), Class::Live) {
            return Ok(Done::Wait(until));
        }
        let profile = self.app.google.gmail(&self.caller).profile().await?;
        let current = HistoryId(profile.history_id);
        self.mailbox.pinned = Some(current);
        self.mailbox.cursor = Some(current);
        self.mailbox.total_messages = i64::try_from(profile.messages_total).ok();
        let mut tx = self.write().await?;
        let days = quota::backfill_days(&mut tx, &self.mailbox.organization_id).await?;
        self.mailbox.copied_from_ms = days.map(|days| depth_ms(self.now, days));
        self.follow_rename(&mut tx, &profile).await?;
        self.commit(tx, &[]).await?;
        Ok(Done::Step)
    }

    /// Notices carry the address that the account has now: a renamed account would go deaf.
    async fn follow_rename(&self, tx: &mut Tx, profile: &gmail::Profile) -> Result<(), StoreError> {
        if profile.email_address.eq_ignore_ascii_case(&self.mailbox.email) {
            return Ok(());
        }
        mailboxes::set_email(tx, &self.mailbox.id, &profile.email_address).await
    }

    /// Compares the cursor with Google's present history id: one unit tells whether a notice was missed.
    async fn probe(&mut self) -> Result<Done, StepError> {
        if let Err(until) = self.take(self.price("gmail.getProfile"), Class::Live) {
            return Ok(Done::Wait(until));
        }
        let profile = self.app.google.gmail(&self.caller).profile().await?;
        if self.mailbox.cursor.is_some_and(|cursor| HistoryId(profile.history_id) > cursor) {
            tracing::info!(mailbox = %self.mailbox.id, "a probe found changes that no notice told of");
            self.mailbox.look_at = Some(self.now);
        }
        let mut tx = self.write().await?;
        let is_told = self.is_told(&mut tx).await?;
        self.mailbox.probe_at = if is_told { None } else { self.now.saturating_add(PROBE_WITHOUT_PUSH).ok() };
        self.note_untold(&mut tx, HistoryId(profile.history_id)).await?;
        self.follow_rename(&mut tx, &profile).await?;
        self.commit(tx, &[]).await?;
        Ok(Done::Step)
    }

    /// Copies the labels' names, unless the budget has no room for that now: another occasion comes.
    pub(super) async fn labels(&mut self) -> Result<(), StepError> {
        match self.take(self.price("gmail.labels.list"), Class::Live) {
            Ok(()) => self.keep_labels().await,
            Err(_) => Ok(()),
        }
    }

    /// The first step of a comparison, which goes label by label: asks which labels there are. One that was made while
    /// the history was lost is on no message that is stored, and would never be compared.
    async fn list_labels(&mut self) -> Result<Done, StepError> {
        let units = self.price("gmail.labels.list");
        if let Err(until) = self.take(units, self.bulk()) {
            return Ok(Done::Wait(until));
        }
        self.mailbox.listing_label = None;
        self.keep_labels().await?;
        Ok(Done::Step)
    }

    async fn keep_labels(&mut self) -> Result<(), StepError> {
        let listed = self.app.google.gmail(&self.caller).labels().await?;
        let shown: BTreeMap<String, Label> = listed
            .labels
            .into_iter()
            .map(|it| {
                let kind = match it.kind {
                    gmail::LabelKind::System => LabelKind::System,
                    gmail::LabelKind::User => LabelKind::User,
                };
                (it.id.clone(), Label { id: it.id, name: it.name, kind })
            })
            .collect();
        let mut tx = self.write().await?;
        let known = labels::list(&mut tx, &self.mailbox.id).await?;
        let mut changes = Vec::new();
        // One that is missed may be among those that can't be read.
        for gone in known.iter().filter(|it| listed.unreadable == 0 && !shown.contains_key(&it.id)) {
            labels::delete(&mut tx, &self.mailbox.id, &gone.id).await?;
            changes.push(NewChange { kind: "label.deleted", subject_id: gone.id.clone(), data: json!({}) });
        }
        for label in shown.values().filter(|it| !known.contains(it)) {
            let is_new = known.iter().all(|it| it.id != label.id);
            labels::put(&mut tx, &self.mailbox.organization_id, &self.mailbox.id, label).await?;
            changes.push(NewChange {
                kind: if is_new { "label.added" } else { "label.changed" },
                subject_id: label.id.clone(),
                data: json!({ "name": label.name, "kind": label.kind.word() }),
            });
        }
        self.mailbox.labels_at = Some(self.now);
        self.commit(tx, &changes).await?;
        Ok(())
    }

    // ---- history ----

    async fn history(&mut self) -> Result<Done, StepError> {
        let Some(mut cursor) = self.mailbox.cursor else {
            return Ok(Done::Step);
        };
        let before = self.mailbox.ahead;
        let (mut page_token, mut active, mut is_stuck) = (None, is_noticed(&self.mailbox), true);
        let mut strange = Strange::default();
        for _ in 0..HISTORY_PAGES_MAX {
            if let Err(until) = self.take(self.price("gmail.history.list"), Class::Live) {
                return Ok(Done::Wait(until));
            }
            let page = match self.app.google.gmail(&self.caller).history(cursor.0, page_token.as_deref()).await {
                Err(error) if self.cursor_is_lost(&error, page_token.is_some()) => {
                    return self.reconcile(error).await;
                }
                page => page?,
            };
            strange.unclear.extend(page.unclear);
            strange.unreadable += page.unreadable;
            active |= !page.records.is_empty() || !strange.is_empty();
            let is_last = page.next_page_token.is_none();
            let told = HistoryId(page.records.iter().map(|it| it.id).max().unwrap_or(cursor.0));
            let read_to = match page.history_id.filter(|_| is_last) {
                Some(current) => self.reach(told, HistoryId(current)),
                None => told,
            };
            if !is_last && read_to <= cursor {
                // Nothing that wasn't read before: only where it goes on counts.
                page_token = page.next_page_token;
                continue;
            }
            let end = is_last.then(|| End { active, look_at: self.look_for_ahead(before) });
            let stop = self.apply(&page.records, std::mem::take(&mut strange), read_to, end).await?;
            if let Some(error) = stop {
                return Err(error.into());
            }
            if is_last {
                return Ok(Done::Step);
            }
            // The page moved the cursor: it is gone on from there.
            (page_token, is_stuck) = (None, false);
            cursor = read_to;
        }
        if is_stuck {
            tracing::warn!(mailbox = %self.mailbox.id, "the history leads nowhere");
            return Err(StepError::LeadsNowhere);
        }
        Ok(Done::Step)
    }

    /// How far the history was read, when its last page told of `told` and Google's present id is `current`. That id
    /// may count what can't be read yet, so the cursor goes there once it is known for long enough.
    fn reach(&mut self, told: HistoryId, current: HistoryId) -> HistoryId {
        let known = self.mailbox.ahead.zip(self.mailbox.ahead_at);
        let is_readable = |at: Timestamp| at.saturating_add(VISIBLE_AFTER).is_ok_and(|it| it <= self.now);
        let settled = known.filter(|(_, at)| is_readable(*at)).map(|(id, _)| id.min(current));
        let read_to = settled.map_or(told, |id| id.max(told));
        let waiting = known.filter(|(id, _)| settled.is_none() && *id > read_to);
        // By the time of the answer: the step may have begun long before.
        let ahead = waiting.or((current > read_to).then(|| (current, self.app.clock.now())));
        (self.mailbox.ahead, self.mailbox.ahead_at) = ahead.unzip();
        read_to
    }

    /// When to look again for what a present id of Google's counted: once, since some ids are of nothing that the
    /// history tells.
    fn look_for_ahead(&self, before: Option<HistoryId>) -> Option<Timestamp> {
        let at = self.mailbox.ahead_at.filter(|_| before.is_none() || before == self.mailbox.ahead)?;
        at.saturating_add(VISIBLE_AFTER).ok()
    }

    /// Google's 404, and a first page that is refused as invalid: the cursor is of no use any more.
    fn cursor_is_lost(&self, error: &Error, later_page: bool) -> bool {
        error.kind == ErrorKind::CursorGone
            || (!later_page && error.kind == ErrorKind::Refused(Refusal::Invalid) && error.status == Some(400))
    }

    /// Writes a page of history; `end` is given with the last one. Answers Google's wish to stop, if it had one; what
    /// wasn't fetched then is a debt, so the cursor may move all the same.
    async fn apply(
        &mut self,
        records: &[HistoryRecord],
        strange: Strange,
        read_to: HistoryId,
        end: Option<End>,
    ) -> Result<Option<Error>, StepError> {
        let told = digest(records);
        let ids: Vec<String> = told.keys().cloned().collect();
        let mut tx = self.app.store.read().await?;
        let known = messages::by_ids(&mut tx, &self.mailbox.id, &ids).await?;
        let names: BTreeSet<String> =
            labels::list(&mut tx, &self.mailbox.id).await?.into_iter().map(|it| it.id).collect();
        let left_out = self.exclusions_among(&mut tx, &ids).await?;
        drop(tx);
        let wanted: Vec<Fill> = told
            .values()
            .filter(|it| !known.contains_key(&it.message_id) && !it.is_deleted() && !it.is_draft)
            .filter(|it| !self.stays_left_out(left_out.get(&it.message_id), it, |label| names.contains(label)))
            .map(Story::as_fill)
            .collect();
        let mut fetched = self.fetch_within_budget(&wanted).await;
        // An answer may be older than the history that led to it.
        let up_to_date = |it: Message| match told.get(&it.id) {
            Some(story) => story.told_of(it),
            None => it,
        };
        fetched.messages = fetched.messages.into_iter().map(up_to_date).collect();
        let labels = told.values().flat_map(Story::labels).chain(fetched.messages.iter().flat_map(|it| &it.labels));
        let mut unnamed = labels.into_iter().any(|label| !names.contains(label));
        if unnamed && self.rules.by_name {
            // What a label is called decides whether its messages may be kept.
            self.labels().await?;
            unnamed = false;
        }

        let mut tx = self.write().await?;
        let (mut changes, mut gone) = (Vec::new(), Vec::new());
        for story in told.values() {
            self.follow_left_out(&mut tx, left_out.get(&story.message_id), story).await?;
            match known.get(&story.message_id) {
                Some(message) => changes.extend(self.retell(&mut tx, message, story).await?),
                None if story.is_draft => gone.push(story.message_id.clone()),
                None => {}
            }
            if story.is_deleted() {
                gone.push(story.message_id.clone());
            }
        }
        self.strike(&mut tx, &gone).await?;
        let stop = self.keep(&mut tx, fetched, &mut changes, false).await?;
        let unclear = strange.unclear.into_iter().map(|it| Fill { message_id: it.id, thread_id: it.thread_id });
        self.owe_unclear(&mut tx, unclear, false).await?;
        self.count_unreadable(strange.unreadable, COMPARE_EVERY);
        self.mailbox.advance(read_to, self.now);
        if end.is_none() {
            // Not read to the end: what the copy is as of hasn't moved.
            self.mailbox.cursor_at = None;
        }
        if let Some(End { active, look_at }) = end {
            // Those that were there before the first page was asked for; later ones are counted in the row already.
            self.mailbox.notices_read = self.mailbox.notices;
            let trailing = active.then(|| self.now.saturating_add(TRAILING_LOOK).ok()).flatten();
            self.mailbox.look_at = [trailing, look_at].into_iter().flatten().min();
            if active {
                self.mailbox.probe_at = self.now.saturating_add(PROBE_AFTER).ok();
                let at = self.now.saturating_add(AUDIT_AFTER).unwrap_or(self.now);
                coverage::want(&mut tx, &self.mailbox.organization_id, &self.mailbox.id, at).await?;
            }
        }
        self.commit(tx, &changes).await?;
        if unnamed {
            self.labels().await?;
        }
        Ok(stop)
    }

    /// Owes what Google named and told nothing of that can be read: each is asked for by itself, at once.
    async fn owe_unclear(
        &self,
        tx: &mut Tx,
        unclear: impl IntoIterator<Item = Fill>,
        in_bulk: bool,
    ) -> Result<(), StoreError> {
        for fill in unclear {
            let owed = Owed { reason: ErrorKind::NotUnderstood.word(), tries: 0, wait: Duration::ZERO, in_bulk };
            self.owe(tx, &fill, owed).await?;
        }
        Ok(())
    }

    /// Counts entries of which nothing can be read: everything is compared because of them, `every` so long at most.
    fn count_unreadable(&mut self, unreadable: u64, every: Duration) {
        if unreadable == 0 {
            return;
        }
        tracing::warn!(mailbox = %self.mailbox.id, unreadable, "entries that can't be read: everything is compared");
        let more = i64::try_from(unreadable).unwrap_or(i64::MAX);
        self.mailbox.unreadable = self.mailbox.unreadable.saturating_add(more);
        let allowed_at = self.mailbox.compared_at.and_then(|it| it.saturating_add(every).ok());
        let at = allowed_at.unwrap_or(self.now).max(self.now);
        self.mailbox.compare_at = Some(self.mailbox.compare_at.map_or(at, |it| it.min(at)));
    }

    /// Compares everything with Google, because something that it told couldn't be read.
    async fn compare(&mut self) -> Result<Done, StepError> {
        // How many there are nobody asked Google: what it counted for an earlier pass may be long over.
        self.mailbox.total_messages = None;
        let change = self.compare_everything();
        let mut tx = self.write().await?;
        exclusions::forget_labelled(&mut tx, &self.mailbox.id).await?;
        self.commit(tx, &[change]).await?;
        Ok(Done::Step)
    }

    /// Applies to a stored message what history tells of it after the state that is stored.
    async fn retell(&mut self, tx: &mut Tx, message: &Message, story: &Story) -> Result<Option<NewChange>, StoreError> {
        if story.is_deleted() {
            messages::delete(tx, &self.mailbox.id, message).await?;
            return Ok(Some(deleted(message)));
        }
        let after = story.told_of(message.clone());
        if after.labels == message.labels {
            return Ok(None);
        }
        if let Some(change) = self.relabelled(tx, message, &after).await? {
            return Ok(Some(change));
        }
        self.put(tx, &after, message).await?;
        Ok(Some(changed(message, &after)))
    }

    /// Forgets what was still to be done about messages: they are stored, or have gone.
    async fn strike(&self, tx: &mut Tx, ids: &[String]) -> Result<(), StoreError> {
        fills::done(tx, &self.mailbox.id, ids).await?;
        debts::paid(tx, &self.mailbox.id, ids).await
    }

    // ---- lost cursor ----

    /// The cursor is lost: pin a new one, and compare everything once. Nothing is jumped over, because the pass that
    /// begins here finds what the history no longer tells, and emits it as changes.
    async fn reconcile(&mut self, lost: Error) -> Result<Done, StepError> {
        if let Err(until) = self.take(self.price("gmail.getProfile"), Class::Live) {
            return Ok(Done::Wait(until));
        }
        let profile = self.app.google.gmail(&self.caller).profile().await?;
        let current = HistoryId(profile.history_id);
        if self.mailbox.state == MailboxState::Reconciling && self.mailbox.cursor >= Some(current) {
            // Google refuses the very id that it calls current, or one that this answer doesn't reach yet (it isn't
            // known whether it refuses those): comparing once more at once would not help either.
            return Err(lost.into());
        }
        tracing::warn!(mailbox = %self.mailbox.id, "the history no longer reaches the cursor; everything is compared");
        self.mailbox.advance(current, self.now);
        self.mailbox.cursor_at = None;
        self.mailbox.look_at = None;
        self.mailbox.total_messages = i64::try_from(profile.messages_total).ok();
        let change = self.compare_everything();
        let mut tx = self.write().await?;
        self.follow_rename(&mut tx, &profile).await?;
        exclusions::forget_labelled(&mut tx, &self.mailbox.id).await?;
        self.commit(tx, &[change]).await?;
        Ok(Done::Step)
    }

    /// Begins a comparison of everything, labels included.
    fn compare_everything(&mut self) -> NewChange {
        self.mailbox.unreadable = 0;
        self.mailbox.compare_at = None;
        self.mailbox.compared_at = Some(self.now);
        self.list_everything()
    }

    /// Begins a pass over the whole mailbox, from the cursor as it is now.
    pub(super) fn list_everything(&mut self) -> NewChange {
        self.mailbox.listing_pass += 1;
        self.list_from(ALL_LABELS)
    }

    /// Begins a comparison at this label. Without another pass number, nothing counts as unseen.
    pub(super) fn list_from(&mut self, label: &str) -> NewChange {
        self.mailbox.pinned = self.mailbox.cursor;
        self.mailbox.filled_units = 0;
        self.mailbox.filling_since = None;
        self.mailbox.filled_at = None;
        self.mailbox.filling_stood_s = 0;
        self.mailbox.listing_done = false;
        self.mailbox.listing_page = None;
        self.mailbox.listing_label = Some(label.to_owned());
        self.mailbox.listing_pages = 0;
        self.mailbox.listing_at = None;
        self.mailbox.relist_at = None;
        self.enter(MailboxState::Reconciling)
    }

    fn enter(&mut self, state: MailboxState) -> NewChange {
        self.mailbox.state = state;
        self.mailbox.state_since = self.now;
        NewChange { kind: "mailbox.state", subject_id: String::new(), data: json!({ "state": state.word() }) }
    }

    // ---- backfill ----

    async fn list(&mut self) -> Result<Done, StepError> {
        match self.mailbox.listing_label.clone() {
            Some(label) if label == ALL_LABELS => return self.list_labels().await,
            Some(label) => return self.list_label(&label).await,
            None => {}
        }
        let units = 2 * self.price("gmail.messages.list");
        let most = units + self.depth_units();
        let mut permit = match self.budget.reserve(&self.grant.google_subject, most, self.bulk()) {
            Ok(permit) => permit,
            Err(until) => return Ok(Done::Wait(until)),
        };
        permit.used(units);
        let gmail = self.app.google.gmail(&self.caller);
        let page = match gmail.messages(self.mailbox.listing_page.as_deref(), &[], true).await {
            // Google took the page's token back: begin the listing again; what is stored is skipped.
            Err(error) if error.kind == ErrorKind::Refused(Refusal::Invalid) && self.mailbox.listing_page.is_some() => {
                self.list_anew(LISTING_REFUSED_AGAIN);
                let tx = self.write().await?;
                self.commit(tx, &[]).await?;
                return Ok(Done::Step);
            }
            page => page?,
        };
        let drafts = self.drafts().await?;
        // Google counts them; once for each pass, however often its first page is listed.
        if self.mailbox.listing_page.is_none() && self.mailbox.filled_units == 0 {
            let count = i64::try_from(drafts.len()).unwrap_or(0);
            self.mailbox.total_messages = self.mailbox.total_messages.map(|total| (total - count).max(0));
        }
        let listed: Vec<Fill> = page
            .refs
            .into_iter()
            .filter(|it| !drafts.contains(&it.id))
            .map(|it| Fill { message_id: it.id, thread_id: it.thread_id })
            .collect();
        let whole = listed.len();
        let (listed, found) = match self.within_depth(listed, &mut permit).await? {
            Ok(recent) => recent,
            Err(until) => return Ok(Done::Wait(until)),
        };
        self.count_filling(permit.units_used());
        let is_cut = listed.len() < whole;
        let is_last = is_cut || page.next_page_token.is_none();
        self.list_on(page.next_page_token.filter(|_| !is_last));
        self.count_unreadable(page.unreadable, LISTED_AGAIN);

        let ids: Vec<String> = listed.iter().map(|it| it.message_id.clone()).collect();
        let mut tx = self.write().await?;
        messages::seen(&mut tx, &self.mailbox.id, &ids, self.mailbox.listing_pass).await?;
        exclusions::seen(&mut tx, &self.mailbox.id, &ids, self.mailbox.listing_pass).await?;
        let mut changes = Vec::new();
        self.keep(&mut tx, found, &mut changes, true).await?;
        let known = messages::by_ids(&mut tx, &self.mailbox.id, &ids).await?;
        let left_out = self.exclusions_among(&mut tx, &ids).await?;
        let missing: Vec<Fill> = listed
            .into_iter()
            .filter(|it| !known.contains_key(&it.message_id) && !left_out.contains_key(&it.message_id))
            .collect();
        self.want(&mut tx, missing).await?;
        if is_cut {
            let held = messages::count(&mut tx, &self.mailbox.id).await?;
            self.mailbox.total_messages = Some(held + fills::count(&mut tx, &self.mailbox.id).await?);
        }
        if is_last {
            self.next_label(&mut tx, None).await?;
        }
        self.commit(tx, &changes).await?;
        Ok(Done::Step)
    }

    /// Which messages are drafts. The first page is paid for beside the listing; where the budget has no room for
    /// another, what is on it is fetched and not kept.
    async fn drafts(&self) -> Result<BTreeSet<String>, StepError> {
        let gmail = self.app.google.gmail(&self.caller);
        let (mut drafts, mut page_token) = (BTreeSet::new(), None);
        for number in 0..DRAFT_PAGES_MAX {
            let units = self.price("gmail.messages.list");
            if number > 0 && self.take(units, self.bulk()).is_err() {
                break;
            }
            let page = match gmail.messages(page_token.as_deref(), &[DRAFT], true).await {
                Err(error) if number > 0 && is_refused(&error) => break,
                page => page?,
            };
            drafts.extend(page.refs.into_iter().map(|it| it.id));
            page_token = page.next_page_token;
            if page_token.is_none() {
                break;
            }
        }
        Ok(drafts)
    }

    /// Puts listed messages on the list of fills. What is fetched in its thread must say which one that is: the others
    /// are owed, each by itself.
    async fn want(&self, tx: &mut Tx, missing: Vec<Fill>) -> Result<(), StoreError> {
        let (missing, unclear): (Vec<Fill>, Vec<Fill>) = missing.into_iter().partition(|it| !it.thread_id.is_empty());
        self.owe_unclear(tx, unclear, true).await?;
        fills::add(tx, &self.mailbox.organization_id, &self.mailbox.id, &missing).await
    }

    /// Where a listing goes on; answers whether it does. One that leads nowhere is begun anew later: what it came to is
    /// fetched meanwhile, and nothing counts as missing.
    fn list_on(&mut self, next: Option<String>) -> bool {
        self.mailbox.listing_pages += 1;
        self.mailbox.listing_at = None;
        let Some(next) = next else {
            self.mailbox.listing_page = None;
            self.mailbox.listing_pages = 0;
            return false;
        };
        let repeats = self.mailbox.listing_page.as_ref() == Some(&next);
        if repeats || self.mailbox.listing_pages >= LISTING_PAGES_MAX {
            tracing::warn!(mailbox = %self.mailbox.id, "the listing of a mailbox leads nowhere");
            self.list_anew(LISTING_AGAIN);
            return false;
        }
        self.mailbox.listing_page = Some(next);
        true
    }

    /// A listing begins again at its first page, after this time.
    fn list_anew(&mut self, wait: Duration) {
        self.mailbox.listing_page = None;
        self.mailbox.listing_pages = 0;
        self.mailbox.listing_at = self.now.saturating_add(wait).ok();
    }

    /// What finding the end of the organization's depth in a page may cost: its oldest message, and one for each time
    /// that it can be halved.
    fn depth_units(&self) -> u64 {
        let asks = LISTED_AT_ONCE.ilog2() + 2;
        self.mailbox.copied_from_ms.map_or(0, |_| self.price("gmail.messages.get") * u64::from(asks))
    }

    /// The part of a listed page that the organization's depth leaves, and what of it was fetched; or when to go on.
    /// The listing is newest first and shows no dates, and the metadata scope may not search by date (`q` is refused):
    /// so the oldest message of a page is read, and once it is too old, halving the page finds where the depth ends.
    async fn within_depth(
        &self,
        mut listed: Vec<Fill>,
        permit: &mut Permit,
    ) -> Result<Result<(Vec<Fill>, Fetched), Timestamp>, StepError> {
        let mut found = Fetched::default();
        let Some(from_ms) = self.mailbox.copied_from_ms else { return Ok(Ok((listed, found))) };
        let one = self.price("gmail.messages.get");
        // Everything before `newer` is recent enough; everything from `older` on isn't.
        let (mut newer, mut older) = (0, listed.len());
        let mut at = listed.len().saturating_sub(1);
        let mut failures = 0;
        while newer < older {
            // Who meets some that can't be read asks more often than it was reckoned with.
            if !permit.use_more(one)
                && let Err(until) = self.take(one, self.bulk())
            {
                return Ok(Err(until));
            }
            match self.app.google.gmail(&self.caller).message(&listed[at].message_id).await {
                Ok(message) => {
                    let message = stored(message);
                    if message.received_ms < from_ms {
                        older = at;
                    } else {
                        newer = at + 1;
                        found.messages.push(message);
                    }
                }
                // It went meanwhile: whoever is listed after it says as much.
                Err(error) if error.kind == ErrorKind::Refused(Refusal::NotFound) => newer = at + 1,
                // Its neighbour says as much. Where that doesn't answer either, the page counts as recent enough.
                Err(error) if is_about_the_item(&error) && failures < TRANSIENTS_MAX => {
                    failures += 1;
                    if at > newer {
                        at -= 1;
                        continue;
                    }
                    newer = at + 1;
                }
                Err(error) if error.kind == ErrorKind::NotUnderstood => newer = at + 1,
                Err(error) => return Err(error.into()),
            }
            failures = 0;
            at = usize::midpoint(newer, older);
        }
        listed.truncate(older);
        Ok(Ok((listed, found)))
    }

    /// Lists a page of the messages with one label. When the list is complete, every message is fetched whose label
    /// differs here: five units per 500 messages and label tell what twenty per message would.
    async fn list_label(&mut self, label: &str) -> Result<Done, StepError> {
        let units = self.price("gmail.messages.list");
        if let Err(until) = self.take(units, self.bulk()) {
            return Ok(Done::Wait(until));
        }
        self.count_filling(units);
        let gmail = self.app.google.gmail(&self.caller);
        let page = match gmail.messages(self.mailbox.listing_page.as_deref(), &[label], true).await {
            Err(error) if self.mailbox.listing_page.is_some() && is_refused(&error) => None,
            // A label that went meanwhile is listed nowhere: whoever carries it here is fetched.
            Err(error) if is_refused(&error) => Some(gmail::MessagePage::default()),
            page => Some(page?),
        };
        let mut tx = self.write().await?;
        let Some(page) = page else {
            // Google took the page's token back: the label is listed anew.
            self.list_anew(LISTING_REFUSED_AGAIN);
            self.commit(tx, &[]).await?;
            return Ok(Done::Step);
        };
        if self.mailbox.listing_page.is_none() {
            // What an earlier pass saw, that ended in the middle of a label, isn't so any more.
            sightings::clear(&mut tx, &self.mailbox.id).await?;
        }
        self.count_unreadable(page.unreadable, LISTED_AGAIN);
        let ids: Vec<String> = page.refs.into_iter().map(|it| it.id).collect();
        sightings::add(&mut tx, &self.mailbox.organization_id, &self.mailbox.id, label, &ids).await?;
        let is_last = page.next_page_token.is_none();
        if !self.list_on(page.next_page_token) && !is_last {
            sightings::clear(&mut tx, &self.mailbox.id).await?;
        }
        if is_last {
            let differing = sightings::compare(&mut tx, &self.mailbox.id, label).await?;
            tracing::debug!(mailbox = %self.mailbox.id, differing, "a label was compared");
            sightings::clear(&mut tx, &self.mailbox.id).await?;
            self.next_label(&mut tx, Some(label)).await?;
        }
        self.commit(tx, &[]).await?;
        Ok(Done::Step)
    }

    /// Goes on with the label after this one; without any, the pass has listed everything. The first pass knows each
    /// message's labels from reading it, and a repair knows them from the history: neither lists labels.
    async fn next_label(&mut self, tx: &mut Tx, label: Option<&str>) -> Result<(), StoreError> {
        let proved = coverage::of_mailbox(tx, &self.mailbox.id).await?;
        let next = if self.is_label_repair(&proved) {
            differing(&proved).into_iter().find(|it| label.is_none_or(|label| it.as_str() > label))
        } else if self.mailbox.listing_pass == 1 || self.is_repair(&proved) {
            None
        } else {
            let mut all: BTreeSet<String> = sightings::labels(tx, &self.mailbox.id).await?.into_iter().collect();
            all.extend(labels::list(tx, &self.mailbox.id).await?.into_iter().map(|it| it.id));
            all.remove(DRAFT);
            all.into_iter().find(|it| label.is_none_or(|label| it.as_str() > label))
        };
        self.mailbox.listing_done = next.is_none();
        self.mailbox.listing_label = next;
        self.mailbox.unseen = 0;
        if self.mailbox.listing_done && self.mailbox.listing_pass > 1 {
            self.mailbox.unseen = messages::count_unseen(tx, &self.mailbox.id, self.mailbox.listing_pass).await?;
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<Done, StepError> {
        let mut tx = self.app.store.read().await?;
        let wanted = fills::next_threads(&mut tx, &self.mailbox.id, FILL_MAX).await?;
        drop(tx);
        // Threads bring older messages along; everything down to the newest of each is then here.
        let newest = wanted.iter().filter_map(|thread| thread.first());
        let leads: BTreeSet<String> = newest.map(|it| it.message_id.clone()).collect();
        let (asks, mut permit) = match self.affordable(wanted, self.bulk()) {
            Ok(plan) => plan,
            Err(until) => return Ok(Done::Wait(until)),
        };
        let asked: Vec<Fill> = asks.iter().flat_map(Ask::wanted).cloned().collect();
        let fetched = self.fetch_plan(asks, self.app.clock.now().checked_add(FILL_TIME).ok()).await;
        permit.used(permit.units().saturating_sub(fetched.unasked_units));
        self.count_filling(permit.units().saturating_sub(fetched.unasked_units));
        let mut tx = self.write().await?;
        let mut changes = Vec::new();
        // Taken off the list first: what failed is put on as a debt. What wasn't asked for stays.
        let was_asked = |it: &&Fill| !fetched.unasked.contains(it);
        let done: Vec<String> = asked.iter().filter(was_asked).map(|it| it.message_id.clone()).collect();
        fills::done(&mut tx, &self.mailbox.id, &done).await?;
        let oldest = fetched.messages.iter().filter(|it| leads.contains(&it.id)).map(|it| it.received_ms).min();
        // What was listed a moment ago and isn't found may have been deleted since, or isn't readable everywhere yet.
        let fetched = Fetched { unasked: Vec::new(), ..fetched };
        let stop = self.keep(&mut tx, fetched, &mut changes, true).await?;
        if self.mailbox.listing_pass == 1 {
            self.mailbox.oldest_ms = [self.mailbox.oldest_ms, oldest].into_iter().flatten().min();
        }
        self.commit(tx, &changes).await?;
        drop(permit);
        match stop {
            Some(error) => Err(error.into()),
            None => Ok(Done::Step),
        }
    }

    /// Counts what the present pass costs, to know how fast it goes.
    fn count_filling(&mut self, units: u64) {
        self.mailbox.filling_since.get_or_insert(self.now);
        self.mailbox.filling_stood_s += stood_still_s(&self.mailbox, self.now);
        self.mailbox.filled_at = Some(self.now);
        self.mailbox.filled_units = self.mailbox.filled_units.saturating_add(i64::try_from(units).unwrap_or(i64::MAX));
    }

    /// As many of the threads' cheapest questions as the budget has room for now, and the permit to ask them.
    fn affordable(&self, threads: Vec<Vec<Fill>>, class: Class) -> Result<(Vec<Ask>, Permit), Timestamp> {
        let (one, whole) = (self.price("gmail.messages.get"), self.price("gmail.threads.get"));
        let asks: Vec<Ask> = threads.into_iter().flat_map(|fills| cheapest(fills, one, whole)).collect();
        let units = asks.iter().map(|it| it.units(one, whole)).sum();
        let least = asks.first().map_or(0, |it| it.units(one, whole));
        let mut permit = self.budget.reserve_up_to(&self.grant.google_subject, units, least, class)?;
        let mut room = permit.units();
        let affordable: Vec<Ask> = asks
            .into_iter()
            .take_while(|ask| {
                let left = room.checked_sub(ask.units(one, whole));
                room = left.unwrap_or(0);
                left.is_some()
            })
            .collect();
        permit.only(affordable.iter().map(|it| it.units(one, whole)).sum());
        Ok((affordable, permit))
    }

    /// Closes a pass. Only a complete listing may delete, and only what Google itself then says is gone.
    async fn settle(&mut self) -> Result<Done, StepError> {
        let mut tx = self.app.store.read().await?;
        let unseen = messages::unseen(&mut tx, &self.mailbox.id, self.mailbox.listing_pass, SETTLE_MAX).await?;
        drop(tx);
        if unseen.is_empty() {
            let change = self.enter(MailboxState::Live);
            let begun = self.mailbox.filling_since.unwrap_or(self.now);
            let relist_at = begun.saturating_add(VISIBLE_AFTER).unwrap_or(self.now).max(self.now);
            self.mailbox.relist_at = Some(relist_at);
            self.mailbox.copied_at.get_or_insert(self.now);
            let mut tx = self.write().await?;
            exclusions::forget_unseen(&mut tx, &self.mailbox.id, self.mailbox.listing_pass).await?;
            coverage::want(&mut tx, &self.mailbox.organization_id, &self.mailbox.id, relist_at).await?;
            self.commit(tx, &[change]).await?;
            return Ok(Done::Step);
        }
        let wanted = unseen.iter().map(|it| Fill { message_id: it.id.clone(), thread_id: it.thread_id.clone() });
        // Each by itself: only a 404 of its own says that it has gone.
        let (asks, mut permit) = match self.affordable(wanted.map(|it| vec![it]).collect(), self.bulk()) {
            Ok(plan) => plan,
            Err(until) => return Ok(Done::Wait(until)),
        };
        let asked: Vec<String> = asks.iter().flat_map(Ask::wanted).map(|it| it.message_id.clone()).collect();
        let fetched = self.fetch_plan(asks, self.app.clock.now().checked_add(FILL_TIME).ok()).await;
        permit.used(permit.units().saturating_sub(fetched.unasked_units));
        self.count_filling(permit.units_used());
        let was_asked = |it: &&String| fetched.unasked.iter().all(|unasked| unasked.message_id != **it);
        let asked: Vec<String> = asked.iter().filter(was_asked).cloned().collect();
        let looked_at = i64::try_from(asked.len()).unwrap_or(i64::MAX);
        self.mailbox.unseen = self.mailbox.unseen.saturating_sub(looked_at).max(0);
        let mut tx = self.write().await?;
        let mut changes = Vec::new();
        for message in unseen.iter().filter(|it| fetched.gone.iter().any(|gone| gone.message_id == it.id)) {
            messages::delete(&mut tx, &self.mailbox.id, message).await?;
            changes.push(deleted(message));
        }
        messages::seen(&mut tx, &self.mailbox.id, &asked, self.mailbox.listing_pass).await?;
        // What didn't answer is owed: a few messages that can't be read don't keep a pass from ending.
        let fetched = Fetched { gone: Vec::new(), unasked: Vec::new(), ..fetched };
        let stop = self.keep(&mut tx, fetched, &mut changes, true).await?;
        self.commit(tx, &changes).await?;
        match stop {
            Some(error) => Err(error.into()),
            None => Ok(Done::Step),
        }
    }

    /// Lists a page of the newest messages once more, back to before the pass began. What came just before the pass's
    /// history id was taken is in no history after it, and may not have been listed yet. Each page is kept by itself:
    /// whoever begins again wherever there is no room for the next one may never come to the end.
    async fn relist(&mut self) -> Result<Done, StepError> {
        let begun_ms = self.mailbox.filling_since.unwrap_or(self.now).as_millisecond();
        let one = self.price("gmail.messages.list");
        let most = 2 * one + self.depth_units();
        let mut permit = match self.budget.reserve(&self.grant.google_subject, most, Class::Repair) {
            Ok(permit) => permit,
            Err(until) => return Ok(Done::Wait(until)),
        };
        permit.used(2 * one);
        let gmail = self.app.google.gmail(&self.caller);
        let page = match gmail.messages(self.mailbox.listing_page.as_deref(), &[], true).await {
            // Google took the page's token back: begin again; the pages that were read count all the same.
            Err(error) if error.kind == ErrorKind::Refused(Refusal::Invalid) && self.mailbox.listing_page.is_some() => {
                self.mailbox.listing_page = None;
                self.mailbox.listing_pages += 1;
                self.mailbox.relist_at = self.now.saturating_add(LISTING_REFUSED_AGAIN).ok();
                let tx = self.write().await?;
                self.commit(tx, &[]).await?;
                return Ok(Done::Step);
            }
            page => page?,
        };
        let listed = page.refs.into_iter().map(|it| Fill { message_id: it.id, thread_id: it.thread_id });
        let listed: Vec<Fill> = listed.collect();
        let ids: Vec<String> = listed.iter().map(|it| it.message_id.clone()).collect();
        let mut tx = self.app.store.read().await?;
        let known = messages::by_ids(&mut tx, &self.mailbox.id, &ids).await?;
        let left_out = self.exclusions_among(&mut tx, &ids).await?;
        drop(tx);
        let is_new = |it: &Fill| !known.contains_key(&it.message_id) && !left_out.contains_key(&it.message_id);
        let mut missing: Vec<Fill> = listed.into_iter().filter(is_new).collect();
        if missing.is_empty() {
            permit.used(one);
        } else {
            let drafts = self.drafts().await?;
            missing.retain(|it| !drafts.contains(&it.message_id));
        }
        let (mut missing, found) = match self.within_depth(missing, &mut permit).await? {
            Ok(recent) => recent,
            Err(until) => return Ok(Done::Wait(until)),
        };
        missing.retain(|it| found.messages.iter().all(|there| there.id != it.message_id));
        let is_before = |it: &Message| it.received_ms < begun_ms - RELIST_MARGIN_MS;
        let next = page.next_page_token.filter(|next| self.mailbox.listing_page.as_ref() != Some(next));
        let next = next.filter(|_| !known.values().any(is_before) && self.mailbox.listing_pages < RELIST_PAGES_MAX);
        self.mailbox.listing_pages = if next.is_some() { self.mailbox.listing_pages + 1 } else { 0 };
        self.mailbox.relist_at = self.mailbox.relist_at.filter(|_| next.is_some());
        self.mailbox.listing_page = next;
        self.count_unreadable(page.unreadable, LISTED_AGAIN);
        let mut tx = self.write().await?;
        let mut changes = Vec::new();
        self.keep(&mut tx, found, &mut changes, true).await?;
        self.want(&mut tx, missing).await?;
        self.commit(tx, &changes).await?;
        Ok(Done::Step)
    }

    // ---- debts ----

    async fn debts(&mut self) -> Result<Done, StepError> {
        let limit = i64::try_from(FETCH_MAX).unwrap_or(i64::MAX);
        let mut tx = self.app.store.read().await?;
        let mut owed = debts::due(&mut tx, &self.mailbox.id, self.now, limit).await?;
        drop(tx);
        // Changes that just happened first. What a copy or a comparison couldn't fetch comes before what is still to be
        // copied, and after them.
        let is_change = owed.iter().any(|it| !it.in_bulk);
        owed.retain(|it| it.in_bulk != is_change);
        let class = if is_change { Class::Live } else { Class::Repair };
        // Only what lies longer: an answer about a whole thread may be older than what was just told of the rest of it.
        let groups = if is_change { owed.iter().map(|it| vec![owed_fill(it)]).collect() } else { owed_together(&owed) };
        let (asks, mut permit) = match self.affordable(groups, class) {
            Ok(plan) => plan,
            Err(until) => return Ok(Done::Wait(until)),
        };
        let fetched = self.fetch_plan(asks, None).await;
        permit.used(permit.units().saturating_sub(fetched.unasked_units));
        let mut tx = self.write().await?;
        let mut changes = Vec::new();
        let tries: BTreeMap<&str, &Debt> = owed.iter().map(|it| (it.message_id.as_str(), it)).collect();
        // One whose thread was asked for in the same step is there, whatever the question about it alone brought.
        let found: Vec<String> = fetched.messages.iter().map(|it| it.id.clone()).collect();
        let is_lacking = |it: &&Fill| !found.contains(&it.message_id);
        for gone in fetched.gone.iter().filter(is_lacking) {
            let tries = tries.get(gone.message_id.as_str()).map_or(0, |it| it.tries) + 1;
            if tries < NOT_READABLE_TRIES_MAX {
                let in_bulk = !is_change;
                self.owe(&mut tx, gone, Owed { reason: NOT_READABLE_YET, tries, wait: patience(tries), in_bulk })
                    .await?;
                continue;
            }
            debts::paid(&mut tx, &self.mailbox.id, std::slice::from_ref(&gone.message_id)).await?;
            exclusions::forget(&mut tx, &self.mailbox.id, &gone.message_id).await?;
            if let Some(message) = messages::by_id(&mut tx, &self.mailbox.id, &gone.message_id).await? {
                messages::delete(&mut tx, &self.mailbox.id, &message).await?;
                changes.push(deleted(&message));
            }
        }
        changes.extend(self.upsert(&mut tx, fetched.messages).await?);
        self.strike(&mut tx, &found).await?;
        for (fill, reason) in fetched.failed.iter().filter(|(fill, _)| is_lacking(&fill)) {
            let before = tries.get(fill.message_id.as_str());
            let tries = before.map_or(0, |it| it.tries) + 1;
            self.owe(&mut tx, fill, Owed { reason, tries, wait: debt_wait(tries), in_bulk: !is_change }).await?;
        }
        self.stopping = fetched.stop.is_some();
        self.commit(tx, &changes).await?;
        match fetched.stop {
            Some(error) => Err(error.into()),
            None => Ok(Done::Step),
        }
    }

    async fn owe(&self, tx: &mut Tx, fill: &Fill, owed: Owed<'_>) -> Result<(), StoreError> {
        let debt = Debt {
            message_id: fill.message_id.clone(),
            thread_id: fill.thread_id.clone(),
            reason: owed.reason.to_owned(),
            tries: owed.tries,
            since: self.now,
            due_at: self.now.saturating_add(owed.wait).unwrap_or(self.now),
            in_bulk: owed.in_bulk,
        };
        debts::owe(tx, &self.mailbox.organization_id, &self.mailbox.id, &debt).await
    }

    // ---- fetching and keeping ----

    /// Fetches as many as the minute's budget still holds; the rest become debts that are due when it opens again.
    async fn fetch_within_budget(&self, wanted: &[Fill]) -> Fetched {
        let affordable = self.take_messages(wanted.len().min(FETCH_MAX), Class::Live).unwrap_or(0);
        let (now, later) = wanted.split_at(affordable);
        let mut fetched = self.fetch_plan(now.iter().cloned().map(Ask::One).collect(), None).await;
        fetched.failed.extend(later.iter().map(|it| (it.clone(), "waits_for_quota")));
        fetched
    }

    /// Takes the units of as many of so many messages as the minute has room for, one at least; answers how many.
    fn take_messages(&self, count: usize, class: Class) -> Result<usize, Timestamp> {
        let price = self.price("gmail.messages.get").max(1);
        let wanted = price.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX));
        let mut permit = self.budget.reserve_up_to(&self.grant.google_subject, wanted, price, class)?;
        let affordable = permit.units() / price;
        permit.only(affordable * price);
        self.permits.lock().unwrap_or_else(PoisonError::into_inner).push(permit);
        Ok(usize::try_from(affordable).unwrap_or(count).min(count))
    }

    /// Asks all of it, or what can be begun before `deadline`.
    async fn fetch_plan(&self, asks: Vec<Ask>, deadline: Option<Timestamp>) -> Fetched {
        let (one, whole) = (self.price("gmail.messages.get"), self.price("gmail.threads.get"));
        let mut fetched = Fetched::default();
        let mut transients = 0;
        let stopped = AtomicBool::new(false);
        let at_once = self.budget.calls_at_once(&self.grant.google_subject);
        let ask = |ask| self.ask(ask, &stopped, deadline);
        let mut answers = stream::iter(asks).map(ask).buffer_unordered(at_once);
        while let Some((ask, answer)) = answers.next().await {
            let is_thread = matches!(ask, Ask::Thread(..));
            let units = ask.units(one, whole);
            let wanted = ask.fills();
            match answer {
                None => {
                    fetched.unasked_units += units;
                    fetched.unasked.extend(wanted);
                }
                Some(Ok(found)) => {
                    // A thread may reach further back than the organization's depth.
                    let is_deep = |it: &Message| self.mailbox.copied_from_ms.is_some_and(|from| it.received_ms < from);
                    let is_wanted = |it: &Message| wanted.iter().any(|wanted| wanted.message_id == it.id);
                    let kept: Vec<Message> = found.into_iter().filter(|it| is_wanted(it) || !is_deep(it)).collect();
                    // What a thread doesn't show is asked for by itself: only a 404 of its own says that it has gone.
                    let missing = wanted.into_iter().filter(|it| kept.iter().all(|there| there.id != it.message_id));
                    fetched.failed.extend(missing.map(|it| (it, NOT_IN_ITS_THREAD)));
                    fetched.messages.extend(kept);
                }
                Some(Err(error)) if error.kind == ErrorKind::Refused(Refusal::NotFound) && is_thread => {
                    fetched.failed.extend(wanted.into_iter().map(|it| (it, NOT_IN_ITS_THREAD)));
                }
                Some(Err(error)) if error.kind == ErrorKind::Refused(Refusal::NotFound) => fetched.gone.extend(wanted),
                Some(Err(error)) => {
                    let reason = error.kind.word();
                    tracing::warn!(%error, mailbox = %self.mailbox.id, "messages couldn't be fetched and are owed");
                    fetched.failed.extend(wanted.into_iter().map(|it| (it, reason)));
                    transients += usize::from(error.kind == ErrorKind::Transient);
                    if transients >= TRANSIENTS_MAX || !is_about_the_item(&error) {
                        stopped.store(true, Ordering::Relaxed);
                        // What others answered meanwhile doesn't hide a word that is about more.
                        if fetched.stop.as_ref().is_none_or(|before| weight(&error.kind) > weight(&before.kind)) {
                            fetched.stop = Some(error);
                        }
                    }
                }
            }
        }
        fetched
    }

    /// Asks, unless it was found meanwhile that Google wants no more questions.
    async fn ask(
        &self,
        ask: Ask,
        stopped: &AtomicBool,
        deadline: Option<Timestamp>,
    ) -> (Ask, Option<Result<Vec<Message>, Error>>) {
        let is_late = deadline.is_some_and(|deadline| self.app.clock.now() > deadline);
        if is_late || stopped.load(Ordering::Relaxed) {
            return (ask, None);
        }
        let gmail = self.app.google.gmail(&self.caller);
        let answer = match &ask {
            Ask::One(fill) => gmail.message(&fill.message_id).await.map(|it| vec![stored(it)]),
            Ask::Thread(id, _) => gmail.thread(id).await.map(|it| it.messages.into_iter().map(stored).collect()),
        };
        (ask, Some(answer))
    }

    /// Writes what was fetched; what failed, wasn't asked for or isn't readable yet becomes a debt.
    async fn keep(
        &mut self,
        tx: &mut Tx,
        fetched: Fetched,
        changes: &mut Vec<NewChange>,
        in_bulk: bool,
    ) -> Result<Option<Error>, StoreError> {
        self.stopping = fetched.stop.is_some();
        let found: Vec<String> = fetched.messages.iter().map(|it| it.id.clone()).collect();
        changes.extend(self.upsert(tx, fetched.messages).await?);
        self.strike(tx, &found).await?;
        for fill in &fetched.gone {
            self.owe(tx, fill, Owed { reason: NOT_READABLE_YET, tries: 0, wait: patience(0), in_bulk }).await?;
        }
        for fill in &fetched.unasked {
            self.owe(tx, fill, Owed { reason: "not_asked_yet", tries: 0, wait: debt_wait(1), in_bulk }).await?;
        }
        for (fill, reason) in &fetched.failed {
            let wait = if *reason == "waits_for_quota" { Duration::from_secs(1) } else { debt_wait(1) };
            self.owe(tx, fill, Owed { reason, tries: 1, wait, in_bulk }).await?;
        }
        Ok(fetched.stop)
    }

    /// Writes messages' states unless newer ones are stored; answers the changes. Those that are new are written
    /// together: a statement for each would take longer than Google's answer.
    async fn upsert(&mut self, tx: &mut Tx, shown: Vec<Message>) -> Result<Vec<NewChange>, StoreError> {
        let shown = newest_of_each(shown);
        let ids: Vec<String> = shown.iter().map(|it| it.id.clone()).collect();
        let mut known = messages::by_ids(tx, &self.mailbox.id, &ids).await?;
        let mut left_out = self.exclusions_among(tx, &ids).await?;
        let (mut changes, mut new, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for message in shown {
            if message.labels.iter().any(|it| it == DRAFT) {
                continue;
            }
            let (before, earlier) = (known.remove(&message.id), left_out.remove(&message.id));
            let message = match self.admit(tx, before.as_ref(), earlier.as_ref(), message).await? {
                Admitted::Kept(kept) => kept,
                Admitted::LeftOut(change) => {
                    changes.extend(change);
                    continue;
                }
            };
            match before {
                // Equal ids with other labels: what was stored had been put together from history while the cursor was
                // lost.
                Some(before) if before.history_id > message.history_id || before == message => seen.push(before.id),
                Some(before) if is_resubjected(&before, &message) => {
                    self.put(tx, &message, &before).await?;
                    changes.push(resubjected(&message));
                }
                Some(before) => {
                    self.put(tx, &message, &before).await?;
                    changes.extend((before.labels != message.labels).then(|| changed(&before, &message)));
                }
                None => {
                    let data = json!({ "labels": message.labels });
                    changes.push(NewChange { kind: "message.added", subject_id: message.id.clone(), data });
                    new.push(message);
                }
            }
        }
        let mailbox = &self.mailbox;
        messages::add(tx, &mailbox.organization_id, &mailbox.id, &new, mailbox.listing_pass).await?;
        messages::seen(tx, &mailbox.id, &seen, mailbox.listing_pass).await?;
        Ok(changes)
    }

    async fn put(&self, tx: &mut Tx, message: &Message, before: &Message) -> Result<(), StoreError> {
        let mailbox = &self.mailbox;
        messages::put(tx, &mailbox.organization_id, &mailbox.id, message, before, mailbox.listing_pass).await
    }
}

/// As whom a listing and what it named are read: a comparison comes before a backfill, and doesn't wait for the day to
/// turn, unless most of the mailbox was never copied.
pub(super) fn bulk(mailbox: &Mailbox, day_percent: u64) -> Class {
    let compares = mailbox.state == MailboxState::Reconciling && mailbox.copied_at.is_some();
    if compares { Class::Repair } else { Class::Backfill(day_percent) }
}

/// What was shown, each message once, as Google showed it last.
fn newest_of_each(shown: Vec<Message>) -> Vec<Message> {
    let mut newest: Vec<Message> = Vec::with_capacity(shown.len());
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for message in shown {
        match places.get(&message.id) {
            Some(place) if newest[*place].history_id >= message.history_id => {}
            Some(place) => newest[*place] = message,
            None => {
                places.insert(message.id.clone(), newest.len());
                newest.push(message);
            }
        }
    }
    newest
}

/// Why a step asks Google, for the person's receipt.
fn purpose_of(step: Step, state: MailboxState) -> &'static str {
    match step {
        Step::Pin => purpose::CONNECT,
        Step::Watch => purpose::WATCH,
        Step::History => purpose::LIVE,
        Step::Probe => purpose::CHECK,
        Step::Debts => purpose::RETRY,
        Step::Relist | Step::Compare => purpose::REPAIR,
        Step::List | Step::Fill | Step::Settle if state == MailboxState::Reconciling => purpose::REPAIR,
        Step::List | Step::Fill | Step::Settle => purpose::BACKFILL,
        Step::Audit => purpose::AUDIT,
        Step::Rest(_) => purpose::UNSTATED,
    }
}

/// One question to Google.
enum Ask {
    One(Fill),
    Thread(String, Vec<Fill>),
}

impl Ask {
    /// What it costs, at these prices of a message and of a thread.
    fn units(&self, one: u64, whole: u64) -> u64 {
        if matches!(self, Self::One(_)) { one } else { whole }
    }

    /// What it asks for.
    fn wanted(&self) -> &[Fill] {
        match self {
            Self::One(fill) => std::slice::from_ref(fill),
            Self::Thread(_, fills) => fills,
        }
    }

    fn fills(self) -> Vec<Fill> {
        match self {
            Self::One(fill) => vec![fill],
            Self::Thread(_, fills) => fills,
        }
    }
}

/// The cheaper of one `threads.get` and several `messages.get`, for what is wanted of one thread.
fn cheapest(fills: Vec<Fill>, one: u64, whole: u64) -> Vec<Ask> {
    let singly = one * u64::try_from(fills.len()).unwrap_or(u64::MAX);
    match fills.first() {
        // Of a single message only its own answer says that it has gone.
        Some(first) if fills.len() > 1 && whole < singly => vec![Ask::Thread(first.thread_id.clone(), fills)],
        _ => fills.into_iter().map(Ask::One).collect(),
    }
}

fn owed_fill(debt: &Debt) -> Fill {
    Fill { message_id: debt.message_id.clone(), thread_id: debt.thread_id.clone() }
}

/// What is owed, by thread where one question may bring several; in the order in which it is due.
fn owed_together(owed: &[Debt]) -> Vec<Vec<Fill>> {
    let mut groups: Vec<Vec<Fill>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for debt in owed {
        let fill = owed_fill(debt);
        // A thread that failed twice may do so because of one of its messages.
        let is_alone = debt.tries >= TRIES_BY_THREAD || [NOT_IN_ITS_THREAD, NOT_READABLE_YET].contains(&&*debt.reason);
        match places.get(debt.thread_id.as_str()) {
            Some(place) if !is_alone => groups[*place].push(fill),
            _ => {
                if !is_alone && !debt.thread_id.is_empty() {
                    places.insert(&debt.thread_id, groups.len());
                }
                groups.push(vec![fill]);
            }
        }
    }
    groups
}

/// What a page of history tells of one message.
pub(super) struct Story {
    message_id: String,
    thread_id: String,
    /// Added as a draft: not copied.
    is_draft: bool,
    /// Whether its last word is that it was deleted.
    deleted: bool,
    /// Record, added or removed, label; in order.
    labelings: Vec<(HistoryId, bool, String)>,
}

impl Story {
    fn is_deleted(&self) -> bool {
        self.deleted
    }

    fn labels(&self) -> impl Iterator<Item = &String> {
        self.labelings.iter().map(|(.., label)| label)
    }

    /// Whether there is nothing to copy any more.
    pub(super) fn is_gone(&self) -> bool {
        self.deleted || self.is_draft
    }

    /// The labels that went.
    pub(super) fn labels_removed(&self) -> impl Iterator<Item = &String> {
        self.labelings.iter().filter(|(_, add, _)| !add).map(|(.., label)| label)
    }

    /// Whether the last word about any of these labels is that it came.
    pub(super) fn last_word_on(&self, labels: &[&str]) -> Option<bool> {
        self.labelings.iter().rev().find(|(.., label)| labels.contains(&label.as_str())).map(|(_, add, _)| *add)
    }

    /// The message after what history tells later than the state that is known of it.
    fn told_of(&self, message: Message) -> Message {
        let mut labels: BTreeSet<String> = message.labels.iter().cloned().collect();
        let mut history_id = message.history_id;
        for (id, add, label) in self.labelings.iter().filter(|(id, ..)| *id > message.history_id) {
            if *add {
                labels.insert(label.clone());
            } else {
                labels.remove(label);
            }
            history_id = history_id.max(*id);
        }
        Message { labels: labels.into_iter().collect(), history_id, ..message }
    }

    fn as_fill(&self) -> Fill {
        Fill { message_id: self.message_id.clone(), thread_id: self.thread_id.clone() }
    }
}

/// Sorts a page of history by message. `messages` lists in records repeat what the typed lists say and are ignored.
fn digest(records: &[HistoryRecord]) -> BTreeMap<String, Story> {
    let mut told: BTreeMap<String, Story> = BTreeMap::new();
    let mut story = |message: &gmail::MessageRef, tell: &mut dyn FnMut(&mut Story)| {
        tell(told.entry(message.id.clone()).or_insert_with(|| Story {
            message_id: message.id.clone(),
            thread_id: message.thread_id.clone(),
            is_draft: false,
            deleted: false,
            labelings: Vec::new(),
        }));
    };
    for record in records {
        let id = HistoryId(record.id);
        for message in &record.added {
            let draft = message.label_ids.iter().flatten().any(|it| it == DRAFT);
            story(message, &mut |it| {
                it.is_draft = draft;
                it.deleted = false;
            });
        }
        for (deltas, add) in [(&record.labels_added, true), (&record.labels_removed, false)] {
            for delta in deltas {
                let labels = delta.label_ids.iter().map(|label| (id, add, label.clone()));
                let drafting = delta.label_ids.iter().any(|it| it == DRAFT);
                let is_draft = delta.message.label_ids.iter().flatten().any(|it| it == DRAFT);
                story(&delta.message, &mut |it| {
                    it.labelings.extend(labels.clone());
                    if drafting {
                        it.is_draft = add;
                    } else if is_draft {
                        // One that was there before and was given a label.
                        it.is_draft = true;
                    }
                });
            }
        }
        for message in &record.deleted {
            story(message, &mut |it| it.deleted = true);
        }
    }
    told
}

/// So many days before `now`, in milliseconds since 1970.
fn depth_ms(now: Timestamp, days: i64) -> i64 {
    now.as_millisecond().saturating_sub(days.saturating_mul(24 * 3600 * 1000))
}

/// Whether Google refuses the question itself: it names something that isn't there.
fn is_refused(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Refused(Refusal::Invalid | Refusal::NotFound))
}

/// Whether a failure says something about this item only, so that asking for the next one is worth it.
fn is_about_the_item(error: &Error) -> bool {
    match &error.kind {
        ErrorKind::Transient | ErrorKind::NotUnderstood => true,
        kind => *kind == ErrorKind::Refused(Refusal::Invalid),
    }
}

/// Of how much an error tells that ends a step: of several the heaviest counts.
fn weight(kind: &ErrorKind) -> u8 {
    match kind {
        ErrorKind::SlowDown { scope: SlowScope::Day, .. } => 5,
        ErrorKind::SlowDown { scope: SlowScope::Project, .. } => 4,
        ErrorKind::SlowDown { scope: SlowScope::Person, .. } => 3,
        ErrorKind::SlowDown { scope: SlowScope::Concurrency, .. } => 1,
        ErrorKind::Transient => 0,
        _ => 2,
    }
}

fn changed(before: &Message, after: &Message) -> NewChange {
    let added: Vec<&String> = after.labels.iter().filter(|it| !before.labels.contains(it)).collect();
    let removed: Vec<&String> = before.labels.iter().filter(|it| !after.labels.contains(it)).collect();
    NewChange {
        kind: "message.changed",
        subject_id: after.id.clone(),
        data: json!({ "labels_added": added, "labels_removed": removed }),
    }
}

pub(super) fn deleted(message: &Message) -> NewChange {
    NewChange { kind: "message.deleted", subject_id: message.id.clone(), data: json!({}) }
}

/// How long to wait before looking again for a message that isn't readable: 10 s, a minute, six minutes.
fn patience(tries: i64) -> Duration {
    Duration::from_secs(10 * 6u64.saturating_pow(u32::try_from(tries).unwrap_or(0)).min(60))
}

fn debt_wait(tries: i64) -> Duration {
    let doublings = u32::try_from(tries.clamp(1, 12) - 1).unwrap_or(0);
    Duration::from_secs((15u64 << doublings).min(DEBT_RETRY_MAX_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, labels: &[&str]) -> gmail::MessageRef {
        let label_ids = Some(labels.iter().map(|it| (*it).to_owned()).collect());
        gmail::MessageRef { id: id.into(), thread_id: "t".into(), label_ids }
    }

    #[test]
    fn a_single_message_is_never_asked_for_as_a_thread_whatever_that_costs() {
        let fill = |id: &str| Fill { message_id: id.into(), thread_id: "t".into() };
        let is_whole = |ids: &[&str], one, whole| {
            let asks = cheapest(ids.iter().map(|id| fill(id)).collect(), one, whole);
            matches!(asks[..], [Ask::Thread(..)])
        };
        assert!(!is_whole(&["a"], 50, 40) && is_whole(&["a", "b"], 50, 40));
        assert!(!is_whole(&["a", "b"], 20, 40) && is_whole(&["a", "b", "c"], 20, 40));
    }

    #[test]
    fn of_several_refusals_the_one_that_is_about_more_counts() {
        let slow = |scope| ErrorKind::SlowDown { until: None, scope };
        let kinds = [
            ErrorKind::Transient,
            slow(SlowScope::Concurrency),
            ErrorKind::Refused(Refusal::Unauthorized),
            slow(SlowScope::Person),
            slow(SlowScope::Project),
            slow(SlowScope::Day),
        ];
        let weights = kinds.map(|kind| weight(&kind));
        assert!(weights.is_sorted_by(|a, b| a < b), "{weights:?}");
    }

    #[test]
    fn what_is_owed_is_asked_for_by_thread_unless_it_is_about_single_messages() {
        let debt = |id: &str, thread: &str, reason: &str, tries| Debt {
            message_id: id.into(),
            thread_id: thread.into(),
            reason: reason.into(),
            tries,
            since: Timestamp::UNIX_EPOCH,
            due_at: Timestamp::UNIX_EPOCH,
            in_bulk: true,
        };
        let owed = [
            debt("1", "a", "transient", 1),
            debt("2", "b", "transient", 1),
            debt("3", "a", "not_asked_yet", 0),
            debt("4", "a", NOT_IN_ITS_THREAD, 1),
            debt("5", "a", "transient", 2),
            debt("6", "b", NOT_READABLE_YET, 0),
            debt("7", "", "transient", 1),
            debt("8", "", "transient", 1),
            debt("9", "b", "waits_for_quota", 1),
        ];
        let groups = owed_together(&owed);
        let ids = |group: &Vec<Fill>| group.iter().map(|it| it.message_id.clone()).collect::<Vec<_>>().concat();
        assert_eq!(groups.iter().map(ids).collect::<Vec<_>>(), ["13", "29", "4", "5", "6", "7", "8"]);
    }

    fn record(id: u64) -> HistoryRecord {
        HistoryRecord { id, ..HistoryRecord::default() }
    }

    #[test]
    fn the_last_word_about_a_message_counts() {
        let label = |id, label: &str| gmail::LabelDelta { message: message(id, &[]), label_ids: vec![label.into()] };
        let told = digest(&[
            HistoryRecord { added: vec![message("a", &["INBOX"]), message("d", &["DRAFT"])], ..record(5) },
            HistoryRecord { labels_added: vec![label("a", "STARRED")], ..record(7) },
            HistoryRecord {
                labels_removed: vec![label("a", "STARRED")],
                deleted: vec![message("b", &[])],
                ..record(9)
            },
        ]);
        assert!(told["b"].is_deleted() && !told["a"].is_deleted() && told["d"].is_draft);
        let labelings: Vec<_> = told["a"].labelings.iter().map(|(id, add, _)| (id.0, *add)).collect();
        assert_eq!(labelings, [(7, true), (9, false)]);
    }

    #[test]
    fn a_debt_waits_longer_each_time_up_to_an_hour() {
        assert_eq!(debt_wait(1), Duration::from_secs(15));
        assert_eq!(debt_wait(2), Duration::from_secs(30));
        assert_eq!(debt_wait(50), Duration::from_secs(3600));
    }
}

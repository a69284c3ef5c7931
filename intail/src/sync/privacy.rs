//! Privacy before storage, in the engine: what Google shows is held against the mailbox's rules before it is written,
//! and what is stored already follows when the rules become stricter.
//!
//! What a reader must not break: a message that is left out leaves nothing behind but its id, and a label that goes is
//! a reason to look at it again.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::json;

use super::mail::{Run, Story, deleted};
use crate::app::App;
use crate::org::privacy::{self as policy, Reason};
use crate::store::changes::{self, NewChange, Of};
use crate::store::exclusions::{self, Exclusion};
use crate::store::fills::{self, Fill};
use crate::store::mailboxes::Mailbox;
use crate::store::messages::{self, Message, SubjectForm};
use crate::store::privacy::{self, Looser, Policy, Settings, Work};
use crate::store::{StoreError, Tx, labels};

/// Stored messages that are held against new rules in one transaction: others who write wait no longer than for a step.
const PAGE: i64 = 200;
/// Gmail's labels whose messages its count may leave out.
pub(super) const ASIDE: [&str; 2] = ["SPAM", "TRASH"];

/// What may be kept of one mailbox, as of the transaction that they were read in.
pub(super) struct Rules {
    policy: Policy,
    key: Option<SecretString>,
    /// Whether names of labels decide.
    pub(super) by_name: bool,
    /// Whether any message is left out now.
    has_exclusions: bool,
}

impl Rules {
    /// The rules of a mailbox now.
    pub(super) async fn read(app: &App, tx: &mut Tx, mailbox: &Mailbox) -> Result<Self, StoreError> {
        Ok(Self::read_with_work(app, tx, mailbox).await?.0)
    }

    async fn read_with_work(app: &App, tx: &mut Tx, mailbox: &Mailbox) -> Result<(Self, Work), StoreError> {
        let Settings { floor, own, key_sealed, work, has_exclusions } = privacy::of_mailbox(tx, &mailbox.id).await?;
        // What is kept of calendars is the agenda's business, and no reason to look through mail.
        let mut counts = Policy { busy_only: false, ..policy::strictest(&floor, &own) };
        let by_name = !counts.label_names.is_empty();
        if by_name {
            counts = policy::for_mailbox(&counts, &labels::list(tx, &mailbox.id).await?);
        }
        let mut key = None;
        if let Some(sealed) = key_sealed.filter(|_| counts.subject == SubjectForm::Hashed) {
            match policy::open_key(&app.keyring, &mailbox.organization_id, &sealed) {
                Ok(opened) => key = Some(opened),
                Err(error) => {
                    let organization = &mailbox.organization_id;
                    tracing::error!(%error, %organization, "subjects can't be hashed, so they aren't kept at all");
                }
            }
        }
        Ok((Self { policy: counts, key, by_name, has_exclusions }, work))
    }

    fn as_kept(&self, message: Message) -> Message {
        policy::as_kept(&self.policy, self.key.as_ref(), message)
    }
}

/// What becomes of a message that Google showed.
pub(super) enum Admitted {
    /// It is kept, in this form.
    Kept(Message),
    /// It isn't; the change tells of one that was stored before.
    LeftOut(Option<NewChange>),
}

impl Run<'_> {
    /// Holds a message against the rules before it is written. `before` is what is stored of it, and `earlier` says
    /// that it is left out now.
    pub(super) async fn admit(
        &mut self,
        tx: &mut Tx,
        before: Option<&Message>,
        earlier: Option<&Exclusion>,
        message: Message,
    ) -> Result<Admitted, StoreError> {
        // What Google showed is older than what left it out, or than what is stored.
        if earlier.is_some_and(|it| it.history_id > message.history_id) {
            return Ok(Admitted::LeftOut(None));
        }
        let is_older = before.is_some_and(|it| it.history_id > message.history_id);
        if !is_older && let Some(reason) = policy::left_out(&self.rules.policy, &message) {
            return Ok(Admitted::LeftOut(self.leave_out(tx, before, &message, &reason).await?));
        }
        if earlier.is_some() {
            exclusions::forget(tx, &self.mailbox.id, &message.id).await?;
        }
        Ok(Admitted::Kept(self.rules.as_kept(message)))
    }

    /// Leaves a stored message out if its labels, as they are now, ask for it; answers the change.
    pub(super) async fn relabelled(
        &mut self,
        tx: &mut Tx,
        before: &Message,
        after: &Message,
    ) -> Result<Option<NewChange>, StoreError> {
        match policy::left_out(&self.rules.policy, after) {
            Some(reason) => self.leave_out(tx, Some(before), after, &reason).await,
            None => Ok(None),
        }
    }

    async fn leave_out(
        &mut self,
        tx: &mut Tx,
        before: Option<&Message>,
        message: &Message,
        reason: &Reason,
    ) -> Result<Option<NewChange>, StoreError> {
        self.rules.has_exclusions = true;
        let change = leave_out(tx, &self.mailbox, before, message, reason).await?;
        if change.is_some() {
            changes::hush(tx, of(&self.mailbox), std::slice::from_ref(&message.id)).await?;
        }
        Ok(change)
    }

    /// Which of these messages are left out now.
    pub(super) async fn exclusions_among(
        &self,
        tx: &mut Tx,
        ids: &[String],
    ) -> Result<BTreeMap<String, Exclusion>, StoreError> {
        if !self.rules.has_exclusions {
            return Ok(BTreeMap::new());
        }
        exclusions::by_ids(tx, &self.mailbox.id, ids).await
    }

    /// Whether what history tells of a message that is left out is no reason to look at it again. `is_known` says
    /// whether the mailbox has a label.
    pub(super) fn stays_left_out(
        &self,
        exclusion: Option<&Exclusion>,
        story: &Story,
        is_known: impl Fn(&String) -> bool,
    ) -> bool {
        // A label that isn't known any more was deleted; it may have been the one that mattered.
        let matters = |label: &String| self.rules.policy.labels.contains(label) || !is_known(label);
        exclusion.is_some_and(|it| !(it.by_label && story.labels_removed().any(matters)))
    }

    /// Follows what history tells of a message that is left out.
    pub(super) async fn follow_left_out(
        &self,
        tx: &mut Tx,
        exclusion: Option<&Exclusion>,
        story: &Story,
    ) -> Result<(), StoreError> {
        let Some(exclusion) = exclusion else { return Ok(()) };
        if story.is_gone() {
            return exclusions::forget(tx, &self.mailbox.id, &exclusion.message_id).await;
        }
        let is_aside = story.last_word_on(&ASIDE).unwrap_or(exclusion.is_aside);
        if is_aside != exclusion.is_aside {
            exclusions::set_aside(tx, &self.mailbox.id, &exclusion.message_id, is_aside).await?;
        }
        Ok(())
    }
}

/// Writes down that a message is left out and erases what was stored of it; answers the change that tells so.
async fn leave_out(
    tx: &mut Tx,
    mailbox: &Mailbox,
    before: Option<&Message>,
    message: &Message,
    reason: &Reason,
) -> Result<Option<NewChange>, StoreError> {
    let exclusion = Exclusion {
        message_id: message.id.clone(),
        history_id: message.history_id,
        by_label: matches!(reason, Reason::Label(_)),
        is_aside: message.labels.iter().any(|it| ASIDE.contains(&it.as_str())),
    };
    exclusions::put(tx, &mailbox.organization_id, &mailbox.id, &exclusion, mailbox.listing_pass).await?;
    let Some(before) = before else { return Ok(None) };
    messages::delete(tx, &mailbox.id, before).await?;
    Ok(Some(NewChange { data: json!({ "reason": "privacy" }), ..deleted(before) }))
}

fn of(mailbox: &Mailbox) -> Of<'_> {
    Of { organization: &mailbox.organization_id, person: Some(&mailbox.person_id), stream: (&mailbox.id).into() }
}

/// The rules of a mailbox, if what is stored of it follows them.
pub(super) async fn followed(app: &App, tx: &mut Tx, mailbox: &Mailbox) -> Result<Option<Rules>, StoreError> {
    let (rules, work) = Rules::read_with_work(app, tx, mailbox).await?;
    Ok((follows(&rules, &work) && !work.rereading).then_some(rules))
}

fn follows(rules: &Rules, work: &Work) -> bool {
    work.target.is_none() && work.applied == rules.policy
}

/// Brings what is stored closer to the rules, by a page; answers whether the feed grew. Needs nobody but the database,
/// so it goes on while Google can't be asked; `tx` holds the lease.
pub(super) async fn catch_up(app: &App, tx: &mut Tx, mailbox: &Mailbox) -> Result<bool, StoreError> {
    let (rules, mut work) = Rules::read_with_work(app, tx, mailbox).await?;
    if follows(&rules, &work) && !work.rereading {
        // Somebody took back meanwhile what this was to follow.
        return Ok(false);
    }
    let mut told = Vec::new();
    if follows(&rules, &work) {
        read_again(tx, mailbox, &rules.policy, &mut work).await?;
    } else {
        begin(&rules.policy, &mut work);
        if work.target.is_some() {
            told = apply(tx, mailbox, &rules, &mut work).await?;
        }
    }
    privacy::put_work(tx, &mailbox.organization_id, &mailbox.id, &work).await?;
    let grown = changes::append(tx, of(mailbox), &told, app.clock.now()).await?;
    Ok(grown.is_some())
}

/// Sets out to apply the rules, or goes on with it. What only lets more in needs no look at what is stored.
fn begin(rules: &Policy, work: &mut Work) {
    if work.target.as_ref() == Some(rules) {
        return;
    }
    let held_to = work.target.take().map_or_else(|| work.applied.clone(), |it| policy::strictest(&work.applied, &it));
    let looser = policy::loosened(&held_to, rules);
    work.looser = Looser {
        labels: work.looser.labels || looser.labels,
        parties: work.looser.parties || looser.parties,
        subject: work.looser.subject || looser.subject,
    };
    work.place = String::new();
    work.rereading = false;
    if policy::is_as_strict(&work.applied, rules) {
        work.applied = rules.clone();
    } else {
        work.target = Some(rules.clone());
    }
}

/// Holds a page of stored messages against the rules; answers the changes.
async fn apply(tx: &mut Tx, mailbox: &Mailbox, rules: &Rules, work: &mut Work) -> Result<Vec<NewChange>, StoreError> {
    let page = messages::after_id(tx, &mailbox.id, &work.place, PAGE).await?;
    let is_last = i64::try_from(page.len()).unwrap_or(PAGE) < PAGE;
    let (mut told, mut left_out) = (Vec::new(), Vec::new());
    if let Some(last) = page.last() {
        work.place.clone_from(&last.id);
    }
    for message in page {
        if let Some(reason) = policy::left_out(&rules.policy, &message) {
            told.extend(leave_out(tx, mailbox, Some(&message), &message, &reason).await?);
            left_out.push(message.id);
            continue;
        }
        let before = message.subject_form;
        let kept = rules.as_kept(message);
        if kept.subject_form != before {
            messages::set_subject(tx, &mailbox.id, &kept.id, &kept.subject, kept.subject_form).await?;
            told.push(resubjected(&kept));
        }
    }
    changes::hush(tx, of(mailbox), &left_out).await?;
    if is_last {
        work.applied.clone_from(&rules.policy);
        work.target = None;
        work.place = String::new();
    }
    Ok(told)
}

/// The change of a message whose subject is kept in another form than before.
pub(super) fn resubjected(after: &Message) -> NewChange {
    NewChange {
        kind: "message.changed",
        subject_id: after.id.clone(),
        data: json!({ "labels_added": [], "labels_removed": [], "subject_form": after.subject_form.word() }),
    }
}

/// Whether a message was read again only because its subject may be kept in another form now.
pub(super) fn is_resubjected(before: &Message, after: &Message) -> bool {
    before.subject_form != after.subject_form && before.labels == after.labels
}

/// Puts a page of what may be kept again on the list of what is to be fetched.
async fn read_again(tx: &mut Tx, mailbox: &Mailbox, rules: &Policy, work: &mut Work) -> Result<(), StoreError> {
    for (is_wanted, by_label) in [(work.looser.labels, true), (work.looser.parties, false)] {
        let page = if is_wanted { exclusions::page(tx, &mailbox.id, by_label, PAGE).await? } else { Vec::new() };
        if page.is_empty() {
            continue;
        }
        // The thread isn't known; each is fetched by itself.
        let again: Vec<Fill> = page
            .iter()
            .map(|it| Fill { message_id: it.message_id.clone(), thread_id: it.message_id.clone() })
            .collect();
        fills::add(tx, &mailbox.organization_id, &mailbox.id, &again).await?;
        for it in &page {
            exclusions::forget(tx, &mailbox.id, &it.message_id).await?;
        }
        return Ok(());
    }
    if work.looser.subject {
        let page = messages::after_id(tx, &mailbox.id, &work.place, PAGE).await?;
        if let Some(last) = page.last() {
            work.place.clone_from(&last.id);
            let hidden = page.into_iter().filter(|it| it.subject_form > rules.subject);
            let again: Vec<Fill> = hidden.map(|it| Fill { message_id: it.id, thread_id: it.thread_id }).collect();
            return fills::add(tx, &mailbox.organization_id, &mailbox.id, &again).await;
        }
    }
    *work = Work { applied: work.applied.clone(), ..Work::default() };
    Ok(())
}

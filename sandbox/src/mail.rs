//! One person's mail: messages, labels, drafts, and every change that a person can make to them. Each change writes its
//! history record here, in the same call; nothing else may touch a message, because a change without a record is mail
//! that a reader of the history can never learn of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::history::{History, Record, What};
use crate::watch::Watch;

/// Labels that every mailbox has and nobody can delete (Gmail's labels guide).
pub const SYSTEM_LABELS: [&str; 14] = [
    "CHAT",
    "SENT",
    "INBOX",
    "IMPORTANT",
    "TRASH",
    "DRAFT",
    "SPAM",
    "CATEGORY_FORUMS",
    "CATEGORY_UPDATES",
    "CATEGORY_PERSONAL",
    "CATEGORY_PROMOTIONS",
    "CATEGORY_SOCIAL",
    "STARRED",
    "UNREAD",
];
/// Labels that a person can't put on a message by hand, because they follow from what was done with it.
const FIXED_LABELS: [&str; 3] = ["SENT", "DRAFT", "CHAT"];
/// Most labels in one mailbox (Google allows 10,000).
pub const LABELS_MAX: usize = 10_000;
/// Longest label name in bytes (Google allows 225).
pub const LABEL_NAME_BYTES_MAX: usize = 225;
/// History ids advance by one to this much, so that no reader can count on them being contiguous.
const HISTORY_GAP_MAX: u64 = 37;

/// One header, name and value as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name in its original case.
    pub name: String,
    /// Value, unfolded.
    pub value: String,
}

impl Header {
    /// A header from borrowed text.
    pub fn new(name: &str, value: impl Into<String>) -> Header {
        Header { name: name.to_owned(), value: value.into() }
    }
}

/// A message that is not in a mailbox yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Headers in order; duplicates stay apart.
    pub headers: Vec<Header>,
    /// The text. It lies in the world to prove that no answer ever carries it.
    pub body: String,
    /// Labels that the message gets on arrival.
    pub label_ids: BTreeSet<String>,
    /// The thread that it belongs to; a new one when absent or unknown.
    pub thread_id: Option<String>,
    /// When Google accepted it; the world's present when absent.
    pub internal_date_ms: Option<i64>,
}

impl Letter {
    /// The first header of this name, compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.headers, name)
    }

    /// The letter with these labels.
    pub fn labelled(mut self, label_ids: &[&str]) -> Letter {
        self.label_ids = label_ids.iter().map(|&id| id.to_owned()).collect();
        self
    }

    /// The letter in this thread.
    pub fn in_thread(mut self, thread_id: &str) -> Letter {
        self.thread_id = Some(thread_id.to_owned());
        self
    }
}

fn header_of<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.as_str())
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Sixteen hexadecimal digits; never changes.
    pub id: String,
    /// The thread; never changes.
    pub thread_id: String,
    /// Present labels.
    pub label_ids: BTreeSet<String>,
    /// When Google accepted it, in milliseconds since 1970.
    pub internal_date_ms: i64,
    /// When it came into this mailbox, in milliseconds since 1970; later than `internal_date_ms` for imported mail.
    pub stored_ms: i64,
    /// The last record that touched it.
    pub history_id: u64,
    /// Headers in order.
    pub headers: Vec<Header>,
    /// The text, which no answer carries.
    pub body: String,
}

impl Message {
    /// The first header of this name, compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.headers, name)
    }

    /// Whether the label is on the message.
    pub fn has(&self, label_id: &str) -> bool {
        self.label_ids.contains(label_id)
    }

    /// Estimated size of the whole message in bytes.
    pub fn size_estimate(&self) -> usize {
        let headers: usize = self.headers.iter().map(|header| header.name.len() + header.value.len() + 4).sum();
        headers + self.body.len() + 2
    }
}

/// A label of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// `INBOX` for a system label, `Label_7` for one of the person's own.
    pub id: String,
    /// Name as shown; for a system label the same as the id.
    pub name: String,
}

impl Label {
    /// Whether Gmail made it.
    pub fn is_system(&self) -> bool {
        SYSTEM_LABELS.contains(&self.id.as_str())
    }
}

/// Why a change of a mailbox was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The person has no mailbox.
    #[error("this person has no mailbox")]
    NoMailbox,
    /// No message has this id.
    #[error("there is no message `{0}` in this mailbox")]
    NoMessage(String),
    /// No label has this id or name.
    #[error("there is no label `{0}` in this mailbox; create it first")]
    NoLabel(String),
    /// The label can't be put on or taken off by hand.
    #[error("the label `{0}` follows from what is done with a message and can't be set by hand")]
    FixedLabel(String),
    /// The name is taken, empty, too long, or a system label's.
    #[error("the label name `{0}` can't be used: it is empty, too long or taken")]
    LabelName(String),
    /// The mailbox holds the most labels that it may.
    #[error("the mailbox already holds {LABELS_MAX} labels; delete one first")]
    TooManyLabels,
    /// The message is not a draft.
    #[error("the message `{0}` is not a draft")]
    NotADraft(String),
}

/// One person's mail. Read it through the methods; change it through them too, so that every change is recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "SavedMailbox")]
pub struct Mailbox {
    messages: BTreeMap<String, Message>,
    labels: BTreeMap<String, Label>,
    next_label: u64,
    pub(crate) history: History,
    /// Push registrations by Cloud project id.
    pub watches: BTreeMap<String, Watch>,
    /// When the last notice left, in milliseconds since 1970: Gmail sends at most one a second for each person.
    pub(crate) last_notice_ms: Option<i64>,
    /// Newest first when read backwards; follows from `messages`.
    #[serde(skip)]
    order: Places,
    /// Messages of each thread by date; follows from `messages`.
    #[serde(skip)]
    threads: BTreeMap<String, Places>,
    /// Messages that carry each label by date; follows from `messages`.
    #[serde(skip)]
    carriers: BTreeMap<String, Places>,
}

/// Messages by date and id.
type Places = BTreeSet<(i64, String)>;

/// A mailbox as it is saved: without what follows from the messages.
#[derive(Deserialize)]
struct SavedMailbox {
    messages: BTreeMap<String, Message>,
    labels: BTreeMap<String, Label>,
    next_label: u64,
    history: History,
    watches: BTreeMap<String, Watch>,
    last_notice_ms: Option<i64>,
}

impl From<SavedMailbox> for Mailbox {
    fn from(saved: SavedMailbox) -> Mailbox {
        let mut mailbox = Mailbox {
            messages: BTreeMap::new(),
            labels: saved.labels,
            next_label: saved.next_label,
            history: saved.history,
            watches: saved.watches,
            last_notice_ms: saved.last_notice_ms,
            order: BTreeSet::new(),
            threads: BTreeMap::new(),
            carriers: BTreeMap::new(),
        };
        for message in saved.messages.into_values() {
            mailbox.store(message);
        }
        mailbox
    }
}

impl Mailbox {
    /// An empty mailbox whose latest history id is `history_id`.
    pub fn new(history_id: u64) -> Mailbox {
        let labels = SYSTEM_LABELS.iter().map(|&id| (id.to_owned(), Label { id: id.to_owned(), name: id.to_owned() }));
        Mailbox {
            messages: BTreeMap::new(),
            labels: labels.collect(),
            next_label: 1,
            history: History::starting_at(history_id),
            watches: BTreeMap::new(),
            last_notice_ms: None,
            order: BTreeSet::new(),
            threads: BTreeMap::new(),
            carriers: BTreeMap::new(),
        }
    }

    // Reading ---------------------------------------------------------------------------------------------------------

    /// The message with this id.
    pub fn message(&self, id: &str) -> Option<&Message> {
        self.messages.get(id)
    }

    /// All messages, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Message> {
        self.order.iter().rev().filter_map(|(_, id)| self.messages.get(id))
    }

    /// Messages that carry all of these labels, newest first; with a place `(date, id)` only those that come after it.
    pub(crate) fn carrying<'a>(
        &'a self,
        label_ids: &[&'a str],
        after: Option<(i64, &str)>,
    ) -> impl Iterator<Item = &'a Message> + use<'a> {
        static NONE: Places = BTreeSet::new();
        let of_label = |id: &&str| self.carriers.get(*id).unwrap_or(&NONE);
        // The others are looked for among those that carry the rarest.
        let among = label_ids.iter().map(of_label).min_by_key(|places| places.len()).unwrap_or(&self.order);
        let end = after.map_or(Bound::Unbounded, |(date_ms, id)| Bound::Excluded((date_ms, id.to_owned())));
        let label_ids = label_ids.to_vec();
        let found = among.range((Bound::Unbounded, end)).rev().filter_map(|(_, id)| self.messages.get(id));
        found.filter(move |message| label_ids.iter().all(|id| message.has(id)))
    }

    /// Number of messages, spam and bin included.
    pub fn message_count(&self) -> usize {
        self.messages.len()
    }

    /// Number of threads.
    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    /// Messages of a thread, oldest first; empty when there is no such thread.
    pub fn thread<'a>(&'a self, thread_id: &str) -> impl DoubleEndedIterator<Item = &'a Message> + use<'a> {
        self.threads.get(thread_id).into_iter().flatten().filter_map(|(_, id)| self.messages.get(id))
    }

    /// All labels by id.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.labels.values()
    }

    /// The label with this id or, failing that, this name.
    pub fn label(&self, id_or_name: &str) -> Option<&Label> {
        let by_name = || self.labels.values().find(|label| label.name.eq_ignore_ascii_case(id_or_name));
        self.labels.get(id_or_name).or_else(by_name)
    }

    /// The recorded changes.
    pub fn history(&self) -> &History {
        &self.history
    }

    // Changing --------------------------------------------------------------------------------------------------------

    /// Puts a message into the mailbox and records it. The answer is its id.
    pub(crate) fn add(&mut self, letter: Letter, now: Timestamp, dice: &mut Dice) -> String {
        let message = self.place(letter, now, dice);
        let id = message.id.clone();
        self.store(message);
        self.record(&id, What::Added, now, dice);
        id
    }

    /// Puts a message into the mailbox as if it had always been there: without a record.
    pub(crate) fn seed(&mut self, letter: Letter, now: Timestamp, dice: &mut Dice) -> String {
        let mut message = self.place(letter, now, dice);
        message.stored_ms = message.internal_date_ms;
        let id = message.id.clone();
        self.store(message);
        id
    }

    /// Changes labels; answers `false` and records nothing when they already are as wished.
    pub(crate) fn relabel(
        &mut self,
        id: &str,
        add: &[&str],
        remove: &[&str],
        now: Timestamp,
        dice: &mut Dice,
    ) -> Result<bool, MailError> {
        for &label_id in add.iter().chain(remove) {
            if FIXED_LABELS.contains(&label_id) {
                return Err(MailError::FixedLabel(label_id.to_owned()));
            }
            if !self.labels.contains_key(label_id) {
                return Err(MailError::NoLabel(label_id.to_owned()));
            }
        }
        let message = self.messages.get_mut(id).ok_or_else(|| MailError::NoMessage(id.to_owned()))?;
        let place = (message.internal_date_ms, message.id.clone());
        let mut added = Vec::new();
        let mut removed = Vec::new();
        for &label_id in remove {
            if message.label_ids.remove(label_id) {
                removed.push(label_id.to_owned());
                leave(&mut self.carriers, label_id, &place);
            }
        }
        for &label_id in add {
            if message.label_ids.insert(label_id.to_owned()) {
                added.push(label_id.to_owned());
                self.carriers.entry(label_id.to_owned()).or_default().insert(place.clone());
            }
        }
        if added.is_empty() && removed.is_empty() {
            return Ok(false);
        }
        self.record(id, What::Labels { added, removed }, now, dice);
        Ok(true)
    }

    /// Deletes a message for ever.
    pub(crate) fn delete(&mut self, id: &str, now: Timestamp, dice: &mut Dice) -> Result<(), MailError> {
        if !self.messages.contains_key(id) {
            return Err(MailError::NoMessage(id.to_owned()));
        }
        self.record(id, What::Deleted, now, dice);
        if let Some(message) = self.messages.remove(id) {
            let place = (message.internal_date_ms, message.id);
            self.order.remove(&place);
            leave(&mut self.threads, &message.thread_id, &place);
            for label_id in &message.label_ids {
                leave(&mut self.carriers, label_id, &place);
            }
        }
        Ok(())
    }

    /// Saves a draft. Gmail has no change of a message's text: the old message dies and a new one, with a new id, takes
    /// its place in the thread (Gmail's drafts guide).
    pub(crate) fn save_draft(
        &mut self,
        earlier: Option<&str>,
        mut letter: Letter,
        now: Timestamp,
        dice: &mut Dice,
    ) -> Result<String, MailError> {
        if let Some(earlier) = earlier {
            letter.thread_id = Some(self.draft(earlier)?.thread_id.clone());
            self.delete(earlier, now, dice)?;
        }
        Ok(self.add(letter.labelled(&["DRAFT"]), now, dice))
    }

    /// Sends a draft: the draft dies, and a sent message with a new id appears in its thread.
    pub(crate) fn send_draft(
        &mut self,
        id: &str,
        now: Timestamp,
        dice: &mut Dice,
    ) -> Result<(String, Letter), MailError> {
        let draft = self.draft(id)?;
        let letter = Letter {
            headers: draft.headers.clone(),
            body: draft.body.clone(),
            thread_id: Some(draft.thread_id.clone()),
            ..Letter::default()
        };
        self.delete(id, now, dice)?;
        Ok((self.add(letter.clone().labelled(&["SENT"]), now, dice), letter))
    }

    fn draft(&self, id: &str) -> Result<&Message, MailError> {
        let message = self.messages.get(id).ok_or_else(|| MailError::NoMessage(id.to_owned()))?;
        if message.has("DRAFT") { Ok(message) } else { Err(MailError::NotADraft(id.to_owned())) }
    }

    /// Makes a label of the person's own.
    pub fn create_label(&mut self, name: &str) -> Result<Label, MailError> {
        self.check_label_name(name)?;
        if self.labels.len() >= LABELS_MAX {
            return Err(MailError::TooManyLabels);
        }
        let label = Label { id: format!("Label_{}", self.next_label), name: name.to_owned() };
        self.next_label += 1;
        self.labels.insert(label.id.clone(), label.clone());
        Ok(label)
    }

    /// Gives a label of the person's own another name; its id and its messages stay.
    pub fn rename_label(&mut self, id: &str, name: &str) -> Result<(), MailError> {
        self.check_label_name(name)?;
        let label = self.labels.get_mut(id).ok_or_else(|| MailError::NoLabel(id.to_owned()))?;
        if label.is_system() {
            return Err(MailError::FixedLabel(id.to_owned()));
        }
        name.clone_into(&mut label.name);
        Ok(())
    }

    /// Deletes a label of the person's own; every message that carried it loses it, each with a record.
    pub(crate) fn delete_label(&mut self, id: &str, now: Timestamp, dice: &mut Dice) -> Result<(), MailError> {
        let label = self.labels.get(id).ok_or_else(|| MailError::NoLabel(id.to_owned()))?;
        if label.is_system() {
            return Err(MailError::FixedLabel(id.to_owned()));
        }
        let carriers: Vec<String> =
            self.messages.values().filter(|message| message.has(id)).map(|message| message.id.clone()).collect();
        for message_id in carriers {
            self.relabel(&message_id, &[], &[id], now, dice)?;
        }
        self.labels.remove(id);
        Ok(())
    }

    /// History ids go on from here, if they are not there yet: at Google they jump, and grow to any length.
    pub fn skip_history_to(&mut self, history_id: u64) {
        self.history.skip_to(history_id);
    }

    /// Forgets the history up to and including `history_id`, as Google does after a week or more.
    pub fn forget_history_up_to(&mut self, history_id: u64) {
        self.history.forget_up_to(history_id);
    }

    /// Forgets all of the history that can be read by now and moves on, so that every id that a reader can hold is too
    /// old. What nobody can read yet isn't old enough to be forgotten.
    pub fn forget_history(&mut self, visible_ms: i64) {
        let visible = self.history.visible_id(visible_ms);
        let is_all = visible == self.history.current();
        let up_to = if is_all { self.history.next_id(HISTORY_GAP_MAX) } else { visible };
        self.history.forget_up_to(up_to);
    }

    fn check_label_name(&self, name: &str) -> Result<(), MailError> {
        let usable = !name.trim().is_empty() && name.len() <= LABEL_NAME_BYTES_MAX;
        if usable && self.label(name).is_none() { Ok(()) } else { Err(MailError::LabelName(name.to_owned())) }
    }

    fn place(&self, letter: Letter, now: Timestamp, dice: &mut Dice) -> Message {
        let now_ms = now.as_millisecond();
        let internal_date_ms = letter.internal_date_ms.unwrap_or(now_ms);
        let id = self.free_id(internal_date_ms, dice);
        let thread_id = letter.thread_id.filter(|thread| self.threads.contains_key(thread) || is_id(thread));
        Message {
            thread_id: thread_id.unwrap_or_else(|| id.clone()),
            id,
            label_ids: letter.label_ids,
            internal_date_ms,
            stored_ms: now_ms,
            history_id: self.history.current(),
            headers: letter.headers,
            body: letter.body,
        }
    }

    /// Sixteen hexadecimal digits that begin with the time, as Gmail's ids appear to, and rise among messages of one
    /// millisecond. The next free one is taken on a collision; a mailbox can't hold as many messages as there are ids,
    /// so the search ends.
    fn free_id(&self, date_ms: i64, dice: &mut Dice) -> String {
        let mut of_date = self.order.range((date_ms, String::new())..(date_ms.saturating_add(1), String::new()));
        let latest = of_date.next_back().and_then(|(_, id)| u64::from_str_radix(id, 16).ok());
        let mut number = match latest {
            Some(latest) => latest.wrapping_add(1 + dice.below(1 << 8)),
            None => (date_ms.unsigned_abs() << 20) | dice.below(1 << 16),
        };
        loop {
            let id = format!("{number:016x}");
            if !self.messages.contains_key(&id) && !self.threads.contains_key(&id) {
                return id;
            }
            number = number.wrapping_add(1);
        }
    }

    fn store(&mut self, message: Message) {
        let place = (message.internal_date_ms, message.id.clone());
        self.order.insert(place.clone());
        for label_id in &message.label_ids {
            self.carriers.entry(label_id.clone()).or_default().insert(place.clone());
        }
        self.threads.entry(message.thread_id.clone()).or_default().insert(place);
        self.messages.insert(message.id.clone(), message);
    }

    fn record(&mut self, id: &str, what: What, now: Timestamp, dice: &mut Dice) {
        let history_id = self.history.next_id(1 + dice.below(HISTORY_GAP_MAX));
        if let Some(message) = self.messages.get_mut(id) {
            message.history_id = history_id;
            self.history.push(Record {
                id: history_id,
                at_ms: now.as_millisecond(),
                message_id: message.id.clone(),
                thread_id: message.thread_id.clone(),
                label_ids: message.label_ids.iter().cloned().collect(),
                what,
            });
        }
    }
}

/// Takes a message out of one of several groups; an empty group goes.
fn leave(groups: &mut BTreeMap<String, Places>, name: &str, place: &(i64, String)) {
    if let Some(places) = groups.get_mut(name) {
        places.remove(place);
        if places.is_empty() {
            groups.remove(name);
        }
    }
}

/// Whether the text has the shape of a message or thread id.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_794_000_000, 0);

    fn letter(subject: &str) -> Letter {
        let headers = vec![Header::new("Subject", subject)];
        Letter { headers, body: "text".into(), ..Letter::default() }.labelled(&["INBOX", "UNREAD"])
    }

    fn mailbox() -> (Mailbox, Dice) {
        (Mailbox::new(1_000), Dice::new(7))
    }

    #[test]
    fn ids_are_sixteen_hexadecimal_digits_and_history_ids_have_gaps() {
        let (mut mailbox, mut dice) = mailbox();
        let ids: Vec<String> = (0..50).map(|_| mailbox.add(letter("a"), NOW, &mut dice)).collect();
        assert!(ids.iter().all(|id| id.len() == 16 && is_id(id)));
        let history: Vec<u64> = mailbox.history().records().map(|record| record.id).collect();
        assert!(history.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(history[49] - history[0] > 49, "the ids count more than the records");
    }

    #[test]
    fn saving_a_draft_again_kills_the_old_message_and_sending_kills_the_draft() {
        let (mut mailbox, mut dice) = mailbox();
        let first = mailbox.save_draft(None, letter("one"), NOW, &mut dice).unwrap();
        let second = mailbox.save_draft(Some(&first), letter("two"), NOW, &mut dice).unwrap();
        assert_ne!(first, second);
        assert!(mailbox.message(&first).is_none());
        let (sent, _) = mailbox.send_draft(&second, NOW, &mut dice).unwrap();
        assert!(mailbox.message(&second).is_none());
        let sent = mailbox.message(&sent).unwrap();
        assert!(sent.has("SENT") && !sent.has("DRAFT"));
        assert_eq!(sent.thread_id, first);
        let kinds: Vec<What> = mailbox.history().records().map(|record| record.what.clone()).collect();
        assert_eq!(kinds, [What::Added, What::Deleted, What::Added, What::Deleted, What::Added]);
        assert!(matches!(mailbox.send_draft(&second, NOW, &mut dice), Err(MailError::NoMessage(_))));
    }

    #[test]
    fn a_change_of_labels_that_changes_nothing_leaves_no_record() {
        let (mut mailbox, mut dice) = mailbox();
        let id = mailbox.add(letter("a"), NOW, &mut dice);
        assert!(!mailbox.relabel(&id, &["INBOX"], &["STARRED"], NOW, &mut dice).unwrap());
        assert!(mailbox.relabel(&id, &["TRASH"], &["INBOX"], NOW, &mut dice).unwrap());
        let last = mailbox.history().records().next_back().unwrap();
        assert_eq!(last.what, What::Labels { added: vec!["TRASH".into()], removed: vec!["INBOX".into()] });
        assert_eq!(last.label_ids, ["TRASH", "UNREAD"]);
        assert_eq!(mailbox.message(&id).unwrap().history_id, last.id);
        assert!(mailbox.relabel(&id, &["SENT"], &[], NOW, &mut dice).is_err());
        assert!(mailbox.relabel(&id, &["Label_1"], &[], NOW, &mut dice).is_err());
    }

    #[test]
    fn deleting_a_label_takes_it_off_every_message_with_a_record() {
        let (mut mailbox, mut dice) = mailbox();
        let label = mailbox.create_label("Travel").unwrap();
        assert!(mailbox.create_label("travel").is_err(), "names are compared without regard to case");
        assert!(mailbox.create_label("inbox").is_err());
        let id = mailbox.add(letter("a"), NOW, &mut dice);
        mailbox.relabel(&id, &[&label.id], &[], NOW, &mut dice).unwrap();
        mailbox.rename_label(&label.id, "Trips").unwrap();
        mailbox.delete_label(&label.id, NOW, &mut dice).unwrap();
        assert!(mailbox.label("Trips").is_none());
        assert!(!mailbox.message(&id).unwrap().has(&label.id));
        assert!(mailbox.delete_label("INBOX", NOW, &mut dice).is_err());
    }

    #[test]
    fn who_carries_labels_is_known_through_every_change_and_after_saving() {
        let (mut mailbox, mut dice) = mailbox();
        let carriers = |mailbox: &Mailbox, label_ids: &[&str], after: Option<(i64, &str)>| -> String {
            mailbox.carrying(label_ids, after).map(|message| message.id.as_str()).collect::<Vec<_>>().join(" ")
        };
        let dated = |at: i64, labels: &[&str]| Letter { internal_date_ms: Some(at), ..letter("x") }.labelled(labels);
        let old = mailbox.add(dated(5, &["INBOX", "UNREAD"]), NOW, &mut dice);
        let new = mailbox.add(dated(7, &["INBOX"]), NOW, &mut dice);
        let both = format!("{new} {old}");
        assert_eq!(carriers(&mailbox, &["INBOX"], None), both);
        assert_eq!(carriers(&mailbox, &["INBOX"], Some((7, &new))), old);
        assert_eq!(carriers(&mailbox, &["INBOX", "UNREAD"], None), old);
        assert_eq!(carriers(&mailbox, &["INBOX", "SPAM"], None), "");
        assert_eq!(carriers(&mailbox, &[], None), both);
        mailbox.relabel(&new, &["STARRED", "UNREAD"], &["INBOX"], NOW, &mut dice).unwrap();
        assert_eq!(carriers(&mailbox, &["INBOX"], None), old);
        assert_eq!(carriers(&mailbox, &["UNREAD"], None), both);
        let text = serde_json::to_string(&mailbox).unwrap();
        mailbox.delete(&old, NOW, &mut dice).unwrap();
        assert_eq!(carriers(&mailbox, &["INBOX"], None), "");
        assert_eq!(carriers(&mailbox, &["UNREAD"], None), new);
        let back: Mailbox = serde_json::from_str(&text).unwrap();
        assert_eq!(carriers(&back, &["UNREAD"], None), both);
    }

    #[test]
    fn a_saved_mailbox_reads_back_with_its_order_and_threads() {
        let (mut mailbox, mut dice) = mailbox();
        let first = mailbox.add(Letter { internal_date_ms: Some(5), ..letter("old") }, NOW, &mut dice);
        let second = mailbox.add(letter("new").in_thread(&first), NOW, &mut dice);
        let text = serde_json::to_string(&mailbox).unwrap();
        let back: Mailbox = serde_json::from_str(&text).unwrap();
        let order: Vec<&str> = back.newest_first().map(|message| message.id.as_str()).collect();
        assert_eq!(order, [second.as_str(), first.as_str()]);
        assert_eq!(back.thread(&first).count(), 2);
        assert_eq!(back.thread_count(), 1);
    }

    #[test]
    fn deleting_for_ever_leaves_a_record_with_the_last_labels() {
        let (mut mailbox, mut dice) = mailbox();
        let id = mailbox.add(letter("a"), NOW, &mut dice);
        mailbox.delete(&id, NOW, &mut dice).unwrap();
        assert_eq!((mailbox.message_count(), mailbox.thread_count()), (0, 0));
        assert_eq!(mailbox.history().records().next_back().unwrap().what, What::Deleted);
        assert!(mailbox.delete(&id, NOW, &mut dice).is_err());
    }
}

//! What changed in one mailbox, in the order in which it changed. Ids rise with gaps and are never counts; a reader
//! starts *after* the id that it holds; records older than the floor are gone for good (Gmail discovery document, sync
//! guide). Only `mail.rs` writes here, so that no change of a message can miss its record.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Most records that one mailbox keeps; the oldest go first and raise the floor, as at Google. Bounds the world's
/// memory.
const RECORDS_MAX: usize = 100_000;

/// The kinds of change that `historyTypes` can select.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `messageAdded`
    Added,
    /// `messageDeleted`: deleted for ever; moving to the bin is a label.
    Deleted,
    /// `labelAdded`
    LabelAdded,
    /// `labelRemoved`
    LabelRemoved,
}

impl Kind {
    /// Reads Google's word for the kind.
    pub fn parse(word: &str) -> Option<Kind> {
        Some(match word {
            "messageAdded" => Kind::Added,
            "messageDeleted" => Kind::Deleted,
            "labelAdded" => Kind::LabelAdded,
            "labelRemoved" => Kind::LabelRemoved,
            _ => return None,
        })
    }
}

/// One change of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Id of the record; larger than every earlier one of the mailbox.
    pub id: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: i64,
    /// The changed message.
    pub message_id: String,
    /// Its thread.
    pub thread_id: String,
    /// The message's labels after the change.
    pub label_ids: Vec<String>,
    /// What happened.
    pub what: What,
}

/// What happened to the message of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The message came into the mailbox; labels set at delivery are part of this.
    Added,
    /// The message was deleted for ever.
    Deleted,
    /// Labels changed. Either list may be empty, not both.
    Labels {
        /// Labels that the message got.
        added: Vec<String>,
        /// Labels that the message lost.
        removed: Vec<String>,
    },
}

impl Record {
    /// Whether the record says something of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        match (&self.what, kind) {
            (What::Added, Kind::Added) | (What::Deleted, Kind::Deleted) => true,
            (What::Labels { added, .. }, Kind::LabelAdded) => !added.is_empty(),
            (What::Labels { removed, .. }, Kind::LabelRemoved) => !removed.is_empty(),
            _ => false,
        }
    }

    /// Whether the label was on the message after the change, or came or went with it.
    pub fn touches(&self, label_id: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|id| id == label_id);
        let moved = match &self.what {
            What::Labels { added, removed } => named(added) || named(removed),
            What::Added | What::Deleted => false,
        };
        moved || named(&self.label_ids)
    }
}

/// The records of one mailbox and the floor below which there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    records: VecDeque<Record>,
    floor: u64,
    current: u64,
}

/// Asking for changes after an id that the mailbox has forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten;

impl History {
    /// A history in which nothing is recorded yet and `current` is the latest id.
    pub fn starting_at(current: u64) -> History {
        History { records: VecDeque::new(), floor: current, current }
    }

    /// The latest id, whether or not readers may see it yet.
    pub fn current(&self) -> u64 {
        self.current
    }

    /// The smallest id from which a reader may still start.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// All kept records, oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter()
    }

    /// Takes the next id, `gap` beyond the latest (at least one).
    pub(crate) fn next_id(&mut self, gap: u64) -> u64 {
        self.current = self.current.saturating_add(gap.max(1));
        self.current
    }

    /// The next id will be beyond `id`.
    pub(crate) fn skip_to(&mut self, id: u64) {
        self.current = self.current.max(id);
    }

    /// Appends a record whose id came from [`History::next_id`].
    pub(crate) fn push(&mut self, record: Record) {
        debug_assert!(self.records.back().is_none_or(|last| last.id < record.id), "record ids rise");
        self.records.push_back(record);
        if self.records.len() > RECORDS_MAX {
            self.forget_first();
        }
    }

    /// Forgets every record up to and including `id`; a reader that starts below gets 404 from now on.
    pub fn forget_up_to(&mut self, id: u64) {
        while self.records.front().is_some_and(|record| record.id <= id) {
            self.records.pop_front();
        }
        self.floor = self.floor.max(id.min(self.current));
    }

    /// Forgets the records that are older than `oldest_ms`.
    pub(crate) fn forget_before(&mut self, oldest_ms: i64) {
        while self.records.front().is_some_and(|record| record.at_ms < oldest_ms) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.floor = self.floor.max(record.id);
        }
    }

    /// The id that a reader is told at a time when changes after `visible_ms` can't be read yet.
    pub fn visible_id(&self, visible_ms: i64) -> u64 {
        match self.records.iter().rev().find(|record| record.at_ms <= visible_ms) {
            Some(record) => record.id,
            None if self.records.is_empty() => self.current,
            None => self.floor,
        }
    }

    /// The records after `start` that are visible at `visible_ms`, oldest first. A start beyond the latest id is
    /// answered with nothing (undocumented at Google; the sandbox takes the mild reading).
    pub fn after(&self, start: u64, visible_ms: i64) -> Result<impl Iterator<Item = &Record>, Forgotten> {
        if start < self.floor {
            return Err(Forgotten);
        }
        let first = self.records.partition_point(|record| record.id <= start);
        Ok(self.records.range(first..).take_while(move |record| record.at_ms <= visible_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, at_ms: i64) -> Record {
        let labels = vec!["INBOX".to_owned()];
        Record { id, at_ms, message_id: format!("m{id}"), thread_id: "t".into(), label_ids: labels, what: What::Added }
    }

    fn history(ids: &[u64]) -> History {
        let mut history = History::starting_at(10);
        for &id in ids {
            history.next_id(id - history.current());
            history.push(record(id, i64::try_from(id).unwrap()));
        }
        history
    }

    fn ids(history: &History, start: u64) -> Vec<u64> {
        history.after(start, i64::MAX).unwrap().map(|record| record.id).collect()
    }

    #[test]
    fn the_start_is_exclusive_and_may_lie_in_a_gap() {
        let history = history(&[12, 15, 30]);
        assert_eq!(ids(&history, 10), [12, 15, 30]);
        assert_eq!(ids(&history, 12), [15, 30]);
        assert_eq!(ids(&history, 13), [15, 30]);
        assert_eq!(ids(&history, 30), [0; 0]);
        assert_eq!(ids(&history, 99), [0; 0]);
    }

    #[test]
    fn below_the_floor_everything_is_forgotten() {
        let mut history = history(&[12, 15, 30]);
        assert!(matches!(history.after(9, i64::MAX).map(|_| ()), Err(Forgotten)));
        history.forget_up_to(15);
        assert!(history.after(14, i64::MAX).is_err());
        assert_eq!(ids(&history, 15), [30]);
        history.forget_before(31);
        assert_eq!(history.floor(), 30);
        assert_eq!(history.visible_id(i64::MAX), 30);
    }

    #[test]
    fn what_is_not_visible_yet_is_neither_listed_nor_counted() {
        let history = history(&[12, 15, 30]);
        assert_eq!(history.visible_id(20), 15);
        assert_eq!(history.after(10, 20).unwrap().count(), 2);
        assert_eq!(history.visible_id(5), 10);
        assert_eq!(history.current(), 30);
    }

    #[test]
    fn label_filters_see_labels_that_went() {
        let mut gone = record(12, 1);
        gone.what = What::Labels { added: vec![], removed: vec!["STARRED".into()] };
        assert!(gone.touches("STARRED") && gone.touches("INBOX") && !gone.touches("SENT"));
        assert!(gone.has(Kind::LabelRemoved) && !gone.has(Kind::LabelAdded));
    }
}

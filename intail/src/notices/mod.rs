//! Notices: Google's hints, through Cloud Pub/Sub, that something changed in a mailbox; and over `channels`, that a
//! calendar did.
//!
//! The promise: a notice only says "look again". It carries no data, is marked on its mailbox in a committed
//! transaction before it is acknowledged, and may come twice, late, out of order or never. Nothing about one person is
//! ever handed back to Pub/Sub: an unknown address or an unreadable notice is acknowledged and counted, because what is
//! handed back slows everybody down. `pull` and `push` are two ways in to the same [`take`]; `provision` makes the
//! topic and the subscription; `heartbeat` proves that what is published arrives.

pub mod channels;
pub mod heartbeat;
pub mod provision;
pub mod pull;
pub mod push;

use std::collections::{BTreeMap, BTreeSet};

use intail_google::pubsub::{Credentials, CredentialsError, decode_gmail_notice};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use crate::app::App;
use crate::config::PubSubCredentials;
use crate::id::HistoryId;
use crate::store::mailboxes::{self, Noticed};
use crate::store::{Store, StoreError};

/// What a batch of notices amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Mailboxes that are due now.
    pub mailboxes: u64,
    /// Addresses that belong to nobody here: people who left, or who share the project with us. Stored nowhere.
    pub unknown: u64,
    /// Notices that can't be read.
    pub unreadable: u64,
    /// Heartbeats: Intail's own, or those of another Intail on the same topic.
    pub heartbeats: u64,
}

/// Marks the mailboxes of a batch due, commits, and rings. When this returns `Ok`, the batch may be acknowledged.
/// `notices` holds the decoded `data` of each message; one without data is handed in as an empty slice.
pub async fn take<'a>(app: &App, notices: impl IntoIterator<Item = &'a [u8]>) -> Result<Taken, StoreError> {
    let Batch { addresses, beats, unreadable } = read(notices);
    let Noticed { mailboxes, known, unknown } = mark(&app.store, &addresses, &beats, app.clock.now()).await?;
    let heartbeats = u64::try_from(beats.len()).unwrap_or(u64::MAX);
    if mailboxes > 0 {
        app.due.ring();
    }
    if unreadable > 0 {
        // Their content stays out of the log: whatever came over this topic may be anything.
        tracing::warn!(unreadable, "notices that can't be read were acknowledged and dropped");
    }
    tracing::debug!(mailboxes, known, unknown, unreadable, "a batch of notices was taken");
    Ok(Taken { mailboxes, unknown, unreadable, heartbeats })
}

/// What a batch holds.
#[derive(Debug, Default)]
struct Batch {
    /// The addresses, each once, with the newest history id; none where a notice has none.
    addresses: BTreeMap<String, Option<HistoryId>>,
    /// The heartbeats' tokens.
    beats: BTreeSet<String>,
    unreadable: u64,
}

fn read<'a>(notices: impl IntoIterator<Item = &'a [u8]>) -> Batch {
    let mut batch = Batch::default();
    for data in notices {
        match (decode_gmail_notice(data), heartbeat::token(data)) {
            (Ok(notice), _) => {
                let id = notice.history_id.map(HistoryId);
                let newest = batch.addresses.entry(notice.email_address).or_insert(id);
                *newest = newest.zip(id).map(|(newest, id)| newest.max(id));
            }
            (Err(_), Some(token)) => _ = batch.beats.insert(token),
            (Err(_), None) => batch.unreadable += 1,
        }
    }
    batch
}

/// Marks every mailbox of these addresses due and takes the heartbeats, in one transaction.
async fn mark(
    store: &Store,
    addresses: &BTreeMap<String, Option<HistoryId>>,
    beats: &BTreeSet<String>,
    now: Timestamp,
) -> Result<Noticed, StoreError> {
    if addresses.is_empty() && beats.is_empty() {
        return Ok(Noticed::default());
    }
    let addresses: Vec<(&str, Option<HistoryId>)> = addresses.iter().map(|(it, id)| (it.as_str(), *id)).collect();
    let mut tx = store.write().await?;
    let noticed = mailboxes::notice(&mut tx, &addresses, now).await?;
    for token in beats {
        heartbeat::take(&mut tx, token, now).await?;
    }
    tx.commit().await?;
    Ok(noticed)
}

/// What the configuration says we are to Pub/Sub.
pub fn credentials(configured: &PubSubCredentials) -> Result<Credentials, CredentialsError> {
    match configured {
        PubSubCredentials::Anonymous => Ok(Credentials::anonymous()),
        PubSubCredentials::File(text) => Credentials::from_key_file(text.expose_secret()),
        PubSubCredentials::Ambient => Credentials::ambient(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_each_person_once_and_drops_what_it_cannot_read() {
        let notices: [&[u8]; 7] = [
            br#"{"intailHeartbeat":"beat"}"#,
            br#"{"emailAddress":"zoe@example.com","historyId":7}"#,
            br#"{"emailAddress":"Ada@Example.com","historyId":"8"}"#,
            br#"{"emailAddress":"ada@example.com","historyId":9}"#,
            br#"{"emailAddress":"nobody"}"#,
            b"\xff\xfe",
            b"",
        ];
        let Batch { addresses, beats, unreadable } = read(notices);
        assert_eq!(beats.into_iter().collect::<Vec<_>>(), ["beat"]);
        let addresses: Vec<_> = addresses.iter().map(|(it, id)| (it.as_str(), id.map(|it| it.0))).collect();
        assert_eq!(addresses, [("ada@example.com", Some(9)), ("zoe@example.com", Some(7))]);
        assert_eq!(unreadable, 3);
    }

    #[test]
    fn a_notice_without_an_id_may_be_of_anything() {
        let with = br#"{"emailAddress":"ada@example.com","historyId":9}"#.as_slice();
        let without = br#"{"emailAddress":"ada@example.com","historyId":"soon"}"#.as_slice();
        for notices in [[with, without], [without, with]] {
            assert_eq!(read(notices).addresses["ada@example.com"], None);
        }
    }
}

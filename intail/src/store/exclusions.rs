//! Exclusions: messages that the privacy settings leave out. Nothing of them is kept but their id and what is needed to
//! know when one has to be looked at again; they are counted, not held.

use std::collections::BTreeMap;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{HistoryId, MailboxId, OrganizationId};

/// A message that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// Gmail's id.
    pub message_id: String,
    /// The last history record that was looked at.
    pub history_id: HistoryId,
    /// Whether a label alone leaves it out.
    pub by_label: bool,
    /// Whether it is in the spam or the trash.
    pub is_aside: bool,
}

/// How many messages are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub all: i64,
    /// Those that a label alone leaves out.
    pub by_label: i64,
    /// Those in the spam or the trash.
    pub aside: i64,
}

fn exclusion(row: &dyn Columns) -> Result<Exclusion, StoreError> {
    Ok(Exclusion {
        message_id: row.text("message_id")?,
        history_id: row.parsed("history_id")?,
        by_label: row.boolean("by_label")?,
        is_aside: row.boolean("is_aside")?,
    })
}

/// Leaves a message out, or says anew why; `pass` is the listing pass that saw it last.
pub async fn put(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    exclusion: &Exclusion,
    pass: i64,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO exclusions (organization_id, mailbox_id, message_id, history_id, by_label, is_aside, listing_pass)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (mailbox_id, message_id) DO UPDATE SET history_id = excluded.history_id,
             by_label = excluded.by_label, is_aside = excluded.is_aside, listing_pass = excluded.listing_pass",
        args![
            organization,
            mailbox,
            &exclusion.message_id,
            exclusion.history_id,
            exclusion.by_label,
            exclusion.is_aside,
            pass
        ],
    )
    .await?;
    Ok(())
}

/// Those of these messages that are left out, by id.
pub async fn by_ids(
    tx: &mut Tx,
    mailbox: &MailboxId,
    ids: &[String],
) -> Result<BTreeMap<String, Exclusion>, StoreError> {
    let sql = "SELECT * FROM exclusions WHERE mailbox_id = $1 AND message_id IN ({among})";
    let found = tx.all_among(sql, args![mailbox], ids, exclusion).await?;
    Ok(found.into_iter().map(|it| (it.message_id.clone(), it)).collect())
}

/// Marks those of these messages that are left out as seen by a listing pass.
pub async fn seen(tx: &mut Tx, mailbox: &MailboxId, ids: &[String], pass: i64) -> Result<(), StoreError> {
    let sql = "UPDATE exclusions SET listing_pass = $1 WHERE mailbox_id = $2 AND message_id IN ({among})";
    tx.run_among(sql, args![pass, mailbox], ids).await?;
    Ok(())
}

/// Says whether a message that is left out is in the spam or the trash.
pub async fn set_aside(tx: &mut Tx, mailbox: &MailboxId, message_id: &str, is_aside: bool) -> Result<(), StoreError> {
    tx.run(
        "UPDATE exclusions SET is_aside = $3 WHERE mailbox_id = $1 AND message_id = $2",
        args![mailbox, message_id, is_aside],
    )
    .await?;
    Ok(())
}

/// Forgets that a message was left out: it is held, or has gone.
pub async fn forget(tx: &mut Tx, mailbox: &MailboxId, message_id: &str) -> Result<(), StoreError> {
    tx.run("DELETE FROM exclusions WHERE mailbox_id = $1 AND message_id = $2", args![mailbox, message_id]).await?;
    Ok(())
}

/// Forgets those that a label alone leaves out: their labels may have changed unseen.
pub async fn forget_labelled(tx: &mut Tx, mailbox: &MailboxId) -> Result<u64, StoreError> {
    tx.run("DELETE FROM exclusions WHERE mailbox_id = $1 AND by_label", args![mailbox]).await
}

/// Forgets those that a complete listing pass hasn't seen. If one of them is there all the same, the next count finds
/// that it is missing.
pub async fn forget_unseen(tx: &mut Tx, mailbox: &MailboxId, pass: i64) -> Result<u64, StoreError> {
    tx.run("DELETE FROM exclusions WHERE mailbox_id = $1 AND listing_pass < $2", args![mailbox, pass]).await
}

/// Some of those that are left out by a label alone, or for another reason. `limit` bounds it.
pub async fn page(tx: &mut Tx, mailbox: &MailboxId, by_label: bool, limit: i64) -> Result<Vec<Exclusion>, StoreError> {
    tx.all(
        "SELECT * FROM exclusions WHERE mailbox_id = $1 AND by_label = $2 ORDER BY message_id LIMIT $3",
        args![mailbox, by_label, limit],
        exclusion,
    )
    .await
}

/// How many there are.
pub async fn count(tx: &mut Tx, mailbox: &MailboxId) -> Result<Count, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(*) AS n, COUNT(CASE WHEN by_label THEN 1 END) AS by_label,
                 COUNT(CASE WHEN is_aside THEN 1 END) AS aside
             FROM exclusions WHERE mailbox_id = $1",
            args![mailbox],
            |row| Ok(Count { all: row.int("n")?, by_label: row.int("by_label")?, aside: row.int("aside")? }),
        )
        .await?;
    Ok(count.unwrap_or_default())
}

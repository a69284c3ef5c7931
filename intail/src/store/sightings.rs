//! Sightings: which messages Google lists under a label, kept until the listing is complete and can be compared with
//! the labels that are stored.

use super::StoreError;
use super::sql::{Tx, args};
use crate::id::{MailboxId, OrganizationId};

/// Values of one row.
const ROW_VALUES: usize = 4;

/// Adds a page of a label's listing.
pub async fn add(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    label: &str,
    ids: &[String],
) -> Result<(), StoreError> {
    let values = ids.iter().flat_map(|id| args![organization, mailbox, label, id]).collect();
    let into = "sightings (organization_id, mailbox_id, label_id, message_id)";
    tx.insert(into, ROW_VALUES, values, "ON CONFLICT DO NOTHING").await
}

/// Forgets a mailbox's sightings: a label was compared, or its listing begins again.
pub async fn clear(tx: &mut Tx, mailbox: &MailboxId) -> Result<(), StoreError> {
    tx.run("DELETE FROM sightings WHERE mailbox_id = $1", args![mailbox]).await?;
    Ok(())
}

/// Puts every stored message on the list of fills that carries the label here and not at Google, or at Google and not
/// here. Answers how many there are.
pub async fn compare(tx: &mut Tx, mailbox: &MailboxId, label: &str) -> Result<u64, StoreError> {
    let gone = tx
        .run(
            "INSERT INTO fills (organization_id, mailbox_id, message_id, thread_id, place)
             SELECT m.organization_id, m.mailbox_id, m.message_id, m.thread_id,
                    (SELECT COALESCE(MAX(place), 0) FROM fills WHERE mailbox_id = $1)
                        + ROW_NUMBER() OVER (ORDER BY m.received_ms DESC, m.message_id)
             FROM message_labels l
             JOIN messages m ON m.mailbox_id = l.mailbox_id AND m.message_id = l.message_id
             WHERE l.mailbox_id = $1 AND l.label_id = $2 AND NOT EXISTS (
                 SELECT 1 FROM sightings s
                 WHERE s.mailbox_id = $1 AND s.label_id = $2 AND s.message_id = l.message_id)
             ON CONFLICT (mailbox_id, message_id) DO NOTHING",
            args![mailbox, label],
        )
        .await?;
    let new = tx
        .run(
            "INSERT INTO fills (organization_id, mailbox_id, message_id, thread_id, place)
             SELECT m.organization_id, m.mailbox_id, m.message_id, m.thread_id,
                    (SELECT COALESCE(MAX(place), 0) FROM fills WHERE mailbox_id = $1)
                        + ROW_NUMBER() OVER (ORDER BY m.received_ms DESC, m.message_id)
             FROM sightings s
             JOIN messages m ON m.mailbox_id = s.mailbox_id AND m.message_id = s.message_id
             WHERE s.mailbox_id = $1 AND s.label_id = $2 AND NOT EXISTS (
                 SELECT 1 FROM message_labels l
                 WHERE l.mailbox_id = $1 AND l.label_id = $2 AND l.received_ms = m.received_ms
                     AND l.message_id = s.message_id)
             ON CONFLICT (mailbox_id, message_id) DO NOTHING",
            args![mailbox, label],
        )
        .await?;
    Ok(gone + new)
}

/// The labels that stored messages carry, in order: also those that Google's list of labels doesn't name.
pub async fn labels(tx: &mut Tx, mailbox: &MailboxId) -> Result<Vec<String>, StoreError> {
    tx.all(
        "SELECT DISTINCT label_id FROM message_labels WHERE mailbox_id = $1 ORDER BY label_id",
        args![mailbox],
        |row| row.text("label_id"),
    )
    .await
}

//! Coverage: what was last proved of a mailbox's copy, and when it is audited next. A row says what an audit found, not
//! that all is well: whoever reads it looks at its time.

use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{HistoryId, MailboxId, OrganizationId};

/// The least time between two audits of a mailbox.
const AUDIT_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// What is proved of one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// When it is audited next; none while nothing has happened since the last audit.
    pub due_at: Option<Timestamp>,
    /// When Google's count and the copy's agreed last.
    pub audited_at: Option<Timestamp>,
    /// Google's history id at that time.
    pub history_id: Option<HistoryId>,
    /// Messages that Google counted when it was last asked, without drafts and those that are left out.
    pub google_count: Option<i64>,
    /// Messages that were held at the same time.
    pub held_count: Option<i64>,
    /// Audits in a row that found the same difference.
    pub misses: i64,
    /// Google's history id at the last of these.
    pub differed_id: Option<HistoryId>,
    /// When a repair was last begun because of that.
    pub repaired_at: Option<Timestamp>,
    /// How many more messages Google counts than it lists, once comparing everything has shown that it does; negative
    /// when it counts fewer.
    pub explained: Option<i64>,
    /// Since when that is known.
    pub explained_at: Option<Timestamp>,
    /// By how much the counts of labels differed when they were last compared, such as `INBOX+1 UNREAD-2`; none while
    /// they agree.
    pub labels_differ: Option<String>,
    /// Audits in a row that found these.
    pub labels_misses: i64,
    /// Google's history id at the last of these.
    pub labels_differed_id: Option<HistoryId>,
    /// The differences that comparing those labels left as they were.
    pub labels_explained: Option<String>,
    /// Since when that is known.
    pub labels_explained_at: Option<Timestamp>,
    /// When labels were last begun to be compared because of a difference.
    pub labels_repaired_at: Option<Timestamp>,
}

impl Coverage {
    /// Whether Google's counts agree with the copy's, or differ only by what comparing has explained.
    pub fn agrees(&self) -> bool {
        self.misses == 0 && (self.labels_differ.is_none() || self.labels_differ == self.labels_explained)
    }
}

fn coverage(row: &dyn Columns) -> Result<Coverage, StoreError> {
    Ok(Coverage {
        due_at: row.at_or_null("due_at")?,
        audited_at: row.at_or_null("audited_at")?,
        history_id: row.parsed_or_null("history_id")?,
        google_count: row.int_or_null("google_count")?,
        held_count: row.int_or_null("held_count")?,
        misses: row.int("misses")?,
        differed_id: row.parsed_or_null("differed_id")?,
        repaired_at: row.at_or_null("repaired_at")?,
        explained: row.int_or_null("explained")?,
        explained_at: row.at_or_null("explained_at")?,
        labels_differ: row.text_or_null("labels_differ")?,
        labels_misses: row.int("labels_misses")?,
        labels_differed_id: row.parsed_or_null("labels_differed_id")?,
        labels_explained: row.text_or_null("labels_explained")?,
        labels_explained_at: row.at_or_null("labels_explained_at")?,
        labels_repaired_at: row.at_or_null("labels_repaired_at")?,
    })
}

/// What is proved of a mailbox; nothing at all when it was never audited.
pub async fn of_mailbox(tx: &mut Tx, mailbox: &MailboxId) -> Result<Coverage, StoreError> {
    let found = tx.one("SELECT * FROM coverage WHERE mailbox_id = $1", args![mailbox], coverage).await?;
    Ok(found.unwrap_or_default())
}

/// Asks for an audit at `at`, or a day after the last one if that is later. One that is asked for already stays.
pub async fn want(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let before = of_mailbox(tx, mailbox).await?;
    let earliest = before.audited_at.and_then(|it| it.checked_add(AUDIT_EVERY).ok());
    if before.due_at.is_some() {
        return Ok(());
    }
    put(tx, organization, mailbox, &Coverage { due_at: earliest.max(Some(at)), ..before }).await
}

/// Writes what is known.
pub async fn put(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    now_known: &Coverage,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO coverage (mailbox_id, organization_id, due_at, audited_at, history_id, google_count, held_count,
             misses, repaired_at, explained, explained_at, labels_differ, labels_explained, labels_explained_at,
             labels_repaired_at, differed_id, labels_misses, labels_differed_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         ON CONFLICT (mailbox_id) DO UPDATE SET due_at = excluded.due_at, audited_at = excluded.audited_at,
             history_id = excluded.history_id, google_count = excluded.google_count, held_count = excluded.held_count,
             misses = excluded.misses, repaired_at = excluded.repaired_at, explained = excluded.explained,
             explained_at = excluded.explained_at, labels_differ = excluded.labels_differ,
             labels_explained = excluded.labels_explained, labels_explained_at = excluded.labels_explained_at,
             labels_repaired_at = excluded.labels_repaired_at, differed_id = excluded.differed_id,
             labels_misses = excluded.labels_misses, labels_differed_id = excluded.labels_differed_id",
        args![
            mailbox,
            organization,
            now_known.due_at,
            now_known.audited_at,
            now_known.history_id,
            now_known.google_count,
            now_known.held_count,
            now_known.misses,
            now_known.repaired_at,
            now_known.explained,
            now_known.explained_at,
            now_known.labels_differ.as_deref(),
            now_known.labels_explained.as_deref(),
            now_known.labels_explained_at,
            now_known.labels_repaired_at,
            now_known.differed_id,
            now_known.labels_misses,
            now_known.labels_differed_id
        ],
    )
    .await?;
    Ok(())
}

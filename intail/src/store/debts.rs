//! Debts: items that failed and must be retried. A debt neither blocks its mailbox nor is forgotten.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{MailboxId, OrganizationId};

/// A message that couldn't be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// Gmail's id.
    pub message_id: String,
    /// Gmail's thread.
    pub thread_id: String,
    /// Why it failed, in one word.
    pub reason: String,
    /// How often it was tried.
    pub tries: i64,
    /// Since when it is owed.
    pub since: Timestamp,
    /// When it is tried again.
    pub due_at: Timestamp,
    /// Whether a copy or a comparison named it, not a change that just happened: it waits behind changes.
    pub in_bulk: bool,
}

/// Tries after which a debt counts as one that may stay, an hour after the first: each is waited for twice as long as
/// the one before. The rest of the mailbox is looked after all the same.
pub const OFTEN: i64 = 8;

fn debt(row: &dyn Columns) -> Result<Debt, StoreError> {
    Ok(Debt {
        message_id: row.text("message_id")?,
        thread_id: row.text("thread_id")?,
        reason: row.text("reason")?,
        tries: row.int("tries")?,
        since: row.at("since")?,
        due_at: row.at("due_at")?,
        in_bulk: row.boolean("in_bulk")?,
    })
}

/// Records that an item failed, once more if it is already owed. A change about what a copy owes makes a change of it.
pub async fn owe(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    debt: &Debt,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO debts (organization_id, mailbox_id, message_id, thread_id, reason, tries, since, due_at, in_bulk)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (mailbox_id, message_id) DO UPDATE SET reason = excluded.reason, tries = excluded.tries,
             due_at = excluded.due_at, in_bulk = debts.in_bulk AND excluded.in_bulk",
        args![
            organization,
            mailbox,
            &debt.message_id,
            &debt.thread_id,
            &debt.reason,
            debt.tries,
            debt.since,
            debt.due_at,
            debt.in_bulk
        ],
    )
    .await?;
    Ok(())
}

/// The debts that are due, changes first. `limit` bounds it.
pub async fn due(tx: &mut Tx, mailbox: &MailboxId, now: Timestamp, limit: i64) -> Result<Vec<Debt>, StoreError> {
    tx.all(
        "SELECT * FROM debts WHERE mailbox_id = $1 AND due_at <= $2 ORDER BY in_bulk, due_at LIMIT $3",
        args![mailbox, now, limit],
        debt,
    )
    .await
}

/// Whether a debt of a copy or a comparison is due.
pub async fn is_due_in_bulk(tx: &mut Tx, mailbox: &MailboxId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT MIN(due_at) AS at FROM debts WHERE mailbox_id = $1 AND in_bulk";
    let next = tx.one(sql, args![mailbox], |row| row.at_or_null("at")).await?.flatten();
    Ok(next.is_some_and(|at| at <= now))
}

/// All debts of a mailbox, oldest first. `limit` bounds it.
pub async fn list(tx: &mut Tx, mailbox: &MailboxId, limit: i64) -> Result<Vec<Debt>, StoreError> {
    tx.all("SELECT * FROM debts WHERE mailbox_id = $1 ORDER BY since LIMIT $2", args![mailbox, limit], debt).await
}

/// Why items of a mailbox are owed, and how many for each reason.
pub async fn reasons(tx: &mut Tx, mailbox: &MailboxId) -> Result<Vec<(String, i64)>, StoreError> {
    tx.all(
        "SELECT reason, COUNT(*) AS n FROM debts WHERE mailbox_id = $1 GROUP BY reason ORDER BY COUNT(*) DESC, reason",
        args![mailbox],
        |row| Ok((row.text("reason")?, row.int("n")?)),
    )
    .await
}

/// Strikes debts off.
pub async fn paid(tx: &mut Tx, mailbox: &MailboxId, ids: &[String]) -> Result<(), StoreError> {
    let sql = "DELETE FROM debts WHERE mailbox_id = $1 AND message_id IN ({among})";
    tx.run_among(sql, args![mailbox], ids).await?;
    Ok(())
}

/// When the next debt is due, and how many there are.
pub async fn outlook(tx: &mut Tx, mailbox: &MailboxId) -> Result<(i64, Option<Timestamp>), StoreError> {
    let outlook = tx
        .one("SELECT COUNT(*) AS n, MIN(due_at) AS at FROM debts WHERE mailbox_id = $1", args![mailbox], |row| {
            Ok((row.int("n")?, row.at_or_null("at")?))
        })
        .await?;
    Ok(outlook.unwrap_or((0, None)))
}

//! Leases: one worker per mailbox at a time. Every claim raises the lease's number; a worker that paused past its lease
//! holds an old number, and the database refuses what it writes.

use jiff::Timestamp;

use super::StoreError;
use super::mailboxes::{Mailbox, mailbox};
use super::sql::{Tx, args};
use crate::id::MailboxId;

/// The right to work on one mailbox.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The mailbox.
    pub mailbox_id: MailboxId,
    /// The number that fences out earlier holders.
    pub number: i64,
    /// Whether the run before broke off: its lease was never given back.
    pub after_a_break: bool,
}

/// Which mailboxes are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that somebody gave notice of.
    Noticed,
    /// All that are due.
    Due,
}

/// Claims up to `limit` mailboxes that are due and free, longest due first, and clears their dirty marks.
pub async fn claim(
    tx: &mut Tx,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    wanted: Wanted,
    limit: i64,
) -> Result<Vec<(Mailbox, Lease)>, StoreError> {
    tx.all(
        "UPDATE mailboxes SET lease_owner = $1, lease_until = $3, lease_number = lease_number + 1, dirty = FALSE
         WHERE id IN (SELECT id FROM mailboxes WHERE due_at <= $2 AND (lease_until IS NULL OR lease_until <= $2)
                          AND (dirty OR $5)
                      ORDER BY due_at LIMIT $4)
             AND due_at <= $2 AND (lease_until IS NULL OR lease_until <= $2)
         RETURNING *",
        args![owner, now, until, limit, wanted == Wanted::Due],
        |row| {
            let mailbox = mailbox(row)?;
            let number = row.int("lease_number")?;
            let after_a_break = row.int("released_number")? != number - 1;
            let lease = Lease { mailbox_id: mailbox.id.clone(), number, after_a_break };
            Ok((mailbox, lease))
        },
    )
    .await
}

/// Proves, inside the transaction that is about to write, that the lease still holds, prolongs it, and answers the
/// mailbox as it is now.
pub async fn hold(tx: &mut Tx, lease: &Lease, until: Timestamp) -> Result<Mailbox, StoreError> {
    tx.one(
        "UPDATE mailboxes SET lease_until = $3
         WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL RETURNING *",
        args![&lease.mailbox_id, lease.number, until],
        mailbox,
    )
    .await?
    .ok_or(StoreError::LeaseLost)
}

/// Gives the mailbox back and says when it is due next. If a notice came meanwhile, it is due at once. `spent` is what
/// it cost within the last minute, in quota units.
pub async fn release(
    tx: &mut Tx,
    lease: &Lease,
    next: Option<Timestamp>,
    spent: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let released = tx
        .run(
            "UPDATE mailboxes SET lease_owner = NULL, lease_until = NULL, spent_units = $5, spent_at = $4,
                 released_number = lease_number,
                 due_at = CASE WHEN dirty THEN $4 ELSE $3 END
             WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL",
            args![&lease.mailbox_id, lease.number, next, now, spent],
        )
        .await?;
    if released == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

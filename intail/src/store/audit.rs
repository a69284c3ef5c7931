//! The audit log's rows: one chain of entries for each organization, numbered without gaps under the chain's row lock.
//! Entries are appended, and removed from the old end only; nothing here changes one. `org/audit.rs` makes the hashes.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::OrganizationId;

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number within the organization.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What was done, in one dotted word.
    pub action: String,
    /// To whom or what.
    pub about: String,
    /// From where.
    pub origin: String,
    /// What else there is to know, as JSON text.
    pub detail: String,
    /// Covers this entry and the hash before it.
    pub hash: String,
}

/// Both ends of an organization's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The number of the newest entry.
    pub last_seq: i64,
    /// Its hash.
    pub last_hash: String,
    /// The number of the last entry that was removed at the old end; 0 while none was.
    pub removed_seq: i64,
    /// Its hash, on which the oldest entry that is left hangs.
    pub removed_hash: String,
}

/// Which entries a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// How the action begins; empty for all.
    pub action: String,
    /// Who did it or to whom it was done; empty for all.
    pub who: String,
}

fn entry(row: &dyn Columns) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        seq: row.int("seq")?,
        at: row.at("at")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        about: row.text("about")?,
        origin: row.text("origin")?,
        detail: row.text("detail")?,
        hash: row.text("hash")?,
    })
}

/// Takes the next number: answers it and the hash that the entry hangs on. From here until the commit, other writers of
/// the organization's log wait.
pub async fn next(tx: &mut Tx, organization: &OrganizationId) -> Result<(i64, String), StoreError> {
    tx.run(
        "INSERT INTO audit_chains (organization_id, last_seq, last_hash, removed_seq, removed_hash)
         VALUES ($1, 0, '', 0, '') ON CONFLICT (organization_id) DO NOTHING",
        args![organization],
    )
    .await?;
    tx.one(
        "UPDATE audit_chains SET last_seq = last_seq + 1 WHERE organization_id = $1 RETURNING last_seq, last_hash",
        args![organization],
        |row| Ok((row.int("last_seq")?, row.text("last_hash")?)),
    )
    .await?
    .ok_or(StoreError::LeaseLost)
}

/// Holds the organization's log without writing: until the commit, whoever else would append to it waits.
pub async fn hold(tx: &mut Tx, organization: &OrganizationId) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO audit_chains (organization_id, last_seq, last_hash, removed_seq, removed_hash)
         VALUES ($1, 0, '', 0, '') ON CONFLICT (organization_id) DO UPDATE SET last_seq = audit_chains.last_seq",
        args![organization],
    )
    .await?;
    Ok(())
}

/// What may have been written already.
#[derive(Clone, Copy, Debug)]
pub struct Repeated<'a> {
    /// What was done.
    pub action: &'a str,
    /// To whom or what.
    pub about: &'a str,
    /// What else there is to know, as the very text.
    pub detail: &'a str,
    /// After this instant.
    pub since: Timestamp,
}

/// Whether an entry of this action and detail is among the newest `limit` entries about the same, after an instant.
pub async fn is_repeated(
    tx: &mut Tx,
    organization: &OrganizationId,
    of: Repeated<'_>,
    limit: i64,
) -> Result<bool, StoreError> {
    let found = tx
        .one(
            "SELECT seq FROM (SELECT seq, at, action, detail FROM audit_entries
                 WHERE organization_id = $1 AND about = $2 ORDER BY seq DESC LIMIT $3) newest
             WHERE action = $4 AND detail = $5 AND at > $6 LIMIT 1",
            args![organization, of.about, limit, of.action, of.detail, of.since],
            |row| row.int("seq"),
        )
        .await?;
    Ok(found.is_some())
}

/// Appends the entry whose number [`next`] gave in the same transaction.
pub async fn append(tx: &mut Tx, organization: &OrganizationId, entry: &AuditEntry) -> Result<(), StoreError> {
    // An entry that was shown is never another one.
    tx.reach_disk();
    tx.run(
        "INSERT INTO audit_entries (organization_id, seq, at, actor, action, about, origin, detail, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            organization,
            entry.seq,
            entry.at,
            &entry.actor,
            &entry.action,
            &entry.about,
            &entry.origin,
            &entry.detail,
            &entry.hash
        ],
    )
    .await?;
    tx.run(
        "UPDATE audit_chains SET last_hash = $2 WHERE organization_id = $1 AND last_seq = $3",
        args![organization, &entry.hash, entry.seq],
    )
    .await?;
    Ok(())
}

/// Both ends of an organization's log.
pub async fn chain(tx: &mut Tx, organization: &OrganizationId) -> Result<Chain, StoreError> {
    let chain = tx
        .one("SELECT * FROM audit_chains WHERE organization_id = $1", args![organization], |row| {
            Ok(Chain {
                last_seq: row.int("last_seq")?,
                last_hash: row.text("last_hash")?,
                removed_seq: row.int("removed_seq")?,
                removed_hash: row.text("removed_hash")?,
            })
        })
        .await?;
    Ok(chain.unwrap_or_default())
}

/// The entries after number `after`, oldest first. `limit` bounds it.
pub async fn after(
    tx: &mut Tx,
    organization: &OrganizationId,
    after: i64,
    limit: i64,
) -> Result<Vec<AuditEntry>, StoreError> {
    tx.all(
        "SELECT * FROM audit_entries WHERE organization_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        args![organization, after, limit],
        entry,
    )
    .await
}

/// The entries that fit, newest first, before number `before`. `limit` bounds it.
pub async fn list(
    tx: &mut Tx,
    organization: &OrganizationId,
    filter: &Filter,
    before: i64,
    limit: i64,
) -> Result<Vec<AuditEntry>, StoreError> {
    tx.all(
        "SELECT * FROM audit_entries WHERE organization_id = $1 AND seq < $2
             AND SUBSTR(action, 1, LENGTH($3)) = $3 AND ($4 = '' OR actor = $4 OR about = $4)
         ORDER BY seq DESC LIMIT $5",
        args![organization, before, &filter.action, &filter.who, limit],
        entry,
    )
    .await
}

/// Removes entries that happened before `before` from the old end, `limit` at most, and keeps the hash of the last of
/// them. Answers how many.
pub async fn remove(
    tx: &mut Tx,
    organization: &OrganizationId,
    before: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    // The chain's row first, as writers do: two who wait for each other would wait for ever.
    let last = tx
        .one(
            "UPDATE audit_chains SET removed_seq = removed_seq WHERE organization_id = $1 RETURNING removed_seq",
            args![organization],
            |row| row.int("removed_seq"),
        )
        .await?;
    let Some(removed) = last else { return Ok(0) };
    let kept = tx
        .one(
            "SELECT seq FROM audit_entries WHERE organization_id = $1 AND at >= $2 ORDER BY seq LIMIT 1",
            args![organization, before],
            |row| row.int("seq"),
        )
        .await?
        .unwrap_or(i64::MAX);
    let end = tx
        .one(
            "SELECT seq, hash FROM audit_entries WHERE organization_id = $1 AND seq < $2 AND seq <= $3
             ORDER BY seq DESC LIMIT 1",
            args![organization, kept, removed.saturating_add(limit)],
            |row| Ok((row.int("seq")?, row.text("hash")?)),
        )
        .await?;
    let Some((seq, hash)) = end else { return Ok(0) };
    tx.run(
        "UPDATE audit_chains SET removed_seq = $2, removed_hash = $3 WHERE organization_id = $1",
        args![organization, seq, hash],
    )
    .await?;
    tx.run("DELETE FROM audit_entries WHERE organization_id = $1 AND seq <= $2", args![organization, seq]).await
}

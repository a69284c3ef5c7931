//! The log of calls to Google, as a chain of batches for each grant. One row is the chain's end; whoever appends holds
//! it until the commit, so that two processes can't fork the chain. Old batches are dropped and leave a checkpoint.
//!
//! A log begins with the first attempt to connect, before there is a grant, under the id that the grant gets: what was
//! asked for an attempt that was refused is in it. It goes with the grant, or with the person.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{GrantId, OrganizationId, PersonId};

/// The hash before the first batch.
pub const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What a batch's row takes up beside its lines, for the sum of what is kept.
const ROW_BYTES: i64 = 200;

/// The end of a grant's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last batch; the first is 1.
    pub batch: i64,
    /// Its hash.
    pub hash: String,
    /// What the batches that are kept take up.
    pub kept_bytes: i64,
    /// When the oldest of them began.
    pub oldest_at: Option<Timestamp>,
    /// The last batch that was dropped; 0 if none was.
    pub checkpoint_batch: i64,
    /// Its hash.
    pub checkpoint_hash: String,
}

impl Head {
    /// The end of a chain that holds nothing.
    pub fn start() -> Self {
        Self {
            batch: 0,
            hash: START.to_owned(),
            kept_bytes: 0,
            oldest_at: None,
            checkpoint_batch: 0,
            checkpoint_hash: START.to_owned(),
        }
    }
}

/// Some calls that were written down together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub batch: i64,
    /// When its first call began.
    pub began_at: Timestamp,
    /// How many calls it holds.
    pub calls: i64,
    /// One line for each call.
    pub lines: String,
    /// The hash over the one before, the grant, the number and the lines.
    pub hash: String,
}

/// What dropping old batches needs to know of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Its number.
    pub batch: i64,
    /// Its hash.
    pub hash: String,
    /// When its first call began.
    pub began_at: Timestamp,
    /// What it takes up.
    pub bytes: i64,
}

fn head(row: &dyn Columns) -> Result<Head, StoreError> {
    Ok(Head {
        batch: row.int("batch")?,
        hash: row.text("hash")?,
        kept_bytes: row.int("kept_bytes")?,
        oldest_at: row.at_or_null("oldest_at")?,
        checkpoint_batch: row.int("checkpoint_batch")?,
        checkpoint_hash: row.text("checkpoint_hash")?,
    })
}

fn batch(row: &dyn Columns) -> Result<Batch, StoreError> {
    Ok(Batch {
        batch: row.int("batch")?,
        began_at: row.at("began_at")?,
        calls: row.int("calls")?,
        lines: row.text("lines")?,
        hash: row.text("hash")?,
    })
}

/// Opens a person's log under this id, unless they have one; answers its id. None: there is no such person.
pub async fn open(tx: &mut Tx, person: &PersonId, id: &GrantId) -> Result<Option<GrantId>, StoreError> {
    tx.one(
        "INSERT INTO call_logs (id, organization_id, person_id)
         SELECT $2, organization_id, id FROM people WHERE id = $1
         ON CONFLICT (person_id) DO UPDATE SET person_id = excluded.person_id RETURNING id",
        args![person, id],
        |row| row.parsed("id"),
    )
    .await
}

/// A person's log; none before they tried to connect.
pub async fn of_person(tx: &mut Tx, person: &PersonId) -> Result<Option<GrantId>, StoreError> {
    tx.one("SELECT id FROM call_logs WHERE person_id = $1", args![person], |row| row.parsed("id")).await
}

/// Whose organization's a log is; none if it has gone.
pub async fn organization_of(tx: &mut Tx, id: &GrantId) -> Result<Option<OrganizationId>, StoreError> {
    tx.one("SELECT organization_id FROM call_logs WHERE id = $1", args![id], |row| row.parsed("organization_id")).await
}

/// The end of a grant's chain; none while nothing was written.
pub async fn head_of(tx: &mut Tx, grant: &GrantId) -> Result<Option<Head>, StoreError> {
    tx.one("SELECT * FROM receipt_heads WHERE grant_id = $1", args![grant], head).await
}

/// The end of a grant's chain, held until the commit: nobody appends meanwhile. None while nothing was written.
pub async fn hold_head(tx: &mut Tx, grant: &GrantId) -> Result<Option<Head>, StoreError> {
    tx.one("UPDATE receipt_heads SET batch = batch WHERE grant_id = $1 RETURNING *", args![grant], head).await
}

/// Takes the end of a grant's chain to append to it: the row is held until the commit. Its number is that of the batch
/// that follows, its hash still that of the one before.
pub async fn take_head(tx: &mut Tx, organization: &OrganizationId, grant: &GrantId) -> Result<Head, StoreError> {
    let taken = tx
        .one(
            "INSERT INTO receipt_heads
                 (grant_id, organization_id, batch, hash, kept_bytes, checkpoint_batch, checkpoint_hash)
             VALUES ($1, $2, 1, $3, 0, 0, $3)
             ON CONFLICT (grant_id) DO UPDATE SET batch = receipt_heads.batch + 1 RETURNING *",
            args![grant, organization, START],
            head,
        )
        .await?;
    taken.ok_or(StoreError::LeaseLost)
}

/// Appends a batch whose head was taken in this transaction; answers the chain's new end.
pub async fn append(
    tx: &mut Tx,
    organization: &OrganizationId,
    grant: &GrantId,
    taken: &Head,
    batch: &Batch,
) -> Result<Head, StoreError> {
    let head = Head {
        batch: batch.batch,
        hash: batch.hash.clone(),
        kept_bytes: taken.kept_bytes.saturating_add(size(batch)),
        oldest_at: taken.oldest_at.or(Some(batch.began_at)),
        ..taken.clone()
    };
    insert(tx, organization, grant, batch).await?;
    save(tx, grant, &head).await?;
    Ok(head)
}

/// Appends a batch to a chain that ends, as the caller believes, with the batch before it and this hash; answers the
/// chain's new end, or nothing if it ends otherwise. What was dropped meanwhile stays dropped.
pub async fn extend(
    tx: &mut Tx,
    organization: &OrganizationId,
    grant: &GrantId,
    before: &str,
    batch: &Batch,
) -> Result<Option<Head>, StoreError> {
    let extended = tx
        .one(
            "UPDATE receipt_heads SET batch = $2, hash = $3, kept_bytes = kept_bytes + $4,
                 oldest_at = COALESCE(oldest_at, $5)
             WHERE grant_id = $1 AND batch = $2 - 1 AND hash = $6 RETURNING *",
            args![grant, batch.batch, &batch.hash, size(batch), batch.began_at, before],
            head,
        )
        .await?;
    if extended.is_some() {
        insert(tx, organization, grant, batch).await?;
    }
    Ok(extended)
}

/// What a batch takes up.
fn size(batch: &Batch) -> i64 {
    i64::try_from(batch.lines.len()).unwrap_or(i64::MAX).saturating_add(ROW_BYTES)
}

async fn insert(tx: &mut Tx, organization: &OrganizationId, grant: &GrantId, batch: &Batch) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO receipt_batches (grant_id, batch, organization_id, began_at, calls, lines, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![grant, batch.batch, organization, batch.began_at, batch.calls, &batch.lines, &batch.hash],
    )
    .await?;
    Ok(())
}

/// Writes the end of a chain. Only who holds it may: one that somebody has moved since is not put back.
async fn save(tx: &mut Tx, grant: &GrantId, head: &Head) -> Result<(), StoreError> {
    let saved = tx
        .run(
            "UPDATE receipt_heads SET hash = $3, kept_bytes = $4, oldest_at = $5, checkpoint_batch = $6,
                 checkpoint_hash = $7 WHERE grant_id = $1 AND batch = $2",
            args![
                grant,
                head.batch,
                &head.hash,
                head.kept_bytes,
                head.oldest_at,
                head.checkpoint_batch,
                &head.checkpoint_hash
            ],
        )
        .await?;
    if saved == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// A grant's batches after number `after`, in order; `limit` bounds it.
pub async fn after(tx: &mut Tx, grant: &GrantId, after: i64, limit: i64) -> Result<Vec<Batch>, StoreError> {
    tx.all(
        "SELECT * FROM receipt_batches WHERE grant_id = $1 AND batch > $2 ORDER BY batch LIMIT $3",
        args![grant, after, limit],
        batch,
    )
    .await
}

/// The numbers of a grant's batches before number `before`, newest first, with how many calls each holds; `limit`
/// bounds it.
pub async fn sizes_before(
    tx: &mut Tx,
    grant: &GrantId,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, i64)>, StoreError> {
    tx.all(
        "SELECT batch, calls FROM receipt_batches WHERE grant_id = $1 AND batch < $2 ORDER BY batch DESC LIMIT $3",
        args![grant, before, limit],
        |row| Ok((row.int("batch")?, row.int("calls")?)),
    )
    .await
}

/// The oldest batches of a grant that are kept, in order, without their lines; `limit` bounds it.
pub async fn oldest(tx: &mut Tx, grant: &GrantId, limit: i64) -> Result<Vec<Old>, StoreError> {
    tx.all(
        "SELECT batch, hash, began_at, CAST(LENGTH(lines) AS BIGINT) AS bytes FROM receipt_batches WHERE grant_id = $1
         ORDER BY batch LIMIT $2",
        args![grant, limit],
        |row| {
            Ok(Old {
                batch: row.int("batch")?,
                hash: row.text("hash")?,
                began_at: row.at("began_at")?,
                bytes: row.int("bytes")? + ROW_BYTES,
            })
        },
    )
    .await
}

/// Drops a grant's batches up to and with `last`, which becomes the checkpoint; together they take up `bytes`. `head`
/// is held. Answers the end of the chain as it is then.
pub async fn drop_until(tx: &mut Tx, grant: &GrantId, head: &Head, last: &Old, bytes: i64) -> Result<Head, StoreError> {
    tx.run("DELETE FROM receipt_batches WHERE grant_id = $1 AND batch <= $2", args![grant, last.batch]).await?;
    let oldest_at = oldest(tx, grant, 1).await?.first().map(|it| it.began_at);
    let head = Head {
        kept_bytes: head.kept_bytes.saturating_sub(bytes).max(0),
        oldest_at,
        checkpoint_batch: last.batch,
        checkpoint_hash: last.hash.clone(),
        ..head.clone()
    };
    save(tx, grant, &head).await?;
    Ok(head)
}

/// Grants whose oldest batch began before `before`; `limit` bounds it.
pub async fn older_than(
    tx: &mut Tx,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(GrantId, OrganizationId)>, StoreError> {
    tx.all(
        "SELECT grant_id, organization_id FROM receipt_heads WHERE oldest_at < $1 ORDER BY oldest_at LIMIT $2",
        args![before, limit],
        |row| Ok((row.parsed("grant_id")?, row.parsed("organization_id")?)),
    )
    .await
}

//! A known text, sealed with each key: proves at start that the key file is the one this database was sealed with, and
//! says in which order keys came into use. The newest is the one that seals.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};

/// A key that the database was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProof {
    /// The key's id.
    pub key_id: String,
    /// The known text, sealed with it.
    pub sealed: String,
    /// Since when it is in use.
    pub created_at: Timestamp,
    /// Since when nothing is sealed under an older one; none while that is being done.
    pub resealed_at: Option<Timestamp>,
}

fn key_proof(row: &dyn Columns) -> Result<KeyProof, StoreError> {
    Ok(KeyProof {
        key_id: row.text("key_id")?,
        sealed: row.text("proof_sealed")?,
        created_at: row.at("created_at")?,
        resealed_at: row.at_or_null("resealed_at")?,
    })
}

/// All of them, newest last.
pub async fn list(tx: &mut Tx) -> Result<Vec<KeyProof>, StoreError> {
    tx.all("SELECT * FROM key_proofs ORDER BY place", args![], key_proof).await
}

/// Whoever else decides about keys waits until the commit.
pub async fn hold(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run("UPDATE key_proofs SET place = place", args![]).await?;
    Ok(())
}

/// Adds a key's proof as the newest. Answers whether it wasn't there before.
pub async fn add(tx: &mut Tx, key_id: &str, proof_sealed: &str, now: Timestamp) -> Result<bool, StoreError> {
    let added = tx
        .run(
            "INSERT INTO key_proofs (key_id, proof_sealed, created_at, place)
             SELECT $1, $2, $3, COALESCE(MAX(place), 0) + 1 FROM key_proofs WHERE TRUE
             ON CONFLICT (key_id) DO NOTHING",
            args![key_id, proof_sealed, now],
        )
        .await?;
    Ok(added == 1)
}

/// Nothing is sealed under a key older than this one. Answers whether that is news.
pub async fn resealed(tx: &mut Tx, key_id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let news = tx
        .run("UPDATE key_proofs SET resealed_at = $2 WHERE key_id = $1 AND resealed_at IS NULL", args![key_id, now])
        .await?;
    Ok(news == 1)
}

/// Forgets a key that nothing is sealed under. Answers whether it was known.
pub async fn remove(tx: &mut Tx, key_id: &str) -> Result<bool, StoreError> {
    let removed = tx.run("DELETE FROM key_proofs WHERE key_id = $1", args![key_id]).await?;
    Ok(removed == 1)
}

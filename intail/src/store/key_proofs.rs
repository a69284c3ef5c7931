//! A known text, sealed with each key: proves at start that the key file is the one this database was sealed with.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Tx, args};

/// The sealed proofs, by key id.
pub async fn list(tx: &mut Tx) -> Result<Vec<(String, String)>, StoreError> {
    tx.all("SELECT key_id, proof_sealed FROM key_proofs ORDER BY created_at", args![], |row| {
        Ok((row.text("key_id")?, row.text("proof_sealed")?))
    })
    .await
}

/// Adds a key's proof.
pub async fn add(tx: &mut Tx, key_id: &str, proof_sealed: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO key_proofs (key_id, proof_sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT (key_id) DO NOTHING",
        args![key_id, proof_sealed, now],
    )
    .await?;
    Ok(())
}

//! The keys that sign receipts, newest last. The secret part is here only sealed.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};

/// A key that signs receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id, which receipts name.
    pub id: String,
    /// The public part, base64url.
    pub public_key: String,
    /// The secret part, sealed.
    pub secret_sealed: String,
}

fn signing_key(row: &dyn Columns) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        id: row.text("id")?,
        public_key: row.text("public_key")?,
        secret_sealed: row.text("secret_sealed")?,
    })
}

/// All keys, in the order in which they were made; `limit` bounds it.
pub async fn list(tx: &mut Tx, limit: i64) -> Result<Vec<SigningKey>, StoreError> {
    tx.all("SELECT * FROM signing_keys ORDER BY created_at, id LIMIT $1", args![limit], signing_key).await
}

/// Adds a key, unless another process has added one of this id.
pub async fn add(tx: &mut Tx, key: &SigningKey, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO signing_keys (id, public_key, secret_sealed, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO NOTHING",
        args![&key.id, &key.public_key, &key.secret_sealed, now],
    )
    .await?;
    Ok(())
}

//! Access keys: what a person's own programs sign in to the API with. Only the hash is kept.

use jiff::Timestamp;

use super::StoreError;
use super::people::{Person, person};
use super::sql::{Columns, Tx, args};
use crate::id::PersonId;

/// A key of a person's, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Its hash, which also names it.
    pub key_hash: String,
    /// What the person called it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was used last.
    pub used_at: Option<Timestamp>,
}

fn access_key(row: &dyn Columns) -> Result<AccessKey, StoreError> {
    Ok(AccessKey {
        key_hash: row.text("key_hash")?,
        name: row.text("name")?,
        created_at: row.at("created_at")?,
        used_at: row.at_or_null("used_at")?,
    })
}

/// Adds a key, unless this person's form with this hash made one already; answers whether it was added.
pub async fn create(
    tx: &mut Tx,
    key_hash: &str,
    person: &PersonId,
    name: &str,
    form_hash: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let added = tx
        .run(
            "INSERT INTO access_keys (key_hash, person_id, name, form_hash, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (person_id, form_hash) DO NOTHING",
            args![key_hash, person, name, form_hash, now],
        )
        .await?;
    Ok(added == 1)
}

/// Whose key it is.
pub async fn person_of(tx: &mut Tx, key_hash: &str) -> Result<Option<Person>, StoreError> {
    tx.one(
        "SELECT p.* FROM access_keys k JOIN people p ON p.id = k.person_id WHERE k.key_hash = $1",
        args![key_hash],
        person,
    )
    .await
}

/// Records that a key was used.
pub async fn used(tx: &mut Tx, key_hash: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.run("UPDATE access_keys SET used_at = $2 WHERE key_hash = $1", args![key_hash, now]).await?;
    Ok(())
}

/// A person's keys, newest first. `limit` bounds it.
pub async fn of_person(tx: &mut Tx, person: &PersonId, limit: i64) -> Result<Vec<AccessKey>, StoreError> {
    tx.all(
        "SELECT * FROM access_keys WHERE person_id = $1 ORDER BY created_at DESC, key_hash LIMIT $2",
        args![person, limit],
        access_key,
    )
    .await
}

/// Deletes a person's key; answers whether it was theirs.
pub async fn delete(tx: &mut Tx, person: &PersonId, key_hash: &str) -> Result<bool, StoreError> {
    let deleted =
        tx.run("DELETE FROM access_keys WHERE person_id = $1 AND key_hash = $2", args![person, key_hash]).await?;
    Ok(deleted == 1)
}

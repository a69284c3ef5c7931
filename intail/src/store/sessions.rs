//! Signed-in browsers. Only the token's hash is kept, so a stolen database signs nobody in.

use jiff::Timestamp;

use super::StoreError;
use super::people::{Person, person};
use super::sql::{Tx, args};
use crate::id::PersonId;

/// A signed-in browser and whose it is.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who is signed in.
    pub person: Person,
    /// The secret that this session's forms must carry.
    pub form_token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Opens a session.
pub async fn open(
    tx: &mut Tx,
    token_hash: &str,
    person: &PersonId,
    form_token: &str,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO sessions (token_hash, person_id, form_token, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        args![token_hash, person, form_token, now, expires_at],
    )
    .await?;
    Ok(())
}

/// The session of this token, unless it has ended.
pub async fn by_token(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<Option<Session>, StoreError> {
    tx.one(
        "SELECT p.*, s.form_token, s.expires_at FROM sessions s JOIN people p ON p.id = s.person_id
         WHERE s.token_hash = $1 AND s.expires_at > $2",
        args![token_hash, now],
        |row| {
            Ok(Session { person: person(row)?, form_token: row.text("form_token")?, expires_at: row.at("expires_at")? })
        },
    )
    .await
}

/// Ends one session.
pub async fn close(tx: &mut Tx, token_hash: &str) -> Result<(), StoreError> {
    tx.run("DELETE FROM sessions WHERE token_hash = $1", args![token_hash]).await?;
    Ok(())
}

/// Ends every session of a person.
pub async fn close_all(tx: &mut Tx, person: &PersonId) -> Result<(), StoreError> {
    tx.run("DELETE FROM sessions WHERE person_id = $1", args![person]).await?;
    Ok(())
}

/// Deletes the sessions that ended.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    tx.run("DELETE FROM sessions WHERE expires_at <= $1", args![now]).await
}

//! Links that sign somebody in once. Only the token's hash is kept, so a stolen database signs nobody in.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{OrganizationId, PersonId};

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInLink {
    /// The hash of its token.
    pub token_hash: String,
    /// The organization.
    pub organization_id: OrganizationId,
    /// Whom it signs in; none for the organization's first administrator, who is added then.
    pub person_id: Option<PersonId>,
    /// The address that it was made for.
    pub email: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// When it was used; none: not yet.
    pub used_at: Option<Timestamp>,
}

fn sign_in_link(row: &dyn Columns) -> Result<SignInLink, StoreError> {
    Ok(SignInLink {
        token_hash: row.text("token_hash")?,
        organization_id: row.parsed("organization_id")?,
        person_id: row.parsed_or_null("person_id")?,
        email: row.text("email")?,
        created_at: row.at("created_at")?,
        expires_at: row.at("expires_at")?,
        used_at: row.at_or_null("used_at")?,
    })
}

/// Adds a link that wasn't used.
pub async fn create(tx: &mut Tx, link: &SignInLink) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO sign_in_links (token_hash, organization_id, person_id, email, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        args![
            &link.token_hash,
            &link.organization_id,
            link.person_id.as_ref(),
            &link.email,
            link.created_at,
            link.expires_at
        ],
    )
    .await?;
    Ok(())
}

/// The link of this token, unless it was used or its time is over. Looking doesn't use it up.
pub async fn by_token(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<Option<SignInLink>, StoreError> {
    tx.one(
        "SELECT * FROM sign_in_links WHERE token_hash = $1 AND expires_at > $2 AND used_at IS NULL",
        args![token_hash, now],
        sign_in_link,
    )
    .await
}

/// Uses a link up: answers it to the first who asks in time, and to nobody else.
pub async fn take(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<Option<SignInLink>, StoreError> {
    tx.one(
        "UPDATE sign_in_links SET used_at = $2
         WHERE token_hash = $1 AND expires_at > $2 AND used_at IS NULL RETURNING *",
        args![token_hash, now],
        sign_in_link,
    )
    .await
}

/// The link of this token whatever became of it; none once it is forgotten, which is soon after its time.
pub async fn spent(tx: &mut Tx, token_hash: &str) -> Result<Option<SignInLink>, StoreError> {
    tx.one("SELECT * FROM sign_in_links WHERE token_hash = $1", args![token_hash], sign_in_link).await
}

/// Forgets a person's links.
pub async fn forget(tx: &mut Tx, person: &PersonId) -> Result<u64, StoreError> {
    tx.run("DELETE FROM sign_in_links WHERE person_id = $1", args![person]).await
}

/// Forgets the links whose time is over.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    tx.run("DELETE FROM sign_in_links WHERE expires_at <= $1", args![now]).await
}

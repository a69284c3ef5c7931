//! Invitations: an address that may join an organization with a role. One for each address of an organization; it is
//! deleted once it is used or withdrawn.

use jiff::Timestamp;

use super::StoreError;
use super::people::Role;
use super::sql::{Columns, Tx, args};
use crate::id::{InvitationId, OrganizationId};

/// An invitation that wasn't used yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// The address, lower-case.
    pub email: String,
    /// What its person may do then.
    pub role: Role,
    /// Who invited, as the audit log says it.
    pub invited_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it works.
    pub expires_at: Timestamp,
}

fn invitation(row: &dyn Columns) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        email: row.text("email")?,
        role: row.parsed("role")?,
        invited_by: row.text("invited_by")?,
        created_at: row.at("created_at")?,
        expires_at: row.at("expires_at")?,
    })
}

/// Adds an invitation in place of any that the organization has for the address.
pub async fn put(tx: &mut Tx, invitation: &Invitation) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO invitations (id, organization_id, email, role, invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (organization_id, email) DO UPDATE SET id = excluded.id, role = excluded.role,
             invited_by = excluded.invited_by, created_at = excluded.created_at, expires_at = excluded.expires_at",
        args![
            invitation.id.as_str(),
            &invitation.organization_id,
            &invitation.email,
            invitation.role.word(),
            &invitation.invited_by,
            invitation.created_at,
            invitation.expires_at
        ],
    )
    .await?;
    Ok(())
}

/// The invitations for an address (lower-case) whose time isn't over, oldest first. `limit` bounds it.
pub async fn by_email(tx: &mut Tx, email: &str, now: Timestamp, limit: i64) -> Result<Vec<Invitation>, StoreError> {
    tx.all(
        "SELECT * FROM invitations WHERE email = $1 AND expires_at > $2 ORDER BY created_at, id LIMIT $3",
        args![email, now, limit],
        invitation,
    )
    .await
}

/// An organization's invitations, newest first. `limit` bounds it.
pub async fn of_organization(
    tx: &mut Tx,
    organization: &OrganizationId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Invitation>, StoreError> {
    tx.all(
        "SELECT * FROM invitations WHERE organization_id = $1 AND expires_at > $2
         ORDER BY created_at DESC, id LIMIT $3",
        args![organization, now, limit],
        invitation,
    )
    .await
}

/// Deletes an organization's invitation; answers whether it was there: who uses it is one alone.
pub async fn delete(tx: &mut Tx, organization: &OrganizationId, id: &InvitationId) -> Result<bool, StoreError> {
    let deleted = tx
        .run("DELETE FROM invitations WHERE organization_id = $1 AND id = $2", args![organization, id.as_str()])
        .await?;
    Ok(deleted == 1)
}

/// Forgets the invitations whose time is over.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    tx.run("DELETE FROM invitations WHERE expires_at <= $1", args![now]).await
}

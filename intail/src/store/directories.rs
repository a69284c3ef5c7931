//! Directories: one per organization, read with whichever grant sees most. Here only when it is due and who works on
//! it.

use jiff::Timestamp;

use super::StoreError;
use super::leases::{self, Lease};
use super::sql::{Columns, Tx, args};
use crate::id::{DirectoryId, GrantId, OrganizationId};

/// One organization's copied directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its id.
    pub id: DirectoryId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The grant under which it was read last.
    pub grant_id: Option<GrantId>,
    /// Until when no call is made, because Google asked for it.
    pub paused_until: Option<Timestamp>,
    /// Why.
    pub paused_why: Option<String>,
    /// Failures in a row.
    pub failures: i64,
    /// When it is due.
    pub due_at: Option<Timestamp>,
    /// When somebody first permitted the directory.
    pub created_at: Timestamp,
}

fn directory(row: &dyn Columns) -> Result<Directory, StoreError> {
    Ok(Directory {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        grant_id: row.parsed_or_null("grant_id")?,
        paused_until: row.at_or_null("paused_until")?,
        paused_why: row.text_or_null("paused_why")?,
        failures: row.int("failures")?,
        due_at: row.at_or_null("due_at")?,
        created_at: row.at("created_at")?,
    })
}

/// Gives an organization a directory that is due now; one that it has already becomes due.
pub async fn wake(
    tx: &mut Tx,
    id: &DirectoryId,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO directories (id, organization_id, failures, due_at, dirty, lease_number, released_number,
             spent_units, created_at)
         VALUES ($1, $2, 0, $3, FALSE, 0, 0, 0, $3)
         ON CONFLICT (organization_id) DO UPDATE SET dirty = TRUE, due_at = excluded.due_at",
        args![id, organization, now],
    )
    .await?;
    Ok(())
}

/// An organization's directory.
pub async fn of_organization(tx: &mut Tx, organization: &OrganizationId) -> Result<Option<Directory>, StoreError> {
    tx.one("SELECT * FROM directories WHERE organization_id = $1", args![organization], directory).await
}

/// Proves that the lease of a directory still holds, prolongs it, and answers the directory as it is now.
pub async fn hold(tx: &mut Tx, lease: &Lease, until: Timestamp) -> Result<Directory, StoreError> {
    leases::hold_row(tx, lease, until, directory).await
}

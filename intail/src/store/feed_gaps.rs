//! Numbers of a feed that were given out after the backup that a database was restored from. What they told of is
//! unknown here, so whoever has read that far can't go on, and begins anew.

use super::StoreError;
use super::sql::{Tx, args};
use crate::id::OrganizationId;

/// Whether a number was given out in a time that was lost.
pub async fn holds(tx: &mut Tx, organization: &OrganizationId, seq: i64) -> Result<bool, StoreError> {
    let found = tx
        .one(
            "SELECT after_seq FROM feed_gaps WHERE organization_id = $1 AND after_seq < $2 AND until_seq >= $2 LIMIT 1",
            args![organization, seq],
            |row| row.int("after_seq"),
        )
        .await?;
    Ok(found.is_some())
}

//! Things that one transaction at a time may decide although there is no row yet that it is about.

use super::StoreError;
use super::sql::{Tx, args};

/// Takes the turn to found the first organization: whoever else wants it waits until the commit.
pub async fn hold_founding(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run("UPDATE turns SET name = name WHERE name = 'founding'", args![]).await?;
    Ok(())
}

/// Takes the turn to share out the project's minute: two processes that start at once do so one after the other.
pub async fn hold_parts(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run("UPDATE turns SET name = name WHERE name = 'parts'", args![]).await?;
    Ok(())
}

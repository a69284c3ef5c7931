//! The administrator's approval, by evidence only: a grant that succeeded approves, Google's refusal blocks.

use jiff::Timestamp;

use crate::id::OrganizationId;
use crate::store::organizations::{self, Approval};
use crate::store::{StoreError, Tx};

/// Somebody is on the way to Google. Says so unless more is known already.
pub async fn asked(tx: &mut Tx, organization: &OrganizationId, now: Timestamp) -> Result<(), StoreError> {
    let known = organizations::by_id(tx, organization).await?.map(|it| it.approval);
    if known == Some(Approval::Unknown) {
        let evidence = "Somebody went to Google to connect and hasn't come back yet.";
        organizations::set_approval(tx, organization, Approval::Asked, evidence, now).await?;
    }
    Ok(())
}

/// A grant of this organization succeeded.
pub async fn proved(tx: &mut Tx, organization: &OrganizationId, now: Timestamp) -> Result<(), StoreError> {
    let evidence = "Google let somebody of this organization connect.";
    organizations::set_approval(tx, organization, Approval::Approved, evidence, now).await
}

/// A callback says that the administrator blocks Intail. Whoever holds a link can write that into an address, so it
/// never overrules a grant that succeeded; a refused refresh does.
pub async fn said_blocked(tx: &mut Tx, organization: &OrganizationId, now: Timestamp) -> Result<(), StoreError> {
    match organizations::by_id(tx, organization).await?.map(|it| it.approval) {
        Some(Approval::Approved) => Ok(()),
        _ => blocked(tx, organization, now).await,
    }
}

/// Google said that the administrator blocks Intail.
pub async fn blocked(tx: &mut Tx, organization: &OrganizationId, now: Timestamp) -> Result<(), StoreError> {
    let evidence = "Google answered admin_policy_enforced: the administrator's settings keep Intail out.";
    organizations::set_approval(tx, organization, Approval::Blocked, evidence, now).await
}

//! One identity for one person: senders and recipients of mail, attendees of meetings and entries of the directory lead
//! to the same colleague inside an organization, by any of their addresses. Everybody else is who their address says.
//!
//! What a reader must not break: only whom everybody in the organization may see becomes a colleague here. Whom the
//! directory hides stays an address, so that no page tells more of them than the mail that carried it.

use std::collections::BTreeMap;

use crate::id::OrganizationId;
use crate::store::directory_people;
use crate::store::{StoreError, Tx};

/// Addresses that are resolved at once: those of a page of mail, or of a large meeting.
pub const ADDRESSES_MAX: usize = 1_000;

/// Whom an address leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Somebody of the organization.
    Colleague {
        /// Google's id of the account, the same for each of their addresses.
        google_id: String,
        /// Their primary address, lower-case.
        address: String,
        /// Their name; empty when the directory has none.
        name: String,
    },
    /// Somebody else, or somebody whom the directory doesn't show.
    Outsider {
        /// The address, lower-case.
        address: String,
    },
}

impl Identity {
    /// What is the same for all addresses of one person.
    pub fn key(&self) -> &str {
        match self {
            Self::Colleague { google_id, .. } => google_id,
            Self::Outsider { address } => address,
        }
    }
}

/// An address as it is compared.
fn compared(address: &str) -> String {
    address.trim().to_lowercase()
}

/// Who stands behind addresses, by the address as it was given. Beyond [`ADDRESSES_MAX`] nobody is looked up.
pub async fn resolve(
    tx: &mut Tx,
    organization: &OrganizationId,
    addresses: &[&str],
) -> Result<BTreeMap<String, Identity>, StoreError> {
    let mut wanted: Vec<String> = addresses.iter().take(ADDRESSES_MAX).map(|it| compared(it)).collect();
    wanted.sort();
    wanted.dedup();
    let known = directory_people::by_addresses(tx, organization, &wanted).await?;
    let identity = |address: &str| {
        let address = compared(address);
        match known.get(&address).filter(|it| it.is_shown()) {
            Some(it) => Identity::Colleague {
                google_id: it.google_id.clone(),
                address: it.address.clone(),
                name: it.name.clone(),
            },
            None => Identity::Outsider { address },
        }
    };
    Ok(addresses.iter().map(|it| ((*it).to_owned(), identity(it))).collect())
}

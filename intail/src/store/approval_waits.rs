//! People who wanted to connect before their administrator let Intail in, and how a person stands: what pages and live
//! streams watch, in one reading.

use jiff::Timestamp;

use super::StoreError;
use super::grants::GrantState;
use super::organizations::Approval;
use super::sql::{Columns, Tx, args};
use crate::id::{OrganizationId, PersonId};

/// How a person stands: their organization's approval, their grant, and whether they wait for the approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The organization's approval.
    pub approval: Approval,
    /// Since when it is so.
    pub approval_since: Timestamp,
    /// Their grant's state, if they have one.
    pub grant: Option<GrantState>,
    /// Since when they wait for the approval, if they do.
    pub waits_since: Option<Timestamp>,
}

impl Standing {
    /// Both states in one word: when it differs, something that pages show has changed.
    pub fn word(&self) -> String {
        format!("{}.{}", self.approval.word(), self.grant.map_or("none", GrantState::word))
    }

    /// Whether there is a grant that isn't being erased.
    pub fn is_connected(&self) -> bool {
        self.grant.is_some_and(|it| it != GrantState::Left)
    }
}

fn standing(row: &dyn Columns) -> Result<Standing, StoreError> {
    Ok(Standing {
        approval: row.parsed("approval")?,
        approval_since: row.at("approval_since")?,
        grant: row.parsed_or_null("grant_state")?,
        waits_since: row.at_or_null("waits_since")?,
    })
}

/// How a person stands.
pub async fn standing_of(tx: &mut Tx, person: &PersonId) -> Result<Option<Standing>, StoreError> {
    tx.one(
        "SELECT o.approval, o.approval_since, g.state AS grant_state, w.since AS waits_since
         FROM people p JOIN organizations o ON o.id = p.organization_id
             LEFT JOIN grants g ON g.person_id = p.id LEFT JOIN approval_waits w ON w.person_id = p.id
         WHERE p.id = $1",
        args![person],
        standing,
    )
    .await
}

/// Remembers that a person waits for the approval; true if they didn't before.
pub async fn put(
    tx: &mut Tx,
    person: &PersonId,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let added = tx
        .run(
            "INSERT INTO approval_waits (person_id, organization_id, since) VALUES ($1, $2, $3)
             ON CONFLICT (person_id) DO NOTHING",
            args![person, organization, now],
        )
        .await?;
    Ok(added == 1)
}

/// Forgets that a person waits.
pub async fn delete(tx: &mut Tx, person: &PersonId) -> Result<(), StoreError> {
    tx.run("DELETE FROM approval_waits WHERE person_id = $1", args![person]).await?;
    Ok(())
}

/// How many people of an organization wait.
pub async fn count(tx: &mut Tx, organization: &OrganizationId) -> Result<i64, StoreError> {
    let count = tx
        .one("SELECT COUNT(*) AS n FROM approval_waits WHERE organization_id = $1", args![organization], |row| {
            row.int("n")
        })
        .await?;
    Ok(count.unwrap_or(0))
}

/// Forgets the waiting of those whose grant works again by itself.
pub async fn settle(tx: &mut Tx, organization: &OrganizationId) -> Result<u64, StoreError> {
    tx.run(
        "DELETE FROM approval_waits WHERE organization_id = $1 AND person_id IN
             (SELECT person_id FROM grants WHERE organization_id = $1 AND state IN ('active', 'partial'))",
        args![organization],
    )
    .await
}

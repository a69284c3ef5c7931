//! Organizations, the domains they own, and what is known of their administrator's approval.

use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::OrganizationId;

/// An organization that uses Intail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// What people call it.
    pub name: String,
    /// Whether its administrator has let Intail in, by evidence.
    pub approval: Approval,
    /// Since when `approval` holds.
    pub approval_since: Timestamp,
    /// What the evidence was, as a sentence for the administrator.
    pub approval_evidence: String,
    /// How Google's block showed itself, in one word; empty when nothing is known.
    pub approval_way: String,
    /// When a grant of this organization succeeded last.
    pub approved_at: Option<Timestamp>,
    /// Whether people may connect a Workspace account of the organization that isn't the one they sign in with.
    pub secondary_accounts: bool,
    /// Whether people of the organization's domains may join by themselves.
    pub domain_joining: bool,
    /// Whether the operator named who is to administer it first.
    pub administrator_named: bool,
    /// How many days the audit log is kept.
    pub audit_kept_days: i64,
    /// How many days after the directory called an account deleted its person's data is erased.
    pub retention_days: i64,
}

/// The administrator's approval, as far as evidence shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Nobody has tried yet.
    Unknown,
    /// Somebody was sent to Google and hasn't come back, or asked the administrator.
    Asked,
    /// A grant of this organization succeeded.
    Approved,
    /// Google said that the administrator blocks Intail.
    Blocked,
}

impl Approval {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Asked => "asked",
            Self::Approved => "approved",
            Self::Blocked => "blocked",
        }
    }
}

impl FromStr for Approval {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Unknown, Self::Asked, Self::Approved, Self::Blocked].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

fn organization(row: &dyn Columns) -> Result<Organization, StoreError> {
    Ok(Organization {
        id: row.parsed("id")?,
        name: row.text("name")?,
        approval: row.parsed("approval")?,
        approval_since: row.at("approval_since")?,
        approval_evidence: row.text("approval_evidence")?,
        approval_way: row.text("approval_way")?,
        approved_at: row.at_or_null("approved_at")?,
        secondary_accounts: row.boolean("secondary_accounts")?,
        domain_joining: row.boolean("domain_joining")?,
        administrator_named: row.boolean("administrator_named")?,
        audit_kept_days: row.int("audit_kept_days")?,
        retention_days: row.int("retention_days")?,
    })
}

/// Adds an organization that nothing is known of yet.
pub async fn create(tx: &mut Tx, id: &OrganizationId, name: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO organizations (id, name, approval, approval_since, approval_evidence, feed_seq, created_at)
         VALUES ($1, $2, 'unknown', $3, '', 0, $3)",
        args![id, name, now],
    )
    .await?;
    Ok(())
}

/// Gives a domain to an organization. A domain that somebody else owns is a unique violation.
pub async fn add_domain(tx: &mut Tx, id: &OrganizationId, domain: &str) -> Result<(), StoreError> {
    tx.run("INSERT INTO organization_domains (domain, organization_id) VALUES ($1, $2)", args![domain, id]).await?;
    Ok(())
}

/// Changes what people call an organization.
pub async fn rename(tx: &mut Tx, id: &OrganizationId, name: &str) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET name = $2 WHERE id = $1", args![id, name]).await?;
    Ok(())
}

/// Takes a domain from an organization; answers whether it was theirs.
pub async fn remove_domain(tx: &mut Tx, id: &OrganizationId, domain: &str) -> Result<bool, StoreError> {
    let removed = tx
        .run("DELETE FROM organization_domains WHERE organization_id = $1 AND domain = $2", args![id, domain])
        .await?;
    Ok(removed == 1)
}

/// Changes who may join, and how long the audit log is kept.
pub async fn set_policy(
    tx: &mut Tx,
    id: &OrganizationId,
    domain_joining: bool,
    audit_kept_days: i64,
) -> Result<(), StoreError> {
    tx.run(
        "UPDATE organizations SET domain_joining = $2, audit_kept_days = $3 WHERE id = $1",
        args![id, domain_joining, audit_kept_days],
    )
    .await?;
    Ok(())
}

/// Changes how many days after the directory called an account deleted its person's data is erased.
pub async fn set_retention_days(tx: &mut Tx, id: &OrganizationId, days: i64) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET retention_days = $2 WHERE id = $1", args![id, days]).await?;
    Ok(())
}

/// Holds an organization until the commit: what is counted of it from here on stays as it is. One transaction at a time
/// may decide who its administrators are.
pub async fn hold(tx: &mut Tx, id: &OrganizationId) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET name = name WHERE id = $1", args![id]).await?;
    Ok(())
}

/// Takes every domain from an organization; answers how many there were.
pub async fn drop_domains(tx: &mut Tx, id: &OrganizationId) -> Result<u64, StoreError> {
    tx.run("DELETE FROM organization_domains WHERE organization_id = $1", args![id]).await
}

/// The organization with this id.
pub async fn by_id(tx: &mut Tx, id: &OrganizationId) -> Result<Option<Organization>, StoreError> {
    tx.one("SELECT * FROM organizations WHERE id = $1", args![id], organization).await
}

/// The organization that owns a domain (lower-case).
pub async fn by_domain(tx: &mut Tx, domain: &str) -> Result<Option<Organization>, StoreError> {
    tx.one(
        "SELECT o.* FROM organizations o JOIN organization_domains d ON d.organization_id = o.id WHERE d.domain = $1",
        args![domain],
        organization,
    )
    .await
}

/// Every organization, in order of id; `limit` bounds it.
pub async fn list(tx: &mut Tx, limit: i64) -> Result<Vec<Organization>, StoreError> {
    tx.all("SELECT * FROM organizations ORDER BY id LIMIT $1", args![limit], organization).await
}

/// The domains that an organization owns, in order.
pub async fn domains(tx: &mut Tx, id: &OrganizationId) -> Result<Vec<String>, StoreError> {
    tx.all("SELECT domain FROM organization_domains WHERE organization_id = $1 ORDER BY domain", args![id], |row| {
        row.text("domain")
    })
    .await
}

/// Records what the newest evidence says of the approval. `since` moves only when the state does.
pub async fn set_approval(
    tx: &mut Tx,
    id: &OrganizationId,
    approval: Approval,
    evidence: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "UPDATE organizations SET approval = $2, approval_evidence = $3, approval_way = '',
             approved_at = CASE WHEN $2 = 'approved' THEN $4 ELSE approved_at END,
             approval_since = CASE WHEN approval = $2 THEN approval_since ELSE $4 END
         WHERE id = $1",
        args![id, approval.word(), evidence, now],
    )
    .await?;
    Ok(())
}

/// Says how Google's block showed itself, in one word.
pub async fn set_approval_way(tx: &mut Tx, id: &OrganizationId, way: &str) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET approval_way = $2 WHERE id = $1", args![id, way]).await?;
    Ok(())
}

/// Says that the operator named who is to administer an organization first. That outlives the invitation or the link.
pub async fn set_administrator_named(tx: &mut Tx, id: &OrganizationId) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET administrator_named = TRUE WHERE id = $1", args![id]).await?;
    Ok(())
}

/// Says whether people may connect an account of the organization that isn't the one they sign in with.
pub async fn set_secondary_accounts(tx: &mut Tx, id: &OrganizationId, allowed: bool) -> Result<(), StoreError> {
    tx.run("UPDATE organizations SET secondary_accounts = $2 WHERE id = $1", args![id, allowed]).await?;
    Ok(())
}

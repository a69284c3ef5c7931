//! Which grants may read the organization's directory, and as whom. One that was refused is remembered, so that it
//! isn't asked again for a day.

use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{GrantId, OrganizationId};

/// What a grant may see of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// The administrator's view.
    Administrator,
    /// What everybody sees.
    Public,
    /// Nothing: the account belongs to no organization, or its directory is closed to it.
    Nothing,
}

impl Ability {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Public => "public",
            Self::Nothing => "none",
        }
    }
}

impl FromStr for Ability {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Administrator, Self::Public, Self::Nothing].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

/// A grant that works and permits the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The grant.
    pub grant_id: GrantId,
    /// What it may see; none while it wasn't asked since the person connected.
    pub ability: Option<Ability>,
    /// When it was asked last.
    pub asked_at: Option<Timestamp>,
}

fn reader(row: &dyn Columns) -> Result<Reader, StoreError> {
    Ok(Reader {
        grant_id: row.parsed("grant_id")?,
        ability: row.parsed_or_null("ability")?,
        asked_at: row.at_or_null("asked_at")?,
    })
}

/// The grants of an organization that work, aren't suspended and hold `scope`. First the one that reads now
/// (`current`), which must not be forgotten among many; then who is known to see most; then those who weren't asked
/// since `asked_after`, Intail's administrators first and those who connected last next. `limit` bounds it.
pub async fn candidates(
    tx: &mut Tx,
    organization: &OrganizationId,
    scope: &str,
    current: Option<&GrantId>,
    asked_after: Timestamp,
    limit: i64,
) -> Result<Vec<Reader>, StoreError> {
    tx.all(
        "SELECT g.id AS grant_id,
             CASE WHEN r.asked_at >= g.connected_at THEN r.ability END AS ability,
             CASE WHEN r.asked_at >= g.connected_at THEN r.asked_at END AS asked_at
         FROM grants g JOIN people p ON p.id = g.person_id LEFT JOIN directory_readers r ON r.grant_id = g.id
         WHERE g.organization_id = $1 AND g.state IN ('active', 'partial') AND g.suspended_at IS NULL
             AND ' ' || g.scopes || ' ' LIKE $2
         ORDER BY CASE WHEN g.id = $5 THEN 0 ELSE 1 END,
             CASE WHEN r.asked_at >= g.connected_at AND r.ability = 'administrator' THEN 0
                       WHEN r.asked_at IS NULL OR r.asked_at < g.connected_at OR r.asked_at < $3 THEN 1
                       WHEN r.ability = 'public' THEN 2 ELSE 3 END,
             CASE WHEN p.role = 'administrator' THEN 0 ELSE 1 END, g.connected_at DESC, g.id
         LIMIT $4",
        args![organization, format!("% {scope} %"), asked_after, limit, current.map_or("", GrantId::as_str)],
        reader,
    )
    .await
}

/// Whether another grant of the organization holds `scope`, whether it works now or not: what was read under it stays.
pub async fn others_permit(
    tx: &mut Tx,
    organization: &OrganizationId,
    scope: &str,
    except: &GrantId,
) -> Result<bool, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(*) AS n FROM grants WHERE organization_id = $1 AND id <> $3 AND state <> 'left'
                 AND ' ' || scopes || ' ' LIKE $2",
            args![organization, format!("% {scope} %"), except],
            |row| row.int("n"),
        )
        .await?;
    Ok(count.unwrap_or(0) > 0)
}

/// How many grants of an organization were asked since an instant.
pub async fn asked_since(tx: &mut Tx, organization: &OrganizationId, since: Timestamp) -> Result<i64, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(*) AS n FROM directory_readers WHERE organization_id = $1 AND asked_at >= $2",
            args![organization, since],
            |row| row.int("n"),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// Remembers what a grant may see.
pub async fn put(
    tx: &mut Tx,
    organization: &OrganizationId,
    grant: &GrantId,
    ability: Ability,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO directory_readers (grant_id, organization_id, ability, asked_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (grant_id) DO UPDATE SET ability = excluded.ability, asked_at = excluded.asked_at",
        args![grant, organization, ability.word(), now],
    )
    .await?;
    Ok(())
}

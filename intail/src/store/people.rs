//! People who can sign in to Intail.

use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{OrganizationId, PersonId};

/// A person of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Their id.
    pub id: PersonId,
    /// The organization that they belong to.
    pub organization_id: OrganizationId,
    /// Who vouches for them at sign-in.
    pub issuer: String,
    /// Their unchanging id at that issuer.
    pub subject: String,
    /// Their e-mail address as of the last sign-in. Never a key: it may change.
    pub email: String,
    /// Their name as of the last sign-in.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What a person may do in their organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees their own.
    Member,
    /// Also oversees the organization: states and counts, never content.
    Administrator,
    /// Reads everything about the system and nothing about people's data.
    Auditor,
}

impl Role {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Administrator => "administrator",
            Self::Auditor => "auditor",
        }
    }
}

impl FromStr for Role {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Member, Self::Administrator, Self::Auditor].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

pub(super) fn person(row: &dyn Columns) -> Result<Person, StoreError> {
    Ok(Person {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        issuer: row.text("issuer")?,
        subject: row.text("subject")?,
        email: row.text("email")?,
        name: row.text("name")?,
        role: row.parsed("role")?,
    })
}

/// Adds a person.
pub async fn create(tx: &mut Tx, person: &Person, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO people (id, organization_id, issuer, subject, email, name, role, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            &person.id,
            &person.organization_id,
            &person.issuer,
            &person.subject,
            &person.email,
            &person.name,
            person.role.word(),
            now
        ],
    )
    .await?;
    Ok(())
}

/// The person whom an issuer knows by this subject.
pub async fn by_subject(tx: &mut Tx, issuer: &str, subject: &str) -> Result<Option<Person>, StoreError> {
    tx.one("SELECT * FROM people WHERE issuer = $1 AND subject = $2", args![issuer, subject], person).await
}

/// The person with this id.
pub async fn by_id(tx: &mut Tx, id: &PersonId) -> Result<Option<Person>, StoreError> {
    tx.one("SELECT * FROM people WHERE id = $1", args![id], person).await
}

/// Records a sign-in and what the issuer now says of the person.
pub async fn signed_in(tx: &mut Tx, id: &PersonId, email: &str, name: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.run("UPDATE people SET email = $2, name = $3, signed_in_at = $4 WHERE id = $1", args![id, email, name, now])
        .await?;
    Ok(())
}

/// Whether anybody of an organization signed in by this issuer after an instant.
pub async fn somebody_signed_in_since(
    tx: &mut Tx,
    organization: &OrganizationId,
    issuer: &str,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(*) AS n FROM people WHERE organization_id = $1 AND issuer = $2 AND signed_in_at > $3",
            args![organization, issuer, since],
            |row| row.int("n"),
        )
        .await?;
    Ok(count.unwrap_or(0) > 0)
}

/// Changes what a person may do.
pub async fn set_role(tx: &mut Tx, id: &PersonId, role: Role) -> Result<(), StoreError> {
    tx.run("UPDATE people SET role = $2 WHERE id = $1", args![id, role.word()]).await?;
    Ok(())
}

/// The people of an organization, in order of id, after `after`; `limit` bounds it.
pub async fn list(
    tx: &mut Tx,
    organization: &OrganizationId,
    after: Option<&PersonId>,
    limit: i64,
) -> Result<Vec<Person>, StoreError> {
    tx.all(
        "SELECT * FROM people WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        args![organization, after.map_or("", PersonId::as_str), limit],
        person,
    )
    .await
}

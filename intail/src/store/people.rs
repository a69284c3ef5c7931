//! People who can sign in to Intail.

use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::directory_people::like;
use super::failing::is_shown;
use super::quota::GMAIL;
use super::sql::{Columns, Tx, Value, args};
use crate::id::{OrganizationId, PersonId};

/// People with one address, of all organizations, who are looked at.
pub const NAMESAKES_MAX: i64 = 20;

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

impl Person {
    /// Whether they read everything about the system.
    pub fn oversees(&self) -> bool {
        matches!(self.role, Role::Administrator | Role::Auditor)
    }
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Member, Self::Auditor, Self::Administrator];

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

/// Name and address as a search compares them.
fn folded(name: &str, email: &str) -> String {
    format!("{name} {email}").to_lowercase()
}

/// Adds a person.
pub async fn create(tx: &mut Tx, person: &Person, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO people (id, organization_id, issuer, subject, email, name, role, created_at, folded)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            &person.id,
            &person.organization_id,
            &person.issuer,
            &person.subject,
            &person.email,
            &person.name,
            person.role.word(),
            now,
            folded(&person.name, &person.email)
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

/// The people of an organization whom an issuer knows by these subjects. `subjects` are a page of the directory: at
/// most 500.
pub async fn of_accounts(
    tx: &mut Tx,
    organization: &OrganizationId,
    issuer: &str,
    subjects: &[String],
) -> Result<Vec<Person>, StoreError> {
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (3..subjects.len() + 3).map(|n| format!("${n}")).collect();
    let sql = format!(
        "SELECT * FROM people WHERE organization_id = $1 AND issuer = $2 AND subject IN ({}) ORDER BY subject",
        places.join(",")
    );
    let mut values = args![organization, issuer];
    values.extend(subjects.iter().map(Value::from));
    tx.all_built(sql, values, person).await
}

/// Keeps the address that somebody has now.
pub async fn set_email(tx: &mut Tx, person: &Person, email: &str) -> Result<(), StoreError> {
    tx.run(
        "UPDATE people SET email = $2, folded = $3 WHERE id = $1",
        args![&person.id, email, folded(&person.name, email)],
    )
    .await?;
    Ok(())
}

/// Records a sign-in and what the issuer now says of the person.
pub async fn signed_in(tx: &mut Tx, id: &PersonId, email: &str, name: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "UPDATE people SET email = $2, name = $3, signed_in_at = $4, folded = $5 WHERE id = $1",
        args![id, email, name, now, folded(name, email)],
    )
    .await?;
    Ok(())
}

/// Shuts somebody out, because their account was suspended or deleted at Google, as was known at `since`. Whoever has
/// signed in after that is newer.
pub async fn shut_out(tx: &mut Tx, id: &PersonId, since: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE people SET shut_out_at = $2
               WHERE id = $1 AND shut_out_at IS NULL AND (signed_in_at IS NULL OR signed_in_at <= $2)";
    tx.run(sql, args![id, since]).await?;
    Ok(())
}

/// Lets somebody in again who was shut out.
pub async fn let_in(tx: &mut Tx, id: &PersonId) -> Result<(), StoreError> {
    tx.run("UPDATE people SET shut_out_at = NULL WHERE id = $1 AND shut_out_at IS NOT NULL", args![id]).await?;
    Ok(())
}

/// Since when somebody is shut out, if they are.
pub async fn shut_out_since(tx: &mut Tx, id: &PersonId) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT shut_out_at FROM people WHERE id = $1 AND shut_out_at IS NOT NULL";
    tx.one(sql, args![id], |row| row.at("shut_out_at")).await
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

/// How many administrators an organization has who stay: whoever is being removed, and was given the role meanwhile,
/// counts no more.
pub async fn administrators(tx: &mut Tx, organization: &OrganizationId) -> Result<i64, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(*) AS n FROM people WHERE organization_id = $1 AND role = 'administrator' AND NOT EXISTS
                 (SELECT 1 FROM leavings l WHERE l.person_id = people.id AND l.removes_person
                      AND l.step IN ('stop', 'revoke', 'erase'))",
            args![organization],
            |row| row.int("n"),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// The person whom the operator let in by this address (lower-case) and for whom no issuer has vouched yet.
pub async fn unvouched(tx: &mut Tx, email: &str) -> Result<Option<Person>, StoreError> {
    tx.one("SELECT * FROM people WHERE issuer = '' AND LOWER(email) = $1 ORDER BY id LIMIT 1", args![email], person)
        .await
}

/// From now on this issuer knows the person by this subject.
pub async fn vouch(tx: &mut Tx, id: &PersonId, issuer: &str, subject: &str) -> Result<(), StoreError> {
    tx.run("UPDATE people SET issuer = $2, subject = $3 WHERE id = $1", args![id, issuer, subject]).await?;
    Ok(())
}

/// People with this address (lower-case), wherever they belong. `limit` bounds it.
pub async fn by_email(tx: &mut Tx, email: &str, limit: i64) -> Result<Vec<Person>, StoreError> {
    tx.all("SELECT * FROM people WHERE LOWER(email) = $1 ORDER BY id LIMIT $2", args![email, limit], person).await
}

/// Since when somebody is being let go, while their rows aren't all erased.
const LEAVING_SINCE: &str = "(SELECT MIN(l.begun_at) FROM leavings l
    WHERE l.person_id = p.id AND l.step IN ('stop', 'revoke', 'erase'))";

/// Whether Google wants no questions about a mailbox: about this one, or about anybody's. `now` is the statement's
/// place for the instant.
fn is_paused(now: &str) -> String {
    format!(
        "(COALESCE(s.paused_until > {now}, FALSE)
             OR EXISTS (SELECT 1 FROM quota_holds h WHERE h.service = '{GMAIL}' AND h.until_at > {now}))"
    )
}

/// How a person's connection stands, in a word for lists: being let go, suspended by the directory, else the grant's
/// state if somebody has to act, else what holds the mailbox up, else its state. Only what is whole and told of changes
/// is `live`. `now` is the statement's place for the instant.
fn standing(now: &str) -> String {
    format!(
        "CASE WHEN {LEAVING_SINCE} IS NOT NULL THEN 'leaving'
             WHEN g.state IS NULL OR g.state = 'left' THEN 'not_connected'
             WHEN g.suspended_at IS NOT NULL THEN 'suspended'
             WHEN g.state IN ('needs_person', 'needs_administrator', 'needs_operator') THEN g.state
             WHEN s.state IS NULL OR g.scopes NOT LIKE '%/auth/gmail.metadata%' THEN 'no_mail'
             WHEN {} THEN 'paused'
             WHEN {} THEN 'failing'
             WHEN s.state <> 'live' THEN s.state
             WHEN s.watch_expires_at <= {now} THEN 'lapsed'
             WHEN g.state = 'partial' THEN 'partial' ELSE s.state END",
        is_paused(now),
        is_shown(now)
    )
}

/// Since when it stands so: a mailbox is nothing without its grant, and nothing while it is suspended. `now` is the
/// statement's place for the instant.
fn since(now: &str) -> String {
    format!(
        "CASE WHEN {LEAVING_SINCE} IS NOT NULL THEN {LEAVING_SINCE}
             WHEN g.suspended_at IS NOT NULL THEN g.suspended_at
             WHEN g.state IN ('active', 'partial') AND g.scopes LIKE '%/auth/gmail.metadata%' THEN
                 CASE WHEN {} AND NOT {} AND s.failed_since > g.state_since
                          THEN s.failed_since
                      WHEN s.state_since > g.state_since THEN s.state_since ELSE g.state_since END
             ELSE g.state_since END",
        is_shown(now),
        is_paused(now)
    )
}

/// People with what is known of their connection.
const CONNECTED: &str = "people p LEFT JOIN grants g ON g.person_id = p.id LEFT JOIN mailboxes s ON s.grant_id = g.id";

/// A person as lists show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The person.
    pub person: Person,
    /// When they were let in.
    pub created_at: Timestamp,
    /// When they signed in last.
    pub signed_in_at: Option<Timestamp>,
    /// How the connection stands: `not_connected`, `leaving`, `suspended`, `no_mail`, `paused`, `failing`, `lapsed`, a
    /// state of the grant or of the mailbox.
    pub standing: String,
    /// Since when it stands so.
    pub since: Option<Timestamp>,
}

fn listed(row: &dyn Columns) -> Result<Listed, StoreError> {
    Ok(Listed {
        person: person(row)?,
        created_at: row.at("created_at")?,
        signed_in_at: row.at_or_null("signed_in_at")?,
        standing: row.text("standing")?,
        since: row.at_or_null("since")?,
    })
}

/// Whom a search looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// A part of the name or address, in any case; empty for everybody.
    pub words: String,
    /// How the connection stands; empty for all.
    pub standing: String,
}

/// The people of an organization who fit, in order of name, after the person `after`. `limit` bounds it.
pub async fn search(
    tx: &mut Tx,
    organization: &OrganizationId,
    search: &Search,
    after: Option<&PersonId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let (standing, since) = (standing("$6"), since("$6"));
    let sql = format!(
        "SELECT p.*, {since} AS since, {standing} AS standing FROM {CONNECTED}
         WHERE p.organization_id = $1 AND p.folded LIKE $2 ESCAPE '!' AND ($3 = '' OR {standing} = $3)
             AND ($4 = '' OR (p.folded, p.id) >
                 (SELECT a.folded, a.id FROM people a WHERE a.id = $4 AND a.organization_id = $1))
         ORDER BY p.folded, p.id LIMIT $5"
    );
    let after = after.map_or("", PersonId::as_str);
    let values = args![organization, like(&search.words.to_lowercase()), &search.standing, after, limit, now];
    tx.all_built(sql, values, listed).await
}

/// A person of an organization, with how their connection stands.
pub async fn one(
    tx: &mut Tx,
    organization: &OrganizationId,
    id: &PersonId,
    now: Timestamp,
) -> Result<Option<Listed>, StoreError> {
    let (standing, since) = (standing("$3"), since("$3"));
    let sql = format!(
        "SELECT p.*, {since} AS since, {standing} AS standing FROM {CONNECTED}
         WHERE p.organization_id = $1 AND p.id = $2"
    );
    Ok(tx.all_built(sql, args![organization, id, now], listed).await?.pop())
}

/// How many people of an organization stand how.
pub async fn count_by_standing(
    tx: &mut Tx,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<Vec<(String, i64)>, StoreError> {
    let standing = standing("$2");
    let sql = format!(
        "SELECT standing, COUNT(*) AS n FROM
             (SELECT {standing} AS standing FROM {CONNECTED} WHERE p.organization_id = $1) t
         GROUP BY standing ORDER BY standing"
    );
    tx.all_built(sql, args![organization, now], |row| Ok((row.text("standing")?, row.int("n")?))).await
}

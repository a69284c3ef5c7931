//! The people of an organization as its directory tells of them, with every address that leads to them. One row for
//! each person and organization, whoever's grant read it. What a reader must not break: rows that aren't listed are for
//! following who is suspended or deleted; nothing that everybody may read shows them.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use unicode_normalization::UnicodeNormalization as _;

use super::StoreError;
use super::sql::{Columns, Tx, Value, args};
use crate::id::{OrganizationId, PersonId};

/// Values of one address's row.
const ADDRESS_VALUES: usize = 4;
/// Words of a search that are looked at; more than anybody types.
const WORDS_MAX: usize = 8;
/// A day, in the microseconds of instants.
const DAY_US: i64 = 24 * 3_600_000_000;

/// Which of Google's views told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The administrator's: everybody, with what only administrators see.
    Administrator,
    /// What everybody in the organization may see.
    Public,
}

impl View {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Public => "public",
        }
    }
}

impl FromStr for View {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Administrator, Self::Public].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

/// A person of the directory. Every text may be empty: Google promises no field but the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryPerson {
    /// Google's id of the account: the `sub` of its sign-ins, too. Stays when the address changes.
    pub google_id: String,
    /// The primary address, lower-case.
    pub address: String,
    /// The whole name, in the organization's order.
    pub name: String,
    /// The given name.
    pub given_name: String,
    /// The family name.
    pub family_name: String,
    /// The post.
    pub title: String,
    /// The department.
    pub department: String,
    /// The manager's address, lower-case.
    pub manager_address: String,
    /// Telephone numbers, as they were written.
    pub phones: Vec<String>,
    /// Other addresses, lower-case, in order.
    pub aliases: Vec<String>,
    /// Where Google has their picture.
    pub photo_url: String,
    /// Whether everybody in the organization may see them, or administrators only.
    pub is_listed: bool,
    /// Whether an administrator suspended them; none where nobody who could tell was asked.
    pub suspended: Option<bool>,
    /// Whether an administrator archived them.
    pub archived: Option<bool>,
    /// Whether they administrate at Google, wholly or in part.
    pub is_administrator: Option<bool>,
    /// Which view told this last.
    pub view: View,
    /// Google's tag of what was told; empty when it gave none.
    pub etag: String,
    /// The last pass that saw or missed them.
    pub pass: i64,
    /// How many complete passes in a row missed them.
    pub misses: i64,
    /// When they were first seen.
    pub added_at: Timestamp,
    /// When they were last seen.
    pub seen_at: Timestamp,
    /// Since when an administrator's view calls them deleted.
    pub deleted_at: Option<Timestamp>,
    /// Since when they count as gone: deleted, or missed often enough.
    pub gone_at: Option<Timestamp>,
}

impl DirectoryPerson {
    /// Whether everybody in the organization sees them now.
    pub fn is_shown(&self) -> bool {
        self.is_listed && self.gone_at.is_none()
    }

    /// Every address that leads to them, the primary one first.
    pub fn addresses(&self) -> Vec<&str> {
        let primary = Some(self.address.as_str()).filter(|it| !it.is_empty());
        primary.into_iter().chain(self.aliases.iter().map(String::as_str)).collect()
    }

    /// What a search compares.
    fn folded(&self) -> String {
        let parts = [&self.name, &self.address, &self.title, &self.department, &self.aliases.join(" ")];
        compared(&parts.map(String::as_str).join(" "))
    }
}

/// A text as searches compare it: small, without the accents of Latin, Greek and Cyrillic letters, and with two letters
/// for those that are two in one. Marks of other scripts stay: without them their words would be others.
fn compared(text: &str) -> String {
    let small = text.to_lowercase();
    let is_accent = |letter: &char| ('\u{300}'..='\u{36f}').contains(letter);
    let mut plain = String::with_capacity(small.len());
    for letter in small.nfd().filter(|it| !is_accent(it)).nfc() {
        match letter {
            'ß' => plain.push_str("ss"),
            'æ' => plain.push_str("ae"),
            'œ' => plain.push_str("oe"),
            'þ' => plain.push_str("th"),
            'ø' => plain.push('o'),
            'đ' | 'ð' => plain.push('d'),
            'ł' => plain.push('l'),
            'ħ' => plain.push('h'),
            'ı' => plain.push('i'),
            other => plain.push(other),
        }
    }
    plain
}

pub(super) fn directory_person(row: &dyn Columns) -> Result<DirectoryPerson, StoreError> {
    Ok(DirectoryPerson {
        google_id: row.text("google_id")?,
        address: row.text("address")?,
        name: row.text("name")?,
        given_name: row.text("given_name")?,
        family_name: row.text("family_name")?,
        title: row.text("title")?,
        department: row.text("department")?,
        manager_address: row.text("manager_address")?,
        phones: list(row, "phones")?,
        aliases: list(row, "aliases")?,
        photo_url: row.text("photo_url")?,
        is_listed: row.boolean("is_listed")?,
        suspended: row.boolean_or_null("suspended")?,
        archived: row.boolean_or_null("archived")?,
        is_administrator: row.boolean_or_null("is_administrator")?,
        view: row.parsed("view")?,
        etag: row.text("etag")?,
        pass: row.int("pass")?,
        misses: row.int("misses")?,
        added_at: row.at("added_at")?,
        seen_at: row.at("seen_at")?,
        deleted_at: row.at_or_null("deleted_at")?,
        gone_at: row.at_or_null("gone_at")?,
    })
}

fn list(row: &dyn Columns, column: &'static str) -> Result<Vec<String>, StoreError> {
    let text = row.text(column)?;
    serde_json::from_str(&text).map_err(|_| StoreError::Inconsistent { column, value: text })
}

fn to_json(list: &[String]) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

/// Writes a person whole, and the addresses that lead to them.
pub async fn put(
    tx: &mut Tx,
    organization: &OrganizationId,
    person: &DirectoryPerson,
    before: Option<&DirectoryPerson>,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO directory_people (organization_id, google_id, address, name, given_name, family_name, title,
             department, manager_address, phones, aliases, photo_url, is_listed, suspended, archived,
             is_administrator, view, etag, pass, misses, added_at, seen_at, deleted_at, gone_at, folded)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
             $23, $24, $25)
         ON CONFLICT (organization_id, google_id) DO UPDATE SET address = excluded.address, name = excluded.name,
             given_name = excluded.given_name, family_name = excluded.family_name, title = excluded.title,
             department = excluded.department, manager_address = excluded.manager_address, phones = excluded.phones,
             aliases = excluded.aliases, photo_url = excluded.photo_url, is_listed = excluded.is_listed,
             suspended = excluded.suspended, archived = excluded.archived,
             is_administrator = excluded.is_administrator, view = excluded.view, etag = excluded.etag,
             pass = excluded.pass, misses = excluded.misses, seen_at = excluded.seen_at,
             deleted_at = excluded.deleted_at, gone_at = excluded.gone_at, folded = excluded.folded",
        args![
            organization,
            &person.google_id,
            &person.address,
            &person.name,
            &person.given_name,
            &person.family_name,
            &person.title,
            &person.department,
            &person.manager_address,
            to_json(&person.phones),
            to_json(&person.aliases),
            &person.photo_url,
            person.is_listed,
            person.suspended,
            person.archived,
            person.is_administrator,
            person.view.word(),
            &person.etag,
            person.pass,
            person.misses,
            person.added_at,
            person.seen_at,
            person.deleted_at,
            person.gone_at,
            person.folded()
        ],
    )
    .await?;
    if before.is_some_and(|it| it.addresses() == person.addresses()) {
        return Ok(());
    }
    tx.run(
        "DELETE FROM directory_aliases WHERE organization_id = $1 AND google_id = $2",
        args![organization, &person.google_id],
    )
    .await?;
    let addresses = person.addresses();
    if addresses.is_empty() {
        return Ok(());
    }
    let mut values: Vec<Value> = Vec::with_capacity(addresses.len() * ADDRESS_VALUES);
    for address in &addresses {
        values.extend(args![organization, *address, &person.google_id, *address == person.address]);
    }
    let into = "directory_aliases (organization_id, address, google_id, is_primary)";
    tx.insert(into, ADDRESS_VALUES, values, "ON CONFLICT DO NOTHING").await
}

/// Marks those whom a pass has seen again, unchanged.
pub async fn seen(
    tx: &mut Tx,
    organization: &OrganizationId,
    ids: &[String],
    pass: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE directory_people SET pass = $2, misses = 0, seen_at = $3
         WHERE organization_id = $1 AND google_id IN ({among})";
    tx.run_among(sql, args![organization, pass, now], ids).await?;
    Ok(())
}

/// The person with this id of Google's.
pub async fn by_id(
    tx: &mut Tx,
    organization: &OrganizationId,
    google_id: &str,
) -> Result<Option<DirectoryPerson>, StoreError> {
    tx.one(
        "SELECT * FROM directory_people WHERE organization_id = $1 AND google_id = $2",
        args![organization, google_id],
        directory_person,
    )
    .await
}

/// Those of these people who are known, by id.
pub async fn by_ids(
    tx: &mut Tx,
    organization: &OrganizationId,
    ids: &[String],
) -> Result<BTreeMap<String, DirectoryPerson>, StoreError> {
    let sql = "SELECT * FROM directory_people WHERE organization_id = $1 AND google_id IN ({among})";
    let found = tx.all_among(sql, args![organization], ids, directory_person).await?;
    Ok(found.into_iter().map(|it| (it.google_id.clone(), it)).collect())
}

/// Whom these addresses (lower-case) lead to: the address and the person. An address that two people claim leads to
/// whose primary one it is, and else to who was seen last.
pub async fn by_addresses(
    tx: &mut Tx,
    organization: &OrganizationId,
    addresses: &[String],
) -> Result<BTreeMap<String, DirectoryPerson>, StoreError> {
    let sql = "SELECT d.*, a.address AS by_address FROM directory_aliases a
         JOIN directory_people d ON d.organization_id = a.organization_id AND d.google_id = a.google_id
         WHERE a.organization_id = $1 AND a.address IN ({among}) AND d.gone_at IS NULL
         ORDER BY a.is_primary, d.seen_at, d.google_id";
    let read = |row: &dyn Columns| Ok((row.text("by_address")?, directory_person(row)?));
    // The best comes last, and stays.
    Ok(tx.all_among(sql, args![organization], addresses, read).await?.into_iter().collect())
}

/// Those whom a complete pass hasn't seen and who aren't gone yet, in order of id. `limit` bounds it.
pub async fn unseen(
    tx: &mut Tx,
    organization: &OrganizationId,
    pass: i64,
    limit: i64,
) -> Result<Vec<DirectoryPerson>, StoreError> {
    tx.all(
        "SELECT * FROM directory_people
         WHERE organization_id = $1 AND pass < $2 AND gone_at IS NULL ORDER BY google_id LIMIT $3",
        args![organization, pass, limit],
        directory_person,
    )
    .await
}

/// How many people a pass hasn't seen, whether they were looked at for it already or not, and how many there are: of
/// those who aren't gone and whom this view could show.
pub async fn count_missed(
    tx: &mut Tx,
    organization: &OrganizationId,
    view: View,
    pass: i64,
) -> Result<(i64, i64), StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(CASE WHEN pass < $2 OR misses > 0 THEN 1 END) AS missed, COUNT(*) AS n
             FROM directory_people WHERE organization_id = $1 AND gone_at IS NULL AND (is_listed OR $3)",
            args![organization, pass, view == View::Administrator],
            |row| Ok((row.int("missed")?, row.int("n")?)),
        )
        .await?;
    Ok(count.unwrap_or_default())
}

/// Begins to count anew how often somebody was missed: another view is read from now on, and it may see others.
pub async fn forget_misses(tx: &mut Tx, organization: &OrganizationId) -> Result<(), StoreError> {
    tx.run("UPDATE directory_people SET misses = 0 WHERE organization_id = $1 AND misses > 0", args![organization])
        .await?;
    Ok(())
}

/// How many people a directory has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryCount {
    /// Whom everybody sees.
    pub shown: i64,
    /// Whom administrators only see.
    pub unlisted: i64,
}

/// How many people the directory has now.
pub async fn count(tx: &mut Tx, organization: &OrganizationId) -> Result<DirectoryCount, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(CASE WHEN is_listed THEN 1 END) AS shown,
                 COUNT(CASE WHEN NOT is_listed THEN 1 END) AS unlisted
             FROM directory_people WHERE organization_id = $1 AND gone_at IS NULL",
            args![organization],
            |row| Ok(DirectoryCount { shown: row.int("shown")?, unlisted: row.int("unlisted")? }),
        )
        .await?;
    Ok(count.unwrap_or_default())
}

/// People in order of name.
const BY_NAME: &str = "folded, google_id";

/// Of an organization (`$1`), whoever comes behind a person (`$2`) in this order: all if that is empty, or if that
/// person was erased meanwhile.
fn behind(order: &str) -> String {
    format!(
        "($2 = '' OR ({order}) > (SELECT {order} FROM directory_people
             WHERE organization_id = $1 AND google_id = $2)
             OR NOT EXISTS (SELECT 1 FROM directory_people b WHERE b.organization_id = $1 AND b.google_id = $2))"
    )
}

/// The people whom everybody sees and whom all of these words fit, after the person `after`: first whose name begins
/// with the first word, then where it begins a word, then the others, each in order of name. Without words, all. If
/// that person was erased meanwhile, from the beginning: nobody is left out. `limit` bounds it.
pub async fn search(
    tx: &mut Tx,
    organization: &OrganizationId,
    words: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<DirectoryPerson>, StoreError> {
    let words: Vec<String> = compared(words).split_whitespace().take(WORDS_MAX).map(escaped).collect();
    let fits: String = (0..words.len()).map(|at| format!(" AND folded LIKE ${} ESCAPE '!'", at + 4)).collect();
    let mut values = args![organization, after.unwrap_or_default(), limit];
    values.extend(words.iter().map(|word| Value::from(format!("%{word}%"))));
    let mut order = BY_NAME.to_owned();
    if let Some(first) = words.first() {
        let next = values.len() + 1;
        order = format!(
            "CASE WHEN folded LIKE ${next} ESCAPE '!' THEN 0
                 WHEN folded LIKE ${} ESCAPE '!' THEN 1 ELSE 2 END, {order}",
            next + 1
        );
        values.extend([format!("{first}%"), format!("% {first}%")].map(Value::from));
    }
    let sql = format!(
        "SELECT * FROM directory_people
         WHERE organization_id = $1 AND is_listed AND gone_at IS NULL{fits} AND {}
         ORDER BY {order} LIMIT $3",
        behind(&order)
    );
    tx.all_built(sql, values, directory_person).await
}

/// Where somebody stands who is looked for one after the other: the organization and the person.
pub(super) type Spot = (String, String);

/// Of the people behind `after`, some whose searched text has letters beyond the plain ones and was written by an
/// Intail that folded otherwise: each with that text. Plain letters are the same however they were folded. Answers up
/// to where it looked, too; none once that was the end. `limit` bounds it.
pub(super) async fn folded_otherwise(
    tx: &mut Tx,
    after: &Spot,
    limit: i64,
) -> Result<Option<(Vec<(Spot, String)>, Spot)>, StoreError> {
    let some = tx
        .all(
            "SELECT * FROM directory_people
             WHERE (organization_id, google_id) > ($1, $2) AND OCTET_LENGTH(folded) <> LENGTH(folded)
             ORDER BY organization_id, google_id LIMIT $3",
            args![&after.0, &after.1, limit],
            |row| {
                let person = directory_person(row)?;
                let (written, wanted) = (row.text("folded")?, person.folded());
                let otherwise = Some(written).filter(|it| *it != wanted);
                Ok(((row.text("organization_id")?, person.google_id), otherwise))
            },
        )
        .await?;
    let Some((last, _)) = some.last().cloned() else { return Ok(None) };
    let otherwise = some.into_iter().filter_map(|(spot, written)| Some((spot, written?))).collect();
    Ok(Some((otherwise, last)))
}

/// Folds somebody's searched text anew, if it still is this one.
pub(super) async fn fold_again(tx: &mut Tx, (organization, id): &Spot, written: &str) -> Result<(), StoreError> {
    let found = tx
        .one(
            "SELECT * FROM directory_people WHERE organization_id = $1 AND google_id = $2",
            args![organization, id],
            directory_person,
        )
        .await?;
    let Some(person) = found else { return Ok(()) };
    tx.run(
        "UPDATE directory_people SET folded = $4 WHERE organization_id = $1 AND google_id = $2 AND folded = $3",
        args![organization, id, written, person.folded()],
    )
    .await?;
    Ok(())
}

/// Of an organization (`$1`), whom everybody sees, whose account can sign in, and who never did: neither the issuer of
/// the directory's accounts (`$2`) nor anybody else has vouched for them here, and nobody connected their account.
const NEVER_CAME: &str = "FROM directory_people d
         WHERE d.organization_id = $1 AND d.is_listed AND d.gone_at IS NULL AND d.address <> ''
             AND d.suspended IS NOT TRUE AND d.archived IS NOT TRUE
             AND d.google_id NOT IN (SELECT p.subject FROM people p WHERE p.organization_id = $1 AND p.issuer = $2)
             AND d.google_id NOT IN (SELECT g.google_subject FROM grants g WHERE g.organization_id = $1)
             AND d.address NOT IN (SELECT LOWER(p.email) FROM people p WHERE p.organization_id = $1)";

/// The people of the directory who never came to Intail, in order of name. `issuer` is whose ids the directory has;
/// `limit` bounds it.
pub async fn never_came(
    tx: &mut Tx,
    organization: &OrganizationId,
    issuer: &str,
    limit: i64,
) -> Result<Vec<DirectoryPerson>, StoreError> {
    let sql = format!("SELECT d.* {NEVER_CAME} ORDER BY d.folded, d.google_id LIMIT $3");
    tx.all_built(sql, args![organization, issuer, limit], directory_person).await
}

/// How many people of the directory never came to Intail.
pub async fn count_never_came(tx: &mut Tx, organization: &OrganizationId, issuer: &str) -> Result<i64, StoreError> {
    let sql = format!("SELECT COUNT(*) AS n {NEVER_CAME}");
    let counts = tx.all_built(sql, args![organization, issuer], |row| row.int("n")).await?;
    Ok(counts.into_iter().sum())
}

/// A word as LIKE takes it for itself, anywhere in a text.
pub(super) fn like(word: &str) -> String {
    format!("%{}%", escaped(word))
}

fn escaped(word: &str) -> String {
    word.chars()
        .flat_map(|letter| ['%', '_', '!'].contains(&letter).then_some('!').into_iter().chain([letter]))
        .collect()
}

/// The people whom everybody sees and whose manager has one of these addresses, in order of name, after the person
/// `after`; if that one was erased meanwhile, from the beginning. `limit` bounds it.
pub async fn reports(
    tx: &mut Tx,
    organization: &OrganizationId,
    addresses: &[&str],
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<DirectoryPerson>, StoreError> {
    let sql = format!(
        "SELECT * FROM directory_people
         WHERE organization_id = $1 AND is_listed AND gone_at IS NULL AND manager_address IN ({{among}}) AND {}
         ORDER BY {BY_NAME} LIMIT $3",
        behind(BY_NAME)
    );
    let values = args![organization, after.unwrap_or_default(), limit];
    tx.all_among(&sql, values, addresses, directory_person).await
}

/// How many people whom everybody sees have a manager with each of these addresses; none stands for nobody. Whoever
/// manages themselves doesn't count.
pub async fn count_reports(
    tx: &mut Tx,
    organization: &OrganizationId,
    addresses: &[&str],
) -> Result<BTreeMap<String, i64>, StoreError> {
    let sql = "SELECT manager_address, COUNT(*) AS n FROM directory_people
         WHERE organization_id = $1 AND is_listed AND gone_at IS NULL AND address <> manager_address
             AND manager_address IN ({among}) GROUP BY manager_address";
    let read = |row: &dyn Columns| Ok((row.text("manager_address")?, row.int("n")?));
    Ok(tx.all_among(sql, args![organization], addresses, read).await?.into_iter().collect())
}

/// The people whom everybody sees and above whom stands nobody whom everybody sees, in order of name, after the person
/// `after`; if that one was erased meanwhile, from the beginning. People who manage each other in a circle aren't among
/// them. `limit` bounds it. One subquery within the other, because a join of the two is planned from the wrong end.
pub async fn tops(
    tx: &mut Tx,
    organization: &OrganizationId,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<DirectoryPerson>, StoreError> {
    let sql = format!(
        "SELECT * FROM directory_people
         WHERE organization_id = $1 AND is_listed AND gone_at IS NULL AND {}
             AND (manager_address = '' OR NOT EXISTS (
                 SELECT 1 FROM directory_aliases s
                 WHERE s.organization_id = $1 AND s.address = directory_people.manager_address
                     AND s.google_id <> directory_people.google_id
                     AND EXISTS (SELECT 1 FROM directory_people m WHERE m.organization_id = $1
                         AND m.google_id = s.google_id AND m.is_listed AND m.gone_at IS NULL)))
         ORDER BY {BY_NAME} LIMIT $3",
        behind(BY_NAME)
    );
    tx.all_built(sql, args![organization, after.unwrap_or_default(), limit], directory_person).await
}

/// Somebody who is to leave because the directory called their account deleted long enough ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Who.
    pub person_id: PersonId,
    /// Whether it is the account that they connected; else it is the one that they sign in with.
    pub is_connected: bool,
    /// Whether it is the account that they sign in with.
    pub signs_in: bool,
}

/// People whose account was called deleted longer ago than their organization keeps, and who aren't leaving yet.
/// `issuer` is Google's at sign-ins. `limit` bounds it.
pub async fn overdue(
    tx: &mut Tx,
    issuer: &str,
    after: Option<&PersonId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Overdue>, StoreError> {
    tx.all(
        "SELECT p.id AS person_id,
             COUNT(CASE WHEN g.google_subject = d.google_id THEN 1 END) > 0 AS is_connected,
             COUNT(CASE WHEN p.issuer = $1 AND p.subject = d.google_id THEN 1 END) > 0 AS signs_in
         FROM directory_people d
             JOIN organizations o ON o.id = d.organization_id
             JOIN people p ON p.organization_id = d.organization_id
             LEFT JOIN grants g ON g.person_id = p.id
         WHERE d.deleted_at IS NOT NULL AND d.deleted_at + o.retention_days * $3 <= $2
             AND (g.google_subject = d.google_id OR (p.issuer = $1 AND p.subject = d.google_id))
             AND NOT EXISTS (SELECT 1 FROM leavings l WHERE l.person_id = p.id) AND p.id > $5
         GROUP BY p.id ORDER BY p.id LIMIT $4",
        args![issuer, now, DAY_US, limit, after.map_or("", PersonId::as_str)],
        |row| {
            Ok(Overdue {
                person_id: row.parsed("person_id")?,
                is_connected: row.boolean("is_connected")?,
                signs_in: row.boolean("signs_in")?,
            })
        },
    )
    .await
}

/// Erases those who went longer ago than their organization keeps, with what the feed told of them. Answers how many.
/// `limit` bounds it.
pub async fn erase_gone(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let gone = tx
        .all(
            "SELECT d.organization_id, d.google_id FROM directory_people d
             JOIN organizations o ON o.id = d.organization_id
             WHERE d.gone_at IS NOT NULL AND d.gone_at + o.retention_days * $2 <= $1
                 AND NOT EXISTS (SELECT 1 FROM grants g
                     WHERE g.organization_id = d.organization_id AND g.google_subject = d.google_id)
             ORDER BY d.organization_id, d.google_id LIMIT $3",
            args![now, DAY_US, limit],
            |row| Ok((row.text("organization_id")?, row.text("google_id")?)),
        )
        .await?;
    for (organization, id) in &gone {
        for table in ["directory_aliases", "directory_people"] {
            let sql = format!("DELETE FROM {table} WHERE organization_id = $1 AND google_id = $2");
            tx.run_built(sql, args![organization, id]).await?;
        }
        // Whoever folds the feed ends with the same: they came and went.
        tx.run(
            "DELETE FROM changes WHERE organization_id = $1 AND person_id = '' AND subject_id = $2",
            args![organization, id],
        )
        .await?;
    }
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

//! Privacy: what may be kept of people's mail. An organization's floor and each person's own choice are kept as they
//! were set; beside each mailbox stands how far what is stored follows them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::messages::SubjectForm;
use super::sql::{Columns, Tx, args};
use crate::id::{MailboxId, OrganizationId, PersonId};

/// What may be kept. Without anything in it, everything may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How subjects are kept.
    pub subject: SubjectForm,
    /// Ids of labels whose messages are left out.
    pub labels: BTreeSet<String>,
    /// Names of labels, in lower case: whoever has a label of that name, or one below it.
    pub label_names: BTreeSet<String>,
    /// Addresses from and to which nothing is kept, in lower case.
    pub addresses: BTreeSet<String>,
    /// Domains from and to which nothing is kept, with everything below them, in lower case and as `xn--`.
    pub domains: BTreeSet<String>,
    /// Whether only the time is kept of events that are private.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub busy_only: bool,
}

/// How far what is stored of a mailbox follows its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The rules that every stored message follows.
    pub applied: Policy,
    /// The rules that are being applied now.
    pub target: Option<Policy>,
    /// The message after which to go on.
    pub place: String,
    /// What was loosened since everything was last read under the rules.
    pub looser: Looser,
    /// Whether the person asked to read that again.
    pub rereading: bool,
}

/// What was loosened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looser {
    /// Messages with some label may be kept again.
    pub labels: bool,
    /// Messages from or to somebody may be kept again.
    pub parties: bool,
    /// Subjects may be kept again.
    pub subject: bool,
}

/// Everything that decides what may be kept of one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The organization's floor.
    pub floor: Policy,
    /// The person's own choice.
    pub own: Policy,
    /// What hidden subjects are tagged with, sealed; none until somebody hides subjects.
    pub key_sealed: Option<String>,
    /// How far what is stored follows them.
    pub work: Work,
    /// Whether any message is left out now.
    pub has_exclusions: bool,
}

fn settings(row: &dyn Columns) -> Result<Settings, StoreError> {
    Ok(Settings {
        floor: policy(row, "floor")?.unwrap_or_default(),
        own: policy(row, "own")?.unwrap_or_default(),
        key_sealed: row.text_or_null("key_sealed")?,
        work: Work {
            applied: policy(row, "applied")?.unwrap_or_default(),
            target: policy(row, "target")?,
            place: row.text_or_null("place")?.unwrap_or_default(),
            looser: Looser {
                labels: row.boolean("looser_labels")?,
                parties: row.boolean("looser_parties")?,
                subject: row.boolean("looser_subject")?,
            },
            rereading: row.boolean("rereading")?,
        },
        has_exclusions: row.boolean("has_exclusions")?,
    })
}

fn policy(row: &dyn Columns, column: &'static str) -> Result<Option<Policy>, StoreError> {
    // Not with what it holds: that would be people's addresses in the log.
    let unreadable = |_| StoreError::Inconsistent { column, value: "a policy that can't be read".to_owned() };
    row.text_or_null(column)?.map(|text| serde_json::from_str(&text).map_err(unreadable)).transpose()
}

fn to_json(policy: &Policy) -> String {
    serde_json::to_string(policy).unwrap_or_default()
}

/// What decides about a mailbox.
pub async fn of_mailbox(tx: &mut Tx, mailbox: &MailboxId) -> Result<Settings, StoreError> {
    let found = tx
        .one(
            "SELECT f.policy AS floor, c.policy AS own, k.key_sealed, w.applied, w.target, w.place,
                 COALESCE(w.looser_labels, FALSE) AS looser_labels, COALESCE(w.looser_parties, FALSE) AS looser_parties,
                 COALESCE(w.looser_subject, FALSE) AS looser_subject, COALESCE(w.rereading, FALSE) AS rereading,
                 EXISTS (SELECT 1 FROM exclusions e WHERE e.mailbox_id = m.id) AS has_exclusions
             FROM mailboxes m
             LEFT JOIN privacy_floors f ON f.organization_id = m.organization_id
             LEFT JOIN privacy_choices c ON c.person_id = m.person_id
             LEFT JOIN privacy_keys k ON k.organization_id = m.organization_id
             LEFT JOIN privacy_work w ON w.mailbox_id = m.id
             WHERE m.id = $1",
            args![mailbox],
            settings,
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// The rules that everything follows which is stored of an organization's mailboxes, one for each, in the order of
/// their ids. `limit` bounds it.
pub async fn applied(
    tx: &mut Tx,
    organization: &OrganizationId,
    limit: i64,
) -> Result<Vec<(MailboxId, Policy)>, StoreError> {
    tx.all(
        "SELECT m.id, w.applied FROM mailboxes m LEFT JOIN privacy_work w ON w.mailbox_id = m.id
         WHERE m.organization_id = $1 ORDER BY m.id LIMIT $2",
        args![organization, limit],
        |row| Ok((row.parsed("id")?, policy(row, "applied")?.unwrap_or_default())),
    )
    .await
}

/// Of how many of an organization's people calendars are copied, and of how many of them more than the times is kept of
/// private events.
pub async fn count_of_private_events(tx: &mut Tx, organization: &OrganizationId) -> Result<(i64, i64), StoreError> {
    let counts = tx
        .one(
            "SELECT COUNT(*) AS n, COALESCE(SUM(CASE WHEN busy_only THEN 0 ELSE 1 END), 0) AS plain
             FROM agendas WHERE organization_id = $1",
            args![organization],
            |row| Ok((row.int("n")?, row.int("plain")?)),
        )
        .await?;
    Ok(counts.unwrap_or_default())
}

/// An organization's floor.
pub async fn floor(tx: &mut Tx, organization: &OrganizationId) -> Result<Policy, StoreError> {
    let found = tx
        .one("SELECT policy FROM privacy_floors WHERE organization_id = $1", args![organization], |row| {
            policy(row, "policy")
        })
        .await?;
    Ok(found.flatten().unwrap_or_default())
}

/// Sets an organization's floor.
pub async fn put_floor(
    tx: &mut Tx,
    organization: &OrganizationId,
    floor: &Policy,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO privacy_floors (organization_id, policy, since) VALUES ($1, $2, $3)
         ON CONFLICT (organization_id) DO UPDATE SET policy = excluded.policy, since = excluded.since",
        args![organization, to_json(floor), now],
    )
    .await?;
    Ok(())
}

/// A person's own choice.
pub async fn choice(tx: &mut Tx, person: &PersonId) -> Result<Policy, StoreError> {
    let found = tx
        .one("SELECT policy FROM privacy_choices WHERE person_id = $1", args![person], |row| policy(row, "policy"))
        .await?;
    Ok(found.flatten().unwrap_or_default())
}

/// Whether only the times are kept of a person's private events: the organization or the person wants it so.
pub async fn wants_busy_only(
    tx: &mut Tx,
    organization: &OrganizationId,
    person: &PersonId,
) -> Result<bool, StoreError> {
    Ok(floor(tx, organization).await?.busy_only || choice(tx, person).await?.busy_only)
}

/// Sets a person's own choice. It stays when they disconnect, so that it holds when they connect again.
pub async fn put_choice(
    tx: &mut Tx,
    organization: &OrganizationId,
    person: &PersonId,
    choice: &Policy,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO privacy_choices (person_id, organization_id, policy, since) VALUES ($1, $2, $3, $4)
         ON CONFLICT (person_id) DO UPDATE SET policy = excluded.policy, since = excluded.since",
        args![person, organization, to_json(choice), now],
    )
    .await?;
    Ok(())
}

/// Forgets a person's own choice: they chose nothing, or are being erased.
pub async fn forget_choice(tx: &mut Tx, person: &PersonId) -> Result<(), StoreError> {
    tx.run("DELETE FROM privacy_choices WHERE person_id = $1", args![person]).await?;
    Ok(())
}

/// What an organization's hidden subjects are tagged with, sealed.
pub async fn key(tx: &mut Tx, organization: &OrganizationId) -> Result<Option<String>, StoreError> {
    tx.one("SELECT key_sealed FROM privacy_keys WHERE organization_id = $1", args![organization], |row| {
        row.text("key_sealed")
    })
    .await
}

/// Gives an organization its key, unless it has one: another key would part subjects that are equal.
pub async fn put_key(
    tx: &mut Tx,
    organization: &OrganizationId,
    key_sealed: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO privacy_keys (organization_id, key_sealed, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (organization_id) DO NOTHING",
        args![organization, key_sealed, now],
    )
    .await?;
    Ok(())
}

/// Writes how far what is stored follows the rules. Only the holder of the mailbox's lease may.
pub async fn put_work(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    work: &Work,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO privacy_work (mailbox_id, organization_id, applied, target, place, looser_labels, looser_parties,
             looser_subject, rereading)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (mailbox_id) DO UPDATE SET applied = excluded.applied, target = excluded.target,
             place = excluded.place, looser_labels = excluded.looser_labels, looser_parties = excluded.looser_parties,
             looser_subject = excluded.looser_subject, rereading = excluded.rereading",
        args![
            mailbox,
            organization,
            to_json(&work.applied),
            work.target.as_ref().map(to_json),
            &work.place,
            work.looser.labels,
            work.looser.parties,
            work.looser.subject,
            work.rereading
        ],
    )
    .await?;
    Ok(())
}

/// Asks to read again what was loosened. Touches nothing else, so anybody may; answers whether there is anything.
pub async fn ask_again(tx: &mut Tx, mailbox: &MailboxId) -> Result<bool, StoreError> {
    let asked = tx
        .run(
            "UPDATE privacy_work SET rereading = TRUE, place = ''
             WHERE mailbox_id = $1 AND target IS NULL AND NOT rereading
                 AND (looser_labels OR looser_parties OR looser_subject)",
            args![mailbox],
        )
        .await?;
    Ok(asked == 1)
}

//! What is erased when somebody leaves, table by table. A test holds this list against the schema: a table with a
//! mailbox's, a grant's or a person's id in it is erased here or named there with its reason.

use super::leases::take_away;
use super::sql::{Tx, args};
use super::{StoreError, people};
use crate::id::{AgendaId, GrantId, MailboxId, OrganizationId, PersonId, StreamId};

/// Rows that one statement deletes: few enough that nobody waits long for the writer.
const ROWS_AT_ONCE: i64 = 2_000;

/// The large tables of a mailbox: what the receipt calls their rows, and how some of them are deleted.
const LARGE: &[(&str, &str)] = &[
    (
        "labels of messages",
        "DELETE FROM message_labels WHERE mailbox_id = $1 AND message_id IN
             (SELECT message_id FROM message_labels WHERE mailbox_id = $1 LIMIT $2)",
    ),
    (
        "messages",
        "DELETE FROM messages WHERE mailbox_id = $1 AND message_id IN
             (SELECT message_id FROM messages WHERE mailbox_id = $1 LIMIT $2)",
    ),
    (
        "messages to fetch",
        "DELETE FROM fills WHERE mailbox_id = $1 AND message_id IN
             (SELECT message_id FROM fills WHERE mailbox_id = $1 LIMIT $2)",
    ),
    (
        "messages seen by label",
        "DELETE FROM sightings WHERE mailbox_id = $1 AND message_id IN
             (SELECT message_id FROM sightings WHERE mailbox_id = $1 LIMIT $2)",
    ),
    (
        "messages owed",
        "DELETE FROM debts WHERE mailbox_id = $1 AND message_id IN
             (SELECT message_id FROM debts WHERE mailbox_id = $1 LIMIT $2)",
    ),
    (
        "messages left out",
        "DELETE FROM exclusions WHERE mailbox_id = $1 AND message_id IN
             (SELECT message_id FROM exclusions WHERE mailbox_id = $1 LIMIT $2)",
    ),
    (
        "changes",
        "DELETE FROM changes WHERE organization_id = (SELECT organization_id FROM mailboxes WHERE id = $1) AND seq IN
             (SELECT seq FROM changes WHERE person_id = (SELECT person_id FROM mailboxes WHERE id = $1)
                  AND stream_id = $1 LIMIT $2)",
    ),
];

/// An organization's directory. Its row goes first: an engine that is about to commit waits there, and then finds that
/// it has lost its lease.
const OF_DIRECTORY: &[(&str, &str)] = &[
    ("directories", "DELETE FROM directories WHERE organization_id = $1 AND $2 > 0"),
    (
        "addresses of the directory",
        "DELETE FROM directory_aliases WHERE organization_id = $1 AND google_id IN
             (SELECT google_id FROM directory_aliases WHERE organization_id = $1 LIMIT $2)",
    ),
    (
        "people of the directory",
        "DELETE FROM directory_people WHERE organization_id = $1 AND google_id IN
             (SELECT google_id FROM directory_people WHERE organization_id = $1 LIMIT $2)",
    ),
    (
        "changes",
        "DELETE FROM changes WHERE organization_id = $1 AND seq IN
             (SELECT seq FROM changes WHERE organization_id = $1 AND person_id = '' LIMIT $2)",
    ),
];

/// What is left of a mailbox then.
const OF_MAILBOX: &[(&str, &str)] = &[
    ("proofs of completeness", "DELETE FROM coverage WHERE mailbox_id = $1"),
    ("labels", "DELETE FROM labels WHERE mailbox_id = $1"),
    ("privacy settings being applied", "DELETE FROM privacy_work WHERE mailbox_id = $1"),
    ("mailboxes", "DELETE FROM mailboxes WHERE id = $1"),
];

/// The large tables of an agenda.
const LARGE_OF_AGENDA: &[(&str, &str)] = &[
    (
        "events",
        "DELETE FROM events WHERE agenda_id = $1 AND (calendar_id, event_id) IN
             (SELECT calendar_id, event_id FROM events WHERE agenda_id = $1 LIMIT $2)",
    ),
    (
        "changes",
        "DELETE FROM changes WHERE organization_id = (SELECT organization_id FROM agendas WHERE id = $1) AND seq IN
             (SELECT seq FROM changes WHERE person_id = (SELECT person_id FROM agendas WHERE id = $1)
                  AND stream_id = $1 LIMIT $2)",
    ),
];

/// What is left of an agenda then.
const OF_AGENDA: &[(&str, &str)] = &[
    ("channels", "DELETE FROM channels WHERE agenda_id = $1"),
    ("calendars", "DELETE FROM calendars WHERE agenda_id = $1"),
    ("agendas", "DELETE FROM agendas WHERE id = $1"),
];

/// What hangs on a grant. The chain's end comes first: who appends to it waits, and then finds nothing.
const OF_GRANT: &[(&str, &str)] = &[
    ("ends of call logs", "DELETE FROM receipt_heads WHERE grant_id = $1"),
    ("call logs", "DELETE FROM receipt_batches WHERE grant_id = $1"),
    ("call counts", "DELETE FROM call_counts WHERE grant_id = $1"),
    ("logs of calls", "DELETE FROM call_logs WHERE id = $1"),
    ("what was asked of the directory", "DELETE FROM directory_readers WHERE grant_id = $1"),
    ("permissions", "DELETE FROM grants WHERE id = $1"),
];

/// By what a person comes in.
const WAYS_IN: &[(&str, &str)] = &[
    ("signed-in browsers", "DELETE FROM sessions WHERE person_id = $1"),
    ("access keys", "DELETE FROM access_keys WHERE person_id = $1"),
    ("links to sign in", "DELETE FROM sign_in_links WHERE person_id = $1"),
];

/// What is a person's own beside their connection, and the person.
const OF_PERSON: &[(&str, &str)] = &[
    ("signed-in browsers", "DELETE FROM sessions WHERE person_id = $1"),
    ("access keys", "DELETE FROM access_keys WHERE person_id = $1"),
    ("attempts to connect", "DELETE FROM attempts WHERE person_id = $1"),
    ("waits for the approval", "DELETE FROM approval_waits WHERE person_id = $1"),
    ("privacy settings", "DELETE FROM privacy_choices WHERE person_id = $1"),
    ("links to sign in", "DELETE FROM sign_in_links WHERE person_id = $1"),
    ("changes", "DELETE FROM changes WHERE person_id = $1"),
    // Of attempts that were refused: there was no grant to go with.
    ("ends of call logs", "DELETE FROM receipt_heads WHERE grant_id = (SELECT id FROM call_logs WHERE person_id = $1)"),
    ("call logs", "DELETE FROM receipt_batches WHERE grant_id = (SELECT id FROM call_logs WHERE person_id = $1)"),
    ("call counts", "DELETE FROM call_counts WHERE grant_id = (SELECT id FROM call_logs WHERE person_id = $1)"),
    ("logs of calls", "DELETE FROM call_logs WHERE person_id = $1"),
    ("people", "DELETE FROM people WHERE id = $1"),
];

/// What is kept of a person by their address: `$2` in lower case, `$3` as it is. Lower case is made before, because
/// SQLite's own knows ASCII alone.
const BY_ADDRESS: &[(&str, &str)] = &[
    ("invitations", "DELETE FROM invitations WHERE organization_id = $1 AND email IN ($2, $3)"),
    ("links to sign in", "DELETE FROM sign_in_links WHERE organization_id = $1 AND (LOWER(email) = $2 OR email = $3)"),
];

/// What is an organization's own, once nobody is left in it.
const OF_ORGANIZATION: &[(&str, &str)] = &[
    ("changes", "DELETE FROM changes WHERE organization_id = $1"),
    ("addresses of the directory", "DELETE FROM directory_aliases WHERE organization_id = $1"),
    ("people of the directory", "DELETE FROM directory_people WHERE organization_id = $1"),
    ("receipts of leaving", "DELETE FROM leaving_receipts WHERE organization_id = $1"),
    ("invitations", "DELETE FROM invitations WHERE organization_id = $1"),
    ("links to sign in", "DELETE FROM sign_in_links WHERE organization_id = $1"),
    ("audit entries", "DELETE FROM audit_entries WHERE organization_id = $1"),
    ("audit chains", "DELETE FROM audit_chains WHERE organization_id = $1"),
    ("privacy settings", "DELETE FROM privacy_floors WHERE organization_id = $1"),
    ("keys of hidden subjects", "DELETE FROM privacy_keys WHERE organization_id = $1"),
    ("directories", "DELETE FROM directories WHERE organization_id = $1"),
    ("gaps of the feed", "DELETE FROM feed_gaps WHERE organization_id = $1"),
    ("domains", "DELETE FROM organization_domains WHERE organization_id = $1"),
    ("organizations", "DELETE FROM organizations WHERE id = $1"),
];

/// How many rows of which kind were deleted.
pub type Erased = Vec<(&'static str, u64)>;

/// Deletes some of a mailbox's rows; answers which, and nothing once only what [`mailbox`] deletes is left.
pub async fn some_of_mailbox(tx: &mut Tx, mailbox: &MailboxId) -> Result<Erased, StoreError> {
    some(tx, LARGE, mailbox.as_str()).await
}

/// Deletes what is left of a mailbox, and the mailbox.
pub async fn mailbox(tx: &mut Tx, mailbox: &MailboxId) -> Result<Erased, StoreError> {
    take_away(tx, &StreamId::from(mailbox)).await?;
    rest(tx, LARGE, OF_MAILBOX, mailbox.as_str()).await
}

/// Deletes some of an agenda's rows; answers which, and nothing once only what [`agenda`] deletes is left.
pub async fn some_of_agenda(tx: &mut Tx, agenda: &AgendaId) -> Result<Erased, StoreError> {
    some(tx, LARGE_OF_AGENDA, agenda.as_str()).await
}

/// Deletes what is left of an agenda, and the agenda.
pub async fn agenda(tx: &mut Tx, agenda: &AgendaId) -> Result<Erased, StoreError> {
    take_away(tx, &StreamId::from(agenda)).await?;
    rest(tx, LARGE_OF_AGENDA, OF_AGENDA, agenda.as_str()).await
}

async fn some(tx: &mut Tx, large: &'static [(&'static str, &'static str)], key: &str) -> Result<Erased, StoreError> {
    for (kind, statement) in large {
        let rows = tx.run(statement, args![key, ROWS_AT_ONCE]).await?;
        if rows > 0 {
            return Ok(vec![(*kind, rows)]);
        }
    }
    Ok(Vec::new())
}

async fn rest(
    tx: &mut Tx,
    large: &'static [(&'static str, &'static str)],
    parts: &'static [(&'static str, &'static str)],
    key: &str,
) -> Result<Erased, StoreError> {
    let mut erased = Erased::new();
    for (kind, statement) in large {
        erased.push((*kind, tx.run(statement, args![key, i64::MAX]).await?));
    }
    each(tx, parts, key, &mut erased).await?;
    Ok(erased)
}

/// Deletes some rows of an organization's directory, which nobody permits any more; answers which, and nothing once
/// none is left.
pub async fn some_of_directory(tx: &mut Tx, organization: &OrganizationId) -> Result<Erased, StoreError> {
    for (kind, statement) in OF_DIRECTORY {
        let rows = tx.run(statement, args![organization, ROWS_AT_ONCE]).await?;
        if rows > 0 {
            return Ok(vec![(*kind, rows)]);
        }
    }
    Ok(Vec::new())
}

/// Deletes what hangs on a grant, and the grant.
pub async fn grant(tx: &mut Tx, grant: &GrantId) -> Result<Erased, StoreError> {
    let mut erased = Erased::new();
    each(tx, OF_GRANT, grant.as_str(), &mut erased).await?;
    // The organization's directory is everybody's, and is read with somebody else's grant next.
    tx.run("UPDATE directories SET grant_id = NULL WHERE grant_id = $1", args![grant]).await?;
    Ok(erased)
}

/// Deletes by what a person comes in: whoever is to go is out at once, however long their erasure takes.
pub async fn ways_in(tx: &mut Tx, person: &PersonId) -> Result<Erased, StoreError> {
    let mut erased = Erased::new();
    each(tx, WAYS_IN, person.as_str(), &mut erased).await?;
    Ok(erased)
}

/// Deletes what is a person's own, and the person. Their connection must have gone before.
pub async fn person(tx: &mut Tx, person: &PersonId) -> Result<Erased, StoreError> {
    let mut erased = Erased::new();
    if let Some(whose) = people::by_id(tx, person).await? {
        let folded = whose.email.to_lowercase();
        for (kind, statement) in BY_ADDRESS {
            let values = args![&whose.organization_id, &folded, &whose.email];
            erased.push((*kind, tx.run(statement, values).await?));
        }
    }
    each(tx, OF_PERSON, person.as_str(), &mut erased).await?;
    Ok(erased)
}

/// Deletes an organization in which nobody is left.
pub async fn organization(tx: &mut Tx, organization: &OrganizationId) -> Result<Erased, StoreError> {
    let mut erased = Erased::new();
    each(tx, OF_ORGANIZATION, organization.as_str(), &mut erased).await?;
    Ok(erased)
}

async fn each(
    tx: &mut Tx,
    parts: &'static [(&'static str, &'static str)],
    key: &str,
    erased: &mut Erased,
) -> Result<(), StoreError> {
    for (kind, statement) in parts {
        erased.push((*kind, tx.run(statement, args![key]).await?));
    }
    Ok(())
}

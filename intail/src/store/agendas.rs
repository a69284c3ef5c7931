//! Agendas: a person's calendars as one stream of the engine. Two writers share a row and never a column: whoever holds
//! the lease writes the engine's columns, everybody else only says that it is due.

use jiff::Timestamp;

use super::StoreError;
use super::failing::{Failed, failed};
use super::grants::Grant;
use super::leases::{self, Lease};
use super::spending::Spending;
use super::sql::{Columns, Tx, args};
use crate::id::{AgendaId, GrantId, OrganizationId, PersonId};

/// One person's copied calendars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agenda {
    /// Its id: stays the same when the person reconnects.
    pub id: AgendaId,
    /// The organization of the person.
    pub organization_id: OrganizationId,
    /// Whose it is.
    pub person_id: PersonId,
    /// The grant under which it is read.
    pub grant_id: GrantId,
    /// What continues the list of calendars; none before it was read whole.
    pub list_sync_token: Option<String>,
    /// The next page of a reading of the list that isn't finished.
    pub list_page_token: Option<String>,
    /// Pages asked for since the list was last read to its end.
    pub list_pages: i64,
    /// The number of the present reading of the whole list.
    pub list_pass: i64,
    /// Entries of which nothing could be kept, in the last reading of the whole list and in what changed since.
    pub list_unreadable: i64,
    /// When the list was last read to its end.
    pub listed_at: Option<Timestamp>,
    /// When the list is looked at next.
    pub list_due_at: Timestamp,
    /// Whether what is stored keeps private events as busy times only.
    pub busy_only: bool,
    /// What stands in the way of all calendars, in one word; since when.
    pub problem: Option<String>,
    /// See [`Agenda::problem`].
    pub problem_since: Option<Timestamp>,
    /// Until when no call is made, because Google asked for it.
    pub paused_until: Option<Timestamp>,
    /// Why.
    pub paused_why: Option<String>,
    /// Failures in a row.
    pub failures: i64,
    /// What is known of them; none when the last try succeeded.
    pub failed: Option<Failed>,
    /// When it is due.
    pub due_at: Option<Timestamp>,
    /// What it cost in the minute before it was given back, in requests.
    pub spent: Spending,
    /// When somebody last asked for a look, by looking at a page or by a button; the web part's column.
    pub wanted_at: Option<Timestamp>,
    /// When the person first permitted calendars.
    pub created_at: Timestamp,
}

impl Agenda {
    /// An agenda as it is right after the person permitted calendars: due at once.
    pub fn new(id: AgendaId, grant: &Grant, now: Timestamp) -> Self {
        Self {
            id,
            organization_id: grant.organization_id.clone(),
            person_id: grant.person_id.clone(),
            grant_id: grant.id.clone(),
            list_sync_token: None,
            list_page_token: None,
            list_pages: 0,
            list_pass: 1,
            list_unreadable: 0,
            listed_at: None,
            list_due_at: now,
            busy_only: false,
            problem: None,
            problem_since: None,
            paused_until: None,
            paused_why: None,
            failures: 0,
            failed: None,
            due_at: Some(now),
            spent: Spending::default(),
            wanted_at: None,
            created_at: now,
        }
    }
}

fn agenda(row: &dyn Columns) -> Result<Agenda, StoreError> {
    Ok(Agenda {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        person_id: row.parsed("person_id")?,
        grant_id: row.parsed("grant_id")?,
        list_sync_token: row.text_or_null("list_sync_token")?,
        list_page_token: row.text_or_null("list_page_token")?,
        list_pages: row.int("list_pages")?,
        list_pass: row.int("list_pass")?,
        list_unreadable: row.int("list_unreadable")?,
        listed_at: row.at_or_null("listed_at")?,
        list_due_at: row.at("list_due_at")?,
        busy_only: row.boolean("busy_only")?,
        problem: row.text_or_null("problem")?,
        problem_since: row.at_or_null("problem_since")?,
        paused_until: row.at_or_null("paused_until")?,
        paused_why: row.text_or_null("paused_why")?,
        failures: row.int("failures")?,
        failed: failed(row)?,
        due_at: row.at_or_null("due_at")?,
        spent: row.parsed("spent")?,
        wanted_at: row.at_or_null("wanted_at")?,
        created_at: row.at("created_at")?,
    })
}

/// Adds an agenda.
pub async fn create(tx: &mut Tx, agenda: &Agenda) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO agendas (id, organization_id, person_id, grant_id, list_pass, list_due_at, busy_only, failures,
             due_at, dirty, lease_number, released_number, created_at)
         VALUES ($1, $2, $3, $4, 1, $5, $6, 0, $7, FALSE, 0, 0, $8)",
        args![
            &agenda.id,
            &agenda.organization_id,
            &agenda.person_id,
            &agenda.grant_id,
            agenda.list_due_at,
            agenda.busy_only,
            agenda.due_at,
            agenda.created_at
        ],
    )
    .await?;
    Ok(())
}

/// The agenda with this id.
pub async fn by_id(tx: &mut Tx, id: &AgendaId) -> Result<Option<Agenda>, StoreError> {
    tx.one("SELECT * FROM agendas WHERE id = $1", args![id], agenda).await
}

/// A person's agenda.
pub async fn by_person(tx: &mut Tx, person: &PersonId) -> Result<Option<Agenda>, StoreError> {
    tx.one("SELECT * FROM agendas WHERE person_id = $1", args![person], agenda).await
}

/// Says that an agenda is due now: a notice, a reconnect, somebody who chose. Leaves a dirty mark, so that a run that
/// is under way is followed by another.
pub async fn wake(tx: &mut Tx, id: &AgendaId, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "UPDATE agendas SET dirty = TRUE,
             due_at = CASE WHEN due_at IS NULL OR due_at > $2 THEN $2 ELSE due_at END
         WHERE id = $1",
        args![id, now],
    )
    .await?;
    Ok(())
}

/// Says so because somebody wants to see what there is now, unless somebody did since `before`; answers whether that
/// counts. However many pages are open at however many instances, one of them is heard.
pub async fn look(tx: &mut Tx, id: &AgendaId, before: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
    let heard = tx
        .run(
            "UPDATE agendas SET wanted_at = $3, dirty = TRUE,
                 due_at = CASE WHEN due_at IS NULL OR due_at > $3 THEN $3 ELSE due_at END
             WHERE id = $1 AND (wanted_at IS NULL OR wanted_at < $2)",
            args![id, before, now],
        )
        .await?;
    Ok(heard == 1)
}

/// Says so of everybody's agenda of an organization: what may be kept has changed.
pub async fn wake_organization(tx: &mut Tx, organization: &OrganizationId, now: Timestamp) -> Result<u64, StoreError> {
    let sql = format!(
        "UPDATE agendas SET dirty = TRUE, due_at = $2
         WHERE id IN (SELECT id FROM agendas WHERE organization_id = $1 ORDER BY id {})",
        tx.taking("")
    );
    tx.run_built(sql, args![organization, now]).await
}

/// Proves that the lease of an agenda still holds, prolongs it, and answers the agenda as it is now.
pub async fn hold(tx: &mut Tx, lease: &Lease, until: Timestamp) -> Result<Agenda, StoreError> {
    leases::hold_row(tx, lease, until, agenda).await
}

/// Writes what the engine knows of an agenda. Only the holder of the lease may.
pub async fn save(tx: &mut Tx, agenda: &Agenda, lease: &Lease) -> Result<(), StoreError> {
    let written = tx
        .run(
            "UPDATE agendas SET list_sync_token = $3, list_page_token = $4, list_pass = $5, listed_at = $6,
                 list_due_at = $7, busy_only = $8, problem = $9, problem_since = $10, paused_until = $11,
                 paused_why = $12, failures = $13, list_pages = $14,
                 list_unreadable = $15
             WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL",
            args![
                &agenda.id,
                lease.number,
                agenda.list_sync_token.as_deref(),
                agenda.list_page_token.as_deref(),
                agenda.list_pass,
                agenda.listed_at,
                agenda.list_due_at,
                agenda.busy_only,
                agenda.problem.as_deref(),
                agenda.problem_since,
                agenda.paused_until,
                agenda.paused_why.as_deref(),
                agenda.failures,
                agenda.list_pages,
                agenda.list_unreadable
            ],
        )
        .await?;
    if written == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

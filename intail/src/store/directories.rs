//! Directories: how far each organization's is read, by whose grant, with which view, and when the next pass begins.
//! Two writers share a row and never a column: whoever holds the lease writes the engine's columns, everybody else only
//! says that it is due.

use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::directory_people::View;
use super::failing::{Failed, failed};
use super::leases::{self, Lease};
use super::spending::Spending;
use super::sql::{Columns, Tx, args};
use crate::id::{DirectoryId, GrantId, OrganizationId};

/// One organization's copied directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its id.
    pub id: DirectoryId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// The grant that reads; none before the first and after the last.
    pub grant_id: Option<GrantId>,
    /// What that grant sees.
    pub view: Option<View>,
    /// The number of the present pass, or of the last one: 0 before the first.
    pub pass: i64,
    /// Which part of a pass is under way; none between two passes.
    pub part: Option<Part>,
    /// Google's token of the next page, good for three days; none before the first page of a part.
    pub page_token: Option<String>,
    /// Pages that the present pass has asked for, or the last one.
    pub pages: i64,
    /// When the present pass began, or the last one.
    pub began_at: Option<Timestamp>,
    /// When a pass was complete last: what the copy is as of.
    pub passed_at: Option<Timestamp>,
    /// Entries that the present pass has seen so far, or the last one.
    pub seen: i64,
    /// Entries of it that couldn't be read.
    pub unreadable: i64,
    /// When the next pass begins.
    pub next_pass_at: Option<Timestamp>,
    /// When somebody last had a reason to look before that: an account that stopped answering may be suspended.
    pub wanted_at: Option<Timestamp>,
    /// When the last pass began that counted whom it didn't see; none before the first.
    pub counted_at: Option<Timestamp>,
    /// How often in a row a pass had to begin anew.
    pub restarts: i64,
    /// What stands in the way, in one word: `nobody_permits`, `no_directory`, `blocked_by_administrator`,
    /// `api_disabled`, `most_are_missing`.
    pub problem: Option<String>,
    /// Since when.
    pub problem_since: Option<Timestamp>,
    /// Until when no call is made, because Google asked for it.
    pub paused_until: Option<Timestamp>,
    /// Why, in one word: the mailbox's.
    pub paused_why: Option<String>,
    /// Failures in a row.
    pub failures: i64,
    /// What is known of them; none when the last try succeeded.
    pub failed: Option<Failed>,
    /// When it is due.
    pub due_at: Option<Timestamp>,
    /// What the grant that read it last had spent in the minute before the last run ended.
    pub spent: Spending,
}

impl Directory {
    /// Writes down what stands in the way, and since when if that is new; answers whether it is.
    pub fn tell_problem(&mut self, problem: &str, now: Timestamp) -> bool {
        let is_news = self.problem.as_deref() != Some(problem);
        if is_news {
            self.problem = Some(problem.to_owned());
            self.problem_since = Some(now);
        }
        is_news
    }
}

/// The parts of a pass, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everybody whom the view shows is listed.
    People,
    /// Those who were deleted lately are listed: an administrator's view only.
    Deleted,
    /// Those whom nobody saw are looked at.
    Settle,
}

impl Part {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Deleted => "deleted",
            Self::Settle => "settle",
        }
    }
}

impl FromStr for Part {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::People, Self::Deleted, Self::Settle].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

fn directory(row: &dyn Columns) -> Result<Directory, StoreError> {
    Ok(Directory {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        grant_id: row.parsed_or_null("grant_id")?,
        view: row.parsed_or_null("view")?,
        pass: row.int("pass")?,
        part: row.parsed_or_null("part")?,
        page_token: row.text_or_null("page_token")?,
        pages: row.int("pages")?,
        began_at: row.at_or_null("began_at")?,
        passed_at: row.at_or_null("passed_at")?,
        seen: row.int("seen")?,
        unreadable: row.int("unreadable")?,
        next_pass_at: row.at_or_null("next_pass_at")?,
        wanted_at: row.at_or_null("wanted_at")?,
        counted_at: row.at_or_null("counted_at")?,
        restarts: row.int("restarts")?,
        problem: row.text_or_null("problem")?,
        problem_since: row.at_or_null("problem_since")?,
        paused_until: row.at_or_null("paused_until")?,
        paused_why: row.text_or_null("paused_why")?,
        failures: row.int("failures")?,
        failed: failed(row)?,
        due_at: row.at_or_null("due_at")?,
        spent: row.parsed("spent")?,
    })
}

/// Says that an organization's directory is due now, and makes its row if there is none: somebody permitted it.
pub async fn wake(
    tx: &mut Tx,
    id: &DirectoryId,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO directories (id, organization_id, failures, due_at, dirty, lease_number, released_number,
             created_at)
         VALUES ($1, $2, 0, $3, TRUE, 0, 0, $3)
         ON CONFLICT (organization_id) DO UPDATE SET dirty = TRUE, due_at = excluded.due_at",
        args![id, organization, now],
    )
    .await?;
    Ok(())
}

/// Says that there is a reason to look at the directory before its time. Only an administrator's view would show it.
pub async fn want(tx: &mut Tx, organization: &OrganizationId, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "UPDATE directories SET wanted_at = $2, dirty = TRUE, due_at = $2
         WHERE organization_id = $1 AND view = 'administrator'",
        args![organization, now],
    )
    .await?;
    Ok(())
}

/// Says so because somebody wants to see what there is now, whatever the view, unless a pass began or somebody said so
/// since `before`; answers whether that counts.
pub async fn look(
    tx: &mut Tx,
    organization: &OrganizationId,
    before: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let heard = tx
        .run(
            "UPDATE directories SET wanted_at = $3, dirty = TRUE, due_at = $3
             WHERE organization_id = $1 AND part IS NULL AND (wanted_at IS NULL OR wanted_at < $2)
                 AND (began_at IS NULL OR began_at < $2)",
            args![organization, before, now],
        )
        .await?;
    Ok(heard == 1)
}

/// An organization's directory; none while nobody ever permitted it.
pub async fn of_organization(tx: &mut Tx, organization: &OrganizationId) -> Result<Option<Directory>, StoreError> {
    tx.one("SELECT * FROM directories WHERE organization_id = $1", args![organization], directory).await
}

/// Proves, inside the transaction that is about to write, that the lease still holds, prolongs it, and answers the
/// directory as it is now.
pub async fn hold(tx: &mut Tx, lease: &Lease, until: Timestamp) -> Result<Directory, StoreError> {
    leases::hold_row(tx, lease, until, directory).await
}

/// Writes what the engine knows of a directory. Only the holder of the lease may.
pub async fn save(tx: &mut Tx, directory: &Directory, lease: &Lease) -> Result<(), StoreError> {
    let written = tx
        .run(
            "UPDATE directories SET grant_id = $3, view = $4, pass = $5, part = $6, page_token = $7, began_at = $8,
                 passed_at = $9, seen = $10, unreadable = $11, next_pass_at = $12, problem = $13, problem_since = $14,
                 paused_until = $15, failures = $16, restarts = $17, pages = $18, counted_at = $19
             WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL",
            args![
                &directory.id,
                lease.number,
                directory.grant_id.as_ref().map(GrantId::as_str),
                directory.view.map(View::word),
                directory.pass,
                directory.part.map(Part::word),
                directory.page_token.as_deref(),
                directory.began_at,
                directory.passed_at,
                directory.seen,
                directory.unreadable,
                directory.next_pass_at,
                directory.problem.as_deref(),
                directory.problem_since,
                directory.paused_until,
                directory.failures,
                directory.restarts,
                directory.pages,
                directory.counted_at
            ],
        )
        .await?;
    if written == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

//! Leases: one worker per stream at a time, whatever its kind. Every claim raises the lease's number; a worker that
//! paused past its lease holds an old number, and the database refuses what it writes.
//!
//! What a reader must not break: the order in which a transaction takes rows, on PostgreSQL. Streams come first, in the
//! order of [`Stream::ALL`] and of their ids, then grants in the order of theirs, then the feed and the audit log. Who
//! takes them otherwise waits in a circle with somebody who doesn't, until PostgreSQL ends one of them. A claim never
//! waits: it leaves what is taken to the next look, a second later.

use jiff::Timestamp;

use super::StoreError;
use super::failing::{Failed, failed};
use super::spending::Spending;
use super::sql::{Columns, Tx, Value, args, listed};
use crate::id::{GrantId, OrganizationId, StreamId};

/// The right to work on one stream.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What is worked on.
    pub stream: StreamId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The grant under which it is read; for a directory the one under which it was read last.
    pub grant_id: Option<GrantId>,
    /// The number that fences out earlier holders.
    pub number: i64,
    /// Whether the run before broke off: its lease was never given back.
    pub after_a_break: bool,
    /// As what it was claimed.
    pub wanted: Wanted,
}

/// The kinds of streams. Each has a table of its own with the same columns for when a row is due and who works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Mailboxes.
    Mail,
    /// People's calendars.
    Calendar,
    /// Organizations' directories.
    Directory,
}

impl Stream {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Mail, Self::Calendar, Self::Directory];

    /// The kind of a stream.
    pub fn of(id: &StreamId) -> Self {
        match id {
            StreamId::Mail(_) => Self::Mail,
            StreamId::Calendar(_) => Self::Calendar,
            StreamId::Directory(_) => Self::Directory,
        }
    }

    /// What people and programs call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Calendar => "calendar",
            Self::Directory => "directory",
        }
    }

    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Mail => "mailboxes",
            Self::Calendar => "agendas",
            Self::Directory => "directories",
        }
    }
}

/// Which streams are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that somebody gave notice of.
    Noticed,
    /// All that are due.
    Due,
}

/// Claims up to `limit` streams that are due and free, longest due first whatever their kind, and clears their dirty
/// marks.
pub async fn claim(
    tx: &mut Tx,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
    wanted: Wanted,
    limit: i64,
) -> Result<Vec<Lease>, StoreError> {
    let of_kind = |stream: Stream| {
        format!(
            "SELECT * FROM (SELECT id, due_at FROM {} WHERE due_at <= $1 AND (lease_until IS NULL OR lease_until <= $1)
                 AND (dirty OR $2) ORDER BY due_at LIMIT $3) AS of_{}",
            stream.table(),
            stream.word()
        )
    };
    let all = Stream::ALL.map(of_kind).join(" UNION ALL ");
    let sql = format!("SELECT id FROM ({all}) AS due ORDER BY due_at, id LIMIT $3");
    let due: Vec<StreamId> =
        tx.all_built(sql, args![now, wanted == Wanted::Due, limit], |row| row.parsed("id")).await?;
    let mut claimed = Vec::new();
    for stream in Stream::ALL {
        let ids: Vec<&StreamId> = due.iter().filter(|it| Stream::of(it) == stream).collect();
        if ids.is_empty() {
            continue;
        }
        let mut values = args![owner, now, until];
        values.extend(ids.iter().map(|it| Value::from(*it)));
        // Somebody else may have been faster since they were read: that is asked once more.
        let sql = format!(
            "UPDATE {table} SET lease_owner = $1, lease_until = $3, lease_number = lease_number + 1, dirty = FALSE
             WHERE id IN (SELECT id FROM {table}
                 WHERE id IN ({}) AND due_at <= $2 AND (lease_until IS NULL OR lease_until <= $2) ORDER BY id {})
             RETURNING id, organization_id, grant_id, lease_number, released_number",
            listed(ids.len(), 4),
            tx.taking("SKIP LOCKED"),
            table = stream.table()
        );
        let leases = tx.all_built(sql, values, lease).await?;
        claimed.extend(leases.into_iter().map(|it| Lease { wanted, ..it }));
    }
    Ok(claimed)
}

fn lease(row: &dyn Columns) -> Result<Lease, StoreError> {
    let number = row.int("lease_number")?;
    Ok(Lease {
        stream: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        grant_id: row.parsed_or_null("grant_id")?,
        number,
        after_a_break: row.int("released_number")? != number - 1,
        wanted: Wanted::Due,
    })
}

/// Proves, inside the transaction that is about to write, that the lease still holds, and prolongs it. It is never
/// shortened: a step that began long ago says an earlier end than whoever prolonged the lease meanwhile, and who comes
/// next counts on Google's minute being over by then.
pub async fn hold(tx: &mut Tx, lease: &Lease, until: Timestamp) -> Result<(), StoreError> {
    hold_row(tx, lease, until, |_| Ok(())).await
}

/// The same; answers the stream's row as it is now.
pub(super) async fn hold_row<T>(
    tx: &mut Tx,
    lease: &Lease,
    until: Timestamp,
    read: fn(&dyn Columns) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let sql = format!(
        "UPDATE {} SET lease_until = CASE WHEN lease_until > $3 THEN lease_until ELSE $3 END
         WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL RETURNING *",
        table_of(lease)
    );
    let held = tx.all_built(sql, args![&lease.stream, lease.number, until], read).await?;
    held.into_iter().next().ok_or(StoreError::LeaseLost)
}

/// The stream's row as it is now, if the lease still holds. Nothing is proved beyond this transaction: who writes holds
/// the row first.
pub(super) async fn leased_row<T>(
    tx: &mut Tx,
    lease: &Lease,
    read: fn(&dyn Columns) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let sql =
        format!("SELECT * FROM {} WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL", table_of(lease));
    let leased = tx.all_built(sql, args![&lease.stream, lease.number], read).await?;
    leased.into_iter().next().ok_or(StoreError::LeaseLost)
}

/// Gives the stream back and says when it is due next. If a notice came meanwhile, it is due at once, or since then if
/// it would have been due earlier: others don't come before it because of a notice. `spent` is what it cost within the
/// last minute; none from who never learned whose it is: what is written there stays.
pub async fn release(
    tx: &mut Tx,
    lease: &Lease,
    next: Option<Timestamp>,
    spent: Option<&Spending>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE {} SET lease_owner = NULL, lease_until = NULL, spent = COALESCE($5, spent),
             released_number = lease_number,
             due_at = CASE WHEN dirty AND ($3 IS NULL OR $3 > $4) THEN $4 ELSE $3 END
         WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL",
        table_of(lease)
    );
    let released =
        tx.run_built(sql, args![&lease.stream, lease.number, next, now, spent.map(Spending::to_string)]).await?;
    if released == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// Counts one more failure in a row, of which `why` is one word; answers what there is of them now. A step that
/// succeeds forgets them.
pub async fn fail(tx: &mut Tx, lease: &Lease, why: &str, now: Timestamp) -> Result<Failed, StoreError> {
    let sql = format!(
        "UPDATE {} SET failures = failures + 1,
             failed_since = CASE WHEN failures > 0 THEN COALESCE(failed_since, $4) ELSE $4 END,
             failed_why_since = CASE WHEN failures > 0 AND failed_why = $3 THEN COALESCE(failed_why_since, $4)
                                     ELSE $4 END,
             failed_why = $3
         WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL
         RETURNING failures, failed_since, failed_why, failed_why_since",
        table_of(lease)
    );
    let counted = tx.all_built(sql, args![&lease.stream, lease.number, why, now], failed).await?;
    counted.into_iter().flatten().next().ok_or(StoreError::LeaseLost)
}

/// Makes no call for a stream until then, because Google asked for it; `why` is one word.
pub async fn pause(tx: &mut Tx, lease: &Lease, until: Timestamp, why: &str) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE {} SET paused_until = $3, paused_why = $4
         WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL",
        table_of(lease)
    );
    let paused = tx.run_built(sql, args![&lease.stream, lease.number, until, why]).await?;
    if paused == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

fn table_of(lease: &Lease) -> &'static str {
    Stream::of(&lease.stream).table()
}

/// Takes a stream away from whoever works on it: an engine that is about to commit waits here, and then finds that it
/// has lost its lease.
pub async fn take_away(tx: &mut Tx, stream: &StreamId) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE {} SET lease_number = lease_number + 1, lease_owner = NULL, lease_until = NULL, due_at = NULL
         WHERE id = $1",
        Stream::of(stream).table()
    );
    tx.run_built(sql, args![stream]).await?;
    Ok(())
}

/// Says that streams are due of which nobody said when, although their grant works and has the permission of their
/// kind, in this order: mail, calendar. Nothing should leave one so; a stream that sleeps for ever would be found by
/// nobody. Answers how many there were.
pub async fn wake_stranded(tx: &mut Tx, permissions: [&str; 2], now: Timestamp) -> Result<u64, StoreError> {
    let mut woken = 0;
    for (stream, permission) in [Stream::Mail, Stream::Calendar].into_iter().zip(permissions) {
        let sql = format!(
            "UPDATE {table} SET dirty = TRUE, due_at = $1 WHERE id IN (SELECT id FROM {table}
                 WHERE due_at IS NULL AND lease_owner IS NULL AND grant_id IN
                     (SELECT id FROM grants WHERE state IN ('active', 'partial') AND suspended_at IS NULL
                         AND ' ' || scopes || ' ' LIKE $2)
                 ORDER BY id {})",
            tx.taking(""),
            table = stream.table()
        );
        woken += tx.run_built(sql, args![now, format!("% {permission} %")]).await?;
    }
    Ok(woken)
}

/// Ends the leases of a process that has died, before they run out; answers how many. What each stream cost within the
/// last minute is `spent`.
pub async fn end_all(tx: &mut Tx, owner: &str, spent: &Spending) -> Result<u64, StoreError> {
    let mut ended = 0;
    // A directory's is not: what its pages cost is counted nowhere, so the lease has to outlast Google's minute.
    for stream in [Stream::Mail, Stream::Calendar] {
        let sql = format!(
            "UPDATE {} SET lease_owner = NULL, lease_until = NULL, spent = $2 WHERE lease_owner = $1",
            stream.table()
        );
        ended += tx.run_built(sql, args![owner, spent.to_string()]).await?;
    }
    Ok(ended)
}

/// Whatever waits until `until` or longer, at Google's word about the whole project or at the budget's, is due at
/// `due_at`. What was due then for another reason only looks early; what Google said of one person still counts.
pub async fn hasten(tx: &mut Tx, stream: Stream, until: Timestamp, due_at: Timestamp) -> Result<(), StoreError> {
    let is_of_all = "paused_why IN ('project', 'day')";
    let sql = format!(
        "UPDATE {} SET due_at = $2,
             paused_until = CASE WHEN {is_of_all} THEN NULL ELSE paused_until END,
             paused_why = CASE WHEN {is_of_all} THEN NULL ELSE paused_why END
         WHERE due_at >= $1 AND lease_owner IS NULL",
        stream.table()
    );
    tx.run_built(sql, args![until, due_at]).await?;
    Ok(())
}

/// When the next stream of these kinds is due, so that the engine knows how long to rest: one without a lease at its
/// time, one with a lease not before that ends. A lease is taken on what is due, so that one that is due only later has
/// none; where something is due now that nobody has, it is that.
pub async fn next_due(tx: &mut Tx, kinds: &[Stream], now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    // Found at the beginning of the index of times, however many streams there are.
    let free =
        |table| format!("SELECT MIN(due_at) AS at FROM {table} WHERE due_at IS NOT NULL AND lease_until IS NULL");
    let free = soonest(tx, kinds, free, args![]).await?;
    if free.is_some_and(|it| it <= now) {
        return Ok(free);
    }
    let leased = |table| {
        format!(
            "SELECT MIN(CASE WHEN lease_until > due_at THEN lease_until ELSE due_at END) AS at
             FROM {table} WHERE due_at <= $1 AND lease_until IS NOT NULL"
        )
    };
    let leased = soonest(tx, kinds, leased, args![now]).await?;
    Ok(free.into_iter().chain(leased).min())
}

async fn soonest(
    tx: &mut Tx,
    kinds: &[Stream],
    of_table: impl Fn(&'static str) -> String,
    values: Vec<Value>,
) -> Result<Option<Timestamp>, StoreError> {
    let all: Vec<String> = kinds.iter().map(|it| of_table(it.table())).collect();
    let sql = format!("SELECT MIN(at) AS at FROM ({}) AS soonest", all.join(" UNION ALL "));
    let found = tx.all_built(sql, values, |row| row.at_or_null("at")).await?;
    Ok(found.into_iter().flatten().next())
}

//! Mailboxes: how far each one is read, when it is due, and what was last proved of it. Two writers share a row and
//! never a column: whoever holds the lease writes the engine's columns, everybody else only says that it is due.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::failing::{self, Failed, failed};
use super::leases::{self, Lease};
use super::spending::Spending;
use super::sql::{Columns, Tx, args};
use super::{StoreError, debts, grants};
use crate::id::{GrantId, HistoryId, MailboxId, OrganizationId, PersonId};

/// How long before a watch ends its failing renewals are somebody's business: they are tried daily, so five days went
/// by, and two are left to mend it.
pub const WATCH_ALERT: SignedDuration = SignedDuration::from_hours(48);

/// How long after connecting it is the same if there never was a watch: setting one takes seconds, and several tries
/// have failed by then.
pub const FIRST_WATCH_ALERT: SignedDuration = SignedDuration::from_hours(1);

/// One person's copied mailbox.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Its id: stays the same when the person reconnects.
    pub id: MailboxId,
    /// The organization of the person.
    pub organization_id: OrganizationId,
    /// Whose it is.
    pub person_id: PersonId,
    /// The grant under which it is read.
    pub grant_id: GrantId,
    /// The address that notices carry, lower-case.
    pub email: String,
    /// What the engine is doing with it.
    pub state: MailboxState,
    /// Since when.
    pub state_since: Timestamp,
    /// How far its history is read and stored; none before the first look.
    pub cursor: Option<HistoryId>,
    /// When the history was last read to its end: what the copy is as of.
    pub cursor_at: Option<Timestamp>,
    /// When somebody last said "look again": a notice, mostly.
    pub noticed_at: Option<Timestamp>,
    /// How often somebody said so. A count, because two machines' clocks can't be compared.
    pub notices: i64,
    /// How many of these the newest complete reading of the history came after.
    pub notices_read: i64,
    /// When to look again after activity: a notice may come before its data can be read.
    pub look_at: Option<Timestamp>,
    /// When to compare with Google after activity: notices above one a second are dropped.
    pub probe_at: Option<Timestamp>,
    /// Since when Google pushes, without a gap.
    pub watch_since: Option<Timestamp>,
    /// When the watch was last set or renewed.
    pub watch_set_at: Option<Timestamp>,
    /// When Google stops pushing unless the watch is renewed.
    pub watch_expires_at: Option<Timestamp>,
    /// When to renew the watch.
    pub watch_due_at: Timestamp,
    /// Why the last renewal failed.
    pub watch_problem: Option<String>,
    /// Google's token of the next page to list; none before the first page.
    pub listing_page: Option<String>,
    /// Which label a pass that compares everything lists now; none while it lists the mailbox itself.
    pub listing_label: Option<String>,
    /// Pages that the present listing has asked for.
    pub listing_pages: i64,
    /// When the listing may go on: Google's pages went in a circle, or it took a page's token back.
    pub listing_at: Option<Timestamp>,
    /// What it cost in the minute before it was given back, in quota units.
    pub spent: Spending,
    /// What its present backfill or comparison has cost so far, in quota units, and since when it runs.
    pub filled_units: i64,
    /// See [`Mailbox::filled_units`].
    pub filling_since: Option<Timestamp>,
    /// When that was counted last, and for how many seconds it stood still in between: paused, held, or out of quota.
    pub filled_at: Option<Timestamp>,
    /// See [`Mailbox::filled_at`].
    pub filling_stood_s: i64,
    /// When everything had been copied for the first time.
    pub copied_at: Option<Timestamp>,
    /// What was received before this isn't copied, by the organization's policy when the mailbox was first read
    /// (milliseconds since 1970); none where everything is.
    pub copied_from_ms: Option<i64>,
    /// When its newest page is listed once more after a pass.
    pub relist_at: Option<Timestamp>,
    /// A present history id of Google's beyond everything that the history told so far: what it counts may not be
    /// readable yet, so the cursor isn't there yet.
    pub ahead: Option<HistoryId>,
    /// Since when that id is known.
    pub ahead_at: Option<Timestamp>,
    /// Entries of Google's lists and history, since the last comparison began, of which nothing could be read.
    pub unreadable: i64,
    /// When everything is compared because of them.
    pub compare_at: Option<Timestamp>,
    /// When everything was last begun to be compared.
    pub compared_at: Option<Timestamp>,
    /// When the labels' names were last asked for, which the history doesn't tell.
    pub labels_at: Option<Timestamp>,
    /// Whether every page of the present pass was listed.
    pub listing_done: bool,
    /// The number of the present pass over the whole mailbox: 1 is the backfill, each reconcile is one more.
    pub listing_pass: i64,
    /// The history id that was current before the present pass began.
    pub pinned: Option<HistoryId>,
    /// How many messages Google counted when it was last asked.
    pub total_messages: Option<i64>,
    /// How many stored messages the present pass didn't see and still asks for, once its listing is complete.
    pub unseen: i64,
    /// The oldest message that the backfill reached: complete back to here (milliseconds since 1970).
    pub oldest_ms: Option<i64>,
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
    /// When the person first connected it.
    pub created_at: Timestamp,
}

/// What the engine is doing with a mailbox. "Paused" is no state of its own: it has an end and a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxState {
    /// Everything that was there is being copied, newest first; live changes flow meanwhile.
    Backfilling,
    /// Everything is there and changes arrive.
    Live,
    /// The cursor was lost; everything is compared.
    Reconciling,
}

impl MailboxState {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backfilling => "backfilling",
            Self::Live => "live",
            Self::Reconciling => "reconciling",
        }
    }
}

impl FromStr for MailboxState {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Backfilling, Self::Live, Self::Reconciling].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

impl Mailbox {
    /// A mailbox as it is right after the person connected: due at once.
    pub fn new(id: MailboxId, grant: &grants::Grant, now: Timestamp) -> Self {
        Self {
            id,
            organization_id: grant.organization_id.clone(),
            person_id: grant.person_id.clone(),
            grant_id: grant.id.clone(),
            email: grant.email.to_lowercase(),
            state: MailboxState::Backfilling,
            state_since: now,
            cursor: None,
            cursor_at: None,
            noticed_at: None,
            notices: 0,
            notices_read: 0,
            look_at: None,
            probe_at: None,
            watch_since: None,
            watch_set_at: None,
            watch_expires_at: None,
            watch_due_at: now,
            watch_problem: None,
            listing_page: None,
            listing_label: None,
            listing_pages: 0,
            listing_at: None,
            spent: Spending::default(),
            filled_units: 0,
            filled_at: None,
            filling_stood_s: 0,
            copied_at: None,
            filling_since: None,
            copied_from_ms: None,
            relist_at: None,
            ahead: None,
            ahead_at: None,
            unreadable: 0,
            compare_at: None,
            compared_at: None,
            labels_at: None,
            listing_done: false,
            listing_pass: 1,
            pinned: None,
            total_messages: None,
            unseen: 0,
            oldest_ms: None,
            paused_until: None,
            paused_why: None,
            failures: 0,
            failed: None,
            due_at: Some(now),
            created_at: now,
        }
    }

    /// Whether the watch ends soon, or has ended, and couldn't be renewed; or whether there never was one.
    pub fn is_watch_failing(&self, now: Timestamp) -> bool {
        let is_bad = match self.watch_expires_at {
            Some(ends) => ends.duration_since(now) < WATCH_ALERT,
            None => now.duration_since(self.created_at) >= FIRST_WATCH_ALERT,
        };
        is_bad && self.watch_problem.is_some()
    }

    /// Moves the cursor, forward only.
    pub fn advance(&mut self, to: HistoryId, now: Timestamp) {
        self.cursor = Some(self.cursor.map_or(to, |cursor| cursor.max(to)));
        self.cursor_at = Some(now);
    }
}

fn mailbox(row: &dyn Columns) -> Result<Mailbox, StoreError> {
    Ok(Mailbox {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        person_id: row.parsed("person_id")?,
        grant_id: row.parsed("grant_id")?,
        email: row.text("email")?,
        state: row.parsed("state")?,
        state_since: row.at("state_since")?,
        cursor: row.parsed_or_null("cursor")?,
        cursor_at: row.at_or_null("cursor_at")?,
        noticed_at: row.at_or_null("noticed_at")?,
        notices: row.int("notices")?,
        notices_read: row.int("notices_read")?,
        look_at: row.at_or_null("look_at")?,
        probe_at: row.at_or_null("probe_at")?,
        watch_since: row.at_or_null("watch_since")?,
        watch_set_at: row.at_or_null("watch_set_at")?,
        watch_expires_at: row.at_or_null("watch_expires_at")?,
        watch_due_at: row.at("watch_due_at")?,
        watch_problem: row.text_or_null("watch_problem")?,
        listing_page: row.text_or_null("listing_page")?,
        listing_label: row.text_or_null("listing_label")?,
        listing_pages: row.int("listing_pages")?,
        listing_at: row.at_or_null("listing_at")?,
        spent: row.parsed("spent")?,
        filled_units: row.int("filled_units")?,
        filled_at: row.at_or_null("filled_at")?,
        filling_stood_s: row.int("filling_stood_s")?,
        copied_at: row.at_or_null("copied_at")?,
        filling_since: row.at_or_null("filling_since")?,
        copied_from_ms: row.int_or_null("copied_from_ms")?,
        relist_at: row.at_or_null("relist_at")?,
        ahead: row.parsed_or_null("ahead")?,
        ahead_at: row.at_or_null("ahead_at")?,
        unreadable: row.int("unreadable")?,
        compare_at: row.at_or_null("compare_at")?,
        compared_at: row.at_or_null("compared_at")?,
        labels_at: row.at_or_null("labels_at")?,
        listing_done: row.boolean("listing_done")?,
        listing_pass: row.int("listing_pass")?,
        pinned: row.parsed_or_null("pinned")?,
        total_messages: row.int_or_null("total_messages")?,
        unseen: row.int("unseen")?,
        oldest_ms: row.int_or_null("oldest_ms")?,
        paused_until: row.at_or_null("paused_until")?,
        paused_why: row.text_or_null("paused_why")?,
        failures: row.int("failures")?,
        failed: failed(row)?,
        due_at: row.at_or_null("due_at")?,
        created_at: row.at("created_at")?,
    })
}

/// Adds a mailbox.
pub async fn create(tx: &mut Tx, mailbox: &Mailbox) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO mailboxes (id, organization_id, person_id, grant_id, email, state, state_since, notices,
             notices_read, dirty, watch_due_at, listing_done, listing_pass, failures, due_at, lease_number, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, FALSE, $8, FALSE, 1, 0, $9, 0, $10)",
        args![
            &mailbox.id,
            &mailbox.organization_id,
            &mailbox.person_id,
            &mailbox.grant_id,
            &mailbox.email,
            mailbox.state.word(),
            mailbox.state_since,
            mailbox.watch_due_at,
            mailbox.due_at,
            mailbox.created_at
        ],
    )
    .await?;
    Ok(())
}

/// The mailbox with this id.
pub async fn by_id(tx: &mut Tx, id: &MailboxId) -> Result<Option<Mailbox>, StoreError> {
    tx.one("SELECT * FROM mailboxes WHERE id = $1", args![id], mailbox).await
}

/// A person's mailbox.
pub async fn by_person(tx: &mut Tx, person: &PersonId) -> Result<Option<Mailbox>, StoreError> {
    tx.one("SELECT * FROM mailboxes WHERE person_id = $1", args![person], mailbox).await
}

/// The mailboxes of an organization, in order of id; `limit` bounds it.
pub async fn list(tx: &mut Tx, organization: &OrganizationId, limit: i64) -> Result<Vec<Mailbox>, StoreError> {
    tx.all(
        "SELECT * FROM mailboxes WHERE organization_id = $1 ORDER BY id LIMIT $2",
        args![organization, limit],
        mailbox,
    )
    .await
}

/// What a batch of addresses amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Mailboxes that are due now.
    pub mailboxes: u64,
    /// Mailboxes of which everything is stored already that they were told of.
    pub known: u64,
    /// Addresses that have none: the person may have left.
    pub unknown: u64,
}

/// Says that the mailboxes of these addresses are due: notices came. Leaves a dirty mark, so that a run that is under
/// way is followed by another. Each address is named once, with the newest history id that its notices told of, if
/// they all did. One that the cursor has reached makes nothing due: a reading would begin behind it. It proves all the
/// same that Google tells. Rows are taken in the order in which everybody takes them (see `leases`).
pub async fn notice(tx: &mut Tx, told: &[(&str, Option<HistoryId>)], now: Timestamp) -> Result<Noticed, StoreError> {
    // It is acknowledged next, and Pub/Sub tells of it once.
    tx.reach_disk();
    let told: BTreeMap<&str, Option<HistoryId>> = told.iter().copied().collect();
    let addresses: Vec<&str> = told.keys().copied().collect();
    let sql = "SELECT id, email, cursor FROM mailboxes WHERE email IN ({among})";
    let read =
        |row: &dyn Columns| Ok((row.text("id")?, row.text("email")?, row.parsed_or_null::<HistoryId>("cursor")?));
    let found = tx.all_among(sql, args![], &addresses, read).await?;
    let known: BTreeSet<&str> = found.iter().map(|(_, email, _)| email.as_str()).collect();
    // The cursor only moves forward: what it has reached now, it has reached for ever.
    let is_news = |(_, email, cursor): &&(String, String, Option<HistoryId>)| {
        let told = told.get(email.as_str()).copied().flatten();
        cursor.is_none_or(|cursor| told.is_none_or(|told| told > cursor))
    };
    let news: Vec<&str> = found.iter().filter(is_news).map(|(id, ..)| id.as_str()).collect();
    let all: Vec<&str> = found.iter().map(|(id, ..)| id.as_str()).collect();
    // All of them in one statement first: rows are taken in one order.
    let sql = format!(
        "UPDATE mailboxes SET told_at = $1, untold = 0
         WHERE id IN (SELECT id FROM mailboxes WHERE id IN ({{among}}) ORDER BY id {})",
        tx.taking("")
    );
    tx.run_among(&sql, args![now], &all).await?;
    let sql = "UPDATE mailboxes SET dirty = TRUE, notices = notices + 1, noticed_at = $1,
             due_at = CASE WHEN due_at IS NULL OR due_at > $1 THEN $1 ELSE due_at END
         WHERE id IN ({among})";
    let mailboxes = tx.run_among(sql, args![now], &news).await?;
    let count = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
    Ok(Noticed { mailboxes, known: count(all.len() - news.len()), unknown: count(addresses.len() - known.len()) })
}

/// Counts a change that was found and that no notice had told of, although a watch was set.
pub async fn find_untold(tx: &mut Tx, id: &MailboxId, now: Timestamp) -> Result<(), StoreError> {
    tx.run("UPDATE mailboxes SET untold = untold + 1, untold_at = $2 WHERE id = $1", args![id, now]).await?;
    Ok(())
}

/// How many changes were found, over all mailboxes, since Google told of anybody's last.
pub async fn untold(tx: &mut Tx) -> Result<i64, StoreError> {
    let sum = tx
        .one(
            "SELECT CAST(COALESCE(SUM(untold), 0) AS BIGINT) AS n FROM mailboxes
             WHERE untold > 0 AND untold_at > (SELECT COALESCE(MAX(told_at), 0) FROM mailboxes)",
            args![],
            |row| row.int("n"),
        )
        .await?;
    Ok(sum.unwrap_or(0))
}

/// Says that a mailbox is due now, for a reason that isn't a notice: a reconnect, a person who asks.
pub async fn wake(tx: &mut Tx, id: &MailboxId, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "UPDATE mailboxes SET dirty = TRUE, notices = notices + 1, noticed_at = $2,
             due_at = CASE WHEN due_at IS NULL OR due_at > $2 THEN $2 ELSE due_at END
         WHERE id = $1",
        args![id, now],
    )
    .await?;
    Ok(())
}

/// Says that every mailbox is due now: notices may have been lost for anybody. Answers how many there are.
pub async fn wake_all(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    let sql = format!(
        "UPDATE mailboxes SET dirty = TRUE, notices = notices + 1, noticed_at = $1,
             due_at = CASE WHEN due_at IS NULL OR due_at > $1 THEN $1 ELSE due_at END
         WHERE id IN (SELECT id FROM mailboxes ORDER BY id {})",
        tx.taking("")
    );
    tx.run_built(sql, args![now]).await
}

/// Lets every mailbox whose watch can't be renewed try again within this many seconds: what stood in their way is
/// mended. Each at a time of its own, because a try costs 100 units.
pub async fn renew_failed(tx: &mut Tx, now: Timestamp, within_s: i64) -> Result<u64, StoreError> {
    tx.run(
        "UPDATE mailboxes SET watch_due_at = $1 + created_at % $2,
             due_at = CASE WHEN due_at > $1 + created_at % $2 THEN $1 + created_at % $2 ELSE due_at END
         WHERE watch_problem IS NOT NULL AND watch_due_at > $1 + created_at % $2",
        args![now, within_s.saturating_mul(1_000_000).max(1)],
    )
    .await
}

/// Says that a person's mailbox is due now without asking Google anything: what may be kept of it has changed.
pub async fn due_of_person(tx: &mut Tx, person: &PersonId, now: Timestamp) -> Result<u64, StoreError> {
    tx.run("UPDATE mailboxes SET dirty = TRUE, due_at = $2 WHERE person_id = $1", args![person, now]).await
}

/// The same for everybody's of an organization.
pub async fn due_of_organization(
    tx: &mut Tx,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = format!(
        "UPDATE mailboxes SET dirty = TRUE, due_at = $2
         WHERE id IN (SELECT id FROM mailboxes WHERE organization_id = $1 ORDER BY id {})",
        tx.taking("")
    );
    tx.run_built(sql, args![organization, now]).await
}

/// Who is being backfilled or compared, of all organizations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filling {
    /// How many mailboxes: those that can be read now.
    pub mailboxes: i64,
    /// What they will take together until each has had as much as was asked about, or all that it has.
    pub units: i64,
}

/// The mailboxes that share Google's project while one of them takes `most` units; `usual` is what a message costs.
/// What isn't known counts as if it were as large, and what was copied of one already still counts: too much rather
/// than too little.
pub async fn filling(tx: &mut Tx, most: i64, usual: i64, now: Timestamp) -> Result<Filling, StoreError> {
    let sql = format!(
        "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(
                 CASE WHEN s.total_messages * $2 < $1 THEN s.total_messages * $2 ELSE $1 END), 0) AS BIGINT) AS units
         FROM mailboxes s JOIN grants g ON g.id = s.grant_id
         WHERE s.state <> 'live' AND g.state IN ('active', 'partial') AND g.suspended_at IS NULL
             AND g.scopes LIKE '%/auth/gmail.metadata%' AND NOT {}",
        failing::is_shown("$3")
    );
    let found = tx
        .all_built(sql, args![most, usual, now], |row| {
            Ok(Filling { mailboxes: row.int("n")?, units: row.int("units")? })
        })
        .await?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// Moves a mailbox to the address that its account has now.
pub async fn set_email(tx: &mut Tx, id: &MailboxId, email: &str) -> Result<(), StoreError> {
    tx.run("UPDATE mailboxes SET email = $2 WHERE id = $1", args![id, email.to_lowercase()]).await?;
    Ok(())
}

/// Proves that the lease of a mailbox still holds, prolongs it, and answers the mailbox as it is now.
pub async fn hold(tx: &mut Tx, lease: &Lease, until: Timestamp) -> Result<Mailbox, StoreError> {
    leases::hold_row(tx, lease, until, mailbox).await
}

/// The mailbox as it is now, if its lease still holds; see [`leases::leased_row`].
pub async fn leased(tx: &mut Tx, lease: &Lease) -> Result<Mailbox, StoreError> {
    leases::leased_row(tx, lease, mailbox).await
}

/// What decides about a mailbox's next step beside its own row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Whether messages are still to be fetched that a listing named.
    pub has_fills: bool,
    /// When the next debt is due.
    pub next_debt_at: Option<Timestamp>,
    /// When the next of those is that aren't [in bulk](crate::store::debts::Debt::in_bulk): the others may wait longer.
    pub next_change_debt_at: Option<Timestamp>,
    /// Whether something is owed that wasn't tried [often](debts::OFTEN) yet.
    pub has_new_debts: bool,
    /// When the copy is counted against Google's count next.
    pub audit_at: Option<Timestamp>,
    /// How much of the project's day its organization leaves to backfill, in percent.
    pub backfill_day_percent: i64,
}

/// That, in one statement: it is asked for every step.
pub async fn around(tx: &mut Tx, mailbox: &Mailbox) -> Result<Around, StoreError> {
    let found = tx
        .one(
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM fills WHERE mailbox_id = $1 LIMIT 1) AS one) AS fills,
                 (SELECT MIN(due_at) FROM debts WHERE mailbox_id = $1) AS next_debt_at,
                 (SELECT MIN(due_at) FROM debts WHERE mailbox_id = $1 AND NOT in_bulk) AS next_change_debt_at,
                 (SELECT COUNT(*) FROM (SELECT 1 FROM debts WHERE mailbox_id = $1 AND tries < $3 LIMIT 1) AS new)
                     AS new_debts,
                 (SELECT due_at FROM coverage WHERE mailbox_id = $1) AS audit_at,
                 (SELECT backfill_day_percent FROM organizations WHERE id = $2) AS backfill_day_percent",
            args![&mailbox.id, &mailbox.organization_id, debts::OFTEN],
            |row| {
                Ok(Around {
                    has_fills: row.int("fills")? > 0,
                    next_debt_at: row.at_or_null("next_debt_at")?,
                    next_change_debt_at: row.at_or_null("next_change_debt_at")?,
                    has_new_debts: row.int("new_debts")? > 0,
                    audit_at: row.at_or_null("audit_at")?,
                    backfill_day_percent: row.int_or_null("backfill_day_percent")?.unwrap_or(100),
                })
            },
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// How many mailboxes other than this one have a watch that ends before `at`, [`WATCH_ALERT`] from now, and couldn't be
/// renewed, although their grant works; or never had one although they were connected long ago.
pub async fn other_failing_watches(tx: &mut Tx, id: &MailboxId, at: Timestamp) -> Result<i64, StoreError> {
    let created_by = at.checked_sub(WATCH_ALERT + FIRST_WATCH_ALERT).unwrap_or(Timestamp::MIN);
    let count = tx
        .one(
            "SELECT COUNT(*) AS n FROM mailboxes JOIN grants ON grants.id = mailboxes.grant_id
             WHERE mailboxes.id <> $1 AND mailboxes.watch_problem IS NOT NULL
                 AND (mailboxes.watch_expires_at < $2
                     OR mailboxes.watch_expires_at IS NULL AND mailboxes.created_at <= $3)
                 AND grants.state IN ('active', 'partial')",
            args![id, at, created_by],
            |row| row.int("n"),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// Writes what the engine knows of a mailbox. Only the holder of the lease may; the cursor never moves back, whatever
/// is handed in.
pub async fn save(tx: &mut Tx, mailbox: &Mailbox, lease: &Lease) -> Result<(), StoreError> {
    let written = tx
        .run(
            "UPDATE mailboxes SET state = $3, state_since = $4,
                 cursor = CASE WHEN cursor IS NULL OR $5 >= cursor THEN $5 ELSE cursor END, cursor_at = $6,
                 look_at = $7, probe_at = $8, watch_since = $9, watch_expires_at = $10, watch_due_at = $11,
                 watch_problem = $12, listing_page = $13, listing_done = $14, listing_pass = $15, pinned = $16,
                 total_messages = $17, oldest_ms = $18, paused_until = $19, paused_why = $20, failures = $21,
                 watch_set_at = $22, notices_read = $23, listing_label = $24,
                 filled_units = $25, filling_since = $26, copied_from_ms = $27,
                 relist_at = $28, ahead = $29, ahead_at = $30, listing_pages = $31, listing_at = $32,
                 filled_at = $33, filling_stood_s = $34, copied_at = $35,
                 unreadable = $36, compare_at = $37, compared_at = $38, labels_at = $39,
                 unseen = $40
             WHERE id = $1 AND lease_number = $2 AND lease_owner IS NOT NULL",
            args![
                &mailbox.id,
                lease.number,
                mailbox.state.word(),
                mailbox.state_since,
                mailbox.cursor,
                mailbox.cursor_at,
                mailbox.look_at,
                mailbox.probe_at,
                mailbox.watch_since,
                mailbox.watch_expires_at,
                mailbox.watch_due_at,
                mailbox.watch_problem.as_deref(),
                mailbox.listing_page.as_deref(),
                mailbox.listing_done,
                mailbox.listing_pass,
                mailbox.pinned,
                mailbox.total_messages,
                mailbox.oldest_ms,
                mailbox.paused_until,
                mailbox.paused_why.as_deref(),
                mailbox.failures,
                mailbox.watch_set_at,
                mailbox.notices_read,
                mailbox.listing_label.as_deref(),
                mailbox.filled_units,
                mailbox.filling_since,
                mailbox.copied_from_ms,
                mailbox.relist_at,
                mailbox.ahead,
                mailbox.ahead_at,
                mailbox.listing_pages,
                mailbox.listing_at,
                mailbox.filled_at,
                mailbox.filling_stood_s,
                mailbox.copied_at,
                mailbox.unreadable,
                mailbox.compare_at,
                mailbox.compared_at,
                mailbox.labels_at,
                mailbox.unseen
            ],
        )
        .await?;
    if written == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

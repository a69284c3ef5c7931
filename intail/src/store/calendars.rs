//! Calendars: those in a person's list, whether each is followed, and how far its events are read.

use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{AgendaId, OrganizationId};

/// Calendars of one person that are kept, copied and shown: more than Google's own pages show at once.
pub const CALENDARS_MAX: i64 = 1_000;

/// A calendar in a person's list. Its names are hostile text, bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Google's id, which looks like an address.
    pub id: String,
    /// What Google's list says of it.
    pub entry: Entry,
    /// Whether the person said that it is to be copied, or that it isn't; none while they said nothing.
    pub choice: Option<Choice>,
    /// The reading of the list that saw it last.
    pub list_pass: i64,
    /// Whether it left the list: its events are being deleted.
    pub is_gone: bool,
    /// What the engine is doing with it.
    pub state: CalendarState,
    /// Since when.
    pub state_since: Timestamp,
    /// The number of the present reading of its events, or of the last one.
    pub pass: i64,
    /// What the next reading goes on from; none before it was read whole.
    pub sync_token: Option<String>,
    /// The next page of a reading that isn't finished.
    pub page_token: Option<String>,
    /// Pages asked for since a reading was last complete, or given up.
    pub pages: i64,
    /// When it was last read to its end.
    pub synced_at: Option<Timestamp>,
    /// When a change was last found in it.
    pub active_at: Option<Timestamp>,
    /// When it is looked at next.
    pub look_at: Option<Timestamp>,
    /// How often somebody said that it changed.
    pub notices: i64,
    /// How many of these the newest reading began after.
    pub notices_begun: i64,
    /// How many of these the newest complete reading began after.
    pub notices_read: i64,
    /// How many of its events couldn't be read since the present or last reading of everything began; one that changed
    /// since then, and still can't be read, counts again.
    pub unreadable: i64,
    /// Why it can't be read, in one word; since when.
    pub problem: Option<String>,
    /// See [`Calendar::problem`].
    pub problem_since: Option<Timestamp>,
    /// When its channel is opened anew.
    pub channel_due_at: Option<Timestamp>,
    /// Why that failed the last time.
    pub channel_problem: Option<String>,
}

/// What Google's list says of a calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Changes with the entry.
    pub etag: String,
    /// Its name.
    pub name: String,
    /// What the person calls it; empty when they don't.
    pub own_name: String,
    /// The IANA name of its zone.
    pub zone: String,
    /// `freeBusyReader`, `reader`, `writerWithoutPrivateAccess`, `writer`, `owner`, or a word that is new.
    pub access_role: String,
    /// Whether it is the person's own first calendar.
    pub is_primary: bool,
    /// Whether it is shown in the person's calendar.
    pub is_selected: bool,
    /// Whether the person hides it from the list.
    pub is_hidden: bool,
    /// The address of the person to whom it belongs; empty of somebody's first calendar, as Google names it for others
    /// only (calendarList's reference).
    pub data_owner: String,
}

/// What a person said about a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is copied, whatever Google shows.
    Follow,
    /// It isn't.
    Leave,
}

impl Choice {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Leave => "leave",
        }
    }
}

impl FromStr for Choice {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Follow, Self::Leave].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

/// What the engine is doing with a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarState {
    /// It isn't followed, and nothing of it is stored.
    Idle,
    /// Its events are being copied.
    Backfilling,
    /// Its events are there and changes arrive.
    Live,
    /// What it was read up to is lost; everything is compared.
    Reconciling,
    /// It is no longer followed, or gone: its events are being deleted.
    Dropping,
}

impl CalendarState {
    const ALL: [Self; 5] = [Self::Idle, Self::Backfilling, Self::Live, Self::Reconciling, Self::Dropping];

    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Backfilling => "backfilling",
            Self::Live => "live",
            Self::Reconciling => "reconciling",
            Self::Dropping => "dropping",
        }
    }
}

impl FromStr for CalendarState {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.word() == word).ok_or(())
    }
}

impl Calendar {
    /// A calendar that was just seen in the list.
    pub fn new(id: &str, entry: Entry, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            entry,
            choice: None,
            list_pass: 0,
            is_gone: false,
            state: CalendarState::Idle,
            state_since: now,
            pass: 0,
            sync_token: None,
            page_token: None,
            pages: 0,
            synced_at: None,
            active_at: None,
            look_at: None,
            notices: 0,
            notices_begun: 0,
            notices_read: 0,
            unreadable: 0,
            problem: None,
            problem_since: None,
            channel_due_at: None,
            channel_problem: None,
        }
    }

    /// Whether its events are to be copied: those that Google shows, unless the person said otherwise.
    pub fn is_followed(&self) -> bool {
        let shown = self.entry.is_selected && !self.entry.is_hidden;
        !self.is_gone && self.choice.map_or(shown, |it| it == Choice::Follow)
    }

    /// Whether somebody said "look again" since its events were last read to their end.
    pub fn is_noticed(&self) -> bool {
        self.notices > self.notices_read
    }

    /// What people call it.
    pub fn title(&self) -> &str {
        if self.entry.own_name.is_empty() { &self.entry.name } else { &self.entry.own_name }
    }
}

fn calendar(row: &dyn Columns) -> Result<Calendar, StoreError> {
    Ok(Calendar {
        id: row.text("calendar_id")?,
        entry: Entry {
            etag: row.text("etag")?,
            name: row.text("name")?,
            own_name: row.text("own_name")?,
            zone: row.text("zone")?,
            access_role: row.text("access_role")?,
            is_primary: row.boolean("is_primary")?,
            is_selected: row.boolean("is_selected")?,
            is_hidden: row.boolean("is_hidden")?,
            data_owner: row.text("data_owner")?,
        },
        choice: row.parsed_or_null("choice")?,
        list_pass: row.int("list_pass")?,
        is_gone: row.boolean("is_gone")?,
        state: row.parsed("state")?,
        state_since: row.at("state_since")?,
        pass: row.int("pass")?,
        sync_token: row.text_or_null("sync_token")?,
        page_token: row.text_or_null("page_token")?,
        pages: row.int("pages")?,
        synced_at: row.at_or_null("synced_at")?,
        active_at: row.at_or_null("active_at")?,
        look_at: row.at_or_null("look_at")?,
        notices: row.int("notices")?,
        notices_begun: row.int("notices_begun")?,
        notices_read: row.int("notices_read")?,
        unreadable: row.int("unreadable")?,
        problem: row.text_or_null("problem")?,
        problem_since: row.at_or_null("problem_since")?,
        channel_due_at: row.at_or_null("channel_due_at")?,
        channel_problem: row.text_or_null("channel_problem")?,
    })
}

/// Adds a calendar.
pub async fn create(
    tx: &mut Tx,
    organization: &OrganizationId,
    agenda: &AgendaId,
    calendar: &Calendar,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO calendars (organization_id, agenda_id, calendar_id, etag, name, own_name, zone, access_role,
             is_primary, is_selected, is_hidden, data_owner, list_pass, is_gone, state, state_since, pass, notices,
             notices_begun, notices_read, unreadable)
         VALUES ($1, $2, $3, '', '', '', '', '', FALSE, FALSE, FALSE, '', $4, FALSE, $5, $6, 0, 0, 0, 0, 0)",
        args![organization, agenda, &calendar.id, calendar.list_pass, calendar.state.word(), calendar.state_since],
    )
    .await?;
    save(tx, agenda, calendar).await
}

/// Writes what the engine knows of a calendar. Whoever calls this holds the agenda's lease. What the person said and
/// how often somebody gave notice are other writers' columns.
pub async fn save(tx: &mut Tx, agenda: &AgendaId, calendar: &Calendar) -> Result<(), StoreError> {
    let entry = &calendar.entry;
    let written = tx
        .run(
            "UPDATE calendars SET etag = $3, name = $4, own_name = $5, zone = $6, access_role = $7, is_primary = $8,
                 is_selected = $9, is_hidden = $10, data_owner = $11, list_pass = $12, is_gone = $13, state = $14,
                 state_since = $15, pass = $16, sync_token = $17, page_token = $18, synced_at = $19, active_at = $20,
                 look_at = $21, notices_read = $22, unreadable = $23, problem = $24, problem_since = $25,
                 channel_due_at = $26, channel_problem = $27, notices_begun = $28, pages = $29
             WHERE agenda_id = $1 AND calendar_id = $2",
            args![
                agenda,
                &calendar.id,
                &entry.etag,
                &entry.name,
                &entry.own_name,
                &entry.zone,
                &entry.access_role,
                entry.is_primary,
                entry.is_selected,
                entry.is_hidden,
                &entry.data_owner,
                calendar.list_pass,
                calendar.is_gone,
                calendar.state.word(),
                calendar.state_since,
                calendar.pass,
                calendar.sync_token.as_deref(),
                calendar.page_token.as_deref(),
                calendar.synced_at,
                calendar.active_at,
                calendar.look_at,
                calendar.notices_read,
                calendar.unreadable,
                calendar.problem.as_deref(),
                calendar.problem_since,
                calendar.channel_due_at,
                calendar.channel_problem.as_deref(),
                calendar.notices_begun,
                calendar.pages
            ],
        )
        .await?;
    if written == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// The calendars of an agenda: the person's first one, then in order of their names. `limit` bounds it.
pub async fn of_agenda(tx: &mut Tx, agenda: &AgendaId, limit: i64) -> Result<Vec<Calendar>, StoreError> {
    tx.all(
        "SELECT * FROM calendars WHERE agenda_id = $1 ORDER BY is_primary DESC, name, calendar_id LIMIT $2",
        args![agenda, limit],
        calendar,
    )
    .await
}

/// One calendar of an agenda.
pub async fn by_id(tx: &mut Tx, agenda: &AgendaId, id: &str) -> Result<Option<Calendar>, StoreError> {
    tx.one("SELECT * FROM calendars WHERE agenda_id = $1 AND calendar_id = $2", args![agenda, id], calendar).await
}

/// Writes what the person said about a calendar; answers whether there is one. Wake the agenda in the same commit.
pub async fn choose(tx: &mut Tx, agenda: &AgendaId, id: &str, choice: Option<Choice>) -> Result<bool, StoreError> {
    let chosen = tx
        .run(
            "UPDATE calendars SET choice = $3 WHERE agenda_id = $1 AND calendar_id = $2",
            args![agenda, id, choice.map(Choice::word)],
        )
        .await?;
    Ok(chosen == 1)
}

/// Counts that somebody said that a calendar changed. Wake the agenda in the same commit.
pub async fn notice(tx: &mut Tx, agenda: &AgendaId, id: &str) -> Result<(), StoreError> {
    tx.run("UPDATE calendars SET notices = notices + 1 WHERE agenda_id = $1 AND calendar_id = $2", args![agenda, id])
        .await?;
    Ok(())
}

/// Counts the same for each calendar of an agenda that was read before: somebody asked for a look.
pub async fn notice_all(tx: &mut Tx, agenda: &AgendaId) -> Result<u64, StoreError> {
    tx.run("UPDATE calendars SET notices = notices + 1 WHERE agenda_id = $1 AND synced_at IS NOT NULL", args![agenda])
        .await
}

/// Why Google doesn't tell of changes in calendars that are copied, in its words, with how many calendars each is true
/// of, over everybody: the commonest first. `limit` bounds it.
pub async fn channel_problems(tx: &mut Tx, limit: i64) -> Result<Vec<(String, i64)>, StoreError> {
    tx.all(
        "SELECT channel_problem, COUNT(*) AS n FROM calendars
         WHERE channel_problem IS NOT NULL AND state IN ('live', 'reconciling') AND NOT is_gone
         GROUP BY channel_problem ORDER BY n DESC, channel_problem LIMIT $1",
        args![limit],
        |row| Ok((row.text("channel_problem")?, row.int("n")?)),
    )
    .await
}

/// Forgets a calendar that is gone and has no events left.
pub async fn delete(tx: &mut Tx, agenda: &AgendaId, id: &str) -> Result<(), StoreError> {
    tx.run("DELETE FROM calendars WHERE agenda_id = $1 AND calendar_id = $2", args![agenda, id]).await?;
    Ok(())
}

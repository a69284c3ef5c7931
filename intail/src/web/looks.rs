//! Looking is a reason to look: whoever opens the calendar or the directory, or leaves it open, gets what Google has
//! now rather than what it had at the last regular look. Where Google tells of changes by itself nothing is asked for
//! it.
//!
//! What a reader must not break: the mark that bounds this is in the database and set by one statement, so that any
//! number of pages at any number of instances ask no more often than one; a look is the engine's, within its budgets;
//! and what stands still, because Google said no or asked for patience, isn't moved by anybody's looking.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::access::Caller;
use super::asked::Sent;
use super::calendar::Held;
use super::directory::may_read;
use super::trouble::{self, Trouble};
use super::{Web, session};
use crate::app::App;
use crate::connect::{self, Connection};
use crate::store::agendas::{self, Agenda};
use crate::store::directories::{self, Directory};
use crate::store::directory_people::View;
use crate::store::{StoreError, calendars};
use crate::sync::calendar_plan::LIST_ENDLESS;

/// How old a calendar's last reading is before a page that is looked at is a reason for another. A look is one request
/// for each calendar of which Google doesn't tell, of the 600 that it allows a person each minute.
const CALENDARS_AFTER: SignedDuration = SignedDuration::from_secs(15);
/// After how long the list of calendars is old for whoever looks: Intail isn't told of its changes.
const LIST_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How long after a pass over the directory began a page that is looked at is a reason for another, where an
/// administrator's view is read, and where everybody's is: there less of what changes can be seen.
const DIRECTORY_AFTER: SignedDuration = SignedDuration::from_mins(1);
const PUBLIC_DIRECTORY_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// The same for a button, which is pressed on purpose.
const DIRECTORY_ASKED_AFTER: SignedDuration = SignedDuration::from_secs(15);
/// A pass over a small organization is a page or two, one of the people and one of those who were deleted. For each
/// page more it waits so much longer: a large one is asked for four pages a minute at most.
const DIRECTORY_PAGES_SMALL: i64 = 2;
const DIRECTORY_PAGE_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// What somebody who asked for a look is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Looked {
    /// It is looked at.
    Now,
    /// It was looked at a moment ago, or is being looked at.
    Lately,
    /// Something stands in the way.
    Not,
}

impl Looked {
    fn word(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Lately => "lately",
            Self::Not => "not",
        }
    }

    /// Of an address; whatever else stands there says nothing.
    pub(super) fn of(word: Option<&str>) -> Option<Self> {
        [Self::Now, Self::Lately, Self::Not].into_iter().find(|it| Some(it.word()) == word)
    }

    /// What the page says.
    pub(super) fn said(self) -> &'static str {
        match self {
            Self::Now => "Intail asks Google now. What changed appears here by itself.",
            Self::Lately => "Intail looked a moment ago, or is looking. Ask again a little later.",
            Self::Not => "Intail can’t look now. What stands in the way is said here and under Integrations.",
        }
    }
}

/// Whether nothing stands in the way of a person's calendars, as far as is known.
fn may_ask_for_calendars(connection: &Connection, agenda: &Agenda, now: Timestamp) -> bool {
    let is_clear = agenda.problem.as_deref().is_none_or(|it| it == LIST_ENDLESS);
    let may_go = agenda.paused_until.is_none_or(|until| until <= now);
    connection.reads_calendars() && is_clear && may_go && agenda.failures == 0
}

/// Somebody looks at their calendars: those of which Google doesn't tell, and that were read some time ago, are read,
/// and the list of them, for which Intail opens no channel.
pub(super) async fn at_calendars(app: &App, connection: &Connection, held: &Held) -> Result<(), StoreError> {
    let now = app.clock.now();
    let before = earlier(now, CALENDARS_AFTER);
    let is_list_old = held.agenda.listed_at.is_some_and(|at| at < earlier(now, LIST_AFTER));
    let is_old = is_list_old
        || held.untold(connection.grant.connected_at, now).any(|it| it.synced_at.is_some_and(|at| at < before));
    let was_asked = held.agenda.wanted_at.is_some_and(|at| at >= before);
    if !is_old || was_asked || !may_ask_for_calendars(connection, &held.agenda, now) {
        return Ok(());
    }
    let mut tx = app.store.write().await?;
    let is_due = agendas::look(&mut tx, &held.agenda.id, before, now).await?;
    tx.commit().await?;
    if is_due {
        app.due.ring();
    }
    Ok(())
}

/// Somebody looks at the directory: it is read anew if that is some time ago.
pub(super) async fn at_directory(app: &App, directory: &Directory) -> Result<(), StoreError> {
    ask_for_directory(app, directory, (DIRECTORY_AFTER, PUBLIC_DIRECTORY_AFTER)).await.map(|_| ())
}

async fn ask_for_directory(
    app: &App,
    directory: &Directory,
    (administrators, everybodys): (SignedDuration, SignedDuration),
) -> Result<Looked, StoreError> {
    let now = app.clock.now();
    let may_go = directory.paused_until.is_none_or(|until| until <= now) && directory.failures == 0;
    let is_clear = directory.problem.is_none() && directory.passed_at.is_some();
    let Some(view) = directory.view.filter(|_| may_go && is_clear) else { return Ok(Looked::Not) };
    let after = match view {
        View::Administrator => administrators,
        View::Public => everybodys,
    };
    let pages = i32::try_from((directory.pages - DIRECTORY_PAGES_SMALL).max(0)).unwrap_or(i32::MAX);
    let before = earlier(now, after.saturating_add(DIRECTORY_PAGE_AFTER.saturating_mul(pages)));
    let is_lately = |at: Option<Timestamp>| at.is_some_and(|at| at >= before);
    if directory.part.is_some() || is_lately(directory.began_at) || is_lately(directory.wanted_at) {
        return Ok(Looked::Lately);
    }
    let mut tx = app.store.write().await?;
    let is_due = directories::look(&mut tx, &directory.organization_id, before, now).await?;
    tx.commit().await?;
    if is_due {
        app.due.ring();
    }
    Ok(if is_due { Looked::Now } else { Looked::Lately })
}

fn earlier(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// Where somebody was who asked.
#[derive(Deserialize)]
pub(super) struct Asking {
    back: Option<String>,
}

impl Asking {
    /// Back to where they were, with what they are told.
    fn answer(&self, area: &str, looked: Looked) -> Response {
        let back = self.back.as_deref().map(session::local).filter(|it| it.starts_with(area)).unwrap_or(area);
        let mark = if back.contains('?') { '&' } else { '?' };
        Redirect::to(&format!("{back}{mark}looked={}", looked.word())).into_response()
    }
}

/// `POST /calendar/look`: asks Google now, for each calendar that is copied.
pub(super) async fn calendars(
    State(web): State<Web>,
    caller: Caller,
    Sent(asking): Sent<Asking>,
) -> Result<Response, Trouble> {
    let now = web.app.clock.now();
    let mut tx = web.app.store.read().await?;
    let connection = connect::connection(&mut tx, &caller.person.id, now).await?;
    let agenda = agendas::by_person(&mut tx, &caller.person.id).await?;
    drop(tx);
    let (connection, agenda) = connection.zip(agenda).ok_or_else(|| trouble::not_there("calendar"))?;
    if !may_ask_for_calendars(&connection, &agenda, now) {
        return Ok(asking.answer("/calendar", Looked::Not));
    }
    let mut tx = web.app.store.write().await?;
    // The agenda's row before the calendars', as the engine and notices lock them.
    let is_due = agendas::look(&mut tx, &agenda.id, earlier(now, CALENDARS_AFTER), now).await?;
    if is_due {
        calendars::notice_all(&mut tx, &agenda.id).await?;
    }
    tx.commit().await?;
    if is_due {
        web.app.due.ring();
    }
    Ok(asking.answer("/calendar", if is_due { Looked::Now } else { Looked::Lately }))
}

/// `POST /directory/look`: asks Google now.
pub(super) async fn directory(
    State(web): State<Web>,
    caller: Caller,
    Sent(asking): Sent<Asking>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let may_read = may_read(&mut tx, &caller).await?;
    let found = directories::of_organization(&mut tx, &caller.person.organization_id).await?;
    drop(tx);
    let found = found.filter(|_| may_read).ok_or_else(|| trouble::not_there("directory"))?;
    let bounds = (DIRECTORY_ASKED_AFTER, DIRECTORY_ASKED_AFTER);
    let looked = ask_for_directory(&web.app, &found, bounds).await?;
    Ok(asking.answer("/directory", looked))
}

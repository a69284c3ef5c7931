//! One bounded step of an agenda: a page of the list of calendars, a page of a calendar's events, the end of a pass, a
//! calendar that is dropped. Each asks Google first and then commits rows, token and changes together, under the lease.
//!
//! What a reader must not break: a sync token is kept only from the last page of a reading; a reading that has to begin
//! anew gets a number of its own, or what went meanwhile would count as seen; and what becomes of the exceptions of a
//! series that went, only a reading of everything tells.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use intail_google::calendar::{self as google, EventPage, Place};
use intail_google::{Caller, Error, ErrorKind, Refusal};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::budget::{Budget, Class, Permit};
use super::calendar_plan::{
    CalendarStep, LIST_ENDLESS, LIST_EVERY, Surroundings, TRAILING_LOOK, compared_from, is_told, wait,
};
use super::events::{busy_only, entry, is_id, is_private, stored};
use super::worker::{Done, StepError, lease_end};
use crate::app::App;
use crate::org::receipts::purpose;
use crate::store::agendas::{self, Agenda};
use crate::store::calendars::{self, CALENDARS_MAX, Calendar, CalendarState};
use crate::store::changes::{self, NewChange, Of};
use crate::store::channels::{self, Channel};
use crate::store::events::{self, Event};
use crate::store::grants::Grant;
use crate::store::leases::Lease;
use crate::store::{StoreError, Tx, privacy};

/// Channels of one person that are looked at: two a calendar while they are renewed.
pub(super) const CHANNELS_MAX: i64 = 2 * CALENDARS_MAX;
/// Events deleted in one step: others who write wait no longer than for a page.
const DELETE_MAX: i64 = 500;
/// Pages of one reading of a calendar's events. Full ones would hold a million events; whoever has more pages goes in a
/// circle.
const EVENT_PAGES_MAX: i64 = 5_000;
/// The fewest events that are asked for at once: half as many each time that an answer was too large. If fifteen are,
/// each has more than a megabyte of what is asked for, which isn't an event as Google keeps them.
const EVENTS_AT_ONCE_MIN: u16 = 15;
/// The same of the list of calendars: a page holds 250, and [`CALENDARS_MAX`] are copied.
const LIST_PAGES_MAX: i64 = 200;
/// When a calendar that can't be read is looked at again: soon once, then not too often.
const PROBLEM_FIRST: Duration = Duration::from_secs(10 * 60);
const PROBLEM_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// Looks are spread by up to this part of their wait (Google's quota guide: a quarter).
const SPREAD_PART: u64 = 4;
/// It isn't there, or not this person's to read.
const NOT_ACCESSIBLE: &str = "not_accessible";
/// Google took the token of the next page back in the middle of a reading.
const PAGE_REFUSED: &str = "page_refused";
/// When the list is begun anew after that.
const LIST_AGAIN: Duration = Duration::from_secs(60);

/// One run of one agenda under its lease.
pub(super) struct AgendaRun<'a> {
    pub(super) app: &'a App,
    pub(super) budget: &'a Budget,
    /// What this step may spend; it counts as spent from the step's end.
    pub(super) permits: Mutex<Vec<Permit>>,
    /// How much of the project's day the organization leaves to backfill.
    pub(super) day_percent: u64,
    pub(super) lease: &'a Lease,
    pub(super) agenda: Agenda,
    pub(super) calendars: Vec<Calendar>,
    pub(super) channels: Vec<Channel>,
    pub(super) grant: Grant,
    pub(super) caller: Caller,
    /// Whether private events are stored as busy times only.
    pub(super) busy_only: bool,
    /// Whether a page told what only a reading of everything can complete.
    pub(super) compares: bool,
    pub(super) now: Timestamp,
}

impl AgendaRun<'_> {
    /// Does one step.
    pub(super) async fn step(&mut self, step: CalendarStep) -> Result<Done, StepError> {
        self.caller.purpose = self.purpose_of(step);
        match step {
            CalendarStep::List => self.list().await,
            CalendarStep::Events(at) => self.events(at).await,
            CalendarStep::Settle(at) => self.settle(at).await,
            CalendarStep::Drop(at) => self.drop_events(at).await,
            CalendarStep::Open(at) => self.open(at).await,
            CalendarStep::Stop(at) => self.stop(at).await,
            CalendarStep::Rest(_) => Ok(Done::Step),
        }
    }

    /// Why a step asks Google, for the person's receipt.
    fn purpose_of(&self, step: CalendarStep) -> &'static str {
        match step {
            CalendarStep::List if self.agenda.listed_at.is_none() => purpose::CONNECT,
            CalendarStep::Open(_) | CalendarStep::Stop(_) => purpose::WATCH,
            CalendarStep::Events(at) => match self.calendars[at].state {
                CalendarState::Live if self.calendars[at].is_noticed() => purpose::LIVE,
                CalendarState::Live => purpose::CHECK,
                CalendarState::Reconciling => purpose::REPAIR,
                _ => purpose::BACKFILL,
            },
            _ => purpose::CHECK,
        }
    }

    pub(super) fn take(&self, class: Class) -> Result<(), Timestamp> {
        let permit = self.budget.reserve(&self.grant.google_subject, 1, class)?;
        self.permits.lock().unwrap_or_else(PoisonError::into_inner).push(permit);
        Ok(())
    }

    /// Opens the transaction of a step's results, proves the lease before anything is written in it, and reads what may
    /// be kept.
    pub(super) async fn write(&mut self) -> Result<Tx, StoreError> {
        let mut tx = self.app.store.write().await?;
        let held = agendas::hold(&mut tx, self.lease, lease_end(self.now)).await?;
        let wanted = privacy::wants_busy_only(&mut tx, &held.organization_id, &held.person_id).await?;
        self.busy_only = wanted || held.busy_only;
        Ok(tx)
    }

    /// Writes the agenda, the calendar that the step was about, and the changes, beside what `tx` holds already. A step
    /// that got here has succeeded, so earlier failures are forgotten.
    pub(super) async fn commit(
        &mut self,
        mut tx: Tx,
        about: Option<usize>,
        changes: &[NewChange],
    ) -> Result<(), StoreError> {
        self.agenda.failures = 0;
        self.agenda.paused_until = None;
        self.agenda.paused_why = None;
        // That the list has no end only a list with an end refutes.
        if self.agenda.problem.as_deref() != Some(LIST_ENDLESS) {
            self.agenda.problem = None;
            self.agenda.problem_since = None;
        }
        agendas::save(&mut tx, &self.agenda, self.lease).await?;
        if let Some(at) = about {
            calendars::save(&mut tx, &self.agenda.id, &self.calendars[at]).await?;
        }
        let of = Of {
            organization: &self.agenda.organization_id,
            person: Some(&self.agenda.person_id),
            stream: (&self.agenda.id).into(),
        };
        let grown = changes::append(&mut tx, of, changes, self.now).await?;
        tx.commit().await?;
        if grown.is_some() {
            self.app.feed.tell(&self.agenda.organization_id);
        }
        Ok(())
    }

    pub(super) fn after(&self, wait: Duration) -> Timestamp {
        self.now.saturating_add(wait).unwrap_or(self.now)
    }

    /// The same, later by up to a quarter, so that not everybody asks at once.
    pub(super) fn spread(&self, wait: Duration) -> Timestamp {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let more = Duration::from_millis(self.app.random.below(wait_ms / SPREAD_PART + 1));
        self.after(wait + more)
    }

    // ---- the list of calendars ----

    async fn list(&mut self) -> Result<Done, StepError> {
        if let Err(until) = self.take(Class::Live) {
            return Ok(Done::Wait(until));
        }
        let (sync_token, page_token) = (self.agenda.list_sync_token.clone(), self.agenda.list_page_token.clone());
        let place = Place { sync_token: sync_token.as_deref(), page_token: page_token.as_deref() };
        let page = match self.app.google.calendar(&self.caller).calendars(place).await {
            Err(error) if is_lost(&error) && (sync_token.is_some() || page_token.is_some()) => {
                tracing::info!(agenda = %self.agenda.id, %error, "the list of calendars is read anew");
                self.agenda.list_sync_token = None;
                self.agenda.list_page_token = None;
                self.agenda.list_pass += 1;
                let again = page_token.is_some().then(|| self.after(LIST_AGAIN));
                self.agenda.list_due_at = again.unwrap_or(self.now);
                let tx = self.write().await?;
                self.commit(tx, None, &[]).await?;
                return Ok(again.map_or(Done::Step, Done::Wait));
            }
            page => page?,
        };
        self.agenda.list_pages += 1;
        if sync_token.is_none() && page_token.is_none() {
            self.agenda.list_unreadable = 0;
        }
        let is_last = page.next_page_token.is_none();
        let repeats = !is_last && page.next_page_token == page_token;
        let is_endless = repeats || (!is_last && self.agenda.list_pages >= LIST_PAGES_MAX);
        let mut tx = self.write().await?;
        let mut changes = Vec::new();
        for it in &page.calendars.items {
            changes.extend(self.keep_entry(&mut tx, it).await?);
        }
        for id in &page.calendars.unreadable {
            tracing::warn!(agenda = %self.agenda.id, "an entry of the list of calendars can't be read");
            self.agenda.list_unreadable += 1;
            self.see(&mut tx, id).await?;
        }
        self.agenda.list_page_token = page.next_page_token.filter(|_| !is_endless);
        if is_last && sync_token.is_none() {
            self.miss(&mut tx).await?;
        }
        let is_told = self.agenda.problem.as_deref() == Some(LIST_ENDLESS);
        if is_endless && !is_told {
            // What it never came to isn't gone: it is read anew later.
            tracing::warn!(agenda = %self.agenda.id, "the list of calendars never ends");
            self.agenda.problem = Some(LIST_ENDLESS.to_owned());
            self.agenda.problem_since = Some(self.now);
        } else if is_last {
            self.agenda.problem = None;
            self.agenda.problem_since = None;
        }
        if is_last || is_endless {
            // What couldn't be read a token wouldn't tell again: the whole list is read until there is nothing such.
            self.agenda.list_sync_token = page.next_sync_token.filter(|_| is_last && self.agenda.list_unreadable == 0);
            self.agenda.list_pages = 0;
            self.agenda.listed_at = Some(self.now);
            self.agenda.list_due_at = self.spread(LIST_EVERY);
            if self.agenda.list_sync_token.is_none() {
                // Without a token the whole list is read each time.
                self.agenda.list_pass += 1;
            }
        }
        self.commit(tx, None, &changes).await?;
        if is_endless != is_told && (is_endless || is_last) {
            self.app.feed.tell(&self.agenda.organization_id);
        }
        Ok(Done::Step)
    }

    /// Writes what the list says of one calendar; answers the change.
    async fn keep_entry(&mut self, tx: &mut Tx, it: &google::CalendarEntry) -> Result<Option<NewChange>, StoreError> {
        let known = self.calendars.iter().position(|known| known.id == it.id);
        if it.deleted {
            if let Some(at) = known.filter(|at| !self.calendars[*at].is_gone) {
                self.calendars[at].is_gone = true;
                calendars::save(tx, &self.agenda.id, &self.calendars[at]).await?;
            }
            return Ok(None);
        }
        let entry = entry(it);
        let Some(at) = known else {
            let is_full = self.calendars.len() >= usize::try_from(CALENDARS_MAX).unwrap_or(usize::MAX);
            let is_id = is_id(&it.id);
            if is_full || !is_id {
                let agenda = &self.agenda.id;
                tracing::warn!(%agenda, "a calendar isn't copied: there are too many, or its id can't be kept");
                self.agenda.list_unreadable += i64::from(!is_id);
                return Ok(None);
            }
            let calendar = Calendar { list_pass: self.agenda.list_pass, ..Calendar::new(&it.id, entry, self.now) };
            calendars::create(tx, &self.agenda.organization_id, &self.agenda.id, &calendar).await?;
            let change = about_calendar("calendar.added", &calendar);
            self.calendars.push(calendar);
            return Ok(Some(change));
        };
        let calendar = &mut self.calendars[at];
        let is_news = calendar.entry != entry || calendar.is_gone;
        if calendar.entry.access_role != entry.access_role {
            begin_anew(calendar, self.now);
        }
        calendar.entry = entry;
        calendar.is_gone = false;
        calendar.list_pass = self.agenda.list_pass;
        calendars::save(tx, &self.agenda.id, calendar).await?;
        Ok(is_news.then(|| about_calendar("calendar.changed", calendar)))
    }

    /// A calendar whose entry can't be read is still there.
    async fn see(&mut self, tx: &mut Tx, id: &str) -> Result<(), StoreError> {
        let list_pass = self.agenda.list_pass;
        let Some(calendar) = self.calendars.iter_mut().find(|it| it.id == id) else { return Ok(()) };
        calendar.list_pass = list_pass;
        calendars::save(tx, &self.agenda.id, calendar).await
    }

    /// What a complete reading of the list didn't see has left it.
    async fn miss(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let list_pass = self.agenda.list_pass;
        let all_gone = self.calendars.iter_mut().filter(|it| it.list_pass < list_pass && !it.is_gone);
        for calendar in all_gone {
            calendar.is_gone = true;
            calendars::save(tx, &self.agenda.id, calendar).await?;
        }
        Ok(())
    }

    // ---- a calendar's events ----

    /// As whom a calendar is read: what just changed first, a backfill last.
    fn class_of(&self, calendar: &Calendar) -> Class {
        match calendar.state {
            CalendarState::Live if calendar.is_noticed() => Class::Live,
            CalendarState::Live | CalendarState::Reconciling => Class::Repair,
            _ => Class::Backfill(self.day_percent),
        }
    }

    async fn events(&mut self, at: usize) -> Result<Done, StepError> {
        let class = self.class_of(&self.calendars[at]);
        if let Err(until) = self.take(class) {
            return Ok(Done::Wait(until));
        }
        let now = self.now;
        let calendar = &mut self.calendars[at];
        let before = calendar.clone();
        if before.state == CalendarState::Idle {
            begin_pass(calendar, CalendarState::Backfilling, now);
        } else if !calendar.is_noticed() && compared_from(calendar).is_some_and(|from| from <= now) {
            // What was told of just now goes first; the look after it compares.
            begin_pass(calendar, CalendarState::Reconciling, now);
        }
        if calendar.page_token.is_none() {
            calendar.pass += 1;
            calendar.notices_begun = calendar.notices;
            if calendar.sync_token.is_none() {
                calendar.unreadable = 0;
            }
        }
        calendar.pages += 1;
        let asked = calendar.clone();
        match self.ask_for_events(&asked, class).await {
            Err(until) => {
                self.calendars[at] = before;
                return Ok(Done::Wait(until));
            }
            Ok(Ok(page)) => self.keep_page(at, &before, page).await?,
            Ok(Err(error)) => {
                if let Err(error) = self.not_read(at, error).await {
                    // Whoever tries once more begins where this did, and tells the same.
                    self.calendars[at] = before;
                    return Err(error);
                }
            }
        }
        Ok(Done::Step)
    }

    /// Asks for a page of events, and for half as many at once while the answer is larger than any that is read; or
    /// says when that may be asked. The next page is asked for whole again: what was too large is mostly not on it.
    async fn ask_for_events(&self, calendar: &Calendar, class: Class) -> Result<Result<EventPage, Error>, Timestamp> {
        let place = Place { sync_token: calendar.sync_token.as_deref(), page_token: calendar.page_token.as_deref() };
        let mut at_once = google::EVENTS_PER_PAGE;
        loop {
            match self.app.google.calendar(&self.caller).events(&calendar.id, place, at_once).await {
                Err(error) if error.is_too_large() && at_once / 2 >= EVENTS_AT_ONCE_MIN => at_once /= 2,
                answer => return Ok(answer),
            }
            tracing::info!(agenda = %self.agenda.id, at_once, "a page of events is too large; fewer are asked for");
            self.take(class)?;
        }
    }

    /// Writes a page of events, and where to go on. `was` is the calendar as it was before it was asked for.
    async fn keep_page(&mut self, at: usize, was: &Calendar, page: EventPage) -> Result<(), StepError> {
        let mut tx = self.write().await?;
        let mut changes = Vec::new();
        if self.calendars[at].state != was.state {
            changes.push(about_calendar("calendar.changed", &self.calendars[at]));
        }
        let told = self.keep_events(&mut tx, at, page.events).await?;
        let is_news = !told.is_empty();
        if self.calendars[at].state == CalendarState::Live && self.calendars[at].unreadable != was.unreadable {
            // How much can't be read is a part of how the copy stands. At the end of a pass it is told anyway.
            changes.push(about_calendar("calendar.changed", &self.calendars[at]));
        }
        changes.extend(told);
        let (now, is_noticed) = (self.now, self.calendars[at].is_noticed());
        let role = page.access_role.filter(|it| *it != self.calendars[at].entry.access_role);
        let repeats = page.next_page_token == self.calendars[at].page_token;
        if is_news {
            self.calendars[at].active_at = Some(now);
        }
        if self.calendars[at].problem.as_deref() == Some(NOT_ACCESSIBLE) {
            // A page was read: what comes next isn't the second time in a row.
            self.calendars[at].problem = None;
            self.calendars[at].problem_since = None;
        }
        let calendar = &mut self.calendars[at];
        let is_endless = repeats || calendar.pages >= EVENT_PAGES_MAX;
        match (page.next_page_token, page.next_sync_token) {
            (Some(next), _) if !is_endless => calendar.page_token = Some(next),
            (next @ Some(_), _) | (next, None) => {
                // Neither a next page nor a token: nothing can be gone on from. It is read anew later.
                let problem = if next.is_some() { "endless" } else { "no_token" };
                tracing::warn!(agenda = %self.agenda.id, problem, "a reading of events can't be gone on with");
                begin_pass(calendar, CalendarState::Reconciling, now);
                calendar.pages = 0;
                self.stand(at, problem, PROBLEM_AGAIN);
            }
            (None, Some(token)) => {
                let is_whole = calendar.sync_token.is_none();
                calendar.sync_token = Some(token);
                calendar.page_token = None;
                calendar.pages = 0;
                calendar.synced_at = Some(now);
                calendar.notices_read = calendar.notices_begun;
                calendar.problem = None;
                calendar.problem_since = None;
                if !is_whole {
                    changes.extend(self.forget_orphans(&mut tx, at).await?);
                }
                let is_told = is_told(&self.calendars[at], &self.channels, self.grant.connected_at, now);
                let look = Duration::try_from(wait(&self.calendars[at], is_told, now)).unwrap_or_default();
                // A notice may come before its data can be read, or before a part of it.
                let trailing = is_noticed.then(|| now.saturating_add(TRAILING_LOOK).unwrap_or(now));
                self.calendars[at].look_at = Some(trailing.unwrap_or_else(|| self.spread(look)));
            }
        }
        let compares = std::mem::take(&mut self.compares);
        let calendar = &mut self.calendars[at];
        if compares && calendar.state == CalendarState::Live {
            begin_pass(calendar, CalendarState::Reconciling, now);
        }
        if let Some(role) = role {
            calendar.entry.access_role = role;
            // A first page was read as who the person is now; what it goes on with isn't mixed.
            if was.page_token.is_some() || was.sync_token.is_some() {
                begin_anew(calendar, now);
            }
        }
        self.commit(tx, Some(at), &changes).await?;
        Ok(())
    }

    /// Writes what a page says of events; answers the changes.
    async fn keep_events(
        &mut self,
        tx: &mut Tx,
        at: usize,
        page: google::Readable<google::Event>,
    ) -> Result<Vec<NewChange>, StoreError> {
        let page = each_once(page);
        let calendar = self.calendars[at].id.clone();
        let ids: Vec<String> = page.items.iter().map(|it| it.id.clone()).collect();
        let known = events::by_ids(tx, &self.agenda.id, &calendar, &ids).await?;
        let (mut gone, mut seen, mut written, mut changes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut unreadable: Vec<String> = page.unreadable;
        for item in page.items {
            if item.is_cancelled() && !item.is_cancelled_occurrence() {
                gone.push(item.id);
                continue;
            }
            let id = item.id.clone();
            let Some(event) = stored(&calendar, item) else {
                unreadable.push(id);
                continue;
            };
            let event = if self.busy_only && is_private(&event) { busy_only(event) } else { event };
            match known.get(&id) {
                Some(before) if *before == event => seen.push(id),
                before => {
                    let kind = if before.is_some() { "event.changed" } else { "event.added" };
                    changes.push(about_event(kind, &calendar, &event));
                    written.push(event);
                }
            }
        }
        // What can't be read any more stays as it was: it is there, and somebody is told.
        self.calendars[at].unreadable += i64::try_from(unreadable.len()).unwrap_or(i64::MAX);
        seen.extend(unreadable.into_iter().filter(|id| !id.is_empty()));
        let pass = self.calendars[at].pass;
        let (organization, agenda) = (&self.agenda.organization_id, &self.agenda.id);
        let of = events::Of { organization, agenda, calendar: &calendar };
        events::put(tx, of, &written, pass).await?;
        events::seen(tx, &self.agenda.id, &calendar, &seen, pass).await?;
        for series in &gone {
            // Google says nothing of its exceptions: most went along, but who is invited to one of them alone keeps it.
            // Only a reading of everything tells.
            let parts = events::exceptions(tx, &self.agenda.id, &calendar, series, 1).await?;
            self.compares |= !parts.is_empty();
        }
        changes.extend(self.delete(tx, &calendar, &gone).await?);
        Ok(changes)
    }

    /// Deletes events; answers the changes of those that were there.
    async fn delete(&self, tx: &mut Tx, calendar: &str, ids: &[String]) -> Result<Vec<NewChange>, StoreError> {
        let deleted = events::delete(tx, &self.agenda.id, calendar, ids).await?;
        let told = |id| NewChange { kind: "event.deleted", subject_id: id, data: json!({ "calendar_id": calendar }) };
        Ok(deleted.into_iter().map(told).collect())
    }

    /// Cancelled occurrences of no series hide nothing; Google lists them to nobody.
    async fn forget_orphans(&self, tx: &mut Tx, at: usize) -> Result<Vec<NewChange>, StoreError> {
        let calendar = &self.calendars[at];
        let mut changes = Vec::new();
        // All of them: of a series that went Google told each occurrence, and the next reading begins behind that.
        loop {
            let ids = events::orphans(tx, &self.agenda.id, &calendar.id, calendar.pass, DELETE_MAX).await?;
            changes.extend(self.delete(tx, &calendar.id, &ids).await?);
            if is_last(&ids) {
                return Ok(changes);
            }
        }
    }

    /// A page of events couldn't be read.
    async fn not_read(&mut self, at: usize, error: Error) -> Result<(), StepError> {
        let now = self.now;
        let calendar = &mut self.calendars[at];
        let had_page = calendar.page_token.is_some();
        let had_token = calendar.sync_token.is_some();
        let mut changes = Vec::new();
        match &error.kind {
            // Google took the page's token back: the reading begins anew, with a number of its own.
            ErrorKind::Refused(Refusal::Invalid) if had_page => self.begin_anew(at),
            ErrorKind::CursorGone if had_page && !had_token => self.begin_anew(at),
            _ if is_lost(&error) && had_token => {
                let (agenda, reason) = (&self.agenda.id, error.reason.as_deref());
                tracing::info!(%agenda, reason, "a calendar's sync token is no longer good; everything is compared");
                begin_pass(calendar, CalendarState::Reconciling, now);
                changes.push(about_calendar("calendar.changed", calendar));
            }
            // Whether it left the list only the list says: it is read now, and goes first.
            ErrorKind::Refused(Refusal::NotFound | Refusal::Forbidden | Refusal::Deleted)
                if calendar.problem.as_deref() == Some(NOT_ACCESSIBLE) =>
            {
                // Twice in a row: it isn't this person's to read any more, and nothing of it may stay.
                calendar.state = CalendarState::Dropping;
                calendar.state_since = now;
                self.stand(at, NOT_ACCESSIBLE, PROBLEM_AGAIN);
                self.agenda.list_due_at = now;
            }
            ErrorKind::Refused(Refusal::NotFound | Refusal::Forbidden | Refusal::Deleted) => {
                self.stand(at, NOT_ACCESSIBLE, PROBLEM_FIRST);
                self.agenda.list_due_at = now;
            }
            ErrorKind::Refused(Refusal::Invalid) | ErrorKind::NotUnderstood => {
                self.stand(at, error.kind.word(), PROBLEM_AGAIN);
            }
            _ => return Err(error.into()),
        }
        let tx = self.write().await?;
        self.commit(tx, Some(at), &changes).await?;
        Ok(())
    }

    /// A reading begins anew from its first page: at once, and later if the same happened to the one before.
    fn begin_anew(&mut self, at: usize) {
        let now = self.now;
        let calendar = &mut self.calendars[at];
        calendar.page_token = None;
        if calendar.problem.as_deref() == Some(PAGE_REFUSED) {
            return self.stand(at, PAGE_REFUSED, PROBLEM_FIRST);
        }
        calendar.problem = Some(PAGE_REFUSED.to_owned());
        calendar.problem_since = Some(now);
        calendar.look_at = Some(now);
    }

    /// Says why a calendar can't be read, and when it is tried again. Other calendars go on.
    fn stand(&mut self, at: usize, problem: &str, again: Duration) {
        let (look_at, now) = (self.spread(again), self.now);
        let calendar = &mut self.calendars[at];
        if calendar.problem.as_deref() != Some(problem) {
            calendar.problem = Some(problem.to_owned());
            calendar.problem_since = Some(now);
        }
        calendar.notices_read = calendar.notices;
        calendar.look_at = Some(look_at);
    }

    // ---- the end of a pass, and of a calendar ----

    /// Deletes what a complete reading didn't see: a full list has no tombstones.
    async fn settle(&mut self, at: usize) -> Result<Done, StepError> {
        let mut tx = self.write().await?;
        let (calendar, pass) = (self.calendars[at].id.clone(), self.calendars[at].pass);
        let ids = events::unseen(&mut tx, &self.agenda.id, &calendar, pass, DELETE_MAX).await?;
        let mut changes = self.delete(&mut tx, &calendar, &ids).await?;
        if is_last(&ids) {
            changes.extend(self.forget_orphans(&mut tx, at).await?);
            let calendar = &mut self.calendars[at];
            calendar.state = CalendarState::Live;
            calendar.state_since = self.now;
            changes.push(about_calendar("calendar.changed", calendar));
        }
        self.commit(tx, Some(at), &changes).await?;
        Ok(Done::Step)
    }

    /// Deletes the events of a calendar that isn't followed any more; then a calendar that is gone goes too.
    async fn drop_events(&mut self, at: usize) -> Result<Done, StepError> {
        let mut tx = self.write().await?;
        let now = self.now;
        let id = self.calendars[at].id.clone();
        if self.calendars[at].state != CalendarState::Dropping {
            self.calendars[at].state = CalendarState::Dropping;
            self.calendars[at].state_since = now;
        }
        channels::give_up(&mut tx, &self.agenda.id, &id).await?;
        let ids = events::unseen(&mut tx, &self.agenda.id, &id, i64::MAX, DELETE_MAX).await?;
        let mut changes = self.delete(&mut tx, &id, &ids).await?;
        let calendar = &mut self.calendars[at];
        calendar.sync_token = None;
        calendar.page_token = None;
        calendar.synced_at = None;
        calendar.channel_due_at = None;
        calendar.notices_read = calendar.notices;
        if !is_last(&ids) {
            self.commit(tx, Some(at), &changes).await?;
            return Ok(Done::Step);
        }
        if calendar.is_gone {
            changes.push(about_calendar("calendar.deleted", calendar));
            calendars::delete(&mut tx, &self.agenda.id, &id).await?;
            self.commit(tx, None, &changes).await?;
            return Ok(Done::Step);
        }
        calendar.state = CalendarState::Idle;
        calendar.state_since = now;
        if calendar.problem.is_none() {
            calendar.look_at = None;
        }
        changes.push(about_calendar("calendar.changed", calendar));
        self.commit(tx, Some(at), &changes).await?;
        Ok(Done::Step)
    }
}

/// What following the privacy settings took.
pub(super) enum Followed {
    /// What is stored follows them already.
    Already,
    /// A page was done; says which changes to tell.
    Page(Vec<NewChange>),
}

/// Brings what is stored closer to the privacy settings, by a page. Needs nobody but the database, so it goes on while
/// Google can't be asked; `tx` holds the lease.
pub(super) async fn follow_privacy(
    tx: &mut Tx,
    agenda: &mut Agenda,
    calendars: &mut [Calendar],
    now: Timestamp,
) -> Result<Followed, StoreError> {
    let wanted = privacy::wants_busy_only(tx, &agenda.organization_id, &agenda.person_id).await?;
    if wanted == agenda.busy_only {
        return Ok(Followed::Already);
    }
    if wanted {
        let hidden = events::hide_private(tx, &agenda.id, DELETE_MAX).await?;
        agenda.busy_only = i64::try_from(hidden.len()).unwrap_or(i64::MAX) < DELETE_MAX;
        let told = hidden.iter().map(|it| about_event("event.changed", &it.calendar_id, it));
        return Ok(Followed::Page(told.collect()));
    }
    // What may be kept again is read again: a token tells only of what changes from now on.
    agenda.busy_only = false;
    let mut told = Vec::new();
    for calendar in calendars.iter_mut().filter(|it| it.sync_token.is_some() || it.page_token.is_some()) {
        let is_live = calendar.state == CalendarState::Live;
        let state = if is_live { CalendarState::Reconciling } else { calendar.state };
        begin_pass(calendar, state, now);
        calendars::save(tx, &agenda.id, calendar).await?;
        told.push(about_calendar("calendar.changed", calendar));
    }
    Ok(Followed::Page(told))
}

/// Begins a reading of everything: whatever was begun before is over.
pub(super) fn begin_pass(calendar: &mut Calendar, state: CalendarState, now: Timestamp) {
    calendar.state = state;
    calendar.state_since = now;
    calendar.sync_token = None;
    calendar.page_token = None;
    calendar.look_at = None;
}

/// What may be seen of a calendar is different now: Google ends the token, what was read before is compared with
/// everything, and what is being read, too: its first pages show what the person saw then, and nothing would tell of
/// that again.
fn begin_anew(calendar: &mut Calendar, now: Timestamp) {
    match calendar.state {
        CalendarState::Live | CalendarState::Reconciling => begin_pass(calendar, CalendarState::Reconciling, now),
        CalendarState::Backfilling => begin_pass(calendar, CalendarState::Backfilling, now),
        CalendarState::Idle | CalendarState::Dropping => {}
    }
}

/// Each event of a page once: what is said of it last counts. Told twice, it would be added twice, and PostgreSQL
/// doesn't write a row twice in one statement. Under an id that can't be kept nothing is looked for.
fn each_once(page: google::Readable<google::Event>) -> google::Readable<google::Event> {
    let (kept, strange): (Vec<_>, Vec<_>) = page.items.into_iter().partition(|it| is_id(&it.id));
    let mut said_later = BTreeSet::new();
    let mut items: Vec<_> = kept.into_iter().rev().filter(|it| said_later.insert(it.id.clone())).collect();
    items.reverse();
    let unreadable = page.unreadable.into_iter().map(|id| if is_id(&id) { id } else { String::new() });
    google::Readable { items, unreadable: unreadable.chain(strange.iter().map(|_| String::new())).collect() }
}

/// Whether a sync or page token is no longer good: a 410 about the token, or a 400 for one that Google doesn't know.
fn is_lost(error: &Error) -> bool {
    error.kind == ErrorKind::CursorGone || error.kind == ErrorKind::Refused(Refusal::Invalid)
}

fn is_last(ids: &[String]) -> bool {
    i64::try_from(ids.len()).unwrap_or(i64::MAX) < DELETE_MAX
}

fn about_calendar(kind: &'static str, calendar: &Calendar) -> NewChange {
    NewChange { kind, subject_id: calendar.id.clone(), data: json!({ "state": calendar.state.word() }) }
}

pub(super) fn about_event(kind: &'static str, calendar: &str, event: &Event) -> NewChange {
    let data = json!({ "calendar_id": calendar, "etag": event.etag, "status": event.status });
    NewChange { kind, subject_id: event.id.clone(), data }
}

/// What is known about an agenda beside its row.
pub(super) fn around<'a>(
    app: &App,
    grant: &Grant,
    calendars: &'a [Calendar],
    channels: &'a [Channel],
) -> Surroundings<'a> {
    let is_reachable = app.config.google.calendar_notices;
    Surroundings { calendars, channels, is_reachable, is_backfill_held: false, connected_at: grant.connected_at }
}

/// How long nothing is asked after something stood in the way of all calendars: an administrator, or none is there.
pub(super) const BLOCKED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// What stands in the way of calendars alone, in one word: mail goes on meanwhile.
pub(super) fn blocked(kind: &ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NoCalendar => Some("no_calendar"),
        ErrorKind::AdminBlocked(_) => Some("blocked_by_administrator"),
        ErrorKind::Refused(Refusal::Operator(_)) => Some("api_disabled"),
        _ => None,
    }
}

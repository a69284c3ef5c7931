//! An agenda's turn: reads its row and its calendars, lets `calendar_plan` decide, and does that one step under its
//! grant.

use std::sync::Mutex;

use intail_google::calls::Api;
use intail_google::oauth::scope;
use intail_google::{ErrorKind, Refusal};
use jiff::Timestamp;

use super::calendar::{AgendaRun, BLOCKED_FOR, CHANNELS_MAX, Followed, around, blocked, follow_privacy};
use super::calendar_plan::{CalendarStep, Surroundings, is_new, plan};
use super::worker::{Done, StepError, Worker, lease_end};
use crate::access;
use crate::store::agendas::{self, Agenda};
use crate::store::grants::{self, Grant};
use crate::store::leases::Lease;
use crate::store::{StoreError, calendars, changes, channels, quota};

impl Worker {
    /// One step of an agenda; answers when to rest until, or nothing when there is more to do at once.
    pub(super) async fn calendar_turn(
        &self,
        lease: &Lease,
        known: &mut Option<Grant>,
    ) -> Result<Option<Option<Timestamp>>, StepError> {
        let now = self.app.clock.now();
        let mut tx = self.app.store.write().await?;
        let mut agenda = agendas::hold(&mut tx, lease, lease_end(now)).await?;
        let grant = grants::by_id(&mut tx, &agenda.grant_id).await?.ok_or(StoreError::LeaseLost)?;
        if known.is_none() && !self.worked_last(lease) {
            self.budgets.of(Api::Calendar).remember(&grant.google_subject, &agenda.spent);
        }
        *known = Some(grant.clone());
        let mut calendars = calendars::of_agenda(&mut tx, &agenda.id, calendars::CALENDARS_MAX).await?;
        // What may not be kept goes before anything else, and needs nobody's permission.
        if let Followed::Page(told) = follow_privacy(&mut tx, &mut agenda, &mut calendars, now).await? {
            agendas::save(&mut tx, &agenda, lease).await?;
            let of = changes::Of {
                organization: &agenda.organization_id,
                person: Some(&agenda.person_id),
                stream: (&agenda.id).into(),
            };
            let grown = changes::append(&mut tx, of, &told, now).await?;
            tx.commit().await?;
            if grown.is_some() {
                self.tell(&agenda.organization_id);
            }
            return Ok(None);
        }
        let channels = channels::of_agenda(&mut tx, &agenda.id, CHANNELS_MAX).await?;
        let day_percent = quota::backfill_day_percent(&mut tx, &agenda.organization_id).await?;
        tx.commit().await?;
        // Whoever permits calendars again wakes it.
        if grant.state.works() && !access::permits(&grant, scope::CALENDAR_READONLY) {
            return Ok(Some(None));
        }
        let step = match plan(&agenda, around(&self.app, &grant, &calendars, &channels), now) {
            CalendarStep::Rest(until) => return Ok(Some(until)),
            step => step,
        };
        let caller = access::caller_of(&self.app, &grant).await?;
        let mut run = AgendaRun {
            app: &self.app,
            budget: self.budgets.of(Api::Calendar),
            permits: Mutex::default(),
            day_percent: u64::try_from(day_percent).unwrap_or(0),
            lease,
            busy_only: agenda.busy_only,
            compares: false,
            agenda,
            calendars,
            channels,
            grant,
            caller,
            now,
        };
        let done = match run.step_or_look(step).await {
            // An access token may die before its time: refresh it once, and try once more.
            Err(StepError::Google(error)) if error.kind == ErrorKind::Refused(Refusal::Unauthorized) => {
                run.caller = access::renewed(&self.app, &run.grant.id, &run.caller).await?;
                run.step_or_look(step).await
            }
            done => done,
        };
        match done {
            Err(StepError::Google(error)) => match blocked(&error.kind) {
                Some(problem) => self.stand_still(lease, problem, now).await.map(|until| Some(Some(until))),
                None => Err(error.into()),
            },
            Err(error) => Err(error),
            Ok(Done::Step) => Ok(None),
            Ok(Done::Wait(until)) => Ok(Some(Some(until))),
        }
    }

    /// Something stands in the way of calendars alone: it is told, and tried again later.
    async fn stand_still(&self, lease: &Lease, problem: &str, now: Timestamp) -> Result<Timestamp, StepError> {
        let mut tx = self.app.store.write().await?;
        let agenda = agendas::hold(&mut tx, lease, lease_end(now)).await?;
        let is_news = agenda.problem.as_deref() != Some(problem);
        let since = agenda.problem_since.filter(|_| !is_news).or(Some(now));
        let standing = Agenda { problem: Some(problem.to_owned()), problem_since: since, ..agenda };
        agendas::save(&mut tx, &standing, lease).await?;
        tx.commit().await?;
        if is_news {
            tracing::warn!(agenda = %standing.id, problem, "calendars can't be read");
            self.tell(&standing.organization_id);
        }
        Ok(now.saturating_add(BLOCKED_FOR).unwrap_or(now))
    }
}

impl AgendaRun<'_> {
    /// Does one step. If it would copy something new and has to wait for that, whatever else is due is done meanwhile:
    /// a backfill that waits for tomorrow's share of the project's day doesn't keep anybody from what changes today.
    async fn step_or_look(&mut self, step: CalendarStep) -> Result<Done, StepError> {
        let is_new = matches!(step, CalendarStep::Events(at) if is_new(self.calendars[at].state));
        let until = match self.step(step).await? {
            Done::Wait(until) if is_new => until,
            done => return Ok(done),
        };
        let around = around(self.app, &self.grant, &self.calendars, &self.channels);
        match plan(&self.agenda, Surroundings { is_backfill_held: true, ..around }, self.now) {
            CalendarStep::Rest(next) => Ok(Done::Wait(next.map_or(until, |next| next.min(until)))),
            step => self.step(step).await,
        }
    }
}

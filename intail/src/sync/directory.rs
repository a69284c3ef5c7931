//! One bounded step of an organization's directory: ask what a grant may see, choose the one that reads, list a page,
//! look at those whom nobody saw. Google has no cursor here: a pass lists everybody and compares. `plan` decides, from
//! the row and the grants alone; each step asks Google first and then commits people, changes and place together, under
//! the lease.
//!
//! What a reader must not break: a page is read with the view that its pass began with; and a listing that lacks the
//! very account that reads it proves nothing about anybody's absence.

use std::collections::{BTreeMap, BTreeSet};

use intail_google::directory::{self as google, User, UserPage};
use intail_google::{Caller, Error, ErrorKind, Refusal};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::budget::{Budget, Class};
use super::lifecycle::{self, Lifecycle};
use super::profiles::{self, Meaning, Telling, Told};
use super::worker::{Done, StepError, lease_end};
use crate::app::App;
use crate::id::{GrantId, StreamId};
use crate::org::audit;
use crate::org::receipts::purpose;
use crate::store::changes::{self, NewChange, Of};
use crate::store::directories::{self, Directory, Part};
use crate::store::directory_people::{self, DirectoryPerson, View};
use crate::store::directory_readers::{self, Ability, Reader};
use crate::store::grants::{self, Grant};
use crate::store::leases::Lease;
use crate::store::{StoreError, Tx, organizations};

/// How often an administrator's view is read: whoever is suspended at Google pauses here within this time.
const ADMINISTRATORS_PASS_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How often the public view is read. Nothing urgent is in it, and Google tells nobody of its changes.
const PUBLIC_PASS_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// How much earlier a pass may begin, as a part of the time between two: so that organizations which began together
/// drift apart over the day.
const EARLIER_PART: i64 = 10;
/// How much of the time between two passes must be over since a pass counted whom it didn't see, for another to count:
/// half, which is less than [`EARLIER_PART`] ever takes away.
const COUNTED_AFTER_PART: i64 = 2;
/// How long a grant isn't asked again what it may see.
pub(super) const ASK_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Grants of an organization that are asked in that time: administrators come first, and one is enough.
const ASKED_MAX: i64 = 200;
/// Grants among which one is chosen.
pub(super) const CANDIDATES_MAX: i64 = 50;
/// How long a pass may take: its page tokens are good for three days (google-behaviour.md, §6). An hour less, so that
/// no token dies on its way.
const PASS_MAX: SignedDuration = SignedDuration::from_hours(71);
/// Pages of one pass: full ones would hold a million people. Whoever has more goes in a circle.
const PAGES_MAX: i64 = 2_000;
/// The first wait before a pass that Google broke off begins anew, and the longest.
const RESTART_FIRST: SignedDuration = SignedDuration::from_secs(30);
const RESTART_MAX: SignedDuration = SignedDuration::from_hours(1);
/// How long after a pass began another one may, when there is a reason to look before its time.
const WANTED_AFTER: SignedDuration = SignedDuration::from_secs(15);
/// People whom nobody saw, looked at in one step.
const SETTLE_MAX: i64 = 500;
/// People of whom Google is asked in one step whether they are deleted: with its usual answers some seconds.
const CONFIRMED_AT_ONCE: usize = 20;
/// How often in a row nothing is heard of somebody until the pass goes on without knowing.
const CONFIRM_TRIES_MAX: i64 = 5;

/// How long nothing is asked after something stood in the way of the whole directory: an administrator, or the
/// operator.
const BLOCKED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How many people may be missing at once whatever their share: a small organization may lose most of its people.
const MISSING_PLAUSIBLE: i64 = 20;
/// A pass that misses more than so many of a hundred of all, and more than [`MISSING_PLAUSIBLE`], is no proof of
/// anybody's absence: likelier than that they all left is that Google doesn't show them at the moment.
const MISSING_PERCENT_MAX: i64 = 50;
/// When it is believed all the same: no fault of Google's lasted so long, and somebody could read of it.
const MISSING_BELIEVED_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Most people are missing.
pub(super) const MOST_ARE_MISSING: &str = "most_are_missing";
/// Nobody's grant permits the directory.
pub(super) const NOBODY_PERMITS: &str = "nobody_permits";
/// No grant may see it: the accounts belong to no organization, or it is closed to them.
pub(super) const NO_DIRECTORY: &str = "no_directory";

/// One bounded piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask whether a grant sees what administrators see.
    Ask(GrantId),
    /// From now on this grant reads, with this view.
    Choose(GrantId, View),
    /// Nobody can read it, for this reason.
    GiveUp(&'static str),
    /// List the next page; the first one begins a pass.
    List,
    /// Look at those whom the pass didn't see.
    Settle,
    /// Nothing now; due again then.
    Rest(Option<Timestamp>),
}

/// The next step. `candidates` are grants that work and permit the directory, in the store's order; `asked` is how many
/// of the organization were asked within the last day.
pub(super) fn plan(directory: &Directory, candidates: &[Reader], asked: i64, now: Timestamp) -> Step {
    if let Some(until) = directory.paused_until.filter(|until| *until > now) {
        return Step::Rest(Some(until));
    }
    let again_at = |it: &Reader| it.asked_at.map_or(now, |at| later(at, ASK_AGAIN_AFTER));
    let current = candidates.iter().find(|it| Some(&it.grant_id) == directory.grant_id.as_ref());
    let best = candidates.iter().find(|it| it.ability == Some(Ability::Administrator));
    let is_between = directory.part.is_none() || current.is_none();
    if best.is_none()
        && is_between
        && asked < ASKED_MAX
        && let Some(due) = candidates.iter().find(|it| again_at(it) <= now)
    {
        return Step::Ask(due.grant_id.clone());
    }
    let others = || candidates.iter().find(|it| it.ability != Some(Ability::Nothing));
    let wanted = best.map(|it| (it, View::Administrator)).or_else(|| others().map(|it| (it, View::Public)));
    let ask_at = candidates.iter().map(again_at).filter(|at| *at > now).min().filter(|_| best.is_none());
    let Some((reader, view)) = wanted else {
        let problem = if candidates.is_empty() { NOBODY_PERMITS } else { NO_DIRECTORY };
        let is_told = directory.problem.as_deref() == Some(problem) && directory.grant_id.is_none();
        return if is_told { Step::Rest(ask_at) } else { Step::GiveUp(problem) };
    };
    let sees_as_much = |it: &Reader| match view {
        View::Administrator => it.ability == Some(Ability::Administrator),
        View::Public => it.ability != Some(Ability::Nothing),
    };
    if directory.view != Some(view) || !current.is_some_and(sees_as_much) {
        return Step::Choose(reader.grant_id.clone(), view);
    }
    match directory.part {
        Some(Part::Settle) => Step::Settle,
        Some(Part::People | Part::Deleted) => Step::List,
        None => {
            // A reason that came after the last pass had begun may not be in what it saw.
            let wanted = directory.wanted_at.zip(directory.began_at).filter(|(wanted, began)| wanted > began);
            let wanted_at = wanted.map(|(_, began)| later(began, WANTED_AFTER));
            let pass_at = match directory.next_pass_at {
                Some(at) => wanted_at.map_or(at, |wanted| wanted.min(at)),
                None => now,
            };
            if pass_at <= now { Step::List } else { Step::Rest([Some(pass_at), ask_at].into_iter().flatten().min()) }
        }
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// One run of one directory under its lease and under one grant.
pub(super) struct Run<'a> {
    pub(super) app: &'a App,
    pub(super) budget: &'a Budget,
    pub(super) lease: &'a Lease,
    pub(super) directory: Directory,
    pub(super) grant: Grant,
    pub(super) caller: Caller,
    pub(super) now: Timestamp,
}

impl Run<'_> {
    /// Asks whether the grant sees what administrators see, by its own account's entry.
    pub(super) async fn ask(&mut self) -> Result<Done, StepError> {
        self.caller.purpose = purpose::CHECK;
        let _permit = match self.budget.reserve(&self.grant.google_subject, 1, Class::Live) {
            Ok(permit) => permit,
            Err(until) => return Ok(Done::Wait(until)),
        };
        let asked = self.app.google.directory(&self.caller);
        let ability = match asked.user(&self.grant.google_subject, google::View::Administrator).await {
            Ok(_) => Ability::Administrator,
            Err(error) if is_no(&error) => Ability::Public,
            Err(error) => return Err(error.into()),
        };
        self.can(ability).await
    }

    /// Remembers what the grant may see, and goes on.
    async fn can(&mut self, ability: Ability) -> Result<Done, StepError> {
        let mut tx = self.app.store.write().await?;
        let (organization, grant) = (&self.directory.organization_id, &self.grant.id);
        directory_readers::put(&mut tx, organization, grant, ability, self.now).await?;
        self.commit(tx, &[], Lifecycle::default()).await?;
        Ok(Done::Step)
    }

    /// Begins or goes on with a pass: one page of it.
    pub(super) async fn list(&mut self) -> Result<Done, StepError> {
        let is_over = self.directory.began_at.is_none_or(|at| later(at, PASS_MAX) <= self.now);
        if self.directory.part.is_none() || is_over {
            self.begin();
        }
        let is_first = self.directory.passed_at.is_none();
        self.caller.purpose = if is_first { purpose::BACKFILL } else { purpose::CHECK };
        let class = if is_first { Class::BACKFILL } else { Class::Repair };
        let _permit = match self.budget.reserve(&self.grant.google_subject, 1, class) {
            Ok(permit) => permit,
            Err(until) => return Ok(Done::Wait(until)),
        };
        let view = match (self.view(), self.directory.part) {
            (View::Public, _) => google::View::Public,
            (View::Administrator, Some(Part::Deleted)) => google::View::Deleted,
            (View::Administrator, _) => google::View::Administrator,
        };
        let token = self.directory.page_token.clone();
        self.directory.pages += 1;
        let is_long = self.directory.pages >= PAGES_MAX;
        match self.app.google.directory(&self.caller).users(view, token.as_deref()).await {
            // Google would hand out the same pages for ever.
            Ok(page) if page.next_page_token.is_some() && (is_long || page.next_page_token == token) => {
                self.restart().await
            }
            Ok(page) => self.keep(page).await,
            Err(error) if error.kind == ErrorKind::CursorGone => self.restart().await,
            Err(error) if self.view() == View::Administrator && is_no(&error) => self.can(Ability::Public).await,
            Err(error) if error.kind == ErrorKind::NoDirectory || is_no(&error) => self.can(Ability::Nothing).await,
            Err(error) => Err(error.into()),
        }
    }

    fn view(&self) -> View {
        self.directory.view.unwrap_or(View::Public)
    }

    fn begin(&mut self) {
        self.directory.pass += 1;
        self.directory.part = Some(Part::People);
        self.directory.page_token = None;
        self.directory.pages = 0;
        self.directory.began_at = Some(self.now);
        self.directory.seen = 0;
        self.directory.unreadable = 0;
    }

    /// The pass can't go on: its page token died.
    async fn restart(&mut self) -> Result<Done, StepError> {
        self.break_off();
        tracing::info!(directory = %self.directory.id, "a pass over a directory broke off and begins anew");
        let tx = self.app.store.write().await?;
        self.commit(tx, &[], Lifecycle::default()).await?;
        Ok(Done::Step)
    }

    /// The pass is over and not complete; another begins soon, and later each time. Whom it saw stays; it proves
    /// nothing about the others.
    fn break_off(&mut self) {
        let doublings = u32::try_from(self.directory.restarts.clamp(0, 16)).unwrap_or(0);
        let wait = RESTART_FIRST.checked_mul(1 << doublings).unwrap_or(RESTART_MAX).min(RESTART_MAX);
        self.directory.restarts += 1;
        self.directory.part = None;
        self.directory.page_token = None;
        self.directory.next_pass_at = Some(later(self.now, wait));
    }

    /// Writes a page: those who changed, a mark for the others, and where the next page begins.
    async fn keep(&mut self, page: UserPage) -> Result<Done, StepError> {
        let mut tx = self.app.store.read().await?;
        let domains = organizations::domains(&mut tx, &self.directory.organization_id).await?;
        drop(tx);
        let is_deleted = self.directory.part == Some(Part::Deleted);
        let telling =
            Telling { view: self.view(), is_deleted, pass: self.directory.pass, now: self.now, domains: &domains };
        // Somebody who is listed twice is one person.
        let listed: BTreeSet<String> = page.users.items.iter().map(|it| it.id.clone()).collect();
        // Who can't be read is there all the same, and stays as they were; unless it is the list of the deleted.
        let unreadable = page.users.unreadable;
        let still_there = unreadable.iter().filter(|id| !is_deleted && profiles::is_id(id));
        let still_there: Vec<String> = still_there.cloned().collect();
        let readable = |user: User| {
            let id = user.id.clone();
            Some((id, profiles::told(user, telling)?))
        };
        let told: BTreeMap<String, _> = page.users.items.into_iter().filter_map(readable).collect();
        let lost = listed.len().saturating_sub(told.len()) + unreadable.len();
        self.directory.seen += i64::try_from(told.len()).unwrap_or(0);
        self.directory.unreadable += i64::try_from(lost).unwrap_or(0);
        self.directory.page_token = page.next_page_token;
        // That most people are missing only a whole pass can refute.
        if self.directory.problem.as_deref() != Some(MOST_ARE_MISSING) {
            self.directory.problem = None;
            self.directory.problem_since = None;
        }
        let ids: Vec<String> = told.keys().cloned().collect();
        let mut tx = self.app.store.write().await?;
        directories::hold(&mut tx, self.lease, lease_end(self.now)).await?;
        let organization = &self.directory.organization_id;
        directory_people::seen(&mut tx, organization, &still_there, self.directory.pass, self.now).await?;
        let known = directory_people::by_ids(&mut tx, organization, &ids).await?;
        let meanings = told.into_iter().map(|(id, told)| {
            let known = known.get(&id);
            (known.cloned(), profiles::seen(known, told))
        });
        let meanings: Vec<_> = meanings.collect();
        if self.directory.page_token.is_none() {
            self.end_of_part(&mut tx, &ids).await?;
        }
        self.write(tx, meanings).await
    }

    /// What comes after the last page of a part. An administrator's listing that lacks the very account that reads it
    /// isn't whole. (An ordinary person may be hidden from the view that they read.)
    async fn end_of_part(&mut self, tx: &mut Tx, last_page: &[String]) -> Result<(), StoreError> {
        let own = &self.grant.google_subject;
        if self.view() == View::Public || self.directory.part != Some(Part::People) {
            self.directory.part = Some(Part::Settle);
            return Ok(());
        }
        let row = directory_people::by_id(tx, &self.directory.organization_id, own).await?;
        if last_page.contains(own) || row.is_some_and(|it| it.pass == self.directory.pass) {
            self.directory.part = Some(Part::Deleted);
        } else {
            tracing::warn!(directory = %self.directory.id, "a listing lacks the account that reads it");
            self.break_off();
        }
        Ok(())
    }

    /// What Google answers of those whom this administrator's view has missed as often as it takes: of some of them,
    /// and of fewer where the budget has no room. An administrator of a part of an organization may not be shown the
    /// rest.
    async fn confirm(&self) -> Result<Result<BTreeMap<String, Absence>, Timestamp>, StepError> {
        let mut answers = BTreeMap::new();
        if self.view() != View::Administrator || !self.counts() {
            return Ok(Ok(answers));
        }
        let organization = &self.directory.organization_id;
        let mut tx = self.app.store.read().await?;
        let unseen = directory_people::unseen(&mut tx, organization, self.directory.pass, SETTLE_MAX).await?;
        let domains = organizations::domains(&mut tx, organization).await?;
        let asked: Vec<_> = unseen.iter().filter(|it| profiles::is_last_miss(it)).take(CONFIRMED_AT_ONCE).collect();
        let mut working = BTreeSet::new();
        for person in &asked {
            let grant = grants::by_google_subject(&mut tx, &person.google_id).await?;
            working.extend(grant.filter(|it| it.state.works()).map(|it| it.google_subject));
        }
        drop(tx);
        for person in asked {
            let _permit = match self.budget.reserve(&self.grant.google_subject, 1, Class::Repair) {
                Ok(permit) => permit,
                Err(until) if answers.is_empty() => return Ok(Err(until)),
                Err(_) => break,
            };
            let (view, pass, now) = (View::Administrator, self.directory.pass, self.now);
            let telling = Telling { view, is_deleted: false, pass, now, domains: &domains };
            let directory = self.app.google.directory(&self.caller);
            let answer = match directory.user(&person.google_id, google::View::Administrator).await {
                Ok(user) if user.id == person.google_id => {
                    profiles::told(user, telling).map_or(Absence::Unknown, |it| Absence::None(Box::new(it)))
                }
                // Whose permission works has an account, whatever this administrator is shown.
                Err(error) if error.kind == ErrorKind::Refused(Refusal::NotFound) => {
                    if working.contains(&person.google_id) { Absence::Unknown } else { Absence::Deleted }
                }
                // What passes, passes: one of whom Google says nothing for long doesn't hold up the others.
                Err(error) if passes(&error) && self.directory.failures < CONFIRM_TRIES_MAX => {
                    if answers.is_empty() {
                        return Err(error.into());
                    }
                    break;
                }
                Err(error) if is_about_all(&error) => return Err(error.into()),
                _ => Absence::Unknown,
            };
            answers.insert(person.google_id.clone(), answer);
        }
        Ok(Ok(answers))
    }

    /// Looks at some of those whom the pass didn't see; the last of them end the pass.
    pub(super) async fn settle(&mut self) -> Result<Done, StepError> {
        self.caller.purpose = purpose::CHECK;
        let mut answers = match self.confirm().await? {
            Ok(answers) => answers,
            Err(until) => return Ok(Done::Wait(until)),
        };
        let mut tx = self.app.store.write().await?;
        directories::hold(&mut tx, self.lease, lease_end(self.now)).await?;
        let (organization, pass) = (&self.directory.organization_id, self.directory.pass);
        let unseen = directory_people::unseen(&mut tx, organization, pass, SETTLE_MAX).await?;
        let is_doubted = self.directory.problem.as_deref() == Some(MOST_ARE_MISSING);
        let (mut missing, mut all) = (0, 0);
        if is_doubted || i64::try_from(unseen.len()).unwrap_or(i64::MAX) > MISSING_PLAUSIBLE {
            (missing, all) = directory_people::count_missed(&mut tx, organization, self.view(), pass).await?;
        }
        let are_most = missing > MISSING_PLAUSIBLE && missing * 100 > all * MISSING_PERCENT_MAX;
        if are_most && !self.is_believed() {
            return self.doubt(tx, missing, all).await;
        }
        // A pass before its time says who is there and who was deleted, and counts nobody as missing once more.
        let counts = self.counts();
        let unseen = if counts { unseen } else { Vec::new() };
        let is_full = i64::try_from(unseen.len()).unwrap_or(i64::MAX) >= SETTLE_MAX;
        // Of whom Google hasn't been asked yet, it is in the next step.
        let is_administrators = self.view() == View::Administrator;
        let is_open = |it: &DirectoryPerson| {
            is_administrators && profiles::is_last_miss(it) && !answers.contains_key(&it.google_id)
        };
        let (open, unseen): (Vec<_>, Vec<_>) = unseen.into_iter().partition(is_open);
        let is_all = open.is_empty() && !is_full;
        let meanings = unseen.into_iter().map(|known| {
            let meaning = match answers.remove(&known.google_id) {
                Some(Absence::None(told)) => profiles::seen(Some(&known), *told),
                Some(Absence::Deleted) => profiles::missed(&known, true, pass, self.now),
                Some(Absence::Unknown) | None => profiles::missed(&known, false, pass, self.now),
            };
            (Some(known), meaning)
        });
        let meanings = meanings.collect();
        if is_all {
            self.directory.part = None;
            self.finish();
            self.directory.passed_at = Some(self.now);
            self.directory.restarts = 0;
            if counts {
                self.directory.counted_at = self.directory.began_at;
            }
            if !are_most {
                self.directory.problem = None;
                self.directory.problem_since = None;
            }
        }
        self.write(tx, meanings).await
    }

    /// Whether whom this pass didn't see counts: so much later than the last one that counted as between two of which
    /// nobody asked for either. Otherwise whoever looks often would let people go sooner.
    fn counts(&self) -> bool {
        let least = every(self.view()).as_secs() / COUNTED_AFTER_PART;
        let began = self.directory.began_at.unwrap_or(self.now);
        self.directory.counted_at.is_none_or(|at| began.duration_since(at).as_secs() >= least)
    }

    /// Whether most people have been missing for so long that it is no fault any more.
    fn is_believed(&self) -> bool {
        let since =
            self.directory.problem_since.filter(|_| self.directory.problem.as_deref() == Some(MOST_ARE_MISSING));
        since.is_some_and(|since| later(since, MISSING_BELIEVED_AFTER) <= self.now)
    }

    /// The pass is over and proves nothing about those whom it didn't see: they stay, and it is told. Another begins
    /// when it would anyway.
    async fn doubt(&mut self, tx: Tx, missing: i64, all: i64) -> Result<Done, StepError> {
        self.directory.part = None;
        if self.directory.tell_problem(MOST_ARE_MISSING, self.now) {
            tracing::warn!(directory = %self.directory.id, missing, all, "a listing lacks most people");
        }
        self.finish();
        self.commit(tx, &[], Lifecycle::default()).await?;
        self.app.feed.tell(&self.directory.organization_id);
        Ok(Done::Step)
    }

    /// The pass is over: the next one begins an hour or a day after this one began, or a little earlier.
    fn finish(&mut self) {
        let every = every(self.view());
        let earlier_s = u64::try_from(every.as_secs() / EARLIER_PART).unwrap_or(0);
        let earlier = i64::try_from(self.app.random.below(earlier_s + 1)).unwrap_or(0);
        let wait = every.saturating_sub(SignedDuration::from_secs(earlier));
        self.directory.next_pass_at = Some(later(self.directory.began_at.unwrap_or(self.now), wait).max(self.now));
    }

    /// Writes what a page or a silence means.
    async fn write(
        &mut self,
        mut tx: Tx,
        meanings: Vec<(Option<DirectoryPerson>, Meaning)>,
    ) -> Result<Done, StepError> {
        let organization = self.directory.organization_id.clone();
        let (same, moved): (Vec<_>, Vec<_>) = meanings.into_iter().partition(|(_, it)| it.is_same);
        let same_ids: Vec<String> = same.iter().map(|(_, it)| it.person.google_id.clone()).collect();
        directory_people::seen(&mut tx, &organization, &same_ids, self.directory.pass, self.now).await?;
        let mut told = Vec::new();
        for (before, meaning) in &moved {
            directory_people::put(&mut tx, &organization, &meaning.person, before.as_ref()).await?;
            told.extend(meaning.news.map(|news| NewChange {
                kind: news.kind(),
                subject_id: meaning.person.google_id.clone(),
                data: json!({}),
            }));
        }
        let all = same.iter().chain(&moved).map(|(before, it)| (before.as_ref(), &it.person));
        let life = lifecycle::follow(self.app, &mut tx, &organization, all.collect(), self.now).await?;
        self.commit(tx, &told, life).await?;
        Ok(Done::Step)
    }

    /// Writes the directory, the changes and what follows for people's own streams, and tells the readers.
    async fn commit(&mut self, mut tx: Tx, told: &[NewChange], life: Lifecycle) -> Result<(), StoreError> {
        directories::hold(&mut tx, self.lease, lease_end(self.now)).await?;
        self.directory.failures = 0;
        self.directory.paused_until = None;
        directories::save(&mut tx, &self.directory, self.lease).await?;
        let stream = StreamId::from(&self.directory.id);
        let of = Of { organization: &self.directory.organization_id, person: None, stream };
        let mut grown = changes::append(&mut tx, of, told, self.now).await?;
        for (person, stream, change) in &life.changes {
            let organization = &self.directory.organization_id;
            let of = Of { organization, person: Some(person), stream: stream.clone() };
            grown = changes::append(&mut tx, of, std::slice::from_ref(change), self.now).await?.or(grown);
        }
        for deed in &life.deeds {
            audit::record(&mut tx, deed.entry(&self.directory.organization_id), self.now).await?;
        }
        tx.commit().await?;
        if grown.is_some() || !life.deeds.is_empty() {
            self.app.feed.tell(&self.directory.organization_id);
        }
        if life.wakes {
            self.app.due.ring();
        }
        Ok(())
    }
}

/// Why a listing lacks somebody, as Google answers when it is asked of them alone.
enum Absence {
    /// They are there: the listing was at fault.
    None(Box<Told>),
    /// The account was deleted.
    Deleted,
    /// Google doesn't say.
    Unknown,
}

/// How often a view is read.
fn every(view: View) -> SignedDuration {
    match view {
        View::Administrator => ADMINISTRATORS_PASS_EVERY,
        View::Public => PUBLIC_PASS_EVERY,
    }
}

/// Google's "no" to a view, in the words that were seen (google-behaviour.md, §6).
fn is_no(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Refused(Refusal::Forbidden | Refusal::NotFound | Refusal::Invalid) | ErrorKind::NoDirectory
    )
}

/// Whether an answer about somebody will be another one soon.
fn passes(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Transient | ErrorKind::SlowDown { .. })
}

/// Whether an answer about somebody is one about the grant or the service: everybody else's would be the same.
fn is_about_all(error: &Error) -> bool {
    let about_all =
        matches!(error.kind, ErrorKind::GrantDead(_) | ErrorKind::AdminBlocked(_) | ErrorKind::SlowDown { .. });
    about_all || matches!(error.kind, ErrorKind::Refused(Refusal::Unauthorized | Refusal::Operator(_)))
}

/// What stands in the way of the directory alone, in one word: the grant's mail and calendars go on meanwhile, and
/// another grant of the organization would be told the same.
pub(super) fn blocked(kind: &ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::AdminBlocked(_) => Some("blocked_by_administrator"),
        ErrorKind::Refused(Refusal::Operator(_)) => Some("api_disabled"),
        _ => None,
    }
}

/// Tells what stands in the way; answers when it is tried again.
pub(super) async fn stand_still(
    app: &App,
    lease: &Lease,
    problem: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StepError> {
    let mut tx = app.store.write().await?;
    let mut directory = directories::hold(&mut tx, lease, lease_end(now)).await?;
    let is_news = directory.tell_problem(problem, now);
    directories::save(&mut tx, &directory, lease).await?;
    tx.commit().await?;
    if is_news {
        tracing::warn!(directory = %directory.id, problem, "a directory can't be read");
        app.feed.tell(&directory.organization_id);
    }
    Ok(Some(later(now, BLOCKED_FOR)))
}

/// From now on another grant reads, or another view: a pass that is under way begins anew.
pub(super) async fn choose(
    app: &App,
    lease: &Lease,
    mut directory: Directory,
    grant: GrantId,
    view: View,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = app.store.write().await?;
    directories::hold(&mut tx, lease, lease_end(now)).await?;
    // Whom one account doesn't see, another of the same view may: only what the same one misses counts together.
    if directory.view != Some(view) || directory.grant_id.as_ref() != Some(&grant) {
        directory_people::forget_misses(&mut tx, &directory.organization_id).await?;
    }
    if directory.view != Some(view) {
        directory.next_pass_at = None;
    }
    if directory.part.is_some() {
        directory.part = None;
        directory.page_token = None;
        directory.next_pass_at = None;
    }
    directory.grant_id = Some(grant);
    directory.view = Some(view);
    directories::save(&mut tx, &directory, lease).await?;
    tx.commit().await
}

/// Nobody reads it from now on. What was copied stays, as of the last pass.
pub(super) async fn give_up(
    app: &App,
    lease: &Lease,
    mut directory: Directory,
    problem: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = app.store.write().await?;
    directories::hold(&mut tx, lease, lease_end(now)).await?;
    directory.grant_id = None;
    directory.view = None;
    directory.part = None;
    directory.page_token = None;
    // Whoever was tried in vain meanwhile changes nothing about since when.
    directory.tell_problem(problem, now);
    directories::save(&mut tx, &directory, lease).await?;
    tx.commit().await?;
    app.feed.tell(&directory.organization_id);
    Ok(())
}

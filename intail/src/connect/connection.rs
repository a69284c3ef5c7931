//! How a person's connection stands, computed from evidence every time it is shown: nothing here is a stored "ok".

use jiff::{SignedDuration, Timestamp};

use super::calendars::{self, AgendaStanding};
use crate::id::{OrganizationId, PersonId};
use crate::store::coverage::Coverage;
use crate::store::directory_people::View;
use crate::store::failing::{Failed, SHOWN_AFTER};
use crate::store::grants::{self, Grant};
use crate::store::mailboxes::{self, Mailbox, MailboxState};
use crate::store::{
    StoreError, Tx, attempts, coverage, debts, directories, directory_people, exclusions, fills, messages,
    organizations,
};

/// A permission that Intail asks for beyond knowing who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// `gmail.metadata`: headers and labels, never a body.
    Mail,
    /// `calendar.readonly`: calendars and events.
    Calendar,
    /// `admin.directory.user.readonly`: the organization's people.
    Directory,
}

impl Permission {
    /// All three, in the order in which pages show them.
    pub const ALL: [Self; 3] = [Self::Mail, Self::Calendar, Self::Directory];

    /// Google's name for it.
    pub fn scope(self) -> &'static str {
        match self {
            Self::Mail => intail_google::oauth::scope::GMAIL_METADATA,
            Self::Calendar => intail_google::oauth::scope::CALENDAR_READONLY,
            Self::Directory => intail_google::oauth::scope::DIRECTORY_USER_READONLY,
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mail => "Mail headers and labels",
            Self::Calendar => "Calendar events",
            Self::Directory => "Directory of your organization",
        }
    }

    /// Whether it is among the scopes of a grant.
    pub fn is_in(self, scopes: &[String]) -> bool {
        scopes.iter().any(|scope| scope == self.scope())
    }

    /// What it lets Intail see, and what it can't.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Mail => {
                "Sender, recipients, subject, date, size and labels. Never the text of a message or an attachment."
            }
            Self::Calendar => "Calendars and events that you can see. Intail can’t change or answer anything.",
            Self::Directory => {
                "Names, addresses and titles of people in your organization. Intail can’t change anyone."
            }
        }
    }
}

/// A permission that is missing.
pub type Missing = Permission;

/// Whether Google pushes changes of the mailbox, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// It was never set up, or is being set up.
    NotYet {
        /// Why the last try failed, if one did.
        problem: Option<String>,
    },
    /// It is live.
    Live {
        /// Since when, without a gap.
        since: Timestamp,
        /// When Google would stop unless it is renewed.
        expires_at: Timestamp,
        /// When Intail renews it.
        renews_at: Timestamp,
        /// Why the last renewal failed, if it did.
        problem: Option<String>,
        /// Whether renewals have failed until Google is about to stop: within two days.
        ends_soon: bool,
    },
    /// It ended; changes are found by the sweep only.
    Lapsed {
        /// When it ended.
        at: Timestamp,
        /// Why it couldn't be renewed.
        problem: Option<String>,
    },
}

/// Since when a stream of a working grant can't be read, why, and what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// Since when.
    pub since: Timestamp,
    /// Why, in one word of `sync::failures`.
    pub why: String,
    /// When Intail tries again; none when that is being done.
    pub next_try_at: Option<Timestamp>,
}

impl Standstill {
    /// What a row says: its failures, worth a word, since the grant works.
    fn of(failed: Option<&Failed>, due_at: Option<Timestamp>, works_since: Timestamp, now: Timestamp) -> Option<Self> {
        let failed = failed?;
        let since = failed.shown_since(works_since, now)?;
        Some(Self { since, why: failed.why.clone(), next_try_at: due_at.filter(|at| *at > now) })
    }
}

/// An organization's copied directory, as pages tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryCopy {
    /// Which view is read; none while nobody reads.
    pub view: Option<View>,
    /// What the copy is as of: when a pass over everybody was complete last.
    pub passed_at: Option<Timestamp>,
    /// People whom everybody sees.
    pub people: i64,
    /// People whom the present pass has seen so far.
    pub seen: i64,
    /// Entries of the last pass that couldn't be read.
    pub unreadable: i64,
    /// What stands in the way, in one word: `nobody_permits`, `no_directory`, `blocked_by_administrator`,
    /// `api_disabled` or `most_are_missing`.
    pub problem: Option<String>,
    /// Since when.
    pub problem_since: Option<Timestamp>,
    /// Since when it can't be read at all, if so.
    pub standstill: Option<Standstill>,
    /// Until when Google wants no questions about it, if it asked to slow down.
    pub paused_until: Option<Timestamp>,
    /// Why, in one word.
    pub paused_why: Option<String>,
}

impl DirectoryCopy {
    /// Whether everybody was seen once, or it is certain that there is nobody to see.
    pub fn has_advanced(&self) -> bool {
        self.passed_at.is_some() || self.problem.as_deref() == Some("no_directory")
    }

    /// Whether it is read at all: nothing else stands in the way than that Google shows too few.
    pub fn is_read(&self) -> bool {
        self.problem.as_deref().is_none_or(|it| it == "most_are_missing")
    }
}

/// An organization's directory; none while nobody ever permitted it.
pub async fn directory_copy(
    tx: &mut Tx,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<Option<DirectoryCopy>, StoreError> {
    let Some(directory) = directories::of_organization(tx, organization).await? else { return Ok(None) };
    let count = directory_people::count(tx, organization).await?;
    // It goes on under another's grant when one is over, so none's state says since when it could be read.
    let standstill = Standstill::of(directory.failed.as_ref(), directory.due_at, Timestamp::MIN, now);
    Ok(Some(DirectoryCopy {
        standstill,
        view: directory.view,
        passed_at: directory.passed_at,
        people: count.shown,
        seen: directory.seen,
        unreadable: directory.unreadable,
        problem: directory.problem,
        problem_since: directory.problem_since,
        paused_until: directory.paused_until,
        paused_why: directory.paused_why,
    }))
}

/// A person's connection and everything that a page says of it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The grant.
    pub grant: Grant,
    /// The mailbox, once the mail permission is there.
    pub mailbox: Option<Mailbox>,
    /// Which permissions are granted.
    pub granted: Vec<Permission>,
    /// Which are missing.
    pub missing: Vec<Missing>,
    /// Whether Google pushes.
    pub push: Push,
    /// Since when mail can't be read although it is permitted and the grant works, if so.
    pub mail_standstill: Option<Standstill>,
    /// The same of calendars.
    pub calendar_standstill: Option<Standstill>,
    /// Since when something that Google told of isn't read, if that is too long.
    pub unread_since: Option<Timestamp>,
    /// Messages that are stored.
    pub stored: i64,
    /// Messages that the privacy settings leave out: counted, not held.
    pub left_out: i64,
    /// Messages that are known of and not fetched yet.
    pub waiting: i64,
    /// Items that failed and are retried.
    pub debts: i64,
    /// When the next of them is tried.
    pub next_debt_at: Option<Timestamp>,
    /// Why they failed, and how many for each reason, most first.
    pub debt_reasons: Vec<(String, i64)>,
    /// What the last audit proved.
    pub coverage: Coverage,
    /// The calendars, once their permission was there.
    pub agenda: Option<AgendaStanding>,
    /// The organization's directory, where the person permitted it.
    pub directory: Option<DirectoryCopy>,
    /// When everything is erased, because the directory calls the account deleted.
    pub erased_at: Option<Timestamp>,
}

/// How long an attempt must have been away before its person is told that it was left unfinished: Google shows its own
/// "access blocked" page and never comes back. Short, because whoever is blocked comes back at once.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_secs(3);
/// How long an unfinished attempt is worth a word.
const ABANDONED_UNTIL: SignedDuration = SignedDuration::from_hours(24);

impl Connection {
    /// Messages that nothing is to be done about any more: stored, or left out.
    pub fn settled(&self) -> i64 {
        self.stored + self.left_out
    }

    /// Everything that Google shows, and the privacy settings let in, is here: the mailbox is being read, nothing that
    /// Google told of is unread, no pass runs, nothing waits, nothing is owed, and the last audit found no difference.
    pub fn is_complete(&self) -> bool {
        let is_live = self.mailbox.as_ref().is_some_and(|it| it.state == MailboxState::Live) && self.reads_mail();
        let is_read = self.mail_standstill.is_none() && self.unread_since.is_none();
        let is_understood = self.mailbox.as_ref().is_none_or(|it| it.unreadable == 0);
        is_live && is_read && is_understood && self.waiting == 0 && self.debts == 0 && self.coverage.agrees()
    }

    /// Whether mail is permitted and the grant works: what else is there of a mailbox is from before.
    pub fn reads_mail(&self) -> bool {
        self.works() && self.granted.contains(&Permission::Mail)
    }

    /// Whether calendars are permitted and the grant works.
    pub fn reads_calendars(&self) -> bool {
        self.works() && self.granted.contains(&Permission::Calendar)
    }

    /// Whether Google is asked under the grant at all: it works, and the directory doesn't call the account suspended.
    pub fn works(&self) -> bool {
        self.grant.state.works() && self.grant.suspended_at.is_none()
    }

    /// Since when the mailbox is as it is under a grant that works: a time when it didn't isn't part of it. None while
    /// there is no mailbox.
    pub fn mailbox_since(&self) -> Option<Timestamp> {
        self.mailbox.as_ref().map(|it| it.state_since.max(self.grant.state_since))
    }

    /// Every permission is granted and works, and mail, the directory and each calendar that is copied have been read
    /// to their end at least once, and can be read now.
    pub fn is_connected(&self) -> bool {
        self.works()
            && self.missing.is_empty()
            && self.has_advanced()
            && self.directory.as_ref().is_none_or(|it| it.standstill.is_none())
            && self.mail_standstill.is_none()
            && self.calendar_standstill.is_none()
            && self.unread_since.is_none()
    }

    /// What is granted has been read to its end at least once, whatever is missing beside it.
    pub fn has_advanced(&self) -> bool {
        self.granted.iter().all(|permission| match permission {
            Permission::Mail => self.mailbox.as_ref().is_some_and(|mailbox| mailbox.cursor_at.is_some()),
            Permission::Calendar => self.agenda.as_ref().is_some_and(AgendaStanding::has_advanced),
            Permission::Directory => self.directory.as_ref().is_some_and(DirectoryCopy::has_advanced),
        })
    }
}

/// A person's connection, or none when they have never connected or have left.
pub async fn connection(tx: &mut Tx, person: &PersonId, now: Timestamp) -> Result<Option<Connection>, StoreError> {
    let Some(grant) = grants::by_person(tx, person).await? else {
        return Ok(None);
    };
    if grant.state == grants::GrantState::Left {
        return Ok(None);
    }
    let mailbox = mailboxes::by_person(tx, person).await?;
    let (granted, missing): (Vec<Permission>, Vec<Permission>) =
        Permission::ALL.into_iter().partition(|it| it.is_in(&grant.scopes));
    let reads_mail = grant.state.works() && grant.suspended_at.is_none() && granted.contains(&Permission::Mail);
    let directory = match granted.contains(&Permission::Directory) {
        true => directory_copy(tx, &grant.organization_id, now).await?,
        false => None,
    };
    let erased_at = erased_at(tx, &grant).await?;
    let (mut stored, mut left_out, mut waiting, mut owed, mut next_debt_at) = (0, 0, 0, 0, None);
    let (mut debt_reasons, mut proved) = (Vec::new(), Coverage::default());
    if let Some(mailbox) = &mailbox {
        stored = messages::count(tx, &mailbox.id).await?;
        left_out = exclusions::count(tx, &mailbox.id).await?.all;
        waiting = fills::count(tx, &mailbox.id).await?;
        (owed, next_debt_at) = debts::outlook(tx, &mailbox.id).await?;
        if owed > 0 {
            debt_reasons = debts::reasons(tx, &mailbox.id).await?;
        }
        proved = coverage::of_mailbox(tx, &mailbox.id).await?;
    }
    let agenda = calendars::of_person(tx, person, grant.connected_at, now).await?;
    let push = match &mailbox {
        // Under a grant that is over, or without the permission, whatever Google still pushes can't be read.
        Some(mailbox) if !reads_mail && mailbox.watch_since.is_some() => {
            Push::Lapsed { at: grant.suspended_at.unwrap_or(grant.state_since), problem: None }
        }
        Some(mailbox) => push_of(mailbox, grant.state_since, now),
        None => Push::NotYet { problem: None },
    };
    // What failed, and what was told, before the grant worked says nothing of it.
    let works_since = grant.state_since.max(grant.connected_at);
    let calendar_standstill = agenda
        .as_ref()
        .map(|it| &it.agenda)
        .filter(|_| grant.state.works() && grant.suspended_at.is_none() && granted.contains(&Permission::Calendar))
        .and_then(|it| Standstill::of(it.failed.as_ref(), it.due_at, works_since, now));
    let read = mailbox.as_ref().filter(|_| reads_mail);
    let mail_standstill = read.and_then(|it| Standstill::of(it.failed.as_ref(), it.due_at, works_since, now));
    let unread_since = read.and_then(|it| unread_since(it, works_since, now));
    Ok(Some(Connection {
        mail_standstill,
        calendar_standstill,
        unread_since,
        grant,
        mailbox,
        granted,
        missing,
        push,
        stored,
        left_out,
        waiting,
        debts: owed,
        next_debt_at,
        debt_reasons,
        coverage: proved,
        agenda,
        directory,
        erased_at,
    }))
}

/// Since when a mailbox has something unread that Google told of, if that is longer than it takes: it is read within
/// seconds where Intail runs and Google answers. The newest notice says since when at the latest; while they go on
/// coming, the time at which the mailbox has been due does.
fn unread_since(mailbox: &Mailbox, works_since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let told_at = mailbox.noticed_at.filter(|_| mailbox.notices > mailbox.notices_read)?;
    let since = mailbox.due_at.map_or(told_at, |due| due.min(told_at)).max(works_since);
    (now.duration_since(since) >= SHOWN_AFTER).then_some(since)
}

/// When what was copied under a grant is erased, because its account was deleted at Google.
async fn erased_at(tx: &mut Tx, grant: &Grant) -> Result<Option<Timestamp>, StoreError> {
    let entry = directory_people::by_id(tx, &grant.organization_id, &grant.google_subject).await?;
    let Some(deleted_at) = entry.and_then(|it| it.deleted_at) else { return Ok(None) };
    let organization = organizations::by_id(tx, &grant.organization_id).await?;
    let days = organization.map_or(0, |it| it.retention_days);
    Ok(deleted_at.saturating_add(SignedDuration::from_hours(days.saturating_mul(24))).ok())
}

/// `works_since` is since when the grant is as it is: what Google told before, while it didn't work, couldn't be read.
fn push_of(mailbox: &Mailbox, works_since: Timestamp, now: Timestamp) -> Push {
    let problem = mailbox.watch_problem.clone();
    match (mailbox.watch_since, mailbox.watch_expires_at) {
        (Some(since), Some(expires_at)) if expires_at > now => {
            let (since, ends_soon) = (since.max(works_since), mailbox.is_watch_failing(now));
            Push::Live { since, expires_at, renews_at: mailbox.watch_due_at, problem, ends_soon }
        }
        (_, Some(at)) => Push::Lapsed { at, problem },
        _ => Push::NotYet { problem },
    }
}

/// When a person's newest attempt to connect was begun, if it was left unfinished: they went to Google and didn't come
/// back.
pub async fn abandoned(tx: &mut Tx, person: &PersonId, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let newest = attempts::newest_connect(tx, person).await?;
    Ok(newest
        .filter(|it| it.ended_at.is_none())
        .map(|it| it.begun_at)
        .filter(|begun| now.duration_since(*begun) > ABANDONED_AFTER && now.duration_since(*begun) < ABANDONED_UNTIL))
}

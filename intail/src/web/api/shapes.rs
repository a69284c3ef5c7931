//! What the API answers, field by field. Instants are ISO 8601 in UTC; ids and Google's history ids are text.
//! A reader must not remove or rename a field within v1.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::calendars::{AgendaShape, EventShape};
use crate::connect::{Connection, DirectoryCopy, Permission, Push, Standstill};
use crate::id::StreamId;
use crate::org::privacy::PARTIES;
use crate::org::receipts::{Chain, Line};
use crate::store::call_counts::CallCount;
use crate::store::changes::Change;
use crate::store::directory_people::{DirectoryPerson, View};
use crate::store::labels::Label;
use crate::store::leases::Stream;
use crate::store::mailboxes::{Mailbox, MailboxState};
use crate::store::messages::{Message, SubjectForm};
use crate::store::people::Person;
use crate::store::privacy::Policy;
use crate::sync::{Bulk, DayUse, Outlook, Pass, Waits};
use crate::web::colleagues::{Colleagues, written};
use crate::web::copying::{Progress, complete_back_to};
use crate::web::privacy::Standing;
use crate::web::words::from_ms;

/// Who asks.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(in crate::web) struct MeShape {
    /// The person's id.
    id: String,
    /// Their address as of the last sign-in. It may change; the id doesn't.
    email: String,
    /// Their name as of the last sign-in.
    name: String,
    /// `member`, `administrator` or `auditor`.
    role: &'static str,
    /// The organization's id.
    organization_id: String,
}

impl MeShape {
    pub(super) fn of(person: &Person) -> Self {
        Self {
            id: person.id.to_string(),
            email: person.email.clone(),
            name: person.name.clone(),
            role: person.role.word(),
            organization_id: person.organization_id.to_string(),
        }
    }
}

/// How the connection stands, computed at this moment.
#[derive(Serialize, ToSchema)]
#[schema(as = Connection)]
pub(in crate::web) struct ConnectionShape {
    /// Whether every permission is granted and every stream has advanced.
    connected: bool,
    /// The Google account; null when nothing is connected.
    email: Option<String>,
    /// `none`, `active`, `partial`, `needs_person`, `needs_administrator` or `needs_operator`.
    state: &'static str,
    /// Why, in one word; empty when there is nothing to say.
    reason: String,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The permissions.
    permissions: Vec<PermissionShape>,
    /// The mailbox, once mail is permitted.
    mailbox: Option<MailboxShape>,
    /// The calendars, once they are permitted.
    agenda: Option<AgendaShape>,
    /// What of Google's allowance for today is used, for each service that has one.
    allowances: Vec<AllowanceShape>,
}

/// What of Google's allowance for today is used of one service. It is that of the whole installation: everybody who
/// uses it shares it.
#[derive(Serialize, ToSchema)]
#[schema(as = Allowance)]
pub(in crate::web) struct AllowanceShape {
    /// `gmail` or `calendar`.
    service: &'static str,
    /// What was read today, by everybody together: quota units of Gmail, requests of the calendar.
    used: u64,
    /// How much Google gives on a day. Where it refused earlier than the configured limit says, it is that for a week.
    limit: u64,
    /// The configured limit: that of Google's tables, unless whoever runs Intail set another.
    limit_configured: u64,
    /// At how much of it copying what was there before stops until the next day, in percent, by the organization's
    /// policy. Comparisons stop at 95 %; what changes goes on.
    copying_stops_percent: u64,
    /// When the next day begins: at midnight in California.
    #[schema(value_type = String, format = DateTime)]
    turns_at: Timestamp,
}

impl AllowanceShape {
    fn of(day: &DayUse) -> Self {
        Self {
            service: day.service,
            used: day.units,
            limit: day.limit,
            limit_configured: day.configured,
            copying_stops_percent: day.percent(Bulk::Copying),
            turns_at: day.turns_at,
        }
    }
}

/// What may be kept of the person's mail.
#[derive(Serialize, ToSchema)]
#[schema(as = Privacy)]
pub(in crate::web) struct PrivacyShape {
    /// The person's own choice.
    own: PolicyShape,
    /// What the organization asks for at least.
    floor: PolicyShape,
    /// What counts: the stricter of both.
    effective: PolicyShape,
    /// Whether everything that is stored follows it.
    applied: bool,
    /// Messages that are left out: counted, not held.
    messages_left_out: i64,
    /// Stored messages with a tag in the place of their subject.
    subjects_hashed: i64,
    /// Stored messages whose subject isn't kept.
    subjects_dropped: i64,
}

/// What may be kept. What isn't named may.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
pub(in crate::web) struct PolicyShape {
    /// How subjects are kept: `plain`, `hashed` or `dropped`.
    subject: &'static str,
    /// Ids of labels whose messages are left out.
    label_ids: Vec<String>,
    /// Names of labels whose messages are left out, with those below them.
    label_names: Vec<String>,
    /// Addresses from and to which messages are left out.
    addresses: Vec<String>,
    /// Domains from and to which messages are left out, with everything below them.
    domains: Vec<String>,
    /// Whether only the time is kept of events that are private.
    busy_only: bool,
}

impl PrivacyShape {
    pub(super) fn of(standing: &Standing) -> Self {
        Self {
            own: PolicyShape::of(&standing.own),
            floor: PolicyShape::of(&standing.floor),
            effective: PolicyShape::of(&standing.effective()),
            applied: standing.is_applied(),
            messages_left_out: standing.left_out.all,
            subjects_hashed: standing.hashed,
            subjects_dropped: standing.dropped,
        }
    }
}

impl PolicyShape {
    fn of(policy: &Policy) -> Self {
        let list = |it: &BTreeSet<String>| it.iter().cloned().collect();
        Self {
            subject: policy.subject.word(),
            label_ids: list(&policy.labels),
            label_names: list(&policy.label_names),
            addresses: list(&policy.addresses),
            domains: list(&policy.domains),
            busy_only: policy.busy_only,
        }
    }
}

/// A permission that Intail asks for.
#[derive(Serialize, ToSchema)]
#[schema(as = Permission)]
pub(in crate::web) struct PermissionShape {
    /// Google's name for it.
    scope: &'static str,
    /// What people call it.
    title: &'static str,
    /// Whether it is granted.
    granted: bool,
}

impl ConnectionShape {
    pub(super) fn of(connection: Option<&Connection>, progress: &Progress) -> Self {
        let granted = |it: Permission| connection.is_some_and(|connection| connection.granted.contains(&it));
        let permissions = Permission::ALL
            .into_iter()
            .map(|it| PermissionShape { scope: it.scope(), title: it.title(), granted: granted(it) })
            .collect();
        Self {
            connected: connection.is_some_and(Connection::is_connected),
            email: connection.map(|it| it.grant.email.clone()),
            state: connection.map_or("none", |it| it.grant.state.word()),
            reason: connection.map_or_else(String::new, |it| it.grant.reason.clone()),
            since: connection.map(|it| it.grant.state_since),
            permissions,
            mailbox: connection.and_then(|it| MailboxShape::of(it, progress.mail.as_ref())),
            agenda: connection.and_then(|it| {
                let standstill = it.calendar_standstill.as_ref();
                it.agenda.as_ref().map(|agenda| AgendaShape::of(agenda, standstill, progress.calendars_wait))
            }),
            allowances: progress.days.iter().map(AllowanceShape::of).collect(),
        }
    }
}

/// A page of the organization's people, and what it is as of.
#[derive(Serialize, ToSchema)]
#[schema(as = Directory)]
pub(in crate::web) struct DirectoryShape {
    /// What the copy is as of: when everybody was looked at last. Null while it is being copied.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
    /// Which of Google's views is read: `administrator` or `public`; null while nobody reads.
    view: Option<&'static str>,
    /// People whom everybody in the organization sees.
    people_total: i64,
    /// Entries that couldn't be read when everybody was looked at last, or so far while that goes on. Whoever was known
    /// before stays as they were.
    entries_unreadable: i64,
    /// What stands in the way, in one word: `nobody_permits`, `no_directory`, `blocked_by_administrator`,
    /// `api_disabled` or `most_are_missing`.
    problem: Option<String>,
    /// What it waits for now: `directory` when Google asked to slow down with this one, `project` when Google wants no
    /// questions about anybody's, `day` when so much of a configured limit of the day is used that only new changes go
    /// on; null while it goes on, and while something stands in the way.
    waits_for: Option<&'static str>,
    /// Until when it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    waits_until: Option<Timestamp>,
    /// Since when it can't be read although nothing is known to stand in the way; null while it can be.
    failing: Option<FailingShape>,
    /// The people, in order of name.
    people: Vec<DirectoryPersonShape>,
    /// Hand this over as `after` for the next page; null on the last one.
    next: Option<String>,
}

impl DirectoryShape {
    pub(super) fn of(
        copy: Option<&DirectoryCopy>,
        waits: Option<Waits>,
        people: &[DirectoryPerson],
        next: Option<String>,
    ) -> Self {
        Self {
            as_of: copy.and_then(|it| it.passed_at),
            view: copy.and_then(|it| it.view).map(View::word),
            people_total: copy.map_or(0, |it| it.people),
            entries_unreadable: copy.map_or(0, |it| it.unreadable),
            problem: copy.and_then(|it| it.problem.clone()),
            waits_for: waits.map(|it| waits_for(it, "directory")),
            waits_until: waits.map(Waits::until),
            failing: copy.and_then(|it| it.standstill.as_ref()).map(FailingShape::of),
            people: people.iter().map(DirectoryPersonShape::of).collect(),
            next,
        }
    }
}

/// A person of the directory, as everybody in the organization sees them. Any text may be empty.
#[derive(Serialize, ToSchema)]
#[schema(as = DirectoryPerson)]
pub(in crate::web) struct DirectoryPersonShape {
    /// Google's id of the account. It stays when the address changes.
    id: String,
    /// The primary address.
    address: String,
    /// Other addresses that lead to them.
    aliases: Vec<String>,
    /// The whole name.
    name: String,
    /// The given name.
    given_name: String,
    /// The family name.
    family_name: String,
    /// The post.
    title: String,
    /// The department.
    department: String,
    /// The manager's address.
    manager_address: String,
    /// Telephone numbers, as they were written.
    phones: Vec<String>,
    /// Where Google has their picture; null when there is none.
    photo_url: Option<String>,
}

impl DirectoryPersonShape {
    pub(super) fn of(person: &DirectoryPerson) -> Self {
        Self {
            id: person.google_id.clone(),
            address: person.address.clone(),
            aliases: person.aliases.clone(),
            name: person.name.clone(),
            given_name: person.given_name.clone(),
            family_name: person.family_name.clone(),
            title: person.title.clone(),
            department: person.department.clone(),
            manager_address: person.manager_address.clone(),
            phones: person.phones.clone(),
            photo_url: Some(person.photo_url.clone()).filter(|it| !it.is_empty()),
        }
    }
}

/// A copied mailbox.
#[derive(Serialize, ToSchema)]
#[schema(as = Mailbox)]
pub(in crate::web) struct MailboxShape {
    /// Its id: stays the same when the person reconnects.
    id: String,
    /// The address.
    email: String,
    /// `backfilling`, `live` or `reconciling`; `suspended` while the directory calls the account suspended. Whether
    /// anything is read at all is the connection's to say.
    state: &'static str,
    /// Since when; a time when the connection didn't work isn't part of it.
    #[schema(value_type = String, format = DateTime)]
    state_since: Timestamp,
    /// Google's history id up to which everything is stored.
    history_id: Option<String>,
    /// When the history was last read to its end: what the copy is as of.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
    /// Messages that are stored.
    messages_stored: i64,
    /// Messages that the privacy settings leave out: counted, not held.
    messages_left_out: i64,
    /// Messages that there are, without drafts: while they are copied or compared, what Google counted when that began;
    /// once it is live, those that are here or left out. Null where nobody knows.
    messages_total: Option<i64>,
    /// Messages that are known of and not fetched yet.
    messages_waiting: i64,
    /// Back to when the copy is complete, but for what `debts` counts, while it is still growing. Null while everything
    /// is compared: what is missing may be anywhere then.
    #[schema(value_type = Option<String>, format = DateTime)]
    complete_back_to: Option<Timestamp>,
    /// Until when no call is made because Google asked for it.
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_until: Option<Timestamp>,
    /// Why, in one word: Google found too many questions of this `person`, too many at once (`concurrency`), too many
    /// of the whole `project`, or too many on this `day`.
    paused_why: Option<String>,
    /// What it waits for now, whatever it does: `mailbox` when Google asked to slow down with this one, `project` when
    /// Google wants no questions about anybody, `day` when so much of today's allowance is used up that what it does
    /// goes on with the next day, `listing` when Google's list of the mailbox led nowhere and is read anew; null while
    /// it goes on, and while mail isn't read at all. New mail arrives all the same with `day` and `listing`.
    waits_for: Option<&'static str>,
    /// Until when it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    waits_until: Option<Timestamp>,
    /// Since when the mailbox can't be read although the connection works; null while it can be.
    failing: Option<FailingShape>,
    /// Since when something that Google told of isn't read, if that is longer than it takes.
    #[schema(value_type = Option<String>, format = DateTime)]
    unread_since: Option<Timestamp>,
    /// How a backfill or a comparison of everything goes on; null while the mailbox is live, and while mail isn't read
    /// at all.
    pass: Option<PassShape>,
    /// Whether Google tells of changes.
    push: PushShape,
    /// Messages that failed and are retried.
    debts: DebtsShape,
}

/// A stream that can't be read although the connection works: each try since has failed.
#[derive(Serialize, ToSchema)]
#[schema(as = Failing)]
pub(in crate::web) struct FailingShape {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Why the newest try failed, in one word: `transient` (network, or an error of Google's), `slow_down`, `refused`,
    /// `token_rejected`, `not_understood`, `no_mailbox`, `gmail_off_for_apps`, `api_disabled`, `sealed`, `store`, or
    /// another kind of refusal.
    reason: String,
    /// When Intail tries again; null when that is being done.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_try_at: Option<Timestamp>,
}

impl FailingShape {
    pub(super) fn of(standstill: &Standstill) -> Self {
        Self { since: standstill.since, reason: standstill.why.clone(), next_try_at: standstill.next_try_at }
    }
}

/// How a backfill, or a comparison of everything, goes on.
#[derive(Serialize, ToSchema)]
#[schema(as = Pass)]
pub(in crate::web) struct PassShape {
    /// Google's quota units that it will still cost, as far as is known.
    units_left: u64,
    /// Units a minute that it gets.
    units_per_minute: u64,
    /// When it will be done; null where nobody knows yet how much it is, and while the mailbox can't be read.
    #[schema(value_type = Option<String>, format = DateTime)]
    done_at: Option<Timestamp>,
    /// What it waits for: the mailbox's `waits_for`.
    waits_for: Option<&'static str>,
    /// Until when it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    waits_until: Option<Timestamp>,
}

impl PassShape {
    fn of(pass: &Pass, waits: Option<Waits>) -> Self {
        Self {
            units_left: pass.units_left,
            units_per_minute: pass.units_minute,
            done_at: pass.done_at,
            waits_for: waits.map(|it| waits_for(it, "mailbox")),
            waits_until: waits.map(Waits::until),
        }
    }
}

/// What is waited for, in one word; `paused` is the one for what Google asked to slow down with.
pub(super) fn waits_for(waits: Waits, paused: &'static str) -> &'static str {
    match waits {
        Waits::Paused(_) => paused,
        Waits::Project(_) => "project",
        Waits::Day { .. } => "day",
        Waits::Listing(_) => "listing",
    }
}

/// Whether Google tells of changes.
#[derive(Serialize, ToSchema)]
#[schema(as = Push)]
pub(in crate::web) struct PushShape {
    /// `not_yet`, `live` or `lapsed`.
    state: &'static str,
    /// Since when it is live, without a gap.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// When it ends unless it is renewed, or when it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When Intail renews it.
    #[schema(value_type = Option<String>, format = DateTime)]
    renews_at: Option<Timestamp>,
    /// Why the last try failed, if it did.
    problem: Option<String>,
    /// Whether it is live, but renewals have failed until Google is about to stop: within two days.
    ends_soon: bool,
}

/// Messages that failed and are retried.
#[derive(Serialize, ToSchema)]
#[schema(as = Debts)]
pub(in crate::web) struct DebtsShape {
    /// How many.
    count: i64,
    /// When the next of them is tried.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_try_at: Option<Timestamp>,
    /// How many by reason: `waits_for_quota`, `not_readable_yet`, `transient`, `not_understood`, `refused`, …
    by_reason: BTreeMap<String, i64>,
}

impl DebtsShape {
    fn of(connection: &Connection) -> Self {
        let by_reason = connection.debt_reasons.iter().cloned().collect();
        Self { count: connection.debts, next_try_at: connection.next_debt_at, by_reason }
    }
}

impl MailboxShape {
    pub(super) fn of(connection: &Connection, outlook: Option<&Outlook>) -> Option<Self> {
        let mailbox: &Mailbox = connection.mailbox.as_ref()?;
        let waits = outlook.and_then(|it| it.waits);
        Some(Self {
            id: mailbox.id.to_string(),
            email: mailbox.email.clone(),
            state: if connection.grant.suspended_at.is_some() { "suspended" } else { mailbox.state.word() },
            state_since: connection.grant.suspended_at.or(connection.mailbox_since()).unwrap_or(mailbox.state_since),
            history_id: mailbox.cursor.map(|it| it.to_string()),
            as_of: mailbox.cursor_at,
            messages_stored: connection.stored,
            messages_left_out: connection.left_out,
            messages_total: match mailbox.state {
                MailboxState::Live => Some(connection.settled()),
                _ => mailbox.total_messages.map(|it| it.max(connection.settled())),
            },
            messages_waiting: connection.waiting,
            complete_back_to: complete_back_to(mailbox),
            paused_until: mailbox.paused_until,
            paused_why: mailbox.paused_why.clone(),
            waits_for: waits.map(|it| waits_for(it, "mailbox")),
            waits_until: waits.map(Waits::until),
            failing: connection.mail_standstill.as_ref().map(FailingShape::of),
            unread_since: connection.unread_since,
            pass: outlook.and_then(|it| it.pass.as_ref()).map(|it| PassShape::of(it, waits)),
            push: PushShape::of(&connection.push),
            debts: DebtsShape::of(connection),
        })
    }
}

/// What is provably complete of a mailbox's copy.
#[derive(Serialize, ToSchema)]
#[schema(as = Coverage)]
pub(in crate::web) struct CoverageShape {
    /// Whether everything that Google shows and the privacy settings let in is here: nothing waits, nothing is owed, no
    /// difference is known.
    complete: bool,
    /// Back to when every message is here: while the copy grows, or because the organization copies no further back;
    /// while everything is compared, since when new mail is followed once more. Null when that is the beginning.
    #[schema(value_type = Option<String>, format = DateTime)]
    complete_from: Option<Timestamp>,
    /// Up to when: the history was last read to its end then. Null before the first reading, and after a lost cursor.
    #[schema(value_type = Option<String>, format = DateTime)]
    complete_to: Option<Timestamp>,
    /// Google's history id up to which everything is stored.
    history_id: Option<String>,
    /// Messages that are known of and not fetched yet.
    messages_waiting: i64,
    /// Messages that failed and are retried.
    debts: DebtsShape,
    /// Entries of Google's lists and history of which nothing can be read, since everything was last compared.
    entries_unreadable: i64,
    /// When everything is compared because of these; null while nothing is unreadable.
    #[schema(value_type = Option<String>, format = DateTime)]
    unreadable_retry_at: Option<Timestamp>,
    /// The last comparison with Google's own count.
    audit: AuditShape,
}

/// A comparison with Google's own count.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(in crate::web) struct AuditShape {
    /// When the counts agreed last.
    #[schema(value_type = Option<String>, format = DateTime)]
    agreed_at: Option<Timestamp>,
    /// Google's history id at that time.
    history_id: Option<String>,
    /// Messages that Google counted when it was last asked, without drafts and without those that the privacy settings
    /// leave out.
    counted_by_google: Option<i64>,
    /// Messages that were held at the same time.
    held: Option<i64>,
    /// Audits in a row that found the same difference: two begin a repair if nothing happened between them, else six.
    differences: i64,
    /// How many more messages Google counts than it lists, as comparing everything has shown; null ordinarily.
    explained: Option<i64>,
    /// When a repair was last begun.
    #[schema(value_type = Option<String>, format = DateTime)]
    repaired_at: Option<Timestamp>,
    /// By how much Google's counts of INBOX, STARRED and UNREAD differ from what is held, such as `INBOX+1 UNREAD-2`;
    /// null ordinarily. The same difference twice, with nothing in between, or six times makes Intail compare these
    /// labels.
    labels_differ: Option<String>,
    /// Whether comparing those labels left that as it is: Google counts otherwise than it lists.
    labels_explained: bool,
    /// When the next audit is due; null while nothing has happened since the last one.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
}

impl CoverageShape {
    pub(super) fn of(connection: &Connection) -> Option<Self> {
        let mailbox: &Mailbox = connection.mailbox.as_ref()?;
        let proved = &connection.coverage;
        let complete_from = match mailbox.state {
            MailboxState::Live => mailbox.copied_from_ms.map(from_ms),
            MailboxState::Backfilling => mailbox.oldest_ms.map_or(Some(mailbox.state_since), |ms| Some(from_ms(ms))),
            MailboxState::Reconciling => Some(mailbox.state_since),
        };
        Some(Self {
            complete: connection.is_complete(),
            complete_from,
            complete_to: mailbox.cursor_at,
            history_id: mailbox.cursor.map(|it| it.to_string()),
            messages_waiting: connection.waiting,
            debts: DebtsShape::of(connection),
            entries_unreadable: mailbox.unreadable,
            unreadable_retry_at: mailbox.compare_at,
            audit: AuditShape {
                agreed_at: proved.audited_at,
                history_id: proved.history_id.map(|it| it.to_string()),
                counted_by_google: proved.google_count,
                held: proved.held_count,
                differences: proved.misses,
                explained: proved.explained,
                repaired_at: proved.repaired_at.max(proved.labels_repaired_at),
                labels_differ: proved.labels_differ.clone(),
                labels_explained: proved.labels_differ.is_some() && proved.labels_differ == proved.labels_explained,
                next_at: proved.due_at,
            },
        })
    }
}

impl PushShape {
    fn of(push: &Push) -> Self {
        let (state, since, expires_at, renews_at, problem) = match push {
            Push::NotYet { problem } => ("not_yet", None, None, None, problem),
            Push::Live { since, expires_at, renews_at, problem, .. } => {
                ("live", Some(*since), Some(*expires_at), Some(*renews_at), problem)
            }
            Push::Lapsed { at, problem } => ("lapsed", None, Some(*at), None, problem),
        };
        let ends_soon = matches!(push, Push::Live { ends_soon: true, .. });
        Self { state, since, expires_at, renews_at, problem: problem.clone(), ends_soon }
    }
}

/// A label.
#[derive(Serialize, ToSchema)]
#[schema(as = Label)]
pub(in crate::web) struct LabelShape {
    /// Gmail's id.
    id: String,
    /// What people read.
    name: String,
    /// `system` or `user`.
    kind: &'static str,
}

impl LabelShape {
    pub(super) fn of(label: &Label) -> Self {
        Self { id: label.id.clone(), name: label.name.clone(), kind: label.kind.word() }
    }
}

/// A message: headers and labels. There is no body here, because Intail never has one.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(in crate::web) struct MessageShape {
    /// Gmail's id, unique within the mailbox.
    id: String,
    /// Gmail's thread.
    thread_id: String,
    /// When Google took it in.
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    /// Google's estimate of the whole message's size, in bytes.
    size_bytes: i64,
    /// The last history record that this state includes.
    history_id: String,
    /// Its labels' ids.
    label_ids: Vec<String>,
    /// The subject, decoded; empty when there is none, or when `subject_form` isn't `plain`.
    subject: String,
    /// How the subject is kept under the person's privacy settings: `plain`, `hashed` or `dropped`.
    subject_form: &'static str,
    /// What stands for a hashed subject: equal subjects of one organization have equal tags. Null otherwise.
    subject_tag: Option<String>,
    /// The sender's name, decoded; empty when there is none.
    sender_name: String,
    /// The sender's address; empty when there is none.
    sender_address: String,
    /// The sender's id in the directory, whichever of their addresses wrote. Null for everybody who is no colleague,
    /// for whom the directory hides, and for whoever didn't permit the directory.
    sender_person_id: Option<String>,
    /// Whom the letter names as senders and recipients, taken out of `headers`, in order.
    parties: Vec<MessagePartyShape>,
    /// The other headers, decoded: name in lower case, values in order.
    headers: BTreeMap<String, Vec<String>>,
}

/// Somebody whom a letter names.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageParty)]
struct MessagePartyShape {
    /// Where: `from`, `sender`, `to`, `cc`, `bcc` or `reply-to`.
    header: &'static str,
    /// The name, decoded; empty when there is none.
    name: String,
    /// The address as it was written; empty when there is none.
    address: String,
    /// The colleague's id in the directory; null as the sender's.
    person_id: Option<String>,
}

impl MessagePartyShape {
    fn all(message: &Message, colleagues: &Colleagues) -> Vec<Self> {
        let listed = PARTIES.iter().filter_map(|header| Some((*header, message.headers.get(*header)?)));
        let each = listed.flat_map(|(header, values)| values.iter().map(move |value| (header, value)));
        let parties = each.flat_map(|(header, value)| written(value).into_iter().map(move |it| (header, it)));
        let shape = |(header, (name, address)): (&'static str, (&str, &str))| Self {
            header,
            name: name.to_owned(),
            address: address.to_owned(),
            person_id: colleagues.person_id(address),
        };
        parties.map(shape).collect()
    }
}

impl MessageShape {
    pub(super) fn of(message: &Message, colleagues: &Colleagues) -> Self {
        let is_hashed = message.subject_form == SubjectForm::Hashed;
        Self {
            id: message.id.clone(),
            thread_id: message.thread_id.clone(),
            received_at: from_ms(message.received_ms),
            size_bytes: message.size_bytes,
            history_id: message.history_id.to_string(),
            label_ids: message.labels.clone(),
            subject: if is_hashed { String::new() } else { message.subject.clone() },
            subject_form: message.subject_form.word(),
            subject_tag: is_hashed.then(|| message.subject.clone()),
            sender_name: message.sender_name.clone(),
            sender_address: message.sender_address.clone(),
            sender_person_id: colleagues.person_id(&message.sender_address),
            parties: MessagePartyShape::all(message, colleagues),
            headers: message.headers.clone(),
        }
    }
}

/// A change.
#[derive(Serialize, ToSchema)]
#[schema(as = Change)]
pub(in crate::web) struct ChangeShape {
    /// Its number: grows within the organization, never repeats.
    seq: i64,
    /// When it was committed.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What happened, in one dotted word: `message.added`. An `event.added` whose event has a `series_id` says how one
    /// occurrence differs from its series: with the status `cancelled`, that it doesn't take place.
    kind: String,
    /// The mailbox; null when it happened in something else.
    mailbox_id: Option<String>,
    /// What it happened in: a mailbox, somebody's calendars, or the organization's directory.
    stream_id: String,
    /// Of which kind that is: `mail`, `calendar` or `directory`.
    stream: &'static str,
    /// What it happened to: a message's, a label's, a calendar's or an event's id; empty for the stream itself.
    subject_id: String,
    /// What moved, such as labels added and removed.
    #[schema(value_type = Object)]
    data: Json,
    /// The message as it is now; null when it has gone since, or when the change isn't about a message.
    message: Option<MessageShape>,
    /// The event as it is now; null when it has gone since, or when the change isn't about an event.
    event: Option<EventShape>,
    /// The person of the directory as everybody sees them now; null when they have gone since, or when the change isn't
    /// about one.
    person: Option<DirectoryPersonShape>,
}

impl ChangeShape {
    /// Of a change as it is read.
    pub(in crate::web) fn of(change: &Change, colleagues: &Colleagues) -> Self {
        Self {
            seq: change.seq,
            at: change.at,
            kind: change.kind.clone(),
            mailbox_id: matches!(change.stream, StreamId::Mail(_)).then(|| change.stream.to_string()),
            stream_id: change.stream.to_string(),
            stream: Stream::of(&change.stream).word(),
            subject_id: change.subject_id.clone(),
            data: change.data.clone(),
            message: change.message.as_ref().map(|it| MessageShape::of(it, colleagues)),
            event: change.event.as_ref().map(EventShape::of),
            person: change.directory_person.as_ref().map(DirectoryPersonShape::of),
        }
    }
}

/// All mailboxes that the caller may see.
#[derive(Serialize, ToSchema)]
#[schema(as = Mailboxes)]
pub(in crate::web) struct MailboxesShape {
    pub(super) mailboxes: Vec<MailboxShape>,
}

/// All labels of a mailbox.
#[derive(Serialize, ToSchema)]
#[schema(as = Labels)]
pub(in crate::web) struct LabelsShape {
    pub(super) labels: Vec<LabelShape>,
}

/// A page of messages, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Messages)]
pub(in crate::web) struct MessagesShape {
    pub(super) messages: Vec<MessageShape>,
    /// Give it as `after` to get the next page; null at the end.
    pub(super) next: Option<String>,
}

/// A page of changes, oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Changes)]
pub(in crate::web) struct ChangesShape {
    pub(super) changes: Vec<ChangeShape>,
    /// Give it as `after` to go on from here, now or later.
    pub(super) next: i64,
    /// Whether there is more already.
    pub(super) more: bool,
}
/// What was asked of Google on the person's behalf.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(in crate::web) struct ReceiptShape {
    /// The id of what the person permits, under which all calls are written down, refused attempts included; null
    /// before the first attempt to connect.
    pub(in crate::web) permission: Option<String>,
    /// Sums by day, kind of call and outcome, newest day first: about a month.
    pub(in crate::web) days: Vec<TotalShape>,
    /// Calls one by one, newest first.
    pub(in crate::web) calls: Vec<CallShape>,
    /// Ask for the next page with `before` and this; null when there is none.
    pub(in crate::web) next: Option<i64>,
}

/// What was asked on one day by one kind of call with one outcome.
#[derive(Serialize, ToSchema)]
#[schema(as = ReceiptTotal)]
pub(in crate::web) struct TotalShape {
    /// The day in UTC.
    day: String,
    /// The call, as `intail calls` lists it.
    call: String,
    /// `ok`, or why not, in one word.
    outcome: String,
    /// How often.
    calls: i64,
    /// Its price in Google's quota units.
    units: i64,
    /// Bytes received.
    bytes: i64,
}

impl TotalShape {
    pub(in crate::web) fn of(count: &CallCount) -> Self {
        Self {
            day: count.day.clone(),
            call: count.call.clone(),
            outcome: count.outcome.clone(),
            calls: count.calls,
            units: count.units,
            bytes: count.bytes,
        }
    }
}

/// One call, or a gap where calls may be missing.
#[derive(Serialize, ToSchema)]
#[schema(as = ReceiptCall)]
pub(in crate::web) struct CallShape {
    /// The batch of the chain that holds it.
    batch: i64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The call, as `intail calls` lists it; `gap` for a gap.
    call: String,
    /// What kind of thing was asked about.
    resource: &'static str,
    /// Why, in one word; of a gap `broken_off` or `not_kept`.
    why: String,
    /// `ok`, or why not, in one word; of a gap how many calls are missing, if that is known.
    outcome: String,
    /// Its price in Google's quota units.
    units: i64,
    /// Bytes received.
    bytes: i64,
}

impl CallShape {
    pub(in crate::web) fn of(batch: i64, line: &Line) -> Self {
        Self {
            batch,
            at: line.at,
            call: line.call.clone(),
            resource: line.resource(),
            why: line.purpose.clone(),
            outcome: line.outcome.clone(),
            units: line.units,
            bytes: line.bytes,
        }
    }
}

/// The chain of calls, as far as it is kept.
#[derive(Serialize, ToSchema)]
#[schema(as = ReceiptChain)]
pub(in crate::web) struct ChainShape {
    /// The batch after which what is kept begins; 0 if nothing was dropped for age or size yet.
    checkpoint_batch: i64,
    /// Its hash.
    checkpoint_hash: String,
    /// The last batch.
    last_batch: i64,
    /// Its hash: a later receipt that doesn't go on from it was written anew.
    last_hash: String,
    /// Batches that are kept.
    batches: i64,
    /// Calls in them.
    calls: i64,
    /// Lines that tell of a gap.
    gaps: i64,
    /// When the first call that is kept began.
    #[schema(value_type = Option<String>, format = DateTime)]
    first_at: Option<Timestamp>,
    /// The first batch that is missing or isn't what its hash says; null if the chain is whole.
    broken_at: Option<i64>,
}

impl ChainShape {
    pub(in crate::web) fn of(chain: &Chain) -> Self {
        Self {
            checkpoint_batch: chain.checkpoint_batch,
            checkpoint_hash: chain.checkpoint_hash.clone(),
            last_batch: chain.last_batch,
            last_hash: chain.last_hash.clone(),
            batches: chain.batches,
            calls: chain.calls,
            gaps: chain.gaps,
            first_at: chain.first_at,
            broken_at: chain.broken_at,
        }
    }
}

/// What walking the chain showed.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckedReceipt)]
pub(in crate::web) struct CheckedReceiptShape {
    /// Whether nothing was changed, taken out or put elsewhere.
    pub(in crate::web) whole: bool,
    /// The chain.
    pub(in crate::web) chain: ChainShape,
    /// The text that is signed: permission, last batch, last hash and the instant.
    pub(in crate::web) vouched: String,
    /// The signature over `vouched`, base64url; null when the chain is broken.
    pub(in crate::web) signature: Option<String>,
    /// The key that signed, see `/api/v1/receipts/key`.
    pub(in crate::web) key: String,
}

/// The public keys that receipts are signed with.
#[derive(Serialize, ToSchema)]
#[schema(as = ReceiptKeys)]
pub(in crate::web) struct PublicKeysShape {
    /// `Ed25519`.
    pub(in crate::web) algorithm: &'static str,
    /// The keys, newest last; none before anything was signed.
    pub(in crate::web) keys: Vec<PublicKeyShape>,
}

/// A public key.
#[derive(Serialize, ToSchema)]
#[schema(as = ReceiptKey)]
pub(in crate::web) struct PublicKeyShape {
    /// Its id, which receipts name.
    pub(in crate::web) id: String,
    /// The key, base64url.
    pub(in crate::web) public_key: String,
}

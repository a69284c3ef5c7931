//! Settings → Integrations: the Google Workspace Individual card in all its states, connecting and disconnecting, and
//! the pages of what the other two permissions are for. Everything that is said here is computed from evidence at
//! that moment.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::access::Caller;
use super::approval::Way;
use super::asked::{Asked, At, Sent};
use super::copying::{Extent, Progress, Waiting};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{self, When, clip, counted, from_ms, grouped, reason};
use super::{Web, leaving, session};
use crate::connect::{self, ConnectError, Connection, Mode, Options, Permission, Push, Standstill};
use crate::org::audit::Origin;
use crate::store::attempts::{self, Attempt};
use crate::store::changes;
use crate::store::directory_people::View;
use crate::store::grants::GrantState;
use crate::store::leases::Stream;
use crate::store::leavings::{self, Revocation};
use crate::store::mailboxes::{Mailbox, MailboxState};
use crate::store::organizations::{self, Approval};
use crate::store::people::{self, Role};
use crate::sync::Waits;
use crate::sync::calendar_plan::LIST_ENDLESS;

/// How long after connecting the confirmation is still shown when the page is asked for it.
const CONFIRMED_FOR: SignedDuration = SignedDuration::from_mins(5);
/// How long after somebody went to Google their other windows look whether they came back, or were kept there.
const AWAITED_FOR: SignedDuration = SignedDuration::from_mins(1);
/// How often a page asks again while things settle and nothing pushes yet, in seconds.
const SETTLING_EVERY_S: u8 = 2;
/// The longest text of Google's that is shown as a reason.
const PROBLEM_SHOWN_MAX: usize = 200;

/// Why the page was opened.
#[derive(Deserialize)]
pub(super) struct Opened {
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "integrations.html")]
struct IntegrationsPage {
    shell: Shell,
    confirmation: Option<Confirmation>,
    status: Status,
    card: Option<Card>,
    /// Since when the person is being disconnected, while that isn't finished.
    leaving_since: Option<When>,
    way: Way,
    message: String,
    is_administrator: bool,
    /// Whether anybody is an administrator here, whom Intail asks.
    has_administrator: bool,
    waits_since: Option<When>,
    /// Whether another account than the one that the person signs in with may be connected.
    may_choose: bool,
    abandoned: Option<When>,
    /// When Google said that the administrator's settings keep this person out, although it lets others in.
    kept_out: Option<When>,
    settling_every_s: u8,
}

/// What a person is told right after Google let Intail in. "Connected" is said of what has been read once: right after
/// the callback nothing has.
struct Confirmation {
    email: String,
    missing: Vec<Permission>,
    /// Whether what is granted has been read to its end once.
    has_advanced: bool,
}

/// How the connection stands, in a word, with its colour.
struct Status {
    tone: &'static str,
    text: &'static str,
    since: Option<When>,
}

/// An existing connection.
struct Card {
    email: String,
    connected_at: When,
    problem: Option<Problem>,
    permissions: Vec<Permitted>,
    missing_any: bool,
    /// Whether what is copied goes on.
    reads_mail: bool,
    copying: Option<Copying>,
    push: PushWords,
    debts: Option<Debts>,
}

/// Something that keeps the connection from working, and who can mend it.
struct Problem {
    who: &'static str,
    title: &'static str,
    text: &'static str,
    since: When,
    can_reconnect: bool,
}

struct Permitted {
    permission: Permission,
    granted: bool,
    /// Whether it is good for anything now: not while Google accepts nothing of what was allowed.
    works: bool,
    why: &'static str,
    /// How the copy of it stands.
    copied: Option<Copied>,
}

/// How a copy stands, as of when, and what it waits for.
struct Copied {
    text: String,
    at: Option<When>,
    waits: Option<Waiting>,
}

/// How far the copy is.
struct Copying {
    state: &'static str,
    /// Whether new mail arrives while what was there before is read.
    new_arrives: bool,
    extent: Extent,
    /// What the privacy settings leave out.
    left_out: Option<String>,
    waiting: Option<String>,
    /// Before when nothing is copied, as the organization decided.
    copied_from: Option<When>,
    as_of: Option<When>,
    /// Whether all that Google shows is here.
    is_complete: bool,
    /// Why it can't be read, if so.
    standstill: Option<StandstillWords>,
    /// Since when something that Google told of is unread, if that is too long.
    unread_since: Option<When>,
    /// When Google's own count was the same.
    agreed_at: Option<When>,
    /// What Google counts, if it is something else.
    differs: Option<String>,
    /// Whether Google counts otherwise than it lists, as comparing everything has shown.
    is_explained: bool,
    labels_differ: bool,
    unreadable: Option<Unreadable>,
}

/// What of Google's lists and history can't be read, and when everything is compared because of it.
struct Unreadable {
    entries: String,
    /// None when nothing stands in its way.
    compared_at: Option<When>,
}

/// Whether Google tells of changes.
enum PushWords {
    NotYet {
        problem: Option<String>,
    },
    Live {
        since: When,
        expires_at: When,
        renews_at: When,
        problem: Option<String>,
        ends_soon: bool,
    },
    Lapsed {
        at: When,
        problem: Option<String>,
    },
    /// Nothing is asked at all: the grant doesn't work, or mail isn't permitted.
    Stopped {
        at: When,
    },
}

/// Mail can't be read at the moment.
struct StandstillWords {
    since: When,
    why: &'static str,
    next_try_at: Option<When>,
}

struct Debts {
    count: String,
    next_at: Option<When>,
    /// Why, the commonest reason first.
    why: String,
}

/// `GET /settings/integrations`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(opened): Asked<Opened>,
) -> Result<Response, Trouble> {
    let (person, now) = (&caller.person, web.app.clock.now());
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, &person.organization_id).await?;
    let connection = connect::connection(&mut tx, &person.id, now).await?;
    let abandoned = connect::abandoned(&mut tx, &person.id, now).await?;
    let newest = attempts::newest_connect(&mut tx, &person.id).await?;
    let leaving = leavings::unfinished_of_person(&mut tx, &person.id).await?.filter(|_| connection.is_none());
    let organization = organizations::by_id(&mut tx, &person.organization_id).await?;
    let organization = organization.ok_or_else(|| trouble::not_there("organization"))?;
    let way = Way::of(&web, &mut tx, &organization).await?;
    let has_administrator = people::administrators(&mut tx, &organization.id).await? > 0;
    let progress = Progress::of(&web, &mut tx, &organization.id, connection.as_ref()).await?;
    drop(tx);
    let approval = organization.approval;
    let waits = caller.standing.and_then(|it| it.waits_since);
    let just_connected = opened.done.as_deref() == Some("connected");
    let shell =
        Shell::new(&web, Some(&caller), "integrations", "Integrations").following(last_seq, connection.is_some());
    let confirmation = connection.as_ref().filter(|it| just_connected && is_fresh(it, now)).map(|it| Confirmation {
        email: it.grant.email.clone(),
        missing: it.missing.clone(),
        has_advanced: it.has_advanced(),
    });
    let settles = match &connection {
        Some(connection) => {
            is_settling(connection, &progress) || confirmation.as_ref().is_some_and(|it| !it.has_advanced)
        }
        None if leaving.is_some() => true,
        None => newest.as_ref().is_some_and(|it| is_awaited(it, now)),
    };
    let kept_out = newest.filter(|it| connection.is_none() && is_kept_out(it, approval));
    html(&IntegrationsPage {
        shell,
        confirmation,
        status: match &leaving {
            Some(leaving) => {
                Status { tone: "busy", text: "Being disconnected", since: Some(When::full(leaving.begun_at)) }
            }
            None => status(connection.as_ref(), approval, progress.mail_waits()),
        },
        leaving_since: leaving.map(|it| When::full(it.begun_at)),
        abandoned: abandoned.filter(|begun| is_left_open(*begun, connection.as_ref())).map(When::full),
        kept_out: kept_out.map(|it| When::full(it.begun_at)),
        message: way.message(),
        way,
        is_administrator: person.role == Role::Administrator,
        has_administrator,
        waits_since: waits.map(When::full),
        may_choose: organization.secondary_accounts,
        card: connection.map(|it| card(&it, &progress, now)),
        settling_every_s: if settles { SETTLING_EVERY_S } else { 0 },
    })
}

fn is_fresh(connection: &Connection, now: Timestamp) -> bool {
    connection.grant.state.works() && now.duration_since(connection.grant.connected_at) < CONFIRMED_FOR
}

/// Whether an attempt that its person didn't come back from says something: nothing stands since, or what stands lacks
/// something and is older than the attempt.
fn is_left_open(begun: Timestamp, connection: Option<&Connection>) -> bool {
    connection.is_none_or(|it| {
        let lacks = it.grant.suspended_at.is_none() && (!it.works() || !it.missing.is_empty());
        lacks && begun > it.grant.state_since.max(it.grant.connected_at)
    })
}

fn is_awaited(newest: &Attempt, now: Timestamp) -> bool {
    newest.ended_at.is_none() && now.duration_since(newest.begun_at) < AWAITED_FOR
}

fn is_kept_out(newest: &Attempt, approval: Approval) -> bool {
    approval == Approval::Approved && newest.outcome.as_deref() == Some("blocked_by_administrator")
}

fn is_settling(connection: &Connection, progress: &Progress) -> bool {
    let mailbox = connection.mailbox.as_ref().filter(|_| connection.reads_mail());
    let is_listing = connection.works() && connection.directory.as_ref().is_some_and(|it| !it.has_advanced());
    is_listing && !is_paused(progress.directory_waits)
        || mailbox.is_some_and(|it| {
            !is_paused(progress.mail_waits())
                && (it.state != MailboxState::Live || !matches!(connection.push, Push::Live { .. }))
        })
}

/// Whether Google wants no questions about it now.
fn is_paused(waits: Option<Waits>) -> bool {
    matches!(waits, Some(Waits::Paused(_) | Waits::Project(_)))
}

fn status(connection: Option<&Connection>, approval: Approval, waits: Option<Waits>) -> Status {
    let Some(connection) = connection else {
        let (tone, text) = match approval {
            Approval::Approved => ("quiet", "Not connected"),
            Approval::Blocked => ("act", "Blocked by your administrator"),
            Approval::Unknown | Approval::Asked => ("quiet", "Not connected"),
        };
        return Status { tone, text, since: None };
    };
    let mailbox = connection.mailbox.as_ref();
    let grant_since = Some(When::full(connection.grant.state_since));
    let mailbox_since = connection.mailbox_since().map(When::full);
    let suspended_since = connection.grant.suspended_at.map(When::full);
    let (tone, text, since) = match connection.grant.state {
        _ if suspended_since.is_some() => ("act", "Suspended at Google", suspended_since),
        GrantState::NeedsPerson => ("act", "Needs you", grant_since),
        GrantState::NeedsAdministrator => ("act", "Needs your administrator", grant_since),
        GrantState::NeedsOperator => ("act", "Needs whoever runs Intail", grant_since),
        _ if !connection.reads_mail() => ("act", "Mail isn’t permitted", grant_since),
        _ if is_paused(waits) => ("busy", "Paused", None),
        _ if let Some(it) = &connection.mail_standstill => ("act", "Can’t be read now", Some(When::full(it.since))),
        _ if let Some(since) = connection.unread_since => ("busy", "Behind", Some(When::full(since))),
        _ => match mailbox.map(|it| it.state) {
            Some(MailboxState::Backfilling) => ("busy", "Copying your mail", mailbox_since),
            Some(MailboxState::Reconciling) => ("busy", "Comparing with Google", mailbox_since),
            _ if !connection.missing.is_empty() => ("good", "Live, with a permission missing", mailbox_since),
            _ if connection.is_connected() => ("good", "Connected and live", mailbox_since),
            _ => ("busy", "Starting", mailbox_since),
        },
    };
    Status { tone, text, since }
}

fn card(connection: &Connection, progress: &Progress, now: Timestamp) -> Card {
    Card {
        email: connection.grant.email.clone(),
        connected_at: When::full(connection.grant.connected_at),
        problem: problem(connection),
        permissions: Permission::ALL.into_iter().map(|it| permitted(it, connection, progress)).collect(),
        missing_any: !connection.missing.is_empty() && connection.works(),
        reads_mail: connection.reads_mail(),
        copying: connection.mailbox.as_ref().map(|it| copying(connection, it, progress, now)),
        push: push_words(connection),
        debts: (connection.debts > 0).then(|| Debts {
            count: counted(connection.debts, "message", "messages"),
            next_at: connection.next_debt_at.map(When::full),
            why: debt_words(&connection.debt_reasons),
        }),
    }
}

/// Why messages couldn't be read, each reason once.
fn debt_words(reasons: &[(String, i64)]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for (reason, _) in reasons {
        let said = match reason.as_str() {
            "waits_for_quota" | "slow_down" => "Google’s allowance for a minute was used up",
            "not_readable_yet" => "Google tells of it and doesn’t show it yet",
            "transient" => "Google didn’t answer as it should",
            "not_understood" => "Google’s answer couldn’t be understood",
            "not_in_its_thread" | "not_asked_yet" => "it is still to be asked for by itself",
            _ => "Google refused it",
        };
        if !words.contains(&said) {
            words.push(said);
        }
    }
    words.join("; ")
}

fn problem(connection: &Connection) -> Option<Problem> {
    if let Some(since) = connection.grant.suspended_at {
        return Some(Problem {
            who: "directory",
            title: "Your organization suspended your account at Google",
            text: "Intail pauses by itself. It looks at the directory about once an hour, and goes on by itself once \
                   your administrator lets you in again. If Google lets you sign in again already, reconnect: that is \
                   quicker.",
            since: When::full(since),
            can_reconnect: true,
        });
    }
    let (who, title, can_reconnect) = match connection.grant.state {
        // Intail is let in; what it is to read is switched off. The guide to letting it in would mislead.
        GrantState::NeedsAdministrator if connection.grant.reason == "no_mailbox" => {
            ("services", "Gmail is switched off for your account", true)
        }
        GrantState::NeedsAdministrator if connection.grant.reason == "gmail_off_for_apps" => {
            ("services", "Gmail is switched off for applications", true)
        }
        GrantState::NeedsPerson => ("person", "Connect once more to go on", true),
        GrantState::NeedsAdministrator => ("administrator", "Your administrator has to let Intail in again", false),
        GrantState::NeedsOperator => ("operator", "Whoever runs Intail has to mend it", false),
        GrantState::Active | GrantState::Partial | GrantState::Left => return None,
    };
    let since = When::full(connection.grant.state_since);
    Some(Problem { who, title, text: reason(&connection.grant), since, can_reconnect })
}

fn permitted(permission: Permission, connection: &Connection, progress: &Progress) -> Permitted {
    let why = match permission {
        Permission::Mail => "Without it there is no mail in Intail: this is what everything else hangs on.",
        Permission::Calendar => "Without it Intail has no calendar for you. Mail isn’t touched by that.",
        Permission::Directory => "Without it Intail knows colleagues by address only. Mail isn’t touched by that.",
    };
    let copied = match permission {
        // The figures above say it.
        Permission::Mail => None,
        Permission::Calendar => calendar_words(connection, progress),
        Permission::Directory => directory_words(connection, progress),
    };
    let granted = connection.granted.contains(&permission);
    Permitted { permission, granted, works: granted && connection.works(), why, copied }
}

fn unreadable(standstill: &Standstill) -> String {
    format!("Can’t be read now: {} Intail goes on trying by itself.", words::failure(&standstill.why))
}

/// How the copy of the person's calendars stands.
fn calendar_words(connection: &Connection, progress: &Progress) -> Option<Copied> {
    let agenda = connection.agenda.as_ref().filter(|_| connection.reads_calendars())?;
    let why = agenda.agenda.paused_why.as_deref();
    let waits = progress.calendars_wait.map(|it| Waiting::of(it, Stream::Calendar, why));
    if agenda.agenda.problem.as_deref() == Some("no_calendar") {
        return Some(Copied { text: "Google has no calendar for this account.".to_owned(), at: None, waits: None });
    }
    if let Some(it) = &connection.calendar_standstill {
        return Some(Copied { text: unreadable(it), at: agenda.as_of().map(When::full), waits });
    }
    let events = counted(agenda.events, "event", "events");
    if !agenda.has_advanced() {
        return Some(Copied { text: format!("Being copied: {events} so far."), at: None, waits });
    }
    let calendars = counted(i64::try_from(agenda.followed().count()).unwrap_or(i64::MAX), "calendar", "calendars");
    let how = match agenda.mode() {
        Mode::Told => "Google tells Intail of changes",
        Mode::Looking => "Intail looks for changes every few minutes, and while you look; the calendar’s page says why",
    };
    let away = agenda.followed().filter(|it| it.calendar.problem.is_some()).count();
    let away = match away {
        0 => String::new(),
        away => format!(
            " {} can’t be read at the moment.",
            counted(i64::try_from(away).unwrap_or(0), "calendar", "calendars")
        ),
    };
    let endless = match agenda.agenda.problem.as_deref() {
        Some(LIST_ENDLESS) => " Google’s list of your calendars has no end, so that some may be missing.",
        _ => "",
    };
    let hidden = match agenda.agenda.list_unreadable {
        0 => String::new(),
        some => format!(" {} of your list at Google can’t be read.", counted(some, "calendar", "calendars")),
    };
    let text = format!("{events} of {calendars} copied. {how}.{away}{hidden}{endless}");
    Some(Copied { text, at: agenda.as_of().map(When::full), waits })
}

/// How the copy of the organization's directory stands.
fn directory_words(connection: &Connection, progress: &Progress) -> Option<Copied> {
    let copy = connection.directory.as_ref()?;
    let why = copy.paused_why.as_deref();
    let waits = progress.directory_waits.map(|it| Waiting::of(it, Stream::Directory, why));
    let text = match (copy.problem.as_deref(), copy.passed_at) {
        _ if let Some(it) = copy.standstill.as_ref().filter(|_| copy.problem.is_none()) => unreadable(it),
        (Some("no_directory"), _) => "Google shows no directory to anybody who permitted it.".to_owned(),
        (Some(problem), _) => format!("{}.", super::directory::hindrance(problem)),
        (None, None) => format!("Being copied: {} so far.", grouped(copy.seen)),
        (None, Some(_)) => {
            let view = match copy.view {
                Some(View::Administrator) => "with an administrator’s view, every hour",
                _ => "as everybody sees it, once a day",
            };
            format!("{} copied, read {view}.", counted(copy.people, "person", "people"))
        }
    };
    Some(Copied { text, at: copy.passed_at.map(When::full), waits })
}

fn copying(connection: &Connection, mailbox: &Mailbox, progress: &Progress, now: Timestamp) -> Copying {
    Copying {
        state: mailbox.state.word(),
        new_arrives: progress.new_mail_arrives(),
        extent: Extent::of(connection, mailbox, progress),
        left_out: (connection.left_out > 0).then(|| counted(connection.left_out, "message", "messages")),
        waiting: (connection.waiting > 0).then(|| counted(connection.waiting, "message", "messages")),
        copied_from: mailbox.copied_from_ms.map(|ms| When::day(from_ms(ms))),
        as_of: mailbox.cursor_at.map(When::full),
        is_complete: connection.is_complete(),
        standstill: connection.mail_standstill.as_ref().map(standstill),
        unread_since: connection.unread_since.filter(|_| connection.mail_standstill.is_none()).map(When::full),
        agreed_at: connection.coverage.audited_at.map(When::full),
        is_explained: connection.coverage.explained.is_some(),
        labels_differ: connection.coverage.misses == 0 && !connection.coverage.agrees(),
        differs: connection.coverage.google_count.filter(|_| connection.coverage.misses > 0).map(grouped),
        unreadable: (mailbox.unreadable > 0).then(|| Unreadable {
            entries: counted(mailbox.unreadable, "entry", "entries"),
            compared_at: mailbox.compare_at.filter(|at| *at > now).map(When::full),
        }),
    }
}

fn standstill(standstill: &Standstill) -> StandstillWords {
    StandstillWords {
        since: When::full(standstill.since),
        why: words::failure(&standstill.why),
        next_try_at: standstill.next_try_at.map(When::full),
    }
}

fn push_words(connection: &Connection) -> PushWords {
    let shown = |problem: &Option<String>| problem.as_ref().map(|it| clip(it, PROBLEM_SHOWN_MAX));
    match &connection.push {
        Push::Lapsed { at, .. } if !connection.reads_mail() => PushWords::Stopped { at: When::full(*at) },
        Push::NotYet { .. } if !connection.reads_mail() => {
            PushWords::Stopped { at: When::full(connection.grant.state_since) }
        }
        Push::NotYet { problem } => PushWords::NotYet { problem: shown(problem) },
        Push::Live { since, expires_at, renews_at, problem, ends_soon } => PushWords::Live {
            since: When::full(*since),
            expires_at: When::full(*expires_at),
            renews_at: When::full(*renews_at),
            problem: shown(problem),
            ends_soon: *ends_soon,
        },
        Push::Lapsed { at, problem } => PushWords::Lapsed { at: When::full(*at), problem: shown(problem) },
    }
}

/// How the person wants to be asked.
#[derive(Deserialize)]
pub(super) struct Ask {
    choose_account: Option<String>,
    ask_again: Option<String>,
}

/// `POST /connect/google`: sends the person to Google. Pressing twice begins two attempts; each works once, and either
/// ends in the same connection.
pub(super) async fn connect(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    headers: HeaderMap,
    Sent(ask): Sent<Ask>,
) -> Result<Response, Trouble> {
    let options = Options { choose_account: ask.choose_account.is_some(), ask_again: ask.ask_again.is_some(), origin };
    let (browser_hash, cookie) = session::recognize_browser(&web, &headers);
    let url = connect::begin(&web.app, &caller.person, &browser_hash, options).await?;
    Ok((cookie, Redirect::to(url.as_str())).into_response())
}

/// `POST /connect/google/wait`: remembers that the person wants to be told of the approval.
pub(super) async fn wait(State(web): State<Web>, caller: Caller, origin: Origin) -> Result<Response, Trouble> {
    connect::wait_for_approval(&web.app, &caller.person, origin).await?;
    Ok(Redirect::to("/settings/integrations").into_response())
}

/// `GET /connect/google/callback`: the person comes back from Google. The address carries a code, so it is left at
/// once.
pub(super) async fn connected(
    State(web): State<Web>,
    caller: Option<Caller>,
    headers: HeaderMap,
    origin: Origin,
    Asked(callback): Asked<connect::Callback>,
) -> Result<Response, Trouble> {
    let browser_hash = session::browser_hash(&web, &headers);
    let person = caller.as_ref().map(|it| &it.person);
    let callback = connect::Callback { origin, ..callback };
    match connect::finish(&web.app, person, &browser_hash, callback).await {
        Ok(_) => Ok(Redirect::to("/settings/integrations?done=connected").into_response()),
        Err(error) => {
            let mut told = Trouble::from(error).into_response();
            if let Some(caller) = caller {
                told.extensions_mut().insert(caller);
            }
            Ok(told)
        }
    }
}

#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage {
    shell: Shell,
    email: String,
    stored: String,
    /// How much of calendars is copied; none while nothing is.
    events: Option<String>,
    project: String,
}

/// `GET /settings/integrations/disconnect`: says what would happen.
pub(super) async fn leave_page(State(web): State<Web>, caller: Caller) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = connect::connection(&mut tx, &caller.person.id, web.app.clock.now()).await?;
    let connection = connection.ok_or(ConnectError::NotConnected)?;
    html(&LeavePage {
        shell: Shell::new(&web, Some(&caller), "integrations", "Disconnect"),
        email: connection.grant.email.clone(),
        stored: counted(connection.stored, "message", "messages"),
        events: connection.agenda.as_ref().map(|it| counted(it.events, "event", "events")),
        project: project(&web),
    })
}

/// The Cloud project whose permissions end with a revocation, as far as it is known here.
pub(super) fn project(web: &Web) -> String {
    web.app.config.google.project.clone().unwrap_or_default()
}

#[derive(Template)]
#[template(path = "left.html")]
struct LeftPage {
    shell: Shell,
    left: leaving::Told,
}

/// `POST /disconnect/google`: does it. The page after it says what was done.
pub(super) async fn leave(State(web): State<Web>, caller: Caller, origin: Origin) -> Result<Response, Trouble> {
    let left = connect::leave(&web.app, &caller.person, origin).await?;
    // A reload must not send it again: whoever has connected anew since would be disconnected.
    Ok(Redirect::to(&format!("/receipt/left/{}/done", left.receipt)).into_response())
}

/// `GET /receipt/left/{id}/done`: says what was done, as the receipt has it.
pub(super) async fn left(State(web): State<Web>, caller: Caller, At(id): At<String>) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let receipt = leaving::found(&mut tx, &id).await?.filter(|it| it.person_id.as_ref() == Some(&caller.person.id));
    drop(tx);
    let left = leaving::Told::of(&receipt.ok_or_else(|| trouble::not_there("receipt"))?);
    html(&LeftPage { shell: Shell::new(&web, Some(&caller), "integrations", "Disconnected"), left })
}

#[derive(Template)]
#[template(path = "permission.html")]
struct PermissionPage {
    shell: Shell,
    permission: Permission,
    connected: bool,
    works: bool,
    granted: bool,
}

/// The page of a permission that nothing is copied of.
pub(super) async fn permission_page(
    web: &Web,
    caller: &Caller,
    area: &'static str,
    permission: Permission,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let connection = connect::connection(&mut tx, &caller.person.id, web.app.clock.now()).await?;
    let title = if permission == Permission::Calendar { "Calendar" } else { "Directory" };
    html(&PermissionPage {
        shell: Shell::new(web, Some(caller), area, title),
        permission,
        connected: connection.is_some(),
        works: connection.as_ref().is_some_and(|it| it.grant.state.works()),
        granted: connection.is_some_and(|it| it.granted.contains(&permission)),
    })
}

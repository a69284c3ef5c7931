//! Administration → People: who is here, how their connections stand, whom to remind, and who is invited. States and
//! dates only: nothing of what anybody's account holds can appear here.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::access::Caller;
use super::administration::{self, Standing};
use super::asked::{Asked, At, Sent};
use super::audit::Line as AuditLine;
use super::copying::{Extent, Progress, Waiting};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{self, When, clip, counted};
use super::{Web, directory};
use crate::connect::{self, Connection, Mode, Permission};
use crate::id::{InvitationId, PersonId};
use crate::org::audit::{self as log, Actor, Entry, Origin};
use crate::org::invitations::{self as inviting, Invited};
use crate::org::roles::{self, By, RoleChange};
use crate::store::audit::{self, Filter};
use crate::store::invitations::{self, Invitation};
use crate::store::leases::Stream;
use crate::store::people::{self, Listed, Role, Search};
use crate::store::{StoreError, Tx, directory_people, erasure, sessions, sign_in_links};

/// People on a page.
const PAGE_PEOPLE: i64 = 50;
/// People of the directory who never came, as many as the page lists.
const NEVER_CAME_SHOWN: i64 = 100;
/// Invitations that the page lists.
const INVITATIONS_SHOWN: i64 = 100;
/// The longest search, in characters.
const SEARCH_MAX: usize = 100;
/// The longest name that is shown.
const NAME_SHOWN_MAX: usize = 120;
/// Entries of the audit log on a person's page.
const ENTRIES_SHOWN: i64 = 20;

/// Whom the page shows, and what was just done.
#[derive(Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    state: Option<String>,
    after: Option<String>,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    shell: Shell,
    may_change: bool,
    done: Option<&'static str>,
    q: String,
    states: Vec<Choice>,
    people: Vec<Line>,
    next: Option<String>,
    reminder: Option<Reminder>,
    never_came: Option<NeverCame>,
    invitations: Vec<OpenInvitation>,
    roles: [Role; 3],
}

/// A state to filter by.
struct Choice {
    word: String,
    text: &'static str,
    count: i64,
    chosen: bool,
}

struct Line {
    id: String,
    name: String,
    email: String,
    role: &'static str,
    standing: Standing,
    since: Option<When>,
    signed_in_at: Option<When>,
}

/// What to send to those who haven't connected.
struct Reminder {
    addresses: String,
    text: String,
}

/// People of the directory who never signed in here.
struct NeverCame {
    count: String,
    more: bool,
    people: Vec<Absent>,
    reminder: Reminder,
}

struct Absent {
    name: String,
    address: String,
}

#[derive(Template)]
#[template(path = "reminder.txt")]
struct ReminderText<'a> {
    public_url: &'a str,
}

struct OpenInvitation {
    id: String,
    email: String,
    role: &'static str,
    expires_at: When,
}

/// `GET /admin/people`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Trouble> {
    let (id, now) = (&caller.person.organization_id, web.app.clock.now());
    let q: String = wanted.q.as_deref().unwrap_or_default().trim().chars().take(SEARCH_MAX).collect();
    let chosen = wanted.state.unwrap_or_default();
    let search = Search { words: q.clone(), standing: chosen.clone() };
    let after = wanted.after.and_then(|it| it.parse::<PersonId>().ok());
    let mut tx = web.app.store.read().await?;
    let mut found = people::search(&mut tx, id, &search, after.as_ref(), now, PAGE_PEOPLE + 1).await?;
    let counts = people::count_by_standing(&mut tx, id, now).await?;
    let waiting = invitations::of_organization(&mut tx, id, now, INVITATIONS_SHOWN).await?;
    let never_came = match chosen == administration::NOT_CONNECTED && q.is_empty() && after.is_none() {
        true => never_came(&web, &mut tx, &caller).await?,
        false => None,
    };
    drop(tx);
    let shown = usize::try_from(PAGE_PEOPLE).unwrap_or(usize::MAX);
    let more = found.len() > shown;
    found.truncate(shown);
    let reminder = (chosen == administration::NOT_CONNECTED && !found.is_empty())
        .then(|| reminder(&web, found.iter().map(|it| it.person.email.as_str())));
    html(&PeoplePage {
        shell: Shell::new(&web, Some(&caller), "administration", "People"),
        may_change: caller.person.role == Role::Administrator,
        done: done(wanted.done.as_deref()),
        next: found.last().filter(|_| more).map(|last| address(&q, &chosen, &last.person.id)),
        states: states(counts, &chosen),
        q,
        people: found.into_iter().map(line).collect(),
        reminder,
        never_came,
        invitations: waiting.into_iter().map(open_invitation).collect(),
        roles: Role::ALL,
    })
}

fn done(word: Option<&str>) -> Option<&'static str> {
    match word {
        // Whether it is another organization's isn't said: organizations here never see each other.
        Some("invited") => Some(
            "The invitation waits. Intail sends no mail: tell them to sign in. Only an address whose domain belongs to \
             another organization on this Intail can’t use it: that organization alone decides who of it joins.",
        ),
        Some("withdrawn") => Some("The invitation is withdrawn."),
        Some("role") => Some("The role is changed."),
        Some("keys_ended") => Some("They are signed out in every browser, and their access keys no longer work."),
        Some("signed_out") => Some("They are signed out in every browser."),
        _ => None,
    }
}

fn address(q: &str, state: &str, after: &PersonId) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("q", q)
        .append_pair("state", state)
        .append_pair("after", after.as_str())
        .finish();
    format!("/admin/people?{query}")
}

fn states(counts: Vec<(String, i64)>, chosen: &str) -> Vec<Choice> {
    let known = |word: &String| counts.iter().any(|(it, _)| it == word);
    let extra = (!chosen.is_empty() && !known(&chosen.to_owned())).then(|| (chosen.to_owned(), 0));
    let state = |(word, count): (String, i64)| Choice {
        text: administration::standing(&word).text,
        chosen: word == chosen,
        word,
        count,
    };
    counts.iter().cloned().chain(extra).map(state).collect()
}

fn line(listed: Listed) -> Line {
    Line {
        id: listed.person.id.to_string(),
        name: clip(&listed.person.name, NAME_SHOWN_MAX),
        email: clip(&listed.person.email, NAME_SHOWN_MAX),
        role: listed.person.role.word(),
        standing: administration::standing(&listed.standing),
        since: listed.since.map(When::full),
        signed_in_at: listed.signed_in_at.map(When::full),
    }
}

/// Who never came, of the directory: for administrators and auditors who may read it, as everybody may who permitted
/// it.
async fn never_came(web: &Web, tx: &mut Tx, caller: &Caller) -> Result<Option<NeverCame>, StoreError> {
    if !directory::may_read(tx, caller).await? {
        return Ok(None);
    }
    let (organization, issuer) = (&caller.person.organization_id, &web.app.google.endpoints().issuer);
    let people = directory_people::never_came(tx, organization, issuer, NEVER_CAME_SHOWN).await?;
    if people.is_empty() {
        return Ok(None);
    }
    let count = directory_people::count_never_came(tx, organization, issuer).await?;
    Ok(Some(NeverCame {
        count: counted(count, "person", "people"),
        more: count > i64::try_from(people.len()).unwrap_or(i64::MAX),
        reminder: reminder(web, people.iter().map(|it| it.address.as_str())),
        people: people
            .iter()
            .map(|it| Absent { name: clip(&it.name, NAME_SHOWN_MAX), address: clip(&it.address, NAME_SHOWN_MAX) })
            .collect(),
    }))
}

fn reminder<'a>(web: &Web, addresses: impl Iterator<Item = &'a str>) -> Reminder {
    let (public_url, addresses) = (web.app.config.server.public_url.as_str(), addresses.collect::<Vec<&str>>());
    // Writing text into memory can't fail; an empty message is better than no page.
    Reminder { addresses: addresses.join(", "), text: ReminderText { public_url }.render().unwrap_or_default() }
}

fn open_invitation(invitation: Invitation) -> OpenInvitation {
    OpenInvitation {
        id: invitation.id.to_string(),
        email: invitation.email,
        role: invitation.role.word(),
        expires_at: When::full(invitation.expires_at),
    }
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    shell: Shell,
    may_change: bool,
    done: Option<&'static str>,
    person: Line,
    joined_at: When,
    role: Role,
    roles: [Role; 3],
    connection: Option<Facts>,
    entries: Vec<AuditLine>,
}

/// What there is to know of somebody's connection.
struct Facts {
    account: String,
    connected_at: When,
    push: &'static str,
    missing: String,
    /// Messages that are copied, of how many while that goes on.
    stored: String,
    /// How far the copy of the mail is; none while there is no mailbox.
    extent: Option<Extent>,
    /// How the calendars stand, by count; none where they aren't permitted.
    calendars: Option<String>,
    /// What they wait for.
    calendars_wait: Option<Waiting>,
    /// Since when the directory calls the account suspended.
    suspended_at: Option<When>,
    /// When everything is erased, because the directory calls the account deleted.
    erased_at: Option<When>,
}

/// What was just done.
#[derive(Deserialize)]
pub(super) struct Opened {
    done: Option<String>,
}

/// `GET /admin/people/{id}`
pub(super) async fn person(
    State(web): State<Web>,
    caller: Caller,
    At(id): At<String>,
    Asked(opened): Asked<Opened>,
) -> Result<Response, Trouble> {
    let (organization, id) = (&caller.person.organization_id, person_id(&id)?);
    let mut tx = web.app.store.read().await?;
    let now = web.app.clock.now();
    let listed = people::one(&mut tx, organization, &id, now)
        .await?
        .ok_or_else(|| trouble::not_there("person").back_to_people())?;
    let connection = connect::connection(&mut tx, &id, now).await?;
    let progress = Progress::of(&web, &mut tx, organization, connection.as_ref()).await?;
    let filter = Filter { action: String::new(), who: id.to_string() };
    let entries = audit::list(&mut tx, organization, &filter, i64::MAX, ENTRIES_SHOWN).await?;
    let entries = super::audit::lines(&mut tx, organization, entries).await?;
    drop(tx);
    html(&PersonPage {
        shell: Shell::new(&web, Some(&caller), "administration", clip(&listed.person.name, NAME_SHOWN_MAX)),
        may_change: caller.person.role == Role::Administrator,
        done: done(opened.done.as_deref()),
        joined_at: When::full(listed.created_at),
        role: listed.person.role,
        roles: Role::ALL,
        person: line(listed),
        connection: connection.as_ref().map(|it| facts(it, &progress)),
        entries,
    })
}

fn person_id(text: &str) -> Result<PersonId, Trouble> {
    text.parse().map_err(|_| trouble::not_there("person").back_to_people())
}

fn facts(connection: &Connection, progress: &Progress) -> Facts {
    let missing: Vec<&str> = connection.missing.iter().map(|it| it.title()).collect();
    let extent = connection.mailbox.as_ref().map(|it| Extent::of(connection, it, progress));
    let why = connection.agenda.as_ref().and_then(|it| it.agenda.paused_why.as_deref());
    Facts {
        account: clip(&connection.grant.email, NAME_SHOWN_MAX),
        connected_at: When::full(connection.grant.connected_at),
        push: administration::push(connection),
        missing: missing.join(", "),
        stored: match extent.as_ref().and_then(|it| it.total.as_ref().map(|total| (&it.stored, total))) {
            Some((stored, total)) => format!("{stored} of {total} messages"),
            None => counted(connection.stored, "message", "messages"),
        },
        extent,
        calendars: calendars(connection),
        calendars_wait: progress.calendars_wait.map(|it| Waiting::of(it, Stream::Calendar, why)),
        suspended_at: connection.grant.suspended_at.map(When::full),
        erased_at: connection.erased_at.map(When::full),
    }
}

/// How somebody's calendars stand: how many, how they are followed, and how many can't be read. Never which.
fn calendars(connection: &Connection) -> Option<String> {
    let agenda = connection.agenda.as_ref().filter(|_| connection.granted.contains(&Permission::Calendar))?;
    let number = |count: usize| counted(i64::try_from(count).unwrap_or(i64::MAX), "calendar", "calendars");
    let how = match agenda.mode() {
        _ if !agenda.has_advanced() => "being copied",
        Mode::Told => "Google tells of changes",
        Mode::Looking => "Intail looks for changes",
    };
    let events = counted(agenda.events, "event", "events");
    let mut said = format!("{events} of {}; {how}", number(agenda.followed().count()));
    let ailing = agenda.followed().filter(|it| it.calendar.problem.is_some()).count();
    if ailing > 0 {
        said.push_str(&format!("; {} can’t be read", number(ailing)));
    }
    if let Some(problem) = &agenda.agenda.problem {
        said.push_str(&format!("; all stand still: {problem}"));
    }
    if let Some(it) = &connection.calendar_standstill {
        said.push_str(&format!("; can’t be read now: {}", words::failure(&it.why)));
    }
    Some(said)
}

/// Which role the form wants.
#[derive(Deserialize)]
pub(super) struct WantedRole {
    #[serde(default)]
    role: String,
}

fn role(word: &str) -> Result<Role, Trouble> {
    word.parse().map_err(|()| trouble::wrong_field("A role is member, auditor or administrator.").back_to_people())
}

/// `POST /admin/people/{id}/role`
pub(super) async fn set_role(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    At(id): At<String>,
    Sent(wanted): Sent<WantedRole>,
) -> Result<Response, Trouble> {
    let (id, to, now) = (person_id(&id)?, role(&wanted.role)?, web.app.clock.now());
    let organization = &caller.person.organization_id;
    let mut tx = web.app.store.write().await?;
    match roles::change(&mut tx, organization, &id, to, By::person(&caller.person, origin), now).await? {
        RoleChange::Done { .. } => tx.commit().await?,
        RoleChange::LastAdministrator => return Err(trouble::last_administrator()),
        RoleChange::NotThere => return Err(trouble::not_there("person").back_to_people()),
    }
    let still_theirs = id != caller.person.id || to == Role::Administrator || to == Role::Auditor;
    let next = if still_theirs { format!("/admin/people/{id}?done=role") } else { "/".to_owned() };
    Ok(Redirect::to(&next).into_response())
}

/// What else the form ends.
#[derive(Deserialize)]
pub(super) struct WantedEnd {
    keys: Option<String>,
}

/// `POST /admin/people/{id}/sign-out`: ends their sessions, and their programs' access keys where that is ticked.
pub(super) async fn sign_out(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    At(id): At<String>,
    Sent(wanted): Sent<WantedEnd>,
) -> Result<Response, Trouble> {
    let (organization, id) = (&caller.person.organization_id, person_id(&id)?);
    let mut tx = web.app.store.write().await?;
    let now = web.app.clock.now();
    people::one(&mut tx, organization, &id, now).await?.ok_or_else(|| trouble::not_there("person").back_to_people())?;
    let ends_keys = wanted.keys.is_some();
    if ends_keys {
        erasure::ways_in(&mut tx, &id).await?;
    } else {
        sessions::close_all(&mut tx, &id).await?;
        sign_in_links::forget(&mut tx, &id).await?;
    }
    let entry = Entry {
        organization,
        actor: Actor::Person(caller.person.id.clone()),
        action: "person.signed_out",
        about: id.as_str(),
        origin,
        detail: json!({"where": "everywhere", "access_keys": ends_keys}),
    };
    log::record(&mut tx, entry, now).await?;
    tx.commit().await?;
    let done = if ends_keys { "keys_ended" } else { "signed_out" };
    Ok(Redirect::to(&format!("/admin/people/{id}?done={done}")).into_response())
}

/// Whom the form invites.
#[derive(Deserialize)]
pub(super) struct WantedInvitation {
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
}

/// `POST /admin/invitations`
pub(super) async fn invite(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Sent(wanted): Sent<WantedInvitation>,
) -> Result<Response, Trouble> {
    let (app, to) = (&web.app, role(&wanted.role)?);
    let (organization, by) = (&caller.person.organization_id, By::person(&caller.person, origin));
    let mut tx = app.store.write().await?;
    let invited = inviting::invite(&mut tx, organization, &wanted.email, to, by, &app.random, app.clock.now()).await?;
    match invited {
        Invited::Invitation(_) => tx.commit().await?,
        Invited::NotAnAddress => {
            return Err(trouble::wrong_field("An address looks like name@example.com.").back_to_people());
        }
        Invited::Here => {
            return Err(trouble::wrong_field("Somebody with this address is here already.").back_to_people());
        }
        Invited::TooMany => {
            return Err(trouble::too_many("Your organization has as many invitations as can wait.").back_to_people());
        }
    }
    Ok(Redirect::to("/admin/people?done=invited").into_response())
}

/// `POST /admin/invitations/{id}/withdraw`
pub(super) async fn withdraw(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    At(id): At<String>,
) -> Result<Response, Trouble> {
    let id: InvitationId = id.parse().map_err(|_| trouble::not_there("invitation").back_to_people())?;
    let (organization, by) = (&caller.person.organization_id, By::person(&caller.person, origin));
    let mut tx = web.app.store.write().await?;
    if !inviting::withdraw(&mut tx, organization, &id, by, web.app.clock.now()).await? {
        return Err(trouble::not_there("invitation").back_to_people());
    }
    tx.commit().await?;
    Ok(Redirect::to("/admin/people?done=withdrawn").into_response())
}

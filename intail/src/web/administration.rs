//! Administration → Overview: the approval with its evidence, how connections stand, and what the operator has to mend.
//! States and counts only: no message, sender or subject can appear here.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;

use super::Web;
use super::access::Caller;
use super::approval::Way;
use super::copying::{Allowance, directory_waits, outlook};
use super::directory::{StateLine, state_line};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{When, clip, counted, grouped};
use crate::connect::{self, Connection, Push};
use crate::id::OrganizationId;
use crate::store::leases::Stream;
use crate::store::operator_faults::{self, OperatorFault};
use crate::store::organizations::{self, Approval};
use crate::store::people::{self, Search};
use crate::store::{StoreError, Tx, quota};
use crate::sync;

/// People whom the overview shows; the page People shows all.
const PEOPLE_SHOWN: i64 = 25;
/// Mailboxes that are looked at for when the slowest is copied.
const COPYING_MAX: i64 = 20;
/// The longest name that is shown.
const NAME_SHOWN_MAX: usize = 120;
/// How the connection of somebody stands who hasn't connected.
pub(super) const NOT_CONNECTED: &str = "not_connected";

#[derive(Template)]
#[template(path = "administration.html")]
struct AdministrationPage {
    shell: Shell,
    organization: String,
    domains: String,
    way: Way,
    counts: Vec<Count>,
    copying: Option<Copying>,
    people: Vec<PersonLine>,
    more: bool,
    faults: Vec<Fault>,
    /// How the copy of the directory stands; none while nobody permitted it.
    directory: Option<StateLine>,
    /// What Google wants no questions about now.
    held: Vec<Held>,
    /// Whether new mail arrives.
    new_mail_arrives: bool,
    /// What of the day is used that Google counts, by service.
    allowances: Vec<Allowance>,
}

/// A service about which Google wants no questions of anybody.
struct Held {
    service: &'static str,
    /// What isn't asked about.
    about: &'static str,
    until: When,
    /// What that means, in a clause.
    means: &'static str,
}

/// How many people stand how.
struct Count {
    word: String,
    text: &'static str,
    count: String,
}

/// How a connection stands, in words, with its colour.
pub(super) struct Standing {
    pub(super) tone: &'static str,
    pub(super) text: &'static str,
}

/// How the first copies of an organization's mail go on.
struct Copying {
    mailboxes: String,
    /// When the slowest of those that were looked at will be done, if it is known of any.
    done_at: Option<When>,
    /// Whether there are more than were looked at.
    more: bool,
}

struct PersonLine {
    id: String,
    name: String,
    email: String,
    role: &'static str,
    standing: Standing,
    since: Option<When>,
    push: &'static str,
    missing: String,
    stored: String,
}

struct Fault {
    kind: String,
    detail: String,
    since: When,
    last_at: When,
}

/// `GET /admin`
pub(super) async fn page(State(web): State<Web>, caller: Caller) -> Result<Response, Trouble> {
    let (id, now) = (&caller.person.organization_id, web.app.clock.now());
    let mut tx = web.app.store.read().await?;
    let organization = organizations::by_id(&mut tx, id).await?;
    let organization = organization.ok_or_else(|| trouble::not_there("organization"))?;
    let way = Way::of(&web, &mut tx, &organization).await?;
    let domains = organizations::domains(&mut tx, id).await?;
    let counts = people::count_by_standing(&mut tx, id, now).await?;
    let found = people::search(&mut tx, id, &Search::default(), None, now, PEOPLE_SHOWN + 1).await?;
    let faults = operator_faults::list(&mut tx).await?;
    let held = held(&mut tx, now).await?;
    let days = sync::day_uses(&mut tx, id, &web.app.config.quota, now).await?;
    let shown = usize::try_from(PEOPLE_SHOWN).unwrap_or(usize::MAX).min(found.len());
    let mut lines = Vec::with_capacity(shown);
    for listed in &found[..shown] {
        let connection = connect::connection(&mut tx, &listed.person.id, now).await?;
        lines.push(line(listed, connection.as_ref()));
    }
    let copying = copying(&web, &mut tx, id, now).await?;
    let directory = connect::directory_copy(&mut tx, id, now).await?;
    let directory_waits = directory_waits(&web, &mut tx, id, directory.as_ref()).await?;
    drop(tx);
    html(&AdministrationPage {
        shell: Shell::new(&web, Some(&caller), "administration", "Administration"),
        domains: domains.join(", "),
        way,
        organization: organization.name,
        counts: counts.into_iter().map(count).collect(),
        copying,
        people: lines,
        more: found.len() > shown,
        faults: faults.into_iter().map(fault).collect(),
        directory: directory.map(|it| state_line(Some(&it), directory_waits)),
        new_mail_arrives: held.iter().all(|it| it.service != quota::GMAIL),
        held,
        allowances: days.iter().map(Allowance::of).collect(),
    })
}

/// What Google wants no questions about now.
async fn held(tx: &mut Tx, now: Timestamp) -> Result<Vec<Held>, StoreError> {
    let mut held = Vec::new();
    for (service, stream) in quota::SERVICES {
        let Some(until) = quota::held_until(tx, service).await?.filter(|it| *it > now) else { continue };
        let (about, means) = match stream {
            Stream::Mail => ("mail", "no new mail is read before then"),
            Stream::Calendar => ("calendars", "nothing new of them is read before then"),
            Stream::Directory => ("the directory", "it isn’t read before then"),
        };
        held.push(Held { service, about, until: When::full(until), means });
    }
    Ok(held)
}

/// How the first copies go on; none when no mailbox is being copied.
async fn copying(
    web: &Web,
    tx: &mut Tx,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<Option<Copying>, StoreError> {
    let search = Search { standing: "backfilling".to_owned(), ..Search::default() };
    let mut found = people::search(tx, organization, &search, None, now, COPYING_MAX + 1).await?;
    let more = found.len() > usize::try_from(COPYING_MAX).unwrap_or(usize::MAX);
    let counts = people::count_by_standing(tx, organization, now).await?;
    let mailboxes = counts.into_iter().find(|(word, _)| *word == search.standing).map_or(0, |(_, count)| count);
    found.truncate(usize::try_from(COPYING_MAX).unwrap_or(usize::MAX));
    let mut last = None;
    for listed in found {
        let Some(connection) = connect::connection(tx, &listed.person.id, now).await? else { continue };
        let pass = outlook(web, tx, &connection).await?.and_then(|it| it.pass);
        last = last.max(pass.and_then(|it| it.done_at));
    }
    Ok((mailboxes > 0).then(|| Copying {
        mailboxes: counted(mailboxes, "mailbox is", "mailboxes are"),
        done_at: last.map(When::full),
        more,
    }))
}

fn count((word, count): (String, i64)) -> Count {
    Count { text: standing(&word).text, count: grouped(count), word }
}

fn line(listed: &people::Listed, connection: Option<&Connection>) -> PersonLine {
    let person = &listed.person;
    let missing = connection.map_or_else(Vec::new, |it| it.missing.iter().map(|it| it.title()).collect());
    PersonLine {
        id: person.id.to_string(),
        name: clip(&person.name, NAME_SHOWN_MAX),
        email: clip(&person.email, NAME_SHOWN_MAX),
        role: person.role.word(),
        standing: standing(&listed.standing),
        since: listed.since.map(When::full),
        push: connection.map_or("", push),
        missing: missing.join(", "),
        stored: connection.map_or_else(String::new, |it| counted(it.stored, "message", "messages")),
    }
}

/// Whether Google tells of changes, in a word.
pub(super) fn push(connection: &Connection) -> &'static str {
    match &connection.push {
        _ if !connection.reads_mail() => "Stopped",
        _ if connection.mail_standstill.is_some() => "Can’t be read now",
        Push::Live { .. } => "Live",
        Push::NotYet { .. } => "Not yet",
        Push::Lapsed { .. } => "Lapsed",
    }
}

/// The words for how a connection stands, from the word that lists have.
pub(super) fn standing(word: &str) -> Standing {
    let (tone, text) = match word {
        "leaving" => ("busy", "Leaving"),
        "needs_person" => ("act", "Needs the person"),
        "needs_administrator" => ("act", "Needs an administrator"),
        "suspended" => ("act", "Suspended at Google"),
        "needs_operator" => ("act", "Needs the operator"),
        "no_mail" => ("busy", "Mail not permitted"),
        "paused" => ("busy", "Paused"),
        "failing" => ("act", "Can’t be read now"),
        "lapsed" => ("busy", "Looked at, not told of changes"),
        "partial" => ("busy", "Live, with a permission missing"),
        "live" => ("good", "Live"),
        "backfilling" => ("busy", "Copying"),
        "reconciling" => ("busy", "Comparing"),
        _ => ("quiet", "Not connected"),
    };
    Standing { tone, text }
}

fn fault(fault: OperatorFault) -> Fault {
    Fault { kind: fault.kind, detail: fault.detail, since: When::full(fault.since), last_at: When::full(fault.last_at) }
}

//! The administrator's page: the approval with its evidence, how everybody's connection stands, and what the operator
//! has to mend. States and counts only: no message, sender or subject can appear here.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Web;
use super::access::Caller;
use super::approval::Way;
use super::asked::Asked;
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{When, counted, grouped};
use crate::connect::{self, Connection, Push};
use crate::id::PersonId;
use crate::store::grants::GrantState;
use crate::store::mailboxes::MailboxState;
use crate::store::operator_faults::{self, OperatorFault};
use crate::store::organizations::{self, Approval};
use crate::store::people;
use crate::sync::{self, DayUse};

/// People on a page.
const PAGE_PEOPLE: i64 = 100;

/// Which part of the list.
#[derive(Deserialize)]
pub(super) struct Part {
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "administration.html")]
struct AdministrationPage {
    shell: Shell,
    organization: String,
    domains: String,
    way: Way,
    secondary_accounts: bool,
    counts: Vec<(String, i64)>,
    people: Vec<PersonLine>,
    next: Option<String>,
    faults: Vec<Fault>,
    today: Today,
}

/// What was spent of the day that Google counts.
struct Today {
    units: String,
    limit: String,
    share: u8,
    backfill_percent: u64,
    turns_at: When,
}

struct PersonLine {
    name: String,
    email: String,
    role: &'static str,
    tone: &'static str,
    state: &'static str,
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
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(part): Asked<Part>,
) -> Result<Response, Trouble> {
    let (id, now) = (&caller.person.organization_id, web.app.clock.now());
    let mut tx = web.app.store.read().await?;
    let organization = organizations::by_id(&mut tx, id).await?;
    let organization = organization.ok_or_else(|| trouble::not_there("organization"))?;
    let way = Way::of(&web, &mut tx, &organization).await?;
    let domains = organizations::domains(&mut tx, id).await?;
    let after = part.after.and_then(|it| it.parse::<PersonId>().ok());
    let found = people::list(&mut tx, id, after.as_ref(), PAGE_PEOPLE + 1).await?;
    let faults = operator_faults::list(&mut tx).await?;
    let today = sync::day_use(&mut tx, id, &web.app.config.quota, now).await?;
    let shown = usize::try_from(PAGE_PEOPLE).unwrap_or(usize::MAX).min(found.len());
    let mut lines = Vec::with_capacity(shown);
    for person in &found[..shown] {
        let connection = connect::connection(&mut tx, &person.id, now).await?;
        lines.push(line(person, connection.as_ref()));
    }
    drop(tx);
    html(&AdministrationPage {
        shell: Shell::new(&web, Some(&caller), "administration", "Administration"),
        domains: domains.join(", "),
        way,
        secondary_accounts: organization.secondary_accounts,
        organization: organization.name,
        counts: counts(&lines),
        people: lines,
        next: found.get(shown.saturating_sub(1)).filter(|_| found.len() > shown).map(|it| it.id.to_string()),
        faults: faults.into_iter().map(fault).collect(),
        today: words_of(&today),
    })
}

fn words_of(today: &DayUse) -> Today {
    let number = |units: u64| grouped(i64::try_from(units).unwrap_or(i64::MAX));
    Today {
        units: number(today.units),
        limit: number(today.limit),
        share: u8::try_from(today.units.saturating_mul(100) / today.limit.max(1)).unwrap_or(100).min(100),
        backfill_percent: today.backfill_percent,
        turns_at: When::full(today.turns_at),
    }
}

fn counts(lines: &[PersonLine]) -> Vec<(String, i64)> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in lines {
        *counts.entry(line.state).or_default() += 1;
    }
    counts.into_iter().map(|(state, count)| (state.to_owned(), count)).collect()
}

fn line(person: &people::Person, connection: Option<&Connection>) -> PersonLine {
    let (tone, state) = state(connection);
    let missing = connection.map_or_else(Vec::new, |it| it.missing.iter().map(|it| it.title()).collect());
    PersonLine {
        name: person.name.clone(),
        email: person.email.clone(),
        role: person.role.word(),
        tone,
        state,
        since: connection.map(|it| When::full(it.grant.state_since)),
        push: match connection.map(|it| &it.push) {
            None => "",
            Some(Push::Live { .. }) => "Live",
            Some(Push::NotYet { .. }) => "Not yet",
            Some(Push::Lapsed { .. }) => "Lapsed",
        },
        missing: missing.join(", "),
        stored: connection.map_or_else(String::new, |it| counted(it.stored, "message", "messages")),
    }
}

fn state(connection: Option<&Connection>) -> (&'static str, &'static str) {
    let Some(connection) = connection else {
        return ("quiet", "Not connected");
    };
    match connection.grant.state {
        GrantState::NeedsPerson => ("act", "Needs the person"),
        GrantState::NeedsAdministrator => ("act", "Needs you"),
        GrantState::NeedsOperator => ("act", "Needs the operator"),
        GrantState::Active | GrantState::Partial | GrantState::Left => match connection.mailbox.as_ref() {
            _ if !connection.reads_mail() => ("busy", "Mail not permitted"),
            None => ("busy", "Mail not permitted"),
            Some(mailbox) => match mailbox.state {
                MailboxState::Live => ("good", "Live"),
                MailboxState::Backfilling => ("busy", "Copying"),
                MailboxState::Reconciling => ("busy", "Comparing"),
            },
        },
    }
}

fn fault(fault: OperatorFault) -> Fault {
    Fault { kind: fault.kind, detail: fault.detail, since: When::full(fault.since), last_at: When::full(fault.last_at) }
}

//! Administration → Policy: what an administrator decides for the organization, and an auditor reads.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::Web;
use super::access::Caller;
use super::asked::{Asked, Sent};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::store::people::Role;
use crate::store::{Tx, agendas, mailboxes, organizations, quota};
use crate::sync::COPYING_STOPS_PERCENT_MAX;

/// At how much of the day's allowance copying old mail stops, in percent: of what everything together uses, for
/// everybody. 0 would never finish a copy.
const BACKFILL_PERCENT: std::ops::RangeInclusive<i64> = 5..=100;
/// How many days before a person connects their mail may be copied from, if not everything is.
const BACKFILL_DAYS: std::ops::RangeInclusive<i64> = 1..=36_500;
/// How many days the audit log is kept: a month at least, so that nobody tidies up behind themselves.
const AUDIT_DAYS: std::ops::RangeInclusive<i64> = 30..=3_650;

/// How many days after an account was deleted at Google what was copied of its person is erased. A day at least: an
/// administrator who slipped can take a deletion back.
const RETENTION_DAYS: std::ops::RangeInclusive<i64> = 1..=3_650;

/// Why the page was opened.
#[derive(Deserialize)]
pub(super) struct Opened {
    done: Option<String>,
}

/// What an administrator decides.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Policy {
    domain_joining: bool,
    backfill_percent: i64,
    /// None copies everything.
    backfill_days: Option<i64>,
    audit_kept_days: i64,
    retention_days: i64,
}

impl Policy {
    /// All of it in one word: when it differs, somebody has changed something.
    fn word(self) -> String {
        let days = self.backfill_days.map_or_else(|| "all".to_owned(), |it| it.to_string());
        let Self { domain_joining, backfill_percent, audit_kept_days, retention_days, .. } = self;
        format!("{domain_joining}.{backfill_percent}.{days}.{audit_kept_days}.{retention_days}")
    }
}

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    shell: Shell,
    may_change: bool,
    saved: bool,
    domains: String,
    policy: Policy,
    /// What the form was filled in over.
    seen: String,
    secondary_accounts: bool,
    backfill: (i64, i64),
    /// At how much of the day's allowance it stops whatever is decided, in percent.
    stops_at_most: u64,
    depth: (i64, i64),
    days: (i64, i64),
    retention: (i64, i64),
}

/// `GET /admin/policy`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(opened): Asked<Opened>,
) -> Result<Response, Trouble> {
    let id = &caller.person.organization_id;
    let mut tx = web.app.store.read().await?;
    let policy = of(&mut tx, &caller).await?;
    let domains = organizations::domains(&mut tx, id).await?.join(", ");
    let organization = organizations::by_id(&mut tx, id).await?;
    drop(tx);
    html(&PolicyPage {
        shell: Shell::new(&web, Some(&caller), "administration", "Policy"),
        may_change: caller.person.role == Role::Administrator,
        saved: opened.done.is_some(),
        domains,
        policy,
        seen: policy.word(),
        secondary_accounts: organization.is_some_and(|it| it.secondary_accounts),
        backfill: BACKFILL_PERCENT.into_inner(),
        stops_at_most: COPYING_STOPS_PERCENT_MAX,
        depth: BACKFILL_DAYS.into_inner(),
        days: AUDIT_DAYS.into_inner(),
        retention: RETENTION_DAYS.into_inner(),
    })
}

async fn of(tx: &mut Tx, caller: &Caller) -> Result<Policy, Trouble> {
    let id = &caller.person.organization_id;
    let organization = organizations::by_id(tx, id).await?.ok_or_else(|| trouble::not_there("organization"))?;
    Ok(Policy {
        domain_joining: organization.domain_joining,
        backfill_percent: quota::backfill_day_percent(tx, id).await?,
        backfill_days: quota::backfill_days(tx, id).await?,
        audit_kept_days: organization.audit_kept_days,
        retention_days: organization.retention_days,
    })
}

/// What the form sends. A box that isn't ticked isn't sent.
#[derive(Deserialize)]
pub(super) struct Wanted {
    domain_joining: Option<String>,
    #[serde(default)]
    backfill_percent: String,
    /// Empty copies everything.
    #[serde(default)]
    backfill_days: String,
    #[serde(default)]
    audit_kept_days: String,
    /// Not sent, it stays; sent empty, it is no number. An `Option` would take the one for the other.
    #[serde(default)]
    retention_days: Vec<String>,
    /// What the page showed: a form over something else would undo what somebody changed meanwhile.
    #[serde(default)]
    seen: String,
}

/// `POST /admin/policy`
pub(super) async fn change(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Sent(wanted): Sent<Wanted>,
) -> Result<Response, Trouble> {
    let id = &caller.person.organization_id;
    let mut tx = web.app.store.write().await?;
    organizations::hold(&mut tx, id).await?;
    let backfill_days = match wanted.backfill_days.trim() {
        "" => None,
        days => Some(number(days, &BACKFILL_DAYS, "How far back old mail is copied", "days; leave it empty for all")?),
    };
    let to = Policy {
        domain_joining: wanted.domain_joining.is_some(),
        backfill_percent: number(&wanted.backfill_percent, &BACKFILL_PERCENT, "Where copying stops", "percent")?,
        backfill_days,
        audit_kept_days: number(&wanted.audit_kept_days, &AUDIT_DAYS, "How long the audit log is kept", "days")?,
        retention_days: match wanted.retention_days.first() {
            Some(days) => number(days, &RETENTION_DAYS, "How long a deleted person is kept", "days")?,
            None => organizations::by_id(&mut tx, id).await?.map_or(*RETENTION_DAYS.start(), |it| it.retention_days),
        },
    };
    let from = of(&mut tx, &caller).await?;
    if !wanted.seen.is_empty() && wanted.seen != from.word() {
        return Err(trouble::changed_meanwhile().back_to_policy());
    }
    if from != to {
        organizations::set_policy(&mut tx, id, to.domain_joining, to.audit_kept_days).await?;
        organizations::set_retention_days(&mut tx, id, to.retention_days).await?;
        quota::set_backfill_day_percent(&mut tx, id, to.backfill_percent).await?;
        quota::set_backfill_days(&mut tx, id, to.backfill_days).await?;
        let entry = Entry {
            organization: id,
            actor: Actor::Person(caller.person.id.clone()),
            action: "policy.changed",
            about: id.as_str(),
            origin,
            detail: difference(from, to),
        };
        let now = web.app.clock.now();
        audit::record(&mut tx, entry, now).await?;
        if to.backfill_percent > from.backfill_percent {
            // Who waits for tomorrow because of what counted before may go on today.
            mailboxes::due_of_organization(&mut tx, id, now).await?;
            agendas::wake_organization(&mut tx, id, now).await?;
        }
    }
    tx.commit().await?;
    web.app.due.ring();
    Ok(Redirect::to("/admin/policy?done=saved").into_response())
}

fn number(text: &str, range: &std::ops::RangeInclusive<i64>, what: &str, unit: &str) -> Result<i64, Trouble> {
    let number = text.trim().parse::<i64>().ok().filter(|it| range.contains(it));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        trouble::wrong_field(&format!("{what} is a whole number from {least} to {most}, in {unit}.")).back_to_policy()
    })
}

/// What differs, as it was and as it is.
fn difference(from: Policy, to: Policy) -> Json {
    let mut differs = Map::new();
    let mut note = |name: &str, from: Json, to: Json| {
        if from != to {
            differs.insert(name.to_owned(), json!([from, to]));
        }
    };
    note("domain_joining", json!(from.domain_joining), json!(to.domain_joining));
    note("backfill_percent", json!(from.backfill_percent), json!(to.backfill_percent));
    note("backfill_days", json!(from.backfill_days), json!(to.backfill_days));
    note("audit_kept_days", json!(from.audit_kept_days), json!(to.audit_kept_days));
    note("retention_days", json!(from.retention_days), json!(to.retention_days));
    Json::Object(differs)
}

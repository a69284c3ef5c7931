//! One-time sign-in links, made by the operator: for an organization's first administrator, and for the day when the
//! issuer is down. Whoever holds one is taken for its person, so it is short-lived, works once, and is asked for by a
//! button: programs that look at links in mail open them, and press nothing.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::audit::{self, Actor, Entry, Origin};
use super::roles::By;
use crate::id::{OrganizationId, PersonId};
use crate::random::Random;
use crate::store::people::{self, Person, Role};
use crate::store::sign_in_links::{self, SignInLink};
use crate::store::{StoreError, Tx, organizations};

/// How long a link works: long enough to hand it over, too short to lie around.
pub const LASTS: SignedDuration = SignedDuration::from_mins(15);

/// Whom a link signs in.
#[derive(Clone, Debug)]
pub enum For<'a> {
    /// Somebody who is here.
    Person(&'a Person),
    /// The first administrator of an organization that has none, by this address.
    First(&'a OrganizationId, &'a str),
}

/// Makes a link whose token has this hash.
pub async fn make(tx: &mut Tx, whom: &For<'_>, token_hash: &str, by: By, now: Timestamp) -> Result<(), StoreError> {
    let (organization, person, email, about) = match whom {
        For::Person(person) => (&person.organization_id, Some(&person.id), person.email.as_str(), person.id.as_str()),
        For::First(organization, email) => (*organization, None, *email, organization.as_str()),
    };
    sign_in_links::sweep(tx, now).await?;
    let link = SignInLink {
        token_hash: token_hash.to_owned(),
        organization_id: organization.clone(),
        person_id: person.cloned(),
        email: email.to_owned(),
        created_at: now,
        expires_at: now.saturating_add(LASTS).unwrap_or(now),
        used_at: None,
    };
    if matches!(whom, For::First(..)) {
        organizations::set_administrator_named(tx, organization).await?;
    }
    sign_in_links::create(tx, &link).await?;
    let entry =
        Entry { organization, actor: by.actor, action: "link.made", about, origin: by.origin, detail: json!({}) };
    audit::record(tx, entry, now).await
}

/// Uses a link up; answers whom it signs in, or nobody if it was used, is too old, or was never made. The log tells of
/// a link that comes again, or too late, as long as it is known.
pub async fn enter(
    tx: &mut Tx,
    token_hash: &str,
    origin: Origin,
    random: &Random,
    now: Timestamp,
) -> Result<Option<Person>, StoreError> {
    let Some(link) = sign_in_links::take(tx, token_hash, now).await? else {
        if let Some(link) = sign_in_links::spent(tx, token_hash).await? {
            let why = if link.used_at.is_some() { "used" } else { "too_late" };
            refused(tx, &link, why, origin, now).await?;
        }
        return Ok(None);
    };
    let (person, came) = match &link.person_id {
        Some(id) => (people::by_id(tx, id).await?, None),
        None => first(tx, &link, random, now).await?.map_or((None, None), |(person, came)| (Some(person), Some(came))),
    };
    let Some(person) = person else {
        refused(tx, &link, "another_administrator", origin, now).await?;
        return Ok(None);
    };
    people::signed_in(tx, &person.id, &person.email, &person.name, now).await?;
    let entry = |action: &'static str, detail| Entry {
        organization: &person.organization_id,
        actor: Actor::Person(person.id.clone()),
        action,
        about: person.id.as_str(),
        origin,
        detail,
    };
    match came {
        Some(Came::New) => {
            let detail = json!({"by": "link", "role": person.role.word()});
            audit::record(tx, entry("person.joined", detail), now).await?;
        }
        Some(Came::Before(role)) => {
            let detail = json!({"from": role.word(), "to": person.role.word()});
            audit::record(tx, entry("role.changed", detail), now).await?;
        }
        None => {}
    }
    audit::record(tx, entry("person.signed_in", json!({"by": "link"})), now).await?;
    Ok(Some(person))
}

async fn refused(tx: &mut Tx, link: &SignInLink, why: &str, origin: Origin, now: Timestamp) -> Result<(), StoreError> {
    let organization = &link.organization_id;
    let about = link.person_id.as_ref().map_or(organization.as_str(), PersonId::as_str);
    let (actor, detail) = (Actor::Intail, json!({"why": why}));
    audit::record_once(tx, Entry { organization, actor, action: "link.refused", about, origin, detail }, now).await?;
    Ok(())
}

/// How the first administrator came.
enum Came {
    /// By the link.
    New,
    /// By signing in before, as this.
    Before(Role),
}

/// Adds the first administrator, or makes it who came before with the link's address, unless the organization has one
/// by now. The issuer that vouches for the address later makes the person its own.
async fn first(
    tx: &mut Tx,
    link: &SignInLink,
    random: &Random,
    now: Timestamp,
) -> Result<Option<(Person, Came)>, StoreError> {
    organizations::hold(tx, &link.organization_id).await?;
    if people::administrators(tx, &link.organization_id).await? > 0 {
        return Ok(None);
    }
    let here = people::by_email(tx, &link.email.to_lowercase(), people::NAMESAKES_MAX).await?;
    if let Some(person) = here.into_iter().find(|it| it.organization_id == link.organization_id) {
        people::set_role(tx, &person.id, Role::Administrator).await?;
        let before = person.role;
        return Ok(Some((Person { role: Role::Administrator, ..person }, Came::Before(before))));
    }
    let id = PersonId::new(random);
    let person = Person {
        organization_id: link.organization_id.clone(),
        issuer: String::new(),
        subject: id.to_string(),
        email: link.email.clone(),
        name: link.email.clone(),
        role: Role::Administrator,
        id,
    };
    people::create(tx, &person, now).await?;
    Ok(Some((person, Came::New)))
}

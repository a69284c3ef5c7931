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
    /// The first administrator of an organization without people, by this address.
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
    };
    sign_in_links::create(tx, &link).await?;
    let entry =
        Entry { organization, actor: by.actor, action: "link.made", about, origin: by.origin, detail: json!({}) };
    audit::record(tx, entry, now).await
}

/// Uses a link up; answers whom it signs in, or nobody if it was used, is too old, or was never made.
pub async fn enter(
    tx: &mut Tx,
    token_hash: &str,
    origin: Origin,
    random: &Random,
    now: Timestamp,
) -> Result<Option<Person>, StoreError> {
    let Some(link) = sign_in_links::take(tx, token_hash, now).await? else { return Ok(None) };
    let (person, is_new) = match &link.person_id {
        Some(id) => (people::by_id(tx, id).await?, false),
        None => (first(tx, &link, random, now).await?, true),
    };
    let Some(person) = person else { return Ok(None) };
    people::signed_in(tx, &person.id, &person.email, &person.name, now).await?;
    let entry = |action: &'static str, detail| Entry {
        organization: &person.organization_id,
        actor: Actor::Person(person.id.clone()),
        action,
        about: person.id.as_str(),
        origin,
        detail,
    };
    if is_new {
        let detail = json!({"by": "link", "role": person.role.word()});
        audit::record(tx, entry("person.joined", detail), now).await?;
    }
    audit::record(tx, entry("person.signed_in", json!({"by": "link"})), now).await?;
    Ok(Some(person))
}

/// Adds the first administrator, unless somebody is there by now. The issuer that vouches for the address later makes
/// the person its own.
async fn first(tx: &mut Tx, link: &SignInLink, random: &Random, now: Timestamp) -> Result<Option<Person>, StoreError> {
    organizations::hold(tx, &link.organization_id).await?;
    if !people::list(tx, &link.organization_id, None, 1).await?.is_empty() {
        return Ok(None);
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
    Ok(Some(person))
}

//! Who belongs to which organization: the domain decides, and the issuer vouches for it.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::audit::{self, Actor, Entry, Origin};
use crate::id::{OrganizationId, PersonId};
use crate::random::Random;
use crate::store::people::{Person, Role};
use crate::store::{StoreError, Tx, organizations, people};

/// Somebody whom an issuer vouches for.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// The issuer.
    pub issuer: String,
    /// Their unchanging id there.
    pub subject: String,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// The domain that the issuer vouches for, lower-case.
    pub domain: String,
}

/// How joining ended.
#[derive(Debug)]
pub enum Joined {
    /// They belong to an organization.
    Person(Person),
    /// No organization here owns their domain.
    UnknownOrganization,
}

/// Finds or adds the person. On an Intail that has no organization yet, the first person to sign in founds theirs and
/// becomes its administrator: somebody has to be first, and it is the one who set it up.
pub async fn join(
    tx: &mut Tx,
    who: &Vouched,
    origin: Origin,
    random: &Random,
    now: Timestamp,
) -> Result<Joined, StoreError> {
    if let Some(person) = people::by_subject(tx, &who.issuer, &who.subject).await? {
        people::signed_in(tx, &person.id, &who.email, &who.name, now).await?;
        return Ok(Joined::Person(Person { email: who.email.clone(), name: who.name.clone(), ..person }));
    }
    let (organization_id, role, how) = match organizations::by_domain(tx, &who.domain).await? {
        Some(organization) if people::list(tx, &organization.id, None, 1).await?.is_empty() => {
            (organization.id, Role::Administrator, "first")
        }
        Some(organization) => (organization.id, Role::Member, "domain"),
        None if organizations::list(tx, 1).await?.is_empty() => {
            let id = OrganizationId::new(random);
            organizations::create(tx, &id, &who.domain, now).await?;
            organizations::add_domain(tx, &id, &who.domain).await?;
            (id, Role::Administrator, "founder")
        }
        None => return Ok(Joined::UnknownOrganization),
    };
    let person = Person {
        id: PersonId::new(random),
        organization_id,
        issuer: who.issuer.clone(),
        subject: who.subject.clone(),
        email: who.email.clone(),
        name: who.name.clone(),
        role,
    };
    people::create(tx, &person, now).await?;
    people::signed_in(tx, &person.id, &who.email, &who.name, now).await?;
    let joined = |action: &'static str, detail: Json| Entry {
        organization: &person.organization_id,
        actor: Actor::Person(person.id.clone()),
        action,
        about: person.id.as_str(),
        origin,
        detail,
    };
    if how == "founder" {
        let founded = Entry { about: &who.domain, ..joined("organization.founded", json!({})) };
        audit::record(tx, founded, now).await?;
    }
    audit::record(tx, joined("person.joined", json!({"by": how, "role": role.word()})), now).await?;
    Ok(Joined::Person(person))
}

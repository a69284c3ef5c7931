//! Who belongs to which organization: the domain that the issuer vouches for decides, or an invitation. A domain that
//! somebody owns decides alone: another organization's invitation can't draw its people away.

use jiff::Timestamp;
use serde_json::json;

use super::audit::{self, Actor, Entry, Origin};
use crate::id::{OrganizationId, PersonId};
use crate::random::Random;
use crate::seal::hash_token;
use crate::store::invitations::{self, Invitation};
use crate::store::organizations::Organization;
use crate::store::people::{Person, Role};
use crate::store::{StoreError, Tx, organizations, people, turns};

/// Invitations of one address that are looked at.
const INVITATIONS_MAX: i64 = 100;

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
    /// The domain that the issuer vouches for, lower-case; none for an address that belongs to nobody's domain.
    pub domain: Option<String>,
}

/// How joining ended.
#[derive(Debug)]
pub enum Joined {
    /// They belong to an organization.
    Person(Person),
    /// No organization here owns their domain, and none has invited them.
    UnknownOrganization,
    /// Their organization lets in whom it invites, and hasn't invited them.
    NotInvited,
}

/// Why somebody may join, and as what.
struct Way {
    organization: OrganizationId,
    role: Role,
    how: &'static str,
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
    if let Some(person) = known(tx, who, now).await? {
        return Ok(Joined::Person(person));
    }
    let owner = match &who.domain {
        Some(domain) => organizations::by_domain(tx, domain).await?,
        None => None,
    };
    let way = match owner {
        Some(owner) => of_domain(tx, &owner, who, origin, now).await?,
        None => of_nobody(tx, who, origin, random, now).await?,
    };
    let way = match way {
        Ok(way) => way,
        Err(refused) => return Ok(refused),
    };
    // Another window of the same person's may have been first, while this one waited for the organization.
    if let Some(person) = known(tx, who, now).await? {
        return Ok(Joined::Person(person));
    }
    let person = Person {
        id: PersonId::new(random),
        organization_id: way.organization,
        issuer: who.issuer.clone(),
        subject: who.subject.clone(),
        email: who.email.clone(),
        name: who.name.clone(),
        role: way.role,
    };
    people::create(tx, &person, now).await?;
    people::signed_in(tx, &person.id, &who.email, &who.name, now).await?;
    record(tx, &person, way.how, origin, now).await?;
    Ok(Joined::Person(person))
}

/// Whoever is here already: known to the issuer, or let in by the operator's link before the issuer vouched for them.
async fn known(tx: &mut Tx, who: &Vouched, now: Timestamp) -> Result<Option<Person>, StoreError> {
    let person = match people::by_subject(tx, &who.issuer, &who.subject).await? {
        Some(person) => person,
        None => match people::unvouched(tx, &who.email.to_lowercase()).await? {
            Some(person) => {
                people::vouch(tx, &person.id, &who.issuer, &who.subject).await?;
                Person { issuer: who.issuer.clone(), subject: who.subject.clone(), ..person }
            }
            None => return Ok(None),
        },
    };
    people::signed_in(tx, &person.id, &who.email, &who.name, now).await?;
    Ok(Some(Person { email: who.email.clone(), name: who.name.clone(), ..person }))
}

/// Somebody whose domain is an organization's.
async fn of_domain(
    tx: &mut Tx,
    owner: &Organization,
    who: &Vouched,
    origin: Origin,
    now: Timestamp,
) -> Result<Result<Way, Joined>, StoreError> {
    organizations::hold(tx, &owner.id).await?;
    let way = |role, how| Way { organization: owner.id.clone(), role, how };
    let invited = invitations::by_email(tx, &who.email.to_lowercase(), now, INVITATIONS_MAX).await?;
    if let Some(invitation) = invited.into_iter().find(|it| it.organization_id == owner.id)
        && used(tx, &invitation).await?
    {
        return Ok(Ok(way(invitation.role, "invitation")));
    }
    // The first one becomes the administrator, unless the operator has said who that is to be: then it stays so, also
    // when the invitation or the link is too old by now. Read anew, because the organization is held only now.
    let is_named = organizations::by_id(tx, &owner.id).await?.is_some_and(|it| it.administrator_named);
    if !is_named && people::list(tx, &owner.id, None, 1).await?.is_empty() {
        return Ok(Ok(way(Role::Administrator, "first")));
    }
    if owner.domain_joining {
        return Ok(Ok(way(Role::Member, "domain")));
    }
    let refused = Entry {
        organization: &owner.id,
        actor: Actor::Intail,
        action: "person.refused",
        about: owner.id.as_str(),
        origin,
        // Whoever it is may try as often as they like; two of them are told apart, and none is named.
        detail: json!({"why": "not_invited", "who": hash_token(&format!("{} {}", who.issuer, who.subject))[..12]}),
    };
    audit::record_once(tx, refused, now).await?;
    Ok(Err(Joined::NotInvited))
}

/// Somebody whose domain is nobody's here: invited, or the one who founds the first organization.
async fn of_nobody(
    tx: &mut Tx,
    who: &Vouched,
    origin: Origin,
    random: &Random,
    now: Timestamp,
) -> Result<Result<Way, Joined>, StoreError> {
    for invitation in invitations::by_email(tx, &who.email.to_lowercase(), now, INVITATIONS_MAX).await? {
        organizations::hold(tx, &invitation.organization_id).await?;
        if used(tx, &invitation).await? {
            return Ok(Ok(Way { organization: invitation.organization_id, role: invitation.role, how: "invitation" }));
        }
    }
    turns::hold_founding(tx).await?;
    let Some(domain) = &who.domain else { return Ok(Err(Joined::UnknownOrganization)) };
    if !organizations::list(tx, 1).await?.is_empty() {
        // Two who came at once: the second belongs to what the first has founded, if it is the same domain.
        return match organizations::by_domain(tx, domain).await? {
            Some(owner) => of_domain(tx, &owner, who, origin, now).await,
            None => Ok(Err(Joined::UnknownOrganization)),
        };
    }
    let id = OrganizationId::new(random);
    organizations::create(tx, &id, domain, now).await?;
    organizations::add_domain(tx, &id, domain).await?;
    let founded = Entry {
        organization: &id,
        actor: Actor::Intail,
        action: "organization.founded",
        about: domain,
        origin,
        detail: json!({}),
    };
    audit::record(tx, founded, now).await?;
    Ok(Ok(Way { organization: id, role: Role::Administrator, how: "founder" }))
}

/// Uses an invitation up; answers whether it was still there.
async fn used(tx: &mut Tx, invitation: &Invitation) -> Result<bool, StoreError> {
    invitations::delete(tx, &invitation.organization_id, &invitation.id).await
}

/// Writes that a person came, and by which way.
async fn record(
    tx: &mut Tx,
    person: &Person,
    how: &'static str,
    origin: Origin,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Entry {
        organization: &person.organization_id,
        actor: Actor::Person(person.id.clone()),
        action: "person.joined",
        about: person.id.as_str(),
        origin,
        detail: json!({"by": how, "role": person.role.word()}),
    };
    audit::record(tx, entry, now).await
}

//! What people may do in their organization, and who changes it. An organization never loses its last administrator:
//! counting and changing happen in one transaction that holds the organization.

use jiff::Timestamp;
use serde_json::json;

use super::audit::{self, Actor, Entry, Origin};
use crate::id::{OrganizationId, PersonId};
use crate::store::people::{self, Person, Role};
use crate::store::{StoreError, Tx, organizations};

/// Who changes something, and from where.
#[derive(Clone, Debug)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// From where.
    pub origin: Origin,
}

impl By {
    /// Whoever runs Intail, by its command line.
    pub fn operator() -> Self {
        Self { actor: Actor::Operator, origin: Origin::Cli }
    }

    /// A person, from where they ask.
    pub fn person(person: &Person, origin: Origin) -> Self {
        Self { actor: Actor::Person(person.id.clone()), origin }
    }
}

/// How changing a role ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// It was changed, or was so before.
    Done {
        /// What it was.
        from: Role,
    },
    /// The organization would have no administrator.
    LastAdministrator,
    /// The organization has no such person.
    NotThere,
}

/// Changes what a person of the organization may do.
pub async fn change(
    tx: &mut Tx,
    organization: &OrganizationId,
    person: &PersonId,
    to: Role,
    by: By,
    now: Timestamp,
) -> Result<RoleChange, StoreError> {
    organizations::hold(tx, organization).await?;
    let person = people::by_id(tx, person).await?.filter(|it| it.organization_id == *organization);
    let Some(person) = person else { return Ok(RoleChange::NotThere) };
    let from = person.role;
    if from == to {
        return Ok(RoleChange::Done { from });
    }
    if is_last_administrator(tx, &person).await? {
        return Ok(RoleChange::LastAdministrator);
    }
    people::set_role(tx, &person.id, to).await?;
    let entry = Entry {
        organization,
        actor: by.actor,
        action: "role.changed",
        about: person.id.as_str(),
        origin: by.origin,
        detail: json!({"from": from.word(), "to": to.word()}),
    };
    audit::record(tx, entry, now).await?;
    Ok(RoleChange::Done { from })
}

/// Whether the organization would have no administrator without this person. It stays true until the commit: the
/// organization is held.
pub async fn is_last_administrator(tx: &mut Tx, person: &Person) -> Result<bool, StoreError> {
    organizations::hold(tx, &person.organization_id).await?;
    Ok(person.role == Role::Administrator && people::administrators(tx, &person.organization_id).await? <= 1)
}

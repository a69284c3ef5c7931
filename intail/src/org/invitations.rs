//! Invitations: an administrator or the operator says which address may join, and as what. Whoever then signs in with
//! that address, vouched for by the issuer, uses it up.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::audit::{self, Entry};
use super::names;
use super::roles::By;
use crate::id::{InvitationId, OrganizationId};
use crate::random::Random;
use crate::store::invitations::{self, Invitation};
use crate::store::people::{self, Role};
use crate::store::{StoreError, Tx, organizations};

/// How long an invitation can be used: a week's holiday, and not longer than somebody remembers it.
const LASTS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Invitations of one organization that wait: more is a list that belongs to a domain.
pub const WAITING_MAX: i64 = 1_000;

/// How inviting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invited {
    /// The address may join.
    Invitation(Invitation),
    /// It isn't an address.
    NotAnAddress,
    /// Somebody with this address is here already.
    Here,
    /// Too many invitations wait.
    TooMany,
}

/// Lets an address join. Inviting it again renews the invitation, with the role of the second time.
pub async fn invite(
    tx: &mut Tx,
    organization: &OrganizationId,
    address: &str,
    role: Role,
    by: By,
    random: &Random,
    now: Timestamp,
) -> Result<Invited, StoreError> {
    let Some(email) = names::address(address).map(|it| it.to_lowercase()) else { return Ok(Invited::NotAnAddress) };
    let here = people::by_email(tx, &email, people::NAMESAKES_MAX).await?;
    if here.iter().any(|it| it.organization_id == *organization) {
        return Ok(Invited::Here);
    }
    invitations::sweep(tx, now).await?;
    let waiting = invitations::of_organization(tx, organization, now, WAITING_MAX).await?;
    if waiting.len() >= usize::try_from(WAITING_MAX).unwrap_or(usize::MAX)
        && !waiting.iter().any(|it| it.email == email)
    {
        return Ok(Invited::TooMany);
    }
    let invitation = Invitation {
        id: InvitationId::new(random),
        organization_id: organization.clone(),
        email,
        role,
        invited_by: by.actor.to_string(),
        created_at: now,
        expires_at: now.saturating_add(LASTS).unwrap_or(now),
    };
    if role == Role::Administrator {
        organizations::set_administrator_named(tx, organization).await?;
    }
    invitations::put(tx, &invitation).await?;
    record(tx, &invitation.organization_id, &invitation.id, "invitation.made", Some(role), by, now).await?;
    Ok(Invited::Invitation(invitation))
}

/// Withdraws an invitation of the organization; answers whether it was there.
pub async fn withdraw(
    tx: &mut Tx,
    organization: &OrganizationId,
    id: &InvitationId,
    by: By,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let was_there = invitations::delete(tx, organization, id).await?;
    if was_there {
        record(tx, organization, id, "invitation.withdrawn", None, by, now).await?;
    }
    Ok(was_there)
}

async fn record(
    tx: &mut Tx,
    organization: &OrganizationId,
    id: &InvitationId,
    action: &'static str,
    role: Option<Role>,
    by: By,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail = role.map_or_else(|| json!({}), |role| json!({"role": role.word()}));
    let entry = Entry { organization, actor: by.actor, action, about: id.as_str(), origin: by.origin, detail };
    audit::record(tx, entry, now).await
}

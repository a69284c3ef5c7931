//! The administrator's approval, by evidence only: a grant that succeeded approves, Google's refusal blocks. Whoever
//! wanted to connect before is remembered, so that they can be told. Which setting keeps Intail out is never known;
//! what is most likely is said as such.

use intail_google::Endpoints;
use intail_google::oauth::scope;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};
use url::Url;

use super::audit::{self, Actor, Entry, Origin};
use crate::id::OrganizationId;
use crate::store::attempts::{self, Unanswered};
use crate::store::grants::{self, GrantState};
use crate::store::organizations::{self, Approval, Organization};
use crate::store::people::Person;
use crate::store::{StoreError, Tx, approval_waits, people};

/// How long somebody who went to Google may stay there before it counts as a sign.
const STAYED_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How long an attempt that nobody came back from is a sign: attempts are kept about as long.
const STAYED_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// Attempts in a row that nobody came back from before it is said: fewer are closed windows.
const STAYED_MIN: i64 = 3;

/// How long a block stands before an access that Google renews contradicts it. Where settings differ by organizational
/// unit both are true at once: then the state changes once an hour at most, each time with its evidence.
const BLOCK_STANDS: SignedDuration = SignedDuration::from_hours(1);

/// How Google's block showed itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At the callback: the administrator's settings keep Intail out.
    Policy,
    /// At the callback: the administrator has not configured Intail, and has to for some people.
    NotConfigured,
    /// When an access was renewed that had worked.
    Refresh,
}

impl Way {
    /// The column's word.
    fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::NotConfigured => "not_configured",
            Self::Refresh => "refresh",
        }
    }

    fn evidence(self) -> &'static str {
        match self {
            Self::Policy => "Google answered admin_policy_enforced: the administrator's settings keep Intail out.",
            Self::NotConfigured => {
                "Google answered access_not_configured: the administrator has to review Intail first."
            }
            Self::Refresh => {
                "Google refused to renew an access that had worked: the administrator's settings keep Intail out."
            }
        }
    }
}

/// Somebody is on the way to Google, or asked to be told. Says so unless more is known already, and remembers who
/// waits. Call it last before the commit, like the others here: they write to the audit log.
pub async fn asked(tx: &mut Tx, person: &Person, origin: Origin, now: Timestamp) -> Result<(), StoreError> {
    let organization = &person.organization_id;
    let known = organizations::by_id(tx, organization).await?.map(|it| it.approval);
    if known == Some(Approval::Approved) {
        return Ok(());
    }
    if known == Some(Approval::Unknown) {
        let evidence = "Somebody wants to connect, and nobody has been let in by Google yet.";
        organizations::set_approval(tx, organization, Approval::Asked, evidence, now).await?;
    }
    if approval_waits::put(tx, &person.id, organization, now).await? {
        let actor = Actor::Person(person.id.clone());
        record(tx, organization, actor, "approval.asked", origin, json!({}), now).await?;
    }
    Ok(())
}

async fn record(
    tx: &mut Tx,
    organization: &OrganizationId,
    actor: Actor,
    action: &'static str,
    origin: Origin,
    detail: Json,
    now: Timestamp,
) -> Result<(), StoreError> {
    audit::record(tx, Entry { organization, actor, action, about: organization.as_str(), origin, detail }, now).await
}

/// A grant of this person succeeded: Google lets their organization in. Grants that waited for the administrator go on.
pub async fn proved(tx: &mut Tx, person: &Person, origin: Origin, now: Timestamp) -> Result<(), StoreError> {
    let organization = &person.organization_id;
    let known = organizations::by_id(tx, organization).await?.map(|it| it.approval);
    let evidence = "Google let somebody of this organization connect.";
    organizations::set_approval(tx, organization, Approval::Approved, evidence, now).await?;
    grants::reopen(tx, organization, GrantState::NeedsAdministrator, scope::REQUESTED, now).await?;
    approval_waits::delete(tx, &person.id).await?;
    approval_waits::settle(tx, organization).await?;
    if known != Some(Approval::Approved) {
        let by = json!({ "by": person.id.as_str() });
        record(tx, organization, Actor::Google, "approval.proved", origin, by, now).await?;
    }
    Ok(())
}

/// Google renewed an access of this organization, having been asked at `began`: where it had blocked Intail before, it
/// lets it in again, and grants that waited go on. Answers whether that is news.
pub async fn renewed(
    tx: &mut Tx,
    organization: &OrganizationId,
    began: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(known) = organizations::by_id(tx, organization).await? else { return Ok(false) };
    if known.approval != Approval::Blocked || began.duration_since(known.approval_since) < BLOCK_STANDS {
        return Ok(false);
    }
    let evidence = "Google renewed an access of this organization that it had granted.";
    organizations::set_approval(tx, organization, Approval::Approved, evidence, now).await?;
    grants::reopen(tx, organization, GrantState::NeedsAdministrator, scope::REQUESTED, now).await?;
    approval_waits::settle(tx, organization).await?;
    record(tx, organization, Actor::Google, "approval.proved", Origin::Unknown, json!({"by": "refresh"}), now).await?;
    Ok(true)
}

/// A callback says that the administrator blocks Intail. Whoever holds a link can write that into an address, so it
/// never overrules a grant that succeeded; a refused refresh does.
pub async fn said_blocked(
    tx: &mut Tx,
    organization: &OrganizationId,
    way: Way,
    now: Timestamp,
) -> Result<(), StoreError> {
    match organizations::by_id(tx, organization).await?.map(|it| it.approval) {
        Some(Approval::Approved) => Ok(()),
        _ => blocked(tx, organization, way, now).await,
    }
}

/// Google refused a person's exchange because the administrator blocks Intail: that is evidence, whatever succeeded
/// before. The person waits from here on.
pub async fn refused(tx: &mut Tx, person: &Person, now: Timestamp) -> Result<(), StoreError> {
    approval_waits::put(tx, &person.id, &person.organization_id, now).await?;
    blocked(tx, &person.organization_id, Way::Policy, now).await
}

/// Google said that the administrator blocks Intail.
pub async fn blocked(tx: &mut Tx, organization: &OrganizationId, way: Way, now: Timestamp) -> Result<(), StoreError> {
    let known = organizations::by_id(tx, organization).await?.map(|it| it.approval);
    organizations::set_approval(tx, organization, Approval::Blocked, way.evidence(), now).await?;
    organizations::set_approval_way(tx, organization, way.word()).await?;
    if known != Some(Approval::Blocked) {
        let way = json!({ "way": way.word() });
        record(tx, organization, Actor::Google, "approval.blocked", Origin::Unknown, way, now).await?;
    }
    Ok(())
}

/// What is known of an organization's approval, and what is likely.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The state.
    pub approval: Approval,
    /// Since when.
    pub since: Timestamp,
    /// Its evidence, as a sentence; empty when there is none.
    pub evidence: String,
    /// Which setting most likely keeps Intail out, if something does.
    pub likely: Option<Likely>,
    /// Attempts in a row that nobody came back from, or one by somebody whose permission had just died: a guess that
    /// Google keeps people, not evidence.
    pub guess: Option<Unanswered>,
    /// How many people wait.
    pub waiting: i64,
}

/// A setting in Google's Admin console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likely {
    /// What it is, as one sentence.
    pub setting: &'static str,
    /// What to do about it there.
    pub to_do: &'static str,
}

/// Unknown applications are kept out, and Intail is one.
const UNCONFIGURED: Likely = Likely {
    setting: "Intail isn’t among the configured apps, and “Unconfigured third-party apps” keeps unknown apps out.",
    to_do: "Configure Intail as a new app, with “Specific Google data”.",
};
/// Signing in works with the same client, reading doesn't.
const SIGN_IN_ONLY: Likely = Likely {
    setting: "Signing in with the same client works, so Intail isn’t blocked as a whole: it is unconfigured where \
              unknown apps may only sign people in, or “Specific Google data” lacks one of its scopes, or it is \
              “Limited” while Gmail, Calendar or the directory is restricted.",
    to_do: "Open Intail among the configured apps and choose “Specific Google data” with all six scopes.",
};
/// It worked, and then it was changed.
const CHANGED: Likely = Likely {
    setting: "Intail worked before, so its access was changed: to “Blocked” or “Limited”, or a scope was taken from \
              its “Specific Google data”, or a service was set to “Restricted”.",
    to_do: "Open Intail among the configured apps and choose “Specific Google data” with all six scopes again.",
};
/// It worked, signing in still does.
const NARROWED: Likely = Likely {
    setting: "Intail worked before and signing in with the same client still does, so it isn’t “Blocked”: a scope was \
              taken from its “Specific Google data”, or it was set to “Limited”, or a service to “Restricted”.",
    to_do: "Open Intail among the configured apps and choose “Specific Google data” with all six scopes again.",
};
/// Google says so itself.
const REVIEW: Likely = Likely {
    setting: "Intail isn’t configured, and Google wants an administrator’s review before people under 18 use it.",
    to_do: "Configure Intail as a new app for the organizational unit of these people.",
};

/// Which setting most likely keeps Intail out. `sign_in_works`: somebody signed in with the same client since.
fn likely(organization: &Organization, sign_in_works: bool) -> Likely {
    let worked = organization.approved_at.is_some();
    match (organization.approval_way == Way::NotConfigured.word(), worked, sign_in_works) {
        (true, ..) => REVIEW,
        (_, true, true) => NARROWED,
        (_, true, false) => CHANGED,
        (_, false, true) => SIGN_IN_ONLY,
        (_, false, false) => UNCONFIGURED,
    }
}

/// What asks for the administrator although Google has said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// As in [`Outlook::guess`].
    pub guess: Option<Unanswered>,
    /// How many people wait for the approval.
    pub waiting: i64,
}

/// Since when attempts count that nobody came back from.
fn stayed_since(now: Timestamp) -> Timestamp {
    now.saturating_sub(STAYED_WITHIN).unwrap_or(now)
}

/// What looks as if Google kept people of an organization whose approval stands so, and who waits.
pub async fn signs(
    tx: &mut Tx,
    organization: &OrganizationId,
    approval: Approval,
    now: Timestamp,
) -> Result<Signs, StoreError> {
    let until = now.saturating_sub(STAYED_AFTER).unwrap_or(now);
    let stayed = attempts::unanswered(tx, organization, stayed_since(now), until).await?;
    // Where somebody was let in, one person who closes the window says nothing for everybody else.
    let people_min = if approval == Approval::Approved { 2 } else { 1 };
    // Tokens that died and a person who went to Google and didn't come back are two signs at once: a block that came
    // later looks like that, and one person's is worth a word.
    let guess = Some(stayed).filter(|it| it.attempts >= STAYED_MIN && it.people >= people_min || it.reconnecting > 0);
    Ok(Signs { guess, waiting: approval_waits::count(tx, organization).await? })
}

/// What is known of the approval. `sign_in_issuer` is set when people sign in by the client that has to be approved:
/// then a sign-in says something about the setting.
pub async fn outlook(
    tx: &mut Tx,
    organization: &Organization,
    sign_in_issuer: Option<&str>,
    now: Timestamp,
) -> Result<Outlook, StoreError> {
    let Signs { guess, waiting } = signs(tx, &organization.id, organization.approval, now).await?;
    let blocked = organization.approval == Approval::Blocked;
    let likely = if blocked || guess.is_some() {
        let after = if blocked { organization.approval_since } else { stayed_since(now) };
        let sign_in_works = match sign_in_issuer {
            Some(issuer) => people::somebody_signed_in_since(tx, &organization.id, issuer, after).await?,
            None => false,
        };
        Some(likely(organization, sign_in_works))
    } else {
        None
    };
    Ok(Outlook {
        approval: organization.approval,
        since: organization.approval_since,
        evidence: organization.approval_evidence.clone(),
        likely,
        guess,
        waiting,
    })
}

/// Addresses in the Admin console. Google's are undocumented and may move; the menu's path is always given beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// API controls.
    pub api_controls: String,
    /// The list of configured apps.
    pub configured_apps: String,
}

/// Where Google's own Admin console is.
const GOOGLES_CONSOLE: &str = "https://admin.google.com";

/// Where the administrator decides: at Google's console, or at that of whatever stands in for Google, which has it
/// beside the page that asks for consent.
pub fn console(endpoints: &Endpoints) -> Console {
    let is_google = endpoints.issuer == Endpoints::default().issuer;
    let base = if is_google { GOOGLES_CONSOLE.to_owned() } else { origin(&endpoints.authorize) };
    Console {
        api_controls: format!("{base}/ac/owl"),
        configured_apps: format!("{base}/ac/owl/list?tab=configuredApps"),
    }
}

fn origin(address: &Url) -> String {
    address.origin().ascii_serialization()
}

/// The scopes that “Specific Google data” has to list: the three, and the three by which Google says who came back.
pub fn scopes() -> &'static [&'static str] {
    scope::REQUESTED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_likely_setting_follows_from_what_is_known() {
        let organization = |way: &str, worked: bool| Organization {
            id: OrganizationId::new(&Random::seeded(1)),
            name: "Example".to_owned(),
            approval: Approval::Blocked,
            approval_since: Timestamp::UNIX_EPOCH,
            approval_evidence: String::new(),
            approval_way: way.to_owned(),
            approved_at: worked.then_some(Timestamp::UNIX_EPOCH),
            secondary_accounts: false,
            domain_joining: true,
            administrator_named: false,
            audit_kept_days: 1,
            retention_days: 30,
        };
        assert_eq!(likely(&organization("policy", false), false), UNCONFIGURED);
        assert_eq!(likely(&organization("policy", false), true), SIGN_IN_ONLY);
        assert_eq!(likely(&organization("refresh", true), false), CHANGED);
        assert_eq!(likely(&organization("refresh", true), true), NARROWED);
        assert_eq!(likely(&organization("not_configured", true), true), REVIEW);
    }

    #[test]
    fn the_console_is_googles_or_stands_beside_what_stands_in_for_google() {
        assert_eq!(console(&Endpoints::default()).api_controls, "https://admin.google.com/ac/owl");
        let issuer = "http://127.0.0.1:8090".to_owned();
        let authorize = Url::parse("http://127.0.0.1:8090/o/oauth2/v2/auth").expect("an address");
        let stand_in = console(&Endpoints { issuer, authorize, ..Endpoints::default() });
        assert_eq!(stand_in.configured_apps, "http://127.0.0.1:8090/ac/owl/list?tab=configuredApps");
    }
}

//! The guide for the Workspace administrator: a page that needs no account, behind a link that Intail signed for one
//! organization and that runs out. It holds nothing about any person: what to set, what that lets Intail see, and
//! whether Google lets Intail in yet.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;

use super::Web;
use super::access::Caller;
use super::asked::At;
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{When, counted};
use crate::connect::Permission;
use crate::id::OrganizationId;
use crate::org::approval::{self, Console, Likely};
use crate::store::attempts::Unanswered;
use crate::store::organizations::{self, Approval, Organization};
use crate::store::{StoreError, Tx};

/// What the links are signed for.
const PURPOSE: &str = "approve";
/// Everybody of an organization is given the same link for this long.
const SAME_FOR: Duration = Duration::from_secs(14 * 86_400);
/// How long a link works after it was given out last: a request may lie on a desk for a while.
const WORKS_FOR: Duration = Duration::from_secs(14 * 86_400);
/// The longest link that is looked at, in bytes; ours have about 90.
const LINK_BYTES_MAX: usize = 256;
/// How often the guide looks whether Google lets Intail in, in seconds.
const LOOKS_EVERY_S: u8 = 5;

/// The part of an address that proves itself.
struct Link {
    organization: OrganizationId,
    ends_at: Timestamp,
}

impl Link {
    /// The link that everybody of an organization is given now.
    fn of(organization: &OrganizationId, now: Timestamp) -> Self {
        let same_for_s = i64::try_from(SAME_FOR.as_secs()).unwrap_or(i64::MAX);
        let changes_s = (now.as_second().div_euclid(same_for_s) + 1).saturating_mul(same_for_s);
        let changes_at = Timestamp::from_second(changes_s).unwrap_or(now);
        let ends_at = changes_at.saturating_add(WORKS_FOR).unwrap_or(now);
        Self { organization: organization.clone(), ends_at }
    }

    fn text(&self) -> String {
        format!("{}.{}", self.organization, self.ends_at.as_second())
    }

    /// The link that a token stands for; none if Intail didn't sign it.
    fn read(web: &Web, token: &str) -> Option<Self> {
        let (text, proof) = Some(token).filter(|it| it.len() <= LINK_BYTES_MAX)?.rsplit_once('.')?;
        if !web.app.keyring.is_signed(PURPOSE, text, proof) {
            return None;
        }
        let (organization, ends) = text.split_once('.')?;
        let ends_at = Timestamp::from_second(ends.parse().ok()?).ok()?;
        Some(Self { organization: organization.parse().ok()?, ends_at })
    }
}

/// Where the guide for an organization's administrator is, on this Intail. None if it can't be signed.
pub(super) fn address(web: &Web, organization: &OrganizationId) -> Option<String> {
    let text = Link::of(organization, web.app.clock.now()).text();
    let proof = web.app.keyring.sign(PURPOSE, &text).ok()?;
    Some(format!("/approve/{text}.{proof}"))
}

/// What a guess rests on, as a sentence. It names nobody: who follows the guide's link reads it, too.
pub(super) fn guessed(it: &Unanswered) -> String {
    if it.reconnecting > 0 {
        let people = counted(it.reconnecting, "person", "people");
        return format!(
            "Google no longer accepts what {people} had allowed; they went there to connect again, and didn’t come \
             back."
        );
    }
    let attempts = counted(it.attempts, "attempt", "attempts");
    let people = counted(it.people, "person", "different people");
    format!("{attempts} of {people} in a row went to Google and didn’t come back.")
}

/// What pages say about the way to the approval.
pub(super) struct Way {
    /// The state that evidence shows.
    pub(super) approval: Approval,
    /// Since when.
    pub(super) since: When,
    /// The evidence; empty when there is none.
    pub(super) evidence: String,
    /// What most likely keeps Intail out.
    pub(super) likely: Option<Likely>,
    /// What looks as if Google kept people, though nothing proves it.
    pub(super) guess: Option<String>,
    /// How many people wait.
    pub(super) waiting: String,
    /// The guide's whole address.
    pub(super) link: String,
    /// Until when it works.
    pub(super) link_ends_at: When,
    /// Intail's OAuth client.
    pub(super) client_id: String,
    /// Where Google's console is.
    pub(super) console: Console,
    /// What “Specific Google data” has to list.
    pub(super) scopes: &'static [&'static str],
    /// The three permissions.
    pub(super) permissions: [Permission; 3],
}

impl Way {
    /// As of now, for an organization.
    pub(super) async fn of(web: &Web, tx: &mut Tx, organization: &Organization) -> Result<Self, StoreError> {
        let (config, now) = (&web.app.config, web.app.clock.now());
        let same_client = config.signin.client.client_id == config.google.client.client_id
            && config.signin.issuer == config.google.endpoints.issuer;
        let issuer = same_client.then_some(config.signin.issuer.as_str());
        let outlook = approval::outlook(tx, organization, issuer, now).await?;
        let path = address(web, &organization.id).unwrap_or_default();
        Ok(Self {
            approval: outlook.approval,
            since: When::full(outlook.since),
            evidence: outlook.evidence,
            likely: outlook.likely,
            guess: outlook.guess.map(|it| guessed(&it)),
            waiting: match outlook.waiting {
                0 => String::new(),
                waiting => counted(waiting, "person waits", "people wait"),
            },
            link: config.server.public_url.page(&path),
            link_ends_at: When::day(Link::of(&organization.id, now).ends_at),
            client_id: config.google.client.client_id.clone(),
            console: approval::console(web.app.google.endpoints()),
            scopes: approval::scopes(),
            permissions: Permission::ALL,
        })
    }

    /// Whether Google let somebody in, and nothing has looked otherwise since.
    pub(super) fn is_approved(&self) -> bool {
        self.approval == Approval::Approved && self.guess.is_none()
    }

    /// What a person can send their administrator.
    pub(super) fn message(&self) -> String {
        // Writing text into memory can't fail; an empty message is better than no page.
        MessageToAdministrator { way: self }.render().unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "message.txt")]
struct MessageToAdministrator<'a> {
    way: &'a Way,
}

#[derive(Template)]
#[template(path = "approve.html")]
struct Guide {
    shell: Shell,
    organization: String,
    public_url: String,
    way: Way,
    ends_at: When,
    looks_every_s: u8,
}

/// `GET /approve/{token}`
pub(super) async fn guide(
    State(web): State<Web>,
    caller: Option<Caller>,
    At(token): At<String>,
) -> Result<Response, Trouble> {
    let link = Link::read(&web, &token).ok_or_else(trouble::unknown_approval_link)?;
    if link.ends_at <= web.app.clock.now() {
        return Err(trouble::expired_approval_link());
    }
    let mut tx = web.app.store.read().await?;
    let organization = organizations::by_id(&mut tx, &link.organization).await?;
    let organization = organization.ok_or_else(trouble::unknown_approval_link)?;
    let way = Way::of(&web, &mut tx, &organization).await?;
    drop(tx);
    html(&Guide {
        shell: Shell::new(&web, caller.as_ref(), "", "Approve Intail"),
        organization: organization.name,
        public_url: web.app.config.server.public_url.to_string(),
        looks_every_s: if way.is_approved() { 0 } else { LOOKS_EVERY_S },
        way,
        ends_at: When::day(link.ends_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn everybody_is_given_the_same_link_and_it_works_for_two_weeks_more() {
        let organization = OrganizationId::new(&Random::seeded(1));
        let day = |day: i64| Timestamp::from_second(20_000 * 14 * 86_400 + day * 86_400).expect("an instant");
        let link = |at| Link::of(&organization, at);
        assert_eq!(link(day(0)).text(), link(day(13)).text());
        assert_ne!(link(day(0)).text(), link(day(14)).text());
        assert_eq!((link(day(0)).ends_at, link(day(13)).ends_at), (day(28), day(28)));
    }
}

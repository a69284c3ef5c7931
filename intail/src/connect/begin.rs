//! Begins to connect: remembers an attempt that works once, in this browser, for this person, and sends them to Google.

use std::time::Duration;

use intail_google::oauth::{AuthorizeRequest, Provider, code_challenge, scope};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{ConnectError, leave, refusal};
use crate::access;
use crate::app::App;
use crate::org::approval;
use crate::org::audit::Origin;
use crate::seal::hash_token;
use crate::store::attempts::{self, Attempt, Purpose};
use crate::store::people::Person;
use crate::store::{grants, organizations};

/// How long a person may take at Google: choosing an account, reading, perhaps fetching a second factor.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// Attempts of one person in [`FLOOD_WINDOW`]: more than a person clicks, less than a loop does.
const ATTEMPTS_MAX: i64 = 20;
/// Attempts of one organization in [`FLOOD_WINDOW`]: the first day of a company of a few thousand people, and few
/// enough rows that a flood from many accounts doesn't fill the database.
pub const ORGANIZATION_ATTEMPTS_MAX: i64 = 2_000;
const FLOOD_WINDOW: Duration = Duration::from_secs(10 * 60);

/// How the person is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Show the account chooser: the wrong account came back before.
    pub choose_account: bool,
    /// Show the permissions although they were shown before: a box was left unticked, or no refresh token is held. What
    /// a working grant holds already is kept whatever is ticked then.
    pub ask_again: bool,
    /// From where they ask.
    pub origin: Origin,
}

/// Where to send the person. `browser_hash` is the hash of the browser's own cookie: the callback must come back in it.
pub async fn begin(app: &App, person: &Person, browser_hash: &str, options: Options) -> Result<Url, ConnectError> {
    let begun = begin_unless_refused(app, person, browser_hash, options).await;
    match &begun {
        Err(refused @ (ConnectError::TooMany | ConnectError::StillLeaving)) => {
            refusal::of_person(app, person, None, refused, options.origin).await?;
        }
        Err(refused @ ConnectError::OrganizationBusy) => {
            refusal::of_organization(app, &person.organization_id, refused, options.origin).await?;
        }
        _ => {}
    }
    begun
}

async fn begin_unless_refused(
    app: &App,
    person: &Person,
    browser_hash: &str,
    options: Options,
) -> Result<Url, ConnectError> {
    let now = app.clock.now();
    let (state, nonce) = (app.random.token(), app.random.token());
    let verifier = SecretString::from(app.random.token());
    let state_hash = hash_token(&state);
    let verifier_sealed = app.keyring.seal_text(&verifier, &format!("attempts/{state_hash}"))?;

    let mut tx = app.store.write().await?;
    let since = now.saturating_sub(FLOOD_WINDOW).unwrap_or(now);
    if attempts::count_since(&mut tx, &person.id, since).await? >= ATTEMPTS_MAX {
        return Err(ConnectError::TooMany);
    }
    if leave::is_leaving(&mut tx, &person.id).await? {
        return Err(ConnectError::StillLeaving);
    }
    let organization = &person.organization_id;
    if attempts::count_of_organization_since(&mut tx, organization, since).await? >= ORGANIZATION_ATTEMPTS_MAX {
        return Err(ConnectError::OrganizationBusy);
    }
    let secondary = organizations::by_id(&mut tx, organization).await?.is_some_and(|it| it.secondary_accounts);
    let held = grants::by_person(&mut tx, &person.id).await?;
    let attempt = Attempt {
        state_hash,
        purpose: Purpose::Connect,
        browser_hash: browser_hash.to_owned(),
        person_id: Some(person.id.clone()),
        nonce: nonce.clone(),
        verifier_sealed,
        return_to: "/settings/integrations".to_owned(),
        begun_at: now,
        expires_at: now.saturating_add(ATTEMPT_TIME_MAX).unwrap_or(now),
        ended_at: None,
        outcome: None,
    };
    attempts::begin(&mut tx, &attempt).await?;
    approval::asked(&mut tx, person, options.origin, now).await?;
    tx.commit().await?;

    // Consent is forced only when nothing would come without it: each forced consent makes a new refresh token, and the
    // 101st kills the first.
    let works = held.as_ref().is_some_and(|it| it.state.works());
    let complete = works && held.as_ref().is_some_and(|it| it.refresh_sealed.is_some());
    // What is connected is reconnected with the same account, whatever its address is.
    let expected = held.as_ref().map_or(person.email.as_str(), |it| it.email.as_str());
    let domain = expected.rsplit_once('@').map(|(_, domain)| domain);
    let request = AuthorizeRequest {
        scopes: scope::REQUESTED,
        state: &state,
        nonce: &nonce,
        code_challenge: &code_challenge(verifier.expose_secret()),
        offline: true,
        consent: options.ask_again || !complete,
        select_account: options.choose_account,
        login_hint: (!options.choose_account).then_some(expected),
        // Another account of the organization may be of another of its domains.
        hd: if secondary && options.choose_account && held.is_none() { Some("*") } else { domain },
        // To a grant that works only what is missing is added: without this, the new answer would take the place of the
        // old one, and end what it had given.
        include_granted_scopes: (options.ask_again && works).then_some(true),
    };
    let provider = Provider::google(app.google.endpoints());
    Ok(provider.authorize_url(&access::client(app), &request))
}

//! Begins to connect: remembers an attempt that works once, in this browser, for this person, and sends them to Google.

use std::time::Duration;

use intail_google::oauth::{AuthorizeRequest, Provider, code_challenge, scope};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{ConnectError, leave};
use crate::access;
use crate::app::App;
use crate::org::approval;
use crate::seal::hash_token;
use crate::store::attempts::{self, Attempt, Purpose};
use crate::store::grants;
use crate::store::people::Person;

/// How long a person may take at Google: choosing an account, reading, perhaps fetching a second factor.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// Attempts of one person in [`FLOOD_WINDOW`]: more than a person clicks, less than a loop does.
const ATTEMPTS_MAX: i64 = 20;
const FLOOD_WINDOW: Duration = Duration::from_secs(10 * 60);

/// How the person is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Show the account chooser: the wrong account came back before.
    pub choose_account: bool,
    /// Show the permissions although they were shown before: a box was left unticked, or no refresh token is held.
    pub ask_again: bool,
}

/// Where to send the person. `browser_hash` is the hash of the browser's own cookie: the callback must come back in it.
pub async fn begin(app: &App, person: &Person, browser_hash: &str, options: Options) -> Result<Url, ConnectError> {
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
    approval::asked(&mut tx, &person.organization_id, now).await?;
    tx.commit().await?;

    // Consent is forced only when nothing would come without it: each forced consent makes a new refresh token, and the
    // 101st kills the first.
    let complete = held.as_ref().is_some_and(|it| it.state.works() && it.refresh_sealed.is_some());
    let domain = person.email.rsplit_once('@').map(|(_, domain)| domain);
    let request = AuthorizeRequest {
        scopes: scope::REQUESTED,
        state: &state,
        nonce: &nonce,
        code_challenge: &code_challenge(verifier.expose_secret()),
        offline: true,
        consent: options.ask_again || !complete,
        select_account: options.choose_account,
        login_hint: (!options.choose_account).then_some(person.email.as_str()),
        hd: domain,
        include_granted_scopes: None,
    };
    let provider = Provider::google(app.google.endpoints());
    Ok(provider.authorize_url(&access::client(app), &request))
}

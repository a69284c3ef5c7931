//! Signing in with OpenID Connect: Google in production, any issuer that speaks it elsewhere. The same two steps as
//! connecting, with less asked: who somebody is, and which domain the issuer vouches for.

use std::time::Duration;

use intail_google::id_token::{Expected, IdClaims, IdTokenError};
use intail_google::oauth::{AuthorizeRequest, OAuthClient, Provider, code_challenge};
use intail_google::{ErrorKind, Refusal};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::access;
use crate::app::App;
use crate::config::SIGNIN_CALLBACK;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::org::joining::{Joined, Vouched, join};
use crate::org::names;
use crate::seal::{SealError, hash_token};
use crate::store::attempts::{self, Attempt, Purpose};
use crate::store::changes::{self, NewChange, Of};
use crate::store::grants::{self, Grant};
use crate::store::mailboxes;
use crate::store::people::{self, Person};
use crate::store::{StoreError, Tx};

/// How long a person may take at the issuer.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// Ended attempts are remembered this long, so that a replay gets its own sentence.
const ATTEMPT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Domains in which nobody but Google gives out addresses: there it vouches for an address alone.
const GOOGLES_OWN_DOMAINS: [&str; 2] = ["gmail.com", "googlemail.com"];

/// What the callback's address carries. Everything else in it is ignored.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Callback {
    /// The code to exchange.
    pub code: Option<SecretString>,
    /// The attempt's state.
    pub state: Option<SecretString>,
    /// Who answers.
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// From where it was asked. The address itself can't say that.
    #[serde(skip)]
    pub origin: Origin,
}

/// Somebody signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub person: Person,
    /// The local path to go to.
    pub return_to: String,
}

/// A way in which signing in ends without a session.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The callback lacks what an issuer always sends.
    #[error("the callback lacks {0}")]
    Incomplete(&'static str),
    /// No attempt has this state.
    #[error("no attempt has this state")]
    UnknownState,
    /// The attempt was begun in another browser.
    #[error("the attempt was begun in another browser")]
    ForeignState,
    /// The attempt took longer than it may.
    #[error("the attempt took too long")]
    Expired,
    /// The callback was used already.
    #[error("the callback was used already")]
    Replayed,
    /// The answer doesn't come from the issuer that was asked.
    #[error("the answer names another issuer")]
    ForeignIssuer,
    /// The person pressed Cancel.
    #[error("the person said no")]
    Denied,
    /// The issuer doesn't vouch for the address, or for no domain.
    #[error("the issuer doesn't vouch for the address")]
    NotVerified,
    /// No organization here owns the domain.
    #[error("no organization here owns {domain}")]
    UnknownOrganization {
        /// The domain.
        domain: String,
    },
    /// The organization lets in whom it invites, and hasn't invited this person.
    #[error("the organization of {domain} hasn't invited the person")]
    NotInvited {
        /// The domain.
        domain: String,
    },
    /// The sign-in client is wrong: the operator must mend it.
    #[error("the sign-in client is refused: {0}")]
    Operator(String),
    /// The issuer couldn't answer; trying again later helps.
    #[error("the issuer couldn't answer")]
    IssuerTrouble(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something else that the issuer said.
    #[error("the issuer said something unexpected")]
    Unexpected(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A secret couldn't be opened.
    #[error("a sealed secret couldn't be opened")]
    Sealed(#[from] SealError),
}

impl SignInError {
    /// One word for the attempt's row and the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Incomplete(_) => "incomplete",
            Self::UnknownState => "unknown_state",
            Self::ForeignState => "foreign_state",
            Self::Expired => "expired",
            Self::Replayed => "replayed",
            Self::ForeignIssuer => "foreign_issuer",
            Self::Denied => "denied",
            Self::NotVerified => "not_verified",
            Self::UnknownOrganization { .. } => "unknown_organization",
            Self::NotInvited { .. } => "not_invited",
            Self::Operator(_) => "operator",
            Self::IssuerTrouble(_) => "issuer_trouble",
            Self::Unexpected(_) => "unexpected",
            Self::Store(_) | Self::Sealed(_) => "internal",
        }
    }
}

/// Where to send somebody who wants to sign in. `return_to` is a local path; anything else becomes `/`.
pub async fn begin(app: &App, browser_hash: &str, return_to: &str, hint: Option<&str>) -> Result<Url, SignInError> {
    let provider = provider(app).await?;
    let now = app.clock.now();
    let (state, nonce) = (app.random.token(), app.random.token());
    let verifier = SecretString::from(app.random.token());
    let state_hash = hash_token(&state);
    let attempt = Attempt {
        verifier_sealed: app.keyring.seal_text(&verifier, &format!("attempts/{state_hash}"))?,
        state_hash,
        purpose: Purpose::SignIn,
        browser_hash: browser_hash.to_owned(),
        person_id: None,
        nonce: nonce.clone(),
        return_to: local_path(return_to),
        begun_at: now,
        expires_at: now.saturating_add(ATTEMPT_TIME_MAX).unwrap_or(now),
        ended_at: None,
        outcome: None,
    };
    let mut tx = app.store.write().await?;
    attempts::sweep(&mut tx, now.saturating_sub(ATTEMPT_KEPT).unwrap_or(now)).await?;
    attempts::begin(&mut tx, &attempt).await?;
    tx.commit().await?;
    let request = AuthorizeRequest {
        scopes: &["openid", "email", "profile"],
        state: &state,
        nonce: &nonce,
        code_challenge: &code_challenge(verifier.expose_secret()),
        offline: false,
        consent: false,
        select_account: hint.is_none(),
        login_hint: hint,
        hd: None,
        include_granted_scopes: None,
    };
    Ok(provider.authorize_url(&client(app), &request))
}

/// Finishes signing in: answers who it is.
pub async fn finish(app: &App, browser_hash: &str, callback: Callback) -> Result<SignedIn, SignInError> {
    let state = callback.state.as_ref().ok_or(SignInError::Incomplete("state"))?;
    let state_hash = hash_token(state.expose_secret());
    let attempt = take(app, &state_hash, browser_hash).await?;
    let result = finish_taken(app, &attempt, &callback).await;
    let outcome = result.as_ref().map_or_else(SignInError::word, |_| "signed_in");
    let mut tx = app.store.write().await?;
    attempts::set_outcome(&mut tx, &state_hash, outcome).await?;
    tx.commit().await?;
    result
}

async fn take(app: &App, state_hash: &str, browser_hash: &str) -> Result<Attempt, SignInError> {
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    let attempt = attempts::by_state(&mut tx, state_hash).await?.ok_or(SignInError::UnknownState)?;
    if attempt.purpose != Purpose::SignIn || attempt.browser_hash != browser_hash {
        return Err(SignInError::ForeignState);
    }
    if attempt.expires_at <= now {
        return Err(SignInError::Expired);
    }
    if !attempts::take(&mut tx, state_hash, now).await? {
        return Err(SignInError::Replayed);
    }
    tx.commit().await?;
    Ok(attempt)
}

async fn finish_taken(app: &App, attempt: &Attempt, callback: &Callback) -> Result<SignedIn, SignInError> {
    let provider = provider(app).await?;
    if callback.iss.as_deref().is_some_and(|issuer| issuer != provider.issuer) {
        return Err(SignInError::ForeignIssuer);
    }
    match callback.error.as_deref() {
        None => {}
        Some("access_denied") => return Err(SignInError::Denied),
        Some(_) => return Err(SignInError::Unexpected("the issuer refused the sign-in".into())),
    }
    let code = callback.code.as_ref().ok_or(SignInError::Incomplete("code"))?;
    let verifier = app.keyring.open_text(&attempt.verifier_sealed, &format!("attempts/{}", attempt.state_hash))?;
    let client = client(app);
    let tokens = app.google.exchange_code(&provider, &client, code, &verifier, None).await.map_err(issuer_error)?;
    let id_token = tokens.id_token.as_ref().ok_or(SignInError::Incomplete("ID token"))?;
    let expected = Expected {
        issuer: &provider.issuer,
        audience: &client.client_id,
        nonce: Some(&attempt.nonce),
        jwks_uri: &provider.jwks_uri,
    };
    let claims = app.google.verify_id_token(id_token, &expected).await.map_err(|error| match error {
        IdTokenError::Keys(_) => SignInError::IssuerTrouble(Box::new(error)),
        error => SignInError::Unexpected(Box::new(error)),
    })?;
    let who = vouched(app, &provider, claims)?;
    let mut tx = app.store.write().await?;
    let now = app.clock.now();
    let joined = join(&mut tx, &who, callback.origin, &app.random, now).await?;
    let mut restored = None;
    if let Joined::Person(person) = &joined {
        if provider.issuer == app.google.endpoints().issuer {
            people::let_in(&mut tx, &person.id).await?;
            restored = restored_at_google(&mut tx, person, now).await?;
        }
        let entry = Entry {
            organization: &person.organization_id,
            actor: Actor::Person(person.id.clone()),
            action: "person.signed_in",
            about: person.id.as_str(),
            origin: callback.origin,
            detail: json!({}),
        };
        if let Some(grant) = &restored {
            let action = "person.unsuspended_at_google";
            let about = grant.person_id.as_str();
            let entry = Entry { actor: Actor::Google, action, about, origin: Origin::Unknown, ..entry.clone() };
            audit::record(&mut tx, entry, now).await?;
        }
        audit::record(&mut tx, entry, now).await?;
    }
    tx.commit().await?;
    if let Some(grant) = &restored {
        app.due.ring();
        app.feed.tell(&grant.organization_id);
    }
    match joined {
        Joined::Person(person) => Ok(SignedIn { person, return_to: attempt.return_to.clone() }),
        Joined::UnknownOrganization => Err(SignInError::UnknownOrganization { domain: shown_domain(&who) }),
        Joined::NotInvited => Err(SignInError::NotInvited { domain: shown_domain(&who) }),
    }
}

/// Lets go on what waits because the directory called this account suspended: Google lets nobody sign in who is, so it
/// knows better than a directory that is looked at once an hour. Answers the grant, if one waited.
async fn restored_at_google(tx: &mut Tx, person: &Person, now: Timestamp) -> Result<Option<Grant>, StoreError> {
    let grant = grants::by_google_subject(tx, &person.subject).await?;
    let waits = |it: &Grant| it.suspended_at.is_some() && it.organization_id == person.organization_id;
    let Some(grant) = grant.filter(waits) else { return Ok(None) };
    access::unsuspend(tx, &grant, now).await?;
    if let Some(mailbox) = mailboxes::by_person(tx, &grant.person_id).await? {
        let of =
            Of { organization: &grant.organization_id, person: Some(&grant.person_id), stream: (&mailbox.id).into() };
        let state = json!({"state": mailbox.state.word()});
        let change = NewChange { kind: "mailbox.state", subject_id: String::new(), data: state };
        changes::append(tx, of, &[change], now).await?;
    }
    Ok(Some(grant))
}

/// Whom the issuer vouches for. Google vouches for a domain in `hd` only; an address at Google proves nothing about its
/// domain, unless the domain is Google's own. Another issuer was chosen by the operator, who so trusts it for the
/// domains of the addresses it has verified.
fn vouched(app: &App, provider: &Provider, claims: IdClaims) -> Result<Vouched, SignInError> {
    let email = claims.email.filter(|_| claims.email_verified).and_then(|it| names::address(&it));
    let email = email.ok_or(SignInError::NotVerified)?;
    let is_google = app.config.signin.issuer == app.google.endpoints().issuer;
    let of_address = names::domain_of(&email).ok_or(SignInError::NotVerified)?;
    let domain = match claims.hd {
        Some(domain) => Some(names::domain(&domain).ok_or(SignInError::NotVerified)?),
        None if !is_google => Some(of_address),
        None if GOOGLES_OWN_DOMAINS.contains(&of_address.as_str()) => None,
        None => return Err(SignInError::NotVerified),
    };
    let name = names::name(claims.name.as_deref().unwrap_or_default());
    let name = if name.is_empty() { email.clone() } else { name };
    Ok(Vouched { issuer: provider.issuer.clone(), subject: claims.sub, email, name, domain })
}

/// The domain that a refusal names.
fn shown_domain(who: &Vouched) -> String {
    who.domain.clone().or_else(|| names::domain_of(&who.email)).unwrap_or_default()
}

fn client(app: &App) -> OAuthClient {
    let client = &app.config.signin.client;
    OAuthClient {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.clone(),
        redirect_uri: app.config.server.public_url.page(SIGNIN_CALLBACK),
    }
}

/// The issuer's endpoints. Google's are configured; another issuer says its own.
async fn provider(app: &App) -> Result<Provider, SignInError> {
    let endpoints = app.google.endpoints();
    if app.config.signin.issuer == endpoints.issuer {
        return Ok(Provider::google(endpoints));
    }
    app.google.discover(&app.config.signin.issuer).await.map_err(issuer_error)
}

fn issuer_error(error: intail_google::Error) -> SignInError {
    match &error.kind {
        ErrorKind::Refused(Refusal::Operator(fault)) => SignInError::Operator(fault.to_string()),
        ErrorKind::Transient | ErrorKind::SlowDown { .. } => SignInError::IssuerTrouble(Box::new(error)),
        ErrorKind::GrantDead(_) => SignInError::Replayed,
        _ => SignInError::Unexpected(Box::new(error)),
    }
}

/// A path of this Intail, or `/`: a callback must not become a way to send people elsewhere.
fn local_path(path: &str) -> String {
    let local = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let plain = path.len() <= 512 && path.bytes().all(|byte| byte.is_ascii_graphic());
    if local && plain { path.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn only_a_path_of_this_intail_is_returned_to() {
        assert_eq!(local_path("/mail?label=INBOX"), "/mail?label=INBOX");
        for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example", "mail", "", "/a b", "/\u{7}"] {
            assert_eq!(local_path(elsewhere), "/", "{elsewhere}");
        }
    }
}

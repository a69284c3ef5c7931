//! A working access token for a grant: the one kept, or a fresh one ahead of its end. Refreshing happens once per
//! grant at a time. What Google answers decides the grant's state here and nowhere else: a passing trouble never kills
//! a grant, and a dead grant opens its circuit at once, so that no further call is made until somebody acts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use intail_google::oauth::{OAuthClient, Provider, Tokens, scope};
use intail_google::{BlockReason, Caller, DeadReason, Error, ErrorKind, Refusal};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use crate::app::App;
use crate::config::CONNECT_CALLBACK;
use crate::id::{GrantId, OrganizationId};
use crate::org::approval::{self, Way};
use crate::org::receipts::purpose;
use crate::seal::SealError;
use crate::store::grants::{self, Grant, GrantState};
use crate::store::organizations::{self, Approval};
use crate::store::{StoreError, Tx, directories, operator_faults};

/// A token that ends within this time is refreshed before it is used: longer than the longest run that starts with it.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The operator's fault when Google refuses Intail itself.
const CLIENT_REFUSED: &str = "oauth.client_refused";
const CLIENT_REFUSED_DETAIL: &str = "Google refuses Intail's OAuth client, or an API is switched off in its Cloud \
     project. Run `intail doctor` to see which; Intail tries again every hour.";

/// One refresh per grant at a time within this process. Another process that works on another stream of the same grant
/// may refresh at the same moment: Google gives both a token, and either is good.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<BTreeMap<GrantId, Arc<tokio::sync::Mutex<()>>>>>);

impl Turns {
    fn of(&self, grant: &GrantId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(grant.clone()).or_default().clone()
    }
}

/// Why there is no working access token.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The grant's circuit is open: somebody must act first.
    #[error("the grant is {}: {reason}", .state.word())]
    Closed {
        /// Who must act.
        state: GrantState,
        /// Why.
        reason: String,
    },
    /// Google couldn't answer now.
    #[error("no access token could be had from Google")]
    Google(#[from] Error),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A token couldn't be opened.
    #[error("a sealed token couldn't be opened")]
    Sealed(#[from] SealError),
}

/// A working access token.
pub async fn caller(app: &App, grant: &GrantId) -> Result<Caller, AccessError> {
    get(app, grant, None).await
}

/// The same for a grant that was read just now: where the token that it kept is good, nothing is read again.
pub async fn caller_of(app: &App, grant: &Grant) -> Result<Caller, AccessError> {
    let is_working = grant.state.works() && grant.suspended_at.is_none();
    match is_working.then(|| kept(app, grant)).transpose()?.flatten() {
        Some(kept) => Ok(kept),
        None => get(app, &grant.id, None).await,
    }
}

/// A working access token other than `rejected`, which Google no longer takes.
pub async fn renewed(app: &App, grant: &GrantId, rejected: &Caller) -> Result<Caller, AccessError> {
    get(app, grant, Some(rejected)).await
}

async fn get(app: &App, id: &GrantId, rejected: Option<&Caller>) -> Result<Caller, AccessError> {
    let turn = app.turns.of(id);
    let _turn = turn.lock().await;
    let mut tx = app.store.read().await?;
    let grant = working(grants::by_id(&mut tx, id).await?)?;
    drop(tx);
    if let Some(kept) = kept(app, &grant)?
        && rejected.is_none_or(|it| it.access_token.expose_secret() != kept.access_token.expose_secret())
    {
        return Ok(kept);
    }
    refresh(app, &grant).await
}

fn working(grant: Option<Grant>) -> Result<Grant, AccessError> {
    match grant {
        None => Err(AccessError::Closed { state: GrantState::Left, reason: "left".to_owned() }),
        Some(grant) if !grant.state.works() => {
            Err(AccessError::Closed { state: grant.state, reason: grant.reason.clone() })
        }
        // The directory lets it go on.
        Some(grant) if grant.suspended_at.is_some() => {
            Err(AccessError::Closed { state: grant.state, reason: "suspended".to_owned() })
        }
        Some(grant) => Ok(grant),
    }
}

fn kept(app: &App, grant: &Grant) -> Result<Option<Caller>, AccessError> {
    let fresh = app.clock.now().saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let (Some(sealed), Some(ends)) = (&grant.access_sealed, grant.access_expires_at) else {
        return Ok(None);
    };
    if ends <= fresh {
        return Ok(None);
    }
    let access_token = app.keyring.open_text(sealed, &access_row(&grant.id))?;
    Ok(Some(Caller { access_token, on_behalf: grant.id.to_string(), purpose: purpose::UNSTATED }))
}

/// Asks Google whether it lets a grant in again that the administrator's settings had stopped. Its circuit stays open
/// unless Google does.
pub async fn look_again(app: &App, id: &GrantId) -> Result<Caller, AccessError> {
    let turn = app.turns.of(id);
    let _turn = turn.lock().await;
    let mut tx = app.store.read().await?;
    let grant = grants::by_id(&mut tx, id).await?;
    drop(tx);
    match grant {
        Some(grant) if grant.reason == grants::BLOCKED && grant.suspended_at.is_none() => refresh(app, &grant).await,
        grant => working(grant).and_then(|it| Err(AccessError::Closed { state: it.state, reason: it.reason })),
    }
}

async fn refresh(app: &App, grant: &Grant) -> Result<Caller, AccessError> {
    let began = app.clock.now();
    let Some(sealed) = &grant.refresh_sealed else {
        return Err(close(app, grant, GrantState::NeedsPerson, "no_refresh_token").await?);
    };
    let token = app.keyring.open_text(sealed, &refresh_row(&grant.id))?;
    let provider = Provider::google(app.google.endpoints());
    match app.google.refresh(&provider, &client(app), &token, grant.id.as_str(), purpose::TOKEN).await {
        Ok(tokens) => keep(app, grant, tokens, began).await,
        Err(error) => match verdict(&error.kind) {
            None => Err(AccessError::Google(error)),
            Some((state, reason)) => Err(close(app, grant, state, reason).await?),
        },
    }
}

/// Keeps what Google gave to a refresh that began at `began`, and what that says.
async fn keep(app: &App, grant: &Grant, tokens: Tokens, began: Timestamp) -> Result<Caller, AccessError> {
    if scope::wider_gmail(&tokens.scopes).is_some() {
        return Err(close(app, grant, GrantState::NeedsPerson, "wider_scope").await?);
    }
    let now = app.clock.now();
    let access_sealed = app.keyring.seal_text(&tokens.access_token, &access_row(&grant.id))?;
    let refresh_sealed =
        tokens.refresh_token.as_ref().map(|it| app.keyring.seal_text(it, &refresh_row(&grant.id))).transpose()?;
    let scopes = if tokens.scopes.is_empty() { grant.scopes.clone() } else { tokens.scopes };
    let mut tx = app.store.write().await?;
    hold_unless_approved(&mut tx, &grant.organization_id).await?;
    // A permission that was taken back at Google shows itself here.
    let (state, reason) = state_by(&scopes);
    let is_news = state != grant.state;
    // Streams are taken before their grant (see `leases`). Being due says nothing of the grant.
    if is_news && !grant.state.works() {
        grants::wake(&mut tx, &grant.id, now).await?;
    }
    let ends = expiry(now, tokens.expires_in_s);
    grants::refreshed(&mut tx, grant, &access_sealed, ends, refresh_sealed.as_deref(), &scopes).await?;
    if is_news && grants::hold(&mut tx, grant).await? {
        grants::set_state(&mut tx, &grant.id, state, reason, now).await?;
    }
    let is_let_in = approval::renewed(&mut tx, &grant.organization_id, began, now).await?;
    operator_faults::clear(&mut tx, CLIENT_REFUSED).await?;
    tx.commit().await?;
    if is_let_in || is_news && !grant.state.works() {
        app.due.ring();
    }
    if is_let_in {
        tracing::info!(organization = %grant.organization_id, "Google lets an organization in again");
        app.feed.tell(&grant.organization_id);
    }
    if is_news {
        tracing::info!(grant = %grant.id, state = state.word(), "what a grant permits has changed at Google");
        app.feed.tell(&grant.organization_id);
    }
    if !state.works() {
        return Err(AccessError::Closed { state, reason: reason.to_owned() });
    }
    Ok(Caller { access_token: tokens.access_token, on_behalf: grant.id.to_string(), purpose: purpose::UNSTATED })
}

/// The three permissions.
const PERMISSIONS: [&str; 3] = [scope::GMAIL_METADATA, scope::CALENDAR_READONLY, scope::DIRECTORY_USER_READONLY];

/// The state of a grant that works at Google with these scopes, and why: whole, in part, or good for nothing.
fn state_by(scopes: &[String]) -> (GrantState, &'static str) {
    let held = PERMISSIONS.iter().filter(|wanted| scopes.iter().any(|it| it == *wanted)).count();
    match held {
        0 => (GrantState::NeedsPerson, "permission_missing"),
        held if held == PERMISSIONS.len() => (GrantState::Active, ""),
        _ => (GrantState::Partial, "permission_missing"),
    }
}

/// Whether a grant still has a scope.
pub fn permits(grant: &Grant, wanted: &str) -> bool {
    grant.scopes.iter().any(|it| it == wanted)
}

/// Google refused a call because a permission is missing that the grant had: it was taken back since the last refresh.
/// What is left goes on.
pub async fn taken_back(tx: &mut Tx, grant: &Grant, scope: &str, now: Timestamp) -> Result<GrantState, StoreError> {
    let left: Vec<String> = grant.scopes.iter().filter(|it| *it != scope).cloned().collect();
    let (state, reason) = state_by(&left);
    grants::set_scopes(tx, &grant.id, &left).await?;
    grants::set_state(tx, &grant.id, state, reason, now).await?;
    Ok(state)
}

/// Closes the circuit of a grant that Google refused for a reason that is over: whether the tokens are still good shows
/// at the next refresh, and opens it again if not.
pub async fn try_again(tx: &mut Tx, grant: &Grant, now: Timestamp) -> Result<(), StoreError> {
    let (state, reason) = state_by(&grant.scopes);
    if state.works() && grant.refresh_sealed.is_some() {
        grants::set_state(tx, &grant.id, state, reason, now).await?;
    }
    Ok(())
}

/// Lets a grant go on whose account isn't suspended any more. Google ends tokens when it suspends, mostly for good:
/// whether it did shows at the next call, and nowhere else.
pub async fn unsuspend(tx: &mut Tx, grant: &Grant, now: Timestamp) -> Result<(), StoreError> {
    // Streams are taken before their grant (see `leases`).
    grants::wake(tx, &grant.id, now).await?;
    grants::set_suspended(tx, &grant.id, None, now).await?;
    if grant.state == GrantState::NeedsPerson {
        try_again(tx, grant, now).await?;
    }
    Ok(())
}

/// Which state a refusal puts a grant in, and why; none when it passes by itself.
pub fn verdict(kind: &ErrorKind) -> Option<(GrantState, &'static str)> {
    Some(match kind {
        ErrorKind::GrantDead(DeadReason::Revoked) => (GrantState::NeedsPerson, "revoked"),
        ErrorKind::GrantDead(DeadReason::ReauthNeeded) => (GrantState::NeedsPerson, "sign_in_again"),
        ErrorKind::GrantDead(DeadReason::AccountDeleted) => (GrantState::NeedsPerson, "account_deleted"),
        ErrorKind::GrantDead(DeadReason::AccessTokenRejected) => (GrantState::NeedsPerson, "token_rejected"),
        ErrorKind::AdminBlocked(BlockReason::AdvancedProtection) => (GrantState::NeedsPerson, "advanced_protection"),
        ErrorKind::AdminBlocked(BlockReason::DomainPolicy) => (GrantState::NeedsAdministrator, "gmail_off_for_apps"),
        ErrorKind::AdminBlocked(_) => (GrantState::NeedsAdministrator, grants::BLOCKED),
        ErrorKind::Refused(Refusal::ScopeMissing) => (GrantState::NeedsPerson, "permission_missing"),
        ErrorKind::Refused(Refusal::Operator(_)) => (GrantState::NeedsOperator, "client_refused"),
        _ => return None,
    })
}

/// Opens the circuit of a grant, unless the person has connected again meanwhile.
async fn close(app: &App, grant: &Grant, state: GrantState, reason: &str) -> Result<AccessError, AccessError> {
    let mut tx = app.store.write().await?;
    let is_closed = set_closed(&mut tx, grant, state, reason, app.clock.now()).await?;
    tx.commit().await?;
    app.feed.tell(&grant.organization_id);
    if is_closed && grant.state != state {
        tracing::warn!(grant = %grant.id, state = state.word(), reason, "a grant stopped working");
    }
    Ok(AccessError::Closed { state, reason: reason.to_owned() })
}

/// Writes what a refusal means for a grant, and for what is known of the administrator's approval; unless the person
/// has connected again since `grant` was read: then it is of the grant before. Answers whether it was written.
pub async fn set_closed(
    tx: &mut Tx,
    grant: &Grant,
    state: GrantState,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if reason == grants::BLOCKED {
        organizations::hold(tx, &grant.organization_id).await?;
    }
    // Google says the same of an account that is suspended or deleted: the directory knows more. It is taken before the
    // grant (see `leases`).
    if matches!(reason, "revoked" | "account_deleted" | "token_rejected") {
        directories::want(tx, &grant.organization_id, now).await?;
    }
    if !grants::hold(tx, grant).await? {
        return Ok(false);
    }
    grants::set_state(tx, &grant.id, state, reason, now).await?;
    if reason == grants::BLOCKED {
        approval::blocked(tx, &grant.organization_id, Way::Refresh, now).await?;
    }
    if state == GrantState::NeedsOperator {
        operator_faults::raise(tx, CLIENT_REFUSED, CLIENT_REFUSED_DETAIL, now).await?;
    }
    Ok(true)
}

/// Holds an organization before anything of a grant is written, where that may say something about the administrator's
/// approval and so reopen others' grants: two who succeed at once are one after the other.
pub async fn hold_unless_approved(tx: &mut Tx, organization: &OrganizationId) -> Result<(), StoreError> {
    match organizations::by_id(tx, organization).await?.map(|it| it.approval) {
        Some(Approval::Approved) => Ok(()),
        _ => organizations::hold(tx, organization).await,
    }
}

/// The row that a grant's refresh token is sealed for.
pub fn refresh_row(grant: &GrantId) -> String {
    format!("grants/{grant}/refresh")
}

/// The row that a grant's access token is sealed for.
pub fn access_row(grant: &GrantId) -> String {
    format!("grants/{grant}/access")
}

/// When a token that lasts `expires_in_s` seconds from now ends.
pub fn expiry(now: Timestamp, expires_in_s: u64) -> Timestamp {
    now.saturating_add(Duration::from_secs(expires_in_s)).unwrap_or(now)
}

/// Intail's OAuth client, as Google knows it.
pub fn client(app: &App) -> OAuthClient {
    let client = &app.config.google.client;
    OAuthClient {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.clone(),
        redirect_uri: app.config.server.public_url.page(CONNECT_CALLBACK),
    }
}

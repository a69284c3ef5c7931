//! Leaves: stops the pushes, revokes the grant at Google, erases what was copied. The first commit marks the grant as
//! left, so that a crash at any later step is taken up again; the last commit deletes the grant itself.

use std::time::Duration;

use intail_google::{Caller, ErrorKind};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ConnectError;
use crate::access::{self, access_row, refresh_row};
use crate::app::App;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::store::changes::{self, NewChange, Of};
use crate::store::grants::{self, Grant, GrantState};
use crate::store::people::Person;
use crate::store::{StoreError, call_counts, mailboxes};

/// How often unfinished erasures are taken up again.
const RESUME_EVERY: Duration = Duration::from_secs(60);
/// Erasures taken up at once.
const RESUME_MAX: i64 = 20;

/// What was done when a person left.
#[derive(Clone, Debug)]
pub struct Left {
    /// The account.
    pub email: String,
    /// Whether Google confirmed that it pushes no more.
    pub stopped: bool,
    /// Whether Google confirmed that the grant is revoked. If not, Intail keeps trying.
    pub revoked: bool,
    /// How many rows were erased.
    pub rows: u64,
}

/// Disconnects a person, who asked for it from `origin`.
pub async fn leave(app: &App, person: &Person, origin: Origin) -> Result<Left, ConnectError> {
    let mut tx = app.store.read().await?;
    let grant = grants::by_person(&mut tx, &person.id).await?.ok_or(ConnectError::NotConnected)?;
    drop(tx);
    // A working access token, so that the pushes can be stopped; without one the revocation has to do.
    if let Err(error) = access::caller(app, &grant.id).await {
        tracing::info!(%error, grant = %grant.id, "a person leaves without a working access token");
    }
    let mut tx = app.store.write().await?;
    let grant = grants::by_person(&mut tx, &person.id).await?.ok_or(ConnectError::NotConnected)?;
    let now = app.clock.now();
    grants::set_state(&mut tx, &grant.id, GrantState::Left, "left", now).await?;
    let entry = Entry {
        organization: &person.organization_id,
        actor: Actor::Person(person.id.clone()),
        action: "connection.left",
        about: person.id.as_str(),
        origin,
        detail: json!({}),
    };
    audit::record(&mut tx, entry, now).await?;
    tx.commit().await?;
    // A task of its own: a browser that goes away must not stop an erasure half way.
    let (app, grant) = (app.clone(), grant);
    let mut erasing = JoinSet::new();
    erasing.spawn(async move { erase(&app, &grant).await });
    match erasing.join_next().await {
        Some(Ok(left)) => left,
        _ => Err(ConnectError::Unexpected("the erasure broke off; it is taken up again".into())),
    }
}

/// Takes up erasures that a crash or Google's trouble left unfinished, until `shutdown`.
pub async fn resume_leaving(app: &App, shutdown: CancellationToken) {
    loop {
        match resume_once(app).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "unfinished erasures were taken up again"),
            Err(error) => tracing::warn!(%error, "unfinished erasures can't be read"),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = app.clock.sleep(RESUME_EVERY) => {}
        }
    }
}

async fn resume_once(app: &App) -> Result<usize, StoreError> {
    let mut tx = app.store.read().await?;
    let unfinished = grants::leaving(&mut tx, RESUME_MAX).await?;
    drop(tx);
    for grant in &unfinished {
        if let Err(error) = erase(app, grant).await {
            tracing::warn!(%error, grant = %grant.id, "an erasure is still unfinished");
        }
    }
    Ok(unfinished.len())
}

async fn erase(app: &App, grant: &Grant) -> Result<Left, ConnectError> {
    let stopped = stop(app, grant).await;
    let revoked = revoke(app, grant).await;
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    let newest = grants::by_id(&mut tx, &grant.id).await?;
    if newest.is_none_or(|it| it.state != GrantState::Left || it.connected_at != grant.connected_at) {
        // The person connected again while Google was asked: what is there now is theirs again.
        return Err(ConnectError::NotConnected);
    }
    let mut rows = call_counts::erase(&mut tx, &grant.id).await?;
    if let Some(mailbox) = mailboxes::by_person(&mut tx, &grant.person_id).await? {
        rows += mailboxes::erase(&mut tx, &mailbox.id).await?;
        let of = Of { organization: &grant.organization_id, person: &grant.person_id, mailbox: &mailbox.id };
        let change = NewChange { kind: "mailbox.erased", subject_id: String::new(), data: json!({}) };
        changes::append(&mut tx, of, &[change], now).await?;
    }
    // Until Google confirms the revocation, the sealed token is kept for the next try, and nothing else.
    if revoked {
        grants::delete(&mut tx, &grant.id).await?;
        rows += 1;
    }
    tx.commit().await?;
    app.feed.tell(&grant.organization_id);
    tracing::info!(grant = %grant.id, stopped, revoked, rows, "a person left");
    Ok(Left { email: grant.email.clone(), stopped, revoked, rows })
}

/// Asks Google to push no more. That it fails is no obstacle: the revocation ends the pushes too.
async fn stop(app: &App, grant: &Grant) -> bool {
    let (Some(sealed), Some(ends)) = (&grant.access_sealed, grant.access_expires_at) else {
        return false;
    };
    if ends <= app.clock.now() {
        return false;
    }
    let Ok(access_token) = app.keyring.open_text(sealed, &access_row(&grant.id)) else {
        return false;
    };
    let caller = Caller { access_token, on_behalf: grant.id.to_string() };
    app.google.gmail(&caller).stop().await.is_ok()
}

/// Revokes the grant. A grant that Google no longer knows is revoked.
async fn revoke(app: &App, grant: &Grant) -> bool {
    let Some(sealed) = &grant.refresh_sealed else {
        return true;
    };
    let token = match app.keyring.open_text(sealed, &refresh_row(&grant.id)) {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, grant = %grant.id, "a token to be revoked can't be opened");
            return true;
        }
    };
    match app.google.revoke(&token, grant.id.as_str()).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, grant = %grant.id, "a grant couldn't be revoked yet");
            !matches!(error.kind, ErrorKind::Transient | ErrorKind::SlowDown { .. })
        }
    }
}

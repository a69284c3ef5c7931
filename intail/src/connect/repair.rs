//! Looks, of its own accord, whether Google lets an organization in again that its administrator's settings kept out.
//! Every circuit of such an organization is open, so nothing else would ever show it unless somebody connects anew,
//! while people read that it goes on by itself.
//!
//! What a reader must not break: one refresh an organization and hour, of one grant by chance, and not one for each
//! person; and a grant that is still refused stays as it is, with its reason and since when.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::access;
use crate::app::App;
use crate::id::OrganizationId;
use crate::store::{StoreError, grants, organizations};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Grants of an organization among which one is chosen: settings may differ by organizational unit.
const GRANTS_MAX: i64 = 1_000;

/// Looks every hour until `shutdown`.
pub async fn repair(app: &App, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = app.clock.sleep(LOOK_EVERY) => {}
        }
        if let Err(error) = look_again(app).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether Intail is let in again can't be seen yet"
            );
        }
    }
}

/// Looks once, for every organization; answers in how many somebody is let in again.
pub async fn look_again(app: &App) -> Result<usize, StoreError> {
    let mut tx = app.store.read().await?;
    let organizations = organizations::list(&mut tx, i64::MAX).await?;
    drop(tx);
    let mut let_in = 0;
    for organization in organizations {
        let_in += usize::from(is_let_in(app, &organization.id).await?);
    }
    Ok(let_in)
}

async fn is_let_in(app: &App, organization: &OrganizationId) -> Result<bool, StoreError> {
    let mut tx = app.store.read().await?;
    let mut blocked = grants::blocked(&mut tx, organization, GRANTS_MAX).await?;
    drop(tx);
    if blocked.is_empty() {
        return Ok(false);
    }
    let chosen = app.random.below(u64::try_from(blocked.len()).unwrap_or(1));
    let chosen = blocked.swap_remove(usize::try_from(chosen).unwrap_or(0));
    Ok(access::look_again(app, &chosen).await.is_ok())
}

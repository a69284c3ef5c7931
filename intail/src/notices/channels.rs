//! Notices of changed calendars: `POST /notices/calendar`, where Google calls over the channels that Intail opened.
//!
//! A notice has no body and no signature. What proves it is the random token that its channel was opened with, of which
//! only the hash is kept here. It says "look again" and nothing else: a forged one that carried the right token would
//! cost one request. Whoever isn't known hears 404, whatever is wrong, so that nobody learns which channels there are;
//! Google doesn't repeat a notice that was answered so. Success is answered after the due mark is committed. Source:
//! the Calendar API's guide on push.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq as _;

use crate::app::App;
use crate::seal::hash_token;
use crate::store::channels::{self, Channel};
use crate::store::{StoreError, agendas, calendars};

/// The longest channel id and token: what Google itself takes.
const ID_LENGTH_MAX: usize = 64;
const TOKEN_LENGTH_MAX: usize = 256;

/// What a notice says, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The channel's id.
    pub channel: &'a str,
    /// What the channel was opened with.
    pub token: &'a str,
    /// `sync` for the first one, `exists` or `not_exists` when something changed.
    pub state: &'a str,
}

/// `POST /notices/calendar`: 204 once the due mark is committed; 404 for whom we don't know; 503 when it should come
/// again.
pub async fn receive(State(app): State<App>, headers: HeaderMap) -> StatusCode {
    let word = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let notice = Notice {
        channel: word("x-goog-channel-id"),
        token: word("x-goog-channel-token"),
        state: word("x-goog-resource-state"),
    };
    match take(&app, notice).await {
        Ok(true) => StatusCode::NO_CONTENT,
        Ok(false) => StatusCode::NOT_FOUND,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a calendar's notice couldn't be marked; it will come again");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Marks the notice's calendar due, commits, and rings; answers whether its channel is one of ours. Two notices of one
/// calendar may come at once; each counts.
pub async fn take(app: &App, notice: Notice<'_>) -> Result<bool, StoreError> {
    let is_short = notice.channel.len() <= ID_LENGTH_MAX && notice.token.len() <= TOKEN_LENGTH_MAX;
    if !is_short || notice.channel.is_empty() {
        return Ok(false);
    }
    let mut tx = app.store.read().await?;
    let known = channels::by_id(&mut tx, notice.channel).await?;
    drop(tx);
    // What is compared are hashes of random tokens, so that not even the time of a comparison tells anything.
    let Some(channel) = known.filter(|it| is_proved(it, notice.token)) else {
        tracing::debug!("a notice of a calendar came over no channel of ours");
        return Ok(false);
    };
    let is_change = notice.state != "sync";
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    // The first notice means that the channels before this one can be stopped.
    let is_first = channel.proved_at.is_none();
    // In the order in which the engine locks them: the agenda first.
    if is_change || is_first {
        agendas::wake(&mut tx, &channel.agenda_id, now).await?;
    }
    if is_change {
        calendars::notice(&mut tx, &channel.agenda_id, &channel.calendar_id).await?;
    }
    channels::noticed(&mut tx, &channel.id, is_change, now).await?;
    tx.commit().await?;
    if is_change || is_first {
        app.due.ring();
    }
    Ok(true)
}

fn is_proved(channel: &Channel, token: &str) -> bool {
    bool::from(hash_token(token).as_bytes().ct_eq(channel.token_hash.as_bytes()))
}

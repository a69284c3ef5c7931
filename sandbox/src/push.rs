//! What the sandbox sends by itself: deliveries to push subscriptions, signed as Google signs them, and Gmail's notices
//! to a Pub/Sub outside when one is configured. A refusal slows the whole subscription down, as at Google.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Shared;
use crate::api_error::ApiError;
use crate::pubsub::push_value;
use crate::topics::{Delivered, PushConfig};
use crate::watch::{Outgoing, topic_forbidden, topic_missing};
use crate::world::World;

/// Messages in one round of deliveries to one subscription.
const ROUND_MAX: usize = 10;
/// Statuses with which a push endpoint acknowledges (Pub/Sub's push guide).
const ACKNOWLEDGING: [u16; 5] = [102, 200, 201, 202, 204];
/// How long a push token is good for.
const TOKEN_S: i64 = 3_600;
/// How long an unreachable Pub/Sub outside is left alone before the next try.
const OUTSIDE_RETRY: Duration = Duration::from_millis(500);

/// The client for everything that the sandbox sends by itself.
#[expect(
    clippy::disallowed_methods,
    reason = "the sandbox is the caller here, not the product; it uses nothing of ours"
)]
pub(crate) fn client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()
}

/// Delivers to push subscriptions until the sandbox stops.
pub(crate) async fn deliver(shared: Arc<Shared>) {
    let mut arrivals = shared.arrivals.subscribe();
    while !shared.stopping.is_cancelled() {
        arrivals.mark_unchanged();
        let (ready, next) = shared.look(|world| {
            let now = world.clock.now();
            (world.pubsub.push_ready(now), world.pubsub.push_next())
        });
        if ready.is_empty() {
            tokio::select! {
                () = shared.stopping.cancelled() => {}
                _ = arrivals.changed() => {}
                () = shared.clock.reached(next.unwrap_or(Timestamp::MAX)) => {}
            }
            continue;
        }
        futures::future::join_all(ready.iter().map(|name| deliver_round(&shared, name))).await;
    }
}

async fn deliver_round(shared: &Shared, name: &str) {
    let round = shared.with_world(|world| {
        let now = world.clock.now();
        let settings = &world.pubsub.subscriptions.get(name)?.settings;
        let (push, counted) = (settings.push.clone()?, settings.dead_letter.is_some());
        let items = world.pubsub.pull(name, ROUND_MAX, now, &mut world.dice)?;
        let token = push.service_account.is_some().then(|| sign(world, &push)).flatten();
        Some((push, counted, token, items))
    });
    let Some((push, counted, token, items)) = round else {
        return;
    };
    let sends = items.iter().map(|item| async {
        let acknowledged = send(shared, name, &push, token.as_deref(), item, counted).await;
        let settled = |world: &mut World| {
            let now = world.clock.now();
            world.pubsub.push_settled(name, &item.ack_id, acknowledged, now);
        };
        shared.with_world(settled);
    });
    futures::future::join_all(sends).await;
}

async fn send(
    shared: &Shared,
    name: &str,
    push: &PushConfig,
    token: Option<&str>,
    item: &Delivered,
    counted: bool,
) -> bool {
    let mut request = shared.http.post(&push.endpoint).json(&push_value(name, item, counted));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answered = tokio::select! {
        answered = request.send() => answered,
        () = shared.stopping.cancelled() => return false,
    };
    answered.is_ok_and(|response| ACKNOWLEDGING.contains(&response.status().as_u16()))
}

/// The token that proves that a delivery comes from the subscription's service account.
fn sign(world: &mut World, push: &PushConfig) -> Option<String> {
    let account = push.service_account.as_deref()?;
    let now = world.clock.now().as_second();
    let id = crate::accounts::sub_for(account);
    let claims = json!({
        "iss": world.identity.issuer(),
        "aud": push.audience.as_deref().unwrap_or(&push.endpoint),
        "azp": id,
        "sub": id,
        "email": account,
        "email_verified": true,
        "iat": now,
        "exp": now + TOKEN_S,
    });
    world.identity.sign_jwt(&claims).inspect_err(|error| tracing::error!(%error, "a push can't be signed")).ok()
}

// A Pub/Sub outside ---------------------------------------------------------------------------------------------------

/// Publishes Gmail's notices to the Pub/Sub outside until the sandbox stops; returns at once when there is none.
pub(crate) async fn forward(shared: Arc<Shared>) {
    let Some(host) = shared.outside_pubsub.clone() else {
        return;
    };
    let mut arrivals = shared.arrivals.subscribe();
    while !shared.stopping.is_cancelled() {
        arrivals.mark_unchanged();
        let (due, next) = shared.look(take_due);
        for notice in due {
            if publish(&shared, &host, &notice.topic, &notice.data).await.is_err() {
                tracing::warn!(topic = notice.topic, "the Pub/Sub outside did not take a notice; it is lost");
                shared.clock.held_back(OUTSIDE_RETRY).await;
            }
        }
        tokio::select! {
            () = shared.stopping.cancelled() => {}
            _ = arrivals.changed() => {}
            () = shared.clock.reached(next) => {}
        }
    }
}

/// The notices that leave now, and when the next one will.
fn take_due(world: &mut World) -> (Vec<Outgoing>, Timestamp) {
    let now = world.clock.now();
    let all = std::mem::take(&mut world.outgoing).into_iter();
    let (due, later): (Vec<Outgoing>, Vec<Outgoing>) = all.partition(|notice| notice.leaves_at <= now);
    world.outgoing = later.into();
    (due, world.outgoing.iter().map(|notice| notice.leaves_at).min().unwrap_or(Timestamp::MAX))
}

async fn publish(shared: &Shared, host: &str, topic: &str, data: &str) -> Result<StatusCode, reqwest::Error> {
    let body: Value = json!({"messages": [{"data": data}]});
    let response = shared.http.post(format!("http://{host}/v1/{topic}:publish")).json(&body).send().await?;
    Ok(response.status())
}

/// Tries a topic of the Pub/Sub outside as Gmail tries one: it has to be there and let Gmail publish.
pub(crate) async fn try_outside_topic(shared: &Shared, topic: &str) -> Result<(), ApiError> {
    let Some(host) = &shared.outside_pubsub else {
        return Ok(());
    };
    let answered = shared.http.get(format!("http://{host}/v1/{topic}")).send().await;
    match answered.map(|response| response.status()) {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) if status.is_client_error() && status != StatusCode::NOT_FOUND => Err(topic_forbidden(topic)),
        _ => Err(topic_missing(topic)),
    }
}

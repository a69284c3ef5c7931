//! Cloud Pub/Sub over REST, as far as somebody needs it who provisions a topic and a subscription and pulls (Pub/Sub
//! discovery document). A pull is held until something arrives or its time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Shared;
use crate::api_error::ApiError;
use crate::topics::{
    ACK_DEADLINE_S, DeadLetter, Delivered, Passage, Policy, Published, PushConfig, Subscription, SubscriptionSettings,
    TopicError, missing,
};
use crate::world::World;

/// Messages in one answer to a pull at most.
const PULL_MAX: usize = 1_000;
/// Longest body of a request (Google: 10 MB).
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Longest that a pull is held, whatever the world's settings say.
const PULL_WAIT_MAX: Duration = Duration::from_secs(90);
/// Acknowledgement ids in one request at most.
const ACK_IDS_MAX: usize = 2_500;
/// Seconds of retention: ten minutes to 31 days.
const RETENTION_S: std::ops::RangeInclusive<i64> = 600..=31 * 24 * 3_600;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/v1/projects/{*rest}", any(answer))
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match respond(&shared, &method, &uri, &headers, &body).await {
        Ok(value) => {
            let json = HeaderValue::from_static("application/json; charset=UTF-8");
            ([(header::CONTENT_TYPE, json)], value.to_string()).into_response()
        }
        Err(error) => error.plain().into_response(),
    }
}

async fn respond(
    shared: &Shared,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Value, ApiError> {
    check_caller(shared, headers)?;
    if body.len() > BODY_BYTES_MAX {
        return Err(ApiError::invalid_argument("Request payload size exceeds the limit: 10485760 bytes."));
    }
    let path = uri.path().trim_start_matches("/v1/");
    let (name, verb) = path.split_once(':').map_or((path, None), |(name, verb)| (name, Some(verb)));
    let kind = check_name(name)?;
    if (kind, verb) == (Kind::Subscription, Some("pull")) {
        return pull(shared, name, read(body)?).await;
    }
    shared.with_world(|world| {
        let now = world.clock.now();
        world.pubsub.expire(now);
        act(world, method, kind, name, verb, uri.query(), body, now)
    })
}

/// Anybody may call when the world says so, as with Google's emulator; otherwise a token has to be there.
fn check_caller(shared: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let carries_token = bearer.is_some_and(|value| value.len() > "Bearer ".len() && value.starts_with("Bearer "));
    if carries_token || shared.look(|world| world.settings.pubsub_anonymous) {
        return Ok(());
    }
    Err(ApiError::unauthenticated(crate::accounts::AuthFailure::Missing))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Topic,
    Subscription,
}

/// `projects/P/topics/T` or `projects/P/subscriptions/S`, with Google's rules for the last part.
fn check_name(name: &str) -> Result<Kind, ApiError> {
    let parts: Vec<&str> = name.split('/').collect();
    let (kind, short) = match parts.as_slice() {
        ["projects", project, "topics", short] if !project.is_empty() => (Kind::Topic, *short),
        ["projects", project, "subscriptions", short] if !project.is_empty() => (Kind::Subscription, *short),
        _ => return Err(ApiError::not_found()),
    };
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_.~+%".contains(letter);
    let good = (3..=255).contains(&short.len())
        && short.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && short.chars().all(letters)
        && !short.starts_with("goog");
    if good { Ok(kind) } else { Err(ApiError::invalid_argument(format!("Invalid resource name given (name={name})."))) }
}

fn read<'a, T: Deserialize<'a> + Default>(body: &'a Bytes) -> Result<T, ApiError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid_body(format!("Invalid JSON payload received. {error}")))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one HTTP request, taken apart once")]
fn act(
    world: &mut World,
    method: &Method,
    kind: Kind,
    name: &str,
    verb: Option<&str>,
    query: Option<&str>,
    body: &Bytes,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let pubsub = &mut world.pubsub;
    match (kind, verb, method.as_str()) {
        (_, Some("getIamPolicy"), "GET") => pubsub.policy(name).map(policy_value),
        (_, Some("setIamPolicy"), "POST") => set_policy(world, name, read(body)?),
        (_, Some("testIamPermissions"), "POST") => {
            pubsub.policy(name)?;
            let asked: PermissionsBody = read(body)?;
            Ok(json!({"permissions": asked.permissions}))
        }
        (Kind::Topic, None, "PUT") => {
            read::<Value>(body)?;
            pubsub.create_topic(name).map_err(|error| refused(error, name))?;
            Ok(json!({"name": name, "state": "ACTIVE"}))
        }
        (Kind::Topic, None, "GET") => match pubsub.topics.contains_key(name) {
            true => Ok(json!({"name": name, "state": "ACTIVE"})),
            false => Err(missing(name)),
        },
        (Kind::Topic, None, "DELETE") => {
            pubsub.delete_topic(name).map_err(|error| refused(error, name))?;
            Ok(json!({}))
        }
        (Kind::Topic, Some("publish"), "POST") => publish(world, name, read(body)?, now),
        (Kind::Subscription, None, "PUT") => create_subscription(world, name, read(body)?, now),
        (Kind::Subscription, None, "GET") => {
            let subscription = pubsub.subscriptions.get(name).ok_or_else(|| missing(name))?;
            Ok(subscription_value(name, subscription))
        }
        (Kind::Subscription, None, "PATCH") => patch_subscription(world, name, read(body)?, query),
        (Kind::Subscription, None, "DELETE") => match pubsub.subscriptions.remove(name) {
            Some(_) => Ok(json!({})),
            None => Err(missing(name)),
        },
        (Kind::Subscription, Some("acknowledge"), "POST") => {
            let asked: AckBody = read(body)?;
            asked.check()?;
            pubsub.acknowledge(name, &asked.ack_ids, now).map(|()| json!({})).ok_or_else(|| missing(name))
        }
        (Kind::Subscription, Some("modifyAckDeadline"), "POST") => {
            let asked: AckBody = read(body)?;
            asked.check()?;
            let seconds = asked.ack_deadline_seconds;
            if seconds > *ACK_DEADLINE_S.end() {
                return Err(ApiError::invalid_argument(
                    "Invalid ack deadline given (must be between 0 and 600 seconds).",
                ));
            }
            let done = pubsub.modify_deadline(name, &asked.ack_ids, seconds, now);
            done.map(|()| json!({})).ok_or_else(|| missing(name))
        }
        (Kind::Subscription, Some("modifyPushConfig"), "POST") => {
            let asked: ModifyPushBody = read(body)?;
            let subscription = pubsub.subscriptions.get_mut(name).ok_or_else(|| missing(name))?;
            subscription.settings.push = asked.push_config.and_then(PushBody::config);
            pubsub.arrivals += 1;
            Ok(json!({}))
        }
        _ => Err(ApiError::injected(501, None, None, now)),
    }
}

fn refused(error: TopicError, name: &str) -> ApiError {
    let short = name.rsplit('/').next().unwrap_or(name);
    match error {
        TopicError::Exists => {
            ApiError::already_exists(format!("Resource already exists in the project (resource={short})."))
        }
        TopicError::Missing => missing(name),
        TopicError::TooMany => ApiError::injected(429, None, None, Timestamp::UNIX_EPOCH),
    }
}

// Policies ------------------------------------------------------------------------------------------------------------

#[derive(Default, Deserialize)]
struct PermissionsBody {
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetPolicyBody {
    policy: PolicyBody,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PolicyBody {
    bindings: Vec<Binding>,
    etag: Option<String>,
}

#[derive(Deserialize)]
struct Binding {
    role: String,
    #[serde(default)]
    members: Vec<String>,
}

fn set_policy(world: &mut World, name: &str, asked: SetPolicyBody) -> Result<Value, ApiError> {
    let mut bindings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for binding in asked.policy.bindings {
        bindings.entry(binding.role).or_default().extend(binding.members);
    }
    world.pubsub.set_policy(name, bindings, asked.policy.etag.as_deref()).map(policy_value)
}

fn policy_value(policy: &Policy) -> Value {
    let mut value = json!({"version": 1, "etag": policy.etag()});
    if !policy.bindings.is_empty() {
        let bindings: Vec<Value> =
            policy.bindings.iter().map(|(role, members)| json!({"role": role, "members": members})).collect();
        value["bindings"] = bindings.into();
    }
    value
}

// Publishing ----------------------------------------------------------------------------------------------------------

#[derive(Default, Deserialize)]
struct PublishBody {
    #[serde(default)]
    messages: Vec<MessageBody>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MessageBody {
    data: String,
    attributes: BTreeMap<String, String>,
    ordering_key: String,
}

fn publish(world: &mut World, topic: &str, asked: PublishBody, now: Timestamp) -> Result<Value, ApiError> {
    if asked.messages.is_empty() || asked.messages.len() > PULL_MAX {
        return Err(ApiError::invalid_argument("The value for message_count is too small or too large."));
    }
    for message in &asked.messages {
        if message.data.is_empty() && message.attributes.is_empty() {
            return Err(ApiError::invalid_argument("A message must have either data or at least one attribute."));
        }
    }
    let mut ids = Vec::new();
    for message in asked.messages {
        let data = standard_base64(&message.data)?;
        let id = world.pubsub.publish(topic, data, message.attributes, message.ordering_key, Passage::default(), now);
        ids.push(id.ok_or_else(|| missing(topic))?);
    }
    Ok(json!({"messageIds": ids}))
}

/// Either alphabet may come in; the standard one goes out.
fn standard_base64(data: &str) -> Result<String, ApiError> {
    let standard: String = data.replace('-', "+").replace('_', "/");
    let engine = base64::engine::general_purpose::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let bytes = engine.decode(standard).map_err(|_| {
        ApiError::invalid_argument("Invalid value at 'messages[0].data' (TYPE_BYTES), Base64 decoding failed.")
    })?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

// Subscriptions -------------------------------------------------------------------------------------------------------

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SubscriptionBody {
    topic: String,
    ack_deadline_seconds: Option<u32>,
    message_retention_duration: Option<String>,
    expiration_policy: Option<ExpirationBody>,
    push_config: Option<PushBody>,
    retry_policy: Option<RetryBody>,
    dead_letter_policy: Option<DeadLetterBody>,
}

#[derive(Default, Deserialize)]
struct ExpirationBody {
    ttl: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PushBody {
    push_endpoint: String,
    oidc_token: Option<OidcBody>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OidcBody {
    service_account_email: String,
    audience: Option<String>,
}

impl PushBody {
    fn config(self) -> Option<PushConfig> {
        let (service_account, audience) =
            self.oidc_token.map_or((None, None), |token| (Some(token.service_account_email), token.audience));
        let audience = audience.filter(|audience| !audience.is_empty());
        Some(PushConfig { endpoint: self.push_endpoint, service_account, audience })
            .filter(|config| !config.endpoint.is_empty())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RetryBody {
    minimum_backoff: Option<String>,
    maximum_backoff: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DeadLetterBody {
    dead_letter_topic: String,
    max_delivery_attempts: u32,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PatchBody {
    subscription: SubscriptionBody,
    update_mask: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ModifyPushBody {
    push_config: Option<PushBody>,
}

fn create_subscription(
    world: &mut World,
    name: &str,
    asked: SubscriptionBody,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let mut settings = SubscriptionSettings::on(&asked.topic);
    apply(&mut settings, asked, |_| true)?;
    world.pubsub.create_subscription(name, settings, now).map_err(|error| match error {
        TopicError::Missing => ApiError::not_found_because("Resource not found (resource=topic)."),
        other => refused(other, name),
    })?;
    let subscription = world.pubsub.subscriptions.get(name).ok_or_else(|| missing(name))?;
    Ok(subscription_value(name, subscription))
}

fn patch_subscription(world: &mut World, name: &str, asked: PatchBody, query: Option<&str>) -> Result<Value, ApiError> {
    let in_query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "updateMask")
        .map(|(_, value)| value.into_owned());
    let mask = in_query.unwrap_or(asked.update_mask);
    let names: Vec<String> = mask.split(',').map(|name| camel(name.trim())).filter(|name| !name.is_empty()).collect();
    const KNOWN: [&str; 6] = [
        "ackDeadlineSeconds",
        "messageRetentionDuration",
        "expirationPolicy",
        "pushConfig",
        "retryPolicy",
        "deadLetterPolicy",
    ];
    if names.is_empty() || names.iter().any(|name| !KNOWN.contains(&name.as_str())) {
        return Err(ApiError::invalid_argument(format!("Invalid update_mask provided in the request: {mask}")));
    }
    let subscription = world.pubsub.subscriptions.get_mut(name).ok_or_else(|| missing(name))?;
    apply(&mut subscription.settings, asked.subscription, |field| names.iter().any(|name| name == field))?;
    let value = subscription_value(name, subscription);
    world.pubsub.arrivals += 1;
    Ok(value)
}

fn camel(snake: &str) -> String {
    let mut upper = false;
    let mut text = String::new();
    for letter in snake.chars() {
        match letter {
            '_' => upper = true,
            letter if upper => {
                text.push(letter.to_ascii_uppercase());
                upper = false;
            }
            letter => text.push(letter),
        }
    }
    text
}

fn apply(
    settings: &mut SubscriptionSettings,
    asked: SubscriptionBody,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), ApiError> {
    if wanted("ackDeadlineSeconds") {
        let seconds = asked.ack_deadline_seconds.filter(|seconds| *seconds != 0).unwrap_or(*ACK_DEADLINE_S.start());
        if !ACK_DEADLINE_S.contains(&seconds) {
            return Err(ApiError::invalid_argument(
                "Invalid ack deadline given (ack_deadline must be between 10 and 600 seconds).",
            ));
        }
        settings.ack_deadline_s = seconds;
    }
    let defaults = SubscriptionSettings::on(&settings.topic);
    if wanted("messageRetentionDuration") {
        let seconds = asked.message_retention_duration.as_deref().map(seconds).transpose()?;
        settings.retention_s = seconds.unwrap_or(defaults.retention_s);
        if !RETENTION_S.contains(&settings.retention_s) {
            return Err(ApiError::invalid_argument("Invalid message retention duration (10 minutes to 31 days)."));
        }
    }
    if wanted("expirationPolicy") {
        settings.expiration_s = match asked.expiration_policy {
            None => defaults.expiration_s,
            Some(ExpirationBody { ttl: None }) => None,
            Some(ExpirationBody { ttl: Some(ttl) }) => Some(seconds(&ttl)?),
        };
        if settings.expiration_s.is_some_and(|seconds| seconds < 24 * 3_600) {
            return Err(ApiError::invalid_argument("Invalid expiration policy: the ttl must be at least one day."));
        }
    }
    if wanted("pushConfig") {
        settings.push = asked.push_config.and_then(PushBody::config);
    }
    if wanted("retryPolicy") {
        let read = |text: &Option<String>, default| text.as_deref().map_or(Ok(default), seconds);
        let policy = asked
            .retry_policy
            .map(|policy| Ok((read(&policy.minimum_backoff, 10)?, read(&policy.maximum_backoff, 600)?)));
        settings.retry_s = policy.transpose()?;
    }
    if wanted("deadLetterPolicy") {
        settings.dead_letter = asked.dead_letter_policy.map(|policy| DeadLetter {
            topic: policy.dead_letter_topic,
            attempts_max: match policy.max_delivery_attempts {
                0 => 5,
                attempts => attempts.clamp(5, 100),
            },
        });
    }
    Ok(())
}

/// Google's way to write a span of time in JSON: seconds with an `s`.
fn seconds(text: &str) -> Result<i64, ApiError> {
    let number =
        text.strip_suffix('s').and_then(|number| number.split('.').next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        ApiError::invalid_argument(format!("Illegal duration format; duration must end with 's': {text}"))
    })
}

fn subscription_value(name: &str, subscription: &Subscription) -> Value {
    let settings = &subscription.settings;
    let expiration = settings.expiration_s.map_or_else(|| json!({}), |seconds| json!({"ttl": format!("{seconds}s")}));
    let push = settings.push.as_ref().map_or_else(
        || json!({}),
        |push| {
            let mut value = json!({"pushEndpoint": push.endpoint});
            if let Some(account) = &push.service_account {
                value["oidcToken"] = json!({"serviceAccountEmail": account});
                if let Some(audience) = &push.audience {
                    value["oidcToken"]["audience"] = json!(audience);
                }
            }
            value
        },
    );
    let mut value = json!({
        "name": name,
        "topic": settings.topic,
        "pushConfig": push,
        "ackDeadlineSeconds": settings.ack_deadline_s,
        "messageRetentionDuration": format!("{}s", settings.retention_s),
        "expirationPolicy": expiration,
        "state": "ACTIVE",
    });
    if let Some((least, most)) = settings.retry_s {
        value["retryPolicy"] = json!({"minimumBackoff": format!("{least}s"), "maximumBackoff": format!("{most}s")});
    }
    if let Some(letter) = &settings.dead_letter {
        value["deadLetterPolicy"] =
            json!({"deadLetterTopic": letter.topic, "maxDeliveryAttempts": letter.attempts_max});
    }
    value
}

// Pulling -------------------------------------------------------------------------------------------------------------

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PullBody {
    max_messages: usize,
    return_immediately: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AckBody {
    ack_ids: Vec<String>,
    ack_deadline_seconds: u32,
}

impl AckBody {
    fn check(&self) -> Result<(), ApiError> {
        if self.ack_ids.is_empty() || self.ack_ids.len() > ACK_IDS_MAX {
            return Err(ApiError::invalid_argument("No ack ids specified, or too many."));
        }
        Ok(())
    }
}

/// Holds the request until something can be handed out, the time is over, or the sandbox stops.
async fn pull(shared: &Shared, name: &str, asked: PullBody) -> Result<Value, ApiError> {
    if asked.max_messages == 0 {
        return Err(ApiError::invalid_argument(
            "The value for max_messages is too small. You passed 0 in the request.",
        ));
    }
    let messages_max = asked.max_messages.min(PULL_MAX);
    let mut arrivals = shared.arrivals.subscribe();
    let wait_ms = shared.look(|world| if asked.return_immediately { 0 } else { world.settings.pull_wait_ms });
    let over = async {
        // Even to wait for no time would mean to wait for the machine's next tick.
        if wait_ms > 0 {
            shared.clock.held_back(Duration::from_millis(wait_ms).min(PULL_WAIT_MAX)).await;
        }
    };
    tokio::pin!(over);
    loop {
        arrivals.mark_unchanged();
        let (handed, next, dead_letters) = shared.look(|world| {
            let now = world.clock.now();
            world.pubsub.expire(now);
            let handed = world.pubsub.pull(name, messages_max, now, &mut world.dice).ok_or_else(|| missing(name))?;
            let subscription = world.pubsub.subscriptions.get(name);
            let counted = subscription.is_some_and(|subscription| subscription.settings.dead_letter.is_some());
            Ok((handed, world.pubsub.available_at(name), counted))
        })?;
        if !handed.is_empty() {
            shared.with_world(|_| ());
            let items: Vec<Value> = handed.iter().map(|item| received_value(item, dead_letters)).collect();
            return Ok(json!({"receivedMessages": items}));
        }
        let next = next.unwrap_or(Timestamp::MAX);
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return Ok(json!({})),
            () = &mut over => return Ok(json!({})),
            _ = arrivals.changed() => {}
            () = shared.clock.reached(next) => {}
        }
    }
}

fn received_value(item: &Delivered, counts_deliveries: bool) -> Value {
    let mut value = json!({"ackId": item.ack_id, "message": message_value(&item.message)});
    if counts_deliveries {
        value["deliveryAttempt"] = json!(item.attempt);
    }
    value
}

fn message_value(message: &Published) -> Value {
    let mut value = json!({
        "data": message.data,
        "messageId": message.message_id,
        "publishTime": message.publish_time.to_string(),
    });
    if !message.attributes.is_empty() {
        value["attributes"] = json!(message.attributes);
    }
    if !message.ordering_key.is_empty() {
        value["orderingKey"] = json!(message.ordering_key);
    }
    value
}

/// What a push endpoint gets: every name twice, as Google writes them.
pub(crate) fn push_value(subscription: &str, item: &Delivered, counts_deliveries: bool) -> Value {
    let mut message = message_value(&item.message);
    message["message_id"] = message["messageId"].clone();
    message["publish_time"] = message["publishTime"].clone();
    if message.get("attributes").is_none() {
        message["attributes"] = json!({});
    }
    let mut value = json!({"message": message, "subscription": subscription});
    if counts_deliveries {
        value["deliveryAttempt"] = json!(item.attempt);
    }
    value
}

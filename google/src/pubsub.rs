//! Cloud Pub/Sub over REST: pulling notices, and setting up the topic and subscription that they come through.
//!
//! Source: Pub/Sub's discovery document and Gmail's push guide. Credentials come from Google's own crate. A reader must
//! not break: a policy is written back whole with its etag, so that nobody else's binding is lost; a message that
//! cannot be read is still handed out, because it has to be acknowledged.

use std::{collections::BTreeMap, fmt, time::Duration};

use base64::{
    Engine,
    alphabet::STANDARD as STANDARD_ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use google_cloud_auth::credentials::{self, AccessTokenCredentials};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    calls::{self, Call},
    error::{Error, ErrorKind, OperatorFault, Refusal},
    request::{Client, Request},
    wire,
};

/// What Pub/Sub is asked with. All our calls need no more than this scope.
const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";
/// The role that lets Gmail publish.
const PUBLISHER_ROLE: &str = "roles/pubsub.publisher";
/// How often a policy is read again after somebody else changed it meanwhile.
const GRANT_ATTEMPTS_MAX: u32 = 3;
/// The most ack ids in one request: 1,000 of about 200 bytes stay below Pub/Sub's 512 KiB.
const ACK_IDS_MAX: usize = 1000;
/// The most messages that Pub/Sub gives at once.
const PULL_MESSAGES_MAX: u16 = 1000;
/// How long Google's crate may take for an access token, its own repeats included.
const TOKEN_S_MAX: u64 = 30;
/// The longest deadline that Pub/Sub knows.
const ACK_DEADLINE_S_MAX: u32 = 600;

/// Who we are to Pub/Sub. Debug shows no secret.
#[derive(Clone)]
pub struct Credentials(Option<AccessTokenCredentials>);

/// Credentials that cannot be used. The sentence is for the operator; the cause is its source.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct CredentialsError {
    what: &'static str,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Credentials {
    /// Nobody: for an emulator, which wants no `Authorization`.
    pub fn anonymous() -> Self {
        Self(None)
    }

    /// From the text of a key file: a service account's key or a workload identity configuration.
    pub fn from_key_file(text: &str) -> Result<Self, CredentialsError> {
        let fault = |what| CredentialsError { what, source: None };
        let file: Value = serde_json::from_str(text).map_err(|_| fault("the credentials file is not JSON"))?;
        let built = match file["type"].as_str() {
            Some("service_account") => {
                let scopes = credentials::service_account::AccessSpecifier::from_scopes([SCOPE]);
                let builder = credentials::service_account::Builder::new(file).with_access_specifier(scopes);
                builder.build_access_token_credentials()
            }
            Some("external_account") => {
                let builder = credentials::external_account::Builder::new(file).with_scopes([SCOPE]);
                builder.build_access_token_credentials()
            }
            _ => {
                return Err(fault("the credentials file is of no known type: use service_account or external_account"));
            }
        };
        Self::built(built, "the credentials file lacks something: download it again")
    }

    /// What the surroundings offer: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's file, or the metadata server. Google's
    /// crate looks into the environment and makes its own connections for that; ours never carry those requests.
    pub fn ambient() -> Result<Self, CredentialsError> {
        let built = credentials::Builder::default().with_scopes([SCOPE]).build_access_token_credentials();
        Self::built(built, "there are no application default credentials here: name a credentials_file")
    }

    fn built<E: std::error::Error + Send + Sync + 'static>(
        built: Result<AccessTokenCredentials, E>,
        what: &'static str,
    ) -> Result<Self, CredentialsError> {
        built.map(|made| Self(Some(made))).map_err(|error| CredentialsError { what, source: Some(error.into()) })
    }

    async fn token(&self, call: &Call) -> Result<Option<SecretString>, Error> {
        let Some(held) = &self.0 else { return Ok(None) };
        let waited = tokio::time::timeout(Duration::from_secs(TOKEN_S_MAX), held.access_token()).await;
        let answered = waited.map_err(|error| Error::new(call.name, ErrorKind::Transient).caused_by(error))?;
        let token = answered.map_err(|error| {
            let what = "the Pub/Sub credentials give no access token".to_owned();
            let lasting = ErrorKind::Refused(Refusal::Operator(OperatorFault::Other(what)));
            let kind = if error.is_transient() { ErrorKind::Transient } else { lasting };
            Error::new(call.name, kind).caused_by(error)
        })?;
        Ok(Some(token.token.into()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Credentials(held)" } else { "Credentials(anonymous)" })
    }
}

/// Pub/Sub at one address with one identity. Names are written `projects/P/topics/T` and `projects/P/subscriptions/S`.
#[derive(Clone, Debug)]
pub struct PubSub {
    client: Client,
    base: String,
    credentials: Credentials,
}

/// A message that was pulled. It comes again unless it is acknowledged before its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What to acknowledge it with.
    pub ack_id: String,
    /// The same for each delivery of the same message.
    pub message_id: String,
    /// What was published; empty if it could not be decoded.
    pub data: Vec<u8>,
    /// What was published beside it.
    pub attributes: BTreeMap<String, String>,
    /// When it was published.
    pub publish_time: Option<Timestamp>,
    /// Which delivery this is; only with a dead letter topic.
    pub delivery_attempt: Option<u32>,
}

/// Whether something had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    New,
    /// It was there; its settings were not changed.
    Existed,
}

/// Whether something had to be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It was granted.
    New,
    /// It was granted before.
    Already,
}

/// A subscription to make. It never expires and keeps messages for seven days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// Its name.
    pub name: String,
    /// The topic that it gets messages from.
    pub topic: String,
    /// How long a message waits for its acknowledgement, 10 to 600 seconds.
    pub ack_deadline_s: u32,
    /// Where to push; none to be pulled.
    pub push: Option<PushSpec>,
}

/// Where and as whom Pub/Sub pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSpec {
    /// A public https address.
    pub endpoint: String,
    /// The e-mail address of the service account that signs.
    pub service_account: String,
    /// The `aud` of its tokens.
    pub audience: String,
}

/// A subscription as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// Its topic; `_deleted-topic_` if that is gone.
    pub topic: String,
    /// How long a message waits for its acknowledgement.
    pub ack_deadline_s: u32,
    /// Where it pushes; none if it is pulled. Parts that are not set are empty.
    pub push: Option<PushSpec>,
    /// Whether it stays when nobody uses it; otherwise Pub/Sub deletes it, after 31 days unless set otherwise.
    pub never_expires: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullAnswer {
    #[serde(default, deserialize_with = "wire::or_default")]
    received_messages: Vec<WireReceived>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireReceived {
    ack_id: String,
    #[serde(default, deserialize_with = "wire::or_default")]
    message: WireMessage,
    #[serde(default, deserialize_with = "wire::maybe_whole")]
    delivery_attempt: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct WireMessage {
    #[serde(default, deserialize_with = "wire::or_default")]
    data: String,
    #[serde(default, deserialize_with = "wire::or_default")]
    attributes: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "wire::or_default")]
    message_id: String,
    #[serde(default, deserialize_with = "wire::maybe_text")]
    publish_time: Option<String>,
}

impl From<WireReceived> for Received {
    fn from(WireReceived { ack_id, message, delivery_attempt }: WireReceived) -> Self {
        Self {
            ack_id,
            message_id: message.message_id,
            data: decode_base64_lenient(&message.data).unwrap_or_default(),
            attributes: message.attributes,
            publish_time: message.publish_time.and_then(|text| text.parse().ok()),
            delivery_attempt,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSubscription {
    #[serde(default)]
    topic: String,
    #[serde(default, deserialize_with = "wire::whole_or_zero")]
    ack_deadline_seconds: u32,
    #[serde(default, deserialize_with = "wire::or_default")]
    push_config: WirePush,
    expiration_policy: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WirePush {
    push_endpoint: String,
    #[serde(deserialize_with = "wire::or_default")]
    oidc_token: WireOidc,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireOidc {
    service_account_email: String,
    audience: String,
}

impl From<WireSubscription> for SubscriptionState {
    fn from(wire: WireSubscription) -> Self {
        let WirePush { push_endpoint: endpoint, oidc_token } = wire.push_config;
        let WireOidc { service_account_email: service_account, audience } = oidc_token;
        let push = (!endpoint.is_empty()).then_some(PushSpec { endpoint, service_account, audience });
        let never_expires = wire.expiration_policy.is_some_and(|policy| policy["ttl"].is_null() && policy.is_object());
        Self { topic: wire.topic, ack_deadline_s: wire.ack_deadline_seconds, push, never_expires }
    }
}

impl Client {
    /// Pub/Sub at `base`, such as `https://pubsub.googleapis.com`, or an emulator's `http://host:port`. With
    /// credentials the base must be https or on loopback; every call says so otherwise.
    pub fn pubsub(&self, base: &str, credentials: &Credentials) -> PubSub {
        PubSub { client: self.clone(), base: base.to_owned(), credentials: credentials.clone() }
    }
}

impl PubSub {
    async fn ask<T: DeserializeOwned>(&self, call: &'static Call, name: &str, body: Option<Value>) -> Result<T, Error> {
        let base =
            Url::parse(&self.base).map_err(|_| Error::unsent(call.name, "the address of Pub/Sub is not valid"))?;
        let token = self.credentials.token(call).await?;
        let mut request = Request::new(call, &base).argument(name);
        if let Some(token) = &token {
            request = request.bearer(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        if call.query.contains(&POLICY_VERSION) {
            request = request.query(POLICY_VERSION, "3");
        }
        self.client.read(request).await
    }

    /// Waits for messages, up to a minute and a half; none is an ordinary answer.
    pub async fn pull(&self, subscription: &str, max_messages: u16) -> Result<Vec<Received>, Error> {
        let body = json!({ "maxMessages": max_messages.clamp(1, PULL_MESSAGES_MAX) });
        let answer: PullAnswer = self.ask(&calls::PULL, subscription, Some(body)).await?;
        Ok(answer.received_messages.into_iter().map(Received::from).collect())
    }

    /// Says that messages were dealt with. Saying so twice, or of none, is fine; after the deadline it may not help.
    pub async fn acknowledge(&self, subscription: &str, ack_ids: &[String]) -> Result<(), Error> {
        self.about_acks(&calls::ACKNOWLEDGE, subscription, ack_ids, json!({ "ackIds": ack_ids })).await
    }

    /// Gives messages more time, counted from now; zero hands them out again at once.
    pub async fn modify_ack_deadline(&self, subscription: &str, ack_ids: &[String], seconds: u32) -> Result<(), Error> {
        let body = json!({ "ackIds": ack_ids, "ackDeadlineSeconds": seconds.min(ACK_DEADLINE_S_MAX) });
        self.about_acks(&calls::MODIFY_ACK_DEADLINE, subscription, ack_ids, body).await
    }

    async fn about_acks(&self, call: &'static Call, name: &str, ack_ids: &[String], body: Value) -> Result<(), Error> {
        match ack_ids.len() {
            0 => Ok(()),
            1..=ACK_IDS_MAX => self.ask(call, name, Some(body)).await.map(|_: Value| ()),
            _ => Err(Error::unsent(call.name, "more ack ids than fit into one request")),
        }
    }

    /// Publishes one message and gives its id. Pub/Sub wants data or at least one attribute.
    pub async fn publish(
        &self,
        topic: &str,
        data: &[u8],
        attributes: &BTreeMap<String, String>,
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Published {
            message_ids: Vec<String>,
        }
        let body = json!({ "messages": [{ "data": STANDARD.encode(data), "attributes": attributes }] });
        let published: Published = self.ask(&calls::TOPIC_PUBLISH, topic, Some(body)).await?;
        let nameless =
            || Error::new(calls::TOPIC_PUBLISH.name, ErrorKind::NotUnderstood).saying("no message id came back");
        published.message_ids.into_iter().next().ok_or_else(nameless)
    }

    /// Makes a topic unless it is there.
    pub async fn create_topic(&self, topic: &str) -> Result<Created, Error> {
        created(self.ask(&calls::TOPIC_CREATE, topic, Some(json!({}))).await)
    }

    /// Whether a topic is there.
    pub async fn topic_exists(&self, topic: &str) -> Result<bool, Error> {
        Ok(found(self.ask::<Value>(&calls::TOPIC_GET, topic, None).await)?.is_some())
    }

    /// Makes a subscription unless it is there; an existing one is not changed.
    pub async fn create_subscription(&self, spec: &SubscriptionSpec) -> Result<Created, Error> {
        let mut body = json!({
            "topic": spec.topic,
            "ackDeadlineSeconds": spec.ack_deadline_s,
            "messageRetentionDuration": "604800s",
            "expirationPolicy": {},
            "retryPolicy": { "minimumBackoff": "10s", "maximumBackoff": "600s" },
        });
        if let Some(push) = &spec.push {
            let oidc = json!({ "serviceAccountEmail": push.service_account, "audience": push.audience });
            body["pushConfig"] = json!({ "pushEndpoint": push.endpoint, "oidcToken": oidc });
        }
        created(self.ask(&calls::SUBSCRIPTION_CREATE, &spec.name, Some(body)).await)
    }

    /// A subscription as it is, or none if there is none.
    pub async fn subscription(&self, name: &str) -> Result<Option<SubscriptionState>, Error> {
        let answer = self.ask::<WireSubscription>(&calls::SUBSCRIPTION_GET, name, None).await;
        Ok(found(answer)?.map(SubscriptionState::from))
    }

    /// Whether `member` may publish to a topic, as far as the topic's own policy says.
    pub async fn may_publish(&self, topic: &str, member: &str) -> Result<bool, Error> {
        let mut policy: Map<String, Value> = self.ask(&calls::TOPIC_POLICY, topic, None).await?;
        Ok(!add_publisher(&mut policy, member))
    }

    /// Lets `member`, such as `serviceAccount:gmail-api-push@system.gserviceaccount.com`, publish to a topic. An
    /// organization that restricts sharing by domain answers [`Refusal::PreconditionFailed`]; an emulator
    /// [`Refusal::NotImplemented`].
    pub async fn grant_publisher(&self, topic: &str, member: &str) -> Result<Granted, Error> {
        let mut attempt = 1;
        loop {
            let mut policy: Map<String, Value> = self.ask(&calls::TOPIC_POLICY, topic, None).await?;
            if !add_publisher(&mut policy, member) {
                return Ok(Granted::Already);
            }
            match self.ask(&calls::TOPIC_SET_POLICY, topic, Some(json!({ "policy": policy }))).await {
                Ok(Value::Object(_)) => return Ok(Granted::New),
                Ok(_) => return Err(Error::new(calls::TOPIC_SET_POLICY.name, ErrorKind::NotUnderstood)),
                Err(error) if error.kind == ErrorKind::Refused(Refusal::Conflict) && attempt < GRANT_ATTEMPTS_MAX => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Asks for policies with conditions as they are; otherwise writing one back would lose them.
const POLICY_VERSION: &str = "options.requestedPolicyVersion";

/// Adds the publisher to a policy; false if it is there already. A binding with a condition does not count.
fn add_publisher(policy: &mut Map<String, Value>, member: &str) -> bool {
    let mut bindings = match policy.remove("bindings") {
        Some(Value::Array(bindings)) => bindings,
        _ => Vec::new(),
    };
    let plain = |binding: &&mut Value| binding["role"] == PUBLISHER_ROLE && binding["condition"].is_null();
    let members = bindings.iter_mut().find(plain).and_then(|binding| binding.get_mut("members")?.as_array_mut());
    let missing = members.as_ref().is_none_or(|members| !members.iter().any(|own| own == member));
    match members {
        Some(members) if missing => members.push(member.into()),
        Some(_) => {}
        None => bindings.push(json!({ "role": PUBLISHER_ROLE, "members": [member] })),
    }
    policy.insert("bindings".to_owned(), bindings.into());
    missing
}

fn created(answer: Result<Value, Error>) -> Result<Created, Error> {
    match answer {
        Err(error) if error.kind == ErrorKind::Refused(Refusal::Conflict) => Ok(Created::Existed),
        answer => answer.map(|_| Created::New),
    }
}

fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if error.kind == ErrorKind::Refused(Refusal::NotFound) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What Gmail says through Pub/Sub: look at this mailbox again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GmailNotice {
    /// The mailbox's primary address at that time, in lower case.
    pub email_address: String,
    /// The mailbox's history is at least there. A hint: never a cursor.
    pub history_id: Option<u64>,
}

/// Not a notice of Gmail's. Acknowledge it anyway; it won't get better.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not a notice of Gmail's: {0}")]
pub struct NoticeError(String);

/// The longest address that is accepted; the longest that e-mail knows.
const ADDRESS_LENGTH_MAX: usize = 320;

/// Reads a notice: `{"emailAddress":"…","historyId":…}`, the number as such or as a string (both were observed).
pub fn decode_gmail_notice(data: &[u8]) -> Result<GmailNotice, NoticeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        email_address: String,
        #[serde(default, deserialize_with = "hint")]
        history_id: Option<u64>,
    }
    let wire: Wire = wire::parse(data).map_err(NoticeError)?;
    if !wire.email_address.contains('@') || wire.email_address.len() > ADDRESS_LENGTH_MAX {
        return Err(NoticeError("it names no mailbox".to_owned()));
    }
    Ok(GmailNotice { email_address: wire.email_address.to_lowercase(), history_id: wire.history_id })
}

/// A number that is only a hint: anything else than a number is none, so that the notice still counts.
fn hint<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()))
}

/// Text that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data is not base64")]
pub struct NotBase64;

/// Reads base64 in either alphabet, with or without padding: Gmail documents one kind and Pub/Sub the other.
pub fn decode_base64_lenient(text: &str) -> Result<Vec<u8>, NotBase64> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD_ALPHABET,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(text.replace('-', "+").replace('_', "/")).map_err(|_| NotBase64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_both_kinds_is_read() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];
        for text in ["+//+AQ==", "-__-AQ==", "+//+AQ", "-__-AQ", "-_/-AQ="] {
            assert_eq!(decode_base64_lenient(text).as_deref(), Ok(&bytes[..]), "{text}");
        }
        assert_eq!(decode_base64_lenient("").as_deref(), Ok(&[][..]));
        for bad in ["A", "a b=", "ä", "===="] {
            assert!(decode_base64_lenient(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn notices_are_read_with_number_string_or_neither() {
        let read = |json: &str| decode_gmail_notice(json.as_bytes());
        for (json, history_id) in [
            (r#"{"emailAddress":"Ada@Example.com","historyId":9876543210}"#, Some(9_876_543_210)),
            (r#"{"emailAddress":"ada@example.com","historyId":"18446744073709551615"}"#, Some(u64::MAX)),
            (r#"{"emailAddress":"ada@example.com"}"#, None),
            (r#"{"emailAddress":"ada@example.com","historyId":-1,"more":[]}"#, None),
        ] {
            assert_eq!(
                read(json),
                Ok(GmailNotice { email_address: "ada@example.com".to_owned(), history_id }),
                "{json}"
            );
        }
        for bad in ["", "[]", "{}", r#"{"emailAddress":7}"#, r#"{"emailAddress":"nobody"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!(r#"{{"emailAddress":"{}@x"}}"#, "a".repeat(320))).is_err());
    }

    #[test]
    fn a_pulled_message_is_handed_out_whatever_it_holds() {
        let json = r#"{"receivedMessages":[
            {"ackId":"1","message":{"data":"aGk","messageId":"7","publishTime":"2026-11-22T10:00:00.5Z",
             "message_id":"7","attributes":{"a":"b"}},"deliveryAttempt":2},
            {"ackId":"2","message":{"data":"not base64!","messageId":"8","publishTime":"long ago"}},
            {"ackId":"3"}]}"#;
        let answer: PullAnswer = wire::parse(json.as_bytes()).unwrap();
        let all: Vec<_> = answer.received_messages.into_iter().map(Received::from).collect();
        assert_eq!((all[0].data.as_slice(), all[0].delivery_attempt), (&b"hi"[..], Some(2)));
        assert_eq!(all[0].publish_time, Some("2026-11-22T10:00:00.5Z".parse().unwrap()));
        assert_eq!(all[0].attributes["a"], "b");
        assert_eq!((all[1].data.is_empty(), all[1].publish_time, all[1].message_id.as_str()), (true, None, "8"));
        assert_eq!(all[2].ack_id, "3");
        assert!(wire::parse::<PullAnswer>(b"{}").unwrap().received_messages.is_empty());
    }

    #[test]
    fn a_subscription_says_whether_it_expires() {
        let read = |json: &str| SubscriptionState::from(wire::parse::<WireSubscription>(json.as_bytes()).unwrap());
        assert!(read(r#"{"topic":"t","expirationPolicy":{}}"#).never_expires);
        assert!(!read(r#"{"topic":"t","expirationPolicy":{"ttl":"2678400s"}}"#).never_expires);
        assert!(!read(r#"{"topic":"t"}"#).never_expires);
        assert_eq!(read(r#"{"topic":"t","pushConfig":{},"ackDeadlineSeconds":"10"}"#).push, None);
        let pushed = read(r#"{"pushConfig":{"pushEndpoint":"https://x","oidcToken":{"audience":"a"}}}"#).push.unwrap();
        assert_eq!((pushed.endpoint.as_str(), pushed.audience.as_str()), ("https://x", "a"));
    }

    #[test]
    fn a_policy_keeps_what_others_wrote() {
        let mut policy = json!({ "etag": "e", "version": 3, "bindings": [
            { "role": "roles/viewer", "members": ["user:a"] },
            { "role": PUBLISHER_ROLE, "members": ["user:m"], "condition": { "expression": "false" } },
        ]});
        let map = policy.as_object_mut().unwrap();
        assert!(add_publisher(map, "user:m"));
        assert!(!add_publisher(map, "user:m"));
        assert!(add_publisher(map, "user:n"));
        assert_eq!(
            policy,
            json!({ "etag": "e", "version": 3, "bindings": [
                { "role": "roles/viewer", "members": ["user:a"] },
                { "role": PUBLISHER_ROLE, "members": ["user:m"], "condition": { "expression": "false" } },
                { "role": PUBLISHER_ROLE, "members": ["user:m", "user:n"] },
            ]})
        );
        assert!(add_publisher(&mut Map::new(), "user:m"));
    }

    #[test]
    fn key_files_are_checked_and_never_shown() {
        for bad in
            ["", "[]", "{}", r#"{"type":"authorized_user"}"#, r#"{"type":"service_account","private_key":"PEM"}"#]
        {
            let error = Credentials::from_key_file(bad).unwrap_err();
            assert!(!error.to_string().contains("PEM"), "{error}");
        }
        assert_eq!(format!("{:?}", Credentials::anonymous()), "Credentials(anonymous)");
    }
}

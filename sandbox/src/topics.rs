//! Pub/Sub's truth: topics with their access policy, subscriptions with what waits in them. Delivery is at least once:
//! a message that is handed out and not acknowledged before its deadline is handed out again, with a new
//! acknowledgement id. No HTTP here; `pubsub.rs` speaks it for those who pull, `push.rs` for those who are called.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::dice::Dice;

/// Who publishes Gmail's notices (Gmail's push guide).
pub const GMAIL_PUBLISHER: &str = "serviceAccount:gmail-api-push@system.gserviceaccount.com";
/// The role that lets somebody publish to a topic.
pub const PUBLISHER_ROLE: &str = "roles/pubsub.publisher";
/// What a subscription names as its topic once the topic is gone (Pub/Sub discovery document).
const DELETED_TOPIC: &str = "_deleted-topic_";
/// Most topics, and most subscriptions (Google: 10,000 each for a project).
const RESOURCES_MAX: usize = 10_000;
/// Most messages that wait in one subscription; the oldest are dropped, so that a forgotten one can't fill the memory.
const WAITING_MAX: usize = 100_000;
/// Seconds that an acknowledgement deadline may have.
pub(crate) const ACK_DEADLINE_S: std::ops::RangeInclusive<u32> = 10..=600;
/// Without an expiration policy a subscription lives this long without activity.
const EXPIRATION_S_DEFAULT: i64 = 31 * 24 * 3_600;
/// How long messages wait by default.
const RETENTION_S_DEFAULT: i64 = 7 * 24 * 3_600;
/// The least back-off of a push subscription whose endpoint refuses.
const PUSH_BACKOFF_MS_MIN: i64 = 100;
/// The most.
const PUSH_BACKOFF_MS_MAX: i64 = 60_000;

/// Who may do what with a topic or subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Members by role.
    pub bindings: BTreeMap<String, BTreeSet<String>>,
    /// Rises with each change; the base of the etag.
    pub generation: u64,
}

impl Policy {
    /// Whether the member has the role.
    pub fn allows(&self, role: &str, member: &str) -> bool {
        self.bindings.get(role).is_some_and(|members| members.contains(member))
    }

    /// The etag that a writer has to send back.
    pub(crate) fn etag(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(self.generation.to_be_bytes())
    }
}

/// A topic.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Topic {
    /// Its access policy.
    pub policy: Policy,
    /// Messages published to it since it exists.
    pub published: u64,
}

/// A message as it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Decimal digits; unique in the sandbox.
    pub message_id: String,
    /// The data in standard base64.
    pub data: String,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
    /// When it was published.
    pub publish_time: Timestamp,
    /// Ordering key, empty when there is none. The sandbox promises no order either way.
    pub ordering_key: String,
}

/// A message that waits in a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    message: Published,
    /// Not handed out before this instant: a delay, or the deadline of the last delivery.
    available_at: Timestamp,
    attempts: u32,
    ack_id: Option<String>,
}

/// A message in the hands of a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// What to acknowledge.
    pub ack_id: String,
    /// The message.
    pub message: Published,
    /// Which delivery this is, from one.
    pub attempt: u32,
}

/// Where and how a push subscription delivers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushConfig {
    /// Address that gets the POST.
    pub endpoint: String,
    /// Service account in whose name the token is signed; no token when absent.
    pub service_account: Option<String>,
    /// Audience of the token; the endpoint when absent.
    pub audience: Option<String>,
}

/// Where undeliverable messages go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The topic.
    pub topic: String,
    /// Deliveries before it goes there.
    pub attempts_max: u32,
}

/// What a subscription is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionSettings {
    /// Full name of the topic.
    pub topic: String,
    /// Seconds until an unacknowledged message comes again.
    pub ack_deadline_s: u32,
    /// Seconds that a message waits at most.
    pub retention_s: i64,
    /// Seconds without activity until the subscription is deleted; `None` is never.
    pub expiration_s: Option<i64>,
    /// Push delivery; pull when absent.
    pub push: Option<PushConfig>,
    /// Seconds of back-off, least and most, after a negative acknowledgement; at once when absent.
    pub retry_s: Option<(i64, i64)>,
    /// Dead-letter policy.
    pub dead_letter: Option<DeadLetter>,
}

impl SubscriptionSettings {
    /// Google's defaults on a topic.
    pub fn on(topic: &str) -> SubscriptionSettings {
        SubscriptionSettings {
            topic: topic.to_owned(),
            ack_deadline_s: *ACK_DEADLINE_S.start(),
            retention_s: RETENTION_S_DEFAULT,
            expiration_s: Some(EXPIRATION_S_DEFAULT),
            push: None,
            retry_s: None,
            dead_letter: None,
        }
    }
}

/// A subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subscription {
    /// Its settings.
    pub settings: SubscriptionSettings,
    /// Its access policy.
    pub policy: Policy,
    waiting: VecDeque<Waiting>,
    active_at: Timestamp,
    /// Push: nothing is sent before this instant.
    push_from: Timestamp,
    push_backoff_ms: i64,
}

impl Subscription {
    /// Messages that are not acknowledged yet, handed out or not.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Back-off in force on a push subscription, in milliseconds; zero when its endpoint answers well.
    pub fn push_backoff_ms(&self) -> i64 {
        self.push_backoff_ms
    }

    fn drop_stale(&mut self, now: Timestamp) {
        let oldest = back(now, self.settings.retention_s);
        self.waiting.retain(|waiting| waiting.message.publish_time >= oldest);
    }
}

/// How a published message reaches the subscriptions; the injected mischief of a notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) delay_ms: i64,
    pub(crate) copies: u8,
    /// Ahead of what waits already.
    pub(crate) overtakes: bool,
}

/// All of Pub/Sub.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PubSub {
    /// Topics by full name, `projects/P/topics/T`.
    pub topics: BTreeMap<String, Topic>,
    /// Subscriptions by full name, `projects/P/subscriptions/S`.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// The organization forbids members of other customers in policies (domain restricted sharing).
    pub domain_restricted: bool,
    next_message: u64,
    /// Rises whenever a waiting reader could now find something.
    #[serde(skip)]
    pub(crate) arrivals: u64,
}

impl PubSub {
    /// Makes a topic. Gmail can't publish to it before its policy says so.
    pub fn create_topic(&mut self, name: &str) -> Result<(), TopicError> {
        if self.topics.len() >= RESOURCES_MAX {
            return Err(TopicError::TooMany);
        }
        if self.topics.contains_key(name) {
            return Err(TopicError::Exists);
        }
        self.topics.insert(name.to_owned(), Topic::default());
        Ok(())
    }

    /// Deletes a topic; its subscriptions stay and get nothing more.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), TopicError> {
        self.topics.remove(name).ok_or(TopicError::Missing)?;
        for subscription in self.subscriptions.values_mut().filter(|subscription| subscription.settings.topic == name) {
            DELETED_TOPIC.clone_into(&mut subscription.settings.topic);
        }
        Ok(())
    }

    /// Lets Gmail publish to a topic, as the operator has to.
    pub fn grant_publisher(&mut self, topic: &str) -> Result<(), TopicError> {
        let policy = &mut self.topics.get_mut(topic).ok_or(TopicError::Missing)?.policy;
        policy.bindings.entry(PUBLISHER_ROLE.to_owned()).or_default().insert(GMAIL_PUBLISHER.to_owned());
        policy.generation += 1;
        Ok(())
    }

    /// Makes a subscription.
    pub fn create_subscription(
        &mut self,
        name: &str,
        settings: SubscriptionSettings,
        now: Timestamp,
    ) -> Result<(), TopicError> {
        if self.subscriptions.len() >= RESOURCES_MAX {
            return Err(TopicError::TooMany);
        }
        if self.subscriptions.contains_key(name) {
            return Err(TopicError::Exists);
        }
        if !self.topics.contains_key(&settings.topic) {
            return Err(TopicError::Missing);
        }
        let subscription = Subscription {
            settings,
            policy: Policy::default(),
            waiting: VecDeque::new(),
            active_at: now,
            push_from: now,
            push_backoff_ms: 0,
        };
        self.subscriptions.insert(name.to_owned(), subscription);
        self.arrivals += 1;
        Ok(())
    }

    /// Publishes a message; its id, or nothing when there is no such topic.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        data: String,
        attributes: BTreeMap<String, String>,
        ordering_key: String,
        passage: Passage,
        now: Timestamp,
    ) -> Option<String> {
        self.topics.get_mut(topic)?.published += 1;
        self.next_message += 1;
        let message_id = format!("{}", 10_000_000_000_000_000 + self.next_message);
        let message = Published { message_id: message_id.clone(), data, attributes, publish_time: now, ordering_key };
        let available_at = later_ms(now, passage.delay_ms);
        for subscription in self.subscriptions.values_mut().filter(|subscription| subscription.settings.topic == topic)
        {
            for _ in 0..passage.copies.max(1) {
                let waiting = Waiting { message: message.clone(), available_at, attempts: 0, ack_id: None };
                if passage.overtakes {
                    subscription.waiting.push_front(waiting);
                } else {
                    subscription.waiting.push_back(waiting);
                }
            }
            while subscription.waiting.len() > WAITING_MAX {
                subscription.waiting.pop_front();
            }
        }
        self.arrivals += 1;
        Some(message_id)
    }

    /// Hands out at most `messages_max` messages and starts their deadlines. `None` when there is no such subscription.
    pub(crate) fn pull(
        &mut self,
        name: &str,
        messages_max: usize,
        now: Timestamp,
        dice: &mut Dice,
    ) -> Option<Vec<Delivered>> {
        let subscription = self.subscriptions.get_mut(name)?;
        subscription.active_at = now;
        subscription.drop_stale(now);
        let deadline = later_ms(now, i64::from(subscription.settings.ack_deadline_s) * 1_000);
        let mut handed = Vec::new();
        let mut dead = Vec::new();
        let dead_letter = subscription.settings.dead_letter.clone();
        for waiting in subscription.waiting.iter_mut().filter(|waiting| waiting.available_at <= now) {
            if handed.len() >= messages_max {
                break;
            }
            if dead_letter.as_ref().is_some_and(|letter| waiting.attempts >= letter.attempts_max) {
                dead.push(waiting.message.clone());
                continue;
            }
            waiting.attempts += 1;
            waiting.available_at = deadline;
            let ack_id = format!("{}-{}-{:016x}", waiting.message.message_id, waiting.attempts, dice.number());
            waiting.ack_id = Some(ack_id.clone());
            handed.push(Delivered { ack_id, message: waiting.message.clone(), attempt: waiting.attempts });
        }
        subscription
            .waiting
            .retain(|waiting| !dead.iter().any(|message| message.message_id == waiting.message.message_id));
        if let Some(letter) = dead_letter {
            for message in dead {
                let Published { data, attributes, ordering_key, .. } = message;
                self.publish(&letter.topic, data, attributes, ordering_key, Passage::default(), now);
            }
        }
        Some(handed)
    }

    /// Forgets acknowledged messages. An id whose message was handed out again since is without effect, as is a
    /// repeated one. `None` when there is no such subscription.
    pub(crate) fn acknowledge(&mut self, name: &str, ack_ids: &[String], now: Timestamp) -> Option<()> {
        let subscription = self.subscriptions.get_mut(name)?;
        subscription.active_at = now;
        let ack_ids: BTreeSet<&str> = ack_ids.iter().map(String::as_str).collect();
        subscription.waiting.retain(|waiting| !waiting.ack_id.as_deref().is_some_and(|id| ack_ids.contains(id)));
        Some(())
    }

    /// Gives messages another deadline from now; zero seconds hands them back at once (after the retry policy's least
    /// back-off). `None` when there is no such subscription.
    pub(crate) fn modify_deadline(
        &mut self,
        name: &str,
        ack_ids: &[String],
        seconds: u32,
        now: Timestamp,
    ) -> Option<()> {
        let subscription = self.subscriptions.get_mut(name)?;
        subscription.active_at = now;
        let retry_s = subscription.settings.retry_s;
        for waiting in &mut subscription.waiting {
            if !waiting.ack_id.as_ref().is_some_and(|id| ack_ids.contains(id)) {
                continue;
            }
            if seconds == 0 {
                waiting.ack_id = None;
                waiting.available_at = later_ms(now, retry_ms(retry_s, waiting.attempts));
            } else {
                waiting.available_at = later_ms(now, i64::from(seconds) * 1_000);
            }
        }
        self.arrivals += 1;
        Some(())
    }

    /// The next instant at which a subscription will have something to hand out; `None` when nothing waits in it.
    pub fn available_at(&self, name: &str) -> Option<Timestamp> {
        let subscription = self.subscriptions.get(name)?;
        let first = subscription.waiting.iter().map(|waiting| waiting.available_at).min()?;
        Some(if subscription.settings.push.is_some() { first.max(subscription.push_from) } else { first })
    }

    /// Names of the push subscriptions that may send now.
    pub(crate) fn push_ready(&self, now: Timestamp) -> Vec<String> {
        let push = self.subscriptions.iter().filter(|(_, subscription)| subscription.settings.push.is_some());
        push.map(|(name, _)| name.clone()).filter(|name| self.available_at(name).is_some_and(|at| at <= now)).collect()
    }

    /// The next instant at which any push subscription may send.
    pub(crate) fn push_next(&self) -> Option<Timestamp> {
        let push = self.subscriptions.iter().filter(|(_, subscription)| subscription.settings.push.is_some());
        push.filter_map(|(name, _)| self.available_at(name)).min()
    }

    /// What came of a push: an acknowledgement ends the back-off, a refusal doubles it for the whole subscription.
    pub(crate) fn push_settled(&mut self, name: &str, ack_id: &str, acknowledged: bool, now: Timestamp) {
        let ack_ids = [ack_id.to_owned()];
        if acknowledged {
            self.acknowledge(name, &ack_ids, now);
        } else {
            self.modify_deadline(name, &ack_ids, 0, now);
        }
        if let Some(subscription) = self.subscriptions.get_mut(name) {
            subscription.push_backoff_ms = match (acknowledged, subscription.push_backoff_ms) {
                (true, _) => 0,
                (false, 0) => PUSH_BACKOFF_MS_MIN,
                (false, before) => (before * 2).min(PUSH_BACKOFF_MS_MAX),
            };
            subscription.push_from = later_ms(now, subscription.push_backoff_ms);
        }
    }

    /// Deletes the subscriptions that nobody used for as long as their expiration policy allows.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.subscriptions.retain(|_, subscription| {
            let is_push = subscription.settings.push.is_some();
            let alive = |seconds| is_push || subscription.active_at >= back(now, seconds);
            subscription.settings.expiration_s.is_none_or(alive)
        });
    }

    /// Replaces a policy. A foreign etag is a conflict; under domain restricted sharing a new outside member is
    /// refused.
    pub(crate) fn set_policy(
        &mut self,
        name: &str,
        bindings: BTreeMap<String, BTreeSet<String>>,
        etag: Option<&str>,
    ) -> Result<&Policy, ApiError> {
        let restricted = self.domain_restricted;
        let policy = self.policy_mut(name)?;
        if etag.is_some_and(|etag| etag != policy.etag()) {
            return Err(ApiError::aborted(
                "There were concurrent policy changes. Please retry the whole read-modify-write with exponential \
                 backoff.",
            ));
        }
        let known = |role: &str, member: &str| policy.allows(role, member);
        let outsider = bindings
            .iter()
            .flat_map(|(role, members)| members.iter().map(move |member| (role, member)))
            .any(|(role, member)| member.ends_with("@system.gserviceaccount.com") && !known(role, member));
        if restricted && outsider {
            return Err(ApiError::failed_precondition(
                "One or more users named in the policy do not belong to a permitted customer, perhaps due to an \
                 organization policy.",
            ));
        }
        policy.bindings = bindings;
        policy.generation += 1;
        Ok(policy)
    }

    /// The policy of a topic or subscription.
    pub(crate) fn policy(&self, name: &str) -> Result<&Policy, ApiError> {
        let topic = self.topics.get(name).map(|topic| &topic.policy);
        let subscription = || self.subscriptions.get(name).map(|subscription| &subscription.policy);
        topic.or_else(subscription).ok_or_else(|| missing(name))
    }

    fn policy_mut(&mut self, name: &str) -> Result<&mut Policy, ApiError> {
        match (self.topics.get_mut(name), self.subscriptions.get_mut(name)) {
            (Some(topic), _) => Ok(&mut topic.policy),
            (None, Some(subscription)) => Ok(&mut subscription.policy),
            (None, None) => Err(missing(name)),
        }
    }
}

/// Why a topic or subscription could not be made or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The name is taken.
    #[error("a resource of this name exists already")]
    Exists,
    /// There is no such topic.
    #[error("there is no topic of this name")]
    Missing,
    /// The sandbox holds as many as it may.
    #[error("the sandbox holds no more than {RESOURCES_MAX} topics or subscriptions")]
    TooMany,
}

/// Pub/Sub's 404.
pub(crate) fn missing(name: &str) -> ApiError {
    let short = name.rsplit('/').next().unwrap_or(name);
    ApiError::not_found_because(format!("Resource not found (resource={short})."))
}

fn retry_ms(retry_s: Option<(i64, i64)>, attempts: u32) -> i64 {
    let Some((least, most)) = retry_s else { return 0 };
    let doubled = least.saturating_mul(1_i64.checked_shl(attempts.saturating_sub(1)).unwrap_or(i64::MAX).max(1));
    doubled.min(most).saturating_mul(1_000)
}

fn later_ms(now: Timestamp, ms: i64) -> Timestamp {
    now.saturating_add(SignedDuration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}

fn back(now: Timestamp, seconds: i64) -> Timestamp {
    now.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "projects/p/topics/notices";
    const SUBSCRIPTION: &str = "projects/p/subscriptions/intail";

    fn at(second: i64) -> Timestamp {
        Timestamp::new(1_794_000_000 + second, 0).unwrap()
    }

    fn pubsub(change: impl FnOnce(&mut SubscriptionSettings)) -> (PubSub, Dice) {
        let mut pubsub = PubSub::default();
        pubsub.create_topic(TOPIC).unwrap();
        let mut settings = SubscriptionSettings::on(TOPIC);
        change(&mut settings);
        pubsub.create_subscription(SUBSCRIPTION, settings, at(0)).unwrap();
        (pubsub, Dice::new(1))
    }

    fn publish(pubsub: &mut PubSub, data: &str, passage: Passage, now: Timestamp) {
        pubsub.publish(TOPIC, data.into(), BTreeMap::new(), String::new(), passage, now).unwrap();
    }

    fn pulled(pubsub: &mut PubSub, dice: &mut Dice, second: i64) -> Vec<Delivered> {
        pubsub.pull(SUBSCRIPTION, 10, at(second), dice).unwrap()
    }

    #[test]
    fn an_unacknowledged_message_comes_again_after_its_deadline() {
        let (mut pubsub, mut dice) = pubsub(|_| {});
        publish(&mut pubsub, "a", Passage::default(), at(0));
        let first = pulled(&mut pubsub, &mut dice, 0);
        assert_eq!(first.len(), 1);
        assert!(pulled(&mut pubsub, &mut dice, 9).is_empty());
        assert_eq!(pubsub.available_at(SUBSCRIPTION), Some(at(10)));
        let second = pulled(&mut pubsub, &mut dice, 10);
        assert_eq!(second[0].attempt, 2);
        pubsub.acknowledge(SUBSCRIPTION, &[first[0].ack_id.clone()], at(11)).unwrap();
        assert_eq!(pubsub.subscriptions[SUBSCRIPTION].waiting_count(), 1, "the old id is without effect");
        pubsub.acknowledge(SUBSCRIPTION, &[second[0].ack_id.clone()], at(11)).unwrap();
        assert_eq!(pubsub.subscriptions[SUBSCRIPTION].waiting_count(), 0);
    }

    #[test]
    fn a_negative_acknowledgement_hands_back_at_once_or_after_the_retry_policy() {
        let (mut now_again, mut dice) = pubsub(|_| {});
        publish(&mut now_again, "a", Passage::default(), at(0));
        let ids: Vec<String> = pulled(&mut now_again, &mut dice, 0).into_iter().map(|item| item.ack_id).collect();
        now_again.modify_deadline(SUBSCRIPTION, &ids, 0, at(1)).unwrap();
        assert_eq!(pulled(&mut now_again, &mut dice, 1).len(), 1);

        let (mut later, mut dice) = pubsub(|settings| settings.retry_s = Some((5, 600)));
        publish(&mut later, "a", Passage::default(), at(0));
        let ids: Vec<String> = pulled(&mut later, &mut dice, 0).into_iter().map(|item| item.ack_id).collect();
        later.modify_deadline(SUBSCRIPTION, &ids, 0, at(1)).unwrap();
        assert!(pulled(&mut later, &mut dice, 5).is_empty());
        assert_eq!(pulled(&mut later, &mut dice, 6).len(), 1);
    }

    #[test]
    fn copies_delay_and_overtaking() {
        let (mut pubsub, mut dice) = pubsub(|_| {});
        publish(&mut pubsub, "a", Passage { copies: 2, ..Passage::default() }, at(0));
        publish(&mut pubsub, "b", Passage { overtakes: true, ..Passage::default() }, at(0));
        publish(&mut pubsub, "c", Passage { delay_ms: 4_000, ..Passage::default() }, at(0));
        let order = |items: Vec<Delivered>| items.into_iter().map(|item| item.message.data).collect::<Vec<_>>();
        assert_eq!(order(pulled(&mut pubsub, &mut dice, 0)), ["b", "a", "a"]);
        assert_eq!(order(pulled(&mut pubsub, &mut dice, 4)), ["c"]);
    }

    #[test]
    fn after_too_many_attempts_a_message_goes_to_the_dead_letter_topic() {
        let dead = "projects/p/topics/dead";
        let letter = DeadLetter { topic: dead.into(), attempts_max: 5 };
        let (mut pubsub, mut dice) = pubsub(|settings| settings.dead_letter = Some(letter));
        pubsub.create_topic(dead).unwrap();
        publish(&mut pubsub, "a", Passage::default(), at(0));
        for attempt in 0..5 {
            assert_eq!(pulled(&mut pubsub, &mut dice, attempt * 10).len(), 1);
        }
        assert!(pulled(&mut pubsub, &mut dice, 50).is_empty());
        assert_eq!(pubsub.topics[dead].published, 1);
    }

    #[test]
    fn an_idle_subscription_expires_unless_it_never_does() {
        let (mut forgotten, _) = pubsub(|_| {});
        forgotten.expire(at(EXPIRATION_S_DEFAULT));
        assert_eq!(forgotten.subscriptions.len(), 1);
        forgotten.expire(at(EXPIRATION_S_DEFAULT + 1));
        assert_eq!(forgotten.subscriptions.len(), 0);
        let (mut kept, _) = pubsub(|settings| settings.expiration_s = None);
        kept.expire(at(10 * EXPIRATION_S_DEFAULT));
        assert_eq!(kept.subscriptions.len(), 1);
    }

    #[test]
    fn messages_older_than_the_retention_are_gone() {
        let (mut pubsub, mut dice) = pubsub(|settings| settings.retention_s = 600);
        publish(&mut pubsub, "a", Passage::default(), at(0));
        assert!(pulled(&mut pubsub, &mut dice, 601).is_empty());
    }

    #[test]
    fn a_policy_is_written_against_its_etag() {
        let (mut pubsub, _) = pubsub(|_| {});
        let etag = pubsub.policy(TOPIC).unwrap().etag();
        let bindings = BTreeMap::from([(PUBLISHER_ROLE.to_owned(), BTreeSet::from([GMAIL_PUBLISHER.to_owned()]))]);
        pubsub.set_policy(TOPIC, bindings.clone(), Some(&etag)).unwrap();
        assert!(pubsub.topics[TOPIC].policy.allows(PUBLISHER_ROLE, GMAIL_PUBLISHER));
        assert_eq!(pubsub.set_policy(TOPIC, bindings.clone(), Some(&etag)).unwrap_err().code, 409);
        pubsub.domain_restricted = true;
        assert!(pubsub.set_policy(TOPIC, bindings.clone(), None).is_ok(), "an existing member stays");
        pubsub.set_policy(TOPIC, BTreeMap::new(), None).unwrap();
        assert_eq!(pubsub.set_policy(TOPIC, bindings, None).unwrap_err().code, 400);
    }

    #[test]
    fn refused_pushes_slow_the_whole_subscription_down() {
        let push = PushConfig { endpoint: "http://127.0.0.1:1/".into(), ..PushConfig::default() };
        let (mut pubsub, mut dice) = pubsub(|settings| settings.push = Some(push));
        publish(&mut pubsub, "a", Passage::default(), at(0));
        assert_eq!(pubsub.push_ready(at(0)), [SUBSCRIPTION]);
        let first = pulled(&mut pubsub, &mut dice, 0);
        pubsub.push_settled(SUBSCRIPTION, &first[0].ack_id, false, at(0));
        assert_eq!(pubsub.subscriptions[SUBSCRIPTION].push_backoff_ms(), 100);
        assert!(pubsub.push_ready(at(0)).is_empty());
        let second = pulled(&mut pubsub, &mut dice, 1);
        pubsub.push_settled(SUBSCRIPTION, &second[0].ack_id, false, at(1));
        assert_eq!(pubsub.subscriptions[SUBSCRIPTION].push_backoff_ms(), 200);
        let third = pulled(&mut pubsub, &mut dice, 2);
        pubsub.push_settled(SUBSCRIPTION, &third[0].ack_id, true, at(2));
        assert_eq!(pubsub.subscriptions[SUBSCRIPTION].push_backoff_ms(), 0);
    }
}

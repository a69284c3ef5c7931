//! Gmail's push registrations and the notices that follow from them. A notice carries no data: an address and an id to
//! look again from. At most one leaves per second and person, the rest is dropped without a word; nothing here may make
//! a notice more reliable than Google's.

use std::collections::BTreeSet;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::accounts::Caller;
use crate::api_error::ApiError;
use crate::history::Record;
use crate::topics::{GMAIL_PUBLISHER, PUBLISHER_ROLE, Passage};
use crate::world::{World, later_ms};

/// How long a watch lives (Gmail's push guide).
const WATCH_S: i64 = 7 * 24 * 3_600;
/// Notices that may wait for an outside Pub/Sub; more are dropped, oldest first.
const OUTGOING_MAX: usize = 10_000;
/// Labels whose changes were seen to cause notices whatever labels the watch names.
const ALWAYS_NOTICED: [&str; 2] = ["DRAFT", "SENT"];

/// One push registration of one mailbox by one Cloud project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Full topic name.
    pub topic: String,
    /// Labels to filter by; empty means every change.
    pub label_ids: BTreeSet<String>,
    /// The labels are excluded instead of included.
    pub excludes: bool,
    /// When it dies unless it is renewed.
    pub expires_at: Timestamp,
}

impl Watch {
    fn wants(&self, record: &Record) -> bool {
        if self.label_ids.is_empty() || ALWAYS_NOTICED.iter().any(|label_id| record.touches(label_id)) {
            return true;
        }
        self.label_ids.iter().any(|label_id| record.touches(label_id)) != self.excludes
    }
}

/// How notices are written and what happens to them on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticeSettings {
    /// Least milliseconds between two notices of one person; what comes sooner is dropped.
    pub gap_ms: i64,
    /// `historyId` is a JSON string, as documented, instead of a number, as observed.
    pub history_id_as_text: bool,
    /// Per cent of notices that never arrive.
    pub lost_percent: u8,
    /// Per cent that arrive twice.
    pub duplicated_percent: u8,
    /// Per cent that overtake everything that waits.
    pub reordered_percent: u8,
    /// Per cent that arrive late.
    pub delayed_percent: u8,
    /// How late at most, in milliseconds.
    pub delay_ms_max: u64,
}

impl Default for NoticeSettings {
    fn default() -> NoticeSettings {
        NoticeSettings {
            gap_ms: 1_000,
            history_id_as_text: false,
            lost_percent: 0,
            duplicated_percent: 0,
            reordered_percent: 0,
            delayed_percent: 0,
            delay_ms_max: 30_000,
        }
    }
}

/// A notice on its way to a Pub/Sub outside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) data: String,
    pub(crate) leaves_at: Timestamp,
}

/// The arguments of `users.watch`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WatchRequest {
    #[serde(default)]
    pub(crate) topic_name: String,
    #[serde(default)]
    label_ids: Vec<String>,
    label_filter_behavior: Option<String>,
    label_filter_action: Option<String>,
}

impl WatchRequest {
    fn excludes(&self) -> Result<bool, ApiError> {
        let word = self.label_filter_behavior.as_ref().or(self.label_filter_action.as_ref());
        match word.map(|word| word.to_ascii_lowercase()).as_deref() {
            None | Some("include") => Ok(false),
            Some("exclude") => Ok(true),
            Some(_) => Err(ApiError::invalid_argument("Invalid value at 'label_filter_behavior'")),
        }
    }
}

impl World {
    /// Whether the topic is one that this project may name.
    pub(crate) fn check_topic_name(caller: &Caller, topic: &str) -> Result<(), ApiError> {
        let prefix = format!("projects/{}/topics/", caller.project);
        let short = topic.strip_prefix(&prefix).filter(|short| !short.is_empty() && !short.contains('/'));
        short
            .map(|_| ())
            .ok_or_else(|| ApiError::invalid_argument(format!("Invalid topicName does not match {prefix}*")))
    }

    /// Publishes to a topic as Gmail does when it tries whether it may.
    fn try_topic(&self, topic: &str) -> Result<(), ApiError> {
        let Some(found) = self.pubsub.topics.get(topic) else {
            return Err(topic_missing(topic));
        };
        if found.policy.allows(PUBLISHER_ROLE, GMAIL_PUBLISHER) { Ok(()) } else { Err(topic_forbidden(topic)) }
    }

    /// `users.watch`. The topic of an outside Pub/Sub has been tried by the caller of this.
    pub(crate) fn watch(&mut self, caller: &Caller, request: &WatchRequest) -> Result<Value, ApiError> {
        let now = self.clock.now();
        let excludes = request.excludes()?;
        World::check_topic_name(caller, &request.topic_name)?;
        if !self.publishes_outside {
            self.try_topic(&request.topic_name)?;
        }
        let mailbox = self.mail.get_mut(&caller.sub).ok_or_else(ApiError::no_mailbox)?;
        if let Some(unknown) =
            request.label_ids.iter().find(|id| mailbox.label(id).is_none_or(|label| label.id != **id))
        {
            return Err(ApiError::invalid_argument(format!("Invalid label: {unknown}")));
        }
        let other = mailbox.watches.get(&caller.project).filter(|watch| watch.expires_at > now);
        if other.is_some_and(|watch| watch.topic != request.topic_name) {
            return Err(ApiError::invalid_argument(
                "Only one user push notification client allowed per developer (call /stop then try again)",
            ));
        }
        let expires_at = later_ms(now, WATCH_S * 1_000);
        let label_ids = request.label_ids.iter().cloned().collect();
        let watch = Watch { topic: request.topic_name.clone(), label_ids, excludes, expires_at };
        mailbox.watches.insert(caller.project.clone(), watch);
        let history_id = mailbox.history().current();
        mailbox.last_notice_ms = Some(now.as_millisecond());
        self.send_notice(&caller.sub, &request.topic_name, history_id);
        Ok(json!({
            "historyId": history_id.to_string(),
            "expiration": expires_at.as_millisecond().to_string(),
        }))
    }

    /// `users.stop`; nothing happens when nothing is watched.
    pub(crate) fn stop_watch(&mut self, caller: &Caller) -> Result<(), ApiError> {
        let mailbox = self.mail.get_mut(&caller.sub).ok_or_else(ApiError::no_mailbox)?;
        mailbox.watches.remove(&caller.project);
        Ok(())
    }

    /// Google forgets an account's registrations before their time, and tells nobody.
    pub fn lapse_watches(&mut self, email: &str) {
        let sub = self.identity.person_by_email(email).map(|person| person.sub.clone());
        if let Some(mailbox) = sub.and_then(|sub| self.mail.get_mut(&sub)) {
            mailbox.watches.clear();
        }
    }

    /// Sends notices for everything recorded after `since`, as far as the cap lets them through.
    pub(crate) fn notice_changes(&mut self, sub: &str, since: u64) {
        let now = self.clock.now();
        let gap_ms = self.settings.notices.gap_ms;
        let Some(mailbox) = self.mail.get_mut(sub) else { return };
        mailbox.watches.retain(|_, watch| watch.expires_at > now);
        let fresh = || mailbox.history.records().rev().take_while(|record| record.id > since);
        let wanting = mailbox.watches.values().filter(|watch| fresh().any(|record| watch.wants(record)));
        let topics: Vec<String> = wanting.map(|watch| watch.topic.clone()).collect();
        let capped = mailbox.last_notice_ms.is_some_and(|last| now.as_millisecond() - last < gap_ms);
        if topics.is_empty() || capped {
            return;
        }
        mailbox.last_notice_ms = Some(now.as_millisecond());
        let history_id = mailbox.history.current();
        for topic in topics {
            self.send_notice(sub, &topic, history_id);
        }
    }

    fn send_notice(&mut self, sub: &str, topic: &str, history_id: u64) {
        let Some(person) = self.identity.people.get(sub) else {
            return;
        };
        let settings = self.settings.notices.clone();
        if self.dice.percent(settings.lost_percent) {
            return;
        }
        let history_id = if settings.history_id_as_text { json!(history_id.to_string()) } else { json!(history_id) };
        let text = json!({"emailAddress": person.email, "historyId": history_id}).to_string();
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        let late = self.dice.percent(settings.delayed_percent);
        let delay_ms = if late { self.dice.below(settings.delay_ms_max.saturating_add(1)) } else { 0 };
        let passage = Passage {
            delay_ms: i64::try_from(delay_ms).unwrap_or(i64::MAX),
            copies: if self.dice.percent(settings.duplicated_percent) { 2 } else { 1 },
            overtakes: self.dice.percent(settings.reordered_percent),
        };
        self.publish_as_gmail(topic, data, passage);
    }

    /// A topic that has gone or shut Gmail out since the watch was set loses its notices without a word.
    fn publish_as_gmail(&mut self, topic: &str, data: String, passage: Passage) {
        let now = self.clock.now();
        if self.publishes_outside {
            for _ in 0..passage.copies {
                let leaves_at = now.saturating_add(SignedDuration::from_millis(passage.delay_ms)).unwrap_or(now);
                self.outgoing.push_back(Outgoing { topic: topic.to_owned(), data: data.clone(), leaves_at });
            }
            while self.outgoing.len() > OUTGOING_MAX {
                self.outgoing.pop_front();
            }
            self.pubsub.arrivals += 1;
        } else if self.try_topic(topic).is_ok() {
            self.pubsub.publish(topic, data, std::collections::BTreeMap::new(), String::new(), passage, now);
        }
    }
}

/// Gmail's answer when the topic of a watch doesn't exist.
pub(crate) fn topic_missing(topic: &str) -> ApiError {
    let short = topic.rsplit('/').next().unwrap_or(topic);
    ApiError::not_found_because(format!(
        "Error sending test message to Cloud PubSub {topic} : Resource not found (resource={short})."
    ))
}

/// Gmail's answer when it may not publish to the topic of a watch.
pub(crate) fn topic_forbidden(topic: &str) -> ApiError {
    ApiError::forbidden(format!(
        "Error sending test message to Cloud PubSub {topic} : User not authorized to perform this action."
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::topics::SubscriptionSettings;
    use crate::world::tests::{caller, empty_world, sub};

    const TOPIC: &str = "projects/intail-demo/topics/notices";
    const SUBSCRIPTION: &str = "projects/intail-demo/subscriptions/intail";

    fn request(topic: &str) -> WatchRequest {
        WatchRequest { topic_name: topic.into(), ..WatchRequest::default() }
    }

    fn world() -> World {
        let mut world = empty_world();
        let now = world.clock.now();
        world.pubsub.create_topic(TOPIC).unwrap();
        world.pubsub.grant_publisher(TOPIC).unwrap();
        world.pubsub.create_subscription(SUBSCRIPTION, SubscriptionSettings::on(TOPIC), now).unwrap();
        world
    }

    fn notices(world: &mut World) -> Vec<Value> {
        let now = world.clock.now();
        let items = world.pubsub.pull(SUBSCRIPTION, 100, now, &mut world.dice).unwrap();
        let ids: Vec<String> = items.iter().map(|item| item.ack_id.clone()).collect();
        world.pubsub.acknowledge(SUBSCRIPTION, &ids, now).unwrap();
        let decode = |data: &str| base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        items.iter().map(|item| serde_json::from_slice(&decode(&item.message.data)).unwrap()).collect()
    }

    fn pass(world: &World, seconds: u64) {
        world.clock.advance(Duration::from_secs(seconds));
    }

    #[test]
    fn a_watch_needs_a_topic_of_the_project_that_exists_and_lets_gmail_publish() {
        let mut world = world();
        let foreign = world.watch(&caller(), &request("projects/other/topics/notices")).unwrap_err();
        assert_eq!(foreign.message, "Invalid topicName does not match projects/intail-demo/topics/*");
        let missing = world.watch(&caller(), &request("projects/intail-demo/topics/none")).unwrap_err();
        assert_eq!((missing.code, missing.reason), (404, "notFound"));
        assert!(
            missing.message.starts_with("Error sending test message to Cloud PubSub projects/intail-demo/topics/none")
        );
        world.pubsub.create_topic("projects/intail-demo/topics/shut").unwrap();
        let shut = world.watch(&caller(), &request("projects/intail-demo/topics/shut")).unwrap_err();
        assert_eq!((shut.code, shut.reason), (403, "forbidden"));
        assert!(shut.message.ends_with("User not authorized to perform this action."));
    }

    #[test]
    fn one_push_client_for_each_mailbox_and_project() {
        let mut world = world();
        let other = "projects/intail-demo/topics/other";
        world.pubsub.create_topic(other).unwrap();
        world.pubsub.grant_publisher(other).unwrap();
        world.watch(&caller(), &request(TOPIC)).unwrap();
        world.watch(&caller(), &request(TOPIC)).unwrap();
        let refused = world.watch(&caller(), &request(other)).unwrap_err();
        assert!(refused.message.starts_with("Only one user push notification client allowed per developer"));
        world.stop_watch(&caller()).unwrap();
        world.stop_watch(&caller()).unwrap();
        world.watch(&caller(), &request(other)).unwrap();
    }

    #[test]
    fn a_watch_notices_at_once_and_then_at_most_once_a_second() {
        let mut world = world();
        let answer = world.watch(&caller(), &request(TOPIC)).unwrap();
        let first = notices(&mut world);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0]["historyId"].as_u64().unwrap().to_string(), answer["historyId"].as_str().unwrap());
        assert_eq!(first[0]["emailAddress"], "ines@example.com");
        world.receive_sample(&sub());
        assert_eq!(notices(&mut world).len(), 0, "within the second it is dropped");
        pass(&world, 1);
        world.receive_sample(&sub());
        world.receive_sample(&sub());
        assert_eq!(notices(&mut world).len(), 1);
    }

    #[test]
    fn a_watch_dies_after_seven_days() {
        let mut world = world();
        let answer = world.watch(&caller(), &request(TOPIC)).unwrap();
        let expiration: i64 = answer["expiration"].as_str().unwrap().parse().unwrap();
        assert_eq!(expiration, world.clock.now().as_millisecond() + WATCH_S * 1_000);
        notices(&mut world);
        pass(&world, 7 * 24 * 3_600);
        world.receive_sample(&sub());
        assert_eq!(notices(&mut world).len(), 0);
    }

    #[test]
    fn notices_can_be_lost_doubled_and_written_as_text() {
        let mut world = world();
        world.settings.notices = NoticeSettings { gap_ms: 0, lost_percent: 100, ..NoticeSettings::default() };
        world.watch(&caller(), &request(TOPIC)).unwrap();
        assert_eq!(notices(&mut world).len(), 0);
        world.settings.notices = NoticeSettings {
            gap_ms: 0,
            duplicated_percent: 100,
            history_id_as_text: true,
            ..NoticeSettings::default()
        };
        world.receive_sample(&sub());
        let twice = notices(&mut world);
        assert_eq!(twice.len(), 2);
        assert!(twice[0]["historyId"].is_string());
    }

    #[test]
    fn a_label_filter_lets_sent_mail_through_all_the_same() {
        let mut world = world();
        world.settings.notices.gap_ms = 0;
        let starred = WatchRequest { label_ids: vec!["STARRED".into()], ..request(TOPIC) };
        world.watch(&caller(), &starred).unwrap();
        notices(&mut world);
        let id = world.receive_sample(&sub());
        assert_eq!(notices(&mut world).len(), 0);
        world.label(&sub(), &id, &["STARRED"], &[]).unwrap();
        assert_eq!(notices(&mut world).len(), 1);
        let unknown = WatchRequest { label_ids: vec!["Label_99".into()], ..request(TOPIC) };
        assert_eq!(world.watch(&caller(), &unknown).unwrap_err().code, 400);
    }
}

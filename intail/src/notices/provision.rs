//! Makes what notices come through: the topic, Gmail's right to publish to it, and the subscription.
//!
//! Every step looks before it makes, so that it also works with rights to look only, and can be repeated at any time. A
//! reader must not break that the order is topic, publisher, subscription: Gmail can't publish before the second, and
//! the third needs the first. Source: Gmail's push guide and Pub/Sub's reference.

use intail_google::pubsub::{Created, Granted, PubSub, PushSpec, SubscriptionSpec, SubscriptionState};
use intail_google::{Error, ErrorKind, Refusal};

use crate::config::{self, PUBSUB_PUSH, PubSubMode, PublicUrl};

/// As whom Gmail publishes. Source: Gmail's push guide.
pub const GMAIL_PUBLISHER: &str = "serviceAccount:gmail-api-push@system.gserviceaccount.com";

/// How long a notice waits for its acknowledgement before it comes again. Marking a batch takes milliseconds; a minute
/// leaves room for a database that is busy, and is short enough after a crash.
const ACK_DEADLINE_S: u32 = 60;

/// What provisioning did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// Whether the topic had to be made.
    pub topic: Created,
    /// Whether Gmail's right had to be granted.
    pub publisher: Publisher,
    /// Whether the subscription had to be made.
    pub subscription: Created,
}

/// What became of Gmail's right to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// It was granted.
    Granted,
    /// It was granted before.
    Already,
    /// This server knows no rights: Google's emulator.
    Unsupported,
}

/// What is provisioned, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The topic.
    Topic,
    /// Gmail's right to publish to it.
    Publisher,
    /// The subscription.
    Subscription,
}

/// A step that failed. The sentence is for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{}", sentence(*.step, .source))]
pub struct ProvisionError {
    /// Which.
    pub step: Step,
    /// Why.
    #[source]
    pub source: Error,
}

fn sentence(step: Step, error: &Error) -> String {
    let what = match step {
        Step::Topic => "The Pub/Sub topic can't be looked at or made",
        Step::Publisher => "Gmail can't be given the right to publish to the Pub/Sub topic",
        Step::Subscription => "The Pub/Sub subscription can't be looked at or made",
    };
    match &error.kind {
        // Domain Restricted Sharing, which Google sets for organizations made since May 2024.
        ErrorKind::Refused(Refusal::PreconditionFailed(_)) if step == Step::Publisher => format!(
            "{what}: your Google Cloud organization restricts sharing to its own domains. Allow the service account \
             gmail-api-push@system.gserviceaccount.com for this project in the policy iam.allowedPolicyMemberDomains."
        ),
        ErrorKind::Refused(Refusal::Forbidden) => {
            format!("{what}: the service account lacks the right. Give it roles/pubsub.editor while you set up.")
        }
        kind => format!("{what}: {kind}."),
    }
}

/// Makes whatever is missing of the three.
pub async fn provision(
    pubsub: &PubSub,
    settings: &config::PubSub,
    public_url: &PublicUrl,
) -> Result<Provisioned, ProvisionError> {
    let topic = topic(pubsub, settings).await?;
    let publisher = publisher(pubsub, settings).await?;
    let subscription = subscription(pubsub, settings, public_url).await?;
    Ok(Provisioned { topic, publisher, subscription })
}

/// Makes the topic unless it is there.
pub async fn topic(pubsub: &PubSub, settings: &config::PubSub) -> Result<Created, ProvisionError> {
    let failed = |source| ProvisionError { step: Step::Topic, source };
    // Being forbidden to look doesn't mean being forbidden to make.
    if let Ok(true) = pubsub.topic_exists(&settings.topic).await {
        return Ok(Created::Existed);
    }
    pubsub.create_topic(&settings.topic).await.map_err(failed)
}

/// Lets Gmail publish unless it may already.
pub async fn publisher(pubsub: &PubSub, settings: &config::PubSub) -> Result<Publisher, ProvisionError> {
    match pubsub.grant_publisher(&settings.topic, GMAIL_PUBLISHER).await {
        Ok(Granted::New) => Ok(Publisher::Granted),
        Ok(Granted::Already) => Ok(Publisher::Already),
        Err(error) if error.kind == ErrorKind::Refused(Refusal::NotImplemented) => Ok(Publisher::Unsupported),
        Err(source) => Err(ProvisionError { step: Step::Publisher, source }),
    }
}

/// Makes the subscription unless it is there. The topic has to be there.
pub async fn subscription(
    pubsub: &PubSub,
    settings: &config::PubSub,
    public_url: &PublicUrl,
) -> Result<Created, ProvisionError> {
    if let Ok(Some(_)) = pubsub.subscription(&settings.subscription).await {
        return Ok(Created::Existed);
    }
    let spec = specification(settings, public_url);
    pubsub.create_subscription(&spec).await.map_err(|source| ProvisionError { step: Step::Subscription, source })
}

/// The subscription as Intail wants it.
fn specification(settings: &config::PubSub, public_url: &PublicUrl) -> SubscriptionSpec {
    let push = match &settings.mode {
        PubSubMode::Pull => None,
        PubSubMode::Push { audience, service_account } => Some(PushSpec {
            endpoint: public_url.page(PUBSUB_PUSH),
            service_account: service_account.clone(),
            audience: audience.clone(),
        }),
    };
    SubscriptionSpec {
        name: settings.subscription.clone(),
        topic: settings.topic.clone(),
        ack_deadline_s: ACK_DEADLINE_S,
        push,
    }
}

/// What is wrong with a subscription that is there, as a sentence; none if it fits.
pub fn misfit(state: &SubscriptionState, settings: &config::PubSub, public_url: &PublicUrl) -> Option<String> {
    let wanted = specification(settings, public_url);
    if state.topic != wanted.topic {
        return Some(format!("It belongs to the topic {}, not to {}.", state.topic, wanted.topic));
    }
    match (&state.push, &wanted.push) {
        (Some(found), None) => return Some(format!("It pushes to {}, but pubsub.mode is \"pull\".", found.endpoint)),
        (None, Some(_)) => return Some("It has to be pulled, but pubsub.mode is \"push\".".to_owned()),
        (Some(found), Some(wanted)) if found != wanted => {
            return Some(format!(
                "It pushes to {} as {} for {}, not to {} as {} for {}.",
                found.endpoint,
                found.service_account,
                found.audience,
                wanted.endpoint,
                wanted.service_account,
                wanted.audience
            ));
        }
        _ => {}
    }
    (!state.never_expires).then(|| "Pub/Sub deletes it when nobody uses it for a while.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PubSubCredentials;

    fn settings(mode: PubSubMode) -> config::PubSub {
        config::PubSub {
            mode,
            topic: "projects/p1/topics/intail".to_owned(),
            subscription: "projects/p1/subscriptions/intail".to_owned(),
            endpoint: "http://127.0.0.1:1".parse().expect("an address"),
            credentials: PubSubCredentials::Anonymous,
        }
    }

    fn found(topic: &str, push: Option<PushSpec>, never_expires: bool) -> SubscriptionState {
        SubscriptionState { topic: topic.to_owned(), ack_deadline_s: 10, push, never_expires }
    }

    #[test]
    fn a_subscription_that_would_lose_notices_is_named() {
        let public_url = PublicUrl::parse("https://intail.example.com").expect("an address");
        let pull = settings(PubSubMode::Pull);
        let push = settings(PubSubMode::Push { audience: "a".to_owned(), service_account: "p@x".to_owned() });
        let ours = specification(&push, &public_url).push;
        assert_eq!(ours.as_ref().map(|it| it.endpoint.as_str()), Some("https://intail.example.com/notices/pubsub"));
        let topic = "projects/p1/topics/intail";
        assert_eq!(misfit(&found(topic, None, true), &pull, &public_url), None);
        assert_eq!(misfit(&found(topic, ours.clone(), true), &push, &public_url), None);
        let foreign = ours.clone().map(|it| PushSpec { audience: "b".to_owned(), ..it });
        for (state, settings, word) in [
            (found("_deleted-topic_", None, true), &pull, "_deleted-topic_"),
            (found(topic, ours, true), &pull, "mode is \"pull\""),
            (found(topic, None, true), &push, "mode is \"push\""),
            (found(topic, foreign, true), &push, " for b, "),
            (found(topic, None, false), &pull, "deletes"),
        ] {
            let sentence = misfit(&state, settings, &public_url).expect("a misfit");
            assert!(sentence.contains(word), "{sentence}");
        }
    }
}

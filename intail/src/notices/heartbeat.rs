//! The heartbeat: once a minute a message of Intail's own goes through the topic as notices do, and comes back to the
//! same [`super::take`]. That proves the way from topic to worker, and when a beat stays out, the hop that broke is
//! named. What it can't prove is that Google publishes; that shows when mailboxes change and nobody tells. Then the
//! topic is asked whether Gmail may.
//!
//! What a reader must not break: the beat says nothing about anybody, the answer to a broken hop is a fault for the
//! operator and never less reading, and a beat that Intail may not send is no fault of the way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use intail_google::pubsub::{Created, Credentials, PubSub};
use intail_google::{Error, ErrorKind, Refusal};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::provision::{self, GMAIL_PUBLISHER};
use crate::app::App;
use crate::config::{PUBSUB_PUSH, PubSubMode};
use crate::store::{StoreError, Tx, heartbeat, mailboxes, operator_faults};

/// How often a beat is sent: 1,440 messages a day cost nothing worth counting, and a broken way is known in two
/// minutes.
const EVERY: Duration = Duration::from_secs(60);
/// How long a beat may take before the way is examined.
const LATE: Duration = Duration::from_secs(60);
/// How long one beat is waited for. Then another is sent, should the first have been lost, and everybody's mailbox is
/// looked at once more.
const LOST: Duration = Duration::from_secs(LOST_S.unsigned_abs());
const LOST_S: i64 = 600;
/// How often this process asks whether it is its turn: of several processes, one sends.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Changes in a row that nobody told of, over all mailboxes, after which Google is silent: single notices are lost
/// every day.
const UNTOLD_MAX: i64 = 3;
/// The longest token that is looked up.
const TOKEN_LENGTH_MAX: usize = 64;

/// The topic is gone: also what a watch finds.
const TOPIC: &str = "pubsub.topic_missing";
const SUBSCRIPTION: &str = "pubsub.subscription_missing";
const MISFIT: &str = "pubsub.subscription_misfit";
const STUCK: &str = "pubsub.consumer_stuck";
/// Gmail may not publish to the topic: also what a watch finds.
const PUBLISHER: &str = "pubsub.publisher_missing";
const SILENT: &str = "google.silent";
/// What an arriving beat disproves.
const DISPROVED: [&str; 4] = [TOPIC, SUBSCRIPTION, MISFIT, STUCK];

/// What one look at the heartbeat did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It isn't due, or another process looked.
    NotDue,
    /// A beat is on its way.
    Sent,
    /// Intail may not publish to its own topic, so the way can't be proved.
    Forbidden,
    /// The last beat is late and this hop is broken: the kind of the fault that was raised.
    Broken(&'static str),
    /// Pub/Sub couldn't be asked; the next look tells more.
    Unclear,
}

/// Beats until `shutdown`.
pub async fn run(app: &App, credentials: &Credentials, shutdown: CancellationToken) {
    let heart = Heart::new(app, credentials);
    while !shutdown.is_cancelled() {
        match heart.look().await {
            Ok(look) => tracing::trace!(?look, "the heartbeat was looked at"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the heartbeat can't be looked at yet");
            }
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = app.clock.sleep(LOOK_EVERY) => {}
        }
    }
}

/// What sends beats and looks after them.
pub struct Heart<'a> {
    app: &'a App,
    pubsub: PubSub,
    /// Whether it was logged that beats may not be sent, since the last one that was.
    is_unproved_told: AtomicBool,
}

impl<'a> Heart<'a> {
    /// With an identity that may publish to the topic, or at least pull.
    pub fn new(app: &'a App, credentials: &Credentials) -> Self {
        let pubsub = app.google.pubsub(app.config.pubsub.endpoint.as_str(), credentials);
        Self { app, pubsub, is_unproved_told: AtomicBool::new(false) }
    }

    /// Looks after the last beat and sends another, if that is due and no other process does.
    pub async fn look(&self) -> Result<Look, StoreError> {
        let now = self.app.clock.now();
        let token = self.app.random.token();
        let mut tx = self.app.store.write().await?;
        if !heartbeat::claim(&mut tx, now, later(now, EVERY)).await? {
            return Ok(Look::NotDue);
        }
        // Mailboxes were found changed, time and again, since the last notice of anybody's.
        let is_silent = mailboxes::untold(&mut tx).await? >= UNTOLD_MAX;
        if !is_silent {
            self.google_tells(&mut tx).await?;
        }
        let last = heartbeat::get(&mut tx).await?.filter(|it| it.is_pending);
        let waits = last.as_ref().is_some_and(|it| now < later(it.sent_at, LOST));
        if !waits {
            heartbeat::send(&mut tx, &token, now).await?;
        }
        tx.commit().await?;
        let look = self.beat(last, waits, &token, now).await?;
        if is_silent {
            self.name_silence(now).await?;
        }
        Ok(look)
    }

    /// Examines the way if the `last` beat is late, and sends the next unless that one is still waited for.
    async fn beat(
        &self,
        last: Option<heartbeat::Heartbeat>,
        waits: bool,
        token: &str,
        now: Timestamp,
    ) -> Result<Look, StoreError> {
        let broken = match last {
            Some(last) if now >= later(last.sent_at, LATE) => Some(self.examine(!waits).await?),
            _ => None,
        };
        if waits {
            return Ok(broken.unwrap_or(Look::Sent));
        }
        let sent = match self.send(token).await? {
            // No beat will ever come back here, whatever breaks.
            Look::Forbidden => self.inspect().await?,
            sent => sent,
        };
        Ok(broken.unwrap_or(sent))
    }

    /// Where Intail may not publish, nothing proves the way; what can be seen of the subscription is looked at all the
    /// same, with each beat that couldn't be sent: in push mode nobody else would notice that it has gone. Everybody's
    /// mailbox is looked at when it has, and every ten minutes as long as it can't be made again.
    async fn inspect(&self) -> Result<Look, StoreError> {
        let (settings, public_url) = (&self.app.config.pubsub, &self.app.config.server.public_url);
        let broken = match self.pubsub.subscription(&settings.subscription).await {
            Ok(None) => {
                let made = provision::subscription(&self.pubsub, settings, public_url).await;
                Some((SUBSCRIPTION, self.missing(made.map_err(|it| it.to_string()))))
            }
            Ok(Some(state)) => provision::misfit(&state, settings, public_url)
                .map(|misfit| (MISFIT, format!("The Pub/Sub subscription brings Intail nothing. {misfit}"))),
            // Nor may it look, or Pub/Sub can't answer now.
            Err(_) => return Ok(Look::Forbidden),
        };
        let now = self.app.clock.now();
        let mut tx = self.app.store.write().await?;
        let known = operator_faults::list(&mut tx).await?;
        for kind in [SUBSCRIPTION, MISFIT] {
            if broken.as_ref().is_none_or(|(it, _)| *it != kind) {
                operator_faults::clear(&mut tx, kind).await?;
            }
        }
        let Some((kind, detail)) = broken else {
            tx.commit().await?;
            return Ok(Look::Forbidden);
        };
        // Which ten minutes since the fault was raised these are.
        let lasting = |since: Timestamp, at: Timestamp| at.duration_since(since).as_secs() / LOST_S;
        let known = known.iter().find(|it| it.kind == kind);
        if known.is_none_or(|it| lasting(it.since, now) > lasting(it.since, it.last_at)) {
            mailboxes::wake_all(&mut tx, now).await?;
        }
        operator_faults::raise(&mut tx, kind, &detail, now).await?;
        tx.commit().await?;
        self.app.due.ring();
        tracing::warn!(kind, "the subscription brings nothing");
        Ok(Look::Broken(kind))
    }

    async fn send(&self, token: &str) -> Result<Look, StoreError> {
        let topic = &self.app.config.pubsub.topic;
        let Err(error) = self.pubsub.publish(topic, &message(token), &BTreeMap::new()).await else {
            self.is_unproved_told.store(false, Ordering::Relaxed);
            return Ok(Look::Sent);
        };
        let mut tx = self.app.store.write().await?;
        heartbeat::unsend(&mut tx, token).await?;
        let look = match error.kind {
            ErrorKind::Refused(Refusal::NotFound) => {
                let detail = format!(
                    "The Pub/Sub topic {topic} doesn't exist, so Google can't tell of new mail. Mail is still read, \
                     every ten minutes. `intail doctor --fix` makes it again."
                );
                // Nothing that is published from now on arrives: from here each mailbox asks by itself.
                if operator_faults::list(&mut tx).await?.iter().all(|it| it.kind != TOPIC) {
                    mailboxes::wake_all(&mut tx, self.app.clock.now()).await?;
                }
                operator_faults::raise(&mut tx, TOPIC, &detail, self.app.clock.now()).await?;
                Look::Broken(TOPIC)
            }
            ErrorKind::Refused(_) => {
                if !self.is_unproved_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, topic, "no heartbeat may be published: nothing proves the way of notices");
                }
                Look::Forbidden
            }
            _ => Look::Unclear,
        };
        tx.commit().await?;
        self.app.due.ring();
        tracing::debug!(%error, "the heartbeat couldn't be sent");
        Ok(look)
    }

    /// The last beat is late: finds the hop that broke, mends it if that is possible, and tells the operator. Every
    /// mailbox is looked at when this is news, and `again` as long as it lasts: what was published may be lost.
    async fn examine(&self, again: bool) -> Result<Look, StoreError> {
        let (settings, public_url) = (&self.app.config.pubsub, &self.app.config.server.public_url);
        let (kind, detail) = match self.pubsub.subscription(&settings.subscription).await {
            Ok(None) => {
                let made = provision::subscription(&self.pubsub, settings, public_url).await;
                (SUBSCRIPTION, self.missing(made.map_err(|it| it.to_string())))
            }
            Ok(Some(state)) => match provision::misfit(&state, settings, public_url) {
                Some(misfit) => (MISFIT, format!("The Pub/Sub subscription brings Intail nothing. {misfit}")),
                None => (STUCK, self.stuck()),
            },
            Err(Error { kind: ErrorKind::Refused(_), .. }) => (STUCK, self.stuck()),
            Err(_) => return Ok(Look::Unclear),
        };
        let now = self.app.clock.now();
        let mut tx = self.app.store.write().await?;
        let is_news = operator_faults::list(&mut tx).await?.iter().all(|it| it.kind != kind);
        if is_news || again {
            mailboxes::wake_all(&mut tx, now).await?;
        }
        operator_faults::raise(&mut tx, kind, &detail, now).await?;
        tx.commit().await?;
        self.app.due.ring();
        tracing::warn!(kind, "the heartbeat didn't come back");
        Ok(Look::Broken(kind))
    }

    fn missing(&self, made: Result<Created, String>) -> String {
        let name = &self.app.config.pubsub.subscription;
        match made {
            Ok(_) => format!(
                "The Pub/Sub subscription {name} was missing. Intail made it again and looks at every mailbox, because \
                 notices were lost. This goes away with the next look, a minute later."
            ),
            Err(why) => format!("The Pub/Sub subscription {name} doesn't exist, so no new mail is noticed. {why}"),
        }
    }

    fn stuck(&self) -> String {
        match self.app.config.pubsub.mode {
            PubSubMode::Pull => format!(
                "What is published doesn't reach Intail, although topic and subscription are there: no process with \
                 the role notices takes it, or another program takes it from {} too. Give each its own subscription.",
                self.app.config.pubsub.subscription
            ),
            PubSubMode::Push { .. } => format!(
                "What is published doesn't reach Intail, although topic and subscription are there: Pub/Sub can't \
                 deliver to {}. Look at Intail's log for calls that were turned away, and at what stands before it.",
                self.app.config.server.public_url.page(PUBSUB_PUSH)
            ),
        }
    }

    /// Google tells, as far as is known: what was raised here because it didn't is over. What a watch found, a watch
    /// that is set disproves.
    async fn google_tells(&self, tx: &mut Tx) -> Result<(), StoreError> {
        operator_faults::clear(tx, SILENT).await?;
        let shut_out = self.shut_out();
        if operator_faults::list(tx).await?.iter().any(|it| it.kind == PUBLISHER && it.detail == shut_out) {
            operator_faults::clear(tx, PUBLISHER).await?;
        }
        Ok(())
    }

    /// Google told of nothing: says that it is because Gmail may not publish, where Intail may see that, and otherwise
    /// that Google is silent.
    async fn name_silence(&self, now: Timestamp) -> Result<(), StoreError> {
        let may_publish = self.pubsub.may_publish(&self.app.config.pubsub.topic, GMAIL_PUBLISHER).await.ok();
        let shut_out = self.shut_out();
        let mut tx = self.app.store.write().await?;
        let known = operator_faults::list(&mut tx).await?;
        let named = known.iter().find(|it| it.kind == PUBLISHER);
        if named.is_some_and(|it| it.detail != shut_out) {
            // A watch found it: Gmail's own word says enough.
            operator_faults::clear(&mut tx, SILENT).await?;
            return tx.commit().await;
        }
        // What was seen once holds until it is seen otherwise.
        let (kind, detail, other) = if may_publish == Some(false) || (may_publish.is_none() && named.is_some()) {
            (PUBLISHER, shut_out, SILENT)
        } else {
            (SILENT, self.silent(may_publish.is_some()), PUBLISHER)
        };
        if known.iter().all(|it| it.kind != PUBLISHER && it.kind != SILENT) {
            // Whoever changed and wasn't told of is found; from here each mailbox asks by itself.
            mailboxes::wake_all(&mut tx, now).await?;
        }
        operator_faults::clear(&mut tx, other).await?;
        operator_faults::raise(&mut tx, kind, &detail, now).await?;
        tx.commit().await?;
        self.app.due.ring();
        Ok(())
    }

    fn shut_out(&self) -> String {
        format!(
            "Mailboxes changed and Google told of none of it, because {} doesn't have the role roles/pubsub.publisher \
             on {}. `intail doctor --fix` gives it back. Mail is still read, minutes later than it could be.",
            gmail_account(),
            self.app.config.pubsub.topic
        )
    }

    fn silent(&self, may_publish: bool) -> String {
        let (account, topic) = (gmail_account(), &self.app.config.pubsub.topic);
        let why = if may_publish {
            format!(
                "{account} has the role roles/pubsub.publisher on {topic}: if it got that back only now, this ends \
                 with the next change; otherwise look whether Google tells of trouble with Gmail or Pub/Sub."
            )
        } else {
            format!(
                "Most likely {account} lost the role roles/pubsub.publisher on {topic}: `intail doctor` looks, `--fix` \
                 gives it back."
            )
        };
        format!(
            "Mailboxes changed and Google told of none of it, although their watches are set. {why} Mail is still \
             read, minutes later than it could be."
        )
    }
}

/// Gmail's account as an operator knows it.
fn gmail_account() -> &'static str {
    GMAIL_PUBLISHER.trim_start_matches("serviceAccount:")
}

/// A heartbeat as it is published.
pub(crate) fn message(token: &str) -> Vec<u8> {
    json!({ "intailHeartbeat": token }).to_string().into_bytes()
}

/// The token of a heartbeat, if that is what a message carries.
pub(super) fn token(data: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Beat {
        #[serde(rename = "intailHeartbeat")]
        token: String,
    }
    let beat: Beat = serde_json::from_slice(data).ok()?;
    (!beat.token.is_empty() && beat.token.len() <= TOKEN_LENGTH_MAX).then_some(beat.token)
}

/// Takes a beat that arrived; another Intail's, on the same topic, says nothing.
pub(super) async fn take(tx: &mut Tx, token: &str, now: Timestamp) -> Result<(), StoreError> {
    if heartbeat::arrive(tx, token, now).await? {
        for kind in DISPROVED {
            operator_faults::clear(tx, kind).await?;
        }
    }
    Ok(())
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_heartbeat_is_taken_for_one() {
        assert_eq!(token(br#"{"intailHeartbeat":"abc"}"#).as_deref(), Some("abc"));
        assert_eq!(token(&message("abc")).as_deref(), Some("abc"));
        let long = format!(r#"{{"intailHeartbeat":"{}"}}"#, "a".repeat(TOKEN_LENGTH_MAX + 1));
        let others: [&[u8]; 6] = [
            b"",
            b"[]",
            br#"{"intailHeartbeat":""}"#,
            br#"{"intailHeartbeat":7}"#,
            br#"{"emailAddress":"a@example.com","historyId":1}"#,
            long.as_bytes(),
        ];
        for other in others {
            assert_eq!(token(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}

//! Push channels of calendars: how they are opened and stopped, and the messages that Google sends to them. A message
//! has headers and nothing else, proves nothing but the token that the channel was opened with, and may get lost;
//! nothing here may make it more reliable than Google's. Source: the Calendar API's guide on push.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::{Host, Url};

use crate::Shared;
use crate::accounts::Caller;
use crate::api_error::ApiError;
use crate::world::World;

/// How long a channel lives when nobody says otherwise, in seconds.
const LIFE_S: i64 = 604_800;
/// How long it may live. Google cuts longer wishes without naming a number; a month was seen.
const LIFE_S_MAX: i64 = 30 * 24 * 3_600;
/// Longest id and token of a channel.
const ID_LENGTH_MAX: usize = 64;
const TOKEN_LENGTH_MAX: usize = 256;
/// Longest address.
const ADDRESS_LENGTH_MAX: usize = 2_048;
/// Channels at a time; whoever opens more is refused.
const CHANNELS_MAX: usize = 100_000;
/// Messages on their way; more are lost, oldest first.
const MESSAGES_MAX: usize = 10_000;
/// Statuses after which Google tries again.
const TRIED_AGAIN: [u16; 4] = [500, 502, 503, 504];
/// How often a message is tried.
const TRIES_MAX: u32 = 5;
/// Largest step between two message numbers: they rise, and not by one.
const NUMBER_STEP_MAX: u64 = 3;

/// An open channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its id, chosen by the application.
    pub id: String,
    /// Google's name for what is watched.
    pub resource_id: String,
    /// The calendar.
    pub calendar: String,
    /// Who opened it.
    pub sub: String,
    /// Through which client.
    pub client_id: String,
    /// Of which Cloud project.
    pub project: String,
    /// What every message repeats.
    pub token: Option<String>,
    /// Where messages go.
    pub address: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The number of the latest message.
    pub number: u64,
}

/// What happens to messages on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelSettings {
    /// Per cent of messages that never arrive; the first one, `sync`, always leaves.
    pub lost_percent: u8,
    /// Per cent that arrive twice.
    pub duplicated_percent: u8,
    /// Per cent that arrive late.
    pub delayed_percent: u8,
    /// How late at most, in milliseconds.
    pub delay_ms_max: u64,
    /// The end of a channel is a JSON number instead of text.
    pub expiration_as_number: bool,
    /// Messages aren't sent: they wait until whoever steers the world takes them ([`World::take_channel_messages`]).
    pub held: bool,
}

impl Default for ChannelSettings {
    fn default() -> ChannelSettings {
        ChannelSettings {
            lost_percent: 0,
            duplicated_percent: 0,
            delayed_percent: 0,
            delay_ms_max: 30_000,
            expiration_as_number: false,
            held: false,
        }
    }
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    channel: Channel,
    state: &'static str,
    leaves_at: Timestamp,
    tries: u32,
}

/// The body of `events.watch`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchBody {
    id: String,
    r#type: String,
    address: String,
    token: Option<String>,
    expiration: Option<Value>,
    params: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StopBody {
    id: String,
    resource_id: String,
}

/// A whole number, as a number or as text.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Whether messages may go there: to https, or to this machine itself. Nothing else must be reachable through here.
fn is_safe(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

impl World {
    /// `events.watch` on a calendar that the caller may read.
    pub(crate) fn open_channel(&mut self, caller: &Caller, calendar: &str, body: &[u8]) -> Result<Value, ApiError> {
        let now = self.clock.now();
        let body: WatchBody = serde_json::from_slice(body).map_err(|_| ApiError::invalid_body("Parse Error"))?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
        if body.id.is_empty() || body.id.len() > ID_LENGTH_MAX || !body.id.bytes().all(good) {
            return Err(ApiError::of_channel("channelIdInvalid", "Invalid channel id"));
        }
        if !["web_hook", "webhook"].contains(&body.r#type.as_str()) {
            return Err(ApiError::of_channel("channelUnknown", "Unknown channel type"));
        }
        if body.address.len() > ADDRESS_LENGTH_MAX || !is_safe(&body.address) {
            let message = format!("WebHook callback must be HTTPS: {}", body.address);
            return Err(ApiError::of_channel("push.webhookUrlNotHttps", message));
        }
        let token = body.token.filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| token.len() > TOKEN_LENGTH_MAX || HeaderValue::from_str(token).is_err()) {
            return Err(ApiError::of_channel("invalid", "Invalid channel token"));
        }
        self.channels.retain(|_, channel| channel.expires_at > now);
        if self.channels.contains_key(&body.id) || self.channels.len() >= CHANNELS_MAX {
            let message = format!("Channel id {} not unique", body.id);
            return Err(ApiError::of_channel("channelIdNotUnique", message));
        }
        let wished = body.expiration.as_ref().and_then(whole).map(|ms| ms / 1_000 - now.as_second());
        let ttl = body.params.as_ref().and_then(|params| whole(&params["ttl"]));
        let life_s = wished.or(ttl).unwrap_or(LIFE_S);
        if life_s <= 0 {
            return Err(ApiError::of_channel("channelExpired", "The channel would have ended already"));
        }
        let expires_at = now.saturating_add(SignedDuration::from_secs(life_s.min(LIFE_S_MAX))).unwrap_or(now);
        let resource_id = crate::accounts::sub_for(&format!("{}/{calendar}", caller.sub));
        let channel = Channel {
            id: body.id.clone(),
            resource_id,
            calendar: calendar.to_owned(),
            sub: caller.sub.clone(),
            client_id: caller.client_id.clone(),
            project: caller.project.clone(),
            token,
            address: body.address,
            expires_at,
            number: 1,
        };
        self.send_message(&channel, "sync", now);
        let expiration = expires_at.as_millisecond();
        let as_number = self.settings.channels.expiration_as_number;
        let mut answer = json!({
            "kind": "api#channel",
            "id": channel.id,
            "resourceId": channel.resource_id,
            "resourceUri": self.resource_uri(calendar),
            "expiration": if as_number { json!(expiration) } else { json!(expiration.to_string()) },
        });
        if let Some(token) = &channel.token {
            answer["token"] = json!(token);
        }
        self.channels.insert(body.id, channel);
        Ok(answer)
    }

    /// `channels.stop`, by the person and the client that opened it.
    pub(crate) fn stop_channel(&mut self, caller: &Caller, body: &[u8]) -> Result<(), ApiError> {
        let body: StopBody = serde_json::from_slice(body).map_err(|_| ApiError::invalid_body("Parse Error"))?;
        let own = |channel: &Channel| {
            channel.resource_id == body.resource_id
                && channel.sub == caller.sub
                && channel.client_id == caller.client_id
                && channel.expires_at > self.clock.now()
        };
        if !self.channels.get(&body.id).is_some_and(own) {
            let message = format!("Channel '{}' not found for project '{}'", body.id, caller.project);
            return Err(ApiError::not_found_because(message));
        }
        self.channels.remove(&body.id);
        Ok(())
    }

    /// Tells the channels of a calendar that something in it is different.
    pub(crate) fn calendar_changed(&mut self, calendar: &str) {
        let now = self.clock.now();
        let watching =
            self.channels.values().filter(|channel| channel.calendar == calendar && channel.expires_at > now);
        let watching: Vec<String> = watching.map(|channel| channel.id.clone()).collect();
        for id in watching {
            let waits = |message: &Message| message.channel.id == id && message.state == "exists" && message.tries == 0;
            // What has not left yet says the same.
            if self.messages.iter().any(waits) {
                continue;
            }
            let step = 1 + self.dice.below(NUMBER_STEP_MAX);
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            channel.number += step;
            let channel = channel.clone();
            let settings = self.settings.channels.clone();
            if self.dice.percent(settings.lost_percent) {
                continue;
            }
            let late_ms = if self.dice.percent(settings.delayed_percent) {
                self.dice.below(settings.delay_ms_max.saturating_add(1))
            } else {
                0
            };
            let leaves_at = crate::world::later_ms(now, i64::try_from(late_ms).unwrap_or(i64::MAX));
            for _ in 0..=u8::from(self.dice.percent(settings.duplicated_percent)) {
                self.send_message(&channel, "exists", leaves_at);
            }
        }
    }

    fn send_message(&mut self, channel: &Channel, state: &'static str, leaves_at: Timestamp) {
        self.messages.push_back(Message { channel: channel.clone(), state, leaves_at, tries: 0 });
        if self.messages.len() > MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.pubsub.arrivals += 1;
    }

    fn resource_uri(&self, calendar: &str) -> String {
        let id: String = url::form_urlencoded::byte_serialize(calendar.as_bytes()).collect();
        format!("{}/calendar/v3/calendars/{id}/events?alt=json", self.identity.public_url)
    }

    /// Whether a channel still speaks: nobody has stopped it, it hasn't ended, and who opened it may still read there.
    fn still_speaks(&self, message: &Message) -> bool {
        let now = self.clock.now();
        let channel = &message.channel;
        let open = message.state == "sync" || self.channels.contains_key(&channel.id);
        let role = self.agenda.calendars.get(&channel.calendar).and_then(|calendar| calendar.role_of(&channel.sub));
        let granted = self.identity.holds_any_token(now, &channel.project, &channel.sub);
        open && channel.expires_at > now && role.is_some() && granted
    }

    /// Takes the messages that would leave now: of each the channel's id, its token, and what it says.
    pub fn take_channel_messages(&mut self) -> Vec<(String, String, &'static str)> {
        let (due, _) = self.leaving_messages();
        let told = |it: Message| (it.channel.id, it.channel.token.unwrap_or_default(), it.state);
        due.into_iter().map(|(message, _)| told(message)).collect()
    }

    /// How many messages are on their way, late ones included.
    pub fn waiting_channel_messages(&self) -> usize {
        self.messages.len()
    }

    /// The messages that are to be sent now, and when the next one will be.
    fn take_messages(&mut self) -> (Vec<(Message, String)>, Timestamp) {
        if self.settings.channels.held { (Vec::new(), Timestamp::MAX) } else { self.leaving_messages() }
    }

    fn leaving_messages(&mut self) -> (Vec<(Message, String)>, Timestamp) {
        let now = self.clock.now();
        let all = std::mem::take(&mut self.messages).into_iter();
        let (due, later): (Vec<Message>, Vec<Message>) = all.partition(|message| message.leaves_at <= now);
        let speaking = due.into_iter().filter(|message| self.still_speaks(message));
        let due = speaking.map(|message| (self.resource_uri(&message.channel.calendar), message));
        let due = due.map(|(uri, message)| (message, uri)).collect();
        let next = later.iter().map(|message| message.leaves_at).min().unwrap_or(Timestamp::MAX);
        self.messages = later.into();
        (due, next)
    }
}

/// Sends messages until the sandbox stops.
pub(crate) async fn speak(shared: Arc<Shared>) {
    let mut arrivals = shared.arrivals.subscribe();
    while !shared.stopping.is_cancelled() {
        arrivals.mark_unchanged();
        let (due, next) = shared.look(World::take_messages);
        if due.is_empty() {
            tokio::select! {
                () = shared.stopping.cancelled() => {}
                _ = arrivals.changed() => {}
                () = shared.clock.reached(next) => {}
            }
            continue;
        }
        let speaker = &shared;
        let sends = due.into_iter().map(|(message, uri)| async move {
            let answered = tokio::select! {
                answered = send(speaker, &message, &uri) => answered,
                () = speaker.stopping.cancelled() => None,
            };
            let again = answered.is_some_and(|status| TRIED_AGAIN.contains(&status)) && message.tries + 1 < TRIES_MAX;
            again.then_some(message)
        });
        let failed: Vec<Message> = futures::future::join_all(sends).await.into_iter().flatten().collect();
        shared.look(|world| {
            let now = world.clock.now();
            for message in failed {
                let leaves_at = crate::world::later_ms(now, 1_000 << message.tries);
                world.messages.push_back(Message { leaves_at, tries: message.tries + 1, ..message });
            }
        });
    }
}

/// Sends one message. The answer is the status, if there was one.
async fn send(shared: &Shared, message: &Message, uri: &str) -> Option<u16> {
    let Message { channel, state, .. } = message;
    let expiration = channel.expires_at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let number = channel.number.to_string();
    let mut request = shared.http.post(&channel.address).header("content-length", "0");
    for (name, value) in [
        ("x-goog-channel-id", channel.id.as_str()),
        ("x-goog-channel-expiration", &expiration),
        ("x-goog-resource-state", state),
        ("x-goog-resource-id", &channel.resource_id),
        ("x-goog-resource-uri", uri),
        ("x-goog-message-number", &number),
        ("x-goog-channel-token", channel.token.as_deref().unwrap_or_default()),
    ] {
        if !value.is_empty() {
            request = request.header(HeaderName::from_static(name), value);
        }
    }
    request.send().await.ok().map(|answer| answer.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_to_https_or_to_this_machine() {
        for good in
            ["https://intail.example/notices", "http://127.0.0.1:1/x", "http://[::1]:8080/", "http://localhost/"]
        {
            assert!(is_safe(good), "{good}");
        }
        for bad in
            ["http://intail.example/", "http://10.0.0.1/", "ftp://localhost/", "file:///etc", "", "http://0.0.0.0/"]
        {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}

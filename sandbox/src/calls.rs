//! What was called: the name that Google's documents give to each path, and a bounded log of calls. The log never holds
//! a token, a query or a body.

use std::collections::VecDeque;

use axum::http::Method;
use jiff::Timestamp;
use serde::Serialize;

/// Calls that are remembered; the oldest are dropped.
const CALLS_MAX: usize = 10_000;

/// Name and path template of a call, for the log, for faults and for prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    /// As in Google's documents: `gmail.users.messages.get`.
    pub(crate) call: &'static str,
    /// The path with its variable parts in braces.
    pub(crate) template: &'static str,
}

const fn name(call: &'static str, template: &'static str) -> Name {
    Name { call, template }
}

/// The name of a request; `None` for pages and for the steering interface.
pub(crate) fn name_of(method: &Method, path: &str) -> Option<Name> {
    let get = method == Method::GET;
    Some(match path {
        "/o/oauth2/v2/auth" => name("oauth.authorize", "/o/oauth2/v2/auth"),
        "/token" => name("oauth.token", "/token"),
        "/revoke" => name("oauth.revoke", "/revoke"),
        "/tokeninfo" => name("oauth.tokeninfo", "/tokeninfo"),
        "/oauth2/v3/certs" => name("oauth.certs", "/oauth2/v3/certs"),
        "/v1/userinfo" => name("oauth.userinfo", "/v1/userinfo"),
        "/.well-known/openid-configuration" => name("oauth.discovery", "/.well-known/openid-configuration"),
        _ => {
            if let Some(rest) = path.strip_prefix("/gmail/v1/users/") {
                return gmail(get, rest);
            }
            if let Some(rest) = path.strip_prefix("/calendar/") {
                return Some(calendar(method, rest.strip_prefix("v3/").unwrap_or_default()));
            }
            if let Some(rest) = path.strip_prefix("/admin/") {
                return Some(directory(get, rest));
            }
            if path.starts_with("/gmail/") || path.starts_with("/batch") {
                return Some(name("gmail.other", "/gmail/…"));
            }
            return pubsub(method, path.strip_prefix("/v1/projects/")?);
        }
    })
}

fn gmail(get: bool, rest: &str) -> Option<Name> {
    let mut parts = rest.split('/').skip(1);
    let call = (get, parts.next(), parts.next(), parts.next());
    Some(match call {
        (true, Some("profile"), None, _) => name("gmail.users.getProfile", "/gmail/v1/users/{userId}/profile"),
        (false, Some("watch"), None, _) => name("gmail.users.watch", "/gmail/v1/users/{userId}/watch"),
        (false, Some("stop"), None, _) => name("gmail.users.stop", "/gmail/v1/users/{userId}/stop"),
        (true, Some("history"), None, _) => name("gmail.users.history.list", "/gmail/v1/users/{userId}/history"),
        (true, Some("labels"), None, _) => name("gmail.users.labels.list", "/gmail/v1/users/{userId}/labels"),
        (true, Some("labels"), Some(_), None) => name("gmail.users.labels.get", "/gmail/v1/users/{userId}/labels/{id}"),
        (true, Some("messages"), None, _) => name("gmail.users.messages.list", "/gmail/v1/users/{userId}/messages"),
        (true, Some("messages"), Some(_), None) => {
            name("gmail.users.messages.get", "/gmail/v1/users/{userId}/messages/{id}")
        }
        (true, Some("threads"), None, _) => name("gmail.users.threads.list", "/gmail/v1/users/{userId}/threads"),
        (true, Some("threads"), Some(_), None) => {
            name("gmail.users.threads.get", "/gmail/v1/users/{userId}/threads/{id}")
        }
        _ => name("gmail.other", "/gmail/…"),
    })
}

fn calendar(method: &Method, rest: &str) -> Name {
    let parts: Vec<&str> = rest.split('/').collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["users", "me", "calendarList"]) => {
            name("calendar.calendarList.list", "/calendar/v3/users/me/calendarList")
        }
        ("GET", ["calendars", _, "events"]) => {
            name("calendar.events.list", "/calendar/v3/calendars/{calendarId}/events")
        }
        ("GET", ["calendars", _, "events", _]) => {
            name("calendar.events.get", "/calendar/v3/calendars/{calendarId}/events/{eventId}")
        }
        ("GET", ["calendars", _, "events", _, "instances"]) => {
            name("calendar.events.instances", "/calendar/v3/calendars/{calendarId}/events/{eventId}/instances")
        }
        ("POST", ["calendars", _, "events", "watch"]) => {
            name("calendar.events.watch", "/calendar/v3/calendars/{calendarId}/events/watch")
        }
        ("POST", ["channels", "stop"]) => name("calendar.channels.stop", "/calendar/v3/channels/stop"),
        _ => name("calendar.other", "/calendar/…"),
    }
}

fn directory(get: bool, rest: &str) -> Name {
    match (get, rest.strip_prefix("directory/v1/users")) {
        (true, Some("")) => name("directory.users.list", "/admin/directory/v1/users"),
        (true, Some(key)) if key.starts_with('/') && !key[1..].contains('/') => {
            name("directory.users.get", "/admin/directory/v1/users/{userKey}")
        }
        _ => name("directory.other", "/admin/…"),
    }
}

fn pubsub(method: &Method, rest: &str) -> Option<Name> {
    let (_, rest) = rest.split_once('/')?;
    let (kind, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let verb = rest.split_once(':').map(|(_, verb)| verb);
    let topics = match kind {
        "topics" => true,
        "subscriptions" => false,
        _ => return None,
    };
    Some(match (topics, verb, method.as_str()) {
        (_, Some("getIamPolicy"), _) => name("pubsub.getIamPolicy", "/v1/{resource}:getIamPolicy"),
        (_, Some("setIamPolicy"), _) => name("pubsub.setIamPolicy", "/v1/{resource}:setIamPolicy"),
        (_, Some("testIamPermissions"), _) => name("pubsub.testIamPermissions", "/v1/{resource}:testIamPermissions"),
        (true, Some("publish"), _) => name("pubsub.publish", "/v1/{topic}:publish"),
        (false, Some("pull"), _) => name("pubsub.pull", "/v1/{subscription}:pull"),
        (false, Some("acknowledge"), _) => name("pubsub.acknowledge", "/v1/{subscription}:acknowledge"),
        (false, Some("modifyAckDeadline"), _) => {
            name("pubsub.modifyAckDeadline", "/v1/{subscription}:modifyAckDeadline")
        }
        (false, Some("modifyPushConfig"), _) => name("pubsub.modifyPushConfig", "/v1/{subscription}:modifyPushConfig"),
        (true, None, "PUT") => name("pubsub.topics.create", "/v1/{topic}"),
        (true, None, "GET") => name("pubsub.topics.get", "/v1/{topic}"),
        (true, None, "DELETE") => name("pubsub.topics.delete", "/v1/{topic}"),
        (false, None, "PUT") => name("pubsub.subscriptions.create", "/v1/{subscription}"),
        (false, None, "GET") => name("pubsub.subscriptions.get", "/v1/{subscription}"),
        (false, None, "PATCH") => name("pubsub.subscriptions.patch", "/v1/{subscription}"),
        (false, None, "DELETE") => name("pubsub.subscriptions.delete", "/v1/{subscription}"),
        _ => return None,
    })
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Rises with each call.
    pub number: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// Name as in Google's documents.
    pub call: &'static str,
    /// HTTP method.
    pub method: String,
    /// Path with its variable parts in braces.
    pub path: &'static str,
    /// Address of the person in whose name it came, when it carried a good token.
    pub person: Option<String>,
    /// OAuth client that made it.
    pub client: Option<String>,
    /// Status of the answer.
    pub status: u16,
    /// Gmail units that it cost.
    pub units: u32,
    /// Milliseconds of the sandbox's time until the answer began.
    pub took_ms: i64,
    /// What a fault did to it.
    pub fault: Option<&'static str>,
}

/// The latest calls, oldest first.
#[derive(Debug, Default)]
pub struct CallLog {
    calls: VecDeque<Call>,
    count: u64,
}

impl CallLog {
    /// The remembered calls, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Call> {
        self.calls.iter()
    }

    /// How many remembered calls have this name.
    pub fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|item| item.call == call).count()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.calls.clear();
    }

    pub(crate) fn push(&mut self, mut call: Call) {
        self.count += 1;
        call.number = self.count;
        self.calls.push_back(call);
        if self.calls.len() > CALLS_MAX {
            self.calls.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(method: Method, path: &str) -> Option<&'static str> {
        name_of(&method, path).map(|name| name.call)
    }

    #[test]
    fn calls_are_named_as_google_names_them() {
        assert_eq!(named(Method::GET, "/gmail/v1/users/me/messages/18c"), Some("gmail.users.messages.get"));
        assert_eq!(named(Method::GET, "/gmail/v1/users/me/messages"), Some("gmail.users.messages.list"));
        assert_eq!(named(Method::POST, "/gmail/v1/users/me/watch"), Some("gmail.users.watch"));
        assert_eq!(named(Method::POST, "/gmail/v1/users/me/messages/send"), Some("gmail.other"));
        assert_eq!(named(Method::POST, "/v1/projects/p/subscriptions/s:pull"), Some("pubsub.pull"));
        assert_eq!(named(Method::PUT, "/v1/projects/p/topics/t"), Some("pubsub.topics.create"));
        let events = "/calendar/v3/calendars/a@b.c/events";
        assert_eq!(named(Method::GET, events), Some("calendar.events.list"));
        assert_eq!(named(Method::POST, events), Some("calendar.other"));
        assert_eq!(named(Method::GET, &format!("{events}/x/instances")), Some("calendar.events.instances"));
        assert_eq!(named(Method::GET, "/calendar"), None, "that is a page");
        assert_eq!(named(Method::GET, "/admin/directory/v1/users"), Some("directory.users.list"));
        assert_eq!(named(Method::GET, "/admin/directory/v1/users/a@b.c"), Some("directory.users.get"));
        assert_eq!(named(Method::GET, "/admin/directory/v1/users/a/aliases"), Some("directory.other"));
        assert_eq!(named(Method::DELETE, "/admin/directory/v1/users/a"), Some("directory.other"));
        assert_eq!(named(Method::POST, "/token"), Some("oauth.token"));
        assert_eq!(named(Method::GET, "/mailbox"), None);
        assert_eq!(named(Method::GET, "/sandbox/v1/calls"), None);
    }
}

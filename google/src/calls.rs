//! The compiled list of everything that Google can be asked: `intail calls` prints it.
//!
//! A reader must not find another way to send. The list and the constants come from one macro, so a call that is not
//! listed cannot be named; a parameter or body property that its call does not list is refused before it is sent.
//! A test checks each path, parameter, property and `fields` name against Google's discovery documents.

/// Which service a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OAuth and OpenID Connect; also another provider than Google.
    SignIn,
    /// Gmail, with the scope `gmail.metadata` only.
    Gmail,
    /// Google Calendar, with the scope `calendar.readonly` only.
    Calendar,
    /// The Admin SDK's Directory API, with the scope `admin.directory.user.readonly` only.
    Directory,
    /// Cloud Pub/Sub.
    PubSub,
}

/// One thing that Google can be asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The name in logs, receipts and price tables.
    pub name: &'static str,
    /// The service.
    pub api: Api,
    /// The HTTP method, in capitals.
    pub method: &'static str,
    /// The path below the service's base, with `{placeholders}`; for sign-in calls the name of the endpoint.
    pub path: &'static str,
    /// The query parameters that may be sent, besides `fields`.
    pub query: &'static [&'static str],
    /// The `fields` parameter that is always sent: what Google may answer at all.
    pub fields: Option<&'static str>,
    /// The properties that the JSON or form body may have.
    pub body: &'static [&'static str],
    /// Whether Google holds the answer back until there is something to say; silence until the deadline is then an
    /// empty answer, not an error.
    pub long_poll: bool,
}

/// How long a call may take, from connecting to the last byte. Gmail's slow answers take a few seconds.
const DEADLINE_S: u64 = 30;
/// How long a long poll may take: Pub/Sub was observed to answer an idle pull after 89 s, so a little longer than that.
const LONG_POLL_DEADLINE_S: u64 = 100;
/// The largest answer that is read, in bytes after decompression: a page of 500 ids takes 50 KiB, a long thread with
/// hostile headers or a page of events with many guests some megabytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The same for sign-in answers, which hold a few tokens or keys.
const SIGN_IN_ANSWER_BYTES_MAX: u64 = 256 * 1024;

impl Call {
    const fn new(name: &'static str, api: Api, method: &'static str, path: &'static str) -> Self {
        Self { name, api, method, path, query: &[], fields: None, body: &[], long_poll: false }
    }

    const fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    const fn body(self, body: &'static [&'static str]) -> Self {
        Self { body, ..self }
    }

    const fn fields(self, fields: &'static str) -> Self {
        Self { fields: Some(fields), ..self }
    }

    const fn long_poll(self) -> Self {
        Self { long_poll: true, ..self }
    }

    /// How long the call may take, in seconds.
    pub fn deadline_s(&self) -> u64 {
        if self.long_poll { LONG_POLL_DEADLINE_S } else { DEADLINE_S }
    }

    /// The largest answer that is read, in bytes after decompression.
    pub fn answer_bytes_max(&self) -> u64 {
        if self.api == Api::SignIn { SIGN_IN_ANSWER_BYTES_MAX } else { ANSWER_BYTES_MAX }
    }
}

macro_rules! calls {
    ($($name:ident = $call:expr;)*) => {
        $(pub(crate) static $name: Call = $call;)*
        /// Everything that Google can be asked.
        pub static CALLS: &[&Call] = &[$(&$name),*];
    };
}

/// What is read of an event: nothing that was written into it but its title and place, no comment, no conference code.
macro_rules! event_fields {
    () => {
        "id,etag,status,eventType,summary,location,start,end,endTimeUnspecified,recurrence,recurringEventId,\
         originalStartTime,iCalUID,sequence,created,updated,visibility,transparency,\
         organizer(email,displayName,self),creator(email,displayName,self),\
         attendees(email,displayName,responseStatus,self,organizer,resource,optional,additionalGuests),\
         attendeesOmitted,guestsCanSeeOtherGuests,hangoutLink,htmlLink,\
         conferenceData(conferenceSolution/name,entryPoints(entryPointType,uri,label)),\
         workingLocationProperties,outOfOfficeProperties/autoDeclineMode,\
         focusTimeProperties(autoDeclineMode,chatStatus),birthdayProperties(type,customTypeName),\
         eventLabelId,locked,privateCopy"
    };
}

/// What is read of a person: no recovery address, no last sign-in, nothing about how they sign in.
macro_rules! user_fields {
    () => {
        "id,etag,primaryEmail,name(fullName,givenName,familyName,displayName),emails,aliases,nonEditableAliases,\
         organizations,relations,phones,locations,thumbnailPhotoUrl,suspended,suspensionReason,archived,isAdmin,\
         isDelegatedAdmin,isGuestUser,isMailboxSetup,includeInGlobalAddressList,orgUnitPath,customerId,\
         creationTime,deletionTime"
    };
}

use Api::{Calendar, Directory, Gmail, PubSub, SignIn};

calls! {
    OAUTH_EXCHANGE = Call::new("oauth.exchange", SignIn, "POST", "{token}")
        .body(&["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret"]);
    OAUTH_REFRESH = Call::new("oauth.refresh", SignIn, "POST", "{token}")
        .body(&["grant_type", "refresh_token", "client_id", "client_secret"]);
    OAUTH_REVOKE = Call::new("oauth.revoke", SignIn, "POST", "{revoke}").body(&["token"]);
    OPENID_KEYS = Call::new("openid.keys", SignIn, "GET", "{jwks}");
    OPENID_DISCOVERY = Call::new("openid.discovery", SignIn, "GET", "{discovery}");

    GMAIL_PROFILE = Call::new("gmail.getProfile", Gmail, "GET", "/gmail/v1/users/me/profile")
        .fields("emailAddress,messagesTotal,threadsTotal,historyId");
    GMAIL_WATCH = Call::new("gmail.watch", Gmail, "POST", "/gmail/v1/users/me/watch")
        .body(&["topicName"])
        .fields("historyId,expiration");
    GMAIL_STOP = Call::new("gmail.stop", Gmail, "POST", "/gmail/v1/users/me/stop");
    GMAIL_LABELS = Call::new("gmail.labels.list", Gmail, "GET", "/gmail/v1/users/me/labels")
        .fields("labels(id,name,type)");
    GMAIL_LABEL = Call::new("gmail.labels.get", Gmail, "GET", "/gmail/v1/users/me/labels/{id}")
        .fields("id,messagesTotal,messagesUnread,threadsTotal,threadsUnread");
    GMAIL_HISTORY = Call::new("gmail.history.list", Gmail, "GET", "/gmail/v1/users/me/history")
        .query(&["startHistoryId", "maxResults", "pageToken"])
        .fields(
            "history(id,messagesAdded/message(id,threadId,labelIds),messagesDeleted/message(id,threadId,labelIds),\
             labelsAdded(labelIds,message(id,threadId,labelIds)),\
             labelsRemoved(labelIds,message(id,threadId,labelIds))),nextPageToken,historyId",
        );
    GMAIL_MESSAGES = Call::new("gmail.messages.list", Gmail, "GET", "/gmail/v1/users/me/messages")
        .query(&["maxResults", "pageToken", "labelIds", "includeSpamTrash"])
        .fields("messages(id,threadId),nextPageToken,resultSizeEstimate");
    GMAIL_MESSAGE = Call::new("gmail.messages.get", Gmail, "GET", "/gmail/v1/users/me/messages/{id}")
        .query(&["format", "metadataHeaders"])
        .fields("id,threadId,labelIds,internalDate,sizeEstimate,historyId,payload/headers(name,value)");
    GMAIL_THREAD = Call::new("gmail.threads.get", Gmail, "GET", "/gmail/v1/users/me/threads/{id}")
        .query(&["format", "metadataHeaders"])
        .fields(
            "id,historyId,\
             messages(id,threadId,labelIds,internalDate,sizeEstimate,historyId,payload/headers(name,value))",
        );

    CALENDAR_LIST = Call::new("calendar.calendarList.list", Calendar, "GET", "/calendar/v3/users/me/calendarList")
        .query(&["maxResults", "pageToken", "syncToken", "showDeleted", "showHidden"])
        .fields(
            "items(id,etag,summary,summaryOverride,timeZone,accessRole,primary,selected,hidden,deleted,dataOwner),\
             nextPageToken,nextSyncToken",
        );
    EVENTS = Call::new("calendar.events.list", Calendar, "GET", "/calendar/v3/calendars/{calendarId}/events")
        .query(&["maxResults", "maxAttendees", "pageToken", "syncToken"])
        .fields(concat!("items(", event_fields!(), "),nextPageToken,nextSyncToken,timeZone,accessRole"));
    EVENTS_WATCH =
        Call::new("calendar.events.watch", Calendar, "POST", "/calendar/v3/calendars/{calendarId}/events/watch")
            .body(&["id", "type", "address", "token", "params"])
            .fields("id,resourceId,expiration");
    CHANNELS_STOP = Call::new("calendar.channels.stop", Calendar, "POST", "/calendar/v3/channels/stop")
        .body(&["id", "resourceId"]);

    USERS = Call::new("directory.users.list", Directory, "GET", "/admin/directory/v1/users")
        .query(&["customer", "viewType", "projection", "maxResults", "orderBy", "showDeleted", "pageToken"])
        .fields(concat!("etag,nextPageToken,users(", user_fields!(), ")"));
    USER = Call::new("directory.users.get", Directory, "GET", "/admin/directory/v1/users/{userKey}")
        .query(&["viewType", "projection"])
        .fields(user_fields!());

    TOPIC_CREATE = Call::new("pubsub.topics.create", PubSub, "PUT", "/v1/{name}");
    TOPIC_GET = Call::new("pubsub.topics.get", PubSub, "GET", "/v1/{topic}");
    TOPIC_PUBLISH = Call::new("pubsub.topics.publish", PubSub, "POST", "/v1/{topic}:publish").body(&["messages"]);
    TOPIC_POLICY = Call::new("pubsub.topics.getIamPolicy", PubSub, "GET", "/v1/{resource}:getIamPolicy")
        .query(&["options.requestedPolicyVersion"]);
    TOPIC_SET_POLICY = Call::new("pubsub.topics.setIamPolicy", PubSub, "POST", "/v1/{resource}:setIamPolicy")
        .body(&["policy"]);
    SUBSCRIPTION_CREATE = Call::new("pubsub.subscriptions.create", PubSub, "PUT", "/v1/{name}").body(&[
        "topic",
        "ackDeadlineSeconds",
        "messageRetentionDuration",
        "expirationPolicy",
        "retryPolicy",
        "pushConfig",
    ]);
    SUBSCRIPTION_GET = Call::new("pubsub.subscriptions.get", PubSub, "GET", "/v1/{subscription}");
    PULL = Call::new("pubsub.subscriptions.pull", PubSub, "POST", "/v1/{subscription}:pull")
        .body(&["maxMessages"])
        .long_poll();
    ACKNOWLEDGE = Call::new("pubsub.subscriptions.acknowledge", PubSub, "POST", "/v1/{subscription}:acknowledge")
        .body(&["ackIds"]);
    MODIFY_ACK_DEADLINE =
        Call::new("pubsub.subscriptions.modifyAckDeadline", PubSub, "POST", "/v1/{subscription}:modifyAckDeadline")
            .body(&["ackIds", "ackDeadlineSeconds"]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_nothing_of_a_persons_can_be_written() {
        let names: BTreeSet<_> = CALLS.iter().map(|call| call.name).collect();
        assert_eq!(names.len(), CALLS.len());
        let push = ["gmail.watch", "gmail.stop", "calendar.events.watch", "calendar.channels.stop"];
        for call in CALLS.iter().filter(|call| is_a_persons(call)) {
            assert!(call.method == "GET" || push.contains(&call.name), "{}", call.name);
        }
    }

    fn is_a_persons(call: &Call) -> bool {
        matches!(call.api, Gmail | Calendar | Directory)
    }

    /// Reading is `GET`. What else is sent makes, renews or ends something of Intail's own: an access, a watch, the
    /// topic and its subscription.
    #[test]
    fn everything_reads_but_the_calls_named_here() {
        let writes = [
            "oauth.exchange",
            "oauth.refresh",
            "oauth.revoke",
            "gmail.watch",
            "gmail.stop",
            "calendar.events.watch",
            "calendar.channels.stop",
        ];
        for call in CALLS.iter().filter(|call| call.api != PubSub) {
            let named = writes.contains(&call.name);
            assert_eq!(call.method != "GET", named, "{} is {}", call.name, call.method);
            assert!(call.method == "GET" || call.method == "POST", "{}", call.name);
            assert!(call.method == "POST" || call.body.is_empty(), "{} reads and has a body", call.name);
        }
    }

    #[test]
    fn no_mask_asks_for_what_somebody_wrote() {
        for call in CALLS {
            let mask = call.fields.unwrap_or_default();
            for word in [
                "snippet",
                "body",
                "raw",
                "parts",
                "*",
                "description",
                "attachments",
                "comment",
                "notes",
                "pin",
                "recovery",
            ] {
                assert!(!mask.contains(word), "{}: {word}", call.name);
            }
            let answers = is_a_persons(call) && !call.name.ends_with(".stop");
            assert_eq!(answers, call.fields.is_some(), "{}", call.name);
        }
    }
}

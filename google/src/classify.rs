//! From an answer that is not a success to what the caller has to do about it.
//!
//! The order of evidence: status, call, Google's reason words, and only last the text of the message, which Google may
//! reword. The rows are what Google's guides list and what others observed; the tests hold all of them. A reader must
//! not turn an unknown answer into a dead grant, nor a 5xx into anything but [`ErrorKind::Transient`].

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::form_urlencoded;

use crate::{
    calls::{Api, Call},
    error::{BlockReason, DeadReason, Error, ErrorKind, OperatorFault, Refusal, SlowScope},
};

/// An answer that is not a success.
pub(crate) struct Answered<'a> {
    pub(crate) call: &'a Call,
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
}

/// The longest wait that is believed. Google was seen to ask for hours; a year would be a fault.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many reason words of one answer are looked at.
const WORDS_MAX: usize = 8;
/// How much of Google's message is kept, in characters.
const DETAIL_LENGTH_MAX: usize = 300;
/// The longest reason word that is kept; the longest known one has 37 letters.
const REASON_LENGTH_MAX: usize = 64;

/// What the body says: Google's reason words, most exact first, and its sentence.
struct Complaint {
    words: Vec<String>,
    message: String,
}

impl Complaint {
    /// Reads `{"error":{"message","errors":[{"reason"}],"status","details":[{"reason"}]}}` and OAuth's
    /// `{"error","error_description","error_subtype"}`; anything else, such as a page of HTML, says nothing.
    fn read(body: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &document["error"];
        let listed = |key: &str| error[key].as_array().into_iter().flatten().map(|entry| &entry["reason"]);
        let oauth = [error, &document["error_subtype"]];
        let words = listed("errors").chain(listed("details")).chain([&error["status"]]).chain(oauth);
        let words = words.filter_map(Value::as_str).take(WORDS_MAX).map(str::to_owned).collect();
        let message = error["message"].as_str().or(document["error_description"].as_str()).unwrap_or_default();
        Self { words, message: message.to_owned() }
    }

    fn is(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    fn says(&self, words: &str) -> bool {
        self.message.to_ascii_lowercase().contains(words)
    }
}

impl Answered<'_> {
    /// The error; nothing in it contains one of `secrets`, even if the answer repeats them.
    pub(crate) fn error(&self, secrets: &[&SecretString]) -> Error {
        let mut complaint = Complaint::read(self.body);
        complaint.message = scrubbed(&complaint.message, secrets);
        let kind = self.kind(&complaint);
        let worded = |word: &&String| {
            let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            plain && word.len() <= REASON_LENGTH_MAX && scrubbed(word, secrets) == **word
        };
        let reason = complaint.words.iter().find(worded).cloned();
        Error::new(self.call.name, kind).answered(self.status, reason).saying(&complaint.message)
    }

    fn kind(&self, complaint: &Complaint) -> ErrorKind {
        match (self.status, self.call.api) {
            (501, _) => ErrorKind::Refused(Refusal::NotImplemented),
            (408 | 500.., _) => ErrorKind::Transient,
            (_, _) if complaint.is("backendError") => ErrorKind::Transient,
            (429, _) => self.slow_down(complaint),
            (300..400, _) => ErrorKind::NotUnderstood,
            (_, Api::SignIn) => self.sign_in(complaint),
            (400, api) => self.bad_request(api, complaint),
            // Not the person's token, but the address that notices should be sent to.
            (401, _) if self.is_of_address(complaint) => ErrorKind::Refused(Refusal::Forbidden),
            (401, _) => ErrorKind::Refused(Refusal::Unauthorized),
            (403, _) => self.forbidden(complaint),
            (404, _) => self.not_found(complaint),
            (409, _) => ErrorKind::Refused(Refusal::Conflict),
            (410, _) => self.gone(complaint),
            (412, _) => ErrorKind::Refused(Refusal::PreconditionFailed(complaint.message.clone())),
            _ => ErrorKind::NotUnderstood,
        }
    }

    /// Source: Google's OAuth guide for web servers; observed for `invalid_rapt`, `policy_enforced`, `disabled_client`.
    fn sign_in(&self, complaint: &Complaint) -> ErrorKind {
        let word = complaint.words.first().map_or("", String::as_str);
        match word {
            "invalid_grant" if complaint.is("invalid_rapt") || complaint.is("rapt_required") => {
                ErrorKind::GrantDead(DeadReason::ReauthNeeded)
            }
            "invalid_grant" if complaint.says("invalid_rapt") => ErrorKind::GrantDead(DeadReason::ReauthNeeded),
            "invalid_grant" if complaint.says("has been deleted") => ErrorKind::GrantDead(DeadReason::AccountDeleted),
            "rate_limit_exceeded" | "slow_down" => self.slow_down(complaint),
            _ if self.status == 404 => ErrorKind::Refused(Refusal::NotFound),
            _ => from_oauth_word(word),
        }
    }

    fn bad_request(&self, api: Api, complaint: &Complaint) -> ErrorKind {
        let failed = complaint.is("failedPrecondition") || complaint.is("FAILED_PRECONDITION");
        let no_mailbox = complaint.says("mail service not enabled") || complaint.says("precondition check failed");
        let refusal = match api {
            Api::Gmail if complaint.says("only one user push notification client") => Refusal::PushClientConflict,
            Api::Gmail if complaint.says("invalid topicname") => Refusal::Operator(OperatorFault::TopicForeign),
            Api::Gmail if no_mailbox => return ErrorKind::NoMailbox,
            _ if failed => Refusal::PreconditionFailed(complaint.message.clone()),
            _ => Refusal::Invalid,
        };
        ErrorKind::Refused(refusal)
    }

    /// Source: the Gmail API's guide on errors; the wording of the watch row was observed.
    fn forbidden(&self, complaint: &Complaint) -> ErrorKind {
        let any = |words: &[&str]| words.iter().any(|word| complaint.is(word));
        if any(&["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"]) {
            return self.slow_down(complaint);
        }
        if complaint.is("domainPolicy") {
            return ErrorKind::AdminBlocked(BlockReason::DomainPolicy);
        }
        if complaint.is("notACalendarUser") {
            return ErrorKind::NoCalendar;
        }
        let challenge = self.headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        ErrorKind::Refused(if any(&["accessNotConfigured", "SERVICE_DISABLED"]) {
            Refusal::Operator(OperatorFault::ApiDisabled)
        } else if any(&["insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"])
            || challenge.is_some_and(|value| value.contains("insufficient_scope"))
        {
            Refusal::ScopeMissing
        } else if self.is_watch_test(complaint) {
            Refusal::Operator(OperatorFault::PublisherMissing)
        } else {
            Refusal::Forbidden
        })
    }

    fn not_found(&self, complaint: &Complaint) -> ErrorKind {
        match self.call.name {
            "gmail.history.list" => ErrorKind::CursorGone,
            _ if self.is_watch_test(complaint) => ErrorKind::Refused(Refusal::Operator(OperatorFault::TopicMissing)),
            _ => ErrorKind::Refused(Refusal::NotFound),
        }
    }

    /// Source: the Calendar API's guide on errors. `deleted` is about one thing; the other two end a sync token, and so
    /// does a 410 without a word, because there is nothing else that a list could have lost.
    fn gone(&self, complaint: &Complaint) -> ErrorKind {
        let is_list = self.call.name.ends_with(".list");
        if is_list && !complaint.is("deleted") {
            return ErrorKind::CursorGone;
        }
        ErrorKind::Refused(Refusal::Deleted)
    }

    /// Whether Gmail failed to publish its test message: a fault of the topic, not of the person.
    fn is_watch_test(&self, complaint: &Complaint) -> bool {
        self.call.name == "gmail.watch" && complaint.says("error sending test message")
    }

    /// Whether a channel was refused for its address, which Google says with the status of a bad token too
    /// (`push.webhookUrlUnauthorized`, observed).
    fn is_of_address(&self, complaint: &Complaint) -> bool {
        self.call.name == "calendar.events.watch" && complaint.words.iter().any(|word| word.starts_with("push."))
    }

    fn slow_down(&self, complaint: &Complaint) -> ErrorKind {
        let longest = self.now.checked_add(WAIT_MAX).unwrap_or(Timestamp::MAX);
        let until = time_in(&complaint.message).or_else(|| self.retry_after()).map(|until| until.min(longest));
        ErrorKind::SlowDown { until, scope: self.slow_scope(complaint) }
    }

    /// Google says `rateLimitExceeded` for people and projects alike (observed), so the sentence decides. By everything
    /// but `userRateLimitExceeded` the Directory API means an organization's concurrent calls (its page on limits).
    fn slow_scope(&self, complaint: &Complaint) -> SlowScope {
        let says = |words: &str| complaint.says(words);
        if says("concurrent") {
            SlowScope::Concurrency
        } else if complaint.is("dailyLimitExceeded") || says("per day") || says("daily limit") {
            SlowScope::Day
        } else if complaint.is("userRateLimitExceeded") || says("per user") || says("user-rate") {
            SlowScope::Person
        } else if says("per minute") || says("per project") {
            SlowScope::Project
        } else {
            match self.call.api {
                Api::Gmail | Api::Calendar => SlowScope::Person,
                Api::Directory => SlowScope::Concurrency,
                Api::PubSub | Api::SignIn => SlowScope::Project,
            }
        }
    }

    /// `Retry-After`, in seconds or as a date.
    fn retry_after(&self) -> Option<Timestamp> {
        let value = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = value.parse::<u32>() {
            return self.now.checked_add(SignedDuration::from_secs(seconds.into())).ok();
        }
        rfc2822::DateTimeParser::new().parse_timestamp(value).ok()
    }
}

/// What an OAuth error word asks of the caller: of a token endpoint's answer, or of the callback's `error` parameter.
///
/// Most errors of the consent page are shown by Google and never come back, but some were seen at the callback.
pub(crate) fn from_oauth_word(word: &str) -> ErrorKind {
    let operator = |fault| ErrorKind::Refused(Refusal::Operator(fault));
    match word {
        "invalid_grant" => ErrorKind::GrantDead(DeadReason::Revoked),
        "invalid_rapt" | "rapt_required" => ErrorKind::GrantDead(DeadReason::ReauthNeeded),
        "admin_policy_enforced" => ErrorKind::AdminBlocked(BlockReason::AdminPolicyEnforced),
        "access_not_configured" => ErrorKind::AdminBlocked(BlockReason::AccessNotConfigured),
        "org_internal" => ErrorKind::AdminBlocked(BlockReason::OrgInternal),
        "policy_enforced" => ErrorKind::AdminBlocked(BlockReason::AdvancedProtection),
        "invalid_client" => operator(OperatorFault::ClientUnknown),
        "deleted_client" => operator(OperatorFault::ClientDeleted),
        "disabled_client" => operator(OperatorFault::ClientDisabled),
        "redirect_uri_mismatch" => operator(OperatorFault::RedirectMismatch),
        "unauthorized_client" => operator(OperatorFault::Other(word.to_owned())),
        "access_denied" => ErrorKind::Refused(Refusal::Forbidden),
        "invalid_request" | "invalid_scope" | "unsupported_grant_type" | "invalid_token" => {
            ErrorKind::Refused(Refusal::Invalid)
        }
        "server_error" | "temporarily_unavailable" | "internal_failure" => ErrorKind::Transient,
        _ => ErrorKind::NotUnderstood,
    }
}

/// The time in `Retry after 2025-08-22T18:22:38.763Z`, which Gmail writes into its message (observed).
fn time_in(message: &str) -> Option<Timestamp> {
    const BEFORE: &str = "retry after ";
    let start = message.to_ascii_lowercase().find(BEFORE)? + BEFORE.len();
    let word = message.get(start..)?.split_whitespace().next()?;
    word.trim_end_matches(['.', ',', ')', '"']).parse().ok()
}

/// Google's words without secrets, as they are or as a form writes them, and without control characters; cut.
fn scrubbed(text: &str, secrets: &[&SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().map(|secret| secret.expose_secret()).filter(|secret| !secret.is_empty()) {
        let in_form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        text = text.replace(secret, "[hidden]").replace(&in_form, "[hidden]");
    }
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(DETAIL_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::CALLS;

    const NOW: &str = "2026-11-22T10:00:00Z";

    fn answered(call: &str, status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let call = CALLS.iter().find(|own| own.name == call).unwrap();
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let secret = SecretString::from("ya29.secret");
        Answered { call, status, headers: &headers, body: body.as_bytes(), now: NOW.parse().unwrap() }.error(&[&secret])
    }

    /// What an API says: a code, a reason, a status word, a sentence.
    fn api(call: &str, status: u16, reason: &str, word: &str, message: &str) -> ErrorKind {
        let one = serde_json::json!({ "message": message, "domain": "global", "reason": reason });
        let errors = if reason.is_empty() { vec![] } else { vec![one] };
        let body = serde_json::json!({ "error":
            { "code": status, "message": message, "errors": errors, "status": word } });
        answered(call, status, &[], &body.to_string()).kind
    }

    fn operator(fault: OperatorFault) -> ErrorKind {
        ErrorKind::Refused(Refusal::Operator(fault))
    }

    fn slow(scope: SlowScope) -> ErrorKind {
        ErrorKind::SlowDown { until: None, scope }
    }

    #[test]
    fn token_endpoint() {
        use ErrorKind::{AdminBlocked, GrantDead, NotUnderstood, Refused, Transient};
        let revoked = GrantDead(DeadReason::Revoked);
        let reauth = GrantDead(DeadReason::ReauthNeeded);
        let other = OperatorFault::Other("unauthorized_client".to_owned());
        let rows = [
            (400, "invalid_grant", "Token has been expired or revoked.", revoked.clone()),
            (400, "invalid_grant", "Bad Request", revoked.clone()),
            (400, "invalid_grant", "Malformed auth code.", revoked.clone()),
            (400, "invalid_grant", "Missing code verifier.", revoked.clone()),
            (400, "invalid_grant", "Invalid code verifier.", revoked.clone()),
            (400, "invalid_grant", "Account has been deleted", GrantDead(DeadReason::AccountDeleted)),
            (400, "invalid_grant", "reauth related error (invalid_rapt)", reauth.clone()),
            (400, "admin_policy_enforced", "", AdminBlocked(BlockReason::AdminPolicyEnforced)),
            (400, "access_not_configured", "", AdminBlocked(BlockReason::AccessNotConfigured)),
            (400, "policy_enforced", "", AdminBlocked(BlockReason::AdvancedProtection)),
            (403, "org_internal", "", AdminBlocked(BlockReason::OrgInternal)),
            (401, "invalid_client", "The OAuth client was not found.", operator(OperatorFault::ClientUnknown)),
            (401, "deleted_client", "", operator(OperatorFault::ClientDeleted)),
            (401, "disabled_client", "", operator(OperatorFault::ClientDisabled)),
            (400, "redirect_uri_mismatch", "", operator(OperatorFault::RedirectMismatch)),
            (400, "unauthorized_client", "", operator(other)),
            (400, "unsupported_grant_type", "", Refused(Refusal::Invalid)),
            (400, "invalid_request", "", Refused(Refusal::Invalid)),
            (400, "invalid_scope", "", Refused(Refusal::Invalid)),
            (403, "rate_limit_exceeded", "", slow(SlowScope::Project)),
            (400, "internal_failure", "", Transient),
            (500, "invalid_grant", "", Transient),
            (400, "something_new", "", NotUnderstood),
        ];
        for (status, word, text, expected) in rows {
            let body = serde_json::json!({ "error": word, "error_description": text }).to_string();
            assert_eq!(answered("oauth.refresh", status, &[], &body).kind, expected, "{status} {word} {text}");
        }
        for subtype in ["invalid_rapt", "rapt_required"] {
            let body = serde_json::json!({ "error": "invalid_grant", "error_subtype": subtype }).to_string();
            assert_eq!(answered("oauth.refresh", 400, &[], &body).kind, reauth, "{subtype}");
        }
        for (status, expected) in [
            (429, slow(SlowScope::Project)),
            (503, Transient),
            (400, NotUnderstood),
            (401, NotUnderstood),
            (302, NotUnderstood),
        ] {
            assert_eq!(answered("oauth.refresh", status, &[], "<html>").kind, expected, "{status}");
        }
    }

    #[test]
    fn gmail() {
        use ErrorKind::{AdminBlocked, CursorGone, NoMailbox, NotUnderstood, Refused, Transient};
        let quota = |limit: &str| {
            let metric = "Quota exceeded for quota metric 'Queries' and limit";
            format!("{metric} '{limit}' of service 'gmail.googleapis.com' for consumer 'project_number:1'.")
        };
        let (person, project) = (quota("Queries per minute per user"), quota("Queries per minute"));
        let entity = "Requested entity was not found.";
        let scopes = "Request had insufficient authentication scopes.";
        let disabled = "The domain administrators have disabled Gmail apps.";
        let exhausted = "Resource has been exhausted (e.g. check quota).";
        let precondition = Refused(Refusal::PreconditionFailed("Else".to_owned()));
        let rows = [
            (403, "rateLimitExceeded", "Rate Limit Exceeded", slow(SlowScope::Person)),
            (403, "rateLimitExceeded", person.as_str(), slow(SlowScope::Person)),
            (403, "rateLimitExceeded", project.as_str(), slow(SlowScope::Project)),
            (403, "userRateLimitExceeded", "User Rate Limit Exceeded", slow(SlowScope::Person)),
            (403, "dailyLimitExceeded", "Daily Limit Exceeded", slow(SlowScope::Day)),
            (403, "quotaExceeded", "Quota exceeded", slow(SlowScope::Person)),
            (403, "domainPolicy", disabled, AdminBlocked(BlockReason::DomainPolicy)),
            (403, "accessNotConfigured", "Gmail API has not been used", operator(OperatorFault::ApiDisabled)),
            (403, "SERVICE_DISABLED", "", operator(OperatorFault::ApiDisabled)),
            (403, "insufficientPermissions", scopes, Refused(Refusal::ScopeMissing)),
            (403, "forbidden", "Metadata scope does not support 'q' parameter", Refused(Refusal::Forbidden)),
            (429, "rateLimitExceeded", "Too many concurrent requests for user", slow(SlowScope::Concurrency)),
            (429, "rateLimitExceeded", exhausted, slow(SlowScope::Person)),
            (429, "userRateLimitExceeded", "User-rate limit exceeded.", slow(SlowScope::Person)),
            (400, "failedPrecondition", "Mail service not enabled", NoMailbox),
            (400, "failedPrecondition", "Precondition check failed.", NoMailbox),
            (400, "failedPrecondition", "Else", precondition.clone()),
            (401, "authError", "Invalid Credentials", Refused(Refusal::Unauthorized)),
            (404, "notFound", entity, Refused(Refusal::NotFound)),
            (400, "invalidArgument", "Invalid id value", Refused(Refusal::Invalid)),
            (400, "invalidArgument", "Invalid pageToken", Refused(Refusal::Invalid)),
            (403, "backendError", "Backend Error", Transient),
            (500, "backendError", "Backend Error", Transient),
            (502, "", "", Transient),
            (408, "", "", Transient),
            (412, "conditionNotMet", "Else", precondition),
            (418, "", "", NotUnderstood),
            (307, "", "", NotUnderstood),
        ];
        for (status, reason, message, expected) in rows {
            assert_eq!(api("gmail.messages.get", status, reason, "", message), expected, "{status} {reason} {message}");
        }
        assert_eq!(api("gmail.history.list", 404, "notFound", "NOT_FOUND", entity), CursorGone);
    }

    #[test]
    fn gmail_watch() {
        let test = "Error sending test message to Cloud PubSub projects/p/topics/t :";
        let missing = format!("{test} Resource not found (resource=t).");
        let forbidden = format!("{test} User not authorized to perform this action.");
        let foreign = "Invalid topicName does not match projects/p/topics/*";
        let conflict = "Only one user push notification client allowed per developer (call /stop then try again)";
        let rows = [
            (400, foreign, operator(OperatorFault::TopicForeign)),
            (404, missing.as_str(), operator(OperatorFault::TopicMissing)),
            (403, forbidden.as_str(), operator(OperatorFault::PublisherMissing)),
            (400, conflict, ErrorKind::Refused(Refusal::PushClientConflict)),
            (400, "Mail service not enabled", ErrorKind::NoMailbox),
            (403, "", ErrorKind::Refused(Refusal::Forbidden)),
            (404, "", ErrorKind::Refused(Refusal::NotFound)),
        ];
        for (status, message, expected) in rows {
            assert_eq!(api("gmail.watch", status, "forbidden", "", message), expected, "{message}");
        }
        let elsewhere = api("gmail.messages.get", 403, "forbidden", "", &forbidden);
        assert_eq!(elsewhere, ErrorKind::Refused(Refusal::Forbidden));
    }

    #[test]
    fn calendar() {
        use ErrorKind::{AdminBlocked, CursorGone, NoCalendar, Refused, Transient};
        let limit = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute";
        let (person, project) = (format!("{limit} per user' of service"), format!("{limit}' of service"));
        let rows = [
            (410, "fullSyncRequired", "Sync token is no longer valid, a full sync is required.", CursorGone),
            (410, "updatedMinTooLongAgo", "The requested minimum modification time lies too far.", CursorGone),
            (410, "deleted", "Resource has been deleted", Refused(Refusal::Deleted)),
            (410, "", "", CursorGone),
            (400, "badRequest", "Sync token cannot be used with timeMin.", Refused(Refusal::Invalid)),
            (403, "rateLimitExceeded", "Rate Limit Exceeded", slow(SlowScope::Person)),
            (403, "rateLimitExceeded", project.as_str(), slow(SlowScope::Project)),
            (403, "rateLimitExceeded", person.as_str(), slow(SlowScope::Person)),
            (403, "userRateLimitExceeded", "User Rate Limit Exceeded", slow(SlowScope::Person)),
            (403, "quotaExceeded", "Calendar usage limits exceeded.", slow(SlowScope::Person)),
            (403, "dailyLimitExceeded", "Daily Limit Exceeded", slow(SlowScope::Day)),
            (429, "rateLimitExceeded", "Too Many Requests", slow(SlowScope::Person)),
            (403, "insufficientPermissions", "Insufficient Permission", Refused(Refusal::ScopeMissing)),
            (403, "accessNotConfigured", "", operator(OperatorFault::ApiDisabled)),
            (403, "domainPolicy", "", AdminBlocked(BlockReason::DomainPolicy)),
            (403, "notACalendarUser", "The user must be signed up for Google Calendar.", NoCalendar),
            (403, "requiredAccessLevel", "", Refused(Refusal::Forbidden)),
            (404, "notFound", "Not Found", Refused(Refusal::NotFound)),
            (412, "conditionNotMet", "Else", Refused(Refusal::PreconditionFailed("Else".to_owned()))),
            (503, "backendError", "Backend Error", Transient),
        ];
        for (status, reason, message, expected) in rows {
            assert_eq!(
                api("calendar.events.list", status, reason, "", message),
                expected,
                "{status} {reason} {message}"
            );
        }
        let watch = api("calendar.events.watch", 410, "", "", "");
        assert_eq!(watch, Refused(Refusal::Deleted), "no cursor is behind that call");
    }

    #[test]
    fn an_address_that_google_does_not_take_says_nothing_about_the_token() {
        let refused = |call, reason| api(call, 401, reason, "UNAUTHENTICATED", "Unauthorized WebHook callback channel");
        let (forbidden, unauthorized) = (Refusal::Forbidden, Refusal::Unauthorized);
        let (watch, of_address) = ("calendar.events.watch", "push.webhookUrlUnauthorized");
        assert_eq!(refused(watch, of_address), ErrorKind::Refused(forbidden));
        assert_eq!(refused(watch, "authError"), ErrorKind::Refused(unauthorized.clone()));
        assert_eq!(refused("calendar.events.list", of_address), ErrorKind::Refused(unauthorized));
    }

    #[test]
    fn directory() {
        let forbidden = "Not Authorized to access this resource/api";
        let rows = [
            (403, "forbidden", forbidden, ErrorKind::Refused(Refusal::Forbidden)),
            (403, "userRateLimitExceeded", "", slow(SlowScope::Person)),
            (403, "quotaExceeded", "", slow(SlowScope::Concurrency)),
            (429, "rateLimitExceeded", "", slow(SlowScope::Concurrency)),
            (400, "badRequest", "Bad Request", ErrorKind::Refused(Refusal::Invalid)),
            (404, "notFound", "Resource Not Found: userKey", ErrorKind::Refused(Refusal::NotFound)),
            (503, "backendError", "", ErrorKind::Transient),
        ];
        for (status, reason, message, expected) in rows {
            assert_eq!(api("directory.users.list", status, reason, "", message), expected, "{status} {reason}");
        }
    }

    #[test]
    fn pubsub() {
        use ErrorKind::{Refused, Transient};
        let sharing = "One or more users named in the policy do not belong to a permitted customer.";
        let rows = [
            (400, "FAILED_PRECONDITION", sharing, Refused(Refusal::PreconditionFailed(sharing.to_owned()))),
            (400, "INVALID_ARGUMENT", "", Refused(Refusal::Invalid)),
            (401, "UNAUTHENTICATED", "", Refused(Refusal::Unauthorized)),
            (403, "PERMISSION_DENIED", "", Refused(Refusal::Forbidden)),
            (404, "NOT_FOUND", "", Refused(Refusal::NotFound)),
            (409, "ALREADY_EXISTS", "", Refused(Refusal::Conflict)),
            (409, "ABORTED", "", Refused(Refusal::Conflict)),
            (429, "RESOURCE_EXHAUSTED", "", slow(SlowScope::Project)),
            (501, "UNIMPLEMENTED", "", Refused(Refusal::NotImplemented)),
            (503, "UNAVAILABLE", "", Transient),
            (504, "DEADLINE_EXCEEDED", "", Transient),
        ];
        for (status, word, message, expected) in rows {
            assert_eq!(api("pubsub.topics.setIamPolicy", status, "", word, message), expected, "{status} {word}");
        }
        let disabled =
            r#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}"#;
        assert_eq!(answered("pubsub.topics.get", 403, &[], disabled).kind, operator(OperatorFault::ApiDisabled));
    }

    #[test]
    fn a_missing_scope_is_seen_in_either_place() {
        let challenge = [("www-authenticate", r#"Bearer realm="x", error="insufficient_scope""#)];
        let details = r#"{"error":{"details":[{"reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}"#;
        for error in [answered("gmail.watch", 403, &challenge, ""), answered("gmail.watch", 403, &[], details)] {
            assert_eq!(error.kind, ErrorKind::Refused(Refusal::ScopeMissing));
        }
    }

    #[test]
    fn the_time_to_come_back_is_in_the_message_or_the_header() {
        let until = |headers: &[(&'static str, &str)], message: &str| {
            let body = serde_json::json!({ "error": { "message": message } });
            match answered("gmail.messages.get", 429, headers, &body.to_string()).kind {
                ErrorKind::SlowDown { until, scope: SlowScope::Person } => until.map(|until| until.to_string()),
                other => panic!("{other:?}"),
            }
        };
        let message = "User-rate limit exceeded.  Retry after 2026-11-22T18:22:38.763Z";
        let rows = [
            (until(&[], message), Some("2026-11-22T18:22:38.763Z")),
            (until(&[("retry-after", "1")], message), Some("2026-11-22T18:22:38.763Z")),
            (until(&[("retry-after", "90")], ""), Some("2026-11-22T10:01:30Z")),
            (until(&[("retry-after", "Sun, 22 Nov 2026 11:00:00 GMT")], ""), Some("2026-11-22T11:00:00Z")),
            (until(&[("retry-after", "4294967295")], ""), Some("2026-11-29T10:00:00Z")),
            (until(&[], "Retry after 9000-01-01T00:00:00Z."), Some("2026-11-29T10:00:00Z")),
            (until(&[("retry-after", "soon")], "retry after a while"), None),
        ];
        for (until, expected) in rows {
            assert_eq!(until.as_deref(), expected);
        }
    }

    #[test]
    fn what_was_sent_never_comes_back() {
        let body = r#"{"error":{"code":400,"message":"token ya29.secret\nis bad","status":"FAILED_PRECONDITION",
            "errors":[{"reason":"ya29.secret"},{"reason":"with space"},{"reason":"failedPrecondition"}]}}"#;
        let error = answered("gmail.messages.get", 400, &[], body);
        assert_eq!(error.reason.as_deref(), Some("failedPrecondition"));
        assert_eq!(error.detail(), Some("token [hidden] is bad"));
        assert!(!format!("{error} {error:?}").contains("secret"));
        let long = format!(r#"{{"error":"invalid_grant","error_description":"{}"}}"#, "x".repeat(5000));
        let error = answered("oauth.refresh", 400, &[], &long);
        assert_eq!(error.detail().map(str::len), Some(DETAIL_LENGTH_MAX));
        assert_eq!(error.to_string().matches('x').count(), 1, "only that of `expired`: {error}");
    }

    #[test]
    fn every_kind_has_a_sentence_that_fits_in_a_log_line() {
        let error = answered("gmail.history.list", 404, &[], "");
        assert_eq!(
            error.to_string(),
            "gmail.history.list: the history from this point is gone; everything has to be compared once (HTTP 404)"
        );
    }
}

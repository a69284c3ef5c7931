//! From an answer that is not a success to what the caller has to do about it.
//!
//! The order of evidence: status, call, Google's reason words, and only last the text of the message, which Google may
//! reword. The rows are what Google's guides list and what others observed; the tests hold all of them. A reader must not
//! turn an unknown answer into a dead grant, nor a 5xx into anything but [`ErrorKind::Transient`].

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

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
        let listed = |key: &str| {
            error[key]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| &entry["reason"])
        };
        let oauth = [error, &document["error_subtype"]];
        let words = listed("errors")
            .chain(listed("details"))
            .chain([&error["status"]])
            .chain(oauth);
        let words = words
            .filter_map(Value::as_str)
            .take(WORDS_MAX)
            .map(str::to_owned)
            .collect();
        let message = error["message"]
            .as_str()
            .or(document["error_description"].as_str())
            .unwrap_or_default();
        Self {
            words,
            message: message.to_owned(),
        }
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
        Error::new(self.call.name, kind)
            .answered(self.status, reason)
            .saying(&complaint.message)
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
            (401, _) => ErrorKind::Refused(Refusal::Unauthorized),
            (403, _) => self.forbidden(complaint),
            (404, _) => self.not_found(complaint),
            (409, _) => ErrorKind::Refused(Refusal::Conflict),
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
        if any(&[
            "rateLimitExceeded",
            "userRateLimitExceeded",
            "quotaExceeded",
            "dailyLimitExceeded",
        ]) {
            return self.slow_down(complaint);
        }
        if complaint.is("domainPolicy") {
            return ErrorKind::AdminBlocked(BlockReason::DomainPolicy);
        }
        let challenge = self
            .headers
            .get(header::WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok());
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

    /// Whether Gmail failed to publish its test message: a fault of the topic, not of the person.
    fn is_watch_test(&self, complaint: &Complaint) -> bool {
        self.call.name == "gmail.watch" && complaint.says("error sending test message")
    }

    fn slow_down(&self, complaint: &Complaint) -> ErrorKind {
        let longest = self.now.checked_add(WAIT_MAX).unwrap_or(Timestamp::MAX);
        let until = time_in(&complaint.message)
            .or_else(|| self.retry_after())
            .map(|until| until.min(longest));
        ErrorKind::SlowDown {
            until,
            scope: self.slow_scope(complaint),
        }
    }

    /// Google says `rateLimitExceeded` for people and projects alike (observed), so the sentence decides.
    fn slow_scope(&self, complaint: &Complaint) -> SlowScope {
        let says = |words: &str| complaint.says(words);
        if says("concurrent") {
            SlowScope::Concurrency
        } else if complaint.is("dailyLimitExceeded") || says("per day") || says("daily limit") {
            SlowScope::Day
        } else if complaint.is("userRateLimitExceeded") || says("per user") || says("user-rate") {
            SlowScope::Person
        } else if self.call.api != Api::Gmail || says("per minute") || says("per project") {
            SlowScope::Project
        } else {
            SlowScope::Person
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

/// Google's words without secrets and control characters, cut.
fn scrubbed(text: &str, secrets: &[&SecretString]) -> String {
    let hide = |text: String, secret: &&SecretString| match secret.expose_secret() {
        "" => text,
        secret => text.replace(secret, "[hidden]"),
    };
    let hidden = secrets.iter().fold(text.to_owned(), hide);
    hidden
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(DETAIL_LENGTH_MAX)
        .collect()
}

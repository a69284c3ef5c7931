//! What can go wrong, sorted by what the caller has to do about it.
//!
//! A reader must not break two things: [`Error`]'s sentence holds nothing that was sent (no token, code, address or
//! page token), so that it may be logged; and a passing failure is never called a dead grant.

use std::fmt;

use jiff::Timestamp;

/// Why a call failed.
#[derive(Debug)]
pub struct Error {
    /// What the caller has to do.
    pub kind: ErrorKind,
    /// The call's name, as in [`crate::CALLS`].
    pub call: &'static str,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Google's word for the reason, such as `rateLimitExceeded`.
    pub reason: Option<String>,
    detail: Option<Box<str>>,
    is_too_large: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The grant is over. The person has to connect again. Permanent: don't call again with it.
    GrantDead(DeadReason),
    /// An administrator's rule is in the way. Permanent until somebody changes it.
    AdminBlocked(BlockReason),
    /// This request is refused, and would be again; what to do depends on the reason.
    Refused(Refusal),
    /// Too much, too fast. Nothing is wrong with the request.
    SlowDown {
        /// When Google asked to come back, if it said so.
        until: Option<Timestamp>,
        /// Who has to slow down.
        scope: SlowScope,
    },
    /// The history, sync token or page that was asked for is gone: compare everything once. [`Error::reason`] has
    /// Google's word for why (Calendar's `fullSyncRequired` or `updatedMinTooLongAgo`).
    CursorGone,
    /// The account has no Gmail mailbox (no licence, or the service is off).
    NoMailbox,
    /// The account has no calendars (no licence, or the service is off).
    NoCalendar,
    /// The account belongs to no organization, or to one whose directory it may not see.
    NoDirectory,
    /// It may work in a moment: network, 5xx. Never a reason to give a grant up.
    Transient,
    /// An answer that this client cannot read. Trying again soon won't help; somebody should look.
    NotUnderstood,
}

/// Why a grant is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// `invalid_grant`: revoked, expired, password changed; for a code: used, too old, or not ours.
    Revoked,
    /// `invalid_rapt`: Google wants the person to sign in again.
    ReauthNeeded,
    /// The Google account was deleted.
    AccountDeleted,
    /// A fresh access token was rejected. Never made here: the caller decides after one refresh.
    AccessTokenRejected,
}

/// Which rule of an organization is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockReason {
    /// `admin_policy_enforced`: the app, or a service that it asks for, is restricted.
    AdminPolicyEnforced,
    /// `access_not_configured`: the administrator has not configured the app.
    AccessNotConfigured,
    /// `org_internal`: the app is for its own organization only.
    OrgInternal,
    /// `policy_enforced`: the account is in Google's Advanced Protection Program; only the person can change that.
    AdvancedProtection,
    /// `domainPolicy`: the administrator has switched the service off for apps.
    DomainPolicy,
}

/// Why this one request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 404: there is no such thing (any more), or this person may not know of it (any more).
    NotFound,
    /// 410 `deleted`: this one thing is gone already. Nothing has to be done, least of all a full comparison.
    Deleted,
    /// 401: the access token is not accepted. Refresh it once.
    Unauthorized,
    /// The grant lacks the scope.
    ScopeMissing,
    /// Something that only the operator of this installation can put right.
    Operator(OperatorFault),
    /// 400, or refused before sending: our mistake, or a page token that is no longer good.
    Invalid,
    /// Another watch with another topic is active, or two were asked at once: stop, then watch once.
    PushClientConflict,
    /// 409: it exists already, or somebody else was faster.
    Conflict,
    /// A condition is not met; Google's words.
    PreconditionFailed(String),
    /// 403 without a more exact reason.
    Forbidden,
    /// 501: this server cannot do that (Pub/Sub's emulator on IAM calls).
    NotImplemented,
}

/// What the operator has to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorFault {
    /// `invalid_client`: unknown client ID or wrong secret.
    ClientUnknown,
    /// `deleted_client`.
    ClientDeleted,
    /// `disabled_client`.
    ClientDisabled,
    /// `redirect_uri_mismatch`.
    RedirectMismatch,
    /// The API is not switched on in the Cloud project.
    ApiDisabled,
    /// The Pub/Sub topic does not exist.
    TopicMissing,
    /// The topic is in another Cloud project than the OAuth client.
    TopicForeign,
    /// Gmail may not publish to the topic.
    PublisherMissing,
    /// Something else; a sentence or Google's word.
    Other(String),
}

/// Who has to slow down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowScope {
    /// Too many calls at the same time for one mailbox, or for one organization's directory; other apps count too.
    Concurrency,
    /// One person's quota per minute.
    Person,
    /// The project's quota per minute.
    Project,
    /// The project's quota of the day.
    Day,
}

impl ErrorKind {
    /// One word for receipts, metrics and tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::GrantDead(_) => "grant_dead",
            Self::AdminBlocked(_) => "admin_blocked",
            Self::Refused(_) => "refused",
            Self::SlowDown { .. } => "slow_down",
            Self::CursorGone => "cursor_gone",
            Self::NoMailbox => "no_mailbox",
            Self::NoCalendar => "no_calendar",
            Self::NoDirectory => "no_directory",
            Self::Transient => "transient",
            Self::NotUnderstood => "not_understood",
        }
    }
}

impl Error {
    pub(crate) fn new(call: &'static str, kind: ErrorKind) -> Self {
        Self { kind, call, status: None, reason: None, detail: None, is_too_large: false, source: None }
    }

    /// A request that is refused before it is sent.
    pub(crate) fn unsent(call: &'static str, why: &str) -> Self {
        Self::new(call, ErrorKind::Refused(Refusal::Invalid)).saying(why)
    }

    pub(crate) fn answered(self, status: u16, reason: Option<String>) -> Self {
        Self { status: Some(status), reason, ..self }
    }

    pub(crate) fn saying(self, detail: &str) -> Self {
        Self { detail: (!detail.is_empty()).then(|| detail.into()), ..self }
    }

    pub(crate) fn too_large(call: &'static str, status: u16) -> Self {
        let error = Self::new(call, ErrorKind::NotUnderstood).answered(status, None);
        Self { is_too_large: true, ..error.saying("the answer is larger than this client accepts") }
    }

    /// Whether the answer was larger than this client accepts: whoever asks for less of it at once may read it.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    pub(crate) fn caused_by(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// More for the operator: Google's own words, cut, without anything secret that was sent. They may name a project
    /// or a topic; don't show them to people.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.call, self.kind)?;
        match (self.status, self.reason.as_deref()) {
            (Some(status), Some(reason)) => write!(formatter, " (HTTP {status}, {reason})"),
            (Some(status), None) => write!(formatter, " (HTTP {status})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::GrantDead(DeadReason::Revoked) => {
                "the grant was revoked or has expired; the person has to connect again"
            }
            Self::GrantDead(DeadReason::ReauthNeeded) => {
                "Google wants the person to sign in again; they have to connect again"
            }
            Self::GrantDead(DeadReason::AccountDeleted) => "the Google account was deleted",
            Self::GrantDead(DeadReason::AccessTokenRejected) => {
                "a fresh access token was rejected; the person has to connect again"
            }
            Self::AdminBlocked(reason) => return reason.fmt(formatter),
            Self::Refused(refusal) => return refusal.fmt(formatter),
            Self::SlowDown { until: Some(until), scope } => {
                return write!(formatter, "{}; come back after {until}", scope.sentence());
            }
            Self::SlowDown { until: None, scope } => scope.sentence(),
            Self::CursorGone => "the history from this point is gone; everything has to be compared once",
            Self::NoMailbox => "the account has no Gmail mailbox; its administrator can switch Gmail on for it",
            Self::NoCalendar => "the account has no calendars; its administrator can switch Google Calendar on for it",
            Self::NoDirectory => "the account belongs to no organization, or may not see its directory",
            Self::Transient => "no answer, or Google had trouble; it may work in a moment",
            Self::NotUnderstood => "the answer cannot be understood; please report it if it stays",
        };
        formatter.write_str(sentence)
    }
}

impl fmt::Display for BlockReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AdminPolicyEnforced => {
                "the organization's administrator restricts this app or a service it asks for; they have to approve it"
            }
            Self::AccessNotConfigured => "the organization's administrator has to configure this app first",
            Self::OrgInternal => "the app is for its own organization only; use an account of that organization",
            Self::AdvancedProtection => {
                "the account is in Google's Advanced Protection Program, which keeps apps out; the person can leave it"
            }
            Self::DomainPolicy => "the organization's administrator has switched this service off for apps",
        })
    }
}

impl SlowScope {
    fn sentence(self) -> &'static str {
        match self {
            Self::Concurrency => "too many calls at the same time; send fewer in parallel",
            Self::Person => "this person's quota is used up for now; slow down",
            Self::Project => "the project's quota is used up for now; everybody has to slow down",
            Self::Day => "the project's quota of the day is used up; the operator can raise the cap or wait",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotFound => "there is no such thing, or no longer",
            Self::Deleted => "it is deleted already; nothing has to be done",
            Self::Unauthorized => "the access token is not accepted; refresh it once",
            Self::ScopeMissing => {
                "the grant lacks the permission for this; the person has to connect again and tick its box"
            }
            Self::Operator(fault) => return fault.fmt(formatter),
            Self::Invalid => "the request is not valid",
            Self::PushClientConflict => "another watch of this mailbox is active; stop it, then watch once",
            Self::Conflict => "it exists already, or somebody else was faster",
            Self::PreconditionFailed(_) => "a condition for this is not met",
            Self::Forbidden => "this is forbidden",
            Self::NotImplemented => "this server cannot do that",
        })
    }
}

impl fmt::Display for OperatorFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ClientUnknown => {
                "the OAuth client is unknown or its secret is wrong; the operator has to correct them"
            }
            Self::ClientDeleted => "the OAuth client was deleted; the operator has to restore it or make a new one",
            Self::ClientDisabled => "the OAuth client is disabled; the operator has to enable it",
            Self::RedirectMismatch => {
                "the redirect address is not registered for the OAuth client; the operator has to register it exactly"
            }
            Self::ApiDisabled => "the API is switched off in the Cloud project; the operator has to switch it on",
            Self::TopicMissing => "the Pub/Sub topic does not exist; the operator has to create it",
            Self::TopicForeign => {
                "the Pub/Sub topic must be projects/PROJECT/topics/NAME in the OAuth client's own Cloud project"
            }
            Self::PublisherMissing => {
                "Gmail may not publish to the topic; the operator has to grant roles/pubsub.publisher on it to \
                 gmail-api-push@system.gserviceaccount.com"
            }
            Self::Other(what) => return write!(formatter, "the operator has to look at this: {what}"),
        })
    }
}

//! Connecting a person's Google Workspace account. The story, in the order of its files: `begin` sends the person to
//! Google with an attempt that works once; `finish` takes the callback, checks who came back and what they permitted,
//! and leaves a mailbox that is due; `refusal` writes down who was turned away before that; `connection` says, from
//! evidence, how things stand; `leave` stops the pushes, revokes, erases and issues a receipt; `repair` looks whether a
//! blocked organization is let in again; `retention` lets go whom the directory calls deleted since long enough. The
//! engine in `sync/` is never called from here: it finds the due row.

mod ask;
mod begin;
mod calendars;
mod connection;
mod finish;
mod leave;
mod refusal;
mod repair;
mod retention;

pub use ask::wait_for_approval;
pub use begin::{ORGANIZATION_ATTEMPTS_MAX, Options, begin};
pub use calendars::{AgendaStanding, CalendarStanding, Mode};
pub use connection::{
    Connection, DirectoryCopy, Missing, Permission, Push, Standstill, abandoned, connection, directory_copy,
};
pub use finish::{Callback, Connected, finish};
pub use leave::{Left, Wish, document, leave, let_go, remove_organization, resume_leaving};
pub use repair::{look_again, repair};
pub use retention::let_the_deleted_go;

use crate::store::StoreError;

/// A way in which connecting ends without a connection. Each has its own page: what happened, and one thing to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The callback lacks what Google always sends.
    #[error("the callback lacks {0}")]
    Incomplete(&'static str),
    /// No attempt has this state: forged, or forgotten long ago.
    #[error("no attempt has this state")]
    UnknownState,
    /// The attempt was begun in another browser or by another person.
    #[error("the attempt was begun in another browser or by another person")]
    ForeignState,
    /// The attempt took longer than it may.
    #[error("the attempt took too long")]
    Expired,
    /// The callback was used already.
    #[error("the callback was used already")]
    Replayed,
    /// The answer doesn't come from the issuer that was asked.
    #[error("the answer names another issuer")]
    ForeignIssuer,
    /// The person pressed Cancel.
    #[error("the person said no")]
    Denied,
    /// The administrator hasn't let Intail in, or has shut it out.
    #[error("the administrator blocks Intail")]
    BlockedByAdministrator,
    /// Google's Advanced Protection shuts Intail out.
    #[error("the account is under Advanced Protection")]
    AdvancedProtection,
    /// The Google account isn't the one that this person signed in with.
    #[error("another account came back")]
    WrongAccount {
        /// The address that was expected.
        expected: String,
        /// The address that came back.
        came: String,
    },
    /// The account belongs to no Workspace, or to one of another organization.
    #[error("the account belongs to another organization")]
    WrongOrganization {
        /// The address that came back.
        came: String,
    },
    /// Somebody else has connected this account.
    #[error("the account is connected by somebody else")]
    AccountTaken {
        /// The address that came back.
        came: String,
    },
    /// Somebody else of the organization signs in with this account.
    #[error("somebody else signs in with the account")]
    AccountOfAnother {
        /// The address that came back.
        came: String,
    },
    /// Google doesn't accept the answer that it gave: it is too old, was used elsewhere, or was never Google's.
    #[error("Google doesn't accept its answer")]
    AnswerRefused,
    /// The token carries a wider Gmail scope than Intail may hold.
    #[error("the token carries a wider scope: {0}")]
    WiderScope(String),
    /// No permission was given at all.
    #[error("no permission was given")]
    NothingGranted,
    /// Google gave no refresh token, and none is held.
    #[error("Google gave no refresh token")]
    NoRefreshToken,
    /// Too many attempts in a short time.
    #[error("too many attempts in a short time")]
    TooMany,
    /// What was copied before is still being erased.
    #[error("the erasure that was begun isn't finished")]
    StillLeaving,
    /// The person was removed while they were at Google.
    #[error("the person was removed from the organization meanwhile")]
    Removed,
    /// Too many attempts of one organization in a short time.
    #[error("too many attempts of one organization in a short time")]
    OrganizationBusy,
    /// The organization would have no administrator without this person.
    #[error("the organization would have no administrator")]
    LastAdministrator,
    /// Nothing is connected.
    #[error("nothing is connected")]
    NotConnected,
    /// Intail's OAuth client is wrong: the operator must mend it.
    #[error("the OAuth client is refused: {0}")]
    Operator(String),
    /// Google couldn't answer; trying again later helps.
    #[error("Google couldn't answer")]
    GoogleTrouble(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something else that Google said, which trying again doesn't mend.
    #[error("Google said something unexpected")]
    Unexpected(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Intail's own trouble.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A secret couldn't be opened.
    #[error("a sealed secret couldn't be opened")]
    Sealed(#[from] crate::seal::SealError),
}

impl ConnectError {
    /// One word for the attempt's row, the log and the page's address.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Incomplete(_) => "incomplete",
            Self::UnknownState => "unknown_state",
            Self::ForeignState => "foreign_state",
            Self::Expired => "expired",
            Self::Replayed => "replayed",
            Self::ForeignIssuer => "foreign_issuer",
            Self::Denied => "denied",
            Self::BlockedByAdministrator => "blocked_by_administrator",
            Self::AdvancedProtection => "advanced_protection",
            Self::WrongAccount { .. } => "wrong_account",
            Self::WrongOrganization { .. } => "wrong_organization",
            Self::AccountTaken { .. } => "account_taken",
            Self::AccountOfAnother { .. } => "account_of_another",
            Self::AnswerRefused => "answer_refused",
            Self::WiderScope(_) => "wider_scope",
            Self::NothingGranted => "nothing_granted",
            Self::NoRefreshToken => "no_refresh_token",
            Self::TooMany => "too_many",
            Self::StillLeaving => "still_leaving",
            Self::Removed => "removed",
            Self::OrganizationBusy => "organization_busy",
            Self::LastAdministrator => "last_administrator",
            Self::NotConnected => "not_connected",
            Self::Operator(_) => "operator",
            Self::GoogleTrouble(_) => "google_trouble",
            Self::Unexpected(_) => "unexpected",
            Self::Store(_) | Self::Sealed(_) => "internal",
        }
    }
}

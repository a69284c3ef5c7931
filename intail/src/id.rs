//! Ids as types: a mailbox's id can't be handed where a person's is wanted. Each is readable, `mbx_` and sixteen random
//! characters, and doubles as its column's value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::random::Random;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const RANDOM_LENGTH: usize = 16;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A new random id.
            pub fn new(random: &Random) -> Self {
                Self(generate($prefix, random))
            }
            /// The id as people and the store see it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                check($prefix, text).map(|()| Self(text.to_owned()))
            }
        }
    )*};
}

ids! {
    /// An organization that uses Intail.
    OrganizationId = "org";
    /// A person who can sign in to Intail.
    PersonId = "per";
    /// What one person permitted at Google.
    GrantId = "gra";
    /// One person's copied mailbox.
    MailboxId = "mbx";
    /// One person's copied calendars, as one stream.
    AgendaId = "agd";
    /// One organization's copied directory.
    DirectoryId = "dir";
    /// An invitation to join an organization.
    InvitationId = "inv";
    /// A receipt of leaving, and the leaving that ends in it.
    ReceiptId = "rec";
}

/// What the engine keeps equal to Google's state, one at a time: a mailbox, somebody's calendars, a directory. Its id's
/// prefix says which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// A mailbox.
    Mail(MailboxId),
    /// A person's calendars.
    Calendar(AgendaId),
    /// An organization's directory.
    Directory(DirectoryId),
}

impl StreamId {
    /// The id as the store sees it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mail(id) => id.as_str(),
            Self::Calendar(id) => id.as_str(),
            Self::Directory(id) => id.as_str(),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StreamId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        match text.split('_').next() {
            Some("agd") => text.parse().map(Self::Calendar),
            Some("dir") => text.parse().map(Self::Directory),
            _ => text.parse().map(Self::Mail),
        }
    }
}

impl From<&MailboxId> for StreamId {
    fn from(id: &MailboxId) -> Self {
        Self::Mail(id.clone())
    }
}

impl From<&AgendaId> for StreamId {
    fn from(id: &AgendaId) -> Self {
        Self::Calendar(id.clone())
    }
}

impl From<&DirectoryId> for StreamId {
    fn from(id: &DirectoryId) -> Self {
        Self::Directory(id.clone())
    }
}

/// The text isn't an id of the kind that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an id of the form {prefix}_ and {RANDOM_LENGTH} characters")]
pub struct NotAnId {
    prefix: &'static str,
    text: String,
}

fn generate(prefix: &str, random: &Random) -> String {
    let mut bytes = [0u8; RANDOM_LENGTH];
    random.fill(&mut bytes);
    let tail: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    format!("{prefix}_{tail}")
}

fn check(prefix: &'static str, text: &str) -> Result<(), NotAnId> {
    let tail = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    match tail {
        Some(tail) if tail.len() == RANDOM_LENGTH && tail.bytes().all(|byte| ALPHABET.contains(&byte)) => Ok(()),
        _ => Err(NotAnId { prefix, text: text.chars().take(64).collect() }),
    }
}

/// Gmail's history id: an unsigned 64-bit number whose order is the mailbox's order (Gmail discovery document,
/// `uint64`). Stored as twenty digits, so that neither SQLite's nor PostgreSQL's signed integers overflow and text
/// order is number order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryId(pub u64);

impl HistoryId {
    /// The column's value: twenty digits.
    pub fn to_column(self) -> String {
        format!("{:020}", self.0)
    }
}

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HistoryId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_ids_sort_as_numbers_in_their_column() {
        let ids = [HistoryId(9), HistoryId(10), HistoryId(u64::MAX), HistoryId(u64::MAX - 1)];
        let mut columns: Vec<_> = ids.iter().map(|id| id.to_column()).collect();
        columns.sort();
        let back: Vec<HistoryId> = columns.iter().map(|text| text.parse().expect("digits")).collect();
        assert_eq!(back, [HistoryId(9), HistoryId(10), HistoryId(u64::MAX - 1), HistoryId(u64::MAX)]);
    }

    #[test]
    fn a_stream_s_id_says_what_it_is() {
        let random = Random::seeded(1);
        let streams = [
            StreamId::from(&MailboxId::new(&random)),
            StreamId::from(&AgendaId::new(&random)),
            StreamId::from(&DirectoryId::new(&random)),
        ];
        for stream in streams {
            assert_eq!(stream.as_str().parse::<StreamId>().as_ref(), Ok(&stream));
        }
        assert!("per_0000000000000000".parse::<StreamId>().is_err());
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let person = PersonId::new(&Random::seeded(1));
        assert!(person.as_str().parse::<MailboxId>().is_err());
        assert_eq!(person.as_str().parse::<PersonId>().as_ref(), Ok(&person));
    }
}

//! The audit log: who did what, when, from where, to whom. Append-only, and hash-chained: each entry's hash covers its
//! text and the hash before it, so that a changed, missing or slipped-in entry shows.
//!
//! What a reader must not break: an entry is written in the transaction of what it tells of, last before the commit;
//! and it names people by id alone, without content, subject, address or token, so that erasing a person is still
//! possible.

use std::fmt;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::id::{OrganizationId, PersonId};
use crate::store::audit::{self, AuditEntry, Chain};
use crate::store::{Store, StoreError, Tx, organizations};

/// The longest detail, in bytes of JSON: a few words and numbers. A longer one is left out, and the entry says so.
const DETAIL_BYTES_MAX: usize = 2_000;
/// The longest name of whom or what an entry is about, in characters: an id or a domain.
const ABOUT_MAX: usize = 253;
/// Entries that are read at once while a chain is walked.
const PAGE: i64 = 500;
/// Entries that are removed in one transaction: more would keep those who write waiting.
const REMOVED_AT_ONCE: i64 = 1_000;
/// Organizations that are looked through in one round.
const ORGANIZATIONS_MAX: i64 = 10_000;
/// After how long a refusal that repeats itself is written again: an entry an hour shows that it goes on, and a flood
/// of a year still fits.
const REPEATED_AFTER: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// How many of the newest entries about somebody are looked through for a repetition: more than come together in that
/// time by everything that isn't a flood.
const LOOKED_BACK: i64 = 200;
/// An entry's day, for counting how long it is kept.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person of the organization.
    Person(PersonId),
    /// Whoever runs Intail, by its command line.
    Operator,
    /// Intail by itself.
    Intail,
    /// Google, by what it answered.
    Google,
    /// The organization's directory at Google.
    Directory,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => f.write_str(id.as_str()),
            Self::Operator => f.write_str("operator"),
            Self::Intail => f.write_str("intail"),
            Self::Google => f.write_str("google"),
            Self::Directory => f.write_str("directory"),
        }
    }
}

/// From where something was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// From this address, by a browser or a program.
    Address(IpAddr),
    /// By Intail's command line.
    Cli,
    /// Nobody said, or nowhere: Intail did it by itself.
    #[default]
    Unknown,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Cli => f.write_str("cli"),
            Self::Unknown => Ok(()),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// In which organization.
    pub organization: &'a OrganizationId,
    /// Who did it.
    pub actor: Actor,
    /// What was done, in one dotted word: `connection.made`.
    pub action: &'static str,
    /// To whom or what: an id or a domain; never an address or a name.
    pub about: &'a str,
    /// From where.
    pub origin: Origin,
    /// A few words and numbers beside it; `json!({})` for none.
    pub detail: Json,
}

/// Writes an entry into the transaction of what it tells of. Call it last before the commit, after the feed's changes:
/// from here on, other writers of the organization's log wait.
pub async fn record(tx: &mut Tx, entry: Entry<'_>, now: Timestamp) -> Result<(), StoreError> {
    let detail = entry.detail.to_string();
    let detail = if detail.len() > DETAIL_BYTES_MAX { json!({"left_out": "too long"}).to_string() } else { detail };
    let (seq, before) = audit::next(tx, entry.organization).await?;
    let mut kept = AuditEntry {
        seq,
        at: now,
        actor: entry.actor.to_string(),
        action: entry.action.to_owned(),
        about: entry.about.chars().take(ABOUT_MAX).collect(),
        origin: entry.origin.to_string(),
        detail,
        hash: String::new(),
    };
    kept.hash = hash(entry.organization, &kept, &before);
    audit::append(tx, entry.organization, &kept).await
}

/// The same for what somebody can repeat as often as they like, such as a refused request: once in
/// [`REPEATED_AFTER`] for the same action, about the same, with the same detail. Answers whether it was written.
pub async fn record_once(tx: &mut Tx, entry: Entry<'_>, now: Timestamp) -> Result<bool, StoreError> {
    record_once_in(tx, entry, REPEATED_AFTER, now).await
}

/// The same for what has to be known each time that it is done by hand, and not each time that a program does it.
pub async fn record_once_a_minute(tx: &mut Tx, entry: Entry<'_>, now: Timestamp) -> Result<bool, StoreError> {
    record_once_in(tx, entry, MINUTE, now).await
}

async fn record_once_in(
    tx: &mut Tx,
    entry: Entry<'_>,
    repeated_after: SignedDuration,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // Held before it is looked, so that two who are refused at once aren't both the first.
    audit::hold(tx, entry.organization).await?;
    let since = now.checked_sub(repeated_after).unwrap_or(Timestamp::MIN);
    let detail = entry.detail.to_string();
    let repeated = audit::Repeated { action: entry.action, about: entry.about, detail: &detail, since };
    if audit::is_repeated(tx, entry.organization, repeated, LOOKED_BACK).await? {
        return Ok(false);
    }
    record(tx, entry, now).await?;
    Ok(true)
}

/// SHA-256, in hex, of a JSON array: the hash before, organization, number, microseconds since 1970, actor, action,
/// about, origin, detail. `docs/operating.md` says how others compute it.
fn hash(organization: &OrganizationId, entry: &AuditEntry, before: &str) -> String {
    let at_us = entry.at.as_microsecond();
    let text = json!([
        before,
        organization.as_str(),
        entry.seq,
        at_us,
        entry.actor,
        entry.action,
        entry.about,
        entry.origin,
        entry.detail
    ]);
    Sha256::digest(text.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a walk along the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Every entry is there and unchanged.
    Whole {
        /// How many entries.
        entries: i64,
        /// The number of the newest; 0 in an empty log.
        last_seq: i64,
        /// Its hash: whoever keeps it can prove later that everything up to it is as it was.
        last_hash: String,
    },
    /// The chain is broken.
    Broken {
        /// At this number.
        seq: i64,
        /// What is wrong there.
        why: &'static str,
    },
}

/// Walks an organization's chain from its old end to what is its new end now, page by page.
pub async fn verify(store: &Store, organization: &OrganizationId) -> Result<Verified, StoreError> {
    let mut tx = store.read().await?;
    let chain = audit::chain(&mut tx, organization).await?;
    drop(tx);
    let mut walk = Walk { seq: chain.removed_seq, hash: chain.removed_hash.clone(), entries: 0 };
    while walk.seq < chain.last_seq {
        let mut tx = store.read().await?;
        let page = audit::after(&mut tx, organization, walk.seq, PAGE).await?;
        // What was removed meanwhile is no gap.
        let now = audit::chain(&mut tx, organization).await?;
        drop(tx);
        if now.removed_seq > walk.seq {
            walk = Walk { seq: now.removed_seq, hash: now.removed_hash, entries: 0 };
            continue;
        }
        if page.is_empty() {
            return Ok(Verified::Broken { seq: walk.seq + 1, why: "entries at the new end are missing" });
        }
        for entry in page.iter().take_while(|it| it.seq <= chain.last_seq) {
            if let Some(why) = walk.step(organization, entry) {
                return Ok(Verified::Broken { seq: walk.seq + 1, why });
            }
        }
        if page.last().is_some_and(|it| it.seq > chain.last_seq) && walk.seq < chain.last_seq {
            return Ok(Verified::Broken { seq: walk.seq + 1, why: "an entry is missing" });
        }
    }
    // Whoever takes the chain's end away, or sets it back, leaves entries that nothing holds together.
    let mut tx = store.read().await?;
    let end = audit::chain(&mut tx, organization).await?;
    if let Some(beyond) = audit::after(&mut tx, organization, end.last_seq, 1).await?.first() {
        return Ok(Verified::Broken { seq: beyond.seq, why: "an entry stands behind the chain's end" });
    }
    Ok(walk.ended(&chain))
}

/// How far a walk has come.
struct Walk {
    seq: i64,
    hash: String,
    entries: i64,
}

impl Walk {
    /// Goes on to the next entry; answers what is wrong with it.
    fn step(&mut self, organization: &OrganizationId, entry: &AuditEntry) -> Option<&'static str> {
        if entry.seq != self.seq + 1 {
            return Some("an entry is missing");
        }
        if entry.hash != hash(organization, entry, &self.hash) {
            return Some("the entry isn't what was written");
        }
        self.seq = entry.seq;
        self.hash.clone_from(&entry.hash);
        self.entries += 1;
        None
    }

    fn ended(self, chain: &Chain) -> Verified {
        // The chain may have been cut down to before where the walk began: nothing of it was walked then.
        if self.seq == chain.last_seq && self.hash != chain.last_hash {
            return Verified::Broken { seq: self.seq, why: "the newest entry isn't the one that was written last" };
        }
        Verified::Whole { entries: self.entries, last_seq: self.seq, last_hash: self.hash }
    }
}

/// Removes what is older than each organization keeps. Answers how many entries.
pub async fn remove_old(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let mut tx = store.read().await?;
    let organizations = organizations::list(&mut tx, ORGANIZATIONS_MAX).await?;
    drop(tx);
    let mut removed = 0;
    for organization in organizations {
        let kept_for = DAY.checked_mul(i32::try_from(organization.audit_kept_days).unwrap_or(i32::MAX));
        let before = kept_for.and_then(|it| now.checked_sub(it).ok()).unwrap_or(Timestamp::MIN);
        loop {
            let mut tx = store.write().await?;
            let count = audit::remove(&mut tx, &organization.id, before, REMOVED_AT_ONCE).await?;
            tx.commit().await?;
            removed += count;
            if count == 0 {
                break;
            }
        }
    }
    Ok(removed)
}

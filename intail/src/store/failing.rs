//! Streams that can't be read although their grant works: since when, why, and when it is tried again. What is kept
//! here is what happened; whether it is worth a word is asked each time, so that nothing stored ever says "ok".

use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use super::leases::Stream;
use super::sql::{Columns, Tx, args};

/// How long tries must have failed before anybody is told: the waits between them double from two seconds, so about
/// nine have failed in a row by then, and no passing refusal of Google's makes a page flicker; and the waits are still
/// shorter than this, so that what is shown is news.
pub const SHOWN_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// How many must have failed: after one alone Intail itself may have been away.
pub const SHOWN_FROM: i64 = 2;

/// What doesn't pass by itself, so that it is told at once: each was looked at twice before it was written. For
/// each of them mail alone stands still.
pub const LASTING: [&str; 3] = [NO_MAILBOX, OFF_FOR_APPS, API_DISABLED];
/// Google says that the account has no mailbox.
pub const NO_MAILBOX: &str = "no_mailbox";
/// The organization has switched Gmail off for applications.
pub const OFF_FOR_APPS: &str = "gmail_off_for_apps";
/// Gmail's API isn't switched on in the Cloud project.
pub const API_DISABLED: &str = "api_disabled";

/// The tries of a stream that failed since the last that didn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How many.
    pub failures: i64,
    /// When the first of them failed.
    pub since: Timestamp,
    /// Why the newest did, in one word of `sync::failures`.
    pub why: String,
    /// Since when each failed for that reason.
    pub why_since: Timestamp,
}

/// What a row says of its failures; none when its last try didn't fail.
pub(super) fn failed(row: &dyn Columns) -> Result<Option<Failed>, StoreError> {
    let failures = row.int("failures")?;
    let (since, why_since) = (row.at_or_null("failed_since")?, row.at_or_null("failed_why_since")?);
    let why = row.text_or_null("failed_why")?;
    Ok(match (since, why, why_since) {
        (Some(since), Some(why), Some(why_since)) if failures > 0 => Some(Failed { failures, since, why, why_since }),
        _ => None,
    })
}

impl Failed {
    /// Since when the stream can't be read, if that is worth a word. `works_since` is since when its grant works: what
    /// failed before says nothing.
    pub fn shown_since(&self, works_since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let since = self.since.max(works_since);
        let is_long = self.failures >= SHOWN_FROM && now.duration_since(since) >= SHOWN_AFTER;
        (is_long || LASTING.contains(&self.why.as_str())).then_some(since)
    }
}

/// The same as a condition on the row `s` of a stream and the row `g` of its grant. `now` is the statement's place for
/// the instant.
pub(super) fn is_shown(now: &str) -> String {
    let after_us = SHOWN_AFTER.as_micros();
    let lasting = LASTING.map(|it| format!("'{it}'")).join(", ");
    format!(
        "(s.failures > 0 AND (s.failed_why IN ({lasting})
             OR s.failures >= {SHOWN_FROM} AND s.failed_since <= {now} - {after_us}
                 AND (g.id IS NULL OR g.state_since <= {now} - {after_us})))"
    )
}

/// How many streams of each kind can't be read although their grant works. A directory is read under any of several.
pub async fn count(tx: &mut Tx, now: Timestamp) -> Result<Vec<(Stream, i64)>, StoreError> {
    let mut counts = Vec::new();
    for stream in Stream::ALL {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM {} s LEFT JOIN grants g ON g.id = s.grant_id
             WHERE {} AND (g.id IS NULL OR g.state IN ('active', 'partial') AND g.suspended_at IS NULL)",
            stream.table(),
            is_shown("$1")
        );
        let counted = tx.all_built(sql, args![now], |row| row.int("n")).await?;
        counts.push((stream, counted.into_iter().next().unwrap_or(0)));
    }
    Ok(counts)
}

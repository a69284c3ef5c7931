//! Calls to Google, written down for the people on whose behalf they were made: each one in a log, and sums by day. The
//! client's hook only adds to memory; the engine writes what waits together with the end of each run, and every process
//! writes the rest every two seconds.
//!
//! The log is a chain: a batch holds one line for each call, and its hash covers the one before, so that a batch that
//! is changed, taken out or put elsewhere shows. What a reader must not break: nothing is lost in silence. Calls for
//! which memory had no room, and runs that broke off before they could write, leave a line of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use intail_google::{CallHook, CallRecord};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::id::{GrantId, OrganizationId};
use crate::store::call_counts::{self, CallCount};
use crate::store::receipts::{self, Batch, Head};
use crate::store::{Store, StoreError, Tx};

/// Why calls are made: one word each, the same in lines, exports and pages.
pub mod purpose {
    /// A person connected, and reading begins.
    pub const CONNECT: &str = "connect";
    /// Something changed just now.
    pub const LIVE: &str = "live";
    /// What was there before is copied.
    pub const BACKFILL: &str = "backfill";
    /// Everything is compared, because something was missed.
    pub const REPAIR: &str = "repair";
    /// Google is asked to tell of changes.
    pub const WATCH: &str = "watch";
    /// Whether something was missed is looked at.
    pub const CHECK: &str = "check";
    /// What failed before is tried again.
    pub const RETRY: &str = "retry";
    /// The copy is counted against Google's own count.
    pub const AUDIT: &str = "audit";
    /// Access is renewed.
    pub const TOKEN: &str = "token";
    /// The person leaves.
    pub const LEAVING: &str = "leaving";
    /// Nobody said why.
    pub const UNSTATED: &str = "unstated";
}

/// Calls that wait in memory at most, 80 bytes each; beyond it they are only counted, and a line says so.
const WAITING_MAX: usize = 100_000;
/// Lines of one batch. A batch is read whole, so it stays some kilobytes.
const BATCH_LINES_MAX: usize = 400;
/// Grants whose calls are written in one transaction: nobody waits long for the writer.
const GRANTS_AT_ONCE: usize = 50;
/// What a person's log takes up at most, in bytes: some 50,000 calls. The oldest go first.
pub const KEPT_BYTES_MAX: i64 = 2 * 1024 * 1024;
/// What is left once something had to go, in eighths: so that it isn't each time one batch.
const KEPT_EIGHTHS: i64 = 7;
/// How long a call stays in the log, in days.
pub const KEPT_DAYS_MAX: i64 = 90;
/// How long the sums of a day stay: a year and a month, so that two years can be compared.
pub const SUMS_DAYS_MAX: i64 = 400;
/// Batches that are looked at in one go when old ones are dropped, and when a chain is verified.
const BATCHES_AT_ONCE: i64 = 50;
/// How often that is done in one transaction: as many batches as the largest log has when each holds one call.
const DROPS_MAX: usize = 200;
/// Grants whose old batches are dropped in one go.
const SWEPT_AT_ONCE: i64 = 100;
/// Sums that are deleted in one transaction: nobody waits long for the writer.
const SUMS_AT_ONCE: i64 = 2_000;
/// How often in one sweep: a day of ten thousand people has some hundred thousand sums. The next is an hour later.
const SUMS_SWEEPS_MAX: usize = 200;

/// Ends of chains that are remembered: with more grants than these, all are asked for anew now and then.
const ENDS_MAX: usize = 50_000;

/// The call's place in a line that tells of a gap.
pub const GAP: &str = "gap";
/// A gap because a run broke off before it could write.
const BROKEN_OFF: &str = "broken_off";
/// A gap because memory had no room; its outcome is how many calls.
const NOT_KEPT: &str = "not_kept";
/// The outcome of the sums of calls that were not kept one by one.
const SUMMED: &str = "not_kept";

/// What waits to be written. Cheap to clone.
#[derive(Clone, Default)]
pub struct Receipts(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    grants: BTreeMap<String, Calls>,
    calls: usize,
    /// Where the chains ended when this process wrote last, number and hash: whoever knows it needs not ask.
    ends: BTreeMap<String, (i64, String)>,
}

/// What waits for one grant.
#[derive(Default)]
struct Calls {
    made: Vec<Made>,
    /// Calls for which there was no room.
    dropped: Option<Dropped>,
    /// When a run was taken over that had broken off.
    broken_off_at: Option<Timestamp>,
}

#[derive(Clone, Copy)]
struct Made {
    at: Timestamp,
    call: &'static str,
    purpose: &'static str,
    outcome: &'static str,
    bytes: u64,
    units: u32,
}

#[derive(Clone, Copy)]
struct Dropped {
    calls: u64,
    units: u64,
    bytes: u64,
    at: Timestamp,
}

impl CallHook for Receipts {
    fn called(&self, call: &CallRecord) {
        let Some(grant) = &call.on_behalf else { return };
        let mut waiting = self.lock();
        let is_full = waiting.calls >= WAITING_MAX;
        let calls = match waiting.grants.get_mut(grant) {
            Some(calls) => calls,
            None => waiting.grants.entry(grant.clone()).or_default(),
        };
        if is_full {
            let dropped = calls.dropped.get_or_insert(Dropped { calls: 0, units: 0, bytes: 0, at: call.at });
            dropped.calls += 1;
            dropped.units += u64::from(call.units);
            dropped.bytes = dropped.bytes.saturating_add(call.bytes);
            return;
        }
        let CallRecord { at, call, purpose, outcome, bytes, units, .. } = *call;
        calls.made.push(Made { at, call, purpose, outcome, bytes, units });
        waiting.calls += 1;
    }
}

impl Receipts {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run for this grant broke off before it could write: from here on the log says so.
    pub fn broke_off(&self, grant: &GrantId, at: Timestamp) {
        self.lock().grants.entry(grant.to_string()).or_default().broken_off_at = Some(at);
    }

    /// Takes what waits for one grant, to be written in a transaction of the caller's. Unless it is told that the
    /// transaction was committed, it goes back.
    pub fn take(&self, grant: &GrantId) -> Taken {
        let mut waiting = self.lock();
        let calls = waiting.grants.remove(grant.as_str()).unwrap_or_default();
        waiting.calls = waiting.calls.saturating_sub(calls.made.len());
        let end = waiting.ends.get(grant.as_str()).cloned();
        Taken { receipts: self.clone(), grant: grant.to_string(), calls, end: Mutex::new(end) }
    }

    /// Writes what waits, for every log. What waited for grants that have gone meanwhile goes with them.
    pub async fn write(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let grants: Vec<String> = self.lock().grants.keys().cloned().collect();
        for some in grants.chunks(GRANTS_AT_ONCE) {
            let mut tx = store.write().await?;
            let mut written = Vec::with_capacity(some.len());
            for name in some {
                let Ok(id) = name.parse::<GrantId>() else {
                    self.forget(name);
                    continue;
                };
                let taken = self.take(&id);
                if let Some(organization) = receipts::organization_of(&mut tx, &id).await? {
                    taken.put(&mut tx, &organization, now).await?;
                }
                written.push(taken);
            }
            tx.commit().await?;
            written.into_iter().for_each(Taken::written);
        }
        Ok(())
    }

    /// Forgets calls that were made for nobody who is known: tokens that weren't kept, a doctor's question.
    fn forget(&self, name: &str) {
        let mut waiting = self.lock();
        let made = waiting.grants.remove(name).map_or(0, |it| it.made.len());
        waiting.calls = waiting.calls.saturating_sub(made);
    }
}

/// What waited for one grant, on its way into a transaction.
pub struct Taken {
    receipts: Receipts,
    grant: String,
    calls: Calls,
    /// Where the chain ends: as this process knows it, then as it is once this is written.
    end: Mutex<Option<(i64, String)>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut calls = std::mem::take(&mut self.calls);
        if calls.is_empty() {
            return;
        }
        let mut waiting = self.receipts.lock();
        waiting.calls += calls.made.len();
        let there = waiting.grants.entry(std::mem::take(&mut self.grant)).or_default();
        calls.made.append(&mut there.made);
        there.made = calls.made;
        there.broken_off_at = calls.broken_off_at.or(there.broken_off_at);
        if let Some(before) = calls.dropped {
            let dropped = there.dropped.get_or_insert(Dropped { calls: 0, units: 0, bytes: 0, at: before.at });
            dropped.calls += before.calls;
            dropped.units += before.units;
            dropped.bytes = dropped.bytes.saturating_add(before.bytes);
        }
    }
}

impl Taken {
    /// Whether it is this grant's.
    pub fn is_of(&self, grant: &GrantId) -> bool {
        self.grant == grant.as_str()
    }

    /// Writes it. The log must exist.
    pub async fn put(&self, tx: &mut Tx, organization: &OrganizationId, now: Timestamp) -> Result<(), StoreError> {
        let Ok(grant) = self.grant.parse::<GrantId>() else { return Ok(()) };
        let lines = self.calls.lines();
        if lines.is_empty() {
            return Ok(());
        }
        let mut end = self.end().take();
        let mut head = None;
        for some in lines.chunks(BATCH_LINES_MAX) {
            let written = match end.take() {
                Some((number, hash)) => {
                    let batch = batch(&grant, number + 1, &hash, some);
                    receipts::extend(tx, organization, &grant, &hash, &batch).await?
                }
                None => None,
            };
            let written = match written {
                Some(head) => head,
                // Nobody here knows the end, or another process wrote since.
                None => {
                    let taken = receipts::take_head(tx, organization, &grant).await?;
                    let batch = batch(&grant, taken.batch, &taken.hash, some);
                    receipts::append(tx, organization, &grant, &taken, &batch).await?
                }
            };
            end = Some((written.batch, written.hash.clone()));
            head = Some(written);
        }
        call_counts::add(tx, organization, &grant, &sums(&lines)).await?;
        if let Some(head) = head {
            drop_old(tx, &grant, head, now).await?;
        }
        *self.end() = end;
        Ok(())
    }

    fn end(&self) -> MutexGuard<'_, Option<(i64, String)>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction was committed.
    pub fn written(mut self) {
        self.calls = Calls::default();
        let Some(end) = self.end().take() else { return };
        let mut waiting = self.receipts.lock();
        if waiting.ends.len() >= ENDS_MAX {
            waiting.ends.clear();
        }
        waiting.ends.insert(self.grant.clone(), end);
    }
}

impl Calls {
    fn is_empty(&self) -> bool {
        self.made.is_empty() && self.dropped.is_none() && self.broken_off_at.is_none()
    }

    fn lines(&self) -> Vec<Line> {
        let gap = |at, purpose: &str, outcome: String, bytes, units| Line {
            at,
            call: GAP.to_owned(),
            purpose: purpose.to_owned(),
            outcome,
            bytes,
            units,
        };
        let mut lines: Vec<Line> = Vec::with_capacity(self.made.len() + 2);
        lines.extend(self.broken_off_at.map(|at| gap(at, BROKEN_OFF, "unknown".to_owned(), 0, 0)));
        lines.extend(self.made.iter().map(|it| Line {
            at: it.at,
            call: it.call.to_owned(),
            purpose: it.purpose.to_owned(),
            outcome: it.outcome.to_owned(),
            bytes: i64::try_from(it.bytes).unwrap_or(i64::MAX),
            units: i64::from(it.units),
        }));
        lines.extend(self.dropped.map(|it| {
            let number = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
            gap(it.at, NOT_KEPT, it.calls.to_string(), number(it.bytes), number(it.units))
        }));
        lines
    }
}

/// One call as it is written down, or a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it began.
    pub at: Timestamp,
    /// The call, or [`GAP`].
    pub call: String,
    /// Why; of a gap: `broken_off` or `not_kept`.
    pub purpose: String,
    /// How it ended; of a gap: how many calls are missing, if that is known.
    pub outcome: String,
    /// Bytes received.
    pub bytes: i64,
    /// Its price in Google's units.
    pub units: i64,
}

impl Line {
    /// What kind of thing was asked about.
    pub fn resource(&self) -> &'static str {
        resource(&self.call)
    }

    /// Whether it tells of a gap.
    pub fn is_gap(&self) -> bool {
        self.call == GAP
    }
}

/// What kind of thing a call asks about.
pub fn resource(call: &str) -> &'static str {
    let mut parts = call.split('.');
    match (parts.next(), parts.next()) {
        (Some("gmail"), Some("messages")) => "message",
        (Some("gmail"), Some("threads")) => "conversation",
        (Some("gmail"), Some("labels")) => "label",
        (Some("gmail"), Some("history")) => "changes",
        (Some("gmail"), Some("watch" | "stop")) => "notices",
        (Some("gmail"), _) => "mailbox",
        (Some("calendar"), _) => "calendar",
        (Some("directory"), _) => "directory",
        (Some("oauth"), _) => "permission",
        (Some(GAP), _) => "gap",
        _ => "other",
    }
}

/// The text of a batch: the instant from which its lines count, then for each call milliseconds, call, why, how it
/// ended, bytes and units.
fn batch(grant: &GrantId, number: i64, before: &str, lines: &[Line]) -> Batch {
    let began_at = lines.iter().map(|it| it.at).min().unwrap_or_default();
    let mut text = began_at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    for line in lines {
        let after_ms = line.at.duration_since(began_at).as_millis();
        let Line { call, purpose, outcome, bytes, units, .. } = line;
        let _ = write!(text, "\n{after_ms} {call} {purpose} {outcome} {bytes} {units}");
    }
    Batch {
        batch: number,
        began_at,
        calls: i64::try_from(lines.len()).unwrap_or(i64::MAX),
        hash: hash(before, grant, number, &text),
        lines: text,
    }
}

/// The hash of a batch, over what a reader of the export holds too.
pub fn hash(before: &str, grant: &GrantId, batch: i64, lines: &str) -> String {
    let digest = Sha256::digest(format!("intail receipt 1\n{before}\n{grant}\n{batch}\n{lines}").as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The calls of a batch, in order; none if its text isn't one.
pub fn read(batch: &Batch) -> Option<Vec<Line>> {
    let mut lines = batch.lines.split('\n');
    let began_at: Timestamp = lines.next()?.parse().ok()?;
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            let [after_ms, call, purpose, outcome, bytes, units] = parts[..] else { return None };
            Some(Line {
                at: began_at.checked_add(SignedDuration::from_millis(after_ms.parse().ok()?)).ok()?,
                call: call.to_owned(),
                purpose: purpose.to_owned(),
                outcome: outcome.to_owned(),
                bytes: bytes.parse().ok()?,
                units: units.parse().ok()?,
            })
        })
        .collect()
}

fn sums(lines: &[Line]) -> Vec<CallCount> {
    let mut sums: BTreeMap<(String, &str, &str), CallCount> = BTreeMap::new();
    for line in lines.iter().filter(|it| it.purpose != BROKEN_OFF) {
        let day = line.at.strftime("%Y-%m-%d").to_string();
        let (outcome, calls) = match line.is_gap() {
            true => (SUMMED, line.outcome.parse().unwrap_or(0)),
            false => (line.outcome.as_str(), 1),
        };
        let sum = sums.entry((day, &line.call, outcome)).or_insert_with_key(|(day, ..)| CallCount {
            day: day.clone(),
            call: line.call.clone(),
            outcome: outcome.to_owned(),
            calls: 0,
            units: 0,
            bytes: 0,
            last_at: line.at,
        });
        sum.calls += calls;
        sum.units = sum.units.saturating_add(line.units);
        sum.bytes = sum.bytes.saturating_add(line.bytes);
        sum.last_at = sum.last_at.max(line.at);
    }
    sums.into_values().collect()
}

fn days_before(now: Timestamp, days: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MIN)
}

/// Drops batches that are too old, or the oldest if there is too much; what is left begins at a checkpoint.
async fn drop_old(tx: &mut Tx, grant: &GrantId, mut head: Head, now: Timestamp) -> Result<(), StoreError> {
    let cutoff = days_before(now, KEPT_DAYS_MAX);
    let is_too_much = head.kept_bytes > KEPT_BYTES_MAX;
    if !is_too_much && head.oldest_at.is_none_or(|it| it >= cutoff) {
        return Ok(());
    }
    let kept_max = if is_too_much { KEPT_BYTES_MAX / 8 * KEPT_EIGHTHS } else { KEPT_BYTES_MAX };
    for _ in 0..DROPS_MAX {
        let mut bytes = 0;
        let mut last = None;
        let some = receipts::oldest(tx, grant, BATCHES_AT_ONCE).await?;
        let more = some.len() == usize::try_from(BATCHES_AT_ONCE).unwrap_or(usize::MAX);
        let mut is_enough = false;
        for old in some {
            if head.kept_bytes - bytes <= kept_max && old.began_at >= cutoff {
                is_enough = true;
                break;
            }
            bytes += old.bytes;
            last = Some(old);
        }
        if let Some(last) = last {
            head = receipts::drop_until(tx, grant, &head, &last, bytes).await?;
        }
        if is_enough || !more {
            break;
        }
    }
    Ok(())
}

/// Drops what is too old, also of grants for which nothing is written any more. Each in a transaction of its own:
/// whoever writes several chains in one takes them in an order of their own.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.read().await?;
    let old = receipts::older_than(&mut tx, days_before(now, KEPT_DAYS_MAX), SWEPT_AT_ONCE).await?;
    drop(tx);
    for (grant, organization) in old {
        let mut tx = store.write().await?;
        if let Some(head) = receipts::hold_head(&mut tx, &grant).await? {
            tracing::debug!(%grant, %organization, "old calls leave the log");
            drop_old(&mut tx, &grant, head, now).await?;
        }
        tx.commit().await?;
    }
    let day = days_before(now, SUMS_DAYS_MAX).strftime("%Y-%m-%d").to_string();
    for _ in 0..SUMS_SWEEPS_MAX {
        let mut tx = store.write().await?;
        let swept = call_counts::sweep(&mut tx, &day, SUMS_AT_ONCE).await?;
        tx.commit().await?;
        if swept < SUMS_AT_ONCE.unsigned_abs() {
            break;
        }
    }
    Ok(())
}

/// What walking a chain showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The batch after which what is kept begins; 0 if nothing was dropped yet.
    pub checkpoint_batch: i64,
    /// Its hash.
    pub checkpoint_hash: String,
    /// The last batch.
    pub last_batch: i64,
    /// Its hash: who notes it can tell later that nothing before it was changed.
    pub last_hash: String,
    /// Batches that were walked.
    pub batches: i64,
    /// Calls in them.
    pub calls: i64,
    /// Lines that tell of a gap.
    pub gaps: i64,
    /// When the first call that is kept began.
    pub first_at: Option<Timestamp>,
    /// The first batch that is missing or isn't what its hash says; none if the chain is whole.
    pub broken_at: Option<i64>,
}

/// Walks a grant's chain from its checkpoint to its end. None if nothing was written yet. A chain that was taken away
/// whole, or begun anew, doesn't hold what the sums by day say.
pub async fn verify(tx: &mut Tx, grant: &GrantId) -> Result<Option<Chain>, StoreError> {
    let counted = call_counts::calls_but(tx, grant, SUMMED).await?;
    let head = match receipts::head_of(tx, grant).await? {
        Some(head) => head,
        None if counted == 0 => return Ok(None),
        None => Head::start(),
    };
    let mut chain = Chain {
        checkpoint_batch: head.checkpoint_batch,
        checkpoint_hash: head.checkpoint_hash.clone(),
        last_batch: head.batch,
        last_hash: head.hash.clone(),
        batches: 0,
        calls: 0,
        gaps: 0,
        first_at: None,
        broken_at: None,
    };
    let (mut at, mut before) = (head.checkpoint_batch, head.checkpoint_hash);
    loop {
        let some = receipts::after(tx, grant, at, BATCHES_AT_ONCE).await?;
        if some.is_empty() {
            break;
        }
        for batch in some {
            let lines = read(&batch).filter(|it| i64::try_from(it.len()) == Ok(batch.calls));
            let is_next = batch.batch == at + 1 && batch.hash == hash(&before, grant, batch.batch, &batch.lines);
            let Some(lines) = lines.filter(|_| is_next) else {
                return Ok(Some(Chain { broken_at: Some(at + 1), ..chain }));
            };
            let gaps = lines.iter().filter(|it| it.is_gap()).count();
            chain.batches += 1;
            chain.gaps += i64::try_from(gaps).unwrap_or(i64::MAX);
            chain.calls += i64::try_from(lines.len() - gaps).unwrap_or(i64::MAX);
            chain.first_at = chain.first_at.or(Some(batch.began_at));
            (at, before) = (batch.batch, batch.hash);
        }
    }
    if (at, &before) != (head.batch, &head.hash) {
        chain.broken_at = Some(at + 1);
    } else if head.checkpoint_batch == 0 && counted > chain.calls {
        chain.broken_at = Some(1);
    }
    Ok(Some(chain))
}

/// The text that is signed to vouch for a chain's end.
pub fn vouched(grant: &GrantId, chain: &Chain, at: Timestamp) -> String {
    format!("intail access receipt 1\n{grant}\n{}\n{}\n{at}", chain.last_batch, chain.last_hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;
    use crate::random::Random;

    fn line(second: i64, call: &str) -> Line {
        Line {
            at: from_us(second * 1_000_000 + 250_000),
            call: call.to_owned(),
            purpose: purpose::LIVE.to_owned(),
            outcome: "ok".to_owned(),
            bytes: 1_200,
            units: 20,
        }
    }

    #[test]
    fn a_batch_reads_back_as_it_was_written_whatever_the_order_in_which_calls_ended() {
        let grant = GrantId::new(&Random::seeded(1));
        let lines = [line(7, "gmail.messages.get"), line(5, "gmail.history.list")];
        let written = batch(&grant, 1, receipts::START, &lines);
        assert_eq!(read(&written).as_deref(), Some(&lines[..]));
        assert_eq!(written.began_at, lines[1].at);
        assert!(written.lines.ends_with("\n0 gmail.history.list live ok 1200 20"), "{}", written.lines);
        let other = Batch { lines: written.lines.replace("1200", "1201"), ..written.clone() };
        assert_ne!(hash(receipts::START, &grant, 1, &other.lines), written.hash);
        assert_eq!(read(&Batch { lines: "nonsense".to_owned(), ..written }), None);
    }

    #[test]
    fn sums_are_by_day_call_and_outcome_and_count_what_was_not_kept() {
        let calls = Calls {
            made: Vec::new(),
            dropped: Some(Dropped { calls: 3, units: 60, bytes: 9, at: from_us(0) }),
            broken_off_at: Some(from_us(0)),
        };
        let mut lines = calls.lines();
        assert_eq!(lines.len(), 2);
        lines.extend([line(5, "a.b"), line(6, "a.b"), line(90_000, "a.b")]);
        let sums: Vec<(String, String, i64, i64)> =
            sums(&lines).into_iter().map(|it| (it.day, it.call, it.calls, it.units)).collect();
        let sum = |day: &str, call: &str, calls, units| (day.to_owned(), call.to_owned(), calls, units);
        assert_eq!(
            sums,
            [sum("1970-01-01", "a.b", 2, 40), sum("1970-01-01", "gap", 3, 60), sum("1970-01-02", "a.b", 1, 20)]
        );
    }

    #[test]
    fn what_is_taken_goes_back_unless_it_was_written_and_what_has_no_room_is_counted() {
        let (receipts, grant) = (Receipts::default(), GrantId::new(&Random::seeded(1)));
        let record = CallRecord {
            call: "gmail.getProfile",
            on_behalf: Some(grant.to_string()),
            purpose: purpose::AUDIT,
            at: from_us(0),
            took_ms: 1,
            status: Some(200),
            bytes: 10,
            units: 1,
            outcome: "ok",
        };
        for _ in 0..WAITING_MAX + 2 {
            receipts.called(&record);
        }
        let lines = |taken: &Taken| taken.calls.lines();
        let taken = receipts.take(&grant);
        let (all, last) = (lines(&taken).len(), lines(&taken).pop().map(|it| (it.call, it.outcome)));
        assert_eq!((all, last), (WAITING_MAX + 1, Some((GAP.to_owned(), "2".to_owned()))));
        drop(taken);
        let taken = receipts.take(&grant);
        assert_eq!(lines(&taken).len(), WAITING_MAX + 1);
        taken.written();
        assert!(lines(&receipts.take(&grant)).is_empty());
        assert_eq!(receipts.lock().calls, 0);
    }
}

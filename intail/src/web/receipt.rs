//! The receipt: every call that was made to Google on the person's behalf, one by one and summed by day; its export,
//! and the same for programs. Only ever a person's own.

use std::convert::Infallible;

use askama::Template;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::json;

use super::Web;
use super::access::Caller;
use super::api::{
    CallShape, ChainShape, CheckedReceiptShape, PublicKeyShape, PublicKeysShape, ReceiptShape, TotalShape,
};
use super::asked::Asked;
use super::page::{Shell, html};
use super::trouble::{self, Problem, Trouble};
use super::words::{When, call, counted, gap, grouped, purpose, size};
use crate::id::GrantId;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::org::receipts::{self, Chain, KEPT_BYTES_MAX, KEPT_DAYS_MAX, Line as Call, SUMS_DAYS_MAX};
use crate::signing::{self, Signer};
use crate::store::call_counts::{self, CallCount};
use crate::store::receipts::{self as logs, Batch};
use crate::store::{StoreError, Tx, grants};

/// Counts that are shown: about a month of days with some ten kinds of calls each.
const COUNTS_MAX: i64 = 400;
/// Calls after which a page is full; its last batch is shown whole.
const PAGE_CALLS: i64 = 100;
/// Batches that are looked at for a page: when each holds one call, that many calls.
const PAGE_BATCHES: i64 = 100;
/// Batches that are read at once for an export.
const EXPORT_BATCHES: i64 = 100;

/// Which part of the page.
#[derive(Deserialize)]
pub(super) struct Part {
    before: Option<i64>,
    check: Option<String>,
}

#[derive(Template)]
#[template(path = "receipt.html")]
struct ReceiptPage {
    shell: Shell,
    checked: Option<Checked>,
    calls: Vec<CallLine>,
    is_newest: bool,
    older: Option<i64>,
    days: Vec<Day>,
    kept_days: i64,
    kept_size: String,
    sums_days: i64,
}

/// What walking the chain showed.
struct Checked {
    broken_at: Option<i64>,
    calls: String,
    batches: String,
    gaps: Option<String>,
    last_batch: i64,
    last_hash: String,
}

struct CallLine {
    at: When,
    words: String,
    call: String,
    resource: &'static str,
    why: &'static str,
    outcome: String,
    went_well: bool,
    is_gap: bool,
    units: String,
    bytes: String,
}

struct Day {
    day: String,
    calls: String,
    units: String,
    bytes: String,
    lines: Vec<Line>,
}

struct Line {
    words: &'static str,
    call: String,
    outcome: String,
    went_well: bool,
    calls: String,
    units: String,
    bytes: String,
    last_at: When,
}

/// `GET /receipt`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(part): Asked<Part>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let (mut counts, mut some, mut checked, mut checkpoint) = (Vec::new(), Vec::new(), None, 0);
    if let Some(log) = logs::of_person(&mut tx, &caller.person.id).await? {
        some = batches_before(&mut tx, &log, part.before).await?;
        checkpoint = checkpoint_of(&mut tx, &log).await?;
        if part.before.is_none() {
            counts = call_counts::of_grant(&mut tx, &log, COUNTS_MAX).await?;
        }
        if part.check.is_some() {
            checked = receipts::verify(&mut tx, &log).await?;
        }
    }
    drop(tx);
    html(&ReceiptPage {
        shell: Shell::new(&web, Some(&caller), "receipt", "Receipt"),
        checked: checked.map(words_of_chain),
        is_newest: part.before.is_none(),
        older: older_than(&some, checkpoint),
        calls: newest_first(&some).into_iter().map(|(_, it)| call_line(it)).collect(),
        days: counts.chunk_by(|one, next| one.day == next.day).map(day).collect(),
        kept_days: KEPT_DAYS_MAX,
        kept_size: size(KEPT_BYTES_MAX),
        sums_days: SUMS_DAYS_MAX,
    })
}

/// Whole batches before a number, in order, as many as fill a page.
async fn batches_before(tx: &mut Tx, grant: &GrantId, before: Option<i64>) -> Result<Vec<Batch>, StoreError> {
    let sizes = logs::sizes_before(tx, grant, before.unwrap_or(i64::MAX), PAGE_BATCHES).await?;
    let (mut calls, mut first) = (0, None);
    for (batch, held) in sizes {
        if calls >= PAGE_CALLS {
            break;
        }
        calls += held;
        first = Some(batch);
    }
    let Some(first) = first else { return Ok(Vec::new()) };
    let mut some = logs::after(tx, grant, first - 1, PAGE_BATCHES).await?;
    some.retain(|it| before.is_none_or(|before| it.batch < before));
    Ok(some)
}

/// The last batch that was dropped; 0 if none was.
async fn checkpoint_of(tx: &mut Tx, grant: &GrantId) -> Result<i64, StoreError> {
    Ok(logs::head_of(tx, grant).await?.map_or(0, |it| it.checkpoint_batch))
}

/// The number before which the next page begins, if there may be one. What came up to the checkpoint was dropped.
fn older_than(some: &[Batch], checkpoint: i64) -> Option<i64> {
    some.first().map(|it| it.batch).filter(|first| *first > checkpoint + 1)
}

fn newest_first(some: &[Batch]) -> Vec<(i64, Call)> {
    let lines = some.iter().flat_map(|batch| {
        receipts::read(batch).unwrap_or_default().into_iter().map(|line| (batch.batch, line)).collect::<Vec<_>>()
    });
    let mut lines: Vec<(i64, Call)> = lines.collect();
    lines.reverse();
    lines
}

fn words_of_chain(chain: Chain) -> Checked {
    Checked {
        broken_at: chain.broken_at,
        calls: counted(chain.calls, "call", "calls"),
        batches: counted(chain.batches, "batch", "batches"),
        gaps: (chain.gaps > 0).then(|| counted(chain.gaps, "gap", "gaps")),
        last_batch: chain.last_batch,
        last_hash: chain.last_hash,
    }
}

fn call_line(line: Call) -> CallLine {
    CallLine {
        at: When::full(line.at),
        words: if line.is_gap() { gap(&line.purpose, &line.outcome) } else { call(&line.call).to_owned() },
        resource: line.resource(),
        why: purpose(&line.purpose),
        went_well: line.outcome == "ok",
        is_gap: line.is_gap(),
        units: grouped(line.units),
        bytes: size(line.bytes),
        outcome: line.outcome,
        call: line.call,
    }
}

fn day(counts: &[CallCount]) -> Day {
    let sum = |of: fn(&CallCount) -> i64| counts.iter().map(of).fold(0i64, i64::saturating_add);
    let name = counts.first().map_or("", |it| it.day.as_str());
    Day {
        day: name.parse::<Date>().map_or_else(|_| name.to_owned(), |it| it.strftime("%A, %-d %B %Y").to_string()),
        calls: counted(sum(|it| it.calls), "call", "calls"),
        units: grouped(sum(|it| it.units)),
        bytes: size(sum(|it| it.bytes)),
        lines: counts.iter().map(line).collect(),
    }
}

fn line(count: &CallCount) -> Line {
    Line {
        words: call(&count.call),
        call: count.call.clone(),
        outcome: count.outcome.clone(),
        went_well: count.outcome == "ok",
        calls: grouped(count.calls),
        units: grouped(count.units),
        bytes: size(count.bytes),
        last_at: When::full(count.last_at),
    }
}

// ---- export ----

/// What an export is made of: read whole in one transaction, within the bound of what is kept.
struct Export {
    log: GrantId,
    /// The account that is connected, if one is.
    account: Option<String>,
    chain: Chain,
    counts: Vec<CallCount>,
    batches: Vec<Batch>,
}

async fn read_export(tx: &mut Tx, caller: &Caller) -> Result<Option<Export>, StoreError> {
    let Some(log) = logs::of_person(tx, &caller.person.id).await? else { return Ok(None) };
    let Some(chain) = receipts::verify(tx, &log).await? else { return Ok(None) };
    let account = grants::by_person(tx, &caller.person.id).await?.map(|it| it.email);
    let counts = call_counts::of_grant(tx, &log, i64::MAX).await?;
    let mut batches: Vec<Batch> = Vec::new();
    loop {
        let last = batches.last().map_or(chain.checkpoint_batch, |it| it.batch);
        let some = logs::after(tx, &log, last, EXPORT_BATCHES).await?;
        if some.is_empty() {
            return Ok(Some(Export { log, account, chain, counts, batches }));
        }
        batches.extend(some);
    }
}

/// `GET /receipt/export.jsonl`: the whole receipt, one JSON object a line, with what it takes to verify it.
pub(super) async fn export(State(web): State<Web>, caller: Caller, origin: Origin) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let export = read_export(&mut tx, &caller).await?.ok_or_else(|| trouble::not_there("receipt"))?;
    drop(tx);
    let signer = signer(&web).await?;
    record_export(&web, &caller, origin).await?;
    let (at, Export { log, account, chain, counts, batches }) = (web.app.clock.now(), export);
    let vouched = receipts::vouched(&log, &chain, at);
    let first = json!({
        "kind": "receipt",
        "version": 1,
        "permission": log,
        "account": account,
        "at": at.to_string(),
        "chain": ChainShape::of(&chain),
        "vouched": vouched,
        // Nobody vouches for a chain that is broken.
        "signature": chain.broken_at.is_none().then(|| signer.sign(&vouched)),
        "algorithm": "Ed25519",
        "key": signer.key_id(),
        "public_key": signer.public_key(),
        "verify": HOW_TO_VERIFY,
    });
    let totals = counts.into_iter().map(|it| {
        let mut line = json!(TotalShape::of(&it));
        line["kind"] = json!("total");
        line
    });
    let mut before = chain.checkpoint_hash;
    let batches = batches.into_iter().flat_map(move |batch| {
        let previous = std::mem::replace(&mut before, batch.hash.clone());
        let calls = receipts::read(&batch).unwrap_or_default().into_iter().map(move |line| {
            let mut shown = json!(CallShape::of(batch.batch, &line));
            shown["kind"] = json!("call");
            shown
        });
        let whole = json!({
            "kind": "batch",
            "batch": batch.batch,
            "previous": previous,
            "hash": batch.hash,
            "lines": batch.lines,
        });
        std::iter::once(whole).chain(calls).collect::<Vec<_>>()
    });
    let lines = std::iter::once(first).chain(totals).chain(batches);
    let lines = lines.map(|line| Ok::<Bytes, Infallible>(Bytes::from(format!("{line}\n"))));
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"receipt.jsonl\""),
    ];
    Ok((headers, Body::from_stream(stream::iter(lines))).into_response())
}

/// An export is data leaving Intail: the audit log says so before it begins.
async fn record_export(web: &Web, caller: &Caller, origin: Origin) -> Result<(), StoreError> {
    let person = &caller.person;
    let entry = Entry {
        organization: &person.organization_id,
        actor: Actor::Person(person.id.clone()),
        action: "receipt.exported",
        about: person.id.as_str(),
        origin,
        detail: json!({}),
    };
    let mut tx = web.app.store.write().await?;
    if audit::record_once_a_minute(&mut tx, entry, web.app.clock.now()).await? {
        tx.commit().await?;
    }
    Ok(())
}

const HOW_TO_VERIFY: &str = "For each batch in order: SHA-256 in hex of the text 'intail receipt 1', previous, \
     permission, batch and lines, joined by one line feed each, must be its hash, and the next batch's previous. The \
     first batch's previous is chain.checkpoint_hash, the last hash is chain.last_hash. The signature is over the \
     bytes of vouched; it and public_key are base64url without padding, the key is the 32 bytes of an Ed25519 public \
     key. There is none where chain.broken_at says that the chain is broken. lines: an instant, then for \
     each call the milliseconds after it, the call, why, how it ended, bytes and units.";

/// What signs receipts and exports.
pub(super) async fn signer(web: &Web) -> Result<Signer, Trouble> {
    let app = &web.app;
    Signer::open(&app.store, &app.keyring, &app.random, app.clock.now()).await.map_err(trouble::unexpected)
}

// ---- for programs ----

/// Which calls.
#[derive(Deserialize)]
pub(super) struct Before {
    before: Option<i64>,
}

/// What was asked of Google on the person's behalf: sums by day, and calls one by one, newest first.
#[utoipa::path(get, path = "/api/v1/receipt", tag = "receipt",
    params(("before" = Option<i64>, Query, description = "`next` of the page before.")),
    responses(
        (status = 200, body = ReceiptShape),
        (status = 400, content_type = "application/problem+json", body = Problem),
        (status = 401, content_type = "application/problem+json", body = Problem),
    ))]
pub(super) async fn receipt(
    State(web): State<Web>,
    caller: Caller,
    Asked(wanted): Asked<Before>,
) -> Result<Json<ReceiptShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let Some(log) = logs::of_person(&mut tx, &caller.person.id).await? else {
        return Ok(Json(ReceiptShape::default()));
    };
    let counts = call_counts::of_grant(&mut tx, &log, COUNTS_MAX).await?;
    let some = batches_before(&mut tx, &log, wanted.before).await?;
    let checkpoint = checkpoint_of(&mut tx, &log).await?;
    Ok(Json(ReceiptShape {
        permission: Some(log.to_string()),
        days: counts.iter().map(TotalShape::of).collect(),
        next: older_than(&some, checkpoint),
        calls: newest_first(&some).iter().map(|(batch, it)| CallShape::of(*batch, it)).collect(),
    }))
}

/// Walks the chain of calls from its checkpoint to its end, and vouches for what was found.
#[utoipa::path(get, path = "/api/v1/receipt/verify", tag = "receipt", responses(
    (status = 200, body = CheckedReceiptShape),
    (status = 401, content_type = "application/problem+json", body = Problem),
    (status = 404, content_type = "application/problem+json", body = Problem),
))]
pub(super) async fn verify(State(web): State<Web>, caller: Caller) -> Result<Json<CheckedReceiptShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let log = logs::of_person(&mut tx, &caller.person.id).await?.ok_or_else(|| trouble::not_there("receipt"))?;
    let chain = receipts::verify(&mut tx, &log).await?.ok_or_else(|| trouble::not_there("receipt"))?;
    drop(tx);
    let signer = signer(&web).await?;
    let vouched = receipts::vouched(&log, &chain, web.app.clock.now());
    Ok(Json(CheckedReceiptShape {
        whole: chain.broken_at.is_none(),
        chain: ChainShape::of(&chain),
        // Nobody vouches for a chain that is broken.
        signature: chain.broken_at.is_none().then(|| signer.sign(&vouched)),
        vouched,
        key: signer.key_id().to_owned(),
    }))
}

/// The public keys that receipts are signed with.
#[utoipa::path(get, path = "/api/v1/receipts/key", tag = "receipt", security(()), responses(
    (status = 200, body = PublicKeysShape),
))]
pub(super) async fn keys(State(web): State<Web>) -> Result<Json<PublicKeysShape>, Trouble> {
    let mut tx = web.app.store.read().await?;
    let keys = signing::public_keys(&mut tx).await?;
    Ok(Json(PublicKeysShape {
        algorithm: "Ed25519",
        keys: keys.into_iter().map(|it| PublicKeyShape { id: it.id, public_key: it.public_key }).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn nothing_is_older_than_what_was_dropped() {
        let from = |batch| {
            let (lines, hash) = (String::new(), String::new());
            vec![Batch { batch, began_at: Timestamp::UNIX_EPOCH, calls: 0, lines, hash }]
        };
        assert_eq!(older_than(&[], 0), None);
        assert_eq!(older_than(&from(1), 0), None);
        assert_eq!(older_than(&from(9), 0), Some(9));
        assert_eq!(older_than(&from(9), 7), Some(9));
        assert_eq!(older_than(&from(9), 8), None);
    }
}

//! Administration → Audit log: who did what, when, from where, to whom; and all of it as lines of JSON, from which
//! anybody can prove that nothing is missing.

use std::collections::BTreeMap;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::access::Caller;
use super::asked::Asked;
use super::page::{Shell, html};
use super::trouble::Trouble;
use super::words::{When, clip, counted};
use super::{Web, receipt};
use crate::id::{OrganizationId, PersonId};
use crate::org::audit::{self as log, Actor, Entry, Origin, Verified};
use crate::store::audit::{self, AuditEntry, Chain, Filter};
use crate::store::{Store, StoreError, Tx, people};

/// Entries on a page.
const PAGE_ENTRIES: i64 = 50;
/// Entries that are read at once while all are sent.
const EXPORT_PAGE: i64 = 500;
/// The longest log that is verified while a person waits; longer ones are exported and verified elsewhere.
const VERIFIED_MAX: i64 = 200_000;
/// The longest name, and the longest detail, that are shown.
const NAME_SHOWN_MAX: usize = 80;
const DETAIL_SHOWN_MAX: usize = 300;

/// Groups of actions to filter by: how they begin, and what they are called.
const GROUPS: &[(&str, &str)] = &[
    ("person.", "Joining and signing in"),
    ("role.", "Roles"),
    ("invitation.", "Invitations"),
    ("link.", "Sign-in links"),
    ("connection.", "Connections"),
    ("access_key.", "Access keys"),
    ("approval.", "Approval at Google"),
    ("policy.", "Policy"),
    ("organization.", "Organization and domains"),
    ("privacy.", "Privacy"),
    ("receipt.", "Exports of receipts"),
    ("key.", "Keys that seal secrets"),
    ("database.", "Backups and moves"),
    ("audit.", "Exports of this log"),
];

/// What the page shows.
#[derive(Deserialize)]
pub(super) struct Wanted {
    action: Option<String>,
    who: Option<String>,
    before: Option<i64>,
    check: Option<String>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    groups: Vec<Group>,
    who: String,
    lines: Vec<Line>,
    next: Option<String>,
    total: String,
    checked: Option<Checked>,
}

struct Group {
    begins: &'static str,
    text: &'static str,
    chosen: bool,
}

/// An entry in words.
pub(super) struct Line {
    pub(super) seq: i64,
    pub(super) at: When,
    pub(super) actor: Named,
    pub(super) action: String,
    pub(super) about: Named,
    pub(super) origin: String,
    pub(super) detail: String,
}

/// Somebody or something, and the page of it if it is a person who is here.
pub(super) struct Named {
    pub(super) text: String,
    pub(super) page: Option<String>,
}

/// What verifying found.
struct Checked {
    is_whole: bool,
    text: String,
}

/// `GET /admin/audit`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Trouble> {
    let organization = &caller.person.organization_id;
    let chosen = wanted.action.unwrap_or_default();
    let who = wanted.who.unwrap_or_default().trim().to_owned();
    let mut tx = web.app.store.read().await?;
    let filter = Filter { action: chosen.clone(), who: meant(&mut tx, organization, &who).await? };
    let before = wanted.before.unwrap_or(i64::MAX);
    let mut entries = audit::list(&mut tx, organization, &filter, before, PAGE_ENTRIES + 1).await?;
    let shown = usize::try_from(PAGE_ENTRIES).unwrap_or(usize::MAX);
    let more = entries.len() > shown;
    entries.truncate(shown);
    let next = entries.last().filter(|_| more).map(|last| address(&chosen, &who, last.seq));
    let lines = lines(&mut tx, organization, entries).await?;
    let chain = audit::chain(&mut tx, organization).await?;
    drop(tx);
    let checked = match wanted.check {
        Some(_) => Some(check(&web.app.store, organization, &chain).await?),
        None => None,
    };
    html(&AuditPage {
        shell: Shell::new(&web, Some(&caller), "administration", "Audit log"),
        groups: GROUPS.iter().map(|(begins, text)| Group { begins, text, chosen: *begins == chosen }).collect(),
        who: clip(&who, NAME_SHOWN_MAX),
        lines,
        next,
        total: counted(chain.last_seq - chain.removed_seq, "entry", "entries"),
        checked,
    })
}

/// Whom the filter means: an address stands for the person who has it.
async fn meant(tx: &mut Tx, organization: &OrganizationId, who: &str) -> Result<String, StoreError> {
    if !who.contains('@') {
        return Ok(who.to_owned());
    }
    let namesakes = people::by_email(tx, &who.to_lowercase(), people::NAMESAKES_MAX).await?;
    let ours = namesakes.into_iter().find(|it| it.organization_id == *organization);
    Ok(ours.map_or_else(|| who.to_owned(), |it| it.id.to_string()))
}

fn address(action: &str, who: &str, before: i64) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("action", action)
        .append_pair("who", who)
        .append_pair("before", &before.to_string())
        .finish();
    format!("/admin/audit?{query}")
}

async fn check(store: &Store, organization: &OrganizationId, chain: &Chain) -> Result<Checked, StoreError> {
    if chain.last_seq - chain.removed_seq > VERIFIED_MAX {
        let text = "The log is too long to be verified while you wait. Export it; below it says how an export \
                    is verified.";
        return Ok(Checked { is_whole: false, text: text.to_owned() });
    }
    Ok(match log::verify(store, organization).await? {
        Verified::Whole { entries, last_seq, last_hash } => {
            let entries = counted(entries, "entry is", "entries are");
            let text = format!("{entries} there and unchanged, up to number {last_seq}. Its fingerprint: {last_hash}");
            Checked { is_whole: true, text }
        }
        Verified::Broken { seq, why } => {
            Checked { is_whole: false, text: format!("The log is broken at number {seq}: {why}.") }
        }
    })
}

/// Entries in words, with the names of those who are here.
pub(super) async fn lines(
    tx: &mut Tx,
    organization: &OrganizationId,
    entries: Vec<AuditEntry>,
) -> Result<Vec<Line>, StoreError> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let words = entries.iter().flat_map(|it| {
        let told = parts(&it.detail).into_iter().filter_map(|(_, value)| value.as_str().map(str::to_owned));
        [it.actor.clone(), it.about.clone()].into_iter().chain(told)
    });
    for word in words {
        let Ok(id) = word.parse::<PersonId>() else { continue };
        if names.contains_key(&word) {
            continue;
        }
        let person = people::by_id(tx, &id).await?.filter(|it| it.organization_id == *organization);
        if let Some(person) = person {
            names.insert(word, clip(&person.email, NAME_SHOWN_MAX));
        }
    }
    let named = |word: &str| match names.get(word) {
        Some(name) => Named { text: name.clone(), page: Some(format!("/admin/people/{word}")) },
        None if word == organization.as_str() => Named { text: "the organization".to_owned(), page: None },
        None => Named { text: clip(actor(word), NAME_SHOWN_MAX), page: None },
    };
    let line = |entry: AuditEntry| Line {
        seq: entry.seq,
        at: When::full(entry.at),
        actor: named(&entry.actor),
        action: action(&entry.action).to_owned(),
        about: named(&entry.about),
        origin: entry.origin,
        detail: detail(&entry.detail, &names),
    };
    Ok(entries.into_iter().map(line).collect())
}

/// What was done, in words; the log's own word where there are none.
fn action(word: &str) -> &str {
    match word {
        "person.signed_in" => "Signed in",
        "person.signed_out" => "Signed out",
        "person.joined" => "Joined",
        "person.refused" => "Was kept out",
        "role.changed" => "Role changed",
        "invitation.made" => "Invited",
        "invitation.withdrawn" => "Invitation withdrawn",
        "link.made" => "Sign-in link made",
        "link.refused" => "Sign-in link refused",
        "connection.made" => "Connected",
        "connection.refused" => "Connection refused",
        "connection.left" => "Disconnected",
        "person.suspended_at_google" => "Suspended at Google: paused",
        "person.unsuspended_at_google" => "No longer suspended: goes on",
        "person.renamed_at_google" => "Has another address",
        "person.deleted_at_google" => "Deleted at Google: the days are counted",
        "person.back_at_google" => "Back at Google: nothing is erased",
        "person.disconnected_by_administrator" => "Disconnected by an administrator",
        "person.removed" => "Removed",
        "person.removed_by_directory" => "Removed, the account was deleted at Google",
        "access_key.made" => "Access key made",
        "access_key.deleted" => "Access key deleted",
        "approval.asked" => "Asked for the approval",
        "approval.proved" => "Approval proved",
        "approval.blocked" => "Blocked at Google",
        "policy.changed" => "Policy changed",
        "policy.accounts" => "Policy on accounts changed",
        "privacy.chosen" => "Privacy settings chosen",
        "privacy.read_again" => "Asked to read again what settings had left out",
        "receipt.exported" => "Receipt exported",
        "organization.removed" => "Organization removed",
        "organization.added" => "Organization added",
        "organization.founded" => "Organization founded",
        "organization.domain_added" => "Domain added",
        "organization.domain_removed" => "Domain removed",
        "organization.renamed" => "Organization renamed",
        "key.put_in_use" => "Secrets are sealed under a new key",
        "key.rotated" => "All secrets are sealed under the new key",
        "key.retired" => "An old key was retired",
        "database.restored" => "Everything was restored from a backup",
        "database.moved" => "Everything was moved to another database",
        "audit.exported" => "Audit log exported",
        word => word,
    }
}

/// Who isn't a person, in words.
fn actor(word: &str) -> &str {
    match word {
        "operator" => "Whoever runs Intail",
        "intail" => "Intail",
        "google" => "Google",
        "directory" => "The directory at Google",
        word => word,
    }
}

/// What an entry carries beside who, what and about whom.
fn parts(detail: &str) -> serde_json::Map<String, Json> {
    match serde_json::from_str(detail) {
        Ok(Json::Object(parts)) => parts,
        _ => serde_json::Map::new(),
    }
}

/// What goes without saying where it isn't so.
const EXCEPTIONS: &[&str] = &["again", "access_keys", "removes_person"];

/// What else there is to know, as "name: value", with the names of those who are here.
fn detail(text: &str, names: &BTreeMap<String, String>) -> String {
    let word = |text: &str| match names.get(text) {
        Some(name) => name.clone(),
        None => text.to_owned(),
    };
    let value = |value: &Json| match value {
        Json::String(text) => word(text),
        Json::Array(values) => {
            let values: Vec<String> =
                values.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), word)).collect();
            values.join(", ")
        }
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Null => String::new(),
        other => other.to_string(),
    };
    let parts: Vec<String> = parts(text)
        .iter()
        .filter(|(name, it)| **it != Json::Bool(false) || !EXCEPTIONS.contains(&name.as_str()))
        .map(|(name, it)| (name, value(it)))
        .filter(|(_, it)| !it.is_empty())
        .map(|(name, it)| format!("{}: {it}", name.replace('_', " ")))
        .collect();
    clip(&parts.join("; "), DETAIL_SHOWN_MAX)
}

/// `GET /admin/audit.jsonl`: first a line with what the oldest entry hangs on and what the newest ends in, signed; then
/// an entry a line, oldest first, up to the one that says that they were exported.
pub(super) async fn export(State(web): State<Web>, caller: Caller, origin: Origin) -> Result<Response, Trouble> {
    let organization = caller.person.organization_id.clone();
    let signer = receipt::signer(&web).await?;
    let mut tx = web.app.store.write().await?;
    let (entry, now) = (entry_of_export(&caller, &organization, origin), web.app.clock.now());
    log::record(&mut tx, entry, now).await?;
    let chain = audit::chain(&mut tx, &organization).await?;
    tx.commit().await?;
    let mut first = json!({
        "organization": organization.as_str(),
        "after_seq": chain.removed_seq,
        "after_hash": chain.removed_hash,
        "last_seq": chain.last_seq,
        "last_hash": chain.last_hash,
        "at": now.to_string(),
    });
    // Over the ends of the chain: that the lines between lead from one to the other, everybody computes.
    let vouched = first.to_string();
    first["signature"] = json!(signer.sign(&vouched));
    first["vouched"] = json!(vouched);
    first["algorithm"] = json!("Ed25519");
    first["key"] = json!(signer.key_id());
    first["public_key"] = json!(signer.public_key());
    first["verify"] = json!(HOW_TO_VERIFY);
    let store = web.app.store.clone();
    let rest =
        stream::try_unfold((store, organization, chain.removed_seq), move |(store, organization, after)| async move {
            let page = part(&store, &organization, after, chain.last_seq).await?;
            Ok::<_, StoreError>(page.map(|(text, last)| (text, (store, organization, last))))
        });
    let first = stream::iter([Ok(Bytes::from(format!("{first}\n")))]);
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""),
    ];
    Ok((headers, Body::from_stream(futures::StreamExt::chain(first, rest))).into_response())
}

fn entry_of_export<'a>(caller: &Caller, organization: &'a OrganizationId, origin: Origin) -> Entry<'a> {
    Entry {
        organization,
        actor: Actor::Person(caller.person.id.clone()),
        action: "audit.exported",
        about: organization.as_str(),
        origin,
        detail: json!({}),
    }
}

const HOW_TO_VERIFY: &str = "Each further line's hash is the SHA-256 in hex of the JSON array [hash of the line \
     before, organization, seq, at_us, actor, action, about, origin, detail], without spaces, in UTF-8, escaped no \
     more than JSON asks for. The first line's hash before is after_hash; the last line's hash has to be last_hash. \
     The signature is over the bytes of vouched. Signature and public_key are base64url without padding, the key is \
     the 32 bytes of an Ed25519 public key; it is also at /api/v1/receipts/key.";

/// The next entries as lines, and the last one's number.
async fn part(
    store: &Store,
    organization: &OrganizationId,
    after: i64,
    until: i64,
) -> Result<Option<(Bytes, i64)>, StoreError> {
    let mut tx = store.read().await?;
    let mut page = audit::after(&mut tx, organization, after, EXPORT_PAGE).await?;
    drop(tx);
    page.retain(|it| it.seq <= until);
    let Some(last) = page.last().map(|it| it.seq) else { return Ok(None) };
    let text: String = page.iter().map(|it| format!("{}\n", exported(it))).collect();
    Ok(Some((Bytes::from(text), last)))
}

fn exported(entry: &AuditEntry) -> Json {
    json!({
        "seq": entry.seq,
        "at": entry.at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        "at_us": entry.at.as_microsecond(),
        "actor": entry.actor,
        "action": entry.action,
        "about": entry.about,
        "origin": entry.origin,
        "detail": entry.detail,
        "hash": entry.hash,
    })
}

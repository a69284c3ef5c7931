//! The Directory API's `users.list` and `users.get`, with both of its views. Sources: the discovery document, Google's
//! guides, and what others saw as ordinary people of a real company. What Google leaves open is a switch in
//! [`DirectorySettings`]; nothing here may show an ordinary person more than the public fields.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::Shared;
use crate::accounts::{Caller, Person};
use crate::api_error::ApiError;
use crate::calls;
use crate::query::{PageToken, Query, authorization, decode, unknown_value};
use crate::quota::Counted;
use crate::selector::{Field, Selector, leaf, nest};
use crate::world::World;

const SCOPE: &str = "https://www.googleapis.com/auth/admin.directory.user.readonly";
/// People on a page when the caller doesn't say.
const PAGE_DEFAULT: u64 = 100;
/// People on a page at most.
const PAGE_MAX: u64 = 500;
/// How long a page token is good for (the discovery document).
const PAGE_TOKEN_LIFE_MS: i64 = 3 * 24 * 3_600_000;
/// How long deleted people can be listed (the guide on users).
const DELETED_LISTED: SignedDuration = SignedDuration::from_hours(20 * 24);
/// Parameters that may differ from page to page.
const TOKEN_FREE: [&str; 2] = ["pageToken", "maxResults"];

/// What the directory answers where Google's documents are silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectorySettings {
    /// Status for an account that belongs to no company: 400, 403 or 404.
    pub no_directory_status: u16,
    /// Status for a page token that is older than three days: 400 or 410.
    pub expired_page_status: u16,
}

impl Default for DirectorySettings {
    fn default() -> DirectorySettings {
        DirectorySettings { no_directory_status: 404, expired_page_status: 400 }
    }
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/admin/{*rest}", any(answer))
}

async fn answer(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, request: Request) -> Response {
    let name = calls::name_of(request.method(), request.uri().path()).map_or("directory.other", |name| name.call);
    let (headers, path) = (request.headers(), request.uri().path());
    let answered = shared.with_world(|world| call(world, name, path, query.as_deref(), authorization(headers)));
    match answered {
        Ok(value) => tagged(headers, &value),
        Err(error) => error.into_response(),
    }
}

/// An answer with its etag in the header, or 304 when the caller has it.
pub(crate) fn tagged(headers: &HeaderMap, value: &Value) -> Response {
    let etag = value["etag"].as_str().and_then(|etag| HeaderValue::from_str(etag).ok());
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if etag.is_some() && known == etag.as_ref() {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        ([(header::CONTENT_TYPE, json)], value.to_string()).into_response()
    };
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// A tag that changes with the value.
pub(crate) fn etag_of(value: &Value) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(value.to_string())[..15]))
}

fn call(
    world: &mut World,
    name: &str,
    path: &str,
    query: Option<&str>,
    authorization: Option<&str>,
) -> Result<Value, ApiError> {
    let now = world.clock.now();
    let caller = world.identity.authenticate(now, authorization).map_err(ApiError::unauthenticated)?;
    if name == "directory.other" || !caller.has_scope(SCOPE) {
        return Err(ApiError::scope_missing("admin.googleapis.com", name));
    }
    world.quota.count(&caller, Counted::Directory, now)?;
    let query = Query::parse(query);
    let schema = if name == "directory.users.list" { USERS } else { USER };
    let value = match name {
        "directory.users.list" => list(world, &caller, &query),
        _ => get(world, &caller, &query, &decode(path.rsplit('/').next().unwrap_or_default())),
    }?;
    match query.one("fields") {
        None => Ok(value),
        Some(text) => Ok(Selector::parse(text, schema)?.apply(value)),
    }
}

/// As whom the directory is read.
#[derive(Clone, Copy, PartialEq)]
enum View {
    Administrator,
    Public,
}

/// The caller, once it is certain that the view is theirs.
fn reader<'a>(world: &'a World, caller: &Caller, query: &Query) -> Result<(&'a Person, View), ApiError> {
    let forbidden = || ApiError::forbidden("Not Authorized to access this resource/api");
    let person = world.identity.people.get(&caller.sub).ok_or_else(forbidden)?;
    match query.one("projection") {
        None | Some("basic" | "full" | "custom") => {}
        Some(other) => return Err(unknown_value("projection", other)),
    }
    let view = match query.one("viewType") {
        Some("domain_public") => View::Public,
        None | Some("admin_view") => View::Administrator,
        Some(other) => return Err(unknown_value("view_type", other)),
    };
    if person.hd.is_none() {
        return Err(match world.settings.directory.no_directory_status {
            400 => ApiError::bad_request("Invalid Input: customer"),
            403 => forbidden(),
            _ => ApiError::not_found_because("Domain not found."),
        });
    }
    if view == View::Administrator && !person.is_admin && !person.profile.delegated_administrator {
        return Err(forbidden());
    }
    Ok((person, view))
}

/// Whether two accounts are of the same customer: the world's company, or another one with a domain of its own.
fn same_customer(world: &World, one: &Person, other: &Person) -> bool {
    one.hd == other.hd || (world.identity.is_of_customer(one) && world.identity.is_of_customer(other))
}

fn is_shown(person: &Person, view: View) -> bool {
    let public = !person.suspended && !person.profile.archived && !person.profile.hidden;
    !person.deleted && (view == View::Administrator || public)
}

fn list(world: &World, caller: &Caller, query: &Query) -> Result<Value, ApiError> {
    query.allow(&[
        "customer",
        "customFieldMask",
        "domain",
        "event",
        "maxResults",
        "orderBy",
        "pageToken",
        "projection",
        "query",
        "showDeleted",
        "sortOrder",
        "viewType",
    ])?;
    if query.one("query").is_some() || query.one("customFieldMask").is_some() {
        return Err(ApiError::not_here("This sandbox can't search the directory and has no custom fields."));
    }
    let (reader, view) = reader(world, caller, query)?;
    let of_domain = scope_of(world, reader, query)?;
    let deleted = query.one("showDeleted") == Some("true");
    if deleted && view == View::Public {
        return Err(ApiError::forbidden("Not Authorized to access this resource/api"));
    }
    let size = match query.number("maxResults", "max_results", "TYPE_INT32")? {
        None => PAGE_DEFAULT,
        Some(size @ 1..=PAGE_MAX) => size,
        Some(_) => return Err(ApiError::bad_request("Invalid Input: maxResults")),
    };
    let size = match world.settings.page_max {
        0 => usize::try_from(size).unwrap_or(0),
        most => usize::try_from(size).unwrap_or(0).min(most),
    };
    let order = Order::parse(query)?;
    let now = world.clock.now();
    let purpose = query.purpose(&format!("users/{}", caller.sub), &TOKEN_FREE);
    let after = query.one("pageToken").map(|token| after_token(world, token, &purpose, now)).transpose()?;
    let lately = |person: &Person| person.profile.deleted_at.is_some_and(|at| now.duration_since(at) < DELETED_LISTED);
    let mut found: Vec<((String, &str), &Person)> = world
        .identity
        .people
        .values()
        .filter(|person| same_customer(world, reader, person))
        .filter(|person| of_domain.is_none_or(|domain| person.email.ends_with(&format!("@{domain}"))))
        .filter(|person| if deleted { person.deleted && lately(person) } else { is_shown(person, view) })
        .map(|person| ((order.key(person), person.sub.as_str()), person))
        .collect();
    found.sort_by(|(left, _), (right, _)| if order.descending { right.cmp(left) } else { left.cmp(right) });
    // A page begins behind a person and not at a number, so that whoever is deleted meanwhile shifts nobody.
    let begin = after.map_or(0, |after| {
        found.partition_point(|((key, sub), _)| {
            let (here, before) = ((key.as_str(), *sub), (after.0.as_str(), after.1.as_str()));
            if order.descending { here >= before } else { here <= before }
        })
    });
    let page = &found[begin..found.len().min(begin + size)];
    let users: Vec<Value> = page.iter().map(|(_, person)| user_value(world, person, view)).collect();
    let mut answer = Map::new();
    answer.insert("kind".into(), "admin#directory#users".into());
    answer.insert("etag".into(), etag_of(&json!(users)).into());
    if !users.is_empty() {
        answer.insert("users".into(), users.into());
    }
    if let Some(((key, sub), _)) = page.last().filter(|_| begin + page.len() < found.len()) {
        let token = PageToken { number: now.as_millisecond(), word: format!("{sub}|{key}") };
        answer.insert("nextPageToken".into(), token.write(&purpose).into());
    }
    Ok(answer.into())
}

/// The domain to which the list is confined, if any.
fn scope_of<'a>(world: &World, reader: &Person, query: &'a Query) -> Result<Option<&'a str>, ApiError> {
    match (query.one("customer"), query.one("domain")) {
        (None, None) => Err(ApiError::bad_request("Bad Request")),
        (Some(customer), None) => {
            let own = world.identity.is_of_customer(reader).then_some(world.identity.customer.id.as_str());
            if customer == "my_customer" || own == Some(customer) {
                return Ok(None);
            }
            Err(ApiError::forbidden("Not Authorized to access this resource/api"))
        }
        (_, Some(domain)) => {
            let own = reader.hd.as_deref() == Some(domain);
            let companys = world.identity.customer.domains.iter().any(|known| known == domain);
            if own || (companys && world.identity.is_of_customer(reader)) {
                return Ok(Some(domain));
            }
            Err(ApiError::not_found_because("Domain not found."))
        }
    }
}

fn after_token(world: &World, token: &str, purpose: &str, now: Timestamp) -> Result<(String, String), ApiError> {
    let invalid = || ApiError::bad_request("Invalid Input: pageToken");
    let place = PageToken::read(token, purpose).map_err(|_| invalid())?;
    if now.as_millisecond() - place.number >= PAGE_TOKEN_LIFE_MS {
        return Err(match world.settings.directory.expired_page_status {
            410 => ApiError::gone("deleted"),
            _ => invalid(),
        });
    }
    let (sub, key) = place.word.split_once('|').ok_or_else(invalid)?;
    Ok((key.to_owned(), sub.to_owned()))
}

/// In which order people are listed.
struct Order {
    by: fn(&Person) -> &str,
    descending: bool,
}

impl Order {
    fn parse(query: &Query) -> Result<Order, ApiError> {
        let by: fn(&Person) -> &str = match query.one("orderBy") {
            // Without a wish the order is unspecified; by id is stable.
            None => |person| &person.sub,
            Some("email") => |person| &person.email,
            Some("givenName") => |person| &person.given_name,
            Some("familyName") => |person| &person.family_name,
            Some(other) => return Err(unknown_value("order_by", other)),
        };
        let descending = match query.one("sortOrder").map(str::to_ascii_uppercase).as_deref() {
            None | Some("ASCENDING") => false,
            Some("DESCENDING") => true,
            Some(other) => return Err(unknown_value("sort_order", other)),
        };
        Ok(Order { by, descending })
    }

    fn key(&self, person: &Person) -> String {
        (self.by)(person).to_lowercase()
    }
}

fn get(world: &World, caller: &Caller, query: &Query, key: &str) -> Result<Value, ApiError> {
    query.allow(&["customFieldMask", "projection", "viewType"])?;
    let (reader, view) = reader(world, caller, query)?;
    let found = world.identity.people.get(key).or_else(|| world.identity.person_by_email(key));
    let found = found.filter(|person| same_customer(world, reader, person) && is_shown(person, view));
    let missing = || ApiError::not_found_because("Resource Not Found: userKey");
    found.map(|person| user_value(world, person, view)).ok_or_else(missing)
}

/// A person as the view shows them. The public fields are those that others saw; Google promises none of them.
fn user_value(world: &World, person: &Person, view: View) -> Value {
    let profile = &person.profile;
    let mut value = json!({
        "kind": "admin#directory#user",
        "id": person.sub,
        "primaryEmail": person.email,
        "name": {"givenName": person.given_name, "familyName": person.family_name, "fullName": person.name},
    });
    let aliases = profile.aliases.iter().map(|alias| json!({"address": alias}));
    let primary = json!({"address": person.email, "primary": true});
    value["emails"] = [primary].into_iter().chain(aliases).collect();
    if !profile.title.is_empty() || !profile.department.is_empty() {
        let mut post = json!({"primary": true, "customType": ""});
        for (name, text) in [("title", &profile.title), ("department", &profile.department)] {
            if !text.is_empty() {
                post[name] = json!(text);
            }
        }
        value["organizations"] = json!([post]);
    }
    if !profile.manager.is_empty() {
        value["relations"] = json!([{"value": profile.manager, "type": "manager"}]);
    }
    if !profile.phones.is_empty() {
        let phones = profile.phones.iter().map(|phone| json!({"value": phone, "type": "work"}));
        value["phones"] = phones.collect();
    }
    if profile.photo {
        let url = format!("{}/static/person.svg?{}", world.identity.public_url, person.sub);
        value["thumbnailPhotoUrl"] = json!(url);
    }
    if view == View::Administrator {
        add_administrators_fields(&mut value, world, person);
    }
    value["etag"] = etag_of(&value).into();
    value
}

fn add_administrators_fields(value: &mut Value, world: &World, person: &Person) {
    let profile = &person.profile;
    let created = profile.created_at.unwrap_or(Timestamp::constant(1_600_000_000, 0));
    let unit = if profile.unit.is_empty() { "/" } else { profile.unit.as_str() };
    let more = json!({
        "isAdmin": person.is_admin,
        "isDelegatedAdmin": profile.delegated_administrator,
        "creationTime": written(created),
        "agreedToTerms": true,
        "suspended": person.suspended,
        "archived": profile.archived,
        "changePasswordAtNextLogin": false,
        "ipWhitelisted": false,
        "orgUnitPath": unit,
        "isMailboxSetup": person.has_mailbox,
        "includeInGlobalAddressList": !profile.hidden,
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut *value, more) {
        fields.extend(more);
    }
    if world.identity.is_of_customer(person) {
        value["customerId"] = json!(world.identity.customer.id);
    }
    if person.suspended {
        value["suspensionReason"] = json!("ADMIN");
    }
    if !profile.aliases.is_empty() {
        value["aliases"] = json!(profile.aliases);
    }
    if !profile.building.is_empty() {
        let place = json!({"type": "desk", "area": "desk", "buildingId": profile.building, "deskCode": profile.desk});
        value["locations"] = json!([place]);
    }
    if let Some(at) = profile.deleted_at.filter(|_| person.deleted) {
        value["deletionTime"] = written(at).into();
    }
}

fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

// Schemas: the names that `fields` may use, from the discovery document. What it calls "any" has nothing below.

static NAME: &[Field] = &[leaf("displayName"), leaf("familyName"), leaf("fullName"), leaf("givenName")];
static USER: &[Field] = &[
    leaf("addresses"),
    leaf("agreedToTerms"),
    leaf("aliases"),
    leaf("archivalTime"),
    leaf("archived"),
    leaf("changePasswordAtNextLogin"),
    leaf("creationTime"),
    leaf("customSchemas"),
    leaf("customerId"),
    leaf("deletionTime"),
    leaf("emails"),
    leaf("etag"),
    leaf("externalIds"),
    leaf("gender"),
    leaf("guestAccountInfo"),
    leaf("id"),
    leaf("ims"),
    leaf("includeInGlobalAddressList"),
    leaf("ipWhitelisted"),
    leaf("isAdmin"),
    leaf("isDelegatedAdmin"),
    leaf("isEnforcedIn2Sv"),
    leaf("isEnrolledIn2Sv"),
    leaf("isGuestUser"),
    leaf("isMailboxSetup"),
    leaf("keywords"),
    leaf("kind"),
    leaf("languages"),
    leaf("lastLoginTime"),
    leaf("locations"),
    nest("name", NAME),
    leaf("nonEditableAliases"),
    leaf("notes"),
    leaf("orgUnitPath"),
    leaf("organizations"),
    leaf("phones"),
    leaf("posixAccounts"),
    leaf("primaryEmail"),
    leaf("recoveryEmail"),
    leaf("recoveryPhone"),
    leaf("relations"),
    leaf("sshPublicKeys"),
    leaf("suspended"),
    leaf("suspensionReason"),
    leaf("suspensionTime"),
    leaf("thumbnailPhotoEtag"),
    leaf("thumbnailPhotoUrl"),
    leaf("websites"),
];
static USERS: &[Field] =
    &[leaf("etag"), leaf("kind"), leaf("nextPageToken"), leaf("trigger_event"), nest("users", USER)];

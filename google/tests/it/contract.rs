//! Compares the compiled list of calls with the facts from Google's discovery documents in `tests/discovery`.

use std::collections::BTreeMap;

use intail_google::{
    CALLS, Call,
    calls::Api,
    oauth::scope::{CALENDAR_READONLY, DIRECTORY_USER_READONLY, GMAIL_METADATA, REQUESTED},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    root_url: String,
    service_path: String,
    parameters: Vec<String>,
    methods: BTreeMap<String, Method>,
    schemas: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Method {
    http_method: String,
    path: String,
    parameters: Vec<String>,
    request: Option<String>,
    response: Option<String>,
    scopes: Vec<String>,
}

fn document(api: Api) -> Option<Document> {
    let text = match api {
        Api::SignIn => return None,
        Api::Gmail => include_str!("../discovery/gmail.v1.json"),
        Api::PubSub => include_str!("../discovery/pubsub.v1.json"),
        Api::Calendar => include_str!("../discovery/calendar.v3.json"),
        Api::Directory => include_str!("../discovery/admin.directory_v1.json"),
    };
    Some(serde_json::from_str(text).expect("the extracts are committed"))
}

/// `gmail.messages.get` is `gmail.users.messages.get` at Google; `pubsub.topics.get` is `pubsub.projects.topics.get`.
/// The others have the same name here and there.
fn method<'a>(document: &'a Document, call: &Call) -> &'a Method {
    let parent = match call.api {
        Api::Gmail => "gmail.users.",
        Api::PubSub => "pubsub.projects.",
        Api::Calendar => "calendar.",
        Api::Directory => "directory.",
        Api::SignIn => panic!("sign-in has no document"),
    };
    let (_, name) = call.name.split_once('.').expect("names have a service");
    let name = format!("{parent}{name}");
    document.methods.get(&name).unwrap_or_else(|| panic!("Google knows no method {name}"))
}

fn discovered() -> impl Iterator<Item = (&'static Call, Document)> {
    CALLS.iter().filter_map(|call| document(call.api).map(|document| (*call, document)))
}

#[test]
fn every_path_method_and_parameter_is_googles() {
    for (call, document) in discovered() {
        let method = method(&document, call);
        let path = method.path.replace("{userId}", "me").replace("{+", "{");
        assert_eq!(call.path, format!("/{}{path}", document.service_path), "{}", call.name);
        assert_eq!(call.method, method.http_method, "{}", call.name);
        for name in call.query {
            assert!(method.parameters.iter().any(|own| own == name), "{}: {name}", call.name);
        }
        assert!(document.parameters.iter().any(|own| own == "fields"));
    }
}

#[test]
fn every_base_is_googles() {
    let endpoints = intail_google::Endpoints::default();
    assert_eq!(document(Api::Gmail).unwrap().root_url, endpoints.gmail.as_str());
    assert_eq!(document(Api::PubSub).unwrap().root_url, endpoints.pubsub.as_str());
    assert_eq!(document(Api::Calendar).unwrap().root_url, endpoints.calendar.as_str());
    assert_eq!(document(Api::Directory).unwrap().root_url, endpoints.directory.as_str());
}

#[test]
fn every_body_property_is_googles() {
    for (call, document) in discovered() {
        let request = method(&document, call).request.as_deref();
        for name in call.body {
            let schema = request.unwrap_or_else(|| panic!("{} has no body at Google", call.name));
            assert!(document.schemas[schema].contains_key(*name), "{}: {schema}.{name}", call.name);
        }
    }
}

#[test]
fn every_field_of_every_mask_is_googles() {
    for (call, document) in discovered() {
        let Some(mask) = call.fields else { continue };
        let response = method(&document, call).response.clone().expect("a mask needs an answer");
        check_mask(&document, &response, mask);
    }
}

/// What Pub/Sub's answers are read for; these calls have no mask, because Google's emulator knows none.
#[test]
fn what_is_read_and_nested_in_bodies_is_googles() {
    let pubsub = document(Api::PubSub).unwrap();
    for (schema, mask) in [
        ("PullResponse", "receivedMessages(ackId,deliveryAttempt,message(data,attributes,messageId,publishTime))"),
        ("PublishRequest", "messages(data,attributes)"),
        ("PublishResponse", "messageIds"),
        ("Policy", "etag,version,bindings(role,members,condition)"),
        ("SetIamPolicyRequest", "policy/bindings"),
        ("Subscription", "topic,ackDeadlineSeconds,pushConfig(pushEndpoint,oidcToken(serviceAccountEmail,audience))"),
        ("Subscription", "messageRetentionDuration,expirationPolicy/ttl,retryPolicy(minimumBackoff,maximumBackoff)"),
    ] {
        check_mask(&pubsub, schema, mask);
    }
}

/// What is read below the properties that have no mask of their own: those of the directory, because Google's document
/// calls them "any", and those of events that are asked for as a whole.
#[test]
fn what_is_read_below_a_mask_is_googles() {
    let directory = document(Api::Directory).unwrap();
    for (schema, mask) in [
        ("UserEmail", "address,type,primary"),
        ("UserOrganization", "name,title,department,location,costCenter,primary"),
        ("UserRelation", "type,value"),
        ("UserPhone", "value,type,primary"),
        ("UserLocation", "type,area,buildingId,floorName,floorSection,deskCode"),
    ] {
        check_mask(&directory, schema, mask);
    }
    let calendar = document(Api::Calendar).unwrap();
    check_mask(&calendar, "EventDateTime", "date,dateTime,timeZone");
    let places = "type,customLocation/label,officeLocation(label,buildingId,floorId,deskId)";
    check_mask(&calendar, "EventWorkingLocationProperties", places);
    check_mask(&calendar, "Channel", "id,type,address,token,params,resourceId,expiration");
}

/// A sync token forbids these beside it (the guide on synchronization), and must have had the same others before; the
/// call that lists events can't send one of them at all.
#[test]
fn nothing_that_a_sync_token_forbids_can_be_sent() {
    let call = CALLS.iter().find(|call| call.name == "calendar.events.list").expect("it is listed");
    let forbidden = ["iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "showDeleted"];
    for name in forbidden.into_iter().chain(["timeMin", "timeMax", "updatedMin", "singleEvents"]) {
        assert!(!call.query.contains(&name), "{name}");
    }
}

#[test]
fn a_wrong_mask_is_found() {
    let gmail = document(Api::Gmail).unwrap();
    for mask in ["id,tread", "payload/header", "payload(headers(name,vale))", "id/x"] {
        assert!(std::panic::catch_unwind(|| check_mask(&gmail, "Message", mask)).is_err(), "{mask}");
    }
}

#[test]
fn the_scopes_are_enough_and_nothing_wider_is_asked() {
    for (call, document) in discovered() {
        let enough = match call.api {
            Api::Gmail => GMAIL_METADATA,
            Api::Calendar => CALENDAR_READONLY,
            Api::Directory => DIRECTORY_USER_READONLY,
            Api::PubSub | Api::SignIn => continue,
        };
        let scopes = &method(&document, call).scopes;
        assert!(scopes.iter().any(|own| own == enough), "{}", call.name);
        assert!(REQUESTED.contains(&enough), "{enough}");
    }
    assert_eq!(REQUESTED.iter().filter(|scope| scope.contains("gmail")).count(), 1);
}

/// Checks `a,b(c,d/e)` against a schema.
fn check_mask(document: &Document, schema: &str, mask: &str) {
    for part in split_at_top(mask) {
        let end = part.find(['(', '/']).unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let kind = document.schemas.get(schema).and_then(|properties| properties.get(name));
        let kind = kind.unwrap_or_else(|| panic!("{schema} has no {name}"));
        let inner = rest.strip_prefix('/').or_else(|| rest.strip_prefix('(')?.strip_suffix(')'));
        if let Some(inner) = inner {
            check_mask(document, kind, inner);
        }
    }
}

/// Splits at the commas that are not inside parentheses.
fn split_at_top(mask: &str) -> Vec<&str> {
    let mut depth = 0;
    mask.split(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    })
    .collect()
}

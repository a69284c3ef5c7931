//! The steering interface under `/sandbox/v1/`: JSON for tests, scripts and curious people. It changes the world
//! directly and therefore belongs on loopback. The saved world and a grant made here hold tokens; nothing else shows
//! one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Shared;
use crate::access::AccessLevel;
use crate::accounts::PersonSwitch;
use crate::action::MailAction;
use crate::agenda::CalendarAction;
use crate::faults::{RULES_MAX, Rule};
use crate::pages;
use crate::profile::DirectoryAction;
use crate::quota::{Limits, Refusal, Table};
use crate::script::{INTERVAL_MS, Script};
use crate::world::{Settings, World};

/// Largest world that can be put in.
const WORLD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Furthest that the clock can be moved at once: ten years.
const ADVANCE_S_MAX: u64 = 10 * 366 * 24 * 3_600;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/sandbox/v1/world", get(read_world).put(replace_world))
        .route("/sandbox/v1/summary", get(summary))
        .route("/sandbox/v1/settings", get(read_settings).put(replace_settings))
        .route("/sandbox/v1/quota", get(read_quota).put(replace_quota))
        .route("/sandbox/v1/clock", get(read_clock).post(move_clock))
        .route("/sandbox/v1/faults", get(read_faults).post(add_fault).delete(clear_faults))
        .route("/sandbox/v1/calls", get(read_calls).delete(clear_calls))
        .route("/sandbox/v1/mail", post(act))
        .route("/sandbox/v1/calendar", post(plan))
        .route("/sandbox/v1/directory", post(edit_directory))
        .route("/sandbox/v1/people", get(read_people))
        .route("/sandbox/v1/people/{email}", post(switch_person))
        .route("/sandbox/v1/access", post(set_access))
        .route("/sandbox/v1/grant", post(grant))
        .route("/sandbox/v1/script", get(read_script).post(run_script).delete(end_script))
        .route("/sandbox/v1/sign-in", post(sign_in))
        .layer(DefaultBodyLimit::max(WORLD_BYTES_MAX))
}

/// An answer to somebody who steers: `{"error": "sentence"}`.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Refused {
        Refused(StatusCode::BAD_REQUEST, rejection.body_text())
    }
}

fn bad(sentence: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, sentence.into())
}

fn absent(sentence: impl Into<String>) -> Refused {
    Refused(StatusCode::NOT_FOUND, sentence.into())
}

type Body<T> = Result<Json<T>, JsonRejection>;
type Answer = Result<Json<Value>, Refused>;

async fn read_world(State(shared): State<Arc<Shared>>) -> Answer {
    let world = shared.look(|world| serde_json::to_value(world));
    world.map(Json).map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn replace_world(State(shared): State<Arc<Shared>>, body: Body<World>) -> Answer {
    let Json(mut new) = body?;
    shared.with_world(|world| {
        new.clock = world.clock.clone();
        new.publishes_outside = world.publishes_outside;
        new.identity.public_url.clone_from(&world.identity.public_url);
        new.pubsub.arrivals = world.pubsub.arrivals + 1;
        *world = new;
    });
    Ok(Json(json!({})))
}

/// What is in the world, in numbers, without its mail.
async fn summary(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.look(|world| {
        let people = world.identity.people.values().map(|person| {
            let mailbox = world.mail.get(&person.sub).filter(|_| person.has_mailbox);
            let watches = mailbox.map(|mailbox| &mailbox.watches);
            json!({
                "email": person.email,
                "messages": mailbox.map(|mailbox| mailbox.message_count()),
                "threads": mailbox.map(|mailbox| mailbox.thread_count()),
                "history_id": mailbox.map(|mailbox| mailbox.history().current().to_string()),
                "watches": watches,
            })
        });
        let people: Vec<Value> = people.collect();
        let waiting = world.pubsub.subscriptions.iter().map(|(name, subscription)| {
            json!({"name": name, "topic": subscription.settings.topic, "waiting": subscription.waiting_count()})
        });
        let waiting: Vec<Value> = waiting.collect();
        let topics: Vec<&String> = world.pubsub.topics.keys().collect();
        json!({"now": world.clock.now(), "people": people, "topics": topics, "subscriptions": waiting})
    }))
}

async fn read_settings(State(shared): State<Arc<Shared>>) -> Json<Settings> {
    Json(shared.look(|world| world.settings.clone()))
}

async fn replace_settings(State(shared): State<Arc<Shared>>, body: Body<Settings>) -> Result<Json<Settings>, Refused> {
    let Json(settings) = body?;
    shared.with_world(|world| world.settings = settings.clone());
    Ok(Json(settings))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct QuotaBody {
    table: Table,
    limits: Option<Limits>,
    refusal: Refusal,
}

async fn read_quota(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.look(|world| {
        let quota = &world.quota;
        json!({"table": quota.table, "limits": quota.limits, "refusal": quota.refusal, "refused": quota.refused})
    }))
}

async fn replace_quota(State(shared): State<Arc<Shared>>, body: Body<QuotaBody>) -> Result<Json<Value>, Refused> {
    let Json(body) = body?;
    shared.with_world(|world| {
        world.quota.table = body.table;
        world.quota.limits = body.limits;
        world.quota.refusal = body.refusal;
    });
    Ok(read_quota(State(shared)).await)
}

async fn read_clock(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"now": shared.clock.now(), "manual": shared.clock.is_manual()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_s: u64,
}

async fn move_clock(State(shared): State<Arc<Shared>>, body: Body<Advance>) -> Answer {
    let Json(Advance { advance_s }) = body?;
    if advance_s > ADVANCE_S_MAX {
        return Err(bad(format!("`advance_s` may be at most {ADVANCE_S_MAX}")));
    }
    shared.clock.advance(Duration::from_secs(advance_s));
    shared.with_world(|_| ());
    Ok(read_clock(State(shared)).await)
}

async fn read_faults(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.look(|world| json!({"latency_ms": world.faults.latency_ms, "rules": world.faults.rules})))
}

/// Either the latency of everything or a rule.
enum FaultBody {
    Latency(Latency),
    Rule(Box<Rule>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Latency {
    latency_ms: u64,
}

async fn add_fault(State(shared): State<Arc<Shared>>, body: Body<Value>) -> Answer {
    let Json(body) = body?;
    let body = match body.get("latency_ms") {
        Some(_) => serde_json::from_value(body).map(FaultBody::Latency),
        None => serde_json::from_value(body).map(|rule| FaultBody::Rule(Box::new(rule))),
    };
    match body.map_err(|error| bad(error.to_string()))? {
        FaultBody::Latency(Latency { latency_ms }) => {
            shared.with_world(|world| world.faults.latency_ms = latency_ms);
            Ok(Json(json!({"latency_ms": latency_ms})))
        }
        FaultBody::Rule(rule) => {
            rule.check().map_err(bad)?;
            if shared.look(|world| world.faults.rules.len() >= RULES_MAX) {
                return Err(bad(format!(
                    "there are {RULES_MAX} rules already; DELETE /sandbox/v1/faults removes them"
                )));
            }
            let id = shared.with_world(|world| world.faults.add(*rule));
            Ok(Json(json!({"id": id})))
        }
    }
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.with_world(|world| world.faults.clear());
    Json(json!({}))
}

async fn read_calls(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.look(|world| json!({"calls": world.calls.iter().collect::<Vec<_>>()})))
}

async fn clear_calls(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.look(|world| world.calls.clear());
    Json(json!({}))
}

/// Whose things an action is about, and the action.
fn person_and<T: DeserializeOwned>(body: Body<Value>) -> Result<(String, T), Refused> {
    let Json(mut body) = body?;
    let person = body.as_object_mut().and_then(|fields| fields.remove("person"));
    let Some(Value::String(person)) = person else {
        return Err(bad("`person` must be an address of this world"));
    };
    let action = serde_json::from_value(body).map_err(|error| bad(error.to_string()))?;
    Ok((person, action))
}

/// `{"person": "ines@example.com", "action": "star", "id": "…"}`
async fn act(State(shared): State<Arc<Shared>>, body: Body<Value>) -> Answer {
    let (person, action) = person_and::<MailAction>(body)?;
    let done = shared.with_world(|world| world.act(&person, &action)).map_err(|error| bad(error.to_string()))?;
    Ok(Json(json!(done)))
}

/// `{"person": "ines@example.com", "action": "delete", "id": "…"}`
async fn plan(State(shared): State<Arc<Shared>>, body: Body<Value>) -> Answer {
    let (person, action) = person_and::<CalendarAction>(body)?;
    let done = shared.with_world(|world| world.plan(&person, &action));
    Ok(Json(json!({"id": done.map_err(|error| bad(error.to_string()))?})))
}

/// `{"person": "ines@example.com", "action": "rename", "email": "ines.prado@example.com"}`
async fn edit_directory(State(shared): State<Arc<Shared>>, body: Body<Value>) -> Answer {
    let (person, action) = person_and::<DirectoryAction>(body)?;
    let done = shared.with_world(|world| world.edit_directory(&person, &action));
    Ok(Json(json!(done.map_err(|error| bad(error.to_string()))?)))
}

async fn read_people(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.look(|world| json!({"people": world.identity.people.values().collect::<Vec<_>>()})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchBody {
    switch: PersonSwitch,
}

async fn switch_person(State(shared): State<Arc<Shared>>, Path(email): Path<String>, body: Body<SwitchBody>) -> Answer {
    let Json(SwitchBody { switch }) = body?;
    shared.with_world(|world| {
        let now = world.clock.now();
        let nobody = || absent(format!("nobody in this world has the address `{email}`"));
        let sub = world.identity.person_by_email(&email).ok_or_else(nobody)?.sub.clone();
        world.identity.switch_person(now, &sub, switch);
        world.open_mailboxes();
        Ok(Json(json!(world.identity.people.get(&sub))))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessBody {
    client_id: String,
    /// Absent takes the configuration away.
    access: Option<AccessLevel>,
}

async fn set_access(State(shared): State<Arc<Shared>>, body: Body<AccessBody>) -> Answer {
    let Json(AccessBody { client_id, access }) = body?;
    shared.with_world(|world| {
        if !world.identity.clients.contains_key(&client_id) {
            return Err(absent(format!("there is no OAuth client `{client_id}` in this world")));
        }
        world.identity.set_access(world.clock.now(), &client_id, access);
        Ok(Json(json!({})))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantBody {
    email: String,
    client_id: String,
    scopes: Vec<String>,
}

/// Consents in a person's name and answers as the token endpoint does: for tests that are not about signing in.
async fn grant(State(shared): State<Arc<Shared>>, body: Body<GrantBody>) -> Answer {
    let Json(GrantBody { email, client_id, scopes }) = body?;
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let granted = shared.with_world(|world| world.grant(&email, &client_id, &scopes));
    granted.map(Json).map_err(|error| bad(error.to_string()))
}

async fn read_script(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.look(|world| json!({"playing": world.performance})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptBody {
    run: String,
    #[serde(default)]
    at_once: bool,
    lead: Option<String>,
    interval_ms: Option<i64>,
}

async fn run_script(State(shared): State<Arc<Shared>>, body: Body<ScriptBody>) -> Answer {
    let Json(body) = body?;
    let script = Script::parse(&body.run).ok_or_else(|| bad("`run` must be the name of a script: `day`"))?;
    let lead = body.lead.as_deref();
    shared.with_world(|world| {
        if body.at_once {
            world.play_at_once(script, lead);
        } else {
            world.start_script_for(script, lead, body.interval_ms.unwrap_or(INTERVAL_MS));
        }
    });
    Ok(read_script(State(shared)).await)
}

async fn end_script(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.with_world(|world| world.performance = None);
    Json(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInBody {
    email: String,
}

/// Signs a person in in the browser whose cookie comes along; the answer sets the cookie when there was none.
async fn sign_in(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body<SignInBody>,
) -> Result<Response, Refused> {
    let Json(SignInBody { email }) = body?;
    shared.with_world(|world| {
        let nobody = || absent(format!("nobody in this world has the address `{email}`"));
        let sub = world.identity.person_by_email(&email).ok_or_else(nobody)?.sub.clone();
        let (browser, cookie) = pages::browser_of(&mut world.identity, &headers);
        if !world.identity.sign_in(&browser, &sub) {
            return Err(bad(format!("`{email}` is suspended or deleted and can't sign in")));
        }
        let mut response = Json(json!({"sub": sub})).into_response();
        if let Some(cookie) = cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(response)
    })
}

//! The endpoints that applications call without a browser: token, revoke, keys, discovery, userinfo and tokeninfo.
//!
//! Bodies and status codes follow Google's: errors are JSON objects with `error` and `error_description`, and every
//! answer that holds a token is sent with `no-store`. What a token is worth is decided in `grants.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::Shared;
use crate::access::{SCOPES, find_scope};
use crate::accounts::Identity;
use crate::grants::TokenError;

/// How long clients may keep the keys. Google's answers vary around some hours.
const KEYS_CACHE: &str = "public, max-age=20000, must-revalidate, no-transform";

/// The routes of this file.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/token", post(token))
        .route("/revoke", post(revoke))
        .route("/oauth2/v3/certs", get(certs))
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/oauth2/v3/userinfo", get(userinfo).post(userinfo))
        .route("/v1/userinfo", get(userinfo).post(userinfo))
        .route("/tokeninfo", get(tokeninfo).post(tokeninfo))
}

/// The fields of a form, plus client credentials from either place where they may stand.
struct TokenForm {
    fields: Vec<(String, String)>,
    basic: Option<(String, String)>,
}

impl TokenForm {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<TokenForm, TokenError> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            return Err(bad_request("Could not determine client ID from request."));
        }
        let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        let names: BTreeSet<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() != fields.len() {
            return Err(bad_request("OAuth 2 parameters can only have a single value."));
        }
        Ok(TokenForm { fields, basic: basic_credentials(headers) })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str, missing: &'static str) -> Result<&str, TokenError> {
        self.get(name).ok_or(bad_request(missing))
    }

    fn client_id(&self) -> Result<&str, TokenError> {
        let basic = self.basic.as_ref().map(|(client_id, _)| client_id.as_str());
        basic.or_else(|| self.get("client_id")).ok_or(bad_request("Could not determine client ID from request."))
    }

    fn client_secret(&self) -> Option<&str> {
        self.basic.as_ref().map(|(_, secret)| secret.as_str()).or_else(|| self.get("client_secret"))
    }
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let line = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let encoded = line.strip_prefix("Basic ").or_else(|| line.strip_prefix("basic "))?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client_id, secret) = text.split_once(':')?;
    // RFC 6749 section 2.3.1: both halves are form-encoded before they are joined.
    let decode = |half: &str| {
        let line = format!("x={half}");
        form_urlencoded::parse(line.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    Some((decode(client_id), decode(secret)))
}

fn bad_request(description: &'static str) -> TokenError {
    TokenError { status: 400, code: "invalid_request", description }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let body = json!({ "error": self.code, "error_description": self.description });
        no_store((status, Json(body)).into_response())
    }
}

fn no_store(mut response: Response) -> Response {
    let value = HeaderValue::from_static("no-cache, no-store, max-age=0, must-revalidate");
    response.headers_mut().insert(CACHE_CONTROL, value);
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = TokenForm::read(&headers, &body)
        .and_then(|form| shared.with_world(|world| grant(&mut world.identity, world.clock.now(), &form)));
    match answer {
        Ok(body) => no_store(Json(body).into_response()),
        Err(error) => error.into_response(),
    }
}

fn grant(identity: &mut Identity, now: Timestamp, form: &TokenForm) -> Result<Value, TokenError> {
    let client = identity.client_with_secret(form.client_id()?, form.client_secret())?.clone();
    match form.need("grant_type", "Required parameter is missing: grant_type")? {
        "authorization_code" => {
            let code = form.need("code", "Missing required parameter: code")?;
            let redirect_uri = form.need("redirect_uri", "Missing parameter: redirect_uri")?;
            identity.exchange_code(now, &client, code, redirect_uri, form.get("code_verifier"))
        }
        "refresh_token" => {
            let token = form.need("refresh_token", "Missing required parameter: refresh_token")?;
            let narrower = form.get("scope").map(|scopes| {
                let names = scopes.split(' ').filter(|name| !name.is_empty());
                names.map(|name| find_scope(name).map_or(name, |scope| scope.name).to_owned()).collect()
            });
            identity.refresh(now, &client, token, narrower)
        }
        _ => Err(TokenError { status: 400, code: "unsupported_grant_type", description: "Invalid grant_type" }),
    }
}

async fn revoke(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Response {
    let in_form = form_urlencoded::parse(&body).into_owned();
    let token = in_form.chain(query).find(|(name, _)| name == "token").map(|(_, value)| value).unwrap_or_default();
    if token.is_empty() {
        return bad_request("Missing required parameter: token").into_response();
    }
    if shared.with_world(|world| world.identity.revoke(world.clock.now(), &token)) {
        return no_store(Json(json!({})).into_response());
    }
    TokenError { status: 400, code: "invalid_token", description: "Token expired or revoked" }.into_response()
}

async fn certs(State(shared): State<Arc<Shared>>) -> Response {
    match shared.with_world(|world| world.identity.key_set()) {
        Ok(keys) => ([(CACHE_CONTROL, KEYS_CACHE)], Json(keys)).into_response(),
        Err(error) => TokenError::from(error).into_response(),
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    let document = shared.with_world(|world| discovery_document(&world.identity));
    ([(CACHE_CONTROL, "public, max-age=3600")], Json(document)).into_response()
}

fn discovery_document(identity: &Identity) -> Value {
    let at = |path: &str| format!("{}{path}", identity.public_url);
    let scopes: Vec<&str> = SCOPES.iter().map(|scope| scope.name).take(3).collect();
    json!({
        "issuer": identity.issuer(),
        "authorization_endpoint": at("/o/oauth2/v2/auth"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/v1/userinfo"),
        "revocation_endpoint": at("/revoke"),
        "jwks_uri": at("/oauth2/v3/certs"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": scopes.into_iter().chain(["email", "profile"]).collect::<Vec<_>>(),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported": [
            "aud", "email", "email_verified", "exp", "family_name", "given_name", "hd", "iat", "iss", "name", "picture",
            "sub"
        ],
        "code_challenge_methods_supported": ["plain", "S256"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "authorization_response_iss_parameter_supported": true,
    })
}

async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let found = shared.with_world(|world| {
        let caller = world.identity.authenticate(world.clock.now(), header).ok()?;
        let person = world.identity.people.get(&caller.sub)?;
        let mut answer = json!({ "sub": person.sub });
        world.identity.add_profile(&mut answer, person, &caller.scopes);
        Identity::may_read_profile(&caller.scopes).then_some(answer)
    });
    if let Some(answer) = found {
        return no_store(Json(answer).into_response());
    }
    let challenge = [(WWW_AUTHENTICATE, r#"Bearer realm="https://accounts.google.com/", error="invalid_request""#)];
    let body = json!({ "error": "invalid_request", "error_description": "Invalid Credentials" });
    (StatusCode::UNAUTHORIZED, challenge, Json(body)).into_response()
}

async fn tokeninfo(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Response {
    let in_form = form_urlencoded::parse(&body).into_owned();
    let mut fields = in_form.chain(query);
    let asked = fields.find(|(name, _)| name == "access_token" || name == "id_token");
    let found = asked.and_then(|(name, value)| {
        shared.with_world(|world| {
            let now = world.clock.now();
            if name == "id_token" {
                id_token_info(&world.identity, now, &value)
            } else {
                access_info(&world.identity, now, &value)
            }
        })
    });
    match found {
        Some(answer) => no_store(Json(answer).into_response()),
        None => TokenError { status: 400, code: "invalid_token", description: "Invalid Value" }.into_response(),
    }
}

fn id_token_info(identity: &Identity, now: Timestamp, token: &str) -> Option<Value> {
    let claims = identity.verify_jwt(token)?;
    (claims.get("exp")?.as_i64()? > now.as_second()).then_some(claims)
}

fn access_info(identity: &Identity, now: Timestamp, token: &str) -> Option<Value> {
    let caller = identity.caller_of(now, token).ok()?;
    let person = identity.people.get(&caller.sub)?;
    let expires_at = identity.grants.access_token(now, token).ok()?.expires_at;
    let mut answer = json!({
        "azp": caller.client_id,
        "aud": caller.client_id,
        "sub": caller.sub,
        "scope": caller.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
        "exp": expires_at.as_second().to_string(),
        "expires_in": expires_at.duration_since(now).as_secs().to_string(),
        "access_type": if identity.holds_refresh_token(now, &caller) { "offline" } else { "online" },
    });
    if caller.has_scope(crate::access::EMAIL) {
        answer["email"] = json!(person.email);
        answer["email_verified"] = json!("true");
    }
    Some(answer)
}

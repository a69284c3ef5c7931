//! Notices that Pub/Sub brings: `POST /notices/pubsub`, with `pubsub.mode = "push"`.
//!
//! The token is the only proof of who calls, so everything about it fails closed: no push configured, no route; no
//! token, wrong maker, audience, age, key or account, no entry. The body is not signed and may be anything: once the
//! token is good, whatever can't be read is answered with success, because Pub/Sub would bring it again for ever and
//! slow everybody down. Success is answered only after the due mark is committed. Source: Pub/Sub's guide on
//! authenticated push.

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use intail_google::id_token::{Expected, IdClaims, IdTokenError};
use intail_google::pubsub::decode_base64_lenient;
use secrecy::SecretString;
use serde::Deserialize;

use crate::app::App;
use crate::config::PubSubMode;

/// The largest body that is read. A notice has about 500 bytes; more than this can't be one.
const BODY_BYTES_MAX: usize = 1024 * 1024;

const TURNED_AWAY: &str = "a push of notices was turned away";

/// Why a call is turned away.
#[derive(Debug, thiserror::Error)]
enum Unwelcome {
    #[error("pubsub.mode isn't \"push\"")]
    NotConfigured,
    #[error("there is no bearer token")]
    NoToken,
    #[error("the token isn't good")]
    BadToken(#[source] IdTokenError),
    #[error("the token's account isn't pubsub.push_service_account, or isn't verified")]
    ForeignAccount,
}

impl Unwelcome {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotConfigured => StatusCode::NOT_FOUND,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            // The issuer's keys couldn't be had: that is our trouble, and Pub/Sub has to come again.
            Self::BadToken(IdTokenError::Keys(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadToken(_) => StatusCode::UNAUTHORIZED,
            Self::ForeignAccount => StatusCode::FORBIDDEN,
        }
    }
}

/// What Pub/Sub brings, as far as it matters: `{"message":{"data":"…"}}`.
#[derive(Deserialize)]
struct Envelope {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    data: String,
}

/// `POST /notices/pubsub`: 204 once the due mark is committed, or when the notice is worth nothing; 401, 403 or 404 for
/// whom we don't know; 503 when it should come again.
pub async fn receive(State(app): State<App>, request: Request) -> StatusCode {
    if let Err(unwelcome) = admit(&app, request.headers()).await {
        match unwelcome {
            // Anybody can cause these two: they aren't worth a line in the operator's log.
            Unwelcome::NotConfigured | Unwelcome::NoToken => tracing::debug!(why = %unwelcome, "{TURNED_AWAY}"),
            _ => tracing::warn!(why = %unwelcome, detail = detail(&unwelcome), "{TURNED_AWAY}"),
        }
        return unwelcome.status();
    }
    let data = match to_bytes(request.into_body(), BODY_BYTES_MAX).await {
        Ok(body) => read(&body),
        // Too large, or cut off on the way; in the second case nobody reads the answer.
        Err(_) => Vec::new(),
    };
    match super::take(&app, [data.as_slice()]).await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a notice couldn't be marked; it will come again"
            );
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn detail(unwelcome: &Unwelcome) -> Option<String> {
    std::error::Error::source(unwelcome).map(ToString::to_string)
}

async fn admit(app: &App, headers: &HeaderMap) -> Result<(), Unwelcome> {
    let PubSubMode::Push { audience, service_account } = &app.config.pubsub.mode else {
        return Err(Unwelcome::NotConfigured);
    };
    let token = bearer(headers).ok_or(Unwelcome::NoToken)?;
    let endpoints = &app.config.google.endpoints;
    let expected = Expected { issuer: &endpoints.issuer, audience, nonce: None, jwks_uri: &endpoints.jwks };
    let claims = app.google.verify_id_token(&token, &expected).await.map_err(Unwelcome::BadToken)?;
    if is_account(&claims, service_account) { Ok(()) } else { Err(Unwelcome::ForeignAccount) }
}

/// The token of `Authorization: Bearer …`; none when there are two headers, because then nobody knows which one counts.
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| SecretString::from(token))
}

/// Any Google account can get a token for any audience: only this account's counts.
fn is_account(claims: &IdClaims, service_account: &str) -> bool {
    let same = claims.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(service_account));
    same && claims.email_verified && !service_account.is_empty()
}

/// The notice in a body; empty when there is none that could be read.
fn read(body: &[u8]) -> Vec<u8> {
    let envelope = serde_json::from_slice::<Envelope>(body).ok();
    envelope.and_then(|envelope| decode_base64_lenient(&envelope.message.data).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_one_bearer_token_counts() {
        let token = |values: &[&'static str]| bearer(&headers(values)).map(|it| it.expose_secret().to_owned());
        assert_eq!(token(&["Bearer a.b.c"]).as_deref(), Some("a.b.c"));
        assert_eq!(token(&["bearer  a.b.c "]).as_deref(), Some("a.b.c"));
        for wrong in [&[][..], &["Bearer"], &["Bearer "], &["Basic a.b.c"], &["a.b.c"], &["Bearer a", "Bearer b"]] {
            assert_eq!(token(wrong), None, "{wrong:?}");
        }
    }

    fn claims(email: Option<&str>, email_verified: bool) -> IdClaims {
        IdClaims {
            iss: "https://accounts.google.com".to_owned(),
            sub: "1".to_owned(),
            aud: "a".to_owned(),
            email: email.map(str::to_owned),
            email_verified,
            hd: None,
            name: None,
            given_name: None,
            picture: None,
            exp: 0,
            iat: 0,
        }
    }

    #[test]
    fn only_the_configured_account_may_bring_notices() {
        assert!(is_account(&claims(Some("Push@p1.example"), true), "push@p1.example"));
        assert!(!is_account(&claims(Some("push@p1.example"), false), "push@p1.example"));
        assert!(!is_account(&claims(Some("other@p1.example"), true), "push@p1.example"));
        assert!(!is_account(&claims(None, true), "push@p1.example"));
        assert!(!is_account(&claims(Some(""), true), ""));
    }

    #[test]
    fn whatever_the_body_is_something_is_read() {
        assert_eq!(read(br#"{"message":{"data":"eyJhIjoxfQ==","messageId":"1"},"subscription":"s"}"#), br#"{"a":1}"#);
        assert_eq!(read(br#"{"message":{"data":"eyJhIjoxfQ"}}"#), br#"{"a":1}"#);
        let hostile: [&[u8]; 7] = [
            b"",
            b"null",
            b"[]",
            b"{\"message\":{}}",
            b"{\"message\":{\"data\":7}}",
            b"{\"message\":{\"data\":\"?\"}}",
            b"\xff",
        ];
        for body in hostile {
            assert_eq!(read(body), b"", "{body:?}");
        }
    }

    #[test]
    fn those_we_do_not_know_hear_no_and_our_own_trouble_is_not_theirs() {
        assert_eq!(Unwelcome::NotConfigured.status(), 404);
        assert_eq!(Unwelcome::NoToken.status(), 401);
        assert_eq!(Unwelcome::BadToken(IdTokenError::Expired).status(), 401);
        assert_eq!(Unwelcome::ForeignAccount.status(), 403);
    }
}

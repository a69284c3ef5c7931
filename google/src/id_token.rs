//! ID tokens: who came back from signing in, and whether a Pub/Sub push is from Google.
//!
//! Source: OpenID Connect Core §3.1.3.7 and Google's OpenID Connect guide. A reader must not break: only RS256 is ever
//! accepted, whatever the token says; time comes from the client's clock; the keys' address is asked at most once a
//! minute for a key that is not known, so that forged tokens cannot make us flood it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header::CACHE_CONTROL;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use crate::{
    calls,
    error::{Error, ErrorKind},
    request::{Answer, Client, Request},
    wire,
};

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who made it. For Google both historical spellings are accepted.
    pub issuer: &'a str,
    /// For whom it is: the client ID, or the audience of the push subscription.
    pub audience: &'a str,
    /// The nonce of the sign-in; none for push tokens.
    pub nonce: Option<&'a str>,
    /// The issuer's public keys.
    pub jwks_uri: &'a Url,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdClaims {
    /// Who made it, as it is written there.
    pub iss: String,
    /// Who it is: the only key to know somebody by.
    pub sub: String,
    /// For whom it is; the audience that was expected.
    pub aud: String,
    /// The address, which may change.
    pub email: Option<String>,
    /// Whether the issuer vouches for the address.
    pub email_verified: bool,
    /// The Workspace domain; absent for consumer accounts.
    pub hd: Option<String>,
    /// The full name.
    pub name: Option<String>,
    /// The first name.
    pub given_name: Option<String>,
    /// The address of a picture.
    pub picture: Option<String>,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
}

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IdTokenError {
    /// Not a token, or far too long.
    #[error("the ID token cannot be read")]
    Malformed,
    /// Another algorithm than RS256, or extensions that must be understood.
    #[error("the ID token is not signed with RS256")]
    Algorithm,
    /// No public key with the token's key id.
    #[error("the ID token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The signature is not good.
    #[error("the ID token's signature is not good")]
    Signature,
    /// Made by somebody else.
    #[error("the ID token was made by another issuer than the configured one")]
    Issuer,
    /// Made for somebody else.
    #[error("the ID token was made for another client")]
    Audience,
    /// Not from this sign-in.
    #[error("the ID token does not belong to this sign-in")]
    Nonce,
    /// Too old.
    #[error("the ID token has expired; check this machine's clock if it stays")]
    Expired,
    /// From the future.
    #[error("the ID token is from the future; check this machine's clock")]
    Early,
    /// The issuer's keys could not be had.
    #[error("the issuer's keys could not be fetched")]
    Keys(#[source] Error),
}

/// How far clocks may be apart, in seconds.
const SKEW_S: i64 = 60;
/// The longest token that is looked at. Google's have about 1,200 characters.
const TOKEN_LENGTH_MAX: usize = 16 * 1024;
/// The most keys of one issuer that are kept. Google publishes two or three.
const KEYS_MAX: usize = 64;
/// The most issuers whose keys are kept: the sign-in's and Google's, with room.
const ISSUERS_MAX: usize = 8;
/// How long keys are kept: what Cache-Control says, within these bounds, or an hour.
const KEPT_S_MIN: i64 = 5 * 60;
const KEPT_S_MAX: i64 = 24 * 60 * 60;
const KEPT_S_DEFAULT: i64 = 60 * 60;
/// How long an unknown key id has to wait for the next look at the issuer's keys.
const REFETCH_AFTER_S: i64 = 60;

/// The public keys by their address. The lock is held while they are fetched: others wait for the one answer.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<BTreeMap<Url, Keys>>);

struct Keys {
    by_id: BTreeMap<String, DecodingKey>,
    fetched_at: Timestamp,
    kept_until: Timestamp,
}

#[derive(Deserialize)]
struct WireHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct WireClaims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    nonce: Option<String>,
    email: Option<String>,
    #[serde(default, deserialize_with = "wire::truth")]
    email_verified: bool,
    hd: Option<String>,
    name: Option<String>,
    given_name: Option<String>,
    picture: Option<String>,
    exp: i64,
    iat: i64,
}

impl Client {
    /// Checks a token: algorithm, key, signature, issuer, audience, nonce, times. For Pub/Sub push tokens the caller
    /// also has to compare `email` with its service account and to look at `email_verified`.
    pub async fn verify_id_token(
        &self,
        token: &SecretString,
        expected: &Expected<'_>,
    ) -> Result<IdClaims, IdTokenError> {
        let token = token.expose_secret();
        let key = self.key(&key_id(token)?, expected.jwks_uri).await?;
        let claims = signed_claims(token, &key)?;
        accept(claims, expected, self.now())
    }

    async fn key(&self, id: &str, address: &Url) -> Result<DecodingKey, IdTokenError> {
        let mut cache = self.inner.keys.0.lock().await;
        let now = self.now();
        if let Some(keys) = cache.get(address).filter(|keys| now < keys.kept_until) {
            let known = keys.by_id.get(id);
            if known.is_some() || now < later(keys.fetched_at, REFETCH_AFTER_S) {
                return known.cloned().ok_or(IdTokenError::UnknownKey);
            }
        }
        if cache.len() >= ISSUERS_MAX && !cache.contains_key(address) {
            cache.clear();
        }
        let request = Request::new(&calls::OPENID_KEYS, address);
        let keys = self.send_with(request, |answer| Keys::read(&answer, now)).await.map_err(IdTokenError::Keys)?;
        let key = keys.by_id.get(id).cloned();
        cache.insert(address.clone(), keys);
        key.ok_or(IdTokenError::UnknownKey)
    }
}

impl Keys {
    /// Reads a JWK set and leaves out what is not an RSA key for signatures.
    fn read(answer: &Answer, now: Timestamp) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct KeySet {
            keys: Vec<Value>,
        }
        let fault = |fault| Error::new(calls::OPENID_KEYS.name, ErrorKind::NotUnderstood).caused_by(fault);
        let set: KeySet = wire::parse(&answer.body).map_err(fault)?;
        let by_id = set.keys.iter().take(KEYS_MAX).filter_map(rsa_key).collect();
        let kept_s = answer.headers.get(CACHE_CONTROL).and_then(|value| max_age_s(value.to_str().ok()?));
        let kept_s = kept_s.unwrap_or(KEPT_S_DEFAULT).clamp(KEPT_S_MIN, KEPT_S_MAX);
        Ok(Self { by_id, fetched_at: now, kept_until: later(now, kept_s) })
    }
}

fn rsa_key(key: &Value) -> Option<(String, DecodingKey)> {
    let text = |name: &str| key[name].as_str();
    let usable = text("kty") == Some("RSA") && matches!(text("use"), None | Some("sig"));
    let made = usable.then(|| DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()).flatten()?;
    Some((text("kid")?.to_owned(), made))
}

fn max_age_s(cache_control: &str) -> Option<i64> {
    cache_control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
}

fn later(from: Timestamp, seconds: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The key id in the token's header, if the header is one that we accept.
fn key_id(token: &str) -> Result<String, IdTokenError> {
    if token.len() > TOKEN_LENGTH_MAX {
        return Err(IdTokenError::Malformed);
    }
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| IdTokenError::Malformed)?;
    let header: WireHeader = serde_json::from_slice(&header).map_err(|_| IdTokenError::Malformed)?;
    if header.alg != "RS256" || header.crit.is_some() {
        return Err(IdTokenError::Algorithm);
    }
    header.kid.ok_or(IdTokenError::UnknownKey)
}

/// Checks the signature only: the library's own checks of times use the machine's clock, so they are switched off.
fn signed_claims(token: &str, key: &DecodingKey) -> Result<WireClaims, IdTokenError> {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<WireClaims>(token, key, &validation);
    decoded.map(|decoded| decoded.claims).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => IdTokenError::Signature,
        _ => IdTokenError::Malformed,
    })
}

fn accept(claims: WireClaims, expected: &Expected<'_>, now: Timestamp) -> Result<IdClaims, IdTokenError> {
    if !is_issuer(&claims.iss, expected.issuer) {
        return Err(IdTokenError::Issuer);
    }
    // Several audiences need the authorized party to be us. A sign-in's must be us whenever it is named; a push token
    // names the service account there.
    let (meant, several) = match &claims.aud {
        Audience::One(one) => (one == expected.audience, false),
        Audience::Many(many) => (many.iter().any(|one| one == expected.audience), many.len() > 1),
    };
    let party = match claims.azp.as_deref() {
        Some(party) => party == expected.audience || (!several && expected.nonce.is_none()),
        None => !several,
    };
    if !meant || !party {
        return Err(IdTokenError::Audience);
    }
    if expected.nonce.is_some() && claims.nonce.as_deref() != expected.nonce {
        return Err(IdTokenError::Nonce);
    }
    let now = now.as_second();
    if now >= claims.exp.saturating_add(SKEW_S) {
        return Err(IdTokenError::Expired);
    }
    if claims.iat > now.saturating_add(SKEW_S) {
        return Err(IdTokenError::Early);
    }
    let WireClaims { iss, sub, email, email_verified, hd, name, given_name, picture, exp, iat, .. } = claims;
    let aud = expected.audience.to_owned();
    Ok(IdClaims { iss, sub, aud, email, email_verified, hd, name, given_name, picture, exp, iat })
}

/// Google's own tokens were once issued without the scheme; nobody else gets that leniency.
fn is_issuer(named: &str, expected: &str) -> bool {
    named == expected || (expected == "https://accounts.google.com" && named == "accounts.google.com")
}

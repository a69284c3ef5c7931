//! ID tokens, good and forged, and the cache of keys.

use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize, PublicKeyComponents},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use intail_google::{
    Client, ErrorKind,
    id_token::{Expected, IdClaims, IdTokenError},
};
use serde_json::{Value, json};
use url::Url;

use crate::server::{self, START, Server};

/// Making a key takes long, so the tests share two.
static KEYS: LazyLock<[KeyPair; 2]> =
    LazyLock::new(|| [(), ()].map(|()| KeyPair::generate(KeySize::Rsa2048).expect("keys can be made")));

const GOOGLE: &str = "https://accounts.google.com";

fn claims() -> Value {
    json!({ "iss": GOOGLE, "sub": "1001", "aud": "client", "azp": "client", "nonce": "n", "email": "Ada@Example.com",
        "email_verified": true, "hd": "example.com", "name": "Ada", "iat": START - 5, "exp": START + 3600 })
}

fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn signed(header: &Value, claims: &Value, key: &KeyPair) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("it can sign");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn token(kid: &str, claims: &Value, key: &KeyPair) -> String {
    signed(&json!({ "alg": "RS256", "kid": kid, "typ": "JWT" }), claims, key)
}

fn public(kid: &str, key: &KeyPair) -> Value {
    let parts = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
    let (n, e) = (URL_SAFE_NO_PAD.encode(parts.n), URL_SAFE_NO_PAD.encode(parts.e));
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e })
}

/// An issuer that publishes what `keys` holds; other entries must not disturb.
async fn issuer(keys: Arc<Mutex<Vec<Value>>>, cache_control: &'static str) -> Server {
    Server::start(move |_| {
        let mut all = vec![json!({ "kty": "EC", "kid": "ec", "crv": "P-256" }), json!({ "kty": "RSA" }), json!(7)];
        all.extend(keys.lock().expect("not poisoned").clone());
        let mut response = server::json(200, json!({ "keys": all }).to_string());
        response.headers_mut().insert("cache-control", cache_control.parse().expect("a value"));
        response
    })
    .await
}

async fn first_key_only(cache_control: &'static str) -> Server {
    issuer(Arc::new(Mutex::new(vec![public("one", &KEYS[0])])), cache_control).await
}

async fn verify(client: &Client, token: &str, nonce: Option<&str>) -> Result<IdClaims, IdTokenError> {
    let jwks_uri: &Url = &client.endpoints().jwks;
    let expected = Expected { issuer: GOOGLE, audience: "client", nonce, jwks_uri };
    client.verify_id_token(&token.into(), &expected).await
}

#[tokio::test]
async fn a_good_token_says_who_it_is() {
    let server = first_key_only("max-age=3600").await;
    let (client, _) = server.client();
    let read = verify(&client, &token("one", &claims(), &KEYS[0]), Some("n")).await.unwrap();
    assert_eq!((read.sub.as_str(), read.aud.as_str(), read.hd.as_deref()), ("1001", "client", Some("example.com")));
    assert_eq!((read.email.as_deref(), read.email_verified, read.exp), (Some("Ada@Example.com"), true, START + 3600));
    for good in [
        with(json!({ "iss": "accounts.google.com" })),
        with(json!({ "aud": ["client"], "azp": null })),
        with(json!({ "aud": ["other", "client"] })),
        with(json!({ "exp": START - 59, "iat": START + 60 })),
        with(json!({ "email": null, "email_verified": null, "hd": null })),
    ] {
        verify(&client, &token("one", &good, &KEYS[0]), Some("n")).await.unwrap();
    }
}

#[tokio::test]
async fn a_push_token_is_verified_by_the_same_rules() {
    let server = first_key_only("").await;
    let (client, _) = server.client();
    let push = with(json!({ "azp": "1120000", "sub": "1120000", "nonce": null, "email_verified": "true" }));
    let push = token("one", &push, &KEYS[0]);
    assert!(verify(&client, &push, None).await.unwrap().email_verified);
    assert!(matches!(verify(&client, &push, Some("n")).await, Err(IdTokenError::Audience)), "not good for signing in");
}

#[tokio::test]
async fn a_token_that_says_something_else_is_refused() {
    let server = first_key_only("").await;
    let (client, _) = server.client();
    for (changes, sentence) in [
        (json!({ "aud": "another" }), "another client"),
        (json!({ "aud": ["a", "b"] }), "another client"),
        (json!({ "aud": ["client", "b"], "azp": null }), "another client"),
        (json!({ "azp": "another" }), "another client"),
        (json!({ "iss": "https://evil.example" }), "another issuer"),
        (json!({ "iss": "https://accounts.google.com/" }), "another issuer"),
        (json!({ "nonce": "other" }), "this sign-in"),
        (json!({ "nonce": null }), "this sign-in"),
        (json!({ "exp": START - 60 }), "has expired"),
        (json!({ "iat": START + 61 }), "from the future"),
        (json!({ "exp": null }), "cannot be read"),
        (json!({ "sub": null }), "cannot be read"),
    ] {
        let error = verify(&client, &token("one", &with(changes.clone()), &KEYS[0]), Some("n")).await.unwrap_err();
        assert!(error.to_string().contains(sentence), "{changes}: {error}");
    }
}

#[tokio::test]
async fn a_token_that_is_signed_otherwise_is_refused() {
    let server = first_key_only("").await;
    let (client, _) = server.client();
    let good = token("one", &claims(), &KEYS[0]);
    let header = |alg: &str| json!({ "alg": alg, "kid": "one" });
    let (text, signature) = good.rsplit_once('.').unwrap();
    let (start, _) = text.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(with(json!({ "sub": "admin" })).to_string());
    for (bad, sentence) in [
        (signed(&header("none"), &claims(), &KEYS[0]), "RS256"),
        (signed(&header("none"), &claims(), &KEYS[0]).rsplit_once('.').unwrap().0.to_owned() + ".", "RS256"),
        (signed(&header("HS256"), &claims(), &KEYS[0]), "RS256"),
        (signed(&header("RS512"), &claims(), &KEYS[0]), "RS256"),
        (signed(&json!({ "alg": "RS256", "kid": "one", "crit": ["x"] }), &claims(), &KEYS[0]), "RS256"),
        (token("one", &claims(), &KEYS[1]), "signature"),
        (format!("{start}.{other}.{signature}"), "signature"),
        (format!("{text}."), "signature"),
        (signed(&json!({ "alg": "RS256" }), &claims(), &KEYS[0]), "does not publish"),
        (token("ec", &claims(), &KEYS[0]), "does not publish"),
        (String::new(), "cannot be read"),
        ("a.b.c".to_owned(), "cannot be read"),
        (text.to_owned(), "cannot be read"),
        (format!("{good}.{}", "x".repeat(20_000)), "cannot be read"),
    ] {
        let error = verify(&client, &bad, Some("n")).await.unwrap_err();
        assert!(error.to_string().contains(sentence), "{bad}: {error}");
    }
    verify(&client, &good, Some("n")).await.unwrap();
}

#[tokio::test]
async fn keys_are_kept_as_long_as_the_issuer_says_within_bounds() {
    for (cache_control, kept_s) in [
        ("public, max-age=19800, must-revalidate", 19_800),
        ("max-age=1", 300),
        ("max-age=99999999", 86_400),
        ("no-store", 3_600),
    ] {
        let server = first_key_only(cache_control).await;
        let (client, report) = server.client();
        let lasting = token("one", &with(json!({ "exp": START + 900_000 })), &KEYS[0]);
        verify(&client, &lasting, Some("n")).await.unwrap();
        report.advance(kept_s - 1);
        verify(&client, &lasting, Some("n")).await.unwrap();
        assert_eq!(server.seen().len(), 1, "{cache_control}");
        report.advance(1);
        verify(&client, &lasting, Some("n")).await.unwrap();
        assert_eq!(server.seen().len(), 2, "{cache_control}");
    }
}

#[tokio::test]
async fn a_new_key_is_found_and_forged_key_ids_do_not_flood_the_issuer() {
    let published = Arc::new(Mutex::new(vec![public("one", &KEYS[0])]));
    let server = issuer(published.clone(), "max-age=86400").await;
    let (client, report) = server.client();
    let new = token("two", &claims(), &KEYS[1]);
    verify(&client, &token("one", &claims(), &KEYS[0]), Some("n")).await.unwrap();
    published.lock().unwrap().push(public("two", &KEYS[1]));
    for _ in 0..20 {
        assert!(matches!(verify(&client, &new, Some("n")).await, Err(IdTokenError::UnknownKey)));
    }
    assert_eq!(server.seen().len(), 1, "an unknown key id waits for a minute");
    report.advance(60);
    verify(&client, &new, Some("n")).await.unwrap();
    verify(&client, &token("one", &claims(), &KEYS[0]), Some("n")).await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn many_at_once_fetch_the_keys_once() {
    let server = first_key_only("").await;
    let (client, _) = server.client();
    let good = token("one", &claims(), &KEYS[0]);
    let all = (0..20).map(|_| verify(&client, &good, Some("n")));
    assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_forgery() {
    for (status, body, expected) in
        [(500, "", ErrorKind::Transient), (200, "[]", ErrorKind::NotUnderstood), (200, "{}", ErrorKind::NotUnderstood)]
    {
        let server = Server::start(move |_| server::json(status, body)).await;
        let result = verify(&server.client().0, &token("one", &claims(), &KEYS[0]), Some("n")).await;
        assert!(matches!(result, Err(IdTokenError::Keys(error)) if error.kind == expected), "{status} {body}");
    }
}

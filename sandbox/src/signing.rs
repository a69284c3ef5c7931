//! The RS256 keys with which the sandbox signs ID tokens and Pub/Sub push tokens, and their public half as a key set.
//!
//! The first key is made when it is first needed (making one takes long enough to notice in every test). After a
//! rotation the previous key stays published, as Google's does, because tokens signed with it are still around.
//! Key material comes from the operating system, not from the seed: it is the one thing that a saved world can't
//! predict.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::accounts::Identity;

/// Keys published at once: the one in use and the one before.
const KEYS_MAX: usize = 2;

/// Signing failed: the key can't be made, read or used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the sandbox could not {0} its signing key; delete the state file to start with a new one")]
pub struct SigningError(&'static str);

#[derive(Clone, Serialize, Deserialize)]
struct SigningKey {
    kid: String,
    /// PKCS #8, base64.
    pkcs8: String,
    /// Base64url, as in a JWK.
    modulus: String,
    exponent: String,
}

/// All keys, newest last.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct SigningKeys {
    keys: Vec<SigningKey>,
    #[serde(skip)]
    loaded: Option<(String, KeyPair)>,
}

/// Keys that one world lends to others.
#[derive(Clone)]
pub struct LentKeys(Vec<SigningKey>);

impl fmt::Debug for LentKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("LentKeys").field(&self.0.len()).finish()
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKeys").field("count", &self.keys.len()).finish_non_exhaustive()
    }
}

impl SigningKeys {
    fn rotate(&mut self) -> Result<(), SigningError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError("make"))?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| SigningError("write"))?;
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let kid: String = Sha256::digest(&public.n).iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        self.keys.push(SigningKey {
            kid: kid.clone(),
            pkcs8: STANDARD.encode(der.as_ref()),
            modulus: URL_SAFE_NO_PAD.encode(&public.n),
            exponent: URL_SAFE_NO_PAD.encode(&public.e),
        });
        if self.keys.len() > KEYS_MAX {
            self.keys.remove(0);
        }
        self.loaded = Some((kid, pair));
        Ok(())
    }

    fn current(&mut self) -> Result<&(String, KeyPair), SigningError> {
        if self.keys.is_empty() {
            self.rotate()?;
        }
        if self.loaded.is_none() {
            let key = self.keys.last().ok_or(SigningError("find"))?;
            let der = STANDARD.decode(&key.pkcs8).map_err(|_| SigningError("decode"))?;
            let pair = KeyPair::from_pkcs8(&der).map_err(|_| SigningError("read"))?;
            self.loaded = Some((key.kid.clone(), pair));
        }
        self.loaded.as_ref().ok_or(SigningError("load"))
    }

    fn sign(&mut self, claims: &Value) -> Result<String, SigningError> {
        let (kid, pair) = self.current()?;
        let header = json!({ "alg": "RS256", "kid": kid, "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .map_err(|_| SigningError("use"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn public(&mut self) -> Result<Value, SigningError> {
        self.current()?;
        let keys: Vec<Value> = self.keys.iter().rev().map(jwk).collect();
        Ok(json!({ "keys": keys }))
    }

    fn verify(&self, token: &str) -> Option<Value> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        let kid = header.get("kid")?.as_str()?;
        let key = self.keys.iter().find(|key| key.kid == kid)?;
        let public = PublicKeyComponents { n: decode(&key.modulus)?, e: decode(&key.exponent)? };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &decode(signature)?).ok()?;
        serde_json::from_slice(&decode(claims)?).ok()
    }
}

fn jwk(key: &SigningKey) -> Value {
    json!({ "alg": "RS256", "e": key.exponent, "kid": key.kid, "kty": "RSA", "n": key.modulus, "use": "sig" })
}

impl Identity {
    /// Signs claims as a JSON Web Token (RS256) with the current key. Nothing is added to the claims.
    pub fn sign_jwt(&mut self, claims: &Value) -> Result<String, SigningError> {
        self.keys.sign(claims)
    }

    /// The public keys as a JSON Web Key Set, newest first.
    pub fn key_set(&mut self) -> Result<Value, SigningError> {
        self.keys.public()
    }

    /// Makes a new key for all later signatures; the previous one stays published.
    pub fn rotate_keys(&mut self) -> Result<(), SigningError> {
        self.keys.rotate()
    }

    /// The keys with their private halves, for other worlds that would only make keys of their own: making one takes
    /// longer than many a world lives.
    pub fn lend_keys(&mut self) -> Result<LentKeys, SigningError> {
        self.keys.current()?;
        Ok(LentKeys(self.keys.keys.clone()))
    }

    /// Signs with keys of another world from now on.
    pub fn borrow_keys(&mut self, lent: &LentKeys) {
        self.keys = SigningKeys { keys: lent.0.clone(), loaded: None };
    }

    /// The claims of a token that carries a good signature of the sandbox; expiry is not looked at.
    pub(crate) fn verify_jwt(&self, token: &str) -> Option<Value> {
        self.keys.verify(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::sample::identity;

    #[test]
    fn what_is_signed_verifies_and_what_is_changed_does_not() {
        let mut identity = identity();
        let token = identity.sign_jwt(&json!({ "sub": "1" })).unwrap();
        assert_eq!(identity.verify_jwt(&token), Some(json!({ "sub": "1" })));
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"sub":"2"}"#));
        assert_eq!(identity.verify_jwt(&forged), None);
        assert_eq!(identity.verify_jwt("x.y"), None);
    }

    #[test]
    fn a_rotation_keeps_the_previous_key_and_only_that() {
        let mut identity = identity();
        let first = identity.sign_jwt(&json!({})).unwrap();
        identity.rotate_keys().unwrap();
        let second = identity.sign_jwt(&json!({})).unwrap();
        assert!(identity.verify_jwt(&first).is_some() && identity.verify_jwt(&second).is_some());
        identity.rotate_keys().unwrap();
        assert!(identity.verify_jwt(&first).is_none());
        assert_eq!(identity.key_set().unwrap()["keys"].as_array().unwrap().len(), KEYS_MAX);
    }

    #[test]
    fn a_world_with_lent_keys_signs_as_the_lender_does() {
        let (mut lender, mut borrower) = (identity(), identity());
        borrower.borrow_keys(&lender.lend_keys().unwrap());
        let token = borrower.sign_jwt(&json!({ "sub": "1" })).unwrap();
        assert_eq!(lender.verify_jwt(&token), Some(json!({ "sub": "1" })));
    }

    #[test]
    fn a_saved_key_still_signs_and_others_can_verify_with_the_key_set() {
        let mut identity = identity();
        let kid = identity.key_set().unwrap()["keys"][0]["kid"].clone();
        let text = serde_json::to_string(&identity).unwrap();
        let mut again: Identity = serde_json::from_str(&text).unwrap();
        let token = again.sign_jwt(&json!({ "aud": "x", "exp": 4_000_000_000_i64 })).unwrap();
        let jwk = serde_json::from_value(again.key_set().unwrap()["keys"][0].clone()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        rules.set_audience(&["x"]);
        let read = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap();
        assert_eq!(read.header.kid.map(Value::String), Some(kid));
    }
}

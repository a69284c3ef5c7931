//! Signs receipts with Ed25519, so that who holds one can prove later what Intail said. The key is made at first use;
//! its secret part is kept sealed, its public part is published.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::random::Random;
use crate::seal::{Keyring, SealError};
use crate::store::signing_keys::{self, SigningKey};
use crate::store::{Store, StoreError, Tx};

/// The id of the key that signs now. All processes make the same one, and the first wins.
const KEY_ID: &str = "receipts-1";
/// Keys that are read: one, and those that came before.
const KEYS_MAX: i64 = 100;
const SEED_LENGTH: usize = 32;

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key can't be opened.
    #[error("the key that signs receipts can't be opened")]
    Sealed(#[from] SealError),
    /// The key isn't one.
    #[error("the key that signs receipts isn't an Ed25519 key")]
    NotAKey,
    /// The store failed.
    #[error("the key that signs receipts can't be read or kept")]
    Store(#[from] StoreError),
}

/// Signs.
pub struct Signer {
    key_id: String,
    public_key: String,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// The key of this Intail, made if there is none yet.
    pub async fn open(store: &Store, keyring: &Keyring, random: &Random, now: Timestamp) -> Result<Self, SigningError> {
        let mut tx = store.read().await?;
        let kept = newest(&mut tx).await?;
        drop(tx);
        let key = match kept {
            Some(key) => key,
            None => {
                let made = make(keyring, random)?;
                let mut tx = store.write().await?;
                signing_keys::add(&mut tx, &made, now).await?;
                let key = newest(&mut tx).await?.ok_or(SigningError::NotAKey)?;
                tx.commit().await?;
                key
            }
        };
        let opened = keyring.open_text(&key.secret_sealed, &row(&key.id))?;
        let seed = Zeroizing::new(URL_SAFE_NO_PAD.decode(opened.expose_secret()).map_err(|_| SigningError::NotAKey)?);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SigningError::NotAKey)?;
        Ok(Self { key_id: key.id, public_key: key.public_key, pair })
    }

    /// The key's id.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public part, base64url.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The signature of a text, base64url.
    pub fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(text.as_bytes()))
    }
}

async fn newest(tx: &mut Tx) -> Result<Option<SigningKey>, StoreError> {
    Ok(signing_keys::list(tx, KEYS_MAX).await?.pop())
}

fn make(keyring: &Keyring, random: &Random) -> Result<SigningKey, SigningError> {
    let mut seed = Zeroizing::new([0u8; SEED_LENGTH]);
    random.fill(seed.as_mut());
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| SigningError::NotAKey)?;
    let secret = SecretString::from(URL_SAFE_NO_PAD.encode(seed.as_ref()));
    Ok(SigningKey {
        id: KEY_ID.to_owned(),
        public_key: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
        secret_sealed: keyring.seal_text(&secret, &row(KEY_ID))?,
    })
}

/// The row that a key's secret part is sealed for.
fn row(id: &str) -> String {
    format!("signing_keys/{id}/secret")
}

/// Every public key, so that old receipts stay provable.
pub async fn public_keys(tx: &mut Tx) -> Result<Vec<SigningKey>, StoreError> {
    signing_keys::list(tx, KEYS_MAX).await
}

/// Whether a text was signed with this public key.
pub fn is_signed(public_key: &str, text: &str, signature: &str) -> bool {
    let decoded = URL_SAFE_NO_PAD.decode(public_key).ok().zip(URL_SAFE_NO_PAD.decode(signature).ok());
    decoded.is_some_and(|(key, signature)| {
        UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_text_and_key_verify() {
        let random = Random::seeded(1);
        let keyring = Keyring::ephemeral(&random);
        let (one, other) = (make(&keyring, &random).expect("made"), make(&keyring, &random).expect("made"));
        let opened = keyring.open_text(&one.secret_sealed, &row(KEY_ID)).expect("opened");
        let seed = URL_SAFE_NO_PAD.decode(opened.expose_secret()).expect("base64");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(b"left"));
        assert!(is_signed(&one.public_key, "left", &signature));
        assert!(!is_signed(&one.public_key, "left ", &signature));
        assert!(!is_signed(&other.public_key, "left", &signature));
        assert!(!is_signed(&one.public_key, "left", "!"));
    }
}

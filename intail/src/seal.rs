//! Secrets at rest: sealed with AES-256-GCM-SIV under a key from the key file, bound to the row they belong to, and
//! tagged with the key's id so that keys can be rotated. Without the key a database was sealed with, Intail refuses to
//! start. Links that carry their own proof are signed with keys that are derived from the same ones.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::random::Random;
use crate::store::{Store, StoreError, key_proofs};

const KEY_LENGTH: usize = 32;
/// A key file larger than this is some other file.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a tag that are kept: two different texts have the same one with a chance that nobody will see.
const TAG_LENGTH: usize = 16;
const PROOF: &str = "this key sealed this database";

/// The keys, newest last. The newest seals, all of them open.
#[derive(Clone)]
pub struct Keyring(Arc<Vec<Key>>);

struct Key {
    id: String,
    aead: RandomizedNonceKey,
    /// Derived from the same bytes, for another use: it never seals.
    signing: hmac::Key,
}

/// What the signing key is derived for. Another text would void every link that was given out.
const SIGNING: &[u8] = b"intail signs links";

/// Why a secret can't be sealed or opened, or the keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file can't be read or written.
    #[error("the key file {path} can't be read or created; check that the path exists and that Intail may use it")]
    File {
        /// Where it should be.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key file holds something else.
    #[error(
        "line {line} of the key file {path} is not a key; a key line is an id, a space and 43 characters of base64"
    )]
    NotAKey {
        /// The file.
        path: String,
        /// Which line.
        line: usize,
    },
    /// The database was sealed with a key that isn't there.
    #[error(
        "the key file {path} doesn't hold key '{key}', with which this database was sealed; put that key file back"
    )]
    KeyMissing {
        /// The file.
        path: String,
        /// The key's id.
        key: String,
    },
    /// The text was sealed with another key or for another row, or was changed.
    #[error("a sealed secret can't be opened; it was sealed with another key or for another row")]
    NotOpened,
    /// The database failed.
    #[error("the keys can't be proved against the database")]
    Store(#[from] StoreError),
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

impl Keyring {
    /// Opens the key file, or creates it when neither it nor anything sealed exists yet, and proves that its keys are
    /// those of this database.
    pub async fn open(path: &Path, store: &Store, random: &Random, now: Timestamp) -> Result<Self, SealError> {
        let mut tx = store.read().await?;
        let proofs = key_proofs::list(&mut tx).await?;
        drop(tx);
        let shown = path.display().to_string();
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match proofs.first() {
                Some((key, _)) => {
                    return Err(SealError::KeyMissing { path: shown, key: key.clone() });
                }
                None => create(path, random).map_err(|source| SealError::File { path: shown.clone(), source })?,
            },
            Err(source) => return Err(SealError::File { path: shown, source }),
        };
        let keyring = Self::parse(&shown, &text)?;
        for (key, proof) in &proofs {
            let opened = keyring.open_text(proof, &format!("key_proofs/{key}"));
            if opened.map(|it| it.expose_secret() == PROOF).ok() != Some(true) {
                return Err(SealError::KeyMissing { path: shown, key: key.clone() });
            }
        }
        keyring.prove(store, now).await?;
        Ok(keyring)
    }

    /// A keyring with one key that is nowhere else: for tests and for data that nobody keeps.
    pub fn ephemeral(random: &Random) -> Self {
        let mut bytes = Zeroizing::new([0u8; KEY_LENGTH]);
        random.fill(bytes.as_mut());
        Self(Arc::new(key("k1", bytes.as_ref()).into_iter().collect()))
    }

    async fn prove(&self, store: &Store, now: Timestamp) -> Result<(), SealError> {
        let Some(newest) = self.0.last() else {
            return Err(SealError::NotOpened);
        };
        let sealed = self.seal_text(&SecretString::from(PROOF), &format!("key_proofs/{}", newest.id))?;
        let mut tx = store.write().await?;
        key_proofs::add(&mut tx, &newest.id, &sealed, now).await?;
        tx.commit().await?;
        Ok(())
    }

    fn parse(path: &str, text: &str) -> Result<Self, SealError> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let not_a_key = || SealError::NotAKey { path: path.to_owned(), line: at + 1 };
            let (id, encoded) = line.trim().split_once(' ').ok_or_else(not_a_key)?;
            let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(encoded).map_err(|_| not_a_key())?);
            keys.push(key(id, &bytes).ok_or_else(not_a_key)?);
        }
        if keys.is_empty() {
            return Err(SealError::NotAKey { path: path.to_owned(), line: 1 });
        }
        Ok(Self(Arc::new(keys)))
    }

    /// Seals a secret for `row`, a text such as `grants/gra_…/refresh`. It opens only for the same row.
    pub fn seal_text(&self, secret: &SecretString, row: &str) -> Result<String, SealError> {
        let newest = self.0.last().ok_or(SealError::NotOpened)?;
        let mut bytes = secret.expose_secret().as_bytes().to_vec();
        let nonce = newest
            .aead
            .seal_in_place_append_tag(Aad::from(row.as_bytes()), &mut bytes)
            .map_err(|_| SealError::NotOpened)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut bytes);
        Ok(format!("{}.{}", newest.id, STANDARD_NO_PAD.encode(whole)))
    }

    /// The proof that Intail wrote `text` for `purpose`: 43 characters that fit an address.
    pub fn sign(&self, purpose: &str, text: &str) -> Result<String, SealError> {
        let newest = self.0.last().ok_or(SealError::NotOpened)?;
        Ok(URL_SAFE_NO_PAD.encode(hmac::sign(&newest.signing, signed(purpose, text).as_bytes())))
    }

    /// Whether `proof` is that of `text` for `purpose`, by any of the keys.
    pub fn is_signed(&self, purpose: &str, text: &str, proof: &str) -> bool {
        let Ok(proof) = URL_SAFE_NO_PAD.decode(proof) else { return false };
        let text = signed(purpose, text);
        self.0.iter().any(|key| hmac::verify(&key.signing, text.as_bytes(), &proof).is_ok())
    }

    /// Opens what was sealed for `row`.
    pub fn open_text(&self, sealed: &str, row: &str) -> Result<SecretString, SealError> {
        let (id, encoded) = sealed.split_once('.').ok_or(SealError::NotOpened)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or(SealError::NotOpened)?;
        let whole = STANDARD_NO_PAD.decode(encoded).map_err(|_| SealError::NotOpened)?;
        if whole.len() < NONCE_LEN {
            return Err(SealError::NotOpened);
        }
        let (nonce, body) = whole.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::NotOpened)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = key
            .aead
            .open_in_place(nonce, Aad::from(row.as_bytes()), body.as_mut_slice())
            .map_err(|_| SealError::NotOpened)?;
        let text = std::str::from_utf8(plain).map_err(|_| SealError::NotOpened)?;
        Ok(SecretString::from(text))
    }
}

/// What is signed: a purpose holds no line break, so no text of one is a text of another.
fn signed(purpose: &str, text: &str) -> String {
    format!("{purpose}\n{text}")
}

fn key(id: &str, bytes: &[u8]) -> Option<Key> {
    let aead = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes).ok()?;
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), SIGNING);
    let signing = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
    (!id.is_empty() && !id.contains('.')).then(|| Key { id: id.to_owned(), aead, signing })
}

fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    if std::fs::metadata(path)?.len() > KEY_FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is too large to be a key file"));
    }
    std::fs::read_to_string(path).map(Zeroizing::new)
}

fn create(path: &Path, random: &Random) -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0u8; KEY_LENGTH]);
    random.fill(bytes.as_mut());
    let text = Zeroizing::new(format!(
        "# Intail's key file. With it and the database, tokens can be read; without it, the database is useless.\n\
         k1 {}\n",
        STANDARD_NO_PAD.encode(bytes.as_ref())
    ));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(text)
}

/// The hash under which a token is kept or looked up: base64url of SHA-256. Tokens are 256 random bits, so no salt.
pub fn hash_token(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

/// What stands for a text that may not be kept: equal texts have equal tags, and without the key nobody can try which
/// text it was (HMAC-SHA-256, its first 16 bytes in hexadecimal).
pub fn tag(key: &SecretString, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
    let whole = hmac::sign(&key, text.as_bytes());
    whole.as_ref().iter().take(TAG_LENGTH).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_for_its_own_row_and_key() {
        let keyring = Keyring::ephemeral(&Random::seeded(1));
        let sealed = keyring.seal_text(&SecretString::from("1//refresh"), "grants/a/refresh").expect("sealed");
        assert!(!sealed.contains("refresh"));
        let opened = keyring.open_text(&sealed, "grants/a/refresh").expect("opened");
        assert_eq!(opened.expose_secret(), "1//refresh");
        assert!(keyring.open_text(&sealed, "grants/b/refresh").is_err());
        assert!(Keyring::ephemeral(&Random::seeded(2)).open_text(&sealed, "grants/a/refresh").is_err());
        assert!(keyring.open_text("k1.", "grants/a/refresh").is_err());
    }

    #[test]
    fn a_proof_holds_for_its_own_text_purpose_and_key() {
        let keyring = Keyring::ephemeral(&Random::seeded(1));
        let proof = keyring.sign("a link", "org_1.5").expect("signed");
        assert_eq!((proof.len(), keyring.sign("a link", "org_1.5").expect("signed")), (43, proof.clone()));
        assert!(keyring.is_signed("a link", "org_1.5", &proof));
        for (purpose, text, proof) in [
            ("a link", "org_1.6", proof.as_str()),
            ("another", "org_1.5", &proof),
            ("a link", "org_1.5", &proof[1..]),
            ("a link", "org_1.5", ""),
            ("a link", "org_1.5", "not base64!"),
        ] {
            assert!(!keyring.is_signed(purpose, text, proof), "{purpose} {text} {proof}");
        }
        assert!(!Keyring::ephemeral(&Random::seeded(2)).is_signed("a link", "org_1.5", &proof));
        let rotated = Keyring::parse("intail.key", &format!("k1 {}\nk2 {}", "A".repeat(43), "B".repeat(42) + "A"));
        let rotated = rotated.expect("two keys");
        let old = Keyring::parse("intail.key", &format!("k1 {}", "A".repeat(43))).expect("one key");
        let proof = old.sign("a link", "org_1.5").expect("signed");
        assert!(rotated.is_signed("a link", "org_1.5", &proof), "an older key's links stay good");
    }

    #[test]
    fn a_broken_key_line_is_named() {
        let error = Keyring::parse("intail.key", "# ours\nk1 short\n").expect_err("too short");
        assert_eq!(
            error.to_string(),
            "line 2 of the key file intail.key is not a key; a key line is an id, a space and 43 characters of base64"
        );
    }
}

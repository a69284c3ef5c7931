//! Secrets at rest: sealed with AES-256-GCM-SIV under a key from the key file, bound to the row they belong to, and
//! tagged with the key's id so that keys can be rotated. Without the key a database was sealed with, Intail refuses to
//! start. Links that carry their own proof are signed with keys that are derived from the same ones.

mod file;
pub mod rotation;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::random::Random;
use crate::store::key_proofs::{self, KeyProof};
use crate::store::{Store, StoreError, Tx};
use file::Stamp;

const KEY_LENGTH: usize = 32;
/// Bytes of a tag that are kept: two different texts have the same one with a chance that nobody will see.
const TAG_LENGTH: usize = 16;
const PROOF: &str = "this key sealed this database";

/// The keys. One of them seals: the one that the database was told of last. All of them open. A key that is in the file
/// and that the database doesn't know yet waits: it opens and doesn't seal, so that a file may be brought to every
/// machine before anybody seals with its new key. Cheap to clone; all clones hold the same keys.
#[derive(Clone)]
pub struct Keyring(Arc<Ring>);

struct Ring {
    /// Where the keys are kept; nowhere for an ephemeral one.
    file: Option<PathBuf>,
    held: RwLock<Arc<Held>>,
}

/// The keys as they were read at one moment.
#[derive(Clone)]
struct Held {
    /// In the file's order. Two of one id are held where the file was put right while Intail ran: each is tried.
    keys: Vec<Arc<Key>>,
    /// The one that seals; none in an empty keyring.
    sealing: Option<Arc<Key>>,
    /// Which file they were read from.
    stamp: Option<Stamp>,
}

impl Held {
    fn by_id<'a>(&'a self, id: &str) -> impl Iterator<Item = &'a Arc<Key>> {
        self.keys.iter().filter(move |key| key.id == id)
    }

    fn sealing(&self) -> Result<&Arc<Key>, SealError> {
        self.sealing.as_ref().ok_or(SealError::NotOpened)
    }

    /// The key that a proof was sealed with.
    fn proved(&self, proof: &KeyProof) -> Option<&Arc<Key>> {
        let is_proof = |key: &&Arc<Key>| {
            let opened = open(key, &proof.sealed, &proof_row(&proof.key_id));
            opened.is_ok_and(|it| it.expose_secret() == PROOF)
        };
        self.by_id(&proof.key_id).find(is_proof)
    }
}

struct Key {
    id: String,
    /// Tells keys of one id apart, and says nothing about them.
    mark: String,
    aead: RandomizedNonceKey,
    /// Derived from the same bytes, for another use: it never seals.
    signing: hmac::Key,
}

/// What the signing key is derived for. Another text would void every link that was given out.
const SIGNING: &[u8] = b"intail signs links";
/// What a key is told from another by: a text that is signed with it. A purpose never begins so.
const MARKING: &[u8] = b"\nintail tells keys apart";
/// Bytes of that which are kept.
const MARK_LENGTH: usize = 4;

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
    /// The key file can be read, and not replaced.
    #[error(
        "the key file {path} can't be replaced by one with other keys; check that this user may write to its folder \
         and that the disk isn't full"
    )]
    NotWritten {
        /// The file.
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
    /// Two keys of the file have one id.
    #[error("the key file {path} has two keys called '{key}'; each needs an id of its own")]
    SameId {
        /// The file.
        path: String,
        /// The id.
        key: String,
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
        write!(f, "Keyring({} keys)", self.held().keys.len())
    }
}

impl Keyring {
    /// Opens the key file, or creates it when neither it nor anything sealed exists yet, and proves that its keys are
    /// those of this database.
    pub async fn open(path: &Path, store: &Store, random: &Random, now: Timestamp) -> Result<Self, SealError> {
        let mut tx = store.read().await?;
        let proofs = key_proofs::list(&mut tx).await?;
        drop(tx);
        let failed = |source| SealError::File { path: path.display().to_string(), source };
        match file::stamp(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match proofs.last() {
                Some(proof) => return Err(missing(path, &proof.key_id)),
                None => file::create(path, random).map_err(failed)?,
            },
            _ => {}
        }
        let keyring = Self::of_file(path, &proofs)?;
        if proofs.is_empty() {
            keyring.follow(&keyring.prove_first(store, now).await?)?;
        }
        Ok(keyring)
    }

    /// The keys of a file that is there, which have to be those of a database with these proofs.
    pub fn of_file(path: &Path, proofs: &[KeyProof]) -> Result<Self, SealError> {
        let (keys, stamp) = parse_file(path)?;
        let held = Held { sealing: keys.last().cloned(), keys, stamp: Some(stamp) };
        let ring = Ring { file: Some(path.to_owned()), held: RwLock::new(Arc::new(held)) };
        let keyring = Self(Arc::new(ring));
        keyring.follow(proofs)?;
        Ok(keyring)
    }

    /// A keyring with one key that is nowhere else: for tests and for data that nobody keeps.
    pub fn ephemeral(random: &Random) -> Self {
        let mut bytes = Zeroizing::new([0u8; KEY_LENGTH]);
        random.fill(bytes.as_mut());
        let keys: Vec<Arc<Key>> = key("k1", bytes.as_ref()).map(Arc::new).into_iter().collect();
        let held = Held { sealing: keys.last().cloned(), keys, stamp: None };
        Self(Arc::new(Ring { file: None, held: RwLock::new(Arc::new(held)) }))
    }

    fn held(&self) -> Arc<Held> {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is held, one after the other.
    fn hold(&self, with: impl FnOnce(&Held) -> Held) {
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(with(&held));
    }

    /// Proves the newest key of the file: nothing is sealed yet. Two processes that start at once with a file each
    /// would seal under different keys of one name: whose proof comes second sees it.
    async fn prove_first(&self, store: &Store, now: Timestamp) -> Result<Vec<KeyProof>, SealError> {
        let held = self.held();
        let newest = held.sealing()?;
        let mut tx = store.write().await?;
        if key_proofs::list(&mut tx).await?.is_empty() {
            prove(&mut tx, newest, now).await?;
            key_proofs::resealed(&mut tx, &newest.id, now).await?;
        }
        let proofs = key_proofs::list(&mut tx).await?;
        tx.commit().await?;
        Ok(proofs)
    }

    /// The last key of the file, if the database wasn't told of it yet: the one that the next rotation uses.
    pub fn waiting(&self, proofs: &[KeyProof]) -> Option<String> {
        let last = self.held().keys.last().map(|key| key.id.clone())?;
        proofs.iter().all(|proof| proof.key_id != last).then_some(last)
    }

    /// Adds a new key to the file, where it waits. If one waits already, it is that one. Answers its id.
    pub fn add(&self, proofs: &[KeyProof], random: &Random) -> Result<String, SealError> {
        let Some(path) = &self.0.file else { return Err(SealError::NotOpened) };
        let failed = |source| SealError::NotWritten { path: path.display().to_string(), source };
        let id = file::add(path, random, |id| proofs.iter().all(|proof| proof.key_id != id)).map_err(failed)?;
        self.read_again()?;
        // What isn't in the file can't be read after the next start.
        if self.held().by_id(&id).next().is_some() { Ok(id) } else { Err(missing(path, &id)) }
    }

    /// Puts a key of the file in use, in place of `before`: from the commit on it seals. Answers whether it did;
    /// somebody else may have put one in use meanwhile.
    pub async fn put_in_use(&self, tx: &mut Tx, id: &str, before: &str, now: Timestamp) -> Result<bool, SealError> {
        key_proofs::hold(tx).await?;
        if key_proofs::list(tx).await?.last().is_none_or(|newest| newest.key_id != before) {
            return Ok(false);
        }
        let held = self.held();
        prove(tx, held.by_id(id).next().ok_or(SealError::NotOpened)?, now).await?;
        Ok(true)
    }

    /// Takes a key out of the file. Answers whether it was there.
    pub fn remove(&self, id: &str, random: &Random) -> Result<bool, SealError> {
        let Some(path) = &self.0.file else { return Err(SealError::NotOpened) };
        let failed = |source| SealError::NotWritten { path: path.display().to_string(), source };
        file::remove(path, random, id).map_err(failed)
    }

    /// Sees that these are the keys of this database, and seals with the newest of them that it was told of.
    fn follow(&self, proofs: &[KeyProof]) -> Result<(), SealError> {
        let held = self.held();
        let mut newest = None;
        for proof in proofs {
            let file = self.0.file.as_deref().unwrap_or(Path::new(""));
            newest = Some(held.proved(proof).ok_or_else(|| missing(file, &proof.key_id))?);
        }
        if let Some(newest) = newest {
            self.hold(|held| Held { sealing: Some(newest.clone()), ..held.clone() });
        }
        Ok(())
    }

    /// Reads the key file again if it is another one than the one that was read. Keys that are held already stay, so
    /// that a file that somebody is just writing takes nothing away.
    fn read_again(&self) -> Result<(), SealError> {
        let Some(path) = &self.0.file else { return Ok(()) };
        let failed = |source| SealError::File { path: path.display().to_string(), source };
        if Some(file::stamp(path).map_err(failed)?) == self.held().stamp {
            return Ok(());
        }
        let (keys, stamp) = parse_file(path)?;
        self.hold(|held| {
            let is_gone = |it: &&Arc<Key>| keys.iter().all(|key| (&key.id, &key.mark) != (&it.id, &it.mark));
            let gone: Vec<Arc<Key>> = held.keys.iter().filter(is_gone).cloned().collect();
            Held { keys: gone.into_iter().chain(keys).collect(), stamp: Some(stamp), ..held.clone() }
        });
        Ok(())
    }

    /// Looks whether keys came or went, in the file and in the database, and seals with the newest that the database
    /// was told of. Answers an error while the file can't be read or lacks that one: what is held goes on being used.
    pub async fn look(&self, store: &Store) -> Result<(), SealError> {
        let read = self.read_again();
        let mut tx = store.read().await?;
        let proofs = key_proofs::list(&mut tx).await?;
        drop(tx);
        read?;
        self.follow(&proofs)
    }

    /// The ids of the keys, in the file's order.
    pub fn ids(&self) -> Vec<String> {
        self.held().keys.iter().map(|key| key.id.clone()).collect()
    }

    /// What stands for each of the keys: its id and what tells it from another of that id.
    pub fn marks(&self) -> Vec<String> {
        self.held().keys.iter().map(|key| key.shown()).collect()
    }

    /// What stands for the key with this id; none when it isn't held.
    pub fn mark_of(&self, id: &str) -> Option<String> {
        self.held().by_id(id).last().map(|key| key.shown())
    }

    /// The id of the key that seals.
    pub fn sealing_id(&self) -> String {
        self.held().sealing.as_ref().map_or_else(String::new, |key| key.id.clone())
    }

    /// Seals a secret for `row`, a text such as `grants/gra_…/refresh`. It opens only for the same row.
    pub fn seal_text(&self, secret: &SecretString, row: &str) -> Result<String, SealError> {
        seal(self.held().sealing()?, secret, row)
    }

    /// The proof that Intail wrote `text` for `purpose`: 43 characters that fit an address.
    pub fn sign(&self, purpose: &str, text: &str) -> Result<String, SealError> {
        let held = self.held();
        Ok(URL_SAFE_NO_PAD.encode(hmac::sign(&held.sealing()?.signing, signed(purpose, text).as_bytes())))
    }

    /// Whether `proof` is that of `text` for `purpose`, by any of the keys.
    pub fn is_signed(&self, purpose: &str, text: &str, proof: &str) -> bool {
        let Ok(proof) = URL_SAFE_NO_PAD.decode(proof) else { return false };
        let text = signed(purpose, text);
        self.held().keys.iter().any(|key| hmac::verify(&key.signing, text.as_bytes(), &proof).is_ok())
    }

    /// Opens what was sealed for `row`. If it was sealed under a key that isn't held, somebody rotates: the key file is
    /// looked at again, and read if it is another one by now.
    pub fn open_text(&self, sealed: &str, row: &str) -> Result<SecretString, SealError> {
        let (id, _) = sealed.split_once('.').ok_or(SealError::NotOpened)?;
        if self.held().by_id(id).next().is_none()
            && let Err(error) = self.read_again()
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the key file can't be read again");
        }
        let held = self.held();
        held.by_id(id).find_map(|key| open(key, sealed, row).ok()).ok_or(SealError::NotOpened)
    }
}

/// Tells the database of a key: from the commit on it is the one that seals, once every process has looked.
async fn prove(tx: &mut Tx, key: &Key, now: Timestamp) -> Result<(), SealError> {
    let sealed = seal(key, &SecretString::from(PROOF), &proof_row(&key.id))?;
    key_proofs::add(tx, &key.id, &sealed, now).await?;
    Ok(())
}

/// What is signed: a purpose holds no line break, so no text of one is a text of another.
fn signed(purpose: &str, text: &str) -> String {
    format!("{purpose}\n{text}")
}

fn key(id: &str, bytes: &[u8]) -> Option<Key> {
    let aead = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes).ok()?;
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), SIGNING);
    let signing = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
    let mark = hmac::sign(&signing, MARKING).as_ref().iter().take(MARK_LENGTH).map(|it| format!("{it:02x}")).collect();
    let is_name = !id.is_empty() && !id.contains(['.', '/']);
    is_name.then(|| Key { id: id.to_owned(), mark, aead, signing })
}

impl Key {
    fn shown(&self) -> String {
        format!("{}/{}", self.id, self.mark)
    }
}

fn open(key: &Key, sealed: &str, row: &str) -> Result<SecretString, SealError> {
    let (_, encoded) = sealed.split_once('.').ok_or(SealError::NotOpened)?;
    let whole = STANDARD_NO_PAD.decode(encoded).map_err(|_| SealError::NotOpened)?;
    let (nonce, body) = whole.split_at_checked(NONCE_LEN).ok_or(SealError::NotOpened)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::NotOpened)?;
    let mut body = Zeroizing::new(body.to_vec());
    let plain = key
        .aead
        .open_in_place(nonce, Aad::from(row.as_bytes()), body.as_mut_slice())
        .map_err(|_| SealError::NotOpened)?;
    let text = std::str::from_utf8(plain).map_err(|_| SealError::NotOpened)?;
    Ok(SecretString::from(text))
}

fn seal(key: &Key, secret: &SecretString, row: &str) -> Result<String, SealError> {
    let mut bytes = secret.expose_secret().as_bytes().to_vec();
    let nonce =
        key.aead.seal_in_place_append_tag(Aad::from(row.as_bytes()), &mut bytes).map_err(|_| SealError::NotOpened)?;
    let mut whole = nonce.as_ref().to_vec();
    whole.append(&mut bytes);
    Ok(format!("{}.{}", key.id, STANDARD_NO_PAD.encode(whole)))
}

/// The row that a key's proof is sealed for.
fn proof_row(id: &str) -> String {
    format!("key_proofs/{id}")
}

fn missing(path: &Path, key: &str) -> SealError {
    SealError::KeyMissing { path: path.display().to_string(), key: key.to_owned() }
}

fn parse_file(path: &Path) -> Result<(Vec<Arc<Key>>, Stamp), SealError> {
    let shown = path.display().to_string();
    let (text, stamp) = file::read(path).map_err(|source| SealError::File { path: shown.clone(), source })?;
    Ok((parse(&shown, &text)?, stamp))
}

fn parse(path: &str, text: &str) -> Result<Vec<Arc<Key>>, SealError> {
    let mut keys: Vec<Arc<Key>> = Vec::new();
    for (at, line) in file::lines(text) {
        let not_a_key = || SealError::NotAKey { path: path.to_owned(), line: at + 1 };
        let (id, encoded) = line.split_once(' ').ok_or_else(not_a_key)?;
        let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(encoded.trim()).map_err(|_| not_a_key())?);
        let key = key(id, &bytes).ok_or_else(not_a_key)?;
        if keys.iter().any(|it| it.id == key.id) {
            return Err(SealError::SameId { path: path.to_owned(), key: key.id });
        }
        keys.push(Arc::new(key));
    }
    if keys.is_empty() {
        return Err(SealError::NotAKey { path: path.to_owned(), line: 1 });
    }
    Ok(keys)
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

    fn of_text(text: &str) -> Keyring {
        let keys = parse("intail.key", text).expect("keys");
        let held = Held { sealing: keys.last().cloned(), keys, stamp: None };
        Keyring(Arc::new(Ring { file: None, held: RwLock::new(Arc::new(held)) }))
    }

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
        let rotated = of_text(&format!("k1 {}\nk2 {}", "A".repeat(43), "B".repeat(42) + "A"));
        let old = of_text(&format!("k1 {}", "A".repeat(43)));
        let proof = old.sign("a link", "org_1.5").expect("signed");
        assert!(rotated.is_signed("a link", "org_1.5", &proof), "an older key's links stay good");
    }

    #[test]
    fn a_broken_key_line_is_named() {
        let error = parse("intail.key", "# ours\nk1 short\n").err().expect("too short");
        assert_eq!(
            error.to_string(),
            "line 2 of the key file intail.key is not a key; a key line is an id, a space and 43 characters of base64"
        );
    }
    #[test]
    fn two_keys_of_one_id_are_refused() {
        let same = format!("k1 {}\nk1 {}", "A".repeat(43), "B".repeat(42) + "A");
        let error = parse("intail.key", &same).err().expect("ambiguous");
        assert_eq!(error.to_string(), "the key file intail.key has two keys called 'k1'; each needs an id of its own");
    }
}

//! Seals again what is sealed under an older key: a page after the other, while everybody else works on.
//!
//! What a reader must not break: a text is replaced only if it is still the one that was opened. A token that was
//! refreshed in between is newer, and stays. So every step may be done again, by several at once, and after a crash.

use crate::seal::{Keyring, SealError};
use crate::store::Store;
use crate::store::sealed::{self, PLACES, Place, Sealed};

/// Texts that are sealed again in one transaction: few enough that nobody waits long for the writer.
const AT_ONCE: i64 = 200;
/// Texts that can't be opened and are named; the rest are counted.
const NAMED_MAX: usize = 20;

/// What a pass over everything did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Texts that were sealed again.
    pub resealed: u64,
    /// Texts that somebody else wrote meanwhile: the next pass looks at them.
    pub overtaken: u64,
    /// Texts that can't be opened by any key, and so stay as they are.
    pub unopened: u64,
    /// For which rows some of those are sealed.
    pub named: Vec<String>,
}

/// One pass over all sealed texts. Everything is sealed under the newest key once a pass finds nothing to do.
pub async fn pass(keyring: &Keyring, store: &Store) -> Result<Pass, SealError> {
    let mut pass = Pass::default();
    for place in PLACES {
        over(keyring, store, place, &mut pass).await?;
    }
    Ok(pass)
}

async fn over(keyring: &Keyring, store: &Store, place: Place, pass: &mut Pass) -> Result<(), SealError> {
    let (under, mut after) = (keyring.sealing_id(), String::new());
    loop {
        let mut tx = store.read().await?;
        let page = sealed::not_under(&mut tx, place, &under, &after, AT_ONCE).await?;
        drop(tx);
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.key);
        let again = page.into_iter().filter_map(|old| match reseal(keyring, &old) {
            Ok(new) => Some((old, new)),
            Err(_) => {
                pass.unopened += 1;
                if pass.named.len() < NAMED_MAX {
                    pass.named.push(old.row);
                }
                None
            }
        });
        let again: Vec<(Sealed, String)> = again.collect();
        let mut tx = store.write().await?;
        for (old, new) in &again {
            match sealed::swap(&mut tx, place, old, new).await? {
                true => pass.resealed += 1,
                false => pass.overtaken += 1,
            }
        }
        tx.commit().await?;
    }
}

fn reseal(keyring: &Keyring, old: &Sealed) -> Result<String, SealError> {
    keyring.seal_text(&keyring.open_text(&old.text, &old.row)?, &old.row)
}

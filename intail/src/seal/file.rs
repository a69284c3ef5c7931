//! The key file: a line for each key, newest last, an id, a space and 43 characters of base64; lines that begin with
//! `#` are comments and stay.
//!
//! What a reader must not break: the file is never changed in place. A new one is written beside it, brought to the
//! disk, and put in its place, so that a crash leaves the old one or the new one, whole. It stays its owner's.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::KEY_LENGTH;
use crate::random::Random;

/// A key file larger than this is some other file.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// How often the file may be replaced by others between opening and locking it before that is an error.
const REPLACED_MAX: usize = 16;
/// Random bytes in a new key's id: two machines that make a key at once give it different ids.
const ID_BYTES: usize = 3;
/// What a file of keys may permit at most: its owner writes, and a group may read it if it could before.
#[cfg(unix)]
const MODE_MAX: u32 = 0o640;

/// Which file was read: another one in its place, or another text in it, has another stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    changed: Option<SystemTime>,
    number: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let number = 0;
        Self { length: metadata.len(), changed: metadata.modified().ok(), number }
    }
}

/// The stamp of the file that is there now.
pub(super) fn stamp(path: &Path) -> io::Result<Stamp> {
    Ok(Stamp::of(&std::fs::metadata(path)?))
}

/// The file's text and its stamp.
pub(super) fn read(path: &Path) -> io::Result<(Zeroizing<String>, Stamp)> {
    text_of(&mut File::open(path)?)
}

fn text_of(file: &mut File) -> io::Result<(Zeroizing<String>, Stamp)> {
    let metadata = file.metadata()?;
    if metadata.len() > KEY_FILE_BYTES_MAX {
        return Err(io::Error::other("the file is too large to be a key file"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok((text, Stamp::of(&metadata)))
}

/// Makes the file with its first key, unless there is one.
pub(super) fn create(path: &Path, random: &Random) -> io::Result<()> {
    let key = new_key(random);
    let text = Zeroizing::new(format!(
        "# Intail's key file. With it and the database, tokens can be read; without it, the database is useless.\n\
         k1 {}\n",
        key.as_str()
    ));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn new_key(random: &Random) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0u8; KEY_LENGTH]);
    random.fill(bytes.as_mut());
    Zeroizing::new(STANDARD_NO_PAD.encode(bytes.as_ref()))
}

/// Adds a new key at the end, unless a key is there already whose id satisfies `is_new`: then somebody else was faster.
/// Answers the id of that key.
pub(super) fn add(path: &Path, random: &Random, is_new: impl Fn(&str) -> bool) -> io::Result<String> {
    let mut id = String::new();
    change(path, random, |text| {
        let ids: Vec<&str> = lines(text).filter_map(|(_, line)| line.split(' ').next()).collect();
        if let Some(there) = ids.last().filter(|last| is_new(last)) {
            (*there).clone_into(&mut id);
            return None;
        }
        let number = |id: &&str| id.strip_prefix('k')?.split('-').next()?.parse::<u32>().ok();
        let next = ids.iter().filter_map(number).max().unwrap_or(0).saturating_add(1);
        let mut bytes = [0u8; ID_BYTES];
        random.fill(&mut bytes);
        let mark: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        id = format!("k{next}-{mark}");
        let line_end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Some(Zeroizing::new(format!("{text}{line_end}{id} {}\n", new_key(random).as_str())))
    })?;
    Ok(id)
}

/// Takes a key out. Answers whether it was there.
pub(super) fn remove(path: &Path, random: &Random, id: &str) -> io::Result<bool> {
    let mut was_there = false;
    change(path, random, |text| {
        let found = lines(text).find(|(_, line)| line.split(' ').next() == Some(id))?.0;
        was_there = true;
        let mut kept = Zeroizing::new(String::with_capacity(text.len()));
        for (_, line) in text.lines().enumerate().filter(|(at, _)| *at != found) {
            kept.push_str(line);
            kept.push('\n');
        }
        Some(kept)
    })?;
    Ok(was_there)
}

/// The lines that hold keys, with their place from 0.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let all = text.lines().enumerate().map(|(at, line)| (at, line.trim()));
    all.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Puts what `with` makes of the text in the file's place; nothing happens when it makes nothing. Two who do so at once
/// are one after the other.
fn change(path: &Path, random: &Random, with: impl FnOnce(&str) -> Option<Zeroizing<String>>) -> io::Result<()> {
    // A name that only points to the file goes on doing so.
    let path = std::fs::canonicalize(path)?;
    let mut held = lock(&path)?;
    let (text, _) = text_of(&mut held)?;
    let Some(text) = with(&text) else { return Ok(()) };
    let beside = beside(&path, random)?;
    let ended = write_beside(&beside, &text, &held.metadata()?).and_then(|()| std::fs::rename(&beside, &path));
    if ended.is_err() {
        // What is left of it holds keys.
        let _ = std::fs::remove_file(&beside);
    }
    ended?;
    sync_folder(&path)
}

/// Opens the file so that nobody else changes it. Who waited may hold a file that was replaced meanwhile.
fn lock(path: &Path) -> io::Result<File> {
    for _ in 0..REPLACED_MAX {
        let file = File::open(path)?;
        file.lock()?;
        if Stamp::of(&file.metadata()?).number == stamp(path)?.number {
            return Ok(file);
        }
    }
    Err(io::Error::other("the key file is replaced again and again"))
}

fn beside(path: &Path, random: &Random) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the key file has no name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", random.token()));
    Ok(path.with_file_name(hidden))
}

fn write_beside(path: &Path, text: &str, like: &Metadata) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    #[cfg(unix)]
    keep_owner(&file, like)?;
    #[cfg(not(unix))]
    let _ = like;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Whoever rotates may be another user than the one that Intail runs as: the file stays readable for that one.
#[cfg(unix)]
fn keep_owner(file: &File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(like.mode() & MODE_MAX | 0o600))
}

/// A file's new name is on the disk once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf, Random) {
        let (folder, random) = (tempfile::tempdir().expect("a folder"), Random::seeded(3));
        let path = folder.path().join("intail.key");
        create(&path, &random).expect("made");
        (folder, path, random)
    }

    #[test]
    fn keys_come_and_go_and_everything_else_stays() {
        let (folder, path, random) = file();
        let first = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, format!("{first}# ours\n\n  # indented")).expect("written");
        let id = add(&path, &random, |_| false).expect("added");
        assert!(id.starts_with("k2-"), "{id}");
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.starts_with(&format!("{first}# ours\n\n  # indented\n{id} ")), "{text}");
        assert_eq!(add(&path, &random, |it| it == id).expect("there"), id, "somebody was faster");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), text);
        assert!(remove(&path, &random, &id).expect("removed") && !remove(&path, &random, &id).expect("gone"));
        assert_eq!(std::fs::read_to_string(&path).expect("text"), format!("{first}# ours\n\n  # indented\n"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing lies beside it");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_stays_as_closed_as_it_was_and_a_link_stays_a_link() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let (folder, path, random) = file();
        let mode = || std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        for (before, after) in [(0o600, 0o600), (0o640, 0o640), (0o666, 0o640), (0o400, 0o600)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(before)).expect("set");
            add(&path, &random, |_| false).expect("added");
            assert_eq!(mode(), after, "{before:o}");
        }
        let link = folder.path().join("link.key");
        symlink(&path, &link).expect("linked");
        let id = add(&link, &random, |_| false).expect("added");
        assert!(std::fs::read_to_string(&path).expect("text").contains(&id));
        assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
    }

    #[test]
    fn many_who_add_at_once_lose_nothing() {
        let (_folder, path, _) = file();
        std::thread::scope(|scope| {
            for seed in 0..8 {
                let path = &path;
                scope.spawn(move || add(path, &Random::seeded(100 + seed), |_| false).expect("added"));
            }
        });
        let text = std::fs::read_to_string(&path).expect("text");
        assert_eq!(lines(&text).count(), 9, "{}", text.lines().count());
    }

    #[test]
    fn a_file_that_is_something_else_stays_as_it_is() {
        let (_folder, path, random) = file();
        std::fs::write(&path, "x".repeat(70_000)).expect("written");
        assert!(read(&path).is_err() && add(&path, &random, |_| false).is_err());
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 70_000);
        assert!(add(&path.with_file_name("none"), &random, |_| false).is_err());
    }
}

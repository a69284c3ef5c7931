//! Keeping the world between two starts: one JSON file, replaced as a whole, so that a crash leaves the old world or
//! the new one and never half of either.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::world::World;

/// Version of the file; rises when an older sandbox could misread it.
const FORMAT: u32 = 1;

/// Why the saved world can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It can't be read or written.
    #[error(
        "the sandbox's saved world {path} can't be read or written; check the path and its permissions",
        path = .0.display()
    )]
    Access(PathBuf, #[source] std::io::Error),
    /// It is not a saved world, or another version's.
    #[error(
        "the sandbox's saved world {path} is damaged or of another version; delete it to start afresh",
        path = .0.display()
    )]
    Content(PathBuf, #[source] serde_json::Error),
    /// The world can't be written as JSON.
    #[error("the sandbox's world can't be written as JSON")]
    World(#[source] serde_json::Error),
}

#[derive(Serialize)]
struct Saving<'a> {
    format: u32,
    clock_shift_s: u64,
    world: &'a World,
}

#[derive(Deserialize)]
struct Saved {
    #[serde(deserialize_with = "this_format")]
    #[expect(dead_code, reason = "reading the field is the check")]
    format: u32,
    clock_shift_s: u64,
    world: World,
}

fn this_format<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let format = u32::deserialize(deserializer)?;
    if format == FORMAT {
        Ok(format)
    } else {
        Err(serde::de::Error::custom(format!("format {format} is not {FORMAT}")))
    }
}

/// Reads a saved world and shifts the clock as far as it was shifted; `None` when nothing was saved yet.
pub(crate) fn load(path: &Path, clock: &Clock) -> Result<Option<World>, StateFileError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateFileError::Access(path.to_owned(), error)),
    };
    let saved: Saved =
        serde_json::from_slice(&text).map_err(|error| StateFileError::Content(path.to_owned(), error))?;
    if !clock.is_manual() {
        clock.advance(Duration::from_secs(saved.clock_shift_s));
    }
    Ok(Some(World { clock: clock.clone(), ..saved.world }))
}

/// The world as the file holds it.
pub(crate) fn text(world: &World) -> Result<Vec<u8>, StateFileError> {
    let saving = Saving { format: FORMAT, clock_shift_s: world.clock.shift().as_secs(), world };
    serde_json::to_vec(&saving).map_err(StateFileError::World)
}

/// Replaces the file.
pub(crate) async fn write(path: PathBuf, text: Vec<u8>) -> Result<(), StateFileError> {
    let temporary = path.with_extension("new");
    let written = async {
        tokio::fs::write(&temporary, text).await?;
        tokio::fs::rename(&temporary, &path).await
    };
    written.await.map_err(|error| StateFileError::Access(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::{empty_world, sub};

    #[tokio::test]
    async fn a_world_comes_back_with_its_clocks_shift() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world.json");
        assert!(load(&path, &Clock::system()).unwrap().is_none());
        let mut world = empty_world();
        world.clock = Clock::system();
        world.clock.advance(Duration::from_secs(500));
        let id = world.receive_sample(&sub());
        write(path.clone(), text(&world).unwrap()).await.unwrap();
        let clock = Clock::system();
        let back = load(&path, &clock).unwrap().unwrap();
        assert_eq!(clock.shift(), Duration::from_secs(500));
        assert!(back.mail[&sub()].message(&id).is_some());
    }

    #[tokio::test]
    async fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world.json");
        std::fs::write(&path, r#"{"format":99}"#).unwrap();
        let error = load(&path, &Clock::system()).unwrap_err().to_string();
        assert!(error.contains("world.json") && error.contains("delete it"));
    }
}

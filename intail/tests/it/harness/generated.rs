//! Pages in the repository that the program writes itself. A test compares them; `cargo xtask docs` writes them.
//!
//! A test that uses this has `generated` in its name, so that `cargo xtask docs` finds it.

use super::root;

/// Fails if the file differs from `text`; under `cargo xtask docs` writes it instead.
pub(crate) fn check(path: &str, text: &str) {
    let file = root().join(path);
    #[expect(clippy::disallowed_methods, reason = "cargo xtask docs says by a variable that it wants to write")]
    let write = std::env::var_os("INTAIL_WRITE_GENERATED").is_some();
    if write {
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("{path} can't be written: {error}"));
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{path} isn't what the program says: run `cargo xtask docs` and commit the difference");
}

//! What tests stand on: databases, a browser, Google's Pub/Sub emulator, and generated pages. Everything here is found
//! through variables that `cargo xtask test` sets, and ends with the test that started it.
//!
//! A reader must not add a way to skip: a test whose service is missing fails and says which command brings it.

pub(crate) mod browser;
pub(crate) mod calendars;
pub(crate) mod emulator;
pub(crate) mod generated;
pub(crate) mod inward;
pub(crate) mod live;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod running;
pub(crate) mod truth;
pub(crate) mod visit;
pub(crate) mod written;

/// A variable that `cargo xtask test` sets.
pub(crate) fn variable(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told by their environment where their services are")]
    let value = std::env::var(name);
    value.unwrap_or_else(|_| {
        panic!("{name} isn't set: run `cargo xtask test`, or `cargo xtask with-services cargo test …` for a few tests")
    })
}

/// The repository's root.
pub(crate) fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

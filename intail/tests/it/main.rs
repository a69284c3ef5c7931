//! All integration tests in one binary: it links once, and they share one harness.

mod harness;

mod config;
mod connect;
mod mail;
mod store;
mod tidy;

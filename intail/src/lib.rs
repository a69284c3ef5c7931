//! Intail: an organization's people connect their own Google Workspace account with one click, and what Google lets
//! them read stays live. Modules stand in reading order: what everything rests on first, what people see last.
//!
//! The arrows point one way: `cli → web, notices, sync, connect, signin, org, feed → store → clock, id, seal`.
//! ARCHITECTURE.md draws the map; `tests/it/tidy.rs` keeps it true.

pub mod clock;
pub mod id;
pub mod random;
pub mod seal;
pub mod signing;

pub mod config;
pub mod store;

pub mod access;
pub mod app;
pub mod org;

pub mod connect;
pub mod signin;

pub mod agenda;
pub mod feed;
pub mod notices;
pub mod sync;

pub mod cli;
pub mod web;

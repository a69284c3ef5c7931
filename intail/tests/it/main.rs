//! All integration tests in one binary: it links once, and they share one harness.

mod harness;

mod access;
mod agenda;
mod backups;
mod calendar;
mod calendar_gone;
mod calendar_notices;
mod calendar_tour;
mod cli;
mod concierge;
mod config;
mod connect;
mod directory;
mod emulator_path;
mod failing;
mod heartbeat;
mod hindered;
mod hostile;
mod identity;
mod keys;
mod kills;
mod leaving;
mod mail;
mod meetings;
mod notices;
mod organization;
mod pages;
mod price;
mod privacy;
mod recurrence;
mod serving;
mod simulation;
mod store;
mod tidy;
mod tour;

//! All SQL. One text for SQLite and PostgreSQL; one file per noun; every function takes the transaction first, so that
//! a state change and the work that follows from it share one commit. No type of Google's API appears here.

pub mod access_keys;
pub mod agendas;
pub mod approval_waits;
pub mod attempts;
pub mod audit;
pub mod calendars;
pub mod call_counts;
pub mod changes;
pub mod channels;
pub mod coverage;
pub mod debts;
mod dialect;
pub mod directories;
pub mod directory_people;
pub mod directory_readers;
pub mod erasure;
pub mod events;
pub mod exclusions;
pub mod failing;
pub mod feed_gaps;
pub mod fills;
pub mod gate;
pub mod gauges;
pub mod grants;
pub mod heartbeat;
pub mod invitations;
pub mod key_proofs;
pub mod labels;
pub mod leases;
pub mod leaving_receipts;
pub mod leavings;
pub mod mailboxes;
pub mod messages;
pub mod operator_faults;
pub mod organizations;
pub mod people;
pub mod privacy;
pub mod processes;
pub mod quota;
pub mod receipts;
pub mod sealed;
pub mod sessions;
pub mod sightings;
pub mod sign_in_links;
pub mod signing_keys;
pub mod spending;
pub(crate) mod sql;
pub mod turns;
pub mod whole;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use dialect::Db;
use gate::{Act, Ending, Gate, through};
pub use sql::Tx;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The schema's steps, in order, embedded by hand: sqlx's own macro would compile both drivers a second time for the
/// host.
const STEPS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/0001_first.sql")),
    (2, "coverage", include_str!("../../migrations/0002_coverage.sql")),
    (3, "coverage explained", include_str!("../../migrations/0003_coverage_explained.sql")),
    (4, "quota", include_str!("../../migrations/0004_quota.sql")),
    (7, "heartbeat", include_str!("../../migrations/0007_heartbeat.sql")),
    (9, "sightings", include_str!("../../migrations/0009_sightings.sql")),
    (10, "organization", include_str!("../../migrations/0010_organization.sql")),
    (11, "receipts", include_str!("../../migrations/0011_receipts.sql")),
    (12, "concierge", include_str!("../../migrations/0012_concierge.sql")),
    (13, "privacy", include_str!("../../migrations/0013_privacy.sql")),
    (14, "passes", include_str!("../../migrations/0014_passes.sql")),
    (15, "services", include_str!("../../migrations/0015_services.sql")),
    (16, "streams", include_str!("../../migrations/0016_streams.sql")),
    (17, "directory", include_str!("../../migrations/0017_directory.sql")),
    (18, "late revocations", include_str!("../../migrations/0018_late_revocations.sql")),
    (19, "named administrators", include_str!("../../migrations/0019_named_administrators.sql")),
    (20, "indexes", include_str!("../../migrations/0020_indexes.sql")),
    (21, "pages", include_str!("../../migrations/0021_pages.sql")),
    (22, "ahead", include_str!("../../migrations/0022_ahead.sql")),
    (23, "failing", include_str!("../../migrations/0023_failing.sql")),
    (24, "listings", include_str!("../../migrations/0024_listings.sql")),
    (25, "once", include_str!("../../migrations/0025_once.sql")),
    (26, "keys", include_str!("../../migrations/0026_keys.sql")),
    (28, "parts", include_str!("../../migrations/0028_parts.sql")),

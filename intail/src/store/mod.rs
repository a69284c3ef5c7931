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
    (27, "shut out", include_str!("../../migrations/0027_shut_out.sql")),
    (28, "parts", include_str!("../../migrations/0028_parts.sql")),
    (29, "unreadable", include_str!("../../migrations/0029_unreadable.sql")),
    (30, "labels at", include_str!("../../migrations/0030_labels_at.sql")),
    (31, "label counts", include_str!("../../migrations/0031_label_counts.sql")),
    (32, "looks", include_str!("../../migrations/0032_looks.sql")),
    (33, "used links", include_str!("../../migrations/0033_used_links.sql")),
    (34, "call logs", include_str!("../../migrations/0034_call_logs.sql")),
    (35, "differed id", include_str!("../../migrations/0035_differed_id.sql")),
    (36, "unreadable calendars", include_str!("../../migrations/0036_unreadable_calendars.sql")),
    (37, "mailboxes of people", include_str!("../../migrations/0037_mailboxes_of_people.sql")),
    (38, "corrections", include_str!("../../migrations/0038_corrections.sql")),
    (39, "debts in bulk", include_str!("../../migrations/0039_debts_in_bulk.sql")),
    (40, "days corrected", include_str!("../../migrations/0040_days_corrected.sql")),
    (41, "unseen", include_str!("../../migrations/0041_unseen.sql")),
];

/// People whose names are folded anew in one transaction, so that nobody waits long for it.
const FOLDED_AT_ONCE: i64 = 500;

/// The schema as this Intail has it: its last step.
pub fn newest_version() -> i64 {
    STEPS.last().map_or(0, |(version, ..)| *version)
}

/// The steps up to this one.
fn migrator(upto: i64) -> Migrator {
    let steps = STEPS.iter().filter(|(version, ..)| *version <= upto).map(|(version, name, text)| {
        Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, text.into_sql_str(), false)
    });
    Migrator::with_migrations(steps.collect())
}

/// The store, open and up to date. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    gate: Option<Arc<dyn Gate>>,
}

impl Store {
    /// Opens the database that `url` names (`sqlite:FILE` or `postgres://…`) and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let store = Self::connect(url).await?;
        store.migrate(newest_version()).await?;
        store.fold_again().await?;
        Ok(store)
    }

    /// What SQL alone can't bring up to date: names that an earlier Intail folded otherwise for the search. Where there
    /// are none, it reads and writes nothing.
    async fn fold_again(&self) -> Result<(), StoreError> {
        let mut after = directory_people::Spot::default();
        loop {
            let mut tx = self.read().await?;
            let some = directory_people::folded_otherwise(&mut tx, &after, FOLDED_AT_ONCE).await?;
            drop(tx);
            let Some((people, last)) = some else { return Ok(()) };
            if !people.is_empty() {
                let mut tx = self.write().await?;
                for (spot, written) in &people {
                    directory_people::fold_again(&mut tx, spot, written).await?;
                }
                tx.commit().await?;
            }
            after = last;
        }
    }

    /// Opens the database as it is. Who writes to it brings its schema up to date first.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Ok(Self { db: Db::open(url).await?, gate: None })
    }

    /// Opens a SQLite file that nobody writes to, to read it: it may lie where nothing can be written.
    pub async fn open_unchanged(file: &Path) -> Result<Self, StoreError> {
        Ok(Self { db: Db::open_unchanged(file).await?, gate: None })
    }

    /// Brings the schema up to date, as it was with this step.
    pub async fn migrate(&self, upto: i64) -> Result<(), StoreError> {
        self.db.migrate(&migrator(upto)).await
    }

    /// The same store, behind a gate.
    pub fn behind(&self, gate: Arc<dyn Gate>) -> Self {
        Self { db: self.db.clone(), gate: Some(gate) }
    }

    /// A transaction that only reads.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let on = through(self.gate.as_ref(), Act::BeginRead, self.db.read()).await?;
        Ok(Tx::new(on, self.ending(false)))
    }

    /// A transaction that writes. Nobody may ask Google anything while it is open.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        let on = through(self.gate.as_ref(), Act::BeginWrite, self.db.write()).await?;
        Ok(Tx::new(on, self.ending(true)))
    }

    fn ending(&self, writes: bool) -> Option<Ending> {
        self.gate.clone().map(|gate| Ending { gate, writes })
    }

    /// Takes what was erased out of the files, too, as far as Intail can; answers whether nobody stood in the way.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        let scrubbed = through(self.gate.as_ref(), Act::BeginWrite, self.db.scrub()).await?;
        drop(self.ending(true));
        Ok(scrubbed)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// What can go wrong between Intail and its database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `database.url` can't be understood.
    #[error("database.url can't be understood; it has the form sqlite:FILE or postgres://USER@HOST/NAME")]
    Url(#[source] sqlx::Error),
    /// The database can't be opened.
    #[error("the database that database.url names can't be opened")]
    Open(#[source] sqlx::Error),
    /// The schema can't be brought up to date.
    #[error("the database's schema can't be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A row holds a value that Intail never writes.
    #[error("the database holds '{value}' in {column}, which is none of its values")]
    Inconsistent {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// The row that the work was about has gone, or another worker holds its lease.
    #[error("the work was about a row that has gone or that another worker holds")]
    LeaseLost,
    /// Anything else that the database says.
    #[error("the database didn't do what it was asked")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether a value that must be unique was already there.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }

    /// Whether a row belongs to one that isn't there, or isn't any more.
    pub fn is_foreign_key_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_foreign_key_violation())
    }

    /// Whether a table that was asked for isn't there: PostgreSQL has a code for it, SQLite words.
    pub fn is_missing_table(&self) -> bool {
        let says_so = |error: &dyn sqlx::error::DatabaseError| {
            error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
        };
        matches!(self, Self::Database(sqlx::Error::Database(error)) if says_so(error.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::id::OrganizationId;
    use crate::random::Random;
    use crate::store::directory_people::{DirectoryPerson, View};

    /// Names that an earlier Intail folded with their accents are found without them once the store was opened.
    #[tokio::test]
    async fn names_are_folded_anew_when_the_store_is_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("names.sqlite").display());
        let store = Store::open(&url).await.expect("it opens");
        let id = OrganizationId::new(&Random::seeded(1));
        let mut tx = store.write().await.expect("a transaction");
        let many = usize::try_from(FOLDED_AT_ONCE).expect("few") + 7;
        for number in 0..many {
            let person = person(&number.to_string(), if number % 2 == 0 { "Müller" } else { "Muller" });
            directory_people::put(&mut tx, &id, &person, None).await.expect("put");
        }
        let earlier = "UPDATE directory_people SET folded = LOWER(name) || ' ' || address";
        tx.run_built(earlier.to_owned(), Vec::new()).await.expect("as it was");
        tx.commit().await.expect("committed");
        let found = async |store: &Store| {
            let mut tx = store.read().await.expect("a transaction");
            directory_people::search(&mut tx, &id, "muller", None, 9_999).await.expect("read").len()
        };
        assert_eq!(found(&store).await, many / 2);
        store.close().await;
        let store = Store::open(&url).await.expect("it opens");
        assert_eq!(found(&store).await, many);
        store.close().await;
    }

    fn person(id: &str, name: &str) -> DirectoryPerson {
        let text = String::new;
        DirectoryPerson {
            google_id: id.to_owned(),
            address: format!("{id}@example.com"),
            name: name.to_owned(),
            given_name: text(),
            family_name: text(),
            title: text(),
            department: text(),
            manager_address: text(),
            phones: Vec::new(),
            aliases: Vec::new(),
            photo_url: text(),
            is_listed: true,
            suspended: None,
            archived: None,
            is_administrator: None,
            view: View::Public,
            etag: text(),
            pass: 1,
            misses: 0,
            added_at: Timestamp::UNIX_EPOCH,
            seen_at: Timestamp::UNIX_EPOCH,
            deleted_at: None,
            gone_at: None,
        }
    }

    /// Statements that are run often, or for each of many rows, and that must not look through a whole table for it.
    #[tokio::test]
    async fn what_is_looked_for_among_many_rows_is_found_by_an_index() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("plans.sqlite").display());
        let store = Store::open(&url).await.expect("it opens");
        let mut tx = store.read().await.expect("a transaction");
        for (index, statement) in [
            (
                "events_of_series",
                "SELECT event_id FROM events WHERE agenda_id = 'a' AND calendar_id = 'c' AND series_id = 's'",
            ),
            (
                "COVERING INDEX events_counted",
                "SELECT calendar_id, COUNT(*), COUNT(CASE WHEN is_busy_only THEN 1 END) FROM events
                 WHERE agenda_id = 'a' GROUP BY calendar_id",
            ),
            (
                "USING INDEX sqlite_autoindex_messages_1 (mailbox_id=? AND message_id=?)",
                "SELECT * FROM messages WHERE mailbox_id = 'm' AND message_id IN (SELECT value FROM json_each('[]'))",
            ),
            (
                "changes_about_everybody",
                "DELETE FROM changes WHERE organization_id = 'o' AND person_id = '' AND subject_id = 's'",
            ),
        ] {
            let plan = tx.all_built(format!("EXPLAIN QUERY PLAN {statement}"), Vec::new(), |row| row.text("detail"));
            let plan = plan.await.expect("a plan").join("; ");
            // The ids that are handed over are read from beginning to end, and nothing else is.
            let scans = plan.replace("SCAN json_each", "");
            assert!(plan.contains(index) && !scans.contains("SCAN"), "{statement}: {plan}");
        }
        drop(tx);
        store.close().await;
    }
}

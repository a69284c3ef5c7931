//! Where SQLite and PostgreSQL differ: opening, the kind of a transaction, and what one of them needs to be told.

use std::fs::File;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, PgPool, Row as _, SqliteConnection, SqlitePool};

use super::StoreError;
use super::sql::On;

/// Readers beside SQLite's one writer. More gain nothing on machines of the size that SQLite is for.
const SQLITE_READERS_MAX: u32 = 4;
/// Connections of one process to PostgreSQL: web, workers and pulls together need fewer.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// After how long a connection to PostgreSQL is asked whether it is still there before it is used. One that was given
/// back just now was asked then; to ask again before each transaction would cost as much as one more statement.
const ASKED_AFTER: Duration = Duration::from_secs(1);
/// How long a transaction may wait for its turn before it is an error that is retried.
const BUSY_MS_MAX: u64 = 10_000;

/// How a transaction begins on PostgreSQL that only reads.
const READ_ONLY: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How long readers are waited for when the log is emptied.
const SCRUB_MS_MAX: u64 = 250;

/// The open database.
#[derive(Clone, Debug)]
pub(super) enum Db {
    /// One writer that takes turns, and readers.
    Sqlite {
        /// The only connection that writes.
        writer: SqlitePool,
        /// Connections that only read.
        reader: SqlitePool,
        /// The file that a commit writes to first.
        log: Arc<Path>,
    },
    /// One pool for everything.
    Postgres(PgPool),
}

impl Db {
    /// Opens the database that `url` names, `sqlite:FILE` or `postgres://…`.
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url).map_err(StoreError::Url)?;
            let pool = PgPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS_MAX)
                .acquire_timeout(Duration::from_millis(BUSY_MS_MAX))
                .test_before_acquire(false)
                .before_acquire(|connection, used| {
                    Box::pin(async move {
                        if used.idle_for >= ASKED_AFTER {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .connect_with(options)
                .await
                .map_err(StoreError::Open)?;
            return Ok(Self::Postgres(pool));
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(StoreError::Url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Whose commits have to be on disk at once, says so: `Tx::reach_disk`.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            // Erased rows are overwritten: "nothing of the person is left" includes the file's free pages.
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_millis(BUSY_MS_MAX));
        let log = log_of(options.get_filename());
        let acquire = Duration::from_millis(BUSY_MS_MAX);
        // A file in this process does not go away as a server does: to ask each time whether it is there would cost as
        // much as a statement.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .acquire_timeout(acquire)
            .connect_with(options.clone())
            .await
            .map_err(StoreError::Open)?;
        let reader = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS_MAX)
            .test_before_acquire(false)
            .acquire_timeout(acquire)
            .connect_lazy_with(options.read_only(true));
        Ok(Self::Sqlite { writer, reader, log })
    }

    /// Opens a SQLite file that nobody writes to. No lock is taken, and nothing is put beside it.
    pub(super) async fn open_unchanged(file: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().filename(file).immutable(true).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(StoreError::Open)?;
        Ok(Self::Sqlite { writer: pool.clone(), reader: pool, log: log_of(file) })
    }

    /// Brings the schema up to date.
    pub(super) async fn migrate(&self, migrator: &Migrator) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { writer, .. } => migrator.run(writer).await,
            Self::Postgres(pool) => migrator.run(pool).await,
        }
        .map_err(StoreError::Migrate)
    }

    /// A transaction that only reads and never waits for a writer. What it reads stays as it was at its first reading,
    /// as SQLite has it anyway: whoever reads a chain's end and then its links reads of one moment.
    pub(super) async fn read(&self) -> Result<On, StoreError> {
        Ok(match self {
            Self::Sqlite { reader, log, .. } => On::Sqlite(reader.begin().await?, log.clone()),
            Self::Postgres(pool) => On::Postgres(pool.begin_with(READ_ONLY).await?),
        })
    }

    /// A transaction that writes. On SQLite it takes the writer's turn at once: a transaction that reads first and
    /// takes it later fails whenever somebody else wrote in between.
    pub(super) async fn write(&self) -> Result<On, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, log, .. } => On::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?, log.clone()),
            Self::Postgres(pool) => On::Postgres(pool.begin().await?),
        })
    }

    /// Empties the log in which SQLite keeps pages as they were, so that what was erased is in no file any more.
    /// Answers whether it could: somebody may be reading. PostgreSQL looks after its own files.
    pub(super) async fn scrub(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite { writer, .. } => {
                let mut writer = writer.acquire().await?;
                // Whoever wants to write waits meanwhile: not for as long as for a turn.
                busy_timeout(&mut writer, SCRUB_MS_MAX).await?;
                let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await;
                busy_timeout(&mut writer, BUSY_MS_MAX).await?;
                Ok(row?.try_get::<i64, _>(0)? == 0)
            }
            Self::Postgres(_) => Ok(true),
        }
    }

    /// Closes every connection, so that the files are whole and may be copied or deleted.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, reader, .. } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The log beside a database's file, named as SQLite names it.
fn log_of(file: &Path) -> Arc<Path> {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    Arc::from(Path::new(&name))
}

/// Waits until the disk has what was committed so far. SQLite takes no locks on its log, so that to close it here gives
/// none up, as it would with the database's own file.
pub(super) async fn reach_disk(log: Arc<Path>) -> Result<(), StoreError> {
    let reached = tokio::task::spawn_blocking(move || File::open(log).and_then(|it| it.sync_data())).await;
    reached.map_err(std::io::Error::other).flatten().map_err(|error| StoreError::Database(sqlx::Error::Io(error)))
}

async fn busy_timeout(connection: &mut SqliteConnection, ms: u64) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(format!("PRAGMA busy_timeout = {ms}"))).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn what_somebody_is_told_of_is_on_disk_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("intail.db").display());
        let store = Store::open(&url).await.expect("it opens");
        // Without its log nothing can be brought to the disk: whoever asks for that is told so.
        std::fs::remove_file(directory.path().join("intail.db-wal")).expect("the log is there");
        let mut tx = store.write().await.expect("a transaction");
        tx.run("DELETE FROM people", Vec::new()).await.expect("run");
        tx.commit().await.expect("nobody asked for the disk");
        let mut tx = store.write().await.expect("a transaction");
        tx.run("DELETE FROM people", Vec::new()).await.expect("run");
        tx.reach_disk();
        assert!(matches!(tx.commit().await, Err(StoreError::Database(sqlx::Error::Io(_)))));
        store.close().await;
    }

    #[tokio::test]
    async fn sqlite_keeps_its_plans() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("intail.db").display());
        let store = Store::open(&url).await.expect("it opens");
        let Db::Sqlite { writer, .. } = &store.db else { panic!("SQLite was asked for") };
        let options = sqlx::query_scalar("SELECT compile_options FROM pragma_compile_options");
        let options: Vec<String> = options.fetch_all(writer).await.expect("told");
        assert!(options.iter().any(|it| it == "ENABLE_QPSG"), "{options:?}");
        store.close().await;
    }
}

//! Rows from one database into another, page by page: what backing up, restoring and moving have in common.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::{CliError, assemble};
use crate::config::{Config, Database};
use crate::store::whole::{self, Table};
use crate::store::{Store, StoreError, Tx};

/// Copies a table; answers how many rows.
pub(super) async fn table(from: &mut Tx, to: &mut Tx, table: &Table) -> Result<i64, StoreError> {
    let (mut rows, mut last) = (0, None);
    loop {
        let page = whole::page(from, table, last.as_ref()).await?;
        let Some(row) = page.last() else { return Ok(rows) };
        last = Some(row.clone());
        rows += i64::try_from(page.len()).unwrap_or(i64::MAX);
        whole::insert(to, table, page).await?;
    }
}

/// Copies all tables into a database that has none of their rows; answers each one's name and rows, counted there.
pub(super) async fn everything(from: &mut Tx, to: &mut Tx, tables: &[Table]) -> Result<Vec<(String, i64)>, CliError> {
    whole::clear_seeds(to).await?;
    let mut counts = Vec::new();
    for table in tables {
        let copied = self::table(from, to, table).await.map_err(|error| {
            CliError::new(format!("The table {} couldn't be copied; nothing was changed.", table.name))
                .hint("Check that there is room on the disk. RUST_LOG=debug shows what the database said.")
                .caused_by(error)
        })?;
        let counted = whole::count(to, table).await?;
        if counted != copied {
            return Err(CliError::new(format!(
                "The table {} has {counted} rows where {copied} were copied; nothing was changed.",
                table.name
            ))
            .hint("Somebody else writes to that database: give Intail one of its own."));
        }
        counts.push((table.name.clone(), counted));
    }
    Ok(counts)
}

/// Makes an empty database ready for rows of this schema. One in which there is something is refused before anything is
/// changed; one whose making was broken off is made to its end.
pub(super) async fn prepare(to: &Store, version: i64, tables: &[Table], named: &str) -> Result<(), CliError> {
    refuse(whole::used_of_those_there(to, tables).await?, named)?;
    match whole::version(to).await? {
        Some(there) if there > version => Err(CliError::new(format!(
            "The database ({named}) has the schema of a newer Intail than what is to be copied. Nothing was changed."
        ))
        .hint("Give it a database in which Intail never was; its schema is brought up to date afterwards.")),
        _ => Ok(to.migrate(version).await?),
    }
}

/// Refuses a database in which there is something.
pub(super) async fn refuse_used(to: &mut Tx, tables: &[Table], named: &str) -> Result<(), CliError> {
    refuse(whole::used(to, tables).await?, named)
}

fn refuse(used: Option<(String, i64)>, named: &str) -> Result<(), CliError> {
    match used {
        None => Ok(()),
        Some((table, rows)) => Err(CliError::new(format!(
            "There is something in the database already ({named}): its table {table} has {rows} {}. Nothing was \
             changed.",
            if rows == 1 { "row" } else { "rows" }
        ))
        .hint("Give it a new database. Nothing is ever written over.")),
    }
}

/// Opens a database as it is, if it is there.
pub(super) async fn connect(config: &Config) -> Result<(Store, i64), CliError> {
    if let Database::Sqlite(path) = &config.database {
        super::refuse_missing(path)?;
    }
    let store = Store::connect(assemble::database_url(&config.database).expose_secret()).await?;
    match whole::version(&store).await? {
        Some(version) => Ok((store, version)),
        None => {
            store.close().await;
            Err(CliError::new(format!("Intail never ran on this database ({}).", config.database))
                .hint("database.url in the configuration says which one it is."))
        }
    }
}

/// A SQLite file's address.
pub(super) fn sqlite(path: &Path) -> SecretString {
    SecretString::from(assemble::sqlite_url(path))
}

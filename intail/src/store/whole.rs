//! The whole database, table by table, for backups, restores and moves: which tables there are, their rows in pages,
//! and what has to be said once everything is in another place.
//!
//! What a reader must not break: tables, columns and their kinds are read from the schema, never listed here, so that
//! no table is forgotten. The schema is asked of SQLite, which is on one side of every copy; both databases have the
//! same. And what is copied is one transaction's: rows of one moment.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::sql::{Columns, Tx, Value, args, places};
use super::{Store, StoreError};

/// Rows that are read at once: a long row has some hundred kilobytes.
pub const ROWS_AT_ONCE: i64 = 200;
/// By how much a restored feed's numbers go ahead: more than any feed gives out between a backup and its restoring.
const FEED_AHEAD: i64 = 1_000_000_000;

/// Tables that a database has rows in before anybody used it.
const SEEDED: &[&str] = &["turns"];
/// What sqlx keeps for itself, and SQLite.
const NOT_OURS: &str =
    "name <> '_sqlx_migrations' AND SUBSTR(name, 1, 7) <> 'sqlite_' AND SUBSTR(name, 1, 7) <> 'backup_'";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Bool,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    columns: Vec<(String, Kind)>,
    /// The places of the primary key's columns among them.
    key: Vec<usize>,
}

/// A row: its values, in the order of the table's columns.
pub type Row = Vec<Value>;

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }

    fn key_names(&self) -> String {
        let names = self.key.iter().filter_map(|at| self.columns.get(*at)).map(|(name, _)| format!("\"{name}\""));
        names.collect::<Vec<_>>().join(", ")
    }

    fn read(&self, row: &dyn Columns) -> Result<Row, StoreError> {
        let value = |(name, kind): &(String, Kind)| {
            Ok(match kind {
                Kind::Text => Value::Text(row.text_or_null(name)?),
                Kind::Int => Value::Int(row.int_or_null(name)?),
                Kind::Bool => Value::Bool(row.boolean_or_null(name)?),
            })
        };
        self.columns.iter().map(value).collect()
    }
}

/// The tables of a SQLite database, those that others refer to first.
pub async fn tables(tx: &mut Tx) -> Result<Vec<Table>, StoreError> {
    let sql = format!("SELECT name FROM sqlite_master WHERE type = 'table' AND {NOT_OURS} ORDER BY name");
    let mut left = Vec::new();
    for name in tx.all_built(sql, args![], |row| row.text("name")).await? {
        let referred = format!("SELECT \"table\" AS name FROM pragma_foreign_key_list('{name}')");
        let referred = tx.all_built(referred, args![], |row| row.text("name")).await?;
        left.push((table(tx, &name).await?, referred));
    }
    let mut sorted: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let is_free = |referred: &[String]| referred.iter().all(|it| sorted.iter().any(|table| table.name == *it));
        let Some(at) = left.iter().position(|(_, referred)| is_free(referred)) else {
            let value = left.remove(0).0.name;
            return Err(StoreError::Inconsistent { column: "sqlite_master.name", value });
        };
        sorted.push(left.remove(at).0);
    }
    Ok(sorted)
}

async fn table(tx: &mut Tx, name: &str) -> Result<Table, StoreError> {
    let sql = format!("SELECT name, type, pk FROM pragma_table_info('{name}') ORDER BY cid");
    let read = |row: &dyn Columns| {
        let kind = match row.text("type")?.as_str() {
            "TEXT" => Kind::Text,
            "BIGINT" => Kind::Int,
            "BOOLEAN" => Kind::Bool,
            other => return Err(StoreError::Inconsistent { column: "table_info.type", value: other.to_owned() }),
        };
        Ok((row.text("name")?, kind, row.int("pk")?))
    };
    let found = tx.all_built(sql, args![], read).await?;
    let mut key: Vec<(i64, usize)> =
        found.iter().enumerate().filter(|(_, (_, _, place))| *place > 0).map(|(at, it)| (it.2, at)).collect();
    key.sort_unstable();
    if key.is_empty() {
        return Err(StoreError::Inconsistent { column: "table_info.pk", value: name.to_owned() });
    }
    Ok(Table {
        name: name.to_owned(),
        columns: found.into_iter().map(|(name, kind, _)| (name, kind)).collect(),
        key: key.into_iter().map(|(_, at)| at).collect(),
    })
}

/// The rows after `after`, in the primary key's order as this database has it; at most [`ROWS_AT_ONCE`].
pub async fn page(tx: &mut Tx, table: &Table, after: Option<&Row>) -> Result<Vec<Row>, StoreError> {
    let (names, key, mut values) = (table.names(), table.key_names(), Vec::new());
    let beyond = match after {
        None => String::new(),
        Some(row) => {
            values.extend(table.key.iter().filter_map(|at| row.get(*at)).cloned());
            format!("WHERE ({key}) > {}", places(1, table.key.len()))
        }
    };
    let sql = format!("SELECT {names} FROM \"{}\" {beyond} ORDER BY {key} LIMIT {ROWS_AT_ONCE}", table.name);
    tx.all_read(sql, values, |row| table.read(row)).await
}

/// Adds rows.
pub async fn insert(tx: &mut Tx, table: &Table, rows: Vec<Row>) -> Result<(), StoreError> {
    let into = format!("\"{}\" ({})", table.name, table.names());
    tx.insert(&into, table.columns.len(), rows.into_iter().flatten().collect(), "").await
}

/// How many rows a table has.
pub async fn count(tx: &mut Tx, table: &Table) -> Result<i64, StoreError> {
    let sql = format!("SELECT COUNT(*) AS n FROM \"{}\"", table.name);
    let counted = tx.all_built(sql, args![], |row| row.int("n")).await?;
    Ok(counted.into_iter().next().unwrap_or(0))
}

/// The first table that holds what somebody put there, with how many rows; none in a database that nobody used yet.
pub async fn used(tx: &mut Tx, tables: &[Table]) -> Result<Option<(String, i64)>, StoreError> {
    for table in tables.iter().filter(|it| !SEEDED.contains(&it.name.as_str())) {
        let rows = count(tx, table).await?;
        if rows > 0 {
            return Ok(Some((table.name.clone(), rows)));
        }
    }
    Ok(None)
}

/// The same, where the schema may be older and lack some of the tables: each is asked for by itself.
pub async fn used_of_those_there(store: &Store, tables: &[Table]) -> Result<Option<(String, i64)>, StoreError> {
    for table in tables {
        let mut tx = store.read().await?;
        match used(&mut tx, std::slice::from_ref(table)).await {
            Err(error) if error.is_missing_table() => {}
            Ok(None) => {}
            found => return found,
        }
    }
    Ok(None)
}

/// Takes out the rows that a database has before anybody used it: what is copied into it brings its own.
pub async fn clear_seeds(tx: &mut Tx) -> Result<(), StoreError> {
    for name in SEEDED {
        tx.run_built(format!("DELETE FROM \"{name}\""), args![]).await?;
    }
    Ok(())
}

/// The version of the schema: its last step. None where Intail never was.
pub async fn version(store: &Store) -> Result<Option<i64>, StoreError> {
    let mut tx = store.read().await?;
    match tx
        .one("SELECT MAX(version) AS version FROM _sqlx_migrations", args![], |row| row.int_or_null("version"))
        .await
    {
        Err(error) if error.is_missing_table() => Ok(None),
        found => Ok(found?.flatten()),
    }
}

/// A table of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How many rows.
    pub rows: i64,
    /// The SHA-256 of its rows in the primary key's order, in hexadecimal.
    pub sha256: String,
}

/// What a whole backup says of itself. It is written last: a file without it is a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of which moment its rows are.
    pub made_at: Timestamp,
    /// The Intail that made it.
    pub made_by: String,
    /// Its tables.
    pub parts: Vec<Part>,
}

/// The SHA-256 over what a backup says of its tables.
fn sum(made_at: Timestamp, made_by: &str, parts: &[Part]) -> String {
    let mut parts: Vec<_> = parts.iter().map(|it| (&it.name, it.rows, &it.sha256)).collect();
    parts.sort_unstable();
    let text = serde_json::json!([made_at.as_microsecond(), made_by, parts]).to_string();
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a table of a backup once, in the primary key's order.
pub async fn part(tx: &mut Tx, table: &Table) -> Result<Part, StoreError> {
    let (mut hash, mut rows, mut last): (_, i64, Option<Row>) = (Sha256::new(), 0, None);
    loop {
        let page = page(tx, table, last.as_ref()).await?;
        for row in &page {
            hash.update(text_of(row));
            rows += 1;
        }
        match page.into_iter().next_back() {
            Some(row) => last = Some(row),
            None => return Ok(Part { name: table.name.clone(), rows, sha256: hex(&hash.finalize()) }),
        }
    }
}

/// A row as a line of JSON.
fn text_of(row: &Row) -> String {
    let value = |value: &Value| match value {
        Value::Text(it) => serde_json::json!(it),
        Value::Int(it) => serde_json::json!(it),
        Value::Bool(it) => serde_json::json!(it),
    };
    let mut line = serde_json::Value::Array(row.iter().map(value).collect()).to_string();
    line.push('\n');
    line
}

/// Says that a backup is whole.
pub async fn mark(tx: &mut Tx, made_at: Timestamp, made_by: &str, parts: &[Part]) -> Result<(), StoreError> {
    tx.run("CREATE TABLE backup_tables (name TEXT PRIMARY KEY, rows BIGINT NOT NULL, sha256 TEXT NOT NULL)", args![])
        .await?;
    tx.run("CREATE TABLE backup_mark (made_at BIGINT NOT NULL, made_by TEXT NOT NULL, sha256 TEXT NOT NULL)", args![])
        .await?;
    for part in parts {
        let values = args![&part.name, part.rows, &part.sha256];
        tx.run("INSERT INTO backup_tables (name, rows, sha256) VALUES ($1, $2, $3)", values).await?;
    }
    let sum = sum(made_at, made_by, parts);
    tx.run("INSERT INTO backup_mark (made_at, made_by, sha256) VALUES ($1, $2, $3)", args![made_at, made_by, sum])
        .await?;
    Ok(())
}

/// What a backup says of itself; none when it doesn't, or says something else than was written.
pub async fn marked(tx: &mut Tx) -> Result<Option<Mark>, StoreError> {
    let found = tx
        .one("SELECT made_at, made_by, sha256 FROM backup_mark", args![], |row| {
            Ok((row.at("made_at")?, row.text("made_by")?, row.text("sha256")?))
        })
        .await;
    let (made_at, made_by, said) = match found {
        Err(error) if error.is_missing_table() => return Ok(None),
        found => match found? {
            None => return Ok(None),
            Some(found) => found,
        },
    };
    let parts = tx
        .all("SELECT name, rows, sha256 FROM backup_tables ORDER BY name", args![], |row| {
            Ok(Part { name: row.text("name")?, rows: row.int("rows")?, sha256: row.text("sha256")? })
        })
        .await?;
    Ok((sum(made_at, &made_by, &parts) == said).then_some(Mark { made_at, made_by, parts }))
}

/// Whether somebody works on a stream: a lease that hasn't run out.
pub async fn leased(tx: &mut Tx, now: Timestamp) -> Result<i64, StoreError> {
    let sql = "SELECT CAST(SUM(n) AS BIGINT) AS n FROM (
             SELECT COUNT(*) AS n FROM mailboxes WHERE lease_until > $1
             UNION ALL SELECT COUNT(*) AS n FROM agendas WHERE lease_until > $1
             UNION ALL SELECT COUNT(*) AS n FROM directories WHERE lease_until > $1) AS counted";
    Ok(tx.one(sql, args![now], |row| row.int("n")).await?.unwrap_or(0))
}

/// After a move: nobody has said yet that they run on the new database.
pub async fn moved(tx: &mut Tx) -> Result<(), StoreError> {
    for sql in ["DELETE FROM processes", "DELETE FROM engines"] {
        tx.run(sql, args![]).await?;
    }
    Ok(())
}

/// What time has overtaken in a backup, once its rows are in place. Nobody works; everything is looked at from its own
/// cursor and registered anew with Google; who was signed in signs in again, since what ended after the backup would be
/// open again; each feed's numbers go on far ahead of any that was given out meanwhile.
pub async fn restored(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    for table in ["mailboxes", "agendas", "directories"] {
        // The number is raised without being given back: the log of calls says then that it has a gap.
        let sql = format!(
            "UPDATE {table} SET lease_owner = NULL, lease_until = NULL, lease_number = lease_number + 1, dirty = TRUE,
                 due_at = CASE WHEN due_at IS NULL THEN NULL ELSE $1 END"
        );
        tx.run_built(sql, args![now]).await?;
    }
    for sql in [
        "UPDATE mailboxes SET notices = notices + 1, noticed_at = $1, watch_due_at = $1",
        "UPDATE agendas SET list_due_at = $1",
        "UPDATE calendars SET notices = notices + 1, channel_due_at = NULL,
             look_at = CASE WHEN look_at > $1 AND problem IS NULL THEN $1 ELSE look_at END",
        "UPDATE directories SET next_pass_at = NULL, wanted_at = $1",
        "UPDATE leavings SET claim = claim + 1, due_at = CASE WHEN due_at > $1 THEN $1 ELSE due_at END",
        "INSERT INTO feed_gaps (organization_id, after_seq, until_seq, restored_at)
             SELECT id, feed_seq, feed_seq + $2, $1 FROM organizations WHERE TRUE",
        "UPDATE organizations SET feed_seq = feed_seq + $2 WHERE $1 > 0",
    ] {
        let values = if sql.contains("$2") { args![now, FEED_AHEAD] } else { args![now] };
        tx.run(sql, values).await?;
    }
    for table in ["sessions", "attempts", "sign_in_links", "heartbeat", "engines", "processes"] {
        tx.run_built(format!("DELETE FROM {table}"), args![]).await?;
    }
    Ok(())
}

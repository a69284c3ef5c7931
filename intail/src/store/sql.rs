//! One SQL text on two databases: values and rows that SQLite and PostgreSQL both understand, and a transaction that
//! hides which of the two it runs on. This file and `dialect.rs` are the only ones that know that there are two.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Postgres, Row as _, SqlSafeStr as _, SqlStr, Sqlite, Transaction};

use super::gate::{Act, Ending, through};
use super::{StoreError, dialect};
use crate::clock::from_us;
use crate::id::{AgendaId, DirectoryId, GrantId, HistoryId, MailboxId, OrganizationId, PersonId, ReceiptId, StreamId};

/// A value bound to a statement.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text, or NULL.
    Text(Option<String>),
    /// A whole number, or NULL.
    Int(Option<i64>),
    /// True or false, or NULL.
    Bool(Option<bool>),
}

macro_rules! values {
    ($($from:ty => |$it:ident| $value:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($it: $from) -> Self {
                $value
            }
        }
    )*};
}

values! {
    &str => |it| Value::Text(Some(it.to_owned()));
    String => |it| Value::Text(Some(it));
    &String => |it| Value::Text(Some(it.clone()));
    Option<String> => |it| Value::Text(it);
    Option<&str> => |it| Value::Text(it.map(str::to_owned));
    i64 => |it| Value::Int(Some(it));
    Option<i64> => |it| Value::Int(it);
    bool => |it| Value::Bool(Some(it));
    Option<bool> => |it| Value::Bool(it);
    Timestamp => |it| Value::Int(Some(it.as_microsecond()));
    Option<Timestamp> => |it| Value::Int(it.map(|at| at.as_microsecond()));
    HistoryId => |it| Value::Text(Some(it.to_column()));
    Option<HistoryId> => |it| Value::Text(it.map(HistoryId::to_column));
    &OrganizationId => |it| Value::from(it.as_str());
    &PersonId => |it| Value::from(it.as_str());
    &GrantId => |it| Value::from(it.as_str());
    &MailboxId => |it| Value::from(it.as_str());
    &AgendaId => |it| Value::from(it.as_str());
    &DirectoryId => |it| Value::from(it.as_str());
    &StreamId => |it| Value::from(it.as_str());
    &ReceiptId => |it| Value::from(it.as_str());
    Option<&PersonId> => |it| Value::from(it.map(PersonId::as_str));
}

/// The values of one statement, in the order of its `$1`, `$2` …
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::store::sql::Value::from($value)),*]
    };
}
pub(crate) use args;

/// The places of several rows in one `VALUES`: `($1,$2),($3,$4)` for two rows of two columns.
pub(super) fn places(rows: usize, columns: usize) -> String {
    let row = |at: usize| {
        let places: Vec<String> = (1..=columns).map(|n| format!("${}", at * columns + n)).collect();
        format!("({})", places.join(","))
    };
    (0..rows).map(row).collect::<Vec<String>>().join(",")
}

/// The places of so many values in one `IN`, from this number on: `$2,$3,$4`.
pub(super) fn listed(count: usize, first: usize) -> String {
    (first..first + count).map(|n| format!("${n}")).collect::<Vec<String>>().join(",")
}

/// The most rows in one statement, and the most values: SQLite allows 32,766, and keeps the statement.
const ROWS_MAX: usize = 500;
const VALUES_MAX: usize = 7_000;
/// Ids, or rows, up to which each has places of its own, so that the statement of a live change stays prepared. More of
/// them are handed over together, because hundreds of places take longer to read than the rows behind them.
const FEW_MAX: usize = 8;

/// A row of either database, read by column name.
pub trait Columns {
    /// A text that can't be NULL.
    fn text(&self, column: &str) -> Result<String, StoreError>;
    /// A text or NULL.
    fn text_or_null(&self, column: &str) -> Result<Option<String>, StoreError>;
    /// A number that can't be NULL.
    fn int(&self, column: &str) -> Result<i64, StoreError>;
    /// A number or NULL.
    fn int_or_null(&self, column: &str) -> Result<Option<i64>, StoreError>;
    /// True or false.
    fn boolean(&self, column: &str) -> Result<bool, StoreError>;
    /// True, false or NULL.
    fn boolean_or_null(&self, column: &str) -> Result<Option<bool>, StoreError>;
}

macro_rules! columns {
    ($row:ty) => {
        impl Columns for $row {
            fn text(&self, column: &str) -> Result<String, StoreError> {
                Ok(self.try_get(column)?)
            }
            fn text_or_null(&self, column: &str) -> Result<Option<String>, StoreError> {
                Ok(self.try_get(column)?)
            }
            fn int(&self, column: &str) -> Result<i64, StoreError> {
                Ok(self.try_get(column)?)
            }
            fn int_or_null(&self, column: &str) -> Result<Option<i64>, StoreError> {
                Ok(self.try_get(column)?)
            }
            fn boolean(&self, column: &str) -> Result<bool, StoreError> {
                Ok(self.try_get(column)?)
            }
            fn boolean_or_null(&self, column: &str) -> Result<Option<bool>, StoreError> {
                Ok(self.try_get(column)?)
            }
        }
    };
}
columns!(SqliteRow);
columns!(PgRow);

/// What a row's columns mean beyond text and numbers.
impl dyn Columns + '_ {
    /// An instant.
    pub fn at(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.int(column).map(from_us)
    }

    /// An instant or NULL.
    pub fn at_or_null(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.int_or_null(column)?.map(from_us))
    }

    /// A value that is written as text: an id, a state. A text that is none of them is an inconsistency of the
    /// database.
    pub fn parsed<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| StoreError::Inconsistent { column, value: text })
    }

    /// The same, or NULL.
    pub fn parsed_or_null<T: std::str::FromStr>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        match self.text_or_null(column)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| StoreError::Inconsistent { column, value: text }),
        }
    }
}

/// One transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
pub struct Tx {
    on: On,
    /// Whether its commit waits for the disk.
    reaches_disk: bool,
    /// Dropped after the transaction itself.
    ending: Option<Ending>,
}

/// Which of the two databases a transaction runs on.
pub(super) enum On {
    /// On SQLite, whose commits are written to this log first.
    Sqlite(Transaction<'static, Sqlite>, Arc<Path>),
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(super) fn new(on: On, ending: Option<Ending>) -> Self {
        Self { on, reaches_disk: false, ending }
    }

    /// Says that somebody outside is told of what this transaction writes: its commit waits until the disk has it. A
    /// power cut may take other commits back; what they did is done again. PostgreSQL waits for each.
    pub(super) fn reach_disk(&mut self) {
        self.reaches_disk = true;
    }

    /// What a query says at its end that takes the rows which it reads until the commit, one by one in its own order;
    /// `busy` is what it does about rows that somebody else has taken, `SKIP LOCKED` or nothing, which waits. On SQLite
    /// nobody else writes meanwhile.
    pub(super) fn taking(&self, busy: &str) -> String {
        match self.on {
            On::Sqlite(..) => String::new(),
            On::Postgres(_) => format!("FOR UPDATE {busy}"),
        }
    }

    /// Runs a statement about as many ids as there are: they stand where its text says `{among}`, their values behind
    /// `values`. Answers how many rows it touched; without ids it does nothing.
    pub(super) async fn run_among<T: AsRef<str>>(
        &mut self,
        sql: &str,
        mut values: Vec<Value>,
        ids: &[T],
    ) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let (among, many) = self.among(&mut values, ids);
        self.run_text(AssertSqlSafe(sql.replace("{among}", &among)).into_sql_str(), values, many).await
    }

    /// Every row of such a query.
    pub(super) async fn all_among<T: AsRef<str>, R>(
        &mut self,
        sql: &str,
        mut values: Vec<Value>,
        ids: &[T],
        read: fn(&dyn Columns) -> Result<R, StoreError>,
    ) -> Result<Vec<R>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (among, many) = self.among(&mut values, ids);
        let sql = AssertSqlSafe(sql.replace("{among}", &among)).into_sql_str();
        self.rows(sql, values, many).await?.iter().map(|row| read(row.as_ref())).collect()
    }

    /// What stands in an `IN` of ids, and those that take one place together behind all `values`. They are rows there:
    /// a list PostgreSQL compares with each row of the table in turn, rows it hashes or looks up.
    fn among<T: AsRef<str>>(&self, values: &mut Vec<Value>, ids: &[T]) -> (String, Vec<String>) {
        let first = values.len() + 1;
        if ids.len() <= FEW_MAX {
            values.extend(ids.iter().map(|it| Value::from(it.as_ref())));
            let places: Vec<String> = (first..first + ids.len()).map(|n| format!("(${n})")).collect();
            return (format!("VALUES {}", places.join(",")), Vec::new());
        }
        let among = match self.on {
            On::Sqlite(..) => format!("SELECT value FROM json_each(${first})"),
            On::Postgres(_) => format!("SELECT UNNEST(${first}::TEXT[])"),
        };
        (among, ids.iter().map(|it| it.as_ref().to_owned()).collect())
    }

    /// Adds rows, whose values stand one row behind the other: `into` names a table and so many columns, `conflict` is
    /// what is to happen about rows that are there.
    pub(super) async fn insert(
        &mut self,
        into: &str,
        columns: usize,
        mut values: Vec<Value>,
        conflict: &str,
    ) -> Result<(), StoreError> {
        if matches!(self.on, On::Postgres(_)) && values.len() > FEW_MAX * columns {
            return self.insert_stacked(into, columns, values, conflict).await;
        }
        let at_once = ROWS_MAX.min(VALUES_MAX / columns) * columns;
        while !values.is_empty() {
            let rest = values.split_off(values.len().min(at_once));
            let rows = places(values.len() / columns, columns);
            self.run_built(format!("INSERT INTO {into} VALUES {rows} {conflict}"), values).await?;
            values = rest;
        }
        Ok(())
    }

    /// The same on PostgreSQL, which takes each column as one value.
    async fn insert_stacked(
        &mut self,
        into: &str,
        columns: usize,
        values: Vec<Value>,
        conflict: &str,
    ) -> Result<(), StoreError> {
        let stacks = stacked(columns, values)?;
        let places: Vec<String> =
            stacks.iter().enumerate().map(|(at, it)| format!("${}::{}[]", at + 1, it.kind())).collect();
        let sql = format!("INSERT INTO {into} SELECT * FROM UNNEST({}) {conflict}", places.join(","));
        let query = sqlx::query(AssertSqlSafe(sql).into_sql_str());
        let query = stacks.into_iter().fold(query, |query, stack| match stack {
            Stack::Texts(all) => query.bind(all),
            Stack::Ints(all) => query.bind(all),
            Stack::Bools(all) => query.bind(all),
        });
        let on = &mut self.on;
        through(self.ending.as_ref().map(|it| &it.gate), Act::Statement, async {
            if let On::Postgres(tx) = on {
                query.execute(&mut **tx).await?;
            }
            Ok(())
        })
        .await
    }

    /// Runs a statement; answers how many rows it touched.
    pub async fn run(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        self.run_text(sql.into_sql_str(), values, Vec::new()).await
    }

    /// Runs a statement whose text was put together from parts of this source code, never from input.
    pub async fn run_built(&mut self, sql: String, values: Vec<Value>) -> Result<u64, StoreError> {
        self.run_text(AssertSqlSafe(sql).into_sql_str(), values, Vec::new()).await
    }

    fn run_text(
        &mut self,
        sql: SqlStr,
        values: Vec<Value>,
        many: Vec<String>,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let on = &mut self.on;
            through(self.ending.as_ref().map(|it| &it.gate), Act::Statement, async {
                Ok(match on {
                    On::Sqlite(tx, _) => bind_sqlite(sql, values, &many).execute(&mut **tx).await?.rows_affected(),
                    On::Postgres(tx) => bind_postgres(sql, values, many).execute(&mut **tx).await?.rows_affected(),
                })
            })
            .await
        })
    }

    /// Every row of a query, each read by `read`.
    pub async fn all<T>(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
        read: fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(sql.into_sql_str(), values, Vec::new()).await?.iter().map(|row| read(row.as_ref())).collect()
    }

    /// Every row of a query whose text was put together from parts of this source code, never from input.
    pub async fn all_built<T>(
        &mut self,
        sql: String,
        values: Vec<Value>,
        read: fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(AssertSqlSafe(sql).into_sql_str(), values, Vec::new())
            .await?
            .iter()
            .map(|row| read(row.as_ref()))
            .collect()
    }

    /// Every row of a query whose text was put together from parts of this source code and names of its schema.
    pub(super) async fn all_read<T>(
        &mut self,
        sql: String,
        values: Vec<Value>,
        read: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(AssertSqlSafe(sql).into_sql_str(), values, Vec::new())
            .await?
            .iter()
            .map(|row| read(row.as_ref()))
            .collect()
    }

    /// The first row of a query, if there is one.
    pub async fn one<T>(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
        read: fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.rows(sql.into_sql_str(), values, Vec::new()).await?.first().map(|row| read(row.as_ref())).transpose()
    }

    fn rows(&mut self, sql: SqlStr, values: Vec<Value>, many: Vec<String>) -> BoxFuture<'_, Result<Rows, StoreError>> {
        Box::pin(async move {
            let on = &mut self.on;
            through(self.ending.as_ref().map(|it| &it.gate), Act::Statement, async {
                Ok(match on {
                    On::Sqlite(tx, _) => boxed(bind_sqlite(sql, values, &many).fetch_all(&mut **tx).await?),
                    On::Postgres(tx) => boxed(bind_postgres(sql, values, many).fetch_all(&mut **tx).await?),
                })
            })
            .await
        })
    }

    /// Makes the transaction's work permanent.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { on, reaches_disk, ending } = self;
        through(ending.as_ref().map(|it| &it.gate), Act::Commit, async {
            match on {
                On::Sqlite(tx, log) => {
                    tx.commit().await?;
                    if reaches_disk {
                        dialect::reach_disk(log).await?;
                    }
                }
                On::Postgres(tx) => tx.commit().await?,
            }
            Ok(())
        })
        .await
    }
}

type Rows = Vec<Box<dyn Columns + Send>>;

fn boxed<R: Columns + Send + 'static>(rows: Vec<R>) -> Rows {
    rows.into_iter().map(|row| Box::new(row) as Box<dyn Columns + Send>).collect()
}

/// Values up to which names of places cost SQLite nothing that shows.
const NAMED_MAX: usize = 32;

/// A statement whose places are numbered in order, with a plain `?` for each. SQLite takes `$7` for a name and looks it
/// up among all the others: with hundreds of them that takes longer than the statement itself.
fn unnamed(sql: SqlStr) -> SqlStr {
    let mut parts = sql.as_str().split('$');
    let mut text = String::with_capacity(sql.as_str().len());
    text.push_str(parts.next().unwrap_or_default());
    for (before, part) in parts.enumerate() {
        let (number, rest) = part.split_at(part.find(|it: char| !it.is_ascii_digit()).unwrap_or(part.len()));
        if number.parse() != Ok(before + 1) {
            return sql;
        }
        text.push('?');
        text.push_str(rest);
    }
    AssertSqlSafe(text).into_sql_str()
}

/// `many` take one place behind the others: as a text of JSON.
fn bind_sqlite(sql: SqlStr, values: Vec<Value>, many: &[String]) -> Query<'static, Sqlite, SqliteArguments> {
    let sql = if values.len() > NAMED_MAX { unnamed(sql) } else { sql };
    let query = values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Int(number) => query.bind(number),
        Value::Bool(truth) => query.bind(truth),
    });
    if many.is_empty() { query } else { query.bind(serde_json::to_string(many).unwrap_or_default()) }
}

/// `many` take one place behind the others: as an array. What is right for many depends on how much the table holds,
/// and a plan that was kept may be from when it held nothing: such a statement is planned anew.
fn bind_postgres(sql: SqlStr, values: Vec<Value>, many: Vec<String>) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(sql).persistent(many.is_empty());
    let query = values.into_iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Int(number) => query.bind(number),
        Value::Bool(truth) => query.bind(truth),
    });
    if many.is_empty() { query } else { query.bind(many) }
}

/// One column of many rows.
#[derive(Debug, PartialEq, Eq)]
enum Stack {
    Texts(Vec<Option<String>>),
    Ints(Vec<Option<i64>>),
    Bools(Vec<Option<bool>>),
}

impl Stack {
    /// PostgreSQL's word for what it holds.
    fn kind(&self) -> &'static str {
        match self {
            Self::Texts(_) => "TEXT",
            Self::Ints(_) => "BIGINT",
            Self::Bools(_) => "BOOLEAN",
        }
    }
}

/// Rows, whose values stand one row behind the other, by column. Each column's values are of one kind.
fn stacked(columns: usize, values: Vec<Value>) -> Result<Vec<Stack>, StoreError> {
    let of_kind = |value: &Value| match value {
        Value::Text(_) => Stack::Texts(Vec::new()),
        Value::Int(_) => Stack::Ints(Vec::new()),
        Value::Bool(_) => Stack::Bools(Vec::new()),
    };
    let mut stacks: Vec<Stack> = values.iter().take(columns).map(of_kind).collect();
    for (at, value) in values.into_iter().enumerate() {
        match (&mut stacks[at % columns], value) {
            (Stack::Texts(all), Value::Text(it)) => all.push(it),
            (Stack::Ints(all), Value::Int(it)) => all.push(it),
            (Stack::Bools(all), Value::Bool(it)) => all.push(it),
            _ => {
                let what = "a value stands in a column of another kind";
                return Err(StoreError::Database(sqlx::Error::Encode(what.into())));
            }
        }
    }
    Ok(stacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lose_their_numbers_only_if_these_say_nothing() {
        let unnamed = |sql: String| unnamed(AssertSqlSafe(sql).into_sql_str()).as_str().to_owned();
        let sql = format!("INSERT INTO t (a, b) VALUES {} ON CONFLICT DO NOTHING", places(2, 2));
        assert_eq!(unnamed(sql), "INSERT INTO t (a, b) VALUES (?,?),(?,?) ON CONFLICT DO NOTHING");
        for kept in ["SELECT $2, $1", "SELECT $1, $1", "SELECT $1, $3", "SELECT '$'"] {
            assert_eq!(unnamed(kept.to_owned()), kept);
        }
    }

    #[test]
    fn rows_are_stacked_by_column_and_a_value_of_another_kind_is_refused() {
        let rows = args!["a", 1, None::<String>, "b", 2, "c"];
        let text = |it: &str| Some(it.to_owned());
        let columns = vec![
            Stack::Texts(vec![text("a"), text("b")]),
            Stack::Ints(vec![Some(1), Some(2)]),
            Stack::Texts(vec![None, text("c")]),
        ];
        assert_eq!(stacked(3, rows).expect("of one kind each"), columns);
        assert!(stacked(2, args!["a", 1, "b", true]).is_err());
    }
}

//! The processes of `intail serve` that run on this database: each says so again and again, with the keys that it
//! holds. A rotation waits for all of them, and a move to another database refuses while there is one.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id, made by chance at its start.
    pub id: String,
    /// By what the operator knows it: its roles, and where it listens.
    pub name: String,
    /// What stands for each of the keys that it holds.
    pub holds: Vec<String>,
    /// The id of the key under which it seals.
    pub seals_under: String,
}

fn process(row: &dyn Columns) -> Result<Process, StoreError> {
    Ok(Process {
        id: row.text("id")?,
        name: row.text("name")?,
        holds: row.text("holds")?.split(' ').map(str::to_owned).collect(),
        seals_under: row.text("seals_under")?,
    })
}

/// A process runs.
pub async fn say(tx: &mut Tx, process: &Process, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO processes (id, name, since, seen_at, holds, seals_under) VALUES ($1, $2, $3, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, holds = excluded.holds,
             seals_under = excluded.seals_under",
        args![&process.id, &process.name, now, process.holds.join(" "), &process.seals_under],
    )
    .await?;
    Ok(())
}

/// A process ended in good order.
pub async fn leave(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    tx.run("DELETE FROM processes WHERE id = $1", args![id]).await?;
    Ok(())
}

/// Forgets those that weren't heard of since `gone`.
pub async fn forget(tx: &mut Tx, gone: Timestamp) -> Result<(), StoreError> {
    tx.run("DELETE FROM processes WHERE seen_at <= $1", args![gone]).await?;
    Ok(())
}

/// Those that were heard of since `gone`, oldest first. `limit` bounds it.
pub async fn running(tx: &mut Tx, gone: Timestamp, limit: i64) -> Result<Vec<Process>, StoreError> {
    tx.all("SELECT * FROM processes WHERE seen_at > $1 ORDER BY since, id LIMIT $2", args![gone, limit], process).await
}

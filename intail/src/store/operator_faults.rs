//! What the operator has to mend: one row per kind of fault, gone once the thing works again.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};

/// Something that only the operator can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorFault {
    /// Which, in one dotted word: `pubsub.publisher_missing`.
    pub kind: String,
    /// What is wrong and what to do, as a sentence.
    pub detail: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
}

fn operator_fault(row: &dyn Columns) -> Result<OperatorFault, StoreError> {
    Ok(OperatorFault {
        kind: row.text("kind")?,
        detail: row.text("detail")?,
        since: row.at("since")?,
        last_at: row.at("last_at")?,
    })
}

/// Records a fault, once more if it is known.
pub async fn raise(tx: &mut Tx, kind: &str, detail: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO operator_faults (kind, detail, since, last_at) VALUES ($1, $2, $3, $3)
         ON CONFLICT (kind) DO UPDATE SET detail = excluded.detail, last_at = excluded.last_at",
        args![kind, detail, now],
    )
    .await?;
    Ok(())
}

/// Strikes a fault off: the thing works again. Answers whether there was one.
pub async fn clear(tx: &mut Tx, kind: &str) -> Result<bool, StoreError> {
    Ok(tx.run("DELETE FROM operator_faults WHERE kind = $1", args![kind]).await? > 0)
}

/// Every fault, oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<OperatorFault>, StoreError> {
    tx.all("SELECT * FROM operator_faults ORDER BY since, kind", args![], operator_fault).await
}

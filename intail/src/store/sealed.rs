//! Every column that holds a sealed text, so that all of them can be sealed again under another key. A test holds the
//! list against the schema. A sealed text begins with its key's id and a dot.

use super::StoreError;
use super::sql::{Tx, Value, args};

/// A column with sealed texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The primary key, one column.
    key: &'static str,
    /// The column whose value stands in the name of the row that the text is sealed for.
    of: &'static str,
    /// That name, before and after the value.
    row: (&'static str, &'static str),
}

const fn place(
    table: &'static str,
    column: &'static str,
    key: &'static str,
    of: &'static str,
    row: (&'static str, &'static str),
) -> Place {
    Place { table, column, key, of, row }
}

/// All of them but the keys' own proofs.
pub const PLACES: [Place; 7] = [
    place("grants", "refresh_sealed", "id", "id", ("grants/", "/refresh")),
    place("grants", "access_sealed", "id", "id", ("grants/", "/access")),
    place("leavings", "refresh_sealed", "id", "grant_id", ("grants/", "/refresh")),
    place("leavings", "subject_sealed", "id", "grant_id", ("leavings/", "/subject")),
    place("privacy_keys", "key_sealed", "organization_id", "organization_id", ("privacy_keys/", "")),
    place("signing_keys", "secret_sealed", "id", "id", ("signing_keys/", "/secret")),
    place("attempts", "verifier_sealed", "state_hash", "state_hash", ("attempts/", "")),
];

/// A sealed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The primary key of its row.
    pub key: String,
    /// The name of the row that it is sealed for.
    pub row: String,
    /// The text.
    pub text: String,
}

impl Place {
    /// How a text begins that is sealed under a key.
    fn under(key_id: &str) -> String {
        format!("{key_id}.")
    }
}

/// Texts that aren't sealed under this key, in order of the primary key, after `after`. `limit` bounds it.
pub async fn not_under(
    tx: &mut Tx,
    place: Place,
    key_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Sealed>, StoreError> {
    let Place { table, column, key, of, .. } = place;
    let sql = format!(
        "SELECT {key} AS row_key, COALESCE({of}, '') AS whose, {column} AS sealed FROM {table}
         WHERE {key} > $1 AND {column} IS NOT NULL AND SUBSTR({column}, 1, LENGTH($2)) <> $2 ORDER BY {key} LIMIT $3"
    );
    let values: Vec<Value> = args![after, Place::under(key_id), limit];
    let found = tx
        .all_built(sql, values, |row| {
            Ok(Sealed { key: row.text("row_key")?, row: row.text("whose")?, text: row.text("sealed")? })
        })
        .await?;
    let (before, behind) = place.row;
    Ok(found.into_iter().map(|it| Sealed { row: format!("{before}{}{behind}", it.row), ..it }).collect())
}

/// Puts another text in the place of this one, unless somebody has written a newer one meanwhile. Answers whether it
/// did.
pub async fn swap(tx: &mut Tx, place: Place, old: &Sealed, new: &str) -> Result<bool, StoreError> {
    let Place { table, column, key, .. } = place;
    let sql = format!("UPDATE {table} SET {column} = $3 WHERE {key} = $1 AND {column} = $2");
    Ok(tx.run_built(sql, args![&old.key, &old.text, new]).await? == 1)
}

/// How many texts are sealed under a key.
pub async fn count(tx: &mut Tx, key_id: &str) -> Result<i64, StoreError> {
    let one =
        |it: Place| format!("SELECT COUNT(*) AS n FROM {0} WHERE SUBSTR({1}, 1, LENGTH($1)) = $1", it.table, it.column);
    let all = PLACES.map(one).join(" UNION ALL ");
    let sql = format!("SELECT CAST(SUM(n) AS BIGINT) AS n FROM ({all}) AS counted");
    let counted = tx.all_built(sql, args![Place::under(key_id)], |row| row.int("n")).await?;
    Ok(counted.into_iter().next().unwrap_or(0))
}

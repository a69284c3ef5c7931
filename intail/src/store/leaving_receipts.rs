//! Receipts of leaving: what was done, signed. They hold ids, instants and counts, no names and no content.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{OrganizationId, PersonId, ReceiptId};

/// A signed receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingReceipt {
    /// Its id, that of the leaving.
    pub id: ReceiptId,
    /// Whose organization it was.
    pub organization_id: OrganizationId,
    /// Who left; none when the whole organization did.
    pub person_id: Option<PersonId>,
    /// When it was issued last: once more when Google confirms later.
    pub issued_at: Timestamp,
    /// What it states: the JSON text that is signed, byte by byte.
    pub statement: String,
    /// The key that signed it.
    pub key_id: String,
    /// The signature, base64url.
    pub signature: String,
}

fn receipt(row: &dyn Columns) -> Result<LeavingReceipt, StoreError> {
    Ok(LeavingReceipt {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        person_id: row.parsed_or_null("person_id")?,
        issued_at: row.at("issued_at")?,
        statement: row.text("statement")?,
        key_id: row.text("key_id")?,
        signature: row.text("signature")?,
    })
}

/// Writes a receipt, or writes it anew when more is known.
pub async fn put(tx: &mut Tx, receipt: &LeavingReceipt) -> Result<(), StoreError> {
    // It says that something is erased.
    tx.reach_disk();
    tx.run(
        "INSERT INTO leaving_receipts (id, organization_id, person_id, issued_at, statement, key_id, signature)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET issued_at = excluded.issued_at, statement = excluded.statement,
             key_id = excluded.key_id, signature = excluded.signature",
        args![
            &receipt.id,
            &receipt.organization_id,
            receipt.person_id.as_ref(),
            receipt.issued_at,
            &receipt.statement,
            &receipt.key_id,
            &receipt.signature
        ],
    )
    .await?;
    Ok(())
}

/// The receipt with this id.
pub async fn by_id(tx: &mut Tx, id: &ReceiptId) -> Result<Option<LeavingReceipt>, StoreError> {
    tx.one("SELECT * FROM leaving_receipts WHERE id = $1", args![id], receipt).await
}

/// A person's receipts, newest first; `limit` bounds it.
pub async fn of_person(tx: &mut Tx, person: &PersonId, limit: i64) -> Result<Vec<LeavingReceipt>, StoreError> {
    tx.all(
        "SELECT * FROM leaving_receipts WHERE person_id = $1 ORDER BY issued_at DESC, id LIMIT $2",
        args![person, limit],
        receipt,
    )
    .await
}

/// An organization's receipts, newest first; `limit` bounds it.
pub async fn of_organization(
    tx: &mut Tx,
    organization: &OrganizationId,
    limit: i64,
) -> Result<Vec<LeavingReceipt>, StoreError> {
    tx.all(
        "SELECT * FROM leaving_receipts WHERE organization_id = $1 ORDER BY issued_at DESC, id LIMIT $2",
        args![organization, limit],
        receipt,
    )
    .await
}

/// An organization's receipts in order of id, after `last`; `limit` bounds it.
pub async fn page(
    tx: &mut Tx,
    organization: &OrganizationId,
    last: Option<&ReceiptId>,
    limit: i64,
) -> Result<Vec<LeavingReceipt>, StoreError> {
    tx.all(
        "SELECT * FROM leaving_receipts WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        args![organization, last.map_or("", ReceiptId::as_str), limit],
        receipt,
    )
    .await
}

/// Deletes receipts that were issued before `before`.
pub async fn sweep(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    tx.run("DELETE FROM leaving_receipts WHERE issued_at < $1", args![before]).await
}

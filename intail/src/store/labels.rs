//! A mailbox's labels: Gmail's own and the person's.

use std::str::FromStr;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{MailboxId, OrganizationId};

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Gmail's id: `INBOX`, `Label_12`.
    pub id: String,
    /// What people read.
    pub name: String,
    /// Whose it is.
    pub kind: LabelKind,
}

/// Whether a label is Gmail's own or the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// Gmail's own.
    System,
    /// The person's.
    User,
}

impl LabelKind {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
        }
    }
}

impl FromStr for LabelKind {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::System, Self::User].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

fn label(row: &dyn Columns) -> Result<Label, StoreError> {
    Ok(Label { id: row.text("label_id")?, name: row.text("name")?, kind: row.parsed("kind")? })
}

/// A mailbox's labels, in order of id.
pub async fn list(tx: &mut Tx, mailbox: &MailboxId) -> Result<Vec<Label>, StoreError> {
    tx.all("SELECT label_id, name, kind FROM labels WHERE mailbox_id = $1 ORDER BY label_id", args![mailbox], label)
        .await
}

/// Writes a label.
pub async fn put(
    tx: &mut Tx,
    organization: &OrganizationId,
    mailbox: &MailboxId,
    label: &Label,
) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO labels (organization_id, mailbox_id, label_id, name, kind) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (mailbox_id, label_id) DO UPDATE SET name = excluded.name, kind = excluded.kind",
        args![organization, mailbox, &label.id, &label.name, label.kind.word()],
    )
    .await?;
    Ok(())
}

/// Deletes a label.
pub async fn delete(tx: &mut Tx, mailbox: &MailboxId, label_id: &str) -> Result<(), StoreError> {
    tx.run("DELETE FROM labels WHERE mailbox_id = $1 AND label_id = $2", args![mailbox, label_id]).await?;
    Ok(())
}

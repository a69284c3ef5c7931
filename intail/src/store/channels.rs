//! Channels: where Google tells that a calendar changed. Of the token that proves a notice only the hash is kept.
//!
//! What a reader must not break: a channel's row is there before Google is asked for it, because its first notice may
//! come before Google's answer.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{AgendaId, OrganizationId};

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its id, chosen by Intail.
    pub id: String,
    /// The agenda that it serves.
    pub agenda_id: AgendaId,
    /// The calendar.
    pub calendar_id: String,
    /// The hash of the token that Google repeats in each notice.
    pub token_hash: String,
    /// What Google calls what is watched; none until Google has answered.
    pub resource_id: Option<String>,
    /// When it was asked for.
    pub opened_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When its first notice came: what proves that notices arrive.
    pub proved_at: Option<Timestamp>,
    /// When its newest notice of a change came.
    pub noticed_at: Option<Timestamp>,
    /// Whether another one took its place, or nobody wants it any more: it is to be stopped.
    pub is_replaced: bool,
}

impl Channel {
    /// Whether Google tells over it now, by the evidence of a notice that came, and of its end. One from before a
    /// reconnect is quiet, however long it would live.
    pub fn tells(&self, connected_at: Timestamp, now: Timestamp) -> bool {
        let is_open = self.proved_at.is_some() && self.expires_at.is_some_and(|ends| ends > now);
        is_open && self.opened_at >= connected_at
    }
}

fn channel(row: &dyn Columns) -> Result<Channel, StoreError> {
    Ok(Channel {
        id: row.text("id")?,
        agenda_id: row.parsed("agenda_id")?,
        calendar_id: row.text("calendar_id")?,
        token_hash: row.text("token_hash")?,
        resource_id: row.text_or_null("resource_id")?,
        opened_at: row.at("opened_at")?,
        expires_at: row.at_or_null("expires_at")?,
        proved_at: row.at_or_null("proved_at")?,
        noticed_at: row.at_or_null("noticed_at")?,
        is_replaced: row.boolean("is_replaced")?,
    })
}

/// Adds a channel that is about to be asked for.
pub async fn create(tx: &mut Tx, organization: &OrganizationId, channel: &Channel) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO channels (id, organization_id, agenda_id, calendar_id, token_hash, opened_at, expires_at,
             is_replaced)
         VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE)",
        args![
            &channel.id,
            organization,
            &channel.agenda_id,
            &channel.calendar_id,
            &channel.token_hash,
            channel.opened_at,
            channel.expires_at
        ],
    )
    .await?;
    Ok(())
}

/// Keeps what Google answered: the channel is open.
pub async fn opened(tx: &mut Tx, id: &str, resource_id: &str, expires_at: Timestamp) -> Result<(), StoreError> {
    tx.run("UPDATE channels SET resource_id = $2, expires_at = $3 WHERE id = $1", args![id, resource_id, expires_at])
        .await?;
    Ok(())
}

/// The channel with this id.
pub async fn by_id(tx: &mut Tx, id: &str) -> Result<Option<Channel>, StoreError> {
    tx.one("SELECT * FROM channels WHERE id = $1", args![id], channel).await
}

/// An agenda's channels, newest first. `limit` bounds it.
pub async fn of_agenda(tx: &mut Tx, agenda: &AgendaId, limit: i64) -> Result<Vec<Channel>, StoreError> {
    tx.all(
        "SELECT * FROM channels WHERE agenda_id = $1 ORDER BY opened_at DESC, id LIMIT $2",
        args![agenda, limit],
        channel,
    )
    .await
}

/// Writes down that a notice came: the first one, or one of a change. Whoever was heard takes the place of the
/// calendar's older channels, and not before: until then these are what tells of changes.
pub async fn noticed(tx: &mut Tx, id: &str, is_change: bool, now: Timestamp) -> Result<(), StoreError> {
    // Google tells of it once.
    tx.reach_disk();
    tx.run(
        "UPDATE channels SET proved_at = COALESCE(proved_at, $2),
             noticed_at = CASE WHEN $3 THEN $2 ELSE noticed_at END
         WHERE id = $1",
        args![id, now, is_change],
    )
    .await?;
    tx.run(
        "UPDATE channels SET is_replaced = TRUE
         WHERE (agenda_id, calendar_id) = (SELECT agenda_id, calendar_id FROM channels WHERE id = $1)
             AND opened_at < (SELECT opened_at FROM channels WHERE id = $1) AND NOT is_replaced",
        args![id],
    )
    .await?;
    Ok(())
}

/// Says that nobody wants a calendar's channels any more.
pub async fn give_up(tx: &mut Tx, agenda: &AgendaId, calendar: &str) -> Result<(), StoreError> {
    tx.run("UPDATE channels SET is_replaced = TRUE WHERE agenda_id = $1 AND calendar_id = $2", args![agenda, calendar])
        .await?;
    Ok(())
}

/// Forgets a channel that is stopped or over.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    tx.run("DELETE FROM channels WHERE id = $1", args![id]).await?;
    Ok(())
}

/// Forgets an agenda's channels that have ended.
pub async fn forget_ended(tx: &mut Tx, agenda: &AgendaId, now: Timestamp) -> Result<(), StoreError> {
    tx.run("DELETE FROM channels WHERE agenda_id = $1 AND expires_at <= $2", args![agenda, now]).await?;
    Ok(())
}

/// Forgets a calendar's channels that were asked for before `heard_by`, of which Google never answered, and over which
/// nothing came.
pub async fn forget_unheard(
    tx: &mut Tx,
    agenda: &AgendaId,
    calendar: &str,
    heard_by: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "DELETE FROM channels WHERE agenda_id = $1 AND calendar_id = $2 AND opened_at < $3 AND resource_id IS NULL
             AND proved_at IS NULL",
        args![agenda, calendar, heard_by],
    )
    .await?;
    Ok(())
}

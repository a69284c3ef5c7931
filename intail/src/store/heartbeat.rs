//! The heartbeat of the way that notices take: who sends the next beat, and what came of the last ones.

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};

/// The way's newest beats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// When the newest beat was sent.
    pub sent_at: Timestamp,
    /// Whether it is still on its way.
    pub is_pending: bool,
    /// When a beat arrived last.
    pub arrived_at: Option<Timestamp>,
    /// When that one was sent.
    pub arrived_sent_at: Option<Timestamp>,
    /// When somebody looks after it next.
    pub due_at: Timestamp,
}

fn heartbeat(row: &dyn Columns) -> Result<Heartbeat, StoreError> {
    Ok(Heartbeat {
        sent_at: row.at("sent_at")?,
        is_pending: row.boolean("is_pending")?,
        arrived_at: row.at_or_null("arrived_at")?,
        arrived_sent_at: row.at_or_null("arrived_sent_at")?,
        due_at: row.at("due_at")?,
    })
}

/// The heartbeat; none before the first beat.
pub async fn get(tx: &mut Tx) -> Result<Option<Heartbeat>, StoreError> {
    tx.one("SELECT * FROM heartbeat", args![], heartbeat).await
}

/// Takes the next look upon this process, if it is due: of several, one gets it. `next` is when the look after it is
/// due.
pub async fn claim(tx: &mut Tx, now: Timestamp, next: Timestamp) -> Result<bool, StoreError> {
    let claimed = tx
        .run(
            "INSERT INTO heartbeat (name, token, sent_at, is_pending, due_at) VALUES ('notices', '', $1, FALSE, $2)
             ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at WHERE heartbeat.due_at <= $1",
            args![now, next],
        )
        .await?;
    Ok(claimed == 1)
}

/// A beat is about to be sent.
pub async fn send(tx: &mut Tx, token: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.run("UPDATE heartbeat SET token = $1, sent_at = $2, is_pending = TRUE", args![token, now]).await?;
    Ok(())
}

/// The beat that was about to be sent never left: nobody waits for it.
pub async fn unsend(tx: &mut Tx, token: &str) -> Result<(), StoreError> {
    tx.run("UPDATE heartbeat SET is_pending = FALSE WHERE token = $1", args![token]).await?;
    Ok(())
}

/// A beat arrived. Answers whether it was the newest and hadn't arrived before.
pub async fn arrive(tx: &mut Tx, token: &str, now: Timestamp) -> Result<bool, StoreError> {
    let arrived = tx
        .run(
            "UPDATE heartbeat SET is_pending = FALSE, arrived_at = $2, arrived_sent_at = sent_at
             WHERE token = $1 AND is_pending",
            args![token, now],
        )
        .await?;
    Ok(arrived == 1)
}

//! A gate between the store and its database. Nothing stands there in production; a simulation puts one there to hold
//! work up, to let the database be busy or away for a moment, or to break work off right before or after a commit.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::StoreError;

/// What is about to happen at the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A transaction that only reads begins.
    BeginRead,
    /// A transaction that writes begins.
    BeginWrite,
    /// A statement runs.
    Statement,
    /// A transaction is committed.
    Commit,
}

/// Lives as long as the database is being asked.
pub type Underway = Box<dyn std::any::Any + Send>;

/// Who decides when, and whether, the database is asked. A future that never returns breaks the work off there.
pub trait Gate: std::fmt::Debug + Send + Sync {
    /// Before the database is asked. An error keeps it from being asked; what is answered otherwise is dropped when the
    /// database has answered or nobody waits for that any more.
    fn before(&self, act: Act) -> BoxFuture<'static, Result<Underway, StoreError>>;
    /// After the database did it, and before the caller learns that.
    fn after(&self, act: Act) -> BoxFuture<'static, Result<(), StoreError>>;
    /// A transaction is over, by a commit or without one. `writes` says of which kind it was.
    fn ended(&self, writes: bool);
}

/// Asks the database through a gate, if there is one.
pub(super) async fn through<T>(
    gate: Option<&Arc<dyn Gate>>,
    act: Act,
    asking: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let Some(gate) = gate else { return asking.await };
    let underway = gate.before(act).await?;
    let answer = asking.await;
    drop(underway);
    let answer = answer?;
    gate.after(act).await?;
    Ok(answer)
}

/// Tells the gate of a transaction's end, whichever way it ends.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) gate: Arc<dyn Gate>,
    pub(super) writes: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.gate.ended(self.writes);
    }
}

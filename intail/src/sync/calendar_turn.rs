//! An agenda's turn: reads its row and its calendars, lets `calendar_plan` decide, and does that one step.

use jiff::Timestamp;

use super::worker::{StepError, Worker, lease_end};
use crate::store::agendas;
use crate::store::grants::{self, Grant};
use crate::store::leases::Lease;

impl Worker {
    /// One step of an agenda; answers when to rest until, or nothing when there is more to do at once.
    pub(super) async fn calendar_turn(
        &self,
        lease: &Lease,
        known: &mut Option<Grant>,
    ) -> Result<Option<Option<Timestamp>>, StepError> {
        let mut tx = self.app.store.write().await?;
        let agenda = agendas::hold(&mut tx, lease, lease_end(self.app.clock.now())).await?;
        *known = grants::by_id(&mut tx, &agenda.grant_id).await?;
        tx.commit().await?;
        Ok(Some(None))
    }
}

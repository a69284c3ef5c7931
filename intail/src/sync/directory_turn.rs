//! A directory's turn. Nothing reads directories yet, so that each rests for ever.

use jiff::Timestamp;

use super::worker::{StepError, Worker, lease_end};
use crate::store::directories;
use crate::store::grants::{self, Grant};
use crate::store::leases::Lease;

impl Worker {
    /// One step of a directory; answers when to rest until, or nothing when there is more to do at once.
    pub(super) async fn directory_turn(
        &self,
        lease: &Lease,
        known: &mut Option<Grant>,
    ) -> Result<Option<Option<Timestamp>>, StepError> {
        let mut tx = self.app.store.write().await?;
        let directory = directories::hold(&mut tx, lease, lease_end(self.app.clock.now())).await?;
        if let Some(grant) = &directory.grant_id {
            *known = grants::by_id(&mut tx, grant).await?;
        }
        tx.commit().await?;
        Ok(Some(None))
    }
}

//! Asks for the administrator's approval without going to Google: whoever asks is told as soon as Intail is let in.

use super::ConnectError;
use crate::app::App;
use crate::org::approval;
use crate::org::audit::Origin;
use crate::store::people::Person;

/// Remembers that a person waits for the approval. Asking twice changes nothing, and after the approval there is
/// nothing to wait for.
pub async fn wait_for_approval(app: &App, person: &Person, origin: Origin) -> Result<(), ConnectError> {
    let mut tx = app.store.write().await?;
    approval::asked(&mut tx, person, origin, app.clock.now()).await?;
    tx.commit().await?;
    app.feed.tell(&person.organization_id);
    Ok(())
}

//! What is refused before anything of it is kept: floods, forged, foreign, late and repeated callbacks. Whoever does it
//! can do it as often as they like, so the audit log has it once for each person and reason in a while, and what is
//! refused otherwise costs nothing but a look.

use serde_json::json;

use super::ConnectError;
use crate::app::App;
use crate::id::OrganizationId;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::store::attempts::{self, Attempt};
use crate::store::people::{self, Person};

/// Writes into the audit log that a person began to connect, or came back, and was refused. `by` is who did it, if that
/// is somebody else of the same organization: they stand there by id.
pub(super) async fn of_person(
    app: &App,
    person: &Person,
    by: Option<&Person>,
    refused: &ConnectError,
    origin: Origin,
) -> Result<(), ConnectError> {
    let by = by.filter(|it| it.id != person.id && it.organization_id == person.organization_id);
    let detail = match by {
        Some(by) => json!({"outcome": refused.word(), "by": by.id.as_str()}),
        None => json!({"outcome": refused.word()}),
    };
    write(app, (&person.organization_id, person.id.as_str()), detail, origin).await
}

/// Writes into the audit log that an organization's people begin to connect faster than is let through.
pub(super) async fn of_organization(
    app: &App,
    organization: &OrganizationId,
    refused: &ConnectError,
    origin: Origin,
) -> Result<(), ConnectError> {
    write(app, (organization, organization.as_str()), json!({"outcome": refused.word()}), origin).await
}

/// Writes into the audit log that an attempt's callback was refused before it was taken: of whoever began it, and of
/// whoever is signed in where it came, if that is somebody of another organization. Neither log names the other's.
pub(super) async fn of_attempt(
    app: &App,
    attempt: &Attempt,
    signed_in: Option<&Person>,
    refused: &ConnectError,
    origin: Origin,
) -> Result<(), ConnectError> {
    let mut tx = app.store.write().await?;
    let whose = match &attempt.person_id {
        Some(id) => people::by_id(&mut tx, id).await?,
        None => None,
    };
    if attempt.outcome.is_none() && whose.is_some() {
        attempts::set_outcome(&mut tx, &attempt.state_hash, refused.word()).await?;
        tx.commit().await?;
    } else {
        drop(tx);
    }
    if let Some(whose) = &whose {
        of_person(app, whose, signed_in, refused, origin).await?;
    }
    let organization = whose.map(|it| it.organization_id);
    match signed_in.filter(|it| organization.as_ref() != Some(&it.organization_id)) {
        Some(stranger) => of_person(app, stranger, None, refused, origin).await,
        None => Ok(()),
    }
}

async fn write(
    app: &App,
    (organization, about): (&OrganizationId, &str),
    detail: serde_json::Value,
    origin: Origin,
) -> Result<(), ConnectError> {
    let entry = Entry { organization, actor: Actor::Intail, action: "connection.refused", about, origin, detail };
    let mut tx = app.store.write().await?;
    if audit::record_once(&mut tx, entry, app.clock.now()).await? {
        tx.commit().await?;
    }
    Ok(())
}

//! Whoever the directory calls deleted leaves by the one way that there is, once the days have passed for which their
//! organization keeps what was copied. The days are counted from the first pass that said so and are kept nowhere else:
//! an account that is seen again before simply isn't overdue, and a changed policy holds at once.

use super::{ConnectError, Wish, let_go};
use crate::app::App;
use crate::org::audit::{Actor, Origin};
use crate::store::directory_people::{self, Overdue};
use crate::store::{StoreError, people};

/// People who are looked at together, and after how many who went a round ends: the next one comes within minutes.
const PEOPLE_AT_ONCE: i64 = 20;
const PEOPLE_MAX: usize = 20;
/// Entries of the directory that are erased in one transaction, and pages of people or entries in one round.
const ENTRIES_AT_ONCE: i64 = 500;
const ROUNDS_MAX: usize = 100;

/// Lets go whoever is overdue; answers how many have gone. Whoever can't go yet is tried again in the next round, and
/// keeps nobody else from going.
pub async fn let_the_deleted_go(app: &App) -> Result<usize, ConnectError> {
    let issuer = &app.google.endpoints().issuer;
    let (mut gone, mut last) = (0, None);
    for _ in 0..ROUNDS_MAX {
        let mut tx = app.store.read().await?;
        let now = app.clock.now();
        let overdue = directory_people::overdue(&mut tx, issuer, last.as_ref(), now, PEOPLE_AT_ONCE).await?;
        drop(tx);
        let Some(end) = overdue.last() else { break };
        last = Some(end.person_id.clone());
        for it in &overdue {
            match let_one_go(app, it).await {
                Ok(()) => gone += 1,
                // Somebody else is at it, they have gone meanwhile, or they stay as the last administrator.
                Err(ConnectError::StillLeaving | ConnectError::NotConnected | ConnectError::LastAdministrator) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, person = %it.person_id, "a person whose account was deleted can't go yet");
                }
            }
        }
        if gone >= PEOPLE_MAX {
            break;
        }
    }
    Ok(gone)
}

async fn let_one_go(app: &App, overdue: &Overdue) -> Result<(), ConnectError> {
    let mut tx = app.store.read().await?;
    let person = people::by_id(&mut tx, &overdue.person_id).await?.ok_or(ConnectError::NotConnected)?;
    drop(tx);
    let wish = Wish { actor: Actor::Directory, origin: Origin::Unknown, removes_person: overdue.signs_in };
    match let_go(app, &person, &wish).await {
        // An organization never loses its last administrator by itself: their connection and what was copied goes, they
        // stay.
        Err(ConnectError::LastAdministrator) if overdue.is_connected => {
            let_go(app, &person, &Wish { removes_person: false, ..wish }).await.map(drop)
        }
        left => left.map(drop),
    }
}

/// Erases entries of the directory whose people went longer ago than their organization keeps.
pub(super) async fn erase_entries(app: &App) -> Result<(), StoreError> {
    for _ in 0..ROUNDS_MAX {
        let mut tx = app.store.write().await?;
        let erased = directory_people::erase_gone(&mut tx, app.clock.now(), ENTRIES_AT_ONCE).await?;
        tx.commit().await?;
        if erased < u64::try_from(ENTRIES_AT_ONCE).unwrap_or(u64::MAX) {
            break;
        }
    }
    Ok(())
}

//! Whoever the directory calls deleted leaves by the one way that there is, once the days have passed for which their
//! organization keeps what was copied. The days are counted from the first pass that said so and are kept nowhere else:
//! an account that is seen again before simply isn't overdue, and a changed policy holds at once.

use super::{ConnectError, Wish, let_go};
use crate::app::App;
use crate::org::audit::{Actor, Origin};
use crate::store::{StoreError, directory_people, people};

/// People who are let go in one round; the next one comes within minutes.
const PEOPLE_AT_ONCE: i64 = 20;
/// Entries of the directory that are erased in one transaction, and in one round.
const ENTRIES_AT_ONCE: i64 = 500;
const ROUNDS_MAX: usize = 100;

/// Lets go whoever is overdue; answers how many have gone.
pub async fn let_the_deleted_go(app: &App) -> Result<usize, ConnectError> {
    let mut tx = app.store.read().await?;
    let issuer = &app.google.endpoints().issuer;
    let overdue = directory_people::overdue(&mut tx, issuer, app.clock.now(), PEOPLE_AT_ONCE).await?;
    drop(tx);
    let mut gone = 0;
    for it in overdue {
        let mut tx = app.store.read().await?;
        let Some(person) = people::by_id(&mut tx, &it.person_id).await? else { continue };
        drop(tx);
        let wish = Wish { actor: Actor::Directory, origin: Origin::Unknown, removes_person: it.signs_in };
        let left = match let_go(app, &person, &wish).await {
            // An organization never loses its last administrator by itself: their connection and what was copied
            // goes, they stay.
            Err(ConnectError::LastAdministrator) if it.is_connected => {
                let_go(app, &person, &Wish { removes_person: false, ..wish }).await
            }
            left => left,
        };
        match left {
            Ok(_) => gone += 1,
            Err(ConnectError::LastAdministrator) => {}
            // Somebody else is at it, or they have gone meanwhile.
            Err(ConnectError::StillLeaving | ConnectError::NotConnected) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
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

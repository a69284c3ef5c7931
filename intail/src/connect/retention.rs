//! Whoever the directory calls deleted leaves by the one way that there is, once the days have passed for which their
//! organization keeps what was copied. The days are counted from the first pass that said so and are kept nowhere else:
//! an account that is seen again before simply isn't overdue, and a changed policy holds at once.

use super::{ConnectError, Wish, let_go};
use crate::app::App;
use crate::org::audit::{Actor, Origin};
use crate::store::directory_people;
use crate::store::people::{self, Role};
use crate::store::{StoreError, Tx};

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
        let removes_person = it.signs_in && !is_last_administrator(&mut tx, &person).await?;
        drop(tx);
        if !removes_person && !it.is_connected {
            continue;
        }
        let wish = Wish { actor: Actor::Directory, origin: Origin::Unknown, removes_person };
        match let_go(app, &person, &wish).await {
            Ok(_) => gone += 1,
            // Somebody else is at it, or they have gone meanwhile.
            Err(ConnectError::StillLeaving | ConnectError::NotConnected) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// An organization never loses its last administrator by itself: their connection and what was copied goes, they stay.
async fn is_last_administrator(tx: &mut Tx, person: &people::Person) -> Result<bool, StoreError> {
    Ok(person.role == Role::Administrator && people::administrators(tx, &person.organization_id).await? <= 1)
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

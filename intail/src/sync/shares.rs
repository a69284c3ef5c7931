//! Sharing the project's quota between processes, without a request per call: each says now and then that it takes
//! part, and uses its part of the minute until it hears otherwise. What was spent today is added up at the same time.
//!
//! A reader must not break: a process that is new to the others uses little until they have noticed it, and one that
//! may still spend keeps its part. So the parts never add up to more than the whole.

use std::time::Duration;

use jiff::Timestamp;

use super::budget::Budgets;
use crate::app::App;
use crate::store::{StoreError, quota};

/// How often a process that works says so, and hears of the others.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// After how long a process that said nothing spends nothing any more: it says so before it spends, and then its last
/// minute has to pass.
const GONE_AFTER: Duration = Duration::from_secs(70);
/// How long a process is new: the others hear of it within [`EVERY`], and what they spent before that counts for a
/// minute.
const NEW_FOR: Duration = Duration::from_secs(70);
/// What a new process may use beside others, in thousandths: less than what the others' classes leave over.
const NEW_SHARE: u64 = 10;

/// Says that this process takes part, and sets its share.
pub(super) async fn attend(app: &App, owner: &str, budgets: &Budgets) -> Result<(), StoreError> {
    let now = app.clock.now();
    let gone = now.checked_sub(GONE_AFTER).unwrap_or(now);
    let mut tx = app.store.write().await?;
    let since = quota::attend(&mut tx, owner, now, gone).await?;
    let others = quota::others(&mut tx, owner, gone).await?;
    let mut heard = Vec::new();
    for (service, budget) in budgets.each() {
        let written = budget.unwritten();
        let units = i64::try_from(written.unwritten).unwrap_or(i64::MAX);
        let total = quota::spend(&mut tx, service, written.number, units).await?;
        let held_until = match budget.held_until() {
            Some(until) => {
                quota::hold(&mut tx, service, until).await?;
                Some(until)
            }
            None => quota::held_until(&mut tx, service).await?,
        };
        heard.push((budget, written, u64::try_from(total).unwrap_or(0), held_until));
    }
    tx.commit().await?;
    let left = u64::try_from(others.left_thousandths).unwrap_or(0);
    let is_new = now < since.checked_add(NEW_FOR).unwrap_or(now);
    for (budget, written, total, held_until) in heard {
        budget.share(share(others.running, is_new, left), written, total);
        if let Some(until) = held_until {
            budget.hold(until);
        }
    }
    Ok(())
}

/// Says that this process ends.
pub(super) async fn leave(app: &App, owner: &str, budgets: &Budgets) -> Result<(), StoreError> {
    let now = app.clock.now();
    let whole = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
    let spent = budgets.each().map(|(_, budget)| budget.spent_in_minute()).max().unwrap_or(0);
    let mut tx = app.store.write().await?;
    quota::leave(&mut tx, owner, whole(spent), now).await?;
    for (service, budget) in budgets.each() {
        let written = budget.unwritten();
        quota::spend(&mut tx, service, written.number, whole(written.unwritten)).await?;
    }
    tx.commit().await
}

/// The part of the project's minute beside so many others, in thousandths; `left` of it was spent by processes that
/// ended.
fn share(others: i64, is_new: bool, left: u64) -> u64 {
    let whole = 1_000u64.saturating_sub(left);
    match u64::try_from(others).unwrap_or(0) {
        0 => whole,
        _ if is_new => NEW_SHARE.min(whole),
        others => whole / (others + 1),
    }
}

/// Whether it is time to say so again.
pub(super) fn is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last).unsigned_abs() >= EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_never_add_up_to_more_than_the_whole() {
        assert_eq!(share(0, true, 0), 1_000, "alone, there is nobody to wait for");
        assert_eq!(share(0, false, 300), 700, "somebody ended a moment ago");
        for others in 1..50 {
            let old = share(others, false, 0);
            assert!(old * u64::try_from(others + 1).expect("small") <= 1_000);
            // Those who haven't heard of the new one share the whole among themselves, within their classes' bound.
            assert!(share(others, true, 0) <= NEW_SHARE);
        }
    }
}

//! What may be spent at Google per person and minute, and per project and minute. Counted here, in this process, over a
//! sliding minute; Google counts too, so a little is left untouched for what both sides round differently.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Both windows.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Percent of Google's limit that is used at most: two clocks and two windows never agree exactly.
const USED_MAX_PERCENT: u64 = 97;
/// Percent of it that backfill may use, so that live changes never wait behind it.
const BACKFILL_MAX_PERCENT: u64 = 90;

/// Who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Changes that just happened, and what keeps them coming.
    Live,
    /// What was there before.
    Backfill,
}

/// The budgets. Cheap to clone.
#[derive(Clone)]
pub struct Budget(Arc<Mutex<Spent>>);

struct Spent {
    person_minute: u64,
    project_minute: u64,
    /// By the Google account's unchanging id: to Google, a person who left and came back is the same person.
    people: BTreeMap<String, Window>,
    project: Window,
}

#[derive(Default)]
struct Window {
    spent: VecDeque<(Timestamp, u64)>,
    sum: u64,
}

impl Budget {
    /// Budgets of `person_minute` and `project_minute` quota units.
    pub fn new(person_minute: u64, project_minute: u64) -> Self {
        let spent = Spent { person_minute, project_minute, people: BTreeMap::new(), project: Window::default() };
        Self(Arc::new(Mutex::new(spent)))
    }

    /// Takes `units` for a Google account, or says when to ask again.
    pub fn take(&self, google_subject: &str, units: u64, class: Class, now: Timestamp) -> Result<(), Timestamp> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = &mut *spent;
        let percent = if class == Class::Live { USED_MAX_PERCENT } else { BACKFILL_MAX_PERCENT };
        spent.project.forget(now);
        spent.people.retain(|_, window| {
            window.forget(now);
            window.sum > 0
        });
        let person = spent.people.entry(google_subject.to_owned()).or_default();
        person.room(units, spent.person_minute * percent / 100)?;
        spent.project.room(units, spent.project_minute * percent / 100)?;
        person.add(units, now);
        spent.project.add(units, now);
        Ok(())
    }
}

impl Window {
    fn forget(&mut self, now: Timestamp) {
        while let Some((at, units)) = self.spent.front().copied()
            && now.duration_since(at) >= WINDOW
        {
            self.spent.pop_front();
            self.sum -= units;
        }
    }

    /// Whether `units` more fit under `limit`; if not, when enough will have left the window.
    fn room(&self, units: u64, limit: u64) -> Result<(), Timestamp> {
        // A single step dearer than the whole limit may go once the window is empty: refusing it for ever helps nobody.
        let mut over = (self.sum + units).saturating_sub(limit);
        if over == 0 || self.sum == 0 {
            return Ok(());
        }
        let mut until = Timestamp::MIN;
        for (at, spent) in &self.spent {
            until = at.saturating_add(WINDOW).unwrap_or(Timestamp::MAX);
            over = over.saturating_sub(*spent);
            if over == 0 {
                break;
            }
        }
        Err(until)
    }

    fn add(&mut self, units: u64, now: Timestamp) {
        self.spent.push_back((now, units));
        self.sum += units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;

    fn at(second: i64) -> Timestamp {
        from_us(second * 1_000_000)
    }

    #[test]
    fn promise_8_the_minute_is_never_exceeded_and_opens_again_as_it_slides() {
        let budget = Budget::new(1_000, 10_000);
        let person = "1";
        assert_eq!(budget.take(person, 500, Class::Backfill, at(0)), Ok(()));
        assert_eq!(budget.take(person, 400, Class::Backfill, at(10)), Ok(()));
        assert_eq!(budget.take(person, 1, Class::Backfill, at(20)), Err(at(60)));
        assert_eq!(budget.take(person, 70, Class::Live, at(20)), Ok(()), "live still has room");
        assert_eq!(budget.take(person, 1, Class::Live, at(30)), Err(at(60)));
        assert_eq!(budget.take(person, 400, Class::Backfill, at(60)), Ok(()));
    }

    #[test]
    fn the_project_s_minute_holds_for_everyone_together() {
        let budget = Budget::new(1_000, 1_000);
        assert_eq!(budget.take("1", 900, Class::Live, at(0)), Ok(()));
        assert_eq!(budget.take("2", 900, Class::Live, at(1)), Err(at(60)));
    }
}

//! Sharing the project's quota between processes, without a request per call: each says every few seconds what it
//! spends and would like to, and takes a part of the minute until it says so again. What was spent today is added up at
//! the same time.
//!
//! A reader must not break: the parts, of the living and of those who ended or died within a minute, never add up to
//! more than the whole. One process at a time takes its part, and none takes more than the others left; who says
//! nothing any more spends nothing any more. So a process that comes new takes what is free at once, and its fair part
//! as the others' last minute passes; and one that died holds no more than it may have spent.

use std::time::Duration;

use intail_google::day::day;
use jiff::Timestamp;

use super::budget::{Budget, Budgets, HELD_LONG, WHOLE};
use crate::app::App;
use crate::config::{Config, Database};
use crate::store::quota::{DayLimit, Engine, Hold};
use crate::store::{StoreError, Tx, operator_faults, quota, turns};

/// How often a process that works says so, and hears of the others.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// Within what time every process that works has heard what is written down of the project's quota.
pub const HEARD_WITHIN: Duration = Duration::from_secs(2 * EVERY.as_secs());
/// How long a part holds: once missed is no harm.
const HOLDS_FOR: Duration = Duration::from_secs(12);
/// How long others leave room for what a process wishes that said nothing since.
const WISHES_FOR: Duration = Duration::from_secs(30);
/// After how long a process that said nothing has spent nothing for a minute: its part ended, then the calls that it
/// had begun, and then Google's minute passed. The rest is for clocks that differ.
const GONE_AFTER: Duration = Duration::from_secs(100);
/// The same for one that said what it spent when it ended.
const ENDED_FOR: Duration = Duration::from_secs(70);
/// How much more than it spends a process takes, in millionths of the whole, divided among all: three times what its
/// fair part is for so long. The less this is, the more is free after a death.
const GROWTH: u64 = 250_000;
/// Where all of them wish nearly what there is, that is twice what it spends at most, and this at least: what an idle
/// one holds, nobody uses. It is enough for some hundred letters that arrive at once.
const GROWTH_MIN: u64 = 15_000;
/// What is believed of Google's day is wrong once so much more of it was spent and not refused: one part of so many.
const DISPROVED_PART: u64 = 20;
/// What is left for those who come new until the others have heard of them, in millionths. The first takes half of it,
/// the next half of what is left then.
const FREE: u64 = 10_000;

/// The operator's faults that are found here.
const DAY_USED: &str = "quota.day_used";
const HELD: &str = "quota.held";

/// Says that this process takes part, and takes its part. The first time it ends whoever had its place before.
pub(super) async fn attend(
    app: &App,
    (owner, place): (&str, Option<&str>),
    is_first: bool,
    budgets: &Budgets,
) -> Result<(), StoreError> {
    let now = app.clock.now();
    let ago = |it: Duration| now.saturating_sub(it).unwrap_or(now);
    let mut tx = app.store.write().await?;
    turns::hold_parts(&mut tx).await?;
    let freed = match place.filter(|_| is_first) {
        Some(place) => quota::succeed(&mut tx, owner, place, now).await?,
        None => 0,
    };
    let others = quota::others(&mut tx, owner, ago(GONE_AFTER), ago(ENDED_FOR)).await?;
    let (spent, lacked) = (most_of(budgets, Budget::spent_in_minute), most_of(budgets, Budget::lacked));
    let wish = wish(spent, lacked, &others, ago(WISHES_FOR));
    let most = part(wish, &others, ago(WISHES_FOR));
    // Whatever was allowed before: what is written down must not be less than what is spent meanwhile.
    budgets.each().for_each(|(_, budget)| budget.use_at_most(most));
    let bound = most.max(most_of(budgets, Budget::spent_in_minute));
    quota::attend(&mut tx, owner, place, (whole(bound), whole(wish)), now).await?;
    let mut heard = Vec::new();
    let mut faults = Vec::new();
    for (service, budget) in budgets.each() {
        let written = budget.unwritten();
        let total = quota::spend(&mut tx, service, written.number, whole(written.unwritten)).await?;
        let refused = budget.hold_untold();
        if let Some(refused) = refused {
            quota::hold(&mut tx, service, refused).await?;
        }
        let mut held = quota::held(&mut tx, service).await?;
        // While the refusal lasts, what was asked before everybody had heard of it comes on top.
        let is_over = |it: &&mut Hold| it.until <= now && it.day.is_some_and(|day| is_disproved(day, count(total)));
        if let Some(hold) = held.as_mut().filter(is_over) {
            quota::forget_day(&mut tx, service).await?;
            hold.day = None;
        }
        let held_until = held.map(|it| it.until);
        let long = held_until.filter(|until| *until > now.saturating_add(HELD_LONG).unwrap_or(now));
        faults.push((service, fault(budget, long, now), long));
        heard.push((budget, written, count(total), (refused, held)));
    }
    for kind in [DAY_USED, HELD] {
        tell(&mut tx, kind, &faults, now).await?;
    }
    tx.commit().await?;
    if freed > 0 {
        tracing::info!(freed, "streams were freed that a process before this one worked on");
    }
    let (until, next_at) = (now.saturating_add(HOLDS_FOR).unwrap_or(now), now.saturating_add(EVERY).unwrap_or(now));
    for (budget, written, total, (told, held)) in heard {
        budget.take_part(most, until, next_at);
        budget.book(written, total);
        budget.hold(told, held);
    }
    Ok(())
}

/// Says that this process ends.
pub(super) async fn leave(app: &App, owner: &str, budgets: &Budgets) -> Result<(), StoreError> {
    let now = app.clock.now();
    budgets.each().for_each(|(_, budget)| budget.use_at_most(0));
    let mut tx = app.store.write().await?;
    quota::leave(&mut tx, owner, whole(most_of(budgets, Budget::spent_in_minute)), now).await?;
    for (service, budget) in budgets.each() {
        let written = budget.unwritten();
        quota::spend(&mut tx, service, written.number, whole(written.unwritten)).await?;
    }
    tx.commit().await
}

/// What a process is called that comes in this one's place: on SQLite there is one engine; on PostgreSQL it is whoever
/// listens on the same address of the same machine. If two of that name live after all, the elder loses what it works
/// on once, and both go on.
pub(super) fn place(config: &Config) -> Option<String> {
    match &config.database {
        Database::Sqlite(_) => Some("the only one".to_owned()),
        Database::Postgres(_) => {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
            Some(format!("{} {}", host.trim(), config.server.listen))
        }
    }
}

/// Whether it is time to say so again.
pub(super) fn is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last).unsigned_abs() >= EVERY)
}

fn most_of(budgets: &Budgets, of: fn(&Budget) -> u64) -> u64 {
    budgets.each().map(|(_, budget)| of(budget)).max().unwrap_or(0)
}

fn whole(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

fn count(units: i64) -> u64 {
    u64::try_from(units).unwrap_or(0)
}

/// What the other processes wish that were heard of.
fn wishes(others: &[Engine], heard_since: Timestamp) -> Vec<u64> {
    let living = others.iter().filter(|it| !it.has_ended && it.seen_at > heard_since);
    living.map(|it| count(it.wish)).collect()
}

/// What a process would like to spend that spent so much within the last minute, and found no room for a step of so
/// much.
fn wish(spent: u64, lacked: u64, others: &[Engine], heard_since: Timestamp) -> u64 {
    let wishes = wishes(others, heard_since);
    let growth = GROWTH / (u64::try_from(wishes.len()).unwrap_or(u64::MAX).saturating_add(1));
    let all = wishes.iter().fold(spent.saturating_add(growth), |sum, it| sum.saturating_add(*it));
    let growth = if all > WHOLE - GROWTH { growth.min(spent.saturating_mul(2).max(GROWTH_MIN)) } else { growth };
    spent.saturating_add(growth.max(lacked))
}

/// The part of a process that wishes so much: all of it if there is enough for everybody's wishes, else as much as
/// everybody gets who wishes more than that; and never more than the others left.
fn part(wish: u64, others: &[Engine], heard_since: Timestamp) -> u64 {
    let mut wishes = wishes(others, heard_since);
    wishes.push(wish);
    wishes.sort_unstable();
    let (mut left, mut fair) = (WHOLE - FREE, 0);
    for (number, wish) in wishes.iter().enumerate() {
        fair = left / u64::try_from(wishes.len() - number).unwrap_or(1).max(1);
        left -= fair.min(*wish);
    }
    let taken: u64 = others.iter().map(|it| count(it.most)).sum();
    let there = WHOLE.saturating_sub(taken);
    let there = if there > 2 * FREE { there - FREE } else { there / 2 };
    wish.min(fair).min(there)
}

/// Whether more was spent on a day than Google is believed to give, and it didn't refuse.
fn is_disproved(day: DayLimit, spent: u64) -> bool {
    spent > day.units.saturating_add(day.units / DISPROVED_PART)
}

/// What the operator has to know of a service's quota. `held` is a hold that lasts for long.
fn fault(budget: &Budget, held: Option<Timestamp>, now: Timestamp) -> Option<&'static str> {
    let is_till_tomorrow = held.is_some_and(|until| until >= day(now).1);
    if is_till_tomorrow || budget.day_is_nearly_used() { Some(DAY_USED) } else { held.map(|_| HELD) }
}

/// Raises a fault for the services that have it, or strikes it off.
async fn tell(
    tx: &mut Tx,
    kind: &'static str,
    faults: &[(&'static str, Option<&'static str>, Option<Timestamp>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let of_kind: Vec<_> = faults.iter().filter(|(_, fault, _)| *fault == Some(kind)).collect();
    if of_kind.is_empty() {
        operator_faults::clear(tx, kind).await?;
        return Ok(());
    }
    let services: Vec<&str> = of_kind.iter().map(|(service, ..)| *service).collect();
    let services = services.join(" and ");
    let detail = match (kind, of_kind.iter().filter_map(|(_, _, held)| *held).max()) {
        (DAY_USED, None) => format!(
            "Nearly all that Google gives this project for today is used up ({services}). Only new changes are read \
             until midnight in California."
        ),
        (_, None) => format!("Google wants no more questions for now ({services})."),
        (_, Some(until)) => format!(
            "Google refuses every question of this project until {until} ({services}): nothing is read until then. \
             Look at its quotas in the Google Cloud console: somebody may have set a lower limit, or another program \
             uses the same project. Once that is mended, `intail doctor --fix` lifts it."
        ),
    };
    operator_faults::raise(tx, kind, &detail, now).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;

    /// A few processes that attend in turn, each spending what it may of what it wants.
    struct Company(Vec<(Engine, u64)>);

    impl Company {
        fn starts(&mut self, wants: u64) {
            let id = self.0.len().to_string();
            self.0.push((Engine { id, seen_at: from_us(0), most: 0, wish: 0, has_ended: false }, wants));
        }

        fn attends(&mut self, number: usize, spent: u64) {
            let mut others: Vec<Engine> = self.0.iter().map(|(engine, _)| engine.clone()).collect();
            others.remove(number);
            let wish = wish(spent, 0, &others, from_us(-1));
            let most = part(wish, &others, from_us(-1)).max(spent);
            let engine = &mut self.0[number].0;
            (engine.most, engine.wish) = (whole(most), whole(wish));
        }

        fn most(&self, number: usize) -> u64 {
            count(self.0[number].0.most)
        }

        /// Everybody attends some times, and spends all that it may.
        fn go_on(&mut self, times: usize) {
            for _ in 0..times {
                for number in 0..self.0.len() {
                    // What was spent in the minute falls only as that passes: by a twelfth each time.
                    let (before, wants) = (self.most(number), self.0[number].1);
                    self.attends(number, before.min(wants) * 11 / 12);
                    self.holds();
                }
            }
        }

        fn holds(&self) {
            let sum: u64 = (0..self.0.len()).map(|it| self.most(it)).sum();
            assert!(sum <= WHOLE, "the parts add up to {sum}: {:?}", self.0);
        }
    }

    #[test]
    fn promise_8_the_parts_never_add_up_to_more_than_the_whole() {
        let mut company = Company(Vec::new());
        company.starts(WHOLE);
        company.go_on(12);
        assert_eq!(company.most(0), WHOLE - FREE, "alone, one may use nearly everything");
        for _ in 0..5 {
            company.starts(WHOLE);
            let newest = company.0.len() - 1;
            company.attends(newest, 0);
            company.holds();
            assert!(company.most(newest) > 0, "there is something for everybody who comes new");
        }
        company.go_on(60);
        for number in 0..6 {
            let part = company.most(number);
            assert!((140_000..=170_000).contains(&part), "six that want all get the same: {part}");
        }
    }

    #[test]
    fn who_is_idle_leaves_its_part_to_the_others_and_gets_it_back() {
        let mut company = Company(Vec::new());
        for wants in [WHOLE, 5_000, 5_000] {
            company.starts(wants);
        }
        company.go_on(60);
        // What an idle one keeps is a fiftieth.
        assert!(company.most(0) >= 945_000, "{:?}", company.0);
        company.0[1].1 = WHOLE;
        company.go_on(60);
        assert!((450_000..=500_000).contains(&company.most(1)), "{:?}", company.0);
        // Where there is enough for all, an idle one is ready for as much as comes at once.
        (company.0[0].1, company.0[1].1) = (5_000, 5_000);
        company.go_on(60);
        assert!((0..3).all(|it| company.most(it) >= GROWTH / 3), "{:?}", company.0);
    }

    #[test]
    fn a_day_is_believed_small_until_more_of_it_is_given() {
        let day = DayLimit { units: 1_000, until: from_us(0) };
        assert_eq!([1_000, 1_050, 1_051].map(|spent| is_disproved(day, spent)), [false, false, true]);
    }

    #[test]
    fn a_process_that_died_holds_what_it_may_have_spent_and_no_more() {
        let mut company = Company(Vec::new());
        company.starts(WHOLE);
        // It spent a hundredth, and dies.
        company.attends(0, 10_000);
        company.0[0].0.has_ended = true;
        company.starts(WHOLE);
        company.attends(1, 600_000);
        company.holds();
        assert_eq!(company.most(1), WHOLE - FREE - 10_000 - GROWTH, "its successor waits for nothing else");
    }
}

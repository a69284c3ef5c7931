//! What ordinary days cost at Google, in quota units of May 2026, beside what they would cost at the very least: 2 for
//! a page of history, 20 for a new message, 5 for 500 listed ones. What Intail spends above that is named here: the
//! look and the probe that follow activity (2 + 1), the audit (6), and the daily renewal of the watch.

use std::fmt::Write as _;
use std::time::Duration;

use intail::store::people::Person;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::compose::Compose;

use crate::harness::running::{Running, receive};

/// A scenario: its name, what it cost, its floor, and the most that is accepted above it.
struct Price {
    name: &'static str,
    units: u64,
    floor: u64,
    above_max: u64,
}

struct Scene {
    running: Running,
    person: Person,
    prices: Vec<Price>,
}

impl Scene {
    /// Plays something, lets everything that follows from it happen within 15 minutes, and adds up what it cost.
    async fn price(&mut self, name: &'static str, floor: u64, above_max: u64, play: impl AsyncFnOnce(&Running, &str)) {
        self.running.pass(Duration::from_secs(2));
        self.running.world(|world| world.calls.clear());
        play(&self.running, &self.person.email).await;
        for _ in 0..15 {
            self.running.work().await;
            self.running.pass(Duration::from_secs(60));
        }
        self.running.work().await;
        self.running.assert_nothing_is_lost(&self.person).await;
        let units = self.running.world(|world| world.calls.iter().map(|it| u64::from(it.units)).sum());
        self.prices.push(Price { name, units, floor, above_max });
    }
}

#[tokio::test]
async fn promise_8_ordinary_days_cost_little_more_than_their_floor() {
    let running = Running::start().await;
    running.approve();
    let email = running.employee();
    let person = running.connected(&email).await;
    running.settle().await;
    let newest: Vec<String> =
        running.world(|world| world.mailbox(&email).expect("there").newest_first().map(|it| it.id.clone()).collect());
    let one = |at: usize| One { id: newest[at].clone() };
    let mut scene = Scene { running, person, prices: Vec::new() };
    scene.price("a new message", 2 + 20, 8, async |it, email| drop(it.act(email, receive(1)))).await;
    scene.price("ten new messages", 2 + 200, 8, async |it, email| drop(it.act(email, receive(10)))).await;
    scene.price("a message is starred", 2, 8, async |it, email| drop(it.act(email, MailAction::Star(one(3))))).await;
    scene.price("a message is deleted", 2, 8, async |it, email| drop(it.act(email, MailAction::Delete(one(4))))).await;
    let autosaves = async |it: &Running, email: &str| {
        let mut earlier = None;
        for _ in 0..10 {
            it.pass(Duration::from_secs(2));
            let compose = Compose { to: "somebody@example.net".into(), ..Compose::default() };
            earlier = it.act(email, MailAction::Draft { earlier, compose }).ids.first().cloned();
            it.work().await;
        }
    };
    scene.price("a draft that is saved ten times", 10 * 2, 20, autosaves).await;
    let lost = async |it: &Running, email: &str| {
        it.world(|world| world.settings.notices.lost_percent = 100);
        it.act(email, receive(1));
        it.world(|world| world.settings.notices.lost_percent = 0);
        it.pass(Duration::from_secs(2));
        it.act(email, MailAction::Star(one(5)));
    };
    scene.price("a message whose notice is lost", 2 + 20, 8, lost).await;
    scene.price("a day of nothing", 0, 107, async |it, _| it.pass(Duration::from_secs(29 * 3600))).await;
    let mut table = String::new();
    for Price { name, units, floor, .. } in &scene.prices {
        let _ = writeln!(table, "{name:<36}{units:>6} units, {floor:>4} at least");
    }
    eprintln!("{table}");
    let dear: Vec<&str> =
        scene.prices.iter().filter(|it| it.units > it.floor + it.above_max).map(|it| it.name).collect();
    assert!(dear.is_empty(), "too dear: {dear:?}\n{table}");
}

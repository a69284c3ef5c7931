//! `cargo xtask bench growth [MESSAGES…]`: what the same changes cost when the store holds ten thousand messages, a
//! million and ten million, on SQLite. Ten mailboxes hold a tenth each; letters arrive, are starred and are deleted in
//! all of them by turns, and only the engine's own time counts.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::time::{Duration, Instant};

use company::{Failure, approve, arrive, company_of, copied_by, email, follow};
use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::random::Random;
use intail::store::mailboxes;
use intail::sync::Worker;
use intail_sandbox::action::{MailAction, One};
use intail_sandbox::{Options, Sandbox, WorldFile, WorldSource};
use tokio::net::TcpListener;

/// Messages in the store, unless the command says otherwise.
const SIZES: [i64; 3] = [10_000, 1_000_000, 10_000_000];
const MAILBOXES: usize = 10;
/// Letters; each brings three changes.
const LETTERS: usize = 150;
/// Letters before anything is measured.
const WARM_UP: usize = 20;
const START: &str = "2026-11-23T09:00:00Z";
const PRODUCT: &str = "http://127.0.0.1:8080";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let given: Vec<i64> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    let mut scenes = Vec::new();
    for size in if given.is_empty() { SIZES.to_vec() } else { given } {
        scenes.push((size, Scene::new(size).await?, Vec::new()));
    }
    // By turns: other programs on the machine then hit every size alike.
    for letter in 0..WARM_UP + LETTERS {
        for (_, scene, took) in &mut scenes {
            let measured = scene.letter(&email(letter % MAILBOXES)).await?;
            if letter >= WARM_UP {
                took.extend(measured);
            }
        }
    }
    let mut first = None;
    println!("{:>12}{:>14}{:>14}{:>10}", "messages", "p50, ms", "p90, ms", "ratio");
    for (size, scene, mut took) in scenes {
        took.sort();
        let at = |percent: usize| took[took.len() * percent / 100].as_secs_f64() * 1_000.0;
        let base = *first.get_or_insert(at(50));
        println!("{size:>12}{:>14.2}{:>14.2}{:>10.2}", at(50), at(90), at(50) / base);
        scene.app.store.close().await;
        scene.sandbox.stop().await;
    }
    Ok(())
}

/// A store of one size, and the company whose mail is in it.
struct Scene {
    sandbox: Sandbox,
    clock: Clock,
    app: App,
    worker: Worker,
    /// Goes with the scene.
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new(size: i64) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let clock = Clock::owned(START.parse()?);
        let sandbox = Sandbox::start(Options {
            clock: intail_sandbox::Clock::manual(START.parse()?),
            product_url: Some(PRODUCT.to_owned()),
            world: WorldSource::File(Box::new(WorldFile::parse(&company_of(MAILBOXES))?)),
            ..Options::new(TcpListener::bind("127.0.0.1:0").await?)
        })
        .await?;
        let config = demo::configuration(&sandbox, directory.path(), PRODUCT)?;
        let app = demo::product(&sandbox, config, clock.clone(), Random::seeded(1)).await?;
        approve(&sandbox, &app);
        for number in 0..MAILBOXES {
            follow(&sandbox, &app, &email(number)).await?;
        }
        let worker = Worker::new(&app);
        let scene = Self { sandbox, clock, app, worker, _directory: directory };
        copied_by(&scene.worker, &scene.app, |by| scene.pass(by)).await?;
        fill(&scene.app, size / i64::try_from(MAILBOXES)?).await?;
        Ok(scene)
    }

    /// A letter arrives, is starred and is deleted; how long the engine took for each.
    async fn letter(&self, address: &str) -> Result<[Duration; 3], Failure> {
        let id = arrive(&self.sandbox, address)?;
        let mut took = [change(&self.worker, &self.app, address).await?; 3];
        self.pass(Duration::from_secs(10));
        let one = || One { id: id.clone() };
        for (at, action) in [MailAction::Star(one()), MailAction::Delete(one())].iter().enumerate() {
            self.sandbox.world(|world| world.act(address, action))?;
            took[at + 1] = change(&self.worker, &self.app, address).await?;
            self.pass(Duration::from_secs(10));
        }
        Ok(took)
    }

    fn pass(&self, by: Duration) {
        self.sandbox.clock().advance(by);
        self.clock.advance(by);
    }
}

/// The engine takes up one change.
async fn change(worker: &Worker, app: &App, address: &str) -> Result<Duration, Failure> {
    let mut tx = app.store.write().await?;
    mailboxes::notice(&mut tx, &[(address, None)], app.clock.now()).await?;
    tx.commit().await?;
    let begun = Instant::now();
    worker.tick().await?;
    Ok(begun.elapsed())
}

/// Writes so many messages into each mailbox that nobody at Google has: the engine never looks at them.
async fn fill(app: &App, each: i64) -> Result<(), Failure> {
    for statement in [
        "INSERT INTO messages (organization_id, mailbox_id, message_id, thread_id, received_ms, size_bytes, history_id,
             labels, subject, sender_name, sender_address, headers, listing_pass)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         SELECT m.organization_id, m.id, 'f' || (1000000000 + n.i), 't' || (1000000000 + n.i / 3),
             1600000000000 + n.i * 1000, 4000, '00000000000000000001', '[\"INBOX\"]', 'About the matter of ' || n.i,
             'Somebody Else', 'somebody@example.net', '[]', 1
         FROM mailboxes m CROSS JOIN n",
        "INSERT INTO message_labels (organization_id, mailbox_id, label_id, received_ms, message_id)
         SELECT organization_id, mailbox_id, 'INBOX', received_ms, message_id FROM messages
         WHERE message_id > 'f1' AND $1 > 0",
    ] {
        let mut tx = app.store.write().await?;
        tx.run(statement, vec![each.into()]).await?;
        tx.commit().await?;
    }
    Ok(())
}

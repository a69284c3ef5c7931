//! `cargo xtask bench live [CHANGES]`: how long a change at Google takes until Intail's event is on the stream, beside
//! a bare client that makes the same round trips — pull, history, message, acknowledge — and stores nothing. Both run
//! in this process, by turns, over real HTTP, against the same false Google. Only the ratio travels to other machines.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told by its arguments and measures the machine's time")]

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod company;

use std::time::{Duration, Instant};

use company::{Failure, WAIT_MAX, access_key, approve, arrive, copied, follow, grant_at_google};
use intail::app::App;
use intail::cli::demo;
use intail::clock::Clock;
use intail::random::Random;
use intail::{notices, sync, web};
use intail_google::Caller;
use intail_google::pubsub::{Credentials, PubSub, SubscriptionSpec, decode_gmail_notice};
use intail_sandbox::{Options, Sandbox};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Changes measured on each side unless the command says otherwise.
const CHANGES: usize = 300;
/// Changes before that which only warm up.
const WARM_UP: usize = 20;
/// Whose mailbox Intail follows, and whose the bare client does.
const FOLLOWED: &str = "ines@example.com";
const BARE: &str = "kofi@example.com";
const KEY: &str = "intail_bench-key";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let changes = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(CHANGES);
    let directory = tempfile::tempdir()?;
    let (listener, google) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let address = format!("http://{}", listener.local_addr()?);
    let options = Options { product_url: Some(address.clone()), ..Options::new(google) };
    let sandbox = Sandbox::start(options).await?;
    sandbox.world(|world| world.settings.notices.gap_ms = 0);
    let config = demo::configuration(&sandbox, directory.path(), &address)?;
    let app = demo::product(&sandbox, config, Clock::machine(), Random::from_os()).await?;
    approve(&sandbox, &app);
    let followed = follow(&sandbox, &app, FOLLOWED).await?;
    access_key(&app, &followed, KEY).await?;

    let shutdown = CancellationToken::new();
    let mut parts = JoinSet::new();
    let (web_app, sync_app, pull_app) = (app.clone(), app.clone(), app.clone());
    let (web_end, sync_end, pull_end) = (shutdown.clone(), shutdown.clone(), shutdown.clone());
    parts.spawn(async move { web::serve(web_app, listener, web_end).await.map_err(|error| error.to_string()) });
    parts.spawn(async move { sync::run(&sync_app, sync_end).await.map_err(|error| error.to_string()) });
    parts.spawn(async move {
        notices::pull::run(&pull_app, &Credentials::anonymous(), pull_end).await;
        Ok(())
    });

    copied(&app).await?;
    let mut intail = stream(&address).await?;
    let mut bare = Bare::start(&sandbox, &app).await?;
    let (mut through_intail, mut through_bare) = (Vec::new(), Vec::new());
    for turn in 0..changes + WARM_UP {
        let took = (intail.change(&sandbox).await?, bare.change(&sandbox).await?);
        if turn >= WARM_UP {
            through_intail.push(took.0);
            through_bare.push(took.1);
        }
    }
    report(&mut through_intail, &mut through_bare);
    shutdown.cancel();
    while parts.join_next().await.is_some() {}
    sandbox.stop().await;
    Ok(())
}

/// A reader of Intail's stream, as a program of the person's would be.
struct Intail {
    answer: reqwest::Response,
    text: String,
}

async fn stream(address: &str) -> Result<Intail, Failure> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let request = http.get(format!("{address}/api/v1/changes/stream")).bearer_auth(KEY);
    Ok(Intail { answer: request.send().await?.error_for_status()?, text: String::new() })
}

impl Intail {
    async fn change(&mut self, sandbox: &Sandbox) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let id = arrive(sandbox, FOLLOWED)?;
        while !self.text.contains(&id) {
            let piece = tokio::time::timeout(WAIT_MAX, self.answer.chunk()).await??;
            self.text.push_str(&String::from_utf8_lossy(&piece.ok_or("the stream ended")?));
        }
        self.text.clear();
        Ok(begun.elapsed())
    }
}

/// The same round trips, and nothing else.
struct Bare {
    google: intail_google::Client,
    pubsub: PubSub,
    subscription: String,
    caller: Caller,
    cursor: u64,
}

impl Bare {
    async fn start(sandbox: &Sandbox, app: &App) -> Result<Self, Failure> {
        let (_, access, _) = grant_at_google(sandbox, app, BARE)?;
        let caller =
            Caller { access_token: SecretString::from(access), on_behalf: "bare".to_owned(), purpose: "bench" };
        let pubsub = app.google.pubsub(app.config.pubsub.endpoint.as_str(), &Credentials::anonymous());
        let subscription = format!("{}-bare", app.config.pubsub.subscription);
        let spec = SubscriptionSpec {
            name: subscription.clone(),
            topic: app.config.pubsub.topic.clone(),
            ack_deadline_s: 60,
            push: None,
        };
        pubsub.create_subscription(&spec).await?;
        let answer = app.google.gmail(&caller).watch(&app.config.pubsub.topic).await?;
        Ok(Self { google: app.google.clone(), pubsub, subscription, caller, cursor: answer.history_id })
    }

    async fn change(&mut self, sandbox: &Sandbox) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let id = arrive(sandbox, BARE)?;
        loop {
            let batch = self.pubsub.pull(&self.subscription, 100).await?;
            let acks: Vec<String> = batch.iter().map(|it| it.ack_id.clone()).collect();
            let mine = batch.iter().any(|it| decode_gmail_notice(&it.data).is_ok_and(|it| it.email_address == BARE));
            if mine {
                let gmail = self.google.gmail(&self.caller);
                let page = gmail.history(self.cursor, None).await?;
                self.cursor = page.history_id.unwrap_or(self.cursor);
                let added = page.records.iter().flat_map(|it| &it.added).map(|it| it.id.clone());
                let added: Vec<String> = added.collect();
                for message in &added {
                    gmail.message(message).await?;
                }
                self.pubsub.acknowledge(&self.subscription, &acks).await?;
                if added.contains(&id) {
                    return Ok(begun.elapsed());
                }
            } else if !acks.is_empty() {
                self.pubsub.acknowledge(&self.subscription, &acks).await?;
            }
        }
    }
}

fn report(intail: &mut [Duration], bare: &mut [Duration]) {
    let at = |all: &mut [Duration], percent: usize| {
        all.sort();
        all[(all.len() * percent / 100).min(all.len() - 1)].as_secs_f64() * 1_000.0
    };
    let rows = [50, 90, 99].map(|percent| (percent, at(intail, percent), at(bare, percent)));
    println!("{} changes each, by turns\n", intail.len());
    println!("{:<6}{:>16}{:>18}{:>10}", "", "Intail, ms", "bare client, ms", "ratio");
    for (percent, intail, bare) in rows {
        println!("{:<6}{intail:>16.2}{bare:>18.2}{:>10.2}", format!("p{percent}"), intail / bare);
    }
}

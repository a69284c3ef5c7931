//! The whole path over Google's own Pub/Sub emulator: watch → topic → subscription → the product's long polls → due
//! mark → engine → rows. What the false Google's Pub/Sub may have misread would show here.

use std::time::Duration;

use intail::notices;
use intail_google::pubsub::Credentials;
use tokio_util::sync::CancellationToken;

use crate::harness::emulator::Emulator;
use crate::harness::running::{Running, Setup, Ticks, receive};

/// How long one notice may take through the emulator. It takes milliseconds; this only ends a test that hangs.
const NOTICE_MAX: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_change_travels_through_google_s_own_pubsub_emulator() {
    let emulator = Emulator::start();
    let setup = Setup { outside_pubsub: Some(emulator.host().to_owned()), ..Setup::default() };
    let running = Running::start_with(setup).await;
    running.approve();
    let email = running.employee();
    let person = running.sign_in(&email).await;
    running.connect(&person, Ticks::All).await.expect("connected");

    let shutdown = CancellationToken::new();
    let credentials = Credentials::anonymous();
    let pulling = notices::pull::run(&running.app, &credentials, shutdown.clone());
    let scenario = async {
        // Setting the watch publishes one notice at once.
        running.copy_everything().await;
        running.pass(Duration::from_secs(2));
        running.act(&email, receive(1));
        while running.stored(&person).await.len() < running.truth(&email).len() {
            let rung = tokio::time::timeout(NOTICE_MAX, running.app.due.rung()).await;
            assert!(rung.is_ok(), "no notice came through the emulator");
            running.worker.tick().await.expect("the engine runs");
        }
        running.assert_nothing_is_lost(&person).await;
        let mailbox = running.mailbox(&person).await;
        assert!(mailbox.noticed_at.is_some(), "it was a notice, not a sweep");
        shutdown.cancel();
    };
    tokio::join!(pulling, scenario);
    let pulls = running.calls("pubsub.pull");
    assert_eq!(pulls, 0, "nothing went through the sandbox's own Pub/Sub");
}

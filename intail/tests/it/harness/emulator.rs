//! Google's own Pub/Sub emulator: a second opinion beside our sandbox. It keeps nothing, and ends with the test.

use std::net::TcpListener;
use std::process::Command;

use super::program::Program;
use super::variable;

/// A running emulator.
pub(crate) struct Emulator {
    host: String,
    _program: Program,
}

impl Emulator {
    /// Starts it on a free port and waits until it listens.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).expect("a free port").port();
        let mut command = Command::new(variable("INTAIL_TEST_JAVA"));
        command.args(["-Xmx256m", "-jar", &variable("INTAIL_TEST_PUBSUB_JAR"), "--host=127.0.0.1"]);
        command.arg(format!("--port={port}"));
        let listening = |line: &str| line.contains("Server started, listening on").then_some(());
        let (program, ()) = Program::start(&mut command, listening);
        Self { host: format!("127.0.0.1:{port}"), _program: program }
    }

    /// `host:port`, as `PUBSUB_EMULATOR_HOST` wants it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

#[tokio::test]
async fn googles_emulator_answers_over_http() {
    let emulator = Emulator::start();
    #[expect(clippy::disallowed_methods, reason = "a plain look from outside")]
    let answer = reqwest::get(format!("http://{}/", emulator.host())).await.unwrap();
    assert_eq!(answer.text().await.unwrap().trim(), "Ok");
}

//! A program that a test starts, waits for by what it prints, and kills at the end, also when the test panics.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A running program. Dropping it kills it and waits for its end.
pub(crate) struct Program(pub(crate) Child);

/// How long a program may take until it says that it is ready. Java on a busy machine with two cores takes ten seconds.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);

impl Program {
    /// Starts a program and returns what `ready` made of the first line that satisfied it.
    pub(crate) fn start<T: Send + 'static>(
        command: &mut Command,
        ready: impl Fn(&str) -> Option<T> + Clone + Send + 'static,
    ) -> (Self, T) {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name} could not be started: {error}"));
        let (sender, receiver) = mpsc::channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|pipe| Box::new(pipe) as _), child.stderr.take().map(|pipe| Box::new(pipe) as _)];
        for output in outputs.into_iter().flatten() {
            let (sender, ready) = (sender.clone(), ready.clone());
            // To the end, or else the program blocks on a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some(answer) = ready(&line) {
                        let _ = sender.send(answer);
                    }
                }
            });
        }
        drop(sender);
        let program = Self(child);
        let answer = receiver.recv_timeout(READY_WAIT_MAX);
        let answer = answer.unwrap_or_else(|_| panic!("{name} ended, or wasn't ready within {READY_WAIT_MAX:?}"));
        (program, answer)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

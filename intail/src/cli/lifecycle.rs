//! Runs the parts of a process side by side and ends them in two steps: asked to stop, every part finishes what it
//! holds; asked again, or after too long, everything ends at once. A part that ends by itself ends the process with a
//! failure: a supervisor starts it again, and nobody runs on half a product. What is cut off is repeated: nothing
//! relies on an ending.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::clock::Clock;

/// How long parts may take to end. Longer than any call to Google that they may be waiting for.
const ENDING_TIME_MAX: Duration = Duration::from_secs(35);

/// A part of a process: its name, and its work, which ends soon after the shutdown token that it was given is
/// cancelled.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) work: BoxFuture<'static, Result<(), CliError>>,
}

impl Part {
    pub(super) fn new(name: &'static str, work: impl Future<Output = Result<(), CliError>> + Send + 'static) -> Self {
        Self { name, work: Box::pin(work) }
    }
}

/// Runs until somebody asks to stop or a part ends.
pub(super) async fn run(
    parts: Vec<Part>,
    shutdown: CancellationToken,
    stop: &mut BoxStream<'static, ()>,
    clock: &Clock,
) -> Result<(), CliError> {
    let mut running = Running::start(parts);
    let failed = tokio::select! {
        failed = running.first_end() => Some(failed),
        () = asked(stop) => None,
    };
    tracing::info!("ending");
    shutdown.cancel();
    let ended = tokio::select! {
        failed = running.all_ended() => failed.map_or(Ok(()), Err),
        () = asked(stop) => Err(CliError::new("Stopped at once, as asked twice. The next start does the rest again.")),
        () = clock.sleep(ENDING_TIME_MAX) => Err(CliError::new("Some parts took too long to end and were cut off.")),
    };
    failed.map_or(ended, Err)
}

/// Returns when somebody asks to stop.
async fn asked(stop: &mut BoxStream<'static, ()>) {
    if stop.next().await.is_none() {
        // Nobody is left who could ask.
        std::future::pending().await
    }
}

/// Parts that run; dropping it cuts them off.
struct Running {
    tasks: JoinSet<Result<(), CliError>>,
    names: HashMap<Id, &'static str>,
}

impl Running {
    fn start(parts: Vec<Part>) -> Self {
        let mut tasks = JoinSet::new();
        let names = parts.into_iter().map(|part| (tasks.spawn(part.work).id(), part.name)).collect();
        Self { tasks, names }
    }

    /// The first end of a part, as the failure that it is.
    async fn first_end(&mut self) -> CliError {
        match self.tasks.join_next_with_id().await {
            Some(ended) => {
                self.failure(ended).unwrap_or_else(|name| CliError::new(format!("The part {name} ended by itself.")))
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for all; answers the first failure.
    async fn all_ended(&mut self) -> Option<CliError> {
        let mut first = None;
        while let Some(ended) = self.tasks.join_next_with_id().await {
            first = first.or(self.failure(ended).ok());
        }
        first
    }

    /// A part's failure, or its name if it didn't fail.
    fn failure(&self, ended: Result<(Id, Result<(), CliError>), JoinError>) -> Result<CliError, &'static str> {
        let name = |id: Id| self.names.get(&id).copied().unwrap_or("unknown");
        match ended {
            Ok((id, Ok(()))) => Err(name(id)),
            Ok((_, Err(error))) => Ok(error),
            Err(error) => {
                let sentence =
                    format!("The part {} crashed. This is a mistake in Intail; please report it.", name(error.id()));
                Ok(CliError::new(sentence).caused_by(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::clock::from_us;

    /// Somebody who asks so many times to stop.
    fn asking(times: usize) -> BoxStream<'static, ()> {
        stream::iter(std::iter::repeat_n((), times)).chain(stream::pending()).boxed()
    }

    fn clock() -> Clock {
        Clock::owned(from_us(0))
    }

    fn until(token: &CancellationToken) -> Part {
        let token = token.clone();
        Part::new("patient", async move {
            token.cancelled().await;
            Ok(())
        })
    }

    fn stubborn() -> Part {
        Part::new("stubborn", std::future::pending())
    }

    #[tokio::test]
    async fn asked_once_every_part_ends_well() {
        let shutdown = CancellationToken::new();
        let parts = vec![until(&shutdown), until(&shutdown)];
        run(parts, shutdown, &mut asking(1), &clock()).await.expect("all ended");
    }

    #[tokio::test]
    async fn asked_twice_nobody_is_waited_for() {
        let ended = run(vec![stubborn()], CancellationToken::new(), &mut asking(2), &clock()).await;
        let error = ended.expect_err("cut off");
        assert!(error.to_string().starts_with("Stopped at once"), "{error}");
    }

    #[tokio::test]
    async fn a_part_that_does_not_end_is_cut_off_in_time() {
        let (shutdown, clock) = (CancellationToken::new(), clock());
        let late = async {
            shutdown.cancelled().await;
            clock.advance(ENDING_TIME_MAX);
        };
        let mut stop = asking(1);
        let (ended, ()) = tokio::join!(run(vec![stubborn()], shutdown.clone(), &mut stop, &clock), late);
        let error = ended.expect_err("cut off");
        assert!(error.to_string().contains("took too long"), "{error}");
    }

    #[tokio::test]
    async fn a_part_that_fails_ends_the_others_and_the_process() {
        for (part, word) in [
            (Part::new("web", async { Err(CliError::new("The port is gone.")) }), "The port is gone."),
            (Part::new("web", async { Ok(()) }), "The part web ended by itself."),
            (Part::new("web", async { panic!("a test's panic") }), "The part web crashed."),
        ] {
            let shutdown = CancellationToken::new();
            let ended = run(vec![until(&shutdown), part], shutdown.clone(), &mut asking(0), &clock()).await;
            let error = ended.expect_err("a failure");
            assert!(error.to_string().starts_with(word), "{error}");
            assert!(shutdown.is_cancelled());
        }
    }
}

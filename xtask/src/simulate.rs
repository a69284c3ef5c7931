//! `cargo xtask simulate`: plays seeds of the simulation, in release mode. A failing seed prints its steps, and
//! `--seed S --seeds 1` plays it again exactly.

use anyhow::{Context as _, bail};

use crate::{cargo, finish};

/// Runs it. `words` come after the command.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["test", "--release", "--package", "intail", "--test", "it", "--"]);
    command.args(["promises_1_to_5_hold_on_every_seed_of_the_simulation", "--nocapture"]);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let variable = match *word {
            "--seeds" => "INTAIL_SIMULATE_SEEDS",
            "--seed" => "INTAIL_SIMULATE_SEED",
            other => bail!("cargo xtask simulate doesn't know {other}; it knows --seeds N and --seed S"),
        };
        let number: u64 =
            rest.next().and_then(|it| it.parse().ok()).with_context(|| format!("{word} needs a number"))?;
        command.env(variable, number.to_string());
    }
    finish(&mut command)
}

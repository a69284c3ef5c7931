//! `cargo xtask mutate`: breaks the engine on purpose, one way at a time, and shows that the simulation notices each,
//! and that it notices nothing while nothing is broken.
//! What it changes it puts back, also when it is interrupted by an error; run it on a clean tree all the same. The list
//! in `docs/mutations.md` is also the documentation of what the simulation is good for.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::{cargo, root};

/// Seeds that a mutation has to be noticed in.
const SEEDS: &str = "400";
/// What every seed that fails says: nothing else counts as noticing.
const STORY: &str = ", step by step:";

/// One way to break the engine.
struct Mutation {
    name: String,
    edits: Vec<Edit>,
}

impl Mutation {
    fn none() -> Self {
        Self { name: String::from("nothing is broken"), edits: Vec::new() }
    }
}

/// One text that becomes another.
struct Edit {
    file: PathBuf,
    replace: String,
    with: String,
}

/// A file that is put back when this goes.
struct Changed {
    path: PathBuf,
    before: String,
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(&self.path, &self.before) {
            eprintln!("{} could not be put back: {error}; `git checkout` it", self.path.display());
        }
    }
}

/// Runs all mutations, or those whose name contains `only`.
pub(crate) fn run(only: Option<&str>) -> anyhow::Result<()> {
    let mutations = read(&root().join("docs/mutations.md"))?;
    ensure!(!is_noticed(&Mutation::none())?, "a seed fails on the engine as it is: that comes first");
    let mut missed = Vec::new();
    for mutation in mutations.iter().filter(|it| only.is_none_or(|only| it.name.contains(only))) {
        let start = Instant::now();
        let noticed = is_noticed(mutation).with_context(|| mutation.name.clone())?;
        let word = if noticed { "noticed" } else { "NOT NOTICED" };
        println!("{word:<12}{:>6.0} s  {}", start.elapsed().as_secs_f64(), mutation.name);
        if !noticed {
            missed.push(mutation.name.clone());
        }
    }
    ensure!(missed.is_empty(), "the simulation doesn't notice: {}", missed.join(", "));
    Ok(())
}

fn is_noticed(mutation: &Mutation) -> anyhow::Result<bool> {
    let mut changed = Vec::new();
    for Edit { file, replace, with } in &mutation.edits {
        let before = std::fs::read_to_string(file)?;
        ensure!(before.matches(replace).count() == 1, "this must be there exactly once:\n{replace}");
        let after = before.replace(replace, with);
        // Put back in the opposite order, should a file be edited twice.
        changed.insert(0, Changed { path: file.clone(), before });
        std::fs::write(file, after)?;
    }
    let mut build = cargo();
    build.args(["test", "--quiet", "--package", "intail", "--test", "it", "--no-run"]);
    ensure!(build.status()?.success(), "the mutated engine doesn't build");
    let mut play = cargo();
    play.args(["test", "--quiet", "--package", "intail", "--test", "it", "--"]);
    play.arg("promises_1_to_5_hold_on_every_seed_of_the_simulation").env("INTAIL_SIMULATE_SEEDS", SEEDS);
    let output = play.output()?;
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    let is_told = said.contains(STORY);
    ensure!(output.status.success() != is_told, "the simulation ended otherwise than by a seed:\n{said}");
    Ok(is_told)
}

/// Reads the list: below each heading, pairs of blocks, before and after; the file is named in backquotes above a pair.
fn read(path: &Path) -> anyhow::Result<Vec<Mutation>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut mutations = Vec::new();
    for part in text.split("\n## ").skip(1) {
        let name = part.lines().next().unwrap_or_default().to_owned();
        let mut pieces = part.split("```");
        let mut edits = Vec::new();
        while let (Some(words), Some(before)) = (pieces.next(), pieces.next()) {
            let (Some(_), Some(after)) = (pieces.next(), pieces.next()) else {
                bail!("{name}: a block before and one after");
            };
            let file = words.rsplit('`').nth(1).with_context(|| format!("{name}: which file?"))?;
            let code = |block: &str| block.trim_start_matches("rust\n").to_owned();
            edits.push(Edit { file: root().join(file), replace: code(before), with: code(after) });
        }
        mutations.push(Mutation { name, edits });
    }
    Ok(mutations)
}

//! `intail keys`: which keys seal this Intail's secrets, how they are rotated while it runs, and how an old one is
//! retired. Why it goes this way: `docs/decisions/0018-keys-are-rotated-in-two-phases.md`.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::table::table;
use super::{CliError, ConfigFile, Outcome, Surroundings, open_existing, presence};
use crate::config::Config;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::seal::rotation::{self, Pass};
use crate::seal::{Keyring, SealError};
use crate::store::key_proofs::{self, KeyProof};
use crate::store::processes::Process;
use crate::store::{Store, StoreError, Tx, organizations, sealed};

/// The most organizations whose log is written to, as many as anywhere.
const ORGANIZATIONS_MAX: i64 = 10_000;
/// How long running processes may take to read a new key, or to seal under it: several of their looks.
const WAIT_MAX: Duration = Duration::from_secs(45);
/// Passes over everything before a rotation gives up: each later one finds only what was written during the one before.
const PASSES_MAX: usize = 20;
/// How long a key stays after another one took its place: links that were signed with it are good for 28 days at most,
/// and no process stands still for so long and then goes on.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);

/// `intail keys …`
#[derive(Debug, Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Lists the keys, and how many secrets are sealed under each
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Makes a new key and seals every secret under it, while Intail runs; run again, it goes on where it was
    Rotate {
        #[command(flatten)]
        config: ConfigFile,
        /// Only adds the new key to the key file, so that you can copy the file to Intail's other machines first
        #[arg(long)]
        prepare: bool,
    },
    /// Takes a key out of the file that nothing is sealed under, 30 days after another took its place
    Retire {
        #[command(flatten)]
        config: ConfigFile,
        /// The key's id
        key: String,
    },
}

/// Runs it.
pub(super) async fn run(arguments: KeysArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    let (KeysCommand::List { config } | KeysCommand::Rotate { config, .. } | KeysCommand::Retire { config, .. }) =
        &arguments.command;
    let loaded = config.load(&surroundings)?;
    let store = open_existing(&loaded).await?;
    let ended = run_on(&arguments.command, &loaded, &store, &mut surroundings).await;
    store.close().await;
    ended
}

async fn run_on(
    command: &KeysCommand,
    config: &Config,
    store: &Store,
    around: &mut Surroundings,
) -> Result<Outcome, CliError> {
    let proofs = proofs(store).await?;
    if proofs.is_empty() {
        return Err(CliError::new("Nothing is sealed in this database yet, so it has no key.")
            .hint("`intail serve` makes the key file at its first start."));
    }
    let keyring = Keyring::open(&config.keys.file, store, &around.random, around.clock.now()).await?;
    match command {
        KeysCommand::List { .. } => list(&keyring, &proofs, store, around).await,
        KeysCommand::Rotate { config: file, prepare } => {
            let rotation = Rotation { keyring, store, again: format!("`intail keys rotate{}`", file.option()) };
            if *prepare { rotation.prepare(&proofs, around) } else { rotation.run(proofs, around).await }
        }
        KeysCommand::Retire { key, .. } => retire(&keyring, store, around, key).await,
    }
}

async fn proofs(store: &Store) -> Result<Vec<KeyProof>, StoreError> {
    let mut tx = store.read().await?;
    key_proofs::list(&mut tx).await
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

async fn list(
    keyring: &Keyring,
    proofs: &[KeyProof],
    store: &Store,
    around: &mut Surroundings,
) -> Result<Outcome, CliError> {
    let mut rows = Vec::new();
    let mut tx = store.read().await?;
    for (at, proof) in proofs.iter().enumerate() {
        let count = sealed::count(&mut tx, &proof.key_id).await?;
        let does = match (at + 1 == proofs.len(), proof.resealed_at.is_some()) {
            (true, true) => "seals",
            (true, false) => "seals; the rotation to it isn't finished",
            (false, _) => "opens",
        };
        rows.push([proof.key_id.clone(), day(proof.created_at), count.to_string(), does.to_owned()]);
    }
    drop(tx);
    for id in keyring.ids().into_iter().filter(|id| proofs.iter().all(|it| it.key_id != *id)) {
        let waits = keyring.waiting(proofs).as_ref() == Some(&id);
        let does = if waits { "waits for a rotation" } else { "is in the file only" };
        rows.push([id, "-".to_owned(), "0".to_owned(), does.to_owned()]);
    }
    write!(around.output, "{}", table(["key", "in use since", "secrets", "what it does"], &rows))?;
    Ok(Outcome::Done)
}

/// Writes an entry about keys into every organization's log: what is sealed is everybody's.
async fn record(tx: &mut Tx, action: &'static str, key: &str, detail: &Json, now: Timestamp) -> Result<(), StoreError> {
    let mut all = organizations::list(tx, ORGANIZATIONS_MAX).await?;
    // In one order: two who write to several logs don't wait for each other for ever.
    all.sort_by(|left, right| left.id.cmp(&right.id));
    for organization in all {
        let (actor, origin, detail) = (Actor::Operator, Origin::Cli, detail.clone());
        let entry = Entry { organization: &organization.id, actor, action, about: key, origin, detail };
        audit::record(tx, entry, now).await?;
    }
    Ok(())
}

struct Rotation<'a> {
    keyring: Keyring,
    store: &'a Store,
    /// How it is called again.
    again: String,
}

impl Rotation<'_> {
    fn prepare(&self, proofs: &[KeyProof], around: &mut Surroundings) -> Result<Outcome, CliError> {
        if let Some(unfinished) = proofs.last().filter(|it| it.resealed_at.is_none()) {
            return Err(CliError::new(format!("The rotation to key {} isn't finished.", unfinished.key_id))
                .hint(format!("{} finishes it.", self.again)));
        }
        let key = self.keyring.add(proofs, &around.random)?;
        writeln!(
            around.output,
            "Key {key} is in the key file and isn't used yet. Copy the file to every machine that Intail runs on; then \
             run {}.",
            self.again
        )?;
        Ok(Outcome::Done)
    }

    async fn run(&self, proofs: Vec<KeyProof>, around: &mut Surroundings) -> Result<Outcome, CliError> {
        let Some(newest) = proofs.last() else { return Err(SealError::NotOpened.into()) };
        let key = if newest.resealed_at.is_none() {
            writeln!(around.output, "Going on with the rotation to key {}.", newest.key_id)?;
            newest.key_id.clone()
        } else {
            self.begin(&proofs, &newest.key_id, around).await?
        };
        self.keyring.look(self.store).await?;
        let seals_under_older = |it: &Process| it.seals_under != key;
        let first = rotation::pass(&self.keyring, self.store).await?;
        let behind = presence::wait_for(self.store, &around.clock, WAIT_MAX, seals_under_older).await?;
        if !behind.is_empty() {
            return Err(CliError::new(format!(
                "Running processes still seal under an older key ({}); nothing is lost by that.",
                behind.join("; ")
            ))
            .hint("See their logs, or restart them. One that was killed counts as running for two minutes.")
            .hint(format!("Then run {} again: it goes on.", self.again)));
        }
        let (resealed, last) = self.to_the_end(first).await?;
        self.finish(&key, around.clock.now()).await?;
        let opening: Vec<&str> = proofs.iter().map(|it| it.key_id.as_str()).filter(|it| *it != key).collect();
        writeln!(
            around.output,
            "Every secret is sealed under key {key}; {resealed} were sealed again. Older keys stay in the file, for \
             links that were signed with them: {}.",
            opening.join(", ")
        )?;
        if last.unopened == 0 {
            return Ok(Outcome::Done);
        }
        writeln!(
            around.output,
            "{} secrets can't be opened with any key in the file and were left as they are: {}.",
            last.unopened,
            last.named.join(", ")
        )?;
        Ok(Outcome::Problems)
    }

    /// Puts a new key in use once everybody who runs holds it. Answers its id.
    async fn begin(&self, proofs: &[KeyProof], before: &str, around: &mut Surroundings) -> Result<String, CliError> {
        let key = match self.keyring.waiting(proofs) {
            Some(key) => key,
            None => self.keyring.add(proofs, &around.random)?,
        };
        let mark = self.keyring.mark_of(&key);
        let lacks = |it: &Process| it.holds.iter().all(|held| Some(held) != mark.as_ref());
        let behind = presence::wait_for(self.store, &around.clock, WAIT_MAX, lacks).await?;
        if !behind.is_empty() {
            return Err(CliError::new(format!(
                "Key {key} isn't used yet: running processes don't hold it ({}).",
                behind.join("; ")
            ))
            .hint(format!(
                "Copy the key file to their machines; they read it within seconds. Then run {} again.",
                self.again
            )));
        }
        let now = around.clock.now();
        let mut tx = self.store.write().await?;
        let is_first = self.keyring.put_in_use(&mut tx, &key, before, now).await?;
        if is_first {
            record(&mut tx, "key.put_in_use", &key, &json!({"before": before}), now).await?;
        }
        tx.commit().await?;
        let newest = self::proofs(self.store).await?.pop().map(|it| it.key_id);
        match newest {
            Some(newest) if newest == key => Ok(key),
            // Another rotation was faster; with the same file it is the same key.
            _ => Err(CliError::new("Somebody else rotated the keys at the same time, with another key file.")
                .hint("Bring both files together, with the lines of both, and copy the result to every machine.")),
        }
    }

    /// Passes until one finds nothing to do. Answers how many texts were sealed again, and the last pass.
    async fn to_the_end(&self, first: Pass) -> Result<(u64, Pass), CliError> {
        let mut resealed = first.resealed;
        for _ in 0..PASSES_MAX {
            let pass = rotation::pass(&self.keyring, self.store).await?;
            resealed += pass.resealed;
            if pass.resealed + pass.overtaken == 0 {
                return Ok((resealed, pass));
            }
        }
        Err(CliError::new("Somebody goes on sealing secrets under an older key; nothing is lost by that.")
            .hint("A process that doesn't say that it runs does so: an older version of Intail? End it first.")
            .hint(format!("Then run {} again: it goes on.", self.again)))
    }

    async fn finish(&self, key: &str, now: Timestamp) -> Result<(), CliError> {
        let mut tx = self.store.write().await?;
        if key_proofs::resealed(&mut tx, key, now).await? {
            record(&mut tx, "key.rotated", key, &json!({}), now).await?;
        }
        tx.commit().await?;
        // What was sealed under the old key goes out of the files, too.
        self.store.scrub().await?;
        Ok(())
    }
}

async fn retire(keyring: &Keyring, store: &Store, around: &mut Surroundings, key: &str) -> Result<Outcome, CliError> {
    let now = around.clock.now();
    let mut tx = store.write().await?;
    key_proofs::hold(&mut tx).await?;
    let proofs = key_proofs::list(&mut tx).await?;
    let stays = |why: String| CliError::new(format!("Key {key} stays: {why}"));
    match proofs.iter().position(|it| it.key_id == key) {
        // A retirement that broke off, or a copy of the file on another machine.
        None if keyring.ids().iter().any(|it| it == key) && keyring.waiting(&proofs).as_deref() != Some(key) => {}
        None => {
            return Err(CliError::new(format!("There is no key {key} that could be retired."))
                .hint("`intail keys list` shows those that there are."));
        }
        Some(at) => {
            let Some(next) = proofs.get(at + 1) else {
                return Err(stays("it is the one that seals.".to_owned()).hint("Rotate first: `intail keys rotate`."));
            };
            let until = next.created_at.saturating_add(KEPT_FOR).unwrap_or(Timestamp::MAX);
            if until > now {
                return Err(stays(format!(
                    "links that were signed with it may be in use until {}.",
                    until.strftime("%Y-%m-%d")
                )));
            }
            let count = sealed::count(&mut tx, key).await?;
            if count > 0 {
                return Err(stays(format!("{count} secrets are sealed under it."))
                    .hint("`intail keys rotate` seals them again."));
            }
            let running = presence::running(&mut tx, now).await?;
            if let Some(process) = running.iter().find(|it| it.seals_under == key) {
                return Err(stays(format!("a running process seals under it ({}).", process.name))
                    .hint("See its log, or restart it."));
            }
            key_proofs::remove(&mut tx, key).await?;
            record(&mut tx, "key.retired", key, &json!({}), now).await?;
        }
    }
    tx.commit().await?;
    keyring.remove(key, &around.random).map_err(|error| {
        CliError::from(error).hint(format!("The database has forgotten key {key}: take its line out by hand."))
    })?;
    writeln!(
        around.output,
        "Key {key} is out of the key file. Backups from before it was replaced need it: keep a copy of the old file as \
         long as you keep those. Copies of the file on other machines still hold it."
    )?;
    Ok(Outcome::Done)
}

//! `intail backup` and `intail restore`: everything that Intail keeps, as it was at one moment, in one file that is
//! restored into either database. Why the file is a SQLite database: `docs/decisions/0019-a-backup-is-a-database.md`.
//!
//! What a reader must not break: a backup gets its name when it is whole and was read once again; a restored database
//! is whole or empty; and the key file is never in a backup.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{CliError, ConfigFile, Outcome, Surroundings, assemble, copying, sentence};
use crate::config::Config;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::seal::Keyring;
use crate::store::whole::{self, Mark, Table};
use crate::store::{Store, StoreError, Tx, key_proofs, newest_version, organizations};

/// The most organizations whose log is written to, as many as anywhere.
const ORGANIZATIONS_MAX: i64 = 10_000;
/// Which Intail made a backup.
const MADE_BY: &str = concat!("intail ", env!("CARGO_PKG_VERSION"));

/// `intail backup …`
#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The file that is made; the key file isn't in it, and is kept elsewhere
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// `intail restore …`
#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The backup; the key file has to be in its place before
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

/// Makes a backup.
pub(super) async fn backup(arguments: BackupArguments, mut around: Surroundings) -> Result<Outcome, CliError> {
    let config = arguments.config.load(&around)?;
    let file = around.working_directory.join(&arguments.to);
    let (store, version) = copying::connect(&config).await?;
    let made = match version <= newest_version() {
        true => make(&store, version, &file, around.clock.now()).await,
        false => Err(CliError::new("A newer Intail uses this database.").hint("Make the backup with that version.")),
    };
    store.close().await;
    let mark = made?;
    writeln!(
        around.output,
        "{} is a backup of {} ({} rows in {} tables), and was read once again. What people let Intail read is in it as \
         plain text, tokens are sealed.\nThe key file isn't in it: keep a copy of {} elsewhere. Without it, a backup \
         can't be restored.",
        file.display(),
        shown(mark.made_at),
        mark.parts.iter().map(|it| it.rows).sum::<i64>(),
        mark.parts.len(),
        config.keys.file.display()
    )?;
    Ok(Outcome::Done)
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

async fn make(store: &Store, version: i64, file: &Path, now: Timestamp) -> Result<Mark, CliError> {
    let partial = Partial::create(file)?;
    let copy = Store::connect(copying::sqlite(&partial.path).expose_secret()).await?;
    let filled = fill(store, &copy, version, now).await;
    copy.close().await;
    filled.map_err(|error| {
        CliError::new("The backup couldn't be written to its end; nothing is left of it.")
            .hint("Check that there is room on the disk. RUST_LOG=debug shows what the database said.")
            .caused_by(error)
    })?;
    // What was written is what is read: from the disk, as whoever restores it will.
    let (read, mark, _) = open(&partial.path).await?;
    read.close().await;
    partial.finish(file)?;
    Ok(mark)
}

async fn fill(store: &Store, copy: &Store, version: i64, now: Timestamp) -> Result<(), StoreError> {
    copy.migrate(version).await?;
    let mut to = copy.write().await?;
    let tables = whole::tables(&mut to).await?;
    whole::clear_seeds(&mut to).await?;
    to.commit().await?;
    let mut from = store.read().await?;
    for table in &tables {
        let mut last = None;
        loop {
            let page = whole::page(&mut from, table, last.as_ref()).await?;
            let Some(row) = page.last() else { break };
            last = Some(row.clone());
            // A commit for each page: the file's log stays short.
            let mut to = copy.write().await?;
            whole::insert(&mut to, table, page).await?;
            to.commit().await?;
        }
    }
    drop(from);
    let mut to = copy.write().await?;
    let mut parts = Vec::new();
    for table in &tables {
        parts.push(whole::part(&mut to, table).await?);
    }
    whole::mark(&mut to, now, MADE_BY, &parts).await?;
    to.commit().await
}

/// A backup that isn't whole yet: a file beside the one that it will be. Dropped before the end, it goes.
struct Partial {
    path: PathBuf,
    is_whole: bool,
}

impl Partial {
    fn create(file: &Path) -> Result<Self, CliError> {
        if file.symlink_metadata().is_ok() {
            return Err(CliError::misused(format!("{} is there already.", file.display()))
                .hint("Name another file: a backup is never written over something."));
        }
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let path = file.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Ok(_) => Ok(Self { path, is_whole: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CliError::new(format!(
                "{} is there already: a backup to this file is being made, or broke off.",
                path.display()
            ))
            .hint("If none is being made, delete it and what lies beside it under its name, or name another file.")
            .caused_by(error)),
            Err(error) => Err(CliError::misused(format!("{} can't be made.", file.display()))
                .hint("Check that its folder exists, that this user may write there, and that the disk isn't full.")
                .caused_by(error)),
        }
    }

    fn finish(mut self, file: &Path) -> Result<(), CliError> {
        let named = || {
            File::open(&self.path)?.sync_all()?;
            std::fs::rename(&self.path, file)?;
            match file.parent().filter(|it| !it.as_os_str().is_empty()) {
                Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
                _ => Ok(()),
            }
        };
        named().map_err(|error: io::Error| {
            CliError::new(format!("The backup can't be brought to the disk as {}.", file.display())).caused_by(error)
        })?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_whole {
            // Whatever of it is there.
            for end in ["", "-wal", "-shm", "-journal"] {
                let mut name = self.path.clone().into_os_string();
                name.push(end);
                let _ = std::fs::remove_file(PathBuf::from(name));
            }
        }
    }
}

/// Opens a backup and reads all of it: whole and unchanged, or a sentence.
async fn open(file: &Path) -> Result<(Store, Mark, Vec<Table>), CliError> {
    let broken = |why: &str| {
        CliError::new(format!("{} can't be used as a backup: {why}.", file.display()))
            .hint("Use another backup, or another copy of this one.")
    };
    let not_one = "it is no backup of Intail, or was cut off before its end";
    if let Err(error) = File::open(file) {
        return Err(CliError::misused(format!("{} can't be read.", file.display()))
            .hint("Check that it exists, and that this user may read it.")
            .caused_by(error));
    }
    let store = Store::open_unchanged(file).await.map_err(|error| broken(not_one).caused_by(error))?;
    let read = async {
        let mut tx = store.read().await?;
        let mark = whole::marked(&mut tx).await?;
        let tables = whole::tables(&mut tx).await?;
        let mut parts = Vec::new();
        for table in tables.iter().filter(|_| mark.is_some()) {
            parts.push(whole::part(&mut tx, table).await?);
        }
        parts.sort_by(|left, right| left.name.cmp(&right.name));
        Ok::<_, StoreError>((mark, tables, parts))
    };
    match read.await {
        Ok((Some(mark), tables, parts)) if mark.parts == parts => Ok((store, mark, tables)),
        Ok((Some(mark), _, parts)) => {
            store.close().await;
            let differing = mark.parts.iter().find(|it| !parts.contains(it));
            let name = differing.map_or("a table", |it| it.name.as_str());
            Err(broken(&format!("its table {name} isn't what was backed up")))
        }
        Ok((None, ..)) => {
            store.close().await;
            Err(broken(not_one))
        }
        Err(error) => {
            store.close().await;
            Err(broken("it was cut off or changed").caused_by(error))
        }
    }
}

/// Restores a backup.
pub(super) async fn restore(arguments: RestoreArguments, mut around: Surroundings) -> Result<Outcome, CliError> {
    let config = arguments.config.load(&around)?;
    let file = around.working_directory.join(&arguments.from);
    let (backup, mark, tables) = open(&file).await?;
    let now = around.clock.now();
    let restored = restore_into(&config, &backup, &mark, &tables, now).await;
    backup.close().await;
    let rows = restored?;
    writeln!(
        around.output,
        "What the backup of {} held is in the database ({}): {rows} rows in {} tables, each counted. `intail serve` \
         goes on from there.\n\
         - Everybody signs in again.\n\
         - What was taken back after the backup is there again: people who left, access keys, roles, invitations. Look \
         through them before you let anybody in; let go again who left.\n\
         - Programs that had read the feed further than the backup are told to begin anew.",
        shown(mark.made_at),
        config.database,
        tables.len()
    )?;
    Ok(Outcome::Done)
}

async fn restore_into(
    config: &Config,
    backup: &Store,
    mark: &Mark,
    tables: &[Table],
    now: Timestamp,
) -> Result<i64, CliError> {
    let version = whole::version(backup).await?.unwrap_or(0);
    if version > newest_version() {
        return Err(CliError::new(format!("A newer Intail made this backup ({}).", mark.made_by))
            .hint("Restore it with that version, or with a newer one."));
    }
    let mut from = backup.read().await?;
    // Before anything is written: without its keys, what is restored is of no use.
    let proofs = key_proofs::list(&mut from).await?;
    if !proofs.is_empty() {
        Keyring::of_file(&config.keys.file, &proofs).map_err(|error| {
            CliError::new(format!("This backup can't be restored without its key file. {}", sentence(&error)))
                .hint("keys.file in the configuration says where it belongs: put the copy there, and try again.")
                .caused_by(error)
        })?;
    }
    let store = Store::connect(assemble::database_url(&config.database).expose_secret()).await?;
    let copied = copy(config, &store, version, &mut from, tables, mark, now).await;
    store.close().await;
    copied
}

async fn copy(
    config: &Config,
    store: &Store,
    version: i64,
    from: &mut Tx,
    tables: &[Table],
    mark: &Mark,
    now: Timestamp,
) -> Result<i64, CliError> {
    let named = config.database.to_string();
    copying::prepare(store, version, tables, &named).await?;
    let mut to = store.write().await?;
    copying::refuse_used(&mut to, tables, &named).await?;
    let counts = copying::everything(from, &mut to, tables).await?;
    whole::restored(&mut to, now).await?;
    let is_newest = version == newest_version();
    if is_newest {
        record(&mut to, mark, now).await?;
    }
    to.commit().await?;
    // What was backed up by an older Intail becomes what this one has; only then can everything of it be read.
    if !is_newest {
        store.migrate(newest_version()).await?;
        let mut to = store.write().await?;
        record(&mut to, mark, now).await?;
        to.commit().await?;
    }
    Ok(counts.iter().map(|(_, rows)| rows).sum())
}

/// Writes into every organization's log that it was restored, and from when it is.
async fn record(tx: &mut Tx, mark: &Mark, now: Timestamp) -> Result<(), StoreError> {
    for organization in organizations::list(tx, ORGANIZATIONS_MAX).await? {
        let entry = Entry {
            organization: &organization.id,
            actor: Actor::Operator,
            action: "database.restored",
            about: organization.id.as_str(),
            origin: Origin::Cli,
            detail: json!({"as_of": mark.made_at.to_string()}),
        };
        audit::record(tx, entry, now).await?;
    }
    Ok(())
}

//! `intail org`: which organizations use this Intail, which domains are theirs, and how one is removed. A domain decides
//! to whom a person belongs who signs in, so it belongs to one organization at most.

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::table;
use super::{CliError, ConfigFile, Outcome, Surroundings, assemble, open_store};
use crate::app::App;
use crate::connect::{self, ConnectError};
use crate::id::OrganizationId;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::signing;
use crate::store::organizations;

/// The most organizations that are listed.
const LISTED_MAX: i64 = 10_000;
/// The longest name.
const NAME_LENGTH_MAX: usize = 200;
/// The longest domain name that DNS knows.
const DOMAIN_LENGTH_MAX: usize = 253;

/// `intail org …`
#[derive(Debug, Args)]
pub(super) struct OrgArguments {
    #[command(subcommand)]
    command: OrgCommand,
}

#[derive(Debug, Subcommand)]
enum OrgCommand {
    /// Lists the organizations with their domains
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Adds an organization
    Add {
        #[command(flatten)]
        config: ConfigFile,
        /// What people call it
        #[arg(long, value_parser = name)]
        name: String,
        /// A Workspace domain of it; give this option once for each
        #[arg(long = "domain", value_name = "DOMAIN", required = true, value_parser = domain)]
        domains: Vec<String>,
    },
    /// Lets everybody of an organization leave, erases it, and prints the signed receipt
    Remove {
        #[command(flatten)]
        config: ConfigFile,
        /// The organization's id
        #[arg(long, value_name = "ID")]
        organization: String,
        /// Its name, letter by letter: what is erased doesn't come back
        #[arg(long, value_name = "NAME")]
        confirm: String,
    },
}

fn name(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > NAME_LENGTH_MAX || name.chars().any(char::is_control) {
        return Err("a name has 1 to 200 characters");
    }
    Ok(name.to_owned())
}

fn domain(text: &str) -> Result<String, &'static str> {
    let domain = text.trim().to_lowercase();
    let label = |label: &str| {
        let letters = label.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        letters && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if domain.len() > DOMAIN_LENGTH_MAX || !domain.contains('.') || !domain.split('.').all(label) {
        return Err("a domain looks like example.com; write other scripts in their xn-- form");
    }
    Ok(domain)
}

/// Runs it.
pub(super) async fn run(arguments: OrgArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    match arguments.command {
        OrgCommand::List { config } => list(&config, &mut surroundings).await?,
        OrgCommand::Add { config, name, domains } => add(&config, &mut surroundings, &name, &domains).await?,
        OrgCommand::Remove { config, organization, confirm } => {
            return remove(&config, &mut surroundings, &organization, &confirm).await;
        }
    }
    Ok(Outcome::Done)
}

async fn list(config: &ConfigFile, surroundings: &mut Surroundings) -> Result<(), CliError> {
    let store = open_store(&config.load(surroundings)?).await?;
    let mut tx = store.read().await?;
    let mut rows = Vec::new();
    for organization in organizations::list(&mut tx, LISTED_MAX).await? {
        let domains = organizations::domains(&mut tx, &organization.id).await?.join(", ");
        rows.push([organization.id.to_string(), organization.name, domains, organization.approval.word().to_owned()]);
    }
    drop(tx);
    store.close().await;
    if rows.is_empty() {
        writeln!(surroundings.output, "There is no organization yet. `intail org add` adds one.")?;
    } else {
        write!(surroundings.output, "{}", table(["id", "name", "domains", "approval"], &rows))?;
    }
    Ok(())
}

async fn add(config: &ConfigFile, around: &mut Surroundings, name: &str, domains: &[String]) -> Result<(), CliError> {
    let store = open_store(&config.load(around)?).await?;
    let id = OrganizationId::new(&around.random);
    let mut tx = store.write().await?;
    let now = around.clock.now();
    organizations::create(&mut tx, &id, name, now).await?;
    for (at, domain) in domains.iter().enumerate() {
        if domains.iter().take(at).any(|before| before == domain) {
            continue;
        }
        if let Some(owner) = organizations::by_domain(&mut tx, domain).await? {
            return Err(CliError::new(format!("The domain {domain} belongs to {} already.", owner.name))
                .hint("`intail org list` shows which domains are whose."));
        }
        organizations::add_domain(&mut tx, &id, domain).await?;
    }
    let entry = Entry {
        organization: &id,
        actor: Actor::Operator,
        action: "organization.added",
        about: id.as_str(),
        origin: Origin::Cli,
        detail: json!({"domains": domains}),
    };
    audit::record(&mut tx, entry, now).await?;
    tx.commit().await?;
    store.close().await;
    writeln!(around.output, "Added {name} ({id}) with {}.", domains.join(", "))?;
    Ok(())
}

/// Removes an organization. Called again, it goes on where it was; a running `intail serve` goes on with it too.
async fn remove(config: &ConfigFile, around: &mut Surroundings, id: &str, confirm: &str) -> Result<Outcome, CliError> {
    let app = assemble(config.load(around)?, around.clock.clone(), around.random.clone()).await?;
    let ended = remove_at(&app, around, id, confirm).await;
    app.store.close().await;
    ended
}

async fn remove_at(app: &App, around: &mut Surroundings, id: &str, confirm: &str) -> Result<Outcome, CliError> {
    let no_such = || {
        CliError::new(format!("There is no organization {id}."))
            .hint("`intail org list` shows the ids of those that there are.")
    };
    let id: OrganizationId = id.parse().map_err(|_| no_such())?;
    let mut tx = app.store.read().await?;
    let organization = organizations::by_id(&mut tx, &id).await?;
    drop(tx);
    if let Some(organization) = organization.filter(|it| it.name != confirm) {
        return Err(CliError::new(format!("{id} is called {}, not {confirm}. Nothing was done.", organization.name))
            .hint("Give its name with --confirm exactly as `intail org list` shows it."));
    }
    let failed = |error: ConnectError| match error {
        ConnectError::NotConnected => no_such(),
        error => CliError::new("The organization isn’t removed yet.")
            .hint("Run the same command again: it goes on where it was. `intail serve` does so too.")
            .caused_by(error),
    };
    let Some(receipt) = connect::remove_organization(app, &id).await.map_err(failed)? else {
        writeln!(
            around.output,
            "Some of its people are being let go by another process, which goes on with it. Run this again for the \
             receipt."
        )?;
        return Ok(Outcome::Problems);
    };
    let mut tx = app.store.read().await?;
    let keys = signing::public_keys(&mut tx).await?;
    let key = keys.into_iter().find(|it| it.id == receipt.key_id).map_or_else(String::new, |it| it.public_key);
    writeln!(around.output, "{}", connect::document(&receipt, &key))?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_checked_and_made_small() {
        assert_eq!(domain(" Example.COM ").as_deref(), Ok("example.com"));
        for wrong in ["", "example", "a..b", ".com", "-a.com", "a@b.com", "exa mple.com", "bücher.de", "https://a.de"]
        {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
        assert!(domain(&format!("{}.com", "a".repeat(64))).is_err());
    }
}

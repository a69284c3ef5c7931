//! `intail org`: which organizations use this Intail, which domains are theirs, and how one is removed. A domain decides
//! to whom a person belongs who signs in, so it belongs to one organization at most.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::table::table;
use super::{CliError, ConfigFile, Outcome, Surroundings, assemble, open_store};
use crate::app::App;
use crate::connect::{self, ConnectError};
use crate::id::OrganizationId;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::org::names;
use crate::signing;
use crate::store::organizations::{self, Organization};
use crate::store::{StoreError, Tx};

/// The most organizations that are listed.
const LISTED_MAX: i64 = 10_000;
/// The longest name.
const NAME_LENGTH_MAX: usize = 120;

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
    /// Gives an organization another domain of its own
    AddDomain {
        #[command(flatten)]
        config: ConfigFile,
        /// The organization: its id, a domain of it, or its name
        organization: String,
        /// The domain
        #[arg(value_parser = domain)]
        domain: String,
    },
    /// Takes a domain from an organization; people who are there already stay
    RemoveDomain {
        #[command(flatten)]
        config: ConfigFile,
        /// The organization: its id, a domain of it, or its name
        organization: String,
        /// The domain
        #[arg(value_parser = domain)]
        domain: String,
    },
    /// Changes what people call an organization
    Rename {
        #[command(flatten)]
        config: ConfigFile,
        /// The organization: its id, a domain of it, or its name
        organization: String,
        /// Its new name
        #[arg(value_parser = name)]
        name: String,
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
    let name = names::name(text);
    if name.is_empty() || text.trim().chars().count() > NAME_LENGTH_MAX {
        return Err("a name has 1 to 120 characters that can be seen");
    }
    Ok(name)
}

fn domain(text: &str) -> Result<String, String> {
    let domain = names::domain(text).ok_or("a domain looks like example.com")?;
    if text.is_ascii() { Ok(domain) } else { Err(format!("write it as {domain}, the form that DNS has")) }
}

/// Runs it.
pub(super) async fn run(arguments: OrgArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    match arguments.command {
        OrgCommand::List { config } => list(&config, &mut surroundings).await?,
        OrgCommand::Add { config, name, domains } => add(&config, &mut surroundings, &name, &domains).await?,
        OrgCommand::AddDomain { config, organization, domain } => {
            change(&config, &mut surroundings, &organization, &Change::AddDomain(domain)).await?;
        }
        OrgCommand::RemoveDomain { config, organization, domain } => {
            change(&config, &mut surroundings, &organization, &Change::RemoveDomain(domain)).await?;
        }
        OrgCommand::Rename { config, organization, name } => {
            change(&config, &mut surroundings, &organization, &Change::Rename(name)).await?;
        }
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
    let (id, now) = (OrganizationId::new(&around.random), around.clock.now());
    let mut tx = store.write().await?;
    organizations::create(&mut tx, &id, name, now).await?;
    for (at, domain) in domains.iter().enumerate() {
        if domains.iter().take(at).all(|before| before != domain) {
            claim(&mut tx, &id, domain).await?;
        }
    }
    record(&mut tx, &id, "organization.added", json!({"domains": domains}), now).await?;
    tx.commit().await?;
    store.close().await;
    writeln!(around.output, "Added {name} ({id}) with {}.", domains.join(", "))?;
    Ok(())
}

/// Gives a domain to an organization, unless it is somebody's already.
async fn claim(tx: &mut Tx, id: &OrganizationId, domain: &str) -> Result<(), CliError> {
    let taken = |owner: &str| {
        CliError::new(format!("The domain {domain} belongs to {owner} already."))
            .hint("`intail org list` shows which domains are whose.")
    };
    if let Some(owner) = organizations::by_domain(tx, domain).await? {
        return Err(taken(&owner.name));
    }
    match organizations::add_domain(tx, id, domain).await {
        Err(error) if error.is_unique_violation() => Err(taken("another organization")),
        ended => Ok(ended?),
    }
}

async fn record(
    tx: &mut Tx,
    organization: &OrganizationId,
    action: &'static str,
    detail: Json,
    now: Timestamp,
) -> Result<(), StoreError> {
    let about = organization.as_str();
    let entry = Entry { organization, actor: Actor::Operator, action, about, origin: Origin::Cli, detail };
    audit::record(tx, entry, now).await
}

/// The organization that somebody means by its id, a domain or its name.
pub(super) async fn find(tx: &mut Tx, said: &str) -> Result<Organization, CliError> {
    let domain = names::domain(said);
    if let Some(domain) = domain
        && let Some(owner) = organizations::by_domain(tx, &domain).await?
    {
        return Ok(owner);
    }
    let all = organizations::list(tx, LISTED_MAX).await?;
    let mut found = all.into_iter().filter(|it| it.id.as_str() == said || it.name == said);
    match (found.next(), found.next()) {
        (Some(organization), None) => Ok(organization),
        (None, _) => Err(CliError::new(format!("No organization here is called {said}."))
            .hint("`intail org list` shows their ids, names and domains.")),
        (Some(_), Some(_)) => Err(CliError::new(format!("More than one organization is called {said}."))
            .hint("Give the id instead; `intail org list` shows it.")),
    }
}

enum Change {
    AddDomain(String),
    RemoveDomain(String),
    Rename(String),
}

async fn change(config: &ConfigFile, around: &mut Surroundings, said: &str, change: &Change) -> Result<(), CliError> {
    let store = open_store(&config.load(around)?).await?;
    let mut tx = store.write().await?;
    let Organization { id, name: old, .. } = find(&mut tx, said).await?;
    let (action, detail, told) = match change {
        Change::AddDomain(domain) => {
            claim(&mut tx, &id, domain).await?;
            ("organization.domain_added", json!({"domain": domain}), format!("{domain} belongs to {old} now."))
        }
        Change::RemoveDomain(domain) => {
            organizations::hold(&mut tx, &id).await?;
            if !organizations::remove_domain(&mut tx, &id, domain).await? {
                return Err(CliError::new(format!("{domain} is no domain of {old}."))
                    .hint("`intail org list` shows which domains are whose."));
            }
            if organizations::domains(&mut tx, &id).await?.is_empty() {
                return Err(CliError::new(format!("{domain} is the only domain of {old}."))
                    .hint("Give it another one first, with `intail org add-domain`."));
            }
            let told =
                format!("{domain} is no domain of {old} any more. Its people stay, and nobody new joins from it.");
            ("organization.domain_removed", json!({"domain": domain}), told)
        }
        Change::Rename(name) => {
            organizations::rename(&mut tx, &id, name).await?;
            ("organization.renamed", json!({"from": old, "to": name}), format!("{old} is called {name} now."))
        }
    };
    record(&mut tx, &id, action, detail, around.clock.now()).await?;
    tx.commit().await?;
    store.close().await;
    writeln!(around.output, "{told}")?;
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
        for wrong in ["", "example", "-a.com", "a@b.com"] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
        let told = domain("bücher.example").expect_err("another script");
        assert_eq!(told, "write it as xn--bcher-kva.example, the form that DNS has");
    }
}

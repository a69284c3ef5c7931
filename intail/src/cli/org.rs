//! `intail org`: which organizations use this Intail, and which domains are theirs. A domain decides to whom a person
//! belongs who signs in, so it belongs to one organization at most.

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::table;
use super::{CliError, ConfigFile, Outcome, Surroundings, open_store};
use crate::id::OrganizationId;
use crate::org::audit::{self, Actor, Entry, Origin};
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

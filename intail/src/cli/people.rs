//! `intail people`: who has signed in, and what they may do. The way back in when an organization has no administrator.

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::table;
use super::{CliError, ConfigFile, Outcome, Surroundings, open_store};
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::store::people::{Person, Role};
use crate::store::{StoreError, Tx, organizations, people};

/// The most organizations that are looked through.
const ORGANIZATIONS_MAX: i64 = 10_000;
/// People who are read at once.
const PAGE: i64 = 500;
/// The most people who are listed or looked through.
const PEOPLE_MAX: usize = 1_000_000;

/// `intail people …`
#[derive(Debug, Args)]
pub(super) struct PeopleArguments {
    #[command(subcommand)]
    command: PeopleCommand,
}

#[derive(Debug, Subcommand)]
enum PeopleCommand {
    /// Lists the people who have signed in
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Changes what a person may do
    SetRole {
        #[command(flatten)]
        config: ConfigFile,
        /// The person's e-mail address or id
        person: String,
        /// member, administrator or auditor
        #[arg(value_parser = role)]
        role: Role,
    },
}

fn role(word: &str) -> Result<Role, &'static str> {
    word.parse().map_err(|()| "a role is member, administrator or auditor")
}

/// Runs it.
pub(super) async fn run(arguments: PeopleArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    match arguments.command {
        PeopleCommand::List { config } => list(&config, &mut surroundings).await?,
        PeopleCommand::SetRole { config, person, role } => set_role(&config, &mut surroundings, &person, role).await?,
    }
    Ok(Outcome::Done)
}

async fn list(config: &ConfigFile, surroundings: &mut Surroundings) -> Result<(), CliError> {
    let store = open_store(&config.load(surroundings)?).await?;
    let mut tx = store.read().await?;
    let found = all(&mut tx, |_| true).await?;
    drop(tx);
    store.close().await;
    if found.is_empty() {
        writeln!(surroundings.output, "Nobody has signed in yet.")?;
        return Ok(());
    }
    let rows: Vec<_> = found
        .into_iter()
        .map(|(person, organization)| {
            [person.id.to_string(), person.email, person.name, person.role.word().to_owned(), organization]
        })
        .collect();
    write!(surroundings.output, "{}", table(["id", "email", "name", "role", "organization"], &rows))?;
    Ok(())
}

async fn set_role(config: &ConfigFile, around: &mut Surroundings, who: &str, role: Role) -> Result<(), CliError> {
    let store = open_store(&config.load(around)?).await?;
    let mut tx = store.write().await?;
    let mut found = all(&mut tx, |person| person.id.as_str() == who || person.email.eq_ignore_ascii_case(who)).await?;
    let person = match (found.pop(), found.pop()) {
        (Some((person, _)), None) => person,
        (None, _) => {
            return Err(CliError::new(format!("Nobody here is called {who}."))
                .hint("Somebody appears here once they have signed in; `intail people list` shows who has."));
        }
        (Some(_), Some(_)) => {
            return Err(CliError::new(format!("More than one person has the address {who}."))
                .hint("Give the id instead; `intail people list` shows it."));
        }
    };
    people::set_role(&mut tx, &person.id, role).await?;
    let entry = Entry {
        organization: &person.organization_id,
        actor: Actor::Operator,
        action: "role.changed",
        about: person.id.as_str(),
        origin: Origin::Cli,
        detail: json!({"from": person.role.word(), "to": role.word()}),
    };
    audit::record(&mut tx, entry, around.clock.now()).await?;
    tx.commit().await?;
    store.close().await;
    writeln!(around.output, "{} is {} now (before: {}).", person.email, role.word(), person.role.word())?;
    Ok(())
}

/// The people who fit, each with the name of their organization.
async fn all(tx: &mut Tx, fits: impl Fn(&Person) -> bool) -> Result<Vec<(Person, String)>, StoreError> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for organization in organizations::list(tx, ORGANIZATIONS_MAX).await? {
        let mut after = None;
        while looked_at < PEOPLE_MAX {
            let page = people::list(tx, &organization.id, after.as_ref(), PAGE).await?;
            looked_at += page.len();
            after = page.last().map(|person| person.id.clone());
            found.extend(page.into_iter().filter(&fits).map(|person| (person, organization.name.clone())));
            if after.is_none() {
                break;
            }
        }
    }
    Ok(found)
}

//! `intail people`: who is here, what they may do, and whom the operator lets in: by invitation, or by a link that
//! signs in once. The way back in when an organization has no administrator, or the issuer is down.

use clap::{Args, Subcommand};

use super::table::table;
use super::{CliError, ConfigFile, Outcome, Surroundings, open_store};
use crate::config::SIGN_IN_LINK;
use crate::id::PersonId;
use crate::org::invitations::{self, Invited};
use crate::org::links::{self, For};
use crate::org::names;
use crate::org::roles::{self, By, RoleChange};
use crate::seal::hash_token;
use crate::store::organizations::Organization;
use crate::store::people::{Person, Role};
use crate::store::{StoreError, Tx, organizations, people};

/// The most organizations that are looked through.
const ORGANIZATIONS_MAX: i64 = 10_000;
/// People who are read at once.
const PAGE: i64 = 500;
/// People with one address that are looked at: two are too many already.
const NAMESAKES_MAX: i64 = 2;
/// The most people who are listed.
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
    /// Lets an address join an organization, also from outside its domains
    Invite {
        #[command(flatten)]
        config: ConfigFile,
        /// The e-mail address
        email: String,
        /// member, administrator or auditor
        #[arg(long, value_parser = role, default_value = "member")]
        role: Role,
        /// The organization: its id, a domain of it, or its name; without it, the one that owns the address's domain
        #[arg(long)]
        organization: Option<String>,
    },
    /// Prints a link that signs somebody in once: the first administrator, or anybody while the issuer is down
    Link {
        #[command(flatten)]
        config: ConfigFile,
        /// The person's e-mail address or id, or the address of the first administrator
        person: String,
        /// The organization of the first administrator; without it, the one that owns the address's domain
        #[arg(long)]
        organization: Option<String>,
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
        PeopleCommand::Invite { config, email, role, organization } => {
            invite(&config, &mut surroundings, &email, role, organization.as_deref()).await?;
        }
        PeopleCommand::Link { config, person, organization } => {
            link(&config, &mut surroundings, &person, organization.as_deref()).await?;
        }
    }
    Ok(Outcome::Done)
}

async fn list(config: &ConfigFile, surroundings: &mut Surroundings) -> Result<(), CliError> {
    let store = open_store(&config.load(surroundings)?).await?;
    let mut tx = store.read().await?;
    let found = all(&mut tx).await?;
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
    let person = meant(&mut tx, who).await?.ok_or_else(|| {
        CliError::new(format!("Nobody here is called {who}."))
            .hint("Somebody appears here once they have signed in; `intail people list` shows who has.")
    })?;
    let now = around.clock.now();
    let changed = roles::change(&mut tx, &person.organization_id, &person.id, role, By::operator(), now).await?;
    if changed == RoleChange::LastAdministrator {
        return Err(CliError::new(format!("{} is the only administrator of their organization.", person.email))
            .hint("Make somebody else an administrator first."));
    }
    tx.commit().await?;
    store.close().await;
    writeln!(around.output, "{} is {} now (before: {}).", person.email, role.word(), person.role.word())?;
    Ok(())
}

/// The person whom somebody means by an address or an id.
async fn meant(tx: &mut Tx, who: &str) -> Result<Option<Person>, CliError> {
    let mut found = match who.parse::<PersonId>() {
        Ok(id) => people::by_id(tx, &id).await?.into_iter().collect(),
        Err(_) => people::by_email(tx, &who.trim().to_lowercase(), NAMESAKES_MAX).await?,
    };
    match (found.pop(), found.pop()) {
        (person, None) => Ok(person),
        (_, Some(_)) => Err(CliError::new(format!("More than one person has the address {who}."))
            .hint("Give the id instead; `intail people list` shows it.")),
    }
}

async fn invite(
    config: &ConfigFile,
    around: &mut Surroundings,
    email: &str,
    role: Role,
    organization: Option<&str>,
) -> Result<(), CliError> {
    let config = config.load(around)?;
    let store = open_store(&config).await?;
    let mut tx = store.write().await?;
    let organization = organization_of(&mut tx, email, organization).await?;
    let (random, now) = (around.random.clone(), around.clock.now());
    let invited = invitations::invite(&mut tx, &organization.id, email, role, By::operator(), &random, now).await?;
    let invitation = match invited {
        Invited::Invitation(invitation) => invitation,
        Invited::NotAnAddress => return Err(not_an_address(email)),
        Invited::Here => {
            return Err(CliError::new(format!("{email} is in {} already.", organization.name))
                .hint("`intail people set-role` changes what they may do."));
        }
        Invited::TooMany => {
            return Err(CliError::new(format!("{} has too many invitations that wait.", organization.name))
                .hint("Withdraw some on the page People, or add the domain with `intail org add-domain`."));
        }
    };
    tx.commit().await?;
    store.close().await;
    writeln!(
        around.output,
        "{} may join {} as {} until {}: by signing in at {}.",
        invitation.email,
        organization.name,
        role.word(),
        invitation.expires_at.strftime("%Y-%m-%d %H:%M UTC"),
        config.server.public_url
    )?;
    Ok(())
}

async fn link(
    config: &ConfigFile,
    around: &mut Surroundings,
    who: &str,
    organization: Option<&str>,
) -> Result<(), CliError> {
    let config = config.load(around)?;
    let store = open_store(&config).await?;
    let (token, now) = (around.random.token(), around.clock.now());
    let mut tx = store.write().await?;
    let token_hash = hash_token(&token);
    let told = match meant(&mut tx, who).await? {
        Some(person) => {
            links::make(&mut tx, &For::Person(&person), &token_hash, By::operator(), now).await?;
            person.email
        }
        None => {
            let email = names::address(who).ok_or_else(|| not_an_address(who))?;
            let organization = organization_of(&mut tx, &email, organization).await?;
            if people::administrators(&mut tx, &organization.id).await? > 0 {
                return Err(CliError::new(format!("Nobody in {} is called {email}.", organization.name))
                    .hint("A link founds only the first administrator. `intail people invite` lets others in."));
            }
            let first = For::First(&organization.id, &email);
            links::make(&mut tx, &first, &token_hash, By::operator(), now).await?;
            format!("{email}, the first administrator of {}", organization.name)
        }
    };
    tx.commit().await?;
    store.close().await;
    let minutes = links::LASTS.as_mins();
    writeln!(
        around.output,
        "This link signs in {told}. It works once, for {minutes} minutes; give it to nobody else."
    )?;
    writeln!(around.output, "\n{}", config.server.public_url.page(&format!("{SIGN_IN_LINK}?token={token}")))?;
    Ok(())
}

fn not_an_address(text: &str) -> CliError {
    CliError::misused(format!("{text} is no e-mail address."))
}

/// The organization that is named, or the one that owns the address's domain.
async fn organization_of(tx: &mut Tx, email: &str, said: Option<&str>) -> Result<Organization, CliError> {
    if let Some(said) = said {
        return super::org::find(tx, said).await;
    }
    let domain = names::domain_of(email).ok_or_else(|| not_an_address(email))?;
    organizations::by_domain(tx, &domain).await?.ok_or_else(|| {
        CliError::new(format!("No organization here owns {domain}."))
            .hint("Name the organization with --organization; `intail org list` shows them.")
    })
}

/// All people, each with the name of their organization.
async fn all(tx: &mut Tx) -> Result<Vec<(Person, String)>, StoreError> {
    let mut found = Vec::new();
    for organization in organizations::list(tx, ORGANIZATIONS_MAX).await? {
        let mut after = None;
        while found.len() < PEOPLE_MAX {
            let page = people::list(tx, &organization.id, after.as_ref(), PAGE).await?;
            after = page.last().map(|person| person.id.clone());
            found.extend(page.into_iter().map(|person| (person, organization.name.clone())));
            if after.is_none() {
                break;
            }
        }
    }
    Ok(found)
}

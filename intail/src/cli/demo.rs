//! `intail demo`: the false Google Workspace and Intail in one process, on one folder of data. It needs nothing: no
//! configuration, no network, no other program. What a reader must not break: it is ready within two seconds, it goes
//! on where it was stopped (on other ports, too), and `--fresh` deletes only files that the demo made.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use intail_google::Endpoints;
use intail_sandbox::accounts::{Identity, OAuthClient as Application, Person as Account};
use intail_sandbox::world::World;
use intail_sandbox::{Options, Sandbox};
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::lifecycle::{self, Part};
use super::serve::{self, Role, listen};
use super::simulate::outside_pubsub;
use super::{CliError, Outcome, Surroundings, assemble};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{CONNECT_CALLBACK, Config, OAuthClient, SIGNIN_CALLBACK, takes_calendar_notices};
use crate::id::{OrganizationId, PersonId};
use crate::notices;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::random::Random;
use crate::store::people::{self, Person, Role as PersonRole};
use crate::store::{StoreError, organizations};

/// The demo's world is the same on every machine.
const SEED: u64 = 1;
/// The file that marks a folder as the demo's, and that a running demo holds.
const MARK: &str = "intail-demo.txt";
/// The file with the false Google's world.
const WORLD: &str = "sandbox.json";
/// Every other file that the demo makes, temporary ones included.
const FILES: [&str; 6] = ["intail.db", "intail.db-wal", "intail.db-shm", "intail.key", WORLD, "sandbox.new"];
/// What stands in the marking file.
const MARK_TEXT: &str = "The other files here were made by `intail demo`; `intail demo --fresh` deletes them.\n";

/// `intail demo …`
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Where Intail listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the false Google listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    sandbox_listen: SocketAddr,
    /// The folder for its data
    #[arg(long, value_name = "DIR", default_value = "intail-data")]
    data: PathBuf,
    /// Deletes what an earlier demo left in that folder, and starts over
    #[arg(long)]
    fresh: bool,
}

/// Runs it.
pub(super) async fn run(arguments: DemoArguments, mut surroundings: Surroundings) -> Result<Outcome, CliError> {
    for (address, option) in [(arguments.listen, "--listen"), (arguments.sandbox_listen, "--sandbox-listen")] {
        if !address.ip().is_loopback() {
            let sentence =
                format!("The demo asks nobody for a password, so it only listens on this machine, not on {address}.");
            return Err(CliError::misused(sentence)
                .hint(format!("Give {option} an address such as 127.0.0.1:{}.", address.port())));
        }
    }
    let listener = listen(arguments.listen, "--listen").await?;
    let sandbox_listener = listen(arguments.sandbox_listen, "--sandbox-listen").await?;
    let folder = Folder::open(surroundings.working_directory.join(&arguments.data), arguments.fresh)?;
    let public_url = format!("http://{}", listener.local_addr()?);
    let sandbox = start_sandbox(sandbox_listener, &folder, &public_url, &surroundings).await?;
    let app = start_product(&sandbox, &folder, &public_url, &surroundings).await?;
    let tour = sandbox.world(|world| tour(world, sandbox.url(), &public_url, &arguments.data));
    write!(surroundings.output, "{tour}")?;
    surroundings.output.flush()?;
    serve_until_stopped(app, listener, sandbox, &mut surroundings).await
}

async fn serve_until_stopped(
    app: App,
    listener: TcpListener,
    sandbox: Sandbox,
    surroundings: &mut Surroundings,
) -> Result<Outcome, CliError> {
    let shutdown = CancellationToken::new();
    let roles = [Role::Web, Role::Sync, Role::Notices];
    let parts: Vec<Part> = serve::parts(&app, Some(listener), &roles, &shutdown)?;
    let ended = lifecycle::run(parts, shutdown, &mut surroundings.stop, &surroundings.clock).await;
    app.store.close().await;
    // Last, so that what the product still asks while it ends is answered; and whatever happened, to save the world.
    sandbox.stop().await;
    ended.map(|()| Outcome::Done)
}

/// The demo's folder, held by one demo at a time.
struct Folder {
    path: PathBuf,
    /// Holds the lock.
    _mark: File,
}

impl Folder {
    fn open(path: PathBuf, fresh: bool) -> Result<Self, CliError> {
        let shown = path.display().to_string();
        let failed = |error: std::io::Error| {
            CliError::misused(format!("The folder {shown} can't be used for the demo's data."))
                .hint("Choose another one with --data.")
                .caused_by(error)
        };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let mark = path.join(MARK);
        let foreign = FILES.iter().find(|file| path.join(file).exists());
        if let (false, Some(foreign)) = (mark.exists(), foreign) {
            let sentence = format!("The folder {shown} holds a file {foreign} that the demo didn't make.");
            return Err(CliError::misused(sentence).hint("Choose another folder with --data."));
        }
        let file = File::options().create(true).append(true).open(&mark).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let sentence = format!("Another demo is running on the folder {shown}.");
                return Err(CliError::misused(sentence).hint("Stop it, or choose another folder with --data."));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if fresh {
            for file in FILES {
                remove(&path.join(file)).map_err(failed)?;
            }
        }
        std::fs::write(&mark, MARK_TEXT).map_err(failed)?;
        Ok(Self { path, _mark: file })
    }
}

fn remove(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn start_sandbox(
    listener: TcpListener,
    folder: &Folder,
    public_url: &str,
    surroundings: &Surroundings,
) -> Result<Sandbox, CliError> {
    let sandbox = Sandbox::start(Options {
        seed: SEED,
        state_file: Some(folder.path.join(WORLD)),
        product_url: Some(public_url.to_owned()),
        outside_pubsub: outside_pubsub(surroundings),
        ..Options::new(listener)
    })
    .await?;
    // People are known by issuer and subject: the issuer stays, even if the next demo listens elsewhere.
    let url = sandbox.url().to_owned();
    sandbox.world(|world| _ = world.identity.issuer.get_or_insert(url));
    Ok(sandbox)
}

/// Intail on the demo's folder and sandbox.
async fn start_product(
    sandbox: &Sandbox,
    folder: &Folder,
    public_url: &str,
    surroundings: &Surroundings,
) -> Result<App, CliError> {
    let mut config = configuration(sandbox, &folder.path, public_url)?;
    if let Some(host) = outside_pubsub(surroundings) {
        let wrong = |error| CliError::misused("PUBSUB_EMULATOR_HOST has to be host:port.").caused_by(error);
        config.pubsub.endpoint = Url::parse(&format!("http://{host}")).map_err(wrong)?;
    }
    product(sandbox, config, surroundings.clock.clone(), surroundings.random.clone()).await
}

/// Intail on a sandbox: its parts, topic and subscription, and at the first start the organization. The tests use it
/// too.
pub async fn product(sandbox: &Sandbox, config: Config, clock: Clock, random: Random) -> Result<App, CliError> {
    let company = sandbox.world(|world| Company::of(world, config.server.public_url.as_str()))?;
    let app = assemble(config, clock, random).await?;
    let credentials = notices::credentials(&app.config.pubsub.credentials)
        .map_err(|error| CliError::new(super::sentence(&error)).caused_by(error))?;
    let pubsub = app.google.pubsub(app.config.pubsub.endpoint.as_str(), &credentials);
    notices::provision::provision(&pubsub, &app.config.pubsub, &app.config.server.public_url)
        .await
        .map_err(|error| CliError::new(error.to_string()).caused_by(error))?;
    settle(&app, &company).await?;
    Ok(app)
}

/// What of the false Workspace the product has to be told.
struct Company {
    name: String,
    domains: Vec<String>,
    issuer: String,
    /// The administrator's subject, address and name.
    administrator: Option<(String, String, String)>,
    grants: OAuthClient,
    signin: OAuthClient,
    project: String,
}

impl Company {
    fn of(world: &World, public_url: &str) -> Result<Self, CliError> {
        let identity = &world.identity;
        let client = |path: &str| {
            let redirect = format!("{public_url}{path}");
            let found = identity.clients.values().find(|client| client.redirect_uris.contains(&redirect));
            found.ok_or_else(|| {
                CliError::new("The saved false Google has no application for Intail any more.")
                    .hint("Start over with --fresh.")
            })
        };
        let (grants, signin) = (client(CONNECT_CALLBACK)?, client(SIGNIN_CALLBACK)?);
        let credentials = |client: &Application| OAuthClient {
            client_id: client.client_id.clone(),
            client_secret: SecretString::from(client.client_secret.clone()),
        };
        let administrator = identity.people.values().find(|person| person.is_admin && person.is_active());
        Ok(Self {
            name: identity.customer.name.clone(),
            domains: identity.customer.domains.clone(),
            issuer: identity.issuer().to_owned(),
            administrator: administrator.map(|it| (it.sub.clone(), it.email.clone(), it.name.clone())),
            project: grants.project.clone(),
            grants: credentials(grants),
            signin: credentials(signin),
        })
    }
}

/// The configuration of an Intail that keeps its data in `directory` and takes the sandbox for Google.
pub fn configuration(sandbox: &Sandbox, directory: &Path, public_url: &str) -> Result<Config, CliError> {
    let company = sandbox.world(|world| Company::of(world, public_url))?;
    let google = sandbox.url();
    let at = |path: &str| {
        Url::parse(&format!("{google}{path}"))
            .map_err(|error| CliError::new("The false Google's own address can't be read.").caused_by(error))
    };
    let mut config = Config::minimal(public_url, directory, company.grants.clone())?;
    config.signin.issuer.clone_from(&company.issuer);
    config.signin.client = company.signin.clone();
    config.google.project = Some(company.project.clone());
    config.google.endpoints = Endpoints {
        issuer: company.issuer.clone(),
        authorize: at("/o/oauth2/v2/auth")?,
        token: at("/token")?,
        revoke: at("/revoke")?,
        userinfo: at("/v1/userinfo")?,
        jwks: at("/oauth2/v3/certs")?,
        gmail: at("")?,
        calendar: at("")?,
        directory: at("")?,
        pubsub: at("")?,
        discovery: at("/.well-known/openid-configuration")?,
    };
    config.pubsub.topic = format!("projects/{}/topics/intail", company.project);
    config.pubsub.subscription = format!("projects/{}/subscriptions/intail", company.project);
    config.pubsub.endpoint = at("")?;
    config.google.calendar_notices = takes_calendar_notices(&config.server.public_url, &config.google.endpoints);
    Ok(config)
}

/// At the first start: the organization with its domains, and its administrator, so that whoever signs in first doesn't
/// become that.
async fn settle(app: &App, company: &Company) -> Result<(), StoreError> {
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    if !organizations::list(&mut tx, 1).await?.is_empty() {
        return Ok(());
    }
    let organization_id = OrganizationId::new(&app.random);
    organizations::create(&mut tx, &organization_id, &company.name, now).await?;
    for domain in &company.domains {
        organizations::add_domain(&mut tx, &organization_id, domain).await?;
    }
    if let Some((subject, email, name)) = company.administrator.clone() {
        let issuer = company.issuer.clone();
        let role = PersonRole::Administrator;
        let organization_id = organization_id.clone();
        let person = Person { id: PersonId::new(&app.random), organization_id, issuer, subject, email, name, role };
        people::create(&mut tx, &person, now).await?;
    }
    let entry = Entry {
        organization: &organization_id,
        actor: Actor::Intail,
        action: "organization.added",
        about: organization_id.as_str(),
        origin: Origin::Unknown,
        detail: json!({"domains": company.domains}),
    };
    audit::record(&mut tx, entry, now).await?;
    tx.commit().await
}

/// Somebody to whom nothing special happens, of the company's first domain if there is one.
fn employee(identity: &Identity) -> Option<&Account> {
    let ordinary = |person: &&Account| {
        let normal = person.is_active() && person.has_mailbox && !person.advanced_protection && !person.under_18;
        normal && !person.is_admin && identity.is_of_customer(person)
    };
    let primary = identity.customer.domains.first();
    identity.people.values().filter(ordinary).min_by_key(|person| (person.hd.as_ref() != primary, &person.email))
}

/// What the newcomer reads.
fn tour(world: &World, google: &str, intail: &str, data: &Path) -> String {
    let people = &world.identity.people;
    let administrator = people.values().find(|person| person.is_admin && person.is_active());
    let administrator = administrator.map_or("an administrator", |person| person.email.as_str());
    let employee = employee(&world.identity).map_or("an employee", |person| person.email.as_str());
    let data = data.display();
    format!(
        "
  Intail is ready, beside a false Google Workspace. Nothing leaves this machine.

    Intail         {intail}
    False Google   {google}        (it never asks for a password)

  A tour of two people; give each their own browser window, one of them private

    1  The employee, {employee}
       {intail}
       Sign in. Settings > Integrations says that the administrator has to approve first.

    2  The administrator, {administrator}
       {google}/console
       Main menu > Security > Access and data control > API controls
       > Manage Third-Party App Access > search for Intail > Specific Google data
       > tick gmail.metadata, calendar.readonly and admin.directory.user.readonly, where they aren't yet

    3  The employee again
       {intail}/settings/integrations
       Connect > tick the boxes > Allow. From now on, everybody connects without the administrator.

    4  Make mail happen
       {google}/mailbox
       Send, label, star, trash or delete there, or press \"Play a day\", and watch
       {intail}/mail and {intail}/activity

    5  Make appointments
       {google}/calendar
       Add, move or delete an event there, and watch {intail}/calendar
       Who is invited leads to {intail}/directory

  Data is in {data}. Ctrl-C stops the demo, the same command goes on with it, --fresh starts over.

"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_start_deletes_only_what_the_demo_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let made = Folder::open(path.clone(), false).expect("a new folder");
        for file in ["intail.db", "notes.txt"] {
            std::fs::write(path.join(file), "x").expect("written");
        }
        let error = Folder::open(path.clone(), true).err().expect("it is held").to_string();
        assert!(error.starts_with("Another demo is running"), "{error}");
        assert!(path.join("intail.db").exists());
        drop(made);
        Folder::open(path.clone(), true).expect("it is the demo's");
        assert!(!path.join("intail.db").exists());
        assert!(path.join("notes.txt").exists());
    }

    #[test]
    fn somebody_elses_database_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("intail.db"), "precious").expect("written");
        for fresh in [false, true] {
            let error = Folder::open(folder.path().to_owned(), fresh).err().expect("it isn't the demo's").to_string();
            assert!(error.ends_with("holds a file intail.db that the demo didn't make."), "{error}");
        }
        assert!(!folder.path().join(MARK).exists());
    }
}

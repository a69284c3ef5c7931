//! What benchmarks share: a company that has approved Intail, and people whose connecting isn't what is measured.

#[path = "../../tests/it/harness/inward.rs"]
pub(crate) mod inward;
#[path = "../../tests/it/harness/program.rs"]
pub(crate) mod program;
pub(crate) mod virtual_time;
#[path = "../../tests/it/harness/written.rs"]
pub(crate) mod written;

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use intail::access::{access_row, refresh_row};
use intail::app::App;
use intail::id::{AgendaId, DirectoryId, GrantId, MailboxId, OrganizationId, PersonId};
use intail::seal::hash_token;
use intail::store::agendas::Agenda;
use intail::store::grants::{Grant, GrantState};
use intail::store::mailboxes::{Mailbox, MailboxState};
use intail::store::people::{Person, Role};
use intail::store::{access_keys, agendas, directories, grants, mailboxes, organizations, people};
use intail::sync::Worker;
use intail_google::oauth::scope;
use intail_sandbox::Sandbox;
use intail_sandbox::access::AccessLevel;
use secrecy::SecretString;

/// Rounds of the engine before a bench that hangs ends.
const ROUNDS_MAX: usize = 10_000;
/// A bench that hangs ends.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(300);

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The administrator lets Intail in.
pub(crate) fn approve(sandbox: &Sandbox, app: &App) {
    let client = app.config.google.client.client_id.clone();
    sandbox.world(|world| world.identity.policy.configured.insert(client, AccessLevel::Trusted));
}

/// A grant at Google: its subject, access token and refresh token.
pub(crate) fn grant_at_google(sandbox: &Sandbox, app: &App, email: &str) -> Result<(String, String, String), Failure> {
    let client = app.config.google.client.client_id.clone();
    sandbox.world(|world| {
        let sub = world.identity.person_by_email(email).ok_or("nobody has this address")?.sub.clone();
        let tokens = world.grant(email, &client, scope::REQUESTED)?;
        let token = |key: &str| tokens[key].as_str().map(str::to_owned).ok_or("no token");
        Ok((sub, token("access_token")?, token("refresh_token")?))
    })
}

/// Writes what connecting would have written: signing in is not what is measured.
pub(crate) async fn follow(sandbox: &Sandbox, app: &App, email: &str) -> Result<PersonId, Failure> {
    let (subject, access, refresh) = grant_at_google(sandbox, app, email)?;
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    let organization_id: OrganizationId = organizations::list(&mut tx, 1).await?.remove(0).id;
    let person = Person {
        id: PersonId::new(&app.random),
        organization_id: organization_id.clone(),
        issuer: app.google.endpoints().issuer.clone(),
        subject: subject.clone(),
        email: email.to_owned(),
        name: email.to_owned(),
        role: Role::Member,
    };
    people::create(&mut tx, &person, now).await?;
    let id = GrantId::new(&app.random);
    let grant = Grant {
        organization_id,
        person_id: person.id.clone(),
        google_subject: subject,
        email: email.to_owned(),
        hosted_domain: None,
        client_id: app.config.google.client.client_id.clone(),
        scopes: scope::REQUESTED.iter().map(|it| (*it).to_owned()).collect(),
        state: GrantState::Active,
        reason: String::new(),
        state_since: now,
        refresh_sealed: Some(app.keyring.seal_text(&SecretString::from(refresh), &refresh_row(&id))?),
        access_sealed: Some(app.keyring.seal_text(&SecretString::from(access), &access_row(&id))?),
        access_expires_at: Some(now + jiff::SignedDuration::from_mins(55)),
        connected_at: now,
        suspended_at: None,
        id,
    };
    grants::put(&mut tx, &grant).await?;
    mailboxes::create(&mut tx, &Mailbox::new(MailboxId::new(&app.random), &grant, now)).await?;
    tx.commit().await?;
    Ok(person.id)
}

/// The same for the calendars of a person who is followed, and for the directory.
pub(crate) async fn follow_the_rest(app: &App, person: &PersonId) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    let grant = grants::by_person(&mut tx, person).await?.ok_or("this person isn't followed")?;
    agendas::create(&mut tx, &Agenda::new(AgendaId::new(&app.random), &grant, now)).await?;
    directories::wake(&mut tx, &DirectoryId::new(&app.random), &grant.organization_id, now).await?;
    tx.commit().await?;
    Ok(())
}

/// A key to a person's data.
pub(crate) async fn access_key(app: &App, person: &PersonId, key: &str) -> Result<(), Failure> {
    let mut tx = app.store.write().await?;
    access_keys::create(&mut tx, &hash_token(key), person, "bench", None, app.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Waits until the backfill is over, so that it doesn't share the time that is measured.
pub(crate) async fn copied(app: &App) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let mut tx = app.store.read().await?;
        let organization = organizations::list(&mut tx, 1).await?.remove(0).id;
        let all = mailboxes::list(&mut tx, &organization, i64::MAX).await?;
        drop(tx);
        if all.iter().all(|it| it.state == MailboxState::Live) {
            return Ok(());
        }
        if begun.elapsed() > WAIT_MAX {
            return Err("the backfill didn't end".into());
        }
        app.clock.sleep(Duration::from_millis(200)).await;
    }
}

/// Lets the engine copy everything, in a time that `pass` moves.
pub(crate) async fn copied_by(worker: &Worker, app: &App, pass: impl Fn(Duration)) -> Result<(), Failure> {
    for _ in 0..ROUNDS_MAX {
        worker.tick().await?;
        let mut tx = app.store.read().await?;
        let filling = mailboxes::filling(&mut tx, 0, 0, app.clock.now()).await?;
        drop(tx);
        if filling.mailboxes == 0 {
            return Ok(());
        }
        pass(Duration::from_secs(20));
    }
    Err("the backfill didn't end".into())
}

/// A message arrives in somebody's mailbox; answers its id.
pub(crate) fn arrive(sandbox: &Sandbox, email: &str) -> Result<String, Failure> {
    sandbox.world(|world| {
        let sub = world.identity.person_by_email(email).ok_or("nobody has this address")?.sub.clone();
        Ok(world.receive_sample(&sub))
    })
}

/// A database of its own for this run, on the PostgreSQL server that `url` leads to.
pub(crate) fn database(url: &str) -> Result<String, Failure> {
    let name = format!("bench_{}", std::process::id());
    let made = Command::new("psql").args([url, "--quiet", "--command", &format!("CREATE DATABASE {name}")]).status()?;
    if !made.success() {
        return Err("the database couldn't be made".into());
    }
    let mut url = url::Url::parse(url)?;
    url.set_path(&name);
    Ok(url.to_string())
}

/// The address of a person of [`company_of`].
pub(crate) fn email(number: usize) -> String {
    format!("person{number}@example.com")
}

/// A company of so many people, with two messages each.
pub(crate) fn company_of(count: usize) -> String {
    let mut text = include_str!("company.toml").to_owned();
    for number in 0..count {
        let _ = writeln!(text, "[[people]]\nemail = \"{}\"\ngiven_name = \"Person {number}\"\n", email(number));
    }
    text
}

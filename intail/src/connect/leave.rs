//! Leaves: stops the pushes, revokes the grant at Google, erases every row, and ends with a signed receipt. One row in
//! `leavings` says what comes next, and every step is committed together with what it did, so that a crash at any of
//! them is taken up again. People's data goes whether or not Google answers; a revocation that Google couldn't confirm
//! is tried again until it can.
//!
//! What a reader must not break: from the first commit on, the grant's circuit is open and nobody can connect again
//! until the old rows have gone; and a revocation that is tried late never hits what the person permitted since.

use std::collections::BTreeMap;
use std::time::Duration;

use intail_google::day::day;
use intail_google::{Caller, ErrorKind};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ConnectError, Permission, retention};
use crate::access::{self, access_row, refresh_row};
use crate::app::App;
use crate::id::{GrantId, OrganizationId, PersonId, ReceiptId, StreamId};
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::org::receipts::{self, purpose};
use crate::org::roles;
use crate::signing::{Signer, SigningError};
use crate::store::changes::{self, NewChange, Of};
use crate::store::erasure::{self, Erased};
use crate::store::grants::{self, Grant, GrantState};
use crate::store::leaving_receipts::{self, LeavingReceipt};
use crate::store::leavings::{self, CallSums, Cause, Leaving, LeavingStep, Revocation};
use crate::store::people::{self, Person, Role};
use crate::store::{
    StoreError, Tx, agendas, audit as audit_log, call_counts, channels, directories, directory_readers, invitations,
    leases, mailboxes, organizations, quota, receipts as logs, sign_in_links,
};

/// How often unfinished leavings are taken up again.
const RESUME_EVERY: Duration = Duration::from_secs(60);
/// Leavings taken up at once.
const RESUME_MAX: i64 = 20;
/// How long somebody may be silent who works on a leaving: longer than any call to Google.
const CLAIM_FOR: SignedDuration = SignedDuration::from_mins(2);
/// The longest wait between two tries of a revocation.
const REVOKE_WAIT_MAX_S: u64 = 6 * 3600;
/// How long a revocation is tried: afterwards the refresh token has most likely ended by itself, and the receipt says
/// that Google never confirmed.
const REVOKE_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Channels that are stopped at most.
const CHANNELS_MAX: i64 = 100;
/// How long channels are stopped one after the other: with the last call's own deadline, less than the claim holds.
const CHANNELS_FOR: SignedDuration = SignedDuration::from_secs(60);
/// Turns of an erasure before others get theirs: twenty million rows.
const TURNS_MAX: usize = 10_000;
/// People of an organization who are let go in one turn.
const PEOPLE_AT_ONCE: i64 = 50;
/// Receipts that are added up at once.
const RECEIPTS_AT_ONCE: i64 = 500;
/// How long receipts of leaving are kept, in hours: a year and a month.
const RECEIPTS_KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// How often what is too old is dropped.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// What was done when a person left.
#[derive(Clone, Debug)]
pub struct Left {
    /// The account; empty if there was none.
    pub email: String,
    /// Whether Google confirmed that it pushes no more.
    pub stopped: bool,
    /// What is known of the revocation.
    pub revocation: Revocation,
    /// How many rows were erased.
    pub rows: u64,
    /// The receipt.
    pub receipt: ReceiptId,
}

/// Who lets somebody go, and how far.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who wants it.
    pub actor: Actor,
    /// From where.
    pub origin: Origin,
    /// Whether the person goes too, and not only their connection.
    pub removes_person: bool,
}

impl Wish {
    fn cause(&self, person: &PersonId) -> Cause {
        match &self.actor {
            Actor::Person(id) if id == person => Cause::Person,
            Actor::Person(_) => Cause::Administrator,
            Actor::Directory => Cause::Directory,
            Actor::Operator | Actor::Intail | Actor::Google => Cause::Operator,
        }
    }
}

/// Disconnects a person who asked for it themselves.
pub async fn leave(app: &App, person: &Person, origin: Origin) -> Result<Left, ConnectError> {
    let_go(app, person, &Wish { actor: Actor::Person(person.id.clone()), origin, removes_person: false }).await
}

/// Disconnects a person. Whoever calls this has made sure that they may.
pub async fn let_go(app: &App, person: &Person, wish: &Wish) -> Result<Left, ConnectError> {
    let (leaving, email) = begin(app, person, wish).await?;
    // A task of its own: a browser that goes away must not stop an erasure half way.
    let app = app.clone();
    let mut erasing = JoinSet::new();
    erasing.spawn(async move { go_on(&app, leaving).await });
    let leaving = match erasing.join_next().await {
        Some(Ok(leaving)) => leaving?,
        _ => return Err(ConnectError::Unexpected("the erasure broke off; it is taken up again".into())),
    };
    if leaving.erased_at.is_none() {
        return Err(ConnectError::StillLeaving);
    }
    Ok(Left {
        email,
        stopped: leaving.is_stopped,
        revocation: leaving.revocation,
        rows: leaving.erased.values().sum(),
        receipt: leaving.id,
    })
}

/// Makes the leaving durable, or takes up the one that there is.
async fn begin(app: &App, person: &Person, wish: &Wish) -> Result<(Leaving, String), ConnectError> {
    let mut tx = app.store.read().await?;
    let grant = grants::by_person(&mut tx, &person.id).await?;
    drop(tx);
    // A working access token, so that the pushes can be stopped; without one the revocation has to do.
    if let Some(grant) = grant.filter(|it| it.state != GrantState::Left)
        && let Err(error) = access::caller(app, &grant.id).await
    {
        tracing::info!(%error, grant = %grant.id, "a person leaves without a working access token");
    }
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    let grant = grants::by_person(&mut tx, &person.id).await?;
    let email = grant.as_ref().map_or_else(String::new, |it| it.email.clone());
    if let Some(unfinished) = leavings::unfinished_of_person(&mut tx, &person.id).await? {
        let mut ended = Erased::new();
        if wish.removes_person {
            ended = end_rights(&mut tx, person).await?;
            leavings::remove_person_too(&mut tx, &unfinished.id).await?;
        }
        let is_more = wish.removes_person && !unfinished.removes_person;
        let mut taken = leavings::claim(&mut tx, &unfinished.id, now, after(now, CLAIM_FOR)).await?;
        if let Some(taken) = &mut taken {
            add(taken, ended);
            leavings::save(&mut tx, taken).await?;
        }
        if is_more {
            audit::record(&mut tx, entry(person, wish, &unfinished.id), now).await?;
        }
        tx.commit().await?;
        return taken.map(|it| (it, email)).ok_or(ConnectError::StillLeaving);
    }
    if grant.is_none() && !wish.removes_person {
        return Err(ConnectError::NotConnected);
    }
    let mut leaving = Leaving {
        id: ReceiptId::new(&app.random),
        organization_id: person.organization_id.clone(),
        person_id: Some(person.id.clone()),
        grant_id: grant.as_ref().map(|it| it.id.clone()),
        cause: wish.cause(&person.id),
        removes_person: wish.removes_person,
        step: if grant.is_some() { LeavingStep::Stop } else { LeavingStep::Erase },
        revocation: if grant.is_some() { Revocation::Open } else { Revocation::Unneeded },
        ..fresh(app, now)
    };
    if let Some(grant) = &grant {
        grants::set_state(&mut tx, &grant.id, GrantState::Left, "left", now).await?;
    }
    // After the grant, as everybody takes them who needs both.
    if wish.removes_person {
        add(&mut leaving, end_rights(&mut tx, person).await?);
    }
    leavings::create(&mut tx, &leaving).await?;
    audit::record(&mut tx, entry(person, wish, &leaving.id), now).await?;
    tx.commit().await?;
    tracing::info!(leaving = %leaving.id, person = %person.id, cause = leaving.cause.word(), "a person leaves");
    Ok((leaving, email))
}

/// What the audit log says of a wish.
fn entry<'a>(person: &'a Person, wish: &Wish, receipt: &ReceiptId) -> Entry<'a> {
    Entry {
        organization: &person.organization_id,
        actor: wish.actor.clone(),
        action: match wish.cause(&person.id) {
            Cause::Person => "connection.left",
            Cause::Administrator => "person.disconnected_by_administrator",
            Cause::Operator => "person.removed",
            Cause::Directory => "person.removed_by_directory",
        },
        about: person.id.as_str(),
        origin: wish.origin,
        detail: json!({"receipt": receipt, "removes_person": wish.removes_person}),
    }
}

/// Ends at once what somebody who is to go may do: their erasure can take minutes, and until its end they are no
/// administrator, and nothing of theirs signs in. Refuses if the organization would have no administrator, unless it
/// goes as a whole. Asked in the transaction that begins the leaving, and holds the organization: two who remove each
/// other are one after the other.
async fn end_rights(tx: &mut Tx, person: &Person) -> Result<Erased, ConnectError> {
    organizations::hold(tx, &person.organization_id).await?;
    // As they are now: somebody may have changed their role, or removed them, since the caller read them.
    let Some(person) = people::by_id(tx, &person.id).await? else { return Err(ConnectError::NotConnected) };
    if roles::is_last_administrator(tx, &person).await?
        && leavings::of_organization(tx, &person.organization_id).await?.is_none()
    {
        return Err(ConnectError::LastAdministrator);
    }
    people::set_role(tx, &person.id, Role::Member).await?;
    Ok(erasure::ways_in(tx, &person.id).await?)
}

/// A leaving that its maker works on.
fn fresh(app: &App, now: Timestamp) -> Leaving {
    Leaving {
        id: ReceiptId::new(&app.random),
        organization_id: OrganizationId::new(&app.random),
        person_id: None,
        grant_id: None,
        cause: Cause::Person,
        removes_person: false,
        step: LeavingStep::Stop,
        is_stopped: false,
        revocation: Revocation::Open,
        refresh_sealed: None,
        subject_sealed: None,
        erased: BTreeMap::new(),
        calls: CallSums::default(),
        begun_at: now,
        erased_at: None,
        tries: 0,
        due_at: after(now, CLAIM_FOR),
        claim: 1,
    }
}

fn after(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(now)
}

/// Removes a whole organization: everybody in it leaves, and then its own rows go. Answers the receipt once it is done,
/// also when it was done before, and nothing while somebody else works on a part of it.
pub async fn remove_organization(app: &App, id: &OrganizationId) -> Result<Option<LeavingReceipt>, ConnectError> {
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    if organizations::by_id(&mut tx, id).await?.is_none() {
        // It has gone already; perhaps its receipt was never seen.
        let of_people = leaving_receipts::of_organization(&mut tx, id, RECEIPTS_AT_ONCE).await?;
        let whole = of_people.into_iter().find(|it| it.person_id.is_none());
        return whole.map(Some).ok_or(ConnectError::NotConnected);
    }
    let leaving = match leavings::of_organization(&mut tx, id).await? {
        Some(known) => leavings::claim(&mut tx, &known.id, now, after(now, CLAIM_FOR)).await?,
        None => {
            let mut leaving = Leaving {
                organization_id: id.clone(),
                cause: Cause::Operator,
                step: LeavingStep::People,
                revocation: Revocation::Unneeded,
                ..fresh(app, now)
            };
            // Nobody joins any more.
            let domains = organizations::drop_domains(&mut tx, id).await?;
            add(&mut leaving, vec![("domains", domains)]);
            leavings::create(&mut tx, &leaving).await?;
            let entry = Entry {
                organization: id,
                actor: Actor::Operator,
                action: "organization.removed",
                about: id.as_str(),
                origin: Origin::Cli,
                detail: json!({"receipt": leaving.id}),
            };
            audit::record(&mut tx, entry, now).await?;
            Some(leaving)
        }
    };
    tx.commit().await?;
    let Some(leaving) = leaving else { return Ok(None) };
    let receipt = leaving.id.clone();
    go_on(app, leaving).await?;
    let mut tx = app.store.read().await?;
    Ok(leaving_receipts::by_id(&mut tx, &receipt).await?)
}

/// Takes up what a crash or Google's trouble left unfinished, until `shutdown`, lets go whom the directory calls
/// deleted since long enough, and drops what is too old.
pub async fn resume_leaving(app: &App, shutdown: CancellationToken) {
    let mut sweep_due = app.clock.now();
    loop {
        match resume_once(app).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "unfinished leavings were taken up again"),
            Err(error) => tracing::warn!(%error, "unfinished leavings can't be read"),
        }
        match retention::let_the_deleted_go(app).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "people whose accounts were deleted have gone"),
            Err(error) => tracing::warn!(%error, "people whose accounts were deleted can't go yet"),
        }
        let now = app.clock.now();
        if now >= sweep_due {
            sweep_due = after(now, SWEEP_EVERY);
            if let Err(error) = sweep(app, now).await {
                tracing::warn!(%error, "receipts that are too old can't be dropped yet");
            }
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = app.clock.sleep(RESUME_EVERY) => {}
        }
    }
}

async fn sweep(app: &App, now: Timestamp) -> Result<(), StoreError> {
    scrub(app).await;
    retention::erase_entries(app).await?;
    receipts::sweep(&app.store, now).await?;
    let mut tx = app.store.write().await?;
    leaving_receipts::sweep(&mut tx, now.checked_sub(RECEIPTS_KEPT).unwrap_or(Timestamp::MIN)).await?;
    // Addresses of people who never came.
    invitations::sweep(&mut tx, now).await?;
    sign_in_links::sweep(&mut tx, now).await?;
    tx.commit().await
}

async fn resume_once(app: &App) -> Result<usize, StoreError> {
    let mut tx = app.store.read().await?;
    let due = leavings::due(&mut tx, app.clock.now(), RESUME_MAX).await?;
    drop(tx);
    for id in &due {
        let now = app.clock.now();
        let mut tx = app.store.write().await?;
        let taken = leavings::claim(&mut tx, id, now, after(now, CLAIM_FOR)).await?;
        tx.commit().await?;
        let Some(leaving) = taken else { continue };
        if let Err(error) = go_on(app, leaving).await {
            tracing::warn!(%error, leaving = %id, "a leaving is still unfinished");
        }
    }
    Ok(due.len())
}

/// Does step after step until all is done or Google has to be asked again later; answers how it stands then. Boxed,
/// because an organization lets its people leave by the same way.
fn go_on(app: &App, leaving: Leaving) -> futures::future::BoxFuture<'_, Result<Leaving, ConnectError>> {
    Box::pin(async move {
        let mut leaving = leaving;
        for _ in 0..TURNS_MAX {
            let is_over = match leaving.step {
                LeavingStep::Stop => stop(app, &mut leaving).await?,
                LeavingStep::Revoke => revoke(app, &mut leaving).await?,
                LeavingStep::Erase => erase(app, &mut leaving).await?,
                LeavingStep::Receipt => issue(app, &mut leaving).await?,
                LeavingStep::RevokeLater => revoke_later(app, &mut leaving).await?,
                LeavingStep::People => let_people_go(app, &mut leaving).await?,
                LeavingStep::Organization => erase_organization(app, &mut leaving).await?,
            };
            if is_over {
                break;
            }
        }
        Ok(leaving)
    })
}

/// Commits what a step did and prolongs the claim.
async fn save(app: &App, mut tx: Tx, leaving: &mut Leaving) -> Result<(), StoreError> {
    leaving.due_at = after(app.clock.now(), CLAIM_FOR);
    leavings::save(&mut tx, leaving).await?;
    tx.commit().await
}

async fn grant_of(app: &App, leaving: &Leaving) -> Result<Option<Grant>, StoreError> {
    let Some(id) = &leaving.grant_id else { return Ok(None) };
    let mut tx = app.store.read().await?;
    grants::by_id(&mut tx, id).await
}

/// Asks Google to push no more. That it fails is no obstacle: the revocation ends the pushes too. Nobody waits for a
/// budget here, whose minutes leave room for it; what it costs counts in the project's day.
async fn stop(app: &App, leaving: &mut Leaving) -> Result<bool, ConnectError> {
    let caller = grant_of(app, leaving).await?.and_then(|it| kept_caller(app, &it));
    let mut spent = Vec::new();
    if let Some(caller) = caller {
        let is_stopped = app.google.gmail(&caller).stop().await.is_ok();
        let mut asked = 0;
        leaving.is_stopped = is_stopped & stop_channels(app, leaving, &caller, &mut asked).await?;
        spent = vec![(quota::GMAIL, i64::from(app.config.quota.units("gmail.stop"))), (quota::CALENDAR, asked)];
    }
    leaving.step = LeavingStep::Revoke;
    let mut tx = app.store.write().await?;
    for (service, units) in spent {
        quota::spend(&mut tx, service, day(app.clock.now()).0, units).await?;
    }
    save(app, tx, leaving).await?;
    Ok(false)
}

/// Asks Google to tell no more of calendars, counting in `asked` how often; answers whether it confirmed each. The
/// first time that it can't answer is the last: a channel that isn't stopped ends with the permission, and the erasure
/// mustn't wait for it.
async fn stop_channels(app: &App, leaving: &Leaving, caller: &Caller, asked: &mut i64) -> Result<bool, StoreError> {
    let Some(person) = &leaving.person_id else { return Ok(true) };
    let mut tx = app.store.read().await?;
    let Some(agenda) = agendas::by_person(&mut tx, person).await? else { return Ok(true) };
    let open = channels::of_agenda(&mut tx, &agenda.id, CHANNELS_MAX + 1).await?;
    drop(tx);
    let now = app.clock.now();
    let limit = usize::try_from(CHANNELS_MAX).unwrap_or(usize::MAX);
    // Of more than these, nobody was asked.
    let mut is_stopped = open.len() <= limit;
    let open = &open[..open.len().min(limit)];
    for channel in open.iter().filter(|it| it.expires_at.is_some_and(|ends| ends > now)) {
        // Google's answer was lost: it may be open, and can't be named.
        let Some(resource_id) = &channel.resource_id else {
            is_stopped = false;
            continue;
        };
        if app.clock.now().duration_since(now) > CHANNELS_FOR {
            return Ok(false);
        }
        *asked += 1;
        match app.google.calendar(caller).stop(&channel.id, resource_id).await {
            Ok(()) => {}
            Err(error) if passes(&error.kind) => return Ok(false),
            Err(_) => is_stopped = false,
        }
    }
    Ok(is_stopped)
}

fn kept_caller(app: &App, grant: &Grant) -> Option<Caller> {
    let (sealed, ends) = grant.access_sealed.as_ref().zip(grant.access_expires_at)?;
    if ends <= app.clock.now() {
        return None;
    }
    let access_token = app.keyring.open_text(sealed, &access_row(&grant.id)).ok()?;
    Some(Caller { access_token, on_behalf: grant.id.to_string(), purpose: purpose::LEAVING })
}

async fn revoke(app: &App, leaving: &mut Leaving) -> Result<bool, ConnectError> {
    if let Some(grant) = grant_of(app, leaving).await? {
        leaving.revocation = ask_to_revoke(app, &grant.id, grant.refresh_sealed.as_deref()).await;
        leaving.tries += 1;
    }
    leaving.step = LeavingStep::Erase;
    save(app, app.store.write().await?, leaving).await?;
    Ok(false)
}

/// Revokes a grant at Google. One that Google no longer knows is revoked.
async fn ask_to_revoke(app: &App, grant: &GrantId, sealed: Option<&str>) -> Revocation {
    let Some(sealed) = sealed else { return Revocation::Unneeded };
    let token = match app.keyring.open_text(sealed, &refresh_row(grant)) {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, %grant, "a token to be revoked can't be opened");
            return Revocation::Refused;
        }
    };
    match app.google.revoke(&token, grant.as_str(), purpose::LEAVING).await {
        Ok(()) => Revocation::Confirmed,
        Err(error) => {
            tracing::warn!(%error, %grant, "a grant couldn't be revoked");
            // What can't be understood wasn't Google's no, but perhaps a proxy's: the token is kept for another try.
            let is_open = passes(&error.kind) || error.kind == ErrorKind::NotUnderstood;
            if is_open { Revocation::Open } else { Revocation::Refused }
        }
    }
}

/// Whether Google only couldn't answer now.
fn passes(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Transient | ErrorKind::SlowDown { .. })
}

fn add(leaving: &mut Leaving, erased: Erased) {
    for (kind, rows) in erased.into_iter().filter(|(_, rows)| *rows > 0) {
        *leaving.erased.entry(kind.to_owned()).or_default() += rows;
    }
}

/// Erases some rows, or the last ones: each turn is one short transaction, so that nobody waits long for the writer.
async fn erase(app: &App, leaving: &mut Leaving) -> Result<bool, ConnectError> {
    let Some(person) = leaving.person_id.clone() else { return Ok(true) };
    let mut tx = app.store.write().await?;
    // One directory for all: it goes with the last grant that permitted it.
    if let Some(grant) = &leaving.grant_id
        && !directory_readers::others_permit(&mut tx, &leaving.organization_id, Permission::Directory.scope(), grant)
            .await?
    {
        let some = erasure::some_of_directory(&mut tx, &leaving.organization_id).await?;
        if !some.is_empty() {
            add(leaving, some);
            save(app, tx, leaving).await?;
            return Ok(false);
        }
    }
    if leaving.grant_id.is_some()
        && let Some(erased) = erase_streams(app, &mut tx, leaving, &person).await?
    {
        add(leaving, erased);
        save(app, tx, leaving).await?;
        return Ok(false);
    }
    let removes_person = leavings::by_id(&mut tx, &leaving.id).await?.is_some_and(|it| it.removes_person);
    leaving.removes_person = removes_person;
    if leaving.grant_id.is_none()
        && let Some(grant) = grants::by_person(&mut tx, &person).await?
    {
        // Somebody who is to go connected meanwhile.
        grants::set_state(&mut tx, &grant.id, GrantState::Left, "left", app.clock.now()).await?;
        leaving.grant_id = Some(grant.id);
        leaving.revocation = Revocation::Open;
        leaving.step = LeavingStep::Stop;
        save(app, tx, leaving).await?;
        return Ok(false);
    }
    // Of whom nothing was ever connected there may be a log of attempts that were refused.
    let log = match &leaving.grant_id {
        Some(id) => Some(id.clone()),
        None => logs::of_person(&mut tx, &person).await?.filter(|_| removes_person),
    };
    let taken = log.as_ref().map(|it| app.receipts.take(it));
    if let Some(log) = log.filter(|_| leaving.grant_id.is_none()) {
        if let Some(taken) = &taken {
            taken.put(&mut tx, &leaving.organization_id, app.clock.now()).await?;
        }
        leaving.calls = sums(&mut tx, &log).await?;
    }
    if let Some(id) = leaving.grant_id.clone()
        && let Some(grant) = grants::by_id(&mut tx, &id).await?
    {
        if let Some(taken) = &taken {
            taken.put(&mut tx, &leaving.organization_id, app.clock.now()).await?;
        }
        leaving.calls = sums(&mut tx, &id).await?;
        // Until Google confirms the revocation, the sealed token is kept for the next try, with whose it is, and
        // nothing else.
        leaving.refresh_sealed = grant.refresh_sealed.filter(|_| leaving.revocation == Revocation::Open);
        if leaving.refresh_sealed.is_some() {
            let subject = SecretString::from(grant.google_subject);
            leaving.subject_sealed = Some(app.keyring.seal_text(&subject, &subject_row(&id))?);
        }
        add(leaving, erasure::grant(&mut tx, &id).await?);
    }
    if removes_person {
        match erasure::person(&mut tx, &person).await {
            Ok(erased) => add(leaving, erased),
            // They connected between the look for a grant and now, on PostgreSQL: the next turn finds it.
            Err(error) if error.is_foreign_key_violation() && leaving.grant_id.is_none() => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    leaving.erased_at = Some(app.clock.now());
    leaving.step = LeavingStep::Receipt;
    save(app, tx, leaving).await?;
    if let Some(taken) = taken {
        taken.written();
    }
    app.feed.tell(&leaving.organization_id);
    Ok(false)
}

/// Erases some rows of a person's mailbox or agenda, or the last ones; nothing once both have gone. That it was erased
/// stays in the person's feed.
async fn erase_streams(
    app: &App,
    tx: &mut Tx,
    leaving: &Leaving,
    person: &PersonId,
) -> Result<Option<Erased>, StoreError> {
    let (stream, kind, erased) = if let Some(mailbox) = mailboxes::by_person(tx, person).await? {
        leases::take_away(tx, &StreamId::from(&mailbox.id)).await?;
        let some = erasure::some_of_mailbox(tx, &mailbox.id).await?;
        if !some.is_empty() {
            return Ok(Some(some));
        }
        (StreamId::from(&mailbox.id), "mailbox.erased", erasure::mailbox(tx, &mailbox.id).await?)
    } else if let Some(agenda) = agendas::by_person(tx, person).await? {
        leases::take_away(tx, &StreamId::from(&agenda.id)).await?;
        let some = erasure::some_of_agenda(tx, &agenda.id).await?;
        if !some.is_empty() {
            return Ok(Some(some));
        }
        (StreamId::from(&agenda.id), "agenda.erased", erasure::agenda(tx, &agenda.id).await?)
    } else {
        return Ok(None);
    };
    let of = Of { organization: &leaving.organization_id, person: Some(person), stream };
    let change = NewChange { kind, subject_id: String::new(), data: json!({}) };
    changes::append(tx, of, &[change], app.clock.now()).await?;
    Ok(Some(erased))
}

async fn sums(tx: &mut Tx, grant: &GrantId) -> Result<CallSums, StoreError> {
    let sums = call_counts::sums(tx, grant).await?;
    let head = logs::head_of(tx, grant).await?;
    let (last_batch, last_hash) = head.map_or((0, String::new()), |it| (it.batch, it.hash));
    Ok(CallSums { last_batch, last_hash, ..sums })
}

/// Issues the receipt, or issues it anew once more is known. Over unless Google still has to confirm.
async fn issue(app: &App, leaving: &mut Leaving) -> Result<bool, ConnectError> {
    scrub(app).await;
    let signer = signer(app).await?;
    let now = app.clock.now();
    let mut statement = statement(leaving, now);
    let mut tx = app.store.write().await?;
    if directories::of_organization(&mut tx, &leaving.organization_id).await?.is_some()
        && let Some(kept) = statement["kept"].as_array_mut()
    {
        kept.push(json!(KEPT_IN_DIRECTORY));
    }
    // A late revocation can end after the whole organization has gone, whose receipt stands for all: nothing of it
    // comes back.
    organizations::hold(&mut tx, &leaving.organization_id).await?;
    if organizations::by_id(&mut tx, &leaving.organization_id).await?.is_some() {
        leaving_receipts::put(&mut tx, &signed(&signer, leaving, statement, now)).await?;
    }
    if leaving.revocation == Revocation::Open {
        leaving.step = LeavingStep::RevokeLater;
        leaving.due_at = after(now, wait(leaving.tries));
        leavings::save(&mut tx, leaving).await?;
    } else {
        leavings::finish(&mut tx, leaving).await?;
    }
    tx.commit().await?;
    let revocation = leaving.revocation.word();
    tracing::info!(leaving = %leaving.id, stopped = leaving.is_stopped, revocation, "somebody has left");
    Ok(true)
}

/// Takes what was erased out of the database's files. When somebody reads just then, the hourly sweep does it.
async fn scrub(app: &App) {
    match app.store.scrub().await {
        Ok(true) => {}
        Ok(false) => tracing::info!("erased rows stay in the database's log until nobody reads"),
        Err(error) => tracing::warn!(%error, "erased rows couldn't be taken out of the database's log yet"),
    }
}

async fn signer(app: &App) -> Result<Signer, ConnectError> {
    Signer::open(&app.store, &app.keyring, &app.random, app.clock.now()).await.map_err(|error| match error {
        SigningError::Store(error) => ConnectError::Store(error),
        SigningError::Sealed(error) => ConnectError::Sealed(error),
        SigningError::NotAKey => ConnectError::Unexpected(Box::new(error)),
    })
}

fn wait(tries: i64) -> SignedDuration {
    let doublings = u32::try_from(tries.clamp(1, 16) - 1).unwrap_or(0);
    let wait_s = (RESUME_EVERY.as_secs() << doublings).min(REVOKE_WAIT_MAX_S);
    SignedDuration::from_secs(i64::try_from(wait_s).unwrap_or(i64::MAX))
}

fn signed(signer: &Signer, leaving: &Leaving, statement: Json, now: Timestamp) -> LeavingReceipt {
    let statement = statement.to_string();
    LeavingReceipt {
        id: leaving.id.clone(),
        organization_id: leaving.organization_id.clone(),
        person_id: leaving.person_id.clone(),
        issued_at: now,
        signature: signer.sign(&statement),
        key_id: signer.key_id().to_owned(),
        statement,
    }
}

/// What a receipt states: ids, instants and counts.
fn statement(leaving: &Leaving, now: Timestamp) -> Json {
    json!({
        "version": 1,
        "kind": if leaving.removes_person { "person.removed" } else { "connection.left" },
        "receipt": leaving.id,
        "organization": leaving.organization_id,
        "person": leaving.person_id,
        "permission": leaving.grant_id,
        "by": leaving.cause.word(),
        "begun_at": leaving.begun_at.to_string(),
        "erased_at": leaving.erased_at.map(|it| it.to_string()),
        "issued_at": now.to_string(),
        "google": {
            "pushes_stopped": leaving.is_stopped,
            "permission_given_back": leaving.revocation.word(),
        },
        "erased": leaving.erased,
        "calls": leaving.calls,
        "kept": kept(leaving),
    })
}

/// What stays of somebody who disconnects and may connect again: what `OF_PERSON` in `store/erasure.rs` would delete.
const KEPT_OF_WHO_STAYS: [&str; 5] = [
    "what signing in needs: address, name, role, signed-in browsers, access keys and links to sign in",
    "privacy settings, which hold when the person connects again",
    "attempts to connect, for about a day, and the wish to be told of the approval",
    "in the feed, by id, that the mailbox and the calendars were connected and erased",
    "what was asked for attempts to connect that were refused since",
];

/// What stays where an organization's directory is copied. Whether it lists the person isn't known any more: what they
/// are at Google was erased.
const KEPT_IN_DIRECTORY: &str =
    "the person's entry in the copy of the organization's directory, if it has one: others permit Intail to read it";
/// What stays of everybody outside of the rows that Intail erases.
const KEPT_ELSEWHERE: [&str; 2] = [
    "what colleagues' own mail and calendars hold",
    "backups, and what the database itself keeps of deleted rows, until whoever runs Intail deletes them",
];

/// What stays, in words.
fn kept(leaving: &Leaving) -> Vec<&'static str> {
    let mut kept = vec!["this receipt", "audit entries by id"];
    if !leaving.removes_person {
        kept.extend(KEPT_OF_WHO_STAYS);
    }
    if leaving.revocation == Revocation::Open {
        kept.push("the sealed token, until Google confirms that it is revoked");
    }
    kept.extend(KEPT_ELSEWHERE);
    kept
}

/// Whether the account was connected again since: by the same person, by the same person as somebody new, or by anybody
/// else. Revoking would end that too, because Google takes back whatever an account permitted the whole project.
async fn is_back(app: &App, leaving: &Leaving, grant: &GrantId, person: &PersonId) -> Result<bool, StoreError> {
    let subject = leaving.subject_sealed.as_ref().and_then(|it| app.keyring.open_text(it, &subject_row(grant)).ok());
    let mut tx = app.store.read().await?;
    let since = match subject {
        Some(subject) => grants::by_google_subject(&mut tx, subject.expose_secret()).await?,
        None => grants::by_person(&mut tx, person).await?,
    };
    Ok(since.is_some())
}

/// The row that the account of a token is sealed for which is still to be revoked.
fn subject_row(grant: &GrantId) -> String {
    format!("leavings/{grant}/subject")
}

/// Tries once more to give the permission back.
async fn revoke_later(app: &App, leaving: &mut Leaving) -> Result<bool, ConnectError> {
    let (Some(grant), Some(person)) = (leaving.grant_id.clone(), leaving.person_id.clone()) else { return Ok(true) };
    let is_back = is_back(app, leaving, &grant, &person).await?;
    leaving.revocation = if is_back {
        Revocation::Overtaken
    } else {
        ask_to_revoke(app, &grant, leaving.refresh_sealed.as_deref()).await
    };
    leaving.tries += 1;
    let now = app.clock.now();
    if leaving.revocation == Revocation::Open && now.duration_since(leaving.begun_at) > REVOKE_FOR {
        leaving.revocation = Revocation::GivenUp;
    }
    if leaving.revocation == Revocation::Open {
        leaving.due_at = after(now, wait(leaving.tries));
        let mut tx = app.store.write().await?;
        leavings::save(&mut tx, leaving).await?;
        tx.commit().await?;
        return Ok(true);
    }
    (leaving.refresh_sealed, leaving.subject_sealed) = (None, None);
    leaving.step = LeavingStep::Receipt;
    save(app, app.store.write().await?, leaving).await?;
    Ok(false)
}

/// Lets some people of an organization leave. Over while all who are left are looked after by somebody else.
async fn let_people_go(app: &App, leaving: &mut Leaving) -> Result<bool, ConnectError> {
    let mut tx = app.store.read().await?;
    let some = people::list(&mut tx, &leaving.organization_id, None, PEOPLE_AT_ONCE).await?;
    drop(tx);
    let mut gone = 0;
    for person in &some {
        match leave_with(app, person).await {
            // Who isn't there any more was removed by somebody else meanwhile.
            Ok(()) | Err(ConnectError::NotConnected) => gone += 1,
            Err(ConnectError::StillLeaving) => {}
            Err(error) => return Err(error),
        }
        save(app, app.store.write().await?, leaving).await?;
    }
    if !some.is_empty() {
        return Ok(gone == 0);
    }
    if !finish_leavings(app, &leaving.organization_id).await? {
        return Ok(true);
    }
    leaving.step = LeavingStep::Organization;
    save(app, app.store.write().await?, leaving).await?;
    Ok(false)
}

/// Finishes the leavings of people of an organization who have gone and have no receipt yet: it counts in the
/// organization's. Answers whether all have one.
async fn finish_leavings(app: &App, organization: &OrganizationId) -> Result<bool, ConnectError> {
    loop {
        let now = app.clock.now();
        let mut tx = app.store.write().await?;
        let some = leavings::without_receipt(&mut tx, organization, 1).await?;
        let Some(next) = some.first() else { return Ok(true) };
        let taken = leavings::claim(&mut tx, next, now, after(now, CLAIM_FOR)).await?;
        tx.commit().await?;
        let Some(taken) = taken else { return Ok(false) };
        go_on(app, taken).await?;
    }
}

async fn leave_with(app: &App, person: &Person) -> Result<(), ConnectError> {
    let wish = Wish { actor: Actor::Operator, origin: Origin::Cli, removes_person: true };
    let (leaving, _) = begin(app, person, &wish).await?;
    go_on(app, leaving).await.map(|_| ())
}

/// The last step of an organization's leaving: its own rows go, and its receipt adds up those of its people.
async fn erase_organization(app: &App, leaving: &mut Leaving) -> Result<bool, ConnectError> {
    let signer = signer(app).await?;
    let now = app.clock.now();
    let mut tx = app.store.write().await?;
    if !people::list(&mut tx, &leaving.organization_id, None, 1).await?.is_empty() {
        // Somebody came in by another way: they go first.
        leaving.step = LeavingStep::People;
        save(app, tx, leaving).await?;
        return Ok(false);
    }
    let mut sum = leaving.clone();
    let audited = audit_log::chain(&mut tx, &leaving.organization_id).await?;
    let (people, google) = add_up(&mut tx, &mut sum).await?;
    let open = leavings::revocations_open(&mut tx, &leaving.organization_id).await?;
    add(&mut sum, erasure::organization(&mut tx, &leaving.organization_id).await?);
    sum.erased_at = Some(now);
    let mut statement = statement(&sum, now);
    statement["kind"] = json!("organization.removed");
    statement["people"] = json!(people);
    statement["audit_log"] = json!({"last_seq": audited.last_seq, "last_hash": audited.last_hash});
    statement["google"] = google.told();
    statement["kept"] = json!(kept_of_organization(open));
    leaving_receipts::put(&mut tx, &signed(&signer, &sum, statement, now)).await?;
    leavings::finish(&mut tx, leaving).await?;
    tx.commit().await?;
    tracing::info!(leaving = %leaving.id, organization = %leaving.organization_id, "an organization was removed");
    Ok(true)
}

/// What is left of an organization that has gone, in words. `open` is how many sealed tokens are still to be revoked.
fn kept_of_organization(open: i64) -> Vec<String> {
    let mut kept = vec!["this receipt".to_owned()];
    if open > 0 {
        let days = REVOKE_FOR.as_hours() / 24;
        kept.push(format!(
            "sealed tokens of people who left ({open}), until Google confirms that they are revoked: {days} days at \
             most"
        ));
    }
    // With the organization its colleagues' copies went.
    kept.push(KEPT_ELSEWHERE[1].to_owned());
    kept
}

/// What was done at Google for people who left, added up.
#[derive(Default)]
struct AtGoogle {
    /// People who had permitted something.
    permissions: u64,
    /// Those of them for whom Google confirmed that it pushes no more.
    stopped: u64,
    /// How giving the permissions back ended, by word.
    given_back: BTreeMap<String, u64>,
}

impl AtGoogle {
    /// Counts a person's receipt.
    fn count(&mut self, told: &Json) {
        if !told["permission"].is_string() {
            return;
        }
        self.permissions += 1;
        self.stopped += u64::from(told["google"]["pushes_stopped"] == true);
        let word = told["google"]["permission_given_back"].as_str().unwrap_or_default();
        *self.given_back.entry(word.to_owned()).or_default() += 1;
    }

    fn told(&self) -> Json {
        json!({
            "permissions": self.permissions,
            "pushes_stopped": self.stopped,
            "permissions_given_back": self.given_back,
        })
    }
}

/// Adds up the receipts of the people who left since the organization's own leaving began; answers how many there are,
/// and what was done at Google. Who had gone before isn't among them, also when Google confirms only now and so the
/// receipt is a new one.
async fn add_up(tx: &mut Tx, sum: &mut Leaving) -> Result<(u64, AtGoogle), StoreError> {
    let (mut people, mut google, mut last) = (0, AtGoogle::default(), None);
    loop {
        let some = leaving_receipts::page(tx, &sum.organization_id, last.as_ref(), RECEIPTS_AT_ONCE).await?;
        let Some(end) = some.last() else { return Ok((people, google)) };
        last = Some(end.id.clone());
        for receipt in some.iter().filter(|it| it.issued_at >= sum.begun_at) {
            let Ok(told) = serde_json::from_str::<Json>(&receipt.statement) else { continue };
            let erased_at = told["erased_at"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
            if told["kind"] != "person.removed" || erased_at.is_some_and(|it| it < sum.begun_at) {
                continue;
            }
            people += 1;
            google.count(&told);
            for (kind, rows) in told["erased"].as_object().into_iter().flatten() {
                *sum.erased.entry(kind.clone()).or_default() += rows.as_u64().unwrap_or(0);
            }
            let of = |key: &str| told["calls"][key].as_i64().unwrap_or(0);
            sum.calls.calls += of("calls");
            sum.calls.units += of("units");
            sum.calls.bytes += of("bytes");
        }
    }
}

/// A receipt as its holder keeps it: the statement as the very text that is signed, and what it is verified with.
pub fn document(receipt: &LeavingReceipt, public_key: &str) -> Json {
    json!({
        "receipt": receipt.id,
        "statement": receipt.statement,
        "signature": receipt.signature,
        "algorithm": "Ed25519",
        "key": receipt.key_id,
        "public_key": public_key,
        "verify": "The signature is over the bytes of `statement`. It and the key are base64url without padding; the \
                   key is the 32 bytes of an Ed25519 public key, and is also at /api/v1/receipts/key.",
    })
}

/// Whether somebody's old rows are still on their way out.
pub(super) async fn is_leaving(tx: &mut Tx, person: &PersonId) -> Result<bool, StoreError> {
    Ok(leavings::unfinished_of_person(tx, person).await?.is_some())
}

//! What follows from the directory for people who are here: who is suspended at Google pauses until they aren't, whose
//! account was deleted has their days counted, both are shown nothing meanwhile, and whose address changed keeps
//! everything under the new one. Somebody of the directory and somebody here are the same when Google's id of the
//! account is.
//!
//! What a reader must not break: everything here is decided from what the directory says now, so that doing it twice
//! changes nothing; and only what an administrator's view said suspends anybody.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::access;
use crate::app::App;
use crate::id::{OrganizationId, PersonId, StreamId};
use crate::org::audit::{Actor, Entry, Origin};
use crate::store::changes::NewChange;
use crate::store::directory_people::DirectoryPerson;
use crate::store::grants::{self, Grant};
use crate::store::mailboxes;
use crate::store::people::{self, Person};
use crate::store::{StoreError, Tx};

const SUSPENDED: &str = "person.suspended_at_google";
const UNSUSPENDED: &str = "person.unsuspended_at_google";

/// What is to be committed beside the directory itself.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    /// Changes of people's own streams.
    pub(super) changes: Vec<(PersonId, StreamId, NewChange)>,
    /// What goes into the audit log.
    pub(super) deeds: Vec<Deed>,
    /// Whether a stream has become due.
    pub(super) wakes: bool,
}

/// Something that the directory did to somebody.
#[derive(Debug)]
pub(super) struct Deed {
    action: &'static str,
    person: PersonId,
    detail: Json,
}

impl Deed {
    /// Its entry in the audit log.
    pub(super) fn entry<'a>(&'a self, organization: &'a OrganizationId) -> Entry<'a> {
        Entry {
            organization,
            actor: Actor::Directory,
            action: self.action,
            about: self.person.as_str(),
            origin: Origin::Unknown,
            detail: self.detail.clone(),
        }
    }
}

/// Lets those who are here follow what the directory says of them. `people` are as they were, if they were known, and
/// as they are; they are written already. `now` is when Google was asked: whoever connected since is newer than that.
pub(super) async fn follow(
    app: &App,
    tx: &mut Tx,
    organization: &OrganizationId,
    people: Vec<(Option<&DirectoryPerson>, &DirectoryPerson)>,
    now: Timestamp,
) -> Result<Lifecycle, StoreError> {
    let ids: Vec<String> = people.iter().map(|(_, it)| it.google_id.clone()).collect();
    let issuer = app.google.endpoints().issuer.as_str();
    let connected = grants::of_accounts(tx, organization, &ids).await?;
    let mut connected: BTreeMap<String, Grant> =
        connected.into_iter().map(|it| (it.google_subject.clone(), it)).collect();
    let signing_in = people::of_accounts(tx, organization, issuer, &ids).await?;
    let mut signing_in: BTreeMap<String, Person> = signing_in.into_iter().map(|it| (it.subject.clone(), it)).collect();
    let mut life = Lifecycle::default();
    for (before, person) in people {
        let grant = connected.remove(&person.google_id);
        let signs_in = signing_in.remove(&person.google_id);
        let Some(whom) = grant.as_ref().map(|it| &it.person_id).or(signs_in.as_ref().map(|it| &it.id)) else {
            continue;
        };
        let deed = |action, detail| Deed { action, person: whom.clone(), detail };
        match (before.and_then(|it| it.deleted_at), person.deleted_at) {
            (None, Some(_)) => life.deeds.push(deed("person.deleted_at_google", json!({}))),
            (Some(_), None) => life.deeds.push(deed("person.back_at_google", json!({}))),
            _ => {}
        }
        let own = match (&signs_in, &grant) {
            (Some(own), _) => Some(own.id.clone()),
            (None, Some(grant)) => signs_in_elsewhere(tx, grant, issuer, &person.address).await?,
            (None, None) => None,
        };
        let is_newer = grant.as_ref().is_some_and(|it| it.connected_at > now);
        match (own, may_sign_in(person)) {
            (Some(own), Some(false)) if !is_newer => people::shut_out(tx, &own, now).await?,
            (Some(own), Some(true)) => people::let_in(tx, &own).await?,
            _ => {}
        }
        let suspended = |it: &DirectoryPerson| it.suspended == Some(true);
        let is_news = before.is_some_and(suspended) != suspended(person);
        if is_news && grant.is_none() && person.deleted_at.is_none() {
            let action = if suspended(person) { SUSPENDED } else { UNSUSPENDED };
            life.deeds.push(deed(action, json!({})));
        }
        if let Some(grant) = grant.as_ref().filter(|it| it.connected_at <= now) {
            suspend(tx, grant, person, &mut life, now).await?;
        }
        if !person.address.is_empty() {
            rename(tx, grant.as_ref(), signs_in.as_ref(), &person.address, &mut life).await?;
        }
    }
    Ok(life)
}

/// Whether Google lets anybody sign in with the account. Of whom passes only miss it isn't known: a view may have an
/// end that nobody told Intail of, and what is meant for the day when somebody's rows go must not shut out whoever is
/// there.
fn may_sign_in(person: &DirectoryPerson) -> Option<bool> {
    match (person.suspended == Some(true), person.deleted_at) {
        (false, None) => Some(true),
        (false, Some(_)) if person.misses > 0 => None,
        _ => Some(false),
    }
}

/// Whoever connected this account, if they sign in with another issuer and by the account's address: it is their own,
/// and not a second one.
async fn signs_in_elsewhere(
    tx: &mut Tx,
    grant: &Grant,
    issuer: &str,
    address: &str,
) -> Result<Option<PersonId>, StoreError> {
    let person = people::by_id(tx, &grant.person_id).await?;
    Ok(person.filter(|it| it.issuer != issuer && it.email.eq_ignore_ascii_case(address)).map(|it| it.id))
}

/// Pauses a grant whose account is suspended, and lets it go on once it isn't.
async fn suspend(
    tx: &mut Tx,
    grant: &Grant,
    person: &DirectoryPerson,
    life: &mut Lifecycle,
    now: Timestamp,
) -> Result<(), StoreError> {
    // The tokens of a deleted account are dead: what it was before doesn't matter until it is back.
    if person.deleted_at.is_some() {
        return Ok(());
    }
    let is_suspended = person.suspended == Some(true) && person.gone_at.is_none();
    if is_suspended == grant.suspended_at.is_some() {
        return Ok(());
    }
    if is_suspended {
        grants::set_suspended(tx, &grant.id, Some(now), now).await?;
    } else {
        access::unsuspend(tx, grant, now).await?;
        life.wakes = true;
    }
    let mailbox = mailboxes::by_person(tx, &grant.person_id).await?;
    let action = if is_suspended { SUSPENDED } else { UNSUSPENDED };
    life.deeds.push(Deed { action, person: grant.person_id.clone(), detail: json!({}) });
    if let Some(mailbox) = mailbox {
        let state = if is_suspended { "suspended" } else { mailbox.state.word() };
        let change = NewChange { kind: "mailbox.state", subject_id: String::new(), data: json!({ "state": state }) };
        life.changes.push((grant.person_id.clone(), StreamId::from(&mailbox.id), change));
    }
    Ok(())
}

/// Lets a grant, its mailbox and whoever signs in with the account follow its address.
async fn rename(
    tx: &mut Tx,
    grant: Option<&Grant>,
    signs_in: Option<&Person>,
    address: &str,
    life: &mut Lifecycle,
) -> Result<(), StoreError> {
    if let Some(grant) = grant.filter(|it| !it.email.eq_ignore_ascii_case(address)) {
        grants::set_email(tx, &grant.id, address).await?;
        if let Some(mailbox) = mailboxes::by_person(tx, &grant.person_id).await? {
            mailboxes::set_email(tx, &mailbox.id, address).await?;
        }
        life.deeds.push(Deed {
            action: "person.renamed_at_google",
            person: grant.person_id.clone(),
            detail: json!({}),
        });
    }
    if let Some(person) = signs_in.filter(|it| !it.email.eq_ignore_ascii_case(address)) {
        people::set_email(tx, person, address).await?;
    }
    Ok(())
}

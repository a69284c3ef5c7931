//! Takes Google's callback: proves that it belongs to the attempt, exchanges the code, checks who came back and what
//! they permitted, and leaves a grant and a mailbox that is due. A token that may not be kept is revoked on the spot.

use intail_google::id_token::{Expected, IdClaims, IdTokenError};
use intail_google::oauth::{Provider, Tokens, callback_error, scope};
use intail_google::{BlockReason, ErrorKind, Refusal};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{ConnectError, Permission, leave, refusal};
use crate::access;
use crate::app::App;
use crate::id::{AgendaId, DirectoryId, GrantId, MailboxId};
use crate::org::approval::{self, Way};
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::org::names;
use crate::org::receipts::{Taken, purpose};
use crate::seal::hash_token;
use crate::store::agendas::{self, Agenda};
use crate::store::attempts::{self, Attempt, Purpose};
use crate::store::changes::{self, NewChange, Of};
use crate::store::directories;
use crate::store::grants::{self, Grant, GrantState, Put};
use crate::store::mailboxes::{self, Mailbox};
use crate::store::people::{self, Person};
use crate::store::{StoreError, Tx, organizations, receipts};

/// What the callback's address carries. Everything else in it is ignored.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Callback {
    /// The code to exchange.
    pub code: Option<SecretString>,
    /// The attempt's state.
    pub state: Option<SecretString>,
    /// Who answers.
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// From where it was asked. The address itself can't say that.
    #[serde(skip)]
    pub origin: Origin,
}

/// What the confirmation says.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The account.
    pub email: String,
    /// Permissions that were left unticked.
    pub missing: Vec<Permission>,
    /// Whether it was connected before.
    pub again: bool,
}

/// Finishes an attempt. `person` is who is signed in in this browser now.
pub async fn finish(
    app: &App,
    person: Option<&Person>,
    browser_hash: &str,
    callback: Callback,
) -> Result<Connected, ConnectError> {
    let (state_hash, attempt, person) = match take(app, person, browser_hash, &callback).await? {
        Ok(taken) => taken,
        Err(Refused { error, attempt }) => {
            let origin = callback.origin;
            match (&attempt, person) {
                (Some(attempt), signed_in) => {
                    refusal::of_attempt(app, attempt, signed_in, &error, origin).await?;
                }
                (None, Some(person)) => refusal::of_person(app, person, None, &error, origin).await?,
                (None, None) => {}
            }
            return Err(error);
        }
    };
    let result = finish_taken(app, &attempt, person, &callback).await;
    let outcome = result.as_ref().map_or_else(ConnectError::word, |_| "connected");
    let mut tx = app.store.write().await?;
    attempts::set_outcome(&mut tx, &state_hash, outcome).await?;
    let now = app.clock.now();
    if matches!(result, Err(ConnectError::BlockedByAdministrator)) {
        match callback.error.as_deref() {
            Some("access_not_configured") => {
                approval::said_blocked(&mut tx, &person.organization_id, Way::NotConfigured, now).await?;
            }
            Some(_) => approval::said_blocked(&mut tx, &person.organization_id, Way::Policy, now).await?,
            // Google refused the exchange itself: nobody can write that into an address.
            None => approval::refused(&mut tx, person, now).await?,
        }
    }
    // With the organization its log went, too.
    if let Err(error) = &result
        && organizations::by_id(&mut tx, &person.organization_id).await?.is_some()
    {
        let entry = Entry {
            organization: &person.organization_id,
            actor: refused_by(error, person),
            action: "connection.refused",
            about: person.id.as_str(),
            origin: callback.origin,
            detail: json!({"outcome": outcome}),
        };
        audit::record(&mut tx, entry, now).await?;
    }
    tx.commit().await?;
    app.feed.tell(&person.organization_id);
    result
}

/// Who said no: the person at Google, Google itself, or Intail, which looked at what came back.
fn refused_by(error: &ConnectError, person: &Person) -> Actor {
    match error {
        ConnectError::Denied | ConnectError::NothingGranted => Actor::Person(person.id.clone()),
        ConnectError::BlockedByAdministrator
        | ConnectError::AdvancedProtection
        | ConnectError::Operator(_)
        | ConnectError::GoogleTrouble(_) => Actor::Google,
        _ => Actor::Intail,
    }
}

/// A callback that was refused before its attempt was taken, and which attempt it named, if there is one.
struct Refused {
    error: ConnectError,
    attempt: Option<Box<Attempt>>,
}

/// Takes the attempt that this callback belongs to, and answers its state's hash, it and whose it is. Works once.
async fn take<'a>(
    app: &App,
    person: Option<&'a Person>,
    browser_hash: &str,
    callback: &Callback,
) -> Result<Result<(String, Attempt, &'a Person), Refused>, StoreError> {
    let Some(state) = &callback.state else {
        return Ok(Err(Refused { error: ConnectError::Incomplete("state"), attempt: None }));
    };
    let (state_hash, now) = (hash_token(state.expose_secret()), app.clock.now());
    let mut tx = app.store.write().await?;
    let Some(attempt) = attempts::by_state(&mut tx, &state_hash).await? else {
        return Ok(Err(Refused { error: ConnectError::UnknownState, attempt: None }));
    };
    let whose = person.filter(|it| attempt.person_id.as_ref() == Some(&it.id));
    let is_here = attempt.purpose == Purpose::Connect && attempt.browser_hash == browser_hash;
    let error = match whose.filter(|_| is_here) {
        None => ConnectError::ForeignState,
        Some(_) if attempt.expires_at <= now => ConnectError::Expired,
        Some(whose) if attempts::take(&mut tx, &state_hash, now).await? => {
            tx.commit().await?;
            return Ok(Ok((state_hash, attempt, whose)));
        }
        // Whoever is removed in this moment takes their attempts along.
        Some(_) if attempts::by_state(&mut tx, &state_hash).await?.is_none() => ConnectError::UnknownState,
        Some(_) => ConnectError::Replayed,
    };
    Ok(Err(Refused { error, attempt: Some(Box::new(attempt)) }))
}

async fn finish_taken(
    app: &App,
    attempt: &Attempt,
    person: &Person,
    callback: &Callback,
) -> Result<Connected, ConnectError> {
    let provider = Provider::google(app.google.endpoints());
    if callback.iss.as_deref().is_some_and(|issuer| issuer != provider.issuer) {
        return Err(ConnectError::ForeignIssuer);
    }
    if let Some(error) = &callback.error {
        return Err(refused(error));
    }
    let code = callback.code.as_ref().ok_or(ConnectError::Incomplete("code"))?;
    let verifier = app.keyring.open_text(&attempt.verifier_sealed, &format!("attempts/{}", attempt.state_hash))?;
    let client = access::client(app);
    let mut tx = app.store.read().await?;
    let known = grants::by_person(&mut tx, &person.id).await?.map(|it| it.id);
    drop(tx);
    let id = match known {
        Some(id) => id,
        None => open_log(app, person).await?,
    };
    let on_behalf = Some((id.as_str(), purpose::CONNECT));
    let tokens = app.google.exchange_code(&provider, &client, code, &verifier, on_behalf).await;
    // Of a grant that is new this is written in the same commit; of an attempt that is refused, soon.
    let exchanged = app.receipts.take(&id);
    let tokens = tokens.map_err(exchange_error)?;
    let claims = who_came(app, attempt, &provider, &tokens).await?;
    let kept = match check(app, person, &provider, &claims, &tokens).await {
        Ok(held) => {
            // Somebody may have been quicker in another window; and the id of a grant that has gone meanwhile is never
            // used again: its log has gone, too.
            let id = match &held {
                Some(held) => held.id.clone(),
                None => open_log(app, person).await?,
            };
            keep(app, person, callback.origin, &tokens, &claims, (id, held), exchanged).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &kept
        && may_be_revoked(app, error, &claims).await?
    {
        revoke_unkept(app, &tokens, &id).await;
    }
    kept
}

/// The id of the person's log of calls, which is the id of the grant that they get. Of somebody who has gone meanwhile
/// nothing is written down.
async fn open_log(app: &App, person: &Person) -> Result<GrantId, StoreError> {
    let id = GrantId::new(&app.random);
    let mut tx = app.store.write().await?;
    match receipts::open(&mut tx, &person.id, &id).await {
        Ok(Some(log)) => {
            tx.commit().await?;
            Ok(log)
        }
        Ok(None) => Ok(id),
        // On PostgreSQL they may have been removed since they were looked for.
        Err(error) if error.is_foreign_key_violation() => Ok(id),
        Err(error) => Err(error),
    }
}

/// Who came back, as Google signed it.
async fn who_came(
    app: &App,
    attempt: &Attempt,
    provider: &Provider,
    tokens: &Tokens,
) -> Result<IdClaims, ConnectError> {
    let id_token = tokens.id_token.as_ref().ok_or(ConnectError::Incomplete("ID token"))?;
    let expected = Expected {
        issuer: &provider.issuer,
        audience: &app.config.google.client.client_id,
        nonce: Some(&attempt.nonce),
        jwks_uri: &provider.jwks_uri,
    };
    app.google.verify_id_token(id_token, &expected).await.map_err(|error| match error {
        IdTokenError::Keys(_) => ConnectError::GoogleTrouble(Box::new(error)),
        error => ConnectError::Unexpected(Box::new(error)),
    })
}

/// Everything that must be true before the tokens are kept. Answers the grant that they take the place of.
async fn check(
    app: &App,
    person: &Person,
    provider: &Provider,
    claims: &IdClaims,
    tokens: &Tokens,
) -> Result<Option<Grant>, ConnectError> {
    let came = claims.email.clone().unwrap_or_default();
    let mut tx = app.store.read().await?;
    belongs_to_another(&mut tx, person, provider, claims).await?;
    let held = grants::by_person(&mut tx, &person.id).await?;
    let organization = organizations::by_id(&mut tx, &person.organization_id).await?;
    let secondary = organization.is_some_and(|it| it.secondary_accounts);
    // The same issuer knows the person by the same id; another issuer's person is known by the verified address only.
    // Where secondary accounts are allowed, the organization's domain says enough, below; but one person connects one.
    let same_person = match &held {
        Some(held) => held.google_subject == claims.sub,
        None if secondary => true,
        None if person.issuer == provider.issuer => person.subject == claims.sub,
        None => claims.email_verified && is_same_address(&came, &person.email),
    };
    if !same_person {
        let expected = held.map_or_else(|| person.email.clone(), |it| it.email);
        return Err(ConnectError::WrongAccount { expected, came });
    }
    let owner = match claims.hd.as_deref().and_then(names::domain) {
        Some(domain) => organizations::by_domain(&mut tx, &domain).await?,
        None => None,
    };
    if owner.is_none_or(|it| it.id != person.organization_id) {
        return Err(ConnectError::WrongOrganization { came });
    }
    if let Some(wider) = scope::wider_gmail(&tokens.scopes) {
        return Err(ConnectError::WiderScope(wider.to_owned()));
    }
    if !Permission::ALL.iter().any(|it| it.is_in(&tokens.scopes)) {
        return Err(ConnectError::NothingGranted);
    }
    if tokens.refresh_token.is_none() && held.as_ref().is_none_or(|it| it.refresh_sealed.is_none()) {
        return Err(ConnectError::NoRefreshToken);
    }
    Ok(held)
}

/// An address as people's are kept, with its domain as DNS has it; as it came if mail couldn't have it.
fn in_dns(address: &str) -> String {
    names::address(address).unwrap_or_else(|| address.to_owned())
}

/// Whether two spellings are of one address, whatever the case and however the domain is written.
fn is_same_address(one: &str, other: &str) -> bool {
    in_dns(one).to_lowercase() == in_dns(other).to_lowercase()
}

/// Refuses an account that is somebody else's: connected by them, or the one that they sign in with. Whether somebody
/// of another organization uses it is nobody's business here.
async fn belongs_to_another(
    tx: &mut Tx,
    person: &Person,
    provider: &Provider,
    claims: &IdClaims,
) -> Result<(), ConnectError> {
    let came = claims.email.clone().unwrap_or_default();
    let connected = grants::by_google_subject(tx, &claims.sub).await?.filter(|it| it.person_id != person.id);
    if let Some(grant) = connected {
        return Err(match grant.organization_id == person.organization_id {
            true => ConnectError::AccountTaken { came },
            false => ConnectError::WrongOrganization { came },
        });
    }
    let signs_in = people::by_subject(tx, &provider.issuer, &claims.sub).await?.filter(|it| it.id != person.id);
    let secondary = organizations::by_id(tx, &person.organization_id).await?.is_some_and(|it| it.secondary_accounts);
    // Without secondary accounts it is simply the wrong account, whoever's it is.
    if !secondary {
        return Ok(());
    }
    // Who signs in elsewhere than at Google, or came by an operator's link, is known by the address that Google vouches
    // for.
    let signs_in = match signs_in {
        None if claims.email_verified && !is_same_address(&came, &person.email) => {
            let known = people::by_email(tx, &in_dns(&came).to_lowercase(), people::NAMESAKES_MAX).await?;
            known.into_iter().find(|it| it.issuer != provider.issuer && it.organization_id == person.organization_id)
        }
        found => found,
    };
    match signs_in {
        Some(other) if other.organization_id == person.organization_id => Err(ConnectError::AccountOfAnother { came }),
        Some(_) => Err(ConnectError::WrongOrganization { came }),
        None => Ok(()),
    }
}

/// Keeps the tokens under the grant's id, new or held, with its first call: the exchange that gave them.
async fn keep(
    app: &App,
    person: &Person,
    origin: Origin,
    tokens: &Tokens,
    claims: &IdClaims,
    (id, held): (GrantId, Option<Grant>),
    exchanged: Taken,
) -> Result<Connected, ConnectError> {
    let now = app.clock.now();
    let exchanged = Some(exchanged).filter(|it| it.is_of(&id));
    let missing: Vec<Permission> = Permission::ALL.into_iter().filter(|it| !it.is_in(&tokens.scopes)).collect();
    let refresh_sealed = match &tokens.refresh_token {
        Some(token) => Some(app.keyring.seal_text(token, &access::refresh_row(&id))?),
        None => held.as_ref().and_then(|it| it.refresh_sealed.clone()),
    };
    let state = if missing.is_empty() { GrantState::Active } else { GrantState::Partial };
    let grant = Grant {
        id: id.clone(),
        organization_id: person.organization_id.clone(),
        person_id: person.id.clone(),
        google_subject: claims.sub.clone(),
        email: claims.email.as_deref().map_or_else(|| person.email.clone(), in_dns),
        hosted_domain: claims.hd.clone(),
        client_id: app.config.google.client.client_id.clone(),
        scopes: tokens.scopes.clone(),
        state,
        reason: if missing.is_empty() { String::new() } else { "permission_missing".to_owned() },
        state_since: now,
        refresh_sealed,
        access_sealed: Some(app.keyring.seal_text(&tokens.access_token, &access::access_row(&id))?),
        access_expires_at: Some(access::expiry(now, tokens.expires_in_s)),
        connected_at: now,
        suspended_at: None,
    };
    let mut tx = app.store.write().await?;
    access::hold_unless_approved(&mut tx, &person.organization_id).await?;
    if people::by_id(&mut tx, &person.id).await?.is_none() {
        return Err(ConnectError::Removed);
    }
    // Whoever left since they were checked took their grant along: its id, under which the tokens are sealed here, is
    // never used again.
    if held.is_some() && grants::by_person(&mut tx, &person.id).await?.is_none() {
        return Err(ConnectError::StillLeaving);
    }
    // What the engine may be working on is taken before the grant, as the engine itself does (see `leases`): an error
    // here would reach the person after their code was used.
    let mailbox = match missing.contains(&Permission::Mail) {
        true => None,
        false => mailboxes::by_person(&mut tx, &person.id).await?,
    };
    if let Some(mailbox) = &mailbox {
        mailboxes::set_email(&mut tx, &mailbox.id, &grant.email).await?;
        mailboxes::wake(&mut tx, &mailbox.id, now).await?;
    }
    let agenda = match missing.contains(&Permission::Calendar) {
        true => None,
        false => agendas::by_person(&mut tx, &person.id).await?,
    };
    if let Some(agenda) = &agenda {
        agendas::wake(&mut tx, &agenda.id, now).await?;
    }
    // One directory for all: whoever permits it may see more of it than the one who reads it now.
    if !missing.contains(&Permission::Directory) {
        directories::wake(&mut tx, &DirectoryId::new(&app.random), &person.organization_id, now).await?;
    }
    let taken = || ConnectError::AccountTaken { came: grant.email.clone() };
    let put = grants::put(&mut tx, &grant).await.map_err(|error| {
        // Somebody else was quicker: to the same account, or the same person in another window.
        if error.is_unique_violation() {
            return taken();
        }
        // On PostgreSQL they may have been removed since they were looked for.
        if error.is_foreign_key_violation() { ConnectError::Removed } else { ConnectError::Store(error) }
    })?;
    match put {
        Put::Kept => {}
        // They left since, and try anew in another window.
        Put::Over => return Err(ConnectError::StillLeaving),
        Put::AnotherAccount => return Err(taken()),
    }
    // On PostgreSQL the other window's streams may have come since they were looked for.
    let quicker = |error: StoreError| if error.is_unique_violation() { taken() } else { ConnectError::Store(error) };
    // Google asks nobody for consent whose account is suspended: it knows better than the directory did last.
    let is_own = match person.issuer == app.google.endpoints().issuer {
        true => person.subject == grant.google_subject,
        false => is_same_address(&grant.email, &person.email),
    };
    if is_own {
        people::let_in(&mut tx, &person.id).await?;
    }
    // Asked once the grant's row is held: a leaving that begins now finds this grant, and one that began is seen.
    if leave::is_leaving(&mut tx, &person.id).await? {
        return Err(ConnectError::StillLeaving);
    }
    if !missing.contains(&Permission::Mail) {
        let mailbox = match mailbox {
            Some(mailbox) => mailbox,
            None => {
                let mailbox = Mailbox::new(MailboxId::new(&app.random), &grant, now);
                mailboxes::create(&mut tx, &mailbox).await.map_err(quicker)?;
                mailbox
            }
        };
        let of = Of { organization: &grant.organization_id, person: Some(&person.id), stream: (&mailbox.id).into() };
        let change = NewChange { kind: "mailbox.connected", subject_id: String::new(), data: json!({}) };
        changes::append(&mut tx, of, &[change], now).await?;
    }
    if !missing.contains(&Permission::Calendar) {
        let agenda = match agenda {
            Some(agenda) => agenda,
            None => {
                let agenda = Agenda::new(AgendaId::new(&app.random), &grant, now);
                agendas::create(&mut tx, &agenda).await.map_err(quicker)?;
                agenda
            }
        };
        let of = Of { organization: &grant.organization_id, person: Some(&person.id), stream: (&agenda.id).into() };
        let change = NewChange { kind: "agenda.connected", subject_id: String::new(), data: json!({}) };
        changes::append(&mut tx, of, &[change], now).await?;
    }
    if let Some(exchanged) = &exchanged {
        exchanged.put(&mut tx, &grant.organization_id, now).await?;
    }
    approval::proved(&mut tx, person, origin, now).await?;
    let entry = Entry {
        organization: &person.organization_id,
        actor: Actor::Person(person.id.clone()),
        action: "connection.made",
        about: person.id.as_str(),
        origin,
        detail: json!({"again": held.is_some(), "missing": missing.iter().map(|it| it.scope()).collect::<Vec<_>>()}),
    };
    audit::record(&mut tx, entry, now).await?;
    tx.commit().await?;
    exchanged.into_iter().for_each(Taken::written);
    app.due.ring();
    app.feed.tell(&grant.organization_id);
    Ok(Connected { email: grant.email, missing, again: held.is_some() })
}

/// Whether tokens that aren't kept are given back. Revoking ends everything that the account granted this Cloud
/// project, so it must not hit a grant that is rightly held: another person's, or this person's own when they came back
/// without ticking a box. A grant that is being let go is to be revoked anyway, and spares nothing: perhaps it was
/// revoked before this consent. Passing trouble decides nothing.
async fn may_be_revoked(app: &App, error: &ConnectError, claims: &IdClaims) -> Result<bool, StoreError> {
    let is_final = matches!(
        error,
        ConnectError::WrongAccount { .. }
            | ConnectError::WrongOrganization { .. }
            | ConnectError::AccountTaken { .. }
            | ConnectError::AccountOfAnother { .. }
            | ConnectError::WiderScope(_)
            | ConnectError::NothingGranted
            | ConnectError::StillLeaving
            | ConnectError::Removed
    );
    let mut tx = app.store.read().await?;
    let held = grants::by_google_subject(&mut tx, &claims.sub).await?;
    Ok(is_final && held.is_none_or(|it| it.state == GrantState::Left))
}

/// Gives back tokens that may not be kept. That it fails changes nothing for the person: nothing of it is stored. It is
/// written into the person's log.
async fn revoke_unkept(app: &App, tokens: &Tokens, log: &GrantId) {
    let token = tokens.refresh_token.as_ref().unwrap_or(&tokens.access_token);
    if let Err(error) = app.google.revoke(token, log.as_str(), purpose::CONNECT).await {
        tracing::warn!(%error, "a token that is not kept couldn't be revoked");
    }
}

fn refused(error: &str) -> ConnectError {
    match error {
        "access_denied" => ConnectError::Denied,
        _ => from_kind(&callback_error(error)).unwrap_or_else(|| {
            ConnectError::Unexpected("the callback carries an error that Intail doesn't know".into())
        }),
    }
}

fn exchange_error(error: intail_google::Error) -> ConnectError {
    from_kind(&error.kind).unwrap_or_else(|| match error.kind {
        ErrorKind::Transient | ErrorKind::SlowDown { .. } => ConnectError::GoogleTrouble(Box::new(error)),
        // The attempt was taken here for the first time, so it is no replay: the code is too old, or isn't Google's.
        ErrorKind::GrantDead(_) => ConnectError::AnswerRefused,
        _ => ConnectError::Unexpected(Box::new(error)),
    })
}

fn from_kind(kind: &ErrorKind) -> Option<ConnectError> {
    Some(match kind {
        ErrorKind::AdminBlocked(BlockReason::AdvancedProtection) => ConnectError::AdvancedProtection,
        ErrorKind::AdminBlocked(BlockReason::OrgInternal) => ConnectError::WrongOrganization { came: String::new() },
        ErrorKind::AdminBlocked(_) => ConnectError::BlockedByAdministrator,
        ErrorKind::Refused(Refusal::Operator(fault)) => ConnectError::Operator(fault.to_string()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_its_domain_is_written() {
        assert!(is_same_address("Ada@Bücher.example", "ada@xn--bcher-kva.example"));
        assert!(is_same_address("Jörg@Example.com", "jÖRG@example.com"));
        assert!(!is_same_address("ada@bücher.example", "ada@bucher.example"));
        assert!(!is_same_address("", "ada@example.com"));
        assert_eq!(in_dns("ada@Bücher.example"), "ada@xn--bcher-kva.example");
        assert_eq!(in_dns("not an address"), "not an address");
    }
}

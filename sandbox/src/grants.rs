//! Consent, authorization codes, access tokens and refresh tokens: how they come to be and every way in which they die.
//!
//! Sources: Google's OAuth guides for web server applications and its list of reasons why a refresh token stops
//! working. Consent and revocation are per Cloud project and person; codes and tokens belong to one client. A token
//! never leaves this file except to the person who asked for it: nothing here is logged or Debug-printed.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::access::{EMAIL, OPENID, PROFILE, Refusal, is_gmail, is_sign_in};
use crate::accounts::{AuthFailure, Caller, ClientState, Identity, OAuthClient, Person, UserType};
use crate::signing::SigningError;

/// An authorization code lives ten minutes.
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// What `expires_in` says: Google's answers show one second less than an hour.
const ACCESS_LIFE_S: i64 = 3_599;
/// An ID token lives an hour.
const ID_TOKEN_LIFE_S: i64 = 3_600;
/// A refresh token that nobody used for six months is gone.
const UNUSED_MAX: SignedDuration = SignedDuration::from_hours(24 * 183);
/// Refresh tokens of an application in testing live seven days.
const TESTING_LIFE: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Live refresh tokens per person and client; one more kills the oldest.
const REFRESH_TOKENS_PER_CLIENT_MAX: usize = 100;
/// Dead tokens and codes are kept this long, so that they can be told from garbage.
const DEAD_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Tokens or codes held before the dead ones are swept out.
const SWEEP_ABOVE: usize = 5_000;

/// What a person permitted a project.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Consent {
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) clients: BTreeSet<String>,
    pub(crate) since: Timestamp,
}

/// How the client proves at the exchange that it began the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "challenge")]
pub(crate) enum Challenge {
    Plain(String),
    S256(String),
}

impl Challenge {
    fn is_met_by(&self, verifier: &str) -> bool {
        match self {
            Challenge::Plain(challenge) => challenge == verifier,
            Challenge::S256(challenge) => *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())),
        }
    }
}

/// What an authorization code stands for.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) client_id: String,
    pub(crate) sub: String,
    pub(crate) redirect_uri: String,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<Challenge>,
    /// Whether the exchange gives a refresh token: asked for offline access, and the consent page was shown.
    pub(crate) refresh: bool,
    pub(crate) issued_at: Timestamp,
    pub(crate) used: bool,
}

/// Whose a token is, and how far it reaches.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Holding {
    pub(crate) client_id: String,
    pub(crate) project: String,
    pub(crate) sub: String,
    pub(crate) scopes: BTreeSet<String>,
    /// From when on the token is dead.
    ended_at: Option<Timestamp>,
}

impl Holding {
    fn new(client: &OAuthClient, sub: &str, scopes: &BTreeSet<String>) -> Holding {
        Holding {
            client_id: client.client_id.clone(),
            project: client.project.clone(),
            sub: sub.to_owned(),
            scopes: scopes.clone(),
            ended_at: None,
        }
    }

    fn is_of(&self, project: &str, sub: &str) -> bool {
        self.project == project && self.sub == sub
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.ended_at.is_some_and(|at| at <= now)
    }

    fn end(&mut self, at: Timestamp) {
        self.ended_at = Some(self.ended_at.map_or(at, |known| known.min(at)));
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AccessToken {
    pub(crate) holding: Holding,
    pub(crate) expires_at: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
struct RefreshToken {
    holding: Holding,
    /// Rises with each token, so that the oldest is known even among those of one instant.
    number: u64,
    used_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl RefreshToken {
    fn is_live(&self, now: Timestamp) -> bool {
        !self.holding.has_ended(now)
            && self.expires_at.is_none_or(|at| at > now)
            && now.duration_since(self.used_at) < UNUSED_MAX
    }
}

/// All consent, codes and tokens.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Grants {
    /// By project, then by person.
    consents: BTreeMap<String, BTreeMap<String, Consent>>,
    codes: BTreeMap<String, Code>,
    access: BTreeMap<String, AccessToken>,
    refresh: BTreeMap<String, RefreshToken>,
    refresh_tokens_issued: u64,
}

impl Grants {
    pub(crate) fn access_token(&self, now: Timestamp, token: &str) -> Result<&AccessToken, AuthFailure> {
        let access = self.access.get(token).ok_or(AuthFailure::Invalid)?;
        if access.holding.has_ended(now) {
            return Err(AuthFailure::Invalid);
        }
        if access.expires_at <= now {
            return Err(AuthFailure::Expired);
        }
        Ok(access)
    }

    pub(crate) fn consent(&self, project: &str, sub: &str) -> Option<&Consent> {
        self.consents.get(project)?.get(sub)
    }

    /// Every consent as (project, person, consent).
    pub(crate) fn consents(&self) -> impl Iterator<Item = (&str, &str, &Consent)> {
        self.consents.iter().flat_map(|(project, by_person)| {
            by_person.iter().map(move |(sub, consent)| (project.as_str(), sub.as_str(), consent))
        })
    }

    fn end_where(&mut self, at: Timestamp, dies: impl Fn(&Holding) -> bool) {
        let access = self.access.values_mut().map(|token| &mut token.holding);
        let refresh = self.refresh.values_mut().map(|token| &mut token.holding);
        access.chain(refresh).filter(|holding| dies(holding)).for_each(|holding| holding.end(at));
    }

    pub(crate) fn end_all_of_person(&mut self, now: Timestamp, sub: &str) {
        self.end_where(now, |holding| holding.sub == sub);
        self.codes.retain(|_, code| code.sub != sub);
    }

    pub(crate) fn end_after_password_change(&mut self, now: Timestamp, sub: &str) {
        self.end_where(now, |holding| holding.sub == sub && holding.scopes.iter().any(|scope| is_gmail(scope)));
        self.codes.retain(|_, code| code.sub != sub);
    }

    /// Ends everything that a person gave to a project.
    fn end_project(&mut self, at: Timestamp, project: &str, sub: &str) {
        self.end_where(at, |holding| holding.is_of(project, sub));
        if let Some(by_person) = self.consents.get_mut(project) {
            by_person.remove(sub);
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        let kept = |at: Timestamp| now.duration_since(at) < DEAD_KEPT;
        if self.codes.len() > SWEEP_ABOVE {
            self.codes.retain(|_, code| now.duration_since(code.issued_at) < CODE_LIFE);
        }
        if self.access.len() > SWEEP_ABOVE {
            self.access.retain(|_, token| token.expires_at > now && !token.holding.has_ended(now));
        }
        if self.refresh.len() > SWEEP_ABOVE {
            self.refresh.retain(|_, token| token.is_live(now) || kept(token.holding.ended_at.unwrap_or(token.used_at)));
        }
    }

    fn has_live_refresh(&self, now: Timestamp, project: &str, sub: &str) -> bool {
        self.refresh.values().any(|token| token.holding.is_of(project, sub) && token.is_live(now))
    }
}

/// An answer of the token endpoint that is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) description: &'static str,
}

const fn refuse(status: u16, code: &'static str, description: &'static str) -> TokenError {
    TokenError { status, code, description }
}

const REVOKED: TokenError = refuse(400, "invalid_grant", "Token has been expired or revoked.");
const BAD_CODE: TokenError = refuse(400, "invalid_grant", "Bad Request");
const MALFORMED_CODE: TokenError = refuse(400, "invalid_grant", "Malformed auth code.");
const DELETED_ACCOUNT: TokenError = refuse(400, "invalid_grant", "Account has been deleted");

impl From<SigningError> for TokenError {
    fn from(error: SigningError) -> Self {
        tracing::error!(%error, "the sandbox can't sign an ID token");
        refuse(500, "internal_failure", "Internal Error")
    }
}

impl From<Refusal> for TokenError {
    fn from(refusal: Refusal) -> Self {
        refuse(
            refusal.status(),
            refusal.code(),
            "Access is not allowed by a policy of the account or its organization.",
        )
    }
}

impl Identity {
    /// The client with this id and secret.
    pub(crate) fn client_with_secret(&self, client_id: &str, secret: Option<&str>) -> Result<&OAuthClient, TokenError> {
        let client = self.clients.get(client_id);
        let client = client.ok_or(refuse(401, "invalid_client", "The OAuth client was not found."))?;
        match client.state {
            ClientState::Active => {}
            ClientState::Disabled => return Err(refuse(401, "disabled_client", "The OAuth client was disabled.")),
            ClientState::Deleted => return Err(refuse(401, "deleted_client", "The OAuth client was deleted.")),
        }
        let secret = secret.ok_or(refuse(400, "invalid_request", "client_secret is missing."))?;
        let equal = verify_slices_are_equal(client.client_secret.as_bytes(), secret.as_bytes());
        equal.map_err(|_| refuse(401, "invalid_client", "Unauthorized"))?;
        Ok(client)
    }

    /// Scopes that the person gave to the project, all clients together.
    pub(crate) fn granted(&self, project: &str, sub: &str) -> BTreeSet<String> {
        self.grants.consent(project, sub).map(|consent| consent.scopes.clone()).unwrap_or_default()
    }

    /// Remembers what a person ticked on the consent page.
    pub(crate) fn remember_consent(
        &mut self,
        now: Timestamp,
        client: &OAuthClient,
        sub: &str,
        ticked: BTreeSet<String>,
        include_granted: bool,
    ) {
        let by_person = self.grants.consents.entry(client.project.clone()).or_default();
        let consent = by_person.entry(sub.to_owned()).or_insert_with(|| Consent {
            scopes: BTreeSet::new(),
            clients: BTreeSet::new(),
            since: now,
        });
        consent.clients.insert(client.client_id.clone());
        let replaces = !include_granted && self.switches.consent_replaces_grant;
        if replaces {
            consent.scopes = ticked.clone();
            self.grants.end_where(now, |held| held.is_of(&client.project, sub) && !held.scopes.is_subset(&ticked));
        } else {
            consent.scopes.extend(ticked);
        }
    }

    /// A person takes one permission back and leaves the rest: every token of theirs reaches less far from now on.
    pub fn take_back(&mut self, sub: &str, scope: &str) {
        let consents = self.grants.consents.values_mut().filter_map(|by_person| by_person.get_mut(sub));
        consents.for_each(|consent| _ = consent.scopes.remove(scope));
        let access = self.grants.access.values_mut().map(|token| &mut token.holding);
        let refresh = self.grants.refresh.values_mut().map(|token| &mut token.holding);
        let theirs = access.chain(refresh).filter(|holding| holding.sub == sub);
        theirs.for_each(|holding| _ = holding.scopes.remove(scope));
    }

    /// Makes an authorization code.
    pub(crate) fn issue_code(&mut self, now: Timestamp, code: Code) -> String {
        self.grants.sweep(now);
        let text = format!("4/0{}", self.draw("code", 70));
        self.grants.codes.insert(text.clone(), code);
        text
    }

    /// Exchanges an authorization code (`grant_type=authorization_code`).
    pub(crate) fn exchange_code(
        &mut self,
        now: Timestamp,
        client: &OAuthClient,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&str>,
    ) -> Result<Value, TokenError> {
        if !code.starts_with("4/") {
            return Err(MALFORMED_CODE);
        }
        let held = self.grants.codes.get_mut(code).ok_or(BAD_CODE)?;
        if held.client_id != client.client_id || held.used || now.duration_since(held.issued_at) >= CODE_LIFE {
            return Err(BAD_CODE);
        }
        if held.redirect_uri != redirect_uri {
            return Err(refuse(400, "redirect_uri_mismatch", "Bad Request"));
        }
        held.used = true;
        let held = held.clone();
        match (&held.challenge, verifier) {
            (None, None) => {}
            (Some(_), None) => return Err(refuse(400, "invalid_grant", "Missing code verifier.")),
            (Some(challenge), Some(verifier)) if challenge.is_met_by(verifier) => {}
            (_, Some(_)) => return Err(refuse(400, "invalid_grant", "Invalid code verifier.")),
        }
        let person = self.usable_person(&held.sub)?.clone();
        if let Some(refusal) = self.refusal(&person, client, &held.scopes) {
            return Err(refusal.into());
        }
        let refresh_token = held.refresh.then(|| self.issue_refresh_token(now, client, &held));
        self.token_answer(now, client, &person, &held.scopes, refresh_token, held.nonce.as_deref())
    }

    /// Refreshes (`grant_type=refresh_token`). Never answers with another refresh token.
    pub(crate) fn refresh(
        &mut self,
        now: Timestamp,
        client: &OAuthClient,
        token: &str,
        narrower: Option<BTreeSet<String>>,
    ) -> Result<Value, TokenError> {
        let held = self.grants.refresh.get(token).ok_or(BAD_CODE)?.clone();
        if held.holding.client_id != client.client_id {
            return Err(refuse(400, "unauthorized_client", "Unauthorized"));
        }
        let person = self.usable_person(&held.holding.sub)?.clone();
        if let Some(refusal) = self.refusal(&person, client, &held.holding.scopes) {
            return Err(refusal.into());
        }
        if !held.is_live(now) {
            return Err(REVOKED);
        }
        let scopes = narrower.unwrap_or_else(|| held.holding.scopes.clone());
        if !scopes.is_subset(&held.holding.scopes) || scopes.is_empty() {
            return Err(refuse(400, "invalid_scope", "Some requested scopes were not granted to this token."));
        }
        if let Some(held) = self.grants.refresh.get_mut(token) {
            held.used_at = now;
        }
        self.token_answer(now, client, &person, &scopes, None, None)
    }

    /// Revokes whatever the token belongs to: everything that the person gave to the whole project. `false` when the
    /// token is garbage.
    pub(crate) fn revoke(&mut self, now: Timestamp, token: &str) -> bool {
        let access = self.grants.access.get(token).map(|held| &held.holding).filter(|held| !held.has_ended(now));
        let refresh = || self.grants.refresh.get(token).filter(|held| held.is_live(now)).map(|held| &held.holding);
        let Some(held) = access.or_else(refresh) else {
            return false;
        };
        let (project, sub) = (held.project.clone(), held.sub.clone());
        self.revoke_project(now, &project, &sub);
        true
    }

    /// "Remove access" on the person's own connections page.
    pub(crate) fn revoke_project(&mut self, now: Timestamp, project: &str, sub: &str) {
        let at = now.checked_add(SignedDuration::from_secs(self.switches.revocation_delay_s)).unwrap_or(now);
        self.grants.end_project(at, project, sub);
    }

    /// Ends every token that a policy forbids by now, and forgets consent that has no live token left.
    pub(crate) fn enforce_policy(&mut self, now: Timestamp) {
        let mut grants = std::mem::take(&mut self.grants);
        grants.end_where(now, |held| {
            let client = self.clients.get(&held.client_id);
            let person = self.people.get(&held.sub);
            person.zip(client).is_some_and(|(who, what)| self.refusal(who, what, &held.scopes).is_some())
        });
        let refused: Vec<(String, String)> = grants
            .consents()
            .filter(|(project, sub, consent)| {
                let person = self.people.get(*sub);
                let refused = |client_id: &String| {
                    let client = self.clients.get(client_id);
                    person.zip(client).is_some_and(|(who, what)| self.refusal(who, what, &consent.scopes).is_some())
                };
                consent.clients.iter().any(refused) && !grants.has_live_refresh(now, project, sub)
            })
            .map(|(project, sub, _)| (project.to_owned(), sub.to_owned()))
            .collect();
        for (project, sub) in refused {
            grants.end_project(now, &project, &sub);
        }
        self.grants = grants;
    }

    /// Whether anything that the person gave to the project is still good.
    pub(crate) fn holds_any_token(&self, now: Timestamp, project: &str, sub: &str) -> bool {
        let of_pair = |holding: &Holding| holding.is_of(project, sub) && !holding.has_ended(now);
        let access = |token: &AccessToken| of_pair(&token.holding) && token.expires_at > now;
        let active = self.people.get(sub).is_some_and(Person::is_active);
        active && (self.grants.has_live_refresh(now, project, sub) || self.grants.access.values().any(access))
    }

    /// Whether the caller's client holds a live refresh token of the person.
    pub(crate) fn holds_refresh_token(&self, now: Timestamp, caller: &Caller) -> bool {
        self.grants.has_live_refresh(now, &caller.project, &caller.sub)
    }

    fn usable_person(&self, sub: &str) -> Result<&Person, TokenError> {
        let person = self.people.get(sub).filter(|person| !person.deleted).ok_or(DELETED_ACCOUNT)?;
        if person.suspended { Err(REVOKED) } else { Ok(person) }
    }

    fn issue_refresh_token(&mut self, now: Timestamp, client: &OAuthClient, code: &Code) -> String {
        let of_pair = |held: &RefreshToken| {
            held.holding.client_id == client.client_id && held.holding.sub == code.sub && held.is_live(now)
        };
        let mut live: Vec<&mut RefreshToken> = self.grants.refresh.values_mut().filter(|held| of_pair(held)).collect();
        live.sort_by_key(|held| held.number);
        let too_many = (live.len() + 1).saturating_sub(REFRESH_TOKENS_PER_CLIENT_MAX);
        live.into_iter().take(too_many).for_each(|oldest| oldest.holding.end(now));
        let only_sign_in = code.scopes.iter().all(|scope| is_sign_in(scope));
        let testing = client.user_type == UserType::ExternalTesting && !only_sign_in;
        let text = format!("1//0{}", self.draw("refresh", 98));
        self.grants.refresh_tokens_issued += 1;
        let token = RefreshToken {
            holding: Holding::new(client, &code.sub, &code.scopes),
            number: self.grants.refresh_tokens_issued,
            used_at: now,
            expires_at: testing.then(|| now.checked_add(TESTING_LIFE).unwrap_or(now)),
        };
        self.grants.refresh.insert(text.clone(), token);
        text
    }

    fn token_answer(
        &mut self,
        now: Timestamp,
        client: &OAuthClient,
        person: &Person,
        scopes: &BTreeSet<String>,
        refresh_token: Option<String>,
        nonce: Option<&str>,
    ) -> Result<Value, TokenError> {
        let access_token = format!("ya29.a0{}", self.draw("access", 160));
        let expires_at = now.checked_add(SignedDuration::from_secs(ACCESS_LIFE_S)).unwrap_or(now);
        self.grants.sweep(now);
        let holding = Holding::new(client, &person.sub, scopes);
        self.grants.access.insert(access_token.clone(), AccessToken { holding, expires_at });
        let mut answer = json!({
            "access_token": access_token,
            "expires_in": ACCESS_LIFE_S,
            "scope": self.in_googles_order(scopes),
            "token_type": "Bearer",
        });
        if scopes.iter().any(|scope| is_sign_in(scope)) {
            let claims = self.id_token_claims(now, client, person, scopes, &access_token, nonce);
            answer["id_token"] = Value::String(self.sign_jwt(&claims)?);
        }
        if let Some(refresh_token) = refresh_token {
            if let Some(held) = self.grants.refresh.get(&refresh_token).and_then(|held| held.expires_at) {
                answer["refresh_token_expires_in"] = json!(held.duration_since(now).as_secs().saturating_sub(1));
            }
            answer["refresh_token"] = Value::String(refresh_token);
        }
        Ok(answer)
    }

    /// The order of scopes in Google's answers is not stable, so neither is this one.
    fn in_googles_order(&mut self, scopes: &BTreeSet<String>) -> String {
        let mut names: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let turn = usize::from(self.draw("order", 1).as_bytes()[0]) % names.len().max(1);
        names.rotate_left(turn);
        names.join(" ")
    }

    fn id_token_claims(
        &self,
        now: Timestamp,
        client: &OAuthClient,
        person: &Person,
        scopes: &BTreeSet<String>,
        access_token: &str,
        nonce: Option<&str>,
    ) -> Value {
        let digest = Sha256::digest(access_token.as_bytes());
        let mut claims = json!({
            "iss": self.issuer(),
            "azp": client.client_id,
            "aud": client.client_id,
            "sub": person.sub,
            "at_hash": URL_SAFE_NO_PAD.encode(&digest[..16]),
            "iat": now.as_second(),
            "exp": now.as_second() + ID_TOKEN_LIFE_S,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        self.add_profile(&mut claims, person, scopes);
        claims
    }

    /// Adds what the scopes allow to know about the person: for ID tokens and for the userinfo endpoint.
    pub(crate) fn add_profile(&self, claims: &mut Value, person: &Person, scopes: &BTreeSet<String>) {
        if let Some(hd) = &person.hd {
            claims["hd"] = json!(hd);
        }
        if scopes.contains(EMAIL) {
            claims["email"] = json!(person.email);
            claims["email_verified"] = json!(true);
        }
        if scopes.contains(PROFILE) {
            claims["name"] = json!(person.name);
            claims["given_name"] = json!(person.given_name);
            claims["family_name"] = json!(person.family_name);
            claims["picture"] = json!(format!("{}/static/person.svg", self.public_url));
        }
    }

    /// Whether the scopes let the userinfo endpoint answer.
    pub(crate) fn may_read_profile(scopes: &BTreeSet<String>) -> bool {
        [OPENID, EMAIL, PROFILE].iter().any(|scope| scopes.contains(*scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AccessLevel, Service, ServiceAccess, UnconfiguredApps};
    use crate::accounts::PersonSwitch;
    use crate::accounts::sample::{
        BACK, CALENDAR, INTAIL, MAIL, SECRET, SIBLING, TESTING, after_hours, connect, connect_with, identity, start,
        sub,
    };

    const INES: &str = "ines@example.com";

    fn exchange(identity: &mut Identity, now: Timestamp, client_id: &str, code: &str) -> Result<Value, TokenError> {
        let client = identity.client_with_secret(client_id, Some(SECRET))?.clone();
        identity.exchange_code(now, &client, code, BACK, None)
    }

    /// Connects with consent shown and returns (access token, refresh token).
    fn tokens(identity: &mut Identity, now: Timestamp, client_id: &str) -> (String, String) {
        let changes = [("client_id", client_id), ("prompt", "consent"), ("include_granted_scopes", "true")];
        let code = connect(identity, now, INES, &changes)["code"].clone();
        let answer = exchange(identity, now, client_id, &code).unwrap();
        (text(&answer, "access_token"), text(&answer, "refresh_token"))
    }

    fn text(answer: &Value, key: &str) -> String {
        answer[key].as_str().unwrap_or_default().to_owned()
    }

    fn refresh(identity: &mut Identity, now: Timestamp, client_id: &str, token: &str) -> Result<Value, TokenError> {
        let client = identity.clients[client_id].clone();
        identity.refresh(now, &client, token, None)
    }

    fn is_live(identity: &mut Identity, now: Timestamp, token: &str) -> bool {
        identity.authenticate(now, Some(&format!("Bearer {token}"))).is_ok()
    }

    #[test]
    fn client_errors_have_googles_codes() {
        let mut identity = identity();
        let code = |identity: &Identity, id: &str, secret| {
            let error = identity.client_with_secret(id, secret).unwrap_err();
            (error.status, error.code)
        };
        assert_eq!(code(&identity, "x", Some(SECRET)), (401, "invalid_client"));
        assert_eq!(code(&identity, INTAIL, Some("wrong")), (401, "invalid_client"));
        assert_eq!(code(&identity, INTAIL, None), (400, "invalid_request"));
        for (state, name) in [(ClientState::Deleted, "deleted_client"), (ClientState::Disabled, "disabled_client")] {
            identity.clients.get_mut(INTAIL).unwrap().state = state;
            assert_eq!(code(&identity, INTAIL, Some(SECRET)), (401, name));
        }
    }

    #[test]
    fn a_code_works_once_for_its_client_within_ten_minutes() {
        let mut identity = identity();
        let code = connect(&mut identity, start(), INES, &[])["code"].clone();
        assert_eq!(exchange(&mut identity, start(), SIBLING, &code), Err(BAD_CODE));
        assert!(exchange(&mut identity, start(), INTAIL, &code).is_ok());
        assert_eq!(exchange(&mut identity, start(), INTAIL, &code), Err(BAD_CODE));
        assert_eq!(exchange(&mut identity, start(), INTAIL, "4/unknown"), Err(BAD_CODE));
        assert_eq!(exchange(&mut identity, start(), INTAIL, "garbage"), Err(MALFORMED_CODE));
        let code = connect(&mut identity, start(), INES, &[])["code"].clone();
        let late = start().checked_add(CODE_LIFE).unwrap();
        assert_eq!(exchange(&mut identity, late, INTAIL, &code), Err(BAD_CODE));
    }

    #[test]
    fn another_redirect_uri_is_refused_and_does_not_burn_the_code() {
        let mut identity = identity();
        let client = identity.clients[INTAIL].clone();
        let code = connect(&mut identity, start(), INES, &[])["code"].clone();
        let error = identity.exchange_code(start(), &client, &code, "https://x", None).unwrap_err();
        assert_eq!((error.status, error.code), (400, "redirect_uri_mismatch"));
        assert!(exchange(&mut identity, start(), INTAIL, &code).is_ok());
    }

    #[test]
    fn the_proof_key_is_checked() {
        let verifier = "v".repeat(43);
        let hashed = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        for (method, challenge) in [("S256", hashed.as_str()), ("plain", verifier.as_str())] {
            let mut identity = identity();
            let client = identity.clients[INTAIL].clone();
            let mut with = |given: Option<&str>| {
                let changes = [("code_challenge", challenge), ("code_challenge_method", method)];
                let code = connect(&mut identity, start(), INES, &changes)["code"].clone();
                identity.exchange_code(start(), &client, &code, BACK, given).map_err(|error| error.description)
            };
            assert_eq!(with(None), Err("Missing code verifier."));
            assert_eq!(with(Some("wrong")), Err("Invalid code verifier."));
            assert!(with(Some(&verifier)).is_ok());
        }
    }

    #[test]
    fn a_refresh_token_needs_offline_access_and_a_consent_page() {
        let mut identity = identity();
        let mut has_one = |changes: &[(&str, &str)]| {
            let code = connect(&mut identity, start(), INES, changes)["code"].clone();
            exchange(&mut identity, start(), INTAIL, &code).unwrap().get("refresh_token").is_some()
        };
        assert!(!has_one(&[("access_type", "")]), "online");
        assert!(!has_one(&[]), "no page was shown");
        assert!(has_one(&[("prompt", "consent")]));
    }

    #[test]
    fn refreshing_gives_no_refresh_token_and_may_narrow() {
        let mut identity = identity();
        let (_, token) = tokens(&mut identity, start(), INTAIL);
        let answer = refresh(&mut identity, start(), INTAIL, &token).unwrap();
        assert_eq!((answer.get("refresh_token"), &answer["expires_in"]), (None, &json!(3599)));
        let client = identity.clients[INTAIL].clone();
        let narrow = |scope: &str| Some(BTreeSet::from([scope.to_owned()]));
        assert_eq!(identity.refresh(start(), &client, &token, narrow(MAIL)).unwrap()["scope"], MAIL);
        assert_eq!(identity.refresh(start(), &client, &token, narrow("x")).unwrap_err().code, "invalid_scope");
        assert_eq!(refresh(&mut identity, start(), SIBLING, &token).unwrap_err().code, "unauthorized_client");
        assert_eq!(refresh(&mut identity, start(), INTAIL, "1//unknown").unwrap_err().code, "invalid_grant");
    }

    #[test]
    fn an_access_token_lives_an_hour() {
        let mut identity = identity();
        let (access, _) = tokens(&mut identity, start(), INTAIL);
        assert!(is_live(&mut identity, start(), &access));
        let header = format!("Bearer {access}");
        assert_eq!(identity.authenticate(after_hours(1), Some(&header)), Err(AuthFailure::Expired));
    }

    #[test]
    fn the_hundred_and_first_refresh_token_kills_the_oldest() {
        let mut identity = identity();
        let all: Vec<String> =
            (0..=REFRESH_TOKENS_PER_CLIENT_MAX).map(|_| tokens(&mut identity, start(), INTAIL).1).collect();
        assert_eq!(refresh(&mut identity, start(), INTAIL, &all[0]), Err(REVOKED));
        assert!(refresh(&mut identity, start(), INTAIL, &all[1]).is_ok());
        let (_, other_client) = tokens(&mut identity, start(), SIBLING);
        assert!(refresh(&mut identity, start(), INTAIL, &all[1]).is_ok());
        assert!(refresh(&mut identity, start(), SIBLING, &other_client).is_ok());
    }

    #[test]
    fn six_months_without_use_end_a_refresh_token_and_use_prolongs_it() {
        let mut identity = identity();
        let (_, token) = tokens(&mut identity, start(), INTAIL);
        assert!(refresh(&mut identity, after_hours(24 * 182), INTAIL, &token).is_ok());
        assert!(refresh(&mut identity, after_hours(24 * 360), INTAIL, &token).is_ok());
        assert_eq!(refresh(&mut identity, after_hours(24 * (360 + 183)), INTAIL, &token), Err(REVOKED));
    }

    #[test]
    fn an_application_in_testing_has_seven_days_unless_it_only_signs_in() {
        let mut identity = identity();
        let (_, token) = tokens(&mut identity, start(), TESTING);
        assert!(refresh(&mut identity, after_hours(24 * 7 - 1), TESTING, &token).is_ok());
        assert_eq!(refresh(&mut identity, after_hours(24 * 7), TESTING, &token), Err(REVOKED));
        let changes = [("client_id", TESTING), ("scope", "openid"), ("prompt", "consent")];
        let code = connect_with(&mut identity, start(), INES, &changes, &[])["code"].clone();
        let answer = exchange(&mut identity, start(), TESTING, &code).unwrap();
        assert!(answer.get("refresh_token_expires_in").is_none());
        assert!(refresh(&mut identity, after_hours(24 * 8), TESTING, &text(&answer, "refresh_token")).is_ok());
    }

    #[test]
    fn revoking_one_token_ends_the_whole_project_for_that_person() {
        let mut identity = identity();
        let (access, token) = tokens(&mut identity, start(), INTAIL);
        let (sibling_access, sibling) = tokens(&mut identity, start(), SIBLING);
        let (elsewhere, _) = tokens(&mut identity, start(), TESTING);
        assert!(identity.revoke(start(), &access));
        assert_eq!(refresh(&mut identity, start(), INTAIL, &token), Err(REVOKED));
        assert_eq!(refresh(&mut identity, start(), SIBLING, &sibling), Err(REVOKED));
        assert!(!is_live(&mut identity, start(), &sibling_access));
        assert!(is_live(&mut identity, start(), &elsewhere));
        assert!(identity.granted("intail-demo", &sub(INES)).is_empty());
        assert!(!identity.revoke(start(), &token) && !identity.revoke(start(), "garbage"));
    }

    #[test]
    fn a_revocation_can_take_a_while() {
        let mut identity = identity();
        identity.switches.revocation_delay_s = 3_000;
        let (access, token) = tokens(&mut identity, start(), INTAIL);
        assert!(identity.revoke(start(), &token));
        assert!(is_live(&mut identity, start(), &access));
        assert!(!is_live(&mut identity, start() + SignedDuration::from_secs(3_000), &access));
    }

    #[test]
    fn a_password_change_ends_mail_tokens_only() {
        let mut identity = identity();
        let (access, token) = tokens(&mut identity, start(), INTAIL);
        let changes = [("client_id", TESTING), ("scope", CALENDAR), ("prompt", "consent")];
        let code = connect(&mut identity, start(), INES, &changes)["code"].clone();
        let calendar = text(&exchange(&mut identity, start(), TESTING, &code).unwrap(), "access_token");
        identity.switch_person(start(), &sub(INES), PersonSwitch::ChangePassword);
        assert!(!is_live(&mut identity, start(), &access));
        assert!(is_live(&mut identity, start(), &calendar));
        assert_eq!(refresh(&mut identity, start(), INTAIL, &token), Err(REVOKED));
    }

    #[test]
    fn suspended_and_deleted_accounts_lose_everything_for_good() {
        let table = [
            (PersonSwitch::Suspend, PersonSwitch::Restore, REVOKED),
            (PersonSwitch::Delete, PersonSwitch::Undelete, DELETED_ACCOUNT),
        ];
        for (away, back, error) in table {
            let mut identity = identity();
            let (access, token) = tokens(&mut identity, start(), INTAIL);
            identity.switch_person(start(), &sub(INES), away);
            assert!(!is_live(&mut identity, start(), &access));
            assert_eq!(refresh(&mut identity, start(), INTAIL, &token), Err(error));
            identity.switch_person(start(), &sub(INES), back);
            assert_eq!(refresh(&mut identity, start(), INTAIL, &token), Err(REVOKED));
        }
    }

    #[test]
    fn a_block_shows_at_the_refresh_kills_tokens_and_stays_killed() {
        let mut identity = identity();
        let (access, token) = tokens(&mut identity, start(), INTAIL);
        identity.set_access(start(), INTAIL, Some(AccessLevel::Blocked));
        assert!(!is_live(&mut identity, start(), &access));
        let error = refresh(&mut identity, start(), INTAIL, &token).unwrap_err();
        assert_eq!((error.status, error.code), (400, "admin_policy_enforced"));
        identity.set_access(start(), INTAIL, Some(AccessLevel::Trusted));
        assert_eq!(refresh(&mut identity, start(), INTAIL, &token), Err(REVOKED));
        assert!(identity.granted("intail-demo", &sub(INES)).is_empty());
    }

    #[test]
    fn restricting_a_service_ends_only_the_tokens_that_reach_it() {
        let mut identity = identity();
        let (mail, _) = tokens(&mut identity, start(), INTAIL);
        let changes = [("client_id", TESTING), ("scope", CALENDAR), ("prompt", "consent")];
        let code = connect(&mut identity, start(), INES, &changes)["code"].clone();
        let calendar = text(&exchange(&mut identity, start(), TESTING, &code).unwrap(), "access_token");
        identity.set_service(start(), Service::Gmail, ServiceAccess::Restricted);
        assert!(!is_live(&mut identity, start(), &mail));
        assert!(is_live(&mut identity, start(), &calendar));
        identity.set_unconfigured(start(), UnconfiguredApps::Block, false);
        assert!(!is_live(&mut identity, start(), &calendar));
    }

    #[test]
    fn advanced_protection_shows_at_the_refresh() {
        let mut identity = identity();
        let (_, token) = tokens(&mut identity, start(), INTAIL);
        identity.switch_person(start(), &sub(INES), PersonSwitch::AdvancedProtectionOn);
        assert_eq!(refresh(&mut identity, start(), INTAIL, &token).unwrap_err().code, "policy_enforced");
    }

    #[test]
    fn consent_that_replaces_ends_wider_tokens_of_the_project() {
        let mut identity = identity();
        let (wide, _) = tokens(&mut identity, start(), SIBLING);
        connect(&mut identity, start(), INES, &[("scope", CALENDAR), ("prompt", "consent")]);
        assert!(!is_live(&mut identity, start(), &wide));
    }

    #[test]
    fn the_id_token_says_who_came_back() {
        let mut identity = identity();
        let changes = [("scope", "openid email profile"), ("nonce", "n-1")];
        let code = connect(&mut identity, start(), INES, &changes)["code"].clone();
        let answer = exchange(&mut identity, start(), INTAIL, &code).unwrap();
        let claims = identity.verify_jwt(&text(&answer, "id_token")).unwrap();
        let hash = Sha256::digest(text(&answer, "access_token"));
        let wanted = json!({
            "iss": "https://sandbox.example.com", "azp": INTAIL, "aud": INTAIL, "sub": sub(INES),
            "at_hash": URL_SAFE_NO_PAD.encode(&hash[..16]),
            "iat": start().as_second(), "exp": start().as_second() + 3_600, "nonce": "n-1",
            "hd": "example.com", "email": INES, "email_verified": true,
            "name": "Inês Prado", "given_name": "Inês", "family_name": "Prado",
            "picture": "https://sandbox.example.com/static/person.svg",
        });
        assert_eq!(claims, wanted);
    }

    #[test]
    fn no_sign_in_scope_means_no_id_token_and_no_hd_for_consumers() {
        let mut identity = identity();
        let code = connect(&mut identity, start(), INES, &[])["code"].clone();
        assert!(exchange(&mut identity, start(), INTAIL, &code).unwrap().get("id_token").is_none());
        identity.clients.get_mut(TESTING).unwrap().test_users.push("pat@gmail.com".to_owned());
        let changes = [("client_id", TESTING), ("scope", "openid")];
        let back = connect(&mut identity, start(), "pat@gmail.com", &changes);
        assert!(!back.contains_key("hd"));
        let answer = exchange(&mut identity, start(), TESTING, &back["code"]).unwrap();
        let claims = identity.verify_jwt(&text(&answer, "id_token")).unwrap();
        assert!(claims.get("hd").is_none() && claims.get("email").is_none());
    }
}

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

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AccessToken {
    pub(crate) client_id: String,
    pub(crate) project: String,
    pub(crate) sub: String,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) expires_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RefreshToken {
    client_id: String,
    project: String,
    sub: String,
    scopes: BTreeSet<String>,
    issued_at: Timestamp,
    used_at: Timestamp,
    expires_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl RefreshToken {
    fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none_or(|at| at > now)
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
}

impl Grants {
    pub(crate) fn access_token(&self, now: Timestamp, token: &str) -> Result<&AccessToken, AuthFailure> {
        let access = self.access.get(token).ok_or(AuthFailure::Invalid)?;
        if access.ended_at.is_some_and(|at| at <= now) {
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
            by_person
                .iter()
                .map(move |(sub, consent)| (project.as_str(), sub.as_str(), consent))
        })
    }

    /// Ends the tokens that `dies` picks by client, person and scopes.
    fn end_where(&mut self, at: Timestamp, dies: impl Fn(&str, &str, &BTreeSet<String>) -> bool) {
        let earlier = |ended: &mut Option<Timestamp>| *ended = Some(ended.map_or(at, |known| known.min(at)));
        for token in self
            .access
            .values_mut()
            .filter(|token| dies(&token.client_id, &token.sub, &token.scopes))
        {
            earlier(&mut token.ended_at);
        }
        for token in self
            .refresh
            .values_mut()
            .filter(|token| dies(&token.client_id, &token.sub, &token.scopes))
        {
            earlier(&mut token.ended_at);
        }
    }

    pub(crate) fn end_all_of_person(&mut self, now: Timestamp, sub: &str) {
        self.end_where(now, |_, owner, _| owner == sub);
        self.codes.retain(|_, code| code.sub != sub);
    }

    pub(crate) fn end_after_password_change(&mut self, now: Timestamp, sub: &str) {
        self.end_where(now, |_, owner, scopes| {
            owner == sub && scopes.iter().any(|scope| is_gmail(scope))
        });
        self.codes.retain(|_, code| code.sub != sub);
    }

    /// Ends everything that a person gave to a project.
    fn end_project(&mut self, at: Timestamp, project: &str, sub: &str) {
        let of_project = |token_project: &str, owner: &str| token_project == project && owner == sub;
        for token in self
            .access
            .values_mut()
            .filter(|token| of_project(&token.project, &token.sub))
        {
            token.ended_at = Some(token.ended_at.map_or(at, |known| known.min(at)));
        }
        for token in self
            .refresh
            .values_mut()
            .filter(|token| of_project(&token.project, &token.sub))
        {
            token.ended_at = Some(token.ended_at.map_or(at, |known| known.min(at)));
        }
        if let Some(by_person) = self.consents.get_mut(project) {
            by_person.remove(sub);
        }
    }

    /// Ends the tokens of a project that reach further than `scopes`.
    fn end_wider_than(&mut self, now: Timestamp, project: &str, sub: &str, scopes: &BTreeSet<String>) {
        let wider = |token_project: &str, owner: &str, held: &BTreeSet<String>| {
            token_project == project && owner == sub && !held.is_subset(scopes)
        };
        for token in self
            .access
            .values_mut()
            .filter(|token| wider(&token.project, &token.sub, &token.scopes))
        {
            token.ended_at.get_or_insert(now);
        }
        for token in self
            .refresh
            .values_mut()
            .filter(|token| wider(&token.project, &token.sub, &token.scopes))
        {
            token.ended_at.get_or_insert(now);
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        let kept = |at: Timestamp| now.duration_since(at) < DEAD_KEPT;
        if self.codes.len() > SWEEP_ABOVE {
            self.codes
                .retain(|_, code| now.duration_since(code.issued_at) < CODE_LIFE);
        }
        if self.access.len() > SWEEP_ABOVE {
            self.access
                .retain(|_, token| token.expires_at > now && token.ended_at.is_none_or(|at| at > now));
        }
        if self.refresh.len() > SWEEP_ABOVE {
            self.refresh
                .retain(|_, token| token.is_live(now) || kept(token.ended_at.unwrap_or(token.used_at)));
        }
    }

    fn has_live_refresh(&self, now: Timestamp, project: &str, sub: &str) -> bool {
        self.refresh
            .values()
            .any(|token| token.project == project && token.sub == sub && token.is_live(now))
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
    TokenError {
        status,
        code,
        description,
    }
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
        self.grants
            .consent(project, sub)
            .map(|consent| consent.scopes.clone())
            .unwrap_or_default()
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
            self.grants.end_wider_than(now, &client.project, sub, &ticked);
        } else {
            consent.scopes.extend(ticked);
        }
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
        if held.client_id != client.client_id {
            return Err(refuse(400, "unauthorized_client", "Unauthorized"));
        }
        let person = self.usable_person(&held.sub)?.clone();
        if let Some(refusal) = self.refusal(&person, client, &held.scopes) {
            return Err(refusal.into());
        }
        if !held.is_live(now) {
            return Err(REVOKED);
        }
        let scopes = narrower.unwrap_or_else(|| held.scopes.clone());
        if !scopes.is_subset(&held.scopes) || scopes.is_empty() {
            return Err(refuse(
                400,
                "invalid_scope",
                "Some requested scopes were not granted to this token.",
            ));
        }
        if let Some(held) = self.grants.refresh.get_mut(token) {
            held.used_at = now;
        }
        self.token_answer(now, client, &person, &scopes, None, None)
    }

    /// Revokes whatever the token belongs to: everything that the person gave to the whole project. `false` when the
    /// token is garbage.
    pub(crate) fn revoke(&mut self, now: Timestamp, token: &str) -> bool {
        let live_access = self
            .grants
            .access
            .get(token)
            .filter(|held| held.ended_at.is_none_or(|at| at > now));
        let owner = live_access
            .map(|held| (held.project.clone(), held.sub.clone()))
            .or_else(|| {
                let held = self.grants.refresh.get(token).filter(|held| held.is_live(now))?;
                Some((held.project.clone(), held.sub.clone()))
            });
        let Some((project, sub)) = owner else { return false };
        self.revoke_project(now, &project, &sub);
        true
    }

    /// "Remove access" on the person's own connections page.
    pub(crate) fn revoke_project(&mut self, now: Timestamp, project: &str, sub: &str) {
        let at = now
            .checked_add(SignedDuration::from_secs(self.switches.revocation_delay_s))
            .unwrap_or(now);
        self.grants.end_project(at, project, sub);
    }

    /// Ends every token that a policy forbids by now, and forgets consent that has no live token left.
    pub(crate) fn enforce_policy(&mut self, now: Timestamp) {
        let mut grants = std::mem::take(&mut self.grants);
        grants.end_where(now, |client_id, sub, scopes| {
            let (Some(client), Some(person)) = (self.clients.get(client_id), self.people.get(sub)) else {
                return false;
            };
            self.refusal(person, client, scopes).is_some()
        });
        let refused: Vec<(String, String)> = grants
            .consents()
            .filter(|(project, sub, consent)| {
                let person = self.people.get(*sub);
                let refused = |client_id: &String| {
                    let client = self.clients.get(client_id);
                    person
                        .zip(client)
                        .is_some_and(|(who, what)| self.refusal(who, what, &consent.scopes).is_some())
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

    /// Whether the caller's client holds a live refresh token of the person.
    pub(crate) fn holds_refresh_token(&self, now: Timestamp, caller: &Caller) -> bool {
        self.grants.has_live_refresh(now, &caller.project, &caller.sub)
    }

    fn usable_person(&self, sub: &str) -> Result<&Person, TokenError> {
        let person = self
            .people
            .get(sub)
            .filter(|person| !person.deleted)
            .ok_or(DELETED_ACCOUNT)?;
        if person.suspended { Err(REVOKED) } else { Ok(person) }
    }

    fn issue_refresh_token(&mut self, now: Timestamp, client: &OAuthClient, code: &Code) -> String {
        let of_pair =
            |held: &RefreshToken| held.client_id == client.client_id && held.sub == code.sub && held.is_live(now);
        let mut live: Vec<(Timestamp, String)> = self
            .grants
            .refresh
            .iter()
            .filter(|(_, held)| of_pair(held))
            .map(|(text, held)| (held.issued_at, text.clone()))
            .collect();
        live.sort();
        let too_many = (live.len() + 1).saturating_sub(REFRESH_TOKENS_PER_CLIENT_MAX);
        for (_, oldest) in live.into_iter().take(too_many) {
            if let Some(held) = self.grants.refresh.get_mut(&oldest) {
                held.ended_at = Some(now);
            }
        }
        let only_sign_in = code.scopes.iter().all(|scope| is_sign_in(scope));
        let testing = client.user_type == UserType::ExternalTesting && !only_sign_in;
        let text = format!("1//0{}", self.draw("refresh", 98));
        self.grants.refresh.insert(
            text.clone(),
            RefreshToken {
                client_id: client.client_id.clone(),
                project: client.project.clone(),
                sub: code.sub.clone(),
                scopes: code.scopes.clone(),
                issued_at: now,
                used_at: now,
                expires_at: testing.then(|| now.checked_add(TESTING_LIFE).unwrap_or(now)),
                ended_at: None,
            },
        );
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
        self.grants.access.insert(
            access_token.clone(),
            AccessToken {
                client_id: client.client_id.clone(),
                project: client.project.clone(),
                sub: person.sub.clone(),
                scopes: scopes.clone(),
                expires_at,
                ended_at: None,
            },
        );
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

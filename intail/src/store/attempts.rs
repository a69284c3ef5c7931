//! Authorizations that were begun, at sign-in or at Connect: who began, in which browser, and how it ended. A row
//! outlives its end, so that a replayed callback, a double click and an abandoned attempt each get their own sentence.

use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{OrganizationId, PersonId};

/// What an authorization is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To know who somebody is.
    SignIn,
    /// To be let read their Workspace account.
    Connect,
}

impl Purpose {
    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Connect => "connect",
        }
    }
}

impl FromStr for Purpose {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::SignIn, Self::Connect].into_iter().find(|it| it.word() == word).ok_or(())
    }
}

/// An authorization that was begun.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The hash of the state that went to the issuer.
    pub state_hash: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The hash of the cookie of the browser that began it.
    pub browser_hash: String,
    /// Who began it; nobody yet at sign-in.
    pub person_id: Option<PersonId>,
    /// What the ID token must carry.
    pub nonce: String,
    /// The PKCE verifier, sealed.
    pub verifier_sealed: String,
    /// The local path to go to afterwards.
    pub return_to: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// Until when its callback is accepted.
    pub expires_at: Timestamp,
    /// When its callback came, if it did.
    pub ended_at: Option<Timestamp>,
    /// How it ended, in one word.
    pub outcome: Option<String>,
}

fn attempt(row: &dyn Columns) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        state_hash: row.text("state_hash")?,
        purpose: row.parsed("purpose")?,
        browser_hash: row.text("browser_hash")?,
        person_id: row.parsed_or_null("person_id")?,
        nonce: row.text("nonce")?,
        verifier_sealed: row.text("verifier_sealed")?,
        return_to: row.text("return_to")?,
        begun_at: row.at("begun_at")?,
        expires_at: row.at("expires_at")?,
        ended_at: row.at_or_null("ended_at")?,
        outcome: row.text_or_null("outcome")?,
    })
}

/// Records that an authorization was begun.
pub async fn begin(tx: &mut Tx, attempt: &Attempt) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO attempts (state_hash, purpose, browser_hash, person_id, nonce, verifier_sealed, return_to,
             begun_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            &attempt.state_hash,
            attempt.purpose.word(),
            &attempt.browser_hash,
            attempt.person_id.as_ref(),
            &attempt.nonce,
            &attempt.verifier_sealed,
            &attempt.return_to,
            attempt.begun_at,
            attempt.expires_at
        ],
    )
    .await?;
    Ok(())
}

/// The attempt of this state.
pub async fn by_state(tx: &mut Tx, state_hash: &str) -> Result<Option<Attempt>, StoreError> {
    tx.one("SELECT * FROM attempts WHERE state_hash = $1", args![state_hash], attempt).await
}

/// Takes an attempt's callback: true for the first caller only, so that a state works once.
pub async fn take(tx: &mut Tx, state_hash: &str, now: Timestamp) -> Result<bool, StoreError> {
    let taken = tx
        .run(
            "UPDATE attempts SET ended_at = $2, outcome = 'taken' WHERE state_hash = $1 AND ended_at IS NULL",
            args![state_hash, now],
        )
        .await?;
    Ok(taken == 1)
}

/// Says how an attempt ended.
pub async fn set_outcome(tx: &mut Tx, state_hash: &str, outcome: &str) -> Result<(), StoreError> {
    tx.run("UPDATE attempts SET outcome = $2 WHERE state_hash = $1", args![state_hash, outcome]).await?;
    Ok(())
}

/// A person's newest attempt to connect.
pub async fn newest_connect(tx: &mut Tx, person: &PersonId) -> Result<Option<Attempt>, StoreError> {
    tx.one(
        "SELECT * FROM attempts WHERE person_id = $1 AND purpose = 'connect' ORDER BY begun_at DESC LIMIT 1",
        args![person],
        attempt,
    )
    .await
}

/// How many attempts a person began since an instant: a flood is refused.
pub async fn count_since(tx: &mut Tx, person: &PersonId, since: Timestamp) -> Result<i64, StoreError> {
    let count = tx
        .one("SELECT COUNT(*) AS n FROM attempts WHERE person_id = $1 AND begun_at > $2", args![person, since], |row| {
            row.int("n")
        })
        .await?;
    Ok(count.unwrap_or(0))
}

/// How many attempts to connect an organization's people began since an instant.
pub async fn count_of_organization_since(
    tx: &mut Tx,
    organization: &OrganizationId,
    since: Timestamp,
) -> Result<i64, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(*) AS n FROM attempts a JOIN people p ON p.id = a.person_id
             WHERE p.organization_id = $1 AND a.begun_at > $2 AND a.purpose = 'connect'",
            args![organization, since],
            |row| row.int("n"),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// Attempts to connect from which nobody came back, one after the other: of how many people, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// Attempts.
    pub attempts: i64,
    /// Different people among them.
    pub people: i64,
    /// People among them who were connected: Google no longer accepts what they had allowed, and they went there since.
    pub reconnecting: i64,
}

/// What an organization's people began between two instants and didn't come back from, since the last time that
/// anybody did.
pub async fn unanswered(
    tx: &mut Tx,
    organization: &OrganizationId,
    since: Timestamp,
    until: Timestamp,
) -> Result<Unanswered, StoreError> {
    let found = tx
        .one(
            "SELECT COUNT(*) AS n, COUNT(DISTINCT a.person_id) AS people,
                 COUNT(DISTINCT CASE WHEN g.state = 'needs_person' AND g.reason IN ('revoked', 'token_rejected')
                     AND g.suspended_at IS NULL AND a.begun_at > g.state_since THEN a.person_id END) AS reconnecting
             FROM attempts a JOIN people p ON p.id = a.person_id LEFT JOIN grants g ON g.person_id = p.id
             WHERE p.organization_id = $1 AND a.begun_at > $2 AND a.begun_at < $3 AND a.purpose = 'connect'
                 AND a.ended_at IS NULL AND a.begun_at > COALESCE(
                     (SELECT MAX(b.begun_at) FROM attempts b JOIN people q ON q.id = b.person_id
                      WHERE q.organization_id = $1 AND b.begun_at > $2 AND b.purpose = 'connect'
                          AND b.ended_at IS NOT NULL), 0)",
            args![organization, since, until],
            |row| {
                Ok(Unanswered {
                    attempts: row.int("n")?,
                    people: row.int("people")?,
                    reconnecting: row.int("reconnecting")?,
                })
            },
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// Forgets the attempts that ended their time before `before`.
pub async fn sweep(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    tx.run("DELETE FROM attempts WHERE expires_at < $1", args![before]).await
}

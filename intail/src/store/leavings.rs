//! Leavings: somebody's data and grant are on their way out. One row until everything is done; its step says what comes
//! next, so that a crash at any step is taken up again. Who takes a row up raises its claim, and only the newest claim
//! may write.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;

use super::StoreError;
use super::sql::{Columns, Tx, args};
use crate::id::{GrantId, OrganizationId, PersonId, ReceiptId};

/// Somebody, or a whole organization, on the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its id, which its receipt will have.
    pub id: ReceiptId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// Who leaves; none when the whole organization does.
    pub person_id: Option<PersonId>,
    /// What they permitted; none when they never connected.
    pub grant_id: Option<GrantId>,
    /// Who wanted it.
    pub cause: Cause,
    /// Whether the person goes too, and not only their connection.
    pub removes_person: bool,
    /// What comes next.
    pub step: LeavingStep,
    /// Whether Google confirmed that it pushes no more.
    pub is_stopped: bool,
    /// What is known of the revocation.
    pub revocation: Revocation,
    /// The token that is still to be revoked, once its grant has gone.
    pub refresh_sealed: Option<String>,
    /// The Google account that this token is of, sealed and kept as long; none in leavings of older versions.
    pub subject_sealed: Option<String>,
    /// Rows that were erased, by kind.
    pub erased: BTreeMap<String, u64>,
    /// The sums of what was asked of Google.
    pub calls: CallSums,
    /// When it began.
    pub begun_at: Timestamp,
    /// When the last row was erased.
    pub erased_at: Option<Timestamp>,
    /// How often the revocation was tried.
    pub tries: i64,
    /// When it is taken up again.
    pub due_at: Timestamp,
    /// Which turn this is.
    pub claim: i64,
}

/// The sums of what was asked of Google on somebody's behalf, and where the chain of calls ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct CallSums {
    /// Calls.
    pub calls: i64,
    /// Their price in Google's units.
    pub units: i64,
    /// Bytes received.
    pub bytes: i64,
    /// The first day.
    pub first_day: Option<String>,
    /// The last day.
    pub last_day: Option<String>,
    /// The number of the last batch of the chain.
    pub last_batch: i64,
    /// Its hash.
    pub last_hash: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$item])* $variant,)*
        }

        impl $name {
            /// The column's word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(()),
                }
            }
        }
    };
}

words! {
    /// Who wanted somebody to leave.
    Cause {
        /// They themselves.
        Person = "person",
        /// An administrator of their organization.
        Administrator = "administrator",
        /// Whoever runs Intail.
        Operator = "operator",
        /// The organization's directory, which calls the account deleted since long enough.
        Directory = "directory",
    }
}

words! {
    /// What comes next.
    LeavingStep {
        /// Ask Google to push no more.
        Stop = "stop",
        /// Give the permission back to Google.
        Revoke = "revoke",
        /// Erase every row.
        Erase = "erase",
        /// Issue the receipt.
        Receipt = "receipt",
        /// Everything is done but the revocation, which Google couldn't confirm yet.
        RevokeLater = "revoke_later",
        /// Of an organization: let everybody leave.
        People = "people",
        /// Of an organization: erase its own rows.
        Organization = "organization",
    }
}

words! {
    /// What is known of the revocation.
    Revocation {
        /// It wasn't tried yet, or Google couldn't answer.
        Open = "open",
        /// Google confirmed it.
        Confirmed = "confirmed",
        /// Google refused it for good.
        Refused = "refused",
        /// Google couldn't answer for so long that Intail stopped asking.
        GivenUp = "given_up",
        /// The account was connected again before Google could answer: revoking would end what it permitted since.
        Overtaken = "overtaken",
        /// There was no token to revoke.
        Unneeded = "unneeded",
    }
}

fn leaving(row: &dyn Columns) -> Result<Leaving, StoreError> {
    Ok(Leaving {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        person_id: row.parsed_or_null("person_id")?,
        grant_id: row.parsed_or_null("grant_id")?,
        cause: row.parsed("cause")?,
        removes_person: row.boolean("removes_person")?,
        step: row.parsed("step")?,
        is_stopped: row.boolean("is_stopped")?,
        revocation: row.parsed("revocation")?,
        refresh_sealed: row.text_or_null("refresh_sealed")?,
        subject_sealed: row.text_or_null("subject_sealed")?,
        erased: json(row, "erased")?,
        calls: json(row, "calls")?,
        begun_at: row.at("begun_at")?,
        erased_at: row.at_or_null("erased_at")?,
        tries: row.int("tries")?,
        due_at: row.at("due_at")?,
        claim: row.int("claim")?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &dyn Columns, column: &'static str) -> Result<T, StoreError> {
    let text = row.text(column)?;
    serde_json::from_str(&text).map_err(|_| StoreError::Inconsistent { column, value: text })
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

/// Begins a leaving.
pub async fn create(tx: &mut Tx, leaving: &Leaving) -> Result<(), StoreError> {
    tx.run(
        "INSERT INTO leavings (id, organization_id, person_id, grant_id, cause, removes_person, step, is_stopped,
             revocation, refresh_sealed, subject_sealed, erased, calls, begun_at, erased_at, tries, due_at, claim)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        args![
            &leaving.id,
            &leaving.organization_id,
            leaving.person_id.as_ref(),
            leaving.grant_id.as_ref().map(GrantId::as_str),
            leaving.cause.word(),
            leaving.removes_person,
            leaving.step.word(),
            leaving.is_stopped,
            leaving.revocation.word(),
            leaving.refresh_sealed.as_deref(),
            leaving.subject_sealed.as_deref(),
            text(&leaving.erased),
            text(&leaving.calls),
            leaving.begun_at,
            leaving.erased_at,
            leaving.tries,
            leaving.due_at,
            leaving.claim
        ],
    )
    .await?;
    Ok(())
}

/// Takes a leaving up until `until`, if it is due and nobody else works on it.
pub async fn claim(
    tx: &mut Tx,
    id: &ReceiptId,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Leaving>, StoreError> {
    tx.one(
        "UPDATE leavings SET claim = claim + 1, due_at = $3 WHERE id = $1 AND due_at <= $2 RETURNING *",
        args![id, now, until],
        leaving,
    )
    .await
}

/// Writes what was done. Only who holds the newest claim may.
pub async fn save(tx: &mut Tx, leaving: &Leaving) -> Result<(), StoreError> {
    let written = tx
        .run(
            "UPDATE leavings SET grant_id = $3, step = $4, is_stopped = $5, revocation = $6, refresh_sealed = $7,
                 erased = $8, calls = $9, erased_at = $10, tries = $11, due_at = $12, subject_sealed = $13
             WHERE id = $1 AND claim = $2",
            args![
                &leaving.id,
                leaving.claim,
                leaving.grant_id.as_ref().map(GrantId::as_str),
                leaving.step.word(),
                leaving.is_stopped,
                leaving.revocation.word(),
                leaving.refresh_sealed.as_deref(),
                text(&leaving.erased),
                text(&leaving.calls),
                leaving.erased_at,
                leaving.tries,
                leaving.due_at,
                leaving.subject_sealed.as_deref()
            ],
        )
        .await?;
    if written == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// Says that the person goes too, and not only their connection.
pub async fn remove_person_too(tx: &mut Tx, id: &ReceiptId) -> Result<(), StoreError> {
    tx.run("UPDATE leavings SET removes_person = TRUE WHERE id = $1", args![id]).await?;
    Ok(())
}

/// Everything is done: the row goes. Only who holds the newest claim may.
pub async fn finish(tx: &mut Tx, leaving: &Leaving) -> Result<(), StoreError> {
    let deleted =
        tx.run("DELETE FROM leavings WHERE id = $1 AND claim = $2", args![&leaving.id, leaving.claim]).await?;
    if deleted == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// The leaving with this id.
pub async fn by_id(tx: &mut Tx, id: &ReceiptId) -> Result<Option<Leaving>, StoreError> {
    tx.one("SELECT * FROM leavings WHERE id = $1", args![id], leaving).await
}

/// A person's leaving whose data isn't erased yet.
pub async fn unfinished_of_person(tx: &mut Tx, person: &PersonId) -> Result<Option<Leaving>, StoreError> {
    tx.one(
        "SELECT * FROM leavings WHERE person_id = $1 AND step IN ('stop', 'revoke', 'erase') ORDER BY begun_at LIMIT 1",
        args![person],
        leaving,
    )
    .await
}

/// Leavings of people of an organization that have no receipt yet, oldest first; `limit` bounds it.
pub async fn without_receipt(
    tx: &mut Tx,
    organization: &OrganizationId,
    limit: i64,
) -> Result<Vec<ReceiptId>, StoreError> {
    tx.all(
        "SELECT id FROM leavings WHERE organization_id = $1 AND step IN ('stop', 'revoke', 'erase', 'receipt')
         ORDER BY due_at, id LIMIT $2",
        args![organization, limit],
        |row| row.parsed("id"),
    )
    .await
}

/// How many sealed tokens of people who left an organization are still to be revoked.
pub async fn revocations_open(tx: &mut Tx, organization: &OrganizationId) -> Result<i64, StoreError> {
    let count = tx
        .one(
            "SELECT COUNT(*) AS n FROM leavings WHERE organization_id = $1 AND refresh_sealed IS NOT NULL",
            args![organization],
            |row| row.int("n"),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// The leaving of a whole organization, if it is under way.
pub async fn of_organization(tx: &mut Tx, organization: &OrganizationId) -> Result<Option<Leaving>, StoreError> {
    tx.one(
        "SELECT * FROM leavings WHERE organization_id = $1 AND step IN ('people', 'organization')",
        args![organization],
        leaving,
    )
    .await
}

/// Leavings that are due, oldest first; `limit` bounds it.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<ReceiptId>, StoreError> {
    tx.all("SELECT id FROM leavings WHERE due_at <= $1 ORDER BY due_at LIMIT $2", args![now, limit], |row| {
        row.parsed("id")
    })
    .await
}

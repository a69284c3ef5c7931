//! Grants: what one person permitted at Google. Tokens are here only sealed.

use std::str::FromStr;

use jiff::Timestamp;

use super::sql::{Columns, Tx, Value, args};
use super::{StoreError, receipts};
use crate::id::{GrantId, OrganizationId, PersonId};

/// What one person permitted, and whether it still works.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its id: stays the same when the person reconnects.
    pub id: GrantId,
    /// The organization of the person.
    pub organization_id: OrganizationId,
    /// Whose it is.
    pub person_id: PersonId,
    /// The Google account's unchanging id (`sub`).
    pub google_subject: String,
    /// The Google account's address when it was granted.
    pub email: String,
    /// The account's Workspace domain (`hd`).
    pub hosted_domain: Option<String>,
    /// The OAuth client that the grant was given to.
    pub client_id: String,
    /// The scopes that are granted, in order.
    pub scopes: Vec<String>,
    /// Whether it works, and who must act if not.
    pub state: GrantState,
    /// Why it is in this state, in one word.
    pub reason: String,
    /// Since when.
    pub state_since: Timestamp,
    /// The refresh token, sealed.
    pub refresh_sealed: Option<String>,
    /// The newest access token, sealed.
    pub access_sealed: Option<String>,
    /// When that access token ends.
    pub access_expires_at: Option<Timestamp>,
    /// When the person connected.
    pub connected_at: Timestamp,
    /// Since when the directory calls the account suspended: nothing is asked meanwhile. Connecting again ends it.
    pub suspended_at: Option<Timestamp>,
}

/// Whether a grant works, and who must act if not. All but the first two open a circuit: no call is made until
/// somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Everything asked for is granted and works.
    Active,
    /// It works, but a permission is missing.
    Partial,
    /// The person must connect again.
    NeedsPerson,
    /// The administrator must let Intail in.
    NeedsAdministrator,
    /// The operator must mend the OAuth client.
    NeedsOperator,
    /// The person leaves; what is left is being erased.
    Left,
}

impl GrantState {
    const ALL: [Self; 6] =
        [Self::Active, Self::Partial, Self::NeedsPerson, Self::NeedsAdministrator, Self::NeedsOperator, Self::Left];

    /// The column's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Partial => "partial",
            Self::NeedsPerson => "needs_person",
            Self::NeedsAdministrator => "needs_administrator",
            Self::NeedsOperator => "needs_operator",
            Self::Left => "left",
        }
    }

    /// Whether calls to Google may be made under it.
    pub fn works(self) -> bool {
        matches!(self, Self::Active | Self::Partial)
    }
}

impl FromStr for GrantState {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|it| it.word() == word).ok_or(())
    }
}

/// The reason of grants that the administrator's settings at Google stopped.
pub const BLOCKED: &str = "blocked_by_administrator";

fn grant(row: &dyn Columns) -> Result<Grant, StoreError> {
    Ok(Grant {
        id: row.parsed("id")?,
        organization_id: row.parsed("organization_id")?,
        person_id: row.parsed("person_id")?,
        google_subject: row.text("google_subject")?,
        email: row.text("email")?,
        hosted_domain: row.text_or_null("hosted_domain")?,
        client_id: row.text("client_id")?,
        scopes: row.text("scopes")?.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect(),
        state: row.parsed("state")?,
        reason: row.text("reason")?,
        state_since: row.at("state_since")?,
        refresh_sealed: row.text_or_null("refresh_sealed")?,
        access_sealed: row.text_or_null("access_sealed")?,
        access_expires_at: row.at_or_null("access_expires_at")?,
        connected_at: row.at("connected_at")?,
        suspended_at: row.at_or_null("suspended_at")?,
    })
}

/// What became of a grant that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Kept,
    /// The person has the log of another one by now: this grant's time is over.
    Over,
    /// Under this id another account was connected meanwhile. Nothing was written.
    AnotherAccount,
}

/// Writes a grant whole: new, or the same id after a reconnect of the same account. Opens the log of its calls, unless
/// it is open.
pub async fn put(tx: &mut Tx, grant: &Grant) -> Result<Put, StoreError> {
    // What Google permitted is held nowhere else, and the person reads that they are connected.
    tx.reach_disk();
    if receipts::open(tx, &grant.person_id, &grant.id).await?.is_some_and(|it| it != grant.id) {
        return Ok(Put::Over);
    }
    let kept = tx.run(
        "INSERT INTO grants (id, organization_id, person_id, google_subject, email, hosted_domain, client_id, scopes,
             state, reason, state_since, refresh_sealed, access_sealed, access_expires_at, connected_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (id) DO UPDATE SET email = excluded.email, hosted_domain = excluded.hosted_domain,
             client_id = excluded.client_id, scopes = excluded.scopes, state = excluded.state, reason = excluded.reason,
             state_since = excluded.state_since, refresh_sealed = excluded.refresh_sealed,
             access_sealed = excluded.access_sealed, access_expires_at = excluded.access_expires_at,
             connected_at = excluded.connected_at, suspended_at = NULL
             WHERE grants.google_subject = excluded.google_subject",
        args![
            &grant.id,
            &grant.organization_id,
            &grant.person_id,
            &grant.google_subject,
            &grant.email,
            grant.hosted_domain.as_deref(),
            &grant.client_id,
            grant.scopes.join(" "),
            grant.state.word(),
            &grant.reason,
            grant.state_since,
            grant.refresh_sealed.as_deref(),
            grant.access_sealed.as_deref(),
            grant.access_expires_at,
            grant.connected_at
        ],
    )
    .await?;
    Ok(if kept == 1 { Put::Kept } else { Put::AnotherAccount })
}

/// The grant with this id.
pub async fn by_id(tx: &mut Tx, id: &GrantId) -> Result<Option<Grant>, StoreError> {
    tx.one("SELECT * FROM grants WHERE id = $1", args![id], grant).await
}

/// A person's grant.
pub async fn by_person(tx: &mut Tx, person: &PersonId) -> Result<Option<Grant>, StoreError> {
    tx.one("SELECT * FROM grants WHERE person_id = $1", args![person], grant).await
}

/// The grant of a Google account, whoever's it is.
pub async fn by_google_subject(tx: &mut Tx, subject: &str) -> Result<Option<Grant>, StoreError> {
    tx.one("SELECT * FROM grants WHERE google_subject = $1", args![subject], grant).await
}

/// The grants of an organization for these Google accounts. `ids` are a page of the directory: at most 500.
pub async fn of_accounts(tx: &mut Tx, organization: &OrganizationId, ids: &[String]) -> Result<Vec<Grant>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<String> = (2..ids.len() + 2).map(|n| format!("${n}")).collect();
    let sql = format!(
        "SELECT * FROM grants WHERE organization_id = $1 AND state <> 'left' AND google_subject IN ({})
         ORDER BY google_subject",
        places.join(",")
    );
    let mut values = args![organization];
    values.extend(ids.iter().map(Value::from));
    tx.all_built(sql, values, grant).await
}

/// The grants of an organization that the administrator's settings stopped, in order of id, without those of suspended
/// accounts; `limit` bounds it.
pub async fn blocked(tx: &mut Tx, organization: &OrganizationId, limit: i64) -> Result<Vec<GrantId>, StoreError> {
    tx.all(
        "SELECT id FROM grants WHERE organization_id = $1 AND state = 'needs_administrator' AND reason = $2
             AND suspended_at IS NULL ORDER BY id LIMIT $3",
        args![organization, BLOCKED, limit],
        |row| row.parsed("id"),
    )
    .await
}

/// Keeps since when a grant's account is suspended, if it is. One that works goes on from `now` when it no longer is:
/// nothing was read in between.
pub async fn set_suspended(
    tx: &mut Tx,
    id: &GrantId,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if since.is_none() {
        tx.run(
            "UPDATE grants SET state_since = $2
             WHERE id = $1 AND suspended_at IS NOT NULL AND state IN ('active', 'partial')",
            args![id, now],
        )
        .await?;
    }
    tx.run("UPDATE grants SET suspended_at = $2 WHERE id = $1", args![id, since]).await?;
    Ok(())
}

/// Moves a grant to the address that its account has now.
pub async fn set_email(tx: &mut Tx, id: &GrantId, email: &str) -> Result<(), StoreError> {
    tx.run("UPDATE grants SET email = $2 WHERE id = $1", args![id, email]).await?;
    Ok(())
}

/// Says that everything that is read under a grant is due now.
pub async fn wake(tx: &mut Tx, id: &GrantId, now: Timestamp) -> Result<(), StoreError> {
    tx.run(
        "UPDATE mailboxes SET dirty = TRUE, notices = notices + 1, noticed_at = $2, due_at = $2 WHERE grant_id = $1",
        args![id, now],
    )
    .await?;
    tx.run("UPDATE agendas SET dirty = TRUE, due_at = $2 WHERE grant_id = $1", args![id, now]).await?;
    Ok(())
}

/// Keeps a refreshed access token and the scopes that came with it, unless the person has connected again since `grant`
/// was read: then newer ones are there already.
pub async fn refreshed(
    tx: &mut Tx,
    grant: &Grant,
    access_sealed: &str,
    access_expires_at: Timestamp,
    refresh_sealed: Option<&str>,
    scopes: &[String],
) -> Result<(), StoreError> {
    tx.run(
        "UPDATE grants SET access_sealed = $3, access_expires_at = $4, refresh_sealed = COALESCE($5, refresh_sealed),
             scopes = $6 WHERE id = $1 AND connected_at = $2",
        args![&grant.id, grant.connected_at, access_sealed, access_expires_at, refresh_sealed, scopes.join(" ")],
    )
    .await?;
    Ok(())
}

/// Moves a grant to a state. `since` moves only when the state does; a grant that left stays left.
pub async fn set_state(
    tx: &mut Tx,
    id: &GrantId,
    state: GrantState,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.run(
        "UPDATE grants SET state = $2, reason = $3,
             state_since = CASE WHEN state = $2 THEN state_since ELSE $4 END
         WHERE id = $1 AND state <> 'left'",
        args![id, state.word(), reason, now],
    )
    .await?;
    Ok(())
}

/// Takes a grant's row until the commit, if it is still the one that was read: answers whether, or whether the person
/// has connected again since, or is gone. What Google said of the grant before says nothing of the one now.
pub async fn hold(tx: &mut Tx, grant: &Grant) -> Result<bool, StoreError> {
    let held = tx
        .run("UPDATE grants SET id = id WHERE id = $1 AND connected_at = $2", args![&grant.id, grant.connected_at])
        .await?;
    Ok(held == 1)
}

/// Keeps which scopes a grant still has.
pub async fn set_scopes(tx: &mut Tx, id: &GrantId, scopes: &[String]) -> Result<(), StoreError> {
    tx.run("UPDATE grants SET scopes = $2 WHERE id = $1", args![id, scopes.join(" ")]).await?;
    Ok(())
}

/// The grants of an organization, in order of id; `limit` bounds it.
pub async fn list(tx: &mut Tx, organization: &OrganizationId, limit: i64) -> Result<Vec<Grant>, StoreError> {
    tx.all("SELECT * FROM grants WHERE organization_id = $1 ORDER BY id LIMIT $2", args![organization, limit], grant)
        .await
}

/// Closes the circuit of grants of an organization that waited for somebody: what stood in their way is gone. Those
/// that lack one of the scopes in `whole` go on in part. Answers how many there were.
///
/// Each statement sees what others committed before it, so whose turn it is is asked once: a grant that is closed
/// meanwhile stays closed, and what was woken here stays so until the commit, whoever works on it.
pub async fn reopen(
    tx: &mut Tx,
    organization: &OrganizationId,
    waited_for: GrantState,
    whole: &[&str],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let waiting: Vec<String> = tx
        .all(
            "SELECT id FROM grants WHERE organization_id = $1 AND state = $2 ORDER BY id",
            args![organization, waited_for.word()],
            |row| row.text("id"),
        )
        .await?;
    for table in ["mailboxes", "agendas"] {
        let sql = format!("SELECT id FROM {table} WHERE grant_id IN ({{among}})");
        let streams = tx.all_among(&sql, args![], &waiting, |row| row.text("id")).await?;
        let notice = if table == "mailboxes" { "notices = notices + 1, noticed_at = $1," } else { "" };
        let sql = format!(
            "UPDATE {table} SET dirty = TRUE, {notice} due_at = $1
             WHERE id IN (SELECT id FROM {table} WHERE id IN ({{among}}) ORDER BY id {})",
            tx.taking("")
        );
        tx.run_among(&sql, args![now], &streams).await?;
    }
    if !waiting.is_empty() {
        tx.run("UPDATE directories SET dirty = TRUE, due_at = $2 WHERE organization_id = $1", args![organization, now])
            .await?;
    }
    let mut values = args![waited_for.word(), now];
    let has = whole.iter().map(|scope| {
        values.extend(args![format!("% {scope} %")]);
        format!("' ' || scopes || ' ' LIKE ${}", values.len())
    });
    let has = has.chain(["TRUE".to_owned()]).collect::<Vec<_>>().join(" AND ");
    let sql = format!(
        "UPDATE grants SET state_since = $2, state = CASE WHEN {has} THEN 'active' ELSE 'partial' END,
             reason = CASE WHEN {has} THEN '' ELSE 'permission_missing' END
         WHERE state = $1 AND id IN (SELECT id FROM grants WHERE id IN ({{among}}) ORDER BY id {})",
        tx.taking("")
    );
    tx.run_among(&sql, values, &waiting).await
}

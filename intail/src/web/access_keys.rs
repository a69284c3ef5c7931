//! Settings → Access keys: what a person's own programs use the API with. A key is shown once, when it is made.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::Web;
use super::access::{Caller, KEY_PREFIX};
use super::asked::Sent;
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{When, clip};
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::seal::hash_token;
use crate::store::access_keys::{self, AccessKey};

/// Keys of one person.
const KEYS_MAX: i64 = 20;
/// The longest name of a key, in characters.
const NAME_MAX: usize = 60;
/// Characters of a key's fingerprint in the audit log: enough to tell a person's keys apart.
const FINGERPRINT_SHOWN: usize = 12;

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    shell: Shell,
    fresh: Option<Fresh>,
    /// Whether the form was sent a second time, by a reload or a double click: its key was made, and isn't shown again.
    again: bool,
    keys: Vec<Listed>,
    public_url: String,
    name_max: usize,
    full: bool,
}

/// A key that was made just now: the only time that it is shown.
struct Fresh {
    name: String,
    key: String,
}

struct Listed {
    name: String,
    key_hash: String,
    created_at: When,
    used_at: Option<When>,
}

/// `GET /settings/keys`
pub(super) async fn page(State(web): State<Web>, caller: Caller) -> Result<Response, Trouble> {
    show(&web, &caller, None, false).await
}

async fn show(web: &Web, caller: &Caller, fresh: Option<Fresh>, again: bool) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let keys = access_keys::of_person(&mut tx, &caller.person.id, KEYS_MAX).await?;
    drop(tx);
    html(&KeysPage {
        shell: Shell::new(web, Some(caller), "keys", "Access keys"),
        fresh,
        again,
        full: i64::try_from(keys.len()).unwrap_or(i64::MAX) >= KEYS_MAX,
        keys: keys.into_iter().map(listed).collect(),
        public_url: web.app.config.server.public_url.as_str().to_owned(),
        name_max: NAME_MAX,
    })
}

fn listed(key: AccessKey) -> Listed {
    Listed {
        name: key.name,
        key_hash: key.key_hash,
        created_at: When::full(key.created_at),
        used_at: key.used_at.map(When::full),
    }
}

/// What the form to make a key sends.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    name: String,
    /// The session's token as this page showed it: different on every page, so that it also says which form it was.
    #[serde(default)]
    form_token: String,
}

/// `POST /settings/keys`: a form makes one key, however often it is sent. What it answers is shown once, so it can't be
/// an address to go to.
pub(super) async fn create(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Sent(wanted): Sent<Wanted>,
) -> Result<Response, Trouble> {
    let name = match clip(wanted.name.trim(), NAME_MAX) {
        name if name.is_empty() => "Access key".to_owned(),
        name => name,
    };
    let key = format!("{KEY_PREFIX}{}", web.app.random.token());
    let form_hash = hash_token(&format!("{} {name}", wanted.form_token));
    let mut tx = web.app.store.write().await?;
    let held = access_keys::of_person(&mut tx, &caller.person.id, KEYS_MAX).await?.len();
    let (key_hash, now) = (hash_token(&key), web.app.clock.now());
    let added = access_keys::create(&mut tx, &key_hash, &caller.person.id, &name, Some(&form_hash), now).await?;
    if !added {
        drop(tx);
        return show(&web, &caller, None, true).await;
    }
    if i64::try_from(held).unwrap_or(i64::MAX) >= KEYS_MAX {
        return Err(trouble::too_many("You have as many access keys as one person can have."));
    }
    audit::record(&mut tx, entry(&caller, "access_key.made", &key_hash, origin), now).await?;
    tx.commit().await?;
    show(&web, &caller, Some(Fresh { name, key }), false).await
}

/// What the audit log says of a key: whose it is, and the beginning of its fingerprint.
fn entry<'a>(caller: &'a Caller, action: &'static str, key_hash: &str, origin: Origin) -> Entry<'a> {
    Entry {
        organization: &caller.person.organization_id,
        actor: Actor::Person(caller.person.id.clone()),
        action,
        about: caller.person.id.as_str(),
        origin,
        detail: json!({"key": key_hash.chars().take(FINGERPRINT_SHOWN).collect::<String>()}),
    }
}

/// What a key's Delete button sends.
#[derive(Deserialize)]
pub(super) struct Unwanted {
    #[serde(default)]
    key: String,
}

/// `POST /settings/keys/delete`: a key that has gone already is no error.
pub(super) async fn delete(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Sent(unwanted): Sent<Unwanted>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.write().await?;
    if access_keys::delete(&mut tx, &caller.person.id, &unwanted.key).await? {
        audit::record(&mut tx, entry(&caller, "access_key.deleted", &unwanted.key, origin), web.app.clock.now())
            .await?;
    }
    tx.commit().await?;
    Ok(Redirect::to("/settings/keys").into_response())
}

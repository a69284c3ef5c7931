//! Who asks, and whether they may. The check wraps every route of the table; handlers receive the [`Caller`] that it
//! found.
//!
//! What a reader must not break: a request that changes something comes from Intail's own pages (the browser's own
//! headers say from where) and, if a session makes it, carries that session's form token.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq as _;

use super::routes::Who;
use super::trouble::{self, Trouble};
use super::{Web, session};
use crate::org::approval::{self, Signs};
use crate::seal::hash_token;
use crate::store::approval_waits::{self, Standing};
use crate::store::organizations::Approval;
use crate::store::people::{self, Person, Role};
use crate::store::{StoreError, access_keys, sessions};

/// The largest form: two hundred addresses of the longest kind, with what their encoding adds.
const FORM_BYTES_MAX: usize = 128 * 1024;
/// The form field that carries the session's token.
pub(super) const FORM_TOKEN: &str = "form_token";
/// How an access key begins.
pub(super) const KEY_PREFIX: &str = "intail_";
/// The use of a key is written down at most this often: a busy program must not make a write of every read.
const USED_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Keys whose last use is remembered in memory; beyond it the memory starts over.
const USED_REMEMBERED_MAX: usize = 10_000;

/// Who asks.
#[derive(Clone)]
pub(super) struct Caller {
    /// The person.
    pub(super) person: Person,
    /// How they proved it.
    pub(super) via: Via,
    /// How they stand, for what every page tells; programs aren't told.
    pub(super) standing: Option<Standing>,
    /// What asks for an administrator, if the person is one and Google hasn't said plainly that it keeps Intail out.
    pub(super) signs: Option<Signs>,
    /// Whether their account is suspended or deleted at Google: then little is theirs to see.
    is_shut_out: bool,
}

/// How a caller proved who they are.
#[derive(Clone)]
pub(super) enum Via {
    /// By a session's cookie.
    Session {
        /// The hash of the cookie's token.
        token_hash: String,
        /// What the session's forms carry.
        form_token: String,
    },
    /// By an access key.
    AccessKey {
        /// Its hash.
        key_hash: String,
    },
}

impl Caller {
    /// Whether the session or key still stands.
    pub(super) async fn still_stands(&self, web: &Web) -> Result<bool, StoreError> {
        let mut tx = web.app.store.read().await?;
        if people::shut_out_since(&mut tx, &self.person.id).await?.is_some() {
            return Ok(false);
        }
        Ok(match &self.via {
            Via::Session { token_hash, .. } => {
                sessions::by_token(&mut tx, token_hash, web.app.clock.now()).await?.is_some()
            }
            Via::AccessKey { key_hash } => access_keys::person_of(&mut tx, key_hash).await?.is_some(),
        })
    }
}

/// The caller of a route that only callers may use.
impl FromRequestParts<Web> for Caller {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Trouble> {
        parts.extensions.get::<Self>().cloned().ok_or_else(trouble::not_signed_in)
    }
}

/// The caller of a route that everyone may use: whoever is signed in in this browser, or nobody.
impl OptionalFromRequestParts<Web> for Caller {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Option<Self>, Trouble> {
        match parts.extensions.get::<Self>() {
            Some(caller) => Ok(Some(caller.clone())),
            None => Ok(by_session(web, &parts.headers).await?),
        }
    }
}

/// The layer around each route.
pub(super) async fn check(State((web, who)): State<(Web, Who)>, request: Request, next: Next) -> Response {
    match admit(&web, who, request).await {
        Ok((mut request, caller)) => {
            if let Some(caller) = &caller {
                request.extensions_mut().insert(caller.clone());
            }
            let mut response = next.run(request).await;
            if let Some(caller) = caller {
                response.extensions_mut().insert(caller);
            }
            response
        }
        Err(Refused::SignInFirst(return_to)) => Redirect::to(&session::sign_in_address(&return_to)).into_response(),
        Err(Refused::Trouble(trouble)) => trouble.into_response(),
    }
}

enum Refused {
    SignInFirst(String),
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

async fn admit(web: &Web, who: Who, request: Request) -> Result<(Request, Option<Caller>), Refused> {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if !reads && !comes_from_us(web, request.headers()) {
        return Err(trouble::foreign_form().into());
    }
    let caller = match who {
        Who::Anyone => return Ok((request, None)),
        Who::EvenSuspended | Who::SignedIn | Who::Overseer | Who::Administrator => {
            by_session(web, request.headers()).await?
        }
        Who::Key => match bearer(request.headers()) {
            Some(key) => Some(by_key(web, key).await?.ok_or_else(trouble::unknown_key)?),
            None => by_session(web, request.headers()).await?,
        },
    };
    let Some(caller) = caller else {
        return Err(match who {
            Who::Key => trouble::not_signed_in().into(),
            _ if reads => Refused::SignInFirst(request.uri().path_and_query().map_or("/", |it| it.as_str()).to_owned()),
            _ => Refused::SignInFirst("/".to_owned()),
        });
    };
    if caller.is_shut_out && who != Who::EvenSuspended {
        return Err(trouble::shut_out().into());
    }
    let may = match who {
        Who::Administrator => caller.person.role == Role::Administrator,
        Who::Overseer => caller.person.oversees(),
        Who::Anyone | Who::EvenSuspended | Who::SignedIn | Who::Key => true,
    };
    if !may {
        return Err(trouble::administrators_only().into());
    }
    let request = match &caller.via {
        Via::Session { form_token, .. } if !reads => with_form_token(request, form_token).await?,
        _ => request,
    };
    Ok((request, Some(caller)))
}

async fn by_session(web: &Web, headers: &HeaderMap) -> Result<Option<Caller>, StoreError> {
    match session::token(web, headers) {
        Some(token) => of_session(web, &token).await,
        None => Ok(None),
    }
}

/// Who is signed in with this session's token, if it stands.
pub(super) async fn of_session(web: &Web, token: &str) -> Result<Option<Caller>, StoreError> {
    let token_hash = hash_token(token);
    let mut tx = web.app.store.read().await?;
    let Some(session) = sessions::by_token(&mut tx, &token_hash, web.app.clock.now()).await? else {
        return Ok(None);
    };
    let standing = approval_waits::standing_of(&mut tx, &session.person.id).await?;
    let is_shut_out = people::shut_out_since(&mut tx, &session.person.id).await?.is_some();
    let approval = standing.map(|it| it.approval).filter(|it| *it != Approval::Blocked);
    let signs = match approval.filter(|_| session.person.role == Role::Administrator && !is_shut_out) {
        Some(approval) => {
            let organization = &session.person.organization_id;
            Some(approval::signs(&mut tx, organization, approval, web.app.clock.now()).await?)
        }
        None => None,
    };
    let via = Via::Session { token_hash, form_token: session.form_token };
    Ok(Some(Caller { person: session.person, via, standing, signs, is_shut_out }))
}

async fn by_key(web: &Web, key: &str) -> Result<Option<Caller>, StoreError> {
    if !key.starts_with(KEY_PREFIX) {
        return Ok(None);
    }
    let key_hash = hash_token(key);
    let mut tx = web.app.store.read().await?;
    let Some(person) = access_keys::person_of(&mut tx, &key_hash).await? else {
        return Ok(None);
    };
    let is_shut_out = people::shut_out_since(&mut tx, &person.id).await?.is_some();
    drop(tx);
    let now = web.app.clock.now();
    if is_news(web, &key_hash, now) {
        let mut tx = web.app.store.write().await?;
        access_keys::used(&mut tx, &key_hash, now).await?;
        tx.commit().await?;
    }
    Ok(Some(Caller { person, via: Via::AccessKey { key_hash }, standing: None, signs: None, is_shut_out }))
}

fn is_news(web: &Web, key_hash: &str, now: Timestamp) -> bool {
    let mut used = web.keys_used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if used.get(key_hash).is_some_and(|at| now.duration_since(*at) < USED_EVERY) {
        return false;
    }
    if used.len() >= USED_REMEMBERED_MAX {
        used.clear();
    }
    used.insert(key_hash.to_owned(), now);
    true
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Whether a browser sent this from one of Intail's own pages. Programs send neither header; their proof is another.
fn comes_from_us(web: &Web, headers: &HeaderMap) -> bool {
    let says = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = says("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    site && says("origin").is_none_or(|origin| origin == web.app.config.server.public_url.as_str())
}

async fn with_form_token(request: Request, expected: &str) -> Result<Request, Trouble> {
    let (parts, body) = request.into_parts();
    let form = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| trouble::form_too_large())?;
    if !carries(&form, expected) {
        return Err(trouble::stale_form());
    }
    Ok(Request::from_parts(parts, Body::from(form)))
}

fn carries(form: &Bytes, expected: &str) -> bool {
    let shown = url::form_urlencoded::parse(form).find(|(name, _)| name == FORM_TOKEN);
    let token = shown.and_then(|(_, shown)| session::unmask(&shown));
    token.is_some_and(|token| bool::from(token.as_bytes().ct_eq(expected.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn only_the_sessions_own_form_token_is_accepted() {
        let random = Random::seeded(3);
        let (ours, other) = (random.token(), random.token());
        let form = |token: &str| Bytes::from(format!("name=a&form_token={token}&x=1"));
        assert!(carries(&form(&session::mask(&random, &ours)), &ours));
        assert!(!carries(&form(&session::mask(&random, &other)), &ours));
        assert!(!carries(&form(&ours), &ours), "the bare token never stands in a page");
        assert!(!carries(&form(""), &ours));
        assert!(!carries(&Bytes::from_static(b"name=a"), &ours));
        assert!(!carries(&Bytes::from_static(b"\xff\xfe&form_token=%ff"), &ours));
    }

    #[test]
    fn a_bearer_key_is_read_whatever_the_schemes_case() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert(header::AUTHORIZATION, header::HeaderValue::from_static("bearer intail_abc "));
        assert_eq!(bearer(&headers), Some("intail_abc"));
        headers.insert(header::AUTHORIZATION, header::HeaderValue::from_static("Basic aW50YWls"));
        assert_eq!(bearer(&headers), None);
    }
}

//! A one-time sign-in link: opening it shows whom it signs in, and only its button uses it up. Programs that open links
//! in mail to look at them press nothing.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::asked::{Asked, Sent};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::{Web, session};
use crate::org::audit::Origin;
use crate::org::links;
use crate::seal::hash_token;
use crate::store::sign_in_links;

/// What the link carries, and then its form.
#[derive(Deserialize)]
pub(super) struct Held {
    token: Option<SecretString>,
}

impl Held {
    fn token(&self) -> Result<&str, Trouble> {
        self.token.as_ref().map(ExposeSecret::expose_secret).ok_or_else(trouble::link_over)
    }
}

#[derive(Template)]
#[template(path = "sign_in_link.html")]
struct SignInLinkPage {
    shell: Shell,
    email: String,
    token: String,
}

/// `GET /signin/link`
pub(super) async fn page(State(web): State<Web>, Asked(held): Asked<Held>) -> Result<Response, Trouble> {
    let token = held.token()?;
    let mut tx = web.app.store.read().await?;
    let link = sign_in_links::by_token(&mut tx, &hash_token(token), web.app.clock.now()).await?;
    let email = link.ok_or_else(trouble::link_over)?.email;
    html(&SignInLinkPage { shell: Shell::new(&web, None, "", "Sign in"), email, token: token.to_owned() })
}

/// `POST /signin/link`
pub(super) async fn enter(
    State(web): State<Web>,
    headers: HeaderMap,
    origin: Origin,
    Sent(held): Sent<Held>,
) -> Result<Response, Trouble> {
    let (app, now) = (&web.app, web.app.clock.now());
    if !web.floods.admits(origin, now) {
        return Err(trouble::sign_in_flood());
    }
    let token_hash = hash_token(held.token()?);
    let mut tx = app.store.write().await?;
    let person = links::enter(&mut tx, &token_hash, origin, &app.random, now).await?;
    tx.commit().await?;
    let cookie = session::open(&web, &headers, &person.ok_or_else(trouble::link_over)?).await?;
    Ok((cookie, Redirect::to("/")).into_response())
}

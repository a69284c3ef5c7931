//! The front page, and the way in and out.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::access::{Caller, Via};
use super::asked::{Asked, Sent};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::{Web, session};
use crate::connect::{self, Permission};
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::signin;
use crate::store::sessions;

#[derive(Template)]
#[template(path = "front.html")]
struct Front {
    shell: Shell,
    permissions: [Permission; 3],
}

/// `GET /`: what Intail is; who is signed in goes on to what is theirs.
pub(super) async fn front(State(web): State<Web>, caller: Option<Caller>) -> Result<Response, Trouble> {
    let Some(caller) = caller else {
        return html(&Front {
            shell: Shell::new(&web, None, "", "Your Workspace, live"),
            permissions: Permission::ALL,
        });
    };
    let mut tx = web.app.store.read().await?;
    let connection = connect::connection(&mut tx, &caller.person.id, web.app.clock.now()).await?;
    let ready = connection.is_some_and(|it| it.grant.state.works() && it.mailbox.is_some());
    Ok(Redirect::to(if ready { "/mail" } else { "/settings/integrations" }).into_response())
}

/// Where a person was going when they had to sign in.
#[derive(Deserialize)]
pub(super) struct Going {
    return_to: Option<String>,
    /// An address to suggest to the issuer.
    hint: Option<String>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    shell: Shell,
    return_to: String,
    issuer: String,
}

/// `GET /signin`
pub(super) async fn sign_in_page(
    State(web): State<Web>,
    caller: Option<Caller>,
    Asked(going): Asked<Going>,
) -> Result<Response, Trouble> {
    let return_to = session::local(going.return_to.as_deref().unwrap_or("/")).to_owned();
    if caller.is_some() {
        return Ok(Redirect::to(&return_to).into_response());
    }
    let issuer = url::Url::parse(&web.app.config.signin.issuer).ok().and_then(|it| it.host_str().map(str::to_owned));
    let shell = Shell::new(&web, None, "", "Sign in");
    html(&SignInPage { shell, return_to, issuer: issuer.unwrap_or_default() })
}

/// `POST /signin`: sends the browser to the issuer.
pub(super) async fn sign_in(
    State(web): State<Web>,
    headers: HeaderMap,
    origin: Origin,
    Sent(going): Sent<Going>,
) -> Result<Response, Trouble> {
    if !web.floods.admits(origin, web.app.clock.now()) {
        return Err(trouble::sign_in_flood());
    }
    let return_to = session::local(going.return_to.as_deref().unwrap_or("/"));
    let (browser_hash, cookie) = session::recognize_browser(&web, &headers);
    let url = signin::begin(&web.app, &browser_hash, return_to, going.hint.as_deref()).await?;
    Ok((cookie, Redirect::to(url.as_str())).into_response())
}

/// `GET /signin/callback`: the browser comes back from the issuer.
pub(super) async fn signed_in(
    State(web): State<Web>,
    headers: HeaderMap,
    origin: Origin,
    Asked(callback): Asked<signin::Callback>,
) -> Result<Response, Trouble> {
    let browser_hash = session::browser_hash(&web, &headers);
    let callback = signin::Callback { origin, ..callback };
    let signed_in = signin::finish(&web.app, &browser_hash, callback).await?;
    let cookie = session::open(&web, &headers, &signed_in.person).await?;
    Ok((cookie, Redirect::to(session::local(&signed_in.return_to))).into_response())
}

/// `POST /signout`
pub(super) async fn sign_out(State(web): State<Web>, caller: Caller, origin: Origin) -> Result<Response, Trouble> {
    if let Via::Session { token_hash, .. } = &caller.via {
        let mut tx = web.app.store.write().await?;
        sessions::close(&mut tx, token_hash).await?;
        let entry = Entry {
            organization: &caller.person.organization_id,
            actor: Actor::Person(caller.person.id.clone()),
            action: "person.signed_out",
            about: caller.person.id.as_str(),
            origin,
            detail: json!({"where": "this_browser"}),
        };
        audit::record(&mut tx, entry, web.app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok((session::forget(&web), Redirect::to("/")).into_response())
}

//! Which of their Google accounts people may connect: the administrator's choice, as a part of the page Policy.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::Web;
use super::access::Caller;
use super::asked::Sent;
use super::trouble::{self, Trouble};
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::store::organizations;

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Chosen {
    accounts: String,
}

/// `POST /admin/policy/accounts`
pub(super) async fn set(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Sent(chosen): Sent<Chosen>,
) -> Result<Response, Trouble> {
    let secondary = match chosen.accounts.as_str() {
        "own" => false,
        "secondary" => true,
        _ => return Err(trouble::not_understood("The choice has to be one of the two on the page.").back_to_policy()),
    };
    let id = &caller.person.organization_id;
    let mut tx = web.app.store.write().await?;
    let is_news = organizations::by_id(&mut tx, id).await?.is_some_and(|it| it.secondary_accounts != secondary);
    if is_news {
        organizations::set_secondary_accounts(&mut tx, id, secondary).await?;
        let entry = Entry {
            organization: id,
            actor: Actor::Person(caller.person.id.clone()),
            action: "policy.accounts",
            about: id.as_str(),
            origin,
            detail: json!({ "secondary": secondary }),
        };
        audit::record(&mut tx, entry, web.app.clock.now()).await?;
    }
    tx.commit().await?;
    Ok(Redirect::to("/admin/policy?done=saved#accounts").into_response())
}

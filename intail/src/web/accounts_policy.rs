//! Which of their Google accounts people may connect: the administrator's choice, as a part of the administrator's page.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::Web;
use super::access::Caller;
use super::asked::Sent;
use super::trouble::{self, Trouble};
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
    Sent(chosen): Sent<Chosen>,
) -> Result<Response, Trouble> {
    let secondary = match chosen.accounts.as_str() {
        "own" => false,
        "secondary" => true,
        _ => return Err(trouble::not_understood("The choice has to be one of the two that the page offers.")),
    };
    let mut tx = web.app.store.write().await?;
    organizations::set_secondary_accounts(&mut tx, &caller.person.organization_id, secondary).await?;
    tx.commit().await?;
    Ok(Redirect::to("/admin#accounts").into_response())
}

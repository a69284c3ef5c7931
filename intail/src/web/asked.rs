//! What a request asks, read from its address and its form. What can't be read is told like every other trouble.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum_extra::extract::Form;
use serde::de::DeserializeOwned;

use super::Web;
use super::trouble::{self, Trouble};

/// What stands behind the `?`; keys that aren't wanted are ignored.
pub(super) struct Asked<T>(pub(super) T);

/// What stands in the path.
pub(super) struct At<T>(pub(super) T);

/// What a form sent.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Web> for Asked<T> {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Trouble> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(it)| Self(it)).map_err(|_| trouble::not_understood("What stands behind the ? can't be read."))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Web> for At<T> {
    type Rejection = Trouble;
    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Trouble> {
        let path = Path::from_request_parts(parts, web).await;
        path.map(|Path(it)| Self(it)).map_err(|_| trouble::not_understood("The address can't be read."))
    }
}

impl<T: DeserializeOwned> FromRequest<Web> for Sent<T> {
    type Rejection = Trouble;
    async fn from_request(request: Request, web: &Web) -> Result<Self, Trouble> {
        let form = Form::from_request(request, web).await;
        form.map(|Form(it)| Self(it)).map_err(|_| trouble::not_understood("The form can't be read."))
    }
}

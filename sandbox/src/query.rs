//! What the handlers of Google's JSON APIs share: the query of a request, opaque tokens, and who calls. Lists of
//! parameters and sizes of pages differ from API to API and stay with them.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::api_error::ApiError;

/// Parameters that every method of Google's APIs has.
const GLOBAL_PARAMETERS: [&str; 8] =
    ["alt", "fields", "key", "prettyPrint", "quotaUser", "userIp", "$.xgafv", "uploadType"];

/// The `Authorization` header.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
}

/// A part of a path as it was before it was escaped.
pub(crate) fn decode(segment: &str) -> String {
    url::form_urlencoded::parse(segment.replace('+', "%2B").as_bytes()).map(|(text, _)| text.into_owned()).collect()
}

/// The query of a request.
pub(crate) struct Query {
    pub(crate) pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Query {
        let pairs = url::form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Query { pairs: pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect() }
    }

    /// Refuses parameters that the method doesn't have, and answers that are not JSON.
    pub(crate) fn allow(&self, names: &[&str]) -> Result<(), ApiError> {
        let known = |name: &str| names.contains(&name) || GLOBAL_PARAMETERS.contains(&name);
        if let Some((unknown, _)) = self.pairs.iter().find(|(name, _)| !known(name)) {
            return Err(ApiError::unknown_parameter(unknown));
        }
        match self.one("alt") {
            None | Some("json") => Ok(()),
            Some(other) => Err(unknown_value("alt", other)),
        }
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    pub(crate) fn number(&self, name: &str, field: &str, kind: &str) -> Result<Option<u64>, ApiError> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| ApiError::invalid_argument(format!("Invalid value at '{field}' ({kind}), \"{text}\"")))
        };
        self.one(name).map(parse).transpose()
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.one(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(unknown_value(name, other)),
        }
    }

    /// What a token is good for: the method and every parameter that shapes its list, which are all but `without`.
    pub(crate) fn purpose(&self, kind: &str, without: &[&str]) -> String {
        let mut hash = Sha256::new();
        hash.update(kind);
        let mut pairs: Vec<&(String, String)> = self.pairs.iter().collect();
        pairs.sort();
        for (name, value) in pairs {
            if !without.contains(&name.as_str()) && !GLOBAL_PARAMETERS.contains(&name.as_str()) {
                hash.update(format!("\n{name}={value}"));
            }
        }
        URL_SAFE_NO_PAD.encode(&hash.finalize()[..9])
    }
}

/// 400 for a word that the parameter doesn't know.
pub(crate) fn unknown_value(field: &str, value: &str) -> ApiError {
    let shown: String = value.chars().take(100).collect();
    ApiError::invalid_argument(format!("Invalid value at '{field}', \"{shown}\""))
}

/// Where the next page begins. Opaque to callers, and of no use for another list.
pub(crate) struct PageToken {
    pub(crate) number: i64,
    pub(crate) word: String,
}

impl PageToken {
    pub(crate) fn write(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{purpose}|{}|{}", self.number, self.word))
    }

    pub(crate) fn read(token: &str, purpose: &str) -> Result<PageToken, ApiError> {
        let invalid = || ApiError::invalid_argument("Invalid pageToken");
        let text =
            URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
        let mut parts = text.splitn(3, '|');
        let fits = parts.next() == Some(purpose);
        let number = parts.next().and_then(|number| number.parse().ok());
        match (fits, number, parts.next()) {
            (true, Some(number), Some(word)) => Ok(PageToken { number, word: word.to_owned() }),
            _ => Err(invalid()),
        }
    }
}

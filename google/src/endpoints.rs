//! Every address that the client may talk to, in one struct, so that another implementation of Google's API can stand
//! in.
//!
//! A reader must not break the rule of [`Endpoints::check`]: tokens travel over https, or over plain http inside one
//! machine.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Where Google's services are. The default is Google itself.
///
/// The four API bases may have a path prefix and may or may not end in `/`; the client appends `/gmail/v1/…` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoints {
    /// The `iss` of ID tokens, compared letter by letter; therefore text, not [`Url`], which would add a slash.
    pub issuer: String,
    /// The page that asks a person for consent.
    pub authorize: Url,
    /// Exchanges codes and refresh tokens.
    pub token: Url,
    /// Ends a grant.
    pub revoke: Url,
    /// OpenID Connect's userinfo address. Nothing calls it: what it says is in the ID token.
    pub userinfo: Url,
    /// The public keys of ID tokens (a JWK set).
    pub jwks: Url,
    /// Base of the Gmail API.
    pub gmail: Url,
    /// Base of the Calendar API.
    pub calendar: Url,
    /// Base of the Admin SDK's Directory API.
    pub directory: Url,
    /// Base of Cloud Pub/Sub.
    pub pubsub: Url,
    /// The OpenID Connect discovery document of `issuer`.
    pub discovery: Url,
}

impl Default for Endpoints {
    /// The addresses in Google's OpenID configuration and in the discovery documents of the APIs.
    fn default() -> Self {
        let url = |text: &str| Url::parse(text).expect("a literal that the tests parse");
        Self {
            issuer: "https://accounts.google.com".to_owned(),
            authorize: url("https://accounts.google.com/o/oauth2/v2/auth"),
            token: url("https://oauth2.googleapis.com/token"),
            revoke: url("https://oauth2.googleapis.com/revoke"),
            userinfo: url("https://openidconnect.googleapis.com/v1/userinfo"),
            jwks: url("https://www.googleapis.com/oauth2/v3/certs"),
            gmail: url("https://gmail.googleapis.com"),
            calendar: url("https://www.googleapis.com"),
            directory: url("https://admin.googleapis.com"),
            pubsub: url("https://pubsub.googleapis.com"),
            discovery: url("https://accounts.google.com/.well-known/openid-configuration"),
        }
    }
}

/// An address that the client refuses to use. The sentence names the key as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute http or https address.
    #[error("{key} is not an absolute http or https address: write it like https://host/path")]
    NotAnAddress {
        /// The key, or what else the address is for.
        key: String,
    },
    /// Plain http to another machine.
    #[error(
        "{key} uses plain http to another machine: use https (http is only accepted on 127.0.0.0/8, ::1 and localhost)"
    )]
    PlainHttp {
        /// The key, or what else the address is for.
        key: String,
    },
    /// An address with parts that don't belong there.
    #[error("{key} has a user name, password, query or fragment: remove it")]
    ExtraParts {
        /// The key, or what else the address is for.
        key: String,
    },
}

impl Endpoints {
    /// Checks every address: https, or http on loopback, and nothing after the path.
    pub fn check(&self) -> Result<(), EndpointError> {
        let issuer = Url::parse(&self.issuer)
            .map_err(|_| EndpointError::NotAnAddress { key: "google.endpoints.issuer".to_owned() })?;
        let all = [
            ("issuer", &issuer),
            ("authorize", &self.authorize),
            ("token", &self.token),
            ("revoke", &self.revoke),
            ("userinfo", &self.userinfo),
            ("jwks", &self.jwks),
            ("gmail", &self.gmail),
            ("calendar", &self.calendar),
            ("directory", &self.directory),
            ("pubsub", &self.pubsub),
            ("discovery", &self.discovery),
        ];
        all.iter().try_for_each(|(key, url)| check_address(&format!("google.endpoints.{key}"), url))
    }
}

/// The rule for one address; `key` says in the error what the address is for.
pub(crate) fn check_address(key: &str, url: &Url) -> Result<(), EndpointError> {
    let key = || key.to_owned();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(EndpointError::NotAnAddress { key: key() });
    }
    if !is_private(url) {
        return Err(EndpointError::PlainHttp { key: key() });
    }
    let extra = !url.username().is_empty() || url.password().is_some();
    if extra || url.query().is_some() || url.fragment().is_some() {
        return Err(EndpointError::ExtraParts { key: key() });
    }
    Ok(())
}

/// Whether what is sent to this address stays private: https, or plain http that doesn't leave the machine.
pub(crate) fn is_private(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
            Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_gmail(text: &str) -> Result<(), EndpointError> {
        Endpoints { gmail: Url::parse(text).unwrap(), ..Endpoints::default() }.check()
    }

    #[test]
    fn google_itself_is_accepted() {
        assert_eq!(Endpoints::default().check(), Ok(()));
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in [
            "http://127.0.0.1:8090",
            "http://127.8.9.1/prefix/",
            "http://[::1]:1",
            "http://localhost:8090",
            "https://x.example",
        ] {
            assert_eq!(with_gmail(good), Ok(()), "{good}");
        }
        for bad in
            ["http://gmail.example", "http://10.0.0.1", "http://localhost.example", "http://[::2]", "http://128.0.0.1"]
        {
            let error = with_gmail(bad).unwrap_err();
            assert!(matches!(error, EndpointError::PlainHttp { .. }), "{bad}");
            assert!(error.to_string().contains("google.endpoints.gmail"), "{error}");
        }
    }

    #[test]
    fn odd_addresses_are_refused() {
        for bad in ["https://user:secret@x.example", "https://x.example/?a=b", "https://x.example/#a"] {
            let error = with_gmail(bad).unwrap_err();
            assert!(matches!(error, EndpointError::ExtraParts { .. }), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!(matches!(with_gmail("ftp://x.example"), Err(EndpointError::NotAnAddress { .. })));
        let issuer = Endpoints { issuer: "accounts.google.com".to_owned(), ..Endpoints::default() };
        assert!(issuer.check().unwrap_err().to_string().contains("google.endpoints.issuer"));
    }

    #[test]
    fn configuration_may_name_single_keys_and_no_unknown_ones() {
        let read = |text: &str| serde_json::from_str::<Endpoints>(text);
        let one = read(r#"{"gmail":"http://127.0.0.1:8090"}"#).unwrap();
        assert_eq!(one.issuer, Endpoints::default().issuer);
        assert_eq!(one.gmail.as_str(), "http://127.0.0.1:8090/");
        assert!(read(r#"{"gmial":"http://127.0.0.1:8090"}"#).is_err());
    }
}

//! OAuth 2.0 and OpenID Connect: where a person is sent, and what is exchanged for what.
//!
//! Source: Google's guide "Using OAuth 2.0 for Web Server Applications" and its OpenID configuration. A reader must not
//! break: PKCE is always S256; secrets travel in form bodies, never in addresses; scopes are compared after aliases are
//! expanded, as a set that may be larger than what was asked.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{
    calls,
    classify::from_oauth_word,
    endpoints::{Endpoints, check_address},
    error::{Error, ErrorKind, OperatorFault, Refusal},
    request::{Client, Request},
    wire,
};

/// The scopes, and how they are compared.
pub mod scope {
    /// Headers and labels of mail, never bodies.
    pub const GMAIL_METADATA: &str = "https://www.googleapis.com/auth/gmail.metadata";
    /// The organization's directory.
    pub const DIRECTORY_USER_READONLY: &str = "https://www.googleapis.com/auth/admin.directory.user.readonly";
    /// Calendars and events.
    pub const CALENDAR_READONLY: &str = "https://www.googleapis.com/auth/calendar.readonly";
    /// Who came back: the e-mail address. Its OpenID alias is `email`.
    pub const USERINFO_EMAIL: &str = "https://www.googleapis.com/auth/userinfo.email";
    /// Who came back: name and picture. Its OpenID alias is `profile`.
    pub const USERINFO_PROFILE: &str = "https://www.googleapis.com/auth/userinfo.profile";
    /// An ID token.
    pub const OPENID: &str = "openid";
    /// Everything that connecting asks for, in the long form in which Google names what it granted.
    pub const REQUESTED: &[&str] =
        &[OPENID, USERINFO_EMAIL, USERINFO_PROFILE, GMAIL_METADATA, DIRECTORY_USER_READONLY, CALENDAR_READONLY];

    /// The long form of `email` and `profile`; any other scope as it is.
    pub fn expand_alias(scope: &str) -> &str {
        match scope {
            "email" => USERINFO_EMAIL,
            "profile" => USERINFO_PROFILE,
            other => other,
        }
    }

    /// The form that every OpenID provider knows.
    pub(super) fn short(scope: &str) -> &str {
        match scope {
            USERINFO_EMAIL => "email",
            USERINFO_PROFILE => "profile",
            other => other,
        }
    }

    /// The first scope that opens more of Gmail than its metadata, if there is one.
    pub fn wider_gmail(scopes: &[String]) -> Option<&str> {
        let wider = |scope: &&str| {
            let gmail = scope.starts_with("https://www.googleapis.com/auth/gmail.");
            scope.starts_with("https://mail.google.com") || (gmail && *scope != GMAIL_METADATA)
        };
        scopes.iter().map(String::as_str).find(wider)
    }
}

/// An OpenID Connect provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name in ID tokens.
    pub issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: Url,
    /// Where codes are exchanged.
    pub token_endpoint: Url,
    /// Its public keys.
    pub jwks_uri: Url,
}

/// This installation, as the provider knows it.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// The client ID; public.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Where people come back to; compared letter by letter.
    pub redirect_uri: String,
}

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct AuthorizeRequest<'a> {
    /// The scopes, in either form.
    pub scopes: &'a [&'a str],
    /// Comes back as it is.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// [`code_challenge`] of the verifier.
    pub code_challenge: &'a str,
    /// Ask for a refresh token.
    pub offline: bool,
    /// Show the consent page even if everything was granted before: only then comes a refresh token again.
    pub consent: bool,
    /// Show the account chooser.
    pub select_account: bool,
    /// Whom we expect: e-mail address or `sub`.
    pub login_hint: Option<&'a str>,
    /// Which Workspace domain we expect. A hint only: check the claim.
    pub hd: Option<&'a str>,
    /// Whether the tokens also cover what was granted to the same Cloud project before.
    pub include_granted_scopes: Option<bool>,
}

/// What the token endpoint gave. Debug shows no secret.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// For calls.
    pub access_token: SecretString,
    /// How long it lasts, in seconds.
    pub expires_in_s: u64,
    /// What was granted: aliases expanded, sorted, each once. Empty if the provider did not say (Google always does).
    pub scopes: Vec<String>,
    /// Comes only when the consent page was shown; a refresh gives none, and the old one stays good.
    pub refresh_token: Option<SecretString>,
    /// Who it was.
    pub id_token: Option<SecretString>,
    /// Comes only if the person limited the grant in time.
    pub refresh_token_expires_in_s: Option<u64>,
}

/// How long an access token is trusted if the provider did not say: short, because a refresh is cheap.
const EXPIRES_IN_DEFAULT_S: u64 = 300;

#[derive(Deserialize)]
struct WireTokens {
    access_token: SecretString,
    #[serde(default, deserialize_with = "wire::maybe_whole")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "wire::or_default")]
    scope: String,
    refresh_token: Option<SecretString>,
    id_token: Option<SecretString>,
    #[serde(default, deserialize_with = "wire::maybe_whole")]
    refresh_token_expires_in: Option<u64>,
}

impl From<WireTokens> for Tokens {
    fn from(wire: WireTokens) -> Self {
        Self {
            access_token: wire.access_token,
            expires_in_s: wire.expires_in.unwrap_or(EXPIRES_IN_DEFAULT_S),
            scopes: granted(&wire.scope),
            refresh_token: wire.refresh_token,
            id_token: wire.id_token,
            refresh_token_expires_in_s: wire.refresh_token_expires_in,
        }
    }
}

/// The scopes in a `scope` value: aliases expanded, sorted, each once.
pub fn granted(scope: &str) -> Vec<String> {
    let mut scopes: Vec<_> = scope.split_whitespace().map(|word| scope::expand_alias(word).to_owned()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// PKCE's S256 challenge of a verifier.
pub fn code_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()))
}

/// What the `error` parameter of the callback asks of the caller. `access_denied` (the person said no) is
/// [`Refusal::Forbidden`].
pub fn callback_error(error: &str) -> ErrorKind {
    from_oauth_word(error)
}

impl Provider {
    /// Google, or what stands in for it.
    pub fn google(endpoints: &Endpoints) -> Self {
        Self {
            issuer: endpoints.issuer.clone(),
            authorization_endpoint: endpoints.authorize.clone(),
            token_endpoint: endpoints.token.clone(),
            jwks_uri: endpoints.jwks.clone(),
        }
    }

    /// The address to send a person to.
    pub fn authorize_url(&self, client: &OAuthClient, request: &AuthorizeRequest<'_>) -> Url {
        let scopes: Vec<_> = request.scopes.iter().copied().map(scope::short).collect();
        let prompts = [(request.consent, "consent"), (request.select_account, "select_account")];
        let prompts: Vec<_> = prompts.iter().filter(|(wanted, _)| *wanted).map(|(_, word)| *word).collect();
        let mut url = self.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.client_id)
            .append_pair("redirect_uri", &client.redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", request.state)
            .append_pair("nonce", request.nonce)
            .append_pair("code_challenge", request.code_challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(request.offline.then_some(("access_type", "offline")))
            .extend_pairs((!prompts.is_empty()).then(|| ("prompt", prompts.join(" "))))
            .extend_pairs(request.login_hint.map(|hint| ("login_hint", hint)))
            .extend_pairs(request.hd.map(|domain| ("hd", domain)))
            .extend_pairs(request.include_granted_scopes.map(|yes| ("include_granted_scopes", yes.to_string())));
        url
    }
}

#[derive(Deserialize)]
struct WireProvider {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
}

impl Client {
    /// Asks an issuer where its endpoints are. The issuer must call itself exactly what it was called here.
    pub async fn discover(&self, issuer: &str) -> Result<Provider, Error> {
        let call = &calls::OPENID_DISCOVERY;
        let fault =
            |what: String| Error::new(call.name, ErrorKind::Refused(Refusal::Operator(OperatorFault::Other(what))));
        let endpoints = &self.inner.endpoints;
        let address = if issuer == endpoints.issuer {
            endpoints.discovery.clone()
        } else {
            Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
                .map_err(|_| fault("signin.issuer is not an absolute https address".to_owned()))?
        };
        check_address("signin.issuer", &address).map_err(|error| fault(error.to_string()))?;
        let found: WireProvider = self.read(Request::new(call, &address)).await?;
        if found.issuer != issuer {
            return Err(fault(
                "the issuer names itself differently than signin.issuer does, letter by letter".to_owned(),
            ));
        }
        let named = [
            ("authorization_endpoint", &found.authorization_endpoint),
            ("token_endpoint", &found.token_endpoint),
            ("jwks_uri", &found.jwks_uri),
        ];
        for (key, url) in named {
            let mut bare = url.clone();
            bare.set_query(None);
            check_address(&format!("the issuer's {key}"), &bare).map_err(|error| fault(error.to_string()))?;
        }
        let WireProvider { issuer, authorization_endpoint, token_endpoint, jwks_uri } = found;
        Ok(Provider { issuer, authorization_endpoint, token_endpoint, jwks_uri })
    }

    /// Exchanges the code of a callback, on behalf of a grant and for a purpose, unless somebody only signs in. An old,
    /// used or foreign code is [`ErrorKind::GrantDead`]: start again.
    pub async fn exchange_code(
        &self,
        provider: &Provider,
        client: &OAuthClient,
        code: &SecretString,
        verifier: &SecretString,
        on_behalf: Option<(&str, &'static str)>,
    ) -> Result<Tokens, Error> {
        let request = Request::new(&calls::OAUTH_EXCHANGE, &provider.token_endpoint)
            .field("grant_type", "authorization_code")
            .secret_field("code", code)
            .field("redirect_uri", &client.redirect_uri)
            .secret_field("code_verifier", verifier)
            .field("client_id", &client.client_id)
            .secret_field("client_secret", &client.client_secret);
        let request = match on_behalf {
            Some((grant, purpose)) => request.on_behalf(grant, purpose),
            None => request,
        };
        self.read::<WireTokens>(request).await.map(Tokens::from)
    }

    /// Exchanges a refresh token for a new access token.
    pub async fn refresh(
        &self,
        provider: &Provider,
        client: &OAuthClient,
        refresh_token: &SecretString,
        on_behalf: &str,
        purpose: &'static str,
    ) -> Result<Tokens, Error> {
        let request = Request::new(&calls::OAUTH_REFRESH, &provider.token_endpoint)
            .field("grant_type", "refresh_token")
            .secret_field("refresh_token", refresh_token)
            .field("client_id", &client.client_id)
            .secret_field("client_secret", &client.client_secret)
            .on_behalf(on_behalf, purpose);
        self.read::<WireTokens>(request).await.map(Tokens::from)
    }

    /// Ends a grant, by its refresh or access token, at Google (not at another sign-in issuer). A token that is not
    /// good any more is a success. It ends everything that this person granted to the Cloud project, by any client of
    /// it.
    pub async fn revoke(&self, token: &SecretString, on_behalf: &str, purpose: &'static str) -> Result<(), Error> {
        let request = Request::new(&calls::OAUTH_REVOKE, &self.inner.endpoints.revoke);
        let request = request.secret_field("token", token).on_behalf(on_behalf, purpose);
        match self.send(request).await {
            Err(error) if error.status == Some(400) && error.reason.as_deref() == Some("invalid_token") => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const PLAIN: AuthorizeRequest<'_> = AuthorizeRequest {
        scopes: scope::REQUESTED,
        state: "st&te",
        nonce: "n",
        code_challenge: "c",
        offline: false,
        consent: false,
        select_account: false,
        login_hint: None,
        hd: None,
        include_granted_scopes: None,
    };

    fn asked(request: &AuthorizeRequest<'_>) -> BTreeMap<String, String> {
        let client = OAuthClient {
            client_id: "id".to_owned(),
            client_secret: "hush".into(),
            redirect_uri: "https://intail.example/connect/google/callback".to_owned(),
        };
        let url = Provider::google(&Endpoints::default()).authorize_url(&client, request);
        assert!(url.as_str().starts_with("https://accounts.google.com/o/oauth2/v2/auth?"), "{url}");
        assert!(!url.as_str().contains("hush"));
        url.query_pairs().into_owned().collect()
    }

    #[test]
    fn a_plain_request_asks_for_no_more_than_it_says() {
        let asked = asked(&PLAIN);
        let expected = [
            ("client_id", "id"),
            ("code_challenge", "c"),
            ("code_challenge_method", "S256"),
            ("nonce", "n"),
            ("redirect_uri", "https://intail.example/connect/google/callback"),
            ("response_type", "code"),
            (
                "scope",
                "openid email profile https://www.googleapis.com/auth/gmail.metadata \
                 https://www.googleapis.com/auth/admin.directory.user.readonly \
                 https://www.googleapis.com/auth/calendar.readonly",
            ),
            ("state", "st&te"),
        ];
        let asked: Vec<_> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_full_request_says_everything() {
        let asked = asked(&AuthorizeRequest {
            offline: true,
            consent: true,
            select_account: true,
            login_hint: Some("ada@example.com"),
            hd: Some("example.com"),
            include_granted_scopes: Some(true),
            ..PLAIN
        });
        for (name, value) in [
            ("access_type", "offline"),
            ("prompt", "consent select_account"),
            ("login_hint", "ada@example.com"),
            ("hd", "example.com"),
            ("include_granted_scopes", "true"),
        ] {
            assert_eq!(asked[name], value);
        }
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(code_challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn granted_scopes_are_expanded_sorted_and_single() {
        let scopes = granted(&format!("profile openid {} email  email", scope::USERINFO_PROFILE));
        assert_eq!(scopes, [scope::USERINFO_EMAIL, scope::USERINFO_PROFILE, "openid"]);
        assert_eq!(granted(" "), Vec::<String>::new());
        let mut all = granted(&scope::REQUESTED.join(" "));
        all.sort_by_key(|own| scope::REQUESTED.iter().position(|one| one == own));
        assert_eq!(all, scope::REQUESTED);
    }

    #[test]
    fn a_wider_gmail_scope_is_found() {
        let wider = |scope: &str| scope::wider_gmail(&[scope::GMAIL_METADATA.to_owned(), scope.to_owned()]).is_some();
        for bad in ["https://mail.google.com/", "https://www.googleapis.com/auth/gmail.readonly"] {
            assert!(wider(bad), "{bad}");
        }
        for good in scope::REQUESTED {
            assert!(!wider(good), "{good}");
        }
    }

    #[test]
    fn tokens_are_read_leniently_and_never_shown() {
        let json = br#"{"access_token":"ya29.x","expires_in":"3599","scope":"openid email","token_type":"Bearer",
            "refresh_token":"1//y","id_token":"e.z","refresh_token_expires_in":604799}"#;
        let tokens = Tokens::from(wire::parse::<WireTokens>(json).unwrap());
        assert_eq!((tokens.expires_in_s, tokens.refresh_token_expires_in_s), (3599, Some(604_799)));
        let shown = format!("{tokens:?}");
        for secret in ["ya29.x", "1//y", "e.z"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let bare = Tokens::from(wire::parse::<WireTokens>(br#"{"access_token":"a"}"#).unwrap());
        assert_eq!((bare.expires_in_s, bare.scopes.len()), (EXPIRES_IN_DEFAULT_S, 0));
    }
}

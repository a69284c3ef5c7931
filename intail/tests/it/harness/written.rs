//! A configuration of the product, written as the file that `intail serve` reads: for those who start it as a program
//! of its own beside a false Google.

use intail::config::Config;
use intail_sandbox::Sandbox;
use secrecy::ExposeSecret as _;

/// The configuration as an operator would write it, with a database and what is changed of the quota.
pub(crate) fn written(sandbox: &Sandbox, config: &Config, database: &str, overrides: &str) -> String {
    let google = sandbox.url();
    let (signin, grants) = (&config.signin.client, &config.google.client);
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{}\"\n\n[database]\nurl = \"{database}\"\n\n\
         [keys]\nfile = \"{}\"\n\n\
         [signin]\nissuer = \"{}\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\n\n\
         [google]\nclient_id = \"{}\"\nclient_secret = \"{}\"\nproject = \"{}\"\n\n\
         [google.endpoints]\nissuer = \"{}\"\nauthorize = \"{google}/o/oauth2/v2/auth\"\ntoken = \"{google}/token\"\n\
         revoke = \"{google}/revoke\"\nuserinfo = \"{google}/v1/userinfo\"\njwks = \"{google}/oauth2/v3/certs\"\n\
         gmail = \"{google}\"\ncalendar = \"{google}\"\ndirectory = \"{google}\"\npubsub = \"{google}\"\n\
         discovery = \"{google}/.well-known/openid-configuration\"\n\n\
         [pubsub]\nmode = \"pull\"\ntopic = \"{}\"\nsubscription = \"{}\"\n\n\
         [quota.overrides]\n{overrides}",
        config.server.public_url,
        config.keys.file.display(),
        config.signin.issuer,
        signin.client_id,
        signin.client_secret.expose_secret(),
        grants.client_id,
        grants.client_secret.expose_secret(),
        config.google.project.as_deref().unwrap_or_default(),
        config.google.endpoints.issuer,
        config.pubsub.topic,
        config.pubsub.subscription,
    )
}

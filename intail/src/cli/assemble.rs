//! From a configuration to a running Intail's parts: the same for `serve`, `demo` and the tests.

use std::path::Path;
use std::sync::Arc;

use intail_google::price::Prices;
use intail_google::{Client, ClientOptions};
use secrecy::{ExposeSecret as _, SecretString};

use super::CliError;
use crate::access::Turns;
use crate::app::{App, Parts};
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::feed::Hub;
use crate::org::receipts::Receipts;
use crate::random::Random;
use crate::seal::Keyring;
use crate::store::Store;
use crate::sync::Bell;

/// How Intail calls itself to Google.
const USER_AGENT: &str = concat!("intail/", env!("CARGO_PKG_VERSION"));

/// Opens the database (bringing it up to date) and the key file (made at the first start), and puts the parts together.
pub async fn assemble(config: Config, clock: Clock, random: Random) -> Result<App, CliError> {
    let store = Store::open(database_url(&config.database).expose_secret()).await?;
    let keyring = Keyring::open(&config.keys.file, &store, &random, clock.now()).await?;
    let receipts = Receipts::default();
    let google = google(&config, &clock, receipts.clone())?;
    let due = Bell::default();
    let feed = Hub::new(clock.clone());
    let turns = Turns::default();
    Ok(App::new(Parts { config, store, clock, random, keyring, google, receipts, turns, due, feed }))
}

/// The client of Google's API as it is configured.
pub(super) fn google(config: &Config, clock: &Clock, receipts: Receipts) -> Result<Client, CliError> {
    let now = clock.clone();
    let options = ClientOptions {
        endpoints: config.google.endpoints.clone(),
        prices: Prices { table: config.quota.table, units: config.quota.units.clone() },
        now: Arc::new(move || now.now()),
        hook: Some(Arc::new(receipts)),
        user_agent: USER_AGENT.to_owned(),
        transport: None,
    };
    Client::new(options).map_err(|error| CliError::new(super::sentence(&error)).caused_by(error))
}

/// The database's address as the store takes it.
pub(super) fn database_url(database: &Database) -> SecretString {
    match database {
        Database::Postgres(url) => url.clone(),
        Database::Sqlite(path) => SecretString::from(sqlite_url(path)),
    }
}

/// A path as an address: the two characters that mean something in one are written as such.
pub(super) fn sqlite_url(path: &Path) -> String {
    format!("sqlite:{}", path.display().to_string().replace('%', "%25").replace('?', "%3F"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_file_names_stay_themselves() {
        assert_eq!(sqlite_url(Path::new("/var/lib/intail/intail.db")), "sqlite:/var/lib/intail/intail.db");
        assert_eq!(sqlite_url(Path::new("/100% sure?/a b.db")), "sqlite:/100%25 sure%3F/a b.db");
    }
}

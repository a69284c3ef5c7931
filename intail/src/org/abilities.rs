//! Everything that Intail can ask Google, for people to read: the list that the client itself is held to, in plain
//! types. It adds and leaves out nothing; `intail calls` prints the same list.

use intail_google::oauth::scope;
use intail_google::{CALLS, Call};

/// What a call stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Somebody's sign-in, or the grant itself.
    Identity,
    /// A permission that a person gave, by Google's name for it.
    Permission(&'static str),
    /// The operator's own Cloud project: nobody's data.
    Project,
}

/// One thing that Intail can ask Google.
#[derive(Clone, Copy, Debug)]
pub struct Ability {
    /// The call's name, as receipts have it.
    pub name: &'static str,
    /// What it stands on.
    pub basis: Basis,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with its one placeholder.
    pub path: &'static str,
    /// The query parameters that can be sent.
    pub query: &'static [&'static str],
    /// The properties that a body can have.
    pub body: &'static [&'static str],
    /// What Google may answer; without it, the whole answer.
    pub fields: Option<&'static str>,
}

impl Ability {
    fn of(call: &Call) -> Self {
        let service = call.name.split_once('.').map_or(call.name, |(service, _)| service);
        let basis = match service {
            "gmail" => Basis::Permission(scope::GMAIL_METADATA),
            "calendar" => Basis::Permission(scope::CALENDAR_READONLY),
            "directory" => Basis::Permission(scope::DIRECTORY_USER_READONLY),
            "oauth" | "openid" => Basis::Identity,
            _ => Basis::Project,
        };
        Self {
            name: call.name,
            basis,
            method: call.method,
            path: call.path,
            query: call.query,
            body: call.body,
            fields: call.fields,
        }
    }
}

/// All of them, in the order of the list.
pub fn abilities() -> impl Iterator<Item = Ability> {
    CALLS.iter().map(|call| Ability::of(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_operators_only_if_it_is_pubsubs() {
        for ability in abilities() {
            let of_project = ability.name.starts_with("pubsub.");
            assert_eq!(ability.basis == Basis::Project, of_project, "{}", ability.name);
        }
    }

    #[test]
    fn every_call_is_shown_once() {
        let shown: Vec<&str> = abilities().map(|it| it.name).collect();
        assert_eq!(shown, CALLS.iter().map(|call| call.name).collect::<Vec<_>>());
    }
}

//! What Intail can do: the compiled list of everything that Google can be asked, for everybody to read.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Web;
use super::access::Caller;
use super::page::{Shell, html};
use super::trouble::Trouble;
use super::words::counted;
use crate::connect::Permission;
use crate::org::abilities::{Ability, Basis, abilities};

#[derive(Template)]
#[template(path = "abilities.html")]
struct AbilitiesPage {
    shell: Shell,
    groups: Vec<Group>,
    count: usize,
    /// Permissions that are asked for and that no call makes use of yet.
    unused: Vec<Permission>,
}

/// Calls that stand on the same.
struct Group {
    id: String,
    title: String,
    about: &'static str,
    scope: Option<&'static str>,
    lines: Vec<Line>,
}

struct Line {
    words: &'static str,
    name: &'static str,
    method: &'static str,
    path: &'static str,
    sends: Vec<&'static str>,
    answers: Vec<String>,
    price: String,
}

/// `GET /what-intail-can-do`
pub(super) async fn page(State(web): State<Web>, caller: Option<Caller>) -> Result<Response, Trouble> {
    let all: Vec<Ability> = abilities().collect();
    let mut bases: Vec<Basis> = Permission::ALL.into_iter().map(|it| Basis::Permission(it.scope())).collect();
    bases.extend([Basis::Identity, Basis::Project]);
    let used = |basis: Basis| all.iter().any(|it| it.basis == basis);
    html(&AbilitiesPage {
        shell: Shell::new(&web, caller.as_ref(), "abilities", "What Intail can do"),
        groups: bases.iter().copied().filter(|it| used(*it)).map(|it| group(&web, it, &all)).collect(),
        count: all.len(),
        unused: Permission::ALL.into_iter().filter(|it| !used(Basis::Permission(it.scope()))).collect(),
    })
}

fn group(web: &Web, basis: Basis, all: &[Ability]) -> Group {
    let (id, title, about, scope) = match basis {
        Basis::Permission(scope) => {
            let permission = Permission::ALL.into_iter().find(|it| it.scope() == scope);
            let title = permission.map_or(scope, Permission::title);
            let about = permission.map_or("", Permission::meaning);
            (format!("{permission:?}").to_lowercase(), title, about, Some(scope))
        }
        Basis::Identity => (
            "identity".to_owned(),
            "Who somebody is, and the access itself",
            "Signing in, renewing an access that somebody gave, and giving it back.",
            None,
        ),
        Basis::Project => (
            "project".to_owned(),
            "Notices",
            "In the Cloud project of whoever runs Intail, where Gmail says that something has changed, and not what. \
             Nobody’s data is there.",
            None,
        ),
    };
    let lines = all.iter().filter(|it| it.basis == basis).map(|it| line(web, it)).collect();
    Group { id, title: title.to_owned(), about, scope, lines }
}

fn line(web: &Web, ability: &Ability) -> Line {
    let units = web.app.config.quota.units(ability.name);
    Line {
        words: does(ability.name),
        name: ability.name,
        method: ability.method,
        path: ability.path,
        sends: ability.query.iter().chain(ability.body).copied().collect(),
        answers: ability.fields.map_or_else(Vec::new, parts),
        price: if units == 0 { "–".to_owned() } else { counted(i64::from(units), "unit", "units") },
    }
}

/// What a call does, in words.
fn does(name: &str) -> &'static str {
    match name {
        "oauth.exchange" => "Finishes connecting or signing in",
        "oauth.refresh" => "Renews an access that was given",
        "oauth.revoke" => "Gives an access back",
        "openid.keys" => "Fetches the keys that prove who signed in",
        "openid.discovery" => "Asks the sign-in provider for its addresses",
        "gmail.getProfile" => "Asks whether anything has changed",
        "gmail.watch" => "Asks to be told of changes",
        "gmail.stop" => "Asks to be told no more",
        "gmail.labels.list" => "Lists labels",
        "gmail.labels.get" => "Counts a label’s messages",
        "gmail.history.list" => "Asks what has changed since the last time",
        "gmail.messages.list" => "Lists messages, by number only",
        "gmail.messages.get" => "Reads one message’s headers and labels",
        "gmail.threads.get" => "Reads a conversation’s headers and labels",
        "calendar.calendarList.list" => "Lists calendars",
        "calendar.events.list" => "Lists a calendar’s events",
        "calendar.events.watch" => "Asks to be told of changes",
        "calendar.channels.stop" => "Asks to be told no more",
        "directory.users.list" => "Lists the organization’s people",
        "directory.users.get" => "Reads one person’s entry",
        "pubsub.topics.create" => "Makes the topic for notices",
        "pubsub.topics.get" => "Looks whether the topic is there",
        "pubsub.topics.publish" => "Sends a heartbeat through the topic",
        "pubsub.topics.getIamPolicy" => "Looks whether Gmail may publish to the topic",
        "pubsub.topics.setIamPolicy" => "Lets Gmail publish to the topic",
        "pubsub.subscriptions.create" => "Makes the subscription",
        "pubsub.subscriptions.get" => "Looks whether the subscription is there",
        "pubsub.subscriptions.pull" => "Fetches notices",
        "pubsub.subscriptions.acknowledge" => "Says that notices have arrived",
        "pubsub.subscriptions.modifyAckDeadline" => "Asks for more time with notices",
        _ => "Asks Google",
    }
}

/// The fields of a mask, one by one: `a,b(c,d)` has two.
fn parts(mask: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0usize, vec![String::new()]);
    for letter in mask.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (letter, parts.last_mut()) {
            (',', _) if depth == 0 => parts.push(String::new()),
            (letter, Some(part)) => part.push(letter),
            (_, None) => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_mask_falls_into_its_fields() {
        assert_eq!(parts("id,messages(id,labelIds),historyId"), ["id", "messages(id,labelIds)", "historyId"]);
    }
}

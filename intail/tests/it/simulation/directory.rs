//! The directory's part of a play: an administrator whose grant reads it until it ends, others who read it then,
//! colleagues who come, go, hide and change, and the same ends as for mail. Nobody tells Intail of any of it: the next
//! passes find it, of an ordinary day as of a bad one.

use intail::random::Random;
use intail_sandbox::accounts::PersonSwitch;
use intail_sandbox::profile::DirectoryAction;
use intail_sandbox::{Sandbox, World};
use serde_json::json;

/// Colleagues who can be hired at most: more only make a play longer.
const HIRED_MAX: u64 = 8;

/// Something happens to a colleague; answers what. The people of the play themselves stay as they are: what a
/// suspension means for their mail has tests of its own.
pub(super) fn change(random: &Random, sandbox: &Sandbox) -> String {
    let number = random.below(HIRED_MAX);
    let email = format!("colleague{number}@example.com");
    let dice = random.below(15);
    let word = random.below(1_000);
    sandbox.world(|world| {
        let Some(sub) = found(world, &email) else {
            let hired = json!({"action": "hire", "email": email, "given_name": format!("Colleague {number}")});
            return edit(world, "ada.admin@example.com", hired);
        };
        let edited = |what: serde_json::Value| {
            let mut action = json!({"action": "edit"});
            action.as_object_mut().expect("a map").extend(what.as_object().expect("a map").clone());
            action
        };
        let now = world.clock.now();
        let switched = |world: &mut World, switch| {
            world.identity.switch_person(now, &sub, switch);
            format!("{email}: {switch:?}")
        };
        match dice {
            0 | 1 => edit(world, &email, edited(json!({"title": format!("Post {word}")}))),
            2 => edit(world, &email, edited(json!({"manager": "ines@example.com"}))),
            3 => edit(world, &email, edited(json!({"hidden": true}))),
            4 => edit(world, &email, edited(json!({"hidden": false, "archived": false}))),
            5 => edit(world, &email, edited(json!({"archived": true}))),
            6 => edit(world, &email, json!({"action": "add_alias", "email": format!("alias{word}@example.com")})),
            7 => edit(world, &email, json!({"action": "rename", "email": format!("renamed{word}@example.com")})),
            8 => switched(world, PersonSwitch::Suspend),
            9 => switched(world, PersonSwitch::Restore),
            10 => switched(world, PersonSwitch::Delete),
            11 => switched(world, PersonSwitch::Undelete),
            12 => edit(world, &email, edited(json!({"phone": format!("+49 30 {word}")}))),
            13 => edit(world, &email, edited(json!({"photo": word.is_multiple_of(2)}))),
            _ => edit(world, &email, edited(json!({"given_name": format!("Name {word}")}))),
        }
    })
}

/// Whoever has this address, also as an alias and also when they were deleted.
fn found(world: &World, email: &str) -> Option<String> {
    let mut people = world.identity.people.values();
    people.find(|it| it.has_address(email)).map(|it| it.sub.clone())
}

/// What isn't possible (an address that is taken) isn't done.
fn edit(world: &mut World, email: &str, action: serde_json::Value) -> String {
    let action: DirectoryAction = serde_json::from_value(action).expect("an action");
    let done = world.edit_directory(email, &action).is_ok();
    format!("{email}: {action:?} {done}")
}

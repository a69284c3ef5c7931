//! What Google has of a person's mail, and how what Intail holds is compared with it: the rows, and the feed folded
//! from its beginning by a consumer who knows nothing else.

use std::collections::{BTreeMap, BTreeSet};

use intail::store::changes::Change;
use intail_sandbox::Sandbox;

/// Labels by message.
pub(crate) type Mail = BTreeMap<String, Vec<String>>;

/// What Google has of a person's mail, drafts left out.
pub(crate) fn of(sandbox: &Sandbox, email: &str) -> Mail {
    sandbox.world(|world| {
        let mailbox = world.mailbox(email).expect("a mailbox");
        let all = mailbox.newest_first().filter(|it| !it.has("DRAFT"));
        all.map(|it| {
            let mut labels: Vec<String> = it.label_ids.iter().cloned().collect();
            labels.sort();
            (it.id.clone(), labels)
        })
        .collect()
    })
}

/// A feed, folded from its beginning.
pub(crate) fn folded(feed: &[Change]) -> Mail {
    let mut folded = Mail::new();
    for change in feed {
        fold(&mut folded, change);
    }
    folded
}

/// One line for each message that differs: what is held, and what Google has.
pub(crate) fn difference(held: &Mail, truth: &Mail) -> Vec<String> {
    let ids: BTreeSet<&String> = held.keys().chain(truth.keys()).collect();
    let differing = ids.into_iter().filter(|id| held.get(*id) != truth.get(*id));
    differing.map(|id| format!("{id}: held {:?}, Google has {:?}", held.get(id), truth.get(id))).collect()
}

/// Applies a change as a consumer does, who knows only the feed.
fn fold(folded: &mut Mail, change: &Change) {
    let words = |key: &str| -> Vec<String> {
        serde_json::from_value(change.data.get(key).cloned().unwrap_or_default()).unwrap_or_default()
    };
    match change.kind.as_str() {
        "message.added" => {
            folded.insert(change.subject_id.clone(), words("labels"));
        }
        "message.changed" => {
            let labels = folded.get_mut(&change.subject_id).expect("a change follows its message");
            let removed = words("labels_removed");
            labels.retain(|it| !removed.contains(it));
            labels.extend(words("labels_added"));
            labels.sort();
        }
        "message.deleted" => {
            folded.remove(&change.subject_id).expect("a deletion follows its message");
        }
        _ => {}
    }
}

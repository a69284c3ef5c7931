//! What Google has of a person's mail and of their organization, and how what Intail holds is compared with it: the
//! rows, and the feed folded from its beginning by a consumer who knows nothing else.

use std::collections::{BTreeMap, BTreeSet};

use intail::store::changes::Change;
use intail::store::directory_people::DirectoryPerson;
use intail::store::messages::Message as Held;
use intail_sandbox::Sandbox;
use intail_sandbox::accounts::Person as Account;
use intail_sandbox::mail::Message;

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

/// One line for each held message that isn't what Google has: its thread, when Google took it in, its size, its
/// subject, its sender. These never change, so whether it is there at all is the labels' comparison.
pub(crate) fn difference_in_content(held: &[Held], sandbox: &Sandbox, email: &str) -> Vec<String> {
    sandbox.world(|world| {
        let mailbox = world.mailbox(email).expect("a mailbox");
        let all: BTreeMap<&str, &Message> = mailbox.newest_first().map(|it| (it.id.as_str(), it)).collect();
        let differs = |it: &&Held| {
            all.get(it.id.as_str()).is_some_and(|truth| {
                let subject = truth.header("Subject").unwrap_or_default();
                // What is encoded on the way is another test's matter.
                let says_other = it.subject != subject && !subject.contains("=?");
                let from = truth.header("From").unwrap_or_default();
                // What isn't written as a name and an address is another test's matter, too.
                let is_of_other = sender(from).is_some_and(|(name, address)| {
                    it.sender_address != address || it.sender_name != name && !name.contains("=?")
                });
                let size = i64::try_from(truth.size_estimate()).expect("small");
                (&it.thread_id, it.received_ms, it.size_bytes) != (&truth.thread_id, truth.internal_date_ms, size)
                    || says_other
                    || is_of_other
            })
        };
        held.iter().filter(differs).map(|it| format!("held {it:?}, Google has {:?}", all.get(it.id.as_str()))).collect()
    })
}

/// The name of who wrote a letter, and the address in lower case, where both stand there in the usual way.
fn sender(from: &str) -> Option<(&str, String)> {
    let (name, address) = from.strip_suffix('>')?.split_once('<')?;
    let is_usual = address.contains('@') && !address.contains(['<', ' ', '"']);
    is_usual.then(|| (name.trim().trim_matches('"'), address.to_lowercase()))
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

// ---- labels ----

/// What a person's labels are called, by id.
pub(crate) fn labels(sandbox: &Sandbox, email: &str) -> BTreeMap<String, String> {
    sandbox.world(|world| {
        let mailbox = world.mailbox(email).expect("a mailbox");
        mailbox.labels().map(|it| (it.id.clone(), it.name.clone())).collect()
    })
}

/// The same by the feed, folded from its beginning.
pub(crate) fn folded_labels(feed: &[Change]) -> BTreeMap<String, String> {
    let mut folded = BTreeMap::new();
    for change in feed {
        let id = change.subject_id.clone();
        match change.kind.as_str() {
            "label.added" | "label.changed" => {
                folded.insert(id, change.data["name"].as_str().unwrap_or_default().to_owned());
            }
            "label.deleted" => {
                folded.remove(&id).expect("a deletion follows its label");
            }
            _ => {}
        }
    }
    folded
}

// ---- the directory ----

/// What everybody sees of somebody: address, name, post, department, manager, other addresses; given and family name,
/// telephone numbers, and where the picture is.
pub(crate) type Face = (String, String, String, String, String, Vec<String>, [String; 2], Vec<String>, String);

/// Faces by Google's id.
pub(crate) type Directory = BTreeMap<String, Face>;

/// What the false Google shows to everybody in a person's organization, by id.
pub(crate) fn directory(sandbox: &Sandbox, reader: &str) -> Directory {
    sandbox.world(|world| {
        let reader = world.identity.person_by_email(reader).expect("somebody").clone();
        let is_colleague = |it: &&Account| it.hd == reader.hd || world.identity.is_of_customer(it);
        let is_shown = |it: &&Account| !it.suspended && !it.deleted && !it.profile.hidden && !it.profile.archived;
        let people = world.identity.people.values().filter(is_colleague).filter(is_shown);
        people.map(|it| (it.sub.clone(), face_of_account(it, &world.identity.public_url))).collect()
    })
}

fn face_of_account(it: &Account, google: &str) -> Face {
    let mut aliases = it.profile.aliases.clone();
    aliases.sort();
    let (title, department) = (it.profile.title.clone(), it.profile.department.clone());
    let (names, phones) = ([it.given_name.clone(), it.family_name.clone()], it.profile.phones.clone());
    let photo = if it.profile.photo { format!("{google}/static/person.svg?{}", it.sub) } else { String::new() };
    let manager = it.profile.manager.clone();
    (it.email.clone(), it.name.clone(), title, department, manager, aliases, names, phones, photo)
}

/// The same of what Intail holds.
pub(crate) fn face(it: &DirectoryPerson) -> Face {
    let (title, department) = (it.title.clone(), it.department.clone());
    let (manager, aliases) = (it.manager_address.clone(), it.aliases.clone());
    let (names, phones) = ([it.given_name.clone(), it.family_name.clone()], it.phones.clone());
    (it.address.clone(), it.name.clone(), title, department, manager, aliases, names, phones, it.photo_url.clone())
}

/// The feed's people, as a consumer ends with them who knows nothing else.
pub(crate) fn folded_directory(feed: &[Change]) -> Directory {
    let mut reader = DirectoryReader::default();
    reader.read(feed);
    reader.directory()
}

/// A consumer of the directory's feed who reads on now and then. A change brings how somebody is when it is read, so
/// that only who was there before notices when a change isn't told.
#[derive(Debug, Default)]
pub(crate) struct DirectoryReader {
    /// The last change that was read.
    pub(crate) read_to: i64,
    known: BTreeMap<String, Option<Face>>,
}

impl DirectoryReader {
    /// Reads what came after [`DirectoryReader::read_to`].
    pub(crate) fn read(&mut self, feed: &[Change]) {
        for change in feed {
            self.read_to = change.seq;
            let now = change.directory_person.as_ref().map(face);
            let id = change.subject_id.clone();
            match change.kind.as_str() {
                "person.added" => assert!(self.known.insert(id, now).is_none(), "added twice"),
                "person.changed" => assert!(self.known.insert(id, now).is_some(), "changed before added"),
                kind if !kind.starts_with("person.") => {}
                _ => assert!(self.known.remove(&id).is_some(), "gone before added"),
            }
        }
    }

    /// Whom it knows.
    pub(crate) fn directory(&self) -> Directory {
        let state = |it: &Option<Face>| it.clone().expect("whoever is left has a state");
        self.known.iter().map(|(id, it)| (id.clone(), state(it))).collect()
    }
}

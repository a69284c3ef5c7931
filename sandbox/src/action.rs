//! What can be done to a mailbox, as data: the steering interface reads actions as JSON, the mailbox page makes them
//! from its forms, and scripts are lists of them. All three go through [`World::act`].

use serde::{Deserialize, Serialize};

use crate::compose::Compose;
use crate::mail::{Header, Letter, MailError};
use crate::world::World;

/// Most messages that one action can bring.
const COUNT_MAX: u32 = 10_000;
/// Most bytes of headers in a letter given as headers; above Google's own limit, so that clients can be shown too much.
const HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Something that a person, or the world outside, does to one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum MailAction {
    /// Mail arrives: as written, as given headers, or, with neither, an invented letter.
    Receive {
        /// Who wrote it, when `compose` is given.
        #[serde(default)]
        from: Option<String>,
        /// What was written.
        #[serde(default)]
        compose: Option<Compose>,
        /// All headers, as they are.
        #[serde(default)]
        headers: Option<Vec<Header>>,
        /// Labels by id instead of `INBOX` and `UNREAD`.
        #[serde(default)]
        label_ids: Option<Vec<String>>,
        /// Thread to join.
        #[serde(default)]
        thread_id: Option<String>,
        /// Acceptance time in milliseconds since 1970, for mail that is imported.
        #[serde(default)]
        internal_date_ms: Option<i64>,
        /// How many times.
        #[serde(default = "once")]
        count: u32,
    },
    /// The person sends a letter; colleagues get it.
    Send(Compose),
    /// The person saves a draft, over an earlier one when `earlier` names it.
    Draft {
        /// The draft that it replaces.
        #[serde(default)]
        earlier: Option<String>,
        /// What was written.
        #[serde(default)]
        compose: Compose,
    },
    /// The person sends a draft.
    SendDraft(One),
    /// Labels come and go, by id or name.
    Label {
        /// The message.
        id: String,
        /// Labels to put on.
        #[serde(default)]
        add: Vec<String>,
        /// Labels to take off.
        #[serde(default)]
        remove: Vec<String>,
    },
    /// Out of the inbox.
    Archive(One),
    /// Star.
    Star(One),
    /// No star.
    Unstar(One),
    /// Mark as read.
    Read(One),
    /// Mark as unread.
    Unread(One),
    /// Into the bin.
    Trash(One),
    /// Out of the bin, back to the inbox.
    Untrash(One),
    /// Into spam.
    Spam(One),
    /// Out of spam, back to the inbox.
    NotSpam(One),
    /// Gone for ever.
    Delete(One),
    /// A new label.
    CreateLabel {
        /// Its name.
        name: String,
    },
    /// Another name for a label.
    RenameLabel {
        /// The label.
        id: String,
        /// Its new name.
        name: String,
    },
    /// A label goes, from every message.
    DeleteLabel(One),
    /// The history before now is forgotten: every reader's cursor is too old.
    ForgetHistory,
}

impl MailAction {
    /// An invented letter arrives.
    pub fn sample() -> MailAction {
        MailAction::Receive {
            from: None,
            compose: None,
            headers: None,
            label_ids: None,
            thread_id: None,
            internal_date_ms: None,
            count: 1,
        }
    }
}

/// One message or label by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    /// Its id.
    pub id: String,
}

fn once() -> u32 {
    1
}

/// What came of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Ids of the messages or labels that were made, or of the one that was changed.
    pub ids: Vec<String>,
    /// The mailbox's latest history id afterwards, as text.
    pub history_id: String,
}

/// Why an action was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// Nobody has this address.
    #[error("nobody in this world has the address `{0}`")]
    NoPerson(String),
    /// The mailbox refused it.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// More than an action may bring.
    #[error("`count` may be at most {COUNT_MAX}, and a letter's headers at most {HEADER_BYTES_MAX} bytes")]
    TooMuch,
}

impl World {
    /// Does something to the mailbox of an address.
    pub fn act(&mut self, email: &str, action: &MailAction) -> Result<Done, ActionError> {
        let person = self.identity.person_by_email(email).ok_or_else(|| ActionError::NoPerson(email.to_owned()))?;
        let sub = person.sub.clone();
        if !person.has_mailbox {
            return Err(MailError::NoMailbox.into());
        }
        let ids = self.carry_out(&sub, action)?;
        let history_id = self.mail.get(&sub).map_or(0, |mailbox| mailbox.history().current());
        Ok(Done { ids, history_id: history_id.to_string() })
    }

    fn carry_out(&mut self, sub: &str, action: &MailAction) -> Result<Vec<String>, ActionError> {
        let (one, add, remove): (&One, &[&str], &[&str]) = match action {
            MailAction::Archive(one) => (one, &[], &["INBOX"]),
            MailAction::Star(one) => (one, &["STARRED"], &[]),
            MailAction::Unstar(one) => (one, &[], &["STARRED"]),
            MailAction::Read(one) => (one, &[], &["UNREAD"]),
            MailAction::Unread(one) => (one, &["UNREAD"], &[]),
            MailAction::Trash(one) => (one, &["TRASH"], &["INBOX", "SPAM"]),
            MailAction::Untrash(one) => (one, &["INBOX"], &["TRASH"]),
            MailAction::Spam(one) => (one, &["SPAM"], &["INBOX", "TRASH"]),
            MailAction::NotSpam(one) => (one, &["INBOX"], &["SPAM"]),
            other => return self.carry_out_more(sub, other),
        };
        self.label(sub, &one.id, add, remove)?;
        Ok(vec![one.id.clone()])
    }

    fn carry_out_more(&mut self, sub: &str, action: &MailAction) -> Result<Vec<String>, ActionError> {
        let id = match action {
            MailAction::Receive { count, .. } if *count > COUNT_MAX => return Err(ActionError::TooMuch),
            MailAction::Receive { count, .. } => {
                return (0..*count).map(|_| self.receive_as_said(sub, action)).collect();
            }
            MailAction::Send(compose) => self.send(sub, compose)?,
            MailAction::Draft { earlier, compose } => self.save_draft(sub, earlier.as_deref(), compose)?,
            MailAction::SendDraft(one) => self.send_draft(sub, &one.id)?,
            MailAction::Label { id, add, remove } => {
                let (add, remove) = (self.label_ids(sub, add)?, self.label_ids(sub, remove)?);
                let add: Vec<&str> = add.iter().map(String::as_str).collect();
                let remove: Vec<&str> = remove.iter().map(String::as_str).collect();
                self.label(sub, id, &add, &remove)?;
                id.clone()
            }
            MailAction::Delete(one) => {
                self.delete(sub, &one.id)?;
                one.id.clone()
            }
            MailAction::CreateLabel { name } => self.create_label(sub, name)?.id,
            MailAction::RenameLabel { id, name } => {
                self.rename_label(sub, id, name)?;
                id.clone()
            }
            MailAction::DeleteLabel(one) => {
                self.delete_label(sub, &one.id)?;
                one.id.clone()
            }
            _ => {
                let visible_ms = self.visible_ms();
                let mailbox = self.mail.get_mut(sub).ok_or(MailError::NoMailbox)?;
                mailbox.forget_history(visible_ms);
                return Ok(Vec::new());
            }
        };
        Ok(vec![id])
    }

    fn receive_as_said(&mut self, sub: &str, action: &MailAction) -> Result<String, ActionError> {
        let MailAction::Receive { from, compose, headers, label_ids, thread_id, internal_date_ms, .. } = action else {
            return Ok(String::new());
        };
        let mut letter = match (headers, compose) {
            (Some(headers), _) => {
                let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
                if bytes > HEADER_BYTES_MAX {
                    return Err(ActionError::TooMuch);
                }
                let body = crate::compose::with_canaries("As given.", &mut self.dice);
                Letter { headers: headers.clone(), body, ..Letter::default() }
            }
            (None, Some(compose)) => {
                let from = from.as_deref().unwrap_or("Sandbox <sandbox@mail.example>");
                self.written_outside(sub, from, compose)
            }
            (None, None) => crate::generator::sample(sub, &self.identity, self.clock.now(), &mut self.dice),
        };
        if let Some(label_ids) = label_ids {
            letter.label_ids = self.label_ids(sub, label_ids)?.into_iter().collect();
        } else if letter.label_ids.is_empty() {
            letter = letter.labelled(&["INBOX", "UNREAD"]);
        }
        letter.thread_id = thread_id.clone().or(letter.thread_id);
        letter.internal_date_ms = internal_date_ms.or(letter.internal_date_ms);
        Ok(self.receive(sub, letter)?)
    }

    fn label_ids(&self, sub: &str, names: &[String]) -> Result<Vec<String>, MailError> {
        let mailbox = self.mail.get(sub).ok_or(MailError::NoMailbox)?;
        let id = |name: &String| {
            mailbox.label(name).map(|label| label.id.clone()).ok_or_else(|| MailError::NoLabel(name.clone()))
        };
        names.iter().map(id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::{empty_world, sub};

    const INES: &str = "ines@example.com";

    fn act(world: &mut World, json: &str) -> Result<Done, ActionError> {
        world.act(INES, &serde_json::from_str(json).unwrap())
    }

    fn labels(world: &World, id: &str) -> Vec<String> {
        world.mail[&sub()].message(id).unwrap().label_ids.iter().cloned().collect()
    }

    #[test]
    fn the_usual_day_of_a_message() {
        let mut world = empty_world();
        let written = r#"{"action":"receive","from":"Zé <ze@mail.example>","compose":{"subject":"Hi"}}"#;
        let id = act(&mut world, written).unwrap().ids.remove(0);
        act(&mut world, r#"{"action":"create_label","name":"Later"}"#).unwrap();
        for (action, expected) in [
            (r#""action":"read""#, "INBOX"),
            (r#""action":"star""#, "INBOX STARRED"),
            (r#""action":"label","add":["later"]"#, "INBOX Label_1 STARRED"),
            (r#""action":"archive""#, "Label_1 STARRED"),
            (r#""action":"unstar""#, "Label_1"),
            (r#""action":"trash""#, "Label_1 TRASH"),
            (r#""action":"untrash""#, "INBOX Label_1"),
            (r#""action":"spam""#, "Label_1 SPAM"),
            (r#""action":"not_spam""#, "INBOX Label_1"),
            (r#""action":"unread""#, "INBOX Label_1 UNREAD"),
        ] {
            act(&mut world, &format!(r#"{{{action},"id":"{id}"}}"#)).unwrap();
            assert_eq!(labels(&world, &id).join(" "), expected, "{action}");
        }
        act(&mut world, r#"{"action":"delete_label","id":"Label_1"}"#).unwrap();
        act(&mut world, &format!(r#"{{"action":"delete","id":"{id}"}}"#)).unwrap();
        assert_eq!(world.mail[&sub()].message_count(), 0);
    }

    #[test]
    fn drafts_and_imports() {
        let mut world = empty_world();
        let draft = act(&mut world, r#"{"action":"draft","compose":{"to":"bo@example.com"}}"#).unwrap().ids.remove(0);
        let saved = act(&mut world, &format!(r#"{{"action":"draft","earlier":"{draft}","compose":{{}}}}"#)).unwrap();
        act(&mut world, &format!(r#"{{"action":"send_draft","id":"{}"}}"#, saved.ids[0])).unwrap();
        let json = r#"{"action":"receive","headers":[],"label_ids":[],"internal_date_ms":5,"count":3}"#;
        let done = act(&mut world, json).unwrap();
        assert_eq!(done.ids.len(), 3);
        assert_eq!(labels(&world, &done.ids[0]).len(), 0);
        assert_eq!(world.mail[&sub()].message(&done.ids[0]).unwrap().internal_date_ms, 5);
    }

    #[test]
    fn what_cannot_be_done_says_why() {
        let mut world = empty_world();
        let read = MailAction::Read(One { id: "0".into() });
        assert_eq!(world.act("x@example.com", &read), Err(ActionError::NoPerson("x@example.com".into())));
        assert_eq!(world.act(INES, &read), Err(MailError::NoMessage("0".into()).into()));
        assert_eq!(world.act("no-mail@example.com", &read), Err(MailError::NoMailbox.into()));
        assert!(serde_json::from_str::<MailAction>(r#"{"action":"read","id":"0","twice":true}"#).is_err());
        assert!(serde_json::from_str::<MailAction>(r#"{"action":"fly"}"#).is_err());
    }

    #[test]
    fn forgetting_the_history_makes_every_cursor_too_old() {
        let mut world = empty_world();
        let cursor = world.mail[&sub()].history().current();
        let done = act(&mut world, r#"{"action":"forget_history"}"#).unwrap();
        assert!(world.mail[&sub()].history().after(cursor, i64::MAX).is_err());
        let current: u64 = done.history_id.parse().unwrap();
        assert!(world.mail[&sub()].history().after(current, i64::MAX).is_ok());
    }
}

//! Whom the addresses of a page or an answer lead to: those who are invited to a meeting, who wrote a letter and whom
//! it was sent to. One look into the directory for all of them.
//!
//! What a reader must not break: whoever may not read the directory learns nothing of it here, neither a name nor an
//! id; and whom the directory hides stays the address that the letter or the invitation carried.

use std::collections::{BTreeMap, BTreeSet};

use super::access::Caller;
use super::directory::{href, may_read};
use super::words::{SHOWN_MAX, clip};
use crate::org::identities::{self, ADDRESSES_MAX, Identity};
use crate::org::privacy::{CUT, PARTIES};
use crate::store::events::Event;
use crate::store::messages::Message;
use crate::store::{StoreError, Tx};

/// Different addresses that are looked for in one answer of the API, [`ADDRESSES_MAX`] at a time: more than the people
/// whom anybody meets in two months or writes to in 500 letters. Beyond them, addresses stay addresses.
pub(super) const LOOKED_FOR_MAX: usize = 20 * ADDRESSES_MAX;

/// The colleagues among some addresses, as far as the reader may know them.
#[derive(Default)]
pub(super) struct Colleagues(BTreeMap<String, Identity>);

/// Somebody as a page shows them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Party {
    /// What people call them: the directory's name of a colleague, otherwise what was written, or else the address.
    pub(super) name: String,
    /// The address that was written; empty when the name says the same.
    pub(super) address: String,
    /// The page of a colleague.
    pub(super) href: Option<String>,
}

impl Colleagues {
    /// Those whom the addresses lead to, for this reader.
    pub(super) async fn of(tx: &mut Tx, caller: &Caller, wanted: BTreeSet<String>) -> Result<Self, StoreError> {
        if wanted.is_empty() || !may_read(tx, caller).await? {
            return Ok(Self::default());
        }
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let mut found = BTreeMap::new();
        for some in wanted.chunks(ADDRESSES_MAX) {
            found.extend(identities::resolve(tx, &caller.person.organization_id, some).await?);
        }
        found.retain(|_, it| matches!(it, Identity::Colleague { .. }));
        Ok(Self(found))
    }

    /// Google's id of the colleague's account.
    pub(super) fn person_id(&self, address: &str) -> Option<String> {
        self.0.get(address.trim()).map(|it| it.key().to_owned())
    }

    /// Whoever is written like this, as a page shows them.
    pub(super) fn party(&self, name: &str, address: &str) -> Party {
        let (written, address) = (clip(name.trim(), SHOWN_MAX), clip(address.trim(), SHOWN_MAX));
        if let Some(Identity::Colleague { google_id, name: known, .. }) = self.0.get(&address) {
            let known = clip(known.trim(), SHOWN_MAX);
            let name = [known, written].into_iter().find(|it| !it.is_empty()).unwrap_or_else(|| address.clone());
            let address = if name == address { String::new() } else { address };
            return Party { name, address, href: Some(href(google_id)) };
        }
        match written.is_empty() || written == address {
            true => Party { name: address, address: String::new(), href: None },
            false => Party { name: written, address, href: None },
        }
    }
}

/// The addresses of those who wrote messages.
pub(super) fn senders<'a>(messages: impl Iterator<Item = &'a Message>) -> BTreeSet<String> {
    different(messages.map(|it| it.sender_address.as_str()))
}

/// The addresses of all whom messages name as senders and recipients.
pub(super) fn parties<'a>(messages: impl Iterator<Item = &'a Message>) -> BTreeSet<String> {
    let of = |message: &'a Message| {
        let listed = PARTIES.iter().filter_map(|header| message.headers.get(*header)).flatten();
        let listed = listed.flat_map(|value| written(value)).map(|(_, address)| address);
        std::iter::once(message.sender_address.as_str()).chain(listed)
    };
    different(messages.flat_map(of))
}

/// The addresses of organizers and guests. A room that bears somebody's address isn't that person.
pub(super) fn guests<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeSet<String> {
    let of = |event: &'a Event| {
        let guests = event.attendees.iter().filter(|it| !it.resource).map(|it| it.address.as_str());
        guests.chain([event.organizer.address.as_str()])
    };
    different(events.flat_map(of))
}

/// Each once, those that are addresses, and not more than are looked for.
fn different<'a>(addresses: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for it in addresses.map(str::trim).filter(|it| it.contains('@')) {
        if found.len() >= LOOKED_FOR_MAX {
            break;
        }
        if !found.contains(it) {
            found.insert(it.to_owned());
        }
    }
    found
}

/// A list of senders or recipients as it is kept (`sync/headers.rs`), taken apart: each with the name before the
/// address, either of which may be empty. Quotes are gone by then, so that a name with a comma before its address is
/// one name, unless a part of it looks like an address itself.
pub(super) fn written(value: &str) -> Vec<(&str, &str)> {
    let mut parties = Vec::new();
    let mut rest = value.trim_matches([',', ' ']);
    while !rest.is_empty() {
        let (comma, angle) = (rest.find(','), rest.find('<'));
        let first = rest[..comma.unwrap_or(rest.len())].trim();
        let is_bare = first.contains('@') && !first.contains(['<', ' ']);
        let end = match angle.filter(|_| !is_bare).and_then(|from| Some((from, from + rest[from..].find('>')?))) {
            Some((from, to)) => {
                parties.push((rest[..from].trim(), rest[from + 1..to].trim()));
                to + 1
            }
            None => {
                let is_told = !first.is_empty() && !first.chars().all(|it| it == CUT);
                if is_told {
                    parties.push(if is_bare { ("", first) } else { (first, "") });
                }
                comma.unwrap_or(rest.len())
            }
        };
        rest = rest[end..].trim_start_matches([',', ' ']);
    }
    parties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_recipients_is_taken_apart_as_it_is_kept() {
        let of = |value: &'static str| written(value);
        assert_eq!(of("Kofi Mensah <kofi@example.com>"), [("Kofi Mensah", "kofi@example.com")]);
        assert_eq!(of("a@example.com, B <b@example.com>, …"), [("", "a@example.com"), ("B", "b@example.com")]);
        assert_eq!(of("Tree, Kofi <kofi@example.com>"), [("Tree, Kofi", "kofi@example.com")]);
        assert_eq!(of("Undisclosed recipients"), [("Undisclosed recipients", "")]);
        assert_eq!(of("x <y"), [("x <y", "")]);
        assert_eq!(of(", <>,"), [("", "")]);
        assert_eq!(of(""), []);
        // What a name pretends to be isn't where the letter went.
        assert_eq!(of("kofi@example.com <evil@example.net>"), [("kofi@example.com", "evil@example.net")]);
    }

    #[test]
    fn a_colleague_has_the_directory_s_name_and_others_what_was_written() {
        let kofi = Identity::Colleague { google_id: "1/2".into(), address: "kofi@x".into(), name: "Kofi".into() };
        let nameless = Identity::Colleague { google_id: "3".into(), address: "n@x".into(), name: String::new() };
        let known = Colleagues(BTreeMap::from([("k@x".to_owned(), kofi), ("n@x".to_owned(), nameless)]));
        let shown = |name, address| {
            let party = known.party(name, address);
            (party.name, party.address, party.href)
        };
        let of = |name: &str, address: &str, href: Option<&str>| {
            (name.to_owned(), address.to_owned(), href.map(str::to_owned))
        };
        assert_eq!(shown("The Boss", "k@x"), of("Kofi", "k@x", Some("/directory/1%2F2")));
        assert_eq!(shown("", "n@x"), of("n@x", "", Some("/directory/3")));
        assert_eq!(shown("Other", "o@x"), of("Other", "o@x", None));
        assert_eq!(shown("o@x", "o@x"), of("o@x", "", None));
        assert_eq!(shown("Nobody", ""), of("Nobody", "", None));
        assert_eq!((known.person_id("k@x"), known.person_id("o@x")), (Some("1/2".to_owned()), None));
    }
}

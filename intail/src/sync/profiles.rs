//! What Google's directory tells of one person, cleaned and bounded, and what several tellings of the same person mean
//! together: two views that show different things, passes that see or miss somebody. Pure, so that every case can be
//! tested by writing it down.
//!
//! What a reader must not break: being missed is not being gone, until an administrator's view says so or three
//! complete passes agree; and only an administrator's view ever says that somebody is suspended or deleted.

use std::collections::BTreeSet;

use intail_google::directory::User;
use jiff::Timestamp;
use url::Url;

use super::headers::clean;
use crate::store::directory_people::{DirectoryPerson, View};

/// Complete passes in a row that have to miss somebody before they count as gone.
pub(super) const MISSES_MAX: i64 = 3;
/// Characters of a name, a post or a department that are kept.
const LINE_CHARS_MAX: usize = 200;
/// The longest address that can receive mail (RFC 5321), in bytes.
const ADDRESS_BYTES_MAX: usize = 254;
/// Other addresses of one person that are kept. Google allows 30, and as many more by an organization's domain aliases.
const ALIASES_MAX: usize = 100;
/// Telephone numbers of one person that are kept, and characters of each.
const PHONES_MAX: usize = 10;
const PHONE_CHARS_MAX: usize = 60;
/// The longest address of a picture that is kept, in bytes.
const PHOTO_BYTES_MAX: usize = 2_048;
/// The longest id that is kept, in bytes. Google's have 21 digits.
const ID_BYTES_MAX: usize = 128;

/// What one pass tells of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// What was told, as it is stored; what only a row can know is empty.
    person: DirectoryPerson,
    /// Whether the administrator's view lists the account among the deleted ones.
    is_deleted: bool,
}

/// From where something was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling<'a> {
    /// Which view.
    pub(super) view: View,
    /// Whether from the list of deleted accounts.
    pub(super) is_deleted: bool,
    /// In which pass.
    pub(super) pass: i64,
    /// When.
    pub(super) now: Timestamp,
    /// The organization's own domains: any other address is somebody's word.
    pub(super) domains: &'a [String],
}

/// What a telling, or a silence, makes of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// The person from now on.
    pub(super) person: DirectoryPerson,
    /// Whether nothing but the pass that saw them has changed.
    pub(super) is_same: bool,
    /// What everybody in the organization learns of it.
    pub(super) news: Option<News>,
}

/// What everybody in the organization learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Somebody is shown who wasn't.
    Added,
    /// What is shown of somebody changed.
    Changed,
    /// Somebody isn't shown any more.
    Gone,
}

impl News {
    /// The change's kind in the feed.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Added => "person.added",
            Self::Changed => "person.changed",
            Self::Gone => "person.gone",
        }
    }
}

/// Whether somebody can be kept under this id.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.chars().any(char::is_control)
}

/// Reads one of Google's entries; none when even its id can't be kept.
pub(super) fn told(user: User, telling: Telling<'_>) -> Option<Told> {
    if !is_id(&user.id) {
        return None;
    }
    let line = |text: Option<&str>| clean(text.unwrap_or_default(), LINE_CHARS_MAX);
    let is_administrators = telling.view == View::Administrator;
    let address = address(user.primary_email.as_deref()).unwrap_or_default();
    let post = user.organizations.iter().find(|it| it.primary).or_else(|| user.organizations.first());
    let manager_address = user.manager().and_then(|it| self::address(Some(it))).unwrap_or_default();
    let name = user.name.as_ref();
    let (given, family) = (name.and_then(|it| it.given_name.as_deref()), name.and_then(|it| it.family_name.as_deref()));
    let whole = name.and_then(|it| it.full_name.as_deref().or(it.display_name.as_deref()));
    let whole = whole.map_or_else(|| [line(given), line(family)].join(" ").trim().to_owned(), |it| line(Some(it)));
    let suspended = user.suspended.filter(|_| is_administrators);
    let archived = user.archived.filter(|_| is_administrators);
    let phones = user.phones.iter().map(|it| clean(it.value.as_deref().unwrap_or_default(), PHONE_CHARS_MAX));
    let is_hidden = is_administrators && user.include_in_global_address_list == Some(false);
    let person = DirectoryPerson {
        aliases: aliases(&user, &address, telling.domains),
        name: whole,
        given_name: line(given),
        family_name: line(family),
        title: line(post.and_then(|it| it.title.as_deref())),
        department: line(post.and_then(|it| it.department.as_deref())),
        manager_address,
        phones: phones.filter(|it| !it.is_empty()).take(PHONES_MAX).collect(),
        photo_url: photo(user.thumbnail_photo_url.as_deref()),
        // The public view shows nobody who is hidden, suspended or archived.
        is_listed: !is_hidden && suspended != Some(true) && archived != Some(true),
        suspended,
        archived,
        is_administrator: match (user.is_admin, user.is_delegated_admin) {
            _ if !is_administrators => None,
            (None, None) => None,
            (whole, part) => Some(whole == Some(true) || part == Some(true)),
        },
        view: telling.view,
        etag: user.etag.filter(|it| is_tag(it)).unwrap_or_default(),
        google_id: user.id,
        address,
        pass: telling.pass,
        misses: 0,
        added_at: telling.now,
        seen_at: telling.now,
        deleted_at: None,
        gone_at: None,
    };
    Some(Told { person, is_deleted: telling.is_deleted && is_administrators })
}

/// An address as it is compared: small, without space around it; none if it is none.
pub(super) fn address(text: Option<&str>) -> Option<String> {
    let address = text?.trim().to_lowercase();
    let (name, domain) = address.rsplit_once('@')?;
    let fits = !name.is_empty() && !domain.is_empty() && address.len() <= ADDRESS_BYTES_MAX;
    let strange = address.chars().any(|it| it.is_control() || it.is_whitespace());
    (fits && !strange).then_some(address)
}

/// The other addresses that lead to somebody: those that Google gives as aliases, and of the free list those in the
/// organization's own domains. What anybody may claim about the rest of the world makes nobody somebody else.
fn aliases(user: &User, primary: &str, domains: &[String]) -> Vec<String> {
    let own = primary.rsplit_once('@').map(|(_, domain)| domain);
    let is_own = |address: &String| {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        domain.is_some_and(|it| Some(it) == own || domains.iter().any(|known| known == it))
    };
    let given = user.aliases.iter().chain(&user.non_editable_aliases).filter_map(|it| address(Some(it)));
    let listed = user.emails.iter().filter_map(|it| address(it.address.as_deref())).filter(is_own);
    let all: BTreeSet<String> = given.chain(listed).filter(|it| it != primary).collect();
    all.into_iter().take(ALIASES_MAX).collect()
}

/// Whether a tag can be kept. Without one, what was told is compared.
fn is_tag(etag: &str) -> bool {
    etag.len() <= PHOTO_BYTES_MAX && !etag.chars().any(char::is_control)
}

fn photo(url: Option<&str>) -> String {
    let url = url.filter(|it| it.len() <= PHOTO_BYTES_MAX).and_then(|it| Url::parse(it).ok());
    let url = url.filter(|it| matches!(it.scheme(), "https" | "http"));
    url.map_or_else(String::new, String::from)
}

/// What a telling makes of the person who is known by this id, if one is.
pub(super) fn seen(known: Option<&DirectoryPerson>, told: Told) -> Meaning {
    let Told { mut person, is_deleted } = told;
    if is_deleted {
        return deleted(known, person);
    }
    let Some(known) = known else {
        let news = person.is_shown().then_some(News::Added);
        return Meaning { person, is_same: false, news };
    };
    // Google's tag covers what one view tells: under another one it says nothing.
    let is_tagged = !person.etag.is_empty() && person.etag == known.etag && person.view == known.view;
    if is_tagged && known.gone_at.is_none() {
        let (pass, seen_at) = (person.pass, person.seen_at);
        let person = DirectoryPerson { pass, seen_at, misses: 0, ..known.clone() };
        return Meaning { person, is_same: true, news: None };
    }
    person.added_at = known.added_at;
    let news = news(known, &person);
    let as_known = DirectoryPerson { pass: known.pass, seen_at: known.seen_at, misses: known.misses, ..person.clone() };
    let is_same = as_known == *known;
    Meaning { person, is_same, news }
}

/// The account was deleted. Of somebody who was never seen before, nothing but that is kept.
fn deleted(known: Option<&DirectoryPerson>, told: DirectoryPerson) -> Meaning {
    let now = told.seen_at;
    let Some(known) = known else {
        let person = DirectoryPerson {
            address: String::new(),
            name: String::new(),
            given_name: String::new(),
            family_name: String::new(),
            title: String::new(),
            department: String::new(),
            manager_address: String::new(),
            phones: Vec::new(),
            aliases: Vec::new(),
            photo_url: String::new(),
            is_listed: false,
            etag: String::new(),
            deleted_at: Some(now),
            gone_at: Some(now),
            ..told
        };
        return Meaning { person, is_same: false, news: None };
    };
    let person = DirectoryPerson {
        pass: told.pass,
        seen_at: now,
        misses: 0,
        // Whatever comes after is looked at anew.
        etag: String::new(),
        deleted_at: known.deleted_at.or(Some(now)),
        gone_at: known.gone_at.or(Some(now)),
        ..known.clone()
    };
    let is_same = known.deleted_at.is_some();
    let news = news(known, &person);
    Meaning { person, is_same, news }
}

/// Whether being missed once more makes somebody gone.
pub(super) fn is_last_miss(known: &DirectoryPerson) -> bool {
    known.misses + 1 >= MISSES_MAX
}

/// What it means that a complete pass didn't see somebody. Whom an administrator's view misses often enough was
/// deleted too long ago to be listed as such, or isn't shown to this administrator: `is_deleted` is what Google
/// answered when it was asked.
pub(super) fn missed(known: &DirectoryPerson, is_deleted: bool, pass: i64, now: Timestamp) -> Meaning {
    let is_gone = is_last_miss(known);
    let person = DirectoryPerson {
        pass,
        misses: known.misses + 1,
        deleted_at: known.deleted_at.or((is_gone && is_deleted).then_some(now)),
        gone_at: known.gone_at.or(is_gone.then_some(now)),
        ..known.clone()
    };
    let news = news(known, &person);
    Meaning { person, is_same: false, news }
}

/// What everybody learns when one becomes the other.
fn news(before: &DirectoryPerson, after: &DirectoryPerson) -> Option<News> {
    match (before.is_shown(), after.is_shown()) {
        (false, false) => None,
        (false, true) => Some(News::Added),
        (true, false) => Some(News::Gone),
        (true, true) => (face(before) != face(after)).then_some(News::Changed),
    }
}

/// What everybody sees of somebody.
fn face(it: &DirectoryPerson) -> ([&str; 8], [&[String]; 2]) {
    let lines = [
        &it.address,
        &it.name,
        &it.given_name,
        &it.family_name,
        &it.title,
        &it.department,
        &it.manager_address,
        &it.photo_url,
    ];
    (lines.map(String::as_str), [&it.phones, &it.aliases])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;

    fn at(hour: i64) -> Timestamp {
        from_us(hour * 3_600_000_000)
    }

    fn telling(view: View, pass: i64) -> Telling<'static> {
        Telling { view, is_deleted: false, pass, now: at(pass), domains: &[] }
    }

    fn user(json: &str) -> User {
        serde_json::from_str(json).expect("an entry")
    }

    fn ines(more: &str) -> User {
        user(&format!(
            r#"{{"id":"7","etag":"e{}","primaryEmail":"Ines@Example.com","name":{{"fullName":"Inês P"}} {more}}}"#,
            more.len()
        ))
    }

    fn stored(user: User, view: View, pass: i64) -> DirectoryPerson {
        seen(None, told(user, telling(view, pass)).expect("told")).person
    }

    fn see(known: &DirectoryPerson, user: User, view: View, pass: i64) -> Meaning {
        seen(Some(known), told(user, telling(view, pass)).expect("told"))
    }

    #[test]
    fn an_unchanged_tag_is_no_news_under_the_same_view_only() {
        let known = stored(ines(""), View::Public, 1);
        let again = see(&known, ines(""), View::Public, 2);
        assert!(again.is_same && again.news.is_none());
        assert_eq!((again.person.pass, again.person.seen_at), (2, at(2)));
        let more = see(&known, ines(r#","isAdmin":true,"suspended":false"#), View::Administrator, 2);
        assert!(!more.is_same, "another view knows more");
        assert_eq!((more.person.is_administrator, more.person.suspended), (Some(true), Some(false)));
        assert_eq!(more.news, None, "and nobody sees anything new");
    }

    #[test]
    fn a_new_tag_without_new_content_is_no_news() {
        let known = stored(ines(""), View::Public, 1);
        let meaning = see(
            &known,
            user(r#"{"id":"7","etag":"x","primaryEmail":"ines@example.com","name":{"fullName":"Inês P"}}"#),
            View::Public,
            2,
        );
        assert_eq!((meaning.is_same, meaning.news), (false, None), "the tag is kept, and nobody is told");
    }

    #[test]
    fn suspended_hidden_and_archived_people_are_shown_to_nobody() {
        for flag in [r#","suspended":true"#, r#","archived":true"#, r#","includeInGlobalAddressList":false"#] {
            let known = stored(ines(""), View::Administrator, 1);
            let away = see(&known, ines(flag), View::Administrator, 2);
            assert_eq!(away.news, Some(News::Gone), "{flag}");
            let back = see(&away.person, ines(""), View::Administrator, 3);
            assert_eq!(back.news, Some(News::Added), "{flag}");
        }
        // Whom the public view shows is none of these, whatever it claims.
        assert!(stored(ines(r#","suspended":true"#), View::Public, 1).is_shown());
    }

    #[test]
    fn being_missed_three_times_is_being_gone_and_deleted_only_where_google_says_so() {
        for (view, is_deleted) in [(View::Public, false), (View::Administrator, false), (View::Administrator, true)] {
            let mut person = stored(ines(""), view, 1);
            for pass in 2..4 {
                assert!(!is_last_miss(&person));
                let meaning = missed(&person, is_deleted, pass, at(pass));
                assert_eq!(meaning.news, None);
                person = meaning.person;
                assert!(person.is_shown());
            }
            assert!(is_last_miss(&person));
            let meaning = missed(&person, is_deleted, 4, at(4));
            assert_eq!((meaning.news, meaning.person.gone_at), (Some(News::Gone), Some(at(4))));
            assert_eq!(meaning.person.deleted_at.is_some(), is_deleted);
            let back = see(&meaning.person, ines(""), view, 5);
            assert_eq!((back.news, back.person.gone_at), (Some(News::Added), None), "the same tag brings nobody back");
            assert_eq!((back.person.deleted_at, back.person.misses), (None, 0));
        }
        let mut person = stored(ines(""), View::Public, 1);
        person = missed(&person, false, 2, at(2)).person;
        person = see(&person, ines(""), View::Public, 3).person;
        assert_eq!(person.misses, 0, "the count begins anew");
    }

    #[test]
    fn a_deleted_account_is_gone_at_once_and_of_a_stranger_only_that_is_kept() {
        let gone = Telling { is_deleted: true, ..telling(View::Administrator, 2) };
        let known = stored(ines(""), View::Administrator, 1);
        let meaning = seen(Some(&known), told(ines(""), gone).expect("told"));
        assert_eq!((meaning.news, meaning.person.deleted_at), (Some(News::Gone), Some(at(2))));
        let later = Telling { pass: 3, now: at(3), ..gone };
        let again = seen(Some(&meaning.person), told(ines(""), later).expect("told"));
        assert_eq!((again.is_same, again.news, again.person.deleted_at), (true, None, Some(at(2))));
        let stranger = seen(None, told(ines(""), gone).expect("told"));
        assert_eq!((stranger.news, stranger.person.name.as_str(), stranger.person.address.as_str()), (None, "", ""));
        // The public view has no such list.
        let odd = Telling { view: View::Public, ..gone };
        assert_eq!(seen(None, told(ines(""), odd).expect("told")).news, Some(News::Added));
    }

    #[test]
    fn what_people_write_is_bounded_and_claims_nobody_else() {
        let long = "x".repeat(5_000);
        let hostile = user(&format!(
            r#"{{"id":"7","primaryEmail":" Ines@example.com ","name":{{"fullName":"a\u0000b{long}"}},
            "thumbnailPhotoUrl":"javascript:alert(1)","aliases":["p@example.org","not an address","{long}@x.example"],
            "emails":[{{"address":"boss@other.example"}},{{"address":"i@example.com"}},
            {{"address":"ines@example.com"}}],
            "phones":[{{"value":"{long}"}},{{"value":""}}],"relations":[{{"type":"manager","value":"nobody"}}],
            "organizations":[{{"title":"second"}},{{"title":"Head of Tea","primary":true}}]}}"#
        ));
        let person = stored(hostile, View::Administrator, 1);
        assert_eq!(person.name.chars().count(), LINE_CHARS_MAX);
        assert!(!person.name.contains('\u{0}'));
        assert_eq!((person.address.as_str(), person.photo_url.as_str()), ("ines@example.com", ""));
        assert_eq!(person.aliases, ["i@example.com", "p@example.org"]);
        assert_eq!((person.manager_address.as_str(), person.title.as_str()), ("", "Head of Tea"));
        assert_eq!(person.phones.len(), 1);
        assert_eq!(told(user(&format!(r#"{{"id":"{long}"}}"#)), telling(View::Public, 1)), None);
        let bare = stored(user(r#"{"id":"8"}"#), View::Public, 1);
        assert!(bare.is_shown() && bare.addresses().is_empty(), "no field but the id is promised");
    }

    proptest::proptest! {
        #[test]
        fn no_text_can_panic(text in ".{0,300}") {
            let json = serde_json::json!({
                "id": text, "primaryEmail": text, "name": {"givenName": text}, "aliases": [text],
                "thumbnailPhotoUrl": text, "relations": [{"type": "manager", "value": text}],
            });
            if let Some(it) = told(serde_json::from_value(json).expect("an entry"), telling(View::Public, 1)) {
                seen(None, it);
            }
        }
    }
}

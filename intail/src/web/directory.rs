//! The directory's pages: the organization's people with a search, who reports to whom, and one person with what the
//! reader's own mail and calendars hold of them. Only whom everybody in the organization may see stands here, and only
//! for those who permitted Intail to read the directory themselves. All text in it was written by others: it is clipped
//! here and escaped by the templates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Web;
use super::access::Caller;
use super::asked::{Asked, At};
use super::looks::{self, Looked};
use super::meetings::Meetings;
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{self, When, clip, counted, from_ms, grouped, sender, subject};
use crate::connect::{self, DirectoryCopy, Permission};
use crate::id::OrganizationId;
use crate::org::identities::{self, Identity};
use crate::store::directory_people::{self, DirectoryPerson, View};
use crate::store::messages::{self, Message};
use crate::store::{StoreError, Tx, changes, directories, grants, mailboxes};

/// People on a page.
const PAGE_PEOPLE: i64 = 50;
/// The longest search, in characters.
const SEARCH_MAX: usize = 100;
/// The longest text of a directory that is shown in one place, in characters.
const SHOWN_MAX: usize = 120;
/// People up to whom the whole organization is drawn; above that, one looks from person to person.
const TREE_PEOPLE_MAX: i64 = 500;
/// Managers above a person that are shown: deeper than any company is built.
const CHAIN_MAX: usize = 12;
/// Reports of a person that are shown.
const REPORTS_MAX: i64 = 100;
/// The newest messages of the reader that are looked through for a person, how many of those with the person are taken,
/// and how many conversations of them are shown.
const MESSAGES_SEARCHED: i64 = 2_000;
const MESSAGES_TAKEN: i64 = 100;
const CONVERSATIONS_SHOWN: usize = 8;
/// The longest id of Google's that is looked up.
const ID_LENGTH_MAX: usize = 128;
/// How often a page asks again while the directory is being copied, in seconds.
const COPYING_EVERY_S: u8 = 2;
/// How often it asks again otherwise: each time is a reason to look at Google, see `looks.rs`.
const LOOKING_EVERY_S: u8 = 60;

/// Which part of the directory.
#[derive(Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    after: Option<String>,
    view: Option<String>,
    looked: Option<String>,
}

#[derive(Template)]
#[template(path = "directory.html")]
struct DirectoryPage {
    shell: Shell,
    closed: Option<Closed>,
    state: StateLine,
    /// What somebody is told who asked for a look.
    looked: Option<&'static str>,
    /// Where the person comes back to after they asked.
    here: String,
    q: String,
    /// Whether the tree is shown as soon as nothing is searched for.
    wants_tree: bool,
    is_tree: bool,
    people: Vec<Card>,
    /// How many a search found; empty when nothing is searched for.
    found: String,
    next: Option<String>,
    tree: Vec<Turn>,
    is_too_large: bool,
}

/// Why a reader sees nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    NotConnected,
    NotPermitted,
}

/// What the directory is as of, and what it can't show.
pub(super) struct StateLine {
    pub(super) tone: &'static str,
    pub(super) text: String,
    pub(super) as_of: Option<When>,
    pub(super) limits: &'static str,
    every_s: u8,
}

/// A person in a list.
pub(super) struct Card {
    id: String,
    href: String,
    initials: String,
    name: String,
    post: String,
    address: String,
}

/// One move of the tree's drawing, in order.
enum Turn {
    Person(Card),
    Down,
    Up,
}

/// Whether somebody may read the directory: whoever let Intail read it under their own account.
pub(super) async fn may_read(tx: &mut Tx, caller: &Caller) -> Result<bool, StoreError> {
    Ok(closed(tx, caller).await?.is_none())
}

async fn closed(tx: &mut Tx, caller: &Caller) -> Result<Option<Closed>, StoreError> {
    let grant = grants::by_person(tx, &caller.person.id).await?.filter(|it| it.state != grants::GrantState::Left);
    Ok(match grant {
        None => Some(Closed::NotConnected),
        Some(grant) if !Permission::Directory.is_in(&grant.scopes) => Some(Closed::NotPermitted),
        Some(_) => None,
    })
}

/// `GET /directory`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Trouble> {
    let organization = &caller.person.organization_id;
    let q = search_words(wanted.q.as_deref());
    let wants_tree = wanted.view.as_deref() == Some("organization");
    let is_tree = wants_tree && q.is_empty();
    let after = wanted.after.filter(|it| it.len() <= ID_LENGTH_MAX);
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, organization).await?;
    let closed = closed(&mut tx, &caller).await?;
    let copy = connect::directory_copy(&mut tx, organization, web.app.clock.now()).await?;
    let row = directories::of_organization(&mut tx, organization).await?;
    let (mut found, mut tree, mut is_too_large) = (Vec::new(), Vec::new(), false);
    if closed.is_none() && is_tree {
        let all = directory_people::search(&mut tx, organization, "", None, TREE_PEOPLE_MAX + 1).await?;
        is_too_large = all.len() > bound(TREE_PEOPLE_MAX);
        tree = if is_too_large { Vec::new() } else { drawn(&all) };
    } else if closed.is_none() {
        found = directory_people::search(&mut tx, organization, &q, after.as_deref(), PAGE_PEOPLE + 1).await?;
    }
    drop(tx);
    if let Some(row) = row.filter(|_| closed.is_none()) {
        looks::at_directory(&web.app, &row).await?;
    }
    let more = found.len() > bound(PAGE_PEOPLE);
    found.truncate(bound(PAGE_PEOPLE));
    let next = found.last().filter(|_| more).map(|last| address(&q, wants_tree, Some(&last.google_id)));
    let told = if q.is_empty() { String::new() } else { told(found.len(), more, after.is_some()) };
    html(&DirectoryPage {
        shell: Shell::new(&web, Some(&caller), "directory", "Directory").following(last_seq, closed.is_none()),
        closed,
        state: state_line(copy.as_ref()),
        looked: Looked::of(wanted.looked.as_deref()).map(Looked::said),
        here: address(&q, wants_tree, None),
        q,
        wants_tree,
        is_tree,
        people: found.iter().map(card).collect(),
        found: told,
        next,
        tree,
        is_too_large,
    })
}

/// What somebody searches for.
pub(super) fn search_words(q: Option<&str>) -> String {
    q.unwrap_or_default().trim().chars().take(SEARCH_MAX).collect()
}

fn bound(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The page of a search, or of the tree, from the person on who comes after that one.
fn address(q: &str, wants_tree: bool, after: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let view = Some("organization").filter(|_| wants_tree);
    for (name, value) in [("q", Some(q).filter(|q| !q.is_empty())), ("view", view), ("after", after)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { "/directory".to_owned() } else { format!("/directory?{query}") }
}

/// How many people a search found. `more` says that there are others behind them, `is_later` that some stand before.
fn told(found: usize, more: bool, is_later: bool) -> String {
    match (found, more, is_later) {
        (0, ..) => "Nobody fits".to_owned(),
        (1, false, false) => "1 person fits".to_owned(),
        (1, false, true) => "1 other person fits".to_owned(),
        (many, false, false) => format!("{many} people fit"),
        (many, false, true) => format!("{many} other people fit"),
        (many, true, false) => format!("More than {many} people fit"),
        (many, true, true) => format!("More than {many} other people fit"),
    }
}

fn card(person: &DirectoryPerson) -> Card {
    let name = name_of(person);
    Card {
        id: person.google_id.clone(),
        href: href(&person.google_id),
        initials: initials(&name),
        post: post(person),
        address: clip(&person.address, SHOWN_MAX),
        name,
    }
}

/// The page of somebody in the directory.
pub(super) fn href(google_id: &str) -> String {
    let id: String = url::form_urlencoded::byte_serialize(google_id.as_bytes()).collect();
    format!("/directory/{id}")
}

/// What people call somebody: the name, or else the address.
fn name_of(person: &DirectoryPerson) -> String {
    let known = [&person.name, &person.address].into_iter().find(|it| !it.is_empty());
    known.map_or_else(|| "(no name)".to_owned(), |it| clip(it, SHOWN_MAX))
}

/// "Head of Tea, Kitchen".
fn post(person: &DirectoryPerson) -> String {
    let parts = [&person.title, &person.department].into_iter().filter(|it| !it.is_empty());
    parts.map(|it| clip(it, SHOWN_MAX)).collect::<Vec<String>>().join(", ")
}

/// The letters in somebody's circle: of the first and the last word of the name.
fn initials(name: &str) -> String {
    let first = |word: &str| word.chars().find(|it| it.is_alphanumeric());
    let words: Vec<&str> = name.split_whitespace().collect();
    let ends = [words.first(), words.get(1).and(words.last())];
    ends.into_iter().flatten().filter_map(|word| first(word)).flat_map(char::to_uppercase).take(2).collect()
}

/// How the copy of the directory stands.
pub(super) fn state_line(copy: Option<&DirectoryCopy>) -> StateLine {
    let Some(copy) = copy else {
        return StateLine {
            tone: "busy",
            text: "Starting".to_owned(),
            as_of: None,
            limits: "",
            every_s: COPYING_EVERY_S,
        };
    };
    let as_of = copy.passed_at.map(When::full);
    let people = counted(copy.people, "person", "people");
    let (tone, text, every_s) = match (copy.problem.as_deref(), copy.passed_at) {
        (None, _) if let Some(it) = &copy.standstill => {
            ("act", format!("{people}. Can’t be read now: {}", words::failure(&it.why)), 0)
        }
        (Some("no_directory"), None) => ("quiet", "There is no directory that Intail could read".to_owned(), 0),
        (Some(problem), None) => ("act", hindrance(problem).to_owned(), 0),
        (Some("no_directory"), Some(_)) => ("act", format!("{people}; Google doesn’t show it any more"), 0),
        (Some(problem), Some(_)) => ("act", format!("{people}. {}", hindrance(problem)), 0),
        (None, None) if copy.seen > 0 => ("busy", format!("Copying: {} so far", grouped(copy.seen)), COPYING_EVERY_S),
        (None, None) => ("busy", "Copying".to_owned(), COPYING_EVERY_S),
        (None, Some(_)) => ("good", people, LOOKING_EVERY_S),
    };
    let limits = match copy.view {
        _ if copy.passed_at.is_none() => "",
        Some(View::Public) => {
            "Read as everybody in your organization sees it, once a day, and more often while \
             somebody looks at it. Whoever is hidden or suspended can’t be seen \
             that way, and whoever is missing counts as gone only after three days."
        }
        None => "",
        Some(View::Administrator) => {
            "Compared with Google every hour, and more often while somebody looks at it. Whoever is hidden from \
             everybody at Google isn’t shown here either."
        }
    };
    StateLine { tone, text, as_of, limits, every_s }
}

/// What stands in the way of reading the directory, in a sentence without its stop.
pub(super) fn hindrance(problem: &str) -> &'static str {
    match problem {
        "blocked_by_administrator" => "The administrator at Google doesn’t let Intail read it",
        "api_disabled" => "Google’s Admin SDK is switched off for this Intail; whoever runs it can switch it on",
        "most_are_missing" => {
            "Google shows less than half of the people that it showed before; nobody is taken for gone until that has \
             lasted a week"
        }
        _ => "Nobody’s permission is left to read it with",
    }
}

/// The organization as a drawing: everybody below their manager, whoever has none at the top. People who manage each
/// other in a circle have nobody above: the first of them by name begins.
fn drawn(people: &[DirectoryPerson]) -> Vec<Turn> {
    let by_address: BTreeMap<&str, usize> =
        people.iter().enumerate().flat_map(|(at, it)| it.addresses().into_iter().map(move |one| (one, at))).collect();
    let manager = |at: usize| by_address.get(people[at].manager_address.as_str()).copied().filter(|it| *it != at);
    let mut reports: BTreeMap<usize, VecDeque<usize>> = BTreeMap::new();
    for at in 0..people.len() {
        if let Some(above) = manager(at) {
            reports.entry(above).or_default().push_back(at);
        }
    }
    let (mut turns, mut seen) = (Vec::new(), BTreeSet::new());
    let tops = (0..people.len()).filter(|at| manager(*at).is_none());
    for top in tops.chain(0..people.len()).collect::<Vec<usize>>() {
        if !seen.insert(top) {
            continue;
        }
        turns.push(Turn::Person(card(&people[top])));
        let mut open = vec![reports.remove(&top).unwrap_or_default()];
        turns.push(Turn::Down);
        while let Some(level) = open.last_mut() {
            match level.pop_front() {
                Some(at) if seen.insert(at) => {
                    turns.push(Turn::Person(card(&people[at])));
                    turns.push(Turn::Down);
                    open.push(reports.remove(&at).unwrap_or_default());
                }
                Some(_) => {}
                None => {
                    open.pop();
                    turns.push(Turn::Up);
                }
            }
        }
    }
    turns
}

#[derive(Template)]
#[template(path = "colleague.html")]
struct ColleaguePage {
    shell: Shell,
    name: String,
    post: String,
    initials: String,
    address: String,
    mailto: String,
    aliases: Vec<String>,
    phones: Vec<Phone>,
    photo_url: String,
    managers: Vec<Card>,
    manager_outside: Option<String>,
    reports: Vec<Card>,
    more_reports: bool,
    mail: Option<Vec<Line>>,
    meetings: Option<Meetings>,
    is_self: bool,
}

/// A telephone number, and what a telephone dials for it.
struct Phone {
    text: String,
    dials: String,
}

/// A conversation that the reader has with a person: its newest message.
struct Line {
    href: String,
    is_from_them: bool,
    sender: String,
    subject: String,
    at: When,
}

/// `GET /directory/{id}`
pub(super) async fn person(State(web): State<Web>, caller: Caller, At(id): At<String>) -> Result<Response, Trouble> {
    let organization = &caller.person.organization_id;
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, organization).await?;
    let person = shown(&mut tx, &caller, &id).await?.ok_or_else(|| trouble::not_there("person"))?;
    let managers = chain(&mut tx, organization, &person).await?;
    let mut reports = directory_people::reports(&mut tx, organization, &person.addresses(), REPORTS_MAX + 1).await?;
    reports.retain(|it| it.google_id != person.google_id);
    let grant = grants::by_person(&mut tx, &caller.person.id).await?;
    let mailbox = mailboxes::by_person(&mut tx, &caller.person.id).await?;
    let is_self = grant.as_ref().is_some_and(|it| it.google_subject == person.google_id);
    let row = directories::of_organization(&mut tx, organization).await?;
    let mail = match mailbox.filter(|_| !is_self) {
        Some(mailbox) => {
            let addresses = person.addresses();
            let found =
                messages::with_addresses(&mut tx, &mailbox.id, &addresses, MESSAGES_SEARCHED, MESSAGES_TAKEN).await?;
            // The newest message of each conversation stands for it.
            let mut threads = BTreeSet::new();
            let newest = found.iter().filter(|it| threads.insert(it.thread_id.as_str()));
            Some(newest.take(CONVERSATIONS_SHOWN).map(|it| line(it, &addresses)).collect())
        }
        None => None,
    };
    let meetings = match grant.filter(|_| !is_self) {
        Some(grant) => Meetings::of(&mut tx, &caller, &grant, &person.addresses(), web.app.clock.now()).await?,
        None => None,
    };
    drop(tx);
    if let Some(row) = row {
        looks::at_directory(&web.app, &row).await?;
    }
    let more_reports = reports.len() > bound(REPORTS_MAX);
    reports.truncate(bound(REPORTS_MAX));
    let name = name_of(&person);
    let manager_outside = Some(person.manager_address.clone()).filter(|it| managers.is_empty() && !it.is_empty());
    html(&ColleaguePage {
        shell: Shell::new(&web, Some(&caller), "directory", name.clone()).following(last_seq, true),
        post: post(&person),
        initials: initials(&name),
        address: clip(&person.address, SHOWN_MAX),
        mailto: mailto(&person.address),
        aliases: person.aliases.iter().map(|it| clip(it, SHOWN_MAX)).collect(),
        phones: person.phones.iter().map(|it| phone(it)).collect(),
        photo_url: person.photo_url.clone(),
        managers: managers.iter().map(card).collect(),
        manager_outside,
        reports: reports.iter().map(card).collect(),
        more_reports,
        mail,
        meetings,
        is_self,
        name,
    })
}

/// A person whom the reader may see.
pub(super) async fn shown(tx: &mut Tx, caller: &Caller, id: &str) -> Result<Option<DirectoryPerson>, StoreError> {
    if id.len() > ID_LENGTH_MAX || !may_read(tx, caller).await? {
        return Ok(None);
    }
    let person = directory_people::by_id(tx, &caller.person.organization_id, id).await?;
    Ok(person.filter(DirectoryPerson::is_shown))
}

/// The managers above a person, the nearest first, until there is none, or a circle, or the bound.
async fn chain(
    tx: &mut Tx,
    organization: &OrganizationId,
    person: &DirectoryPerson,
) -> Result<Vec<DirectoryPerson>, StoreError> {
    let (mut above, mut seen) = (Vec::new(), BTreeSet::from([person.google_id.clone()]));
    let mut address = person.manager_address.clone();
    while above.len() < CHAIN_MAX && !address.is_empty() {
        let found = identities::resolve(tx, organization, &[&address]).await?.remove(&address);
        let Some(Identity::Colleague { google_id, .. }) = found else { break };
        if !seen.insert(google_id.clone()) {
            break;
        }
        let Some(manager) = directory_people::by_id(tx, organization, &google_id).await? else { break };
        address.clone_from(&manager.manager_address);
        above.push(manager);
    }
    Ok(above)
}

/// An address as a link takes it: what is before the @ could hold marks that links understand.
fn mailto(address: &str) -> String {
    let encoded = |part: &str| url::form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
    let parts = address.rsplit_once('@');
    parts.map_or_else(String::new, |(name, domain)| format!("mailto:{}@{}", encoded(name), encoded(domain)))
}

fn phone(text: &str) -> Phone {
    let dials = text.chars().filter(|it| it.is_ascii_digit() || *it == '+').collect();
    Phone { text: clip(text, SHOWN_MAX), dials }
}

fn line(message: &Message, addresses: &[&str]) -> Line {
    let thread: String = url::form_urlencoded::byte_serialize(message.thread_id.as_bytes()).collect();
    Line {
        href: format!("/mail/thread/{thread}"),
        is_from_them: addresses.contains(&message.sender_address.as_str()),
        sender: sender(message),
        subject: subject(message),
        at: When::brief(from_ms(message.received_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;

    pub(crate) fn someone(id: &str, name: &str, manager: &str) -> DirectoryPerson {
        DirectoryPerson {
            google_id: id.to_owned(),
            address: format!("{id}@example.com"),
            name: name.to_owned(),
            given_name: String::new(),
            family_name: String::new(),
            title: String::new(),
            department: String::new(),
            manager_address: if manager.is_empty() { String::new() } else { format!("{manager}@example.com") },
            phones: Vec::new(),
            aliases: Vec::new(),
            photo_url: String::new(),
            is_listed: true,
            suspended: None,
            archived: None,
            is_administrator: None,
            view: View::Public,
            etag: String::new(),
            pass: 1,
            misses: 0,
            added_at: from_us(0),
            seen_at: from_us(0),
            deleted_at: None,
            gone_at: None,
        }
    }

    fn drawing(people: &[DirectoryPerson]) -> String {
        let text = |turn: Turn| match turn {
            Turn::Person(card) => card.id,
            Turn::Down => "(".to_owned(),
            Turn::Up => ")".to_owned(),
        };
        drawn(people).into_iter().map(text).collect()
    }

    #[test]
    fn everybody_stands_below_their_manager_once() {
        let people = [someone("a", "A", ""), someone("b", "B", "a"), someone("c", "C", "b"), someone("d", "D", "a")];
        assert_eq!(drawing(&people), "a(b(c())d())");
        assert_eq!(drawing(&[someone("a", "A", "nobody")]), "a()", "an unknown manager is none");
    }

    #[test]
    fn people_who_manage_each_other_in_a_circle_are_drawn_once() {
        let people = [someone("a", "A", "b"), someone("b", "B", "a"), someone("c", "C", "c"), someone("d", "D", "b")];
        assert_eq!(drawing(&people), "c()a(b(d()))");
        assert_eq!(drawing(&[]), "");
    }

    #[test]
    fn a_page_of_a_search_has_its_address_and_says_how_many_fit() {
        assert_eq!(address("", false, None), "/directory");
        assert_eq!(address("kö fi", true, Some("7")), "/directory?q=k%C3%B6+fi&view=organization&after=7");
        let said = [(0, false, false), (1, false, false), (12, false, false), (50, true, false), (1, false, true)];
        let said = said.map(|(found, more, is_later)| told(found, more, is_later));
        let words = ["Nobody fits", "1 person fits", "12 people fit", "More than 50 people fit", "1 other person fits"];
        assert_eq!(said, words);
    }

    #[test]
    fn initials_come_from_any_script() {
        let of = ["Inês Pradoazul", "雪乃 青嶺", "x", "", "Anna von Tee", "ßa"].map(initials);
        assert_eq!(of, ["IP", "雪青", "X", "", "AT", "SS"]);
    }
}

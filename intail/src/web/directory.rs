//! The directory's pages: the organization's people with a search, who reports to whom, and one person with what the
//! reader's own mail and calendars hold of them. Only whom everybody in the organization may see stands here, and only
//! for those who permitted Intail to read the directory themselves. All text in it was written by others: it is clipped
//! here and escaped by the templates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::access::Caller;
use super::asked::{Asked, At};
use super::copying::{Waiting, directory_waits};
use super::looks::{self, Looked};
use super::meetings::Meetings;
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{self, When, clip, counted, from_ms, grouped, sender, subject};
use super::{Web, session};
use crate::connect::{self, DirectoryCopy, Permission};
use crate::id::OrganizationId;
use crate::org::identities::{self, Identity};
use crate::store::directory_people::{self, DirectoryPerson, View};
use crate::store::leases::Stream;
use crate::store::messages::{self, Message};
use crate::store::{StoreError, Tx, changes, directories, grants, mailboxes};
use crate::sync::Waits;

/// People on a page.
const PAGE_PEOPLE: i64 = 50;
/// The longest search, in characters.
const SEARCH_MAX: usize = 100;
/// The longest text of a directory that is shown in one place, in characters.
const SHOWN_MAX: usize = 120;
/// People up to whom the whole organization is drawn; above that, one level at a time.
const TREE_PEOPLE_MAX: i64 = 500;
/// People of a level on a page.
const LEVEL_PEOPLE: i64 = 100;
/// At the top of the organization, the level below is shown at once if no more than this many stand there.
const OPEN_TOPS_MAX: usize = 5;
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
    /// Whose reports are wanted.
    of: Option<String>,
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
    /// Who stands above the one whose reports are shown, the highest first.
    above: Vec<Card>,
    /// Whether it is one level of a larger tree, and whether that is somebody's.
    is_level: bool,
    is_of_somebody: bool,
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
    pub(super) limits: String,
    /// What it waits for.
    pub(super) waits: Option<Waiting>,
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
    below: Option<Below>,
}

/// The level below somebody.
struct Below {
    /// "12 people report to them".
    text: String,
    href: String,
}

/// One move of the tree's drawing, in order.
enum Turn {
    Person(Card),
    Down,
    Up,
    /// There are more on this level than are shown here.
    More(String),
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
    let fits = |it: &String| !it.is_empty() && it.len() <= ID_LENGTH_MAX;
    let of = wanted.of.filter(fits);
    let wants_tree = wanted.view.as_deref() == Some("organization") || of.is_some();
    let is_tree = wants_tree && q.is_empty();
    let after = wanted.after.filter(fits);
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, organization).await?;
    let closed = closed(&mut tx, &caller).await?;
    let copy = connect::directory_copy(&mut tx, organization, web.app.clock.now()).await?;
    let waits = directory_waits(&web, &mut tx, organization, copy.as_ref()).await?;
    let row = directories::of_organization(&mut tx, organization).await?;
    let (mut found, mut level) = (Vec::new(), Level::default());
    let here = Spot { q: &q, wants_tree, of: of.as_deref() };
    if closed.is_none() && is_tree {
        level = match &of {
            Some(id) => below(&mut tx, &caller, id, after.as_deref()).await?,
            None => organization_tree(&mut tx, organization, after.as_deref()).await?,
        };
    } else if closed.is_none() {
        found = directory_people::search(&mut tx, organization, &q, after.as_deref(), PAGE_PEOPLE + 1).await?;
    }
    drop(tx);
    if let Some(row) = row.filter(|_| closed.is_none()) {
        looks::at_directory(&web.app, &row).await?;
    }
    let more = found.len() > bound(PAGE_PEOPLE);
    found.truncate(bound(PAGE_PEOPLE));
    let next = found.last().filter(|_| more).map(|last| last.google_id.clone()).or(level.next);
    let told = if q.is_empty() { String::new() } else { told(found.len(), more, after.is_some()) };
    html(&DirectoryPage {
        shell: Shell::new(&web, Some(&caller), "directory", "Directory").following(last_seq, closed.is_none()),
        closed,
        state: state_line(copy.as_ref(), waits),
        looked: Looked::of(wanted.looked.as_deref()).map(Looked::said),
        here: here.address(None),
        next: next.map(|last| here.address(Some(&last))),
        wants_tree,
        is_tree,
        people: found.iter().map(card).collect(),
        found: told,
        tree: level.turns,
        above: level.above,
        is_level: level.is_one_of_many,
        is_of_somebody: of.is_some(),
        q,
    })
}

/// What is shown of the tree.
#[derive(Default)]
struct Level {
    turns: Vec<Turn>,
    above: Vec<Card>,
    is_one_of_many: bool,
    /// After whom the next page of it begins.
    next: Option<String>,
}

/// The whole organization where it fits a page; else who stands at the top, and what is below a few of them.
async fn organization_tree(
    tx: &mut Tx,
    organization: &OrganizationId,
    after: Option<&str>,
) -> Result<Level, StoreError> {
    let all = directory_people::search(tx, organization, "", None, TREE_PEOPLE_MAX + 1).await?;
    if all.len() <= bound(TREE_PEOPLE_MAX) {
        return Ok(Level { turns: drawn(&all), ..Level::default() });
    }
    let mut tops = directory_people::tops(tx, organization, after, LEVEL_PEOPLE + 1).await?;
    let next = cut(&mut tops);
    let are_open = tops.len() <= OPEN_TOPS_MAX && next.is_none() && after.is_none();
    let mut turns = Vec::new();
    let cards = cards(tx, organization, &tops).await?;
    for (person, card) in tops.iter().zip(cards) {
        let below = card.below.as_ref().filter(|_| are_open).map(|it| it.href.clone());
        turns.extend([Turn::Person(card), Turn::Down]);
        if let Some(href) = below {
            let mut level = level_of(tx, organization, person, None).await?;
            turns.append(&mut level.turns);
            turns.extend(level.next.map(|_| Turn::More(href)));
        }
        turns.push(Turn::Up);
    }
    Ok(Level { turns, above: Vec::new(), is_one_of_many: true, next })
}

/// A person with those above, and the page of their reports that comes after somebody.
async fn below(tx: &mut Tx, caller: &Caller, id: &str, after: Option<&str>) -> Result<Level, Trouble> {
    let organization = &caller.person.organization_id;
    let person = shown(tx, caller, id).await?.ok_or_else(|| trouble::not_there("person"))?;
    let mut above: Vec<Card> = chain(tx, organization, &person).await?.iter().map(card).collect();
    above.reverse();
    for it in &mut above {
        it.href = Spot { q: "", wants_tree: true, of: Some(&it.id) }.address(None);
    }
    let level = level_of(tx, organization, &person, after).await?;
    let mut turns = vec![Turn::Person(card(&person)), Turn::Down];
    turns.extend(level.turns);
    turns.push(Turn::Up);
    Ok(Level { turns, above, is_one_of_many: true, next: level.next })
}

/// A page of somebody's reports.
async fn level_of(
    tx: &mut Tx,
    organization: &OrganizationId,
    person: &DirectoryPerson,
    after: Option<&str>,
) -> Result<Level, StoreError> {
    let mut reports = directory_people::reports(tx, organization, &person.addresses(), after, LEVEL_PEOPLE + 1).await?;
    let next = cut(&mut reports);
    reports.retain(|it| it.google_id != person.google_id);
    let cards = cards(tx, organization, &reports).await?;
    let turns = cards.into_iter().flat_map(|card| [Turn::Person(card), Turn::Down, Turn::Up]).collect();
    Ok(Level { turns, next, ..Level::default() })
}

/// Leaves as many people of a level as a page has; answers after whom it goes on, if it does.
fn cut(people: &mut Vec<DirectoryPerson>) -> Option<String> {
    let more = people.len() > bound(LEVEL_PEOPLE);
    people.truncate(bound(LEVEL_PEOPLE));
    people.last().filter(|_| more).map(|it| it.google_id.clone())
}

/// These people, each with how many report to them.
async fn cards(
    tx: &mut Tx,
    organization: &OrganizationId,
    people: &[DirectoryPerson],
) -> Result<Vec<Card>, StoreError> {
    let addresses: Vec<&str> = people.iter().flat_map(DirectoryPerson::addresses).collect();
    let counts = directory_people::count_reports(tx, organization, &addresses).await?;
    let card = |person: &DirectoryPerson| {
        let count: i64 = person.addresses().into_iter().filter_map(|it| counts.get(it)).sum();
        let href = Spot { q: "", wants_tree: true, of: Some(&person.google_id) }.address(None);
        let verb = if count == 1 { "reports" } else { "report" };
        let text = format!("{} {verb} to them", counted(count, "person", "people"));
        Card { below: Some(Below { text, href }).filter(|_| count > 0), ..card(person) }
    };
    Ok(people.iter().map(card).collect())
}

/// What somebody searches for.
pub(super) fn search_words(q: Option<&str>) -> String {
    q.unwrap_or_default().trim().chars().take(SEARCH_MAX).collect()
}

fn bound(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Where in the directory somebody is: at a search, in the tree, or at the reports of one person.
#[derive(Clone, Copy, Default)]
struct Spot<'a> {
    q: &'a str,
    wants_tree: bool,
    of: Option<&'a str>,
}

impl Spot<'_> {
    /// Its page, from the person on who comes after that one.
    fn address(self, after: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let view = Some("organization").filter(|_| self.wants_tree);
        let q = Some(self.q).filter(|q| !q.is_empty());
        for (name, value) in [("q", q), ("view", view), ("of", self.of), ("after", after)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/directory".to_owned() } else { format!("/directory?{query}") }
    }
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
        below: None,
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
pub(super) fn state_line(copy: Option<&DirectoryCopy>, waits: Option<Waits>) -> StateLine {
    let Some(copy) = copy else {
        return StateLine {
            tone: "busy",
            text: "Starting".to_owned(),
            as_of: None,
            limits: String::new(),
            waits: None,
            every_s: COPYING_EVERY_S,
        };
    };
    let as_of = copy.passed_at.map(When::full);
    let people = counted(copy.people, "person", "people");
    let people = match copy.unreadable {
        0 => people,
        some => format!("{people}, and {} that can’t be read", counted(some, "entry", "entries")),
    };
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
        (None, Some(_)) => (if copy.unreadable == 0 { "good" } else { "busy" }, people, LOOKING_EVERY_S),
    };
    let of_view = match copy.view {
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
    let of_unreadable = match copy.unreadable {
        _ if copy.passed_at.is_none() => "",
        0 => "",
        _ => {
            "Whoever can’t be read stays as they were when they could be, and is missing here if they are new; Intail \
             tries again each time it looks."
        }
    };
    let limits = [of_unreadable, of_view].into_iter().filter(|it| !it.is_empty()).collect::<Vec<&str>>().join(" ");
    let waits = waits.map(|it| Waiting::of(it, Stream::Directory, copy.paused_why.as_deref()));
    // Nothing changes every few seconds until then.
    let every_s = if waits.is_some() { every_s.max(LOOKING_EVERY_S) } else { every_s };
    StateLine { tone, text, as_of, limits, waits, every_s }
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
    /// Where the others are.
    more_reports: Option<String>,
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
pub(super) async fn person(
    State(web): State<Web>,
    caller: Caller,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Trouble> {
    let organization = &caller.person.organization_id;
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, organization).await?;
    let person = shown(&mut tx, &caller, &id).await?.ok_or_else(|| trouble::not_there("person"))?;
    let managers = chain(&mut tx, organization, &person).await?;
    let addresses = person.addresses();
    let mut reports = directory_people::reports(&mut tx, organization, &addresses, None, REPORTS_MAX + 1).await?;
    let grant = grants::by_person(&mut tx, &caller.person.id).await?;
    let mailbox = mailboxes::by_person(&mut tx, &caller.person.id).await?;
    let is_self = grant.as_ref().is_some_and(|it| it.google_subject == person.google_id);
    let row = directories::of_organization(&mut tx, organization).await?;
    let mail = match mailbox.filter(|_| !is_self) {
        Some(mailbox) => {
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
        Some(grant) => {
            let zone = session::zone(&web, &headers);
            Meetings::of(&mut tx, &caller, &grant, &person.addresses(), zone.as_deref(), web.app.clock.now()).await?
        }
        None => None,
    };
    drop(tx);
    if let Some(row) = row {
        looks::at_directory(&web.app, &row).await?;
    }
    let more = reports.len() > bound(REPORTS_MAX);
    reports.truncate(bound(REPORTS_MAX));
    let level = Spot { q: "", wants_tree: true, of: Some(&person.google_id) };
    let more_reports = reports.last().filter(|_| more).map(|last| level.address(Some(&last.google_id)));
    reports.retain(|it| it.google_id != person.google_id);
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
            Turn::More(_) => "…".to_owned(),
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
        assert_eq!(Spot::default().address(None), "/directory");
        let spot = Spot { q: "kö fi", wants_tree: true, of: None };
        assert_eq!(spot.address(Some("7")), "/directory?q=k%C3%B6+fi&view=organization&after=7");
        let spot = Spot { q: "", of: Some("1&2"), ..spot };
        assert_eq!(spot.address(None), "/directory?view=organization&of=1%262");
        let said = [(0, false, false), (1, false, false), (12, false, false), (50, true, false), (1, false, true)];
        let said = said.map(|(found, more, is_later)| told(found, more, is_later));
        let words = ["Nobody fits", "1 person fits", "12 people fit", "More than 50 people fit", "1 other person fits"];
        assert_eq!(said, words);
    }

    #[test]
    fn how_many_entries_can_not_be_read_is_said_beside_the_people() {
        let copy = |unreadable: i64| DirectoryCopy {
            view: Some(View::Public),
            passed_at: Some(from_us(0)),
            people: 57,
            seen: 57,
            unreadable,
            problem: None,
            problem_since: None,
            standstill: None,
            paused_until: None,
            paused_why: None,
        };
        let whole = state_line(Some(&copy(0)), None);
        assert_eq!((whole.tone, whole.text.as_str()), ("good", "57 people"));
        assert!(whole.limits.starts_with("Read as everybody"), "{}", whole.limits);
        for (unreadable, said) in [(1, "1 entry"), (1_200, "1,200 entries")] {
            let line = state_line(Some(&copy(unreadable)), None);
            assert_eq!((line.tone, line.text), ("busy", format!("57 people, and {said} that can’t be read")));
            assert!(line.limits.starts_with("Whoever can’t be read stays as they were"), "{}", line.limits);
            assert!(line.limits.ends_with(&whole.limits) && line.every_s == LOOKING_EVERY_S, "{}", line.limits);
        }
        let ended = state_line(Some(&DirectoryCopy { problem: Some("no_directory".to_owned()), ..copy(2) }), None);
        assert!(ended.text.contains("2 entries") && ended.tone == "act", "{}", ended.text);
        let first = state_line(Some(&DirectoryCopy { passed_at: None, ..copy(2) }), None);
        assert!(first.limits.is_empty() && first.text.starts_with("Copying"), "{}", first.text);
    }

    #[test]
    fn initials_come_from_any_script() {
        let of = ["Inês Pradoazul", "雪乃 青嶺", "x", "", "Anna von Tee", "ßa"].map(initials);
        assert_eq!(of, ["IP", "雪青", "X", "", "AT", "SS"]);
    }
}

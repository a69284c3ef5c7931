//! Settings → Privacy, and the administrator's floor: what may be kept of people's mail, with a preview on the reader's
//! own last messages before anything is saved.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::Web;
use super::access::Caller;
use super::asked::{Asked, Sent};
use super::page::{Shell, html};
use super::trouble::{self, Trouble};
use super::words::{LabelNames, SHOWN_MAX, When, clip, counted, from_ms, grouped, label_rank, sender, subject};
use crate::id::OrganizationId;
use crate::org::audit::{self, Actor, Entry, Origin};
use crate::org::privacy::{self as policy, LABELS_MAX, PARTIES_MAX, Reason, SYSTEM_LABELS};
use crate::store::agendas::{self, Agenda};
use crate::store::exclusions::{self, Count};
use crate::store::labels::{self, Label, LabelKind};
use crate::store::mailboxes::{self, Mailbox};
use crate::store::messages::{self, SubjectForm};
use crate::store::people::{Person, Role};
use crate::store::privacy::{self, Policy, Work};
use crate::store::{StoreError, Tx, changes};

/// Messages that the preview is shown on.
const PREVIEWED: i64 = 20;
/// Mailboxes that are looked at for whether what is stored of them follows the floor: a page may take so long.
const FOLLOWING_MAX: i64 = 1_000;
/// How often a page looks again while what is stored is brought in line.
const CATCHING_UP_EVERY_S: u32 = 2;

/// Everything that decides what may be kept of a person's mail, and how far it is applied.
pub(super) struct Standing {
    pub(super) floor: Policy,
    pub(super) own: Policy,
    work: Work,
    mailbox: Option<Mailbox>,
    agenda: Option<Agenda>,
    labels: Vec<Label>,
    key_sealed: Option<String>,
    /// Messages that are left out.
    pub(super) left_out: Count,
    /// Stored messages without their subject.
    pub(super) hashed: i64,
    pub(super) dropped: i64,
}

impl Standing {
    pub(super) async fn of(tx: &mut Tx, person: &Person) -> Result<Self, StoreError> {
        let mut standing = Self {
            floor: privacy::floor(tx, &person.organization_id).await?,
            own: privacy::choice(tx, &person.id).await?,
            work: Work::default(),
            mailbox: mailboxes::by_person(tx, &person.id).await?,
            agenda: agendas::by_person(tx, &person.id).await?,
            labels: Vec::new(),
            key_sealed: privacy::key(tx, &person.organization_id).await?,
            left_out: Count::default(),
            hashed: 0,
            dropped: 0,
        };
        if let Some(mailbox) = &standing.mailbox {
            standing.work = privacy::of_mailbox(tx, &mailbox.id).await?.work;
            standing.labels = labels::list(tx, &mailbox.id).await?;
            standing.left_out = exclusions::count(tx, &mailbox.id).await?;
            (standing.hashed, standing.dropped) = messages::count_hidden(tx, &mailbox.id).await?;
        }
        Ok(standing)
    }

    /// What counts: the stricter of both.
    pub(super) fn effective(&self) -> Policy {
        policy::strictest(&self.floor, &self.own)
    }

    fn rules(&self) -> Policy {
        // What is kept of calendars says nothing about mail.
        policy::for_mailbox(&Policy { busy_only: false, ..self.effective() }, &self.labels)
    }

    /// Whether everything that is stored follows it.
    pub(super) fn is_applied(&self) -> bool {
        let mail = self.mailbox.is_none() || (self.work.target.is_none() && self.work.applied == self.rules());
        mail && self.agenda.as_ref().is_none_or(|it| it.busy_only == self.effective().busy_only)
    }

    /// Stored messages whose subject may be kept in a plainer form than it is.
    fn cut(&self) -> i64 {
        match self.effective().subject {
            SubjectForm::Plain => self.hashed + self.dropped,
            SubjectForm::Hashed => self.dropped,
            SubjectForm::Dropped => 0,
        }
    }

    /// Messages that would be read again.
    fn to_read_again(&self) -> i64 {
        let looser = self.work.looser;
        let parts = [
            (looser.labels, self.left_out.by_label),
            (looser.parties, self.left_out.all - self.left_out.by_label),
            (looser.subject, self.cut()),
        ];
        parts.into_iter().filter(|(is_looser, _)| *is_looser).map(|(_, count)| count).sum()
    }
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    subject: String,
    #[serde(default)]
    label: Vec<String>,
    #[serde(default)]
    parties: String,
    #[serde(default)]
    label_names: String,
    /// There when its box is ticked.
    busy_only: Option<String>,
}

/// What was done a moment ago.
#[derive(Deserialize)]
pub(super) struct Opened {
    done: Option<String>,
}

/// The form, as it is shown.
struct FormShown {
    /// Whether the reader may change anything.
    may_change: bool,
    action: &'static str,
    preview_action: &'static str,
    subjects: Vec<SubjectChoice>,
    labels: Vec<LabelChoice>,
    parties: String,
    /// Only the floor names labels of other people.
    label_names: Option<String>,
    parties_max: usize,
    complaints: Vec<String>,
    /// Whether only the times of private events are kept, and whether the organization wants that already.
    busy_only: bool,
    busy_only_by_floor: bool,
    floor_parties: Vec<String>,
    floor_label_names: Vec<String>,
}

struct SubjectChoice {
    value: &'static str,
    title: &'static str,
    meaning: &'static str,
    chosen: bool,
    overruled: bool,
}

struct LabelChoice {
    id: String,
    name: String,
    chosen: bool,
    by_floor: bool,
}

/// What the settings in the form would do.
struct Preview {
    summary: String,
    covers_own: Option<String>,
    rows: Vec<Previewed>,
}

struct Previewed {
    sender: String,
    subject: String,
    at: When,
    tone: &'static str,
    outcome: String,
}

/// How far the settings are applied.
struct Applied {
    every_s: u32,
    left_out: Option<String>,
    hidden: Option<String>,
    again: Option<Again>,
    rereading: bool,
    connected: bool,
}

/// What reading again would cost.
struct Again {
    messages: String,
    units: String,
    minutes: String,
}

#[derive(Template)]
#[template(path = "privacy.html")]
struct PrivacyPage {
    shell: Shell,
    saved: bool,
    asked_again: bool,
    has_floor: bool,
    form: FormShown,
    preview: Preview,
    applied: Applied,
}

/// How far what is stored of everybody follows the floor: counts, and nothing of whose.
struct Following {
    /// How many mailboxes don't follow it yet; none when all do.
    behind: Option<String>,
    /// How many mailboxes were looked at.
    mailboxes: String,
    /// Whether there are more than were looked at.
    more: bool,
    /// Of how many people's calendars more is kept of private events than the floor lets.
    private: Option<String>,
}

impl Following {
    /// None while there is nothing to follow, or nothing that is stored.
    async fn of(tx: &mut Tx, organization: &OrganizationId, floor: &Policy) -> Result<Option<Self>, StoreError> {
        // What is kept of calendars says nothing about mail.
        let of_mail = Policy { busy_only: false, ..floor.clone() };
        let mut applied = privacy::applied(tx, organization, FOLLOWING_MAX + 1).await?;
        let looked_at = usize::try_from(FOLLOWING_MAX).unwrap_or(usize::MAX);
        let more = applied.len() > looked_at;
        applied.truncate(looked_at);
        let mut behind = 0;
        for (mailbox, applied) in &applied {
            let labels = match of_mail.label_names.is_empty() {
                true => Vec::new(),
                false => labels::list(tx, mailbox).await?,
            };
            let rules = policy::for_mailbox(&of_mail, &labels);
            let follows = policy::is_as_strict(&Policy { busy_only: false, ..applied.clone() }, &rules);
            behind += i64::from(!follows);
        }
        let (calendars, plain) = privacy::count_of_private_events(tx, organization).await?;
        if *floor == Policy::default() || (applied.is_empty() && calendars == 0) {
            return Ok(None);
        }
        Ok(Some(Self {
            behind: (behind > 0).then(|| grouped(behind)),
            mailboxes: counted(i64::try_from(applied.len()).unwrap_or(i64::MAX), "mailbox", "mailboxes"),
            more,
            private: (floor.busy_only && plain > 0).then(|| counted(plain, "person", "people")),
        }))
    }
}

#[derive(Template)]
#[template(path = "privacy_floor.html")]
struct FloorPage {
    shell: Shell,
    saved: bool,
    following: Option<Following>,
    form: FormShown,
    preview: Preview,
}

/// Whose setting a page is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Floor,
}

/// `GET /settings/privacy`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(opened): Asked<Opened>,
) -> Result<Response, Trouble> {
    show(&web, &caller, Whose::Own, None, opened.done.as_deref()).await
}

/// `POST /settings/privacy/preview`
pub(super) async fn preview(
    State(web): State<Web>,
    caller: Caller,
    Sent(wanted): Sent<Wanted>,
) -> Result<Response, Trouble> {
    show(&web, &caller, Whose::Own, Some(wanted), None).await
}

/// `POST /settings/privacy`
pub(super) async fn choose(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Sent(wanted): Sent<Wanted>,
) -> Result<Response, Trouble> {
    let (app, person) = (&web.app, &caller.person);
    let mut tx = app.store.write().await?;
    let standing = Standing::of(&mut tx, person).await?;
    let (choice, complaints) = read(&wanted, &standing, Whose::Own);
    if !complaints.is_empty() {
        drop(tx);
        return refused(show(&web, &caller, Whose::Own, Some(wanted), None).await?);
    }
    if choice != standing.own {
        let now = app.clock.now();
        let saved = policy::choose(&mut tx, person, &choice, &app.keyring, &app.random, now).await;
        saved.map_err(trouble::unexpected)?;
        // What people choose for themselves is nobody else's business.
        let entry = Entry {
            organization: &person.organization_id,
            actor: Actor::Person(person.id.clone()),
            action: "privacy.chosen",
            about: person.id.as_str(),
            origin,
            detail: json!({}),
        };
        audit::record(&mut tx, entry, now).await?;
        tx.commit().await?;
        app.due.ring();
    }
    Ok(Redirect::to("/settings/privacy?done=saved").into_response())
}

/// `POST /settings/privacy/again`: reads again what looser settings let in. Asked twice, it is done once.
pub(super) async fn read_again(State(web): State<Web>, caller: Caller, origin: Origin) -> Result<Response, Trouble> {
    let now = web.app.clock.now();
    let mut tx = web.app.store.write().await?;
    if let Some(mailbox) = mailboxes::by_person(&mut tx, &caller.person.id).await?
        && privacy::ask_again(&mut tx, &mailbox.id).await?
    {
        mailboxes::due_of_person(&mut tx, &caller.person.id, now).await?;
        let entry = Entry {
            organization: &caller.person.organization_id,
            actor: Actor::Person(caller.person.id.clone()),
            action: "privacy.read_again",
            about: caller.person.id.as_str(),
            origin,
            detail: json!({}),
        };
        audit::record(&mut tx, entry, now).await?;
        tx.commit().await?;
        web.app.due.ring();
    }
    Ok(Redirect::to("/settings/privacy?done=again").into_response())
}

/// `GET /admin/privacy`
pub(super) async fn floor_page(
    State(web): State<Web>,
    caller: Caller,
    Asked(opened): Asked<Opened>,
) -> Result<Response, Trouble> {
    show(&web, &caller, Whose::Floor, None, opened.done.as_deref()).await
}

/// `POST /admin/privacy/preview`
pub(super) async fn preview_floor(
    State(web): State<Web>,
    caller: Caller,
    Sent(wanted): Sent<Wanted>,
) -> Result<Response, Trouble> {
    show(&web, &caller, Whose::Floor, Some(wanted), None).await
}

/// `POST /admin/privacy`
pub(super) async fn set_floor(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Sent(wanted): Sent<Wanted>,
) -> Result<Response, Trouble> {
    let (app, organization) = (&web.app, &caller.person.organization_id);
    let mut tx = app.store.write().await?;
    let standing = Standing::of(&mut tx, &caller.person).await?;
    let (floor, complaints) = read(&wanted, &standing, Whose::Floor);
    if !complaints.is_empty() {
        drop(tx);
        return refused(show(&web, &caller, Whose::Floor, Some(wanted), None).await?);
    }
    if floor != standing.floor {
        let now = app.clock.now();
        let saved = policy::set_floor(&mut tx, organization, &floor, &app.keyring, &app.random, now).await;
        saved.map_err(trouble::unexpected)?;
        let entry = Entry {
            organization,
            actor: Actor::Person(caller.person.id.clone()),
            action: "policy.changed",
            about: organization.as_str(),
            origin,
            detail: difference(&standing.floor, &floor),
        };
        audit::record(&mut tx, entry, now).await?;
        tx.commit().await?;
        app.due.ring();
    }
    Ok(Redirect::to("/admin/privacy?done=saved").into_response())
}

/// A policy as the audit log tells of it: nobody's address.
fn in_numbers(policy: &Policy) -> Json {
    json!({
        "subject": policy.subject.word(),
        "labels": policy.labels.len() + policy.label_names.len(),
        "addresses": policy.addresses.len(),
        "domains": policy.domains.len(),
        "busy_only": policy.busy_only,
    })
}

/// Domains and Google's own labels that an entry of the audit log names, each way; of the rest it says how many.
const NAMED_MAX: usize = 8;
/// The longest domain that is named so: a longer one is counted only, because an entry has little room.
const NAMED_LENGTH_MAX: usize = 60;

/// What differs between two floors, as the audit log tells of it. Domains and Google's own labels are named; addresses
/// and names of labels are somebody's, and only counted.
fn difference(from: &Policy, to: &Policy) -> Json {
    json!({
        "policy": "privacy",
        "old": in_numbers(from),
        "new": in_numbers(to),
        "added": beyond(from, to),
        "removed": beyond(to, from),
    })
}

/// What is in `policy` and not in `before`.
fn beyond(before: &Policy, policy: &Policy) -> Json {
    let named = |of: fn(&Policy) -> &BTreeSet<String>| {
        let all: Vec<&String> = of(policy).difference(of(before)).collect();
        let fits = |it: &&&String| it.len() <= NAMED_LENGTH_MAX;
        let named: Vec<&&String> = all.iter().filter(fits).take(NAMED_MAX).collect();
        json!({"count": all.len(), "named": named})
    };
    json!({
        "domains": named(|it| &it.domains),
        "labels": named(|it| &it.labels),
        "label_names": policy.label_names.difference(&before.label_names).count(),
        "addresses": policy.addresses.difference(&before.addresses).count(),
    })
}

/// The form again, with what is wrong with it.
fn refused(page: Response) -> Result<Response, Trouble> {
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Reads the form: what of it can be read, and what is wrong with the rest.
fn read(wanted: &Wanted, standing: &Standing, whose: Whose) -> (Policy, Vec<String>) {
    let can_be_left_out = |id: &&String| is_offered(standing, whose, id);
    let subject = wanted.subject.parse::<SubjectForm>();
    let mut read = Policy {
        subject: *subject.as_ref().unwrap_or(&SubjectForm::Dropped),
        labels: wanted.label.iter().filter(can_be_left_out).take(LABELS_MAX).cloned().collect(),
        busy_only: wanted.busy_only.is_some(),
        ..Policy::default()
    };
    let mut complaints = policy::read_parties(&wanted.parties, &mut read).err().unwrap_or_default();
    // Nothing chosen isn't "kept": a form that lost its choice on the way must not loosen anything.
    if subject.is_err() {
        complaints.push("Choose how subjects are kept.".to_owned());
    }
    if whose == Whose::Floor {
        let of_labels = policy::read_label_names(&wanted.label_names, &mut read).err().unwrap_or_default();
        complaints.extend(of_labels.into_iter().map(|it| format!("Names of labels: {it}")));
    }
    (read, complaints)
}

fn is_offered(standing: &Standing, whose: Whose, id: &str) -> bool {
    let own = |label: &Label| label.kind == LabelKind::User && label.id == id;
    // What was chosen before stays a choice while the label can't be seen, as before the next connection.
    let is_own = || standing.labels.iter().any(own) || standing.own.labels.contains(id);
    SYSTEM_LABELS.contains(&id) || (whose == Whose::Own && is_own())
}

async fn show(
    web: &Web,
    caller: &Caller,
    whose: Whose,
    wanted: Option<Wanted>,
    done: Option<&str>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, &caller.person.organization_id).await?;
    let standing = Standing::of(&mut tx, &caller.person).await?;
    let set = if whose == Whose::Own { &standing.own } else { &standing.floor };
    let (candidate, complaints) = match &wanted {
        None => (set.clone(), Vec::new()),
        Some(wanted) => read(wanted, &standing, whose),
    };
    let counts = match whose {
        Whose::Own => policy::strictest(&standing.floor, &candidate),
        Whose::Floor => policy::strictest(&candidate, &standing.own),
    };
    let preview = previewed(web, &mut tx, caller, &standing, &counts).await?;
    let following = match whose {
        Whose::Own => None,
        Whose::Floor => Following::of(&mut tx, &caller.person.organization_id, &standing.floor).await?,
    };
    drop(tx);
    let mut form = form(&standing, &candidate, whose, complaints);
    form.may_change = whose == Whose::Own || caller.person.role == Role::Administrator;
    if let Some(wanted) = wanted {
        // As it was typed, with the lines that the sentences speak of.
        form.parties = wanted.parties;
        form.label_names = form.label_names.map(|_| wanted.label_names);
    }
    let saved = done == Some("saved");
    if whose == Whose::Floor {
        let shell = Shell::new(web, Some(caller), "administration", "What may be kept");
        return html(&FloorPage { shell, saved, following, form, preview });
    }
    let shell = Shell::new(web, Some(caller), "privacy", "Privacy");
    html(&PrivacyPage {
        shell: shell.following(last_seq, standing.mailbox.is_some()),
        saved,
        asked_again: done == Some("again"),
        has_floor: standing.floor != Policy::default(),
        form,
        preview,
        applied: applied(web, &standing),
    })
}

fn form(standing: &Standing, candidate: &Policy, whose: Whose, complaints: Vec<String>) -> FormShown {
    let nothing = Policy::default();
    let floor = if whose == Whose::Own { &standing.floor } else { &nothing };
    let subjects = [
        (SubjectForm::Plain, "Kept", "As Google shows it."),
        (
            SubjectForm::Hashed,
            "Hidden",
            "A short tag stands in its place. Messages with the same subject have the same tag, and nobody can read \
             the subject from it.",
        ),
        (SubjectForm::Dropped, "Not kept", "Nothing of the subject is stored."),
    ];
    let names = LabelNames::of(&standing.labels);
    let mut offered: Vec<Label> = SYSTEM_LABELS
        .iter()
        .map(|id| Label { id: (*id).to_owned(), name: (*id).to_owned(), kind: LabelKind::System })
        .collect();
    if whose == Whose::Own {
        offered.extend(standing.labels.iter().filter(|it| it.kind == LabelKind::User).cloned());
        let unseen = candidate.labels.iter().filter(|id| offered.iter().all(|it| it.id != **id));
        let unseen: Vec<Label> = unseen
            .map(|id| Label { id: id.clone(), name: format!("{id} (not in Gmail now)"), kind: LabelKind::User })
            .collect();
        offered.extend(unseen);
    }
    offered.sort_by_key(label_rank);
    let of_floor = policy::for_mailbox(floor, &standing.labels);
    let lines = |list: &BTreeSet<String>, more: &BTreeSet<String>| {
        list.iter().chain(more).map(|it| format!("{it}\n")).collect::<String>()
    };
    FormShown {
        busy_only: candidate.busy_only,
        busy_only_by_floor: floor.busy_only,
        may_change: true,
        action: if whose == Whose::Own { "/settings/privacy" } else { "/admin/privacy" },
        preview_action: if whose == Whose::Own { "/settings/privacy/preview" } else { "/admin/privacy/preview" },
        subjects: subjects
            .into_iter()
            .map(|(form, title, meaning)| SubjectChoice {
                value: form.word(),
                title,
                meaning,
                chosen: form == candidate.subject,
                overruled: form < floor.subject,
            })
            .collect(),
        labels: offered
            .into_iter()
            .map(|label| LabelChoice {
                name: match label.kind {
                    LabelKind::System => names.name(&label.id),
                    LabelKind::User => clip(&label.name, SHOWN_MAX),
                },
                chosen: candidate.labels.contains(&label.id),
                by_floor: of_floor.labels.contains(&label.id),
                id: label.id,
            })
            .collect(),
        parties: lines(&candidate.addresses, &candidate.domains),
        label_names: (whose == Whose::Floor).then(|| lines(&candidate.label_names, &nothing.label_names)),
        parties_max: PARTIES_MAX,
        complaints,
        floor_parties: floor.addresses.iter().chain(&floor.domains).cloned().collect(),
        floor_label_names: floor.label_names.iter().cloned().collect(),
    }
}

/// What `counts` would do to the reader's own last messages.
async fn previewed(
    web: &Web,
    tx: &mut Tx,
    caller: &Caller,
    standing: &Standing,
    counts: &Policy,
) -> Result<Preview, StoreError> {
    let Some(mailbox) = &standing.mailbox else {
        let summary = "Nothing of your mail is copied yet, so there is nothing to show it on.".to_owned();
        return Ok(Preview { summary, covers_own: None, rows: Vec::new() });
    };
    let rules = policy::for_mailbox(counts, &standing.labels);
    let organization = &caller.person.organization_id;
    let sealed = standing.key_sealed.as_deref();
    let key = sealed.and_then(|it| policy::open_key(&web.app.keyring, organization, it).ok());
    let names = LabelNames::of(&standing.labels);
    let (mut left_out, mut hidden, mut rows) = (0, 0, Vec::new());
    for message in messages::page(tx, &mailbox.id, None, None, PREVIEWED).await? {
        let (sender, shown, at) = (sender(&message), subject(&message), When::brief(from_ms(message.received_ms)));
        let (tone, outcome) = match policy::left_out(&rules, &message) {
            Some(reason) => {
                left_out += 1;
                ("act", left_out_because(&reason, &names))
            }
            None if rules.subject <= message.subject_form => ("good", "Kept as it is".to_owned()),
            None if rules.subject == SubjectForm::Dropped => {
                hidden += 1;
                ("busy", "Kept without its subject".to_owned())
            }
            None => {
                hidden += 1;
                let kept = key.as_ref().map(|key| subject(&policy::as_kept(&rules, Some(key), message)));
                ("busy", kept.map_or_else(|| "Kept, subject hidden".to_owned(), |it| format!("Kept, subject {it}")))
            }
        };
        rows.push(Previewed { sender, subject: shown, at, tone, outcome });
    }
    let all = rows.len();
    let summary = match (all, left_out, hidden) {
        (0, ..) => "No message of yours is stored, so there is nothing to show it on.".to_owned(),
        (_, 0, 0) => format!("Of your last {all} stored messages, all would be kept as they are."),
        (_, left_out, hidden) => format!(
            "Of your last {all} stored messages, {left_out} would be left out and {hidden} kept without their subject."
        ),
    };
    let covers_own = policy::covers(&rules, &mailbox.email).then(|| mailbox.email.clone());
    Ok(Preview { summary, covers_own, rows })
}

fn left_out_because(reason: &Reason, names: &LabelNames) -> String {
    match reason {
        Reason::Party(party) => format!("Left out: {}", clip(party, SHOWN_MAX)),
        Reason::Unknowable => "Left out: too many recipients to know them all".to_owned(),
        Reason::Label(id) => format!("Left out: label {}", names.name(id)),
    }
}

fn applied(web: &Web, standing: &Standing) -> Applied {
    let is_done = standing.is_applied() && !standing.work.rereading;
    let hidden = standing.hashed + standing.dropped;
    let to_read = standing.to_read_again();
    let quota = &web.app.config.quota;
    let units = i64::from(quota.units("gmail.messages.get")).saturating_mul(to_read);
    let minute = i64::try_from(quota.limits.person_minute).unwrap_or(i64::MAX).max(1);
    Applied {
        every_s: if is_done { 0 } else { CATCHING_UP_EVERY_S },
        left_out: (standing.left_out.all > 0).then(|| counted(standing.left_out.all, "message", "messages")),
        hidden: (hidden > 0).then(|| counted(hidden, "message", "messages")),
        again: (is_done && to_read > 0).then(|| Again {
            messages: counted(to_read, "message", "messages"),
            units: grouped(units),
            minutes: counted(units / minute + i64::from(units % minute > 0), "minute", "minutes"),
        }),
        rereading: standing.work.rereading,
        connected: standing.mailbox.is_some(),
    }
}

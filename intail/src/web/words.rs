//! Numbers, instants, labels and reasons in words that people understand. Text that strangers wrote is only ever
//! clipped here; templates escape it.

use std::collections::BTreeMap;
use std::fmt;

use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use crate::clock::from_us;
use crate::store::changes::Change;
use crate::store::events::{Event, Moment};
use crate::store::grants::{Grant, GrantState};
use crate::store::labels::{Label, LabelKind};
use crate::store::messages::{Message, SubjectForm};

/// The longest text of a stranger's that a page shows in one place, in characters.
pub(super) const SHOWN_MAX: usize = 300;
/// The longest label name that a page shows, in characters.
const LABEL_SHOWN_MAX: usize = 60;

/// How long after it came a message counts as news.
const NEWS_FOR: SignedDuration = SignedDuration::from_mins(30);

/// The longest subject inside a sentence, in characters.
const ABOUT_MAX: usize = 120;

/// An instant in a page: UTC words that the page's script turns into the reader's own zone and language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    at: Timestamp,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Full,
    Day,
    Brief,
}

impl When {
    /// Day and time.
    pub(super) fn full(at: Timestamp) -> Self {
        Self { at, style: Style::Full }
    }
    /// The day alone.
    pub(super) fn day(at: Timestamp) -> Self {
        Self { at, style: Style::Day }
    }
    /// The day in plain text, for what isn't a page.
    pub(super) fn plain(self) -> String {
        self.at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string()
    }
    /// As short as a list allows: the time today, else the day.
    pub(super) fn brief(at: Timestamp) -> Self {
        Self { at, style: Style::Brief }
    }
}

/// The instant of Gmail's milliseconds.
pub(super) fn from_ms(ms: i64) -> Timestamp {
    from_us(ms.saturating_mul(1000))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = self.at.to_zoned(TimeZone::UTC);
        let (style, words) = match self.style {
            Style::Full => ("full", utc.strftime("%-d %b %Y, %H:%M UTC")),
            Style::Day => ("day", utc.strftime("%-d %b %Y")),
            Style::Brief => ("brief", utc.strftime("%-d %b %Y")),
        };
        write!(f, "<time datetime=\"{}\" data-style=\"{style}\">{words}</time>", utc.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// Digits, letters of months and our own tags only.
impl HtmlSafe for When {}

/// A number with its thousands apart: 12,345.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 message", "2 messages".
pub(super) fn counted(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A size: 900 B, 14 KB, 2.3 MB.
pub(super) fn size(bytes: i64) -> String {
    match bytes {
        ..1_000 => format!("{} B", bytes.max(0)),
        1_000..1_000_000 => format!("{} KB", (bytes + 500) / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// A text, cut after so many characters. Control characters become spaces, and the marks that turn the direction of
/// what follows go: they could reorder or hide what stands beside them.
pub(super) fn clip(text: &str, characters_max: usize) -> String {
    let harmless = |it: &char| !matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut kept = text.chars().filter(harmless).map(|it| if it.is_control() { ' ' } else { it });
    let mut shown: String = kept.by_ref().take(characters_max).collect();
    if kept.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Characters of a hidden subject's tag that pages show: enough to see which are equal.
const TAG_SHOWN: usize = 6;

/// A subject as pages show it.
pub(super) fn subject(message: &Message) -> String {
    match message.subject_form {
        SubjectForm::Plain => {}
        SubjectForm::Hashed => {
            return format!("hidden · {}", message.subject.chars().take(TAG_SHOWN).collect::<String>());
        }
        SubjectForm::Dropped => return "(subject not kept)".to_owned(),
    }
    match clip(&message.subject, SHOWN_MAX).trim() {
        "" => "(no subject)".to_owned(),
        subject => subject.to_owned(),
    }
}

/// Why Google doesn't tell of a calendar's changes, as the end of a sentence.
pub(super) fn channel_hindrance(problem: &str) -> &'static str {
    match problem {
        "pushNotSupportedForRequestedResource" => "Google tells nobody of changes in such calendars",
        "push.webhookUrlUnauthorized" => {
            "Google doesn’t accept this Intail’s address for notices; whoever runs Intail finds in the operating guide \
             what to do"
        }
        "push.webhookUrlNotHttps" => "this Intail has no public https address, which Google needs to tell of changes",
        "transient" | "not_understood" => "Google couldn’t be asked to tell of changes; that is tried again",
        _ => "Google said no to telling of changes; that is tried again twice a day",
    }
}

/// A sender as pages show it: the name, or else the address.
pub(super) fn sender(message: &Message) -> String {
    let known = [&message.sender_name, &message.sender_address].into_iter().find(|it| !it.trim().is_empty());
    known.map_or_else(|| "(no sender)".to_owned(), |it| clip(it.trim(), SHOWN_MAX))
}

/// Gmail's own labels as Gmail's pages call them, in the order in which people look for them.
const SYSTEM_LABELS: &[(&str, &str)] = &[
    ("INBOX", "Inbox"),
    ("STARRED", "Starred"),
    ("IMPORTANT", "Important"),
    ("SENT", "Sent"),
    ("DRAFT", "Drafts"),
    ("UNREAD", "Unread"),
    ("SPAM", "Spam"),
    ("TRASH", "Trash"),
    ("CHAT", "Chats"),
    ("CATEGORY_PERSONAL", "Primary"),
    ("CATEGORY_SOCIAL", "Social"),
    ("CATEGORY_PROMOTIONS", "Promotions"),
    ("CATEGORY_UPDATES", "Updates"),
    ("CATEGORY_FORUMS", "Forums"),
];

/// The names of a mailbox's labels.
pub(super) struct LabelNames(BTreeMap<String, String>);

impl LabelNames {
    /// Of these labels.
    pub(super) fn of(labels: &[Label]) -> Self {
        Self(labels.iter().map(|label| (label.id.clone(), label_name(label))).collect())
    }

    /// What people call it; the id itself when it isn't known yet.
    pub(super) fn name(&self, id: &str) -> String {
        let system = || SYSTEM_LABELS.iter().find(|(known, _)| *known == id).map(|(_, name)| (*name).to_owned());
        self.0.get(id).cloned().or_else(system).unwrap_or_else(|| clip(id, LABEL_SHOWN_MAX))
    }
}

fn label_name(label: &Label) -> String {
    let system = SYSTEM_LABELS.iter().find(|(id, _)| *id == label.id && label.kind == LabelKind::System);
    system.map_or_else(|| clip(&label.name, LABEL_SHOWN_MAX), |(_, name)| (*name).to_owned())
}

/// Where a label stands in a list: Gmail's own first, then the person's by name.
pub(super) fn label_rank(label: &Label) -> (usize, String) {
    let place = SYSTEM_LABELS.iter().position(|(id, _)| *id == label.id && label.kind == LabelKind::System);
    (place.unwrap_or(SYSTEM_LABELS.len()), label.name.to_lowercase())
}

/// A change in words.
pub(super) struct Sentence {
    /// What kind of thing happened, for its sign.
    pub(super) sign: &'static str,
    /// What happened.
    pub(super) text: String,
    /// What it happened to, in a stranger's words; empty when there is nothing to add.
    pub(super) about: String,
    /// The thread to look at.
    pub(super) thread_id: Option<String>,
}

/// What a change says; `series` is what the event that it is about is an occurrence of.
pub(super) fn sentence(change: &Change, names: &LabelNames, series: Option<&Event>) -> Sentence {
    let about = change.message.as_ref().map_or_else(String::new, |it| clip(&subject(it), ABOUT_MAX));
    let thread_id = change.message.as_ref().map(|it| it.thread_id.clone());
    let told = |sign, text: String| Sentence { sign, text, about: about.clone(), thread_id: thread_id.clone() };
    match change.kind.as_str() {
        "message.added" => match &change.message {
            Some(message) if message.labels.iter().any(|it| it == "DRAFT") => told("added", "Draft saved".to_owned()),
            Some(message) if is_old(message, change.at) && message.labels.iter().any(|it| it == "SENT") => {
                told("copied", "Copied, sent by you".to_owned())
            }
            Some(message) if is_old(message, change.at) => told("copied", format!("Copied, from {}", sender(message))),
            Some(message) if message.labels.iter().any(|it| it == "SENT") => told("added", "Message sent".to_owned()),
            Some(message) => told("added", format!("New message from {}", sender(message))),
            None => told("added", "A message arrived; it has gone since".to_owned()),
        },
        "message.deleted" if change.data.get("reason").and_then(Json::as_str) == Some("privacy") => {
            told("deleted", "A message was left out, by your privacy settings".to_owned())
        }
        "message.deleted" => told("deleted", "A message was deleted for good".to_owned()),
        "mailbox.connected" => told("mailbox", "Your account was connected".to_owned()),
        "event.added" | "event.changed" if let Some((sign, text)) = occurrence_moved(change, series) => Sentence {
            about: series.map_or_else(|| event_title(change), |it| clip(&it.summary, ABOUT_MAX)),
            ..told(sign, text)
        },
        kind if kind.starts_with("event.") => {
            Sentence { about: event_title(change), ..told(event_sign(kind), event_moved(kind)) }
        }
        kind if kind.starts_with("calendar.") => told("mailbox", calendar_moved(kind, &change.data).to_owned()),
        "agenda.connected" => told("mailbox", "Your calendars were connected".to_owned()),
        "mailbox.erased" => told("mailbox", "What was copied of your mail was erased".to_owned()),
        "agenda.erased" => told("mailbox", "What was copied of your calendars was erased".to_owned()),
        kind if kind.starts_with("message.") => told("moved", labels_moved(&change.data, names)),
        kind if kind.starts_with("label.") => told("moved", label_changed(kind, change, names)),
        "mailbox.watched" => told("mailbox", "Google tells Intail of changes from now on".to_owned()),
        "person.added" => told("copied", format!("In the directory: {}", colleague(change))),
        "person.changed" => told("moved", format!("Changed in the directory: {}", colleague(change))),
        "person.gone" => told("deleted", "Somebody is no longer in the directory".to_owned()),
        _ => told("mailbox", mailbox_moved(&change.data).to_owned()),
    }
}

/// Who a change of the directory is about, as lists call them.
fn colleague(change: &Change) -> String {
    let person = change.directory_person.as_ref();
    let known = person.and_then(|it| [&it.name, &it.address].into_iter().find(|it| !it.is_empty()));
    known.map_or_else(|| "somebody who has gone since".to_owned(), |it| clip(it, ABOUT_MAX))
}

/// A message that came long before it was written down was there before: it is being copied.
fn is_old(message: &Message, written: Timestamp) -> bool {
    written.duration_since(from_ms(message.received_ms)) > NEWS_FOR
}

fn mailbox_moved(data: &Json) -> &'static str {
    match data.get("state").and_then(Json::as_str) {
        Some("suspended") => "Your account is suspended at Google; nothing is read until it isn’t",
        Some("live") => "Your mailbox is copied completely and live",
        Some("reconciling") => "Your mailbox is being compared with Google",
        Some("backfilling") => "Your mailbox is being copied",
        _ => "Your mailbox changed",
    }
}

/// What an event is called; one that may not be seen says so by saying nothing.
fn event_title(change: &Change) -> String {
    change.event.as_ref().map_or_else(String::new, |it| clip(&it.summary, ABOUT_MAX))
}

/// What happened to one occurrence of a series: its row says only how it differs. None of what isn't one.
fn occurrence_moved(change: &Change, series: Option<&Event>) -> Option<(&'static str, String)> {
    let event = change.event.as_ref().filter(|it| it.series_id.is_some())?;
    let zone = |event: &Event| TimeZone::get(&event.zone).ok().filter(|_| !event.zone.is_empty());
    let (name, zone) = match series.and_then(|it| Some((it.zone.as_str(), zone(it)?))) {
        Some(known) => known,
        None => ("UTC", TimeZone::UTC),
    };
    let said = |moment: Moment| match moment {
        Moment::Day(day) => day.strftime("%A %-d %B %Y").to_string(),
        Moment::At(at) => format!("{} {name}", zone.to_datetime(at).strftime("%A %-d %B %Y, %H:%M")),
    };
    let slot = event.original.map_or_else(String::new, |it| format!(" of {}", said(it)));
    Some(match event.starts {
        _ if event.is_cancelled() => ("deleted", format!("The occurrence{slot} doesn’t take place")),
        Some(starts) if Some(starts) != event.original => {
            ("moved", format!("The occurrence{slot} was moved to {}", said(starts)))
        }
        _ => ("moved", format!("The occurrence{slot} differs from the others of its series")),
    })
}

fn event_sign(kind: &str) -> &'static str {
    match kind {
        "event.added" => "added",
        "event.deleted" => "deleted",
        _ => "moved",
    }
}

fn event_moved(kind: &str) -> String {
    let told = match kind {
        "event.added" => "An event is in your calendar",
        "event.deleted" => "An event has gone from your calendar",
        _ => "An event changed",
    };
    told.to_owned()
}

fn calendar_moved(kind: &str, data: &Json) -> &'static str {
    match (kind, data.get("state").and_then(Json::as_str)) {
        ("calendar.deleted", _) => "A calendar left your list; what was copied of it is erased",
        ("calendar.added", _) => "A calendar is in your list",
        (_, Some("backfilling")) => "A calendar is being copied",
        (_, Some("live")) => "A calendar is copied completely and followed",
        (_, Some("reconciling")) => "A calendar is being compared with Google",
        (_, Some("idle")) => "A calendar isn’t copied any more",
        _ => "A calendar changed",
    }
}

fn label_changed(kind: &str, change: &Change, names: &LabelNames) -> String {
    match kind {
        "label.deleted" => "A label was deleted".to_owned(),
        "label.added" => format!("Label {} was made", names.name(&change.subject_id)),
        _ => format!("A label is called {} now", names.name(&change.subject_id)),
    }
}

/// What moved, in the words that mail programs use where labels are how they do it.
fn labels_moved(data: &Json, names: &LabelNames) -> String {
    let ids = |key: &str| -> Vec<&str> {
        data.get(key).and_then(Json::as_array).map_or_else(Vec::new, |it| it.iter().filter_map(Json::as_str).collect())
    };
    let mut words: Vec<String> = Vec::new();
    for id in ids("labels_added") {
        words.push(match id {
            "UNREAD" => "Marked as unread".to_owned(),
            "STARRED" => "Starred".to_owned(),
            "TRASH" => "Moved to Trash".to_owned(),
            "SPAM" => "Reported as spam".to_owned(),
            "INBOX" => "Moved to Inbox".to_owned(),
            id => format!("Label {} added", names.name(id)),
        });
    }
    match data.get("subject_form").and_then(Json::as_str) {
        Some("plain") => words.push("Subject shown again, by your privacy settings".to_owned()),
        Some(_) => words.push("Subject hidden, by your privacy settings".to_owned()),
        None => {}
    }
    let trashed = words.iter().any(|it| it == "Moved to Trash" || it == "Reported as spam");
    for id in ids("labels_removed") {
        match id {
            "UNREAD" => words.push("Marked as read".to_owned()),
            "STARRED" => words.push("Star removed".to_owned()),
            "TRASH" => words.push("Taken out of Trash".to_owned()),
            "SPAM" => words.push("Marked as not spam".to_owned()),
            "INBOX" if trashed => {}
            "INBOX" => words.push("Archived".to_owned()),
            id => words.push(format!("Label {} removed", names.name(id))),
        }
    }
    if words.is_empty() { "A message changed".to_owned() } else { words.join(", ") }
}

/// Why a grant doesn't work, for its person. The words are those of `access::verdict`.
pub(super) fn reason(grant: &Grant) -> &'static str {
    match (grant.state, grant.reason.as_str()) {
        (GrantState::NeedsPerson, "sign_in_again") => {
            "Your organization asks you to confirm to Google that it is still you."
        }
        (GrantState::NeedsPerson, "account_deleted") => "Google says that this account was deleted.",
        (GrantState::NeedsPerson, "advanced_protection") => {
            "Your account is in Google’s Advanced Protection Program, which keeps Intail out."
        }
        (GrantState::NeedsPerson, "permission_missing") => {
            "A permission that Intail needs to read your mail’s headers was taken back at Google."
        }
        (GrantState::NeedsPerson, "wider_scope") => {
            "Google handed Intail more than it may hold, so Intail stopped. Connect again, and it asks for the three \
             permissions only."
        }
        (GrantState::NeedsPerson, "no_refresh_token") => "Google didn’t give Intail a lasting permission.",
        (GrantState::NeedsPerson, _) => {
            "Google no longer accepts what you allowed. That happens when you changed your password, removed \
             Intail in your Google Account, or allowed it for a limited time."
        }
        (GrantState::NeedsAdministrator, "no_mailbox") => {
            "Gmail is switched off for your account, so there is no mail that Intail could follow."
        }
        (GrantState::NeedsAdministrator, "gmail_off_for_apps") => {
            "Your organization has switched Gmail off for applications."
        }
        (GrantState::NeedsAdministrator, _) => {
            "Your organization’s settings at Google no longer let Intail in. Nothing that was copied is lost."
        }
        (GrantState::NeedsOperator, _) => {
            "Google refuses Intail itself, for everybody. Whoever runs Intail has been told; you needn’t do anything."
        }
        _ => "",
    }
}

/// Why something can't be read at the moment, for people. The words are those of `sync::failures`.
pub(super) fn failure(word: &str) -> &'static str {
    match word {
        "transient" => "Google can’t be reached, or answers with errors.",
        "slow_down" => "Google asks Intail to slow down.",
        "token_rejected" => "Google doesn’t take the access that it has just renewed.",
        "refused" => "Google refuses what Intail asks, without a reason that Intail knows.",
        "not_understood" => "Google answers something that Intail can’t read.",
        "no_mailbox" => "Gmail is switched off for your account: ask whoever manages Google Workspace for you.",
        "gmail_off_for_apps" => {
            "Your organization has switched Gmail off for applications: ask whoever manages Google Workspace for you."
        }
        "api_disabled" => "Gmail is switched off for this Intail: whoever runs it can switch it on.",
        "sealed" | "store" => "Something is wrong with Intail itself.",
        _ => "Google gives a reason that Intail doesn’t know.",
    }
}

/// A header's name as people write it: Message-ID, Reply-To.
pub(super) fn header_name(name: &str) -> String {
    let part = |part: &str| match part {
        "id" => "ID".to_owned(),
        "mime" => "MIME".to_owned(),
        part => part.chars().take(1).flat_map(char::to_uppercase).chain(part.chars().skip(1)).collect(),
    };
    clip(name, LABEL_SHOWN_MAX).split('-').map(part).collect::<Vec<String>>().join("-")
}

/// A call to Google in words, for the receipt.
pub(super) fn call(name: &str) -> &'static str {
    match name {
        "gmail.getProfile" => "Asked whether anything has changed",
        "gmail.watch" => "Renewed the request to be told of changes",
        "gmail.stop" => "Asked Google to tell Intail no more",
        "gmail.history.list" => "Asked what changed since the last time",
        "gmail.messages.list" => "Listed messages",
        "gmail.messages.get" => "Read one message’s headers and labels",
        "gmail.threads.get" => "Read a conversation’s headers and labels",
        "gmail.labels.list" => "Listed labels",
        "gmail.labels.get" => "Counted a label’s messages",
        "directory.users.get" => "Asked what of the directory may be read",
        "directory.users.list" => "Listed your organization’s people",
        "oauth.exchange" => "Finished connecting",
        "oauth.refresh" => "Renewed the access that you gave",
        "oauth.revoke" => "Gave the access back",
        "gap" => "Calls that were only counted",
        _ => "Asked Google",
    }
}

/// Why a call was made, in words. The words are those of `org::receipts::purpose`.
pub(super) fn purpose(word: &str) -> &'static str {
    match word {
        "connect" => "You connected",
        "live" => "Something changed",
        "backfill" => "Copying what was there before",
        "repair" => "Comparing everything",
        "watch" => "To be told of changes",
        "check" => "To see whether anything was missed",
        "retry" => "Trying again what failed",
        "audit" => "Counting against Google",
        "token" => "To keep access",
        "leaving" => "You disconnected",
        _ => "Not said",
    }
}

/// A gap in the log of calls, in words.
pub(super) fn gap(kind: &str, count: &str) -> String {
    match kind {
        "not_kept" => format!("{count} calls were made that couldn’t be written down one by one"),
        _ => "A run broke off before this: its last calls may be missing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_sizes_read_well() {
        let texts: Vec<String> = [0, 999, 1_000, 1_234_567, -12_345].into_iter().map(grouped).collect();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567", "-12,345"]);
        let sizes: Vec<String> = [-1, 999, 1_000, 999_499, 2_340_000].into_iter().map(size).collect();
        assert_eq!(sizes, ["0 B", "999 B", "1 KB", "999 KB", "2.3 MB"]);
    }

    #[test]
    fn an_instant_is_a_time_element_in_utc() {
        let at: Timestamp = "2026-11-22T09:05:07Z".parse().expect("an instant");
        assert_eq!(
            When::full(at).to_string(),
            "<time datetime=\"2026-11-22T09:05:07Z\" data-style=\"full\">22 Nov 2026, 09:05 UTC</time>"
        );
        assert!(When::day(from_ms(i64::MAX)).to_string().starts_with("<time "), "no instant breaks a page");
    }

    #[test]
    fn strangers_texts_are_cut_by_characters_and_lose_control_characters() {
        assert_eq!(clip("añb\u{0}\nc", 10), "añb  c");
        assert_eq!(clip("日本語テスト", 3), "日本語…");
        assert_eq!(clip("invoice\u{202e}fdp.exe", 20), "invoicefdp.exe");
    }

    #[test]
    fn moved_labels_read_as_what_the_person_did() {
        let labels = [Label { id: "Label_1".to_owned(), name: "Kunden".to_owned(), kind: LabelKind::User }];
        let names = LabelNames::of(&labels);
        let read = |data: Json| labels_moved(&data, &names);
        assert_eq!(read(json!({"labels_removed": ["INBOX"]})), "Archived");
        assert_eq!(read(json!({"labels_added": ["TRASH"], "labels_removed": ["INBOX"]})), "Moved to Trash");
        assert_eq!(
            read(json!({"labels_added": ["Label_1", "IMPORTANT"]})),
            "Label Kunden added, Label Important added"
        );
        assert_eq!(read(json!({"labels_removed": ["UNREAD"]})), "Marked as read");
        assert_eq!(read(json!({"labels_added": "nonsense"})), "A message changed");
    }
}

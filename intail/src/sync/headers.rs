//! Turns a message as Gmail shows it into the message that is stored. Headers are hostile text: encoded twice,
//! unencoded, megabytes long, full of control characters. Everything is decoded once, cleaned and bounded here, so
//! that nobody behind this file has to.

use std::collections::BTreeMap;

use intail_google::gmail;
use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use crate::id::HistoryId;
use crate::org::privacy::{CUT, PARTIES};
use crate::store::messages::{Message, SubjectForm};

/// Bytes of one header value that are looked at: the longest that mail servers let through is about this.
const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Characters of one decoded value that are kept: more than anybody reads, enough for hundreds of recipients.
const VALUE_CHARS_MAX: usize = 4 * 1024;
/// Values of one name that are kept; repeated headers beyond it are noise.
const VALUES_MAX: usize = 8;
/// Labels of one message. Gmail allows 10,000 labels in a mailbox; nobody puts this many on one message.
const LABELS_MAX: usize = 1_000;
/// Characters of a subject or a sender that are kept.
const LINE_CHARS_MAX: usize = 1_000;

/// The message to store.
pub(super) fn stored(message: gmail::Message) -> Message {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut subject, mut sender) = (None, None);
    for header in &message.headers {
        let name = header.name.to_ascii_lowercase();
        match name.as_str() {
            "subject" if subject.is_none() => subject = Some(text(&header.value, LINE_CHARS_MAX)),
            "from" if sender.is_none() => sender = Some(address(&header.value)),
            _ => {}
        }
        let value = match () {
            () if PARTIES.contains(&name.as_str()) => addresses(&header.value),
            () => text(&header.value, VALUE_CHARS_MAX),
        };
        let is_party = PARTIES.contains(&name.as_str());
        let values = headers.entry(name).or_default();
        if values.len() < VALUES_MAX {
            values.push(value);
        } else if is_party && let Some(last) = values.last_mut().filter(|it| !it.ends_with(CUT)) {
            last.push(CUT);
        }
    }
    headers.remove("subject");
    let (sender_name, sender_address) = sender.unwrap_or_default();
    let mut labels = message.label_ids;
    // No label has control characters, and no database keeps them.
    labels.retain(|it| !it.chars().any(char::is_control));
    labels.sort();
    labels.dedup();
    labels.truncate(LABELS_MAX);
    Message {
        id: message.id,
        thread_id: message.thread_id,
        received_ms: message.internal_date_ms,
        size_bytes: i64::try_from(message.size_estimate).unwrap_or(i64::MAX),
        history_id: HistoryId(message.history_id),
        labels,
        subject: subject.unwrap_or_default(),
        subject_form: SubjectForm::Plain,
        sender_name,
        sender_address,
        headers,
    }
}

/// A value as a line of text: decoded, without control characters, bounded.
fn text(value: &str, chars_max: usize) -> String {
    let line = as_line(value);
    let decoded = match MessageStream::new(line.as_bytes()).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        HeaderValue::TextList(list) => list.join(" "),
        _ => String::new(),
    };
    // Plain text that decodes to rubbish wasn't meant to be decoded, or was broken on the way: it reads better as it
    // came.
    let broken = decoded.contains('\u{fffd}') && value.is_ascii();
    clean(if broken { value } else { &decoded }, chars_max)
}

/// The first address of a value: name and address, each may be empty.
fn address(value: &str) -> (String, String) {
    let line = as_line(value);
    let parsed = MessageStream::new(line.as_bytes()).parse_address();
    let first = parsed.as_address().and_then(|list| list.first()).map(|it| {
        let part = |it: &Option<std::borrow::Cow<'_, str>>| clean(it.as_deref().unwrap_or_default(), LINE_CHARS_MAX);
        (part(&it.name), part(&it.address).to_lowercase())
    });
    match first {
        Some((name, address)) if !name.is_empty() || !address.is_empty() => (name, address),
        // Not an address at all: show what is there rather than nothing.
        _ => (text(value, LINE_CHARS_MAX), String::new()),
    }
}

/// All addresses of a value, decoded, as people write them. A list of which only the beginning is kept says so at its
/// end, and no other does: who else is on it decides whether the message may be kept.
fn addresses(value: &str) -> String {
    let line = as_line(value);
    let mut is_cut = value.len() > VALUE_BYTES_MAX;
    let parsed = MessageStream::new(line.as_bytes()).parse_address();
    let Some(list) = parsed.as_address() else {
        let whole = text(value, usize::MAX);
        is_cut |= whole.chars().count() > VALUE_CHARS_MAX;
        return marked(clean(&whole, VALUE_CHARS_MAX), is_cut);
    };
    let mut whole = String::new();
    for it in list.iter() {
        let one = match (it.name.as_deref(), it.address.as_deref()) {
            (Some(name), Some(address)) => format!("{name} <{address}>"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => continue,
        };
        if whole.len() + one.len() > VALUE_CHARS_MAX {
            is_cut = true;
            break;
        }
        if !whole.is_empty() {
            whole.push_str(", ");
        }
        whole.push_str(&one);
    }
    marked(clean(&whole, VALUE_CHARS_MAX), is_cut)
}

fn marked(list: String, is_cut: bool) -> String {
    let list = list.trim_end_matches(|it: char| it == CUT || it.is_whitespace());
    if is_cut { format!("{list}, {CUT}") } else { list.to_owned() }
}

/// One line that ends, as the parser needs it.
fn as_line(value: &str) -> String {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let mut line: String = value[..end].chars().map(|it| if it == '\n' || it == '\r' { ' ' } else { it }).collect();
    line.push('\n');
    line
}

/// Without control characters and without marks that turn the direction of the text around them.
pub(super) fn clean(text: &str, chars_max: usize) -> String {
    let turns = |it: char| matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept: String = text.chars().filter(|it| !it.is_control() && !turns(*it)).take(chars_max).collect();
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)]) -> gmail::Message {
        gmail::Message {
            id: "a".into(),
            thread_id: "t".into(),
            label_ids: vec!["UNREAD".into(), "INBOX".into(), "INBOX".into()],
            internal_date_ms: 1,
            size_estimate: 2,
            history_id: 3,
            headers: headers
                .iter()
                .map(|(name, value)| gmail::Header { name: (*name).into(), value: (*value).into() })
                .collect(),
        }
    }

    #[test]
    fn encoded_words_and_raw_text_are_both_read() {
        let it = stored(message(&[
            ("SUBJECT", "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?="),
            ("From", "=?utf-8?B?5bGx55Sw?= <YAMADA@example.com>"),
        ]));
        assert_eq!(it.subject, "Grüße aus Köln");
        assert_eq!((it.sender_name.as_str(), it.sender_address.as_str()), ("山田", "yamada@example.com"));
        assert_eq!(it.labels, ["INBOX", "UNREAD"]);
        let plain = stored(message(&[("Subject", "Grüße 👋 <b>no</b>")]));
        assert_eq!(plain.subject, "Grüße 👋 <b>no</b>");
    }

    #[test]
    fn what_decodes_to_rubbish_is_shown_as_it_came() {
        let it = stored(message(&[("Subject", "=?UTF-8?B?not base64 at all?= end")]));
        assert!(!it.subject.contains('\u{fffd}'), "{}", it.subject);
    }

    #[test]
    fn ten_megabytes_of_references_and_control_characters_are_bounded() {
        let long = "<x@example.com> ".repeat(700_000);
        let it = stored(message(&[("References", &long), ("Subject", "a\r\n\0b\u{202e}c")]));
        assert!(it.headers["references"][0].chars().count() <= VALUE_CHARS_MAX);
        assert!(it.subject.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{:?}", it.subject);
    }

    #[test]
    fn a_list_of_recipients_that_is_cut_says_so_and_no_other_does() {
        let list =
            |count: usize| -> String { (0..count).map(|n| format!("Person {n} <p{n}@example.com>, ")).collect() };
        let to = |value: &str| stored(message(&[("To", value)])).headers["to"][0].clone();
        assert!(!to(&list(50)).ends_with(CUT));
        assert!(to(&list(200)).ends_with(CUT) && to(&list(200)).chars().count() <= VALUE_CHARS_MAX + 3);
        assert!(to(&list(2_000)).ends_with(CUT));
        assert!(to(&"nonsense ".repeat(1_000)).ends_with(CUT));
        assert!(!to("a@example.com, so on …").ends_with(CUT));
        let many: Vec<(&str, &str)> = (0..20).map(|_| ("Cc", "a@example.com")).collect();
        assert!(stored(message(&many)).headers["cc"].last().expect("values").ends_with(CUT));
    }

    #[test]
    fn a_sender_that_is_no_address_is_still_shown() {
        let it = stored(message(&[("From", "mailer daemon"), ("From", "second@example.com")]));
        assert_eq!(it.sender_name, "mailer daemon");
        assert_eq!(stored(message(&[])).sender_name, "");
    }

    proptest::proptest! {
        #[test]
        fn no_header_can_panic(name in ".{0,20}", value in ".{0,400}") {
            stored(message(&[(&name, &value), ("From", &value), ("Subject", &value), ("To", &value)]));
        }
    }
}

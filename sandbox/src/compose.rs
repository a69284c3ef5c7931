//! Writing letters: from what a person types to the headers that arrive. Every letter gets words in its body that occur
//! nowhere else ("canary" and sixteen hexadecimal digits), so that a test can prove that no body was ever delivered;
//! don't put them into a header.

use std::collections::BTreeSet;

use base64::Engine as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::mail::{Header, Letter};

/// What every canary word begins with.
pub const CANARY: &str = "canary";
/// Longest header value that a person can type.
pub const TYPED_CHARS_MAX: usize = 2_000;

/// What a person typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compose {
    /// Addresses, separated by commas.
    pub to: String,
    /// Addresses, separated by commas.
    pub cc: String,
    /// Addresses, separated by commas; only the sender's own copy shows them.
    pub bcc: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub body: String,
    /// Id of a message in the sender's mailbox that this answers.
    pub answers: Option<String>,
}

impl Compose {
    /// Bare addresses of everybody who gets it, in lower case.
    pub fn recipients(&self) -> BTreeSet<String> {
        [&self.to, &self.cc, &self.bcc].into_iter().flat_map(|list| addresses(list)).collect()
    }
}

/// The bare addresses in a list as people write it: `Ada <ada@example.com>, bo@example.org`.
pub fn addresses(list: &str) -> Vec<String> {
    let bare = |item: &str| match item.rsplit_once('<') {
        Some((_, address)) => address.trim_end_matches([' ', '>']).to_owned(),
        None => item.trim().to_owned(),
    };
    list.split(',').map(|item| bare(item).to_ascii_lowercase()).filter(|address| address.contains('@')).collect()
}

/// What an earlier message gives to its answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Earlier {
    pub(crate) message_id: String,
    pub(crate) references: String,
}

/// The headers of a letter that leaves somebody's hands now, and its text with canaries.
pub(crate) fn letter(
    from: &str,
    compose: &Compose,
    earlier: Option<&Earlier>,
    now: Timestamp,
    dice: &mut Dice,
) -> Letter {
    let domain =
        addresses(from).first().and_then(|address| address.split_once('@').map(|(_, domain)| domain.to_owned()));
    let domain = domain.unwrap_or_else(|| "example.com".to_owned());
    let mut headers = vec![
        Header::new("MIME-Version", "1.0"),
        Header::new("Date", date(now)),
        Header::new("Message-ID", format!("<{:016x}.{:08x}@{domain}>", dice.number(), dice.below(1 << 32))),
        Header::new("Subject", typed(&compose.subject)),
        Header::new("From", typed(from)),
    ];
    for (name, value) in [("To", &compose.to), ("Cc", &compose.cc), ("Bcc", &compose.bcc)] {
        if !value.trim().is_empty() {
            headers.push(Header::new(name, typed(value)));
        }
    }
    if let Some(earlier) = earlier {
        headers.push(Header::new("In-Reply-To", &earlier.message_id));
        headers.push(Header::new("References", format!("{} {}", earlier.references, earlier.message_id).trim()));
    }
    headers.push(Header::new("Content-Type", "text/plain; charset=\"UTF-8\""));
    Letter { headers, body: with_canaries(&compose.body, dice), ..Letter::default() }
}

/// The letter as it lies in the recipient's mailbox.
pub(crate) fn delivered(mut letter: Letter, to: &str, now: Timestamp) -> Letter {
    letter.headers.retain(|header| !header.name.eq_ignore_ascii_case("Bcc"));
    let received = format!("by mx.google.com with ESMTPS id sandbox for <{to}>; {}", date(now));
    letter.headers.insert(0, Header::new("Received", received));
    letter.headers.insert(0, Header::new("Delivered-To", to));
    letter.thread_id = None;
    letter.labelled(&["INBOX", "UNREAD"])
}

/// A text between two canary words: the first reaches the snippet, the second only the body.
pub(crate) fn with_canaries(text: &str, dice: &mut Dice) -> String {
    format!("{CANARY}{:016x} {text} {CANARY}{:016x}", dice.number(), dice.number())
}

/// The canary words of a text.
pub(crate) fn canaries_of(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| word.starts_with(CANARY))
}

/// An instant as mail writes it.
pub(crate) fn date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A header value as people read it: RFC 2047 words in UTF-8 are decoded, everything else stays as it is.
pub(crate) fn decoded(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some((before, from_word)) = rest.split_once("=?") {
        let Some((word, length)) = encoded_word(from_word) else {
            text.push_str(before);
            text.push_str("=?");
            (rest, after_word) = (from_word, false);
            continue;
        };
        // Blanks between two encoded words belong to neither.
        if !(after_word && before.trim().is_empty()) {
            text.push_str(before);
        }
        text.push_str(&word);
        (rest, after_word) = (&from_word[length..], true);
    }
    text + rest
}

/// Reads `charset?encoding?text?=`; the decoded text and how many bytes were read.
fn encoded_word(from: &str) -> Option<(String, usize)> {
    let (charset, rest) = from.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (text, _) = rest.split_once("?=")?;
    let bytes = match encoding {
        "B" | "b" => base64::engine::general_purpose::STANDARD.decode(text).ok()?,
        "Q" | "q" => quoted(text)?,
        _ => return None,
    };
    let known = charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii");
    let length = charset.len() + encoding.len() + text.len() + 4;
    known.then(|| (String::from_utf8_lossy(&bytes).into_owned(), length))
}

fn quoted(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

/// Typed text as one header line.
fn typed(text: &str) -> String {
    text.trim().chars().filter(|letter| !letter.is_control()).take(TYPED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_names() {
        let found = addresses("Inês Prado <Ines@Example.com>, bo@example.org,, nobody");
        assert_eq!(found, ["ines@example.com", "bo@example.org"]);
    }

    #[test]
    fn a_letter_keeps_bcc_only_in_the_senders_copy_and_hides_its_canaries_in_the_body() {
        let compose = Compose {
            to: "bo@example.org".into(),
            bcc: "cy@example.net".into(),
            subject: "Hello\r\nX-Injected: 1".into(),
            body: "Text".into(),
            ..Compose::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let sent = letter("Ada <ada@example.com>", &compose, None, now, &mut Dice::new(1));
        assert_eq!(sent.header("Subject"), Some("HelloX-Injected: 1"));
        assert_eq!(sent.header("Date"), Some("Thu, 01 Jan 1970 00:00:00 +0000"));
        assert!(sent.header("message-id").unwrap().ends_with("@example.com>"));
        assert_eq!(canaries_of(&sent.body).count(), 2);
        let arrived = delivered(sent.clone(), "bo@example.org", now);
        assert_eq!((sent.header("Bcc"), arrived.header("Bcc")), (Some("cy@example.net"), None));
        assert_eq!(arrived.header("Delivered-To"), Some("bo@example.org"));
        assert_eq!(compose.recipients().len(), 2);
    }

    #[test]
    fn encoded_words_are_read_and_nonsense_is_left_alone() {
        assert_eq!(decoded("=?UTF-8?B?5pel5pys?= =?utf-8?q?_=F0=9F=8C=B8?= end"), "日本 🌸 end");
        for same in ["", "plain", "=?UTF-8?B?not base64 at all?=", "=?x-unknown?Q?a?=", "a =?b", "=?UTF-8?Q?=ZZ?="] {
            assert_eq!(decoded(same), same);
        }
    }

    #[test]
    fn an_answer_carries_the_chain() {
        let earlier = Earlier { message_id: "<b@x>".into(), references: "<a@x>".into() };
        let answer =
            letter("a@example.com", &Compose::default(), Some(&earlier), Timestamp::UNIX_EPOCH, &mut Dice::new(1));
        assert_eq!(answer.header("References"), Some("<a@x> <b@x>"));
        assert_eq!(answer.header("In-Reply-To"), Some("<b@x>"));
    }
}

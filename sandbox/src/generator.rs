//! Invented mail of realistic shape, from a seed: conversations among colleagues and with outsiders, newsletters,
//! machines, invitations, and the odd cases that real mailboxes hold. What is generated lies in the past and leaves no
//! history record, as if it had always been there.

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::accounts::Identity;
use crate::compose::{date, delivered, with_canaries};
use crate::dice::Dice;
use crate::mail::{Header, Letter};
use crate::phrases::{MACHINES, MEETINGS, NEWSLETTERS, OUTSIDE_SUBJECTS, OUTSIDERS, SENTENCES, WORK_SUBJECTS};
use crate::world::World;

/// Most messages that are generated for one person.
pub const MAIL_PER_PERSON_MAX: usize = 1_000_000;
/// Most bytes of the one very long `References` header.
pub const REFERENCES_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Messages in one conversation at most.
const THREAD_MAX: usize = 25;
/// From this size on a mailbox holds every odd case.
const ODD_FROM: usize = 50;

/// What is generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generate {
    /// Messages for each person who doesn't say otherwise.
    pub mail_per_person: usize,
    /// How many days back the oldest lies.
    pub days: u32,
    /// Whether the odd cases are among them.
    pub odd_cases: bool,
    /// Events for each person who can sign in; none when zero.
    pub events_per_person: usize,
    /// Whether posts, managers and telephone numbers are invented where a profile says nothing.
    pub profiles: bool,
    /// Length of the one very long `References` header in the first mailbox, in bytes.
    pub long_references_bytes: usize,
}

impl Default for Generate {
    fn default() -> Generate {
        Generate {
            mail_per_person: 0,
            days: 120,
            odd_cases: true,
            events_per_person: 0,
            profiles: false,
            long_references_bytes: 0,
        }
    }
}

/// One letter that arrives now from somebody who doesn't exist.
pub fn sample(sub: &str, identity: &Identity, now: Timestamp, dice: &mut Dice) -> Letter {
    let to = identity.people.get(sub).map(|person| (person.name.clone(), person.email.clone())).unwrap_or_default();
    let mut writer = Writer { dice, now };
    let letter = match writer.dice.below(10) {
        0..=1 => writer.newsletter(&to, now),
        2..=3 => writer.machine(&to, now),
        4 => writer.invitation(&to, now),
        _ => {
            let from = writer.outsider();
            let subject = *writer.dice.pick(&OUTSIDE_SUBJECTS);
            writer.letter(&from, std::slice::from_ref(&to), subject, now, &[]).labelled(&["INBOX", "UNREAD"])
        }
    };
    let labels = letter.label_ids.clone();
    Letter { label_ids: labels, internal_date_ms: None, ..arrived(letter, &to.1, now) }
}

impl World {
    /// Fills the mailboxes of these people, each with about so many messages.
    pub fn generate(&mut self, wanted: &[(String, usize)], generate: &Generate) {
        let now = self.clock.now();
        let mut dice = self.dice.apart("generator");
        let mut left: Vec<(String, usize)> =
            wanted.iter().map(|(sub, count)| (sub.clone(), (*count).min(MAIL_PER_PERSON_MAX))).collect();
        if generate.odd_cases {
            for (index, (sub, count)) in left.iter_mut().enumerate() {
                let bytes = if index == 0 { generate.long_references_bytes } else { 0 };
                if *count >= ODD_FROM {
                    *count -= self.seed_odd_cases(sub, generate, bytes, &mut dice, now);
                }
            }
        }
        while left.iter().any(|(_, count)| *count > 0) {
            left.retain(|(_, count)| *count > 0);
            let lead = dice.index(left.len());
            self.seed_conversation(lead, &mut left, generate, &mut dice, now);
        }
    }

    /// One conversation, newsletter or notice in the mailbox of one person, and in those of the colleagues in it.
    fn seed_conversation(
        &mut self,
        lead: usize,
        left: &mut [(String, usize)],
        generate: &Generate,
        dice: &mut Dice,
        now: Timestamp,
    ) {
        let start = past(now, generate.days, dice);
        let (sub, to) = self.addressed(&left[lead].0);
        let kind = dice.below(100);
        if kind < 30 {
            let mut writer = Writer { dice, now };
            let letter = match kind {
                0..=13 => writer.newsletter(&to, start),
                14..=23 => writer.machine(&to, start),
                _ => writer.invitation(&to, start),
            };
            let letter = arrived(letter, &to.1, start);
            left[lead].1 -= 1;
            self.seed_one(&sub, letter, dice, now);
            return;
        }
        let inside = kind < 70 && left.len() > 1;
        let colleague = (lead + 1 + dice.index(left.len() - 1).min(left.len())) % left.len();
        let length = thread_length(dice).min(left[lead].1);
        let length = if inside { length.min(left[colleague].1) } else { length };
        let other = if inside { self.addressed(&left[colleague].0).1 } else { Writer { dice, now }.outsider() };
        let subject = *dice.pick(if inside { &WORK_SUBJECTS[..] } else { &OUTSIDE_SUBJECTS[..] });
        let mut seeded = Talk { subs: vec![sub.clone()], people: [to, other], ..Talk::default() };
        if inside {
            seeded.subs.push(left[colleague].0.clone());
            left[colleague].1 -= length;
        }
        left[lead].1 -= length;
        let mut at = start;
        for index in 0..length {
            self.seed_talk(&mut seeded, index, subject, at, dice, now);
            at = at
                .saturating_add(SignedDuration::from_mins(1 + dice.below(2_000).cast_signed()))
                .unwrap_or(at)
                .min(now);
        }
    }

    fn seed_talk(
        &mut self,
        talk: &mut Talk,
        index: usize,
        subject: &str,
        at: Timestamp,
        dice: &mut Dice,
        now: Timestamp,
    ) {
        let author = if index == 0 { 1 } else { dice.index(2) };
        let subject = if index == 0 { subject.to_owned() } else { format!("Re: {subject}") };
        let (from, to) = (talk.people[author].clone(), talk.people[1 - author].clone());
        let letter = Writer { dice, now }.letter(&from, std::slice::from_ref(&to), &subject, at, &talk.chain);
        talk.chain.extend(letter.header("Message-ID").map(str::to_owned));
        for (place, sub) in talk.subs.clone().iter().enumerate() {
            let own = place == author;
            let mut copy = if own { letter.clone().labelled(&["SENT"]) } else { arrived(letter.clone(), &to.1, at) };
            copy.internal_date_ms = Some(at.as_millisecond());
            copy.thread_id = talk.threads.get(place).cloned();
            let id = self.seed_one(sub, copy, dice, now);
            if talk.threads.len() <= place {
                talk.threads.push(id);
            }
        }
    }

    /// Settles a message among the others: what is old is mostly read and archived.
    fn seed_one(&mut self, sub: &str, mut letter: Letter, dice: &mut Dice, now: Timestamp) -> String {
        let age_ms = now.as_millisecond() - letter.internal_date_ms.unwrap_or(0);
        let is_old = age_ms > 10 * 24 * 3_600_000;
        let sent = letter.label_ids.contains("SENT");
        let mut put = |label: &str| letter.label_ids.insert(label.to_owned());
        if dice.percent(4) {
            put("STARRED");
        }
        if !sent && dice.percent(30) {
            put("IMPORTANT");
        }
        let own: Vec<String> = self
            .mail
            .get(sub)
            .into_iter()
            .flat_map(|mailbox| mailbox.labels())
            .filter(|label| !label.is_system())
            .map(|label| label.id.clone())
            .collect();
        if !own.is_empty() && dice.percent(15) {
            put(dice.pick(&own).as_str());
        }
        if is_old || dice.percent(50) {
            letter.label_ids.remove("UNREAD");
        }
        if !sent && is_old && dice.percent(45) {
            letter.label_ids.remove("INBOX");
        }
        if !sent && dice.percent(4) {
            letter.label_ids.remove("INBOX");
            letter.label_ids.insert(dice.pick(&["TRASH", "SPAM"]).to_string());
        }
        self.seed_as_it_is(sub, letter, now)
    }

    /// Puts a letter into a mailbox as if it had always been there. The answer is its id, empty without a mailbox.
    pub(crate) fn seed_as_it_is(&mut self, sub: &str, letter: Letter, now: Timestamp) -> String {
        let dice = &mut self.dice;
        self.mail.get_mut(sub).map(|mailbox| mailbox.seed(letter, now, dice)).unwrap_or_default()
    }

    fn addressed(&self, sub: &str) -> (String, (String, String)) {
        let person = self.identity.people.get(sub);
        let named = person.map(|person| (person.name.clone(), person.email.clone())).unwrap_or_default();
        (sub.to_owned(), named)
    }

    /// One of every odd case; the answer is how many.
    fn seed_odd_cases(
        &mut self,
        sub: &str,
        generate: &Generate,
        references_bytes: usize,
        dice: &mut Dice,
        now: Timestamp,
    ) -> usize {
        let (_, to) = self.addressed(sub);
        let letters = odd_cases(&to, references_bytes.min(REFERENCES_BYTES_MAX), generate.days, dice, now);
        let count = letters.len();
        for letter in letters {
            self.seed_as_it_is(sub, letter, now);
        }
        count
    }
}

/// A conversation as it grows.
#[derive(Default)]
struct Talk {
    subs: Vec<String>,
    people: [(String, String); 2],
    threads: Vec<String>,
    chain: Vec<String>,
}

fn thread_length(dice: &mut Dice) -> usize {
    match dice.below(100) {
        0..=54 => 1,
        55..=79 => 2 + dice.index(2),
        80..=95 => 4 + dice.index(5),
        _ => 9 + dice.index(THREAD_MAX - 8),
    }
}

fn past(now: Timestamp, days: u32, dice: &mut Dice) -> Timestamp {
    // The square makes recent days busier than old ones.
    let span_s = u64::from(days) * 24 * 3_600;
    let part = dice.below(1_000) * dice.below(1_000);
    let back_s = (span_s / 1_000_000).max(1) * part + dice.below(3_600) + 60;
    now.saturating_sub(SignedDuration::from_secs(back_s.min(span_s.max(60)).cast_signed())).unwrap_or(now)
}

fn arrived(letter: Letter, to: &str, at: Timestamp) -> Letter {
    let labels = letter.label_ids.clone();
    let mut copy = delivered(letter, to, at);
    if !labels.is_empty() {
        copy.label_ids = labels;
    }
    copy.internal_date_ms = Some(at.as_millisecond());
    copy
}

/// Writes letters.
struct Writer<'a> {
    dice: &'a mut Dice,
    now: Timestamp,
}

impl Writer<'_> {
    fn outsider(&mut self) -> (String, String) {
        let (name, address) = *self.dice.pick(&OUTSIDERS);
        (name.to_owned(), address.to_owned())
    }

    fn body(&mut self) -> String {
        let text = format!("{} {}", self.dice.pick(&SENTENCES), self.dice.pick(&SENTENCES));
        with_canaries(&text, self.dice)
    }

    fn letter(
        &mut self,
        from: &(String, String),
        to: &[(String, String)],
        subject: &str,
        at: Timestamp,
        chain: &[String],
    ) -> Letter {
        let encoded = self.dice.percent(15);
        let text = |value: String| {
            if encoded && !value.is_ascii() { encoded_word(&value) } else { value }
        };
        let domain = from.1.split_once('@').map_or("example.com", |(_, domain)| domain);
        let id = format!("<{:016x}@{domain}>", self.dice.number());
        let recipients: Vec<String> = to.iter().map(|(name, address)| mailbox(&text(name.clone()), address)).collect();
        let mut headers = vec![
            Header::new("MIME-Version", "1.0"),
            Header::new("Date", date(at.min(self.now))),
            Header::new("Message-ID", id),
            Header::new("Subject", text(subject.to_owned())),
            Header::new("From", mailbox(&text(from.0.clone()), &from.1)),
            Header::new("To", recipients.join(", ")),
        ];
        if self.dice.percent(12) {
            let (name, address) = self.outsider();
            headers.push(Header::new("Cc", mailbox(&name, &address)));
        }
        if let Some(last) = chain.last() {
            headers.push(Header::new("In-Reply-To", last));
            headers.push(Header::new("References", chain.join(" ")));
        }
        let kind = match self.dice.below(10) {
            0..=1 => "multipart/mixed; boundary=\"00000000000sandbox\"",
            2..=6 => "multipart/alternative; boundary=\"00000000000sandbox\"",
            _ => "text/plain; charset=\"UTF-8\"",
        };
        headers.push(Header::new("Content-Type", kind));
        let body = self.body();
        Letter { headers, body, internal_date_ms: Some(at.as_millisecond()), ..Letter::default() }
    }

    fn newsletter(&mut self, to: &(String, String), at: Timestamp) -> Letter {
        let (name, list, subject) = *self.dice.pick(&NEWSLETTERS);
        let domain = list.split_once('.').map_or(list, |(_, domain)| domain);
        let from = (name.to_owned(), format!("hello@{domain}"));
        let mut letter = self.letter(&from, std::slice::from_ref(to), subject, at, &[]);
        letter.headers.push(Header::new("List-Id", format!("{name} <{list}>")));
        letter.headers.push(Header::new("List-Unsubscribe", format!("<https://{domain}/unsubscribe>")));
        letter.headers.push(Header::new("Precedence", "bulk"));
        letter.labelled(&["INBOX", "UNREAD", "CATEGORY_PROMOTIONS"])
    }

    fn machine(&mut self, to: &(String, String), at: Timestamp) -> Letter {
        let (name, address, subject) = *self.dice.pick(&MACHINES);
        let from = (name.to_owned(), address.to_owned());
        let mut letter = self.letter(&from, std::slice::from_ref(to), subject, at, &[]);
        letter.headers.push(Header::new("Auto-Submitted", "auto-generated"));
        letter.labelled(&["INBOX", "UNREAD", "CATEGORY_UPDATES"])
    }

    fn invitation(&mut self, to: &(String, String), at: Timestamp) -> Letter {
        let from = self.outsider();
        let subject = format!("Invitation: {} @ {}", self.dice.pick(&MEETINGS), at.strftime("%a %d %b, %H:00"));
        let mut letter = self.letter(&from, std::slice::from_ref(to), &subject, at, &[]);
        letter.headers.retain(|header| header.name != "Content-Type");
        letter.headers.push(Header::new("Content-Type", "text/calendar; charset=\"UTF-8\"; method=REQUEST"));
        letter.headers.push(Header::new("Sender", "calendar-notices@calendar.example.net"));
        letter.labelled(&["INBOX", "UNREAD"])
    }
}

/// A name and an address as a header writes them.
fn mailbox(name: &str, address: &str) -> String {
    let plain = name.chars().all(|letter| letter.is_alphanumeric() || letter == ' ' || !letter.is_ascii());
    if name.is_empty() {
        address.to_owned()
    } else if plain || name.starts_with("=?") {
        format!("{name} <{address}>")
    } else {
        format!("\"{}\" <{address}>", name.replace('"', "'"))
    }
}

/// RFC 2047: text as mail writes it that must be ASCII. One word for each few letters, because a word has 75 at most.
fn encoded_word(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let word = |part: &[char]| {
        let part: String = part.iter().collect();
        format!("=?UTF-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(part))
    };
    letters.chunks(10).map(word).collect::<Vec<_>>().join(" ")
}

/// Mail that breaks careless readers, each kind once.
fn odd_cases(
    to: &(String, String),
    references_bytes: usize,
    days: u32,
    dice: &mut Dice,
    now: Timestamp,
) -> Vec<Letter> {
    let mut letters = Vec::new();
    let mut odd = |subject: &str, change: &dyn Fn(&mut Letter)| {
        let at = past(now, days, dice);
        let mut writer = Writer { dice, now };
        let from = writer.outsider();
        let letter = writer.letter(&from, std::slice::from_ref(to), subject, at, &[]);
        let mut letter = arrived(letter, &to.1, at);
        letter.label_ids.remove("UNREAD");
        change(&mut letter);
        letters.push(letter);
    };
    let set = |letter: &mut Letter, name: &str, value: &str| {
        for header in letter.headers.iter_mut().filter(|header| header.name == name) {
            value.clone_into(&mut header.value);
        }
    };
    let without = |letter: &mut Letter, name: &str| letter.headers.retain(|header| header.name != name);
    odd("This one has no date", &|letter| without(letter, "Date"));
    odd("This one was written on the 99th", &|letter| set(letter, "Date", "Thu, 99 Foo 20x6 25:61:00 +9999"));
    odd("This one comes from the future", &|letter| set(letter, "Date", "Fri, 31 Dec 9999 23:59:59 +0000"));
    odd("One of two subjects", &|letter| letter.headers.push(Header::new("Subject", "The other subject")));
    odd("", &|letter| without(letter, "Subject"));
    odd("No message id", &|letter| without(letter, "Message-ID"));
    odd("No sender", &|letter| without(letter, "From"));
    odd("Sender without an address", &|letter| set(letter, "From", "undisclosed"));
    odd("<script>alert('intail')</script><b>bold</b> & \"quoted\"", &|_| {});
    odd("Caf\u{fffd} \u{fffd}\u{fffd} 8-bit \u{80}\u{ff} bytes", &|_| {});
    odd("Right to left \u{202e}gnirts\u{202c} and zero\u{200b}width", &|_| {});
    odd("=?UTF-8?B?5pel5pys6Kqe44Gu5Lu25ZCN?= =?utf-8?q?_=F0=9F=8C=B8?=", &|_| {});
    odd("=?UTF-8?B?not base64 at all?= =?x-unknown?Q?=ZZ?=", &|_| {});
    odd(&"A very long subject ".repeat(120), &|_| {});
    odd("NO LABELS AT ALL", &|letter| letter.label_ids.clear());
    odd("Odd case of names", &|letter| {
        for header in &mut letter.headers {
            header.name = header.name.to_ascii_uppercase();
        }
    });
    odd("Hundreds of recipients", &|letter| {
        let many: Vec<String> = (0..300).map(|index| format!("Guest {index} <guest{index}@example.net>")).collect();
        set(letter, "To", &many.join(", "));
    });
    odd("A long chain", &|letter| {
        let bytes = references_bytes.max(2_000);
        let chain: String =
            (0..).map(|index| format!("<{index:08x}@chain.example.net> ")).take(bytes / 29 + 1).collect();
        letter.headers.push(Header::new("References", chain.trim_end()));
    });
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::CANARY;
    use crate::world::tests::{empty_world, sub};

    fn generated(count: usize, generate: &Generate) -> World {
        let mut world = empty_world();
        let subs: Vec<(String, usize)> = world.mail.keys().map(|sub| (sub.clone(), count)).collect();
        world.generate(&subs, generate);
        world
    }

    #[test]
    fn as_many_as_wanted_and_the_same_for_the_same_seed() {
        let world = generated(200, &Generate::default());
        for mailbox in world.mail.values() {
            assert_eq!(mailbox.message_count(), 200);
            assert!(mailbox.thread_count() < 190 && mailbox.thread_count() > 50);
            assert_eq!(mailbox.history().records().count(), 0);
        }
        let again = generated(200, &Generate::default());
        assert_eq!(serde_json::to_string(&world.mail).unwrap(), serde_json::to_string(&again.mail).unwrap());
    }

    #[test]
    fn every_odd_case_is_there_and_canaries_stay_in_bodies() {
        let generate = Generate { long_references_bytes: 100_000, ..Generate::default() };
        let world = generated(60, &generate);
        let messages: Vec<_> = world.mail.values().flat_map(|mailbox| mailbox.newest_first()).collect();
        assert!(messages.iter().any(|message| message.header("Date").is_none()));
        assert!(messages.iter().any(|message| message.label_ids.is_empty()));
        assert!(messages.iter().any(|message| message.header("References").is_some_and(|value| value.len() >= 99_000)));
        assert!(
            messages
                .iter()
                .any(|message| { message.header("Subject").is_some_and(|value| value.contains("<script>")) })
        );
        for message in &messages {
            assert!(message.headers.iter().all(|header| !header.value.contains(CANARY)));
            assert!(message.internal_date_ms <= world.clock.now().as_millisecond());
        }
        let canaries: std::collections::BTreeSet<&str> = world.canaries().collect();
        assert!(canaries.len() > messages.len());
    }

    #[test]
    fn encoded_words_are_short_and_ascii() {
        let text = encoded_word("来週の出張についてのご連絡です");
        assert!(text.is_ascii() && text.split(' ').all(|word| word.len() <= 75));
        assert_eq!(mailbox("O'Malley, P", "p@x.example"), "\"O'Malley, P\" <p@x.example>");
        assert!(sub().len() > 10);
    }

    #[test]
    fn samples_arrive_unread_and_vary() {
        let world = empty_world();
        let mut dice = Dice::new(5);
        let now = world.clock.now();
        let letters: Vec<Letter> = (0..40).map(|_| sample(&sub(), &world.identity, now, &mut dice)).collect();
        assert!(letters.iter().all(|letter| letter.label_ids.contains("UNREAD")));
        assert!(letters.iter().any(|letter| letter.header("List-Id").is_some()));
        assert!(letters.iter().any(|letter| letter.header("List-Id").is_none()));
    }
}

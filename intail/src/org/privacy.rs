//! What may be kept of people's mail: the stricter of the organization's floor and the person's own choice, decided
//! before anything is stored. Pure but for saving: the same message and the same rules always give the same answer.
//!
//! What a reader must not break: adding to a policy never lets anything in that was left out before.

use std::collections::BTreeSet;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Host;

use crate::id::OrganizationId;
use crate::random::Random;
use crate::seal::{self, Keyring, SealError};
use crate::store::labels::Label;
use crate::store::messages::{Message, SubjectForm};
use crate::store::people::Person;
use crate::store::privacy::{self, Looser, Policy};
use crate::store::{StoreError, Tx, agendas, mailboxes};

/// The headers whose addresses are looked at.
pub const PARTIES: &[&str] = &["from", "sender", "to", "cc", "bcc", "reply-to"];
/// How a list of addresses ends of which only the beginning is kept. A list that was kept whole never ends so.
pub const CUT: char = '…';
/// Gmail's own labels that can be left out. The others say how a message is shown, and change all the time.
pub const SYSTEM_LABELS: [&str; 7] =
    ["SPAM", "TRASH", "SENT", "CATEGORY_PROMOTIONS", "CATEGORY_SOCIAL", "CATEGORY_UPDATES", "CATEGORY_FORUMS"];
/// Addresses and domains of one policy: what somebody still oversees. More are a rule that is better put as a domain.
pub const PARTIES_MAX: usize = 200;
/// Labels of one policy.
pub const LABELS_MAX: usize = 200;
/// The longest name of a label, as Gmail has it.
const LABEL_CHARS_MAX: usize = 225;
/// The longest domain, the longest part of one, and the longest part before the @ (RFC 5321, RFC 1035).
const DOMAIN_BYTES_MAX: usize = 253;
const DOMAIN_PART_BYTES_MAX: usize = 63;
const LOCAL_BYTES_MAX: usize = 64;
/// Bad lines that are told at once, and characters of each that are repeated.
const COMPLAINTS_MAX: usize = 5;
const SHOWN_CHARS_MAX: usize = 60;

/// What counts of two policies: of everything the stricter.
pub fn strictest(one: &Policy, other: &Policy) -> Policy {
    let both = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.union(other).cloned().collect();
    Policy {
        subject: one.subject.max(other.subject),
        labels: both(&one.labels, &other.labels),
        label_names: both(&one.label_names, &other.label_names),
        addresses: both(&one.addresses, &other.addresses),
        domains: both(&one.domains, &other.domains),
        busy_only: one.busy_only || other.busy_only,
    }
}

/// Whether `one` lets nothing in that `other` doesn't.
pub fn is_as_strict(one: &Policy, other: &Policy) -> bool {
    strictest(one, other) == *one
}

/// What `after` lets in that `before` didn't.
pub fn loosened(before: &Policy, after: &Policy) -> Looser {
    let is_less = |before: &BTreeSet<String>, after: &BTreeSet<String>| !before.is_subset(after);
    Looser {
        labels: is_less(&before.labels, &after.labels) || is_less(&before.label_names, &after.label_names),
        parties: is_less(&before.addresses, &after.addresses) || is_less(&before.domains, &after.domains),
        subject: after.subject < before.subject,
    }
}

/// The same policy for a mailbox with these labels: names of labels become ids.
pub fn for_mailbox(policy: &Policy, labels: &[Label]) -> Policy {
    let is_named = |label: &&Label| {
        let name = label.name.to_lowercase();
        policy
            .label_names
            .iter()
            .any(|it| name.strip_prefix(it.as_str()).is_some_and(|below| below.is_empty() || below.starts_with('/')))
    };
    let named = labels.iter().filter(is_named).map(|it| it.id.clone());
    Policy {
        labels: policy.labels.iter().cloned().chain(named).collect(),
        label_names: BTreeSet::new(),
        ..policy.clone()
    }
}

/// Why a message may not be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is from or to this address or domain.
    Party(String),
    /// It has so many recipients that not all are kept, so nobody can say who they are.
    Unknowable,
    /// It carries this label. The only reason that can pass.
    Label(String),
}

/// Why a message may not be kept under the rules of its mailbox; none if it may.
pub fn left_out(rules: &Policy, message: &Message) -> Option<Reason> {
    if !rules.addresses.is_empty() || !rules.domains.is_empty() {
        let values = || PARTIES.iter().filter_map(|name| message.headers.get(*name)).flatten();
        if let Some(party) = values().find_map(|value| party(rules, value)) {
            return Some(Reason::Party(party));
        }
        if values().any(|it| it.ends_with(CUT)) {
            return Some(Reason::Unknowable);
        }
    }
    message.labels.iter().find(|it| rules.labels.contains(*it)).cloned().map(Reason::Label)
}

/// Whether the rules leave out everything from and to this address.
pub fn covers(rules: &Policy, address: &str) -> bool {
    party(rules, address).is_some()
}

/// The rule that a list of addresses falls under. An address counts wherever it stands, in a name too.
fn party(rules: &Policy, value: &str) -> Option<String> {
    let ends = |it: char| it.is_whitespace() || it.is_control() || "@,;:<>()[]\"".contains(it);
    value.match_indices('@').find_map(|(at, _)| {
        let (before, behind) = (&value[..at], &value[at + 1..]);
        let local = before.rsplit(ends).next().unwrap_or_default().trim_start_matches('\'').to_lowercase();
        let domain = behind.split(|it| ends(it) || it == '\'').next().unwrap_or_default();
        let domain = domain_as_compared(domain);
        let address = format!("{local}@{domain}");
        if rules.addresses.contains(&address) {
            return Some(address);
        }
        let mut rest = domain.as_str();
        loop {
            if rules.domains.contains(rest) {
                return Some(rest.to_owned());
            }
            rest = rest.split_once('.')?.1;
        }
    })
}

/// A domain as it is compared: lower-case, `xn--`, without the dot at the end.
fn domain_as_compared(domain: &str) -> String {
    let domain = domain.trim_end_matches('.');
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    match Host::parse(domain) {
        Ok(Host::Domain(domain)) => domain.trim_end_matches('.').to_owned(),
        _ => domain.to_lowercase(),
    }
}

/// The message as it may be kept: its subject in the form that the rules ask for, or a stricter one that it has
/// already. Without a key nothing can be told apart, and the subject isn't kept at all.
pub fn as_kept(rules: &Policy, key: Option<&SecretString>, message: Message) -> Message {
    if message.subject_form >= rules.subject {
        return message;
    }
    let (subject, subject_form) = match key.filter(|_| rules.subject == SubjectForm::Hashed) {
        Some(key) => (seal::tag(key, &message.subject), SubjectForm::Hashed),
        None => (String::new(), SubjectForm::Dropped),
    };
    Message { subject, subject_form, ..message }
}

/// Where an organization's sealed key belongs.
fn key_row(organization: &OrganizationId) -> String {
    format!("privacy_keys/{organization}")
}

/// Opens an organization's key.
pub fn open_key(keyring: &Keyring, organization: &OrganizationId, sealed: &str) -> Result<SecretString, SealError> {
    keyring.open_text(sealed, &key_row(organization))
}

/// Sets the organization's floor: everybody's mailbox is due, so that what is stored follows.
pub async fn set_floor(
    tx: &mut Tx,
    organization: &OrganizationId,
    floor: &Policy,
    keyring: &Keyring,
    random: &Random,
    now: Timestamp,
) -> Result<(), SealError> {
    need_key(tx, organization, floor, keyring, random, now).await?;
    privacy::put_floor(tx, organization, floor, now).await?;
    mailboxes::due_of_organization(tx, organization, now).await?;
    agendas::wake_organization(tx, organization, now).await?;
    Ok(())
}

/// Sets a person's own choice: their mailbox is due, so that what is stored follows.
pub async fn choose(
    tx: &mut Tx,
    person: &Person,
    choice: &Policy,
    keyring: &Keyring,
    random: &Random,
    now: Timestamp,
) -> Result<(), SealError> {
    need_key(tx, &person.organization_id, choice, keyring, random, now).await?;
    if *choice == Policy::default() {
        privacy::forget_choice(tx, &person.id).await?;
    } else {
        privacy::put_choice(tx, &person.organization_id, &person.id, choice, now).await?;
    }
    mailboxes::due_of_person(tx, &person.id, now).await?;
    if let Some(agenda) = agendas::by_person(tx, &person.id).await? {
        agendas::wake(tx, &agenda.id, now).await?;
    }
    Ok(())
}

/// Makes the organization's key when it is needed first.
async fn need_key(
    tx: &mut Tx,
    organization: &OrganizationId,
    policy: &Policy,
    keyring: &Keyring,
    random: &Random,
    now: Timestamp,
) -> Result<(), SealError> {
    if policy.subject != SubjectForm::Hashed || privacy::key(tx, organization).await?.is_some() {
        return Ok(());
    }
    let sealed = keyring.seal_text(&SecretString::from(random.token()), &key_row(organization))?;
    Ok::<(), StoreError>(privacy::put_key(tx, organization, &sealed, now).await?).map_err(SealError::from)
}

// ---- what people type ----

/// Reads addresses and domains, one a line, into the policy; empty lines are skipped. Otherwise says of each bad line
/// which it is, what is wrong with it and what to write.
pub fn read_parties(text: &str, policy: &mut Policy) -> Result<(), Vec<String>> {
    let mut complaints = Vec::new();
    for (number, line) in lines(text) {
        match read_party(line) {
            Ok(Party::Address(address)) => drop(policy.addresses.insert(address)),
            Ok(Party::Domain(domain)) => drop(policy.domains.insert(domain)),
            Err(wrong) => complaints.push(complaint(number, line, &wrong)),
        }
    }
    let count = policy.addresses.len() + policy.domains.len();
    if count > PARTIES_MAX {
        complaints.push(format!(
            "There are {count} addresses and domains; {PARTIES_MAX} are possible. Where several have the same domain, \
             write the domain alone."
        ));
    }
    few(complaints)
}

/// Reads names of labels, one a line.
pub fn read_label_names(text: &str, policy: &mut Policy) -> Result<(), Vec<String>> {
    let mut complaints = Vec::new();
    for (number, line) in lines(text) {
        let name = line.trim_end_matches('/').trim();
        if name.is_empty() {
            complaints.push(complaint(number, line, "is no name. Write a label’s name as Gmail shows it."));
        } else if name.chars().count() > LABEL_CHARS_MAX {
            let wrong = format!("is longer than a label’s name can be: {LABEL_CHARS_MAX} characters.");
            complaints.push(complaint(number, line, &wrong));
        } else if name.chars().any(char::is_control) {
            complaints.push(complaint(number, line, "holds a character that can’t be seen. Type the name anew."));
        } else {
            policy.label_names.insert(name.to_lowercase());
        }
    }
    if policy.label_names.len() > LABELS_MAX {
        complaints.push(format!("There are {} labels; {LABELS_MAX} are possible.", policy.label_names.len()));
    }
    few(complaints)
}

enum Party {
    Address(String),
    Domain(String),
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| !line.is_empty())
}

fn complaint(number: usize, line: &str, wrong: &str) -> String {
    // Without what can't be seen, and without the marks that turn the direction of what follows.
    let is_shown = |it: &char| !it.is_control() && !matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown: String = line.chars().filter(is_shown).take(SHOWN_CHARS_MAX).collect();
    if line.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    format!("Line {number}: “{shown}” {wrong}")
}

fn few(mut complaints: Vec<String>) -> Result<(), Vec<String>> {
    let more = complaints.len().saturating_sub(COMPLAINTS_MAX);
    complaints.truncate(COMPLAINTS_MAX);
    match more {
        0 => {}
        1 => complaints.push("One more line can’t be read either.".to_owned()),
        more => complaints.push(format!("{more} more lines can’t be read either.")),
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}

fn read_party(line: &str) -> Result<Party, String> {
    // As mail programs copy it: Anna <anna@example.com>.
    let bare = line.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>')).unwrap_or(line).trim();
    let Some((local, domain)) = bare.rsplit_once('@') else {
        return read_domain(bare).map(Party::Domain);
    };
    if local.is_empty() {
        return read_domain(domain).map(Party::Domain);
    }
    let domain = read_domain(domain)?;
    if local.len() > LOCAL_BYTES_MAX {
        return Err(format!("has more before the @ than an address can have: {LOCAL_BYTES_MAX} characters."));
    }
    if local.chars().any(|it| it.is_whitespace() || it.is_control() || "@,;:<>()[]\"\\".contains(it)) {
        return Err(
            "is no single address. Write one a line, such as anna@example.com, or a domain, such as example.com."
                .to_owned(),
        );
    }
    Ok(Party::Address(format!("{}@{domain}", local.to_lowercase())))
}

fn read_domain(text: &str) -> Result<String, String> {
    let wrong = || "is no address and no domain. Write one such as anna@example.com or example.com.".to_owned();
    let text = text.trim_end_matches('.');
    if text.is_empty() {
        return Err("has nothing behind the @. Write a whole address, such as anna@example.com.".to_owned());
    }
    if text.contains(['%', '*', '/', ':', '[', ']']) || text.chars().any(char::is_whitespace) {
        return Err(wrong());
    }
    let domain = match Host::parse(text) {
        Ok(Host::Domain(domain)) => domain.trim_end_matches('.').to_owned(),
        Ok(_) => return Err("is an IP address; mail comes from domains, such as example.com.".to_owned()),
        Err(_) => return Err(wrong()),
    };
    let parts: Vec<&str> = domain.split('.').collect();
    if parts.len() < 2 {
        return Err(format!("is not a whole domain. Write it with its ending, such as {domain}.com."));
    }
    if domain.len() > DOMAIN_BYTES_MAX || parts.iter().any(|it| it.is_empty() || it.len() > DOMAIN_PART_BYTES_MAX) {
        return Err(wrong());
    }
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::id::HistoryId;
    use crate::store::labels::LabelKind;

    fn message(labels: &[&str], headers: &[(&str, &str)]) -> Message {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            map.entry((*name).to_owned()).or_default().push((*value).to_owned());
        }
        Message {
            id: "a".into(),
            thread_id: "t".into(),
            received_ms: 1,
            size_bytes: 1,
            history_id: HistoryId(1),
            labels: labels.iter().map(|it| (*it).to_owned()).collect(),
            subject: "Salary".into(),
            subject_form: SubjectForm::Plain,
            sender_name: String::new(),
            sender_address: String::new(),
            headers: map,
        }
    }

    fn rules(parties: &str) -> Policy {
        let mut policy = Policy::default();
        read_parties(parties, &mut policy).expect("good lines");
        policy
    }

    fn is_left_out(parties: &str, headers: &[(&str, &str)]) -> bool {
        left_out(&rules(parties), &message(&[], headers)).is_some()
    }

    #[test]
    fn an_address_counts_in_each_of_the_headers_and_in_any_spelling() {
        for name in PARTIES {
            assert!(is_left_out("anna@example.com", &[(name, "Bob <b@x.org>, Anna <ANNA@Example.COM.>")]), "{name}");
        }
        assert!(!is_left_out("anna@example.com", &[("references", "<anna@example.com>")]));
        assert!(!is_left_out("anna@example.com", &[("to", "hanna@example.com, anna@example.com.evil.org")]));
        assert!(is_left_out("anna@example.com", &[("from", "'anna@example.com' via Team <team@x.org>")]));
        assert!(is_left_out("o'hara@example.com", &[("to", "O'Hara <o'hara@example.com>")]));
    }

    #[test]
    fn a_domain_counts_with_everything_below_it_and_as_people_write_it() {
        assert!(is_left_out("example.com", &[("cc", "a@example.com")]));
        assert!(is_left_out("@Example.com", &[("cc", "a@mail.example.com")]));
        assert!(is_left_out("example.com", &[("cc", "\"a b\"@example.com")]));
        assert!(!is_left_out("example.com", &[("cc", "a@badexample.com, b@example.com.org")]));
        assert!(is_left_out("bücher.example", &[("to", "x@xn--bcher-kva.example")]));
        assert!(is_left_out("xn--bcher-kva.example", &[("to", "x@BÜCHER.example")]));
        assert!(is_left_out("example.com", &[("to", "x@ｅｘａｍｐｌｅ.com")]), "letters that only look wide");
    }

    #[test]
    fn who_more_recipients_are_than_are_kept_nobody_can_say_so_the_message_is_left_out() {
        let long = [("to", "a@x.org, b@x.org, …")];
        assert!(is_left_out("anna@example.com", &long));
        assert_eq!(
            left_out(&Policy::default(), &message(&[], &long)),
            None,
            "without addresses to look for it doesn't matter"
        );
    }

    #[test]
    fn a_label_s_name_means_it_and_those_below_it() {
        let label = |id: &str, name: &str| Label { id: id.into(), name: name.into(), kind: LabelKind::User };
        let labels = [label("L1", "Private"), label("L2", "private/Health"), label("L3", "Privateer")];
        let mut policy = Policy::default();
        read_label_names("PRIVATE/\n\n", &mut policy).expect("good lines");
        let rules = for_mailbox(&policy, &labels);
        assert_eq!(rules.labels.iter().map(String::as_str).collect::<Vec<_>>(), ["L1", "L2"]);
        assert_eq!(left_out(&rules, &message(&["INBOX", "L2"], &[])), Some(Reason::Label("L2".into())));
        assert_eq!(left_out(&rules, &message(&["INBOX", "L3"], &[])), None);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong_and_what_to_write() {
        let told = |text: &str| read_parties(text, &mut Policy::default()).expect_err("bad lines");
        assert_eq!(
            told("anna@example.com\n\nanna@"),
            ["Line 3: “anna@” has nothing behind the @. Write a whole address, such as anna@example.com."]
        );
        for bad in [
            "example",
            "a b@example.com",
            "1.2.3.4",
            "x@[1.2.3.4]",
            "https://example.com",
            "a@b@example.com",
            "*.com",
            "ex%61mple.com",
            "a@exa mple.com",
            "exam\u{202e}ple.com",
            "..",
            "@",
            "<>",
        ] {
            assert_eq!(told(bad).len(), 1, "{bad}");
            assert!(told(bad)[0].starts_with("Line 1: "), "{bad}");
        }
        assert_eq!(told(&"x\n".repeat(90)).len(), COMPLAINTS_MAX + 1);
        let many: String = (0..=PARTIES_MAX).map(|n| format!("a{n}@example.com\n")).collect();
        assert!(told(&many)[0].starts_with("There are 201 addresses"));
        assert!(told(&format!("{}@example.com", "a".repeat(65)))[0].contains("before the @"));
        assert!(read_parties("Anna <Anna@Example.com>\r\n\r\nexample.org.", &mut Policy::default()).is_ok());
    }

    #[test]
    fn equal_subjects_have_equal_tags_and_only_under_the_same_key() {
        let rules = Policy { subject: SubjectForm::Hashed, ..Policy::default() };
        let (one, other) = (SecretString::from("one"), SecretString::from("other"));
        let kept = |key| as_kept(&rules, Some(key), message(&[], &[])).subject;
        assert_eq!(kept(&one), kept(&one));
        assert_ne!(kept(&one), kept(&other));
        assert!(!kept(&one).contains("Salary"));
        let without = as_kept(&rules, None, message(&[], &[]));
        assert_eq!((without.subject.as_str(), without.subject_form), ("", SubjectForm::Dropped));
    }

    fn words() -> impl Strategy<Value = BTreeSet<String>> {
        btree_set(prop_oneof!["a@x.org", "b@x.org", "a@m.x.org", "c@y.org"], 0..3)
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let domains = btree_set(prop_oneof!["x.org", "m.x.org", "y.org"], 0..3);
        let labels = btree_set(prop_oneof!["L1", "L2", "SPAM"], 0..3);
        let names = btree_set(prop_oneof!["private", "work"], 0..2);
        let all = (0..3usize, labels, names, words(), domains, any::<bool>());
        all.prop_map(|(subject, labels, label_names, addresses, domains, busy_only)| Policy {
            subject: SubjectForm::ALL[subject],
            labels,
            label_names,
            addresses,
            domains,
            busy_only,
        })
    }

    fn messages() -> impl Strategy<Value = Message> {
        let parties = vec(prop_oneof!["a@x.org", "B <b@x.org>", "a@m.x.org", "c@y.org", "d@z.org", "…"], 0..4);
        let labels = vec(prop_oneof!["L1", "L2", "SPAM", "INBOX"], 0..3);
        (parties, labels, ".{0,20}").prop_map(|(parties, labels, subject)| {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            Message { subject, ..message(&labels, &[("to", parties.join(", ").as_str())]) }
        })
    }

    proptest! {
        #[test]
        fn what_counts_is_never_looser_than_the_floor(floor in policies(), own in policies(), it in messages()) {
            let both = strictest(&floor, &own);
            prop_assert!(is_as_strict(&both, &floor) && is_as_strict(&both, &own));
            prop_assert_eq!(loosened(&floor, &both), Looser::default());
            if left_out(&floor, &it).is_some() {
                prop_assert!(left_out(&both, &it).is_some());
            }
            let key = SecretString::from("k");
            prop_assert!(as_kept(&both, Some(&key), it).subject_form >= floor.subject);
        }

        #[test]
        fn order_and_repetition_change_nothing(floor in policies(), own in policies(), it in messages()) {
            let both = strictest(&floor, &own);
            prop_assert_eq!(&strictest(&own, &floor), &both);
            prop_assert_eq!(&strictest(&both, &own), &both);
            let key = SecretString::from("k");
            let once = as_kept(&both, Some(&key), it.clone());
            prop_assert_eq!(left_out(&both, &once), left_out(&both, &it));
            prop_assert_eq!(as_kept(&both, Some(&key), once.clone()), once);
        }

        #[test]
        fn leaving_out_is_monotone(one in policies(), more in policies(), it in messages()) {
            if is_as_strict(&more, &one) && left_out(&one, &it).is_some() {
                prop_assert!(left_out(&more, &it).is_some());
            }
            // Private events are no mail: the agenda follows that setting by itself.
            let one = Policy { busy_only: more.busy_only, ..one };
            if !is_as_strict(&more, &one) {
                prop_assert_ne!(loosened(&one, &more), Looser::default());
            }
        }

        #[test]
        fn no_line_and_no_header_can_panic(text in ".{0,200}", value in ".{0,200}") {
            let mut policy = Policy::default();
            let _ = read_parties(&text, &mut policy);
            let _ = read_label_names(&text, &mut policy);
            left_out(&rules("x.org"), &message(&[], &[("to", &value)]));
        }

        #[test]
        fn what_was_read_reads_the_same_again(text in "[a-zäß@.\n]{0,60}") {
            let mut policy = Policy::default();
            if read_parties(&text, &mut policy).is_ok() {
                let mut again = Policy::default();
                let entries = policy.addresses.iter().chain(&policy.domains);
                let shown: String = entries.map(|it| format!("{it}\n")).collect();
                prop_assert_eq!(read_parties(&shown, &mut again), Ok(()));
                prop_assert_eq!(again, policy);
            }
        }
    }
}

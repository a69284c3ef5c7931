//! Names, addresses and domains as they come in at the door: issuers, forms and command lines say them, and none is
//! believed. What could reorder or hide what stands beside it never reaches a row.

use url::Host;

/// The longest name, in characters.
const NAME_MAX: usize = 120;
/// The longest address that mail can have (RFC 5321: 64 and 1 and 255, less what a path takes).
const ADDRESS_MAX: usize = 254;
/// The longest domain that DNS knows.
const DOMAIN_MAX: usize = 253;

/// Whether a character shows nothing or turns the direction of what follows. Joiners stay: scripts and emoji need them.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{fffb}')
        // What only says where a word may be broken, how letters are ordered, or fills a place: blanks by other names.
        || matches!(letter, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(letter, '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character only says how the one before is drawn: as an emoji, or in a variant.
fn is_variant(letter: char) -> bool {
    matches!(letter, '\u{fe00}'..='\u{fe0f}')
}

/// A name of a person or an organization, safe to show; empty if nothing is left of it.
pub fn name(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars().map(|it| if it.is_whitespace() { ' ' } else { it }) {
        // Behind letters and blanks a variant would change nothing but how the name compares.
        let draws = visible.chars().next_back().is_some_and(|it| !it.is_alphanumeric() && it != ' ' && !is_variant(it));
        if !is_hidden(letter) && (draws || !is_variant(letter)) {
            visible.push(letter);
        }
    }
    let words: Vec<&str> = visible.split(' ').filter(|it| !it.is_empty()).collect();
    words.join(" ").chars().take(NAME_MAX).collect::<String>().trim_end().to_owned()
}

fn small_beyond_ascii(letter: char) -> impl Iterator<Item = char> {
    let (as_it_is, small) = match letter.is_ascii() {
        true => (Some(letter), None),
        false => (None, Some(letter.to_lowercase())),
    };
    as_it_is.into_iter().chain(small.into_iter().flatten())
}

/// Whether what stands before the @ looks like another: composed of parts that have a letter of their own, or with
/// letters among Latin ones that can't be told from them.
fn is_look_alike(local: &str) -> bool {
    let latin = local.chars().any(|it| it.is_ascii_alphabetic());
    local.chars().any(|it| match it {
        '\u{300}'..='\u{36f}' | '\u{200c}' | '\u{200d}' => true,
        '\u{ff00}'..='\u{ffef}' | '\u{1d400}'..='\u{1d7ff}' => true,
        '\u{370}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}' => latin,
        it => is_variant(it),
    })
}

/// An address as it is kept, or nothing if mail could never have it. Its domain is in the form that DNS has, so that
/// one address has one spelling, and a look-alike looks different. Letters beyond ASCII are small, because databases
/// know no others' case: what is compared in small letters there is found.
pub fn address(text: &str) -> Option<String> {
    let text: String = text.trim().chars().flat_map(small_beyond_ascii).collect();
    let (local, of) = text.rsplit_once('@')?;
    let in_dns = if of.is_ascii() { of.to_owned() } else { domain(of)? };
    let plain =
        text.chars().all(|it| !is_hidden(it) && !it.is_whitespace() && !matches!(it, '<' | '>' | '"' | ',' | ';'));
    let address = format!("{local}@{in_dns}");
    let fits = address.len() <= ADDRESS_MAX && domain_of(&address).is_some();
    (plain && !local.is_empty() && !local.contains('@') && !is_look_alike(local) && fits).then_some(address)
}

/// The domain of an address, as [`domain`] writes it.
pub fn domain_of(address: &str) -> Option<String> {
    domain(address.rsplit_once('@')?.1)
}

/// A domain in the form that DNS has, lower-case: other scripts become `xn--`, so that a look-alike looks different.
pub fn domain(text: &str) -> Option<String> {
    let Ok(Host::Domain(domain)) = Host::parse(text.trim()) else { return None };
    let label = |label: &str| {
        let letters = label.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
        letters && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    (domain.len() <= DOMAIN_MAX && domain.contains('.') && domain.split('.').all(label)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_hides_or_reorders_and_nothing_else() {
        assert_eq!(name("  Ünal\u{202e} \u{200b}Øst\r\n "), "Ünal Øst");
        assert_eq!(name("ada\u{2066}\u{0}admin\u{e0041}"), "adaadmin");
        assert_eq!(name("می\u{200c}خواهم 👩\u{200d}💻"), "می\u{200c}خواهم 👩\u{200d}💻");
        assert_eq!(name("\u{202e}\t"), "");
        assert_eq!(name("\u{3164} \u{2800}\u{fe0f}\u{ffa0}"), "", "blanks by other names");
        assert_eq!(name("A\u{ad}da Admin\u{fe0f}\u{e0100}"), "Ada Admin", "it compares as it looks");
        assert_eq!(name("❤\u{fe0f} Team"), "❤\u{fe0f} Team");
        assert_eq!(name(&"長".repeat(500)).chars().count(), NAME_MAX);
    }

    #[test]
    fn domains_are_written_as_dns_has_them() {
        assert_eq!(domain(" Example.COM ").as_deref(), Some("example.com"));
        assert_eq!(domain("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        let (latin, cyrillic) = (domain("example.com"), domain("ex\u{430}mple.com"));
        assert!(cyrillic.as_deref().is_some_and(|it| it.starts_with("xn--")) && latin != cyrillic, "{cyrillic:?}");
        for wrong in ["", "example", "a..b", ".com", "-a.com", "a@b.com", "exa mple.com", "https://a.de", "10.0.0.1"] {
            assert_eq!(domain(wrong), None, "{wrong}");
        }
        assert_eq!(domain(&format!("{}.com", "a".repeat(64))), None);
    }

    #[test]
    fn addresses_are_plain() {
        assert_eq!(address(" Ada@Example.com ").as_deref(), Some("Ada@Example.com"));
        assert_eq!(address("Ada@Bücher.example").as_deref(), Some("Ada@xn--bcher-kva.example"));
        assert_eq!(address("JÖRG@example.com").as_deref(), Some("JöRG@example.com"), "databases know ASCII's case");
        for wrong in ["", "ada", "@example.com", "ada@", "a@b@example.com", "a b@example.com", "<a@example.com>"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
        for wrong in ["ada\u{202e}", "ad\u{ad}min", "boss\u{3164}", "р\u{430}ypal", "bo\u{308}ss", "ａda"] {
            assert_eq!(address(&format!("{wrong}@example.com")), None, "{wrong}");
        }
        for right in ["böss", "иван", "ада"] {
            assert!(address(&format!("{right}@example.com")).is_some(), "{right}");
        }
        assert_eq!(domain_of("ada@Bücher.example").as_deref(), Some("xn--bcher-kva.example"));
    }
}

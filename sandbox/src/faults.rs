//! Mischief on purpose: answers that fail, hang, break off, come late or come cut short. Rules are tried in order, and
//! the first that fits and rolls its dice acts; a seed makes the same bad day again.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::dice::Dice;

/// Most rules at a time.
pub const RULES_MAX: usize = 1_000;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mischief {
    /// Google's usual answer of this status; `reason` chooses between the known ones, `message` replaces the sentence.
    /// On the OAuth paths `reason` is the error word.
    Status {
        /// 400 to 599.
        status: u16,
        /// Google's reason word, for example `domainPolicy`.
        #[serde(default)]
        reason: Option<String>,
        /// Google's sentence.
        #[serde(default)]
        message: Option<String>,
        /// Value of a `Retry-After` header, in seconds.
        #[serde(default)]
        retry_after_s: Option<u32>,
    },
    /// No answer at all, until the caller gives up.
    Hang,
    /// The connection breaks without an answer. The call has not been carried out.
    Cut,
    /// The call is carried out and then the connection breaks.
    CutAfter,
    /// The answer comes this much later.
    Slow {
        /// Milliseconds of the machine's time.
        ms: u64,
    },
    /// The answer breaks off in the middle.
    Truncate,
    /// The call is carried out, and its answer says something that no document of Google's promises and a client has to
    /// live with. Answers that aren't JSON objects, and refusals, stay as they are.
    Twist {
        /// Put into the answer in place of what is there; what is null here is missing there.
        #[serde(default)]
        with: Map<String, Value>,
        /// Added at the end of the answer's lists of these names.
        #[serde(default)]
        more: Map<String, Value>,
    },
}

impl Mischief {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Mischief::Status { .. } => "status",
            Mischief::Hang => "hang",
            Mischief::Cut => "cut",
            Mischief::CutAfter => "cut_after",
            Mischief::Slow { .. } => "slow",
            Mischief::Truncate => "truncate",
            Mischief::Twist { .. } => "twist",
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the rule; given by the sandbox when it is zero.
    #[serde(default)]
    pub id: u64,
    /// Which calls: a name such as `gmail.users.messages.get`, a beginning such as `gmail.*`, or `*`.
    pub call: String,
    /// Only calls in the name of this address.
    #[serde(default)]
    pub person: Option<String>,
    /// What happens.
    pub then: Mischief,
    /// How many more times; without end when absent.
    #[serde(default)]
    pub count: Option<u32>,
    /// How many fitting calls are let through before it begins.
    #[serde(default)]
    pub skip: u32,
    /// In how many of a hundred fitting calls.
    #[serde(default = "always")]
    pub percent: u8,
}

fn always() -> u8 {
    100
}

impl Rule {
    /// A rule that always acts on these calls.
    pub fn new(call: &str, then: Mischief) -> Rule {
        Rule { id: 0, call: call.to_owned(), person: None, then, count: None, skip: 0, percent: 100 }
    }

    /// The rule, acting this many times.
    pub fn times(self, count: u32) -> Rule {
        Rule { count: Some(count), ..self }
    }

    /// The rule, acting on calls in this person's name only.
    pub fn of(self, email: &str) -> Rule {
        Rule { person: Some(email.to_owned()), ..self }
    }

    /// The rule, acting in so many of a hundred fitting calls.
    pub fn in_percent(self, percent: u8) -> Rule {
        Rule { percent, ..self }
    }

    /// A rule that answers with a status.
    pub fn status(call: &str, status: u16) -> Rule {
        Rule::new(call, Mischief::Status { status, reason: None, message: None, retry_after_s: None })
    }

    /// A rule that changes what answers say; see [`Mischief::Twist`]. What isn't an object changes nothing.
    pub fn twist(call: &str, with: Value, more: Value) -> Rule {
        let members = |value: Value| if let Value::Object(members) = value { members } else { Map::new() };
        Rule::new(call, Mischief::Twist { with: members(with), more: members(more) })
    }

    /// What is wrong with the rule, if anything is.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.then {
            Mischief::Status { status, .. } if !(400..=599).contains(&status) => Err("`status` must be 400 to 599"),
            _ if self.percent > 100 => Err("`percent` must be 0 to 100"),
            _ if self.call.is_empty() => Err("`call` must name a call, a beginning such as `gmail.*`, or `*`"),
            _ => Ok(()),
        }
    }

    fn fits(&self, call: &str, person: Option<&str>) -> bool {
        let named = match self.call.strip_suffix('*') {
            Some(beginning) => call.starts_with(beginning),
            None => call == self.call,
        };
        let meant = |wanted: &String| person.is_some_and(|person| person.eq_ignore_ascii_case(wanted));
        named && self.person.as_ref().is_none_or(meant)
    }
}

/// All rules, and the latency of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// Milliseconds of the machine's time by which every call is answered later.
    pub latency_ms: u64,
    next_id: u64,
}

impl Faults {
    /// Adds a rule and gives it its name. The rules beyond [`RULES_MAX`] are refused by leaving them out.
    pub fn add(&mut self, mut rule: Rule) -> u64 {
        if rule.id == 0 {
            self.next_id += 1;
            rule.id = self.next_id;
        }
        let id = rule.id;
        if self.rules.len() < RULES_MAX {
            self.rules.push(rule);
        }
        id
    }

    /// Removes all rules and the latency.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.latency_ms = 0;
    }

    /// What happens to this call, if anything does.
    pub(crate) fn strike(&mut self, call: &str, person: Option<&str>, dice: &mut Dice) -> Option<Mischief> {
        for rule in &mut self.rules {
            if rule.count == Some(0) || !rule.fits(call, person) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.percent < 100 && !dice.percent(rule.percent) {
                continue;
            }
            if let Some(count) = &mut rule.count {
                *count -= 1;
            }
            return Some(rule.then.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_acts_on_its_calls_its_person_and_its_count() {
        let mut faults = Faults::default();
        let mut dice = Dice::new(1);
        faults.add(Rule::status("gmail.users.history.list", 500).of("ines@example.com").times(1));
        faults.add(Rule::new("gmail.*", Mischief::Hang).times(1));
        let mut strike = |call, person| faults.strike(call, person, &mut dice).map(|mischief| mischief.word());
        assert_eq!(strike("pubsub.pull", None), None);
        assert_eq!(strike("gmail.users.history.list", Some("Ines@example.com")), Some("status"));
        assert_eq!(strike("gmail.users.history.list", Some("ines@example.com")), Some("hang"));
        assert_eq!(strike("gmail.users.history.list", Some("ines@example.com")), None);
    }

    #[test]
    fn skipping_and_chance() {
        let mut faults = Faults::default();
        let mut dice = Dice::new(1);
        faults.add(Rule { skip: 2, ..Rule::status("*", 503) });
        let hits: Vec<bool> = (0..4).map(|_| faults.strike("a", None, &mut dice).is_some()).collect();
        assert_eq!(hits, [false, false, true, true]);
        faults.clear();
        faults.add(Rule::status("*", 503).in_percent(30));
        let hits = (0..1_000).filter(|_| faults.strike("a", None, &mut dice).is_some()).count();
        assert!((200..400).contains(&hits));
    }

    #[test]
    fn rules_are_read_strictly() {
        let good =
            r#"{"call":"gmail.*","then":{"kind":"status","status":429,"reason":"userRateLimitExceeded"},"count":2}"#;
        let rule: Rule = serde_json::from_str(good).unwrap();
        assert_eq!((rule.count, rule.check()), (Some(2), Ok(())));
        assert!(serde_json::from_str::<Rule>(r#"{"call":"*","then":{"kind":"hang"},"often":1}"#).is_err());
        assert!(Rule::status("*", 200).check().is_err());
    }
}

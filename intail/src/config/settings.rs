//! From text to settings: the TOML file and the environment, laid over each other, every value with where it came from.
//!
//! This stage knows names and places, not meanings; `config.rs` checks the values. All problems are collected, because
//! somebody who repairs a configuration wants to hear everything at once. A reader must not put a value into a problem
//! here: it may be a secret under a misspelt name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys::{self, Kind};

/// The largest configuration or secret file that is read, in bytes. Real ones have a few KiB; a mistaken path to
/// something huge must not fill the memory.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// How alike two names must be for "did you mean", from 0 to 1. Below it the hint misleads more than it helps.
const LIKENESS_MIN: f64 = 0.6;

/// The tables that may lie inside each other in the file. Real keys need three.
const DEPTH_MAX: usize = 8;

/// Where a value stands, or where one is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, at a line counted from 1.
    File(PathBuf, usize),
    /// In an environment variable.
    Variable(String),
    /// Nowhere: the key is absent.
    Absent,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(formatter, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(formatter, "variable {name}"),
            Self::Absent => formatter.write_str("not given"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `server.public_url`; empty when the file as a whole is meant.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what to do, a sentence without the value of any secret.
    pub sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.as_str(), &self.place) {
            ("", place) => write!(formatter, "{place}: {}", self.sentence),
            (key, Place::Absent) => write!(formatter, "{key}: {}", self.sentence),
            (key, place) => write!(formatter, "{key} ({place}): {}", self.sentence),
        }
    }
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    /// Something that no key takes; the words say what it is.
    Other(&'static str),
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Everything that was given under a known name, and what is wrong so far.
#[derive(Default)]
pub(super) struct Settings {
    values: BTreeMap<String, Setting>,
    /// `PUBSUB_EMULATOR_HOST`, unless it is empty: Google's libraries take that for absent.
    pub(super) emulator: Option<Setting>,
    pub(super) problems: Vec<Problem>,
}

/// The variable by which Google's own libraries find a Pub/Sub emulator.
pub(super) const EMULATOR: &str = "PUBSUB_EMULATOR_HOST";

impl Settings {
    /// Reads the file's text. `path` is only for naming places. The error is that it isn't TOML at all.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), Problem> {
        let file = FileText { path, text };
        let table = DeTable::parse(text).map_err(|error| {
            // Only the parser's sentence: its full text quotes the line, which may hold a secret.
            let sentence = format!("this isn't valid TOML: {}.", error.message().trim_end_matches('.'));
            let place = file.place(error.span().map_or(0, |span| span.start));
            Problem { key: String::new(), place, sentence }
        })?;
        self.add_table(&file, "", table.get_ref(), 0);
        Ok(())
    }

    fn add_table(&mut self, file: &FileText<'_>, prefix: &str, table: &DeTable<'_>, depth: usize) {
        for (name, value) in table {
            let key =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let place = file.place(name.span().start);
            match value.get_ref() {
                DeValue::Table(inner) if !is_section(&key) && inner.is_empty() => self.report_unknown(&key, place),
                DeValue::Table(inner) if depth < DEPTH_MAX => self.add_table(file, &key, inner, depth + 1),
                other => self.add(key, place, read_toml(other)),
            }
        }
    }

    /// Takes our variables and Google's emulator variable out of the environment; they go before the file.
    pub(super) fn add_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let mut overlay = Settings::default();
        for (variable, value) in environment {
            let place = Place::Variable(variable.clone());
            if variable == EMULATOR && !value.is_empty() {
                self.emulator = Some(Setting { value: Value::Text(value), place });
            } else if let Some(rest) = variable.strip_prefix(keys::PREFIX) {
                let known = keys::names().into_iter().find(|name| keys::variable(&name.key) == variable);
                let key = known.map_or_else(|| rest.to_ascii_lowercase().replace("__", "."), |name| name.key);
                overlay.add(key, place, Value::Text(value));
            }
        }
        self.values.extend(overlay.values);
        self.problems.extend(overlay.problems);
    }

    fn add(&mut self, key: String, place: Place, value: Value) {
        if is_section(&key) {
            self.report(&key, place, "this is a section, not a key: put its keys below it.");
        } else if !keys::names().iter().any(|name| name.key == key) {
            self.report_unknown(&key, place);
        } else if let Some(before) = self.values.insert(key.clone(), Setting { value, place: place.clone() }) {
            self.report(&key, place, format!("it is given twice; the other is at {}. Remove one.", before.place));
        }
    }

    fn report_unknown(&mut self, key: &str, place: Place) {
        let names = keys::names();
        let hint = nearest(key, names.iter().map(|name| name.key.as_str())).map(|near| match place {
            Place::Variable(_) => format!(" Did you mean {}?", keys::variable(near)),
            _ => format!(" Did you mean {near}?"),
        });
        let hint = hint.unwrap_or_else(|| " `intail config default` prints every key.".to_owned());
        self.report(key, place, format!("there is no such key.{hint}"));
    }

    /// Notes that something is wrong.
    pub(super) fn report(&mut self, key: &str, place: Place, sentence: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), place, sentence: sentence.into() });
    }

    /// Where a key was given.
    pub(super) fn place(&self, key: &str) -> Place {
        self.values.get(key).map_or(Place::Absent, |setting| setting.place.clone())
    }

    /// The text that was given for a key; a problem if it is something else or empty.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        debug_assert!(keys::names().iter().any(|name| name.key == key && name.kind != Kind::Number), "{key}");
        let Setting { value, place } = self.values.get(key)?.clone();
        let sentence = match value {
            Value::Text(text) if !text.trim().is_empty() => return Some(text),
            Value::Text(_) => "it is empty. Give a value, or remove it.".to_owned(),
            Value::Number(_) => "it has to be text. Write it in quotes.".to_owned(),
            Value::Other(what) => format!("it has to be text in quotes, not {what}."),
        };
        self.report(key, place, sentence);
        None
    }

    /// The number that was given for a key; a problem if it is something else or not in `1..=max`.
    pub(super) fn number(&mut self, key: &str, max: u64) -> Option<u64> {
        let Setting { value, place } = self.values.get(key)?.clone();
        let number = match value {
            Value::Number(number) => Some(number),
            Value::Text(text) if matches!(place, Place::Variable(_)) => text.trim().parse().ok(),
            Value::Text(_) | Value::Other(_) => None,
        };
        let number = number.filter(|number| (1..=max).contains(number));
        if number.is_none() {
            self.report(key, place, format!("it has to be a whole number from 1 to {max}, without quotes."));
        }
        number
    }

    /// The secret under `key` or in the file that `<key>_file` names. Both is a problem.
    pub(super) fn secret(&mut self, key: &str, directory: &Path) -> Option<String> {
        let file_key = format!("{key}_file");
        let (direct, file) = (self.place(key), self.place(&file_key));
        if direct != Place::Absent && file != Place::Absent {
            self.report(key, direct, format!("{file_key} is given too ({file}). Give only one of the two."));
            return None;
        }
        if file == Place::Absent {
            return self.text(key);
        }
        let path = directory.join(self.text(&file_key)?);
        self.secret_file(&file_key, &path)
    }

    /// The content of a file that holds a secret, without the line end that editors put there.
    pub(super) fn secret_file(&mut self, key: &str, path: &Path) -> Option<String> {
        let sentence = match read_bounded(path) {
            Ok(text) if !text.trim().is_empty() => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Ok(_) => "is empty.".to_owned(),
            Err(error) => format!("can't be read: {error}."),
        };
        self.report(key, self.place(key), format!("the file {} {sentence}", path.display()));
        None
    }
}

/// The text of a file of at most [`FILE_BYTES_MAX`]. The error is a half sentence for "can't be read: …".
pub(super) fn read_bounded(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| in_words(&error))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| in_words(&error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {} KiB", FILE_BYTES_MAX / 1024));
    }
    Ok(text)
}

fn in_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{InvalidData, IsADirectory, NotFound, PermissionDenied};
    match error.kind() {
        NotFound => "it doesn't exist".to_owned(),
        PermissionDenied => "this user may not read it".to_owned(),
        IsADirectory => "it is a folder".to_owned(),
        InvalidData => "it isn't UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

struct FileText<'a> {
    path: &'a Path,
    text: &'a str,
}

impl FileText<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        Place::File(self.path.to_owned(), before.filter(|byte| **byte == b'\n').count() + 1)
    }
}

fn read_toml(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = u64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Value::Other("a negative or very large number"), Value::Number)
        }
        DeValue::Float(_) => Value::Other("a number with a point"),
        DeValue::Boolean(_) => Value::Other("true or false"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(_) => Value::Other("a list"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}

/// Whether a name is a section, or the beginning of one.
fn is_section(key: &str) -> bool {
    let below = |name: &str| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    keys::SECTIONS.iter().any(|section| below(section.name))
}

/// The valid name that looks most like `key`: letter by letter, or the same last part in another section.
pub(super) fn nearest<'a>(key: &str, valid: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |name: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, name);
        let part = strsim::normalized_damerau_levenshtein(&last(key), &last(name));
        // The last part says more than the section, yet a perfect section must decide between equal last parts.
        whole.max(part * 0.9 + whole * 0.1)
    };
    let best = valid.map(|name| (likeness(name), name)).max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}

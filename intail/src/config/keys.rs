//! The configuration's keys as data: name, kind, default and meaning, in the order people read them.
//!
//! Everything that knows key names reads this table: the file and environment reader, the printed default file and
//! `docs/configuration.md`. A reader must not name a key anywhere else without it standing here; a test compares them.

use std::fmt::Write as _;

use intail_google::CALLS;
use intail_google::price::Table;

/// One section of the file.
pub(super) struct Section {
    /// Its name between the brackets.
    pub(super) name: &'static str,
    /// What it is about, one or two sentences.
    pub(super) about: &'static str,
    /// Its keys.
    pub(super) keys: &'static [Key],
}

/// One key.
pub(super) struct Key {
    /// The name below its section.
    pub(super) name: &'static str,
    /// What may stand there.
    pub(super) kind: Kind,
    /// What holds when it is absent.
    pub(super) default: Absent,
    /// What it does, in sentences.
    pub(super) about: &'static str,
}

/// What a key's value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text that may be shown.
    Text,
    /// Text that is never shown, and may stand in a file of its own: `<key>_file` names that file.
    Secret,
    /// A whole number.
    Number,
}

/// What holds when a key is absent.
pub(super) enum Absent {
    /// This value.
    Value(&'static str),
    /// Something that is worked out; the sentence says what. The second text is an example value.
    WorkedOut(&'static str, &'static str),
    /// Intail doesn't start. The text is an example value.
    Required(&'static str),
}

use Absent::{Required, Value, WorkedOut};
use Kind::{Number, Secret, Text};

const fn key(name: &'static str, kind: Kind, default: Absent, about: &'static str) -> Key {
    Key { name, kind, default, about }
}

/// The section that also takes the names of Google's calls as keys.
pub(super) const OVERRIDES: &str = "quota.overrides";

/// All sections in reading order.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "server",
        about: "Where Intail listens, and the address under which people reach it.",
        keys: &[
            key(
                "listen",
                Text,
                Value("127.0.0.1:8080"),
                "IP address and port to listen on. Port 0 lets the system choose a free one.",
            ),
            key(
                "public_url",
                Text,
                WorkedOut(
                    "http:// and `server.listen`, if that is on loopback; required otherwise",
                    "https://intail.example.com",
                ),
                "The address in people's browsers: https, or http on loopback. Only scheme, host and port: Intail owns \
                 the whole host. Redirect addresses follow from it: /connect/google/callback and /signin/callback.",
            ),
        ],
    },
    Section {
        name: "database",
        about: "One machine: SQLite. Several instances: PostgreSQL.",
        keys: &[key(
            "url",
            Secret,
            Value("sqlite:intail.db"),
            "`sqlite:` and a file beside the configuration file, or `postgres://user:password@host/name`.",
        )],
    },
    Section {
        name: "keys",
        about: "The key that seals every secret in the database. Without it they are lost: back it up.",
        keys: &[key("file", Text, Value("intail.key"), "The key file. It is made at the first start.")],
    },
    Section {
        name: "signin",
        about: "How people sign in to Intail: any OpenID Connect provider, Google by default.",
        keys: &[
            key(
                "issuer",
                Text,
                WorkedOut("`google.endpoints.issuer`", "https://accounts.google.com"),
                "The provider's issuer, letter by letter.",
            ),
            key(
                "client_id",
                Text,
                WorkedOut("the client in [google], if the issuer is Google", "1234-signin.apps.googleusercontent.com"),
                "The OAuth client for signing in. A client of its own lets people sign in before their administrator \
                 has approved Intail.",
            ),
            key("client_secret", Secret, WorkedOut("goes with `signin.client_id`", "…"), "That client's secret."),
        ],
    },
    Section {
        name: "google",
        about: "The OAuth client that people permit to read their Google Workspace data.",
        keys: &[
            key(
                "client_id",
                Text,
                Required("1234-intail.apps.googleusercontent.com"),
                "The client ID from the Google Cloud console.",
            ),
            key("client_secret", Secret, Required("GOCSPX-…"), "The client's secret."),
            key(
                "project",
                Text,
                WorkedOut("none; needed for short names in [pubsub]", "my-project"),
                "The Google Cloud project's ID.",
            ),
        ],
    },
    Section {
        name: "google.endpoints",
        about: "Where Google's services are. Change them to let another implementation stand in, such as `intail \
                simulate`. https, or http on loopback.",
        keys: &[
            key("issuer", Text, Value("https://accounts.google.com"), "The issuer inside Google's ID tokens."),
            key("authorize", Text, Value("https://accounts.google.com/o/oauth2/v2/auth"), "The consent page."),
            key("token", Text, Value("https://oauth2.googleapis.com/token"), "Exchanges codes and refresh tokens."),
            key("revoke", Text, Value("https://oauth2.googleapis.com/revoke"), "Ends a grant."),
            key("userinfo", Text, Value("https://openidconnect.googleapis.com/v1/userinfo"), "Who the person is."),
            key("jwks", Text, Value("https://www.googleapis.com/oauth2/v3/certs"), "The keys that sign ID tokens."),
            key("gmail", Text, Value("https://gmail.googleapis.com"), "The Gmail API, without /gmail/v1."),
            key("calendar", Text, Value("https://www.googleapis.com"), "The Calendar API, without /calendar/v3."),
            key(
                "directory",
                Text,
                Value("https://admin.googleapis.com"),
                "The Directory API, without /admin/directory/v1.",
            ),
            key(
                "pubsub",
                Text,
                Value("https://pubsub.googleapis.com"),
                "Cloud Pub/Sub, without /v1. The variable PUBSUB_EMULATOR_HOST (host:port) goes before it.",
            ),
            key(
                "discovery",
                Text,
                Value("https://accounts.google.com/.well-known/openid-configuration"),
                "Google's OpenID Connect discovery document.",
            ),
        ],
    },
    Section {
        name: "pubsub",
        about: "Google tells of new mail through a Pub/Sub topic. Intail pulls from a subscription, or has it push.",
        keys: &[
            key("mode", Text, Value("pull"), "`pull` works behind any firewall. `push` needs a public https address."),
            key("topic", Text, Value("intail"), "A short name in `google.project`, or projects/PROJECT/topics/NAME."),
            key(
                "subscription",
                Text,
                Value("intail"),
                "A short name in `google.project`, or projects/PROJECT/subscriptions/NAME.",
            ),
            key(
                "credentials_file",
                Text,
                WorkedOut(
                    "the machine's own Google credentials; none for an http endpoint or an emulator",
                    "pubsub-key.json",
                ),
                "A service account's key file, or another Google credentials file.",
            ),
            key(
                "push_audience",
                Text,
                WorkedOut("`server.public_url` and /notices/pubsub", "https://intail.example.com/notices/pubsub"),
                "With `mode = \"push\"`: the audience that Pub/Sub's tokens must carry.",
            ),
            key(
                "push_service_account",
                Text,
                WorkedOut("none; required with `mode = \"push\"`", "intail-push@my-project.iam.gserviceaccount.com"),
                "With `mode = \"push\"`: the service account that Pub/Sub's tokens must name.",
            ),
        ],
    },
    Section {
        name: "quota",
        about: "What Google allows the project. Intail stays below it.",
        keys: &[key(
            "table",
            Text,
            Value("2026-05"),
            "Google's price table: `2026-05`, or `before-2026-05` for projects that used Gmail's API before that.",
        )],
    },
    Section {
        name: OVERRIDES,
        about: "Numbers that differ from the table. Besides the limits below, any Gmail call may have its own price in \
                units, such as `\"gmail.messages.get\" = 20`.",
        keys: &[
            key("person_minute", Number, WorkedOut("from the table", "6000"), "Units for one person in one minute."),
            key(
                "project_minute",
                Number,
                WorkedOut("from the table", "1200000"),
                "Units for the project in one minute.",
            ),
            key("project_day", Number, WorkedOut("from the table", "80000000"), "Units for the project in one day."),
            key(
                "concurrent_per_mailbox",
                Number,
                WorkedOut("from the table", "5"),
                "Calls at the same time for one mailbox.",
            ),
            key(
                "calendar.person_minute",
                Number,
                WorkedOut("from the table", "600"),
                "Requests to the calendar for one person in one minute.",
            ),
            key(
                "calendar.project_minute",
                Number,
                WorkedOut("from the table", "10000"),
                "Requests to the calendar for the project in one minute.",
            ),
            key(
                "calendar.project_day",
                Number,
                WorkedOut("from the table", "1000000"),
                "Requests to the calendar for the project in one day.",
            ),
            key(
                "directory.person_minute",
                Number,
                WorkedOut("from the table", "2400"),
                "Requests to the directory for one person in one minute.",
            ),
            key(
                "directory.project_minute",
                Number,
                WorkedOut("none; Google names none", "10000"),
                "Requests to the directory for the project in one minute.",
            ),
            key(
                "directory.project_day",
                Number,
                WorkedOut("none; Google names none", "1000000"),
                "Requests to the directory for the project in one day.",
            ),
        ],
    },
];

/// A name that may stand in the file.
pub(super) struct Name {
    /// The whole key, such as `google.client_secret_file`.
    pub(super) key: String,
    /// What its value is; a `…_file` key is [`Kind::Text`].
    pub(super) kind: Kind,
}

/// Every name that may stand in the file, `…_file` forms and prices included.
pub(super) fn names() -> Vec<Name> {
    let mut names = Vec::new();
    for section in SECTIONS {
        for key in section.keys {
            let full = format!("{}.{}", section.name, key.name);
            if key.kind == Secret {
                names.push(Name { key: format!("{full}_file"), kind: Text });
            }
            names.push(Name { key: full, kind: key.kind });
        }
    }
    names.extend(priced_calls().map(|call| Name { key: format!("{OVERRIDES}.{call}"), kind: Number }));
    names
}

/// The calls that cost units, by the newest table.
pub(super) fn priced_calls() -> impl Iterator<Item = &'static str> {
    CALLS.iter().map(|call| call.name).filter(|name| Table::default().units(name) > 0)
}

/// The environment variable that stands for a key: `google.client_id` is `INTAIL__GOOGLE__CLIENT_ID`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// How the names of our environment variables begin.
pub(super) const PREFIX: &str = "INTAIL__";

/// The width at which comments in the printed file wrap, in characters.
const COMMENT_COLUMNS: usize = 100;

/// The whole configuration as a commented TOML file: every key with its meaning, commented out.
pub fn default_file() -> String {
    let mut text = String::from(
        "# Intail's configuration. Every key stands here with its default or an example, commented out.\n\
         # Each can also be given as an environment variable, which goes before the file: INTAIL__SECTION__KEY,\n\
         # such as INTAIL__SERVER__LISTEN or INTAIL__GOOGLE__ENDPOINTS__GMAIL. Other keys are refused.\n\
         # Relative paths start at the folder of this file.\n",
    );
    for section in SECTIONS {
        text.push('\n');
        push_comment(&mut text, section.about);
        let _ = writeln!(text, "[{}]", section.name);
        for key in section.keys {
            push_key(&mut text, key);
        }
    }
    text
}

fn push_key(text: &mut String, key: &Key) {
    let (value, remark) = match key.default {
        Value(value) => (value, String::new()),
        WorkedOut(sentence, example) => (example, format!(" Default: {sentence}.")),
        Required(example) => (example, " Required.".to_owned()),
    };
    push_comment(text, &format!("{}{remark}", key.about));
    let quote = if key.kind == Number { "" } else { "\"" };
    let _ = writeln!(text, "#{} = {quote}{value}{quote}", key.name);
    if key.kind == Secret {
        let _ = writeln!(text, "#{0}_file = \"{0}.txt\"   # instead: the file that holds it", key.name);
    }
}

fn push_comment(text: &mut String, sentence: &str) {
    let mut line = String::from("#");
    for word in sentence.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COMMENT_COLUMNS {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// The reference as Markdown: `docs/configuration.md` is exactly this text.
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         This page is written by `cargo xtask docs` from the table that the program reads; a test keeps it true.\n\n\
         Intail reads one TOML file (`--config intail.toml`). Every key can also be given as an environment variable,\n\
         which goes before the file. A secret can stand in a file of its own: add `_file` to its key, and give either\n\
         the one or the other. Relative paths start at the folder of the configuration file, or at the working\n\
         directory if there is none. A key that isn't listed here is an error, so that a typing mistake can't go\n\
         unnoticed.\n\n\
         `intail config default` prints this list as a file to start from; `intail config check` says what a\n\
         configuration means, or everything that is wrong with it.\n",
    );
    for section in SECTIONS {
        let _ = write!(text, "\n## [{}]\n\n{}\n\n", section.name, section.about);
        text.push_str("| Key | Variable | Default | Meaning |\n| --- | --- | --- | --- |\n");
        for key in section.keys {
            push_row(&mut text, section.name, key);
        }
    }
    let calls = priced_calls().map(|call| format!("`{call}`")).collect::<Vec<_>>().join(", ");
    let _ = write!(
        text,
        "\nPrices can be given for: {calls}. As variables: `{}`.\n\n## Other variables\n\n\
         `PUBSUB_EMULATOR_HOST` (`host:port`) sends everything for Pub/Sub to an emulator, without credentials, as\n\
         Google's own libraries do.\n",
        variable("quota.overrides.gmail.messages.get"),
    );
    text
}

fn push_row(text: &mut String, section: &str, key: &Key) {
    let default = match key.default {
        Value(value) => format!("`{value}`"),
        WorkedOut(sentence, _) => sentence.to_owned(),
        Required(_) => "required".to_owned(),
    };
    let secret = if key.kind == Secret { format!(" Secret; or `{}_file`.", key.name) } else { String::new() };
    let variable = variable(&format!("{section}.{}", key.name));
    let _ = writeln!(text, "| `{}` | `{variable}` | {default} | {}{secret} |", key.name, key.about);
}

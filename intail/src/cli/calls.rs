//! `intail calls`: prints the compiled list of everything that Google can be asked. It is the list that the client
//! itself reads; what doesn't stand in it can't be sent.

use std::fmt::Write as _;
use std::io::Write;

use clap::Args;
use intail_google::CALLS;
use intail_google::calls::{Api, Call};
use intail_google::price::Table;
use serde_json::{Value, json};

use super::{CliError, Outcome};

/// `intail calls …`
#[derive(Debug, Args)]
pub(super) struct CallsArguments {
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(arguments: &CallsArguments, output: &mut dyn Write) -> Result<Outcome, CliError> {
    if arguments.json {
        let calls: Vec<Value> = CALLS.iter().map(|call| as_json(call)).collect();
        writeln!(output, "{:#}", Value::from(calls))?;
    } else {
        write!(output, "{}", as_text())?;
    }
    Ok(Outcome::Done)
}

/// The services in the order of the list, with a heading each.
const SERVICES: [(Api, &str); 5] = [
    (Api::SignIn, "Sign-in and grants, at the addresses of [google.endpoints]"),
    (Api::Gmail, "Gmail, with the scope gmail.metadata: no call can read a body or change a message"),
    (
        Api::Calendar,
        "Google Calendar, with the scope calendar.readonly: no call can change an event or read its description",
    ),
    (Api::Directory, "The organization's directory, with the scope admin.directory.user.readonly"),
    (Api::PubSub, "Cloud Pub/Sub, in your own project"),
];

fn as_text() -> String {
    let mut text = String::from(
        "Everything that this program can ask Google. What isn't listed can't be sent; where the word only stands,\n\
         Google answers nothing else. Units are Gmail's quota units, by the price tables since and before May 2026.\n",
    );
    let width = CALLS.iter().map(|call| call.name.len()).max().unwrap_or_default();
    for (api, heading) in SERVICES {
        let _ = writeln!(text, "\n{heading}\n");
        for call in CALLS.iter().filter(|call| call.api == api) {
            push_call(&mut text, call, width);
        }
    }
    text
}

fn push_call(text: &mut String, call: &Call, width: usize) {
    let (new, old) = (Table::May2026.units(call.name), Table::BeforeMay2026.units(call.name));
    let units = match (new, old) {
        (0, 0) => String::new(),
        (1, 1) => "  (1 unit)".to_owned(),
        (new, old) if new == old => format!("  ({new} units)"),
        (new, old) => format!("  ({new} units; before {old})"),
    };
    let _ = writeln!(text, "  {:<width$}  {:<4}  {}{units}", call.name, call.method, call.path);
    push_names(text, "query", call.query.iter().copied());
    push_names(text, "body", call.body.iter().copied());
    push_names(text, "only", call.fields.iter().flat_map(|fields| fields.split(',')));
}

/// Where the names of a call's parts begin.
const INDENT: usize = 11;
/// The width at which they wrap, in characters.
const COLUMNS: usize = 110;

/// Names with commas between them, wrapped.
fn push_names<'a>(text: &mut String, word: &str, names: impl Iterator<Item = &'a str>) {
    let mut line = format!("    {word:<7}");
    let mut names = names.peekable();
    if names.peek().is_none() {
        return;
    }
    while let Some(name) = names.next() {
        if line.len() > INDENT && line.len() + name.len() + 1 > COLUMNS {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(INDENT);
        }
        line.push_str(name);
        line.push_str(if names.peek().is_some() { ", " } else { "" });
    }
    let _ = writeln!(text, "{line}");
}

fn as_json(call: &Call) -> Value {
    json!({
        "name": call.name,
        "service": match call.api {
            Api::SignIn => "sign-in",
            Api::Gmail => "gmail",
            Api::Calendar => "calendar",
            Api::Directory => "directory",
            Api::PubSub => "pubsub",
        },
        "method": call.method,
        "path": call.path,
        "query": call.query,
        "body": call.body,
        "fields": call.fields,
        "units": {
            "2026-05": Table::May2026.units(call.name),
            "before-2026-05": Table::BeforeMay2026.units(call.name),
        },
        "deadline_s": call.deadline_s(),
        "answer_bytes_max": call.answer_bytes_max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_printed_once() {
        let text = as_text();
        for call in CALLS {
            let line = format!("\n  {} ", call.name);
            assert_eq!(text.matches(&line).count(), 1, "{}", call.name);
        }
    }
}

//! The receipt: every call that was made to Google on the person's behalf, by day.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::civil::Date;

use super::Web;
use super::access::Caller;
use super::page::{Shell, html};
use super::trouble::Trouble;
use super::words::{When, call, counted, grouped, size};
use crate::store::call_counts::{self, CallCount};
use crate::store::grants;

/// Counts that are shown: about a month of days with some ten kinds of calls each.
const COUNTS_MAX: i64 = 400;

#[derive(Template)]
#[template(path = "receipt.html")]
struct ReceiptPage {
    shell: Shell,
    days: Vec<Day>,
}

struct Day {
    day: String,
    calls: String,
    units: String,
    bytes: String,
    lines: Vec<Line>,
}

struct Line {
    words: &'static str,
    call: String,
    outcome: String,
    went_well: bool,
    calls: String,
    units: String,
    bytes: String,
    last_at: When,
}

/// `GET /receipt`
pub(super) async fn page(State(web): State<Web>, caller: Caller) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let counts = match grants::by_person(&mut tx, &caller.person.id).await? {
        Some(grant) => call_counts::of_grant(&mut tx, &grant.id, COUNTS_MAX).await?,
        None => Vec::new(),
    };
    drop(tx);
    let days = counts.chunk_by(|one, next| one.day == next.day).map(day).collect();
    html(&ReceiptPage { shell: Shell::new(&web, Some(&caller), "receipt", "Receipt"), days })
}

fn day(counts: &[CallCount]) -> Day {
    let sum = |of: fn(&CallCount) -> i64| counts.iter().map(of).fold(0i64, i64::saturating_add);
    let name = counts.first().map_or("", |it| it.day.as_str());
    Day {
        day: name.parse::<Date>().map_or_else(|_| name.to_owned(), |it| it.strftime("%A, %-d %B %Y").to_string()),
        calls: counted(sum(|it| it.calls), "call", "calls"),
        units: grouped(sum(|it| it.units)),
        bytes: size(sum(|it| it.bytes)),
        lines: counts.iter().map(line).collect(),
    }
}

fn line(count: &CallCount) -> Line {
    Line {
        words: call(&count.call),
        call: count.call.clone(),
        outcome: count.outcome.clone(),
        went_well: count.outcome == "ok",
        calls: grouped(count.calls),
        units: grouped(count.units),
        bytes: size(count.bytes),
        last_at: When::full(count.last_at),
    }
}

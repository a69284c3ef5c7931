//! The activity page: what changed, newest first, in words.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Web;
use super::access::Caller;
use super::asked::Asked;
use super::page::{Shell, html};
use super::trouble::Trouble;
use super::words::{LabelNames, Sentence, When, sentence};
use crate::store::{changes, labels, mailboxes};

/// Changes on a page.
const PAGE_CHANGES: i64 = 60;

/// Which part of the list.
#[derive(Deserialize)]
pub(super) struct Part {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    lines: Vec<Line>,
    connected: bool,
    older: Option<i64>,
    newest: bool,
}

struct Line {
    seq: i64,
    at: When,
    sentence: Sentence,
}

/// `GET /activity`
pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(part): Asked<Part>,
) -> Result<Response, Trouble> {
    let mut tx = web.app.store.read().await?;
    let last_seq = changes::last_seq(&mut tx, &caller.person.organization_id).await?;
    let before = part.before.unwrap_or(i64::MAX);
    let mut listed = changes::newest_of_person(&mut tx, &caller.person.id, before, PAGE_CHANGES + 1).await?;
    let mailbox = mailboxes::by_person(&mut tx, &caller.person.id).await?;
    let known = match &mailbox {
        Some(mailbox) => labels::list(&mut tx, &mailbox.id).await?,
        None => Vec::new(),
    };
    drop(tx);
    let page = usize::try_from(PAGE_CHANGES).unwrap_or(usize::MAX);
    let more = listed.len() > page;
    listed.truncate(page);
    let names = LabelNames::of(&known);
    html(&ActivityPage {
        shell: Shell::new(&web, Some(&caller), "activity", "Activity").following(last_seq, mailbox.is_some()),
        connected: mailbox.is_some(),
        older: listed.last().filter(|_| more).map(|it| it.seq),
        newest: part.before.is_some(),
        lines: listed
            .iter()
            .map(|it| Line { seq: it.seq, at: When::full(it.at), sentence: sentence(it, &names) })
            .collect(),
    })
}

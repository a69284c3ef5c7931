//! The activity page: what changed, newest first, in words.

use std::collections::{BTreeMap, BTreeSet};

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
use crate::id::{AgendaId, StreamId};
use crate::store::changes::Change;
use crate::store::events::{self, Event};
use crate::store::{StoreError, Tx, changes, labels, mailboxes};

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
    let series = series_of(&mut tx, &listed).await?;
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
            .map(|it| Line {
                seq: it.seq,
                at: When::full(it.at),
                sentence: sentence(it, &names, place(it).and_then(|at| series.get(&at))),
            })
            .collect(),
    })
}

/// Where a series is: agenda, calendar and id.
type Place = (AgendaId, String, String);

/// Which series a change's event is an occurrence of.
fn place(change: &Change) -> Option<Place> {
    let StreamId::Calendar(agenda) = &change.stream else { return None };
    let event = change.event.as_ref()?;
    Some((agenda.clone(), event.calendar_id.clone(), event.series_id.clone()?))
}

/// The series that the changes' events are occurrences of, one look for each calendar.
async fn series_of(tx: &mut Tx, listed: &[Change]) -> Result<BTreeMap<Place, Event>, StoreError> {
    let mut wanted: BTreeMap<(AgendaId, String), BTreeSet<String>> = BTreeMap::new();
    for (agenda, calendar, series) in listed.iter().filter_map(place) {
        wanted.entry((agenda, calendar)).or_default().insert(series);
    }
    let mut found = BTreeMap::new();
    for ((agenda, calendar), ids) in wanted {
        let ids: Vec<String> = ids.into_iter().collect();
        for (id, event) in events::by_ids(tx, &agenda, &calendar, &ids).await? {
            found.insert((agenda.clone(), calendar.clone(), id), event);
        }
    }
    Ok(found)
}

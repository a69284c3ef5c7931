//! The feed as a live stream (server-sent events): each event is one change, its id is the change's number. A reader
//! that comes back with the last number that it saw misses nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use serde::Deserialize;
use serde_json::json;

use super::Web;
use super::access::Caller;
use super::api::ChangeShape;
use super::asked::Asked;
use super::colleagues::{self, Colleagues};
use super::trouble::{self, Problem, Trouble};
use crate::feed::Listener;
use crate::id::PersonId;
use crate::store::StoreError;
use crate::store::approval_waits::{self, Standing};
use crate::store::changes::{self, Change};
use crate::store::feed_gaps;
use crate::store::grants::GrantState;

/// Live readers of one person: some tabs and some programs.
const SEATS_OF_PERSON_MAX: usize = 16;
/// Live readers of one instance.
const SEATS_MAX: usize = 10_000;
/// Changes that are read at once.
const CHANGES_AT_ONCE: i64 = 200;
/// A comment is sent at least this often, so that proxies keep the connection open and a dead one is noticed.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Who reads live.
#[derive(Default)]
pub(super) struct Seats(Arc<Mutex<BTreeMap<PersonId, usize>>>);

/// One live reader's place; free again when it is dropped.
struct Seat {
    taken: Arc<Mutex<BTreeMap<PersonId, usize>>>,
    person: PersonId,
}

impl Seats {
    /// How many read live.
    pub(super) fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn take(&self, person: &PersonId) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        if all >= SEATS_MAX || taken.get(person).is_some_and(|it| *it >= SEATS_OF_PERSON_MAX) {
            return None;
        }
        *taken.entry(person.clone()).or_default() += 1;
        Some(Seat { taken: self.0.clone(), person: person.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_person) = taken.get_mut(&self.person) {
            *of_person = of_person.saturating_sub(1);
            if *of_person == 0 {
                taken.remove(&self.person);
            }
        }
    }
}

/// From where to read.
#[derive(Deserialize)]
pub(super) struct From {
    after: Option<i64>,
    standing: Option<String>,
}

/// The person's changes as they happen.
#[utoipa::path(
    get,
    path = "/api/v1/changes/stream",
    tag = "changes",
    params(
        ("after" = Option<i64>, Query, description = "Begin after this number; without it, from now on."),
        ("standing" = Option<String>, Query, description = "How the asker believes to stand, such as `asked.none`."),
        ("Last-Event-ID" = Option<i64>, Header, description = "The same, as browsers send it when they come back."),
    ),
    responses(
        (
            status = 200,
            content_type = "text/event-stream",
            body = ChangeShape,
            description = "Server-sent events. `event` is the change's kind, `id` its number, `data` the change. \
             Between them comes `event: standing`, without a number, whenever the organization's approval or the \
             connection's state becomes another one. Ends with `event: end` when the session, the key or the \
             connection is gone."
        ),
        (status = 404, content_type = "application/problem+json", body = Problem),
        (status = 410, content_type = "application/problem+json", body = Problem,
            description = "Intail was restored from a backup from before this number: read the changes anew."),
        (status = 429, content_type = "application/problem+json", body = Problem),
    )
)]
pub(super) async fn stream(
    State(web): State<Web>,
    caller: Caller,
    headers: HeaderMap,
    Asked(from): Asked<From>,
) -> Result<Response, Trouble> {
    let listener = web.app.feed.subscribe(&caller.person.organization_id);
    let last_seen = headers.get("last-event-id").and_then(|it| it.to_str().ok()).and_then(|it| it.parse::<i64>().ok());
    let mut tx = web.app.store.read().await?;
    let standing = approval_waits::standing_of(&mut tx, &caller.person.id).await?.filter(may_follow);
    let standing = standing.ok_or_else(|| trouble::not_there("connection"))?;
    let after = match last_seen.or(from.after) {
        Some(after) => after,
        None => changes::last_seq(&mut tx, &caller.person.organization_id).await?,
    };
    if feed_gaps::holds(&mut tx, &caller.person.organization_id, after).await? {
        return Err(trouble::feed_restored());
    }
    drop(tx);
    let seat = web
        .seats
        .take(&caller.person.id)
        .ok_or_else(|| trouble::too_many("There are too many live readers already."))?;
    let standing = from.standing.unwrap_or_else(|| standing.word());
    let waiting = Vec::new().into_iter();
    let colleagues = Colleagues::default();
    let reader = Reader { web, caller, listener, after, standing, waiting, colleagues, ended: false, _seat: seat };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_EVERY).text("still here");
    Ok(Sse::new(reader.events()).keep_alive(keep_alive).into_response())
}

/// Whoever is connected has a feed; whoever waits for the approval is told of it here.
fn may_follow(standing: &Standing) -> bool {
    standing.is_connected() || standing.waits_since.is_some()
}

struct Reader {
    web: Web,
    caller: Caller,
    listener: Listener,
    after: i64,
    /// How the reader knows to stand.
    standing: String,
    waiting: std::vec::IntoIter<Change>,
    /// Who is named in what waits.
    colleagues: Colleagues,
    ended: bool,
    _seat: Seat,
}

impl Reader {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let hello = Event::default().comment("following").retry(RETRY_AFTER);
        let rest = futures::stream::unfold(self, async |mut reader| {
            let event = reader.next().await?;
            Some((Ok(event), reader))
        });
        futures::StreamExt::chain(futures::stream::once(async { Ok(hello) }), rest)
    }

    /// The next event; none when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(change) = self.waiting.next() {
                return Some(event(&change, &self.colleagues));
            }
            match self.read().await {
                Ok(Some((standing, changes, colleagues))) => {
                    self.after = changes.last().map_or(self.after, |it| it.seq);
                    let is_quiet = changes.is_empty();
                    self.waiting = changes.into_iter();
                    self.colleagues = colleagues;
                    let word = standing.word();
                    if word != self.standing {
                        self.standing = word;
                        return Some(stands(&standing));
                    }
                    if is_quiet {
                        self.wait().await;
                    }
                }
                Ok(None) => {
                    self.ended = true;
                    return Some(Event::default().event("end").data("{\"why\":\"no longer permitted\"}"));
                }
                Err(error) => {
                    tracing::warn!(%error, "a live reader couldn't be served and was cut off; it comes back by itself");
                    return None;
                }
            }
        }
    }

    async fn wait(&mut self) {
        let ending = self.web.ending.clone();
        tokio::select! {
            () = self.listener.grew() => {}
            () = ending.cancelled() => self.ended = true,
        }
    }

    /// How the reader stands and what is new; none when they may not read any more.
    async fn read(&self) -> Result<Option<(Standing, Vec<Change>, Colleagues)>, StoreError> {
        if !self.caller.still_stands(&self.web).await? {
            return Ok(None);
        }
        let mut tx = self.web.app.store.read().await?;
        let person = &self.caller.person.id;
        let Some(standing) = approval_waits::standing_of(&mut tx, person).await?.filter(may_follow) else {
            return Ok(None);
        };
        let changes = changes::of_person(&mut tx, person, self.after, CHANGES_AT_ONCE).await?;
        let parties = colleagues::parties(changes.iter().filter_map(|it| it.message.as_ref()));
        let colleagues = Colleagues::of(&mut tx, &self.caller, parties).await?;
        Ok(Some((standing, changes, colleagues)))
    }
}

fn stands(standing: &Standing) -> Event {
    let grant = standing.grant.map_or("none", GrantState::word);
    let told = json!({ "approval": standing.approval.word(), "connection": grant });
    Event::default().event("standing").data(told.to_string())
}

fn event(change: &Change, colleagues: &Colleagues) -> Event {
    let told = Event::default().id(change.seq.to_string()).event(&change.kind);
    // Only a map with keys that aren't text could fail here, and there is none.
    told.json_data(ChangeShape::of(change, colleagues)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_persons_seats_are_bounded_and_come_free() {
        let seats = Seats::default();
        let random = Random::seeded(1);
        let (one, two) = (PersonId::new(&random), PersonId::new(&random));
        let held: Vec<Seat> = (0..SEATS_OF_PERSON_MAX).filter_map(|_| seats.take(&one)).collect();
        assert_eq!(held.len(), SEATS_OF_PERSON_MAX);
        assert!(seats.take(&one).is_none());
        assert!(seats.take(&two).is_some(), "another person isn't shut out");
        drop(held);
        assert_eq!(seats.taken(), 0);
    }
}

//! `/calendar`: a small calendar for whoever is signed in in this browser, so that a person can make things happen in
//! it and watch what the product makes of it. Plain forms; every button becomes a [`CalendarAction`].

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Deserialize;

use crate::Shared;
use crate::accounts::Person;
use crate::agenda::{AgendaError, CalendarAction, Event, EventEntry};
use crate::pages::{self, Frame, SameOrigin, browser_cookie, page, see_other};
use crate::recurrence::{Moment, zone_of};
use crate::world::World;

/// Days on one page.
const DAYS: i32 = 14;
/// How events that are made here can repeat: what people read, and the rule.
const REPEATS: [(&str, &str); 5] = [
    ("Once", ""),
    ("Every day", "FREQ=DAILY"),
    ("Every week", "FREQ=WEEKLY"),
    ("Every two weeks", "FREQ=WEEKLY;INTERVAL=2"),
    ("Every month", "FREQ=MONTHLY"),
];

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/calendar", get(show))
        .route("/calendar/create", post(create))
        .route("/calendar/act", post(act))
}

/// The person whose calendar is shown: the one asked for, when signed in in this browser, or else the first.
fn person_of(world: &World, headers: &HeaderMap, wanted: &str) -> Result<Person, Box<Response>> {
    let cookie = browser_cookie(headers);
    let signed_in = world.identity.signed_in(cookie.as_deref());
    let person = signed_in.iter().find(|person| person.sub == wanted).or_else(|| signed_in.first());
    person.map(|person| (*person).clone()).ok_or_else(|| Box::new(see_other("/accounts")))
}

struct Row {
    id: String,
    title: String,
    time: String,
    /// What the field for another beginning holds at first.
    start: String,
    tags: Vec<String>,
    guests: Vec<String>,
    /// The person can change it for everybody.
    own: bool,
    invited: bool,
    series: String,
}

impl Row {
    fn of(event: &Event, person: &Person) -> Row {
        let (time, start) = match &event.start {
            Moment::Day(day) => ("All day".to_owned(), day.to_string()),
            Moment::Clock(clock, zone) => {
                let time = format!("{} · {} min · {zone}", clock.strftime("%H:%M"), event.span);
                (time, clock.strftime("%Y-%m-%dT%H:%M").to_string())
            }
        };
        let mut tags = Vec::new();
        let mut tag = |wanted: bool, text: &str| {
            if wanted {
                tags.push(text.to_owned());
            }
        };
        tag(event.kind != "default", &event.kind);
        tag(event.slot.is_some(), "repeats");
        tag(event.visibility != "default", &event.visibility);
        tag(event.free, "free");
        let guests = event.guests.iter().map(|guest| format!("{}: {}", guest.email, guest.answer));
        Row {
            id: event.id.clone(),
            title: if event.title.is_empty() { "(no title)".to_owned() } else { event.title.clone() },
            time,
            start,
            guests: guests.collect(),
            own: event.organizer.is_empty() || person.has_address(&event.organizer),
            invited: event.guests.iter().any(|guest| person.has_address(&guest.email)),
            series: event.slot.as_ref().map(|slot| slot.series.clone()).unwrap_or_default(),
            tags,
        }
    }
}

struct Day {
    heading: String,
    rows: Vec<Row>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShowQuery {
    r#as: String,
    from: String,
    done: String,
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct CalendarPage {
    frame: Frame,
    sub: String,
    from: String,
    earlier: String,
    later: String,
    zone: String,
    days: Vec<Day>,
    repeats: [(&'static str, &'static str); 5],
    others: Vec<Person>,
}

async fn show(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(query): Query<ShowQuery>) -> Response {
    let shown = shared.with_world(|world| {
        let person = person_of(world, &headers, &query.r#as)?;
        let own = world.open_calendar(&person.sub);
        Ok::<_, Box<Response>>(calendar_page(world, &headers, &person, own.as_deref().unwrap_or_default(), &query))
    });
    match shown {
        Ok(shown) => page(&shown),
        Err(response) => *response,
    }
}

fn calendar_page(world: &World, headers: &HeaderMap, person: &Person, own: &str, query: &ShowQuery) -> CalendarPage {
    let zone_name = world.agenda.calendars.get(own).map(|calendar| calendar.zone.clone()).unwrap_or_default();
    let zone = zone_of(&zone_name);
    let today = world.clock.now().to_zoned(zone.clone()).date();
    let from: Date = query.from.parse().unwrap_or(today);
    let until = from.saturating_add(DAYS.days());
    let bounds = [from, until].map(|day| Moment::Day(day).instant(&zone));
    let events = world.occurrences(own, bounds[0], bounds[1]);
    let mut days: Vec<Day> = Vec::new();
    for event in &events {
        let day = event.bounds(&zone).0.to_zoned(zone.clone()).date().max(from);
        let heading = day.strftime("%A, %-d %B %Y").to_string();
        match days.last_mut().filter(|last| last.heading == heading) {
            Some(last) => last.rows.push(Row::of(event, person)),
            None => days.push(Day { heading, rows: vec![Row::of(event, person)] }),
        }
    }
    let cookie = browser_cookie(headers);
    CalendarPage {
        frame: Frame::new("Calendar", "calendar").of(&person.email).noticing(notice(&query.done)),
        sub: person.sub.clone(),
        from: from.to_string(),
        earlier: from.saturating_sub(DAYS.days()).to_string(),
        later: until.to_string(),
        zone: zone_name,
        days,
        repeats: REPEATS,
        others: world.identity.signed_in(cookie.as_deref()).into_iter().cloned().collect(),
    }
}

/// What has just been done, in words.
fn notice(done: &str) -> Option<String> {
    let sentence = match done {
        "create" => "Added.",
        "move" => "Moved.",
        "accepted" => "Accepted.",
        "tentative" => "Answered with maybe.",
        "declined" => "Declined.",
        "delete" => "Deleted.",
        "delete_series" => "The whole series is deleted.",
        _ => return None,
    };
    Some(sentence.to_owned())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CreateForm {
    r#as: String,
    from: String,
    title: String,
    day: String,
    time: String,
    minutes: String,
    guests: String,
    repeats: String,
    private: String,
}

async fn create(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<CreateForm>,
) -> Response {
    let all_day = form.time.is_empty();
    let event = EventEntry {
        title: form.title,
        start: if all_day { form.day } else { format!("{}T{}", form.day, form.time) },
        length: form.minutes.parse().ok().filter(|_| !all_day),
        rule: form.repeats,
        guests: form.guests.split([',', ';', ' ']).map(str::to_owned).filter(|email| !email.is_empty()).collect(),
        visibility: if form.private.is_empty() { String::new() } else { "private".to_owned() },
        ..EventEntry::default()
    };
    let action = CalendarAction::Create { calendar: None, event: Box::new(event) };
    carry_out(&shared, &headers, &form.r#as, &form.from, "create", &action)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ActForm {
    r#as: String,
    from: String,
    action: String,
    id: String,
    series: String,
    start: String,
}

async fn act(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<ActForm>,
) -> Response {
    let (id, done) = (form.id, form.action.as_str());
    let action = match done {
        "move" => CalendarAction::Move { id, start: form.start, length: None },
        "accepted" | "tentative" | "declined" => CalendarAction::Answer { id, answer: done.to_owned() },
        "delete" => CalendarAction::Delete { id },
        "delete_series" => CalendarAction::Delete { id: form.series },
        _ => {
            let sentence = "This button means nothing to the sandbox. Reload the calendar and try again.";
            return pages::message(StatusCode::BAD_REQUEST, "Unknown action", sentence);
        }
    };
    carry_out(&shared, &headers, &form.r#as, &form.from, done, &action)
}

/// Does something and goes back to the days that were shown.
fn carry_out(
    shared: &Shared,
    headers: &HeaderMap,
    wanted: &str,
    from: &str,
    done: &str,
    action: &CalendarAction,
) -> Response {
    let carried = shared.with_world(|world| {
        let person = person_of(world, headers, wanted)?;
        let planned = world.plan(&person.email, action).map(|_| person.sub);
        planned.map_err(|error: AgendaError| {
            let sentence = format!("{error}.");
            Box::new(pages::message(StatusCode::UNPROCESSABLE_ENTITY, "That did not work", &sentence))
        })
    });
    match carried {
        Ok(sub) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("as", &sub)
                .append_pair("from", from)
                .append_pair("done", done)
                .finish();
            see_other(&format!("/calendar?{query}"))
        }
        Err(response) => *response,
    }
}

//! `cargo xtask bench agenda`: what it costs to read a week. Two stores by turns: one holds two thousand events of a
//! person, the other two hundred thousand; the week itself holds the same in both. Then a daily series from 2005 beside
//! one that began last week. Only ratios within one run travel.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use intail::agenda::{self, Window};
use intail::clock::from_us;
use intail::id::{AgendaId, GrantId, OrganizationId, PersonId};
use intail::random::Random;
use intail::store::agendas::{self, Agenda};
use intail::store::calendars::{self, Calendar, Entry};
use intail::store::events::{self, Event, Moment, Span};
use intail::store::grants::{Grant, GrantState};
use intail::store::people::{Person, Role};
use intail::store::{Store, grants, organizations, people};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use tempfile::TempDir;

type Failure = Box<dyn Error>;

/// Events in the small store and in the large one.
const SIZES: [i64; 2] = [2_000, 200_000];
/// Single events in the week that is read, and series that reach into it.
const IN_WEEK: i64 = 50;
const SERIES: i64 = 20;
/// Reads of each week.
const READS: usize = 200;
/// Expansions of each series.
const EXPANSIONS: usize = 20_000;
/// Years before and after the week over which the other events are spread.
const YEARS: i64 = 10;
const CALENDAR: &str = "ines@example.com";
const ZONE: &str = "Europe/Berlin";

fn monday() -> Date {
    date(2026, 11, 23)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (small, large) = (Scene::new(SIZES[0]).await?, Scene::new(SIZES[1]).await?);
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for read in 0..READS {
        // Each as often first.
        if read % 2 == 0 {
            of_small.push(small.read().await?);
            of_large.push(large.read().await?);
        } else {
            of_large.push(large.read().await?);
            of_small.push(small.read().await?);
        }
    }
    println!("{:>12}{:>12}{:>12}{:>10}", "events", "p50, ms", "p90, ms", "ratio");
    let base = at(&mut of_small, 50);
    for (size, took) in SIZES.iter().zip([&mut of_small, &mut of_large]) {
        let (middle, late) = (at(took, 50), at(took, 90));
        println!("{size:>12}{middle:>12.2}{late:>12.2}{:>10.2}", middle / base);
    }
    println!("\n{:<36}{:>14}{:>10}", "a daily series, one week of 2035", "µs each", "ratio");
    let young = expansions("2035-06-01T07:00:00Z", "FREQ=DAILY")?;
    for (name, took) in [
        ("began the week before", young),
        ("began in 2005", expansions("2005-01-03T08:00:00Z", "FREQ=DAILY")?),
        ("began in 2005, COUNT=20000", expansions("2005-01-03T08:00:00Z", "FREQ=DAILY;COUNT=20000")?),
    ] {
        println!("{name:<36}{took:>14.2}{:>10.2}", took / young);
    }
    Ok(())
}

/// So many percent of all are at most this, in milliseconds.
fn at(took: &mut [Duration], percent: usize) -> f64 {
    took.sort();
    took.get(took.len() * percent / 100).map_or(0.0, |it| it.as_secs_f64() * 1_000.0)
}

fn expansions(starts: &str, rule: &str) -> Result<f64, Failure> {
    let starts: Timestamp = starts.parse()?;
    let zone = TimeZone::get(ZONE)?;
    let window = Window::of_days(date(2035, 6, 4), date(2035, 6, 11), zone);
    let shown = BTreeMap::from([(CALENDAR.to_owned(), ZONE.to_owned())]);
    let series = Event { recurrence: vec![format!("RRULE:{rule}")], ..event("series", starts, None) };
    let times = if rule.contains("COUNT") { EXPANSIONS / 20 } else { EXPANSIONS };
    let begin = Instant::now();
    for _ in 0..times {
        let found = agenda::of_events(vec![series.clone()], &shown, &window);
        if found.occurrences.len() != 7 {
            return Err("a week has seven days".into());
        }
    }
    Ok(begin.elapsed().as_secs_f64() * 1_000_000.0 / f64::from(u32::try_from(times)?))
}

fn event(id: &str, starts: Timestamp, until: Option<Timestamp>) -> Event {
    let ends = starts.saturating_add(SignedDuration::from_mins(45)).unwrap_or(starts);
    Event {
        calendar_id: CALENDAR.to_owned(),
        id: id.to_owned(),
        status: "confirmed".to_owned(),
        kind: "default".to_owned(),
        summary: "A meeting of some people about something".to_owned(),
        starts: Some(Moment::At(starts)),
        ends: Some(Moment::At(ends)),
        zone: ZONE.to_owned(),
        span: Span { from: starts, until },
        ..Event::default()
    }
}

/// A store with one person's calendar.
struct Scene {
    store: Store,
    agenda: AgendaId,
    _directory: TempDir,
}

impl Scene {
    async fn new(size: i64) -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let store = Store::open(&format!("sqlite:{}", directory.path().join("intail.db").display())).await?;
        let (random, now) = (Random::seeded(1), from_us(0));
        let organization = OrganizationId::new(&random);
        let person = Person {
            id: PersonId::new(&random),
            organization_id: organization.clone(),
            issuer: "https://issuer.example".to_owned(),
            subject: "1".to_owned(),
            email: CALENDAR.to_owned(),
            name: "Inês".to_owned(),
            role: Role::Member,
        };
        let grant = Grant {
            id: GrantId::new(&random),
            organization_id: organization.clone(),
            person_id: person.id.clone(),
            google_subject: "1".to_owned(),
            email: CALENDAR.to_owned(),
            hosted_domain: None,
            client_id: "client".to_owned(),
            scopes: Vec::new(),
            state: GrantState::Active,
            reason: String::new(),
            state_since: now,
            refresh_sealed: None,
            access_sealed: None,
            access_expires_at: None,
            connected_at: now,
            suspended_at: None,
        };
        let agenda = Agenda::new(AgendaId::new(&random), &grant, now);
        let entry = Entry { zone: ZONE.to_owned(), is_primary: true, is_selected: true, ..Entry::default() };
        let mut tx = store.write().await?;
        organizations::create(&mut tx, &organization, "Example", now).await?;
        people::create(&mut tx, &person, now).await?;
        grants::put(&mut tx, &grant).await?;
        agendas::create(&mut tx, &agenda).await?;
        calendars::create(&mut tx, &organization, &agenda.id, &Calendar::new(CALENDAR, entry, now)).await?;
        let of = events::Of { organization: &organization, agenda: &agenda.id, calendar: CALENDAR };
        events::put(&mut tx, of, &all(size), 1).await?;
        tx.commit().await?;
        Ok(Self { store, agenda: agenda.id, _directory: directory })
    }

    /// Reads the week, as its page does.
    async fn read(&self) -> Result<Duration, Failure> {
        let window = Window::of_days(monday(), monday().saturating_add(7.days()), TimeZone::get(ZONE)?);
        let shown = BTreeMap::from([(CALENDAR.to_owned(), ZONE.to_owned())]);
        let begin = Instant::now();
        let mut tx = self.store.read().await?;
        let found = agenda::over(&mut tx, &self.agenda, &shown, &window).await?;
        drop(tx);
        let took = begin.elapsed();
        let wanted = usize::try_from(IN_WEEK + SERIES * 5)?;
        if found.occurrences.len() != wanted || !found.is_complete {
            return Err(format!("the week has {} occurrences instead of {wanted}", found.occurrences.len()).into());
        }
        Ok(took)
    }
}

/// So many events: those of the week, the series, and the others before and after.
fn all(size: i64) -> Vec<Event> {
    let begin = Window::of_days(monday(), monday(), TimeZone::UTC).from;
    let plus = |minutes: i64| begin.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(begin);
    let single = |id: String, minutes: i64| event(&id, plus(minutes), Some(plus(minutes + 45)));
    let mut all: Vec<Event> = (0..IN_WEEK).map(|n| single(format!("here{n}"), 600 + n * 130)).collect();
    all.extend((0..SERIES).map(|n| {
        let rule = vec!["RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR".to_owned()];
        let starts = plus(-52 * 7 * 24 * 60 * (n % YEARS) - 7 * 24 * 60 + 480 + n);
        Event { recurrence: rule, ..event(&format!("series{n}"), starts, None) }
    }));
    let others = size - IN_WEEK - SERIES;
    let (weeks, week) = (YEARS * 52, 7 * 24 * 60);
    all.extend((0..others).map(|n| {
        // Half of them before the week, half after, none within a day of it.
        let away = 1_500 + n / 2 * (weeks * week) / (others / 2).max(1);
        single(format!("there{n}"), if n % 2 == 0 { -away } else { week + away })
    }));
    all
}

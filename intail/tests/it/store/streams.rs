//! The store's contract for streams of every kind: leases over the three tables, the feed that everybody reads, and
//! what is kept of people's calendars.

use intail::id::{AgendaId, DirectoryId, StreamId};
use intail::store::agendas::{self, Agenda};
use intail::store::calendars::{self, Calendar, CalendarState, Choice, Entry};
use intail::store::changes::{self, NewChange};
use intail::store::channels::{self, Channel};
use intail::store::events::{self, Attendee, Details, Event, Link, Moment, Party, Span};
use intail::store::failing::{self, Failed};
use intail::store::grants::{self, GrantState};
use intail::store::leases::{self, Stream, Wanted};
use intail::store::mailboxes;
use intail::store::people;
use intail::store::privacy::{self, Policy};
use intail::store::spending::Spending;
use intail::store::{StoreError, Tx, directories, erasure, gauges};
use jiff::Timestamp;
use serde_json::json;

use super::{Scene, at, grant, person};
use crate::harness;

on_both_databases!(
    streams_of_every_kind_are_claimed_longest_due_first,
    a_failing_stream_is_counted_and_paused_under_its_lease,
    a_stream_that_is_due_at_no_time_wakes_while_its_grant_works,
    an_agenda_is_written_whole_under_its_lease,
    a_calendar_keeps_what_each_of_its_writers_said,
    everybodys_changes_are_read_by_those_who_permitted_the_directory,
    an_event_comes_back_as_it_was_written,
    many_events_come_back_as_a_few_do,
    a_window_shows_what_lies_in_it_and_what_was_moved_out_of_it,
    what_a_pass_did_not_see_is_found_and_deleted,
    private_events_can_be_hidden_where_they_are,
    a_channel_takes_the_place_of_the_one_before,
    channels_that_nobody_hears_of_are_forgotten,
    erasing_leaves_nothing_of_an_agenda,
);

const PRIMARY: &str = "person1@example.com";

async fn with_agenda(scene: &Scene) -> Agenda {
    let agenda = Agenda::new(AgendaId::new(&scene.random), &scene.grant, at(0));
    let mut tx = scene.store.write().await.expect("a transaction");
    agendas::create(&mut tx, &agenda).await.expect("created");
    tx.commit().await.expect("committed");
    agenda
}

fn event(id: &str, from: i64, until: Option<i64>) -> Event {
    Event {
        calendar_id: PRIMARY.into(),
        id: id.into(),
        status: "confirmed".into(),
        starts: Some(Moment::At(at(from))),
        ends: until.map(|it| Moment::At(at(it))),
        span: Span { from: at(from), until: until.map(at) },
        ..Event::default()
    }
}

async fn put(scene: &Scene, agenda: &Agenda, all: &[Event], pass: i64) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let of = events::Of { organization: &scene.organization, agenda: &agenda.id, calendar: PRIMARY };
    events::put(&mut tx, of, all, pass).await.expect("put");
    tx.commit().await.expect("committed");
}

async fn streams_of_every_kind_are_claimed_longest_due_first(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let directory = DirectoryId::new(&scene.random);
    let mut tx = scene.store.write().await.expect("a transaction");
    let again = DirectoryId::new(&scene.random);
    directories::wake(&mut tx, &directory, &scene.organization, at(1)).await.expect("made");
    directories::wake(&mut tx, &again, &scene.organization, at(2)).await.expect("woken");
    agendas::wake(&mut tx, &agenda.id, at(1)).await.expect("due already, and dirty now");
    let noticed = leases::claim(&mut tx, "a", at(9), at(60), Wanted::Noticed, 10).await.expect("claimed");
    let streams = |all: &[leases::Lease]| all.iter().map(|it| it.stream.clone()).collect::<Vec<_>>();
    assert_eq!(streams(&noticed), [StreamId::from(&agenda.id), StreamId::from(&directory)]);
    assert_eq!(noticed.iter().map(|it| Stream::of(&it.stream).word()).collect::<Vec<_>>(), ["calendar", "directory"]);
    assert_eq!((noticed[0].grant_id.as_ref(), noticed[1].grant_id.as_ref()), (Some(&scene.grant.id), None));
    let rest = leases::claim(&mut tx, "a", at(9), at(60), Wanted::Due, 10).await.expect("claimed");
    assert_eq!(streams(&rest), [StreamId::from(&scene.mailbox.id)]);
    for (lease, next) in noticed.iter().chain(&rest).zip([50, 40, 30]) {
        leases::hold(&mut tx, lease, at(90)).await.expect("held");
        leases::release(&mut tx, lease, Some(at(next)), Some(&Spending::once(at(9), 7)), at(10))
            .await
            .expect("released");
    }
    assert_eq!(leases::next_due(&mut tx, &Stream::ALL, at(10)).await.expect("read"), Some(at(30)));
    assert_eq!(leases::next_due(&mut tx, &[Stream::Calendar], at(10)).await.expect("read"), Some(at(50)));
    let first = leases::claim(&mut tx, "b", at(60), at(90), Wanted::Due, 2).await.expect("claimed");
    assert_eq!(streams(&first), [StreamId::from(&scene.mailbox.id), StreamId::from(&directory)], "longest due first");
    // Who never learned whose it is knows nothing of what it cost, and what is written there stays.
    leases::release(&mut tx, &first[0], Some(at(30)), None, at(61)).await.expect("released");
    let mailbox = mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").expect("there");
    assert_eq!(mailbox.spent, Spending::once(at(9), 7));
    let held = directories::hold(&mut tx, &first[1], at(99)).await.expect("held");
    let kept = directories::of_organization(&mut tx, &scene.organization).await.expect("read");
    assert_eq!((held.id.clone(), Some(held)), (directory, kept));
    leases::take_away(&mut tx, &first[1].stream).await.expect("taken");
    let lost = leases::hold(&mut tx, &first[1], at(99)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)));
}

async fn a_failing_stream_is_counted_and_paused_under_its_lease(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let claimed = leases::claim(&mut tx, "a", at(9), at(60), Wanted::Due, 10).await.expect("claimed");
    assert_eq!(claimed.len(), 2);
    for lease in &claimed {
        for (why, second, since, why_since) in [("a", 10, 10, 10), ("b", 12, 10, 12), ("b", 14, 10, 12)] {
            let failed = leases::fail(&mut tx, lease, why, at(second)).await.expect("counted");
            assert_eq!((failed.since, failed.why.as_str(), failed.why_since), (at(since), why, at(why_since)));
        }
        leases::pause(&mut tx, lease, at(70), "person").await.expect("paused");
        let late = leases::Lease { number: lease.number - 1, ..lease.clone() };
        assert!(matches!(leases::fail(&mut tx, &late, "a", at(15)).await, Err(StoreError::LeaseLost)));
        assert!(matches!(leases::pause(&mut tx, &late, at(70), "day").await, Err(StoreError::LeaseLost)));
    }
    let paused = agendas::by_id(&mut tx, &agenda.id).await.expect("read").expect("there");
    assert_eq!((paused.failures, paused.paused_until, paused.paused_why.as_deref()), (3, Some(at(70)), Some("person")));
    let failed = paused.failed.clone().expect("it failed");
    for (failures, works_since, second, shown) in [
        (3, 0, 609, None),
        (3, 0, 610, Some(at(10))),
        (1, 0, 610, None),
        (3, 11, 610, None),
        (3, 11, 611, Some(at(11))),
    ] {
        let failed = Failed { failures, ..failed.clone() };
        assert_eq!(failed.shown_since(at(works_since), at(second)), shown, "{failures} {works_since} {second}");
    }
    for (second, expected) in [(609, 0), (610, 1)] {
        let counts = failing::count(&mut tx, at(second)).await.expect("counted");
        let expected = [(Stream::Mail, expected), (Stream::Calendar, expected), (Stream::Directory, 0)];
        assert_eq!(counts, expected, "{second}");
        let gauges = gauges::read(&mut tx, at(second)).await.expect("read");
        assert_eq!(gauges.failing, expected);
    }
    let lasting = Failed { failures: 1, why: failing::NO_MAILBOX.into(), ..failed };
    assert_eq!(lasting.shown_since(at(0), at(10)), Some(at(10)), "it is known to last");
    grants::set_state(&mut tx, &scene.grant.id, GrantState::NeedsPerson, "revoked", at(5)).await.expect("set");
    assert!(failing::count(&mut tx, at(9_999)).await.expect("counted").iter().all(|(_, count)| *count == 0));
    // A step that succeeds forgets them.
    let lease = claimed.iter().find(|it| it.stream == StreamId::from(&agenda.id)).expect("it");
    agendas::save(&mut tx, &Agenda { failures: 0, ..paused }, lease).await.expect("saved");
    assert_eq!(agendas::by_id(&mut tx, &agenda.id).await.expect("read").expect("there").failed, None);
    let again = leases::fail(&mut tx, lease, "b", at(20)).await.expect("counted");
    assert_eq!((again.failures, again.since, again.why_since), (1, at(20), at(20)));
}

async fn a_stream_that_is_due_at_no_time_wakes_while_its_grant_works(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    for lease in leases::claim(&mut tx, "a", at(9), at(60), Wanted::Due, 10).await.expect("claimed") {
        leases::release(&mut tx, &lease, None, Some(&Spending::default()), at(10)).await.expect("released");
    }
    for (state, suspended_at, permissions, woken) in [
        (GrantState::NeedsOperator, None, ["a", "b"], 0),
        (GrantState::Active, Some(at(11)), ["a", "b"], 0),
        (GrantState::Active, None, ["x", "y"], 0),
        (GrantState::Partial, None, ["x", "b"], 1),
        (GrantState::Active, None, ["a", "b"], 1),
        (GrantState::Active, None, ["a", "b"], 0),
    ] {
        grants::set_state(&mut tx, &scene.grant.id, state, "", at(11)).await.expect("set");
        grants::set_suspended(&mut tx, &scene.grant.id, suspended_at, at(11)).await.expect("set");
        let found = leases::wake_stranded(&mut tx, permissions, at(12)).await.expect("ran");
        assert_eq!(found, woken, "{state:?} {suspended_at:?} {permissions:?}");
    }
    assert_eq!(agendas::by_id(&mut tx, &agenda.id).await.expect("read").expect("there").due_at, Some(at(12)));
    assert_eq!(leases::next_due(&mut tx, &[Stream::Mail], at(12)).await.expect("read"), Some(at(12)));
}

async fn an_agenda_is_written_whole_under_its_lease(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let mut claimed = leases::claim(&mut tx, "a", at(9), at(60), Wanted::Due, 10).await.expect("claimed");
    let lease = claimed.remove(claimed.iter().position(|it| it.stream == StreamId::from(&agenda.id)).expect("it"));
    let written = Agenda {
        list_sync_token: Some("sync".into()),
        list_page_token: Some("page".into()),
        list_pages: 5,
        list_pass: 4,
        list_unreadable: 2,
        listed_at: Some(at(5)),
        list_due_at: at(6),
        busy_only: true,
        problem: Some("no_calendar".into()),
        problem_since: Some(at(7)),
        paused_until: Some(at(8)),
        paused_why: Some("day".into()),
        failures: 3,
        ..agendas::hold(&mut tx, &lease, at(90)).await.expect("held")
    };
    agendas::save(&mut tx, &written, &lease).await.expect("saved");
    let there = agendas::by_person(&mut tx, &scene.person.id).await.expect("read");
    assert_eq!(there, Some(written.clone()));
    let late = leases::Lease { number: lease.number - 1, ..lease.clone() };
    assert!(matches!(agendas::save(&mut tx, &written, &late).await, Err(StoreError::LeaseLost)));
    leases::release(&mut tx, &lease, None, Some(&Spending::default()), at(20)).await.expect("released");
    assert_eq!(agendas::wake_organization(&mut tx, &scene.organization, at(21)).await.expect("woken"), 1);
    let look =
        async |tx: &mut Tx, before, now| agendas::look(tx, &agenda.id, at(before), at(now)).await.expect("asked");
    assert!(look(&mut tx, 10, 25).await, "nobody asked before");
    assert!(!look(&mut tx, 25, 40).await, "somebody did since then");
    let wanted = agendas::by_id(&mut tx, &agenda.id).await.expect("read").expect("there");
    assert_eq!((wanted.wanted_at, wanted.due_at), (Some(at(25)), Some(at(21))), "due since before");
    assert!(look(&mut tx, 26, 40).await);
    let due = agendas::by_id(&mut tx, &agenda.id).await.expect("read").expect("there").due_at;
    assert_eq!(due, Some(at(21)));
}

async fn a_calendar_keeps_what_each_of_its_writers_said(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let entry = Entry {
        etag: "e".into(),
        name: "Team".into(),
        own_name: "Ünser Team".into(),
        zone: "Europe/Paris".into(),
        access_role: "reader".into(),
        is_primary: false,
        is_selected: true,
        is_hidden: false,
        data_owner: "owner@example.com".into(),
    };
    let mut team = Calendar::new("team", entry.clone(), at(1));
    let first = Calendar::new(PRIMARY, Entry { is_primary: true, name: "z".into(), ..entry }, at(1));
    let mut tx = scene.store.write().await.expect("a transaction");
    for it in [&team, &first] {
        calendars::create(&mut tx, &scene.organization, &agenda.id, it).await.expect("created");
    }
    let listed = calendars::of_agenda(&mut tx, &agenda.id, 9).await.expect("read");
    assert_eq!(listed, [first.clone(), team.clone()], "the person's own comes first");
    assert!(team.is_followed() && team.title() == "Ünser Team");

    // What is written by others isn't touched by the engine.
    assert!(calendars::choose(&mut tx, &agenda.id, "team", Some(Choice::Leave)).await.expect("chosen"));
    assert!(!calendars::choose(&mut tx, &agenda.id, "nothing", None).await.expect("there is none"));
    calendars::notice(&mut tx, &agenda.id, "team").await.expect("noticed");
    assert_eq!(calendars::notice_all(&mut tx, &agenda.id).await.expect("noticed"), 0, "none was ever read");
    team = Calendar {
        list_pass: 2,
        is_gone: true,
        state: CalendarState::Dropping,
        state_since: at(2),
        pass: 3,
        sync_token: Some("s".into()),
        page_token: Some("p".into()),
        pages: 6,
        synced_at: Some(at(4)),
        active_at: Some(at(5)),
        look_at: Some(at(6)),
        notices_begun: 2,
        notices_read: 1,
        unreadable: 2,
        problem: Some("not_found".into()),
        problem_since: Some(at(7)),
        channel_due_at: Some(at(8)),
        channel_problem: Some("why".into()),
        ..team
    };
    calendars::save(&mut tx, &agenda.id, &team).await.expect("saved");
    let there = calendars::by_id(&mut tx, &agenda.id, "team").await.expect("read");
    assert_eq!(there, Some(Calendar { choice: Some(Choice::Leave), notices: 1, ..team.clone() }));
    assert!(calendars::channel_problems(&mut tx, 9).await.expect("read").is_empty(), "it is being deleted");
    let copied = Calendar { is_gone: false, state: CalendarState::Live, ..team.clone() };
    calendars::save(&mut tx, &agenda.id, &copied).await.expect("saved");
    assert_eq!(calendars::channel_problems(&mut tx, 9).await.expect("read"), [("why".to_owned(), 1)]);
    calendars::delete(&mut tx, &agenda.id, "team").await.expect("deleted");
    assert!(matches!(calendars::save(&mut tx, &agenda.id, &team).await, Err(StoreError::LeaseLost)));
}

async fn everybodys_changes_are_read_by_those_who_permitted_the_directory(scene: Scene) {
    let colleague = person(&scene.random, &scene.organization, "2");
    let mut tx = scene.store.write().await.expect("a transaction");
    people::create(&mut tx, &colleague, at(0)).await.expect("created");
    let mut of_colleague = grant(&scene.random, &colleague, "g2");
    for permitted in [&mut scene.grant.clone(), &mut of_colleague] {
        permitted.scopes.push("https://www.googleapis.com/auth/admin.directory.user.readonly".into());
        grants::put(&mut tx, permitted).await.expect("put");
    }
    let change = |kind, id: &str| NewChange { kind, subject_id: id.into(), data: json!({}) };
    let directory = DirectoryId::new(&scene.random);
    let everybody = changes::Of { organization: &scene.organization, person: None, stream: (&directory).into() };
    changes::append(&mut tx, scene.of(), &[change("message.added", "m1")], at(1)).await.expect("appended");
    changes::append(&mut tx, everybody, &[change("person.added", "p1")], at(2)).await.expect("appended");
    changes::append(&mut tx, scene.of(), &[change("message.added", "m2")], at(3)).await.expect("appended");
    let own = changes::of_person(&mut tx, &scene.person.id, 0, 9).await.expect("read");
    assert_eq!(own.iter().map(|it| it.subject_id.as_str()).collect::<Vec<_>>(), ["m1", "p1", "m2"]);
    assert_eq!((own[1].person_id.as_ref(), own[0].person_id.as_ref()), (None, Some(&scene.person.id)));
    assert_eq!(own[1].stream, StreamId::from(&directory));
    let theirs = changes::of_person(&mut tx, &colleague.id, 0, 9).await.expect("read");
    assert_eq!(theirs.iter().map(|it| it.subject_id.as_str()).collect::<Vec<_>>(), ["p1"]);
    let newest = changes::newest_of_person(&mut tx, &scene.person.id, 3, 1).await.expect("read");
    assert_eq!(newest[0].subject_id, "p1");
    let two = changes::of_person(&mut tx, &scene.person.id, 1, 1).await.expect("read");
    assert_eq!(two[0].seq, 2, "a page goes on where the one before ended");
    grants::set_scopes(&mut tx, &of_colleague.id, &["openid".to_owned()]).await.expect("set");
    assert!(changes::of_person(&mut tx, &colleague.id, 0, 9).await.expect("read").is_empty());
}

async fn an_event_comes_back_as_it_was_written(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let whole = Event {
        etag: "\"1\"".into(),
        kind: "siesta".into(),
        summary: "Gruß 👋".into(),
        location: "雪".into(),
        starts: Some(Moment::Day("2026-12-24".parse().expect("a day"))),
        ends: Some(Moment::Day("2026-12-27".parse().expect("a day"))),
        zone: "Asia/Tokyo".into(),
        recurrence: vec!["RRULE:FREQ=YEARLY".into(), "EXDATE;VALUE=DATE:20271224".into()],
        series_id: Some("other".into()),
        original: Some(Moment::At(at(77))),
        span: Span { from: at(5), until: None },
        ical_uid: "uid".into(),
        sequence: 7,
        visibility: "secret".into(),
        transparency: "transparent".into(),
        organizer: Party { address: "o@example.com".into(), name: "O".into(), own: true },
        attendees: vec![Attendee {
            address: "a@example.com".into(),
            answer: "maybe".into(),
            guests: 3,
            ..Attendee::default()
        }],
        attendees_omitted: true,
        links: vec![Link { kind: "video".into(), uri: "https://meet.example/x".into(), label: "x".into() }],
        details: Details { work_kind: "homeOffice".into(), guests_hidden: true, ..Details::default() },
        is_busy_only: true,
        ..event("e", 5, None)
    };
    put(&scene, &agenda, &[event("e", 1, Some(2))], 1).await;
    put(&scene, &agenda, std::slice::from_ref(&whole), 2).await;
    let asked = ["e".to_owned(), "x".to_owned()];
    let mut tx = scene.store.write().await.expect("a transaction");
    let found = events::by_ids(&mut tx, &agenda.id, PRIMARY, &asked).await.expect("read");
    assert_eq!(found.into_values().collect::<Vec<_>>(), std::slice::from_ref(&whole));
    let counts = events::counts_by_calendar(&mut tx, &agenda.id).await.expect("counted");
    assert_eq!(counts, [(PRIMARY.to_owned(), (1, 1))].into());
    // The feed joins it.
    let of =
        changes::Of { organization: &scene.organization, person: Some(&scene.person.id), stream: (&agenda.id).into() };
    let told =
        |id: &str| NewChange { kind: "event.changed", subject_id: id.into(), data: json!({ "calendar_id": PRIMARY }) };
    changes::append(&mut tx, of, &[told("e"), told("gone")], at(1)).await.expect("appended");
    let feed = changes::of_person(&mut tx, &scene.person.id, 0, 9).await.expect("read");
    assert_eq!((feed[0].event.as_ref(), feed[1].event.as_ref()), (Some(&whole), None));
}

async fn many_events_come_back_as_a_few_do(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    // Some have no beginning, some no end, some belong to a series, and some are only busy.
    let one = |at: i64| Event {
        starts: (at % 3 > 0).then(|| Moment::At(super::at(at))),
        series_id: (at % 5 == 0).then(|| "series".to_owned()),
        is_busy_only: at % 2 == 0,
        ..event(&format!("e{at:03}"), at, (at % 7 > 0).then_some(at + 1))
    };
    let all: Vec<Event> = (0..150).map(one).collect();
    put(&scene, &agenda, &all, 1).await;
    put(&scene, &agenda, &all, 2).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let ids: Vec<String> = all.iter().map(|it| it.id.clone()).collect();
    let found = events::by_ids(&mut tx, &agenda.id, PRIMARY, &ids).await.expect("read");
    assert_eq!(found.into_values().collect::<Vec<Event>>(), all);
    assert_eq!(events::unseen(&mut tx, &agenda.id, PRIMARY, 2, 9).await.expect("read"), Vec::<String>::new());
    let deleted = events::delete(&mut tx, &agenda.id, PRIMARY, &ids).await.expect("deleted");
    assert_eq!(deleted.into_iter().collect::<Vec<String>>(), ids);
}

async fn a_window_shows_what_lies_in_it_and_what_was_moved_out_of_it(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let day = 86_400;
    let series = |id: &str, until| Event { recurrence: vec!["RRULE:FREQ=DAILY".into()], ..event(id, 0, until) };
    let exception = |id: &str, slot: i64, from: i64| Event {
        series_id: Some("daily".into()),
        original: Some(Moment::At(at(slot))),
        ..event(id, from, Some(from + 60))
    };
    let all = [
        event("before", 0, Some(10 * day)),
        event("in", 11 * day, Some(11 * day + 60)),
        event("after", 20 * day, Some(20 * day + 60)),
        series("daily", None),
        series("ended", Some(9 * day)),
        exception("moved out", 10 * day + 5, 40 * day),
        exception("moved in", 30 * day, 10 * day + 7),
        exception("elsewhere", 30 * day, 31 * day),
        Event {
            status: "cancelled".into(),
            starts: None,
            ends: None,
            ..exception("cancelled", 10 * day + 9, 10 * day + 9)
        },
    ];
    put(&scene, &agenda, &all, 1).await;
    let mut tx = scene.store.read().await.expect("a transaction");
    let (from, until): (Timestamp, Timestamp) = (at(10 * day), at(12 * day));
    let window = events::in_window(&mut tx, &agenda.id, from, until, 100).await.expect("read");
    let mut ids: Vec<&str> = window.events.iter().map(|it| it.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["cancelled", "daily", "in", "moved in", "moved out"]);
    assert!(window.is_whole);
    let cut = events::in_window(&mut tx, &agenda.id, from, until, 1).await.expect("read");
    assert_eq!((cut.events.len(), cut.is_whole), (2, false));
    drop(tx);
    // More that hides a slot than is read: what lies last is known, and that there is more is told.
    let many: Vec<Event> = (1..9).map(|it| exception(&format!("early{it}"), 9 * day + 43_200 + it, 50 * day)).collect();
    put(&scene, &agenda, &many, 1).await;
    let mut tx = scene.store.read().await.expect("a transaction");
    let cut = events::in_window(&mut tx, &agenda.id, from, until, 6).await.expect("read");
    let has = |id: &str| cut.events.iter().any(|it| it.id == id);
    assert!(has("moved out") && has("cancelled") && !has("early1"), "{cut:?}");
    assert!(!cut.is_whole);
}

async fn what_a_pass_did_not_see_is_found_and_deleted(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let of_series = |id: &str| Event { series_id: Some("a".into()), ..event(id, 3, Some(4)) };
    let stub = Event { status: "cancelled".into(), series_id: Some("nowhere".into()), ..event("stub", 3, None) };
    put(&scene, &agenda, &[event("a", 1, None), event("b", 1, None), of_series("a_1"), of_series("a_2"), stub], 1)
        .await;
    let ids = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let mut tx = scene.store.write().await.expect("a transaction");
    events::seen(&mut tx, &agenda.id, PRIMARY, &ids(&["b", "a_1"]), 2).await.expect("marked");
    let unseen = events::unseen(&mut tx, &agenda.id, PRIMARY, 2, 9).await.expect("read");
    assert_eq!(unseen, ids(&["a", "a_2", "stub"]));
    assert_eq!(events::orphans(&mut tx, &agenda.id, PRIMARY, 1, 9).await.expect("read"), ids(&["stub"]));
    let of_a = events::exceptions(&mut tx, &agenda.id, PRIMARY, "a", 9).await.expect("read");
    assert_eq!(of_a, ids(&["a_1", "a_2"]));
    let deleted = events::delete(&mut tx, &agenda.id, PRIMARY, &ids(&["a", "zz"])).await.expect("deleted");
    assert_eq!(deleted.into_iter().collect::<Vec<_>>(), ids(&["a"]));
    let walked = events::after(&mut tx, &agenda.id, (PRIMARY, "a_1"), 2).await.expect("read");
    assert_eq!(walked.into_iter().map(|it| it.id).collect::<Vec<_>>(), ids(&["a_2", "b"]));
}

async fn a_channel_takes_the_place_of_the_one_before(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let asked = |id: &str, second: i64| Channel {
        id: id.into(),
        agenda_id: agenda.id.clone(),
        calendar_id: PRIMARY.into(),
        token_hash: "h".into(),
        resource_id: None,
        opened_at: at(second),
        expires_at: Some(at(100)),
        proved_at: None,
        noticed_at: None,
        is_replaced: false,
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    for (id, second) in [("old", 1), ("new", 2)] {
        channels::create(&mut tx, &scene.organization, &asked(id, second)).await.expect("created");
    }
    let other = Channel { calendar_id: "other".into(), ..asked("another calendar's", 1) };
    channels::create(&mut tx, &scene.organization, &other).await.expect("created");
    channels::noticed(&mut tx, "old", true, at(3)).await.expect("noticed");
    let replaced = async |tx: &mut Tx| {
        let all = channels::of_agenda(tx, &agenda.id, 9).await.expect("read");
        all.into_iter().filter(|it| it.is_replaced).map(|it| it.id).collect::<Vec<_>>()
    };
    assert!(replaced(&mut tx).await.is_empty(), "the old one is what tells of changes until the new one is heard of");
    channels::noticed(&mut tx, "new", false, at(3)).await.expect("the first notice may come early");
    channels::opened(&mut tx, "new", "resource", at(200)).await.expect("opened");
    channels::noticed(&mut tx, "new", true, at(4)).await.expect("noticed");
    let all = channels::of_agenda(&mut tx, &agenda.id, 9).await.expect("read");
    let new = Channel {
        resource_id: Some("resource".into()),
        expires_at: Some(at(200)),
        proved_at: Some(at(3)),
        noticed_at: Some(at(4)),
        ..asked("new", 2)
    };
    let old = Channel { is_replaced: true, proved_at: Some(at(3)), noticed_at: Some(at(3)), ..asked("old", 1) };
    assert_eq!(all, [new, other, old]);
    channels::give_up(&mut tx, &agenda.id, PRIMARY).await.expect("given up");
    assert!(channels::by_id(&mut tx, "new").await.expect("read").is_some_and(|it| it.is_replaced));
    channels::delete(&mut tx, "new").await.expect("deleted");
    assert!(channels::by_id(&mut tx, "new").await.expect("read").is_none());
}

async fn channels_that_nobody_hears_of_are_forgotten(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let asked = |id: &str, calendar: &str, opened, ends| Channel {
        id: id.into(),
        agenda_id: agenda.id.clone(),
        calendar_id: calendar.into(),
        token_hash: "h".into(),
        resource_id: None,
        opened_at: at(opened),
        expires_at: Some(at(ends)),
        proved_at: None,
        noticed_at: None,
        is_replaced: false,
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    let all =
        [("quiet", PRIMARY, 1), ("heard", PRIMARY, 1), ("open", PRIMARY, 1), ("new", PRIMARY, 9), ("x", "other", 1)];
    for (id, calendar, opened) in all {
        channels::create(&mut tx, &scene.organization, &asked(id, calendar, opened, 100)).await.expect("created");
    }
    channels::noticed(&mut tx, "heard", false, at(2)).await.expect("noticed");
    channels::opened(&mut tx, "open", "resource", at(50)).await.expect("opened");
    let left = async |tx: &mut Tx| {
        let all = channels::of_agenda(tx, &agenda.id, 9).await.expect("read");
        all.into_iter().map(|it| it.id).collect::<Vec<_>>()
    };
    channels::forget_unheard(&mut tx, &agenda.id, PRIMARY, at(9)).await.expect("forgotten");
    assert_eq!(left(&mut tx).await, ["new", "heard", "open", "x"]);
    channels::forget_ended(&mut tx, &agenda.id, at(50)).await.expect("forgotten");
    assert_eq!(left(&mut tx).await, ["new", "heard", "x"]);
    channels::forget_ended(&mut tx, &agenda.id, at(100)).await.expect("forgotten");
    assert!(left(&mut tx).await.is_empty());
}

async fn private_events_can_be_hidden_where_they_are(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    let titled = |id: &str, visibility: &str| Event {
        summary: "Secret".into(),
        visibility: visibility.into(),
        organizer: Party { address: "o@example.com".into(), ..Party::default() },
        ..event(id, 1, Some(2))
    };
    let all = [titled("a", "private"), titled("b", "confidential"), titled("c", "public")];
    put(&scene, &agenda, &all, 1).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(events::hide_private(&mut tx, &agenda.id, 1).await.expect("hidden").len(), 1);
    assert_eq!(events::hide_private(&mut tx, &agenda.id, 9).await.expect("hidden").len(), 1);
    let left = events::after(&mut tx, &agenda.id, ("", ""), 9).await.expect("read");
    let shown: Vec<_> = left.iter().map(|it| (it.summary.as_str(), it.is_busy_only, it.starts.is_some())).collect();
    assert_eq!(shown, [("", true, true), ("", true, true), ("Secret", false, true)]);
    assert_eq!(left[0].organizer, Party::default());
    // The stricter of both counts.
    let (organization, person) = (&scene.organization, &scene.person.id);
    assert!(!privacy::wants_busy_only(&mut tx, organization, person).await.expect("read"));
    let policy = Policy { busy_only: true, ..Policy::default() };
    privacy::put_choice(&mut tx, organization, person, &policy, at(1)).await.expect("put");
    assert!(privacy::wants_busy_only(&mut tx, organization, person).await.expect("read"));
}

async fn erasing_leaves_nothing_of_an_agenda(scene: Scene) {
    let agenda = with_agenda(&scene).await;
    put(&scene, &agenda, &[event("a", 1, None), event("b", 1, None)], 1).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let calendar = Calendar::new(PRIMARY, Entry::default(), at(0));
    calendars::create(&mut tx, &scene.organization, &agenda.id, &calendar).await.expect("created");
    let of =
        changes::Of { organization: &scene.organization, person: Some(&scene.person.id), stream: (&agenda.id).into() };
    let change = NewChange { kind: "event.added", subject_id: "a".into(), data: json!({}) };
    changes::append(&mut tx, of, &[change], at(1)).await.expect("appended");
    let mut rows = 0;
    loop {
        let some = erasure::some_of_agenda(&mut tx, &agenda.id).await.expect("erased");
        let Some((_, count)) = some.first() else { break };
        rows += count;
    }
    assert_eq!(rows, 3, "two events and a change");
    let rest = erasure::agenda(&mut tx, &agenda.id).await.expect("erased");
    assert_eq!(rest.iter().map(|(_, rows)| rows).sum::<u64>(), 2, "the calendar and the agenda: {rest:?}");
    assert!(agendas::by_id(&mut tx, &agenda.id).await.expect("read").is_none());
}

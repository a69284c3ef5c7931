//! The Calendar API over real HTTP, as the product and its tests meet it. Each test has its own sandbox and a clock
//! that stands still until the test moves it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::Duration;

use intail_sandbox::agenda::CalendarAction;
use intail_sandbox::faults::{Mischief, Rule};
use intail_sandbox::quota::{Counted, Limits};
use intail_sandbox::{Clock, Options, Sandbox, WorldFile, WorldSource};
use jiff::Timestamp;
use serde_json::{Value, json};

const CLIENT: &str = "1234567890-intail.apps.googleusercontent.com";
const CALENDAR: &str = "https://www.googleapis.com/auth/calendar.readonly";
const DIRECTORY: &str = "https://www.googleapis.com/auth/admin.directory.user.readonly";
const INES: &str = "ines@example.com";
const BO: &str = "bo@example.com";
const WORLD: &str = r#"
    [company]
    id = "C1"
    name = "Example Company"
    domains = ["example.com"]
    [access]
    unconfigured = "allow_any"
    [[clients]]
    client_id = "1234567890-intail.apps.googleusercontent.com"
    client_secret = "GOCSPX-sandbox"
    name = "Intail"
    project = "intail-demo"
    project_number = 1234567890
    user_type = "internal"
    redirect_uris = ["{product}/connect/google/callback"]
    [[people]]
    email = "ines@example.com"
    given_name = "Inês"
    [[people]]
    email = "bo@example.com"
    given_name = "Bo"
"#;

struct Workspace {
    sandbox: Sandbox,
    client: reqwest::Client,
    ines: String,
    bo: String,
}

impl Workspace {
    #[expect(clippy::disallowed_methods, reason = "the caller of a test talks to the sandbox of that test only")]
    async fn open() -> Workspace {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = WorldSource::File(Box::new(WorldFile::parse(WORLD).unwrap()));
        let clock = Clock::manual("2026-11-02T08:00:00Z".parse::<Timestamp>().unwrap());
        let sandbox = Sandbox::start(Options { world, clock, ..Options::new(listener) }).await.unwrap();
        let (ines, bo) = (token(&sandbox, INES, CALENDAR), token(&sandbox, BO, CALENDAR));
        Workspace { sandbox, client: reqwest::Client::builder().build().unwrap(), ines, bo }
    }

    async fn get(&self, token: &str, rest: &str) -> (u16, Value) {
        let address = format!("{}/calendar/v3/{rest}", self.sandbox.url());
        let answer = self.client.get(address).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The events of the person's first calendar.
    async fn events(&self, token: &str, query: &str) -> Value {
        let (status, value) = self.get(token, &format!("calendars/primary/events?{query}")).await;
        assert_eq!(status, 200, "{query}: {value}");
        value
    }

    async fn refused(&self, query: &str) -> (u16, String) {
        let (status, value) = self.get(&self.ines, &format!("calendars/primary/events?{query}")).await;
        (status, value["error"]["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
    }

    fn plan(&self, email: &str, action: Value) -> String {
        let action: CalendarAction = serde_json::from_value(action).unwrap();
        self.sandbox.world(|world| world.plan(email, &action)).unwrap()
    }

    fn create(&self, event: Value) -> String {
        self.plan(INES, json!({"action": "create", "event": event}))
    }

    fn pass(&self, seconds: u64) {
        self.sandbox.clock().advance(Duration::from_secs(seconds));
    }

    /// A weekly stand-up of four with Bo, at nine in Berlin.
    fn series(&self) -> String {
        let rule = "FREQ=WEEKLY;COUNT=4";
        self.create(json!({"title": "Stand-up", "start": "2026-11-09T09:00", "rule": rule, "guests": [BO]}))
    }
}

fn token(sandbox: &Sandbox, email: &str, scope: &str) -> String {
    let granted = sandbox.world(|world| world.grant(email, CLIENT, &[scope])).unwrap();
    granted["access_token"].as_str().unwrap().to_owned()
}

fn ids(value: &Value) -> Vec<&str> {
    value["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

fn sync(value: &Value) -> String {
    format!("syncToken={}", value["nextSyncToken"].as_str().unwrap())
}

#[tokio::test]
async fn a_sync_token_tells_what_changed_and_only_that() {
    let workspace = Workspace::open().await;
    let kept = workspace.create(json!({"title": "Kept", "start": "2026-11-03T10:00"}));
    let gone = workspace.create(json!({"title": "Gone", "start": "2026-11-03"}));
    let first = workspace.events(&workspace.ines, "").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let quiet = workspace.events(&workspace.ines, &sync(&first)).await;
    assert!(ids(&quiet).is_empty());

    workspace.plan(INES, json!({"action": "delete", "id": gone}));
    workspace.plan(INES, json!({"action": "edit", "id": kept, "title": "Changed"}));
    let added = workspace.create(json!({"title": "New", "start": "2026-11-04"}));
    let changes = workspace.events(&workspace.ines, &sync(&quiet)).await;
    assert_eq!(ids(&changes), [&gone, &kept, &added], "in the order in which it happened");
    assert_eq!(changes["items"][0]["status"], "cancelled");
    assert_eq!(changes["items"][1]["summary"], "Changed");
    let again = workspace.events(&workspace.ines, &sync(&first)).await;
    assert_eq!(ids(&again).len(), 3, "a token can be used twice");
}

#[tokio::test]
async fn times_are_days_or_instants_with_a_zone() {
    let workspace = Workspace::open().await;
    workspace.create(json!({"title": "Days", "start": "2026-12-24", "length": 3}));
    workspace.create(json!({"title": "Hour", "start": "2026-11-03T10:00", "length": 60}));
    let listed = workspace.events(&workspace.ines, "singleEvents=true&orderBy=startTime").await;
    let (hour, days) = (&listed["items"][0], &listed["items"][1]);
    assert_eq!(days["start"], json!({"date": "2026-12-24"}));
    assert_eq!(days["end"], json!({"date": "2026-12-27"}), "the end is exclusive");
    assert_eq!(hour["start"], json!({"dateTime": "2026-11-03T10:00:00+01:00", "timeZone": "Europe/Berlin"}));
    let tokyo = workspace.events(&workspace.ines, "singleEvents=true&orderBy=startTime&timeZone=Asia/Tokyo").await;
    assert_eq!(tokyo["items"][0]["end"]["dateTime"], "2026-11-03T19:00:00+09:00");
    assert_eq!(workspace.refused("timeZone=Nowhere").await, (400, "badRequest".to_owned()));
}

#[tokio::test]
async fn the_token_is_on_the_last_page_and_pages_may_be_empty() {
    let workspace = Workspace::open().await;
    for day in 1..=5 {
        workspace.create(json!({"title": "x", "start": format!("2026-12-0{day}")}));
    }
    workspace.sandbox.world(|world| world.settings.calendar.empty_page_percent = 100);
    let (mut seen, mut page, mut empty) = (Vec::new(), String::new(), 0);
    let last = loop {
        let value = workspace.events(&workspace.ines, &format!("maxResults=2{page}")).await;
        empty += usize::from(ids(&value).is_empty());
        seen.extend(ids(&value).into_iter().map(str::to_owned));
        if seen.len() == 2 {
            let late = workspace.create(json!({"title": "while paging", "start": "2026-12-09"}));
            workspace.plan(INES, json!({"action": "edit", "id": late, "title": "twice"}));
        }
        assert_ne!(value.get("nextPageToken").is_some(), value.get("nextSyncToken").is_some(), "{value}");
        match value["nextPageToken"].as_str() {
            Some(next) => page = format!("&pageToken={next}"),
            None => break value,
        }
    };
    assert!(seen.len() >= 5 && empty >= 3, "{seen:?}");
    workspace.sandbox.world(|world| world.settings.calendar.empty_page_percent = 0);
    let changes = workspace.events(&workspace.ines, &sync(&last)).await;
    assert_eq!(changes["items"][0]["summary"], "twice", "what happens while paging belongs to the next sync");
    let (status, _) = workspace.refused(&format!("maxResults=2{page}&singleEvents=true")).await;
    assert_eq!(status, 400, "a page token is good for its own list only");
}

#[tokio::test]
async fn what_a_sync_token_forbids_is_refused() {
    let workspace = Workspace::open().await;
    let first = workspace.events(&workspace.ines, "maxAttendees=9").await;
    let token = format!("maxAttendees=9&{}", sync(&first));
    for beside in [
        "timeMin=2026-01-01T00:00:00Z",
        "timeMax=2026-01-01T00:00:00Z",
        "updatedMin=2026-11-01T00:00:00Z",
        "orderBy=updated",
        "q=x",
        "iCalUID=x",
        "privateExtendedProperty=a%3Db",
        "sharedExtendedProperty=a%3Db",
        "showDeleted=false",
        "singleEvents=true",
    ] {
        assert_eq!(workspace.refused(&format!("{token}&{beside}")).await, (400, "badRequest".to_owned()), "{beside}");
    }
    assert_eq!(workspace.refused(&sync(&first)).await.0, 400, "the others must be those of the first listing");
    assert_eq!(workspace.refused("syncToken=made-up").await.0, 400);
    assert_eq!(workspace.refused("orderBy=startTime").await.0, 400, "which needs singleEvents");
    let ordered = workspace.events(&workspace.ines, "orderBy=updated").await;
    assert!(ordered.get("nextSyncToken").is_none(), "an order gives no token");
}

#[tokio::test]
async fn there_are_three_kinds_of_410() {
    let workspace = Workspace::open().await;
    let full = (410, "fullSyncRequired".to_owned());
    let token = sync(&workspace.events(&workspace.ines, "").await);
    workspace.plan(INES, json!({"action": "expire_tokens", "calendar": "primary"}));
    assert_eq!(workspace.refused(&token).await, full);
    let token = sync(&workspace.events(&workspace.ines, "").await);
    workspace.pass(28 * 24 * 3_600);
    let workspace = Workspace { ines: self::token(&workspace.sandbox, INES, CALENDAR), ..workspace };
    assert_eq!(workspace.refused(&token).await, full, "it dies with time");
    let long_ago = workspace.refused("updatedMin=2026-01-01T00:00:00Z").await;
    assert_eq!(long_ago, (410, "updatedMinTooLongAgo".to_owned()));
    let id = workspace.series();
    workspace.plan(INES, json!({"action": "delete", "id": id}));
    let (status, value) = workspace.get(&workspace.ines, &format!("calendars/primary/events/{id}/instances")).await;
    assert_eq!((status, &value["error"]["errors"][0]["reason"]), (410, &json!("deleted")));
    for reason in ["fullSyncRequired", "updatedMinTooLongAgo", "deleted"] {
        let then = Mischief::Status { status: 410, reason: Some(reason.into()), message: None, retry_after_s: None };
        workspace.sandbox.world(|world| world.faults.add(Rule::new("calendar.events.list", then).times(1)));
        assert_eq!(workspace.refused("").await, (410, reason.to_owned()));
    }
}

#[tokio::test]
async fn a_deleted_calendar_is_gone_for_everybody() {
    let workspace = Workspace::open().await;
    let team = workspace.plan(INES, json!({"action": "create_calendar", "name": "Team"}));
    workspace.plan(INES, json!({"action": "share", "calendar": team, "email": BO, "role": "writer"}));
    let event = json!({"title": "Budget", "start": "2026-11-03T10:00", "guests": [BO]});
    let id = workspace.plan(INES, json!({"action": "create", "calendar": team, "event": event}));
    let list = async |query: &str| workspace.get(&workspace.bo, &format!("users/me/calendarList?{query}")).await.1;
    let (token, invited) = (sync(&list("").await), workspace.events(&workspace.bo, "").await);
    assert_eq!(ids(&invited), [id.as_str()]);
    let forbidden: CalendarAction =
        serde_json::from_value(json!({"action": "delete_calendar", "calendar": team})).unwrap();
    let first: CalendarAction = serde_json::from_value(json!({"action": "delete_calendar", "calendar": INES})).unwrap();
    workspace.sandbox.world(|world| {
        assert!(world.plan(BO, &forbidden).is_err(), "only its owner may");
        assert!(world.plan(INES, &first).is_err(), "nobody is without a first calendar");
    });
    workspace.plan(INES, json!({"action": "delete_calendar", "calendar": team}));
    let changes = list(&token).await;
    assert_eq!((ids(&changes), &changes["items"][0]["deleted"]), (vec![team.as_str()], &json!(true)));
    let changes = workspace.events(&workspace.bo, &sync(&invited)).await;
    assert_eq!(changes["items"][0]["status"], "cancelled", "what was made in it takes place nowhere");
    for (status, reason) in [(404, "notFound"), (410, "deleted")] {
        workspace.sandbox.world(|world| world.settings.calendar.deleted_calendar_status = status);
        let (answered, value) = workspace.get(&workspace.bo, &format!("calendars/{team}/events")).await;
        assert_eq!((answered, &value["error"]["errors"][0]["reason"]), (status, &json!(reason)));
    }
}

#[tokio::test]
async fn an_answer_can_be_made_to_say_anything() {
    let workspace = Workspace::open().await;
    let id = workspace.series();
    let rule = Rule::twist(
        "calendar.events.list",
        json!({"nextSyncToken": null, "nextPageToken": 7}),
        json!({"items": [{"status": "confirmed"}], "summary": ["no list"]}),
    );
    workspace.sandbox.world(|world| world.faults.add(rule.times(1)));
    let twisted = workspace.events(&workspace.ines, "").await;
    assert_eq!((twisted.get("nextSyncToken"), &twisted["nextPageToken"]), (None, &json!(7)));
    assert_eq!((&twisted["items"][0]["id"], &twisted["items"][1]), (&json!(id), &json!({"status": "confirmed"})));
    assert!(twisted["summary"].is_string());
    assert_eq!(ids(&workspace.events(&workspace.ines, "").await), [id.as_str()]);
}

#[tokio::test]
async fn who_may_less_or_more_than_before_reads_everything_anew() {
    let workspace = Workspace::open().await;
    workspace.create(json!({"title": "Budget", "start": "2026-11-03T10:00"}));
    workspace.plan(INES, json!({"action": "share", "email": BO, "role": "reader"}));
    let path = format!("calendars/{INES}/events");
    let (_, value) = workspace.get(&workspace.bo, &path).await;
    let token = sync(&value);
    workspace.plan(INES, json!({"action": "share", "email": BO, "role": "freeBusyReader"}));
    assert_eq!(workspace.get(&workspace.bo, &format!("{path}?{token}")).await.0, 410);
    workspace.plan(INES, json!({"action": "share", "email": BO}));
    assert_eq!(workspace.get(&workspace.bo, &path).await.0, 404);
}

#[tokio::test]
async fn a_series_comes_with_its_exceptions_and_its_cancelled_occurrences() {
    let workspace = Workspace::open().await;
    let id = workspace.series();
    let slot = |stamp: &str| format!("{id}_{stamp}");
    let second = slot("20261116T080000Z");
    workspace.plan(INES, json!({"action": "move", "id": second, "start": "2026-11-17T10:00"}));
    let third = slot("20261123T080000Z");
    workspace.plan(INES, json!({"action": "delete", "id": third}));
    let listed = workspace.events(&workspace.ines, "").await;
    assert_eq!(ids(&listed), [&id, &second, &third], "single events, series and exceptions, nothing expanded");
    assert_eq!(listed["items"][0]["recurrence"], json!(["RRULE:FREQ=WEEKLY;COUNT=4"]));
    let moved = &listed["items"][1];
    assert_eq!((&moved["recurringEventId"], &moved["status"]), (&json!(id), &json!("confirmed")));
    assert_eq!(moved["originalStartTime"]["dateTime"], "2026-11-16T09:00:00+01:00");
    assert_eq!(moved["start"]["dateTime"], "2026-11-17T10:00:00+01:00");
    let stub = listed["items"][2].as_object().unwrap();
    let names: Vec<&str> = stub.keys().map(String::as_str).collect();
    assert_eq!(names, ["kind", "id", "status", "recurringEventId", "originalStartTime", "etag"]);

    let expanded = workspace.events(&workspace.ines, "singleEvents=true&orderBy=startTime").await;
    let expected = [slot("20261109T080000Z"), second.clone(), slot("20261130T080000Z")];
    assert_eq!(ids(&expanded), expected);
    assert!(expanded["items"].as_array().unwrap().iter().all(|item| item.get("recurrence").is_none()));
    let path = format!("calendars/primary/events/{id}/instances");
    let (_, value) = workspace.get(&workspace.ines, &path).await;
    assert_eq!(ids(&value), expected);
    let (_, value) =
        workspace.get(&workspace.ines, &format!("{path}?showDeleted=true&timeMin=2026-11-20T00:00:00Z")).await;
    assert_eq!(ids(&value), [third, slot("20261130T080000Z")]);
    let original = "originalStart=2026-11-16T09:00:00%2B01:00";
    let (_, value) = workspace.get(&workspace.ines, &format!("{path}?{original}")).await;
    assert_eq!(ids(&value), [second]);
}

#[tokio::test]
async fn an_occurrence_is_told_once_when_its_series_moves_away_from_under_it() {
    let workspace = Workspace::open().await;
    let id = workspace.series();
    let second = format!("{id}_20261116T080000Z");
    workspace.plan(INES, json!({"action": "delete", "id": second}));
    let before = workspace.events(&workspace.ines, "singleEvents=true").await;
    workspace.plan(INES, json!({"action": "move", "id": id, "start": "2026-11-10T11:00"}));
    let changes = workspace.events(&workspace.ines, &format!("singleEvents=true&{}", sync(&before))).await;
    let mut told = ids(&changes);
    told.sort_unstable();
    let all = told.len();
    told.dedup();
    assert_eq!(told.len(), all, "{told:?}");
    assert!(told.contains(&second.as_str()), "{told:?}");
}

#[tokio::test]
async fn whoever_was_invited_to_one_occurrence_alone_is_told_that_its_series_went() {
    let workspace = Workspace::open().await;
    let rule = "FREQ=WEEKLY;COUNT=4";
    let id = workspace.create(json!({"title": "Stand-up", "start": "2026-11-09T09:00", "rule": rule}));
    let second = format!("{id}_20261116T080000Z");
    workspace.plan(INES, json!({"action": "invite", "id": second, "email": BO}));
    let before = workspace.events(&workspace.bo, "").await;
    assert_eq!(ids(&before), [&second]);
    workspace.plan(INES, json!({"action": "delete", "id": id}));
    let changes = workspace.events(&workspace.bo, &sync(&before)).await;
    assert_eq!(ids(&changes), [&second]);
    assert_eq!(changes["items"][0]["status"], "cancelled");
    assert!(ids(&workspace.events(&workspace.bo, "").await).is_empty(), "it hides no slot of anything");
}

#[tokio::test]
async fn daylight_saving_keeps_the_time_of_day() {
    let workspace = Workspace::open().await;
    let id = workspace.create(json!({"title": "Late", "start": "2027-03-27T09:00", "rule": "FREQ=DAILY;COUNT=3"}));
    let (_, value) = workspace.get(&workspace.ines, &format!("calendars/primary/events/{id}/instances")).await;
    let starts: Vec<&str> =
        value["items"].as_array().unwrap().iter().map(|item| item["start"]["dateTime"].as_str().unwrap()).collect();
    let expected = ["2027-03-27T09:00:00+01:00", "2027-03-28T09:00:00+02:00", "2027-03-29T09:00:00+02:00"];
    assert_eq!(starts, expected);
    assert_eq!(ids(&value)[1], format!("{id}_20270328T070000Z"));
}

#[tokio::test]
async fn bounds_are_exclusive_and_stay_with_the_token() {
    let workspace = Workspace::open().await;
    workspace.create(json!({"title": "Morning", "start": "2026-11-03T10:00", "length": 60}));
    let series = workspace.series();
    let at = |from: &str, until: &str| format!("timeMin=2026-11-{from}:00Z&timeMax=2026-11-{until}:00Z");
    let before = workspace.events(&workspace.ines, &at("02T00:00", "03T09:00")).await;
    assert!(ids(&before).is_empty(), "timeMax bounds the start");
    let after = workspace.events(&workspace.ines, &at("03T10:00", "04T00:00")).await;
    assert!(ids(&after).is_empty(), "timeMin bounds the end");
    let within = workspace.events(&workspace.ines, &at("29T00:00", "30T23:00")).await;
    assert_eq!(ids(&within), [&series], "a series counts when one of its occurrences does");
    workspace.create(json!({"title": "Outside", "start": "2026-11-03T10:00"}));
    let inside = workspace.create(json!({"title": "Inside", "start": "2026-11-30T12:00"}));
    let changes = workspace.events(&workspace.ines, &sync(&within)).await;
    assert_eq!(ids(&changes), [&inside]);
    assert_eq!(workspace.refused(&at("04T00:00", "03T00:00")).await.0, 400);
    assert_eq!(workspace.refused("timeMin=2026-11-03T10:00:00").await.0, 400, "an offset is needed");
}

#[tokio::test]
async fn others_see_a_private_event_as_busy_and_a_deletion_as_an_id() {
    let workspace = Workspace::open().await;
    let private = json!({"title": "Dentist", "start": "2026-11-03T10:00", "visibility": "private", "location": "Town"});
    let id = workspace.create(private);
    workspace.plan(INES, json!({"action": "share", "email": BO, "role": "reader"}));
    let path = format!("calendars/{INES}/events");
    let (_, value) = workspace.get(&workspace.bo, &path).await;
    let busy = &value["items"][0];
    assert_eq!((&busy["id"], &busy["visibility"]), (&json!(id), &json!("private")));
    for name in ["summary", "location", "organizer", "description"] {
        assert!(busy.get(name).is_none(), "{name}");
    }
    assert_eq!(workspace.events(&workspace.ines, "").await["items"][0]["summary"], "Dentist");
    let token = sync(&value);
    workspace.plan(INES, json!({"action": "delete", "id": id}));
    let (_, value) = workspace.get(&workspace.bo, &format!("{path}?{token}")).await;
    let names: Vec<&str> = value["items"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["kind", "id", "status", "etag"]);
    let own = workspace.events(&workspace.ines, "showDeleted=true").await;
    assert_eq!((&own["items"][0]["status"], &own["items"][0]["summary"]), (&json!("cancelled"), &json!("Dentist")));
}

#[tokio::test]
async fn a_reader_of_free_and_busy_gets_occurrences_without_details() {
    let workspace = Workspace::open().await;
    let id = workspace.series();
    let free = workspace.create(json!({"title": "Free", "start": "2026-11-03", "free": true}));
    workspace.plan(INES, json!({"action": "share", "email": BO, "role": "freeBusyReader"}));
    let path = format!("calendars/{INES}/events");
    let (_, value) = workspace.get(&workspace.bo, &path).await;
    assert_eq!(value["accessRole"], "freeBusyReader");
    assert_eq!(ids(&value).len(), 4, "occurrences, and what blocks no time is not there");
    let item = value["items"][0].as_object().unwrap();
    assert!(item.get("summary").is_none() && item.get("attendees").is_none() && item.get("start").is_some());
    let token = sync(&value);
    workspace.plan(INES, json!({"action": "edit", "id": free, "free": false}));
    workspace.plan(INES, json!({"action": "edit", "id": id, "rule": "FREQ=WEEKLY;COUNT=2"}));
    let (_, value) = workspace.get(&workspace.bo, &format!("{path}?{token}")).await;
    let cancelled: Vec<bool> =
        value["items"].as_array().unwrap().iter().map(|item| item["status"] == "cancelled").collect();
    assert_eq!(cancelled, [false, false, false, true, true], "{value}");
    let token = sync(&value);
    workspace.plan(INES, json!({"action": "delete", "id": id}));
    let (_, value) = workspace.get(&workspace.bo, &format!("{path}?{token}")).await;
    assert!(
        ids(&value).len() >= 2 && value["items"].as_array().unwrap().iter().all(|item| item["status"] == "cancelled")
    );
}

#[tokio::test]
async fn whoever_reads_occurrences_is_told_that_an_event_became_a_series() {
    let workspace = Workspace::open().await;
    let id = workspace.create(json!({"title": "Once", "start": "2026-11-03T10:00"}));
    workspace.plan(INES, json!({"action": "share", "email": BO, "role": "freeBusyReader"}));
    let path = format!("calendars/{INES}/events");
    let (_, value) = workspace.get(&workspace.bo, &path).await;
    assert_eq!(ids(&value), [id.as_str()]);
    let token = sync(&value);
    workspace.plan(INES, json!({"action": "edit", "id": id, "rule": "FREQ=WEEKLY;COUNT=2"}));
    let (_, value) = workspace.get(&workspace.bo, &format!("{path}?{token}")).await;
    let told = value["items"].as_array().unwrap();
    let told: Vec<(bool, bool)> =
        told.iter().map(|it| (it["id"] == id.as_str(), it["status"] == "cancelled")).collect();
    assert_eq!(told.iter().filter(|it| **it == (true, true)).count(), 1, "the one by its own id is gone: {value}");
    assert_eq!(told.iter().filter(|it| **it == (false, false)).count(), 2, "two take place: {value}");
}

#[tokio::test]
async fn guests_answer_and_may_be_hidden_or_left_out() {
    let workspace = Workspace::open().await;
    let guests = json!([BO, "guest@outside.example"]);
    let id = workspace.create(json!({"title": "Plan", "start": "2026-11-03T10:00", "guests": guests, "call": true}));
    let secret = json!({"title": "Party", "start": "2026-11-04", "guests": guests, "guests_hidden": true});
    workspace.create(secret);
    workspace.plan(BO, json!({"action": "answer", "id": id, "answer": "declined"}));
    let (_, plan) = workspace.get(&workspace.bo, &format!("calendars/primary/events/{id}")).await;
    let answers: Vec<(&str, &str, bool)> = plan["attendees"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["email"].as_str().unwrap(), one["responseStatus"].as_str().unwrap(), one["self"] == true))
        .collect();
    let outside = ("guest@outside.example", "needsAction", false);
    assert_eq!(answers, [(INES, "accepted", false), (BO, "declined", true), outside]);
    assert_eq!(plan["attendees"][0]["organizer"], true);
    assert!(plan["hangoutLink"].as_str().unwrap().starts_with("https://"));
    let (_, uid) = workspace.get(&workspace.ines, &format!("calendars/primary/events/{id}")).await;
    assert_eq!(uid["iCalUID"], plan["iCalUID"], "copies have one uid");
    let few = workspace.events(&workspace.bo, "maxAttendees=2&q=plan").await;
    assert_eq!(few["items"][0]["attendees"].as_array().unwrap().len(), 1, "only the own entry");
    assert_eq!(few["items"][0]["attendeesOmitted"], true);
    let hidden = workspace.events(&workspace.bo, "q=party").await;
    assert_eq!(hidden["items"][0]["attendees"].as_array().unwrap().len(), 1);
    assert_eq!(hidden["items"][0]["guestsCanSeeOtherGuests"], false);
}

#[tokio::test]
async fn kinds_of_events_come_with_what_belongs_to_them() {
    let workspace = Workspace::open().await;
    for (kind, office) in [("workingLocation", "home"), ("outOfOffice", ""), ("focusTime", ""), ("birthday", "")] {
        let rule = if kind == "birthday" { "FREQ=YEARLY" } else { "" };
        workspace.create(json!({"title": kind, "start": "2026-11-03", "kind": kind, "office": office, "rule": rule}));
    }
    let some = workspace.events(&workspace.ines, "eventTypes=workingLocation&eventTypes=focusTime").await;
    let kinds: Vec<&Value> = some["items"].as_array().unwrap().iter().map(|item| &item["eventType"]).collect();
    assert_eq!(kinds.len(), 2);
    let home = some["items"].as_array().unwrap().iter().find(|item| item["eventType"] == "workingLocation").unwrap();
    assert_eq!(home["workingLocationProperties"]["type"], "homeOffice");
    assert_eq!(workspace.refused("eventTypes=party").await.0, 400);
}

#[tokio::test]
async fn the_list_of_calendars_has_tokens_of_its_own() {
    let workspace = Workspace::open().await;
    let team = workspace.plan(INES, json!({"action": "create_calendar", "name": "Team", "zone": "Asia/Tokyo"}));
    let list = async |query: &str| workspace.get(&workspace.ines, &format!("users/me/calendarList?{query}")).await;
    let (_, first) = list("").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let primary = first["items"].as_array().unwrap().iter().find(|entry| entry["id"] == INES).unwrap();
    assert_eq!((&primary["primary"], &primary["accessRole"]), (&json!(true), &json!("owner")));
    let other = first["items"].as_array().unwrap().iter().find(|entry| entry["id"] == json!(team)).unwrap();
    assert_eq!((&other["timeZone"], &other["dataOwner"]), (&json!("Asia/Tokyo"), &json!(INES)));
    workspace.plan(INES, json!({"action": "list", "calendar": team, "hidden": true}));
    assert_eq!(list("").await.1["items"].as_array().unwrap().len(), 1);
    let (_, changes) = list(&sync(&first)).await;
    assert_eq!(changes["items"][0]["hidden"], true, "what was hidden is always told");
    workspace.plan(INES, json!({"action": "unlist", "calendar": team}));
    let (_, changes) = list(&sync(&changes)).await;
    assert_eq!(changes["items"][0]["deleted"], true);
    assert_eq!(list(&format!("{}&minAccessRole=owner", sync(&first))).await.0, 400);
    workspace.plan(INES, json!({"action": "expire_tokens"}));
    assert_eq!(list(&sync(&changes)).await.0, 410);
}

#[tokio::test]
async fn scopes_quotas_etags_and_writes() {
    let workspace = Workspace::open().await;
    let wrong = token(&workspace.sandbox, BO, DIRECTORY);
    assert_eq!(workspace.get(&wrong, "calendars/primary/events").await.0, 403);
    let address = format!("{}/calendar/v3/calendars/primary/events", workspace.sandbox.url());
    let post = workspace.client.post(&address).bearer_auth(&workspace.ines).json(&json!({})).send().await.unwrap();
    assert_eq!(post.status().as_u16(), 403, "the scope reads and doesn't write");
    assert_eq!(workspace.get(&workspace.ines, "calendars/nobody@example.com/events").await.0, 404);
    assert_eq!(workspace.refused("fields=items(idd)").await.0, 400);
    let etag = workspace.events(&workspace.ines, "").await["etag"].as_str().unwrap().to_owned();
    let ask = || workspace.client.get(&address).bearer_auth(&workspace.ines).header("if-none-match", &etag).send();
    assert_eq!(ask().await.unwrap().status().as_u16(), 304);
    workspace.create(json!({"title": "x", "start": "2026-11-03"}));
    assert_eq!(ask().await.unwrap().status().as_u16(), 200);
    let limits = Limits { person_minute: 1, project_minute: 10_000, project_day: 10_000 };
    workspace.sandbox.world(|world| world.quota.request_limits.insert(Counted::Calendar, limits));
    assert_eq!(workspace.refused("").await, (403, "userRateLimitExceeded".to_owned()));
    workspace.pass(60);
    assert_eq!(workspace.refused("").await.0, 200);
}

#[tokio::test]
async fn calendars_can_be_steered_over_http_and_outlive_a_restart() {
    let workspace = Workspace::open().await;
    let address = format!("{}/sandbox/v1/calendar", workspace.sandbox.url());
    let event = json!({"title": "Steered", "start": "2026-11-03"});
    let body = json!({"person": INES, "action": "create", "event": event});
    let answer = workspace.client.post(&address).json(&body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let done: Value = answer.json().await.unwrap();
    let body = json!({"person": INES, "action": "create", "event": {"start": "2026-11-03", "rule": "FREQ=SECONDLY"}});
    let refused = workspace.client.post(&address).json(&body).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
    let text = workspace.sandbox.world(|world| serde_json::to_string(world).unwrap());
    let saved: intail_sandbox::World = serde_json::from_str(&text).unwrap();
    assert!(saved.agenda.events.contains_key(done["id"].as_str().unwrap()));
    let mut older: Value = serde_json::from_str(&text).unwrap();
    older.as_object_mut().unwrap().remove("agenda");
    let older: intail_sandbox::World = serde_json::from_value(older).unwrap();
    assert!(older.agenda.events.is_empty(), "a world that was saved before there were calendars still loads");
}

/// One message as it reached an address: its headers by name.
type Heard = std::collections::BTreeMap<String, String>;

/// Somebody who listens; answers with the statuses in turn, the last one for ever.
async fn listener(statuses: &'static [u16]) -> (String, tokio::sync::mpsc::UnboundedReceiver<Heard>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let hear = move |headers: axum::http::HeaderMap, body: String| {
        let place = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).min(statuses.len() - 1);
        let heard = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let _ = sender.send(heard.chain([("body".to_owned(), body)]).collect());
        async move { axum::http::StatusCode::from_u16(statuses[place]).unwrap() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/notices", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/notices", axum::routing::post(hear));
    let serving = axum::serve(listener, router).into_future();
    #[expect(clippy::disallowed_methods, reason = "the listener ends with its test")]
    tokio::spawn(serving);
    (address, receiver)
}

impl Workspace {
    async fn post(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        let address = format!("{}/calendar/v3/{path}", self.sandbox.url());
        let answer = self.client.post(address).bearer_auth(token).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn watch(&self, id: &str, address: &str) -> Value {
        self.watch_for(id, address, 3_600).await
    }

    async fn watch_for(&self, id: &str, address: &str, seconds: u32) -> Value {
        let params = json!({"ttl": seconds.to_string()});
        let body = json!({"id": id, "type": "web_hook", "address": address, "token": "secret", "params": params});
        let (status, value) = self.post(&self.ines, "calendars/primary/events/watch", body).await;
        assert_eq!(status, 200, "{value}");
        value
    }
}

#[tokio::test]
async fn a_channel_says_sync_first_and_then_that_something_exists() {
    let workspace = Workspace::open().await;
    let (address, mut heard) = listener(&[200]).await;
    let channel = workspace.watch("channel-1", &address).await;
    assert_eq!((&channel["kind"], &channel["token"]), (&json!("api#channel"), &json!("secret")));
    assert_eq!(channel["expiration"], "1793610000000");
    let first = heard.recv().await.unwrap();
    assert_eq!((first["x-goog-resource-state"].as_str(), first["x-goog-message-number"].as_str()), ("sync", "1"));
    assert_eq!(first["x-goog-channel-id"], "channel-1");
    assert_eq!(first["x-goog-channel-token"], "secret");
    assert_eq!(first["x-goog-channel-expiration"], "Mon, 02 Nov 2026 09:00:00 GMT");
    assert_eq!(first["x-goog-resource-id"], channel["resourceId"].as_str().unwrap());
    assert!(first["x-goog-resource-uri"].contains("/calendars/ines%40example.com/events"));
    assert_eq!(first["body"], "", "nothing is told but to look");
    let mut number = 1;
    for _ in 0..5 {
        workspace.create(json!({"title": "x", "start": "2026-11-03"}));
        let message = heard.recv().await.unwrap();
        let next: u64 = message["x-goog-message-number"].parse().unwrap();
        assert!(message["x-goog-resource-state"] == "exists" && next > number);
        number = next;
    }
    assert!(number > 6, "numbers have gaps");
    let other = workspace.watch("channel-2", &address).await;
    assert_eq!(heard.recv().await.unwrap()["x-goog-channel-id"], "channel-2");
    assert_eq!(other["resourceId"], channel["resourceId"], "two channels may overlap");
}

#[tokio::test]
async fn a_stopped_an_ended_and_a_revoked_channel_are_quiet() {
    let workspace = Workspace::open().await;
    let (address, mut heard) = listener(&[200]).await;
    let stopped = workspace.watch("stopped", &address).await;
    let sync = heard.recv().await.unwrap();
    assert_eq!(sync["x-goog-resource-state"], "sync");
    let body = json!({"id": "stopped", "resourceId": stopped["resourceId"]});
    assert_eq!(workspace.post(&workspace.bo, "channels/stop", body.clone()).await.0, 404, "it is not Bo's");
    assert_eq!(workspace.post(&workspace.ines, "channels/stop", body.clone()).await.0, 204);
    assert_eq!(workspace.post(&workspace.ines, "channels/stop", body).await.0, 404);
    workspace.create(json!({"title": "x", "start": "2026-11-03"}));
    workspace.watch("short", &address).await;
    assert_eq!(heard.recv().await.unwrap()["x-goog-channel-id"], "short", "the stopped one said nothing");
    workspace.pass(3_600);
    let workspace = Workspace { ines: token(&workspace.sandbox, INES, CALENDAR), ..workspace };
    workspace.create(json!({"title": "x", "start": "2026-11-03"}));
    workspace.watch("revoked", &address).await;
    assert_eq!(heard.recv().await.unwrap()["x-goog-channel-id"], "revoked", "the ended one said nothing");
    let revoke =
        workspace.client.post(format!("{}/revoke", workspace.sandbox.url())).form(&[("token", &workspace.ines)]);
    assert_eq!(revoke.send().await.unwrap().status().as_u16(), 200);
    workspace.create(json!({"title": "x", "start": "2026-11-03"}));
    let workspace = Workspace { ines: token(&workspace.sandbox, BO, CALENDAR), ..workspace };
    workspace.watch("bos", &address).await;
    assert_eq!(heard.recv().await.unwrap()["x-goog-channel-id"], "bos", "nor did the revoked one");
}

#[tokio::test]
async fn a_message_comes_again_after_trouble_and_not_after_a_refusal() {
    let workspace = Workspace::open().await;
    let (address, mut heard) = listener(&[503, 200, 404, 200]).await;
    workspace.watch_for("channel", &address, 30 * 24 * 3_600).await;
    let first = heard.recv().await.unwrap();
    // The second try waits for the sandbox's own clock, which moves only here.
    let second = async {
        loop {
            tokio::select! {
                biased;
                Some(again) = heard.recv() => return again,
                () = tokio::task::yield_now() => workspace.pass(1),
            }
        }
    };
    let again = second.await;
    assert_eq!(first["x-goog-message-number"], again["x-goog-message-number"]);
    workspace.create(json!({"title": "refused", "start": "2026-11-03"}));
    let refused = heard.recv().await.unwrap();
    workspace.pass(600);
    workspace.create(json!({"title": "later", "start": "2026-11-03"}));
    let later = heard.recv().await.unwrap();
    assert_ne!(refused["x-goog-message-number"], later["x-goog-message-number"]);
}

#[tokio::test]
async fn a_channel_needs_an_id_of_its_own_and_a_safe_address() {
    let workspace = Workspace::open().await;
    let (address, _heard) = listener(&[200]).await;
    workspace.watch("taken", &address).await;
    let good = json!({"id": "new", "type": "web_hook", "address": address, "token": "t"});
    let changed = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, reason) in [
        (changed("id", json!("taken")), "channelIdNotUnique"),
        (changed("id", json!("x".repeat(65))), "channelIdInvalid"),
        (changed("address", json!("http://intail.example/notices")), "push.webhookUrlNotHttps"),
        (changed("type", json!("mail")), "channelUnknown"),
        (changed("token", json!("t".repeat(257))), "invalid"),
        (changed("expiration", json!(1)), "channelExpired"),
    ] {
        let (status, value) = workspace.post(&workspace.ines, "calendars/primary/events/watch", body).await;
        assert_eq!((status, value["error"]["errors"][0]["reason"].as_str()), (400, Some(reason)));
    }
    let (status, _) = workspace.post(&workspace.bo, "calendars/ines@example.com/events/watch", good.clone()).await;
    assert_eq!(status, 404, "who may not read may not watch");
    workspace.sandbox.world(|world| world.settings.channels.expiration_as_number = true);
    let (_, value) = workspace.post(&workspace.ines, "calendars/primary/events/watch", good).await;
    assert!(value["expiration"].is_i64());
}

#[tokio::test]
async fn the_calendar_page_adds_moves_cancels_declines_and_deletes() {
    let workspace = Workspace::open().await;
    let (url, client) = (workspace.sandbox.url().to_owned(), &workspace.client);
    let browse = async |email: &str| {
        let body = json!({"email": email});
        let answer = client.post(format!("{url}/sandbox/v1/sign-in")).json(&body).send().await.unwrap();
        answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let (ines, bo) = (browse(INES).await, browse(BO).await);
    let get = async |cookie: &str, path: &str| {
        let answer = client.get(format!("{url}{path}")).header("cookie", cookie).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    // The form's answer leads to the page, which the client follows to: 200 is the page, anything else a refusal.
    let post = async |cookie: &str, path: &str, form: &[(&str, &str)]| {
        let request = client.post(format!("{url}{path}")).header("cookie", cookie).form(form);
        request.send().await.unwrap().status().as_u16()
    };
    let form = [
        ("title", "<b>Stand-up</b>"),
        ("day", "2026-11-03"),
        ("time", "09:00"),
        ("minutes", "15"),
        ("repeats", "FREQ=DAILY"),
        ("guests", "bo@example.com, guest@outside.example"),
    ];
    assert_eq!(post(&ines, "/calendar/create", &form).await, 200);
    let (_, shown) = get(&ines, "/calendar").await;
    assert!(shown.contains("&#60;b&#62;Stand-up") && !shown.contains("<b>Stand-up"));
    let series = workspace.sandbox.world(|world| world.agenda.events.keys().next().unwrap().clone());
    let slot = |stamp: &str| format!("{series}_{stamp}");
    let (second, third) = (slot("20261104T080000Z"), slot("20261105T080000Z"));
    assert_eq!(
        post(&ines, "/calendar/act", &[("action", "move"), ("id", &second), ("start", "2026-11-04T11:30")]).await,
        200
    );
    assert_eq!(post(&ines, "/calendar/act", &[("action", "delete"), ("id", &third)]).await, 200);
    assert_eq!(post(&bo, "/calendar/act", &[("action", "declined"), ("id", &series)]).await, 200);
    let (_, shown) = get(&bo, "/calendar?from=2026-11-03").await;
    assert!(shown.contains("11:30") && shown.contains("bo@example.com: declined"));
    assert!(!shown.contains("Thursday, 5 November 2026"), "the cancelled one is gone");
    let listed = workspace.events(&workspace.bo, "").await;
    assert_eq!(ids(&listed), [&series, &second, &third], "applications see the same");
    assert_eq!(
        post(&bo, "/calendar/act", &[("action", "move"), ("id", &series), ("start", "2026-11-04T11:30")]).await,
        422
    );
    assert_eq!(post(&ines, "/calendar/act", &[("action", "dance"), ("id", &series)]).await, 400);
    assert_eq!(post(&ines, "/calendar/act", &[("action", "delete_series"), ("series", &series)]).await, 200);
    assert!(get(&ines, "/calendar").await.1.contains("Nothing in these days"));
    let foreign =
        client.post(format!("{url}/calendar/act")).header("cookie", &ines).header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.form(&[("action", "delete")]).send().await.unwrap().status().as_u16(), 403);
}

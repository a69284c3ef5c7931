//! The Directory API over real HTTP, as the product and its tests meet it. Each test has its own sandbox and a clock
//! that stands still until the test moves it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::Duration;

use intail_sandbox::accounts::PersonSwitch;
use intail_sandbox::profile::DirectoryAction;
use intail_sandbox::quota::{Counted, Limits};
use intail_sandbox::{Clock, Options, Sandbox, WorldFile, WorldSource};
use jiff::Timestamp;
use serde_json::{Value, json};

const CLIENT: &str = "1234567890-intail.apps.googleusercontent.com";
const DIRECTORY: &str = "https://www.googleapis.com/auth/admin.directory.user.readonly";
const CALENDAR: &str = "https://www.googleapis.com/auth/calendar.readonly";
const PUBLIC: &str = "?customer=my_customer&viewType=domain_public&orderBy=email";
const ADMIN: &str = "?customer=my_customer&viewType=admin_view&orderBy=email";
const WORLD: &str = r#"
    [company]
    id = "C1"
    name = "Example Company"
    domains = ["example.com", "example.org"]
    [access]
    unconfigured = "allow_any"
    [[clients]]
    client_id = "1234567890-intail.apps.googleusercontent.com"
    client_secret = "GOCSPX-sandbox"
    name = "Intail"
    project = "intail-demo"
    project_number = 1234567890
    user_type = "external_production"
    redirect_uris = ["{product}/connect/google/callback"]
    [[people]]
    email = "ada@example.com"
    given_name = "Ada"
    administrator = true
    [[people]]
    email = "bo@example.org"
    given_name = "Bo"
    family_name = "Lindqvist"
    [people.profile]
    title = "Head of Tea"
    department = "Kitchen"
    manager = "ada@example.com"
    phones = ["+49 30 000000"]
    aliases = ["b.lindqvist@example.org"]
    unit = "/Kitchen"
    photo = true
    building = "HQ"
    [[people]]
    email = "ines@example.com"
    given_name = "Inês"
    [[people]]
    email = "hidden@example.com"
    given_name = "Hidden"
    [people.profile]
    hidden = true
    [[people]]
    email = "sam@gmail.com"
    given_name = "Sam"
    [[people]]
    email = "else@other.example"
    given_name = "Else"
"#;

struct Workspace {
    sandbox: Sandbox,
    client: reqwest::Client,
}

impl Workspace {
    #[expect(clippy::disallowed_methods, reason = "the caller of a test talks to the sandbox of that test only")]
    async fn open() -> Workspace {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = WorldSource::File(Box::new(WorldFile::parse(WORLD).unwrap()));
        let clock = Clock::manual(Timestamp::constant(1_795_000_000, 0));
        let sandbox = Sandbox::start(Options { world, clock, ..Options::new(listener) }).await.unwrap();
        Workspace { sandbox, client: reqwest::Client::builder().build().unwrap() }
    }

    fn token(&self, email: &str, scope: &str) -> String {
        let granted = self.sandbox.world(|world| world.grant(email, CLIENT, &[scope])).unwrap();
        granted["access_token"].as_str().unwrap().to_owned()
    }

    async fn users(&self, token: &str, rest: &str) -> (u16, Value) {
        let address = format!("{}/admin/directory/v1/users{rest}", self.sandbox.url());
        let answer = self.client.get(address).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn listed(&self, token: &str, rest: &str) -> Vec<String> {
        let (status, value) = self.users(token, rest).await;
        assert_eq!(status, 200, "{value}");
        emails(&value)
    }

    fn switch(&self, email: &str, switch: PersonSwitch) {
        self.sandbox.world(|world| {
            let sub = world.identity.person_by_email(email).unwrap().sub.clone();
            let now = world.clock.now();
            world.identity.switch_person(now, &sub, switch);
        });
    }

    fn edit(&self, email: &str, action: Value) {
        let action: DirectoryAction = serde_json::from_value(action).unwrap();
        self.sandbox.world(|world| world.edit_directory(email, &action)).unwrap();
    }
}

fn emails(value: &Value) -> Vec<String> {
    let users = value["users"].as_array().into_iter().flatten();
    users.map(|user| user["primaryEmail"].as_str().unwrap().split_once('@').unwrap().0.to_owned()).collect()
}

fn message(value: &Value) -> &str {
    value["error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn an_ordinary_person_sees_the_public_view_and_nothing_more() {
    let workspace = Workspace::open().await;
    let token = workspace.token("ines@example.com", DIRECTORY);
    let (status, value) = workspace.users(&token, PUBLIC).await;
    assert_eq!((status, emails(&value)), (200, vec!["ada".to_owned(), "bo".to_owned(), "ines".to_owned()]));
    let bo = &value["users"][1];
    assert_eq!(bo["organizations"][0]["title"], "Head of Tea");
    assert_eq!(bo["relations"], json!([{"value": "ada@example.com", "type": "manager"}]));
    assert_eq!(bo["emails"][1]["address"], "b.lindqvist@example.org");
    assert!(bo["thumbnailPhotoUrl"].as_str().unwrap().starts_with("http"));
    for name in ["orgUnitPath", "isAdmin", "suspended", "creationTime", "customerId", "isMailboxSetup", "locations"] {
        assert!(bo.get(name).is_none(), "{name} is for administrators");
    }
    for rest in [ADMIN, "?customer=my_customer", "/ines@example.com"] {
        let (status, value) = workspace.users(&token, rest).await;
        assert_eq!((status, message(&value)), (403, "Not Authorized to access this resource/api"), "{rest}");
    }
    let (status, _) = workspace.users(&token, &format!("{PUBLIC}&showDeleted=true")).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn an_administrator_sees_hidden_suspended_and_deleted_people() {
    let workspace = Workspace::open().await;
    let (public, admin) = (workspace.token("bo@example.org", DIRECTORY), workspace.token("ada@example.com", DIRECTORY));
    workspace.switch("ines@example.com", PersonSwitch::Suspend);
    assert_eq!(workspace.listed(&public, PUBLIC).await, ["ada", "bo"]);
    assert_eq!(workspace.listed(&admin, ADMIN).await, ["ada", "bo", "hidden", "ines"]);
    let (_, ines) = workspace.users(&admin, "/ines@example.com").await;
    assert_eq!((&ines["suspended"], &ines["suspensionReason"]), (&json!(true), &json!("ADMIN")));
    assert_eq!((&ines["customerId"], &ines["isAdmin"]), (&json!("C1"), &json!(false)));
    workspace.switch("ines@example.com", PersonSwitch::Delete);
    assert_eq!(workspace.listed(&admin, ADMIN).await, ["ada", "bo", "hidden"]);
    let deleted = format!("{ADMIN}&showDeleted=true");
    let (_, value) = workspace.users(&admin, &deleted).await;
    assert_eq!(value["users"][0]["deletionTime"], "2026-11-18T11:06:40.000Z");
    workspace.sandbox.clock().advance(Duration::from_secs(21 * 24 * 3_600));
    let admin = workspace.token("ada@example.com", DIRECTORY);
    let (_, value) = workspace.users(&admin, &deleted).await;
    assert!(value.get("users").is_none(), "twenty days later nobody knows of them, and an empty list is left out");
}

#[tokio::test]
async fn a_delegated_administrator_is_one_here_too() {
    let workspace = Workspace::open().await;
    workspace.edit("bo@example.org", json!({"action": "edit", "delegated_administrator": true}));
    let token = workspace.token("bo@example.org", DIRECTORY);
    let (status, bo) = workspace.users(&token, "/bo@example.org").await;
    assert_eq!((status, &bo["isAdmin"], &bo["isDelegatedAdmin"]), (200, &json!(false), &json!(true)));
}

#[tokio::test]
async fn an_alias_and_an_id_lead_to_the_same_person() {
    let workspace = Workspace::open().await;
    let token = workspace.token("ines@example.com", DIRECTORY);
    let (_, by_alias) = workspace.users(&token, "/b.lindqvist@example.org?viewType=domain_public").await;
    let id = by_alias["id"].as_str().unwrap();
    let (_, by_id) = workspace.users(&token, &format!("/{id}?viewType=domain_public")).await;
    assert_eq!(by_alias, by_id);
    for missing in ["hidden@example.com", "nobody@example.com", "sam@gmail.com", "else@other.example"] {
        let (status, _) = workspace.users(&token, &format!("/{missing}?viewType=domain_public")).await;
        assert_eq!(status, 404, "{missing}");
    }
}

#[tokio::test]
async fn a_page_token_lives_three_days_and_a_deletion_shifts_nobody() {
    let workspace = Workspace::open().await;
    let token = workspace.token("ada@example.com", DIRECTORY);
    let first = format!("{ADMIN}&maxResults=2");
    let (_, value) = workspace.users(&token, &first).await;
    assert_eq!(emails(&value), ["ada", "bo"]);
    let next = format!("{first}&pageToken={}", value["nextPageToken"].as_str().unwrap());
    workspace.switch("bo@example.org", PersonSwitch::Delete);
    assert_eq!(workspace.listed(&token, &next).await, ["hidden", "ines"]);
    let other = next.replace("admin_view", "domain_public");
    assert_eq!(workspace.users(&token, &other).await.0, 400, "a token is good for its own list only");

    workspace.sandbox.clock().advance(Duration::from_secs(3 * 24 * 3_600));
    let token = workspace.token("ada@example.com", DIRECTORY);
    let (status, value) = workspace.users(&token, &next).await;
    assert_eq!((status, message(&value)), (400, "Invalid Input: pageToken"));
    workspace.sandbox.world(|world| world.settings.directory.expired_page_status = 410);
    assert_eq!(workspace.users(&token, &next).await.0, 410);
}

#[tokio::test]
async fn short_pages_still_lead_to_everybody() {
    let workspace = Workspace::open().await;
    workspace.sandbox.world(|world| world.settings.page_max = 1);
    let token = workspace.token("ada@example.com", DIRECTORY);
    let descending = format!("{ADMIN}&sortOrder=DESCENDING");
    let (mut seen, mut page) = (Vec::new(), String::new());
    loop {
        let (_, value) = workspace.users(&token, &format!("{descending}{page}")).await;
        seen.extend(emails(&value));
        match value["nextPageToken"].as_str() {
            Some(next) => page = format!("&pageToken={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["ines", "hidden", "bo", "ada"]);
}

#[tokio::test]
async fn an_account_without_a_company_has_no_directory() {
    let workspace = Workspace::open().await;
    let token = workspace.token("sam@gmail.com", DIRECTORY);
    for status in [404, 400, 403] {
        workspace.sandbox.world(|world| world.settings.directory.no_directory_status = status);
        assert_eq!(workspace.users(&token, PUBLIC).await.0, status);
    }
    let token = workspace.token("else@other.example", DIRECTORY);
    assert_eq!(workspace.listed(&token, PUBLIC).await, ["else"], "another company's directory is its own");
    let (status, value) = workspace.users(&token, "?domain=example.com&viewType=domain_public").await;
    assert_eq!((status, message(&value)), (404, "Domain not found."));
}

#[tokio::test]
async fn bad_requests_are_refused_as_google_does() {
    let workspace = Workspace::open().await;
    let token = workspace.token("ada@example.com", DIRECTORY);
    let (status, value) = workspace.users(&token, "?viewType=admin_view").await;
    assert_eq!((status, message(&value)), (400, "Bad Request"));
    for rest in ["&maxResults=501", "&maxResults=0", "&orderBy=age", "&surprise=1", "&fields=users(name/nick)"] {
        assert_eq!(workspace.users(&token, &format!("{ADMIN}{rest}")).await.0, 400, "{rest}");
    }
    let wrong = workspace.token("bo@example.org", CALENDAR);
    let (status, value) = workspace.users(&wrong, PUBLIC).await;
    assert_eq!((status, &value["error"]["errors"][0]["reason"]), (403, &json!("insufficientPermissions")));
    assert_eq!(workspace.users("ya29.none", PUBLIC).await.0, 401);
    let (_, value) = workspace.users(&token, &format!("{ADMIN}&fields=users(id,name/fullName)")).await;
    assert_eq!(value["users"][0].as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn an_etag_changes_with_the_person_and_saves_the_answer() {
    let workspace = Workspace::open().await;
    let token = workspace.token("ines@example.com", DIRECTORY);
    let of_bo = "/bo@example.org?viewType=domain_public";
    let etag = workspace.users(&token, of_bo).await.1["etag"].as_str().unwrap().to_owned();
    let address = format!("{}/admin/directory/v1/users{of_bo}", workspace.sandbox.url());
    let ask = || workspace.client.get(&address).bearer_auth(&token).header("if-none-match", &etag).send();
    assert_eq!(ask().await.unwrap().status().as_u16(), 304);
    workspace.edit("bo@example.org", json!({"action": "edit", "unit": "/Elsewhere"}));
    assert_eq!(ask().await.unwrap().status().as_u16(), 304, "what the view doesn't show is no change of it");
    workspace.edit("bo@example.org", json!({"action": "edit", "title": "Tea"}));
    assert_eq!(ask().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn the_requests_of_a_minute_are_counted() {
    let workspace = Workspace::open().await;
    let limits = Limits { person_minute: 2, project_minute: u64::MAX, project_day: u64::MAX };
    workspace.sandbox.world(|world| world.quota.request_limits.insert(Counted::Directory, limits));
    let token = workspace.token("ines@example.com", DIRECTORY);
    for expected in [200, 200, 403] {
        assert_eq!(workspace.users(&token, PUBLIC).await.0, expected);
    }
    let (_, value) = workspace.users(&token, PUBLIC).await;
    assert_eq!(value["error"]["errors"][0]["reason"], "userRateLimitExceeded");
    workspace.sandbox.clock().advance(Duration::from_secs(60));
    assert_eq!(workspace.users(&token, PUBLIC).await.0, 200);
}

#[tokio::test]
async fn the_directory_can_be_steered_over_http() {
    let workspace = Workspace::open().await;
    let address = format!("{}/sandbox/v1/directory", workspace.sandbox.url());
    let post = |body: Value| workspace.client.post(&address).json(&body).send();
    let renamed = json!({"person": "bo@example.org", "action": "rename", "email": "bo.l@example.org"});
    assert_eq!(post(renamed).await.unwrap().status().as_u16(), 200);
    let hired = json!({"person": "ada@example.com", "action": "hire", "email": "new@example.com", "given_name": "New"});
    assert_eq!(post(hired).await.unwrap().status().as_u16(), 200);
    let refused = post(json!({"person": "ada@example.com", "action": "promote"})).await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
    let token = workspace.token("ines@example.com", DIRECTORY);
    assert_eq!(workspace.listed(&token, PUBLIC).await, ["ada", "bo.l", "ines", "new"]);
}

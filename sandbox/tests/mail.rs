//! Gmail, Pub/Sub and the steering interface over real HTTP, as the product and its tests meet them. Each test has its
//! own sandbox and a clock that stands still until the test moves it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use intail_sandbox::access::AccessLevel;
use intail_sandbox::action::MailAction;
use intail_sandbox::faults::{Mischief, Rule};
use intail_sandbox::quota::Limits;
use intail_sandbox::{Clock, Options, Sandbox, WorldFile, WorldSource};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const CLIENT: &str = "1234567890-intail.apps.googleusercontent.com";
const METADATA: &str = "https://www.googleapis.com/auth/gmail.metadata";
const CALENDAR: &str = "https://www.googleapis.com/auth/calendar.readonly";
const INES: &str = "ines@example.com";
const BO: &str = "bo@example.com";
const TOPIC: &str = "projects/intail-demo/topics/notices";
const SUBSCRIPTION: &str = "projects/intail-demo/subscriptions/intail";
const WORLD: &str = r#"
    [company]
    id = "C1"
    name = "Example Company"
    domains = ["example.com"]
    [access]
    unconfigured = "allow_any"
    [settings]
    pull_wait_ms = 0
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
    labels = ["Travel"]
    [[people]]
    email = "bo@example.com"
    given_name = "Bo"
    [[people]]
    email = "nomi@example.com"
    given_name = "Nomi"
    mailbox = false
"#;

/// A sandbox and somebody who calls it.
struct Workspace {
    sandbox: Sandbox,
    client: reqwest::Client,
    token: String,
}

impl Workspace {
    async fn open(text: &str) -> Workspace {
        Workspace::open_with(text, |options| options).await
    }

    #[expect(clippy::disallowed_methods, reason = "the caller of a test talks to the sandbox of that test only")]
    async fn open_with(text: &str, change: impl FnOnce(Options) -> Options) -> Workspace {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = WorldSource::File(Box::new(WorldFile::parse(text).unwrap()));
        let clock = Clock::manual(Timestamp::constant(1_795_000_000, 0));
        let sandbox = Sandbox::start(change(Options { world, clock, ..Options::new(listener) })).await.unwrap();
        let client = reqwest::Client::builder().no_gzip().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let token = token(&sandbox, INES, &[METADATA]);
        Workspace { sandbox, client, token }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.sandbox.url())).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn gmail(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, &format!("/gmail/v1/users/me/{path}"), None).await
    }

    async fn good(&self, path: &str) -> Value {
        let (status, value) = self.gmail(path).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn refused(&self, path: &str) -> (u16, String) {
        let (status, value) = self.gmail(path).await;
        (status, value["error"]["message"].as_str().unwrap_or_default().to_owned())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::POST, path, Some(body)).await
    }

    fn act(&self, json: Value) -> String {
        let action: MailAction = serde_json::from_value(json).unwrap();
        self.sandbox.world(|world| world.act(INES, &action)).unwrap().ids.pop().unwrap_or_default()
    }

    fn receive(&self, subject: &str) -> String {
        let compose = json!({"subject": subject, "body": "Nobody may see this."});
        self.act(json!({"action": "receive", "from": "Zé <ze@mail.example>", "compose": compose}))
    }

    fn history_id(&self) -> u64 {
        self.sandbox.world(|world| world.mailbox(INES).unwrap().history().current())
    }

    fn pass(&self, seconds: u64) {
        self.sandbox.clock().advance(Duration::from_secs(seconds));
    }

    /// Makes topic and subscription as an operator does, over REST.
    async fn provision(&self) {
        assert_eq!(self.send(Method::PUT, &format!("/v1/{TOPIC}"), Some(json!({}))).await.0, 200);
        let (_, policy) = self.send(Method::GET, &format!("/v1/{TOPIC}:getIamPolicy"), None).await;
        let member = "serviceAccount:gmail-api-push@system.gserviceaccount.com";
        let bindings = json!([{"role": "roles/pubsub.publisher", "members": [member]}]);
        let body = json!({"policy": {"bindings": bindings, "etag": policy["etag"]}});
        assert_eq!(self.post(&format!("/v1/{TOPIC}:setIamPolicy"), body).await.0, 200);
        let body = json!({"topic": TOPIC, "expirationPolicy": {}});
        assert_eq!(self.send(Method::PUT, &format!("/v1/{SUBSCRIPTION}"), Some(body)).await.0, 200);
    }

    async fn pull(&self) -> Vec<Value> {
        let (status, value) = self.post(&format!("/v1/{SUBSCRIPTION}:pull"), json!({"maxMessages": 10})).await;
        assert_eq!(status, 200, "{value}");
        value["receivedMessages"].as_array().cloned().unwrap_or_default()
    }

    async fn acknowledge(&self, items: &[Value]) {
        let ids: Vec<&Value> = items.iter().map(|item| &item["ackId"]).collect();
        let (status, _) = self.post(&format!("/v1/{SUBSCRIPTION}:acknowledge"), json!({"ackIds": ids})).await;
        assert_eq!(status, 200);
    }
}

fn token(sandbox: &Sandbox, email: &str, scopes: &[&str]) -> String {
    let granted = sandbox.world(|world| world.grant(email, CLIENT, scopes)).unwrap();
    granted["access_token"].as_str().unwrap().to_owned()
}

fn notice(item: &Value) -> Value {
    let data = STANDARD.decode(item["message"]["data"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&data).unwrap()
}

fn header<'a>(message: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = message["payload"]["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let same = headers.iter().filter(|header| header["name"].as_str().unwrap().eq_ignore_ascii_case(name));
    same.map(|header| header["value"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_message_has_headers_and_nothing_of_its_text() {
    let workspace = Workspace::open(WORLD).await;
    let id = workspace.receive("Olá");
    let message = workspace.good(&format!("messages/{id}?format=metadata")).await;
    let keys: Vec<&String> = message.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "threadId", "labelIds", "payload", "sizeEstimate", "historyId", "internalDate"]);
    let payload: Vec<&String> = message["payload"].as_object().unwrap().keys().collect();
    assert_eq!(payload, ["partId", "headers"]);
    assert_eq!(header(&message, "subject"), ["Olá"]);
    assert!(message["historyId"].is_string() && message["internalDate"].is_string());
    assert!(message["sizeEstimate"].is_number());
    let minimal = workspace.good(&format!("messages/{id}?format=MINIMAL")).await;
    assert!(minimal.get("payload").is_none());
    let few = "format=metadata&metadataHeaders=SUBJECT&metadataHeaders=from&metadataHeaders=X-None";
    let few = workspace.good(&format!("messages/{id}?{few}")).await;
    assert_eq!(few["payload"]["headers"].as_array().unwrap().len(), 2);
    let none = workspace.good(&format!("messages/{id}?format=metadata&metadataHeaders=X-None")).await;
    assert_eq!(none["payload"], json!({"partId": ""}));
}

#[tokio::test]
async fn the_scope_refuses_what_google_refuses() {
    let workspace = Workspace::open(WORLD).await;
    let id = workspace.receive("a");
    let full = (403, "Metadata scope doesn't allow format FULL".to_owned());
    assert_eq!(workspace.refused(&format!("messages/{id}")).await, full);
    assert_eq!(workspace.refused(&format!("messages/{id}?format=full")).await, full);
    assert_eq!(workspace.refused(&format!("threads/{id}")).await, full);
    let raw = (403, "Metadata scope doesn't allow format RAW".to_owned());
    assert_eq!(workspace.refused(&format!("messages/{id}?format=raw")).await, raw);
    let q = (403, "Metadata scope does not support 'q' parameter".to_owned());
    assert_eq!(workspace.refused("messages?q=from:me").await, q);
    assert_eq!(workspace.refused("threads?q=x").await, q);
    let insufficient = (403, "Request had insufficient authentication scopes.".to_owned());
    assert_eq!(workspace.refused("drafts").await, insufficient);
    assert_eq!(workspace.refused(&format!("messages/{id}/attachments/1")).await, insufficient);
    assert_eq!(workspace.post("/gmail/v1/users/me/messages/send", json!({})).await.0, 403);
    let other = Workspace { token: token(&workspace.sandbox, INES, &[CALENDAR]), ..workspace };
    let (status, value) = other.gmail("profile").await;
    assert_eq!((status, &value["error"]["errors"][0]["reason"]), (403, &json!("insufficientPermissions")));
    assert_eq!(value["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
}

#[tokio::test]
async fn who_calls_and_whose_mailbox() {
    let mut workspace = Workspace::open(WORLD).await;
    workspace.receive("a");
    let profile = workspace.good("profile").await;
    assert_eq!(profile["emailAddress"], INES);
    assert_eq!((&profile["messagesTotal"], &profile["threadsTotal"]), (&json!(1), &json!(1)));
    assert_eq!(profile["historyId"], workspace.history_id().to_string());
    let own = workspace.send(Method::GET, "/gmail/v1/users/Ines%40example.com/profile", None).await;
    assert_eq!(own.0, 200);
    let foreign = workspace.send(Method::GET, "/gmail/v1/users/bo@example.com/profile", None).await;
    assert_eq!((foreign.0, &foreign.1["error"]["message"]), (403, &json!("Delegation denied for ines@example.com")));
    workspace.token = "ya29.nonsense".to_owned();
    let (status, value) = workspace.gmail("profile").await;
    assert_eq!((status, &value["error"]["errors"][0]["reason"]), (401, &json!("authError")));
    workspace.token = token(&workspace.sandbox, "nomi@example.com", &[METADATA]);
    let (status, value) = workspace.gmail("profile").await;
    assert_eq!((status, &value["error"]["message"]), (400, &json!("Mail service not enabled")));
    assert_eq!(value["error"]["errors"][0]["reason"], "failedPrecondition");
}

#[tokio::test]
async fn lists_page_from_the_newest_and_leave_empty_keys_out() {
    let workspace = Workspace::open(WORLD).await;
    assert_eq!(workspace.good("messages").await, json!({"resultSizeEstimate": 0}));
    assert_eq!(workspace.good("threads").await, json!({"resultSizeEstimate": 0}));
    let mut ids = Vec::new();
    for index in 0..7 {
        ids.push(workspace.receive(&format!("{index}")));
        workspace.pass(1);
    }
    ids.reverse();
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = workspace.good(&format!("messages?maxResults=3{token}")).await;
        let refs = page["messages"].as_array().unwrap();
        assert!(refs.iter().all(|item| item.as_object().unwrap().len() == 2));
        found.extend(refs.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextPageToken"].as_str() else {
            break;
        };
        token = format!("&pageToken={next}");
    }
    assert_eq!(found, ids);
    assert_eq!(workspace.refused(&format!("messages?labelIds=INBOX{token}")).await, (400, "Invalid pageToken".into()));
    assert_eq!(workspace.refused("messages?pageToken=abc").await, (400, "Invalid pageToken".into()));
    assert_eq!(workspace.refused("messages?maxResults=-1").await.0, 400);
    assert_eq!(workspace.refused("messages?maxResult=1").await.0, 400);
    assert_eq!(workspace.refused("messages?labelIds=Nope").await.0, 400);
    assert_eq!(workspace.refused("messages/not-an-id?format=minimal").await, (400, "Invalid id value".into()));
    assert_eq!(workspace.refused("messages/1f?format=minimal").await.0, 404);
}

#[tokio::test]
async fn label_filters_mean_all_of_them_and_spam_and_bin_are_apart() {
    let workspace = Workspace::open(WORLD).await;
    let read = workspace.receive("read");
    let unread = workspace.receive("unread");
    let binned = workspace.receive("binned");
    workspace.act(json!({"action": "read", "id": read}));
    workspace.act(json!({"action": "trash", "id": binned}));
    let ids = |value: &Value| -> Vec<String> {
        let refs = value["messages"].as_array().cloned().unwrap_or_default();
        refs.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&workspace.good("messages?labelIds=INBOX&labelIds=UNREAD").await), [unread]);
    assert_eq!(ids(&workspace.good("messages").await).len(), 2);
    assert_eq!(ids(&workspace.good("messages?includeSpamTrash=true").await).len(), 3);
    assert_eq!(ids(&workspace.good("messages?labelIds=TRASH").await), [binned]);
    let label = workspace.good("labels/INBOX").await;
    assert_eq!((&label["messagesTotal"], &label["messagesUnread"]), (&json!(2), &json!(1)));
    let labels = workspace.good("labels").await;
    let labels = labels["labels"].as_array().unwrap();
    let travel = labels.iter().find(|label| label["name"] == "Travel").unwrap();
    assert_eq!((&travel["type"], &travel["id"]), (&json!("user"), &json!("Label_1")));
    assert!(travel.get("messagesTotal").is_none());
    assert_eq!(workspace.refused("labels/Label_77").await.0, 404);
}

#[tokio::test]
async fn threads_hold_their_messages() {
    let workspace = Workspace::open(WORLD).await;
    let first = workspace.receive("Plan");
    let answer = workspace.act(json!({"action": "send", "to": BO, "subject": "Re: Plan", "answers": first}));
    let list = workspace.good("threads").await;
    assert_eq!(list["threads"].as_array().unwrap().len(), 1);
    assert_eq!(list["threads"][0]["id"], first.as_str());
    assert!(list["threads"][0].get("snippet").is_none());
    let thread = workspace.good(&format!("threads/{first}?format=metadata&metadataHeaders=References")).await;
    let messages = thread["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[1]["id"]), (2, &json!(answer)));
    assert_eq!(header(&messages[1], "References").len(), 1);
    assert_eq!(thread["historyId"], messages[1]["historyId"]);
}

#[tokio::test]
async fn history_tells_everything_after_the_start() {
    let workspace = Workspace::open(WORLD).await;
    let start = workspace.history_id();
    let at = |start: u64, more: &str| format!("history?startHistoryId={start}{more}");
    assert_eq!(workspace.good(&at(start, "")).await, json!({"historyId": start.to_string()}));
    let id = workspace.receive("a");
    workspace.act(json!({"action": "star", "id": id}));
    workspace.act(json!({"action": "trash", "id": id}));
    workspace.act(json!({"action": "delete", "id": id}));
    let all = workspace.good(&at(start, "")).await;
    let records = all["history"].as_array().unwrap();
    assert_eq!(records.len(), 4);
    assert_eq!(all["historyId"], records[3]["id"]);
    assert_eq!(records[0]["messagesAdded"][0]["message"]["labelIds"], json!(["INBOX", "UNREAD"]));
    assert_eq!(records[1]["labelsAdded"][0]["labelIds"], json!(["STARRED"]));
    assert_eq!(records[1]["labelsAdded"][0]["message"]["labelIds"], json!(["INBOX", "STARRED", "UNREAD"]));
    assert_eq!(records[2]["labelsRemoved"][0]["labelIds"], json!(["INBOX"]));
    assert_eq!(records[3]["messagesDeleted"][0]["message"]["id"], id.as_str());
    assert!(records.iter().all(|record| record["messages"][0]["id"] == id.as_str()));
    assert_eq!(workspace.refused(&format!("messages/{id}?format=minimal")).await.0, 404, "told of, and gone");
    let first: u64 = records[0]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(workspace.good(&at(first, "")).await["history"].as_array().unwrap().len(), 3, "the start is exclusive");
    let deleted = workspace.good(&at(start, "&historyTypes=messageDeleted&historyTypes=labelRemoved")).await;
    assert_eq!(deleted["history"].as_array().unwrap().len(), 2);
    let starred = workspace.good(&at(start, "&labelId=STARRED")).await;
    assert_eq!(starred["history"].as_array().unwrap().len(), 3);
    let page = workspace.good(&at(start, "&maxResults=3")).await;
    let next = page["nextPageToken"].as_str().unwrap();
    let rest = workspace.good(&at(start, &format!("&maxResults=3&pageToken={next}"))).await;
    assert_eq!((rest["history"].as_array().unwrap().len(), rest.get("nextPageToken")), (1, None));
}

#[tokio::test]
async fn history_ends_and_begins_somewhere() {
    let workspace = Workspace::open(WORLD).await;
    let start = workspace.history_id();
    workspace.receive("a");
    let (status, message) = workspace.refused("history?startHistoryId=1").await;
    assert_eq!((status, message.as_str()), (404, "Requested entity was not found."));
    let current = workspace.history_id();
    let future = workspace.good(&format!("history?startHistoryId={}", current + 1_000)).await;
    assert_eq!(future, json!({"historyId": current.to_string()}));
    assert_eq!(workspace.refused("history?startHistoryId=abc").await.0, 400);
    assert_eq!(workspace.refused("history").await.0, 400);
    assert_eq!(workspace.refused(&format!("history?startHistoryId={start}&historyTypes=moved")).await.0, 400);
    workspace.act(json!({"action": "forget_history"}));
    assert_eq!(workspace.refused(&format!("history?startHistoryId={start}")).await.0, 404);
}

#[tokio::test]
async fn a_history_page_can_carry_a_token_and_nothing_else() {
    let workspace = Workspace::open(WORLD).await;
    let start = workspace.history_id();
    workspace.receive("a");
    workspace.sandbox.world(|world| world.settings.empty_history_page_percent = 100);
    let page = workspace.good(&format!("history?startHistoryId={start}")).await;
    assert!(page.get("history").is_none());
    let token = page["nextPageToken"].as_str().unwrap();
    let next = workspace.good(&format!("history?startHistoryId={start}&pageToken={token}")).await;
    assert_eq!(next["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_change_can_be_noticed_before_it_can_be_read() {
    let workspace = Workspace::open(WORLD).await;
    workspace.provision().await;
    workspace.post("/gmail/v1/users/me/watch", json!({"topicName": TOPIC})).await;
    workspace.acknowledge(&workspace.pull().await).await;
    workspace.sandbox.world(|world| world.settings.visibility_lag_ms = 5_000);
    let start = workspace.history_id();
    workspace.pass(2);
    let id = workspace.receive("a");
    assert_eq!(notice(&workspace.pull().await[0])["historyId"], workspace.history_id());
    let early = workspace.good(&format!("history?startHistoryId={start}")).await;
    assert_eq!(early, json!({"historyId": start.to_string()}));
    assert_eq!(workspace.refused(&format!("messages/{id}?format=minimal")).await.0, 404);
    workspace.pass(5);
    let late = workspace.good(&format!("history?startHistoryId={start}")).await;
    assert_eq!(late["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn fields_choose_and_misspelt_ones_are_refused() {
    let workspace = Workspace::open(WORLD).await;
    let id = workspace.receive("a");
    let message = workspace.good(&format!("messages/{id}?format=metadata&fields=id,payload/headers(name)")).await;
    assert_eq!(message.as_object().unwrap().len(), 2);
    assert!(message["payload"]["headers"][0].get("value").is_none());
    let list = workspace.good("messages?fields=nextPageToken,messages/id").await;
    assert_eq!(list, json!({"messages": [{"id": id}]}));
    let (status, sentence) = workspace.refused("messages?fields=message/id").await;
    assert_eq!((status, sentence.as_str()), (400, "Invalid field selection message/id"));
}

#[tokio::test]
async fn the_way_of_a_notice() {
    let workspace = Workspace::open(WORLD).await;
    let (status, refused) = workspace.post("/gmail/v1/users/me/watch", json!({"topicName": TOPIC})).await;
    assert_eq!(status, 404);
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("Error sending test message to Cloud PubSub"));
    workspace.provision().await;
    let (status, watch) = workspace.post("/gmail/v1/users/me/watch", json!({"topicName": TOPIC})).await;
    assert_eq!(status, 200, "{watch}");
    assert_eq!(watch["expiration"], (1_795_000_000_000_i64 + 604_800_000).to_string());
    let items = workspace.pull().await;
    let id = watch["historyId"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(notice(&items[0]), json!({"emailAddress": INES, "historyId": id}));
    assert!(items[0].get("deliveryAttempt").is_none());
    assert!(workspace.pull().await.is_empty());
    workspace.pass(10);
    let again = workspace.pull().await;
    assert_eq!(again[0]["message"]["messageId"], items[0]["message"]["messageId"]);
    workspace.acknowledge(&again).await;
    workspace.receive("a");
    let items = workspace.pull().await;
    assert_eq!(notice(&items[0])["historyId"], workspace.history_id());
    workspace.acknowledge(&items).await;
    let stopped = workspace.send(Method::POST, "/gmail/v1/users/me/stop", None).await;
    assert_eq!(stopped.0, 204);
    workspace.pass(2);
    workspace.receive("b");
    assert!(workspace.pull().await.is_empty());
    assert_eq!(workspace.post("/gmail/v1/users/me/watch", json!({"topic": TOPIC})).await.0, 400);
}

#[tokio::test]
async fn a_held_pull_wakes_when_something_arrives() {
    let workspace = Workspace::open(WORLD).await;
    workspace.provision().await;
    workspace.sandbox.world(|world| world.settings.pull_wait_ms = 60_000);
    let publish = async {
        let body = json!({"messages": [{"data": "aGk"}]});
        workspace.post(&format!("/v1/{TOPIC}:publish"), body).await
    };
    let (items, _) = futures::future::join(workspace.pull(), publish).await;
    assert_eq!(items[0]["message"]["data"], "aGk=");
    let nack = json!({"ackIds": [items[0]["ackId"]], "ackDeadlineSeconds": 0});
    let modify = format!("/v1/{SUBSCRIPTION}:modifyAckDeadline");
    let (again, _) = futures::future::join(workspace.pull(), workspace.post(&modify, nack)).await;
    assert_eq!(again[0]["message"]["data"], "aGk=");
}

#[tokio::test]
async fn pubsub_is_provisioned_and_refuses_as_google_does() {
    let workspace = Workspace::open(WORLD).await;
    workspace.provision().await;
    let (status, value) = workspace.send(Method::PUT, &format!("/v1/{TOPIC}"), Some(json!({}))).await;
    assert_eq!((status, &value["error"]["status"]), (409, &json!("ALREADY_EXISTS")));
    let etag = "AAAAAAAAAAA=";
    let body = json!({"policy": {"bindings": [], "etag": etag}});
    let (status, value) = workspace.post(&format!("/v1/{TOPIC}:setIamPolicy"), body).await;
    assert_eq!((status, &value["error"]["status"]), (409, &json!("ABORTED")));
    let (_, subscription) = workspace.send(Method::GET, &format!("/v1/{SUBSCRIPTION}"), None).await;
    assert_eq!(subscription["expirationPolicy"], json!({}));
    assert_eq!(subscription["ackDeadlineSeconds"], 10);
    let change = json!({"subscription": {"ackDeadlineSeconds": 60}, "updateMask": "ackDeadlineSeconds"});
    let (_, changed) = workspace.send(Method::PATCH, &format!("/v1/{SUBSCRIPTION}"), Some(change)).await;
    assert_eq!((&changed["ackDeadlineSeconds"], &changed["expirationPolicy"]), (&json!(60), &json!({})));
    let pull = workspace.post("/v1/projects/intail-demo/subscriptions/none:pull", json!({"maxMessages": 1})).await;
    assert_eq!((pull.0, &pull.1["error"]["status"]), (404, &json!("NOT_FOUND")));
    assert_eq!(workspace.send(Method::PUT, "/v1/projects/p/topics/goog-no", Some(json!({}))).await.0, 400);
    assert_eq!(workspace.send(Method::PUT, "/v1/projects/p/topics/1a", Some(json!({}))).await.0, 400);
    assert_eq!(workspace.send(Method::DELETE, &format!("/v1/{SUBSCRIPTION}"), None).await.0, 200);
    assert_eq!(workspace.send(Method::GET, &format!("/v1/{SUBSCRIPTION}"), None).await.0, 404);
    workspace.sandbox.world(|world| world.settings.pubsub_anonymous = false);
    let anonymous = workspace.client.get(format!("{}/v1/{TOPIC}", workspace.sandbox.url())).send().await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_quota_is_enforced_and_the_log_knows_the_price() {
    let workspace = Workspace::open(WORLD).await;
    let id = workspace.receive("a");
    workspace.sandbox.world(|world| {
        world.quota.limits = Some(Limits { person_minute: 45, project_minute: 1_000, project_day: 1_000 });
    });
    let path = format!("messages/{id}?format=minimal");
    workspace.good(&path).await;
    workspace.good(&path).await;
    let (status, value) = workspace.gmail(&path).await;
    assert_eq!((status, &value["error"]["errors"][0]["reason"]), (403, &json!("rateLimitExceeded")));
    assert_eq!(value["error"]["errors"][0]["domain"], "usageLimits");
    workspace.pass(60);
    workspace.good(&path).await;
    let calls = workspace.send(Method::GET, "/sandbox/v1/calls", None).await.1;
    let calls = calls["calls"].as_array().unwrap().clone();
    assert_eq!(calls.iter().map(|call| call["units"].as_u64().unwrap()).sum::<u64>(), 60);
    assert_eq!((&calls[0]["call"], &calls[0]["person"]), (&json!("gmail.users.messages.get"), &json!(INES)));
    assert_eq!(calls[2]["status"], 403);
    assert!(!serde_json::to_string(&calls).unwrap().contains(&workspace.token));
}

#[tokio::test]
async fn faults_strike_and_can_be_taken_away() {
    let workspace = Workspace::open(WORLD).await;
    let rule = json!({"call": "gmail.users.getProfile", "count": 1,
        "then": {"kind": "status", "status": 403, "reason": "domainPolicy"}});
    assert_eq!(workspace.post("/sandbox/v1/faults", rule).await.0, 200);
    let (status, value) = workspace.gmail("profile").await;
    assert_eq!((status, &value["error"]["errors"][0]["reason"]), (403, &json!("domainPolicy")));
    workspace.good("profile").await;
    let retry = json!({"call": "gmail.*", "then": {"kind": "status", "status": 503, "retry_after_s": 7}});
    workspace.post("/sandbox/v1/faults", retry).await;
    let url = format!("{}/gmail/v1/users/me/profile", workspace.sandbox.url());
    let answer = workspace.client.get(&url).bearer_auth(&workspace.token).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"7".parse().unwrap()));
    workspace.send(Method::DELETE, "/sandbox/v1/faults", None).await;
    for mischief in [Mischief::Cut, Mischief::CutAfter, Mischief::Truncate] {
        workspace.sandbox.world(|world| world.faults.add(Rule::new("gmail.*", mischief.clone()).times(1)));
        let answer = workspace.client.get(&url).bearer_auth(&workspace.token).send().await;
        let whole = match answer {
            Ok(answer) => answer.bytes().await.is_ok(),
            Err(_) => false,
        };
        assert!(!whole, "{mischief:?}");
    }
    workspace.good("profile").await;
    assert_eq!(workspace.post("/sandbox/v1/faults", json!({"call": "*", "then": {"kind": "fly"}})).await.0, 400);
}

#[tokio::test]
async fn more_than_ten_calls_at_once_for_one_mailbox_are_too_many() {
    let workspace = Workspace::open(WORLD).await;
    workspace.sandbox.world(|world| world.faults.latency_ms = 300);
    let calls = (0..14).map(|_| workspace.gmail("profile"));
    let answers = futures::future::join_all(calls).await;
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 429).collect();
    assert!(!refused.is_empty());
    assert_eq!(refused[0].1["error"]["message"], "Too many concurrent requests for user");
    assert!(answers.iter().filter(|(status, _)| *status == 200).count() >= 10);
}

#[tokio::test]
async fn the_world_can_be_steered() {
    let workspace = Workspace::open(WORLD).await;
    let action = json!({"person": INES, "action": "receive", "count": 3});
    let (status, done) = workspace.post("/sandbox/v1/mail", action).await;
    assert_eq!((status, done["ids"].as_array().unwrap().len()), (200, 3));
    let (status, error) =
        workspace.post("/sandbox/v1/mail", json!({"person": "x@example.com", "action": "receive"})).await;
    assert_eq!(status, 400);
    assert!(error["error"].as_str().unwrap().contains("x@example.com"));
    let (_, clock) = workspace.post("/sandbox/v1/clock", json!({"advance_s": 5})).await;
    assert_eq!(clock["now"], "2026-11-18T11:06:45Z".parse::<Timestamp>().unwrap().to_string());
    let (_, day) = workspace.post("/sandbox/v1/script", json!({"run": "day", "at_once": true, "lead": INES})).await;
    assert_eq!(day["playing"], Value::Null);
    let (_, world) = workspace.send(Method::GET, "/sandbox/v1/world", None).await;
    let before = workspace.sandbox.world(|world| world.mailbox(INES).unwrap().message_count());
    workspace.receive("will be undone");
    assert_eq!(workspace.send(Method::PUT, "/sandbox/v1/world", Some(world)).await.0, 200);
    assert_eq!(workspace.sandbox.world(|world| world.mailbox(INES).unwrap().message_count()), before);
    let (status, _) = workspace.post(&format!("/sandbox/v1/people/{INES}"), json!({"switch": "change_password"})).await;
    assert_eq!((status, workspace.gmail("profile").await.0), (200, 401));
    let access = json!({"client_id": CLIENT, "access": {"level": "blocked"}});
    assert_eq!(workspace.post("/sandbox/v1/access", access).await.0, 200);
    let blocked = json!({"email": BO, "client_id": CLIENT, "scopes": [METADATA]});
    assert_eq!(workspace.post("/sandbox/v1/grant", blocked).await.0, 400);
    let configured = workspace.sandbox.world(|world| world.identity.policy.configured.get(CLIENT).cloned());
    assert_eq!(configured, Some(AccessLevel::Blocked));
    let (_, summary) = workspace.send(Method::GET, "/sandbox/v1/summary", None).await;
    assert_eq!(summary["people"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn no_answer_of_an_interface_ever_carries_a_canary() {
    let workspace = Workspace::open(&WORLD.replace("given_name = \"Inês\"", "given_name = \"Inês\"\nmail = 80")).await;
    workspace.provision().await;
    let mut text = String::new();
    for path in ["profile", "labels", "messages?maxResults=500&includeSpamTrash=true", "threads?maxResults=500"] {
        text.push_str(&workspace.good(path).await.to_string());
    }
    let list = workspace.good("messages?maxResults=500&includeSpamTrash=true").await;
    for item in list["messages"].as_array().unwrap() {
        let path = format!("messages/{}?format=metadata", item["id"].as_str().unwrap());
        text.push_str(&workspace.good(&path).await.to_string());
    }
    let canaries: Vec<String> = workspace.sandbox.world(|world| world.canaries().map(str::to_owned).collect());
    assert!(canaries.len() >= 160);
    assert!(canaries.iter().all(|canary| !text.contains(canary.as_str())));
    assert!(!text.contains("snippet"));
}

#[tokio::test]
async fn a_stopped_sandbox_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world.json");
    let with_state = |options: Options| Options { state_file: Some(path.clone()), ..options };
    let first = Workspace::open_with(WORLD, with_state).await;
    let id = first.receive("kept");
    let token = first.token.clone();
    first.sandbox.stop().await;
    let second = Workspace { token, ..Workspace::open_with(WORLD, with_state).await };
    second.good(&format!("messages/{id}?format=minimal")).await;
}

#[tokio::test]
async fn the_mailbox_page_makes_mail_happen() {
    let workspace = Workspace::open(WORLD).await;
    let (url, client) = (workspace.sandbox.url().to_owned(), &workspace.client);
    let in_page = client.post(format!("{url}/sandbox/v1/sign-in")).json(&json!({"email": INES})).send().await.unwrap();
    let cookie = in_page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let get = async |path: &str| {
        let answer = client.get(format!("{url}{path}")).header("cookie", &cookie).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let post = async |path: &str, form: &[(&str, &str)]| {
        let request = client.post(format!("{url}{path}")).header("cookie", &cookie).form(form);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("/mailbox/act", &[("action", "receive")]).await, 303);
    let written = [("action", "send"), ("to", "bo@example.com"), ("subject", "<b>Hi</b>"), ("body", "Text & more")];
    assert_eq!(post("/mailbox/send", &written).await, 303);
    let (status, sent) = get("/mailbox?label=SENT").await;
    assert_eq!(status, 200);
    assert!(sent.contains("&#60;b&#62;Hi") && !sent.contains("<b>Hi"));
    let id = workspace.sandbox.world(|world| {
        assert_eq!(world.mailbox(BO).unwrap().message_count(), 1);
        world.mailbox(INES).unwrap().newest_first().find(|message| message.has("INBOX")).unwrap().id.clone()
    });
    for action in ["star", "read", "archive", "trash", "untrash", "spam", "not_spam", "unread", "unstar"] {
        assert_eq!(post("/mailbox/act", &[("action", action), ("id", &id)]).await, 303, "{action}");
    }
    assert_eq!(get(&format!("/mailbox/messages/{id}")).await.0, 200);
    assert_eq!(post("/mailbox/labels", &[("name", "Later")]).await, 303);
    assert_eq!(get("/mailbox?label=Label_2&done=created").await.0, 200);
    assert_eq!(post("/mailbox/act", &[("action", "label"), ("id", &id), ("label", "Label_2")]).await, 303);
    assert_eq!(post("/mailbox/labels/delete", &[("id", "Label_2")]).await, 303);
    assert_eq!(post("/mailbox/act", &[("action", "delete"), ("id", &id)]).await, 303);
    assert_eq!(post("/mailbox/act", &[("action", "delete"), ("id", &id)]).await, 422);
    let draft = [("action", "draft"), ("to", "bo@example.com"), ("subject", "Later")];
    assert_eq!(post("/mailbox/send", &draft).await, 303);
    assert!(get("/mailbox?label=DRAFT").await.1.contains("Later"));
    let foreign = client.post(format!("{url}/mailbox/act")).header("cookie", &cookie);
    let foreign = foreign.header("sec-fetch-site", "cross-site").form(&[("action", "receive")]).send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
}

/// Somebody who is called by the sandbox: answers with the statuses in turn, the last one for ever, and remembers.
async fn endpoint(statuses: &'static [u16]) -> (String, tokio::sync::mpsc::UnboundedReceiver<(String, Value)>) {
    let (seen, received) = tokio::sync::mpsc::unbounded_channel();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let handler = async move |headers: axum::http::HeaderMap, axum::Json(body): axum::Json<Value>| {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        seen.send((bearer.to_owned(), body)).ok();
        let index = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        StatusCode::from_u16(statuses[index.min(statuses.len() - 1)]).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notices", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/notices", axum::routing::post(handler));
    let serving = axum::serve(listener, router).into_future();
    #[expect(clippy::disallowed_methods, reason = "the endpoint ends with its test")]
    tokio::spawn(serving);
    (url, received)
}

#[tokio::test]
async fn a_push_is_signed_and_comes_again_when_it_is_refused() {
    let workspace = Workspace::open(WORLD).await;
    workspace.provision().await;
    let (url, mut received) = endpoint(&[500, 204]).await;
    let push = json!({"pushConfig": {"pushEndpoint": url,
        "oidcToken": {"serviceAccountEmail": "push@intail-demo.iam.gserviceaccount.com", "audience": "intail"}}});
    workspace.post(&format!("/v1/{SUBSCRIPTION}:modifyPushConfig"), push).await;
    workspace.post(&format!("/v1/{TOPIC}:publish"), json!({"messages": [{"data": "aGk="}]})).await;
    let (bearer, body) = received.recv().await.unwrap();
    assert_eq!(body["subscription"], SUBSCRIPTION);
    assert_eq!(
        (&body["message"]["data"], &body["message"]["messageId"]),
        (&json!("aGk="), &body["message"]["message_id"])
    );
    let payload = bearer.strip_prefix("Bearer ").unwrap().split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["aud"], &claims["email_verified"]), (&json!("intail"), &json!(true)));
    assert_eq!(claims["email"], "push@intail-demo.iam.gserviceaccount.com");
    // The refusal is settled after its answer has arrived here; time is moved until the sandbox has seen both.
    let second = async {
        loop {
            tokio::select! {
                biased;
                Some((_, body)) = received.recv() => return body,
                () = tokio::task::yield_now() => workspace.pass(1),
            }
        }
    };
    assert_eq!(second.await["message"]["messageId"], body["message"]["messageId"]);
}

#[tokio::test]
async fn notices_can_leave_for_a_pubsub_outside() {
    let outside = Workspace::open(WORLD).await;
    outside.provision().await;
    outside.sandbox.world(|world| world.settings.pull_wait_ms = 30_000);
    let host = outside.sandbox.address().to_string();
    let with_outside = |options: Options| Options { outside_pubsub: Some(host), ..options };
    let workspace = Workspace::open_with(WORLD, with_outside).await;
    let missing = json!({"topicName": "projects/intail-demo/topics/none"});
    assert_eq!(workspace.post("/gmail/v1/users/me/watch", missing).await.0, 404);
    let (status, watch) = workspace.post("/gmail/v1/users/me/watch", json!({"topicName": TOPIC})).await;
    assert_eq!(status, 200, "{watch}");
    let items = outside.pull().await;
    assert_eq!(notice(&items[0])["emailAddress"], INES);
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_say_so_twice() {
    let workspace = Workspace::open(WORLD).await;
    let url = format!("{}/gmail/v1/users/me/labels", workspace.sandbox.url());
    for (agent, expected) in [("intail", None), ("intail (gzip)", Some("gzip"))] {
        let request = workspace.client.get(&url).bearer_auth(&workspace.token).header("user-agent", agent);
        let answer = request.header("accept-encoding", "gzip").send().await.unwrap();
        let encoding = answer.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(encoding.as_deref(), expected);
    }
}

#[tokio::test]
async fn a_batch_answers_each_call_by_itself_and_takes_a_hundred_at_most() {
    let workspace = Workspace::open(WORLD).await;
    let send = async |targets: &[&str]| {
        let part = |(at, target)| {
            format!(
                "--part\r\nContent-Type: application/http\r\nContent-ID: <call + {at}>\r\n\r\n\
                 GET {target} HTTP/1.1\r\nUser-Agent: x (gzip)\r\nAccept-Encoding: gzip\r\n\r\n\r\n"
            )
        };
        let body: String = targets.iter().enumerate().map(part).collect();
        let answer = workspace
            .client
            .post(format!("{}/batch", workspace.sandbox.url()))
            .bearer_auth(&workspace.token)
            .header("content-type", "multipart/mixed; boundary=\"part\"")
            .body(format!("{body}--part--\r\n"));
        let answer = answer.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let profile = "/gmail/v1/users/me/profile";
    let (status, text) = send(&[profile, "/gmail/v1/users/me/messages/nothing?format=metadata"]).await;
    assert_eq!((status, text.matches("HTTP/1.1 ").count()), (200, 2), "{text}");
    let (first, second) = text.split_once("<response-call + 1>").unwrap();
    assert!(first.contains("<response-call + 0>") && first.contains("HTTP/1.1 200") && first.contains("messagesTotal"));
    assert!(!second.contains("HTTP/1.1 200"), "the second failed alone: {second}");
    assert_eq!(send(&[profile; 101]).await.0, 400);
    assert_eq!(send(&[]).await.0, 400);
}

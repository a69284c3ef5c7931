//! Sign-in, consent, tokens and the Admin console over real HTTP, as a browser and an application see them.
//!
//! The rules themselves are tested beside the state machine; here it matters that pages, forms, headers and bodies
//! carry them. Each test has its own sandbox and its own clock.

#![cfg(test)]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use intail_sandbox::access::AccessPolicy;
use intail_sandbox::accounts::{ClientState, Customer, Identity, OAuthClient, Person, PersonSwitch, UserType, sub_for};
use intail_sandbox::{Clock, Options, Sandbox, World, WorldSource};
use jiff::Timestamp;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use url::Url;

const CLIENT: &str = "1234567890-intail.apps.googleusercontent.com";
const SECRET: &str = "GOCSPX-sandbox";
const BACK: &str = "http://127.0.0.1:8080/connect/google/callback";
const MAIL: &str = "https://www.googleapis.com/auth/gmail.metadata";
const CALENDAR: &str = "https://www.googleapis.com/auth/calendar.readonly";
const ADA: &str = "ada.admin@example.com";
const INES: &str = "ines.prado@example.com";
const APP: &str = "/console/security/api-controls/apps/1234567890-intail.apps.googleusercontent.com";

fn world() -> World {
    let domains = vec!["example.com".to_owned()];
    let customer = Customer { id: "C01".to_owned(), name: "Example Company".to_owned(), domains };
    let mut ada = Person::new(ADA, "Ada", "Admin", Some("example.com"));
    ada.is_admin = true;
    let people = vec![ada, Person::new(INES, "Inês", "<Prado>", Some("example.com"))];
    let client = OAuthClient {
        client_id: CLIENT.to_owned(),
        client_secret: SECRET.to_owned(),
        name: "Intail".to_owned(),
        redirect_uris: vec![BACK.to_owned()],
        project: "intail-demo".to_owned(),
        project_number: 1_234_567_890,
        user_type: UserType::Internal,
        state: ClientState::Active,
        test_users: Vec::new(),
    };
    let identity = Identity::new(customer, people, vec![client], AccessPolicy::default(), 1);
    World::new(identity, Clock::manual(Timestamp::constant(1_795_000_000, 0)), 1)
}

async fn sandbox() -> Sandbox {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = Clock::manual(Timestamp::constant(1_795_000_000, 0));
    let world = WorldSource::Ready(Box::new(world()));
    Sandbox::start(Options { clock, world, ..Options::new(listener) }).await.unwrap()
}

/// Keeps one cookie and follows nothing.
struct Browser {
    client: reqwest::Client,
    url: String,
    cookie: String,
}

impl Browser {
    #[expect(clippy::disallowed_methods, reason = "a browser of a test talks to the sandbox of that test only")]
    fn new(sandbox: &Sandbox) -> Browser {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Browser { client, url: sandbox.url().to_owned(), cookie: String::new() }
    }

    async fn send(&mut self, request: RequestBuilder) -> Response {
        let answer = request.header(COOKIE, &self.cookie).send().await.unwrap();
        if let Some(line) = answer.headers().get(SET_COOKIE) {
            self.cookie = line.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.url));
        self.send(request).await
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Response {
        let request = self.client.post(format!("{}{path}", self.url)).form(form);
        self.send(request).await
    }

    /// Begins an authorization and returns where the browser is sent.
    async fn authorize(&mut self, changes: &[(&str, &str)]) -> Response {
        let scope = format!("openid email {MAIL} {CALENDAR}");
        let mut query = BTreeMap::from([
            ("client_id", CLIENT),
            ("redirect_uri", BACK),
            ("response_type", "code"),
            ("scope", &scope),
            ("access_type", "offline"),
            ("state", "state-1"),
            ("nonce", "nonce-1"),
        ]);
        query.extend(changes.iter().copied());
        let request = self.client.get(format!("{}/o/oauth2/v2/auth", self.url)).query(&query);
        self.send(request).await
    }

    /// From the chooser to the page after it.
    async fn choose(&mut self, email: &str) -> (String, Response) {
        let begun = self.authorize(&[]).await;
        let transaction = transaction(&begun);
        let answer =
            self.post("/signin/oauth/chooser", &[("transaction", &transaction), ("account", &sub_for(email))]).await;
        (transaction, answer)
    }

    /// Allows both boxes and returns the callback's parameters.
    async fn connect(&mut self, email: &str) -> BTreeMap<String, String> {
        let (transaction, _) = self.choose(email).await;
        let form = [("transaction", transaction.as_str()), ("scope", MAIL), ("scope", CALENDAR), ("answer", "allow")];
        parameters(&location(&self.post("/signin/oauth/consent", &form).await))
    }

    async fn become_administrator(&mut self) {
        let answer = self.post("/console/sign-in", &[("account", &sub_for(ADA))]).await;
        assert_eq!(location(&answer), "/console");
    }

    async fn set_access(&mut self, level: &str) -> Response {
        self.post(&format!("{APP}/access"), &[("level", level)]).await
    }

    async fn token(&mut self, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.post("/token", form).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn exchange(&mut self, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", BACK),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
        ];
        self.token(&form).await
    }

    async fn refresh(&mut self, token: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
        ];
        self.token(&form).await
    }
}

fn location(answer: &Response) -> String {
    answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn transaction(answer: &Response) -> String {
    location(answer).split_once("transaction=").unwrap().1.to_owned()
}

fn parameters(address: &str) -> BTreeMap<String, String> {
    assert!(address.starts_with(BACK), "not a callback: {address}");
    Url::parse(address).unwrap().query_pairs().into_owned().collect()
}

#[tokio::test]
async fn an_administrator_approves_an_employee_connects_and_a_block_ends_it() {
    let sandbox = sandbox().await;
    let mut ines = Browser::new(&sandbox);
    let (_, blocked) = ines.choose(INES).await;
    assert_eq!(blocked.status(), 400);
    let page = blocked.text().await.unwrap();
    assert!(page.contains("Access blocked: Authorization Error") && page.contains("Error 400: admin_policy_enforced"));
    assert!(page.contains(CLIENT) && page.contains(INES) && !page.contains("state-1"));

    let mut ada = Browser::new(&sandbox);
    ada.become_administrator().await;
    let found = ada.get("/console/security/api-controls/apps?q=intail").await.text().await.unwrap();
    assert!(found.contains(CLIENT) && found.contains("Unconfigured"));
    assert_eq!(location(&ada.set_access("limited").await), format!("{APP}?done=access"));

    let (transaction, step) = ines.choose(INES).await;
    assert_eq!(location(&step), format!("/signin/oauth/consent?transaction={transaction}"));
    let page = ines.get(&location(&step)).await.text().await.unwrap();
    assert_eq!(page.matches(r#"type="checkbox" name="scope""#).count(), 2);
    assert!(!page.contains("checked") && page.contains("&#60;Prado&#62;"));
    let all = ines.get(&format!("{}&all=true", location(&step))).await.text().await.unwrap();
    assert_eq!(all.matches(" checked>").count(), 2);

    let back = ines.connect(INES).await;
    assert_eq!((back["state"].as_str(), back["iss"].as_str()), ("state-1", sandbox.url()));
    let (status, tokens) = ines.exchange(&back["code"]).await;
    assert_eq!((status, &tokens["token_type"]), (200, &json!("Bearer")));
    let refresh_token = tokens["refresh_token"].as_str().unwrap().to_owned();
    let (status, refreshed) = ines.refresh(&refresh_token).await;
    assert_eq!((status, refreshed.get("refresh_token")), (200, None));

    ada.set_access("blocked").await;
    let (status, error) = ines.refresh(&refresh_token).await;
    assert_eq!((status, &error["error"]), (400, &json!("admin_policy_enforced")));
    sandbox.stop().await;
}

#[tokio::test]
async fn bad_requests_stop_on_a_page_that_never_leads_back() {
    let sandbox = sandbox().await;
    let mut browser = Browser::new(&sandbox);
    let table = [
        (("redirect_uri", "http://127.0.0.1:8080/connect/google/callback/"), 400, "redirect_uri_mismatch"),
        (("client_id", "nobody"), 401, "invalid_client"),
        (("response_type", "token"), 400, "invalid_request"),
        (("scope", "<b>"), 400, "invalid_scope"),
    ];
    for (change, status, code) in table {
        let answer = browser.authorize(&[change]).await;
        assert_eq!((answer.status().as_u16(), location(&answer).as_str()), (status, ""));
        let page = answer.text().await.unwrap();
        assert!(page.contains(&format!("Error {status}: {code}")) && !page.contains("<b>&"), "{code}");
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn cancel_a_second_answer_and_another_browser() {
    let sandbox = sandbox().await;
    let mut ada = Browser::new(&sandbox);
    ada.become_administrator().await;
    ada.set_access("trusted").await;
    let mut ines = Browser::new(&sandbox);
    let (transaction, _) = ines.choose(INES).await;
    let stranger = ada.post("/signin/oauth/consent", &[("transaction", &transaction), ("answer", "allow")]).await;
    assert_eq!(stranger.status(), 400);
    let cancelled = ines.post("/signin/oauth/consent", &[("transaction", &transaction), ("answer", "cancel")]).await;
    assert_eq!(cancelled.status(), 303);
    assert_eq!(location(&cancelled), format!("{BACK}?state=state-1&error=access_denied"));
    let again = ines.post("/signin/oauth/consent", &[("transaction", &transaction), ("answer", "allow")]).await;
    assert_eq!(again.status(), 400);
    sandbox.stop().await;
}

#[tokio::test]
async fn an_address_that_nobody_has_leads_back_to_the_chooser() {
    let sandbox = sandbox().await;
    let mut browser = Browser::new(&sandbox);
    let begun = browser.authorize(&[("login_hint", "\"><script>@example.com")]).await;
    let page = browser.get(&location(&begun)).await.text().await.unwrap();
    assert!(!page.contains("<script>@"));
    let form = [("transaction", transaction(&begun)), ("email", "nobody@example.com".to_owned())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = browser.post("/signin/oauth/chooser", &form).await;
    assert!(location(&answer).ends_with("&another=true&refused=true"));
    let page = browser.get(&location(&answer)).await.text().await.unwrap();
    assert!(page.contains("Couldn&#39;t sign in"));
    sandbox.stop().await;
}

#[tokio::test]
async fn the_token_endpoint_answers_with_googles_bodies() {
    let sandbox = sandbox().await;
    let mut application = Browser::new(&sandbox);
    let error = |code: &str, description: &str| json!({ "error": code, "error_description": description });
    let post = [("client_id", CLIENT), ("client_secret", SECRET)];
    let with = |more: &[(&'static str, &'static str)]| [&post[..], more].concat();
    let table = [
        (vec![], 400, error("invalid_request", "Could not determine client ID from request.")),
        (vec![("client_id", "x")], 401, error("invalid_client", "The OAuth client was not found.")),
        (vec![("client_id", CLIENT)], 400, error("invalid_request", "client_secret is missing.")),
        (vec![("client_id", CLIENT), ("client_secret", "wrong")], 401, error("invalid_client", "Unauthorized")),
        (with(&[]), 400, error("invalid_request", "Required parameter is missing: grant_type")),
        (with(&[("grant_type", "password")]), 400, error("unsupported_grant_type", "Invalid grant_type")),
        (
            with(&[("grant_type", "refresh_token"), ("refresh_token", "1//x")]),
            400,
            error("invalid_grant", "Bad Request"),
        ),
        (
            with(&[("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", BACK)]),
            400,
            error("invalid_grant", "Malformed auth code."),
        ),
    ];
    for (form, status, body) in table {
        assert_eq!(application.token(&form).await, (status, body));
    }
    let basic = STANDARD.encode(format!("{CLIENT}:{SECRET}"));
    let request = application.client.post(format!("{}/token", application.url));
    let request = request.header("authorization", format!("Basic {basic}")).form(&[("grant_type", "x")]);
    let answer = application.send(request).await;
    assert!(answer.headers()["cache-control"].to_str().unwrap().contains("no-store"));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"], "unsupported_grant_type");
    sandbox.stop().await;
}

#[tokio::test]
async fn discovery_keys_and_profile_fit_together() {
    let sandbox = sandbox().await;
    let mut browser = Browser::new(&sandbox);
    browser.become_administrator().await;
    browser.set_access("trusted").await;
    let back = browser.connect(INES).await;
    let (_, tokens) = browser.exchange(&back["code"]).await;
    let document: Value = browser.get("/.well-known/openid-configuration").await.json().await.unwrap();
    assert_eq!(document["issuer"], sandbox.url());
    let at = |name: &str| document[name].as_str().unwrap().strip_prefix(sandbox.url()).unwrap().to_owned();
    let keys = browser.get(&at("jwks_uri")).await;
    assert!(keys.headers()["cache-control"].to_str().unwrap().contains("max-age"));
    let keys: Value = keys.json().await.unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&serde_json::from_value(keys["keys"][0].clone()).unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_audience(&[CLIENT]);
    rules.set_issuer(&[sandbox.url()]);
    rules.validate_exp = false;
    let claims = jsonwebtoken::decode::<Value>(tokens["id_token"].as_str().unwrap(), &key, &rules).unwrap().claims;
    assert_eq!(
        (&claims["email"], &claims["hd"], &claims["nonce"]),
        (&json!(INES), &json!("example.com"), &json!("nonce-1"))
    );

    let access = tokens["access_token"].as_str().unwrap();
    let request = browser.client.get(format!("{}{}", browser.url, at("userinfo_endpoint"))).bearer_auth(access);
    let profile: Value = browser.send(request).await.json().await.unwrap();
    assert_eq!((&profile["sub"], &profile["email"]), (&claims["sub"], &claims["email"]));
    let info: Value = browser.get(&format!("/tokeninfo?access_token={access}")).await.json().await.unwrap();
    assert_eq!((&info["aud"], &info["access_type"]), (&json!(CLIENT), &json!("offline")));
    assert_eq!(browser.get("/tokeninfo?access_token=x").await.status(), 400);
    assert_eq!(browser.get(&at("userinfo_endpoint")).await.status(), 401);

    let revoked = browser.post("/revoke", &[("token", access)]).await;
    assert_eq!(revoked.status(), 200);
    let garbage = browser.post("/revoke", &[("token", access)]).await;
    assert_eq!(
        (garbage.status().as_u16(), garbage.json::<Value>().await.unwrap()["error"].clone()),
        (400, json!("invalid_token"))
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn the_console_is_for_administrators() {
    let sandbox = sandbox().await;
    let mut browser = Browser::new(&sandbox);
    let pages = [
        "/console",
        "/console/security",
        "/console/security/access-and-data-control",
        "/console/security/api-controls",
        "/console/security/api-controls/apps",
        APP,
        &format!("{APP}/access"),
        "/console/security/api-controls/services",
        "/console/security/api-controls/settings",
        "/console/directory/users",
    ];
    for page in pages {
        assert_eq!(location(&browser.get(page).await), "/console/sign-in", "{page}");
    }
    assert_eq!(location(&browser.set_access("trusted").await), "/console/sign-in");
    // Whoever follows a link from outside goes on to it once they are signed in, and nowhere else.
    for (address, word, page) in [
        ("/ac/owl", "api-controls", "/console/security/api-controls"),
        ("/ac/owl/list", "apps", "/console/security/api-controls/apps"),
    ] {
        let mut visitor = Browser::new(&sandbox);
        let way = location(&visitor.get(address).await);
        assert_eq!(way, format!("/console/sign-in?to={word}"));
        let shown = visitor.get(&way).await.text().await.unwrap();
        assert!(shown.contains(&format!("name=\"to\" value=\"{word}\"")), "{shown}");
        let entered = visitor.post("/console/sign-in", &[("account", &sub_for(ADA)), ("to", word)]).await;
        assert_eq!(location(&entered), page);
        assert_eq!(location(&visitor.get(address).await), page);
    }
    let mut visitor = Browser::new(&sandbox);
    let astray = [("account", &*sub_for(ADA)), ("to", "https://elsewhere.example")];
    assert_eq!(location(&visitor.post("/console/sign-in", &astray).await), "/console");
    let refused = browser.post("/console/sign-in", &[("account", &sub_for(INES))]).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("not an administrator"));
    assert_eq!(location(&browser.get("/console").await), "/console/sign-in");
    browser.become_administrator().await;
    for page in pages {
        assert_eq!(browser.get(page).await.status(), 200, "{page}");
    }
    sandbox.world(|world| {
        let now = world.clock.now();
        world.identity.switch_person(now, &sub_for(ADA), PersonSwitch::AdministratorOff);
    });
    assert_eq!(location(&browser.get("/console").await), "/console/sign-in");
    sandbox.stop().await;
}

#[tokio::test]
async fn specific_data_needs_a_scope_and_services_and_people_can_be_changed() {
    let sandbox = sandbox().await;
    let mut ada = Browser::new(&sandbox);
    ada.become_administrator().await;
    let page = ada.get(&format!("{APP}/access?step=review&level=specific")).await.text().await.unwrap();
    assert!(page.contains("Choose at least one scope"));
    let review = format!("{APP}/access?step=review&level=specific&scope={MAIL}&scope=openid");
    let page = ada.get(&review).await.text().await.unwrap();
    assert_eq!(page.matches(r#"type="hidden" name="scope""#).count(), 2);
    let form = [("level", "specific"), ("scope", MAIL), ("scope", "openid"), ("scope", "made-up")];
    ada.post(&format!("{APP}/access"), &form).await;
    let level = sandbox.world(|world| serde_json::to_value(&world.identity.policy.configured[CLIENT]).unwrap());
    assert_eq!(level, json!({ "level": "specific", "scopes": [MAIL, "openid"] }));

    let services = "/console/security/api-controls/services";
    ada.post(services, &[("gmail", "restricted"), ("gmail_high_risk", "true"), ("calendar", "restricted")]).await;
    let settings = [("unconfigured", "sign_in_only"), ("block_message", " Ask Ada. ")];
    ada.post("/console/security/api-controls/settings", &settings).await;
    let policy = sandbox.world(|world| serde_json::to_value(&world.identity.policy).unwrap());
    assert_eq!(policy["services"], json!({ "gmail": "restricted_high_risk", "calendar": "restricted" }));
    assert_eq!((&policy["unconfigured"], &policy["block_message"]), (&json!("sign_in_only"), &json!("Ask Ada.")));

    ada.post(&format!("/console/directory/users/{}", sub_for(INES)), &[("switch", "suspend")]).await;
    assert!(sandbox.world(|world| world.identity.people[&sub_for(INES)].suspended));
    ada.post(&format!("{APP}/remove"), &[]).await;
    assert!(sandbox.world(|world| world.identity.policy.configured.is_empty()));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_person_sees_and_removes_connected_applications_only_when_signed_in() {
    let sandbox = sandbox().await;
    let mut browser = Browser::new(&sandbox);
    browser.become_administrator().await;
    browser.set_access("trusted").await;
    let path = format!("/accounts/{}/connections", sub_for(INES));
    assert_eq!(browser.get(&path).await.status(), 403);
    let back = browser.connect(INES).await;
    let (_, tokens) = browser.exchange(&back["code"]).await;
    let page = browser.get(&path).await.text().await.unwrap();
    assert!(page.contains("Intail") && page.contains("Remove access"));
    let removed = browser.post(&format!("{path}/remove"), &[("project", "intail-demo")]).await;
    assert_eq!(location(&removed), format!("{path}?done=removed"));
    let (status, error) = browser.refresh(tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!((status, &error["error_description"]), (400, &json!("Token has been expired or revoked.")));
    browser.post("/accounts/sign-out", &[]).await;
    assert_eq!(browser.get(&path).await.status(), 403);
    assert_eq!(location(&browser.get("/console").await), "/console/sign-in");
    sandbox.stop().await;
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let sandbox = sandbox().await;
    let mut browser = Browser::new(&sandbox);
    browser.become_administrator().await;
    let forms = [
        "/signin/oauth/chooser",
        "/signin/oauth/consent",
        "/accounts/sign-in",
        "/accounts/sign-out",
        "/accounts/1/connections/remove",
        "/console/sign-in",
        "/console/sign-out",
        &format!("{APP}/access"),
        &format!("{APP}/remove"),
        "/console/security/api-controls/services",
        "/console/security/api-controls/settings",
        "/console/directory/users/1",
    ];
    for form in forms {
        for (name, value) in [(ORIGIN.as_str(), "http://evil.example"), ("sec-fetch-site", "cross-site")] {
            let request = browser.client.post(format!("{}{form}", browser.url)).header(name, value);
            let fields = [("account", "1"), ("transaction", "1"), ("project", "p"), ("switch", "suspend")];
            assert_eq!(browser.send(request.form(&fields)).await.status(), 403, "{form} with {name}");
        }
    }
    let own = browser.client.post(format!("{}/accounts/sign-out", browser.url)).header(ORIGIN, &browser.url);
    assert_eq!(browser.send(own.form(&[("account", "")])).await.status(), 303);
    sandbox.stop().await;
}

#[tokio::test]
async fn pages_are_sent_with_a_strict_policy_and_need_nothing_from_outside() {
    let sandbox = sandbox().await;
    let mut browser = Browser::new(&sandbox);
    browser.become_administrator().await;
    for path in ["/", "/accounts", "/console", "/console/sign-in", "/console/directory/users", APP] {
        let answer = browser.get(path).await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("stand-in for Google Workspace") && page.contains(r#"<html lang="en">"#), "{path}");
        for forbidden in ["style=", "onclick=", "<style", "src=\"http", "<script>"] {
            assert!(!page.contains(forbidden), "{path} contains {forbidden}");
        }
    }
    let begun = browser.authorize(&[]).await;
    let chooser = browser.get(&location(&begun)).await;
    let policy = chooser.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.ends_with("form-action 'self' http://127.0.0.1:8080"));
    for file in ["sandbox.css", "sandbox.js", "person.svg", "mark.svg"] {
        assert_eq!(browser.get(&format!("/static/{file}")).await.status(), 200);
    }
    assert_eq!(browser.get("/static/..%2fCargo.toml").await.status(), 404);
    sandbox.stop().await;
}

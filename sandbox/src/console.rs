//! The Admin console: where an administrator of the sandbox's company decides which applications may read what, and
//! suspends or deletes people. The menus and the order of the steps are those of the real console, because the person
//! who tries Intail should find the way there afterwards.
//!
//! Every page asks `administrator` first, every form also needs the proof `SameOrigin`; what a setting means is decided
//! in `access.rs`, never here.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum_extra::extract::{Form, Query as RepeatedQuery};
use serde::Deserialize;

use crate::Shared;
use crate::access::{AccessLevel, SCOPES, Scope, Service, ServiceAccess, UnconfiguredApps, find_scope, is_sign_in};
use crate::accounts::{Identity, OAuthClient, Person, PersonSwitch, UserType};
use crate::pages::{
    AccountRow, Done, Frame, SameOrigin, browser_cookie, browser_of, message, page, rows_without, see_other,
    with_cookie,
};
use crate::world::World;

/// Where the settings about applications live.
const API_CONTROLS: &str = "/console/security/api-controls";
/// Where the list of applications lives.
const APPS: &str = "/console/security/api-controls/apps";
/// Longest message that the company can put on the "access blocked" page, in characters.
const BLOCK_MESSAGE_CHARS_MAX: usize = 500;

/// The routes of this file.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/console", get(home))
        // The addresses that the real console has, as seen in the wild.
        .route("/ac/owl", get(api_controls_address))
        .route("/ac/owl/list", get(apps_address))
        .route("/console/sign-in", get(sign_in_page).post(sign_in))
        .route("/console/sign-out", post(sign_out))
        .route("/console/security", get(security))
        .route("/console/security/access-and-data-control", get(access_and_data_control))
        .route("/console/security/api-controls", get(api_controls))
        .route("/console/security/api-controls/apps", get(apps))
        .route("/console/security/api-controls/apps/{client_id}", get(app))
        .route("/console/security/api-controls/apps/{client_id}/access", get(app_access).post(finish_app_access))
        .route("/console/security/api-controls/apps/{client_id}/remove", post(remove_app))
        .route("/console/security/api-controls/services", get(services).post(save_services))
        .route("/console/security/api-controls/settings", get(settings).post(save_settings))
        .route("/console/directory/users", get(users))
        .route("/console/directory/users/{sub}", post(switch_user))
}

/// The administrator who uses the console in this browser.
fn administrator<'a>(identity: &'a Identity, headers: &HeaderMap) -> Option<&'a Person> {
    let cookie = browser_cookie(headers)?;
    let sub = identity.browser(&cookie)?.console.as_deref()?;
    let here = identity.signed_in(Some(&cookie)).into_iter();
    here.filter(|person| person.is_admin && identity.is_of_customer(person)).find(|person| person.sub == sub)
}

/// Renders a page for the administrator, or sends the browser to the console's sign-in.
fn for_administrator<T: Template>(
    shared: &Shared,
    headers: &HeaderMap,
    build: impl FnOnce(&World, Frame) -> Option<T>,
) -> Response {
    let built = shared.with_world(|world| {
        let email = administrator(&world.identity, headers)?.email.clone();
        Some(build(world, Frame::new("Admin console", "console").of(&email)))
    });
    match built {
        None => see_other("/console/sign-in"),
        Some(Some(template)) => page(&template),
        Some(None) => message(StatusCode::NOT_FOUND, "No such application", "There is no application with this ID."),
    }
}

/// The pages that links from outside lead to, and the words by which a sign-in in between remembers them.
const LINKED: [(&str, &str); 2] = [("api-controls", API_CONTROLS), ("apps", APPS)];

async fn api_controls_address(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    linked(&shared, &headers, LINKED[0])
}

async fn apps_address(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    linked(&shared, &headers, LINKED[1])
}

/// Goes to a page that a link from outside leads to, by way of the console's sign-in where nobody is signed in.
fn linked(shared: &Shared, headers: &HeaderMap, (word, path): (&str, &str)) -> Response {
    let is_here = shared.with_world(|world| administrator(&world.identity, headers).is_some());
    if is_here { see_other(path) } else { see_other(&format!("/console/sign-in?to={word}")) }
}

/// Changes the world for the administrator, then shows `next`.
fn change(_: SameOrigin, shared: &Shared, headers: &HeaderMap, next: &str, act: impl FnOnce(&mut World)) -> Response {
    let done = shared.with_world(|world| {
        let allowed = administrator(&world.identity, headers).is_some();
        if allowed {
            act(world);
        }
        allowed
    });
    see_other(if done { next } else { "/console/sign-in" })
}

#[derive(Template)]
#[template(path = "console_sign_in.html")]
struct SignInPage {
    frame: Frame,
    company: String,
    signed_in: Vec<AccountRow>,
    others: Vec<AccountRow>,
    to: String,
}

/// Where the administrator was going: a word of `LINKED`.
#[derive(Debug, Deserialize)]
struct Going {
    #[serde(default)]
    to: String,
}

async fn sign_in_page(State(shared): State<Arc<Shared>>, Query(going): Query<Going>, headers: HeaderMap) -> Response {
    let cookie = browser_cookie(&headers);
    let shown = shared.with_world(|world| {
        let here = world.identity.signed_in(cookie.as_deref());
        let signed_in: Vec<AccountRow> = here.into_iter().map(AccountRow::of).collect();
        let mut others = rows_without(&world.identity, &signed_in);
        others.retain(|row| row.active);
        let company = world.identity.customer.name.clone();
        let frame = Frame::new("Sign in to the Admin console", "console");
        SignInPage { frame, company, signed_in, others, to: going.to }
    });
    page(&shown)
}

#[derive(Debug, Deserialize)]
struct AccountForm {
    account: String,
    #[serde(default)]
    to: String,
}

async fn sign_in(
    _: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<AccountForm>,
) -> Response {
    let (cookie, email, allowed) = shared.with_world(|world| {
        let identity = &mut world.identity;
        let (browser, cookie) = browser_of(identity, &headers);
        let good = identity.sign_in(&browser, &form.account);
        let person = identity.people.get(&form.account).cloned();
        let allowed = good && person.as_ref().is_some_and(|who| who.is_admin && identity.is_of_customer(who));
        if let Some(browser) = identity.browsers.get_mut(&browser).filter(|_| allowed) {
            browser.console = Some(form.account.clone());
        }
        (cookie, person.map(|person| person.email).unwrap_or_default(), allowed)
    });
    if allowed {
        let linked = LINKED.into_iter().find(|(word, _)| *word == form.to);
        return with_cookie(see_other(linked.map_or("/console", |(_, path)| path)), cookie);
    }
    let sentence =
        format!("{email} is not an administrator of this organization. Sign in with an administrator's account.");
    with_cookie(message(StatusCode::FORBIDDEN, "Administrators only", &sentence), cookie)
}

async fn sign_out(_: SameOrigin, State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(cookie) = browser_cookie(&headers) {
        shared.with_world(|world| {
            if let Some(browser) = world.identity.browsers.get_mut(&cookie) {
                browser.console = None;
            }
        });
    }
    see_other("/console/sign-in")
}

#[derive(Template)]
#[template(path = "console_home.html")]
struct HomePage {
    frame: Frame,
    here: &'static str,
    company: String,
    domains: String,
    people: usize,
    configured: usize,
}

async fn home(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    for_administrator(&shared, &headers, |world, frame| {
        let identity = &world.identity;
        Some(HomePage {
            frame,
            here: "home",
            company: identity.customer.name.clone(),
            domains: identity.customer.domains.join(", "),
            people: identity.people.values().filter(|person| identity.is_of_customer(person)).count(),
            configured: identity.policy.configured.len(),
        })
    })
}

/// A page that only leads on.
#[derive(Template)]
#[template(path = "console_menu.html")]
struct MenuPage {
    frame: Frame,
    here: &'static str,
    heading: &'static str,
    entries: Vec<(&'static str, &'static str, &'static str)>,
}

async fn security(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    for_administrator(&shared, &headers, |_, frame| {
        let entries = vec![(
            "/console/security/access-and-data-control",
            "Access and data control",
            "Which applications can reach your organization's data",
        )];
        Some(MenuPage { frame, here: "security", heading: "Security", entries })
    })
}

async fn access_and_data_control(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    for_administrator(&shared, &headers, |_, frame| {
        let entries =
            vec![(API_CONTROLS, "API controls", "App access, services and what holds for unknown applications")];
        Some(MenuPage { frame, here: "access", heading: "Access and data control", entries })
    })
}

#[derive(Template)]
#[template(path = "console_api_controls.html")]
struct ApiControlsPage {
    frame: Frame,
    here: &'static str,
    configured: usize,
    accessed: usize,
    restricted: String,
    unconfigured: &'static str,
}

async fn api_controls(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(done): Query<Done>) -> Response {
    for_administrator(&shared, &headers, |world, frame| {
        let policy = &world.identity.policy;
        let restricted =
            Service::RESTRICTABLE.iter().filter(|one| policy.service(**one) != ServiceAccess::Unrestricted);
        let restricted = restricted.map(|service| service.title()).collect::<Vec<_>>().join(", ");
        Some(ApiControlsPage {
            frame: frame.noticing((done.done == "saved").then(|| "Saved. It holds from now on.".to_owned())),
            here: "api",
            configured: policy.configured.len(),
            accessed: world.identity.asked.len(),
            restricted: if restricted.is_empty() { "none".to_owned() } else { restricted },
            unconfigured: unconfigured_title(policy.unconfigured),
        })
    })
}

fn unconfigured_title(unconfigured: UnconfiguredApps) -> &'static str {
    match unconfigured {
        UnconfiguredApps::AllowAny => "Allow users to access any third-party apps",
        UnconfiguredApps::SignInOnly => "Allow users to access third-party apps that only ask for sign-in information",
        UnconfiguredApps::Block => "Don't allow users to access any third-party apps",
    }
}

struct AppRow {
    client_id: String,
    name: String,
    kind: &'static str,
    access: &'static str,
    key: &'static str,
    users: usize,
}

impl AppRow {
    fn of(identity: &Identity, client: &OAuthClient) -> AppRow {
        let level = identity.policy.configured.get(&client.client_id);
        let users = identity.grants.consents().filter(|(_, _, consent)| consent.clients.contains(&client.client_id));
        AppRow {
            client_id: client.client_id.clone(),
            name: client.name.clone(),
            kind: match client.user_type {
                UserType::Internal => "Web application, internal",
                UserType::ExternalTesting => "Web application, in testing",
                UserType::ExternalProduction => "Web application",
            },
            access: level.map_or("Unconfigured", AccessLevel::title),
            key: level.map_or("unconfigured", AccessLevel::key),
            users: users.count(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct AppsQuery {
    /// `configured`, `accessed` or `new`.
    #[serde(default)]
    tab: String,
    /// Part of the name or of the client id.
    #[serde(default)]
    q: String,
    #[serde(default)]
    done: String,
}

#[derive(Template)]
#[template(path = "console_apps.html")]
struct AppsPage {
    frame: Frame,
    here: &'static str,
    tab: &'static str,
    q: String,
    rows: Vec<AppRow>,
    configured: usize,
    accessed: usize,
}

async fn apps(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(query): Query<AppsQuery>) -> Response {
    for_administrator(&shared, &headers, |world, frame| {
        let identity = &world.identity;
        let tab = match query.tab.as_str() {
            "accessed" => "accessed",
            "new" => "new",
            _ => "configured",
        };
        let q = query.q.trim().to_owned();
        let wanted = q.to_lowercase();
        let rows = identity.clients.values().filter(|client| match (q.is_empty(), tab) {
            (false, _) => client.name.to_lowercase().contains(&wanted) || client.client_id.contains(&wanted),
            (true, "configured") => identity.policy.configured.contains_key(&client.client_id),
            (true, "accessed") => identity.asked.contains_key(&client.client_id),
            (true, _) => false,
        });
        Some(AppsPage {
            frame: frame
                .noticing((query.done == "removed").then(|| "The application is unconfigured again.".to_owned())),
            here: "api",
            tab,
            rows: rows.map(|client| AppRow::of(identity, client)).collect(),
            q,
            configured: identity.policy.configured.len(),
            accessed: identity.asked.len(),
        })
    })
}

#[derive(Template)]
#[template(path = "console_app.html")]
struct AppPage {
    frame: Frame,
    here: &'static str,
    row: AppRow,
    project: String,
    allowed: Vec<&'static Scope>,
    asked: Vec<&'static Scope>,
}

fn known<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'static Scope> {
    names.into_iter().filter_map(|name| find_scope(name)).collect()
}

async fn app(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(client_id): Path<String>,
    Query(done): Query<Done>,
) -> Response {
    for_administrator(&shared, &headers, |world, frame| {
        let identity = &world.identity;
        let client = identity.clients.get(&client_id)?;
        let allowed = match identity.policy.configured.get(&client_id) {
            Some(AccessLevel::Specific { scopes }) => known(scopes),
            _ => Vec::new(),
        };
        let row = AppRow::of(identity, client);
        let saved = format!("Access to Google data for {} is now: {}.", row.name, row.access);
        Some(AppPage {
            frame: frame.noticing((done.done == "access").then_some(saved)),
            here: "api",
            row,
            project: client.project.clone(),
            allowed,
            asked: known(identity.asked.get(&client_id).into_iter().flatten()),
        })
    })
}

#[derive(Debug, Deserialize)]
struct AccessQuery {
    /// `unit`, then `data`, then `review`.
    #[serde(default)]
    step: String,
    /// `trusted`, `specific`, `limited` or `blocked`.
    #[serde(default)]
    level: String,
    /// Scopes for `specific`, in their long form.
    #[serde(default)]
    scope: BTreeSet<String>,
}

impl AccessQuery {
    fn level(&self) -> Result<AccessLevel, &'static str> {
        let scopes: BTreeSet<String> = known(&self.scope).into_iter().map(|scope| scope.name.to_owned()).collect();
        match self.level.as_str() {
            "trusted" => Ok(AccessLevel::Trusted),
            "limited" => Ok(AccessLevel::Limited),
            "blocked" => Ok(AccessLevel::Blocked),
            "specific" if scopes.is_empty() => Err("Choose at least one scope for Specific Google data."),
            "specific" => Ok(AccessLevel::Specific { scopes }),
            _ => Err("Choose what the application may access."),
        }
    }
}

struct ScopeChoice {
    scope: &'static Scope,
    chosen: bool,
    asked: bool,
}

#[derive(Template)]
#[template(path = "console_access.html")]
struct AccessPage {
    frame: Frame,
    here: &'static str,
    row: AppRow,
    company: String,
    step: &'static str,
    level: &'static str,
    choices: Vec<ScopeChoice>,
    refusal: &'static str,
    chosen_title: &'static str,
}

/// What the wizard starts from: the present setting, or what the application has asked for.
fn first_choice(identity: &Identity, client_id: &str) -> (&'static str, BTreeSet<String>) {
    let sign_in = SCOPES.iter().filter(|scope| is_sign_in(scope.name)).map(|scope| scope.name.to_owned());
    let wanted = || sign_in.chain(identity.asked.get(client_id).into_iter().flatten().cloned()).collect();
    match identity.policy.configured.get(client_id) {
        Some(AccessLevel::Specific { scopes }) => ("specific", scopes.clone()),
        Some(level) => (level.key(), wanted()),
        None => ("", wanted()),
    }
}

fn access_page(identity: &Identity, frame: Frame, client_id: &str, query: &AccessQuery) -> Option<AccessPage> {
    let client = identity.clients.get(client_id)?;
    let parsed = query.level();
    let first = first_choice(identity, client_id);
    let step = match query.step.as_str() {
        "review" if parsed.is_ok() => "review",
        "review" | "data" => "data",
        _ => "unit",
    };
    let answered = !query.level.is_empty();
    let chosen = if answered && query.level == "specific" { query.scope.clone() } else { first.1 };
    let asked = identity.asked.get(client_id);
    let choices = SCOPES.iter().map(|scope| ScopeChoice {
        scope,
        chosen: chosen.contains(scope.name),
        asked: asked.is_some_and(|asked| asked.contains(scope.name)),
    });
    Some(AccessPage {
        frame,
        here: "api",
        row: AppRow::of(identity, client),
        company: identity.customer.name.clone(),
        step,
        level: parsed.as_ref().map_or(if answered { "specific" } else { first.0 }, AccessLevel::key),
        choices: choices.collect(),
        refusal: match (&parsed, query.step.as_str()) {
            (Err(sentence), "review") => sentence,
            _ => "",
        },
        chosen_title: parsed.as_ref().map_or("", AccessLevel::title),
    })
}

async fn app_access(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(client_id): Path<String>,
    RepeatedQuery(query): RepeatedQuery<AccessQuery>,
) -> Response {
    for_administrator(&shared, &headers, |world, frame| access_page(&world.identity, frame, &client_id, &query))
}

async fn finish_app_access(
    same_origin: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(client_id): Path<String>,
    Form(form): Form<AccessQuery>,
) -> Response {
    let Ok(level) = form.level() else {
        return see_other(&format!("{API_CONTROLS}/apps/{client_id}/access?step=data"));
    };
    let next = format!("{API_CONTROLS}/apps/{client_id}?done=access");
    change(same_origin, &shared, &headers, &next, |world| {
        if world.identity.clients.contains_key(&client_id) {
            world.identity.set_access(world.clock.now(), &client_id, Some(level));
        }
    })
}

async fn remove_app(
    same_origin: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(client_id): Path<String>,
) -> Response {
    change(same_origin, &shared, &headers, &format!("{API_CONTROLS}/apps?done=removed"), |world| {
        world.identity.set_access(world.clock.now(), &client_id, None);
    })
}

struct ServiceRow {
    key: &'static str,
    title: &'static str,
    restricted: bool,
    high_risk_box: bool,
    high_risk_only: bool,
}

#[derive(Template)]
#[template(path = "console_services.html")]
struct ServicesPage {
    frame: Frame,
    here: &'static str,
    rows: Vec<ServiceRow>,
}

async fn services(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    for_administrator(&shared, &headers, |world, frame| {
        let row = |service: &Service| {
            let access = world.identity.policy.service(*service);
            ServiceRow {
                key: service.key(),
                title: service.title(),
                restricted: access != ServiceAccess::Unrestricted,
                high_risk_box: service.has_high_risk_box(),
                high_risk_only: access == ServiceAccess::RestrictedHighRisk,
            }
        };
        Some(ServicesPage { frame, here: "api", rows: Service::RESTRICTABLE.iter().map(row).collect() })
    })
}

async fn save_services(
    same_origin: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Response {
    let value = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    change(same_origin, &shared, &headers, &format!("{API_CONTROLS}?done=saved"), |world| {
        let now = world.clock.now();
        for service in Service::RESTRICTABLE {
            let high_risk = value(&format!("{}_high_risk", service.key())).is_some() && service.has_high_risk_box();
            let access = match value(service.key()) {
                Some("restricted") if high_risk => ServiceAccess::RestrictedHighRisk,
                Some("restricted") => ServiceAccess::Restricted,
                Some("unrestricted") => ServiceAccess::Unrestricted,
                _ => continue,
            };
            world.identity.set_service(now, service, access);
        }
    })
}

#[derive(Template)]
#[template(path = "console_settings.html")]
struct SettingsPage {
    frame: Frame,
    here: &'static str,
    choices: Vec<(&'static str, &'static str, bool)>,
    trust_internal_apps: bool,
    block_message: String,
}

async fn settings(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    for_administrator(&shared, &headers, |world, frame| {
        let policy = &world.identity.policy;
        let choice = |key, value| (key, unconfigured_title(value), policy.unconfigured == value);
        Some(SettingsPage {
            frame,
            here: "api",
            choices: vec![
                choice("allow_any", UnconfiguredApps::AllowAny),
                choice("sign_in_only", UnconfiguredApps::SignInOnly),
                choice("block", UnconfiguredApps::Block),
            ],
            trust_internal_apps: policy.trust_internal_apps,
            block_message: policy.block_message.clone().unwrap_or_default(),
        })
    })
}

#[derive(Debug, Deserialize)]
struct SettingsForm {
    unconfigured: UnconfiguredApps,
    #[serde(default)]
    trust_internal_apps: bool,
    #[serde(default)]
    block_message: String,
}

async fn save_settings(
    same_origin: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<SettingsForm>,
) -> Response {
    change(same_origin, &shared, &headers, &format!("{API_CONTROLS}?done=saved"), |world| {
        let text: String = form.block_message.trim().chars().take(BLOCK_MESSAGE_CHARS_MAX).collect();
        world.identity.policy.block_message = (!text.is_empty()).then_some(text);
        world.identity.set_unconfigured(world.clock.now(), form.unconfigured, form.trust_internal_apps);
    })
}

struct UserRow {
    account: AccountRow,
    /// Switches that make sense now, as (form value, words).
    switches: Vec<(&'static str, &'static str)>,
    marks: String,
}

fn user_row(person: &Person) -> UserRow {
    let mut switches = match person {
        person if person.deleted => vec![("undelete", "Restore account")],
        person if person.suspended => vec![("restore", "Reactivate"), ("delete", "Delete")],
        _ => vec![("suspend", "Suspend"), ("delete", "Delete"), ("change_password", "Change password")],
    };
    if person.is_active() {
        let protection = ("advanced_protection_on", "Enrol in Advanced Protection");
        let no_protection = ("advanced_protection_off", "Leave Advanced Protection");
        switches.push(if person.advanced_protection { no_protection } else { protection });
        let (off, on) = (("mailbox_off", "Turn Gmail off"), ("mailbox_on", "Turn Gmail on"));
        switches.push(if person.has_mailbox { off } else { on });
    }
    let marks = [
        (person.is_admin, "Administrator"),
        (person.suspended, "Suspended"),
        (person.deleted, "Deleted"),
        (person.advanced_protection, "Advanced Protection"),
        (person.under_18, "Under 18"),
        (!person.has_mailbox, "No mailbox"),
    ];
    let marks = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect::<Vec<_>>();
    UserRow { account: AccountRow::of(person), switches, marks: marks.join(", ") }
}

#[derive(Template)]
#[template(path = "console_users.html")]
struct UsersPage {
    frame: Frame,
    here: &'static str,
    rows: Vec<UserRow>,
}

async fn users(State(shared): State<Arc<Shared>>, headers: HeaderMap, Query(done): Query<Done>) -> Response {
    for_administrator(&shared, &headers, |world, frame| {
        let identity = &world.identity;
        let mut people: Vec<&Person> = identity.people.values().filter(|who| identity.is_of_customer(who)).collect();
        people.sort_by(|left, right| left.name.cmp(&right.name));
        Some(UsersPage {
            frame: frame.noticing((done.done == "saved").then(|| "Done. It holds from now on.".to_owned())),
            here: "users",
            rows: people.into_iter().map(user_row).collect(),
        })
    })
}

#[derive(Debug, Deserialize)]
struct SwitchForm {
    switch: PersonSwitch,
}

async fn switch_user(
    same_origin: SameOrigin,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(sub): Path<String>,
    Form(form): Form<SwitchForm>,
) -> Response {
    change(same_origin, &shared, &headers, "/console/directory/users?done=saved", |world| {
        world.identity.switch_person(world.clock.now(), &sub, form.switch);
    })
}

//! The whole tour of two people in real browsers: the employee asks, the administrator approves, the employee connects,
//! and mail is live. Everything happens at pages, by what is written on them, as people do it; every station leaves a
//! picture in `target/screenshots/`. What a reader must not add: sleeps, or steps that go around the pages.

use intail::signing::is_signed;
use intail_google::oauth::scope;
use reqwest::header::{COOKIE, LOCATION};
use serde_json::{Value, json};

use crate::harness::browser::{Browser, Viewport};
use crate::harness::live::Live;

/// The administrator and three employees of the demo's world.
const ADMINISTRATOR: &str = "ada.admin@example.com";
pub(crate) const EMPLOYEE: &str = "ines@example.com";
const COLLEAGUE: &str = "kofi@example.com";
/// Three times as much mail as the others.
const BUSY_COLLEAGUE: &str = "bjorn@example.com";

/// The box of one permission on Google's consent page.
const MAIL_BOX: &str = "#consent input[value$='gmail.metadata']";

/// How often somebody without scripts loads a page again until it shows what they wait for.
const RELOADS_MAX: usize = 200;

#[tokio::test]
async fn the_tour_of_two_people_in_two_browsers() {
    let live = Live::start().await;
    let (employee, administrator) = (Browser::start().await, Browser::start().await);

    employee.open(&live.intail("/")).await;
    employee.screenshot("tour-01-front").await;
    sign_in(&employee, &live, EMPLOYEE).await;
    let guide = ask_before_approval(&employee, &live).await;
    employee.open(&live.intail("/mail")).await;
    administrator.open(&guide).await;
    administrator.see("Approve Intail for").await;
    administrator.see("Not seen yet").await;
    administrator.see("1 person waits").await;
    administrator.screenshot("tour-07-guide").await;
    administrator_approves(&administrator, &live).await;
    administrator_verifies(&administrator, &live, &guide).await;
    administrator.stop().await;

    // The page of whoever waited says so by itself.
    employee.see("Your administrator has approved Intail.").await;
    employee.screenshot("tour-12-told").await;
    employee.click_text("Connect now").await;
    employee.see("Choose what Intail can access").await;
    employee.screenshot("tour-13-consent").await;
    employee.click_css("#select-all").await;
    employee.screenshot("tour-14-consent-ticked").await;
    employee.click_css("#allow").await;
    employee.see(&format!("{EMPLOYEE} is connected.")).await;
    employee.screenshot("tour-15-connected").await;
    see_live_card(&employee).await;
    employee.screenshot("tour-16-live").await;
    quiet(&employee, 1).await;

    employee.stop().await;
    live.stop().await;
}

/// Station 3 of the tour: what the card says before approval, and what happens to whoever connects anyway. Answers the
/// link for the administrator.
async fn ask_before_approval(employee: &Browser, live: &Live) -> String {
    employee.see("Google Workspace Individual").await;
    employee.see("Your administrator has to approve Intail first").await;
    for told in [
        live.client_id(),
        "Access and data control",
        "Manage Third-Party App Access",
        "Mail headers and labels",
        "Calendar events",
        "Directory of your organization",
    ] {
        employee.see(told).await;
    }
    for asked in [scope::GMAIL_METADATA, scope::CALENDAR_READONLY, scope::DIRECTORY_USER_READONLY] {
        employee.see(asked).await;
    }
    employee.screenshot("tour-04-before-approval").await;
    employee.click_text("Connect").await;
    employee.see("Access blocked").await;
    employee.see("admin_policy_enforced").await;
    employee.screenshot("tour-05-access-blocked").await;
    employee.back().await;
    employee.open(&live.intail("/settings/integrations")).await;
    employee.see("You went to Google and didn’t come back").await;
    employee.see("You will be told.").await;
    employee.screenshot("tour-06-abandoned").await;
    guide_link(employee).await
}

/// The link to the administrator's guide, as the card has it to be copied.
async fn guide_link(browser: &Browser) -> String {
    browser.find_css("#approval-link").await.attr("value").await.expect("an attribute").expect("a link")
}

/// Station 5: the administrator's own success is the proof, and the guide says so.
async fn administrator_verifies(administrator: &Browser, live: &Live, guide: &str) {
    sign_in(administrator, live, ADMINISTRATOR).await;
    connect(administrator).await;
    administrator.open(guide).await;
    administrator.see("Nothing is left to do").await;
    administrator.screenshot("tour-12-proved").await;
    quiet(administrator, 0).await;
}

/// Station 4: the way through the Admin console's menus, as Google describes it.
async fn administrator_approves(administrator: &Browser, live: &Live) {
    administrator.open(&live.google("/console")).await;
    administrator.click_css(&account(ADMINISTRATOR)).await;
    administrator.see("Main menu").await;
    administrator.screenshot("tour-07-console").await;
    administrator.click_text("Security").await;
    administrator.click_text("Access and data control").await;
    administrator.click_text("API controls").await;
    administrator.see("Manage Third-Party App Access").await;
    administrator.screenshot("tour-08-api-controls").await;
    administrator.click_text("Manage Third-Party App Access").await;
    administrator.fill("#q", "Intail").await;
    administrator.click_css("#search").await;
    administrator.see(live.client_id()).await;
    administrator.screenshot("tour-09-search").await;
    administrator.fill("#q", live.client_id()).await;
    administrator.click_css("#search").await;
    administrator.wait_for_address(live.client_id()).await;
    administrator.click_text("Configure").await;
    administrator.click_css("#continue").await;
    administrator.click_css("#level-specific").await;
    // The list of scopes unfolds and moves what is below.
    administrator.see("gmail.readonly").await;
    for scope in [scope::GMAIL_METADATA, scope::CALENDAR_READONLY, scope::DIRECTORY_USER_READONLY] {
        // What nobody asked for yet isn't ticked: the guide names the list.
        let is_ticked = "return document.querySelector(arguments[0]).checked";
        let the_box = format!("input[name=scope][value='{scope}']");
        if administrator.ask(is_ticked, json!([the_box])).await == json!(false) {
            administrator.click_css(&the_box).await;
        }
    }
    administrator.screenshot("tour-10-access").await;
    administrator.click_css("#continue").await;
    administrator.find_css("#step-review").await;
    administrator.screenshot("tour-11-review").await;
    administrator.click_css("#finish").await;
    administrator.find_css("#access-level.level-specific").await;
    administrator.screenshot("tour-12-approved").await;
    quiet(administrator, 0).await;
}

#[tokio::test]
async fn others_connect_without_an_administrator_in_a_browser_and_see_how_far_it_is() {
    let live = Live::approved().await;
    let first = Browser::start().await;
    sign_in(&first, &live, EMPLOYEE).await;
    connect(&first).await;
    quiet(&first, 0).await;
    first.stop().await;

    let second = Browser::start().await;
    sign_in(&second, &live, BUSY_COLLEAGUE).await;
    second.see("Your organization has approved Intail").await;
    second.screenshot("second-1-approved").await;
    connect(&second).await;
    second.see(" of 9").await;
    second.find_css("progress").await;
    second.see("Without a gap since").await;
    second.screenshot("second-2-copying").await;
    // More arrives while one looks, without a reload. Google's quota makes the whole of it take some minutes.
    let grown = "return Number(document.getElementById('stored').textContent) > arguments[0]";
    let stored = "return Number(document.getElementById('stored').textContent)";
    let stored = second.ask(stored, json!([])).await;
    second.wait_for_script(grown, json!([stored]), || "the copy never grew".to_owned()).await;
    quiet(&second, 0).await;
    second.stop().await;
    live.stop().await;
}

#[tokio::test]
async fn mail_changes_in_the_browser_without_a_reload() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    see_live_card(&browser).await;
    let desk = Desk::open(&browser, &live).await;
    browser.screenshot("mail-1-mailbox").await;

    browser.click_css("#receive").await;
    browser.see("A letter has arrived.").await;
    let letter = browser.find_css("#messages li").await.attr("data-id").await;
    let letter = letter.expect("an attribute").expect("an id");
    desk.becomes("row && row.matches('.unread') && row === row.parentNode.firstElementChild", &letter).await;
    let subject = browser.ask(&of_row("row.querySelector('.subject').innerText"), json!([letter])).await;
    let subject = subject.as_str().expect("a subject").to_owned();
    desk.tells(&format!(": {subject}")).await;

    desk.act(&letter, "star").await;
    desk.becomes("row.querySelector('.star').innerText === '★'", &letter).await;
    desk.tells(&format!("Starred: {subject}")).await;

    desk.act(&letter, "read").await;
    desk.becomes("!row.matches('.unread')", &letter).await;
    desk.tells(&format!("Marked as read: {subject}")).await;

    desk.label(&letter, "Customers").await;
    desk.becomes("row.querySelector('.tags').innerText.includes('Customers')", &letter).await;
    desk.tells(&format!("Label Customers added: {subject}")).await;
    browser.turn_to(&desk.mail).await;
    browser.screenshot("mail-2-live").await;

    desk.act(&letter, "archive").await;
    desk.becomes("!row.querySelector('.tags').innerText.includes('Inbox')", &letter).await;
    desk.tells(&format!("Archived: {subject}")).await;

    browser.turn_to(&desk.mailbox).await;
    browser.click_css("[data-label='All mail']").await;
    desk.act(&letter, "trash").await;
    desk.becomes("row.querySelector('.tags').innerText.includes('Trash')", &letter).await;
    desk.tells(&format!("Moved to Trash: {subject}")).await;

    browser.turn_to(&desk.mailbox).await;
    browser.click_css("[data-label='Bin']").await;
    desk.open_more(&letter).await;
    desk.act(&letter, "delete").await;
    desk.becomes("!row", &letter).await;
    desk.tells("A message was deleted for good").await;

    browser.turn_to(&desk.mailbox).await;
    browser.click_css("#compose").await;
    browser.fill("#to", COLLEAGUE).await;
    browser.fill("#subject", "Shall we go on Thursday?").await;
    browser.fill("#body", "Nobody but us reads this.").await;
    browser.click_text("Send").await;
    browser.see("Sent.").await;
    browser.turn_to(&desk.mail).await;
    browser.see("Shall we go on Thursday?").await;
    desk.tells("Message sent: Shall we go on Thursday?").await;
    browser.screenshot("mail-3-activity").await;

    desk.was_never_loaded_again().await;
    quiet(&browser, 0).await;
    browser.stop().await;
    live.stop().await;
}

/// Three windows of the same person side by side: Intail's mail, Intail's activity, and the mailbox at Google.
struct Desk<'a> {
    browser: &'a Browser,
    mail: fantoccini::wd::WindowHandle,
    activity: fantoccini::wd::WindowHandle,
    mailbox: fantoccini::wd::WindowHandle,
}

impl<'a> Desk<'a> {
    async fn open(browser: &'a Browser, live: &Live) -> Self {
        browser.open(&live.intail("/mail")).await;
        browser.see("Live").await;
        newest_first(browser).await;
        let remember = "window.neverLoadedAgain = true; return true";
        browser.ask(remember, json!([])).await;
        let (mail, activity) = browser.another_window().await;
        browser.open(&live.intail("/activity")).await;
        browser.ask(remember, json!([])).await;
        let (_, mailbox) = browser.another_window().await;
        browser.open(&live.google("/mailbox")).await;
        browser.see("Inbox").await;
        Self { browser, mail, activity, mailbox }
    }

    /// Presses a button beside a letter in the mailbox at Google.
    async fn act(&self, letter: &str, action: &str) {
        self.browser.turn_to(&self.mailbox).await;
        let button = format!("#messages [data-id='{letter}'] button[value='{action}']");
        self.browser.click_css(&button).await;
        self.browser.find_css(".notice").await;
    }

    async fn open_more(&self, letter: &str) {
        self.browser.turn_to(&self.mailbox).await;
        self.browser.click_css(&format!("#messages [data-id='{letter}'] summary")).await;
    }

    /// Puts one of the person's own labels on a letter.
    async fn label(&self, letter: &str, name: &str) {
        self.open_more(letter).await;
        let option = format!("//li[@data-id='{letter}']//option[normalize-space(.)='{name}']");
        let option = self.browser.client().find(fantoccini::Locator::XPath(&option)).await;
        option.expect("the label is offered").click().await.expect("it can be chosen");
        self.act(letter, "label").await;
    }

    /// Waits until the letter's row in Intail's mail is so. In `script`, `row` is the row.
    async fn becomes(&self, script: &str, letter: &str) {
        self.browser.turn_to(&self.mail).await;
        let what = || format!("in Intail's mail the letter never became: {script}");
        self.browser.wait_for_script(&of_row(script), json!([letter]), what).await;
    }

    /// Waits until Intail's activity says this.
    async fn tells(&self, text: &str) {
        self.browser.turn_to(&self.activity).await;
        self.browser.see(text).await;
    }

    async fn was_never_loaded_again(&self) {
        for window in [&self.mail, &self.activity] {
            self.browser.turn_to(window).await;
            let remembered = self.browser.ask("return window.neverLoadedAgain === true", json!([])).await;
            assert_eq!(remembered, json!(true));
        }
    }
}

/// A script that answers something about the row of a letter in Intail's mail.
fn of_row(script: &str) -> String {
    format!("const row = document.querySelector(`#messages [data-key=\"${{arguments[0]}}\"]`); return ({script})")
}

/// The mail page is full, and its instants fall.
async fn newest_first(browser: &Browser) {
    let script = "const at = [...document.querySelectorAll('#messages time')].map((it) => it.dateTime);
         return at.length === 50 && at.every((it, i) => i === 0 || at[i - 1] >= it)";
    let what = || "the mail page isn't filled newest first".to_owned();
    browser.wait_for_script(script, json!([]), what).await;
}

#[tokio::test]
async fn wrong_turns_in_a_browser_say_what_happened_and_lead_back() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;

    browser.click_text("Connect").await;
    browser.click_css("#cancel").await;
    browser.see("You said no at Google").await;
    see_reference(&browser).await;
    browser.screenshot("wrong-1-cancelled").await;
    browser.click_text("Connect again").await;
    browser.see("wants access to your account").await;

    // An account that isn't the signed-in person's.
    browser.open(&live.google("/accounts")).await;
    browser.click_css("#sign-out-all").await;
    browser.see("Signed out.").await;
    browser.open(&live.intail("/settings/integrations")).await;
    browser.click_text("Connect").await;
    browser.click_css(&account(COLLEAGUE)).await;
    browser.click_css("#select-all").await;
    browser.click_css("#allow").await;
    browser.see("That was another account").await;
    browser.see(&format!("You are to connect {EMPLOYEE}")).await;
    see_reference(&browser).await;
    browser.screenshot("wrong-2-another-account").await;
    browser.click_text("Choose another account").await;
    browser.see("Choose an account").await;
    browser.screenshot("wrong-3-chooser").await;
    browser.click_css("#another").await;
    browser.click_css(&account(EMPLOYEE)).await;

    // Mail alone is ticked; the callback of that answer is kept, to come back with it twice.
    browser.click_css(MAIL_BOX).await;
    let callback = answer_of_consent(&browser, &live).await;
    browser.open(&callback).await;
    browser.see(&format!("{EMPLOYEE} is connected in part.")).await;
    browser.see("Left out: Calendar events, Directory of your organization").await;
    browser.screenshot("wrong-4-partial").await;
    browser.open(&callback).await;
    browser.see("This answer was used already").await;
    see_reference(&browser).await;
    browser.screenshot("wrong-5-replayed").await;
    browser.click_text("Open Integrations").await;
    browser.see("Live, with a permission missing").await;

    // What is missing is added with one click; a hand that clicks twice does no harm.
    let add = "//form[.//button[normalize-space(.)='Add what is missing']]";
    browser.client().find(fantoccini::Locator::XPath(add)).await.expect("the form is there");
    browser.double_click_css("#google-workspace form[action='/connect/google'] button").await;
    browser.click_css("#select-all").await;
    browser.double_click_css("#allow").await;
    browser.see(&format!("{EMPLOYEE} is connected.")).await;
    see_live_card(&browser).await;
    browser.see_no("missing").await;

    // The back button leads to Google's page that was answered already, and a second answer changes nothing.
    browser.back().await;
    browser.click_css("#allow").await;
    browser.see("This sign-in is over").await;
    browser.screenshot("wrong-6-back").await;
    browser.open(&live.intail("/settings/integrations")).await;
    browser.see("Connected and live").await;
    quiet(&browser, 4).await;
    browser.stop().await;
    live.stop().await;
}

/// Presses Allow outside the browser, with the boxes that are ticked in it, and answers where Google sends the person.
async fn answer_of_consent(browser: &Browser, live: &Live) -> String {
    let form = "return [...new FormData(document.getElementById('consent'))].concat([['answer', 'allow']])";
    browser.see("wants access to your account").await;
    let form: Vec<(String, String)> =
        serde_json::from_value(browser.ask(form, json!([])).await).expect("names and values");
    let cookies = browser.client().get_all_cookies().await.expect("the browser's cookies");
    let cookies: Vec<String> = cookies.iter().map(|it| format!("{}={}", it.name(), it.value())).collect();
    #[expect(clippy::disallowed_methods, reason = "it stands for the browser here")]
    let http =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a client");
    let answer = http.post(live.google("/signin/oauth/consent")).header(COOKIE, cookies.join("; "));
    let answer = answer.form(&form).send().await.expect("Google answers");
    let address = answer.headers().get(LOCATION).expect("a way back");
    address.to_str().expect("an address").to_owned()
}

#[tokio::test]
async fn leaving_and_coming_back_in_a_browser() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    see_live_card(&browser).await;
    browser.open(&live.intail("/receipt")).await;
    browser.screenshot("leave-1-receipt").await;
    browser.open(&live.intail("/settings/integrations")).await;
    browser.click_css("#disconnect").await;
    browser.see(&format!("Disconnect {EMPLOYEE}?")).await;
    browser.screenshot("leave-2-asked").await;
    browser.click_text("Keep it").await;
    browser.see("Connected and live").await;
    browser.click_css("#disconnect").await;
    browser.double_click_css("#disconnect-now").await;
    browser.see("You are disconnected").await;
    browser.see("Permission given back").await;
    browser.see("No more notices").await;
    browser.screenshot("leave-3-left").await;
    browser.open(&live.intail("/receipt/left")).await;
    browser.see("Disconnected").await;
    browser.see("Google confirmed that the permission is given back").await;
    browser.screenshot("leave-5-receipt").await;
    // As the page's link gives it to keep: the statement as it is signed, and what it is verified with.
    let read = "return fetch(document.querySelector('a[download]').href).then((answer) => answer.json())";
    let receipt = browser.ask(read, Value::Null).await;
    let field = |name: &str| receipt[name].as_str().unwrap_or_else(|| panic!("{name}: {receipt}")).to_owned();
    assert!(is_signed(&field("public_key"), &field("statement"), &field("signature")), "{receipt}");
    let told: Value = serde_json::from_str(&field("statement")).expect("JSON");
    assert_eq!((&told["kind"], &told["by"]), (&Value::from("connection.left"), &Value::from("person")), "{told}");
    assert!(told["erased"]["messages"].as_u64() > Some(0) && told["erased"]["events"].as_u64() > Some(0), "{told}");

    browser.open(&live.google("/accounts")).await;
    browser.click_text("Connected applications").await;
    browser.see("Accounts › Connected applications").await;
    browser.see_no("Project intail-demo").await;
    browser.open(&live.intail("/mail")).await;
    browser.see("Nothing is connected").await;
    browser.screenshot("leave-4-no-mail").await;

    browser.click_text("Open Integrations").await;
    connect(&browser).await;
    // Not all of it: copying everything twice in a minute is more than Google's quota for a person allows.
    browser.see("Google tells Intail").await;
    browser.open(&live.intail("/mail")).await;
    newest_first(&browser).await;
    quiet(&browser, 0).await;
    browser.stop().await;
    live.stop().await;
}

/// What an administrator does on the first day after the approval, and what the others see of it: somebody is invited
/// as auditor, those who haven't connected are reminded, one person is disconnected, and all of it is in the log.
#[tokio::test]
async fn the_administrators_first_day_in_a_browser() {
    let live = Live::start().await;
    let (administrator, auditor) = (Browser::start().await, Browser::start().await);
    sign_in(&administrator, &live, ADMINISTRATOR).await;
    let guide = guide_link(&administrator).await;
    administrator.open(&guide).await;
    administrator.see("Not seen yet").await;
    administrator.screenshot("day-0-guide").await;
    administrator_approves(&administrator, &live).await;
    administrator.open(&live.intail("/settings/integrations")).await;
    connect(&administrator).await;
    administrator.open(&guide).await;
    administrator.see("Nothing is left to do").await;
    administrator.open(&live.intail("/admin")).await;
    administrator.screenshot("day-1-administration").await;
    administrator.open(&live.intail("/admin/people")).await;
    administrator.fill("#email", "not an address").await;
    administrator.click_css("#invite").await;
    administrator.see("No invitation waits.").await;
    administrator.fill("#email", COLLEAGUE).await;
    administrator.click_css("#role option[value='auditor']").await;
    administrator.double_click_css("#invite").await;
    administrator.see("as auditor").await;
    administrator.screenshot("day-2-invited").await;

    sign_in(&auditor, &live, COLLEAGUE).await;
    auditor.open(&live.intail("/admin/people")).await;
    auditor.see(ADMINISTRATOR).await;
    assert_eq!(auditor.ask("return document.querySelectorAll('main form[method=post]').length", json!([])).await, 0);
    auditor.screenshot("day-3-auditor").await;

    administrator.open(&live.intail("/admin/people?state=not_connected")).await;
    let addresses = administrator.find_css("#reminder-addresses").await.prop("value").await.expect("a property");
    assert_eq!(addresses.as_deref(), Some(COLLEAGUE));
    administrator.screenshot("day-4-reminder").await;

    auditor.open(&live.intail("/settings/integrations")).await;
    connect(&auditor).await;
    administrator.open(&live.intail("/admin/people?q=kofi")).await;
    administrator.click_css("tbody a").await;
    administrator.see("You see states and counts here, never anybody’s mail.").await;
    administrator.screenshot("day-5-person").await;
    administrator.click_css("#disconnect-person").await;
    administrator.see("Everything copied of them is erased.").await;
    administrator.double_click_css("#disconnect-now").await;
    administrator.see("Google confirmed that it is taken back.").await;
    administrator.screenshot("day-6-disconnected").await;
    administrator.click_text("All receipts").await;
    let receipt = administrator.find_css("tbody a[download]").await.attr("href").await.expect("an attribute");
    let receipt = receipt.expect("an address");
    let fetched = "const done = arguments[1];
         fetch(arguments[0]).then((it) => it.json()).then((it) => done(it), (it) => done(String(it)))";
    let receipt = administrator.client().execute_async(fetched, vec![json!(receipt)]).await.expect("it is fetched");
    assert!(receipt["signature"].is_string(), "{receipt}");

    auditor.open(&live.intail("/settings/integrations")).await;
    auditor.see_no("Connected and live").await;
    auditor.click_text("Connect").await;
    auditor.see("Choose what Intail can access").await;

    administrator.open(&live.intail("/admin/audit")).await;
    for told in ["Approval proved", "Invited", "Joined", "Connected", "Disconnected by an administrator"] {
        administrator.see(told).await;
    }
    administrator.click_css("#verify").await;
    administrator.find_css("#checked.good").await;
    administrator.screenshot("day-7-audit").await;
    quiet(&administrator, 0).await;
    quiet(&auditor, 0).await;
    auditor.stop().await;
    administrator.stop().await;
    live.stop().await;
}

/// Whoever the administrator suspends at Google is told so, not asked to connect again: as soon as anything is asked in
/// their name, the directory is looked at with the administrator's own view.
#[tokio::test]
async fn a_suspended_person_is_told_so_in_a_browser() {
    let live = Live::approved().await;
    let (administrator, employee) = (Browser::start().await, Browser::start().await);
    sign_in(&administrator, &live, ADMINISTRATOR).await;
    connect(&administrator).await;
    see_live_card(&administrator).await;
    sign_in(&employee, &live, EMPLOYEE).await;
    connect(&employee).await;
    see_live_card(&employee).await;

    let (intail, console) = administrator.another_window().await;
    administrator.open(&live.google("/console")).await;
    administrator.click_css(&account(ADMINISTRATOR)).await;
    administrator.see("Main menu").await;
    administrator.open(&live.google("/console/directory/users")).await;
    administrator.click_css(&format!("tr[data-email='{EMPLOYEE}'] button[value='suspend']")).await;
    administrator.see("Suspended").await;
    administrator.screenshot("suspended-1-console").await;
    // Somebody writes to them, and so Intail asks.
    administrator.open(&live.google("/mailbox")).await;
    administrator.click_css("#compose").await;
    administrator.fill("#to", EMPLOYEE).await;
    administrator.fill("#subject", "Are you there?").await;
    administrator.fill("#body", "Nobody but us reads this.").await;
    administrator.click_text("Send").await;
    administrator.see("Sent.").await;

    employee.see("Your organization suspended your account at Google").await;
    employee.see_no("Connected and live").await;
    employee.screenshot("suspended-2-told").await;
    administrator.turn_to(&intail).await;
    administrator.open(&live.intail("/admin/people?q=ines")).await;
    administrator.click_css("tbody a").await;
    administrator.see("Suspended at Google").await;
    administrator.screenshot("suspended-3-person").await;
    administrator.turn_to(&console).await;
    quiet(&administrator, 0).await;
    quiet(&employee, 0).await;
    employee.stop().await;
    administrator.stop().await;
    live.stop().await;
}

#[tokio::test]
async fn a_preview_in_the_browser_follows_what_is_typed_and_is_saved_without_scripts_too() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    see_live_card(&browser).await;
    browser.open(&live.intail("/settings/privacy")).await;
    browser.see("all would be kept as they are").await;
    browser.click_css("input[value='hashed']").await;
    browser.see("Kept, subject hidden").await;
    browser.fill("#parties", "example.com").await;
    browser.see("These settings cover your own address").await;
    browser.fill("#parties", "anna@").await;
    browser.see("Line 1: “anna@” has nothing behind the @").await;
    browser.screenshot("privacy-preview").await;
    browser.fill("#parties", "").await;
    browser.see_no("has nothing behind the @").await;
    browser.click_css("#save-privacy").await;
    browser.see("Saved.").await;
    browser.see("Everything that is stored follows the settings").await;
    browser.open(&live.intail("/mail")).await;
    browser.see("hidden · ").await;
    browser.screenshot("privacy-hidden").await;
    quiet(&browser, 0).await;

    browser.javascript(false).await;
    browser.open(&live.intail("/settings/privacy")).await;
    browser.click_css("input[value='dropped']").await;
    browser.click_css("#preview-privacy").await;
    browser.see("Kept without its subject").await;
    browser.click_css("#save-privacy").await;
    browser.see("Saved.").await;
    browser.stop().await;
    live.stop().await;
}

#[tokio::test]
async fn a_browser_without_scripts_signs_in_connects_and_reads() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    browser.javascript(false).await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    browser.screenshot("plain-1-connected").await;
    for _ in 0..RELOADS_MAX {
        browser.open(&live.intail("/mail")).await;
        if browser.text().await.contains("Live") {
            break;
        }
    }
    newest_first(&browser).await;
    browser.screenshot("plain-2-mail").await;
    browser.click_css("#older").await;
    browser.see("Newest").await;
    browser.click_css("#messages li a").await;
    browser.see("Intail holds headers and labels only").await;
    browser.open(&live.intail("/settings/integrations")).await;
    browser.click_css("#disconnect").await;
    browser.click_css("#disconnect-now").await;
    browser.see("You are disconnected").await;
    quiet(&browser, 0).await;
    browser.stop().await;
    live.stop().await;
}

#[tokio::test]
async fn every_page_fits_a_phone_browser_in_light_and_dark() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    let front = [("front", "/"), ("sign-in", "/signin"), ("abilities", "/what-intail-can-do")];
    for (name, path) in front {
        browser.open(&live.intail(path)).await;
        fits(&browser, name).await;
    }
    sign_in(&browser, &live, EMPLOYEE).await;
    fits(&browser, "approved").await;
    connect(&browser).await;
    see_live_card(&browser).await;
    for (name, path) in [
        ("integrations", "/settings/integrations"),
        ("activity", "/activity"),
        ("receipt", "/receipt"),
        ("privacy", "/settings/privacy"),
        ("keys", "/settings/keys"),
        ("calendar", "/calendar"),
        ("leave", "/settings/integrations/disconnect"),
        ("mail", "/mail"),
    ] {
        browser.open(&live.intail(path)).await;
        fits(&browser, name).await;
    }
    browser.click_css("#messages li a").await;
    browser.see("Intail holds headers and labels only").await;
    fits(&browser, "thread").await;
    quiet(&browser, 0).await;
    browser.stop().await;
    live.stop().await;
}

/// Keeps the page as four pictures, and sees to it that nobody has to scroll sideways.
pub(crate) async fn fits(browser: &Browser, name: &str) {
    for (viewport, size) in [(Viewport::Desktop, "desktop"), (Viewport::Phone, "phone")] {
        browser.viewport(viewport).await;
        browser.open(browser.address().await.as_str()).await;
        let narrow = "return document.documentElement.scrollWidth <= innerWidth";
        let what = || format!("{name} is wider than a {size}");
        browser.wait_for_script(narrow, json!([]), what).await;
        for (dark, colours) in [(false, "light"), (true, "dark")] {
            browser.prefer_dark(dark).await;
            browser.screenshot(&format!("{name}-{size}-{colours}")).await;
        }
    }
    browser.prefer_dark(false).await;
    browser.viewport(Viewport::Desktop).await;
}

/// From Intail's front page through the false Google's account chooser and back.
pub(crate) async fn sign_in(browser: &Browser, live: &Live, email: &str) {
    browser.open(&live.intail("/")).await;
    browser.click_text("Sign in to Intail").await;
    browser.click_css("#sign-in").await;
    browser.see("to continue to Intail sign-in").await;
    browser.screenshot("tour-02-chooser").await;
    browser.click_css(&account(email)).await;
    browser.see("Intail sign-in wants access to your account").await;
    browser.screenshot("tour-03-identity").await;
    browser.click_css("#allow").await;
    browser.see("Google Workspace Individual").await;
}

/// From Integrations through the consent page and back, with every box ticked.
pub(crate) async fn connect(browser: &Browser) {
    browser.click_text("Connect").await;
    browser.click_css("#select-all").await;
    browser.click_css("#allow").await;
    browser.see("is connected").await;
}

/// The card of a connection that is copied and live.
async fn see_live_card(browser: &Browser) {
    for told in [
        "Connected and live",
        "Complete: every message that Google shows is here.",
        "Google tells Intail",
        "Without a gap since",
        "Renews itself",
        "permitted",
    ] {
        browser.see(told).await;
    }
}

/// A wrong turn's page names what its log line is found by.
async fn see_reference(browser: &Browser) {
    let reference = browser.find_css("#reference").await.text().await;
    assert!(!reference.expect("text").is_empty());
}

/// Whose button it is in the false Google's lists of accounts.
fn account(email: &str) -> String {
    format!("button[data-email='{email}']")
}

/// Presses of "Look now" before the test gives up: it asks Google each quarter of a minute at most.
const PRESSES_MAX: usize = 400;

/// Presses "Look now" on a page, in this window, until Intail says that it does.
pub(crate) async fn look_now(browser: &Browser, live: &Live, path: &str) {
    for _ in 0..PRESSES_MAX {
        browser.open(&live.intail(path)).await;
        browser.click_css("#look").await;
        browser.find_css("#as-of [role=status]").await;
        let said = "return document.querySelector('#as-of [role=status]')?.innerText ?? ''";
        let said = browser.ask(said, json!([])).await;
        if said.as_str().is_some_and(|it| it.contains("asks Google now")) {
            return;
        }
    }
    panic!("Intail never looks");
}

/// The browser complained about nothing but `refused` pages that are answered with a status of refusal, as they should.
pub(crate) async fn quiet(browser: &Browser, refused: usize) {
    let (refusals, complaints): (Vec<String>, Vec<String>) =
        browser.complaints().await.into_iter().partition(|it| it.contains("the server responded with a status of 4"));
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!(refusals.len(), refused, "{refusals:?}");
}

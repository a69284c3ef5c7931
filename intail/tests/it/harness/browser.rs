//! A headless Chromium, steered as a person would: by what is written on buttons and seen on the page.
//!
//! Waiting is bounded polling through WebDriver; a failed wait shows the address, the page's text and a screenshot.
//! Tests that use it have `browser` in their name, so that nextest runs them one at a time.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fantoccini::actions::{InputSource as _, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::{Capabilities, Locator, WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use super::program::Program;
use super::{root, variable};

/// How long anything may take to appear. Far above what it takes, because two busy cores are slow; a refusal that is
/// believed once it comes again takes 13 s.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often WebDriver looks.
const WAIT_STEP: Duration = Duration::from_millis(50);
/// How many looks that is.
const LOOKS_MAX: u128 = WAIT_MAX.as_millis() / WAIT_STEP.as_millis();
/// How much of a page's text a failure shows, in characters.
const PAGE_TEXT_MAX: usize = 2_000;

/// A browser with a profile of its own: its own cookies, its own person.
pub(crate) struct Browser {
    client: Client,
    // Dropped in this order: the driver ends before its profile's folder goes.
    _driver: Program,
    _profile: TempDir,
}

/// The window's size in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Viewport {
    /// 1280 × 900
    Desktop,
    /// 390 × 844, at twice the pixels
    Phone,
}

impl Browser {
    /// Starts a driver on a free port and a browser in it, with a desktop's viewport.
    pub(crate) async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let mut command = Command::new(variable("INTAIL_TEST_CHROMEDRIVER"));
        let port = |line: &str| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok();
        let (driver, port) = Program::start(command.arg("--port=0"), port);
        let address = format!("http://127.0.0.1:{port}");
        let mut builder = ClientBuilder::rustls().expect("the machine's certificates can be read");
        let connected = builder.capabilities(capabilities(&profile)).connect(&address).await;
        let client = connected.unwrap_or_else(|error| panic!("chromium could not be started: {error}"));
        let browser = Self { client, _driver: driver, _profile: profile };
        browser.viewport(Viewport::Desktop).await;
        browser
    }

    /// Ends the browser in good order. Without it, it ends with the driver.
    pub(crate) async fn stop(self) {
        self.client.clone().close().await.expect("the browser closes");
    }

    /// The WebDriver client, for what has no word here.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Opens an address and waits until it has loaded.
    pub(crate) async fn open(&self, address: &str) {
        let result = self.client.goto(address).await;
        self.check(result, || format!("{address} can't be opened")).await;
    }

    /// The address of the page that is open.
    pub(crate) async fn address(&self) -> Url {
        let result = self.client.current_url().await;
        self.check(result, || "the address is unknown".to_owned()).await
    }

    /// Waits until the address contains `part`.
    pub(crate) async fn wait_for_address(&self, part: &str) {
        let script = "return location.href.includes(arguments[0])";
        self.wait_for_script(script, json!([part]), || format!("the address never contained {part}")).await;
    }

    /// Waits until `script` returns true, across navigations and also on pages without JavaScript.
    pub(crate) async fn wait_for_script(&self, script: &str, arguments: Value, what: impl FnOnce() -> String) {
        let arguments = arguments.as_array().cloned().unwrap_or_default();
        #[expect(clippy::disallowed_methods, reason = "the browser is another program: all one can do is look again")]
        let mut looks = tokio::time::interval(WAIT_STEP);
        for _ in 0..LOOKS_MAX {
            looks.tick().await;
            // An error is a page that is just being replaced.
            if self.client.execute(script, arguments.clone()).await.is_ok_and(|answer| answer == true) {
                return;
            }
        }
        self.check(Err(CmdError::WaitTimeout), what).await
    }

    /// Waits for the element and clicks it.
    pub(crate) async fn click_css(&self, css: &str) {
        self.click(Locator::Css(css)).await;
    }

    /// Waits for the link, button or label with exactly this text and clicks it.
    pub(crate) async fn click_text(&self, text: &str) {
        self.click(Locator::XPath(&clickable(text))).await;
    }

    async fn click(&self, locator: Locator<'_>) {
        let element = self.find(locator).await;
        let result = element.click().await;
        self.check(result, || format!("{locator:?} can't be clicked")).await;
    }

    /// Waits for the element and clicks it twice, as quickly as a hand can.
    pub(crate) async fn double_click_css(&self, css: &str) {
        let element = self.find(Locator::Css(css)).await;
        let mut mouse = MouseActions::new("mouse".to_owned()).then(PointerAction::MoveToElement {
            element,
            duration: None,
            x: 0.0,
            y: 0.0,
        });
        for _ in 0..2 {
            let button = MOUSE_BUTTON_LEFT;
            mouse = mouse.then(PointerAction::Down { button }).then(PointerAction::Up { button });
        }
        let result = self.client.perform_actions(mouse).await;
        self.check(result, || format!("{css} can't be clicked twice")).await;
    }

    /// Goes back, as the browser's own button does.
    pub(crate) async fn back(&self) {
        let result = self.client.back().await;
        self.check(result, || "there is no way back".to_owned()).await;
    }

    /// Opens another window of the same person beside this one, and answers this one's handle and the new one's. What
    /// follows happens in the new one.
    pub(crate) async fn another_window(&self) -> (WindowHandle, WindowHandle) {
        let here = self.client.window().await;
        let here = self.check(here, || "there is no window".to_owned()).await;
        let opened = self.client.new_window(false).await;
        let opened = self.check(opened, || "no other window opens".to_owned()).await.handle;
        self.turn_to(&opened).await;
        self.viewport(Viewport::Desktop).await;
        (here, opened)
    }

    /// Lets what follows happen in another window. Nothing there is loaded again.
    pub(crate) async fn turn_to(&self, window: &WindowHandle) {
        let result = self.client.switch_to_window(window.clone()).await;
        self.check(result, || "the window has gone".to_owned()).await;
    }

    /// Puts `value` into a field, in place of what stood there.
    pub(crate) async fn fill(&self, css: &str, value: &str) {
        let element = self.find(Locator::Css(css)).await;
        let cleared = element.clear().await;
        self.check(cleared, || format!("{css} can't be emptied")).await;
        let result = element.send_keys(value).await;
        self.check(result, || format!("{css} can't be filled")).await;
    }

    /// Presses keys where the focus is, such as `"\u{e004}"` for Tab and `"\u{e007}"` for Enter.
    pub(crate) async fn press(&self, keys: &str) {
        let focus = self.client.active_element().await;
        let result = self.check(focus, || "nothing has the focus".to_owned()).await.send_keys(keys).await;
        self.check(result, || "the keys can't be pressed".to_owned()).await;
    }

    /// Waits until the page shows this text.
    pub(crate) async fn see(&self, text: &str) {
        let script = "return document.body && document.body.innerText.includes(arguments[0])";
        self.wait_for_script(script, json!([text]), || format!("the page never showed {text:?}")).await;
    }

    /// Waits until the page no longer shows this text.
    pub(crate) async fn see_no(&self, text: &str) {
        let script = "return document.body && !document.body.innerText.includes(arguments[0])";
        self.wait_for_script(script, json!([text]), || format!("the page still shows {text:?}")).await;
    }

    /// Waits for the element.
    pub(crate) async fn find_css(&self, css: &str) -> Element {
        self.find(Locator::Css(css)).await
    }

    async fn find(&self, locator: Locator<'_>) -> Element {
        let result = self.client.wait().at_most(WAIT_MAX).every(WAIT_STEP).for_element(locator).await;
        self.check(result, || format!("{locator:?} never appeared")).await
    }

    /// What a script of the test finds out about the page.
    pub(crate) async fn ask(&self, script: &str, arguments: Value) -> Value {
        let arguments = arguments.as_array().cloned().unwrap_or_default();
        let result = self.client.execute(script, arguments).await;
        self.check(result, || format!("the page can't be asked: {script}")).await
    }

    /// What the page shows, as text.
    pub(crate) async fn text(&self) -> String {
        let answer = self.client.execute("return document.body ? document.body.innerText : ''", vec![]).await;
        answer.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Sets the window's size.
    pub(crate) async fn viewport(&self, viewport: Viewport) {
        let (width, height, scale) = match viewport {
            Viewport::Desktop => (1280, 900, 1),
            Viewport::Phone => (390, 844, 2),
        };
        let phone = matches!(viewport, Viewport::Phone);
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
        self.tell("Emulation.setDeviceMetricsOverride", metrics).await;
        // A finger is what a phone has for a pointer.
        self.tell("Emulation.setTouchEmulationEnabled", json!({"enabled": phone})).await;
    }

    /// Lets the page believe that the person prefers dark colours, or light ones.
    pub(crate) async fn prefer_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.tell("Emulation.setEmulatedMedia", features).await;
    }

    /// Turns JavaScript off or on, from the next page on. WebDriver's own scripts (`see`, `text`) still run.
    pub(crate) async fn javascript(&self, on: bool) {
        self.tell("Emulation.setScriptExecutionDisabled", json!({"value": !on})).await;
    }

    /// Everything that the browser complained about since the last call: errors, refused resources, broken policies.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let command = Chromium { path: "se/log", body: json!({"type": "browser"}) };
        let result = self.client.issue_cmd(command).await;
        let entries = self.check(result, || "the browser's log can't be read".to_owned()).await;
        let severe = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        let message = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.as_array().into_iter().flatten().filter(severe).map(message).collect()
    }

    /// Keeps the whole page as `target/screenshots/NAME.png`.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = root().join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("target/ can be written");
        let file = folder.join(format!("{name}.png"));
        let options = json!({"captureBeyondViewport": true, "format": "png"});
        let answer = self.tell("Page.captureScreenshot", options).await;
        use base64::Engine as _;
        let picture = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap_or_default());
        std::fs::write(&file, picture.expect("the browser encodes pictures in base64"))
            .expect("target/ can be written");
        file
    }

    /// Sends one command of the Chrome DevTools protocol.
    async fn tell(&self, method: &'static str, parameters: Value) -> Value {
        let body = json!({"cmd": method, "params": parameters});
        let result = self.client.issue_cmd(Chromium { path: "goog/cdp/execute", body }).await;
        result.unwrap_or_else(|error| panic!("the browser refuses {method}: {error}"))
    }

    /// The result, or a panic that shows what the person would have seen.
    async fn check<T>(&self, result: Result<T, CmdError>, what: impl FnOnce() -> String) -> T {
        let error = match result {
            Ok(value) => return value,
            Err(error) => error,
        };
        let address = self.client.current_url().await.map(String::from).unwrap_or_default();
        let text: String = self.text().await.chars().take(PAGE_TEXT_MAX).collect();
        let picture = self.screenshot("failed").await;
        panic!("{}: {error}\nat {address}\nscreenshot: {}\npage:\n{text}", what(), picture.display());
    }
}

fn capabilities(profile: &TempDir) -> Capabilities {
    let arguments = [
        "--headless=new".to_owned(),
        // Over a pipe: when the driver dies, the browser ends too.
        "--remote-debugging-pipe".to_owned(),
        format!("--user-data-dir={}", profile.path().display()),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        // A picture of the whole page is taken without a scroll bar, which may come back long after: lines break
        // elsewhere then, and a click that was aimed before misses.
        "--hide-scrollbars".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--lang=en-GB".to_owned(),
    ];
    let all = json!({
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": variable("INTAIL_TEST_CHROMIUM"), "args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
        "timeouts": {"script": WAIT_MAX.as_secs() * 1_000, "pageLoad": WAIT_MAX.as_secs() * 2_000},
    });
    all.as_object().cloned().unwrap_or_default()
}

/// Anything that people click, by exactly its text.
fn clickable(text: &str) -> String {
    assert!(!text.contains('"'), "XPath has no escape for a quotation mark: {text}");
    let named = "self::a or self::button or self::summary or self::label or @role='button' or @role='tab'";
    format!(r#"//*[{named}][normalize-space(.)="{text}"] | //input[@type="submit" and @value="{text}"]"#)
}

/// A command that only Chromium's driver knows.
#[derive(Debug)]
struct Chromium {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Chromium {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

#[tokio::test]
async fn a_browser_reads_clicks_and_keeps_what_it_sees() {
    let browser = Browser::start().await;
    let page = "<title>t</title><p id=seen>before</p><input name=field value=old>\
                <button onclick=\"seen.textContent = document.querySelector('input').value\">Copy it</button>\
                <script>console.error('canary')</script>";
    browser.open(&format!("data:text/html,{page}")).await;
    browser.see("before").await;
    browser.fill("input[name=field]", "after").await;
    browser.click_text("Copy it").await;
    browser.see("after").await;
    browser.see_no("before").await;
    browser.click_css("#seen").await;
    assert_eq!(browser.find_css("#seen").await.text().await.unwrap(), "after");
    browser.fill("input[name=field]", "by keyboard").await;
    browser.press("\u{e004}\u{e007}").await;
    browser.see("by keyboard").await;
    assert!(browser.complaints().await.iter().any(|line| line.contains("canary")));
    browser.stop().await;
}

#[tokio::test]
async fn a_browser_has_two_sizes_and_two_colours_and_can_do_without_scripts() {
    let browser = Browser::start().await;
    browser.viewport(Viewport::Phone).await;
    browser.prefer_dark(true).await;
    browser.open("data:text/html,<meta name=viewport content=width=device-width><p>phone</p>").await;
    let dark = "return innerWidth === 390 && matchMedia('(prefers-color-scheme: dark)').matches";
    browser.wait_for_script(dark, json!([]), || "the page isn't a dark phone".to_owned()).await;
    let picture = browser.screenshot("harness").await;
    assert!(std::fs::metadata(picture).unwrap().len() > 1_000);
    browser.javascript(false).await;
    browser.open("data:text/html,<p>plain</p><script>document.write('scripted')</script>#there").await;
    browser.see("plain").await;
    assert!(!browser.text().await.contains("scripted"));
    browser.wait_for_address("#there").await;
    assert_eq!(browser.address().await.fragment(), Some("there"));
    assert_eq!(browser.client().title().await.unwrap(), "");
    browser.stop().await;
}

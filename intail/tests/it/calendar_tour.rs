//! The calendar in a real browser: it follows what happens at Google without a reload, its keys work, its days can be
//! turned, its zone and its calendars chosen. Every station leaves a picture in `target/screenshots/`.

use serde_json::json;

use crate::harness::browser::{Browser, Viewport};
use crate::harness::live::Live;
use crate::tour::{EMPLOYEE, connect, fits, quiet, sign_in};

#[tokio::test]
async fn the_calendar_changes_in_a_browser_while_events_change_at_google() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    browser.open(&live.intail("/calendar")).await;
    // The copy arrives while one looks.
    browser.see("Google tells of changes").await;
    browser.find_css(".week .timed li a").await;
    browser.ask("window.neverLoadedAgain = true; return true", json!([])).await;
    browser.screenshot("calendar-1-week").await;

    let today = browser.ask("return document.querySelector('.today time').getAttribute('datetime')", json!([])).await;

    let (intail, google) = browser.another_window().await;
    browser.open(&live.google("/calendar")).await;
    browser.fill("#title", "Boat trip").await;
    // Near midnight the two may have another day: Intail's is meant.
    let when = "document.getElementById('day').value = arguments[0];
        document.getElementById('time').value = '10:00'; return true";
    browser.ask(when, json!([today])).await;
    browser.fill("#minutes", "90").await;
    browser.fill("#guests", "kofi@example.com").await;
    browser.click_text("Add").await;
    browser.see("Boat trip").await;
    browser.turn_to(&intail).await;
    let shown = "return [...document.querySelectorAll('.today .timed li')].some((it) => it.offsetParent
        && it.innerText.includes('Boat trip')
        && it.matches('.from-8, .from-4, .from-12, .from-16, .from-20, .from-40'))";
    browser.wait_for_script(shown, json!([]), || "the trip isn't among today's hours".to_owned()).await;
    browser.screenshot("calendar-2-arrived").await;

    browser.turn_to(&google).await;
    let trip = "return [...document.querySelectorAll('li.letter')]
        .find((it) => it.innerText.includes('Boat trip')).dataset.id";
    let id = browser.ask(trip, json!([])).await.as_str().expect("an id").to_owned();
    browser.click_css(&format!("li[data-id='{id}'] summary")).await;
    browser.click_css(&format!("li[data-id='{id}'] button[value=delete]")).await;
    browser.find_css(".notice").await;
    browser.turn_to(&intail).await;
    browser.see_no("Boat trip").await;
    let remembered = browser.ask("return window.neverLoadedAgain === true", json!([])).await;
    assert_eq!(remembered, json!(true), "it was never loaded again");
    quiet(&browser, 0).await;
    browser.stop().await;
    live.stop().await;
}

#[tokio::test]
async fn the_calendar_is_turned_by_keys_and_chosen_by_forms_in_a_browser() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    browser.open(&live.intail("/calendar")).await;
    browser.see("Google tells of changes").await;
    let title = "return document.getElementById('calendar-title').innerText";
    let this_week = browser.ask(title, json!([])).await;
    let body = browser.find_css("body").await;
    body.send_keys("n").await.expect("a key");
    browser.wait_for_address("date=").await;
    let other = "return document.getElementById('calendar-title').innerText !== arguments[0]";
    browser.wait_for_script(other, json!([this_week]), || "n doesn't turn the page".to_owned()).await;
    browser.press("t").await;
    let same = "return document.getElementById('calendar-title').innerText === arguments[0]";
    browser.wait_for_script(same, json!([this_week]), || "t isn't today".to_owned()).await;
    // Right arrow, then down; Enter opens.
    browser.press("\u{e014}").await;
    let focused = "return document.activeElement.closest('#days .day li') !== null";
    browser.wait_for_script(focused, json!([]), || "the arrows choose nothing".to_owned()).await;
    browser.press("\u{e015}").await;
    browser.press("\u{e007}").await;
    browser.wait_for_address("/calendar/events/").await;
    browser.see("Intail copies no description").await;
    fits(&browser, "calendar-event").await;
    browser.click_text("Back to the calendar").await;
    browser.see("Your calendars").await;

    browser.fill("#zone", "Asia/Tokyo").await;
    browser.click_text("Change").await;
    browser.wait_for_address("zone=Asia%2FTokyo").await;
    browser.find_css("#zone[value='Asia/Tokyo']").await;
    browser.open(&live.intail("/calendar")).await;
    browser.find_css("#zone[value='Asia/Tokyo']").await;
    browser.open(&live.intail("/calendar?zone=Europe/Berlin")).await;
    browser.open(&live.intail("/calendar")).await;
    browser.find_css("#zone[value='Europe/Berlin']").await;
    let holidays = "//li[contains(., 'Holidays')]//button";
    let button = browser.client().find(fantoccini::Locator::XPath(holidays)).await.expect("a calendar of holidays");
    button.click().await.expect("pressed");
    let left = "return [...document.querySelectorAll('.calendar-rows li')].some((it) =>
        it.innerText.includes('Holidays') && it.innerText.includes('not copied'))";
    browser.wait_for_script(left, json!([]), || "the holidays are still copied".to_owned()).await;
    fits(&browser, "calendar-week").await;
    // What midnight does to a page that was left open: other days come, and what names them and turns them comes along.
    let next_days = "window.neverLoadedAgain = true;
        history.replaceState(null, '', '/calendar?date=2031-05-07');
        document.dispatchEvent(new Event('visibilitychange')); return true";
    browser.ask(next_days, json!([])).await;
    let all = "return document.querySelector('#days .day').dataset.key === '2031-05-05'
        && document.getElementById('calendar-title').innerText === '5 – 11 May 2031'
        && document.title.startsWith('5 – 11 May 2031')
        && document.getElementById('previous').href.includes('date=2031-04-30')
        && document.getElementById('next').href.includes('date=2031-05-14')
        && document.querySelector('#views a:not([aria-current])').href.includes('date=2031-05-07')
        && document.querySelector('.zone-form').elements.date.value === '2031-05-07'
        && window.neverLoadedAgain === true";
    browser.wait_for_script(all, json!([]), || "some of the page is of other days".to_owned()).await;
    browser.open(&live.intail("/calendar?view=agenda")).await;
    assert_eq!(browser.ask("return scrollY", json!([])).await, json!(0), "the list begins with today");
    fits(&browser, "calendar-agenda").await;
    browser.open(&live.intail("/calendar?zone=Middle%2FEarth")).await;
    fits(&browser, "calendar-wrong-zone").await;
    shows_today_to_a_finger(&browser, &live).await;
    shows_the_present_in_a_long_day(&browser, &live).await;
    quiet(&browser, 0).await;

    browser.javascript(false).await;
    browser.open(&live.intail("/calendar")).await;
    browser.click_text("Agenda").await;
    browser.wait_for_address("view=agenda").await;
    browser.click_css("#days .day li a").await;
    browser.see("Intail copies no description").await;
    browser.stop().await;
    live.stop().await;
}

#[tokio::test]
async fn a_crowded_week_can_be_read_in_a_browser() {
    let live = Live::approved().await;
    let browser = Browser::start().await;
    sign_in(&browser, &live, EMPLOYEE).await;
    connect(&browser).await;
    browser.open(&live.intail("/calendar?date=2031-05-07")).await;
    browser.see("Google tells of changes").await;
    let plan = |title: &str, start: &str, length: i64| {
        let event = json!({"title": title, "start": start, "length": length, "location": "Unter den Linden"});
        let action = serde_json::from_value(json!({"action": "create", "event": event})).expect("an action");
        live.sandbox.world(|world| world.plan(EMPLOYEE, &action)).expect("planned");
    };
    plan("Harvest fair", "2031-05-06", 4);
    plan("Away with the team", "2031-05-02", 5);
    plan("Night shift", "2031-05-08T12:00", 26 * 60);
    for title in ["Oolong", "Quarterly review", "Procurementplanning", "Offsite"] {
        plan(title, "2031-05-11T09:00", 60);
    }
    plan("Short one", "2031-05-10T08:15", 15);
    plan("Two of us", "2031-05-10T09:00", 30);
    plan("Two others", "2031-05-10T09:00", 30);
    plan("Workshop on the next year", "2031-05-10T10:00", 180);
    plan("Interview", "2031-05-10T11:00", 45);
    plan("Telephone", "2031-05-10T12:00", 30);
    browser.see("Telephone").await;
    let item = "const items = [...document.querySelectorAll('#days .day li')].filter((it) => it.offsetParent);
        const of = (title) => items.filter((it) => it.querySelector('.what')?.textContent === title);
        const box = (it) => it.getBoundingClientRect();
        const column = document.querySelector('.week .day')?.getBoundingClientRect().width;";
    let ask = async |what: &str| browser.ask(&format!("{item} return {what}"), json!([])).await;
    // What lasts for days is one bar, and says until when.
    assert_eq!(ask("of('Harvest fair').length").await, json!(1));
    assert_eq!(ask("Math.round(box(of('Harvest fair')[0]).width / column)").await, json!(4));
    assert_eq!(ask("Math.round(box(of('Away with the team')[0]).width / column)").await, json!(2));
    assert_eq!(ask("of('Harvest fair')[0].innerText.includes('until Friday 9 May')").await, json!(true));
    assert_eq!(ask("of('Night shift')[0].innerText.includes('Thu 12:00 – Fri 14:00')").await, json!(true));
    // The weekend has nothing else. What begins below a title lies over its event; what begins with it stands beside.
    assert_eq!(ask("box(of('Workshop on the next year')[0]).width > column * 0.9").await, json!(true));
    assert_eq!(ask("box(of('Interview')[0]).left > box(of('Workshop on the next year')[0]).left").await, json!(true));
    assert_eq!(
        ask("Math.abs(box(of('Two of us')[0]).left - box(of('Two others')[0]).left) > column * 0.4").await,
        json!(true)
    );
    // Four at once: three stand there, one is counted in sight, and none is a sliver.
    let more = "document.querySelector('.day[data-key=\"2031-05-11\"] .more')";
    assert_eq!(ask(&format!("{more}.innerText")).await, json!("1 more"));
    assert_eq!(ask(&format!("box({more}).bottom <= box(document.querySelector('.week')).bottom")).await, json!(true));
    let slivers = "items.filter((it) => it.closest('.timed') && box(it).width < column * 0.3).map((it) =>
        it.outerHTML)";
    assert_eq!(ask(slivers).await, json!([]));
    // A short one says when it begins, before its title.
    let times = "of('Short one')[0].querySelector('.times')";
    assert_eq!(
        ask(&format!("box({times}).right <= box(of('Short one')[0].querySelector('.what')).left")).await,
        json!(true)
    );
    // Nothing is cut but with a mark for it, no word is broken, and pointing at something tells all of it.
    let cut = "items.flatMap((it) => [...it.querySelectorAll('.what, .times, .where, .tag')])
        .filter((it) => it.offsetParent && it.scrollWidth > it.clientWidth && it.clientWidth > 1
            && getComputedStyle(it).textOverflow !== 'ellipsis').map((it) => it.outerHTML)";
    assert_eq!(ask(cut).await, json!([]));
    let broken = "items.filter((it) => getComputedStyle(it.querySelector('a') ?? it).overflowWrap !== 'normal').length";
    assert_eq!(ask(broken).await, json!(0));
    let told = "of('Workshop on the next year')[0].querySelector('a').title";
    let told = ask(told).await;
    assert!(
        told.as_str().expect("it tells").starts_with("10:00–13:00 · Workshop on the next year · Unter den Linden"),
        "{told}"
    );
    fits(&browser, "calendar-crowded").await;
    // In the list each day has it, with the day that it ends on as ever.
    browser.open(&live.intail("/calendar?view=agenda&date=2031-05-05")).await;
    browser.see("Harvest fair").await;
    assert_eq!(ask("of('Harvest fair').length").await, json!(4));
    assert_eq!(ask("of('Offsite').length").await, json!(1));
    quiet(&browser, 0).await;
    browser.stop().await;
    live.stop().await;
}

/// On a phone the week is a list: it opens at today, Today leads there, the present has its line, and a finger hits
/// what there is to press.
async fn shows_today_to_a_finger(browser: &Browser, live: &Live) {
    browser.viewport(Viewport::Phone).await;
    browser.open(&live.intail("/calendar")).await;
    let in_sight = "const top = document.getElementById('this-day').getBoundingClientRect().top;
        return top >= 0 && top < innerHeight";
    browser.wait_for_script(in_sight, json!([]), || "the list doesn't open at today".to_owned()).await;
    let now = "const now = document.querySelector('#days .today .now');
        return now.offsetParent !== null && now.innerText.startsWith('Now, ')";
    assert_eq!(browser.ask(now, json!([])).await, json!(true), "the present has no line");
    let small = "return [...document.querySelectorAll('.small-button, .tabs a, .frame nav a, #days .day li a, #zone')]
        .filter((it) => it.offsetParent && it.getBoundingClientRect().height < 44).map((it) => it.outerHTML)";
    assert_eq!(browser.ask(small, json!([])).await, json!([]), "too small for a finger");
    browser.ask("window.neverLoadedAgain = true; scrollTo(0, 0); return true", json!([])).await;
    browser.click_css("#today").await;
    browser.wait_for_script(in_sight, json!([]), || "Today leads nowhere".to_owned()).await;
    assert_eq!(browser.ask("return window.neverLoadedAgain === true", json!([])).await, json!(true), "it stood open");
    browser.viewport(Viewport::Desktop).await;
}

/// One event in the night makes the grid as long as the day; the page opens where the present is all the same, with the
/// days' names in sight.
async fn shows_the_present_in_a_long_day(browser: &Browser, live: &Live) {
    let today = browser.ask("return document.querySelector('.today').dataset.key", json!([])).await;
    let today = today.as_str().expect("a day").to_owned();
    for (title, clock, rule) in [("Night train", "00:15", "FREQ=DAILY"), ("Late train", "22:30", "")] {
        let event = json!({"title": title, "start": format!("{today}T{clock}"), "length": 60, "rule": rule});
        let action = serde_json::from_value(json!({"action": "create", "event": event})).expect("an action");
        live.sandbox.world(|world| world.plan(EMPLOYEE, &action)).expect("it can be");
    }
    browser.see("Night train").await;
    browser.see("Late train").await;
    browser.open(&live.intail("/calendar")).await;
    let in_sight = "const of = (css) => document.querySelector(css).getBoundingClientRect();
        const [week, line, name] = ['.week', '.week .now', '.week .today h2'].map(of);
        return document.querySelector('.hours-24') !== null && week.bottom - week.top < innerHeight
            && line.top > name.bottom && line.bottom < Math.min(week.bottom, innerHeight)
            && Math.abs(name.top - week.top) < 3";
    browser.wait_for_script(in_sight, json!([]), || "the present isn't in sight".to_owned()).await;
    fits(browser, "calendar-long-day").await;
    // Another week opens in the morning, not at midnight.
    browser.open(&live.intail("/calendar?date=2031-05-07")).await;
    let morning = "const of = (css) => document.querySelector(css).getBoundingClientRect();
        const [week, line, name] = ['.week', '.week .opens', '.week .day h2'].map(of);
        return document.querySelector('.week').scrollTop > 0
            && line.top > name.bottom && line.top - week.top < week.height / 2";
    browser.wait_for_script(morning, json!([]), || "it opens at midnight".to_owned()).await;
}

// What the pages gain where scripts run. Every page works without it; nothing here is needed to read or to act.
//
// Live parts: elements with `data-part` and an id. When the person's stream says that something changed, the same page is
// fetched again and its parts are merged in place, so that scroll, focus and what a screen reader reads stay where they
// are. The page's HTML stays the only description of how things look.

const settleMs = 120; // changes that come together are shown together
const mergeEveryMsMin = 400; // a busy backfill must not make a busy browser
const saidEveryMsMin = 5000; // a screen reader hears at most this often that something is new
const closeHiddenAfterMs = 60000; // a tab that nobody looks at gives its connection back

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const formats = {
  full: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }),
  day: new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }),
  time: new Intl.DateTimeFormat(undefined, { timeStyle: "short" }),
  month: new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" }),
};

function localise(root) {
  const now = new Date();
  // What has no style says its time in a zone that the page names, and keeps it.
  for (const element of root.querySelectorAll("time[datetime][data-style]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    let text = formats[element.dataset.style === "day" ? "day" : "full"].format(at);
    if (element.dataset.style === "brief") {
      if (at.toDateString() === now.toDateString()) text = formats.time.format(at);
      else text = formats[at.getFullYear() === now.getFullYear() ? "month" : "day"].format(at);
    }
    if (element.textContent !== text) element.textContent = text;
    element.title = `${formats.full.format(at)} (${zone})`;
  }
}

// Merging. Children with a `data-key` are matched by it, the others by their place and tag.
function merge(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open" && name !== "title") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const keyed = new Map([...old.children].filter((it) => it.dataset.key).map((it) => [it.dataset.key, it]));
  let arrived = 0;
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = child.nodeType === Node.ELEMENT_NODE ? child.dataset.key : undefined;
    let match = key ? keyed.get(key) : place;
    if (!key && match && (match.nodeName !== child.nodeName || match.dataset?.key)) match = undefined;
    if (!match) {
      old.insertBefore(child, place);
      if (key && keyed.size > 0) {
        child.classList.add("arrived");
        arrived += 1;
      }
      continue;
    }
    if (match === place) place = place.nextSibling;
    else old.insertBefore(match, place);
    if (child.nodeType === Node.ELEMENT_NODE) {
      if (!match.isEqualNode(child)) arrived += merge(match, child);
    } else if (match.nodeValue !== child.nodeValue) match.nodeValue = child.nodeValue;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  return arrived;
}

const said = document.getElementById("said");
let saidAt = 0;
function say(text) {
  if (!said || Date.now() - saidAt < saidEveryMsMin) return;
  saidAt = Date.now();
  said.textContent = "";
  requestAnimationFrame(() => (said.textContent = text));
}

function focusAfter(removed, place) {
  if (removed.isConnected) return;
  const links = listLinks();
  links[Math.min(place, links.length - 1)]?.focus();
}

// A confirmation belongs to this moment: a reload later must not repeat it, but while the page is open it goes on.
const done = new URLSearchParams(location.search).get("done");
if (done || new URLSearchParams(location.search).has("looked")) {
  const address = new URL(location.href);
  for (const name of ["done", "looked"]) address.searchParams.delete(name);
  history.replaceState(null, "", address);
}
function opened() {
  const address = new URL(location.href);
  if (done) address.searchParams.set("done", done);
  return address;
}

let refreshing = false;
let again = false;
let searching = false; // what a search finds is no news
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  const [asked, sought] = [opened(), searching];
  searching = false;
  try {
    const answer = await fetch(asked, { headers: { accept: "text/html", "intail-refresh": "yes" }, credentials: "same-origin" });
    if (answer.redirected && new URL(answer.url).pathname !== location.pathname) {
      location.assign(answer.url);
      return;
    }
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (opened().href !== asked.href) {
      // Somebody typed on meanwhile: this is no answer to what stands in the address now.
      again = true;
      return;
    }
    localise(fresh);
    showCopyButtons(fresh);
    document.title = fresh.title;
    const focused = document.activeElement;
    const place = listLinks().indexOf(focused);
    for (const part of document.querySelectorAll("[data-part]")) {
      const next = fresh.getElementById(part.id);
      if (next && merge(part, next) > 0 && part.dataset.says && !sought) say(part.dataset.says);
      if (sought) for (const found of part.querySelectorAll(".arrived")) found.classList.remove("arrived");
    }
    document.body.dataset.stream = fresh.body.dataset.stream ?? "";
    follow();
    if (place >= 0) focusAfter(focused, place);
  } catch {
    // Out of reach for a moment: the stream comes back by itself, and with it the next look.
  } finally {
    refreshing = false;
    planSettling();
    if (again) {
      again = false;
      soon();
    }
  }
}

let planned = 0;
let mergedAt = 0;
function soon() {
  if (planned) return;
  const wait = Math.max(settleMs, mergedAt + mergeEveryMsMin - Date.now());
  planned = setTimeout(() => {
    planned = 0;
    mergedAt = Date.now();
    refresh();
  }, wait);
}

// Parts that settle without a change in the feed, such as a copy that is under way.
let settling = 0;
function planSettling() {
  clearTimeout(settling);
  const part = document.querySelector("[data-again-every]");
  if (part && !document.hidden) settling = setTimeout(soon, 1000 * Number(part.dataset.againEvery));
}

const kinds = [
  "message.added", "message.changed", "message.deleted", "label.added", "label.changed", "label.deleted",
  "event.added", "event.changed", "event.deleted", "calendar.added", "calendar.changed", "calendar.deleted",
  "person.added", "person.changed", "person.gone",
  "mailbox.connected", "mailbox.watched", "mailbox.state", "mailbox.erased", "standing", "end",
];
let stream;
function follow() {
  if (stream || !document.body.dataset.stream) return;
  // The address says after which change to begin: the last one that the page shows.
  stream = new EventSource(document.body.dataset.stream);
  for (const kind of kinds) stream.addEventListener(kind, soon);
}
function unfollow() {
  stream?.close();
  stream = undefined;
}

let closing = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(closing);
  if (document.hidden) {
    closing = setTimeout(unfollow, closeHiddenAfterMs);
    return;
  }
  const missed = !stream;
  follow();
  // What settles without telling has stood still while nobody looked.
  if ((missed && stream) || document.querySelector("[data-again-every]")) soon();
  planSettling();
});
// A page out of the back-forward cache shows what was true then.
addEventListener("pageshow", (event) => {
  for (const form of document.querySelectorAll("form[data-sent]")) release(form);
  if (event.persisted) {
    follow();
    soon();
  }
});
addEventListener("pagehide", unfollow);

// A second press while the first is on its way does nothing.
function release(form) {
  delete form.dataset.sent;
  form.querySelector("button")?.removeAttribute("aria-disabled");
}
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-once]")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  form.querySelector("button")?.setAttribute("aria-disabled", "true");
  setTimeout(() => release(form), 10000);
});

function showCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    button.textContent = "Copied";
    saidAt = 0;
    say("Copied");
  } catch {
    button.textContent = "Select it and copy";
  }
  setTimeout(() => (button.textContent = label), 2000);
});

// A preview of what a form would do follows what is typed; without scripts, its Preview button shows the same.
const previewAfterMs = 350; // a word is typed in less than that, letter by letter
let previewing = 0;
let previewed;
for (const kind of ["input", "change"]) {
  document.addEventListener(kind, (event) => {
    const form = event.target.form;
    if (!form?.dataset.preview) return;
    clearTimeout(previewing);
    previewing = setTimeout(() => showPreview(form), previewAfterMs);
  });
}
async function showPreview(form) {
  previewed?.abort();
  previewed = new AbortController();
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.dataset.preview, { method: "POST", body, signal: previewed.signal, credentials: "same-origin" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    localise(fresh);
    for (const id of ["preview", "complaints"]) {
      const [old, next] = [document.getElementById(id), fresh.getElementById(id)];
      if (old && next) merge(old, next);
    }
  } catch {
    // Out of reach, or something newer was typed.
  }
}

// A search follows what is typed; without scripts, its button finds the same.
const searchAfterMs = 200;
let typing = 0;
function find(form) {
  const address = new URL(form.action);
  for (const [name, value] of new FormData(form)) if (value) address.searchParams.set(name, value);
  history.replaceState(null, "", address);
  searching = true;
  refresh();
}
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form?.matches("[data-search]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => find(form), searchAfterMs);
});

// j and k move through a list of mail, as in many mail programs.
function listLinks() {
  return [...document.querySelectorAll(".rows a")];
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || (event.key !== "j" && event.key !== "k")) return;
  if (event.target.closest?.("input, textarea, select")) return;
  const links = listLinks();
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  const next = event.key === "j" ? at + 1 : at < 0 ? 0 : at - 1;
  const link = links[Math.max(0, Math.min(next, links.length - 1))];
  link.focus();
  link.scrollIntoView({ block: "nearest" });
  event.preventDefault();
});

// In the calendar n and p turn the page and t is today; arrows move, up and down through the events, left and right
// through the days.
const turns = { n: "next", p: "previous", t: "today" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (!document.querySelector("[data-calendar]") || event.target.closest?.("input, textarea, select")) return;
  const turn = turns[event.key];
  if (turn) {
    document.getElementById(turn)?.click();
    event.preventDefault();
    return;
  }
  if (!event.key.startsWith("Arrow")) return;
  const links = [...document.querySelectorAll("#days .day li a")].filter((it) => it.offsetParent);
  const at = links.indexOf(document.activeElement);
  // Nothing is chosen: the arrows scroll, as everywhere.
  if (at < 0 && (event.key === "ArrowUp" || event.key === "ArrowDown")) return;
  const link = event.key === "ArrowUp" || event.key === "ArrowDown"
    ? links[at + (event.key === "ArrowDown" ? 1 : -1)]
    : ofNeighbour(links, at, event.key === "ArrowRight" ? 1 : -1);
  if (!link) return;
  link.focus();
  link.scrollIntoView({ block: "nearest" });
  event.preventDefault();
});
// The first event of the next day, or of the one before, that has any; of today when nothing is chosen.
function ofNeighbour(links, at, step) {
  const days = [...document.querySelectorAll("#days .day")];
  const first = (day) => links.find((it) => day.contains(it));
  if (at < 0) return first(document.querySelector("#days .today") ?? days[0]) ?? links[0];
  for (let day = days.findIndex((it) => it.contains(links[at])) + step; days[day]; day += step) {
    if (first(days[day])) return first(days[day]);
  }
  return undefined;
}

// The present comes into sight: among the hours its line, or the hour that most days begin with; in a list today's
// heading, which has no box among the hours.
function turnToPresent(turnsList) {
  const week = document.querySelector(".week");
  const line = [...document.querySelectorAll(".week .now, .week .opens")].sort((one) => (one.matches(".now") ? -1 : 1))
    .find((it) => it.offsetParent);
  if (line) {
    const top = line.getBoundingClientRect().top - week.getBoundingClientRect().top + week.scrollTop;
    week.scrollTop = top - week.clientHeight / (line.matches(".now") ? 2 : 6);
  }
  if (!turnsList) return;
  const heading = document.getElementById("this-day");
  const isFirst = document.querySelector("#days .day")?.contains(heading);
  if (heading?.offsetParent && !isFirst) heading.scrollIntoView();
  else {
    scrollTo(0, 0);
    // The hours are nearly as high as the window: in the evening the present lies below its edge.
    line?.scrollIntoView({ block: "nearest" });
  }
}
if (document.querySelector("[data-calendar]")) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#today");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    // The page of today stands open already.
    if (link.href.split("#")[0] !== location.href.split("#")[0]) return;
    event.preventDefault();
    turnToPresent(true);
  });
  // Whoever chose a day, came back or was told something stays where they are.
  const comesAnew = performance.getEntriesByType("navigation")[0]?.type === "navigate";
  turnToPresent(comesAnew && !location.hash && !new URLSearchParams(location.search).has("date"));
}

// Whoever sits in another zone than the page shows can turn to their own.
const ownZone = document.getElementById("own-zone");
if (ownZone && ownZone.dataset.zone !== zone) {
  ownZone.hidden = false;
  ownZone.title = zone;
  ownZone.addEventListener("click", () => {
    ownZone.form.elements.zone.value = zone;
    ownZone.form.requestSubmit();
  });
}

// The way back keeps the place in the list, the label, or the days.
for (const link of document.querySelectorAll("[data-back]")) {
  if (document.referrer.startsWith(`${location.origin}${link.dataset.back}`) && history.length > 1) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      history.back();
    });
  }
}

// A key is shown in the answer to its form, because it is kept nowhere from where it could be shown after a redirect. A
// reload then reads the list of keys; it doesn't send the form again, which would make another key.
if (document.getElementById("fresh-key")) history.replaceState(null, "", location.href);

// On a narrow screen the navigation scrolls sideways: show where we are.
for (const bar of document.querySelectorAll(".frame nav, .labels")) {
  const here = bar.querySelector("[aria-current]");
  // Begins with a whole neighbour, or with where we are: a cut word looks like dirt.
  if (!here || bar.scrollWidth <= bar.clientWidth) continue;
  const links = [...bar.querySelectorAll("a")].filter((it) => it.offsetParent);
  const left = (it) => it.getBoundingClientRect().left - bar.getBoundingClientRect().left + bar.scrollLeft;
  const before = links[links.indexOf(here) - 1] ?? here;
  const isNear = left(here) - left(before) + here.offsetWidth <= bar.clientWidth;
  bar.scrollLeft = left(isNear ? before : here);
}

localise(document);
showCopyButtons(document);
follow();
planSettling();

// The live feed of a page.
//
// 1. Open the WebSocket named by data-live; a lost one is opened again, later each time (1 s to 30 s).
// 2. "calls.changed" becomes two events on the body, which htmx turns into fetches of fragments:
//    calls-changed at most twice a second, spend-changed at most every five seconds, both never losing
//    the last one. A hidden page fetches nothing until it is seen again.
// 3. A figure that changed shows that it did; a table that was open stays open.
const place = document.querySelector("[data-live]");
const FIRST_WAIT_MS = 1000;
const LAST_WAIT_MS = 30000;
let wait = FIRST_WAIT_MS;
let missed = false;

if (place) {
  const callsChanged = atMostEvery(500, () => tell("calls-changed"));
  const spendChanged = atMostEvery(5000, () => tell("spend-changed"));
  const refresh = () => {
    missed = document.hidden;
    if (missed) return;
    callsChanged();
    spendChanged();
  };
  document.addEventListener("visibilitychange", () => missed && refresh());
  open(refresh, false);
}

function open(refresh, isAgain) {
  const address = new URL(place.dataset.live, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.addEventListener("open", () => {
    wait = FIRST_WAIT_MS;
    show("on", "Live");
    if (isAgain) refresh();
  });
  socket.addEventListener("message", (event) => {
    if (JSON.parse(event.data).type === "calls.changed") refresh();
  });
  socket.addEventListener("close", () => {
    show("off", "Reconnecting");
    setTimeout(() => open(refresh, true), wait + Math.random() * 500);
    wait = Math.min(wait * 2, LAST_WAIT_MS);
  });
}

function show(state, text) {
  place.dataset.liveState = state;
  place.querySelector("[data-live-text]").textContent = text;
}

function tell(name) {
  document.body.dispatchEvent(new Event(name));
}

function atMostEvery(pause, act) {
  let last = -pause;
  let timer = null;
  return () => {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      act();
    }, Math.max(0, last + pause - performance.now()));
  };
}

const before = new Map();
const opened = new Set();
document.addEventListener("htmx:beforeSwap", (event) => {
  for (const figure of event.target.querySelectorAll("[data-figure]")) {
    before.set(figure.dataset.figure, figure.textContent);
  }
  for (const details of event.target.querySelectorAll("details[data-keep-open]")) {
    if (details.open) opened.add(details.dataset.keepOpen);
    else opened.delete(details.dataset.keepOpen);
  }
});
document.addEventListener("htmx:afterSwap", (event) => {
  for (const figure of event.target.querySelectorAll("[data-figure]")) {
    const was = before.get(figure.dataset.figure);
    if (was !== undefined && was !== figure.textContent) figure.classList.add("moved");
  }
  for (const details of event.target.querySelectorAll("details[data-keep-open]")) {
    details.open = opened.has(details.dataset.keepOpen);
  }
});

// The page: puts chat, connection and view together, and keeps what a reload must not lose.

import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { Finding, LoggingIn } from "./dialogs.js";
import { Login } from "./login.js";
import { View, ask, tell } from "./view.js";

const KEPT = `chatproto ${location.pathname}`;
const REFRESH_EVERY_MS = 15000;
const at = (id) => document.getElementById(id);

function makeId() {
  // Not randomUUID: that one is for secure contexts only, and a page in one's own network may be none.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

let left = false;
function keep() {
  if (left) return;
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(chat.kept()));
  } catch {
    // Full, or forbidden: the page goes on without surviving a reload.
  }
}

const here = location.href.replace(/[?#].*$/, "").replace(/[^/]*$/, "");
// For all tabs of this browser, and for as long as it is not taken back: a ticket, never a password.
const STAYS = `chatproto login ${location.pathname}`;
const keeping = {
  read: () => {
    try {
      return JSON.parse(localStorage.getItem(STAYS));
    } catch {
      return null;
    }
  },
  write: (login) => {
    try {
      if (login) localStorage.setItem(STAYS, JSON.stringify(login));
      else localStorage.removeItem(STAYS);
    } catch {
      // Full, or forbidden: the login is this tab's alone.
    }
  },
};
const before = kept();
const chat = new Chat(makeId, new Login(keeping, before.login), before);
const world = {
  socket: (address) => new WebSocket(address),
  later: (ms, act) => setTimeout(act, ms),
  cancel: (timer) => clearTimeout(timer),
  random: Math.random,
};
const connection = new Connection(world, here, {
  hello: () => chat.hello(),
  received: (line) => {
    const before = chat.current;
    chat.received(line).forEach((answer) => connection.send(answer));
    if (line.pages) {
      connection.know(line.pages);
      prepare(line.pages);
    }
    if (chat.current !== before) at("say").value = chat.current.draft;
    changed();
  },
  changed: () => changed(),
});
const view = new View({
  open,
  again: (id) => send(chat.sayAgain(id)),
  back: (id) => {
    chat.takeBack(id);
    at("say").value = chat.current.draft;
    changed();
    at("say").focus();
  },
  older: () => {
    const lines = connection.phase === "online" ? chat.older() : [];
    lines.forEach((line) => connection.send(line));
    if (lines.length) changed();
  },
  between: (index) => send(chat.between(index)),
});
const finding = new Finding({
  search: (query, everywhere) => send(chat.search.begin(query, everywhere ? "" : chat.current.name)),
  older: () => send(chat.search.older()),
  seek: (message) => {
    chat.current.draft = at("say").value;
    send(chat.seek(message));
    at("say").value = chat.current.draft;
  },
});
const loggingIn = new LoggingIn({
  login: (account, password, stay) => {
    chat.login.begin(account, password, stay);
    again();
  },
  cancel: () => {
    if (connection.phase !== "ended" || connection.reason === "login-required") return;
    chat.login.forget();
    connection.start();
  },
});

// Drawn once for all that comes at once; kept at once, for the page may end at any moment.
let drawing = false;
function changed() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    keep();
    view.show(chat, connection);
    finding.show(chat);
    announce();
  });
}

let ended = "";
function announce() {
  const said = chat.trouble || chat.news;
  chat.trouble = chat.news = "";
  if (connection.reason !== ended) {
    ended = connection.reason;
    const text = ended === "session-moved" ? "This conversation is open in another tab or window." : said;
    const over = connection.phase === "ended";
    if (chat.login.wanted) {
      tell(text, "Log in …", () => loggingIn.open(chat.login));
      loggingIn.open(chat.login);
    } else {
      tell(text, over && ended === "session-moved" ? "Talk here" : over ? "Try again" : "", () => connection.start());
    }
  } else if (said) {
    tell(said);
  }
}

// Who one is

/** Come as somebody else; the one that one was does not stay behind. */
function again() {
  connection.send({ type: "quit" });
  connection.start();
  changed();
}

function logOut() {
  chat.login.forget();
  connection.send({ type: "quit" });
  connection.end();
  // What was read, and said in private, is not for whoever sits here next.
  left = true;
  sessionStorage.removeItem(KEPT);
  location.reload();
}
at("log-in").addEventListener("click", () => {
  drawers();
  if (!chat.login.account) loggingIn.open(chat.login);
  else if (chat.outbox.length) tell("Not everything that you said is confirmed; it would be lost.", "Log out", logOut);
  else logOut();
});

function send(lines) {
  lines.forEach((line) => connection.send(line));
  changed();
}

function open(name, isPrivate) {
  chat.current.draft = at("say").value;
  send(chat.open(name, isPrivate));
  at("say").value = chat.current.draft;
  drawers();
  at("say").focus();
}

/** Have this page be allowed to go on at the servers that there are now: what it may do was said when it was loaded. */
function prepare(pages) {
  const allowed = document.querySelector('meta[name="pages"]').content.split(" ");
  const known = [...allowed, location.origin];
  const unknown = pages.map((page) => new URL(page).origin).filter((origin) => !known.includes(origin));
  const tried = sessionStorage.getItem("chatproto reloaded for") ?? "";
  if (document.querySelector("dialog[open]")) return;
  if (!unknown.length || tried === unknown.join(" ") || !connection.address.includes(location.host)) return;
  sessionStorage.setItem("chatproto reloaded for", unknown.join(" "));
  keep();
  location.reload();
}

// What is said

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = at("say").value;
  at("say").focus();
  if (!content.trim()) return;
  at("say").value = "";
  send(chat.say(content));
});
at("say").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("composer").requestSubmit();
  }
});
at("say").addEventListener("input", () => {
  chat.current.draft = at("say").value;
  keep();
});
at("say").value = chat.current.draft;

// Rooms and names

const NAMES = "A letter, then letters and digits; 3 to ";

at("me").addEventListener("click", async () => {
  if (chat.login.account) {
    tell("An account keeps its name.");
    return;
  }
  const identity = await ask("Your name", `${NAMES}16 in all.`, chat.identity);
  if (identity && identity !== chat.identity) send([{ type: "identitychange", identity }]);
  at("say").focus();
});
at("new-room").addEventListener("click", async () => {
  const roomid = await ask("Name of the new room", `${NAMES}32 in all.`);
  if (!roomid) return;
  send([{ type: "createroom", roomid }]);
  open(roomid, false);
});
at("leave").addEventListener("click", () => {
  if (chat.current.private) {
    chat.close(chat.current);
    at("say").value = chat.current.draft;
    changed();
  } else {
    send(chat.leave(chat.current.name));
  }
  at("say").focus();
});
at("delete").addEventListener("click", async () => {
  const { name } = chat.current;
  const answer = await ask(`Delete ${name}, with all that was said in it?`, "Type its name to delete it.");
  if (answer === name) send([{ type: "delete", roomid: name }]);
});
at("banner-close").addEventListener("click", () => tell(""));

// Keys

const REGIONS = ["rooms", "log-frame", "say", "members"];

function turn(step, wanted = () => true) {
  const { listed } = chat;
  const start = listed.indexOf(chat.current);
  for (let n = 1; n <= listed.length; n += 1) {
    const next = listed[(start + step * n + listed.length * n) % listed.length];
    if (wanted(next)) {
      open(next.name, next.private);
      return;
    }
  }
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const { key, altKey, shiftKey, ctrlKey, metaKey } = event;
  if (altKey && !ctrlKey && !metaKey && (key === "ArrowDown" || key === "ArrowUp")) {
    turn(key === "ArrowDown" ? 1 : -1);
  } else if (altKey && !ctrlKey && !metaKey && key.toLowerCase() === "u") {
    turn(1, (one) => one.unread > 0);
  } else if ((ctrlKey || metaKey) && !altKey && key.toLowerCase() === "k") {
    finding.open(chat);
  } else if (key === "F6") {
    const now = REGIONS.findIndex((id) => at(id).contains(document.activeElement));
    const next = REGIONS[(now + (shiftKey ? -1 : 1) + REGIONS.length) % REGIONS.length];
    drawers(next === "rooms" || next === "members" ? next : "");
    (at(next).querySelector("button:not(:disabled)") ?? at(next)).focus();
  } else if (key === "F1") {
    at("help").showModal();
  } else if (key === "Escape") {
    drawers();
    at("say").focus();
  } else {
    return;
  }
  event.preventDefault();
});
at("ask-search").addEventListener("click", () => finding.open(chat));
at("ask-help").addEventListener("click", () => at("help").showModal());

// Drawers, where there is no room for columns

function drawers(open = "") {
  for (const id of ["rooms", "members"]) {
    at(id).classList.toggle("open", id === open);
    at(`show-${id}`).setAttribute("aria-expanded", String(id === open));
  }
}
for (const id of ["rooms", "members"]) {
  at(`show-${id}`).addEventListener("click", () => {
    drawers(at(id).classList.contains("open") ? "" : id);
    if (at(id).classList.contains("open")) at(id).querySelector("button:not(:disabled)")?.focus();
  });
}
document.querySelector("main").addEventListener("click", () => drawers());

// Light and dark

function dress(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}
try {
  dress(localStorage.getItem("chatproto theme"));
} catch {
  // Forbidden: as the system has it.
}
at("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  const system = document.documentElement.dataset.theme === undefined;
  const wasDark = system ? matchMedia("(prefers-color-scheme: dark)").matches : dark;
  dress(wasDark ? "light" : "dark");
  try {
    localStorage.setItem("chatproto theme", wasDark ? "light" : "dark");
  } catch {
    // Forbidden: it holds until the page is left.
  }
});

// The world around

function look() {
  chat.looking = document.visibilityState === "visible" && document.hasFocus();
  chat.seen();
  changed();
}
function refresh() {
  send(connection.phase === "online" ? chat.refresh() : []);
}
for (const event of ["focus", "blur"]) addEventListener(event, look);
addEventListener("focus", refresh);
document.addEventListener("visibilitychange", () => {
  look();
  if (document.visibilityState === "visible") connection.probe();
});
addEventListener("online", () => connection.probe());
addEventListener("pagehide", keep);
// Also while nobody looks: a server that joined is to be known before this one is lost.
setInterval(refresh, REFRESH_EVERY_MS);

look();
connection.start();
at("say").focus();

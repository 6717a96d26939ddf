// Keeps the page connected: to the server it came from, or to another one, and back. Knows nothing of the document.

/** How long one attempt may take, from opening the socket to the server's welcome. */
export const ATTEMPT_MS_MAX = 4000;
/** Between two looks at whether the server is heard. */
export const BEAT_MS = 10000;
/** How long a server that was sent something may be silent before it is asked whether it is there. */
export const ANSWER_MS_MAX = 3000;
const WAIT_MS_MIN = 200;
const WAIT_MS_MAX = 3000;

/** What ends all attempts: the person has to decide. */
const FINAL = new Set([
  "session-moved", "version", "login-failed", "login-required", "banned", "account-gone", "logged-out",
]);

/** The address of the socket of a page. */
export function socketOf(page) {
  return `${page.replace(/^http/, "ws").replace(/\/$/, "")}/ws`;
}

/**
 * A connection that is always wanted.
 *
 * `phase` is one of `connecting`, `online`, `waiting` (for the next attempt), `ended`. `hooks.hello()` returns the first
 * line; `hooks.received(line)` takes each line from the server, as an object; `hooks.changed()` hears of a new phase.
 */
export class Connection {
  constructor(world, page, hooks) {
    this.world = world;
    this.hooks = hooks;
    this.addresses = [socketOf(page)];
    this.at = 0;
    this.phase = "waiting";
    this.attempts = 0;
    this.reason = "";
    this.socket = null;
    this.timers = new Map();
  }

  get address() {
    return this.addresses[this.at];
  }

  /** Connect now, whatever there was. */
  start() {
    this.attempts = 0;
    this.#open();
  }

  /** End, and try no more, until `start`. */
  end(reason = "") {
    this.#hangUp();
    this.#cancel("wait");
    this.#enter("ended", reason);
  }

  /** Send a line, if there is a server to send it to; return whether there was. */
  send(line) {
    if (this.phase !== "online") return false;
    this.#put(line);
    if (!this.timers.has("answer")) this.#later("answer", ANSWER_MS_MAX, () => this.probe());
    return true;
  }

  /** Find out whether the server is there: the network, or this machine, may have slept. */
  probe() {
    if (this.phase === "waiting") {
      this.#open();
    } else if (this.phase === "online") {
      this.#put({ type: "ping" });
      this.#later("answer", ANSWER_MS_MAX, () => this.#lost());
    }
  }

  // One attempt

  #open() {
    this.#hangUp();
    this.#cancel("wait");
    this.attempts += 1;
    this.#enter("connecting");
    let socket;
    try {
      socket = this.world.socket(this.address);
    } catch {
      this.#lost();
      return;
    }
    this.socket = socket;
    const mine = (act) => (event) => {
      if (this.socket === socket) act(event);
    };
    socket.onopen = mine(() => this.#put(this.hooks.hello()));
    socket.onmessage = mine((event) => this.#received(event.data));
    socket.onclose = mine(() => this.#lost());
    this.#later("attempt", ATTEMPT_MS_MAX, () => this.#lost());
  }

  #put(line) {
    this.socket.send(JSON.stringify(line));
  }

  #received(data) {
    this.heard = true;
    this.#cancel("answer");
    for (const text of data.split("\n")) {
      let line;
      try {
        line = JSON.parse(text);
      } catch {
        continue;
      }
      this.#take(line);
      if (!this.socket) return;
    }
  }

  #take(line) {
    if (line.type === "ping") {
      this.#put({ ...line, type: "pong" });
    } else if (line.type === "welcome") {
      this.#welcomed(line);
    } else if (line.type === "redirect") {
      this.#redirected(line);
    } else if (line.type === "error" && line.code === "login-slowed") {
      this.hooks.received(line);
      this.#slowed(line.after);
    } else if (line.type === "error" && FINAL.has(line.code) && line.roomid === undefined) {
      this.hooks.received(line);
      this.end(line.code);
    } else if (line.type !== "pong") {
      this.hooks.received(line);
    }
  }

  #welcomed(line) {
    this.#cancel("attempt");
    this.attempts = 0;
    this.phase = "online";
    this.hooks.received(line);
    this.#enter("online");
    this.#beat();
  }

  /** Know of more pages whose servers may be gone on with. */
  know(pages) {
    for (const address of pages.map(socketOf)) {
      if (!this.addresses.includes(address)) this.addresses.push(address);
    }
  }

  #redirected(line) {
    this.hooks.received(line);
    const next = (line.pages ?? []).map(socketOf).find((address) => address !== this.address);
    const after = this.phase === "online" ? line.after : Math.max(line.after, WAIT_MS_MIN);
    this.#later("redirect", after, () => this.#lost(next));
  }

  /** What was tried is looked at later, and at this server. */
  #slowed(after) {
    this.#hangUp();
    this.#enter("waiting", "login-slowed");
    this.#later("wait", after, () => this.#open());
  }

  #beat() {
    this.heard = false;
    this.#later("beat", BEAT_MS, () => {
      if (!this.heard) this.probe();
      this.#beat();
    });
  }

  // Its end, and the next

  #lost(next) {
    this.#hangUp();
    const was = this.at;
    this.at = next === undefined ? (this.at + 1) % this.addresses.length : this.addresses.indexOf(next);
    // Every server is tried once before anybody waits; where there is one, it is left alone for a moment.
    const rounds = Math.floor(this.attempts / this.addresses.length);
    const most = Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** rounds);
    const wait = rounds === 0 && this.at !== was ? 0 : most * (0.5 + this.world.random() / 2);
    this.#enter("waiting");
    this.#later("wait", wait, () => this.#open());
  }

  #hangUp() {
    for (const name of ["attempt", "answer", "beat", "redirect"]) this.#cancel(name);
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
  }

  #enter(phase, reason = "") {
    this.phase = phase;
    this.reason = reason;
    this.hooks.changed();
  }

  #later(name, ms, act) {
    this.#cancel(name);
    const timer = this.world.later(ms, () => {
      this.timers.delete(name);
      act();
    });
    this.timers.set(name, timer);
  }

  #cancel(name) {
    if (this.timers.has(name)) this.world.cancel(this.timers.get(name));
    this.timers.delete(name);
  }
}

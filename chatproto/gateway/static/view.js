// Shows a chat in the document. Whatever came from somebody else is set as text, never as markup.

const at = (id) => document.getElementById(id);
const NEAR_PX = 60;

/** Return an element with a class and text, and what is in it. */
export function make(tag, kind = "", text = "", ...inside) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text) element.textContent = text;
  element.append(...inside);
  return element;
}

/** Have a list show items in order, leaving alone the elements of those that are there already and unchanged. */
export function arrange(list, items, keyOf, stateOf, makeOne) {
  const old = new Map([...list.children].map((element) => [element.dataset.key, element]));
  let next = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const state = stateOf(item);
    let element = old.get(key);
    old.delete(key);
    if (!element || element.dataset.state !== state) {
      const made = makeOne(item);
      Object.assign(made.dataset, { key, state });
      if (element) {
        if (element === next) next = element.nextElementSibling;
        element.remove();
      }
      element = made;
    }
    if (element === next) {
      next = element.nextElementSibling;
    } else {
      list.insertBefore(element, next);
    }
  }
  for (const element of old.values()) element.remove();
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
export const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function timeOf(seconds, format = CLOCK) {
  const moment = new Date(seconds * 1000);
  const element = make("time", "", format.format(moment));
  element.dateTime = moment.toISOString();
  element.title = DAY.format(moment);
  return element;
}

const REDUNDANCY = {
  single: "the only server",
  paired: "two servers hold every message",
  alone: "the other server is away: messages are held once until it is back",
  isolated: "cut off: nothing is confirmed here",
};

export class View {
  /** `acts` is what the person can do: `open`, `again`, `back`, `older`, `between`. */
  constructor(acts) {
    this.acts = acts;
    this.shown = null;
    this.frame = at("log-frame");
    this.frame.addEventListener("scroll", () => this.#scrolled());
    at("down").addEventListener("click", () => this.#toEnd());
  }

  show(chat, connection) {
    this.#state(chat, connection);
    this.#rooms(chat);
    this.#people(chat);
    this.#log(chat);
    const title = chat.current.name;
    at("title").textContent = chat.current.private ? `${title} (in private)` : title;
    const mine = !chat.current.private && chat.current.joined;
    at("leave").hidden = !(chat.current.private || (mine && chat.listed.filter((one) => one.joined).length > 1));
    at("leave").textContent = chat.current.private ? "Close" : "Leave";
    at("delete").hidden = !(mine && chat.current.owner === chat.identity && chat.identity);
    at("me").textContent = chat.identity || "…";
    at("log-in").textContent = chat.login.account ? "Log out" : "Log in …";
    document.title = `${chat.unread ? `(${chat.unread}) ` : ""}${title} – Chat`;
    at("unread").hidden = !chat.unread;
    at("unread").textContent = chat.unread;
  }

  #state(chat, { phase, reason }) {
    const line = at("state");
    line.dataset.phase = phase === "online" && chat.redundancy === "isolated" ? "waiting" : phase;
    const said = {
      online: `Connected to ${chat.server}: ${REDUNDANCY[chat.redundancy] ?? chat.redundancy}`,
      ended: `Not connected: ${reason}`,
      "session-moved": "Open in another tab or window",
      "login-failed": "Not logged in",
      "login-required": "Not logged in",
      "logged-out": "Not logged in",
      "account-gone": "Not logged in",
      banned: "Not let in",
      "login-slowed": "Logging in: the server has this wait for a moment …",
    };
    const waiting = chat.server ? "Reconnecting … What you say is kept and sent then." : "Connecting …";
    const text = said[reason] ?? said[phase] ?? waiting;
    if (line.textContent !== text) line.textContent = text;
  }

  #rooms(chat) {
    const here = (one) => one === chat.current;
    arrange(
      at("mine"),
      chat.listed,
      (one) => one.key,
      (one) => `${one.name} ${one.unread} ${here(one)}`,
      (one) => {
        const button = make("button", "", "", make("bdi", "", one.private ? `@${one.name}` : one.name));
        if (one.unread) {
          button.append(make("span", "badge", String(one.unread), make("span", "hidden", " unread")));
        }
        button.setAttribute("aria-current", String(here(one)));
        button.addEventListener("click", () => this.acts.open(one.name, one.private));
        return make("li", "", "", button);
      },
    );
    const joined = new Set(chat.listed.filter((one) => one.joined).map((one) => one.name));
    const others = chat.rooms.filter((room) => !joined.has(room.roomid));
    at("others-title").hidden = !others.length;
    arrange(
      at("others"),
      others,
      (room) => room.roomid,
      (room) => String(room.count),
      (room) => {
        const note = make("span", "note", String(room.count), make("span", "hidden", " people; join"));
        const button = make("button", "", "", make("bdi", "", room.roomid), note);
        button.addEventListener("click", () => this.acts.open(room.roomid, false));
        return make("li", "", "", button);
      },
    );
  }

  #people(chat) {
    const { members, owner, name, private: isPrivate } = chat.current;
    const people = isPrivate ? [name, chat.identity] : [...members].sort((a, b) => a.localeCompare(b));
    at("members-title").textContent = isPrivate ? "In private" : `${people.length} in ${name}`;
    const note = (one) => (one === chat.identity ? "you" : one === owner ? "owner" : "");
    arrange(
      at("people"),
      people.filter(Boolean),
      (one) => one,
      note,
      (one) => {
        const button = make("button", "", "", make("bdi", "", one), make("span", "note", note(one)));
        button.disabled = one === chat.identity;
        button.title = button.disabled ? "" : `Talk to ${one} in private`;
        button.addEventListener("click", () => this.acts.open(one, true));
        return make("li", "", "", button);
      },
    );
  }

  #log(chat) {
    const { frame } = this;
    const log = at("log");
    const turned = this.shown !== chat.current;
    if (turned) {
      // What is shown now has not just been said: it is not read out.
      log.setAttribute("aria-live", "off");
      log.replaceChildren();
    }
    const nearEnd = turned || frame.scrollHeight - frame.scrollTop - frame.clientHeight < NEAR_PX;
    const below = frame.scrollHeight - frame.scrollTop;
    const firstBefore = log.firstElementChild?.dataset.key;
    this.shown = chat.current;
    const items = [...chat.current.items, ...chat.waiting(chat.current)];
    const stateOf = (one) => (one.to === undefined ? one.identity === chat.identity ? "own" : "" : `${one.state} ${one.reason}`);
    arrange(log, items, (one) => one.id ?? `gap ${one.index}`, stateOf, (one) => this.#message(chat, one));
    at("more").hidden = !chat.current.asking;
    const sought = chat.current.sought && [...log.children].find((item) => item.dataset.key === chat.current.sought.id);
    if (sought) {
      chat.current.sought = null;
      sought.scrollIntoView({ block: "center" });
      sought.tabIndex = -1;
      sought.focus();
    } else if (nearEnd) {
      this.#toEnd();
    } else if (log.firstElementChild?.dataset.key !== firstBefore) {
      frame.scrollTop = frame.scrollHeight - below;
    }
    if (turned) requestAnimationFrame(() => log.setAttribute("aria-live", "polite"));
    this.#scrolled();
  }

  #message(chat, one) {
    if (one.missing) return make("li", "missing", one.missing);
    if (one.hole) {
      const button = make("button", "", "Show what was said between");
      button.addEventListener("click", () => this.acts.between(one.index));
      return make("li", "missing", "", button);
    }
    const unsaid = one.to !== undefined;
    const identity = unsaid ? chat.identity : one.identity;
    const head = make("div", "", "", make("bdi", "who", identity));
    const text = make("p", "", one.content);
    text.dir = "auto";
    const item = make("li", identity === chat.identity ? "own" : "", "", head, text);
    if (!unsaid) {
      head.append(timeOf(one.time));
      return item;
    }
    const refused = one.state === "refused";
    const mark = make("span", "mark", refused ? " !" : " …");
    mark.dataset.state = refused ? "refused" : "waiting";
    mark.append(make("span", "hidden", refused ? " refused" : " not confirmed yet"));
    head.append(mark);
    if (refused) {
      const again = make("button", "", "Try again");
      again.addEventListener("click", () => this.acts.again(one.id));
      const back = make("button", "", "Change it");
      back.addEventListener("click", () => this.acts.back(one.id));
      item.append(make("div", "why", one.reason), again, back);
    }
    return item;
  }

  #toEnd() {
    this.frame.scrollTop = this.frame.scrollHeight;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.frame;
    at("down").hidden = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (scrollTop < NEAR_PX) this.acts.older();
  }
}

/** Ask for one line of text; the answer is empty where there is none. */
export function ask(label, hint, value = "") {
  const dialog = at("prompt");
  at("prompt-label").textContent = label;
  at("prompt-hint").textContent = hint;
  at("prompt-value").value = value;
  dialog.returnValue = "";
  dialog.showModal();
  at("prompt-value").select();
  return new Promise((answer) => {
    const ended = () => answer(dialog.returnValue === "yes" ? at("prompt-value").value.trim() : "");
    dialog.addEventListener("close", ended, { once: true });
  });
}

/** Tell something that stays until it is put away; `act`, if any, has a label and is offered with it. */
export function tell(text, label = "", act = () => {}) {
  at("banner-text").textContent = text;
  at("banner").hidden = !text;
  const button = at("banner-act");
  button.hidden = !label;
  button.textContent = label;
  button.onclick = () => {
    at("banner").hidden = true;
    act();
  };
}


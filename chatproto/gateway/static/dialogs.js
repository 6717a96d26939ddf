// The dialogs of searching and of logging in.

import { DAY, arrange, make, timeOf } from "./view.js";

const at = (id) => document.getElementById(id);

export class Finding {
  /** `acts` is what the person can do: `search(query, everywhere)`, `older()`, `seek(message)`. */
  constructor(acts) {
    this.acts = acts;
    at("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      acts.search(at("search-query").value, at("search-where").value === "all");
    });
    at("search-more").addEventListener("click", () => acts.older());
    at("search").addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || event.target === at("search-where")) return;
      const all = [at("search-query"), ...at("found").querySelectorAll("button")];
      all[Math.max(0, Math.min(all.length - 1, all.indexOf(event.target) + step))].focus();
      event.preventDefault();
    });
  }

  open(chat) {
    const { name, private: isPrivate } = chat.current;
    at("search-here").textContent = isPrivate ? "" : `in ${name}`;
    at("search-here").hidden = at("search-here").disabled = isPrivate;
    if (isPrivate) at("search-where").value = "all";
    at("search").showModal();
    at("search-query").select();
  }

  show({ search }) {
    const { found, more, roomid, asking, answered, trouble } = search;
    const end = more && !roomid ? "; there are more: search in one room for the others" : "";
    const all = more ? `the newest ${found.length}` : `${found.length} in all`;
    const told = trouble || (asking ? "Searching …" : answered ? (found.length ? all + end : "Nothing was found.") : "");
    if (at("search-told").textContent !== told) at("search-told").textContent = told;
    arrange(
      at("found"),
      found,
      (message) => message.id,
      () => "",
      (message) => {
        const room = make("span", "note", "", "in ", make("bdi", "", message.roomid));
        const text = make("span", "text", message.content);
        text.dir = "auto";
        const head = make("span", "head", "", make("bdi", "who", message.identity), room, timeOf(message.time, DAY));
        const button = make("button", "", "", head, text);
        button.addEventListener("click", () => {
          at("search").close();
          this.acts.seek(message);
        });
        return make("li", "", "", button);
      },
    );
    at("search-more").hidden = !(more && roomid);
    at("search-more").disabled = asking;
  }
}

export class LoggingIn {
  /** `acts` is what the person can do: `login(account, password, stay)`, or `cancel()`. */
  constructor(acts) {
    at("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const [account, password] = [at("login-account").value.trim(), at("login-password").value];
      at("login-password").value = "";
      at("login").close("yes");
      acts.login(account, password, at("login-stay").checked);
    });
    at("login-cancel").addEventListener("click", () => at("login").close("no"));
    at("login").addEventListener("close", () => {
      if (at("login").returnValue !== "yes") acts.cancel();
    });
  }

  open({ tried, trouble }) {
    at("login-told").textContent = trouble;
    if (tried) at("login-account").value = tried;
    at("login").returnValue = "";
    if (!at("login").open) at("login").showModal();
    at(tried ? "login-password" : "login-account").focus();
  }
}

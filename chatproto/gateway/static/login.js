// Who one is to the server: a guest, or an account, by its password once and by a ticket from then on.
// Knows neither socket nor document.

/** Errors after which what is kept of a login lets nobody in any more. */
const OVER = new Set(["login-failed", "account-gone", "logged-out"]);

/**
 * `account` is empty for a guest; `trouble` says what went wrong last, with the account `tried`; `wanted` tells whether
 * the person is to be asked.
 */
export class Login {
  /** `keeping` keeps a login beyond the tab: `read()`, `write(login)`, where null is none. */
  constructor(keeping, kept = {}) {
    this.keeping = keeping;
    const { account = "", ticket = "" } = kept.account ? kept : (keeping.read() ?? {});
    Object.assign(this, { account, ticket, password: "", stay: false, roles: [], tried: "", trouble: "", wanted: false });
  }

  /** What has to survive a reload; a password is not kept anywhere. */
  kept() {
    return this.ticket ? { account: this.account, ticket: this.ticket } : {};
  }

  /** What `hello` says of it. */
  get credentials() {
    const { account, password, ticket } = this;
    if (password) return { account, password };
    return ticket ? { account, ticket } : {};
  }

  begin(account, password, stay) {
    Object.assign(this, { account, password, stay, ticket: "", trouble: "", wanted: false });
  }

  /** Be a guest. */
  forget() {
    Object.assign(this, { account: "", password: "", ticket: "", roles: [], trouble: "", wanted: false });
    this.keeping.write(null);
  }

  welcomed(line) {
    this.roles = line.roles ?? [];
    Object.assign(this, { trouble: "", wanted: false, account: line.account ?? "" });
    if (line.ticket) {
      this.ticket = line.ticket;
      this.keeping.write(this.stay ? this.kept() : null);
    }
    this.password = "";
    if (!line.account) this.ticket = "";
  }

  /** Hear of an error. */
  refused(line) {
    if (line.code === "login-slowed") {
      this.trouble = line.message;
    } else if (OVER.has(line.code)) {
      const { account } = this;
      this.forget();
      Object.assign(this, { tried: account, trouble: line.message, wanted: true });
    } else if (line.code === "login-required") {
      Object.assign(this, { trouble: line.message, wanted: true });
    }
  }
}

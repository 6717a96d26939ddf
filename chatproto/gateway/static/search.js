// What is searched for in the archive, and what was found. Knows neither socket nor document.

/** How much is told at once: of one room, which has a next page, and of all of them, which have none. */
export const FOUND_AT_ONCE = 20;
export const FOUND_MAX = 100;
const REFUSALS = new Set(["bad-query", "no-search", "busy", "unreadable"]);

export class Search {
  constructor() {
    this.query = "";
    this.roomid = "";
    this.found = [];
    this.more = false;
    this.asking = false;
    this.answered = false;
    this.trouble = "";
    // Answers that are still to come to what was asked for before: they come in order, and are of no interest.
    this.ahead = 0;
  }

  /** Search anew, in one room or, without one, in all that one is in; return lines to send. */
  begin(query, roomid = "") {
    const ahead = this.asking ? this.ahead + 1 : this.ahead;
    Object.assign(this, new Search(), { query: query.trim(), roomid, ahead, asking: true });
    return this.unanswered;
  }

  /** Ask for what is older than all that was found. */
  older() {
    if (this.asking || !this.more || !this.roomid) return [];
    this.asking = true;
    return this.unanswered;
  }

  /** What was asked for and is not answered. */
  get unanswered() {
    if (!this.asking) return [];
    const { query, roomid } = this;
    if (!roomid) return [{ type: "search", query, limit: FOUND_MAX }];
    const older = this.found.length ? { before: this.found.at(-1).index } : {};
    return [{ type: "search", query, roomid, limit: FOUND_AT_ONCE, ...older }];
  }

  /** Another connection: what was asked on the last one is not answered on this. */
  again() {
    this.ahead = 0;
    return this.unanswered;
  }

  received(line) {
    if (this.#passed()) return;
    Object.assign(this, { asking: false, answered: true, more: line.more });
    this.found.push(...line.messages);
  }

  /** Return whether it was this that was refused. */
  refused(line) {
    if (!(this.asking || this.ahead) || !REFUSALS.has(line.code)) return false;
    if (!this.#passed()) Object.assign(this, { asking: false, trouble: line.message });
    return true;
  }

  #passed() {
    if (!this.ahead) return !this.asking;
    this.ahead -= 1;
    return true;
  }
}

// What this person sees of the chat: rooms, messages, who is there, and what has not been confirmed yet.
// Takes the server's lines and the person's acts, returns the lines to send. Knows neither socket nor document.

import { Conversation, keyOf } from "./conversation.js";
import { Search } from "./search.js";

export const HALL = "MainHall";
/** Messages that come at once on entering a room, and with each page of history. */
export const PAGE = 50;
const SEEN_PRIVATE_MAX = 1000;

export class Chat {
  /** `makeId` returns a new id for a message, one that nobody else makes; `login` says who one is to the server. */
  constructor(makeId, login, kept = {}) {
    this.makeId = makeId;
    this.identity = kept.identity ?? "";
    this.session = kept.session ?? "";
    this.server = "";
    this.redundancy = "";
    this.news = "";
    this.trouble = "";
    this.rooms = [];
    this.search = new Search();
    this.login = login;
    this.conversations = new Map();
    // What was said here and is not seen to be in the archive: in order, until then.
    this.outbox = kept.outbox ?? [];
    this.seenPrivate = new Set();
    for (const one of kept.conversations ?? []) {
      const conversation = this.conversation(one.name, one.private);
      conversation.draft = one.draft ?? "";
      conversation.joined = one.joined ?? false;
      conversation.last = one.last ?? 0;
      conversation.unread = one.unread ?? 0;
      if (one.private) {
        conversation.messages = one.messages ?? [];
        conversation.messages.forEach((message) => this.seenPrivate.add(message.id));
      }
    }
    this.current = this.conversations.get(kept.current) ?? this.conversation(HALL, false);
    this.looking = true;
  }

  /** What has to survive a reload of the page. */
  kept() {
    const conversations = [...this.conversations.values()].map((one) => ({
      name: one.name,
      private: one.private,
      draft: one.draft,
      joined: one.joined,
      last: one.last,
      unread: one.unread,
      messages: one.private ? one.messages.slice(-200) : undefined,
    }));
    const outbox = this.outbox.filter((said) => said.state !== "kept");
    const { identity, session, login } = this;
    return { identity, session, current: this.current.key, conversations, outbox, login: login.kept() };
  }

  conversation(name, isPrivate) {
    const key = keyOf(name, isPrivate);
    if (!this.conversations.has(key)) this.conversations.set(key, new Conversation(name, isPrivate));
    return this.conversations.get(key);
  }

  room(name) {
    return this.conversation(name, false);
  }

  /** Everything to be listed, in order: rooms one is in, then people. */
  get listed() {
    const all = [...this.conversations.values()].filter((one) => one.private || one.joined || one === this.current);
    return all.sort((one, other) => one.private - other.private || one.name.localeCompare(other.name));
  }

  get unread() {
    return this.listed.reduce((sum, one) => sum + one.unread, 0);
  }

  /** What was said in a conversation and is not in its archive yet, as far as is known here. */
  waiting(conversation) {
    return this.outbox.filter((said) => keyOf(said.to, said.private) === conversation.key);
  }

  // What the person does; each returns lines to send

  hello() {
    const resume = [...this.conversations.values()]
      .filter((one) => one.joined && one.last > 0)
      .map((one) =>
        one.messages.length
          ? { roomid: one.name, from: one.last + 1, epoch: one.epoch }
          : { roomid: one.name, from: Math.max(1, one.last + 1 - PAGE) },
      );
    const hello = { type: "hello", version: 1, history: PAGE };
    const { credentials } = this.login;
    // A session goes on as whose it is: who comes with a password wants another one, in the same rooms.
    const session = credentials.password ? "" : this.session;
    if (credentials.account) Object.assign(hello, credentials);
    else if (this.identity && !/^guest\d+$/.test(this.identity)) hello.identity = this.identity;
    if (session) hello.session = session;
    if (resume.length && this.session) hello.resume = resume;
    return hello;
  }

  /** Say something in the current conversation. */
  say(content) {
    const { name, private: isPrivate } = this.current;
    this.current.draft = "";
    const said = { id: this.makeId(), to: name, private: isPrivate, content, state: "waiting", reason: "" };
    this.outbox.push(said);
    return [lineOf(said)];
  }

  /** Say again what was refused, or did not reach anybody; the server knows it by its id if it has it already. */
  sayAgain(id) {
    const said = this.outbox.find((one) => one.id === id);
    if (!said) return [];
    Object.assign(said, { state: "waiting", reason: "" });
    return [lineOf(said)];
  }

  /** Take back what was refused, to be changed. */
  takeBack(id) {
    const at = this.outbox.findIndex((one) => one.id === id);
    if (at < 0) return;
    const [said] = this.outbox.splice(at, 1);
    const conversation = this.conversation(said.to, said.private);
    conversation.draft = [said.content, conversation.draft].filter(Boolean).join("\n");
  }

  /** Look at a conversation; a room that one is not in is joined. */
  open(name, isPrivate) {
    const conversation = this.conversation(name, isPrivate);
    this.current = conversation;
    this.seen();
    return isPrivate || conversation.joined ? [] : [{ type: "join", roomid: name, stay: true, history: PAGE }];
  }

  /** What is shown has been seen. */
  seen() {
    if (this.looking) this.current.unread = 0;
  }

  /** Ask for what nobody tells without being asked. */
  refresh() {
    return [{ type: "list" }, { type: "status" }];
  }

  leave(name) {
    return [{ type: "leave", roomid: name }];
  }

  /** Put a private conversation away. */
  close(conversation) {
    this.conversations.delete(conversation.key);
    if (this.current === conversation) this.current = this.room(HALL);
  }

  /** Ask for what is older than all that is held of the current room. */
  older() {
    const room = this.current;
    if (room.private || !room.joined || room.asking || !room.more) return [];
    return this.#page(room, { before: room.first });
  }

  /** Ask for what is missing before a message of the current room. */
  between(index) {
    return this.current.asking ? [] : this.#page(this.current, { before: index });
  }

  /** Show a message that was found: have what is around it fetched, if it is not held. */
  seek({ roomid, index, id }) {
    const lines = this.open(roomid, false);
    const room = this.current;
    room.sought = { index, id };
    return [...lines, ...this.#around(room)];
  }

  #around(room) {
    if (!room.sought || room.asking || room.messages.some((one) => one.id === room.sought.id)) return [];
    return this.#page(room, { from: Math.max(1, room.sought.index - PAGE / 2) });
  }

  #page(room, where) {
    room.asking = where;
    return [{ type: "history", roomid: room.name, ...where, limit: PAGE }];
  }

  // What the server says; returns lines to send

  received(line) {
    const take = TAKES[line.type];
    return (take && take(this, line)) ?? [];
  }

  #each(act) {
    for (const one of this.conversations.values()) act(one);
  }

  welcomed(line) {
    Object.assign(this, { identity: line.identity, session: line.session, server: line.server, trouble: "" });
    this.redundancy = line.redundancy;
    this.#each((one) => (one.asking = false));
    this.login.welcomed(line);
    const unsaid = this.outbox.filter((said) => said.state === "waiting" || said.state === "sent");
    const around = this.current.joined ? this.#around(this.current) : [];
    return [...unsaid.map(lineOf), ...this.refresh(), ...this.search.again(), ...around];
  }

  renamed({ former, identity }) {
    if (former === "") this.identity = identity;
    if (former === "" || former === identity) return;
    if (former === this.identity) this.identity = identity;
    this.#each((one) => {
      if (one.members.delete(former)) one.members.add(identity);
      if (one.owner === former) one.owner = identity;
    });
    const talk = this.conversations.get(keyOf(former, true));
    if (talk && !this.conversations.has(keyOf(identity, true))) {
      this.conversations.delete(talk.key);
      talk.name = identity;
      this.conversations.set(talk.key, talk);
      for (const said of this.outbox) if (said.private && said.to === former) said.to = identity;
    }
  }

  moved({ identity, former, roomid }) {
    if (former === roomid) return [];
    const mine = identity === this.identity;
    if (former) {
      const room = this.room(former);
      room.members.delete(identity);
      if (mine) this.#left(room);
    }
    if (!roomid) return [];
    const room = this.room(roomid);
    room.members.add(identity);
    if (!mine) return [];
    room.joined = true;
    return [{ type: "who", roomid }];
  }

  #left(room) {
    room.joined = false;
    if (this.current === room) this.current = this.listed.find((one) => one.joined) ?? this.room(HALL);
    if (!room.draft) this.conversations.delete(room.key);
  }

  said(line) {
    const room = this.room(line.roomid);
    const mine = this.outbox.findIndex((said) => said.id === line.id);
    if (mine >= 0) this.outbox.splice(mine, 1);
    if (!room.messages.length) room.more = line.index > 1;
    const isNew = line.index > room.last;
    if (!room.insert(line)) return;
    if (isNew && line.identity !== this.identity && !(this.looking && this.current === room)) room.unread += 1;
    room.trim();
  }

  acknowledged(line) {
    const said = this.outbox.find((one) => one.id === line.id);
    if (!said) return;
    if (!said.private) {
      said.state = "kept";
    } else if (line.delivered > 0) {
      this.outbox.splice(this.outbox.indexOf(said), 1);
      this.#whispered(said.to, { id: said.id, identity: this.identity, content: said.content, time: Date.now() / 1000 });
    } else {
      Object.assign(said, { state: "refused", reason: `${said.to} is not there now` });
    }
  }

  #whispered(name, message) {
    const talk = this.conversation(name, true);
    talk.insert({ ...message, index: talk.last + 1, epoch: 0 });
    talk.trim();
    return talk;
  }

  whispered(line) {
    if (this.seenPrivate.has(line.id)) return;
    this.seenPrivate.add(line.id);
    if (this.seenPrivate.size > SEEN_PRIVATE_MAX) this.seenPrivate.delete(this.seenPrivate.values().next().value);
    const talk = this.#whispered(line.identity, line);
    if (!(this.looking && this.current === talk)) talk.unread += 1;
  }

  paged(line) {
    const room = this.room(line.roomid);
    const { before, from } = room.asking || { before: room.first };
    const wasFirst = room.first;
    room.asking = false;
    line.messages.forEach((message) => room.insert(message));
    const first = line.messages[0];
    if (from !== undefined) {
      if (room.first < wasFirst) room.more = room.first > 1;
      // Not there any more, or still not: it is not asked for for ever.
      if (room.sought && !line.messages.some((one) => one.id === room.sought.id)) room.sought = null;
    } else if (before === wasFirst) {
      room.more = line.more;
    } else if (!line.more) {
      // Nothing is kept of what would be before it.
      const found = first ?? room.messages.find((one) => one.index === before);
      if (found) found.from = 1;
    }
    return this.#around(room);
  }

  refused(line) {
    this.login.refused(line);
    if (this.search.refused(line)) return [];
    const said = line.code === "line-too-long" ? this.#longest() : this.outbox.find((one) => one.id === line.id);
    const room = this.conversations.get(keyOf(line.roomid, false));
    if (room) Object.assign(room, { asking: false, sought: null });
    if (room && line.code === "no-such-room") room.joined = false;
    if (!said) {
      this.trouble = line.message;
      return [];
    }
    if (line.code === "not-a-member" && !said.rejoined) {
      said.rejoined = true;
      return [{ type: "join", roomid: said.to, stay: true, history: PAGE }, lineOf(said)];
    }
    Object.assign(said, { state: "refused", reason: line.message });
    return [];
  }

  /** What the server has closed the connection for, which it would do again. */
  #longest() {
    return this.outbox.reduce((one, other) => (one && one.content.length >= other.content.length ? one : other), undefined);
  }

  rewound(line) {
    const room = this.room(line.roomid);
    room.messages = room.messages.filter((message) => message.index < line.index);
    room.last = line.index - 1;
    room.epoch = room.messages.at(-1)?.epoch ?? 0;
  }

  missing(line) {
    const room = this.room(line.roomid);
    if (line.to <= room.last) return;
    const why = line.reason === "deleted" ? "were deleted" : "are not kept any more";
    room.insert({ index: line.to, from: line.from, epoch: room.epoch, missing: `messages ${line.from} to ${line.to} ${why}` });
  }

  noticed(line) {
    if (line.code === "redundancy") {
      this.redundancy = line.content.split(":")[0];
    } else if (line.code === "session-unknown") {
      // Another session: it is in the rooms that were named on coming, and tells so.
      this.#each((one) => (one.joined = one.joined && one.last > 0));
    } else {
      this.news = line.content;
    }
  }
}

function lineOf(said) {
  const { id, content, to } = said;
  if (said.state === "waiting") said.state = "sent";
  return said.private ? { type: "private", to, content, id } : { type: "message", roomid: to, content, id };
}

const TAKES = {
  welcome: (chat, line) => chat.welcomed(line),
  newidentity: (chat, line) => chat.renamed(line),
  roomchange: (chat, line) => chat.moved(line),
  roomlist: (chat, line) => void (chat.rooms = line.rooms),
  roomcontents: (chat, line) => {
    const room = chat.room(line.roomid);
    room.members = new Set(line.identities);
    room.owner = line.owner;
    room.joined = room.members.has(chat.identity);
  },
  message: (chat, line) => chat.said(line),
  ack: (chat, line) => chat.acknowledged(line),
  private: (chat, line) => chat.whispered(line),
  history: (chat, line) => chat.paged(line),
  search: (chat, line) => void chat.search.received(line),
  error: (chat, line) => chat.refused(line),
  status: (chat, line) => void (chat.redundancy = line.redundancy),
  rewind: (chat, line) => chat.rewound(line),
  gap: (chat, line) => chat.missing(line),
  notice: (chat, line) => chat.noticed(line),
};

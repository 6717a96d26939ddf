// What is held of one room, or of what was said to and by one person.

/** Messages of one room that are held here; older ones are asked for again. */
export const MESSAGES_MAX = 2000;

/** One room, or one person to talk to in private (`private` is true). */
export class Conversation {
  constructor(name, isPrivate) {
    this.name = name;
    this.private = isPrivate;
    this.joined = false;
    this.messages = [];
    this.members = new Set();
    this.owner = "";
    this.unread = 0;
    this.draft = "";
    this.last = 0;
    this.epoch = 0;
    this.asking = false;
    this.more = false;
    // What is to be shown, and may not be held: the index, and the id, of a message.
    this.sought = null;
  }

  get key() {
    return keyOf(this.name, this.private);
  }

  get first() {
    return this.messages.length ? this.messages[0].index : this.last + 1;
  }

  /** Put a message in its place; return whether it is a new one. */
  insert(message) {
    let at = this.messages.length;
    while (at > 0 && this.messages[at - 1].index > message.index) at -= 1;
    if (at > 0 && this.messages[at - 1].index === message.index) return false;
    this.messages.splice(at, 0, message);
    if (message.index > this.last) {
      this.last = message.index;
      this.epoch = message.epoch;
    }
    return true;
  }

  /** Return messages in order, and what there is between those that do not follow each other, as `hole`s. */
  get items() {
    const items = [];
    let last = 0;
    for (const message of this.messages) {
      const first = message.from ?? message.index;
      if (last && first > last + 1 && !this.private) items.push({ hole: true, index: message.index, id: `hole ${last}` });
      items.push(message);
      last = message.index;
    }
    return items;
  }

  trim() {
    if (this.messages.length > MESSAGES_MAX) {
      this.messages.splice(0, this.messages.length - MESSAGES_MAX);
      this.more = true;
    }
  }
}

/** What a conversation is known by: a room and a person may have one name. */
export function keyOf(name, isPrivate) {
  return `${isPrivate ? "@" : "#"}${name}`;
}

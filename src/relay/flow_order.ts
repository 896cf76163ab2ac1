/**
 * Flows in the order in which they were heard of last. Those that their backend has answered stand
 * apart: when room is needed, strangers that nobody answers go first, the longest unheard of them.
 * But a part of all is always theirs: who comes anew is a stranger until the answer is there, and
 * would be pushed out by the next stranger where those that were answered had all the rest.
 */

/** One of so many. */
const STRANGERS_SHARE = 4;

/** What stands in an order; its links are the order's own. */
export interface Ordered {
  isAnswered: boolean;
  before: Ordered | undefined;
  after: Ordered | undefined;
}

class Row {
  count = 0;
  first: Ordered | undefined;
  #last: Ordered | undefined;

  append(item: Ordered): void {
    item.before = this.#last;
    item.after = undefined;
    if (this.#last === undefined) this.first = item;
    else this.#last.after = item;
    this.#last = item;
    this.count++;
  }

  remove(item: Ordered): void {
    if (item.before === undefined) this.first = item.after;
    else item.before.after = item.after;
    if (item.after === undefined) this.#last = item.before;
    else item.after.before = item.before;
    item.before = item.after = undefined;
    this.count--;
  }

  touch(item: Ordered): void {
    if (item === this.#last) return;
    this.remove(item);
    this.append(item);
  }
}

export class FlowOrder<F extends Ordered> {
  readonly #strangers = new Row();
  readonly #answered = new Row();

  /** The one that has to make room: nothing where there is none. */
  get next(): F | undefined {
    const [strangers, answered] = [this.#strangers, this.#answered];
    const areFew = STRANGERS_SHARE * strangers.count < strangers.count + answered.count;
    return (areFew ? answered.first : strangers.first) as F | undefined;
  }

  /** The longest unheard of one that nobody has answered. */
  get stranger(): F | undefined {
    return this.#strangers.first as F | undefined;
  }

  /** The longest unheard of one that was answered. */
  get answered(): F | undefined {
    return this.#answered.first as F | undefined;
  }

  add(flow: F): void {
    this.#rowOf(flow).append(flow);
  }

  /** It was heard of. */
  touch(flow: F): void {
    this.#rowOf(flow).touch(flow);
  }

  /** Its backend has answered. */
  answer(flow: F): void {
    if (flow.isAnswered) return this.touch(flow);
    this.#strangers.remove(flow);
    flow.isAnswered = true;
    this.#answered.append(flow);
  }

  remove(flow: F): void {
    this.#rowOf(flow).remove(flow);
  }

  #rowOf(flow: F): Row {
    return flow.isAnswered ? this.#answered : this.#strangers;
  }
}

// Virtual time: events run in order of their time, and of their making where times are equal.

interface Event {
  readonly time: number;
  readonly order: number;
  readonly run: () => void;
}

/** A scheduler whose milliseconds cost nothing. */
export class VirtualClock {
  now = 0;
  #events: Event[] = [];
  #order = 0;

  /** Runs something at a time, or at once when that has gone by. */
  at(time: number, run: () => void): void {
    const event = { time: Math.max(time, this.now), order: this.#order++, run };
    const heap = this.#events;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  after(delay: number, run: () => void): void {
    this.at(this.now + delay, run);
  }

  /** Runs events up to a time, or until there are none or `done` says so. */
  run(until: number, done: () => boolean = () => false): void {
    while (this.#events.length > 0 && this.#events[0]!.time <= until && !done()) {
      const event = this.#pop();
      this.now = event.time;
      event.run();
    }
    if (!done()) this.now = Math.max(this.now, until);
  }

  #pop(): Event {
    const heap = this.#events;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let i = 0;
    while (true) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}

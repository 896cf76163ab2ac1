/**
 * The synchronous loop of a data-plane worker: what is ready, what is due, what was put off to the
 * end of the round. No promises, nothing allocated in a round.
 */

import { Epoll, monotonicMs } from "../../ffi/loop.ts";
import type { Native } from "../../ffi/native.ts";

/** What the loop calls when a watched descriptor is ready. */
export interface Watcher {
  /** `events`: bits of EpollEvent. */
  ready(events: number): void;
}

/** Something that is due at a time; lives in the loop's heap while it is armed. */
export interface Timer {
  /** Set by the loop; NOT_ARMED: not in it. */
  heapIndex: number;
  /** Set by the loop: when it is due, in ms. */
  dueAt: number;
  /** Disarmed before it is called; may arm itself again. */
  fire(now: number): void;
}

/** For a new Timer's `heapIndex`. */
export const NOT_ARMED = -1;

/** Work for the end of the round: each at most once a round. */
export interface Task {
  /** Set by the loop. */
  isPosted: boolean;
  runTask(now: number): void;
}

const ROUND_WAIT_MAX_MS = 1000;

export class Loop {
  /** Monotonic ms at the start of the round. */
  now: number;
  /** When something was ready last. */
  readyAt = -Infinity;
  isStopping = false;
  readonly native: Native;
  readonly #epoll: Epoll;
  #watchers: (Watcher | undefined)[] = [];
  #freeTags: number[] = [];
  #heap: Timer[] = [];
  // Lists that keep their length: one that is emptied loses its memory, in every round.
  #tasks: (Task | undefined)[] = [];
  #running: (Task | undefined)[] = [];
  #taskCount = 0;

  /** Errors that nobody expected: what a watcher, timer or task threw, or gave to `fault`. */
  faults = 0;
  readonly #onError: (error: unknown) => void;

  /** `onError` hears of every fault; whatever else the loop serves goes on. */
  constructor(
    native: Native,
    onError: (error: unknown) => void = (error) => {
      throw error;
    },
  ) {
    this.native = native;
    this.#onError = onError;
    this.#epoll = new Epoll(native, 256);
    this.now = monotonicMs(native);
  }

  /** Watches a descriptor; the tag is for `change` and `unwatch`. */
  watch(fd: number, events: number, watcher: Watcher): number {
    const tag = this.#freeTags.pop() ?? this.#watchers.length;
    this.#epoll.add(fd, events, tag);
    this.#watchers[tag] = watcher;
    return tag;
  }

  change(tag: number, fd: number, events: number): void {
    this.#epoll.change(fd, events, tag);
  }

  /** Before the descriptor is closed. */
  unwatch(tag: number, fd: number): void {
    this.#epoll.remove(fd);
    this.#watchers[tag] = undefined;
    // Only for the next round: what is ready in this one may still carry the tag.
    this.#retired.push(tag);
  }
  readonly #retired: number[] = [];

  /** Arms a timer, or moves it. */
  arm(timer: Timer, at: number): void {
    if (timer.heapIndex !== NOT_ARMED) {
      if (timer.dueAt === at) return;
      const isLater = at > timer.dueAt;
      timer.dueAt = at;
      if (isLater) this.#sink(timer);
      else this.#rise(timer);
      return;
    }
    timer.dueAt = at;
    timer.heapIndex = this.#heap.length;
    this.#heap.push(timer);
    this.#rise(timer);
  }

  disarm(timer: Timer): void {
    const index = timer.heapIndex;
    if (index === NOT_ARMED) return;
    const last = this.#heap.pop()!;
    timer.heapIndex = NOT_ARMED;
    if (last === timer) return;
    this.#heap[index] = last;
    last.heapIndex = index;
    this.#rise(last);
    this.#sink(last);
  }

  /** Runs a task at the end of this round. */
  post(task: Task): void {
    if (task.isPosted) return;
    task.isPosted = true;
    this.#tasks[this.#taskCount++] = task;
  }

  /** Rounds until `isStopping`. */
  run(): void {
    while (!this.isStopping) this.round(ROUND_WAIT_MAX_MS);
  }

  /** One round, that waits at most so long for something to be ready. */
  round(maxWaitMs: number): void {
    const ready = this.#epoll.wait(this.#waitMs(maxWaitMs));
    this.now = monotonicMs(this.native);
    if (ready > 0) this.readyAt = this.now;
    for (let i = 0; i < ready; i++) {
      try {
        this.#watchers[this.#epoll.tag(i)]?.ready(this.#epoll.events(i));
      } catch (error) {
        this.fault(error);
      }
    }
    while (this.#heap.length > 0 && this.#heap[0]!.dueAt <= this.now) {
      const timer = this.#heap[0]!;
      this.disarm(timer);
      try {
        timer.fire(this.now);
      } catch (error) {
        this.fault(error);
      }
    }
    this.#runTasks();
    while (this.#retired.length > 0) this.#freeTags.push(this.#retired.pop()!);
  }

  /** For who catches an error to save the rest: it is counted, and told with its stack. */
  fault(error: unknown): void {
    this.faults++;
    this.#onError(error);
  }

  close(): void {
    this.#epoll.close();
  }

  #waitMs(maxWaitMs: number): number {
    if (this.#taskCount > 0) return 0;
    const first = this.#heap[0];
    if (first === undefined) return maxWaitMs;
    // Rounded up: a wait that ends too early only spins.
    return Math.max(0, Math.min(maxWaitMs, Math.ceil(first.dueAt - monotonicMs(this.native))));
  }

  #runTasks(): void {
    const tasks = this.#tasks;
    const count = this.#taskCount;
    this.#tasks = this.#running;
    this.#running = tasks;
    this.#taskCount = 0;
    for (let i = 0; i < count; i++) {
      const task = tasks[i]!;
      tasks[i] = undefined;
      task.isPosted = false;
      try {
        task.runTask(this.now);
      } catch (error) {
        this.fault(error);
      }
    }
  }

  #rise(timer: Timer): void {
    const heap = this.#heap;
    let i = timer.heapIndex;
    while (i > 0) {
      const parent = heap[(i - 1) >> 1]!;
      if (parent.dueAt <= timer.dueAt) break;
      heap[i] = parent;
      parent.heapIndex = i;
      i = (i - 1) >> 1;
    }
    heap[i] = timer;
    timer.heapIndex = i;
  }

  #sink(timer: Timer): void {
    const heap = this.#heap;
    let i = timer.heapIndex;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.dueAt < heap[child]!.dueAt) child++;
      if (heap[child]!.dueAt >= timer.dueAt) break;
      heap[i] = heap[child]!;
      heap[i]!.heapIndex = i;
      i = child;
    }
    heap[i] = timer;
    timer.heapIndex = i;
  }
}

/** What an error says of itself, with its stack where it has one. */
export function textOfError(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

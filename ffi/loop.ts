/**
 * What a data-plane thread waits on (epoll), what wakes it from another thread (eventfd), and its
 * clock.
 */

import { checked } from "./errors.ts";
import { Handle } from "./handle.ts";
import type { Native } from "./native.ts";

/** Event bits of epoll, from sys/epoll.h. */
export const EpollEvent = {
  in: 0x001,
  out: 0x004,
  error: 0x008,
  hangUp: 0x010,
  readHangUp: 0x2000,
  /** Only one of several threads that wait on the descriptor is woken. */
  exclusive: 1 << 28,
  /** Told once a change, until everything was read or written. */
  edgeTriggered: 0x8000_0000,
} as const;

/** Descriptors that one wait can report; more stay ready for the next. */
export const epollReadyMax = 256;

/**
 * Milliseconds of the machine's monotonic clock. Unlike performance.now(), which each thread counts
 * from its own start, it is the same for all threads and for BPF programs; and it costs less.
 */
export function monotonicMs(native: Native): number {
  return native.symbols.ph_now_ms();
}

/** Milliseconds since the machine started, those of its sleep among them. */
export function bootMs(native: Native): number {
  return native.symbols.ph_boot_ms();
}

/** Waits for descriptors. What is ready is read from `events(i)` and `tag(i)`. */
export class Epoll extends Handle {
  readonly #native: Native;
  readonly #fd: number;
  readonly #ready: Uint32Array<ArrayBuffer>;
  readonly #capacity: number;

  constructor(native: Native, capacity = 64) {
    super("epoll");
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > epollReadyMax) {
      throw new RangeError(
        `Cannot open epoll as 'capacity' must be 1 to ${epollReadyMax}: ` +
          `current value is ${capacity}`,
      );
    }
    this.#native = native;
    this.#capacity = capacity;
    this.#ready = new Uint32Array(2 * capacity);
    this.#fd = checked(native.symbols.ph_epoll_create(), "open epoll");
  }

  get fd(): number {
    this.assertOpen();
    return this.#fd;
  }

  /** Watches a descriptor; `tag` (32 bits) comes back in `tag(i)` when it is ready. */
  add(fd: number, events: number, tag: number): void {
    this.assertOpen();
    checked(
      this.#native.symbols.ph_epoll_add(this.#fd, fd, events >>> 0, tag),
      () => `add descriptor ${fd} to epoll`,
    );
  }

  change(fd: number, events: number, tag: number): void {
    this.assertOpen();
    checked(
      this.#native.symbols.ph_epoll_change(this.#fd, fd, events >>> 0, tag),
      () => `change descriptor ${fd} in epoll`,
    );
  }

  remove(fd: number): void {
    this.assertOpen();
    checked(
      this.#native.symbols.ph_epoll_remove(this.#fd, fd),
      () => `remove descriptor ${fd} from epoll`,
    );
  }

  /** Blocks this thread for at most timeoutMs (-1: for ever); how many descriptors are ready. */
  wait(timeoutMs: number): number {
    this.assertOpen();
    return checked(
      this.#native.symbols.ph_epoll_wait(this.#fd, this.#ready, this.#capacity, timeoutMs),
      "wait on epoll",
    );
  }

  /** What happened to the i-th ready descriptor: bits of EpollEvent. */
  events(i: number): number {
    return this.#ready[2 * i]!;
  }

  /** The tag of the i-th ready descriptor. */
  tag(i: number): number {
    return this.#ready[2 * i + 1]!;
  }

  protected release(): void {
    this.#native.symbols.ph_close(this.#fd);
  }
}

/** A flag that wakes whoever waits on its descriptor. It stays set until it is drained. */
export class EventFd extends Handle {
  readonly #native: Native;
  readonly #fd: number;
  readonly #owned: boolean;

  /** A new one; or, with `borrowed`, one that another thread owns and closes. */
  constructor(native: Native, borrowed?: number) {
    super("eventfd");
    this.#native = native;
    this.#owned = borrowed === undefined;
    this.#fd = borrowed ?? checked(native.symbols.ph_eventfd_create(), "open eventfd");
  }

  get fd(): number {
    this.assertOpen();
    return this.#fd;
  }

  signal(): void {
    this.assertOpen();
    checked(this.#native.symbols.ph_eventfd_signal(this.#fd), "signal eventfd");
  }

  /** Resets it; whether it had been signalled. */
  drain(): boolean {
    this.assertOpen();
    return checked(this.#native.symbols.ph_eventfd_drain(this.#fd), "drain eventfd") === 1;
  }

  protected release(): void {
    if (this.#owned) this.#native.symbols.ph_close(this.#fd);
  }
}

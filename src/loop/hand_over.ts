/**
 * Connections from worker to worker. One lands on whichever worker accepts it, and what comes by it
 * may be for a session of another: then that one gets the descriptor, which is good in all threads
 * of a process, and the bytes that were read by then. Messages alone go the same way.
 *
 *     for each worker: a ring in shared memory, a lock of those who give, an eventfd as its bell
 *     a message: descriptor u32, or ~0 | service u32 | peer (6 words, ffi/endpoint.ts) | bytes …
 *
 * A descriptor has one owner at any time: who gave it away has it no more, unless `give` said no.
 */

import { type Endpoint, endpointWords, readEndpoint, writeEndpoint } from "../../ffi/endpoint.ts";
import { EpollEvent, EventFd } from "../../ffi/loop.ts";
import { ringMemory, RingReader, RingWriter } from "../base/ring.ts";
import type { Loop, Watcher } from "./loop.ts";

/** The longest record that a carrier may have read, and a little more. */
export const HAND_OVER_BYTES_MAX = 68 << 10;
/** Of one ring; only what was used of it takes memory. */
const RING_BYTES = 256 << 10;
const HEAD_WORDS = 2 + endpointWords;
/** In place of a descriptor: a message alone. */
const NO_DESCRIPTOR = 0xffff_ffff;
const HEAD_BYTES = 4 * HEAD_WORDS;

/** How long a giver waits for others who give to the same worker, which takes them microseconds. */
const LOCK_WAIT_MS = 1;
const LOCK_TRIES = 10;
const FREE = 0;
const HELD = 1;

/** What all workers are given alike; lists are by receiver. */
export interface HandOverSpec {
  readonly rings: readonly SharedArrayBuffer[];
  /** A word each. */
  readonly locks: SharedArrayBuffer;
  /** Eventfds, which main owns. */
  readonly bells: readonly number[];
}

/** Memory for workers that have these bells. */
export function handOverSpec(bells: readonly number[]): HandOverSpec {
  const rings = bells.map(() => ringMemory(RING_BYTES));
  return { rings, locks: new SharedArrayBuffer(4 * bells.length), bells };
}

/** A connection that another worker accepted. */
export interface HandedOver {
  /** The receiver's from now on. */
  readonly fd: number;
  readonly peer: Endpoint;
  /** What was read of it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface HandOverReceiver {
  adopt(connection: HandedOver): void;
}

export class HandOverCounters {
  given = 0;
  taken = 0;
  /** The receiver did not keep up, there is none, or too many bytes were read. */
  refused = 0;
  /** Nobody here takes connections of that service: they were closed. */
  unclaimed = 0;
}

/** A worker's end. */
export class HandOver implements Watcher {
  readonly counters: HandOverCounters = new HandOverCounters();
  readonly #loop: Loop;
  readonly #index: number;
  readonly #bell: EventFd;
  readonly #bells: readonly EventFd[];
  readonly #writers: readonly RingWriter[];
  readonly #reader: RingReader;
  readonly #locks: Int32Array;
  readonly #receivers = new Map<number, HandOverReceiver>();
  readonly #listeners = new Map<number, (message: Uint8Array<ArrayBuffer>) => void>();
  readonly #tag: number;

  /** `index`: which of the workers this is. */
  constructor(loop: Loop, index: number, { rings, locks, bells }: HandOverSpec) {
    this.#loop = loop;
    this.#index = index;
    this.#bells = bells.map((fd) => new EventFd(loop.native, fd));
    this.#bell = this.#bells[index]!;
    this.#writers = rings.map((ring) => new RingWriter(ring));
    this.#reader = new RingReader(rings[index]!);
    this.#locks = new Int32Array(locks);
    this.#tag = loop.watch(this.#bell.fd, EpollEvent.in, this);
  }

  /** Takes connections of a service, by a number that all workers know it by. */
  serve(service: number, receiver: HandOverReceiver): void {
    this.#receivers.set(service, receiver);
  }

  /** Hears what the other workers tell in the name of a service. */
  hear(service: number, listener: (message: Uint8Array<ArrayBuffer>) => void): void {
    this.#listeners.set(service, listener);
  }

  /**
   * Tells another worker something, without a connection; whether it will hear it. Of the ring so
   * much stays free for what matters more.
   */
  tell(
    worker: number,
    service: number,
    message: Uint8Array<ArrayBuffer>,
    spareBytes = 0,
  ): boolean {
    const peer = new Uint32Array(endpointWords);
    return this.#give(worker, service, { fd: NO_DESCRIPTOR, peer, bytes: message }, spareBytes);
  }

  /**
   * Gives a connection to another worker: `fd` is that one's from now on. False: it could not be
   * given, and is still the caller's.
   */
  give(worker: number, service: number, { fd, peer, bytes }: HandedOver): boolean {
    const words = new Uint32Array(endpointWords);
    writeEndpoint(words, 0, peer);
    return this.#give(worker, service, { fd, peer: words, bytes }, 0);
  }

  #give(
    worker: number,
    service: number,
    { fd, peer, bytes }: { fd: number; peer: Uint32Array; bytes: Uint8Array<ArrayBuffer> },
    spareBytes: number,
  ): boolean {
    const message = new Uint8Array(HEAD_BYTES + bytes.length);
    const words = new Uint32Array(message.buffer, 0, HEAD_WORDS);
    words[0] = fd;
    words[1] = service;
    words.set(peer, 2);
    message.set(bytes, HEAD_BYTES);
    const mayBe = worker !== this.#index && bytes.length <= HAND_OVER_BYTES_MAX;
    if (!mayBe || !this.#write(worker, message, spareBytes)) {
      this.counters.refused++;
      return false;
    }
    this.counters.given++;
    this.#bells[worker]!.signal();
    return true;
  }

  /** A ring has one writer at a time. */
  #write(worker: number, message: Uint8Array, spareBytes: number): boolean {
    const writer = this.#writers[worker];
    if (writer === undefined || !this.#lock(worker)) return false;
    try {
      return writer.write(message, spareBytes);
    } finally {
      Atomics.store(this.#locks, worker, FREE);
      Atomics.notify(this.#locks, worker, 1);
    }
  }

  #lock(worker: number): boolean {
    for (let i = 0; i < LOCK_TRIES; i++) {
      if (Atomics.compareExchange(this.#locks, worker, FREE, HELD) === FREE) return true;
      Atomics.wait(this.#locks, worker, HELD, LOCK_WAIT_MS);
    }
    return false;
  }

  ready(): void {
    this.#bell.drain();
    const reader = this.#reader;
    for (let message = reader.read(); message !== undefined; message = reader.read()) {
      this.#take(message);
    }
  }

  #take(message: Uint8Array<ArrayBuffer>): void {
    const words = new Uint32Array(message.buffer, 0, HEAD_WORDS);
    const [fd, service] = [words[0]!, words[1]!];
    const receiver = this.#receivers.get(service);
    const listener = this.#listeners.get(service);
    const isConnection = fd !== NO_DESCRIPTOR;
    if ((isConnection ? receiver : listener) === undefined) {
      this.counters.unclaimed++;
      if (isConnection) this.#loop.native.symbols.ph_close(fd);
      return;
    }
    this.counters.taken++;
    const bytes = message.subarray(HEAD_BYTES);
    try {
      if (!isConnection) listener!(bytes);
      else receiver!.adopt({ fd, peer: readEndpoint(words, 2), bytes });
    } catch (error) {
      this.#loop.fault(error);
    }
  }

  /** Takes no more connections; closes those that were given and not taken. */
  close(): void {
    if (this.#bell.closed) return;
    this.#receivers.clear();
    this.#listeners.clear();
    this.ready();
    this.#loop.unwatch(this.#tag, this.#bell.fd);
    for (const bell of this.#bells) bell.close();
  }
}

/**
 * Packets of sessions that another worker has. The program in the kernel steers packets to their
 * owner; where there is none, the kernel spreads them by address, and a client whose port changed
 * reaches whichever worker that hits. That one hands them over, what came in one round together,
 * with their headers hidden again, and the owner takes them as if its own socket had.
 *
 *     a packet: route 12 × u32 | bytes u32 | bytes, padded to 4
 */

import { type Route, routeWords } from "../../../ffi/endpoint.ts";
import { DatagramInbox } from "../../../ffi/udp.ts";
import type { Loop, Task } from "../../loop/loop.ts";
import type { Carrier } from "../../transport/carrier.ts";
import type { Arrival } from "../arrival.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Guest } from "./guest.ts";
import type { Neighbours } from "./handed_over.ts";

/** Of one message, below what the ring between workers takes. */
const BATCH_BYTES = 60 << 10;
const PACKETS_MAX = 64;
const HEAD_WORDS = routeWords + 1;
const HEAD_BYTES = 4 * HEAD_WORDS;
const SPAN_WORDS = 4;

class Batch {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(BATCH_BYTES);
  readonly words: Uint32Array<ArrayBuffer> = new Uint32Array(this.bytes.buffer);
  /** Where each packet begins. */
  readonly offsets: Uint32Array<ArrayBuffer> = new Uint32Array(PACKETS_MAX);
  length = 0;
  packets = 0;

  hasRoom(bytes: number): boolean {
    return this.packets < PACKETS_MAX && this.length + HEAD_BYTES + bytes <= BATCH_BYTES - 3;
  }

  add(route: Route, arena: Uint8Array, at: number, length: number): void {
    this.words.set(route, this.length / 4);
    this.words[this.length / 4 + routeWords] = length;
    this.bytes.set(arena.subarray(at, at + length), this.length + HEAD_BYTES);
    this.offsets[this.packets++] = this.length + HEAD_BYTES;
    this.length += HEAD_BYTES + padded(length);
  }

  clear(): void {
    this.length = this.packets = 0;
  }
}

export class StrayCounters {
  /** Handed to the worker that has their session. */
  given = 0;
  taken = 0;
  /** The other worker did not keep up, or they are longer than any packet of ours. */
  dropped = 0;
}

export class Strays implements Task {
  isPosted = false;
  readonly counters: StrayCounters = new StrayCounters();
  readonly #loop: Loop;
  readonly #pump: PacketPump<Guest>;
  readonly #neighbours: Neighbours;
  readonly #batches = new Map<number, Batch>();

  private constructor(loop: Loop, pump: PacketPump<Guest>, neighbours: Neighbours) {
    this.#loop = loop;
    this.#pump = pump;
    this.#neighbours = neighbours;
  }

  /** None where there is one worker. */
  static between(
    loop: Loop,
    pump: PacketPump<Guest>,
    neighbours: Neighbours | undefined,
  ): Strays | undefined {
    return neighbours === undefined ? undefined : new Strays(loop, pump, neighbours);
  }

  /** A packet that is for another worker; it goes there at the end of the round. */
  give(owner: number, { route, arena, at, length }: Arrival): void {
    let batch = this.#batches.get(owner);
    if (batch === undefined) this.#batches.set(owner, batch = new Batch());
    if (!batch.hasRoom(length)) this.#tell(owner, batch);
    if (!batch.hasRoom(length)) {
      this.counters.dropped++;
      return;
    }
    batch.add(route, arena, at, length);
    this.#loop.post(this);
  }

  runTask(): void {
    for (const [owner, batch] of this.#batches) if (batch.packets > 0) this.#tell(owner, batch);
  }

  #tell(owner: number, batch: Batch): void {
    const message = batch.bytes.subarray(0, batch.length);
    this.#pump.clock.mask.remaskAt(batch.offsets, batch.packets, message);
    const isTaken = this.#neighbours.stray(owner, message);
    this.counters[isTaken ? "given" : "dropped"] += batch.packets;
    batch.clear();
  }

  /** What another worker has handed over, by `carrier`, whose routes they are. */
  take(message: Uint8Array<ArrayBuffer>, carrier: Carrier): void {
    const inbox = new DatagramInbox(message, PACKETS_MAX, PACKETS_MAX);
    const head = new Uint32Array(HEAD_WORDS);
    const headBytes = new Uint8Array(head.buffer);
    let count = 0;
    for (let at = 0; at + HEAD_BYTES <= message.length && count < PACKETS_MAX; count++) {
      headBytes.set(message.subarray(at, at + HEAD_BYTES));
      const length = head[routeWords]!;
      inbox.messages.set(head.subarray(0, routeWords), count * routeWords);
      inbox.spans.set([at + HEAD_BYTES, length, count, 0], count * SPAN_WORDS);
      at += HEAD_BYTES + padded(length);
    }
    inbox.count = count;
    this.counters.taken += count;
    this.#pump.take(carrier, inbox, count);
  }
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

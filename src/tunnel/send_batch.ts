/**
 * Packets on their way out: built one behind the other in one arena, sealed and masked in a batch,
 * and sent with as few entries as can be. What one path of a session sends in a row, all of one
 * size but for the last, is one entry, which the kernel cuts (GSO).
 */

import { AeadBatch, type AeadTable } from "../../ffi/aead.ts";
import type { Route } from "../../ffi/endpoint.ts";
import type { PacketMask } from "../../ffi/mask.ts";
import { udpBatchMax, udpFragment, udpGsoMax, UdpOutbox, udpPayloadMax } from "../../ffi/udp.ts";
import type { Budget } from "../session/byte_ring.ts";
import { DATA_OVERHEAD, HEADER_BYTES } from "../wire/limits.ts";
import { dataKind, writeHeader } from "../wire/packet.ts";
import type { Outlet } from "../transport/udp.ts";
import type { Peer } from "./peer.ts";

/** Packets sealed in one call: their bytes stay in the cache between building and sending. */
const PACKETS = 256;
/** Room for any packet that a path of today takes. */
export const PACKET_ROOM = 1500;

/** What became of packets. */
export class SendCounters {
  packets = 0;
  bytes = 0;
  /** The kernel refused them: no route, too long, no buffer. */
  refused = 0;
  /** How often the socket's buffer was full. */
  blocked = 0;
}

export class SendBatch {
  /**
   * The memory of the streams' buffers, of which a part is ours: copies inside one array make no
   * garbage.
   */
  readonly arena: Uint8Array<ArrayBuffer>;
  readonly counters: SendCounters = new SendCounters();
  /** Sealed packets wait for the socket to be writable. */
  isBlocked = false;
  /** Nothing more may be added before it is sent: a key is about to change. */
  isComplete = false;
  readonly #table: AeadTable;
  readonly #mask: PacketMask;
  readonly #seals = new AeadBatch(PACKETS);
  readonly #outbox: UdpOutbox;
  readonly #begin: number;
  readonly #end: number;
  #at: number;
  // The entry that is being laid out.
  #runRoute: Route | undefined;
  #runAt = 0;
  #runSegment = 0;
  #runCount = 0;
  /** It ends with a packet shorter than the others. */
  #runEnds = false;
  /** It is one packet, which IP may fragment. */
  #runIsLarge = false;

  /** Takes its memory out of the budget, for good. */
  constructor(table: AeadTable, mask: PacketMask, budget: Budget) {
    this.#table = table;
    this.#mask = mask;
    const bytes = PACKETS * PACKET_ROOM;
    this.#begin = budget.take(bytes);
    if (this.#begin < 0) {
      throw new RangeError(
        `Cannot send packets as buffers must have at least ${bytes} bytes: ` +
          `current value is ${budget.max}`,
      );
    }
    this.arena = budget.memory;
    this.#outbox = new UdpOutbox(this.arena);
    this.#at = this.#begin;
    this.#end = this.#begin + bytes;
  }

  get isEmpty(): boolean {
    return this.#seals.count === 0;
  }

  get hasRoom(): boolean {
    return !this.isComplete && this.#seals.count < PACKETS &&
      this.#outbox.count < udpBatchMax - 1 &&
      this.#at + PACKET_ROOM <= this.#end;
  }

  /** Whether a packet with so much text fits as well. */
  hasRoomFor(textBytes: number): boolean {
    return this.#at + textBytes + DATA_OVERHEAD <= this.#end;
  }

  /** Where the next packet's text is to be written; at most PACKET_ROOM − DATA_OVERHEAD bytes. */
  get textAt(): number {
    return this.#at + HEADER_BYTES;
  }

  /** Adds the packet that the link's session has built at `textAt`. */
  add(link: Peer, textBytes: number): void {
    const at = this.#at;
    const { session } = link;
    const keys = link.sendKeys!;
    const number = session.builtNumber;
    writeHeader(this.arena, at, link.peerId, dataKind(keys.phase), number);
    this.#seals.add(keys.keyId, number, at, HEADER_BYTES, at + HEADER_BYTES, textBytes);
    const length = textBytes + DATA_OVERHEAD;
    this.#at = at + length;
    this.counters.packets++;
    this.counters.bytes += length;
    const route = link.routes[session.builtPath]!;
    const isLarge = session.builtIsLarge;
    const joins = route === this.#runRoute && !this.#runEnds && !isLarge &&
      length <= this.#runSegment &&
      this.#runCount < udpGsoMax && this.#at - this.#runAt <= udpPayloadMax;
    if (!joins) {
      this.#endRun(at);
      this.#runRoute = route;
      this.#runAt = at;
      this.#runSegment = length;
      this.#runCount = 0;
      this.#runEnds = this.#runIsLarge = isLarge;
    }
    this.#runCount++;
    if (length < this.#runSegment) this.#runEnds = true;
  }

  /** Seals, masks and sends all that was added. */
  send(outlet: Outlet): void {
    this.#endRun(this.#at);
    const sealed = this.#table.seal(this.#seals, this.arena);
    // What was not sealed is readable: it must not leave, and nothing could be relied on any more.
    if (sealed !== this.#seals.count) {
      throw new Error(`Cannot seal packets: ${this.#seals.count - sealed} had no key`);
    }
    this.#mask.maskSealed(this.#seals, this.arena);
    this.resume(outlet);
  }

  /** Sends what is sealed already; not all of it: `isBlocked`. */
  resume(outlet: Outlet): void {
    const outbox = this.#outbox;
    const sent = outlet.send(outbox);
    for (let i = 0; i < sent; i++) if (outbox.result(i) !== 0) this.counters.refused++;
    this.isBlocked = sent < outbox.count;
    if (this.isBlocked) {
      this.counters.blocked++;
      outbox.drop(sent);
    } else this.discard();
  }

  /** Forgets everything: the socket has gone, and packets may be lost. */
  discard(): void {
    this.#outbox.clear();
    this.#seals.clear();
    this.#at = this.#begin;
    this.#runRoute = undefined;
    this.isBlocked = this.isComplete = false;
  }

  #endRun(end: number): void {
    if (this.#runRoute === undefined) return;
    const segment = this.#runIsLarge ? udpFragment : this.#runCount > 1 ? this.#runSegment : 0;
    this.#outbox.add(this.#runRoute, this.#runAt, end - this.#runAt, segment);
    this.#runRoute = undefined;
  }
}

/**
 * Packets on their way out: built one behind the other in one arena, sealed and masked in a batch,
 * and sent with as few entries as can be. What one path of a session sends in a row, all of one
 * size but for the last, is one entry, which the kernel cuts (GSO). The entries of a batch stand in
 * the outbox of their carrier.
 *
 * A carrier that does not take all keeps the region that its packets lie in, and the others go on
 * in another one: there are as many as carriers.
 */

import { AeadBatch, type AeadTable } from "../../ffi/aead.ts";
import type { Route } from "../../ffi/endpoint.ts";
import type { PacketMask } from "../../ffi/mask.ts";
import { udpBatchMax, udpFragment, udpGsoMax, udpPayloadMax } from "../../ffi/udp.ts";
import type { Budget } from "../session/byte_ring.ts";
import { DATA_OVERHEAD, HEADER_BYTES } from "../wire/limits.ts";
import { dataKind, writeHeader } from "../wire/packet.ts";
import type { Lane, Lanes, Region } from "./lanes.ts";
import type { Peer } from "./peer.ts";

/** Packets sealed in one call: their bytes stay in the cache between building and sending. */
const PACKETS = 256;
/** Room for any packet of a carrier of datagrams. */
export const PACKET_ROOM = 1500;
const REGION_BYTES = PACKETS * PACKET_ROOM;

/** What became of packets. */
export class SendCounters {
  packets = 0;
  bytes = 0;
  /** The carrier refused them: no route, too long, no buffer. */
  refused = 0;
  /** How often a carrier did not take all. */
  blocked = 0;
}

export class SendBatch<P extends Peer> {
  readonly counters: SendCounters = new SendCounters();
  /** Nothing more may be added before it is sent: a key is about to change. */
  isComplete = false;
  /** Bytes that a packet may have: those of the carrier with the largest. */
  room: number = PACKET_ROOM;
  readonly #table: AeadTable;
  readonly #mask: PacketMask;
  readonly #budget: Budget;
  readonly #lanes: Lanes<P>;
  readonly #fault: (error: unknown) => void;
  readonly #seals = new AeadBatch(PACKETS);
  readonly #regions: Region[] = [];
  /** Where packets are added now; undefined: packets that carriers did not take fill all. */
  #region: Region | undefined;
  #at = 0;
  #end = 0;
  #entries = 0;
  // The entry that is being laid out.
  #runRoute: Route | undefined;
  #runAt = 0;
  #runSegment = 0;
  #runCount = 0;
  /** It ends with a packet shorter than the others. */
  #runEnds = false;
  /** It is one packet, which IP may fragment. */
  #runIsLarge = false;

  constructor(
    table: AeadTable,
    mask: PacketMask,
    budget: Budget,
    lanes: Lanes<P>,
    fault: (error: unknown) => void,
  ) {
    this.#table = table;
    this.#mask = mask;
    this.#budget = budget;
    this.#lanes = lanes;
    this.#fault = fault;
    this.#addRegion();
  }

  /**
   * The memory of the streams' buffers, of which a part is ours: copies inside one array make no
   * garbage.
   */
  get arena(): Uint8Array<ArrayBuffer> {
    return this.#budget.memory;
  }

  /** There is another lane: room for its packets. Takes memory out of the budget, for good. */
  addLane(lane: Lane<P>): void {
    if (this.#regions.length < this.#lanes.all.length) this.#addRegion();
    this.room = Math.max(this.room, lane.carrier.mtu.max);
  }

  #addRegion(): void {
    const begin = this.#budget.take(REGION_BYTES);
    if (begin < 0) {
      throw new RangeError(
        `Cannot send packets as buffers must have at least ${REGION_BYTES} bytes a carrier: ` +
          `current value is ${this.#budget.max}`,
      );
    }
    this.#regions.push({ begin, end: begin + REGION_BYTES, holders: 0 });
    if (this.#region === undefined) this.#nextRegion();
  }

  /** Sealed packets wait for carriers, and there is no room for others. */
  get isBlocked(): boolean {
    return this.#region === undefined;
  }

  get isEmpty(): boolean {
    return this.#seals.count === 0;
  }

  get hasRoom(): boolean {
    return !this.isComplete && this.#seals.count < PACKETS && this.#entries < udpBatchMax - 1 &&
      this.#at + this.room <= this.#end;
  }

  /** Whether a packet with so much text fits as well. */
  hasRoomFor(textBytes: number): boolean {
    return this.#at + textBytes + DATA_OVERHEAD <= this.#end;
  }

  /** Where the next packet's text is to be written; at most `room` − DATA_OVERHEAD bytes. */
  get textAt(): number {
    return this.#at + HEADER_BYTES;
  }

  /** Adds the packet that the peer's session has built at `textAt`. */
  add(peer: P, textBytes: number): void {
    const at = this.#at;
    const { session } = peer;
    const keys = peer.keys!.send;
    const number = session.builtNumber;
    writeHeader(this.arena, at, peer.peerId, dataKind(keys.phase), number);
    this.#seals.add(keys.keyId, number, at, HEADER_BYTES, at + HEADER_BYTES, textBytes);
    const length = textBytes + DATA_OVERHEAD;
    this.#at = at + length;
    this.counters.packets++;
    this.counters.bytes += length;
    const route = peer.routes[session.builtPath]!;
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

  #endRun(end: number): void {
    if (this.#runRoute === undefined) return;
    const segment = this.#runIsLarge ? udpFragment : this.#runCount > 1 ? this.#runSegment : 0;
    const lane = this.#lanes.of(this.#runRoute);
    if (lane === undefined) this.counters.refused++;
    else lane.data.add(this.#runRoute, this.#runAt, end - this.#runAt, segment);
    this.#entries++;
    this.#runRoute = undefined;
  }

  /** Seals, masks and sends all that was added. */
  send(): void {
    this.#endRun(this.#at);
    const sealed = this.#table.seal(this.#seals, this.arena);
    // What was not sealed is readable: it must not leave, and nothing could be relied on any more.
    if (sealed !== this.#seals.count) {
      throw new Error(`Cannot seal packets: ${this.#seals.count - sealed} had no key`);
    }
    this.#mask.maskSealed(this.#seals, this.arena);
    for (const lane of this.#lanes.all) {
      if (lane.data.count > 0 && lane.region === undefined) this.#offer(lane);
    }
    this.#seals.clear();
    this.isComplete = false;
    this.#entries = 0;
    this.#nextRegion();
  }

  /** A carrier takes packets again: sends those that wait; whether it took all. */
  resume(lane: Lane<P>): boolean {
    if (lane.region === undefined) return true;
    this.#offer(lane);
    if (this.#region === undefined) this.#nextRegion();
    return lane.region === undefined;
  }

  /** Forgets what waits for a carrier, which has gone: packets may be lost. */
  discard(lane: Lane<P>): void {
    lane.data.clear();
    this.#letGo(lane);
    if (this.#region === undefined) this.#nextRegion();
  }

  #offer(lane: Lane<P>): void {
    const { carrier, data } = lane;
    try {
      const dealt = carrier.send(data);
      for (let i = 0; i < dealt; i++) if (data.result(i) !== 0) this.counters.refused++;
      if (dealt < data.count) {
        this.counters.blocked++;
        data.drop(dealt);
        return this.#keep(lane);
      }
    } catch (error) {
      this.counters.refused += data.count;
      this.#fault(error);
    }
    data.clear();
    this.#letGo(lane);
  }

  /** The lane's packets stay where they are. */
  #keep(lane: Lane<P>): void {
    if (lane.region !== undefined) return;
    lane.region = this.#region!;
    lane.region.holders++;
  }

  #letGo(lane: Lane<P>): void {
    if (lane.region === undefined) return;
    lane.region.holders--;
    lane.region = undefined;
  }

  /** Begins a batch, in a region that no lane has packets in. */
  #nextRegion(): void {
    if (this.#region === undefined || this.#region.holders > 0) {
      this.#region = this.#regions.find(({ holders }) => holders === 0);
    }
    this.#at = this.#region?.begin ?? 0;
    this.#end = this.#region?.end ?? 0;
  }
}

/**
 * A session: streams and datagrams over any number of paths, for client and server alike.
 *
 * Pure: it is given opened plaintext and the time, and writes plaintext to be sealed; sockets,
 * keys and clocks are the driver's. `receive` and `build` take apart and put together packets in
 * the driver's memory and allocate nothing for each.
 *
 *     receive → PacketInput → StreamInput  ┐             ┌ StreamOutput  ← PacketOutput ← build
 *                           → events       ├→ Streams  ←─┤ MessageOutput ←
 *                 write, finish, reset, …  ┘             └ (ACKs, path frames)
 *
 * Paths are in SessionPaths, how it ends in SessionLife.
 */

import type { NumberCell } from "../base/number_field.ts";
import type { CongestionController } from "../reliability/congestion/controller.ts";
import type { PathMtu } from "../reliability/pmtu.ts";
import { ReceivedNumbers } from "../reliability/received.ts";
import { Recovery, type RecoverySink } from "../reliability/recovery.ts";
import type { TokenBucket } from "../reliability/token_bucket.ts";
import { CloseCode, FrameType, RstCode } from "../wire/frames.ts";
import { DATA_OVERHEAD } from "../wire/limits.ts";
import { SessionCounters } from "./counters.ts";
import type { Events, Options } from "./events.ts";
import { SessionLife } from "./life.ts";
import { SHRINK_IDLE_MS, SILENT_TIMEOUTS } from "./limits.ts";
import { MessageOutput } from "./message_output.ts";
import { PacketInput } from "./packet_input.ts";
import { PacketOutput } from "./packet_output.ts";
import { NO_PATH, type SessionPath, SessionPaths } from "./paths.ts";
import type { ShareGroup } from "./share.ts";
import { Streams } from "./streams.ts";

export { SessionCounters };
export type SessionEvents = Events<Session>;
export type SessionOptions = Options<Session>;

export class Session implements RecoverySink {
  readonly counters: SessionCounters = new SessionCounters();
  readonly recovery: Recovery;
  /** The number that its driver knows it by. */
  tag: number | undefined;
  readonly #options: SessionOptions;
  readonly #streams: Streams<Session>;
  readonly #messages: MessageOutput;
  readonly #paths: SessionPaths;
  readonly #received: ReceivedNumbers;
  readonly #life: SessionLife<Session>;
  readonly #input: PacketInput<Session>;
  readonly #output: PacketOutput<Session>;
  #shrunkAt: number;
  /** A path that recovery has just found dead. */
  #died = NO_PATH;

  constructor(now: number, options: SessionOptions) {
    const { events, budget, records, isClient, keepAliveMs } = options;
    this.#options = options;
    const recovery = this.recovery = new Recovery(this, records, options);
    const received = this.#received = new ReceivedNumbers();
    const paths = this.#paths = new SessionPaths(isClient);
    const streams = this.#streams = new Streams<Session>(this, events, this.counters, budget);
    const messages = this.#messages = new MessageOutput(this.counters);
    const life = this.#life = new SessionLife(now, streams, messages, recovery, received);
    const shared = { streams, paths, recovery, received, life };
    const output = this.#output = new PacketOutput({ ...shared, messages, keepAliveMs });
    this.#input = new PacketInput({ ...shared, options, output });
    this.#shrunkAt = now;
    streams.now = now;
  }

  get isOpen(): boolean {
    return this.#life.isOpen;
  }

  /** Nothing will be sent or received any more: the driver forgets the session. */
  get isDone(): boolean {
    return this.#life.isDone;
  }

  get streamCount(): number {
    return this.#streams.table.count;
  }

  /** Whether a stream has bytes that wait to be sent. Looks at each: not for every packet. */
  get hasStreamBytes(): boolean {
    return this.#streams.table.hasBytes;
  }

  /** Bytes that its streams hold of the memory that all sessions share. */
  get memoryBytes(): number {
    return this.#streams.table.share?.held ?? 0;
  }

  /** The sessions that it shares with, of its user; to be set before it has a stream. */
  get shareGroup(): ShareGroup | undefined {
    return this.#streams.table.group;
  }

  set shareGroup(group: ShareGroup | undefined) {
    this.#streams.table.group = group;
  }

  /** Gives up streams that hold so much of it together. */
  relieveMemory(now: number, bytes: number): void {
    this.#streams.now = now;
    this.#streams.relieve(bytes);
  }

  get closeCode(): number {
    return this.#life.closeCode;
  }

  /** The path that carries data, or -1. */
  get activePath(): number {
    return this.#paths.active;
  }

  /** Largest packet that the peer takes, and that is sent. */
  get packetBytesMax(): number {
    return this.#output.packetBytesMax;
  }

  set packetBytesMax(bytes: number) {
    this.#output.packetBytesMax = bytes;
  }

  /**
   * Limits what is read of the peer, whatever it is told or claims: data of streams waits, and with
   * it their windows; datagrams are dropped.
   */
  limitReading(limit: TokenBucket | undefined): void {
    this.#streams.readLimit = limit;
  }

  // ---- paths ----

  /** Adds a path; its index, or -1 when there are too many. The first becomes the active one. */
  addPath(isProven: boolean, controller: CongestionController, pmtu: PathMtu): number {
    const index = this.#paths.freeIndex;
    if (index === NO_PATH || this.isDone) return NO_PATH;
    this.#paths.add(this.recovery.addPath(index, controller, pmtu), isProven);
    this.#output.unstall();
    return index;
  }

  removePath(index: number): void {
    if (this.#paths.at(index) === undefined) return;
    const wasActive = index === this.activePath;
    this.recovery.removePath(index);
    this.#paths.remove(index);
    if (wasActive) this.#paths.activate(this.#paths.best(index));
  }

  pathState(index: number): SessionPath | undefined {
    return this.#paths.at(index);
  }

  /** Nothing is to be sent by a path while its carrier takes nothing. */
  holdPath(index: number, isHeld: boolean): void {
    const path = this.#paths.at(index);
    if (path !== undefined) path.isHeld = isHeld;
  }

  /** Asks the peer to prove that it is there. */
  challenge(now: number, index: number): void {
    this.#paths.at(index)?.challengeAnew(now, this.#options.random);
  }

  /** The client's choice: data goes this way from now on. */
  activate(index: number): void {
    this.#paths.activate(index);
    this.#output.unstall();
  }

  /** Measures a path: the PONG comes as an event. The id 0 is the session's own. */
  ping(index: number, high: number, low: number): void {
    this.#paths.at(index)?.ping(high, low);
  }

  /** Bytes of packets that came, and that were sent. */
  get receivedBytes(): number {
    return this.#paths.receivedBytes;
  }

  get sentBytes(): number {
    return this.#paths.sentBytes;
  }

  // ---- streams ----

  /**
   * Opens a stream to an address (as on the wire, copied); its id, or -1: there are too many, or
   * this is no client.
   */
  openStream(address: Uint8Array): number {
    return this.#options.isClient ? this.#streams.open(address) : -1;
  }

  /** Answers the client's stream with an OpenedCode; anything but ok also ends it. */
  answer(id: number, code: number, address: Uint8Array): void {
    if (!this.#options.isClient) this.#streams.answer(id, code, address);
  }

  /**
   * Takes bytes to be sent; how many. After less than `length`, `writable` tells of room. Bytes
   * that lie in the budget's memory are copied without garbage.
   */
  write(id: number, bytes: Uint8Array, at: number, length: number): number {
    return this.#streams.write(id, bytes, at, length);
  }

  /** Room that `write` has for a stream now, the budget aside. */
  room(id: number): number {
    const stream = this.#streams.table.get(id);
    return stream === undefined || stream.isReset ? 0 : stream.send.room;
  }

  /** Nothing more will be written. */
  finish(id: number): void {
    this.#streams.finish(id);
  }

  /** Gives a stream up, both ways. */
  reset(id: number, code: number = RstCode.cancelled): void {
    this.#streams.reset(id, code);
  }

  /** The reader can take data again. */
  resume(id: number): void {
    this.#streams.resume(id);
  }

  /**
   * Of a session that is over: whether the peer acknowledged nothing of a stream of ours, so that
   * it may be opened again elsewhere.
   */
  wasUnheard(id: number): boolean {
    return this.#streams.unheard.has(id);
  }

  // ---- datagrams ----

  /**
   * Queues a datagram. False: there is no room, or it is longer than any packet can carry
   * (counted). One that is longer than the path's packets goes alone in a larger one.
   */
  sendDatagram(
    assoc: number,
    address: Uint8Array,
    addressAt: number,
    addressLength: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    // Of a session that ends nothing is short enough.
    const most = this.isOpen ? this.packetBytesMax - DATA_OVERHEAD : 0;
    const messages = this.#messages;
    return messages.send(most, assoc, address, addressAt, addressLength, bytes, at, length);
  }

  endAssoc(assoc: number): void {
    if (this.isOpen) this.#messages.endAssoc(assoc);
  }

  /** Tells the peer this side's line in kbit/s, 0: not stated. */
  sayRates(upKbps: number, downKbps: number): void {
    if (this.isOpen) this.#messages.sayRates(upKbps, downKbps);
  }

  /** Room that `build` has to be given for a datagram larger than the path's packets; or 0. */
  get largeBytes(): number {
    return this.#output.largeBytes;
  }

  // ---- packets ----

  /**
   * Takes the plaintext of a packet that opened and is not a repetition. False: it broke a rule
   * and the session is closing, or it was a CLOSE.
   */
  receive(
    now: number,
    pathIndex: number,
    number: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    wireBytes: number,
  ): boolean {
    this.#streams.now = now;
    return this.#input.receive(now, pathIndex, number, bytes, at, length, wireBytes);
  }

  /** The 0-RTT frames of a HELLO: they have no number and are never acknowledged. */
  receiveEarly(now: number, bytes: Uint8Array, at: number, length: number): boolean {
    this.#streams.now = now;
    return this.#input.receiveEarly(now, bytes, at, length);
  }

  /**
   * Writes the plaintext of the next packet at `at`, at most `room` bytes of it; its length, or 0:
   * nothing may be sent now. `builtNumber` and `builtPath` belong into its header.
   */
  build(now: number, bytes: Uint8Array, at: number, room: number): number {
    this.#streams.now = now;
    return this.#output.build(now, bytes, at, room);
  }

  /** Of the packet that build() wrote last. */
  get builtNumber(): number {
    return this.#output.builtNumber;
  }

  get builtPath(): number {
    return this.#output.builtPath;
  }

  /** It is larger than the path's packets: IP has to be let fragment it. */
  get builtIsLarge(): boolean {
    return this.#output.builtIsLarge;
  }

  // ---- what recovery says ----

  acked(kind: number, id: number, offset: NumberCell, length: number): void {
    if (kind === FrameType.ack) this.#received.onAckAcked(offset[0]!);
    else if (isOfStream(kind)) this.#streams.acked(kind, id, offset, length);
  }

  lost(kind: number, id: number, offset: NumberCell, length: number): void {
    if (!this.isOpen) return;
    if (isOfStream(kind)) this.#streams.lost(kind, id, offset, length);
    else if (kind === FrameType.maxData) this.#streams.owesMaxData = true;
    else if (kind === FrameType.pathStatus) this.#paths.statusLost(offset[0]!);
    else if (kind === FrameType.ping) this.#paths.at(id)?.pingLost(offset[0]!, length);
    else this.#messages.lost(kind, id);
  }

  pathDead(index: number): void {
    this.#died = index;
  }

  // ---- time ----

  /** When onTimeout() and then build() are to be called at the latest; Infinity: never. */
  nextTimeout(): number {
    const life = this.#life;
    const { now } = this.#streams;
    if (life.isClosing) return life.owesClose ? now : life.closeAt;
    if (life.isDone) return Infinity;
    return Math.min(
      life.lastHeard + this.#options.idleMs,
      this.recovery.nextTimeout(),
      this.#streams.nextTimeout(),
      this.#shrinkAt(),
      this.#output.nextSend(now),
    );
  }

  onTimeout(now: number): void {
    this.#streams.now = now;
    const life = this.#life;
    if (life.isDone) return;
    if (life.isClosing) {
      if (now >= life.closeAt) life.finish(life.closeCode, true);
      return;
    }
    if (now >= life.lastHeard + this.#options.idleMs) return life.finish(CloseCode.idle, true);
    this.#output.onTimeout(now);
    if (this.#shrinkAt() <= now) this.#shrink(now);
    this.recovery.onTimeout(now);
    if (this.#isUnanswered) this.#streams.setSilent(true);
    this.#output.leaveSilentPaths();
    if (this.#died !== NO_PATH) this.#buryPath();
    this.#streams.onTimeout(now);
    if (this.#streams.failure !== 0) life.fail(this.#streams.failure);
  }

  /**
   * Data goes another way, if there is one. A client without any has lost its peer; the server
   * waits, since the client may yet come by another path.
   */
  #buryPath(): void {
    const died = this.#died;
    this.#died = NO_PATH;
    if (died === this.activePath) {
      const best = this.#paths.best(died);
      if (best !== NO_PATH) this.activate(best);
      else if (this.#options.isClient) return this.#life.finish(CloseCode.idle, true);
    }
    this.#options.events.pathDied?.(this, died);
  }

  /** Probes by no path were answered for some time. */
  get #isUnanswered(): boolean {
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i)?.recovery;
      if (path !== undefined && path.ptoCount < SILENT_TIMEOUTS) return false;
    }
    return true;
  }

  /** When it counts as idle, where it has anything to give back then. */
  #shrinkAt(): number {
    if (this.recovery.slots === 0 && !this.#messages.hasMemory) return Infinity;
    const { lastHeard, lastSent } = this.#life;
    return Math.max(lastHeard, lastSent, this.#shrunkAt) + SHRINK_IDLE_MS;
  }

  /** What could not go yet is asked for again later. */
  #shrink(now: number): void {
    this.#shrunkAt = now;
    this.recovery.shrink(now);
    this.#messages.shrink();
    this.#streams.shrink();
  }

  // ---- the end ----

  /** Ends the session with a word to the peer. */
  close(now: number, code: number = CloseCode.done): void {
    this.#streams.now = now;
    this.#life.fail(code);
  }
}

function isOfStream(kind: number): boolean {
  return kind === FrameType.stream || kind === FrameType.fin || kind === FrameType.open ||
    kind === FrameType.opened || kind === FrameType.rst || kind === FrameType.maxStream;
}

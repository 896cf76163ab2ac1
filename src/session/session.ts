/**
 * A session: streams and datagrams over any number of paths, for client and server alike.
 *
 * Pure: it is given opened plaintext and the time, and writes plaintext to be sealed; sockets,
 * keys and clocks are the driver's. `receive` and `build` take apart and put together packets in
 * the driver's memory and allocate nothing for each.
 */

import { PacketKind as SentKind, Recovery, type RecoverySink } from "../reliability/recovery.ts";
import { ReceiveWindow, SendCredit } from "../reliability/flow.ts";
import type { FrameRecords } from "../reliability/frame_records.ts";
import type { CongestionController } from "../reliability/congestion/controller.ts";
import type { Path } from "../reliability/path.ts";
import type { PathMtu } from "../reliability/pmtu.ts";
import { ACK_LIST_LENGTH, ReceivedNumbers } from "../reliability/received.ts";
import { Writer } from "../wire/cursor.ts";
import * as frames from "../wire/frames.ts";
import {
  AckRanges,
  CloseCode,
  FrameReader,
  FRAMES_BAD,
  FRAMES_END,
  FrameType,
  isAckEliciting,
  OpenedCode,
  RstCode,
} from "../wire/frames.ts";
import { ACK_RANGES_MAX, DATA_OVERHEAD, SESSION_WINDOW_BYTES } from "../wire/limits.ts";
import type { Budget } from "./byte_ring.ts";
import { DatagramQueue } from "./datagram_queue.ts";
import * as limits from "./limits.ts";
import { SessionPath } from "./paths.ts";
import { Pending, type Stream } from "./stream.ts";
import { StreamTable } from "./stream_table.ts";

/**
 * What a session tells its driver. Called from receive() and onTimeout(): they may open, write,
 * finish and reset streams, but not build().
 */
export interface SessionEvents {
  /** The peer opened a stream; `answer` it. Data may follow at once. */
  opened(session: Session, stream: number, bytes: Uint8Array, at: number, length: number): void;
  /** The peer's answer to our stream: an OpenedCode. */
  answered(session: Session, stream: number, code: number): void;
  /** Data in order; how much was taken. After less than `length` comes no more before `resume`. */
  data(
    session: Session,
    stream: number,
    bytes: Uint8Array<ArrayBufferLike>,
    at: number,
    length: number,
  ): number;
  /** The peer has finished; all data was taken. */
  ended(session: Session, stream: number): void;
  /** The peer gave the stream up. */
  wasReset(session: Session, stream: number, code: number): void;
  /** A write that was cut short has room again. */
  writable(session: Session, stream: number): void;
  /** Both halves are over; the id means nothing any more. */
  gone(session: Session, stream: number): void;
  datagram(
    session: Session,
    assoc: number,
    bytes: Uint8Array<ArrayBufferLike>,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void;
  assocEnded(session: Session, assoc: number): void;
  pong(session: Session, path: number, high: number, low: number): void;
  pathProven(session: Session, path: number): void;
  /** The end: by the peer, by close(), by silence. `isLocal`: it was not the peer. */
  closed(session: Session, code: number, isLocal: boolean): void;
}

export interface SessionOptions {
  readonly isClient: boolean;
  readonly events: SessionEvents;
  /** Of all sessions of a worker. */
  readonly budget: Budget;
  readonly records: FrameRecords;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
  readonly maxRetries: number;
  /** Nothing received for so long ends the session. */
  readonly idleMs: number;
  /** Our own sign of life, where streams are open; Infinity: none. */
  readonly keepAliveMs: number;
}

/** Counted when a limit was hit or a peer misbehaved. */
export class SessionCounters {
  streamsRefused = 0;
  datagramsDropped = 0;
  datagramsTooLong = 0;
  framesRefused = 0;
  packetsBuilt = 0;
  packetsReceived = 0;
}

const State = { open: 0, closing: 1, done: 2 } as const;
const NO_PATH = -1;
const TWO_32 = 0x1_0000_0000;
/** Less room than this is filled with PADDING, so that packets of a burst have one size for GSO. */
const FILL_BYTES = 24;
const FORGET_RESET_MS = 10_000;

export class Session implements RecoverySink {
  readonly counters: SessionCounters = new SessionCounters();
  readonly recovery: Recovery;
  /** What the driver hangs on the session. */
  tag: unknown;
  /** Of the packet that build() wrote last. */
  builtNumber = 0;
  builtPath = NO_PATH;
  /** The path that carries data. */
  activePath = NO_PATH;
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #streams: StreamTable;
  readonly #datagrams = new DatagramQueue(limits.DATAGRAM_QUEUE_BYTES);
  readonly #received = new ReceivedNumbers();
  readonly #paths: (SessionPath | undefined)[] = [];
  readonly #credit = new SendCredit(SESSION_WINDOW_BYTES);
  readonly #window = new ReceiveWindow(SESSION_WINDOW_BYTES, limits.SESSION_WINDOW_MAX);
  readonly #endedAssocs: number[] = [];
  readonly #resets: Stream[] = [];
  #owesMaxData = false;
  #nextStream = 0;
  #statusSequence = 0;
  #statusHeard = -1;
  #state: number = State.open;
  #closeCode: number = CloseCode.done;
  #closesLeft = 0;
  #closeAt = Infinity;
  #lastHeard: number;
  #lastSent: number;
  #now = 0;
  #refused = false;

  constructor(now: number, options: SessionOptions) {
    this.#options = options;
    this.#events = options.events;
    this.#streams = new StreamTable(options.budget);
    this.recovery = new Recovery(this, options.records, options);
    this.#lastHeard = this.#lastSent = this.#now = now;
  }

  get isOpen(): boolean {
    return this.#state === State.open;
  }

  /** Nothing will be sent or received any more: the driver forgets the session. */
  get isDone(): boolean {
    return this.#state === State.done;
  }

  get streamCount(): number {
    return this.#streams.count;
  }

  get closeCode(): number {
    return this.#closeCode;
  }

  // ---- paths ----

  /** Adds a path; its index, or -1 when there are too many. The first becomes the active one. */
  addPath(isProven: boolean, controller: CongestionController, pmtu: PathMtu): number {
    let index = 0;
    while (this.#paths[index] !== undefined) index++;
    if (index >= PATHS) return NO_PATH;
    this.recovery.addPath(index, controller, pmtu);
    this.#paths[index] = new SessionPath(index, isProven);
    if (this.activePath === NO_PATH) this.activePath = index;
    return index;
  }

  removePath(index: number): void {
    if (this.#paths[index] === undefined) return;
    this.recovery.removePath(index);
    this.#paths[index] = undefined;
    if (this.activePath === index) this.activePath = this.#bestPath();
  }

  pathState(index: number): SessionPath | undefined {
    return this.#paths[index];
  }

  /** Asks the peer to prove that it is there. */
  challenge(now: number, index: number): void {
    const { random } = this.#options;
    this.#paths[index]?.challenge(now, random() * TWO_32 >>> 0, random() * TWO_32 >>> 0);
  }

  /** The client's choice: data goes this way from now on. */
  activate(index: number): void {
    const path = this.#paths[index];
    if (path === undefined) return;
    this.activePath = index;
    this.#statusSequence++;
    for (const other of this.#paths) if (other !== undefined) other.owesStatus = false;
    path.owesStatus = true;
  }

  /** Measures a path: the PONG comes as an event. */
  ping(index: number, high: number, low: number): void {
    const path = this.#paths[index];
    if (path === undefined) return;
    path.owesPing = true;
    path.pingHigh = high;
    path.pingLow = low;
  }

  #bestPath(): number {
    let best = NO_PATH;
    for (const path of this.#paths) {
      if (path === undefined || this.recovery.path(path.index)?.dead) continue;
      if (best === NO_PATH || (path.isProven && !this.#paths[best]!.isProven)) best = path.index;
    }
    return best;
  }

  // ---- streams ----

  /** Opens a stream to an address (as on the wire, copied); its id, or -1: too many. */
  openStream(address: Uint8Array): number {
    if (!this.isOpen || this.#streams.isFull) {
      this.counters.streamsRefused++;
      return -1;
    }
    const stream = this.#streams.add(this.#nextStream++);
    stream.isOpen = true;
    stream.kindOrCode = frames.StreamKind.tcp;
    stream.address = Uint8Array.from(address);
    this.#owe(stream, Pending.open);
    return stream.id;
  }

  /** Answers the peer's stream with an OpenedCode; anything but ok also ends it. */
  answer(id: number, code: number, address: Uint8Array): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.isReset) return;
    stream.kindOrCode = code;
    stream.address = Uint8Array.from(address);
    this.#owe(stream, Pending.opened);
    if (code !== OpenedCode.ok) this.#end(stream);
  }

  /** Takes bytes to be sent; how many. After less than `length`, `writable` tells of room. */
  write(id: number, bytes: Uint8Array, at: number, length: number): number {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.isReset) return 0;
    const taken = stream.send.write(bytes, at, length);
    if (taken < length) stream.writerWaits = true;
    if (taken > 0) this.#streams.wake(stream);
    return taken;
  }

  /** Room that `write` has for a stream now. */
  room(id: number): number {
    const stream = this.#streams.get(id);
    return stream === undefined || stream.isReset ? 0 : stream.send.room;
  }

  /** Nothing more will be written. */
  finish(id: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.isReset) return;
    stream.send.finish();
    this.#streams.wake(stream);
  }

  /** Gives a stream up, both ways. */
  reset(id: number, code: number = RstCode.cancelled): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.isReset) return;
    stream.rstCode = code;
    stream.rstSettled = false;
    this.#end(stream);
    this.#owe(stream, Pending.rst);
  }

  /** The reader can take data again. */
  resume(id: number): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined && !stream.isReset) this.#deliverHeld(stream);
  }

  #owe(stream: Stream, frame: number): void {
    stream.pending |= frame;
    this.#streams.wake(stream);
  }

  /** Both halves are over; what is left to say is RST and the final size. */
  #end(stream: Stream): void {
    stream.isReset = true;
    stream.endTold = true;
    stream.forgetAt = this.#now + FORGET_RESET_MS;
    stream.pending &= ~Pending.maxStream;
    this.#resets.push(stream);
    stream.receive.release();
    this.#consume(stream, stream.window.held);
    stream.send.abandon();
    this.#streams.wake(stream);
  }

  #removeIfGone(stream: Stream): void {
    if (!stream.isGone) return;
    this.#remove(stream);
  }

  #remove(stream: Stream): void {
    if (this.#streams.get(stream.id) !== stream) return;
    if (!this.#streams.remove(stream)) this.#fail(CloseCode.overLimit);
    this.#events.gone(this, stream.id);
  }

  // ---- datagrams ----

  /**
   * Queues a datagram. False: there is no room, or it is longer than a packet can carry (counted).
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
    const size = frames.datagramFrameBytes(assoc, addressLength, length);
    if (!this.isOpen || size > this.#datagramRoom()) {
      this.counters.datagramsTooLong++;
      return false;
    }
    const slot = this.#datagrams.reserve(size);
    if (slot < 0) {
      this.counters.datagramsDropped++;
      return false;
    }
    writer.reset(this.#datagrams.memory, slot, slot + size);
    frames.writeDatagram(writer, assoc, address, addressAt, addressLength, bytes, at, length);
    this.#datagrams.commit(size);
    return true;
  }

  endAssoc(assoc: number): void {
    this.#endedAssocs.push(assoc);
  }

  #datagramRoom(): number {
    const path = this.recovery.path(this.activePath);
    return path === undefined ? 0 : path.packetBytes - DATA_OVERHEAD;
  }

  // ---- the end ----

  /** Ends the session with a word to the peer. */
  close(now: number, code: number = CloseCode.done): void {
    this.#now = now;
    this.#fail(code);
  }

  #fail(code: number): void {
    if (this.#state !== State.open) return;
    this.#state = State.closing;
    this.#closeCode = code;
    this.#closesLeft = limits.CLOSE_REPEATS_MAX;
    this.#closeAt = this.#now + limits.CLOSE_DRAIN_MS;
    this.#owesClose = true;
    this.#freeStreams();
    this.#events.closed(this, code, true);
  }

  #finishNow(code: number, isLocal: boolean): void {
    const wasOpen = this.#state === State.open;
    this.#state = State.done;
    this.#freeStreams();
    this.recovery.close();
    if (!wasOpen) return;
    this.#closeCode = code;
    this.#events.closed(this, code, isLocal);
  }

  #freeStreams(): void {
    for (const stream of this.#streams.values()) {
      stream.receive.release();
      stream.send.abandon();
    }
  }
  #owesClose = false;

  // ---- receiving ----

  /**
   * Takes the plaintext of a packet that opened and is not a repetition. False: it broke a rule
   * and the session is closing.
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
    this.#now = now;
    const path = this.#paths[pathIndex];
    if (path === undefined) return true;
    path.receivedBytes += wireBytes;
    this.#lastHeard = now;
    this.counters.packetsReceived++;
    if (this.#state !== State.open) return this.#receiveClosing();
    const isHighest = number > this.#received.largest;
    this.#refused = false;
    const eliciting = this.#receiveFrames(path, bytes, at, length);
    if (this.#state !== State.open) return false;
    // A frame found no room: the packet counts as lost, so that the peer says it again.
    if (!this.#refused) this.#received.insert(now, number, eliciting);
    if (isHighest) this.#followPeer(now, path);
    return true;
  }

  /** The 0-RTT frames of a HELLO: they have no number and are never acknowledged. */
  receiveEarly(now: number, bytes: Uint8Array, at: number, length: number): boolean {
    this.#now = now;
    const path = this.#paths[this.activePath];
    if (path === undefined) return true;
    this.#receiveFrames(path, bytes, at, length);
    return this.isOpen;
  }

  #receiveClosing(): boolean {
    if (this.#state === State.closing && this.#closesLeft > 0) this.#owesClose = true;
    return false;
  }

  /** Without a word from the client the server answers where its newest packet came from. */
  #followPeer(now: number, path: SessionPath): void {
    if (path.index === this.activePath) return;
    if (!path.isProven) {
      if (path.challengesLeft === 0 && path.challengeAt === Infinity) {
        this.challenge(now, path.index);
      }
    } else if (!this.#options.isClient && this.#statusHeard < 0) this.activePath = path.index;
  }

  /** Whether the packet asks for an acknowledgement. */
  #receiveFrames(path: SessionPath, bytes: Uint8Array, at: number, length: number): boolean {
    let eliciting = false;
    reader.reset(bytes, at, length);
    for (;;) {
      const type = reader.next();
      if (type === FRAMES_END) return eliciting;
      if (type === FRAMES_BAD) {
        this.#fail(reader.error);
        return eliciting;
      }
      if (isAckEliciting(type)) eliciting = true;
      if (type === FrameType.stream) this.#onStream();
      else if (type === FrameType.ack) this.#onAck();
      else if (type === FrameType.datagram) this.#onDatagram();
      else if (type !== FrameType.padding) this.#onOther(type, path);
      if (this.#state !== State.open) return eliciting;
    }
  }

  #onOther(type: number, path: SessionPath): void {
    switch (type) {
      case FrameType.open:
        return this.#onOpen();
      case FrameType.opened:
        return this.#onOpened();
      case FrameType.fin:
        return this.#onFin();
      case FrameType.rst:
        return this.#onRst();
      case FrameType.maxData:
        if (this.#credit.raise(reader.max)) this.#streams.isStalled = false;
        return;
      case FrameType.maxStream:
        return this.#onMaxStream();
      case FrameType.assocEnd:
        return this.#events.assocEnded(this, reader.assoc);
      case FrameType.close:
        return this.#finishNow(reader.code, false);
      default:
        return this.#onPathFrame(type, path);
    }
  }

  #onPathFrame(type: number, path: SessionPath): void {
    const { echoHigh, echoLow } = reader;
    switch (type) {
      case FrameType.ping:
        path.owesPong = true;
        path.pongHigh = echoHigh;
        path.pongLow = echoLow;
        return;
      case FrameType.pong:
        return this.#events.pong(this, path.index, echoHigh, echoLow);
      case FrameType.pathChallenge:
        path.owesResponse = true;
        path.responseHigh = echoHigh;
        path.responseLow = echoLow;
        return;
      case FrameType.pathResponse:
        // The answer may come by another path than the question went: the value tells which.
        for (const other of this.#paths) {
          if (other?.answers(echoHigh, echoLow)) this.#events.pathProven(this, other.index);
        }
        return;
      case FrameType.pathStatus:
        if (reader.sequence <= this.#statusHeard) return;
        this.#statusHeard = reader.sequence;
        if (reader.isActive) this.activePath = path.index;
    }
  }

  /** The stream a frame speaks of; undefined when it is over, or can't be ours. */
  #streamOf(id: number): Stream | undefined {
    const stream = this.#streams.get(id);
    if (stream !== undefined) return stream;
    if (this.#streams.isClosed(id)) return undefined;
    if (this.#options.isClient) {
      // Only we open streams.
      if (id >= this.#nextStream) this.#fail(CloseCode.streamState);
      return undefined;
    }
    if (this.#streams.isFull) {
      this.counters.streamsRefused++;
      this.#refused = true;
      return undefined;
    }
    return this.#streams.add(id);
  }

  #onOpen(): void {
    if (this.#options.isClient) return this.#fail(CloseCode.streamState);
    const stream = this.#streamOf(reader.stream);
    if (stream === undefined || stream.isOpen) return;
    stream.isOpen = true;
    const { bytes, addressAt, addressLength } = reader;
    // The reader is used again by nothing that the event may do: build() is not allowed there.
    this.#events.opened(this, stream.id, bytes, addressAt, addressLength);
    if (stream.receive.readable > 0) this.#deliverHeld(stream);
  }

  #onOpened(): void {
    const stream = this.#streamOf(reader.stream);
    if (stream === undefined || stream.isAnswered) return;
    stream.isAnswered = true;
    const { code } = reader;
    if (code !== OpenedCode.ok && !stream.isReset) this.#end(stream);
    this.#events.answered(this, stream.id, code);
    this.#removeIfGone(stream);
  }

  #onStream(): void {
    const stream = this.#streamOf(reader.stream);
    if (stream === undefined) return;
    const { offset, length, dataAt } = reader;
    const fresh = stream.window.receive(offset + length);
    if (fresh < 0 || !stream.receive.admits(offset + length) || !this.#window.receiveMore(fresh)) {
      return this.#fail(CloseCode.flowControl);
    }
    if (stream.isReset) return this.#consume(stream, fresh);
    if (!stream.isOpen || !stream.receive.isNext(offset)) {
      if (!stream.receive.keep(offset, reader.bytes, dataAt, length)) {
        this.counters.framesRefused++;
        this.#refused = true;
        return;
      }
      if (stream.isOpen) this.#deliverHeld(stream);
      return;
    }
    const { bytes } = reader;
    const taken = this.#events.data(this, stream.id, bytes, dataAt, length);
    stream.receive.advance(taken);
    this.#consume(stream, taken);
    if (taken < length && !stream.isReset) {
      if (!stream.receive.keep(offset + taken, bytes, dataAt + taken, length - taken)) {
        this.counters.framesRefused++;
        this.#refused = true;
      }
    } else this.#tellEnd(stream);
  }

  /** Offers the reader what waits for it. */
  #deliverHeld(stream: Stream): void {
    const { receive } = stream;
    while (!stream.isReset && receive.readable > 0) {
      const length = receive.contiguous;
      const taken = this.#events.data(this, stream.id, receive.memory, receive.index, length);
      if (stream.isReset) return;
      receive.consume(taken);
      this.#consume(stream, taken);
      if (taken < length) return;
    }
    this.#tellEnd(stream);
  }

  #tellEnd(stream: Stream): void {
    if (stream.isReset || stream.endTold || !stream.isOpen || !stream.receive.isDone) return;
    stream.endTold = true;
    this.#events.ended(this, stream.id);
    this.#removeIfGone(stream);
  }

  /** Bytes have left us: the windows move on. */
  #consume(stream: Stream, bytes: number): void {
    if (bytes === 0) return;
    stream.window.consume(bytes);
    this.#window.consume(bytes);
    if (this.#window.updateDue) this.#owesMaxData = true;
    if (stream.isReset || stream.receive.final !== Infinity) return;
    if (stream.window.updateDue) this.#owe(stream, Pending.maxStream);
  }

  #onFin(): void {
    const stream = this.#streamOf(reader.stream);
    if (stream === undefined) return;
    const fresh = stream.window.receive(reader.final);
    if (fresh < 0 || !stream.receive.finish(reader.final) || !this.#window.receiveMore(fresh)) {
      return this.#fail(CloseCode.flowControl);
    }
    if (stream.isReset) {
      this.#consume(stream, fresh);
      this.#removeIfGone(stream);
    } else this.#tellEnd(stream);
  }

  #onRst(): void {
    const stream = this.#streamOf(reader.stream);
    if (stream === undefined || stream.isReset) return;
    const { code } = reader;
    this.#end(stream);
    this.#events.wasReset(this, stream.id, code);
  }

  #onMaxStream(): void {
    const stream = this.#streamOf(reader.stream);
    if (stream === undefined || reader.max <= stream.send.limit) return;
    stream.send.limit = reader.max;
    if (stream.send.hasWork) this.#streams.wake(stream);
  }

  #onDatagram(): void {
    const { assoc, bytes, addressAt, addressLength, dataAt, length } = reader;
    this.#events.datagram(this, assoc, bytes, addressAt, addressLength, dataAt, length);
  }

  #onAck(): void {
    const { ranges, delayUs } = reader;
    for (let i = 0; i < ranges.count; i++) {
      ackPairs[2 * i] = ranges.smallest(i);
      ackPairs[2 * i + 1] = ranges.largest(i);
    }
    if (!this.recovery.onAck(this.#now, ackPairs, ranges.count, delayUs / 1000)) {
      this.#fail(CloseCode.badFrame);
    }
  }

  // ---- what recovery says ----

  acked(kind: number, id: number, offset: number, length: number): void {
    if (kind === FrameType.ack) return this.#received.onAckAcked(offset);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (kind === FrameType.stream) {
      stream.send.acked(offset, length);
      if (stream.writerWaits && stream.send.room > 0 && !stream.isReset) {
        stream.writerWaits = false;
        this.#events.writable(this, id);
      }
    } else if (kind === FrameType.fin) stream.send.finAcked();
    else if (kind === FrameType.rst) stream.rstSettled = true;
    else return;
    this.#removeIfGone(stream);
  }

  lost(kind: number, id: number, offset: number, length: number): void {
    if (kind === FrameType.maxData) this.#owesMaxData = true;
    else if (kind === FrameType.assocEnd) this.#endedAssocs.push(id);
    else if (kind === FrameType.pathStatus) this.#lostStatus(offset);
    else if (kind === FrameType.ping) this.ping(id, offset, length);
    const stream = isOfStream(kind) ? this.#streams.get(id) : undefined;
    if (stream === undefined) return;
    if (kind === FrameType.stream) {
      if (!stream.isReset) stream.send.lost(offset, length);
    } else if (kind === FrameType.fin) stream.send.finLost();
    else if (kind === FrameType.open) stream.pending |= Pending.open;
    else if (kind === FrameType.opened) stream.pending |= Pending.opened;
    else if (kind === FrameType.rst) stream.pending |= stream.rstSettled ? 0 : Pending.rst;
    else if (!stream.isReset) stream.pending |= Pending.maxStream;
    if (stream.hasWork) this.#streams.wake(stream);
  }

  #lostStatus(sequence: number): void {
    const path = this.#paths[this.activePath];
    if (path !== undefined && sequence === this.#statusSequence) path.owesStatus = true;
  }

  pathDead(index: number): void {
    if (index !== this.activePath) return;
    const best = this.#bestPath();
    if (best !== NO_PATH && best !== index) this.activate(best);
    else this.#deadAt = this.#now;
  }
  /** Since when no path answers. */
  #deadAt = Infinity;

  // ---- sending ----

  /**
   * Writes the plaintext of the next packet at `at`, at most `room` bytes of it; its length, or 0:
   * nothing may be sent now. `builtNumber` and `builtPath` belong into its header.
   */
  build(now: number, bytes: Uint8Array, at: number, room: number): number {
    this.#now = now;
    if (this.#state !== State.open) return this.#buildClose(now, bytes, at, room);
    for (let i = 0; i < this.#paths.length; i++) {
      const path = this.#paths[i];
      if (path === undefined || path.index === this.activePath || !path.owesNow(now)) continue;
      const length = this.#buildOn(now, path, bytes, at, room);
      if (length > 0) return length;
    }
    const active = this.#paths[this.activePath];
    return active === undefined ? 0 : this.#buildOn(now, active, bytes, at, room);
  }

  #buildOn(now: number, path: SessionPath, bytes: Uint8Array, at: number, room: number): number {
    const way = this.recovery.path(path.index)!;
    const probe = this.#mtuProbe(now, path, way, room);
    const most = Math.min(room, (probe > 0 ? probe : way.packetBytes) - DATA_OVERHEAD);
    if (most + DATA_OVERHEAD > path.allowance) return 0;
    writer.reset(bytes, at, at + most);
    const isActive = path.index === this.activePath;
    const maySend = way.canSend(now) && this.recovery.hasRoom();
    const hasData = isActive && maySend && probe === 0 && this.#hasData();
    let eliciting = false;
    if (isActive && (this.#received.ackDue(now) || (hasData && this.#received.ackWaiting))) {
      this.#writeAck(now);
    }
    if (path.owesNow(now)) eliciting = this.#writePathFrames(now, path) || eliciting;
    if (hasData) eliciting = this.#writeData(now, way) || eliciting;
    if (probe > 0) {
      frames.writePing(writer, 0, 0);
      frames.writePadding(writer, writer.room);
      eliciting = true;
    } else if (!eliciting && isActive && (way.probes > 0 || this.#wantsPing(now))) {
      eliciting = frames.writePing(writer, 0, 0);
    }
    const length = writer.at - at;
    if (length === 0) {
      if (maySend && isActive) way.onAppLimited();
      this.recovery.discard();
      return 0;
    }
    return this.#sent(now, path, length, probe > 0 ? SentKind.mtuProbe : Number(eliciting));
  }

  #sent(now: number, path: SessionPath, length: number, kind: number): number {
    const wireBytes = length + DATA_OVERHEAD;
    this.builtNumber = this.recovery.onSent(now, path.index, wireBytes, kind);
    this.builtPath = path.index;
    path.sentBytes += wireBytes;
    this.#lastSent = now;
    this.counters.packetsBuilt++;
    return length;
  }

  /** The size of a path MTU probe to send now, or 0. Only where data flows: it is for data. */
  #mtuProbe(now: number, path: SessionPath, way: Path, room: number): number {
    if (!path.isProven || way.packetsInFlight === 0 || !way.canSend(now)) return 0;
    const size = way.pmtu.probe(now);
    return size > 0 && size - DATA_OVERHEAD <= room && this.recovery.hasRoom() ? size : 0;
  }

  #hasData(): boolean {
    return this.#owesMaxData || this.#endedAssocs.length > 0 || this.#datagrams.count > 0 ||
      (this.#streams.waiting > 0 && !this.#streams.isStalled);
  }

  #wantsPing(now: number): boolean {
    return this.#received.wantsPing() ||
      (this.#streams.count > 0 && now >= this.#pingAt());
  }

  /** When our own sign of life is due. */
  #pingAt(): number {
    if (this.#streams.count === 0) return Infinity;
    return Math.max(this.#lastHeard, this.#lastSent) + this.#options.keepAliveMs;
  }

  #writeAck(now: number): void {
    const count = this.#received.fill(ackPairs);
    ackRanges.clear();
    for (let i = 0; i < count; i++) ackRanges.add(ackPairs[2 * i + 1]!, ackPairs[2 * i]!);
    const delayUs = Math.round(this.#received.ackDelay(now) * 1000);
    const fitting = frames.ackRangesThatFit(ackRanges, delayUs, writer.room);
    if (fitting === 0 || !frames.writeAck(writer, ackRanges, fitting, delayUs)) return;
    this.recovery.record(FrameType.ack, 0, ackRanges.largest(0), 0);
    this.#received.onAckSent(false);
  }

  #writePathFrames(now: number, path: SessionPath): boolean {
    const before = writer.at;
    if (path.owesResponse) {
      path.owesResponse = !frames.writePathResponse(writer, path.responseHigh, path.responseLow);
    }
    if (path.owesPong) path.owesPong = !frames.writePong(writer, path.pongHigh, path.pongLow);
    if (path.owesPing) {
      path.owesPing = !(frames.writePing(writer, path.pingHigh, path.pingLow) &&
        this.recovery.record(FrameType.ping, path.index, path.pingHigh, path.pingLow));
    }
    if (path.owesStatus && frames.writePathStatus(writer, this.#statusSequence, true)) {
      path.owesStatus = false;
      this.recovery.record(FrameType.pathStatus, 0, this.#statusSequence, 0);
    }
    if (
      path.challengeAt <= now &&
      frames.writePathChallenge(writer, path.challengeHigh, path.challengeLow)
    ) path.challengeSent(now);
    return writer.at > before;
  }

  /** Session frames, then streams in turn, then datagrams; whether anything was written. */
  #writeData(now: number, way: Path): boolean {
    const before = writer.at;
    if (this.#owesMaxData) {
      const max = this.#window.update(now, way.rtt.smoothed);
      if (frames.writeMaxData(writer, max)) {
        this.#owesMaxData = !this.recovery.record(FrameType.maxData, 0, max, 0);
      }
    }
    while (this.#endedAssocs.length > 0) {
      const assoc = this.#endedAssocs[this.#endedAssocs.length - 1]!;
      if (!frames.writeAssocEnd(writer, assoc)) break;
      this.recovery.record(FrameType.assocEnd, assoc, 0, 0);
      this.#endedAssocs.pop();
    }
    this.#writeDatagrams();
    for (let turns = this.#streams.waiting; turns > 0 && writer.room > FILL_BYTES; turns--) {
      const stream = this.#streams.dequeue();
      this.#writeStream(now, way, stream);
      // One that waits for the peer's MAX_DATA stays in the queue: see isStalled.
      if (stream.hasWork) this.#streams.enqueue(stream);
    }
    const wrote = writer.at > before;
    this.#streams.isStalled = !wrote;
    if (wrote && writer.room <= FILL_BYTES) frames.writePadding(writer, writer.room);
    return wrote;
  }

  #writeDatagrams(): void {
    while (this.#datagrams.count > 0) {
      const length = this.#datagrams.firstLength;
      if (length > writer.room) {
        // The path's packets have become smaller since it was queued.
        if (length <= this.#datagramRoom()) return;
        this.counters.datagramsTooLong++;
      } else {
        writer.copy(this.#datagrams.memory, this.#datagrams.firstAt, length);
        this.recovery.record(FrameType.datagram, 0, 0, 0);
      }
      this.#datagrams.shift();
    }
  }

  #writeStream(now: number, way: Path, stream: Stream): void {
    if (stream.pending !== 0 && !this.#writeControl(now, way, stream)) return;
    const { send, id } = stream;
    const offset = send.nextOffset;
    const room = frames.streamDataThatFits(writer.room, id, offset);
    if (room > 0 && send.pick(room, this.#credit.available)) {
      const length = send.pickedLength;
      if (!this.recovery.record(FrameType.stream, id, send.pickedOffset, length)) return;
      frames.writeStreamHead(writer, id, send.pickedOffset, length);
      if (send.pickedIsNew) this.#credit.consume(length);
      send.takePicked(writer.bytes, writer.at);
      writer.at += length;
    }
    if (send.wantsFin && frames.writeFin(writer, id, send.end)) {
      if (this.recovery.record(FrameType.fin, id, 0, 0)) send.finSent();
    }
  }

  /** OPEN, OPENED, RST, MAX_STREAM; false when they did not all fit. */
  #writeControl(now: number, way: Path, stream: Stream): boolean {
    const { id, address } = stream;
    if ((stream.pending & Pending.open) !== 0) {
      const { kindOrCode } = stream;
      if (!frames.writeOpen(writer, id, kindOrCode, address, 0, address.length)) return false;
      this.#recorded(stream, Pending.open, FrameType.open);
    }
    if ((stream.pending & Pending.opened) !== 0) {
      const { kindOrCode } = stream;
      if (!frames.writeOpened(writer, id, kindOrCode, address, 0, address.length)) return false;
      this.#recorded(stream, Pending.opened, FrameType.opened);
    }
    if ((stream.pending & Pending.rst) !== 0) {
      if (!frames.writeRst(writer, id, stream.rstCode)) return false;
      this.#recorded(stream, Pending.rst, FrameType.rst);
    }
    if ((stream.pending & Pending.maxStream) !== 0) {
      const max = stream.window.update(now, way.rtt.smoothed);
      if (!frames.writeMaxStream(writer, id, max)) return false;
      this.#recorded(stream, Pending.maxStream, FrameType.maxStream);
    }
    return true;
  }

  #recorded(stream: Stream, frame: number, type: number): void {
    if (this.recovery.record(type, stream.id, 0, 0)) stream.pending &= ~frame;
  }

  #buildClose(now: number, bytes: Uint8Array, at: number, room: number): number {
    const path = this.#paths[this.activePath];
    if (!this.#owesClose || path === undefined || this.#state === State.done) return 0;
    this.#owesClose = false;
    this.#closesLeft--;
    writer.reset(bytes, at, at + room);
    if (!frames.writeClose(writer, this.#closeCode, NO_BYTES)) return 0;
    return this.#sent(now, path, writer.at - at, SentKind.quiet);
  }

  // ---- time ----

  /** When onTimeout() or build() is to be called at the latest; Infinity: not by itself. */
  nextTimeout(): number {
    if (this.#state === State.closing) return this.#owesClose ? this.#now : this.#closeAt;
    if (this.#state === State.done) return Infinity;
    let next = Math.min(
      this.#lastHeard + this.#options.idleMs,
      this.recovery.nextTimeout(),
      this.#received.nextTimeout(),
      this.#pingAt(),
    );
    for (let i = 0; i < this.#paths.length; i++) {
      next = Math.min(next, this.#paths[i]?.challengeAt ?? Infinity);
    }
    const way = this.recovery.path(this.activePath);
    if (way !== undefined && (way.probes > 0 || this.#hasData())) {
      next = Math.min(next, way.nextSend(this.#now));
    }
    if (this.#resets.length > 0) next = Math.min(next, this.#resets[0]!.forgetAt);
    return next;
  }

  onTimeout(now: number): void {
    this.#now = now;
    if (this.#state === State.closing) {
      if (now >= this.#closeAt) this.#finishNow(this.#closeCode, true);
      return;
    }
    if (this.#state === State.done) return;
    if (now >= this.#lastHeard + this.#options.idleMs || this.#deadAt <= now) {
      return this.#finishNow(CloseCode.idle, true);
    }
    this.recovery.onTimeout(now);
    while (this.#resets.length > 0 && this.#resets[0]!.forgetAt <= now) {
      this.#remove(this.#resets.shift()!);
    }
  }

  /** Gives back what an idle session does not need. */
  shrink(now: number): void {
    this.recovery.shrink(now);
  }
}

const PATHS = 8;
const NO_BYTES = new Uint8Array(0);

function isOfStream(kind: number): boolean {
  return kind === FrameType.stream || kind === FrameType.fin || kind === FrameType.open ||
    kind === FrameType.opened || kind === FrameType.rst || kind === FrameType.maxStream;
}

// One thread, no re-entry (see SessionEvents): these live as long as the module.
const reader = new FrameReader();
const writer = new Writer();
const ackRanges = new AckRanges();
const ackPairs = new Float64Array(Math.max(ACK_LIST_LENGTH, 2 * ACK_RANGES_MAX));

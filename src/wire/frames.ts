/**
 * The frames inside a packet: one writer a type, and one reader for all of them.
 *
 *     00 PADDING                              09 MAX_DATA    max v
 *     01 PING  id u64                         0a MAX_STREAM  stream v, max v
 *     02 PONG  id u64                         0b DATAGRAM    assoc v, address, length v, data
 *     03 ACK   largest v, delay_us v,         0c ASSOC_END   assoc v
 *              count v, first v,              0d PATH_CHALLENGE  8 bytes
 *              count × (gap v, length v)      0e PATH_RESPONSE   8 bytes
 *     04 OPEN   stream v, kind u8, address    0f PATH_STATUS sequence v, status u8
 *     05 OPENED stream v, code u8, address    10 CLOSE       code v, length v, reason
 *     06 STREAM stream v, offset v, length v, data
 *     07 FIN    stream v, final v
 *     08 RST    stream v, code v              2a RATES       up v, down v (kbit/s)
 *
 * v is a varint (RFC 9000 §16). A writer writes its whole frame, or nothing and says false; how
 * many bytes it needs is asked first with the `…Bytes` function beside it. Nothing here allocates.
 */

import { type NumberCell, numberCell } from "../base/number_field.ts";
import { addressBytes } from "./address.ts";
import { cellBytes, Reader, VARINT_MAX, varintBytes, type Writer } from "./cursor.ts";
import { ACK_RANGES_MAX, CLOSE_REASON_BYTES_MAX } from "./limits.ts";

export const FrameType = {
  padding: 0x00,
  ping: 0x01,
  pong: 0x02,
  ack: 0x03,
  open: 0x04,
  opened: 0x05,
  stream: 0x06,
  fin: 0x07,
  rst: 0x08,
  maxData: 0x09,
  maxStream: 0x0a,
  datagram: 0x0b,
  assocEnd: 0x0c,
  pathChallenge: 0x0d,
  pathResponse: 0x0e,
  pathStatus: 0x0f,
  close: 0x10,
  /** Apart from the others, and never asked for. */
  rates: 0x2a,
} as const;
export type FrameType = typeof FrameType[keyof typeof FrameType];

/** What FrameReader.next() says beside a type. */
export const FRAMES_END = -1;
export const FRAMES_BAD = -2;

/** Kinds of streams. */
export const StreamKind = { tcp: 1 } as const;

/** The code of OPENED. */
export const OpenedCode = {
  ok: 0,
  refused: 1,
  unreachable: 2,
  nameNotFound: 3,
  denied: 4,
  timedOut: 5,
  tooManyStreams: 6,
  /** Whoever the server asks for names does not answer. */
  resolverSilent: 7,
  /** The target is private, or the server's own, and no rule opens it. */
  notPublic: 8,
  /** The user's account has expired meanwhile, or its traffic is used up. */
  userRefused: 9,
} as const;

/** The code of CLOSE: append only. */
export const CloseCode = {
  done: 0,
  internal: 1,
  /** A type that there is not. */
  unknownFrame: 2,
  /** Cut short, or with a field that can't be. */
  badFrame: 3,
  /** More than a named limit allows. */
  overLimit: 4,
  flowControl: 5,
  /** A frame that its stream's state doesn't allow. */
  streamState: 6,
  idle: 7,
  /** The user was disabled, has expired or used up what was granted. */
  denied: 8,
  shutdown: 9,
  // Of a refusal, which makes no session.
  expired: 10,
  trafficUsedUp: 11,
  tooManySessions: 12,
  tooManyConnections: 13,
  disabled: 14,
  noCommonCipher: 15,
} as const;
export type CloseCode = typeof CloseCode[keyof typeof CloseCode];

/** The code of RST: append only. */
export const RstCode = { cancelled: 0, targetReset: 1, timedOut: 2, internal: 3 } as const;

// One thread, no re-entry.
const cell = numberCell();

/** Whether the peer has to acknowledge a packet that holds this frame. */
export function isAckEliciting(type: number): boolean {
  return type !== FrameType.padding && type !== FrameType.ack && type !== FrameType.close;
}

/** Ranges of packet numbers, from the highest down, with a gap between any two. */
export class AckRanges {
  /** Largest and smallest of each range, both included. */
  readonly values: Float64Array<ArrayBuffer> = new Float64Array(2 * ACK_RANGES_MAX);
  count = 0;

  clear(): void {
    this.count = 0;
  }

  /** Adds a range below all others; false when there is no room, or it touches the last. */
  add(largest: number, smallest: number): boolean {
    const { count, values } = this;
    if (count === ACK_RANGES_MAX || smallest > largest || smallest < 0) return false;
    if (count > 0 && largest > values[2 * count - 1]! - 2) return false;
    values[2 * count] = largest;
    values[2 * count + 1] = smallest;
    this.count = count + 1;
    return true;
  }

  largest(i: number): number {
    return this.values[2 * i]!;
  }

  smallest(i: number): number {
    return this.values[2 * i + 1]!;
  }
}

// ---- Writers ----

/** PADDING of any length; a packet of nothing else is not acknowledged. */
export function writePadding(w: Writer, length: number): boolean {
  if (length > w.room) return false;
  w.fill(FrameType.padding, length);
  return true;
}

/** PING, PONG, PATH_CHALLENGE and PATH_RESPONSE: eight bytes that come back as they went. */
export const ECHO_FRAME_BYTES = 9;

export function writePing(w: Writer, high: number, low: number): boolean {
  return writeEcho(w, FrameType.ping, high, low);
}

export function writePong(w: Writer, high: number, low: number): boolean {
  return writeEcho(w, FrameType.pong, high, low);
}

export function writePathChallenge(w: Writer, high: number, low: number): boolean {
  return writeEcho(w, FrameType.pathChallenge, high, low);
}

export function writePathResponse(w: Writer, high: number, low: number): boolean {
  return writeEcho(w, FrameType.pathResponse, high, low);
}

/** Bytes of an ACK of the first `count` ranges (at least one). */
export function ackFrameBytes(ranges: AckRanges, count: number, delayUs: number): number {
  let bytes = ackHeadBytes(ranges, count, delayUs);
  for (let i = 1; i < count; i++) bytes += rangeBytes(ranges, i);
  return bytes;
}

/** How many of the ranges fit into an ACK of at most `room` bytes. */
export function ackRangesThatFit(ranges: AckRanges, delayUs: number, room: number): number {
  if (ranges.count === 0) return 0;
  // The count is taken for its longest: at worst one byte is left over.
  let bytes = ackHeadBytes(ranges, ranges.count, delayUs);
  if (bytes > room) return 0;
  let count = 1;
  while (count < ranges.count) {
    bytes += rangeBytes(ranges, count);
    if (bytes > room) break;
    count++;
  }
  return count;
}

/** An ACK of the first `count` ranges. */
export function writeAck(w: Writer, ranges: AckRanges, count: number, delayUs: number): boolean {
  if (count < 1 || count > ranges.count) return false;
  if (ackFrameBytes(ranges, count, delayUs) > w.room) return false;
  w.u8(FrameType.ack);
  w.varint(ranges.largest(0));
  w.varint(delayUs);
  w.varint(count - 1);
  w.varint(ranges.largest(0) - ranges.smallest(0));
  for (let i = 1; i < count; i++) {
    w.varint(ranges.smallest(i - 1) - ranges.largest(i) - 2);
    w.varint(ranges.largest(i) - ranges.smallest(i));
  }
  return true;
}

/** Bytes of OPEN and of OPENED with an address of `addressLength` bytes. */
export function openFrameBytes(stream: number, addressLength: number): number {
  return 2 + varintBytes(stream) + addressLength;
}

export function writeOpen(
  w: Writer,
  stream: number,
  kind: number,
  address: Uint8Array,
  addressAt: number,
  addressLength: number,
): boolean {
  return writeWithAddress(w, FrameType.open, stream, kind, address, addressAt, addressLength);
}

export function writeOpened(
  w: Writer,
  stream: number,
  code: number,
  address: Uint8Array,
  addressAt: number,
  addressLength: number,
): boolean {
  return writeWithAddress(w, FrameType.opened, stream, code, address, addressAt, addressLength);
}

/** Bytes of a STREAM frame with `length` bytes of data. */
export function streamFrameBytes(stream: number, offset: NumberCell, length: number): number {
  return 1 + varintBytes(stream) + cellBytes(offset) + varintBytes(length) + length;
}

/** The most data that a STREAM frame of at most `room` bytes carries; 0 when none fits. */
export function streamDataThatFits(room: number, stream: number, offset: NumberCell): number {
  return dataThatFits(room - 1 - varintBytes(stream) - cellBytes(offset));
}

/**
 * A STREAM frame up to its data, when that fits as well: the caller then writes exactly `length`
 * bytes, from however many pieces it has.
 */
export function writeStreamHead(
  w: Writer,
  stream: number,
  offset: NumberCell,
  length: number,
): boolean {
  if (streamFrameBytes(stream, offset, length) > w.room) return false;
  w.u8(FrameType.stream);
  w.varint(stream);
  w.varintOf(offset);
  w.varint(length);
  return true;
}

/** A whole STREAM frame; for tests: a session writes the head, and the data beside it. */
export function writeStream(
  w: Writer,
  stream: number,
  offset: number,
  data: Uint8Array,
  dataAt: number,
  length: number,
): boolean {
  cell[0] = offset;
  if (!writeStreamHead(w, stream, cell, length)) return false;
  w.copy(data, dataAt, length);
  return true;
}

/** Bytes of FIN, RST and MAX_STREAM: a type and two varints. */
export function pairFrameBytes(first: number, second: number): number {
  return 1 + varintBytes(first) + varintBytes(second);
}

export function writeFin(w: Writer, stream: number, final: number): boolean {
  return writePair(w, FrameType.fin, stream, final);
}

export function writeRst(w: Writer, stream: number, code: number): boolean {
  return writePair(w, FrameType.rst, stream, code);
}

export function writeMaxStream(w: Writer, stream: number, max: number): boolean {
  return writePair(w, FrameType.maxStream, stream, max);
}

/** Bytes of MAX_DATA and ASSOC_END: a type and a varint. */
export function singleFrameBytes(value: number): number {
  return 1 + varintBytes(value);
}

export function writeMaxData(w: Writer, max: number): boolean {
  return writeSingle(w, FrameType.maxData, max);
}

export function writeAssocEnd(w: Writer, assoc: number): boolean {
  return writeSingle(w, FrameType.assocEnd, assoc);
}

/** Bytes of a DATAGRAM frame. */
export function datagramFrameBytes(assoc: number, addressLength: number, length: number): number {
  return 1 + varintBytes(assoc) + addressLength + varintBytes(length) + length;
}

/** A DATAGRAM frame up to its data: as with {@linkcode writeStreamHead}. */
function writeDatagramHead(
  w: Writer,
  assoc: number,
  address: Uint8Array,
  addressAt: number,
  addressLength: number,
  length: number,
): boolean {
  if (datagramFrameBytes(assoc, addressLength, length) > w.room) return false;
  w.u8(FrameType.datagram);
  w.varint(assoc);
  w.copy(address, addressAt, addressLength);
  w.varint(length);
  return true;
}

export function writeDatagram(
  w: Writer,
  assoc: number,
  address: Uint8Array,
  addressAt: number,
  addressLength: number,
  data: Uint8Array,
  dataAt: number,
  length: number,
): boolean {
  if (!writeDatagramHead(w, assoc, address, addressAt, addressLength, length)) return false;
  w.copy(data, dataAt, length);
  return true;
}

export function pathStatusFrameBytes(sequence: number): number {
  return 2 + varintBytes(sequence);
}

export function writePathStatus(w: Writer, sequence: number, isActive: boolean): boolean {
  if (pathStatusFrameBytes(sequence) > w.room) return false;
  w.u8(FrameType.pathStatus);
  w.varint(sequence);
  w.u8(isActive ? 1 : 0);
  return true;
}

/** The client's line in kbit/s, 0: not stated. Sized like FIN. */
export function writeRates(w: Writer, up: number, down: number): boolean {
  return writePair(w, FrameType.rates, up, down);
}

/** Bytes of a CLOSE frame with a reason of `length` bytes. */
export function closeFrameBytes(code: number, length: number): number {
  return 1 + varintBytes(code) + varintBytes(length) + length;
}

/** `reason` is UTF-8; what is above CLOSE_REASON_BYTES_MAX is left away. */
export function writeClose(w: Writer, code: number, reason: Uint8Array): boolean {
  const length = Math.min(reason.length, CLOSE_REASON_BYTES_MAX);
  if (closeFrameBytes(code, length) > w.room) return false;
  w.u8(FrameType.close);
  w.varint(code);
  w.varint(length);
  w.copy(reason, 0, length);
  return true;
}

function writeEcho(w: Writer, type: FrameType, high: number, low: number): boolean {
  if (w.room < ECHO_FRAME_BYTES) return false;
  w.u8(type);
  w.u32(high);
  w.u32(low);
  return true;
}

function writeSingle(w: Writer, type: FrameType, value: number): boolean {
  if (singleFrameBytes(value) > w.room) return false;
  w.u8(type);
  w.varint(value);
  return true;
}

function writePair(w: Writer, type: FrameType, first: number, second: number): boolean {
  if (pairFrameBytes(first, second) > w.room) return false;
  w.u8(type);
  w.varint(first);
  w.varint(second);
  return true;
}

function writeWithAddress(
  w: Writer,
  type: FrameType,
  stream: number,
  byte: number,
  address: Uint8Array,
  addressAt: number,
  addressLength: number,
): boolean {
  if (openFrameBytes(stream, addressLength) > w.room) return false;
  w.u8(type);
  w.varint(stream);
  w.u8(byte);
  w.copy(address, addressAt, addressLength);
  return true;
}

function ackHeadBytes(ranges: AckRanges, count: number, delayUs: number): number {
  const largest = ranges.largest(0);
  return 1 + varintBytes(largest) + varintBytes(delayUs) + varintBytes(count - 1) +
    varintBytes(largest - ranges.smallest(0));
}

function rangeBytes(ranges: AckRanges, i: number): number {
  return varintBytes(ranges.smallest(i - 1) - ranges.largest(i) - 2) +
    varintBytes(ranges.largest(i) - ranges.smallest(i));
}

/** The longest data that fits into `left` bytes together with its length. */
function dataThatFits(left: number): number {
  if (left <= 64) return Math.max(0, left - 1);
  if (left <= 16_385) return Math.max(63, left - 2);
  return Math.max(16_383, left - 4);
}

// ---- Reader ----

/** Reads frames one by one into its own fields, which hold until the next one is read. */
export class FrameReader {
  /** Of the frame that was read last; its fields are named after the table's. */
  type = FRAMES_END;
  /** Where it begins. */
  frameAt = 0;
  /** Why it is bad. */
  error: CloseCode = CloseCode.done;

  stream = 0;
  offset = 0;
  /** Of `data`, of a CLOSE's reason, of a run of PADDING. */
  length = 0;
  dataAt = 0;
  final = 0;
  /** Of OPENED, RST, CLOSE. */
  code = 0;
  /** Of OPEN. */
  kind = 0;
  max = 0;
  assoc = 0;
  sequence = 0;
  isActive = false;
  upKbps = 0;
  downKbps = 0;
  /** The eight bytes of PING, PONG, PATH_CHALLENGE, PATH_RESPONSE. */
  echoHigh = 0;
  echoLow = 0;
  /** Of OPEN, OPENED, DATAGRAM: whole and of a known type; a name may hold any byte. */
  addressAt = 0;
  addressLength = 0;
  /** Of ACK. */
  delayUs = 0;
  readonly ranges: AckRanges = new AckRanges();

  readonly #in = new Reader();

  /** What the offsets count in. */
  get bytes(): Uint8Array {
    return this.#in.bytes;
  }

  /** Begins with the plaintext of a packet. */
  reset(bytes: Uint8Array, at: number, length: number): void {
    this.#in.reset(bytes, at, at + length);
    this.type = this.#in.failed ? FRAMES_BAD : FRAMES_END;
    this.error = this.#in.failed ? CloseCode.badFrame : CloseCode.done;
  }

  /** The type of the next frame, FRAMES_END, or FRAMES_BAD: the session ends with `error`. */
  next(): number {
    const input = this.#in;
    if (this.error !== CloseCode.done) return FRAMES_BAD;
    if (input.at === input.end) return this.type = FRAMES_END;
    this.frameAt = input.at;
    const type = input.u8();
    this.type = type;
    this.#read(type);
    if (input.failed && this.error === CloseCode.done) this.error = CloseCode.badFrame;
    if (this.error !== CloseCode.done) return this.type = FRAMES_BAD;
    return type;
  }

  #read(type: number): void {
    // The usual ones first.
    if (type === FrameType.stream) this.#readStream();
    else if (type === FrameType.ack) this.#readAck();
    else if (type === FrameType.datagram) this.#readDatagram();
    else if (type === FrameType.padding) this.#readPadding();
    else if (type < FrameType.stream) this.#readFirst(type);
    else this.#readOther(type);
  }

  /** PING, PONG, OPEN, OPENED. */
  #readFirst(type: number): void {
    const input = this.#in;
    if (type === FrameType.ping || type === FrameType.pong) return this.#readEcho();
    this.stream = input.varint();
    if (type === FrameType.open) {
      this.kind = input.u8();
      if (this.kind !== StreamKind.tcp) this.error = CloseCode.badFrame;
    } else {
      this.code = input.u8();
    }
    this.#readAddress();
  }

  #readOther(type: number): void {
    const input = this.#in;
    switch (type) {
      case FrameType.fin:
        this.stream = input.varint();
        this.final = input.varint();
        return;
      case FrameType.rst:
        this.stream = input.varint();
        this.code = input.varint();
        return;
      case FrameType.maxData:
        this.max = input.varint();
        return;
      case FrameType.maxStream:
        this.stream = input.varint();
        this.max = input.varint();
        return;
      case FrameType.assocEnd:
        this.assoc = input.varint();
        return;
      case FrameType.pathChallenge:
      case FrameType.pathResponse:
        return this.#readEcho();
      case FrameType.pathStatus:
        return this.#readPathStatus();
      case FrameType.close:
        return this.#readClose();
      case FrameType.rates:
        this.upKbps = input.varint();
        this.downKbps = input.varint();
        return;
      default:
        this.error = CloseCode.unknownFrame;
    }
  }

  #readStream(): void {
    const input = this.#in;
    this.stream = input.varint();
    input.varintTo(cell);
    this.offset = cell[0]!;
    this.length = input.varint();
    this.dataAt = input.skip(this.length);
    if (this.offset > VARINT_MAX - this.length) this.error = CloseCode.overLimit;
  }

  #readDatagram(): void {
    const input = this.#in;
    this.assoc = input.varint();
    this.#readAddress();
    this.length = input.varint();
    this.dataAt = input.skip(this.length);
  }

  /** A run of PADDING is one frame: a packet may be full of it. */
  #readPadding(): void {
    const input = this.#in;
    const { bytes, end } = input;
    let at = input.at;
    while (at < end && bytes[at] === FrameType.padding) at++;
    input.at = at;
    this.length = at - this.frameAt;
  }

  #readEcho(): void {
    this.echoHigh = this.#in.u32();
    this.echoLow = this.#in.u32();
  }

  #readPathStatus(): void {
    this.sequence = this.#in.varint();
    const status = this.#in.u8();
    if (status > 1) this.error = CloseCode.badFrame;
    this.isActive = status === 1;
  }

  #readClose(): void {
    const input = this.#in;
    this.code = input.varint();
    this.length = input.varint();
    if (this.length > CLOSE_REASON_BYTES_MAX) this.error = CloseCode.overLimit;
    this.dataAt = input.skip(this.length);
  }

  #readAddress(): void {
    const input = this.#in;
    this.addressAt = input.at;
    this.addressLength = addressBytes(input.bytes, input.at, input.end);
    if (this.addressLength === 0) this.error = CloseCode.badFrame;
    input.skip(this.addressLength);
  }

  /** RFC 9000 §19.3. */
  #readAck(): void {
    const input = this.#in;
    const { ranges } = this;
    ranges.clear();
    let largest = input.varint();
    this.delayUs = input.varint();
    const more = input.varint();
    if (more >= ACK_RANGES_MAX) {
      this.error = CloseCode.overLimit;
      return;
    }
    let smallest = largest - input.varint();
    for (let i = 0; i < more && smallest >= 0; i++) {
      ranges.add(largest, smallest);
      largest = smallest - input.varint() - 2;
      smallest = largest - input.varint();
    }
    // A range below zero; add() refuses what the arithmetic didn't already.
    if (smallest < 0 || input.failed || !ranges.add(largest, smallest)) {
      this.error = CloseCode.badFrame;
    }
  }
}

/** Frames (section 3). */
import { concat, Reader, text, uint, varint } from "./bytes.ts";

export interface Address {
  host: string;
  port: number;
}

/** Packet numbers first..last, both ends in. */
export interface Range {
  first: number;
  last: number;
}

export type Frame =
  | { type: "padding" }
  | { type: "ping" | "pong"; id: bigint }
  /** Ranges from the highest down. */
  | { type: "ack"; delayUs: number; ranges: Range[] }
  | { type: "open"; stream: number; kind: number; address: Address }
  | { type: "opened"; stream: number; code: number; address: Address }
  | { type: "stream"; stream: number; offset: number; data: Uint8Array }
  | { type: "fin"; stream: number; final: number }
  | { type: "rst"; stream: number; code: number }
  | { type: "max_data"; max: number }
  | { type: "max_stream"; stream: number; max: number }
  | { type: "datagram"; assoc: number; address: Address; data: Uint8Array }
  | { type: "assoc_end"; assoc: number }
  | { type: "path_challenge" | "path_response"; token: Uint8Array }
  | { type: "path_status"; sequence: number; status: number }
  | { type: "close"; code: number; reason: string }
  /** Any bytes at all, to send what no frame may be. */
  | { type: "raw"; bytes: Uint8Array };

/** Frames that go once and are not sent again. */
export const SENT_ONCE: ReadonlySet<Frame["type"]> = new Set(
  ["ack", "padding", "pong", "datagram", "path_response"] as const,
);

const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;

function ipv6Bytes(host: string): Uint8Array {
  const [left = "", right] = host.split("::");
  const groups = (part: string) => part === "" ? [] : part.split(":").map((g) => parseInt(g, 16));
  const head = groups(left);
  const tail = groups(right ?? "");
  const zeros: number[] = new Array(8 - head.length - tail.length).fill(0);
  return concat(...[...head, ...zeros, ...tail].map((group) => uint(group, 2)));
}

export function encodeAddress(address: Address): Uint8Array {
  const port = uint(address.port, 2);
  if (IPV4.test(address.host)) {
    return concat(uint(1, 1), Uint8Array.from(address.host.split("."), Number), port);
  }
  if (address.host.includes(":")) return concat(uint(4, 1), ipv6Bytes(address.host), port);
  const name = text(address.host);
  return concat(uint(3, 1), uint(name.length, 1), name, port);
}

function readHost(reader: Reader): string {
  const type = reader.uint(1);
  if (type === 1) return Array.from(reader.take(4)).join(".");
  if (type === 3) return new TextDecoder().decode(reader.take(reader.uint(1)));
  if (type !== 4) throw new Error(`address type ${type}`);
  const groups: string[] = [];
  for (let i = 0; i < 8; i++) groups.push(reader.uint(2).toString(16));
  return groups.join(":");
}

function readAddress(reader: Reader): Address {
  const host = readHost(reader);
  return { host, port: reader.uint(2) };
}

function encodeAck(delayUs: number, ranges: Range[]): Uint8Array {
  const [top, ...rest] = ranges;
  if (top === undefined) throw new Error("an ACK without a range");
  const parts = [
    uint(3, 1),
    varint(top.last),
    varint(delayUs),
    varint(rest.length),
    varint(top.last - top.first),
  ];
  let smallest = top.first;
  for (const range of rest) {
    parts.push(varint(smallest - range.last - 2), varint(range.last - range.first));
    smallest = range.first;
  }
  return concat(...parts);
}

function readAck(reader: Reader): Frame {
  const largest = reader.varint();
  const delayUs = reader.varint();
  const count = reader.varint();
  const ranges = [{ first: largest - reader.varint(), last: largest }];
  let smallest = ranges[0]?.first ?? 0;
  for (let i = 0; i < count; i++) {
    const last = smallest - reader.varint() - 2;
    smallest = last - reader.varint();
    ranges.push({ first: smallest, last });
  }
  if (smallest < 0) throw new Error("an ACK below packet 0");
  return { type: "ack", delayUs, ranges };
}

export function encodeFrame(frame: Frame): Uint8Array {
  switch (frame.type) {
    case "padding":
      return uint(0x00, 1);
    case "ping":
      return concat(uint(0x01, 1), uint(frame.id, 8));
    case "pong":
      return concat(uint(0x02, 1), uint(frame.id, 8));
    case "ack":
      return encodeAck(frame.delayUs, frame.ranges);
    case "open": {
      const address = encodeAddress(frame.address);
      return concat(uint(0x04, 1), varint(frame.stream), uint(frame.kind, 1), address);
    }
    case "opened": {
      const address = encodeAddress(frame.address);
      return concat(uint(0x05, 1), varint(frame.stream), uint(frame.code, 1), address);
    }
    case "stream": {
      const head = concat(varint(frame.stream), varint(frame.offset), varint(frame.data.length));
      return concat(uint(0x06, 1), head, frame.data);
    }
    case "fin":
      return concat(uint(0x07, 1), varint(frame.stream), varint(frame.final));
    case "rst":
      return concat(uint(0x08, 1), varint(frame.stream), varint(frame.code));
    case "max_data":
      return concat(uint(0x09, 1), varint(frame.max));
    case "max_stream":
      return concat(uint(0x0a, 1), varint(frame.stream), varint(frame.max));
    case "datagram": {
      const head = concat(varint(frame.assoc), encodeAddress(frame.address));
      return concat(uint(0x0b, 1), head, varint(frame.data.length), frame.data);
    }
    case "assoc_end":
      return concat(uint(0x0c, 1), varint(frame.assoc));
    case "path_challenge":
      return concat(uint(0x0d, 1), frame.token);
    case "path_response":
      return concat(uint(0x0e, 1), frame.token);
    case "path_status":
      return concat(uint(0x0f, 1), varint(frame.sequence), uint(frame.status, 1));
    case "close": {
      const reason = text(frame.reason);
      return concat(uint(0x10, 1), varint(frame.code), varint(reason.length), reason);
    }
    case "raw":
      return frame.bytes;
  }
}

export function encodeFrames(frames: Frame[]): Uint8Array {
  return concat(...frames.map(encodeFrame));
}

function readStreamFrame(type: number, reader: Reader): Frame {
  const stream = reader.varint();
  switch (type) {
    case 0x04:
      return { type: "open", stream, kind: reader.uint(1), address: readAddress(reader) };
    case 0x05:
      return { type: "opened", stream, code: reader.uint(1), address: readAddress(reader) };
    case 0x06: {
      const offset = reader.varint();
      return { type: "stream", stream, offset, data: reader.take(reader.varint()) };
    }
    case 0x07:
      return { type: "fin", stream, final: reader.varint() };
    case 0x08:
      return { type: "rst", stream, code: reader.varint() };
    default:
      return { type: "max_stream", stream, max: reader.varint() };
  }
}

function readFrame(reader: Reader): Frame {
  const type = reader.uint(1);
  switch (type) {
    case 0x00:
      return { type: "padding" };
    case 0x01:
      return { type: "ping", id: reader.big(8) };
    case 0x02:
      return { type: "pong", id: reader.big(8) };
    case 0x03:
      return readAck(reader);
    case 0x04:
    case 0x05:
    case 0x06:
    case 0x07:
    case 0x08:
    case 0x0a:
      return readStreamFrame(type, reader);
    case 0x09:
      return { type: "max_data", max: reader.varint() };
    case 0x0b: {
      const assoc = reader.varint();
      const address = readAddress(reader);
      return { type: "datagram", assoc, address, data: reader.take(reader.varint()) };
    }
    case 0x0c:
      return { type: "assoc_end", assoc: reader.varint() };
    case 0x0d:
      return { type: "path_challenge", token: reader.take(8) };
    case 0x0e:
      return { type: "path_response", token: reader.take(8) };
    case 0x0f:
      return { type: "path_status", sequence: reader.varint(), status: reader.uint(1) };
    case 0x10: {
      const code = reader.varint();
      return {
        type: "close",
        code,
        reason: new TextDecoder().decode(reader.take(reader.varint())),
      };
    }
    default:
      throw new Error(`frame type ${type}`);
  }
}

export function decodeFrames(bytes: Uint8Array): Frame[] {
  const reader = new Reader(bytes);
  const frames: Frame[] = [];
  while (reader.left > 0) {
    const frame = readFrame(reader);
    if (frame.type !== "padding") frames.push(frame);
  }
  return frames;
}

// Generated from bpf/phantom.h. Do not edit; make it again with:
//   deno run -A tools/layout.ts build/bpf/xdp_phantom.o -o ffi/layout.gen.ts

import { getBytes, setBytes, setZero } from "./layout_io.ts";

/** `enum ph_limit` */
export const Limit = {
  listenWords: 1024,
  eventBytes: 1048576,
  eventIntervalNs: 10000000,
  vlanTags: 2,
  ipv6Extensions: 8,
  headerOffset: 2047,
} as const;

export type Limit = (typeof Limit)[keyof typeof Limit];

const LIMIT_NAMES: Readonly<Record<number, string>> = {
  1024: "listen_words",
  1048576: "event_bytes",
  10000000: "event_interval_ns",
  2: "vlan_tags",
  8: "ipv6_extensions",
  2047: "header_offset",
};

/** The name of a value of `enum ph_limit`, or the number as text. */
export function limitName(value: number): string {
  return LIMIT_NAMES[value] ?? String(value);
}

/** `enum ph_verdict` */
export const Verdict = {
  pass: 0,
  drop: 1,
  count: 2,
} as const;

export type Verdict = (typeof Verdict)[keyof typeof Verdict];

const VERDICT_NAMES: Readonly<Record<number, string>> = {
  0: "pass",
  1: "drop",
  2: "count",
};

/** The name of a value of `enum ph_verdict`, or the number as text. */
export function verdictName(value: number): string {
  return VERDICT_NAMES[value] ?? String(value);
}

/** `enum ph_reason` */
export const Reason = {
  notIp: 0,
  notUdp: 1,
  notListening: 2,
  listen: 3,
  fragment: 4,
  tooDeep: 5,
  badEthernet: 6,
  badIp: 7,
  badUdp: 8,
  count: 9,
} as const;

export type Reason = (typeof Reason)[keyof typeof Reason];

const REASON_NAMES: Readonly<Record<number, string>> = {
  0: "not_ip",
  1: "not_udp",
  2: "not_listening",
  3: "listen",
  4: "fragment",
  5: "too_deep",
  6: "bad_ethernet",
  7: "bad_ip",
  8: "bad_udp",
  9: "count",
};

/** The name of a value of `enum ph_reason`, or the number as text. */
export function reasonName(value: number): string {
  return REASON_NAMES[value] ?? String(value);
}

/** `struct ph_listen_word` */
export interface ListenWord {
  ports: bigint;
}

/** `struct ph_listen_word`: 8 bytes. */
export const ListenWord = {
  size: 8,
  offset: { ports: 0 },
  read(view: DataView, at = 0): ListenWord {
    return {
      ports: view.getBigUint64(at, true),
    };
  },
  write(view: DataView, at: number, value: ListenWord): void {
    view.setBigUint64(at, value.ports, true);
  },
} as const;

/** `struct ph_stat` */
export interface Stat {
  packets: bigint;
  bytes: bigint;
}

/** `struct ph_stat`: 16 bytes. */
export const Stat = {
  size: 16,
  offset: { packets: 0, bytes: 8 },
  read(view: DataView, at = 0): Stat {
    return {
      packets: view.getBigUint64(at, true),
      bytes: view.getBigUint64(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: Stat): void {
    view.setBigUint64(at, value.packets, true);
    view.setBigUint64(at + 8, value.bytes, true);
  },
} as const;

/** `struct ph_event_gate` */
export interface EventGate {
  nextNs: bigint;
  suppressed: bigint;
}

/** `struct ph_event_gate`: 16 bytes. */
export const EventGate = {
  size: 16,
  offset: { nextNs: 0, suppressed: 8 },
  read(view: DataView, at = 0): EventGate {
    return {
      nextNs: view.getBigUint64(at, true),
      suppressed: view.getBigUint64(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: EventGate): void {
    view.setBigUint64(at, value.nextNs, true);
    view.setBigUint64(at + 8, value.suppressed, true);
  },
} as const;

/** `enum ph_event_kind` */
export const EventKind = {
  malformed: 1,
} as const;

export type EventKind = (typeof EventKind)[keyof typeof EventKind];

const EVENT_KIND_NAMES: Readonly<Record<number, string>> = {
  1: "malformed",
};

/** The name of a value of `enum ph_event_kind`, or the number as text. */
export function eventKindName(value: number): string {
  return EVENT_KIND_NAMES[value] ?? String(value);
}

/** `struct ph_event` */
export interface Event {
  timeNs: bigint;
  kind: number;
  ifindex: number;
  srcIp: Uint8Array;
  dstIp: Uint8Array;
  srcPort: number;
  dstPort: number;
  protocol: number;
  family: number;
  value: bigint;
}

/** `struct ph_event`: 64 bytes. */
export const Event = {
  size: 64,
  offset: {
    timeNs: 0,
    kind: 8,
    ifindex: 12,
    srcIp: 16,
    dstIp: 32,
    srcPort: 48,
    dstPort: 50,
    protocol: 52,
    family: 53,
    value: 56,
  },
  read(view: DataView, at = 0): Event {
    return {
      timeNs: view.getBigUint64(at, true),
      kind: view.getUint32(at + 8, true),
      ifindex: view.getUint32(at + 12, true),
      srcIp: getBytes(view, at + 16, 16),
      dstIp: getBytes(view, at + 32, 16),
      srcPort: view.getUint16(at + 48),
      dstPort: view.getUint16(at + 50),
      protocol: view.getUint8(at + 52),
      family: view.getUint8(at + 53),
      value: view.getBigUint64(at + 56, true),
    };
  },
  write(view: DataView, at: number, value: Event): void {
    view.setBigUint64(at, value.timeNs, true);
    view.setUint32(at + 8, value.kind, true);
    view.setUint32(at + 12, value.ifindex, true);
    setBytes(view, at + 16, value.srcIp, 16, "Event.srcIp");
    setBytes(view, at + 32, value.dstIp, 16, "Event.dstIp");
    view.setUint16(at + 48, value.srcPort);
    view.setUint16(at + 50, value.dstPort);
    view.setUint8(at + 52, value.protocol);
    view.setUint8(at + 53, value.family);
    view.setBigUint64(at + 56, value.value, true);
    setZero(view, at + 54, 2);
  },
} as const;

/** The maps of our BPF objects. A key or value is a layout above, a scalar or bytes. */
export const maps = {
  event_gate: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "EventGate",
  },
  events: {
    type: "ringbuf",
    keySize: 0,
    valueSize: 0,
    maxEntries: 1048576,
    flags: 0,
    key: null,
    value: null,
  },
  listen_ports: {
    type: "array",
    keySize: 4,
    valueSize: 8,
    maxEntries: 1024,
    flags: 0,
    key: "u32",
    value: "ListenWord",
  },
  stats: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 18,
    flags: 0,
    key: "u32",
    value: "Stat",
  },
} as const;

export type MapName = keyof typeof maps;

/** The hash of each layout above, see layoutDifferences() in layout_hash.ts. */
export const layoutHashes: Readonly<Record<string, string>> = {
  ph_limit: "22105150ad234231",
  ph_verdict: "7c2b0fa6711c45ba",
  ph_reason: "c732ff0211349ce7",
  ph_listen_word: "d0a19125c039b9c8",
  ph_stat: "c86866d4dad48088",
  ph_event_gate: "878f895b58b79fb5",
  ph_event_kind: "28c981c4153157d6",
  ph_event: "12b268bc17c8fef7",
};

/** The C names of the layouts above. */
export const layoutNames: readonly string[] = Object.keys(layoutHashes);

/** layoutHashOf(btf, layoutNames) of an object that agrees with all of them. */
export const layoutHash: string = "ba81ff9c7f7b46c3";

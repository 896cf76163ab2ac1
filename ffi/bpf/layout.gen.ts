// Generated from bpf/contract/common.h, bpf/contract/relay.h, bpf/contract/tunnel.h. Do not edit; make it again with:
//   deno run -A tools/layout.ts --named ph_verdict,ph_reason,ph_event_kind,ph_session_result,ph_relay_outcome,ph_relay_backend_state build/bpf/steer.o build/bpf/tc_egress.o build/bpf/xdp_phantom.o build/bpf/xdp_sessions.o -o ffi/bpf/layout.gen.ts

import { checkLength, getBytes, setBytes, setZero } from "./layout_io.ts";

/** `enum ph_limit` */
export const Limit = {
  eventBytes: 1048576,
  eventIntervalNs: 10000000,
  newIntervalNs: 100000,
  vlanTags: 2,
  ipv6Extensions: 8,
  ipv4OptionWords: 10,
  headerOffset: 2047,
  ownAddresses: 4096,
} as const;

export type Limit = (typeof Limit)[keyof typeof Limit];

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
  short: 9,
  junk: 10,
  noKeys: 11,
  helloSourceLimit: 12,
  helloTotalLimit: 13,
  session: 14,
  sessionNew: 15,
  sessionLimit: 16,
  badChecksum: 17,
  letGo: 18,
  helloRepeated: 19,
  count: 20,
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
  9: "short",
  10: "junk",
  11: "no_keys",
  12: "hello_source_limit",
  13: "hello_total_limit",
  14: "session",
  15: "session_new",
  16: "session_limit",
  17: "bad_checksum",
  18: "let_go",
  19: "hello_repeated",
  20: "count",
};

/** The name of a value of `enum ph_reason`, or the number as text. */
export function reasonName(value: number): string {
  return REASON_NAMES[value] ?? String(value);
}

/** `struct ph_own_address` */
export interface OwnAddress {
  ip: Uint8Array;
}

/** `struct ph_own_address`: 16 bytes. */
export const OwnAddress = {
  size: 16,
  offset: { ip: 0 },
  read(view: DataView, at = 0): OwnAddress {
    return {
      ip: getBytes(view, at, 16),
    };
  },
  write(view: DataView, at: number, value: OwnAddress): void {
    setBytes(view, at, value.ip, 16, "OwnAddress.ip");
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
  new: 2,
  established: 3,
  closing: 4,
  flood: 5,
  checksum: 6,
  pressure: 7,
  attachLost: 8,
  gone: 9,
  count: 10,
} as const;

export type EventKind = (typeof EventKind)[keyof typeof EventKind];

const EVENT_KIND_NAMES: Readonly<Record<number, string>> = {
  1: "malformed",
  2: "new",
  3: "established",
  4: "closing",
  5: "flood",
  6: "checksum",
  7: "pressure",
  8: "attach_lost",
  9: "gone",
  10: "count",
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

/** `enum ph_relay_limit` */
export const RelayLimit = {
  services: 64,
  backends: 1024,
  table: 16381,
  portProbes: 8,
  portStep: 7919,
  cache: 4096,
  devices: 64,
  unansweredS: 10,
  icmpIntervalNs: 1000000,
  sumBytes: 9216,
} as const;

export type RelayLimit = (typeof RelayLimit)[keyof typeof RelayLimit];

/** `enum ph_relay_outcome` */
export const RelayOutcome = {
  newFlow: 0,
  moved: 1,
  completed: 2,
  unusual: 3,
  unresolved: 4,
  noRoute: 5,
  noDevice: 6,
  notLocal: 7,
  tooLong: 8,
  unfinished: 9,
  noKeys: 10,
  badUdp: 11,
  junk: 12,
  noBackend: 13,
  noPort: 14,
  noHops: 15,
  noRoom: 16,
  toldTooLong: 17,
  count: 18,
} as const;

export type RelayOutcome = (typeof RelayOutcome)[keyof typeof RelayOutcome];

const RELAY_OUTCOME_NAMES: Readonly<Record<number, string>> = {
  0: "new_flow",
  1: "moved",
  2: "completed",
  3: "unusual",
  4: "unresolved",
  5: "no_route",
  6: "no_device",
  7: "not_local",
  8: "too_long",
  9: "unfinished",
  10: "no_keys",
  11: "bad_udp",
  12: "junk",
  13: "no_backend",
  14: "no_port",
  15: "no_hops",
  16: "no_room",
  17: "told_too_long",
  18: "count",
};

/** The name of a value of `enum ph_relay_outcome`, or the number as text. */
export function relayOutcomeName(value: number): string {
  return RELAY_OUTCOME_NAMES[value] ?? String(value);
}

/** `enum ph_relay_backend_state` */
export const RelayBackendState = {
  none: 0,
  up: 1,
  draining: 2,
  down: 3,
} as const;

export type RelayBackendState = (typeof RelayBackendState)[keyof typeof RelayBackendState];

const RELAY_BACKEND_STATE_NAMES: Readonly<Record<number, string>> = {
  0: "none",
  1: "up",
  2: "draining",
  3: "down",
};

/** The name of a value of `enum ph_relay_backend_state`, or the number as text. */
export function relayBackendStateName(value: number): string {
  return RELAY_BACKEND_STATE_NAMES[value] ?? String(value);
}

/** `enum ph_relay_flag` */
export const RelayFlag = {
  phantom: 1,
  byPort: 2,
  return: 4,
} as const;

export type RelayFlag = (typeof RelayFlag)[keyof typeof RelayFlag];

/** `struct ph_relay_config` */
export interface RelayConfig {
  idleNs: bigint;
  generation: number;
  freshJiffies: number;
  firstPort: number;
  portCount: number;
  keepsMetadata: number;
}

/** `struct ph_relay_config`: 24 bytes. */
export const RelayConfig = {
  size: 24,
  offset: {
    idleNs: 0,
    generation: 8,
    freshJiffies: 12,
    firstPort: 16,
    portCount: 18,
    keepsMetadata: 20,
  },
  read(view: DataView, at = 0): RelayConfig {
    return {
      idleNs: view.getBigUint64(at, true),
      generation: view.getUint32(at + 8, true),
      freshJiffies: view.getUint32(at + 12, true),
      firstPort: view.getUint16(at + 16, true),
      portCount: view.getUint16(at + 18, true),
      keepsMetadata: view.getUint32(at + 20, true),
    };
  },
  write(view: DataView, at: number, value: RelayConfig): void {
    view.setBigUint64(at, value.idleNs, true);
    view.setUint32(at + 8, value.generation, true);
    view.setUint32(at + 12, value.freshJiffies, true);
    view.setUint16(at + 16, value.firstPort, true);
    view.setUint16(at + 18, value.portCount, true);
    view.setUint32(at + 20, value.keepsMetadata, true);
  },
} as const;

/** `struct ph_relay_listen` */
export interface RelayListen {
  ip: Uint8Array;
  port: number;
  family: number;
}

/** `struct ph_relay_listen`: 20 bytes. */
export const RelayListen = {
  size: 20,
  offset: { ip: 0, port: 16, family: 18 },
  read(view: DataView, at = 0): RelayListen {
    return {
      ip: getBytes(view, at, 16),
      port: view.getUint16(at + 16),
      family: view.getUint16(at + 18, true),
    };
  },
  write(view: DataView, at: number, value: RelayListen): void {
    setBytes(view, at, value.ip, 16, "RelayListen.ip");
    view.setUint16(at + 16, value.port);
    view.setUint16(at + 18, value.family, true);
  },
} as const;

/** `struct ph_relay_service` */
export interface RelayService {
  table: number;
  tableSize: number;
  flags: number;
}

/** `struct ph_relay_service`: 16 bytes. */
export const RelayService = {
  size: 16,
  offset: { table: 0, tableSize: 4, flags: 8 },
  read(view: DataView, at = 0): RelayService {
    return {
      table: view.getUint32(at, true),
      tableSize: view.getUint32(at + 4, true),
      flags: view.getUint32(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: RelayService): void {
    view.setUint32(at, value.table, true);
    view.setUint32(at + 4, value.tableSize, true);
    view.setUint32(at + 8, value.flags, true);
    setZero(view, at + 12, 4);
  },
} as const;

/** `struct ph_relay_places` */
export interface RelayPlaces {
  backend: number[];
}

/** `struct ph_relay_places`: 8 bytes. */
export const RelayPlaces = {
  size: 8,
  offset: { backend: 0 },
  read(view: DataView, at = 0): RelayPlaces {
    return {
      backend: Array.from({ length: 4 }, (_, index) => view.getUint16(at + index * 2, true)),
    };
  },
  write(view: DataView, at: number, value: RelayPlaces): void {
    checkLength(value.backend.length, 4, "RelayPlaces.backend");
    value.backend.forEach((item, index) => view.setUint16(at + index * 2, item, true));
  },
} as const;

/** `struct ph_relay_backend` */
export interface RelayBackend {
  ip: Uint8Array;
  sourceIp: Uint8Array;
  port: number;
  state: number;
  service: number;
}

/** `struct ph_relay_backend`: 40 bytes. */
export const RelayBackend = {
  size: 40,
  offset: { ip: 0, sourceIp: 16, port: 32, state: 34, service: 36 },
  read(view: DataView, at = 0): RelayBackend {
    return {
      ip: getBytes(view, at, 16),
      sourceIp: getBytes(view, at + 16, 16),
      port: view.getUint16(at + 32),
      state: view.getUint16(at + 34, true),
      service: view.getUint32(at + 36, true),
    };
  },
  write(view: DataView, at: number, value: RelayBackend): void {
    setBytes(view, at, value.ip, 16, "RelayBackend.ip");
    setBytes(view, at + 16, value.sourceIp, 16, "RelayBackend.sourceIp");
    view.setUint16(at + 32, value.port);
    view.setUint16(at + 34, value.state, true);
    view.setUint32(at + 36, value.service, true);
  },
} as const;

/** `struct ph_relay_key` */
export interface RelayKey {
  srcIp: Uint8Array;
  dstIp: Uint8Array;
  srcPort: number;
  dstPort: number;
}

/** `struct ph_relay_key`: 36 bytes. */
export const RelayKey = {
  size: 36,
  offset: { srcIp: 0, dstIp: 16, srcPort: 32, dstPort: 34 },
  read(view: DataView, at = 0): RelayKey {
    return {
      srcIp: getBytes(view, at, 16),
      dstIp: getBytes(view, at + 16, 16),
      srcPort: view.getUint16(at + 32),
      dstPort: view.getUint16(at + 34),
    };
  },
  write(view: DataView, at: number, value: RelayKey): void {
    setBytes(view, at, value.srcIp, 16, "RelayKey.srcIp");
    setBytes(view, at + 16, value.dstIp, 16, "RelayKey.dstIp");
    view.setUint16(at + 32, value.srcPort);
    view.setUint16(at + 34, value.dstPort);
  },
} as const;

/** `struct ph_relay_way` */
export interface RelayWay {
  srcIp: Uint8Array;
  dstIp: Uint8Array;
  srcPort: number;
  dstPort: number;
  ipDelta: number;
  udpDelta: number;
  pseudo: number;
  mtu: number;
  backend: number;
  flags: number;
  dstMac: Uint8Array;
  srcMac: Uint8Array;
  ifindex: number;
  freshUntil: bigint;
  lastSeenNs: bigint;
  packets: bigint;
  bytes: bigint;
  generation: number;
  service: number;
}

/** `struct ph_relay_way`: 104 bytes. */
export const RelayWay = {
  size: 104,
  offset: {
    srcIp: 0,
    dstIp: 16,
    srcPort: 32,
    dstPort: 34,
    ipDelta: 36,
    udpDelta: 38,
    pseudo: 40,
    mtu: 42,
    backend: 44,
    flags: 46,
    dstMac: 48,
    srcMac: 54,
    ifindex: 60,
    freshUntil: 64,
    lastSeenNs: 72,
    packets: 80,
    bytes: 88,
    generation: 96,
    service: 100,
  },
  read(view: DataView, at = 0): RelayWay {
    return {
      srcIp: getBytes(view, at, 16),
      dstIp: getBytes(view, at + 16, 16),
      srcPort: view.getUint16(at + 32),
      dstPort: view.getUint16(at + 34),
      ipDelta: view.getUint16(at + 36, true),
      udpDelta: view.getUint16(at + 38, true),
      pseudo: view.getUint16(at + 40, true),
      mtu: view.getUint16(at + 42, true),
      backend: view.getUint16(at + 44, true),
      flags: view.getUint16(at + 46, true),
      dstMac: getBytes(view, at + 48, 6),
      srcMac: getBytes(view, at + 54, 6),
      ifindex: view.getUint32(at + 60, true),
      freshUntil: view.getBigUint64(at + 64, true),
      lastSeenNs: view.getBigUint64(at + 72, true),
      packets: view.getBigUint64(at + 80, true),
      bytes: view.getBigUint64(at + 88, true),
      generation: view.getUint32(at + 96, true),
      service: view.getUint32(at + 100, true),
    };
  },
  write(view: DataView, at: number, value: RelayWay): void {
    setBytes(view, at, value.srcIp, 16, "RelayWay.srcIp");
    setBytes(view, at + 16, value.dstIp, 16, "RelayWay.dstIp");
    view.setUint16(at + 32, value.srcPort);
    view.setUint16(at + 34, value.dstPort);
    view.setUint16(at + 36, value.ipDelta, true);
    view.setUint16(at + 38, value.udpDelta, true);
    view.setUint16(at + 40, value.pseudo, true);
    view.setUint16(at + 42, value.mtu, true);
    view.setUint16(at + 44, value.backend, true);
    view.setUint16(at + 46, value.flags, true);
    setBytes(view, at + 48, value.dstMac, 6, "RelayWay.dstMac");
    setBytes(view, at + 54, value.srcMac, 6, "RelayWay.srcMac");
    view.setUint32(at + 60, value.ifindex, true);
    view.setBigUint64(at + 64, value.freshUntil, true);
    view.setBigUint64(at + 72, value.lastSeenNs, true);
    view.setBigUint64(at + 80, value.packets, true);
    view.setBigUint64(at + 88, value.bytes, true);
    view.setUint32(at + 96, value.generation, true);
    view.setUint32(at + 100, value.service, true);
  },
} as const;

/** `struct ph_relay_cached` */
export interface RelayCached {
  key: RelayKey;
  way: RelayWay;
}

/** `struct ph_relay_cached`: 144 bytes. */
export const RelayCached = {
  size: 144,
  offset: { key: 0, way: 40 },
  read(view: DataView, at = 0): RelayCached {
    return {
      key: RelayKey.read(view, at),
      way: RelayWay.read(view, at + 40),
    };
  },
  write(view: DataView, at: number, value: RelayCached): void {
    RelayKey.write(view, at, value.key);
    RelayWay.write(view, at + 40, value.way);
    setZero(view, at + 36, 4);
  },
} as const;

/** `struct ph_relay_traffic` */
export interface RelayTraffic {
  packetsOut: bigint;
  bytesOut: bigint;
  packetsIn: bigint;
  bytesIn: bigint;
  flows: bigint;
}

/** `struct ph_relay_traffic`: 40 bytes. */
export const RelayTraffic = {
  size: 40,
  offset: { packetsOut: 0, bytesOut: 8, packetsIn: 16, bytesIn: 24, flows: 32 },
  read(view: DataView, at = 0): RelayTraffic {
    return {
      packetsOut: view.getBigUint64(at, true),
      bytesOut: view.getBigUint64(at + 8, true),
      packetsIn: view.getBigUint64(at + 16, true),
      bytesIn: view.getBigUint64(at + 24, true),
      flows: view.getBigUint64(at + 32, true),
    };
  },
  write(view: DataView, at: number, value: RelayTraffic): void {
    view.setBigUint64(at, value.packetsOut, true);
    view.setBigUint64(at + 8, value.bytesOut, true);
    view.setBigUint64(at + 16, value.packetsIn, true);
    view.setBigUint64(at + 24, value.bytesIn, true);
    view.setBigUint64(at + 32, value.flows, true);
  },
} as const;

/** `enum ph_tunnel_limit` */
export const TunnelLimit = {
  listenWords: 1024,
  maskKeys: 16,
  windowMs: 30000,
  packetBytes: 32,
  sessions: 65536,
  sources: 16384,
  salts: 65536,
  saltTurns: 2,
  firstAddresses: 4,
  workers: 256,
  xskFrameBytes: 1792,
  queues: 64,
  segments: 128,
  frontSlots: 512,
} as const;

export type TunnelLimit = (typeof TunnelLimit)[keyof typeof TunnelLimit];

/** `enum ph_packet_kind` */
export const PacketKind = {
  hello: 1,
  accept: 2,
  data0: 3,
  reset: 4,
  data1: 5,
} as const;

export type PacketKind = (typeof PacketKind)[keyof typeof PacketKind];

/** `struct ph_listen_word` */
export interface ListenWord {
  ports: bigint;
  relays: bigint;
  returns: bigint;
}

/** `struct ph_listen_word`: 24 bytes. */
export const ListenWord = {
  size: 24,
  offset: { ports: 0, relays: 8, returns: 16 },
  read(view: DataView, at = 0): ListenWord {
    return {
      ports: view.getBigUint64(at, true),
      relays: view.getBigUint64(at + 8, true),
      returns: view.getBigUint64(at + 16, true),
    };
  },
  write(view: DataView, at: number, value: ListenWord): void {
    view.setBigUint64(at, value.ports, true);
    view.setBigUint64(at + 8, value.relays, true);
    view.setBigUint64(at + 16, value.returns, true);
  },
} as const;

/** `struct ph_claim` */
export interface Claim {
  aliveUntilNs: bigint;
  first4: number[];
  first6: OwnAddress[];
  families: number;
}

/** `struct ph_claim`: 96 bytes. */
export const Claim = {
  size: 96,
  offset: { aliveUntilNs: 0, first4: 8, first6: 24, families: 88 },
  read(view: DataView, at = 0): Claim {
    return {
      aliveUntilNs: view.getBigUint64(at, true),
      first4: Array.from({ length: 4 }, (_, index) => view.getUint32(at + 8 + index * 4)),
      first6: Array.from({ length: 4 }, (_, index) => OwnAddress.read(view, at + 24 + index * 16)),
      families: view.getUint32(at + 88, true),
    };
  },
  write(view: DataView, at: number, value: Claim): void {
    view.setBigUint64(at, value.aliveUntilNs, true);
    checkLength(value.first4.length, 4, "Claim.first4");
    value.first4.forEach((item, index) => view.setUint32(at + 8 + index * 4, item));
    checkLength(value.first6.length, 4, "Claim.first6");
    value.first6.forEach((item, index) => OwnAddress.write(view, at + 24 + index * 16, item));
    view.setUint32(at + 88, value.families, true);
    setZero(view, at + 92, 4);
  },
} as const;

/** `struct ph_mask_key` */
export interface MaskKey {
  window: bigint;
  beginNs: bigint;
  k0: bigint;
  k1: bigint;
}

/** `struct ph_mask_key`: 32 bytes. */
export const MaskKey = {
  size: 32,
  offset: { window: 0, beginNs: 8, k0: 16, k1: 24 },
  read(view: DataView, at = 0): MaskKey {
    return {
      window: view.getBigUint64(at, true),
      beginNs: view.getBigUint64(at + 8, true),
      k0: view.getBigUint64(at + 16, true),
      k1: view.getBigUint64(at + 24, true),
    };
  },
  write(view: DataView, at: number, value: MaskKey): void {
    view.setBigUint64(at, value.window, true);
    view.setBigUint64(at + 8, value.beginNs, true);
    view.setBigUint64(at + 16, value.k0, true);
    view.setBigUint64(at + 24, value.k1, true);
  },
} as const;

/** `enum ph_config_flag` */
export const ConfigFlag = {
  filter: 1,
} as const;

export type ConfigFlag = (typeof ConfigFlag)[keyof typeof ConfigFlag];

/** `struct ph_config` */
export interface Config {
  flags: number;
  present: number;
  helloSourceCostNs: bigint;
  helloSourceRoomNs: bigint;
  helloTotalCostNs: bigint;
  helloTotalRoomNs: bigint;
  newSourceCostNs: bigint;
  newSourceRoomNs: bigint;
  newTimeoutNs: bigint;
  establishedTimeoutNs: bigint;
  closingTimeoutNs: bigint;
  workers: number;
  ownerMask: number;
}

/** `struct ph_config`: 88 bytes. */
export const Config = {
  size: 88,
  offset: {
    flags: 0,
    present: 4,
    helloSourceCostNs: 8,
    helloSourceRoomNs: 16,
    helloTotalCostNs: 24,
    helloTotalRoomNs: 32,
    newSourceCostNs: 40,
    newSourceRoomNs: 48,
    newTimeoutNs: 56,
    establishedTimeoutNs: 64,
    closingTimeoutNs: 72,
    workers: 80,
    ownerMask: 84,
  },
  read(view: DataView, at = 0): Config {
    return {
      flags: view.getUint32(at, true),
      present: view.getUint32(at + 4, true),
      helloSourceCostNs: view.getBigUint64(at + 8, true),
      helloSourceRoomNs: view.getBigUint64(at + 16, true),
      helloTotalCostNs: view.getBigUint64(at + 24, true),
      helloTotalRoomNs: view.getBigUint64(at + 32, true),
      newSourceCostNs: view.getBigUint64(at + 40, true),
      newSourceRoomNs: view.getBigUint64(at + 48, true),
      newTimeoutNs: view.getBigUint64(at + 56, true),
      establishedTimeoutNs: view.getBigUint64(at + 64, true),
      closingTimeoutNs: view.getBigUint64(at + 72, true),
      workers: view.getUint32(at + 80, true),
      ownerMask: view.getUint32(at + 84, true),
    };
  },
  write(view: DataView, at: number, value: Config): void {
    view.setUint32(at, value.flags, true);
    view.setUint32(at + 4, value.present, true);
    view.setBigUint64(at + 8, value.helloSourceCostNs, true);
    view.setBigUint64(at + 16, value.helloSourceRoomNs, true);
    view.setBigUint64(at + 24, value.helloTotalCostNs, true);
    view.setBigUint64(at + 32, value.helloTotalRoomNs, true);
    view.setBigUint64(at + 40, value.newSourceCostNs, true);
    view.setBigUint64(at + 48, value.newSourceRoomNs, true);
    view.setBigUint64(at + 56, value.newTimeoutNs, true);
    view.setBigUint64(at + 64, value.establishedTimeoutNs, true);
    view.setBigUint64(at + 72, value.closingTimeoutNs, true);
    view.setUint32(at + 80, value.workers, true);
    view.setUint32(at + 84, value.ownerMask, true);
  },
} as const;

/** `enum ph_delivery_flag` */
export const DeliveryFlag = {
  hellos: 1,
} as const;

export type DeliveryFlag = (typeof DeliveryFlag)[keyof typeof DeliveryFlag];

/** `struct ph_delivery` */
export interface Delivery {
  ifindex: number;
  workers: number;
  ownerMask: number;
  port: number;
  flags: number;
}

/** `struct ph_delivery`: 16 bytes. */
export const Delivery = {
  size: 16,
  offset: { ifindex: 0, workers: 4, ownerMask: 8, port: 12, flags: 14 },
  read(view: DataView, at = 0): Delivery {
    return {
      ifindex: view.getUint32(at, true),
      workers: view.getUint32(at + 4, true),
      ownerMask: view.getUint32(at + 8, true),
      port: view.getUint16(at + 12),
      flags: view.getUint16(at + 14, true),
    };
  },
  write(view: DataView, at: number, value: Delivery): void {
    view.setUint32(at, value.ifindex, true);
    view.setUint32(at + 4, value.workers, true);
    view.setUint32(at + 8, value.ownerMask, true);
    view.setUint16(at + 12, value.port);
    view.setUint16(at + 14, value.flags, true);
  },
} as const;

/** `struct ph_source_key` */
export interface SourceKey {
  prefix: bigint;
  family: number;
}

/** `struct ph_source_key`: 16 bytes. */
export const SourceKey = {
  size: 16,
  offset: { prefix: 0, family: 8 },
  read(view: DataView, at = 0): SourceKey {
    return {
      prefix: view.getBigUint64(at, true),
      family: view.getUint32(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: SourceKey): void {
    view.setBigUint64(at, value.prefix, true);
    view.setUint32(at + 8, value.family, true);
    setZero(view, at + 12, 4);
  },
} as const;

/** `struct ph_salt` */
export interface Salt {
  hash: bigint;
}

/** `struct ph_salt`: 8 bytes. */
export const Salt = {
  size: 8,
  offset: { hash: 0 },
  read(view: DataView, at = 0): Salt {
    return {
      hash: view.getBigUint64(at, true),
    };
  },
  write(view: DataView, at: number, value: Salt): void {
    view.setBigUint64(at, value.hash, true);
  },
} as const;

/** `struct ph_source_value` */
export interface SourceValue {
  helloNs: bigint;
  newNs: bigint;
}

/** `struct ph_source_value`: 16 bytes. */
export const SourceValue = {
  size: 16,
  offset: { helloNs: 0, newNs: 8 },
  read(view: DataView, at = 0): SourceValue {
    return {
      helloNs: view.getBigUint64(at, true),
      newNs: view.getBigUint64(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: SourceValue): void {
    view.setBigUint64(at, value.helloNs, true);
    view.setBigUint64(at + 8, value.newNs, true);
  },
} as const;

/** `struct ph_total` */
export interface Total {
  helloNs: bigint;
}

/** `struct ph_total`: 8 bytes. */
export const Total = {
  size: 8,
  offset: { helloNs: 0 },
  read(view: DataView, at = 0): Total {
    return {
      helloNs: view.getBigUint64(at, true),
    };
  },
  write(view: DataView, at: number, value: Total): void {
    view.setBigUint64(at, value.helloNs, true);
  },
} as const;

/** `struct ph_session_key` */
export interface SessionKey {
  srcIp: Uint8Array;
  dstIp: Uint8Array;
  srcPort: number;
  dstPort: number;
  protocol: number;
  family: number;
}

/** `struct ph_session_key`: 40 bytes. */
export const SessionKey = {
  size: 40,
  offset: { srcIp: 0, dstIp: 16, srcPort: 32, dstPort: 34, protocol: 36, family: 37 },
  read(view: DataView, at = 0): SessionKey {
    return {
      srcIp: getBytes(view, at, 16),
      dstIp: getBytes(view, at + 16, 16),
      srcPort: view.getUint16(at + 32),
      dstPort: view.getUint16(at + 34),
      protocol: view.getUint8(at + 36),
      family: view.getUint8(at + 37),
    };
  },
  write(view: DataView, at: number, value: SessionKey): void {
    setBytes(view, at, value.srcIp, 16, "SessionKey.srcIp");
    setBytes(view, at + 16, value.dstIp, 16, "SessionKey.dstIp");
    view.setUint16(at + 32, value.srcPort);
    view.setUint16(at + 34, value.dstPort);
    view.setUint8(at + 36, value.protocol);
    view.setUint8(at + 37, value.family);
    setZero(view, at + 38, 2);
  },
} as const;

/** `enum ph_session_state` */
export const SessionState = {
  new: 1,
  established: 2,
  closing: 3,
} as const;

export type SessionState = (typeof SessionState)[keyof typeof SessionState];

/** `enum ph_session_flag` */
export const SessionFlag = {
  hello: 1,
} as const;

export type SessionFlag = (typeof SessionFlag)[keyof typeof SessionFlag];

/** `struct ph_session_value` */
export interface SessionValue {
  peerIp: Uint8Array;
  peerPort: number;
  state: number;
  flags: number;
  family: number;
  createdNs: bigint;
  lastSeenNs: bigint;
  bytesIn: bigint;
  bytesOut: bigint;
  packetsIn: number;
  packetsOut: number;
}

/** `struct ph_session_value`: 64 bytes. */
export const SessionValue = {
  size: 64,
  offset: {
    peerIp: 0,
    peerPort: 16,
    state: 18,
    flags: 19,
    family: 20,
    createdNs: 24,
    lastSeenNs: 32,
    bytesIn: 40,
    bytesOut: 48,
    packetsIn: 56,
    packetsOut: 60,
  },
  read(view: DataView, at = 0): SessionValue {
    return {
      peerIp: getBytes(view, at, 16),
      peerPort: view.getUint16(at + 16),
      state: view.getUint8(at + 18),
      flags: view.getUint8(at + 19),
      family: view.getUint8(at + 20),
      createdNs: view.getBigUint64(at + 24, true),
      lastSeenNs: view.getBigUint64(at + 32, true),
      bytesIn: view.getBigUint64(at + 40, true),
      bytesOut: view.getBigUint64(at + 48, true),
      packetsIn: view.getUint32(at + 56, true),
      packetsOut: view.getUint32(at + 60, true),
    };
  },
  write(view: DataView, at: number, value: SessionValue): void {
    setBytes(view, at, value.peerIp, 16, "SessionValue.peerIp");
    view.setUint16(at + 16, value.peerPort);
    view.setUint8(at + 18, value.state);
    view.setUint8(at + 19, value.flags);
    view.setUint8(at + 20, value.family);
    view.setBigUint64(at + 24, value.createdNs, true);
    view.setBigUint64(at + 32, value.lastSeenNs, true);
    view.setBigUint64(at + 40, value.bytesIn, true);
    view.setBigUint64(at + 48, value.bytesOut, true);
    view.setUint32(at + 56, value.packetsIn, true);
    view.setUint32(at + 60, value.packetsOut, true);
    setZero(view, at + 21, 3);
  },
} as const;

/** `struct ph_front` */
export interface Front {
  key: SessionKey;
  tickNs: bigint;
  bytes: bigint;
  packets: number;
}

/** `struct ph_front`: 64 bytes. */
export const Front = {
  size: 64,
  offset: { key: 0, tickNs: 40, bytes: 48, packets: 56 },
  read(view: DataView, at = 0): Front {
    return {
      key: SessionKey.read(view, at),
      tickNs: view.getBigUint64(at + 40, true),
      bytes: view.getBigUint64(at + 48, true),
      packets: view.getUint32(at + 56, true),
    };
  },
  write(view: DataView, at: number, value: Front): void {
    SessionKey.write(view, at, value.key);
    view.setBigUint64(at + 40, value.tickNs, true);
    view.setBigUint64(at + 48, value.bytes, true);
    view.setUint32(at + 56, value.packets, true);
    setZero(view, at + 60, 4);
  },
} as const;

/** `enum ph_request_limit` */
export const RequestLimit = {
  run: 48,
  headBytes: 16,
  slots: 16,
} as const;

export type RequestLimit = (typeof RequestLimit)[keyof typeof RequestLimit];

/** `enum ph_session_op` */
export const SessionOp = {
  establish: 1,
  close: 2,
  expire: 3,
  flush: 4,
  sent: 5,
} as const;

export type SessionOp = (typeof SessionOp)[keyof typeof SessionOp];

/** `enum ph_session_result` */
export const SessionResult = {
  none: 0,
  done: 1,
  missing: 2,
  kept: 3,
} as const;

export type SessionResult = (typeof SessionResult)[keyof typeof SessionResult];

const SESSION_RESULT_NAMES: Readonly<Record<number, string>> = {
  0: "none",
  1: "done",
  2: "missing",
  3: "kept",
};

/** The name of a value of `enum ph_session_result`, or the number as text. */
export function sessionResultName(value: number): string {
  return SESSION_RESULT_NAMES[value] ?? String(value);
}

/** `struct ph_session_request` */
export interface SessionRequest {
  key: Uint8Array;
  op: number;
  result: number;
  bytes: bigint;
  packets: number;
}

/** `struct ph_session_request`: 64 bytes. */
export const SessionRequest = {
  size: 64,
  offset: { key: 0, op: 40, result: 44, bytes: 48, packets: 56 },
  read(view: DataView, at = 0): SessionRequest {
    return {
      key: getBytes(view, at, 40),
      op: view.getUint32(at + 40, true),
      result: view.getUint32(at + 44, true),
      bytes: view.getBigUint64(at + 48, true),
      packets: view.getUint32(at + 56, true),
    };
  },
  write(view: DataView, at: number, value: SessionRequest): void {
    setBytes(view, at, value.key, 40, "SessionRequest.key");
    view.setUint32(at + 40, value.op, true);
    view.setUint32(at + 44, value.result, true);
    view.setBigUint64(at + 48, value.bytes, true);
    view.setUint32(at + 56, value.packets, true);
    setZero(view, at + 60, 4);
  },
} as const;

/** The maps of our BPF objects. A key or value is a layout above, a scalar or bytes. */
export const maps = {
  claim: {
    type: "array",
    keySize: 4,
    valueSize: 96,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "Claim",
  },
  config: {
    type: "array",
    keySize: 4,
    valueSize: 88,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "Config",
  },
  delivery: {
    type: "array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "Delivery",
  },
  event_gate: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 10,
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
  front: {
    type: "array",
    keySize: 4,
    valueSize: 64,
    maxEntries: 4096,
    flags: 0,
    key: "u32",
    value: "Front",
  },
  listen_ports: {
    type: "array",
    keySize: 4,
    valueSize: 24,
    maxEntries: 1024,
    flags: 0,
    key: "u32",
    value: "ListenWord",
  },
  mask_keys: {
    type: "array",
    keySize: 4,
    valueSize: 32,
    maxEntries: 16,
    flags: 0,
    key: "u32",
    value: "MaskKey",
  },
  own_addresses: {
    type: "hash",
    keySize: 16,
    valueSize: 4,
    maxEntries: 4096,
    flags: 0,
    key: "OwnAddress",
    value: "u32",
  },
  perf_events: {
    type: "perf_event_array",
    keySize: 4,
    valueSize: 4,
    maxEntries: 0,
    flags: 0,
    key: null,
    value: null,
  },
  relay_backends: {
    type: "array",
    keySize: 4,
    valueSize: 40,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "RelayBackend",
  },
  relay_cache: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 144,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "RelayCached",
  },
  relay_config: {
    type: "array",
    keySize: 4,
    valueSize: 24,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "RelayConfig",
  },
  relay_counts: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 18,
    flags: 0,
    key: "u32",
    value: "Stat",
  },
  relay_devices: {
    type: "devmap_hash",
    keySize: 4,
    valueSize: 4,
    maxEntries: 64,
    flags: 0,
    key: "u32",
    value: "u32",
  },
  relay_flows: {
    type: "lru_hash",
    keySize: 36,
    valueSize: 104,
    maxEntries: 2,
    flags: 0,
    key: "RelayKey",
    value: "RelayWay",
  },
  relay_listens: {
    type: "hash",
    keySize: 20,
    valueSize: 4,
    maxEntries: 1,
    flags: 0,
    key: "RelayListen",
    value: "u32",
  },
  relay_maglev: {
    type: "array",
    keySize: 4,
    valueSize: 8,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "RelayPlaces",
  },
  relay_scratch: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 104,
    maxEntries: 2,
    flags: 0,
    key: "u32",
    value: "RelayWay",
  },
  relay_services: {
    type: "array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "RelayService",
  },
  relay_traffic: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 40,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "RelayTraffic",
  },
  salts: {
    type: "lru_hash",
    keySize: 8,
    valueSize: 4,
    maxEntries: 65536,
    flags: 0,
    key: "Salt",
    value: "u32",
  },
  sessions: {
    type: "lru_hash",
    keySize: 40,
    valueSize: 64,
    maxEntries: 65536,
    flags: 0,
    key: "SessionKey",
    value: "SessionValue",
  },
  sources: {
    type: "lru_hash",
    keySize: 16,
    valueSize: 16,
    maxEntries: 16384,
    flags: 0,
    key: "SourceKey",
    value: "SourceValue",
  },
  stats: {
    type: "percpu_array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 40,
    flags: 0,
    key: "u32",
    value: "Stat",
  },
  totals: {
    type: "array",
    keySize: 4,
    valueSize: 8,
    maxEntries: 1,
    flags: 0,
    key: "u32",
    value: "Total",
  },
  workers: {
    type: "reuseport_sockarray",
    keySize: 4,
    valueSize: 8,
    maxEntries: 256,
    flags: 0,
    key: "u32",
    value: "u64",
  },
  xsks: {
    type: "xskmap",
    keySize: 4,
    valueSize: 4,
    maxEntries: 64,
    flags: 0,
    key: "u32",
    value: "u32",
  },
} as const;

export type MapName = keyof typeof maps;

/** Our BPF objects. */
export type ObjectName = "steer" | "tc_egress" | "xdp_phantom" | "xdp_sessions";

/** Which of the layouts above an object has. */
export interface ObjectLayout {
  /** layoutHashOf() all of them. */
  readonly hash: string;
  /** That of each, by its C name: see layoutDifferences() in layout_hash.ts. */
  readonly hashes: Readonly<Record<string, string>>;
}

export const layouts: Readonly<Record<ObjectName, ObjectLayout>> = {
  steer: {
    hash: "80d99d73a03fbbff",
    hashes: {
      ph_stat: "c86866d4dad48088",
      ph_mask_key: "eac286e830b4f27d",
      ph_config: "f7317e1254316c54",
    },
  },
  tc_egress: {
    hash: "4e86949f6d69d9a7",
    hashes: {
      ph_listen_word: "b1ae6e501f7622fe",
      ph_session_key: "40ab578e6fd54890",
      ph_session_value: "96b84e30d5b015a2",
    },
  },
  xdp_phantom: {
    hash: "83a2a3aef7e464da",
    hashes: {
      ph_limit: "3adec252cd77d05e",
      ph_verdict: "7c2b0fa6711c45ba",
      ph_reason: "ef55dc37a8af74e9",
      ph_own_address: "ddfae1099656a2a2",
      ph_stat: "c86866d4dad48088",
      ph_event_gate: "878f895b58b79fb5",
      ph_event_kind: "aff8935db16c263a",
      ph_event: "12b268bc17c8fef7",
      ph_relay_limit: "48db0c0033cdbd30",
      ph_relay_outcome: "b15094eaeb3abb20",
      ph_relay_backend_state: "d5323adff39252ae",
      ph_relay_flag: "e3a2c2e4aa574a4f",
      ph_relay_config: "56301fdd15a33fa9",
      ph_relay_listen: "6ce2d26b5bd3e404",
      ph_relay_service: "87d91acb091df064",
      ph_relay_places: "94825e10849cf0f9",
      ph_relay_backend: "e24e90d6fed84c4c",
      ph_relay_key: "3082b15797572b7c",
      ph_relay_way: "02398526ab0e12d7",
      ph_relay_cached: "96ad1fb136a4dd79",
      ph_relay_traffic: "de445e224b6ba7c6",
      ph_tunnel_limit: "36a301d0700b12b3",
      ph_packet_kind: "3566a6bd938c0aa9",
      ph_listen_word: "b1ae6e501f7622fe",
      ph_claim: "259e069806508389",
      ph_mask_key: "eac286e830b4f27d",
      ph_config_flag: "f6310b460c0a7703",
      ph_config: "f7317e1254316c54",
      ph_delivery_flag: "7e05fe19594053fc",
      ph_delivery: "80f017d18bfa2cba",
      ph_source_key: "583757dea06de92a",
      ph_salt: "585cf2d610511ef4",
      ph_source_value: "3988bd27d71922fd",
      ph_total: "4bf905087368d482",
      ph_session_key: "40ab578e6fd54890",
      ph_session_state: "b265101fe161b04b",
      ph_session_flag: "bda242419850f0bf",
      ph_session_value: "96b84e30d5b015a2",
      ph_front: "5bbb6039812fbab3",
    },
  },
  xdp_sessions: {
    hash: "9d105ab79c99632a",
    hashes: {
      ph_event_gate: "878f895b58b79fb5",
      ph_event_kind: "aff8935db16c263a",
      ph_event: "12b268bc17c8fef7",
      ph_config: "f7317e1254316c54",
      ph_session_key: "40ab578e6fd54890",
      ph_session_state: "b265101fe161b04b",
      ph_session_value: "96b84e30d5b015a2",
      ph_front: "5bbb6039812fbab3",
      ph_request_limit: "bd18cc1271a42fdc",
      ph_session_op: "a19a40e76e04803b",
      ph_session_result: "f5d0b27b9d038f4f",
      ph_session_request: "1c3654d44dec436e",
    },
  },
};

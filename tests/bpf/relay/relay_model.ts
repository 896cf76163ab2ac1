/**
 * What the relay promises of a frame, said a second time: by the meaning of the outcomes in
 * bpf/contract/relay.h and by the RFCs. Knows the flows that it made itself. Slow and plain.
 */

import { RelayLimit, RelayOutcome } from "../../../ffi/bpf/layout.gen.ts";
import { clientHash, maglevTable } from "../../../src/relay/maglev.ts";
import type { RelayPlan } from "../../../src/relay/kernel_relay.ts";

/** Verdicts of XDP. */
export const Action = { drop: 1, pass: 2, tx: 3, redirect: 4 } as const;

export interface RelayVerdict {
  readonly action: number;
  /** What is counted beside; undefined: nothing. */
  readonly outcome?: RelayOutcome;
  readonly isNew?: boolean;
  readonly isCompleted?: boolean;
  readonly frame: Uint8Array<ArrayBuffer>;
}

/** Where a route leads: the interface, and the link addresses that are written. */
export interface NextHop {
  readonly ifindex: number;
  readonly to: readonly number[];
  readonly from: readonly number[];
  readonly mtu: number;
}

export interface RelayWorld {
  readonly plan: RelayPlan;
  /** Whether who gets a frame knows of a checksum that it is only begun. */
  readonly isGeneric: boolean;
  /** Whether an address (hex of 16 bytes) is the relay's own. */
  isLocal(ip: string): boolean;
  /** Undefined: there is none. */
  route(ip: string): NextHop | undefined;
  /** Our address towards a backend, as hex. */
  source(ip: string): string;
}

interface Ends {
  readonly src: string;
  readonly dst: string;
  readonly srcPort: number;
  readonly dstPort: number;
}

interface Headers extends Ends {
  readonly isV4: boolean;
  readonly udpAt: number;
  readonly udpLength: number;
  readonly room: number;
  readonly total: number;
  readonly hops: number;
  readonly check: number;
}

const ETH = 14;
const V4_PREFIX = "00000000000000000000ffff";

export class RelayModel {
  readonly #world: RelayWorld;
  /** By the key of the packets that take it. */
  readonly #ways = new Map<string, Ends>();
  readonly #tables: Uint16Array[];

  constructor(world: RelayWorld) {
    this.#world = world;
    this.#tables = world.plan.services.map(({ backends }) =>
      maglevTable(
        backends.map(({ ip, port, weight }) => ({ name: `${ip.toHex()}:${port}`, weight })),
        RelayLimit.table,
      )
    );
  }

  /** Of a frame that came by an interface; undefined: not the relay's business. */
  apply(frame: Uint8Array<ArrayBuffer>, ifindex: number): RelayVerdict | undefined {
    const port = udpPortOf(frame);
    if (port === undefined) return undefined;
    const { services, ports } = this.#world.plan;
    const isReturn = port >= ports.first && port < ports.first + ports.count;
    const isRelay = services.some(({ first, last }) => port >= first && port <= last);
    if (!isReturn && !isRelay) return undefined;
    const headers = headersOf(frame);
    if (headers === undefined) {
      return isReturn ? undefined : this.#pass(frame, RelayOutcome.unusual);
    }
    let way = this.#ways.get(keyOf(headers));
    if (isReturn && way === undefined) return undefined;
    const { udpLength, room, isV4, check } = headers;
    if (udpLength < 8 || udpLength > room || (!isV4 && check === 0)) {
      if (way === undefined) return this.#pass(frame, RelayOutcome.unusual);
      return { action: Action.drop, outcome: RelayOutcome.badUdp, frame };
    }
    let isNew = false;
    if (way === undefined) {
      const made = this.#make(headers);
      if (made === undefined) return undefined;
      if (typeof made === "number") {
        const isDrop = made >= RelayOutcome.badUdp;
        return isDrop ? { action: Action.drop, outcome: made, frame } : this.#pass(frame, made);
      }
      way = made;
      isNew = true;
    }
    return this.#carry(frame, headers, way, { isNew, ifindex });
  }

  #pass(frame: Uint8Array<ArrayBuffer>, outcome: RelayOutcome): RelayVerdict {
    return { action: Action.pass, outcome, frame };
  }

  #carry(
    frame: Uint8Array<ArrayBuffer>,
    headers: Headers,
    way: Ends,
    { isNew, ifindex }: { isNew: boolean; ifindex: number },
  ): RelayVerdict {
    const hop = this.#world.route(way.dst)!;
    const fresh = isNew ? { isNew } : {};
    if (headers.hops <= 1) {
      return { action: Action.drop, outcome: RelayOutcome.noHops, ...fresh, frame };
    }
    if (headers.total > hop.mtu) return { ...this.#pass(frame, RelayOutcome.tooLong), ...fresh };
    const out = frame.slice();
    const isBegun = headers.check === folded(pseudoSum(headers) + headers.udpLength);
    const begun = isBegun ? { isCompleted: true } : {};
    const staysBegun = isBegun && this.#world.isGeneric && !isSumRight(frame, headers);
    if (isBegun && !this.#world.isGeneric) complete(out, headers);
    rewrite(out, headers, way, hop);
    if (staysBegun) {
      const sum = pseudoSum({ ...way, isV4: headers.isV4 }) + headers.udpLength;
      setU16(out, headers.udpAt + 6, folded(sum));
    }
    const action = hop.ifindex === ifindex ? Action.tx : Action.redirect;
    return { action, ...fresh, ...begun, frame: out };
  }

  /** Undefined: no service; a number: why there is no way. */
  #make(headers: Headers): Ends | RelayOutcome | undefined {
    const { services, ports } = this.#world.plan;
    const fits = (service: typeof services[number]) =>
      headers.dstPort >= service.first && headers.dstPort <= service.last;
    const exact = services.findIndex((one) => fits(one) && one.ip?.toHex() === headers.dst);
    const index = exact >= 0
      ? exact
      : services.findIndex((one) =>
        fits(one) && one.ip === undefined &&
        headers.isV4 === one.backends[0]!.ip.toHex().startsWith(V4_PREFIX)
      );
    if (index < 0) return undefined;
    if (exact < 0 && !this.#world.isLocal(headers.dst)) return RelayOutcome.notLocal;
    const service = services[index]!;
    const client = Uint8Array.fromHex(headers.src);
    const hash = clientHash(client, service.byPort ? headers.srcPort : undefined);
    const backend = service.backends[this.#tables[index]![hash % RelayLimit.table]!]!;
    const dst = backend.ip.toHex();
    const src = this.#world.source(dst);
    if (this.#world.route(dst) === undefined) return RelayOutcome.noRoute;
    const start = clientHash(client, headers.srcPort);
    for (let i = 0; i < RelayLimit.portProbes; i++) {
      const by = (start + i * RelayLimit.portStep) % 2 ** 32;
      const port = ports.first + by % ports.count;
      const reply = { src: dst, dst: src, srcPort: backend.port, dstPort: port };
      if (this.#ways.has(keyOf(reply))) continue;
      const back = {
        src: headers.dst,
        dst: headers.src,
        srcPort: headers.dstPort,
        dstPort: headers.srcPort,
      };
      const way = { src, dst, srcPort: port, dstPort: backend.port };
      this.#ways.set(keyOf(reply), back);
      this.#ways.set(keyOf(headers), way);
      return way;
    }
    return RelayOutcome.noPort;
  }
}

/** The port that a UDP packet goes to, tagged or not, as parse.h finds it. */
function udpPortOf(frame: Uint8Array): number | undefined {
  let at = ETH;
  let type = u16(frame, 12);
  for (let tags = 0; type === 0x8100 || type === 0x88a8; tags++) {
    if (tags === 2 || frame.length < at + 4) return undefined;
    type = u16(frame, at + 2);
    at += 4;
  }
  if (type === 0x0800) {
    const header = (frame[at]! & 15) * 4;
    const total = u16(frame, at + 2);
    const isSound = frame.length >= at + 20 && frame[at]! >> 4 === 4 && header >= 20 &&
      total >= header + 8 && at + total <= frame.length && frame[at + 9] === 17 &&
      (u16(frame, at + 6) & 0x3fff) === 0;
    return isSound ? u16(frame, at + header + 2) : undefined;
  }
  // Of IPv6, tests send no extension headers here: the parser's own model has those.
  if (type !== 0x86dd || frame.length < at + 48 || frame[at]! >> 4 !== 6) return undefined;
  const length = u16(frame, at + 4);
  if (length < 8 || at + 40 + length > frame.length || frame[at + 6] !== 17) return undefined;
  return u16(frame, at + 42);
}

/** Of the one arrangement that the relay rewrites. */
function headersOf(frame: Uint8Array): Headers | undefined {
  const type = u16(frame, 12);
  if (type !== 0x0800 && type !== 0x86dd) return undefined;
  const isV4 = type === 0x0800;
  if (isV4 && (frame[ETH]! & 15) !== 5) return undefined;
  const udpAt = ETH + (isV4 ? 20 : 40);
  const hex = (at: number, length: number) => frame.slice(at, at + length).toHex();
  return {
    isV4,
    udpAt,
    src: isV4 ? V4_PREFIX + hex(ETH + 12, 4) : hex(ETH + 8, 16),
    dst: isV4 ? V4_PREFIX + hex(ETH + 16, 4) : hex(ETH + 24, 16),
    srcPort: u16(frame, udpAt),
    dstPort: u16(frame, udpAt + 2),
    udpLength: u16(frame, udpAt + 4),
    check: u16(frame, udpAt + 6),
    room: isV4 ? u16(frame, ETH + 2) - 20 : u16(frame, ETH + 4),
    total: isV4 ? u16(frame, ETH + 2) : 40 + u16(frame, ETH + 4),
    hops: frame[ETH + (isV4 ? 8 : 7)]!,
  };
}

/** The datagram's sum with what stands in its checksum's place. */
function datagramSum(frame: Uint8Array, headers: Headers): number {
  const { udpAt, udpLength } = headers;
  const sum = sumOf(frame.subarray(udpAt, udpAt + udpLength));
  return folded(pseudoSum(headers) + udpLength + sum);
}

function isSumRight(frame: Uint8Array, headers: Headers): boolean {
  return datagramSum(frame, headers) === 0xffff;
}

function complete(out: Uint8Array<ArrayBuffer>, headers: Headers): void {
  setU16(out, headers.udpAt + 6, 0);
  setU16(out, headers.udpAt + 6, ~datagramSum(out, headers) & 0xffff || 0xffff);
}

function rewrite(
  out: Uint8Array<ArrayBuffer>,
  { isV4, udpAt, ...old }: Headers,
  way: Ends,
  hop: NextHop,
): void {
  const ends = (one: Ends) => sumOf(Uint8Array.fromHex(one.src + one.dst));
  const ports = (one: Ends) => one.srcPort + one.dstPort;
  const check = u16(out, udpAt + 6);
  // RFC 1624, 3: HC' = ~(~HC + ~m + m').
  if (check !== 0) {
    const was = folded(ends(old) + ports(old));
    const is = folded(ends(way) + ports(way));
    const sum = ~folded((~check & 0xffff) + (~was & 0xffff) + is) & 0xffff;
    setU16(out, udpAt + 6, sum || 0xffff);
  }
  setU16(out, udpAt, way.srcPort);
  setU16(out, udpAt + 2, way.dstPort);
  if (isV4) {
    const header = u16(out, ETH + 10);
    const was = folded(ends(old));
    const is = folded(ends(way));
    const less = ~0x0100 & 0xffff;
    setU16(
      out,
      ETH + 10,
      ~folded((~header & 0xffff) + folded((~was & 0xffff) + is + less)) & 0xffff,
    );
    out[ETH + 8]! -= 1;
    out.set(Uint8Array.fromHex(way.src.slice(24) + way.dst.slice(24)), ETH + 12);
  } else {
    out[ETH + 7]! -= 1;
    out.set(Uint8Array.fromHex(way.src + way.dst), ETH + 8);
  }
  out.set(hop.to, 0);
  out.set(hop.from, 6);
}

function pseudoSum(
  { src, dst, isV4 }: Pick<Headers, "src" | "dst" | "isV4">,
): number {
  const from = isV4 ? 24 : 0;
  return sumOf(Uint8Array.fromHex(src.slice(from) + dst.slice(from))) + 17;
}

function keyOf({ src, dst, srcPort, dstPort }: Ends): string {
  return `${src} ${srcPort} ${dst} ${dstPort}`;
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes[at]! << 8 | (bytes[at + 1] ?? 0);
  return sum;
}

/** Ones' complement, to 16 bits. */
function folded(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

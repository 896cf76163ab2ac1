/**
 * The relay's maps in the kernel: sized before the program is loaded, filled from what is to be
 * relayed, changed while packets go through. User space never writes a flow; it only lets idle
 * ones go.
 */

import {
  RelayBackend,
  RelayBackendState,
  RelayConfig,
  RelayFlag,
  RelayLimit,
  RelayListen,
  RelayOutcome,
  relayOutcomeName,
  RelayService,
  RelayWay,
} from "../../ffi/bpf/layout.gen.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import { isIpv4Mapped } from "../base/ip.ts";
import { NS_A_MS } from "../base/units.ts";
import { LISTEN_PORTS, setPorts } from "../kernel/listen_ports.ts";
import type { ProgramPart } from "../kernel/object_plane.ts";
import { maglevTable, NOBODY } from "./maglev.ts";

/** The places of a service in relay_maglev: four to an entry. */
const ENTRIES_A_SERVICE = Math.ceil(RelayLimit.table / 4);
/** How long a way's next hop is believed, in ticks: a quarter of a second to 2.5 s. */
const FRESH_JIFFIES = 256;

export type BackendState = "up" | "draining" | "down";

export interface RelayBackendSpec {
  /** 16 bytes, IPv4 mapped. */
  readonly ip: Uint8Array<ArrayBuffer>;
  readonly port: number;
  readonly weight: number;
}

export interface RelayServiceSpec {
  /** 16 bytes; undefined: any address of this machine. */
  readonly ip?: Uint8Array<ArrayBuffer>;
  /** The ports, first to last. */
  readonly first: number;
  readonly last: number;
  readonly backends: readonly RelayBackendSpec[];
  /** Only packets that unmask. */
  readonly phantomOnly?: boolean;
  /** A client's ports may go to different backends. */
  readonly byPort?: boolean;
}

export interface RelayRange {
  readonly first: number;
  readonly count: number;
}

export interface RelayPlan {
  readonly services: readonly RelayServiceSpec[];
  /** The ports that the relay sends from. */
  readonly ports: RelayRange;
  readonly idleMs: number;
  readonly flowsMax: number;
}

/** What is known of a backend: whether it is to be used, and our address towards it. */
export interface BackendNow {
  readonly state: BackendState;
  /** 16 bytes; undefined: no route. */
  readonly source: Uint8Array<ArrayBuffer> | undefined;
}

export interface RelayCount {
  readonly outcome: string;
  readonly packets: number;
  readonly bytes: number;
}

/**
 * What the relay brings to the program on XDP: maps as large as the plan needs and the ports; or it
 * is taken out of the program.
 */
export function relayPart(plan: RelayPlan | undefined): ProgramPart {
  const prepare = (map: (name: string) => BpfMap) =>
    setPorts(map(LISTEN_PORTS), plan === undefined ? NO_PORTS : portsOf(plan));
  if (plan === undefined || plan.services.length === 0) {
    return { constants: { relay_enabled: 0 }, prepare };
  }
  const services = plan.services.length;
  const backends = plan.services.reduce((sum, one) => sum + one.backends.length, 0);
  const listens = plan.services.reduce((sum, one) => sum + one.last - one.first + 1, 0);
  return {
    constants: { relay_cache_mask: RelayLimit.cache - 1 },
    sizes: {
      relay_listens: listens,
      relay_services: services,
      relay_maglev: services * ENTRIES_A_SERVICE,
      relay_backends: backends,
      relay_traffic: backends,
      relay_flows: 2 * plan.flowsMax,
      relay_cache: RelayLimit.cache,
    },
    prepare,
  };
}

export interface KernelRelayOptions {
  readonly map: (name: string) => BpfMap;
  readonly plan: RelayPlan;
}

const stateCodes = {
  up: RelayBackendState.up,
  draining: RelayBackendState.draining,
  down: RelayBackendState.down,
} as const;

export class KernelRelay {
  readonly #map: (name: string) => BpfMap;
  readonly #plan: RelayPlan;
  #keepsMetadata = 0;
  /** The first backend of each service. */
  readonly #firsts: readonly number[];
  #generation: number;

  constructor({ map, plan }: KernelRelayOptions) {
    this.#map = map;
    this.#plan = plan;
    let next = 0;
    this.#firsts = plan.services.map(({ backends }) => (next += backends.length) - backends.length);
    this.#generation = this.#earlierGeneration();
    this.#writeListens();
  }

  /**
   * Says how the backends are, service by service. Flows of those that are down move to others
   * with their next packet, flows of those that are draining stay.
   */
  update(now: readonly (readonly BackendNow[])[]): void {
    this.#plan.services.forEach((service, index) => {
      service.backends.forEach((backend, at) => this.#writeBackend(index, at, backend, now));
    });
    this.#plan.services.forEach((service, index) => this.#writeTable(service, index, now[index]!));
    this.#generation = (this.#generation + 1) >>> 0;
    this.#writeConfig();
  }

  /**
   * The interfaces that frames may leave by, beside the one they came by. `generic`: XDP runs in
   * its generic mode, where what a frame's sender left to hardware stays known.
   */
  setDevices(indices: readonly number[], generic = false): void {
    const devices = this.#map("relay_devices");
    for (const index of indices) devices.set(bytesOf(index), bytesOf(index));
    this.#keepsMetadata = Number(generic);
  }

  /** What became of packets. */
  counts(): RelayCount[] {
    const sums = this.#map("relay_counts").sums();
    return Array.from({ length: RelayOutcome.count }, (_, outcome) => ({
      outcome: relayOutcomeName(outcome),
      packets: sums[2 * outcome]!,
      bytes: sums[2 * outcome + 1]!,
    })).filter(({ packets }) => packets > 0);
  }

  /** Packets out, bytes out, packets in, bytes in, flows begun: of each backend of a service. */
  traffic(service: number): Float64Array[] {
    const sums = this.#map("relay_traffic").sums();
    return this.#plan.services[service]!.backends.map((_, at) => {
      const from = 5 * (this.#firsts[service]! + at);
      return sums.slice(from, from + 5);
    });
  }

  /** Lets flows go that have been idle; how many there are and were let go. */
  sweep(nowNs: bigint): { readonly flows: number; readonly ended: number } {
    const map = this.#map("relay_flows");
    const idleNs = BigInt(this.#plan.idleMs * NS_A_MS);
    const old = map.rows(map.info.maxEntries);
    let ways = 0;
    for (const rows of map.batches()) {
      const view = new DataView(rows.values.buffer, rows.values.byteOffset);
      for (let i = 0; i < rows.count; i++) {
        ways++;
        const seen = view.getBigUint64(i * RelayWay.size + LAST_SEEN_AT, true);
        if (nowNs - seen <= idleNs) continue;
        const { keySize } = map.info;
        old.keys.set(
          rows.keys.subarray(i * keySize, (i + 1) * keySize),
          old.count++ * keySize,
        );
      }
    }
    map.deleteMany(old);
    return { flows: ways / 2, ended: old.count / 2 };
  }

  /** Ways that are older than the plan are looked at again, also those of an earlier run. */
  #earlierGeneration(): number {
    const bytes = this.#map("relay_config").get(new Uint8Array(4));
    return bytes === undefined ? 0 : RelayConfig.read(viewOf(bytes), 0).generation;
  }

  #writeListens(): void {
    const map = this.#map("relay_listens");
    const stale = new Set([...map.keys()].map((key) => key.toHex()));
    this.#plan.services.forEach(({ ip, first, last, backends }, index) => {
      // Between families only user space relays.
      const family = ip !== undefined ? 0 : isIpv4Mapped(backends[0]!.ip) ? 4 : 6;
      for (let port = first; port <= last; port++) {
        const key = new Uint8Array(RelayListen.size);
        RelayListen.write(viewOf(key), 0, { ip: ip ?? new Uint8Array(16), port, family });
        map.set(key, bytesOf(index));
        stale.delete(key.toHex());
      }
    });
    for (const key of stale) map.delete(Uint8Array.fromHex(key));
  }

  #writeBackend(
    service: number,
    at: number,
    { ip, port }: RelayBackendSpec,
    now: readonly (readonly BackendNow[])[],
  ): void {
    const { state, source } = now[service]![at]!;
    const value = new Uint8Array(RelayBackend.size);
    RelayBackend.write(viewOf(value), 0, {
      ip,
      sourceIp: source ?? new Uint8Array(16),
      port,
      state: source === undefined ? RelayBackendState.down : stateCodes[state],
      service,
    });
    this.#map("relay_backends").set(bytesOf(this.#firsts[service]! + at), value);
  }

  #writeTable(service: RelayServiceSpec, index: number, now: readonly BackendNow[]): void {
    const table = tableOf(service, now);
    const isEmpty = table[0] === NOBODY;
    const first = index * ENTRIES_A_SERVICE;
    if (!isEmpty) {
      const map = this.#map("relay_maglev");
      const rows = map.rows(ENTRIES_A_SERVICE);
      const keys = new Uint32Array(rows.keys.buffer);
      const places = new Uint16Array(rows.values.buffer);
      table.forEach((backend, at) => places[at] = this.#firsts[index]! + backend);
      for (let i = 0; i < ENTRIES_A_SERVICE; i++) keys[i] = first + i;
      rows.count = ENTRIES_A_SERVICE;
      map.setMany(rows);
    }
    const value = new Uint8Array(RelayService.size);
    RelayService.write(viewOf(value), 0, {
      table: 4 * first,
      tableSize: isEmpty ? 0 : RelayLimit.table,
      flags: flagsOf(service),
    });
    this.#map("relay_services").set(bytesOf(index), value);
  }

  #writeConfig(): void {
    const { ports, idleMs } = this.#plan;
    const value = new Uint8Array(RelayConfig.size);
    RelayConfig.write(viewOf(value), 0, {
      idleNs: BigInt(idleMs * NS_A_MS),
      generation: this.#generation,
      freshJiffies: FRESH_JIFFIES,
      firstPort: ports.first,
      portCount: ports.count,
      keepsMetadata: this.#keepsMetadata,
    });
    this.#map("relay_config").set(new Uint8Array(4), value);
  }
}

function flagsOf({ phantomOnly = false, byPort = false }: RelayServiceSpec): number {
  return (phantomOnly ? RelayFlag.phantom : 0) | (byPort ? RelayFlag.byPort : 0);
}

const LAST_SEEN_AT = RelayWay.offset.lastSeenNs;

/** The backend of each place, among those of the service that take new clients. */
export function tableOf(service: RelayServiceSpec, now: readonly BackendNow[]): Uint16Array {
  const candidates = service.backends.map(({ ip, port, weight }, at) => ({
    name: `${ip.toHex()}:${port}`,
    weight: now[at]!.state === "up" && now[at]!.source !== undefined ? weight : 0,
  }));
  return maglevTable(candidates, RelayLimit.table);
}

const NO_PORTS = { relays: [], returns: [] };

/** Those that it listens on, and those that it sends from. */
function portsOf(
  { services, ports }: RelayPlan,
): { readonly relays: number[]; readonly returns: number[] } {
  const listens = services.flatMap(({ first, last }) => range(first, last - first + 1));
  return { relays: listens, returns: range(ports.first, ports.count) };
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

function bytesOf(number: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.of(number).buffer);
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView<ArrayBuffer> {
  return new DataView(bytes.buffer, bytes.byteOffset);
}

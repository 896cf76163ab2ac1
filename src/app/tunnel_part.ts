/** The server's tunnel: its workers, and what the kernel does for them. */

import { endpoint } from "../../ffi/endpoint.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { messageOf } from "../base/errors.ts";
import { ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import type { Config } from "../config/mod.ts";
import type { Resources } from "../kernel/resources.ts";
import type { CounterValues } from "../loop/counters.ts";
import type { EarlyWorkers } from "../loop/early_workers.ts";
import { NameLookup } from "../loop/name_lookup.ts";
import { Pool } from "../loop/pool.ts";
import { type RoutingSettings, routingText } from "../outbound/rule_text.ts";
import type { Routing } from "../outbound/routing.ts";
import type { OwnBlock } from "../proxy/own_addresses.ts";
import { KernelControl } from "../tunnel/kernel/control.ts";
import { Delivery } from "../tunnel/kernel/delivery.ts";
import type { FromServer, ServerProtocol, ServerStart, ToServer } from "../tunnel/protocol.ts";
import type { ServerUsers } from "../tunnel/server/account_book.ts";
import { ServerMemory } from "../tunnel/server/server_memory.ts";
import { serverSecret } from "../tunnel/server/secret.ts";
import { keysOfServer } from "../tunnel/server/service.ts";
import type { StateFolder } from "../tunnel/server/state_folder.ts";
import { summaryOf } from "../tunnel/summary.ts";
import type { Descriptors, WorkerLimits } from "./descriptors.ts";
import { cipherOf } from "./cipher.ts";
import { hasAfXdp, type KernelPart } from "./kernel_part.ts";
import { LocalAddresses } from "./local_addresses.ts";
import { tcpMemory } from "./tcp_memory.ts";
import type { Part } from "./part.ts";
import type { ServerStatus } from "./status_socket.ts";

const BYTES_A_MEGABIT = 125_000;
/** Settings that streams and datagrams take from now on. */
const ROUTING: readonly (keyof RoutingSettings)[] = [
  "rules",
  "outbounds",
  "defaultOutbound",
  "ipPreference",
  "bench",
];

export interface TunnelPartOptions {
  readonly libs: Libraries;
  readonly config: Config;
  readonly resources: Resources;
  readonly early?: EarlyWorkers;
  readonly users: ServerUsers;
  readonly state: StateFolder;
  readonly descriptors: Descriptors;
  readonly log: Log;
}

export class TunnelPart implements Part<Config, ServerStatus> {
  readonly name = "tunnel";
  readonly #options: TunnelPartOptions;
  readonly #lookup: NameLookup;
  readonly #addresses: LocalAddresses;
  readonly #memory: ServerMemory;
  #pool!: Pool<ServerProtocol>;
  #control: KernelControl | undefined;
  #delivery: Delivery | undefined;

  private constructor(options: TunnelPartOptions) {
    this.#options = options;
    const { lookupsMax } = options.descriptors;
    this.#lookup = NameLookup.of(options.libs.native, options.config.resolver, lookupsMax);
    this.#addresses = new LocalAddresses(options.libs, options.log);
    this.#memory = new ServerMemory(options.libs.native, options.state, options.log);
  }

  /** Resolves when the workers hold their sockets. */
  static async start(options: TunnelPartOptions): Promise<TunnelPart> {
    const part = new TunnelPart(options);
    const routing = await routingText(options.config, part.#lookup, options.log);
    try {
      part.#pool = await part.#startPool(routing);
      return part;
    } catch (error) {
      // The next start is to know what this one has been told.
      part.#memory.save();
      throw error;
    }
  }

  #startPool(routing: Routing): Promise<Pool<ServerProtocol>> {
    const { libs, resources, early, log } = this.#options;
    return Pool.start<ServerProtocol>({
      libs,
      ...resources.worker("tunnel/server"),
      ...early && { early },
      starts: startsOf(this.#options, this.#memory, routing, this.#addresses.known),
      keysOf: keysOfServer,
      lookup: this.#lookup,
      log,
      heard: { tunnel: (said) => this.#heard(said) },
    });
  }

  /** The time that windows follow, for all that go by it. */
  get clock(): SharedArrayBuffer {
    return this.#memory.shares.clock!;
  }

  /** From now on the kernel works for the workers, as far as it can. */
  join(kernel: KernelPart): void {
    this.#control = startControl(
      this.#options,
      kernel,
      socketsOf(this.#pool),
      () => this.#memory.unixMs(),
    );
    this.#delivery = startDelivery(this.#options, kernel, this.#pool);
  }

  /** Keeps each worker to what it may have open for clients. */
  limit(limits: WorkerLimits): void {
    const stalledBytesMax = tcpMemory() / this.workers;
    this.#pool.tell("tunnel", { kind: "limits", ...limits, stalledBytesMax });
  }

  /** Rejects when a worker fails; else it never settles. */
  get failure(): Promise<never> {
    return this.#pool.failure;
  }

  get workers(): number {
    return this.#pool.count;
  }

  /** What all workers have counted. */
  counters(): CounterValues {
    return this.#pool.counters();
  }

  tick(now: number): void {
    this.#memory.tick();
    this.#delivery?.check();
    if (!this.#addresses.haveChanged(now)) return;
    this.#pool.tell("tunnel", { kind: "own", own: this.#addresses.known });
  }

  status(): Partial<ServerStatus> {
    return {
      workers: this.workers,
      counters: summaryOf(this.counters()),
      sessions: this.#control?.sessions ?? null,
      names: this.#lookup.counts,
      users: this.#options.users.status(),
    };
  }

  /**
   * The users from now on: those that have gone are cut off, all others go on. Rules, and the ways
   * that they name, hold for whatever begins from now on.
   */
  async apply(config: Config): Promise<string[]> {
    const { users, log } = this.#options;
    this.#pool.tell("tunnel", { kind: "users", users: users.texts(config.users) });
    const routing = await routingText(config, this.#lookup, log);
    this.#pool.tell("tunnel", { kind: "rules", ...routing });
    return ["users", ...ROUTING];
  }

  async stop(): Promise<void> {
    this.#addresses.close();
    this.#control?.letGoOfSockets();
    await this.#pool.stop();
    // Their last words are for the kernel's table.
    this.#control?.stop();
    this.#memory.save();
  }

  #heard(said: FromServer): void {
    if (said.kind === "marks") this.#control?.mark(said.marks);
    else if (said.kind === "crowded") {
      const { by, ...crowded } = said;
      this.#pool.tellEach("tunnel", (index) => index === by ? undefined : crowded);
    } else if (said.kind === "seen") this.#options.users.seen(said.user, said.from, Date.now());
    else this.#memory.ended(said.ended);
  }
}

/** The descriptors that packets come by, in the order of the workers. */
function socketsOf(workers: Pool<ServerProtocol>): number[] {
  return workers.ready("tunnel").flatMap(({ socket }) => socket ?? []);
}

export function workersOf({ workers }: Pick<Config, "workers">): number {
  return workers === "auto" ? navigator.hardwareConcurrency : workers;
}

/** One for each worker, with copies of all keys: the workers get and wipe them. */
function startsOf(
  { libs, config, users, state, descriptors, log }: TunnelPartOptions,
  memory: ServerMemory,
  routing: Routing,
  own: readonly OwnBlock[],
): ServerStart[] {
  const { secret, generation } = serverSecret(state, log);
  const { arq, hysteria2, listen } = config;
  const cipher = cipherOf(libs.native, config.cipher);
  const count = workersOf(config);
  // Without the rate of the line, nothing is sent at one.
  const rateOf = (mbps: number): number => hysteria2.enabled ? mbps * BYTES_A_MEGABIT : 0;
  const starts = Array.from({ length: count }, (_, index): ServerStart => ({
    index,
    workers: count,
    marks: config.ebpf.enabled,
    rehearses: descriptors.areEnough,
    own,
    ...memory.shares,
    listen: endpoint(ipBytes(listen.host), listen.port),
    psk: Uint8Array.from(config.psk.expose()),
    serverSecret: Uint8Array.from(secret),
    generation,
    upRate: rateOf(hysteria2.upMbps),
    downRate: rateOf(hysteria2.downMbps),
    windowPackets: arq.windowSize,
    maxRetries: arq.maxRetries,
    ...cipher,
    users: users.specs(config.users),
    accounts: users.accounts,
    ...routing,
    idleMs: config.idleMs,
    sessionsMax: Math.ceil(config.sessionsMax / count),
  }));
  secret.fill(0);
  return starts;
}

/** Keys, limits, sessions and steering. Nothing of it is needed to serve. */
function startControl(
  { libs, config, resources, ...options }: TunnelPartOptions,
  { plane }: KernelPart,
  sockets: readonly number[],
  unixMs: () => number,
): KernelControl | undefined {
  const { ebpf, psk } = config;
  const log = options.log.with({ component: "kernel" });
  if (!ebpf.enabled) {
    if (sockets.length > 1) {
      log.info("steering_off", "workers hand over the packets of clients that change port", {
        remedy: "ebpf.enabled: true, where the kernel does that, and faster",
      });
    }
    return undefined;
  }
  const code = {
    sessions: resources.bpf("xdp_sessions", ebpf.programPath),
    steer: resources.bpf("steer", ebpf.programPath),
  };
  try {
    return KernelControl.start({
      libs,
      psk: psk.expose(),
      limits: {
        hellosPerSource: ebpf.helloRate,
        hellos: ebpf.helloRateTotal,
        sessionsPerSource: ebpf.sessionRate,
        sessionTimeoutMs: ebpf.sessionTimeoutMs,
      },
      plane: plane && ((name) => plane.map(name)),
      isAttached: () => plane !== undefined && plane.level !== "no XDP",
      events: plane?.events,
      eventsByPerf: plane?.eventsByPerf,
      ...{ code, sockets, unixMs, log },
    });
  } catch (error) {
    log.warn(
      "kernel_control_failed",
      "the kernel gets no keys: junk reaches user space, and sessions are not counted",
      {
        cause: messageOf(error),
      },
    );
    return undefined;
  }
}

function startDelivery(
  { libs, config, ...options }: TunnelPartOptions,
  { plane }: KernelPart,
  workers: Pool<ServerProtocol>,
): Delivery | undefined {
  const log = options.log.with({ component: "delivery" });
  if (plane === undefined) return undefined;
  const { ebpf, listen } = config;
  if (hasAfXdp(libs, config)) {
    const told = {
      count: workers.count,
      tellEach: (messageOf: (index: number) => ToServer | undefined) =>
        workers.tellEach("tunnel", messageOf),
    };
    const { delivery: setting } = ebpf;
    return new Delivery({ libs, plane, workers: told, setting, port: listen.port, log });
  }
  if (ebpf.delivery === "af_xdp") {
    log.warn("delivery_sockets", "packets are delivered by UDP sockets", {
      cause: "this kernel has no AF_XDP",
      remedy: "a kernel with CONFIG_XDP_SOCKETS",
    });
  }
  return undefined;
}

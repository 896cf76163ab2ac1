/**
 * The server: libraries → workers with their sockets → BPF program on the interface; stopped in
 * reverse. Where a part can't run, the next lower level does, and the log says why.
 */

import { BpfError } from "../../ffi/bpf/bpf_error.ts";
import { endpoint } from "../../ffi/endpoint.ts";
import { BpfMapType } from "../../ffi/bpf/libbpf.gen.ts";
import { probeMapType } from "../../ffi/bpf/probe.ts";
import { SysError } from "../../ffi/errors.ts";
import { type Libraries, openLibraries } from "../../ffi/libraries.ts";
import { possibleCpus } from "../../ffi/bpf/map.ts";
import { UdpSocket } from "../../ffi/udp.ts";
import { messageOf } from "../base/errors.ts";
import { ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import { type Config, formatAddress, USERS_MAX } from "../config/mod.ts";
import { AwakeCores } from "./awake_cores.ts";
import { Delivery, deliveryPart } from "../tunnel/kernel/delivery.ts";
import { KernelControl } from "../tunnel/kernel/control.ts";
import { NameLookup } from "../loop/name_lookup.ts";
import { PinFolder } from "../kernel/pins.ts";
import { RelayControl } from "../relay/control.ts";
import type { Resources } from "../kernel/resources.ts";
import { keepReplayRecord, takeReplayRecord } from "../tunnel/server/replay_record.ts";
import { serverSecret } from "../tunnel/server/secret.ts";
import { type RoutingSettings, routingText } from "../outbound/rule_text.ts";
import { SAVE_MS, ServerUsers } from "../tunnel/server/account_book.ts";
import { sharedSaltsMemory } from "../tunnel/server/shared_salts.ts";
import type { Usage } from "../proxy/users.ts";
import { type ServerStatus, statusPath, StatusSocket } from "./status_socket.ts";
import type { CounterValues } from "../loop/counters.ts";
import { Pool } from "../loop/pool.ts";
import type { FromServer, ServerProtocol, ServerStart, ToServer } from "../tunnel/protocol.ts";
import { keysOfServer } from "../tunnel/server/service.ts";
import { summaryOf } from "../tunnel/summary.ts";
import type { Routing } from "../outbound/routing.ts";
import { XdpPlane } from "../tunnel/kernel/plane.ts";
import { sessionsPart } from "../tunnel/kernel/sessions.ts";
import { relayPart } from "../relay/kernel_relay.ts";
import { relayPlan } from "../relay/plan.ts";

const BYTES_A_MEGABIT = 125_000;
const PLANE_EVERY_MS = 250;

export interface ServerOptions {
  readonly config: Config;
  readonly resources: Resources;
  readonly log: Log;
}

/** What a server goes on using once it runs. */
interface Parts {
  readonly config: Config;
  readonly users: ServerUsers;
  readonly lookup: NameLookup;
  readonly log: Log;
  readonly pins: PinFolder | undefined;
  readonly relay: RelayControl | undefined;
  readonly control: KernelControl | undefined;
  readonly delivery: Delivery | undefined;
  readonly awake: AwakeCores | undefined;
}

export class Server {
  readonly #workers: Pool<ServerProtocol>;
  readonly #plane: XdpPlane | undefined;
  readonly #parts: Parts;
  readonly #timers: readonly number[];
  readonly #startedAt = Date.now();
  readonly #status: Promise<StatusSocket | undefined>;

  private constructor(workers: Pool<ServerProtocol>, plane: XdpPlane | undefined, parts: Parts) {
    this.#workers = workers;
    this.#plane = plane;
    this.#parts = parts;
    this.#timers = [
      // Behind ready, like what KernelControl loads: nobody's packets wait for it.
      setTimeout(() => plane?.countEgress(), 0),
      setInterval(() => {
        plane?.check();
        parts.delivery?.check();
        plane?.drainEvents();
      }, PLANE_EVERY_MS),
      setInterval(() => parts.users.save(), SAVE_MS),
    ];
    const { stateDir, instance } = parts.config;
    const path = statusPath(stateDir, instance);
    this.#status = StatusSocket.open(path, () => this.status(), parts.log);
  }

  /** Resolves when packets are taken. */
  static async start({ config, resources, log }: ServerOptions): Promise<Server> {
    const libs = openLibraries((name) => resources.library(name));
    claimPort(libs, config);
    const lookup = NameLookup.of(config.resolver);
    const users = new ServerUsers(config.stateDir, USERS_MAX, log);
    const routing = await routingText(config, lookup, log);
    let control: KernelControl | undefined;
    const starts = startsOf(config, serverSecret(config.stateDir, log), users, routing);
    const kernelLog = log.with({ component: "kernel" });
    const pins = openPins(libs, config, kernelLog);
    // Another thread loads the BPF program while the workers' isolates come up, which blocks this
    // one. A failure of either is seen below.
    const loading = startPlane(libs, config, resources, { pins, log: kernelLog });
    loading.catch(() => {});
    const starting = Pool.start<ServerProtocol>({
      libs,
      code: resources.worker("tunnel/server"),
      name: "server",
      keysOf: keysOfServer,
      ...{ starts, lookup, log },
      heard: {
        tunnel(said: FromServer) {
          if (said.kind === "marks") control?.mark(said.marks);
          else keepReplayRecord(config.stateDir, said.record, log);
        },
      },
    });
    starting.catch(() => {});
    let plane: XdpPlane | undefined;
    let relay: RelayControl | undefined;
    try {
      plane = await loading;
      const workers = await starting;
      control = startControl(libs, config, resources, log.with({ component: "kernel" }), {
        plane,
        sockets: socketsOf(workers),
      });
      const delivery = startDelivery(
        libs,
        config,
        log.with({ component: "delivery" }),
        plane,
        workers,
      );
      relay = await startRelay(libs, config, resources, plane, log.with({ component: "relay" }));
      const datagrams = () => summaryOf(workers.counters()).datagrams;
      const awake = config.lowLatency ? new AwakeCores({ datagrams, log }) : undefined;
      return new Server(workers, plane, {
        ...{ config, users, lookup, log, pins, relay, control, delivery, awake },
      });
    } catch (error) {
      await relay?.stop();
      control?.stop();
      plane?.abandon();
      pins?.close();
      await starting.then((workers) => workers.stop(), () => {});
      throw error;
    }
  }

  /** Rejects when a part that the server can't do without fails; else it never settles. */
  get failure(): Promise<never> {
    return this.#workers.failure;
  }

  /** What packets meet first: "native XDP on eth0, generic XDP on eth1", or "no XDP". */
  get level(): string {
    return this.#plane?.level ?? "no XDP";
  }

  get workers(): number {
    return this.#workers.count;
  }

  /** What all workers have counted. */
  counters(): CounterValues {
    return this.#workers.counters();
  }

  /** What `phantom status` shows of this process. */
  status(): ServerStatus {
    const { instance, ebpf } = this.#parts.config;
    const plane = this.#plane;
    const counters = this.counters();
    return {
      instance,
      pid: Deno.pid,
      startedAt: this.#startedAt,
      level: this.level,
      workers: this.workers,
      counters: summaryOf(counters),
      services: counters,
      pins: plane?.isPinned ? `${ebpf.pinPath}/${instance}` : null,
      interfaces: plane?.interfaces() ?? [],
      health: plane?.health ?? null,
      events: plane?.eventCounts() ?? null,
      sessions: this.#parts.control?.sessions ?? null,
    };
  }

  /** Rules, and the ways that they name, for whatever begins from now on. */
  async setRouting(settings: RoutingSettings): Promise<void> {
    const { lookup, log } = this.#parts;
    this.#workers.tell("tunnel", { kind: "rules", ...await routingText(settings, lookup, log) });
  }

  /** The users from now on. Those that have gone are cut off, all others go on. */
  setUsers(users: Config["users"]): void {
    this.#workers.tell("tunnel", { kind: "users", users: this.#parts.users.texts(users) });
  }

  /** What a user has used, up to now; undefined where there is none of that name. */
  usage(user: string): Usage | undefined {
    return this.#parts.users.usage(user);
  }

  /** Ends this process's part. The BPF program stays on: `phantom unload` takes it off. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#parts.awake?.stop();
    (await this.#status)?.close();
    await this.#parts.relay?.stop();
    await this.#workers.stop();
    this.#parts.control?.stop();
    this.#parts.users.save();
    this.#plane?.close();
    this.#parts.pins?.close();
  }
}

/** The descriptors that packets come by, in the order of the workers. */
function socketsOf(workers: Pool<ServerProtocol>): number[] {
  return workers.ready("tunnel").flatMap(({ socket }) => socket ?? []);
}

/** One for each worker, with copies of all keys: the workers get and wipe them. */
function startsOf(
  config: Config,
  secret: Uint8Array,
  users: ServerUsers,
  routing: Routing,
): ServerStart[] {
  const { arq, hysteria2, listen } = config;
  const count = config.workers === "auto" ? navigator.hardwareConcurrency : config.workers;
  // Without the rate of the line, nothing is sent at one.
  const rateOf = (mbps: number): number => hysteria2.enabled ? mbps * BYTES_A_MEGABIT : 0;
  // A copy of a HELLO from another address goes to another worker.
  const several = count > 1
    ? { salts: sharedSaltsMemory(() => crypto.getRandomValues(new Uint32Array(1))[0]!) }
    : {};
  const replayRecord = takeReplayRecord(config.stateDir);
  const known = count === 1 && replayRecord !== undefined ? { replayRecord } : {};
  const starts = Array.from({ length: count }, (_, index): ServerStart => ({
    index,
    workers: count,
    marks: config.ebpf.enabled,
    ...several,
    ...known,
    listen: endpoint(ipBytes(listen.host), listen.port),
    psk: Uint8Array.from(config.psk.expose()),
    serverSecret: Uint8Array.from(secret),
    upRate: rateOf(hysteria2.upMbps),
    downRate: rateOf(hysteria2.downMbps),
    windowPackets: arq.windowSize,
    maxRetries: arq.maxRetries,
    users: users.specs(config.users),
    accounts: users.accounts,
    ...routing,
    idleMs: config.idleMs,
    sessionsMax: Math.ceil(config.sessionsMax / count),
  }));
  secret.fill(0);
  return starts;
}

/**
 * Refuses a port that is taken. The workers share theirs among themselves, and so would two
 * servers: each would get a part of the other's packets.
 */
function claimPort(libs: Libraries, { ebpf, instance, listen }: Config): void {
  try {
    new UdpSocket(libs.native, { local: endpoint(ipBytes(listen.host), listen.port) }).close();
  } catch (error) {
    const isTaken = error instanceof SysError && error.code === "EADDRINUSE";
    // Most likely by this very instance: then say so.
    if (isTaken && ebpf.enabled) new PinFolder(libs, ebpf.pinPath, instance).assertFree();
    throw error;
  }
}

/** Where what outlives this process is kept, locked; nothing where that is off or can't be. */
function openPins(libs: Libraries, { ebpf, instance }: Config, log: Log): PinFolder | undefined {
  return ebpf.enabled ? PinFolder.open(libs, ebpf.pinPath, instance, log) : undefined;
}

/** Attached, as far as that goes; nothing where it can't be had. */
async function startPlane(
  libs: Libraries,
  config: Config,
  resources: Resources,
  { pins, log }: { readonly pins: PinFolder | undefined; readonly log: Log },
): Promise<XdpPlane | undefined> {
  const { ebpf, listen } = config;
  if (!ebpf.enabled) {
    log.info("xdp_off", "XDP is off", { reason: "ebpf.enabled is false" });
    return undefined;
  }
  const code = resources.bpf("xdp_phantom", ebpf.programPath);
  if (code.origin !== "embedded") {
    log.info("bpf_program_file", "the BPF program is read from a file", { path: code.origin });
  }
  try {
    const plane = await XdpPlane.startBeside(libs, {
      pins,
      interfaces: ebpf.interface,
      mode: ebpf.xdpMode,
      code,
      egress: resources.bpf("tc_egress"),
      parts: [
        sessionsPart(ebpf.mapSize, possibleCpus(libs)),
        deliveryPart(hasAfXdp(libs, config)),
        relayPart(relayPlan(config)),
      ],
      counts: ebpf.enableStats,
      ports: [listen.port],
      log,
    });
    logLevels(plane, config, log);
    return plane;
  } catch (error) {
    log.warn("xdp_none", "the server runs without XDP", {
      cause: error instanceof Error ? error.message : "",
    });
    if (error instanceof BpfError && error.log !== "") log.debug("bpf_log", error.log);
    log.info("doctor_hint", "`phantom doctor` tells what this machine lacks", {
      listen: formatAddress(listen),
    });
    // Nothing else is kept there.
    pins?.close();
    return undefined;
  }
}

async function startRelay(
  libs: Libraries,
  config: Config,
  resources: Resources,
  plane: XdpPlane | undefined,
  log: Log,
): Promise<RelayControl | undefined> {
  const plan = relayPlan(config);
  if (plan === undefined) return undefined;
  const code = resources.worker("relay");
  const psk = Uint8Array.from(config.psk.expose());
  const { relays, users } = config;
  return await RelayControl.start({ libs, code, plan, relays, users, plane, psk, log });
}

/** Keys, limits, sessions and steering. Nothing of it is needed to serve. */
function startControl(
  libs: Libraries,
  config: Config,
  resources: Resources,
  log: Log,
  { plane, sockets }: { plane: XdpPlane | undefined; sockets: readonly number[] },
): KernelControl | undefined {
  const { ebpf, psk } = config;
  if (!ebpf.enabled) return undefined;
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
      ...{ code, sockets, log },
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

/** Whether AF_XDP is wanted, and this kernel has it. */
function hasAfXdp(libs: Libraries, { ebpf }: Config): boolean {
  return ebpf.delivery !== "socket" && probeMapType(libs, BpfMapType.xskmap).have === true;
}

function startDelivery(
  libs: Libraries,
  config: Config,
  log: Log,
  plane: XdpPlane | undefined,
  workers: Pool<ServerProtocol>,
): Delivery | undefined {
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

/** What came of the start. The levels that did not work are told by the plane itself. */
function logLevels(plane: XdpPlane, { ebpf }: Config, log: Log): void {
  const states = plane.interfaces();
  const adopted = plane.adopted.length > 0 ? plane.adopted.join(",") : undefined;
  for (const { interfaceName, mode, swapped } of states) {
    if (mode === undefined) continue;
    log.info("xdp_attached", "XDP is attached", {
      interface: interfaceName,
      mode,
      swapped,
      adopted,
    });
  }
  if (states.some(({ mode }) => mode !== undefined)) return;
  if (states.length === 0) {
    log.warn("xdp_none", "the server runs without XDP: there is no interface", {
      configured: ebpf.interface.join(","),
      remedy: "set ebpf.interface; there is no default route to find it by",
    });
    return;
  }
  const last = states[0]?.failed.at(-1);
  log.warn("xdp_none", "the server runs without XDP", { cause: last?.cause, remedy: last?.remedy });
}

/**
 * The server: its parts in the order of their start. Where a part can't run, the next lower level
 * does, and the log says why.
 */

import denoJson from "../../deno.json" with { type: "json" };
import { endpoint } from "../../ffi/endpoint.ts";
import { SysError } from "../../ffi/errors.ts";
import { type Libraries, openLibraries } from "../../ffi/libraries.ts";
import type { Native } from "../../ffi/native.ts";
import { UdpSocket } from "../../ffi/udp.ts";
import { ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import { type Config, USERS_MAX } from "../config/mod.ts";
import { PinFolder } from "../kernel/pins.ts";
import type { Resources } from "../kernel/resources.ts";
import type { EarlyWorkers } from "../loop/early_workers.ts";
import type { Usage } from "../proxy/users.ts";
import { RelayControl } from "../relay/control.ts";
import { relayPlan } from "../relay/plan.ts";
import { SAVE_MS, ServerUsers } from "../tunnel/server/account_book.ts";
import { StateFolder } from "../tunnel/server/state_folder.ts";
import { summaryOf } from "../tunnel/summary.ts";
import { AwakeCores } from "./awake_cores.ts";
import { Descriptors, logLimits } from "./descriptors.ts";
import { KernelPart } from "./kernel_part.ts";
import { type Part, Parts } from "./part.ts";
import { closeMemory, giveUpAllBut, SERVER_NEEDS } from "./privileges.ts";
import { Reload, type ReloadOutcome, type ReloadSource } from "./reload.ts";
import { reloadPath, type ServerStatus, statusPath, StatusSocket } from "./status_socket.ts";
import { TunnelPart, workersOf } from "./tunnel_part.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly resources: Resources;
  /** Of tunnel/server; those that come up already. */
  readonly early?: EarlyWorkers;
  readonly log: Log;
  /** Where the configuration is read again. */
  readonly source: ReloadSource<Config>;
}

export class Server {
  readonly #native: Native;
  readonly #parts: Parts<Config, ServerStatus>;
  readonly #users: ServerUsers;
  readonly #kernel: KernelPart;
  readonly #tunnel: TunnelPart;
  readonly #reload: Reload<Config>;

  private constructor(
    native: Native,
    parts: Parts<Config, ServerStatus>,
    users: ServerUsers,
    kernel: KernelPart,
    tunnel: TunnelPart,
    { config, source, log }: ServerOptions,
  ) {
    this.#native = native;
    this.#parts = parts;
    this.#users = users;
    this.#kernel = kernel;
    this.#tunnel = tunnel;
    this.#reload = new Reload({
      ...source,
      running: config,
      applyParts: (config) => parts.apply(config),
      log,
    });
  }

  /** Resolves when packets are taken. */
  static async start(given: ServerOptions): Promise<Server> {
    const { config, resources, early, log } = given;
    const libs = openLibraries((name) => resources.library(name));
    closeMemory(libs.native, log);
    const state = StateFolder.open(libs, config.stateDir, config.instance);
    const descriptors = new Descriptors(libs.native);
    descriptors.assertEnoughFor(workersOf(config));
    claimPort(libs, config);
    const parts = new Parts<Config, ServerStatus>(log);
    parts.add({ name: "state", stop: () => state.close() });
    const users = new ServerUsers(state, USERS_MAX, log);
    // Another thread loads the BPF program while the workers' isolates come up, which blocks this
    // one. A failure of either is seen below.
    const loading = KernelPart.start(libs, config, resources, log.with({ component: "kernel" }));
    loading.catch(() => {});
    early?.want(workersOf(config));
    const needs = { libs, config, resources, users, state, descriptors, log };
    const starting = TunnelPart.start({ ...needs, ...early && { early } });
    starting.catch(() => {});
    try {
      const kernel = await loading;
      const tunnel = await starting;
      parts.add(kernel);
      parts.add(savedUsers(users));
      parts.add(tunnel).join(kernel);
      const relay = await startRelay({ libs, config, resources, kernel, tunnel, descriptors, log });
      if (relay !== undefined) parts.add(relay);
      const server = new Server(libs.native, parts, users, kernel, tunnel, given);
      parts.add(await statusPart(given, server, descriptors));
      descriptors.settle();
      const limits = descriptors.workerLimits(tunnel.workers + (relay === undefined ? 0 : 1));
      tunnel.limit(limits);
      logLimits(log, descriptors, limits);
      if (config.lowLatency) {
        const datagrams = () => summaryOf(tunnel.counters()).datagrams;
        parts.add(new AwakeCores({ datagrams, log }));
      }
      parts.begin();
      return server;
    } catch (error) {
      await starting.then((tunnel) => tunnel.stop(), () => {});
      await loading.then((kernel) => kernel.abandon(), () => {});
      state.close();
      throw error;
    }
  }

  /** Rejects when a part that the server can't do without fails; else it never settles. */
  get failure(): Promise<never> {
    return this.#tunnel.failure;
  }

  /** What packets meet first: "native XDP on eth0, generic XDP on eth1", or "no XDP". */
  get level(): string {
    return this.#kernel.level;
  }

  /** "3 clients, native XDP on eth0" */
  get summary(): string {
    const { sessions } = summaryOf(this.#tunnel.counters());
    return `${sessions} ${sessions === 1 ? "client" : "clients"}, ${this.level}`;
  }

  get workers(): number {
    return this.#tunnel.workers;
  }

  /** What `phantom status` shows of this process. */
  status(): ServerStatus {
    // All other fields are some part's.
    return { ...this.#parts.status(), services: this.#parts.counters() } as ServerStatus;
  }

  /** Reads the configuration again, and takes over what can change in a server that runs. */
  reload(): Promise<ReloadOutcome> {
    return this.#reload.again();
  }

  /** What a user has used, up to now; undefined where there is none of that name. */
  usage(user: string): Usage | undefined {
    return this.#users.usage(user);
  }

  /** The process can do no more from now on than a server needs. */
  giveUpRights(log: Log): void {
    giveUpAllBut(SERVER_NEEDS, this.#native, log);
  }

  /**
   * Ends this process's part. The BPF program stays on, `phantom unload` takes it off; it lets all
   * packets pass, but before a restart, where it goes on for a grace.
   */
  async stop({ isRestart = false } = {}): Promise<void> {
    if (isRestart) this.#kernel.keepPorts();
    await this.#parts.stop();
    this.#reload.wipe();
  }
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

/** What users have used is on disk every now and then, and at the end. */
function savedUsers(users: ServerUsers): Part {
  let dueAt = performance.now() + SAVE_MS;
  return {
    name: "users",
    tick(now) {
      if (now < dueAt) return;
      dueAt = now + SAVE_MS;
      users.save();
    },
    stop: () => users.save(),
  };
}

async function statusPart(
  { config: { stateDir, instance }, source, resources, log }: ServerOptions,
  server: Server,
  descriptors: Descriptors,
): Promise<Part<Config, ServerStatus>> {
  const startedAt = Date.now();
  /** Looked up when somebody asks: from source git has to tell. */
  let commit: string | null | undefined;
  const path = statusPath(stateDir, instance);
  const socket = await StatusSocket.open(path, () => server.status(), log);
  // Behind the first: asking whether another server is there is a connection, and would reload it.
  const reload = socket &&
    await StatusSocket.open(reloadPath(stateDir, instance), () => server.reload(), log);
  return {
    name: "status",
    status: () => ({
      instance,
      pid: Deno.pid,
      version: denoJson.version,
      commit: commit ??= resources.commit()?.commit ?? null,
      config: source.path,
      startedAt,
      descriptors: descriptors.status(),
      linesHeldBack: log.limit?.heldBack ?? 0,
      statusErrors: socket?.errors ?? 0,
    }),
    stop() {
      reload?.close();
      socket?.close();
    },
  };
}

interface RelayNeeds extends Omit<ServerOptions, "source"> {
  readonly libs: Libraries;
  readonly kernel: KernelPart;
  readonly tunnel: TunnelPart;
  readonly descriptors: Descriptors;
}

async function startRelay(
  { libs, config, resources, kernel: { plane }, tunnel, descriptors, log }: RelayNeeds,
): Promise<RelayControl | undefined> {
  const plan = relayPlan(config);
  if (plan === undefined) return undefined;
  const { code } = resources.worker("relay");
  const psk = Uint8Array.from(config.psk.expose());
  const { relays, users } = config;
  const { clock } = tunnel;
  const socketsMax = descriptors.shareOf(tunnel.workers + 1);
  const options = { libs, code, plan, relays, users, plane, psk, clock, socketsMax };
  return await RelayControl.start({ ...options, log: log.with({ component: "relay" }) });
}

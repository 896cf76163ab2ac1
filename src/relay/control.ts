/**
 * The relay as a whole: which backends there are and how they are, told to the kernel's part
 * (relay/kernel_relay.ts, where XDP runs) and to the one in user space (service.ts), which
 * listens on the same ports always.
 */

import { endpoint, formatEndpoint } from "../../ffi/endpoint.ts";
import { vethPeer } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { cString } from "../../ffi/memory.ts";
import { sourceAddress } from "../../ffi/udp.ts";
import { messageOf } from "../base/errors.ts";
import { ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import type { CounterValues } from "../loop/counters.ts";
import { Pool } from "../loop/pool.ts";
import { NS_A_MS } from "../base/units.ts";
import type { Config } from "../config/mod.ts";
import { Health } from "./health.ts";
import { type BackendNow, KernelRelay, type RelayPlan } from "./kernel_relay.ts";
import { BackendChecks, type CheckTarget } from "./checks.ts";
import { RelayIcmp } from "./icmp.ts";
import { RelayByte, type RelayProtocol, type RelayStart } from "./protocol.ts";
import type { XdpView } from "../kernel/xdp_hook.ts";

const ROUTES_MS = 1000;
const SWEEP_MS = 10_000;
/** As which BPF programs look up routes: see bpf/relay/way.h. */
const FORWARDING = [
  "/proc/sys/net/ipv4/conf/lo/forwarding",
  "/proc/sys/net/ipv6/conf/lo/forwarding",
];

export interface RelayControlOptions {
  readonly libs: Libraries;
  readonly code: URL;
  readonly plan: RelayPlan;
  readonly relays: Config["relays"];
  /** Who may say HELLO to a backend, for checks. */
  readonly users: Config["users"];
  /** Where none runs, all is relayed in user space. */
  readonly plane: XdpView | undefined;
  /** 32 bytes; handed over. */
  readonly psk: Uint8Array;
  /** The time that windows follow (crypto/server_clock.ts). */
  readonly clock: SharedArrayBuffer;
  /** Descriptors that its flows may have. */
  readonly socketsMax: number;
  readonly log: Log;
}

/** A backend and what is known of it. */
interface Backend {
  readonly name: string;
  readonly ip: Uint8Array<ArrayBuffer>;
  readonly port: number;
  readonly drains: boolean;
  readonly health: Health;
  readonly check: CheckTarget | undefined;
  readonly intervalMs: number;
  source: Uint8Array<ArrayBuffer> | undefined;
}

export class RelayControl {
  readonly name = "relay";
  readonly #options: RelayControlOptions;
  readonly #services: readonly (readonly Backend[])[];
  readonly #kernel: KernelRelay | undefined;
  readonly #checks: BackendChecks;
  readonly #paths: RelayIcmp;
  #pool: Pool<RelayProtocol> | undefined;
  readonly #states: Uint8Array<SharedArrayBuffer>;
  readonly #timers: number[] = [];
  /** Interfaces. */
  readonly #warned = new Set<string>();
  #isStopping = false;
  #devices = "";

  private constructor(options: RelayControlOptions) {
    const { libs, plan, relays, plane } = options;
    this.#options = options;
    this.#services = relays.map(backendsOf);
    this.#checks = checksOf(options);
    this.#paths = new RelayIcmp(libs.native, options.log);
    this.#states = new Uint8Array(new SharedArrayBuffer(this.#services.flat().length));
    if (plane !== undefined && canRoute(options.log)) {
      this.#kernel = new KernelRelay({ map: (name) => plane.map(name), plan });
    }
    this.#findDevices();
    this.#findSources();
    this.#tell();
  }

  /** Resolves when both parts run. */
  static async start(options: RelayControlOptions): Promise<RelayControl> {
    const control = new RelayControl(options);
    try {
      await control.#startWorker();
    } catch (error) {
      await control.stop();
      throw error;
    }
    control.#watchBackends();
    const { log, plane, plan } = options;
    const level = control.#kernel === undefined ? "no XDP" : plane!.level;
    const where = level === "no XDP" ? "user space" : level;
    log.info("relay_started", "the relay runs", { where, relays: plan.services.length });
    if (level === "no XDP") {
      log.warn("relay_user_space", "the relay runs in user space, many times slower than in XDP", {
        remedy: "`phantom doctor` tells why XDP does not run here",
      });
    }
    return control;
  }

  /** What user space has relayed; the kernel's part is in its maps. */
  counters(): CounterValues {
    return this.#pool?.counters() ?? {};
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#pool?.stop();
    this.#paths.close();
    this.#checks.wipe();
  }

  async #startWorker(): Promise<void> {
    const { libs, code, plan, plane, psk, clock, socketsMax, log } = this.#options;
    const wantsKey = plan.services.some(({ phantomOnly }) => phantomOnly);
    const start: RelayStart = {
      plan,
      socketsMax,
      clock,
      states: this.#states.buffer,
      ...(this.#kernel === undefined ? {} : { flowsFd: plane!.map("relay_flows").fd }),
      ...(wantsKey ? { psk: psk.slice() } : {}),
    };
    psk.fill(0);
    try {
      const keysOf = ({ psk }: RelayStart) => psk === undefined ? [] : [psk];
      const pool = await Pool.start<RelayProtocol>({
        ...{ libs, code, name: "relay", starts: [start], keysOf, log },
      });
      this.#pool = pool;
      pool.failure.catch((error) => this.#failed(error));
    } catch (error) {
      throw new Error(`Cannot relay in user space: ${messageOf(error)}`, { cause: error });
    }
  }

  /** XDP relays on, where it does. */
  #failed(error: unknown): void {
    if (this.#isStopping) return;
    const reason = messageOf(error);
    this.#options.log.error("worker_failed", "the relay's worker failed", { reason });
  }

  /** Checks each backend by its own clock, looks at routes, and lets idle flows go. */
  #watchBackends(): void {
    for (const backend of this.#services.flat()) {
      if (backend.check !== undefined) this.#every(backend.intervalMs, () => this.#check(backend));
    }
    this.#every(ROUTES_MS, () => {
      const isNew = this.#findDevices();
      const hasMoved = this.#findSources();
      if (this.#paths.hear() || hasMoved || isNew) this.#tell();
    });
    const { native } = this.#options.libs;
    this.#every(SWEEP_MS, () => {
      this.#kernel?.sweep(BigInt(Math.round(native.symbols.ph_now_ms() * NS_A_MS)));
    });
  }

  #every(ms: number, act: () => void): void {
    this.#timers.push(setInterval(act, ms));
  }

  async #check(backend: Backend): Promise<void> {
    const isAnswered = await this.#checks.ask(backend.check!);
    if (this.#isStopping) return;
    if (this.#paths.hear()) this.#tell();
    const isGood = !this.#wasRefused(backend) && isAnswered;
    if (!backend.health.tell(isGood)) return;
    const { log } = this.#options;
    const fields = { backend: backend.name };
    if (isGood) log.info("backend_up", "a backend is up again", fields);
    else log.warn("backend_down", "a backend is down: its clients move to others", fields);
    this.#tell();
  }

  /** Whether it said since the last check that nobody has its port, to whatever packet. */
  #wasRefused({ ip, port, check }: Backend): boolean {
    const isRefused = this.#paths.takeRefusal(ip, port);
    return check!.port !== port && this.#paths.takeRefusal(ip, check!.port) || isRefused;
  }

  /** The interfaces with XDP; whether they have changed. */
  #findDevices(): boolean {
    const { plane, libs } = this.#options;
    const attached = plane?.interfaces().filter(({ mode }) => mode !== undefined) ?? [];
    const devices = attached.map(({ interfaceName }) =>
      libs.native.symbols.ph_ifindex(cString(interfaceName))
    ).filter((index) => index > 0);
    const isGeneric = attached.some(({ mode }) => mode === "generic");
    const found = `${devices} ${isGeneric}`;
    if (found === this.#devices) return false;
    this.#devices = found;
    this.#kernel?.setDevices(devices, isGeneric);
    for (const { interfaceName, mode } of attached) this.#warnOfVeth(interfaceName, mode);
    return true;
  }

  /** Once for each. */
  #warnOfVeth(name: string, mode: string | undefined): void {
    const { libs, log } = this.#options;
    const peer = vethPeer(libs, libs.native.symbols.ph_ifindex(cString(name)));
    if (peer === undefined || this.#kernel === undefined || this.#warned.has(name)) return;
    this.#warned.add(name);
    const fields = { interface: name, other_end: peer.name };
    if (mode === "generic") {
      log.warn(
        "relay_veth_gso",
        "answers that a backend behind a veth sends several at once (GSO) are lost",
        {
          ...fields,
          remedy: `there: ethtool -K ${peer.name} tx-udp-segmentation off`,
        },
      );
    } else if (peer.xdp.native === 0) {
      log.warn(
        "relay_veth_no_xdp",
        "frames that the relay sends by a veth are lost: its other end runs no XDP program",
        {
          ...fields,
          remedy: "set ebpf.xdp_mode to generic, or put a program that passes all on the other end",
        },
      );
    }
  }

  /** Our addresses towards the backends; whether one has changed. */
  #findSources(): boolean {
    let hasChanged = false;
    for (const backend of this.#services.flat()) {
      const peer = endpoint(backend.ip, backend.port);
      const found = sourceAddress(this.#options.libs.native, peer);
      const source = found === undefined ? undefined : Uint8Array.from(found);
      hasChanged ||= source?.toHex() !== backend.source?.toHex();
      backend.source = source;
    }
    this.#paths.watch(this.#services.flat());
    return hasChanged;
  }

  /** Tells both parts how the backends are. */
  #tell(): void {
    const now = this.#services.map(statesOf);
    this.#kernel?.update(now);
    now.flat().forEach(({ state, source }, at) => {
      Atomics.store(this.#states, at, RelayByte[source === undefined ? "down" : state]);
    });
    this.#pool?.tell("relay", "changed");
  }
}

/** Where all are down, the checks are as likely to be wrong: then all are used. */
function statesOf(backends: readonly Backend[]): BackendNow[] {
  const isLost = backends.every(({ health }) => !health.isUp);
  return backends.map(({ health, drains, source }) => {
    const state = !isLost && !health.isUp ? "down" : drains ? "draining" : "up";
    return { state, source };
  });
}

/** With the keys of those who are to say HELLO. */
function checksOf({ libs, relays, users, psk }: RelayControlOptions): BackendChecks {
  const names = relays.filter(({ check }) => check === "phantom").map((one) => one.checkUser);
  const keyOf = (name: string) => users.find((user) => user.name === name)!.key.expose();
  return new BackendChecks(libs.native, { psk, keyOf }, new Set(names));
}

function backendsOf(relay: Config["relays"][number]): Backend[] {
  const { check: kind, checkPort, checkIntervalMs, checkTimeoutMs, checkFall, checkRise } = relay;
  const { checkUser: user } = relay;
  return relay.to.map(({ address, drain }): Backend => {
    const ip = Uint8Array.from(ipBytes(address.host));
    const port = checkPort === 0 ? address.port : checkPort;
    return {
      name: formatEndpoint(endpoint(ip, address.port)),
      ip,
      port: address.port,
      drains: drain,
      health: new Health({ fall: checkFall, rise: checkRise }),
      check: kind === "none" ? undefined : { kind, ip, port, timeoutMs: checkTimeoutMs, user },
      intervalMs: checkIntervalMs,
      source: undefined,
    };
  });
}

/** Lets programs look up routes by the loopback interface; nothing else is forwarded by that. */
function canRoute(log: Log): boolean {
  for (const path of FORWARDING) {
    try {
      if (Deno.readTextFileSync(path).trim() === "1") continue;
      Deno.writeTextFileSync(path, "1");
    } catch (error) {
      // A kernel without IPv6.
      if (error instanceof Deno.errors.NotFound && path.includes("ipv6")) continue;
      log.warn("relay_routes_failed", "XDP can't look up routes for the relay", {
        cause: messageOf(error),
        remedy: `as root: echo 1 >${path}`,
      });
      return false;
    }
  }
  return true;
}

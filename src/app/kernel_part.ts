/** The XDP program on the server's interfaces, with what it leaves behind when the server ends. */

import { BpfError } from "../../ffi/bpf/bpf_error.ts";
import { BpfMapType } from "../../ffi/bpf/libbpf.gen.ts";
import { possibleCpus } from "../../ffi/bpf/map.ts";
import { probeMapType } from "../../ffi/bpf/probe.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import { type Config, formatAddress } from "../config/mod.ts";
import { PinFolder } from "../kernel/pins.ts";
import type { Resources } from "../kernel/resources.ts";
import { relayPart } from "../relay/kernel_relay.ts";
import { relayPlan } from "../relay/plan.ts";
import { deliveryPart } from "../tunnel/kernel/delivery.ts";
import { XdpPlane } from "../tunnel/kernel/plane.ts";
import { sessionsPart } from "../tunnel/kernel/sessions.ts";
import type { Part } from "./part.ts";
import type { ServerStatus } from "./status_socket.ts";

export class KernelPart implements Part<Config, ServerStatus> {
  readonly name = "kernel";
  readonly plane: XdpPlane | undefined;
  readonly #pins: PinFolder | undefined;
  readonly #path: string;
  #countsEgress = false;
  #keepsPorts = false;

  private constructor(
    plane: XdpPlane | undefined,
    pins: PinFolder | undefined,
    { ebpf, instance }: Config,
  ) {
    this.plane = plane;
    this.#pins = pins;
    this.#path = `${ebpf.pinPath}/${instance}`;
  }

  /**
   * Takes the instance's pins at once, and resolves when frames meet the program, as far as that
   * goes. Another thread loads it meanwhile.
   */
  static start(
    libs: Libraries,
    config: Config,
    resources: Resources,
    log: Log,
  ): Promise<KernelPart> {
    const pins = openPins(libs, config, log);
    return startPlane(libs, config, resources, { pins, log })
      .then((plane) => new KernelPart(plane, pins, config));
  }

  /** What packets meet first: "native XDP on eth0, generic XDP on eth1", or "no XDP". */
  get level(): string {
    return this.plane?.level ?? "no XDP";
  }

  tick(): void {
    // Behind ready, like what KernelControl loads: nobody's packets wait for it.
    if (!this.#countsEgress) {
      this.#countsEgress = true;
      this.plane?.countEgress();
    }
    this.plane?.check();
    this.plane?.drainEvents();
  }

  status(): Partial<ServerStatus> {
    const { plane } = this;
    return {
      level: this.level,
      pins: plane?.isPinned ? this.#path : null,
      interfaces: plane?.interfaces() ?? [],
      health: plane?.health ?? null,
      events: plane?.eventCounts() ?? null,
    };
  }

  /** From `stop` on, the program goes on for a grace: the next process is about to start. */
  keepPorts(): void {
    this.#keepsPorts = true;
  }

  /** The program stays on, and lets all packets pass: `phantom unload` takes it off. */
  stop(): void {
    if (this.#keepsPorts) this.plane?.keepPorts();
    else this.plane?.letGoOfPorts();
    this.plane?.close();
    this.#pins?.close();
  }

  /** Of a server that did not come up: takes off what it has put on. */
  abandon(): void {
    this.plane?.abandon();
    this.#pins?.close();
  }
}

/** Whether AF_XDP is wanted, and this kernel has it. */
export function hasAfXdp(libs: Libraries, { ebpf }: Config): boolean {
  return ebpf.delivery !== "socket" && probeMapType(libs, BpfMapType.xskmap).have === true;
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
  const egress = resources.bpf("tc_egress", ebpf.programPath);
  for (const { origin } of [code, egress].filter(({ origin }) => origin !== "embedded")) {
    log.info("bpf_program_file", "a BPF program is read from a file", { path: origin });
  }
  try {
    const plane = await XdpPlane.startBeside(libs, {
      pins,
      interfaces: ebpf.interface,
      mode: ebpf.xdpMode,
      ...{ code, egress },
      parts: [
        sessionsPart(ebpf.mapSize, possibleCpus(libs)),
        deliveryPart(hasAfXdp(libs, config)),
        relayPart(relayPlan(config)),
      ],
      counts: ebpf.enableStats,
      ports: [listen.port],
      ip: ipBytes(listen.host),
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

/** What came of the start. The levels that did not work are told by the plane itself. */
function logLevels(plane: XdpPlane, { ebpf }: Config, log: Log): void {
  const states = plane.interfaces();
  const { adopted } = plane;
  for (const { interfaceName, mode, swapped } of states) {
    if (mode === undefined) continue;
    log.info("xdp_attached", "XDP is attached", {
      interface: interfaceName,
      mode,
      swapped,
      ...(adopted.length > 0 ? { adopted: adopted.length } : {}),
    });
  }
  if (adopted.length > 0) {
    log.debug("maps_adopted", "maps of an earlier run are used", { maps: adopted.join(",") });
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

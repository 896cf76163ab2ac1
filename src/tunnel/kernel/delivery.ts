/**
 * Which packets take the way past the network stack, by AF_XDP: chosen from what the interface and
 * its driver are, told to the XDP program and to the workers, and told anew when it changes.
 */

import { existsSync } from "node:fs";
import { SysError } from "../../../ffi/errors.ts";
import {
  Delivery as DeliveryEntry,
  DeliveryFlag,
  TunnelLimit,
} from "../../../ffi/bpf/layout.gen.ts";
import type { Libraries } from "../../../ffi/libraries.ts";
import { receiveQueues, xskQueuesMax } from "../../../ffi/xsk.ts";
import type { Log } from "../../base/log.ts";
import type { XskSpec } from "../../transport/xsk_spec.ts";
import type { ToServer } from "../protocol.ts";
import { ownerMask } from "../../wire/session_id.ts";
import type { ProgramPart } from "../../kernel/object_plane.ts";
import type { InterfaceState, XdpView } from "../../kernel/xdp_hook.ts";

export type DeliverySetting = "auto" | "socket" | "af_xdp";

/** An interface as far as the choice goes. */
export interface DeliveryFacts {
  readonly interfaceName: string;
  readonly ifindex: number;
  readonly mode: "native" | "generic";
  /** That it receives by. */
  readonly queues: number;
  /** Whether others are built over it: VLANs, a bridge, a bond. */
  readonly isLower: boolean;
}

export interface DeliveryPlan {
  /** For people: why, or why not. */
  readonly reason: string;
  /** Nothing: sockets alone. */
  readonly facts?: DeliveryFacts;
}

/** Takes the first interface that AF_XDP is good for. */
export function planDelivery(
  setting: DeliverySetting,
  workers: number,
  interfaces: readonly DeliveryFacts[],
): DeliveryPlan {
  if (setting === "socket") return { reason: "ebpf.delivery says so" };
  const found = interfaces.map((facts) => ({ facts, against: reasonAgainst(facts, workers) }));
  if (setting === "af_xdp" && found.length > 0) {
    return { reason: "ebpf.delivery says so", facts: (found.find(isGood) ?? found[0]!).facts };
  }
  const good = found.find(isGood);
  if (good !== undefined) return { reason: "it measured better", facts: good.facts };
  return { reason: found[0]?.against ?? "no interface has XDP" };
}

function isGood({ against }: { readonly against: string | undefined }): boolean {
  return against === undefined;
}

/** What speaks against AF_XDP; the figures are in docs/BENCHMARKS.md. */
function reasonAgainst(
  { interfaceName, mode, queues, isLower }: DeliveryFacts,
  workers: number,
): string | undefined {
  if (mode === "generic") return `${interfaceName} has generic XDP, where sockets measured better`;
  if (isLower) return `others are built over ${interfaceName}, whose tags AF_XDP does not see`;
  if (queues < workers) return `${interfaceName} has ${queues} queues for ${workers} workers`;
  return undefined;
}

export interface DeliveryOptions {
  readonly libs: Libraries;
  readonly plane: Pick<XdpView, "interfaces" | "map">;
  readonly workers: {
    readonly count: number;
    tellEach(messageOf: (index: number) => ToServer | undefined): void;
  };
  readonly setting: DeliverySetting;
  readonly port: number;
  readonly log: Log;
}

/** What it brings to the program on XDP; `isPossible`: by AF_XDP, which this kernel may lack. */
export function deliveryPart(isPossible: boolean): ProgramPart {
  return {
    constants: { af_xdp_enabled: isPossible ? 1 : 0 },
    ...(isPossible ? {} : { omit: ["xsks"] }),
  };
}

export class Delivery {
  readonly #options: DeliveryOptions;
  #current: DeliveryPlan = { reason: "" };

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.check();
  }

  /** By AF_XDP on this interface; nothing: by sockets. */
  get interfaceName(): string | undefined {
    return this.#current.facts?.interfaceName;
  }

  /** Looks at the interfaces again; to be called now and then. */
  check(): void {
    const { setting, plane, workers } = this.#options;
    const facts = setting === "socket" ? [] : plane.interfaces().flatMap((it) => this.#factsOf(it));
    const plan = planDelivery(setting, workers.count, facts);
    if (isSame(plan, this.#current)) return;
    this.#current = plan;
    this.#apply(plan);
  }

  #factsOf({ interfaceName, ifindex, mode }: InterfaceState): DeliveryFacts[] {
    if (mode === undefined) return [];
    try {
      const queues = receiveQueues(this.#options.libs.native, ifindex);
      return [{ interfaceName, ifindex, mode, queues, isLower: hasUpper(interfaceName) }];
    } catch (error) {
      // It has just gone.
      if (error instanceof SysError) return [];
      throw error;
    }
  }

  #apply({ facts, reason }: DeliveryPlan): void {
    const { plane, workers, port, log } = this.#options;
    const { count } = workers;
    const queues = Math.min(facts?.queues ?? 0, TunnelLimit.queues, xskQueuesMax * count);
    const bytes = new Uint8Array(DeliveryEntry.size);
    DeliveryEntry.write(new DataView(bytes.buffer), 0, {
      ifindex: facts?.ifindex ?? 0,
      workers: count,
      ownerMask: ownerMask(count),
      port,
      flags: queues >= count ? DeliveryFlag.hellos : 0,
    });
    plane.map("delivery").set(new Uint8Array(4), bytes);
    const mapFd = plane.map("xsks").fd;
    workers.tellEach((index): ToServer => {
      const own = Array.from({ length: queues }, (_, queue) => queue)
        .filter((queue) => queue % count === index);
      if (facts === undefined || own.length === 0) return { kind: "delivery" };
      const xsk: XskSpec = { interfaceName: facts.interfaceName, queues: own, mapFd };
      return { kind: "delivery", xsk };
    });
    if (facts === undefined) {
      log.info("delivery_sockets", "packets are delivered by UDP sockets", { reason });
    } else {log.info("delivery_af_xdp", "packets are to be delivered by AF_XDP", {
        interface: facts.interfaceName,
        queues,
        reason,
      });}
  }
}

function isSame(a: DeliveryPlan, b: DeliveryPlan): boolean {
  return a.reason === b.reason && a.facts?.interfaceName === b.facts?.interfaceName &&
    a.facts?.ifindex === b.facts?.ifindex && a.facts?.queues === b.facts?.queues;
}

/** Says /sys of links "upper_<name>" and "master". */
function hasUpper(interfaceName: string): boolean {
  const folder = `/sys/class/net/${interfaceName}`;
  if (existsSync(`${folder}/master`)) return true;
  try {
    return [...Deno.readDirSync(folder)].some(({ name }) => name.startsWith("upper_"));
  } catch {
    return false;
  }
}

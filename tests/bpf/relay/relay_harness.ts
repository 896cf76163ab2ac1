/** The relay in xdp_phantom, loaded and not attached, in a network that its routes lead through. */

import { layouts, RelayOutcome } from "../../../ffi/bpf/layout.gen.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { Log } from "../../../src/base/log.ts";
import { ObjectPlane } from "../../../src/kernel/object_plane.ts";
import {
  type BackendNow,
  KernelRelay,
  relayPart,
  type RelayPlan,
} from "../../../src/relay/kernel_relay.ts";
import { RelayNet, V4, V6 } from "../../bench/relay_net.ts";
import { macOf } from "../../bench/relay_net.ts";
import { claim } from "../../fixtures/claim.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";
import type { Bytes } from "../packets.ts";
import type { NextHop, RelayWorld } from "./relay_model.ts";

export type Side = "in" | "out";

export function bytesOf(ip: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(ipBytes(ip));
}

export interface HarnessResult {
  readonly action: number;
  readonly frame: Uint8Array;
}

export interface HarnessOptions {
  /** How long a flow that no backend has answered keeps its port. */
  readonly unansweredS?: number;
  /** As in XDP's generic mode. @default {false} */
  readonly generic?: boolean;
}

export class RelayHarness implements Disposable {
  readonly net = new RelayNet();
  readonly kernel: KernelRelay;
  readonly plan: RelayPlan;
  readonly world: RelayWorld;
  readonly #object: ObjectPlane;
  readonly #indices: Readonly<Record<Side, number>>;

  constructor(plan: RelayPlan, { unansweredS, generic = false }: HarnessOptions = {}) {
    const { relay, sender, receiver } = this.net;
    this.plan = plan;
    this.#object = ObjectPlane.open({
      libs: libraries(),
      code: { name: "xdp_phantom", bytes: bpfObject("xdp_phantom"), origin: "embedded" },
      layout: layouts.xdp_phantom,
      parts: [
        relayPart(plan),
        unansweredS === undefined ? {} : { constants: { relay_unanswered_s: unansweredS } },
      ],
      log: new Log(() => {}),
    });
    this.#indices = { in: this.net.index(relay, "in"), out: this.net.index(relay, "out") };
    this.kernel = new KernelRelay({ map: (name) => this.#object.map(name), plan });
    const hops: Readonly<Record<Side, NextHop>> = {
      in: hopOf(this.#indices.in, macOf(sender, "out"), macOf(relay, "in")),
      out: hopOf(this.#indices.out, macOf(receiver, "in"), macOf(relay, "out")),
    };
    this.world = { ...worldOf(plan, hops), isGeneric: generic };
    this.enter(() => this.kernel.setDevices(Object.values(this.#indices), generic));
    const own = [V4.relayIn, V4.relayOut, V6.relayIn, V6.relayOut];
    claim((name) => this.#object.map(name), { own });
    this.update();
  }

  /** What user space knows of the backends; all are up where nothing is said. */
  update(states: readonly (readonly BackendNow["state"][])[] = []): void {
    this.kernel.update(
      this.plan.services.map(({ backends }, service) =>
        backends.map(({ ip }, at) => ({
          state: states[service]?.[at] ?? "up",
          source: Uint8Array.fromHex(this.world.source(ip.toHex())),
        }))
      ),
    );
  }

  enter<T>(act: () => T): T {
    return this.net.relay.enter(act);
  }

  /** Runs the program on a frame that comes by an interface. */
  run(frame: Bytes, side: Side): HarnessResult {
    const context = new Uint8Array(24);
    const view = new DataView(context.buffer);
    view.setUint32(4, frame.length, true);
    view.setUint32(12, this.#indices[side], true);
    const { value, data } = this.enter(() =>
      this.#object.program("xdp_phantom").run({ data: frame, context })
    );
    return { action: value, frame: data };
  }

  ifindex(side: Side): number {
    return this.#indices[side];
  }

  counts(): Float64Array {
    const sums = this.#object.map("relay_counts").sums();
    return Float64Array.from({ length: RelayOutcome.count }, (_, outcome) => sums[2 * outcome]!);
  }

  [Symbol.dispose](): void {
    this.#object.close();
    this.net[Symbol.dispose]();
  }
}

function hopOf(ifindex: number, to: string, from: string): NextHop {
  const bytes = (mac: string) => mac.split(":").map((one) => parseInt(one, 16));
  return { ifindex, to: bytes(to), from: bytes(from), mtu: 1500 };
}

function worldOf(
  plan: RelayPlan,
  hops: Readonly<Record<Side, NextHop>>,
): Omit<RelayWorld, "isGeneric"> {
  const hex = (ip: string) => bytesOf(ip).toHex();
  const sides = new Map<string, Side>([
    ...[V4.sender, V6.sender].map((ip) => [hex(ip), "in"] as const),
    ...[V4.receiver, V6.receiver].map((ip) => [hex(ip), "out"] as const),
  ]);
  const own = new Map<string, string>([
    [hex(V4.sender), hex(V4.relayIn)],
    [hex(V6.sender), hex(V6.relayIn)],
    [hex(V4.receiver), hex(V4.relayOut)],
    [hex(V6.receiver), hex(V6.relayOut)],
  ]);
  const local = new Set([V4.relayIn, V4.relayOut, V6.relayIn, V6.relayOut].map(hex));
  return {
    plan,
    isLocal: (ip) => local.has(ip),
    route(ip) {
      const side = sides.get(ip);
      return side === undefined ? undefined : hops[side];
    },
    source: (ip) => own.get(ip) ?? hex(ip.startsWith("0000") ? V4.relayOut : V6.relayOut),
  };
}

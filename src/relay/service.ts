/** The relay in user space as a service of a worker. */

import { BpfMap } from "../../ffi/bpf/map.ts";
import { bootMs } from "../../ffi/loop.ts";
import { NativePrimitives } from "../../ffi/primitives.ts";
import { ClockReader } from "../crypto/server_clock.ts";
import { Tskd } from "../crypto/tskd.ts";
import type { CounterSources } from "../loop/counters.ts";
import type { Host, Service } from "../loop/host.ts";
import { Forwarder } from "./forward.ts";
import { RelayCounters, type RelayStart } from "./protocol.ts";
import { RelayReturns } from "./returns.ts";

export class RelayService implements Service<"changed"> {
  readonly name = "relay";
  readonly #counted = new RelayCounters();
  readonly counters: CounterSources = { "": this.#counted };
  readonly #start: RelayStart;
  readonly #windows: Tskd | undefined;
  readonly #forwarder: Forwarder;
  readonly #returns: RelayReturns | undefined;

  constructor({ loop, libs }: Host, start: RelayStart) {
    const { plan, psk, states, flowsFd, socketsMax } = start;
    const clock = new ClockReader(start.clock, () => bootMs(libs.native));
    const counters = this.#counted;
    const windows = psk && new Tskd(new NativePrimitives(libs.native), psk);
    let { beginnings } = clock;
    const maskKeys = () => {
      const unixMs = clock.unixMs();
      if (beginnings !== clock.beginnings) windows!.startOver();
      beginnings = clock.beginnings;
      windows!.tick(unixMs);
      return { keys: windows!.maskKeys, count: windows!.maskCount };
    };
    this.#start = start;
    this.#windows = windows;
    this.#forwarder = new Forwarder(loop, {
      plan,
      counters,
      flowsMax: Math.min(plan.flowsMax, socketsMax),
      states: new Uint8Array(states),
      ...(windows === undefined ? {} : { maskKeys }),
    });
    this.#returns = flowsFd === undefined ? undefined : new RelayReturns(loop, {
      plan,
      flows: new BpfMap(libs, flowsFd, false),
      listenerOf: (ip, port) => this.#forwarder.listenerOf(ip, port),
      onReturned: () => counters.returned++,
      onLost: () => counters.notSent++,
      onError: (error) => loop.fault(error),
    });
  }

  /** Opens the sockets. */
  start(): void {
    try {
      this.#forwarder.start();
      this.#returns?.changed();
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  heard(): void {
    this.#forwarder.changed();
    this.#returns?.changed();
  }

  stop(): void {
    this.#returns?.stop();
    this.#forwarder.stop();
  }

  wipe(): void {
    this.#windows?.wipe();
    this.#start.psk?.fill(0);
  }
}

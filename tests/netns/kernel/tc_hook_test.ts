/** A system of TC beside XDP: a program of twenty lines, attached both ways through hooks alone. */

import assert from "node:assert/strict";
import { openPinnedLink } from "../../../ffi/bpf/link.ts";
import { type BpfMap, keyOfIndex } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { cString } from "../../../ffi/memory.ts";
import { Log } from "../../../src/base/log.ts";
import { KernelEvents } from "../../../src/kernel/events.ts";
import type { Hook } from "../../../src/kernel/hook.ts";
import { HookedInterfaces } from "../../../src/kernel/hooked_interfaces.ts";
import { PinFolder } from "../../../src/kernel/pins.ts";
import { TcHook, type TcLevel, type TcPlace } from "../../../src/kernel/tc_hook.ts";
import { unloadInstance } from "../../../src/kernel/unload.ts";
import { XdpHook } from "../../../src/kernel/xdp_hook.ts";
import { bpfObject, freshPinPath, libraries } from "../../fixtures/libraries.ts";
import { Namespace, run } from "../../fixtures/netns.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("tc_hook_test.ts: skipped, network namespaces need root");

const log = new Log(() => {});
const PLACES: readonly TcPlace[] = (["ingress", "egress"] as const).map((direction) => ({
  name: `test_${direction}`,
  direction,
  identity: { handle: 0x77, priority: 0x77 },
}));

class Bench implements Disposable {
  readonly namespace = new Namespace();
  readonly peer = new Namespace();
  readonly pinPath = freshPinPath();

  constructor() {
    this.namespace.veth("va", "vb", this.peer);
    this.namespace.ip("addr", "add", "198.51.100.1/24", "dev", "va");
    this.peer.ip("addr", "add", "198.51.100.2/24", "dev", "vb");
  }

  get ifindex(): number {
    return this.namespace.enter(() => libs.native.symbols.ph_ifindex(cString("va")));
  }

  /** A datagram each way, and the neighbours' packets besides. */
  talk(): void {
    this.namespace.run("bash", "-c", "echo >/dev/udp/198.51.100.2/9");
    this.peer.run("bash", "-c", "echo >/dev/udp/198.51.100.1/9");
  }

  [Symbol.dispose](): void {
    this.namespace[Symbol.dispose]();
    this.peer[Symbol.dispose]();
    run("rm", "-rf", this.pinPath);
  }
}

/** What a process has of the system, beside an XDP program. */
class System implements Disposable {
  readonly interfaces: HookedInterfaces;
  readonly counts: BpfMap;
  readonly #pins: PinFolder;
  readonly #objects: readonly BpfObject[];
  readonly #namespace: Namespace;

  constructor({ namespace, pinPath }: Bench, level: TcLevel) {
    const pins = PinFolder.open(libs, pinPath, "default", log)!;
    const passing = new BpfObject(libs, "testing", bpfObject("testing")).load();
    const counting = new BpfObject(libs, "tc_count", bpfObject("tc_count")).load();
    const xdp: Hook = new XdpHook({
      libs,
      pins: pins.hook("xdp"),
      program: passing.program("xdp_pass"),
      mode: "native",
    });
    const tc = PLACES.map((place) =>
      new TcHook({
        libs,
        pins: pins.hook(place.name),
        program: counting.program(place.direction === "ingress" ? "tc_in" : "tc_out"),
        place,
        title: `test ${place.direction}`,
        level,
      })
    );
    const events = new KernelEvents(log);
    const hooks = [xdp, ...tc];
    this.#namespace = namespace;
    this.#pins = pins;
    this.#objects = [passing, counting];
    this.counts = counting.map("passed");
    this.interfaces = namespace.enter(() => {
      const made = new HookedInterfaces({ libs, hooks, configured: ["va"], log, events });
      made.start(0);
      return made;
    });
  }

  /** Packets in and out. */
  passed(): number[] {
    return [0, 1].map((index) =>
      Number(new DataView(this.counts.get(keyOfIndex(index))!.buffer).getBigUint64(0, true))
    );
  }

  levels(): string[] {
    return ["xdp", "test_ingress", "test_egress"].map((name) => {
      const [state] = this.interfaces.states(name);
      return `${state?.level}${state?.swapped ? ", swapped" : ""}`;
    });
  }

  check(now: number): void {
    this.#namespace.enter(() => this.interfaces.check(now));
  }

  [Symbol.dispose](): void {
    this.interfaces.close();
    for (const object of this.#objects) object.close();
    this.#pins.close();
  }
}

for (const level of ["tcx", "clsact"] as const) {
  Deno.test({
    name: `a TC system attaches both ways beside XDP, by ${level}, and outlives its process`,
    ignore,
    fn() {
      using bench = new Bench();
      {
        using first = new System(bench, level);
        assert.deepEqual(first.levels(), ["native", level, level]);
        bench.talk();
        assert.ok(first.passed().every((packets) => packets > 0));
      }
      using second = new System(bench, level);
      const swapped = level === "tcx" ? "tcx, swapped" : level;
      assert.deepEqual(second.levels(), ["native, swapped", swapped, swapped]);
      const [before] = [second.passed()];
      bench.talk();
      second.passed().forEach((packets, index) => assert.ok(packets > before[index]!));
      second[Symbol.dispose]();
      const pins = new PinFolder(libs, bench.pinPath, "default");
      const unload = () => unloadInstance(libs, pins, PLACES);
      assert.deepEqual(bench.namespace.enter(unload), ["va"]);
      assert.ok(!pins.exists);
      const filters = ["ingress", "egress"].map((direction) =>
        bench.namespace.run("tc", "filter", "show", "dev", "va", direction).trim()
      );
      assert.deepEqual(filters, ["", ""]);
    },
  });
}

Deno.test({
  name: "each hook is looked after by itself: what is lost or replaced is put back",
  ignore,
  fn() {
    using bench = new Bench();
    using system = new System(bench, "tcx");
    const path = (hook: string) => `${bench.pinPath}/default/hooks/${hook}/va`;
    {
      using link = openPinnedLink(libs, path("test_egress"))!;
      link.detach();
    }
    using other = new BpfObject(libs, "tc_count", bpfObject("tc_count")).load();
    using link = openPinnedLink(libs, path("test_ingress"))!;
    const { programId } = link.info();
    link.update(other.program("tc_in"));
    system.check(2000);
    assert.equal(link.info().programId, programId);
    assert.deepEqual(system.levels(), ["native", "tcx", "tcx"]);
    const { lost, reattached, replaced } = system.interfaces.health;
    assert.deepEqual({ lost, reattached, replaced }, { lost: 1, reattached: 1, replaced: 1 });
  },
});

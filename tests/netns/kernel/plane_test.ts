/** The XDP plane's life on its interfaces: they come, go, change, and others interfere. */

import assert from "node:assert/strict";
import { interfaceOf } from "../../../ffi/interfaces.ts";
import { openPinnedLink } from "../../../ffi/bpf/link.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { unloadPlane } from "../../../src/tunnel/kernel/plane.ts";
import { pinnedIds, remaining, Sender } from "../../fixtures/kernel.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";
import {
  compileEdited,
  levelsOf,
  PLANE_PORT,
  PlaneBench,
  versionOf,
} from "../../fixtures/plane.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("plane_test.ts: skipped, network namespaces need root");

/** A test with a bench of its own. */
function test(name: string, act: (bench: PlaneBench) => Promise<void> | void): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using bench = new PlaneBench();
      await act(bench);
    },
  });
}

/** Interfaces with a pinned link. */
function xdpPins({ pins }: PlaneBench): string[] {
  return pins.hook("xdp").interfaces();
}

function xdpOf(bench: PlaneBench, name: string) {
  const ifindex = bench.ifindex(name);
  return bench.namespace.enter(() => interfaceOf(libs, ifindex))!.xdp;
}

/** A veth whose driver refuses XDP, as its peer may send more than fits a page. */
function addLarge({ namespace, peer }: PlaneBench, name = "la"): void {
  namespace.veth(name, `${name}-peer`, peer);
  peer.ip("link", "set", "dev", `${name}-peer`, "mtu", "9000");
}

test("each of several interfaces has the level that works there", (bench) => {
  addLarge(bench);
  const plane = bench.start({ interfaces: ["va", "la", "later0"] });
  assert.equal(levelsOf(plane.interfaces()), "va native, la generic");
  assert.equal(plane.level, "native XDP on va, generic XDP on la");
  assert.match(
    bench.line("native XDP does not work here"),
    /WARN .*interface=la cause=".*ERANGE.*" remedy="a smaller MTU/,
  );
  assert.match(bench.line("waiting for it"), /missing=later0/);
  assert.notEqual(xdpOf(bench, "la").generic, 0);
  plane.close();
  const again = bench.start({ interfaces: ["va", "la"] });
  assert.deepEqual(again.interfaces().map(({ swapped }) => swapped), [true, true]);
  again.close();
});

test("an interface with a dot in its name is pinned and adopted", (bench) => {
  bench.namespace.ip("link", "set", "dev", "va", "name", "va.100");
  const options = { interfaces: ["va.100"] };
  bench.start(options).close();
  assert.deepEqual(xdpPins(bench), ["va.100"]);
  const again = bench.start(options);
  assert.equal(levelsOf(again.interfaces()), "va.100 native");
  assert.ok(again.interfaces()[0]!.swapped);
  again.close();
});

test("interfaces that come are attached, those that go are forgotten", async (bench) => {
  const plane = bench.start({ interfaces: ["va", "wa"] });
  bench.namespace.veth("wa", "wb", bench.peer);
  const ms = await bench.watch(plane, () => plane.interfaces().length === 2);
  assert.ok(ms < 1000, `${ms} ms`);
  assert.equal(levelsOf(plane.interfaces()), "va native, wa native");
  const first = bench.ifindex("wa");
  bench.namespace.ip("link", "del", "wa");
  await bench.watch(plane, () => plane.interfaces().length === 1);
  assert.deepEqual(xdpPins(bench), ["va"]);
  assert.match(bench.line("an interface with XDP is gone"), /WARN .*interface=wa/);
  // Deleted and made anew between two looks: another interface of the same name.
  bench.namespace.veth("wa", "wb", bench.peer);
  await bench.watch(plane, () => plane.interfaces().length === 2);
  bench.namespace.ip("link", "del", "wa");
  bench.namespace.veth("wa", "wb", bench.peer);
  await bench.watch(plane, () => plane.interfaces()[1]?.ifindex === bench.ifindex("wa"));
  assert.notEqual(bench.ifindex("wa"), first);
  assert.notEqual(xdpOf(bench, "wa").native, 0);
  const { appeared, vanished } = plane.health;
  assert.deepEqual({ appeared, vanished }, { appeared: 3, vanished: 2 });
  plane.close();
});

test("a plane without interfaces waits, and leaves nothing if none came", async (bench) => {
  const idle = bench.start({ interfaces: ["later0"] });
  assert.equal(idle.level, "no XDP");
  idle.close();
  assert.ok(!bench.pins.exists);
  const plane = bench.start({ interfaces: ["later0"] });
  bench.namespace.veth("later0", "later1", bench.peer);
  await bench.watch(plane, () => plane.level !== "no XDP");
  assert.equal(plane.level, "native XDP on later0");
  plane.close();
  assert.deepEqual(xdpPins(bench), ["later0"]);
});

test("a renamed interface keeps its attachment where its new name is wanted", async (bench) => {
  const { namespace } = bench;
  namespace.veth("wa", "wb", bench.peer);
  const plane = bench.start({ interfaces: ["va", "wa"] });
  const [va, wa] = [bench.ifindex("va"), bench.ifindex("wa")];
  const ids = pinnedIds(bench.pins.path);
  // Each gets the other's name.
  for (const [from, to] of [["va", "tmp0"], ["wa", "va"], ["tmp0", "wa"]] as const) {
    namespace.ip("link", "set", "dev", from, "down");
    namespace.ip("link", "set", "dev", from, "name", to);
    namespace.ip("link", "set", "dev", to, "up");
  }
  await bench.watch(plane, () => plane.health.renamed === 2);
  assert.deepEqual(plane.interfaces().map((one) => [one.interfaceName, one.ifindex]), [
    ["wa", va],
    ["va", wa],
  ]);
  assert.deepEqual(pinnedIds(bench.pins.path).links.toSorted(), ids.links.toSorted());
  assert.equal(bench.pinnedLink("va").info().ifindex, wa);
  namespace.ip("link", "set", "dev", "wa", "name", "other0");
  await bench.watch(plane, () => plane.interfaces().length === 1);
  assert.equal(xdpOf(bench, "other0").native, 0);
  assert.deepEqual(xdpPins(bench), ["va"]);
  plane.close();
  // Renamed while nobody looks: the next start finds its attachment under the new name.
  namespace.ip("link", "set", "dev", "va", "name", "vc");
  const next = bench.start({ interfaces: ["vc"] });
  assert.deepEqual(next.interfaces().map(({ swapped }) => swapped), [true]);
  assert.deepEqual(xdpPins(bench), ["vc"]);
  next.close();
});

test("a lost attachment is made anew within two seconds", async (bench) => {
  const plane = bench.start();
  const before = pinnedIds(bench.pins.path);
  bench.pinnedLink().detach();
  assert.equal(xdpOf(bench, "va").native, 0);
  const ms = await bench.watch(plane, () => xdpOf(bench, "va").native !== 0);
  assert.ok(ms < 2000, `${ms} ms`);
  assert.equal(xdpOf(bench, "va").native, plane.interfaces()[0]!.programId);
  assert.match(bench.line("XDP was taken off, attaching anew"), /WARN .*interface=va/);
  assert.match(bench.line("event=xdp_attached"), /interface=va mode=native/);
  const { lost, reattached, dropped } = plane.health;
  assert.deepEqual({ lost, reattached, dropped }, { lost: 1, reattached: 1, dropped: 0 });
  // The new one is pinned and the old one gone.
  const { links } = pinnedIds(bench.pins.path);
  assert.equal(links.length, 2);
  assert.notDeepEqual(links, before.links);
  plane.close();
});

test("where another program took the place the level drops, until it goes", async (bench) => {
  const plane = bench.start();
  bench.pinnedLink().detach();
  const foreign = bench.foreign();
  const id = xdpOf(bench, "va").native;
  await bench.watch(plane, () => plane.level === "no XDP");
  assert.equal(levelsOf(plane.interfaces()), "va none");
  assert.equal(plane.health.dropped, 1);
  const line = bench.line("native XDP does not work on an interface");
  assert.match(line, new RegExp(`another XDP program is there \\(id ${id}, xdp_pass\\)`));
  assert.match(line, new RegExp(`remedy="\`bpftool prog show id ${id}\``));
  assert.deepEqual(xdpPins(bench), []);
  assert.equal(xdpOf(bench, "va").native, id);
  foreign.close();
  const ms = await bench.watch(plane, () => plane.level !== "no XDP");
  assert.ok(ms < 2000, `${ms} ms`);
  assert.equal(plane.level, "native XDP on va");
  plane.close();
});

test("a foreign generic program is left alone too", (bench) => {
  bench.foreign("va", "generic");
  const id = xdpOf(bench, "va").generic;
  const plane = bench.start();
  assert.equal(plane.level, "no XDP");
  const [state] = plane.interfaces();
  assert.match(state!.failed[0]!.cause, new RegExp(`\\(id ${id}, xdp_pass\\)`));
  assert.deepEqual(xdpOf(bench, "va"), { native: 0, generic: id, offloaded: 0 });
  plane.close();
});

test("a program put behind our link is put back", async (bench) => {
  const plane = bench.start();
  using object = new BpfObject(libs, "other", bpfObject("testing")).load();
  bench.pinnedLink().update(object.program("xdp_drop"));
  await bench.watch(plane, () => plane.health.replaced === 1);
  assert.equal(xdpOf(bench, "va").native, plane.interfaces()[0]!.programId);
  assert.match(bench.line("event=xdp_replaced"), /WARN .*interface=va/);
  plane.close();
});

test("the program at the way out lives as the other one does", async (bench) => {
  const plane = bench.start();
  const egress = () => openPinnedLink(libs, bench.pins.hook("tc_egress").path("va"));
  {
    using link = egress()!;
    assert.equal(link.info().ifindex, bench.ifindex("va"));
    link.detach();
  }
  await bench.watch(plane, () => plane.health.reattached === 1);
  assert.match(bench.line("the counter of outgoing packets was taken off"), /WARN .*interface=va/);
  const id = (() => {
    using link = egress()!;
    assert.equal(link.info().ifindex, bench.ifindex("va"));
    return link.info().id;
  })();
  plane.close();
  const next = bench.start();
  {
    using link = egress()!;
    assert.equal(link.info().id, id);
  }
  bench.namespace.ip("link", "set", "dev", "va", "name", "vc");
  await bench.watch(next, () => next.interfaces().length === 0);
  assert.equal(egress(), undefined);
  next.close();
});

test("a removed pin is made anew", async (bench) => {
  const plane = bench.start();
  const ids = pinnedIds(bench.pins.path);
  Deno.removeSync(bench.pins.hook("xdp").path("va"));
  await bench.watch(plane, () => plane.health.unpinned === 1);
  assert.deepEqual(pinnedIds(bench.pins.path).links, ids.links);
  plane.close();
});

test("ip link can't take the program off, and a link that was down is as before", async (bench) => {
  const plane = bench.start();
  const { programId } = plane.interfaces()[0]!;
  assert.throws(() => bench.namespace.ip("link", "set", "dev", "va", "xdp", "off"), /replace/);
  for (const state of ["down", "up"]) bench.namespace.ip("link", "set", "dev", "va", state);
  const until = performance.now() + 300;
  await bench.watch(plane, () => performance.now() > until);
  assert.equal(xdpOf(bench, "va").native, programId);
  assert.equal(plane.health.lost, 0);
  plane.close();
});

test("two planes share an interface as little as two programs can", (bench) => {
  const first = bench.start();
  const second = bench.start({ instance: "second" });
  const { cause } = second.interfaces()[0]!.failed[0]!;
  assert.match(cause, /another Phantom has XDP there .*xdp_phantom/);
  second.close();
  assert.equal(first.level, "native XDP on va");
  assert.deepEqual([...Deno.readDirSync(bench.pinPath)].map(({ name }) => name), ["default"]);
  first.close();
});

test("counters that stand still while packets come are an event", async (bench) => {
  bench.namespace.ip("addr", "add", "198.51.100.1/24", "dev", "va");
  bench.peer.ip("addr", "add", "198.51.100.2/24", "dev", "vb");
  // A program that counts nothing, and a plane that does not know it.
  const silenced = (text: string) => text.replace("!stats_enabled", "stats_enabled");
  const object = compileEdited(bench.folder, silenced);
  const plane = bench.start({
    code: versionOf(object, "1").code,
  });
  using sender = new Sender(bench.peer);
  const send = () => {
    const packets = Array.from({ length: 100 }, () => new Uint8Array(20));
    sender.send("198.51.100.1", PLANE_PORT, packets);
  };
  const began = performance.now();
  while (plane.health.still === 0 && performance.now() - began < 8000) {
    send();
    bench.namespace.enter(() => plane.check());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.match(bench.line("event=xdp_silent"), /interfaces=va/);
  plane.close();
});

test("unload takes all interfaces and maps off", async (bench) => {
  addLarge(bench);
  bench.start({ interfaces: ["va", "la"] }).close();
  const ids = pinnedIds(bench.pins.path);
  assert.equal(ids.links.length, 4);
  assert.deepEqual(unloadPlane(libs, bench.pins), ["la", "va"]);
  assert.deepEqual(await remaining(ids), []);
  assert.ok(!bench.pins.exists);
});

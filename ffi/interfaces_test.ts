import assert from "node:assert/strict";
import { libraries } from "../tests/fixtures/libraries.ts";
import { interfaceOf, InterfaceWatch, listInterfaces } from "./interfaces.ts";

const libs = libraries();
const LOOPBACK = 0x8;

Deno.test("listInterfaces() finds what /proc/net/dev and /sys tell", () => {
  const table = Deno.readTextFileSync("/proc/thread-self/net/dev").split("\n").slice(2);
  const names = table.map((line) => line.split(":")[0]!.trim()).filter((name) => name !== "");
  const listed = listInterfaces(libs);
  assert.deepEqual(listed.map(({ name }) => name).toSorted(), names.toSorted());
  const lo = listed.find(({ name }) => name === "lo")!;
  assert.equal(lo.mtu, Number(Deno.readTextFileSync("/sys/class/net/lo/mtu")));
  assert.equal(lo.ifindex, Number(Deno.readTextFileSync("/sys/class/net/lo/ifindex")));
  assert.notEqual(lo.flags & LOOPBACK, 0);
});

Deno.test("interfaceOf() reads one, and knows when there is none", () => {
  const [first] = listInterfaces(libs);
  assert.equal(interfaceOf(libs, first!.ifindex)?.name, first!.name);
  assert.equal(interfaceOf(libs, 0x7fff_0000), undefined);
});

Deno.test("InterfaceWatch is silent while nothing happens, and closes once", () => {
  const watch = new InterfaceWatch(libs);
  watch.changed();
  assert.equal(typeof watch.changed(), "boolean");
  watch.close();
  assert.throws(() => watch.changed(), /closed/);
});

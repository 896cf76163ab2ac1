/** What programs attach to, kind by kind, on this kernel. */

import assert from "node:assert/strict";
import { attachToCgroup } from "../../../ffi/bpf/cgroup_link.ts";
import { BpfMapType } from "../../../ffi/bpf/libbpf.gen.ts";
import { isPinnedLink } from "../../../ffi/bpf/link.ts";
import { type BpfMap, createMap, keyOfIndex } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { attachToSockets, detachFromSockets } from "../../../ffi/bpf/socket_link.ts";
import { attachTcx, ClsactFilter, removeFilter, type TcAnchor } from "../../../ffi/bpf/tc_link.ts";
import { endpoint } from "../../../ffi/endpoint.ts";
import { cString } from "../../../ffi/memory.ts";
import { TcpListener, type TcpSocket } from "../../../ffi/tcp.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { bpfObject, freshPinPath, libraries } from "../../fixtures/libraries.ts";
import { Namespace, run } from "../../fixtures/netns.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("links_test.ts: skipped, attaching needs root");

const RULES = { name: "rules", keySize: 4, valueSize: 4, maxEntries: 1 };
const OUTER = { name: "outer", keySize: 4, valueSize: 4, maxEntries: 2 };

function test(name: string, fn: () => Promise<void> | void): void {
  Deno.test({ name, ignore, fn });
}

function load(name: "links" | "tc_count", prepare?: (object: BpfObject) => void): BpfObject {
  const object = new BpfObject(libs, name, bpfObject(name));
  if (name === "links") {
    using rules = ruleSet(0);
    object.setInner("sets", rules);
    prepare?.(object);
    return object.load();
  }
  return object.load();
}

/** A set of one rule. */
function ruleSet(rule: number): BpfMap {
  const map = createMap(libs, { ...RULES, type: BpfMapType.array });
  map.set(keyOfIndex(0), keyOfIndex(rule));
  return map;
}

function number(map: BpfMap, index: number): number {
  return Number(new DataView(map.get(keyOfIndex(index))!.buffer).getBigUint64(0, true));
}

/** A veth whose neighbour is known, with this thread inside, and how to send by it. */
function onVeth(act: (ifindex: number, send: () => void, namespace: Namespace) => void): void {
  using namespace = new Namespace();
  namespace.veth("va", "vb");
  namespace.ip("addr", "add", "198.51.100.1/24", "dev", "va");
  namespace.ip("neigh", "add", "198.51.100.9", "lladdr", "02:00:00:00:00:09", "dev", "va");
  const send = () => namespace.run("bash", "-c", "echo >/dev/udp/198.51.100.9/9");
  namespace.enter(() => act(libs.native.symbols.ph_ifindex(cString("va")), send, namespace));
}

test("a tcx program stands before or after another's link, another program, or all", () => {
  onVeth((ifindex, send) => {
    using dropping = load("links");
    using counting = load("tc_count");
    const drop = dropping.program("tc_drop");
    using link = attachTcx(libs, drop, ifindex, "egress");
    const passed = (anchor?: TcAnchor): boolean => {
      using _count = attachTcx(libs, counting.program("tc_out"), ifindex, "egress", anchor);
      const before = number(counting.map("passed"), 1);
      send();
      return number(counting.map("passed"), 1) > before;
    };
    for (const before of [link, drop, "all"] as const) assert.ok(passed({ before }));
    for (const after of [link, drop, "all"] as const) assert.ok(!passed({ after }));
    assert.ok(!passed());
  });
});

test("an anchor that is not attached there is an error", () => {
  onVeth((ifindex) => {
    using object = load("tc_count");
    const [one, other] = [object.program("tc_in"), object.program("tc_out")];
    assert.throws(() => attachTcx(libs, one, ifindex, "ingress", { before: other }), /ENOENT/);
  });
});

test("a filter that is left goes on without its owner, and is swapped by the next", () => {
  onVeth((ifindex, send) => {
    const identity = { handle: 7, priority: 7 };
    using first = load("tc_count");
    using second = load("tc_count");
    new ClsactFilter(libs, first.program("tc_out"), ifindex, "egress", identity).leave();
    send();
    assert.ok(number(first.map("passed"), 1) > 0);
    const filter = new ClsactFilter(libs, second.program("tc_out"), ifindex, "egress", identity);
    assert.equal(filter.programId(), second.program("tc_out").info().id);
    filter.leave();
    removeFilter(libs, ifindex, "egress", identity);
    const before = number(second.map("passed"), 1);
    send();
    assert.equal(number(second.map("passed"), 1), before);
  });
});

test("isPinnedLink() tells a link from a program", () => {
  onVeth((ifindex) => {
    const folder = freshPinPath();
    Deno.mkdirSync(folder);
    try {
      using object = load("tc_count");
      object.program("tc_in").pin(`${folder}/program`);
      using link = attachTcx(libs, object.program("tc_in"), ifindex, "ingress");
      link.pin(`${folder}/link`);
      const kinds = ["link", "program", "none"].map((name) =>
        isPinnedLink(libs, `${folder}/${name}`)
      );
      assert.deepEqual(kinds, [true, false, false]);
    } finally {
      run("rm", "-rf", folder);
    }
  });
});

test("a cgroup link sees the packets of its processes, and of no others", () => {
  const folder = Deno.makeTempDirSync({ prefix: "phantom-cgroup-" });
  run("mount", "-t", "cgroup2", "none", folder);
  const group = `${folder}/phtest-${Deno.pid}`;
  try {
    Deno.mkdirSync(group);
    using object = load("links");
    const seen = () => number(object.map("seen"), 0);
    {
      using _link = attachToCgroup(libs, object.program("cgroup_count"), group, "egress");
      run("bash", "-c", "echo >/dev/udp/127.0.0.1/9");
      assert.equal(seen(), 0);
      run("bash", "-c", `echo $$ >${group}/cgroup.procs; echo >/dev/udp/127.0.0.1/9`);
      assert.equal(seen(), 1);
    }
    run("bash", "-c", `echo $$ >${group}/cgroup.procs; echo >/dev/udp/127.0.0.1/9`);
    assert.equal(seen(), 1);
  } finally {
    run("rmdir", group);
    run("umount", folder);
    Deno.removeSync(folder);
  }
});

/** A connection: our end, and that of the other. */
async function connection(listener: TcpListener): Promise<{ own: TcpSocket; other: Deno.Conn }> {
  const other = await Deno.connect({ hostname: "127.0.0.1", port: listener.local.port });
  for (;;) {
    const [own] = listener.accept();
    if (own !== undefined) return { own, other };
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("a verdict program on a sockhash joins two streams, until it is taken off", async () => {
  const local = endpoint(ipBytes("127.0.0.1"), 0);
  using first = new TcpListener(libs.native, { local });
  using second = new TcpListener(libs.native, { local });
  using object = load("links", (links) => links.setConstant("first_port", first.local.port));
  const [program, streams] = [object.program("to_other"), object.map("streams")];
  attachToSockets(libs, program, streams, "streamVerdict");
  const ends = await Promise.all([first, second].map(connection));
  ends.forEach(({ own }, index) => {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setUint32(0, own.fd, true);
    streams.set(keyOfIndex(index), value);
  });
  const [one, two] = ends.map(({ other }) => other) as [Deno.Conn, Deno.Conn];
  for (const [from, to] of [[one, two], [two, one]] as const) {
    const sent = crypto.getRandomValues(new Uint8Array(1000));
    await from.write(sent);
    const came = new Uint8Array(sent.length);
    for (let at = 0; at < came.length;) at += (await to.read(came.subarray(at)))!;
    assert.deepEqual(came, sent);
  }
  detachFromSockets(libs, program, streams, "streamVerdict");
  assert.throws(() => detachFromSockets(libs, program, streams, "streamVerdict"), /ENOENT/);
  for (const { own, other } of ends) {
    own.close();
    other.close();
  }
});

test("a map of maps changes a whole set in one step, as programs see it", () => {
  using object = load("links");
  const [sets, program] = [object.map("sets"), object.program("rule_of_set")];
  const rule = () => program.run({ data: new Uint8Array(64) }).value;
  assert.equal(rule(), 0);
  using first = ruleSet(11);
  using second = ruleSet(22);
  sets.put(keyOfIndex(0), first);
  assert.equal(rule(), 11);
  assert.deepEqual(sets.get(keyOfIndex(0)), keyOfIndex(first.info.id));
  sets.put(keyOfIndex(0), second);
  assert.equal(rule(), 22);
  second.set(keyOfIndex(0), keyOfIndex(33));
  assert.equal(rule(), 33);
});

for (const type of ["arrayOfMaps", "hashOfMaps"] as const) {
  test(`a map of type ${type} takes maps like its inner one, and no others`, () => {
    using inner = ruleSet(0);
    using outer = createMap(libs, { ...OUTER, type: BpfMapType[type] }, inner);
    outer.put(keyOfIndex(1), inner);
    assert.deepEqual(outer.get(keyOfIndex(1)), keyOfIndex(inner.info.id));
    using larger = createMap(libs, { ...RULES, type: BpfMapType.array, valueSize: 8 });
    assert.throws(() => outer.put(keyOfIndex(1), larger), /EINVAL/);
    assert.ok(outer.delete(keyOfIndex(1)));
    assert.equal(outer.get(keyOfIndex(1)), undefined);
  });
}

import assert from "node:assert/strict";
import { testNative } from "../tests/native.ts";
import { isShortOfDescriptors, spareDescriptors } from "./descriptors.ts";
import { descriptorsInUse, raiseDescriptorLimit } from "./descriptors.ts";
import { endpoint } from "./endpoint.ts";
import { SysError } from "./errors.ts";
import { TcpListener, TcpSocket } from "./tcp.ts";
import { UdpSocket } from "./udp.ts";

const native = testNative();
const LOOPBACK = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]);
const ALL = 0x7fff_ffff;

Deno.test("raiseDescriptorLimit tells the limit, which is the hard one from then on", async () => {
  const limit = raiseDescriptorLimit(native);
  const limits = await Deno.readTextFile("/proc/self/limits");
  const [soft, hard] = /^Max open files +(\d+) +(\d+)/m.exec(limits)!.slice(1).map(Number);
  assert.deepEqual([soft, hard], [limit, limit]);
  assert.ok(descriptorsInUse() < limit);
});

Deno.test("spared descriptors are not for connections, nor for UDP sockets that leave them", () => {
  using listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  const local = endpoint(LOOPBACK, 0);
  const before = descriptorsInUse();
  const isShort = (error: unknown) => isShortOfDescriptors(error);
  // As if all were used up to here.
  spareDescriptors(native, 0);
  try {
    assert.throws(() => TcpSocket.connect(native, { peer: listener.local }), isShort);
    assert.throws(() => new UdpSocket(native, { local, isSpared: true }), isShort);
    // What this process itself needs.
    new UdpSocket(native, { local }).close();
    new TcpListener(native, { local }).close();
  } finally {
    spareDescriptors(native, ALL);
  }
  using _client = TcpSocket.connect(native, { peer: listener.local });
  spareDescriptors(native, 0);
  try {
    assert.throws(() => listener.accept(), isShort);
  } finally {
    spareDescriptors(native, ALL);
  }
  // Nothing of that stays open.
  assert.equal(descriptorsInUse(), before + 1);
});

Deno.test("isShortOfDescriptors is of the process's limit and the machine's, no other", () => {
  const of = (errno: number) => isShortOfDescriptors(new SysError("open", errno));
  assert.deepEqual([23, 24, 12, 13].map(of), [true, true, false, false]);
  assert.equal(isShortOfDescriptors(new Error("EMFILE")), false);
});

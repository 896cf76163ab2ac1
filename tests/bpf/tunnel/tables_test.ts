/** What user space does with the kernel's tables, and the programs beside xdp_phantom. */

import assert from "node:assert/strict";
import {
  Config,
  ConfigFlag,
  Reason,
  RequestLimit,
  SessionKey,
  SessionOp,
  SessionRequest,
  SessionResult,
  SessionState,
  SessionValue,
  TunnelLimit,
  Verdict,
} from "../../../ffi/bpf/layout.gen.ts";
import { endpoint, routeTo } from "../../../ffi/endpoint.ts";
import { monotonicMs } from "../../../ffi/loop.ts";
import { type BpfMap, keyOfIndex } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { maskKeyOf } from "../../../src/crypto/tskd.ts";
import { KernelKeys } from "../../../src/tunnel/kernel/keys.ts";
import { KernelSessions } from "../../../src/tunnel/kernel/sessions.ts";
import { MARKS_MAX, SessionMarks } from "../../../src/tunnel/server/session_marks.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";
import { fuzz } from "../../fuzz/rng.ts";
import { masked, testKeys, WINDOW } from "./keyed_packets.ts";
import {
  type Bytes,
  concat,
  ethernet,
  frame,
  hex,
  ipv4,
  ipv6,
  payload,
  tcp,
  udp,
  vlan,
} from "../packets.ts";
import { counterIndex, XdpHarness } from "./xdp_harness.ts";

const libs = libraries();
const NS_A_MS = 1_000_000n;
/** When the kernel's clock began, to the nearest nanosecond that is a time. */
const BOOT_NS = 1n;
const PORT = 443;

interface Open {
  readonly object: BpfObject;
  map(name: string): BpfMap;
  [Symbol.dispose](): void;
}

function open(name: string, sessions = 1024): Open {
  const object = new BpfObject(libs, name, bpfObject(name));
  const maps = object.shapes().map(({ name }) => name);
  if (maps.includes("perf_events")) object.omit("perf_events");
  if (maps.includes("sessions")) object.resize("sessions", sessions);
  object.load();
  return {
    object,
    map: (name) => object.map(name),
    [Symbol.dispose]: () => object.close(),
  };
}

function configure(map: BpfMap, settings: Partial<Config>): void {
  const value = new Uint8Array(Config.size);
  const zeroes = Object.fromEntries(Object.keys(Config.offset).map((name) => [name, 0n]));
  const config = { ...zeroes, flags: ConfigFlag.filter, present: 0, workers: 0, ownerMask: 0 };
  Config.write(new DataView(value.buffer), 0, { ...config, ...settings } as unknown as Config);
  map.set(keyOfIndex(0), value);
}

const nowNs = () => BigInt(Math.floor(monotonicMs(libs.native))) * NS_A_MS;

function sessionKey(i: number, family = 4): SessionKey {
  const ip = (last: number) =>
    ipBytes(family === 4 ? `::ffff:192.0.2.${last}` : `2001:db8::${last}`);
  return {
    srcIp: ip(i & 255),
    dstIp: ip(1),
    srcPort: 1000 + i,
    dstPort: PORT,
    protocol: 17,
    family,
  };
}

function keyBytes(key: SessionKey): Bytes {
  const bytes = new Uint8Array(SessionKey.size);
  SessionKey.write(new DataView(bytes.buffer), 0, key);
  return bytes;
}

function put(sessions: BpfMap, key: SessionKey, state: SessionState, seenNs: bigint): void {
  const bytes = new Uint8Array(SessionValue.size);
  SessionValue.write(new DataView(bytes.buffer), 0, {
    peerIp: key.srcIp,
    peerPort: key.srcPort,
    state,
    flags: 1,
    family: key.family,
    createdNs: 7n,
    lastSeenNs: seenNs,
    bytesIn: 11n,
    bytesOut: 13n,
    packetsIn: 17,
    packetsOut: 19,
  });
  sessions.set(keyBytes(key), bytes);
}

function find(sessions: BpfMap, key: SessionKey): SessionValue | undefined {
  const bytes = sessions.get(keyBytes(key));
  return bytes && SessionValue.read(new DataView(bytes.buffer));
}

/** Requests in one run: their results. */
function request(opened: Open, requests: readonly (readonly [Bytes, number])[]): number[] {
  const data = new Uint8Array(16 + requests.length * SessionRequest.size);
  const view = new DataView(data.buffer);
  for (const [i, [key, op]] of requests.entries()) {
    data.set(key, 16 + i * SessionRequest.size);
    view.setUint32(16 + i * SessionRequest.size + 40, op, true);
  }
  const result = opened.object.program("xdp_sessions").run({ data });
  assert.equal(result.value, Math.min(requests.length, RequestLimit.run));
  const out = new DataView(result.data.slice().buffer);
  return requests.map((_, i) => out.getUint32(16 + i * SessionRequest.size + 44, true));
}

// ---- xdp_sessions ----

Deno.test("xdp_sessions changes the state and the time of an entry, and nothing else", () => {
  using opened = open("xdp_sessions");
  configure(opened.map("config"), {});
  const sessions = opened.map("sessions");
  const key = sessionKey(5, 6);
  put(sessions, key, SessionState.new, 1n);
  const before = find(sessions, key)!;
  const cases = [
    [SessionOp.establish, SessionState.established],
    [SessionOp.establish, SessionState.established],
    [SessionOp.close, SessionState.closing],
    [SessionOp.establish, SessionState.established],
  ] as const;
  for (const [op, state] of cases) {
    assert.deepEqual(request(opened, [[keyBytes(key), op]]), [SessionResult.done]);
    const { lastSeenNs, ...after } = find(sessions, key)!;
    assert.ok(lastSeenNs > 1n);
    assert.deepEqual({ ...after, lastSeenNs: 1n }, { ...before, state });
  }
});

Deno.test("xdp_sessions says what is missing, unknown or without room, and goes on", () => {
  using opened = open("xdp_sessions");
  configure(opened.map("config"), {});
  put(opened.map("sessions"), sessionKey(1), SessionState.new, 1n);
  const known = keyBytes(sessionKey(1));
  const unknown = keyBytes(sessionKey(2));
  assert.deepEqual(
    request(opened, [[unknown, SessionOp.establish], [known, 0], [known, 99], [
      known,
      SessionOp.close,
    ]]),
    [SessionResult.missing, SessionResult.none, SessionResult.none, SessionResult.done],
  );
  const many = Array.from(
    { length: RequestLimit.run },
    () => [known, SessionOp.establish] as const,
  );
  assert.ok(request(opened, many).every((result) => result === SessionResult.done));
  // One more than fit into a run is left as it was.
  const more = request(opened, [...many, [known, SessionOp.close]]);
  assert.equal(more.at(-1), SessionResult.none);
  assert.equal(find(opened.map("sessions"), sessionKey(1))!.state, SessionState.established);
  // A piece of a request is none.
  const piece = new Uint8Array(16 + SessionRequest.size - 1);
  assert.equal(opened.object.program("xdp_sessions").run({ data: piece }).value, 0);
});

Deno.test("xdp_sessions removes exactly what is over by its state's own time", () => {
  using opened = open("xdp_sessions");
  // Parts of this machine's age: its clock begins at boot, and nothing was seen before.
  const age = nowNs();
  const limits = {
    [SessionState.new]: age / 8n,
    [SessionState.established]: age / 2n,
    [SessionState.closing]: age / 32n,
  };
  configure(opened.map("config"), {
    newTimeoutNs: limits[SessionState.new],
    establishedTimeoutNs: limits[SessionState.established],
    closingTimeoutNs: limits[SessionState.closing],
  });
  const sessions = opened.map("sessions");
  const expire = (i: number, state: number, seenNs: bigint): number => {
    put(sessions, sessionKey(i), state as SessionState, seenNs);
    const [result] = request(opened, [[keyBytes(sessionKey(i)), SessionOp.expire]]);
    assert.equal(find(sessions, sessionKey(i)) === undefined, result === SessionResult.done);
    return result!;
  };
  let i = 0;
  for (const [state, limit] of Object.entries(limits)) {
    assert.equal(expire(i++, Number(state), nowNs() - limit), SessionResult.done);
    // A second short of it: over as well where this machine was busy for that long meanwhile.
    let [seen, result] = [0n, SessionResult.none as number];
    do {
      seen = nowNs() + 1000n * NS_A_MS - limit;
      result = expire(i++, Number(state), seen);
    } while (nowNs() + NS_A_MS - seen >= limit);
    assert.equal(result, SessionResult.kept);
  }
  // Of the future, as another CPU's clock may seem to be.
  assert.equal(expire(i, SessionState.new, nowNs() + 2n * age), SessionResult.kept);
});

Deno.test("xdp_sessions agrees with a model of it, whatever it is asked", () => {
  using opened = open("xdp_sessions", 4096);
  const timeout = 3_600_000n * NS_A_MS;
  configure(opened.map("config"), {
    newTimeoutNs: timeout,
    establishedTimeoutNs: timeout,
    closingTimeoutNs: timeout,
  });
  const sessions = opened.map("sessions");
  const model = new Map<number, SessionState>();
  fuzz({ cases: 300 }, (rng) => {
    const asked = Array.from({ length: rng.int(1, RequestLimit.run) }, () => {
      const i = rng.int(0, 200);
      if (rng.chance(0.3) && !model.has(i)) {
        put(sessions, sessionKey(i), SessionState.new, nowNs());
        model.set(i, SessionState.new);
      }
      return [
        i,
        rng.pick([SessionOp.establish, SessionOp.close, SessionOp.expire, 0, 77]),
      ] as const;
    });
    const results = request(opened, asked.map(([i, op]) => [keyBytes(sessionKey(i)), op] as const));
    for (const [k, [i, op]] of asked.entries()) {
      const state = model.get(i);
      if (state === undefined) assert.equal(results[k], SessionResult.missing);
      // Nothing here is an hour old.
      else if (op === SessionOp.expire) assert.equal(results[k], SessionResult.kept);
      else if (op === SessionOp.establish) model.set(i, SessionState.established);
      else if (op === SessionOp.close) model.set(i, SessionState.closing);
      else assert.equal(results[k], SessionResult.none);
    }
    const [i] = asked[0]!;
    assert.equal(find(sessions, sessionKey(i))?.state, model.get(i));
  });
});

// ---- KernelSessions, SessionMarks, KernelKeys ----

function kernelSessions(opened: Open): KernelSessions {
  // What was last seen when this machine booted is over where it is new, and not else.
  const ageMs = Number(nowNs() / NS_A_MS);
  const timeouts = { newMs: ageMs >> 1, establishedMs: 2 * ageMs, closingMs: ageMs >> 1 };
  configure(opened.map("config"), {
    newTimeoutNs: BigInt(timeouts.newMs) * NS_A_MS,
    establishedTimeoutNs: BigInt(timeouts.establishedMs) * NS_A_MS,
    closingTimeoutNs: BigInt(timeouts.closingMs) * NS_A_MS,
  });
  const maps = { sessions: opened.map("sessions"), front: opened.map("front") };
  return new KernelSessions(opened.object.program("xdp_sessions"), maps, timeouts);
}

function sweep(sessions: KernelSessions): void {
  for (let i = 0; !sessions.step(monotonicMs(libs.native)); i++) assert.ok(i < 1000);
}

Deno.test("the sweep takes what is over, keeps the rest, and says how full the table is", () => {
  using opened = open("xdp_sessions", 16_384);
  const kernel = kernelSessions(opened);
  const sessions = opened.map("sessions");
  for (let i = 0; i < 9000; i++) {
    const state = i % 2 === 0 ? SessionState.new : SessionState.established;
    put(sessions, sessionKey(i), state, i % 3 === 0 ? BOOT_NS : nowNs());
  }
  sweep(kernel);
  assert.equal(kernel.counts.entries, 9000);
  assert.equal(kernel.counts.expired, 1500);
  assert.equal(kernel.counts.established, 4500);
  assert.ok(Math.abs(kernel.counts.pressure - 100 * 9000 / 16_384) < 0.01);
  sweep(kernel);
  assert.equal(kernel.counts.entries, 7500);
  assert.equal(kernel.counts.expired, 1500);
  for (let i = 0; i < 9000; i++) {
    assert.equal(find(sessions, sessionKey(i)) === undefined, i % 6 === 0);
  }
});

Deno.test("marks change states; an entry that was thrown out and is back is marked again", () => {
  using opened = open("xdp_sessions");
  const kernel = kernelSessions(opened);
  const sessions = opened.map("sessions");
  const marks = new SessionMarks(PORT);
  for (const family of [4, 6]) {
    const key = sessionKey(3, family);
    const route = routeTo(endpoint(key.srcIp, key.srcPort), endpoint(key.dstIp, 0));
    put(sessions, key, SessionState.new, nowNs());
    marks.opened(route);
    kernel.mark(marks.take()!);
    assert.equal(find(sessions, key)!.state, SessionState.established);
    sessions.delete(keyBytes(key));
    put(sessions, key, SessionState.new, nowNs());
    sweep(kernel);
    assert.equal(find(sessions, key)!.state, SessionState.established);
    marks.closed(route);
    kernel.mark(marks.take()!);
    assert.equal(find(sessions, key)!.state, SessionState.closing);
    put(sessions, key, SessionState.new, nowNs());
    sweep(kernel);
    assert.equal(find(sessions, key)!.state, SessionState.new);
  }
  assert.equal(marks.take(), undefined);
});

Deno.test("what AF_XDP has sent is added to what the kernel has seen leave", () => {
  using opened = open("xdp_sessions");
  const kernel = kernelSessions(opened);
  const sessions = opened.map("sessions");
  const marks = new SessionMarks(PORT);
  for (const family of [4, 6]) {
    const key = sessionKey(3, family);
    const route = routeTo(endpoint(key.srcIp, key.srcPort), endpoint(key.dstIp, 0));
    put(sessions, key, SessionState.established, nowNs());
    const before = find(sessions, key)!;
    marks.sent(route, 7, 9000);
    marks.sent(route, 1, 2 ** 40);
    kernel.mark(marks.take()!);
    const { packetsOut, bytesOut, ...rest } = before;
    assert.deepEqual(find(sessions, key), {
      ...rest,
      packetsOut: packetsOut + 8,
      bytesOut: bytesOut + 9000n + (1n << 40n),
    });
  }
  // Of an entry that is not there nothing is made.
  const gone = sessionKey(4);
  marks.sent(routeTo(endpoint(gone.srcIp, gone.srcPort), endpoint(gone.dstIp, 0)), 1, 100);
  kernel.mark(marks.take()!);
  assert.equal(find(sessions, gone), undefined);
});

Deno.test("SessionMarks holds as many as it says, and counts the rest", () => {
  const marks = new SessionMarks(PORT);
  const route = routeTo(endpoint(ipBytes("::ffff:192.0.2.1"), 9), endpoint(ipBytes("::"), 0));
  for (let i = 0; i < MARKS_MAX + 3; i++) marks.opened(route);
  assert.equal(marks.take()!.length, MARKS_MAX * SessionRequest.size);
  assert.equal(marks.dropped, 3);
});

Deno.test("KernelKeys writes ahead, rotates, and follows a clock that was set", () => {
  using opened = open("steer");
  const map = opened.map("mask_keys");
  const primitives = new NativePrimitives(libs.native);
  const psk = new Uint8Array(32).fill(7);
  const keys = new KernelKeys(map, primitives, psk);
  const check = (unixMs: number, monotonic: number) => {
    const present = Math.floor(unixMs / 30_000);
    assert.equal(keys.update({ unixMs, monotonicMs: monotonic }), present % TunnelLimit.maskKeys);
    for (let window = present - 1; window <= present + 12; window++) {
      const value = map.get(keyOfIndex(window % TunnelLimit.maskKeys))!;
      const view = new DataView(value.buffer);
      assert.equal(view.getBigUint64(0, true), BigInt(window));
      const begin = Math.max(0, monotonic + window * 30_000 - unixMs);
      assert.ok(Math.abs(Number(view.getBigUint64(8, true)) / 1e6 - begin) <= 20);
      assert.equal(hex(value.subarray(16)), hex(maskKeyOf(primitives, psk, window)));
    }
  };
  check(1_800_000_000_000, 5000);
  check(1_800_000_000_000 + 30_000, 35_000);
  check(1_800_000_000_000 + 95_000, 100_010);
  // Five minutes on, as after a stall; and an hour back.
  check(1_800_000_000_000 + 395_000, 400_000);
  check(1_800_000_000_000 - 3_600_000, 401_000);
});

// ---- tc_egress ----

const GSO_SIZE_AT = 176;
const GSO_SEGS_AT = 164;
const SKB_BYTES = 192;

Deno.test("tc_egress counts what answers a session, segment by segment", () => {
  using opened = open("tc_egress");
  const word = new Uint8Array(24);
  new DataView(word.buffer).setBigUint64(0, 1n << BigInt(PORT % 64), true);
  opened.map("listen_ports").set(keyOfIndex(PORT >> 6), word);
  const sessions = opened.map("sessions");
  const body = payload(1000);
  const there = { from: PORT, to: 1005 };
  const ip4 = ipv4({ from: "192.0.2.1", to: "192.0.2.5" });
  const ip6 = ipv6({ from: "2001:db8::1", to: "2001:db8::5" });
  const cases: [string, Bytes, number, number, number][] = [
    ["IPv4", frame(ethernet(), ip4, udp(there), body), 4, 1, 0],
    ["IPv6", frame(ethernet(), ip6, udp(there), body), 6, 1, 0],
    ["IPv4, 10 segments", frame(ethernet(), ip4, udp(there), body), 4, 10, 9 * 42],
    ["IPv6, 4 segments", frame(ethernet(), ip6, udp(there), body), 6, 4, 3 * 62],
    ["another port of ours", frame(ethernet(), ip4, udp({ ...there, from: 444 }), body), 0, 1, 0],
    ["to another peer", frame(ethernet(), ip4, udp({ ...there, to: 1006 }), body), 0, 1, 0],
    ["TCP", frame(ethernet(), ip4, tcp(), body), 0, 1, 0],
    ["a tag", frame(ethernet(), vlan(), ip4, udp(there), body), 0, 1, 0],
    [
      "options",
      frame(
        ethernet(),
        ipv4({ from: "192.0.2.1", to: "192.0.2.5", options: [1, 1, 1, 1] }),
        udp(there),
      ),
      0,
      1,
      0,
    ],
    ["cut in the UDP header", frame(ethernet(), ip4, udp(there)).slice(0, 38), 0, 1, 0],
  ];
  for (const [name, bytes, family, segments, more] of cases) {
    for (const one of [4, 6]) put(sessions, sessionKey(5, one), SessionState.new, 1n);
    const context = new Uint8Array(SKB_BYTES);
    const view = new DataView(context.buffer);
    if (segments > 1) {
      view.setUint32(GSO_SEGS_AT, segments, true);
      view.setUint32(GSO_SIZE_AT, 100, true);
    }
    const options = segments > 1 ? { data: bytes, context } : { data: bytes };
    const { value, data } = opened.object.program("tc_egress").run(options);
    assert.equal(value | 0, -1, name);
    assert.equal(hex(data), hex(bytes), name);
    for (const one of [4, 6]) {
      const { packetsOut, bytesOut, packetsIn, bytesIn } = find(sessions, sessionKey(5, one))!;
      assert.deepEqual(
        [packetsOut - 19, Number(bytesOut - 13n), packetsIn, bytesIn],
        one === family ? [segments, bytes.length + more, 17, 11n] : [0, 0, 17, 11n],
        name,
      );
    }
  }
});

// ---- drop_junk ----

Deno.test("drop_junk keeps what unmasks and drops the rest, also what GRO has joined", () => {
  using opened = open("steer");
  using harness = new XdpHarness([PORT]);
  const run = (bytes: Bytes) => {
    const { value } = opened.object.program("drop_junk").run({ data: socketView(bytes) });
    return value;
  };
  // No keys: all is kept.
  configure(opened.map("config"), {});
  assert.ok(run(payload(64)) > 0);
  harness.setKeys(testKeys(WINDOW - 1, WINDOW, WINDOW + 1), WINDOW);
  for (const rows of harness.maskKeys()) opened.map("mask_keys").setMany(rows);
  for (const by of [-1, 0, 1]) assert.ok(run(masked({ window: WINDOW + by, bytes: 64 })) > 0);
  for (const by of [-2, 2]) assert.equal(run(masked({ window: WINDOW + by, bytes: 64 })), 0);
  assert.equal(run(payload(64)), 0);
  assert.equal(run(masked({ bytes: 64 }).slice(0, 31)), 0);
  const dropped = opened.map("stats").sums();
  assert.equal(dropped[counterIndex({ verdict: Verdict.drop, reason: Reason.junk })], 3);
  assert.equal(dropped[counterIndex({ verdict: Verdict.drop, reason: Reason.short })], 1);
  // Joined by GRO: kept as soon as one is none, whichever it is.
  const junk = payload(48);
  const sound = masked({ bytes: 48 });
  for (const [at, kept] of [[-1, false], [0, true], [1, true], [5, true], [6, false]] as const) {
    const joined = concat(...Array.from({ length: 6 }, (_, i) => i === at ? sound : junk));
    const context = new Uint8Array(SKB_BYTES);
    new DataView(context.buffer).setUint32(GSO_SEGS_AT, 6, true);
    new DataView(context.buffer).setUint32(GSO_SIZE_AT, 48, true);
    const { value } = opened.object.program("drop_junk").run({ data: socketView(joined), context });
    assert.equal(value > 0, kept, `sound at ${at}`);
  }
  const joinedDropped = opened.map("stats").sums();
  assert.equal(joinedDropped[counterIndex({ verdict: Verdict.drop, reason: Reason.junk })], 15);
  configure(opened.map("config"), { flags: 0 });
  assert.ok(run(payload(64)) > 0);
});

/** A datagram as a socket filter sees it: the kernel's test run takes 14 bytes off first. */
function socketView(packet: Bytes): Bytes {
  const bytes = new Uint8Array(14 + 8 + packet.length);
  bytes.set(packet, 22);
  return bytes;
}

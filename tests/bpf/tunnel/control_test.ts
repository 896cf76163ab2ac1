/** KernelControl with the program's own maps: sockets that follow the level, events, pressure. */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { endpoint, routeTo } from "../../../ffi/endpoint.ts";
import { EventKind, Reason, Verdict } from "../../../ffi/bpf/layout.gen.ts";
import { UdpSocket } from "../../../ffi/udp.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { Log } from "../../../src/base/log.ts";
import { KernelControl } from "../../../src/tunnel/kernel/control.ts";
import { KernelEvents } from "../../../src/kernel/events.ts";
import { SessionMarks } from "../../../src/tunnel/server/session_marks.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";
import { masked, testKeys, WINDOW } from "./keyed_packets.ts";
import { ethernet, frame, ipv4, payload, udp } from "../packets.ts";
import { counterIndex, XdpHarness } from "./xdp_harness.ts";

const libs = libraries();
const JUNK = counterIndex({ verdict: Verdict.drop, reason: Reason.junk });
const WAIT_MS = 10_000;

interface Running {
  readonly control: KernelControl;
  readonly events: KernelEvents;
  readonly lines: string[];
  /** Whether frames meet XDP. */
  isAttached: boolean;
  [Symbol.dispose](): void;
}

function start(harness: XdpHarness, sockets: readonly number[], eventsByPerf = false): Running {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = Log.to({ level: "debug", format: "text", write, now: Date.now });
  const events = new KernelEvents(log);
  const code = (name: "xdp_sessions" | "steer") => ({
    name,
    bytes: bpfObject(name),
    origin: "embedded" as const,
  });
  const running = { events, lines, isAttached: true };
  const control = KernelControl.start({
    libs,
    psk: new Uint8Array(32).fill(7),
    limits: { hellosPerSource: 0, hellos: 0, sessionsPerSource: 0, sessionTimeoutMs: 60_000 },
    plane: (name) => harness.map(name),
    isAttached: () => running.isAttached,
    events,
    eventsByPerf,
    code: { sessions: code("xdp_sessions"), steer: code("steer") },
    sockets,
    log,
  });
  return Object.assign(running, { control, [Symbol.dispose]: () => control.stop() });
}

async function until(isSo: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!isSo()) {
    assert.ok(performance.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("sockets drop junk while no frame meets XDP, and no longer than that", async () => {
  using harness = new XdpHarness([]);
  using socket = new UdpSocket(libs.native, { local: endpoint(ipBytes("127.0.0.1"), 0) });
  const sender = createSocket("udp4");
  using running = start(harness, [socket.fd]);
  using _ = { [Symbol.dispose]: () => sender.close() };
  const dropped = async () => {
    const before = harness.counters()[JUNK]!;
    await new Promise<void>((resolve, reject) => {
      const done = (error: Error | null) => error ? reject(error) : resolve();
      sender.send(payload(64), socket.local.port, "127.0.0.1", done);
    });
    return harness.counters()[JUNK]! - before;
  };
  assert.equal(await dropped(), 0);
  for (let round = 0; round < 2; round++) {
    running.isAttached = false;
    await until(() => running.control.isFiltering, "the filter does not come");
    assert.equal(await dropped(), 1);
    running.isAttached = true;
    await until(() => !running.control.isFiltering, "the filter does not go");
    assert.equal(await dropped(), 0);
  }
  assert.equal(running.lines.filter((line) => line.includes("could not be seen to")).length, 0);
});

for (const perf of [false, true]) {
  const by = perf ? "perf buffer" : "ring buffer";
  Deno.test(`what happens to a session is told by ${by}`, async () => {
    using harness = new XdpHarness([443], { perf });
    using running = start(harness, [], perf);
    await until(() => running.control.sessions !== undefined, "no table");
    harness.setKeys(testKeys(WINDOW), WINDOW);
    harness.run(frame(ethernet(), ipv4(), udp(), masked()));
    const marks = new SessionMarks(443);
    const from = endpoint(ipBytes("192.0.2.1"), 40_000);
    const route = routeTo(from, endpoint(ipBytes("192.0.2.2"), 0));
    marks.opened(route);
    running.control.mark(marks.take()!);
    marks.closed(route);
    running.control.mark(marks.take()!);
    const kinds = harness.events().map(({ kind }) => kind);
    assert.deepEqual(kinds, [EventKind.new, EventKind.established, EventKind.closing]);
    assert.equal(running.control.sessions?.marked, 2);
  });
}

Deno.test("a table that fills up is an event at 70 % and another one at 90 %", async () => {
  using harness = new XdpHarness([443], { sessions: 4096 });
  using running = start(harness, []);
  const told = () => running.events.counts([])["pressure"]!.told;
  harness.setKeys(testKeys(WINDOW), WINDOW);
  const fill = (first: number, last: number) => {
    for (let from = first; from < last; from++) {
      harness.run(frame(ethernet(), ipv4(), udp({ from }), masked()));
    }
  };
  fill(1, 3000);
  await until(() => told() === 1, "no event at 70 %");
  assert.ok(Math.floor(running.control.sessions!.pressure) >= 70);
  assert.equal(running.control.sessions!.entriesMax, 4096);
  assert.match(running.lines.join(""), /fills up .*event=pressure/);
  fill(3000, 3900);
  await until(() => told() === 2, "no event at 90 %");
});

Deno.test("events are counted by kind, and logged by name", () => {
  using harness = new XdpHarness([443]);
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const events = new KernelEvents(
    Log.to({ level: "debug", format: "text", write, now: Date.now }),
  );
  harness.run(frame(ethernet(), ipv4({ checksum: 1 }), udp()));
  harness.run(frame(ethernet(), ipv4(), udp({ length: 3 })));
  events.beginRound();
  for (const event of harness.events()) events.take(event);
  events.tell(EventKind.attachLost, "gone", { interface: "eth0" });
  const missed = new Float64Array(EventKind.count);
  missed[EventKind.flood] = 5;
  assert.deepEqual(events.counts(missed), {
    malformed: { told: 1, missed: 0 },
    new: { told: 0, missed: 0 },
    established: { told: 0, missed: 0 },
    closing: { told: 0, missed: 0 },
    flood: { told: 0, missed: 5 },
    checksum: { told: 1, missed: 0 },
    pressure: { told: 0, missed: 0 },
    attach_lost: { told: 1, missed: 0 },
    gone: { told: 0, missed: 0 },
  });
  const text = lines.join("");
  assert.match(text, /wrong IPv4 header checksum is dropped reason=bad_checksum .*event=checksum/);
  assert.match(text, /WARN .*gone interface=eth0 event=attach_lost/);
});

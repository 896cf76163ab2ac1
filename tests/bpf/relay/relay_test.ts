/** The relay by its table: frames in, verdicts, frames out and counters; against its model too. */

import assert from "node:assert/strict";
import { RelayOutcome, relayOutcomeName } from "../../../ffi/bpf/layout.gen.ts";
import { V4, V6 } from "../../bench/relay_net.ts";
import { libraries } from "../../fixtures/libraries.ts";
import {
  type Bytes,
  ethernet,
  fragment,
  frame,
  hex,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  payload,
  udp,
  vlan,
} from "../packets.ts";
import { RelayHarness, type Side } from "./relay_harness.ts";
import { Action, RelayModel } from "./relay_model.ts";
import { answerTo, begun, PLAN, RELAY4, RELAY6, to4, to6 } from "./relay_plan.ts";

libraries();

interface RelayCase {
  readonly name: string;
  readonly frame: Bytes;
  readonly action: number;
  readonly outcomes: readonly RelayOutcome[];
  /** @default {"in"} */
  readonly side?: Side;
}

const { drop, pass, tx, redirect } = Action;
const { newFlow, completed, unusual, badUdp, noHops, tooLong, notLocal } = RelayOutcome;

const cases: RelayCase[] = [
  { name: "IPv4", frame: to4(4000), action: redirect, outcomes: [newFlow] },
  { name: "... the flow again", frame: to4(4000, 9), action: redirect, outcomes: [] },
  { name: "... no data", frame: to4(4000, 0), action: redirect, outcomes: [] },
  { name: "... as long as the MTU", frame: to4(4000, 1472), action: redirect, outcomes: [] },
  { name: "... longer", frame: to4(4000, 1473), action: pass, outcomes: [tooLong] },
  {
    name: "... from another port",
    frame: to4(4000, 9, {}, 9),
    action: redirect,
    outcomes: [newFlow],
  },
  { name: "... the range's last port", frame: to4(4003), action: redirect, outcomes: [newFlow] },
  { name: "... behind the range", frame: to4(4004), action: pass, outcomes: [] },
  { name: "... one hop left", frame: to4(4000, 9, { ttl: 1 }), action: drop, outcomes: [noHops] },
  { name: "... no hop left", frame: to4(4000, 9, { ttl: 0 }), action: drop, outcomes: [noHops] },
  { name: "... two hops left", frame: to4(4000, 9, { ttl: 2 }), action: redirect, outcomes: [] },
  {
    name: "... don't fragment",
    frame: to4(4000, 9, { dontFragment: true }),
    action: redirect,
    outcomes: [],
  },
  {
    name: "IPv4 without a checksum",
    frame: frame(ethernet(), ipv4(RELAY4), udp({ from: 5000, to: 4000, checksum: 0 }), payload(5)),
    action: redirect,
    outcomes: [],
  },
  {
    name: "IPv4 with a wrong checksum, which stays wrong",
    frame: frame(ethernet(), ipv4(RELAY4), udp({ from: 5000, to: 4000, checksum: 7 }), payload(5)),
    action: redirect,
    outcomes: [],
  },
  {
    name: "options",
    frame: to4(4000, 9, { options: [1, 1, 1, 0] }),
    action: pass,
    outcomes: [unusual],
  },
  {
    name: "a VLAN tag",
    frame: frame(ethernet(), vlan(), ipv4(RELAY4), udp({ to: 4000 })),
    action: pass,
    outcomes: [unusual],
  },
  {
    name: "an atomic fragment header",
    frame: frame(ethernet(), ipv6(RELAY6), fragment(), udp({ to: 4010 })),
    action: pass,
    outcomes: [unusual],
  },
  {
    name: "a fragment",
    frame: to4(4000, 16, { moreFragments: true }),
    action: pass,
    outcomes: [],
  },
  {
    name: "a UDP length of 7, of no flow",
    frame: frame(ethernet(), ipv4(RELAY4), udp({ to: 4000, length: 7 }), payload(5)),
    action: pass,
    outcomes: [unusual],
  },
  {
    name: "a UDP length behind the packet, of no flow",
    frame: frame(ethernet(), ipv4(RELAY4), udp({ to: 4000, length: 14 }), payload(5)),
    action: pass,
    outcomes: [unusual],
  },
  { name: "IPv6", frame: to6(4010), action: redirect, outcomes: [newFlow] },
  { name: "... the flow again", frame: to6(4010, 1), action: redirect, outcomes: [] },
  { name: "... as long as the MTU", frame: to6(4010, 1452), action: redirect, outcomes: [] },
  {
    name: "IPv6 without a checksum",
    frame: frame(ethernet(), ipv6(RELAY6), udp({ from: 5000, to: 4010, checksum: 0 }), payload(5)),
    action: drop,
    outcomes: [badUdp],
  },
  {
    name: "IPv6, the last hop",
    frame: frame(ethernet(), ipv6({ ...RELAY6, hopLimit: 1 }), udp({ from: 5000, to: 4010 })),
    action: drop,
    outcomes: [noHops],
  },
  { name: "a backend on the same side", frame: to4(4020), action: tx, outcomes: [newFlow] },
  { name: "... again", frame: to4(4020), action: tx, outcomes: [] },
  {
    name: "the address that is listened on",
    frame: to4(4030),
    action: redirect,
    outcomes: [newFlow],
  },
  {
    name: "another of our addresses",
    frame: to4(4030, 9, { to: V4.relayOut }),
    action: pass,
    outcomes: [],
  },
  {
    name: "any of our addresses",
    frame: to4(4001, 9, { to: V4.relayOut }),
    action: redirect,
    outcomes: [newFlow],
  },
  {
    name: "an address that is not ours",
    frame: to4(4000, 9, { to: V4.receiver }),
    action: pass,
    outcomes: [notLocal],
  },
  {
    name: "no neighbour",
    frame: to4(4050),
    action: pass,
    outcomes: [RelayOutcome.unresolved],
  },
  { name: "no route", frame: to4(4051), action: pass, outcomes: [RelayOutcome.noRoute] },
  {
    name: "only: phantom without keys",
    frame: to4(4060, 64),
    action: pass,
    outcomes: [RelayOutcome.noKeys],
  },
  {
    name: "only: phantom, too short",
    frame: to4(4060, 31),
    action: drop,
    outcomes: [RelayOutcome.junk],
  },
  { name: "a port to send from, no flow", frame: to4(20_001), action: pass, outcomes: [] },
  ...[0, 1, 2, 3, 17, 255, 256, 257, 777, 1472].map((bytes): RelayCase => ({
    name: `a checksum left to hardware, ${bytes} bytes`,
    frame: begun(ipv4(RELAY4), 4002, bytes),
    action: redirect,
    outcomes: bytes === 0 ? [newFlow, completed] : [completed],
  })),
  ...[0, 1, 2, 255, 1452].map((bytes): RelayCase => ({
    name: `a checksum left to hardware over IPv6, ${bytes} bytes`,
    frame: begun(ipv6(RELAY6), 4010, bytes),
    action: redirect,
    outcomes: bytes === 0 ? [newFlow, completed] : [completed],
  })),
];

Deno.test("the relay answers by its table, and as the model does", async (t) => {
  using harness = new RelayHarness(PLAN);
  const model = new RelayModel(harness.world);
  for (const one of cases) {
    await t.step(one.name, () => {
      const side = one.side ?? "in";
      const before = harness.counts();
      const result = harness.run(one.frame, side);
      const names = changed(before, harness.counts());
      assert.deepEqual(names, one.outcomes.map(relayOutcomeName).toSorted());
      assert.equal(result.action, one.action);
      // The model knows no keys.
      const isMasked = one.name.startsWith("only: phantom");
      const expected = isMasked ? undefined : model.apply(one.frame, harness.ifindex(side));
      assert.equal(expected?.action ?? one.action, one.action);
      if (expected === undefined || expected.action === pass || expected.action === drop) {
        assert.equal(hex(result.frame), hex(one.frame), "a frame that stays here changed");
        return;
      }
      assert.equal(hex(result.frame), hex(expected.frame));
    });
  }
});

/** A datagram whose whole checksum looks as if it were only begun. */
function wholeAsBegun(): Bytes {
  const bytes = begun(ipv4(RELAY4), 4000, 40);
  const view = new DataView(bytes.buffer);
  // The checksum's place holds the pseudo-header's sum, which the datagram's own begins with.
  let sum = view.getUint16(40);
  for (let at = 34; at < bytes.length; at += 2) if (at !== 42) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(42, ~sum & 0xffff);
  return bytes;
}

Deno.test("in generic XDP a checksum that was begun stays so, for the new addresses", async (t) => {
  using harness = new RelayHarness(PLAN, { generic: true });
  using native = new RelayHarness(PLAN);
  const model = new RelayModel(harness.world);
  const frames: [string, Bytes, RelayOutcome[]][] = [
    ["whole", to4(4000, 40), [newFlow]],
    ["begun", begun(ipv4(RELAY4), 4000, 40), [newFlow, completed]],
    ["begun, an odd length", begun(ipv4(RELAY4), 4000, 41), [completed]],
    ["begun, no data", begun(ipv4(RELAY4), 4000, 0), [completed]],
    ["begun, over IPv6", begun(ipv6(RELAY6), 4010, 300), [newFlow, completed]],
    ["whole, and looks begun", wholeAsBegun(), [completed]],
    ["begun, to be cut later", begun(ipv4({ ...RELAY4, dontFragment: true }), 4000, 3000), [
      tooLong,
    ]],
  ];
  for (const [name, bytes, outcomes] of frames) {
    await t.step(name, () => {
      const before = harness.counts();
      const { action, frame: out } = harness.run(bytes, "in");
      assert.deepEqual(
        changed(before, harness.counts()),
        outcomes.map(relayOutcomeName).toSorted(),
      );
      const expected = model.apply(bytes, harness.ifindex("in"))!;
      assert.equal(action, expected.action);
      assert.equal(hex(out), hex(expected.frame));
      // Behind the link addresses, which are each network's own.
      const there = native.run(bytes, "in").frame;
      const isSame = hex(out.slice(12)) === hex(there.slice(12));
      assert.equal(isSame, name.startsWith("whole"));
    });
  }
});

/** The outcomes that were counted, by name. */
function changed(before: Float64Array, after: Float64Array): string[] {
  return [...after.keys()].filter((outcome) => after[outcome]! > before[outcome]!)
    .map((outcome) => relayOutcomeName(outcome)).toSorted();
}

const AT_ONCE_TRIES = 50;

Deno.test("who sends what is too long is told so, where it may not be sent in parts", async () => {
  using harness = new RelayHarness(PLAN);
  const cases = [
    { family: 4, frame: to4(4000, 1473, { dontFragment: true }) },
    { family: 6, frame: to6(4010, 1453) },
  ] as const;
  let runs = 0;
  for (const { family, frame: sent } of cases) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const { action, frame: told } = harness.run(sent, "in");
    assert.equal(action, tx);
    const [from, to] = family === 4 ? [V4.relayIn, V4.sender] : [V6.relayIn, V6.sender];
    const macs = { to: [2, 0, 0, 0, 0, 1], from: [2, 0, 0, 0, 0, 2] };
    const quoted = sent.slice(14, 14 + (family === 4 ? 28 : 48));
    const expected = family === 4
      ? frame(ethernet(macs), ipv4({ from, to }), icmp({ type: 3, code: 4, rest: 1500 }), quoted)
      : frame(ethernet(macs), ipv6({ from, to }), icmpv6({ type: 2, rest: 1500 }), quoted);
    assert.equal(hex(told), hex(expected));
    // A second one at once is only dropped; on a busy machine some of a few are at once.
    let next: number = tx;
    for (let i = 0; i < AT_ONCE_TRIES && next === tx; i++) {
      next = harness.run(sent, "in").action;
      runs++;
    }
    assert.equal(next, drop);
    runs++;
  }
  assert.equal(harness.counts()[RelayOutcome.toldTooLong], runs);
});

Deno.test("what a backend answers comes back to its client, whole", () => {
  using harness = new RelayHarness(PLAN);
  const model = new RelayModel(harness.world);
  for (const bytes of [to4(4000), to6(4010), to4(4001, 9, { to: V4.relayOut })]) {
    const there = harness.run(bytes, "in");
    assert.equal(there.action, redirect);
    model.apply(bytes, harness.ifindex("in"));
    const reply = answerTo(there.frame);
    const back = harness.run(reply, "out");
    assert.equal(back.action, redirect);
    const expected = model.apply(reply, harness.ifindex("out"))!;
    assert.equal(hex(back.frame), hex(expected.frame));
    // Back to front, it is what the client sent.
    const again = answerTo(Uint8Array.from(back.frame));
    const udpAt = bytes[12] === 8 ? 34 : 54;
    const ipAt = udpAt - (bytes[12] === 8 ? 8 : 32);
    assert.equal(hex(again.slice(ipAt)), hex(bytes.slice(ipAt)));
    const stranger = reply.slice();
    stranger[udpAt + 1]! ^= 1;
    assert.equal(harness.run(stranger, "out").action, pass, "another port of the backend");
  }
});

Deno.test("flows go by weight, move from a backend that is down, stay at one that drains", () => {
  using harness = new RelayHarness(PLAN);
  const service = 4;
  const backendOf = (from: number) => {
    const { action, frame } = harness.run(to4(4040, 9, {}, from), "in");
    assert.equal(action, redirect);
    return frame[37]!;
  };
  const flows = Array.from({ length: 400 }, (_, i) => 10_000 + i);
  const [one, three] = [7002 & 255, 7003 & 255];
  const first = flows.map(backendOf);
  const share = first.filter((port) => port === three).length / flows.length;
  assert.ok(share > 0.65 && share < 0.85, `${share}`);
  const states = (a: "up" | "draining" | "down", b: "up" | "draining" | "down") => {
    harness.update(PLAN.services.map((_, at) => at === service ? [a, b] : []));
  };
  states("up", "draining");
  assert.deepEqual(flows.map(backendOf), first);
  assert.equal(backendOf(1), one);
  states("up", "down");
  assert.ok(flows.map(backendOf).every((port) => port === one));
  assert.equal(harness.counts()[RelayOutcome.moved], first.filter((port) => port === three).length);
  states("down", "down");
  assert.equal(harness.run(to4(4040, 9, {}, flows[0]), "in").action, drop);
  assert.ok(harness.counts()[RelayOutcome.noBackend]! > 0);
});

Deno.test("no two flows to a backend share a port, and none leaves the range", () => {
  const plan = { ...PLAN, ports: { first: 20_000, count: 8 } };
  using harness = new RelayHarness(plan);
  const used = new Set<number>();
  let refused = 0;
  for (let from = 1; from <= 40; from++) {
    const { action, frame } = harness.run(to4(4000, 9, {}, from), "in");
    if (action === drop) refused++;
    else {
      const port = frame[34]! << 8 | frame[35]!;
      assert.ok(port >= 20_000 && port < 20_008, `${port}`);
      assert.ok(!used.has(port), `${port} is used twice`);
      used.add(port);
    }
  }
  assert.equal(used.size + refused, 40);
  assert.equal(used.size, 8);
  assert.equal(harness.counts()[RelayOutcome.noPort], refused);
});

Deno.test("a port that nobody answered on changes hands, one with an answer does not", async () => {
  using harness = new RelayHarness({ ...PLAN, ports: { first: 20_000, count: 2 } }, {
    unansweredS: 1,
  });
  const [answered, silent, late, last] = [1, 2, 3, 4].map((from) => to4(4000, 9, {}, from));
  const portOf = (bytes: Bytes) => {
    const { action, frame } = harness.run(bytes, "in");
    return action === redirect ? frame[34]! << 8 | frame[35]! : undefined;
  };
  const there = harness.run(answered!, "in");
  // One answer, which no later look-up has settled into the flow's own counters.
  const answer = answerTo(there.frame);
  assert.equal(harness.run(answer, "out").action, redirect);
  const taken = portOf(silent!);
  assert.ok(taken !== undefined);
  assert.equal(portOf(late!), undefined, "both ports are in use");
  // Longer than a way is believed from a CPU's cache, too.
  await new Promise((resolve) => setTimeout(resolve, 2700));
  assert.equal(portOf(late!), taken);
  assert.equal(portOf(last!), undefined, "an answered flow lost its port");
  assert.equal(portOf(silent!), undefined, "two clients share a port");
  const back = harness.run(answer, "out");
  assert.equal(back.action, redirect);
  assert.equal(back.frame[36]! << 8 | back.frame[37]!, 1);
});

Deno.test("idle flows are let go, others stay", () => {
  using harness = new RelayHarness(PLAN);
  for (let from = 1; from <= 20; from++) harness.run(to4(4000, 9, {}, from), "in");
  const nowNs = BigInt(Math.round(libraries().native.symbols.ph_now_ms() * 1e6));
  assert.deepEqual(harness.kernel.sweep(nowNs), { flows: 20, ended: 0 });
  assert.deepEqual(harness.kernel.sweep(nowNs + 61_000_000_000n), { flows: 20, ended: 20 });
  assert.deepEqual(harness.kernel.sweep(nowNs), { flows: 0, ended: 0 });
});

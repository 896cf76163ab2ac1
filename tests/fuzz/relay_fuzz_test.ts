/**
 * The relay against its model: known flows, new ones, answers, and all of them with a byte changed.
 * PHANTOM_FUZZ_CASES=100000 is a million frames. A case carries the flows of those before it in
 * its round, so a failure is repeated by the seed that its round began with.
 */

import assert from "node:assert/strict";
import { RelayOutcome, relayOutcomeName } from "../../ffi/bpf/layout.gen.ts";
import { type Bytes, hex, ipv4, ipv6 } from "../bpf/packets.ts";
import { RelayHarness, type Side } from "../bpf/relay/relay_harness.ts";
import { Action, RelayModel, type RelayVerdict } from "../bpf/relay/relay_model.ts";
import {
  answerTo,
  begun,
  PHANTOM_PORT,
  PLAN,
  RELAY4,
  RELAY6,
  to4,
  to6,
} from "../bpf/relay/relay_plan.ts";
import { libraries } from "../fixtures/libraries.ts";
import { fuzz, type Rng } from "./rng.ts";

// Loaded before the first test: what a test loads is taken for a leak.
libraries();
libraries();

const isRoot = Deno.uid() === 0;
const CASES = 2000;
const FRAMES_A_CASE = 10;
const REPLIES_MAX = 200;
const PORTS = [4000, 4001, 4002, 4003, 4010, 4020, 4030, 4040, 20_100, 20_900];
/** What is changed; no extension headers, of which the model knows nothing. */
const PLACES = [15, 16, 17, 20, 21, 22, 24, 25, 36, 37, 38, 39, 40, 41, 42];
const AN_HOUR_S = 3600;

/**
 * Nothing here depends on time or on what the kernel throws away: no flow is idle within the hour,
 * and each port of each backend (there are nine places) has room for both its ways.
 */
const LASTING = { ...PLAN, flowsMax: 65_536, idleMs: AN_HOUR_S * 1000 };

class RelayFuzz implements Disposable {
  readonly #harness: RelayHarness;
  readonly #model: RelayModel;
  readonly #replies: Bytes[] = [];
  readonly #expected = new Float64Array(RelayOutcome.count);
  frames = 0;
  carried = 0;

  constructor(generic: boolean) {
    this.#harness = new RelayHarness(LASTING, { unansweredS: AN_HOUR_S, generic });
    this.#model = new RelayModel(this.#harness.world);
  }

  one(rng: Rng): void {
    const isReply = this.#replies.length > 0 && rng.chance(0.25);
    const side: Side = isReply ? "out" : "in";
    const bytes = isReply ? rng.pick(this.#replies).slice() : fromClient(rng);
    const isMutated = rng.chance(1 / 3);
    if (isMutated) bytes[rng.pick(PLACES)] = rng.int(0, 255);
    // The model knows no keys.
    const isTo = (at: number) => (bytes[at]! << 8 | bytes[at + 1]!) === PHANTOM_PORT;
    if (isTo(36) || isTo(56)) return;
    const expected = this.#model.apply(bytes, this.#harness.ifindex(side));
    const got = this.#harness.run(bytes, side);
    const text = `frame ${this.frames++}: ${hex(bytes)}`;
    assert.equal(got.action, expected?.action ?? Action.pass, text);
    if (expected === undefined) return;
    assert.equal(hex(got.frame), hex(expected.frame), text);
    this.#count(expected);
    if (got.action !== Action.redirect && got.action !== Action.tx) return;
    this.carried++;
    if (side === "out" || got.action === Action.tx || isMutated) return;
    if (this.#replies.length < REPLIES_MAX) this.#replies.push(answerTo(got.frame));
  }

  /** The counters as they must be after all that. */
  check(): void {
    const counts = this.#harness.counts();
    // The model knows routes and no neighbours.
    counts[RelayOutcome.noRoute]! += counts[RelayOutcome.unresolved]!;
    counts[RelayOutcome.unresolved] = 0;
    for (let outcome = 0; outcome < RelayOutcome.count; outcome++) {
      assert.equal(counts[outcome], this.#expected[outcome], relayOutcomeName(outcome));
    }
  }

  #count({ outcome, isNew, isCompleted }: RelayVerdict): void {
    if (outcome !== undefined) this.#expected[outcome]!++;
    if (isNew) this.#expected[RelayOutcome.newFlow]!++;
    if (isCompleted) this.#expected[RelayOutcome.completed]!++;
  }

  [Symbol.dispose](): void {
    this.#harness[Symbol.dispose]();
  }
}

function fromClient(rng: Rng): Bytes {
  const port = rng.pick(PORTS);
  const from = rng.int(1, 300);
  if (rng.chance(0.15)) {
    const ip = rng.chance(0.5) ? ipv4(RELAY4) : ipv6(RELAY6);
    return begun(ip, port, rng.int(0, 60), from);
  }
  return rng.chance(0.5) ? to4(port, rng.int(0, 60), {}, from) : to6(port, 9, from);
}

for (const generic of [false, true]) {
  Deno.test({
    name: `whatever the frame, the relay does as its model${generic ? ", in generic XDP" : ""}`,
    ignore: !isRoot,
    fn() {
      using relay = new RelayFuzz(generic);
      fuzz({ cases: CASES }, (rng) => {
        for (let i = 0; i < FRAMES_A_CASE; i++) relay.one(rng);
      });
      relay.check();
      const { carried, frames } = relay;
      assert.ok(carried > frames / 4, `${carried} of ${frames} were carried`);
    },
  });
}

/**
 * What xdp_phantom hands to AF_XDP, against its model: frames that unmask, nearly do and do not,
 * of queues with and without a socket. PHANTOM_FUZZ_CASES=80000 is five million frames.
 */

import assert from "node:assert/strict";
import { Delivery, DeliveryFlag, Reason, TunnelLimit, Verdict } from "../../ffi/bpf/layout.gen.ts";
import { cString } from "../../ffi/memory.ts";
import type { XskPort } from "../../ffi/xsk.ts";
import { testKeys, WINDOW } from "../bpf/tunnel/keyed_packets.ts";
import { type Bytes, hex } from "../bpf/packets.ts";
import { casePorts } from "../bpf/tunnel/xdp_cases.ts";
import { outcomeText, XdpHarness } from "../bpf/tunnel/xdp_harness.ts";
import { keptWindows } from "../bpf/tunnel/xdp_keyed_cases.ts";
import { type DeliveryModel, FilterModel, isDelivered, modelOf } from "../bpf/tunnel/xdp_model.ts";
import { DeliveryBed, INTERFACE } from "../fixtures/delivery.ts";
import { libraries } from "../fixtures/libraries.ts";
import { randomFrame } from "./filter_frames.ts";
import { fuzz, type Rng } from "./rng.ts";

// Loaded before a test counts what it opens: a library stays.
libraries();

const isRoot = Deno.uid() === 0;
const CASES = 400;
const FRAMES_A_CASE = 64;
/** The kernel's clock goes on: keys are given anew, and sessions forgotten, every so many cases. */
const CASES_A_ROUND = 40;
const QUEUES = 3;
/** Those with a socket. */
const SERVED = [0, 1];
const Action = { drop: 1, pass: 2, redirect: 4 } as const;
const keys = testKeys(...keptWindows);
const ports = [...casePorts];

class DeliverFuzz implements Disposable {
  readonly #bed = new DeliveryBed({ queues: QUEUES });
  readonly #port: XskPort = this.#bed.openPort(SERVED);
  readonly #harness = new XdpHarness(casePorts);
  readonly #index = this.#bed.server.enter(() =>
    libraries().native.symbols.ph_ifindex(cString(INTERFACE))
  );
  #model = new FilterModel(casePorts, keys, WINDOW);
  #cases = 0;
  delivered = 0;
  frames = 0;

  constructor() {
    for (const queue of SERVED) this.#port.enter(queue, this.#harness.map("xsks").fd, queue);
  }

  one(rng: Rng): void {
    if (this.#cases++ % CASES_A_ROUND === 0) {
      this.#harness.forget();
      this.#harness.setKeys(keys, WINDOW);
      this.#model = new FilterModel(casePorts, keys, WINDOW);
    }
    const filters = rng.chance(0.8);
    const present = WINDOW & (TunnelLimit.maskKeys - 1);
    this.#harness.configure({ present, ...(filters ? {} : { flags: 0 }) });
    const delivery: DeliveryModel = {
      port: rng.pick(ports),
      workers: rng.pick([0, 1, 1, 2, 3]),
      ownerMask: rng.pick([0, 1, 3, 0xffff_ffff]),
      hellos: rng.chance(0.5),
    };
    const isHere = rng.chance(0.9);
    this.#configure(delivery, isHere ? this.#index : 0);
    this.#bed.server.enter(() => {
      for (let i = 0; i < FRAMES_A_CASE; i++) {
        this.#run(rng, delivery, { filters, isHere });
      }
    });
  }

  #run(
    rng: Rng,
    delivery: DeliveryModel,
    { filters, isHere }: { readonly filters: boolean; readonly isHere: boolean },
  ): void {
    const data = withPort(rng, randomFrame(rng), delivery.port);
    const queue = rng.pick([0, 0, 1, 1, 2]);
    const outcome = filters ? this.#model.take(data) : modelOf(data, casePorts);
    const isOurs = outcome.verdict === Verdict.pass && REASONS.has(outcome.reason);
    const shown = filters ? this.#model.shownOf(data) : undefined;
    const isTaken = isHere && isOurs && SERVED.includes(queue) &&
      isDelivered(data, delivery, queue, shown);
    const expected = isTaken
      ? Action.redirect
      : outcome.verdict === Verdict.pass
      ? Action.pass
      : Action.drop;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    const words = Uint32Array.of(0, data.length, 0, this.#index, queue, 0);
    const context = new Uint8Array(words.buffer);
    const { value } = this.#harness.program.run({ data, context });
    const text = `${outcomeText(outcome)}, queue ${queue}, ${JSON.stringify(delivery)}`;
    assert.equal(value, expected, `${text}: ${hex(data)}`);
    this.frames++;
    if (isTaken) this.delivered++;
  }

  #configure({ port, workers, ownerMask, hellos }: DeliveryModel, ifindex: number): void {
    const value = new Uint8Array(Delivery.size);
    const flags = hellos ? DeliveryFlag.hellos : 0;
    Delivery.write(new DataView(value.buffer), 0, { ifindex, workers, ownerMask, port, flags });
    this.#harness.map("delivery").set(new Uint8Array(4), value);
  }

  [Symbol.dispose](): void {
    this.#harness[Symbol.dispose]();
    this.#port.close();
    this.#bed[Symbol.dispose]();
  }
}

const REASONS: ReadonlySet<Reason> = new Set([
  Reason.listen,
  Reason.session,
  Reason.sessionNew,
  Reason.sessionLimit,
  Reason.noKeys,
]);

/** Mostly to the port that is delivered; all of them are ours. */
function withPort(rng: Rng, frame: Bytes, port: number): Bytes {
  const at = frame[12] === 8 && frame[14] === 0x45 ? 36 : frame[12] === 0x86 ? 56 : 0;
  if (at === 0 || at + 2 > frame.length || rng.chance(0.2)) return frame;
  const bytes = frame.slice();
  new DataView(bytes.buffer).setUint16(at, port);
  return bytes;
}

Deno.test({
  name: `AF_XDP gets what its model says${isRoot ? "" : " (needs root)"}`,
  ignore: !isRoot,
  fn() {
    using deliver = new DeliverFuzz();
    fuzz({ cases: CASES }, (rng) => deliver.one(rng));
    const { delivered, frames } = deliver;
    assert.ok(delivered > frames / 40, `${delivered} of ${frames} were delivered`);
  },
});

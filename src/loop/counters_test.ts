import assert from "node:assert/strict";
import { CounterWriter, mergeCounters, sumCounters } from "./counters.ts";

class Packets {
  received = 0;
  readonly name = "no number";
  #secret = 1;

  get double(): number {
    return 2 * this.received * this.#secret;
  }
}

Deno.test("each number of an object is a counter under the name of its field", () => {
  const packets = new Packets();
  let streams = 3;
  const writer = new CounterWriter([
    { name: "tunnel", counters: { "": packets, open: () => ({ streams }) } },
    { name: "silent" },
  ]);
  assert.deepEqual(writer.view.tables, [
    { service: "tunnel", names: ["received", "openStreams"] },
    { service: "silent", names: [] },
  ]);
  packets.received = 2 ** 40;
  streams = 4;
  assert.deepEqual(sumCounters([writer.view]).tunnel, { received: 0, openStreams: 0 });
  writer.write();
  assert.deepEqual(sumCounters([writer.view]), {
    tunnel: { received: 2 ** 40, openStreams: 4 },
    silent: {},
  });
});

Deno.test("counters are summed up over workers by service and name", () => {
  const [one, two] = [{ sent: 1 }, { sent: 10 }];
  const views = [
    new CounterWriter([{ name: "a", counters: { "": one } }, { name: "b", counters: { x: one } }]),
    // Another order, and one service less.
    new CounterWriter([{ name: "a", counters: { "": two } }]),
  ].map((writer) => (writer.write(), writer.view));
  assert.deepEqual(sumCounters(views), { a: { sent: 11 }, b: { xSent: 1 } });
  assert.deepEqual(sumCounters([]), {});
});

Deno.test("two counters of one name are refused", () => {
  const counters = { "": { sentBytes: 0 }, sent: { bytes: 0 } };
  assert.throws(() => new CounterWriter([{ name: "a", counters }]), /twice: sentBytes/);
});

Deno.test("what several pools count is summed up where it has the same name", () => {
  const all = [{ loop: { faults: 1 }, a: { sent: 2 } }, { loop: { faults: 3 }, b: {} }];
  assert.deepEqual(mergeCounters(all), { loop: { faults: 4 }, a: { sent: 2 }, b: {} });
});

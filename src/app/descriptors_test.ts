import assert from "node:assert/strict";
import { testNative } from "../../tests/native.ts";
import { spareDescriptors } from "../../ffi/descriptors.ts";
import { Descriptors } from "./descriptors.ts";

const native = testNative();

/** Made for a limit that this process does not have; nothing stays spared. */
function descriptors(limit: number): Descriptors {
  const made = new Descriptors(native, () => limit);
  spareDescriptors(native, 0x7fff_ffff);
  return made;
}

Deno.test("Descriptors leaves workers what is neither in use nor spared", () => {
  for (const [limit, inUse, workers] of [[256, 52, 2], [4096, 70, 3], [20_000, 60, 2]] as const) {
    const made = descriptors(limit);
    const { spared } = made.status();
    const { connectionsMax, associationsMax } = made.workerLimits(workers, inUse);
    const opened = workers * (connectionsMax + associationsMax);
    assert.ok(opened <= limit - spared - inUse, `${limit}`);
    assert.ok(opened > limit - spared - inUse - workers, `${limit}`);
    assert.ok(spared >= 8 && made.lookupsMax * 2 <= Math.max(spared, 4), `${limit}`);
  }
});

Deno.test("Descriptors refuses what the process can't even start with", () => {
  descriptors(64).assertEnoughFor(2);
  assert.throws(
    () => descriptors(32).assertEnoughFor(2),
    /takes 52 .* may have 32: raise .* fewer/,
  );
  assert.throws(() => descriptors(32).assertEnoughFor(1), /takes 40 .*LimitNOFILE\)$/);
});

Deno.test("Descriptors spares no more than half of what is left", () => {
  const few = descriptors(64);
  few.settle(54);
  assert.equal(few.status().spared, 5);
  assert.deepEqual(few.workerLimits(2, 54), { connectionsMax: 2, associationsMax: 1 });
  const none = descriptors(64);
  none.settle(70);
  assert.equal(none.status().spared, 0);
  const many = descriptors(4096);
  const { spared } = many.status();
  many.settle(100);
  assert.equal(many.status().spared, spared);
  spareDescriptors(native, 0x7fff_ffff);
});

Deno.test("Descriptors goes no higher than the workers' own limits, and no lower than one", () => {
  const many = descriptors(1 << 20).workerLimits(2, 100);
  assert.deepEqual(many, { connectionsMax: 65_536, associationsMax: 16_384 });
  const few = descriptors(64).workerLimits(2, 60);
  assert.deepEqual(few, { connectionsMax: 1, associationsMax: 1 });
  assert.equal(descriptors(1 << 20).lookupsMax, 64);
  assert.equal(descriptors(64).lookupsMax, 2);
});

/** 10,000 lives of the BPF program leave no file descriptor and no memory behind. */

import assert from "node:assert/strict";
import type { Sample } from "../../fixtures/cycles.ts";
import { repository } from "../../fixtures/libraries.ts";
import { Namespace } from "../../fixtures/netns.ts";

const CYCLES = 10_000;
const EVERY = 250;
/** Behind these everything is warm: code compiled, pools filled. */
const WARM_CYCLES = 2000;
/** Samples at either end; the lowest of each counts, since garbage comes and goes between them. */
const COMPARED = 8;
/** A leak of 1.5 KiB a cycle: V8 grows in steps of 5 MiB. One of an object would be far more. */
const GROWTH_MAX_BYTES = 12 << 20;
/** Of CPU: how soon it is over is up to what else the machine does. */
const CPU_MAX_MS = 180_000;

const ignore = Deno.uid() !== 0;
if (ignore) console.log("leak_test.ts: skipped, loading BPF programs needs root");

Deno.test({
  name: `${CYCLES} open/load/close cycles leak no descriptor and no memory`,
  ignore,
  fn() {
    using namespace = new Namespace();
    namespace.veth("va", "vb");
    const samples = runCycles(namespace);
    const warm = samples.filter(({ cycle }) => cycle >= WARM_CYCLES);
    const [first, last] = [warm[0]!, warm.at(-1)!];
    const growth = lowest(warm.slice(-COMPARED)) - lowest(warm.slice(0, COMPARED));
    const text = JSON.stringify(samples);
    assert.equal(last.cycle, CYCLES);
    assert.equal(last.fds, first.fds, text);
    assert.ok(growth < GROWTH_MAX_BYTES, text);
    assert.ok(last.cpuMs < CPU_MAX_MS, text);
    const grown = (growth / (1 << 20)).toFixed(1);
    console.log(`${last.cpuMs} ms of CPU, ${last.fds} descriptors, memory grew by ${grown} MiB`);
  },
});

function runCycles(namespace: Namespace): Sample[] {
  const script = `${repository}tests/fixtures/cycles.ts`;
  const flags = ["run", "-A", "--v8-flags=--expose-gc", script, `${CYCLES}`, `${EVERY}`];
  // glibc raises the size from which on it gives freed memory back at once, by what was freed
  // before; a size that is set stays, and the figures don't jump.
  const env = { MALLOC_MMAP_THRESHOLD_: "65536" };
  const { success, stdout, stderr } = namespace.command(Deno.execPath(), flags, { env })
    .outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

function lowest(samples: readonly Sample[]): number {
  return Math.min(...samples.map(({ rssBytes }) => rssBytes));
}

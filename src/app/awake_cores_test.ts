import assert from "node:assert/strict";
import { Log } from "../base/log.ts";
import { AwakeCores } from "./awake_cores.ts";

const DEVICE = "/dev/cpu_dma_latency";

/** What the kernel holds to, all requests taken together, in µs. */
function latencyNow(): number {
  using file = Deno.openSync(DEVICE);
  const word = new Uint8Array(4);
  file.readSync(word);
  return new Int32Array(word.buffer)[0]!;
}

function isWritable(path: string): boolean {
  try {
    Deno.openSync(path, { write: true }).close();
    return true;
  } catch {
    console.error(`skipped: keeping cores awake needs write access to ${path}`);
    return false;
  }
}

function logTo(lines: string[]): Log {
  return Log.to({
    level: "debug",
    format: "text",
    write: (line) => lines.push(line),
    now: () => 0,
  });
}

const fine = "cores are kept awake while there is traffic, and some seconds longer";
Deno.test(fine, { ignore: !isWritable(DEVICE) }, () => {
  let datagrams = 0;
  const lines: string[] = [];
  const cores = new AwakeCores({ datagrams: () => datagrams, log: logTo(lines) });
  try {
    const before = latencyNow();
    assert.ok(before > 0, "something else keeps the cores awake");
    cores.tick(0);
    assert.ok(!cores.isHeld);
    // A keep-alive and its answer are no traffic.
    datagrams += 2;
    cores.tick(250);
    assert.ok(!cores.isHeld);
    datagrams += 100;
    cores.tick(500);
    assert.ok(cores.isHeld);
    assert.equal(latencyNow(), 0);
    cores.tick(5400);
    assert.ok(cores.isHeld);
    cores.tick(5600);
    assert.ok(!cores.isHeld);
    assert.equal(latencyNow(), before);
    datagrams += 100;
    cores.tick(6000);
    assert.equal(latencyNow(), 0);
    cores.stop();
    assert.equal(latencyNow(), before);
    assert.deepEqual(lines, []);
  } finally {
    cores.stop();
  }
});

Deno.test("cores that can't be kept awake are told of at the start, once", () => {
  const lines: string[] = [];
  const cores = new AwakeCores({
    datagrams: () => 1e6,
    log: logTo(lines),
    path: "/proc/none/such",
  });
  try {
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /low_latency has no effect.*\/proc\/none\/such/);
    assert.ok(!cores.isHeld);
  } finally {
    cores.stop();
  }
});

/** The pin folder: what it removes, and above all what it does not. */

import assert from "node:assert/strict";
import { BpfMapType } from "../../../ffi/bpf/libbpf.gen.ts";
import { createMap } from "../../../ffi/bpf/map.ts";
import { InstanceBusyError, PinFolder } from "../../../src/kernel/pins.ts";
import { libraries } from "../../fixtures/libraries.ts";
import { run } from "../../fixtures/netns.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("pins_test.ts: skipped, pinning needs root");

/** A pin path of its own below the BPF file system, cleared afterwards. */
function test(name: string, act: (pinPath: string) => void): void {
  Deno.test({
    name,
    ignore,
    fn() {
      const pinPath = `/sys/fs/bpf/phtest-pins-${Deno.pid}`;
      try {
        act(pinPath);
      } finally {
        run("rm", "-rf", pinPath);
      }
    },
  });
}

function pinMap(path: string): void {
  const shape = { type: BpfMapType.hash, keySize: 4, valueSize: 8, maxEntries: 1 };
  using map = createMap(libs, { name: "pinned", ...shape });
  map.pin(path);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

test("remove() takes all that is ours, and the pin path with the last instance", (pinPath) => {
  const [one, two] = [new PinFolder(libs, pinPath, "one"), new PinFolder(libs, pinPath, "two")];
  for (const pins of [one, two]) {
    pins.create();
    pinMap(`${pins.object("one").maps("0123456789abcdef", true)}/pinned`);
    pinMap(`${pins.object("one").maps("fedcba9876543210", true)}/pinned`);
    pins.unlock();
  }
  assert.deepEqual(one.object("one").layouts(), ["0123456789abcdef", "fedcba9876543210"]);
  one.remove();
  assert.deepEqual([one.exists, two.exists], [false, true]);
  two.remove();
  assert.ok(!exists(pinPath));
});

test("remove() leaves what is not ours and says so", (pinPath) => {
  const pins = new PinFolder(libs, pinPath, "one");
  pins.create();
  pinMap(`${pins.path}/foreign`);
  assert.throws(() => pins.remove(), /holds more than ours: foreign/);
  assert.ok(exists(`${pins.path}/foreign`));
  pins.unlock();
});

test("remove() touches nothing outside a BPF file system", () => {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${folder}/one/hooks/xdp`, { recursive: true });
    Deno.writeTextFileSync(`${folder}/one/hooks/xdp/precious`, "");
    assert.throws(() => new PinFolder(libs, folder, "one").remove(), /in no BPF file system/);
    assert.throws(() => new PinFolder(libs, folder, "two").create(), /is no BPF file system/);
    assert.ok(exists(`${folder}/one/hooks/xdp/precious`));
    assert.ok(!exists(`${folder}/two`));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

test("lock() is held by one until it lets go", (pinPath) => {
  const [first, second] = [1, 2].map(() => new PinFolder(libs, pinPath, "one"));
  first!.assertFree();
  first!.create();
  assert.throws(() => second!.lock(), InstanceBusyError);
  assert.throws(() => second!.assertFree(), InstanceBusyError);
  first!.unlock();
  second!.assertFree();
  second!.lock();
  second!.unlock();
});

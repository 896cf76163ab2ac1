import assert from "node:assert/strict";
import { AttachmentPin, isHeld } from "./hook.ts";
import { HookPins } from "./pins.ts";

/** A folder like that of a hook's pins, and what is pinned by writing a file. */
function withPins(act: (pins: HookPins, pinned: { pin(path: string): void }) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    act(new HookPins(`${folder}/hooks/xdp`), {
      pin: (path) => Deno.writeTextFileSync(path, "", { createNew: true }),
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a pin is made at once, and anew where somebody removed it", () => {
  withPins((pins, pinned) => {
    const pin = new AttachmentPin(pins, pinned, "eth0.100");
    assert.deepEqual([pins.interfaces(), pin.isThere, pin.fault], [["eth0.100"], true, ""]);
    assert.ok(pin.keep());
    Deno.removeSync(pins.path("eth0.100"));
    assert.ok(!pin.keep());
    assert.deepEqual(pins.interfaces(), ["eth0.100"]);
  });
});

Deno.test("two pins can change their names with each other", () => {
  withPins((pins, pinned) => {
    const [one, two] = ["va", "vb"].map((name) => new AttachmentPin(pins, pinned, name));
    for (const pin of [one!, two!]) pin.remove();
    assert.deepEqual(pins.interfaces(), []);
    one!.rename("vb");
    two!.rename("va");
    assert.deepEqual(pins.interfaces(), ["va", "vb"]);
    one!.remove();
    assert.deepEqual(pins.interfaces(), ["va"]);
  });
});

Deno.test("a pin that can't be made is told once", () => {
  withPins((pins) => {
    const pinned = {
      pin() {
        throw new Error("no room");
      },
    };
    const pin = new AttachmentPin(pins, pinned, "va");
    assert.deepEqual([pin.fault, pin.isThere], ["no room", false]);
    // Nothing new.
    assert.ok(pin.keep());
  });
});

Deno.test("without a folder nothing is pinned, and nothing is wrong", () => {
  const pin = new AttachmentPin(undefined, { pin: () => assert.fail("pinned") }, "va");
  assert.ok(pin.keep());
  assert.deepEqual([pin.fault, pin.isThere], ["", false]);
  pin.remove();
});

Deno.test("isHeld() tells an attachment from levels that failed", () => {
  assert.ok(!isHeld([]));
  assert.ok(!isHeld([{ level: "native", cause: "", remedy: "" }]));
});

/**
 * Sends junk into this namespace's network: `junk_generator.ts DEVICE HEADERS PPS SECONDS`, with
 * the headers in hex. Prints how many frames a second it was.
 */

import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";

/** Short enough for a queue; a call itself takes 10 to 25 ms before the first frame. */
const BURST_MS = 1;
/** What could not be sent in time is not made up for in one go. */
const CATCH_UP_MS = 80;
const FRAME_BYTES = 42 + 32;

const [device = "", headers = "", pps = "", seconds = ""] = Deno.args;
const libs = libraries();
using object = new BpfObject(libs, "junk", bpfObject("junk"));
object.setConstant("out_ifindex", libs.native.symbols.ph_ifindex(cString(device)));
object.load();
object.map("headers").set(new Uint8Array(4), Uint8Array.fromHex(headers));
const program = object.program("junk");
const data = new Uint8Array(FRAME_BYTES);

const rate = Number(pps) / 1000;
const begin = performance.now();
const end = begin + 1000 * Number(seconds);
let sent = 0;
let given = 0;
for (let now = begin; now < end; now = performance.now()) {
  const due = Math.floor((now - begin) * rate) - given;
  const frames = Math.min(due, CATCH_UP_MS * rate);
  given += due;
  if (frames > 0) program.run({ data, live: true, repeat: frames, batch: 64 });
  sent += Math.max(frames, 0);
  const left = BURST_MS - (performance.now() - now);
  if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
}
console.log(String(Math.round(sent / (performance.now() - begin) * 1000)));

/** What a server leaves behind that runs long enough: without it 0-RTT waits for 90 s. */

import { bootMs } from "../../ffi/loop.ts";
import { NativePrimitives } from "../../ffi/primitives.ts";
import { replayRecord } from "../../src/tunnel/server/replay_record.ts";
import { tellingReplay } from "../fixtures/tunnel.ts";
import { testNative } from "../native.ts";

const native = testNative();

/** As after a clean stop long after the start: what was said before is known to be nothing. */
export function leaveRecord(folder: string, instance = "default"): void {
  const path = `${folder}/state-${instance}`;
  const now = { unixMs: Date.now(), bootMs: bootMs(native), bootId: new Uint8Array(16) };
  Deno.mkdirSync(path, { recursive: true });
  Deno.writeFileSync(
    `${path}/replay`,
    replayRecord(new NativePrimitives(native), tellingReplay(), now, []),
  );
}

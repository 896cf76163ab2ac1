/** Memory of this process that is not in use goes back to the system. */

import type { Native } from "./native.ts";

/** The whole pages among these bytes, which read as zeros afterwards. */
export function releasePages({ symbols }: Native, bytes: Uint8Array<ArrayBuffer>): void {
  symbols.ph_memory_unused(bytes, BigInt(bytes.length));
}

/** What was freed of the C heap: buffers of arrays that the engine has collected. */
export function releaseHeap({ symbols }: Native): void {
  symbols.ph_heap_release();
}

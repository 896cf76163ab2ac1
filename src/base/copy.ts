/** Copies between the arenas of the data plane. */

/** Below this a loop beats the call. */
const LOOP_MAX = 24;

export function copyBytes(
  to: Uint8Array,
  at: number,
  from: Uint8Array,
  start: number,
  length: number,
): void {
  if (length <= LOOP_MAX) {
    for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  } else to.set(from.subarray(start, start + length), at);
}

/** The native library for tests: PHANTOM_NATIVE (a sanitised build, say), else the built one. */

import { type Native, openNative } from "../ffi/native.ts";

let opened: Native | undefined;

/** Opened once a process: a library stays loaded, which the leak check of a test would report. */
export function testNative(): Native {
  return opened ??= openNative(nativePath());
}

export function nativePath(): string {
  return Deno.env.get("PHANTOM_NATIVE") ??
    new URL("../build/lib/libphantom.so", import.meta.url).pathname;
}

/** Numbers and bytes that follow from a seed alone (xorshift128). */
export interface Seeded {
  /** 0 <= n < below, below at most 2^32. */
  int(below: number): number;
  bytes(length: number): Uint8Array<ArrayBuffer>;
}

export function seeded(seed: number): Seeded {
  const state = Uint32Array.of(seed, 0x9e37_79b9, 0x243f_6a88, 0xb7e1_5162);
  const next = () => {
    let t = state[3]!;
    t ^= t << 11;
    t ^= t >>> 8;
    state.copyWithin(1, 0, 3);
    state[0] = t ^ state[1]! ^ (state[1]! >>> 19);
    return state[0]!;
  };
  const int = (below: number) => Math.floor(next() / 0x1_0000_0000 * below);
  return { int, bytes: (length) => Uint8Array.from({ length }, () => int(256)) };
}

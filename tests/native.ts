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

/** The native library for tests: PHANTOM_NATIVE (a sanitised build, say), else the built one. */

import { type Native, openNative } from "../ffi/native.ts";
import { bindAll } from "../ffi/symbols.ts";

let opened: Native | undefined;

/** Opened once a process: a library stays loaded, which the leak check of a test would report. */
export function testNative(): Native {
  if (opened === undefined) {
    opened = openNative(nativePath());
    bindAll(opened.symbols);
  }
  return opened;
}

export function nativePath(): string {
  return Deno.env.get("PHANTOM_NATIVE") ??
    new URL("../build/lib/libphantom.so", import.meta.url).pathname;
}

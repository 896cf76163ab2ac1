/**
 * Opens the libraries that ride in the executable, without touching the disk.
 *
 * Each is written to a memfd and opened as /proc/self/fd/N, in the order of their dependencies:
 * glibc then satisfies libbpf's need for libelf, and libelf's for libz, by SONAME. The memfds stay
 * open as long as the process lives: glibc takes two libraries of the same path for one, so a
 * reused fd number would silently give the wrong library.
 */

import { type Libbpf, libbpfSymbols } from "./bpf/libbpf.ts";
import { memfdPath } from "./libc.ts";
import { type Native, openNative } from "./native.ts";
import { symbolsOf } from "./symbols.ts";

/** In the order of loading: a library stands behind all that it needs. */
const libraryNames = ["libz.so.1", "libelf.so.1", "libbpf.so.1", "libphantom.so"] as const;
export type LibraryName = (typeof libraryNames)[number];

export interface Libraries {
  readonly libbpf: Libbpf;
  readonly native: Native;
}

/** Loads all libraries into the process; `read` gives the bytes of each. Once a process. */
export function openLibraries(
  read: (name: LibraryName) => Uint8Array<ArrayBuffer>,
): Libraries {
  for (const name of libraryNames) {
    // Never closed: it keeps the SONAME known to the libraries behind it, and to the workers.
    Deno.dlopen(memfdPath(name, read(name)), {});
  }
  const libs = openLoadedLibraries();
  // Of the whole process.
  libs.libbpf.libbpf_set_print(libs.native.symbols.ph_log_printer());
  return libs;
}

/** For a worker: the libraries that the main thread has loaded, found again by SONAME. */
export function openLoadedLibraries(): Libraries {
  return { native: openNative("libphantom.so"), libbpf: symbolsOf("libbpf.so.1", libbpfSymbols) };
}

/** Takes all of an instance off this machine, whatever systems it had. */

import type { Libraries } from "../../ffi/libraries.ts";
import { takeOffLink } from "./hook.ts";
import type { PinFolder } from "./pins.ts";
import { takeOffTc, type TcPlace } from "./tc_hook.ts";

/**
 * Detaches, unpins and so frees everything; the interfaces it was on. `filters`: of hooks that are
 * no BPF links on older kernels.
 */
export function unloadInstance(
  libs: Libraries,
  pins: PinFolder,
  filters: readonly TcPlace[],
): string[] {
  if (!pins.exists) return [];
  pins.lock();
  try {
    pins.adopt();
    const hooks = pins.hooks().map((name) => pins.hook(name));
    const interfaces = [...new Set(hooks.flatMap((hook) => hook.interfaces()))].sort();
    for (const name of interfaces) {
      for (const place of filters) takeOffTc(libs, pins.hook(place.name), place, name);
      for (const hook of hooks) takeOffLink(libs, hook.path(name));
    }
    pins.remove();
    return interfaces;
  } finally {
    pins.unlock();
  }
}

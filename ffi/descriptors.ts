/**
 * Open files of this process: how many there may be, how many there are, and that those which it
 * needs itself are not used up by what it opens for others.
 */

import { checked, errnoNumber, SysError } from "./errors.ts";
import type { Native } from "./native.ts";

const SHORT: ReadonlySet<number> = new Set([errnoNumber("EMFILE")!, errnoNumber("ENFILE")!]);

/** Raises the limit as far as it goes; what it is now. */
export function raiseDescriptorLimit({ symbols }: Native): number {
  return checked(symbols.ph_descriptors_raise(), () => "raise the limit on open files");
}

/**
 * From now on connections, and UDP sockets with `isSpared`, get no descriptor from this one on:
 * they fail as if there were none.
 */
export function spareDescriptors({ symbols }: Native, from: number): void {
  symbols.ph_descriptors_spare(from);
}

/** Open files of this process, that of looking included. */
export function descriptorsInUse(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Whether something failed for want of a descriptor. */
export function isShortOfDescriptors(error: unknown): boolean {
  return error instanceof SysError && SHORT.has(error.errno);
}

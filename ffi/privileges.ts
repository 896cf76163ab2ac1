/** What this process gives up once it has what it needs, for whoever takes it over. */

import { checked } from "./errors.ts";
import type { Native } from "./native.ts";

/** CAP_* by their numbers. */
export const Capability = {
  netBindService: 10,
  netAdmin: 12,
  netRaw: 13,
  perfmon: 38,
  bpf: 39,
} as const;

/** No core file, and nobody who attaches: the memory holds keys. */
export function hideMemory({ symbols }: Native): void {
  checked(symbols.ph_hide_memory(), () => "keep this process's memory out of core files");
}

/** Of what it may, this process keeps these capabilities, in all threads, for good. */
export function keepCapabilities({ symbols }: Native, capabilities: readonly number[]): void {
  const mask = capabilities.reduce((sum, number) => sum | 1n << BigInt(number), 0n);
  checked(symbols.ph_keep_capabilities(mask), () => "give up capabilities");
}

/**
 * Names of what a server itself serves to its users, for measuring: `phantom bench`. No resolver
 * ever knows the host (RFC 6761).
 */

export const BENCH_HOST = "bench.phantom.invalid";

export const BenchPort = {
  /** Reads everything, and ends its half when the client has ended its own. */
  sink: 1,
  /** Sends until its maxima, or until the client gives it up. */
  source: 2,
  /** A sink that says how many bytes it has read so far, now and then, as a float64. */
  counter: 3,
} as const;

/** How often a counter speaks, at most. */
export const BENCH_COUNT_MS = 100;

/** How long one measurement may take. */
export const BENCH_MS_MAX = 60_000;

/** Bounds of what a worker serves. */
export interface BenchLimits {
  readonly ms: number;
  /** That one measurement may move. */
  readonly bytes: number;
  /** Measurements at a time; one more is answered "too many". */
  readonly streams: number;
}

export const BENCH_LIMITS: BenchLimits = {
  ms: BENCH_MS_MAX,
  bytes: 16 * 2 ** 30,
  streams: 256,
};

/** What a worker is told of AF_XDP, as data. */

/** AF_XDP for one worker. */
export interface XskSpec {
  readonly interfaceName: string;
  /** The queues that are this worker's. */
  readonly queues: readonly number[];
  /** The XSKMAP; main has it open, and threads share descriptors. */
  readonly mapFd: number;
  readonly copying?: "auto" | "copy" | "zero-copy";
  /** Sends also what GSO sends for less. @default {false} */
  readonly longRuns?: boolean;
}

/**
 * Open files as a pool of the whole process: the limit is raised as far as it goes, some are spared
 * for what the server itself needs (state files, the status socket, name look-ups, BPF), and what
 * clients can open is bounded by the rest, shared by the workers.
 */

import { descriptorsInUse, raiseDescriptorLimit, spareDescriptors } from "../../ffi/descriptors.ts";
import type { Native } from "../../ffi/native.ts";
import type { Log } from "../base/log.ts";
import { ASSOCIATIONS_MAX } from "../tunnel/exit/associations.ts";
import { CONNECTIONS_MAX } from "../tunnel/exit/targets.ts";

/** One in so many is spared, within these bounds. */
const SPARED_SHARE = 16;
const SPARED_MIN = 8;
const SPARED_MAX = 1024;
/** One of what is spared in so many may be a look-up's; one has two sockets at most. */
const LOOKUP_SHARE = 4;
const LOOKUPS_MAX = 64;
const LOOKUPS_MIN = 2;
/** Of what a worker may have, so many in four are connections. */
const CONNECTION_QUARTERS = 3;

/** What the process opens for itself before there is a client: with fewer the runtime ends it. */
const OWN_MIN = 28;
const OWN_OF_WORKER_MIN = 12;
/** With fewer, none are taken for what could be done without: there would be none for clients. */
const ENOUGH_MIN = 256;

/** What each worker may have open for clients. */
export interface WorkerLimits {
  readonly connectionsMax: number;
  readonly associationsMax: number;
}

export interface DescriptorStatus {
  readonly limit: number;
  readonly inUse: number;
  readonly spared: number;
}

export class Descriptors {
  /** Open files that this process may have. */
  readonly limit: number;
  readonly #native: Native;
  #spared: number;

  constructor(native: Native, raise: (native: Native) => number = raiseDescriptorLimit) {
    this.#native = native;
    this.limit = raise(native);
    this.#spared = Math.min(
      Math.max(Math.floor(this.limit / SPARED_SHARE), SPARED_MIN),
      SPARED_MAX,
    );
    spareDescriptors(native, this.limit - this.#spared);
  }

  /** Throws where a server of so many workers could not even start. */
  assertEnoughFor(workers: number): void {
    const needed = OWN_MIN + OWN_OF_WORKER_MIN * workers;
    if (this.limit >= needed) return;
    throw new Error(
      `Cannot start with workers: ${workers} as that takes ${needed} open files at least, and ` +
        `this process may have ${this.limit}: raise the limit (\`ulimit -n\`, LimitNOFILE)` +
        (workers > 1 ? ", or have fewer workers" : ""),
    );
  }

  /** Whether workers may take a dozen each to warm up. */
  get areEnough(): boolean {
    return this.limit >= ENOUGH_MIN;
  }

  /** All is open that the server begins with: of the rest no more than half is spared. */
  settle(inUse: number = descriptorsInUse()): void {
    const rest = Math.max(0, this.limit - inUse);
    this.#spared = Math.min(this.#spared, rest >> 1);
    spareDescriptors(this.#native, this.limit - this.#spared);
  }

  /** Names that are looked up at a time. */
  get lookupsMax(): number {
    const share = Math.floor(this.#spared / LOOKUP_SHARE);
    return Math.min(Math.max(share, LOOKUPS_MIN), LOOKUPS_MAX);
  }

  /** What each of so many may open beside what is open now; one at least. */
  shareOf(count: number, inUse: number = descriptorsInUse()): number {
    return Math.max(1, Math.floor((this.limit - this.#spared - inUse) / count));
  }

  /** What each of so many workers may have open for clients. */
  workerLimits(count: number, inUse?: number): WorkerLimits {
    const share = this.shareOf(count, inUse);
    const connections = Math.ceil(CONNECTION_QUARTERS * share / 4);
    return {
      connectionsMax: Math.min(connections, CONNECTIONS_MAX),
      associationsMax: Math.min(Math.max(share - connections, 1), ASSOCIATIONS_MAX),
    };
  }

  status(): DescriptorStatus {
    return { limit: this.limit, inUse: inUseNow(), spared: this.#spared };
  }
}

/** Tells of limits that are lower than they would be with more open files. */
export function logLimits(log: Log, { limit }: Descriptors, limits: WorkerLimits): void {
  const { connectionsMax: connections, associationsMax: associations } = limits;
  if (connections === CONNECTIONS_MAX && associations === ASSOCIATIONS_MAX) return;
  log.info("descriptors", "limits of connections follow the limit on open files", {
    open_files: limit,
    connections,
    associations,
    remedy: "raise it for more (LimitNOFILE)",
  });
}

/** The descriptor of looking may be the one too many. */
function inUseNow(): number {
  try {
    return descriptorsInUse();
  } catch {
    return -1;
  }
}

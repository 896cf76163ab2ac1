/**
 * Events, wherever they come from: the programs in the kernel tell most, user space those that only
 * it can see (the table fills up, an attachment is lost). All are logged and counted by kind here.
 */

import { endpoint, formatEndpoint } from "../../ffi/endpoint.ts";
import { type Event, EventKind, eventKindName, reasonName } from "../../ffi/bpf/layout.gen.ts";
import { BpfMapType } from "../../ffi/bpf/libbpf.gen.ts";
import { probeMapType } from "../../ffi/bpf/probe.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import type { Log, LogValues } from "../base/log.ts";
import type { ProgramPart } from "./object_plane.ts";

/** The ring buffer that programs send events by. */
export const EVENTS = "events";
/** The map in its place where the kernel has none (before 5.8). */
export const PERF_EVENTS = "perf_events";
/** Events of the kernel that are logged one by one in each round; the rest is counted. */
const LOGGED_MAX = 5;

/** For objects that send events. */
export function eventsPart(libs: Libraries): ProgramPart {
  const byPerf = probeMapType(libs, BpfMapType.ringbuf).have === false;
  return {
    constants: { events_by_perf: byPerf ? 1 : 0 },
    omit: [byPerf ? EVENTS : PERF_EVENTS],
  };
}

export interface EventCount {
  /** That came. */
  told: number;
  /** That the program held back, for they came too fast or found no room. */
  missed: number;
}

/** By the names of the kinds, all of them. */
export type EventCounts = Readonly<Record<string, Readonly<EventCount>>>;

/** Kinds that user space tells. */
export type OwnEvent = typeof EventKind.pressure | typeof EventKind.attachLost;

const TEXTS: Readonly<Record<number, string>> = {
  [EventKind.malformed]: "a malformed packet is dropped",
  [EventKind.new]: "the kernel has a new session",
  [EventKind.established]: "a session is established in the kernel",
  [EventKind.closing]: "a session is closing in the kernel",
  [EventKind.gone]: "a session has timed out in the kernel",
  [EventKind.flood]: "a HELLO over a limit is dropped",
  [EventKind.checksum]: "a packet with a wrong IPv4 header checksum is dropped",
};

export class KernelEvents {
  readonly #log: Log;
  readonly #told = new Float64Array(EventKind.count);
  #logged = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** One of user space's own. */
  tell(kind: OwnEvent, text: string, fields: LogValues): void {
    this.#told[kind]!++;
    this.#log.warn(eventKindName(kind), text, fields);
  }

  /** The kernel's events follow, of one more round. */
  beginRound(): void {
    this.#logged = 0;
  }

  /** One of the kernel's. */
  take(event: Event): void {
    const { kind } = event;
    // Of a newer program: counted nowhere, but logged.
    if (kind < EventKind.count) this.#told[kind]!++;
    if (++this.#logged > LOGGED_MAX) return;
    this.#log.debug(eventKindName(kind), TEXTS[kind] ?? "the kernel tells an unknown event", {
      ...(isAboutReason(kind) ? { reason: reasonName(Number(event.value)) } : {}),
      from: formatEndpoint(endpoint(event.srcIp, event.srcPort)),
    });
  }

  /** `missed`: by kind, as the programs have counted them. */
  counts(missed: ArrayLike<number>): EventCounts {
    const counts: Record<string, EventCount> = {};
    for (let kind = EventKind.malformed as number; kind < EventKind.count; kind++) {
      counts[eventKindName(kind)] = { told: this.#told[kind]!, missed: missed[kind] ?? 0 };
    }
    return counts;
  }
}

function isAboutReason(kind: number): boolean {
  return kind === EventKind.malformed || kind === EventKind.flood || kind === EventKind.checksum;
}

/** What is looked at most of a tunnel's counters. */

import type { CounterValues } from "../loop/counters.ts";

export type TunnelSummary = Readonly<
  Record<
    | "datagrams"
    | "junk"
    | "sessions"
    | "handshakes"
    | "replays"
    | "streams"
    | "bytesIn"
    | "bytesOut"
    | "refusals"
    | "targetRefusals"
    | "xskReceived"
    | "xskSent",
    number
  >
>;

/** Of a server's or a client's workers; 0 for what only the other one counts. */
export function summaryOf({ tunnel = {} }: CounterValues): TunnelSummary {
  const of = (name: string): number => tunnel[name] ?? 0;
  return {
    datagrams: of("receivedDatagrams"),
    junk: of("receivedJunk") + of("receivedForged"),
    sessions: of("openSessions"),
    handshakes: of("handshakes"),
    replays: of("helloReplays"),
    streams: of("openStreams"),
    bytesIn: of("receivedBytes"),
    bytesOut: of("sentBytes"),
    refusals: of("helloRefusals"),
    // Streams and datagrams that rules or a limit refused.
    targetRefusals: of("targetRefusals"),
    xskReceived: of("xskReceived"),
    xskSent: of("xskSent"),
  };
}

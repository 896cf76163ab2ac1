/** Why a session was refused, ended or never began, in words for logs. */

import { CloseCode } from "../wire/frames.ts";
import type { Silence } from "./protocol.ts";

/** What a server says to who has proved a key and may not come in, or stay. */
const REFUSALS: Readonly<Record<number, string>> = {
  [CloseCode.denied]: "the user was removed, or has another key",
  [CloseCode.expired]: "the account has expired",
  [CloseCode.trafficUsedUp]: "the traffic is used up",
  [CloseCode.tooManySessions]: "too many sessions at a time",
  [CloseCode.tooManyConnections]: "too many connections at a time",
  [CloseCode.disabled]: "the user is disabled",
  [CloseCode.noCommonCipher]: "the two ends have no cipher in common: see the key cipher of both",
};

const ENDS: Readonly<Record<number, string>> = {
  [CloseCode.internal]: "a fault",
  [CloseCode.overLimit]: "more of something than is allowed",
  [CloseCode.idle]: "silence for as long as idle allows",
  [CloseCode.shutdown]: "a stop",
};

/** Why the server does not let a user in; undefined: that is not what the code says. */
export function refusalWords(code: number): string | undefined {
  return REFUSALS[code];
}

/** Why a session is over; what the codes of a broken protocol have in common is said of all. */
export function endWords(code: number): string {
  return REFUSALS[code] ?? ENDS[code] ?? `the protocol was broken (code ${code})`;
}

/** Why a server does not answer, as somebody says. */
export function silenceWords({ why, peer, by }: Silence): string {
  const who = by === peer ? "the host" : by;
  switch (why) {
    case "refused":
      return `${who} answers that nothing listens on that port of ${peer} (ICMP): the server ` +
        "does not run there, its port is another, or a firewall rejects it";
    case "unreachable":
      return `${who} answers that ${peer} can't be reached (ICMP): it is off, or has another ` +
        "address";
    case "prohibited":
      return `${who} answers that a firewall prohibits packets to ${peer} (ICMP)`;
    case "no-name":
      return "the server's name is not found: there is none, or this machine's resolver is silent";
    case "no-way":
      return `this machine has no way to ${peer}: its network is not up, or has no such route`;
  }
}

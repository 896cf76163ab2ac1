// How an attempt to reach a target ended, and how SOCKS5 and HTTP say so.

import { OpenedCode } from "../wire/frames.ts";

/** REP of SOCKS5 (RFC 1928 §6). */
export const SocksReply = {
  OK: 0,
  FAILURE: 1,
  NOT_ALLOWED: 2,
  NETWORK_UNREACHABLE: 3,
  HOST_UNREACHABLE: 4,
  REFUSED: 5,
  TTL_EXPIRED: 6,
  BAD_COMMAND: 7,
  BAD_ADDRESS_TYPE: 8,
} as const;

/** How a request ended: as OPENED says it, or what no server said. */
export const Outcome = {
  ...OpenedCode,
  /** There is no session, or it was lost before the answer. */
  tunnelDown: 100,
  /** What the target said is no HTTP. */
  badAnswer: 101,
  /** It was reached, and said nothing. */
  brokenOff: 102,
} as const;

interface Telling {
  readonly status: number;
  readonly words: string;
  /** Of the field Proxy-Status (RFC 9209 §2.3), for programs. */
  readonly error: string;
}

const UNREACHABLE: Telling = {
  ...{ status: 502, words: "the server can't reach the target" },
  error: "destination_ip_unroutable",
};
const TELLINGS: Readonly<Record<number, Telling>> = {
  [Outcome.refused]: {
    ...{ status: 502, words: "the target refused the connection" },
    error: "connection_refused",
  },
  [Outcome.nameNotFound]: {
    ...{ status: 502, words: "the server finds no address of that name" },
    error: "dns_error",
  },
  [Outcome.denied]: {
    ...{ status: 403, words: "the server's rules do not allow this target" },
    error: "http_request_denied",
  },
  [Outcome.timedOut]: {
    ...{ status: 504, words: "the target did not answer in time" },
    error: "connection_timeout",
  },
  [Outcome.tooManyStreams]: {
    ...{
      status: 503,
      words:
        "there is no room for one more connection: here, at the server, or of this user's there",
    },
    error: "connection_limit_reached",
  },
  [Outcome.resolverSilent]: {
    ...{ status: 504, words: "the resolver that the server asks for names does not answer" },
    error: "dns_timeout",
  },
  [Outcome.notPublic]: {
    status: 403,
    words: "the target is private, or the server's own: a rule with its cidr opens it there",
    error: "destination_ip_prohibited",
  },
  [Outcome.userRefused]: {
    status: 403,
    words: "the user's account at the server has expired, or its traffic is used up",
    error: "destination_unavailable",
  },
  [Outcome.brokenOff]: {
    ...{ status: 502, words: "the target broke off before it answered" },
    error: "connection_terminated",
  },
  [Outcome.tunnelDown]: {
    ...{ status: 503, words: "there is no connection to the Phantom server" },
    error: "proxy_internal_error",
  },
  [Outcome.badAnswer]: {
    ...{ status: 502, words: "what the target answered is no HTTP" },
    error: "http_protocol_error",
  },
};

/** What a person, and a program, is told of an Outcome that is not ok. */
export function tellingOf(outcome: number): Telling {
  return TELLINGS[outcome] ?? UNREACHABLE;
}

const TO_SOCKS = [
  SocksReply.OK,
  SocksReply.REFUSED,
  SocksReply.NETWORK_UNREACHABLE,
  SocksReply.HOST_UNREACHABLE,
  SocksReply.NOT_ALLOWED,
  SocksReply.TTL_EXPIRED,
  SocksReply.FAILURE,
  SocksReply.FAILURE,
  SocksReply.NOT_ALLOWED,
  SocksReply.NOT_ALLOWED,
];
const FROM_SOCKS = [
  OpenedCode.ok,
  OpenedCode.unreachable,
  OpenedCode.denied,
  OpenedCode.unreachable,
  OpenedCode.unreachable,
  OpenedCode.refused,
  OpenedCode.timedOut,
];

/** The words of an Outcome, and what more is known of it. */
export function wordsOf(outcome: number, more?: string): string {
  const { words } = tellingOf(outcome);
  return more === undefined ? words : `${words}: ${more}`;
}

/** REP for an Outcome. */
export function socksReplyOf(code: number): number {
  return TO_SOCKS[code] ?? SocksReply.FAILURE;
}

/** Code of OPENED for a REP of an upstream proxy. */
export function openedCodeOfSocks(reply: number): number {
  return FROM_SOCKS[reply] ?? OpenedCode.unreachable;
}

/** Code of OPENED for the status of an upstream proxy. */
export function openedCodeOfHttp(status: number): number {
  if (status >= 200 && status < 300) return OpenedCode.ok;
  if (status === 403 || status === 407 || status === 401) return OpenedCode.denied;
  return status === 504 || status === 408 ? OpenedCode.timedOut : OpenedCode.unreachable;
}

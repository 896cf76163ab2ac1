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

const TO_SOCKS = [
  SocksReply.OK,
  SocksReply.REFUSED,
  SocksReply.NETWORK_UNREACHABLE,
  SocksReply.HOST_UNREACHABLE,
  SocksReply.NOT_ALLOWED,
  SocksReply.TTL_EXPIRED,
  SocksReply.FAILURE,
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
const TO_HTTP = [200, 502, 502, 502, 403, 504, 502];

/** REP for a code of OPENED. */
export function socksReplyOf(code: number): number {
  return TO_SOCKS[code] ?? SocksReply.FAILURE;
}

/** Code of OPENED for a REP of an upstream proxy. */
export function openedCodeOfSocks(reply: number): number {
  return FROM_SOCKS[reply] ?? OpenedCode.unreachable;
}

/** HTTP status for a code of OPENED. */
export function httpStatusOf(code: number): number {
  return TO_HTTP[code] ?? 502;
}

/** Code of OPENED for the status of an upstream proxy. */
export function openedCodeOfHttp(status: number): number {
  if (status >= 200 && status < 300) return OpenedCode.ok;
  if (status === 403 || status === 407 || status === 401) return OpenedCode.denied;
  return status === 504 || status === 408 ? OpenedCode.timedOut : OpenedCode.unreachable;
}

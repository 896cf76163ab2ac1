// How an attempt to reach a target ended, and how SOCKS5 and HTTP say so.

/** The codes of the OPENED frame. */
export const OpenCode = {
  OK: 0,
  REFUSED: 1,
  UNREACHABLE: 2,
  NAME_NOT_FOUND: 3,
  DENIED: 4,
  TIMED_OUT: 5,
  TOO_MANY: 6,
} as const;

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
  OpenCode.OK,
  OpenCode.UNREACHABLE,
  OpenCode.DENIED,
  OpenCode.UNREACHABLE,
  OpenCode.UNREACHABLE,
  OpenCode.REFUSED,
  OpenCode.TIMED_OUT,
];
const TO_HTTP = [200, 502, 502, 502, 403, 504, 502];

/** REP for a code of OPENED. */
export function socksReplyOf(code: number): number {
  return TO_SOCKS[code] ?? SocksReply.FAILURE;
}

/** Code of OPENED for a REP of an upstream proxy. */
export function openCodeOfSocks(reply: number): number {
  return FROM_SOCKS[reply] ?? OpenCode.UNREACHABLE;
}

/** HTTP status for a code of OPENED. */
export function httpStatusOf(code: number): number {
  return TO_HTTP[code] ?? 502;
}

/** Code of OPENED for the status of an upstream proxy. */
export function openCodeOfHttp(status: number): number {
  if (status >= 200 && status < 300) return OpenCode.OK;
  if (status === 403 || status === 407 || status === 401) return OpenCode.DENIED;
  return status === 504 || status === 408 ? OpenCode.TIMED_OUT : OpenCode.UNREACHABLE;
}

/**
 * Addresses as they cross the border (struct ph_addr in ffi/native/ph.h), in host byte order:
 *
 *     word  0    1    2    3    4             5
 *          +----+----+----+----+------+------+-------+
 *          | ip (16 bytes)     | port | pad  | scope |     24 bytes
 *          +----+----+----+----+------+------+-------+
 *
 * A route is two of them: the peer's, then ours. It is what the receiver tells of each datagram
 * (struct ph_udp_msg) and what the sender wants, so that hot code copies twelve words and never
 * looks inside. Deno runs on little-endian machines only, which is why the port is the low half.
 *
 * The peer's pad is the number of the carrier that the route belongs to (src/transport/carrier.ts),
 * so that equal words mean the same carrier too; the library never looks at it.
 */

import { formatIp, isIpv4Mapped } from "../src/base/ip.ts";

/** An address and port. IPv4 is IPv4-mapped (::ffff:a.b.c.d). */
export interface Endpoint {
  /** 16 bytes. */
  readonly ip: Uint8Array;
  readonly port: number;
  /** Index of the interface of a link-local address, else 0. */
  readonly scope: number;
}

export const endpointWords = 6;
export const routeWords = 2 * endpointWords;

const PORT_WORD = 4;
const CARRIER_SHIFT = 16;

/** A route in words: peer, then local. All zero as local: the kernel chooses. */
export type Route = Uint32Array<ArrayBuffer>;

/** The number of the carrier that a route belongs to. */
export function carrierOf(route: Route): number {
  return route[PORT_WORD]! >>> CARRIER_SHIFT;
}

/** Whether two routes are the same, carrier and all. */
export function isSameRoute(one: Route, other: Route): boolean {
  for (let i = 0; i < routeWords; i++) if (one[i] !== other[i]) return false;
  return true;
}

export function endpoint(ip: Uint8Array, port: number, scope = 0): Endpoint {
  if (ip.length !== 16) {
    throw new RangeError(
      `Cannot use an IP as it must have 16 bytes: current value is ${ip.length}`,
    );
  }
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`Cannot use a port as it must be 0 to 65535: current value is ${port}`);
  }
  return { ip, port, scope };
}

/** Writes an endpoint into six words. */
export function writeEndpoint(words: Uint32Array, at: number, from: Endpoint): void {
  const bytes = new Uint8Array(words.buffer, words.byteOffset + 4 * at, 16);
  bytes.set(from.ip);
  words[at + 4] = from.port;
  words[at + 5] = from.scope;
}

/** Reads six words; the ip is a copy. */
export function readEndpoint(words: Uint32Array, at: number): Endpoint {
  const ip = new Uint8Array(words.buffer, words.byteOffset + 4 * at, 16).slice();
  return { ip, port: words[at + 4]! & 0xffff, scope: words[at + 5]! };
}

/** The route to a peer by a carrier, from a local address where one is given. */
export function routeTo(peer: Endpoint, local?: Endpoint, carrier = 0): Route {
  const route = new Uint32Array(routeWords);
  writeEndpoint(route, 0, peer);
  route[PORT_WORD]! |= carrier << CARRIER_SHIFT;
  if (local !== undefined) writeEndpoint(route, endpointWords, local);
  return route;
}

/** "192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53". */
export function formatEndpoint({ ip, port, scope }: Endpoint): string {
  if (isIpv4Mapped(ip)) return `${formatIp(ip)}:${port}`;
  return `[${formatIp(ip)}${scope === 0 ? "" : `%${scope}`}]:${port}`;
}

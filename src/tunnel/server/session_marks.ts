/**
 * What a worker tells of its sessions' addresses: requests to the kernel's table, collected until
 * main fetches them. One that finds no room is counted; its entry times out in its own time.
 */

import { endpointWords, type Route, routeWords } from "../../../ffi/endpoint.ts";
import { SessionKey, SessionOp, SessionRequest } from "../../../ffi/bpf/layout.gen.ts";

/** Of one batch; 256 KiB. */
export const MARKS_MAX = 4096;

/** Of the route in hand: one whose own bytes are looked at moves out of the heap, for good. */
const words = new Uint32Array(routeWords);
const addresses = new Uint8Array(words.buffer);

const UDP = 17;
const MAPPED = 0xffff_0000;
const PORT_AT = 4;
const LOCAL_PORT_AT = 10;

export class SessionMarks {
  dropped = 0;
  readonly #port: number;
  readonly #bytes = new Uint8Array(MARKS_MAX * SessionRequest.size);
  readonly #view = new DataView(this.#bytes.buffer);
  #count = 0;

  /** `port`: that of our first socket, of which routes do not tell. */
  constructor(port: number) {
    this.#port = port;
  }

  opened(route: Route): void {
    this.#add(route, SessionOp.establish);
  }

  closed(route: Route): void {
    this.#add(route, SessionOp.close);
  }

  /** Sent by AF_XDP, which no program in the kernel sees. */
  sent(route: Route, packets: number, bytes: number): void {
    const at = this.#add(route, SessionOp.sent);
    if (at < 0) return;
    this.#view.setUint32(at + SessionRequest.offset.packets, packets, true);
    this.#view.setBigUint64(at + SessionRequest.offset.bytes, BigInt(bytes), true);
  }

  /** What has come, as requests; nothing when nothing has. */
  take(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#count === 0) return undefined;
    const taken = this.#bytes.slice(0, this.#count * SessionRequest.size);
    this.#count = 0;
    return taken;
  }

  /** Where it is, or -1. */
  #add(route: Route, op: SessionOp): number {
    if (this.#count === MARKS_MAX) {
      this.dropped++;
      return -1;
    }
    const at = this.#count++ * SessionRequest.size;
    writeKey(this.#bytes, this.#view, at, route, this.#port);
    this.#view.setUint32(at + SessionRequest.offset.op, op, true);
    this.#view.setUint32(at + SessionRequest.offset.result, 0, true);
    return at;
  }
}

/** struct ph_session_key of packets that come by this route. */
function writeKey(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  route: Route,
  port: number,
): void {
  for (let i = 0; i < routeWords; i++) words[i] = route[i]!;
  const { srcIp, dstIp, srcPort, dstPort, protocol, family } = SessionKey.offset;
  bytes.fill(0, at, at + SessionKey.size);
  bytes.set(addresses.subarray(0, 16), at + srcIp);
  bytes.set(addresses.subarray(4 * endpointWords, 4 * endpointWords + 16), at + dstIp);
  view.setUint16(at + srcPort, route[PORT_AT]! & 0xffff);
  view.setUint16(at + dstPort, route[LOCAL_PORT_AT]! === 0 ? port : route[LOCAL_PORT_AT]!);
  bytes[at + protocol] = UDP;
  const isIpv4 = route[0] === 0 && route[1] === 0 && route[2] === MAPPED;
  bytes[at + family] = isIpv4 ? 4 : 6;
}

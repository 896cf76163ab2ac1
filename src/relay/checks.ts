/**
 * Whether a backend answers: by a TCP connection, a datagram that comes back, an ICMP echo, or as
 * a server of this protocol does, by an ACCEPT to a HELLO.
 */

import { endpoint, formatEndpoint, routeTo } from "../../ffi/endpoint.ts";
import type { Native } from "../../ffi/native.ts";
import { Echo } from "../../ffi/icmp.ts";
import { NativePrimitives } from "../../ffi/primitives.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import type { Bytes, Primitives } from "../crypto/primitives.ts";
import { Tskd } from "../crypto/tskd.ts";
import { namedUser, soleUser, type User } from "../crypto/users.ts";
import { isIpv4Mapped } from "../base/ip.ts";
import { PACKET_BYTES_BASE } from "../wire/limits.ts";
import { Direction, maskHeader, unmaskHeader } from "../wire/packet.ts";
import { ClientHandshake } from "../crypto/client_handshake.ts";

export type CheckKind = "tcp" | "udp" | "icmp" | "phantom";

export interface CheckTarget {
  readonly kind: CheckKind;
  /** 16 bytes. */
  readonly ip: Uint8Array;
  readonly port: number;
  readonly timeoutMs: number;
  /** Who says HELLO; empty: whoever has the psk. */
  readonly user: string;
}

/** Who may say HELLO to a backend, and the psk that all packets are masked by. */
export interface CheckKeys {
  /** 32 bytes. */
  readonly psk: Uint8Array;
  /** Of a user. */
  readonly keyOf: (user: string) => Uint8Array;
}

const POLL_MS = 5;
const PROBE = new TextEncoder().encode("phantom-relay-check");

export class BackendChecks {
  readonly #native: Native;
  readonly #primitives: Primitives;
  readonly #tskd: Tskd;
  readonly #users = new Map<string, User>();

  /** Copies the keys of those that `users` names. */
  constructor(native: Native, keys: CheckKeys, users: Iterable<string>) {
    this.#native = native;
    this.#primitives = new NativePrimitives(native);
    this.#tskd = new Tskd(this.#primitives, keys.psk);
    for (const name of users) {
      const user = name === ""
        ? soleUser(keys.psk)
        : namedUser(this.#primitives, name, keys.keyOf(name));
      this.#users.set(name, user);
    }
  }

  /** Resolves within the time limit, to whether there was an answer. Never rejects. */
  async ask(target: CheckTarget): Promise<boolean> {
    try {
      if (target.kind === "tcp") return await askTcp(target);
      if (target.kind === "icmp") return await this.#askHost(target);
      if (target.kind === "phantom") return await this.#askServer(target);
      return await askByUdp(this.#native, target, PROBE, () => true);
    } catch {
      return false;
    }
  }

  wipe(): void {
    this.#tskd.wipe();
    for (const { key } of this.#users.values()) key.fill(0);
  }

  /**
   * An echo; and a datagram, to which there is no answer where somebody has the port. That it is
   * refused is for who watches the path to hear.
   */
  async #askHost({ ip, port, timeoutMs }: CheckTarget): Promise<boolean> {
    using echo = new Echo(this.#native, endpoint(ip, 0));
    using socket = new UdpSocket(this.#native, { local: anyOf(ip), packetInfo: false });
    send(socket, ip, port, PROBE);
    return await until(timeoutMs, () => echo.heard());
  }

  async #askServer(target: CheckTarget): Promise<boolean> {
    const tskd = this.#tskd;
    tskd.tick(Date.now());
    // Below 2^48, and not 0.
    const session = 1 + crypto.getRandomValues(new Uint32Array(1))[0]!;
    const user = this.#users.get(target.user)!;
    const handshake = new ClientHandshake(this.#primitives, tskd, user, session);
    try {
      const arena = new Uint8Array(PACKET_BYTES_BASE);
      const length = handshake.hello(Date.now(), arena, 0, arena.length);
      maskHeader(arena, 0, Direction.toServer, tskd.maskWords, 0);
      return await askByUdp(this.#native, target, arena.subarray(0, length), (packet) => {
        tskd.tick(Date.now());
        const { maskWords, maskCount } = tskd;
        const { toClient } = Direction;
        const key = unmaskHeader(packet, 0, packet.length, toClient, maskWords, maskCount);
        return key >= 0 && handshake.open(packet, 0, packet.length, tskd.maskWindows[key]!);
      });
    } finally {
      handshake.wipe();
    }
  }
}

async function askTcp({ ip, port, timeoutMs }: CheckTarget): Promise<boolean> {
  const text = formatEndpoint(endpoint(ip, port));
  const hostname = text.slice(0, text.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  const connecting = Deno.connect({ hostname, port });
  const timeout = Promise.withResolvers<undefined>();
  const timer = setTimeout(timeout.resolve, timeoutMs, undefined);
  try {
    const connection = await Promise.race([connecting, timeout.promise]);
    connection?.close();
    // One that comes too late is closed, too.
    if (connection === undefined) connecting.then((late) => late.close(), () => {});
    return connection !== undefined;
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a datagram came from there that `isAnswer` takes for one; it may change the bytes. */
async function askByUdp(
  native: Native,
  { ip, port, timeoutMs }: CheckTarget,
  packet: Bytes,
  isAnswer: (bytes: Bytes) => boolean,
): Promise<boolean> {
  using socket = new UdpSocket(native, { local: anyOf(ip), packetInfo: false });
  if (!send(socket, ip, port, packet)) return false;
  const inbox = new UdpInbox({ slots: 1 });
  return await until(timeoutMs, () => {
    const count = socket.receive(inbox);
    for (let i = 0; i < count; i++) {
      const peer = inbox.peer(i);
      const isPeer = peer.port === port && peer.ip.every((byte, at) => byte === ip[at]);
      if (isPeer && isAnswer(inbox.bytes(i).slice())) return true;
    }
    return false;
  });
}

function anyOf(ip: Uint8Array) {
  return endpoint(Uint8Array.from(ip, (byte, at) => isIpv4Mapped(ip) && at < 12 ? byte : 0), 0);
}

function send(socket: UdpSocket, ip: Uint8Array, port: number, packet: Uint8Array): boolean {
  const outbox = new UdpOutbox(Uint8Array.from(packet));
  outbox.add(routeTo(endpoint(ip, port)), 0, packet.length);
  socket.send(outbox);
  return outbox.result(0) === 0;
}

async function until(timeoutMs: number, isSo: () => boolean): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (isSo()) return true;
  }
  return false;
}

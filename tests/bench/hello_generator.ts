/**
 * Many clients in one thread: handshakes with fresh keys from many addresses of loopback, and
 * sessions that are confirmed and then idle.
 */

import { AeadBatch, AeadTable } from "../../ffi/aead.ts";
import { type Endpoint, endpoint, type Route, routeTo } from "../../ffi/endpoint.ts";
import { PacketHeaders, PacketMask, toServer } from "../../ffi/mask.ts";
import type { Native } from "../../ffi/native.ts";
import { NativePrimitives } from "../../ffi/primitives.ts";
import { udpBatchMax, UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import type { SendKeys } from "../../src/crypto/key_update.ts";
import { Tskd } from "../../src/crypto/tskd.ts";
import { soleUser } from "../../src/crypto/users.ts";
import { ClientHandshake } from "../../src/crypto/client_handshake.ts";
import { FrameType } from "../../src/wire/frames.ts";
import { DATA_OVERHEAD, HEADER_BYTES, PACKET_BYTES_BASE } from "../../src/wire/limits.ts";
import { isData, PacketKind, writeHeader } from "../../src/wire/packet.ts";

/** Less than what a server takes of one source. */
const SESSIONS_A_SOURCE = 1000;
const SLOT = 1500;
const WAIT_MS = 1000;
const BUFFER_BYTES = 8 << 20;
const PING_BYTES = 9;
const PING = Uint8Array.of(FrameType.ping, 0, 0, 0, 0, 0, 0, 0, 1);

interface Client {
  readonly handshake: ClientHandshake;
  readonly route: Route;
  accepted: boolean;
  serverSession: number;
  keys: SendKeys | undefined;
}

export interface GeneratorOptions {
  readonly psk: Uint8Array;
  readonly server: Endpoint;
  /** Answers that may be awaited at a time. */
  readonly window: number;
  /** Answer each ACCEPT with a packet, so that the session stays. */
  readonly confirms: boolean;
}

/** To be made inside the namespace of the server. */
export class HelloGenerator implements Disposable {
  accepts = 0;
  readonly #options: GeneratorOptions;
  readonly #primitives: NativePrimitives;
  readonly #tskd: Tskd;
  readonly #mask: PacketMask;
  readonly #socket: UdpSocket;
  readonly #inbox = new UdpInbox();
  readonly #headers = new PacketHeaders(this.#inbox.spanMax);
  readonly #arena = new Uint8Array(udpBatchMax * SLOT);
  readonly #outbox = new UdpOutbox(this.#arena);
  readonly #table: AeadTable;
  readonly #seal = new AeadBatch(1);
  readonly #offset = new Uint32Array(1);
  readonly #clients = new Map<number, Client>();
  #made = 0;

  constructor(native: Native, options: GeneratorOptions) {
    this.#options = options;
    this.#primitives = new NativePrimitives(native);
    this.#tskd = new Tskd(this.#primitives, options.psk);
    this.#mask = new PacketMask(native, toServer);
    this.#table = new AeadTable(native, 1 << 18);
    this.#socket = new UdpSocket(native, {
      local: endpoint(new Uint8Array(16), 0),
      receiveBufferBytes: BUFFER_BYTES,
      sendBufferBytes: BUFFER_BYTES,
    });
  }

  /** Clients with keys of their own: the dearest part, done before a measurement. */
  prepare(count: number): Client[] {
    const user = soleUser(this.#options.psk);
    return Array.from({ length: count }, () => {
      const id = ++this.#made;
      const handshake = new ClientHandshake(this.#primitives, this.#tskd, user, id);
      const route = routeTo(this.#options.server, source(Math.floor(id / SESSIONS_A_SOURCE)));
      const client = { handshake, route, accepted: false, serverSession: 0, keys: undefined };
      this.#clients.set(id, client);
      return client;
    });
  }

  /** Connects them all; the ms from the first HELLO to the last ACCEPT. */
  connect(clients: readonly Client[]): number {
    const begin = performance.now();
    const target = this.accepts + clients.length;
    let sent = 0;
    let progress = begin;
    let last = this.accepts;
    while (this.accepts < target) {
      this.#tick();
      const open = target - clients.length + sent - this.accepts;
      const room = Math.min(udpBatchMax, this.#options.window - open, clients.length - sent);
      for (let i = 0; i < room; i++) this.#addHello(clients[sent++]!);
      this.#flush();
      this.#receive();
      const now = performance.now();
      if (this.accepts > last) [last, progress] = [this.accepts, now];
      if (now - progress > WAIT_MS) {
        throw new Error(`${target - this.accepts} of ${clients.length} HELLOs got no answer`);
      }
    }
    return performance.now() - begin;
  }

  /** Sends a PING on each of these confirmed sessions; how many answer in time. */
  ping(clients: readonly Client[]): number {
    this.#answered.clear();
    for (const client of clients) {
      this.#addData(client, 1, PING);
      if (this.#outbox.isFull) this.#flush();
    }
    this.#flush();
    const end = performance.now() + WAIT_MS;
    while (performance.now() < end && this.#answered.size < clients.length) this.#receive();
    return this.#answered.size;
  }
  readonly #answered = new Set<number>();

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
    this.#table[Symbol.dispose]();
    this.#tskd.wipe();
  }

  #tick(): void {
    if (this.#tskd.tick(Date.now())) this.#mask.setKeys(this.#tskd.maskKeys, this.#tskd.maskCount);
  }

  #addHello({ handshake, route }: Client): void {
    const at = this.#outbox.count * SLOT;
    const length = handshake.hello(Date.now(), this.#arena, at, PACKET_BYTES_BASE);
    this.#outbox.add(route, at, length);
    this.#offset[0] = at;
    this.#mask.maskAt(this.#offset, 1, this.#arena);
  }

  /** A packet with one frame of PING_BYTES. */
  #addData({ route, serverSession, keys }: Client, number: number, frame: Uint8Array): void {
    const at = this.#outbox.count * SLOT;
    const text = at + HEADER_BYTES;
    this.#arena.set(frame, text);
    writeHeader(this.#arena, at, serverSession, PacketKind.data0, number);
    this.#seal.clear();
    this.#seal.add(keys!.keyId, number, at, HEADER_BYTES, text, PING_BYTES);
    this.#table.seal(this.#seal, this.#arena);
    this.#mask.maskSealed(this.#seal, this.#arena);
    this.#outbox.add(route, at, PING_BYTES + DATA_OVERHEAD);
  }

  #flush(): void {
    while (this.#outbox.count > 0) this.#outbox.drop(this.#socket.send(this.#outbox));
  }

  #receive(): void {
    const count = this.#socket.receive(this.#inbox);
    if (count === 0) return;
    this.#mask.unmask(this.#inbox, this.#headers);
    for (let i = 0; i < count; i++) {
      const kind = this.#headers.kind(i);
      const client = this.#clients.get(this.#headers.session(i));
      if (client === undefined) continue;
      if (isData(kind)) this.#answered.add(this.#headers.session(i));
      if (kind !== PacketKind.accept || client.accepted) continue;
      client.accepted = true;
      this.accepts++;
      if (this.#options.confirms) this.#confirm(client, i);
    }
    this.#flush();
  }

  #confirm(client: Client, i: number): void {
    const { arena } = this.#inbox;
    const { handshake } = client;
    const window = this.#tskd.maskWindows[this.#headers.window(i)]!;
    if (!handshake.open(arena, this.#inbox.offset(i), this.#inbox.length(i), window)) {
      throw new Error("An ACCEPT did not open");
    }
    const keys = handshake.agree(this.#table);
    if (keys === undefined) throw new Error("An ACCEPT made no keys");
    keys.receiveKeys.wipe();
    client.serverSession = handshake.accept.serverSession;
    client.keys = keys.sendKeys;
    if (this.#outbox.isFull) this.#flush();
    // Its challenge, as the answer to it: else little is sent to us.
    const { framesAt } = handshake.accept;
    const response = arena.slice(framesAt, framesAt + PING_BYTES);
    response[0] = FrameType.pathResponse;
    this.#addData(client, 0, response);
  }
}

export type { Client };

/** 127.1.0.1, 127.1.0.2 ... */
function source(index: number): Endpoint {
  const ip = new Uint8Array(16);
  ip.set([0xff, 0xff, 127, 1, index >> 8, (index & 0xff) + 1], 10);
  return endpoint(ip, 0);
}

/**
 * The relay in user space: takes over where XDP does not run, and beside it what XDP leaves over
 * (fragments, tags, neighbours not known yet). A client's flow has a socket of its own towards its
 * backend; datagrams that the kernel has joined go on joined.
 */

import { isShortOfDescriptors } from "../../ffi/descriptors.ts";
import { endpoint, endpointWords, routeTo, routeWords } from "../../ffi/endpoint.ts";
import type { Route } from "../../ffi/endpoint.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { maskKeyBytes, PacketHeaders, PacketMask, toClient } from "../../ffi/mask.ts";
import { udpBatchMax, UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { type BackendNow, type RelayPlan, type RelayServiceSpec } from "./kernel_relay.ts";
import { isIpv4Mapped } from "../base/ip.ts";
import { tableOf } from "./kernel_relay.ts";
import { clientHash, NOBODY } from "./maglev.ts";
import { type Loop, NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";
import { FlowOrder, type Ordered } from "./flow_order.ts";
import { RelayByte, type RelayCounters } from "./protocol.ts";
import { SIP_KEY_WORDS, sipHash } from "../wire/siphash.ts";

const BATCHES_A_ROUND = 4;
/** A flow that its backend has not answered ends after this. */
const UNANSWERED_MS = 10_000;
const SWEEP_MS = 1000;
const SOCKET_BYTES = 4 << 20;
const HEADER_BYTES = 16;
const STATES = ["up", "draining", "down"] as const;
const ANY_V4 = endpoint(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0), 0);
const ANY_V6 = endpoint(new Uint8Array(16), 0);

export interface ForwarderOptions {
  readonly plan: RelayPlan;
  readonly counters: RelayCounters;
  readonly flowsMax: number;
  readonly states: Uint8Array;
  /** The mask keys that packets of clients are tried under now; see PacketMask.setKeys. */
  readonly maskKeys?: () => { readonly keys: Uint8Array; readonly count: number };
}

/** A relay's ports share what decides. */
interface Service {
  readonly spec: RelayServiceSpec;
  /** The first of its backends among those of all. */
  readonly first: number;
  table: Uint16Array;
}

class Flow implements Watcher, Ordered {
  readonly listener: Listener;
  /** Client's address, and ours that it came to. */
  readonly client: Route = new Uint32Array(routeWords);
  readonly socket: UdpSocket;
  tag = 0;
  hash = 0;
  /** Index among its service's. */
  backend = 0;
  toBackend: Route = new Uint32Array(routeWords);
  seenAt = 0;
  isAnswered = false;
  before: Ordered | undefined;
  after: Ordered | undefined;
  /** The next one of the same hash. */
  next: Flow | undefined;
  readonly #forwarder: Forwarder;

  constructor(forwarder: Forwarder, listener: Listener, socket: UdpSocket) {
    this.#forwarder = forwarder;
    this.listener = listener;
    this.socket = socket;
  }

  ready(): void {
    this.#forwarder.fromBackend(this);
  }
}

class Listener implements Watcher {
  readonly socket: UdpSocket;
  readonly service: Service;
  readonly #forwarder: Forwarder;

  constructor(forwarder: Forwarder, service: Service, socket: UdpSocket) {
    this.#forwarder = forwarder;
    this.service = service;
    this.socket = socket;
  }

  ready(): void {
    this.#forwarder.fromClients(this);
  }
}

export class Forwarder implements Timer {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly #loop: Loop;
  readonly #options: ForwarderOptions;
  readonly #services: Service[];
  readonly #listeners: Listener[] = [];
  /** One for each address that is listened on. */
  readonly #byPort = new Map<number, readonly Listener[]>();
  readonly #flows = new Map<number, Flow>();
  readonly #order = new FlowOrder<Flow>();
  readonly #hash: RouteHash;
  readonly #inbox = new UdpInbox();
  readonly #outbox = new UdpOutbox(this.#inbox.arena);
  readonly #headers = new PacketHeaders(this.#inbox.spanMax);
  readonly #shown = new Uint8Array(this.#inbox.spanMax * HEADER_BYTES);
  readonly #mask: PacketMask;
  #count = 0;

  constructor(loop: Loop, options: ForwarderOptions) {
    this.#loop = loop;
    this.#options = options;
    this.#hash = new RouteHash(this.#inbox.messages);
    this.#mask = new PacketMask(loop.native, toClient);
    let first = 0;
    this.#services = options.plan.services.map((spec) => {
      first += spec.backends.length;
      return { spec, first: first - spec.backends.length, table: new Uint16Array(0) };
    });
  }

  /** Opens the sockets. */
  start(): void {
    this.#setKeys();
    this.changed();
    for (const service of this.#services) {
      const { ip = new Uint8Array(16), first, last } = service.spec;
      for (let port = first; port <= last; port++) {
        const local = endpoint(ip, port);
        const buffers = { receiveBufferBytes: SOCKET_BYTES, sendBufferBytes: SOCKET_BYTES };
        const socket = new UdpSocket(this.#loop.native, { local, ...buffers });
        const listener = new Listener(this, service, socket);
        this.#loop.watch(socket.fd, EpollEvent.in, listener);
        this.#listeners.push(listener);
        const others = this.#byPort.get(port) ?? [];
        this.#byPort.set(port, [...others, listener]);
      }
    }
    this.#loop.arm(this, this.#loop.now + SWEEP_MS);
  }

  stop(): void {
    this.#eachFlow((flow) => flow.socket.close());
    for (const { socket } of this.#listeners) socket.close();
  }

  /** The socket that listens on a port of an address, which is the first 16 bytes. */
  listenerOf(ip: Uint8Array, port: number): UdpSocket | undefined {
    let any: UdpSocket | undefined;
    for (const { socket, service } of this.#byPort.get(port) ?? NO_LISTENERS) {
      if (service.spec.ip === undefined) any = socket;
      else if (isSameIp(service.spec.ip, ip)) return socket;
    }
    return any;
  }

  /** Backends may have changed: new tables, and flows of those that are down move. */
  changed(): void {
    const { states } = this.#options;
    for (const service of this.#services) {
      const now = service.spec.backends.map((_, at): BackendNow => {
        const state = STATES[Atomics.load(states, service.first + at)] ?? "down";
        return { state, source: HAS_SOURCE };
      });
      service.table = tableOf(service.spec, now);
    }
    this.#eachFlow((flow) => {
      const { service } = flow.listener;
      const state = Atomics.load(states, service.first + flow.backend);
      if (state === RelayByte.down && this.#choose(flow)) this.#options.counters.moved++;
    });
  }

  fire(now: number): void {
    this.#setKeys();
    const { idleMs } = this.#options.plan;
    this.#endUntil(now - Math.min(idleMs, UNANSWERED_MS), () => this.#order.stranger);
    this.#endUntil(now - idleMs, () => this.#order.answered);
    this.#loop.arm(this, now + SWEEP_MS);
  }

  fromClients(listener: Listener): void {
    const inbox = this.#inbox;
    for (let batch = 0; batch < BATCHES_A_ROUND; batch++) {
      const count = listener.socket.receive(inbox);
      if (count === 0) return;
      if (listener.service.spec.phantomOnly) this.#unmask(count);
      let at: Flow | undefined;
      this.#outbox.clear();
      for (let i = 0, end = 0; i < count; i = end) {
        end = this.#runEnd(i, count, listener.service.spec.phantomOnly ?? false);
        if (end === i) {
          this.#options.counters.junk++;
          end = i + 1;
          continue;
        }
        const flow = at !== undefined && inbox.isRoute(i, at.client) ? at : this.#find(listener, i);
        if (flow === undefined) continue;
        if ((at !== undefined && flow !== at) || this.#outbox.isFull) this.#flush(at!.socket);
        at = flow;
        flow.seenAt = this.#loop.now;
        this.#order.touch(flow);
        this.#addRun(flow.toBackend, i, end);
        this.#options.counters.forwarded += end - i;
      }
      if (at !== undefined) this.#flush(at.socket);
      if (count < udpBatchMax) return;
    }
  }

  fromBackend(flow: Flow): void {
    const inbox = this.#inbox;
    for (let batch = 0; batch < BATCHES_A_ROUND; batch++) {
      const count = flow.socket.receive(inbox);
      if (count === 0) return;
      this.#outbox.clear();
      for (let i = 0, end = 0; i < count; i = end) {
        end = this.#runEnd(i, count, false);
        // Strangers may have learnt of the port.
        if (!this.#isFrom(i, flow.toBackend)) continue;
        flow.seenAt = this.#loop.now;
        this.#order.answer(flow);
        if (this.#outbox.isFull) this.#flush(flow.listener.socket);
        this.#addRun(flow.client, i, end);
        this.#options.counters.returned += end - i;
      }
      this.#flush(flow.listener.socket);
      if (count < udpBatchMax) return;
    }
  }

  /** Behind the datagrams that can go on as one, from `i` on: of one message, of one length. */
  #runEnd(i: number, count: number, checked: boolean): number {
    const inbox = this.#inbox;
    const length = inbox.length(i);
    if (checked && this.#headers.kind(i) === 0) return i;
    let end = i + 1;
    for (; end < count && inbox.message(end) === inbox.message(i); end++) {
      if (inbox.length(end - 1) !== length || inbox.length(end) > length) break;
      if (checked && this.#headers.kind(end) === 0) break;
      if (end - i === SEGMENTS_MAX) break;
    }
    return end;
  }

  #addRun(route: Route, i: number, end: number): void {
    const inbox = this.#inbox;
    const from = inbox.offset(i);
    const bytes = inbox.offset(end - 1) + inbox.length(end - 1) - from;
    this.#outbox.add(route, from, bytes, end - i > 1 ? inbox.length(i) : 0);
  }

  #flush(socket: UdpSocket): void {
    const outbox = this.#outbox;
    if (outbox.count === 0) return;
    const sent = socket.send(outbox);
    // What the kernel has no room for is lost, as on any line.
    this.#options.counters.notSent += outbox.count - sent;
    outbox.clear();
  }

  #find(listener: Listener, i: number): Flow | undefined {
    const hash = this.#hashOf(i);
    for (let flow = this.#flows.get(hash); flow !== undefined; flow = flow.next) {
      if (flow.listener === listener && this.#inbox.isRoute(i, flow.client)) return flow;
    }
    return this.#open(listener, i, hash);
  }

  #open(listener: Listener, i: number, hash: number): Flow | undefined {
    if (this.#count >= this.#options.flowsMax) this.#makeRoom();
    let socket: UdpSocket;
    try {
      const local = isIpv4Mapped(listener.service.spec.backends[0]!.ip) ? ANY_V4 : ANY_V6;
      socket = new UdpSocket(this.#loop.native, { local, packetInfo: false, isSpared: true });
    } catch (error) {
      // Where there are no descriptors strangers would write the log. The next one finds room.
      if (isShortOfDescriptors(error)) this.#makeRoom();
      else this.#loop.fault(error);
      return undefined;
    }
    const flow = new Flow(this, listener, socket);
    this.#inbox.copyRoute(i, flow.client);
    if (!this.#choose(flow)) {
      this.#options.counters.noBackend++;
      socket.close();
      return undefined;
    }
    flow.tag = this.#loop.watch(socket.fd, EpollEvent.in, flow);
    flow.next = this.#flows.get(hash);
    this.#flows.set(hash, flow);
    flow.hash = hash;
    this.#order.add(flow);
    this.#tally(1);
    this.#options.counters.newFlows++;
    return flow;
  }

  #choose(flow: Flow): boolean {
    const { spec, table } = flow.listener.service;
    const ip = new Uint8Array(flow.client.buffer, 0, 16);
    const hash = clientHash(ip, spec.byPort ? flow.client[4]! & 0xffff : undefined);
    const backend = table[hash % table.length] ?? NOBODY;
    if (backend === NOBODY) return false;
    flow.backend = backend;
    const { ip: to, port } = spec.backends[backend]!;
    flow.toBackend = routeTo(endpoint(to, port));
    return true;
  }

  #end(flow: Flow): void {
    const { hash } = flow;
    this.#order.remove(flow);
    const head = this.#flows.get(hash);
    if (head === flow) {
      if (flow.next === undefined) this.#flows.delete(hash);
      else this.#flows.set(hash, flow.next);
    } else {
      let before = head;
      while (before !== undefined && before.next !== flow) before = before.next;
      if (before !== undefined) before.next = flow.next;
    }
    this.#loop.unwatch(flow.tag, flow.socket.fd);
    flow.socket.close();
    this.#tally(-1);
  }

  #eachFlow(visit: (flow: Flow) => void): void {
    for (const head of [...this.#flows.values()]) {
      for (let flow: Flow | undefined = head; flow !== undefined;) {
        const next: Flow | undefined = flow.next;
        visit(flow);
        flow = next;
      }
    }
  }

  #hashOf(i: number): number {
    return this.#hash.of(this.#inbox.message(i) * routeWords);
  }

  /** Whoever comes is let in; who makes room for them is counted. */
  #makeRoom(): void {
    const flow = this.#order.next;
    if (flow === undefined) return;
    this.#options.counters.evicted++;
    this.#end(flow);
  }

  /** Ends flows in the order in which they were heard of, as long as that is long enough ago. */
  #endUntil(time: number, next: () => Flow | undefined): void {
    for (let flow = next(); flow !== undefined && flow.seenAt < time; flow = next()) {
      this.#end(flow);
    }
  }

  #isFrom(i: number, route: Route): boolean {
    const { messages } = this.#inbox;
    const from = this.#inbox.message(i) * routeWords;
    for (let word = 0; word < endpointWords - 1; word++) {
      if (messages[from + word] !== route[word]) return false;
    }
    return true;
  }

  /** Finds out which packets are none of this protocol; leaves their bytes as they were. */
  #unmask(count: number): void {
    const inbox = this.#inbox;
    const { arena } = inbox;
    for (let i = 0; i < count; i++) {
      const from = inbox.offset(i);
      this.#shown.set(arena.subarray(from, from + HEADER_BYTES), i * HEADER_BYTES);
    }
    this.#mask.unmask(inbox, this.#headers);
    for (let i = 0; i < count; i++) {
      if (this.#headers.kind(i) === 0) continue;
      const header = this.#shown.subarray(i * HEADER_BYTES, (i + 1) * HEADER_BYTES);
      arena.set(header, inbox.offset(i));
    }
  }

  #setKeys(): void {
    const windows = this.#options.maskKeys?.();
    if (windows === undefined) return;
    this.#mask.setKeys(windows.keys.subarray(0, windows.count * maskKeyBytes), windows.count);
  }

  #tally(by: number): void {
    this.#count += by;
    this.#options.counters.flows = this.#count;
  }
}

const NO_LISTENERS: readonly Listener[] = [];

function isSameIp(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Of what one sendmsg can cut. */
const SEGMENTS_MAX = 64;
const HAS_SOURCE = new Uint8Array(16);

/** Hashes routes under a key of its own: nobody can choose addresses that fall into one row. */
class RouteHash {
  readonly #bytes: Uint8Array;
  readonly #key = crypto.getRandomValues(new Uint32Array(SIP_KEY_WORDS));
  readonly #out = new Uint32Array(2);

  constructor(words: Uint32Array) {
    this.#bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  }

  /** Of the route that begins at this word. */
  of(word: number): number {
    sipHash(this.#key, 0, this.#bytes, 4 * word, 4 * routeWords, this.#out);
    return this.#out[0]!;
  }
}

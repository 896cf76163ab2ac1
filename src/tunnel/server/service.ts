/**
 * A server's data-plane worker: the loop, the tunnel, and what the tunnel's streams and datagrams
 * lead to; told things by main through the ring, and counting where main can see it.
 */

import { EpollEvent, EventFd } from "../../../ffi/loop.ts";
import type { Libraries } from "../../../ffi/libraries.ts";
import { messageOf } from "../../base/errors.ts";
import { Log } from "../../base/log.ts";
import { RingReader } from "../../base/ring.ts";
import type { UserAccount } from "../../proxy/users.ts";
import type { Session } from "../../session/session.ts";
import { Inbox } from "../../loop/inbox.ts";
import { Loop, NOT_ARMED, textOfError, type Timer, type Watcher } from "../../loop/loop.ts";
import type { UdpCarrier } from "../../transport/udp.ts";
import { countPump } from "../count_pump.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Guest } from "./guest.ts";
import { Resolver } from "../../loop/resolver.ts";
import { routesOf } from "../../outbound/routes.ts";
import type { Routing } from "../../outbound/routing.ts";
import { Targets } from "../exit/targets.ts";
import type { ServerCounters } from "./tunnel.ts";
import { TooLongNotice } from "../exit/too_long_notice.ts";
import type { TunnelEvents } from "../tunnel.ts";
import { TargetAssociations } from "../exit/associations.ts";
import {
  type ServerStart,
  SharedWord,
  type ToWorker,
  type UserSpec,
  type UserText,
  type WorkerMessage,
} from "../protocol.ts";
import { XskDelivery } from "../../transport/xsk.ts";
import type { XskSpec } from "../../transport/xsk_spec.ts";

/** How often counters are told, in ms. */
const COUNT_MS = 250;

/** What carries the sessions; ServerTunnel. */
export interface Tunnel {
  readonly port: number;
  readonly features?: number;
  /** What AF_XDP may feed. */
  readonly udp?: UdpCarrier;
  readonly pump?: PacketPump<Guest>;
  readonly counters?: ServerCounters;
  /** HELLOs that were said before. */
  readonly replays?: number;
  /** The descriptor that packets come by. */
  readonly socket?: number;
  start(): void;
  /** Closes the sessions with a word to the peers, and the sockets. */
  stop(): void;
  wake(session: Session): void;
  setUsers?(users: readonly UserSpec[]): void;
  accountOf?(user: string): UserAccount | undefined;
  /** What main is to tell the kernel's table of sessions (session_marks.ts). */
  takeMarks?(): Uint8Array | undefined;
  /** What the next start has to know of HELLOs. After `stop`. */
  saveReplayRecord?(): Uint8Array;
}

export type MakeTunnel = (
  loop: Loop,
  start: ServerStart,
  libs: Libraries,
  events: TunnelEvents,
) => Tunnel;

export type Post = (message: WorkerMessage) => void;

export class TunnelService implements Watcher, Timer {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly loop: Loop;
  readonly targets: Targets;
  readonly relay: TargetAssociations;
  readonly resolver: Resolver;
  readonly tunnel: Tunnel;
  readonly #start: ServerStart;
  readonly #post: Post;
  readonly #log: Log;
  readonly #words: BigInt64Array;
  readonly #inbox: Inbox;
  readonly #wake: EventFd;
  // What has been told.
  #streams = 0;
  #refusals = 0;
  #faults = 0;
  readonly #tooLong = new TooLongNotice();
  #delivery: XskDelivery | undefined;

  constructor(libs: Libraries, start: ServerStart, post: Post, makeTunnel: MakeTunnel) {
    this.#start = start;
    this.#post = post;
    this.#log = new Log((record) => post({ kind: "log", record }), "tunnel");
    this.#words = new BigInt64Array(start.shared);
    this.#inbox = new Inbox(new RingReader(start.inbox));
    const routes = routesOf(start);
    this.loop = new Loop(libs.native, (error) => {
      this.#log.error("fault", textOfError(error));
    });
    this.resolver = new Resolver(this.loop, {
      ask: (id, name) => post({ kind: "resolve", id, name }),
    });
    const waker = { wake: (session: Session) => this.tunnel.wake(session) };
    const accountOf = (user: string) => this.tunnel.accountOf?.(user);
    const options = { ...routes, waker, resolver: this.resolver, accountOf };
    this.targets = new Targets(this.loop, options);
    this.relay = new TargetAssociations(this.loop, options);
    const events = new Events(this.targets, this.relay);
    this.tunnel = makeTunnel(this.loop, start, libs, events);
    this.#wake = new EventFd(libs.native, start.wakeFd);
  }

  /** Until main says stop. */
  run(): void {
    try {
      this.open();
      this.loop.run();
    } finally {
      this.close();
    }
  }

  /** Opens the sockets and says so; from then on the loop serves. */
  open(): void {
    this.loop.watch(this.#wake.fd, EpollEvent.in, this);
    this.tunnel.start();
    const { port, features = 0, socket } = this.tunnel;
    const sockets = socket === undefined ? {} : { socket };
    this.#post({ kind: "ready", ports: [port], features, ...sockets });
    this.loop.arm(this, this.loop.now + COUNT_MS);
    // What was said before the descriptor was watched.
    this.ready();
  }

  /** Wipes the keys it was given, and lets go of the loop. */
  close(): void {
    this.#wipe();
    this.loop.close();
  }

  /** Main has rung. */
  ready(): void {
    this.#wake.drain();
    while (this.#hear());
    if (Atomics.load(this.#words, SharedWord.stop) !== 0n) this.#stop();
  }

  fire(now: number): void {
    this.#count();
    this.loop.arm(this, now + COUNT_MS);
  }

  #stop(): void {
    if (this.loop.isStopping) return;
    this.loop.isStopping = true;
    this.tunnel.stop();
    this.#delivery?.close();
    // Of several workers each knows a part only, and their next start another one.
    const record = this.#start.workers === 1 ? this.tunnel.saveReplayRecord?.() : undefined;
    if (record !== undefined) this.#post({ kind: "replay", record });
    this.targets.stop();
    this.relay.stop();
    this.#count();
  }

  /** Takes one message; whether there was one. */
  #hear(): boolean {
    try {
      const message = this.#inbox.read();
      if (message === undefined) return false;
      this.#heard(message);
    } catch (error) {
      const reason = messageOf(error);
      this.#log.error("message_ignored", "a message from main is ignored", { cause: reason });
    }
    return true;
  }

  #heard(message: ToWorker): void {
    if (message.kind === "resolved") this.resolver.answered(message);
    else if (message.kind === "rules") this.#setRoutes(message);
    else if (message.kind === "users") this.#setUsers(message.users);
    else if (message.kind === "delivery") this.#setDelivery(message.xsk);
  }

  #setDelivery(xsk: XskSpec | undefined): void {
    const { udp } = this.tunnel;
    if (udp === undefined || this.loop.isStopping) return;
    this.#delivery ??= new XskDelivery(
      this.loop,
      udp,
      this.#log.with({ component: "delivery" }),
    );
    this.#delivery.set(xsk);
  }

  #setRoutes(routing: Routing): void {
    const routes = routesOf(routing);
    this.targets.setRoutes(routes);
    this.relay.setRoutes(routes);
  }

  #setUsers(texts: readonly UserText[]): void {
    const users = texts.map(({ key, ...user }) => ({ ...user, key: hexBytes(key) }));
    this.tunnel.setUsers?.(users);
    for (const { key } of users) key.fill(0);
  }

  #count(): void {
    const marks = this.tunnel.takeMarks?.();
    if (marks !== undefined) this.#post({ kind: "marks", marks });
    const { targets, relay, tunnel: { pump, counters, replays = 0 } } = this;
    if (pump !== undefined && counters !== undefined) {
      countPump(this.#words, pump);
      this.#words[SharedWord.handshakes] = BigInt(counters.handshakes);
      this.#words[SharedWord.refusals] = BigInt(counters.refusals);
      this.#words[SharedWord.replays] = BigInt(replays);
    }
    this.#streams = this.#told(SharedWord.streams, this.#streams, targets.count);
    const refusals = targets.counters.refused + relay.counters.refused + relay.counters.tooMany;
    this.#refusals = this.#told(SharedWord.targetRefusals, this.#refusals, refusals);
    const faults = targets.counters.faults + targets.splicer.counters.faults +
      relay.counters.faults + this.resolver.counters.faults;
    if (faults > this.#faults) {
      const count = faults - this.#faults;
      this.#log.error("fault", "connections ended by a fault of this program", { count });
    }
    this.#faults = faults;
    const text = this.#tooLong.text(this.loop.now, relay.counters.tooLong);
    if (text !== undefined) this.#log.warn("datagram_too_long", text);
    if (this.#delivery === undefined) return;
    Atomics.store(this.#words, SharedWord.xskReceived, BigInt(this.#delivery.received));
    Atomics.store(this.#words, SharedWord.xskSent, BigInt(this.#delivery.sent));
  }

  #told(word: number, before: number, now: number): number {
    if (now !== before) Atomics.store(this.#words, word, BigInt(now));
    return now;
  }

  #wipe(): void {
    const { psk, serverSecret, users } = this.#start;
    psk.fill(0);
    serverSecret.fill(0);
    for (const { key } of users) key.fill(0);
  }
}

/** Passes on what sessions tell: streams to the targets, datagrams to the relay. */
class Events implements TunnelEvents {
  readonly #targets: Targets;
  readonly #relay: TargetAssociations;

  constructor(targets: Targets, relay: TargetAssociations) {
    this.#targets = targets;
    this.#relay = relay;
  }

  sessionOpened(session: Session, user: string): void {
    this.#targets.sessionOpened(session, user);
    this.#relay.sessionOpened(session, user);
  }

  closed(session: Session): void {
    this.#targets.closed(session);
    this.#relay.closed(session);
  }

  opened(session: Session, id: number, bytes: Uint8Array, at: number, length: number): void {
    this.#targets.opened(session, id, bytes, at, length);
  }

  data(session: Session, id: number, bytes: Uint8Array, at: number, length: number): number {
    return this.#targets.data(session, id, bytes, at, length);
  }

  ended(session: Session, id: number): void {
    this.#targets.ended(session, id);
  }

  wasReset(session: Session, id: number): void {
    this.#targets.wasReset(session, id);
  }

  writable(session: Session, id: number): void {
    this.#targets.writable(session, id);
  }

  gone(session: Session, id: number): void {
    this.#targets.gone(session, id);
  }

  datagram(
    session: Session,
    assoc: number,
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void {
    this.#relay.datagram(session, assoc, bytes, addressAt, addressLength, at, length);
  }

  assocEnded(session: Session, assoc: number): void {
    this.#relay.assocEnded(session, assoc);
  }

  // A server opens no streams, and pings nobody.
  answered(): void {}
  pong(): void {}
  pathProven(): void {}
}

function hexBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/**
 * A server's data-plane worker: the loop, the tunnel, and what the tunnel's streams and datagrams
 * lead to; told things by main through the ring, and counting where main can see it.
 */

import { EpollEvent, EventFd } from "../../ffi/loop.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { RingReader } from "../base/ring.ts";
import { compileRules, type Rules } from "../proxy/rules.ts";
import type { Session } from "../session/session.ts";
import { Loop, NOT_ARMED, textOfError, type Timer, type Watcher } from "./loop.ts";
import { Resolver } from "./resolver.ts";
import { Targets } from "./targets.ts";
import type { TunnelEvents } from "./tunnel.ts";
import { UdpRelay } from "./udp_relay.ts";
import type { RuleText, ServerStart, ToWorker, WorkerMessage } from "./worker_protocol.ts";
import { SharedWord } from "./worker_protocol.ts";

/** How often counters are told, in ms. */
const COUNT_MS = 500;

/** What carries the sessions; ServerTunnel. */
export interface Tunnel {
  readonly port: number;
  readonly features?: number;
  start(): void;
  /** Closes the sessions with a word to the peers, and the sockets. */
  stop(): void;
  wake(session: Session): void;
}

export type MakeTunnel = (
  loop: Loop,
  start: ServerStart,
  libs: Libraries,
  events: TunnelEvents,
  words: BigInt64Array,
) => Tunnel;

export type Post = (message: WorkerMessage) => void;

export class ServerWorker implements Watcher, Timer {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly loop: Loop;
  readonly targets: Targets;
  readonly relay: UdpRelay;
  readonly resolver: Resolver;
  readonly tunnel: Tunnel;
  readonly #start: ServerStart;
  readonly #post: Post;
  readonly #words: BigInt64Array;
  readonly #inbox: RingReader;
  readonly #wake: EventFd;
  // What has been told.
  #streams = 0;
  #refusals = 0;
  #faults = 0;

  constructor(libs: Libraries, start: ServerStart, post: Post, makeTunnel: MakeTunnel) {
    this.#start = start;
    this.#post = post;
    this.#words = new BigInt64Array(start.shared);
    this.#inbox = new RingReader(start.inbox);
    const rules = compiled(start.rules);
    this.loop = new Loop(libs.native, (error) => {
      post({ kind: "log", level: "error", text: `in the data plane: ${textOfError(error)}` });
    });
    this.resolver = new Resolver(this.loop, {
      ask: (id, name) => post({ kind: "resolve", id, name }),
    });
    const waker = { wake: (session: Session) => this.tunnel.wake(session) };
    const options = { rules, waker, resolver: this.resolver };
    this.targets = new Targets(this.loop, options);
    this.relay = new UdpRelay(this.loop, options);
    const events = new Events(this.targets, this.relay);
    this.tunnel = makeTunnel(this.loop, start, libs, events, this.#words);
    this.#wake = new EventFd(libs.native, start.wakeFd);
  }

  /** Until main says stop. */
  run(): void {
    try {
      this.loop.watch(this.#wake.fd, EpollEvent.in, this);
      this.tunnel.start();
      const { port, features = 0 } = this.tunnel;
      this.#post({ kind: "ready", ports: [port], features });
      this.loop.arm(this, this.loop.now + COUNT_MS);
      // What was said before the descriptor was watched.
      this.ready();
      this.loop.run();
    } finally {
      this.#wipe();
      this.loop.close();
    }
  }

  /** Main has rung. */
  ready(): void {
    this.#wake.drain();
    for (;;) {
      const message = this.#inbox.read();
      if (message === undefined) break;
      this.#heard(message);
    }
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
    this.targets.stop();
    this.relay.stop();
    this.#count();
  }

  #heard(bytes: Uint8Array<ArrayBuffer>): void {
    try {
      const message: ToWorker = JSON.parse(new TextDecoder().decode(bytes));
      if (message.kind === "resolved") this.resolver.answered(message);
      else if (message.kind === "rules") this.#setRules(compiled(message.rules));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#post({ kind: "log", level: "error", text: `a message from main was left: ${reason}` });
    }
  }

  #setRules(rules: Rules): void {
    this.targets.setRules(rules);
    this.relay.setRules(rules);
  }

  #count(): void {
    const { targets, relay } = this;
    this.#streams = this.#told(SharedWord.streams, this.#streams, targets.count);
    const refusals = targets.counters.refused + relay.counters.refused + relay.counters.tooMany;
    this.#refusals = this.#told(SharedWord.targetRefusals, this.#refusals, refusals);
    const faults = targets.counters.faults + targets.splicer.counters.faults +
      relay.counters.faults + this.resolver.counters.faults;
    if (faults > this.#faults) {
      const text = `${faults - this.#faults} connections ended by a fault of this program`;
      this.#post({ kind: "log", level: "error", text });
    }
    this.#faults = faults;
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
  readonly #relay: UdpRelay;

  constructor(targets: Targets, relay: UdpRelay) {
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

function compiled(rules: readonly RuleText[]): Rules {
  const result = compileRules({ rules });
  if ("rules" in result) return result.rules;
  const [first] = result.problems;
  const where = first === undefined ? "rules" : `rules[${first.rule}].${first.place}`;
  throw new Error(`Cannot use the rules as ${where} ${first?.text ?? "is wrong"}`);
}

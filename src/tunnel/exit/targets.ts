/**
 * The server's end of streams: for each that a client opens, the rules, the name's addresses, the
 * connection to the first that answers, and then bytes both ways (see splice.ts).
 *
 *     opened → resolving → dialling → open → gone
 *                 └──────────┴→ answered with a code
 *
 * Data that comes before the connection stands stays in the session, within its window.
 */

import type { Endpoint } from "../../../ffi/endpoint.ts";
import type { TcpSocket } from "../../../ffi/tcp.ts";
import { BENCH_HOST, type BenchLimits } from "../../proxy/bench.ts";
import { OpenedCode } from "../../wire/frames.ts";
import { type CheckedTarget, DIRECT, type Pending, type Rules } from "../../proxy/rules.ts";
import type { UserAccount } from "../../proxy/users.ts";
import { Target } from "../../proxy/target.ts";
import { BAD_ADDRESS, NO_ADDRESS, writeIpAddress } from "../../wire/address.ts";
import { RstCode } from "../../wire/frames.ts";
import { type BenchOwner, BenchTargets } from "./bench_target.ts";
import { Dial, type DialEvents, type DialOptions, endpointOf } from "../../outbound/dial.ts";
import type { Loop } from "../../loop/loop.ts";
import type { NameWaiter, Resolution, Resolver } from "../../loop/resolver.ts";
import type { Origin, Routes } from "../../outbound/routes.ts";
import {
  Splice,
  type SpliceOwner,
  Splicer,
  type StreamSession,
  type Waker,
} from "../../outbound/splice.ts";

/** Connections of one worker, and of one session; further ones are answered "too many". */
export const CONNECTIONS_MAX = 65_536;
export const SESSION_CONNECTIONS_MAX = 16_384;

const ADDRESS_BYTES_MAX = 19;

export interface TargetsOptions extends Routes {
  readonly waker: Waker<StreamSession>;
  readonly resolver: Pick<Resolver, "resolve" | "forget">;
  /** A user's account, whose limits hold. */
  readonly accountOf?: (user: string) => UserAccount | undefined;
  readonly unixMs?: () => number;
  readonly connectionsMax?: number;
  readonly sessionConnectionsMax?: number;
  readonly benchLimits?: BenchLimits;
}

/** Counted since the start. */
export class TargetCounters {
  opened = 0;
  connected = 0;
  /** By OpenedCode. */
  readonly failed: number[] = new Array(7).fill(0);
  tooMany = 0;
  /** Of users who have as many as they may. */
  overLimit = 0;
  /** Exceptions that ended one stream: none is expected. */
  faults = 0;

  get refused(): number {
    return this.failed[OpenedCode.denied]! + this.tooMany + this.overLimit;
  }
}

/** Of a session that has had no stream yet; never added to. */
const NO_STREAMS = new Map<number, TargetStream>();

/** What one session has open. */
class SessionStreams {
  readonly user: string;
  readonly account: UserAccount | undefined;
  streams = NO_STREAMS;

  constructor(user: string, account: UserAccount | undefined) {
    this.user = user;
    this.account = account;
  }
}

export class Targets {
  readonly counters: TargetCounters = new TargetCounters();
  readonly splicer: Splicer;
  readonly bench: BenchTargets;
  readonly loop: Loop;
  readonly options: TargetsOptions;
  #routes: Routes;
  readonly #sessions = new Map<StreamSession, SessionStreams>();
  #count = 0;
  readonly #target = new Target();
  // The last that was asked for: packets of one session, and of one stream, come in a row.
  #lastSession: StreamSession | undefined;
  #lastStreams: SessionStreams | undefined;
  #lastStream: TargetStream | undefined;

  constructor(loop: Loop, options: TargetsOptions) {
    this.loop = loop;
    this.options = options;
    this.#routes = options;
    this.splicer = new Splicer(loop, options.waker);
    this.bench = new BenchTargets(loop, options.waker, options.benchLimits);
  }

  /** Streams that are not over. */
  get count(): number {
    return this.#count;
  }

  get routes(): Routes {
    return this.#routes;
  }

  /** For streams opened from now on. */
  setRoutes(routes: Routes): void {
    this.#routes = routes;
  }

  setRules(rules: Rules): void {
    this.#routes = { ...this.#routes, rules };
  }

  // ---- what the tunnel tells ----

  sessionOpened(session: StreamSession, user: string): void {
    this.#sessions.set(session, new SessionStreams(user, this.options.accountOf?.(user)));
  }

  opened(
    session: StreamSession,
    id: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    this.counters.opened++;
    const streams = this.#streamsOf(session);
    const {
      connectionsMax = CONNECTIONS_MAX,
      sessionConnectionsMax = SESSION_CONNECTIONS_MAX,
    } = this.options;
    if (
      streams === undefined || this.#count >= connectionsMax ||
      streams.streams.size >= sessionConnectionsMax
    ) {
      this.counters.tooMany++;
      return this.refuse(session, id, OpenedCode.tooManyStreams);
    }
    const target = this.#target;
    const size = target.readSocks(bytes, at, length);
    if (size <= 0) {
      const code = size === BAD_ADDRESS ? OpenedCode.nameNotFound : OpenedCode.unreachable;
      return this.refuse(session, id, code);
    }
    const admission = streams.account?.open(this.#unixMs()) ?? "ok";
    if (admission !== "ok") {
      if (admission !== "too-many-connections") return this.refuse(session, id, OpenedCode.denied);
      this.counters.overLimit++;
      return this.refuse(session, id, OpenedCode.tooManyStreams);
    }
    const stream = new TargetStream(this, session, id, target.name);
    if (streams.streams === NO_STREAMS) streams.streams = new Map();
    streams.streams.set(id, stream);
    this.#count++;
    stream.begin(this.#routes.rules.decideBeforeResolution(streams.user, "tcp", target), target);
  }

  data(
    session: StreamSession,
    id: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): number {
    const carrier = this.#streamOf(session, id)?.carrier;
    if (carrier === undefined) return 0;
    // Packets and buffers of this worker are never shared memory.
    return carrier.data(bytes as Uint8Array<ArrayBuffer>, at, length);
  }

  ended(session: StreamSession, id: number): void {
    this.#streamOf(session, id)?.end();
  }

  wasReset(session: StreamSession, id: number): void {
    this.#streamOf(session, id)?.abort();
  }

  writable(session: StreamSession, id: number): void {
    this.#streamOf(session, id)?.carrier?.writable();
  }

  gone(session: StreamSession, id: number): void {
    this.#streamOf(session, id)?.abort();
  }

  closed(session: StreamSession): void {
    const streams = this.#sessions.get(session);
    if (streams === undefined) return;
    for (const stream of [...streams.streams.values()]) stream.abort();
    this.#sessions.delete(session);
    this.#lastSession = this.#lastStreams = this.#lastStream = undefined;
  }

  /** Ends everything, with RST to the targets. */
  stop(): void {
    for (const session of [...this.#sessions.keys()]) this.closed(session);
  }

  // ---- what its streams ask ----

  refuse(session: StreamSession, id: number, code: number): void {
    this.counters.failed[code]!++;
    session.answer(id, code, NO_ADDRESS);
    this.options.waker.wake(session);
  }

  remove(session: StreamSession, id: number): void {
    const streams = this.#sessions.get(session);
    if (streams?.streams.delete(id) !== true) return;
    streams.account?.close();
    this.#count--;
    this.#lastStream = undefined;
  }

  #unixMs(): number {
    return (this.options.unixMs ?? Date.now)();
  }

  #streamsOf(session: StreamSession): SessionStreams | undefined {
    if (session === this.#lastSession) return this.#lastStreams;
    this.#lastStreams = this.#sessions.get(session);
    this.#lastSession = this.#lastStreams === undefined ? undefined : session;
    this.#lastStream = undefined;
    return this.#lastStreams;
  }

  #streamOf(session: StreamSession, id: number): TargetStream | undefined {
    const streams = this.#streamsOf(session);
    const last = this.#lastStream;
    if (last !== undefined && last.id === id) return last;
    return this.#lastStream = streams?.streams.get(id);
  }
}

/** Where the bytes of a stream go: a connection's splice, or what the server itself serves. */
type Carrier = Pick<Splice, "data" | "end" | "abort" | "writable">;

/** One stream, from OPEN to its end. */
class TargetStream implements NameWaiter, DialEvents, SpliceOwner, BenchOwner {
  readonly id: number;
  carrier: Carrier | undefined;
  readonly #targets: Targets;
  readonly #session: StreamSession;
  readonly #name: string;
  /** Those of when it was opened: outbounds are numbered by them. */
  readonly #routes: Routes;
  #pending: Pending | undefined;
  #dial: Dial | undefined;
  #isResolving = false;
  /** The client had nothing more to say before the connection stood. */
  #endedEarly = false;
  #isOver = false;

  constructor(targets: Targets, session: StreamSession, id: number, name: string) {
    this.#targets = targets;
    this.#session = session;
    this.id = id;
    this.#name = name;
    this.#routes = targets.routes;
  }

  begin(pending: Pending, target: Target): void {
    try {
      this.#begin(pending, target);
    } catch {
      this.#fault();
    }
  }

  #begin(pending: Pending, target: Target): void {
    this.#pending = pending;
    if (this.#name === BENCH_HOST) return this.#measure(target.port);
    if (pending.step === "reject") return this.failed(OpenedCode.denied);
    if (pending.step === "hand-over") return this.#dialUpstream(pending.outbound, target);
    if (!target.isDomain) return this.#choose([target.ip.slice()]);
    const resolution = this.#targets.options.resolver.resolve(this.#name, this);
    if (resolution !== undefined) return this.#take(resolution);
    this.#isResolving = true;
  }

  /** The server itself is the target: for whoever is let in, whatever the rules say of others. */
  #measure(port: number): void {
    const { bench, options } = this.#targets;
    if (this.#routes.bench === false) return this.failed(OpenedCode.denied);
    if (!BenchTargets.isPort(port)) return this.failed(OpenedCode.refused);
    this.carrier = bench.open(this, this.#session, this.id, port);
    if (this.carrier === undefined) return this.failed(OpenedCode.tooManyStreams);
    this.#session.answer(this.id, OpenedCode.ok, NO_ADDRESS);
    this.#session.resume(this.id);
    options.waker.wake(this.#session);
  }

  benchClosed(): void {
    this.#remove();
    this.carrier = undefined;
  }

  resolved(resolution: Resolution): void {
    this.#isResolving = false;
    if (this.#isOver) return;
    try {
      this.#take(resolution);
    } catch {
      this.#fault();
    }
  }

  #take({ addresses, error }: Resolution): void {
    if (error === undefined) return this.#choose(addresses);
    if (error === "timed-out") this.failed(OpenedCode.timedOut);
    else if (error === "busy") this.failed(OpenedCode.tooManyStreams);
    else this.failed(error === "failed" ? OpenedCode.unreachable : OpenedCode.nameNotFound);
  }

  /** Judges the addresses: from here on only what the rules copied is used. */
  #choose(addresses: readonly Uint8Array[]): void {
    const { allowed } = this.#pending!.decideAfterResolution(addresses);
    const [first] = allowed;
    if (first === undefined) return this.failed(OpenedCode.denied);
    const same = allowed.filter(({ outbound }) => outbound === first.outbound);
    if (first.outbound === DIRECT) return this.#dialDirect(same.map(endpointOf), {});
    const origin = this.#routes.origins?.get(this.#nameOf(first.outbound));
    if (origin !== undefined) return this.#dialDirect(same.map(endpointOf), origin);
    const best = this.#preferred(same);
    if (best === undefined) return this.failed(OpenedCode.unreachable);
    this.#dialUpstream(best.outbound, targetOf(best));
  }

  /** The one address that an upstream is told. */
  #preferred(allowed: readonly CheckedTarget[]): CheckedTarget | undefined {
    const { preferred, only = false } = this.#routes.dial ?? {};
    if (preferred === undefined) return allowed[0];
    const best = allowed.find(({ isIpv4 }) => isIpv4 === (preferred === 4));
    return best ?? (only ? undefined : allowed[0]);
  }

  #nameOf(outbound: number): string {
    return this.#routes.rules.outbounds[outbound]?.name ?? "";
  }

  #dialDirect(addresses: readonly Endpoint[], origin: Origin): void {
    this.#dial = new Dial(this.#targets.loop, addresses, this, { ...this.#routes.dial, ...origin });
    this.#dial.start();
  }

  #dialUpstream(outbound: number, target: Target): void {
    const upstream = this.#routes.upstreams?.get(this.#nameOf(outbound));
    if (upstream === undefined) return this.failed(OpenedCode.denied);
    if (upstream.peers.length === 0) return this.failed(OpenedCode.unreachable);
    // What is said of targets does not hold here: the upstream may be on another network.
    const { sources: _, device: __, preferred: ___, only: ____, ...dial } = this.#dialOptions;
    const options = { ...dial, ...upstream.origin };
    this.#dial = new Dial(this.#targets.loop, upstream.peers, this, options)
      .through(upstream, target);
    this.#dial.start();
  }

  get #dialOptions(): DialOptions {
    return this.#routes.dial ?? {};
  }

  connected(socket: TcpSocket, early: Uint8Array<ArrayBuffer>): void {
    this.#dial = undefined;
    const { splicer, counters, options } = this.#targets;
    try {
      const splice = new Splice(splicer, this, this.#session, this.id, socket, early);
      this.carrier = splice;
      this.#session.answer(this.id, OpenedCode.ok, boundAddress(socket));
      splice.start();
      counters.connected++;
      this.#session.resume(this.id);
      if (this.#endedEarly) this.carrier?.end();
      options.waker.wake(this.#session);
    } catch {
      if (this.carrier === undefined) socket.abort();
      this.#fault();
    }
  }

  failed(code: number): void {
    if (this.#isOver) return;
    this.#dial = undefined;
    this.#remove();
    this.#targets.refuse(this.#session, this.id, code);
  }

  end(): void {
    if (this.carrier === undefined) this.#endedEarly = true;
    else this.carrier.end();
  }

  /** The client, or its session, has gone. */
  abort(): void {
    if (this.#isOver) return;
    this.#remove();
    this.carrier?.abort();
    this.#dial?.abort();
    this.carrier = this.#dial = undefined;
  }

  spliceClosed(): void {
    this.#remove();
    this.carrier = undefined;
  }

  #remove(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#isResolving) this.#targets.options.resolver.forget(this.#name, this);
    this.#targets.remove(this.#session, this.id);
  }

  #fault(): void {
    this.#targets.counters.faults++;
    this.abort();
    this.#session.reset(this.id, RstCode.internal);
    this.#targets.options.waker.wake(this.#session);
  }
}

/** The address a connection has here, as OPENED tells it. */
function boundAddress(socket: TcpSocket): Uint8Array {
  const { ip, port } = socket.local();
  const bytes = new Uint8Array(ADDRESS_BYTES_MAX);
  return bytes.subarray(0, writeIpAddress(bytes, 0, bytes.length, ip, 0, port));
}

function targetOf(checked: CheckedTarget): Target {
  const target = new Target();
  const { ip, port } = endpointOf(checked);
  target.setIp(ip, 0, port);
  return target;
}

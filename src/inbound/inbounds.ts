/**
 * The client's side of the tunnel: local listeners and forwards, and what the session's events
 * mean for their connections.
 */

import { formatEndpoint } from "../../ffi/endpoint.ts";
import { TcpListener, type TcpSocket } from "../../ffi/tcp.ts";
import { SysError } from "../../ffi/errors.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { Credentials } from "../proxy/credentials.ts";
import { Target } from "../proxy/target.ts";
import type { Session, SessionEvents } from "../session/session.ts";
import { CloseCode } from "../wire/frames.ts";
import { Connect } from "./connect.ts";
import { InboundContext } from "./context.ts";
import type { InboundCounters, InboundTunnel } from "./counters.ts";
import { addressOf, Greeting, type GreetingOptions } from "./greeting.ts";
import { LocalConnection } from "./local_connection.ts";
import { UdpForward } from "./udp_forward.ts";
import { type Loop, NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";
import type { InboundSpec } from "./spec.ts";

/** How long nothing is accepted after the system would not let us. */
const ACCEPT_PAUSE_MS = 100;
const NOTHING = new Uint8Array(0);
/** A server that stopped, or was started anew, and one that fell silent. */
const REOPENED_AFTER: ReadonlySet<number> = new Set([
  CloseCode.done,
  CloseCode.idle,
  CloseCode.shutdown,
]);

/** One listener for TCP. */
class TcpInbound implements Watcher, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #context: InboundContext;
  readonly #listener: TcpListener;
  readonly #tag: number;
  /** Of a proxy, else the address of the forward's target. */
  #proxy: GreetingOptions | Uint8Array;

  constructor(context: InboundContext, spec: InboundSpec) {
    this.#context = context;
    this.#proxy = entranceOf(spec);
    this.#listener = new TcpListener(context.native, { local: spec.listen });
    this.#tag = context.loop.watch(this.#listener.fd, EpollEvent.in, this);
  }

  get port(): number {
    return this.#listener.local.port;
  }

  /** For what is accepted from now on. */
  become(spec: InboundSpec): void {
    this.#proxy = entranceOf(spec);
  }

  ready(): void {
    for (const socket of this.#accept()) {
      this.#take(socket);
    }
  }

  #accept(): TcpSocket[] {
    try {
      return this.#listener.accept();
    } catch (error) {
      if (!(error instanceof SysError)) this.#context.fault(error);
      // No descriptors, mostly. The connection waits, and so would the loop spin.
      const { counters, loop } = this.#context;
      counters.acceptErrors++;
      loop.change(this.#tag, this.#listener.fd, 0);
      loop.arm(this, loop.now + ACCEPT_PAUSE_MS);
      return [];
    }
  }

  #take(socket: TcpSocket): void {
    const { counters, live, doorstep, connectionsMax } = this.#context;
    if (live.size >= connectionsMax) {
      if (!doorstep.giveWay()) {
        counters.connectionsRefused++;
        this.#context.onRefused("a local connection is refused", "there are too many");
        return socket.abort();
      }
      counters.greetingsGaveWay++;
    }
    counters.accepted++;
    const connection = new LocalConnection(this.#context, socket);
    try {
      if (this.#proxy instanceof Uint8Array) {
        new Connect(this.#context, connection).begin(this.#proxy, NOTHING, 0, 0);
      } else new Greeting(this.#context, connection, this.#proxy);
    } catch (error) {
      this.#context.fault(error);
      connection.abort();
    }
  }

  fire(): void {
    this.#context.loop.change(this.#tag, this.#listener.fd, EpollEvent.in);
  }

  close(): void {
    this.#context.loop.disarm(this);
    this.#context.loop.unwatch(this.#tag, this.#listener.fd);
    this.#listener.close();
  }
}

/** All inbounds of a client. Give it to the tunnel as its events. */
export class Inbounds implements SessionEvents {
  readonly context: InboundContext;
  #specs: readonly InboundSpec[];
  /** One for each spec; nothing while it is not open. */
  #open: (TcpInbound | UdpForward | undefined)[] = [];
  /** The session that the server has accepted. */
  #connected: Session | undefined;

  constructor(
    loop: Loop,
    specs: readonly InboundSpec[],
    tunnel: InboundTunnel,
    connectionsMax?: number,
  ) {
    this.#specs = specs;
    this.context = new InboundContext(loop, tunnel, connectionsMax);
  }

  get counters(): InboundCounters {
    return this.context.counters;
  }

  /** Bound ports, in the order of the specs. */
  get ports(): number[] {
    return this.#open.flatMap((inbound) => inbound?.port ?? []);
  }

  /** Binds all of them; throws, with none of them open, when one can't be. */
  start(): void {
    try {
      this.#fill();
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /**
   * Others from now on. What stays where it was goes on, with its new users or target; connections
   * go on whatever becomes of their listener. Throws, with all as it was, when one can't be bound.
   */
  replace(specs: readonly InboundSpec[]): void {
    specs.forEach(entranceOf);
    const before = this.#specs;
    this.#move(specs);
    try {
      this.#fill();
    } catch (error) {
      this.#move(before);
      this.#fill();
      throw error;
    }
    specs.forEach((spec, index) => {
      const inbound = this.#open[index]!;
      if (inbound instanceof UdpForward) inbound.become(targetOf(spec));
      else inbound.become(spec);
    });
  }

  /** Keeps what stands where one of these does; the others are closed before theirs are opened. */
  #move(specs: readonly InboundSpec[]): void {
    const places = new Map(this.#specs.map((spec, index) => [placeOf(spec), this.#open[index]]));
    this.#open = specs.map((spec) => {
      const kept = places.get(placeOf(spec));
      places.delete(placeOf(spec));
      return kept;
    });
    for (const gone of places.values()) gone?.close();
    this.#specs = specs;
  }

  #fill(): void {
    this.#specs.forEach((spec, index) => this.#open[index] ??= this.#openOne(spec));
  }

  #openOne(spec: InboundSpec): TcpInbound | UdpForward {
    return spec.kind === "udp"
      ? new UdpForward(this.context, spec, targetOf(spec))
      : new TcpInbound(this.context, spec);
  }

  /** Closes listeners and connections; the tunnel is still to be stopped. */
  stop(): void {
    for (const inbound of this.#open.splice(0)) inbound?.close();
    for (const live of [...this.context.live]) live.abort();
  }

  // ---- the session's events ----

  sessionOpened(session: Session, _user: string): void {
    this.#connected = session;
  }

  /** A server can't open streams: the session does not get that far. */
  opened(): void {}

  answered(
    session: Session,
    stream: number,
    code: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    this.context.streams.get(session, stream)?.answered(code, bytes, at, length);
  }

  data(
    session: Session,
    stream: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): number {
    const user = this.context.streams.get(session, stream);
    return user === undefined ? 0 : user.data(bytes, at, length);
  }

  ended(session: Session, stream: number): void {
    this.context.streams.get(session, stream)?.ended();
  }

  wasReset(session: Session, stream: number, code: number): void {
    this.context.streams.get(session, stream)?.wasReset(code);
  }

  writable(session: Session, stream: number): void {
    this.context.streams.get(session, stream)?.writable();
  }

  gone(): void {}

  datagram(
    session: Session,
    association: number,
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void {
    const { associations } = this.context;
    associations.datagram(session, association, bytes, addressAt, addressLength, at, length);
  }

  assocEnded(session: Session, association: number): void {
    this.context.associations.ended(session, association);
  }

  pong(_session: Session, _path: number, _high: number, _low: number): void {}

  pathProven(): void {}

  closed(session: Session, code: number, _isLocal: boolean): void {
    this.context.associations.lose(session);
    // A server that never answered will not do so now, and one that closed for a reason has one.
    const isReopened = session === this.#connected && REOPENED_AFTER.has(code);
    if (session === this.#connected) this.#connected = undefined;
    this.context.streams.lose(session, isReopened);
  }
}

/** Where it listens: two of one place can't be. */
function placeOf({ kind, listen }: InboundSpec): string {
  return `${kind === "udp" ? "udp" : "tcp"} ${formatEndpoint(listen)}`;
}

/** A proxy's options, or the address of a forward's target. */
function entranceOf(spec: InboundSpec): GreetingOptions | Uint8Array {
  return spec.kind === "tcp" || spec.kind === "udp" ? targetOf(spec) : optionsOf(spec);
}

function targetOf(spec: InboundSpec): Uint8Array {
  const target = new Target();
  if (spec.target === undefined || !target.setText(spec.target)) {
    throw new RangeError(
      `Cannot forward as 'target' must be host:port: current value is ${spec.target}`,
    );
  }
  return addressOf(target);
}

function optionsOf(spec: InboundSpec): GreetingOptions {
  const { users = [] } = spec;
  const kind = spec.kind === "socks5" || spec.kind === "http" ? spec.kind : "mixed";
  if (users.length === 0) return { kind };
  const credentials = new Credentials(
    users.map(({ name, password }) => ({ user: name, password })),
  );
  return { kind, credentials };
}

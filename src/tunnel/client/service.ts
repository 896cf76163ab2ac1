/**
 * A client's tunnel as a service of a worker: the tunnel and the inbounds in front of it, telling
 * main of its session.
 */

import { type Endpoint, endpoint } from "../../../ffi/endpoint.ts";
import { monotonicMs } from "../../../ffi/loop.ts";
import { messageOf } from "../../base/errors.ts";
import { ipBytes } from "../../base/ip.ts";
import type { PathCounters } from "../../reliability/path.ts";
import type { Session } from "../../session/session.ts";
import type { InboundTunnel } from "../../inbound/counters.ts";
import { CloseCode } from "../../wire/frames.ts";
import { Inbounds } from "../../inbound/inbounds.ts";
import type { InboundSpec, InboundText } from "../../inbound/spec.ts";
import type { CounterSources } from "../../loop/counters.ts";
import type { Host, Service } from "../../loop/host.ts";
import type { Loop, Task } from "../../loop/loop.ts";
import { refusalWords, silenceWords } from "../close_words.ts";
import { tooLongNotice } from "../exit/notice.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Peer } from "../peer.ts";
import type { TunnelEvents } from "../tunnel.ts";
import type {
  ClientReady,
  ClientStart,
  InboundsReport,
  SessionReport,
  Silence,
  ToClient,
} from "../protocol.ts";
import type { SilenceWatch } from "./silence.ts";
import type { ClientCounters } from "./tunnel.ts";

/** Asked for a report, how long a PONG is waited for. */
const PONG_MS = 2000;
/** Header, tag and a STREAM frame's head. */
const PACKET_OVERHEAD = 44;

/** What carries the session; ClientTunnel. */
export interface Tunnel extends InboundTunnel {
  readonly pump?: PacketPump<Peer>;
  readonly counters?: ClientCounters;
  readonly state: "idle" | "connecting" | "open" | "lost";
  readonly closeCode?: number;
  readonly silence?: SilenceWatch;
  start(): void;
  /** Where HELLOs go from now on. */
  setServers(servers: readonly Endpoint[]): void;
  /** Closes the session with a word to the server, and the socket. */
  stop(): void;
}

export type MakeTunnel = (host: Host, start: ClientStart, events: TunnelEvents) => Tunnel;

/** Hears what concerns the session as a whole. */
interface SessionListener {
  stateChanged(): void;
  pong(session: Session, high: number, low: number): void;
}

class WatchedInbounds extends Inbounds {
  readonly #listener: SessionListener;

  constructor(
    loop: Loop,
    specs: readonly InboundSpec[],
    tunnel: InboundTunnel,
    { listener, connectionsMax }: { listener: SessionListener; connectionsMax?: number },
  ) {
    super(loop, specs, tunnel, connectionsMax);
    this.#listener = listener;
  }

  override sessionOpened(session: Session, user: string): void {
    super.sessionOpened(session, user);
    this.#listener.stateChanged();
  }

  override closed(session: Session, code: number, isLocal: boolean): void {
    super.closed(session, code, isLocal);
    this.#listener.stateChanged();
  }

  override pong(session: Session, _path: number, high: number, low: number): void {
    this.#listener.pong(session, high, low);
  }
}

/** Of a server that is silent, where nobody says why. */
const MAYBE = "the client's log, or `phantom ping`, lists what it may be";

export class ClientService implements Service<ToClient>, Task, SessionListener {
  isPosted = false;
  readonly name = "tunnel";
  readonly tunnel: Tunnel;
  readonly inbounds: Inbounds;
  readonly #host: Host;
  readonly #start: ClientStart;
  #told: Tunnel["state"] = "idle";
  #toldSilence: Silence | undefined;
  #session: Session | undefined;
  /** The PING that a report waits for. */
  #pingId = 0;
  #pingAt = -Infinity;
  #owesReport = false;
  readonly #tooLong = tooLongNotice();

  constructor(host: Host, start: ClientStart, makeTunnel: MakeTunnel) {
    this.#host = host;
    this.#start = start;
    const through: InboundTunnel = {
      session: () => this.#session = this.tunnel.session(),
      wake: (session) => this.tunnel.wake(session),
      why: () => this.#why(),
    };
    this.inbounds = new WatchedInbounds(host.loop, start.inbounds, through, {
      ...start,
      listener: this,
    });
    const log = host.log.with({ component: "inbound" });
    const { context } = this.inbounds;
    context.onFailed = (target, cause) =>
      log.info("request_failed", "a request failed", { target: target.toString(), cause });
    context.onRefused = (what, cause) => log.info("request_refused", what, { cause });
    this.tunnel = makeTunnel(host, start, this.inbounds);
    const { silence } = this.tunnel;
    if (silence !== undefined) silence.changed = () => this.stateChanged();
  }

  #why(): string {
    const said = this.tunnel.silence?.said;
    const refusal = refusalWords(this.#session?.closeCode ?? CloseCode.done);
    return refusal ?? (said === undefined ? MAYBE : silenceWords(said));
  }

  get counters(): CounterSources {
    const { pump, counters } = this.tunnel;
    const { counters: inbounds, splicer, streams } = this.inbounds.context;
    return {
      ...(counters === undefined ? {} : { "": counters }),
      ...(pump === undefined
        ? {}
        : { received: pump.received, sent: pump.sent, shares: () => pump.shares }),
      open: () => ({ sessions: pump?.peers.count ?? 0, streams: streams.count }),
      inbound: inbounds,
      splices: splicer.counters,
    };
  }

  /** Opens the tunnel's socket and what listens. */
  start(): ClientReady {
    this.tunnel.start();
    try {
      this.inbounds.start();
    } catch (error) {
      this.tunnel.stop();
      throw error;
    }
    return { ports: this.inbounds.ports };
  }

  /** Who asks wants to know of the server: an open session is measured, another is connected. */
  heard(message: ToClient): void {
    if (message.kind === "report") this.#asked();
    else if (message.kind === "inbounds") this.#listen(message.inbounds);
    else if (message.kind === "servers") {
      this.tunnel.setServers(
        message.servers.map(({ host, port }) => endpoint(ipBytes(host), port)),
      );
    }
  }

  #listen(inbounds: readonly InboundText[]): void {
    const specs = inbounds.map(({ listen: { host, port }, ...rest }): InboundSpec => ({
      ...rest,
      listen: endpoint(ipBytes(host), port),
    }));
    let failure: { failure?: string } = {};
    try {
      this.inbounds.replace(specs);
    } catch (error) {
      failure = { failure: messageOf(error) };
    }
    const report: InboundsReport = { ports: this.inbounds.ports, ...failure };
    this.#host.say(this.name, report);
  }

  get live(): number {
    return this.tunnel.pump?.live ?? 0;
  }

  tick(now: number): void {
    this.tunnel.pump?.tick();
    if (!this.#owesReport) this.runTask();
    else if (now >= this.#pingAt + PONG_MS) this.#report();
    const text = this.#tooLong.text(now, this.inbounds.context.counters.datagramsTooLong);
    if (text !== undefined) this.#host.log.warn("datagram_too_long", text);
  }

  stop(): void {
    this.inbounds.stop();
    this.tunnel.stop();
  }

  wipe(): void {
    for (const key of keysOfClient(this.#start)) key.fill(0);
  }

  /** The end of a round in which the session's state changed. */
  runTask(): void {
    const { state, silence } = this.tunnel;
    if (state === this.#told && silence?.said === this.#toldSilence) return;
    // A session that has just opened is told of once its round trip is measured.
    if (state !== "open") this.#report();
    else if (!this.#owesReport) this.#asked();
  }

  stateChanged(): void {
    // Amidst the event the tunnel has not changed yet.
    this.#host.loop.post(this);
  }

  pong(session: Session, _high: number, low: number): void {
    if (!this.#owesReport || low !== this.#pingId || session !== this.#session) return;
    this.#report(this.#host.loop.now - this.#pingAt);
  }

  #asked(): void {
    const session = this.#session = this.tunnel.session();
    if (this.tunnel.state === "open") {
      this.#owesReport = true;
      this.#pingId++;
      this.#pingAt = monotonicMs(this.#host.loop.native);
      session.ping(session.activePath, 0, this.#pingId);
    } else this.#report();
    this.tunnel.wake(session);
  }

  #report(measuredMs = 0): void {
    const { state } = this.tunnel;
    const silence = this.tunnel.silence?.said;
    const way = this.#session?.recovery.path(this.#session.activePath);
    const { splicer, counters } = this.inbounds.context;
    this.#owesReport = false;
    this.#told = state;
    this.#toldSilence = silence;
    const report: SessionReport = {
      // One that nobody has asked for yet is as good as lost.
      state: state === "idle" ? "lost" : state,
      ...(silence === undefined ? {} : { silence }),
      closeCode: this.tunnel.closeCode ?? CloseCode.done,
      rttMs: measuredMs > 0 ? measuredMs : way?.rtt.sampled === true ? way.rtt.smoothed : 0,
      lostShare: way === undefined ? 0 : way.counters.lostPackets / (way.counters.sentPackets || 1),
      bytesArrived: way === undefined ? 0 : arrivedBytes(way.counters),
      // A splice's names are those of the server: up is towards the socket.
      bytesUp: splicer.counters.bytesDown + counters.datagramBytesUp,
      bytesDown: splicer.counters.bytesUp + counters.datagramBytesDown,
    };
    this.#host.say(this.name, report);
  }
}

/** What came out of the packets that a path's other end has acknowledged. */
function arrivedBytes({ ackedBytes, ackedPackets }: PathCounters): number {
  return Math.max(0, ackedBytes - PACKET_OVERHEAD * ackedPackets);
}

/** All keys that a client's tunnel is started with. */
export function keysOfClient({ psk, userKey }: ClientStart): Uint8Array[] {
  return [psk, userKey];
}

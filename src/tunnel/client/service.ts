/**
 * A client's data-plane worker: the loop, the tunnel and the inbounds in front of it; told things
 * by main through the ring, and telling of its session.
 */

import { type Endpoint, endpoint } from "../../../ffi/endpoint.ts";
import { EpollEvent, EventFd, monotonicMs } from "../../../ffi/loop.ts";
import type { Libraries } from "../../../ffi/libraries.ts";
import { messageOf } from "../../base/errors.ts";
import { ipBytes } from "../../base/ip.ts";
import { Log } from "../../base/log.ts";
import { RingReader } from "../../base/ring.ts";
import type { Session } from "../../session/session.ts";
import type { InboundTunnel } from "../../inbound/counters.ts";
import { Inbounds } from "../../inbound/inbounds.ts";
import {
  Loop,
  NOT_ARMED,
  type Task,
  textOfError,
  type Timer,
  type Watcher,
} from "../../loop/loop.ts";
import { countPump } from "../count_pump.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Peer } from "../peer.ts";
import { TooLongNotice } from "../exit/too_long_notice.ts";
import type { TunnelEvents } from "../tunnel.ts";
import type { InboundSpec } from "../../inbound/spec.ts";
import type { ClientStart, ToWorker, WorkerMessage } from "../protocol.ts";
import { SharedWord } from "../protocol.ts";

/** How often counters are told, and whether the state is another. */
const COUNT_MS = 250;
/** Asked for a report, how long a PONG is waited for. */
const PONG_MS = 2000;

/** What carries the session; ClientTunnel. */
export interface Tunnel extends InboundTunnel {
  readonly pump?: PacketPump<Peer>;
  readonly state: "idle" | "connecting" | "open" | "lost";
  start(): void;
  /** Where HELLOs go from now on. */
  setServers(servers: readonly Endpoint[]): void;
  /** Closes the session with a word to the server, and the socket. */
  stop(): void;
}

export type MakeTunnel = (
  loop: Loop,
  start: ClientStart,
  libs: Pick<Libraries, "native">,
  events: TunnelEvents,
) => Tunnel;

export type Post = (message: WorkerMessage) => void;

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
    listener: SessionListener,
  ) {
    super(loop, specs, tunnel);
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

export class ClientService implements Watcher, Timer, Task, SessionListener {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  isPosted = false;
  readonly loop: Loop;
  readonly tunnel: Tunnel;
  readonly inbounds: Inbounds;
  readonly #start: ClientStart;
  readonly #post: Post;
  readonly #log: Log;
  readonly #words: BigInt64Array;
  readonly #inbox: RingReader;
  readonly #wake: EventFd;
  #told: Tunnel["state"] = "idle";
  #session: Session | undefined;
  /** The PING that a report waits for. */
  #pingId = 0;
  #pingAt = -Infinity;
  #owesReport = false;
  readonly #tooLong = new TooLongNotice();

  constructor(
    libs: Pick<Libraries, "native">,
    start: ClientStart,
    post: Post,
    makeTunnel: MakeTunnel,
  ) {
    this.#start = start;
    this.#post = post;
    this.#log = new Log((record) => post({ kind: "log", record }), "tunnel");
    this.#words = new BigInt64Array(start.shared);
    this.#inbox = new RingReader(start.inbox);
    this.loop = new Loop(libs.native, (error) => {
      this.#log.error("fault", textOfError(error));
    });
    const through: InboundTunnel = {
      session: () => this.#session = this.tunnel.session(),
      wake: (session) => this.tunnel.wake(session),
    };
    this.inbounds = new WatchedInbounds(this.loop, start.inbounds, through, this);
    this.tunnel = makeTunnel(this.loop, start, libs, this.inbounds);
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
    this.inbounds.start();
    this.#post({ kind: "ready", ports: this.inbounds.ports, features: 0 });
    this.loop.arm(this, this.loop.now + COUNT_MS);
    // What was said before the descriptor was watched.
    this.ready();
  }

  /** Wipes the keys it was given, and lets go of the loop. */
  close(): void {
    this.#start.psk.fill(0);
    this.#start.userKey.fill(0);
    this.loop.close();
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
    if (this.tunnel.state !== this.#told) this.#report();
    if (this.#owesReport && now >= this.#pingAt + PONG_MS) this.#report();
    this.loop.arm(this, now + COUNT_MS);
  }

  /** The end of a round in which the session's state changed. */
  runTask(): void {
    if (this.tunnel.state !== this.#told) this.#report();
  }

  stateChanged(): void {
    // Amidst the event the tunnel has not changed yet.
    this.loop.post(this);
  }

  pong(session: Session, _high: number, low: number): void {
    if (!this.#owesReport || low !== this.#pingId || session !== this.#session) return;
    this.#report(this.loop.now - this.#pingAt);
  }

  #stop(): void {
    if (this.loop.isStopping) return;
    this.loop.isStopping = true;
    this.inbounds.stop();
    this.tunnel.stop();
    this.#count();
  }

  #heard(bytes: Uint8Array<ArrayBuffer>): void {
    try {
      const message: ToWorker = JSON.parse(new TextDecoder().decode(bytes));
      if (message.kind === "report") this.#asked();
      else if (message.kind === "servers") {
        this.tunnel.setServers(
          message.servers.map(({ host, port }) => endpoint(ipBytes(host), port)),
        );
      }
    } catch (error) {
      const reason = messageOf(error);
      this.#log.error("message_ignored", "a message from main is ignored", { cause: reason });
    }
  }

  /** Who asks wants to know of the server: an open session is measured, another is connected. */
  #asked(): void {
    const session = this.#session = this.tunnel.session();
    if (this.tunnel.state === "open") {
      this.#owesReport = true;
      this.#pingId++;
      this.#pingAt = monotonicMs(this.loop.native);
      session.ping(session.activePath, 0, this.#pingId);
    } else this.#report();
    this.tunnel.wake(session);
  }

  #report(measuredMs = 0): void {
    const { state } = this.tunnel;
    const way = this.#session?.recovery.path(this.#session.activePath);
    const { splicer, counters } = this.inbounds.context;
    this.#owesReport = false;
    this.#told = state;
    this.#post({
      kind: "session",
      // One that nobody has asked for yet is as good as lost.
      state: state === "idle" ? "lost" : state,
      rttMs: measuredMs > 0 ? measuredMs : way?.rtt.smoothed ?? 0,
      lostShare: way === undefined ? 0 : way.counters.lostPackets / (way.counters.sentPackets || 1),
      // A splice's names are those of the server: up is towards the socket.
      bytesUp: splicer.counters.bytesDown + counters.datagramBytesUp,
      bytesDown: splicer.counters.bytesUp + counters.datagramBytesDown,
    });
  }

  #count(): void {
    const { streams, counters } = this.inbounds.context;
    if (this.tunnel.pump !== undefined) countPump(this.#words, this.tunnel.pump);
    Atomics.store(this.#words, SharedWord.streams, BigInt(streams.count));
    Atomics.store(this.#words, SharedWord.refusals, BigInt(counters.refusals));
    const text = this.#tooLong.text(this.loop.now, counters.datagramsTooLong);
    if (text !== undefined) this.#log.warn("datagram_too_long", text);
  }
}

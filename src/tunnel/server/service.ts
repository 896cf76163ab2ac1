/**
 * A server's tunnel as a service of a worker: the tunnel, and what its streams and datagrams lead
 * to.
 */

import { OwnAddresses } from "../../proxy/own_addresses.ts";
import type { Admission, UserAccount } from "../../proxy/users.ts";
import type { Session } from "../../session/session.ts";
import type { CounterSources } from "../../loop/counters.ts";
import type { Host, Service } from "../../loop/host.ts";
import type { UdpCarrier } from "../../transport/udp.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Guest } from "./guest.ts";
import { GuestLog } from "./guest_log.ts";
import { routesOf } from "../../outbound/routes.ts";
import type { Routing } from "../../outbound/routing.ts";
import { Turns } from "../../outbound/turns.ts";
import { OpenedCode } from "../../wire/frames.ts";
import { Targets } from "../exit/targets.ts";
import type { ServerCounters } from "./tunnel.ts";
import { Notice, tooLongNotice } from "../exit/notice.ts";
import type { TunnelEvents } from "../tunnel.ts";
import { TargetLog } from "../exit/target_log.ts";
import { TargetAssociations } from "../exit/associations.ts";
import type {
  FromServer,
  ServerReady,
  ServerStart,
  ToServer,
  UserSpec,
  UserText,
} from "../protocol.ts";
import type { Strays } from "./strays.ts";
import { refusalOf } from "./users.ts";
import { SessionSums } from "../session_sums.ts";
import { XskDelivery } from "../../transport/xsk.ts";
import type { XskSpec } from "../../transport/xsk_spec.ts";

/** A session that is silent for so long may be asked for a sign of life where others want room. */
const SILENT_MS = 5000;

/** What carries the sessions; ServerTunnel. */
export interface Tunnel {
  readonly port: number;
  readonly features?: number;
  /** What AF_XDP may feed. */
  readonly udp?: UdpCarrier;
  readonly pump?: PacketPump<Guest>;
  readonly counters?: ServerCounters;
  /** Packets that came to the wrong worker. */
  readonly strays?: Strays | undefined;
  /** HELLOs that were said before. */
  readonly replays?: number;
  readonly unopened?: Readonly<Record<string, number>>;
  /** The descriptor that packets come by. */
  readonly socket?: number;
  start(): void;
  /** Closes the sessions with a word to the peers, and the sockets. */
  stop(): void;
  wake(session: Session): void;
  setUsers?(users: readonly UserSpec[]): void;
  /** Another worker has found this user at their maximum of sessions. */
  crowded?(user: string, silentMs?: number): void;
  /** A user has as many connections as they may; whether silent sessions of theirs are asked. */
  outOfConnections?(user: string, silentMs: number): boolean;
  /** Sessions that showed no life when their user came again. */
  readonly gaveWay?: number;
  accountOf?(user: string): UserAccount | undefined;
  /** What main is to tell the kernel's table of sessions (session_marks.ts). */
  takeMarks?(): Uint8Array | undefined;
  /** The sessions that have ended, for the next start. After `stop`. */
  endedSessions?(): Uint8Array;
}

export type MakeTunnel = (
  host: Host,
  start: ServerStart,
  events: TunnelEvents,
  guests: GuestLog,
) => Tunnel;

export class TunnelService implements Service<ToServer> {
  readonly name = "tunnel";
  readonly targets: Targets;
  readonly associations: TargetAssociations;
  readonly tunnel: Tunnel;
  readonly #host: Host;
  readonly #start: ServerStart;
  readonly #turns: Turns;
  readonly #own = new OwnAddresses();
  readonly #tooLong = tooLongNotice();
  readonly #noConnection = new Notice((count) =>
    `${count} connections were refused: no more may be open`
  );
  readonly #noSession = new Notice((count) =>
    `${count} sessions were refused: no more may be open`
  );
  readonly #noUser = new Notice((count) =>
    `${count} HELLOs knew the psk, and no user's name and key: an old link, or a user who left`
  );
  readonly #noNames = new Notice((count) => `${count} names were not found as no resolver answers`);
  readonly #sessions = new SessionSums();
  #delivery: XskDelivery | undefined;

  constructor(host: Host, start: ServerStart, makeTunnel: MakeTunnel) {
    this.#host = host;
    this.#start = start;
    const { loop, resolver } = host;
    const waker = { wake: (session: Session) => this.tunnel.wake(session) };
    const accountOf = (user: string) => this.tunnel.accountOf?.(user);
    const turns = this.#turns = new Turns(loop);
    this.#own.set(start.own ?? []);
    const guests = new GuestLog(
      host.log.with({ component: "tunnel" }),
      () => loop.now,
      (user, from) => this.#say({ kind: "seen", user, ...(from === undefined ? {} : { from }) }),
    );
    const denied = (user: string, admission: Admission) => {
      guests.limited(user, refusalOf(admission));
      // Connections of a client that was killed give way to those of its next session.
      if (admission === "too-many-connections") this.tunnel.outOfConnections?.(user, SILENT_MS);
    };
    const log = new TargetLog(host.log.with({ component: "target" }), () => loop.now);
    const options = {
      ...routesOf(start, this.#own),
      waker,
      resolver,
      accountOf,
      denied,
      turns,
      log,
    };
    this.targets = new Targets(loop, options);
    this.associations = new TargetAssociations(loop, options);
    const events = new Events(this.targets, this.associations, (session, code, isLocal) => {
      this.#sessions.closed(session);
      const guest = this.tunnel.pump?.peerOf(session);
      if (guest !== undefined) guests.left(guest, code, isLocal);
    });
    this.tunnel = makeTunnel(host, start, events, guests);
  }

  get counters(): CounterSources {
    const { tunnel, targets, associations } = this;
    const { counters, pump } = tunnel;
    return {
      ...(counters === undefined ? {} : { "": counters }),
      ...(tunnel.strays === undefined ? {} : { strays: tunnel.strays.counters }),
      hello: () => ({ replays: tunnel.replays ?? 0, refusals: counters?.refusals ?? 0 }),
      ...(tunnel.unopened === undefined ? {} : { helloDropped: () => tunnel.unopened! }),
      sessionsGave: () => ({ way: tunnel.gaveWay ?? 0 }),
      ...(pump === undefined
        ? {}
        : { received: pump.received, sent: pump.sent, shares: () => pump.shares }),
      open: () => ({
        sessions: pump?.peers.count ?? 0,
        streams: targets.count,
        streamsMax: targets.max,
        stalledBytes: targets.stalledBytes,
        associations: associations.count,
        associationsMax: associations.max,
      }),
      target: () => ({
        refusals: targets.counters.refused + associations.counters.refused +
          associations.counters.tooMany,
      }),
      sessions: () =>
        this.#sessions.of(
          this.#host.loop.now,
          () => pump?.peers.all().map(({ session }) => session) ?? [],
        ),
      targets: targets.counters,
      targetsFailed: () => byCode(targets.counters.failed),
      splices: targets.splicer.counters,
      associations: associations.counters,
      sockets: this.#turns.counters,
      xsk: () => ({ received: this.#delivery?.received ?? 0, sent: this.#delivery?.sent ?? 0 }),
    };
  }

  /** Opens the socket. */
  start(): ServerReady {
    this.tunnel.start();
    const { port, features = 0, socket } = this.tunnel;
    return { port, features, ...(socket === undefined ? {} : { socket }) };
  }

  heard(message: ToServer): void {
    if (message.kind === "rules") this.#setRoutes(message);
    else if (message.kind === "users") this.#setUsers(message.users);
    else if (message.kind === "crowded") this.tunnel.crowded?.(message.user, message.silentMs);
    else if (message.kind === "limits") this.#setLimits(message);
    else if (message.kind === "own") this.#own.set(message.own);
    else if (message.kind === "delivery") this.#setDelivery(message.xsk);
  }

  get live(): number {
    return (this.tunnel.pump?.live ?? 0) + this.associations.count;
  }

  tick(now: number): void {
    this.tunnel.pump?.tick();
    this.targets.tick();
    const marks = this.tunnel.takeMarks?.();
    if (marks !== undefined) this.#say({ kind: "marks", marks });
    const text = this.#tooLong.text(now, this.associations.counters.tooLong);
    if (text !== undefined) this.#host.log.warn("datagram_too_long", text);
    this.#tellOfLimits(now);
  }

  /** What everybody of this worker feels, and no user's own limit is. */
  #tellOfLimits(now: number): void {
    const { log } = this.#host;
    const { tooMany, failed } = this.targets.counters;
    // Those that no descriptor was left for have come further than those above the maximum.
    const refused = tooMany + (failed[OpenedCode.tooManyStreams] ?? 0);
    const connections = this.#noConnection.text(now, refused);
    if (connections !== undefined) {
      const remedy = "raise the limit on open files (LimitNOFILE), or have more workers";
      log.warn("connections_full", connections, { most: this.targets.max, remedy });
    }
    const sessions = this.#noSession.text(now, this.tunnel.counters?.sessionsRefused ?? 0);
    if (sessions !== undefined) {
      log.warn("sessions_full", sessions, { remedy: "raise sessions_max" });
    }
    const names = this.#noNames.text(now, failed[OpenedCode.resolverSilent] ?? 0);
    if (names !== undefined) {
      log.warn("resolver_silent", names, { remedy: "mend this machine's, or set `resolver`" });
    }
    const users = this.#noUser.text(now, this.tunnel.counters?.unproven ?? 0);
    if (users !== undefined) log.info("no_user", users, { remedy: "phantom link --user NAME" });
  }

  stop(): void {
    this.tunnel.stop();
    this.#delivery?.close();
    const ended = this.tunnel.endedSessions?.();
    if (ended !== undefined) this.#say({ kind: "ended", ended });
    this.targets.stop();
    this.associations.stop();
    this.tick(this.#host.loop.now);
  }

  wipe(): void {
    for (const key of keysOfServer(this.#start)) key.fill(0);
  }

  #say(message: FromServer): void {
    this.#host.say(this.name, message);
  }

  #setDelivery(xsk: XskSpec | undefined): void {
    const { udp } = this.tunnel;
    const { loop, log } = this.#host;
    if (udp === undefined || loop.isStopping) return;
    this.#delivery ??= new XskDelivery(loop, udp, log.with({ component: "delivery" }));
    this.#delivery.set(xsk);
  }

  #setLimits(limits: ToServer & { kind: "limits" }): void {
    const { connectionsMax, associationsMax, stalledBytesMax } = limits;
    this.targets.setStalledMax(stalledBytesMax);
    this.targets.setMax(connectionsMax);
    this.associations.setMax(associationsMax);
  }

  #setRoutes(routing: Routing): void {
    const routes = routesOf(routing, this.#own);
    this.targets.setRoutes(routes);
    this.associations.setRoutes(routes);
  }

  #setUsers(texts: readonly UserText[]): void {
    const users = texts.map(({ key, ...user }) => ({ ...user, key: hexBytes(key) }));
    this.tunnel.setUsers?.(users);
    for (const { key } of users) key.fill(0);
  }
}

/** All keys that a server's tunnel is started with. */
export function keysOfServer({ psk, serverSecret, users }: ServerStart): Uint8Array[] {
  return [psk, serverSecret, ...users.map(({ key }) => key)];
}

/** Failures of streams by the names of their codes. */
function byCode(counts: readonly number[]): Record<string, number> {
  const failures = Object.entries(OpenedCode).filter(([, code]) => code !== OpenedCode.ok);
  return Object.fromEntries(failures.map(([name, code]) => [name, counts[code] ?? 0]));
}

/** Passes on what sessions tell: streams to the targets, datagrams to the associations. */
class Events implements TunnelEvents {
  readonly #targets: Targets;
  readonly #associations: TargetAssociations;
  readonly #closed: TunnelEvents["closed"];

  constructor(
    targets: Targets,
    associations: TargetAssociations,
    closed: TunnelEvents["closed"],
  ) {
    this.#closed = closed;
    this.#targets = targets;
    this.#associations = associations;
  }

  sessionOpened(session: Session, user: string): void {
    this.#targets.sessionOpened(session, user);
    this.#associations.sessionOpened(session, user);
  }

  closed(session: Session, code: number, isLocal: boolean): void {
    this.#closed(session, code, isLocal);
    this.#targets.closed(session);
    this.#associations.closed(session);
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
    this.#associations.datagram(session, assoc, bytes, addressAt, addressLength, at, length);
  }

  assocEnded(session: Session, assoc: number): void {
    this.#associations.assocEnded(session, assoc);
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

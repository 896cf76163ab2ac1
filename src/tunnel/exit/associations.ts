/**
 * The server's end of datagrams: for each association of a session one unconnected socket, so that
 * whoever the client's datagrams reach, and whoever else learns the socket's address, can answer
 * (full cone). Every datagram is judged by the rules for itself. Sockets are opened and closed by
 * turns (outbound/turns.ts); until then a few datagrams wait.
 */

import { isShortOfDescriptors } from "../../../ffi/descriptors.ts";
import { type Endpoint, endpoint } from "../../../ffi/endpoint.ts";
import { SysError } from "../../../ffi/errors.ts";
import { EpollEvent } from "../../../ffi/loop.ts";
import { UdpInbox, UdpSocket } from "../../../ffi/udp.ts";
import { endpointWords, routeWords } from "../../../ffi/endpoint.ts";
import { isIpv4Mapped } from "../../base/ip.ts";
import { CheckedTarget, DIRECT, type Pending, type Rules, Verdict } from "../../proxy/rules.ts";
import { Target } from "../../proxy/target.ts";
import { addressPort, AddressType, readIpAddress, writeIpAddress } from "../../wire/address.ts";
import { DATAGRAM_BYTES_MAX } from "../../session/limits.ts";
import type { Session } from "../../session/session.ts";
import { type Loop, NOT_ARMED, type Task, type Timer, type Watcher } from "../../loop/loop.ts";
import { DatagramNames, type NamedTarget } from "./datagram_names.ts";
import { DatagramOutbox } from "./datagram_outbox.ts";
import type { Origin, Routes } from "../../outbound/routes.ts";
import { type Turn, Turns } from "../../outbound/turns.ts";
import { type ExitItem, type ExitOptions, ExitSessions } from "./exit_sessions.ts";
import type { DatagramStory } from "./target_log.ts";
import { OpenedCode } from "../../wire/frames.ts";

/** What is asked of the session of a datagram. */
export type DatagramSession = Pick<Session, "sendDatagram" | "endAssoc">;

/**
 * Associations of one worker, where there are descriptors for so many, and of one session;
 * datagrams of further ones are dropped.
 */
export const ASSOCIATIONS_MAX = 16_384;
const SESSION_ASSOCIATIONS_MAX = 1024;
/** An association that nothing passes in either direction is forgotten. */
const ASSOCIATION_IDLE_MS = 60_000;
/** How often idle ones are looked for. */
const SWEEP_MS = 5_000;
/** Batches read of one socket in a round. */
const BATCHES_A_ROUND = 4;
/** Sockets whose datagrams gather at a time, a power of two. */
const OUTBOXES = 16;
const ADDRESS_BYTES_MAX = 19;
/** Datagrams that wait for the socket of one association, and bytes of all of them. */
const KEPT_MAX = 8;
const KEPT_BYTES_MAX = 32 << 20;
const ANY = endpoint(new Uint8Array(16), 0);
const ANYWHERE: Origin = {};

export interface TargetAssociationsOptions extends ExitOptions<DatagramSession> {
  readonly idleMs?: number;
  readonly associationsMax?: number;
  readonly sessionAssociationsMax?: number;
}

/** Counted since the start. */
export class AssociationCounters {
  sent = 0;
  received = 0;
  /** By rule, or as the address is not public. */
  refused = 0;
  /** Of associations above a maximum, or that a user's limits refuse. */
  tooMany = 0;
  /** Associations that ended so that others could begin. */
  gaveWay = 0;
  /** Answers that the session did not take: too many waited. */
  notTaken = 0;
  /** Answers that no packet can carry. */
  tooLong = 0;
  /** Refused by the kernel: no route, too long, its buffer full. */
  notSent = 0;
  /** No socket could be had. */
  noSocket = 0;
  /** The name is none, was not found, or too many waited for it. */
  noAddress = 0;
  /** Too many waited for the socket. */
  notKept = 0;
  idled = 0;
  /** Exceptions that ended one association: none is expected. */
  faults = 0;
}

export class TargetAssociations implements Task, Timer {
  isPosted = false;
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly counters: AssociationCounters = new AssociationCounters();
  readonly loop: Loop;
  readonly options: TargetAssociationsOptions;
  readonly inbox: UdpInbox = new UdpInbox();
  /** The peers' addresses in the inbox, as bytes. */
  readonly inboxAddresses: Uint8Array = new Uint8Array(this.inbox.messages.buffer);
  /** Where an answer's source is written. */
  readonly source: Uint8Array = new Uint8Array(ADDRESS_BYTES_MAX);
  readonly checkedTarget: CheckedTarget = new CheckedTarget();
  readonly turns: Turns;
  /** Bytes of datagrams that wait for their sockets. */
  keptBytes = 0;
  readonly #outboxes: DatagramOutbox[];
  #nextOutbox = 0;
  readonly #ip = new Uint8Array(16);
  readonly #target = new Target();
  readonly #sessions: ExitSessions<DatagramSession, Association>;
  #routes: Routes;
  #rulesVersion = 0;
  /** The name that a datagram goes to while it is sent. */
  #named: NamedTarget | undefined;

  constructor(loop: Loop, options: TargetAssociationsOptions) {
    const {
      associationsMax = ASSOCIATIONS_MAX,
      sessionAssociationsMax = SESSION_ASSOCIATIONS_MAX,
    } = options;
    this.loop = loop;
    this.options = options;
    this.#routes = options;
    this.turns = options.turns ?? new Turns(loop);
    const limits = { max: associationsMax, sessionMax: sessionAssociationsMax };
    this.#sessions = new ExitSessions(options, limits, this.counters, this.turns);
    this.#outboxes = Array.from(
      { length: OUTBOXES },
      () => new DatagramOutbox(loop, this.counters),
    );
  }

  /** Associations that there are. */
  get count(): number {
    return this.#sessions.count;
  }

  get max(): number {
    return this.#sessions.max;
  }

  /** Associations that there may be; where there are more, they end as others begin. */
  setMax(max: number): void {
    this.#sessions.max = Math.min(max, this.options.associationsMax ?? ASSOCIATIONS_MAX);
  }

  /** For every datagram from now on. */
  setRoutes(routes: Routes): void {
    this.#routes = routes;
    this.#rulesVersion++;
  }

  setRules(rules: Rules): void {
    this.setRoutes({ ...this.#routes, rules });
  }

  get routes(): Routes {
    return this.#routes;
  }

  // ---- what the tunnel tells ----

  sessionOpened(session: DatagramSession, user: string): void {
    this.#sessions.opened(session, user);
  }

  datagram(
    session: DatagramSession,
    id: number,
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void {
    const association = this.#sessions.get(session, id) ?? this.#open(session, id);
    if (association === undefined) return;
    association.lastUsed = this.loop.now;
    association.isEnding = false;
    if (bytes[addressAt] === AddressType.name) {
      return this.#sendToName(association, bytes, addressAt, addressLength, at, length);
    }
    readIpAddress(bytes, addressAt, this.#ip, 0);
    const port = addressPort(bytes, addressAt, addressLength);
    this.sendTo(association, this.#ip, port, bytes, at, length);
  }

  /** What came before it is sent still, when it is its turn. */
  assocEnded(session: DatagramSession, id: number): void {
    const association = this.#sessions.get(session, id);
    if (association?.isWaiting === true) association.isEnding = true;
    else if (association !== undefined) this.close(association);
  }

  closed(session: DatagramSession): void {
    for (const association of this.#sessions.itemsOf(session)) this.close(association);
    this.#sessions.closed(session);
  }

  stop(): void {
    for (const session of this.#sessions.all()) this.closed(session);
    this.turns.stop();
  }

  // ---- what its associations ask ----

  /** Ends one; its sockets are closed when it is their turn. */
  close(association: Association): void {
    if (!this.#remove(association)) return;
    if (association.close()) this.turns.close(association.closing);
    else this.released(association);
  }

  connectionsMaxOf(session: DatagramSession): number {
    return this.#sessions.connectionsMaxOf(session);
  }

  /** Its sockets are closed. */
  released({ session }: Association): void {
    this.#sessions.release(session);
  }

  /** Ends one at once, for another that is to have its descriptor, and tells the client. */
  giveWay(association: Association): void {
    if (!this.#remove(association)) return;
    association.close();
    association.closing.takeTurn();
    this.#tellEnd(association);
  }

  #remove({ session, id }: Association): boolean {
    if (!this.#sessions.remove(session, id)) return false;
    if (this.count === 0) this.loop.disarm(this);
    return true;
  }

  #tellEnd({ session, id }: Association): void {
    session.endAssoc(id);
    this.options.waker.wake(session);
  }

  /** Sends a datagram to an address, by what the rules say of it. */
  sendTo(
    association: Association,
    ip: Uint8Array,
    port: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    const { checkedTarget } = this;
    const { rules } = this.#routes;
    const outbound = rules.checkDatagram(association.user, ip, 0, port, checkedTarget);
    if (association.story !== undefined) this.#tell(association, outbound, ip, port, length);
    this.#sendBy(outbound, association, bytes, at, length);
  }

  /** Sends a datagram that waited for its name. */
  sendLate(association: Association, named: NamedTarget, bytes: Uint8Array): void {
    this.#sendChecked(association, named, bytes, 0, bytes.length);
  }

  /** The end of a round: what has gathered is sent. */
  runTask(): void {
    for (let i = 0; i < OUTBOXES; i++) this.#outboxes[i]!.flush();
  }

  fire(now: number): void {
    const { idleMs = ASSOCIATION_IDLE_MS } = this.options;
    for (const session of this.#sessions.inUse()) {
      for (const association of this.#sessions.itemsOf(session)) {
        if (association.lastUsed + idleMs > now) continue;
        this.counters.idled++;
        this.close(association);
        this.#tellEnd(association);
      }
    }
    if (this.count > 0) this.loop.arm(this, now + Math.min(SWEEP_MS, idleMs));
  }

  #open(session: DatagramSession, id: number): Association | undefined {
    const sessions = this.#sessions;
    if (sessions.admit(session) !== "ok" || !this.#makeRoom(session)) {
      this.counters.tooMany++;
      return undefined;
    }
    const association = new Association(this, session, id, sessions.userOf(session));
    sessions.add(session, id, association);
    const { idleMs = ASSOCIATION_IDLE_MS } = this.options;
    if (this.heapIndex === NOT_ARMED) {
      this.loop.arm(this, this.loop.now + Math.min(SWEEP_MS, idleMs));
    }
    return association;
  }

  /** For one that its user's limits have admitted. */
  #makeRoom(session: DatagramSession): boolean {
    const hasRoom = this.#sessions.makeRoom(session);
    if (!hasRoom) this.#sessions.giveBack(session);
    return hasRoom;
  }

  /** Sends to `checkedTarget`, by what the rules said; a verdict is no outbound. */
  #sendBy(
    outbound: number,
    association: Association,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    const name = outbound === DIRECT ? "" : this.#routes.rules.outbounds[outbound]?.name;
    const origin = name === "" ? ANYWHERE : this.#routes.origins?.get(name ?? "");
    // Datagrams go from this machine or not at all: no upstream carries them.
    if (name === undefined || origin === undefined) {
      this.counters.refused++;
      return;
    }
    const socket = association.find(name, origin, this.checkedTarget.isIpv4) ??
      (this.#mayOpen(association) ? this.#openSocket(association, name, origin) : undefined);
    if (socket !== undefined) this.#queue(socket, bytes, at, length);
    else if (!association.isTurn) this.#keep(association, bytes, at, length);
    association.isTurn = false;
  }

  /** Nothing passes what waits. */
  #mayOpen(association: Association): boolean {
    if (association.isTurn || association.isWaiting) return association.isTurn;
    return association.isTurn = this.turns.mayOpen(association.session);
  }

  #openSocket(
    association: Association,
    name: string,
    origin: Origin,
  ): AssociationSocket | undefined {
    const { session } = association;
    const open = () => association.open(name, origin, this.checkedTarget.isIpv4);
    try {
      return open();
    } catch (error) {
      // Whoever holds most gives up a descriptor.
      if (!isShortOfDescriptors(error) || !this.#sessions.free(session)) {
        return this.#noSocket(error);
      }
    }
    try {
      return open();
    } catch (error) {
      return this.#noSocket(error);
    }
  }

  /** Until there is a socket to send it by; it is judged once more then. */
  #keep(association: Association, bytes: Uint8Array, at: number, length: number): void {
    if (association.keptCount >= KEPT_MAX || this.keptBytes + length > KEPT_BYTES_MAX) {
      this.counters.notKept++;
      return;
    }
    const ip = new Uint8Array(16);
    this.checkedTarget.copyIp(ip, 0);
    const { port } = this.checkedTarget;
    association.keep({ ip, port, bytes: bytes.slice(at, at + length), named: this.#named });
    this.turns.open(association.session, association);
  }

  /** No descriptors, or the interface has gone: no fault of this program. */
  #noSocket(error: unknown): undefined {
    this.counters.noSocket++;
    if (!(error instanceof SysError)) this.loop.fault(error);
  }

  #queue(from: AssociationSocket, bytes: Uint8Array, at: number, length: number): void {
    const { socket } = from;
    let { outbox } = from;
    if (outbox === undefined || outbox.socket !== socket) {
      // Where all are in use, the one that was taken first is sent.
      outbox = from.outbox = this.#outboxes[this.#nextOutbox]!;
      this.#nextOutbox = (this.#nextOutbox + 1) & (OUTBOXES - 1);
    }
    outbox.add(socket, this.checkedTarget, bytes, at, length);
    this.loop.post(this);
  }

  #sendToName(
    association: Association,
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void {
    const { now } = this.loop;
    const { names } = association;
    const named = names.find(bytes, addressAt, addressLength) ??
      this.#addName(association, bytes, addressAt, addressLength);
    if (named === undefined) {
      this.counters.noAddress++;
      return;
    }
    if (named.rulesVersion !== this.#rulesVersion) {
      named.decide(this.#decide(association, named.target), this.#rulesVersion);
    }
    if (named.isReady(now)) this.#sendChecked(association, named, bytes, at, length);
    else if (!named.keep(bytes, at, length)) this.counters.noAddress++;
  }

  #addName(
    association: Association,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): NamedTarget | undefined {
    if (this.#target.readSocks(bytes, at, length) <= 0) return undefined;
    const pending = this.#decide(association, this.#target);
    const key = bytes.slice(at, at + length);
    return association.names.add(key, this.#target, pending, this.#rulesVersion);
  }

  #decide(association: Association, target: Target): Pending {
    return this.#routes.rules.decideBeforeResolution(association.user, "udp", target);
  }

  /** Has the log told what the rules, which have just filled `checkedTarget`, say of a target. */
  #tell(
    association: Association,
    outbound: number,
    ip: Uint8Array,
    port: number,
    length: number,
    name?: string,
  ): void {
    const { rule } = this.checkedTarget;
    const refused = outbound === Verdict.REFUSED_ADDRESS
      ? OpenedCode.notPublic
      : outbound === Verdict.REJECTED
      ? OpenedCode.denied
      : undefined;
    const chosen = refused === undefined ? this.#routes.rules.outbounds[outbound]?.name ?? "" : "";
    const verdict = { outbound: chosen, rule, ...(refused === undefined ? {} : { refused }) };
    association.story?.sent(ip, port, name, verdict, length);
  }

  #sendChecked(
    association: Association,
    named: NamedTarget,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    const { address, pending } = named;
    if (pending.step === "reject" || address === undefined) {
      if (pending.step === "reject") this.counters.refused++;
      else this.counters.noAddress++;
      association.story?.lost(named.target.toString(), named.outcome);
    } else {
      const outbound = pending.check(address, 0, this.checkedTarget);
      const { target } = named;
      if (association.story !== undefined) {
        this.#tell(association, outbound, address, target.port, length, target.toString());
      }
      this.#named = named;
      this.#sendBy(outbound, association, bytes, at, length);
      this.#named = undefined;
    }
  }
}

/** A datagram that waits for a socket. */
interface Kept {
  readonly ip: Uint8Array;
  readonly port: number;
  readonly bytes: Uint8Array;
  /** The name that it goes to, where it goes to one. */
  readonly named: NamedTarget | undefined;
}

/** One association: its sockets, and the names that its datagrams went to. */
export class Association implements ExitItem, Turn {
  readonly session: DatagramSession;
  readonly id: number;
  readonly user: string;
  readonly names: DatagramNames;
  /** What the log is told of its targets, where somebody reads that. */
  readonly story: DatagramStory | undefined;
  lastUsed = 0;
  /** The client has ended it, and datagrams wait still. */
  isEnding = false;
  isClosed = false;
  /** It may open a socket for what is sent now. */
  isTurn = false;
  readonly #owner: TargetAssociations;
  #kept: Kept[] = [];
  /** By the names of their outbounds; "": from any address of this machine. */
  readonly #sockets = new Map<string, AssociationSocket>();

  constructor(owner: TargetAssociations, session: DatagramSession, id: number, user: string) {
    this.#owner = owner;
    this.session = session;
    this.id = id;
    this.user = user;
    const { options } = owner;
    this.story = options.log?.datagrams(user);
    this.names = new DatagramNames(
      options.resolver,
      (named, bytes) => owner.sendLate(this, named, bytes),
      () => owner.routes.dial ?? {},
      this,
    );
  }

  get connectionsMax(): number {
    return this.#owner.connectionsMaxOf(this.session);
  }

  /** Whether datagrams wait for their socket. */
  get isWaiting(): boolean {
    return this.#kept.length > 0;
  }

  get keptCount(): number {
    return this.#kept.length;
  }

  keep(kept: Kept): void {
    this.#kept.push(kept);
    this.#owner.keptBytes += kept.bytes.length;
  }

  /** The socket that an outbound of this machine's own goes by, where it is open. */
  find(name: string, origin: Origin, isIpv4: boolean): AssociationSocket | undefined {
    const socket = this.#sockets.get(keyOf(name, origin, isIpv4));
    return socket?.origin === origin ? socket : undefined;
  }

  open(name: string, origin: Origin, isIpv4: boolean): AssociationSocket {
    const key = keyOf(name, origin, isIpv4);
    const [source] = sourcesOf(origin, isIpv4);
    this.#sockets.get(key)?.close();
    this.#sockets.delete(key);
    const socket = new AssociationSocket(this.#owner, this, origin, source);
    this.#sockets.set(key, socket);
    return socket;
  }

  /** Sends what has waited. */
  takeTurn(): void {
    const owner = this.#owner;
    for (const { ip, port, bytes, named } of this.#takeKept()) {
      this.isTurn = true;
      if (named !== undefined) owner.sendLate(this, named, bytes);
      else owner.sendTo(this, ip, port, bytes, 0, bytes.length);
    }
    this.isTurn = false;
    if (this.isEnding) owner.close(this);
  }

  giveWay(): void {
    this.#owner.giveWay(this);
  }

  /** Takes and sends nothing any more; whether there is something to be closed. */
  close(): boolean {
    this.isClosed = true;
    this.story?.ended();
    this.#owner.turns.cancel(this.session, this);
    this.#takeKept();
    this.names.close();
    return this.#sockets.size > 0;
  }

  /** The turn in which its sockets are closed. */
  get closing(): Turn {
    return {
      takeTurn: () => {
        for (const socket of this.#sockets.values()) socket.close();
        this.#owner.released(this);
      },
    };
  }

  #takeKept(): Kept[] {
    const kept = this.#kept;
    this.#kept = [];
    for (const { bytes } of kept) this.#owner.keptBytes -= bytes.length;
    return kept;
  }
}

/** A source address is of one family; to the other one an outbound goes from any. */
function sourcesOf({ sources = [] }: Origin, isIpv4: boolean): readonly Endpoint[] {
  return sources.filter(({ ip }) => isIpv4Mapped(ip) === isIpv4);
}

function keyOf(name: string, origin: Origin, isIpv4: boolean): string {
  if (origin.sources === undefined) return name;
  return sourcesOf(origin, isIpv4).length > 0 ? `${name} ${isIpv4 ? 4 : 6}` : name;
}

/** A socket of an association, and the answers that come to it. */
export class AssociationSocket implements Watcher {
  readonly socket: UdpSocket;
  readonly origin: Origin;
  /** Where its datagrams gather, as long as that has its socket. */
  outbox: DatagramOutbox | undefined;
  readonly #owner: TargetAssociations;
  readonly #association: Association;
  readonly #tag: number;

  constructor(owner: TargetAssociations, association: Association, origin: Origin, source = ANY) {
    this.#owner = owner;
    this.#association = association;
    this.origin = origin;
    const { device } = origin;
    const { loop } = owner;
    this.socket = new UdpSocket(loop.native, {
      local: source,
      packetInfo: false,
      isSpared: true,
      ...(device === undefined ? {} : { device }),
    });
    try {
      this.#tag = loop.watch(this.socket.fd, EpollEvent.in, this);
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  /** Answers have come. */
  ready(): void {
    if (this.socket.closed || this.#association.isClosed) return;
    try {
      for (let i = 0; i < BATCHES_A_ROUND && this.#receive(); i++);
      this.#association.lastUsed = this.#owner.loop.now;
      this.#owner.options.waker.wake(this.#association.session);
    } catch (error) {
      this.#owner.counters.faults++;
      this.#owner.loop.fault(error);
      this.#owner.close(this.#association);
    }
  }

  close(): void {
    if (this.outbox?.socket === this.socket) this.outbox.flush();
    this.#owner.loop.unwatch(this.#tag, this.socket.fd);
    this.socket.close();
  }

  /** Passes on one batch; whether there may be more. */
  #receive(): boolean {
    const { inbox, inboxAddresses, source, counters } = this.#owner;
    const count = this.socket.receive(inbox);
    let message = -1;
    let sourceLength = 0;
    for (let i = 0; i < count; i++) {
      if (inbox.message(i) !== message) {
        message = inbox.message(i);
        const word = message * routeWords;
        const port = inbox.messages[word + PORT_WORD]! & 0xffff;
        sourceLength = writeIpAddress(source, 0, source.length, inboxAddresses, 4 * word, port);
      }
      const at = inbox.offset(i);
      const length = inbox.length(i);
      const { session, id } = this.#association;
      if (session.sendDatagram(id, source, 0, sourceLength, inbox.arena, at, length)) {
        counters.received++;
        this.#association.story?.received(source, sourceLength, length);
      } else if (length > DATAGRAM_BYTES_MAX) counters.tooLong++;
      else counters.notTaken++;
    }
    return count > 0 && message === inbox.slots - 1;
  }
}

/** struct ph_addr: 16 bytes of IP, the port, the scope. */
const PORT_WORD = endpointWords - 2;

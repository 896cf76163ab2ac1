/**
 * Between a UDP socket and sessions, for client and server alike: headers are shown, packets are
 * opened in batches and handed to their sessions; what sessions build is sealed, masked and sent.
 *
 *     receive: socket, AF_XDP → unmask → (by id: session, window, key) → open → session.receive
 *     send:    session.build → header → seal → mask → AF_XDP or socket
 *
 * Nothing is allocated for a packet. Who may speak is decided before: only packets that open, and
 * were not seen, reach a session, its window, its keys or its routes.
 */

import { AeadBatch, AeadTable } from "../../ffi/aead.ts";
import { type Route, routeWords } from "../../ffi/endpoint.ts";
import { EpollEvent, monotonicMs } from "../../ffi/loop.ts";
import { PacketHeaders, PacketMask } from "../../ffi/mask.ts";
import { type DatagramInbox, UdpInbox, type UdpOptions, UdpSocket } from "../../ffi/udp.ts";
import type { XskPort } from "../../ffi/xsk.ts";
import { NO_NUMBER } from "../base/number_field.ts";
import { NO_KEY } from "../crypto/key_update.ts";
import type { Primitives } from "../crypto/primitives.ts";
import { ReplayWindows } from "../crypto/replay_window.ts";
import type { Tskd } from "../crypto/tskd.ts";
import type { Budget } from "../session/byte_ring.ts";
import type { Session } from "../session/session.ts";
import { DATA_OVERHEAD, HEADER_BYTES, PACKET_NUMBER_MAX } from "../wire/limits.ts";
import { isData, phaseOf } from "../wire/packet.ts";
import { ControlBatch } from "./control_batch.ts";
import { PeerTable } from "./peer_table.ts";
import type { Loop, Task, Watcher } from "../loop/loop.ts";
import { Outlet } from "../transport/udp.ts";
import { PACKET_ROOM, SendBatch } from "./send_batch.ts";
import { Peer, type PeerOwner } from "./peer.ts";

/** Receive calls in a round of the loop: a flood must not hold off timers and sending. */
const RECEIVES_A_ROUND = 4;
/** Packets that a session sends before the next one's turn. */
const PACKETS_A_TURN = 64;
/** Batches sent in a round; then it is the turn of what came in. */
const BATCHES_A_ROUND = 8;
const SOCKET_BUFFER_BYTES = 8 << 20;
/** A timer is moved to an earlier time only for so much; a later one is seen when it fires. */
const TIMER_SLACK_MS = 0.5;
/** A timer that is due although nothing could be done comes again after this. */
const TIMER_AGAIN_MS = 1;
/** Four keys a session: what seals, and of what opens the old, the present and the next one. */
const KEYS_A_SESSION = 4;

/** What came in. */
export class ReceiveCounters {
  datagrams = 0;
  bytes = 0;
  /** Nothing that we can read: dropped in silence. */
  junk = 0;
  /** DATA for a session that is not here. */
  strangers = 0;
  /** DATA that was seen, or is older than the window. */
  repeated = 0;
  /** DATA whose tag is wrong. */
  forged = 0;
  /** DATA over a user's rate. */
  overRate = 0;
}

/** The tunnel over a packet path. */
export interface PathOwner {
  /** The i-th datagram of the inbox is a HELLO, ACCEPT or RESET by its header, or says so. */
  handshake(kind: number, i: number): void;
  /** The i-th datagram is DATA of a session that is not here. */
  stranger(session: number, number: number, i: number): void;
  /** The first packet of a session opened. */
  confirmed(link: Peer, now: number): void;
  /** A packet opened that came by a route the session does not know; the path's index, or -1. */
  newRoute(link: Peer, i: number, now: number): number;
  /** The link's own time (`ownDueAt`) has come. */
  ownDue(link: Peer, now: number): void;
  /** A turn of sending is over. */
  flushed(link: Peer, now: number): void;
  /** The session is over, and all that was held for it is let go of. */
  released(link: Peer, now: number): void;
}

export interface PacketPumpOptions {
  readonly primitives: Primitives;
  readonly tskd: Tskd;
  /** Of the streams of all sessions. */
  readonly budget: Budget;
  readonly sessionsMax: number;
  /** Our idea of the server's clock. */
  readonly unixMs: () => number;
}

export class PacketPump implements Watcher, Task, PeerOwner {
  isPosted = false;
  readonly primitives: Primitives;
  readonly tskd: Tskd;
  readonly links: PeerTable;
  readonly windows: ReplayWindows;
  readonly table: AeadTable;
  readonly #udpInbox = new UdpInbox();
  /** Of the batch that is being worked on: the socket's, or AF_XDP's. */
  inbox: DatagramInbox = this.#udpInbox;
  readonly headers: PacketHeaders = new PacketHeaders(this.#udpInbox.spanMax);
  readonly control: ControlBatch;
  readonly sends: SendBatch;
  readonly received: ReceiveCounters = new ReceiveCounters();
  /** Monotonic ms: of the batch that is being worked on. */
  now: number = NO_NUMBER;
  readonly #loop: Loop;
  readonly #owner: PathOwner;
  readonly #options: PacketPumpOptions;
  readonly #mask: PacketMask;
  readonly #opens = new AeadBatch(this.#udpInbox.spanMax);
  readonly #openLinks: (Peer | undefined)[] = new Array(this.#udpInbox.spanMax).fill(
    undefined,
  );
  readonly #openSpans = new Int32Array(this.#udpInbox.spanMax);
  readonly #queue = new LinkQueue();
  /** Sessions that were found to be over while a batch was filled. */
  readonly #ended: Peer[] = [];
  readonly #outlet: Outlet;
  #socket: UdpSocket | undefined;
  /** AF_XDP beside the socket, and whether it brought the batch that is being worked on. */
  #port: XskPort | undefined;
  #learning: XskPort | undefined;
  #tag = -1;
  #lastId = 0;
  #lastLink: Peer | undefined;
  // The path of the packets of one message, which share a route.
  #routeLink: Peer | undefined;
  #routeMessage = -1;
  #routePath = -1;

  constructor(loop: Loop, owner: PathOwner, options: PacketPumpOptions) {
    this.#loop = loop;
    this.#owner = owner;
    this.#options = options;
    this.now = loop.now;
    this.primitives = options.primitives;
    this.tskd = options.tskd;
    this.#mask = new PacketMask(loop.native);
    this.#outlet = new Outlet(loop);
    this.links = new PeerTable(options.sessionsMax);
    this.windows = new ReplayWindows(options.sessionsMax);
    this.table = new AeadTable(loop.native, KEYS_A_SESSION * options.sessionsMax);
    this.control = new ControlBatch(this.#mask);
    this.sends = new SendBatch(this.table, this.#mask, options.budget);
  }

  /** The socket; there is one between `open` and `close`. */
  get socket(): UdpSocket {
    if (this.#socket === undefined) throw new Error("Cannot use the packet path as it is closed");
    return this.#socket;
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  get unixMs(): number {
    return this.#options.unixMs();
  }

  /** Opens the socket, in place of an earlier one. */
  open(options: UdpOptions): void {
    const socket = new UdpSocket(this.#loop.native, {
      receiveBufferBytes: SOCKET_BUFFER_BYTES,
      sendBufferBytes: SOCKET_BUFFER_BYTES,
      dontFragment: true,
      ...options,
    });
    this.#closeSocket();
    this.#socket = this.#outlet.socket = socket;
    this.#tag = this.#loop.watch(socket.fd, EpollEvent.in, this);
    this.tick();
  }

  /** Releases all sessions without a word, wipes all keys, closes the socket. */
  close(): void {
    for (const link of this.links.all()) this.release(link);
    this.#closeSocket();
    this.table.close();
    this.tskd.wipe();
  }

  #closeSocket(): void {
    if (this.#socket === undefined) return;
    this.sends.discard();
    this.#loop.unwatch(this.#tag, this.#socket.fd);
    this.#socket.close();
    this.#socket = this.#outlet.socket = undefined;
  }

  /** Has AF_XDP beside the socket from now on, or no more. */
  setPort(port: XskPort | undefined): void {
    this.#port = this.#outlet.port = port;
  }

  // ---- sessions ----

  linkOf(session: Session): Peer | undefined {
    const link = session.tag;
    return link instanceof Peer && link.isOf(this) ? link : undefined;
  }

  /** Takes a session in. Its packets are dropped until it is active. */
  add(link: Peer): void {
    this.links.add(link);
    link.window = this.windows.acquire();
    link.session.tag = link;
    this.#lastLink = undefined;
  }

  /** The session has something to send, perhaps: at the end of the round it may. */
  touch(link: Peer): void {
    if (!link.isQueued && link.isActive) this.#queue.push(link);
    this.#loop.post(this);
  }

  /** Ends a session, lets go of everything that was held for it, and wipes its keys. */
  release(link: Peer): void {
    if (link.isReleased) return;
    link.isReleased = true;
    link.isActive = false;
    const { session } = link;
    // As if it had been silent for ever: the application hears of it, the peer does not.
    if (!session.isDone) session.onTimeout(Infinity);
    this.#loop.disarm(link);
    link.sendKeys?.wipe();
    link.receiveKeys?.wipe();
    this.windows.release(link.window);
    this.links.remove(link);
    session.tag = undefined;
    this.#lastLink = this.#routeLink = undefined;
    this.#owner.released(link, this.now);
  }

  // ---- receiving ----

  ready(events: number): void {
    if ((events & EpollEvent.out) !== 0) this.#writable();
    if ((events & ~EpollEvent.out) === 0) return;
    for (let i = 0; i < RECEIVES_A_ROUND; i++) {
      const inbox = this.#udpInbox;
      const count = this.socket.receive(inbox);
      if (count === 0) return;
      this.inbox = inbox;
      this.#takeBatch(count);
      // Not every slot was needed: that was all.
      if (inbox.message(count - 1) + 1 < inbox.slots || !this.isOpen) return;
    }
  }

  /** The port has received so many datagrams. */
  takePort(count: number): void {
    if (this.#port === undefined) return;
    this.inbox = this.#port.inbox;
    this.#learning = this.#port;
    this.#takeBatch(count);
    this.#learning = undefined;
  }

  /** Keeps the keys of the windows in step with the clock. */
  tick(): void {
    if (!this.tskd.tick(this.unixMs)) return;
    this.#mask.setKeys(this.tskd.maskKeys, this.tskd.maskCount);
  }

  #takeBatch(count: number): void {
    const { received, inbox } = this;
    this.now = monotonicMs(this.#loop.native);
    this.tick();
    this.#mask.unmask(inbox, this.headers);
    this.#opens.clear();
    this.#routeMessage = -1;
    received.datagrams += count;
    for (let i = 0; i < count; i++) this.#take(i);
    const opens = this.#opens;
    if (opens.count > 0) {
      this.table.open(opens, inbox.arena);
      for (let k = 0; k < opens.count; k++) this.#deliver(k);
    }
    if (!this.control.isEmpty && this.isOpen) this.sendControl();
  }

  #take(i: number): void {
    const { headers, received } = this;
    const kind = headers.kind(i);
    received.bytes += this.inbox.length(i);
    if (kind === 0 || this.inbox.isTruncated(i)) {
      received.junk++;
      return;
    }
    if (!isData(kind)) return this.#owner.handshake(kind, i);
    const number = headers.number(i);
    const link = this.#find(headers.session(i));
    if (link === undefined) {
      received.strangers++;
      return this.#owner.stranger(headers.session(i), number, i);
    }
    if (!link.isActive) return;
    if (number > PACKET_NUMBER_MAX || !this.windows.check(link.window, number)) {
      received.repeated++;
      return;
    }
    this.#addOpen(link, i, number, link.receiveKeys!.keyFor(phaseOf(kind), number));
  }

  #addOpen(link: Peer, i: number, number: number, key: number): void {
    const { inbox, received } = this;
    const length = inbox.length(i);
    if (key === NO_KEY) {
      received.forged++;
      return;
    }
    const at = inbox.offset(i);
    const textBytes = length - DATA_OVERHEAD;
    const k = this.#opens.add(key, number, at, HEADER_BYTES, at + HEADER_BYTES, textBytes);
    this.#openLinks[k] = link;
    this.#openSpans[k] = i;
  }

  #find(id: number): Peer | undefined {
    if (this.#lastLink !== undefined && this.#lastId === id) return this.#lastLink;
    this.#lastId = id;
    this.#lastLink = this.links.find(id);
    return this.#lastLink;
  }

  /** The k-th of the opened. */
  #deliver(k: number): void {
    const link = this.#openLinks[k]!;
    this.#openLinks[k] = undefined;
    if (this.#opens.result(k) !== 0) {
      this.received.forged++;
      return;
    }
    if (link.isReleased) return;
    const i = this.#openSpans[k]!;
    const number = this.headers.number(i);
    // Both copies of a packet may be in one batch.
    if (!this.windows.check(link.window, number)) {
      this.received.repeated++;
      return;
    }
    // Only now: who can't seal must not use up a user's rate. It counts as lost.
    const { receiveLimit, account } = link;
    if (account !== undefined) account.up += this.inbox.length(i);
    if (receiveLimit !== undefined && !receiveLimit.take(this.now, this.inbox.length(i))) {
      this.received.overRate++;
      return;
    }
    this.windows.mark(link.window, number);
    link.receiveKeys!.opened(this.primitives, phaseOf(this.headers.kind(i)), number, this.now);
    const path = this.#pathOf(link, i);
    if (path < 0) return;
    link.heardAt[path] = this.now;
    if (!link.isConfirmed) this.#confirm(link);
    const at = this.inbox.offset(i) + HEADER_BYTES;
    const length = this.inbox.length(i);
    const { arena } = this.inbox;
    link.session.receive(this.now, path, number, arena, at, length - DATA_OVERHEAD, length);
    if (!link.isQueued) this.touch(link);
  }

  #confirm(link: Peer): void {
    link.isConfirmed = true;
    this.#owner.confirmed(link, this.now);
  }

  /** The path that the i-th datagram came by. */
  #pathOf(link: Peer, i: number): number {
    const message = this.inbox.message(i);
    if (link === this.#routeLink && message === this.#routeMessage) return this.#routePath;
    this.#routeLink = link;
    this.#routeMessage = message;
    this.#learning?.learn(message);
    const { routes } = link;
    for (let path = 0; path < routes.length; path++) {
      const route = routes[path];
      if (route !== undefined && this.inbox.isRoute(i, route)) return this.#routePath = path;
    }
    return this.#routePath = this.#owner.newRoute(link, i, this.now);
  }

  /** A copy of the i-th datagram's route. */
  routeOf(i: number): Route {
    const route = new Uint32Array(routeWords);
    this.inbox.copyRoute(i, route);
    return route;
  }

  // ---- sending ----

  /** Sends what is in `control`; how many packets. */
  sendControl(): number {
    return this.control.send(this.#outlet);
  }

  runTask(): void {
    if (!this.isOpen || this.sends.isBlocked) return;
    for (let batch = 0; batch < BATCHES_A_ROUND && this.#queue.count > 0; batch++) {
      this.now = monotonicMs(this.#loop.native);
      this.tick();
      this.#sendBatch();
      if (this.sends.isBlocked) return this.#waitWritable();
    }
    if (this.#queue.count > 0) this.#loop.post(this);
  }

  /** Sends what there is, as far as the socket takes it, for the last time. */
  drain(): void {
    while (this.#queue.count > 0 && !this.sends.isBlocked) {
      this.#sendBatch();
    }
  }

  #sendBatch(): void {
    this.#fill();
    if (!this.sends.isEmpty) this.sends.send(this.#outlet);
    // Not before: their last words had to be sealed.
    while (this.#ended.length > 0) this.release(this.#ended.pop()!);
  }

  /** Builds packets, in turns, until there is no room or nobody has anything to send. */
  #fill(): void {
    while (this.#queue.count > 0 && this.sends.hasRoom) {
      const link = this.#queue.shift();
      if (!link.isReleased && this.#turn(link)) this.#settle(link);
      else if (!link.isReleased) this.#queue.push(link);
    }
  }

  /** One session's turn; whether it has nothing more to send now. */
  #turn(link: Peer): boolean {
    const { session } = link;
    if (link.isKeyDue(this.now)) {
      // Packets of its last turn may wait to be sealed, under the key that is about to go.
      this.sends.isComplete = !this.sends.isEmpty;
      if (this.sends.isComplete) return false;
      link.updateKeys(this.primitives, this.now);
    }
    link.noteSecond(this.now);
    const { sendLimit, account } = link;
    const room = Math.min(PACKET_ROOM, link.packetBytesMax) - DATA_OVERHEAD;
    for (let i = 0; i < PACKETS_A_TURN; i++) {
      if (!this.sends.hasRoom) return false;
      if (sendLimit !== undefined && sendLimit.available(this.now) <= 0) return true;
      const { largeBytes } = session;
      if (largeBytes > room && !this.sends.hasRoomFor(largeBytes)) {
        this.sends.isComplete = true;
        return false;
      }
      const { arena, textAt } = this.sends;
      const length = session.build(this.now, arena, textAt, Math.max(room, largeBytes));
      if (length === 0) return true;
      if (sendLimit !== undefined) sendLimit.charge(this.now, length + DATA_OVERHEAD);
      if (account !== undefined) account.down += length + DATA_OVERHEAD;
      this.sends.add(link, length);
    }
    return false;
  }

  /** After a turn: a session that is over goes, another one is called again when it wants. */
  #settle(link: Peer): void {
    const { session } = link;
    if (session.isDone) {
      this.#ended.push(link);
      return;
    }
    this.#owner.flushed(link, this.now);
    let at = Math.min(session.nextTimeout(), link.ownDueAt, link.receiveKeys!.expiresAt);
    if (link.sendLimit !== undefined && at <= this.now) {
      at = link.sendLimit.next(this.now, PACKET_ROOM);
    }
    if (at === Infinity) return;
    if (at <= this.now) at = this.now + TIMER_AGAIN_MS;
    if (link.heapIndex < 0 || at < link.dueAt - TIMER_SLACK_MS) this.#loop.arm(link, at);
  }

  /** The link's timer. */
  linkDue(link: Peer, now: number): void {
    this.now = now;
    link.session.onTimeout(now);
    link.receiveKeys?.expire(now);
    if (link.ownDueAt <= now) {
      link.ownDueAt = Infinity;
      this.#owner.ownDue(link, now);
    }
    if (!link.isReleased) this.touch(link);
  }

  #waitWritable(): void {
    this.#loop.change(this.#tag, this.socket.fd, EpollEvent.in | EpollEvent.out);
  }

  #writable(): void {
    if (this.sends.isBlocked) this.sends.resume(this.#outlet);
    if (this.sends.isBlocked) return;
    this.#loop.change(this.#tag, this.socket.fd, EpollEvent.in);
    this.#loop.post(this);
  }
}

const QUEUE_MIN = 64;

/** Links in turn, each at most once. */
class LinkQueue {
  #links: (Peer | undefined)[] = new Array(QUEUE_MIN).fill(undefined);
  #head = 0;
  count = 0;

  push(link: Peer): void {
    link.isQueued = true;
    if (this.count === this.#links.length) this.#grow();
    this.#links[(this.#head + this.count) & (this.#links.length - 1)] = link;
    this.count++;
  }

  /** The first; only while `count` is not 0. */
  shift(): Peer {
    const link = this.#links[this.#head]!;
    this.#links[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#links.length - 1);
    this.count--;
    link.isQueued = false;
    return link;
  }

  #grow(): void {
    const grown: (Peer | undefined)[] = new Array(2 * this.#links.length).fill(undefined);
    for (let i = 0; i < this.count; i++) {
      grown[i] = this.#links[(this.#head + i) & (this.#links.length - 1)];
    }
    this.#links = grown;
    this.#head = 0;
  }
}

/**
 * A second client of the protocol, written from its specification alone: small, and in no hurry.
 * It shares no code with the product; the two agree where the specification says enough.
 */
import { Buffer } from "node:buffer";
import { createSocket, type Socket } from "node:dgram";
import { decodeFrames, encodeFrame, encodeFrames, type Frame } from "./frames.ts";
import { hex } from "./bytes.ts";
import { InFlight, Received } from "./delivery.ts";
import { Stream } from "./stream.ts";
import * as wire from "./wire.ts";

const HELLO_WAITS_MS = [1000, 2000, 4000, 4000];
const SESSION_WINDOW = 16 * 2 ** 20;
const MAX_IN_FLIGHT = 48;
const TICK_MS = 10;
const OLD_KEY_MS = 3000;
const RESET_WITHIN_MS = 10_000;
const PACKET_OVERHEAD = 32;
const LARGEST_PACKET = 1200;
/** The code, on this side, of a stream that a HELLO opened in vain. */
export const NOT_RUN = -100;
const NOT_ELICITING: ReadonlySet<Frame["type"]> = new Set(["ack", "padding", "close"] as const);

/** One packet as it went or came; frames of what could be opened. */
export interface PacketEvent {
  direction: "sent" | "received";
  header: wire.Header;
  frames: Frame[];
  bytes: Uint8Array;
}

export interface Options {
  host: string;
  port: number;
  psk: Uint8Array;
  user?: wire.User;
  /** Part of the packets that is dropped, each way: 0.05 is 5 %. */
  loss?: number;
  /** Sends nothing by itself: no ACK, no answer to ACCEPT, no PONG. */
  quiet?: boolean;
  /** Parameter 1 of HELLO: the ciphers offered. */
  ciphers?: number;
  /** For what a HELLO must not say. */
  version?: number;
  timeOffsetMs?: number;
  windowOffset?: number;
  clientSession?: number;
  clientPublic?: Uint8Array;
  flags?: number;
  headerSession?: number;
  /** In place of the list that `ciphers` makes. */
  parameters?: Uint8Array;
  /** Of the client's own address; any by default. */
  localHost?: string;
  /** In place of this client's own socket. */
  socket?: () => Socket;
  onPacket?: (event: PacketEvent) => void;
}

export interface ReceivedDatagram {
  assoc: number;
  host: string;
  port: number;
  data: Uint8Array;
}

/** How a packet differs from what the client would send. */
export interface Sealing {
  oldKey?: boolean;
  windowOffset?: number;
  /** Of another session, or of none. */
  session?: number;
}

interface Epoch extends wire.DataKey {
  phase: number;
}

interface OldEpoch extends Epoch {
  until: number;
  /** The first number that the next key opened. */
  end: bigint;
}

/** The server knows this user and lets it not in. */
export class Refused extends Error {
  constructor(readonly code: number, readonly reason: string) {
    super(`refused with code ${code}: ${reason}`);
  }
}

function random(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

function random48(): number {
  return Number(new DataView(random(8).buffer).getBigUint64(0) >> 16n) || 1;
}

function after(epoch: Epoch): Epoch {
  return { ...epoch, key: wire.nextKey(epoch.key), phase: 1 - epoch.phase };
}

function delay(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

function tokensOf(frames: Frame[]): Uint8Array[] {
  return frames.flatMap((frame) => frame.type === "path_challenge" ? [frame.token] : []);
}

export class Client {
  readonly options: Options;
  readonly clientSession: number;
  readonly clientPublic: Uint8Array;
  readonly closed: Promise<Extract<Frame, { type: "close" }>>;
  readonly reset: Promise<wire.Reset>;
  readonly flight = new InFlight();
  /** ACCEPTs in the order in which they came. */
  readonly accepts: wire.Accept[] = [];
  /** What the server did against the specification. */
  readonly complaints: string[] = [];
  quiet: boolean;

  #keys: wire.Tskd;
  #userKey: Uint8Array;
  #privateKey = random(32);
  #socket: Socket;
  #helloFrames: Frame[] | undefined;
  #sending: Epoch | undefined;
  #sendingOld: Epoch | undefined;
  #receiving: Epoch | undefined;
  #receivingOld: OldEpoch | undefined;
  #clockOffset = 0;
  #nextNumber = 0;
  #sentAt = new Map<number, number>();
  #received = new Received();
  #owesAck = 0;
  #again: Frame[] = [];
  #control: Frame[] = [];
  #streams: Stream[] = [];
  #sendMax = SESSION_WINDOW;
  #sentBytes = 0;
  #granted = SESSION_WINDOW;
  #gotBytes = 0;
  #tookBytes = 0;
  #datagrams: ReceivedDatagram[] = [];
  #pongs = new Map<bigint, (ms: number) => void>();
  #pingId = 1n;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #over = false;
  #accepted = Promise.withResolvers<void>();
  #closed = Promise.withResolvers<Extract<Frame, { type: "close" }>>();
  #reset = Promise.withResolvers<wire.Reset>();
  #noise = 12345;

  constructor(options: Options) {
    this.options = options;
    this.quiet = options.quiet ?? false;
    this.#keys = new wire.Tskd(options.psk);
    this.#userKey = options.user?.key ?? options.psk;
    this.clientSession = options.clientSession ?? random48();
    this.clientPublic = options.clientPublic ?? wire.publicOf(this.#privateKey);
    this.closed = this.#closed.promise;
    this.reset = this.#reset.promise;
    this.#socket = this.#newSocket();
  }

  static async connect(options: Options): Promise<Client> {
    const client = new Client(options);
    try {
      await client.handshake();
    } catch (error) {
      client.stop();
      throw error;
    }
    return client;
  }

  /** HELLO with all that is queued as 0-RTT data, again with a fresh salt until an answer comes. */
  async handshake(waits: number[] = HELLO_WAITS_MS): Promise<void> {
    for (const wait of waits) {
      this.#transmit(this.hello());
      let timer: ReturnType<typeof setTimeout> | undefined;
      const silence = new Promise<boolean>((done) => timer = setTimeout(() => done(false), wait));
      const answered = await Promise.race([this.#accepted.promise.then(() => true), silence])
        .finally(() => clearTimeout(timer));
      if (answered) return;
    }
    throw new Error("no answer to HELLO");
  }

  /** A new HELLO of this session: fresh salt, the same keys and 0-RTT frames. */
  hello(): Uint8Array {
    this.#helloFrames ??= this.#collect(LARGEST_PACKET - 400);
    const now = this.#now();
    const hello: wire.Hello = {
      window: wire.windowOf(now) + (this.options.windowOffset ?? 0),
      user: this.options.user,
      userKey: this.#userKey,
      number: BigInt(random48()),
      salt: random(16),
      version: this.options.version ?? wire.VERSION,
      timeMs: now + (this.options.timeOffsetMs ?? 0),
      clientSession: this.clientSession,
      clientPublic: this.clientPublic,
      parameters: this.#parameters,
      flags: this.options.flags ?? 0,
      session: this.options.headerSession ?? 0,
      padding: random(random(1)[0] ?? 0),
      frames: encodeFrames(this.#helloFrames),
    };
    return this.#sealHello(hello);
  }

  /** The ciphers that HELLO names, as the server understands it. */
  get offered(): number {
    return wire.parseParameters(this.#parameters).ciphers;
  }

  /** The cipher of the session. */
  get cipher(): number | undefined {
    return this.#sending?.cipher;
  }

  get #parameters(): Uint8Array {
    const ciphers = this.options.ciphers ?? wire.CIPHER.chacha20 | wire.CIPHER.aes256;
    return this.options.parameters ?? wire.encodeParameters({ ciphers, frames: 0 });
  }

  #sealHello(hello: wire.Hello): Uint8Array {
    const clear = wire.sealHello(this.#keys, hello);
    const bytes = wire.mask(this.#keys.maskKey(hello.window), clear);
    const header = { session: 0, kind: wire.KIND.hello, number: hello.number };
    this.#show("sent", header, this.#helloFrames ?? [], bytes);
    return bytes;
  }

  open(host: string, port: number): Stream {
    const stream = new Stream({
      queue: (frames) => this.queue(frames),
      wake: () => this.#pump(),
      consumed: (bytes) => this.#consumed(bytes),
    }, this.#streams.length);
    this.#streams.push(stream);
    this.queue([{ type: "open", stream: stream.id, kind: 1, address: { host, port } }]);
    return stream;
  }

  datagram(assoc: number, host: string, port: number, data: Uint8Array): void {
    this.queue([{ type: "datagram", assoc, address: { host, port }, data }]);
  }

  /** The next datagram of an association; waits up to `ms`, then nothing. */
  async receiveDatagram(assoc: number, ms = 2000): Promise<ReceivedDatagram | undefined> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      const index = this.#datagrams.findIndex((datagram) => datagram.assoc === assoc);
      if (index >= 0) return this.#datagrams.splice(index, 1)[0];
      await delay(5);
    }
    return undefined;
  }

  /** The time of a PING's round trip; rejects after `ms`. */
  ping(ms = 2000): Promise<number> {
    const id = this.#pingId++;
    const pong = this.pong(id, ms);
    this.queue([{ type: "ping", id }]);
    return pong;
  }

  /** Waits for the PONG of this id. */
  pong(id: bigint, ms = 2000): Promise<number> {
    const start = performance.now();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no PONG within ${ms} ms`)), ms);
      this.#pongs.set(id, (at) => {
        clearTimeout(timer);
        resolve(at - start);
      });
    });
  }

  queue(frames: Frame[]): void {
    this.#control.push(...frames);
    this.#pump();
  }

  /** Sends these bytes as they are, from this client's socket. */
  raw(bytes: Uint8Array): void {
    if (this.#over) return;
    this.#socket.send(Buffer.from(bytes), this.options.port, this.options.host);
  }

  /** Leaves so many packet numbers out. */
  skipNumbers(count: number): void {
    this.#nextNumber += count;
  }

  /** One DATA packet with a number of its own, outside of recovery; not sent yet. */
  seal(frames: Frame[], how: Sealing = {}): Uint8Array {
    const epoch = how.oldKey ? this.#sendingOld : this.#sending;
    const accept = this.accepts[0];
    if (epoch === undefined || accept === undefined) throw new Error("no session, or no old key");
    const number = this.#nextNumber++;
    const session = how.session ?? accept.serverSession;
    const clear = wire.sealData(epoch, session, epoch.phase, number, encodeFrames(frames));
    const window = wire.windowOf(this.#now()) + (how.windowOffset ?? 0);
    const bytes = wire.mask(this.#keys.maskKey(window), clear);
    this.#sentAt.set(number, performance.now());
    const kind = epoch.phase === 0 ? wire.KIND.data0 : wire.KIND.data1;
    this.#show("sent", { session, kind, number: BigInt(number) }, frames, bytes);
    return bytes;
  }

  /** From the next packet on the next key, with the kind toggled. */
  updateKey(): void {
    if (this.#sending === undefined) throw new Error("no session");
    this.#sendingOld = this.#sending;
    this.#sending = after(this.#sending);
  }

  /** The phase in which the server sends. */
  get serverPhase(): number | undefined {
    return this.#receiving?.phase;
  }

  get localPort(): number {
    return this.#socket.address().port;
  }

  /** Moves to a new local port, as a NAT would without asking. */
  rebind(): void {
    const old = this.#socket;
    this.#socket = this.#newSocket();
    old.close();
  }

  async close(): Promise<void> {
    if (!this.#over && this.#sending !== undefined) {
      this.raw(this.seal([{ type: "close", code: 0, reason: "" }]));
      await delay(5);
    }
    this.stop();
  }

  /** Stops without a word to the server. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#ticker);
    this.#socket.close();
  }

  #newSocket(): Socket {
    const socket = this.options.socket?.() ?? createSocket("udp4");
    const { localHost } = this.options;
    if (localHost !== undefined) socket.bind(0, localHost);
    socket.on("message", (message: Uint8Array) => this.#onPacket(new Uint8Array(message)));
    socket.on("error", () => {});
    return socket;
  }

  #now(): number {
    return Math.round(Date.now() + this.#clockOffset);
  }

  #unlucky(): boolean {
    this.#noise = (Math.imul(this.#noise, 1103515245) + 12345) >>> 0;
    return (this.#noise >>> 8) / 2 ** 24 < (this.options.loss ?? 0);
  }

  #transmit(bytes: Uint8Array): void {
    if (!this.#unlucky()) this.raw(bytes);
  }

  #show(
    direction: "sent" | "received",
    header: wire.Header,
    frames: Frame[],
    bytes: Uint8Array,
  ): void {
    if (this.options.onPacket === undefined) return;
    this.options.onPacket({ direction, header, frames, bytes });
  }

  // Sending.

  #pump(): void {
    if (this.#sending === undefined || this.#over) return;
    while (this.flight.size < MAX_IN_FLIGHT) {
      const max = this.accepts[0]?.maxDatagram ?? LARGEST_PACKET;
      const frames = this.#collect(Math.min(max, LARGEST_PACKET) - PACKET_OVERHEAD);
      if (frames.length === 0) break;
      this.#sendData(frames);
    }
  }

  /** Frames for one packet: lost ones, then control, then data of the streams in turn. */
  #collect(room: number): Frame[] {
    const frames: Frame[] = [];
    let left = room;
    for (const queue of [this.#again, this.#control]) {
      for (let frame = queue[0]; frame !== undefined; frame = queue[0]) {
        const size = encodeFrame(frame).length;
        if (size > left) return frames;
        left -= size;
        frames.push(frame);
        queue.shift();
      }
    }
    for (const stream of this.#streams) {
      while (left > 64) {
        const frame = stream.next(left - 32, this.#sendMax - this.#sentBytes);
        if (frame === undefined) break;
        if (frame.type === "stream") this.#sentBytes += frame.data.length;
        left -= encodeFrame(frame).length;
        frames.push(frame);
      }
    }
    return frames;
  }

  #sendData(frames: Frame[]): void {
    const number = this.#nextNumber;
    if (frames.some((frame) => !NOT_ELICITING.has(frame.type))) this.flight.add(number, frames);
    this.#transmit(this.seal(frames));
  }

  #sendAck(): void {
    const ack = this.#received.ack();
    this.#owesAck = 0;
    if (ack !== undefined && !this.quiet && !this.#over) this.#sendData([ack]);
  }

  #onTick(): void {
    if (this.#owesAck > 0) this.#sendAck();
    const lost = this.flight.onTick();
    if (lost.length > 0) this.#again.unshift(...lost);
    this.#pump();
  }

  #consumed(bytes: number): void {
    this.#tookBytes += bytes;
    if (this.#granted - this.#tookBytes >= SESSION_WINDOW / 2) return;
    this.#granted = this.#tookBytes + SESSION_WINDOW;
    this.queue([{ type: "max_data", max: this.#granted }]);
  }

  // Receiving.

  #onPacket(bytes: Uint8Array): void {
    if (this.#over || this.#unlucky()) return;
    const found = wire.unmask(this.#keys, bytes, wire.windowOf(this.#now()));
    if (found === undefined) {
      this.complaints.push(`a packet of ${bytes.length} bytes whose header does not unmask`);
      return;
    }
    try {
      if (found.header.kind === wire.KIND.accept) this.#onAccept(found, bytes);
      else if (found.header.kind === wire.KIND.reset) this.#onReset(found, bytes);
      else if (found.header.kind === wire.KIND.hello) this.complaints.push("HELLO from a server");
      else this.#onData(found, bytes);
    } catch (error) {
      this.complaints.push(String(error));
    }
  }

  #onAccept(found: wire.Unmasked, bytes: Uint8Array): void {
    const accept = this.#openAccept(found);
    if (accept === undefined) return;
    const { ciphers: chosen } = wire.parseParameters(accept.parameters);
    const isRefused = (accept.flags & wire.FLAG.refused) !== 0;
    if (!isRefused && !this.#mayChoose(chosen)) return;
    const frames = decodeFrames(accept.frames);
    const first = this.accepts.length === 0;
    this.accepts.push(accept);
    this.#show("received", found.header, frames, bytes);
    if (isRefused) return this.#onRefusal(accept, frames);
    if (first) this.#begin(accept, chosen, frames);
    for (const frame of frames) {
      if (!first || frame.type !== "path_challenge") this.#onFrame(frame);
    }
  }

  #openAccept(found: wire.Unmasked): wire.Accept | undefined {
    if (found.header.session !== this.clientSession) {
      this.complaints.push("an ACCEPT with another client's session id");
      return undefined;
    }
    const windowKey = this.#keys.windowKey(found.window);
    const salt = found.clear.slice(16, 32);
    const key = wire.acceptKey(windowKey, this.#userKey, this.clientPublic, salt);
    const plaintext = wire.openSalted(key, found.clear);
    if (plaintext === undefined) {
      this.complaints.push("an ACCEPT that does not open");
      return undefined;
    }
    const accept = wire.parseAccept(plaintext);
    if (accept.version === wire.VERSION && accept.flags <= 2) return accept;
    this.complaints.push(`ACCEPT: version ${accept.version}, flags ${accept.flags}`);
    return undefined;
  }

  /** One cipher, of those that were offered. */
  #mayChoose(chosen: number): boolean {
    const { chacha20, aes256 } = wire.CIPHER;
    if ((chosen === chacha20 || chosen === aes256) && (this.offered & chosen) !== 0) return true;
    this.complaints.push(`an ACCEPT that chooses cipher ${chosen} of ${this.offered}`);
    return false;
  }

  #onRefusal(accept: wire.Accept, frames: Frame[]): void {
    const close = frames.find((frame) => frame.type === "close");
    const zeros = [accept.serverPublic, accept.resetToken].every((part) => part.every((b) => !b));
    if (close === undefined || accept.serverSession !== 0 || !zeros) {
      this.complaints.push("a refusal without CLOSE, or with a session");
    }
    this.#accepted.reject(new Refused(close?.code ?? -1, close?.reason ?? ""));
    this.#accepted.promise.catch(() => {});
  }

  /** The first DATA answers the challenge of ACCEPT, and says PING when there is nothing else. */
  #begin(accept: wire.Accept, chosen: number, frames: Frame[]): void {
    if (accept.serverSession === 0) this.complaints.push("an ACCEPT without a session");
    const shared = wire.x25519(this.#privateKey, accept.serverPublic);
    const { clientPublic } = this;
    const keys = wire.sessionKeys(
      ...[shared, this.#userKey, clientPublic, accept.serverPublic] as const,
      ...[this.offered, chosen] as const,
    );
    this.#privateKey.fill(0);
    this.#sending = { key: keys.clientToServer, phase: 0, cipher: chosen };
    this.#receiving = { key: keys.serverToClient, phase: 0, cipher: chosen };
    this.#clockOffset = accept.timeMs - Date.now();
    this.#ticker = setInterval(() => this.#onTick(), TICK_MS);
    if ((accept.flags & wire.FLAG.framesNotRun) !== 0) this.#failEarlyStreams();
    const [token] = tokensOf(frames);
    if (token === undefined) this.complaints.push("an ACCEPT without PATH_CHALLENGE");
    if (!this.quiet) this.answer(token);
    this.#pump();
    this.#accepted.resolve();
  }

  /** The first DATA packet of a client that was quiet until now. */
  answer(token?: Uint8Array): void {
    if (token !== undefined) this.#control.unshift({ type: "path_response", token });
    this.queue([{ type: "ping", id: 0n }]);
  }

  /** The challenges that came in ACCEPTs. */
  get challenges(): Uint8Array[] {
    return this.accepts.flatMap((accept) => tokensOf(decodeFrames(accept.frames)));
  }

  /** What a HELLO opened was not run, and is not tried once more. */
  #failEarlyStreams(): void {
    for (const frame of this.#helloFrames ?? []) {
      if (frame.type === "open") this.#streams[frame.stream]?.onReset(NOT_RUN);
    }
  }

  #onReset(found: wire.Unmasked, bytes: Uint8Array): void {
    const salt = found.clear.slice(16, 32);
    const key = wire.resetKey(this.#keys.windowKey(found.window), salt);
    const plaintext = wire.openSalted(key, found.clear);
    const accept = this.accepts[0];
    if (plaintext === undefined || accept === undefined) {
      this.complaints.push("a RESET that does not open");
      return;
    }
    const reset = wire.parseReset(plaintext);
    this.#show("received", found.header, [], bytes);
    const sentAt = this.#sentAt.get(Number(reset.number));
    if (hex(reset.resetToken) !== hex(accept.resetToken)) {
      this.complaints.push("a RESET with another token");
    } else if (reset.session !== accept.serverSession) {
      this.complaints.push("a RESET for another session");
    } else if (sentAt === undefined || performance.now() - sentAt > RESET_WITHIN_MS) {
      this.complaints.push("a RESET for a packet that was not sent just now");
    } else {
      this.#reset.resolve(reset);
    }
  }

  /** The plaintext under the key of its phase: the current, the old for a while, or the next. */
  #openData(found: wire.Unmasked): Uint8Array | undefined {
    const current = this.#receiving;
    if (current === undefined) return undefined;
    const { header, clear } = found;
    const phase = header.kind === wire.KIND.data0 ? 0 : 1;
    if (phase === current.phase) return wire.openData(current, header.number, clear);
    const old = this.#receivingOld;
    if (old !== undefined && performance.now() < old.until && header.number < old.end) {
      const plaintext = wire.openData(old, header.number, clear);
      if (plaintext !== undefined) return plaintext;
    }
    const next = after(current);
    const plaintext = wire.openData(next, header.number, clear);
    if (plaintext === undefined) return undefined;
    const until = performance.now() + OLD_KEY_MS;
    this.#receivingOld = { ...current, until, end: header.number };
    this.#receiving = next;
    return plaintext;
  }

  #onData(found: wire.Unmasked, bytes: Uint8Array): void {
    // Without its ACCEPT yet, DATA cannot be opened; the server sends it again.
    if (this.#receiving === undefined) return;
    if (found.header.session !== this.clientSession) {
      this.complaints.push("DATA with another session id");
      return;
    }
    const plaintext = this.#openData(found);
    if (plaintext === undefined) {
      this.complaints.push(`DATA ${found.header.number} that does not open`);
      return;
    }
    if (!this.#received.add(Number(found.header.number))) {
      this.complaints.push(`DATA ${found.header.number} came twice`);
      return;
    }
    const frames = decodeFrames(plaintext);
    this.#show("received", found.header, frames, bytes);
    for (const frame of frames) this.#onFrame(frame);
    if (frames.some((frame) => !NOT_ELICITING.has(frame.type))) this.#owesAck++;
    if (this.#owesAck >= 2) this.#sendAck();
  }

  #onFrame(frame: Frame): void {
    switch (frame.type) {
      case "ack":
        return this.#onAck(frame);
      case "ping":
        if (!this.quiet) this.queue([{ type: "pong", id: frame.id }]);
        return;
      case "pong":
        this.#pongs.get(frame.id)?.(performance.now());
        this.#pongs.delete(frame.id);
        return;
      case "path_challenge":
        if (this.quiet) return;
        this.#transmit(this.seal([{ type: "path_response", token: frame.token }]));
        return;
      case "datagram": {
        const { assoc, address, data } = frame;
        this.#datagrams.push({ assoc, ...address, data });
        return;
      }
      case "max_data":
        this.#sendMax = Math.max(this.#sendMax, frame.max);
        return this.#pump();
      case "close":
        return this.#closed.resolve(frame);
      case "opened":
      case "stream":
      case "fin":
      case "rst":
      case "max_stream":
        return this.#onStreamFrame(frame);
      case "open":
        this.complaints.push("OPEN from a server");
        return;
      default:
        return;
    }
  }

  #onAck(frame: Extract<Frame, { type: "ack" }>): void {
    if ((frame.ranges[0]?.last ?? 0) >= this.#nextNumber) {
      this.complaints.push("an ACK for a packet that was never sent");
    }
    this.#again.push(...this.flight.onAck(frame.ranges));
    this.#pump();
  }

  #onStreamFrame(frame: Extract<Frame, { stream: number }>): void {
    const stream = this.#streams[frame.stream];
    if (stream === undefined) {
      this.complaints.push(`${frame.type} for stream ${frame.stream}, which is not open`);
      return;
    }
    if (frame.type === "opened") {
      stream.onOpened({ code: frame.code, address: frame.address });
    } else if (frame.type === "stream") {
      this.#gotBytes += stream.onData(frame.offset, frame.data);
      if (stream.highest > stream.granted) this.complaints.push("over MAX_STREAM");
      if (this.#gotBytes > this.#granted) this.complaints.push("over MAX_DATA");
    } else if (frame.type === "fin") {
      stream.onFin(frame.final);
    } else if (frame.type === "rst") {
      stream.onReset(frame.code);
    } else if (frame.type === "max_stream") {
      stream.sendMax = Math.max(stream.sendMax, frame.max);
      this.#pump();
    }
  }
}

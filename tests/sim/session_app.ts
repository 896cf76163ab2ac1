// What runs over a session in a simulation: streams with known bytes, readers that dawdle, resets,
// datagrams, pings; and the books that tell whether all of it came out right.

import assert from "node:assert/strict";
import type { Session, SessionEvents } from "../../src/session/session.ts";
import { OpenedCode } from "../../src/wire/frames.ts";
import { Rng } from "../fuzz/rng.ts";
import type { Endpoint } from "./session_endpoint.ts";

const PATTERN_BYTES = 65_521;
/** Two periods, so that any piece of up to one lies in it whole. */
const PATTERN = new Rng(7).bytes(2 * PATTERN_BYTES).copyWithin(PATTERN_BYTES, 0);
const ADDRESS = Uint8Array.of(1, 192, 0, 2, 1, 1, 187);
const CHUNK = 16_384;

/** The bytes of one direction of a stream, from any offset. */
function patternAt(key: number, offset: number): number {
  return (key * 7919 + offset) % PATTERN_BYTES;
}

/** One end of one stream. */
class End {
  readonly id: number;
  /** Bytes to be sent; grows with an echo. */
  toSend: number;
  finishes = false;
  sent = 0;
  got = 0;
  answer = -1;
  opened = 0;
  ended = 0;
  reset = false;
  wasReset = false;
  gone = 0;
  isEcho = false;
  /** Share of what is offered that the reader takes; below 1 it dawdles. */
  greed = 1;

  constructor(id: number, toSend: number) {
    this.id = id;
    this.toSend = toSend;
  }
}

export interface AppOptions {
  readonly isClient: boolean;
  readonly rng: Rng;
  /** Shares of streams. */
  readonly refused?: number;
  readonly resets?: number;
  readonly echoes?: number;
  readonly dawdles?: number;
  /** Most bytes that a server's stream sends of its own accord. */
  readonly replyMax?: number;
}

export class App implements SessionEvents {
  readonly ends = new Map<number, End>();
  readonly assocsEnded = new Set<number>();
  endpoint!: Endpoint;
  goneCount = 0;
  datagrams = 0;
  pongs = 0;
  proven: number[] = [];
  died: number[] = [];
  closeCode = -1;
  closedLocally = false;
  onProven: ((path: number) => void) | undefined;
  readonly #options: AppOptions;
  readonly #datagramsSeen = new Set<number>();
  #datagramsSent = 0;

  constructor(options: AppOptions) {
    this.#options = options;
  }

  get datagramsSent(): number {
    return this.#datagramsSent;
  }

  // ---- what the simulation does

  /** Opens a stream that sends so many bytes. */
  open(bytes: number): number {
    const { rng } = this.#options;
    const id = this.endpoint.session.openStream(ADDRESS);
    assert.ok(id >= 0, "no stream to be had");
    const end = this.#add(id, bytes);
    end.finishes = true;
    this.#send(end);
    if (rng.chance(this.#options.resets ?? 0)) this.#resetLater(end);
    this.endpoint.pump();
    return id;
  }

  sendDatagram(bytes: number): void {
    const data = new Uint8Array(4 + bytes).fill(this.#datagramsSent & 0xff);
    new DataView(data.buffer).setUint32(0, this.#datagramsSent);
    const { session } = this.endpoint;
    const sent = session.sendDatagram(3, ADDRESS, 0, ADDRESS.length, data, 0, data.length);
    if (sent) this.#datagramsSent++;
    this.endpoint.pump();
  }

  #add(id: number, toSend: number): End {
    assert.ok(!this.ends.has(id), `stream ${id} twice`);
    const end = new End(id, toSend);
    const { rng, dawdles } = this.#options;
    if (rng.chance(dawdles ?? 0)) end.greed = rng.float();
    this.ends.set(id, end);
    return end;
  }

  #resetLater(end: End): void {
    const { clock, session } = this.endpoint;
    const { rng } = this.#options;
    const delay = rng.chance(0.3) ? 0 : 10 ** (4 * rng.float());
    clock.after(delay, () => {
      if (end.gone > 0 || this.closeCode >= 0) return;
      end.reset = true;
      session.reset(end.id, 1);
      this.endpoint.pump();
    });
  }

  /** Writes on until the session takes no more. */
  #send(end: End): void {
    const { session } = this.endpoint;
    if (end.reset || end.wasReset) return;
    while (end.sent < end.toSend) {
      const at = patternAt(2 * end.id + Number(this.#options.isClient), end.sent);
      const length = Math.min(end.toSend - end.sent, CHUNK);
      const taken = session.write(end.id, PATTERN, at, length);
      end.sent += taken;
      if (taken < length) return;
    }
    if (end.finishes) session.finish(end.id);
  }

  #check(end: End, bytes: Uint8Array, at: number, length: number): void {
    const from = patternAt(2 * end.id + Number(!this.#options.isClient), end.got);
    for (let i = 0; i < length; i++) {
      if (bytes[at + i] === PATTERN[(from + i) % PATTERN_BYTES]) continue;
      assert.fail(`stream ${end.id}: a wrong byte at ${end.got + i}`);
    }
  }

  // ---- events

  opened(_session: Session, id: number, bytes: Uint8Array, at: number, length: number): void {
    assert.ok(!this.#options.isClient);
    assert.deepEqual([...bytes.subarray(at, at + length)], [...ADDRESS]);
    const { rng, refused, echoes, resets, replyMax } = this.#options;
    const reply = Math.floor((replyMax ?? 0) ** rng.float());
    const end = this.#add(id, reply);
    end.opened++;
    if (rng.chance(refused ?? 0)) return this.#answer(end, OpenedCode.refused);
    end.isEcho = rng.chance(echoes ?? 0);
    if (end.isEcho) end.toSend = 0;
    else end.finishes = true;
    if (rng.chance(0.5)) this.#answer(end, OpenedCode.ok);
    else {
      this.endpoint.clock.after(rng.int(0, 500), () => {
        if (this.closeCode >= 0 || end.gone > 0) return;
        this.#answer(end, OpenedCode.ok);
        this.endpoint.pump();
      });
    }
    if (rng.chance(resets ?? 0)) this.#resetLater(end);
  }

  #answer(end: End, code: number): void {
    const { session } = this.endpoint;
    end.answer = code;
    session.answer(end.id, code, ADDRESS);
    if (code === OpenedCode.ok) this.#send(end);
  }

  answered(_session: Session, id: number, code: number): void {
    const end = this.#end(id);
    assert.equal(end.answer, -1, `stream ${id} is answered twice`);
    end.answer = code;
  }

  data(session: Session, id: number, bytes: Uint8Array, at: number, length: number): number {
    const end = this.#end(id);
    assert.ok(length > 0 && !end.reset && !end.wasReset && end.ended === 0);
    const taken = end.greed === 1 ? length : Math.floor(length * end.greed);
    this.#check(end, bytes, at, taken);
    end.got += taken;
    if (taken < length) {
      this.endpoint.clock.after(this.#options.rng.int(1, 200), () => {
        if (this.closeCode >= 0 || end.gone > 0) return;
        // It gets hungrier, or it would never end.
        end.greed = Math.min(1, end.greed + 0.1);
        session.resume(id);
        this.endpoint.pump();
      });
    }
    if (end.isEcho) {
      end.toSend += taken;
      if (end.answer === OpenedCode.ok) this.#send(end);
    }
    return taken;
  }

  ended(_session: Session, id: number): void {
    const end = this.#end(id);
    end.ended++;
    if (!end.isEcho) return;
    end.finishes = true;
    if (end.answer === OpenedCode.ok) this.#send(end);
  }

  wasReset(_session: Session, id: number): void {
    const end = this.#end(id);
    assert.ok(!end.wasReset, `stream ${id} is reset twice`);
    end.wasReset = true;
  }

  writable(_session: Session, id: number): void {
    this.#send(this.#end(id));
  }

  gone(_session: Session, id: number): void {
    this.#end(id).gone++;
    this.goneCount++;
  }

  datagram(
    _session: Session,
    assoc: number,
    bytes: Uint8Array,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void {
    assert.equal(assoc, 3);
    const address = bytes.subarray(addressAt, addressAt + addressLength);
    assert.deepEqual([...address], [...ADDRESS]);
    const number = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
    assert.ok(!this.#datagramsSeen.has(number), `datagram ${number} twice`);
    this.#datagramsSeen.add(number);
    for (let i = 4; i < length; i++) assert.equal(bytes[at + i], number & 0xff);
    this.datagrams++;
  }

  assocEnded(_session: Session, assoc: number): void {
    this.assocsEnded.add(assoc);
  }

  pong(): void {
    this.pongs++;
  }

  pathProven(_session: Session, path: number): void {
    this.proven.push(path);
    this.onProven?.(path);
  }

  pathDied(_session: Session, path: number): void {
    this.died.push(path);
  }

  closed(_session: Session, code: number, isLocal: boolean): void {
    assert.equal(this.closeCode, -1, "closed twice");
    this.closeCode = code;
    this.closedLocally = isLocal;
  }

  #end(id: number): End {
    const end = this.ends.get(id);
    assert.ok(end !== undefined, `nobody knows stream ${id}`);
    assert.equal(end.gone, 0, `stream ${id} is gone`);
    return end;
  }
}

/** Both ends of every stream came out right, and all are gone. */
export function checkStreams(client: App, server: App): void {
  for (const [id, end] of client.ends) {
    const other = server.ends.get(id);
    assert.equal(end.gone, 1, `stream ${id} of the client is not gone: ${describe(end, other)}`);
    const upset = end.reset || end.wasReset || end.answer > 0 || other?.reset || other?.wasReset;
    if (other === undefined) {
      assert.ok(upset, `stream ${id} never came to the server`);
      continue;
    }
    assert.equal(other.gone, 1, `stream ${id} of the server is not gone: ${describe(end, other)}`);
    if (upset) continue;
    const state = `stream ${id}: ${describe(end, other)}`;
    assert.equal(end.answer, OpenedCode.ok, state);
    assert.deepEqual([end.ended, other.ended], [1, 1], state);
    assert.deepEqual([end.sent, other.sent], [end.toSend, other.toSend], state);
    assert.deepEqual([other.got, end.got], [end.sent, other.sent], state);
  }
  for (const id of server.ends.keys()) assert.ok(client.ends.has(id));
}

function describe(...ends: (End | undefined)[]): string {
  return JSON.stringify(ends);
}

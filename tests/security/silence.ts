/**
 * Packets that nobody may answer, at a server that has a live session and an ended one; as a
 * program of its own, so that it can run in another namespace:
 *
 *     deno run -A silence.ts HOST PORT PSK     the key in hex; prints the report as JSON
 */

import { unhex } from "../interop/bytes.ts";
import { Client, type PacketEvent } from "../interop/client.ts";
import { delay } from "../interop/peers.ts";
import * as wire from "../interop/wire.ts";
import { captured, type Place, pour, Stranger } from "./attacker.ts";

/** More than once a second no limit hides an answer. */
const PHASE_GAP_MS = 1100;
const HEADER_AND_SAMPLE_BITS = 256;
const LONGEST = 1472;
/** In the window of a socket's buffer even where the machine is busy. */
const PACE = { burst: 16, everyMs: 8 };
/** Longer than an acknowledgement waits, and than a probe timeout here. */
const SETTLED_MS = 600;

export interface SilenceReport {
  readonly sent: number;
  /** Phases that were answered, and how often. */
  readonly answers: Readonly<Record<string, number>>;
  /** What the answers were. */
  readonly kinds: readonly string[];
  /** An honest HELLO from the same socket was answered in the end. */
  readonly control: boolean;
}

interface Session {
  readonly id: number;
  /** The highest packet number that the server has seen. */
  readonly highest: bigint;
  readonly events: readonly PacketEvent[];
  /** Where its packets came from: the address is known to the server. */
  readonly own: Stranger;
  /** Sealed, and never sent: a censor holds them back. */
  readonly held: readonly Uint8Array[];
}

/** A session with packets of every kind in both directions; its port is ours afterwards. */
async function session(at: Place, psk: Uint8Array, ends: boolean): Promise<Session> {
  // A port of the client's own that somebody else can have after it.
  const { client, events } = await captured({ ...at, psk });
  for (let i = 0; i < 20; i++) await client.ping();
  client.updateKey();
  for (let i = 0; i < 5; i++) await client.ping();
  // Until all is acknowledged: nothing of the session is on its way any more.
  for (let seen = -1; seen !== events.length;) {
    seen = events.length;
    await delay(SETTLED_MS);
  }
  const { localPort } = client;
  if (ends) await client.close();
  const seenByServer = [...events];
  const held = ends ? [] : [client.seal([{ type: "ping", id: 7n }])];
  client.stop();
  const own = await Stranger.bind("0.0.0.0", localPort);
  const sent = seenByServer.filter(({ direction }) => direction === "sent");
  const numbers = sent.filter(({ header }) => header.session !== 0).map(({ header }) =>
    header.number
  );
  const highest = numbers.reduce((a, b) => a > b ? a : b, 0n);
  return { id: client.accepts[0]!.serverSession, highest, events: seenByServer, own, held };
}

function bytesOf(
  events: readonly PacketEvent[],
  direction: PacketEvent["direction"],
): Uint8Array[] {
  return events.filter((event) => event.direction === direction).map(({ bytes }) => bytes);
}

/** One packet of each kind and direction. */
function samples({ events, held }: Session): Uint8Array[] {
  const byKind = new Map<string, Uint8Array>();
  for (const { direction, header, bytes } of events) {
    byKind.set(`${direction} ${header.kind}`, bytes);
  }
  return [...byKind.values(), ...held];
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const out = bytes.slice();
  out[bit >> 3] = out[bit >> 3]! ^ 1 << (bit & 7);
  return out;
}

function* flipped(session: Session): Generator<Uint8Array> {
  for (const bytes of samples(session)) {
    for (let bit = 0; bit < HEADER_AND_SAMPLE_BITS; bit++) yield flip(bytes, bit);
  }
}

/** Behind the sample: nothing that opens. Of an ended session only what the server has seen. */
function* torn(session: Session): Generator<Uint8Array> {
  for (const bytes of samples(session)) {
    for (let bit = HEADER_AND_SAMPLE_BITS; bit < 8 * bytes.length; bit += 37) {
      yield flip(bytes, bit);
    }
  }
}

function* truncated(session: Session): Generator<Uint8Array> {
  for (const bytes of samples(session)) {
    for (let length = 0; length < bytes.length; length++) yield bytes.slice(0, length);
  }
}

function* random(): Generator<Uint8Array> {
  for (let length = 0; length <= LONGEST; length++) {
    yield crypto.getRandomValues(new Uint8Array(length));
  }
}

const PHASES: Readonly<Record<string, (session: Session) => Iterable<Uint8Array>>> = {
  reflected: ({ events }) => bytesOf(events, "received"),
  replayed: ({ events }) => bytesOf(events, "sent"),
  "header or sample flipped": flipped,
  "body flipped": torn,
  "cut short": truncated,
  "random bytes of all lengths": random,
};

export async function silence(at: Place, psk: Uint8Array): Promise<SilenceReport> {
  const sessions = await Promise.all([
    session(at, psk, false),
    session(at, psk, true),
  ]);
  const stranger = await Stranger.bind();
  const sockets = [stranger, ...sessions.map(({ own }) => own)];
  const answers: Record<string, number> = {};
  const kinds: string[] = [];
  for (const [name, packets] of Object.entries(PHASES)) {
    await delay(PHASE_GAP_MS / 2);
    const before = sockets.map(({ got }) => got);
    // A stranger, and who has the address of the session's client.
    for (const socket of sockets) {
      socket.onPacket = (bytes) => kinds.push(`${name}: ${described(bytes, psk, sessions)}`);
    }
    const floods = sessions.flatMap((session) =>
      [stranger, session.own].map((from) =>
        pour(packets(session), (bytes) => from.send(at, bytes), PACE)
      )
    );
    await Promise.all(floods);
    await delay(PHASE_GAP_MS / 2);
    sockets.forEach(({ got }, i) => {
      const more = got - before[i]!;
      if (more > 0) answers[`${name}, to ${["a stranger", "live", "ended"][i]}`] = more;
    });
  }
  const sent = sockets.reduce((sum, socket) => sum + socket.sent, 0);
  for (const socket of sockets) socket.onPacket = undefined;
  const control = await isAnswered(stranger, at, psk);
  for (const socket of sockets) socket.close();
  return { sent, answers, kinds, control };
}

/** What an answer is, for people: its kind, and of a RESET what caused it. */
function described(bytes: Uint8Array, psk: Uint8Array, sessions: readonly Session[]): string {
  const keys = new wire.Tskd(psk);
  const found = wire.unmask(keys, bytes, wire.windowOf(Date.now()));
  if (found === undefined) return `${bytes.length} bytes of junk`;
  if (found.header.kind !== wire.KIND.reset) return `kind ${found.header.kind}`;
  const key = wire.resetKey(keys.windowKey(found.window), found.clear.slice(16, 32));
  const { session, number } = wire.parseReset(wire.openSalted(key, found.clear)!);
  const whose = sessions.findIndex(({ id }) => id === session);
  const highest = sessions[whose]?.highest;
  return `RESET for ${number} of session ${whose}, whose highest is ${highest}`;
}

async function isAnswered(stranger: Stranger, at: Place, psk: Uint8Array): Promise<boolean> {
  const client = new Client({ ...at, psk });
  const before = stranger.got;
  stranger.send(at, client.hello());
  for (let i = 0; i < 100 && stranger.got === before; i++) await delay(20);
  client.stop();
  return stranger.got > before;
}

if (import.meta.main) {
  const [host = "", port = "", psk = ""] = Deno.args;
  console.log(JSON.stringify(await silence({ host, port: Number(port) }, unhex(psk))));
  Deno.exit(0);
}

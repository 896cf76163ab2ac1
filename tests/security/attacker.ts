/** What attackers share: strangers' sockets, floods at a pace, captured packets. */

import { Buffer } from "node:buffer";
import { createSocket, type Socket } from "node:dgram";
import { Client, type Options, type PacketEvent } from "../interop/client.ts";
import { encodeFrames, type Frame } from "../interop/frames.ts";
import { delay } from "../interop/peers.ts";

export interface Place {
  readonly host: string;
  readonly port: number;
}

const BIND_TRIES = 20;

/** A socket that sends what it is given, from an address of its choice, and answers nothing. */
export class Stranger {
  /** UDP payloads, in bytes. */
  sentBytes = 0;
  sent = 0;
  gotBytes = 0;
  got = 0;
  onPacket: ((bytes: Uint8Array) => void) | undefined;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (message: Uint8Array) => {
      this.got++;
      this.gotBytes += message.length;
      this.onPacket?.(new Uint8Array(message));
    });
    // A closed port somewhere is no concern of a stranger's.
    socket.on("error", () => {});
  }

  /** Bound to an address and port of this machine: any, unless they are given. */
  static async bind(host = "0.0.0.0", port = 0): Promise<Stranger> {
    for (let tries = BIND_TRIES;; tries--) {
      const socket = createSocket("udp4");
      try {
        await new Promise<void>((done, fail) => {
          socket.once("error", fail);
          socket.bind(port, host, done);
        });
        return new Stranger(socket);
      } catch (error) {
        // Who had the port before may be closing it still.
        if (tries === 0) throw error;
        await delay(50);
      }
    }
  }

  get port(): number {
    return this.#socket.address().port;
  }

  send(to: Place, bytes: Uint8Array): void {
    this.sent++;
    this.sentBytes += bytes.length;
    this.#socket.send(Buffer.from(bytes), to.port, to.host);
  }

  close(): void {
    this.#socket.close();
  }
}

export interface Pace {
  /** Packets at a time. @default {32} */
  readonly burst?: number;
  /** From one burst to the next. @default {5} */
  readonly everyMs?: number;
}

/** Sends packets at a pace that a socket's buffer holds. */
export async function pour(
  packets: Iterable<Uint8Array>,
  send: (bytes: Uint8Array) => void,
  { burst = 32, everyMs = 5 }: Pace = {},
): Promise<number> {
  let count = 0;
  for (const packet of packets) {
    send(packet);
    if (++count % burst === 0) await delay(everyMs);
  }
  return count;
}

/** Frames put together into as few packets as hold them. */
export function* packed(frames: Iterable<Frame>, room = 1150): Generator<Frame[]> {
  let packet: Frame[] = [];
  let size = 0;
  for (const frame of frames) {
    const { length } = encodeFrames([frame]);
    if (size + length > room && packet.length > 0) {
      yield packet;
      [packet, size] = [[], 0];
    }
    packet.push(frame);
    size += length;
  }
  if (packet.length > 0) yield packet;
}

/** Packets of a session that hold these frames, sealed one by one as they are wanted. */
export function* sealed(client: Client, frames: Iterable<Frame>): Generator<Uint8Array> {
  for (const packet of packed(frames)) yield client.seal(packet);
}

/** What several sessions are going to send alike: encoded once. */
export function payloadsOf(frames: Iterable<Frame>): Uint8Array[] {
  return [...packed(frames)].map((packet) => encodeFrames(packet));
}

/** Packets of a session with these payloads. */
export function* sealedAgain(
  client: Client,
  payloads: readonly Uint8Array[],
): Generator<Uint8Array> {
  for (const bytes of payloads) yield client.seal([{ type: "raw", bytes }]);
}

/** Numbers from 0 up to `count`, as frames. */
export function* times(count: number, frame: (i: number) => Frame | Frame[]): Generator<Frame> {
  for (let i = 0; i < count; i++) {
    const made = frame(i);
    if (Array.isArray(made)) yield* made;
    else yield made;
  }
}

/** A session and every packet of it. */
export async function captured(
  options: Options,
): Promise<{ readonly client: Client; readonly events: PacketEvent[] }> {
  const events: PacketEvent[] = [];
  const onPacket = (event: PacketEvent) => events.push(event);
  const client = await Client.connect({ ...options, onPacket });
  return { client, events };
}

/** Does `act` again and again, as fast as it goes, until it is told to stop. */
export function repeatedly(act: () => Promise<void>): () => Promise<void> {
  let isOver = false;
  const run = (async () => {
    while (!isOver) {
      await act();
      await delay(0);
    }
  })();
  run.catch(() => {});
  return async () => {
    isOver = true;
    await run;
  };
}

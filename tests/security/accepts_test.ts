/** The product's client, and a server of ours that answers HELLO wrong in every way, then right. */

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { Buffer } from "node:buffer";
import { piped, Running } from "../fixtures/process.ts";
import { concat } from "../interop/bytes.ts";
import { decodeFrames, encodeFrames, type Frame } from "../interop/frames.ts";
import { closedPort, delay, TREE, until } from "../interop/peers.ts";
import * as wire from "../interop/wire.ts";
import { securityTest } from "./stage.ts";

type Opened = ReturnType<typeof wire.openHello>;

/** What differs from an ACCEPT as it should be. */
interface Wrong {
  readonly version?: number;
  readonly flags?: number;
  readonly parameters?: Uint8Array;
  readonly serverSession?: number;
  readonly serverPublic?: Uint8Array;
  readonly userKey?: Uint8Array;
  readonly headerSession?: number;
}

const CHALLENGE = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

/** Hears the HELLOs of one client, and answers when it is told to. */
class FakeServer {
  readonly psk = crypto.getRandomValues(new Uint8Array(32));
  readonly hellos: Opened[] = [];
  /** Frames of DATA that opened under the keys of the right ACCEPT. */
  readonly frames: Frame[] = [];
  data = 0;
  port = 0;
  readonly #keys = new wire.Tskd(this.psk);
  readonly #private = crypto.getRandomValues(new Uint8Array(32));
  readonly #public = wire.publicOf(this.#private);
  readonly #socket: Socket = createSocket("udp4");
  readonly #session = 0x123456789abc;
  #client: { port: number; address: string } | undefined;
  #chosen = 0;

  static async open(): Promise<FakeServer> {
    const server = new FakeServer();
    const socket = server.#socket;
    socket.on("message", (message: Uint8Array, from: { port: number; address: string }) => {
      server.#client = from;
      server.#onPacket(new Uint8Array(message));
    });
    await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
    server.port = socket.address().port;
    return server;
  }

  get offered(): number {
    return wire.parseParameters(this.hellos.at(-1)!.parameters).ciphers;
  }

  /** Right, unless something is to be wrong. */
  accept(chosen: number, wrong: Wrong = {}): Uint8Array {
    const hello = this.hellos.at(-1)!;
    const now = Date.now();
    const window = wire.windowOf(now);
    const salt = crypto.getRandomValues(new Uint8Array(16));
    const userKey = wrong.userKey ?? this.psk;
    const windowKey = this.#keys.windowKey(window);
    const key = wire.acceptKey(windowKey, userKey, hello.clientPublic, salt);
    const plaintext = wire.acceptPlaintext({
      ...{ version: wrong.version ?? wire.VERSION, flags: wrong.flags ?? 0, timeMs: now },
      serverSession: wrong.serverSession ?? this.#session,
      ...{ serverPublic: wrong.serverPublic ?? this.#public, resetToken: new Uint8Array(16) },
      ...{ maxDatagram: 1452, idleS: 300, upKbps: 0, downKbps: 0 },
      parameters: wrong.parameters ?? wire.encodeParameters({ ciphers: chosen, frames: 0 }),
      padding: new Uint8Array(3),
      frames: encodeFrames([{ type: "path_challenge", token: CHALLENGE }]),
    });
    const session = wrong.headerSession ?? hello.clientSession;
    const header = { session, kind: wire.KIND.accept, number: 77n };
    const clear = wire.sealSalted(key, header, salt, plaintext);
    return wire.mask(this.#keys.maskKey(window), clear, wire.TO_CLIENT);
  }

  send(bytes: Uint8Array): void {
    const { port, address } = this.#client!;
    this.#socket.send(Buffer.from(bytes), port, address);
  }

  /** From now on DATA is opened under the keys of this choice. */
  expect(chosen: number): void {
    this.#chosen = chosen;
  }

  close(): void {
    this.#socket.close();
  }

  #onPacket(bytes: Uint8Array): void {
    const window = wire.windowOf(Date.now());
    const found = wire.unmask(this.#keys, bytes, window, wire.TO_SERVER);
    if (found === undefined) return;
    if (found.header.kind === wire.KIND.hello) {
      this.hellos.push(wire.openHello(this.#keys, found, this.psk));
      return;
    }
    this.data++;
    const { clientPublic } = this.hellos[0]!;
    const shared = wire.x25519(this.#private, clientPublic);
    const { clientToServer } = wire.sessionKeys(
      ...[shared, this.psk, clientPublic, this.#public] as const,
      ...[this.offered, this.#chosen] as const,
    );
    const key = { key: clientToServer, cipher: this.#chosen };
    const plaintext = wire.openData(key, found.header.number, found.clear);
    if (plaintext !== undefined) this.frames.push(...decodeFrames(plaintext));
  }
}

async function withClient(body: (server: FakeServer) => Promise<void>): Promise<void> {
  const server = await FakeServer.open();
  const folder = Deno.makeTempDirSync({ prefix: "phantom-security-" });
  try {
    const path = `${folder}/client.yaml`;
    const port = closedPort();
    const settings = {
      ...{ server: `127.0.0.1:${server.port}`, psk: server.psk.toBase64() },
      forwards: [{ listen: `127.0.0.1:${port}`, target: "192.0.2.1:80" }],
    };
    Deno.writeTextFileSync(path, JSON.stringify(settings), { mode: 0o600 });
    const args = ["run", "-A", "main.ts", "client", "-c", path];
    await using client = new Running(
      new Deno.Command(Deno.execPath(), { ...piped, args, cwd: TREE }),
    );
    await client.until(" ready ");
    // It says HELLO when it is asked for something.
    using _connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await until(() => server.hellos.length > 0, 15_000, "a HELLO");
    await body(server);
  } finally {
    server.close();
    Deno.removeSync(folder, { recursive: true });
  }
}

/** The client ignores all of these, and takes the right one after them. */
async function assertDropped(wrong: (server: FakeServer) => Uint8Array[]): Promise<void> {
  await withClient(async (server) => {
    for (const bytes of wrong(server)) server.send(bytes);
    await delay(700);
    assert.equal(server.data, 0, "DATA after a wrong ACCEPT");
    const chosen = (server.offered & wire.CIPHER.chacha20) !== 0
      ? wire.CIPHER.chacha20
      : wire.CIPHER.aes256;
    server.expect(chosen);
    server.send(server.accept(chosen));
    await until(() => server.frames.length > 0, 3000, "DATA that opens");
    const tokens = server.frames.flatMap((one) => one.type === "path_response" ? one.token : []);
    assert.deepEqual(tokens[0], CHALLENGE);
    // All HELLOs of a handshake say the same.
    const said = server.hellos.map(({ parameters, clientSession, clientPublic }) =>
      concat(parameters, clientPublic).toHex() + clientSession
    );
    assert.equal(new Set(said).size, 1);
  });
}

securityTest(
  "ACCEPT: a cipher that was not offered, flags and versions nobody knows",
  () =>
    assertDropped((server) => {
      const { chacha20, aes256 } = wire.CIPHER;
      const notOffered = [chacha20, aes256].filter((cipher) => (server.offered & cipher) === 0);
      const chosen = [0, 4, 0x40, 3, 0x81, 0xff, ...notOffered];
      const right = (server.offered & chacha20) !== 0 ? chacha20 : aes256;
      const list = (bytes: number[]) => ({ parameters: Uint8Array.from(bytes) });
      return [
        ...chosen.map((cipher) => server.accept(cipher)),
        server.accept(right, { version: 4 }),
        server.accept(right, { version: 6 }),
        server.accept(right, { flags: 4 }),
        server.accept(right, { flags: 0x80 }),
        server.accept(right, { serverSession: 0 }),
        server.accept(right, { serverPublic: new Uint8Array(32) }),
        server.accept(right, { userKey: new Uint8Array(32) }),
        server.accept(right, { headerSession: 5 }),
        // Cut short, twice the same, of a wrong length.
        server.accept(right, list([1, 1])),
        server.accept(right, list([1, 1, right, 1, 1, right])),
        server.accept(right, list([1, 2, right, right])),
        server.accept(right, list([1, 0])),
      ];
    }),
);

securityTest("ACCEPT: any bit of it changed on its way", () =>
  assertDropped((server) => {
    const { chacha20, aes256 } = wire.CIPHER;
    const whole = server.accept((server.offered & chacha20) !== 0 ? chacha20 : aes256);
    return Array.from({ length: 8 * whole.length }, (_, bit) => {
      const changed = whole.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      return changed;
    });
  }));

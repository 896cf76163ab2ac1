/** What the suite runs against: the server as a process of its own, and targets behind it. */
import { Buffer } from "node:buffer";
import { createSocket, type Socket } from "node:dgram";
import { hex } from "./bytes.ts";

const READY_MS = 60_000;
/** The tree whose server is tested: this one, or an earlier one to compare with. */
export const TREE = new URL(Deno.env.get("PHANTOM_TREE") ?? "../../", import.meta.url);

/** As the executable is started. */
const ENGINE = "--v8-flags=--heap-growing-percent=50,--expose-gc";

export function delay(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** `promise`, or an error that says what did not come. */
export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function until(condition: () => boolean, ms: number, what: string): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await delay(5);
  }
}

export async function sha256(data: Uint8Array): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", data.slice())));
}

export function freeUdpPort(): Promise<number> {
  return new Promise((done) => {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => done(port));
    });
  });
}

export interface NamedUser {
  name: string;
  key: Uint8Array;
  /** What else the server's configuration says about the user. */
  settings?: Readonly<Record<string, unknown>>;
}

export interface ServerOptions {
  users?: NamedUser[];
  /** In place of the settings that a test's server has. */
  settings?: Readonly<Record<string, unknown>>;
  /** Goes before the program, such as `prlimit`. */
  prefix?: readonly string[];
}

/** Of a server's log, its end is kept. */
const LOG_CHARS = 200_000;

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** One server process; `kill` and `start` again keep the port and the state folder. */
export class Server {
  readonly psk = crypto.getRandomValues(new Uint8Array(32));
  readonly host = "127.0.0.1";
  port = 0;
  startedAt = 0;
  readonly #users: NamedUser[];
  readonly #prefix: readonly string[];
  readonly folder = Deno.makeTempDirSync({ prefix: "interop-" });
  /** Of the next start. */
  settings: Readonly<Record<string, unknown>>;
  #child: Deno.ChildProcess | undefined;
  #reading: Promise<void> | undefined;
  #log = "";
  /** Characters of log, in all. */
  logged = 0;

  constructor({ users = [], settings = {}, prefix = [] }: ServerOptions = {}) {
    this.#users = users;
    this.#prefix = prefix;
    this.settings = settings;
  }

  static async run(options: ServerOptions = {}): Promise<Server> {
    const server = new Server(options);
    server.port = await freeUdpPort();
    await server.start();
    return server;
  }

  get options(): { host: string; port: number; psk: Uint8Array } {
    return { host: this.host, port: this.port, psk: this.psk };
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    if (this.#child === undefined) throw new Error("the server does not run");
    return this.#child.pid;
  }

  async start(): Promise<void> {
    const file = `${this.folder}/config.yaml`;
    await Deno.writeTextFile(file, this.#configuration(), { mode: 0o600 });
    this.#log = "";
    const [program = "", ...args] = [...this.#prefix, Deno.execPath()];
    this.#child = new Deno.Command(program, {
      args: [...args, "run", "-A", ENGINE, "main.ts", "run", "-c", file],
      cwd: TREE,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reading = this.#read(this.#child.stderr);
    const gone = this.#child.status.then((status) => {
      throw new Error(`the server ended with code ${status.code}\n${this.#log}`);
    });
    gone.catch(() => {});
    const ready = until(() => this.#log.includes(" ready "), READY_MS, "server ready");
    try {
      await Promise.race([ready, gone]);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${this.#log}`);
    }
    this.startedAt = Date.now();
  }

  /** Its exit code, 0 when it did not run. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<number> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return 0;
    try {
      child.kill(signal);
    } catch {
      // Gone by itself.
    }
    const { code } = await child.status;
    await this.#reading;
    return code;
  }

  async end(): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true });
  }

  #configuration(): string {
    const users = this.#users.map(({ name, key, settings }) => ({
      ...{ name, key: base64(key) },
      ...settings,
    }));
    return JSON.stringify({
      listen: `${this.host}:${this.port}`,
      psk: base64(this.psk),
      ebpf: { enabled: false },
      state_dir: this.folder,
      workers: 1,
      rules: [{ cidr: ["127.0.0.0/8"], outbound: "direct" }],
      ...(users.length > 0 ? { users } : {}),
      ...this.settings,
    });
  }

  async #read(stderr: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stderr) {
      this.logged += chunk.length;
      this.#log = (this.#log + decoder.decode(chunk, { stream: true })).slice(-LOG_CHARS);
    }
  }
}

/** A TCP server on loopback; `serve` has each connection to itself. */
export class TcpTarget {
  connections = 0;
  readonly failures: unknown[] = [];
  #listener: Deno.TcpListener;

  constructor(serve: (connection: Deno.TcpConn) => Promise<void>) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#accept(serve);
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  stop(): void {
    this.#listener.close();
  }

  async #accept(serve: (connection: Deno.TcpConn) => Promise<void>): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        this.connections++;
        serve(connection).catch((error) => this.failures.push(error));
      }
    } catch {
      // Stopped.
    }
  }
}

export async function readToEnd(connection: Deno.TcpConn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const buffer = new Uint8Array(65_536);
  for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
    parts.push(buffer.slice(0, n));
  }
  return new Uint8Array(Buffer.concat(parts));
}

export async function writeAll(connection: Deno.TcpConn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await connection.write(data.subarray(at));
}

/** Sends everything back, and its end after it; a session that ends takes the connection along. */
async function echo(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
      await writeAll(connection, buffer.subarray(0, n));
    }
    await connection.closeWrite();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  } finally {
    connection.close();
  }
}

export function echoTarget(): TcpTarget {
  return new TcpTarget(echo);
}

/** A port of loopback on which nobody listens. */
export function closedPort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

const DOOMED = `
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
console.log(listener.addr.port);
const connection = await listener.accept();
await connection.read(new Uint8Array(1));
console.log("reading");
setInterval(() => {}, 1000);
`;

/**
 * A TCP server in a process of its own that takes one byte of many. To kill it is the one way from
 * here to a reset that no FIN comes before: the kernel sends it since there is data unread.
 */
export class DoomedTarget {
  port = 0;
  #child: Deno.ChildProcess;
  #lines: AsyncIterator<Uint8Array>;

  constructor() {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["eval", DOOMED],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#lines = this.#child.stdout[Symbol.asyncIterator]();
  }

  async listening(): Promise<void> {
    this.port = Number(await this.#line());
  }

  /** Waits until data has come. */
  async reading(): Promise<void> {
    await this.#line();
  }

  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // Gone already.
    }
    await this.#lines.return?.();
    await this.#child.status;
  }

  async #line(): Promise<string> {
    const { value } = await this.#lines.next();
    return new TextDecoder().decode(value);
  }
}

/** A UDP server on loopback that answers with the port that a datagram came from and its bytes. */
export class UdpEcho {
  port = 0;
  #socket: Socket = createSocket("udp4");

  static run(): Promise<UdpEcho> {
    const target = new UdpEcho();
    target.#socket.on("message", (message: Uint8Array, from: { port: number; address: string }) => {
      const answer = Buffer.concat([Buffer.from(`${from.port}:`), message]);
      target.#socket.send(answer, from.port, from.address);
    });
    return new Promise((done) =>
      target.#socket.bind(0, "127.0.0.1", () => {
        target.port = target.#socket.address().port;
        done(target);
      })
    );
  }

  stop(): void {
    this.#socket.close();
  }
}

/** A stranger's socket: sends bytes and counts what comes back. */
export class Probe {
  answers = 0;
  bytes = 0;
  sent = 0;
  #socket: Socket = createSocket("udp4");

  /** From an address of loopback: any by default. */
  constructor(host?: string) {
    if (host !== undefined) this.#socket.bind(0, host);
    this.#socket.on("message", (message: Uint8Array) => {
      this.answers++;
      this.bytes += message.length;
    });
  }

  send(server: { host: string; port: number }, bytes: Uint8Array): void {
    this.sent += bytes.length;
    this.#socket.send(Buffer.from(bytes), server.port, server.host);
  }

  stop(): void {
    this.#socket.close();
  }
}

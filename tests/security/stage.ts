/**
 * A server, what it leads to, and an honest client beside whoever attacks it: on loopback, each a
 * process of its own. An attack is told from what it does to the honest client: what that has while
 * a second honest client shares the server with it is what is fair.
 */

import assert from "node:assert/strict";
import { hex } from "../interop/bytes.ts";
import { Client, type Options } from "../interop/client.ts";
import { delay, type NamedUser, Server, type ServerOptions } from "../interop/peers.ts";
import type { Had, HonestOptions } from "./honest.ts";
import { PACE, type Ports } from "./targets.ts";

const FOLDER = new URL("./", import.meta.url).pathname;
/** `PHANTOM_SECURITY=long`: what a short run leaves out. */
export const isLong = Deno.env.get("PHANTOM_SECURITY") === "long";
export { delay };

/** What is measured waits for nobody's turn but the server's: others work on this machine, too. */
const AHEAD = Deno.uid() === 0 ? ["nice", "-n", "-10"] : [];

/** `short` of a test that `make test` runs, `long` of one that takes its time. */
export function either<T>(short: T, long: T): T {
  return isLong ? long : short;
}

/** A test of this folder: what leaks is told by the processes it starts. */
export function securityTest(
  name: string,
  body: () => Promise<void>,
  options: { readonly needsRoot?: boolean; readonly longOnly?: boolean } = {},
): void {
  const ignore = options.needsRoot === true && Deno.uid() !== 0 ||
    options.longOnly === true && !isLong;
  Deno.test({
    name: `security: ${name}`,
    ignore,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: body,
  });
}

/** Of a measurement that something else on the machine spoils: an attack spoils each. */
const TRIES = 3;

/** A test that measures an honest client: it holds when one try of a few does. */
export function measuredTest(
  name: string,
  body: () => Promise<void>,
  options: { readonly longOnly?: boolean } = {},
): void {
  securityTest(name, async () => {
    for (let tries = TRIES;; tries--) {
      try {
        return await body();
      } catch (error) {
        if (tries === 1) throw error;
        console.log(`  once more: ${String(error).slice(0, 200)}`);
      }
    }
  }, options);
}

/** A program of this folder that answers lines with lines. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #readers: Promise<unknown>;
  readonly #lines: string[] = [];
  #news = Promise.withResolvers<void>();
  #isOver = false;
  stderr = "";

  /** `prefix` goes before the program, such as `nsenter`. */
  constructor(file: string, args: readonly string[] = [], prefix: readonly string[] = []) {
    const whole = [...prefix, Deno.execPath(), "run", "-A", `${FOLDER}${file}`, ...args];
    this.#child = new Deno.Command(whole[0]!, {
      args: whole.slice(1),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#readers = Promise.all([this.#readLines(), this.#readErrors()])
      .finally(() => {
        this.#isOver = true;
        this.#news.resolve();
      });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Lines that have come and were not taken. */
  get waiting(): readonly string[] {
    return this.#lines;
  }

  async say(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
  }

  /** The next line that it says. */
  async line(ms = 30_000): Promise<string> {
    const timeout = delay(ms).then(() => "late" as const);
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      if (this.#isOver) throw new Error(`the program ended: ${this.stderr}`);
      const news = this.#news.promise.then(() => "news" as const);
      if (await Promise.race([news, timeout]) === "late") {
        throw new Error(`no line within ${ms} ms: ${this.stderr}`);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // Gone by itself.
    }
    await this.#readers;
    await this.#child.status;
    await this.#writer.abort().catch(() => {});
  }

  async #readLines(): Promise<void> {
    let text = "";
    for await (const part of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      text += part;
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      this.#lines.push(...lines);
      this.#news.resolve();
      this.#news = Promise.withResolvers<void>();
    }
  }

  async #readErrors(): Promise<void> {
    for await (const part of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.stderr = (this.stderr + part).slice(-5000);
    }
  }
}

/** An honest client under way; see honest.ts. */
export class Honest implements AsyncDisposable {
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
  }

  /** What it has in the next `ms`. */
  async measure(ms: number): Promise<Had> {
    await this.#program.say(String(ms));
    return JSON.parse(await this.#program.line(ms + 20_000));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

export interface StageOptions extends ServerOptions {
  /** Honest clients open streams to names below it. */
  readonly domain?: string;
}

export class Stage implements AsyncDisposable {
  readonly server: Server;
  readonly ports: Ports;
  readonly targets: Program;
  readonly #users: readonly NamedUser[];
  readonly #domain: string | undefined;
  readonly #honest: Honest[] = [];

  private constructor(
    server: Server,
    targets: Program,
    ports: Ports,
    { users = [], domain }: StageOptions,
  ) {
    this.#domain = domain;
    this.server = server;
    this.targets = targets;
    this.ports = ports;
    this.#users = users;
  }

  /** Workers: 1, unless the settings say another number. */
  static async set(options: StageOptions = {}): Promise<Stage> {
    const targets = new Program("targets.ts", [], AHEAD);
    try {
      const prefix = [...AHEAD, ...(options.prefix ?? [])];
      const starting = Server.run({ ...options, prefix });
      const [server, line] = await Promise.all([starting, targets.line()]);
      return new Stage(server, targets, JSON.parse(line), options);
    } catch (error) {
      await targets[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** An honest client, once data flows; `user` is one of the server's. */
  async honest(user?: string): Promise<Honest> {
    const named = this.#users.find(({ name }) => name === user);
    const options: HonestOptions = {
      ...{ host: this.server.host, port: this.server.port, psk: hex(this.server.psk) },
      ...(named === undefined ? {} : { user: { name: named.name, key: hex(named.key) } }),
      ...{ ports: this.ports, target: "127.0.0.1" },
      ...(this.#domain === undefined ? {} : { domain: this.#domain }),
    };
    const program = new Program("honest.ts", [JSON.stringify(options)], AHEAD);
    const honest = new Honest(program);
    this.#honest.push(honest);
    assert.equal(await program.line(), "ready");
    return honest;
  }

  /** The attacker: a client of ours, which sends nothing by itself. */
  attacker(more: Partial<Options> = {}): Promise<Client> {
    return Client.connect({ ...this.server.options, ...more });
  }

  user(name: string): NamedUser {
    return this.#users.find((user) => user.name === name)!;
  }

  /** Resident memory of the server, in bytes. */
  memory(): number {
    const text = Deno.readTextFileSync(`/proc/${this.server.pid}/status`);
    return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const honest of this.#honest) await honest[Symbol.asyncDispose]();
    await this.targets[Symbol.asyncDispose]();
    await this.server.end();
  }
}

/** What an honest client had, before (with a second one beside it), during and after an attack. */
export interface Spans {
  readonly before: Had;
  readonly during: Had;
  readonly after: Had;
}

export interface SpanOptions {
  /** Of the first and the last span. */
  readonly ms?: number;
  /** Between the beginning of the attack and what is measured of it. */
  readonly settleMs?: number;
  readonly duringMs?: number;
  /** Between the end of the attack and what is measured after it. */
  readonly restMs?: number;
  readonly honestUser?: string;
  readonly secondUser?: string;
}

/**
 * Measures an honest client before, during and after. `attack` begins the attack and gives what
 * ends it; or nothing, when what it has done stays as it is.
 */
export async function beside(
  stage: Stage,
  attack: () => Promise<(() => Promise<void> | void) | void>,
  options: SpanOptions = {},
): Promise<Spans> {
  const ms = options.ms ?? either(1500, 5000);
  const honest = await stage.honest(options.honestUser);
  const second = await stage.honest(options.secondUser ?? options.honestUser);
  await delay(700);
  const [before] = await Promise.all([honest.measure(ms), second.measure(ms)]);
  await second[Symbol.asyncDispose]();
  const stop = await attack();
  await delay(options.settleMs ?? 500);
  const during = await honest.measure(options.duringMs ?? either(3000, 10_000));
  await stop?.();
  await delay(options.restMs ?? 1000);
  const after = await honest.measure(ms);
  await honest[Symbol.asyncDispose]();
  return { before, during, after };
}

/** A busy machine holds up a ping now and then; an attack holds up many. Long runs are alone. */
const SLOWER_MS = either(150, 50);
const HICCUP_MS = either(300, 50);

function assertServed(had: Had, before: Had, when: string): void {
  const text = `${when}: ${JSON.stringify(had)}, before: ${JSON.stringify(before)}`;
  assert.ok(had.rate >= 0.8 * Math.min(before.rate, PACE), `rate ${text}`);
  assert.ok(had.p97Ms <= before.p97Ms + SLOWER_MS, `pings ${text}`);
  assert.ok(had.slowestMs <= before.slowestMs + HICCUP_MS, `slowest ping ${text}`);
  assert.equal(had.failed, 0, `new streams ${text}`);
  assert.ok(had.opened > 0, `new streams ${text}`);
  assert.ok(had.associated > 0, `associations ${text}`);
}

/** The honest client kept its share in spite of the attack, and has all of it afterwards. */
export function assertUnharmed({ before, during, after }: Spans): void {
  console.log(`  during ${told(during)}; before ${told(before)}; after ${told(after)}`);
  assertServed(during, before, "during");
  assertServed(after, before, "after");
}

function told(had: Had): string {
  const mb = (had.rate / 1e6).toFixed(2);
  const [median, slowest] = [had.medianMs.toFixed(1), had.slowestMs.toFixed(0)];
  return `${mb} MB/s, ping ${median}/${slowest} ms, ${had.opened} opened, ${had.failed} failed`;
}

/** Waits until memory is back to within 20 MiB of `before`. */
export async function assertMemoryReturns(stage: Stage, before: number): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (stage.memory() > before + (20 << 20)) {
    if (performance.now() > deadline) {
      assert.fail(`memory is ${stage.memory() >> 20} MiB, it was ${before >> 20} MiB`);
    }
    await delay(500);
  }
}

/**
 * Looks names up for the workers, whose loops can't wait: by this machine's resolver, or by name
 * servers that are configured. Only so many at a time; the same name is asked for once.
 */

import { nameAddresses } from "../../ffi/names.ts";
import type { Native } from "../../ffi/native.ts";
import { formatIp } from "../base/ip.ts";

/** Lookups at a time; each of the system's holds a thread. */
export const LOOKUPS_MAX = 64;
/** Names that wait for their turn; more are refused. Workers have limits of their own. */
export const WAITING_MAX = 65_536;
/** Of the places at a time one asker has a quarter, and all of one user three quarters, at most. */
const ASKER_SHARE = 1 / 4;
const USER_SHARE = 3 / 4;
/**
 * After so long a look-up's place is the next one's, as whoever asked has given up; the system's
 * can't be taken back, and hold their threads on: so many at most.
 */
const PLACE_MS = 5_000;
export const ABANDONED_MAX = 128;
/** Addresses of one name that are passed on. */
const ADDRESSES_MAX = 32;
const SERVER_TIMEOUT_MS = 3000;

/** "failed": who was asked does not answer, or has no answer. */
export type LookupError = "not-found" | "failed";

export interface Answer {
  /** IP texts, in the order of preference; empty with an error. */
  readonly addresses: readonly string[];
  /** How long they hold, as the name server says; this machine's resolver does not tell. */
  readonly ttlSeconds?: number;
  readonly error?: LookupError;
}

export interface NameServer {
  readonly host: string;
  readonly port: number;
}

/** Finds all addresses of a name. */
export type Finder = (name: string) => Promise<Answer>;

/** Who asks: a session, say, and whose it is. Without a user all askers are alike. */
export interface Asker {
  readonly key: string;
  readonly user: string;
}

export interface LookupCounts {
  /** Look-ups under way, each in a place. */
  readonly running: number;
  /** Names that are looked up, or wait. */
  readonly known: number;
  readonly refused: number;
  readonly abandoned: number;
}

const MAIN: Asker = { key: "main", user: "" };

/** A name that is looked up, or waits for that; under several askers where several want it. */
interface Job {
  readonly name: string;
  readonly answer: PromiseWithResolvers<Answer>;
  readonly queues: Set<Queue>;
  isRunning: boolean;
}

/** One asker's names that wait, oldest first, and how many of its are looked up. */
interface Queue {
  readonly key: string;
  readonly user: User;
  readonly jobs: Map<string, Job>;
  running: number;
}

interface User {
  readonly name: string;
  running: number;
  queues: number;
}

export class NameLookup {
  /** Names refused as too many were waiting. */
  refused = 0;
  /** Look-ups that went on in vain for longer than their place was theirs. */
  abandoned = 0;
  readonly #find: Finder;
  readonly #lookupsMax: number;
  readonly #placeMs: number;
  readonly #jobs = new Map<string, Job>();
  readonly #queues = new Map<string, Queue>();
  readonly #users = new Map<string, User>();
  #running = 0;
  #hanging = 0;

  constructor(find: Finder, lookupsMax = LOOKUPS_MAX, placeMs = PLACE_MS) {
    this.#find = find;
    this.#lookupsMax = lookupsMax;
    this.#placeMs = placeMs;
  }

  /** By this machine's resolver, or these servers. */
  static of(
    native: Native,
    servers: "system" | readonly NameServer[],
    lookupsMax?: number,
  ): NameLookup {
    const isSystem = servers === "system" || servers.length === 0;
    const find: Finder = isSystem
      ? (name) => findBySystem(native, name)
      : (name) => findByServers(name, servers);
    return new NameLookup(find, lookupsMax);
  }

  /** How it stands. */
  get counts(): LookupCounts {
    const { refused, abandoned } = this;
    return { running: this.#running, known: this.#jobs.size, refused, abandoned };
  }

  /** All addresses of a name. Never rejects. */
  find(name: string, asker: Asker = MAIN): Promise<Answer> {
    const job = this.#jobs.get(name) ?? this.#add(name);
    if (job === undefined) {
      this.refused++;
      return Promise.resolve(FAILED);
    }
    if (!job.isRunning) {
      // Whoever's turn comes first has it looked up for all.
      const queue = this.#queueOf(asker);
      queue.jobs.set(name, job);
      job.queues.add(queue);
      this.#begin();
    }
    return job.answer.promise;
  }

  /** An asker wants a name no more, which may wait. */
  forget(name: string, { key }: Asker = MAIN): void {
    const queue = this.#queues.get(key);
    const job = queue?.jobs.get(name);
    if (queue === undefined || job === undefined) return;
    this.#unqueue(job, queue);
    if (job.queues.size === 0) this.#end(job, FAILED);
  }

  #add(name: string): Job | undefined {
    if (this.#jobs.size >= WAITING_MAX) return undefined;
    const answer = Promise.withResolvers<Answer>();
    const job = { name, answer, queues: new Set<Queue>(), isRunning: false };
    this.#jobs.set(name, job);
    return job;
  }

  #end(job: Job, answer: Answer): void {
    if (this.#jobs.get(job.name) === job) this.#jobs.delete(job.name);
    job.answer.resolve(answer);
  }

  #queueOf({ key, user: name }: Asker): Queue {
    let queue = this.#queues.get(key);
    if (queue !== undefined) return queue;
    let user = this.#users.get(name);
    if (user === undefined) this.#users.set(name, user = { name, running: 0, queues: 0 });
    user.queues++;
    queue = { key, user, jobs: new Map(), running: 0 };
    this.#queues.set(key, queue);
    return queue;
  }

  #unqueue(job: Job, queue: Queue): void {
    queue.jobs.delete(job.name);
    job.queues.delete(queue);
    this.#drop(queue);
  }

  /** Keeps nothing of who has nothing here. */
  #drop({ key, user, jobs, running }: Queue): void {
    if (jobs.size > 0 || running > 0) return;
    if (this.#queues.delete(key) && --user.queues === 0) this.#users.delete(user.name);
  }

  /** Gives free places to those that have the fewest, as long as there are both. */
  #begin(): void {
    while (this.#running < this.#lookupsMax) {
      const queue = this.#next();
      if (queue === undefined) return;
      const [job] = queue.jobs.values();
      void this.#run(job!, queue);
    }
  }

  #next(): Queue | undefined {
    let best: Queue | undefined;
    for (const queue of this.#queues.values()) {
      if (queue.jobs.size > 0 && this.#mayRun(queue) && isBefore(queue, best)) best = queue;
    }
    return best;
  }

  #mayRun({ running, user }: Queue): boolean {
    const share = (part: number): number => Math.max(1, Math.floor(part * this.#lookupsMax));
    if (running >= share(ASKER_SHARE)) return false;
    return user.name === "" || user.running < share(USER_SHARE);
  }

  async #run(job: Job, queue: Queue): Promise<void> {
    job.isRunning = true;
    for (const one of [...job.queues]) if (one !== queue) this.#unqueue(job, one);
    this.#hold(queue, 1);
    this.#unqueue(job, queue);
    // Behind those that have as many places.
    if (this.#queues.delete(queue.key)) this.#queues.set(queue.key, queue);
    const place = new Place(() => {
      this.#hold(queue, -1);
      this.#drop(queue);
      this.#begin();
    });
    const timer = setTimeout(() => this.#abandon(job, place), this.#placeMs);
    let answer: Answer = FAILED;
    try {
      answer = await this.#find(job.name);
    } catch {
      // As if it had failed.
    }
    clearTimeout(timer);
    if (place.isLeft) this.#hanging--;
    this.#end(job, answer);
    place.leave();
  }

  #hold(queue: Queue, count: 1 | -1): void {
    this.#running += count;
    queue.running += count;
    queue.user.running += count;
  }

  #abandon(job: Job, place: Place): void {
    if (this.#hanging >= ABANDONED_MAX) return;
    this.#hanging++;
    this.abandoned++;
    this.#end(job, FAILED);
    place.leave();
  }
}

/** A place among those that are looked up at a time: left once. */
class Place {
  isLeft = false;
  readonly #left: () => void;

  constructor(left: () => void) {
    this.#left = left;
  }

  leave(): void {
    if (this.isLeft) return;
    this.isLeft = true;
    this.#left();
  }
}

const FAILED: Answer = { addresses: [], error: "failed" };

/** Whether it is the first one's turn; among equals it is that of whoever waits longer. */
function isBefore(queue: Queue, other: Queue | undefined): boolean {
  if (other === undefined) return true;
  if (queue.user !== other.user && queue.user.running !== other.user.running) {
    return queue.user.running < other.user.running;
  }
  return queue.running < other.running;
}

async function findBySystem(native: Native, name: string): Promise<Answer> {
  const found = await nameAddresses(native, name);
  if (found === undefined) return FAILED;
  return answerOf(found.map((ip) => ({ address: formatIp(ip) })));
}

/** Asks one server after the other; the first that answers at all decides. */
async function findByServers(name: string, servers: readonly NameServer[]): Promise<Answer> {
  for (const { host, port } of servers) {
    const server = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    const answers = await Promise.all([askServer(name, 6, server), askServer(name, 4, server)]);
    const found = answers.flatMap((answer) => "found" in answer ? answer.found : []);
    if (found.length > 0) return answerOf(found);
    if (answers.every((answer) => "error" in answer && answer.error === "not-found")) {
      return { addresses: [], error: "not-found" };
    }
  }
  return FAILED;
}

/** An address as a resolver tells it. */
interface Found {
  readonly address: string;
  readonly ttl?: number;
}

async function askServer(
  name: string,
  family: 4 | 6,
  server: string,
): Promise<{ found: readonly Found[] } | { error: LookupError }> {
  const { Resolver } = await dns();
  const resolver = new Resolver();
  resolver.setServers([server]);
  // A dot at the end: no search list of this machine is tried.
  const asked = family === 4
    ? resolver.resolve4(`${name}.`, { ttl: true })
    : resolver.resolve6(`${name}.`, { ttl: true });
  // The runtime can't take a question back: that of a server that keeps silent ends by itself.
  const silence = Promise.withResolvers<never>();
  const timer = setTimeout(() => silence.reject(new Error("no answer")), SERVER_TIMEOUT_MS);
  try {
    return { found: await Promise.race([asked, silence.promise]) };
  } catch (error) {
    return { error: lookupErrorOf(error) };
  } finally {
    clearTimeout(timer);
  }
}

function lookupErrorOf(error: unknown): LookupError {
  const code = error instanceof Error && "code" in error ? error.code : "";
  return code === "ENOTFOUND" || code === "ENODATA" ? "not-found" : "failed";
}

function answerOf(found: readonly Found[]): Answer {
  // A scope belongs to link-local addresses, which no name of a server's client should lead to.
  const wanted = found.filter(({ address }) => !address.includes("%"));
  const addresses = [...new Set(wanted.map(({ address }) => address))].slice(0, ADDRESSES_MAX);
  if (addresses.length === 0) return { addresses, error: "not-found" };
  // All of them are asked for again when the first of them no longer holds.
  const ttls = wanted.flatMap(({ ttl }) => ttl ?? []);
  return ttls.length > 0 ? { addresses, ttlSeconds: Math.min(...ttls) } : { addresses };
}

/** Loaded with the first name: the start of the server does not wait for it. */
async function dns(): Promise<typeof import("node:dns/promises")> {
  // It uses a deprecated module of the runtime's own; nobody here can do anything about that.
  const { default: process } = await import("node:process");
  Object.assign(process, { noDeprecation: true });
  return await import("node:dns/promises");
}

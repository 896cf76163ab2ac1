/**
 * Looks names up for the workers, whose loops can't wait: by this machine's resolver, or by name
 * servers that are configured. Only so many at a time; the same name is asked for once.
 */

/** Lookups at a time; each of the system's holds a thread. */
export const LOOKUPS_MAX = 64;
/** Names that wait for their turn; more are refused. */
export const WAITING_MAX = 4096;
/** Addresses of one name that are passed on. */
const ADDRESSES_MAX = 32;
const SERVER_TIMEOUT_MS = 3000;

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

export class NameLookup {
  /** Names refused as too many were waiting. */
  refused = 0;
  readonly #find: Finder;
  readonly #lookupsMax: number;
  readonly #pending = new Map<string, Promise<Answer>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(find: Finder, lookupsMax = LOOKUPS_MAX) {
    this.#find = find;
    this.#lookupsMax = lookupsMax;
  }

  /** By this machine's resolver, or these servers. */
  static of(servers: "system" | readonly NameServer[], lookupsMax?: number): NameLookup {
    const isSystem = servers === "system" || servers.length === 0;
    const find: Finder = isSystem ? findBySystem : (name) => findByServers(name, servers);
    return new NameLookup(find, lookupsMax);
  }

  /** All addresses of a name. Never rejects. */
  find(name: string): Promise<Answer> {
    const pending = this.#pending.get(name);
    if (pending !== undefined) return pending;
    if (this.#waiting.length >= WAITING_MAX) {
      this.refused++;
      return Promise.resolve({ addresses: [], error: "failed" });
    }
    const answer = this.#run(name).finally(() => this.#pending.delete(name));
    this.#pending.set(name, answer);
    return answer;
  }

  async #run(name: string): Promise<Answer> {
    if (this.#running >= this.#lookupsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      return await this.#find(name);
    } catch {
      return { addresses: [], error: "failed" };
    } finally {
      // Its place goes to the next one as it is.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

async function findBySystem(name: string): Promise<Answer> {
  try {
    const found = await (await dns()).lookup(name, { all: true, verbatim: true });
    return answerOf(found);
  } catch (error) {
    return answerOfError(error);
  }
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
  return { addresses: [], error: "failed" };
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
    return { error: answerOfError(error).error };
  } finally {
    clearTimeout(timer);
  }
}

function answerOfError(error: unknown): { addresses: []; error: LookupError } {
  const code = error instanceof Error && "code" in error ? error.code : "";
  const isUnknown = code === "ENOTFOUND" || code === "ENODATA";
  return { addresses: [], error: isUnknown ? "not-found" : "failed" };
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

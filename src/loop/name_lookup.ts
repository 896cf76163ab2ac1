/**
 * Looks names up for the workers, whose loops can't wait: by this machine's resolver, or by name
 * servers that are configured. Only so many at a time; the same name is asked for once.
 */

/** Lookups at a time; each of the system's holds a thread. */
export const LOOKUPS_MAX = 64;
/** Names that wait for their turn; more are refused. */
export const WAITING_MAX = 4096;
/** Addresses of one name that are passed on. */
export const ADDRESSES_MAX = 32;
const SERVER_TIMEOUT_MS = 3000;

export type LookupError = "not-found" | "failed";

export interface Answer {
  /** IP texts, in the order of preference; empty with an error. */
  readonly addresses: readonly string[];
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
  readonly #pending = new Map<string, Promise<Answer>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(find: Finder) {
    this.#find = find;
  }

  /** By this machine's resolver, or these servers. */
  static of(servers: "system" | readonly NameServer[]): NameLookup {
    const isSystem = servers === "system" || servers.length === 0;
    return new NameLookup(isSystem ? findBySystem : (name) => findByServers(name, servers));
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
    if (this.#running >= LOOKUPS_MAX) {
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
    const found = await (await systemResolver()).lookup(name, { all: true, verbatim: true });
    return answerOf(found.map(({ address }) => address));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    const isUnknown = code === "ENOTFOUND" || code === "ENODATA";
    return { addresses: [], error: isUnknown ? "not-found" : "failed" };
  }
}

/** Asks one server after the other; the first that answers at all decides. */
async function findByServers(name: string, servers: readonly NameServer[]): Promise<Answer> {
  for (const { host, port } of servers) {
    const answers = await Promise.all(
      (["AAAA", "A"] as const).map((type) => askServer(name, type, { ipAddr: host, port })),
    );
    const addresses = answers.flatMap((answer) => answer.addresses);
    if (addresses.length > 0) return answerOf(addresses);
    if (answers.every(({ error }) => error === "not-found")) return answers[0]!;
  }
  return { addresses: [], error: "failed" };
}

async function askServer(
  name: string,
  type: "A" | "AAAA",
  nameServer: { ipAddr: string; port: number },
): Promise<Answer> {
  try {
    // A dot at the end: no search list of this machine is tried.
    const signal = AbortSignal.timeout(SERVER_TIMEOUT_MS);
    return answerOf(await Deno.resolveDns(`${name}.`, type, { nameServer, signal }));
  } catch (error) {
    const isUnknown = error instanceof Deno.errors.NotFound;
    return { addresses: [], error: isUnknown ? "not-found" : "failed" };
  }
}

function answerOf(found: readonly string[]): Answer {
  // A scope belongs to link-local addresses, which no name of a server's client should lead to.
  const addresses = [...new Set(found)].filter((one) => !one.includes("%")).slice(0, ADDRESSES_MAX);
  return addresses.length > 0 ? { addresses } : { addresses, error: "not-found" };
}

/** Loaded with the first name: the start of the server does not wait for it. */
async function systemResolver(): Promise<typeof import("node:dns/promises")> {
  // It uses a deprecated module of the runtime's own; nobody here can do anything about that.
  const { default: process } = await import("node:process");
  Object.assign(process, { noDeprecation: true });
  return await import("node:dns/promises");
}

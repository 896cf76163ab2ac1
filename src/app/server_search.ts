/**
 * Where a client's server is. Its name is looked up until it is found, and again while there is no
 * session, as it may lead elsewhere by then. What is found no more stays where it was.
 */

import { type Endpoint, endpoint, formatEndpoint } from "../../ffi/endpoint.ts";
import { ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import type { HostPort } from "../config/mod.ts";
import type { Answer, LookupError, NameLookup } from "../loop/name_lookup.ts";

const RETRY_MS = 1000;
const RETRY_MAX_MS = 5000;
/** Without a session the name is looked up again, but not more often than this. */
const SEARCH_EVERY_MS = 2000;
/** A name that is not found is told of again. */
const TOLD_EVERY_MS = 60_000;

const REASONS: Readonly<Record<LookupError, string>> = {
  "not-found": "there is no such name",
  "failed": "the resolver of this machine does not answer",
};

export interface ServerSearchOptions {
  readonly lookup: Pick<NameLookup, "find">;
  readonly server: HostPort;
  readonly log: Log;
  /** In ms, of a clock that nobody sets. */
  readonly now: () => number;
  /** Calls back after so many ms, until it is told not to. */
  readonly after: (ms: number, call: () => void) => () => void;
}

export class ServerSearch {
  readonly #options: ServerSearchOptions;
  readonly #literal: Endpoint | undefined;
  #known = "";
  #found: ((hosts: readonly string[]) => void) | undefined;
  /** Found before anybody listened. */
  #untold: readonly string[] | undefined;
  #notBefore = -Infinity;
  #isLooking = false;
  #wait = RETRY_MS;
  #cancel: (() => void) | undefined;
  #isStopped = false;
  #told = "";
  #toldAt = -Infinity;

  constructor(options: ServerSearchOptions) {
    this.#options = options;
    this.#literal = literalOf(options.server);
  }

  /** All addresses of the server. Throws where there are none. */
  async once(): Promise<Endpoint[]> {
    if (this.#literal !== undefined) return [this.#literal];
    const { server: { host, port }, lookup } = this.#options;
    const { addresses, error } = await lookup.find(host);
    if (addresses.length > 0) return endpointsOf(addresses, port);
    throw new Error(`Cannot find the server ${host} as ${REASONS[error ?? "not-found"]}`);
  }

  /** The same where they are known within so many ms; else they are told once they are. */
  async soon(ms: number): Promise<Endpoint[]> {
    if (this.#literal !== undefined) return [this.#literal];
    const late = Promise.withResolvers<undefined>();
    const cancel = this.#options.after(ms, () => late.resolve(undefined));
    const answer = await Promise.race([this.#look(), late.promise]);
    cancel();
    this.#untold = undefined;
    return endpointsOf(answer?.addresses ?? [], this.#options.server.port);
  }

  /** Calls when there are other addresses than `soon` has told, or than before. */
  listen(found: (hosts: readonly string[]) => void): void {
    this.#found = found;
    if (this.#untold !== undefined) found(this.#untold);
    this.#untold = undefined;
  }

  /** There is no session: the name may lead elsewhere by now. */
  again(): void {
    if (this.#literal !== undefined || this.#options.now() < this.#notBefore) return;
    void this.#look();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  async #look(): Promise<Answer | undefined> {
    if (this.#isLooking || this.#isStopped) return undefined;
    const { lookup, server, now } = this.#options;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#isLooking = true;
    const answer = await lookup.find(server.host);
    this.#isLooking = false;
    this.#notBefore = now() + SEARCH_EVERY_MS;
    if (this.#isStopped) return undefined;
    if (answer.addresses.length > 0) this.#take(answer.addresses);
    else this.#missed(answer.error ?? "not-found");
    return answer;
  }

  #take(addresses: readonly string[]): void {
    const { server, log } = this.#options;
    const known = namesOf(endpointsOf(addresses, server.port));
    const before = this.#known;
    this.#wait = RETRY_MS;
    if (known === before) return;
    this.#known = known;
    if (this.#told !== "") log.info("server_name_found", "the server's name is found", { known });
    else if (before !== "") {
      const name = server.host;
      log.info("server_moved", "the server's name has other addresses now", { name });
    }
    this.#told = "";
    this.#toldAt = -Infinity;
    if (this.#found === undefined) this.#untold = addresses;
    else this.#found(addresses);
  }

  #missed(error: LookupError): void {
    // What is known serves on; a session that fails has it looked up again.
    if (this.#known !== "") return;
    const { log, server, after, now } = this.#options;
    const reason = REASONS[error];
    if (reason !== this.#told || now() >= this.#toldAt + TOLD_EVERY_MS) {
      this.#told = reason;
      this.#toldAt = now();
      log.warn("server_name_not_found", "the server's name is not found, trying again", {
        name: server.host,
        reason,
      });
    }
    this.#cancel = after(this.#wait, () => void this.#look());
    this.#wait = Math.min(2 * this.#wait, RETRY_MAX_MS);
  }
}

/** Whatever order a resolver gives them in today. */
function namesOf(servers: readonly Endpoint[]): string {
  return servers.map(formatEndpoint).sort().join();
}

function endpointsOf(addresses: readonly string[], port: number): Endpoint[] {
  return addresses.map((address) => endpoint(ipBytes(address), port));
}

function literalOf({ host, port }: HostPort): Endpoint | undefined {
  const isLiteral = host.includes(":") || /^[\d.]+$/.test(host);
  return isLiteral ? endpoint(ipBytes(host), port) : undefined;
}

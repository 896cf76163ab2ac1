/**
 * The client: libraries → the server's addresses → one worker with its inbounds; stopped in
 * reverse.
 */

import { type Endpoint, endpoint, formatEndpoint } from "../../ffi/endpoint.ts";
import { openLibraries } from "../../ffi/libraries.ts";
import { formatIp, ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import type { Native } from "../../ffi/native.ts";
import { type Address, type ClientConfig, formatAddress, type HostPort } from "../config/mod.ts";
import { AwakeCores } from "./awake_cores.ts";
import { cipherOf } from "./cipher.ts";
import { Descriptors } from "./descriptors.ts";
import { type Part, Parts } from "./part.ts";
import { Reload, type ReloadOutcome, type ReloadSource } from "./reload.ts";
import { afterMs, SessionLog } from "./session_log.ts";
import { CLIENT_NEEDS, closeMemory, giveUpAllBut } from "./privileges.ts";
import { NameLookup } from "../loop/name_lookup.ts";
import type { Resources } from "../kernel/resources.ts";
import type { InboundSpec, InboundText } from "../inbound/spec.ts";
import { Pool } from "../loop/pool.ts";
import { keysOfClient } from "../tunnel/client/service.ts";
import type {
  ClientProtocol,
  ClientStart,
  InboundsReport,
  SessionReport,
} from "../tunnel/protocol.ts";
import { summaryOf } from "../tunnel/summary.ts";

export interface ClientOptions {
  readonly config: ClientConfig;
  readonly resources: Resources;
  readonly log: Log;
  /** Without inbounds nobody but the caller uses the tunnel. @default {true} */
  readonly inbounds?: boolean;
  /** Hears of the session, also of what did not change. */
  readonly onReport?: (report: SessionReport) => void;
  /** Ends waiting for the server's name, which otherwise is looked up until it is found. */
  readonly signal?: AbortSignal;
  /** Looks the server's name up only once. @default {false} */
  readonly impatient?: boolean;
  /** Hears, once, that the server's name is not found yet. */
  readonly onWaiting?: () => void;
  /** Where the configuration is read again; without one it never is. */
  readonly source?: ReloadSource<ClientConfig>;
}

/** Settings that a client takes over while it runs. */
const LISTENING: readonly (keyof ClientConfig)[] = [
  "mixed",
  "socks5",
  "http",
  "inboundUsers",
  "forwards",
];

const LOOKUP_AGAIN_MS = 1000;
const LOOKUP_AGAIN_MAX_MS = 30_000;
/** Without a session the name is looked up again, but not more often than this. */
const SEARCH_EVERY_MS = 2000;

export class Client {
  /** Addresses of the server, best first. */
  readonly servers: readonly Endpoint[];
  readonly #native: Native;
  readonly #workers: Pool<ClientProtocol>;
  readonly #parts: Parts<ClientConfig>;
  readonly #reload: Reload<ClientConfig> | undefined;

  private constructor(
    native: Native,
    workers: Pool<ClientProtocol>,
    servers: readonly Endpoint[],
    parts: Parts<ClientConfig>,
    { source, config, log }: ClientOptions,
  ) {
    this.#native = native;
    this.#workers = workers;
    this.#parts = parts;
    this.servers = servers;
    this.#reload = source && new Reload({
      ...source,
      running: config,
      applyParts: (config) => parts.apply(config),
      log,
    });
  }

  /** Resolves when the inbounds are open. The session comes with their first traffic. */
  static async start(options: ClientOptions): Promise<Client> {
    const { config, resources, log, onReport, inbounds = true } = options;
    const libs = openLibraries((name) => resources.library(name));
    closeMemory(libs.native, log);
    const descriptors = new Descriptors(libs.native);
    const lookup = NameLookup.of("system", descriptors.lookupsMax);
    const servers = await findServer(lookup, options);
    const states = new SessionLog({
      ...{ log, server: formatAddress(config.server) },
      ...{ unixMs: Date.now, after: afterMs },
    });
    const search = new ServerSearch(lookup, config.server, servers, (found) => {
      log.info("server_moved", "the server's name has other addresses now", {
        name: config.server.host,
      });
      const told = found.map((host) => ({ host, port: config.server.port }));
      workers.tell("tunnel", { kind: "servers", servers: told });
    });
    const listening = new Listening();
    const workers = await Pool.start<ClientProtocol>({
      libs,
      code: resources.worker("tunnel/client"),
      name: "client",
      starts: [{
        ...startOf(libs.native, config, servers, inbounds),
        ...descriptors.workerLimits(1),
      }],
      keysOf: keysOfClient,
      lookup,
      log,
      heard: {
        tunnel(report) {
          if ("ports" in report) return listening.heard(report);
          states.heard(report);
          if (report.state !== "open") void search.again();
          onReport?.(report);
        },
      },
    });
    const datagrams = () => summaryOf(workers.counters()).datagrams;
    const parts = new Parts<ClientConfig>(log);
    parts.add(tunnelPart(workers, states, listening));
    if (config.lowLatency) parts.add(new AwakeCores({ datagrams, log }));
    parts.begin();
    return new Client(libs.native, workers, servers, parts, options);
  }

  /** Rejects when a part that the client can't do without fails; else it never settles. */
  get failure(): Promise<never> {
    return this.#workers.failure;
  }

  /** Ports of the inbounds, in the order of inboundsOf(). */
  get ports(): readonly number[] {
    return this.#workers.ready("tunnel")[0]?.ports ?? [];
  }

  /** Reads the configuration again, and takes over what can change in a client that runs. */
  reload(): Promise<ReloadOutcome | undefined> {
    return this.#reload?.again() ?? Promise.resolve(undefined);
  }

  /** Asks for the state of the session, which comes as a report. */
  ask(): void {
    this.#workers.tell("tunnel", { kind: "report" });
  }

  /** The process can do no more from now on than a client needs. */
  giveUpRights(log: Log): void {
    giveUpAllBut(CLIENT_NEEDS, this.#native, log);
  }

  async stop(): Promise<void> {
    await this.#parts.stop();
    this.#reload?.wipe();
  }
}

function tunnelPart(
  workers: Pool<ClientProtocol>,
  states: SessionLog,
  listening: Listening,
): Part<ClientConfig> {
  return {
    name: "tunnel",
    async apply(config) {
      workers.tell("tunnel", { kind: "inbounds", inbounds: inboundsOf(config).map(textOf) });
      await Promise.race([listening.told(), workers.failure]);
      return LISTENING;
    },
    stop() {
      states.stop();
      return workers.stop();
    },
  };
}

/** Waits for what the worker says of new inbounds. */
class Listening {
  #heard: (report: InboundsReport) => void = () => {};

  heard(report: InboundsReport): void {
    this.#heard(report);
  }

  /** Rejects where one of them can't listen. */
  told(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#heard = ({ failure }) => failure === undefined ? resolve() : reject(new Error(failure));
    });
  }
}

/**
 * Looks the server's name up again when there is no session: it may lead elsewhere by now. What is
 * found no more stays where it was.
 */
class ServerSearch {
  readonly #lookup: NameLookup;
  readonly #server: HostPort;
  readonly #found: (hosts: readonly string[]) => void;
  #known: string;
  #notBefore = -Infinity;

  constructor(
    lookup: NameLookup,
    server: HostPort,
    known: readonly Endpoint[],
    found: (hosts: readonly string[]) => void,
  ) {
    this.#lookup = lookup;
    this.#server = server;
    this.#found = found;
    this.#known = namesOf(known);
  }

  async again(): Promise<void> {
    const now = performance.now();
    if (literalOf(this.#server) !== undefined || now < this.#notBefore) return;
    this.#notBefore = now + SEARCH_EVERY_MS;
    const { addresses } = await this.#lookup.find(this.#server.host);
    const known = namesOf(endpointsOf(addresses, this.#server.port));
    if (addresses.length === 0 || known === this.#known) return;
    this.#known = known;
    this.#found(addresses);
  }
}

/** Whatever order a resolver gives them in today. */
function namesOf(servers: readonly Endpoint[]): string {
  return servers.map(formatEndpoint).sort().join();
}

function endpointsOf(addresses: readonly string[], port: number): Endpoint[] {
  return addresses.map((address) => endpoint(ipBytes(address), port));
}

/** All addresses of the server; waits for its name to be found. */
async function findServer(lookup: NameLookup, options: ClientOptions): Promise<Endpoint[]> {
  const { config: { server }, log, signal, impatient = false, onWaiting } = options;
  const literal = literalOf(server);
  if (literal !== undefined) return [literal];
  for (let wait = LOOKUP_AGAIN_MS;; wait = Math.min(2 * wait, LOOKUP_AGAIN_MAX_MS)) {
    const { addresses, error } = await lookup.find(server.host);
    if (addresses.length > 0) {
      return endpointsOf(addresses, server.port);
    }
    const reason = error === "not-found" ? "there is no such name" : "the look-up failed";
    if (impatient) throw new Error(`Cannot find the server ${server.host} as ${reason}`);
    log.warn("server_name_not_found", "the server's name is not found, trying again", {
      name: server.host,
      reason,
    });
    if (wait === LOOKUP_AGAIN_MS) onWaiting?.();
    await pause(wait, signal);
    signal?.throwIfAborted();
  }
}

function literalOf({ host, port }: HostPort): Endpoint | undefined {
  const isLiteral = host.includes(":") || /^[\d.]+$/.test(host);
  return isLiteral ? endpoint(ipBytes(host), port) : undefined;
}

/** With copies of all keys: the worker gets and wipes them. */
function startOf(
  native: Native,
  config: ClientConfig,
  servers: readonly Endpoint[],
  inbounds: boolean,
): ClientStart {
  return {
    servers,
    psk: Uint8Array.from(config.psk.expose()),
    user: config.user,
    userKey: Uint8Array.from(config.key?.expose() ?? []),
    upRate: config.upBps / 8,
    downRate: config.downBps / 8,
    windowPackets: config.arq.windowSize,
    maxRetries: config.arq.maxRetries,
    ...cipherOf(native, config.cipher),
    inbounds: inbounds ? inboundsOf(config) : [],
  };
}

/** What listens, and where: in the order of the file's settings. */
export function inboundsOf(config: ClientConfig): InboundSpec[] {
  const users = config.inboundUsers.map(({ name, password }) => ({ name, password }));
  const proxies = (["mixed", "socks5", "http"] as const).flatMap((kind) =>
    config[kind].map((address): InboundSpec => ({
      kind,
      listen: listenAt(address),
      ...(users.length > 0 ? { users } : {}),
    }))
  );
  const forwards = config.forwards.flatMap(({ listen, target, network }) =>
    (network === "both" ? ["tcp", "udp"] as const : [network]).map((kind): InboundSpec => ({
      kind,
      listen: listenAt(listen),
      target: formatAddress(target),
    }))
  );
  return [...proxies, ...forwards];
}

function textOf({ listen: { ip, port }, ...rest }: InboundSpec): InboundText {
  return { ...rest, listen: { host: formatIp(ip), port } };
}

function listenAt({ host, port }: Address): Endpoint {
  return endpoint(ipBytes(host), port);
}

/**
 * The client: libraries → the server's addresses, as far as they are known → one worker with its
 * inbounds; stopped in reverse.
 */

import { type Endpoint, endpoint } from "../../ffi/endpoint.ts";
import { openLibraries } from "../../ffi/libraries.ts";
import { formatIp, ipBytes } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import type { Native } from "../../ffi/native.ts";
import { type Address, type ClientConfig, formatAddress } from "../config/mod.ts";
import { AwakeCores } from "./awake_cores.ts";
import { cipherOf } from "./cipher.ts";
import { Descriptors } from "./descriptors.ts";
import { type Part, Parts } from "./part.ts";
import { Reload, type ReloadOutcome, type ReloadSource } from "./reload.ts";
import { afterMs, SessionLog } from "./session_log.ts";
import { CLIENT_NEEDS, closeMemory, giveUpAllBut } from "./privileges.ts";
import { ServerSearch } from "./server_search.ts";
import type { EarlyWorkers } from "../loop/early_workers.ts";
import { NameLookup } from "../loop/name_lookup.ts";
import type { Resources } from "../kernel/resources.ts";
import type { InboundSpec, InboundText } from "../inbound/spec.ts";
import { Pool } from "../loop/pool.ts";
import { refusalWords } from "../tunnel/close_words.ts";
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
  /** Of tunnel/client; those that come up already. */
  readonly early?: EarlyWorkers;
  readonly log: Log;
  /** Without inbounds nobody but the caller uses the tunnel. @default {true} */
  readonly inbounds?: boolean;
  /** Hears of the session, also of what did not change. */
  readonly onReport?: (report: SessionReport) => void;
  /**
   * Looks the server's name up once, and connects when it is asked to; otherwise both are tried
   * until they have succeeded once. @default {false}
   */
  readonly impatient?: boolean;
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

/** What listens does not wait longer for the server's name. */
const NAME_FIRST_MS = 300;
/** Before the first session: an attempt that failed is followed by another. */
const ASK_AGAIN_MS = 500;

export class Client {
  readonly #native: Native;
  readonly #workers: Pool<ClientProtocol>;
  readonly #parts: Parts<ClientConfig>;
  readonly #reload: Reload<ClientConfig> | undefined;

  private constructor(
    native: Native,
    workers: Pool<ClientProtocol>,
    parts: Parts<ClientConfig>,
    { source, config, log }: ClientOptions,
  ) {
    this.#native = native;
    this.#workers = workers;
    this.#parts = parts;
    this.#reload = source && new Reload({
      ...source,
      running: config,
      applyParts: (config) => parts.apply(config),
      log,
    });
  }

  /** Resolves when the inbounds are open. The session comes with their first traffic. */
  static async start(options: ClientOptions): Promise<Client> {
    const { config, resources, early, log, onReport, inbounds = true, impatient = false } = options;
    const libs = openLibraries((name) => resources.library(name));
    closeMemory(libs.native, log);
    const descriptors = new Descriptors(libs.native);
    const lookup = NameLookup.of(libs.native, "system", descriptors.lookupsMax);
    const search = new ServerSearch({
      ...{ lookup, server: config.server, log, after: afterMs, now: () => performance.now() },
    });
    const servers = await (impatient ? search.once() : search.soon(NAME_FIRST_MS));
    const server = formatAddress(config.server);
    const states = new SessionLog({ log, server, unixMs: Date.now, after: afterMs });
    const first = new FirstSession(!impatient, () => workers.tell("tunnel", { kind: "report" }));
    const listening = new Listening();
    const workers = await Pool.start<ClientProtocol>({
      libs,
      ...resources.worker("tunnel/client"),
      ...early && { early },
      starts: [{
        ...startOf(libs.native, config, servers, inbounds),
        ...descriptors.workerLimits(1),
        rehearses: descriptors.areEnough,
      }],
      keysOf: keysOfClient,
      lookup,
      log,
      heard: {
        tunnel(report) {
          if ("ports" in report) return listening.heard(report);
          states.heard(report);
          first.heard(report);
          if (report.state !== "open") search.again();
          onReport?.(report);
        },
      },
    });
    search.listen((hosts) => {
      const told = hosts.map((host) => ({ host, port: config.server.port }));
      workers.tell("tunnel", { kind: "servers", servers: told });
    });
    const datagrams = () => summaryOf(workers.counters()).datagrams;
    const parts = new Parts<ClientConfig>(log);
    parts.add(tunnelPart(workers, states, search, listening));
    if (config.lowLatency) parts.add(new AwakeCores({ datagrams, log }));
    parts.begin();
    return new Client(libs.native, workers, parts, options);
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
  search: ServerSearch,
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
      search.stop();
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

/** Has the first session asked for again until there is one, or the server refuses it. */
class FirstSession {
  #isAwaited: boolean;
  readonly #ask: () => void;

  constructor(isAwaited: boolean, ask: () => void) {
    this.#isAwaited = isAwaited;
    this.#ask = ask;
  }

  heard({ state, closeCode }: SessionReport): void {
    if (state === "open" || refusalWords(closeCode) !== undefined) this.#isAwaited = false;
    if (this.#isAwaited && state === "lost") afterMs(ASK_AGAIN_MS, this.#ask);
  }
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

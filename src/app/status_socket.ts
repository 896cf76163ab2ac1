/**
 * A server's state for whoever asks on this machine, and its configuration read again for whoever
 * wants that: a Unix socket for each in the state folder, for its owner alone. Each connection gets
 * one JSON text and is closed; nothing is ever read from it.
 */

import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import type { EventCounts } from "../kernel/events.ts";
import type { SessionCounts } from "../tunnel/kernel/sessions.ts";
import type { HealthCounters } from "../kernel/hooked_interfaces.ts";
import type { InterfaceState } from "../kernel/xdp_hook.ts";
import type { CounterValues } from "../loop/counters.ts";
import type { LookupCounts } from "../loop/name_lookup.ts";
import type { TunnelSummary } from "../tunnel/summary.ts";
import type { UserStatus } from "../tunnel/server/account_book.ts";
import type { DescriptorStatus } from "./descriptors.ts";
import type { ReloadOutcome } from "./reload.ts";

const ANSWER_MS = 1000;
/** Lists may be long, and names of upstreams may have to be looked up. */
const RELOAD_MS = 60_000;
/** A text longer than this is no answer of ours. */
const ANSWER_BYTES_MAX = 16 << 20;
/** How long nobody is taken after the system would not let us: no descriptors, mostly. */
const ACCEPT_PAUSE_MS = 100;

/** What a server says of itself. */
export interface ServerStatus {
  readonly instance: string;
  readonly pid: number;
  readonly version: string;
  /** That it was built of; null: not known. */
  readonly commit: string | null;
  /** The file that it runs from; null: none. */
  readonly config: string | null;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly level: string;
  readonly workers: number;
  /** What is looked at most, of all workers. */
  readonly counters: TunnelSummary;
  /** All that the services of the workers count, by service and name. */
  readonly services: CounterValues;
  /** Those with a key of their own. */
  readonly users: readonly UserStatus[];
  readonly descriptors: DescriptorStatus;
  /** Names that main looks up for the workers. */
  readonly names: LookupCounts;
  /** Log lines of main that were held back; the workers' are among the counters. */
  readonly linesHeldBack: number;
  /** How often this socket could not take who asked. */
  readonly statusErrors: number;
  /** Where its things are pinned; null: nowhere. */
  readonly pins: string | null;
  readonly interfaces: readonly InterfaceState[];
  /** Null: no BPF program is loaded. */
  readonly health: Readonly<HealthCounters> | null;
  /** By kind; null as above. */
  readonly events: EventCounts | null;
  /** The kernel's table, as the last sweep saw it; null: there is none. */
  readonly sessions: Readonly<SessionCounts> | null;
}

/** Where the server of an instance answers. */
export function statusPath(stateDir: string, instance: string): string {
  return `${stateDir}/status-${instance}.sock`;
}

/** Where it reads its configuration again for whoever connects, who is told what came of it. */
export function reloadPath(stateDir: string, instance: string): string {
  return `${stateDir}/reload-${instance}.sock`;
}

/** What takes connections; Deno.UnixListener. */
export type StatusListener = Pick<Deno.UnixListener, "accept" | "close">;

/** What is said to who connects. */
type Tell = () => unknown;

export class StatusSocket {
  /** Connections that could not be taken. */
  errors = 0;
  readonly #path: string;
  readonly #listener: StatusListener;
  readonly #stopped = new AbortController();

  private constructor(path: string, listener: StatusListener, tell: Tell) {
    this.#path = path;
    this.#listener = listener;
    void this.#serve(tell);
  }

  /** With a listener that the caller has opened. */
  static on(path: string, listener: StatusListener, tell: Tell): StatusSocket {
    return new StatusSocket(path, listener, tell);
  }

  /** Answers with what `tell` says. Where that can't be the server does without, as logged. */
  static async open(path: string, tell: Tell, log: Log): Promise<StatusSocket | undefined> {
    try {
      if (await isAnswered(path)) throw new Error("another server answers there");
      removeSocket(path);
      const listener = Deno.listen({ transport: "unix", path });
      Deno.chmodSync(path, 0o600);
      return new StatusSocket(path, listener, tell);
    } catch (error) {
      log.warn(
        "status_socket_failed",
        "a socket can't be opened: `phantom status` and `phantom reload` do not find this server",
        {
          path,
          cause: messageOf(error),
          remedy: "make state_dir a folder that this user may write to",
        },
      );
      return undefined;
    }
  }

  close(): void {
    this.#stopped.abort();
    this.#listener.close();
    removeSocket(this.#path);
  }

  /** Whatever goes wrong with one, the next may be answered. */
  async #serve(tell: Tell): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        const connection = await this.#listener.accept();
        answer(connection, tell).catch(() => {});
      } catch {
        if (signal.aborted) return;
        this.errors++;
        await pause(ACCEPT_PAUSE_MS, signal);
      }
    }
  }
}

/** What the server behind a socket says; nothing when none does. */
export function askStatus(path: string): Promise<ServerStatus | undefined> {
  return ask<ServerStatus>(path, ANSWER_MS);
}

/** Has the server behind a socket read its configuration again; nothing when there is none. */
export function askReload(path: string): Promise<ReloadOutcome | undefined> {
  return ask<ReloadOutcome>(path, RELOAD_MS);
}

async function ask<T>(path: string, ms: number): Promise<T | undefined> {
  let connection: Deno.UnixConn;
  try {
    connection = await Deno.connect({ transport: "unix", path });
  } catch {
    // No socket, none behind it, or not ours to ask.
    return undefined;
  }
  const timer = setTimeout(() => connection.close(), ms);
  try {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of connection.readable) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > ANSWER_BYTES_MAX) return undefined;
    }
    return JSON.parse(text);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

/** Whether somebody has the socket, be it that they are too busy to say anything. */
export async function isAnswered(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}

async function answer(connection: Deno.UnixConn, tell: Tell): Promise<void> {
  try {
    const bytes = new TextEncoder().encode(JSON.stringify(await tell()));
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  } finally {
    connection.close();
  }
}

/** Only what is a socket: the state folder is a person's to choose. */
function removeSocket(path: string): void {
  try {
    if (Deno.lstatSync(path).isSocket) Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

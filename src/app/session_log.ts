/** What a client's log says of its connection to the server: whether there is one, or why not. */

import type { Log } from "../base/log.ts";
import { refusalWords, silenceWords } from "../tunnel/close_words.ts";
import type { SessionReport, Silence } from "../tunnel/protocol.ts";

/** A first HELLO is said again after a second: whoever is there has answered twice by then. */
export const TOLD_AFTER_MS = 2000;
/** A server that stays away is told of again. */
export const TOLD_EVERY_MS = 60_000;

/**
 * Why there may be no answer, the likeliest first: a server is silent to all who can't prove that
 * they know its key, so that nobody can tell these apart from here.
 */
export function causesOfSilence(unixMs: number, silence?: Silence): readonly string[] {
  // Somebody on the way knows better.
  if (silence !== undefined) return [silenceWords(silence)];
  const clock = new Date(unixMs).toISOString().replace(/\.\d+Z$/, "Z");
  return [
    "the server does not run, or a firewall on the way drops UDP to its port",
    "its address or port is another",
    "its psk, or the user's name or key, is another",
    `a clock is wrong: they may differ by 30 seconds, and this machine's says ${clock}`,
  ];
}

export interface SessionLogOptions {
  readonly log: Log;
  readonly server: string;
  readonly unixMs: () => number;
  /** Calls back after so many ms, until it is told not to. */
  readonly after: (ms: number, call: () => void) => () => void;
}

/** After so many ms by the clock of this process, which waits for it no longer than for others. */
export function afterMs(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  Deno.unrefTimer(timer);
  return () => clearTimeout(timer);
}

export class SessionLog {
  readonly #options: SessionLogOptions;
  #state = "";
  /** The server has been told of as silent, and was not heard since. */
  #isTold = false;
  #cancel: (() => void) | undefined;
  /** What was said last of why it may be silent. */
  #silence: Silence | undefined;
  #isStopped = false;

  constructor(options: SessionLogOptions) {
    this.#options = options;
  }

  heard({ state, rttMs, closeCode, silence }: SessionReport): void {
    const { log, server } = this.#options;
    const isNews = this.#silence === undefined && silence !== undefined;
    this.#silence = silence;
    // What was told so far was all that it may be.
    if (isNews && this.#isTold && state !== "open") this.#tell();
    const before = this.#state;
    if (state === before || this.#isStopped) return;
    this.#state = state;
    if (state === "open") {
      this.#settle();
      // In a session that never had an answer it is not known.
      const measured = rttMs > 0 ? { rttMs: Math.round(rttMs * 10) / 10 } : {};
      log.info("connected", "connected", { server, ...measured });
    } else if (state === "connecting") {
      log.debug("connecting", "connecting", { server });
      if (!this.#isTold) this.#cancel ??= this.#options.after(TOLD_AFTER_MS, () => this.#tell());
    } else if (refusalWords(closeCode) !== undefined) {
      this.#settle();
      const cause = refusalWords(closeCode);
      log.warn("refused", "the server lets this user in no more", { server, cause });
    } else if (before === "open") {
      log.warn("connection_lost", "the connection is lost", { server });
    }
  }

  /** From now on the connection ends because it is to. */
  stop(): void {
    this.#isStopped = true;
    this.#settle();
  }

  #tell(): void {
    const { log, server, unixMs, after } = this.#options;
    this.#isTold = true;
    this.#cancel?.();
    const list = causesOfSilence(unixMs(), this.#silence);
    const causes = list.length === 1
      ? list[0]
      : list.map((cause, i) => `(${i + 1}) ${cause}`).join("; ");
    log.warn("no_answer", "the server does not answer", { server, causes });
    this.#cancel = after(TOLD_EVERY_MS, () => {
      // Nobody may have asked for it since.
      if (this.#state === "connecting") this.#tell();
      else this.#settle();
    });
  }

  #settle(): void {
    this.#isTold = false;
    this.#cancel?.();
    this.#cancel = undefined;
  }
}

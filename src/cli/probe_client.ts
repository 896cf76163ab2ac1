/** A client for a command that measures: asks for the session's state and waits for the answer. */

import { Client } from "../app/client.ts";
import type { ClientConfig } from "../config/mod.ts";
import { Resources } from "../kernel/resources.ts";
import { refusalWords } from "../tunnel/close_words.ts";
import type { SessionReport, Silence } from "../tunnel/protocol.ts";
import { openLog } from "./service.ts";

const TIMEOUT_MS = 5000;

export interface ProbeOptions {
  readonly config: ClientConfig;
  readonly root: URL;
  readonly verbose: boolean;
  /** Whether what the configuration says listens. */
  readonly inbounds: boolean;
}

/** What `interrupted` resolves to. */
export const STOPPED = "stopped";

/** At Ctrl-C: whoever measures tells what there is by then, and takes leave of the server. */
export function interrupted(): Promise<typeof STOPPED> {
  const { promise, resolve } = Promise.withResolvers<typeof STOPPED>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => resolve(STOPPED));
  }
  return promise;
}

export class ProbeClient {
  readonly #client: Client;
  #heard: (report: SessionReport) => void = () => {};
  /** What was told last of a session that there is not. */
  #last: SessionReport | undefined;

  private constructor(client: Client) {
    this.#client = client;
  }

  static async start({ config, root, verbose, inbounds }: ProbeOptions): Promise<ProbeClient> {
    let hear: (report: SessionReport) => void = () => {};
    const client = await Client.start({
      config,
      resources: new Resources(root),
      log: openLog({ ...config, logLevel: verbose ? "debug" : "error" }),
      inbounds,
      impatient: true,
      onReport: (report) => hear(report),
    });
    const probe = new ProbeClient(client);
    hear = (report) => {
      probe.#last = report;
      probe.#heard(report);
    };
    return probe;
  }

  /** Ports of what listens, in the order of inboundsOf(). */
  get ports(): readonly number[] {
    return this.#client.ports;
  }

  /** Why the server does not answer, as far as somebody says so. */
  get silence(): Silence | undefined {
    return this.#last?.silence;
  }

  /** Why the server, which has answered, lets this user in no more, where it has said so. */
  get refusal(): string | undefined {
    return this.#last?.state === "lost" ? refusalWords(this.#last.closeCode) : undefined;
  }

  /** Connects when need be, and measures a round trip; nothing: no answer, or a refusal. */
  async measure(): Promise<SessionReport | undefined> {
    const { promise, resolve } = Promise.withResolvers<SessionReport | undefined>();
    this.#heard = (report) => {
      if (report.state === "open") resolve(report);
      else if (this.refusal !== undefined) resolve(undefined);
    };
    const timer = setTimeout(() => resolve(undefined), TIMEOUT_MS);
    try {
      this.#client.ask();
      return await Promise.race([promise, this.#client.failure]);
    } finally {
      clearTimeout(timer);
    }
  }

  async stop(): Promise<void> {
    await this.#client.stop();
  }
}

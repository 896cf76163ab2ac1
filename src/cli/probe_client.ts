/** A client for a command that measures: asks for the session's state and waits for the answer. */

import { Client } from "../app/client.ts";
import type { ClientConfig } from "../config/mod.ts";
import { Resources } from "../kernel/resources.ts";
import type { SessionReport } from "../tunnel/protocol.ts";
import { openLog } from "./service.ts";

const TIMEOUT_MS = 5000;

export interface ProbeOptions {
  readonly config: ClientConfig;
  readonly root: URL;
  readonly verbose: boolean;
  /** Whether what the configuration says listens. */
  readonly inbounds: boolean;
}

export class ProbeClient {
  readonly #client: Client;
  #heard: (report: SessionReport) => void = () => {};

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
    hear = (report) => probe.#heard(report);
    return probe;
  }

  /** Ports of what listens, in the order of inboundsOf(). */
  get ports(): readonly number[] {
    return this.#client.ports;
  }

  /** Connects when need be, and measures a round trip; nothing when there is no answer. */
  async measure(): Promise<SessionReport | undefined> {
    const { promise, resolve } = Promise.withResolvers<SessionReport | undefined>();
    this.#heard = (report) => {
      if (report.state === "open") resolve(report);
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

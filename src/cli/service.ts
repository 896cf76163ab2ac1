/** What commands that keep running share: the log on standard error, the signals to stop. */

import { Log, type LogLevel, LogThreshold } from "../base/log.ts";
import { LineLimit } from "../base/log_limit.ts";
import { inJournal } from "./complain.ts";

/** Its threshold may be changed later. */
export function openLog(
  { logLevel, logFormat }: {
    readonly logLevel: LogLevel;
    readonly logFormat: "text" | "json";
  },
): Log {
  const encoder = new TextEncoder();
  const threshold = new LogThreshold(logLevel);
  const log = Log.to({
    level: threshold,
    format: logFormat,
    write: (line) => writeAll(encoder.encode(line)),
    now: Date.now,
    color: Deno.stderr.isTerminal() && !Deno.noColor,
    journal: inJournal(),
  });
  return new LineLimit((record) => log.put(record), Date.now).log(undefined, threshold);
}

function writeAll(bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // Whoever read the log is gone. That is no reason to stop serving.
  }
}

/** SIGHUPs, from now on: one that comes before there is anything to reload is made up for. */
export class Hangups {
  #isDue = false;
  #act: () => void = () => {
    this.#isDue = true;
  };

  constructor() {
    Deno.addSignalListener("SIGHUP", () => this.#act());
  }

  /** Does this at each. */
  use(act: () => void): void {
    this.#act = act;
    if (this.#isDue) act();
  }
}

/** To stop for a start that follows at once: what runs in the kernel goes on until then. */
export const RESTART_SIGNAL = "SIGUSR1";

/** The first signal to stop. */
export function stopSignal(): Promise<Deno.Signal> {
  const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
  for (const signal of ["SIGINT", "SIGTERM", RESTART_SIGNAL] as const) {
    Deno.addSignalListener(signal, () => resolve(signal));
  }
  return promise;
}

/** A configuration that is read again while its server runs, by whoever asks for it. */

import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Config } from "../config/mod.ts";

export interface ReloadOptions {
  /** For the log. */
  readonly path: string;
  /** Reads the file; throws where it is wrong. */
  readonly read: () => Config;
  /** What the server was started with. */
  readonly running: Config;
  /** Tells the server; the settings that it took. */
  readonly apply: (config: Config) => Promise<readonly string[]>;
  readonly log: Log;
}

export class Reload {
  readonly #options: ReloadOptions;
  #last: Promise<void> = Promise.resolve();

  constructor(options: ReloadOptions) {
    this.#options = options;
  }

  /** Takes over what can change in a server that runs; a wrong file changes nothing. */
  again(): Promise<void> {
    return this.#last = this.#last.then(() => this.#take());
  }

  async #take(): Promise<void> {
    const { path, read, running, apply, log } = this.#options;
    try {
      const config = read();
      const taken = new Set(await apply(config));
      const later = changedSettings(running, config).filter((name) => !taken.has(name));
      const { rules, users } = config;
      log.info("config_reloaded", "the configuration is read again", {
        path,
        rules: rules.length,
        users: users.length,
      });
      if (later.length > 0) {
        log.warn("config_needs_restart", "some settings take effect at the next start", {
          settings: later.map(written).join(","),
        });
      }
      wipeKeys(config);
    } catch (error) {
      const cause = messageOf(error);
      log.error("config_rejected", "the configuration stays as it was", { path, cause });
    }
  }
}

/** Of a configuration that is no longer used. */
export function wipeKeys({ psk, users }: Config): void {
  psk.wipe();
  for (const { key } of users) key.wipe();
}

function changedSettings(before: Config, after: Config): string[] {
  const names = Object.keys(before) as (keyof Config)[];
  const changed = names.filter((name) =>
    JSON.stringify(before[name]) !== JSON.stringify(after[name])
  );
  // Keys don't show in JSON.
  const isNewKey = !before.psk.equals(after.psk);
  return isNewKey ? [...changed, "psk"] : changed;
}

/** As the file calls it: `idleMs` → `idle`. */
function written(name: string): string {
  return name.replace(/Ms$/, "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

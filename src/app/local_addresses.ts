/** The machine's own addresses as they come and go: no targets of the workers'. */

import { AddressWatch } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { localAddresses } from "../../ffi/local_addresses.ts";
import type { Native } from "../../ffi/native.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type OwnBlock, ownBlock } from "../proxy/own_addresses.ts";

/** How often the kernel is asked without news: it tells of addresses, but not of local routes. */
const ASK_MS = 5_000;
/** And where it tells nothing. */
const ASK_WITHOUT_NEWS_MS = 500;

export class LocalAddresses {
  readonly #native: Native;
  readonly #log: Log;
  readonly #watch: AddressWatch | undefined;
  #known: readonly OwnBlock[] = [];
  #text = "";
  #askAt = -Infinity;
  #isFailing = false;

  constructor(libs: Libraries, log: Log) {
    this.#native = libs.native;
    this.#log = log;
    this.#watch = this.#openWatch(libs);
    this.#ask();
  }

  get known(): readonly OwnBlock[] {
    return this.#known;
  }

  /** Whether they are others than before; to be called several times a second. */
  haveChanged(now: number): boolean {
    const hasNews = this.#watch?.changed() === true;
    if (!hasNews && now < this.#askAt) return false;
    this.#askAt = now + (this.#watch === undefined ? ASK_WITHOUT_NEWS_MS : ASK_MS);
    return this.#ask();
  }

  close(): void {
    this.#watch?.close();
  }

  #openWatch(libs: Libraries): AddressWatch | undefined {
    try {
      return new AddressWatch(libs);
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  #ask(): boolean {
    let known: OwnBlock[];
    try {
      known = localAddresses(this.#native).map(({ ip, bits }) => ownBlock(ip, bits));
      this.#isFailing = false;
    } catch (error) {
      this.#fail(error);
      return false;
    }
    const text = [...new Set(known.map(({ ip, bits }) => `${ip}/${bits}`))].sort().join();
    if (text === this.#text) return false;
    this.#text = text;
    this.#known = known;
    return true;
  }

  /** Those that were known stay; told once. */
  #fail(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#log.warn(
      "own_addresses_failed",
      "the machine's own addresses can't be listed: those that were known are refused as targets",
      { cause: messageOf(error) },
    );
  }
}

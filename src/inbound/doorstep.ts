/**
 * Local connections whose request is not known yet: who they are is not known either, and they keep
 * no place from others. When there is no room for one more, the source that has most of them here
 * loses its oldest.
 */

import type { Endpoint } from "../../ffi/endpoint.ts";
import { formatIp } from "../base/ip.ts";

export interface Waiting {
  /** It is to go, for one that has come later; it leaves the doorstep by itself. */
  abort(): void;
}

export class Doorstep {
  /** By source, each in the order of their coming. */
  readonly #sources = new Map<string, Set<Waiting>>();

  add({ ip }: Endpoint, one: Waiting): void {
    const source = formatIp(ip);
    const others = this.#sources.get(source);
    if (others === undefined) this.#sources.set(source, new Set([one]));
    else others.add(one);
  }

  leave({ ip }: Endpoint, one: Waiting): void {
    const source = formatIp(ip);
    const others = this.#sources.get(source);
    if (others?.delete(one) === true && others.size === 0) this.#sources.delete(source);
  }

  /** Makes room for one more; false: nobody is here. */
  giveWay(): boolean {
    let most: Set<Waiting> | undefined;
    for (const waiting of this.#sources.values()) {
      if (most === undefined || waiting.size > most.size) most = waiting;
    }
    const [oldest] = most ?? [];
    oldest?.abort();
    return oldest !== undefined;
  }
}

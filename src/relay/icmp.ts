/**
 * What ICMP says of the relay's backends. Packets that XDP sends are no socket's, so the kernel
 * would drop the errors about them: here they are heard. By that it learns a path's MTU, which
 * XDP's look-up of routes then tells.
 */

import { endpoint, formatEndpoint } from "../../ffi/endpoint.ts";
import type { Native } from "../../ffi/native.ts";
import { PathWatch } from "../../ffi/icmp.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

/** More cost each datagram that comes to this machine some ns. */
const WATCHES_MAX = 64;
const PORTS_MAX = 65_536;

/** Where packets go, and the address of ours that they come from. */
export interface PathEnds {
  /** 16 bytes each. */
  readonly ip: Uint8Array;
  readonly source: Uint8Array | undefined;
}

interface Watched {
  /** Our address: another one, and the watch is made anew. */
  readonly source: string;
  /** Undefined: it could not be had. */
  readonly watch: PathWatch | undefined;
  mtu: number | undefined;
}

export class RelayIcmp {
  readonly #native: Native;
  readonly #log: Log;
  /** By the address of the backend, in hex. */
  readonly #watched = new Map<string, Watched>();
  /** "address port" of backends that said that nobody has the port. */
  readonly #refused = new Set<string>();
  #hasWarned = false;

  constructor(native: Native, log: Log) {
    this.#native = native;
    this.#log = log;
  }

  /** Watches the paths to these and no others. */
  watch(ends: Iterable<PathEnds>): void {
    const gone = new Set(this.#watched.keys());
    for (const { ip, source } of ends) {
      const key = ip.toHex();
      gone.delete(key);
      if (source !== undefined) this.#open(key, ip, source.toHex());
    }
    for (const key of gone) this.#end(key);
  }

  /** Takes note of what was heard; whether the MTU of a path has changed. */
  hear(): boolean {
    let isNews = false;
    for (const [key, watched] of this.#watched) {
      if (watched.watch === undefined) continue;
      const { refused, mtu } = watched.watch.take();
      for (const port of refused) {
        if (this.#refused.size < PORTS_MAX) this.#refused.add(`${key} ${port}`);
      }
      if (mtu === undefined) continue;
      // What the kernel has learnt it forgets after some minutes: told anew, it is news again.
      isNews = true;
      if (mtu === watched.mtu) continue;
      watched.mtu = mtu;
      const host = formatEndpoint(endpoint(Uint8Array.fromHex(key), 0)).replace(/:0$/, "");
      this.#log.info("backend_mtu", "the path to a backend takes shorter packets", { host, mtu });
    }
    return isNews;
  }

  /** Whether a backend said since the last call that nobody has the port. */
  takeRefusal(ip: Uint8Array, port: number): boolean {
    return this.#refused.delete(`${ip.toHex()} ${port}`);
  }

  close(): void {
    for (const key of [...this.#watched.keys()]) this.#end(key);
  }

  #open(key: string, ip: Uint8Array, source: string): void {
    const known = this.#watched.get(key);
    if (known?.source === source) return;
    if (known !== undefined) this.#end(key);
    if (this.#watched.size >= WATCHES_MAX) return;
    this.#watched.set(key, { source, watch: this.#tryWatch(ip), mtu: undefined });
  }

  #tryWatch(ip: Uint8Array): PathWatch | undefined {
    try {
      return new PathWatch(this.#native, endpoint(ip, 0));
    } catch (error) {
      if (this.#hasWarned) return undefined;
      this.#hasWarned = true;
      this.#log.warn(
        "relay_icmp_failed",
        "ICMP errors of backends are not heard: no path MTU is learnt",
        {
          cause: messageOf(error),
        },
      );
      return undefined;
    }
  }

  #end(key: string): void {
    this.#watched.get(key)?.watch?.close();
    this.#watched.delete(key);
  }
}

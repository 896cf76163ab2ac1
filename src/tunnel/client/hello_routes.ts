/** Where HELLOs go: the server's addresses by UDP, and routes of other carriers. One is next. */

import {
  type Endpoint,
  endpoint,
  isSameRoute,
  type Route,
  routeTo,
} from "../../../ffi/endpoint.ts";
import { SilenceWatch } from "./silence.ts";

/** Of a session that is asked for before the server's name is found. */
const NOWHERE = routeTo(endpoint(new Uint8Array(16), 0));

export class HelloRoutes {
  /** What is said of them. */
  readonly silence: SilenceWatch = new SilenceWatch();
  #servers: Route[];
  #others: Route[] = [];
  #next = 0;

  constructor(servers: readonly Endpoint[]) {
    this.#servers = servers.map((server) => routeTo(server));
  }

  get count(): number {
    return this.#servers.length + this.#others.length;
  }

  /** The one to try next; one that leads nowhere as long as there is none. */
  get next(): Route {
    return this.#at(this.#next) ?? NOWHERE;
  }

  #at(index: number): Route | undefined {
    return this.#servers[index] ?? this.#others[index - this.#servers.length];
  }

  /** Whether it is one of the server's addresses, with its port. */
  isServer(peer: Endpoint): boolean {
    const route = routeTo(peer);
    return this.#servers.some((one) => isSameRoute(one, route));
  }

  /** It was tried. */
  advance(): void {
    this.#next = (this.#next + 1) % this.count;
  }

  /** The server's addresses from now on, best first. */
  setServers(servers: readonly Endpoint[]): void {
    this.#keepNext(() => this.#servers = servers.map((server) => routeTo(server)));
  }

  /** A route of another carrier. */
  add(route: Route): void {
    this.#others.push(route);
  }

  remove(route: Route): void {
    this.#keepNext(() => this.#others = this.#others.filter((one) => !isSameRoute(one, route)));
  }

  /** It answered: it is the next as well; the first, where it is not known. */
  prefer(route: Route): void {
    const all = [...this.#servers, ...this.#others];
    this.#next = Math.max(0, all.findIndex((one) => isSameRoute(one, route)));
  }

  #keepNext(change: () => void): void {
    const next = this.#at(this.#next);
    change();
    if (next === undefined) this.#next = 0;
    else this.prefer(next);
  }
}

/**
 * From a target to a socket: the rules, the name's addresses, and the connection to the first that
 * answers; by this machine itself, by one of its interfaces, or by an upstream proxy.
 *
 *     connect → resolving → dialling → connected
 *                   └───────────┴────→ failed
 */

import type { Endpoint } from "../../ffi/endpoint.ts";
import type { TcpSocket } from "../../ffi/tcp.ts";
import type { Loop } from "../loop/loop.ts";
import type { NameWaiter, Resolution, Resolver } from "../loop/resolver.ts";
import { OpenedCode } from "../wire/frames.ts";
import { type CheckedTarget, DIRECT, type Pending, REJECT, type Rules } from "../proxy/rules.ts";
import { Target } from "../proxy/target.ts";
import { Dial, type DialEvents, endpointOf } from "./dial.ts";
import type { Origin, Routes } from "./routes.ts";
import { Turns } from "./turns.ts";

/** Who hears, once, how it went; perhaps before `connect` returns. */
export interface ConnectEvents extends DialEvents {
  /** On whose account names are looked up; a session. */
  readonly asker?: object;
  /** Hears what the rules said: an outbound's name, and the index of the rule, or NO_RULE. */
  judged?(outbound: string, rule: number): void;
}

export class Connector {
  readonly loop: Loop;
  readonly resolver: Pick<Resolver, "resolve" | "forget">;
  readonly turns: Turns;
  #routes: Routes;

  constructor(
    loop: Loop,
    resolver: Pick<Resolver, "resolve" | "forget">,
    routes: Routes,
    turns: Turns = new Turns(loop),
  ) {
    this.turns = turns;
    this.loop = loop;
    this.resolver = resolver;
    this.#routes = routes;
  }

  get routes(): Routes {
    return this.#routes;
  }

  /** For what is connected from now on. */
  setRoutes(routes: Routes): void {
    this.#routes = routes;
  }

  setRules(rules: Rules): void {
    this.#routes = { ...this.#routes, rules };
  }

  /** Connects for a user. The target is not kept. */
  connect(user: string, target: Target, events: ConnectEvents): Connecting {
    const pending = this.#routes.rules.decideBeforeResolution(user, "tcp", target);
    const connecting = new Connecting(this, { name: target.name, user }, pending, events);
    connecting.begin(target);
    return connecting;
  }
}

/** One target on its way to be a socket. */
export class Connecting implements NameWaiter, DialEvents {
  readonly #loop: Loop;
  readonly #resolver: Pick<Resolver, "resolve" | "forget">;
  readonly #turns: Turns;
  readonly #events: ConnectEvents;
  readonly #name: string;
  readonly user: string;
  /** Those of when it began: outbounds are numbered by them. */
  readonly #routes: Routes;
  readonly #pending: Pending;
  #dial: Dial | undefined;
  #isResolving = false;
  #isOver = false;

  constructor(
    connector: Connector,
    { name, user }: { readonly name: string; readonly user: string },
    pending: Pending,
    events: ConnectEvents,
  ) {
    this.#loop = connector.loop;
    this.#resolver = connector.resolver;
    this.#turns = connector.turns;
    this.#routes = connector.routes;
    this.#name = name;
    this.user = user;
    this.#pending = pending;
    this.#events = events;
  }

  get asker(): object {
    return this.#events.asker ?? this.#events;
  }

  begin(target: Target): void {
    const { step, outbound, rule } = this.#pending;
    if (step !== "resolve") this.#judged(outbound, rule);
    if (step === "reject") return this.failed(OpenedCode.denied);
    if (step === "hand-over") return this.#dialUpstream(outbound, copyOf(target));
    if (!target.isDomain) return this.#choose([target.ip.slice()]);
    const resolution = this.#resolver.resolve(this.#name, this);
    if (resolution !== undefined) return this.#take(resolution);
    this.#isResolving = true;
  }

  /** Nobody waits for it any more: nothing is told. */
  abort(): void {
    if (this.#isOver) return;
    this.#end();
    if (this.#dial !== undefined) this.#turns.cancel(this.asker, this.#dial);
    this.#dial?.abort();
    this.#dial = undefined;
  }

  /** Whether it has sockets, which it costs something to close. */
  get isDialling(): boolean {
    return this.#dial?.hasBegun === true;
  }

  resolved(resolution: Resolution): void {
    this.#isResolving = false;
    if (this.#isOver) return;
    try {
      this.#take(resolution);
    } catch (error) {
      this.#loop.fault(error);
      this.failed(OpenedCode.unreachable);
    }
  }

  connected(socket: TcpSocket, early: Uint8Array<ArrayBuffer>): void {
    this.#dial = undefined;
    this.#end();
    this.#events.connected(socket, early);
  }

  short(): boolean {
    return this.#events.short?.() ?? false;
  }

  failed(code: number): void {
    if (this.#isOver) return;
    this.#dial = undefined;
    this.#end();
    this.#events.failed(code);
  }

  #end(): void {
    this.#isOver = true;
    if (this.#isResolving) this.#resolver.forget(this.#name, this);
    this.#isResolving = false;
  }

  #take({ addresses, error }: Resolution): void {
    if (error === undefined) return this.#choose(addresses);
    if (error === "busy") this.failed(OpenedCode.tooManyStreams);
    else if (error === "not-found") this.failed(OpenedCode.nameNotFound);
    else this.failed(OpenedCode.resolverSilent);
  }

  /** Judges the addresses: from here on only what the rules copied is used. */
  #choose(addresses: readonly Uint8Array[]): void {
    const { allowed, refusedAddresses, rule } = this.#pending.decideAfterResolution(addresses);
    const [first] = allowed;
    this.#judged(first?.outbound ?? REJECT, first?.rule ?? rule);
    if (first === undefined) {
      return this.failed(refusedAddresses > 0 ? OpenedCode.notPublic : OpenedCode.denied);
    }
    const same = allowed.filter(({ outbound }) => outbound === first.outbound);
    if (first.outbound === DIRECT) return this.#dialDirect(same.map(endpointOf), {});
    const origin = this.#routes.origins?.get(this.#nameOf(first.outbound));
    if (origin !== undefined) return this.#dialDirect(same.map(endpointOf), origin);
    const best = this.#preferred(same);
    if (best === undefined) return this.failed(OpenedCode.unreachable);
    this.#dialUpstream(best.outbound, targetOf(best));
  }

  /** The one address that an upstream is told. */
  #preferred(allowed: readonly CheckedTarget[]): CheckedTarget | undefined {
    const { preferred, only = false } = this.#routes.dial ?? {};
    if (preferred === undefined) return allowed[0];
    const best = allowed.find(({ isIpv4 }) => isIpv4 === (preferred === 4));
    return best ?? (only ? undefined : allowed[0]);
  }

  #judged(outbound: number, rule: number): void {
    this.#events.judged?.(this.#nameOf(outbound), rule);
  }

  #nameOf(outbound: number): string {
    return this.#routes.rules.outbounds[outbound]?.name ?? "";
  }

  #dialDirect(addresses: readonly Endpoint[], origin: Origin): void {
    this.#dial = new Dial(this.#loop, addresses, this, { ...this.#routes.dial, ...origin });
    this.#turns.open(this.asker, this.#dial);
  }

  #dialUpstream(outbound: number, target: Target): void {
    const upstream = this.#routes.upstreams?.get(this.#nameOf(outbound));
    if (upstream === undefined) return this.failed(OpenedCode.denied);
    if (upstream.peers.length === 0) return this.failed(OpenedCode.unreachable);
    // What is said of targets does not hold here: the upstream may be on another network.
    const { sources: _, device: __, preferred: ___, only: ____, ...dial } = this.#routes.dial ?? {};
    const options = { ...dial, ...upstream.origin };
    this.#dial = new Dial(this.#loop, upstream.peers, this, options).through(upstream, target);
    this.#turns.open(this.asker, this.#dial);
  }
}

/** The caller's is another's by the time that the upstream is told. */
function copyOf(target: Target): Target {
  const copy = new Target();
  copy.copyFrom(target);
  return copy;
}

function targetOf(checked: CheckedTarget): Target {
  const target = new Target();
  const { ip, port } = endpointOf(checked);
  target.setIp(ip, 0, port);
  return target;
}

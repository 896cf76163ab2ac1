/**
 * The interfaces that hooks are on: attached where they are wanted, also later ones, looked after,
 * and let go when they go. A lost attachment is noticed within two seconds and made anew; where
 * that fails the level drops, and is tried again when something changes there.
 */

import { EventKind } from "../../ffi/bpf/layout.gen.ts";
import { SysError } from "../../ffi/errors.ts";
import {
  type Interface,
  interfaceOf,
  InterfaceWatch,
  listInterfaces,
} from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { CounterWatch } from "./counter_watch.ts";
import type { KernelEvents } from "./events.ts";
import { type FailedLevel, type Held, type Hook, isHeld, settlePins } from "./hook.ts";
import { wantedInterfaces } from "./interfaces.ts";

const CHECK_MS = 1000;
/** Without any news from the kernel: routes change too, and news can be lost. */
const LIST_MS = 10_000;
const RETRY_MS = 30_000;

export interface InterfacesOptions {
  readonly libs: Libraries;
  /** One that follows another stands behind it. */
  readonly hooks: readonly Hook[];
  /** Names; none: that of the default route. */
  readonly configured: readonly string[];
  readonly log: Log;
  readonly events: KernelEvents;
}

/** A hook on an interface. */
export interface HookState {
  readonly interfaceName: string;
  readonly ifindex: number;
  /** Nothing: it is not attached here. */
  readonly level: string | undefined;
  readonly programId: number;
  /** Whether the attachment of an earlier run went on, with its program swapped. */
  readonly swapped: boolean;
  /** Levels above that did not work. */
  readonly failed: readonly FailedLevel[];
}

/** How often what has happened. */
export interface HealthCounters {
  /** Attachments made, adopted or made anew, without those of hooks that follow others. */
  attached: number;
  /** Interfaces that came while we ran, went, or were renamed. */
  appeared: number;
  vanished: number;
  renamed: number;
  /** Attachments that ended under us, and programs that somebody put in place of ours. */
  lost: number;
  replaced: number;
  /** Attachments made anew, and at which no level was left. */
  reattached: number;
  dropped: number;
  /** Pins that were removed under us. */
  unpinned: number;
  /** Times the counters stood still although packets came. */
  still: number;
  /** Looks at maps or attachments that failed. */
  faults: number;
}

/** A hook that could not be attached. */
interface Refused {
  /** As the interface was. */
  readonly device: Interface;
  readonly failed: readonly FailedLevel[];
  readonly retryAt: number;
}

/** A wanted interface, and how each hook fares there. */
interface Place {
  readonly ifindex: number;
  name: string;
  readonly held: Map<Hook, Held>;
  readonly refused: Map<Hook, Refused>;
}

export class HookedInterfaces {
  readonly health: HealthCounters = {
    attached: 0,
    appeared: 0,
    vanished: 0,
    renamed: 0,
    lost: 0,
    replaced: 0,
    reattached: 0,
    dropped: 0,
    unpinned: 0,
    still: 0,
    faults: 0,
  };
  readonly #options: InterfacesOptions;
  readonly #hooks: Hook[];
  readonly #watch: InterfaceWatch | undefined;
  /** By the index of their interface. */
  readonly #places = new Map<number, Place>();
  /** Of hooks whose programs count. */
  readonly #counterWatches = new Map<Hook, CounterWatch>();
  #checkAt = 0;
  #listAt = 0;
  #missing = "";
  #fault = "";

  constructor(options: InterfacesOptions) {
    this.#options = options;
    this.#hooks = [...options.hooks];
    this.#watch = openWatch(options.libs, options.log);
  }

  /** Attaches to all that are wanted and there. `now` in milliseconds of any clock. */
  start(now: number): void {
    const present = listInterfaces(this.#options.libs);
    for (const hook of this.#hooks) this.#settlePins(hook, present);
    this.#settle(present, now, false);
    for (const hook of this.#hooks) this.#takeOffRest(hook);
    this.#checkAt = now + CHECK_MS;
    this.#listAt = now + LIST_MS;
  }

  /** One more hook, wherever it is wanted; after `start`. */
  add(hook: Hook, now: number): void {
    this.#hooks.push(hook);
    this.#guard(() => {
      const present = listInterfaces(this.#options.libs);
      this.#settlePins(hook, present);
      this.#settle(present, now, false);
      this.#takeOffRest(hook);
    });
  }

  /** A hook on each interface that is wanted: first those where it is attached. */
  states(hook: string): HookState[] {
    const found = this.#hooks.find(({ name }) => name === hook);
    if (found === undefined) return [];
    const [attached, refused]: [HookState[], HookState[]] = [[], []];
    for (const { name: interfaceName, ifindex, ...place } of this.#places.values()) {
      const held = place.held.get(found);
      const failed = held?.failed ?? place.refused.get(found)?.failed;
      if (held !== undefined) {
        const { level, programId, swapped } = held;
        attached.push({ interfaceName, ifindex, level, programId, swapped, failed: held.failed });
      } else if (failed !== undefined) {
        const nothing = { level: undefined, programId: 0, swapped: false };
        refused.push({ interfaceName, ifindex, ...nothing, failed });
      }
    }
    return [...attached, ...refused];
  }

  /** To be called several times a second: costs next to nothing while nothing happens. */
  check(now: number): void {
    const hasNews = this.#watch?.changed() ?? false;
    if (!hasNews && now < this.#checkAt) return;
    this.#checkAt = now + CHECK_MS;
    this.#guard(() => {
      for (const place of [...this.#places.values()]) this.#lookAt(place, now);
      if (hasNews || now >= this.#listAt || this.#watch === undefined || this.#hasRetry(now)) {
        this.#listAt = now + LIST_MS;
        this.#settle(listInterfaces(this.#options.libs), now, true);
      }
      for (const hook of this.#hooks) this.#watchCounters(hook);
    });
  }

  /** Whatever fails, packets go on as before, and the next look may succeed. */
  #guard(look: () => void): void {
    try {
      look();
    } catch (error) {
      const cause = messageOf(error);
      this.health.faults++;
      if (cause !== this.#fault) {
        this.#options.log.warn("hooks_check_failed", "the interfaces can't be checked", { cause });
      }
      this.#fault = cause;
    }
  }

  /** Lets go. What is pinned goes on. */
  close(): void {
    this.#watch?.close();
    for (const { held } of this.#places.values()) for (const one of held.values()) one.close();
    this.#places.clear();
  }

  /** The pins of an earlier run, under the names that their interfaces have now. */
  #settlePins({ pins }: Hook, present: readonly Interface[]): void {
    if (pins !== undefined) settlePins(this.#options.libs, pins, present);
  }

  /** What an earlier run left where nothing is wanted any more. */
  #takeOffRest(hook: Hook): void {
    const places = [...this.#places.values()];
    for (const name of hook.pins?.interfaces() ?? []) {
      if (places.some((place) => place.name === name && place.held.has(hook))) continue;
      hook.takeOff(name);
      if (hook.follows !== undefined) continue;
      const text = `${hook.title} is taken off an interface of an earlier run`;
      this.#options.log.info(`${hook.name}_removed`, text, { interface: name });
    }
  }

  /** Whether a refused hook's interface has changed, or it has waited long enough. */
  #hasRetry(now: number): boolean {
    return [...this.#places.values()].some(({ ifindex, refused }) =>
      [...refused.values()].some(({ device, retryAt }) =>
        now >= retryAt || isChanged(device, interfaceOf(this.#options.libs, ifindex))
      )
    );
  }

  #lookAt(place: Place, now: number): void {
    for (const [hook, held] of [...place.held]) {
      // It went with the hook that it follows.
      if (place.held.get(hook) !== held) continue;
      switch (held.state()) {
        case "gone":
          return this.#letGo(place, "vanished");
        case "lost":
          this.#attachAnew(place, hook, held, now);
          continue;
        case "replaced":
          this.health.replaced++;
          this.#options.log.warn(
            `${hook.name}_replaced`,
            `somebody replaced the ${hook.title} program behind its BPF link: it is put back`,
            { interface: place.name },
          );
          held.restore();
      }
      this.#keepPin(place, held);
    }
  }

  #attachAnew(place: Place, hook: Hook, held: Held, now: number): void {
    const { libs, events } = this.#options;
    this.health.lost++;
    const text = `${hook.title} was taken off, attaching anew`;
    events.tell(EventKind.attachLost, text, { interface: place.name });
    place.held.delete(hook);
    held.forget();
    const device = interfaceOf(libs, place.ifindex);
    if (device !== undefined) {
      this.#attach(place, hook, device, now, true);
      if (place.held.has(hook)) this.health.reattached++;
      else this.health.dropped++;
    }
    if (!place.held.has(hook)) this.#detachFollowers(place, hook);
  }

  #detachFollowers(place: Place, hook: Hook): void {
    for (const [follower, held] of [...place.held]) {
      if (follower.follows !== hook.name) continue;
      place.held.delete(follower);
      held.detach();
    }
  }

  #keepPin(place: Place, held: Held): void {
    if (held.keepPin()) return;
    this.health.unpinned++;
    if (held.pinFault !== "") return this.#tellPin(place, held);
    this.#options.log.warn(
      "pin_removed",
      "somebody removed the pin of an attachment: it is pinned again",
      { interface: place.name },
    );
  }

  #tellPin({ name }: Place, { pinFault }: Held): void {
    this.#options.log.warn(
      "pin_failed",
      "an attachment can't be pinned: it ends with this process",
      { interface: name, cause: pinFault },
    );
  }

  #letGo(place: Place, why: "vanished" | "renamed" | "unwanted"): void {
    const { log, events } = this.#options;
    this.#places.delete(place.ifindex);
    const leaders = [...place.held.keys()].filter(({ follows }) => follows === undefined);
    if (why === "vanished" && place.held.size > 0) {
      this.health.vanished++;
      const text = `an interface with ${leaders.map(({ title }) => title).join(" and ")} is gone`;
      events.tell(EventKind.attachLost, text, { interface: place.name });
    }
    for (const held of [...place.held.values()].reverse()) {
      if (why === "vanished") held.forget();
      else held.detach();
    }
    if (why === "vanished") return;
    for (const { name, title } of leaders) {
      const fields = { interface: place.name, reason: why };
      log.info(`${name}_removed`, `${title} is taken off an interface`, fields);
    }
  }

  /** Brings what is attached in line with what is there. */
  #settle(present: readonly Interface[], now: number, isLater: boolean): void {
    const byIndex = new Map(present.map((device) => [device.ifindex, device]));
    for (const place of [...this.#places.values()]) {
      if (!byIndex.has(place.ifindex)) this.#letGo(place, "vanished");
    }
    const held = [...this.#places.values()].filter((place) => place.held.size > 0)
      .map(({ ifindex }) => byIndex.get(ifindex)!.name);
    const names = present.map(({ name }) => name);
    const wanted = wantedInterfaces(this.#options.configured, names, held);
    this.#tellMissing(names, wanted);
    this.#settleNames(byIndex, wanted);
    for (const name of wanted) {
      const device = present.find((one) => one.name === name);
      if (device === undefined) continue;
      if (isLater && !this.#places.has(device.ifindex)) this.health.appeared++;
      this.#attachAll(device, now, isLater);
    }
  }

  /** Places under new names, or let go when those are not wanted. */
  #settleNames(byIndex: ReadonlyMap<number, Interface>, wanted: readonly string[]): void {
    const renamed: { place: Place; name: string }[] = [];
    for (const place of [...this.#places.values()]) {
      const { name } = byIndex.get(place.ifindex)!;
      const isRenamed = name !== place.name;
      if (isRenamed && place.held.size > 0) {
        this.health.renamed++;
        const fields = { before: place.name, now: name };
        this.#options.log.info("interface_renamed", "a hooked interface was renamed", fields);
      }
      if (!wanted.includes(name)) this.#letGo(place, isRenamed ? "renamed" : "unwanted");
      else if (isRenamed) renamed.push({ place, name });
    }
    // All unpinned first: two may have changed their names with each other.
    for (const { place } of renamed) for (const held of place.held.values()) held.unpin();
    for (const { place, name } of renamed) {
      place.name = name;
      for (const held of place.held.values()) held.rename(name);
    }
  }

  /** Every hook that is due there. */
  #attachAll(device: Interface, now: number, isLater: boolean): void {
    const { ifindex, name } = device;
    const place = this.#places.get(ifindex) ??
      { ifindex, name, held: new Map(), refused: new Map() };
    this.#places.set(ifindex, place);
    for (const hook of this.#hooks) {
      if (place.held.has(hook) || !hasLeader(place, hook)) continue;
      const before = place.refused.get(hook);
      if (before !== undefined && now < before.retryAt && !isChanged(before.device, device)) {
        continue;
      }
      this.#attach(place, hook, device, now, isLater);
    }
  }

  #attach(place: Place, hook: Hook, device: Interface, now: number, isLater: boolean): void {
    const { log } = this.#options;
    const { name, title } = hook;
    const fields = { interface: place.name };
    const result = hook.attach(device);
    if (isHeld(result)) {
      place.refused.delete(hook);
      place.held.set(hook, result);
      this.#counterWatches.get(hook)?.reset();
      if (hook.follows === undefined) this.health.attached++;
      for (const { level, cause, remedy } of result.failed) {
        const text = `${level} ${title} does not work here, a lower level does`;
        log.warn(`${name}_level_failed`, text, { ...fields, cause, remedy });
      }
      if (result.pinFault !== "") this.#tellPin(place, result);
      const { level: mode } = result;
      if (isLater) log.info(`${name}_attached`, `${title} is attached`, { ...fields, mode });
      return;
    }
    const before = place.refused.get(hook);
    place.refused.set(hook, { device, failed: result, retryAt: now + RETRY_MS });
    const isKnown = before !== undefined && causesOf(before.failed) === causesOf(result);
    for (const { level, cause, remedy } of result) {
      const text = `${level} ${title} does not work on an interface`;
      if (isKnown) log.debug(`${name}_level_failed`, text, { ...fields, cause });
      else log.warn(`${name}_level_failed`, text, { ...fields, cause, remedy });
    }
  }

  #tellMissing(present: readonly string[], wanted: readonly string[]): void {
    const missing = this.#options.configured.filter((name) => !present.includes(name)).join(",");
    if (missing === this.#missing) return;
    this.#missing = missing;
    if (missing === "") return;
    const isAll = wanted.every((name) => !this.#options.configured.includes(name));
    const name = isAll && wanted.length > 0 ? wanted.join(",") : undefined;
    const does = name === undefined ? "waiting for it" : "the default route's is used";
    const text = `the interface does not exist: ${does}`;
    this.#options.log.warn("interface_missing", text, { missing, name });
  }

  #watchCounters(hook: Hook): void {
    const counted = hook.counted?.();
    const places = [...this.#places.values()].filter(({ held }) => held.has(hook));
    if (counted === undefined || places.length === 0) return;
    let watch = this.#counterWatches.get(hook);
    if (watch === undefined) this.#counterWatches.set(hook, watch = new CounterWatch());
    let received = 0;
    for (const { ifindex } of places) {
      received += interfaceOf(this.#options.libs, ifindex)?.rxPackets ?? 0;
    }
    if (!watch.isStill(received, counted)) return;
    this.health.still++;
    const text = `packets arrive and the ${hook.title} program counts none: it is swapped in again`;
    const interfaces = places.map(({ name }) => name).join(",");
    this.#options.log.warn(`${hook.name}_silent`, text, { interfaces });
    for (const { held } of places) held.get(hook)!.restore();
  }
}

/** Whether what a hook follows, if it follows one, is attached there. */
function hasLeader({ held }: Place, { follows }: Hook): boolean {
  return follows === undefined || [...held.keys()].some(({ name }) => name === follows);
}

function openWatch(libs: Libraries, log: Log): InterfaceWatch | undefined {
  try {
    return new InterfaceWatch(libs);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const text = "rtnetlink tells nothing: interfaces are checked each second";
    log.warn("netlink_failed", text, { cause: error.message });
    return undefined;
  }
}

/** What may make another attempt worth it. */
function isChanged(before: Interface, now: Interface | undefined): boolean {
  if (now === undefined) return true;
  return before.ifindex !== now.ifindex || before.name !== now.name ||
    before.mtu !== now.mtu || before.flags !== now.flags ||
    before.xdp.native !== now.xdp.native || before.xdp.generic !== now.xdp.generic ||
    before.xdp.offloaded !== now.xdp.offloaded;
}

function causesOf(failed: readonly FailedLevel[]): string {
  return failed.map(({ cause }) => cause).join("\n");
}

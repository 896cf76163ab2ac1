/**
 * The interfaces that the XDP program is on: attached where they are wanted, also later ones,
 * looked after, and let go when they go. A lost attachment is noticed within two seconds and made
 * anew; where that fails the level drops, and is tried again when something changes there.
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
import { openPinnedLink, type XdpMode } from "../../ffi/bpf/link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { CounterWatch } from "./counter_watch.ts";
import { takeOffEgress } from "./tc_hook.ts";
import { wantedInterfaces } from "./interfaces.ts";
import type { KernelEvents } from "./events.ts";
import type { PinFolder } from "./pins.ts";
import { Attachment, type AttachOptions, type FailedLevel, takeOff } from "./xdp_hook.ts";

const CHECK_MS = 1000;
/** Without any news from the kernel: routes change too, and news can be lost. */
const LIST_MS = 10_000;
const RETRY_MS = 30_000;

export interface InterfacesOptions extends Omit<AttachOptions, "egress"> {
  /** Names; none: that of the default route. */
  readonly configured: readonly string[];
  readonly log: Log;
  readonly events: KernelEvents;
  /** Packets that the program has counted; nothing when it counts none. */
  readonly counted: () => number | undefined;
}

export interface InterfaceState {
  readonly interfaceName: string;
  readonly ifindex: number;
  /** Nothing: no XDP here. */
  readonly mode: XdpMode | undefined;
  readonly programId: number;
  /** Whether the attachment of an earlier run went on, with its program swapped. */
  readonly swapped: boolean;
  /** Levels above that did not work. */
  readonly failed: readonly FailedLevel[];
}

/** How often what has happened. */
export interface HealthCounters {
  /** Attachments made, adopted or made anew. */
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

/** An interface without XDP. */
interface Refused {
  readonly device: Interface;
  readonly failed: readonly FailedLevel[];
  readonly retryAt: number;
}

export class PlaneInterfaces {
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
  readonly #attaching: AttachOptions;
  readonly #watch: InterfaceWatch | undefined;
  /** By the index of their interface. */
  readonly #attachments = new Map<number, Attachment>();
  /** By name. */
  readonly #refused = new Map<string, Refused>();
  readonly #counterWatch = new CounterWatch();
  #checkAt = 0;
  #listAt = 0;
  #missing = "";
  #fault = "";
  #egress: BpfProgram | undefined;

  constructor(options: InterfacesOptions) {
    this.#options = options;
    this.#attaching = { ...options, egress: () => this.#egress };
    this.#watch = openWatch(options.libs, options.log);
  }

  /** Attaches to all that are wanted and there. `now` in milliseconds of any clock. */
  start(now: number): void {
    const { libs, pins, log } = this.#options;
    const present = listInterfaces(libs);
    if (pins !== undefined) settlePins(libs, pins, present);
    this.#settle(present, now, false);
    if (pins !== undefined) {
      const isHeld = (name: string) =>
        [...this.#attachments.values()].some((one) => one.name === name);
      for (const name of pins.links()) {
        if (isHeld(name)) continue;
        log.info("xdp_removed", "XDP is taken off an interface of an earlier run", {
          interface: name,
        });
        takeOff(libs, pins.link(name));
      }
      for (const name of pins.egresses()) {
        if (!isHeld(name)) takeOffEgress(libs, pins, name, 0);
      }
    }
    this.#checkAt = now + CHECK_MS;
    this.#listAt = now + LIST_MS;
  }

  /** Counts what leaves by this program from now on, wherever XDP is. */
  setEgress(program: BpfProgram): void {
    this.#egress = program;
    this.#guard(() => {
      for (const attachment of this.#attachments.values()) {
        if (!attachment.keepEgress()) this.#tellEgress(attachment);
      }
    });
  }

  states(): InterfaceState[] {
    const attached = [...this.#attachments.values()].map((one) => ({
      interfaceName: one.name,
      ifindex: one.ifindex,
      mode: one.mode,
      programId: one.programId,
      swapped: one.swapped,
      failed: one.failed,
    }));
    const refused = [...this.#refused.values()].map(({ device, failed }) => ({
      interfaceName: device.name,
      ifindex: device.ifindex,
      mode: undefined,
      programId: 0,
      swapped: false,
      failed,
    }));
    return [...attached, ...refused];
  }

  /** To be called several times a second: costs next to nothing while nothing happens. */
  check(now: number): void {
    const hasNews = this.#watch?.changed() ?? false;
    if (!hasNews && now < this.#checkAt) return;
    this.#checkAt = now + CHECK_MS;
    this.#guard(() => {
      for (const one of [...this.#attachments.values()]) this.#lookAt(one, now);
      if (hasNews || now >= this.#listAt || this.#watch === undefined || this.#hasRetry(now)) {
        this.#listAt = now + LIST_MS;
        this.#settle(listInterfaces(this.#options.libs), now, true);
      }
      this.#watchCounters();
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
        this.#options.log.warn("xdp_check_failed", "the interfaces can't be checked", { cause });
      }
      this.#fault = cause;
    }
  }

  /** Lets go. The pinned attachments go on. */
  close(): void {
    this.#watch?.close();
    for (const attachment of this.#attachments.values()) attachment.close();
    this.#attachments.clear();
  }

  /** Whether an interface without XDP has changed, or waited long enough. */
  #hasRetry(now: number): boolean {
    return [...this.#refused.values()].some(({ device, retryAt }) =>
      now >= retryAt || isChanged(device, interfaceOf(this.#options.libs, device.ifindex))
    );
  }

  #lookAt(attachment: Attachment, now: number): void {
    const { log, events } = this.#options;
    const fields = { interface: attachment.name };
    switch (attachment.state()) {
      case "gone":
        this.#letGo(attachment, "vanished");
        return;
      case "lost": {
        this.health.lost++;
        events.tell(EventKind.attachLost, "XDP was taken off, attaching anew", fields);
        this.#attachments.delete(attachment.ifindex);
        attachment.forget();
        const device = interfaceOf(this.#options.libs, attachment.ifindex);
        if (device === undefined) return;
        this.#attach(device, now, {});
        if (this.#attachments.has(device.ifindex)) this.health.reattached++;
        else this.health.dropped++;
        return;
      }
      case "replaced":
        this.health.replaced++;
        log.warn(
          "xdp_replaced",
          "somebody replaced the XDP program behind its link: it is put back",
          fields,
        );
        attachment.restore();
    }
    if (!attachment.keepEgress()) this.#tellEgress(attachment);
    if (attachment.keepPin()) return;
    this.health.unpinned++;
    if (attachment.pinFault !== "") return this.#tellPin(attachment);
    log.warn(
      "pin_removed",
      "somebody removed the pin of an attachment: it is pinned again",
      fields,
    );
  }

  #tellPin({ name, pinFault }: Attachment): void {
    this.#options.log.warn(
      "pin_failed",
      "an attachment can't be pinned: it ends with this process",
      {
        interface: name,
        cause: pinFault,
      },
    );
  }

  #tellEgress({ name, egressFault }: Attachment): void {
    const { log, events } = this.#options;
    if (egressFault === "") {
      this.health.lost++;
      this.health.reattached++;
      const text = "the counter of what leaves was taken off, attached anew";
      events.tell(EventKind.attachLost, text, { interface: name });
    } else {
      log.warn("egress_count_failed", "outgoing packets are not counted", {
        interface: name,
        cause: egressFault,
      });
    }
  }

  #letGo(attachment: Attachment, why: "vanished" | "renamed" | "unwanted"): void {
    const { log, events } = this.#options;
    this.#attachments.delete(attachment.ifindex);
    if (why === "vanished") {
      this.health.vanished++;
      const text = "an interface with XDP is gone";
      events.tell(EventKind.attachLost, text, { interface: attachment.name });
      return attachment.forget();
    }
    log.info("xdp_removed", "XDP is taken off an interface", {
      interface: attachment.name,
      reason: why,
    });
    attachment.detach();
  }

  /** Brings what is attached in line with what is there. */
  #settle(present: readonly Interface[], now: number, isLater: boolean): void {
    const { configured } = this.#options;
    const byIndex = new Map(present.map((device) => [device.ifindex, device]));
    for (const one of [...this.#attachments.values()]) {
      if (!byIndex.has(one.ifindex)) this.#letGo(one, "vanished");
    }
    const held = [...this.#attachments.keys()].map((ifindex) => byIndex.get(ifindex)!.name);
    const names = present.map(({ name }) => name);
    const wanted = wantedInterfaces(configured, names, held);
    this.#tellMissing(names, wanted);
    this.#settleNames(byIndex, wanted);
    for (const name of [...this.#refused.keys()]) {
      if (!wanted.includes(name)) this.#refused.delete(name);
    }
    for (const name of wanted) {
      const device = present.find((one) => one.name === name);
      if (device === undefined || this.#attachments.has(device.ifindex)) continue;
      const before = this.#refused.get(name);
      if (before !== undefined && now < before.retryAt && !isChanged(before.device, device)) {
        continue;
      }
      if (isLater && before?.device.ifindex !== device.ifindex) this.health.appeared++;
      this.#attach(device, now, { before, isLater });
    }
  }

  /** Attachments under new names, or let go when those are not wanted. */
  #settleNames(byIndex: ReadonlyMap<number, Interface>, wanted: readonly string[]): void {
    const renamed: { attachment: Attachment; name: string }[] = [];
    for (const attachment of [...this.#attachments.values()]) {
      const { name } = byIndex.get(attachment.ifindex)!;
      const isRenamed = name !== attachment.name;
      if (isRenamed) {
        this.health.renamed++;
        const fields = { before: attachment.name, now: name };
        this.#options.log.info("interface_renamed", "an interface with XDP was renamed", fields);
      }
      if (!wanted.includes(name)) this.#letGo(attachment, isRenamed ? "renamed" : "unwanted");
      else if (isRenamed) renamed.push({ attachment, name });
    }
    // All unpinned first: two may have changed their names with each other.
    for (const { attachment } of renamed) attachment.unpin();
    for (const { attachment, name } of renamed) attachment.rename(name);
  }

  #attach(
    device: Interface,
    now: number,
    { before, isLater = true }: { before?: Refused | undefined; isLater?: boolean },
  ): void {
    const { log } = this.#options;
    const result = Attachment.attach(this.#attaching, device);
    const fields = { interface: device.name };
    if (result instanceof Attachment) {
      this.#refused.delete(device.name);
      this.#attachments.set(device.ifindex, result);
      this.#counterWatch.reset();
      this.health.attached++;
      for (const { level, cause, remedy } of result.failed) {
        log.warn("xdp_level_failed", `${level} XDP does not work here, a lower level does`, {
          ...fields,
          cause,
          remedy,
        });
      }
      if (result.pinFault !== "") this.#tellPin(result);
      if (result.egressFault !== "") this.#tellEgress(result);
      if (isLater) log.info("xdp_attached", "XDP is attached", { ...fields, mode: result.mode });
      return;
    }
    this.#refused.set(device.name, { device, failed: result, retryAt: now + RETRY_MS });
    const isKnown = before !== undefined && causesOf(before.failed) === causesOf(result);
    for (const { level, cause, remedy } of result) {
      const text = `${level} XDP does not work on an interface`;
      if (isKnown) log.debug("xdp_level_failed", text, { ...fields, cause });
      else log.warn("xdp_level_failed", text, { ...fields, cause, remedy });
    }
  }

  #tellMissing(present: readonly string[], wanted: readonly string[]): void {
    const missing = this.#options.configured.filter((name) => !present.includes(name)).join(",");
    if (missing === this.#missing) return;
    this.#missing = missing;
    if (missing === "") return;
    const isAll = wanted.every((name) => !this.#options.configured.includes(name));
    const name = isAll && wanted.length > 0 ? wanted.join(",") : undefined;
    const { log } = this.#options;
    if (name === undefined) {
      log.warn("interface_missing", "the interface does not exist: waiting for it", { missing });
    } else {log.warn(
        "interface_missing",
        "the interface does not exist: the default route's is used",
        { missing, name },
      );}
  }

  #watchCounters(): void {
    const counted = this.#options.counted();
    if (counted === undefined || this.#attachments.size === 0) return;
    let received = 0;
    for (const ifindex of this.#attachments.keys()) {
      received += interfaceOf(this.#options.libs, ifindex)?.rxPackets ?? 0;
    }
    if (!this.#counterWatch.isStill(received, counted)) return;
    this.health.still++;
    const names = [...this.#attachments.values()].map(({ name }) => name).join(",");
    this.#options.log.warn(
      "xdp_silent",
      "packets arrive and the XDP program counts none: it is swapped in again",
      {
        interfaces: names,
      },
    );
    for (const attachment of this.#attachments.values()) attachment.restore();
  }
}

function openWatch(libs: Libraries, log: Log): InterfaceWatch | undefined {
  try {
    return new InterfaceWatch(libs);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    log.warn("netlink_failed", "rtnetlink tells nothing: interfaces are checked each second", {
      cause: error.message,
    });
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

/** Puts the pins of an earlier run under the names that their interfaces have now. */
function settlePins(libs: Libraries, pins: PinFolder, present: readonly Interface[]): void {
  const places = [
    ...pins.links().map((name) => ({ name, place: (to: string) => pins.link(to) })),
    ...pins.egresses().map((name) => ({ name, place: (to: string) => pins.egress(to) })),
  ];
  const misplaced = [];
  for (const { name, place } of places) {
    const link = openPinnedLink(libs, place(name));
    if (link === undefined) continue;
    const { ifindex } = link.info();
    const now = present.find((device) => device.ifindex === ifindex)?.name;
    if (ifindex === 0 || now === undefined || now === name) {
      link.close();
      continue;
    }
    misplaced.push({ link, path: place(now) });
    Deno.removeSync(place(name));
  }
  for (const { link, path } of misplaced) {
    link.pin(path);
    link.close();
  }
}

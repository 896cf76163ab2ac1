/**
 * Which packets the program on XDP works on: those to our ports at addresses that we listen at, as
 * long as somebody runs for them. Who dies says no more, and the program lets everything pass
 * after a grace in which the next process can take over; who stops says so.
 */

import { Claim as ClaimEntry, Limit, TunnelLimit } from "../../ffi/bpf/layout.gen.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import { SysError } from "../../ffi/errors.ts";
import { AddressWatch, type OwnAddress, ownAddresses } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { monotonicMs } from "../../ffi/loop.ts";
import { messageOf } from "../base/errors.ts";
import { isIpv4Mapped } from "../base/ip.ts";
import type { Log } from "../base/log.ts";
import { NS_A_MS } from "../base/units.ts";

/** The program goes on for so long after the last word, and so after a process that was killed. */
const GRACE_MS = 25_000;
const RENEW_MS = 5_000;
/** Without any news from the kernel: news can be lost. */
const LIST_MS = 10_000;
/** Descriptors may be short for a moment. */
const RETRY_MS = 1000;

export interface ClaimOptions {
  readonly libs: Libraries;
  /** "claim" and "own_addresses". */
  readonly map: (name: string) => BpfMap;
  /** 16 bytes; 0.0.0.0 or ::, all addresses of this machine. */
  readonly ip: Uint8Array;
  readonly log: Log;
}

export class PortClaim {
  readonly #options: ClaimOptions;
  readonly #watch: AddressWatch | undefined;
  #first: readonly Uint8Array<ArrayBuffer>[] = [];
  #known = "";
  #fault = "";
  #renewAtMs = 0;
  #listAtMs = 0;

  /** From now on the ports are ours. */
  constructor(options: ClaimOptions) {
    this.#options = options;
    this.#watch = openWatch(options);
    this.#look();
    this.renew();
  }

  /** Says that we are here, and looks for other addresses; to be called several times a second. */
  check(): void {
    const nowMs = this.#now();
    // First: whatever fails below, we are here.
    if (nowMs >= this.#renewAtMs) this.renew();
    if (this.#watch?.changed() || nowMs >= this.#listAtMs) this.#look();
  }

  /** Makes the grace begin now. */
  renew(): void {
    const nowMs = this.#now();
    this.#renewAtMs = nowMs + RENEW_MS;
    this.#write(nowMs + GRACE_MS);
  }

  /** All packets pass from now on. */
  letGo(): void {
    this.#write(0);
  }

  close(): void {
    this.#watch?.close();
  }

  #look(): void {
    this.#listAtMs = this.#now() + LIST_MS;
    try {
      this.#find();
      this.#fault = "";
    } catch (error) {
      this.#listAtMs = this.#now() + RETRY_MS;
      const cause = messageOf(error);
      if (cause === this.#fault) return;
      this.#fault = cause;
      const text = "this machine's addresses can't be read: XDP goes on with those that it knows";
      this.#options.log.warn("addresses_failed", text, { cause });
    }
  }

  #now(): number {
    return monotonicMs(this.#options.libs.native);
  }

  #find(): void {
    const { map, ip, log } = this.#options;
    const own = ownAddresses();
    const known = own.map((one) => one.ip.toHex()).sort().join();
    if (known === this.#known) return;
    const all = new Set(own.map((one) => one.ip.toHex()));
    if (!keepAddresses(map("own_addresses"), all)) {
      const text =
        "there are more addresses than XDP knows: user space sees what comes to the rest";
      log.warn("addresses_over", text, { addresses: all.size, known: Limit.ownAddresses });
    }
    this.#first = firstOf(own, ip);
    // What has gone is another's at once.
    if (this.#renewAtMs > 0) this.renew();
    this.#known = known;
  }

  #write(aliveUntilMs: number): void {
    const { map, ip } = this.#options;
    writeClaim(map("claim"), { aliveUntilMs, first: this.#first, families: familiesOf(ip) });
  }
}

/** Those that packets come to before all others, as far as there is room for them. */
function firstOf(own: readonly OwnAddress[], listen: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const families = familiesOf(listen);
  // An address that is not here yet may be another machine's, for whom we forward.
  const ours = own.filter(({ ip }) =>
    families === 0 ? ip.toHex() === listen.toHex() : families >> familyOf(ip) & 1
  );
  return ours.toSorted((a, b) => rankOf(a) - rankOf(b)).map(({ ip }) => ip);
}

/** Few packets come by loopback, or to an address of one link. */
function rankOf({ interfaceName, ip }: OwnAddress): number {
  if (interfaceName === "lo") return 2;
  return ip[0] === 0xfe && (ip[1]! & 0xc0) === 0x80 ? 1 : 0;
}

/** Those of which we listen at all addresses, a bit each. */
function familiesOf(listen: Uint8Array): number {
  if (listen.every((byte) => byte === 0)) return 1 << 4 | 1 << 6;
  const isAnyIpv4 = isIpv4Mapped(listen) && listen.subarray(12).every((byte) => byte === 0);
  return isAnyIpv4 ? 1 << 4 : 0;
}

function familyOf(ip: Uint8Array): number {
  return isIpv4Mapped(ip) ? 4 : 6;
}

export interface ClaimContent {
  /** By the machine's monotonic clock. */
  readonly aliveUntilMs: number;
  /** 16 bytes each; of each family there is room for the first few. */
  readonly first: readonly Uint8Array<ArrayBuffer>[];
  /** Of which `own_addresses` are ours, too: bits 4 and 6. */
  readonly families: number;
}

export function writeClaim(map: BpfMap, { aliveUntilMs, first, families }: ClaimContent): void {
  const value = new Uint8Array(ClaimEntry.size);
  ClaimEntry.write(new DataView(value.buffer), 0, {
    aliveUntilNs: BigInt(Math.round(aliveUntilMs * NS_A_MS)),
    first4: placesOf(first.filter((ip) => isIpv4Mapped(ip))).map((ip) =>
      new DataView(ip.buffer).getUint32(12)
    ),
    first6: placesOf(first.filter((ip) => !isIpv4Mapped(ip))).map((ip) => ({ ip })),
    families,
  });
  map.set(new Uint8Array(4), value);
}

function placesOf(addresses: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer>[] {
  const length = TunnelLimit.firstAddresses;
  return Array.from(
    { length },
    (_, i) => (addresses[i] ?? addresses[0] ?? new Uint8Array(16)).slice(),
  );
}

/** Makes the table hold exactly these, 16 bytes each as hex; false: there was no room for all. */
export function keepAddresses(map: BpfMap, addresses: ReadonlySet<string>): boolean {
  for (const key of [...map.keys()]) if (!addresses.has(key.toHex())) map.delete(key);
  const value = new Uint8Array(4);
  for (const address of [...addresses].slice(0, Limit.ownAddresses)) {
    map.set(Uint8Array.fromHex(address), value);
  }
  return addresses.size <= Limit.ownAddresses;
}

function openWatch({ libs, log }: ClaimOptions): AddressWatch | undefined {
  try {
    return new AddressWatch(libs);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const text = "rtnetlink tells nothing of addresses: they are looked at every ten seconds";
    log.warn("netlink_failed", text, { cause: error.message });
    return undefined;
  }
}

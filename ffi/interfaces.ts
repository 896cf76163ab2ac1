/**
 * Network interfaces of this thread's network namespace, their addresses, and when any of that
 * changes.
 */

import { ipBytes } from "../src/base/ip.ts";
import { checked } from "./errors.ts";
import { Handle } from "./handle.ts";
import type { Libraries } from "./libraries.ts";
import { textOf } from "./memory.ts";

const ENODEV = -19;
const RECORD_BYTES = 48;
const RECORDS = 64;

/** struct ph_interface */
export interface Interface {
  readonly ifindex: number;
  readonly name: string;
  /** IFF_UP and others. */
  readonly flags: number;
  readonly mtu: number;
  /** Ids of XDP programs attached; 0 for none. */
  readonly xdp: { readonly native: number; readonly generic: number; readonly offloaded: number };
  readonly rxPackets: number;
}

export function listInterfaces(libs: Libraries): Interface[] {
  for (let room = RECORDS;;) {
    const bytes = new Uint8Array(room * RECORD_BYTES);
    const count = checked(libs.native.symbols.ph_interface_list(0, bytes, room), "list interfaces");
    if (count <= room) return Array.from({ length: count }, (_, i) => read(bytes, i));
    // More may have come meanwhile.
    room = count + RECORDS;
  }
}

/** The interface of this index; undefined when there is none. */
export function interfaceOf(libs: Libraries, ifindex: number): Interface | undefined {
  const bytes = new Uint8Array(RECORD_BYTES);
  const result = libs.native.symbols.ph_interface_list(ifindex, bytes, 1);
  if (result === ENODEV) return undefined;
  checked(result, () => `read interface ${ifindex}`);
  return read(bytes, 0);
}

/**
 * The other end of a veth, with its index and name in its own network namespace; undefined for
 * what is none, or where nothing can be known of it.
 */
export function vethPeer(libs: Libraries, ifindex: number): Interface | undefined {
  const bytes = new Uint8Array(RECORD_BYTES);
  return libs.native.symbols.ph_interface_peer(ifindex, bytes) === 1 ? read(bytes, 0) : undefined;
}

function read(bytes: Uint8Array<ArrayBuffer>, index: number): Interface {
  const at = index * RECORD_BYTES;
  const view = new DataView(bytes.buffer, at, RECORD_BYTES);
  const u32 = (offset: number): number => view.getUint32(offset, true);
  return {
    ifindex: u32(0),
    flags: u32(4),
    mtu: u32(8),
    xdp: { native: u32(12), generic: u32(16), offloaded: u32(20) },
    rxPackets: Number(view.getBigUint64(24, true)),
    name: textOf(bytes.subarray(at + 32, at + 48)),
  };
}

export interface OwnAddress {
  readonly interfaceName: string;
  /** 16 bytes. */
  readonly ip: Uint8Array<ArrayBuffer>;
}

/** The addresses of all interfaces; one that several have is there as often. */
export function ownAddresses(): OwnAddress[] {
  return Deno.networkInterfaces().map(({ name, address }) => ({
    interfaceName: name,
    // IPv6 addresses of a link have its name behind them.
    ip: ipBytes(address.split("%")[0]!),
  }));
}

/** Hears of changes since its making. */
abstract class Watch extends Handle {
  readonly #libs: Libraries;
  readonly #fd: number;

  constructor(libs: Libraries, fd: number, what: string) {
    super(`${what} watch`);
    this.#libs = libs;
    this.#fd = checked(fd, `watch ${what}`);
  }

  /** Whether there was something since the last call. */
  changed(): boolean {
    this.assertOpen();
    return checked(this.#libs.native.symbols.ph_interface_changed(this.#fd), "hear netlink") === 1;
  }

  protected release(): void {
    this.#libs.native.symbols.ph_close(this.#fd);
  }
}

/** Hears of interfaces that come, go or change. */
export class InterfaceWatch extends Watch {
  constructor(libs: Libraries) {
    super(libs, libs.native.symbols.ph_interface_watch(), "interfaces");
  }
}

/** Hears of addresses that interfaces get or lose. */
export class AddressWatch extends Watch {
  constructor(libs: Libraries) {
    super(libs, libs.native.symbols.ph_address_watch(), "addresses");
  }
}

/**
 * AF_XDP: datagrams past the network stack. An XskPort receives what an XDP program redirects to
 * it, in memory that is shared with the kernel, and sends to peers whose way back it has learned;
 * everything else is the UDP socket's, which is always there beside it.
 */

import { endpointWords, type Route } from "./endpoint.ts";
import { checked, errnoCode, SysError } from "./errors.ts";
import { Handle } from "./handle.ts";
import { cString } from "./memory.ts";
import type { Native } from "./native.ts";
import { DatagramInbox, type UdpOutbox } from "./udp.ts";

/** Limits of ph.h, under its names. */
export const xskQueuesMax = 16;
export const xskRxFrames = 2048;
export const xskTxFrames = 1024;
export const xskFrameBytes = 2048;
export const xskMtuMax = 1778;
export const xskBatchMax = 256;
export const xskRunMax = 3;
export const xskWays = 16384;

/** enum ph_xsk_flag. */
export const XskFlag = { copy: 1, zeroCopy: 2, longRuns: 4 } as const;

const countNames = [
  "received",
  "sent",
  "badFrames",
  "noWayBack",
  "noRoom",
  "kernelDropped",
  "long",
] as const;

/** How often what happened; see enum ph_xsk_count. */
export type XskCounts = Readonly<Record<typeof countNames[number], number>>;

export interface XskOptions {
  readonly interfaceName: string;
  /** Of the interface: those whose datagrams this one takes. */
  readonly queues: readonly number[];
  /** The UDP port that is ours. */
  readonly port: number;
  /** Neither: zero-copy where the driver has it. @default {"auto"} */
  readonly copying?: "auto" | "copy" | "zero-copy";
  /** Sends also what GSO sends for less, in copy mode. @default {false} */
  readonly longRuns?: boolean;
}

/** Queues that an interface receives by. */
export function receiveQueues(native: Native, ifindex: number): number {
  const count = native.symbols.ph_xsk_queues(ifindex);
  return checked(count, () => `count the queues of interface ${ifindex}`);
}

/** Bytes that an XskPort shares with the kernel. */
function xskMemoryBytes(queues: number): number {
  return queues * (xskRxFrames + xskTxFrames) * xskFrameBytes + 65536;
}

/**
 * Memory of ports that were closed, for the next one: a driver may write to it for a moment after
 * the close, so that it must not become anything else.
 */
const spareMemory: Uint8Array<ArrayBuffer>[] = [];

function takeMemory(bytes: number): Uint8Array<ArrayBuffer> {
  const index = spareMemory.findIndex(({ length }) => length === bytes);
  return index < 0 ? new Uint8Array(bytes) : spareMemory.splice(index, 1)[0]!;
}

/** `route` is good until it returns; bytes are of frames. */
export type SentVisitor = (route: Route, packets: number, bytes: number) => void;

const TWO_32 = 0x1_0000_0000;
/** struct ph_xsk_sent */
const SENT_ROW_BYTES = 64;
const SENT_ROW_WORDS = SENT_ROW_BYTES / 4;
const SENT_ROWS = 256;
/** Of the port that is asked. */
let sentBytes: Uint8Array<ArrayBuffer> | undefined;

export class XskPort extends Handle {
  /** Of the last receive. */
  readonly inbox: DatagramInbox;
  readonly queues: readonly number[];
  readonly isZeroCopy: boolean;
  readonly #native: Native;
  readonly #xsk: Deno.PointerObject;
  readonly #counts = new BigUint64Array(countNames.length);

  constructor(native: Native, options: XskOptions) {
    const { interfaceName, queues } = options;
    super(`AF_XDP on ${interfaceName}`);
    if (queues.length < 1 || queues.length > xskQueuesMax) {
      throw new RangeError(
        `Cannot use AF_XDP as there must be 1 to ${xskQueuesMax} queues: ` +
          `current value is ${queues.length}`,
      );
    }
    const ifindex = checked(
      native.symbols.ph_ifindex(cString(interfaceName)),
      () => `find interface ${interfaceName}`,
    );
    const memory = takeMemory(xskMemoryBytes(queues.length));
    const error = new Int32Array(1);
    const words = new Uint32Array(4 + xskQueuesMax);
    words.set([ifindex, options.port, flagsOf(options), queues.length, ...queues]);
    const xsk = native.symbols.ph_xsk_open(words, memory, memory.length, error);
    if (xsk === null) {
      spareMemory.push(memory);
      throw refusal(interfaceName, -error[0]!);
    }
    this.#native = native;
    this.#xsk = xsk;
    this.queues = queues;
    this.inbox = new DatagramInbox(memory, xskBatchMax, xskBatchMax);
    this.isZeroCopy = native.symbols.ph_xsk_is_zero_copy(xsk) === 1;
  }

  /** For an Epoll: of the index-th queue of `queues`. */
  fd(index: number): number {
    this.assertOpen();
    return checked(this.#native.symbols.ph_xsk_fd(this.#xsk, index), "find an AF_XDP socket");
  }

  /**
   * Has XDP programs redirect to the index-th queue by this entry of an XSKMAP. The entry goes with
   * the port.
   */
  enter(index: number, mapFd: number, key: number): void {
    this.assertOpen();
    checked(
      this.#native.symbols.ph_xsk_enter(this.#xsk, index, mapFd, key),
      () => `enter ${this.label} into the XSKMAP`,
    );
  }

  /** Receives what the index-th queue has, at most xskBatchMax; the number of datagrams. */
  receive(index: number): number {
    this.assertOpen();
    const { inbox } = this;
    const { messages, spans } = inbox;
    const count = this.#native.symbols.ph_xsk_recv(this.#xsk, index, messages, spans, xskBatchMax);
    inbox.count = count < 0 ? 0 : count;
    return count >= 0 ? count : checked(count, () => `receive by ${this.label}`);
  }

  /** The sender of a message of the last receive is who they say: how they are answered. */
  learn(message: number): void {
    this.#native.symbols.ph_xsk_learn(this.#xsk, this.inbox.messages, message);
  }

  /** Sends what it can of an outbox; what is left in it is for the UDP socket. */
  send(outbox: UdpOutbox): void {
    this.assertOpen();
    const { arena, sends, count } = outbox;
    const left = this.#native.symbols.ph_xsk_send(this.#xsk, arena, arena.length, sends, count);
    outbox.keep(checked(left, () => `send by ${this.label}`));
  }

  /** What was sent to each peer since the last call. */
  eachSent(visit: SentVisitor): void {
    this.assertOpen();
    const bytes = sentBytes ??= new Uint8Array(SENT_ROWS * SENT_ROW_BYTES);
    const words = new Uint32Array(bytes.buffer);
    const route = new Uint32Array(2 * endpointWords);
    let count = 0;
    do {
      count = this.#native.symbols.ph_xsk_take_sent(this.#xsk, bytes, SENT_ROWS);
      for (let at = 0; at < count * SENT_ROW_WORDS; at += SENT_ROW_WORDS) {
        for (let i = 0; i < route.length; i++) route[i] = words[at + i]!;
        const [low, high, packets] = [words[at + 12]!, words[at + 13]!, words[at + 14]!];
        visit(route, packets, high * TWO_32 + low);
      }
    } while (count === SENT_ROWS);
  }

  /** Has the kernel go on with what it did not take at once; whether there is more of it. */
  kick(): boolean {
    this.assertOpen();
    return this.#native.symbols.ph_xsk_kick(this.#xsk) === 1;
  }

  /** 0, or -errno of why nothing will come or go any more: close it. */
  check(): number {
    this.assertOpen();
    return this.#native.symbols.ph_xsk_check(this.#xsk);
  }

  counts(): XskCounts {
    this.assertOpen();
    this.#native.symbols.ph_xsk_counts(this.#xsk, this.#counts);
    const entries = countNames.map((name, i) => [name, Number(this.#counts[i])]);
    return Object.fromEntries(entries) as XskCounts;
  }

  protected release(): void {
    this.#native.symbols.ph_xsk_close(this.#xsk);
    spareMemory.push(this.inbox.arena);
  }
}

function flagsOf({ copying = "auto", longRuns = false }: XskOptions): number {
  const mode = { "auto": 0, "copy": XskFlag.copy, "zero-copy": XskFlag.zeroCopy }[copying];
  return mode | (longRuns ? XskFlag.longRuns : 0);
}

function refusal(interfaceName: string, errno: number): SysError {
  return new SysError(`open AF_XDP on ${interfaceName}`, errno, remedyOf(errnoCode(errno)));
}

function remedyOf(code: string): string | undefined {
  switch (code) {
    case "EBUSY":
      return "another program has AF_XDP sockets on these queues: `ss --xdp -p` shows which";
    case "EPERM":
      return "AF_XDP needs CAP_NET_RAW";
    case "ENOBUFS":
    case "ENOMEM":
      return "its memory is locked: raise LimitMEMLOCK, or give CAP_IPC_LOCK";
    case "EOPNOTSUPP":
      return "the driver, or the kernel, lacks what it takes";
    case "EAFNOSUPPORT":
      return "the kernel was built without CONFIG_XDP_SOCKETS";
    case "EMSGSIZE":
      return `the interface's MTU must be at most ${xskMtuMax}`;
    case "EINVAL":
      return "the interface has fewer queues: `ethtool -l` tells";
    default:
      return undefined;
  }
}

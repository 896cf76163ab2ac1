/**
 * Words to whoever started this process, as systemd wants to hear them: a datagram to the Unix
 * socket that NOTIFY_SOCKET names (sd_notify(3)). By libc alone: a process may have something to
 * say before its libraries are loaded.
 */

import { cString } from "./memory.ts";

const symbols = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // ssize_t sendto(int sockfd, const void *buf, size_t len, int flags,
  //   const struct sockaddr *dest_addr, socklen_t addrlen)
  sendto: {
    parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"],
    result: "isize",
  },
  // int clock_gettime(clockid_t clockid, struct timespec *tp)
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const CLOCK_MONOTONIC = 1;
const FAMILY_BYTES = 2;
const PATH_BYTES = 108;

export class NotifySocket implements Disposable {
  readonly #libc: Deno.DynamicLibrary<typeof symbols>;
  readonly #fd: number;
  readonly #address: Uint8Array<ArrayBuffer>;

  /** To a path, or with `@` in front to a name that is in no folder. Nothing is connected yet. */
  constructor(address: string) {
    this.#address = socketAddress(address);
    this.#libc = Deno.dlopen("libc.so.6", symbols);
    this.#fd = this.#libc.symbols.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) {
      this.#libc.close();
      throw new Error("Cannot open a Unix socket to tell who started this process");
    }
  }

  /** Whether it was sent. What may be lost does not wait for a reader that is slow. */
  send(text: string, { mayBeLost = false } = {}): boolean {
    const bytes = new TextEncoder().encode(text);
    const flags = MSG_NOSIGNAL | (mayBeLost ? MSG_DONTWAIT : 0);
    const address = this.#address;
    const { sendto } = this.#libc.symbols;
    const length = BigInt(bytes.length);
    return sendto(this.#fd, bytes, length, flags, address, address.length) === length;
  }

  /** CLOCK_MONOTONIC in microseconds, by which systemd knows an answer from an earlier one. */
  monotonicUs(): bigint {
    const time = new BigInt64Array(2);
    this.#libc.symbols.clock_gettime(CLOCK_MONOTONIC, new Uint8Array(time.buffer));
    return time[0]! * 1_000_000n + time[1]! / 1000n;
  }

  [Symbol.dispose](): void {
    this.#libc.symbols.close(this.#fd);
    this.#libc.close();
  }
}

/** struct sockaddr_un, as long as it is used. */
function socketAddress(address: string): Uint8Array<ArrayBuffer> {
  const isAbstract = address.startsWith("@");
  if (!isAbstract && !address.startsWith("/")) {
    throw new RangeError(
      `Cannot notify as 'NOTIFY_SOCKET' must be a path or begin with @: it is ${address}`,
    );
  }
  // A name is told from a path by the NUL in front of it, and has none behind it.
  const text = cString(address);
  const path = isAbstract ? text.subarray(0, -1) : text;
  if (isAbstract) path[0] = 0;
  if (path.length > PATH_BYTES) {
    throw new RangeError(
      `Cannot notify as 'NOTIFY_SOCKET' must be ${PATH_BYTES} bytes at most: it has ${path.length}`,
    );
  }
  const bytes = new Uint8Array(FAMILY_BYTES + path.length);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(path, FAMILY_BYTES);
  return bytes;
}

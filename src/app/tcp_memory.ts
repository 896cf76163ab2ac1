/** What connections that do not move may hold of the memory that the kernel has for TCP. */

/** min, pressure and max, in pages, of all the machine; a network namespace has no such file. */
const TCP_MEM = "/proc/sys/net/ipv4/tcp_mem";
const PAGE_BYTES = 4096;
/** Where the kernel sets "pressure" by itself, of all memory. */
const PRESSURE_SHARE = 1 / 16;
/** Beyond it the kernel shrinks everybody's windows: half of it leaves others enough. */
const SHARE = 1 / 2;
const BYTES_MIN = 32 << 20;

export interface MemorySources {
  readonly read: (path: string) => string;
  readonly total: () => number;
}

const SYSTEM: MemorySources = {
  read: (path) => Deno.readTextFileSync(path),
  total: () => Deno.systemMemoryInfo().total,
};

/** Bytes, for all workers. */
export function tcpMemory(sources: MemorySources = SYSTEM): number {
  return Math.max(BYTES_MIN, SHARE * pressure(sources));
}

function pressure({ read, total }: MemorySources): number {
  try {
    const pages = Number(read(TCP_MEM).trim().split(/\s+/)[1]);
    if (pages > 0) return pages * PAGE_BYTES;
  } catch {
    // Not there: as the kernel reckons.
  }
  return PRESSURE_SHARE * total();
}

/** What connections that do not move may hold of the memory that the kernel has for TCP. */

/** min, pressure and max, in pages, for all of the machine. */
const TCP_MEM = "/proc/sys/net/ipv4/tcp_mem";
const PAGE_BYTES = 4096;
/** Beyond "pressure" the kernel shrinks everybody's windows: half of it leaves others enough. */
const SHARE = 1 / 2;
const BYTES_MIN = 32 << 20;

/** Bytes, for all workers. */
export function tcpMemory(read: (path: string) => string = Deno.readTextFileSync): number {
  const pressure = Number(read(TCP_MEM).trim().split(/\s+/)[1]);
  return Number.isFinite(pressure) ? Math.max(BYTES_MIN, SHARE * pressure * PAGE_BYTES) : BYTES_MIN;
}

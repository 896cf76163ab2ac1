/** Which CPU a thread of a benchmark runs on, and how long CPUs were idle. */

const libc = Deno.dlopen("libc.so.6", {
  sched_setaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
});

/** Has this thread run on one CPU alone. */
export function pinThread(cpu: number): void {
  const mask = new Uint8Array(128);
  mask[cpu >> 3] = 1 << (cpu & 7);
  if (libc.symbols.sched_setaffinity(0, BigInt(mask.length), mask) !== 0) {
    throw new Error(`Cannot run on CPU ${cpu}`);
  }
}

/** Seconds that all CPUs together have been idle. */
export function idleSeconds(): number {
  const [line] = Deno.readTextFileSync("/proc/stat").split("\n", 1);
  const ticks = line!.split(/\s+/).slice(1).map(Number);
  // user, nice, system, idle, iowait, …
  return (ticks[3]! + ticks[4]!) / 100;
}

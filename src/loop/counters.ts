/**
 * Counters of a worker's services, where main sees them.
 *
 * A service says which of its objects count: every number in them is a counter, called as its field
 * is, so that a field that is added there is told without another word. The worker writes all of
 * them into shared words by a tick, and never with a packet; main sums up what has the same name.
 */

/**
 * Objects that count, under what goes in front of their names ("": nothing). What is a function is
 * asked anew each time, for numbers that nobody keeps as they are told.
 */
export type CounterSources = Readonly<Record<string, object | (() => object)>>;

/** What a service counts, in the order of its words. */
export interface CounterTable {
  readonly service: string;
  readonly names: readonly string[];
}

/** A worker's counters as main gets them once. */
export interface CounterView {
  /** Plain 64-bit numbers: written by one thread alone, and read for people. */
  readonly memory: SharedArrayBuffer;
  readonly tables: readonly CounterTable[];
}

/** By service and name. */
export type CounterValues = Readonly<Record<string, Readonly<Record<string, number>>>>;

interface Source {
  readonly from: object | (() => object);
  readonly keys: readonly string[];
}

/** The worker's side. */
export class CounterWriter {
  readonly view: CounterView;
  readonly #sources: readonly Source[];
  readonly #words: Float64Array;

  constructor(services: readonly { readonly name: string; readonly counters?: CounterSources }[]) {
    const sources: Source[] = [];
    const tables: CounterTable[] = [];
    for (const { name: service, counters = {} } of services) {
      const names: string[] = [];
      for (const [prefix, from] of Object.entries(counters)) {
        const keys = Object.entries(objectOf(from)).filter(([, value]) => typeof value === "number")
          .map(([key]) => key);
        sources.push({ from, keys });
        names.push(...keys.map((key) => joined(prefix, key)));
      }
      const twice = names.find((name, i) => names.indexOf(name) < i);
      if (twice !== undefined) {
        throw new RangeError(`Cannot count ${service} as a name is there twice: ${twice}`);
      }
      tables.push({ service, names });
    }
    const count = tables.reduce((sum, { names }) => sum + names.length, 0);
    const memory = new SharedArrayBuffer(8 * count);
    this.view = { memory, tables };
    this.#sources = sources;
    this.#words = new Float64Array(memory);
  }

  /** Tells how all counters stand now. */
  write(): void {
    let at = 0;
    for (const { from, keys } of this.#sources) {
      const values = objectOf(from) as Readonly<Record<string, number>>;
      for (const key of keys) this.#words[at++] = values[key]!;
    }
  }
}

/** The sums over all workers. */
export function sumCounters(views: readonly CounterView[]): CounterValues {
  const sums: Record<string, Record<string, number>> = {};
  for (const { memory, tables } of views) {
    const words = new Float64Array(memory);
    let at = 0;
    for (const { service, names } of tables) {
      const values = sums[service] ??= {};
      for (const name of names) values[name] = (values[name] ?? 0) + words[at++]!;
    }
  }
  return sums;
}

/** The sums of what several pools have counted. */
export function mergeCounters(all: readonly CounterValues[]): CounterValues {
  const sums: Record<string, Record<string, number>> = {};
  for (const [service, values] of all.flatMap((one) => Object.entries(one))) {
    const sum = sums[service] ??= {};
    for (const [name, value] of Object.entries(values)) sum[name] = (sum[name] ?? 0) + value;
  }
  return sums;
}

function objectOf(from: object | (() => object)): object {
  return typeof from === "function" ? from() : from;
}

/** "sent", "bytes" → "sentBytes". */
function joined(prefix: string, key: string): string {
  return prefix === "" ? key : prefix + key[0]!.toUpperCase() + key.slice(1);
}

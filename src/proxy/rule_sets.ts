// Sets of rules that one destination matches, each set kept once.
//
// An item is a rule's index × 4 + (3 − level), so that sorting puts the first rule in front, and
// of one rule the most explicit match.

/** How explicitly a CIDR names an address; see `rule_cidrs.ts`. */
export const Level = { NONE: 0, CLASS: 1, HOST: 2 } as const;

/** Of an item; all set is {@linkcode Level.NONE}. */
export const LEVEL_BITS = 3;
export const NO_ITEM = 0x7fffffff;
export const EMPTY_SET = 0;

export function itemOf(rule: number, level: number): number {
  return rule * 4 + (LEVEL_BITS - level);
}

export function ruleOf(item: number): number {
  return item >> 2;
}

export function levelOf(item: number): number {
  return LEVEL_BITS - (item & LEVEL_BITS);
}

/** Above every item. */
const ITEMS_MAX = 2 ** 24;

/** The sets, by number. */
export class RuleSets {
  readonly #sets: Int32Array[] = [new Int32Array(0)];
  readonly #unions = new Map<number, number>();
  readonly #ids = new Map<string, number>([["", EMPTY_SET]]);

  /** Items of a set, sorted. */
  items(id: number): Int32Array {
    return this.#sets[id] ?? EMPTY;
  }

  /** The set that also holds an item. */
  with(id: number, item: number): number {
    const key = id * ITEMS_MAX + item;
    const known = this.#unions.get(key);
    if (known !== undefined) return known;
    const items = Int32Array.from(new Set([...this.items(id), item])).sort();
    const name = items.join();
    let union = this.#ids.get(name);
    if (union === undefined) {
      union = this.#sets.push(items) - 1;
      this.#ids.set(name, union);
    }
    this.#unions.set(key, union);
    return union;
  }
}

const EMPTY = new Int32Array(0);

// Names → sets of rules: by the whole name, by the end of it, by a word in it.

import { EMPTY_SET, itemOf, Level, type RuleSets } from "./rule_sets.ts";

/** Each keyword is searched for in every name. */
export const KEYWORDS_MAX = 1000;

/** Filled once, then only read. Names are normalised. */
export class DomainTable {
  readonly #sets: RuleSets;
  readonly #exact = new Map<string, number>();
  readonly #suffix = new Map<string, number>();
  readonly #keyword = new Map<string, number>();

  constructor(sets: RuleSets) {
    this.#sets = sets;
  }

  get keywords(): number {
    return this.#keyword.size;
  }

  addExact(name: string, rule: number): void {
    this.#add(this.#exact, name, rule);
  }

  /** The name and everything below it. */
  addSuffix(name: string, rule: number): void {
    this.#add(this.#suffix, name, rule);
  }

  addKeyword(word: string, rule: number): void {
    this.#add(this.#keyword, word, rule);
  }

  /** Calls back with each set that a name is in. */
  forEachSet(name: string, visit: (set: number) => void): void {
    const exact = this.#exact.get(name);
    if (exact !== undefined) visit(exact);
    for (let at = 0; at >= 0 && this.#suffix.size > 0;) {
      const suffix = this.#suffix.get(name.slice(at));
      if (suffix !== undefined) visit(suffix);
      const dot = name.indexOf(".", at);
      at = dot === -1 ? -1 : dot + 1;
    }
    for (const [word, set] of this.#keyword) if (name.includes(word)) visit(set);
  }

  #add(map: Map<string, number>, key: string, rule: number): void {
    map.set(key, this.#sets.with(map.get(key) ?? EMPTY_SET, itemOf(rule, Level.NONE)));
  }
}

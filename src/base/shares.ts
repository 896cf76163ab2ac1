/**
 * Fair shares of something that there is only so much of. Who holds it are members, each of a group
 * (the sessions of a user), and what they hold is counted by pieces that are alike.
 *
 *     total ── group ── member: 3
 *          │        └─ member: 1
 *          └── group ── member: 7
 *
 * Nothing is set aside: one alone may hold all of it. When there is no more, whoever asks gets it
 * from the member that holds most, of the group that holds most, until both hold the same: with n
 * groups that ask each has a share of total / n for certain, and each of its members its part of
 * that. Who holds most itself is refused.
 */

/** Something in a heap, the largest `held` on top. */
interface Holder {
  held: number;
  heapIndex: number;
}

class Heap<T extends Holder> {
  readonly #items: T[] = [];

  get largest(): T | undefined {
    return this.#items[0];
  }

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    item.heapIndex = this.#items.length;
    this.#items.push(item);
    this.#rise(item);
  }

  remove(item: T): void {
    const last = this.#items.pop()!;
    if (last === item) return;
    this.#items[item.heapIndex] = last;
    last.heapIndex = item.heapIndex;
    this.changed(last);
  }

  /** `item.held` is another now. */
  changed(item: T): void {
    this.#rise(item);
    this.#sink(item);
  }

  #rise(item: T): void {
    let i = item.heapIndex;
    while (i > 0) {
      const parent = this.#items[(i - 1) >> 1]!;
      if (parent.held >= item.held) break;
      this.#put(parent, i);
      i = (i - 1) >> 1;
      this.#put(item, i);
    }
  }

  #sink(item: T): void {
    const items = this.#items;
    for (let i = item.heapIndex;;) {
      let child = 2 * i + 1;
      if (child >= items.length) return;
      if (child + 1 < items.length && items[child + 1]!.held > items[child]!.held) child++;
      if (items[child]!.held <= item.held) return;
      this.#put(items[child]!, i);
      i = child;
      this.#put(item, i);
    }
  }

  #put(item: T, i: number): void {
    this.#items[i] = item;
    item.heapIndex = i;
  }
}

class Group<M> implements Holder {
  held = 0;
  heapIndex = 0;
  readonly name: string;
  readonly members: Heap<Member<M>> = new Heap<Member<M>>();

  constructor(name: string) {
    this.name = name;
  }
}

class Member<M> implements Holder {
  held = 0;
  heapIndex = 0;
  readonly who: M;
  readonly group: Group<M>;

  constructor(who: M, group: Group<M>) {
    this.who = who;
    this.group = group;
  }
}

export class Shares<M> {
  /** Pieces that there are; where it is made less, nobody is taken anything until somebody asks. */
  total: number;
  #held = 0;
  readonly #groups = new Heap<Group<M>>();
  readonly #byName = new Map<string, Group<M>>();
  readonly #members = new Map<M, Member<M>>();

  constructor(total: number) {
    this.total = total;
  }

  /** Pieces that are held. */
  get held(): number {
    return this.#held;
  }

  get isFull(): boolean {
    return this.#held >= this.total;
  }

  heldBy(who: M): number {
    return this.#members.get(who)?.held ?? 0;
  }

  heldByGroup(group: string): number {
    return this.#byName.get(group)?.held ?? 0;
  }

  /** So many pieces more for a member; to be asked before is who has to give. */
  take(who: M, group: string, count = 1): void {
    const member = this.#members.get(who) ?? this.#join(who, group);
    this.#held += count;
    member.held += count;
    member.group.held += count;
    member.group.members.changed(member);
    this.#groups.changed(member.group);
  }

  /** Gives back what was taken. */
  give(who: M, count = 1): void {
    const member = this.#members.get(who);
    if (member === undefined) return;
    const { group } = member;
    this.#held -= count;
    member.held -= count;
    group.held -= count;
    if (member.held === 0) {
      this.#members.delete(who);
      group.members.remove(member);
    } else group.members.changed(member);
    if (group.members.size > 0) return this.#groups.changed(group);
    this.#byName.delete(group.name);
    this.#groups.remove(group);
  }

  /** Who is to give a piece, so that this one gets it; undefined: nobody holds more than it. */
  payerFor(who: M, group: string): M | undefined {
    const own = this.#byName.get(group);
    const largest = this.#groups.largest;
    if (largest === undefined) return undefined;
    // Less than that, and the two would take it from each other by turns.
    if (largest !== own && largest.held > (own?.held ?? 0) + 1) return largest.members.largest!.who;
    const first = own?.members.largest;
    if (first === undefined || first.held <= this.heldBy(who) + 1) return undefined;
    return first.who;
  }

  #join(who: M, name: string): Member<M> {
    let group = this.#byName.get(name);
    if (group === undefined) {
      this.#byName.set(name, group = new Group(name));
      this.#groups.add(group);
    }
    const member = new Member(who, group);
    this.#members.set(who, member);
    group.members.add(member);
    return member;
  }
}

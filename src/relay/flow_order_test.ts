import assert from "node:assert/strict";
import { FlowOrder, type Ordered } from "./flow_order.ts";

interface Flow extends Ordered {
  readonly name: string;
}

function flowsOf(...names: string[]): Flow[] {
  return names.map((name) => ({ name, isAnswered: false, before: undefined, after: undefined }));
}

function drained(order: FlowOrder<Flow>): string {
  const names: string[] = [];
  for (let flow = order.next; flow !== undefined; flow = order.next) {
    names.push(flow.name);
    order.remove(flow);
  }
  return names.join("");
}

Deno.test("who has not been heard of for longest makes room, and is heard of again in time", () => {
  const order = new FlowOrder<Flow>();
  const [a, b, c, d] = flowsOf("a", "b", "c", "d");
  for (const flow of [a, b, c, d]) order.add(flow!);
  order.touch(a!);
  order.touch(c!);
  order.touch(c!);
  assert.equal(drained(order), "bdac");
  assert.equal(order.next, undefined);
});

Deno.test("flows that were answered go after all that were not", () => {
  const order = new FlowOrder<Flow>();
  const [a, b, c, d] = flowsOf("a", "b", "c", "d");
  for (const flow of [a, b, c, d]) order.add(flow!);
  order.answer(b!);
  order.answer(a!);
  order.answer(b!);
  assert.deepEqual([order.stranger, order.answered], [c, a]);
  assert.equal(drained(order), "cdab");
});

Deno.test("a quarter is for those that were not answered yet", () => {
  const order = new FlowOrder<Flow>();
  const [a, b, c, d, e] = flowsOf("a", "b", "c", "d", "e");
  for (const flow of [a, b, c, d]) {
    order.add(flow!);
    order.answer(flow!);
  }
  assert.equal(order.next, a, "nobody is new");
  order.add(e!);
  assert.equal(order.next, a, "one new of five");
  order.remove(a!);
  assert.equal(order.next, e, "one new of four");
});

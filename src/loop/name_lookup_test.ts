import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { testNative } from "../../tests/native.ts";
import { ABANDONED_MAX, LOOKUPS_MAX, WAITING_MAX } from "./name_lookup.ts";
import { type Answer, NameLookup } from "./name_lookup.ts";

const native = testNative();

const FAILED: Answer = { addresses: [], error: "failed" };

Deno.test("NameLookup asks for a name once, and again later", async () => {
  let asked = 0;
  const lookup = new NameLookup((name) => {
    asked++;
    return Promise.resolve({ addresses: [name] });
  });
  const [one, two] = await Promise.all([lookup.find("a"), lookup.find("a")]);
  assert.deepEqual([one, two], [{ addresses: ["a"] }, { addresses: ["a"] }]);
  assert.equal(asked, 1);
  await lookup.find("a");
  assert.equal(asked, 2);
});

/** A finder that answers when it is told to, by name. */
class SlowFinder {
  readonly open = new Map<string, (answer: Answer) => void>();
  readonly begun: string[] = [];

  find = (name: string): Promise<Answer> => {
    this.begun.push(name);
    return new Promise((resolve) => this.open.set(name, resolve));
  };

  answer(name: string): void {
    this.open.get(name)!({ addresses: ["192.0.2.1"] });
    this.open.delete(name);
  }
}

const askerOf = (key: string, user = "") => ({ key, user });
const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

Deno.test("NameLookup bounds what runs and what waits", async () => {
  const finder = new SlowFinder();
  const lookup = new NameLookup(finder.find);
  const names = Array.from({ length: WAITING_MAX }, (_, i) => `n${i}`);
  const answers = names.map((name, i) => lookup.find(name, askerOf(`${i % 8}`)));
  assert.equal(finder.open.size, LOOKUPS_MAX);
  assert.deepEqual(await lookup.find("more"), { addresses: [], error: "failed" });
  assert.equal(lookup.refused, 1);
  for (let done = 0; done < 1000; done++) {
    const [name] = finder.open.keys();
    finder.answer(name!);
    await answers[names.indexOf(name!)];
    await Promise.resolve();
    assert.ok(finder.open.size <= LOOKUPS_MAX);
  }
  for (const [i, name] of names.entries()) lookup.forget(name, askerOf(`${i % 8}`));
  for (const name of finder.open.keys()) finder.answer(name);
  await Promise.all(answers);
  // All places are free again.
  await turn();
  for (let i = 0; i < LOOKUPS_MAX; i++) void lookup.find(`again${i}`, askerOf(`${i % 8}`));
  assert.equal(finder.open.size, LOOKUPS_MAX);
  for (const name of finder.open.keys()) finder.answer(name);
  await turn();
});

Deno.test("NameLookup: one asker's thousand dead names leave places for others", async () => {
  const finder = new SlowFinder();
  const lookup = new NameLookup(finder.find);
  for (let i = 0; i < 1000; i++) void lookup.find(`dead${i}`, askerOf("mallory 1", "mallory"));
  assert.ok(finder.begun.length <= LOOKUPS_MAX / 4);
  for (let session = 2; session < 18; session++) {
    for (let i = 0; i < 100; i++) {
      void lookup.find(`dead${session}-${i}`, askerOf(`mallory ${session}`, "mallory"));
    }
  }
  assert.ok(finder.begun.length <= LOOKUPS_MAX * 3 / 4);
  const found = lookup.find("good.example", askerOf("alice 1", "alice"));
  assert.equal(finder.begun.at(-1), "good.example");
  finder.answer("good.example");
  assert.equal((await found).addresses.length, 1);
  for (let session = 1; session < 18; session++) {
    for (let i = 0; i < 1000; i++) {
      const name = session === 1 ? `dead${i}` : `dead${session}-${i}`;
      lookup.forget(name, askerOf(`mallory ${session}`, "mallory"));
    }
  }
  for (const name of finder.open.keys()) finder.answer(name);
  await turn();
});

Deno.test("NameLookup: among sessions of one key a free place is for who has fewest", async () => {
  const finder = new SlowFinder();
  const lookup = new NameLookup(finder.find, 8);
  for (const session of ["a", "b", "c", "d"]) {
    for (let i = 0; i < 20; i++) void lookup.find(`${session}${i}`, askerOf(session));
  }
  assert.equal(finder.begun.length, 8);
  // All places are taken: the first one that is free is the newcomer's.
  const found = lookup.find("good.example", askerOf("honest"));
  finder.answer("a0");
  await turn();
  assert.equal(finder.begun.at(-1), "good.example");
  finder.answer("good.example");
  assert.equal((await found).addresses.length, 1);
  while (finder.open.size > 0) {
    for (const name of finder.open.keys()) finder.answer(name);
    await turn();
  }
});

Deno.test("NameLookup: a name in another's long queue is looked up at one's own turn", async () => {
  const finder = new SlowFinder();
  const lookup = new NameLookup(finder.find, 4);
  for (let i = 0; i < 50; i++) void lookup.find(`n${i}`, askerOf("greedy"));
  assert.deepEqual(finder.begun, ["n0"]);
  const found = lookup.find("n40", askerOf("honest"));
  assert.deepEqual(finder.begun, ["n0", "n40"]);
  finder.answer("n40");
  assert.equal((await found).addresses.length, 1);
  for (let i = 0; i < 50; i++) lookup.forget(`n${i}`, askerOf("greedy"));
  finder.answer("n0");
  await turn();
});

Deno.test("NameLookup gives a place on when its look-up is slow, up to a limit", async () => {
  const finder = new SlowFinder();
  const lookup = new NameLookup(finder.find, 4, 1);
  const answers = Array.from({ length: 4 }, (_, i) => lookup.find(`n${i}`, askerOf(`${i}`)));
  const late = lookup.find("late", askerOf("late"));
  assert.equal(finder.begun.length, 4);
  assert.deepEqual(await Promise.all(answers), answers.map(() => FAILED));
  assert.equal(finder.begun.at(-1), "late");
  finder.answer("late");
  assert.equal((await late).addresses.length, 1);
  // Those that hang hold their threads: there is an end to them.
  const many = Array.from(
    { length: ABANDONED_MAX },
    (_, i) => lookup.find(`m${i}`, askerOf(`${i}`)),
  );
  await Promise.all(many.slice(0, ABANDONED_MAX - 4));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(lookup.abandoned, ABANDONED_MAX);
  assert.equal(finder.open.size, ABANDONED_MAX + 4);
  while (finder.open.size > 0) {
    for (const name of finder.open.keys()) finder.answer(name);
    await turn();
  }
});

Deno.test("NameLookup gives an answer also when the look-up throws", async () => {
  const lookup = new NameLookup(() => Promise.reject(new Error("no")));
  for (let i = 0; i < 2 * LOOKUPS_MAX; i++) {
    assert.deepEqual(await lookup.find("a"), { addresses: [], error: "failed" });
  }
});

Deno.test("NameLookup asks this machine's resolver", async () => {
  const lookup = NameLookup.of(native, "system");
  const { addresses } = await lookup.find("localhost");
  assert.ok(addresses.includes("127.0.0.1") || addresses.includes("::1"), addresses.join());
  const none = await lookup.find("no-such-name.invalid");
  assert.equal(none.addresses.length, 0);
  assert.ok(none.error !== undefined);
});

/** A name server with one name: A and AAAA of `known.example`; others are not there. */
async function serveNames(): Promise<{ port: number; asked: string[]; close(): void }> {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (query, from) => {
    const [name, end] = nameOf(query);
    const type = query[end + 1]!;
    asked.push(`${name} ${type}`);
    const isKnown = name === "known.example";
    const data = type === 1 ? [192, 0, 2, 7] : [0x20, 1, 0xd, 0xb8, ...Array(11).fill(0), 7];
    const answer = [
      0xc0,
      12,
      0,
      type,
      0,
      1,
      0,
      0,
      0,
      type === 1 ? 50 : 70,
      0,
      data.length,
      ...data,
    ];
    const head = [query[0]!, query[1]!, 0x81, isKnown ? 0x80 : 0x83, 0, 1, 0, isKnown ? 1 : 0];
    const question = query.subarray(12, end + 4);
    const reply = [...head, 0, 0, 0, 0, ...question, ...(isKnown ? answer : [])];
    socket.send(Uint8Array.from(reply), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return { port: socket.address().port, asked, close: () => void socket.close() };
}

function nameOf(query: Uint8Array): [name: string, end: number] {
  const labels: string[] = [];
  let at = 12;
  while (query[at]! > 0) {
    labels.push(new TextDecoder().decode(query.subarray(at + 1, at + 1 + query[at]!)));
    at += 1 + query[at]!;
  }
  return [labels.join(".").toLowerCase(), at + 1];
}

Deno.test({
  name: "NameLookup asks the servers that it is given",
  // Of Deno's resolver: it keeps its sockets for a while.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const server = await serveNames();
    try {
      const lookup = NameLookup.of(native, [{ host: "127.0.0.1", port: server.port }]);
      const found = await lookup.find("known.example");
      assert.deepEqual([...found.addresses].sort(), ["192.0.2.7", "2001:db8::7"]);
      // That of the address that holds for the shorter time.
      assert.equal(found.ttlSeconds, 50);
      assert.deepEqual(await lookup.find("other.example"), {
        addresses: [],
        error: "not-found",
      });
      assert.ok(
        server.asked.includes("known.example 1") && server.asked.includes("known.example 28"),
      );
    } finally {
      server.close();
    }
  },
});

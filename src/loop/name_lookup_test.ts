import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { type Answer, LOOKUPS_MAX, NameLookup, WAITING_MAX } from "./name_lookup.ts";

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

Deno.test("NameLookup bounds what runs and what waits", async () => {
  const open: ((answer: Answer) => void)[] = [];
  const lookup = new NameLookup(() => new Promise((resolve) => open.push(resolve)));
  const names = Array.from({ length: LOOKUPS_MAX + WAITING_MAX + 1 }, (_, i) => `n${i}`);
  const answers = names.map((name) => lookup.find(name));
  assert.equal(open.length, LOOKUPS_MAX);
  assert.deepEqual(await answers.at(-1), { addresses: [], error: "failed" });
  assert.equal(lookup.refused, 1);
  let most = 0;
  for (let done = 0; done < names.length - 1; done++) {
    most = Math.max(most, open.length - done);
    open[done]!({ addresses: [] });
    await answers[done];
    await Promise.resolve();
  }
  assert.equal(most, LOOKUPS_MAX);
  assert.equal(open.length, names.length - 1);
  // All places are free again.
  for (let i = 0; i < LOOKUPS_MAX; i++) void lookup.find(`again${i}`);
  assert.equal(open.length, names.length - 1 + LOOKUPS_MAX);
});

Deno.test("NameLookup gives an answer also when the look-up throws", async () => {
  const lookup = new NameLookup(() => Promise.reject(new Error("no")));
  for (let i = 0; i < 2 * LOOKUPS_MAX; i++) {
    assert.deepEqual(await lookup.find("a"), { addresses: [], error: "failed" });
  }
});

Deno.test("NameLookup asks this machine's resolver", async () => {
  const lookup = NameLookup.of("system");
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
      const lookup = NameLookup.of([{ host: "127.0.0.1", port: server.port }]);
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

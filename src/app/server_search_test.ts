import assert from "node:assert/strict";
import { formatEndpoint } from "../../ffi/endpoint.ts";
import { Log } from "../base/log.ts";
import type { Answer } from "../loop/name_lookup.ts";
import { ServerSearch } from "./server_search.ts";

const NOT_FOUND: Answer = { addresses: [], error: "not-found" };
const SILENT: Answer = { addresses: [], error: "failed" };

/** A search with a clock and a resolver that a test turns. */
class Bench {
  readonly lines: string[] = [];
  readonly found: (readonly string[])[] = [];
  asked = 0;
  answer: Answer | undefined;
  readonly search: ServerSearch;
  #now = 0;
  readonly #calls = new Set<{ readonly at: number; readonly call: () => void }>();
  #waiting: PromiseWithResolvers<Answer>[] = [];

  constructor(host = "server.example") {
    this.search = new ServerSearch({
      lookup: {
        find: () => {
          this.asked++;
          if (this.answer !== undefined) return Promise.resolve(this.answer);
          const waiting = Promise.withResolvers<Answer>();
          this.#waiting.push(waiting);
          return waiting.promise;
        },
      },
      server: { host, port: 443 },
      log: new Log(({ event, fields }) => {
        this.lines.push(`${event}${"reason" in fields ? `: ${fields.reason}` : ""}`);
      }),
      now: () => this.#now,
      after: (ms, call) => {
        const one = { at: this.#now + ms, call };
        this.#calls.add(one);
        return () => void this.#calls.delete(one);
      },
    });
  }

  listen(): void {
    this.search.listen((hosts) => void this.found.push(hosts));
  }

  settle(answer: Answer): Promise<void> {
    for (const { resolve } of this.#waiting.splice(0)) resolve(answer);
    return turn();
  }

  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await turn();
    for (;;) {
      const due = [...this.#calls].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#calls.delete(due);
      this.#now = due.at;
      due.call();
      await turn();
    }
    this.#now = end;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("a server's address needs no look-up", async () => {
  const bench = new Bench("192.0.2.1");
  assert.deepEqual((await bench.search.once()).map(formatEndpoint), ["192.0.2.1:443"]);
  assert.deepEqual((await bench.search.soon(1)).map(formatEndpoint), ["192.0.2.1:443"]);
  bench.search.again();
  assert.equal(bench.asked, 0);
});

Deno.test("a resolver that is silent is told from a name that there is not", async () => {
  const bench = new Bench();
  bench.answer = NOT_FOUND;
  await assert.rejects(bench.search.once(), /server\.example as there is no such name/);
  bench.answer = SILENT;
  await assert.rejects(bench.search.once(), /as the resolver of this machine does not answer/);
});

Deno.test("a name that is late holds nobody up, and is told of once it is found", async () => {
  const bench = new Bench();
  const soon = bench.search.soon(300);
  await bench.pass(300);
  assert.deepEqual(await soon, []);
  await bench.settle({ addresses: ["192.0.2.1"] });
  bench.listen();
  assert.deepEqual([bench.found, bench.lines], [[["192.0.2.1"]], []]);
});

Deno.test("a name that is not found is asked for until it is; each cause is told of", async () => {
  const bench = new Bench();
  bench.answer = SILENT;
  assert.deepEqual(await bench.search.soon(300), []);
  bench.listen();
  await bench.pass(59_000);
  const asked = bench.asked;
  assert.ok(asked >= 11 && asked <= 16, `${asked} times in a minute`);
  assert.deepEqual(bench.lines, [
    "server_name_not_found: the resolver of this machine does not answer",
  ]);
  bench.answer = NOT_FOUND;
  await bench.pass(5000);
  assert.equal(bench.lines[1], "server_name_not_found: there is no such name");
  bench.answer = { addresses: ["192.0.2.1", "2001:db8::1"] };
  await bench.pass(5000);
  assert.deepEqual(bench.lines.slice(2), ["server_name_found"]);
  assert.deepEqual(bench.found, [["192.0.2.1", "2001:db8::1"]]);
  const found = bench.asked;
  await bench.pass(60_000);
  assert.equal(bench.asked, found);
});

Deno.test("without a session the name is asked for again, and what is new is told", async () => {
  const bench = new Bench();
  bench.answer = { addresses: ["192.0.2.1", "192.0.2.2"] };
  const first = (await bench.search.soon(300)).map(formatEndpoint);
  assert.deepEqual(first, ["192.0.2.1:443", "192.0.2.2:443"]);
  bench.listen();
  bench.search.again();
  await turn();
  assert.equal(bench.asked, 1);
  await bench.pass(2000);
  bench.answer = { addresses: ["192.0.2.2", "192.0.2.1"] };
  bench.search.again();
  await bench.pass(2000);
  assert.equal(bench.found.length, 0);
  bench.answer = { addresses: ["192.0.2.9"] };
  bench.search.again();
  await bench.pass(2000);
  assert.deepEqual([bench.found.length, bench.lines], [1, ["server_moved"]]);
  // What is found no more stays where it was.
  bench.answer = SILENT;
  bench.search.again();
  await bench.pass(60_000);
  assert.deepEqual([bench.found.length, bench.lines], [1, ["server_moved"]]);
  bench.search.stop();
});

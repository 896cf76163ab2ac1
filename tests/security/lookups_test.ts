/** Finding 5d: names whose resolver does not answer hold up nobody else's. */

import { createSocket } from "node:dgram";
import { pour, sealed, times } from "./attacker.ts";
import { assertUnharmed, beside, measuredTest, Stage } from "./stage.ts";

const NAMES = 1000;
const DOMAIN = "answered.test";

/** A resolver on loopback that answers for names below DOMAIN, and for no others. */
class HalfResolver {
  readonly #socket = createSocket("udp4");
  port = 0;

  static open(): Promise<HalfResolver> {
    const resolver = new HalfResolver();
    const socket = resolver.#socket;
    socket.on("message", (query: Uint8Array, from: { port: number; address: string }) => {
      const reply = answer(new Uint8Array(query));
      if (reply !== undefined) socket.send(reply, from.port, from.address);
    });
    return new Promise((done) =>
      socket.bind(0, "127.0.0.1", () => {
        resolver.port = socket.address().port;
        done(resolver);
      })
    );
  }

  close(): void {
    this.#socket.close();
  }
}

/** To a query with one question: 127.0.0.1, or that there is no address of the kind. */
function answer(query: Uint8Array): Uint8Array | undefined {
  const labels: string[] = [];
  let at = 12;
  while ((query[at] ?? 0) > 0) {
    labels.push(new TextDecoder().decode(query.subarray(at + 1, at + 1 + query[at]!)));
    at += 1 + query[at]!;
  }
  if (!labels.join(".").toLowerCase().endsWith(DOMAIN)) return undefined;
  const isA = query[at + 2] === 1;
  const count = isA ? 1 : 0;
  const head = [query[0]!, query[1]!, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
  const record = isA ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1] : [];
  return Uint8Array.from([...head, ...query.subarray(12, at + 5), ...record]);
}

measuredTest("look-ups: a thousand names that nobody answers for", async () => {
  const resolver = await HalfResolver.open();
  const settings = { resolver: [`127.0.0.1:${resolver.port}`] };
  try {
    await using stage = await Stage.set({ settings, domain: DOMAIN });
    const spans = await beside(stage, async () => {
      const client = await stage.attacker();
      const frames = times(NAMES, (stream) => ({
        ...{ type: "open", stream, kind: 1 },
        address: { host: `n${stream}.silent.test`, port: 80 },
      }));
      await pour(sealed(client, frames), (bytes) => client.raw(bytes));
      return () => client.close();
    });
    assertUnharmed(spans);
  } finally {
    resolver.close();
  }
});

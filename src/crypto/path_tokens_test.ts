import assert from "node:assert/strict";
import { seededPrimitives } from "../../tests/fixtures/handshake.ts";
import { PathTokens } from "./path_tokens.ts";

Deno.test("a challenge depends on secret, session, address, port and window alone", () => {
  const primitives = seededPrimitives(1);
  const tokens = new PathTokens(primitives, new Uint8Array(32).fill(1));
  const route = Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
  const of = (from = tokens, session = 2 ** 40, to = route, window = 9) => {
    from.make(session, to, window);
    return `${from.high} ${from.low}`;
  };
  const others = [
    of(new PathTokens(primitives, new Uint8Array(32).fill(2))),
    of(tokens, 2 ** 40 + 1),
    ...[0, 1, 2, 3, 4].map((word) => of(tokens, 2 ** 40, route.with(word, 77))),
    of(tokens, 2 ** 40, route, 10),
  ];
  assert.equal(new Set([of(), ...others]).size, 1 + others.length);
  assert.equal(of(tokens, 2 ** 40, route.with(7, 77)), of(), "whatever our own address is");
});

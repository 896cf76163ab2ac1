import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Secret, SECRET_BYTES } from "./secret.ts";

const bytes = (fill: number) => new Uint8Array(SECRET_BYTES).fill(fill);

Deno.test("Secret holds a copy of exactly 32 bytes", () => {
  const source = bytes(7);
  const secret = new Secret(source);
  source.fill(0);
  assert.deepEqual(secret.expose(), bytes(7));
  assert.throws(() => new Secret(new Uint8Array(31)), RangeError);
  assert.throws(() => new Secret(new Uint8Array(33)), RangeError);
});

Deno.test("Secret prints as [secret] everywhere", () => {
  const secret = new Secret(bytes(7));
  assert.equal(String(secret), "[secret]");
  assert.equal(JSON.stringify({ secret }), '{"secret":"[secret]"}');
  assert.equal(Deno.inspect(secret), "[secret]");
  assert.equal(Deno.inspect({ secret }), "{ secret: [secret] }");
  assert.equal(inspect(secret), "[secret]");
  assert.deepEqual(Object.keys(secret), []);
});

Deno.test("Secret.equals() compares every byte", () => {
  assert.equal(new Secret(bytes(7)).equals(new Secret(bytes(7))), true);
  for (let i = 0; i < SECRET_BYTES; i++) {
    const other = bytes(7);
    other[i] = 8;
    assert.equal(new Secret(bytes(7)).equals(new Secret(other)), false);
  }
});

Deno.test("Secret.wipe() zeroes the live bytes and ends every use", () => {
  const secret = new Secret(bytes(7));
  const live = secret.expose();
  secret.wipe();
  secret.wipe();
  assert.deepEqual(live, bytes(0));
  assert.throws(() => secret.expose(), /after it was wiped/);
  assert.throws(() => secret.equals(new Secret(bytes(0))), /after it was wiped/);
  assert.throws(() => new Secret(bytes(0)).equals(secret), /after it was wiped/);
  assert.equal(String(secret), "[secret]");
});

Deno.test("Secret is wiped at the end of its using block", () => {
  let live = bytes(1);
  {
    using secret = new Secret(bytes(7));
    live = Uint8Array.from(secret.expose());
    assert.deepEqual(live, bytes(7));
    live = secret.expose() as Uint8Array<ArrayBuffer>;
  }
  assert.deepEqual(live, bytes(0));
});

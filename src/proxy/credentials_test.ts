import assert from "node:assert/strict";
import { type Credential, Credentials, CREDENTIALS_MAX, NO_CREDENTIAL } from "./credentials.ts";

const encoder = new TextEncoder();

function match(credentials: Credentials, user: string, password: string): number {
  const name = encoder.encode(user);
  const bytes = Uint8Array.of(9, ...name, 7, ...encoder.encode(password), 9);
  return credentials.match(bytes, 1, name.length, 2 + name.length, bytes.length - name.length - 3);
}

Deno.test("only a whole pair matches", () => {
  const longest = "x".repeat(255);
  const credentials = new Credentials([
    { user: "alice", password: "secret" },
    { user: "bob", password: "other" },
    { user: longest, password: longest },
  ]);
  assert.equal(match(credentials, "alice", "secret"), 0);
  assert.equal(match(credentials, "bob", "other"), 1);
  assert.equal(match(credentials, longest, longest), 2);
  assert.equal(credentials.userAt(1), "bob");
  const wrong: [string, string][] = [
    ...[["alice", "other"], ["bob", "secret"], ["", ""], ["alice", ""], ["alice", "secret\0"]],
    ...[["alice\0", "secret"], ["alic", "secret"], ["ALICE", "secret"], ["alice", "Secret"]],
    ...[[longest, `${longest}x`], [longest, longest.slice(1)]],
  ] as [string, string][];
  for (const [user, password] of wrong) {
    assert.equal(match(credentials, user, password), NO_CREDENTIAL, `${user}:${password}`);
  }
});

Deno.test("the list and its texts have limits", () => {
  const pairs = (count: number): Credential[] =>
    Array.from({ length: count }, (_, i) => ({ user: `u${i}`, password: "p" }));
  assert.equal(match(new Credentials(pairs(CREDENTIALS_MAX)), "u1023", "p"), 1023);
  assert.throws(() => new Credentials(pairs(CREDENTIALS_MAX + 1)), RangeError);
  assert.throws(() => new Credentials([]), RangeError);
  for (const text of ["", "x".repeat(256), "é".repeat(128)]) {
    assert.throws(() => new Credentials([{ user: text, password: "p" }]), RangeError);
    assert.throws(() => new Credentials([{ user: "u", password: text }]), RangeError);
  }
});

import assert from "node:assert/strict";
import { nativePath } from "../tests/native.ts";
import { nativeAbi, nativeSymbols } from "./native.ts";
import { bindAll, symbolsOf } from "./symbols.ts";

const { ph_abi } = nativeSymbols;

/** Libraries stay loaded, which the leak check would report. */
function test(name: string, fn: () => void): void {
  Deno.test({ name, fn, sanitizeResources: false });
}

test("symbolsOf() binds a symbol when it is asked for, and once", () => {
  const symbols = symbolsOf(nativePath(), { ph_abi, ph_no_such: ph_abi });
  assert.equal(symbols.ph_abi(), nativeAbi);
  assert.equal(symbols.ph_abi, symbols.ph_abi);
  assert.ok(Object.getOwnPropertyDescriptor(symbols, "ph_abi")!.value);
  assert.equal(Object.getOwnPropertyDescriptor(symbols, "ph_no_such")!.value, undefined);
  assert.throws(() => symbols.ph_no_such, /ph_no_such/);
});

test("bindAll() finds what a library lacks", () => {
  assert.throws(() => bindAll(symbolsOf(nativePath(), { ph_no_such: ph_abi })), /ph_no_such/);
  const symbols = symbolsOf(nativePath(), { ph_abi });
  bindAll(symbols);
  assert.ok(Object.getOwnPropertyDescriptor(symbols, "ph_abi")!.value);
});

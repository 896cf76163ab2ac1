import assert from "node:assert/strict";
import { nativePath, testNative } from "../tests/native.ts";
import { aeadKeysMax } from "./aead.ts";
import { nativeAbi, nativeSymbols, openNative } from "./native.ts";
import { maskKeyBytes, maskKeysMax, packetBytesMin } from "./mask.ts";
import { hkdfBytesMax, sha256Bytes, x25519Bytes } from "./primitives.ts";
import { tcpAcceptMax, TcpFlag, tcpKeepAliveMax } from "./tcp.ts";
import {
  xskBatchMax,
  XskFlag,
  xskFrameBytes,
  xskMtuMax,
  xskQueuesMax,
  xskRunMax,
  xskRxFrames,
  xskTxFrames,
  xskWays,
} from "./xsk.ts";
import { udpBatchMax, UdpFlag, udpGroMax, udpGsoMax, udpPayloadMax } from "./udp.ts";

// At module level, so that no single test seems to leak the library.
const native = testNative();

const header = await Deno.readTextFile(new URL("native/ph.h", import.meta.url));
const source = await Deno.readTextFile(new URL("native.ts", import.meta.url));

/** Declarations of ph.h by name, on one line each. */
function declarations(): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, text] of header.matchAll(/^PH_API ([^;]+);/gm)) {
    const declaration = text!.replace(/\s+/g, " ");
    found.set(/(ph_\w+)\(/.exec(declaration)![1]!, declaration);
  }
  return found;
}

function ffiType(declared: string): string {
  const text = declared.trim();
  if (text.startsWith("struct ph_ring") || text.startsWith("const struct ph_ring ")) {
    return "pointer";
  }
  if (/^(?:const )?struct ph_xsk \*/.test(text)) return "pointer";
  if (
    text.startsWith("struct ph_aead *") || ["void *fn", "void *object", "void *"].includes(text)
  ) {
    return "pointer";
  }
  if (text.includes("*")) return "buffer";
  if (text.startsWith("double")) return "f64";
  const plain = /^(?:u?int(8|16|32|64)_t|void)/.exec(text);
  assert.ok(plain, `no FFI type for ${text}`);
  return text.startsWith("void") ? "void" : `${text[0] === "u" ? "u" : "i"}${plain[1]}`;
}

Deno.test("nativeSymbols has every function of ph.h, with its types", () => {
  const declared = declarations();
  assert.deepEqual(Object.keys(nativeSymbols).sort(), [...declared.keys()].sort());
  for (const [name, symbol] of Object.entries(nativeSymbols)) {
    const [, result, list] = /^(.*?)ph_\w+\((.*)\)$/.exec(declared.get(name)!)!;
    const parameters = list === "void" ? [] : list!.split(",").map(ffiType);
    assert.deepEqual([...symbol.parameters], parameters, name);
    assert.equal(symbol.result, ffiType(result!), name);
  }
});

Deno.test("nativeSymbols carries each C declaration as it stands in ph.h", () => {
  for (const [name, declaration] of declarations()) {
    const comment = new RegExp(`((?: *//[^\\n]*\\n)+) *${name}:`).exec(source);
    assert.ok(comment, name);
    const text = comment[1]!.replace(/\s*\n\s*\/\/\s*|^\s*\/\/\s*/g, " ").trim();
    assert.equal(text, declaration);
  }
});

Deno.test("the constants of ffi/ are those of ph.h", () => {
  for (const [name, value] of Object.entries(UdpFlag)) {
    assert.match(header, new RegExp(`PH_UDP_${name.toUpperCase()} = ${value},`));
  }
  const limits = { BATCH: udpBatchMax, GRO: udpGroMax, GSO: udpGsoMax, PAYLOAD: udpPayloadMax };
  for (const [name, value] of Object.entries(limits)) {
    assert.match(header, new RegExp(`#define PH_UDP_${name}_MAX ${value}\n`));
  }
  for (const [name, value] of Object.entries(XskFlag)) {
    const upper = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    assert.match(header, new RegExp(`PH_XSK_${upper} = ${value},`));
  }
  for (const [name, value] of Object.entries(TcpFlag)) {
    assert.match(header, new RegExp(`PH_TCP_${name.toUpperCase()} = ${value},`));
  }
  const others = {
    MASK_KEY_LEN: maskKeyBytes,
    MASK_KEYS_MAX: maskKeysMax,
    PACKET_MIN: packetBytesMin,
    SHA256_LEN: sha256Bytes,
    X25519_LEN: x25519Bytes,
    HKDF_MAX: hkdfBytesMax,
    TCP_ACCEPT_MAX: tcpAcceptMax,
    XSK_QUEUES_MAX: xskQueuesMax,
    XSK_RX_FRAMES: xskRxFrames,
    XSK_TX_FRAMES: xskTxFrames,
    XSK_FRAME_BYTES: xskFrameBytes,
    XSK_MTU_MAX: xskMtuMax,
    XSK_BATCH_MAX: xskBatchMax,
    XSK_RUN_MAX: xskRunMax,
    XSK_WAYS: xskWays,
    TCP_KEEPALIVE_MAX: tcpKeepAliveMax,
  };
  for (const [name, value] of Object.entries(others)) {
    assert.match(header, new RegExp(`#define PH_${name} ${value}\n`));
  }
  assert.match(header, new RegExp(`#define PH_ABI ${nativeAbi}\n`));
  assert.match(header, /#define PH_AEAD_KEYS_MAX \(1u << 20\)\n/);
  assert.equal(aeadKeysMax, 1 << 20);
});

Deno.test("openNative() accepts the library of its ABI", () => {
  assert.equal(native.symbols.ph_abi(), nativeAbi);
});

Deno.test("openNative() throws for a library that is not ours, or not there", () => {
  assert.throws(() => openNative("libc.so.6"), /ph_abi/);
  assert.throws(() => openNative(`${nativePath()}.missing`));
});

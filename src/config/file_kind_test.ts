import assert from "node:assert/strict";
import { fileKind } from "./file_kind.ts";
import { clientExampleFile, exampleFile } from "./render.ts";

Deno.test("fileKind() tells a client's file from the server's by its names", () => {
  assert.equal(fileKind(exampleFile()), "server");
  assert.equal(fileKind(clientExampleFile()), "client");
  const clients = [
    "server: a.example:443",
    "psk: x\nmixed: 1080",
    "forwards: []",
    "server: 1\nlisten: 2\nusers: []",
    // Also with a slip in what names the server.
    "sever: a.example:443\npsk: x\nsocks5: 1080\nlog_level: debug",
    "\ufeffserver: a.example:443",
  ];
  for (const text of clients) assert.equal(fileKind(text), "client", text);
  // Names that a part of the server's file has, too, say nothing.
  for (
    const text of [
      "",
      "server: {listen: 1}\npsk: x",
      "psk: x\nup: 1mbps",
      "[",
      "- a",
      "user: bob\npsk: x",
      "\ttab: 1",
    ]
  ) {
    assert.equal(fileKind(text), undefined, text);
  }
  for (const text of ["mixed: 1\nusers: []\nrules: []", "psk: x\nebpf: 1", "rules: []\nx: ["]) {
    assert.equal(fileKind(text), "server", text);
  }
});

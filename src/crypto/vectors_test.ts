/** The code builds the packets of tests/fixtures/vectors byte for byte, and opens them. */

import assert from "node:assert/strict";
import { PortableAead, PortableBatch } from "../../tests/fixtures/portable_aead.ts";
import { portablePrimitives } from "../../tests/fixtures/portable_primitives.ts";
import { makeVectors } from "../../tests/fixtures/vectors/make_vectors.ts";
import {
  bytesOf,
  numberOf,
  readVectors,
  scriptedRandom,
  textOf,
  type Vector,
} from "../../tests/fixtures/vectors/read.ts";
import { dataKind, type Direction, maskHeader, unmaskHeader, writeHeader } from "../wire/packet.ts";
import { AcceptOpened, buildAccept, openAccept } from "./accept.ts";
import type { Cipher } from "./ciphers.ts";
import { OpenResult } from "./handshake.ts";
import { buildHello, HelloOpened, openHello } from "./hello.ts";
import type { Bytes, Primitives } from "./primitives.ts";
import { buildReset, openReset, ResetOpened, resetToken } from "./reset.ts";
import { deriveNextKey, deriveSessionKeys, SessionKeys } from "./session_keys.ts";
import { Tskd } from "./tskd.ts";
import { namedUser, soleUser, type User, userId, UserTable } from "./users.ts";

const noRandom = portablePrimitives(() => assert.fail("no randomness here"));

/** Randomness in the order in which packets ask for it. */
function primitivesFor(vector: Vector): Primitives {
  const padding = bytesOf(vector, "padding");
  const length = Uint8Array.of(padding.length);
  const parts = [bytesOf(vector, "number"), bytesOf(vector, "salt"), length, padding];
  return portablePrimitives(scriptedRandom(...parts));
}

function tskdFor(vector: Vector): Tskd {
  const tskd = new Tskd(noRandom, bytesOf(vector, "psk"));
  tskd.tick(numberOf(vector, "window") * 30_000);
  return tskd;
}

/** Takes the mask off a copy of the vector's packet, and shows that it is the one it says. */
function unmasked(vector: Vector, tskd: Tskd): Bytes {
  const packet = bytesOf(vector, "packet");
  const direction = numberOf(vector, "direction") as Direction;
  const { maskWords, maskCount } = tskd;
  const other = 1 - direction as Direction;
  assert.equal(unmaskHeader(packet, 0, packet.length, other, maskWords, maskCount), -1);
  const which = unmaskHeader(packet, 0, packet.length, direction, maskWords, maskCount);
  assert.equal(tskd.maskWindows[which], numberOf(vector, "window"));
  assert.equal(packet.toHex(), textOf(vector, "clear"));
  return packet;
}

function assertBuilt(vector: Vector, tskd: Tskd, arena: Bytes, at: number, length: number): void {
  assert.equal(arena.slice(at, at + length).toHex(), textOf(vector, "clear"));
  maskHeader(arena, at, numberOf(vector, "direction") as Direction, tskd.maskWords, 0);
  assert.equal(arena.slice(at, at + length).toHex(), textOf(vector, "packet"));
}

function userOf(vector: Vector): User {
  const name = textOf(vector, "user");
  const key = bytesOf(vector, "userKey");
  return name === "" ? soleUser(key) : namedUser(noRandom, name, key);
}

Deno.test("the vector files are what their generator makes", async () => {
  for (const [name, vectors] of Object.entries(makeVectors())) {
    assert.deepEqual(await readVectors(name.replace(".json", "")), vectors, name);
  }
});

Deno.test("HKDF agrees with RFC 5869, X25519 with RFC 7748", async () => {
  for (const vector of await readVectors("hkdf")) {
    const [ikm, salt, info] = ["ikm", "salt", "info"].map((name) => bytesOf(vector, name));
    const okm = noRandom.hkdf(ikm!, salt!, info!, textOf(vector, "okm").length / 2);
    assert.equal(okm.toHex(), vector["okm"], textOf(vector, "name"));
  }
  for (const vector of await readVectors("x25519")) {
    const [scalar, u] = [bytesOf(vector, "scalar"), bytesOf(vector, "u")];
    assert.equal(noRandom.x25519(scalar, u).toHex(), vector["result"], textOf(vector, "name"));
    if (u[0] === 9 && u.slice(1).every((byte) => byte === 0)) {
      assert.equal(noRandom.x25519Public(scalar).toHex(), vector["result"]);
    }
  }
});

Deno.test("window keys and mask keys agree with their vectors", async () => {
  for (const vector of await readVectors("tskd")) {
    const tskd = new Tskd(noRandom, bytesOf(vector, "psk"));
    tskd.tick(numberOf(vector, "unixMs"));
    assert.equal(tskd.current, vector["window"]);
    assert.equal(tskd.windowKey(tskd.current).toHex(), vector["windowKey"]);
    assert.equal(tskd.maskKeys.slice(0, 16).toHex(), vector["maskKey"]);
    assert.equal(tskd.maskKeys.slice(0, 16).toHex(), vector["maskKey"]);
  }
});

Deno.test("HELLO is built and opened as in its vectors", async () => {
  for (const vector of await readVectors("hello")) {
    const tskd = tskdFor(vector);
    const user = userOf(vector);
    assert.equal(user.id.toHex(), vector["userId"]);
    const fields = {
      userId: user.id,
      userKey: user.key,
      timeMs: numberOf(vector, "timeMs"),
      clientSession: numberOf(vector, "clientSession"),
      clientPublic: bytesOf(vector, "clientPublic"),
      offered: numberOf(vector, "offered"),
      understood: numberOf(vector, "understood"),
      frames: bytesOf(vector, "frames"),
    };
    const arena = new Uint8Array(2000);
    const length = buildHello(primitivesFor(vector), tskd, fields, arena, 7, 1200);
    assertBuilt(vector, tskd, arena, 7, length);

    const packet = unmasked(vector, tskd);
    const users = new UserTable();
    users.add(user);
    const opened = new HelloOpened();
    const unixMs = numberOf(vector, "unixMs");
    const result = openHello(
      noRandom,
      tskd,
      users,
      packet,
      0,
      packet.length,
      tskd.current,
      unixMs,
      opened,
    );
    assert.equal(result, OpenResult.ok);
    const { framesAt, framesBytes } = opened;
    assert.equal(packet.slice(framesAt, framesAt + framesBytes).toHex(), vector["frames"]);
    assert.equal(opened.user, user);
    assert.equal(opened.clientSession, fields.clientSession);
    assert.deepEqual(opened.clientPublic, fields.clientPublic);
    assert.equal(opened.skewMs, unixMs - fields.timeMs);
    const { ciphers, frames } = opened.parameters;
    assert.deepEqual([ciphers, frames], [fields.offered, fields.understood]);
  }
});

Deno.test("a HELLO says what its parameters say, unknown ones among them", async () => {
  for (const vector of await readVectors("hello_parameters")) {
    const tskd = tskdFor(vector);
    const packet = unmasked(vector, tskd);
    const users = new UserTable();
    users.add(userOf(vector));
    const opened = new HelloOpened();
    const at = [tskd.current, numberOf(vector, "unixMs")] as const;
    const result = openHello(noRandom, tskd, users, packet, 0, packet.length, ...at, opened);
    assert.equal(result, OpenResult.ok);
    const { ciphers, frames } = opened.parameters;
    assert.deepEqual([ciphers, frames], [vector["offered"], vector["understood"]]);
  }
});

Deno.test("ACCEPT is built and opened as in its vectors", async () => {
  for (const vector of await readVectors("accept")) {
    const tskd = tskdFor(vector);
    const peer = {
      userKey: bytesOf(vector, "userKey"),
      clientSession: numberOf(vector, "clientSession"),
      clientPublic: bytesOf(vector, "clientPublic"),
    };
    const serverSession = numberOf(vector, "serverSession");
    const generation = numberOf(vector, "generation");
    const secret = bytesOf(vector, "serverSecret");
    const isRefusal = serverSession === 0;
    const fields = {
      flags: numberOf(vector, "flags"),
      timeMs: numberOf(vector, "timeMs"),
      serverSession,
      serverPublic: bytesOf(vector, "serverPublic"),
      resetToken: isRefusal
        ? new Uint8Array(16)
        : resetToken(noRandom, secret, serverSession, generation),
      maxDatagram: numberOf(vector, "maxDatagram"),
      idleS: numberOf(vector, "idleS"),
      upKbps: numberOf(vector, "upKbps"),
      downKbps: numberOf(vector, "downKbps"),
      chosen: numberOf(vector, "chosen") as Cipher,
      understood: numberOf(vector, "understood"),
      frames: bytesOf(vector, "frames"),
    };
    const arena = new Uint8Array(2000);
    const length = buildAccept(primitivesFor(vector), tskd, peer, fields, arena, 3, 1200);
    assertBuilt(vector, tskd, arena, 3, length);

    const packet = unmasked(vector, tskd);
    const opened = new AcceptOpened();
    const result = openAccept(
      noRandom,
      tskd,
      peer,
      packet,
      0,
      packet.length,
      tskd.current,
      opened,
    );
    assert.equal(result, OpenResult.ok);
    const { framesAt, framesBytes, parameters, ...rest } = opened;
    const { frames, chosen, understood, ...expected } = fields;
    assert.deepEqual(packet.slice(framesAt, framesAt + framesBytes), frames);
    assert.deepEqual(rest, expected);
    assert.deepEqual({ ...parameters }, { ciphers: chosen, frames: understood });
  }
});

Deno.test("session keys and their successors agree with their vectors", async () => {
  for (const vector of await readVectors("session")) {
    const [clientPublic, serverPublic] = [
      bytesOf(vector, "clientPublic"),
      bytesOf(vector, "serverPublic"),
    ];
    const userKey = bytesOf(vector, "userKey");
    const offered = numberOf(vector, "offered");
    const chosen = numberOf(vector, "chosen") as Cipher;
    for (const side of ["client", "server"] as const) {
      using keys = new SessionKeys();
      const privateKey = bytesOf(vector, `${side}Private`);
      const peerPublic = side === "client" ? serverPublic : clientPublic;
      const publics = { peerPublic, clientPublic, serverPublic };
      const agreement = { privateKey, ...publics, userKey, offered, chosen };
      assert.equal(deriveSessionKeys(noRandom, agreement, keys), true);
      for (const direction of ["clientToServer", "serverToClient"] as const) {
        for (const expected of vector[direction] as readonly string[]) {
          assert.equal(keys[direction].toHex(), expected);
          deriveNextKey(noRandom, keys[direction], keys[direction]);
        }
      }
    }
  }
});

Deno.test("DATA is sealed and opened as in its vectors", async () => {
  for (const vector of await readVectors("data")) {
    const tskd = tskdFor(vector);
    using aead = new PortableAead(1);
    const key = aead.addKey(bytesOf(vector, "key"), numberOf(vector, "cipher") as Cipher);
    const plaintext = bytesOf(vector, "plaintext");
    const number = numberOf(vector, "number");
    const arena = new Uint8Array(16 + plaintext.length + 16);
    writeHeader(arena, 0, numberOf(vector, "session"), dataKind(numberOf(vector, "phase")), number);
    arena.set(plaintext, 16);
    const batch = new PortableBatch(1);
    batch.add(key, number, 0, 16, 16, plaintext.length);
    assert.equal(aead.seal(batch, arena), 1);
    assertBuilt(vector, tskd, arena, 0, arena.length);
    const packet = unmasked(vector, tskd);
    assert.equal(aead.open(batch, packet), 1);
    assert.deepEqual(packet.slice(16, -16), plaintext);
  }
});

Deno.test("RESET is built and opened as in its vector", async () => {
  for (const vector of await readVectors("reset")) {
    const tskd = tskdFor(vector);
    const session = numberOf(vector, "session");
    const fields = {
      timeMs: numberOf(vector, "timeMs"),
      session,
      number: numberOf(vector, "cause"),
      token: resetToken(
        noRandom,
        bytesOf(vector, "serverSecret"),
        session,
        numberOf(vector, "generation"),
      ),
      reason: numberOf(vector, "reason"),
    };
    const random = scriptedRandom(bytesOf(vector, "number"), bytesOf(vector, "salt"));
    const arena = new Uint8Array(100);
    const length = buildReset(portablePrimitives(random), tskd, fields, arena, 2);
    assertBuilt(vector, tskd, arena, 2, length);

    const packet = unmasked(vector, tskd);
    const opened = new ResetOpened();
    assert.equal(
      openReset(noRandom, tskd, packet, 0, packet.length, tskd.current, opened),
      OpenResult.ok,
    );
    assert.deepEqual({ ...opened }, fields);
    assert.equal(opened.isFor(session, fields.token), true);
    assert.equal(opened.isFor(session + 1, fields.token), false);
    assert.equal(opened.isFor(session, new Uint8Array(16)), false);
  }
});

Deno.test("the id of a user is that of their name", () => {
  assert.notDeepEqual(userId(noRandom, "alice"), userId(noRandom, "bob"));
});

import assert from "node:assert/strict";
import { checked, errnoCode, errnoNumber, errnoText, SysError } from "./errors.ts";

Deno.test("SysError tells the call, the errno by name and meaning, and the remedy", () => {
  const plain = new SysError("bind UDP [::]:53", 98);
  assert.equal(plain.message, "bind UDP [::]:53: EADDRINUSE (address already in use)");
  assert.equal(plain.call, "bind UDP [::]:53");
  assert.equal(plain.errno, 98);
  assert.equal(plain.code, "EADDRINUSE");
  assert.equal(plain.remedy, undefined);
  assert.equal(plain.name, "SysError");
  const helped = new SysError("mount", 1, "run as root");
  assert.equal(helped.message, "mount: EPERM (operation not permitted): run as root");
});

Deno.test("errnoCode() and errnoNumber() are each other's inverse", () => {
  for (let errno = 1; errno <= 133; errno++) {
    const code = errnoCode(errno);
    // 41 and 58 were never given out.
    if (errno === 41 || errno === 58) assert.equal(code, `E${errno}`);
    else assert.equal(errnoNumber(code), errno);
  }
  assert.equal(errnoNumber("ENONSENSE"), undefined);
  assert.equal(errnoText(11), "resource temporarily unavailable");
  assert.equal(errnoText(41), "unknown error");
  assert.equal(errnoCode(524), "ENOTSUPP");
});

Deno.test("checked() hands back a result and throws -errno", () => {
  assert.equal(checked(0, "x"), 0);
  assert.equal(checked(7, "x"), 7);
  assert.throws(
    () => checked(-28, () => "add key", (code) => code === "ENOSPC" ? "fewer keys" : undefined),
    { name: "SysError", errno: 28, message: /^add key: ENOSPC .*: fewer keys$/ },
  );
});

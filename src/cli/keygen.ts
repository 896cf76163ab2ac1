/** `phantom keygen` */

import type { Command } from "./args.ts";
import { Exit } from "./exit.ts";

/** 32 random bytes as base64. */
export function freshKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const text = bytes.toBase64();
  bytes.fill(0);
  return text;
}

export const command: Command = {
  name: "keygen",
  summary: "make a key for `psk`",
  options: [
    { name: "out", short: "o", value: "FILE", help: "write it to FILE (0600) instead" },
    { name: "json", help: "print JSON" },
  ],
  run(given) {
    const path = given.value("out");
    const isJson = given.has("json");
    if (path === undefined) {
      const key = freshKey();
      console.log(isJson ? JSON.stringify({ key }) : key);
    } else {
      writeKey(path);
      if (isJson) console.log(JSON.stringify({ file: path }));
      else console.error(`wrote ${path}; name it as psk_file in the configuration`);
    }
    return Exit.ok;
  },
};

function writeKey(path: string): void {
  try {
    // createNew: an existing key is never overwritten.
    Deno.writeTextFileSync(path, `${freshKey()}\n`, { createNew: true, mode: 0o600 });
  } catch (cause) {
    const isThere = cause instanceof Deno.errors.AlreadyExists;
    throw new Error(
      isThere ? `Cannot write ${path} as there is such a file already` : `Cannot write ${path}`,
      isThere ? {} : { cause },
    );
  }
}

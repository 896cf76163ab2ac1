import assert from "node:assert/strict";
import { parseArgs } from "./args.ts";
import { command } from "./client.ts";
import { clientConfig } from "./client_config.ts";
import { freshKey } from "./keygen.ts";

Deno.test("--mixed for other machines is a warning, and localhost is an address", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/client.yaml`;
    const head = 'server: a.example:9\npsk: "';
    Deno.writeTextFileSync(path, `${head}${freshKey()}"\n`, { mode: 0o600 });
    const warned = (mixed: string) => {
      const said: string[] = [];
      const { error } = console;
      console.error = (text: string) => said.push(text);
      try {
        const given = parseArgs(command, ["-c", path, "--mixed", mixed]);
        return { config: clientConfig(given), said: said.join("\n") };
      } finally {
        console.error = error;
      }
    };
    const local = warned("localhost:1080,[::1]:1081");
    assert.deepEqual(local.config.mixed, [
      { host: "127.0.0.1", port: 1080 },
      { host: "::1", port: 1081 },
    ]);
    assert.equal(local.said, "");
    assert.match(warned("0.0.0.0:1080").said, /^warning: --mixed: listens for other machines/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

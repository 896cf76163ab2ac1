import assert from "node:assert/strict";
import { formatEndpoint } from "../../ffi/endpoint.ts";
import { Log } from "../base/log.ts";
import { Client, inboundsOf } from "./client.ts";
import { type ClientConfig, loadClientConfig } from "../config/mod.ts";
import { Resources } from "../kernel/resources.ts";

const ROOT = new URL("../../", import.meta.url);
const PSK = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".repeat(2);

function configOf(lines: string): ClientConfig {
  return loadClientConfig(`psk: ${PSK}\n${lines}\n`, {
    file: "t.yaml",
    env: () => undefined,
    readFile: () => "",
    fileMode: () => 0o600,
  }).config;
}

function start(config: ClientConfig, over: { impatient?: boolean }) {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = Log.to({ level: "debug", format: "text", write, now: () => 0 });
  const client = Client.start({ config, resources: new Resources(ROOT), log, ...over });
  return { client, lines };
}

Deno.test("inboundsOf() lists what listens, in the order of the settings", () => {
  const inbounds = inboundsOf(configOf(`server: a.example:1
http: 8080
mixed: [1080, "[::1]:1081"]
inbound_users: [{name: u, password: p}]
forwards:
  - {listen: "0.0.0.0:53", target: "[2001:db8::1]:53", network: both}
`));
  const users = [{ name: "u", password: "p" }];
  const shown = inbounds.map((one) => ({ ...one, listen: formatEndpoint(one.listen) }));
  assert.deepEqual(shown, [
    { kind: "mixed", listen: "127.0.0.1:1080", users },
    { kind: "mixed", listen: "[::1]:1081", users },
    { kind: "http", listen: "127.0.0.1:8080", users },
    { kind: "tcp", listen: "0.0.0.0:53", target: "[2001:db8::1]:53" },
    { kind: "udp", listen: "0.0.0.0:53", target: "[2001:db8::1]:53" },
  ]);
});

Deno.test({
  name: "a server whose name is not there is waited for, or told of at once",
  // The libraries stay open for the life of a process.
  sanitizeResources: false,
  async fn() {
    const config = configOf("server: no-such-name.invalid:1");
    const once = start(config, { impatient: true });
    await assert.rejects(once.client, /^Error: Cannot find the server no-such-name\.invalid as /);
    const { client, lines } = start(config, {});
    // It listens meanwhile, and ends at once.
    await (await client).stop();
    assert.ok(lines.every((line) => /name_not_found|client_stopped/.test(line)), lines.join(""));
  },
});

/**
 * Honest HELLOs, one after the other and each said once, as a program of its own:
 *
 *     deno run -A hellos.ts HOST PORT PSK        the key in hex
 *
 * To "capture" it says one HELLO that it sends, in hex; to "count MS" how many of how many were
 * answered, as JSON.
 */

import { hex, unhex } from "../interop/bytes.ts";
import { Client, type Options } from "../interop/client.ts";
import { delay } from "../interop/peers.ts";

export interface Answered {
  readonly said: number;
  readonly answered: number;
}

const EVERY_MS = 50;
const WAIT_MS = 1000;

async function isAnswered(options: Options): Promise<boolean> {
  const client = new Client(options);
  try {
    await client.handshake([WAIT_MS]);
    await client.close();
    return true;
  } catch {
    client.stop();
    return false;
  }
}

async function count(options: Options, ms: number): Promise<Answered> {
  const asked: Promise<boolean>[] = [];
  for (const end = performance.now() + ms; performance.now() < end;) {
    asked.push(isAnswered(options));
    await delay(EVERY_MS);
  }
  const answers = await Promise.all(asked);
  return { said: answers.length, answered: answers.filter((one) => one).length };
}

/** A HELLO that arrives: recorded on its way. */
async function capture(options: Options): Promise<string> {
  let recorded = "";
  const onPacket: Options["onPacket"] = ({ direction, bytes }) => {
    if (direction === "sent" && recorded === "") recorded = hex(bytes);
  };
  const client = await Client.connect({ ...options, onPacket });
  await client.close();
  return recorded;
}

if (import.meta.main) {
  const [host = "", port = "", psk = ""] = Deno.args;
  const options = { host, port: Number(port), psk: unhex(psk) };
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    for (const line of text.split("\n").filter((one) => one !== "")) {
      const [what, ms] = line.split(" ");
      const said = what === "capture" ? await capture(options) : await count(options, Number(ms));
      console.log(typeof said === "string" ? said : JSON.stringify(said));
    }
  }
  Deno.exit(0);
}
